/* SPDX-License-Identifier: BSD-3-Clause
 * Below TCP with IPv6: extension headers, fragments, ICMPv6, UDP. */
#include "net_one6.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_tcp.h>
#include <rte_udp.h>

/* ---- Headers ---- */

static void damaged(size_t at, uint8_t value, const char *name)
{
    uint8_t payload[8] = {0};
    struct rte_mbuf *m = ip6_frame(&bed, 200, payload, sizeof payload);
    uint64_t before = counter(name);
    rte_pktmbuf_mtod(m, uint8_t *)[at] = value;
    input(m);
    if (counter(name) != before + 1)
        fail_msg("byte %zu = %u was not counted as %s", at, value, name);
}

static void test_bad_headers_are_counted(void **state)
{
    struct ip_addr ours = host6(0), bad[] = {{.b = {[10] = 0xff, 0xff, 10, 0, 0, 2}}, {.b = {[15] = 1}}, ANY6, ours, {.b = {0xff, 2, [15] = 1}},
                                             {.b = {0xfe, 0x80, 0, 1, [15] = 9}}};
    uint8_t payload[8] = {0};
    (void)state;
    meet_peer();
    damaged(0, 0x77, "eth_not_ours");
    damaged(14, 0x45, "ip6_bad_header");
    damaged(18, 0xff, "ip6_bad_header"); /* longer than the frame */
    damaged(53, 9, "ip6_not_ours");
    for (size_t i = 0; i < RTE_DIM(bad); i++) {
        uint64_t before = counter("ip6_bad_source");
        input(ip6_frame_from(&bed, &bad[i], &ours, IPPROTO_UDP, 64, payload, sizeof payload));
        assert_int_equal(counter("ip6_bad_source"), before + 1);
    }
    sent(NULL, NULL);
    damaged(20, 201, "ip6_proto");
    sent("icmp6 4 1 len 56", NULL);
    damaged(20, IPPROTO_NONE, "ip6_proto");
    sent(NULL, NULL);
    struct ip_addr group = {.b = {0xff, 2, [15] = 0x99}}, peer = host6(1);
    struct rte_mbuf *m = ip6_frame_from(&bed, &peer, &group, 200, 64, payload, sizeof payload);
    input(m); /* a group that we are not in */
    assert_int_equal(counter("eth_not_ours"), 2);
}

/* A datagram of 4 bytes to port 7 behind the headers given; `first` is the first one's number. */
static void chain(uint8_t first, const uint8_t *headers, uint16_t n)
{
    uint8_t buf[1500];
    memcpy(buf, headers, n);
    uint16_t len = datagram(buf + n, 7, 4);
    input(ip6_frame(&bed, first, buf, (uint16_t)(n + len)));
}
#define CHAIN(first, ...) chain(first, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
#define UDP IPPROTO_UDP

