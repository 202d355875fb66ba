/* SPDX-License-Identifier: BSD-3-Clause
 * Multicast listener discovery (RFC 3810; towards routers of version 1, RFC 2710): messages out and in. Our solicited-node groups
 * are reported at the beginning and in answers, so that switches that snoop forward what is sent to them; the groups of sockets
 * as group.c says. */
#include "ipv6.h"

#include <netinet/in.h>

#include "group.h"

#define MLD1_REPORT 131
#define MLD1_DONE 132
#define MLD1_QUERY_LEN 24u

/* RFC 3810 5.2. */
struct mld_record {
    uint8_t type, aux_len;
    rte_be16_t sources;
    uint8_t group[16];
    uint8_t source[][16];
};
struct mld_report_hdr {
    uint8_t type, code;
    rte_be16_t cksum, reserved, records;
};
/* RFC 2710 3, and what a query of RFC 3810 begins with. */
struct mld1 {
    uint8_t type, code;
    rte_be16_t cksum, delay, reserved;
    uint8_t group[16];
};
/* Hop-by-hop options: router alert (RFC 2711) for MLD, padding. */
struct mld_options {
    uint8_t next, len, option[6];
};

static const struct ip_addr all_mld_routers = {.b = {0xff, 2, [15] = 0x16}}, all_routers = {.b = {0xff, 2, [15] = 2}};

/* Takes the message. */
static void send_to(struct net_port *port, struct rte_mbuf *m, const struct ip_addr *dst)
{
    struct stack *st = port->stack;
    static const struct ip_addr unspecified;
    /* RFC 3590 4: before the link-local address is known to be unique, from no address. */
    const struct ip_addr *src = dad_is_unsure(port, &port->link_local) ? &unspecified : &port->link_local;
    struct mld_report_hdr *r = rte_pktmbuf_mtod(m, struct mld_report_hdr *);
    r->cksum = (uint16_t)~ip_l4_sum(m, src, dst, IPPROTO_ICMPV6, (uint16_t)rte_pktmbuf_pkt_len(m));
    struct mld_options *o = (void *)rte_pktmbuf_prepend(m, sizeof *o);
    *o = (struct mld_options){IPPROTO_ICMPV6, 0, {5, 2, 0, 0, 1, 0}};
    NET_COUNT(st, MLD_REPORTS_TX);
    ip6_send(port, m, src, dst, IPPROTO_HOPOPTS, 1, NULL);
}

static void add_record(struct rte_mbuf *m, uint8_t type, const struct ip_addr *group, const struct ip_addr *source, uint32_t n)
{
    struct mld_record *r = (void *)rte_pktmbuf_append(m, (uint16_t)(sizeof *r + n * 16));
    *r = (struct mld_record){.type = type, .sources = rte_cpu_to_be_16((uint16_t)n)};
    memcpy(r->group, group->b, 16);
    for (uint32_t i = 0; i < n; i++)
        ip6_put(&source[i], r->source[i]);
}

static struct rte_mbuf *begin_report(struct net_port *port, uint16_t records)
{
    struct rte_mbuf *m = ip_alloc(port->stack);
    if (m != NULL)
        *(struct mld_report_hdr *)(void *)rte_pktmbuf_append(m, sizeof(struct mld_report_hdr)) =
            (struct mld_report_hdr){.type = ICMP6_MLD2_REPORT, .records = rte_cpu_to_be_16(records)};
    return m;
}

static void send_old(struct net_port *port, const struct ip_addr *group, bool leaves)
{
    struct rte_mbuf *m = ip_alloc(port->stack);
    if (m == NULL)
        return;
    struct mld1 *h = (void *)rte_pktmbuf_append(m, sizeof *h);
    *h = (struct mld1){.type = leaves ? MLD1_DONE : MLD1_REPORT};
    memcpy(h->group, group->b, 16);
    send_to(port, m, leaves ? &all_routers : group);
}

static bool is_old(const struct net_port *port)
{
    return port->stack->now < port->mld1_until;
}

