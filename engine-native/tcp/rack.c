/* SPDX-License-Identifier: BSD-3-Clause
 * RACK-TLP, RFC 8985: what was sent before something that has arrived, and longer ago than that took, is lost; and when
 * nothing arrives any more, a probe asks. For connections with SACK and timestamps. */
#include "scoreboard.h"

#define REO_SHARE 4u          /* the reordering window is counted in quarters of min_RTT (6.2, step 4) */
#define REO_PERSIST 16u       /* recoveries after which a wider one is forgotten */
#define DUP_THRESH 3u
#define MAX_ACK_DELAY_NS (200 * NET_NS_PER_MS)
#define STAMP_AHEAD_US 1u     /* what a stamp may be ahead of the time */

static bool sent_after(uint64_t t1, tcp_seq end1, uint64_t t2, tcp_seq end2)
{
    return t1 > t2 || (t1 == t2 && seq_gt(end1, end2));
}

/* ---- What arrived: 6.2, steps 1 to 3 ---- */

void tcp_rack_arrived(struct tcp_conn *c, const struct tcp_range *r, const struct tcp_seg *s)
{
    struct tcp_board *b = c->board;
    uint64_t rtt = c->st->now > r->sent ? c->st->now - r->sent : 0;
    bool resent = r->flags & RANGE_RESENT;
    if (!tcp_rack_on(c))
        return;
    /* Step 2: an answer to an earlier transmission says nothing of this one. */
    bool earlier = resent && ((int32_t)(s->opt.tsecr - tcp_ts_at(c, r->sent)) < 0 || rtt / 1000 + STAMP_AHEAD_US < c->min_rtt_us);
    if (!resent)
        tcp_rtt_least(c, rtt);
    if (!earlier) {
        b->rack_rtt = rtt;
        if (sent_after(r->sent, r->end, b->rack_sent, b->rack_end)) {
            b->rack_sent = r->sent;
            b->rack_end = r->end;
        }
    }
    if (seq_gt(r->end, b->fack))
        b->fack = r->end;
    else if (seq_lt(r->end, b->fack) && !resent)
        c->flags |= TCP_F_REORDERED;
}

/* Step 4: the peer got something twice that was not missing, so the window was too narrow. */
void tcp_rack_twice(struct tcp_conn *c)
{
    struct tcp_send *s = c->send;
    if (s == NULL || ((c->flags & TCP_F_REO_ROUND) && seq_lt(c->snd_una, s->reo_round)))
        return;
    c->flags |= TCP_F_REO_ROUND;
    s->reo_round = c->snd_nxt;
    s->reo_more = (uint8_t)RTE_MIN(s->reo_more + 1u, 64u);
    s->reo_persist = REO_PERSIST;
}

void tcp_rack_recovered(struct tcp_conn *c)
{
    struct tcp_send *s = c->send;
    if (s->reo_persist > 0 && --s->reo_persist == 0)
        s->reo_more = 0;
}

static uint64_t reordering_window(const struct tcp_conn *c)
{
    const struct tcp_board *b = c->board;
    bool enough = b->sacked > (DUP_THRESH - 1) * c->mss || c->dupacks >= DUP_THRESH;
    if (!(c->flags & TCP_F_REORDERED) && ((c->flags & (TCP_F_RECOVERY | TCP_F_LOSS)) || enough))
        return 0;
    return RTE_MIN((uint64_t)c->min_rtt_us * (c->send->reo_more + 1u) / REO_SHARE, (uint64_t)c->srtt_us) * 1000;
}

/* ---- Step 5 ---- */

void tcp_rack_find_lost(struct tcp_conn *c)
{
    struct tcp_board *b = c->board;
    uint64_t reo = reordering_window(c), later = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        struct tcp_range *r = &b->range[i];
        if ((r->flags & (RANGE_SACKED | RANGE_LOST)) || !sent_after(b->rack_sent, b->rack_end, r->sent, r->end))
            continue;
        uint64_t due = r->sent + b->rack_rtt + reo;
        if (due <= c->st->now) {
            if (r->flags & RANGE_RESENT)
                NET_COUNT(c->st, TCP_RESENT_LOST);
            tcp_board_flag(b, r, RANGE_LOST, RANGE_TWICE);
        } else {
            later = RTE_MAX(later, due - c->st->now);
        }
    }
    tcp_board_tidy(c);
    b->waits = later > 0;
    if (later > 0)
        tcp_timer_set(c, TCP_T_LOSS, later);
    else if (b->sacked > 0)
        tcp_timer_clear(c, TCP_T_LOSS);
}

/* 6.3: after a timeout, the first segment, and what was sent a round trip ago or more. */
bool tcp_rack_spares(const struct tcp_conn *c, const struct tcp_range *r)
{
    const struct tcp_board *b = c->board;
    uint64_t rtt = b->rack_rtt != 0 ? b->rack_rtt : (uint64_t)c->srtt_us * 1000;
    return tcp_rack_on(c) && r != &b->range[0] && r->sent + rtt + reordering_window(c) > c->st->now;
}

