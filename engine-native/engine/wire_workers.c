/* SPDX-License-Identifier: BSD-3-Clause
 * Threads beside the engine's that serve connections over the wire, each with a shard of the stack. A thread holds its own lock
 * while it takes a turn, and never takes another worker's; the engine's thread takes one of them, or all in their order. So nobody
 * waits in a circle. */
#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct wire_thread {
    struct wire_worker *k;
    struct zs_view view;
    uint64_t counters[COUNTER_N];
    pthread_mutex_t lock;
    _Atomic uint32_t wanted; /* the engine's thread waits for the lock: a mutex lets in who comes first */
    _Atomic bool stop;
    pthread_t id;
    bool runs, entered;
    sem_t begun;
    int epfd;
    int fds[WIRE_PORTS_MAX]; /* copies of the ports' descriptors */
    uint32_t nfds;
};

/* ---- The engine's thread in a shard ---- */

/* Ends the sleep of a worker, if it sleeps. */
static void rouse(struct wire_worker *k)
{
    uint64_t one = 1;
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&k->waiter->asleep) != 0 && write(k->bell, &one, sizeof one) < 0)
        return; /* so many rings wait there that it wakes anyway */
}

static void lock(struct wire_worker *k)
{
    atomic_fetch_add(&k->thread->wanted, 1);
    pthread_mutex_lock(&k->thread->lock);
    atomic_fetch_sub(&k->thread->wanted, 1);
}

/* What was done there may have to be sent, and may be due sooner than what it sleeps for. */
static void unlock(struct wire_worker *k)
{
    pthread_mutex_unlock(&k->thread->lock);
    rouse(k);
}

void wire_enter(struct wire_worker *k)
{
    if (k->thread != NULL && k->e->wire->frozen == 0)
        lock(k);
}

void wire_leave(struct wire_worker *k)
{
    if (k->thread != NULL && k->e->wire->frozen == 0)
        unlock(k);
}

void wire_freeze(struct engine *e)
{
    if (e->wire == NULL || e->wire->frozen++ > 0)
        return;
    for (uint32_t i = 1; i < e->wire->nworkers; i++)
        lock(&e->wire->worker[i]);
}

void wire_thaw(struct engine *e)
{
    if (e->wire == NULL || --e->wire->frozen > 0)
        return;
    for (uint32_t i = 1; i < e->wire->nworkers; i++)
        unlock(&e->wire->worker[i]);
}

void wire_wake(void *worker, uint32_t index)
{
    struct wire *w = ((struct wire_worker *)worker)->e->wire;
    if (index < w->nworkers)
        rouse(&w->worker[index]);
}

uint64_t wire_worker_time(const struct wire_worker *k)
{
    return k->thread == NULL ? k->e->now : wire_clock();
}

/* ---- The thread ---- */

static void ring(struct zs_view *view, uint32_t waiter, uint32_t gen)
{
    struct wire_thread *t = CONTAINER(view, struct wire_thread, view);
    (void)gen; /* as view_ring() */
    if (waiter_ring_from_thread(t->k->e, waiter))
        COUNT(t->k, DOORBELLS_RUNG);
}

static void sleep_on(struct wire_thread *t, int timeout)
{
    struct epoll_event events[WIRE_PORTS_MAX + 1];
    uint64_t count;
    int n = epoll_wait(t->epfd, events, WIRE_PORTS_MAX + 1, timeout);
    for (int i = 0; i < n; i++)
        if (events[i].data.fd == t->k->bell && read(t->k->bell, &count, sizeof count) < 0)
            continue; /* EAGAIN: rung twice, read once */
}

static void turn(struct wire_thread *t)
{
    struct wire_worker *k = t->k;
    uint64_t longest = 0;
    int timeout = 0;
    while (atomic_load(&t->wanted) > 0)
        sched_yield();
    pthread_mutex_lock(&t->lock);
    wire_after_wait(k);
    uint64_t now = wire_clock();
    wire_poll(k, now);
    enum wire_rest rest = wire_rest(k, now, &longest);
    if (rest == WIRE_SLEEP) {
        timeout = sleep_ms(k->e->wire->ops->next(k->stack), now, longest);
        COUNT(k, WAKEUPS);
    }
    pthread_mutex_unlock(&t->lock);
    wire_give_way(k, rest, now);
    if (rest == WIRE_SLEEP) /* else bits and rings are looked at in the next turn, the bell is for who sleeps */
        sleep_on(t, timeout);
}

static void *thread_main(void *arg)
{
    struct wire_thread *t = arg;
    const struct wire_stack_ops *ops = t->k->e->wire->ops;
    t->entered = ops->enter == NULL || ops->enter(t->k->stack);
    sem_post(&t->begun);
    while (t->entered && !atomic_load(&t->stop))
        turn(t);
    if (t->entered && ops->leave != NULL)
        ops->leave(t->k->stack);
    return NULL;
}

/* ---- Begin and end ---- */

static bool watch(struct wire_thread *t, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(t->epfd, EPOLL_CTL_ADD, fd, &ev) == 0;
}

static bool open_descriptors(struct wire_thread *t)
{
    const struct wire_stack_ops *ops = t->k->e->wire->ops;
    int fds[WIRE_PORTS_MAX];
    t->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (t->epfd < 0 || !wire_waiter_open(t->k) || !watch(t, t->k->bell))
        return false;
    uint32_t n = ops->sleep_fds(t->k->stack, fds, WIRE_PORTS_MAX);
    for (; t->nfds < n; t->nfds++) {
        t->fds[t->nfds] = fcntl(fds[t->nfds], F_DUPFD_CLOEXEC, 0);
        if (t->fds[t->nfds] < 0 || !watch(t, t->fds[t->nfds]))
            return false;
    }
    return true;
}

