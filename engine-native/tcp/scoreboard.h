/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What became of the data on its way, on connections with SACK: ranges of sequence numbers from snd_una to snd_nxt, in order,
 * without gaps, each with what is known of it. There while anything is outstanding. RFC 6675's HighData is snd_nxt, its pipe
 * tcp_pipe(). */
#ifndef ZSTACK_TCP_SCOREBOARD_H
#define ZSTACK_TCP_SCOREBOARD_H

#include "tcp_conn.h"

#define TCP_RANGES_MAX 4096u /* what a peer can make us remember, 24 bytes each */

#define RANGE_SACKED (1u << 0)
#define RANGE_LOST (1u << 1)  /* to be sent again; never with SACKED */
#define RANGE_RESENT (1u << 2) /* its last transmission was not its first */
#define RANGE_TWICE (1u << 3)  /* sent again without having been lost: both may be on their way */

struct tcp_range {
    uint64_t sent; /* the last transmission: its stamp */
    tcp_seq start, end;
    uint32_t flags;
};

/* A stamp is the time, ns, of a transmission, and tells the order of all (RFC 8985 6.2's RACK_sent_after): what leaves later has
 * a later one, also within a turn of the engine, which has one time. So it may be ahead of the time, by a nanosecond for each. */
struct tcp_board {
    uint64_t stamp, resent; /* the last of all, and the last of what was sent again */
    tcp_seq resent_end;     /* where that ended */
    uint32_t n, room;
    uint32_t sacked, lost, twice; /* bytes */
    struct tcp_range *range;
    /* RFC 8985: of what arrived, that which was sent last; the highest that arrived */
    uint64_t rack_sent, rack_rtt;
    tcp_seq rack_end, fack;
    bool waits; /* TCP_T_LOSS is the reordering timer, no probe's */
};

/* What an acknowledgement told. */
struct tcp_news {
    uint32_t acked;     /* bytes by its acknowledgement number */
    uint32_t sacked;    /* bytes by its blocks, for the first time */
    uint32_t delivered; /* bytes that arrived, by either, for the first time (RFC 9937's DeliveredData) */
    bool original;   /* some of that was sent once only, and before `recover` */
    bool has_twice;  /* the peer received something twice (RFC 2883) */
    struct tcp_block twice;
};

/* Bytes that are taken to be on their way (RFC 6675 4). */
static inline uint32_t tcp_pipe(const struct tcp_conn *c)
{
    uint32_t all = (uint32_t)seq_diff(c->snd_nxt, c->snd_una);
    return c->board == NULL ? all : all - c->board->sacked - c->board->lost + c->board->twice;
}
static inline uint32_t tcp_lost(const struct tcp_conn *c)
{
    return c->board == NULL ? 0 : c->board->lost;
}
static inline uint32_t tcp_sacked(const struct tcp_conn *c)
{
    return c->board == NULL ? 0 : c->board->sacked;
}
/* The range at or behind a sequence number; n when there is none. */
uint32_t tcp_board_find(const struct tcp_board *b, tcp_seq at);
/* Marks [start, end): what has none of `unless` gets `set` and loses `clear`. False: too many ranges, nothing changed or only
 * more than asked for. */
bool tcp_board_mark(struct tcp_conn *c, tcp_seq start, tcp_seq end, uint32_t unless, uint32_t set, uint32_t clear);
/* Marks one range. The caller calls tcp_board_tidy() after the last. */
void tcp_board_flag(struct tcp_board *b, struct tcp_range *r, uint32_t set, uint32_t clear);
void tcp_board_tidy(struct tcp_conn *c);
/* New data left. Without memory the connection goes on without SACK. */
void tcp_board_sent(struct tcp_conn *c, tcp_seq from, uint32_t space);
void tcp_board_resent(struct tcp_conn *c, tcp_seq from, uint32_t space);
/* After snd_una moved, or not. */
void tcp_board_ack(struct tcp_conn *c, const struct tcp_seg *s, uint32_t acked, struct tcp_news *news);

/* ---- undo.c ---- */
void tcp_undo_begin(struct tcp_conn *c);
void tcp_undo_resent(struct tcp_conn *c, tcp_seq from, uint32_t space);
void tcp_undo_ack(struct tcp_conn *c, const struct tcp_seg *s, const struct tcp_news *news, bool of_probe);
void tcp_undo(struct tcp_conn *c); /* the windows are what they were, nothing is lost */

/* ---- rack.c ---- */
void tcp_rack_arrived(struct tcp_conn *c, const struct tcp_range *r, const struct tcp_seg *s);
void tcp_rack_find_lost(struct tcp_conn *c);
void tcp_rack_twice(struct tcp_conn *c);     /* the peer told of a duplicate */
void tcp_rack_recovered(struct tcp_conn *c); /* recovery ended */
bool tcp_rack_spares(const struct tcp_conn *c, const struct tcp_range *r); /* not lost by a timeout */
bool tcp_probe_acked(struct tcp_conn *c, const struct tcp_seg *s, const struct tcp_news *news); /* the duplicate is the probe's */

#endif
