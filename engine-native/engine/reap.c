/* SPDX-License-Identifier: BSD-3-Clause
 * What a dead process leaves in shared memory. One pass over what is in use settles everything that only the dead could
 * have touched; slots that a living process may be working on this very moment are noted and judged again later.
 * Nothing read here is trusted: indices are checked, walks bounded, a link counts only when both ends agree on it. */
#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RECHECK_AFTER NS_PER_S /* far longer than any lock-free step of a process that runs */
#define SUSPECTS_MAX 1048576u
/* Owner of a slot that the engine took away from whoever might still want it: no client id, so it counts as dead. */
#define REAPER 0xfffffffdu

/* Sessions in some accept queue, as a bitmap; built when first asked for. */
struct queued_set {
    bool built;
    uint64_t bits[ZS_MAX_SESSIONS / 64];
};

static void queued_build(struct engine *e, struct queued_set *q)
{
    struct tracked *t, *next;
    memset(q, 0, sizeof *q);
    q->built = true;
    HASH_ITER(by_session, e->by_session, t, next) {
        if (t->kind != ZS_KIND_TCP_LISTEN)
            continue;
        struct zs_listener *l = &e->view.arena->listener[t->listener];
        const uint32_t size = ZS_BACKLOG_MAX * 2;
        uint64_t head = atomic_load(&l->head), tail = atomic_load(&l->tail) + 1;
        for (uint64_t p = head; p < tail && p - head <= size; p++) {
            uint64_t word = atomic_load(&l->slot[p % size]);
            if (!ZS_AQ_IS_EMPTY(word) && ZS_AQ_SESSION(word) < ZS_MAX_SESSIONS)
                q->bits[ZS_AQ_SESSION(word) / 64] |= UINT64_C(1) << (ZS_AQ_SESSION(word) % 64);
        }
    }
}

static bool queued(struct engine *e, struct queued_set *q, uint32_t session)
{
    if (!q->built)
        queued_build(e, q);
    return q->bits[session / 64] >> (session % 64) & 1;
}

void suspect_add(struct engine *e, enum suspect_type type, uint32_t index, uint32_t gen, uint32_t state)
{
    if (e->suspect_len == e->suspect_cap) {
        size_t cap = e->suspect_cap ? e->suspect_cap * 2 : 256;
        struct suspect *more = cap > SUSPECTS_MAX ? NULL : realloc(e->suspects, cap * sizeof *more);
        if (more == NULL)
            return; /* the next death notes it again */
        e->suspects = more;
        e->suspect_cap = cap;
    }
    e->suspects[e->suspect_len++] = (struct suspect){type, index, gen, state};
    timer_at(e, TIMER_RECHECK, e->now + RECHECK_AFTER);
}

bool owner_dead(const struct engine *e, uint32_t owner)
{
    return owner != 0 && owner != ZS_CLIENT_ENGINE && !client_alive(e, owner);
}

static void break_lock(struct engine *e, _Atomic uint32_t *word)
{
    uint32_t holder = atomic_load(word);
    if (owner_dead(e, holder) && atomic_compare_exchange_strong(word, &holder, 0))
        COUNT(e, LOCKS_BROKEN);
}

void session_close_safely(struct engine *e, uint32_t index, bool abort)
{
    struct zs_session *s = zs_session_at(&e->view, index);
    struct zs_session *peer = zs_session_peer(&e->view, s);
    if (peer != NULL && (peer->peer != index || peer->peer_gen != atomic_load(&s->gen) || peer == s)) {
        COUNT(e, FAULTS_FOUND);
        s->peer = ZS_NO_SESSION;
    }
    zs_session_close(&e->view, index, abort);
}

/* ---- Sessions ---- */

/* An untracked session of the engine: a server end on its way from connect to accept. */
static void sweep_in_transit(struct engine *e, uint32_t i, struct zs_session *s, struct queued_set *q)
{
    uint32_t state = atomic_load(&s->state), engine = ZS_CLIENT_ENGINE;
    uint32_t creator = atomic_load(&s->creator);
    struct zs_session *peer;
    switch (state) {
    case ZS_S_EMBRYO: /* prepared, never enqueued: only its creator would have gone on */
        if (owner_dead(e, creator) && !queued(e, q, i) && atomic_compare_exchange_strong(&s->owner, &engine, REAPER)) {
            COUNT(e, ORPHANS_FREED);
            session_close_safely(e, i, true);
        }
        return;
    case ZS_S_QUEUED: /* in no queue: an acceptor popped it, and lives or not */
        if (queued(e, q, i))
            return;
        break;
    case ZS_S_CLOSED: /* closed, waits for its peer */
        peer = zs_session_peer(&e->view, s);
        if (peer != NULL && atomic_load(&peer->state) != ZS_S_CLOSED)
            return;
        break;
    default:
        break;
    }
    suspect_add(e, SUSPECT_SESSION, i, atomic_load(&s->gen), state);
}

