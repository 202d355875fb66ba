/* SPDX-License-Identifier: BSD-3-Clause
 * ICMPv6 (RFC 4443): echo, errors out (rate limited), errors in (to the sockets they are about); the rest is nd.c's and
 * mld.c's. */
#include <errno.h>
#include <netinet/in.h>

#include "ipv6.h"

#define QUOTE_MAX (1280u - sizeof(struct rte_ipv6_hdr) - sizeof(struct icmp6_hdr)) /* RFC 4443 2.4 (c) */

/* ---- Out ---- */

static void checksum(struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst)
{
    struct icmp6_hdr *h = rte_pktmbuf_mtod(m, struct icmp6_hdr *);
    h->cksum = 0;
    h->cksum = (uint16_t)~ip_l4_sum(m, src, dst, IPPROTO_ICMPV6, (uint16_t)rte_pktmbuf_pkt_len(m));
}

void icmp6_send(struct net_port *port, struct rte_mbuf *m, const struct ip_addr *src, const struct ip_addr *dst, uint8_t hops,
                const struct rte_ether_addr *mac)
{
    checksum(m, src, dst);
    ip6_send(port, m, src, dst, IPPROTO_ICMPV6, hops, mac);
}

/* RFC 4443 2.4 (e). */
static bool may_answer(const struct ip_pkt *p, uint8_t type, uint8_t code)
{
    uint8_t inner = p->proto == IPPROTO_ICMPV6 && rte_pktmbuf_data_len(p->m) > 0 ? *rte_pktmbuf_mtod(p->m, const uint8_t *)
                                                                               : ICMP6_ECHO_REQUEST;
    bool about_error = inner < ICMP6_ECHO_REQUEST || inner == ICMP6_REDIRECT;
    bool even_multicast = type == ICMP6_TOO_BIG || (type == ICMP6_PARAMETER && code == ICMP6_PARAM_OPTION);
    return !about_error && !ip_is_any(&p->src) && (p->to_us || even_multicast);
}

void icmp6_error(struct stack *st, const struct ip_pkt *p, uint8_t type, uint8_t code, uint32_t rest)
{
    uint8_t copy[QUOTE_MAX];
    if (!may_answer(p, type, code) || !ip_may_send_error(st))
        return;
    struct rte_mbuf *m = ip_alloc(st);
    if (m == NULL)
        return;
    uint32_t head = RTE_MIN((uint32_t)p->head_len, (uint32_t)QUOTE_MAX);
    uint32_t body = RTE_MIN(rte_pktmbuf_pkt_len(p->m), (uint32_t)QUOTE_MAX - head);
    struct icmp6_hdr *h = (void *)rte_pktmbuf_append(m, (uint16_t)(sizeof *h + head + body));
    *h = (struct icmp6_hdr){type, code, 0, rte_cpu_to_be_32(rest)};
    memcpy(h + 1, p->head, head);
    if (body > 0)
        memcpy((uint8_t *)(h + 1) + head, rte_pktmbuf_read(p->m, 0, body, copy), body);
    struct ip_addr from = p->to_us ? p->dst : ip6_source(p->port, &p->src);
    checksum(m, &from, &p->src);
    NET_COUNT(st, ICMP_ERRORS_TX);
    ip_output(st, m, &from, &p->src, IPPROTO_ICMPV6);
}

void icmp6_reassembly_timeout(struct stack *st, struct rte_mbuf *first, const struct reass_frag *head)
{
    const struct ip_pkt p = {.m = first, .src = head->key.src, .dst = head->key.dst, .head = head->head, .head_len = head->head_len,
                             .to_us = !ip6_is_multicast(&head->key.dst)};
    icmp6_error(st, &p, ICMP6_EXCEEDED, ICMP6_EXCEEDED_REASSEMBLY, 0);
}

/* Turns the request into its reply, in place. */
static void echo(struct stack *st, struct ip_pkt *p)
{
    struct ip_addr from = p->to_us ? p->dst : ip6_source(p->port, &p->src);
    rte_pktmbuf_mtod(p->m, struct icmp6_hdr *)->type = ICMP6_ECHO_REPLY;
    p->m->ol_flags = 0;
    checksum(p->m, &from, &p->src);
    NET_COUNT(st, ICMP_ECHO_REPLIES);
    ip_output(st, p->m, &from, &p->src, IPPROTO_ICMPV6);
}

/* ---- Errors in ---- */

/* As Linux' icmpv6_err_convert: the errno value, and whether connected datagram sockets are told of it. */
static int errno_of(uint8_t type, uint8_t code, bool *fatal)
{
    static const struct {
        int err;
        bool fatal;
    } unreachable[] = {{ENETUNREACH, false}, {EACCES, true}, {EHOSTUNREACH, false}, {EHOSTUNREACH, false},
                       {ECONNREFUSED, true}, {EACCES, true}, {EACCES, true}};
    *fatal = type == ICMP6_UNREACHABLE || type == ICMP6_TOO_BIG || type == ICMP6_PARAMETER;
    switch (type) {
    case ICMP6_UNREACHABLE:
        if (code >= RTE_DIM(unreachable))
            return EPROTO;
        *fatal = unreachable[code].fatal;
        return unreachable[code].err;
    case ICMP6_TOO_BIG:
        return EMSGSIZE;
    case ICMP6_EXCEEDED:
        return EHOSTUNREACH;
    default:
        return EPROTO;
    }
}

