/* SPDX-License-Identifier: BSD-3-Clause
 * Sending data: what the windows allow (RFC 9293 3.8.6), Nagle and silly-window avoidance (3.7.4, 3.8.6.2.1), FIN,
 * acknowledged bytes, window probes (3.8.6.1). */
#include "scoreboard.h"

#define RING_SANE (2u * ZS_DIR_RINGS * ZS_RING_MAX) /* more unread bytes than this no ring can hold */

/* What own's ring has for the wire, from snd_una on. */
struct pending {
    uint64_t bytes;
    bool fin;
};

static bool look(struct tcp_conn *c, struct pending *p)
{
    struct zs_session *own = tcp_own(c);
    *p = (struct pending){0};
    if (own == NULL)
        return true;
    /* fin before tail: every byte before the FIN is visible then. */
    uint32_t fin = atomic_load_explicit(&own->rx_prod.fin, memory_order_acquire);
    p->fin = fin == ZS_FIN;
    p->bytes = zs_rx_avail(own);
    tcp_urgent_look(c, own, p->bytes);
    if (p->bytes <= RING_SANE)
        return true;
    tcp_conn_fault(c);
    return false;
}

uint32_t tcp_mss_now(struct tcp_conn *c)
{
    uint32_t blocks = tcp_sack_length(c);
    return blocks + TCP_MSS_MIN / 2 < c->mss ? c->mss - blocks : TCP_MSS_MIN / 2;
}

static uint32_t usable_window(const struct tcp_conn *c)
{
    if (c->flags & TCP_F_SACK_SEND) { /* limited transmit (RFC 3042) included: what arrived has left the pipe */
        uint32_t pipe = tcp_pipe(c), all = (uint32_t)seq_diff(c->snd_nxt, c->snd_una);
        uint32_t cwnd = c->flags & TCP_F_PROBING ? RTE_MAX(c->cwnd, pipe + c->mss) : c->cwnd;
        return RTE_MIN(cwnd > pipe ? cwnd - pipe : 0, c->snd_wnd > all ? c->snd_wnd - all : 0);
    }
    /* RFC 3042: the first two duplicate ACKs allow one new segment each. */
    uint32_t extra = c->flags & TCP_F_RECOVERY ? 0 : RTE_MIN(c->dupacks, (uint8_t)2) * (uint32_t)c->mss;
    uint32_t window = RTE_MIN(c->snd_wnd, c->cwnd + extra);
    uint32_t used = (uint32_t)seq_diff(c->snd_nxt, c->snd_una);
    return window > used ? window - used : 0;
}

/* RFC 9293 3.8.6.2.1: worth a segment now? `last`: nothing is left behind it. */
static bool worth_sending(struct tcp_conn *c, uint32_t len, bool last)
{
    uint32_t bits = tcp_opt_bits(c);
    if (len >= tcp_mss_now(c) || seq_lt(c->snd_nxt, c->snd_max))
        return true;
    if (len == 0)
        return false;
    bool corked = bits & (ZS_O_CORK | ZS_O_MORE);
    if (last && (c->flags & TCP_F_UNCORK))
        return true;
    if ((c->flags & TCP_F_URGENT) && seq_gt(c->snd_up, c->snd_nxt) && seq_leq(c->snd_up, seq_add(c->snd_nxt, len)))
        return true; /* as Linux: neither Nagle nor a cork holds it back */
    if (last && !corked && (seq_eq(c->snd_una, c->snd_max) || (bits & ZS_O_NODELAY)))
        return true;
    return !last && len >= c->max_wnd / 2 && !corked;
}

static void count_again(struct tcp_conn *c, uint32_t bytes)
{
    NET_COUNT(c->st, TCP_RETRANSMITTED);
    c->info.retrans++;
    c->bytes_retrans += bytes;
}

