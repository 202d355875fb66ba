/* SPDX-License-Identifier: BSD-3-Clause
 * The administration commands but `why`. What is shown comes from the engine's own tables where it has them; from
 * shared memory only as numbers and validated text. */
#define _GNU_SOURCE
#include "capture.h"
#include "wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef ZSTACK_VERSION
#define ZSTACK_VERSION "0.1.0"
#endif

json_t *admin_error(const char *code, const char *hint, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    /* '?': a peer's text may be no UTF-8, which JSON cannot carry. */
    json_t *message = json_string(text);
    return json_pack("{s:b, s:{s:s, s:o, s:s}}", "ok", 0, "error", "code", code, "message",
                     message != NULL ? message : json_string("?"), "hint", hint);
}

static json_t *result(json_t *value)
{
    return value == NULL ? admin_error("ZS2000", "see the engine's log", "out of memory")
                         : json_pack("{s:b, s:o}", "ok", 1, "result", value);
}

static json_t *cmd_ping(struct engine *e, struct admin_conn *a, json_t *request)
{
    (void)e;
    (void)a;
    (void)request;
    return result(json_pack("{s:i, s:s, s:i}", "pid", (int)getpid(), "version", ZSTACK_VERSION, "layout",
                            (int)ZS_LAYOUT_VERSION));
}

static bool run_valid(const char *run)
{
    size_t n = run == NULL ? 0 : strlen(run);
    return n >= 1 && n <= 31 && strspn(run, "0123456789abcdef") == n;
}

static json_t *cmd_lease(struct engine *e, struct admin_conn *a, json_t *request)
{
    const char *run = json_string_value(json_object_get(request, "run"));
    const json_t *lives = json_object_get(request, "lives");
    if (lives != NULL && !json_is_boolean(lives))
        return admin_error("ZS2005", "lives is true or false, true unless given", "lives is neither true nor false");
    if (!run_valid(run))
        return admin_error("ZS2005", "a lease names its run: 1 to 31 hexadecimal digits",
                           "run is missing or malformed");
    if (!a->lease)
        e->leases++;
    a->lease = true;
    a->lives = lives == NULL || json_is_true(lives);
    snprintf(a->run, sizeof a->run, "%s", run);
    linger_update(e);
    wire_repeat_warning(e, a->run);
    return result(json_object());
}

/* ---- status ---- */

struct session_counts {
    uint32_t in_use, tcp, udp, listeners, queued;
    uint32_t of_client[ZS_MAX_CLIENTS];
};

static void count_sessions(struct engine *e, struct session_counts *n)
{
    _Atomic uint64_t *leaf = e->view.arena->session_hint.leaf;
    for (uint32_t i = zs_hint_next(leaf, ZS_MAX_SESSIONS, 0); i < ZS_MAX_SESSIONS;
         i = zs_hint_next(leaf, ZS_MAX_SESSIONS, i + 1)) {
        struct zs_session *s = zs_session_at(&e->view, i);
        uint32_t owner = atomic_load(&s->owner), kind = s->kind;
        if (owner == 0 || wire_owns(e, i))
            continue;
        struct tracked *t = tracked_by_session(e, i);
        if (t != NULL && t->closing)
            continue; /* closed; the slot rests for a moment */
        if (t != NULL)
            owner = owner == ZS_CLIENT_ENGINE ? t->creator : owner;
        n->in_use++;
        n->tcp += kind == ZS_KIND_TCP;
        n->udp += kind == ZS_KIND_UDP;
        n->listeners += kind == ZS_KIND_TCP_LISTEN;
        if (client_alive(e, owner))
            n->of_client[ZS_CLIENT_SLOT(owner)]++;
    }
    struct tracked *t, *next;
    HASH_ITER(by_session, e->by_session, t, next)
        if (t->kind == ZS_KIND_TCP_LISTEN && !t->closing)
            n->queued += zs_accept_count(&e->view, t->listener);
}

static json_int_t number(_Atomic uint64_t *from)
{
    uint64_t value = atomic_load_explicit(from, memory_order_relaxed);
    return value > INT64_MAX ? INT64_MAX : (json_int_t)value;
}

/* Segments of buffers: of one program, or, 0, of all, the dead whose memory is still read included. */
static json_t *status_buffers(const struct engine *e, uint32_t client)
{
    struct segment_use use = segments_use(e, client);
    return json_pack("{s:i, s:I, s:I}", "segments", (int)use.count, "bytes", (json_int_t)use.bytes, "resident", (json_int_t)use.resident);
}

