/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ARP (RFC 826) with the cache rules of RFC 1122 2.3.2, and address announcement, conflict detection and defence
 * (RFC 5227). Neighbour states as in RFC 4861 7.3.2, where they have names. */
#ifndef ZSTACK_NET_ARP_H
#define ZSTACK_NET_ARP_H

#include "stack.h"

#define ARP_PENDING_MAX 4u                            /* packets that wait for one neighbour; RFC 1122 2.3.2.2: at least one */
#define ARP_REACHABLE_NS (60 * NET_NS_PER_S)          /* RFC 1122 2.3.2.1: of the order of a minute */
#define ARP_STALE_NS (600 * NET_NS_PER_S)             /* an entry that nobody uses is forgotten */
#define ARP_RETRY_NS NET_NS_PER_S                     /* at most one request per second and neighbour */
#define ARP_RETRIES 3u
#define ARP_ANNOUNCE_NUM 2u                           /* RFC 5227 1.1 */
#define ARP_ANNOUNCE_INTERVAL_NS (2 * NET_NS_PER_S)
#define ARP_DEFEND_INTERVAL_NS (10 * NET_NS_PER_S)

#define ARP_STATES(X)                                                      \
    X(INCOMPLETE, "INCOMPLETE") /* asked, no answer yet; packets wait */   \
    X(REACHABLE, "REACHABLE")   /* confirmed lately */                     \
    X(STALE, "STALE")           /* usable; the next use asks again */      \
    X(PROBE, "PROBE")           /* usable; asked by unicast */
enum arp_state {
#define X(id, name) ARP_##id,
    ARP_STATES(X)
#undef X
};

struct arp_table *arp_create(uint32_t max);
void arp_destroy(struct stack *st);
void arp_input(struct net_port *port, struct rte_mbuf *m);
/* Prepends the Ethernet header to an IPv4 packet and sends it to `hop` on that port, now or once it is resolved. Takes
 * the buffer. */
void arp_send(struct net_port *port, struct rte_mbuf *m, rte_be32_t hop);
/* Announces the port's address, now and once more later. */
void arp_announce(struct net_port *port);
/* Asks who has the port's address (RFC 5227 2.1.1): whoever answers is in conflict with us. Nobody waits for that: the address
 * is used at once, as RFC 4429 does for IPv6. */
void arp_probe(struct net_port *port);
/* State of a neighbour, or -1 when it is unknown. */
int arp_state(struct stack *st, const struct net_port *port, rte_be32_t addr);

#endif
