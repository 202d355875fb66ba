/* SPDX-License-Identifier: BSD-3-Clause
 * A worker's turns: what programs did, what came, what is due; then polling on, or sleep. The engine's thread and the others do the
 * same. */
#define _GNU_SOURCE
#include "wire.h"

#include <sched.h>
#include <time.h>

#define HARVEST 256u
#define MORE_WAIT_NS 50000u /* polling goes on for so long where more hints wait than a turn takes */
#define LOOK_EVERY 16u /* rounds of busy polling between two looks at the descriptors */
/* A yield that takes this long gave the CPU to somebody who computes: then sleep for a while, so as not to lose every
 * slice to him. As the programs' own waits do. */
#define YIELD_TOO_LONG_NS 300000u
#define NO_SPIN_NS 20000000u
/* Against receive livelock (Mogul and Ramakrishnan 1997): beside programs that compute on the same CPU, what they have no
 * room for is not worth taking from the port. Then fewer packets are taken in a turn, and turns are this far apart; the rest
 * is dropped where it costs nothing, in the port's ring. */
#define BUDGET_MIN 8u
#define OVERLOAD_PAUSE_NS 400000

uint64_t wire_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void own_happened(struct wire_worker *k, uint32_t session)
{
    struct wire_own *o = wire_own_at(k, session);
    if (o == NULL)
        return;
    if (o->kind == WIRE_UDP)
        wire_udp_send(k->e, o);
    else if (o->kind == WIRE_CONN && o->handle != NULL)
        k->e->wire->ops->poke(k->stack, o->handle, k->now);
}

/* May the worker go on polling? Not where programs spin on all CPUs, nor beside somebody who computes. */
static bool spinning_allowed(const struct wire_worker *k)
{
    const struct zs_arena_header *h = &k->view->arena->header;
    return k->now >= k->no_spin_until && atomic_load_explicit(&h->spinners, memory_order_relaxed) < k->e->ncpu;
}

/* Additive increase, multiplicative decrease: about as many packets as the programs can take. */
static void adapt_budget(struct wire_worker *k)
{
    bool contended = k->now < k->no_spin_until + NO_SPIN_NS;
    if (k->refused > 0 && contended)
        k->budget -= k->budget / 4;
    else if (k->budget < WIRE_BUDGET_FULL)
        k->budget += 2;
    if (k->budget < BUDGET_MIN)
        k->budget = BUDGET_MIN;
    k->refused = 0;
}

void wire_poll(struct wire_worker *k, uint64_t now)
{
    const struct wire_stack_ops *ops = k->e->wire->ops;
    uint32_t slots[HARVEST];
    k->now = now;
    uint32_t n = zs_waiter_harvest(k->waiter, slots, HARVEST);
    for (uint32_t i = 0; i < n; i++)
        own_happened(k, slots[i]);
    bool work = ops->poll(k->stack, k->budget, now) || n > 0;
    ops->flush(k->stack);
    adapt_budget(k);
    if (work)
        k->busy_until = spinning_allowed(k) ? now + k->e->opt.poll_us * UINT64_C(1000) : 0;
    if (n == HARVEST)
        k->busy_until = now + MORE_WAIT_NS;
}

enum wire_rest wire_rest(struct wire_worker *k, uint64_t now, uint64_t *timeout_ns)
{
    *timeout_ns = 0;
    if (k->budget < WIRE_BUDGET_FULL) {
        COUNT(k, WIRE_OVERLOADED);
        return WIRE_PAUSE;
    }
    if (now < k->busy_until)
        return ++k->rounds % LOOK_EVERY != 0 ? WIRE_AGAIN : WIRE_YIELD;
    /* The sleeper's half of zs_notify(): say so, then look once more. */
    atomic_store(&k->waiter->asleep, 1);
    atomic_thread_fence(memory_order_seq_cst);
    k->asleep = true;
    if (zs_waiter_settle(k->waiter) && !zs_waiter_hinted(k->waiter))
        *timeout_ns = k->e->wire->ops->sleep(k->stack);
    return WIRE_SLEEP;
}

void wire_give_way(struct wire_worker *k, enum wire_rest rest, uint64_t now)
{
    if (rest == WIRE_PAUSE)
        nanosleep(&(struct timespec){.tv_nsec = OVERLOAD_PAUSE_NS}, NULL);
    if (rest != WIRE_YIELD)
        return;
    sched_yield();
    uint64_t after = wire_clock();
    if (after - now > YIELD_TOO_LONG_NS) {
        k->no_spin_until = after + NO_SPIN_NS;
        k->busy_until = 0;
    }
}

void wire_after_wait(struct wire_worker *k)
{
    if (!k->asleep)
        return;
    k->asleep = false;
    atomic_store(&k->waiter->asleep, 0);
    k->e->wire->ops->wake(k->stack);
}
