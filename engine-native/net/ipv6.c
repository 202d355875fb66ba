/* SPDX-License-Identifier: BSD-3-Clause
 * IPv6 in and out (RFC 8200). The stack is a host: it does not forward, and a routing header ends here. */
#include "ipv6.h"

#include <netinet/in.h>
#include <rte_ip_frag.h>

#include "group.h"
#include "neigh.h"
#include "route.h"
#include "tcp.h"
#include "udp.h"

#define HEADERS_MAX 6u  /* extension headers of a packet: RFC 8200 4.1 names six */
#define OPTIONS_MAX 8u  /* options but padding, of all its headers (RFC 8504 5.3) */

const struct ip_addr ip6_all_nodes = {.b = {0xff, 2, [15] = 1}};

/* ---- Addresses ---- */

/* RFC 4291 appendix A: modified EUI-64. */
static struct ip_addr link_local_of(const struct rte_ether_addr *mac)
{
    const uint8_t *m = mac->addr_bytes;
    return (struct ip_addr){.b = {0xfe, 0x80, [8] = m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]}};
}

void ip6_port_addresses(struct net_port *port)
{
    if (ip_is_any(&port->conf.addr6)) { /* until a router gives one */
        port->conf.addr6 = link_local_of(&port->conf.mac);
        port->conf.prefix6_len = 64;
    }
    port->link_local = ip6_is_link_local(&port->conf.addr6) ? port->conf.addr6 : link_local_of(&port->conf.mac);
    ip6_zone(&port->link_local, port->number);
    ip6_zone(&port->conf.addr6, port->number);
    ip6_zone(&port->conf.gateway6, port->number);
    port->group[0] = nd_solicited_node(&port->link_local);
    port->group[1] = nd_solicited_node(&port->conf.addr6);
}

static bool in_group(const struct net_port *port, const struct ip_addr *a, const struct ip_addr *source)
{
    return ip_eq(a, &ip6_all_nodes) || ip_eq(a, &port->group[0]) || ip_eq(a, &port->group[1]) || group_accepts(port, a, source);
}

struct rte_ether_addr ip6_multicast_mac(const struct ip_addr *group)
{
    struct rte_ether_addr mac = {{0x33, 0x33}};
    memcpy(mac.addr_bytes + 2, group->b + 12, 4);
    return mac;
}

bool ip6_eth_multicast_ours(const struct net_port *port, const struct rte_ether_addr *mac)
{
    const uint8_t *low = mac->addr_bytes + 2;
    return mac->addr_bytes[0] == 0x33 && mac->addr_bytes[1] == 0x33 &&
           (memcmp(low, ip6_all_nodes.b + 12, 4) == 0 || memcmp(low, port->group[0].b + 12, 4) == 0 ||
            memcmp(low, port->group[1].b + 12, 4) == 0 || group_eth_ours(port, mac));
}

static bool is_ours(const struct net_port *port, const struct ip_addr *a)
{
    return port->conf.has6 && (ip_eq(a, &port->conf.addr6) || ip_eq(a, &port->link_local));
}

struct net_port *ip6_our_port(struct stack *st, const struct ip_addr *addr)
{
    for (uint32_t i = 0; i < st->ports; i++)
        if (is_ours(st->port[i], addr))
            return st->port[i];
    return NULL;
}

struct ip_addr ip6_source(const struct net_port *port, const struct ip_addr *dst)
{
    bool link = ip6_is_link_local(dst) || (ip6_is_multicast(dst) && (dst->b[1] & 15) <= 2);
    return link ? port->link_local : port->conf.addr6;
}

bool ip6_on_link(const struct net_port *port, const struct ip_addr *a)
{
    const struct route *r = port->conf.has6 ? route_find(port->stack, a, port) : NULL;
    return r != NULL && ip_is_any(&r->hop);
}

static bool is_loopback(const struct ip_addr *a)
{
    return ip_eq(a, &(const struct ip_addr){.b = {[15] = 1}});
}

/* ---- Out ---- */

static bool put_header(struct stack *st, struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto,
                       uint8_t hops, uint8_t class)
{
    uint32_t len = rte_pktmbuf_pkt_len(m);
    struct rte_ipv6_hdr *ip = len > UINT16_MAX ? NULL : (void *)rte_pktmbuf_prepend(m, sizeof *ip);
    if (ip == NULL) {
        net_drop(st, m, len > UINT16_MAX ? NET_IP_TOO_BIG : NET_PKT_NO_MEMORY);
        return false;
    }
    *ip = (struct rte_ipv6_hdr){.vtc_flow = rte_cpu_to_be_32(6u << 28 | (uint32_t)class << RTE_IPV6_HDR_TC_SHIFT),
                                .payload_len = rte_cpu_to_be_16((uint16_t)len), .proto = proto, .hop_limits = hops};
    ip6_put(src, ip->src_addr);
    ip6_put(dst, ip->dst_addr);
    m->l3_len = sizeof *ip;
    return true;
}

