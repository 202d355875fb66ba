/* SPDX-License-Identifier: BSD-3-Clause
 * Below TCP with IPv6: neighbour discovery, extension headers, fragments, ICMPv6, listener reports, UDP. What a stack sends is
 * compared as a list: anything more or less fails. */
#include "tcp_script.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <rte_tcp.h>
#include <rte_udp.h>
#include <stdio.h>

#define ANY6 ((struct ip_addr){.w = {0}})
#define STARTED "mld 1 records, type 4, ff02::1:ff00:1"

static struct bed bed;
static struct capture cap;
static struct stack *st;
static struct net_port *port;
static uint64_t now;
static int conflicts;

static void describe(void *arg, const struct frame *f, char *line, size_t size)
{
    (void)arg;
    describe_frame(f, line, size);
}

/* The list of what was sent since the last time, NULL at its end. */
static void sent(const char *first, ...)
{
    va_list args;
    va_start(args, first);
    net_flush(st);
    for (const char *want = first; want != NULL; want = va_arg(args, const char *)) {
        if (cap.next == cap.count)
            fail_msg("not sent: %s", want);
        if (strcmp(cap.line[cap.next], want) != 0)
            fail_msg("sent '%s', expected '%s'", cap.line[cap.next], want);
        cap.next++;
    }
    if (cap.next != cap.count)
        fail_msg("not expected: %s", cap.line[cap.next]);
    va_end(args);
    capture_clear(&cap);
}

static void pass(uint64_t ns)
{
    uint64_t until = now + ns;
    for (uint64_t next; (next = net_next(st)) <= until;) {
        now = RTE_MAX(next, now);
        net_run(st, now);
    }
    now = until;
    net_run(st, now);
}

static void on_conflict(void *arg, const struct net_port *p, const struct ip_addr *addr, const struct rte_ether_addr *mac)
{
    (void)arg;
    (void)p;
    (void)addr;
    (void)mac;
    conflicts++;
}

static int begin(void **state)
{
    (void)state;
    now = SEC;
    conflicts = 0;
    cap.describe = describe;
    st = bed_stack(&bed, "packets", now);
    st->conf.conflict = on_conflict;
    port = bed_port(&bed, st, &capture_ops, &cap, 0, 0, 1500, now);
    return 0;
}

static int up(void **state)
{
    begin(state);
    pass(3 * SEC);
    net_flush(st);
    capture_clear(&cap);
    return 0;
}

static int down(void **state)
{
    (void)state;
    stack_destroy(st);
    capture_clear(&cap);
    bed_check_empty(&bed);
    return 0;
}

static uint64_t counter(const char *name)
{
    for (int i = 0; i < NET_COUNTER_N; i++)
        if (strcmp(net_counter_info[i].name, name) == 0)
            return st->counters[i];
    fail_msg("no counter %s", name);
    return 0;
}

static void input(struct rte_mbuf *m)
{
    net_input(st, port, &m, 1, now);
}

static void meet_peer(void)
{
    input(solicitation(&bed));
    sent("nd advertisement 2001:db8::1 solicited override mac", NULL);
}

/* After a time in which nobody answered for it. */
static void meet_peer_again(void)
{
    net_flush(st);
    capture_clear(&cap);
    meet_peer();
}

static int state_of(int host)
{
    struct ip_addr a = host6(host);
    return neigh_state(st, port, &a);
}

/* A solicitation or advertisement from host i with its address `target`. */
static void nd(uint8_t type, uint32_t flags, const struct ip_addr *src, const struct ip_addr *dst, const struct ip_addr *target,
               int mac, uint8_t hops)
{
    uint8_t buf[32] = {type};
    flags = rte_cpu_to_be_32(flags);
    memcpy(buf + 4, &flags, 4);
    memcpy(buf + 8, target->b, 16);
    buf[24] = type == ICMP6_SOLICITATION ? 1 : 2;
    buf[25] = 1;
    memcpy(buf + 26, host_mac(mac).addr_bytes, 6);
    input(icmp6_frame_from(&bed, src, dst, buf, mac < 0 ? 24 : 32, hops));
}

