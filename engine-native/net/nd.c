/* SPDX-License-Identifier: BSD-3-Clause
 * Neighbour discovery's messages (RFC 4861 7), and the uniqueness of our addresses: duplicate address detection (RFC 4862 5.4)
 * in the optimistic form (RFC 4429): addresses are used at once, and until a second has passed without objection nothing we say
 * replaces what others know. A conflict is told and the address kept, as with IPv4 (RFC 5227); RFC 4862 5.4.5 would take
 * it from the interface. The cache is neigh.c's. */
#include "neigh.h"

#include "ipv6.h"

#define NA_SOLICITED (1u << 30)
#define NA_OVERRIDE (1u << 29)
#define OPT_SOURCE 1 /* link-layer address of the sender */
#define OPT_TARGET 2 /* of the target */

struct nd_msg {
    uint8_t type, code;
    rte_be16_t cksum;
    rte_be32_t flags;
    uint8_t target[16];
} __attribute__((packed, aligned(2)));
struct nd_mac_option {
    uint8_t type, len; /* 8 bytes each */
    struct rte_ether_addr mac;
};

static const struct ip_addr unspecified;

struct ip_addr nd_solicited_node(const struct ip_addr *a)
{
    return (struct ip_addr){.b = {0xff, 2, [11] = 1, 0xff, a->b[13], a->b[14], a->b[15]}};
}

static bool is_optimistic(const struct net_port *port)
{
    return port->stack->now < port->optimistic_until;
}

/* ---- Out ---- */

static void nd_send(struct net_port *port, uint8_t type, uint32_t flags, const struct ip_addr *target, const struct ip_addr *src,
                 const struct ip_addr *dst, const struct rte_ether_addr *to, bool with_mac)
{
    struct rte_mbuf *m = ip_alloc(port->stack);
    if (m == NULL)
        return;
    struct nd_msg *h = (void *)rte_pktmbuf_append(m, (uint16_t)(sizeof *h + (with_mac ? sizeof(struct nd_mac_option) : 0)));
    *h = (struct nd_msg){.type = type, .flags = rte_cpu_to_be_32(flags)};
    ip6_put(target, h->target);
    if (with_mac)
        *(struct nd_mac_option *)(h + 1) =
            (struct nd_mac_option){type == ICMP6_SOLICITATION ? OPT_SOURCE : OPT_TARGET, 1, port->conf.mac};
    if (type == ICMP6_SOLICITATION)
        NET_COUNT(port->stack, ND_SOLICITATIONS_TX);
    else
        NET_COUNT(port->stack, ND_ADVERTISEMENTS_TX);
    icmp6_send(port, m, src, dst, 255, to);
}

void nd_ask(struct net_port *port, const struct ip_addr *addr, const struct rte_ether_addr *to)
{
    struct ip_addr group = nd_solicited_node(addr), src = ip6_source(port, addr);
    /* RFC 4429 3.2: an optimistic address must not get into others' caches. As Linux, we ask all the same. */
    nd_send(port, ICMP6_SOLICITATION, 0, addr, &src, to != NULL ? addr : &group, to, !is_optimistic(port));
}

static void advertise(struct net_port *port, const struct ip_addr *addr)
{
    nd_send(port, ICMP6_ADVERTISEMENT, NA_OVERRIDE, addr, addr, &ip6_all_nodes, NULL, true);
}

/* ---- Our addresses ---- */

static void dad_due(void *ctx, struct wheel_timer *t)
{
    struct net_port *port = (void *)((char *)t - offsetof(struct net_port, dad));
    (void)ctx;
    /* Nobody objected: now others may replace what they knew (RFC 9131). */
    advertise(port, &port->link_local);
    if (!ip_eq(&port->conf.addr6, &port->link_local))
        advertise(port, &port->conf.addr6);
}

