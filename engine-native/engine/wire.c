/* SPDX-License-Identifier: BSD-3-Clause
 * The wire's life: the stack and its descriptors, the engine's own waiter; and what is told of it. */
#define _GNU_SOURCE
#include "wire.h"
#include "capture.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void wire_log(void *worker, bool warning, const char *line)
{
    struct wire_worker *k = worker;
    struct engine *e = k->e;
    if (!warning || k->thread != NULL) { /* warnings are about ports, which are the engine's thread's */
        LOG_DEBUG(e, "%s", line);
        return;
    }
    if (strcmp(e->wire->warning, line) == 0)
        return; /* said already */
    snprintf(e->wire->warning, sizeof e->wire->warning, "%s", line);
    admin_warn(e, line);
}

void wire_repeat_warning(struct engine *e, const char *run)
{
    if (e->wire != NULL && e->wire->warning[0] != 0)
        admin_event(e, run, json_pack("{s:s, s:s}", "event", "warning", "text", e->wire->warning));
}

static const struct wire_events events = {
    .accept = wire_accept,
    .accepted = wire_accepted,
    .accept_full = wire_accept_full,
    .listener_options = wire_listener_options,
    .listener_keys = wire_listener_keys,
    .connected = wire_connected,
    .closed = wire_closed,
    .datagram = wire_datagram,
    .unreachable = wire_unreachable,
    .clock = wire_clock,
    .addresses_changed = wire_addresses_changed,
    .log = wire_log,
    .wake = wire_wake,
};

/* ---- Open and close ---- */

/* The epoll set tells that there is something; what it is is found by looking everywhere. */
static void bell_rang(struct engine *e, struct source *s, uint32_t happened)
{
    uint64_t count;
    (void)e;
    (void)happened;
    if (read(s->fd, &count, sizeof count) < 0)
        return; /* EAGAIN: rung twice, read once */
}

static void port_woke(struct engine *e, struct source *s, uint32_t happened)
{
    (void)s;
    (void)happened;
    COUNT(e, WIRE_WAKEUPS);
}

bool wire_waiter_open(struct wire_worker *k)
{
    struct engine *e = k->e;
    int64_t i = zs_waiter_alloc(&e->view, ZS_CLIENT_ENGINE);
    k->bell = i < 0 ? -1 : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (k->bell < 0)
        return false;
    k->waiter_index = (uint32_t)i;
    k->waiter = &e->view.arena->waiter[i];
    e->waiters[i] = (struct waiter){ZS_CLIENT_ENGINE, atomic_load(&k->waiter->gen), k->bell};
    e->waiter_count++;
    return true;
}

static bool open_waiter(struct engine *e, struct wire *w)
{
    return wire_waiter_open(&w->worker[0]) && source_add(e, &w->bell, w->worker[0].bell, EPOLLIN, bell_rang) == 0;
}

static bool open_port_fds(struct engine *e, struct wire *w)
{
    int fds[WIRE_PORTS_MAX];
    w->nfds = w->ops->sleep_fds(w->stack, fds, WIRE_PORTS_MAX);
    for (uint32_t i = 0; i < w->nfds; i++) {
        /* A copy: closing the source must not close the driver's descriptor. */
        int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        if (fd < 0 || source_add(e, &w->port_fd[i], fd, EPOLLIN, port_woke) != 0) {
            if (fd >= 0)
                close(fd);
            return false;
        }
    }
    return true;
}

const struct wire_stack_ops *wire_stack_named(const char *name)
{
    const struct wire_stack_ops *const *s = wire_stacks;
    while (*s != NULL && name != NULL && strcmp((*s)->name, name) != 0)
        s++;
    return *s;
}

static struct wire *wire_new(struct engine *e)
{
    struct wire *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->own = calloc(ZS_MAX_SESSIONS, sizeof *w->own);
    w->listening = calloc(ZS_MAX_SESSIONS, sizeof *w->listening);
    if (w->own == NULL || w->listening == NULL) {
        free((void *)w->own);
        free((void *)w->listening);
        free(w);
        return NULL;
    }
    w->nworkers = 1;
    w->worker[0] = (struct wire_worker){.e = e, .view = &e->view, .counters = e->counters, .budget = WIRE_BUDGET_FULL, .bell = -1};
    w->bell.fd = -1;
    for (uint32_t i = 0; i < WIRE_PORTS_MAX; i++)
        w->port_fd[i].fd = -1;
    w->ops = wire_stack_named(e->opt.stack);
    return w;
}

bool wire_open(struct engine *e, struct engine_failure *f)
{
    if (e->opt.nports == 0)
        return true;
    struct wire *w = wire_new(e);
    if (w == NULL) {
        engine_fail(f, ENGINE_EXIT_OTHER, "ZS2102", "free some memory", "out of memory");
        return false;
    }
    e->wire = w;
    if (e->opt.workers > 1 && w->ops->shard == NULL) {
        engine_fail(f, ENGINE_EXIT_USAGE, "ZS2012", "leave --workers out, or use --stack native",
                    "the stack %s is served by one thread", w->ops->name);
        return false;
    }
    const struct wire_stack_conf conf = {.name = e->name, .view = &e->view, .events = &events, .engine = &w->worker[0],
                                         .ports = e->opt.ports, .nports = e->opt.nports, .ecn = e->opt.ecn,
                                         .workers = e->opt.workers > 1 ? e->opt.workers : 1,
                                         .sysctls = e->opt.sysctls, .nsysctls = e->opt.nsysctls,
                                         .trace = e->opt.log_level >= LOG_L_DEBUG};
    w->stack = w->worker[0].stack = w->ops->open(&conf, e->now, f);
    if (w->stack == NULL)
        return false;
    if (!open_waiter(e, w) || !open_port_fds(e, w)) {
        engine_fail(f, ENGINE_EXIT_OTHER, "ZS2102", "raise the limit of open files", "cannot watch the ports: %s",
                    strerror(errno));
        return false;
    }
    /* Programs lend on what they received: the stack sends it from there. */
    e->view.rx_seg = w->ops->segment_at(w->stack);
    e->view.rx_size = w->ops->segment_size(w->stack);
    if (!wire_workers_open(e, f))
        return false;
    w->naddrs = w->ops->addresses(w->stack, w->addrs, ZS_MAX_WIRE_ADDRS);
    wire_publish(e);
    capture_ports(e);
    return true;
}

