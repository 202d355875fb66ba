/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Routes of a host (RFC 1122 3.3.1): a bounded table, longest prefix first. Prefixes of the ports' addresses, gateways and
 * static routes stay; those that routers advertise (RFC 4861 6.3) have lifetimes. IPv4 prefixes have 96 added to their length,
 * as their addresses are mapped. */
#ifndef ZSTACK_NET_ROUTE_H
#define ZSTACK_NET_ROUTE_H

#include "ip.h"

#define NET_MAX_ROUTES 64u
#define ROUTE_FOREVER UINT64_MAX

struct route {
    struct ip_addr prefix;
    uint8_t len; /* bits of prefix, 0 to 128 */
    bool learned; /* from a router */
    struct net_port *port;
    struct ip_addr hop; /* any: the prefix is on the link */
    uint64_t until;     /* ns */
};

/* Adds a route, or changes the lifetime of one that is there. 0; -ENOBUFS: the table is full. */
int route_set(struct stack *st, const struct route *r);
/* Takes a learned route away; what is configured stays. */
void route_remove_learned(struct stack *st, const struct route *r);
void routes_expire(struct stack *st); /* those whose lifetime is over */
/* The best route to dst that is valid, on `port` alone if not NULL. NULL: none. */
const struct route *route_find(const struct stack *st, const struct ip_addr *dst, const struct net_port *port);
/* For everything that the configuration of a port says. */
void routes_of_port(struct net_port *port);
void routes_static(struct net_port *port);
/* True when the first `len` bits are the same. */
bool ip_prefix_matches(const struct ip_addr *prefix, unsigned len, const struct ip_addr *a);

#endif
