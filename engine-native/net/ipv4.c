/* SPDX-License-Identifier: BSD-3-Clause
 * IPv4 in and out (RFC 791, 1122 section 3). The stack is a host: it does not forward. */
#include "ipv4.h"

#include <netinet/in.h>
#include <rte_ip_frag.h>

#include "group.h"
#include "neigh.h"
#include "tcp.h"
#include "udp.h"

#define IPOPT_LSRR 131
#define IPOPT_SSRR 137

bool ip4_is_multicast(rte_be32_t addr)
{
    return (rte_be_to_cpu_32(addr) >> 28) == 14;
}

struct rte_ether_addr ip4_multicast_mac(rte_be32_t group)
{
    const uint8_t *g = (const uint8_t *)&group;
    return (struct rte_ether_addr){{0x01, 0x00, 0x5e, g[1] & 0x7f, g[2], g[3]}};
}

bool ip4_is_broadcast(const struct net_port *port, rte_be32_t addr)
{
    /* RFC 3021: a /31 has no broadcast address. */
    return addr == UINT32_MAX || (port->conf.prefix_len < 31 && addr == (port->conf.addr | ~port->mask));
}

struct net_port *ip4_our_port(struct stack *st, rte_be32_t addr)
{
    for (uint32_t i = 0; i < st->ports; i++)
        if (st->port[i]->conf.addr == addr && addr != 0)
            return st->port[i];
    return NULL;
}

/* ---- Out ---- */

static void finish_header(struct net_port *port, struct rte_mbuf *m)
{
    struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
    m->l3_len = sizeof *ip;
    ip->hdr_checksum = 0;
    if (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG)
        return; /* who cuts it makes each frame's sum */
    if (port->conf.caps & NET_CAP_TX_IPV4_CKSUM)
        m->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
    else
        ip->hdr_checksum = rte_ipv4_cksum(ip);
}

static void send_to(const struct ip_route *route, struct rte_mbuf *m)
{
    static const struct rte_ether_addr broadcast = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
    finish_header(route->port, m);
    NET_COUNT(route->port->stack, IP_TX);
    rte_be32_t hop = ip_to_v4(&route->hop);
    if (ip4_is_broadcast(route->port, hop)) {
        eth_send(route->port, m, &broadcast, RTE_ETHER_TYPE_IPV4);
    } else if (ip4_is_multicast(hop)) {
        struct rte_ether_addr group = ip4_multicast_mac(hop);
        eth_send(route->port, m, &group, RTE_ETHER_TYPE_IPV4);
    } else {
        neigh_send(route->port, m, &route->hop);
    }
}

static void send_fragments(struct stack *st, const struct ip_route *route, struct rte_mbuf *m, uint32_t mtu)
{
    struct rte_mbuf *frag[64];
    int n = st->conf.indirect_pool == NULL
                ? -1
                : rte_ipv4_fragment_packet(m, frag, RTE_DIM(frag), (uint16_t)mtu, st->conf.pool, st->conf.indirect_pool);
    rte_pktmbuf_free(m);
    if (n < 0) {
        NET_COUNT(st, PKT_NO_MEMORY);
        return;
    }
    NET_COUNT(st, IP_FRAGMENTED);
    for (int i = 0; i < n; i++)
        send_to(route, frag[i]);
}

void ip4_output(struct stack *st, struct rte_mbuf *m, rte_be32_t src, rte_be32_t dst, uint8_t proto, const struct ip_how *how)
{
    uint32_t len = rte_pktmbuf_pkt_len(m) + (uint32_t)sizeof(struct rte_ipv4_hdr);
    if (len > UINT16_MAX) {
        net_drop(st, m, NET_IP_TOO_BIG);
        return;
    }
    uint16_t id = st->ip_id;
    st->ip_id = (uint16_t)(id + ip_frames(m)); /* one for each frame */
    struct rte_ipv4_hdr *ip = (void *)rte_pktmbuf_prepend(m, sizeof *ip);
    if (ip == NULL) {
        net_drop(st, m, NET_PKT_NO_MEMORY);
        return;
    }
    /* What may be fragmented on its way needs a distinct identification (RFC 6864 4.1). */
    struct ip_addr to = ip_from_v4(dst);
    uint32_t mtu = ip_mtu_of(st, how, &to), longest = ip_longest(m, sizeof *ip);
    bool whole = how->pmtu != IP_PMTU_DONT && longest <= mtu;
    *ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF, .total_length = rte_cpu_to_be_16((uint16_t)len),
                                .packet_id = rte_cpu_to_be_16(id), .time_to_live = how->ttl, .type_of_service = how->tos,
                                .fragment_offset = whole ? RTE_BE16(RTE_IPV4_HDR_DF_FLAG) : 0, .next_proto_id = proto,
                                .src_addr = src != 0 ? src : how->route.port->conf.addr, .dst_addr = dst};
    if (longest > mtu)
        send_fragments(st, &how->route, m, mtu);
    else
        send_to(&how->route, m);
}

/* ---- In ---- */

/* RFC 7126 4.3, 4.4: source routes are not for hosts. Returns false for them and for malformed options. */
static bool options_ok(const uint8_t *o, uint32_t len, enum net_counter *why)
{
    *why = NET_IP_BAD_HEADER;
    for (uint32_t i = 0; i < len && o[i] != 0;) {
        if (o[i] == 1) {
            i++;
            continue;
        }
        if (i + 1 >= len || o[i + 1] < 2 || i + o[i + 1] > len)
            return false;
        if (o[i] == IPOPT_LSRR || o[i] == IPOPT_SSRR) {
            *why = NET_IP_SOURCE_ROUTE;
            return false;
        }
        i += o[i + 1];
    }
    return true;
}

