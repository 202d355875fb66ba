/* SPDX-License-Identifier: BSD-3-Clause
 * Connect and accept inside a domain. The connecting process prepares both ends and pushes the server's end into the accept
 * queue: one compare-and-swap later the connection exists, as a TCP connection exists before accept(2). */
#include "conn.h"
#include "capring.h"
#include "wait.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>

#define LISTEN_WAIT_NS 100000000u /* a program that has not come from listen(2) to the port table by then is stopped */

/* RFC 6056 algorithm 1 with a shared counter: unique per listener, hardly ever colliding. */
static int choose_port(struct zs_domain *d, struct zs_listener *l, uint32_t listener, struct zs_connect *c, uint16_t *claimed)
{
    struct zs_arena_header *h = &d->view.arena->header;
    (void)l;
    *claimed = 0;
    if (c->from.port != 0) {
        /* Bound by the application: the kernel made sure that it is ours. */
        uint16_t port = ntohs(c->from.port);
        *claimed = zs_eph_claim(&d->view, listener, port) ? port : 0;
        return 0;
    }
    uint32_t low = h->eph_low, span = (uint32_t)h->eph_high - low + 1;
    if (low == 0 || span == 0 || span > 65536)
        low = 32768, span = 28232;
    for (uint32_t i = 0; i < span; i++) {
        uint16_t port = (uint16_t)(low + atomic_fetch_add_explicit(&h->eph_next, 1, memory_order_relaxed) % span);
        if (zs_eph_claim(&d->view, listener, port)) {
            c->from.port = htons(port);
            *claimed = port;
            return 0;
        }
    }
    return -EADDRNOTAVAIL;
}

static void fill_ends(struct zs_domain *d, uint32_t ci, uint32_t si, const struct zs_connect *c, const struct zs_session *ls)
{
    struct zs_session *client = zs_session_at(&d->view, ci), *server = zs_session_at(&d->view, si);
    client->local = c->from;
    client->remote = c->to;
    server->local = c->to;
    server->remote = c->from;
    /* The server's end speaks its listener's family: an IPv6 wildcard listener sees v4-mapped peers. */
    server->local.family = server->remote.family = ls->local.family;
    client->listener = server->listener = ls->listener;
    client->listener_gen = server->listener_gen = ls->listener_gen;
    zs_session_pair(&d->view, ci, si);
    atomic_fetch_or(&server->flags, atomic_load(&ls->flags) & ZS_F_NO_LEND);
}

/* Hands the server's end over to the listener's queue. */
static int enqueue(struct zs_domain *d, uint32_t ci, uint32_t si, struct zs_session *ls, struct zs_connect *c)
{
    struct zs_view *v = &d->view;
    struct zs_session *client = zs_session_at(v, ci), *server = zs_session_at(v, si);
    uint32_t listener = ls->listener, lgen = ls->listener_gen;
    atomic_store(&server->owner, ZS_CLIENT_ENGINE);
    atomic_store(&server->state, ZS_S_QUEUED);
    atomic_store(&client->state, ZS_S_OPEN);
    if (zs_capturing(v))
        zs_capture_event(v, client, ZS_CAP_CONNECT, zs_session_index(v, ls));
    int r = zs_accept_push(v, listener, lgen, si, atomic_load(&server->gen));
    if (r == -EAGAIN) {
        atomic_store(&client->state, ZS_S_EMBRYO);
        atomic_store(&server->state, ZS_S_EMBRYO);
        r = zs_rpc2(d, ZS_CTL_CONNECT, ci, atomic_load(&client->gen), -1, NULL, NULL);
        c->deferred = r == 0;
        return r == 0 ? 0 : -ECONNREFUSED;
    }
    if (r == 0 && atomic_load(&v->arena->listener[listener].gen) != lgen) {
        /* The listener closed between our look and our push: nobody will drain the queue again. */
        zs_session_close(v, si, true);
        return -ECONNREFUSED;
    }
    if (r == 0)
        zs_notify(v, ls);
    return r;
}

/* The listener that c->to reaches, or -ECONNREFUSED; then the kernel is told to connect, which is announced. One that is about to
 * be there is waited for. */
