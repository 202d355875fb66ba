/* SPDX-License-Identifier: BSD-3-Clause
 * Losses that were none: recovery that began because packets overtook each other, and timeouts because they were late. The
 * window is what it was before (RFC 4015), when it turns out
 * - by its timestamp, that an acknowledgement was for what was sent first and not for what was sent again (RFC 3522),
 * - that all that recovery sent again arrived twice (RFC 2883, 3708).
 * What an earlier recovery sent again and has not arrived counts with the new one's: its acknowledgement is older than the new
 * retransmissions, too, and shows nothing. */
#include "scoreboard.h"

static void count_resent(struct tcp_send *s, tcp_seq from, tcp_seq to)
{
    s->undo_from = s->undo_left == 0 ? from : seq_min(s->undo_from, from);
    s->undo_to = s->undo_left == 0 ? to : seq_max(s->undo_to, to);
    s->undo_left += (uint32_t)seq_diff(to, from);
}

/* Recovery begins: remembers what to go back to. */
void tcp_undo_begin(struct tcp_conn *c)
{
    struct tcp_send *s = c->send;
    const struct tcp_board *b = c->board;
    s->prior_cwnd = c->cwnd;
    s->prior_ssthresh = c->ssthresh;
    s->may_undo = true;
    s->undo_left = 0;
    for (uint32_t i = 0; i < b->n; i++)
        if ((b->range[i].flags & (RANGE_RESENT | RANGE_SACKED)) == RANGE_RESENT)
            count_resent(s, b->range[i].start, b->range[i].end);
    if (s->undo_left == 0)
        s->timed_out = 0; /* else that of the first of them, or before */
}

/* Something was sent again. */
void tcp_undo_resent(struct tcp_conn *c, tcp_seq from, uint32_t space)
{
    if (!c->send->may_undo || !(c->flags & TCP_F_RECOVERY))
        return;
    if (c->send->timed_out == 0)
        c->send->timed_out = c->st->now;
    count_resent(c->send, from, seq_add(from, space));
}

void tcp_undo(struct tcp_conn *c)
{
    struct tcp_board *b = c->board;
    c->cwnd = RTE_MAX(c->cwnd, c->send->prior_cwnd);
    c->ssthresh = RTE_MAX(c->ssthresh, c->send->prior_ssthresh);
    c->flags &= ~(TCP_F_LOSS | TCP_F_FRTO | TCP_F_FRTO_NEW | TCP_F_RECOVERY | TCP_F_RESEND);
    c->send->may_undo = false;
    for (uint32_t i = 0; b != NULL && i < b->n; i++)
        tcp_board_flag(b, &b->range[i], 0, RANGE_LOST);
    if (b != NULL)
        tcp_board_tidy(c);
}

/* The answer to an earlier transmission than the first retransmission. */
static bool answers_first(const struct tcp_conn *c, const struct tcp_seg *s)
{
    return (c->flags & TCP_F_TS) && c->send->timed_out != 0 && s->opt.tsecr != 0 &&
           (int32_t)(s->opt.tsecr - tcp_ts_at(c, c->send->timed_out)) < 0;
}

/* A duplicate of what was sent again, and not of what the network doubled or an earlier recovery sent. */
static bool is_ours(const struct tcp_send *s, const struct tcp_block *twice)
{
    return s->undo_left > 0 && seq_geq(twice->start, s->undo_from) && seq_leq(twice->end, s->undo_to);
}

void tcp_undo_ack(struct tcp_conn *c, const struct tcp_seg *s, const struct tcp_news *news, bool of_probe)
{
    if (c->send == NULL || !c->send->may_undo)
        return;
    bool first = (c->flags & TCP_F_RECOVERY) && news->acked > 0 && answers_first(c, s);
    if (news->has_twice && !of_probe && is_ours(c->send, &news->twice)) {
        c->send->undo_left -= RTE_MIN(c->send->undo_left, (uint32_t)seq_diff(news->twice.end, news->twice.start));
        first |= c->send->undo_left == 0;
    }
    if (!first)
        return;
    NET_COUNT(c->st, TCP_SPURIOUS_RECOVERY);
    c->flags |= TCP_F_REORDERED; /* and the next time RACK waits */
    tcp_undo(c);
}
