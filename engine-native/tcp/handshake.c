/* SPDX-License-Identifier: BSD-3-Clause
 * Opening: active, passive, simultaneous (RFC 9293 3.5, 3.10.1, 3.10.7.2-3). */
#include "ipv4.h"
#include "steer.h"
#include "tcp_conn.h"

#define PORT_FIRST 32768u /* as Linux' ip_local_port_range */
#define PORT_LAST 60999u

/* What can only be agreed on in the handshake. */
static void handshake_options(struct tcp_conn *c, const struct zs_opts *o)
{
    uint8_t retries = atomic_load_explicit(&o->syncnt, memory_order_relaxed);
    c->max_seg = atomic_load_explicit(&o->maxseg, memory_order_relaxed);
    c->syn_retries = retries != 0 ? retries : c->syn_retries;
    if (c->max_seg != 0)
        c->rcv_mss = RTE_MIN(c->rcv_mss, RTE_MAX(c->max_seg, (uint16_t)TCP_MSS_MIN));
}

/* RFC 6191 2, 7323 E: an end in TIME-WAIT that remembers the peer's timestamp turns away what was left of it, once our clock has
 * moved on for the new connection. */
static bool may_replace(const struct tcp_conn *c)
{
    return c->state == TCP_TIME_WAIT && (c->flags & TCP_F_TS) && c->st->now - c->ts_recent_at > NET_NS_PER_S;
}

/* RFC 6056 3.3.3: a keyed offset per destination and a counter. */
static bool choose_port(struct stack *st, struct tcp_flow *flow)
{
    uint32_t n = PORT_LAST - PORT_FIRST + 1, offset = tcp_port_hash(st, flow);
    for (uint32_t i = 0; i < n; i++) {
        flow->local_port = rte_cpu_to_be_16((uint16_t)(PORT_FIRST + (offset + st->tcp->port_next++) % n));
        if (!steer_ours(st, flow))
            continue;
        struct tcp_conn *c = tcp_conn_find(st, flow);
        if ((c == NULL || may_replace(c)) && tcp_listener_find(st, &flow->local_ip, flow->local_port) == NULL)
            return true;
    }
    return false;
}

/* Takes the place of a connection in TIME-WAIT: beyond everything that it sent (RFC 9293 3.10.7.4, first check). */
static void begin_beyond(struct tcp_conn *c, tcp_seq last)
{
    if (seq_leq(c->iss, last))
        c->iss = c->snd_una = c->snd_nxt = c->snd_max = c->recover = seq_add(last, 65537);
}

int tcp_connect(struct stack *st, struct tcp_flow flow, uint32_t own, const struct tcp_conn_ops *ops, void *arg, uint64_t now,
                struct tcp_conn **conn)
{
    struct ip_route route;
    enum net_counter why;
    net_at(st, now);
    bool v4 = ip_is_v4(&flow.remote_ip);
    if (!ip_route(st, &flow.remote_ip, &route) || (v4 && ip4_is_broadcast(route.port, ip_to_v4(&flow.remote_ip))))
        return -ENETUNREACH;
    if (ip_is_any(&flow.local_ip))
        flow.local_ip = ip_source(&route, &flow.remote_ip);
    if (ip_is_v4(&flow.local_ip) != v4)
        return -ENETUNREACH;
    if (flow.local_port == 0 && !choose_port(st, &flow))
        return -EADDRNOTAVAIL;
    struct tcp_conn *old = tcp_conn_find(st, &flow);
    if (old != NULL && !may_replace(old))
        return -EADDRINUSE;
    tcp_seq last = old != NULL ? old->snd_max : seq(0);
    if (old != NULL) {
        NET_COUNT(st, TCP_TIME_WAIT_REUSED);
        tcp_conn_end(old, 0);
    }
    struct tcp_conn *c = tcp_conn_new(st, &flow, &why);
    if (c == NULL) {
        tcp_reap(st);
        return -ENOBUFS;
    }
    if (old != NULL)
        begin_beyond(c, last);
    tcp_attach(c, own, ops, arg);
    if (tcp_app(c) != NULL)
        handshake_options(c, &tcp_app(c)->opts);
    NET_COUNT(st, TCP_OPENED_ACTIVE);
    if (st->conf.ecn)
        c->flags |= TCP_F_ECN_TRY;
    bool waits = tcp_app(c) != NULL && tcp_tfo_connect(c, &tcp_app(c)->opts);
    tcp_set_state(c, TCP_SYN_SENT);
    if (!waits)
        tcp_send_syn(c);
    tcp_reap(st);
    *conn = c;
    return 0;
}

void tcp_attach(struct tcp_conn *c, uint32_t own, const struct tcp_conn_ops *ops, void *arg)
{
    c->own = own;
    c->ops = ops;
    c->arg = arg;
}

uint8_t tcp_syn_flags(const struct tcp_conn *c)
{
    bool passive = c->flags & TCP_F_PASSIVE || c->state == TCP_SYN_RECEIVED;
    return RTE_TCP_SYN_FLAG | (passive ? RTE_TCP_ACK_FLAG : 0) | tcp_ecn_syn_flags(c, passive);
}

