/* SPDX-License-Identifier: BSD-3-Clause
 * What IPv4 and IPv6 share: see ip.h. */
#include "ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#include "cksum.h"
#include "ipv4.h"
#include "ipv6.h"
#include "neigh.h"
#include "route.h"
#include "tcp.h"
#include "udp.h"

#define ICMP_BURST 50u                        /* errors at once */
#define ICMP_INTERVAL_NS (10 * NET_NS_PER_MS) /* and then one per interval (RFC 1812 4.3.2.8, 4443 2.4 (f)) */

const char *ip_text(const struct ip_addr *a, char text[IP_TEXT])
{
    struct ip_addr wire = *a;
    unsigned zone = ip6_unzone(&wire);
    if (ip_is_v4(a))
        inet_ntop(AF_INET, &a->w[3], text, IP_TEXT);
    else
        inet_ntop(AF_INET6, wire.b, text, IP_TEXT);
    if (zone != 0)
        snprintf(text + strlen(text), IP_TEXT - strlen(text), "%%%u", zone);
    return text;
}

/* ---- Routes ---- */

bool ip_is_group(const struct ip_addr *a)
{
    return ip_is_v4(a) ? ip4_is_multicast(ip_to_v4(a)) : ip6_is_multicast(a);
}

/* No address of a host on the wire. */
static bool is_nowhere(const struct ip_addr *a)
{
    static const struct ip_addr loopback6 = {.b = {[15] = 1}};
    return ip_is_any(a) || ip_eq(a, &loopback6) || (ip_is_v4(a) && a->b[12] == 127);
}

bool ip_route_by(struct stack *st, const struct ip_addr *dst, struct net_port *port, struct ip_route *route)
{
    bool many = ip_is_group(dst) || (ip_is_v4(dst) && ip_to_v4(dst) == UINT32_MAX);
    if (is_nowhere(dst) || ip_our_port(st, dst) != NULL)
        return false;
    const struct route *r = many && port != NULL ? NULL : route_find(st, dst, port);
    if (r == NULL && !(many && port != NULL))
        return false;
    bool direct = r == NULL || many || ip_is_any(&r->hop);
    *route = (struct ip_route){r != NULL ? r->port : port, direct ? *dst : r->hop};
    if (!direct)
        redirect_apply(st, dst, route);
    return ip_is_v4(dst) ? route->port->conf.addr != 0 : route->port->conf.has6;
}

bool ip_route(struct stack *st, const struct ip_addr *dst, struct ip_route *route)
{
    bool limited = ip_is_v4(dst) && ip_to_v4(dst) == UINT32_MAX;
    return !ip_is_group(dst) && !limited && ip_route_by(st, dst, NULL, route);
}

struct ip_addr ip_source(const struct ip_route *route, const struct ip_addr *dst)
{
    return ip_is_v4(dst) ? ip_from_v4(route->port->conf.addr) : ip6_source(route->port, dst);
}

struct net_port *ip_our_port(struct stack *st, const struct ip_addr *addr)
{
    return ip_is_v4(addr) ? ip4_our_port(st, ip_to_v4(addr)) : ip6_our_port(st, addr);
}

uint32_t ip_path_mtu(struct stack *st, const struct ip_route *route, const struct ip_addr *dst)
{
    uint32_t link = route->port->mtu6 != 0 && !ip_is_v4(dst) ? route->port->mtu6 : route->port->conf.mtu;
    return RTE_MIN(link, pmtu_find(st, dst));
}

/* ---- Checksums of the protocols above ---- */

static uint16_t pseudo_sum(const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto, uint16_t len)
{
    if (ip_is_v4(dst)) {
        struct rte_ipv4_hdr pseudo = {.version_ihl = RTE_IPV4_VHL_DEF, .next_proto_id = proto, .src_addr = ip_to_v4(src),
                                      .dst_addr = ip_to_v4(dst),
                                      .total_length = rte_cpu_to_be_16((uint16_t)(len + sizeof pseudo))};
        return rte_ipv4_phdr_cksum(&pseudo, 0);
    }
    struct rte_ipv6_hdr pseudo = {.proto = proto, .payload_len = rte_cpu_to_be_16(len)};
    ip6_put(src, pseudo.src_addr);
    ip6_put(dst, pseudo.dst_addr);
    return rte_ipv6_phdr_cksum(&pseudo, 0);
}

uint16_t ip_l4_sum(const struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto, uint16_t len)
{
    if (len > rte_pktmbuf_pkt_len(m))
        return 0;
    return __rte_raw_cksum_reduce((uint32_t)net_cksum(m, len) + pseudo_sum(src, dst, proto, len));
}

uint16_t ip_l4_cksum(struct stack *st, struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto)
{
    struct ip_route route;
    bool whole = ip_route(st, dst, &route) && rte_pktmbuf_pkt_len(m) + ip_header_len(dst) <= ip_path_mtu(st, &route, dst);
    return ip_l4_cksum_on(route.port, m, src, dst, proto, whole);
}