static int64_t find_listener(struct zs_view *v, struct zs_connect *c)
{
    uint16_t port = ntohs(c->to.port);
    uint32_t hash = atomic_load_explicit(&v->arena->header.eph_next, memory_order_relaxed) * 2654435761u;
    int64_t found = zs_lookup_listener(v, &c->to, 0, hash);
    c->announced = -1;
    for (uint64_t until = 0; found < 0;) {
        int announced = zs_announce(v, ZS_ABOUT_TO_CONNECT, port);
        bool expected = zs_announced(v, ZS_ABOUT_TO_LISTEN, port);
        found = zs_lookup_listener(v, &c->to, 0, hash);
        uint64_t now = expected ? zs_now_ns() : 0;
        until = until == 0 ? now + LISTEN_WAIT_NS : until;
        if (found < 0 && (!expected || now > until)) {
            c->announced = announced;
            break;
        }
        zs_announce_end(v, announced);
        if (found < 0)
            sched_yield();
    }
    return found;
}

int zs_connect(struct zs_domain *d, struct zs_connect *c)
{
    struct zs_view *v = &d->view;
    c->deferred = false;
    int64_t li = find_listener(v, c);
    if (li < 0)
        return (int)li;
    struct zs_session *ls = zs_session_at(v, (uint32_t)li);
    uint32_t listener = ls->listener, lgen = ls->listener_gen;
    if (listener >= ZS_MAX_LISTENERS)
        return -ECONNREFUSED;
    if (zs_addr_is_any(c->from.ip))
        zs_addr_source(c->to.ip, c->from.ip);
    uint16_t claimed;
    int r = choose_port(d, &v->arena->listener[listener], listener, c, &claimed);
    if (r < 0)
        return r;
    int64_t ci = zs_session_alloc(v, ZS_KIND_TCP);
    int64_t si = ci < 0 ? ci : zs_session_alloc(v, ZS_KIND_TCP);
    if (si < 0) {
        zs_eph_release(v, listener, lgen, claimed);
        if (ci >= 0)
            zs_session_free(v, (uint32_t)ci);
        return -ENOBUFS;
    }
    fill_ends(d, (uint32_t)ci, (uint32_t)si, c, ls);
    zs_session_at(v, (uint32_t)ci)->eph_slot = claimed;
    c->session = (uint32_t)ci;
    c->gen = atomic_load(&zs_session_at(v, (uint32_t)ci)->gen);
    r = enqueue(d, (uint32_t)ci, (uint32_t)si, ls, c);
    if (r < 0) {
        zs_session_close(v, (uint32_t)si, true);
        zs_session_close(v, (uint32_t)ci, true);
        return r;
    }
    atomic_fetch_add_explicit(&v->stats->connects, 1, memory_order_relaxed);
    return 0;
}

int zs_connect_wire(struct zs_domain *d, struct zs_connect *c)
{
    struct zs_view *v = &d->view;
    int64_t i = zs_session_alloc(v, ZS_KIND_TCP);
    if (i < 0)
        return (int)i;
    struct zs_session *s = zs_session_at(v, (uint32_t)i);
    s->local = c->from;
    s->remote = c->to;
    s->port = c->port;
    c->session = (uint32_t)i;
    c->gen = atomic_load(&s->gen);
    c->deferred = true;
    if (c->prepare != NULL)
        c->prepare(c->arg, s);
    int r = zs_rpc2(d, ZS_CTL_WIRE_CONNECT, c->session, c->gen, -1, NULL, NULL);
    if (r < 0) {
        zs_session_free(v, c->session);
        return r;
    }
    atomic_fetch_add_explicit(&v->stats->connects, 1, memory_order_relaxed);
    return 0;
}

int64_t zs_accept(struct zs_domain *d, struct zs_session *listener)
{
    struct zs_view *v = &d->view;
    for (;;) {
        int64_t si = zs_accept_pop(v, listener->listener);
        if (atomic_load(&listener->flags) & ZS_F_NOTIFY_ENGINE)
            zs_domain_ring_engine(d);
        if (si < 0)
            return si;
        struct zs_session *s = zs_session_at(v, (uint32_t)si);
        uint32_t engine = ZS_CLIENT_ENGINE;
        /* Anything else in the queue was scribbled there or belongs to another life of this listener. */
        if (s->kind != ZS_KIND_TCP || s->listener != listener->listener ||
            !atomic_compare_exchange_strong(&s->owner, &engine, v->client))
            continue;
        atomic_store(&s->state, ZS_S_OPEN);
        atomic_fetch_add_explicit(&v->stats->accepts, 1, memory_order_relaxed);
        return si;
    }
}

bool zs_accept_ready(struct zs_domain *d, const struct zs_session *listener)
{
    return zs_accept_count(&d->view, listener->listener) > 0;
}
