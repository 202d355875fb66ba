/* SPDX-License-Identifier: BSD-3-Clause
 * listen(2) and connect(2) of one port at the same time. A listener has two halves, the kernel's and the one in the port table, which
 * cannot be opened in one step; who finds the one and not yet the other would have a connection of the kernel's, for good. So each
 * side says what it is about to do, and then looks for the other: of two that do so at once one sees the other at least. A listening
 * program waits until those are through that looked at the port table before it spoke, and connecting ones wait until both
 * halves are open. */
#include "ops.h"

#define WORD(client, what, port) ((uint64_t)(client) << 32 | (uint64_t)(what) << 16 | (port))

int zs_announce(struct zs_view *v, uint32_t what, uint16_t port)
{
    _Atomic uint64_t *all = v->arena->header.announced;
    for (int i = 0; i < (int)ZS_MAX_ANNOUNCED; i++) {
        uint64_t none = 0;
        if (atomic_load_explicit(&all[i], memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong(&all[i], &none, WORD(v->client, what, port)))
            return i; /* the exchange is the barrier between this and the look that follows */
    }
    return -ENOSPC;
}

void zs_announce_end(struct zs_view *v, int announced)
{
    if (announced >= 0 && announced < (int)ZS_MAX_ANNOUNCED)
        atomic_store_explicit(&v->arena->header.announced[announced], 0, memory_order_release);
}

bool zs_announced(const struct zs_view *v, uint32_t what, uint16_t port)
{
    for (uint32_t i = 0; i < ZS_MAX_ANNOUNCED; i++) {
        uint64_t word = atomic_load(&v->arena->header.announced[i]);
        if (word != 0 && (uint32_t)word == (uint32_t)WORD(0, what, port))
            return true;
    }
    return false;
}