static void sweep_session(struct engine *e, uint32_t i, struct queued_set *q)
{
    struct zs_session *s = zs_session_at(&e->view, i);
    uint32_t owner = atomic_load(&s->owner), state = atomic_load(&s->state);
    struct tracked *t = tracked_by_session(e, i);
    if (t != NULL && (t->kind != ZS_KIND_TCP || atomic_load(&s->gen) == t->gen)) {
        break_lock(e, &s->rx_prod.lock);
        break_lock(e, &s->rx_cons.lock);
        /* Its descriptors may be elsewhere: the session stays until its cookie goes. */
        if (owner == 0 ? t->kind != ZS_KIND_TCP : owner_dead(e, owner))
            atomic_store(&s->owner, ZS_CLIENT_ENGINE);
        return;
    }
    if (owner == 0 || state == ZS_S_FREE || state == ZS_S_FREEING) {
        suspect_add(e, SUSPECT_SESSION, i, atomic_load(&s->gen), state);
        return;
    }
    break_lock(e, &s->rx_prod.lock);
    break_lock(e, &s->rx_cons.lock);
    if (wire_owns(e, i)) {
        if (owner != ZS_CLIENT_ENGINE)
            atomic_store(&s->owner, ZS_CLIENT_ENGINE); /* scribbled */
    } else if (owner == ZS_CLIENT_ENGINE) {
        sweep_in_transit(e, i, s, q);
    } else if (owner_dead(e, owner)) {
        /* Also when it is closed already: both sides may have died between closing and freeing. */
        if (state != ZS_S_CLOSED)
            COUNT(e, CLOSED_BY_DEATH);
        if (s->kind == ZS_KIND_TCP)
            session_close_safely(e, i, session_wants_reset(s));
        else
            zs_session_free(&e->view, i);
    } else if (state == ZS_S_OPEN && s->kind == ZS_KIND_TCP && zs_session_peer(&e->view, s) == NULL) {
        suspect_add(e, SUSPECT_SESSION, i, atomic_load(&s->gen), state);
    }
}

static void sweep_sessions(struct engine *e, struct queued_set *q)
{
    _Atomic uint64_t *leaf = e->view.arena->session_hint.leaf;
    for (uint32_t i = zs_hint_next(leaf, ZS_MAX_SESSIONS, 0); i < ZS_MAX_SESSIONS;
         i = zs_hint_next(leaf, ZS_MAX_SESSIONS, i + 1))
        sweep_session(e, i, q);
}

/* ---- Blocks ---- */

static bool session_refers(const struct zs_session *s, zs_block_ref ref)
{
    if (atomic_load(&s->subs_block) == ref || atomic_load(&s->rx_prod.ref_ring) == ref)
        return true;
    for (uint32_t i = 0; i < ZS_DIR_RINGS; i++)
        if (atomic_load(&s->rx_rings.ring[i]) == ref)
            return true;
    return false;
}

/* A block that a dead client claimed and that no session in use refers to: nobody else can know of it. */
static void sweep_block(struct engine *e, zs_block_ref ref, uint64_t word)
{
    struct zs_session *s = zs_session_at(&e->view, (uint32_t)word);
    if (!owner_dead(e, (uint32_t)(word >> 32)) ||
        (s != NULL && atomic_load(&s->owner) != 0 && session_refers(s, ref)))
        return;
    COUNT(e, BLOCKS_RECLAIMED);
    zs_block_free(&e->view, ref, (uint32_t)word);
}

static void reap_blocks(struct engine *e)
{
    for (uint32_t c = 0; c < ZS_NCLASS; c++) {
        struct zs_block_class *cls = &e->view.arena->block[c];
        uint32_t n = ZS_CLASS_COUNT(c);
        for (uint32_t i = zs_hint_next(cls->hint.leaf, n, 0); i < n; i = zs_hint_next(cls->hint.leaf, n, i + 1)) {
            uint64_t word = atomic_load(&cls->owner[i]);
            if (word == 0)
                suspect_add(e, SUSPECT_BLOCK, ZS_BLOCK(c, i), 0, 0);
            else
                sweep_block(e, ZS_BLOCK(c, i), word);
        }
    }
}

