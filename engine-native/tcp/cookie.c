/* SPDX-License-Identifier: BSD-3-Clause
 * SYN cookies (RFC 4987 3.6): when a listener has as many half-open connections as it may have, a SYN is answered without
 * remembering it. The sequence number of the answer holds what its acknowledgement has to bring back: a keyed hash of the
 * flow and of the time, and the peer's MSS. Where the peer has timestamps, the low bits of ours hold the other options;
 * else they are not agreed on. */
#include "tcp_conn.h"

#define PERIOD_NS (64 * NET_NS_PER_S) /* of the clock in a cookie */
#define PERIODS 2u                    /* a cookie is good for this one and the one before */
#define DATA_BITS 24u                 /* of the second hash and what is added to it; above them, the clock */
#define DATA_MASK ((1u << DATA_BITS) - 1)
#define DATA_SHIFT 21u                /* its neighbours are no cookies */

#define TS_BITS 6u /* of our timestamp: window scale, SACK, ECN */
#define TS_MASK ((1u << TS_BITS) - 1)
#define TS_NO_SCALE 15u
#define TS_SACK 16u
#define TS_ECN 32u

/* An MSS is rounded down to one of these. */
static const uint16_t cookie_mss[1u << (DATA_BITS - DATA_SHIFT)] = {TCP_MSS_MIN, 536, 1220, 1300, 1400, 1440, 1460, 8940};

static uint32_t period_of(uint64_t now)
{
    return (uint32_t)(now / PERIOD_NS);
}

static uint32_t cookie_at(const struct stack *st, const struct tcp_flow *flow, tcp_seq irs, uint32_t period, uint32_t data)
{
    uint32_t low = tcp_keyed_hash(st, flow, 'C', period) + (data << DATA_SHIFT);
    return tcp_keyed_hash(st, flow, 'c', irs.v) + (period << DATA_BITS) + (low & DATA_MASK);
}

/* What the cookie holds; -1: it is none, or an old one. */
static int cookie_data(const struct stack *st, const struct tcp_flow *flow, tcp_seq irs, uint32_t cookie)
{
    uint32_t rest = cookie - tcp_keyed_hash(st, flow, 'c', irs.v), period = period_of(st->now);
    uint32_t age = (period - (rest >> DATA_BITS)) & (UINT32_MAX >> DATA_BITS);
    if (age >= PERIODS)
        return -1;
    uint32_t data = (rest - tcp_keyed_hash(st, flow, 'C', period - age)) & DATA_MASK;
    return data % (1u << DATA_SHIFT) == 0 ? (int)(data >> DATA_SHIFT) : -1;
}

void tcp_cookie_send(struct stack *st, const struct tcp_seg *s, struct tcp_listener *l)
{
    struct tcp_conn c; /* for the answer alone */
    enum net_counter why;
    if (!tcp_conn_init(&c, st, &s->flow, &why)) {
        st->counters[why]++;
        return;
    }
    tcp_set_passive(&c, l);
    tcp_learn_syn(&c, s);
    uint32_t at = 0;
    uint32_t mss = s->opt.mss == 0 ? c.mss : s->opt.mss;
    while (at + 1 < RTE_DIM(cookie_mss) && cookie_mss[at + 1] <= mss)
        at++;
    c.iss = seq(cookie_at(st, &s->flow, s->seq, period_of(st->now), at));
    if (c.flags & TCP_F_TS) {
        uint32_t bits = (c.flags & TCP_F_WS ? c.snd_scale : TS_NO_SCALE) | (c.flags & TCP_F_SACK ? TS_SACK : 0) |
                        (c.flags & TCP_F_ECN ? TS_ECN : 0);
        uint32_t now = tcp_ts_now(&c), told = (now & ~TS_MASK) | bits;
        c.ts_offset -= now - (told > now ? told - (1u << TS_BITS) : told); /* never ahead of the clock */
    } else {
        c.flags &= ~(TCP_F_WS | TCP_F_SACK | TCP_F_SACK_SEND | TCP_F_ECN);
        c.rcv_scale = 0;
    }
    l->cookies_until = st->now + PERIODS * PERIOD_NS;
    NET_COUNT(st, TCP_COOKIE_TX);
    tcp_transmit(&c, c.iss, tcp_syn_flags(&c), 0, 0);
}

enum tcp_cookie_result tcp_cookie_ack(struct stack *st, const struct tcp_seg *s, struct tcp_listener *l, struct tcp_conn **conn)
{
    tcp_seq iss = seq_sub(s->ack, 1), irs = seq_sub(s->seq, 1);
    enum net_counter why;
    if (st->now >= l->cookies_until) /* there is none that could come back: not a guess's chance */
        return TCP_COOKIE_NONE;
    int data = cookie_data(st, &s->flow, irs, iss.v);
    if (data < 0) {
        NET_COUNT(st, TCP_COOKIE_BAD);
        return TCP_COOKIE_NONE;
    }
    if (l->ops->full != NULL && l->ops->full(l->arg, &s->flow)) {
        NET_COUNT(st, TCP_ACCEPT_FULL);
        return TCP_COOKIE_LATER;
    }
    struct tcp_conn *c = tcp_conn_new(st, &s->flow, &why);
    if (c == NULL) {
        st->counters[why]++;
        return TCP_COOKIE_LATER;
    }
    uint32_t bits = s->opt.tsecr & TS_MASK;
    struct tcp_seg syn = {.flow = s->flow, .seq = irs, .wnd = s->wnd, .flags = RTE_TCP_SYN_FLAG};
    syn.opt.mss = cookie_mss[data];
    if (s->opt.has_ts) {
        syn.opt.has_ts = true;
        syn.opt.tsval = s->opt.tsval;
        syn.opt.has_wscale = (bits & 15u) != TS_NO_SCALE;
        syn.opt.wscale = RTE_MIN(bits & 15u, TCP_WINDOW_SCALE_MAX);
        syn.opt.sack_ok = bits & TS_SACK;
        syn.flags |= bits & TS_ECN ? RTE_TCP_ECE_FLAG | RTE_TCP_CWR_FLAG : 0;
    }
    c->iss = c->snd_una = c->recover = iss;
    c->snd_nxt = c->snd_max = s->ack;
    tcp_set_passive(c, l);
    tcp_learn_syn(c, &syn);
    tcp_listener_join(c, l);
    tcp_set_state(c, TCP_SYN_RECEIVED);
    tcp_window_field(c, true); /* what the cookie promised */
    NET_COUNT(st, TCP_COOKIE_OK);
    *conn = c;
    return TCP_COOKIE_GOOD;
}
