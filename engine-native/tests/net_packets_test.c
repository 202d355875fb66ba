/* SPDX-License-Identifier: BSD-3-Clause
 * Below TCP: ARP, IPv4, ICMP; and the bounds of TCP's tables. Datagrams: net_datagrams_test.c. */
#include "net_one4.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_arp.h>
#include <rte_icmp.h>
#include <rte_tcp.h>
#include <rte_udp.h>

/* ---- ARP ---- */

static void test_arp_answers(void **state)
{
    (void)state;
    meet_peer();
    assert_int_equal(neigh_state(st, port, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), HOST_IP(1)}}), NEIGH_REACHABLE);
    arp(RTE_ARP_OP_REQUEST, host_mac(1), HOST_IP(1), HOST_IP(5)); /* not for us */
    arp(RTE_ARP_OP_REPLY, host_mac(2), HOST_IP(2), HOST_IP(0));   /* nobody asked */
    sent(NULL, NULL);
    assert_int_equal(neigh_state(st, port, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), HOST_IP(2)}}), -1);
    arp(RTE_ARP_OP_REVREQUEST, host_mac(7), HOST_IP(1), HOST_IP(0)); /* neither a question nor an answer: changes nothing */
    arp(RTE_ARP_OP_INVREPLY, host_mac(7), HOST_IP(0), HOST_IP(0));
    assert_int_equal(counter("arp_bad"), 2);
    assert_int_equal(counter("arp_conflict"), 0);
    const struct ip_addr peer = HOST(1);
    const struct rte_ether_addr mac = host_mac(1);
    assert_memory_equal(&neigh_find(st, port, &peer)->mac, &mac, sizeof mac);
    sent(NULL, NULL);
    port->conf.addr = 0; /* a port with IPv6 alone */
    arp(RTE_ARP_OP_REQUEST, host_mac(1), HOST_IP(1), HOST_IP(0));
    assert_int_equal(counter("eth_type"), 1);
    sent(NULL, NULL);
}

static void test_arp_resolves(void **state)
{
    struct udp_sock *s = open_socket(7);
    (void)state;
    for (int i = 0; i < 6; i++)
        assert_int_equal(send_to_peer(s, 10 + (size_t)i), 0);
    sent("arp request 0a000001 for 0a000002 broadcast", NULL);
    assert_int_equal(counter("arp_pending_full"), 2);
    arp(RTE_ARP_OP_REPLY, host_mac(1), HOST_IP(1), HOST_IP(0));
    sent("udp 7 > 9 len 20", "udp 7 > 9 len 21", "udp 7 > 9 len 22", "udp 7 > 9 len 23", NULL);
}

static void test_arp_gives_up(void **state)
{
    struct udp_sock *s = open_socket(7);
    (void)state;
    send_to_peer(s, 10);
    pass(900 * MS);
    sent("arp request 0a000001 for 0a000002 broadcast", NULL);
    pass(2200 * MS);
    sent("arp request 0a000001 for 0a000002 broadcast", "arp request 0a000001 for 0a000002 broadcast", NULL);
    assert_int_equal(counter("arp_unresolved"), 1);
    assert_int_equal(neigh_state(st, port, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), HOST_IP(1)}}), -1);
}

static void test_arp_ages(void **state)
{
    struct udp_sock *s = open_socket(7);
    (void)state;
    meet_peer();
    pass(61 * SEC);
    assert_int_equal(neigh_state(st, port, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), HOST_IP(1)}}), NEIGH_STALE);
    send_to_peer(s, 10); /* goes at once, and asks the peer itself */
    sent("udp 7 > 9 len 18", "arp request 0a000001 for 0a000002", NULL);
    assert_int_equal(neigh_state(st, port, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), HOST_IP(1)}}), NEIGH_PROBE);
    arp(RTE_ARP_OP_REPLY, host_mac(1), HOST_IP(1), HOST_IP(0));
    assert_int_equal(neigh_state(st, port, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), HOST_IP(1)}}), NEIGH_REACHABLE);
    pass(700 * SEC);
    assert_int_equal(neigh_state(st, port, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), HOST_IP(1)}}), -1);
    sent(NULL, NULL);
}

