/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Multicast groups of a port, of both protocols alike: who of this host wants what of them, the state of the interface that
 * follows (RFC 3376 3.2, 3810 4.2), and when it is reported. igmp.c and mld.c write and read the messages. */
#ifndef ZSTACK_NET_GROUP_H
#define ZSTACK_NET_GROUP_H

#include "ip.h"

#define NET_GROUPS_MAX 256u       /* of a port */
#define NET_GROUP_SOURCES_MAX 64u /* of a group, all members together */
#define GROUP_MEMBER_SOURCES_MAX 10u
#define GROUP_ROBUSTNESS 2u       /* RFC 3376 8.1, 3810 9.1: a change is reported so many times */
#define GROUP_AGAIN_NS NET_NS_PER_S /* 8.11, 9.11: unsolicited report interval */
#define GROUP_ANSWERS_APART_NS (100 * NET_NS_PER_MS) /* however often routers ask */
#define GROUP_OLD_QUERIER_NS (260 * NET_NS_PER_S)    /* 8.12, 9.12: 2 * 125 s + 10 s */

/* Record types of both protocols' reports (RFC 3376 4.2.12, 3810 5.2.12). */
enum group_record_type { GROUP_IS_INCLUDE = 1, GROUP_IS_EXCLUDE, GROUP_TO_INCLUDE, GROUP_TO_EXCLUDE };

struct group_member {
    LIST_ENTRY(group_member) link;
    const void *who;
    bool exclude;
    uint32_t nsources;
    struct ip_addr source[GROUP_MEMBER_SOURCES_MAX];
};

struct group {
    struct wheel_timer timer; /* of the earlier of the two below */
    uint64_t answer_at, change_at; /* UINT64_MAX: no need */
    uint64_t quiet_until;     /* no answer before */
    uint32_t changes_left;    /* reports of the last change still to send */
    LIST_ENTRY(group) link;
    struct net_port *port;
    struct ip_addr addr;
    LIST_HEAD(, group_member) members; /* none: it is only there for its last reports */
    bool exclude;             /* of the interface: all sources but these, or these */
    uint32_t nsources;
    struct ip_addr source[NET_GROUP_SOURCES_MAX];
};

/* What `who` wants of a group on a port from now on; include of no source: nothing. 0; -ENOBUFS: NET_GROUPS_MAX or no memory;
 * -EINVAL: not a group, or too many sources. */
int group_set(struct net_port *port, const struct ip_addr *group, const void *who, bool exclude, const struct ip_addr *source, uint32_t n,
              uint64_t now);
void groups_destroy(struct net_port *port);
/* Is the port in the group, as far as that source goes? */
bool group_accepts(const struct net_port *port, const struct ip_addr *group, const struct ip_addr *source);
/* A multicast address of Ethernet for a group that the port is in (RFC 1112 6.4, 2464 7). */
bool group_eth_ours(const struct net_port *port, const struct rte_ether_addr *mac);
/* A router asks about one group, or all (NULL) of a protocol: answered within `delay`, ns. */
void group_query(struct net_port *port, bool v6, const struct ip_addr *group, uint64_t delay);
/* Another host reported it, and the old protocol has one report suffice. */
void group_heard(struct net_port *port, const struct ip_addr *group);
/* What is wanted is reported as if it was new. */
void groups_link_up(struct net_port *port);
uint32_t group_count(const struct net_port *port);

/* ---- igmp.c (RFC 3376, 2236) ---- */
void igmp_input(struct stack *st, struct ip_pkt *p);
/* `g` NULL: the present state of all groups. */
void igmp_report(struct net_port *port, const struct group *g, enum group_record_type type);

/* ---- mld.c (RFC 3810, 2710) ---- */
void mld_report(struct net_port *port, const struct group *g, enum group_record_type type);

#endif
