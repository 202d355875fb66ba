/* SPDX-License-Identifier: BSD-3-Clause
 * One direction of a connection through this program: segments that came from one descriptor and go to another. */
#ifndef ZEROCOPY_FLOW_H
#define ZEROCOPY_FLOW_H

#include <stdbool.h>
#include <stdint.h>
#include <zstack/zstack.h>

#define FLOW_SEGMENTS 64

struct flow {
    int from, to;
    struct zs_segment segment[FLOW_SEGMENTS]; /* [first] to [first + count - 1], modulo */
    unsigned first, count;
    size_t sent; /* of the first */
    bool eof;    /* nothing more comes */
    bool done;   /* and that was told to the other side */
};

/* What passed, of all flows. */
struct flow_totals {
    uint64_t in_lent, in_copied, out_lent, out_copied;
};

/* Moves what can be moved now. 0; -errno: the connection is broken. Without room, or at the end, it leaves the rest. */
int flow_run(struct flow *f, struct flow_totals *t);
static inline bool flow_wants_in(const struct flow *f)
{
    return !f->eof && f->count < FLOW_SEGMENTS / 2;
}
static inline bool flow_wants_out(const struct flow *f)
{
    return f->count > 0;
}
void flow_drop(struct flow *f); /* releases what it holds */

#endif