/* Something is at snd_nxt's place and on its way: the bookkeeping for it. */
static void sent(struct tcp_conn *c, uint32_t space)
{
    tcp_seq from = c->snd_nxt;
    if (seq_eq(c->snd_una, c->snd_max))
        c->stuck_since = c->st->now;
    if (seq_lt(from, c->snd_max)) {
        count_again(c, space);
        c->flags &= ~TCP_F_RTT_TIMED; /* Karn's rule */
    } else if (!(c->flags & TCP_F_RTT_TIMED)) {
        c->flags |= TCP_F_RTT_TIMED;
        c->rtt_seq = from;
        c->rtt_start = c->st->now;
    }
    c->snd_nxt = seq_add(from, space);
    c->send->prr_out += space;
    tcp_pace_sent(c, space);
    if (c->flags & TCP_F_SACK_SEND)
        tcp_board_sent(c, from, space);
    c->flags |= TCP_F_PLAN_PROBE;
    c->snd_max = seq_max(c->snd_max, c->snd_nxt);
    c->last_send = c->st->now;
    tcp_timer_clear(c, TCP_T_PERSIST);
    if (!tcp_timer_on(c, TCP_T_RETRANSMIT))
        tcp_timer_set(c, TCP_T_RETRANSMIT, tcp_rto_ns(c));
}

static void sent_fin(struct tcp_conn *c, tcp_seq fin)
{
    if (c->flags & TCP_F_FIN_SENT)
        return;
    c->flags |= TCP_F_FIN_SENT;
    c->fin_seq = fin;
    tcp_set_state(c, c->state == TCP_CLOSE_WAIT ? TCP_LAST_ACK : TCP_FIN_WAIT_1);
}

/* One segment from snd_nxt, if there is something to send and it may be sent. */
static bool send_one(struct tcp_conn *c, const struct pending *p)
{
    uint64_t off = (uint64_t)(uint32_t)seq_diff(c->snd_nxt, c->snd_una);
    if (off > p->bytes) /* the FIN is behind snd_nxt */
        return false;
    uint64_t left = p->bytes - off;
    uint32_t mss = tcp_mss_now(c), due = c->flags & TCP_F_PROBING ? UINT32_MAX : tcp_pace_room(c);
    uint32_t room = (uint32_t)RTE_MIN(left, (uint64_t)usable_window(c));
    if (due < RTE_MIN(room, mss)) {
        tcp_pace_wait(c);
        return false;
    }
    if (room > due) /* whole segments: what is left over goes with the next */
        room = due - due % mss;
    uint32_t len = room / mss > 1 ? mss * tcp_large(c, mss, room / mss) : RTE_MIN(room, mss);
    bool last = len == left, fin = last && p->fin;
    if (!fin && !worth_sending(c, len, last))
        return false;
    /* A FIN needs no window, but what it ends does: RFC 9293 lets it follow data that filled the window. */
    if (len == 0 && !fin)
        return false;
    uint8_t flags = RTE_TCP_ACK_FLAG | (last && len > 0 ? RTE_TCP_PSH_FLAG : 0) | (fin ? RTE_TCP_FIN_FLAG : 0);
    if (!tcp_transmit_large(c, c->snd_nxt, flags, off, len, mss)) {
        /* No buffer: as if lost. The timer brings us back. */
        if (c->state != TCP_CLOSED && !tcp_timer_on(c, TCP_T_RETRANSMIT))
            tcp_timer_set(c, TCP_T_RETRANSMIT, tcp_rto_ns(c));
        return false;
    }
    tcp_seq end = seq_add(c->snd_nxt, len);
    sent(c, len + fin);
    if (fin)
        sent_fin(c, end);
    return true;
}

/* With something to send, nothing outstanding and no room for it, only a probe can learn that the window opened. */
static void consider_persist(struct tcp_conn *c, const struct pending *p)
{
    bool idle = c->flags & TCP_F_SACK_SEND ? tcp_pipe(c) == 0 && tcp_sacked(c) == 0 : seq_eq(c->snd_nxt, c->snd_una);
    if (!idle || p->bytes == 0 || c->state == TCP_CLOSED || !tcp_may_retransmit(c))
        return;
    if (c->snd_wnd >= p->bytes || c->snd_wnd >= c->mss || (tcp_opt_bits(c) & ZS_O_CORK && c->snd_wnd > 0))
        return;
    tcp_timer_clear(c, TCP_T_RETRANSMIT);
    if (tcp_timer_on(c, TCP_T_PERSIST))
        return;
    c->stuck_since = c->st->now;
    tcp_timer_set(c, TCP_T_PERSIST, tcp_rto_ns(c));
}

