/* SPDX-License-Identifier: BSD-3-Clause
 * The error queue. Errors about datagrams over the wire, kept for who asks for them (IP_RECVERR in ip(7), IPV6_RECVERR): records in
 * the ring of a session that the engine owns; the kernel keeps its own. And completions of MSG_ZEROCOPY (msg_zerocopy.rst in the
 * kernel's documentation): what is sent is in a ring when the call returns, so that each is complete at once, and says that it was
 * copied, as over Linux' loopback. */
#include "dgram.h"

#include <linux/errqueue.h>
#include <netinet/in.h>

static struct zs_session *errors(const struct zsock *k)
{
    return k->errq != NULL && atomic_load_explicit(&k->errq->gen, memory_order_relaxed) == k->errq_gen ? k->errq : NULL;
}

void errq_open(struct zsock *k)
{
    struct zs_ctl_reply reply;
    if (errors(k) != NULL || k->d->view.arena->header.wire_ports == 0)
        return;
    k->errq = NULL;
    if (zs_rpc2(k->d, ZS_CTL_UDP_ERRORS, k->index, k->gen, -1, &reply, NULL) < 0)
        return; /* -ENETUNREACH: the engine has no ports */
    k->errq_gen = reply.b;
    k->errq = zs_session_at(&k->d->view, reply.a);
}

bool errq_pending(const struct zsock *k)
{
    const struct zs_session *q = errors(k);
    return q != NULL && zs_rx_avail(q) != 0;
}

/* The record at the queue's head; false: there is none. One that makes no sense empties the queue. */
static bool peek(struct zsock *k, struct zs_session *q, struct zs_udp_record *rec, struct zs_udp_error *err)
{
    struct zs_view *v = &k->d->view;
    const struct iovec head[2] = {{rec, sizeof *rec}, {err, sizeof *err}};
    uint64_t avail = zs_rx_avail(q);
    if (avail == 0)
        return false;
    if (zs_rx_peek(v, q, 0, head, 0, sizeof *rec + sizeof *err) == (int64_t)(sizeof *rec + sizeof *err) && rec->len >= sizeof *err &&
        rec->len <= sizeof *err + ZS_UDP_QUOTE_MAX && ZS_UDP_RECORD_SPACE(rec->len) <= avail)
        return true;
    zs_rx_consume(v, q, avail);
    atomic_fetch_add(&v->stats->faults, 1);
    return false;
}

struct report4 {
    struct sock_extended_err ee;
    struct sockaddr_in offender;
};
struct report6 {
    struct sock_extended_err ee;
    struct sockaddr_in6 offender;
};

/* As ip_recv_error and ipv6_recv_error. offender NULL: nobody's. */
static void describe(const struct zsock *k, struct msghdr *msg, const struct sock_extended_err *ee, const struct zs_addr *offender)
{
    struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
    size_t used = 0;
    if (offender != NULL)
        addr_to_sockaddr(offender, k->family, &ss);
    if (msg->msg_control == NULL)
        msg->msg_controllen = 0;
    if (k->family == AF_INET) {
        struct report4 r = {.ee = *ee};
        memcpy(&r.offender, &ss, sizeof r.offender);
        dg_put_cmsg(msg, &used, IPPROTO_IP, IP_RECVERR, &r, sizeof r);
    } else {
        struct report6 r = {.ee = *ee};
        memcpy(&r.offender, &ss, sizeof r.offender);
        dg_put_cmsg(msg, &used, IPPROTO_IPV6, IPV6_RECVERR, &r, sizeof r);
    }
    msg->msg_controllen = used;
}

/* ---- MSG_ZEROCOPY ---- */

bool zerocopy_asked(const struct zsock *k, int flags)
{
    if (ZS_LIKELY(!(flags & MSG_ZEROCOPY)))
        return false;
    uint32_t bits = k->s != NULL ? atomic_load_explicit(&k->s->opts.bits, memory_order_relaxed) : k->pre.bits;
    return bits & ZS_O_ZEROCOPY;
}

void zerocopy_done(struct zsock *k)
{
    atomic_fetch_add(&k->s->rx_cons.zc_sent, 1);
    atomic_fetch_or(&k->s->flags, ZS_F_ZC_DONE);
    zs_notify_own(&k->d->view, k->s);
    zs_async_raise(&k->d->view, k->s, POLLERR);
}