static void test_arp_conflict(void **state)
{
    (void)state;
    arp(RTE_ARP_OP_REQUEST, host_mac(7), HOST_IP(0), HOST_IP(0));
    sent("arp request 0a000001 for 0a000001 broadcast", NULL); /* defended once */
    arp(RTE_ARP_OP_REQUEST, host_mac(7), HOST_IP(0), HOST_IP(0));
    sent(NULL, NULL);
    assert_int_equal(counter("arp_conflict"), 2);
}

static void test_arp_table_is_bounded(void **state)
{
    (void)state;
    for (int i = 1; i < 30; i++)
        arp(RTE_ARP_OP_REQUEST, host_mac(i), HOST_IP(i), HOST_IP(0));
    net_flush(st);
    assert_int_equal(cap.count, 29); /* all answered, 16 remembered */
    assert_int_equal(neigh_state(st, port, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), HOST_IP(16)}}), NEIGH_REACHABLE);
    assert_int_equal(neigh_state(st, port, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), HOST_IP(17)}}), -1);
    capture_clear(&cap);
    assert_int_equal(counter("arp_not_learned"), 13);
    arp(RTE_ARP_OP_REQUEST, host_mac(1), HOST_IP(1), HOST_IP(0)); /* known already */
    arp(RTE_ARP_OP_REPLY, host_mac(20), HOST_IP(20), HOST_IP(0)); /* nothing to be learned */
    assert_int_equal(counter("arp_not_learned"), 13);
    struct udp_sock *s = open_socket(7);
    assert_int_equal(send_to(s, HOST(20), 10), 0);
    assert_int_equal(counter("arp_table_full"), 1); /* a packet, which goes nowhere */
    assert_int_equal(counter("arp_not_learned"), 13);
    sent("arp reply 0a000001 for 0a000002", NULL);
}

/* ---- IPv4 ---- */

static void damaged(size_t at, uint8_t value, bool fix, const char *name)
{
    uint8_t payload[8] = {0};
    struct rte_mbuf *m = ip_frame(&bed, 200, 1, 0, payload, sizeof payload);
    uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
    uint64_t before = counter(name);
    p[at] = value;
    struct rte_ipv4_hdr *ip = (void *)(p + 14);
    if (fix) {
        ip->hdr_checksum = 0;
        ip->hdr_checksum = rte_ipv4_cksum(ip);
    }
    input(m);
    if (counter(name) != before + 1)
        fail_msg("byte %zu = %u was not counted as %s", at, value, name);
}

static void test_bad_headers_are_counted(void **state)
{
    (void)state;
    meet_peer();
    damaged(0, 0x77, false, "eth_not_ours");
    damaged(12, 0x99, false, "eth_type");
    damaged(14, 0x65, true, "ip_bad_header");  /* version 6 */
    damaged(14, 0x44, true, "ip_bad_header");  /* header shorter than a header */
    damaged(16, 0xff, true, "ip_bad_header");  /* longer than the frame */
    damaged(22, 63, false, "ip_bad_cksum");
    damaged(26, 127, true, "ip_bad_source");
    damaged(26, 224, true, "ip_bad_source");
    damaged(29, 255, true, "ip_bad_source");   /* the link's broadcast address */
    damaged(29, 1, true, "ip_bad_source");     /* our own */
    damaged(33, 9, true, "ip_not_ours");
    sent(NULL, NULL);
    damaged(23, 201, true, "ip_proto");
    sent("icmp 3 2 len 36", NULL);
    input(frame_mbuf(&bed, "short", 5));
    assert_int_equal(counter("eth_short"), 1);
}

static void test_source_routes_are_refused(void **state)
{
    uint8_t frame[14 + 24] = {0};
    struct rte_ipv4_hdr *ip = (void *)(frame + 14);
    (void)state;
    *(struct rte_ether_hdr *)frame = (struct rte_ether_hdr){host_mac(0), host_mac(1), RTE_BE16(RTE_ETHER_TYPE_IPV4)};
    *ip = (struct rte_ipv4_hdr){.version_ihl = 0x46, .total_length = RTE_BE16(24), .time_to_live = 9, .next_proto_id = 1,
                                .src_addr = HOST_IP(1), .dst_addr = HOST_IP(0)};
    memcpy(frame + 34, (uint8_t[]){131, 3, 4, 0}, 4);
    ip->hdr_checksum = rte_ipv4_cksum(ip);
    input(frame_mbuf(&bed, frame, sizeof frame));
    assert_int_equal(counter("ip_source_route"), 1);
}

