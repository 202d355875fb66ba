/* SPDX-License-Identifier: BSD-3-Clause
 * Other hosts with our addresses: probes, announcements and defence of IPv4 (RFC 5227), duplicate address detection of IPv6
 * (RFC 4862 5.4, 4429, 7527). */
#include "net_one6.h"

#include <rte_arp.h>

#include "acd.h"
#include "neigh.h"

#define PROBE "arp request 00000000 for 0a000001 broadcast"
#define ANNOUNCEMENT "arp request 0a000001 for 0a000001 broadcast"
#define OURS "nd advertisement 2001:db8::1 override mac multicast"
#define LINK_OURS "nd advertisement fe80::ff:fe00:1 override mac multicast"
#define ASKED "nd solicitation 2001:db8::1 nonce probe multicast"
#define LINK_ASKED "nd solicitation fe80::ff:fe00:1 nonce probe multicast"
#define NOT_SURE "nd advertisement 2001:db8::1 mac multicast"

/* ---- IPv4 ---- */

static int begin4(void **state)
{
    bed.ip6 = false;
    bed.probe = true;
    return begin(state);
}

static int begin4_known(void **state)
{
    bed.ip6 = bed.probe = false;
    return begin(state);
}

static int begin6(void **state)
{
    bed.ip6 = true;
    return begin(state);
}

static void arp(uint16_t op, int mac, rte_be32_t sip, rte_be32_t tip)
{
    input(arp_frame(&bed, op, host_mac(mac), sip, tip));
}

static void claim(int mac)
{
    arp(RTE_ARP_OP_REPLY, mac, HOST_IP(0), HOST_IP(0));
}

/* What was sent last comes back by the same port, as by a switch with a loop. */
static void comes_back(void)
{
    net_flush(st);
    assert_true(cap.count > 0);
    const struct frame *f = cap.frame[cap.count - 1];
    input(frame_mbuf(&bed, f->data, f->len));
}

/* Listener reports are repeated at random times: not of interest here. */
static bool nothing_sent(void)
{
    int kept = 0;
    net_flush(st);
    for (int i = 0; i < cap.count; i++) {
        if (strncmp(cap.line[i], "mld", 3) == 0) {
            free(cap.frame[i]);
            continue;
        }
        memmove(cap.line[kept], cap.line[i], sizeof cap.line[0]);
        cap.frame[kept++] = cap.frame[i];
    }
    cap.count = kept;
    return kept == 0;
}

/* Passes time until something is sent, that alone; how long that took, in ms. */
static uint64_t until_sent(const char *line)
{
    uint64_t from = now;
    while (nothing_sent() && now - from < 200 * SEC)
        pass(MS);
    sent(line, NULL);
    return (now - from) / MS;
}

static void probed_twice_more(void)
{
    for (int i = 0; i < 2; i++) {
        uint64_t gap = until_sent(PROBE);
        assert_in_range(gap, 1000, 2001); /* PROBE_MIN, PROBE_MAX, and a tick of the timers */
    }
}

static void announced(void)
{
    assert_in_range(until_sent(ANNOUNCEMENT), 2000, 2001); /* ANNOUNCE_WAIT */
    assert_in_range(until_sent(ANNOUNCEMENT), 2000, 2001); /* ANNOUNCE_INTERVAL */
    assert_int_equal(port->acd_state, ACD_OURS);
}

static void test_probes_come_first(void **state)
{
    (void)state;
    sent(PROBE, NULL); /* at once */
    probed_twice_more();
    announced();
    pass(1000 * SEC);
    sent(NULL, NULL);
    assert_int_equal(counter("arp_probes_tx"), 3);
    assert_int_equal(counter("arp_announced"), 2);
}

/* The gaps are random: hosts that start together do not ask together. */
static void test_probes_are_not_in_step(void **state)
{
    uint64_t first, second;
    (void)state;
    sent(PROBE, NULL);
    first = until_sent(PROBE);
    second = until_sent(PROBE);
    assert_int_not_equal(first, second);
}

static void test_address_is_used_while_it_is_probed(void **state)
{
    (void)state;
    struct udp_sock *s = open_at(ANY4, 7);
    sent(PROBE, NULL);
    arp(RTE_ARP_OP_REQUEST, 1, HOST_IP(1), HOST_IP(0));
    sent("arp reply 0a000001 for 0a000002", NULL);
    assert_int_equal(send_to(s, HOST(1), 10), 0);
    sent("udp 7 > 9 len 18", NULL);
    assert_int_equal(conflicts, 0);
}

