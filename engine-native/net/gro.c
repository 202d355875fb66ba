/* SPDX-License-Identifier: BSD-3-Clause
 * Receive coalescing: segments of one connection that arrive together and follow each other become one, a chain of buffers, so that
 * TCP looks at them once and acknowledges them once. Only what says the same is merged: everything in the headers but lengths,
 * checksums, IPv4's identification and a PSH of the last must be equal, so that a mark of congestion, an option, a window or an
 * acknowledgement is never lost, and nothing overtakes anything. Checksums are checked before, for each of them.
 *
 * Not rte_gro: that of 22.11 knows IPv4 only, hands out a segment with PSH behind those that follow it, and merges what met
 * congestion with what did not (net_gro_bench shows both). */
#include "gro.h"

#include <netinet/in.h>
#include <rte_tcp.h>

#include "ip.h"

#define PAYLOAD_MIN 512u /* smaller ones are messages, copied anyway */
#define LENGTH_MAX 65535u

/* A frame that may be merged: where its headers are. */
struct piece {
    struct rte_mbuf *m;
    const struct rte_tcp_hdr *tcp;
    uint32_t l3, heads, payload; /* bytes: of the IP header, of all headers, behind them */
    uint32_t seq;
    bool v4;
};

static bool is_piece(struct rte_mbuf *m, struct piece *p)
{
    const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
    const struct rte_ipv4_hdr *ip = (const void *)(eth + 1);
    const struct rte_ipv6_hdr *ip6 = (const void *)(eth + 1);
    uint32_t len = rte_pktmbuf_data_len(m), all;
    if (m->nb_segs != 1 || len < sizeof *eth + sizeof *ip6 + sizeof *p->tcp + PAYLOAD_MIN)
        return false;
    p->v4 = eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4);
    if (p->v4) {
        if (ip->version_ihl != RTE_IPV4_VHL_DEF || ip->next_proto_id != IPPROTO_TCP ||
            (ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)))
            return false;
        p->l3 = sizeof *ip;
        all = rte_be_to_cpu_16(ip->total_length);
    } else {
        if (eth->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV6) || ip6->proto != IPPROTO_TCP || (ip6->vtc_flow & RTE_BE32(0xf0000000)) != RTE_BE32(0x60000000))
            return false;
        p->l3 = sizeof *ip6;
        all = rte_be_to_cpu_16(ip6->payload_len) + (uint32_t)sizeof *ip6;
    }
    p->tcp = rte_pktmbuf_mtod_offset(m, const struct rte_tcp_hdr *, sizeof *eth + p->l3);
    p->heads = (uint32_t)sizeof *eth + p->l3 + (p->tcp->data_off >> 4) * 4u;
    p->m = m;
    if (all + sizeof *eth != len || p->heads < sizeof *eth + p->l3 + sizeof *p->tcp || p->heads + PAYLOAD_MIN > len ||
        (p->tcp->tcp_flags & ~RTE_TCP_PSH_FLAG) != RTE_TCP_ACK_FLAG)
        return false;
    p->payload = len - p->heads;
    p->seq = rte_be_to_cpu_32(p->tcp->sent_seq);
    return true;
}

/* Both checksums; what is right is marked, what is wrong the stack drops in its turn. */
static bool sums_right(struct piece *p)
{
    struct rte_mbuf *m = p->m;
    struct ip_addr src, dst;
    const void *ip = rte_pktmbuf_mtod_offset(m, const void *, sizeof(struct rte_ether_hdr));
    if (p->v4) {
        const struct rte_ipv4_hdr *ip4 = ip;
        if ((m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) != RTE_MBUF_F_RX_IP_CKSUM_GOOD && rte_raw_cksum(ip4, sizeof *ip4) != 0xffff)
            return false;
        src = ip_from_v4(ip4->src_addr);
        dst = ip_from_v4(ip4->dst_addr);
    } else {
        const struct rte_ipv6_hdr *ip6 = ip;
        memcpy(src.b, ip6->src_addr, sizeof src.b);
        memcpy(dst.b, ip6->dst_addr, sizeof dst.b);
    }
    if ((m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) != RTE_MBUF_F_RX_L4_CKSUM_GOOD) {
        uint16_t before = (uint16_t)(sizeof(struct rte_ether_hdr) + p->l3);
        uint16_t len = (uint16_t)(rte_pktmbuf_data_len(m) - before);
        rte_pktmbuf_adj(m, before);
        bool right = ip_l4_sum(m, &src, &dst, IPPROTO_TCP, len) == 0xffff;
        rte_pktmbuf_prepend(m, before);
        if (!right)
            return false;
    }
    m->ol_flags &= ~(RTE_MBUF_F_RX_L4_CKSUM_MASK | RTE_MBUF_F_RX_IP_CKSUM_MASK);
    m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD;
    return true;
}

