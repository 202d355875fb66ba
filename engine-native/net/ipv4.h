/* SPDX-License-Identifier: BSD-3-Clause
 * IPv4 and ICMP alone: see RFC 791, 1122. Addresses are in network order. */
#ifndef ZSTACK_NET_IPV4_H
#define ZSTACK_NET_IPV4_H

#include "ip.h"

void ip4_input(struct net_port *port, struct rte_mbuf *m);
/* `src` 0: the port's address. The route is known. */
void ip4_output(struct stack *st, struct rte_mbuf *m, rte_be32_t src, rte_be32_t dst, uint8_t proto, const struct ip_how *how);
struct net_port *ip4_our_port(struct stack *st, rte_be32_t addr);
bool ip4_is_multicast(rte_be32_t addr);
struct rte_ether_addr ip4_multicast_mac(rte_be32_t group); /* RFC 1112 6.4 */
bool ip4_is_broadcast(const struct net_port *port, rte_be32_t addr);

/* ---- icmp.c ---- */
#define ICMP_DEST_UNREACHABLE 3
#define ICMP_UNREACH_HOST 1
#define ICMP_UNREACH_PROTOCOL 2
#define ICMP_UNREACH_PORT 3
#define ICMP_UNREACH_FRAG_NEEDED 4
#define ICMP_REDIRECT 5
#define ICMP_REDIRECT_TOS_HOST 3 /* the last of its codes */
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER 12
#define ICMP_EXCEEDED_REASSEMBLY 1
void icmp_input(struct stack *st, struct ip_pkt *p);
void icmp_no_neighbour(struct stack *st, const struct rte_mbuf *m);
/* Sends an error about a packet whose header and first payload bytes are given (RFC 792, 1122 3.2.2), unless the rules
 * or the rate limit forbid it. */
void icmp_error(struct stack *st, uint8_t type, uint8_t code, const struct rte_ipv4_hdr *ip, const void *payload,
                uint16_t payload_len);

#endif
