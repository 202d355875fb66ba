/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The neighbours on the links: hardware addresses by IP address, for ARP (RFC 826, 1122 2.3.2) and neighbour discovery (RFC
 * 4861 7.2, 7.3) alike. Here are the states, their times, the packets that wait and the bounds; arp.c and nd.c send and read
 * the packets. Each protocol has its share of the table, so that neighbours of one cannot crowd out the other's. */
#ifndef ZSTACK_NET_NEIGH_H
#define ZSTACK_NET_NEIGH_H

#include "ip.h"

#define NEIGH_PENDING_MAX 4u                       /* packets that wait for one neighbour; RFC 1122 2.3.2.2: at least one */
#define NEIGH_ARP_REACHABLE_NS (60 * NET_NS_PER_S) /* RFC 1122 2.3.2.1: of the order of a minute */
#define NEIGH_ND_REACHABLE_NS (30 * NET_NS_PER_S)  /* RFC 4861 10, times 0.5 to 1.5 */
#define NEIGH_ND_DELAY_NS (5 * NET_NS_PER_S)       /* RFC 4861 10 */
#define NEIGH_STALE_NS (600 * NET_NS_PER_S)        /* an entry that nobody uses is forgotten */
#define NEIGH_EVICT_NS (5 * NET_NS_PER_S)          /* STALE for so long, it gives way when the table is full */
#define NEIGH_RETRY_NS NET_NS_PER_S                /* at most one request per second and neighbour */
#define NEIGH_RETRIES 3u

#define NEIGH_STATES(X)                                                      \
    X(INCOMPLETE, "INCOMPLETE") /* asked, no answer yet; packets wait */     \
    X(REACHABLE, "REACHABLE")   /* confirmed lately */                       \
    X(STALE, "STALE")           /* usable; the next use asks again */        \
    X(DELAY, "DELAY")           /* usable; asks in a moment (IPv6) */        \
    X(PROBE, "PROBE")           /* usable; asked by unicast */
enum neigh_state {
#define X(id, name) NEIGH_##id,
    NEIGH_STATES(X)
#undef X
};

struct neigh {
    struct wheel_timer timer; /* retry, or end of the state; first, see entry_due() */
    LIST_ENTRY(neigh) link;
    struct net_port *port;
    struct ip_addr addr;
    struct rte_ether_addr mac; /* valid but in INCOMPLETE */
    uint8_t state;             /* enum neigh_state */
    uint8_t tries;
    uint8_t pending; /* packets in queue[], oldest first */
    struct rte_mbuf *queue[NEIGH_PENDING_MAX];
};

struct neigh_table *neigh_create(uint32_t max); /* of each protocol */
void neigh_destroy(struct stack *st);
struct neigh *neigh_find(struct stack *st, const struct net_port *port, const struct ip_addr *addr);
/* One that was heard of just now: known, or new, in INCOMPLETE and without a timer: what comes next gives it a state. NULL, counted:
 * the table is full. */
struct neigh *neigh_met(struct net_port *port, const struct ip_addr *addr);
/* Answered for just now. */
void neigh_confirmed(struct stack *st, struct neigh *e, const struct rte_ether_addr *mac);
/* Heard of, which shows that it can be heard, not that it hears. */
void neigh_heard(struct stack *st, struct neigh *e, const struct rte_ether_addr *mac);
/* Packets to addr would leave at once; else it is asked for now. `mac`: what was just said of it, NULL: nothing. */
bool neigh_known(struct net_port *port, const struct ip_addr *addr, const struct rte_ether_addr *mac);
/* Prepends the Ethernet header to an IP packet and sends it to `hop` on that port, now or once it is resolved. Takes
 * the buffer. */
void neigh_send(struct net_port *port, struct rte_mbuf *m, const struct ip_addr *hop);
/* Others may be there now: what was known of the port's neighbours is forgotten, those that packets wait for are asked for anew. */
void neigh_link_up(const struct net_port *port);
/* State of a neighbour, or -1 when it is unknown. */
int neigh_state(struct stack *st, const struct net_port *port, const struct ip_addr *addr);

#endif
