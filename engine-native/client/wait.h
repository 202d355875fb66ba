/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Waiters of this process and the spin policy. */
#ifndef ZSTACK_CLIENT_WAIT_H
#define ZSTACK_CLIENT_WAIT_H

#include "domain.h"

/* A waiter with its doorbell. */
struct zs_wait {
    struct zs_domain *d; /* NULL: none */
    uint32_t index, gen;
    int fd; /* eventfd, a kept descriptor */
    bool lone; /* made without an engine: nobody else has its doorbell, its sleeper looks at the bitmap at intervals */
};
#define ZS_WAIT_LONE_NS 2000000u /* how often */

/* A waiter of the engine's, or a lone one when the engine is gone: the connections of its domain go on without it.
 * -ENOBUFS no waiter is left, -ENOMEM, -EMFILE. */
int zs_wait_open(struct zs_domain *d, struct zs_wait *w);
void zs_wait_close(struct zs_wait *w);
static inline struct zs_waiter *zs_wait_shm(const struct zs_wait *w)
{
    return &w->d->view.arena->waiter[w->index];
}
/* Makes the doorbell readable (a set that is itself polled, or a signal in the way of a sleep). */
void zs_wait_ring(const struct zs_wait *w);
/* Collects up to `max` slots whose bit was set and clears those bits. */
uint32_t zs_wait_harvest(const struct zs_wait *w, uint32_t *slots, uint32_t max);

/* A wait that polls. It is counted among the spinners of all programs only when its first rounds were in vain: the count is a cache
 * line that they all would write, twice for each message that is a moment away. */
struct zs_spin {
    uint32_t eager; /* rounds */
    uint32_t round;
    uint32_t limit_us;
    uint64_t deadline_ns;
    bool counted; /* and has yielded */
    bool yielded; /* in the last round */
};
/* May this thread spin? Only while spinners are fewer than CPUs. Pairs with zs_spin_end. */
bool zs_spin_begin(struct zs_domain *d);
void zs_spin_end(struct zs_domain *d, const struct zs_spin *s);
/* One round of a spin; yields now and then, since the peer may need this CPU. Returns false once `limit_us` is over, or there are
 * spinners enough. */
bool zs_spin_round(struct zs_domain *d, struct zs_spin *s);
uint64_t zs_now_ns(void);

#endif