static void test_extension_headers(void **state)
{
    (void)state;
    meet_peer();
    open_socket(7);
    CHAIN(IPPROTO_HOPOPTS, UDP, 0, 1, 4, 0, 0, 0, 0);
    CHAIN(IPPROTO_HOPOPTS, IPPROTO_DSTOPTS, 0, 5, 2, 0, 0, 1, 0, UDP, 0, 0, 0, 0, 0, 0, 0);
    CHAIN(IPPROTO_DSTOPTS, UDP, 0, 0x1e, 4, 1, 2, 3, 4); /* unknown, to be skipped */
    CHAIN(IPPROTO_ROUTING, UDP, 0, 0, 0, 0, 0, 0, 0);    /* type 0 with nothing left: RFC 5095 3 */
    assert_int_equal(box.count, 4);
    CHAIN(IPPROTO_ROUTING, UDP, 0, 0, 1, 0, 0, 0, 0);
    CHAIN(IPPROTO_ROUTING, UDP, 0, 2, 1, 0, 0, 0, 0);
    sent("icmp6 4 0 len 68", "icmp6 4 0 len 68", NULL);
    CHAIN(IPPROTO_DSTOPTS, UDP, 0, 0x5e, 4, 1, 2, 3, 4); /* unknown: drop */
    sent(NULL, NULL);
    CHAIN(IPPROTO_DSTOPTS, UDP, 0, 0x9e, 4, 1, 2, 3, 4); /* drop and tell */
    CHAIN(IPPROTO_DSTOPTS, UDP, 0, 0xde, 4, 1, 2, 3, 4); /* and tell unless multicast */
    sent("icmp6 4 2 len 68", "icmp6 4 2 len 68", NULL);
    CHAIN(IPPROTO_DSTOPTS, IPPROTO_HOPOPTS, 0, 1, 4, 0, 0, 0, 0, UDP, 0, 1, 4, 0, 0, 0, 0); /* not where it belongs */
    sent("icmp6 4 1 len 76", NULL);
    CHAIN(IPPROTO_DSTOPTS, UDP, 9, 1, 4, 0, 0, 0, 0); /* longer than the packet */
    CHAIN(IPPROTO_DSTOPTS, UDP, 0, 1, 9, 0, 0, 0, 0); /* option longer than its header */
    assert_int_equal(counter("ip6_bad_header"), 3);
    uint8_t many[7 * 8] = {0}, options[24] = {UDP, 2};
    for (int i = 0; i < 7; i++)
        memcpy(many + 8 * i, (const uint8_t[]){i == 6 ? UDP : IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0}, 8);
    chain(IPPROTO_DSTOPTS, many, sizeof many);
    for (int i = 2; i < 24; i += 2)
        options[i] = 0x1e; /* eleven, each to be skipped */
    chain(IPPROTO_DSTOPTS, options, sizeof options);
    assert_int_equal(counter("ip6_limit"), 2);
    assert_int_equal(counter("ip6_option"), 3);
    assert_int_equal(counter("ip6_routing"), 2);
    assert_int_equal(box.count, 4);
    sent(NULL, NULL);
}

/* ---- ICMPv6 ---- */

static void echo(uint16_t len, const struct ip_addr *dst)
{
    uint8_t buf[1480] = {ICMP6_ECHO_REQUEST};
    struct ip_addr src = host6(1);
    input(icmp6_frame_from(&bed, &src, dst, buf, len, 64));
}

static void test_echo(void **state)
{
    struct ip_addr ours = host6(0);
    (void)state;
    meet_peer();
    echo(64, &ours);
    echo(1460, &ours);
    echo(64, &ip6_all_nodes);
    sent("icmp6 129 0 len 64", "icmp6 129 0 len 1460", "icmp6 129 0 len 64", NULL);
    uint8_t bad[8] = {ICMP6_ECHO_REQUEST};
    input(ip6_frame(&bed, IPPROTO_ICMPV6, bad, sizeof bad)); /* no checksum */
    assert_int_equal(counter("icmp_bad"), 1);
    uint8_t advert[16] = {134}, redirect[40] = {ICMP6_REDIRECT};
    input(icmp6_frame(&bed, advert, sizeof advert, 255));
    input(icmp6_frame(&bed, redirect, sizeof redirect, 255));
    assert_int_equal(counter("icmp_ignored"), 1);
    assert_int_equal(counter("nd_bad"), 1);
    sent(NULL, NULL);
}

static void test_errors_are_limited(void **state)
{
    uint8_t buf[64];
    (void)state;
    meet_peer();
    for (int i = 0; i < 80; i++)
        input(ip6_frame(&bed, UDP, buf, datagram(buf, 999, 4)));
    net_flush(st);
    assert_int_equal(cap.count, 50);
    assert_string_equal(cap.line[49], "icmp6 1 4 len 60");
    assert_int_equal(counter("icmp_rate_limited"), 30);
    capture_clear(&cap);
    pass(20 * MS);
    static uint8_t large[1440];
    input(ip6_frame(&bed, UDP, large, datagram(large, 999, 1400)));
    sent("icmp6 1 4 len 1240", NULL); /* RFC 4443 2.4 (c): in the smallest MTU */
    struct ip_addr peer = host6(1);
    input(ip6_frame_from(&bed, &peer, &ip6_all_nodes, UDP, 64, buf, datagram(buf, 999, 4)));
    uint8_t error[56] = {ICMP6_UNREACHABLE, 4};
    input(icmp6_frame(&bed, error, sizeof error, 64)); /* never about an error */
    sent(NULL, NULL);
}

