/* SPDX-License-Identifier: BSD-3-Clause
 * Completion queues. A queue is a waiter in shared memory: whoever ends the last hold on a piece sets its bit, and writes the
 * eventfd only if the queue is armed. Bits are hints; the loan decides. */
#define _GNU_SOURCE
#include "lib.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sys.h"

#define HARVEST 64u

/* ---- Operations ---- */

struct op *op_new(struct zs_queue *q, uint64_t cookie)
{
    struct op *op = calloc(1, sizeof *op);
    if (op != NULL)
        *op = (struct op){.queue = q, .going = true, .event = {.type = ZS_EVENT_SENT, .cookie = cookie}};
    return op;
}

static void push(struct zs_queue *q, struct op *op)
{
    op->next = NULL;
    *q->ready_end = op;
    q->ready_end = &op->next;
    if (q->armed)
        zs_sys(SYS_write, q->fd, &(uint64_t){1}, sizeof(uint64_t));
}

void op_settle(struct op *op)
{
    if (op->left == 0 && !op->going)
        push(op->queue, op);
}

void queue_event(struct zs_queue *q, const struct zs_event *event)
{
    struct op *op = op_new(q, 0);
    if (op == NULL)
        return;
    op->event = *event;
    push(q, op);
}

int queue_slot(struct zs_queue *q, struct piece *p)
{
    if (q->nfree == 0) {
        uint32_t n = q->nslots == 0 ? 64 : q->nslots * 2;
        struct piece **slots = n > ZS_WAITER_SLOTS ? NULL : realloc(q->slots, n * sizeof *slots);
        if (slots == NULL)
            return -ENOBUFS;
        q->slots = slots;
        uint32_t *list = realloc(q->free_slots, n * sizeof *list);
        if (list == NULL)
            return -ENOBUFS;
        q->free_slots = list;
        memset(q->slots + q->nslots, 0, (n - q->nslots) * sizeof *slots);
        while (n > q->nslots)
            q->free_slots[q->nfree++] = q->nslots++;
    }
    uint32_t slot = q->free_slots[--q->nfree];
    q->slots[slot] = p;
    return (int)slot;
}

/* ---- The queue ---- */

int zs_queue_open(struct zs_queue **out)
{
    struct zs_domain *d = lib_domain();
    struct zs_queue *q = out == NULL ? NULL : calloc(1, sizeof *q);
    if (q == NULL)
        return out == NULL ? -EINVAL : -ENOMEM;
    int r = 0;
    if (d != NULL) {
        lib.preload->enter();
        r = zs_wait_open(d, &q->wait);
        lib.preload->leave();
    }
    if (r == 0) {
        long fd = q->wait.d != NULL ? zs_sys(SYS_fcntl, q->wait.fd, F_DUPFD_CLOEXEC, 3)
                                    : zs_sys(SYS_eventfd2, 0, EFD_NONBLOCK | EFD_CLOEXEC);
        r = fd < 0 ? (int)fd : 0;
        q->fd = (int)fd;
    }
    if (r < 0) {
        zs_wait_close(&q->wait);
        free(q);
        return r;
    }
    q->ready_end = &q->ready;
    q->process = lib.process;
    *out = q;
    return 0;
}

void zs_queue_close(struct zs_queue *q)
{
    if (q == NULL)
        return;
    lib_enter();
    bool mine = q->process == lib.process;
    if (lib.watch == q)
        lib.watch = NULL;
    for (uint32_t i = 0; i < q->nslots; i++) { /* what is under way is nobody's matter any more */
        struct piece *p = q->slots[i];
        if (p == NULL || p->op == NULL)
            continue;
        struct op *op = p->op;
        p->op = NULL;
        if (--op->left == 0)
            free(op);
    }
    lib_leave();
    while (q->ready != NULL) {
        struct op *op = q->ready;
        q->ready = op->next;
        free(op);
    }
    if (mine && q->wait.d != NULL) {
        lib.preload->enter();
        zs_wait_close(&q->wait);
        lib.preload->leave();
    }
    zs_sys(SYS_close, q->fd);
    free(q->slots);
    free(q->free_slots);
    free(q);
}

