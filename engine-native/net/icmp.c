/* SPDX-License-Identifier: BSD-3-Clause
 * ICMP: echo, errors out (rate limited), errors in (to the sockets they are about). RFC 792, 1122 3.2.2. */
#include <errno.h>
#include <netinet/in.h>
#include <rte_icmp.h>

#include "cksum.h"
#include "ipv4.h"

/* Header of an error: type, code, checksum, 4 bytes that depend on the type; then the packet it is about. */
struct icmp_error_hdr {
    uint8_t type, code;
    rte_be16_t cksum;
    rte_be32_t rest;
} __attribute__((packed, aligned(2)));

void icmp_error(struct stack *st, uint8_t type, uint8_t code, const struct rte_ipv4_hdr *ip, const void *payload,
                uint16_t payload_len)
{
    /* RFC 1122 3.2.2: not about ICMP (errors at least; queries that reach this are none), broadcasts, later fragments. */
    bool later = (rte_be_to_cpu_16(ip->fragment_offset) & RTE_IPV4_HDR_OFFSET_MASK) != 0;
    struct net_port *ours = ip4_our_port(st, ip->dst_addr);
    if (ip->next_proto_id == IPPROTO_ICMP || later || ours == NULL || !ip_may_send_error(st))
        return;
    struct rte_mbuf *m = ip_alloc(st);
    if (m == NULL)
        return;
    uint16_t quoted = RTE_MIN(payload_len, (uint16_t)8);
    struct icmp_error_hdr *h = (void *)rte_pktmbuf_append(m, (uint16_t)(sizeof *h + sizeof *ip + quoted));
    *h = (struct icmp_error_hdr){type, code, 0, 0};
    struct rte_ipv4_hdr *copy = (void *)(h + 1);
    *copy = *ip;
    copy->version_ihl = RTE_IPV4_VHL_DEF; /* quoted without options */
    memcpy(copy + 1, payload, quoted);
    h->cksum = (uint16_t)~rte_raw_cksum(h, sizeof *h + sizeof *ip + quoted);
    NET_COUNT(st, ICMP_ERRORS_TX);
    ip4_output(st, m, ip->dst_addr, ip->src_addr, IPPROTO_ICMP);
}

/* Turns the request into its reply, in place. */
static void echo(struct stack *st, struct ip_pkt *p)
{
    struct rte_icmp_hdr *h = rte_pktmbuf_mtod(p->m, struct rte_icmp_hdr *);
    h->icmp_type = RTE_IP_ICMP_ECHO_REPLY;
    h->icmp_cksum = 0;
    h->icmp_cksum = (uint16_t)~net_cksum(p->m, p->len);
    p->m->ol_flags = 0;
    NET_COUNT(st, ICMP_ECHO_REPLIES);
    ip_output(st, p->m, &p->dst, &p->src, IPPROTO_ICMP);
}

/* RFC 1122 4.1.3.3, Linux' icmp_err_convert. */
static int errno_of(uint8_t type, uint8_t code)
{
    static const int unreachable[] = {ENETUNREACH, EHOSTUNREACH, ENOPROTOOPT, ECONNREFUSED, EMSGSIZE, EOPNOTSUPP,
                                      ENETUNREACH, EHOSTDOWN, ENONET, ENETUNREACH, EHOSTUNREACH, ENETUNREACH,
                                      EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH};
    if (type == ICMP_TIME_EXCEEDED)
        return EHOSTUNREACH;
    return type == ICMP_DEST_UNREACHABLE && code < RTE_DIM(unreachable) ? unreachable[code] : 0;
}

static void tell(struct stack *st, const struct rte_ipv4_hdr *ip, const uint8_t *l4, int err, uint32_t mtu)
{
    const struct ip_error e = {ip_from_v4(ip->src_addr), ip_from_v4(ip->dst_addr), l4, err, mtu};
    ip_tell_error(st, ip->next_proto_id, &e);
}

/* An error about a packet of ours: to the protocol that sent it. */
static void error_input(struct stack *st, struct ip_pkt *p)
{
    const struct icmp_error_hdr *h = rte_pktmbuf_mtod(p->m, const struct icmp_error_hdr *);
    const struct rte_ipv4_hdr *ip = (const void *)(h + 1);
    uint32_t have = rte_pktmbuf_data_len(p->m);
    if (have < sizeof *h + sizeof *ip || have < sizeof *h + rte_ipv4_hdr_len(ip) + 8 || rte_ipv4_hdr_len(ip) < sizeof *ip ||
        ip4_our_port(st, ip->src_addr) == NULL) {
        net_drop(st, p->m, NET_ICMP_BAD);
        return;
    }
    const uint8_t *l4 = (const uint8_t *)ip + rte_ipv4_hdr_len(ip);
    tell(st, ip, l4, errno_of(h->type, h->code), rte_be_to_cpu_32(h->rest) & UINT16_MAX); /* RFC 1191 4 */
    rte_pktmbuf_free(p->m);
}

void icmp_no_neighbour(struct stack *st, const struct rte_mbuf *m)
{
    const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
    const uint8_t *l4 = (const uint8_t *)(ip + 1); /* of our own packets: no options */
    bool first = (rte_be_to_cpu_16(ip->fragment_offset) & RTE_IPV4_HDR_OFFSET_MASK) == 0;
    if (first && rte_pktmbuf_data_len(m) >= sizeof *ip + 8)
        tell(st, ip, l4, EHOSTUNREACH, 0);
}

void icmp_input(struct stack *st, struct ip_pkt *p)
{
    NET_COUNT(st, ICMP_RX);
    if (rte_pktmbuf_data_len(p->m) < sizeof(struct rte_icmp_hdr) || net_cksum(p->m, p->len) != 0xffff) {
        net_drop(st, p->m, NET_ICMP_BAD);
        return;
    }
    const struct rte_icmp_hdr *h = rte_pktmbuf_mtod(p->m, const struct rte_icmp_hdr *);
    if (h->icmp_type == RTE_IP_ICMP_ECHO_REQUEST && h->icmp_code == 0 && p->to_us)
        echo(st, p);
    else if (h->icmp_type == ICMP_DEST_UNREACHABLE || h->icmp_type == ICMP_TIME_EXCEEDED)
        error_input(st, p);
    else
        net_drop(st, p->m, NET_ICMP_IGNORED); /* RFC 1122 3.2.2.6: a broadcast echo may be ignored */
}
