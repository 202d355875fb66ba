/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Conflicts of our IPv4 addresses (RFC 5227): three probes, then two announcements, then defence. A start takes no seconds: the
 * address is used from the first probe on, as RFC 4429 does it for IPv6 (dad.c), and the first probe leaves at once (a departure
 * from PROBE_WAIT). What another host says of it is told, at most once a minute.
 *
 * Who says so before we have announced had it first: nothing is announced then and nothing defended; we ask again after
 * a minute, and again, until nobody says so. Afterwards the address is ours and is defended as 2.4 (c) says, for ever: it was
 * configured, and there is no other to take. Connections are not ended by it. */
#ifndef ZSTACK_NET_ACD_H
#define ZSTACK_NET_ACD_H

#include <rte_arp.h>

#include "stack.h"

/* RFC 5227 1.1 */
#define ACD_PROBE_NUM 3u
#define ACD_PROBE_MIN_NS NET_NS_PER_S
#define ACD_PROBE_MAX_NS (2 * NET_NS_PER_S)
#define ACD_ANNOUNCE_WAIT_NS (2 * NET_NS_PER_S)
#define ACD_ANNOUNCE_NUM 2u
#define ACD_ANNOUNCE_INTERVAL_NS (2 * NET_NS_PER_S)
#define ACD_RATE_LIMIT_INTERVAL_NS (60 * NET_NS_PER_S)
#define ACD_DEFEND_INTERVAL_NS (10 * NET_NS_PER_S)

#define ACD_STATES(X)                                                         \
    X(NONE, "NONE")             /* nothing was asked yet */                   \
    X(PROBING, "PROBING")       /* used, not yet known to be nobody else's */ \
    X(CONTESTED, "CONTESTED")   /* used, but another host had it before us */ \
    X(ANNOUNCING, "ANNOUNCING") /* ours, others are being told */             \
    X(OURS, "OURS")
enum acd_state {
#define X(id, name) ACD_##id,
    ACD_STATES(X)
#undef X
};

/* With conf.probe the port's address is probed, else announced at once. */
void acd_start(struct net_port *port);
/* Of every ARP packet that another station sent or that came back: true when nothing is left to do with it: it claims the port's address, or is our own. */
bool acd_heard(struct net_port *port, uint16_t op, const struct rte_arp_ipv4 *data);
/* Another station says that an address of the port is his: told, unless that was done less than a minute ago. */
void acd_tell(struct net_port *port, const struct ip_addr *addr, const struct rte_ether_addr *mac, uint64_t *told);

#endif
