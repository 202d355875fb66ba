/* SPDX-License-Identifier: BSD-3-Clause
 * ICMP errors about datagrams of ours: what they become (as Linux tells it), which are believed, and what they quote. */
#include "net_one6.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_udp.h>

static struct told {
    int count, err;
    bool fatal;
    uint8_t type, code;
    uint32_t info, len;
    struct ip_addr offender;
    uint8_t data[64];
} told;

static void never(void *arg, struct rte_mbuf *m, uint16_t len, const struct udp_meta *meta)
{
    (void)arg;
    (void)len;
    (void)meta;
    rte_pktmbuf_free(m);
}

static void on_error(void *arg, const struct ip_error *e, struct udp_addr local, struct udp_addr remote)
{
    (void)arg;
    assert_int_equal(local.port, RTE_BE16(7));
    assert_int_equal(remote.port, RTE_BE16(9));
    told = (struct told){.count = told.count + 1, .err = e->err, .fatal = e->fatal, .type = e->type, .code = e->code, .info = e->info,
                         .offender = e->offender, .len = e->data_len};
    memcpy(told.data, e->data, RTE_MIN(e->data_len, sizeof told.data));
}
static const struct udp_sock_ops ops = {never, on_error};

static struct udp_sock *open_here(struct ip_addr any)
{
    struct udp_sock *s;
    told = (struct told){.count = 0};
    assert_int_equal(udp_open(st, (struct udp_addr){any, RTE_BE16(7)}, &ops, NULL, &s), 0);
    return s;
}

static int up4(void **state)
{
    bed.ip6 = false;
    return up(state);
}
static int up6(void **state)
{
    bed.ip6 = true;
    return up(state);
}

/* An ICMP error that quotes a datagram from our port 7 to the peer's 9, and `len` bytes of it. */
static void error4(uint8_t type, uint8_t code, uint32_t rest, rte_be32_t src, rte_be32_t dst, uint16_t sport, uint16_t len)
{
    uint8_t buf[8 + 20 + 8 + 64] = {type, code};
    rest = rte_cpu_to_be_32(rest);
    memcpy(buf + 4, &rest, 4);
    struct rte_ipv4_hdr *ip = (void *)(buf + 8);
    *ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF, .total_length = rte_cpu_to_be_16((uint16_t)(28 + len)), .time_to_live = 60,
                                .next_proto_id = IPPROTO_UDP, .src_addr = src, .dst_addr = dst};
    struct rte_udp_hdr *u = (void *)(ip + 1);
    *u = (struct rte_udp_hdr){rte_cpu_to_be_16(sport), RTE_BE16(9), rte_cpu_to_be_16((uint16_t)(8 + len)), 0};
    memset(u + 1, 'q', len);
    uint16_t all = (uint16_t)(36 + len), sum = (uint16_t)~rte_raw_cksum(buf, all);
    memcpy(buf + 2, &sum, 2);
    input(ip_frame(&bed, IPPROTO_ICMP, 1, 0, buf, all));
}

static void plain4(uint8_t type, uint8_t code, uint32_t rest)
{
    error4(type, code, rest, HOST_IP(0), HOST_IP(1), 7, 5);
}

/* icmp_err_convert, ip_icmp_error */
static void test_what_icmp_says(void **state)
{
    static const struct {
        uint8_t type, code;
        uint32_t rest;
        int err;
        bool fatal;
        uint32_t info;
    } cases[] = {
        {3, 0, 0, ENETUNREACH, false, 0}, {3, 1, 0, EHOSTUNREACH, false, 0}, {3, 2, 0, ENOPROTOOPT, true, 0},
        {3, 3, 0, ECONNREFUSED, true, 0}, {3, 4, 1400, EMSGSIZE, true, 1400}, {3, 5, 0, EOPNOTSUPP, false, 0},
        {3, 6, 0, ENETUNREACH, true, 0}, {3, 7, 0, EHOSTDOWN, true, 0}, {3, 8, 0, ENONET, true, 0}, {3, 9, 0, ENETUNREACH, true, 0},
        {3, 10, 0, EHOSTUNREACH, true, 0}, {3, 11, 0, ENETUNREACH, false, 0}, {3, 12, 0, EHOSTUNREACH, false, 0},
        {3, 13, 0, EHOSTUNREACH, true, 0}, {3, 14, 0, EHOSTUNREACH, true, 0}, {3, 15, 0, EHOSTUNREACH, true, 0},
        {3, 200, 0, EHOSTUNREACH, false, 0}, {11, 0, 0, EHOSTUNREACH, false, 0}, {11, 1, 0, EHOSTUNREACH, false, 0},
        {12, 0, 9u << 24, EPROTO, true, 9},
    };
    struct ip_addr peer = HOST(1);
    (void)state;
    open_here(ANY4);
    for (size_t i = 0; i < RTE_DIM(cases); i++) {
        plain4(cases[i].type, cases[i].code, cases[i].rest);
        assert_int_equal(told.count, i + 1);
        assert_int_equal(told.err, cases[i].err);
        assert_int_equal(told.fatal, cases[i].fatal);
        assert_int_equal(told.type, cases[i].type);
        assert_int_equal(told.code, cases[i].code);
        assert_int_equal(told.info, cases[i].info);
        assert_true(ip_eq(&told.offender, &peer));
        assert_int_equal(told.len, 5);
        assert_memory_equal(told.data, "qqqqq", 5);
    }
    plain4(4, 0, 0); /* source quench: dead (RFC 6633) */
    assert_int_equal(told.count, RTE_DIM(cases));
    assert_int_equal(counter("udp_errors_rx"), RTE_DIM(cases));
}

