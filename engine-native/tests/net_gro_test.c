/* SPDX-License-Identifier: BSD-3-Clause
 * Receive coalescing: what is merged and what is not, byte for byte, both families; what TCP makes of it. */
#include "net_wire.h"

#include <netinet/in.h>
#include <rte_tcp.h>

#include "gro.h"

static struct bed bed;
static struct stack *st;

#define MSS 1000u

/* What one frame of a burst is; all else is the same for all. */
struct seg {
    uint32_t seq, len;
    uint8_t flags, tos;
    uint32_t tsval, ack;
    uint16_t port;
    bool damaged;
};
#define S(at, n, f, ...) {.seq = (at), .len = (n), .flags = (f), ##__VA_ARGS__}
#define ACK RTE_TCP_ACK_FLAG
#define PSH (RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG)

static bool v6;

static struct rte_mbuf *frame(const struct seg *g)
{
    uint8_t buf[1600];
    struct rte_ether_hdr *eth = (void *)buf;
    void *ip = eth + 1;
    uint32_t l3 = v6 ? sizeof(struct rte_ipv6_hdr) : sizeof(struct rte_ipv4_hdr), l4 = sizeof(struct rte_tcp_hdr) + 12;
    struct rte_tcp_hdr *tcp = (void *)(buf + sizeof *eth + l3);
    uint32_t options[3] = {RTE_BE32(0x0101080a), rte_cpu_to_be_32(g->tsval), 0};
    *eth = (struct rte_ether_hdr){host_mac(0), host_mac(1), v6 ? RTE_BE16(RTE_ETHER_TYPE_IPV6) : RTE_BE16(RTE_ETHER_TYPE_IPV4)};
    *tcp = (struct rte_tcp_hdr){rte_cpu_to_be_16(g->port), RTE_BE16(80), rte_cpu_to_be_32(g->seq), rte_cpu_to_be_32(g->ack), 0x80, g->flags,
                                RTE_BE16(500), 0, 0};
    memcpy(tcp + 1, options, sizeof options);
    for (uint32_t i = 0; i < g->len; i++)
        ((uint8_t *)tcp)[l4 + i] = byte_at(3, g->seq + i);
    if (v6) {
        *(struct rte_ipv6_hdr *)ip = (struct rte_ipv6_hdr){.vtc_flow = rte_cpu_to_be_32(6u << 28 | (uint32_t)g->tos << 20), .proto = IPPROTO_TCP,
                                                           .payload_len = rte_cpu_to_be_16((uint16_t)(l4 + g->len)), .hop_limits = 64};
        memcpy(((struct rte_ipv6_hdr *)ip)->src_addr, host6(1).b, 16);
        memcpy(((struct rte_ipv6_hdr *)ip)->dst_addr, host6(0).b, 16);
        tcp->cksum = rte_ipv6_udptcp_cksum(ip, tcp);
    } else {
        *(struct rte_ipv4_hdr *)ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF, .type_of_service = g->tos,
                                                           .total_length = rte_cpu_to_be_16((uint16_t)(l3 + l4 + g->len)),
                                                           .packet_id = rte_cpu_to_be_16((uint16_t)g->seq), .time_to_live = 64,
                                                           .next_proto_id = IPPROTO_TCP, .src_addr = HOST_IP(1), .dst_addr = HOST_IP(0)};
        ((struct rte_ipv4_hdr *)ip)->hdr_checksum = rte_ipv4_cksum(ip);
        tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
    }
    buf[sizeof *eth + l3 + l4 + 5] ^= g->damaged;
    return frame_mbuf(&bed, buf, (uint16_t)(sizeof *eth + l3 + l4 + g->len));
}