static void test_who_had_it_first_is_told_of(void **state)
{
    const struct rte_ether_addr mac = host_mac(7);
    (void)state;
    sent(PROBE, NULL);
    claim(7);
    assert_int_equal(conflicts, 1);
    assert_memory_equal(&conflict_mac, &mac, sizeof mac);
    assert_int_equal(port->acd_state, ACD_CONTESTED);
    claim(8); /* counted, told once a minute */
    assert_int_equal(conflicts, 1);
    assert_int_equal(counter("arp_conflict"), 2);
    sent(NULL, NULL); /* neither defended nor announced, nor asked for */
    assert_in_range(until_sent(PROBE), 60000, 61001);
    claim(7); /* still there */
    assert_int_equal(conflicts, 2);
    assert_in_range(until_sent(PROBE), 60000, 61001);
    probed_twice_more(); /* gone */
    announced();
    assert_int_equal(counter("arp_announced"), 2);
}

/* Also in the time between the last probe and the announcement (RFC 5227 2.1.1). */
static void test_answer_may_come_late(void **state)
{
    (void)state;
    sent(PROBE, NULL);
    probed_twice_more();
    pass(1900 * MS);
    claim(7);
    assert_int_equal(conflicts, 1);
    pass(59 * SEC);
    sent(NULL, NULL);
    assert_int_equal(counter("arp_announced"), 0);
}

/* Two that are about to have one address: both learn of it. */
static void test_another_host_probes_too(void **state)
{
    (void)state;
    sent(PROBE, NULL);
    arp(RTE_ARP_OP_REQUEST, 7, 0, HOST_IP(0));
    sent("arp reply 0a000001 for 00000000", NULL);
    assert_int_equal(conflicts, 1);
    assert_int_equal(counter("arp_conflict"), 1);
    pass(59 * SEC);
    sent(NULL, NULL);
}

static void test_probes_for_others_are_nothing(void **state)
{
    (void)state;
    comes_back();
    sent(PROBE, NULL);
    arp(RTE_ARP_OP_REQUEST, 7, 0, HOST_IP(3));        /* for another address */
    arp(RTE_ARP_OP_REQUEST, 0, 0, HOST_IP(0));          /* our own, come back */
    arp(RTE_ARP_OP_REPLY, 0, HOST_IP(0), HOST_IP(0));
    assert_int_equal(counter("arp_conflict"), 0);
    assert_int_equal(port->acd_state, ACD_PROBING);
}

static void test_address_is_defended(void **state)
{
    (void)state;
    sent(PROBE, NULL);
    probed_twice_more();
    announced();
    arp(RTE_ARP_OP_REQUEST, 7, 0, HOST_IP(0)); /* somebody asks before he takes it: he is answered, and that is all */
    sent("arp reply 0a000001 for 00000000", NULL);
    assert_int_equal(conflicts, 0);
    for (int i = 0; i < 100; i++)
        claim(7);
    sent(ANNOUNCEMENT, NULL); /* 2.4 (c): once in DEFEND_INTERVAL */
    assert_int_equal(conflicts, 1);
    pass(9900 * MS);
    claim(7);
    sent(NULL, NULL);
    pass(200 * MS);
    claim(7);
    sent(ANNOUNCEMENT, NULL);
    assert_int_equal(conflicts, 1);
    pass(60 * SEC);
    claim(7);
    sent(ANNOUNCEMENT, NULL);
    assert_int_equal(conflicts, 2);
    assert_int_equal(counter("arp_conflict"), 103);
    assert_int_equal(port->acd_state, ACD_OURS); /* kept */
}

/* probe=off: an address that is taken over from another host. */
static void test_takeover(void **state)
{
    (void)state;
    sent(ANNOUNCEMENT, NULL);
    assert_in_range(until_sent(ANNOUNCEMENT), 2000, 2001);
    pass(100 * SEC);
    sent(NULL, NULL);
    assert_int_equal(counter("arp_probes_tx"), 0);
}

/* A link that comes up: a switch between two hosts of one address, a memif's peer that came late. */
static void test_probed_again_when_the_link_comes_up(void **state)
{
    (void)state;
    sent(PROBE, NULL);
    probed_twice_more();
    announced();
    pass(1000 * SEC);
    net_link_up(port, now);
    sent(PROBE, NULL); /* at once */
    claim(7); /* he was on the other side, and this host came to him */
    assert_int_equal(conflicts, 1);
    assert_int_equal(port->acd_state, ACD_CONTESTED);
    sent(NULL, NULL);
    net_link_up(port, now); /* not his link any more */
    sent(PROBE, NULL);
    probed_twice_more();
    announced();
    pass(1000 * SEC);
    sent(NULL, NULL);
    assert_int_equal(counter("arp_announced"), 4);
}