/* ---- ICMP ---- */

static void echo(uint16_t len, uint16_t id)
{
    uint8_t buf[1480] = {RTE_IP_ICMP_ECHO_REQUEST};
    uint16_t sum = (uint16_t)~rte_raw_cksum(buf, len);
    memcpy(buf + 2, &sum, 2);
    input(ip_frame(&bed, IPPROTO_ICMP, id, 0, buf, len));
}

static void test_echo(void **state)
{
    (void)state;
    meet_peer();
    echo(64, 1);
    echo(1480, 2);
    sent("icmp 0 0 len 64", "icmp 0 0 len 1480", NULL);
    uint8_t bad[8] = {RTE_IP_ICMP_ECHO_REQUEST};
    input(ip_frame(&bed, IPPROTO_ICMP, 3, 0, bad, sizeof bad)); /* no checksum */
    assert_int_equal(counter("icmp_bad"), 1);
    sent(NULL, NULL);
}

static void test_errors_are_limited(void **state)
{
    uint8_t buf[64];
    (void)state;
    meet_peer();
    for (int i = 0; i < 80; i++)
        input(ip_frame(&bed, IPPROTO_UDP, (uint16_t)i, 0, buf, datagram(buf, 999, 4)));
    net_flush(st);
    assert_int_equal(cap.count, 50);
    assert_string_equal(cap.line[49], "icmp 3 3 len 36");
    assert_int_equal(counter("icmp_rate_limited"), 30);
    assert_int_equal(counter("udp_no_port"), 80);
    capture_clear(&cap);
    pass(20 * MS);
    for (int i = 0; i < 5; i++)
        input(ip_frame(&bed, IPPROTO_UDP, (uint16_t)i, 0, buf, datagram(buf, 999, 4)));
    sent("icmp 3 3 len 36", "icmp 3 3 len 36", NULL);
}

static void test_errors_reach_sockets(void **state)
{
    struct {
        uint8_t type, code;
        uint16_t sum;
        uint32_t rest;
        struct rte_ipv4_hdr ip;
        struct rte_udp_hdr udp;
    } __attribute__((packed)) e = {.type = 3, .code = 3,
                                   .ip = {.version_ihl = RTE_IPV4_VHL_DEF, .next_proto_id = IPPROTO_UDP,
                                          .src_addr = HOST_IP(0), .dst_addr = HOST_IP(1)},
                                   .udp = {RTE_BE16(7), RTE_BE16(9), RTE_BE16(8), 0}};
    (void)state;
    struct udp_sock *s = open_socket(7);
    udp_connect(s, (struct udp_addr){HOST(1), RTE_BE16(9)});
    e.sum = (uint16_t)~rte_raw_cksum(&e, sizeof e);
    input(ip_frame(&bed, IPPROTO_ICMP, 1, 0, &e, sizeof e));
    assert_int_equal(box.error, ECONNREFUSED);
    udp_connect(s, (struct udp_addr){HOST(3), RTE_BE16(9)});
    box.error = 0;
    input(ip_frame(&bed, IPPROTO_ICMP, 2, 0, &e, sizeof e));
    assert_int_equal(box.error, 0);
    input(ip_frame(&bed, IPPROTO_ICMP, 3, 0, &e, 20)); /* cut short */
    assert_int_equal(counter("icmp_bad"), 1);
}

/* ---- Bounds of TCP's tables ---- */

static int no_accept(void *arg, struct tcp_conn *c, const struct tcp_flow *flow)
{
    (void)arg;
    (void)c;
    (void)flow;
    return -EAGAIN;
}
static const struct tcp_listener_ops listener_ops = {.accept = no_accept};

