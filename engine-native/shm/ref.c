/* SPDX-License-Identifier: BSD-3-Clause
 * Reference rings: see ref.h, and struct zs_ref in zstack/shm.h. */
#include "ref.h"

#define ENTRIES(size) ((uint32_t)((size) / sizeof(struct zs_ref)))
#define CLASS_MAX 3u        /* of a reference ring: 8,192 entries */
#define BYTES_PER_ENTRY 1024u /* of the direction's capacity; large packets carry more, packets under 512 bytes are copied */

_Static_assert((ENTRIES(ZS_CLASS_SIZE(0)) & (ENTRIES(ZS_CLASS_SIZE(0)) - 1)) == 0, "a power of two in every class");

/* The reference ring; NULL, and 0 entries, when there is none or its reference is none. */
static struct zs_ref *ring_of(struct zs_view *v, const struct zs_session *rx, zs_block_ref *ref, uint32_t *entries)
{
    *ref = atomic_load_explicit(&rx->rx_prod.ref_ring, memory_order_acquire);
    struct zs_ref *ring = *ref == 0 ? NULL : (struct zs_ref *)zs_block_ptr(v->arena, *ref);
    *entries = ring == NULL ? 0 : ENTRIES(ZS_CLASS_SIZE(ZS_BLOCK_CLASS(*ref)));
    return ring;
}

/* ---- Reader ---- */

int zs_refs_open_some(struct zs_view *v, struct zs_session *rx, struct zs_refs *refs)
{
    zs_block_ref ref;
    refs->end = atomic_load_explicit(&rx->rx_prod.ref_tail, memory_order_acquire); /* with zs_refs_add */
    refs->at = atomic_load_explicit(&rx->rx_cons.ref_head, memory_order_relaxed);
    refs->ring = ring_of(v, rx, &ref, &refs->entries);
    refs->session = ZS_HOLD_SESSION(zs_session_index(v, rx), atomic_load_explicit(&rx->gen, memory_order_relaxed));
    return refs->end - refs->at > refs->entries ? -EPROTO : 0;
}

const uint8_t *zs_ref_memory(const struct zs_view *v, uint32_t segment, uint32_t low, uint32_t len)
{
    uint64_t offset = low, size = 0;
    const uint8_t *base = NULL;
    if (ZS_SEGMENT_TYPE(segment) == ZS_SEGMENT_BUF && v->mapped != NULL) {
        const struct zs_mapped *m = &v->mapped[ZS_SEGMENT_INDEX(segment)];
        if (atomic_load_explicit(&m->segment, memory_order_acquire) == segment) { /* with the release of who mapped it */
            base = m->base;
            size = m->size;
        }
    } else if (ZS_SEGMENT_TYPE(segment) == ZS_SEGMENT_RX) {
        offset = ZS_SEGMENT_OFFSET(segment, low);
        base = v->rx_seg;
        size = v->rx_size;
    }
    return base == NULL || offset > size || len > size - offset ? NULL : base + offset;
}

/* The hold is this ring's, and on that memory. If not, its reader died while it took the range, or somebody scribbled: the memory
 * may be another's. What programs send always has one. */
static bool entitled(const struct zs_view *v, const struct zs_refs *refs, const struct zs_ref *e)
{
    bool buffers = ZS_SEGMENT_TYPE(e->segment) == ZS_SEGMENT_BUF;
    return e->loan == 0 ? !buffers
                        : zs_loan_held(v, e->loan - 1, e->loan_gen, refs->session) &&
                              v->arena->loan[e->loan - 1].segment == (buffers ? e->segment : 0);
}

static int load(struct zs_view *v, struct zs_refs *refs)
{
    const struct zs_ref e = refs->ring[refs->at & (refs->entries - 1)];
    if (e.gen != refs->at || e.len == 0 || !entitled(v, refs, &e))
        return -EPROTO;
    refs->pos = e.pos;
    refs->data = zs_ref_memory(v, e.segment, e.offset, e.len);
    if (refs->data == NULL && v->map != NULL && ZS_SEGMENT_TYPE(e.segment) == ZS_SEGMENT_BUF) {
        int r = v->map(v, &e, ZS_HOLD_INDEX(refs->session));
        if (r < 0)
            return r;
        refs->data = zs_ref_memory(v, e.segment, e.offset, e.len);
    }
    if (refs->data == NULL)
        return -EPROTO;
    refs->loan = e.loan;
    refs->loan_gen = e.loan_gen;
    refs->segment = e.segment;
    refs->offset = e.offset;
    refs->len = e.len;
    refs->have = true;
    refs->at++;
    return 0;
}

/* Goes on at the last entry that begins at `pos` or before, if there is one: entries are in the order of their positions. */
static void skip_to(struct zs_refs *refs, uint64_t pos)
{
    uint32_t low = 0, high = refs->end - refs->at; /* the entry sought is refs->at + low - 1 */
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if ((int64_t)(pos - refs->ring[(refs->at + mid) & (refs->entries - 1)].pos) >= 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low > 1)
        refs->at += low - 1;
}

