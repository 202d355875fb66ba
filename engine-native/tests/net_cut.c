/* SPDX-License-Identifier: BSD-3-Clause
 * What a device with segmentation offload makes of a TCP segment that is longer than its MTU: written for the tests alone, so that
 * what the stack asks for is checked by somebody who reads the documentation of rte_mbuf anew. See net_wire.h. */
#include "net_wire.h"

#include <netinet/in.h>
#include <rte_tcp.h>

/* The request is whole, and the checksum field has the pseudo header's sum without a length. */
static void check_request(const struct rte_mbuf *m, uint8_t *ip, struct rte_tcp_hdr *tcp)
{
    bool v4 = m->ol_flags & RTE_MBUF_F_TX_IPV4;
    struct rte_ipv4_hdr *ip4 = (void *)ip;
    struct rte_ipv6_hdr *ip6 = (void *)ip;
    assert_int_equal(m->ol_flags, RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM |
                                      (v4 ? RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM : RTE_MBUF_F_TX_IPV6));
    assert_int_equal(m->l2_len, sizeof(struct rte_ether_hdr));
    assert_int_equal(m->l3_len, v4 ? sizeof *ip4 : sizeof *ip6);
    assert_int_equal(m->l4_len, (tcp->data_off >> 4) * 4);
    assert_true(rte_pktmbuf_data_len(m) >= m->l2_len + m->l3_len + m->l4_len);
    assert_int_equal(tcp->cksum, v4 ? rte_ipv4_phdr_cksum(ip4, RTE_MBUF_F_TX_TCP_SEG) : rte_ipv6_phdr_cksum(ip6, RTE_MBUF_F_TX_TCP_SEG));
    assert_int_equal(v4 ? rte_be_to_cpu_16(ip4->total_length) : rte_be_to_cpu_16(ip6->payload_len) + (int)sizeof *ip6,
                     rte_pktmbuf_pkt_len(m) - m->l2_len);
    /* What not every frame may repeat, or not every device gets right. */
    assert_int_equal(tcp->tcp_flags & (RTE_TCP_SYN_FLAG | RTE_TCP_RST_FLAG | RTE_TCP_URG_FLAG | RTE_TCP_CWR_FLAG), 0);
}

/* The frame with n bytes of payload from `from` on. */
static struct frame *cut(const struct rte_mbuf *m, const uint8_t *whole, uint32_t from, uint32_t n)
{
    uint32_t l3_at = m->l2_len, l4_at = l3_at + m->l3_len, heads = l4_at + m->l4_len;
    bool last = heads + from + n == rte_pktmbuf_pkt_len(m);
    struct frame *f = calloc(1, sizeof *f + heads + n);
    assert_non_null(f);
    f->len = (uint16_t)(heads + n);
    memcpy(f->data, whole, heads);
    memcpy(f->data + heads, whole + heads + from, n);
    struct rte_tcp_hdr *tcp = (void *)(f->data + l4_at);
    tcp->sent_seq = rte_cpu_to_be_32(rte_be_to_cpu_32(tcp->sent_seq) + from);
    tcp->tcp_flags &= last ? 0xff : (uint8_t)~(RTE_TCP_PSH_FLAG | RTE_TCP_FIN_FLAG);
    tcp->cksum = 0;
    if (m->ol_flags & RTE_MBUF_F_TX_IPV4) {
        struct rte_ipv4_hdr *ip = (void *)(f->data + l3_at);
        ip->total_length = rte_cpu_to_be_16((uint16_t)(f->len - l3_at));
        ip->packet_id = rte_cpu_to_be_16((uint16_t)(rte_be_to_cpu_16(ip->packet_id) + from / m->tso_segsz));
        ip->hdr_checksum = 0;
        ip->hdr_checksum = rte_ipv4_cksum(ip);
        tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
    } else {
        struct rte_ipv6_hdr *ip = (void *)(f->data + l3_at);
        ip->payload_len = rte_cpu_to_be_16((uint16_t)(f->len - l4_at));
        tcp->cksum = rte_ipv6_udptcp_cksum(ip, tcp);
    }
    return f;
}

struct frame *frames_of(struct rte_mbuf *m)
{
    if (!(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG))
        return frame_of(m);
    uint32_t len = rte_pktmbuf_pkt_len(m), l4_at = m->l2_len + m->l3_len, heads = l4_at + m->l4_len, at = 0;
    uint8_t *whole = malloc(len);
    struct frame *first = NULL, **link = &first;
    assert_non_null(whole);
    for (const struct rte_mbuf *seg = m; seg != NULL; at += seg->data_len, seg = seg->next)
        memcpy(whole + at, rte_pktmbuf_mtod(seg, const void *), seg->data_len);
    assert_int_equal(at, len);
    check_request(m, whole + m->l2_len, (void *)(whole + l4_at));
    assert_true(len - heads > m->tso_segsz && len - heads <= NET_TSO_FRAMES * m->tso_segsz);
    for (uint32_t from = 0; from < len - heads; from += m->tso_segsz) {
        uint32_t n = RTE_MIN((uint32_t)m->tso_segsz, len - heads - from);
        *link = cut(m, whole, from, n);
        link = &(*link)->next;
    }
    free(whole);
    rte_pktmbuf_free(m);
    return first;
}
