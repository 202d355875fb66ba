/* SPDX-License-Identifier: BSD-3-Clause
 * See scoreboard.h. */
#include <stdlib.h>

#include "scoreboard.h"

#define RANGES_FIRST 8u

/* ---- Ranges ---- */

uint32_t tcp_board_find(const struct tcp_board *b, tcp_seq at)
{
    uint32_t low = 0, high = b->n;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (seq_leq(b->range[mid].end, at))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool make_room(struct tcp_board *b)
{
    if (b->n < b->room)
        return true;
    uint32_t room = b->room == 0 ? RANGES_FIRST : b->room * 2;
    struct tcp_range *r = room > TCP_RANGES_MAX ? NULL : realloc(b->range, room * sizeof *r);
    if (r == NULL)
        return false;
    b->range = r;
    b->room = room;
    return true;
}

/* Makes a range begin at `at`; returns its index. False: no room. */
static bool split(struct tcp_board *b, tcp_seq at, uint32_t *index)
{
    uint32_t i = tcp_board_find(b, at);
    *index = i;
    if (i == b->n || seq_geq(b->range[i].start, at))
        return true;
    if (!make_room(b))
        return false;
    memmove(b->range + i + 1, b->range + i, (b->n - i) * sizeof *b->range);
    b->n++;
    b->range[i].end = at;
    b->range[i + 1].start = at;
    *index = i + 1;
    return true;
}

static void count(struct tcp_board *b, const struct tcp_range *r, bool add)
{
    uint32_t len = (uint32_t)seq_diff(r->end, r->start), by = add ? len : 0u - len;
    b->sacked += r->flags & RANGE_SACKED ? by : 0;
    b->lost += r->flags & RANGE_LOST ? by : 0;
    b->twice += r->flags & RANGE_TWICE ? by : 0;
}

void tcp_board_flag(struct tcp_board *b, struct tcp_range *r, uint32_t set, uint32_t clear)
{
    count(b, r, false);
    r->flags = (r->flags & ~clear) | set;
    count(b, r, true);
}

static bool alike(const struct tcp_range *a, const struct tcp_range *b)
{
    /* When it was sent matters no more once it has arrived. */
    return a->flags == b->flags && (a->sent == b->sent || (a->flags & RANGE_SACKED));
}

void tcp_board_tidy(struct tcp_conn *c)
{
    struct tcp_board *b = c->board;
    uint32_t to = 0;
    for (uint32_t i = 1; i < b->n; i++) {
        if (alike(&b->range[to], &b->range[i])) {
            b->range[to].end = b->range[i].end;
            b->range[to].sent = RTE_MAX(b->range[to].sent, b->range[i].sent);
        } else {
            b->range[++to] = b->range[i];
        }
    }
    b->n = b->n == 0 ? 0 : to + 1;
}

bool tcp_board_mark(struct tcp_conn *c, tcp_seq start, tcp_seq end, uint32_t unless, uint32_t set, uint32_t clear)
{
    struct tcp_board *b = c->board;
    uint32_t from, to;
    if (!split(b, start, &from) || !split(b, end, &to))
        return false;
    for (uint32_t i = from; i < to; i++)
        if (!(b->range[i].flags & unless))
            tcp_board_flag(b, &b->range[i], set, clear);
    tcp_board_tidy(c);
    return true;
}

/* ---- Sending ---- */

static uint64_t next_stamp(const struct tcp_conn *c)
{
    struct tcp_board *b = c->board;
    b->stamp = RTE_MAX(c->st->now, b->stamp + 1);
    return b->stamp;
}

void tcp_board_free(struct tcp_conn *c)
{
    if (c->board != NULL)
        free(c->board->range);
    free(c->board);
    c->board = NULL;
}

void tcp_board_sent(struct tcp_conn *c, tcp_seq from, uint32_t space)
{
    struct tcp_board *b = c->board == NULL ? c->board = calloc(1, sizeof *b) : c->board;
    struct tcp_range *last = b == NULL || b->n == 0 ? NULL : &b->range[b->n - 1];
    /* Many small pieces need not be told apart: they share the time of the first (RFC 8985 6.1 wants it per segment, and
     * decides by it in quarters of a round trip). But not over something that was sent again between them: the rest would seem
     * to have left before that, and be lost as soon as it arrives. */
    uint64_t apart = (uint64_t)c->srtt_us * 1000 / 32;
    if (last != NULL && last->flags == 0 && last->sent > b->resent && (c->st->now <= last->sent + apart || b->n >= TCP_RANGES_MAX / 2)) {
        last->end = seq_add(from, space);
        return;
    }
    if (b != NULL && b->n == 0)
        b->fack = from;
    if (b == NULL || !make_room(b)) {
        NET_COUNT(c->st, TCP_SACK_LOST);
        tcp_board_free(c);
        c->flags &= ~(TCP_F_SACK_SEND | TCP_F_LOSS | TCP_F_RECOVERY);
        return;
    }
    b->range[b->n++] = (struct tcp_range){.sent = next_stamp(c), .start = from, .end = seq_add(from, space)};
}

void tcp_board_resent(struct tcp_conn *c, tcp_seq from, uint32_t space)
{
    struct tcp_board *b = c->board;
    uint32_t i, to;
    /* What follows upon the one before, in sequence and at once, shares its stamp: sequence numbers tell their order. */
    if (b->resent != b->stamp || b->stamp < c->st->now || !seq_eq(from, b->resent_end))
        b->resent = next_stamp(c);
    b->resent_end = seq_add(from, space);
    /* Without room to tell the rest of a range apart it is taken as resent, too: the timeout finds out. */
    if (!split(b, from, &i) || !split(b, seq_add(from, space), &to))
        i = tcp_board_find(b, from), to = i + 1;
    for (; i < to && i < b->n; i++) {
        tcp_board_flag(b, &b->range[i], RANGE_RESENT | (b->range[i].flags & RANGE_LOST ? 0 : RANGE_TWICE), RANGE_LOST);
        b->range[i].sent = b->resent;
    }
    tcp_board_tidy(c);
}

/* ---- Acknowledgements ---- */

static void arrived(struct tcp_conn *c, const struct tcp_range *r, const struct tcp_seg *s, struct tcp_news *news)
{
    if (r->flags & RANGE_SACKED)
        return;
    if (!(r->flags & RANGE_RESENT) && seq_leq(r->end, c->recover))
        news->original = true;
    news->delivered += (uint32_t)seq_diff(r->end, r->start);
    tcp_rack_arrived(c, r, s);
}

static void acknowledged(struct tcp_conn *c, const struct tcp_seg *s, struct tcp_news *news)
{
    struct tcp_board *b = c->board;
    uint32_t gone = 0;
    while (gone < b->n && seq_leq(b->range[gone].end, c->snd_una)) {
        arrived(c, &b->range[gone], s, news);
        count(b, &b->range[gone], false);
        gone++;
    }
    b->n -= gone;
    memmove(b->range, b->range + gone, b->n * sizeof *b->range);
    if (b->n > 0 && seq_lt(b->range[0].start, c->snd_una)) {
        struct tcp_range part = b->range[0];
        part.end = c->snd_una;
        arrived(c, &part, s, news);
        count(b, &b->range[0], false);
        b->range[0].start = c->snd_una;
        count(b, &b->range[0], true);
    }
}

static void block(struct tcp_conn *c, struct tcp_block k, const struct tcp_seg *s, struct tcp_news *news)
{
    struct tcp_board *b = c->board;
    uint32_t from, to;
    if (seq_geq(k.start, k.end) || seq_lt(k.start, c->snd_una) || seq_gt(k.end, c->snd_max) || seq_geq(k.start, c->snd_nxt)) {
        NET_COUNT(c->st, TCP_SACK_IGNORED);
        return;
    }
    k.end = seq_min(k.end, c->snd_nxt); /* a probe may have gone further */
    /* Some ranges are left for what we send. */
    if (b->n > TCP_RANGES_MAX * 3 / 4 || !split(b, k.start, &from) || !split(b, k.end, &to)) {
        NET_COUNT(c->st, TCP_SACK_IGNORED); /* too many pieces */
        return;
    }
    for (uint32_t i = from; i < to; i++) {
        struct tcp_range *r = &b->range[i];
        if (r->flags & RANGE_SACKED)
            continue;
        arrived(c, r, s, news);
        news->sacked += (uint32_t)seq_diff(r->end, r->start);
        tcp_board_flag(b, r, RANGE_SACKED, RANGE_LOST | RANGE_TWICE);
    }
    tcp_board_tidy(c);
}

/* RFC 2883 5: the first block is about a duplicate when it is acknowledged already, or part of the second. */
static bool about_twice(const struct tcp_options *o, tcp_seq ack)
{
    if (o->sacks == 0 || seq_geq(o->sack[0].start, o->sack[0].end))
        return false;
    return seq_leq(o->sack[0].end, ack) || (o->sacks > 1 && seq_geq(o->sack[0].start, o->sack[1].start) &&
                                            seq_leq(o->sack[0].end, o->sack[1].end));
}

/* Blocks in the order of what they tell, not the newest first: else the lower of two that are news would seem to have been
 * overtaken by the higher. */
static uint32_t sorted(const struct tcp_options *o, uint32_t from, struct tcp_block out[TCP_SACK_MAX])
{
    uint32_t n = 0;
    for (uint32_t i = from; i < o->sacks; i++) {
        uint32_t at = n++;
        for (; at > 0 && seq_lt(o->sack[i].start, out[at - 1].start); at--)
            out[at] = out[at - 1];
        out[at] = o->sack[i];
    }
    return n;
}

void tcp_board_ack(struct tcp_conn *c, const struct tcp_seg *s, uint32_t acked, struct tcp_news *news)
{
    *news = (struct tcp_news){.acked = acked, .has_twice = about_twice(&s->opt, s->ack)};
    if (news->has_twice) {
        NET_COUNT(c->st, TCP_DSACK_RX);
        c->info.dsacks++;
        news->twice = s->opt.sack[0];
    }
    if (c->board == NULL)
        return;
    acknowledged(c, s, news);
    struct tcp_block blocks[TCP_SACK_MAX];
    uint32_t n = sorted(&s->opt, news->has_twice, blocks);
    for (uint32_t i = 0; i < n; i++)
        block(c, blocks[i], s, news);
}
