/* SPDX-License-Identifier: BSD-3-Clause
 * UDP: each datagram goes where its destination is served; one port receives from every world. A datagram inside the
 * domain is one record in the receiver's ring, published by one store; without room it is dropped and counted, as UDP does. */
#include "dgram.h"
#include "capring.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <time.h>

/* ---- Send ---- */

static void stamp(struct zs_udp_record *rec)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    rec->time_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void deliver(struct zsock *k, struct zs_session *to, struct zs_udp_record *rec, const struct iovec *iov, size_t cnt)
{
    struct zs_view *v = &k->d->view;
    if (zs_capturing(v))
        zs_capture_datagram(v, to, rec, iov);
    if (!zs_dgram_put(v, to, rec, iov, cnt))
        return;
    zs_notify(v, to);
    atomic_fetch_add_explicit(&v->stats->udp_out, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&v->stats->bytes_out, rec->len, memory_order_relaxed);
}

/* The source address that a datagram to `to` has: the bound one, else the destination's own (it is on this host). */
static void source_of(struct zsock *k, const struct zs_addr *to, struct zs_addr *from)
{
    *from = *dgram_local(k);
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

/* Where a datagram goes. */
enum way { BY_KERNEL, BY_RING, BY_WIRE, TO_NOBODY };

/* Bound to an address that only the kernel has: it must leave by the kernel. */
static bool bound_to_kernel(struct zsock *k)
{
    const struct zs_addr *local = dgram_local(k);
    return local != NULL && !zs_addr_is_any(local->ip) && !zs_addr_is_engine(&k->d->view, local->ip);
}

bool dgram_wire_peer(struct zsock *k)
{
    const uint32_t both = ZS_F_CONNECTED | ZS_F_WIRE;
    return k->s != NULL && (atomic_load(&k->s->flags) & both) == both;
}

/* A datagram on its way. */
struct sending {
    struct zs_addr to;
    struct dg_how how;
    struct zs_session *dst; /* BY_RING */
    uint32_t port;          /* BY_WIRE: of the engine, if it matters which, else 0 */
    uint32_t fallback;      /* BY_KERNEL: the port, if the kernel knows no way */
};

static enum way route_wire(struct zsock *k, struct sending *g)
{
    uint32_t port = dg_port_to(k, &g->to, g->how.ifindex, &g->fallback);
    bool explicit = !zs_addr_is_any(g->how.src);
    if (explicit ? !zs_addr_is_engine(&k->d->view, g->how.src) : bound_to_kernel(k))
        port = g->fallback = 0;
    bool link_local = g->to.ip[0] == 0xfe && (g->to.ip[1] & 0xc0) == 0x80;
    bool plain = zs_addr_on_wire(&k->d->view, &g->to) && k->dg.port == 0 && g->how.ifindex == 0 && !dg_is_broadcast(k, port, &g->to);
    g->port = plain && !link_local ? 0 : port;
    return port != 0 ? BY_WIRE : BY_KERNEL;
}

/* The way to the destination of msg. */
static enum way route(struct zsock *k, const struct msghdr *msg, struct sending *g)
{
    struct zs_addr *to = &g->to;
    if (msg->msg_name != NULL && msg->msg_namelen > 0) {
        if (addr_from_sockaddr(to, msg->msg_name, msg->msg_namelen) < 0)
            return BY_KERNEL;
    } else if (!dgram_peer(k, to)) {
        return BY_KERNEL;
    }
    addr_any_to_loopback(to);
    if (to->port == 0 || (k->family == AF_INET6) != (to->family == AF_INET6) || !dg_read_control(msg, to, &g->how))
        return BY_KERNEL;
    if (!zs_addr_is_own(&k->d->view, to->ip))
        return route_wire(k, g);
    if (k->dg.port != 0)
        return BY_KERNEL; /* bound to a device: this host is not behind it */
    struct zs_addr from = {0};
    if (dgram_local(k) != NULL)
        source_of(k, to, &from);
    int64_t si = zs_lookup_udp(&k->d->view, to, &from, 0, zs_lookup_hash(to, &from));
    g->dst = si < 0 ? NULL : zs_session_at(&k->d->view, (uint32_t)si);
    if (g->dst == NULL && zs_addr_is_engine(&k->d->view, to->ip))
        return TO_NOBODY; /* the kernel knows nothing of that address */
    return g->dst == NULL ? BY_KERNEL : BY_RING;
}

/* The ring from which the engine sends this socket's datagrams. */
static struct zs_session *wire_ring(struct zsock *k)
{
    struct zs_ctl_reply reply;
    if (k->wire_tx != NULL && atomic_load(&k->wire_tx->gen) == k->wire_gen)
        return k->wire_tx;
    k->wire_tx = NULL;
    if (zs_rpc2(k->d, ZS_CTL_WIRE_UDP, k->index, k->gen, -1, &reply, NULL) < 0)
        return NULL;
    k->wire_tx = zs_session_at(&k->d->view, reply.a);
    k->wire_gen = reply.b;
    return k->wire_tx;
}

static int take_error(struct zsock *k)
{
    if (k->s == NULL || atomic_load_explicit(&k->s->error, memory_order_relaxed) == 0)
        return 0;
    return -(int)atomic_exchange(&k->s->error, 0);
}

/* As a full SO_SNDBUF holds a sender up until the device took something: the engine empties the ring at once. */
static bool put_waiting(struct zsock *k, struct zs_session *ring, struct zs_udp_record *rec, const struct msghdr *msg, bool block)
{
    const uint64_t limit_ns = 1000000000u;
    uint64_t give_up = zs_now_ns() + limit_ns;
    while (!zs_dgram_put(&k->d->view, ring, rec, msg->msg_iov, msg->msg_iovlen)) {
        if (!block || zs_now_ns() > give_up || atomic_load(&ring->gen) != k->wire_gen)
            return false;
        zs_notify(&k->d->view, ring);
        sched_yield();
    }
    return true;
}

/* The path carries less, and the socket wants no fragments (IP_PMTUDISC_DO, PROBE): 0, or what it carries. */
static uint32_t too_long(struct zsock *k, const struct sending *g, const struct zs_udp_record *rec)
{
    struct zs_wire_port p;
    uint32_t port = g->port != 0 ? g->port : zs_wire_port_to(&k->d->view, &g->to);
    if (rec->pmtu < IP_PMTUDISC_DO || rec->pmtu > IP_PMTUDISC_PROBE || !zs_wire_port_copy(&k->d->view, port, &p))
        return 0;
    uint32_t learned = rec->pmtu == IP_PMTUDISC_DO && dgram_wire_peer(k) ? atomic_load(&k->s->pmtu) : 0;
    uint32_t mtu = learned != 0 && learned < p.mtu ? learned : p.mtu;
    uint32_t head = zs_addr_is_v4(g->to.ip) ? 28 : 48; /* IP and UDP */
    return rec->len + head > mtu ? mtu : 0;
}

static ssize_t send_wire(struct zsock *k, int fd, const struct msghdr *msg, const struct sending *g, size_t n, int flags)
{
    int r = dgram_autobind(k, fd);
    struct zs_session *ring = r < 0 ? NULL : wire_ring(k);
    if (ring == NULL)
        return r < 0 ? r : -ENETUNREACH;
    struct zs_udp_record rec = {.len = (uint32_t)n, .ifindex = g->port != 0 ? ZS_WIRE_SCOPE + g->port : 0, .to = g->to};
    memcpy(rec.from.ip, g->how.src, 16);
    dg_fill(k, &rec, &g->how);
    if (dg_is_broadcast(k, g->port, &g->to) && !k->dg.value[DG_BROADCAST])
        return -EACCES;
    uint32_t mtu = too_long(k, g, &rec);
    if (mtu != 0) {
        errq_local(k, &g->to, EMSGSIZE, mtu);
        return -EMSGSIZE;
    }
    if (!put_waiting(k, ring, &rec, msg, !(flags & MSG_DONTWAIT) && !atomic_load(&k->nonblock)))
        return -EAGAIN;
    zs_notify(&k->d->view, ring);
    atomic_fetch_add_explicit(&k->d->view.stats->udp_out, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&k->d->view.stats->bytes_out, n, memory_order_relaxed);
    return (ssize_t)n;
}

/* As the port unreachable that a host tells itself. */
static ssize_t refuse(struct zsock *k, size_t n)
{
    if (k->s != NULL && (atomic_load(&k->s->flags) & ZS_F_CONNECTED)) {
        atomic_store(&k->s->error, ECONNREFUSED);
        zs_notify(&k->d->view, k->s);
    }
    return (ssize_t)n;
}

static ssize_t send_kernel(struct zsock *k, int fd, const struct msghdr *msg, int flags)
{
    bool block = !(flags & MSG_DONTWAIT) && !atomic_load(&k->nonblock) && k->s != NULL;
    long r;
    while ((r = zs_sys(SYS_sendmsg, fd, msg, flags)) == -EAGAIN && block) {
        int w = wait_fd(fd, POLLOUT, 0, true);
        if (w < 0)
            return w;
    }
    return r;
}

static ssize_t send_datagram(struct zsock *k, int fd, const struct msghdr *msg, int flags)
{
    struct sending g = {.fallback = 0};
    size_t n = iov_total(msg);
    enum way way = BY_KERNEL;
    int err = take_error(k);
    if (err != 0)
        return err;
    if (n > ZS_UDP_MAX_PAYLOAD && msg->msg_name == NULL && dgram_wire_peer(k))
        return -EMSGSIZE; /* the placeholder is not connected to that peer, and would say so */
    if (k->s == NULL)
        dgram_look(k, fd);
    if (!(flags & MSG_OOB) && !k->shut_wr && n <= ZS_UDP_MAX_PAYLOAD && msg->msg_iovlen <= ZS_DGRAM_PIECES && engine_alive(k->d))
        way = route(k, msg, &g);
    if ((way == BY_WIRE || way == BY_RING) && !user_iov(msg->msg_iov, msg->msg_iovlen, 0, n, false))
        return -EFAULT;
    if (way == BY_WIRE)
        return send_wire(k, fd, msg, &g, n, flags);
    if (way == TO_NOBODY)
        return refuse(k, n);
    if (way == BY_RING && dgram_ready(k, fd, &g.to) < 0)
        way = BY_KERNEL;
    if (k->s == NULL)
        dgram_sent(k);
    if (way == BY_KERNEL) {
        ssize_t r = send_kernel(k, fd, msg, flags);
        if (r != -ENETUNREACH || g.fallback == 0)
            return r;
        g.port = g.fallback;
        return send_wire(k, fd, msg, &g, n, flags);
    }
    struct zs_udp_record rec = {.len = (uint32_t)n, .ifindex = 1, .to = g.to};
    source_of(k, &g.to, &rec.from);
    if (!zs_addr_is_any(g.how.src))
        memcpy(rec.from.ip, g.how.src, 16);
    dg_fill(k, &rec, &g.how);
    stamp(&rec);
    deliver(k, g.dst, &rec, msg->msg_iov, msg->msg_iovlen);
    return (ssize_t)n;
}

/* One series of completions, whatever the way: the kernel's own would have numbers of their own. */
ssize_t dgram_send(struct zsock *k, int fd, const struct msghdr *msg, int flags)
{
    if (ZS_LIKELY(!zerocopy_asked(k, flags)) || dgram_autobind(k, fd) < 0) /* they are counted in the session */
        return send_datagram(k, fd, msg, flags);
    ssize_t r = send_datagram(k, fd, msg, flags & ~MSG_ZEROCOPY);
    if (r >= 0)
        zerocopy_done(k);
    return r;
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
        bool there = user_iov(msg->msg_iov, msg->msg_iovlen, 0, n, true);
        got = n > 0 && there ? zs_rx_peek(v, s, sizeof rec, msg->msg_iov, 0, n) : 0;
        if (got < 0)
            got = -EAGAIN;
        if (!there)
            got = -EFAULT;
        if (!(flags & MSG_PEEK))
            zs_rx_consume(v, s, ZS_UDP_RECORD_SPACE(rec.len));
    }
    zs_unlock(v, &s->rx_cons.lock);
    if (got < 0)
        return (ssize_t)got;
    msg->msg_flags = (flags & MSG_CMSG_CLOEXEC) | (rec.len > room ? MSG_TRUNC : 0);
    if (msg->msg_name != NULL) {
        socklen_t len = msg->msg_namelen;
        addr_copy_out(&rec.from, k->family, msg->msg_name, &len);
        msg->msg_namelen = len;
    }
    dg_write_control(k, msg, &rec);
    if (!(flags & MSG_PEEK)) {
        atomic_fetch_add_explicit(&v->stats->udp_in, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&v->stats->bytes_in, rec.len, memory_order_relaxed);
    }
    return flags & MSG_TRUNC ? (ssize_t)rec.len : (ssize_t)got;
}

