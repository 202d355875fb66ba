/* SPDX-License-Identifier: BSD-3-Clause
 * Multicast listener reports (RFC 3810), as much as it takes for switches that snoop to forward what is sent to our
 * solicited-node groups: a report at the beginning, again a second later, and an answer to queries. */
#include "ipv6.h"

#include <netinet/in.h>

#define MLD_ROBUSTNESS 2u /* RFC 3810 9.1 */
#define MLD_AGAIN_NS NET_NS_PER_S
#define MLD_IS_EXCLUDE 2u /* a group that we are in: exclude no source (5.2.12) */
#define MLD_TO_EXCLUDE 4u

/* RFC 3810 5.2; without sources. */
struct mld_record {
    uint8_t type, aux_len;
    rte_be16_t sources;
    uint8_t group[16];
};
struct mld_report {
    uint8_t type, code;
    rte_be16_t cksum, reserved, records;
    struct mld_record record[2];
};
/* Hop-by-hop options: router alert (RFC 2711) for MLD, padding. */
struct mld_options {
    uint8_t next, len, option[6];
};

static const struct ip_addr all_mld_routers = {.b = {0xff, 2, [15] = 0x16}};

static void report(struct net_port *port, uint8_t how)
{
    struct stack *st = port->stack;
    static const struct ip_addr unspecified;
    struct rte_mbuf *m = ip_alloc(st);
    if (m == NULL)
        return;
    uint16_t n = ip_eq(&port->group[0], &port->group[1]) ? 1 : 2;
    uint16_t size = (uint16_t)(offsetof(struct mld_report, record) + n * sizeof(struct mld_record));
    struct mld_report *r = (void *)rte_pktmbuf_append(m, size);
    *r = (struct mld_report){.type = ICMP6_MLD2_REPORT, .records = rte_cpu_to_be_16(n)};
    for (uint16_t i = 0; i < n; i++) {
        r->record[i] = (struct mld_record){.type = how};
        memcpy(r->record[i].group, port->group[i].b, 16);
    }
    /* RFC 3590 4: before the link-local address is known to be unique, from no address. */
    const struct ip_addr *src = st->now < port->optimistic_until || port->optimistic_until == 0 ? &unspecified : &port->link_local;
    r->cksum = (uint16_t)~ip_l4_sum(m, src, &all_mld_routers, IPPROTO_ICMPV6, size);
    struct mld_options *o = (void *)rte_pktmbuf_prepend(m, sizeof *o);
    *o = (struct mld_options){IPPROTO_ICMPV6, 0, {5, 2, 0, 0, 1, 0}};
    NET_COUNT(st, MLD_REPORTS_TX);
    ip6_send(port, m, src, &all_mld_routers, IPPROTO_HOPOPTS, 1, NULL);
}

static void report_due(void *ctx, struct wheel_timer *t)
{
    struct net_port *port = (void *)((char *)t - offsetof(struct net_port, mld));
    struct stack *st = ctx;
    report(port, port->mld_left > 0 ? MLD_TO_EXCLUDE : MLD_IS_EXCLUDE);
    if (port->mld_left > 0 && --port->mld_left > 0)
        wheel_arm(&st->wheel, t, st->now + MLD_AGAIN_NS);
}

void mld_start(struct net_port *port)
{
    port->mld.fire = report_due;
    port->mld_left = MLD_ROBUSTNESS;
    report_due(port->stack, &port->mld);
}

void mld_query(struct stack *st, struct ip_pkt *p)
{
    struct {
        uint8_t type, code;
        rte_be16_t cksum, delay, reserved;
        uint8_t group[16];
    } q;
    struct net_port *port = p->port;
    /* RFC 3810 5.1.14, 6.2: from a router of this link. Not answered: queries of MLDv1 with their own form. */
    if (p->len < sizeof q || rte_pktmbuf_data_len(p->m) < sizeof q || p->ip6.hop_limits != 1 || !ip6_is_link_local(&p->src)) {
        net_drop(st, p->m, NET_ICMP_BAD);
        return;
    }
    memcpy(&q, rte_pktmbuf_mtod(p->m, const void *), sizeof q);
    rte_pktmbuf_free(p->m);
    /* 6.2: one answer for all groups, at a random time within the delay, whose exponential form is cut short here. */
    uint64_t most = RTE_MIN((uint64_t)rte_be_to_cpu_16(q.delay), UINT64_C(10000)) * NET_NS_PER_MS;
    if (!port->mld.armed)
        wheel_arm(&st->wheel, &port->mld, st->now + net_random(st) % (most + NET_NS_PER_MS));
}