/* All that must be equal, by the headers' bytes. */
static bool same_headers(const struct piece *a, const struct piece *b)
{
    const struct rte_ether_hdr *ea = rte_pktmbuf_mtod(a->m, const struct rte_ether_hdr *), *eb = rte_pktmbuf_mtod(b->m, const struct rte_ether_hdr *);
    if (a->heads != b->heads || memcmp(ea, eb, sizeof *ea) != 0)
        return false;
    if (a->v4) {
        const struct rte_ipv4_hdr *ia = (const void *)(ea + 1), *ib = (const void *)(eb + 1);
        if (ia->src_addr != ib->src_addr || ia->dst_addr != ib->dst_addr || ia->type_of_service != ib->type_of_service ||
            ia->time_to_live != ib->time_to_live || ia->fragment_offset != ib->fragment_offset)
            return false;
    } else {
        const struct rte_ipv6_hdr *ia = (const void *)(ea + 1), *ib = (const void *)(eb + 1);
        if (ia->vtc_flow != ib->vtc_flow || ia->hop_limits != ib->hop_limits || memcmp(ia->src_addr, ib->src_addr, 32) != 0)
            return false;
    }
    const struct rte_tcp_hdr *ta = a->tcp, *tb = b->tcp;
    return ta->src_port == tb->src_port && ta->dst_port == tb->dst_port && ta->recv_ack == tb->recv_ack && ta->rx_win == tb->rx_win &&
           ta->tcp_urp == tb->tcp_urp && memcmp(ta + 1, tb + 1, a->heads - sizeof(struct rte_ether_hdr) - a->l3 - sizeof *ta) == 0;
}

/* What a run of segments has come to. */
struct run {
    struct piece head;
    struct rte_mbuf *last;
    uint32_t payload; /* of all of them */
    bool open;        /* another may follow */
};

static bool follows(const struct run *r, const struct piece *p)
{
    return r->open && p->seq == r->head.seq + r->payload && p->payload <= r->head.payload &&
           r->head.heads + r->payload + p->payload <= LENGTH_MAX && p->v4 == r->head.v4 && same_headers(&r->head, p);
}

static void begin(struct run *r, const struct piece *p)
{
    *r = (struct run){*p, p->m, p->payload, !(p->tcp->tcp_flags & RTE_TCP_PSH_FLAG)};
}

/* p becomes the end of the run: the first frame's headers speak for all. */
static void extend(struct run *r, const struct piece *p)
{
    struct rte_mbuf *head = r->head.m;
    struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod_offset(head, struct rte_tcp_hdr *, sizeof(struct rte_ether_hdr) + r->head.l3);
    uint8_t push = p->tcp->tcp_flags & RTE_TCP_PSH_FLAG;
    r->open = push == 0 && p->payload == r->head.payload;
    rte_pktmbuf_adj(p->m, (uint16_t)p->heads);
    r->last->next = p->m;
    r->last = p->m;
    r->payload += p->payload;
    head->nb_segs++;
    head->pkt_len += p->payload;
    head->ol_flags |= RTE_MBUF_F_RX_LRO;
    head->tso_segsz = (uint16_t)r->head.payload;
    tcp->tcp_flags |= push;
    uint32_t len = head->pkt_len - (uint32_t)sizeof(struct rte_ether_hdr);
    void *ip = rte_pktmbuf_mtod_offset(head, void *, sizeof(struct rte_ether_hdr));
    if (r->head.v4)
        ((struct rte_ipv4_hdr *)ip)->total_length = rte_cpu_to_be_16((uint16_t)len);
    else
        ((struct rte_ipv6_hdr *)ip)->payload_len = rte_cpu_to_be_16((uint16_t)(len - sizeof(struct rte_ipv6_hdr)));
}

uint16_t gro_merge(struct stack *st, struct rte_mbuf **frames, uint16_t n)
{
    struct run run = {.open = false};
    uint16_t kept = 0;
    for (uint16_t i = 0; i < n; i++) {
        struct piece p;
        if (!is_piece(frames[i], &p) || !sums_right(&p)) {
            run.open = false;
            frames[kept++] = frames[i];
        } else if (follows(&run, &p)) {
            extend(&run, &p);
            NET_COUNT(st, GRO_MERGED);
        } else {
            begin(&run, &p);
            frames[kept++] = frames[i];
        }
    }
    return kept;
}
