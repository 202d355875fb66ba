/* SPDX-License-Identifier: BSD-3-Clause
 * Segments in: header, connection, decision, and the checks of RFC 9293 3.10.7.4 in their order. */
#include <netinet/in.h>

#include "steer.h"
#include "tcp_conn.h"

/* ---- Header ---- */

static bool parse(struct stack *st, struct ip_pkt *p, struct tcp_seg *s)
{
    const struct rte_tcp_hdr *h = rte_pktmbuf_mtod(p->m, const struct rte_tcp_hdr *);
    uint32_t hlen = rte_pktmbuf_data_len(p->m) < sizeof *h ? 0 : (uint32_t)(h->data_off >> 4) * 4;
    if (hlen < sizeof *h || hlen > rte_pktmbuf_data_len(p->m)) {
        net_drop(st, p->m, NET_TCP_BAD_HEADER);
        return false;
    }
    bool merged = p->m->ol_flags & RTE_MBUF_F_RX_LRO; /* here or by the card, which have looked at each */
    bool checked = (p->m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD && (p->m->nb_segs == 1 || merged);
    if (!checked && ip_l4_sum(p->m, &p->src, &p->dst, IPPROTO_TCP, p->len) != 0xffff) {
        net_drop(st, p->m, NET_TCP_BAD_CKSUM);
        return false;
    }
    if (!p->to_us) { /* RFC 9293 3.9.2.3 */
        net_drop(st, p->m, NET_TCP_BAD_ADDRESS);
        return false;
    }
    *s = (struct tcp_seg){
        .m = p->m,
        .flow = {p->dst, p->src, h->dst_port, h->src_port},
        .seq = seq(rte_be_to_cpu_32(h->sent_seq)),
        .ack = seq(rte_be_to_cpu_32(h->recv_ack)),
        .len = p->len - hlen,
        .segments = merged && p->m->tso_segsz > 0 ? RTE_MAX(1u, (p->len - hlen + p->m->tso_segsz - 1u) / p->m->tso_segsz) : 1,
        .wnd = rte_be_to_cpu_16(h->rx_win),
        .flags = h->tcp_flags,
        .ce = ((ip_is_v4(&p->src) ? p->ip4.type_of_service : rte_be_to_cpu_32(p->ip6.vtc_flow) >> 20) & 3u) == ECN_CE,
    };
    if (s->flags & RTE_TCP_URG_FLAG) { /* RFC 6093 3.1: it points behind the urgent byte */
        uint16_t to = rte_be_to_cpu_16(h->tcp_urp);
        s->urgent = true;
        s->up = seq_add(s->seq, to > 0 ? to - 1u : 0);
    }
    if (!tcp_options_parse((const uint8_t *)(h + 1), hlen - (uint32_t)sizeof *h, &s->opt)) {
        net_drop(st, p->m, NET_TCP_BAD_HEADER);
        return false;
    }
    rte_pktmbuf_adj(p->m, (uint16_t)hlen);
    return true;
}

/* ---- First check: sequence number ---- */

/* An ACK that a later one has overtaken changes nothing but what its SACK blocks tell, and those are worth having where packets
 * are reordered. As Linux: no payload, nothing acknowledged, no wider window, not older than a retransmission timeout. */
static bool overtaken_ack(const struct tcp_conn *c, const struct tcp_seg *s)
{
    return (s->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_FIN_FLAG | RTE_TCP_ACK_FLAG)) == RTE_TCP_ACK_FLAG && s->len == 0 &&
           seq_eq(s->seq, c->rcv_nxt) && seq_eq(s->ack, c->snd_una) && s->wnd != 0 && (uint32_t)s->wnd << c->snd_scale <= c->snd_wnd &&
           c->ts_recent - s->opt.tsval <= c->rto_us / 1000;
}

/* RFC 7323 5.5: the peer's clock may have gone half round since. */
static bool ts_recent_is_old(const struct tcp_conn *c)
{
    return c->st->now - c->ts_recent_at > TCP_PAWS_IDLE_NS;
}

/* Data that the retransmission of something before it has overtaken. RFC 7323 5.3 turns it away like old duplicates, which have
 * come round the sequence space; but what was sent within the last round trip has not: no window is more than a quarter of that.
 * Linux allows a tick of the peer's clock, without looking at the round trip. */
static bool overtaken_data(const struct tcp_conn *c, const struct tcp_seg *s)
{
    return s->len > 0 && c->ts_recent - s->opt.tsval <= RTE_MAX(RTE_MAX(c->srtt_us, c->rcv_rtt_us) / 1000, 1u);
}