void nd_start(struct net_port *port)
{
    struct stack *st = port->stack;
    port->optimistic_until = st->now + ND_DAD_NS;
    if (!net_speaks(st))
        return;
    port->dad.fire = dad_due;
    wheel_arm(&st->wheel, &port->dad, port->optimistic_until);
    nd_send(port, ICMP6_SOLICITATION, 0, &port->link_local, &unspecified, &port->group[0], NULL, false);
    if (!ip_eq(&port->conf.addr6, &port->link_local))
        nd_send(port, ICMP6_SOLICITATION, 0, &port->conf.addr6, &unspecified, &port->group[1], NULL, false);
}

/* Somebody else says that our address is his. Defended, but not in a shouting match (as RFC 5227 2.4 (b)). */
static void conflict(struct net_port *port, const struct ip_addr *addr, const struct rte_ether_addr *mac)
{
    struct stack *st = port->stack;
    NET_COUNT(st, ND_CONFLICT);
    if (st->conf.conflict != NULL)
        st->conf.conflict(st->conf.owner, port, addr, mac);
    if (port->defended6 != 0 && st->now - port->defended6 < ND_DEFEND_INTERVAL_NS)
        return;
    port->defended6 = st->now;
    advertise(port, addr);
}

/* ---- In ---- */

struct received {
    struct net_port *port;
    struct ip_addr src, dst, target;
    uint32_t flags;
    bool has_mac;
    struct rte_ether_addr mac; /* by option; without: zero */
};

/* RFC 4861 4.6: options; false for one of length 0. */
static bool read_mac(const uint8_t *o, uint32_t len, uint8_t type, struct received *r)
{
    while (len >= 8) {
        uint32_t n = o[1] * 8u;
        if (n == 0 || n > len)
            return false;
        const struct nd_mac_option *option = (const void *)o;
        if (o[0] == type && rte_is_valid_assigned_ether_addr(&option->mac)) {
            r->mac = option->mac;
            r->has_mac = true;
        }
        o += n;
        len -= n;
    }
    return len == 0;
}

/* RFC 4861 7.1.1, 7.1.2 */
static bool is_valid(const struct ip_pkt *p, struct received *r)
{
    const struct nd_msg *h = rte_pktmbuf_mtod(p->m, const struct nd_msg *);
    if (p->ip6.hop_limits != 255 || rte_pktmbuf_data_len(p->m) < p->len || p->len < sizeof *h || h->code != 0)
        return false;
    *r = (struct received){.port = p->port, .src = p->src, .dst = p->dst, .target = ip6_get(p->port, h->target),
                           .flags = rte_be_to_cpu_32(h->flags)};
    bool asks = h->type == ICMP6_SOLICITATION;
    if (ip6_is_multicast(&r->target) || !read_mac((const uint8_t *)(h + 1), p->len - (uint32_t)sizeof *h, asks ? OPT_SOURCE : OPT_TARGET, r))
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
        if (!net_speaks(st))
            return;
        if (is_optimistic(port))
            conflict(port, &r->target, &r->mac);
        else
            advertise(port, &r->target);
        return;
    }
    if (r->has_mac && ip6_on_link(port, &r->src)) {
        struct neigh *e = neigh_find(st, port, &r->src);
        if (e == NULL)
            e = neigh_new(port, &r->src);
        if (e != NULL && (e->state == NEIGH_INCOMPLETE || !rte_is_same_ether_addr(&e->mac, &r->mac)))
            neigh_heard(st, e, &r->mac);
    }
    if (!net_speaks(st))
        return;
    uint32_t flags = NA_SOLICITED | (is_optimistic(port) ? 0 : NA_OVERRIDE);
    nd_send(port, ICMP6_ADVERTISEMENT, flags, &r->target, &r->target, &r->src, r->has_mac ? &r->mac : NULL, true);
}

/* RFC 4861 7.2.5 */
static void advertised(struct stack *st, const struct received *r)
{
    struct net_port *port = r->port;
    if (ip_eq(&r->target, &port->link_local) || ip_eq(&r->target, &port->conf.addr6)) {
        if (!rte_is_same_ether_addr(&r->mac, &port->conf.mac) && net_speaks(st)) /* else our own, come back */
            conflict(port, &r->target, &r->mac);
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
