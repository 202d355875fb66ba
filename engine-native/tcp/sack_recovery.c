/* SPDX-License-Identifier: BSD-3-Clause
 * Loss recovery with selective acknowledgements, RFC 6675: what is lost, what to send next, and when recovery begins and
 * ends. */
#include "scoreboard.h"

#define DUP_THRESH 3u

/* RFC 6675 4, IsLost() for every range: three others, or more than two segments, have arrived from beyond. What was sent
 * again is left to the timeout. */
static void find_lost(struct tcp_conn *c)
{
    struct tcp_board *b = c->board;
    uint32_t bytes = 0, runs = 0;
    for (uint32_t i = b->n; i-- > 0;) {
        struct tcp_range *r = &b->range[i];
        if (r->flags & RANGE_SACKED) {
            bytes += (uint32_t)seq_diff(r->end, r->start);
            runs++;
        } else if (!(r->flags & (RANGE_LOST | RANGE_RESENT)) && (runs >= DUP_THRESH || bytes > (DUP_THRESH - 1) * c->mss)) {
            tcp_board_flag(b, r, RANGE_LOST, 0);
        }
    }
    tcp_board_tidy(c);
    /* 5 (2): or as many acknowledgements told of something new beyond, however small. */
    if (c->dupacks >= DUP_THRESH && b->n > 0 && b->sacked > 0)
        tcp_board_mark(c, c->snd_una, seq_min(seq_add(c->snd_una, c->mss), c->snd_nxt), RANGE_SACKED | RANGE_RESENT, RANGE_LOST,
                       0);
}

/* ---- What to send: RFC 6675 4, NextSeg() ---- */

static tcp_seq highest_sacked(const struct tcp_board *b)
{
    uint32_t i = b->n;
    while (i > 0 && !(b->range[i - 1].flags & RANGE_SACKED))
        i--;
    return i == 0 ? b->range[0].start : b->range[i - 1].end;
}

/* Rule 1, and when there is nothing new to send (`last`) 3 and 4. */
static bool next_hole(struct tcp_conn *c, bool last, tcp_seq *at, uint32_t *space)
{
    struct tcp_board *b = c->board;
    const struct tcp_range *r = NULL;
    for (uint32_t i = 0; i < b->n && r == NULL && b->lost > 0; i++)
        r = b->range[i].flags & RANGE_LOST ? &b->range[i] : NULL;
    if (r == NULL && last && (c->flags & TCP_F_RECOVERY) && !tcp_rack_on(c)) { /* RACK knows by time */
        tcp_seq top = highest_sacked(b);
        for (uint32_t i = 0; i < b->n && r == NULL && seq_lt(b->range[i].start, top); i++)
            r = b->range[i].flags == 0 ? &b->range[i] : NULL;
        if (r == NULL && !(c->flags & TCP_F_RESCUED) && !(b->range[b->n - 1].flags & RANGE_SACKED)) {
            c->flags |= TCP_F_RESCUED;
            r = &b->range[b->n - 1];
            *space = RTE_MIN((uint32_t)seq_diff(r->end, r->start), tcp_mss_now(c));
            *at = seq_sub(r->end, *space);
            return true;
        }
    }
    if (r == NULL)
        return false;
    *at = r->start;
    *space = RTE_MIN((uint32_t)seq_diff(r->end, r->start), tcp_mss_now(c));
    return true;
}

void tcp_sack_resend(struct tcp_conn *c, bool last)
{
    tcp_seq at, edge = seq_add(c->snd_una, c->snd_wnd);
    uint32_t space;
    while (c->board != NULL) {
        /* One segment may always be on its way, and recovery begins with one (RFC 6675 5 (4.3)). */
        uint32_t pipe = tcp_pipe(c);
        bool may = pipe == 0 || (c->flags & TCP_F_RESEND) || pipe + c->mss <= c->cwnd;
        if (!may || !next_hole(c, last, &at, &space))
            return;
        if (seq_gt(seq_add(at, space), edge) && !((c->flags & TCP_F_FIN_SENT) && seq_eq(at, c->fin_seq))) {
            if (seq_geq(at, edge))
                return;
            space = (uint32_t)seq_diff(edge, at);
        }
        if (pipe > 0 && !(c->flags & TCP_F_RESEND) && tcp_pace_room(c) < space) {
            tcp_pace_wait(c);
            return;
        }
        c->flags &= ~TCP_F_RESEND;
        if (!tcp_retransmit(c, at, space))
            return;
    }
}

