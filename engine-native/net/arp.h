/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ARP (RFC 826): its packets. The cache is neigh.c's, conflicts are acd.c's. */
#ifndef ZSTACK_NET_ARP_H
#define ZSTACK_NET_ARP_H

#include "neigh.h"

void arp_input(struct net_port *port, struct rte_mbuf *m);
/* Who has addr? `to`: the only one asked, NULL: all. */
void arp_ask(struct net_port *port, rte_be32_t addr, const struct rte_ether_addr *to);
/* Asks all who has the port's address, from no address (RFC 5227 2.1.1): whoever answers is in conflict with us. */
void arp_probe(struct net_port *port);
/* Tells all that the port's address is ours (RFC 5227 2.3). */
void arp_announce(struct net_port *port);

#endif