ssize_t zerocopy_recv(struct zsock *k, struct msghdr *msg)
{
    struct zs_session *s = k->s;
    if (!(atomic_load(&s->flags) & ZS_F_ZC_DONE))
        return -EAGAIN;
    atomic_fetch_and(&s->flags, ~ZS_F_ZC_DONE); /* before the look at the numbers: who sends meanwhile sets it again */
    uint32_t first = atomic_load(&s->rx_cons.zc_told), next;
    do {
        next = atomic_load(&s->rx_cons.zc_sent);
        if (first == next)
            return -EAGAIN; /* somebody else fetched it */
    } while (!atomic_compare_exchange_weak(&s->rx_cons.zc_told, &first, next));
    const struct sock_extended_err ee = {.ee_origin = SO_EE_ORIGIN_ZEROCOPY, .ee_code = SO_EE_CODE_ZEROCOPY_COPIED,
                                         .ee_info = first, .ee_data = next - 1};
    msg->msg_flags = MSG_ERRQUEUE;
    msg->msg_namelen = 0;
    describe(k, msg, &ee, NULL);
    return 0;
}

/* ---- Errors ---- */

static size_t iov_room(const struct msghdr *msg)
{
    size_t n = 0;
    for (size_t i = 0; i < msg->msg_iovlen; i++)
        n += msg->msg_iov[i].iov_len;
    return n;
}

ssize_t errq_recv(struct zsock *k, struct msghdr *msg)
{
    struct zs_session *q = errors(k);
    struct zs_udp_record rec, next;
    struct zs_udp_error err, after;
    size_t room = iov_room(msg);
    if (q == NULL || zs_rx_avail(q) == 0)
        return -EAGAIN;
    struct zs_view *v = &k->d->view;
    zs_lock(v, &q->rx_cons.lock, false);
    if (!peek(k, q, &rec, &err)) {
        zs_unlock(v, &q->rx_cons.lock);
        return -EAGAIN;
    }
    size_t len = rec.len - sizeof err, n = len < room ? len : room;
    int64_t got = n > 0 ? zs_rx_peek(v, q, sizeof rec + sizeof err, msg->msg_iov, 0, n) : 0;
    zs_rx_consume(v, q, ZS_UDP_RECORD_SPACE(rec.len));
    /* What is pending now is the next one (sock_dequeue_err_skb). */
    atomic_store(&k->s->error, peek(k, q, &next, &after) && after.origin != SO_EE_ORIGIN_LOCAL ? after.err : 0);
    zs_unlock(v, &q->rx_cons.lock);
    msg->msg_flags = MSG_ERRQUEUE | (len > room ? MSG_TRUNC : 0);
    if (msg->msg_name != NULL) {
        socklen_t name = msg->msg_namelen;
        addr_copy_out(&rec.to, k->family, msg->msg_name, &name);
        msg->msg_namelen = name;
    }
    const struct sock_extended_err ee = {.ee_errno = err.err, .ee_origin = err.origin, .ee_type = err.type, .ee_code = err.code,
                                         .ee_info = err.info};
    bool icmp = err.origin == SO_EE_ORIGIN_ICMP || err.origin == SO_EE_ORIGIN_ICMP6;
    describe(k, msg, &ee, icmp ? &rec.from : NULL);
    return got < 0 ? 0 : (ssize_t)got;
}

void errq_local(struct zsock *k, const struct zs_addr *to, int err, uint32_t info)
{
    bool asked = k->dg.value[zs_addr_is_v4(to->ip) ? DG_RECVERR : DG_RECVERR6];
    struct zs_session *q = asked ? errors(k) : NULL;
    struct zs_udp_error body = {.err = (uint32_t)err, .origin = SO_EE_ORIGIN_LOCAL, .info = info};
    struct zs_udp_record rec = {.len = sizeof body, .to = *to};
    const struct iovec iov = {&body, sizeof body};
    if (q != NULL && zs_dgram_put(&k->d->view, q, &rec, &iov, 1))
        zs_notify(&k->d->view, k->s);
}