static void spinners_leave(struct engine *e, uint32_t spinners)
{
    _Atomic uint32_t *all = &e->view.arena->header.spinners;
    uint32_t now = atomic_load(all);
    while (spinners != 0 && !atomic_compare_exchange_weak(all, &now, now > spinners ? now - spinners : 0))
        ;
}

/* Nobody is to wait for what the dead were about to do. */
static void announced_over(struct engine *e)
{
    for (uint32_t i = 0; i < ZS_MAX_ANNOUNCED; i++) {
        _Atomic uint64_t *word = &e->view.arena->header.announced[i];
        uint64_t was = atomic_load(word);
        if (was != 0 && !client_alive(e, (uint32_t)(was >> 32)))
            atomic_compare_exchange_strong(word, &was, 0);
    }
}

void reap_client(struct engine *e, uint32_t spinners)
{
    struct queued_set *q = calloc(1, sizeof *q);
    wire_freeze(e); /* else what a worker is about to take looks like what somebody left */
    spinners_leave(e, spinners);
    announced_over(e);
    if (q != NULL)
        sweep_sessions(e, q);
    free(q);
    break_lock(e, &e->view.arena->capture.lock);
    reap_loans(e);
    segments_reap(e);
    reap_blocks(e);
    if (e->diag.fd < 0 && e->by_session != NULL)
        timer_at(e, TIMER_AUDIT, e->now); /* nobody reports its sockets */
    if (e->client_count == 0 && e->by_session == NULL)
        reap_scrub(e);
    else
        timer_at(e, TIMER_RECHECK, e->now + RECHECK_AFTER);
    wire_thaw(e);
    trim_consider(e);
}

/* ---- Second look ---- */

/* Clearing a hint can race with its next user; one that is in use has it set again. */
void hint_clear_unless(_Atomic uint64_t *summary, _Atomic uint64_t *leaf, uint32_t i, bool (*used)(void *), void *arg)
{
    zs_hint_clear(summary, leaf, i);
    if (used(arg))
        atomic_fetch_or(&leaf[i / 64], UINT64_C(1) << (i % 64));
}

static bool session_used(void *s)
{
    return atomic_load(&((struct zs_session *)s)->owner) != 0;
}

static bool word_used(void *word)
{
    return atomic_load((_Atomic uint64_t *)word) != 0;
}

static void recheck_session(struct engine *e, const struct suspect *x, struct queued_set *q)
{
    struct zs_session *s = zs_session_at(&e->view, x->index);
    uint32_t owner = atomic_load(&s->owner), engine = ZS_CLIENT_ENGINE;
    if (atomic_load(&s->gen) != x->gen || atomic_load(&s->state) != x->state || tracked_by_session(e, x->index) ||
        wire_owns(e, x->index))
        return;
    if (owner == 0) {
        hint_clear_unless(e->view.arena->session_hint.summary, e->view.arena->session_hint.leaf, x->index, session_used, s);
        return;
    }
    switch (x->state) {
    case ZS_S_FREE: /* died within zs_session_free() */
        if (!owner_dead(e, owner))
            return; /* its owner is alive and stands within zs_session_alloc() */
        zs_session_free(&e->view, x->index);
        break;
    case ZS_S_FREEING:
        zs_session_finish_free(&e->view, x->index);
        break;
    case ZS_S_QUEUED:
    case ZS_S_EMBRYO:
        if (owner != ZS_CLIENT_ENGINE || queued(e, q, x->index) || pending_contains(e, x->index) ||
            !atomic_compare_exchange_strong(&s->owner, &engine, REAPER))
            return;
        session_close_safely(e, x->index, true);
        break;
    case ZS_S_OPEN:
        if (owner == ZS_CLIENT_ENGINE) {
            session_close_safely(e, x->index, true);
        } else if (zs_session_peer(&e->view, s) == NULL) {
            COUNT(e, FAULTS_FOUND); /* its owner is alive: it sees a reset */
            zs_session_fault(&e->view, x->index);
        }
        break;
    default:
        if (owner == ZS_CLIENT_ENGINE)
            session_close_safely(e, x->index, true);
        break;
    }
    COUNT(e, ORPHANS_FREED);
}

