/* SPDX-License-Identifier: BSD-3-Clause
 * Readiness: who is told, and doorbells. The producer's rule: publish, full barrier, test `asleep`. The sleeper's:
 * set `asleep`, full barrier, test again. */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>

#include "ops.h"

#include <poll.h>
#include "sys.h"

int zs_futex_wake(_Atomic uint32_t *word, int count)
{
    return (int)zs_sys(SYS_futex, word, FUTEX_WAKE, count, 0, 0, 0);
}

/* Hints at one subscriber; true when its waiter slept and was woken. */
static bool subscriber_signal(struct zs_view *v, uint64_t sub)
{
    uint32_t w = ZS_SUB_WAITER(sub), slot = ZS_SUB_SLOT(sub);
    if (w >= ZS_MAX_WAITERS || slot >= ZS_WAITER_SLOTS)
        return false;
    struct zs_waiter *waiter = &v->arena->waiter[w];
    zs_waiter_hint(waiter, slot);
    if (atomic_load(&waiter->asleep) == 0)
        return false;
    v->ring(v, w, atomic_load(&waiter->gen));
    if (v->stats)
        atomic_fetch_add_explicit(&v->stats->wakeups, 1, memory_order_relaxed);
    return true;
}

void zs_waiter_signal(struct zs_view *v, uint32_t waiter, uint32_t gen, uint32_t slot)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (waiter < ZS_MAX_WAITERS && atomic_load(&v->arena->waiter[waiter].gen) == gen)
        subscriber_signal(v, ZS_SUB(waiter, slot, 0));
}

/* EPOLLEXCLUSIVE subscribers: one that sleeps is enough; when none sleeps all have their bit set and will look. */
static bool signal_list(struct zs_view *v, _Atomic uint64_t *subs, uint32_t n, bool exclusive_done)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t sub = atomic_load_explicit(&subs[i], memory_order_acquire);
        if (sub == 0)
            continue;
        bool exclusive = ZS_SUB_FLAGS(sub) & ZS_SUB_EXCLUSIVE;
        if (exclusive && exclusive_done)
            continue;
        if (subscriber_signal(v, sub) && exclusive)
            exclusive_done = true;
    }
    return exclusive_done;
}

/* Those in the fourth line. True when a thread that waits for data was woken. */
static bool wake_others(struct zs_view *v, struct zs_session *s, uint32_t others, bool exclusive_done)
{
    if (others & ZS_OTHERS_SUBS) {
        bool done = signal_list(v, s->subs, ZS_SUBS_INLINE, exclusive_done);
        uint32_t ref = atomic_load_explicit(&s->subs_block, memory_order_acquire);
        _Atomic uint64_t *more = ref != 0 ? (_Atomic uint64_t *)zs_block_ptr(v->arena, ref) : NULL;
        if (more != NULL && ZS_BLOCK_CLASS(ref) == 0)
            signal_list(v, more, ZS_SUBS_BLOCK, done);
    }
    if (!(others & ZS_OTHERS_ASLEEP))
        return false;
    /* A sleeper sets the word, then the bit: one that comes in between is woken here, or has its bit for the next time. */
    atomic_fetch_and(&s->rx_prod.others, ~ZS_OTHERS_ASLEEP);
    if (atomic_exchange(&s->rx_wait, 0) == 0)
        return false;
    zs_futex_wake(&s->rx_wait, INT_MAX);
    if (v->stats)
        atomic_fetch_add_explicit(&v->stats->wakeups, 1, memory_order_relaxed);
    return true;
}

/* True when a thread that waits for data was woken. */
static bool wake(struct zs_view *v, struct zs_session *s)
{
    /* What was published is on its way to this CPU's cache, which the barrier waits for: the hint's line comes with it. */
    uint64_t first = atomic_load_explicit(&s->rx_prod.sub, memory_order_relaxed);
    if (first != 0 && ZS_SUB_WAITER(first) < ZS_MAX_WAITERS)
        zs_waiter_fetch(&v->arena->waiter[ZS_SUB_WAITER(first)]);
    atomic_thread_fence(memory_order_seq_cst);
    bool done = signal_list(v, &s->rx_prod.sub, 1, false);
    uint32_t others = atomic_load(&s->rx_prod.others);
    return __builtin_expect(others != 0, 0) && wake_others(v, s, others, done);
}

