/* SPDX-License-Identifier: BSD-3-Clause
 * Multicast groups: what is reported and when, to routers of every version; what is received. */
#include "net_one6.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_udp.h>

#include "group.h"

#define GROUP4 IP(239, 1, 2, 3)
static const struct ip_addr group6 = {.b = {0xff, 5, [15] = 9}};
static int who[32];

static struct ip_addr group4(void)
{
    return ip_from_v4(GROUP4);
}

/* A new stack of either protocol whose announcements are over. */
static int up_of(void **state, bool v6)
{
    bed.ip6 = v6;
    up(state);
    return 0;
}
static int up4(void **state)
{
    return up_of(state, false);
}
static int up6(void **state)
{
    return up_of(state, true);
}

static int set(const struct ip_addr *group, int member, bool exclude, const struct ip_addr *source, uint32_t n)
{
    return group_set(port, group, &who[member], exclude, source, n, now);
}

/* An IPv4 packet to `dst` from the peer. */
static struct rte_mbuf *packet4(rte_be32_t dst, uint8_t proto, uint8_t ttl, const void *payload, uint16_t len)
{
    struct rte_mbuf *m = ip_frame(&bed, proto, 1, 0, payload, len);
    struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
    struct rte_ipv4_hdr *ip = (void *)(eth + 1);
    ip->dst_addr = dst;
    ip->time_to_live = ttl;
    ip->hdr_checksum = 0;
    ip->hdr_checksum = rte_ipv4_cksum(ip);
    eth->dst_addr = ip4_multicast_mac(dst);
    return m;
}

static void query4(rte_be32_t group, uint8_t code, uint16_t len)
{
    uint8_t q[12] = {0x11, code};
    memcpy(q + 4, &group, 4);
    uint16_t sum = (uint16_t)~rte_raw_cksum(q, len);
    memcpy(q + 2, &sum, 2);
    input(packet4(group == 0 ? IP(224, 0, 0, 1) : group, IPPROTO_IGMP, 1, q, len));
}

static void datagram4(rte_be32_t dst)
{
    uint8_t buf[12] = {0, 9, 0, 7, 0, 12, 0, 0, 'd', 'a', 't', 'a'};
    input(packet4(dst, IPPROTO_UDP, 64, buf, sizeof buf));
}

#define JOINED "igmp 22 to e0000016: 239.1.2.3 type 4, 0 sources"
#define LEFT "igmp 22 to e0000016: 239.1.2.3 type 3, 0 sources"
#define PRESENT "igmp 22 to e0000016: 239.1.2.3 type 2, 0 sources"

static void test_join_and_leave(void **state)
{
    struct ip_addr g = group4(), host = HOST(1);
    (void)state;
    assert_int_equal(set(&host, 0, true, NULL, 0), -EINVAL);
    assert_int_equal(set(&g, 0, true, NULL, 0), 0);
    sent(JOINED, NULL);
    assert_int_equal(set(&g, 1, true, NULL, 0), 0); /* another socket: nothing changes for the network */
    pass(3 * SEC);
    sent(JOINED, NULL); /* robustness */
    assert_int_equal(set(&g, 0, false, NULL, 0), 0);
    pass(3 * SEC);
    sent(NULL);
    assert_int_equal(set(&g, 1, false, NULL, 0), 0);
    sent(LEFT, NULL);
    assert_int_equal(group_count(port), 1); /* until it was said twice */
    pass(3 * SEC);
    sent(LEFT, NULL);
    assert_int_equal(group_count(port), 0);
    assert_int_equal(set(&g, 1, false, NULL, 0), 0); /* what is not there is left */
    sent(NULL);
}

/* The router that knew of it may be on the other side now. */
static void test_reported_again_when_the_link_comes_up(void **state)
{
    struct ip_addr g = group4(), left = ip_from_v4(IP(239, 1, 2, 4));
    (void)state;
    set(&g, 0, true, NULL, 0);
    set(&left, 0, true, NULL, 0);
    pass(3 * SEC);
    set(&left, 0, false, NULL, 0);
    pass(3 * SEC);
    net_flush(st);
    capture_clear(&cap);
    net_link_up(port, now);
    sent("arp request 0a000001 for 0a000001 broadcast", JOINED, NULL);
    pass(1500 * MS);
    sent(JOINED, NULL);
    assert_int_equal(group_count(port), 1);
}

static void test_queries_are_answered_once(void **state)
{
    struct ip_addr g = group4();
    (void)state;
    query4(0, 10, 12);
    pass(2 * SEC);
    sent(NULL); /* in no group */
    set(&g, 0, true, NULL, 0);
    pass(3 * SEC);
    sent(JOINED, JOINED, NULL);
    for (int i = 0; i < 1000; i++) /* however often it is asked */
        query4(i % 2 ? 0 : GROUP4, 0, 12);
    pass(SEC);
    sent(PRESENT, NULL);
    query4(IP(239, 9, 9, 9), 10, 12);
    pass(2 * SEC);
    sent(NULL);
}