static void advertise(int host, int mac, uint32_t flags)
{
    struct ip_addr src = host6(host), dst = host6(0);
    nd(ICMP6_ADVERTISEMENT, flags, &src, &dst, &src, mac, 255);
}
#define SOLICITED (1u << 30)
#define OVERRIDE (1u << 29)

/* ---- UDP sockets that remember ---- */

struct mailbox {
    int count, error;
    uint16_t len;
    uint8_t data[65536];
};
static struct mailbox box;

static void on_datagram(void *arg, struct rte_mbuf *m, uint16_t len, struct udp_addr from, struct udp_addr to)
{
    struct mailbox *b = arg;
    (void)from;
    (void)to;
    assert_int_equal(rte_pktmbuf_pkt_len(m), len);
    b->count++;
    b->len = len;
    const void *p = rte_pktmbuf_read(m, 0, len, b->data);
    if (len > 0 && p != b->data)
        memmove(b->data, p, len);
    rte_pktmbuf_free(m);
}

static void on_error(void *arg, int err, struct udp_addr to)
{
    (void)to;
    ((struct mailbox *)arg)->error = err;
}
static const struct udp_sock_ops mail = {on_datagram, on_error};

static struct udp_sock *open_socket(uint16_t number)
{
    struct udp_sock *s;
    memset(&box, 0, sizeof box);
    assert_int_equal(udp_open(st, (struct udp_addr){ANY6, rte_cpu_to_be_16(number)}, &mail, &box, &s), 0);
    return s;
}

/* A datagram from the peer's port 9 as UDP header and payload. */
static uint16_t datagram(uint8_t *buf, uint16_t dst, uint16_t len)
{
    struct rte_udp_hdr *h = (void *)buf;
    struct rte_ipv6_hdr ip = {.payload_len = rte_cpu_to_be_16((uint16_t)(8 + len)), .proto = IPPROTO_UDP};
    memcpy(ip.src_addr, host6(1).b, 16);
    memcpy(ip.dst_addr, host6(0).b, 16);
    *h = (struct rte_udp_hdr){RTE_BE16(9), rte_cpu_to_be_16(dst), rte_cpu_to_be_16((uint16_t)(8 + len)), 0};
    for (uint16_t i = 0; i < len; i++)
        buf[8 + i] = byte_at(0, i);
    h->dgram_cksum = rte_ipv6_udptcp_cksum(&ip, h);
    return (uint16_t)(8 + len);
}

static int send_to_peer(struct udp_sock *s, size_t n)
{
    static uint8_t data[65536];
    struct iovec iov[2] = {{data, n / 2}, {data + n / 2, n - n / 2}};
    for (size_t i = 0; i < n; i++)
        data[i] = byte_at(0, i);
    return udp_send(st, s, (struct udp_addr){host6(1), RTE_BE16(9)}, iov, n, now);
}

/* ---- Neighbour discovery ---- */

