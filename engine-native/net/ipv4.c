/* SPDX-License-Identifier: BSD-3-Clause
 * IPv4 in and out (RFC 791, 1122 section 3). The stack is a host: it does not forward. */
#include "ipv4.h"

#include <netinet/in.h>
#include <rte_ip_frag.h>

#include "arp.h"
#include "cksum.h"
#include "tcp.h"
#include "udp.h"

#define IPOPT_LSRR 131
#define IPOPT_SSRR 137

bool ip_is_multicast(rte_be32_t addr)
{
    return (rte_be_to_cpu_32(addr) >> 28) == 14;
}

bool ip_is_broadcast(const struct net_port *port, rte_be32_t addr)
{
    /* RFC 3021: a /31 has no broadcast address. */
    return addr == UINT32_MAX || (port->conf.prefix_len < 31 && addr == (port->conf.addr | ~port->mask));
}

struct net_port *ip_our_port(struct stack *st, rte_be32_t addr)
{
    for (uint32_t i = 0; i < st->ports; i++)
        if (st->port[i]->conf.addr == addr)
            return st->port[i];
    return NULL;
}

bool ip_route(struct stack *st, rte_be32_t dst, struct ip_route *route)
{
    struct net_port *best = NULL;
    for (uint32_t i = 0; i < st->ports; i++) {
        struct net_port *p = st->port[i];
        if (((dst ^ p->conf.addr) & p->mask) == 0 && (best == NULL || p->conf.prefix_len > best->conf.prefix_len))
            best = p;
    }
    *route = (struct ip_route){best, dst};
    for (uint32_t i = 0; best == NULL && i < st->ports; i++) {
        if (st->port[i]->conf.gateway != 0) {
            best = st->port[i];
            *route = (struct ip_route){best, best->conf.gateway};
        }
    }
    /* Our own addresses are reached inside the host, not through this stack. */
    return best != NULL && dst != 0 && !ip_is_multicast(dst) && ip_our_port(st, dst) == NULL;
}

/* ---- Checksums of the protocols above ---- */

uint16_t ip_l4_sum(const struct rte_mbuf *m, rte_be32_t src, rte_be32_t dst, uint8_t proto, uint16_t len)
{
    struct rte_ipv4_hdr pseudo = {.version_ihl = RTE_IPV4_VHL_DEF, .next_proto_id = proto, .src_addr = src, .dst_addr = dst,
                                  .total_length = rte_cpu_to_be_16((uint16_t)(len + sizeof pseudo))};
    if (len > rte_pktmbuf_pkt_len(m))
        return 0;
    return __rte_raw_cksum_reduce((uint32_t)net_cksum(m, len) + rte_ipv4_phdr_cksum(&pseudo, 0));
}

uint16_t ip_l4_cksum(struct stack *st, struct rte_mbuf *m, rte_be32_t src, rte_be32_t dst, uint8_t proto)
{
    uint16_t len = (uint16_t)rte_pktmbuf_pkt_len(m);
    struct ip_route route;
    bool whole = ip_route(st, dst, &route) && len + sizeof(struct rte_ipv4_hdr) <= route.port->conf.mtu;
    if (whole && (route.port->conf.caps & NET_CAP_TX_L4_CKSUM)) {
        struct rte_ipv4_hdr pseudo = {.version_ihl = RTE_IPV4_VHL_DEF, .next_proto_id = proto, .src_addr = src,
                                      .dst_addr = dst, .total_length = rte_cpu_to_be_16((uint16_t)(len + sizeof pseudo))};
        m->ol_flags |= RTE_MBUF_F_TX_IPV4 | (proto == IPPROTO_TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM);
        return rte_ipv4_phdr_cksum(&pseudo, m->ol_flags);
    }
    uint16_t sum = (uint16_t)~ip_l4_sum(m, src, dst, proto, len);
    return sum == 0 && proto == IPPROTO_UDP ? 0xffff : sum; /* RFC 768: 0 means no checksum */
}

/* ---- Out ---- */

struct rte_mbuf *ip_alloc(struct stack *st)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(st->conf.pool);
    if (m == NULL)
        NET_COUNT(st, PKT_NO_MEMORY);
    return m;
}

static void finish_header(struct net_port *port, struct rte_mbuf *m)
{
    struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
    m->l3_len = sizeof *ip;
    ip->hdr_checksum = 0;
    if (port->conf.caps & NET_CAP_TX_IPV4_CKSUM)
        m->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
    else
        ip->hdr_checksum = rte_ipv4_cksum(ip);
}