/* SYN, or SYN,ACK; again when it was lost. */
void tcp_send_syn(struct tcp_conn *c)
{
    bool again = seq_gt(c->snd_max, c->iss);
    uint32_t len = tcp_tfo_syn_data(c);
    c->tfo &= (uint8_t)~TCP_TFO_WAITS;
    c->snd_nxt = seq_add(c->iss, 1);
    c->snd_max = seq_max(c->snd_max, seq_add(c->snd_nxt, len));
    if (again) {
        NET_COUNT(c->st, TCP_RETRANSMITTED);
        c->flags &= ~TCP_F_RTT_TIMED;
    } else {
        c->flags |= TCP_F_RTT_TIMED;
        c->rtt_seq = c->iss;
        c->stuck_since = c->st->now;
        c->rtt_start = c->st->now;
    }
    if (len > 0) {
        c->tfo |= TCP_TFO_DATA;
        NET_COUNT(c->st, TCP_TFO_SENT);
    }
    if (!tcp_transmit(c, c->iss, tcp_syn_flags(c), 0, len) && c->state == TCP_CLOSED)
        return;
    tcp_timer_set(c, TCP_T_RETRANSMIT, tcp_rto_ns(c));
}

/* The peer's SYN: its sequence number and what it offers. */
void tcp_learn_syn(struct tcp_conn *c, const struct tcp_seg *s)
{
    c->irs = s->seq;
    c->rcv_nxt = c->rcv_adv = c->last_ack_sent = seq_add(s->seq, 1);
    uint32_t mss = s->opt.mss == 0 ? (ip_is_v4(&c->flow.remote_ip) ? TCP_MSS_DEFAULT : TCP_MSS_DEFAULT6) : RTE_MAX((uint32_t)s->opt.mss, TCP_MSS_MIN);
    mss = c->max_seg != 0 ? RTE_MIN(mss, (uint32_t)c->max_seg) : mss;
    c->mss = (uint16_t)RTE_MIN(mss, (uint32_t)tcp_path_mss(c)); /* RFC 9293 3.7.1 */
    if (s->opt.has_wscale) {
        c->flags |= TCP_F_WS;
        c->snd_scale = s->opt.wscale;
    } else {
        c->rcv_scale = 0;
    }
    if (s->opt.has_ts && !(c->st->conf.without & NET_WITHOUT_TIMESTAMPS)) {
        c->flags |= TCP_F_TS;
        c->ts_recent = s->opt.tsval;
        c->ts_recent_at = c->st->now;
        c->mss = (uint16_t)(c->mss - 12); /* RFC 6691: the MSS option does not count options */
    }
    if (s->opt.sack_ok && !(c->st->conf.without & NET_WITHOUT_SACK))
        c->flags |= TCP_F_SACK | TCP_F_SACK_SEND;
    tcp_ecn_learn(c, s);
    c->snd_wnd = c->max_wnd = s->wnd; /* of a SYN: never scaled, RFC 7323 2.2 */
    c->snd_wl1 = s->seq;
    c->snd_wl2 = s->flags & RTE_TCP_ACK_FLAG ? s->ack : c->iss;
    tcp_cc_follow(c);
    tcp_cc_init(c);
}

/* Our SYN is acknowledged. */
static void established(struct tcp_conn *c, const struct tcp_seg *s)
{
    if (c->retries > 0)
        c->cwnd = RTE_MIN(c->cwnd, (uint32_t)c->mss); /* RFC 5681 3.1: a SYN was lost */
    if (c->flags & TCP_F_RTT_TIMED)
        tcp_rtt_sample(c, c->st->now - c->rtt_start);
    else if (c->retries > 0)
        c->rto_us = TCP_RTO_SYN_LOST_US; /* RFC 6298 5.7 */
    c->flags &= ~TCP_F_RTT_TIMED;
    if (c->tfo != 0)
        tcp_tfo_answered(c, s);
    c->retries = c->backoff = 0;
    c->snd_una = seq_add(c->iss, 1);
    if (seq_gt(s->ack, c->snd_una)) /* data that went with the SYN */
        tcp_acked(c, s->ack);
    if (c->state == TCP_CLOSED)
        return;
    c->snd_nxt = c->snd_max = s->ack;
    tcp_timer_clear(c, TCP_T_RETRANSMIT);
    tcp_cc_follow(c);
    tcp_set_state(c, TCP_ESTABLISHED);
    tcp_keepalive_start(c);
    if (!(c->flags & TCP_F_PASSIVE) && c->ops != NULL && c->ops->connected != NULL)
        c->ops->connected(c->arg, c);
}

