/* SPDX-License-Identifier: BSD-3-Clause
 * Redirects: better first hops, believed as a Linux host believes them (RFC 1122 3.2.2.2, 4861 8), and those that are not. */
#include "net_one6.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_arp.h>

#include "neigh.h"

#define FAR4 IP(192, 0, 2, 1)
#define GATEWAY 253 /* the host of the bed that is its ports' gateway for IPv4, and as a hardware address for IPv6 */
#define BETTER 7

static struct udp_sock *sock;
static uint8_t quoted[1500]; /* the packet that was sent last, and is redirected */
static uint16_t quoted_len;

static void never(void *arg, struct rte_mbuf *m, uint16_t len, const struct udp_meta *meta)
{
    (void)arg;
    (void)len;
    (void)meta;
    rte_pktmbuf_free(m);
}
static const struct udp_sock_ops ops = {never, mail_error};

static struct ip_addr far(void)
{
    return bed.ip6 ? (struct ip_addr){.b = {0x20, 1, 0x0d, 0xb8, 0xff, [15] = 1}} : ip_from_v4(FAR4);
}

static struct ip_addr gateway6(void)
{
    return (struct ip_addr){.b = {0xfe, 0x80, [15] = 0xfe}};
}

/* What is sent to `dst` goes to the station with that hardware address. */
static void goes_to(struct ip_addr dst, int mac)
{
    const struct rte_ether_addr want = host_mac(mac);
    assert_int_equal(send_to(sock, dst, 20), 0);
    net_flush(st);
    assert_int_equal(cap.count, 1);
    assert_non_null(strstr(cap.line[0], "udp"));
    assert_memory_equal(((const struct rte_ether_hdr *)(const void *)cap.frame[0]->data)->dst_addr.addr_bytes, want.addr_bytes, 6);
    quoted_len = (uint16_t)(cap.frame[0]->len - 14);
    memcpy(quoted, cap.frame[0]->data + 14, quoted_len);
    capture_clear(&cap);
}

/* ---- IPv4 ---- */

static void knows4(int host)
{
    input(arp_frame(&bed, RTE_ARP_OP_REQUEST, host_mac(host), HOST_IP(host), HOST_IP(0)));
    net_flush(st);
    capture_clear(&cap);
}

static int up4(void **state)
{
    bed.ip6 = bed.probe = false;
    begin(state);
    pass(5 * SEC);
    memset(&box, 0, sizeof box);
    assert_int_equal(udp_open(st, (struct udp_addr){ANY4, RTE_BE16(7)}, &ops, &box, &sock), 0);
    assert_int_equal(send_to(sock, far(), 20), 0);
    knows4(GATEWAY);
    goes_to(far(), GATEWAY);
    return 0;
}

static void redirect4(int from, uint8_t code, rte_be32_t hop)
{
    uint8_t buf[8 + 28] = {5, code};
    memcpy(buf + 4, &hop, 4);
    memcpy(buf + 8, quoted, 28);
    uint16_t sum = (uint16_t)~rte_raw_cksum(buf, sizeof buf);
    memcpy(buf + 2, &sum, 2);
    struct rte_mbuf *m = ip_frame(&bed, IPPROTO_ICMP, 1, 0, buf, sizeof buf);
    struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, 14);
    ip->src_addr = HOST_IP(from);
    ip->hdr_checksum = 0;
    ip->hdr_checksum = rte_ipv4_cksum(ip);
    input(m);
}

/* Told of a neighbour it has not met, the stack asks for him first, and believes the next one, as Linux. */
static void taken4(int from, int hop)
{
    uint64_t before = counter("redirects_taken");
    redirect4(from, 1, HOST_IP(hop));
    if (counter("redirects_taken") == before) {
        knows4(hop);
        redirect4(from, 1, HOST_IP(hop));
    }
    assert_int_equal(counter("redirects_taken"), before + 1);
}

static void test_better_hop_is_taken(void **state)
{
    (void)state;
    redirect4(GATEWAY, 1, HOST_IP(BETTER));
    sent("arp request 0a000001 for 0a000008 broadcast", NULL);
    assert_int_equal(counter("redirect_unknown"), 1);
    goes_to(far(), GATEWAY); /* for as long as he has not answered */
    knows4(BETTER);
    redirect4(GATEWAY, 1, HOST_IP(BETTER));
    goes_to(far(), BETTER);
    assert_int_equal(counter("redirects_taken"), 1);
    assert_int_equal(box.error, 0); /* no error to the application */
    goes_to(ip_from_v4(FAR4 + RTE_BE32(1)), GATEWAY); /* of that destination alone */
}

