/* SPDX-License-Identifier: BSD-3-Clause
 * UDP: each datagram goes where its destination is served; one port receives from every world. A datagram inside the
 * domain is one record in the receiver's ring, published by one store; without room it is dropped and counted, as UDP does. */
#include "preload.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <time.h>

#define UDP_RCVBUF 212992u /* Linux' default net.core.rmem_default */

int dgram_bound(struct zsock *k, int fd)
{
    struct zs_ctl_reply reply;
    struct zs_domain *d = zs_attached();
    if (k->s != NULL || d == NULL)
        return 0;
    int r = zs_rpc2(d, ZS_CTL_UDP_OPEN, 0, 0, fd, &reply, NULL);
    if (r < 0 || reply.a >= ZS_MAX_SESSIONS)
        return r < 0 ? r : -EPROTO;
    k->d = d;
    k->index = reply.a;
    k->gen = reply.b;
    k->s = zs_session_at(&d->view, reply.a);
    opt_apply(k);
    if (atomic_load(&k->nonblock))
        atomic_fetch_or(&k->s->flags, ZS_F_NONBLOCK);
    else /* a placeholder that was registered before is non-blocking itself */
        atomic_fetch_and(&k->s->flags, ~ZS_F_NONBLOCK);
    zs_sys(SYS_fcntl, fd, F_SETFL, O_RDWR | O_NONBLOCK);
    atomic_fetch_add(&zs_proc.endpoints, 1);
    zs_why(d, fd, IPPROTO_UDP, ZS_VERDICT_BOTH, ZS_REASON_DATAGRAM, k);
    ep_sock_decided(k);
    return 0;
}

void dgram_bound_again(struct zsock *k, int fd)
{
    struct zs_session *old = k->s;
    ep_sock_forget(k);
    atomic_store(&old->state, ZS_S_CLOSED);
    k->s = NULL;
    atomic_fetch_sub(&zs_proc.endpoints, 1);
    if (dgram_bound(k, fd) < 0 || k->s == NULL || !(atomic_load(&old->flags) & ZS_F_CONNECTED))
        return;
    k->s->remote = old->remote;
    atomic_fetch_or(&k->s->flags, ZS_F_CONNECTED);
}

/* The port is gone: nobody can reach the socket until it is bound again. */
void dgram_unbound(struct zsock *k, int fd)
{
    ep_sock_forget(k);
    zs_rpc2(k->d, ZS_CTL_CLOSE, k->index, k->gen, -1, NULL, NULL);
    k->s = NULL;
    atomic_fetch_sub(&zs_proc.endpoints, 1);
    if (!atomic_load(&k->nonblock))
        zs_sys(SYS_fcntl, fd, F_SETFL, O_RDWR);
}

/* ---- Send ---- */

static void stamp(struct zs_udp_record *rec)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    rec->time_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Puts one record into the ring of `to`. The lock makes several senders one producer; a sender that was stopped inside
 * it costs its receiver datagrams, never a hang. */
static void deliver(struct zsock *k, struct zs_session *to, struct zs_udp_record *rec, const struct iovec *iov, size_t cnt)
{
    struct zs_view *v = &k->d->view;
    uint32_t gen = atomic_load(&to->gen);
    struct zs_tx tx = {0};
    uint8_t pad[8] = {0};
    uint64_t space = ZS_UDP_RECORD_SPACE(rec->len);
    bool ok = false;
    if (zs_lock(v, &to->rx_prod.lock, true)) {
        uint32_t want = atomic_load(&to->opts.rcvbuf);
        uint64_t cap = want != 0 ? want : UDP_RCVBUF;
        if (cap < 4096)
            cap = 4096;
        if (atomic_load(&to->state) == ZS_S_OPEN && atomic_load(&to->gen) == gen && zs_tx_unread(to) + space <= cap &&
            zs_tx_reserve(v, to, cap < 262144 ? 262144 : cap) >= space) {
            struct iovec all[3 + 64];
            size_t n = 0;
            all[n++] = (struct iovec){rec, sizeof *rec};
            for (size_t i = 0; i < cnt && i < 64; i++)
                all[n++] = iov[i];
            all[n++] = (struct iovec){pad, space - sizeof *rec - rec->len};
            ok = zs_tx_write(v, to, &tx, all, 0, space, ZS_RING_MAX) == (int64_t)space;
        }
        if (!ok)
            atomic_fetch_add(&to->rx_dropped, 1);
        zs_unlock(v, &to->rx_prod.lock);
    }
    if (ok) {
        zs_notify(v, to);
        atomic_fetch_add_explicit(&v->stats->udp_out, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&v->stats->bytes_out, rec->len, memory_order_relaxed);
    }
}

