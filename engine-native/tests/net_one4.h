/* SPDX-License-Identifier: BSD-3-Clause
 * One stack with IPv4, whose peer is the test. */
#ifndef ZSTACK_TEST_NET_ONE4_H
#define ZSTACK_TEST_NET_ONE4_H

#include "net_one.h"

void arp(uint16_t op, struct rte_ether_addr sha, rte_be32_t sip, rte_be32_t tip);

#endif
