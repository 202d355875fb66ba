/* SPDX-License-Identifier: BSD-3-Clause
 * TCP_DEFER_ACCEPT. libfstack has no accept filters, so what FreeBSD accepted waits here until there is something to read, or as long
 * as Linux waits for it: through so many retransmissions of its SYN,ACK. Strangers' connections that say nothing take no more places
 * than the backlog has; then the oldest is reset. */
#define _GNU_SOURCE
#include <stdlib.h>

#include "fstack.h"

#define RTO_FIRST_S 1u
#define RTO_MOST_S 120u

/* How long the listener waits, 0: not at all. */
static uint64_t patience(const struct fstack *fs, const struct zs_addr *local, const struct zs_addr *remote)
{
    const struct zs_opts *o = fs->events->listener_options(fs->engine, local, remote);
    unsigned n = o == NULL ? 0 : atomic_load_explicit(&o->defer_accept, memory_order_relaxed);
    uint64_t seconds = 0, rto = RTO_FIRST_S;
    for (; n > 0; n--, rto = RTE_MIN(2 * rto, (uint64_t)RTO_MOST_S))
        seconds += rto;
    return seconds * NS_PER_S;
}

/* It waits no longer; events of this turn may still name it. */
static void leave(struct fs_deferred *d)
{
    struct fstack *fs = d->sock.fs;
    TAILQ_REMOVE(&d->listener->deferred, d, link);
    d->listener->ndeferred--;
    fs->ndeferred--;
    fs->nheld -= d->held;
    d->sock.dead = true;
    SLIST_INSERT_HEAD(&fs->graves, &d->sock, grave);
}

static void drop(struct fs_deferred *d)
{
    fs_abort_fd(d->sock.fd);
    leave(d);
}

/* To the program, if that has room for it. */
static void give(struct fs_deferred *d)
{
    struct fstack *fs = d->sock.fs;
    struct fs_listener *l = d->listener;
    if (l->held < 0 && fs_offer(l, d->sock.fd, &d->local, &d->remote)) {
        leave(d);
        return;
    }
    fs->nheld += !d->held;
    fs->accepts_held += !d->held;
    d->held = true;
}

bool fs_defer(struct fs_listener *l, int fd, const struct zs_addr *local, const struct zs_addr *remote)
{
    struct fstack *fs = l->sock.fs;
    uint64_t wait = patience(fs, local, remote);
    struct fs_deferred *d = wait == 0 ? NULL : calloc(1, sizeof *d);
    if (d == NULL)
        return false;
    if (fs_sock_open(&d->sock, fs, FS_DEFERRED, fd) != 0) {
        free(d);
        return false;
    }
    if (l->ndeferred >= l->backlog)
        drop(TAILQ_FIRST(&l->deferred));
    d->listener = l;
    d->local = *local;
    d->remote = *remote;
    d->until = fs->now + wait;
    fs->defer_look = fs->ndeferred == 0 ? d->until : RTE_MIN(fs->defer_look, d->until);
    TAILQ_INSERT_TAIL(&l->deferred, d, link);
    l->ndeferred++;
    fs->ndeferred++;
    fs->deferred++;
    return true;
}

void fs_deferred_event(struct fs_deferred *d, const struct kevent *e)
{
    if ((e->flags & EV_EOF) && e->fflags != 0)
        drop(d); /* reset, and nobody was told of it */
    else
        give(d);
}

static void run_listener(struct fs_listener *l)
{
    struct fstack *fs = l->sock.fs;
    struct fs_deferred *d, *next;
    for (d = TAILQ_FIRST(&l->deferred); d != NULL; d = next) {
        next = TAILQ_NEXT(d, link);
        if (d->held || fs->now >= d->until)
            give(d);
        else
            fs->defer_look = RTE_MIN(fs->defer_look, d->until);
    }
}

void fs_deferred_run(struct fstack *fs)
{
    struct fs_listener *l;
    if (fs->ndeferred == 0 || (fs->nheld == 0 && fs->now < fs->defer_look))
        return;
    fs->defer_look = UINT64_MAX;
    LIST_FOREACH(l, &fs->listeners, link)
        run_listener(l);
}

uint64_t fs_deferred_next(const struct fstack *fs)
{
    return fs->ndeferred > 0 ? fs->defer_look : UINT64_MAX;
}

void fs_deferred_end(struct fs_listener *l)
{
    while (!TAILQ_EMPTY(&l->deferred))
        drop(TAILQ_FIRST(&l->deferred));
}