/* The source address that a datagram to `to` has: the bound one, else the destination's own (it is on this host). */
static void source_of(struct zsock *k, const struct zs_addr *to, struct zs_addr *from)
{
    *from = k->s->local;
    if (zs_addr_is_any(from->ip))
        zs_addr_source(to->ip, from->ip);
}

static size_t iov_total(const struct msghdr *msg)
{
    size_t n = 0;
    for (size_t i = 0; i < msg->msg_iovlen; i++)
        n += msg->msg_iov[i].iov_len;
    return n;
}

/* Receivers in the arena of a dead engine may be dead, too; a datagram's price allows a look only now and then. */
static bool engine_alive(struct zs_domain *d)
{
    const uint64_t every_ns = 50000000;
    uint64_t now = zs_now_ns();
    if (now - d->checked_ns > every_ns) {
        d->checked_ns = now;
        if (!zs_domain_check(d))
            zs_engine_lost(d);
    }
    return atomic_load(&d->alive);
}

/* The session that serves the destination of msg in this domain, or NULL: the kernel sends it. */
static struct zs_session *route(struct zsock *k, const struct msghdr *msg, struct zs_addr *to)
{
    if (msg->msg_name != NULL && msg->msg_namelen > 0) {
        if (addr_from_sockaddr(to, msg->msg_name, msg->msg_namelen) < 0)
            return NULL;
    } else if (k->s != NULL && (atomic_load(&k->s->flags) & ZS_F_CONNECTED)) {
        *to = k->s->remote;
    } else {
        return NULL;
    }
    addr_any_to_loopback(to);
    if (to->port == 0 || !zs_addr_is_own(&k->d->view, to->ip) || (k->family == AF_INET6) != (to->family == AF_INET6))
        return NULL;
    struct zs_addr from = {0};
    if (k->s != NULL)
        source_of(k, to, &from);
    int64_t si = zs_lookup_udp(&k->d->view, to, &from, (uint32_t)from.port * 2654435761u);
    return si < 0 ? NULL : zs_session_at(&k->d->view, (uint32_t)si);
}

ssize_t dgram_send(struct zsock *k, int fd, const struct msghdr *msg, int flags)
{
    struct zs_addr to;
    size_t n = iov_total(msg);
    struct zs_session *dst = NULL;
    if (!(flags & MSG_OOB) && !k->shut_wr && msg->msg_controllen == 0 && n <= ZS_UDP_MAX_PAYLOAD && msg->msg_iovlen <= 64 &&
        engine_alive(k->d))
        dst = route(k, msg, &to);
    if (dst != NULL && k->s == NULL) {
        /* First send of an unbound socket: the kernel gives it a port (ip(7)), the engine learns it. */
        struct sockaddr_storage any = {.ss_family = k->family};
        socklen_t len = k->family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        zs_sys(SYS_bind, fd, &any, len);
        if (dgram_bound(k, fd) < 0 || k->s == NULL)
            dst = NULL;
    }
    if (dst == NULL) {
        bool block = !(flags & MSG_DONTWAIT) && !atomic_load(&k->nonblock) && k->s != NULL;
        long r;
        while ((r = zs_sys(SYS_sendmsg, fd, msg, flags)) == -EAGAIN && block) {
            int w = wait_fd(fd, POLLOUT, 0, true);
            if (w < 0)
                return w;
        }
        return r;
    }
    struct zs_udp_record rec = {.len = (uint32_t)n, .ifindex = 1, .to = to};
    source_of(k, &to, &rec.from);
    stamp(&rec);
    deliver(k, dst, &rec, msg->msg_iov, msg->msg_iovlen);
    return (ssize_t)n;
}

/* ---- Receive ---- */

uint32_t dgram_next_len(struct zsock *k)
{
    struct zs_udp_record rec;
    struct iovec iov = {&rec, sizeof rec};
    if (k->s == NULL || zs_rx_avail(k->s) == 0)
        return 0;
    return zs_rx_peek(&k->d->view, k->s, 0, &iov, 0, sizeof rec) == sizeof rec ? rec.len : 0;
}

static void put_cmsg(struct msghdr *msg, size_t *used, int level, int type, const void *data, size_t len)
{
    if (*used + CMSG_SPACE(len) > msg->msg_controllen) {
        msg->msg_flags |= MSG_CTRUNC;
        return;
    }
    struct cmsghdr *c = (struct cmsghdr *)((char *)msg->msg_control + *used);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), data, len);
    *used += CMSG_SPACE(len);
}