/* RFC 6675 4, NextSeg() (2) has no answer, for want of data or of the peer's window. */
static bool nothing_new(const struct tcp_conn *c, const struct pending *p)
{
    uint32_t all = (uint32_t)seq_diff(c->snd_nxt, c->snd_una);
    return p->bytes <= all || c->snd_wnd <= all;
}

/* Whatever is outstanding has a timer. */
static void keep_watch(struct tcp_conn *c)
{
    if (c->state != TCP_CLOSED && tcp_flight(c) > 0 && !tcp_timer_on(c, TCP_T_RETRANSMIT) && !tcp_timer_on(c, TCP_T_PERSIST))
        tcp_timer_set(c, TCP_T_RETRANSMIT, tcp_rto_ns(c));
}

/* A cork alone keeps the rest from being sent. */
static bool held_back(struct tcp_conn *c, const struct pending *p)
{
    uint32_t all = (uint32_t)seq_diff(c->snd_nxt, c->snd_una);
    return (tcp_opt_bits(c) & (ZS_O_CORK | ZS_O_MORE)) && p->bytes > all && p->bytes - all < tcp_mss_now(c) && c->snd_wnd > all;
}

void tcp_send_data(struct tcp_conn *c)
{
    struct pending p;
    if (tcp_may_retransmit(c)) {
        if (!look(c, &p))
            return;
        bool rests = seq_eq(c->snd_una, c->snd_max) && c->st->now - c->last_send > tcp_rto_ns(c);
        if (rests && p.bytes > 0)
            tcp_cc_idle(c);
        bool skip = c->flags & TCP_F_FRTO_NEW; /* RFC 5682: new data first */
        if ((c->flags & TCP_F_SACK_SEND) && !skip)
            tcp_sack_resend(c, false);
        while (c->state != TCP_CLOSED && (tcp_lost(c) == 0 || skip) && send_one(c, &p))
            ;
        if (skip && c->state != TCP_CLOSED && tcp_pipe(c) == 0) { /* what is new may not leave alone */
            c->flags &= ~TCP_F_FRTO_NEW;
            tcp_sack_resend(c, false);
        }
        if ((c->flags & (TCP_F_SACK_SEND | TCP_F_RECOVERY)) == (TCP_F_SACK_SEND | TCP_F_RECOVERY) && c->state != TCP_CLOSED)
            tcp_sack_resend(c, nothing_new(c, &p));
        consider_persist(c, &p);
        keep_watch(c);
        if (c->state != TCP_CLOSED)
            tcp_corked(c, held_back(c, &p));
        if (c->state != TCP_CLOSED)
            tcp_probe_plan(c);
        if (c->state != TCP_CLOSED)
            tcp_tell_sent(c);
    }
    if (c->state != TCP_CLOSED && (c->flags & TCP_F_ACK_NOW))
        tcp_send_ack(c);
}

bool tcp_send_one_more(struct tcp_conn *c)
{
    struct pending p;
    if (!look(c, &p))
        return false;
    c->flags |= TCP_F_PROBING;
    bool done = send_one(c, &p);
    c->flags &= ~TCP_F_PROBING;
    return done;
}

bool tcp_has_new(struct tcp_conn *c)
{
    struct pending p;
    return look(c, &p) && !nothing_new(c, &p);
}

bool tcp_retransmit_first(struct tcp_conn *c)
{
    struct pending p;
    if (!look(c, &p))
        return false;
    uint32_t len = (uint32_t)RTE_MIN(p.bytes, (uint64_t)RTE_MIN((uint32_t)c->mss, tcp_flight(c)));
    bool fin = (c->flags & TCP_F_FIN_SENT) && seq_eq(seq_add(c->snd_una, len), c->fin_seq);
    if (len == 0 && !fin)
        return false;
    count_again(c, len);
    c->flags &= ~TCP_F_RTT_TIMED;
    c->last_send = c->st->now;
    return tcp_transmit(c, c->snd_una, RTE_TCP_ACK_FLAG | (fin ? RTE_TCP_FIN_FLAG : 0), 0, len);
}