/* What is not taken is answered by an ACK (3.10.7.4, RFC 7323 5.3). */
static void turn_away(struct tcp_conn *c, const struct tcp_seg *s)
{
    bool old = s->len > 0 && seq_leq(seq_add(s->seq, s->len), c->rcv_nxt) &&
               !(s->flags & (RTE_TCP_RST_FLAG | RTE_TCP_SYN_FLAG)) && (c->flags & TCP_F_SACK);
    if (old) {
        /* Received before, wholly: its sender learns that a retransmission was in vain. Not limited: it is no ACK that two ends could
         * throw at each other. */
        tcp_sack_twice(c, s->seq, seq_add(s->seq, s->len));
        tcp_send_ack(c);
    } else if (!(s->flags & RTE_TCP_RST_FLAG))
        tcp_challenge(c); /* limited, so that two ends out of step do not loop */
}

/* RFC 7323 5.3 R1, R2. True: go on. */
static bool paws_ok(struct tcp_conn *c, const struct tcp_seg *s)
{
    if (!(c->flags & TCP_F_TS) || (s->flags & RTE_TCP_RST_FLAG))
        return true;
    if (!s->opt.has_ts) {
        NET_COUNT(c->st, TCP_NO_TIMESTAMP); /* RFC 7323 3.2: drop silently */
        return false;
    }
    bool older = (int32_t)(s->opt.tsval - c->ts_recent) < 0;
    if (!older || ts_recent_is_old(c) || overtaken_ack(c, s) || overtaken_data(c, s))
        return true;
    NET_COUNT(c->st, TCP_PAWS);
    turn_away(c, s);
    return false;
}

static bool in_window(const struct tcp_conn *c, const struct tcp_seg *s)
{
    uint32_t wnd = tcp_rcv_wnd(c), space = seg_space(s);
    tcp_seq edge = seq_add(c->rcv_nxt, wnd), last = seq_add(s->seq, space - 1);
    if (wnd == 0)
        return seq_eq(s->seq, c->rcv_nxt); /* with payload: a probe; its ACK counts, its payload does not */
    if (space == 0)
        return seq_geq(s->seq, c->rcv_nxt) && seq_lt(s->seq, edge);
    return (seq_geq(s->seq, c->rcv_nxt) && seq_lt(s->seq, edge)) || (seq_geq(last, c->rcv_nxt) && seq_lt(last, edge));
}

/* Cuts off what lies outside of the window (3.10.7.4, first check, last paragraph). */
static void trim(struct tcp_conn *c, struct tcp_seg *s)
{
    if (seq_lt(s->seq, c->rcv_nxt)) {
        uint32_t cut = (uint32_t)seq_diff(c->rcv_nxt, s->seq);
        if (s->flags & RTE_TCP_SYN_FLAG) {
            s->flags &= (uint8_t)~RTE_TCP_SYN_FLAG;
            cut--;
        }
        cut = RTE_MIN(cut, s->len);
        if (cut > 0) {
            c->flags |= TCP_F_ACK_NOW; /* received before: our ACK was lost */
            tcp_sack_twice(c, seq_sub(c->rcv_nxt, cut), c->rcv_nxt);
        }
        s->seq = c->rcv_nxt;
        s->skip += cut;
        s->len -= cut;
    }
    uint32_t wnd = tcp_rcv_wnd(c), before = (uint32_t)seq_diff(s->seq, c->rcv_nxt);
    uint32_t fits = wnd > before ? wnd - before : 0;
    if (s->len > fits) {
        NET_COUNT(c->st, TCP_UNACCEPTABLE);
        c->flags |= TCP_F_ACK_NOW;
        s->len = fits;
        s->flags &= (uint8_t)~RTE_TCP_FIN_FLAG;
    }
}

static bool acceptable(struct tcp_conn *c, struct tcp_seg *s)
{
    if (!paws_ok(c, s))
        return false;
    if (in_window(c, s))
        return true;
    NET_COUNT(c->st, TCP_UNACCEPTABLE);
    turn_away(c, s);
    return false;
}

/* RFC 7323 4.3 (2): the timestamp to echo is that of the segment that the last ACK was for. */
static void update_ts_recent(struct tcp_conn *c, const struct tcp_seg *s)
{
    if ((c->flags & TCP_F_TS) && s->opt.has_ts && seq_leq(s->seq, c->last_ack_sent) &&
        ((int32_t)(s->opt.tsval - c->ts_recent) >= 0 || ts_recent_is_old(c))) {
        c->ts_recent = s->opt.tsval;
        c->ts_recent_at = c->st->now;
    }
}

/* ---- Second: RST ---- */

