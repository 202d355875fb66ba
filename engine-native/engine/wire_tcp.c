/* SPDX-License-Identifier: BSD-3-Clause
 * TCP connections over the wire: a pair of sessions, one the application's, one the engine's own. */
#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <sys/socket.h>

/* ---- Passive: in the worker's thread, which sees the arena and its own state alone ---- */

/* The port that a connection came by has its local address; a link-local one says it by its scope. */
static uint32_t port_of(struct zs_view *v, const struct zs_addr *local)
{
    uint32_t scope = ZS_WIRE_SCOPE_PORT(local->scope_id);
    return scope != 0 ? scope : zs_wire_port_with(v, local->ip);
}

/* The session of the listener that gets the connection, and its entry in wire.listening; -ECONNREFUSED. */
static int64_t listener_for(struct wire_worker *k, const struct zs_addr *local, const struct zs_addr *remote, uint64_t *entry)
{
    int64_t li = zs_lookup_listener(k->view, local, port_of(k->view, local), zs_lookup_hash(local, remote));
    *entry = li < 0 ? 0 : atomic_load(&k->e->wire->listening[li]);
    return *entry == 0 ? -ECONNREFUSED : li;
}

static bool queue_full(const struct wire_worker *k, uint32_t listener)
{
    return zs_accept_count(k->view, listener) > atomic_load(&k->view->arena->listener[listener].backlog);
}

bool wire_accept_full(void *worker, const struct zs_addr *local, const struct zs_addr *remote)
{
    struct wire_worker *k = worker;
    uint64_t entry;
    if (listener_for(k, local, remote, &entry) < 0)
        return false;
    bool full = queue_full(k, WIRE_LISTENER(entry));
    k->refused += full;
    return full;
}

const struct zs_opts *wire_listener_options(void *worker, const struct zs_addr *local, const struct zs_addr *remote)
{
    struct wire_worker *k = worker;
    uint64_t entry;
    int64_t li = listener_for(k, local, remote, &entry);
    return li < 0 ? NULL : &zs_session_at(k->view, (uint32_t)li)->opts;
}

uint32_t wire_listener_keys(void *worker, const struct zs_addr *local, const struct zs_addr *remote,
                            uint8_t keys[ZS_FASTOPEN_KEYS][ZS_FASTOPEN_KEY_LEN])
{
    struct wire_worker *k = worker;
    uint64_t entry;
    return listener_for(k, local, remote, &entry) < 0 ? 0 : zs_listener_keys(k->view, WIRE_LISTENER(entry), keys);
}

int wire_accept(void *worker, const struct zs_addr *local, const struct zs_addr *remote, uint32_t *own, void **conn)
{
    struct wire_worker *k = worker;
    struct zs_view *v = k->view;
    uint64_t entry;
    int64_t li = listener_for(k, local, remote, &entry);
    if (li < 0)
        return -ECONNREFUSED;
    if (queue_full(k, WIRE_LISTENER(entry)))
        return -EAGAIN;
    int64_t app = session_alloc(k->e, v, ZS_KIND_TCP);
    struct wire_own *o = app < 0 ? NULL : wire_own_new(k, WIRE_CONN, ZS_KIND_TCP);
    if (o == NULL) {
        if (app >= 0)
            zs_session_free(v, (uint32_t)app);
        COUNT(k, WIRE_NO_SESSIONS);
        return -EAGAIN;
    }
    struct zs_session *s = zs_session_at(v, (uint32_t)app);
    s->local = *local;
    s->remote = *remote;
    s->local.family = s->remote.family = WIRE_LISTENER_V6(entry) ? AF_INET6 : AF_INET;
    s->listener = k->admits.listener = WIRE_LISTENER(entry);
    s->listener_gen = k->admits.gen = WIRE_LISTENER_GEN(entry);
    k->admits.session = (uint32_t)li;
    k->admits.app = (uint32_t)app;
    k->admits.app_gen = atomic_load(&s->gen);
    atomic_store(&s->flags, ZS_F_WIRE);
    zs_session_pair(v, (uint32_t)app, o->own);
    atomic_store(&s->state, ZS_S_QUEUED);
    /* Before it is in the queue: from then on the application's pokes come. */
    o->handle = k->e->wire->ops->accepting(k->stack);
    k->conns++;
    *own = o->own;
    *conn = o;
    return 0;
}

