/* SPDX-License-Identifier: BSD-3-Clause
 * Neighbour discovery's messages (RFC 4861 7). The cache is neigh.c's, conflicts of our addresses are dad.c's. */
#include "neigh.h"

#include "ipv6.h"

#define NA_SOLICITED (1u << 30)
#define NA_OVERRIDE (1u << 29)
#define OPT_NONCE 14 /* RFC 3971 5.3.2, 7527 4.1 */
#define NONCE_LEN 6u

struct nd_msg {
    uint8_t type, code;
    rte_be16_t cksum;
    rte_be32_t flags;
    uint8_t target[16];
} __attribute__((packed, aligned(2)));
struct nd_option {
    uint8_t type, len; /* 8 bytes each */
    uint8_t value[6];
};

struct ip_addr nd_solicited_node(const struct ip_addr *a)
{
    return (struct ip_addr){.b = {0xff, 2, [11] = 1, 0xff, a->b[13], a->b[14], a->b[15]}};
}

/* ---- Out ---- */

static void nd_send(struct net_port *port, uint8_t type, uint32_t flags, const struct ip_addr *target, const struct ip_addr *src,
                 const struct ip_addr *dst, const struct rte_ether_addr *to, const struct nd_option *option)
{
    struct rte_mbuf *m = ip_alloc(port->stack);
    if (m == NULL)
        return;
    struct nd_msg *h = (void *)rte_pktmbuf_append(m, (uint16_t)(sizeof *h + (option != NULL ? sizeof *option : 0)));
    *h = (struct nd_msg){.type = type, .flags = rte_cpu_to_be_32(flags)};
    ip6_put(target, h->target);
    if (option != NULL)
        *(struct nd_option *)(h + 1) = *option;
    if (type == ICMP6_SOLICITATION)
        NET_COUNT(port->stack, ND_SOLICITATIONS_TX);
    else
        NET_COUNT(port->stack, ND_ADVERTISEMENTS_TX);
    icmp6_send(port, m, src, dst, 255, to);
}

static struct nd_option our_mac(const struct net_port *port, uint8_t type)
{
    struct nd_option o = {type, 1, {0}};
    memcpy(o.value, port->conf.mac.addr_bytes, sizeof o.value);
    return o;
}

void nd_ask(struct net_port *port, const struct ip_addr *addr, const struct rte_ether_addr *to)
{
    struct ip_addr group = nd_solicited_node(addr), src = ip6_source(port, addr);
    const struct nd_option mac = our_mac(port, ND_OPT_SOURCE);
    /* RFC 4429 3.2: an optimistic address must not get into others' caches. As Linux, we ask all the same. */
    nd_send(port, ICMP6_SOLICITATION, 0, addr, &src, to != NULL ? addr : &group, to, dad_is_unsure(port, &src) ? NULL : &mac);
}

void nd_probe(struct net_port *port, const struct ip_addr *addr, uint64_t nonce)
{
    static const struct ip_addr unspecified;
    const struct ip_addr group = nd_solicited_node(addr);
    struct nd_option o = {OPT_NONCE, 1, {0}};
    memcpy(o.value, &nonce, NONCE_LEN);
    nd_send(port, ICMP6_SOLICITATION, 0, addr, &unspecified, &group, NULL, &o);
}

void nd_advertise(struct net_port *port, const struct ip_addr *addr)
{
    const struct nd_option mac = our_mac(port, ND_OPT_TARGET);
    nd_send(port, ICMP6_ADVERTISEMENT, dad_is_unsure(port, addr) ? 0 : NA_OVERRIDE, addr, addr, &ip6_all_nodes, NULL, &mac);
}

/* ---- In ---- */

struct received {
    struct net_port *port;
    struct ip_addr src, dst, target;
    uint32_t flags;
    bool has_mac;
    struct rte_ether_addr mac; /* by option; without: zero */
    struct rte_ether_addr from; /* who sent the frame */
    uint64_t nonce;            /* 0: none */
};

bool nd_options(const uint8_t *o, uint32_t len, uint8_t type, struct rte_ether_addr *mac, bool *has_mac, uint64_t *nonce)
{
    while (len >= 8) {
        uint32_t n = o[1] * 8u;
        if (n == 0 || n > len)
            return false;
        if (o[0] == type && rte_is_valid_assigned_ether_addr((const void *)(o + 2))) {
            memcpy(mac, o + 2, sizeof *mac);
            *has_mac = true;
        }
        if (o[0] == OPT_NONCE)
            memcpy(nonce, o + 2, NONCE_LEN);
        o += n;
        len -= n;
    }
    return len == 0;
}

