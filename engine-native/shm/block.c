/* SPDX-License-Identifier: BSD-3-Clause
 * Blocks of ring memory: claimed by compare-and-swap of their owner word, found through hint bitmaps. */
#include "ops.h"

static uint64_t owner_word(uint32_t client, uint32_t session)
{
    return (uint64_t)client << 32 | session;
}

/* Charges the arena's limit before the block is claimed, so that the limit is never exceeded. A quarter of it is
 * for the smallest blocks: a direction without any ring would stand still for good behind those that hold large ones. */
static bool charge(struct zs_view *v, uint64_t size)
{
    struct zs_arena_header *h = &v->arena->header;
    uint64_t used = atomic_fetch_add(&h->mem_used, size) + size;
    /* Below zero for a moment where the engine mended what a stopped process then discharged itself: not full. */
    int64_t limit = (int64_t)v->mem_limit, now = (int64_t)used;
    if (now > limit || (size > ZS_CLASS_SIZE(0) && now > limit - limit / 4)) {
        atomic_fetch_sub(&h->mem_used, size);
        return false;
    }
    if (now > 0 && used > atomic_load_explicit(&h->mem_peak, memory_order_relaxed))
        atomic_store_explicit(&h->mem_peak, used, memory_order_relaxed);
    return true;
}

zs_block_ref zs_block_alloc(struct zs_view *v, uint64_t size, uint32_t session)
{
    uint32_t c = 0;
    while (c < ZS_NCLASS && ZS_CLASS_SIZE(c) < size)
        c++;
    if (c == ZS_NCLASS || !charge(v, ZS_CLASS_SIZE(c)))
        return 0;
    struct zs_block_class *cls = &v->arena->block[c];
    uint32_t n = ZS_CLASS_COUNT(c);
    /* Each failed claim marks one more bit, so the loop ends after n rounds at the latest. */
    for (uint32_t tries = 0; tries <= n; tries++) {
        int64_t i = zs_hint_claim(cls->hint.summary, cls->hint.leaf, n, 0);
        if (i < 0)
            break;
        uint64_t free_word = 0;
        if (atomic_compare_exchange_strong(&cls->owner[i], &free_word, owner_word(v->client, session)))
            return ZS_BLOCK(c, (uint32_t)i);
    }
    atomic_fetch_sub(&v->arena->header.mem_used, ZS_CLASS_SIZE(c));
    return 0;
}

bool zs_block_held(const struct zs_view *v, zs_block_ref ref, uint32_t session)
{
    uint32_t c = ZS_BLOCK_CLASS(ref), i = ZS_BLOCK_INDEX(ref);
    if (c >= ZS_NCLASS || i >= ZS_CLASS_COUNT(c))
        return false;
    uint64_t word = atomic_load(&v->arena->block[c].owner[i]);
    return word != 0 && (uint32_t)word == session;
}

void zs_block_free(struct zs_view *v, zs_block_ref ref, uint32_t session)
{
    uint32_t c = ZS_BLOCK_CLASS(ref), i = ZS_BLOCK_INDEX(ref);
    if (c >= ZS_NCLASS || i >= ZS_CLASS_COUNT(c))
        return;
    struct zs_block_class *cls = &v->arena->block[c];
    uint64_t word = atomic_load(&cls->owner[i]);
    if (word == 0 || (uint32_t)word != session || !atomic_compare_exchange_strong(&cls->owner[i], &word, 0))
        return;
    zs_hint_clear(cls->hint.summary, cls->hint.leaf, i);
    atomic_fetch_sub(&v->arena->header.mem_used, ZS_CLASS_SIZE(c));
}

uint32_t zs_block_free_all(struct zs_view *v, uint32_t session)
{
    uint32_t freed = 0;
    for (uint32_t c = 0; c < ZS_NCLASS; c++) {
        struct zs_block_class *cls = &v->arena->block[c];
        uint32_t n = ZS_CLASS_COUNT(c);
        for (uint32_t i = zs_hint_next(cls->hint.leaf, n, 0); i < n; i = zs_hint_next(cls->hint.leaf, n, i + 1)) {
            if (zs_block_held(v, ZS_BLOCK(c, i), session)) {
                zs_block_free(v, ZS_BLOCK(c, i), session);
                freed++;
            }
        }
    }
    return freed;
}