/* ---- Proportional rate reduction, RFC 9937 6.1 ---- */

static void prr_begin(struct tcp_conn *c, uint32_t delivered)
{
    struct tcp_send *s = c->send;
    s->prr_flight = RTE_MAX(tcp_flight(c) - tcp_sacked(c) + delivered, 1u);
    s->prr_delivered = s->prr_out = 0;
}

/* What may leave for this ACK: in proportion to what it says has arrived, so that the window is ssthresh a round trip after recovery
 * began, without a pause and without a burst. When losses took more than that, what arrived is replaced, and one segment more by
 * an acknowledgement that advances and tells of no further loss (PRR-SSRB). */
static void prr(struct tcp_conn *c, uint32_t delivered, bool safe)
{
    struct tcp_send *s = c->send;
    uint32_t pipe = tcp_pipe(c), n;
    s->prr_delivered += delivered;
    if (pipe > c->ssthresh) {
        uint64_t due = ((uint64_t)s->prr_delivered * c->ssthresh + s->prr_flight - 1) / s->prr_flight;
        n = due > s->prr_out ? (uint32_t)(due - s->prr_out) : 0;
    } else {
        uint32_t owed = s->prr_delivered > s->prr_out ? s->prr_delivered - s->prr_out : 0;
        n = RTE_MIN(RTE_MAX(owed, delivered), 2 * delivered) + (safe ? c->mss : 0);
        n = RTE_MIN(n, c->ssthresh - pipe);
    }
    /* TCP_F_RESEND: the first retransmission needs no room. One segment may always be on its way. */
    c->cwnd = RTE_MAX(pipe + n, (uint32_t)c->mss);
}

/* ---- Beginning and end ---- */

static void enter(struct tcp_conn *c, uint32_t delivered)
{
    NET_COUNT(c->st, TCP_FAST_RETRANSMIT);
    tcp_undo_begin(c);
    /* What is outstanding, without what the peer has and limited transmit added: cwnd, or less. */
    c->cc->lost(c, RTE_MIN(tcp_flight(c), c->cwnd));
    prr_begin(c, delivered);
    c->recover = c->snd_max;
    c->flags |= c->flags & TCP_F_ECN ? TCP_F_CWR : 0;
    c->flags = (c->flags | TCP_F_RECOVERY | TCP_F_RESEND) & ~TCP_F_RESCUED;
    tcp_timer_set(c, TCP_T_RETRANSMIT, tcp_rto_ns(c));
}

/* `delivered` bytes have arrived since the last time; `advanced`: the first of what is outstanding among them. */
static void consider(struct tcp_conn *c, uint32_t delivered, bool advanced)
{
    if (c->board == NULL)
        return;
    uint32_t lost = c->board->lost;
    if (tcp_rack_on(c))
        tcp_rack_find_lost(c);
    else
        find_lost(c);
    if (c->board->lost > 0 && !(c->flags & (TCP_F_RECOVERY | TCP_F_LOSS)))
        enter(c, delivered);
    if (c->flags & TCP_F_RECOVERY)
        prr(c, delivered, advanced && c->board->lost <= lost);
}

void tcp_sack_consider(struct tcp_conn *c)
{
    consider(c, 0, false);
}

/* ---- Timeouts that were none: RFC 5682 3.1 ---- */