bool nd_from_link(const struct ip_pkt *p)
{
    return p->ip6.hop_limits == 255 && !p->fragment && rte_pktmbuf_data_len(p->m) >= p->len;
}

/* RFC 4861 7.1.1, 7.1.2 */
static bool is_valid(const struct ip_pkt *p, struct received *r)
{
    const struct nd_msg *h = rte_pktmbuf_mtod(p->m, const struct nd_msg *);
    if (!nd_from_link(p) || p->len < sizeof *h || h->code != 0)
        return false;
    *r = (struct received){.port = p->port, .src = p->src, .dst = p->dst, .target = ip6_get(p->port, h->target),
                           .flags = rte_be_to_cpu_32(h->flags)};
    memcpy(&r->from, &((const struct rte_ether_hdr *)(const void *)(p->head - sizeof(struct rte_ether_hdr)))->src_addr, sizeof r->from);
    bool asks = h->type == ICMP6_SOLICITATION;
    if (ip6_is_multicast(&r->target) || !nd_options((const uint8_t *)(h + 1), p->len - (uint32_t)sizeof *h,
                                                    asks ? ND_OPT_SOURCE : ND_OPT_TARGET, &r->mac, &r->has_mac, &r->nonce))
        return false;
    if (asks && ip_is_any(&p->src)) {
        struct ip_addr group = nd_solicited_node(&r->target);
        return !r->has_mac && ip_eq(&p->dst, &group);
    }
    return asks || !(r->flags & NA_SOLICITED) || !ip6_is_multicast(&p->dst);
}

static void solicited(struct stack *st, const struct received *r)
{
    struct net_port *port = r->port;
    bool ours = ip_eq(&r->target, &port->link_local) || ip_eq(&r->target, &port->conf.addr6);
    if (!ours || ip6_our_port(st, &r->src) != NULL)
        return;
    if (ip_is_any(&r->src)) { /* somebody wants to have that address */
        if (dad_asked(port, &r->target, &r->from, r->nonce) && net_speaks(st))
            nd_advertise(port, &r->target);
        return;
    }
    if (r->has_mac && ip6_on_link(port, &r->src)) {
        struct neigh *e = neigh_met(port, &r->src);
        if (e != NULL && (e->state == NEIGH_INCOMPLETE || !rte_is_same_ether_addr(&e->mac, &r->mac)))
            neigh_heard(st, e, &r->mac);
    }
    if (!net_speaks(st))
        return;
    uint32_t flags = NA_SOLICITED | (dad_is_unsure(port, &r->target) ? 0 : NA_OVERRIDE);
    const struct nd_option mac = our_mac(port, ND_OPT_TARGET);
    nd_send(port, ICMP6_ADVERTISEMENT, flags, &r->target, &r->target, &r->src, r->has_mac ? &r->mac : NULL, &mac);
}

/* RFC 4861 7.2.5 */
static void advertised(struct stack *st, const struct received *r)
{
    struct net_port *port = r->port;
    if (ip_eq(&r->target, &port->link_local) || ip_eq(&r->target, &port->conf.addr6)) {
        if (!rte_is_same_ether_addr(&r->mac, &port->conf.mac)) /* else our own, come back */
            dad_claimed(port, &r->target, r->has_mac ? &r->mac : &r->from);
        return;
    }
    struct neigh *e = neigh_find(st, port, &r->target);
    if (e == NULL || (e->state == NEIGH_INCOMPLETE && !r->has_mac))
        return; /* nobody asked; or an answer without the answer */
    bool other = r->has_mac && e->state != NEIGH_INCOMPLETE && !rte_is_same_ether_addr(&r->mac, &e->mac);
    struct rte_ether_addr mac = r->has_mac ? r->mac : e->mac;
    if (other && !(r->flags & NA_OVERRIDE)) {
        if (e->state == NEIGH_REACHABLE) {
            mac = e->mac;
            neigh_heard(st, e, &mac);
        }
        return;
    }
    if (r->flags & NA_SOLICITED)
        neigh_confirmed(st, e, &mac);
    else if (other || e->state == NEIGH_INCOMPLETE)
        neigh_heard(st, e, &mac);
}

void nd_input(struct stack *st, struct ip_pkt *p)
{
    struct received r;
    NET_COUNT(st, ND_RX);
    if (!is_valid(p, &r)) {
        net_drop(st, p->m, NET_ND_BAD);
        return;
    }
    bool asks = *rte_pktmbuf_mtod(p->m, const uint8_t *) == ICMP6_SOLICITATION;
    rte_pktmbuf_free(p->m);
    if (asks)
        solicited(st, &r);
    else
        advertised(st, &r);
}