static void recheck_block(struct engine *e, const struct suspect *x)
{
    uint32_t c = ZS_BLOCK_CLASS(x->index), i = ZS_BLOCK_INDEX(x->index);
    struct zs_block_class *cls = &e->view.arena->block[c];
    if (atomic_load(&cls->owner[i]) == 0)
        hint_clear_unless(cls->hint.summary, cls->hint.leaf, i, word_used, &cls->owner[i]);
}

/* Bytes of the blocks and segments that somebody has. */
static uint64_t claimed(const struct engine *e)
{
    uint64_t sum = e->segment_bytes;
    for (uint32_t c = 0; c < ZS_NCLASS; c++) {
        struct zs_block_class *cls = &e->view.arena->block[c];
        uint32_t n = ZS_CLASS_COUNT(c);
        for (uint32_t i = zs_hint_next(cls->hint.leaf, n, 0); i < n; i = zs_hint_next(cls->hint.leaf, n, i + 1))
            sum += atomic_load(&cls->owner[i]) != 0 ? ZS_CLASS_SIZE(c) : 0;
    }
    return sum;
}

/* Who died between the charge for a block and the claim, or between giving one back and its discharge, left the sum wrong. A
 * process that runs is between the two for a moment only: what two looks a second apart both find is mended. */
static void mend_charge(struct engine *e)
{
    _Atomic uint64_t *used = &e->view.arena->header.mem_used;
    int64_t off = 0, last = e->charge_off;
    uint64_t before;
    int tries = 0;
    do { /* a look during which nothing changed */
        before = atomic_load(used);
        off = (int64_t)(before - claimed(e));
    } while (atomic_load(used) != before && ++tries < 16);
    e->charge_off = off;
    if (off == 0)
        return;
    if (last != 0 && (last < 0) == (off < 0) && tries < 16) {
        int64_t both = off > 0 ? (last < off ? last : off) : (last > off ? last : off);
        atomic_fetch_sub(used, (uint64_t)both);
        e->charge_off = off - both;
        COUNT(e, CHARGES_MENDED);
    }
    timer_at(e, TIMER_RECHECK, e->now + RECHECK_AFTER);
}

void reap_recheck(struct engine *e)
{
    struct queued_set *q = calloc(1, sizeof *q);
    wire_freeze(e);
    struct suspect *list = e->suspects; /* those that stay suspect are noted anew */
    size_t n = e->suspect_len;
    e->suspects = NULL;
    e->suspect_len = e->suspect_cap = 0;
    for (size_t i = 0; q != NULL && i < n; i++) {
        if (list[i].type == SUSPECT_SESSION)
            recheck_session(e, &list[i], q);
        else if (list[i].type == SUSPECT_BLOCK)
            recheck_block(e, &list[i]);
    }
    free(q);
    reap_loans_recheck(e, list, n);
    free(list);
    mend_charge(e);
    wire_thaw(e);
    trim_consider(e);
}

void reap_scrub(struct engine *e)
{
    struct zs_arena *a = e->view.arena;
    _Atomic uint64_t *leaf = a->session_hint.leaf;
    arena_mend(e);
    if (wire_has_own(e))
        return; /* connections over the wire end in their own time, and what was sent is still to be delivered */
    for (uint32_t i = zs_hint_next(leaf, ZS_MAX_SESSIONS, 0); i < ZS_MAX_SESSIONS;
         i = zs_hint_next(leaf, ZS_MAX_SESSIONS, i + 1)) {
        zs_session_free(&e->view, i);
        zs_hint_clear(a->session_hint.summary, leaf, i);
    }
    reap_loans_scrub(e);
    segments_reap(e);
    for (uint32_t c = 0; c < ZS_NCLASS; c++) {
        struct zs_block_class *cls = &a->block[c];
        uint32_t n = ZS_CLASS_COUNT(c);
        for (uint32_t i = zs_hint_next(cls->hint.leaf, n, 0); i < n; i = zs_hint_next(cls->hint.leaf, n, i + 1)) {
            atomic_store(&cls->owner[i], 0);
            zs_hint_clear(cls->hint.summary, cls->hint.leaf, i);
        }
    }
    atomic_store(&a->header.mem_used, e->segment_bytes);
    atomic_store(&a->header.spinners, 0);
    e->suspect_len = 0;
    e->charge_off = 0;
}
