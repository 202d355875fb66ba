/* SPDX-License-Identifier: BSD-3-Clause
 * The engine's life: names, event loop, timers, end. */
#define _GNU_SOURCE
#include "capture.h"
#include "wire.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

static const char *const counter_names[] = {
#define X(id, name) name,
#include "counters.def"
#undef X
};

static void (*const timer_fn[])(struct engine *) = {
#define X(id, fn) fn,
    ENGINE_TIMERS(X)
#undef X
};

/* ---- Sources ---- */

int source_add(struct engine *e, struct source *s, int fd, uint32_t events,
               void (*ready)(struct engine *, struct source *, uint32_t))
{
    struct epoll_event ev = {.events = events, .data.ptr = s};
    s->fd = -1;
    if (epoll_ctl(e->epfd, EPOLL_CTL_ADD, fd, &ev) != 0)
        return -errno;
    s->fd = fd;
    s->events = events;
    s->ready = ready;
    return 0;
}

void source_events(struct engine *e, struct source *s, uint32_t events)
{
    if (s->fd < 0 || s->events == events)
        return;
    struct epoll_event ev = {.events = events, .data.ptr = s};
    if (epoll_ctl(e->epfd, EPOLL_CTL_MOD, s->fd, &ev) == 0)
        s->events = events;
}

void source_close(struct engine *e, struct source *s)
{
    if (s->fd < 0)
        return;
    /* By hand: another process may hold a copy of the description, which would keep the registration alive. */
    epoll_ctl(e->epfd, EPOLL_CTL_DEL, s->fd, NULL);
    close(s->fd);
    s->fd = -1;
}

void defer_free(struct engine *e, void *memory)
{
    if (e->garbage_len == e->garbage_cap) {
        size_t cap = e->garbage_cap ? e->garbage_cap * 2 : 64;
        void **more = realloc(e->garbage, cap * sizeof *more);
        if (more == NULL)
            return; /* a leak is the lesser evil */
        e->garbage = more;
        e->garbage_cap = cap;
    }
    e->garbage[e->garbage_len++] = memory;
}

static void garbage_collect(struct engine *e)
{
    while (e->garbage_len > 0)
        free(e->garbage[--e->garbage_len]);
}

/* ---- Time ---- */

void timer_at(struct engine *e, enum timer timer, uint64_t when)
{
    if (when < e->due[timer])
        e->due[timer] = when;
}

uint64_t engine_deadline(const struct engine *e)
{
    uint64_t first = NEVER;
    for (int i = 0; i < TIMER_N; i++)
        if (e->due[i] < first)
            first = e->due[i];
    uint64_t wire = e->wire != NULL ? e->wire->ops->next(e->wire->stack) : NEVER;
    return wire < first ? wire : first;
}

/* What programs that ended sent over the wire is still delivered, for so long. */
#define LINGER_FOR_WIRE (30 * NS_PER_S)

/* The engine ends `linger` seconds after the last client and the last lease went. */
void linger_update(struct engine *e)
{
    bool used = e->client_count > 0 || e->leases > 0;
    if (used || e->opt.linger_s == 0)
        e->due[TIMER_LINGER] = NEVER;
    else if (e->due[TIMER_LINGER] == NEVER) {
        e->due[TIMER_LINGER] = e->now + e->opt.linger_s * NS_PER_S;
        e->linger_latest = e->due[TIMER_LINGER] + LINGER_FOR_WIRE;
    }
}

void linger_due(struct engine *e)
{
    uint32_t conns, own;
    wire_sessions_busy(e, &conns, &own);
    if (own > 0 && e->now < e->linger_latest) {
        timer_at(e, TIMER_LINGER, e->now + NS_PER_S);
        return;
    }
    LOG_INFO(e, "nobody needs this engine any more");
    e->stopping = true;
}

/* ---- Loop ---- */

int sleep_ms(uint64_t due, uint64_t now, uint64_t longest)
{
    uint64_t wait = due == NEVER ? NEVER : due <= now ? 0 : due - now;
    if (longest < wait)
        wait = longest;
    if (wait == NEVER)
        return -1;
    uint64_t ms = (wait + NS_PER_MS - 1) / NS_PER_MS;
    return ms > 3600000 ? 3600000 : (int)ms;
}

void engine_wait(struct engine *e, uint64_t now, const sigset_t *mask)
{
    uint64_t longest = NEVER;
    e->nevents = 0;
    e->looked = true;
    if (e->wire != NULL) {
        enum wire_rest rest = wire_rest(&e->wire->worker[0], now, &longest);
        if (rest == WIRE_AGAIN)
            return;
        wire_give_way(&e->wire->worker[0], rest, now);
    }
    int n = epoll_pwait(e->epfd, e->events, 64, sleep_ms(engine_deadline(e), now, longest), mask);
    e->nevents = n > 0 ? n : 0;
    COUNT(e, WAKEUPS);
    if (e->wire != NULL)
        wire_after_wait(&e->wire->worker[0]);
}