/* RFC 1812 4.3.3.2: of a network means of this host. */
static void test_every_code_is_of_one_host(void **state)
{
    (void)state;
    knows4(BETTER);
    for (uint8_t code = 0; code < 4; code++) { /* there and back */
        bool back = code % 2;
        redirect4(back ? BETTER : GATEWAY, code, HOST_IP(back ? GATEWAY : BETTER));
        goes_to(far(), back ? GATEWAY : BETTER);
    }
    assert_int_equal(counter("redirects_taken"), 4);
    redirect4(GATEWAY, 4, HOST_IP(BETTER));
    assert_int_equal(counter("icmp_ignored"), 1);
}

static void test_the_new_hop_may_send_on(void **state)
{
    (void)state;
    knows4(BETTER);
    taken4(GATEWAY, BETTER);
    goes_to(far(), BETTER);
    taken4(BETTER, 9);
    goes_to(far(), 9);
    redirect4(BETTER, 1, HOST_IP(GATEWAY)); /* no longer in use */
    redirect4(GATEWAY, 1, HOST_IP(BETTER));
    assert_int_equal(counter("redirect_refused"), 2);
    goes_to(far(), 9);
    taken4(9, GATEWAY);
    goes_to(far(), GATEWAY);
}

static void test_it_is_forgotten(void **state)
{
    (void)state;
    taken4(GATEWAY, BETTER);
    pass(299 * SEC);
    knows4(BETTER);
    knows4(GATEWAY);
    goes_to(far(), BETTER);
    pass(2 * SEC);
    goes_to(far(), GATEWAY);
}

/* RFC 1122 3.3.1.4: a first hop that is dead. */
static void test_dead_hop_is_left(void **state)
{
    (void)state;
    taken4(GATEWAY, BETTER);
    goes_to(far(), BETTER);
    pass(70 * SEC); /* not confirmed any more */
    knows4(GATEWAY);
    for (int i = 0; i < 2; i++) { /* asked, forgotten; asked anew, given up */
        assert_int_equal(send_to(sock, far(), 20), 0);
        pass(4 * SEC);
    }
    assert_int_equal(box.error, EHOSTUNREACH);
    net_flush(st);
    capture_clear(&cap);
    goes_to(far(), GATEWAY);
}

/* Who may not say so, what may not be said, and about what. */
static void test_lies_are_not_believed(void **state)
{
    (void)state;
    knows4(BETTER);
    knows4(3);
    redirect4(3, 1, HOST_IP(BETTER));                  /* a neighbour, not the gateway */
    redirect4(GATEWAY, 1, IP(198, 51, 100, 1));        /* no neighbour */
    redirect4(GATEWAY, 1, HOST_IP(0));                 /* ourselves */
    redirect4(GATEWAY, 1, IP(10, 0, 0, 255));
    redirect4(GATEWAY, 1, IP(224, 0, 0, 1));
    redirect4(GATEWAY, 1, 0);
    redirect4(GATEWAY, 1, HOST_IP(GATEWAY));           /* the one in use */
    assert_int_equal(counter("redirect_refused"), 7);
    uint8_t genuine[sizeof quoted];
    memcpy(genuine, quoted, sizeof quoted);
    struct rte_ipv4_hdr *ip = (void *)quoted;
    ip->src_addr = HOST_IP(5); /* not a packet of ours */
    redirect4(GATEWAY, 1, HOST_IP(BETTER));
    assert_int_equal(counter("icmp_bad"), 1);
    memcpy(quoted, genuine, sizeof quoted);
    quoted[21] = 8; /* from no socket */
    redirect4(GATEWAY, 1, HOST_IP(BETTER));
    memcpy(quoted, genuine, sizeof quoted);
    ip->next_proto_id = IPPROTO_ICMP; /* nobody's */
    redirect4(GATEWAY, 1, HOST_IP(BETTER));
    memcpy(quoted, genuine, sizeof quoted);
    ip->fragment_offset = RTE_BE16(10); /* what looks like ports is none */
    redirect4(GATEWAY, 1, HOST_IP(BETTER));
    memcpy(quoted, genuine, sizeof quoted);
    ip->dst_addr = HOST_IP(3); /* needs no gateway */
    redirect4(3, 1, HOST_IP(BETTER));
    memcpy(quoted, genuine, sizeof quoted);
    udp_connect(sock, (struct udp_addr){HOST(3), RTE_BE16(9)});
    redirect4(GATEWAY, 1, HOST_IP(BETTER)); /* connected to another */
    udp_connect(sock, (struct udp_addr){ANY4, 0});
    assert_int_equal(counter("icmp_ignored"), 4);
    assert_int_equal(counter("redirect_refused"), 8);
    assert_int_equal(counter("redirects_taken"), 0);
    sent(NULL, NULL); /* and nobody was asked for */
    goes_to(far(), GATEWAY);
}