int zs_queue_fd(const struct zs_queue *q)
{
    return q == NULL ? -EINVAL : q->fd;
}

/* Pieces whose bits are set. */
static void harvest(struct zs_queue *q)
{
    uint32_t slots[HARVEST], n;
    if (q->wait.d == NULL)
        return;
    do {
        n = zs_wait_harvest(&q->wait, slots, HARVEST);
        for (uint32_t i = 0; i < n; i++) {
            struct piece *p = slots[i] < q->nslots ? q->slots[slots[i]] : NULL;
            if (p != NULL && zs_loan_over(&p->domain->view, p->loan, p->gen))
                piece_done(p);
        }
    } while (n == HARVEST);
}

static void disarm(struct zs_queue *q)
{
    if (!q->armed)
        return;
    q->armed = false;
    if (q->wait.d != NULL)
        atomic_store(&zs_wait_shm(&q->wait)->asleep, 0);
    uint64_t count;
    zs_sys(SYS_read, q->fd, &count, sizeof count);
}

static int mine(const struct zs_queue *q)
{
    return q == NULL ? -EINVAL : q->process != lib.process ? -EPERM : 0;
}

int zs_queue_poll(struct zs_queue *q, struct zs_event *events, unsigned max)
{
    lib_enter();
    int r = mine(q);
    if (r == 0) {
        disarm(q);
        harvest(q);
    }
    while (r >= 0 && (unsigned)r < max && q->ready != NULL) {
        struct op *op = q->ready;
        q->ready = op->next;
        if (q->ready == NULL)
            q->ready_end = &q->ready;
        events[r++] = op->event;
        free(op);
    }
    lib_leave();
    return r;
}

int zs_queue_arm(struct zs_queue *q)
{
    lib_enter();
    int r = mine(q);
    if (r == 0) {
        q->armed = true;
        if (q->wait.d != NULL)
            atomic_store(&zs_wait_shm(&q->wait)->asleep, 1);
        atomic_thread_fence(memory_order_seq_cst); /* with the one in zs_waiter_signal */
        if (q->wait.d != NULL)
            zs_waiter_settle(zs_wait_shm(&q->wait));
        harvest(q);
        if (q->ready != NULL) {
            disarm(q);
            r = 1;
        }
    }
    lib_leave();
    return r;
}

/* Polls for a while, as the waits of sockets do: a completion is often a few microseconds away. */
static void spin(struct zs_queue *q)
{
    struct zs_spin s = {.limit_us = lib.preload == NULL ? 0 : lib.preload->spin_us};
    if (q->wait.d == NULL || q->process != lib.process || s.limit_us == 0)
        return;
    lib.preload->enter();
    if (zs_spin_begin(q->wait.d)) {
        while (!zs_waiter_hinted(zs_wait_shm(&q->wait)) && zs_spin_round(q->wait.d, &s))
            ;
        zs_spin_end(q->wait.d, &s);
    }
    lib.preload->leave();
}

int zs_queue_wait(struct zs_queue *q, struct zs_event *events, unsigned max, int timeout_ms)
{
    uint64_t end = timeout_ms > 0 ? zs_now_ns() + (uint64_t)timeout_ms * 1000000u : 0;
    for (;;) {
        int n = zs_queue_poll(q, events, max);
        if (n != 0 || timeout_ms == 0 || max == 0)
            return n;
        spin(q);
        if ((n = zs_queue_arm(q)) < 0)
            return n;
        uint64_t now = zs_now_ns();
        if (timeout_ms > 0 && now >= end)
            return zs_queue_poll(q, events, max);
        struct pollfd p = {.fd = q->fd, .events = POLLIN};
        if (n == 0 && poll(&p, 1, timeout_ms < 0 ? -1 : (int)((end - now + 999999u) / 1000000u)) < 0 && errno == EINTR)
            return -EINTR;
    }
}