int zs_refs_seek_some(struct zs_view *v, struct zs_refs *refs, uint64_t pos, uint64_t *take)
{
    if (!refs->have && refs->end - refs->at > 4 && refs->ring != NULL)
        skip_to(refs, pos);
    for (;;) {
        if (!refs->have && refs->at == refs->end)
            return 0;
        int r = refs->have ? 0 : load(v, refs);
        uint64_t into = pos - refs->pos; /* before the range: more than any length */
        if (r == -EPROTO || (r < 0 && (int64_t)into >= 0))
            return r;
        if ((int64_t)into < 0) { /* what is ahead of a range that cannot be mapped now can be read */
            if (*take > refs->pos - pos)
                *take = refs->pos - pos;
            return 0;
        }
        if (into < refs->len) {
            if (*take > refs->len - into)
                *take = refs->len - into;
            refs->lent = refs->data + into;
            return 0;
        }
        refs->have = false; /* read already: a peek with an offset */
    }
}

static void drop(struct zs_view *v, struct zs_session *rx, uint64_t head, bool all)
{
    uint64_t session = ZS_HOLD_SESSION(zs_session_index(v, rx), atomic_load_explicit(&rx->gen, memory_order_relaxed));
    zs_block_ref ref;
    uint32_t entries, end = atomic_load_explicit(&rx->rx_prod.ref_tail, memory_order_acquire); /* with zs_refs_add */
    uint32_t at = atomic_load_explicit(&rx->rx_cons.ref_head, memory_order_relaxed);
    const volatile struct zs_ref *ring = ring_of(v, rx, &ref, &entries);
    if (end - at > entries)
        return; /* the next look at the data tells */
    for (; at != end; at++) {
        const volatile struct zs_ref *e = &ring[at & (entries - 1)];
        if (!all && (int64_t)(head - e->pos - e->len) < 0)
            break;
        uint32_t loan = e->loan; /* whoever took it holds it: then this ends nothing */
        if (loan != 0)
            zs_loan_end(v, loan - 1, e->loan_gen, session);
    }
    atomic_store_explicit(&rx->rx_cons.ref_head, at, memory_order_release); /* with zs_tx_returned: what was read is read */
}

void zs_refs_drop_some(struct zs_view *v, struct zs_session *rx, uint64_t head)
{
    drop(v, rx, head, false);
}

void zs_refs_discard(struct zs_view *v, struct zs_session *rx)
{
    if (zs_refs_any(rx))
        drop(v, rx, 0, true);
}

/* ---- Producer ---- */

/* A ring for `cap` bytes in place of an empty one, of the largest size that memory allows. */
static void attach(struct zs_view *v, struct zs_session *rx, zs_block_ref old, uint32_t entries, uint64_t cap)
{
    uint32_t c = 0, index = zs_session_index(v, rx);
    zs_block_ref ref = 0;
    while (c < CLASS_MAX && ENTRIES(ZS_CLASS_SIZE(c)) < cap / BYTES_PER_ENTRY)
        c++;
    for (; ref == 0 && ENTRIES(ZS_CLASS_SIZE(c)) > entries; c--) {
        ref = zs_block_alloc(v, ZS_CLASS_SIZE(c), index);
        if (c == 0)
            break;
    }
    if (ref == 0)
        return;
    atomic_store_explicit(&rx->rx_prod.ref_ring, ref, memory_order_release);
    if (old != 0)
        zs_block_free(v, old, index);
}

int zs_refs_add(struct zs_view *v, struct zs_session *rx, const struct zs_ref *ref, uint64_t cap)
{
    zs_block_ref block;
    uint32_t entries, tail = atomic_load_explicit(&rx->rx_prod.ref_tail, memory_order_relaxed);
    uint32_t used = tail - atomic_load_explicit(&rx->rx_cons.ref_head, memory_order_acquire); /* with zs_refs_drop */
    struct zs_ref *ring = ring_of(v, rx, &block, &entries);
    if (used > entries)
        return -EPROTO;
    /* Empty: its reader looks at no ring before it sees another tail. */
    bool small = entries < cap / BYTES_PER_ENTRY && entries < ENTRIES(ZS_CLASS_SIZE(CLASS_MAX));
    if (used == 0 && (entries == 0 || small)) {
        attach(v, rx, block, entries, cap);
        ring = ring_of(v, rx, &block, &entries);
    }
    if (ring == NULL || used >= entries)
        return -ENOBUFS;
    struct zs_ref *e = &ring[tail & (entries - 1)];
    *e = *ref;
    e->gen = tail;
    atomic_store_explicit(&rx->rx_prod.ref_tail, tail + 1, memory_order_release); /* with the acquires above */
    return 0;
}

void zs_refs_detach(struct zs_view *v, struct zs_session *rx)
{
    if (zs_refs_any(rx))
        return;
    uint32_t ref = atomic_exchange(&rx->rx_prod.ref_ring, 0);
    if (ref != 0)
        zs_block_free(v, ref, zs_session_index(v, rx));
}