void ip6_send(struct net_port *port, struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto,
              uint8_t hops, const struct rte_ether_addr *mac)
{
    struct rte_ether_addr group = ip6_multicast_mac(dst);
    if (!put_header(port->stack, m, src, dst, proto, hops, 0))
        return;
    NET_COUNT(port->stack, IP6_TX);
    if (mac == NULL && ip6_is_multicast(dst))
        mac = &group;
    if (mac != NULL)
        eth_send(port, m, mac, RTE_ETHER_TYPE_IPV6);
    else
        neigh_send(port, m, dst);
}

static void send_to(const struct ip_route *route, struct rte_mbuf *m)
{
    NET_COUNT(route->port->stack, IP6_TX);
    if (ip6_is_multicast(&route->hop)) {
        struct rte_ether_addr group = ip6_multicast_mac(&route->hop);
        eth_send(route->port, m, &group, RTE_ETHER_TYPE_IPV6);
    } else {
        neigh_send(route->port, m, &route->hop);
    }
}

static void send_fragments(struct stack *st, const struct ip_route *route, struct rte_mbuf *m, uint32_t mtu)
{
    struct rte_mbuf *frag[64];
    uint32_t id = (uint32_t)(net_random(st) >> 32); /* RFC 7739: not to be guessed from the last one */
    int n = st->conf.indirect_pool == NULL
                ? -1
                : rte_ipv6_fragment_packet(m, frag, RTE_DIM(frag), (uint16_t)mtu, st->conf.pool, st->conf.indirect_pool);
    rte_pktmbuf_free(m);
    if (n < 0) {
        NET_COUNT(st, PKT_NO_MEMORY);
        return;
    }
    NET_COUNT(st, IP_FRAGMENTED);
    for (int i = 0; i < n; i++) {
        struct rte_ipv6_fragment_ext *f = rte_pktmbuf_mtod_offset(frag[i], void *, sizeof(struct rte_ipv6_hdr));
        f->id = rte_cpu_to_be_32(id); /* DPDK leaves it 0 */
        send_to(route, frag[i]);
    }
}

void ip6_output(struct stack *st, struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto,
                const struct ip_how *how)
{
    if (!put_header(st, m, src, dst, proto, how->ttl, how->tos))
        return;
    uint32_t mtu = ip_mtu_of(st, how, dst);
    if (ip_longest(m, sizeof(struct rte_ipv6_hdr)) > mtu)
        send_fragments(st, &how->route, m, mtu);
    else
        send_to(&how->route, m);
}

/* ---- In: extension headers ---- */

/* The way along the chain of headers. */
struct walk {
    uint8_t next;     /* what m's data is */
    uint16_t next_at; /* where that is said, from the packet's beginning */
    uint32_t headers, options;
};

static bool refuse(struct stack *st, struct ip_pkt *p, enum net_counter why, uint8_t code, uint32_t pointer)
{
    icmp6_error(st, p, ICMP6_PARAMETER, code, pointer);
    net_drop(st, p->m, why);
    return false;
}

/* The header at m's data has n bytes: on to the next. */
static void skip(struct ip_pkt *p, struct walk *w, uint16_t n)
{
    bool whole = p->head == (const uint8_t *)&p->ip6; /* reassembled: quoted without what is skipped */
    w->next = *rte_pktmbuf_mtod(p->m, const uint8_t *);
    w->next_at = whole ? offsetof(struct rte_ipv6_hdr, proto) : p->head_len;
    rte_pktmbuf_adj(p->m, n);
    p->len = (uint16_t)(p->len - n);
    if (whole) {
        p->ip6.proto = w->next;
        p->ip6.payload_len = rte_cpu_to_be_16(p->len);
    } else {
        p->head_len = (uint16_t)(p->head_len + n);
    }
}

/* RFC 8200 4.2. */
static bool read_options(struct stack *st, struct ip_pkt *p, struct walk *w, uint32_t len)
{
    const uint8_t *o = rte_pktmbuf_mtod(p->m, const uint8_t *);
    for (uint32_t i = 2; i < len;) {
        if (o[i] == 0) { /* Pad1 */
            i++;
            continue;
        }
        if (i + 2 > len || i + 2 + o[i + 1] > len) {
            net_drop(st, p->m, NET_IP6_BAD_HEADER);
            return false;
        }
        bool known = o[i] == 1 || o[i] == 5; /* PadN, router alert */
        if (o[i] != 1 && ++w->options > OPTIONS_MAX) {
            net_drop(st, p->m, NET_IP6_LIMIT);
            return false;
        }
        unsigned action = known ? 0 : o[i] >> 6;
        if (action >= 2 && (action == 2 || !ip6_is_multicast(&p->dst)))
            return refuse(st, p, NET_IP6_OPTION, ICMP6_PARAM_OPTION, p->head_len + i);
        if (action != 0) {
            net_drop(st, p->m, NET_IP6_OPTION);
            return false;
        }
        i += 2u + o[i + 1];
    }
    return true;
}