/* Finds the TCP or UDP header of a packet of ours, of which `have` bytes are here; NULL: it is not, or it has none. */
static const uint8_t *find_l4(const struct rte_ipv6_hdr *ip, uint32_t have, uint8_t *proto)
{
    const uint8_t *at = (const uint8_t *)(ip + 1);
    uint32_t left = have - (uint32_t)sizeof *ip;
    uint8_t next = ip->proto;
    if (next == IPPROTO_FRAGMENT) { /* the only extension header that we send with those */
        if (left < 8 || (at[2] | (at[3] & 0xf8)) != 0)
            return NULL;
        next = at[0];
        at += 8;
        left -= 8;
    }
    *proto = next;
    return left >= 8 ? at : NULL;
}

void icmp6_tell(const struct net_port *port, const struct rte_ipv6_hdr *ip, uint32_t have, struct ip_error *e)
{
    uint8_t proto;
    e->l4 = find_l4(ip, have, &proto);
    e->local = ip6_get(port, ip->src_addr);
    e->remote = ip6_get(port, ip->dst_addr);
    if (e->l4 == NULL || ip6_our_port(port->stack, &e->local) == NULL) {
        NET_COUNT(port->stack, ICMP_IGNORED);
        return;
    }
    e->data = e->l4 + 8;
    e->data_len = have - (uint32_t)(e->data - (const uint8_t *)ip);
    ip_tell_error(port->stack, proto, e);
}

static void error_input(struct stack *st, struct ip_pkt *p)
{
    const struct icmp6_hdr *h = rte_pktmbuf_mtod(p->m, const struct icmp6_hdr *);
    uint32_t have = rte_pktmbuf_data_len(p->m) - (uint32_t)sizeof *h;
    if (have < sizeof(struct rte_ipv6_hdr) + 8) {
        net_drop(st, p->m, NET_ICMP_BAD);
        return;
    }
    struct ip_error e = {.type = h->type, .code = h->code, .mtu = rte_be_to_cpu_32(h->rest), .offender = p->src};
    e.err = errno_of(h->type, h->code, &e.fatal);
    e.info = h->type == ICMP6_TOO_BIG || h->type == ICMP6_PARAMETER ? e.mtu : 0;
    icmp6_tell(p->port, (const void *)(h + 1), have, &e);
    rte_pktmbuf_free(p->m);
}

void icmp6_no_neighbour(struct net_port *port, const struct rte_mbuf *m)
{
    const struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv6_hdr *);
    if (rte_pktmbuf_data_len(m) < sizeof *ip + 8)
        return;
    struct ip_error e = {.err = EHOSTUNREACH, .type = ICMP6_UNREACHABLE, .code = ICMP6_UNREACH_ADDRESS,
                         .offender = ip6_get(port, ip->src_addr)};
    icmp6_tell(port, ip, rte_pktmbuf_data_len(m), &e);
}

/* ---- In ---- */

void icmp6_input(struct stack *st, struct ip_pkt *p)
{
    NET_COUNT(st, ICMP_RX);
    if (rte_pktmbuf_data_len(p->m) < sizeof(struct icmp6_hdr) ||
        ip_l4_sum(p->m, &p->src, &p->dst, IPPROTO_ICMPV6, p->len) != 0xffff) {
        net_drop(st, p->m, NET_ICMP_BAD);
        return;
    }
    uint8_t type = rte_pktmbuf_mtod(p->m, const struct icmp6_hdr *)->type;
    if (type == ICMP6_SOLICITATION || type == ICMP6_ADVERTISEMENT) {
        nd_input(st, p);
        return;
    }
    if (ip_is_any(&p->src) || ip6_our_port(st, &p->src) != NULL) {
        net_drop(st, p->m, NET_IP6_BAD_SOURCE);
        return;
    }
    if (type == ICMP6_ECHO_REQUEST)
        echo(st, p);
    else if (type >= ICMP6_UNREACHABLE && type <= ICMP6_PARAMETER)
        error_input(st, p);
    else if (type == ICMP6_MLD_QUERY)
        mld_query(st, p);
    else if (type == ICMP6_ROUTER_ADVERTISEMENT)
        ra_input(st, p);
    else if (type == ICMP6_MLD1_REPORT)
        mld_heard(st, p);
    else if (type == ICMP6_REDIRECT && p->port->conf.redirects)
        redirect6_input(st, p);
    else
        net_drop(st, p->m, NET_ICMP_IGNORED);
}