/* Lengths that are left, in order, after n frames; each has the bytes of its sequence numbers and lengths that agree. */
static void expect(const struct seg *g, uint16_t n, const uint32_t *lens, uint16_t left)
{
    for (int family = 0; family < 2; family++) {
        struct rte_mbuf *m[TCP_BURST];
        v6 = family;
        for (uint16_t i = 0; i < n; i++)
            m[i] = frame(&g[i]);
        assert_int_equal(gro_merge(st, m, n), left);
        for (uint16_t i = 0; i < left; i++) {
            uint8_t copy[65536];
            uint32_t l3 = v6 ? 40 : 20, heads = 14 + l3 + 32, len = rte_pktmbuf_pkt_len(m[i]) - heads;
            const uint8_t *p = rte_pktmbuf_read(m[i], 0, heads + len, copy);
            const struct rte_tcp_hdr *tcp = (const void *)(p + 14 + l3);
            uint32_t seq = rte_be_to_cpu_32(tcp->sent_seq), told = v6 ? rte_be_to_cpu_16(((const struct rte_ipv6_hdr *)(p + 14))->payload_len) + 40u
                                                                      : rte_be_to_cpu_16(((const struct rte_ipv4_hdr *)(p + 14))->total_length);
            assert_int_equal(len, lens[i]);
            assert_int_equal(told + 14, heads + len);
            for (uint32_t k = 0; k < len; k++)
                if (p[heads + k] != byte_at(3, seq + k))
                    assert_true(k == 5 && m[i]->nb_segs == 1 && !(m[i]->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_GOOD));
            rte_pktmbuf_free(m[i]);
        }
        bed_check_empty(&bed);
    }
}
#define EXPECT(segs, ...) \
    expect(segs, RTE_DIM(segs), (const uint32_t[]){__VA_ARGS__}, RTE_DIM(((const uint32_t[]){__VA_ARGS__})))

static void test_in_order(void **state)
{
    (void)state;
    /* A shorter one, and one with PSH, end what is merged; sequence numbers wrap. */
    const struct seg shorter[] = {S(UINT32_MAX - 1500, MSS, ACK), S(UINT32_MAX - 500, MSS, ACK), S(499, 600, ACK), S(1099, 600, ACK)};
    EXPECT(shorter, 2600, 600);
    const struct seg push[] = {S(1, MSS, ACK), S(1001, MSS, PSH), S(2001, MSS, ACK), S(3001, MSS, PSH)};
    EXPECT(push, 2000, 2000);
    const struct seg longer[] = {S(1, 600, ACK), S(601, MSS, ACK), S(1601, MSS, ACK)};
    EXPECT(longer, 600, 2000);
}

static void test_what_differs(void **state)
{
    (void)state;
    const struct seg congestion[] = {S(1, MSS, ACK, .tos = 2), S(1001, MSS, ACK, .tos = 3), S(2001, MSS, ACK, .tos = 3)};
    EXPECT(congestion, 1000, 2000);
    const struct seg time[] = {S(1, MSS, ACK, .tsval = 5), S(1001, MSS, ACK, .tsval = 5), S(2001, MSS, ACK, .tsval = 6)};
    EXPECT(time, 2000, 1000);
    const struct seg ack[] = {S(1, MSS, ACK), S(1001, MSS, ACK, .ack = 1)};
    EXPECT(ack, 1000, 1000);
    const struct seg flow[] = {S(1, MSS, ACK), S(1001, MSS, ACK, .port = 9), S(1001, MSS, ACK)};
    EXPECT(flow, 1000, 1000, 1000);
    const struct seg flags[] = {S(1, MSS, ACK), S(1001, MSS, ACK | RTE_TCP_URG_FLAG), S(2001, MSS, ACK | RTE_TCP_FIN_FLAG), S(3001, MSS, ACK | RTE_TCP_CWR_FLAG),
                                S(4001, MSS, ACK | RTE_TCP_ECE_FLAG), S(5001, MSS, ACK | RTE_TCP_RST_FLAG)};
    EXPECT(flags, 1000, 1000, 1000, 1000, 1000, 1000);
    const struct seg none[] = {S(1, 0, ACK), S(1, 0, ACK), S(1, 100, ACK), S(101, 100, ACK)};
    EXPECT(none, 0, 0, 100, 100);
}

