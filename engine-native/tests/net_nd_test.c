/* SPDX-License-Identifier: BSD-3-Clause
 * Neighbour discovery and listener reports. Duplicate addresses: net_conflicts_test.c. */
#include "net_one6.h"

#include <errno.h>

#define STARTED "mld 1 records, type 4, ff02::1:ff00:1"

static void advertise(int host, int mac, uint32_t flags)
{
    struct ip_addr src = host6(host), dst = host6(0);
    nd(ICMP6_ADVERTISEMENT, flags, &src, &dst, &src, mac, 255);
}

/* ---- Neighbour discovery ---- */

static void test_addresses_are_announced(void **state)
{
    (void)state;
    sent(STARTED, "nd solicitation fe80::ff:fe00:1 nonce probe multicast", "nd solicitation 2001:db8::1 nonce probe multicast", NULL);
    pass(500 * MS);
    input(solicitation(&bed)); /* used at once, but not told as certain (RFC 4429 3.3) */
    sent("nd advertisement 2001:db8::1 solicited mac", NULL);
    pass(3 * SEC);
    net_flush(st);
    assert_int_equal(cap.count, 3);
    bool mld_first = strncmp(cap.line[0], "mld", 3) == 0;
    assert_string_equal(cap.line[mld_first ? 0 : 2], STARTED);
    assert_string_equal(cap.line[mld_first ? 1 : 0], "nd advertisement fe80::ff:fe00:1 override mac multicast");
    assert_string_equal(cap.line[mld_first ? 2 : 1], "nd advertisement 2001:db8::1 override mac multicast");
    capture_clear(&cap);
}

static void test_nd_answers(void **state)
{
    (void)state;
    meet_peer();
    assert_int_equal(state_of(1), NEIGH_STALE); /* heard, not confirmed */
    struct ip_addr src = host6(1), other = host6(5), group = nd_solicited_node(&other);
    nd(ICMP6_SOLICITATION, 0, &src, &group, &other, 1, 255); /* not for us */
    advertise(2, 2, ND_SOLICITED | ND_OVERRIDE);                   /* nobody asked */
    sent(NULL, NULL);
    assert_int_equal(state_of(2), -1);
}

static void test_nd_resolves(void **state)
{
    struct udp_sock *s = open_socket(7);
    (void)state;
    for (int i = 0; i < 6; i++)
        assert_int_equal(send_to_peer(s, 10 + (size_t)i), 0);
    sent("nd solicitation 2001:db8::2 mac multicast", NULL);
    assert_int_equal(counter("nd_pending_full"), 2);
    input(advertisement(&bed));
    sent("udp6 7 > 9 len 20", "udp6 7 > 9 len 21", "udp6 7 > 9 len 22", "udp6 7 > 9 len 23", NULL);
    assert_int_equal(state_of(1), NEIGH_REACHABLE);
}

static void test_nd_gives_up(void **state)
{
    struct udp_sock *s = open_socket(7);
    (void)state;
    send_to_peer(s, 10);
    pass(900 * MS);
    sent("nd solicitation 2001:db8::2 mac multicast", NULL);
    pass(2200 * MS);
    sent("nd solicitation 2001:db8::2 mac multicast", "nd solicitation 2001:db8::2 mac multicast", NULL);
    assert_int_equal(counter("nd_unresolved"), 1);
    assert_int_equal(state_of(1), -1);
    assert_int_equal(box.error, EHOSTUNREACH);
}

static void test_nd_ages(void **state)
{
    struct udp_sock *s = open_socket(7);
    (void)state;
    send_to_peer(s, 10);
    input(advertisement(&bed));
    assert_int_equal(state_of(1), NEIGH_REACHABLE);
    pass(46 * SEC);
    assert_int_equal(state_of(1), NEIGH_STALE);
    net_flush(st);
    capture_clear(&cap);
    send_to_peer(s, 10); /* goes at once, and the peer is asked a moment later */
    sent("udp6 7 > 9 len 18", NULL);
    assert_int_equal(state_of(1), NEIGH_DELAY);
    pass(5100 * MS);
    sent("nd solicitation 2001:db8::2 mac", NULL);
    assert_int_equal(state_of(1), NEIGH_PROBE);
    input(advertisement(&bed));
    assert_int_equal(state_of(1), NEIGH_REACHABLE);
    pass(700 * SEC);
    assert_int_equal(state_of(1), -1);
    sent(NULL, NULL);
}

