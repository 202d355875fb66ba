/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What IPv4 and IPv6 have in common for the protocols above: addresses, received packets, routes, output, checksums. An
 * address is 16 bytes, v4-mapped for IPv4 as struct zs_addr has it, so that one key and one comparison serve both; which
 * protocol it is shows in the mapped prefix. Functions of one protocol alone have ip4_ or ip6_ in their names.
 *
 * The zone of a link-local IPv6 address (RFC 4007) is the number of its port, from 1, in the fourth byte, which is zero on
 * the wire: so two neighbours with one address on two links are different everywhere inside. */
#ifndef ZSTACK_NET_IP_H
#define ZSTACK_NET_IP_H

#include "stack.h"

/* A received packet, its headers checked. m's data begins after them and has exactly the payload. */
struct ip_pkt {
    struct net_port *port;
    struct rte_mbuf *m;
    struct ip_addr src, dst;
    uint8_t proto;
    bool fragment; /* IPv6: has a fragment header, even of a whole datagram */
    bool to_us;   /* unicast to one of our addresses; else broadcast or multicast */
    uint16_t len; /* payload bytes */
    union {       /* copy; the lengths cover the whole datagram after reassembly */
        struct rte_ipv4_hdr ip4;
        struct rte_ipv6_hdr ip6;
    };
    /* IPv6: the headers, to be quoted in errors: in the dead space before m's data, or ip6 after reassembly. */
    const uint8_t *head;
    uint16_t head_len;
};

/* Where a packet leaves, and to whom on that link. */
struct ip_route {
    struct net_port *port;
    struct ip_addr hop;
};

/* How a packet is to be sent; all zero is IP_PMTU_DONT. */
enum ip_pmtu { /* numbers of IP_PMTUDISC_*, ip(7) */
    IP_PMTU_DONT,  /* may be fragmented here and on its way */
    IP_PMTU_WANT,  /* DF when it fits the path, else fragmented here */
    IP_PMTU_DO,    /* DF; what does not fit the path is not sent */
    IP_PMTU_PROBE, /* DF; the path is not looked at */
};
struct ip_how {
    struct ip_route route; /* port NULL: looked up */
    uint8_t ttl;           /* or hop limit; 0: NET_IP_TTL */
    uint8_t tos;           /* or traffic class, both with the bits of ECN */
    uint8_t pmtu;          /* enum ip_pmtu */
};

/* That there is a better first hop to where a packet of ours went. */
struct ip_redirect {
    struct net_port *port;
    struct ip_addr from, hop; /* the gateway that says it, the better one */
    const struct rte_ether_addr *mac; /* of the better one; NULL: not told */
};

/* What an ICMP error, a redirect or the lack of a neighbour says about a packet of ours. */
struct ip_error {
    struct ip_addr local, remote;
    const uint8_t *l4; /* the first 8 bytes of its TCP or UDP header */
    int err;           /* errno value, as Linux tells it; 0: nothing to tell */
    uint32_t mtu;      /* with EMSGSIZE: what the path carries */
    bool fatal;        /* told to a connected datagram socket that did not ask for errors, too (Linux' icmp_err_convert) */
    uint8_t type, code; /* of the ICMP message, of the packet's protocol */
    uint32_t info;     /* MTU, pointer to the wrong byte, else 0 */
    struct ip_addr offender; /* who says so */
    const uint8_t *data; /* what is quoted behind the first 8 bytes of l4 */
    uint32_t data_len;
    const struct ip_redirect *redirect; /* no error: there is a better way to `remote` */
};

/* ---- Addresses ---- */

