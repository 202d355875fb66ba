/* SPDX-License-Identifier: BSD-3-Clause
 * TCP connections over the wire: a pair of sessions, one the application's, one the engine's own. */
#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <string.h>

/* ---- Passive ---- */

/* The port that a connection came by has its local address; a link-local one says it by its scope. */
static uint32_t port_of(struct engine *e, const struct zs_addr *local)
{
    uint32_t scope = ZS_WIRE_SCOPE_PORT(local->scope_id);
    return scope != 0 ? scope : zs_wire_port_with(&e->view, local->ip);
}

static struct tracked *listener_for(struct engine *e, const struct zs_addr *local, const struct zs_addr *remote)
{
    int64_t li = zs_lookup_listener(&e->view, local, port_of(e, local), zs_lookup_hash(local, remote));
    struct tracked *t = li < 0 ? NULL : tracked_by_session(e, (uint32_t)li);
    return t != NULL && t->kind == ZS_KIND_TCP_LISTEN && !t->closing ? t : NULL;
}

bool wire_accept_full(void *engine, const struct zs_addr *local, const struct zs_addr *remote)
{
    struct engine *e = engine;
    struct tracked *t = listener_for(e, local, remote);
    bool full = t != NULL && zs_accept_count(&e->view, t->listener) > atomic_load(&e->view.arena->listener[t->listener].backlog);
    e->wire->refused += full;
    return full;
}

const struct zs_opts *wire_listener_options(void *engine, const struct zs_addr *local, const struct zs_addr *remote)
{
    struct engine *e = engine;
    struct tracked *t = listener_for(e, local, remote);
    return t == NULL ? NULL : &zs_session_at(&e->view, t->session)->opts;
}

int wire_accept(void *engine, const struct zs_addr *local, const struct zs_addr *remote, uint32_t *own, void **conn)
{
    struct engine *e = engine;
    struct zs_view *v = &e->view;
    struct tracked *t = listener_for(e, local, remote);
    if (t == NULL)
        return -ECONNREFUSED;
    int64_t app = session_alloc(e, ZS_KIND_TCP);
    struct wire_own *o = app < 0 ? NULL : wire_own_new(e, WIRE_CONN, ZS_KIND_TCP);
    if (o == NULL) {
        if (app >= 0)
            zs_session_free(v, (uint32_t)app);
        COUNT(e, WIRE_NO_SESSIONS);
        return -EAGAIN;
    }
    struct zs_session *s = zs_session_at(v, (uint32_t)app), *ls = zs_session_at(v, t->session);
    s->local = *local;
    s->remote = *remote;
    s->local.family = s->remote.family = t->local.family;
    s->listener = t->listener;
    s->listener_gen = t->listener_gen;
    atomic_store(&s->flags, ZS_F_WIRE);
    zs_session_pair(v, (uint32_t)app, o->own);
    atomic_store(&s->state, ZS_S_QUEUED);
    int err = zs_accept_push(v, t->listener, t->listener_gen, (uint32_t)app, atomic_load(&s->gen));
    if (err != 0) {
        zs_session_free(v, (uint32_t)app);
        zs_session_free(v, o->own);
        wire_own_free(e, o);
        return err;
    }
    o->handle = e->wire->ops->accepting(e->wire->stack);
    e->wire->conns++;
    COUNT(e, WIRE_ACCEPTED);
    zs_notify(v, ls);
    *own = o->own;
    *conn = o;
    return 0;
}

/* ---- Active ---- */

int wire_connect(struct engine *e, struct client *c, uint32_t session, uint32_t gen)
{
    struct zs_view *v = &e->view;
    struct zs_session *s = zs_session_at(v, session);
    if (e->wire == NULL)
        return -ENETUNREACH;
    if (s == NULL || atomic_load(&s->gen) != gen || atomic_load(&s->owner) != c->id || s->kind != ZS_KIND_TCP ||
        atomic_load(&s->state) != ZS_S_EMBRYO || s->peer != ZS_NO_SESSION || tracked_by_session(e, session) != NULL)
        return -ESTALE;
    struct zs_addr local = s->local, remote = s->remote; /* copied once: the application may write them any time */
    struct wire_own *o = wire_own_new(e, WIRE_CONN, ZS_KIND_TCP);
    if (o == NULL)
        return -ENOBUFS;
    atomic_fetch_or(&s->flags, ZS_F_WIRE);
    zs_session_pair(v, session, o->own);
    void *handle = NULL;
    int err = e->wire->ops->connect(e->wire->stack, &local, &remote, s->port, o->own, o, &handle, e->now);
    if (err != 0) {
        s->peer = ZS_NO_SESSION;
        zs_session_free(v, o->own);
        wire_own_free(e, o);
        return err;
    }
    o->handle = handle;
    e->wire->conns++;
    local.family = s->local.family;
    s->local = local;
    COUNT(e, WIRE_CONNECTS);
    return 0;
}

void wire_connected(void *engine, void *conn)
{
    struct engine *e = engine;
    struct wire_own *o = conn;
    struct zs_session *own = zs_session_at(&e->view, o->own), *app = zs_session_peer(&e->view, own);
    uint32_t embryo = ZS_S_EMBRYO;
    if (app == NULL)
        return;
    atomic_compare_exchange_strong(&app->state, &embryo, ZS_S_OPEN);
    zs_notify_room(&e->view, app);
}

void wire_closed(void *engine, void *conn)
{
    struct engine *e = engine;
    struct wire_own *o = conn;
    e->wire->conns--;
    wire_own_free(e, o);
}