/* An ICMPv6 error about a datagram of ours from port 7 to the peer's 9. */
static void icmp_error_in(uint8_t type, uint8_t code, uint32_t rest)
{
    struct {
        struct icmp6_hdr h;
        struct rte_ipv6_hdr ip;
        struct rte_udp_hdr udp;
    } __attribute__((packed, aligned(2))) e = {.h = {type, code, 0, rte_cpu_to_be_32(rest)},
                                   .ip = {.vtc_flow = RTE_BE32(6u << 28), .proto = UDP},
                                   .udp = {RTE_BE16(7), RTE_BE16(9), RTE_BE16(8), 0}};
    memcpy(e.ip.src_addr, host6(0).b, 16);
    memcpy(e.ip.dst_addr, host6(1).b, 16);
    box.error = 0;
    input(icmp6_frame(&bed, &e, sizeof e, 64));
}

static void test_errors_reach_sockets(void **state)
{
    static const struct {
        uint8_t type, code;
        int err;
    } cases[] = {{1, 0, ENETUNREACH}, {1, 1, EACCES}, {1, 3, EHOSTUNREACH}, {1, 4, ECONNREFUSED}, {1, 5, EACCES}, {3, 0, EHOSTUNREACH},
                 {4, 1, EPROTO}};
    (void)state;
    struct udp_sock *s = open_socket(7);
    udp_connect(s, (struct udp_addr){host6(1), RTE_BE16(9)});
    for (size_t i = 0; i < RTE_DIM(cases); i++) {
        icmp_error_in(cases[i].type, cases[i].code, 0);
        assert_int_equal(box.error, cases[i].err);
    }
    udp_connect(s, (struct udp_addr){host6(3), RTE_BE16(9)});
    icmp_error_in(1, 4, 0);
    assert_int_equal(box.error, 0);
    uint8_t cut[30] = {ICMP6_UNREACHABLE};
    input(icmp6_frame(&bed, cut, sizeof cut, 64));
    assert_int_equal(counter("icmp_bad"), 1);
}

static void test_packets_follow_the_path(void **state)
{
    struct udp_sock *s = open_socket(7);
    (void)state;
    meet_peer();
    send_to_peer(s, 1452);
    sent("udp6 7 > 9 len 1460", NULL);
    icmp_error_in(ICMP6_TOO_BIG, 0, 1400);
    assert_int_equal(box.error, EMSGSIZE);
    send_to_peer(s, 1452);
    sent("fragment6 0+1352 more", "fragment6 1352+108", NULL);
    icmp_error_in(ICMP6_TOO_BIG, 0, 100); /* RFC 8201 4: never under 1280 */
    send_to_peer(s, 1232);
    sent("udp6 7 > 9 len 1240", NULL);
    pass(601 * SEC); /* forgotten; the neighbour as well */
    net_flush(st);
    capture_clear(&cap);
    send_to_peer(s, 1452);
    input(advertisement(&bed));
    sent("nd solicitation 2001:db8::2 mac multicast", "udp6 7 > 9 len 1460", NULL);
}

/* ---- UDP and fragments ---- */

