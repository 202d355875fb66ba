/* SPDX-License-Identifier: BSD-3-Clause
 * Connects that found the accept queue full. A SYN would be sent again until there is room; here the engine enqueues
 * the prepared server end as soon as an accept makes room, in the order in which the connects came. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define PENDING_MAX 65536u
#define PENDING_TIMEOUT (127 * NS_PER_S) /* as Linux with tcp_syn_retries 6 */
#define PENDING_RETRY (200 * NS_PER_MS)  /* in case a doorbell got lost with its process */

/* Acceptors ring the engine while the flag is set. */
static void listener_flag(struct engine *e, const struct pending_group *g, bool on)
{
    struct zs_session *s = zs_session_at(&e->view, g->session);
    if (on)
        atomic_fetch_or(&s->flags, ZS_F_NOTIFY_ENGINE);
    else
        atomic_fetch_and(&s->flags, ~ZS_F_NOTIFY_ENGINE);
}

static void group_free(struct engine *e, struct pending_group *g)
{
    struct tracked *t = tracked_by_session(e, g->session);
    if (t != NULL && t->listener == g->listener)
        listener_flag(e, g, false);
    HASH_DEL(e->pending, g);
    free(g);
}

static void pending_remove(struct engine *e, struct pending_group *g, struct pending *p)
{
    TAILQ_REMOVE(&g->queue, p, link);
    e->pending_count--;
    free(p);
}

/* Still the connect that was asked for? Its process may have given up and used the slots for something else. */
static bool still_wanted(struct engine *e, const struct pending *p)
{
    struct zs_session *c = zs_session_at(&e->view, p->client_end), *s = zs_session_at(&e->view, p->server_end);
    return client_alive(e, p->client) && atomic_load(&c->gen) == p->client_gen &&
           atomic_load(&s->gen) == p->server_gen &&
           atomic_load(&c->owner) == p->client && atomic_load(&c->state) == ZS_S_EMBRYO && c->peer == p->server_end &&
           s->peer == p->client_end;
}

/* The server end was prepared for a listener that will not have it: closed here, since nobody else would. */
static void drop_server_end(struct engine *e, const struct pending *p)
{
    struct zs_session *s = zs_session_at(&e->view, p->server_end);
    uint32_t owner = atomic_load(&s->owner);
    if (atomic_load(&s->gen) == p->server_gen && s->peer == p->client_end && atomic_load(&s->state) == ZS_S_EMBRYO &&
        (owner == p->client || owner == ZS_CLIENT_ENGINE))
        session_close_safely(e, p->server_end, false);
}

static void fail_connect(struct engine *e, const struct pending *p, int error)
{
    struct zs_session *c = zs_session_at(&e->view, p->client_end);
    atomic_store(&c->error, (uint32_t)error);
    drop_server_end(e, p);
    zs_notify(&e->view, c);
}

/* 0 done or dropped, -EAGAIN no room yet. */
static int try_connect(struct engine *e, struct pending_group *g, struct pending *p)
{
    struct zs_session *c = zs_session_at(&e->view, p->client_end), *s = zs_session_at(&e->view, p->server_end);
    if (!still_wanted(e, p)) {
        drop_server_end(e, p);
        return 0;
    }
    if (p->deadline <= e->now) {
        COUNT(e, DEFERRED_TIMEOUTS);
        fail_connect(e, p, ETIMEDOUT);
        return 0;
    }
    /* The engine takes the server end before anybody can pop it. Losing the exchange: the process is at it. */
    uint32_t owner = atomic_load(&s->owner);
    if ((owner != p->client && owner != ZS_CLIENT_ENGINE) ||
        !atomic_compare_exchange_strong(&s->owner, &owner, ZS_CLIENT_ENGINE))
        return 0;
    uint32_t state = atomic_load(&s->state);
    atomic_store(&s->state, ZS_S_QUEUED);
    int err = zs_accept_push(&e->view, g->listener, g->gen, p->server_end, p->server_gen);
    if (err != 0) {
        atomic_store(&s->state, state);
        atomic_store(&s->owner, owner);
        if (err == -EAGAIN)
            return -EAGAIN;
        COUNT(e, DEFERRED_REFUSED);
        fail_connect(e, p, ECONNREFUSED);
        return 0;
    }
    uint32_t embryo = ZS_S_EMBRYO;
    atomic_compare_exchange_strong(&c->state, &embryo, ZS_S_OPEN);
    COUNT(e, DEFERRED_DONE);
    zs_notify_room(&e->view, c);
    zs_notify(&e->view, zs_session_at(&e->view, g->session));
    return 0;
}

