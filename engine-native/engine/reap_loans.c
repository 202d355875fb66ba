/* SPDX-License-Identifier: BSD-3-Clause
 * Lent memory after a death: holds of the dead end, counts that they left too high are mended, and a dead owner's buffers stay
 * until the last reader is done with them. What a living process may be in the middle of is judged a second later. */
#define _GNU_SOURCE
#include "internal.h"

#include <stdlib.h>

/* Holds on each root, as the records say. */
struct tally {
    uint32_t holds[ZS_MAX_LOANS];
};

static uint32_t next_loan(struct engine *e, uint32_t i)
{
    return zs_hint_next(e->view.arena->loan_hint.leaf, ZS_MAX_LOANS, i);
}

#define EACH_LOAN(e, i) for (uint32_t i = next_loan(e, 0); i < ZS_MAX_LOANS; i = next_loan(e, i + 1))

static bool holder_gone(const struct engine *e, const struct zs_loan *l, uint64_t holder)
{
    if (holder == 0)
        return owner_dead(e, atomic_load(&l->owner));
    if (ZS_HOLD_IS_CLIENT(holder))
        return owner_dead(e, (uint32_t)holder);
    if (!ZS_HOLD_IS_SESSION(holder))
        return false;
    const struct zs_session *s = zs_session_at(&e->view, ZS_HOLD_INDEX(holder));
    return s == NULL || atomic_load(&s->gen) != (uint32_t)holder || atomic_load(&s->owner) == 0;
}

static void end_gone(struct engine *e)
{
    EACH_LOAN(e, i)
    {
        struct zs_loan *l = &e->view.arena->loan[i];
        uint64_t holder = atomic_load(&l->holder);
        if (atomic_load(&l->owner) != 0 && holder != ZS_HOLD_DONE && holder_gone(e, l, holder) &&
            zs_loan_end(&e->view, i, atomic_load(&l->gen), holder))
            COUNT(e, HOLDS_ENDED);
    }
}

static struct tally *count(struct engine *e)
{
    struct tally *t = calloc(1, sizeof *t);
    EACH_LOAN(e, i)
    {
        struct zs_loan *l = &e->view.arena->loan[i];
        if (t != NULL && atomic_load(&l->owner) != 0 && atomic_load(&l->holder) != ZS_HOLD_DONE && l->root < ZS_MAX_LOANS)
            t->holds[l->root]++;
    }
    return t;
}

static bool is_root(const struct zs_loan *l, uint32_t i)
{
    return l->root == i;
}

static uint32_t changes(const struct zs_loan *l)
{
    return (uint32_t)(atomic_load(&l->holds) >> 32);
}

void reap_loans(struct engine *e)
{
    end_gone(e);
    struct tally *t = count(e);
    EACH_LOAN(e, i)
    {
        struct zs_loan *l = &e->view.arena->loan[i];
        uint32_t owner = atomic_load(&l->owner), gen = atomic_load(&l->gen);
        if (owner == 0) {
            suspect_add(e, SUSPECT_LOAN, i, gen, 0);
        } else if (is_root(l, i) && zs_loan_over(&e->view, i, gen)) {
            if (owner_dead(e, owner))
                zs_loan_free(&e->view, i);
            else
                zs_loan_tell(&e->view, i); /* who ended the last hold may have died before it could */
        } else if (owner_dead(e, owner) || atomic_load(&l->holder) == ZS_HOLD_DONE ||
                   (is_root(l, i) && t != NULL && (uint32_t)atomic_load(&l->holds) != t->holds[i])) {
            suspect_add(e, SUSPECT_LOAN, i, gen, changes(l));
        }
    }
    free(t);
}

static bool used(void *loan)
{
    return atomic_load(&((struct zs_loan *)loan)->owner) != 0;
}

/* Nothing changed at it for a second: what its count says too much was a dead party's. */
static void mend(struct engine *e, uint32_t i, struct zs_loan *l, const struct tally *t)
{
    uint64_t holds = atomic_load(&l->holds);
    uint64_t right = ((holds >> 32) + 1) << 32 | t->holds[i];
    if ((uint32_t)holds == t->holds[i] || !atomic_compare_exchange_strong(&l->holds, &holds, right))
        return;
    COUNT(e, HOLDS_MENDED);
    if (zs_loan_over(&e->view, i, atomic_load(&l->gen)))
        zs_loan_tell(&e->view, i);
}

void reap_loans_recheck(struct engine *e, const struct suspect *list, size_t n)
{
    struct tally *t = NULL;
    bool freed = false;
    for (size_t x = 0; x < n; x++) {
        uint32_t i = list[x].index;
        if (list[x].type != SUSPECT_LOAN)
            continue;
        if (t == NULL && (end_gone(e), t = count(e)) == NULL)
            return;
        struct zs_loan *l = &e->view.arena->loan[i];
        if (atomic_load(&l->owner) == 0) {
            hint_clear_unless(e->view.arena->loan_hint.summary, e->view.arena->loan_hint.leaf, i, used, l);
            continue;
        }
        bool same = atomic_load(&l->gen) == list[x].gen && changes(l) == list[x].state;
        if (same && !is_root(l, i) && atomic_load(&l->holder) == ZS_HOLD_DONE)
            zs_loan_free(&e->view, i); /* died between ending and freeing it */
        else if (same && is_root(l, i))
            mend(e, i, l, t);
        if (atomic_load(&l->gen) != list[x].gen || !owner_dead(e, atomic_load(&l->owner)))
            continue;
        if (is_root(l, i) && zs_loan_over(&e->view, i, list[x].gen)) {
            zs_loan_free(&e->view, i);
            freed = true;
        } else {
            suspect_add(e, SUSPECT_LOAN, i, list[x].gen, changes(l)); /* somebody still reads there */
        }
    }
    if (freed)
        segments_reap(e);
    free(t);
}

bool reap_segment_lent(struct engine *e, uint32_t segment)
{
    EACH_LOAN(e, i)
    {
        struct zs_loan *l = &e->view.arena->loan[i];
        if (l->segment == segment && is_root(l, i) && atomic_load(&l->owner) != 0 && !zs_loan_over(&e->view, i, atomic_load(&l->gen)))
            return true;
    }
    return false;
}

uint32_t reap_loans_in_use(struct engine *e)
{
    uint32_t n = 0;
    EACH_LOAN(e, i)
        n += atomic_load(&e->view.arena->loan[i].owner) != 0;
    return n;
}

void reap_loans_scrub(struct engine *e)
{
    EACH_LOAN(e, i)
        if (atomic_load(&e->view.arena->loan[i].owner) != ZS_CLIENT_ENGINE)
            zs_loan_free(&e->view, i);
}
