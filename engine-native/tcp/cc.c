/* SPDX-License-Identifier: BSD-3-Clause
 * Congestion control: the list, what all have in common, and Reno's part (RFC 5681 3.1, with byte counting, RFC 3465). What
 * happens during recovery is recovery.c's. */
#include "tcp_conn.h"

/* ---- In common ---- */

/* RFC 6928 2: ten segments, but not many bytes of large ones. */
uint32_t tcp_initial_window(const struct tcp_conn *c)
{
    return RTE_MIN(10u * c->mss, RTE_MAX(2u * c->mss, 14600u));
}

/* RFC 3465 2.3: without SACK two segments at most for an ACK, which may acknowledge what a hole kept back, all at once. With SACK
 * `bytes` are what arrived since the ACK before, and all count, as with Linux: receivers merge segments before TCP sees them, and
 * one ACK is for a dozen. */
void tcp_slow_start(struct tcp_conn *c, uint32_t bytes)
{
    c->cwnd += c->flags & TCP_F_SACK_SEND ? tcp_hystart(c, bytes) : RTE_MIN(bytes, 2u * c->mss);
}

void tcp_cc_init(struct tcp_conn *c)
{
    c->cwnd = tcp_initial_window(c);
    c->ssthresh = UINT32_MAX;
    c->cc->init(c);
}

void tcp_cc_acked(struct tcp_conn *c, uint32_t bytes)
{
    /* RFC 5681 3.1, 7661 1: a window that was not used was not tested, so it does not grow. In slow start half of it is
     * enough, for the other half is what the last round trip added. What the window's own pacing holds back counts as used. */
    uint64_t flight = (uint64_t)tcp_flight(c) + bytes, slack = c->cwnd < c->ssthresh ? flight : 3u * c->mss;
    if (flight + slack < c->cwnd && (!tcp_pace_waits(c) || tcp_pace_limits(c)))
        return;
    c->cc->acked(c, bytes);
    c->cwnd = RTE_MIN(c->cwnd, TCP_CWND_MAX);
}

void tcp_cc_idle(struct tcp_conn *c)
{
    c->cwnd = RTE_MIN(c->cwnd, tcp_initial_window(c)); /* RFC 5681 4.1 */
    c->cc->idle(c);
}

/* ---- Reno ---- */

static void reno_init(struct tcp_conn *c)
{
    if (c->send != NULL)
        c->send->cc_acked = 0;
}

static void reno_acked(struct tcp_conn *c, uint32_t bytes)
{
    if (c->cwnd < c->ssthresh) {
        tcp_slow_start(c, bytes);
        return;
    }
    c->send->cc_acked += bytes; /* congestion avoidance: one segment per window acknowledged */
    if (c->send->cc_acked >= c->cwnd) {
        c->send->cc_acked -= c->cwnd;
        c->cwnd += c->mss;
    }
}

static void reno_reduce(struct tcp_conn *c, uint32_t flight)
{
    c->ssthresh = RTE_MAX(flight / 2, 2u * c->mss); /* RFC 5681 (4) */
    c->send->cc_acked = 0;
}

static const struct tcp_cc_ops reno = {
    .name = "reno",
    .init = reno_init,
    .acked = reno_acked,
    .lost = reno_reduce,
    .timeout = reno_reduce,
    .idle = reno_init,
};

/* ---- Which ---- */

/* By ZS_CC_*; the default is the stack's. */
static const struct tcp_cc_ops *const list[] = {[ZS_CC_RENO] = &reno, [ZS_CC_CUBIC] = &tcp_cubic};

const struct tcp_cc_ops *tcp_cc_find(const char *name)
{
    for (size_t i = ZS_CC_DEFAULT + 1; i < RTE_DIM(list); i++)
        if (name != NULL && strcmp(list[i]->name, name) == 0)
            return list[i];
    return name == NULL ? &tcp_cubic : NULL;
}

void tcp_cc_follow(struct tcp_conn *c)
{
    const struct zs_session *app = tcp_app(c);
    uint32_t which = app == NULL ? ZS_CC_DEFAULT : atomic_load_explicit(&app->opts.congestion, memory_order_relaxed);
    const struct tcp_cc_ops *cc = which > ZS_CC_DEFAULT && which < RTE_DIM(list) ? list[which] : c->st->tcp->cc;
    if (cc == c->cc)
        return;
    c->cc = cc;
    cc->init(c); /* the windows stay what they are */
}