static inline struct ip_addr ip_from_v4(rte_be32_t a)
{
    return (struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), a}};
}
static inline bool ip_is_v4(const struct ip_addr *a)
{
    return (a->w[0] | a->w[1]) == 0 && a->w[2] == RTE_BE32(0xffff);
}
static inline rte_be32_t ip_to_v4(const struct ip_addr *a)
{
    return a->w[3];
}
static inline bool ip_eq(const struct ip_addr *a, const struct ip_addr *b)
{
    return ((a->w[3] ^ b->w[3]) | (a->w[2] ^ b->w[2]) | (a->w[1] ^ b->w[1]) | (a->w[0] ^ b->w[0])) == 0;
}
/* :: or 0.0.0.0 */
static inline bool ip_is_any(const struct ip_addr *a)
{
    return (a->w[0] | a->w[1] | a->w[3]) == 0 && (a->w[2] == 0 || a->w[2] == RTE_BE32(0xffff));
}
/* Any address of the other's protocol; for sockets that are bound to none. */
static inline bool ip_is_any_for(const struct ip_addr *bound, const struct ip_addr *a)
{
    return ip_is_any(bound) && ip_is_v4(bound) == ip_is_v4(a);
}
#define IP_TEXT 64
const char *ip_text(const struct ip_addr *a, char text[IP_TEXT]); /* as inet_ntop */

/* ---- Out ---- */

/* Of unicast addresses of others; our own are reached inside the host, not through this stack. */
bool ip_route(struct stack *st, const struct ip_addr *dst, struct ip_route *route);
/* Of broadcasts and groups, too; on that port if not NULL. */
bool ip_route_by(struct stack *st, const struct ip_addr *dst, struct net_port *port, struct ip_route *route);
bool ip_is_group(const struct ip_addr *a); /* a multicast address */
static inline bool ip6_is_link_local(const struct ip_addr *a)
{
    return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}
static inline bool ip6_is_multicast(const struct ip_addr *a)
{
    return a->b[0] == 0xff;
}
/* For tables by address: the highest bits are the best spread. */
static inline uint32_t ip_hash(const struct ip_addr *a)
{
    return (a->w[0] ^ a->w[1] * 31u ^ a->w[2] * 961u ^ rte_be_to_cpu_32(a->w[3])) * 0x9e3779b1u;
}
/* The address that packets to dst have when their sender leaves it open (RFC 6724, for one global address per port). */
struct ip_addr ip_source(const struct ip_route *route, const struct ip_addr *dst);
/* The port that has this address; NULL: none of ours. */
struct net_port *ip_our_port(struct stack *st, const struct ip_addr *addr);
/* The longest packet to dst that leaves in one piece. */
uint32_t ip_path_mtu(struct stack *st, const struct ip_route *route, const struct ip_addr *dst);
/* Bytes of the header before TCP or UDP. */
static inline uint32_t ip_header_len(const struct ip_addr *a)
{
    return ip_is_v4(a) ? sizeof(struct rte_ipv4_hdr) : sizeof(struct rte_ipv6_hdr);
}
/* Prepends the IP header to m, fragments if needed, resolves the next hop and sends. Takes the buffer. The payload's
 * checksum is complete, or is left to ip_l4_cksum(). */
void ip_output(struct stack *st, struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto);
void ip_output_how(struct stack *st, struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto,
                   const struct ip_how *how);
/* The longest packet that leaves in one piece when it is sent so. */
uint32_t ip_mtu_of(struct stack *st, const struct ip_how *how, const struct ip_addr *dst);
/* Frames that m leaves as: one, or as many as a port cuts it into. Of the headers before TCP's, those are in front of it whose
 * lengths it has. */
static inline uint32_t ip_frames(const struct rte_mbuf *m)
{
    if (!(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG))
        return 1;
    uint32_t payload = rte_pktmbuf_pkt_len(m) - m->l2_len - m->l3_len - m->l4_len;
    return (payload + m->tso_segsz - 1) / m->tso_segsz;
}
/* Bytes of the longest of them as an IP packet. m's data begins with the IP header, of hlen bytes. */
static inline uint32_t ip_longest(const struct rte_mbuf *m, uint32_t hlen)
{
    uint32_t len = rte_pktmbuf_pkt_len(m);
    return m->ol_flags & RTE_MBUF_F_TX_TCP_SEG ? RTE_MIN(len, hlen + m->l4_len + m->tso_segsz) : len;
}
/* A buffer with room for every header in front; NULL, counted, when there is none. */
struct rte_mbuf *ip_alloc(struct stack *st);
/* Ones' complement sum over pseudo header and len bytes at m's data; 0xffff when a received checksum is right. */
uint16_t ip_l4_sum(const struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto, uint16_t len);
/* What goes into a TCP or UDP header's checksum field (zero now): the whole sum, or the pseudo header's for a port that
 * does the rest, with the buffer marked so. */
