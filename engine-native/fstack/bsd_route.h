/* SPDX-License-Identifier: BSD-3-Clause
 *
 * FreeBSD's routing messages (route(4) there), as ff_rtioctl() takes them and as the sysctls of its routing tables give them. */
#ifndef ZSTACK_FSTACK_BSD_ROUTE_H
#define ZSTACK_FSTACK_BSD_ROUTE_H

#include "fstack.h"

/* Adds a route of a port. False, errno: libfstack refuses it. */
bool fs_route_add(const struct fs_device *d, const struct net_route *r);
/* FreeBSD forgets a neighbour of IPv4, and drops what waits for its address. */
void fs_neighbour_forget(const struct fs_device *d, rte_be32_t addr);

/* What a walk over a table tells of each entry. Addresses of IPv4 are mapped, lengths count all 16 bytes. */
struct fs_route_entry {
    int ifindex; /* libfstack's */
    bool host, own; /* a neighbour; an address of ours */
    struct ip_addr addr, hop; /* hop: a route's gateway, any: on the link */
    uint8_t prefix_len; /* 128 for a neighbour */
    bool resolved;      /* a neighbour: its link address is known */
};
typedef void fs_route_fn(void *arg, const struct fs_route_entry *e);

enum fs_table { FS_NEIGHBOURS4, FS_NEIGHBOURS6, FS_ROUTES6, FS_ADDRESSES6 };
/* False: there is no memory for it, or FreeBSD does not tell. */
bool fs_route_walk(enum fs_table which, fs_route_fn *each, void *arg);

#endif