/* RFC 4861 7.2.5 */
static void test_nd_override(void **state)
{
    struct udp_sock *s = open_socket(7);
    (void)state;
    send_to_peer(s, 10);
    advertise(1, -1, ND_SOLICITED); /* without a hardware address: no answer */
    assert_int_equal(state_of(1), NEIGH_INCOMPLETE);
    advertise(1, 1, ND_SOLICITED);
    assert_int_equal(state_of(1), NEIGH_REACHABLE);
    advertise(1, 4, ND_SOLICITED); /* another one, not to replace ours: doubt */
    assert_int_equal(state_of(1), NEIGH_STALE);
    const struct ip_addr a = host6(1);
    struct rte_ether_addr mac = host_mac(1);
    assert_memory_equal(&neigh_find(st, port, &a)->mac, &mac, 6);
    advertise(1, 4, ND_OVERRIDE); /* unasked */
    assert_int_equal(state_of(1), NEIGH_STALE);
    mac = host_mac(4);
    assert_memory_equal(&neigh_find(st, port, &a)->mac, &mac, 6);
    advertise(1, 4, ND_SOLICITED | ND_OVERRIDE);
    assert_int_equal(state_of(1), NEIGH_REACHABLE);
    net_flush(st);
    capture_clear(&cap);
}

/* RFC 4861 7.1: each is counted, none has an effect. */
static void test_bad_discovery_is_counted(void **state)
{
    struct ip_addr ours = host6(0), peer = host6(1), none = ANY6, group = nd_solicited_node(&ours);
    (void)state;
    nd(ICMP6_SOLICITATION, 0, &peer, &ours, &ours, 1, 254);            /* came through a router */
    nd(ICMP6_SOLICITATION, 0, &peer, &ours, &group, 1, 255);           /* about a group */
    nd(ICMP6_SOLICITATION, 0, &none, &group, &ours, 1, 255);           /* a probe with a hardware address */
    nd(ICMP6_SOLICITATION, 0, &none, &ours, &ours, -1, 255);           /* a probe not to the group */
    nd(ICMP6_ADVERTISEMENT, ND_SOLICITED, &peer, &ip6_all_nodes, &peer, 1, 255);
    uint8_t zero[32] = {ICMP6_SOLICITATION, [24] = 1, 0};              /* option of length 0 */
    memcpy(zero + 8, ours.b, 16);
    input(icmp6_frame(&bed, zero, sizeof zero, 255));
    input(icmp6_frame(&bed, zero, 20, 255)); /* cut short */
    uint8_t fragment[8 + 24] = {58, [8] = ICMP6_SOLICITATION};         /* in a fragment, be it a whole one (RFC 6980) */
    memcpy(fragment + 16, ours.b, 16);
    struct rte_ipv6_hdr ip = {.payload_len = RTE_BE16(24), .proto = 58};
    memcpy(ip.src_addr, peer.b, 16);
    memcpy(ip.dst_addr, ours.b, 16);
    uint16_t sum = (uint16_t)~__rte_raw_cksum_reduce((uint32_t)rte_raw_cksum(fragment + 8, 24) + rte_ipv6_phdr_cksum(&ip, 0));
    memcpy(fragment + 10, &sum, 2);
    input(ip6_frame_from(&bed, &peer, &ours, 44, 255, fragment, sizeof fragment));
    assert_int_equal(counter("nd_bad"), 8);
    assert_int_equal(state_of(1), -1);
    sent(NULL, NULL);
}

static void test_nd_table_is_bounded(void **state)
{
    struct ip_addr ours = host6(0);
    (void)state;
    for (int i = 1; i < 30; i++) {
        struct ip_addr src = host6(i);
        nd(ICMP6_SOLICITATION, 0, &src, &ours, &ours, i, 255);
    }
    net_flush(st);
    assert_int_equal(cap.count, 29); /* all answered, 16 remembered */
    assert_int_equal(state_of(16), NEIGH_STALE);
    assert_int_equal(state_of(17), -1);
    capture_clear(&cap);
    assert_int_equal(counter("nd_not_learned"), 13);
    struct udp_sock *s = open_socket(7);
    assert_int_equal(send_to(s, host6(20), 10), 0);
    assert_int_equal(counter("nd_table_full"), 1); /* a packet, which goes nowhere */
    assert_int_equal(counter("nd_not_learned"), 13);
    sent(NULL, NULL);
}

static void test_listener_query_is_answered(void **state)
{
    struct ip_addr router = host_link_local(3);
    uint8_t query[28] = {ICMP6_MLD_QUERY, [4] = 0x03, 0xe8}; /* within a second */
    (void)state;
    input(icmp6_frame_from(&bed, &router, &ip6_all_nodes, query, sizeof query, 1));
    pass(1100 * MS);
    sent("mld 1 records, type 2, ff02::1:ff00:1", NULL);
    input(icmp6_frame_from(&bed, &router, &ip6_all_nodes, query, sizeof query, 64)); /* from afar */
    assert_int_equal(counter("icmp_bad"), 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, up, down)
#define T_BEGIN(name) cmocka_unit_test_setup_teardown(name, begin, down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T_BEGIN(test_addresses_are_announced), T(test_nd_answers), T(test_nd_resolves), T(test_nd_gives_up),
        T(test_nd_ages), T(test_nd_override), T(test_bad_discovery_is_counted), T(test_nd_table_is_bounded),
        T(test_listener_query_is_answered),
    };
    bed_start(&bed);
    bed.ip6 = true;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