/* Nor does one that comes up several times over have several probes at a time. */
static void test_link_flaps_while_probing(void **state)
{
    (void)state;
    sent(PROBE, NULL);
    for (int i = 0; i < 5; i++) {
        pass(100 * MS);
        net_link_up(port, now);
        sent(PROBE, NULL);
    }
    probed_twice_more();
    announced();
    assert_int_equal(counter("arp_probes_tx"), 8);
}

static void test_taken_over_again_when_the_link_comes_up(void **state)
{
    (void)state;
    sent(ANNOUNCEMENT, NULL);
    until_sent(ANNOUNCEMENT);
    pass(100 * SEC);
    net_link_up(port, now);
    sent(ANNOUNCEMENT, NULL);
    assert_in_range(until_sent(ANNOUNCEMENT), 2000, 2001);
    pass(100 * SEC);
    sent(NULL, NULL);
}

/* What waits for a neighbour is not lost, and who had the address before is asked for again. */
static void test_neighbours_are_asked_for_again_when_the_link_comes_up(void **state)
{
    (void)state;
    struct udp_sock *s = open_at(ANY4, 7);
    sent(ANNOUNCEMENT, NULL);
    until_sent(ANNOUNCEMENT);
    arp(RTE_ARP_OP_REQUEST, 1, HOST_IP(1), HOST_IP(0));
    sent("arp reply 0a000001 for 0a000002", NULL);
    assert_int_equal(send_to(s, HOST(2), 10), 0);
    sent("arp request 0a000001 for 0a000003 broadcast", NULL);
    pass(500 * MS);
    net_link_up(port, now);
    sent("arp request 0a000001 for 0a000003 broadcast", ANNOUNCEMENT, NULL);
    struct ip_addr peer = HOST(1);
    assert_int_equal(neigh_state(st, port, &peer), -1);
    arp(RTE_ARP_OP_REPLY, 2, HOST_IP(2), HOST_IP(0));
    sent("udp 7 > 9 len 18", NULL);
    assert_int_equal(send_to(s, HOST(1), 10), 0);
    sent("arp request 0a000001 for 0a000002 broadcast", NULL);
    arp(RTE_ARP_OP_REPLY, 5, HOST_IP(1), HOST_IP(0)); /* another card than before */
    sent("udp 7 > 9 len 18", NULL);
    assert_int_equal(counter("arp_unresolved"), 0);
}

/* ---- IPv6 ---- */

static void advertise(const struct ip_addr *target, int mac)
{
    nd(ICMP6_ADVERTISEMENT, ND_OVERRIDE, target, &ip6_all_nodes, target, mac, 255);
}

static void skip_sent(void)
{
    net_flush(st);
    capture_clear(&cap);
}

static void test_duplicate_is_told_of(void **state)
{
    struct ip_addr ours = host6(0), peer = host6(1), group = nd_solicited_node(&ours);
    const struct rte_ether_addr mac = host_mac(7);
    (void)state;
    skip_sent();
    pass(500 * MS);
    advertise(&ours, 7);
    assert_int_equal(conflicts, 1);
    assert_memory_equal(&conflict_mac, &mac, sizeof mac);
    sent(NULL, NULL); /* not defended: he had it first */
    assert_int_equal(until_sent(LINK_OURS), 500); /* nobody has that one */
    skip_sent();
    pass(SEC);
    skip_sent();
    nd(ICMP6_SOLICITATION, 0, &peer, &group, &ours, 1, 255);
    sent("nd advertisement 2001:db8::1 solicited mac", NULL); /* still used, but it replaces nothing that others know */
    assert_in_range(until_sent(ASKED), 58000, 61001);
    assert_int_equal(until_sent(OURS), 1000);
    pass(1000 * SEC);
    skip_sent();
    assert_int_equal(counter("nd_conflict"), 1);
    assert_int_equal(port->dad_unsure, 0);
}