/* ---- Tail loss probe: 7 ---- */

/* 7.2. After new data was sent, or some of what was sent arrived. In recovery, too, as RFC 9002 6.2 has it for QUIC: when the last
 * acknowledgement of a small window is lost, nothing would come any more but the retransmission timeout. */
void tcp_probe_plan(struct tcp_conn *c)
{
    if (!tcp_rack_on(c) || !(c->flags & TCP_F_PLAN_PROBE))
        return;
    c->flags &= ~TCP_F_PLAN_PROBE;
    if (c->board != NULL && c->board->waits)
        return;
    bool known = (c->flags & TCP_F_RECOVERY) || (tcp_sacked(c) == 0 && tcp_lost(c) == 0);
    bool calm = known && !(c->flags & (TCP_F_LOSS | TCP_F_PROBE_OUT));
    if (!calm || tcp_flight(c) == 0 || !tcp_timer_on(c, TCP_T_RETRANSMIT)) {
        if (tcp_sacked(c) == 0)
            tcp_timer_clear(c, TCP_T_LOSS);
        return;
    }
    uint64_t pto = c->srtt_us == 0 ? NET_NS_PER_S : 2 * (uint64_t)c->srtt_us * 1000;
    if (c->srtt_us != 0 && tcp_flight(c) <= c->mss)
        pto += MAX_ACK_DELAY_NS;
    tcp_timer_set(c, TCP_T_LOSS, RTE_MIN(RTE_MAX(pto, WHEEL_TICK_NS), tcp_timer_left(c, TCP_T_RETRANSMIT)));
}

/* What is outstanding and may be a probe: the last segment, or in recovery the first, which everything else waits for. */
static bool probe_again(struct tcp_conn *c)
{
    bool first = c->flags & TCP_F_RECOVERY;
    const struct tcp_range *r = &c->board->range[first ? 0 : c->board->n - 1];
    uint32_t space = RTE_MIN((uint32_t)seq_diff(r->end, r->start), tcp_mss_now(c));
    tcp_seq at = first ? r->start : seq_sub(r->end, space);
    c->send->probe_end = seq_add(at, space);
    c->flags |= TCP_F_PROBE_RESENT;
    return tcp_retransmit(c, at, space);
}

/* 7.3, and while something waits to be sent again, the first of that. */
static bool send_probe(struct tcp_conn *c)
{
    c->flags &= ~TCP_F_PROBE_RESENT;
    if (c->board->lost > 0) {
        c->flags |= TCP_F_RESEND;
        tcp_sack_resend(c, false);
    } else if (!tcp_send_one_more(c)) {
        return c->state != TCP_CLOSED && c->board != NULL && probe_again(c);
    }
    if (c->state == TCP_CLOSED) /* what was to be sent is not where the application's ring should have it */
        return false;
    c->send->probe_end = c->snd_nxt;
    return true;
}

static void probe(struct tcp_conn *c)
{
    if ((c->flags & TCP_F_PROBE_OUT) || !send_probe(c))
        return;
    NET_COUNT(c->st, TCP_TAIL_PROBE);
    c->flags = (c->flags | TCP_F_PROBE_OUT) & ~TCP_F_PLAN_PROBE;
    tcp_timer_set(c, TCP_T_RETRANSMIT, tcp_rto_ns(c));
}

/* 7.4.2 */
bool tcp_probe_acked(struct tcp_conn *c, const struct tcp_seg *s, const struct tcp_news *news)
{
    if (!(c->flags & TCP_F_PROBE_OUT) || seq_lt(s->ack, c->send->probe_end))
        return false;
    tcp_seq end = c->send->probe_end;
    bool both = news->has_twice && seq_eq(news->twice.end, end);
    bool twice = news->acked == 0 && s->len == 0 && s->opt.sacks == 0 && seq_eq(s->ack, end);
    bool resent = c->flags & TCP_F_PROBE_RESENT;
    if (!resent || both || twice) {
        c->flags &= ~TCP_F_PROBE_OUT;
        return both;
    }
    if (seq_gt(s->ack, end)) { /* the probe filled a hole: a loss like others, repaired already */
        NET_COUNT(c->st, TCP_PROBE_REPAIRED);
        c->flags &= ~TCP_F_PROBE_OUT;
        if (!(c->flags & (TCP_F_RECOVERY | TCP_F_LOSS))) {
            c->cc->lost(c, c->cwnd);
            c->cwnd = c->ssthresh;
        }
    }
    return false;
}

void tcp_loss_timeout(struct tcp_conn *c)
{
    if (!tcp_may_retransmit(c) || c->board == NULL)
        return;
    bool known = (c->flags & TCP_F_RECOVERY) || c->board->sacked == 0;
    if (c->board->waits || !known || (c->flags & TCP_F_LOSS))
        tcp_sack_consider(c);
    else
        probe(c);
    if (c->state != TCP_CLOSED)
        tcp_send_data(c);
}