/* By whatever process: a look without waiting says EAGAIN all the same. */
static bool kernel_shut(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    const struct timespec now = {0};
    return zs_sys(SYS_ppoll, &p, 1, &now, NULL, 0) == 1 && (p.revents & POLLRDHUP);
}

/* The waits of one call. */
struct dg_wait {
    uint64_t deadline; /* 0: none, or not known yet */
    bool waited;
};

/* Waits for either world. 1: look again; 0: nothing comes any more; -errno, EBADF also when the descriptor became something else meanwhile. */
static int dgram_wait(struct zsock *k, int fd, uint64_t timeout_us, struct dg_wait *wait)
{
    if (k->shut_rd || (wait->waited && kernel_shut(fd)))
        return 0;
    if (wait->deadline == 0 && timeout_us != 0)
        wait->deadline = zs_now_ns() + timeout_us * 1000u;
    int w = wait_fd(fd, POLLIN, wait->deadline, wait->deadline == 0);
    wait->waited = true;
    return w < 0 ? w : fd_sock(fdtab_raw(fd)) == k ? 1 : -EBADF;
}

static ssize_t recv_kernel(int fd, struct msghdr *msg, int flags)
{
    struct msghdr m = *msg;
    ssize_t r = zs_sys(SYS_recvmsg, fd, &m, flags);
    if (r >= 0)
        *msg = m;
    return r;
}

