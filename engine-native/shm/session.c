/* SPDX-License-Identifier: BSD-3-Clause
 * Sessions: allocation, pairing, close. Each step is safe to repeat, so that the engine can complete what a process
 * began before it died. */
#include "capring.h"
#include "ref.h"
#include "ring.h"

#include <limits.h>
#include <time.h>

int64_t zs_session_alloc(struct zs_view *v, uint32_t kind)
{
    struct zs_arena *a = v->arena;
    for (uint32_t tries = 0; tries <= ZS_MAX_SESSIONS; tries++) {
        int64_t i = zs_hint_claim(a->session_hint.summary, a->session_hint.leaf, ZS_MAX_SESSIONS, 0);
        if (i < 0)
            return -ENOBUFS;
        struct zs_session *s = &a->session[i];
        uint32_t none = 0;
        if (!atomic_compare_exchange_strong(&s->owner, &none, v->client))
            continue;
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
        s->kind = kind;
        s->peer = ZS_NO_SESSION;
        s->listener = ZS_MAX_LISTENERS;
        s->eph_slot = 0;
        s->opened_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
        atomic_store(&s->creator, v->client);
        atomic_store(&s->opts.linger, -1);
        atomic_store(&s->opts.rcvlowat, 1);
        atomic_store(&s->state, ZS_S_EMBRYO);
        return i;
    }
    return -ENOBUFS;
}

static void free_rings(struct zs_view *v, struct zs_session *s, uint32_t index)
{
    zs_newest_gone(s);
    for (uint32_t i = 0; i < ZS_DIR_RINGS; i++) {
        uint32_t ref = atomic_exchange(&s->rx_rings.ring[i], 0);
        if (ref != 0)
            zs_block_free(v, ref, index);
        atomic_store_explicit(&s->rx_rings.base[i], 0, memory_order_relaxed);
    }
    zs_refs_discard(v, s);
    uint32_t refs = atomic_exchange(&s->rx_prod.ref_ring, 0);
    if (refs != 0)
        zs_block_free(v, refs, index);
}

void zs_session_free(struct zs_view *v, uint32_t index)
{
    struct zs_session *s = zs_session_at(v, index);
    if (s == NULL || atomic_load(&s->owner) == 0)
        return;
    if (s->eph_slot != 0)
        zs_eph_release(v, s->listener, s->listener_gen, (uint16_t)s->eph_slot);
    free_rings(v, s, index);
    uint32_t more = atomic_exchange(&s->subs_block, 0);
    if (more != 0)
        zs_block_free(v, more, index);
    for (uint32_t i = 0; i < ZS_SUBS_INLINE; i++)
        atomic_store_explicit(&s->subs[i], 0, memory_order_relaxed);
    /* A fault may have hidden ring references: ask the owner words, which a scribble of the session did not reach. */
    if (atomic_load(&s->flags) & ZS_F_FAULT)
        zs_block_free_all(v, index);
    memset(&s->local, 0, sizeof s->local);
    memset(&s->remote, 0, sizeof s->remote);
    memset((void *)&s->rx_prod, 0, sizeof s->rx_prod);
    memset((void *)&s->rx_cons, 0, sizeof s->rx_cons);
    memset((void *)&s->opts, 0, sizeof s->opts);
    atomic_store(&s->rx_dropped, 0);
    atomic_store(&s->sig_owner, 0);
    atomic_store(&s->sig_tgid, 0);
    atomic_store(&s->sig_born, 0);
    atomic_store(&s->async, 0);
    atomic_store(&s->rx_wait, 0);
    atomic_store(&s->error, 0);
    atomic_store(&s->cookie, 0);
    s->kind = ZS_KIND_NONE;
    s->peer = ZS_NO_SESSION;
    s->eph_slot = 0;
    s->port = 0;
    atomic_store(&s->pmtu, 0);
    atomic_store(&s->flags, 0);
    atomic_store(&s->state, ZS_S_FREE);
    atomic_fetch_add(&s->gen, 1);
    atomic_store(&s->owner, 0);
    zs_hint_clear(v->arena->session_hint.summary, v->arena->session_hint.leaf, index);
}

void zs_session_pair(struct zs_view *v, uint32_t client_end, uint32_t server_end)
{
    struct zs_session *c = zs_session_at(v, client_end), *s = zs_session_at(v, server_end);
    c->peer = server_end;
    c->peer_gen = atomic_load(&s->gen);
    s->peer = client_end;
    s->peer_gen = atomic_load(&c->gen);
}

struct zs_session *zs_session_peer(struct zs_view *v, const struct zs_session *s)
{
    struct zs_session *p = zs_session_at(v, s->peer);
    if (p == NULL || atomic_load_explicit(&p->gen, memory_order_relaxed) != s->peer_gen || p->kind != ZS_KIND_TCP)
        return NULL;
    return p;
}

/* Wakes whoever waits on this session for anything: data, room, a connection. */
static void wake_all(struct zs_view *v, struct zs_session *s)
{
    struct zs_session *peer = zs_session_peer(v, s);
    if (peer != NULL && (atomic_exchange(&peer->rx_prod.want_space, 0) & ZS_WANT_FUTEX))
        zs_futex_wake(&peer->rx_prod.want_space, INT_MAX);
    zs_notify(v, s);
}

