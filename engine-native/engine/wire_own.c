/* SPDX-License-Identifier: BSD-3-Clause
 * The engine's own sessions on the wire. Their table is one for all workers; an entry is changed by who has the lock of the worker
 * that it names. */
#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <stdlib.h>

_Static_assert(WIRE_WORKERS_MAX <= 16, "a worker's number fits beside a record's address");

struct wire_own *wire_own_new(struct wire_worker *k, enum wire_kind kind, uint32_t session_kind)
{
    struct zs_view *v = k->view;
    struct wire_own *o = calloc(1, sizeof *o + (kind == WIRE_UDP ? 2 * sizeof o->port[0] : 0));
    int64_t i = o == NULL ? -1 : session_alloc(k->e, v, session_kind);
    struct zs_session *s = i < 0 ? NULL : zs_session_at(v, (uint32_t)i);
    if (s == NULL || zs_subscribe(v, s, k->waiter_index, (uint32_t)i, 0) != 0) {
        if (s != NULL)
            zs_session_free(v, (uint32_t)i);
        free(o);
        return NULL;
    }
    *o = (struct wire_own){.kind = kind, .own = (uint32_t)i, .gen = atomic_load(&s->gen), .worker = k->index};
    atomic_store(&s->state, ZS_S_OPEN);
    /* An entry of an earlier life of the slot belongs to a connection that forgot it. */
    atomic_store(&k->e->wire->own[i], WIRE_OWN_WORD(o));
    k->own_count++;
    return o;
}

void wire_own_free(struct wire_worker *k, struct wire_own *o)
{
    uintptr_t word = WIRE_OWN_WORD(o);
    atomic_compare_exchange_strong(&k->e->wire->own[o->own], &word, 0);
    k->own_count--;
    free(o);
}

struct wire_own *wire_own_at(const struct wire_worker *k, uint32_t session)
{
    uintptr_t word = session >= ZS_MAX_SESSIONS ? 0 : atomic_load_explicit(&k->e->wire->own[session], memory_order_acquire);
    if (word == 0 || WIRE_OWN_WORKER(word) != k->index)
        return NULL;
    struct wire_own *o = WIRE_OWN_RECORD(word);
    return atomic_load(&zs_session_at(k->view, session)->gen) == o->gen ? o : NULL;
}

static const struct wire_own *of_any(const struct engine *e, uint32_t session)
{
    uintptr_t word = e->wire == NULL || session >= ZS_MAX_SESSIONS ? 0 : atomic_load(&e->wire->own[session]);
    return word == 0 ? NULL : wire_own_at(&e->wire->worker[WIRE_OWN_WORKER(word)], session);
}

bool wire_owns(const struct engine *e, uint32_t session)
{
    return of_any(e, session) != NULL;
}

bool wire_has_own(const struct engine *e)
{
    uint32_t count = 0;
    for (uint32_t i = 0; e->wire != NULL && i < e->wire->nworkers; i++)
        count += e->wire->worker[i].own_count;
    return count > 0;
}

void wire_sessions_busy(struct engine *e, uint32_t *connections, uint32_t *own)
{
    *connections = *own = 0;
    if (e->wire == NULL)
        return;
    wire_freeze(e);
    for (uint32_t i = 0; i < e->wire->nworkers; i++)
        *connections += e->wire->worker[i].conns;
    for (uint32_t i = 0; i < ZS_MAX_SESSIONS; i++) {
        const struct wire_own *o = of_any(e, i);
        *own += o != NULL && o->kind == WIRE_CONN;
    }
    wire_thaw(e);
}

int wire_info(struct engine *e, uint32_t session, uint32_t gen, struct zs_tcp_info *info)
{
    struct zs_session *s = zs_session_at(&e->view, session);
    if (s == NULL || atomic_load(&s->gen) != gen)
        return -ESTALE;
    uint32_t own = s->peer;
    uintptr_t word = e->wire == NULL || own >= ZS_MAX_SESSIONS ? 0 : atomic_load(&e->wire->own[own]);
    if (word == 0)
        return -ENOTCONN;
    struct wire_worker *k = &e->wire->worker[WIRE_OWN_WORKER(word)];
    wire_enter(k);
    struct wire_own *o = wire_own_at(k, own);
    bool known = o != NULL && o->kind == WIRE_CONN && o->handle != NULL;
    if (known)
        e->wire->ops->conn_info(k->stack, o->handle, wire_worker_time(k), info);
    wire_leave(k);
    return known ? 0 : -ENOTCONN;
}
