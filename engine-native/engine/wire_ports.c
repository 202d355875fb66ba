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

static uint32_t bucket(uint32_t kind, const struct zs_addr *local)
{
    return (ntohs(local->port) * 2u + (kind == ZS_KIND_UDP)) % WIRE_PORT_BUCKETS;
}

/* What the stack listens on for this endpoint: the IPv6 wildcard without V6ONLY takes IPv4 as well. */
static bool stack_local(const struct tracked *t, struct zs_addr *to)
{
    static const uint8_t any4[16] = {[10] = 0xff, [11] = 0xff};
    *to = t->local;
    if (!zs_addr_is_any(t->local.ip))
        return true;
    if (t->local.family == AF_INET6 && (t->flags & ZS_F_V6ONLY))
        return false; /* the stack's IPv6 is yet to come */
    memcpy(to->ip, any4, 16);
    return true;
}

struct wire_port *wire_port_find(struct wire *w, uint32_t kind, const struct zs_addr *local)
{
    struct wire_port *p;
    bool any = zs_addr_is_any(local->ip);
    LIST_FOREACH(p, &w->ports[bucket(kind, local)], link)
        if (p->kind == kind && p->local.port == local->port &&
            (any ? zs_addr_is_any(p->local.ip) : memcmp(p->local.ip, local->ip, 16) == 0))
            return p;
    return NULL;
}

static int open_in_stack(struct wire *w, struct wire_port *p, uint32_t backlog)
{
    return p->kind == ZS_KIND_UDP ? w->ops->udp_open(w->stack, &p->local, &p->handle)
                                  : w->ops->listen(w->stack, &p->local, backlog, &p->handle);
}

void wire_endpoint_open(struct engine *e, struct tracked *t, uint32_t backlog)
{
    struct wire *w = e->wire;
    struct zs_addr local;
    if (w == NULL || t->on_device || !wire_has(w, &t->local) || !stack_local(t, &local))
        return;
    struct wire_port *p = wire_port_find(w, t->kind, &local);
    int err = 0;
    if (p == NULL) {
        p = calloc(1, sizeof *p);
        if (p == NULL)
            return;
        p->kind = t->kind;
        p->local = local;
        err = open_in_stack(w, p, backlog);
        if (err == 0)
            LIST_INSERT_HEAD(&w->ports[bucket(t->kind, &local)], p, link);
    }
    if (err != 0) {
        LOG_WARN(e, "port %u is not served on the wire: %s", ntohs(local.port), strerror(-err));
        COUNT(e, WIRE_ENDPOINTS_REFUSED);
        free(p);
        return;
    }
    p->refs++;
    t->wire_port = p;
    COUNT(e, WIRE_ENDPOINTS);
}

void wire_endpoint_close(struct engine *e, struct tracked *t)
{
    struct wire *w = e->wire;
    struct wire_port *p = t->wire_port;
    if (w != NULL && w->stack != NULL)
        wire_udp_finish(e, t);
    t->wire_port = NULL;
    if (w == NULL || p == NULL || --p->refs > 0)
        return;
    LIST_REMOVE(p, link);
    if (w->stack != NULL) {
        if (p->kind == ZS_KIND_UDP)
            w->ops->udp_close(w->stack, p->handle);
        else
            w->ops->unlisten(w->stack, p->handle);
    }
    free(p);
}
