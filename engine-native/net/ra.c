/* SPDX-License-Identifier: BSD-3-Clause
 * Router advertisements, on ports that are to believe them (RFC 4861 4.2, 6.3; 4862 5.5): default routers, prefixes on the link, an
 * address of the first prefix that offers one (modified EUI-64), the link's MTU; and solicitations at the beginning. Lifetimes
 * are kept; a configured address or gateway stays whatever routers say. Recursive DNS and the like are the host's affair. */
#include "neigh.h"

#include "ipv6.h"
#include "route.h"

#define RS_MAX 3u                       /* RFC 4861 10 MAX_RTR_SOLICITATIONS */
#define RS_INTERVAL_NS (4 * NET_NS_PER_S)
#define TWO_HOURS_S 7200u               /* RFC 4862 5.5.3 (e) */
#define INFINITE UINT32_MAX

#define OPT_SOURCE 1
#define OPT_PREFIX 3
#define OPT_MTU 5
#define PREFIX_ON_LINK 0x80
#define PREFIX_AUTONOMOUS 0x40

struct ra {
    uint8_t type, code;
    rte_be16_t cksum;
    uint8_t hops, flags;
    rte_be16_t lifetime; /* s */
    rte_be32_t reachable, retransmit;
} __attribute__((packed, aligned(2)));

struct ra_prefix {
    uint8_t type, len, prefix_len, flags;
    rte_be32_t valid, preferred, reserved; /* s */
    uint8_t prefix[16];
} __attribute__((packed, aligned(2)));

struct ra_mtu {
    uint8_t type, len;
    rte_be16_t reserved;
    rte_be32_t mtu;
} __attribute__((packed, aligned(2)));

static const struct ip_addr all_routers = {.b = {0xff, 2, [15] = 2}}, unspecified;

static uint64_t until(const struct stack *st, uint32_t seconds)
{
    return seconds == INFINITE ? ROUTE_FOREVER : st->now + seconds * NET_NS_PER_S;
}

/* ---- Lifetimes ---- */

static bool has_learned(const struct net_port *port)
{
    return port->addr_until != 0;
}

static void watch(struct net_port *port)
{
    struct stack *st = port->stack;
    uint64_t next = has_learned(port) ? port->addr_until : UINT64_MAX;
    for (uint32_t i = 0; i < st->nroutes; i++)
        if (st->routes[i].learned && st->routes[i].port == port)
            next = RTE_MIN(next, st->routes[i].until);
    if (port->rs_left > 0)
        next = RTE_MIN(next, port->rs_at);
    if (next != UINT64_MAX)
        wheel_arm(&st->wheel, &port->ra, RTE_MAX(next, st->now + 1));
    else
        wheel_disarm(&st->wheel, &port->ra);
}

static void forget_address(struct net_port *port)
{
    port->conf.addr6 = port->link_local;
    port->conf.prefix6_len = 64;
    port->group[1] = port->group[0];
    port->addr_until = 0;
    dad_forget_address(port);
    port->stack->routes_changed++;
}

/* RFC 4861 4.1 */
static void solicit(struct net_port *port)
{
    struct stack *st = port->stack;
    struct rte_mbuf *m = ip_alloc(st);
    port->rs_left--;
    port->rs_at = st->now + RS_INTERVAL_NS;
    if (m == NULL)
        return;
    struct icmp6_hdr *h = (void *)rte_pktmbuf_append(m, sizeof *h);
    *h = (struct icmp6_hdr){.type = ICMP6_ROUTER_SOLICITATION};
    /* An optimistic address must not get into others' caches (RFC 4429 3.2): from no address then. */
    const struct ip_addr *src = dad_is_unsure(port, &port->link_local) ? &unspecified : &port->link_local;
    NET_COUNT(st, RA_SOLICITATIONS_TX);
    icmp6_send(port, m, src, &all_routers, 255, NULL);
}

static void due(void *ctx, struct wheel_timer *t)
{
    struct net_port *port = (void *)((char *)t - offsetof(struct net_port, ra));
    struct stack *st = ctx;
    if (has_learned(port) && port->addr_until <= st->now)
        forget_address(port);
    routes_expire(st);
    if (port->rs_left > 0 && port->rs_at <= st->now)
        solicit(port);
    watch(port);
}

void ra_start(struct net_port *port)
{
    if (!port->conf.ra)
        return;
    port->ra.fire = due;
    port->rs_left = net_speaks(port->stack) ? RS_MAX : 0;
    port->rs_at = port->stack->now + net_random(port->stack) % NET_NS_PER_S; /* 6.3.7: not all hosts at once */
    watch(port);
}

/* ---- In ---- */