/* Bytes of a header whose second one tells its length; 0: it is not all here. */
static uint32_t sized_header(const struct ip_pkt *p)
{
    uint32_t have = RTE_MIN((uint32_t)rte_pktmbuf_data_len(p->m), (uint32_t)p->len);
    uint32_t len = have < 8 ? 0 : (rte_pktmbuf_mtod(p->m, const uint8_t *)[1] + 1u) * 8;
    return len <= have ? len : 0;
}

static bool sized(struct stack *st, struct ip_pkt *p, struct walk *w)
{
    uint32_t len = sized_header(p);
    if (len == 0) {
        net_drop(st, p->m, NET_IP6_BAD_HEADER);
        return false;
    }
    const uint8_t *h = rte_pktmbuf_mtod(p->m, const uint8_t *);
    if (w->next == IPPROTO_ROUTING && h[3] != 0) /* segments left: no type is followed (RFC 5095 3, 8200 4.4) */
        return refuse(st, p, NET_IP6_ROUTING, ICMP6_PARAM_FIELD, p->head_len + 2);
    if (w->next != IPPROTO_ROUTING && !read_options(st, p, w, len))
        return false;
    skip(p, w, (uint16_t)len);
    return true;
}

/* RFC 7112: the first fragment has the whole chain, so that filters and hosts read the same. */
static bool chain_complete(const struct ip_pkt *p, uint8_t next)
{
    const uint8_t *at = rte_pktmbuf_mtod_offset(p->m, const uint8_t *, 8);
    uint32_t left = rte_pktmbuf_data_len(p->m) - 8u;
    for (uint32_t n = 0; n <= HEADERS_MAX; n++) {
        if (next != IPPROTO_HOPOPTS && next != IPPROTO_DSTOPTS && next != IPPROTO_ROUTING)
            return left >= (next == IPPROTO_TCP ? 20u : next == IPPROTO_NONE ? 0u : 8u);
        uint32_t len = left < 8 ? UINT32_MAX : (at[1] + 1u) * 8;
        if (len > left)
            return false;
        next = at[0];
        at += len;
        left -= len;
    }
    return false;
}

static bool fragment(struct stack *st, struct ip_pkt *p, struct walk *w)
{
    struct rte_ipv6_fragment_ext h;
    p->fragment = true;
    if (rte_pktmbuf_data_len(p->m) < sizeof h || p->len < sizeof h || p->head == (const uint8_t *)&p->ip6) {
        net_drop(st, p->m, NET_FRAG_BAD); /* or a fragment in a fragment */
        return false;
    }
    memcpy(&h, rte_pktmbuf_mtod(p->m, const void *), sizeof h);
    uint16_t field = rte_be_to_cpu_16(h.frag_data), len = (uint16_t)(p->len - sizeof h);
    struct reass_frag f = {.key = {p->src, p->dst, h.id, 0}, .offset = field & 0xfff8u, .more = field & 1,
                           .head_len = sizeof p->ip6 + sizeof h, .before = (uint16_t)(p->head_len - sizeof p->ip6)};
    if (f.offset == 0 && !f.more) { /* RFC 6946: whole, whatever else is on its way under that identification */
        skip(p, w, sizeof h);
        return true;
    }
    if (f.more && len % 8 != 0)
        return refuse(st, p, NET_FRAG_BAD, ICMP6_PARAM_FIELD, offsetof(struct rte_ipv6_hdr, payload_len));
    if (f.offset + len + f.before > UINT16_MAX)
        return refuse(st, p, NET_FRAG_BAD, ICMP6_PARAM_FIELD, p->head_len + 2u);
    if (f.offset == 0 && !chain_complete(p, h.next_header))
        return refuse(st, p, NET_FRAG_BAD, ICMP6_PARAM_CHAIN, 0);
    memcpy(f.head, &p->ip6, sizeof p->ip6);
    ((struct rte_ipv6_hdr *)f.head)->proto = IPPROTO_FRAGMENT;
    memcpy(f.head + sizeof p->ip6, &h, sizeof h);
    rte_pktmbuf_adj(p->m, sizeof h);
    p->len = len;
    struct reass_frag first;
    if (!reass_input(st, p, &f, &first))
        return false;
    p->head = (const uint8_t *)&p->ip6;
    p->head_len = sizeof p->ip6;
    w->next = p->ip6.proto = first.head[sizeof p->ip6];
    w->next_at = offsetof(struct rte_ipv6_hdr, proto);
    p->ip6.payload_len = rte_cpu_to_be_16(p->len);
    return true;
}

