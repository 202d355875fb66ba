/* SPDX-License-Identifier: BSD-3-Clause
 * One stack with IPv6, whose peer is the test. */
#ifndef ZSTACK_TEST_NET_ONE6_H
#define ZSTACK_TEST_NET_ONE6_H

#include "net_one.h"

#define ANY6 ((struct ip_addr){.w = {0}})

extern int conflicts; /* told */

int begin(void **state); /* for cmocka: a new stack, before it has found its addresses unique */
void meet_peer_again(void); /* after a time in which nobody answered for it */
int state_of(int host);     /* of a neighbour, -1 unknown */

#endif