/* RFC 1122 3.2.2, 4.1.3.3; and what could not have been answered. */
static void test_what_is_not_believed(void **state)
{
    (void)state;
    struct udp_sock *s = open_here(ANY4);
    error4(3, 3, 0, HOST_IP(3), HOST_IP(1), 7, 5); /* not from us */
    error4(3, 3, 0, HOST_IP(0), IP(10, 0, 0, 255), 7, 5); /* nobody says that of a broadcast */
    error4(3, 3, 0, HOST_IP(0), IP(224, 1, 1, 1), 7, 5);
    assert_int_equal(counter("icmp_bad"), 3);
    error4(3, 3, 0, HOST_IP(0), HOST_IP(1), 8, 5); /* no such socket */
    udp_connect(s, (struct udp_addr){HOST(2), RTE_BE16(9)});
    plain4(3, 3, 0); /* never sent there */
    assert_int_equal(told.count, 0);
    assert_int_equal(counter("icmp_ignored"), 2);
    sent(NULL);
}

/* RFC 1191: what does not fit is fragmented here once it is known, or refused. */
static void test_path_mtu(void **state)
{
    static uint8_t data[1400];
    struct iovec iov = {data, sizeof data};
    struct udp_how how = {.ip = {.pmtu = IP_PMTU_WANT}};
    const struct udp_addr peer = {HOST(1), RTE_BE16(9)};
    (void)state;
    struct udp_sock *s = open_here(ANY4);
    plain4(3, 4, 1000);
    struct ip_route route;
    assert_true(ip_route(st, &peer.ip, &route));
    assert_int_equal(ip_path_mtu(st, &route, &peer.ip), 1000);
    how.ip.pmtu = IP_PMTU_DO;
    assert_int_equal(udp_send(st, s, peer, &how, &iov, sizeof data, now), -EMSGSIZE);
    how.ip.pmtu = IP_PMTU_PROBE; /* only the port counts */
    assert_int_equal(udp_send(st, s, peer, &how, &iov, sizeof data, now), 0);
    how.ip.pmtu = IP_PMTU_WANT;
    assert_int_equal(udp_send(st, s, peer, &how, &iov, sizeof data, now), 0);
    how.ip.pmtu = IP_PMTU_DONT;
    assert_int_equal(udp_send(st, s, peer, &how, &iov, sizeof data, now), 0);
    plain4(3, 4, 68); /* less than any path of today has */
    assert_int_equal(ip_path_mtu(st, &route, &peer.ip), 552);
    sent("arp request 0a000001 for 0a000002 broadcast", NULL);
    assert_int_equal(counter("arp_pending_full"), 0);
}

static void error6(uint8_t type, uint8_t code, uint32_t rest, const struct ip_addr *src, uint16_t len)
{
    uint8_t buf[8 + 40 + 8 + 64] = {type, code};
    rest = rte_cpu_to_be_32(rest);
    memcpy(buf + 4, &rest, 4);
    struct rte_ipv6_hdr *ip = (void *)(buf + 8);
    *ip = (struct rte_ipv6_hdr){.vtc_flow = RTE_BE32(6u << 28), .payload_len = rte_cpu_to_be_16((uint16_t)(8 + len)), .proto = IPPROTO_UDP,
                                .hop_limits = 60};
    memcpy(ip->src_addr, src->b, 16);
    memcpy(ip->dst_addr, host6(1).b, 16);
    struct rte_udp_hdr *u = (void *)(ip + 1);
    *u = (struct rte_udp_hdr){RTE_BE16(7), RTE_BE16(9), rte_cpu_to_be_16((uint16_t)(8 + len)), 0};
    memset(u + 1, 'q', len);
    input(icmp6_frame(&bed, buf, (uint16_t)(56 + len), 64));
}

/* icmpv6_err_convert, ipv6_icmp_error */
static void test_what_icmp6_says(void **state)
{
    static const struct {
        uint8_t type, code;
        uint32_t rest;
        int err;
        bool fatal;
        uint32_t info;
    } cases[] = {
        {1, 0, 0, ENETUNREACH, false, 0}, {1, 1, 0, EACCES, true, 0}, {1, 2, 0, EHOSTUNREACH, false, 0}, {1, 3, 0, EHOSTUNREACH, false, 0},
        {1, 4, 0, ECONNREFUSED, true, 0}, {1, 5, 0, EACCES, true, 0}, {1, 6, 0, EACCES, true, 0}, {1, 99, 0, EPROTO, true, 0},
        {2, 0, 1300, EMSGSIZE, true, 1300}, {3, 0, 0, EHOSTUNREACH, false, 0}, {4, 0, 40, EPROTO, true, 40},
    };
    struct ip_addr ours = host6(0), foreign = host6(7);
    (void)state;
    open_here(ANY6);
    for (size_t i = 0; i < RTE_DIM(cases); i++) {
        error6(cases[i].type, cases[i].code, cases[i].rest, &ours, 5);
        assert_int_equal(told.count, i + 1);
        assert_int_equal(told.err, cases[i].err);
        assert_int_equal(told.fatal, cases[i].fatal);
        assert_int_equal(told.info, cases[i].info);
        assert_int_equal(told.len, 5);
        assert_memory_equal(told.data, "qqqqq", 5);
    }
    error6(1, 4, 0, &foreign, 5);
    assert_int_equal(told.count, RTE_DIM(cases));
}

#define T4(name) cmocka_unit_test_setup_teardown(name, up4, down)
#define T6(name) cmocka_unit_test_setup_teardown(name, up6, down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T4(test_what_icmp_says), T4(test_what_is_not_believed), T4(test_path_mtu), T6(test_what_icmp6_says),
    };
    bed_start(&bed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
