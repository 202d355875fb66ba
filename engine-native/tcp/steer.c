/* SPDX-License-Identifier: BSD-3-Clause
 * Which of several stacks: see steer.h. */
#include "steer.h"

#include <netinet/in.h>
#include <rte_thash.h>

#include "ipv6.h"

void steer_init(struct steer *s, uint32_t stacks, const uint8_t key[STEER_KEY])
{
    s->stacks = stacks;
    memcpy(s->key, key, STEER_KEY);
    memcpy(s->words, key, STEER_KEY);
    rte_convert_rss_key(s->words, s->words, STEER_KEY);
}

/* As it comes: from the remote end. */
uint32_t steer_hash(const struct steer *s, const struct tcp_flow *flow)
{
    struct ip_addr src = flow->remote_ip, dst = flow->local_ip;
    uint32_t tuple[9], n = 0;
    ip6_unzone(&src);
    ip6_unzone(&dst);
    for (uint32_t i = ip_is_v4(&src) ? 3 : 0; i < 4; i++)
        tuple[n++] = rte_be_to_cpu_32(src.w[i]);
    for (uint32_t i = ip_is_v4(&src) ? 3 : 0; i < 4; i++)
        tuple[n++] = rte_be_to_cpu_32(dst.w[i]);
    tuple[n++] = (uint32_t)rte_be_to_cpu_16(flow->remote_port) << 16 | rte_be_to_cpu_16(flow->local_port);
    return rte_softrss_be(tuple, n, (const uint8_t *)s->words);
}

uint32_t steer_flow(const struct steer *s, const struct tcp_flow *flow)
{
    return steer_hash(s, flow) % STEER_TABLE % s->stacks;
}

bool steer_ours(const struct stack *st, const struct tcp_flow *flow)
{
    return st->conf.steer == NULL || steer_flow(st->conf.steer, flow) == st->conf.number;
}

/* ---- Frames ---- */

/* An error or a redirect about a segment of ours goes to who sent it. */
static uint32_t icmp4(const struct steer *s, const struct rte_ipv4_hdr *ip, uint32_t have)
{
    const uint8_t *icmp = (const uint8_t *)(ip + 1);
    const struct rte_ipv4_hdr *quoted = (const void *)(icmp + 8);
    struct tcp_flow flow;
    bool error = have >= sizeof *ip + 8 + sizeof *quoted && (icmp[0] == 3 || icmp[0] == 5 || icmp[0] == 11 || icmp[0] == 12);
    uint32_t hlen = error ? rte_ipv4_hdr_len(quoted) : 0;
    if (hlen < sizeof *quoted || have < sizeof *ip + 8 + hlen + 4 || quoted->next_proto_id != IPPROTO_TCP ||
        (rte_be_to_cpu_16(quoted->fragment_offset) & RTE_IPV4_HDR_OFFSET_MASK) != 0)
        return 0;
    flow.local_ip = ip_from_v4(quoted->src_addr);
    flow.remote_ip = ip_from_v4(quoted->dst_addr);
    memcpy(&flow.local_port, (const uint8_t *)quoted + hlen, 2);
    memcpy(&flow.remote_port, (const uint8_t *)quoted + hlen + 2, 2);
    return steer_flow(s, &flow);
}

static uint32_t icmp6(const struct steer *s, const struct rte_ipv6_hdr *ip, uint32_t have)
{
    const uint8_t *icmp = (const uint8_t *)(ip + 1);
    const struct rte_ipv6_hdr *quoted = (const void *)(icmp + 8);
    struct tcp_flow flow;
    if (have < sizeof *ip + 8)
        return 0;
    if (icmp[0] >= ICMP6_ROUTER_ADVERTISEMENT && icmp[0] <= ICMP6_REDIRECT)
        return STEER_EVERY;
    if (icmp[0] < ICMP6_UNREACHABLE || icmp[0] > ICMP6_PARAMETER || have < sizeof *ip + 8 + sizeof *quoted + 4 ||
        quoted->proto != IPPROTO_TCP)
        return 0;
    memcpy(flow.local_ip.b, quoted->src_addr, 16);
    memcpy(flow.remote_ip.b, quoted->dst_addr, 16);
    memcpy(&flow.local_port, quoted + 1, 2);
    memcpy(&flow.remote_port, (const uint8_t *)(quoted + 1) + 2, 2);
    return steer_flow(s, &flow);
}