static json_t *status_clients(struct engine *e, const struct session_counts *n)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < ZS_MAX_CLIENTS; i++) {
        struct client *c = e->clients[i];
        struct zs_client *shm = &e->view.arena->client[i];
        if (c == NULL)
            continue;
        json_t *zc = json_pack("{s:I, s:I, s:I, s:I, s:I}", "out_lent", number(&shm->zc_out_lent), "out_copied",
                               number(&shm->zc_out_copied), "in_lent", number(&shm->zc_in_lent), "in_copied",
                               number(&shm->zc_in_copied), "forgotten", number(&shm->zc_forgotten));
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:I, s:i, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I}", "zero_copy", zc, "buffers", status_buffers(e, c->id), "id", (json_int_t)c->id, "pid",
                            (int)c->pid, "name", c->name, "run", c->run, "sessions", (int)n->of_client[i], "connects",
                            number(&shm->connects), "accepts", number(&shm->accepts), "bytes_in",
                            number(&shm->bytes_in), "bytes_out", number(&shm->bytes_out), "wakeups",
                            number(&shm->wakeups), "sleeps", number(&shm->sleeps)));
    }
    return list;
}

static json_t *status_totals(struct engine *e)
{
    json_t *totals = json_object();
#define X(id, name) json_object_set_new(totals, name, json_integer((json_int_t)counter_sum(e, COUNT_##id)));
#include "counters.def"
#undef X
    return totals;
}

static json_t *status_dpdk(struct engine *e)
{
    json_t *args = json_array();
    for (int i = 0; i < e->dpdk.argc; i++)
        json_array_append_new(args, json_string(e->dpdk.argv[i]));
    return json_pack("{s:s, s:b, s:b, s:o}", "version", e->dpdk.version, "enabled", e->dpdk.enabled, "hugepages",
                     e->dpdk.hugepages, "args", args);
}

static json_t *cmd_status(struct engine *e, struct admin_conn *a, json_t *request)
{
    (void)a;
    (void)request;
    struct session_counts *n = calloc(1, sizeof *n);
    struct zs_arena_header *h = &e->view.arena->header;
    struct timespec cpu;
    if (n == NULL)
        return result(NULL);
    count_sessions(e, n);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    json_t *memory = json_pack("{s:I, s:I, s:I, s:o}", "limit", (json_int_t)e->view.mem_limit, "used", number(&h->mem_used),
                               "peak", number(&h->mem_peak), "buffers", status_buffers(e, 0));
    json_t *sessions = json_pack("{s:i, s:i, s:i, s:i, s:i}", "in_use", (int)n->in_use, "tcp", (int)n->tcp, "udp",
                                 (int)n->udp, "listeners", (int)n->listeners, "accept_queued", (int)n->queued);
    json_t *value = json_pack("{s:i, s:s, s:i, s:s, s:i, s:f, s:f, s:o, s:o, s:i, s:o, s:o, s:o}", "pid",
                              (int)getpid(), "version", ZSTACK_VERSION, "layout", (int)ZS_LAYOUT_VERSION, "name",
                              e->name, "uid", (int)e->uid, "uptime_s", (double)(e->now - e->started) / 1e9, "cpu_s",
                              (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9, "memory", memory, "sessions", sessions,
                              "waiters", (int)e->waiter_count, "clients", status_clients(e, n), "totals",
                              status_totals(e), "dpdk", status_dpdk(e));
    free(n);
    if (value != NULL)
        json_object_set_new(value, "loans", json_integer(reap_loans_in_use(e)));
    if (value != NULL && e->capture != NULL)
        json_object_set_new(value, "capture", capture_status(e));
    if (value != NULL && e->wire != NULL && e->wire->stack != NULL) {
        json_object_set_new(value, "ports", e->wire->ops->describe_ports(e->wire->stack));
        json_object_set_new(value, "stack", e->wire->ops->describe_counters(e->wire->stack));
        json_object_set_new(value, "wire", wire_status(e));
    }
    return result(value);
}

static json_t *cmd_stop(struct engine *e, struct admin_conn *a, json_t *request)
{
    (void)a;
    if (e->client_count > 0 && !json_is_true(json_object_get(request, "force")))
        return admin_error("ZS2003", "end them first, or use force", "%u programs are attached", e->client_count);
    LOG_INFO(e, "stopped by request");
    e->stopping = true;
    return result(json_object());
}

static json_t *cmd_why(struct engine *e, struct admin_conn *a, json_t *request)
{
    (void)a;
    json_t *value = why_command(e, request);
    return json_object_get(value, "error") != NULL ? value : result(value);
}

json_t *admin_command(struct engine *e, struct admin_conn *a, json_t *request)
{
    static const struct {
        const char *name;
        json_t *(*fn)(struct engine *e, struct admin_conn *a, json_t *request);
    } commands[] = {
        {"ping", cmd_ping}, {"lease", cmd_lease}, {"status", cmd_status}, {"why", cmd_why}, {"stop", cmd_stop},
        {"capture", capture_command},
    };
    const char *cmd = json_string_value(json_object_get(request, "cmd"));
    for (size_t i = 0; cmd != NULL && i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(cmd, commands[i].name) == 0) {
            wire_freeze(e); /* what is told is of one moment */
            json_t *answer = commands[i].fn(e, a, request);
            wire_thaw(e);
            return answer;
        }
    return admin_error("ZS2002", "commands: ping, lease, status, why, stop, capture", "no command %s", cmd == NULL ? "given" : cmd);
}
