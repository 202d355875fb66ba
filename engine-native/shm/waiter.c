/* SPDX-License-Identifier: BSD-3-Clause
 * Waiters: hints, queued and as bits; see struct zs_waiter in zstack/shm.h. Hints are always checked against the session. */
#include "ops.h"

#define TELL_EVERY (ZS_HINTS / 4)

/* ---- The queue of recent hints ---- */

/* False: it is full, or its words make no sense. */
static bool queue_hint(struct zs_waiter *w, uint32_t slot)
{
    for (int tries = 0; tries < 8; tries++) {
        uint32_t tail = atomic_load_explicit(&w->recent_tail, memory_order_relaxed);
        uint32_t lap = ZS_HINT_LAP(tail), entry = atomic_load(&w->recent[tail % ZS_HINTS]);
        if (!ZS_HINT_IS_OF(entry, lap)) {
            if (!ZS_HINT_IS_OF(entry, lap - (1u << ZS_HINT_SLOT_BITS)) || tail - atomic_load(&w->recent_taken) >= ZS_HINTS)
                return false;
            if (!atomic_compare_exchange_strong(&w->recent[tail % ZS_HINTS], &entry, lap | slot))
                continue;
            atomic_compare_exchange_strong(&w->recent_tail, &tail, tail + 1);
            return true;
        }
        atomic_compare_exchange_strong(&w->recent_tail, &tail, tail + 1); /* its producer did not come to it */
    }
    return false;
}

static uint32_t harvest_recent(struct zs_waiter *w, uint32_t *slots, uint32_t n, uint32_t max)
{
    uint32_t head = atomic_load_explicit(&w->recent_head, memory_order_relaxed), from = head;
    uint32_t told = atomic_load_explicit(&w->recent_taken, memory_order_relaxed);
    for (; n < max; head++) {
        uint32_t entry = atomic_load_explicit(&w->recent[head % ZS_HINTS], memory_order_acquire); /* with queue_hint */
        if (!ZS_HINT_IS_OF(entry, ZS_HINT_LAP(head)))
            break;
        if (n == 0 || slots[n - 1] != ZS_HINT_SLOT(entry)) /* a stream of small writes */
            slots[n++] = ZS_HINT_SLOT(entry);
    }
    if (head != from)
        atomic_store_explicit(&w->recent_head, head, memory_order_relaxed);
    if (head - told >= TELL_EVERY)
        atomic_store_explicit(&w->recent_taken, head, memory_order_release);
    return n;
}

static void skip_recent(struct zs_waiter *w)
{
    uint32_t tail = atomic_load(&w->recent_tail);
    atomic_store(&w->recent_head, tail);
    atomic_store(&w->recent_taken, tail);
}

void zs_waiter_hint(struct zs_waiter *w, uint32_t slot)
{
    uint64_t bit = UINT64_C(1) << (slot & 63);
    if (queue_hint(w, slot))
        return;
    /* Skipped when set already, but only if the way to it is set, too: its setter may have died in between. */
    if ((atomic_load(&w->leaf[slot >> 6]) & bit) == 0 || (atomic_load(&w->top) & (UINT64_C(1) << ((slot >> 12) & 63))) == 0) {
        atomic_fetch_or(&w->leaf[slot >> 6], bit);
        atomic_fetch_or(&w->summary[slot >> 12], UINT64_C(1) << ((slot >> 6) & 63));
        atomic_fetch_or(&w->top, UINT64_C(1) << ((slot >> 12) & 63));
    }
    atomic_thread_fence(memory_order_seq_cst); /* before `asleep` is looked at */
}

bool zs_waiter_settle(struct zs_waiter *w)
{
    uint32_t tail = atomic_load(&w->recent_tail), head = atomic_load_explicit(&w->recent_head, memory_order_relaxed);
    uint32_t entry = atomic_load(&w->recent[head % ZS_HINTS]);
    /* An entry is filled before tail passes it, and the next one only after. */
    if (ZS_HINT_IS_OF(entry, ZS_HINT_LAP(head)) || tail == head || tail + 1 == head)
        return true;
    skip_recent(w);
    for (uint32_t i = 0; i < ZS_WAITER_SLOTS / 64; i++)
        atomic_store_explicit(&w->leaf[i], UINT64_MAX, memory_order_relaxed);
    for (uint32_t i = 0; i < ZS_WAITER_SLOTS / 4096; i++)
        atomic_store(&w->summary[i], UINT64_MAX);
    atomic_store(&w->top, UINT64_MAX);
    return false;
}

/* ---- Waiters ---- */

int64_t zs_waiter_alloc(struct zs_view *v, uint32_t owner)
{
    struct zs_arena *a = v->arena;
    for (uint32_t tries = 0; tries <= ZS_MAX_WAITERS; tries++) {
        int64_t i = zs_hint_claim(a->waiter_hint.summary, a->waiter_hint.leaf, ZS_MAX_WAITERS, 0);
        if (i < 0)
            return -ENOBUFS;
        uint32_t none = 0;
        if (atomic_compare_exchange_strong(&a->waiter[i].owner, &none, owner)) {
            atomic_fetch_add(&a->waiter[i].gen, 1);
            return i;
        }
    }
    return -ENOBUFS;
}

void zs_waiter_free(struct zs_view *v, uint32_t w)
{
    struct zs_waiter *waiter = &v->arena->waiter[w];
    atomic_fetch_add(&waiter->gen, 1);
    atomic_store(&waiter->asleep, 0);
    skip_recent(waiter);
    for (uint32_t i = 0; i < 64; i++) {
        /* Only words that the summary names were ever set, or were left by a late producer: hints both. */
        uint64_t words = atomic_exchange(&waiter->summary[i], 0);
        for (; words != 0; words &= words - 1)
            atomic_store(&waiter->leaf[i * 64 + (uint32_t)__builtin_ctzll(words)], 0);
    }
    atomic_store(&waiter->top, 0);
    atomic_store(&waiter->owner, 0);
    zs_hint_clear(v->arena->waiter_hint.summary, v->arena->waiter_hint.leaf, w);
}

static uint32_t harvest_bits(struct zs_waiter *x, uint32_t *slots, uint32_t n, uint32_t max)
{
    uint64_t top = atomic_load(&x->top) ? atomic_exchange(&x->top, 0) : 0;
    for (; top != 0; top &= top - 1) {
        uint32_t si = (uint32_t)__builtin_ctzll(top);
        uint64_t words = n < max ? atomic_exchange(&x->summary[si], 0) : 0;
        if (n >= max) {
            atomic_fetch_or(&x->top, UINT64_C(1) << si);
            continue;
        }
        for (; words != 0; words &= words - 1) {
            uint32_t wi = si * 64 + (uint32_t)__builtin_ctzll(words);
            uint64_t bits = atomic_exchange(&x->leaf[wi], 0);
            for (; bits != 0 && n < max; bits &= bits - 1)
                slots[n++] = wi * 64 + (uint32_t)__builtin_ctzll(bits);
            if (bits != 0) { /* no room: put the rest back, summary and top with it */
                atomic_fetch_or(&x->leaf[wi], bits);
                atomic_fetch_or(&x->summary[si], UINT64_C(1) << (wi & 63));
                atomic_fetch_or(&x->top, UINT64_C(1) << si);
            }
        }
    }
    return n;
}

uint32_t zs_waiter_harvest(struct zs_waiter *w, uint32_t *slots, uint32_t max)
{
    uint32_t n = harvest_recent(w, slots, 0, max / 2); /* neither keeps the other waiting */
    n = harvest_bits(w, slots, n, max);
    return harvest_recent(w, slots, n, max);
}
