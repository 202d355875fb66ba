/* SPDX-License-Identifier: BSD-3-Clause
 * The wire's life: the stack and its descriptors, the engine's own waiter, own sessions, polling and sleep. */
#define _GNU_SOURCE
#include "wire.h"
#include "capture.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define HARVEST 256u
#define LOOK_EVERY 16u /* rounds of busy polling between two looks at the descriptors */
/* A yield that takes this long gave the CPU to somebody who computes: then sleep for a while, so as not to lose every
 * slice to him. As the programs' own waits do. */
#define YIELD_TOO_LONG_NS 300000u
#define NO_SPIN_NS 20000000u
/* Against receive livelock (Mogul and Ramakrishnan 1997): beside programs that compute on the same CPU, what they have no
 * room for is not worth taking from the port. Then fewer packets are taken in a turn, and turns are this far apart; the rest
 * is dropped where it costs nothing, in the port's ring. */
#define BUDGET_FULL 128u
#define BUDGET_MIN 8u
#define OVERLOAD_PAUSE_NS 400000

static void wire_log(void *engine, bool warning, const char *line)
{
    struct engine *e = engine;
    if (!warning) {
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
    .accept_full = wire_accept_full,
    .listener_options = wire_listener_options,
    .connected = wire_connected,
    .closed = wire_closed,
    .datagram = wire_datagram,
    .unreachable = wire_unreachable,
    .addresses_changed = wire_addresses_changed,
    .log = wire_log,
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

static bool open_waiter(struct engine *e, struct wire *w)
{
    int64_t i = zs_waiter_alloc(&e->view, ZS_CLIENT_ENGINE);
    int bell = i < 0 ? -1 : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (bell < 0)
        return false;
    w->waiter_index = (uint32_t)i;
    w->waiter = &e->view.arena->waiter[i];
    e->waiters[i] = (struct waiter){ZS_CLIENT_ENGINE, atomic_load(&w->waiter->gen), bell};
    e->waiter_count++;
    return source_add(e, &w->bell, bell, EPOLLIN, bell_rang) == 0;
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

bool wire_open(struct engine *e, struct engine_failure *f)
{
    if (e->opt.nports == 0)
        return true;
    struct wire *w = calloc(1, sizeof *w);
    if (w == NULL || (w->own = calloc(ZS_MAX_SESSIONS, sizeof *w->own)) == NULL) {
        free(w);
        engine_fail(f, ENGINE_EXIT_OTHER, "ZS2102", "free some memory", "out of memory");
        return false;
    }
    w->ops = wire_stack_named(e->opt.stack);
    w->budget = BUDGET_FULL;
    w->bell.fd = -1;
    for (uint32_t i = 0; i < WIRE_PORTS_MAX; i++)
        w->port_fd[i].fd = -1;
    e->wire = w;
    const struct wire_stack_conf conf = {.name = e->name, .view = &e->view, .events = &events, .engine = e,
                                         .ports = e->opt.ports, .nports = e->opt.nports, .ecn = e->opt.ecn,
                                         .sysctls = e->opt.sysctls, .nsysctls = e->opt.nsysctls,
                                         .trace = e->opt.log_level >= LOG_L_DEBUG};
    w->stack = w->ops->open(&conf, e->now, f);
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

void wire_addresses_changed(void *engine)
{
    struct engine *e = engine;
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
    if (w->bell.fd >= 0)
        e->waiters[w->waiter_index].bell = -1; /* it is the source's */
    source_close(e, &w->bell);
    for (uint32_t i = 0; i < w->nfds; i++)
        source_close(e, &w->port_fd[i]);
    for (uint32_t i = 0; i < ZS_MAX_SESSIONS; i++)
        free(w->own[i]);
    for (uint32_t i = 0; i < WIRE_PORT_BUCKETS; i++)
        while (!LIST_EMPTY(&w->ports[i])) {
            struct wire_port *p = LIST_FIRST(&w->ports[i]);
            LIST_REMOVE(p, link);
            free(p);
        }
    free(w->own);
    free(w);
    e->wire = NULL;
}

/* ---- Own sessions ---- */

struct wire_own *wire_own_new(struct engine *e, enum wire_kind kind, uint32_t session_kind)
{
    struct wire *w = e->wire;
    struct wire_own *o = calloc(1, sizeof *o + (kind == WIRE_UDP ? 2 * sizeof o->port[0] : 0));
    int64_t i = o == NULL ? -1 : session_alloc(e, session_kind);
    struct zs_session *s = i < 0 ? NULL : zs_session_at(&e->view, (uint32_t)i);
    if (s == NULL || zs_subscribe(&e->view, s, w->waiter_index, (uint32_t)i, 0) != 0) {
        if (s != NULL)
            zs_session_free(&e->view, (uint32_t)i);
        free(o);
        return NULL;
    }
    *o = (struct wire_own){.kind = kind, .own = (uint32_t)i, .gen = atomic_load(&s->gen)};
    atomic_store(&s->state, ZS_S_OPEN);
    w->own[i] = o; /* an entry of an earlier life of the slot belongs to a connection that forgot it */
    w->own_count++;
    return o;
}

void wire_own_free(struct engine *e, struct wire_own *o)
{
    if (e->wire->own[o->own] == o)
        e->wire->own[o->own] = NULL;
    e->wire->own_count--;
    free(o);
}

static struct wire_own *own_at(const struct engine *e, uint32_t session)
{
    struct wire_own *o = e->wire == NULL || session >= ZS_MAX_SESSIONS ? NULL : e->wire->own[session];
    return o != NULL && atomic_load(&zs_session_at(&e->view, session)->gen) == o->gen ? o : NULL;
}

bool wire_owns(const struct engine *e, uint32_t session)
{
    return own_at(e, session) != NULL;
}

void wire_sessions_busy(const struct engine *e, uint32_t *connections, uint32_t *own)
{
    *connections = e->wire == NULL ? 0 : e->wire->conns;
    *own = 0;
    for (uint32_t i = 0; e->wire != NULL && i < ZS_MAX_SESSIONS; i++)
        *own += own_at(e, i) != NULL && e->wire->own[i]->kind == WIRE_CONN;
}

int wire_info(struct engine *e, uint32_t session, uint32_t gen, struct zs_tcp_info *info)
{
    struct zs_session *s = zs_session_at(&e->view, session);
    if (s == NULL || atomic_load(&s->gen) != gen)
        return -ESTALE;
    struct wire_own *o = own_at(e, s->peer);
    if (o == NULL || o->kind != WIRE_CONN || o->handle == NULL)
        return -ENOTCONN;
    e->wire->ops->conn_info(e->wire->stack, o->handle, e->now, info);
    return 0;
}

/* ---- Polling ---- */

static void own_happened(struct engine *e, uint32_t session)
{
    struct wire_own *o = own_at(e, session);
    if (o == NULL)
        return;
    if (o->kind == WIRE_UDP)
        wire_udp_send(e, o);
    else if (o->kind == WIRE_CONN && o->handle != NULL)
        e->wire->ops->poke(e->wire->stack, o->handle, e->now);
}

/* May the engine go on polling? Not where programs spin on all CPUs, nor beside somebody who computes. */
static bool spinning_allowed(struct engine *e, uint64_t now)
{
    const struct zs_arena_header *h = &e->view.arena->header;
    return now >= e->wire->no_spin_until && atomic_load_explicit(&h->spinners, memory_order_relaxed) < e->ncpu;
}

/* Additive increase, multiplicative decrease: about as many packets as the programs can take. */
static void adapt_budget(struct engine *e)
{
    struct wire *w = e->wire;
    bool contended = e->now < w->no_spin_until + NO_SPIN_NS;
    if (w->refused > 0 && contended)
        w->budget -= w->budget / 4;
    else if (w->budget < BUDGET_FULL)
        w->budget += 2;
    if (w->budget < BUDGET_MIN)
        w->budget = BUDGET_MIN;
    w->refused = 0;
}

void wire_poll(struct engine *e)
{
    struct wire *w = e->wire;
    uint32_t slots[HARVEST];
    uint32_t n = zs_waiter_harvest(w->waiter, slots, HARVEST);
    for (uint32_t i = 0; i < n; i++)
        own_happened(e, slots[i]);
    bool work = w->ops->poll(w->stack, w->budget, e->now) || n > 0;
    w->ops->flush(w->stack);
    adapt_budget(e);
    if (work)
        w->busy_until = spinning_allowed(e, e->now) ? e->now + WIRE_SPIN_NS : 0;
    if (n == HARVEST)
        w->busy_until = e->now + WIRE_SPIN_NS; /* more of them wait */
}

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void yield(struct wire *w, uint64_t now)
{
    sched_yield();
    uint64_t after = clock_ns();
    if (after - now > YIELD_TOO_LONG_NS) {
        w->no_spin_until = after + NO_SPIN_NS;
        w->busy_until = 0;
    }
}

bool wire_before_wait(struct engine *e, uint64_t now, uint64_t *timeout_ns)
{
    struct wire *w = e->wire;
    *timeout_ns = 0;
    if (w->budget < BUDGET_FULL) {
        COUNT(e, WIRE_OVERLOADED);
        nanosleep(&(struct timespec){.tv_nsec = OVERLOAD_PAUSE_NS}, NULL);
        return false; /* a look at the descriptors, without waiting */
    }
    if (now < w->busy_until) {
        if (++w->rounds % LOOK_EVERY != 0)
            return true;
        yield(w, now);
        return false; /* a look at the descriptors, without waiting */
    }
    /* The sleeper's half of zs_notify(): say so, then look once more. */
    atomic_store(&w->waiter->asleep, 1);
    atomic_thread_fence(memory_order_seq_cst);
    w->asleep = true;
    if (atomic_load(&w->waiter->top) == 0)
        *timeout_ns = w->ops->sleep(w->stack);
    return false;
}

void wire_after_wait(struct engine *e)
{
    struct wire *w = e->wire;
    if (!w->asleep)
        return;
    w->asleep = false;
    atomic_store(&w->waiter->asleep, 0);
    w->ops->wake(w->stack);
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
    return wire;
}
