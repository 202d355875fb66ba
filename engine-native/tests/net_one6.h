/* SPDX-License-Identifier: BSD-3-Clause
 * One stack with IPv6, whose peer is the test. */
#ifndef ZSTACK_TEST_NET_ONE6_H
#define ZSTACK_TEST_NET_ONE6_H

#include "net_one.h"

#define ANY6 ((struct ip_addr){.w = {0}})

#define ND_SOLICITED (1u << 30)
#define ND_OVERRIDE (1u << 29)

extern int conflicts; /* told */
extern struct rte_ether_addr conflict_mac; /* the last one's */

int begin(void **state); /* for cmocka: a new stack, before it has found its addresses unique */
void meet_peer_again(void); /* after a time in which nobody answered for it */
/* A solicitation or advertisement of `target` with host mac's hardware address, -1: none. */
void nd(uint8_t type, uint32_t flags, const struct ip_addr *src, const struct ip_addr *dst, const struct ip_addr *target, int mac,
        uint8_t hops);
int state_of(int host);     /* of a neighbour, -1 unknown */

#endif