void zs_session_fin(struct zs_view *v, uint32_t index)
{
    struct zs_session *s = zs_session_at(v, index), *peer = s ? zs_session_peer(v, s) : NULL;
    uint32_t open = 0;
    if (peer == NULL)
        return;
    if (zs_capturing(v) && atomic_load(&peer->rx_prod.fin) == 0)
        zs_capture_event(v, s, ZS_CAP_FIN, ZS_NO_SESSION);
    if (atomic_compare_exchange_strong(&peer->rx_prod.fin, &open, ZS_FIN))
        wake_all(v, peer);
}

/* RST as its receiver sees it (RFC 9293 3.10.7.4; Linux reports EPIPE when a FIN came before). */
static void receive_rst(struct zs_session *s)
{
    uint32_t had = atomic_exchange(&s->rx_prod.fin, ZS_RST);
    uint32_t none = 0;
    atomic_compare_exchange_strong(&s->error, &none, had == ZS_FIN ? EPIPE : ECONNRESET);
}

/* Frees both ends; `index` has state FREEING or CLOSED, taken by the caller. */
static void free_pair(struct zs_view *v, uint32_t low, uint32_t high)
{
    zs_session_free(v, high);
    zs_session_free(v, low);
}

/* When both ends are closed, the one that moves the lower end to FREEING frees them. */
static void free_if_both_closed(struct zs_view *v, uint32_t index)
{
    struct zs_session *s = zs_session_at(v, index), *peer = zs_session_peer(v, s);
    if (peer == NULL) {
        uint32_t closed = ZS_S_CLOSED;
        if (atomic_compare_exchange_strong(&s->state, &closed, ZS_S_FREEING))
            zs_session_free(v, index);
        return;
    }
    uint32_t other = zs_session_index(v, peer);
    uint32_t low = index < other ? index : other, high = index < other ? other : index;
    uint32_t closed = ZS_S_CLOSED;
    if (atomic_load(&peer->state) == ZS_S_CLOSED && atomic_load(&s->state) == ZS_S_CLOSED &&
        atomic_compare_exchange_strong(&zs_session_at(v, low)->state, &closed, ZS_S_FREEING))
        free_pair(v, low, high);
}

void zs_session_close(struct zs_view *v, uint32_t index, bool abort)
{
    struct zs_session *s = zs_session_at(v, index);
    if (s == NULL || atomic_load(&s->owner) == 0)
        return;
    struct zs_session *peer = zs_session_peer(v, s);
    uint32_t state = atomic_load(&s->state);
    if (state == ZS_S_FREE || state == ZS_S_FREEING)
        return;
    bool unread = atomic_load(&s->rx_prod.tail) != atomic_load(&s->rx_cons.head);
    if (zs_capturing(v) && state != ZS_S_CLOSED && peer != NULL && (abort || unread || atomic_load(&peer->rx_prod.fin) == 0))
        zs_capture_event(v, s, abort || unread ? ZS_CAP_RST : ZS_CAP_FIN, ZS_NO_SESSION);
    if (state != ZS_S_CLOSED && peer != NULL && atomic_load(&peer->state) != ZS_S_CLOSED) {
        uint32_t open = 0;
        atomic_fetch_or(&peer->flags, ZS_F_PEER_CLOSED);
        if (abort || unread)
            receive_rst(peer);
        else
            atomic_compare_exchange_strong(&peer->rx_prod.fin, &open, ZS_FIN);
    }
    if (s->kind == ZS_KIND_TCP)
        zs_refs_discard(v, s); /* with the look at PEER_CLOSED after a lend; from CLOSED on the other end may free both */
    atomic_store(&s->state, ZS_S_CLOSED);
    if (peer != NULL)
        wake_all(v, peer);
    free_if_both_closed(v, index);
}

void zs_session_finish_free(struct zs_view *v, uint32_t index)
{
    struct zs_session *s = zs_session_at(v, index);
    if (s == NULL || atomic_load(&s->state) != ZS_S_FREEING)
        return;
    struct zs_session *peer = zs_session_peer(v, s);
    if (peer != NULL && atomic_load(&peer->state) == ZS_S_CLOSED)
        zs_session_free(v, zs_session_index(v, peer));
    zs_session_free(v, index);
}

/* Both ends see a reset and are woken; neither is closed. */
static void reset_ends(struct zs_view *v, uint32_t index, uint32_t flags)
{
    struct zs_session *s = zs_session_at(v, index), *peer = s ? zs_session_peer(v, s) : NULL;
    for (int end = 0; end < 2; end++) {
        struct zs_session *e = end == 0 ? s : peer;
        if (e == NULL)
            continue;
        atomic_fetch_or(&e->flags, flags);
        receive_rst(e);
        wake_all(v, e);
    }
}

void zs_session_reset(struct zs_view *v, uint32_t index)
{
    reset_ends(v, index, ZS_F_PEER_CLOSED);
}

void zs_session_fault(struct zs_view *v, uint32_t index)
{
    if (zs_session_at(v, index) == NULL)
        return;
    reset_ends(v, index, ZS_F_FAULT | ZS_F_PEER_CLOSED);
    if (v->stats)
        atomic_fetch_add_explicit(&v->stats->faults, 1, memory_order_relaxed);
}
