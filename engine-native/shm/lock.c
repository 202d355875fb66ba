/* SPDX-License-Identifier: BSD-3-Clause
 * Robust lock words. A word holds the client id of its owner, so that the engine can break it after that client's
 * death. Critical sections publish by one release store at their end: a broken lock leaves nothing half visible. */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <sched.h>
#include <time.h>

#include "ops.h"
#include "sys.h"

#define UNKNOWN_ROUNDS 256u /* some 25 ms: longer than the engine takes to publish or withdraw a client */

/* Nobody has this id: its client is gone, or the word was scribbled over. */
static bool unknown(const struct zs_view *v, uint32_t holder)
{
    uint32_t slot = ZS_CLIENT_SLOT(holder);
    if (v->arena == NULL || holder == ZS_CLIENT_ENGINE || holder == v->client)
        return false;
    return slot >= ZS_MAX_CLIENTS || atomic_load(&v->arena->client[slot].id) != holder;
}

/* 50 us. In a process whose filter may forbid to sleep or yield: by a futex that nobody wakes. Not by nanosleep(3), a cancellation
 * point: a thread that ends here leaves other locks that it holds to a process that lives on. */
static void nap(const struct zs_view *v)
{
    const struct timespec t = {.tv_nsec = 50000};
    uint32_t word = 0;
    if (v->confined)
        zs_sys(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0);
    else
        zs_sys(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &t, NULL);
}

bool zs_lock(struct zs_view *v, _Atomic uint32_t *word, bool bounded)
{
    for (uint32_t round = 0;; round++) {
        uint32_t free_word = 0; /* the holder, when the exchange fails */
        if (atomic_compare_exchange_strong_explicit(word, &free_word, v->client, memory_order_acquire,
                                                    memory_order_relaxed))
            return true;
        if (round < 64 || (round < 128 && v->confined)) {
            __builtin_ia32_pause();
        } else if (round < 128) {
            sched_yield(); /* the owner may need this very CPU */
        } else if (bounded && round >= 144) {
            return false;
        } else {
            nap(v);
            if (round % UNKNOWN_ROUNDS == UNKNOWN_ROUNDS - 1 && unknown(v, free_word) &&
                atomic_compare_exchange_strong_explicit(word, &free_word, v->client, memory_order_acquire,
                                                        memory_order_relaxed))
                return true;
        }
    }
}

void zs_unlock(struct zs_view *v, _Atomic uint32_t *word)
{
    /* Only if still ours: the engine breaks the lock of a client that it takes for dead. */
    uint32_t mine = v->client;
    atomic_compare_exchange_strong_explicit(word, &mine, 0, memory_order_release, memory_order_relaxed);
}