void wire_accepted(void *worker)
{
    struct wire_worker *k = worker;
    struct zs_view *v = k->view;
    if (zs_accept_push_admitted(v, k->admits.listener, k->admits.gen, k->admits.app, k->admits.app_gen) != 0) {
        zs_session_close(v, k->admits.app, true); /* the listener is gone, and with it who waits in its queue */
        return;
    }
    COUNT(k, WIRE_ACCEPTED);
    zs_notify(v, zs_session_at(v, k->admits.session));
}

/* ---- Active: in the engine's thread, in the shard that is to have it ---- */

/* The cookie of a Fast Open server is known to the shard that got it: connections that may send with their SYN are opened in one
 * shard for each server. */
static struct wire_worker *worker_for(struct wire *w, const struct zs_session *s, const struct zs_addr *local, const struct zs_addr *remote)
{
    static const struct zs_addr any;
    if (w->nworkers == 1)
        return &w->worker[0];
    if (local->port != 0 || !(atomic_load_explicit(&s->opts.bits, memory_order_relaxed) & ZS_O_FASTOPEN))
        return &w->worker[w->ops->owner(w->stack, local, remote)];
    struct zs_addr server = *remote;
    server.port = 0;
    return &w->worker[zs_lookup_hash(&any, &server) % w->nworkers];
}

static int open_in_shard(struct wire_worker *k, uint32_t session, struct zs_addr *local, const struct zs_addr *remote)
{
    struct wire *w = k->e->wire;
    struct zs_view *v = k->view;
    struct zs_session *s = zs_session_at(v, session);
    struct wire_own *o = wire_own_new(k, WIRE_CONN, ZS_KIND_TCP);
    if (o == NULL)
        return -ENOBUFS;
    atomic_fetch_or(&s->flags, ZS_F_WIRE);
    zs_session_pair(v, session, o->own);
    void *handle = NULL;
    int err = w->ops->connect(k->stack, local, remote, s->port, o->own, o, &handle, wire_worker_time(k));
    if (err != 0) {
        s->peer = ZS_NO_SESSION;
        zs_session_free(v, o->own);
        wire_own_free(k, o);
        return err;
    }
    o->handle = handle;
    k->conns++;
    return 0;
}

int wire_connect(struct engine *e, struct client *c, uint32_t session, uint32_t gen)
{
    struct wire *w = e->wire;
    struct zs_session *s = zs_session_at(&e->view, session);
    if (w == NULL)
        return -ENETUNREACH;
    if (s == NULL || atomic_load(&s->gen) != gen || atomic_load(&s->owner) != c->id || s->kind != ZS_KIND_TCP ||
        atomic_load(&s->state) != ZS_S_EMBRYO || s->peer != ZS_NO_SESSION || tracked_by_session(e, session) != NULL)
        return -ESTALE;
    struct zs_addr local = s->local, remote = s->remote; /* copied once: the application may write them any time */
    struct wire_worker *k = worker_for(w, s, &local, &remote);
    wire_enter(k);
    int err = open_in_shard(k, session, &local, &remote);
    if (err == 0) {
        local.family = s->local.family;
        s->local = local;
    }
    wire_leave(k);
    if (err == 0)
        COUNT(e, WIRE_CONNECTS);
    return err;
}

void wire_connected(void *worker, void *conn)
{
    struct wire_worker *k = worker;
    struct wire_own *o = conn;
    struct zs_session *own = zs_session_at(k->view, o->own), *app = zs_session_peer(k->view, own);
    uint32_t embryo = ZS_S_EMBRYO;
    if (app == NULL)
        return;
    atomic_compare_exchange_strong(&app->state, &embryo, ZS_S_OPEN);
    zs_notify_room(k->view, app);
}

void wire_closed(void *worker, void *conn)
{
    struct wire_worker *k = worker;
    k->conns--;
    wire_own_free(k, conn);
}