/* Follows the chain to the protocol above. False: the packet is gone. */
static bool walk(struct stack *st, struct ip_pkt *p, struct walk *w)
{
    for (;; w->headers++) {
        switch (w->next) {
        case IPPROTO_HOPOPTS:
            if (w->headers > 0) /* RFC 8200 4.1: only right behind the IPv6 header */
                return refuse(st, p, NET_IP6_BAD_HEADER, ICMP6_PARAM_NEXT_HEADER, w->next_at);
            /* fall through */
        case IPPROTO_DSTOPTS:
        case IPPROTO_ROUTING:
        case IPPROTO_FRAGMENT:
            break;
        default:
            p->proto = w->next;
            return true;
        }
        if (w->headers == HEADERS_MAX) {
            net_drop(st, p->m, NET_IP6_LIMIT);
            return false;
        }
        if (w->next == IPPROTO_FRAGMENT ? !fragment(st, p, w) : !sized(st, p, w))
            return false;
    }
}

/* ---- In ---- */

static void deliver(struct stack *st, struct ip_pkt *p, uint16_t next_at)
{
    /* From no address, or from one of ours, comes what detects or announces a conflict, and nothing else. */
    if (p->proto != IPPROTO_ICMPV6 && (ip_is_any(&p->src) || ip6_our_port(st, &p->src) != NULL)) {
        net_drop(st, p->m, NET_IP6_BAD_SOURCE);
        return;
    }
    switch (p->proto) {
    case IPPROTO_TCP:
        tcp_input(st, p);
        return;
    case IPPROTO_UDP:
        udp_input(st, p);
        return;
    case IPPROTO_ICMPV6:
        icmp6_input(st, p);
        return;
    case IPPROTO_NONE:
        net_drop(st, p->m, NET_IP6_PROTO);
        return;
    default:
        refuse(st, p, NET_IP6_PROTO, ICMP6_PARAM_NEXT_HEADER, next_at);
    }
}

/* An address that may not be seen on a link: mapped ones would be taken for IPv4's, and a zone is not for the wire. */
static bool is_impossible(const uint8_t wire[16])
{
    struct ip_addr a;
    memcpy(a.b, wire, sizeof a.b);
    return ip_is_v4(&a) || is_loopback(&a) || (ip6_is_link_local(&a) && (a.b[2] | a.b[3]) != 0);
}

/* Checks the header; false with the reason. */
static bool check_header(const struct rte_mbuf *m, enum net_counter *why)
{
    const struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv6_hdr *);
    *why = NET_IP6_BAD_HEADER;
    if (rte_pktmbuf_data_len(m) < sizeof *ip || ip->vtc_flow == 0 || (*(const uint8_t *)ip >> 4) != 6 ||
        rte_be_to_cpu_16(ip->payload_len) + sizeof *ip > rte_pktmbuf_pkt_len(m))
        return false;
    *why = NET_IP6_BAD_SOURCE;
    return ip->src_addr[0] != 0xff && !is_impossible(ip->src_addr) && !is_impossible(ip->dst_addr);
}

void ip6_input(struct net_port *port, struct rte_mbuf *m)
{
    struct stack *st = port->stack;
    enum net_counter why;
    NET_COUNT(st, IP6_RX);
    if (!check_header(m, &why)) {
        net_drop(st, m, why);
        return;
    }
    const struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv6_hdr *);
    struct ip_pkt p = {.port = port, .m = m, .ip6 = *ip, .head = (const uint8_t *)ip, .head_len = sizeof *ip,
                       .src = ip6_get(port, ip->src_addr), .dst = ip6_get(port, ip->dst_addr),
                       .len = rte_be_to_cpu_16(ip->payload_len)};
    p.to_us = is_ours(port, &p.dst);
    if (!p.to_us && !in_group(port, &p.dst, &p.src)) {
        net_drop(st, m, NET_IP6_NOT_OURS);
        return;
    }
    uint32_t total = (uint32_t)sizeof *ip + p.len;
    if (rte_pktmbuf_pkt_len(m) > total) /* Ethernet padding */
        rte_pktmbuf_trim(m, (uint16_t)(rte_pktmbuf_pkt_len(m) - total));
    rte_pktmbuf_adj(m, sizeof *ip);
    struct walk w = {.next = p.ip6.proto, .next_at = offsetof(struct rte_ipv6_hdr, proto)};
    if (walk(st, &p, &w))
        deliver(st, &p, w.next_at);
}
