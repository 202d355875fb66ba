/* SPDX-License-Identifier: BSD-3-Clause
 * Waiters and spinning. Spinning about 20 us with a yield now and then keeps nearly all of the latency of pure polling, and lets
 * two programs that share a CPU go on. */
#include "wait.h"

#include <sched.h>
#include <sys/eventfd.h>
#include <time.h>

#include "sys.h"

#define EAGER_ROUNDS 64u /* the first ones look without a pause, which takes as long as a cache line from CPU to CPU */
/* A yield is a system call, during which a message from another CPU waits; where the sender needs this very CPU, every round before it
 * is lost. So a thread goes by what its last yields brought. */
#define YIELD_LATE 100u /* rounds */
#define YIELD_SOON 8u
/* A yield that takes this long gave the CPU to somebody who computes. A spinner loses against such a competitor, slice by
 * slice, where a sleeper is let in at once when it is woken: sleep for a while. */
#define YIELD_TOO_LONG_NS 300000u
#define NO_SPIN_NS 20000000u

static __thread uint64_t no_spin_until __attribute__((tls_model("initial-exec")));
/* Counts yields that ended a spin up, and those that did not down: 0 to YIELDS_PAY_MOST. */
static __thread uint32_t yields_pay __attribute__((tls_model("initial-exec")));
#define YIELDS_PAY_MOST 3u
#define YIELDS_PAY 2u

/* The engine is gone: a waiter that this process claims by itself, as it claims sessions. */
static int open_lone(struct zs_domain *d, struct zs_wait *w)
{
    int fd = (int)zs_sys(SYS_eventfd2, 0, EFD_NONBLOCK | EFD_CLOEXEC);
    fd = fd < 0 ? fd : d->host->keep_fd(fd);
    if (fd < 0)
        return fd;
    int64_t i = zs_waiter_alloc(&d->view, d->view.client);
    if (i < 0) {
        d->host->drop_fd(fd);
        return (int)i;
    }
    *w = (struct zs_wait){d, (uint32_t)i, atomic_load(&d->view.arena->waiter[i].gen), fd, true};
    return 0;
}

int zs_wait_open(struct zs_domain *d, struct zs_wait *w)
{
    struct zs_ctl_reply reply;
    int fd = -1;
    int r = zs_rpc2(d, ZS_CTL_WAITER_NEW, 0, 0, -1, &reply, &fd);
    if (r == -EPIPE)
        return open_lone(d, w);
    if (r < 0)
        return r;
    if (fd < 0 || reply.a >= ZS_MAX_WAITERS)
        return -EPROTO;
    fd = d->host->keep_fd(fd);
    if (fd < 0)
        return fd;
    *w = (struct zs_wait){d, reply.a, reply.b, fd, false};
    return 0;
}

void zs_wait_close(struct zs_wait *w)
{
    if (w->d == NULL)
        return;
    /* The dead engine's successor has an arena of its own; in this one nobody else gives the slot back. */
    if (w->lone || zs_rpc2(w->d, ZS_CTL_WAITER_FREE, w->index, w->gen, -1, NULL, NULL) == -EPIPE)
        zs_waiter_free(&w->d->view, w->index);
    w->d->host->drop_fd(w->fd);
    w->d = NULL;
}

void zs_wait_ring(const struct zs_wait *w)
{
    uint64_t one = 1;
    zs_sys(SYS_write, w->fd, &one, sizeof one);
}

uint32_t zs_wait_harvest(const struct zs_wait *w, uint32_t *slots, uint32_t max)
{
    return zs_waiter_harvest(zs_wait_shm(w), slots, max);
}

static bool enough_spinners(struct zs_domain *d)
{
    return atomic_load_explicit(&d->view.arena->header.spinners, memory_order_relaxed) >= d->ncpu;
}

bool zs_spin_begin(struct zs_domain *d)
{
    if (d->view.confined || enough_spinners(d))
        return false;
    if (no_spin_until != 0) {
        if (zs_now_ns() < no_spin_until)
            return false;
        no_spin_until = 0;
    }
    return true;
}

static bool count_spinner(struct zs_domain *d, struct zs_spin *s)
{
    if (s->counted)
        return true;
    if (enough_spinners(d))
        return false;
    atomic_fetch_add_explicit(&d->view.arena->header.spinners, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&d->view.stats->spinners, 1, memory_order_relaxed);
    s->counted = true;
    return true;
}

void zs_spin_end(struct zs_domain *d, const struct zs_spin *s)
{
    if (!s->counted)
        return;
    if (!s->yielded && yields_pay > 0)
        yields_pay--;
    else if (s->yielded && yields_pay < YIELDS_PAY_MOST)
        yields_pay++;
    atomic_fetch_sub_explicit(&d->view.stats->spinners, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&d->view.arena->header.spinners, 1, memory_order_relaxed);
}

uint64_t zs_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

bool zs_spin_round(struct zs_domain *d, struct zs_spin *s)
{
    uint32_t every = yields_pay >= YIELDS_PAY ? YIELD_SOON : YIELD_LATE;
    s->yielded = false;
    if (every == YIELD_LATE && s->eager < EAGER_ROUNDS) {
        s->eager++;
        return true;
    }
    if (++s->round % every != 0) {
        __builtin_ia32_pause();
        return true;
    }
    uint64_t now = zs_now_ns();
    if (s->deadline_ns == 0)
        s->deadline_ns = now + (uint64_t)s->limit_us * 1000u;
    if (now >= s->deadline_ns || !count_spinner(d, s))
        return false;
    sched_yield();
    uint64_t after = zs_now_ns();
    if (after - now > YIELD_TOO_LONG_NS) {
        no_spin_until = after + NO_SPIN_NS;
        return false;
    }
    s->yielded = true;
    return true;
}