void mld_report(struct net_port *port, const struct group *g, enum group_record_type type)
{
    if (is_old(port)) {
        send_old(port, &g->addr, type == GROUP_TO_INCLUDE && g->nsources == 0);
        return;
    }
    struct rte_mbuf *m = begin_report(port, 1);
    if (m == NULL)
        return;
    add_record(m, (uint8_t)type, &g->addr, g->source, g->nsources);
    send_to(port, m, &all_mld_routers);
}

/* Of our solicited-node groups. */
static void report_own(struct net_port *port, uint8_t how)
{
    uint16_t n = ip_eq(&port->group[0], &port->group[1]) || ip_is_any(&port->group[1]) ? 1 : 2;
    if (is_old(port)) {
        for (uint16_t i = 0; i < n; i++)
            send_old(port, &port->group[i], false);
        return;
    }
    struct rte_mbuf *m = begin_report(port, n);
    if (m == NULL)
        return;
    for (uint16_t i = 0; i < n; i++)
        add_record(m, how, &port->group[i], NULL, 0);
    send_to(port, m, &all_mld_routers);
}

static void report_due(void *ctx, struct wheel_timer *t)
{
    struct net_port *port = (void *)((char *)t - offsetof(struct net_port, mld));
    struct stack *st = ctx;
    port->mld_quiet_until = st->now + GROUP_ANSWERS_APART_NS;
    report_own(port, port->mld_left > 0 ? GROUP_TO_EXCLUDE : GROUP_IS_EXCLUDE);
    if (port->mld_left > 0 && --port->mld_left > 0)
        wheel_arm(&st->wheel, t, st->now + GROUP_AGAIN_NS);
}

void mld_start(struct net_port *port)
{
    if (!net_speaks(port->stack))
        return;
    port->mld.fire = report_due;
    port->mld_left = GROUP_ROBUSTNESS;
    report_due(port->stack, &port->mld);
}

/* RFC 3810 5.1.3: milliseconds, from 32768 on as a floating point number. */
static uint64_t response_time(uint16_t code)
{
    uint64_t ms = code < 32768 ? code : (uint64_t)((code & 0xfff) | 0x1000) << (((code >> 12) & 7) + 3);
    return RTE_MIN(ms, UINT64_C(60000)) * NET_NS_PER_MS;
}

void mld_query(struct stack *st, struct ip_pkt *p)
{
    struct mld1 q;
    struct net_port *port = p->port;
    uint16_t len = p->len;
    /* RFC 3810 5.1.14, 6.2: from a router of this link. */
    if (len < sizeof q || rte_pktmbuf_data_len(p->m) < sizeof q || p->ip6.hop_limits != 1 || !ip6_is_link_local(&p->src)) {
        net_drop(st, p->m, NET_ICMP_BAD);
        return;
    }
    memcpy(&q, rte_pktmbuf_mtod(p->m, const void *), sizeof q);
    rte_pktmbuf_free(p->m);
    if (len == MLD1_QUERY_LEN)
        port->mld1_until = st->now + GROUP_OLD_QUERIER_NS;
    uint64_t delay = response_time(rte_be_to_cpu_16(q.delay));
    struct ip_addr group = ip6_get(port, q.group);
    bool all = ip_is_any(&group);
    if ((all || ip_eq(&group, &port->group[0]) || ip_eq(&group, &port->group[1])) && !port->mld.armed)
        wheel_arm(&st->wheel, &port->mld, RTE_MAX(st->now + net_random(st) % (delay + 1), port->mld_quiet_until));
    group_query(port, true, all ? NULL : &group, delay);
}

/* RFC 2710 4: one report suffices. */
void mld_heard(struct stack *st, struct ip_pkt *p)
{
    struct mld1 r;
    if (p->len != sizeof r || rte_pktmbuf_data_len(p->m) < sizeof r || p->ip6.hop_limits != 1 || !is_old(p->port)) {
        net_drop(st, p->m, NET_ICMP_IGNORED);
        return;
    }
    memcpy(&r, rte_pktmbuf_mtod(p->m, const void *), sizeof r);
    rte_pktmbuf_free(p->m);
    struct ip_addr group = ip6_get(p->port, r.group);
    group_heard(p->port, &group);
}
