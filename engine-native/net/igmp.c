/* SPDX-License-Identifier: BSD-3-Clause
 * IGMP (RFC 3376; towards routers of version 2, RFC 2236, and 1, RFC 1112): messages out and in. */
#include <netinet/in.h>

#include "cksum.h"
#include "group.h"
#include "ipv4.h"

#define IGMP_QUERY 0x11
#define IGMP_REPORT1 0x12
#define IGMP_REPORT2 0x16
#define IGMP_LEAVE2 0x17
#define IGMP_REPORT3 0x22
#define ALL_HOSTS RTE_BE32(0xe0000001)
#define ALL_ROUTERS RTE_BE32(0xe0000002)
#define ALL_IGMP3 RTE_BE32(0xe0000016)
#define TOS_INTERNETWORK_CONTROL 0xc0 /* RFC 3376 4 */

struct igmp_hdr {
    uint8_t type, code;
    rte_be16_t cksum;
    rte_be32_t group; /* version 3 reports: reserved, number of records */
} __attribute__((packed, aligned(2)));

struct igmp_record {
    uint8_t type, aux_len;
    rte_be16_t sources;
    rte_be32_t group;
    rte_be32_t source[];
} __attribute__((packed, aligned(2)));

/* With a router alert (RFC 2113), TTL 1. Takes the buffer. */
static void send_to(struct net_port *port, struct rte_mbuf *m, rte_be32_t dst)
{
    struct stack *st = port->stack;
    struct igmp_hdr *h = rte_pktmbuf_mtod(m, struct igmp_hdr *);
    uint16_t len = (uint16_t)rte_pktmbuf_pkt_len(m);
    h->cksum = 0;
    h->cksum = (uint16_t)~rte_raw_cksum(h, len);
    uint8_t *alert = (uint8_t *)rte_pktmbuf_prepend(m, 4);
    memcpy(alert, (uint8_t[]){0x94, 4, 0, 0}, 4);
    struct rte_ipv4_hdr *ip = (void *)rte_pktmbuf_prepend(m, sizeof *ip);
    *ip = (struct rte_ipv4_hdr){.version_ihl = 0x46, .type_of_service = TOS_INTERNETWORK_CONTROL,
                                .total_length = rte_cpu_to_be_16((uint16_t)(len + 24)), .packet_id = rte_cpu_to_be_16(st->ip_id++),
                                .fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG), .time_to_live = 1,
                                .next_proto_id = IPPROTO_IGMP, .src_addr = port->conf.addr, .dst_addr = dst};
    ip->hdr_checksum = (uint16_t)~rte_raw_cksum(ip, 24);
    struct rte_ether_addr mac = ip4_multicast_mac(dst);
    NET_COUNT(st, IGMP_REPORTS_TX);
    NET_COUNT(st, IP_TX);
    eth_send(port, m, &mac, RTE_ETHER_TYPE_IPV4);
}

/* Version 2 and 1 have no sources: a group is wanted or not. */
static void report_old(struct net_port *port, const struct group *g, enum group_record_type type)
{
    bool leaves = type == GROUP_TO_INCLUDE && g->nsources == 0, v1 = port->stack->now < port->igmp1_until;
    struct rte_mbuf *m = leaves && v1 ? NULL : ip_alloc(port->stack);
    if (m == NULL)
        return;
    struct igmp_hdr *h = (void *)rte_pktmbuf_append(m, sizeof *h);
    *h = (struct igmp_hdr){.type = leaves ? IGMP_LEAVE2 : v1 ? IGMP_REPORT1 : IGMP_REPORT2, .group = ip_to_v4(&g->addr)};
    send_to(port, m, leaves ? ALL_ROUTERS : ip_to_v4(&g->addr));
}

void igmp_report(struct net_port *port, const struct group *g, enum group_record_type type)
{
    struct stack *st = port->stack;
    if (port->conf.addr == 0)
        return;
    if (st->now < port->igmp1_until || st->now < port->igmp2_until) {
        report_old(port, g, type);
        return;
    }
    struct rte_mbuf *m = ip_alloc(st);
    if (m == NULL)
        return;
    struct igmp_hdr *h = (void *)rte_pktmbuf_append(m, sizeof *h);
    *h = (struct igmp_hdr){.type = IGMP_REPORT3, .group = RTE_BE32(1)};
    struct igmp_record *r = (void *)rte_pktmbuf_append(m, (uint16_t)(sizeof *r + g->nsources * sizeof r->source[0]));
    *r = (struct igmp_record){.type = (uint8_t)type, .sources = rte_cpu_to_be_16((uint16_t)g->nsources), .group = ip_to_v4(&g->addr)};
    for (uint32_t i = 0; i < g->nsources; i++)
        r->source[i] = ip_to_v4(&g->source[i]);
    send_to(port, m, ALL_IGMP3);
}

/* RFC 3376 4.1.1: tenths of seconds, from 128 on as a floating point number. */
static uint64_t response_time(uint8_t code)
{
    uint64_t tenths = code < 128 ? code : (uint64_t)((code & 15) | 16) << (((code >> 4) & 7) + 3);
    return tenths * 100 * NET_NS_PER_MS;
}

static void query(struct net_port *port, const struct igmp_hdr *h, uint16_t len)
{
    struct stack *st = port->stack;
    uint64_t delay = response_time(h->code);
    if (len == sizeof *h && h->code == 0) { /* version 1, RFC 3376 7.2.1 */
        port->igmp1_until = st->now + GROUP_OLD_QUERIER_NS;
        delay = 10 * NET_NS_PER_S;
    } else if (len == sizeof *h) {
        port->igmp2_until = st->now + GROUP_OLD_QUERIER_NS;
    }
    struct ip_addr group = ip_from_v4(h->group);
    group_query(port, false, h->group == 0 ? NULL : &group, delay);
}

void igmp_input(struct stack *st, struct ip_pkt *p)
{
    struct igmp_hdr h;
    NET_COUNT(st, IGMP_RX);
    if (p->len < sizeof h || rte_pktmbuf_data_len(p->m) < sizeof h || net_cksum(p->m, p->len) != 0xffff || p->ip4.time_to_live != 1) {
        net_drop(st, p->m, NET_IGMP_BAD);
        return;
    }
    memcpy(&h, rte_pktmbuf_mtod(p->m, const void *), sizeof h);
    rte_pktmbuf_free(p->m);
    struct ip_addr group = ip_from_v4(h.group);
    if (h.type == IGMP_QUERY)
        query(p->port, &h, p->len);
    else if ((h.type == IGMP_REPORT1 || h.type == IGMP_REPORT2) && (st->now < p->port->igmp1_until || st->now < p->port->igmp2_until))
        group_heard(p->port, &group);
}