void wire_publish(struct engine *e)
{
    struct zs_arena_header *h = &e->view.arena->header;
    struct wire *w = e->wire;
    h->rx_size = w->ops->segment_size(w->stack);
    w->view = &e->view;
    h->wire_ports = w->nports = w->ops->ports(w->stack, h->wire_port, ZS_MAX_WIRE_PORTS);
    uint32_t seq = atomic_load(&h->wire_seq) | 1; /* readers wait for an even one */
    atomic_store(&h->wire_seq, seq);
    atomic_thread_fence(memory_order_seq_cst);
    h->wire_count = w->naddrs;
    memcpy(h->wire, w->addrs, sizeof h->wire);
    atomic_store_explicit(&h->wire_seq, seq + 1, memory_order_release);
}

void wire_addresses_changed(void *worker)
{
    struct engine *e = ((struct wire_worker *)worker)->e;
    struct wire *w = e->wire;
    w->naddrs = w->ops->addresses(w->stack, w->addrs, ZS_MAX_WIRE_ADDRS);
    wire_publish(e);
}

void wire_close(struct engine *e)
{
    struct wire *w = e->wire;
    if (w == NULL)
        return;
    e->view.rx_seg = NULL;
    e->view.rx_size = 0;
    if (w->stack != NULL)
        w->ops->close(w->stack, e->now);
    w->stack = NULL;
    wire_workers_close(e);
    if (w->bell.fd >= 0)
        e->waiters[w->worker[0].waiter_index].bell = -1; /* it is the source's */
    source_close(e, &w->bell);
    for (uint32_t i = 0; i < w->nfds; i++)
        source_close(e, &w->port_fd[i]);
    for (uint32_t i = 0; i < ZS_MAX_SESSIONS; i++)
        free(WIRE_OWN_RECORD(atomic_load(&w->own[i])));
    for (uint32_t i = 0; i < WIRE_PORT_BUCKETS; i++)
        while (!LIST_EMPTY(&w->ports[i])) {
            struct wire_port *p = LIST_FIRST(&w->ports[i]);
            LIST_REMOVE(p, link);
            free(p);
        }
    free((void *)w->own);
    free((void *)w->listening);
    free(w);
    e->wire = NULL;
}

/* ---- What is told ---- */

bool wire_has(const struct wire *w, const struct zs_addr *local)
{
    if (w == NULL || local->port == 0)
        return false;
    if (zs_addr_is_any(local->ip) || zs_addr_is_group(local->ip))
        return true;
    for (uint32_t i = 0; i < w->nports; i++)
        if (zs_wire_is_broadcast(w->view, i + 1, local->ip))
            return true;
    for (uint32_t i = 0; i < w->naddrs; i++)
        if ((w->addrs[i].flags & ZS_WIRE_OWN) && memcmp(w->addrs[i].ip, local->ip, 16) == 0)
            return true;
    return false;
}

uint32_t wire_port_of_interface(const struct engine *e, unsigned index)
{
    struct zs_wire_port p;
    for (uint32_t i = 1; e->wire != NULL && index != 0 && zs_wire_port_copy(&e->view, i, &p); i++)
        if (p.kernel_if == index)
            return i;
    return 0;
}

json_t *wire_addresses(struct engine *e, const struct tracked *t)
{
    struct wire *w = e->wire;
    if (w == NULL || (t->wire_port[0] == NULL && t->wire_port[1] == NULL))
        return NULL;
    json_t *list = json_array();
    for (uint32_t i = 0; i < w->naddrs; i++) {
        struct zs_addr a = {.family = zs_addr_is_v4(w->addrs[i].ip) ? AF_INET : AF_INET6};
        char text[64];
        memcpy(a.ip, w->addrs[i].ip, 16);
        if (!(w->addrs[i].flags & ZS_WIRE_OWN) || t->wire_port[a.family == AF_INET6] == NULL ||
            (!zs_addr_is_any(t->local.ip) && memcmp(t->local.ip, a.ip, 16) != 0))
            continue;
        addr_text(&a, false, text, sizeof text);
        json_array_append_new(list, json_string(text));
    }
    return list;
}

json_t *wire_status(struct engine *e)
{
    struct wire *w = e->wire;
    uint32_t conns, own;
    wire_sessions_busy(e, &conns, &own);
    json_t *wire = json_pack("{s:s, s:i, s:i}", "stack", w->ops->name, "connections", (int)conns, "own_sessions", (int)own);
    w->ops->describe_memory(w->stack, wire);
    if (w->nworkers > 1)
        json_object_set_new(wire, "workers", wire_workers_status(e));
    return wire;
}