/* One look at a socket that receives from both worlds. */
static ssize_t recv_both(struct zsock *k, int fd, struct msghdr *msg, int flags)
{
    ssize_t r = take_error(k);
    if (r != 0)
        return r;
    bool settles = k->dg.settling && zs_rx_avail(k->s) != 0;
    bool kernel_first = atomic_fetch_add_explicit(&k->turn, 1, memory_order_relaxed) % 16 == 15 || k->dg.settling;
    if (kernel_first && (r = recv_kernel(fd, msg, flags | MSG_DONTWAIT)) != -EAGAIN)
        return r;
    if (settles)
        k->dg.settling = false;
    r = recv_record(k, msg, flags);
    return r != -EAGAIN ? r : recv_kernel(fd, msg, flags | MSG_DONTWAIT);
}

static ssize_t recv_errors(struct zsock *k, int fd, struct msghdr *msg, int flags)
{
    ssize_t r = zerocopy_pending(k) ? zerocopy_recv(k, msg) : -EAGAIN;
    if (r == 0 || (r = errq_recv(k, msg)) != -EAGAIN)
        return r;
    return recv_kernel(fd, msg, flags | MSG_DONTWAIT);
}

ssize_t dgram_recv(struct zsock *k, int fd, struct msghdr *msg, int flags)
{
    struct dg_wait wait = {.deadline = 0};
    bool block = !(flags & (MSG_DONTWAIT | MSG_ERRQUEUE)) && !atomic_load(&k->nonblock);
    for (;;) {
        bool told = k->s != NULL; /* else nobody but the kernel can bring something */
        ssize_t r = !told ? recv_kernel(fd, msg, flags | (block ? MSG_DONTWAIT : 0))
                    : flags & MSG_ERRQUEUE ? recv_errors(k, fd, msg, flags) : recv_both(k, fd, msg, flags);
        if (r != -EAGAIN || !block)
            return r;
        int w = dgram_wait(k, fd, told ? atomic_load(&k->s->opts.rcvtimeo_us) : k->pre.rcvtimeo_us, &wait);
        if (w <= 0)
            return w;
    }
}