static void send_fragments(struct stack *st, const struct ip_route *route, struct rte_mbuf *m)
{
    struct rte_mbuf *frag[64];
    int n = st->conf.indirect_pool == NULL
                ? -1
                : rte_ipv4_fragment_packet(m, frag, RTE_DIM(frag), route->port->conf.mtu, st->conf.pool, st->conf.indirect_pool);
    rte_pktmbuf_free(m);
    if (n < 0) {
        NET_COUNT(st, PKT_NO_MEMORY);
        return;
    }
    NET_COUNT(st, IP_FRAGMENTED);
    for (int i = 0; i < n; i++) {
        finish_header(route->port, frag[i]);
        NET_COUNT(st, IP_TX);
        arp_send(route->port, frag[i], route->next_hop);
    }
}

void ip_output(struct stack *st, struct rte_mbuf *m, rte_be32_t src, rte_be32_t dst, uint8_t proto)
{
    struct ip_route route;
    if (!ip_route(st, dst, &route)) {
        net_drop(st, m, NET_IP_NO_ROUTE);
        return;
    }
    uint32_t len = rte_pktmbuf_pkt_len(m) + (uint32_t)sizeof(struct rte_ipv4_hdr);
    if (len > UINT16_MAX) {
        net_drop(st, m, NET_IP_TOO_BIG);
        return;
    }
    struct rte_ipv4_hdr *ip = (void *)rte_pktmbuf_prepend(m, sizeof *ip);
    if (ip == NULL) {
        net_drop(st, m, NET_PKT_NO_MEMORY);
        return;
    }
    /* DF stays clear until path MTU discovery is there; so the identification must be distinct (RFC 6864 4.1). */
    *ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF, .total_length = rte_cpu_to_be_16((uint16_t)len),
                                .packet_id = rte_cpu_to_be_16(st->ip_id++), .time_to_live = NET_IP_TTL,
                                .next_proto_id = proto, .src_addr = src != 0 ? src : route.port->conf.addr, .dst_addr = dst};
    if (len > route.port->conf.mtu) {
        send_fragments(st, &route, m);
        return;
    }
    finish_header(route.port, m);
    NET_COUNT(st, IP_TX);
    arp_send(route.port, m, route.next_hop);
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
    if (ip->src_addr == 0 || ip_is_multicast(ip->src_addr) || ip_is_broadcast(port, ip->src_addr) ||
        (rte_be_to_cpu_32(ip->src_addr) >> 24) == 127 || ip_our_port(port->stack, ip->src_addr) != NULL)
        return 0;
    return hlen;
}

void ip_input(struct net_port *port, struct rte_mbuf *m)
{
    struct stack *st = port->stack;
    enum net_counter why;
    uint8_t header[60];
    NET_COUNT(st, IP_RX);
    uint32_t hlen = check_header(port, m, &why);
    if (hlen == 0) {
        net_drop(st, m, why);
        return;
    }
    struct ip_pkt p = {.port = port, .m = m, .ip = *rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *)};
    p.to_us = p.ip.dst_addr == port->conf.addr;
    if (!p.to_us && !ip_is_broadcast(port, p.ip.dst_addr)) {
        net_drop(st, m, NET_IP_NOT_OURS);
        return;
    }
    memcpy(header, rte_pktmbuf_mtod(m, const void *), hlen);
    uint32_t total = rte_be_to_cpu_16(p.ip.total_length);
    if (rte_pktmbuf_pkt_len(m) > total) /* Ethernet padding */
        rte_pktmbuf_trim(m, (uint16_t)(rte_pktmbuf_pkt_len(m) - total));
    rte_pktmbuf_adj(m, (uint16_t)hlen);
    p.len = (uint16_t)(total - hlen);
    if (rte_ipv4_frag_pkt_is_fragmented(&p.ip) && !reass_input(st, &p, header, (uint16_t)hlen))
        return;
    ip_deliver(st, &p);
}

void ip_deliver(struct stack *st, struct ip_pkt *p)
{
    switch (p->ip.next_proto_id) {
    case IPPROTO_TCP:
        tcp_input(st, p);
        return;
    case IPPROTO_UDP:
        udp_input(st, p);
        return;
    case IPPROTO_ICMP:
        icmp_input(st, p);
        return;
    default:
        if (p->to_us)
            icmp_error(st, ICMP_DEST_UNREACHABLE, ICMP_UNREACH_PROTOCOL, &p->ip, rte_pktmbuf_mtod(p->m, const void *),
                       rte_pktmbuf_data_len(p->m));
        net_drop(st, p->m, NET_IP_PROTO);
    }
}
