/* SPDX-License-Identifier: BSD-3-Clause
 * Readiness of one socket, as tcp_poll and datagram_poll compute it. Memory reads only, unless the caller waits for room. */
#include "dgram.h"

bool sock_accelerated(const struct zsock *k)
{
    return k->s != NULL && atomic_load(&k->kind) != ZK_TCP;
}

bool sock_has_kernel_side(const struct zsock *k)
{
    return atomic_load(&k->kind) != ZK_CONN;
}

static bool writable(struct zsock *k, uint32_t interest)
{
    struct zs_view *v = &k->d->view;
    uint64_t cap = UINT64_C(4) << 20;
    bool low = stream_may_fill(k, 1);
    if (atomic_load_explicit(&k->s->flags, memory_order_relaxed) & ZS_F_PEER_CLOSED)
        return true;
    if (low && zs_tx_room(v, k->peer, &k->tx, cap) != 0)
        return true;
    if (!(interest & EPOLLOUT))
        return false;
    atomic_fetch_or(&k->peer->rx_prod.want_space, ZS_WANT_EVENT);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in zs_rx_consume */
    return stream_may_fill(k, 1) && zs_tx_room(v, k->peer, &k->tx, cap) != 0;
}

static uint32_t conn_events(struct zsock *k, uint32_t interest)
{
    struct zs_session *s = k->s;
    uint32_t ev = 0;
    uint32_t err = atomic_load_explicit(&s->error, memory_order_relaxed);
    if (atomic_load_explicit(&s->state, memory_order_relaxed) == ZS_S_EMBRYO) {
        if (err == 0 && atomic_load_explicit(&s->rx_prod.fin, memory_order_relaxed) == 0)
            return stream_syn_waits(k) ? EPOLLOUT | EPOLLWRNORM : 0; /* on its way */
        return (err != 0 ? EPOLLERR : 0) | EPOLLHUP | EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLRDNORM | EPOLLWRNORM;
    }
    uint32_t fin = atomic_load_explicit(&s->rx_prod.fin, memory_order_acquire);
    bool rd_shut = fin != 0 || (atomic_load_explicit(&s->flags, memory_order_relaxed) & ZS_F_SHUT_RD);
    bool wr_shut = atomic_load_explicit(&k->peer->rx_prod.fin, memory_order_relaxed) != 0 || fin == ZS_RST;
    uint64_t avail = urgent_readable(s, zs_rx_avail(s));
    if (urgent_pending(s))
        ev |= EPOLLPRI;
    if (rd_shut)
        ev |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
    else if (avail != 0 && avail >= sock_rcvlowat(k))
        ev |= EPOLLIN | EPOLLRDNORM;
    if (rd_shut && wr_shut)
        ev |= EPOLLHUP;
    if (wr_shut || writable(k, interest))
        ev |= EPOLLOUT | EPOLLWRNORM;
    if (err != 0 || zerocopy_pending(k))
        ev |= EPOLLERR;
    return ev;
}

uint32_t sock_events(struct zsock *k, uint32_t interest)
{
    switch (atomic_load_explicit(&k->kind, memory_order_acquire)) {
    case ZK_CONN:
        return conn_events(k, interest);
    case ZK_LISTEN:
        k->served = true;
        return zs_accept_ready(k->d, k->s) ? EPOLLIN | EPOLLRDNORM : 0;
    case ZK_UDP: /* the kernel side reports writable; with data both are one event */
        if (k->s == NULL)
            return 0;
        if (atomic_load_explicit(&k->s->error, memory_order_relaxed) != 0 || errq_pending(k) || zerocopy_pending(k))
            return EPOLLERR | EPOLLOUT | EPOLLWRNORM | (zs_rx_avail(k->s) != 0 ? EPOLLIN | EPOLLRDNORM : 0);
        if (zs_rx_avail(k->s) == 0)
            return 0;
        return EPOLLIN | EPOLLRDNORM | (interest & (EPOLLIN | EPOLLRDNORM) ? EPOLLOUT | EPOLLWRNORM : 0);
    default:
        return 0;
    }
}
