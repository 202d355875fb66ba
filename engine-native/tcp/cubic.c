/* SPDX-License-Identifier: BSD-3-Clause
 * CUBIC, RFC 9438: after a loss the window grows as a cubic function of time towards the size at which the loss happened, and
 * beyond it. In integers: bytes and milliseconds, so that the same ACKs make the same windows everywhere. */
#include "tcp_conn.h"

/* beta 0.7; C 0.4; alpha of the Reno-friendly region, 3 (1 - beta) / (1 + beta), about 9/17 */
#define BETA(n) ((uint32_t)((uint64_t)(n) * 7 / 10))
#define T_MAX_MS (1 << 18) /* from K; beyond it the function is larger than any window */

static void cubic_init(struct tcp_conn *c)
{
    c->cubic_max = c->cubic_prior = 0;
    if (c->send == NULL)
        return;
    c->send->cubic = (struct tcp_cubic){0};
    c->send->cc_acked = 0;
}

static uint64_t cube_root(uint64_t n)
{
    uint64_t r = 0;
    for (int bit = 21; bit >= 0; bit--) {
        uint64_t t = r | UINT64_C(1) << bit;
        if (t * t * t <= n && t < 2642246) /* its cube fits */
            r = t;
    }
    return r;
}

/* 4.2, 4.3: the epoch begins, with the first growth in congestion avoidance. */
static void begin(struct tcp_conn *c)
{
    struct tcp_cubic *q = &c->send->cubic;
    q->epoch = c->st->now;
    q->friendly = (uint64_t)c->cwnd << 8;
    q->k_ms = 0;
    if (c->cwnd < c->cubic_max) /* K = cbrt((W_max - cwnd_epoch) / C), in segments and seconds */
        q->k_ms = (uint32_t)cube_root((uint64_t)(c->cubic_max - c->cwnd) * UINT64_C(2500000000) / c->mss);
    else
        c->cubic_max = c->cwnd;
    c->send->cc_acked = 0;
}

/* W_cubic(t), figure 1; t in milliseconds since the epoch began. */
static uint64_t w_cubic(const struct tcp_conn *c, uint64_t t)
{
    const struct tcp_cubic *q = &c->send->cubic;
    int64_t d = (int64_t)RTE_MIN(t, (uint64_t)(2 * T_MAX_MS)) - q->k_ms;
    d = RTE_MAX(RTE_MIN(d, (int64_t)T_MAX_MS), -(int64_t)T_MAX_MS);
    int64_t w = (int64_t)c->cubic_max + d * d * d / 10000 * 4 * c->mss / 1000000; /* 0.4 d^3 / 10^9 segments */
    return w > 0 ? (uint64_t)w : 0;
}

/* 4.3: what Reno with our beta would have by now. In 1/256 bytes: an ACK brings less than one in a large window. */
static uint64_t friendly(struct tcp_conn *c, uint32_t bytes)
{
    struct tcp_cubic *q = &c->send->cubic;
    uint64_t add = ((uint64_t)c->mss << 8) * bytes / c->cwnd;
    q->friendly += q->friendly >> 8 < c->cubic_prior ? add * 9 / 17 : add;
    return q->friendly >> 8;
}

static void cubic_acked(struct tcp_conn *c, uint32_t bytes)
{
    struct tcp_cubic *q = &c->send->cubic;
    if (c->cwnd < c->ssthresh) {
        tcp_slow_start(c, bytes);
        return;
    }
    if (q->epoch == 0)
        begin(c);
    uint64_t t = (c->st->now - q->epoch) / NET_NS_PER_MS, reno = friendly(c, bytes);
    if (w_cubic(c, t) < reno) {
        c->cwnd = RTE_MAX(c->cwnd, (uint32_t)RTE_MIN(reno, (uint64_t)TCP_CWND_MAX));
        return;
    }
    /* 4.4, 4.5: where it should be a round trip later, and this ACK's share of the way there. */
    uint64_t target = RTE_MIN(w_cubic(c, t + c->srtt_us / 1000), (uint64_t)c->cwnd * 3 / 2);
    c->send->cc_acked += bytes;
    if (target <= c->cwnd)
        return;
    uint64_t step = (target - c->cwnd) * RTE_MIN(c->send->cc_acked, c->cwnd) / c->cwnd;
    if (step > 0) {
        c->cwnd += (uint32_t)step;
        c->send->cc_acked = 0;
    }
}

static void cubic_reduce(struct tcp_conn *c, uint32_t flight)
{
    struct tcp_cubic *q = &c->send->cubic;
    /* 4.7, fast convergence: less than last time, so somebody else wants room. */
    c->cubic_max = c->cwnd < c->cubic_max ? (uint32_t)((uint64_t)c->cwnd * 17 / 20) : c->cwnd;
    c->cubic_prior = c->cwnd;
    q->epoch = 0;
    c->ssthresh = RTE_MAX(BETA(flight), 2u * c->mss); /* 4.6 */
    c->send->cc_acked = 0;
}

static void cubic_idle(struct tcp_conn *c)
{
    if (c->send != NULL)
        c->send->cubic.epoch = 0; /* 5.8: time that passed unused is no growth */
}

const struct tcp_cc_ops tcp_cubic = {
    .name = "cubic",
    .init = cubic_init,
    .acked = cubic_acked,
    .lost = cubic_reduce,
    .timeout = cubic_reduce,
    .idle = cubic_idle,
};