static void reset_input(struct tcp_conn *c, const struct tcp_seg *s)
{
    if (!seq_eq(s->seq, c->rcv_nxt)) { /* RFC 5961 3.2 */
        NET_COUNT(c->st, TCP_RST_IGNORED);
        tcp_challenge(c);
        return;
    }
    NET_COUNT(c->st, TCP_RST_RX);
    bool active = c->state == TCP_SYN_RECEIVED && !(c->flags & TCP_F_PASSIVE);
    tcp_conn_end(c, active ? ECONNREFUSED : c->state == TCP_CLOSE_WAIT ? EPIPE : ECONNRESET);
}

/* ---- Fifth: ACK ---- */

static void update_window(struct tcp_conn *c, const struct tcp_seg *s)
{
    if (seq_lt(c->snd_wl1, s->seq) || (seq_eq(c->snd_wl1, s->seq) && seq_leq(c->snd_wl2, s->ack))) {
        c->snd_wnd = (uint32_t)s->wnd << c->snd_scale;
        c->max_wnd = RTE_MAX(c->max_wnd, c->snd_wnd);
        c->snd_wl1 = s->seq;
        c->snd_wl2 = s->ack;
    }
}

/* RFC 5681 2: what counts as a duplicate. */
static bool is_dupack(const struct tcp_conn *c, const struct tcp_seg *s)
{
    return seq_eq(s->ack, c->snd_una) && tcp_flight(c) > 0 && s->len == 0 && s->skip == 0 &&
           !(s->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_FIN_FLAG)) && (uint32_t)s->wnd << c->snd_scale == c->snd_wnd &&
           c->snd_wnd != 0;
}

/* What the ACK of our FIN brings. */
static void fin_acked(struct tcp_conn *c)
{
    const struct zs_session *own = tcp_own(c);
    switch ((enum tcp_state)c->state) {
    case TCP_FIN_WAIT_1:
        tcp_set_state(c, TCP_FIN_WAIT_2);
        if (own == NULL || (atomic_load(&own->flags) & ZS_F_PEER_CLOSED))
            tcp_orphan(c);
        break;
    case TCP_CLOSING:
        tcp_enter_time_wait(c);
        break;
    case TCP_LAST_ACK:
        tcp_conn_end(c, 0);
        break;
    default:
        break;
    }
}

static bool ack_input(struct tcp_conn *c, const struct tcp_seg *s)
{
    /* RFC 5961 5.2: neither what was never sent nor what is older than any window. */
    if (seq_gt(s->ack, c->snd_max) || seq_lt(s->ack, seq_sub(c->snd_una, c->max_wnd))) {
        NET_COUNT(c->st, TCP_BAD_ACK);
        tcp_challenge(c);
        return false;
    }
    if (c->keep_probes > 0 || tcp_timer_on(c, TCP_T_PERSIST))
        c->keep_probes = c->retries = 0; /* alive */
    if ((c->tfo & TCP_TFO_SYN_OUT) && seq_geq(s->ack, c->snd_una))
        tcp_tfo_confirmed(c);
    if (seq_lt(s->ack, c->snd_una))
        return true; /* an old one; its data may be new */
    bool dup = is_dupack(c, s);
    tcp_ecn_ack(c, s);
    update_window(c, s);
    uint32_t acked = (uint32_t)seq_diff(s->ack, c->snd_una);
    if (acked > 0) {
        bool timed = c->flags & TCP_F_RTT_TIMED;
        tcp_acked(c, s->ack);
        if (c->state == TCP_CLOSED)
            return false;
        /* RFC 7323 4: after a retransmission only the timestamp tells which one this answers. */
        if (!timed && (c->flags & TCP_F_TS) && s->opt.tsecr != 0)
            tcp_rtt_sample(c, (uint64_t)(tcp_ts_now(c) - s->opt.tsecr) * NET_NS_PER_MS);
    }
    if (c->flags & TCP_F_SACK_SEND)
        tcp_sack_ack(c, s, acked);
    else if (acked > 0)
        tcp_recovery_ack(c, s->ack, acked);
    else if (dup)
        tcp_dupack(c);
    if (acked > 0 && c->state != TCP_CLOSED && (c->flags & TCP_F_FIN_SENT) && seq_gt(s->ack, c->fin_seq))
        fin_acked(c);
    if (c->state == TCP_CLOSED)
        return false;
    if (tcp_timer_on(c, TCP_T_PERSIST) && c->snd_wnd >= c->mss) {
        tcp_timer_clear(c, TCP_T_PERSIST);
        c->backoff = 0;
        c->stuck_since = c->st->now;
    }
    return c->state != TCP_CLOSED;
}

