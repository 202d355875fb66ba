/* SPDX-License-Identifier: BSD-3-Clause
 * Hint bitmaps: where to look for a free slot. See the conventions in zstack/shm.h. */
#include "ops.h"

/* The summary is a hint about a hint: after an update it is recomputed from its leaf word, so that a lost race or a
 * scribble heals at the next operation on that word. */
static void summary_update(_Atomic uint64_t *summary, _Atomic uint64_t *leaf, uint32_t word)
{
    uint64_t bit = UINT64_C(1) << (word & 63);
    if (atomic_load(&leaf[word]) == UINT64_MAX)
        atomic_fetch_or(&summary[word >> 6], bit);
    else
        atomic_fetch_and(&summary[word >> 6], ~bit);
    if (atomic_load(&leaf[word]) != UINT64_MAX && (atomic_load(&summary[word >> 6]) & bit))
        atomic_fetch_and(&summary[word >> 6], ~bit);
}

int64_t zs_hint_claim(_Atomic uint64_t *summary, _Atomic uint64_t *leaf, uint32_t n, uint32_t start)
{
    uint32_t words = (n + 63) / 64, word = (start % n) / 64;
    for (uint32_t seen = 0; seen < words;) {
        if ((word & 63) == 0 && seen + 64 <= words &&
            atomic_load_explicit(&summary[word >> 6], memory_order_relaxed) == UINT64_MAX) {
            seen += 64;
            word = word + 64 >= words ? 0 : word + 64;
            continue;
        }
        uint64_t bits = atomic_load_explicit(&leaf[word], memory_order_relaxed);
        while (~bits != 0) {
            uint32_t i = word * 64 + (uint32_t)__builtin_ctzll(~bits);
            uint64_t bit = UINT64_C(1) << (i & 63);
            if (i >= n)
                break;
            bits = atomic_fetch_or(&leaf[word], bit);
            if ((bits & bit) == 0) {
                if ((bits | bit) == UINT64_MAX)
                    summary_update(summary, leaf, word);
                return i;
            }
        }
        seen++;
        word = word + 1 == words ? 0 : word + 1;
    }
    return -ENOSPC;
}

void zs_hint_clear(_Atomic uint64_t *summary, _Atomic uint64_t *leaf, uint32_t i)
{
    uint64_t bit = UINT64_C(1) << (i & 63);
    uint64_t old = atomic_fetch_and(&leaf[i >> 6], ~bit);
    if (old == UINT64_MAX)
        summary_update(summary, leaf, i >> 6);
}

uint32_t zs_hint_next(_Atomic uint64_t *leaf, uint32_t n, uint32_t i)
{
    while (i < n) {
        uint64_t bits = atomic_load_explicit(&leaf[i >> 6], memory_order_relaxed) & (UINT64_MAX << (i & 63));
        if (bits != 0) {
            uint32_t found = (i & ~63u) + (uint32_t)__builtin_ctzll(bits);
            return found < n ? found : n;
        }
        i = (i | 63u) + 1;
    }
    return n;
}