static void test_addresses_are_announced(void **state)
{
    (void)state;
    sent(STARTED, "nd solicitation fe80::ff:fe00:1 probe multicast", "nd solicitation 2001:db8::1 probe multicast", NULL);
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

static void test_conflicts(void **state)
{
    struct ip_addr ours = host6(0), none = ANY6, group = nd_solicited_node(&ours);
    (void)state;
    net_flush(st);
    capture_clear(&cap);
    nd(ICMP6_SOLICITATION, 0, &none, &group, &ours, -1, 255); /* another host wants it, too, and we do not yet know */
    sent("nd advertisement 2001:db8::1 override mac multicast", NULL);
    assert_int_equal(conflicts, 1);
    pass(3 * SEC);
    net_flush(st);
    capture_clear(&cap);
    nd(ICMP6_SOLICITATION, 0, &none, &group, &ours, -1, 255); /* it is ours: he learns it */
    sent("nd advertisement 2001:db8::1 override mac multicast", NULL);
    assert_int_equal(conflicts, 1);
    nd(ICMP6_ADVERTISEMENT, OVERRIDE, &ours, &ip6_all_nodes, &ours, 7, 255);
    sent(NULL, NULL); /* defended a moment ago */
    pass(11 * SEC);
    nd(ICMP6_ADVERTISEMENT, OVERRIDE, &ours, &ip6_all_nodes, &ours, 7, 255);
    sent("nd advertisement 2001:db8::1 override mac multicast", NULL);
    nd(ICMP6_ADVERTISEMENT, OVERRIDE, &ours, &ip6_all_nodes, &ours, 0, 255); /* our own, come back */
    assert_int_equal(conflicts, 3);
    assert_int_equal(counter("nd_conflict"), 3);
    sent(NULL, NULL);
}

static void test_nd_answers(void **state)
{
    (void)state;
    meet_peer();
    assert_int_equal(state_of(1), NEIGH_STALE); /* heard, not confirmed */
    struct ip_addr src = host6(1), other = host6(5), group = nd_solicited_node(&other);
    nd(ICMP6_SOLICITATION, 0, &src, &group, &other, 1, 255); /* not for us */
    advertise(2, 2, SOLICITED | OVERRIDE);                   /* nobody asked */
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
    advertise(1, -1, SOLICITED); /* without a hardware address: no answer */
    assert_int_equal(state_of(1), NEIGH_INCOMPLETE);
    advertise(1, 1, SOLICITED);
    assert_int_equal(state_of(1), NEIGH_REACHABLE);
    advertise(1, 4, SOLICITED); /* another one, not to replace ours: doubt */
    assert_int_equal(state_of(1), NEIGH_STALE);
    const struct ip_addr a = host6(1);
    struct rte_ether_addr mac = host_mac(1);
    assert_memory_equal(&neigh_find(st, port, &a)->mac, &mac, 6);
    advertise(1, 4, OVERRIDE); /* unasked */
    assert_int_equal(state_of(1), NEIGH_STALE);
    mac = host_mac(4);
    assert_memory_equal(&neigh_find(st, port, &a)->mac, &mac, 6);
    advertise(1, 4, SOLICITED | OVERRIDE);
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
    nd(ICMP6_ADVERTISEMENT, SOLICITED, &peer, &ip6_all_nodes, &peer, 1, 255);
    uint8_t zero[32] = {ICMP6_SOLICITATION, [24] = 1, 0};              /* option of length 0 */
    memcpy(zero + 8, ours.b, 16);
    input(icmp6_frame(&bed, zero, sizeof zero, 255));
    input(icmp6_frame(&bed, zero, 20, 255)); /* cut short */
    assert_int_equal(counter("nd_bad"), 7);
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
    assert_int_equal(counter("icmp_ignored"), 2);
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
    assert_int_equal(udp_send(st, four, (struct udp_addr){host6(1), RTE_BE16(9)}, &iov, 1, now), -ENETUNREACH);
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
    assert_int_equal(udp_send(w.end[1].st, b, left, &hello, 10, w.now), 0);
    while (wire_step(&w, w.now + SEC) && box.count == 0)
        ;
    assert_int_equal(box.count, 1);
    assert_int_equal(udp_send(w.end[1].st, b, left, &iov, sizeof data, w.now), 0);
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
static const struct tcp_listener_ops listener_ops = {no_accept};

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
#define T_BEGIN(name) cmocka_unit_test_setup_teardown(name, begin, down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T_BEGIN(test_addresses_are_announced), T_BEGIN(test_conflicts), T(test_nd_answers), T(test_nd_resolves), T(test_nd_gives_up),
        T(test_nd_ages), T(test_nd_override), T(test_bad_discovery_is_counted), T(test_nd_table_is_bounded),
        T(test_listener_query_is_answered), T(test_bad_headers_are_counted), T(test_extension_headers), T(test_echo),
        T(test_errors_are_limited), T(test_errors_reach_sockets), T(test_packets_follow_the_path), T(test_udp), T(test_reassembly),
        T(test_bad_fragments), T(test_reassembly_is_bounded), T(test_udp_across_the_wire), T(test_damaged_frames),
    };
    bed_start(&bed);
    bed.ip6 = true;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