static void test_udp(void **state)
{
    uint8_t buf[1480];
    (void)state;
    meet_peer();
    struct udp_sock *s = open_socket(7), *again, *four;
    assert_int_equal(udp_open(st, (struct udp_addr){ANY6, RTE_BE16(7)}, &mail, &box, &again), -EADDRINUSE);
    assert_int_equal(udp_open(st, (struct udp_addr){ANY4, RTE_BE16(7)}, &mail, &box, &four), 0); /* each for itself */
    input(ip6_frame(&bed, UDP, buf, datagram(buf, 7, 100)));
    assert_int_equal(box.len, 100);
    uint16_t n = datagram(buf, 7, 50);
    buf[20] ^= 1;
    input(ip6_frame(&bed, UDP, buf, n));
    assert_int_equal(counter("udp_bad_cksum"), 1);
    n = datagram(buf, 7, 50);
    buf[6] = buf[7] = 0; /* RFC 8200 8.1: not without */
    input(ip6_frame(&bed, UDP, buf, n));
    assert_int_equal(counter("udp_bad_cksum"), 2);
    assert_int_equal(box.count, 1);
    assert_int_equal(send_to_peer(s, 65528), -EMSGSIZE);
    struct iovec iov = {buf, 1};
    assert_int_equal(udp_send(st, four, (struct udp_addr){host6(1), RTE_BE16(9)}, NULL, &iov, 1, now), -ENETUNREACH);
    udp_close(st, s);
    input(ip6_frame(&bed, UDP, buf, datagram(buf, 7, 1)));
    sent("icmp6 1 4 len 57", NULL);
}

/* Offsets in bytes; the pieces of one datagram, whose first header is `next`. */
static void piece(const uint8_t *d, uint8_t next, uint32_t id, uint32_t from, uint32_t to, bool more)
{
    uint8_t buf[1600] = {next, 0, (uint8_t)(from >> 8), (uint8_t)((from & 0xf8) | more)};
    memcpy(buf + 4, &id, 4);
    memcpy(buf + 8, d + from, to - from);
    input(ip6_frame(&bed, IPPROTO_FRAGMENT, buf, (uint16_t)(8 + to - from)));
}

static void test_reassembly(void **state)
{
    static uint8_t d[65536], with[2048] = {UDP, 0, 1, 4};
    (void)state;
    open_socket(7);
    uint16_t n = datagram(d, 7, 3000);
    piece(d, UDP, 1, 1600, n, false); /* in any order */
    piece(d, UDP, 1, 0, 800, true);
    piece(d, UDP, 1, 0, 800, true); /* twice */
    piece(d, UDP, 1, 800, 1600, true);
    assert_int_equal(box.count, 1);
    assert_memory_equal(box.data, d + 8, 3000);
    n = datagram(d, 7, 65527); /* the largest */
    for (uint32_t at = 0; at < n; at += 1448) {
        bool last = n - at <= 1448;
        piece(d, UDP, 2, at, last ? n : at + 1448, !last);
    }
    assert_int_equal(box.count, 2);
    assert_int_equal(box.len, 65527);
    assert_memory_equal(box.data, d + 8, 65527);
    n = (uint16_t)(8 + datagram(with + 8, 7, 1000)); /* an extension header inside */
    piece(with, IPPROTO_DSTOPTS, 3, 504, n, false);
    piece(with, IPPROTO_DSTOPTS, 3, 0, 504, true);
    assert_int_equal(box.count, 3);
    assert_int_equal(box.len, 1000);
    n = datagram(d, 7, 1000); /* RFC 6946: atomic, beside an incomplete one of the same identification */
    piece(d, UDP, 4, 0, 504, true);
    piece(d, UDP, 4, 0, n, false);
    assert_int_equal(box.count, 4);
    piece(d, UDP, 4, 504, n, false);
    assert_int_equal(box.count, 5);
    assert_int_equal(counter("ip_reassembled"), 4);
}

static void test_bad_fragments(void **state)
{
    static uint8_t d[65536 + 8];
    uint8_t hidden[16] = {UDP, 1, 1, 12};
    (void)state;
    meet_peer();
    open_socket(7);
    uint16_t n = datagram(d, 7, 3000);
    piece(d, UDP, 1, 0, 800, true);
    piece(d, UDP, 1, 400, 1200, true); /* RFC 5722: overlaps, all of it goes */
    assert_int_equal(counter("frag_overlap"), 2);
    piece(d, UDP, 2, 8, 15, true); /* not a multiple of 8 */
    piece(d, UDP, 2, 65528, 65536, false); /* beyond what a packet can be */
    piece(hidden, IPPROTO_DSTOPTS, 2, 0, 16, true); /* RFC 7112: the header of UDP is not here */
    sent("icmp6 4 0 len 63", "icmp6 4 0 len 64", "icmp6 4 3 len 72", NULL);
    assert_int_equal(counter("frag_bad"), 3);
    uint8_t nested[32] = {UDP, 0, 0, 1};
    piece(nested, IPPROTO_FRAGMENT, 5, 0, 16, true);
    piece(nested, IPPROTO_FRAGMENT, 5, 16, 32, false);
    assert_int_equal(counter("frag_bad"), 4);
    piece(d, UDP, 3, 0, 800, true);
    piece(d, UDP, 4, 1600, n, false);
    pass(59 * SEC);
    meet_peer_again();
    pass(2 * SEC);
    net_flush(st);
    assert_int_equal(counter("frag_timeout"), 2);
    assert_int_equal(box.count, 0);
    int told = 0;
    for (int i = 0; i < cap.count; i++)
        told += strncmp(cap.line[i], "icmp6 3 1", 9) == 0;
    assert_int_equal(told, 1); /* for the one whose beginning is here */
    capture_clear(&cap);
}

