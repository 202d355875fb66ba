/* SPDX-License-Identifier: BSD-3-Clause
 * Data from a TCP connection in shared memory, with the order of checks that tcp_recvmsg has: data first, then the end of the
 * stream, then the pending error. */
#include "stream.h"

#define IDLE_NS 900000000u /* a sleep of this length without data: the connection is idle */

/* ---- Waiting ---- */

static bool rx_ready(const struct zs_session *s)
{
    return zs_rx_avail(s) != 0 || atomic_load_explicit(&s->rx_prod.fin, memory_order_acquire) != 0 ||
           atomic_load_explicit(&s->error, memory_order_relaxed) != 0 ||
           (atomic_load_explicit(&s->flags, memory_order_relaxed) & ZS_F_SHUT_RD);
}

/* Asks for the line that the next bytes lie in. Where that is stands in the line that tells of them, and they are written before they are
 * told of: so the two come at the same time, not one after the other. */
static inline void fetch_next(const struct zsock *k)
{
    if (k->rx.next != NULL)
        __builtin_prefetch(k->rx.next);
}

static int wait_rx(struct zsock *k, uint64_t deadline, bool restartable)
{
    struct zs_session *s = k->s;
    struct zs_spin spin = {.limit_us = zs_proc.conf.spin_us};
    bool spinning = spin.limit_us != 0 && zs_spin_begin(k->d);
    while (spinning && !rx_ready(s) && zs_thread.npending == 0 && zs_spin_round(k->d, &spin))
        fetch_next(k);
    if (spinning)
        zs_spin_end(k->d, &spin);
    int r = spin_signals(restartable);
    if (r < 0 || rx_ready(s))
        return r;
    atomic_store(&s->rx_wait, 1);
    atomic_fetch_or(&s->rx_prod.others, ZS_OTHERS_ASLEEP);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in zs_notify */
    if (rx_ready(s))
        return 0;
    uint64_t before = zs_now_ns();
    r = wait_word(k->d, &s->rx_wait, 1, deadline, restartable);
    if (r == 0 && !rx_ready(s) && zs_now_ns() - before > IDLE_NS)
        stream_idle(k);
    stream_check_peer(k);
    return r;
}

/* ---- Receive ---- */

/* A lent range is taken over; bytes that are not lent are left for a read, and so is what an urgent byte is ahead in. */
static int64_t take_once(struct zs_view *v, struct zs_session *s, struct zs_taken *taken)
{
    uint64_t avail = zs_rx_avail(s), readable = urgent_readable(s, avail);
    if (ZS_UNLIKELY(readable != avail || urgent_before_mark(s, avail) != avail)) {
        *taken = (struct zs_taken){.len = readable};
        return (int64_t)readable;
    }
    int r = zs_rx_take(v, s, taken);
    return r < 0 ? r : (int64_t)taken->len;
}

/* SO_PEEK_OFF goes forth with what is peeked at and back with what is taken (socket(7)). */
static void peek_moves(struct zsock *k, int64_t n, bool peeked)
{
    int64_t off = (int64_t)k->pre.peek_off + (peeked ? n : -n);
    k->pre.peek_off = off < 0 ? 0 : (int32_t)(off < INT32_MAX ? off : INT32_MAX);
}

/* One look at the stream: bytes, 0 end of stream, -EAGAIN nothing yet, other negative errno. */
static int64_t recv_once(struct zsock *k, const struct iovec *iov, size_t skip, size_t n, int flags, struct zs_taken *taken)
{
    struct zs_view *v = &k->d->view;
    struct zs_session *s = k->s;
    fetch_next(k);
    _Atomic uint32_t *held = sock_lock_rx(k);
    /* The end flag before the data: what was published before it is then seen. */
    uint32_t fin = atomic_load_explicit(&s->rx_prod.fin, memory_order_acquire);
    int64_t got = 0;
    uint64_t avail = zs_rx_avail(s), skipped = 0;
    if (flags & MSG_PEEK && k->pre.peek_off >= 0) {
        skipped = (uint64_t)k->pre.peek_off < avail ? (uint64_t)k->pre.peek_off : avail;
        avail -= skipped;
    }
    bool there = avail == 0 || taken != NULL || (flags & MSG_TRUNC) || user_iov(iov, SIZE_MAX, skip, avail < n ? avail : n, true);
    if (taken != NULL) {
        got = take_once(v, s, taken);
    } else if (avail != 0 && there) {
        uint64_t off, most = urgent_limit(v, s, n, flags & MSG_PEEK, &off);
        off = skipped > off ? skipped : off;
        got = zs_rx_peek(v, s, off, flags & MSG_TRUNC ? NULL : iov, skip, most);
        if (got > 0 && !(flags & MSG_PEEK))
            zs_rx_consume(v, s, (uint64_t)got);
        k->rx.next = zs_rx_next(v, s);
        if (got > 0 && ZS_UNLIKELY(k->pre.peek_off >= 0))
            peek_moves(k, got, flags & MSG_PEEK);
    }
    sock_unlock(k, held);
    if (got > 0)
        return got;
    if (!there)
        return -EFAULT;
    if (got == -ENOBUFS) /* lent, and not to be mapped now: it stays */
        return got;
    if (got < 0) {
        stream_fault(k);
        return -(int64_t)atomic_exchange(&s->error, 0);
    }
    if (fin == ZS_FIN || (atomic_load(&s->flags) & ZS_F_SHUT_RD))
        return 0;
    uint32_t err = atomic_load(&s->error);
    if (err == EPIPE)
        return 0; /* reset after its FIN: the end of the stream comes first (SOCK_DONE) */
    if (err != 0)
        return -(int64_t)atomic_exchange(&s->error, 0);
    if (fin == ZS_RST)
        return atomic_load(&s->state) == ZS_S_EMBRYO ? -ENOTCONN : 0; /* a connect that failed */
    return atomic_load(&s->state) == ZS_S_EMBRYO && !k->connecting && !stream_syn_waits(k) ? -ENOTCONN : -EAGAIN;
}

