/* SPDX-License-Identifier: BSD-3-Clause
 * The receive buffer follows the application (dynamic right-sizing, as Linux does it): who reads in a round trip what the
 * window holds could read more with a larger one. Not when SO_RCVBUF says how large it shall be. */
#include "tcp_conn.h"

#define ROUND_MIN_NS NET_NS_PER_MS

uint8_t tcp_window_scale(const struct stack *st)
{
    uint8_t scale = 0;
    while (scale < TCP_WINDOW_SCALE_MAX && ((uint32_t)UINT16_MAX << scale) < st->conf.rcvbuf_max)
        scale++;
    return scale;
}

uint32_t tcp_receive_buffer(const struct tcp_conn *c)
{
    const struct zs_session *app = tcp_app(c);
    uint32_t n = app == NULL ? 0 : atomic_load_explicit(&app->opts.rcvbuf, memory_order_relaxed);
    if (n != 0)
        return RTE_MIN(n / 2, (uint32_t)ZS_RING_MAX); /* doubled for overhead, socket(7) */
    return RTE_MAX(c->rcvbuf, c->st->conf.rcvbuf);
}

/* How long data takes to come back for what we acknowledged. A peer that pauses makes it longer, and reads no more for it. */
void tcp_autotune_rtt(struct tcp_conn *c, const struct tcp_seg *s)
{
    if (!(c->flags & TCP_F_TS) || s->opt.tsecr == 0 || s->opt.tsecr == c->round_tsecr || s->len < c->rcv_mss / 2)
        return;
    c->round_tsecr = s->opt.tsecr; /* once per acknowledgement of ours */
    uint32_t us = RTE_MIN(tcp_ts_now(c) - s->opt.tsecr, 60000u) * 1000;
    c->rcv_rtt_us = c->rcv_rtt_us == 0 ? us : c->rcv_rtt_us - c->rcv_rtt_us / 8 + us / 8;
}

void tcp_autotune(struct tcp_conn *c)
{
    const struct zs_session *app = tcp_app(c);
    uint64_t round = RTE_MAX((uint64_t)RTE_MAX(c->rcv_rtt_us, c->srtt_us) * 1000, (uint64_t)ROUND_MIN_NS);
    if (app == NULL || c->st->now - c->round_start < round)
        return;
    tcp_seq read = seq_sub(c->rcv_nxt, (uint32_t)zs_tx_unread(app));
    /* We may come late, and count more than one round trip: who empties the buffer rarely needs a large one, too. */
    int64_t n = c->round_start == 0 ? 0 : seq_diff(read, c->round_seq);
    c->round_start = c->st->now;
    c->round_seq = read;
    uint32_t before = RTE_MAX(c->round_read, 10u * c->rcv_mss); /* what an initial window brings is no reason to grow */
    if (n <= (int64_t)before)
        return;
    c->round_read = (uint32_t)n;
    if (atomic_load_explicit(&app->opts.rcvbuf, memory_order_relaxed) != 0)
        return;
    /* Twice as much, for a sender in slow start doubles; and once more what it grew by. */
    uint64_t want = 2 * (uint64_t)n + 16u * c->rcv_mss;
    want += 2 * want * ((uint32_t)n - before) / before;
    uint32_t size = (uint32_t)RTE_MIN(want, (uint64_t)c->st->conf.rcvbuf_max);
    if (size > tcp_receive_buffer(c)) {
        c->rcvbuf = size;
        NET_COUNT(c->st, TCP_WINDOW_GREW);
    }
}