static void test_reassembly_is_bounded(void **state)
{
    uint8_t d[4096];
    (void)state;
    open_socket(7);
    datagram(d, 7, 3000);
    for (uint32_t id = 0; id < 500; id++)
        piece(d, UDP, id, 0, 800, true);
    assert_true(rte_mempool_in_use_count(bed.rx.pool) * (uint64_t)RTE_MBUF_DEFAULT_BUF_SIZE <= 200000);
    assert_true(counter("frag_limit") > 400);
    piece(d, UDP, 499, 800, 1600, true); /* the newest survived */
    piece(d, UDP, 499, 1600, 3008, false);
    assert_int_equal(box.count, 1);
}

/* Fragments and all, between two stacks. */
static void test_udp_across_the_wire(void **state)
{
    struct wire w;
    struct udp_sock *a, *b;
    static uint8_t data[60000];
    struct iovec iov = {data, sizeof data}, hello = {data, 10};
    const struct udp_addr left = {host6(0), RTE_BE16(5)}, right = {host6(1), RTE_BE16(6)};
    (void)state;
    memset(&box, 0, sizeof box);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = byte_at(3, i);
    wire_open(&w, &bed, 1, 1500, NET_CAP_TX_IPV4_CKSUM | NET_CAP_TX_L4_CKSUM);
    w.jitter = 2 * MS;
    assert_int_equal(udp_open(w.end[0].st, left, &mail, &box, &a), 0);
    assert_int_equal(udp_open(w.end[1].st, right, &mail, &box, &b), 0);
    assert_int_equal(udp_send(w.end[1].st, b, left, NULL, &hello, 10, w.now), 0);
    while (wire_step(&w, w.now + SEC) && box.count == 0)
        ;
    assert_int_equal(box.count, 1);
    assert_int_equal(udp_send(w.end[1].st, b, left, NULL, &iov, sizeof data, w.now), 0);
    while (box.count == 1 && wire_step(&w, w.now + SEC))
        ;
    assert_int_equal(box.len, sizeof data);
    assert_memory_equal(box.data, data, sizeof data);
    wire_close(&w);
}

/* ---- Whatever comes ---- */

static int no_accept(void *arg, struct tcp_conn *c, const struct tcp_flow *flow)
{
    (void)arg;
    (void)c;
    (void)flow;
    return -EAGAIN;
}
static const struct tcp_listener_ops listener_ops = {.accept = no_accept};

