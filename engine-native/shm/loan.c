/* SPDX-License-Identifier: BSD-3-Clause
 * Loans: who holds lent memory, and when it is its owner's again. See struct zs_loan in zstack/shm.h. Indices that come from
 * shared memory are checked here; a wrong one ends nothing. */
#include "ops.h"

#define COUNT_MASK UINT64_C(0xffffffff)
#define ONE_MORE ((UINT64_C(1) << 32) + 1)
#define ONE_LESS ((UINT64_C(1) << 32) - 1)

static struct zs_loan *at(const struct zs_view *v, uint32_t loan)
{
    return loan < ZS_MAX_LOANS ? &v->arena->loan[loan] : NULL;
}

static int64_t claim(struct zs_view *v)
{
    struct zs_arena *a = v->arena;
    for (uint32_t tries = 0; tries <= ZS_MAX_LOANS; tries++) {
        int64_t i = zs_hint_claim(a->loan_hint.summary, a->loan_hint.leaf, ZS_MAX_LOANS, 0);
        if (i < 0)
            return -ENOBUFS;
        uint32_t none = 0;
        if (atomic_compare_exchange_strong(&a->loan[i].owner, &none, v->client))
            return i;
    }
    return -ENOBUFS;
}

int64_t zs_loan_new(struct zs_view *v, uint32_t segment)
{
    int64_t i = claim(v);
    if (i < 0)
        return i;
    struct zs_loan *l = &v->arena->loan[i];
    l->root = (uint32_t)i;
    l->root_gen = atomic_load_explicit(&l->gen, memory_order_relaxed);
    l->segment = segment;
    l->waiter = ZS_MAX_WAITERS;
    atomic_store(&l->holds, 1);
    return i;
}

int64_t zs_loan_again(struct zs_view *v, uint32_t loan, uint32_t gen)
{
    if (!zs_loan_held(v, loan, gen, ZS_HOLD_CLIENT(v->client)))
        return -ESTALE;
    uint32_t root = at(v, loan)->root, root_gen = at(v, loan)->root_gen;
    struct zs_loan *r = at(v, root);
    if (r == NULL || atomic_load(&r->gen) != root_gen)
        return -ESTALE;
    int64_t i = claim(v);
    if (i < 0)
        return i;
    struct zs_loan *l = &v->arena->loan[i];
    l->root = root;
    l->root_gen = root_gen;
    l->segment = r->segment;
    l->waiter = ZS_MAX_WAITERS;
    atomic_store(&l->holds, 0);
    atomic_fetch_add(&r->holds, ONE_MORE); /* cannot be over: the caller's own hold counts */
    return i;
}

bool zs_loan_held(const struct zs_view *v, uint32_t loan, uint32_t gen, uint64_t holder)
{
    const struct zs_loan *l = at(v, loan);
    return l != NULL && atomic_load(&l->gen) == gen && atomic_load(&l->holder) == holder;
}

bool zs_loan_take(struct zs_view *v, uint32_t loan, uint32_t gen, uint64_t session)
{
    struct zs_loan *l = at(v, loan);
    return l != NULL && atomic_load(&l->gen) == gen &&
           atomic_compare_exchange_strong(&l->holder, &session, ZS_HOLD_CLIENT(v->client));
}

void zs_loan_tell(struct zs_view *v, uint32_t loan)
{
    struct zs_loan *l = at(v, loan);
    if (l->waiter < ZS_MAX_WAITERS)
        zs_waiter_signal(v, l->waiter, l->waiter_gen, l->slot);
}

bool zs_loan_end(struct zs_view *v, uint32_t loan, uint32_t gen, uint64_t holder)
{
    struct zs_loan *l = at(v, loan);
    if (l == NULL || atomic_load(&l->gen) != gen)
        return false;
    uint32_t root = l->root, root_gen = l->root_gen;
    if (!atomic_compare_exchange_strong(&l->holder, &holder, ZS_HOLD_DONE))
        return false;
    if (root != loan)
        zs_loan_free(v, loan);
    struct zs_loan *r = at(v, root);
    if (r == NULL || atomic_load(&r->gen) != root_gen)
        return true;
    if (((atomic_fetch_add(&r->holds, ONE_LESS) - 1) & COUNT_MASK) == 0)
        zs_loan_tell(v, root);
    return true;
}

bool zs_loan_over(const struct zs_view *v, uint32_t loan, uint32_t gen)
{
    const struct zs_loan *l = at(v, loan);
    if (l == NULL || atomic_load(&l->gen) != gen)
        return true;
    return (atomic_load(&l->holds) & COUNT_MASK) == 0 && atomic_load(&l->holder) == ZS_HOLD_DONE;
}

void zs_loan_free(struct zs_view *v, uint32_t loan)
{
    struct zs_loan *l = at(v, loan);
    if (l == NULL)
        return;
    atomic_fetch_add(&l->gen, 1);
    atomic_store(&l->holder, 0);
    atomic_store(&l->owner, 0);
    zs_hint_clear(v->arena->loan_hint.summary, v->arena->loan_hint.leaf, loan);
}