static void test_routers_of_version_2(void **state)
{
    struct ip_addr g = group4();
    uint8_t report[8] = {0x16};
    rte_be32_t group = GROUP4;
    (void)state;
    query4(0, 100, 8);
    set(&g, 0, true, NULL, 0);
    sent("igmp 16 to ef010203: 239.1.2.3", NULL);
    pass(3 * SEC);
    sent("igmp 16 to ef010203: 239.1.2.3", NULL);
    query4(GROUP4, 10, 8);
    memcpy(report + 4, &group, 4); /* another host is in it: one suffices (RFC 2236 3) */
    uint16_t sum = (uint16_t)~rte_raw_cksum(report, 8);
    memcpy(report + 2, &sum, 2);
    input(packet4(GROUP4, IPPROTO_IGMP, 1, report, 8));
    pass(2 * SEC);
    sent(NULL);
    set(&g, 0, false, NULL, 0);
    sent("igmp 17 to e0000002: 239.1.2.3", NULL);
    pass(300 * SEC);
    sent("igmp 17 to e0000002: 239.1.2.3", NULL);
    set(&g, 0, true, NULL, 0); /* nothing was heard of it any more */
    sent(JOINED, NULL);
}

static void test_routers_of_version_1(void **state)
{
    struct ip_addr g = group4();
    (void)state;
    query4(0, 0, 8);
    set(&g, 0, true, NULL, 0);
    sent("igmp 12 to ef010203: 239.1.2.3", NULL);
    pass(3 * SEC);
    sent("igmp 12 to ef010203: 239.1.2.3", NULL);
    set(&g, 0, false, NULL, 0); /* it knows no leave */
    pass(3 * SEC);
    sent(NULL);
}

static void test_sources(void **state)
{
    struct ip_addr g = group4(), one = HOST(1), two = HOST(2), other = HOST(3);
    (void)state;
    set(&g, 0, false, &one, 1);
    sent("igmp 22 to e0000016: 239.1.2.3 type 3, 1 sources", NULL);
    assert_true(group_accepts(port, &g, &one));
    assert_false(group_accepts(port, &g, &two));
    set(&g, 1, false, &two, 1); /* the union of what is included */
    sent("igmp 22 to e0000016: 239.1.2.3 type 3, 2 sources", NULL);
    assert_true(group_accepts(port, &g, &two));
    set(&g, 2, true, (struct ip_addr[]){one, other}, 2); /* excluded but by one who includes it (RFC 3376 3.2) */
    sent("igmp 22 to e0000016: 239.1.2.3 type 4, 1 sources", NULL);
    assert_true(group_accepts(port, &g, &one));
    assert_false(group_accepts(port, &g, &other));
    set(&g, 2, false, NULL, 0);
    set(&g, 1, false, NULL, 0);
    set(&g, 0, false, NULL, 0);
    assert_false(group_accepts(port, &g, &one));
    net_flush(st);
    capture_clear(&cap);
}

static void test_reception(void **state)
{
    struct ip_addr g = group4();
    (void)state;
    struct udp_sock *s, *bound;
    static struct mailbox second;
    second.count = box.count = 0;
    assert_int_equal(udp_open(st, (struct udp_addr){ANY4, RTE_BE16(7)}, &mail, &box, &s), 0);
    assert_int_equal(udp_open(st, (struct udp_addr){g, RTE_BE16(7)}, &mail, &second, &bound), 0);
    datagram4(GROUP4);
    assert_int_equal(box.count + second.count, 0);
    assert_int_equal(counter("eth_not_ours"), 1);
    set(&g, 0, true, NULL, 0);
    datagram4(GROUP4);
    assert_int_equal(box.count, 1);
    assert_int_equal(second.count, 1); /* each that is open there */
    datagram4(IP(239, 129, 2, 3)); /* another group with that Ethernet address */
    assert_int_equal(box.count, 1);
    assert_int_equal(counter("ip_not_ours"), 1);
    datagram4(IP(255, 255, 255, 255));
    net_flush(st);
    capture_clear(&cap);
    udp_close(st, s);
    udp_close(st, bound);
    datagram4(GROUP4); /* nobody is told that nobody is there (RFC 1122 3.2.2) */
    sent(NULL);
}

static void test_sending(void **state)
{
    struct udp_sock *s = NULL;
    struct iovec iov = {"hello", 5};
    struct udp_how how = {.ip = {.ttl = 1}};
    (void)state;
    assert_int_equal(udp_open(st, (struct udp_addr){ANY4, RTE_BE16(7)}, &mail, &box, &s), 0);
    const struct udp_addr to = {group4(), RTE_BE16(9)};
    assert_int_equal(udp_send(st, s, to, &how, &iov, 5, now), 0); /* by the gateway's port: no neighbour is asked */
    sent("udp 7 > 9 len 13 multicast", NULL);
    how.ip.route.port = port;
    assert_int_equal(udp_send(st, s, to, &how, &iov, 5, now), 0);
    net_flush(st);
    const struct rte_ipv4_hdr *ip = (const void *)(cap.frame[0]->data + 14);
    assert_int_equal(ip->time_to_live, 1);
    capture_clear(&cap);
    how.src = HOST(5);
    assert_int_equal(udp_send(st, s, to, &how, &iov, 5, now), -EINVAL); /* not ours */
}