static void test_syn_flood_is_bounded(void **state)
{
    struct tcp_listener *l;
    (void)state;
    meet_peer();
    assert_int_equal(tcp_listen(st, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), 0}}, RTE_BE16(80), 20, &listener_ops, NULL, &l), 0);
    for (uint16_t i = 0; i < 100; i++) {
        struct rte_tcp_hdr h = {.src_port = rte_cpu_to_be_16((uint16_t)(2000 + i)), .dst_port = RTE_BE16(80),
                                .data_off = 5 << 4, .tcp_flags = RTE_TCP_SYN_FLAG, .rx_win = 500};
        struct rte_mbuf *m = ip_frame(&bed, IPPROTO_TCP, i, 0, &h, sizeof h);
        struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, 14);
        struct rte_tcp_hdr *t = (void *)(ip + 1);
        t->cksum = rte_ipv4_udptcp_cksum(ip, t);
        input(m);
    }
    net_flush(st);
    assert_int_equal(cap.count, 100); /* the others get cookies: a segment for a segment, no larger, and no state */
    assert_int_equal(tcp_conn_count(st), 20);
    assert_int_equal(counter("tcp_cookie_tx"), 80);
    assert_int_equal(counter("tcp_syn_queue_full"), 80);
    capture_clear(&cap);
    pass(200 * SEC); /* none of them is confirmed */
    assert_int_equal(tcp_conn_count(st), 0);
    net_flush(st);
    capture_clear(&cap);
    tcp_unlisten(st, l);
}

/* Valid frames of every kind with bytes changed and ends cut, checksums put right for half of them: counted, never more. */
static void test_damaged_frames(void **state)
{
    static uint8_t buf[1480];
    struct tcp_listener *l;
    uint64_t seed = 11;
    (void)state;
    meet_peer();
    open_socket(7);
    assert_int_equal(tcp_listen(st, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), 0}}, RTE_BE16(80), 20, &listener_ops, NULL, &l), 0);
    for (int i = 0; i < 30000; i++) {
        static const uint8_t protos[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP};
        uint8_t proto = protos[rnd(&seed) % 3];
        uint16_t n = (uint16_t)(rnd(&seed) % 200 + 1), fragment = rnd(&seed) % 4 ? 0 : (uint16_t)(rnd(&seed) & 0x201f);
        for (uint16_t j = 0; j < n; j++)
            buf[j] = (uint8_t)rnd(&seed);
        memcpy(buf, (uint8_t[]){0, 9, 0, proto == IPPROTO_TCP ? 80 : 7}, 4);
        if (proto == IPPROTO_TCP && n > 13)
            buf[12] = (uint8_t)(rnd(&seed) % 8 + 4) << 4;
        struct rte_mbuf *m = ip_frame(&bed, proto, (uint16_t)(rnd(&seed) % 8), fragment, buf, n);
        struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, 14);
        if (rnd(&seed) % 2 && proto == IPPROTO_TCP && n >= 20) {
            ((struct rte_tcp_hdr *)(ip + 1))->cksum = 0;
            ((struct rte_tcp_hdr *)(ip + 1))->cksum = rte_ipv4_udptcp_cksum(ip, ip + 1);
        }
        if (rnd(&seed) % 8 == 0)
            ((uint8_t *)ip)[rnd(&seed) % 20] ^= (uint8_t)rnd(&seed);
        if (rnd(&seed) % 2 && ip->ihl * 4u + 14 <= rte_pktmbuf_pkt_len(m)) {
            ip->hdr_checksum = 0;
            ip->hdr_checksum = rte_ipv4_cksum(ip);
        }
        if (rnd(&seed) % 16 == 0)
            rte_pktmbuf_trim(m, (uint16_t)(rnd(&seed) % (rte_pktmbuf_pkt_len(m) - 15)));
        input(m);
        pass(MS / 4);
        net_flush(st);
        capture_clear(&cap);
    }
    assert_true(counter("tcp_rx") > 1000);
    pass(200 * SEC);
    net_flush(st);
    capture_clear(&cap);
    assert_int_equal(tcp_conn_count(st), 0);
    tcp_unlisten(st, l);
}

#define T(name) cmocka_unit_test_setup_teardown(name, up, down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_arp_answers), T(test_arp_resolves), T(test_arp_gives_up), T(test_arp_ages), T(test_arp_conflict),
        T(test_arp_table_is_bounded), T(test_bad_headers_are_counted), T(test_source_routes_are_refused), T(test_echo),
        T(test_errors_are_limited), T(test_errors_reach_sockets), T(test_syn_flood_is_bounded), T(test_damaged_frames),
    };
    bed_start(&bed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