static void group_retry(struct engine *e, struct pending_group *g)
{
    /* Deadlines are in order, so a full queue can only hide expired entries behind wanted ones of the same age. */
    while (!TAILQ_EMPTY(&g->queue)) {
        struct pending *p = TAILQ_FIRST(&g->queue);
        if (try_connect(e, g, p) != 0)
            break;
        pending_remove(e, g, p);
    }
    if (TAILQ_EMPTY(&g->queue))
        group_free(e, g);
}

void pending_due(struct engine *e)
{
    struct pending_group *g, *next;
    HASH_ITER(hh, e->pending, g, next)
        group_retry(e, g);
    if (e->pending_count > 0)
        timer_at(e, TIMER_CONNECTS, e->now + PENDING_RETRY);
}

void bell_ready(struct engine *e, struct source *s, uint32_t events)
{
    uint64_t count;
    (void)events;
    if (read(s->fd, &count, sizeof count) <= 0)
        return;
    waiters_ring_asked(e);
    pending_due(e);
}

bool pending_contains(const struct engine *e, uint32_t server_end)
{
    struct pending_group *g, *next;
    struct pending *p;
    HASH_ITER(hh, e->pending, g, next)
        TAILQ_FOREACH(p, &g->queue, link)
            if (p->server_end == server_end)
                return true;
    return false;
}

void pending_drop_client(struct engine *e, uint32_t client)
{
    struct pending_group *g, *next;
    struct pending *p, *after;
    HASH_ITER(hh, e->pending, g, next) {
        for (p = TAILQ_FIRST(&g->queue); p != NULL; p = after) {
            after = TAILQ_NEXT(p, link);
            if (p->client == client)
                pending_remove(e, g, p);
        }
        if (TAILQ_EMPTY(&g->queue))
            group_free(e, g);
    }
}

void pending_free_all(struct engine *e)
{
    struct pending_group *g, *next;
    HASH_ITER(hh, e->pending, g, next) {
        while (!TAILQ_EMPTY(&g->queue))
            pending_remove(e, g, TAILQ_FIRST(&g->queue));
        HASH_DEL(e->pending, g);
        free(g);
    }
}

static struct pending_group *group_get(struct engine *e, const struct tracked *t)
{
    struct pending_group *g;
    HASH_FIND_INT(e->pending, &t->listener, g);
    if (g != NULL || (g = calloc(1, sizeof *g)) == NULL)
        return g;
    g->listener = t->listener;
    g->gen = t->listener_gen;
    g->session = t->session;
    TAILQ_INIT(&g->queue);
    HASH_ADD_INT(e->pending, listener, g);
    return g;
}

/* The live listener that the prepared server end names. */
static struct tracked *listener_wanted(struct engine *e, uint32_t listener, uint32_t gen)
{
    if (listener >= ZS_MAX_LISTENERS)
        return NULL;
    struct tracked *t = tracked_by_session(e, e->view.arena->listener[listener].session);
    return t != NULL && !t->closing && t->kind == ZS_KIND_TCP_LISTEN && t->listener == listener &&
                   t->listener_gen == gen ? t : NULL;
}

int deferred_connect(struct engine *e, struct client *c, uint32_t session, uint32_t gen)
{
    struct zs_session *s = zs_session_at(&e->view, session);
    if (s == NULL || atomic_load(&s->gen) != gen || atomic_load(&s->owner) != c->id)
        return -ESTALE;
    struct pending want = {.client = c->id, .client_end = session, .client_gen = gen, .server_end = s->peer,
                           .server_gen = s->peer_gen, .deadline = e->now + PENDING_TIMEOUT};
    struct zs_session *server = zs_session_at(&e->view, want.server_end);
    if (server == NULL || want.server_end == session || !still_wanted(e, &want) ||
        tracked_by_session(e, want.server_end) != NULL)
        return -ESTALE;
    uint32_t owner = atomic_load(&server->owner);
    if ((owner != c->id && owner != ZS_CLIENT_ENGINE) || atomic_load(&server->creator) != c->id)
        return -EPERM;
    struct tracked *t = listener_wanted(e, server->listener, server->listener_gen);
    if (t == NULL)
        return -ECONNREFUSED;
    struct pending *p = e->pending_count < PENDING_MAX ? malloc(sizeof *p) : NULL;
    struct pending_group *g = p != NULL ? group_get(e, t) : NULL;
    if (g == NULL) {
        free(p);
        return -ENOBUFS;
    }
    *p = want;
    TAILQ_INSERT_TAIL(&g->queue, p, link);
    e->pending_count++;
    COUNT(e, DEFERRED_CONNECTS);
    listener_flag(e, g, true);
    group_retry(e, g); /* room may have come since the client looked, and nobody rings for that */
    if (e->pending_count > 0)
        timer_at(e, TIMER_CONNECTS, e->now + PENDING_RETRY);
    return 0;
}