/* Random chains of headers, bytes changed and ends cut, checksums right for half of them: counted, never more. */
static void test_damaged_frames(void **state)
{
    static uint8_t buf[1480];
    static const uint8_t protos[] = {IPPROTO_TCP, UDP, IPPROTO_ICMPV6, IPPROTO_HOPOPTS, IPPROTO_DSTOPTS, IPPROTO_ROUTING,
                                     IPPROTO_FRAGMENT};
    static const uint8_t types[] = {1, 2, 3, 4, 128, 129, 130, 135, 136};
    struct tcp_listener *l;
    struct ip_addr any = ANY6;
    uint64_t seed = 12;
    (void)state;
    meet_peer();
    open_socket(7);
    assert_int_equal(tcp_listen(st, &any, RTE_BE16(80), 20, &listener_ops, NULL, &l), 0);
    for (int i = 0; i < 40000; i++) {
        uint8_t first = protos[rnd(&seed) % RTE_DIM(protos)], next = first;
        uint16_t n = (uint16_t)(rnd(&seed) % 300 + 60), at = 0;
        for (uint16_t j = 0; j < n; j++)
            buf[j] = (uint8_t)rnd(&seed);
        while (next != IPPROTO_TCP && next != UDP && next != IPPROTO_ICMPV6 && at + 24 < n) {
            uint8_t was = next;
            buf[at] = next = protos[rnd(&seed) % RTE_DIM(protos)];
            buf[at + 1] = 0;
            if (was == IPPROTO_ROUTING)
                buf[at + 3] = rnd(&seed) % 4 == 0;
            else if (was == IPPROTO_FRAGMENT)
                memcpy(buf + at + 2, ((uint8_t[]){0, (uint8_t)(rnd(&seed) % 3 ? 0 : rnd(&seed)), 0, 0, 0, (uint8_t)(rnd(&seed) % 4)}), 6);
            else if (rnd(&seed) % 2)
                memcpy(buf + at + 2, ((uint8_t[]){1, 4, 0, 0, 0, 0}), 6);
            at = (uint16_t)(at + 8);
        }
        memcpy(buf + at, (uint8_t[]){0, 9, 0, next == IPPROTO_TCP ? 80 : 7}, 4);
        if (next == IPPROTO_TCP)
            buf[at + 12] = (uint8_t)(rnd(&seed) % 8 + 4) << 4;
        if (next == IPPROTO_ICMPV6)
            memcpy(buf + at, (uint8_t[]){types[rnd(&seed) % RTE_DIM(types)], 0}, 2);
        struct ip_addr src = rnd(&seed) % 4 ? host6(1) : host_link_local(1), dst = rnd(&seed) % 4 ? host6(0) : ip6_all_nodes;
        struct rte_mbuf *m = ip6_frame_from(&bed, &src, &dst, first, rnd(&seed) % 2 ? 255 : 1, buf, n);
        struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv6_hdr *, 14);
        uint16_t field = next == IPPROTO_TCP ? 16 : next == UDP ? 6 : 2;
        if (rnd(&seed) % 2 && at + 20 < n) {
            struct rte_ipv6_hdr pseudo = *ip;
            uint8_t *l4 = (uint8_t *)(ip + 1) + at;
            pseudo.proto = next;
            pseudo.payload_len = rte_cpu_to_be_16((uint16_t)(n - at));
            memset(l4 + field, 0, 2);
            if (next == UDP)
                memcpy(l4 + 4, &pseudo.payload_len, 2);
            uint16_t sum = (uint16_t)~__rte_raw_cksum_reduce((uint32_t)rte_raw_cksum(l4, n - at) + rte_ipv6_phdr_cksum(&pseudo, 0));
            memcpy(l4 + field, &sum, 2);
        }
        if (rnd(&seed) % 8 == 0)
            ((uint8_t *)ip)[rnd(&seed) % 40] ^= (uint8_t)rnd(&seed);
        if (rnd(&seed) % 16 == 0)
            rte_pktmbuf_trim(m, (uint16_t)(rnd(&seed) % (rte_pktmbuf_pkt_len(m) - 15)));
        input(m);
        pass(MS / 4);
        net_flush(st);
        capture_clear(&cap);
    }
    assert_true(counter("tcp_rx") > 1000);
    assert_true(counter("nd_rx") > 200);
    assert_true(counter("frag_bad") + counter("frag_overlap") > 100);
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
        T(test_bad_headers_are_counted), T(test_extension_headers), T(test_echo),
        T(test_errors_are_limited), T(test_errors_reach_sockets), T(test_packets_follow_the_path), T(test_udp), T(test_reassembly),
        T(test_bad_fragments), T(test_reassembly_is_bounded), T(test_udp_across_the_wire), T(test_damaged_frames),
    };
    bed_start(&bed);
    bed.ip6 = true;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
