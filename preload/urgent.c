/* SPDX-License-Identifier: BSD-3-Clause
 * Urgent data, as tcp_recvmsg, tcp_recv_urg and tcp_poll have it: one byte of the stream, at which reading stops, which is
 * left out of the stream unless SO_OOBINLINE, and which recv(MSG_OOB) gives until the stream was read past it. */
#include "preload.h"

static bool in_line(const struct zs_session *s)
{
    return atomic_load_explicit(&s->opts.bits, memory_order_relaxed) & ZS_O_OOBINLINE;
}

/* Where reading goes on: behind the reader's position if an earlier urgent byte lies there, which a later one took out of the
 * stream. */
static uint64_t position(const struct zs_session *s)
{
    uint64_t head = atomic_load_explicit(&s->rx_cons.head, memory_order_relaxed);
    return head + (atomic_load_explicit(&s->rx_prod.urgent_skip, memory_order_relaxed) == head + 1 && !in_line(s));
}

/* The mark that is still to be read past; 0: none. */
static uint64_t ahead(const struct zs_session *s)
{
    uint64_t word = atomic_load_explicit(&s->rx_prod.urgent, memory_order_acquire);
    return word != 0 && ZS_URGENT_POS(word) >= position(s) ? word : 0;
}

static uint64_t distance(const struct zs_session *s, uint64_t word)
{
    return ZS_URGENT_POS(word) - position(s);
}

/* Bytes at the reader's position that a read leaves out. */
static uint64_t left_out(const struct zs_session *s, uint64_t word)
{
    uint64_t gone = position(s) - atomic_load_explicit(&s->rx_cons.head, memory_order_relaxed);
    return gone + (word != 0 && distance(s, word) == 0 && !in_line(s));
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

bool urgent_at_mark(const struct zs_session *s)
{
    uint64_t word = ahead(s);
    return word != 0 && distance(s, word) == 0;
}

uint64_t urgent_limit(struct zs_view *v, struct zs_session *s, uint64_t n, bool peek, uint64_t *skip)
{
    uint64_t word = ahead(s);
    *skip = 0;
    if (ZS_LIKELY(word == 0))
        return n;
    uint64_t left = distance(s, word), out = less(left_out(s, word), zs_rx_avail(s));
    if (peek)
        *skip = out;
    else if (out > 0)
        zs_rx_consume(v, s, out); /* the byte at the mark is given by MSG_OOB, or not at all */
    return left > 0 ? less(n, left) : n;
}

uint64_t urgent_readable(const struct zs_session *s, uint64_t avail)
{
    uint64_t word = ahead(s);
    return ZS_LIKELY(word == 0) ? avail : avail - less(left_out(s, word), avail);
}

uint64_t urgent_before_mark(const struct zs_session *s, uint64_t avail)
{
    uint64_t word = ahead(s);
    if (word == 0)
        return avail;
    avail -= less(position(s) - atomic_load_explicit(&s->rx_cons.head, memory_order_relaxed), avail);
    return in_line(s) ? avail : less(avail, distance(s, word));
}

bool urgent_pending(const struct zs_session *s)
{
    uint64_t word = ahead(s);
    return word != 0 && (word & ZS_URGENT_KNOWN) && atomic_load_explicit(&s->rx_cons.urgent_read, memory_order_relaxed) != word;
}

ssize_t urgent_recv(struct zsock *k, const struct iovec *iov, size_t n, int flags)
{
    struct zs_session *s = k->s;
    uint64_t word = ahead(s);
    if (in_line(s) || word == 0 || atomic_load(&s->rx_cons.urgent_read) == word)
        return -EINVAL;
    if (!(word & ZS_URGENT_KNOWN))
        return atomic_load(&s->rx_prod.fin) != 0 ? 0 : -EAGAIN;
    if (!(flags & MSG_PEEK))
        atomic_store(&s->rx_cons.urgent_read, word);
    if (n > 0 && !(flags & MSG_TRUNC) && !user_iov(iov, SIZE_MAX, 0, 1, true))
        return -EFAULT;
    for (size_t i = 0; n > 0 && !(flags & MSG_TRUNC); i++)
        if (iov[i].iov_len > 0) {
            *(uint8_t *)iov[i].iov_base = (uint8_t)word;
            break;
        }
    return n > 0;
}