void engine_poll(struct engine *e, uint64_t now)
{
    e->now = now;
    if (!e->looked) {
        int n = epoll_wait(e->epfd, e->events, 64, 0);
        e->nevents = n > 0 ? n : 0;
    }
    e->looked = false;
    for (int i = 0; i < e->nevents; i++) {
        struct source *s = e->events[i].data.ptr;
        if (s->fd >= 0)
            s->ready(e, s, e->events[i].events);
    }
    if (e->wire != NULL)
        wire_poll(&e->wire->worker[0], now);
    for (int i = 0; i < TIMER_N; i++) {
        if (e->due[i] <= now) {
            e->due[i] = NEVER;
            timer_fn[i](e);
        }
    }
    if (e->nevents > 0)
        trim_consider(e);
    e->nevents = 0;
    garbage_collect(e);
}

void engine_stop(struct engine *e)
{
    e->stopping = true;
}

bool engine_finished(const struct engine *e)
{
    return e->stopping;
}

/* ---- Begin and end ---- */

void engine_fail(struct engine_failure *f, enum engine_exit status, const char *code, const char *hint,
                 const char *format, ...)
{
    va_list args;
    f->status = status;
    snprintf(f->code, sizeof f->code, "%s", code);
    snprintf(f->hint, sizeof f->hint, "%s", hint);
    va_start(args, format);
    vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
}

bool random_bytes(void *to, size_t n)
{
    return getrandom(to, n, 0) == (ssize_t)n;
}

static bool bind_names(struct engine *e, struct engine_failure *f)
{
    /* The control name elects the engine, so it comes first. */
    int ctl = name_listen(e, "", SOCK_SEQPACKET, false);
    if (ctl == -EADDRINUSE) {
        engine_fail(f, ENGINE_EXIT_NAME_TAKEN, "ZS2100", "use that engine, or choose another --name",
                    "another engine of uid %u is named '%s'", e->uid, e->name);
        return false;
    }
    int admin = ctl < 0 ? ctl : name_listen(e, "-admin", SOCK_STREAM, false);
    int padded = admin < 0 ? admin : name_listen(e, "-admin", SOCK_STREAM, true);
    int err = padded < 0 ? padded : source_add(e, &e->ctl, ctl, EPOLLIN, ctl_ready);
    if (err >= 0) {
        ctl = -1;
        err = source_add(e, &e->admin, admin, EPOLLIN, admin_ready);
    }
    if (err >= 0) {
        admin = -1;
        err = source_add(e, &e->admin_padded, padded, EPOLLIN, admin_ready);
        if (err >= 0)
            return true;
    }
    if (ctl >= 0)
        close(ctl);
    if (admin >= 0)
        close(admin);
    if (padded >= 0)
        close(padded);
    engine_fail(f, ENGINE_EXIT_OTHER, "ZS2101", "see which process holds the name: ss -xap | grep zstack",
                "cannot listen on the engine's sockets: %s", strerror(-err));
    return false;
}