/* ---- The whole ---- */

/* A SYN in SYN-RECEIVED with the sequence number we know: a repetition, or the other half of a simultaneous open. It begins
 * one before RCV.NXT, so that 3.10.7.4's first check would turn away what figure 8 of the RFC accepts. */
static bool known_syn(struct tcp_conn *c, struct tcp_seg *s)
{
    if ((c->tfo & TCP_TFO_SYN_OUT) && (s->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG)) == RTE_TCP_SYN_FLAG && seq_eq(s->seq, c->irs)) {
        tcp_tfo_syn_again(c);
        return true;
    }
    if (c->state != TCP_SYN_RECEIVED || !(s->flags & RTE_TCP_SYN_FLAG) || !seq_eq(s->seq, c->irs))
        return false;
    if (s->flags & RTE_TCP_ACK_FLAG) {
        s->flags &= (uint8_t)~RTE_TCP_SYN_FLAG;
        s->seq = c->rcv_nxt;
        return false;
    }
    tcp_send_syn(c);
    return true;
}

static void segment_input(struct tcp_conn *c, struct tcp_seg *s)
{
    if (known_syn(c, s) || !acceptable(c, s))
        return;
    if (s->flags & RTE_TCP_RST_FLAG) {
        reset_input(c, s);
        return;
    }
    if (s->flags & RTE_TCP_SYN_FLAG) { /* RFC 5961 4.2 */
        NET_COUNT(c->st, TCP_SYN_IN_WINDOW);
        tcp_challenge(c);
        return;
    }
    update_ts_recent(c, s);
    tcp_ecn_in(c, s);
    trim(c, s);
    c->last_rcv = c->st->now;
    if (c->state == TCP_SYN_RECEIVED) {
        if (!tcp_syn_received_ack(c, s))
            return;
    } else if (!ack_input(c, s)) {
        return;
    }
    tcp_receive(c, s);
    if (c->state != TCP_CLOSED)
        tcp_send_data(c);
}

static void time_wait_input(struct tcp_conn *c, struct tcp_seg *s)
{
    struct stack *st = c->st;
    if (s->flags & RTE_TCP_RST_FLAG) {
        NET_COUNT(st, TCP_RST_IGNORED); /* RFC 1337 3: or old duplicates could end TIME-WAIT */
        return;
    }
    struct tcp_listener *l = tcp_listener_find(st, &s->flow.local_ip, s->flow.local_port);
    /* RFC 6191 2: by the timestamp where both have it, and only then by the sequence number. */
    int32_t later = (c->flags & TCP_F_TS) && s->opt.has_ts ? (int32_t)(s->opt.tsval - c->ts_recent) : 0;
    bool newer = later > 0 || (later == 0 && seq_gt(s->seq, c->rcv_nxt));
    if ((s->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG)) == RTE_TCP_SYN_FLAG && newer && l != NULL) {
        tcp_seq last = c->snd_max; /* 3.10.7.4 and RFC 6191: a new incarnation */
        NET_COUNT(st, TCP_TIME_WAIT_REUSED);
        tcp_conn_end(c, 0);
        tcp_passive_open(st, s, l, &last);
        return;
    }
    if (!paws_ok(c, s))
        return;
    if (s->flags & RTE_TCP_FIN_FLAG) /* our ACK was lost: again, and 2 MSL from now */
        tcp_timer_set(c, TCP_T_TIME_WAIT, TCP_TIME_WAIT_NS);
    if (seg_space(s) > 0 || !in_window(c, s))
        tcp_challenge(c);
}

/* An ACK for a listener that knows no such connection. */
static void cookie_input(struct stack *st, struct tcp_seg *s, struct tcp_listener *l)
{
    struct tcp_conn *c;
    switch (tcp_cookie_ack(st, s, l, &c)) {
    case TCP_COOKIE_GOOD:
        segment_input(c, s);
        if (c->state == TCP_SYN_RECEIVED)
            tcp_conn_end(c, 0); /* not accepted now: nothing is remembered, its next segment asks again */
        break;
    case TCP_COOKIE_LATER:
        break;
    case TCP_COOKIE_NONE:
        NET_COUNT(st, TCP_NO_CONNECTION);
        tcp_answer_rst(st, s);
        break;
    }
}