static void test_order_is_kept(void **state)
{
    (void)state;
    const struct seg gap[] = {S(1, MSS, ACK), S(2001, MSS, ACK), S(3001, MSS, ACK), S(1001, MSS, ACK)};
    EXPECT(gap, 1000, 2000, 1000);
    const struct seg twice[] = {S(1, MSS, ACK), S(1, MSS, ACK), S(1001, MSS, ACK)};
    EXPECT(twice, 1000, 2000);
}

/* What is damaged is not hidden in what is not. */
static void test_damage(void **state)
{
    (void)state;
    const struct seg middle[] = {S(1, MSS, ACK), S(1001, MSS, ACK, .damaged = true), S(2001, MSS, ACK), S(3001, MSS, ACK)};
    EXPECT(middle, 1000, 1000, 2000);
    const struct seg first[] = {S(1, MSS, ACK, .damaged = true), S(1001, MSS, ACK)};
    EXPECT(first, 1000, 1000);
}

/* ---- TCP ---- */

static struct sock server;

static struct acceptor acceptor = {&bed, &server};

static void pass(struct wire *w, uint64_t ns)
{
    uint64_t end = w->now + ns;
    while (wire_step(w, end))
        ;
}

/* Ten segments in one burst: each lent for itself, one acknowledgement, and TCP_INFO counts what was on the wire. */
static void one_burst(bool lend)
{
    static struct wire w;
    struct tcp_listener *l;
    struct sock client = {0};
    struct zs_tcp_info info;
    struct ip_addr any = bed_any(&bed);
    bed.gro = true;
    bed.lend = lend;
    server = (struct sock){0};
    wire_open(&w, &bed, 1, 1500, 0);
    pass(&w, 3 * SEC); /* IPv6 first looks whether its address is taken: a SYN that is lost makes the first window one segment */
    assert_int_equal(tcp_listen(w.end[1].st, &any, RTE_BE16(80), 4, &acceptor_ops, &acceptor, &l), 0);
    sock_open(&bed, &client);
    struct tcp_flow flow = {.remote_ip = bed_host(&bed, 1), .remote_port = RTE_BE16(80)};
    assert_int_equal(tcp_connect(w.end[0].st, flow, client.own, &sock_ops, &client, w.now, &client.conn), 0);
    pass(&w, 100 * MS);
    assert_non_null(server.bed);
    const uint64_t *n = w.end[1].st->counters;
    uint64_t sent = n[NET_TCP_TX], received = n[NET_TCP_RX], mss = bed.ip6 ? 1428 : 1448;
    tcp_info(server.conn, w.now, &info);
    uint32_t before = info.data_segs_in;
    assert_int_equal(sock_write(&client, 10 * mss, w.now), 10 * mss);
    pass(&w, 5 * MS);
    assert_int_equal(n[NET_GRO_MERGED], 9);
    assert_int_equal(n[NET_TCP_RX] - received, 10);
    assert_int_equal(n[NET_TCP_TX] - sent, 1);
    tcp_info(server.conn, w.now, &info);
    assert_int_equal(info.data_segs_in - before, 10);
    assert_int_equal(n[NET_TCP_RX_LENT], lend ? 10 * mss : 0);
    assert_int_equal(sock_read(&server, UINT32_MAX, w.now), 10 * mss);
    sock_close(&client, true, w.now);
    sock_close(&server, true, w.now);
    pass(&w, SEC);
    wire_close(&w);
    bed_check_empty(&bed);
}

static void test_one_ack(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        bed.ip6 = i & 1;
        one_burst(i & 2);
    }
    bed.ip6 = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_in_order), cmocka_unit_test(test_what_differs), cmocka_unit_test(test_order_is_kept),
                                       cmocka_unit_test(test_damage)};
    const struct CMUnitTest connections[] = {cmocka_unit_test(test_one_ack)};
    bed_start(&bed);
    st = bed_stack(&bed, "gro", SEC);
    int failed = cmocka_run_group_tests_name("frames", tests, NULL, NULL);
    stack_destroy(st);
    return failed + cmocka_run_group_tests_name("connections", connections, NULL, NULL);
}
