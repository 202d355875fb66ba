/* SPDX-License-Identifier: BSD-3-Clause
 * Sessions that the engine follows: by the cookie of their kernel socket, by session, by port. */
#define _GNU_SOURCE
#include "internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct tracked *tracked_by_cookie(struct engine *e, uint64_t cookie)
{
    struct tracked *t;
    HASH_FIND(by_cookie, e->by_cookie, &cookie, sizeof cookie, t);
    return t;
}

void tracked_take_told(struct engine *e)
{
    for (uint32_t i = 0; i < ZS_MAX_CLIENTS; i++)
        if (e->clients[i] != NULL)
            conn_take_told(e, e->clients[i]->conn);
}

struct tracked *tracked_by_told_cookie(struct engine *e, uint64_t cookie)
{
    struct tracked *t = tracked_by_cookie(e, cookie);
    if (t != NULL)
        return t;
    tracked_take_told(e);
    return tracked_by_cookie(e, cookie);
}

struct tracked *tracked_by_session(struct engine *e, uint32_t session)
{
    struct tracked *t;
    HASH_FIND(by_session, e->by_session, &session, sizeof session, t);
    return t;
}

struct tracked *tracked_add(struct engine *e, uint64_t cookie, uint32_t session, uint32_t kind, uint32_t creator)
{
    struct tracked *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    struct zs_session *s = zs_session_at(&e->view, session);
    t->cookie = cookie;
    t->session = session;
    t->gen = atomic_load(&s->gen);
    t->kind = kind;
    t->creator = creator;
    HASH_ADD(by_session, e->by_session, session, sizeof t->session, t);
    atomic_fetch_or(&e->tracked_bits[session / 64], UINT64_C(1) << (session % 64));
    HASH_ADD(by_cookie, e->by_cookie, cookie, sizeof t->cookie, t);
    t->by_cookie_in = true;
    return t;
}

void tracked_forget_cookie(struct engine *e, struct tracked *t)
{
    if (t->by_cookie_in)
        HASH_DELETE(by_cookie, e->by_cookie, t);
    t->by_cookie_in = false;
}

void tracked_drop(struct engine *e, struct tracked *t)
{
    tracked_forget_cookie(e, t);
    HASH_DELETE(by_session, e->by_session, t);
    atomic_fetch_and(&e->tracked_bits[t->session / 64], ~(UINT64_C(1) << (t->session % 64)));
    free(t);
}

/* ---- Sharing ---- */

/* Cookies of sockets that the kernel reported as closed and that were nobody's, each until another takes its place. A cookie is never used again. */
static uint64_t *gone_slot(struct engine *e, uint64_t cookie)
{
    return &e->gone[(cookie * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - GONE_COOKIES_LOG2)];
}

/* A record whose session was freed behind the engine's back (scribbled, or both ends closed) frees the name. */
static bool stale(struct engine *e, const struct tracked *t)
{
    struct zs_session *s = zs_session_at(&e->view, t->session);
    return t->kind == ZS_KIND_TCP && (atomic_load(&s->gen) != t->gen || atomic_load(&s->owner) == 0);
}

static int share_tracked(struct engine *e, struct tracked *t, struct client *c, uint64_t cookie)
{
    struct zs_session *s = zs_session_at(&e->view, t->session);
    if (t->cookie != cookie)
        return -EEXIST;
    if (!t->shared && t->creator != c->id)
        return -EPERM;
    t->shared = true;
    atomic_store(&s->cookie, cookie);
    atomic_fetch_or(&s->flags, ZS_F_SHARED);
    return 0;
}

int share_one(struct engine *e, struct client *c, const struct zs_ctl_share_entry *entry)
{
    struct zs_session *s = zs_session_at(&e->view, entry->session);
    if (s == NULL || entry->cookie == 0)
        return -EINVAL;
    struct tracked *t = tracked_by_session(e, entry->session);
    if (t != NULL && stale(e, t)) {
        tracked_drop(e, t);
        t = NULL;
    }
    if (t != NULL)
        return t->gen == entry->gen && !t->closing ? share_tracked(e, t, c, entry->cookie) : -ESTALE;
    if (atomic_load(&s->gen) != entry->gen || s->kind != ZS_KIND_TCP)
        return -ESTALE;
    if (atomic_load(&s->owner) != c->id)
        return -EPERM;
    struct tracked *other = tracked_by_cookie(e, entry->cookie);
    if (other != NULL && stale(e, other)) {
        tracked_drop(e, other);
        other = NULL;
    }
    if (other != NULL)
        return -EEXIST;
    t = tracked_add(e, entry->cookie, entry->session, ZS_KIND_TCP, c->id);
    if (t == NULL)
        return -ENOMEM;
    COUNT(e, SESSIONS_SHARED);
    int r = share_tracked(e, t, c, entry->cookie);
    if (*gone_slot(e, entry->cookie) == entry->cookie) /* its end was reported before it was read that it is shared */
        tracked_destroyed(e, entry->cookie);
    return r;
}

