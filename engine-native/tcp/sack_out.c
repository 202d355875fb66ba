/* SPDX-License-Identifier: BSD-3-Clause
 * What our acknowledgements say about data out of order (RFC 2018) and received twice (RFC 2883). The memory for it is there
 * from the first such segment until nothing is left to say. */
#include <stdlib.h>

#include "tcp_conn.h"

struct tcp_sack_out {
    bool has_twice;
    uint8_t n;
    struct tcp_block twice, block[TCP_SACK_MAX]; /* block: most recent first, disjoint */
};

static struct tcp_sack_out *out_of(struct tcp_conn *c)
{
    if (c->sack_out == NULL && (c->flags & TCP_F_SACK))
        c->sack_out = calloc(1, sizeof *c->sack_out); /* without memory we say nothing: SACK is advice */
    return c->sack_out;
}

/* RFC 2018 4: the first block is the one that holds the segment that came last, then those told most recently. */
void tcp_sack_kept(struct tcp_conn *c, struct tcp_block run)
{
    struct tcp_sack_out *o = out_of(c);
    struct tcp_block old[TCP_SACK_MAX];
    uint8_t n = o == NULL ? 0 : o->n;
    if (o == NULL)
        return;
    memcpy(old, o->block, sizeof old);
    o->block[0] = run;
    o->n = 1;
    for (uint8_t i = 0; i < n && o->n < TCP_SACK_MAX; i++)
        if (seq_gt(old[i].start, run.end) || seq_lt(old[i].end, run.start)) /* else part of it now */
            o->block[o->n++] = old[i];
}

void tcp_sack_twice(struct tcp_conn *c, tcp_seq start, tcp_seq end)
{
    struct tcp_sack_out *o = seq_lt(start, end) ? out_of(c) : NULL;
    if (o == NULL)
        return;
    o->has_twice = true;
    o->twice = (struct tcp_block){start, end};
}

/* What was delivered since needs no block. Nor does what only waits for room in the ring: a block that touches the
 * acknowledgement would tell the peer of a hole of no size. */
static void prune(struct tcp_conn *c)
{
    struct tcp_sack_out *o = c->sack_out;
    uint8_t n = 0;
    for (uint8_t i = 0; i < o->n; i++) {
        struct tcp_block b = o->block[i];
        if ((c->flags & TCP_F_FIN_SEEN) && seq_gt(b.end, c->rcv_fin)) /* what lies beyond is not kept */
            b.end = c->rcv_fin;
        if (seq_gt(b.start, c->rcv_nxt) && seq_lt(b.start, b.end))
            o->block[n++] = b;
    }
    o->n = n;
}

static uint32_t blocks(struct tcp_conn *c)
{
    if (c->sack_out == NULL)
        return 0;
    prune(c);
    uint32_t most = c->flags & TCP_F_TS ? TCP_SACK_MAX - 1 : TCP_SACK_MAX; /* 40 bytes of options */
    return RTE_MIN((uint32_t)c->sack_out->n + c->sack_out->has_twice, most);
}

uint32_t tcp_sack_length(struct tcp_conn *c)
{
    uint32_t n = blocks(c);
    return n == 0 ? 0 : 4 + 8 * n;
}

uint32_t tcp_sack_block(struct tcp_conn *c, struct tcp_block out[TCP_SACK_MAX])
{
    uint32_t n = blocks(c), i = 0;
    const struct tcp_sack_out *o = c->sack_out;
    if (n > 0 && o->has_twice)
        out[i++] = o->twice; /* RFC 2883 4: first */
    for (uint32_t j = 0; i < n; i++, j++)
        out[i] = o->block[j];
    return n;
}

/* An acknowledgement has left: a duplicate is told once (RFC 2883 4), the rest again. */
void tcp_sack_told(struct tcp_conn *c)
{
    if (c->sack_out == NULL)
        return;
    c->sack_out->has_twice = false;
    prune(c);
    if (c->sack_out->n == 0)
        tcp_sack_out_free(c);
}

void tcp_sack_out_free(struct tcp_conn *c)
{
    free(c->sack_out);
    c->sack_out = NULL;
}
