/* SPDX-License-Identifier: BSD-3-Clause
 * Reference rings: the lent ranges of a direction (struct zs_ref). For ring.c; its callers see ring.h. */
#ifndef ZSTACK_SHM_REF_H
#define ZSTACK_SHM_REF_H

#include "ops.h"

/* A reader's way through the references, from the oldest on. */
struct zs_refs {
    const volatile struct zs_ref *ring; /* volatile: each field is read once, then checked, then used */
    uint32_t entries, at, end;          /* at: the next entry to look at */
    bool have;                          /* an entry is held: */
    uint64_t pos, len;
    const uint8_t *data;
    uint32_t segment, offset;           /* as in struct zs_ref */
    uint64_t session;                   /* the ring as a holder */
    uint32_t loan, loan_gen;            /* of the entry held; loan 0: none */
    const uint8_t *lent; /* result of zs_refs_seek() */
};

static inline bool zs_refs_any(const struct zs_session *rx)
{
    return atomic_load_explicit(&rx->rx_prod.ref_tail, memory_order_acquire) != /* with zs_refs_add */
           atomic_load_explicit(&rx->rx_cons.ref_head, memory_order_relaxed);
}

/* After the direction's tail was read. -EPROTO: inconsistent. */
int zs_refs_open_some(struct zs_view *v, struct zs_session *rx, struct zs_refs *refs);
static inline int zs_refs_open(struct zs_view *v, struct zs_session *rx, struct zs_refs *refs)
{
    refs->at = refs->end = 0;
    refs->have = false;
    refs->lent = NULL;
    return zs_refs_any(rx) ? zs_refs_open_some(v, rx, refs) : 0;
}

/* What holds stream position pos: refs->lent tells where in the segment, or is NULL for the byte ring. Shortens *take, the
 * bytes wanted, to what lies there. -EPROTO: a reference that leads nowhere; -ENOBUFS: its segment cannot be mapped now. */
int zs_refs_seek_some(struct zs_view *v, struct zs_refs *refs, uint64_t pos, uint64_t *take);
static inline int zs_refs_seek(struct zs_view *v, struct zs_refs *refs, uint64_t pos, uint64_t *take)
{
    refs->lent = NULL;
    return refs->have || refs->at != refs->end ? zs_refs_seek_some(v, refs, pos, take) : 0;
}

/* Where a range of a segment is; NULL: nowhere. */
const uint8_t *zs_ref_memory(const struct zs_view *v, uint32_t segment, uint32_t low, uint32_t len);

/* The consumer is at `head`: gives back the references that end there or before. */
void zs_refs_drop_some(struct zs_view *v, struct zs_session *rx, uint64_t head);
static inline void zs_refs_drop(struct zs_view *v, struct zs_session *rx, uint64_t head)
{
    if (zs_refs_any(rx))
        zs_refs_drop_some(v, rx, head);
}

/* Adds an entry; the producer then publishes its bytes. `cap`: bytes that the direction may hold. 0, -ENOBUFS, -EPROTO. */
int zs_refs_add(struct zs_view *v, struct zs_session *rx, const struct zs_ref *ref, uint64_t cap);
/* Nobody will read what is lent here: ends its holds. For an end that is closed. */
void zs_refs_discard(struct zs_view *v, struct zs_session *rx);
/* Gives the reference ring of an empty direction back to the arena; by the producer. */
void zs_refs_detach(struct zs_view *v, struct zs_session *rx);

#endif