static void set_route(struct net_port *port, const struct ip_addr *prefix, uint8_t len, const struct ip_addr *hop, uint32_t lifetime)
{
    struct route r = {.prefix = *prefix, .len = len, .learned = true, .port = port, .hop = *hop,
                      .until = until(port->stack, lifetime)};
    if (lifetime == 0)
        route_remove_learned(port->stack, &r);
    else
        route_set(port->stack, &r);
}

/* RFC 4862 5.5.3 */
static void autoconfigure(struct net_port *port, const struct ip_addr *prefix, uint32_t valid)
{
    struct stack *st = port->stack;
    bool have = has_learned(port), same = have && ip_prefix_matches(prefix, 64, &port->conf.addr6);
    if (same) { /* (e): nobody may shorten it to less than two hours who did not announce that much before */
        uint64_t left = port->addr_until == ROUTE_FOREVER ? UINT64_MAX : (port->addr_until - st->now) / NET_NS_PER_S;
        if (valid > TWO_HOURS_S || valid > left)
            port->addr_until = until(st, valid);
        else if (left > TWO_HOURS_S)
            port->addr_until = until(st, TWO_HOURS_S);
        return;
    }
    if (have || !ip_eq(&port->conf.addr6, &port->link_local) || valid == 0) {
        NET_COUNT(st, RA_PREFIX_IGNORED); /* one global address per port */
        return;
    }
    struct ip_addr a = *prefix;
    memcpy(a.b + 8, port->link_local.b + 8, 8);
    port->conf.addr6 = a;
    port->conf.prefix6_len = 64;
    port->group[1] = nd_solicited_node(&a);
    port->addr_until = until(st, valid);
    st->routes_changed++;
    NET_COUNT(st, RA_ADDRESSES);
    dad_new_address(port);
}

static void read_prefix(struct net_port *port, const struct ra_prefix *o)
{
    struct ip_addr prefix, on_link = {.w = {0}};
    uint32_t valid = rte_be_to_cpu_32(o->valid);
    memcpy(prefix.b, o->prefix, 16);
    if (o->prefix_len > 128 || ip6_is_link_local(&prefix) || ip6_is_multicast(&prefix) || ip_is_v4(&prefix))
        return;
    if (o->flags & PREFIX_ON_LINK)
        set_route(port, &prefix, o->prefix_len, &on_link, valid);
    if ((o->flags & PREFIX_AUTONOMOUS) && o->prefix_len == 64 && rte_be_to_cpu_32(o->preferred) <= valid)
        autoconfigure(port, &prefix, valid);
}

/* All options, or with `apply` false only whether they are well formed (RFC 4861 6.1.2). */
static bool options(struct net_port *port, const struct ip_addr *router, const uint8_t *o, uint32_t len, bool apply)
{
    for (; len >= 8 && o[1] != 0 && o[1] * 8u <= len; len -= o[1] * 8u, o += o[1] * 8u) {
        if (!apply)
            continue;
        if (o[0] == OPT_PREFIX && o[1] == 4)
            read_prefix(port, (const void *)o);
        if (o[0] == OPT_MTU && o[1] == 1) {
            uint32_t mtu = rte_be_to_cpu_32(((const struct ra_mtu *)(const void *)o)->mtu);
            if (mtu >= 1280 && mtu <= port->conf.mtu)
                port->mtu6 = (uint16_t)mtu;
        }
        if (o[0] == OPT_SOURCE && o[1] == 1) {
            struct rte_ether_addr mac;
            memcpy(&mac, o + 2, sizeof mac);
            struct neigh *e = rte_is_valid_assigned_ether_addr(&mac) ? neigh_met(port, router) : NULL;
            if (e != NULL && (e->state == NEIGH_INCOMPLETE || !rte_is_same_ether_addr(&e->mac, &mac)))
                neigh_heard(port->stack, e, &mac);
        }
    }
    return len == 0;
}

void ra_input(struct stack *st, struct ip_pkt *p)
{
    struct net_port *port = p->port;
    const struct ra *h = rte_pktmbuf_mtod(p->m, const struct ra *);
    if (!port->conf.ra) {
        net_drop(st, p->m, NET_ICMP_IGNORED);
        return;
    }
    if (!nd_from_link(p) || !ip6_is_link_local(&p->src) || p->len < sizeof *h ||
        h->code != 0 || !options(port, &p->src, (const uint8_t *)(h + 1), p->len - (uint32_t)sizeof *h, false)) {
        net_drop(st, p->m, NET_ND_BAD);
        return;
    }
    NET_COUNT(st, RA_RX);
    port->rs_left = 0;
    set_route(port, &unspecified, 0, &p->src, rte_be_to_cpu_16(h->lifetime));
    options(port, &p->src, (const uint8_t *)(h + 1), p->len - (uint32_t)sizeof *h, true);
    rte_pktmbuf_free(p->m);
    watch(port);
}
