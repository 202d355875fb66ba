/* SPDX-License-Identifier: BSD-3-Clause
 * The table of routes: see route.h. */
#include "route.h"

#include <errno.h>

#include "ipv6.h"

bool ip_prefix_matches(const struct ip_addr *prefix, unsigned len, const struct ip_addr *a)
{
    unsigned bytes = len / 8;
    uint8_t mask = (uint8_t)(0xff00u >> len % 8);
    return memcmp(a->b, prefix->b, bytes) == 0 && (mask == 0 || ((a->b[bytes] ^ prefix->b[bytes]) & mask) == 0);
}

static bool same(const struct route *a, const struct route *b)
{
    return a->port == b->port && a->len == b->len && ip_prefix_matches(&a->prefix, a->len, &b->prefix) && ip_eq(&a->hop, &b->hop);
}

/* A place is free when its lifetime is over. */
void routes_expire(struct stack *st)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < st->nroutes; i++)
        if (st->routes[i].until > st->now)
            st->routes[kept++] = st->routes[i];
    st->routes_changed += kept != st->nroutes;
    st->nroutes = kept;
}

int route_set(struct stack *st, const struct route *r)
{
    routes_expire(st);
    for (uint32_t i = 0; i < st->nroutes; i++)
        if (same(&st->routes[i], r)) {
            st->routes[i].until = st->routes[i].learned ? r->until : ROUTE_FOREVER; /* what is configured stays */
            return 0;
        }
    if (st->nroutes == NET_MAX_ROUTES) {
        NET_COUNT(st, ROUTE_TABLE_FULL);
        return -ENOBUFS;
    }
    /* Behind those of the same length: what is configured comes before what is advertised, the first port before others. */
    uint32_t at = st->nroutes++;
    for (; at > 0 && st->routes[at - 1].len < r->len; at--)
        st->routes[at] = st->routes[at - 1];
    st->routes[at] = *r;
    st->routes_changed++;
    return 0;
}

void route_remove_learned(struct stack *st, const struct route *r)
{
    for (uint32_t i = 0; i < st->nroutes; i++)
        if (st->routes[i].learned && same(&st->routes[i], r)) {
            st->nroutes--;
            memmove(&st->routes[i], &st->routes[i + 1], (st->nroutes - i) * sizeof st->routes[0]);
            st->routes_changed++;
            return;
        }
}

const struct route *route_find(const struct stack *st, const struct ip_addr *dst, const struct net_port *port)
{
    bool v4 = ip_is_v4(dst), link_local = !v4 && ip6_is_link_local(dst);
    for (uint32_t i = 0; i < st->nroutes; i++) {
        const struct route *r = &st->routes[i];
        /* A link-local address is on its own link alone (RFC 4007); ::/0 has the mapped addresses in it, but does not mean them. */
        if ((port != NULL && r->port != port) || ip_is_v4(&r->prefix) != v4 || r->until <= st->now || (link_local && r->len < 64))
            continue;
        if (ip_prefix_matches(&r->prefix, r->len, dst))
            return r;
    }
    return NULL;
}

void routes_of_port(struct net_port *port)
{
    const struct net_port_conf *c = &port->conf;
    struct stack *st = port->stack;
    struct route r = {.port = port, .until = ROUTE_FOREVER};
    if (c->addr != 0) {
        r.prefix = ip_from_v4(c->addr);
        r.len = (uint8_t)(96 + c->prefix_len);
        route_set(st, &r);
    }
    if (c->addr != 0 && c->gateway != 0) {
        r = (struct route){.port = port, .until = ROUTE_FOREVER, .prefix = ip_from_v4(0), .len = 96, .hop = ip_from_v4(c->gateway)};
        route_set(st, &r);
    }
    if (!c->has6)
        return;
    r = (struct route){.port = port, .until = ROUTE_FOREVER, .prefix = port->link_local, .len = 64};
    route_set(st, &r);
    r.prefix = c->addr6;
    r.len = c->prefix6_len;
    if (!ip_is_any(&c->addr6) && !ip6_is_link_local(&c->addr6))
        route_set(st, &r);
    r = (struct route){.port = port, .until = ROUTE_FOREVER, .hop = c->gateway6};
    if (!ip_is_any(&c->gateway6))
        route_set(st, &r);
}

void routes_static(struct net_port *port)
{
    for (uint32_t i = 0; i < port->conf.nroutes; i++) {
        const struct net_route *n = &port->conf.route[i];
        struct route r = {.prefix = n->prefix, .len = n->len, .port = port, .hop = n->hop, .until = ROUTE_FOREVER};
        if (!ip_is_v4(&r.hop) || !ip_is_any(&r.hop))
            ip6_zone(&r.hop, port->number);
        route_set(port->stack, &r);
    }
}