/* Checks the header. Returns its length, or 0 with the reason. */
static uint32_t check_header(const struct net_port *port, const struct rte_mbuf *m, enum net_counter *why)
{
    const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
    *why = NET_IP_BAD_HEADER;
    if (rte_pktmbuf_data_len(m) < sizeof *ip || ip->version != 4)
        return 0;
    uint32_t hlen = rte_ipv4_hdr_len(ip), total = rte_be_to_cpu_16(ip->total_length);
    if (hlen < sizeof *ip || hlen > rte_pktmbuf_data_len(m) || total < hlen || total > rte_pktmbuf_pkt_len(m))
        return 0;
    if ((m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) != RTE_MBUF_F_RX_IP_CKSUM_GOOD && rte_raw_cksum(ip, hlen) != 0xffff) {
        *why = NET_IP_BAD_CKSUM;
        return 0;
    }
    if (!options_ok((const uint8_t *)(ip + 1), hlen - (uint32_t)sizeof *ip, why))
        return 0;
    /* RFC 1122 3.2.1.3: a source is a unicast address, and never one of ours that comes from outside. */
    *why = NET_IP_BAD_SOURCE;
    if (ip->src_addr == 0 || ip4_is_multicast(ip->src_addr) || ip4_is_broadcast(port, ip->src_addr) ||
        (rte_be_to_cpu_32(ip->src_addr) >> 24) == 127 || ip4_our_port(port->stack, ip->src_addr) != NULL)
        return 0;
    return hlen;
}

static void deliver(struct stack *st, struct ip_pkt *p)
{
    switch (p->proto) {
    case IPPROTO_TCP:
        tcp_input(st, p);
        return;
    case IPPROTO_UDP:
        udp_input(st, p);
        return;
    case IPPROTO_IGMP:
        igmp_input(st, p);
        return;
    case IPPROTO_ICMP:
        icmp_input(st, p);
        return;
    default:
        if (p->to_us)
            icmp_error(st, ICMP_DEST_UNREACHABLE, ICMP_UNREACH_PROTOCOL, &p->ip4, rte_pktmbuf_mtod(p->m, const void *),
                       rte_pktmbuf_data_len(p->m));
        net_drop(st, p->m, NET_IP_PROTO);
    }
}

/* Looks a fragment up. True: p is the whole datagram. */
static bool reassemble(struct stack *st, struct ip_pkt *p, uint32_t hlen)
{
    uint16_t field = rte_be_to_cpu_16(p->ip4.fragment_offset);
    struct reass_frag f = {.key = {p->src, p->dst, p->ip4.packet_id, p->proto},
                           .offset = (field & RTE_IPV4_HDR_OFFSET_MASK) * (uint32_t)RTE_IPV4_HDR_OFFSET_UNITS,
                           .more = field & RTE_IPV4_HDR_MF_FLAG, .head_len = sizeof p->ip4, .before = (uint16_t)hlen};
    memcpy(f.head, &p->ip4, sizeof p->ip4);
    /* RFC 1858, 3128: no transport header may be cut, or hidden, by a tiny fragment. */
    if (f.offset == 0 && f.more && p->len < 64) {
        net_drop(st, p->m, NET_FRAG_BAD);
        return false;
    }
    if (!reass_input(st, p, &f, NULL))
        return false;
    p->ip4.total_length = rte_cpu_to_be_16((uint16_t)(p->len + hlen));
    p->ip4.fragment_offset = 0;
    return true;
}

/* All hosts are in 224.0.0.1 (RFC 1112 4). */
static bool in_group(const struct net_port *port, const struct ip_pkt *p)
{
    return ip4_is_multicast(p->ip4.dst_addr) &&
           (p->ip4.dst_addr == RTE_BE32(0xe0000001) || p->proto == IPPROTO_IGMP || group_accepts(port, &p->dst, &p->src));
}

void ip4_input(struct net_port *port, struct rte_mbuf *m)
{
    struct stack *st = port->stack;
    enum net_counter why;
    NET_COUNT(st, IP_RX);
    uint32_t hlen = check_header(port, m, &why);
    if (hlen == 0) {
        net_drop(st, m, why);
        return;
    }
    struct ip_pkt p = {.port = port, .m = m, .ip4 = *rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *)};
    p.src = ip_from_v4(p.ip4.src_addr);
    p.dst = ip_from_v4(p.ip4.dst_addr);
    p.proto = p.ip4.next_proto_id;
    p.to_us = p.ip4.dst_addr == port->conf.addr;
    if (port->conf.addr == 0 || (!p.to_us && !ip4_is_broadcast(port, p.ip4.dst_addr) && !in_group(port, &p))) {
        net_drop(st, m, NET_IP_NOT_OURS);
        return;
    }
    uint32_t total = rte_be_to_cpu_16(p.ip4.total_length);
    if (rte_pktmbuf_pkt_len(m) > total) /* Ethernet padding */
        rte_pktmbuf_trim(m, (uint16_t)(rte_pktmbuf_pkt_len(m) - total));
    rte_pktmbuf_adj(m, (uint16_t)hlen);
    p.len = (uint16_t)(total - hlen);
    if (rte_ipv4_frag_pkt_is_fragmented(&p.ip4) && !reassemble(st, &p, hlen))
        return;
    deliver(st, &p);
}