/* Each client costs two descriptors, each waiter one. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool open_sources(struct engine *e, struct engine_failure *f)
{
    int bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (bell < 0 || source_add(e, &e->bell, bell, EPOLLIN, bell_ready) != 0) {
        engine_fail(f, ENGINE_EXIT_OTHER, "ZS2102", "raise the limit of open files", "cannot create the doorbell: %s",
                    strerror(errno));
        if (bell >= 0)
            close(bell);
        return false;
    }
    socklen_t len = sizeof e->netns_cookie;
    e->has_netns_cookie = getsockopt(e->ctl.fd, SOL_SOCKET, SO_NETNS_COOKIE, &e->netns_cookie, &len) == 0;
    if (!diag_open(e))
        LOG_WARN(e, "the kernel does not report closed sockets (CONFIG_INET_DIAG): sockets passed between processes "
                    "are closed when the last attached program ends");
    if (!addrs_open(e))
        LOG_WARN(e, "cannot watch the host's addresses: only loopback addresses are served locally");
    addrs_port_range(e);
    return true;
}

bool engine_pin(struct engine *e, struct engine_failure *f)
{
    if (!e->opt.pinned || sched_setaffinity(0, sizeof e->opt.cores, &e->opt.cores) == 0)
        return e->wire == NULL || wire_workers_start(e, f);
    engine_fail(f, ENGINE_EXIT_OTHER, "ZS2104", "name CPUs that `taskset -cp $$` shows", "cannot run on the CPUs of --cores: %s",
                strerror(errno));
    return false;
}

struct engine *engine_open(const struct engine_options *options, uint64_t now, struct engine_failure *f)
{
    struct engine *e = calloc(1, sizeof *e);
    if (e == NULL) {
        engine_fail(f, ENGINE_EXIT_OTHER, "ZS2102", "free some memory", "out of memory");
        return NULL;
    }
    e->opt = *options;
    snprintf(e->name, sizeof e->name, "%s", options->name);
    e->uid = geteuid();
    pthread_mutex_init(&e->waiters_lock, NULL);
    e->now = e->started = now;
    e->arena_fd = -1;
    e->ctl.fd = e->admin.fd = e->admin_padded.fd = e->bell.fd = e->diag.fd = e->route.fd = -1;
    TAILQ_INIT(&e->waiting);
    TAILQ_INIT(&e->graves);
    TAILQ_INIT(&e->admins);
    for (int i = 0; i < TIMER_N; i++)
        e->due[i] = NEVER;
    for (uint32_t i = 0; i < ZS_MAX_WAITERS; i++)
        e->waiters[i].bell = -1;
    int err = log_open(&e->log, options->log_level, options->log_file, options->foreground);
    if (err != 0) {
        engine_fail(f, ENGINE_EXIT_OTHER, "ZS2103", "choose another --log-file", "cannot write the log file %s: %s",
                    options->log_file, strerror(-err));
        free(e);
        return NULL;
    }
    raise_descriptor_limit();
    e->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (e->epfd < 0 || !bind_names(e, f) || !arena_create(e, f) || !open_sources(e, f) || !capture_open(e, f)) {
        engine_close(e);
        return NULL;
    }
    if (e->opt.linger_s != 0) {
        uint64_t first = e->opt.linger_s < ENGINE_LINGER_MIN_S ? ENGINE_LINGER_MIN_S : e->opt.linger_s;
        timer_at(e, TIMER_LINGER, now + first * NS_PER_S);
    }
    return e;
}

void engine_close(struct engine *e)
{
    wire_workers_stop(e);
    /* Names first: from now on clients find no engine, and a successor may start. */
    source_close(e, &e->ctl);
    source_close(e, &e->admin);
    source_close(e, &e->admin_padded);
    while (!TAILQ_EMPTY(&e->admins))
        admin_close(e, TAILQ_FIRST(&e->admins));
    while (!TAILQ_EMPTY(&e->waiting))
        conn_close(e, TAILQ_FIRST(&e->waiting));
    if (e->view.arena != NULL) {
        /* The arena stays with whoever mapped it: same-host pairs go on without an engine, so nothing is reaped here.
         * Listeners go: nobody could deliver what is pushed to them. */
        struct tracked *t, *next;
        HASH_ITER(by_session, e->by_session, t, next)
            if (t->kind != ZS_KIND_TCP && !t->closing)
                endpoint_close(e, t);
        graves_empty(e);
        wire_close(e); /* its listeners went with the endpoints */
        capture_close(e);
        HASH_ITER(by_session, e->by_session, t, next)
            tracked_drop(e, t);
    }
    for (uint32_t i = 0; i < ZS_MAX_CLIENTS; i++) {
        struct client *c = e->clients[i];
        if (c == NULL)
            continue;
        if (c->conn != NULL)
            conn_close(e, c->conn);
        source_close(e, &c->pidfd);
        free(c);
    }
    for (uint32_t i = 0; i < ZS_MAX_WAITERS; i++)
        if (e->waiters[i].bell >= 0)
            close(e->waiters[i].bell);
    pending_free_all(e);
    source_close(e, &e->bell);
    source_close(e, &e->diag);
    source_close(e, &e->route);
    eal_stop(e);
    arena_destroy(e);
    if (e->epfd >= 0)
        close(e->epfd);
    garbage_collect(e);
    free(e->garbage);
    free(e->suspects);
    log_close(&e->log);
    free(e);
}

struct zs_arena *engine_arena(struct engine *e)
{
    return e->view.arena;
}

uint64_t counter_sum(const struct engine *e, int counter)
{
    uint64_t sum = e->counters[counter];
    for (uint32_t i = 1; e->wire != NULL && i < e->wire->nworkers; i++)
        sum += e->wire->worker[i].counters[counter];
    return sum;
}

uint64_t engine_counter(const struct engine *e, const char *name)
{
    for (int i = 0; i < COUNTER_N; i++)
        if (strcmp(counter_names[i], name) == 0)
            return counter_sum(e, i);
    return 0;
}