/* For a TCP segment that the port cuts into pieces of mss bytes: says so in m, whose l4_len is set, and returns what its checksum
 * field has then. */
uint16_t ip_l4_large(struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst, uint32_t mss);
uint16_t ip_l4_cksum(struct stack *st, struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto);
/* With the route at hand; whole: the packet will not be fragmented. */
uint16_t ip_l4_cksum_on(const struct net_port *port, struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst,
                        uint8_t proto, bool whole);
/* Ethernet's header, and to the port. */
void eth_send(struct net_port *port, struct rte_mbuf *m, const struct rte_ether_addr *to, uint16_t type);

/* ---- In ---- */

/* Nobody is at the port that p is for: tells its sender. m's data begins with the UDP header. */
void ip_unreachable_port(struct stack *st, const struct ip_pkt *p);
/* To the protocol of a packet of ours, what happened to it. */
void ip_tell_error(struct stack *st, uint8_t proto, const struct ip_error *e);
/* A packet of ours that no neighbour took: its sender is told as by an ICMP host-unreachable (RFC 1122 2.3.2.2, 4861
 * 7.2.2). m's data begins with the IP header. The caller keeps it. */
void ip_no_neighbour(struct net_port *port, const struct rte_mbuf *m);
/* ICMP errors of both protocols share one limit. */
bool ip_may_send_error(struct stack *st);

/* ---- reass.c: both protocols' fragments, one bound ---- */
struct reass_key {
    struct ip_addr src, dst;
    uint32_t id;
    uint8_t proto; /* IPv4 only: RFC 791 has it in the key, RFC 8200 does not */
};
struct reass_frag {
    struct reass_key key;
    uint32_t offset;
    bool more;
    uint16_t head_len; /* of head[], of the header as it is to be quoted; IPv4 with options: without those */
    uint8_t head[sizeof(struct rte_ipv6_hdr) + 8];
    uint16_t before; /* bytes that count to a datagram's 64 KiB beside its payload */
};
struct reass_table *reass_create(void);
void reass_destroy(struct stack *st);
/* Takes a fragment. True: p->m and p->len are now the whole datagram's, and *first is the fragment at offset 0 as it was
 * described. False: kept or dropped. */
bool reass_input(struct stack *st, struct ip_pkt *p, const struct reass_frag *f, struct reass_frag *first);

/* ---- pmtu.c: path MTU discovery (RFC 1191, 8201) ---- */
struct pmtu_table *pmtu_create(void);
void pmtu_destroy(struct stack *st);
/* Somebody on the way says what the path carries; who calls has checked that it answers a packet of ours. Returns what is
 * believed from now on. */
uint32_t pmtu_learn(struct stack *st, const struct ip_addr *dst, uint32_t mtu);
/* As learned, UINT32_MAX: nothing. */
uint32_t pmtu_find(struct stack *st, const struct ip_addr *dst);

/* ---- redirect.c: first hops that are better than the gateway's for one destination (RFC 1122 3.2.2.2, 4861 8) ---- */
struct redirect_table *redirects_create(void);
void redirects_destroy(struct stack *st);
/* Changes the hop of a route by a gateway if that gateway has said so for dst. */
void redirect_apply(struct stack *st, const struct ip_addr *dst, struct ip_route *route);
/* Who calls has checked that it is about a packet of ours. Believed when it comes from the hop that packets to dst take now and
 * names a neighbour on that link whose hardware address is known; else counted. */
void redirect_learn(struct stack *st, const struct ip_addr *dst, const struct ip_redirect *r);
/* The hop to dst does not answer. */
void redirect_forget(struct stack *st, const struct ip_addr *dst);

#endif
