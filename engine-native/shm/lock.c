/* SPDX-License-Identifier: BSD-3-Clause
 * Robust lock words. A word holds the client id of its owner, so that the engine can break it after that client's
 * death. Critical sections publish by one release store at their end: a broken lock leaves nothing half visible. */
#define _GNU_SOURCE
#include <sched.h>
#include <time.h>

#include "ops.h"

bool zs_lock(struct zs_view *v, _Atomic uint32_t *word, bool bounded)
{
    for (uint32_t round = 0;; round++) {
        uint32_t free_word = 0;
        if (atomic_compare_exchange_strong_explicit(word, &free_word, v->client, memory_order_acquire,
                                                    memory_order_relaxed))
            return true;
        if (round < 64) {
            __builtin_ia32_pause();
        } else if (round < 128) {
            sched_yield(); /* the owner may need this very CPU */
        } else if (bounded && round >= 144) {
            return false;
        } else {
            struct timespec nap = {.tv_nsec = 50000};
            nanosleep(&nap, NULL);
        }
    }
}

void zs_unlock(struct zs_view *v, _Atomic uint32_t *word)
{
    /* Only if still ours: the engine breaks the lock of a client that it takes for dead. */
    uint32_t mine = v->client;
    atomic_compare_exchange_strong_explicit(word, &mine, 0, memory_order_release, memory_order_relaxed);
}