/* Of TCP, what is outstanding (as RFC 5927 4.1 has it of errors). */
static void test_segments_must_be_outstanding(void **state)
{
    static struct sock s;
    struct tcp_flow flow = {ANY4, far(), 0, RTE_BE16(80)};
    (void)state;
    knows4(BETTER);
    sock_open(&bed, &s);
    assert_int_equal(tcp_connect(st, flow, s.own, &sock_ops, &s, now, &s.conn), 0);
    net_flush(st);
    assert_int_equal(cap.count, 1);
    memcpy(quoted, cap.frame[0]->data + 14, 28);
    quoted[27] ^= 1;
    redirect4(GATEWAY, 1, HOST_IP(BETTER));
    assert_int_equal(counter("icmp_ignored"), 1);
    quoted[27] ^= 1;
    redirect4(GATEWAY, 1, HOST_IP(BETTER));
    assert_int_equal(counter("redirects_taken"), 1);
    assert_non_null(s.conn); /* not refused by it */
    capture_clear(&cap);
    sock_close(&s, true, now);
}

static void test_switched_off(void **state)
{
    (void)state;
    port->conf.redirects = false;
    knows4(BETTER);
    redirect4(GATEWAY, 1, HOST_IP(BETTER));
    assert_int_equal(counter("icmp_ignored"), 1);
    goes_to(far(), GATEWAY);
}

/* Of a thousand destinations: so many lines, which give way to each other, and what is forgotten goes by the gateway. */
static void test_table_is_bounded(void **state)
{
    uint64_t kept = 0;
    (void)state;
    knows4(BETTER);
    struct rte_ipv4_hdr *ip = (void *)quoted;
    for (uint32_t i = 0; i < 1000; i++) {
        ip->dst_addr = rte_cpu_to_be_32(0xc6330000u + i);
        redirect4(GATEWAY, 1, HOST_IP(BETTER));
    }
    assert_int_equal(counter("redirects_taken"), 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        struct ip_addr dst = ip_from_v4(rte_cpu_to_be_32(0xc6330000u + i));
        struct ip_route r;
        assert_true(ip_route(st, &dst, &r));
        kept += ip_to_v4(&r.hop) == HOST_IP(BETTER);
    }
    assert_in_range(kept, 1, 256);
    assert_int_equal(counter("redirects_replaced"), 1000 - kept);
}

/* ---- IPv6 ---- */

static void knows6(const struct ip_addr *a, int mac)
{
    struct ip_addr ours = host6(0);
    nd(ICMP6_ADVERTISEMENT, ND_SOLICITED | ND_OVERRIDE, a, &ours, a, mac, 255);
    net_flush(st);
}

static int up6(void **state)
{
    struct ip_addr router = gateway6();
    bed.ip6 = true;
    begin(state);
    pass(20 * SEC);
    memset(&box, 0, sizeof box);
    assert_int_equal(udp_open(st, (struct udp_addr){ANY6, RTE_BE16(7)}, &ops, &box, &sock), 0);
    assert_int_equal(send_to(sock, far(), 20), 0);
    knows6(&router, GATEWAY);
    capture_clear(&cap);
    goes_to(far(), GATEWAY);
    return 0;
}

/* mac -1: no hardware address; `quote` bytes of the packet, 0: none. */
static void redirect6(struct ip_addr from, struct ip_addr target, struct ip_addr dst, int mac, uint16_t quote, uint8_t code, uint8_t hops)
{
    struct ip_addr ours = host6(0);
    uint8_t buf[40 + 8 + 8 + 1280] = {ICMP6_REDIRECT, code};
    uint16_t len = 40;
    memcpy(buf + 8, target.b, 16);
    memcpy(buf + 24, dst.b, 16);
    if (mac >= 0) {
        buf[len] = ND_OPT_TARGET;
        buf[len + 1] = 1;
        memcpy(buf + len + 2, host_mac(mac).addr_bytes, 6);
        len = (uint16_t)(len + 8);
    }
    if (quote > 0) {
        buf[len] = 4;
        buf[len + 1] = (uint8_t)(1 + quote / 8);
        memcpy(buf + len + 8, quoted, quote);
        len = (uint16_t)(len + 8 + quote / 8 * 8);
    }
    input(icmp6_frame_from(&bed, &from, &ours, buf, len, hops));
}

