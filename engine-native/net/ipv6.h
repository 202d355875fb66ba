/* SPDX-License-Identifier: BSD-3-Clause
 * IPv6 alone (RFC 8200), ICMPv6 (4443), neighbour discovery (4861, 4862, 4429) and multicast listener reports (3810). */
#ifndef ZSTACK_NET_IPV6_H
#define ZSTACK_NET_IPV6_H

#include "ip.h"

/* ---- Addresses ---- */

/* Takes the zone off an address and returns it; 0: it had none. */
static inline unsigned ip6_unzone(struct ip_addr *a)
{
    unsigned zone = ip6_is_link_local(a) ? a->b[3] : 0;
    if (zone != 0)
        a->b[3] = 0;
    return zone;
}
static inline void ip6_zone(struct ip_addr *a, unsigned zone)
{
    if (ip6_is_link_local(a))
        a->b[3] = (uint8_t)zone;
}
/* As on the wire, and from there. */
static inline void ip6_put(const struct ip_addr *a, uint8_t wire[16])
{
    struct ip_addr copy = *a;
    ip6_unzone(&copy);
    memcpy(wire, copy.b, 16);
}
static inline struct ip_addr ip6_get(const struct net_port *port, const uint8_t wire[16])
{
    struct ip_addr a;
    memcpy(a.b, wire, 16);
    ip6_zone(&a, port->number);
    return a;
}
extern const struct ip_addr ip6_all_nodes;

/* ---- ipv6.c ---- */
void ip6_port_addresses(struct net_port *port); /* and their groups */
void ip6_input(struct net_port *port, struct rte_mbuf *m);
struct rte_ether_addr ip6_multicast_mac(const struct ip_addr *group); /* RFC 2464 7 */
/* A multicast address of Ethernet for a group that the port is in (RFC 2464 7). */
bool ip6_eth_multicast_ours(const struct net_port *port, const struct rte_ether_addr *mac);
struct ip_addr ip6_source(const struct net_port *port, const struct ip_addr *dst);
struct net_port *ip6_our_port(struct stack *st, const struct ip_addr *addr);
bool ip6_on_link(const struct net_port *port, const struct ip_addr *addr);
void ip6_output(struct stack *st, struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto,
                const struct ip_how *how);
/* Sends to a neighbour or group on one link, in one piece. `mac` NULL: the group's, or resolved. */
void ip6_send(struct net_port *port, struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto,
              uint8_t hops, const struct rte_ether_addr *mac);

/* ---- icmp6.c ---- */
#define ICMP6_UNREACHABLE 1
#define ICMP6_UNREACH_ADDRESS 3
#define ICMP6_UNREACH_PORT 4
#define ICMP6_TOO_BIG 2
#define ICMP6_EXCEEDED 3
#define ICMP6_EXCEEDED_REASSEMBLY 1
#define ICMP6_PARAMETER 4
#define ICMP6_PARAM_FIELD 0
#define ICMP6_PARAM_NEXT_HEADER 1
#define ICMP6_PARAM_OPTION 2
#define ICMP6_PARAM_CHAIN 3 /* RFC 7112 */
#define ICMP6_ECHO_REQUEST 128
#define ICMP6_ECHO_REPLY 129
#define ICMP6_MLD_QUERY 130
#define ICMP6_MLD1_REPORT 131
#define ICMP6_ROUTER_SOLICITATION 133
#define ICMP6_ROUTER_ADVERTISEMENT 134
#define ICMP6_SOLICITATION 135
#define ICMP6_ADVERTISEMENT 136
#define ICMP6_REDIRECT 137
#define ICMP6_MLD2_REPORT 143

struct icmp6_hdr {
    uint8_t type, code;
    rte_be16_t cksum;
    rte_be32_t rest; /* by type */
} __attribute__((packed, aligned(2))); /* behind an Ethernet header nothing is aligned better */
void icmp6_input(struct stack *st, struct ip_pkt *p);
/* An error about p, unless the rules or the rate limit forbid it (RFC 4443 2.4 (e), (f)). */
void icmp6_error(struct stack *st, const struct ip_pkt *p, uint8_t type, uint8_t code, uint32_t rest);
/* `ip` and what follows, `have` bytes, is a packet that we sent, or so it is said: to the protocol that sent it. */
void icmp6_tell(const struct net_port *port, const struct rte_ipv6_hdr *ip, uint32_t have, struct ip_error *e);
void icmp6_reassembly_timeout(struct stack *st, struct rte_mbuf *first, const struct reass_frag *head);
void icmp6_no_neighbour(struct net_port *port, const struct rte_mbuf *m);
/* Completes the checksum and sends a message whose data m is. */
void icmp6_send(struct net_port *port, struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst, uint8_t hops,
                const struct rte_ether_addr *mac);

/* ---- nd.c ---- */
#define ND_OPT_SOURCE 1 /* hardware address of the sender */
#define ND_OPT_TARGET 2 /* of the target */
struct ip_addr nd_solicited_node(const struct ip_addr *a);
void nd_input(struct stack *st, struct ip_pkt *p);
/* Who has addr? `to`: the only one asked, NULL: the solicited-node group. */
void nd_ask(struct net_port *port, const struct ip_addr *addr, const struct rte_ether_addr *to);
/* Who else has our address? From no address. */
void nd_probe(struct net_port *port, const struct ip_addr *addr, uint64_t nonce);
/* To all nodes: ours is here. */
void nd_advertise(struct net_port *port, const struct ip_addr *addr);
/* No router and no fragment (RFC 4861 7.1, 6980 5) has brought it, and all of it is in the first buffer. */
bool nd_from_link(const struct ip_pkt *p);
/* Reads options (RFC 4861 4.6): the hardware address of that type, a nonce. False: malformed. */
bool nd_options(const uint8_t *o, uint32_t len, uint8_t type, struct rte_ether_addr *mac, bool *has_mac, uint64_t *nonce);

/* ---- dad.c ---- */
#define DAD_WAIT_NS NET_NS_PER_S         /* RFC 4862 5.1, 4861 10: RetransTimer, one solicitation */
#define DAD_RETRY_NS (60 * NET_NS_PER_S) /* as RFC 5227's RATE_LIMIT_INTERVAL */
void dad_prepare(struct net_port *port); /* from here on addresses are unsure */
void dad_start(struct net_port *port);
void dad_new_address(struct net_port *port); /* conf.addr6 has changed */
void dad_forget_address(struct net_port *port); /* conf.addr6 is the link-local address again */
/* In use, but not yet known to be ours alone: an optimistic address. */
bool dad_is_unsure(const struct net_port *port, const struct ip_addr *addr);
/* Another host says that an address of ours is his. */
void dad_claimed(struct net_port *port, const struct ip_addr *addr, const struct rte_ether_addr *mac);
/* Somebody is about to take an address of ours. True: he is to be told; else it was we, and the question has come back. */
bool dad_asked(struct net_port *port, const struct ip_addr *addr, const struct rte_ether_addr *mac, uint64_t nonce);

/* ---- redirect.c ---- */
void redirect6_input(struct stack *st, struct ip_pkt *p);

/* ---- ra.c ---- */
void ra_start(struct net_port *port);
void ra_input(struct stack *st, struct ip_pkt *p);

/* ---- mld.c ---- */
void mld_start(struct net_port *port);
void mld_query(struct stack *st, struct ip_pkt *p);
void mld_heard(struct stack *st, struct ip_pkt *p); /* another host's report of version 1 */

#endif
