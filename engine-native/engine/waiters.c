/* SPDX-License-Identifier: BSD-3-Clause
 * Waiters and their doorbells. The engine keeps every eventfd: it hands them to producers and rings them itself. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

int waiter_new(struct engine *e, struct client *c, struct zs_ctl_reply *reply, int *bell)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int64_t w;
    /* A slot that only looks free, because its owner word was scribbled over, stays claimed and is skipped. */
    do
        w = zs_waiter_alloc(&e->view, c->id);
    while (w >= 0 && e->waiters[w].owner != 0);
    if (w < 0) {
        close(fd);
        return (int)w;
    }
    uint32_t gen = atomic_load(&e->view.arena->waiter[w].gen);
    pthread_mutex_lock(&e->waiters_lock);
    e->waiters[w] = (struct waiter){c->id, gen, fd};
    pthread_mutex_unlock(&e->waiters_lock);
    e->waiter_count++;
    reply->a = (uint32_t)w;
    reply->b = gen;
    *bell = fd;
    return 0;
}

static void waiter_release(struct engine *e, uint32_t w)
{
    zs_waiter_free(&e->view, w);
    pthread_mutex_lock(&e->waiters_lock); /* nobody may be about to ring a descriptor that is another's a moment later */
    close(e->waiters[w].bell);
    e->waiters[w] = (struct waiter){0, 0, -1};
    pthread_mutex_unlock(&e->waiters_lock);
    e->waiter_count--;
    /* Endpoints live on; their subscriber words must not fill up with the dead. */
    struct tracked *t, *next;
    HASH_ITER(by_session, e->by_session, t, next)
        zs_unsubscribe_all(&e->view, zs_session_at(&e->view, t->session), w);
}

int waiter_free(struct engine *e, struct client *c, uint32_t w, uint32_t gen)
{
    if (w >= ZS_MAX_WAITERS || e->waiters[w].owner != c->id || e->waiters[w].gen != gen)
        return -ESTALE;
    waiter_release(e, w);
    return 0;
}

int waiter_bell(struct engine *e, uint32_t w, uint32_t gen)
{
    return w < ZS_MAX_WAITERS && e->waiters[w].owner != 0 && e->waiters[w].gen == gen ? e->waiters[w].bell : -1;
}

void waiters_free_of(struct engine *e, uint32_t client)
{
    for (uint32_t w = 0; w < ZS_MAX_WAITERS; w++)
        if (e->waiters[w].owner == client)
            waiter_release(e, w);
}

void waiters_ring_asked(struct engine *e)
{
    struct zs_arena_header *h = &e->view.arena->header;
    if (atomic_exchange(&h->ring_any, 0) == 0)
        return;
    for (uint32_t i = 0; i < ZS_MAX_WAITERS / 64; i++)
        for (uint64_t bits = atomic_exchange(&h->ring_asked[i], 0); bits != 0; bits &= bits - 1) {
            uint32_t w = i * 64 + (uint32_t)__builtin_ctzll(bits);
            view_ring(&e->view, w, e->waiters[w].gen);
        }
}

void view_ring(struct zs_view *view, uint32_t w, uint32_t gen)
{
    struct engine *e = CONTAINER(view, struct engine, view);
    uint64_t one = 1;
    (void)gen; /* the engine's own table decides, shared memory may say anything */
    if (w < ZS_MAX_WAITERS && e->waiters[w].owner != 0 && write(e->waiters[w].bell, &one, sizeof one) > 0)
        COUNT(e, DOORBELLS_RUNG);
}

bool waiter_ring_from_thread(struct engine *e, uint32_t w)
{
    uint64_t one = 1;
    bool rung = false;
    if (w >= ZS_MAX_WAITERS)
        return false;
    pthread_mutex_lock(&e->waiters_lock);
    if (e->waiters[w].owner != 0)
        rung = write(e->waiters[w].bell, &one, sizeof one) > 0;
    pthread_mutex_unlock(&e->waiters_lock);
    return rung;
}