uint16_t ip_l4_cksum_on(const struct net_port *port, struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst,
                        uint8_t proto, bool whole)
{
    uint16_t len = (uint16_t)rte_pktmbuf_pkt_len(m);
    if (whole && (port->conf.caps & NET_CAP_TX_L4_CKSUM)) {
        m->ol_flags |= (ip_is_v4(dst) ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6) |
                       (proto == IPPROTO_TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM);
        return pseudo_sum(src, dst, proto, len);
    }
    uint16_t sum = (uint16_t)~ip_l4_sum(m, src, dst, proto, len);
    return sum == 0 && proto == IPPROTO_UDP ? 0xffff : sum; /* RFC 768: 0 means no checksum */
}

uint16_t ip_l4_large(struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst, uint32_t mss)
{
    m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM |
                   (ip_is_v4(dst) ? RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM : RTE_MBUF_F_TX_IPV6);
    m->tso_segsz = (uint16_t)mss;
    return pseudo_sum(src, dst, IPPROTO_TCP, 0); /* the length is each frame's own */
}

/* ---- Out ---- */

struct rte_mbuf *ip_alloc(struct stack *st)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(st->conf.pool);
    if (m == NULL)
        NET_COUNT(st, PKT_NO_MEMORY);
    return m;
}

uint32_t ip_mtu_of(struct stack *st, const struct ip_how *how, const struct ip_addr *dst)
{
    /* An IPv6 packet has nobody to fragment it on its way: what the path carries counts but for probes. */
    bool port_alone = how->pmtu == IP_PMTU_PROBE || (how->pmtu == IP_PMTU_DONT && ip_is_v4(dst));
    return port_alone ? how->route.port->conf.mtu : ip_path_mtu(st, &how->route, dst);
}

void ip_output_how(struct stack *st, struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto,
                   const struct ip_how *how)
{
    struct ip_how h = *how;
    if (h.route.port == NULL && !ip_route(st, dst, &h.route)) {
        net_drop(st, m, NET_IP_NO_ROUTE);
        return;
    }
    if (h.ttl == 0)
        h.ttl = NET_IP_TTL;
    if (ip_is_v4(dst))
        ip4_output(st, m, ip_to_v4(src), ip_to_v4(dst), proto, &h);
    else
        ip6_output(st, m, src, dst, proto, &h);
}

void ip_output(struct stack *st, struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto)
{
    /* TCP follows the path's MTU (RFC 1191): its packets say DF, unless they are larger than what was just learned. */
    const struct ip_how how = {.pmtu = proto == IPPROTO_TCP ? IP_PMTU_WANT : IP_PMTU_DONT};
    ip_output_how(st, m, src, dst, proto, &how);
}

void eth_send(struct net_port *port, struct rte_mbuf *m, const struct rte_ether_addr *to, uint16_t type)
{
    struct rte_ether_hdr *eth = (void *)rte_pktmbuf_prepend(m, sizeof *eth);
    if (eth == NULL) {
        net_drop(port->stack, m, NET_PKT_NO_MEMORY);
        return;
    }
    *eth = (struct rte_ether_hdr){*to, port->conf.mac, rte_cpu_to_be_16(type)};
    m->l2_len = sizeof *eth;
    port_send(port, m);
}

/* ---- Errors ---- */

bool ip_may_send_error(struct stack *st)
{
    uint64_t tokens = (st->now - st->icmp_refilled) / ICMP_INTERVAL_NS;
    if (st->icmp_refilled == 0 || tokens >= ICMP_BURST) {
        st->icmp_tokens = ICMP_BURST;
        st->icmp_refilled = st->now;
    } else if (tokens > 0) {
        st->icmp_tokens = RTE_MIN(st->icmp_tokens + (uint32_t)tokens, ICMP_BURST);
        st->icmp_refilled += tokens * ICMP_INTERVAL_NS;
    }
    if (st->icmp_tokens == 0) {
        NET_COUNT(st, ICMP_RATE_LIMITED);
        return false;
    }
    st->icmp_tokens--;
    return true;
}

void ip_unreachable_port(struct stack *st, const struct ip_pkt *p)
{
    if (!p->to_us)
        return;
    if (ip_is_v4(&p->dst))
        icmp_error(st, ICMP_DEST_UNREACHABLE, ICMP_UNREACH_PORT, &p->ip4, rte_pktmbuf_mtod(p->m, const void *),
                   rte_pktmbuf_data_len(p->m));
    else
        icmp6_error(st, p, ICMP6_UNREACHABLE, ICMP6_UNREACH_PORT, 0);
}

void ip_tell_error(struct stack *st, uint8_t proto, const struct ip_error *e)
{
    if (proto == IPPROTO_UDP)
        udp_error(st, e);
    else if (proto == IPPROTO_TCP)
        tcp_icmp(st, e);
    else
        NET_COUNT(st, ICMP_IGNORED);
}

void ip_no_neighbour(struct net_port *port, const struct rte_mbuf *m)
{
    struct ip_addr dst;
    if ((*rte_pktmbuf_mtod(m, const uint8_t *) >> 4) == 4) {
        dst = ip_from_v4(rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *)->dst_addr);
        icmp_no_neighbour(port->stack, m);
    } else {
        dst = ip6_get(port, rte_pktmbuf_mtod(m, const struct rte_ipv6_hdr *)->dst_addr);
        icmp6_no_neighbour(port, m);
    }
    redirect_forget(port->stack, &dst); /* RFC 1122 3.3.1.4, 4861 7.3.3: the next one goes by the gateway again */
}
