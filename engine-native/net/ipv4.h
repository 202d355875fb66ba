/* SPDX-License-Identifier: BSD-3-Clause
 * IPv4 and what stands directly on it: see RFC 791, 1122. */
#ifndef ZSTACK_NET_IPV4_H
#define ZSTACK_NET_IPV4_H

#include "stack.h"

/* A received packet, its header checked. m's data begins after the IPv4 header and has exactly the payload. */
struct ip_pkt {
    struct net_port *port;
    struct rte_mbuf *m;
    struct rte_ipv4_hdr ip; /* copy; total_length covers the whole datagram after reassembly */
    uint16_t len;           /* payload bytes */
    bool to_us;             /* unicast to one of our addresses; else broadcast */
};

/* Where a packet leaves, and to whom on that link. */
struct ip_route {
    struct net_port *port;
    rte_be32_t next_hop;
};

void ip_input(struct net_port *port, struct rte_mbuf *m);
/* Dispatches a whole datagram to its protocol. Takes the buffer. */
void ip_deliver(struct stack *st, struct ip_pkt *p);
bool ip_route(struct stack *st, rte_be32_t dst, struct ip_route *route);
/* Prepends the IPv4 header to m, fragments if needed, resolves the next hop and sends. Takes the buffer. The payload's
 * checksum is complete, or is left to ip_l4_cksum(). `src` 0: the port's address. */
void ip_output(struct stack *st, struct rte_mbuf *m, rte_be32_t src, rte_be32_t dst, uint8_t proto);
/* A buffer with room for every header in front; NULL, counted, when there is none. */
struct rte_mbuf *ip_alloc(struct stack *st);
/* Ones' complement sum over pseudo header and len bytes at m's data; 0xffff when a received checksum is right. */
uint16_t ip_l4_sum(const struct rte_mbuf *m, rte_be32_t src, rte_be32_t dst, uint8_t proto, uint16_t len);
/* What goes into a TCP or UDP header's checksum field (zero now): the whole sum, or the pseudo header's for a port that
 * does the rest, with the buffer marked so. */
uint16_t ip_l4_cksum(struct stack *st, struct rte_mbuf *m, rte_be32_t src, rte_be32_t dst, uint8_t proto);
struct net_port *ip_our_port(struct stack *st, rte_be32_t addr);
bool ip_is_multicast(rte_be32_t addr);
bool ip_is_broadcast(const struct net_port *port, rte_be32_t addr);

/* ---- reass.c ---- */
struct reass_table *reass_create(void);
void reass_destroy(struct stack *st);
/* Takes a fragment. True: p is now the whole datagram. False: kept or dropped. */
bool reass_input(struct stack *st, struct ip_pkt *p, const uint8_t *header, uint16_t header_len);

/* ---- icmp.c ---- */
#define ICMP_DEST_UNREACHABLE 3
#define ICMP_UNREACH_HOST 1
#define ICMP_UNREACH_PROTOCOL 2
#define ICMP_UNREACH_PORT 3
#define ICMP_UNREACH_FRAG_NEEDED 4
#define ICMP_TIME_EXCEEDED 11
#define ICMP_EXCEEDED_REASSEMBLY 1
void icmp_input(struct stack *st, struct ip_pkt *p);
/* A packet of ours that no neighbour took: its sender is told as by an ICMP host-unreachable (RFC 1122 2.3.2.2). m's data
 * begins with the IPv4 header. The caller keeps it. */
void icmp_no_neighbour(struct stack *st, const struct rte_mbuf *m);
/* Sends an error about a packet whose header and first payload bytes are given (RFC 792, 1122 3.2.2), unless the rules
 * or the rate limit forbid it. */
void icmp_error(struct stack *st, uint8_t type, uint8_t code, const struct rte_ipv4_hdr *ip, const void *payload,
                uint16_t payload_len);

#endif