void zs_notify(struct zs_view *v, struct zs_session *s)
{
    bool woken = wake(v, s);
    if (__builtin_expect(atomic_load_explicit(&s->rx_prod.others, memory_order_relaxed) & ZS_OTHERS_ASYNC, 0) &&
        atomic_load_explicit(&s->async, memory_order_relaxed) != 0) {
        long band = zs_async_band(v, s);
        /* Data for a thread that waits for it is no news (SOCKWQ_ASYNC_WAITDATA). */
        if (band != 0 && (!woken || s->kind == ZS_KIND_TCP_LISTEN || !(band & POLLIN)))
            zs_async_raise(v, s, band);
    }
}

void zs_notify_room(struct zs_view *v, struct zs_session *s)
{
    wake(v, s);
    zs_async_raise(v, s, ZS_ASYNC_OUT);
}

void zs_notify_own(struct zs_view *v, struct zs_session *s)
{
    wake(v, s);
}

static int claim_in(_Atomic uint64_t *subs, uint32_t n, uint64_t word)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t none = 0;
        if (atomic_load_explicit(&subs[i], memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong(&subs[i], &none, word))
            return 0;
    }
    return -ENOBUFS;
}

int zs_subscribe(struct zs_view *v, struct zs_session *s, uint32_t waiter, uint32_t slot, uint32_t flags)
{
    uint64_t word = ZS_SUB(waiter, slot, flags);
    if (claim_in(&s->rx_prod.sub, 1, word) == 0)
        return 0;
    atomic_fetch_or(&s->rx_prod.others, ZS_OTHERS_SUBS);
    if (claim_in(s->subs, ZS_SUBS_INLINE, word) == 0)
        return 0;
    uint32_t ref = atomic_load(&s->subs_block);
    if (ref == 0) {
        ref = zs_block_alloc(v, 4096, zs_session_index(v, s));
        if (ref == 0)
            return -ENOBUFS;
        memset(zs_block_ptr(v->arena, ref), 0, 4096);
        uint32_t none = 0;
        if (!atomic_compare_exchange_strong(&s->subs_block, &none, ref)) {
            zs_block_free(v, ref, zs_session_index(v, s));
            ref = none;
        }
    }
    uint8_t *more = zs_block_ptr(v->arena, ref);
    if (more == NULL || ZS_BLOCK_CLASS(ref) != 0)
        return -ENOBUFS;
    return claim_in((_Atomic uint64_t *)more, ZS_SUBS_BLOCK, word);
}

/* Clears the words that match in `mask`; at most one unless `all`. */
static bool drop_from(_Atomic uint64_t *subs, uint32_t n, uint64_t want, uint64_t mask, bool all)
{
    bool any = false;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t word = atomic_load(&subs[i]);
        if (word != 0 && (word & mask) == (want & mask) && atomic_compare_exchange_strong(&subs[i], &word, 0)) {
            any = true;
            if (!all)
                break;
        }
    }
    return any;
}

static void drop(struct zs_view *v, struct zs_session *s, uint64_t want, uint64_t mask, bool all)
{
    if (drop_from(&s->rx_prod.sub, 1, want, mask, all) && !all)
        return;
    if (drop_from(s->subs, ZS_SUBS_INLINE, want, mask, all) && !all)
        return;
    uint32_t ref = atomic_load(&s->subs_block);
    uint8_t *more = ref != 0 && ZS_BLOCK_CLASS(ref) == 0 ? zs_block_ptr(v->arena, ref) : NULL;
    if (more != NULL)
        drop_from((_Atomic uint64_t *)more, ZS_SUBS_BLOCK, want, mask, all);
}

void zs_unsubscribe(struct zs_view *v, struct zs_session *s, uint32_t waiter, uint32_t slot)
{
    drop(v, s, ZS_SUB(waiter, slot, 0), ~(UINT64_C(0x7fff) << 48), false);
}

void zs_unsubscribe_all(struct zs_view *v, struct zs_session *s, uint32_t waiter)
{
    drop(v, s, ZS_SUB(waiter, 0, 0), UINT64_C(0xffffff) << 24, true);
}

void zs_urgent_put(struct zs_session *rx, uint64_t word)
{
    uint64_t old = atomic_load_explicit(&rx->rx_prod.urgent, memory_order_relaxed);
    bool stands = old != 0 && ZS_URGENT_POS(old) == atomic_load(&rx->rx_cons.head) &&
                  ZS_URGENT_POS(old) != atomic_load_explicit(&rx->rx_prod.tail, memory_order_relaxed);
    bool in_line = atomic_load_explicit(&rx->opts.bits, memory_order_relaxed) & ZS_O_OOBINLINE;
    if (stands && !in_line && ZS_URGENT_POS(old) != ZS_URGENT_POS(word))
        atomic_store(&rx->rx_prod.urgent_skip, ZS_URGENT_POS(old) + 1);
    atomic_store_explicit(&rx->rx_prod.urgent, word, memory_order_release);
}