/* ---- End ---- */

void tracked_close(struct engine *e, struct tracked *t)
{
    if (t->kind != ZS_KIND_TCP) {
        if (!t->closing)
            endpoint_close(e, t);
        return;
    }
    uint32_t session = t->session;
    bool gone = stale(e, t);
    tracked_drop(e, t);
    if (gone)
        return;
    /* Its lifetime was the cookie's; nothing may take it for shared while it closes. */
    struct zs_session *s = zs_session_at(&e->view, session);
    atomic_fetch_and(&s->flags, ~ZS_F_SHARED);
    session_close_safely(e, session, session_wants_reset(s));
}

bool tracked_destroyed(struct engine *e, uint64_t cookie)
{
    struct tracked *t = tracked_by_cookie(e, cookie);
    if (t == NULL) {
        *gone_slot(e, cookie) = cookie;
        return false;
    }
    COUNT(e, CLOSED_BY_COOKIE);
    tracked_close(e, t);
    return true;
}

/* ---- Ports ---- */

static _Atomic uint32_t *port_head(struct engine *e, uint32_t kind, uint16_t port)
{
    struct zs_arena *a = e->view.arena;
    return kind == ZS_KIND_UDP ? &a->udp_ports.head[port] : &a->tcp_ports.head[port];
}

static struct port *port_find(struct engine *e, uint32_t kind, uint16_t port, bool create)
{
    uint32_t key = kind << 16 | port;
    struct port *p;
    HASH_FIND_INT(e->ports, &key, p);
    if (p == NULL && create && (p = calloc(1, sizeof *p)) != NULL) {
        p->key = key;
        TAILQ_INIT(&p->chain);
        HASH_ADD_INT(e->ports, key, p);
    }
    return p;
}

/* Writes the whole chain from the engine's own list, back to front, so that a scribbled link heals. A reader that
 * stands on a removed session follows its old link back into the chain; that slot is freed only after a grace time. */
static void port_publish(struct engine *e, struct port *p)
{
    uint32_t next = 0;
    struct tracked *t;
    TAILQ_FOREACH_REVERSE(t, &p->chain, tracked_list, port_link) {
        atomic_store_explicit(&zs_session_at(&e->view, t->session)->port_next, next, memory_order_release);
        next = t->session + 1;
    }
    atomic_store_explicit(port_head(e, p->key >> 16, (uint16_t)p->key), next, memory_order_release);
}

void ports_insert(struct engine *e, struct tracked *t)
{
    struct port *p = port_find(e, t->kind, ntohs(t->local.port), true);
    if (p == NULL)
        return;
    TAILQ_INSERT_HEAD(&p->chain, t, port_link);
    port_publish(e, p);
}

void ports_remove(struct engine *e, struct tracked *t)
{
    struct port *p = port_find(e, t->kind, ntohs(t->local.port), false);
    if (p == NULL)
        return;
    TAILQ_REMOVE(&p->chain, t, port_link);
    port_publish(e, p);
    if (TAILQ_EMPTY(&p->chain)) {
        HASH_DEL(e->ports, p);
        free(p);
    }
}

struct tracked *ports_conflict(struct engine *e, uint32_t kind, const struct zs_addr *local, uint16_t flags)
{
    struct port *p = port_find(e, kind, ntohs(local->port), false);
    struct tracked *t;
    if (p == NULL)
        return NULL;
    TAILQ_FOREACH(t, &p->chain, port_link) {
        bool same = memcmp(t->local.ip, local->ip, 16) == 0 && t->local.scope_id == local->scope_id &&
                    t->local.family == local->family;
        if (same && !t->on_device && !(t->flags & flags & ZS_F_REUSEPORT))
            return t;
    }
    return NULL;
}
