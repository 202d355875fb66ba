/* SPDX-License-Identifier: BSD-3-Clause
 * `why`: per socket of a process, who serves it and for which reason. The process wrote the entries, so each is copied
 * once and checked; a descriptor that is no longer a socket is left out. */
#define _GNU_SOURCE
#include "internal.h"
#include "proc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const verdicts[] = {
#define X(id, name, text) name,
    ZS_VERDICTS(X)
#undef X
};
static const struct {
    const char *name, *text;
} reasons[] = {
#define X(id, name, text) {name, text},
    ZS_REASONS(X)
#undef X
};

void addr_text(const struct zs_addr *addr, bool with_port, char *to, size_t size)
{
    char ip[INET6_ADDRSTRLEN] = "";
    bool v4 = addr->family == AF_INET && zs_addr_is_v4(addr->ip);
    if (v4)
        inet_ntop(AF_INET, addr->ip + 12, ip, sizeof ip);
    else
        inet_ntop(AF_INET6, addr->ip, ip, sizeof ip);
    if (!with_port)
        snprintf(to, size, "%s", ip);
    else
        snprintf(to, size, v4 ? "%s:%u" : "[%s]:%u", ip, ntohs(addr->port));
}

static bool is_socket(pid_t pid, uint32_t fd)
{
    char path[64], target[32];
    snprintf(path, sizeof path, "/proc/%d/fd/%u", (int)pid, fd);
    ssize_t n = readlink(path, target, sizeof target);
    if (n < 0)
        return errno == EACCES || errno == EPERM; /* cannot tell: believe the entry */
    return n > 8 && memcmp(target, "socket:[", 8) == 0;
}

static json_t *peer_process(struct engine *e, struct zs_session *s)
{
    struct zs_session *peer = s->kind == ZS_KIND_TCP ? zs_session_peer(&e->view, s) : NULL;
    if (peer == NULL)
        return NULL;
    struct client *c = client_get(e, atomic_load(&peer->owner));
    struct tracked *t = c == NULL ? tracked_by_session(e, zs_session_index(&e->view, peer)) : NULL;
    if (t != NULL)
        c = client_get(e, t->creator);
    return c == NULL ? NULL : json_pack("{s:i, s:s}", "pid", (int)c->pid, "name", c->name);
}

static json_int_t position(_Atomic uint64_t *from)
{
    return (json_int_t)(atomic_load_explicit(from, memory_order_relaxed) & INT64_MAX);
}

/* Addresses and counters of the session, if the entry still names one. */
static void add_session(struct engine *e, json_t *entry, const struct zs_why *why)
{
    struct zs_session *s = zs_session_at(&e->view, why->session);
    if (s == NULL || atomic_load(&s->gen) != why->session_gen || atomic_load(&s->owner) == 0)
        return;
    char text[80];
    struct zs_addr local = s->local, remote = s->remote;
    struct zs_session *peer = s->kind == ZS_KIND_TCP ? zs_session_peer(&e->view, s) : NULL;
    if (local.family != 0) {
        addr_text(&local, true, text, sizeof text);
        json_object_set_new(entry, "local", json_string(text));
    }
    if (remote.family != 0 && remote.port != 0) {
        addr_text(&remote, true, text, sizeof text);
        json_object_set_new(entry, "remote", json_string(text));
    }
    json_object_set_new(entry, "bytes_in", json_integer(position(&s->rx_cons.head)));
    json_object_set_new(entry, "bytes_out", json_integer(peer == NULL ? 0 : position(&peer->rx_prod.tail)));
    json_t *process = peer_process(e, s);
    if (process != NULL)
        json_object_set_new(entry, "peer", process);
}

static json_t *why_entry(struct engine *e, const struct client *c, struct zs_why *from)
{
    struct zs_why why;
    memcpy(&why, (const void *)from, sizeof why);
    uint32_t fd1 = atomic_load(&why.fd1);
    if (fd1 == 0 || fd1 > INT32_MAX || why.verdict >= ZS_VERDICT_COUNT || why.reason >= ZS_REASON_COUNT ||
        (why.proto != IPPROTO_TCP && why.proto != IPPROTO_UDP) || !is_socket(c->pid, fd1 - 1))
        return NULL;
    json_t *entry = json_pack("{s:i, s:s, s:s, s:s, s:s}", "fd", (int)(fd1 - 1), "proto",
                              why.proto == IPPROTO_TCP ? "tcp" : "udp", "verdict", verdicts[why.verdict], "reason",
                              reasons[why.reason].name, "text", reasons[why.reason].text);
    if (entry != NULL)
        add_session(e, entry, &why);
    return entry;
}

json_t *why_command(struct engine *e, json_t *request)
{
    json_int_t pid = json_integer_value(json_object_get(request, "pid"));
    json_t *fd = json_object_get(request, "fd");
    if (pid <= 0 || pid > INT32_MAX || (fd != NULL && !json_is_null(fd) && !json_is_integer(fd)))
        return admin_error("ZS2005", "why takes a process id and optionally a descriptor", "pid or fd is malformed");
    if (zs_start_time((int32_t)pid) == 0)
        return admin_error("ZS2004", "see `zstack-run engine status` for those attached", "there is no process %d",
                           (int)pid);
    struct client *c = client_by_pid(e, (pid_t)pid);
    if (c != NULL && client_process_dead(c))
        c = NULL; /* the number is another process' by now */
    json_t *sockets = json_array();
    for (uint32_t i = 0; c != NULL && i < ZS_WHY_ENTRIES; i++) {
        struct zs_why *from = &e->view.arena->client[ZS_CLIENT_SLOT(c->id)].why[i];
        if (json_is_integer(fd) && atomic_load(&from->fd1) != (uint64_t)json_integer_value(fd) + 1)
            continue;
        json_t *entry = why_entry(e, c, from);
        if (entry != NULL)
            json_array_append_new(sockets, entry);
    }
    return json_pack("{s:i, s:b, s:o}", "pid", (int)pid, "attached", c != NULL, "sockets", sockets);
}