static void look_at_timeout(struct tcp_conn *c, const struct tcp_seg *s, const struct tcp_news *news)
{
    if (!(c->flags & (TCP_F_FRTO | TCP_F_FRTO_NEW)) || news->acked + news->sacked == 0)
        return;
    bool first = c->flags & TCP_F_FRTO;
    /* With timestamps the first acknowledgement tells what it answers (RFC 3522 3.2). */
    bool before = (c->flags & TCP_F_TS) && news->acked > 0 && s->opt.tsecr != 0 &&
                  (int32_t)(s->opt.tsecr - tcp_ts_at(c, c->send->timed_out)) < 0;
    c->flags &= ~(TCP_F_FRTO | TCP_F_FRTO_NEW);
    if (before || (!first && news->original)) { /* step 3 (b) */
        NET_COUNT(c->st, TCP_SPURIOUS_RTO);
        tcp_undo(c);
    } else if (first && news->acked > 0 && seq_lt(c->snd_una, c->recover) && tcp_has_new(c))
        c->flags |= TCP_F_FRTO_NEW; /* step 2 (b) */
}

/* ---- Acknowledgements and timeouts ---- */

/* Where the peer's window or ours kept new data back in recovery, ssthresh is far above what is on its way at its end, and would leave in one
 * burst. As much may as the path's queue held before: the round trip time told its part of the window. */
static uint32_t burst_allowed(const struct tcp_conn *c)
{
    uint32_t queued_us = c->srtt_us > c->min_rtt_us ? c->srtt_us - c->min_rtt_us : 0;
    uint32_t held = c->srtt_us == 0 ? 0 : (uint32_t)((uint64_t)c->send->prior_cwnd * queued_us / c->srtt_us);
    return RTE_MAX(held, tcp_initial_window(c));
}

void tcp_sack_ack(struct tcp_conn *c, const struct tcp_seg *s, uint32_t acked)
{
    struct tcp_news news;
    tcp_board_ack(c, s, acked, &news);
    c->dupacks = acked > 0 ? 0 : (uint8_t)RTE_MIN(c->dupacks + (news.sacked > 0), UINT8_MAX);
    bool recovering = c->flags & TCP_F_RECOVERY;
    bool of_probe = tcp_probe_acked(c, s, &news);
    if (news.has_twice && !of_probe)
        tcp_rack_twice(c);
    look_at_timeout(c, s, &news);
    tcp_undo_ack(c, s, &news, of_probe);
    if ((c->flags & (TCP_F_RECOVERY | TCP_F_LOSS)) && seq_geq(c->snd_una, c->recover)) {
        if (recovering) /* after a timeout it grows from below anyway */
            c->cwnd = RTE_MIN(c->ssthresh, tcp_pipe(c) + RTE_MAX(news.delivered, burst_allowed(c)));
        c->flags &= ~(TCP_F_RECOVERY | TCP_F_LOSS | TCP_F_RESEND | TCP_F_FRTO | TCP_F_FRTO_NEW);
        tcp_rack_recovered(c);
    } else if (recovering && acked > 0) {
        NET_COUNT(c->st, TCP_PARTIAL_ACK);
    }
    if (acked > 0 || news.delivered > 0)
        c->flags |= TCP_F_PLAN_PROBE;
    if (acked > 0 && !recovering)
        tcp_cc_acked(c, news.delivered);
    consider(c, news.delivered, acked > 0);
    if (c->board != NULL && c->board->n == 0)
        tcp_board_free(c);
    if (c->board == NULL)
        tcp_timer_clear(c, TCP_T_LOSS);
}

/* RFC 6298 5.4-5.6, 6675 5.1, 8985 6.3. What the peer has told of is kept, unless it took back the first of it (RFC 2018 8). */
void tcp_sack_timeout(struct tcp_conn *c)
{
    struct tcp_board *b = c->board;
    bool taken_back = b != NULL && b->n > 0 && (b->range[0].flags & RANGE_SACKED);
    if (taken_back)
        NET_COUNT(c->st, TCP_RENEGED);
    for (uint32_t i = 0; b != NULL && i < b->n; i++)
        if (taken_back || (!(b->range[i].flags & RANGE_SACKED) && !tcp_rack_spares(c, &b->range[i])))
            tcp_board_flag(b, &b->range[i], RANGE_LOST, RANGE_SACKED | RANGE_TWICE);
    if (b != NULL)
        tcp_board_tidy(c);
    c->flags = (c->flags | TCP_F_LOSS | TCP_F_RESEND) & ~(TCP_F_FRTO_NEW | TCP_F_PROBE_OUT);
    c->send->may_undo = false;
    tcp_timer_clear(c, TCP_T_LOSS);
}
