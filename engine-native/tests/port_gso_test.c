/* SPDX-License-Identifier: BSD-3-Clause
 * Long segments as the port cuts them, against what the tests' own device makes of the same (net_cut.c): every byte, both families,
 * whatever pieces the payload is in, odd ones too. */
#include "net_wire.h"

#include <netinet/in.h>
#include <rte_tcp.h>

#include "internal.h"

static struct bed bed;
static struct gso gso;

/* A segment of `payload` bytes to be cut every `mss`; its first piece of payload follows the headers in their buffer. */
static struct rte_mbuf *segment(bool v4, uint32_t payload, uint16_t mss, uint64_t *seed)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(bed.pool), *last = m;
    struct rte_ether_hdr *eth = (void *)rte_pktmbuf_append(m, sizeof *eth);
    uint32_t l3 = v4 ? sizeof(struct rte_ipv4_hdr) : sizeof(struct rte_ipv6_hdr), options = (uint32_t)(rnd(seed) % 4) * 4;
    uint16_t l4 = (uint16_t)(sizeof(struct rte_tcp_hdr) + options);
    void *ip = rte_pktmbuf_append(m, (uint16_t)l3);
    struct rte_tcp_hdr *tcp = (void *)rte_pktmbuf_append(m, l4);
    *eth = (struct rte_ether_hdr){host_mac(1), host_mac(0), v4 ? RTE_BE16(RTE_ETHER_TYPE_IPV4) : RTE_BE16(RTE_ETHER_TYPE_IPV6)};
    if (v4)
        *(struct rte_ipv4_hdr *)ip = (struct rte_ipv4_hdr){
            .version_ihl = RTE_IPV4_VHL_DEF, .type_of_service = 2, .total_length = rte_cpu_to_be_16((uint16_t)(l3 + l4 + payload)),
            .packet_id = RTE_BE16(65534), .fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG), .time_to_live = 64,
            .next_proto_id = IPPROTO_TCP, .src_addr = HOST_IP(0), .dst_addr = HOST_IP(1)};
    else
        *(struct rte_ipv6_hdr *)ip = (struct rte_ipv6_hdr){.vtc_flow = RTE_BE32(0x60200000), .payload_len = rte_cpu_to_be_16((uint16_t)(l4 + payload)),
                                                           .proto = IPPROTO_TCP, .hop_limits = 64, .src_addr = {0xfd, 1}, .dst_addr = {0xfd, 2}};
    *tcp = (struct rte_tcp_hdr){RTE_BE16(80), RTE_BE16(4000), RTE_BE32(UINT32_MAX - 5000), RTE_BE32(77), (uint8_t)(l4 / 4 << 4),
                                RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG | RTE_TCP_FIN_FLAG, RTE_BE16(500), 0, 0};
    memset(tcp + 1, 1, options);
    m->l2_len = sizeof *eth;
    m->l3_len = l3;
    m->l4_len = l4;
    m->tso_segsz = mss;
    m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM | (v4 ? RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM : RTE_MBUF_F_TX_IPV6);
    tcp->cksum = v4 ? rte_ipv4_phdr_cksum(ip, m->ol_flags) : rte_ipv6_phdr_cksum(ip, m->ol_flags);
    for (uint32_t done = 0; done < payload;) {
        uint16_t n = (uint16_t)RTE_MIN(payload - done, 1 + rnd(seed) % RTE_MIN(1800u, (uint32_t)rte_pktmbuf_tailroom(last)));
        uint8_t *to = (uint8_t *)last->buf_addr + last->data_off + last->data_len;
        for (uint16_t i = 0; i < n; i++)
            to[i] = byte_at(9, done + i);
        last->data_len = (uint16_t)(last->data_len + n);
        m->pkt_len += n;
        done += n;
        if (done == payload)
            break;
        last->next = rte_pktmbuf_alloc(bed.pool);
        assert_non_null(last->next);
        last = last->next;
        m->nb_segs++;
    }
    return m;
}

static void check(bool v4, uint32_t payload, uint16_t mss, uint64_t seed)
{
    uint64_t again = seed;
    struct rte_mbuf *out[NET_TSO_FRAMES], *m = segment(v4, payload, mss, &seed);
    uint16_t n = gso_cut(&gso, m, out);
    assert_int_equal(n, (payload + mss - 1) / mss);
    rte_pktmbuf_free(m);
    struct frame *want = frames_of(segment(v4, payload, mss, &again)), *next;
    for (uint16_t i = 0; i < n; i++, want = next) {
        assert_non_null(want);
        assert_int_equal(out[i]->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_IP_CKSUM), 0);
        struct frame *f = frame_of(out[i]);
        assert_int_equal(f->len, want->len);
        assert_memory_equal(f->data, want->data, f->len);
        next = want->next;
        free(want);
        free(f);
    }
    assert_null(want);
    bed_check_empty(&bed);
    assert_int_equal(rte_mempool_in_use_count(gso.heads) + rte_mempool_in_use_count(gso.pieces), 0);
}

static void test_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        uint64_t s = seed * 2654435761u + 1;
        uint16_t mss = (uint16_t)(500 + rnd(&s) % 961);
        check(seed % 2, mss + 1 + (uint32_t)(rnd(&s) % 30000), mss, s);
    }
}

/* Too few buffers for all of it: nothing is cut, nothing kept, and the segment is as it was. */
static void test_no_buffers(void **state)
{
    (void)state;
    struct rte_mbuf *taken[127], *out[NET_TSO_FRAMES];
    for (int v4 = 0; v4 < 2; v4++) {
        uint64_t seed = 5;
        unsigned left = 7, n = rte_mempool_avail_count(gso.heads) - left;
        assert_int_equal(rte_pktmbuf_alloc_bulk(gso.heads, taken, n), 0);
        struct rte_mbuf *m = segment(v4, 20000, 1448, &seed);
        uint64_t flags = m->ol_flags;
        assert_int_equal(gso_cut(&gso, m, out), 0);
        assert_int_equal(m->ol_flags, flags);
        assert_int_equal(rte_mempool_avail_count(gso.heads), left);
        assert_int_equal(rte_mempool_in_use_count(gso.pieces), 0);
        rte_pktmbuf_free(m);
        rte_pktmbuf_free_bulk(taken, n);
        bed_check_empty(&bed);
    }
}

int main(void)
{
    struct port_failure f;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cut), cmocka_unit_test(test_no_buffers)};
    bed_start(&bed);
    assert_true(gso_start(&gso, 0, 127, &f));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    gso_stop(&gso);
    return failed;
}