uint32_t steer_frame(const struct steer *s, const struct rte_mbuf *m)
{
    const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
    const struct rte_ipv4_hdr *ip = (const void *)(eth + 1);
    const struct rte_ipv6_hdr *ip6 = (const void *)(eth + 1);
    struct tcp_flow flow;
    uint32_t have = rte_pktmbuf_data_len(m);
    if (have < sizeof *eth + sizeof *ip)
        return 0;
    have -= (uint32_t)sizeof *eth;
    if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_ARP))
        return STEER_EVERY;
    bool v4 = eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4);
    if (v4 && (ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) != 0)
        return 0;
    if (tcp_frame_flow(m, &flow))
        return steer_flow(s, &flow);
    if (v4 && ip->version_ihl == RTE_IPV4_VHL_DEF && ip->next_proto_id == IPPROTO_ICMP)
        return icmp4(s, ip, have);
    if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6) && have >= sizeof *ip6 && ip6->proto == IPPROTO_ICMPV6)
        return icmp6(s, ip6, have);
    return 0;
}

/* The headers again that were taken off, without options and extension headers. */
static bool put_headers(const struct ip_pkt *p, bool v4)
{
    struct rte_ipv4_hdr *ip;
    struct rte_ipv6_hdr *ip6;
    if (v4 && (ip = (void *)rte_pktmbuf_prepend(p->m, sizeof *ip)) != NULL) {
        *ip = p->ip4;
        ip->version_ihl = RTE_IPV4_VHL_DEF;
        ip->total_length = rte_cpu_to_be_16((uint16_t)(p->len + sizeof *ip));
        ip->fragment_offset = 0;
        ip->hdr_checksum = 0;
        ip->hdr_checksum = rte_ipv4_cksum(ip);
    }
    if (!v4 && (ip6 = (void *)rte_pktmbuf_prepend(p->m, sizeof *ip6)) != NULL) {
        *ip6 = p->ip6;
        ip6->proto = IPPROTO_TCP;
        ip6->payload_len = rte_cpu_to_be_16(p->len);
    }
    struct rte_ether_hdr *eth = (void *)rte_pktmbuf_prepend(p->m, sizeof *eth);
    if (eth == NULL || rte_pktmbuf_pkt_len(p->m) != p->len + sizeof *eth + (v4 ? sizeof *ip : sizeof *ip6))
        return false;
    *eth = (struct rte_ether_hdr){p->port->conf.mac, p->port->conf.mac, v4 ? RTE_BE16(RTE_ETHER_TYPE_IPV4) : RTE_BE16(RTE_ETHER_TYPE_IPV6)};
    return true;
}

bool steer_away(struct stack *st, const struct ip_pkt *p)
{
    struct tcp_flow flow = {.local_ip = p->dst, .remote_ip = p->src};
    if (!p->to_us || rte_pktmbuf_data_len(p->m) < 4)
        return false;
    memcpy(&flow.remote_port, rte_pktmbuf_mtod(p->m, const uint8_t *), 2);
    memcpy(&flow.local_port, rte_pktmbuf_mtod(p->m, const uint8_t *) + 2, 2);
    uint32_t to = steer_flow(st->conf.steer, &flow);
    if (to == st->conf.number)
        return false;
    if (put_headers(p, ip_is_v4(&p->src)))
        st->conf.hand_over(st->conf.owner, p->port, p->m, to);
    else
        net_drop(st, p->m, NET_PKT_NO_MEMORY);
    return true;
}