static struct ip_addr better6(void)
{
    return host_link_local(BETTER);
}

static void test_better_router_is_taken(void **state)
{
    (void)state;
    redirect6(gateway6(), better6(), far(), -1, 48, 0, 255);
    sent("nd solicitation fe80::ff:fe00:8 mac multicast", NULL);
    goes_to(far(), GATEWAY);
    redirect6(gateway6(), better6(), far(), BETTER, 48, 0, 255);
    goes_to(far(), BETTER);
    assert_int_equal(counter("redirects_taken"), 1);
    assert_int_equal(counter("redirect_unknown"), 1);
    redirect6(better6(), host_link_local(9), far(), 9, 0, 0, 255); /* without the packet, as Linux */
    goes_to(far(), 9);
    pass(301 * SEC);
    struct ip_addr router = gateway6();
    assert_int_equal(send_to(sock, far(), 20), 0);
    knows6(&router, GATEWAY);
    capture_clear(&cap);
    goes_to(far(), GATEWAY);
}

/* Target and destination are one: it is on the link. */
static void test_destination_is_a_neighbour(void **state)
{
    (void)state;
    redirect6(gateway6(), far(), far(), BETTER, 48, 0, 255);
    goes_to(far(), BETTER);
}

/* RFC 4861 8.1 */
static void test_lies_are_not_believed6(void **state)
{
    struct ip_addr group = {.b = {0xff, 2, [15] = 1}}, other = {.b = {0x20, 1, 0x0d, 0xb8, 0xff, [15] = 2}};
    (void)state;
    redirect6(gateway6(), better6(), far(), BETTER, 48, 0, 254);    /* came through a router */
    redirect6(host6(1), better6(), far(), BETTER, 48, 0, 255);      /* not from the link's router */
    redirect6(gateway6(), better6(), far(), BETTER, 48, 1, 255);
    redirect6(gateway6(), better6(), group, BETTER, 48, 0, 255);
    redirect6(gateway6(), host6(BETTER), far(), BETTER, 48, 0, 255); /* no router has such an address here */
    redirect6(gateway6(), better6(), other, BETTER, 48, 0, 255);    /* not what the packet was for */
    redirect6(gateway6(), better6(), far(), BETTER, 40, 0, 255);    /* its ports are missing */
    uint8_t zero[48] = {ICMP6_REDIRECT, [40] = ND_OPT_TARGET, 0};
    memcpy(zero + 8, better6().b, 16);
    memcpy(zero + 24, far().b, 16);
    struct ip_addr router = gateway6(), ours = host6(0);
    input(icmp6_frame_from(&bed, &router, &ours, zero, sizeof zero, 255));
    input(icmp6_frame_from(&bed, &router, &ours, zero, 39, 255));
    assert_int_equal(counter("nd_bad"), 9);
    redirect6(host_link_local(3), better6(), far(), BETTER, 48, 0, 255);   /* not the router in use */
    redirect6(gateway6(), host_link_local(0), far(), BETTER, 48, 0, 255);  /* ourselves */
    redirect6(gateway6(), gateway6(), far(), GATEWAY, 48, 0, 255);
    assert_int_equal(counter("redirect_refused"), 3);
    quoted[41] = 8; /* from no socket */
    redirect6(gateway6(), better6(), far(), BETTER, 48, 0, 255);
    quoted[41] = 7;
    quoted[23] = 9; /* not from us */
    redirect6(gateway6(), better6(), far(), BETTER, 48, 0, 255);
    assert_int_equal(counter("icmp_ignored"), 2);
    assert_int_equal(counter("redirects_taken"), 0);
    quoted[23] = 1;
    goes_to(far(), GATEWAY);
    port->conf.redirects = false;
    redirect6(gateway6(), better6(), far(), BETTER, 48, 0, 255);
    assert_int_equal(counter("icmp_ignored"), 3);
    sent(NULL, NULL);
}

#define T4(name) cmocka_unit_test_setup_teardown(name, up4, down)
#define T6(name) cmocka_unit_test_setup_teardown(name, up6, down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T4(test_better_hop_is_taken), T4(test_every_code_is_of_one_host), T4(test_the_new_hop_may_send_on), T4(test_it_is_forgotten),
        T4(test_dead_hop_is_left), T4(test_lies_are_not_believed), T4(test_segments_must_be_outstanding), T4(test_switched_off),
        T4(test_table_is_bounded), T6(test_better_router_is_taken), T6(test_destination_is_a_neighbour), T6(test_lies_are_not_believed6),
    };
    bed_start(&bed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