static void ancillary(struct zsock *k, struct msghdr *msg, const struct zs_udp_record *rec)
{
    size_t used = 0;
    if (msg->msg_control == NULL)
        msg->msg_controllen = 0;
    if (k->ts) {
        struct timeval tv = {.tv_sec = (time_t)(rec->time_ns / 1000000000u), .tv_usec = (suseconds_t)(rec->time_ns / 1000u % 1000000u)};
        put_cmsg(msg, &used, SOL_SOCKET, SCM_TIMESTAMP, &tv, sizeof tv);
    }
    if (k->pktinfo && zs_addr_is_v4(rec->to.ip)) {
        struct in_pktinfo pi = {.ipi_ifindex = (int)rec->ifindex};
        memcpy(&pi.ipi_addr, rec->to.ip + 12, 4);
        pi.ipi_spec_dst = pi.ipi_addr;
        put_cmsg(msg, &used, IPPROTO_IP, IP_PKTINFO, &pi, sizeof pi);
    }
    if (k->pktinfo6) {
        struct in6_pktinfo pi = {.ipi6_ifindex = rec->ifindex};
        memcpy(&pi.ipi6_addr, rec->to.ip, 16);
        put_cmsg(msg, &used, IPPROTO_IPV6, IPV6_PKTINFO, &pi, sizeof pi);
    }
    msg->msg_controllen = used;
}

/* A record from the ring; -EAGAIN none. What came before the socket was connected stays (udp(7)); later senders find only a
 * socket that is connected to them (lookup.c). */
static ssize_t recv_record(struct zsock *k, struct msghdr *msg, int flags)
{
    struct zs_view *v = &k->d->view;
    struct zs_session *s = k->s;
    struct zs_udp_record rec;
    struct iovec head = {&rec, sizeof rec};
    size_t room = iov_total(msg);
    int64_t got = -EAGAIN;
    zs_lock(v, &s->rx_cons.lock, false);
    if (zs_rx_avail(s) != 0) {
        bool sane = zs_rx_peek(v, s, 0, &head, 0, sizeof rec) == sizeof rec && rec.len <= ZS_UDP_MAX_PAYLOAD &&
                    ZS_UDP_RECORD_SPACE(rec.len) <= zs_rx_avail(s);
        if (!sane) { /* scribbled: throw the ring's contents away */
            zs_rx_consume(v, s, zs_rx_avail(s));
            atomic_fetch_add(&v->stats->faults, 1);
            zs_unlock(v, &s->rx_cons.lock);
            return -EAGAIN;
        }
        size_t n = rec.len < room ? rec.len : room;
        got = n > 0 ? zs_rx_peek(v, s, sizeof rec, msg->msg_iov, 0, n) : 0;
        if (got < 0)
            got = -EAGAIN;
        if (!(flags & MSG_PEEK))
            zs_rx_consume(v, s, ZS_UDP_RECORD_SPACE(rec.len));
    }
    zs_unlock(v, &s->rx_cons.lock);
    if (got < 0)
        return -EAGAIN;
    msg->msg_flags = rec.len > room ? MSG_TRUNC : 0;
    if (msg->msg_name != NULL) {
        socklen_t len = msg->msg_namelen;
        addr_copy_out(&rec.from, k->family, msg->msg_name, &len);
        msg->msg_namelen = len;
    }
    ancillary(k, msg, &rec);
    if (!(flags & MSG_PEEK)) {
        atomic_fetch_add_explicit(&v->stats->udp_in, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&v->stats->bytes_in, rec.len, memory_order_relaxed);
    }
    return flags & MSG_TRUNC ? (ssize_t)rec.len : (ssize_t)got;
}

ssize_t dgram_recv(struct zsock *k, int fd, struct msghdr *msg, int flags)
{
    uint64_t timeout = k->s != NULL ? atomic_load(&k->s->opts.rcvtimeo_us) : 0;
    uint64_t deadline = 0;
    bool block = !(flags & MSG_DONTWAIT) && !atomic_load(&k->nonblock);
    if (k->s == NULL) /* not bound: nobody in the domain can reach it */
        return zs_sys(SYS_recvmsg, fd, msg, flags);
    for (;;) {
        ssize_t r = -EAGAIN;
        bool kernel_first = atomic_fetch_add_explicit(&k->turn, 1, memory_order_relaxed) % 16 == 15;
        struct msghdr m = *msg;
        if ((kernel_first || (flags & MSG_ERRQUEUE)) && (r = zs_sys(SYS_recvmsg, fd, &m, flags | MSG_DONTWAIT)) != -EAGAIN) {
            *msg = m;
            return r;
        }
        if (!(flags & MSG_ERRQUEUE) && (r = recv_record(k, msg, flags)) != -EAGAIN)
            return r;
        m = *msg;
        r = zs_sys(SYS_recvmsg, fd, &m, flags | MSG_DONTWAIT);
        if (r != -EAGAIN || !block || (flags & MSG_ERRQUEUE)) {
            if (r >= 0)
                *msg = m;
            return r;
        }
        if (k->shut_rd)
            return 0;
        if (deadline == 0 && timeout != 0)
            deadline = zs_now_ns() + timeout * 1000u;
        int w = wait_fd(fd, POLLIN, deadline, deadline == 0);
        if (w < 0)
            return w;
    }
}
