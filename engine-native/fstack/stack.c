/* SPDX-License-Identifier: BSD-3-Clause
 * libfstack driven by the engine: turns of its loop, events, sleep; and the table of functions that the engine sees. */
#define _GNU_SOURCE
#include <stdlib.h>

#include "fstack.h"

#define EVENTS 256
#define BURST 32u /* frames that a turn of libfstack's loop takes (MAX_PKT_BURST) */
#define HELD_SLEEP_NS (2 * NS_PER_MS) /* between looks at a program's full accept queue */
#define WAITING_SLEEP_NS NS_PER_MS    /* and at a port that had no room */

/* ---- Turns ---- */

static void handle(const struct kevent *e)
{
    struct fs_sock *s = e->udata;
    if (s->dead)
        return;
    switch (s->kind) {
    case FS_CONN:
        fs_conn_event((struct fs_conn *)s, e);
        break;
    case FS_LISTENER:
        fs_listener_event((struct fs_listener *)s);
        break;
    case FS_DEFERRED:
        fs_deferred_event((struct fs_deferred *)s, e);
        break;
    case FS_UDP:
        fs_udp_event((struct fs_udp *)s);
        break;
    case FS_ICMP:
        fs_icmp_event(s);
        break;
    }
}

/* Called by libfstack at the end of a turn, when it has sent what was queued and received. */
static int turn_done(void *arg)
{
    static const struct timespec at_once;
    struct fstack *fs = arg;
    struct kevent e[EVENTS];
    int n = fs->dispatch ? ff_kevent(fs->kq, NULL, 0, e, EVENTS, &at_once) : 0;
    for (int i = 0; i < n; i++)
        handle(&e[i]);
    if (n > 0)
        fs->events_seen += (uint64_t)n;
    fs->more_events = n == EVENTS;
    ff_stop_run();
    return 0;
}

static void turn(struct fstack *fs, uint32_t frames, bool dispatch)
{
    fs->rx_budget = frames;
    fs->rx_scarce = frames > 0 && rte_mempool_get_ops(fs->rx.pool->ops_index)->get_count(fs->rx.pool) < RX_SCARCE;
    fs->dispatch = dispatch;
    fs->more_events = false;
    fs->turns++;
    ff_run(turn_done, fs);
    /* No event names them any more. */
    while (!SLIST_EMPTY(&fs->graves)) {
        struct fs_sock *s = SLIST_FIRST(&fs->graves);
        SLIST_REMOVE_HEAD(&fs->graves, grave);
        free(s);
    }
}

static bool fs_poll(void *stack, uint32_t budget, uint64_t now)
{
    struct fstack *fs = stack;
    uint32_t most = budget * fs->nports;
    bool work = false;
    fs->now = now;
    fs_clock_run(fs);
    for (uint32_t i = 0; i < fs->nports; i++)
        fs_device_flush(&fs->device[i]);
    fs_listeners_retry(fs);
    fs_deferred_run(fs);
    fs_neigh_run(fs);
    fs_ra_run(fs);
    do {
        fs->rx_taken = 0;
        turn(fs, RTE_MIN(most, BURST * fs->nports), true);
        most -= RTE_MIN(most, fs->rx_taken);
        work = work || fs->rx_taken > 0;
    } while ((fs->rx_taken >= BURST && most > 0) || fs->more_events);
    if (work)
        fs_clock_busy(fs);
    return work;
}

/* What a turn's events and the engine's calls made libfstack queue is sent at the beginning of its next turn. */
void fs_flush(void *stack)
{
    turn(stack, 0, false);
}

static uint64_t fs_next(const void *stack)
{
    const struct fstack *fs = stack;
    return RTE_MIN(RTE_MIN(fs_clock_next(fs), fs_deferred_next(fs)), RTE_MIN(fs_neigh_next(fs), fs_ra_next(fs)));
}

/* ---- Sleep ---- */

static uint32_t fs_sleep_fds(void *stack, int *fds, uint32_t max)
{
    struct fstack *fs = stack;
    uint32_t count = 0;
    for (uint32_t i = 0; i < fs->nports && count < max; i++)
        if (port_sleep_fd(fs->device[i].at.port, 0) >= 0)
            fds[count++] = port_sleep_fd(fs->device[i].at.port, 0);
    return count;
}

static uint64_t fs_sleep(void *stack)
{
    struct fstack *fs = stack;
    uint64_t longest = fs->nheld > 0 ? HELD_SLEEP_NS : UINT64_MAX;
    for (uint32_t i = 0; i < fs->nports; i++) {
        stack_port_warn(&fs->device[i].at, fs->events->log, fs->engine);
        longest = stack_port_sleep(&fs->device[i].at, 0, longest);
        if (fs->device[i].nwaiting > 0)
            longest = RTE_MIN(longest, WAITING_SLEEP_NS);
    }
    return longest;
}

static void fs_wake(void *stack)
{
    struct fstack *fs = stack;
    for (uint32_t i = 0; i < fs->nports; i++)
        port_wake(fs->device[i].at.port, 0);
}

static int fs_segment(void *stack)
{
    (void)stack;
    return -1; /* payload is copied */
}

static uint64_t fs_segment_size(void *stack)
{
    (void)stack;
    return 0;
}

static const uint8_t *fs_segment_at(void *stack)
{
    (void)stack;
    return NULL;
}

static void fs_capture(void *stack, wire_frame_fn *frame, void *arg)
{
    struct fstack *fs = stack;
    for (uint32_t i = 0; i < fs->nports; i++)
        stack_port_capture(&fs->device[i].at, i + 1, frame, arg);
}

const struct wire_stack_ops wire_stack_fstack = {
    .name = "fstack",
    .open = fs_open,
    .close = fs_close,
    .addresses = fs_addresses,
    .ports = fs_ports,
    .segment = fs_segment,
    .segment_size = fs_segment_size,
    .segment_at = fs_segment_at,
    .poll = fs_poll,
    .flush = fs_flush,
    .capture = fs_capture,
    .next = fs_next,
    .sleep_fds = fs_sleep_fds,
    .sleep = fs_sleep,
    .wake = fs_wake,
    .connect = fs_connect,
    .accepting = fs_accepting,
    .poke = fs_poke,
    .listen = fs_listen,
    .unlisten = fs_unlisten,
    .udp_open = fs_udp_open,
    .udp_close = fs_udp_close,
    .udp_send = fs_udp_send,
    .group = fs_group,
    .describe_ports = fs_describe_ports,
    .describe_counters = fs_describe_counters,
    .describe_memory = fs_describe_memory,
    .conn_state = fs_conn_state,
    .conn_info = fs_conn_info,
};

const struct wire_stack_ops *const wire_stacks[] = {&wire_stack_native, &wire_stack_fstack, NULL};