static bool open_worker(struct engine *e, struct engine_failure *f)
{
    struct wire *w = e->wire;
    struct wire_worker *k = &w->worker[w->nworkers];
    struct wire_thread *t = calloc(1, sizeof *t);
    if (t == NULL) {
        engine_fail(f, ENGINE_EXIT_OTHER, "ZS2102", "free some memory", "out of memory");
        return false;
    }
    *k = (struct wire_worker){.e = e, .index = w->nworkers, .view = &t->view, .counters = t->counters, .budget = WIRE_BUDGET_FULL,
                              .bell = -1, .thread = t};
    w->nworkers++;
    t->k = k;
    t->epfd = -1;
    t->view = e->view;
    t->view.ring = ring;
    pthread_mutex_init(&t->lock, NULL);
    sem_init(&t->begun, 0, 0);
    k->stack = w->ops->shard(w->stack, &t->view, k, e->now);
    if (k->stack == NULL)
        engine_fail(f, ENGINE_EXIT_DPDK, "ZS2120", "use fewer --workers, or give DPDK more memory: -m 256 or more huge pages",
                    "no memory for worker %u", k->index);
    else if (!open_descriptors(t))
        engine_fail(f, ENGINE_EXIT_OTHER, "ZS2102", "raise the limit of open files", "cannot watch the ports: %s", strerror(errno));
    else
        return true;
    return false;
}

bool wire_workers_open(struct engine *e, struct engine_failure *f)
{
    for (uint32_t i = 1; i < e->opt.workers; i++)
        if (!open_worker(e, f))
            return false;
    return true;
}

/* One CPU of --cores each, where there are enough. */
static bool cpu_of(const struct engine *e, uint32_t worker, cpu_set_t *cpus)
{
    if (!e->opt.pinned || CPU_COUNT(&e->opt.cores) < (int)e->wire->nworkers)
        return false;
    CPU_ZERO(cpus);
    for (uint32_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &e->opt.cores) && worker-- == 0) {
            CPU_SET(cpu, cpus);
            return true;
        }
    return false;
}

bool wire_workers_start(struct engine *e, struct engine_failure *f)
{
    struct wire *w = e->wire;
    for (uint32_t i = 1; i < w->nworkers; i++) {
        struct wire_thread *t = w->worker[i].thread;
        cpu_set_t cpus;
        int err = pthread_create(&t->id, NULL, thread_main, t);
        t->runs = err == 0;
        if (t->runs) {
            while (sem_wait(&t->begun) != 0)
                ;
            err = t->entered ? 0 : ENOMEM;
        }
        if (t->runs) {
            char name[16];
            snprintf(name, sizeof name, "zs-worker%u", i);
            pthread_setname_np(t->id, name);
        }
        if (err == 0 && cpu_of(e, i, &cpus))
            err = pthread_setaffinity_np(t->id, sizeof cpus, &cpus);
        if (err != 0) {
            engine_fail(f, ENGINE_EXIT_OTHER, "ZS2105", "use fewer --workers", "cannot start worker %u: %s", i, strerror(err));
            return false;
        }
    }
    cpu_set_t cpus;
    if (w->nworkers > 1 && cpu_of(e, 0, &cpus))
        sched_setaffinity(0, sizeof cpus, &cpus);
    return true;
}

void wire_workers_stop(struct engine *e)
{
    for (uint32_t i = 1; e->wire != NULL && i < e->wire->nworkers; i++) {
        struct wire_thread *t = e->wire->worker[i].thread;
        uint64_t one = 1;
        if (!t->runs)
            continue;
        atomic_store(&t->stop, true);
        if (write(t->k->bell, &one, sizeof one) < 0)
            LOG_DEBUG(e, "worker %u: %s", i, strerror(errno)); /* a full bell rings */
        pthread_join(t->id, NULL);
        t->runs = false;
    }
}

void wire_workers_close(struct engine *e)
{
    for (uint32_t i = 1; i < e->wire->nworkers; i++) {
        struct wire_worker *k = &e->wire->worker[i];
        struct wire_thread *t = k->thread;
        for (uint32_t n = 0; n < t->nfds; n++)
            close(t->fds[n]);
        if (t->epfd >= 0)
            close(t->epfd); /* its bell is closed with the waiters */
        sem_destroy(&t->begun);
        pthread_mutex_destroy(&t->lock);
        free(t);
        k->thread = NULL;
    }
    e->wire->nworkers = 1;
}

json_t *wire_workers_status(struct engine *e)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < e->wire->nworkers; i++) {
        const struct wire_worker *k = &e->wire->worker[i];
        json_t *o = json_pack("{s:i, s:i, s:b, s:I, s:I}", "worker", (int)i, "connections", (int)k->conns, "asleep", (int)k->asleep,
                              "wakeups", (json_int_t)k->counters[COUNT_WAKEUPS], "accepted",
                              (json_int_t)k->counters[COUNT_WIRE_ACCEPTED]);
        if (e->wire->ops->describe_shard != NULL)
            e->wire->ops->describe_shard(k->stack, o);
        json_array_append_new(list, o);
    }
    return list;
}