/* An accepted socket has its listener's options, those that tell in the handshake from its SYN on. */
void tcp_set_passive(struct tcp_conn *c, const struct tcp_listener *l)
{
    const struct zs_opts *o = l->ops->options == NULL ? NULL : l->ops->options(l->arg, &c->flow);
    c->flags |= TCP_F_PASSIVE;
    c->syn_retries = TCP_SYN_ACK_RETRIES;
    if (o == NULL)
        return;
    handshake_options(c, o);
    c->defer = atomic_load_explicit(&o->defer_accept, memory_order_relaxed);
}

void tcp_passive_open(struct stack *st, struct tcp_seg *s, struct tcp_listener *l, const tcp_seq *iss_after)
{
    enum net_counter why;
    if (l->ops->full != NULL && l->ops->full(l->arg, &s->flow)) {
        NET_COUNT(st, TCP_ACCEPT_FULL);
        return;
    }
    if (l->half_open >= l->backlog) {
        NET_COUNT(st, TCP_SYN_QUEUE_FULL);
        tcp_cookie_send(st, s, l);
        return;
    }
    struct tcp_conn *c = tcp_conn_new(st, &s->flow, &why);
    if (c == NULL) {
        st->counters[why]++;
        return;
    }
    if (iss_after != NULL)
        begin_beyond(c, *iss_after);
    tcp_set_passive(c, l);
    tcp_learn_syn(c, s);
    if (tcp_tfo_accept(c, s, l)) /* else data on a SYN is left for the peer to retransmit */
        return;
    tcp_listener_join(c, l);
    tcp_set_state(c, TCP_SYN_RECEIVED);
    tcp_send_syn(c);
}

void tcp_syn_sent_input(struct tcp_conn *c, struct tcp_seg *s)
{
    bool ack = s->flags & RTE_TCP_ACK_FLAG;
    if (ack && (seq_leq(s->ack, c->iss) || seq_gt(s->ack, c->snd_max))) {
        NET_COUNT(c->st, TCP_BAD_ACK);
        if (!(s->flags & RTE_TCP_RST_FLAG))
            tcp_answer_rst(c->st, s);
        return;
    }
    if (s->flags & RTE_TCP_RST_FLAG) { /* with an acceptable ACK: the table lets no other pass */
        NET_COUNT(c->st, TCP_RST_RX);
        tcp_conn_end(c, ECONNREFUSED);
        return;
    }
    if (!(s->flags & RTE_TCP_SYN_FLAG)) {
        NET_COUNT(c->st, TCP_BAD_ACK);
        return;
    }
    tcp_learn_syn(c, s);
    if (!ack) { /* simultaneous open */
        tcp_set_state(c, TCP_SYN_RECEIVED);
        c->snd_nxt = c->iss;
        tcp_send_syn(c);
        return;
    }
    c->flags |= TCP_F_ACK_NOW;
    established(c, s);
    if (c->state == TCP_CLOSED)
        return;
    /* What follows the SYN is ordinary. */
    s->seq = seq_add(s->seq, 1);
    s->flags &= (uint8_t)~RTE_TCP_SYN_FLAG;
    tcp_window_field(c, true);
    tcp_receive(c, s);
    if (c->state != TCP_CLOSED)
        tcp_send_data(c);
}

int tcp_accept(struct tcp_conn *c, struct tcp_listener *l)
{
    int r = l->ops->accept(l->arg, c, &c->flow);
    if (r == 0)
        c->st->tcp->accepted_by = l;
    return r;
}

void tcp_tell_accepted(struct stack *st)
{
    struct tcp_listener *l = st->tcp->accepted_by;
    st->tcp->accepted_by = NULL;
    if (l != NULL && l->ops->accepted != NULL)
        l->ops->accepted(l->arg);
}

bool tcp_syn_received_ack(struct tcp_conn *c, const struct tcp_seg *s)
{
    if (seq_leq(s->ack, c->snd_una) || seq_gt(s->ack, c->snd_max)) {
        NET_COUNT(c->st, TCP_BAD_ACK);
        tcp_answer_rst(c->st, s); /* RFC 9293 3.10.7.4, fifth check */
        return false;
    }
    if (c->listener != NULL) {
        struct tcp_listener *l = c->listener;
        if (s->len == 0 && !(s->flags & RTE_TCP_FIN_FLAG) && c->retries < c->defer) { /* TCP_DEFER_ACCEPT: as good as lost */
            c->flags |= TCP_F_ACKED;
            NET_COUNT(c->st, TCP_DEFERRED);
            return false;
        }
        int r = tcp_accept(c, l);
        if (r == -EAGAIN) {
            NET_COUNT(c->st, TCP_ACCEPT_FULL);
            return false;
        }
        if (r < 0) {
            tcp_conn_abort(c, ECONNABORTED);
            return false;
        }
        tcp_listener_leave(c);
        NET_COUNT(c->st, TCP_OPENED_PASSIVE);
    }
    c->snd_wnd = (uint32_t)s->wnd << c->snd_scale;
    c->max_wnd = RTE_MAX(c->max_wnd, c->snd_wnd);
    c->snd_wl1 = s->seq;
    c->snd_wl2 = s->ack;
    established(c, s);
    return c->state != TCP_CLOSED;
}
