/* SPDX-License-Identifier: BSD-3-Clause
 * Redirects (RFC 1122 3.2.2.2, 4861 8) as a Linux host takes them by default: about one destination, whatever the code says
 * (RFC 1812 4.3.3.2), from the gateway that its packets take, to a neighbour that answers. A small table that forgets, whose
 * lines replace each other, as that of pmtu.c. */
#include <netinet/in.h>
#include <stdlib.h>

#include "ipv4.h"
#include "ipv6.h"
#include "neigh.h"
#include "route.h"

#define REDIRECT_LINES 256u
#define REDIRECT_KEEP_NS (300 * NET_NS_PER_S) /* as Linux' for IPv4: the gateway says it again */

#define OPT_REDIRECTED 4 /* RFC 4861 4.6.3: the packet it is about */

struct redirect_line {
    struct ip_addr dst, gateway, hop; /* gateway: as the table of routes has it */
    struct net_port *port;
    uint64_t until; /* 0: unused */
};

struct redirect_table {
    bool used; /* any was ever believed */
    struct redirect_line line[REDIRECT_LINES];
};

struct redirect_table *redirects_create(void)
{
    return calloc(1, sizeof(struct redirect_table));
}

void redirects_destroy(struct stack *st)
{
    free(st->redirects);
}

static struct redirect_line *line_of(struct stack *st, const struct ip_addr *dst)
{
    return &st->redirects->line[ip_hash(dst) >> 24];
}

/* The line of dst, while it is valid for packets that would go to `gateway`. */
static struct redirect_line *find(struct stack *st, const struct ip_addr *dst, const struct net_port *port, const struct ip_addr *gateway)
{
    struct redirect_line *l = line_of(st, dst);
    return l->until > st->now && l->port == port && ip_eq(&l->dst, dst) && ip_eq(&l->gateway, gateway) ? l : NULL;
}

void redirect_apply(struct stack *st, const struct ip_addr *dst, struct ip_route *route)
{
    if (!st->redirects->used)
        return;
    const struct redirect_line *l = find(st, dst, route->port, &route->hop);
    if (l != NULL)
        route->hop = l->hop;
}

void redirect_forget(struct stack *st, const struct ip_addr *dst)
{
    struct redirect_line *l = line_of(st, dst);
    if (st->redirects->used && ip_eq(&l->dst, dst))
        l->until = 0;
}

/* Another host of the port's link, or for IPv6 a router of it or the destination itself (RFC 4861 8.1). */
static bool is_neighbour(struct stack *st, const struct ip_addr *dst, const struct ip_redirect *r)
{
    if (ip_our_port(st, &r->hop) != NULL || ip_is_group(&r->hop) || ip_is_any(&r->hop))
        return false;
    if (!ip_is_v4(&r->hop))
        return ip6_is_link_local(&r->hop) || ip_eq(&r->hop, dst);
    const struct route *on_link = route_find(st, &r->hop, r->port);
    return on_link != NULL && ip_is_any(&on_link->hop) && !ip4_is_broadcast(r->port, ip_to_v4(&r->hop));
}

void redirect_learn(struct stack *st, const struct ip_addr *dst, const struct ip_redirect *r)
{
    const struct route *route = route_find(st, dst, NULL);
    const struct redirect_line *now = route == NULL ? NULL : find(st, dst, r->port, &route->hop);
    const struct ip_addr *hop = now != NULL ? &now->hop : route != NULL ? &route->hop : NULL;
    if (hop == NULL || ip_is_any(hop) || route->port != r->port || !ip_eq(hop, &r->from) || ip_eq(hop, &r->hop) ||
        !is_neighbour(st, dst, r)) {
        NET_COUNT(st, REDIRECT_REFUSED);
        return;
    }
    if (!neigh_known(r->port, &r->hop, r->mac)) { /* as Linux: nothing goes there before it answers; the gateway says it again */
        NET_COUNT(st, REDIRECT_UNKNOWN);
        return;
    }
    struct redirect_line *l = line_of(st, dst);
    if (l->until > st->now && !ip_eq(&l->dst, dst))
        NET_COUNT(st, REDIRECTS_REPLACED);
    NET_COUNT(st, REDIRECTS_TAKEN);
    st->redirects->used = true;
    *l = (struct redirect_line){*dst, route->hop, r->hop, r->port, st->now + REDIRECT_KEEP_NS};
}

/* ---- IPv6's message (RFC 4861 4.5) ---- */

struct redirect6 {
    struct icmp6_hdr icmp;
    uint8_t target[16], dst[16];
} __attribute__((packed, aligned(2)));

/* The packet that is quoted; NULL: none. Options are well formed. */
static const uint8_t *quoted(const uint8_t *o, uint32_t len, uint32_t *have)
{
    for (; len >= 8; len -= o[1] * 8u, o += o[1] * 8u) {
        *have = o[1] * 8u - 8u;
        if (o[0] == OPT_REDIRECTED)
            return o + 8;
    }
    return NULL;
}

/* RFC 4861 8.1 */
static bool is_valid(const struct ip_pkt *p, const struct ip_addr *target, const struct ip_addr *dst)
{
    return ip6_is_link_local(&p->src) && !ip6_is_multicast(dst) && (ip6_is_link_local(target) || ip_eq(target, dst));
}

void redirect6_input(struct stack *st, struct ip_pkt *p)
{
    const struct redirect6 *h = rte_pktmbuf_mtod(p->m, const struct redirect6 *);
    const uint8_t *options = (const uint8_t *)(h + 1);
    struct ip_redirect r = {.port = p->port, .from = p->src};
    struct rte_ether_addr mac;
    struct ip_addr dst;
    bool has_mac = false, good = nd_from_link(p) && p->len >= sizeof *h && h->icmp.code == 0;
    uint32_t len = good ? p->len - (uint32_t)sizeof *h : 0, have = 0;
    if (good) {
        r.hop = ip6_get(p->port, h->target);
        dst = ip6_get(p->port, h->dst);
        good = is_valid(p, &r.hop, &dst) && nd_options(options, len, ND_OPT_TARGET, &mac, &has_mac, &(uint64_t){0});
    }
    if (!good) {
        net_drop(st, p->m, NET_ND_BAD);
        return;
    }
    const uint8_t *packet = quoted(options, len, &have);
    struct ip_error e = {.redirect = &r, .offender = p->src};
    if (has_mac)
        r.mac = &mac;
    if (packet == NULL) /* as Linux: it is of the link, where who lies may as well answer for the router */
        redirect_learn(st, &dst, &r);
    else if (have < sizeof(struct rte_ipv6_hdr) + 8 || memcmp(((const struct rte_ipv6_hdr *)(const void *)packet)->dst_addr, h->dst, 16) != 0)
        NET_COUNT(st, ND_BAD);
    else
        icmp6_tell(p->port, (const void *)packet, have, &e);
    rte_pktmbuf_free(p->m);
}