void tcp_input(struct stack *st, struct ip_pkt *p)
{
    struct tcp_seg s;
    if (st->conf.steer != NULL && steer_away(st, p))
        return;
    if (!parse(st, p, &s)) {
        NET_COUNT(st, TCP_RX);
        return;
    }
    NET_COUNT_BYTES(st, TCP_RX, s.segments);
    struct tcp_conn *c = tcp_burst_find(st, &s.flow);
    struct tcp_listener *l = c != NULL ? NULL : tcp_listener_find(st, &s.flow.local_ip, s.flow.local_port);
    enum tcp_state state = c != NULL ? c->state : l != NULL ? TCP_LISTEN : TCP_CLOSED;
    struct tcp_decision d = tcp_decide(state, s.flags);
    switch ((enum tcp_action)d.action) {
    case TCP_DROP:
        st->counters[d.why]++;
        break;
    case TCP_ANSWER_RST:
        NET_COUNT(st, TCP_NO_CONNECTION);
        tcp_answer_rst(st, &s);
        break;
    case TCP_PASSIVE_OPEN:
        tcp_passive_open(st, &s, l, NULL);
        break;
    case TCP_COOKIE_ACK:
        cookie_input(st, &s, l);
        break;
    case TCP_SYN_SENT_INPUT:
        tcp_syn_sent_input(c, &s);
        break;
    case TCP_SEGMENT:
        c->info.segs_in += s.segments;
        c->info.data_in += s.len > 0 ? s.segments : 0;
        segment_input(c, &s);
        break;
    case TCP_TIME_WAIT_INPUT:
        time_wait_input(c, &s);
        break;
    }
    rte_pktmbuf_free(s.m);
    tcp_tell_accepted(st);
    tcp_reap(st);
}

void tcp_poke(struct tcp_conn *c, uint64_t now)
{
    struct stack *st = c->st;
    struct zs_session *own = tcp_own(c);
    net_at(st, now);
    if (own == NULL || c->state == TCP_CLOSED)
        return;
    bool closed = atomic_load(&own->flags) & ZS_F_PEER_CLOSED;
    if (atomic_load_explicit(&own->rx_prod.fin, memory_order_acquire) == ZS_RST || (closed && !tcp_synchronized(c))) {
        tcp_conn_abort(c, ECONNRESET); /* closed with unread data, with linger 0, or before it was open */
        tcp_reap(st);
        return;
    }
    if ((c->tfo & TCP_TFO_WAITS) && (zs_rx_avail(own) > 0 || atomic_load_explicit(&own->rx_prod.fin, memory_order_acquire) != 0))
        tcp_send_syn(c);
    if (closed && c->state == TCP_FIN_WAIT_2 && !tcp_timer_on(c, TCP_T_TIME_WAIT))
        tcp_orphan(c);
    if (c->state == TCP_CLOSED) {
        tcp_reap(st);
        return;
    }
    if ((tcp_opt_bits(c) & ZS_O_QUICKACK) && tcp_timer_on(c, TCP_T_DELACK))
        c->flags |= TCP_F_ACK_NOW;
    tcp_keepalive_start(c);
    tcp_cc_follow(c);
    tcp_pace_follow(c);
    if (!tcp_loans_look(c)) {
        tcp_conn_fault(c);
        tcp_reap(st);
        return;
    }
    tcp_drain(c);
    if (c->state != TCP_CLOSED) {
        if ((c->flags & TCP_F_FIN_SEEN) && seq_eq(c->rcv_nxt, c->rcv_fin) && tcp_may_receive(c)) {
            struct tcp_seg none = {.seq = c->rcv_nxt};
            tcp_receive(c, &none);
        }
        tcp_window_update(c);
        tcp_send_data(c);
    }
    tcp_reap(st);
}

void tcp_icmp(struct stack *st, const struct ip_error *e)
{
    const struct rte_tcp_hdr *h = (const void *)e->l4; /* its first 8 bytes */
    struct tcp_flow flow = {e->local, e->remote, h->src_port, h->dst_port};
    struct tcp_conn *c = tcp_conn_find(st, &flow);
    tcp_seq at = seq(rte_be_to_cpu_32(h->sent_seq));
    /* RFC 5927 4.1, 8201 4: only about what is outstanding. */
    if (c == NULL || (e->err == 0 && e->redirect == NULL) || seq_lt(at, c->snd_una) || seq_geq(at, c->snd_max)) {
        NET_COUNT(st, ICMP_IGNORED);
        return;
    }
    if (e->redirect != NULL)
        redirect_learn(st, &e->remote, e->redirect);
    else if (e->err == EMSGSIZE)
        tcp_packet_too_big(c, e->mtu);
    else if (c->state == TCP_SYN_SENT)
        tcp_conn_end(c, e->err); /* as Linux, which does not wait for a route to come back: RFC 5461 4.2 */
    else
        c->soft_error = (int16_t)e->err; /* RFC 5461: an established connection survives it */
    tcp_reap(st);
}