static void test_bounds(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < NET_GROUPS_MAX + 5; i++) {
        struct ip_addr g = ip_from_v4(rte_cpu_to_be_32(0xef000000u + i));
        assert_int_equal(set(&g, 0, true, NULL, 0), i < NET_GROUPS_MAX ? 0 : -ENOBUFS);
        net_flush(st);
        capture_clear(&cap);
    }
    assert_int_equal(counter("group_table_full"), 5);
}

/* ---- IPv6 ---- */

static void query6(const struct ip_addr *group, uint16_t code, uint16_t len)
{
    uint8_t q[28] = {ICMP6_MLD_QUERY, [4] = (uint8_t)(code >> 8), (uint8_t)code};
    struct ip_addr src = host_link_local(1), all = ip6_all_nodes;
    if (group != NULL)
        memcpy(q + 8, group->b, 16);
    input(icmp6_frame_from(&bed, &src, group != NULL ? group : &all, q, len, 1));
}

#define JOINED6 "mld 1 records, type 4, ff05::9"
#define LEFT6 "mld 1 records, type 3, ff05::9"

static void test_mld(void **state)
{
    (void)state;
    assert_int_equal(set(&group6, 0, true, NULL, 0), 0);
    sent(JOINED6, NULL);
    pass(3 * SEC);
    sent(JOINED6, NULL);
    query6(&group6, 1000, 28);
    pass(2 * SEC);
    sent("mld 1 records, type 2, ff05::9", NULL);
    query6(NULL, 1000, 28);
    pass(2 * SEC);
    net_flush(st);
    assert_int_equal(cap.count, 2); /* and the solicited-node group */
    capture_clear(&cap);
    set(&group6, 0, false, NULL, 0);
    sent(LEFT6, NULL);
    pass(3 * SEC);
    sent(LEFT6, NULL);
    const struct ip_addr nodes = ip6_all_nodes;
    set(&nodes, 0, true, NULL, 0); /* every node is in that: nobody is told */
    pass(3 * SEC);
    sent(NULL);
}

static void test_mld_version_1(void **state)
{
    (void)state;
    query6(NULL, 1000, 24);
    pass(2 * SEC);
    sent("mld1 131 ff02::1:ff00:1 multicast", NULL);
    set(&group6, 0, true, NULL, 0);
    sent("mld1 131 ff05::9 multicast", NULL);
    pass(3 * SEC);
    sent("mld1 131 ff05::9 multicast", NULL);
    set(&group6, 0, false, NULL, 0);
    sent("mld1 132 ff05::9 multicast", NULL);
    pass(3 * SEC);
    sent("mld1 132 ff05::9 multicast", NULL);
}

/* Bytes of any kind as IGMP and MLD: counted, no more than an answer for each question. */
static void test_damaged(void **state)
{
    struct ip_addr g = group4();
    uint64_t seed = 3;
    uint8_t buf[64];
    (void)state;
    set(&g, 0, true, NULL, 0);
    for (int i = 0; i < 20000; i++) {
        uint16_t n = (uint16_t)(rnd(&seed) % 60 + 1);
        for (uint16_t j = 0; j < n; j++)
            buf[j] = (uint8_t)rnd(&seed);
        if (rnd(&seed) % 2) {
            buf[0] = (uint8_t[]){0x11, 0x12, 0x16, 0x17, 0x22}[rnd(&seed) % 5];
            if (n >= 4) {
                buf[2] = buf[3] = 0;
                uint16_t sum = (uint16_t)~rte_raw_cksum(buf, n);
                memcpy(buf + 2, &sum, 2);
            }
        }
        input(packet4(rnd(&seed) % 2 ? IP(224, 0, 0, 1) : GROUP4, IPPROTO_IGMP, 1, buf, n));
        pass(MS);
        net_flush(st);
        capture_clear(&cap);
    }
    assert_true(counter("igmp_bad") > 1000);
    assert_true(counter("igmp_reports_tx") < 300); /* in 20 s: ten a second at most */
}

#define T4(name) cmocka_unit_test_setup_teardown(name, up4, down)
#define T6(name) cmocka_unit_test_setup_teardown(name, up6, down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T4(test_join_and_leave), T4(test_queries_are_answered_once), T4(test_routers_of_version_2), T4(test_routers_of_version_1),
        T4(test_reported_again_when_the_link_comes_up), T4(test_sources), T4(test_reception), T4(test_sending), T4(test_bounds), T6(test_mld), T6(test_mld_version_1),
        T4(test_damaged),
    };
    bed_start(&bed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