bool tcp_retransmit(struct tcp_conn *c, tcp_seq at, uint32_t space)
{
    struct pending p;
    uint64_t off = (uint64_t)(uint32_t)seq_diff(at, c->snd_una);
    if (!look(c, &p))
        return false;
    uint32_t len = off < p.bytes ? (uint32_t)RTE_MIN(p.bytes - off, (uint64_t)space) : 0;
    bool fin = (c->flags & TCP_F_FIN_SENT) && len < space && seq_eq(seq_add(at, len), c->fin_seq);
    if (len + fin == 0) {
        tcp_conn_fault(c); /* what was sent is no longer there */
        return false;
    }
    uint8_t flags = RTE_TCP_ACK_FLAG | (len > 0 && off + len == p.bytes ? RTE_TCP_PSH_FLAG : 0) | (fin ? RTE_TCP_FIN_FLAG : 0);
    if (!tcp_transmit(c, at, flags, off, len))
        return false;
    count_again(c, len);
    c->flags &= ~TCP_F_RTT_TIMED; /* Karn's rule */
    c->last_send = c->st->now;
    c->send->prr_out += len + fin;
    tcp_pace_sent(c, len);
    tcp_board_resent(c, at, len + fin);
    tcp_undo_resent(c, at, len + fin);
    tcp_timer_clear(c, TCP_T_PERSIST);
    if (!tcp_timer_on(c, TCP_T_RETRANSMIT))
        tcp_timer_set(c, TCP_T_RETRANSMIT, tcp_rto_ns(c));
    return true;
}

void tcp_window_probe(struct tcp_conn *c)
{
    struct pending p;
    if (!look(c, &p) || p.bytes == 0)
        return;
    /* One byte of new data (3.8.6.1), or what fits into a window too small for a good segment. */
    uint32_t len = (uint32_t)RTE_MIN(p.bytes, (uint64_t)RTE_MIN(RTE_MAX(c->snd_wnd, 1u), (uint32_t)c->mss));
    NET_COUNT(c->st, TCP_PROBE);
    if (!tcp_transmit(c, c->snd_una, RTE_TCP_ACK_FLAG, 0, len) && c->state == TCP_CLOSED)
        return;
    c->snd_max = seq_max(c->snd_max, seq_add(c->snd_una, len));
    c->flags &= ~TCP_F_RTT_TIMED;
    if (c->backoff < 16)
        c->backoff++;
    tcp_timer_set(c, TCP_T_PERSIST, tcp_rto_ns(c));
}

void tcp_acked(struct tcp_conn *c, tcp_seq ack)
{
    uint32_t bytes = (uint32_t)seq_diff(ack, c->snd_una);
    bool fin = (c->flags & TCP_F_FIN_SENT) && seq_gt(ack, c->fin_seq);
    struct zs_session *own = tcp_own(c);
    if (own != NULL && bytes > fin) {
        if (zs_rx_avail(own) < bytes - fin) {
            tcp_conn_fault(c);
            return;
        }
        tcp_leave_ring(c, ack);
        zs_rx_consume(c->st->conf.view, own, bytes - fin);
    }
    c->snd_una = ack;
    if (seq_lt(c->snd_nxt, ack))
        c->snd_nxt = ack;
    if ((c->flags & TCP_F_RTT_TIMED) && seq_gt(ack, c->rtt_seq)) {
        tcp_rtt_sample(c, c->st->now - c->rtt_start);
        c->flags &= ~TCP_F_RTT_TIMED;
    }
    c->retries = c->backoff = 0;
    c->stuck_since = c->st->now;
    if (seq_eq(ack, c->snd_max))
        tcp_timer_clear(c, TCP_T_RETRANSMIT); /* RFC 6298 5.2 */
    else
        tcp_timer_set(c, TCP_T_RETRANSMIT, tcp_rto_ns(c)); /* 5.3 */
    if (c->send != NULL)
        tcp_timer_set(c, TCP_T_REST, tcp_rto_ns(c));
}