/* What recv_once comes to nearly always: bytes lie there in one piece. 0: it has to see. */
static size_t recv_small(struct zsock *k, const struct iovec *iov, size_t n)
{
    struct zs_view *v = &k->d->view;
    struct zs_session *s = k->s;
    const uint8_t *next;
    uint64_t got = n;
    fetch_next(k);
    _Atomic uint32_t *held = sock_lock_rx(k);
    const uint8_t *place = zs_rx_place(v, s, &got, &next);
    if (place != NULL && user_iov(iov, SIZE_MAX, 0, got, true)) {
        stream_copy((uint8_t *)(uintptr_t)place, iov, got, false);
        zs_rx_placed(v, s, got);
        k->rx.next = next;
    } else {
        got = 0;
    }
    sock_unlock(k, held);
    return got;
}

ssize_t stream_recv(struct zsock *k, const struct iovec *iov, size_t n, int flags)
{
    size_t done = 0;
    uint64_t deadline = 0;
    size_t lowat = sock_rcvlowat(k);
    size_t target = n == 0 ? 1 : flags & MSG_WAITALL ? n : lowat < n ? lowat : n;
    bool block = !(flags & MSG_DONTWAIT) && !atomic_load_explicit(&k->nonblock, memory_order_relaxed);
    if (flags & MSG_OOB)
        return urgent_recv(k, iov, n, flags);
    bool simple = !(flags & ~MSG_DONTWAIT) && ZS_LIKELY(k->pre.peek_off < 0) && n != 0;
    for (;;) {
        if (n == 0 && zs_rx_avail(k->s) != 0)
            return 0; /* recv of no bytes looks at the queue, as tcp_recvmsg */
        int64_t got = simple && done == 0 ? (int64_t)recv_small(k, iov, n) : 0;
        if (got == 0)
            got = recv_once(k, iov, done, n - done, flags, NULL);
        if (got > 0)
            done += (size_t)got;
        if (done >= target || got == 0 || (got > 0 && ((flags & MSG_PEEK) || urgent_at_mark(k->s))))
            break;
        if (got > 0)
            continue;
        if (got != -EAGAIN || !block)
            return done > 0 ? (ssize_t)done : (ssize_t)got;
        uint64_t timeout = atomic_load_explicit(&k->s->opts.rcvtimeo_us, memory_order_relaxed);
        if (deadline == 0)
            deadline = stream_deadline(timeout);
        int r = wait_rx(k, deadline, timeout == 0 && done == 0); /* a part is returned, never begun again */
        if (r < 0)
            return done > 0 ? (ssize_t)done : r;
    }
    if (!(flags & MSG_PEEK))
        stream_count(&k->d->view.stats->bytes_in, done);
    return (ssize_t)done;
}

int64_t stream_take(struct zsock *k, struct zs_taken *t, int flags)
{
    uint64_t timeout = atomic_load_explicit(&k->s->opts.rcvtimeo_us, memory_order_relaxed), deadline = stream_deadline(timeout);
    bool block = !(flags & MSG_DONTWAIT) && !atomic_load_explicit(&k->nonblock, memory_order_relaxed);
    uint32_t has = atomic_load_explicit(&k->s->flags, memory_order_relaxed);
    if ((has & (ZS_F_WIRE | ZS_F_HOLDS)) == ZS_F_WIRE)
        atomic_fetch_or(&k->s->flags, ZS_F_HOLDS);
    for (;;) {
        int64_t got = recv_once(k, NULL, 0, 0, 0, t);
        if (got > 0 && t->data != NULL)
            stream_count(&k->d->view.stats->bytes_in, (uint64_t)got);
        if (got != -EAGAIN || !block)
            return got;
        int r = wait_rx(k, deadline, timeout == 0);
        if (r < 0)
            return r;
    }
}
