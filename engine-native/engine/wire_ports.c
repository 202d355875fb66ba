/* SPDX-License-Identifier: BSD-3-Clause
 * Endpoints of programs on the wire: a listener or UDP socket that is bound to an address of the engine, or to any, is
 * opened in the stack as well. Several endpoints may share one (SO_REUSEPORT, several processes): the stack has it once,
 * and the look-up in shared memory chooses, as it does for programs of this host. */
#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static uint32_t bucket(uint32_t kind, const struct zs_addr *local)
{
    return (ntohs(local->port) * 2u + (kind == ZS_KIND_UDP)) % WIRE_PORT_BUCKETS;
}

static struct wire_port *port_find(struct wire *w, uint32_t kind, const struct zs_addr *local)
{
    struct wire_port *p;
    LIST_FOREACH(p, &w->ports[bucket(kind, local)], link)
        if (p->kind == kind && p->local.port == local->port && memcmp(p->local.ip, local->ip, 16) == 0)
            return p;
    return NULL;
}

/* Has the wire that protocol? An address may come later. */
static bool has_family(const struct wire *w, bool v6)
{
    struct zs_wire_port p;
    for (uint32_t i = 1; i <= w->nports && zs_wire_port_copy(w->view, i, &p); i++)
        if (v6 ? p.has6 : p.prefix4 != 0)
            return true;
    return false;
}

/* What the stack listens on for this endpoint, IPv4 or IPv6: the IPv6 wildcard without V6ONLY takes both. */
static bool stack_local(const struct wire *w, const struct tracked *t, bool v6, struct zs_addr *to)
{
    static const uint8_t any[2][16] = {{[10] = 0xff, [11] = 0xff}, {0}};
    *to = t->local;
    if (!zs_addr_is_any(t->local.ip))
        return zs_addr_is_v4(t->local.ip) != v6;
    bool wanted = t->local.family == AF_INET6 ? v6 || !(t->flags & ZS_F_V6ONLY) : !v6;
    memcpy(to->ip, any[v6], 16);
    return wanted && has_family(w, v6);
}

static void close_in_stack(struct wire *w, struct wire_port *p, uint32_t shards)
{
    if (p->kind == ZS_KIND_UDP) {
        w->ops->udp_close(w->stack, p->handle[0]);
        return;
    }
    for (uint32_t i = 0; i < shards; i++) {
        wire_enter(&w->worker[i]);
        w->ops->unlisten(w->worker[i].stack, p->handle[i]);
        wire_leave(&w->worker[i]);
    }
}

/* A listener is open in every shard: which of them gets a connection says its flow. */
static int open_in_stack(struct wire *w, struct wire_port *p, uint32_t backlog)
{
    if (p->kind == ZS_KIND_UDP)
        return w->ops->udp_open(w->stack, &p->local, &p->handle[0]);
    for (uint32_t i = 0; i < w->nworkers; i++) {
        wire_enter(&w->worker[i]);
        int err = w->ops->listen(w->worker[i].stack, &p->local, backlog, &p->handle[i]);
        wire_leave(&w->worker[i]);
        if (err != 0) {
            close_in_stack(w, p, i);
            return err;
        }
    }
    return 0;
}

static struct wire_port *port_open(struct engine *e, uint32_t kind, const struct zs_addr *local, uint32_t backlog)
{
    struct wire *w = e->wire;
    struct wire_port *p = port_find(w, kind, local);
    if (p == NULL) {
        p = calloc(1, sizeof *p + w->nworkers * sizeof p->handle[0]);
        if (p == NULL)
            return NULL;
        p->kind = kind;
        p->local = *local;
        int err = open_in_stack(w, p, backlog);
        if (err != 0) {
            LOG_WARN(e, "port %u is not served on the wire: %s", ntohs(local->port), strerror(-err));
            COUNT(e, WIRE_ENDPOINTS_REFUSED);
            free(p);
            return NULL;
        }
        LIST_INSERT_HEAD(&w->ports[bucket(kind, local)], p, link);
    }
    p->refs++;
    return p;
}

void wire_endpoint_known(struct engine *e, const struct tracked *t)
{
    if (e->wire != NULL && t->kind == ZS_KIND_TCP_LISTEN)
        atomic_store(&e->wire->listening[t->session], WIRE_LISTENING(t->listener, t->listener_gen, t->local.family == AF_INET6));
}

void wire_endpoint_open(struct engine *e, struct tracked *t, uint32_t backlog)
{
    struct wire *w = e->wire;
    struct zs_addr local;
    if (w == NULL || (t->on_device && t->port == 0) || !wire_has(w, &t->local))
        return;
    for (int v6 = 0; v6 < 2; v6++)
        if (stack_local(w, t, v6, &local))
            t->wire_port[v6] = port_open(e, t->kind, &local, backlog);
    if (t->wire_port[0] != NULL || t->wire_port[1] != NULL)
        COUNT(e, WIRE_ENDPOINTS);
}

static void port_close(struct wire *w, struct wire_port *p)
{
    if (p == NULL || --p->refs > 0)
        return;
    LIST_REMOVE(p, link);
    if (w->stack != NULL)
        close_in_stack(w, p, w->nworkers);
    free(p);
}

void wire_endpoint_close(struct engine *e, struct tracked *t)
{
    struct wire *w = e->wire;
    if (w == NULL)
        return;
    atomic_store(&w->listening[t->session], 0);
    if (w->stack != NULL)
        wire_udp_finish(e, t);
    wire_groups_leave(e, t);
    for (int v6 = 0; v6 < 2; v6++) {
        port_close(w, t->wire_port[v6]);
        t->wire_port[v6] = NULL;
    }
}