static void test_both_ask_for_it(void **state)
{
    struct ip_addr ours = host6(0), none = ANY6, group = nd_solicited_node(&ours);
    const struct rte_ether_addr mac = host_mac(1); /* a question has no hardware address: the frame's */
    (void)state;
    skip_sent();
    nd(ICMP6_SOLICITATION, 0, &none, &group, &ours, -1, 255);
    sent(NOT_SURE, NULL); /* so that he knows, too */
    assert_int_equal(conflicts, 1);
    assert_memory_equal(&conflict_mac, &mac, sizeof mac);
    pass(5 * SEC);
    net_flush(st);
    for (int i = 0; i < cap.count; i++)
        assert_string_not_equal(cap.line[i], OURS);
    skip_sent();
}

/* RFC 7527: a switch with a loop is no other host. */
static void test_own_question_comes_back(void **state)
{
    struct ip_addr ours = host6(0), none = ANY6, group = nd_solicited_node(&ours);
    (void)state;
    comes_back();
    skip_sent();
    assert_int_equal(counter("nd_looped"), 1);
    assert_int_equal(conflicts, 0);
    uint8_t other[32] = {ICMP6_SOLICITATION, [24] = 14, 1, 9, 9, 9, 9, 9, 9};
    memcpy(other + 8, ours.b, 16);
    input(icmp6_frame_from(&bed, &none, &group, other, sizeof other, 255));
    assert_int_equal(counter("nd_looped"), 1);
    assert_int_equal(conflicts, 1);
    sent(NOT_SURE, NULL);
}

static void test_duplicate_is_told_to_whom_we_precede(void **state)
{
    struct ip_addr ours = host6(0), none = ANY6, group = nd_solicited_node(&ours);
    (void)state;
    pass(5 * SEC);
    skip_sent();
    nd(ICMP6_SOLICITATION, 0, &none, &group, &ours, -1, 255);
    sent(OURS, NULL);
    assert_int_equal(conflicts, 0);
    for (int i = 0; i < 100; i++)
        advertise(&ours, 7);
    sent(OURS, NULL); /* defended once */
    assert_int_equal(conflicts, 1);
    pass(11 * SEC);
    advertise(&ours, 7);
    sent(OURS, NULL);
    assert_int_equal(conflicts, 1);
    pass(60 * SEC);
    advertise(&ours, 7);
    sent(OURS, NULL);
    advertise(&ours, 0); /* our own, come back */
    sent(NULL, NULL);
    assert_int_equal(conflicts, 2);
    assert_int_equal(counter("nd_conflict"), 102);
}

/* RFC 4862 5.4: also after a re-initialisation. */
static void test_asked_again_when_the_link_comes_up(void **state)
{
    struct ip_addr ours = host6(0);
    (void)state;
    pass(1000 * SEC);
    skip_sent();
    net_link_up(port, now);
    sent("mld 1 records, type 4, ff02::1:ff00:1", LINK_ASKED, ASKED, NULL);
    pass(500 * MS);
    advertise(&ours, 7);
    assert_int_equal(conflicts, 1);
    assert_true(port->dad_unsure != 0);
    assert_int_equal(until_sent(LINK_OURS), 500);
    pass(2 * SEC);
    skip_sent();
    net_link_up(port, now); /* what was contested on the last link is not on this one */
    skip_sent();
    pass(900 * MS);
    assert_true(nothing_sent());
    pass(100 * MS);
    assert_true(!nothing_sent());
    sent(LINK_OURS, OURS, NULL);
    assert_int_equal(port->dad_unsure, 0);
    pass(1000 * SEC);
    assert_true(nothing_sent());
}

#define T4(name) cmocka_unit_test_setup_teardown(name, begin4, down)
#define T6(name) cmocka_unit_test_setup_teardown(name, begin6, down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T4(test_probes_come_first), T4(test_probes_are_not_in_step), T4(test_address_is_used_while_it_is_probed),
        T4(test_who_had_it_first_is_told_of), T4(test_answer_may_come_late), T4(test_another_host_probes_too),
        T4(test_probes_for_others_are_nothing), T4(test_address_is_defended),
        cmocka_unit_test_setup_teardown(test_takeover, begin4_known, down),
        T4(test_probed_again_when_the_link_comes_up), T4(test_link_flaps_while_probing),
        cmocka_unit_test_setup_teardown(test_taken_over_again_when_the_link_comes_up, begin4_known, down),
        cmocka_unit_test_setup_teardown(test_neighbours_are_asked_for_again_when_the_link_comes_up, begin4_known, down),
        T6(test_asked_again_when_the_link_comes_up), T6(test_duplicate_is_told_of), T6(test_both_ask_for_it), T6(test_own_question_comes_back),
        T6(test_duplicate_is_told_to_whom_we_precede),
    };
    bed_start(&bed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
