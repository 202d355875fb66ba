/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ARP (RFC 826), and address announcement, conflict detection and defence (RFC 5227). The cache is neigh.c's. */
#ifndef ZSTACK_NET_ARP_H
#define ZSTACK_NET_ARP_H

#include "neigh.h"

#define ARP_ANNOUNCE_NUM 2u                           /* RFC 5227 1.1 */
#define ARP_ANNOUNCE_INTERVAL_NS (2 * NET_NS_PER_S)
#define ARP_DEFEND_INTERVAL_NS (10 * NET_NS_PER_S)

void arp_input(struct net_port *port, struct rte_mbuf *m);
/* Who has addr? `to`: the only one asked, NULL: all. */
void arp_ask(struct net_port *port, rte_be32_t addr, const struct rte_ether_addr *to);
/* Announces the port's address, now and once more later. */
void arp_announce(struct net_port *port);
/* Asks who has the port's address (RFC 5227 2.1.1): whoever answers is in conflict with us. Nobody waits for that: the address
 * is used at once, as RFC 4429 does for IPv6. */
void arp_probe(struct net_port *port);

#endif
