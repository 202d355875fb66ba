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
    const struct ip_addr from = ip_from_v4(ip->dst_addr), to = ip_from_v4(ip->src_addr);
    ip_output(st, m, &from, &to, IPPROTO_ICMP);
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

/* RFC 1122 4.1.3.3, Linux' icmp_err_convert: the errno value, and whether connected datagram sockets are told of it. */
static int errno_of(uint8_t type, uint8_t code, bool *fatal)
{
    static const struct {
        int err;
        bool fatal;
    } unreachable[] = {{ENETUNREACH, false}, {EHOSTUNREACH, false}, {ENOPROTOOPT, true}, {ECONNREFUSED, true},
                       {EMSGSIZE, true}, {EOPNOTSUPP, false}, {ENETUNREACH, true}, {EHOSTDOWN, true}, {ENONET, true},
                       {ENETUNREACH, true}, {EHOSTUNREACH, true}, {ENETUNREACH, false}, {EHOSTUNREACH, false},
                       {EHOSTUNREACH, true}, {EHOSTUNREACH, true}, {EHOSTUNREACH, true}};
    *fatal = type == ICMP_PARAMETER;
    if (type == ICMP_PARAMETER)
        return EPROTO;
    if (type == ICMP_TIME_EXCEEDED || code >= RTE_DIM(unreachable))
        return EHOSTUNREACH;
    *fatal = unreachable[code].fatal;
    return unreachable[code].err;
}

/* `ip` with `have` bytes, its header and 8 more among them, is a packet that we sent, or so it is said. */
static void tell(struct stack *st, const struct rte_ipv4_hdr *ip, uint32_t have, struct ip_error *e)
{
    uint32_t head = rte_ipv4_hdr_len(ip);
    if ((rte_be_to_cpu_16(ip->fragment_offset) & RTE_IPV4_HDR_OFFSET_MASK) != 0) {
        NET_COUNT(st, ICMP_IGNORED); /* what looks like a header is none */
        return;
    }
    e->local = ip_from_v4(ip->src_addr);
    e->remote = ip_from_v4(ip->dst_addr);
    e->l4 = (const uint8_t *)ip + head;
    e->data = e->l4 + 8;
    e->data_len = have - head - 8;
    ip_tell_error(st, ip->next_proto_id, e);
}

/* An error or a redirect about a packet of ours: to the protocol that sent it. */
static void error_input(struct stack *st, struct ip_pkt *p)
{
    const struct icmp_error_hdr *h = rte_pktmbuf_mtod(p->m, const struct icmp_error_hdr *);
    const struct rte_ipv4_hdr *ip = (const void *)(h + 1);
    uint32_t have = rte_pktmbuf_data_len(p->m);
    const struct ip_redirect better = {.port = p->port, .from = p->src, .hop = ip_from_v4(h->rest)};
    if (have < sizeof *h + sizeof *ip || have < sizeof *h + rte_ipv4_hdr_len(ip) + 8 || rte_ipv4_hdr_len(ip) < sizeof *ip ||
        ip4_our_port(st, ip->src_addr) == NULL || ip4_is_broadcast(p->port, ip->dst_addr) || ip4_is_multicast(ip->dst_addr)) {
        net_drop(st, p->m, NET_ICMP_BAD); /* RFC 1122 3.2.2: nobody says such a thing of a broadcast */
        return;
    }
    uint32_t rest = rte_be_to_cpu_32(h->rest);
    struct ip_error e = {.redirect = h->type == ICMP_REDIRECT ? &better : NULL,
                         .type = h->type, .code = h->code, .mtu = rest & UINT16_MAX /* RFC 1191 4 */, .offender = p->src};
    e.err = e.redirect != NULL ? 0 : errno_of(h->type, h->code, &e.fatal);
    e.info = e.err == EMSGSIZE ? e.mtu : h->type == ICMP_PARAMETER ? rest >> 24 : 0;
    tell(st, ip, have - (uint32_t)sizeof *h, &e);
    rte_pktmbuf_free(p->m);
}

void icmp_no_neighbour(struct stack *st, const struct rte_mbuf *m)
{
    const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
    if (rte_pktmbuf_data_len(m) < rte_ipv4_hdr_len(ip) + 8u)
        return;
    /* As an ICMP message of this host's to itself (Linux' ipv4_link_failure). */
    struct ip_error e = {.err = EHOSTUNREACH, .type = ICMP_DEST_UNREACHABLE, .code = ICMP_UNREACH_HOST,
                         .offender = ip_from_v4(ip->src_addr)};
    tell(st, ip, rte_pktmbuf_data_len(m), &e);
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
    else if (h->icmp_type == ICMP_DEST_UNREACHABLE || h->icmp_type == ICMP_TIME_EXCEEDED || h->icmp_type == ICMP_PARAMETER)
        error_input(st, p);
    else if (h->icmp_type == ICMP_REDIRECT && h->icmp_code <= ICMP_REDIRECT_TOS_HOST && p->port->conf.redirects)
        error_input(st, p);
    else
        net_drop(st, p->m, NET_ICMP_IGNORED); /* RFC 1122 3.2.2.6: a broadcast echo may be ignored */
}
