/* SPDX-License-Identifier: BSD-3-Clause
 * Below TCP: ARP, IPv4, fragments, ICMP, UDP; and the bounds of TCP's tables. What a stack sends is compared as a list:
 * anything more or less fails. */
#include "tcp_script.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_arp.h>
#include <rte_icmp.h>
#include <rte_tcp.h>
#include <rte_udp.h>
#include <stdio.h>

static struct bed bed;
static struct capture cap;
static struct stack *st;
static struct net_port *port;
static uint64_t now;

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

static int up(void **state)
{
    (void)state;
    now = SEC;
    cap.describe = describe;
    st = bed_stack(&bed, "packets", now);
    port = bed_port(&bed, st, &capture_ops, &cap, 0, 0, 1500, now);
    sent("arp request 0a000001 for 0a000001 broadcast", NULL);
    pass(3 * SEC);
    sent("arp request 0a000001 for 0a000001 broadcast", NULL); /* RFC 5227 2.3: twice */
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

static void arp(uint16_t op, struct rte_ether_addr sha, rte_be32_t sip, rte_be32_t tip)
{
    struct {
        struct rte_ether_hdr eth;
        struct rte_arp_hdr arp;
    } f = {.eth = {host_mac(0), sha, RTE_BE16(RTE_ETHER_TYPE_ARP)},
           .arp = {RTE_BE16(RTE_ARP_HRD_ETHER), RTE_BE16(RTE_ETHER_TYPE_IPV4), 6, 4, rte_cpu_to_be_16(op), {sha, sip, {{0}}, tip}}};
    input(frame_mbuf(&bed, &f, sizeof f));
}

static void meet_peer(void)
{
    arp(RTE_ARP_OP_REQUEST, host_mac(1), HOST_IP(1), HOST_IP(0));
    sent("arp reply 0a000001 for 0a000002", NULL);
}

/* ---- UDP sockets that remember ---- */

struct mailbox {
    int count, error;
    bool fatal;
    uint16_t len;
    uint8_t data[65536];
};
static struct mailbox box;

static void on_datagram(void *arg, struct rte_mbuf *m, uint16_t len, const struct udp_meta *meta)
{
    struct mailbox *b = arg;
    assert_int_equal(ip_to_v4(&meta->from.ip), HOST_IP(1));
    assert_int_equal(rte_pktmbuf_pkt_len(m), len);
    b->count++;
    b->len = len;
    const void *p = rte_pktmbuf_read(m, 0, len, b->data);
    if (len > 0 && p != b->data)
        memmove(b->data, p, len);
    rte_pktmbuf_free(m);
}

static void on_error(void *arg, const struct ip_error *e, struct udp_addr local, struct udp_addr remote)
{
    (void)local;
    (void)remote;
    ((struct mailbox *)arg)->error = e->err;
    ((struct mailbox *)arg)->fatal = e->fatal;
}
static const struct udp_sock_ops mail = {on_datagram, on_error};

static struct udp_sock *open_socket(uint16_t number)
{
    struct udp_sock *s;
    memset(&box, 0, sizeof box);
    assert_int_equal(udp_open(st, (struct udp_addr){ANY4, rte_cpu_to_be_16(number)}, &mail, &box, &s), 0);
    return s;
}

/* A datagram from the peer's port 9 as UDP header and payload. */
static uint16_t datagram(uint8_t *buf, uint16_t dst, uint16_t len)
{
    struct rte_udp_hdr *h = (void *)buf;
    struct rte_ipv4_hdr ip = {.version_ihl = RTE_IPV4_VHL_DEF, .total_length = rte_cpu_to_be_16((uint16_t)(28 + len)),
                              .next_proto_id = IPPROTO_UDP, .src_addr = HOST_IP(1), .dst_addr = HOST_IP(0)};
    *h = (struct rte_udp_hdr){RTE_BE16(9), rte_cpu_to_be_16(dst), rte_cpu_to_be_16((uint16_t)(8 + len)), 0};
    for (uint16_t i = 0; i < len; i++)
        buf[8 + i] = byte_at(0, i);
    h->dgram_cksum = rte_ipv4_udptcp_cksum(&ip, h);
    return (uint16_t)(8 + len);
}

static int send_to_peer(struct udp_sock *s, size_t n)
{
    static uint8_t data[65536];
    struct iovec iov[2] = {{data, n / 2}, {data + n / 2, n - n / 2}};
    for (size_t i = 0; i < n; i++)
        data[i] = byte_at(0, i);
    return udp_send(st, s, (struct udp_addr){HOST(1), RTE_BE16(9)}, NULL, iov, n, now);
}

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

/* ---- UDP and fragments ---- */

static void test_udp(void **state)
{
    uint8_t buf[1480];
    (void)state;
    meet_peer();
    struct udp_sock *s = open_socket(7), *again;
    assert_int_equal(udp_open(st, (struct udp_addr){ANY4, RTE_BE16(7)}, &mail, &box, &again), -EADDRINUSE);
    input(ip_frame(&bed, IPPROTO_UDP, 1, 0, buf, datagram(buf, 7, 100)));
    assert_int_equal(box.len, 100);
    input(ip_frame(&bed, IPPROTO_UDP, 2, 0, buf, datagram(buf, 7, 0)));
    assert_true(box.count == 2 && box.len == 0);
    uint16_t n = datagram(buf, 7, 50);
    buf[20] ^= 1;
    input(ip_frame(&bed, IPPROTO_UDP, 3, 0, buf, n));
    assert_int_equal(counter("udp_bad_cksum"), 1);
    datagram(buf, 7, 50);
    input(ip_frame(&bed, IPPROTO_UDP, 4, 0, buf, 40)); /* longer than its packet */
    assert_int_equal(counter("udp_bad"), 1);
    assert_int_equal(box.count, 2);
    assert_int_equal(send_to_peer(s, 65508), -EMSGSIZE);
    udp_close(st, s);
    input(ip_frame(&bed, IPPROTO_UDP, 5, 0, buf, datagram(buf, 7, 1)));
    sent("icmp 3 3 len 36", NULL);
}

static void test_udp_is_fragmented(void **state)
{
    struct udp_sock *s = open_socket(7);
    (void)state;
    meet_peer();
    assert_int_equal(send_to_peer(s, 4000), 0);
    sent("fragment 0+1480 more", "fragment 1480+1480 more", "fragment 2960+1048", NULL);
    send_to_peer(s, 1472);
    sent("udp 7 > 9 len 1480", NULL);
}

/* Offsets in bytes; the pieces of one datagram. */
static void piece(const uint8_t *datagram, uint16_t id, uint16_t from, uint16_t to, bool more)
{
    input(ip_frame(&bed, IPPROTO_UDP, id, (uint16_t)(from / 8 | (more ? RTE_IPV4_HDR_MF_FLAG : 0)), datagram + from,
                   (uint16_t)(to - from)));
}

static void test_reassembly(void **state)
{
    static uint8_t d[65536];
    (void)state;
    open_socket(7);
    uint16_t n = datagram(d, 7, 3000);
    piece(d, 1, 1600, n, false); /* in any order */
    piece(d, 1, 0, 800, true);
    piece(d, 1, 0, 800, true); /* twice */
    piece(d, 1, 800, 1600, true);
    assert_int_equal(box.count, 1);
    assert_memory_equal(box.data, d + 8, 3000);
    n = datagram(d, 7, 65507); /* the largest */
    for (uint16_t at = 0; at < n; at = (uint16_t)(at + 1480)) {
        bool last = n - at <= 1480;
        piece(d, 2, at, last ? n : (uint16_t)(at + 1480), !last);
        if (last)
            break;
    }
    assert_int_equal(box.count, 2);
    assert_int_equal(box.len, 65507);
    assert_memory_equal(box.data, d + 8, 65507);
    assert_int_equal(counter("ip_reassembled"), 2);
}

static void test_bad_fragments(void **state)
{
    uint8_t d[4096];
    (void)state;
    meet_peer();
    open_socket(7);
    uint16_t n = datagram(d, 7, 3000);
    piece(d, 1, 0, 800, true);
    piece(d, 1, 400, 1200, true); /* overlaps: all of it goes */
    assert_int_equal(counter("frag_overlap"), 2);
    piece(d, 2, 1600, n, false);
    piece(d, 2, 0, 8, true); /* hides the header */
    assert_int_equal(counter("frag_bad"), 1);
    piece(d, 2, 8, 15, true); /* not a multiple of 8 */
    assert_int_equal(counter("frag_bad"), 2);
    piece(d, 3, 0, 800, true);
    pass(31 * SEC);
    sent("icmp 11 1 len 36", NULL); /* for the one whose beginning is here */
    assert_int_equal(counter("frag_timeout"), 2);
    assert_int_equal(box.count, 0);
}

static void test_reassembly_is_bounded(void **state)
{
    uint8_t d[4096];
    (void)state;
    open_socket(7);
    datagram(d, 7, 3000);
    for (uint16_t id = 0; id < 500; id++)
        piece(d, id, 0, 800, true);
    assert_true(rte_mempool_in_use_count(bed.pool) * (uint64_t)RTE_MBUF_DEFAULT_BUF_SIZE <= 200000);
    assert_true(counter("frag_limit") > 400);
    piece(d, 499, 800, 1600, true); /* the newest survived */
    piece(d, 499, 1600, 3008, false);
    assert_int_equal(box.count, 1);
}

/* Fragments and all, between two stacks. */
static void test_udp_across_the_wire(void **state)
{
    struct wire w;
    struct udp_sock *a, *b;
    static uint8_t data[60000];
    struct iovec iov = {data, sizeof data};
    (void)state;
    memset(&box, 0, sizeof box);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = byte_at(3, i);
    wire_open(&w, &bed, 1, 1500, NET_CAP_TX_IPV4_CKSUM | NET_CAP_TX_L4_CKSUM);
    w.jitter = 2 * MS;
    assert_int_equal(udp_open(w.end[0].st, (struct udp_addr){HOST(0), RTE_BE16(5)}, &mail, &box, &a), 0);
    assert_int_equal(udp_open(w.end[1].st, (struct udp_addr){HOST(1), RTE_BE16(6)}, &mail, &box, &b), 0);
    struct iovec hello = {data, 10};
    assert_int_equal(udp_send(w.end[1].st, b, (struct udp_addr){HOST(0), RTE_BE16(5)}, NULL, &hello, 10, w.now), 0);
    while (wire_step(&w, w.now + SEC) && box.count == 0)
        ;
    assert_int_equal(box.count, 1);
    assert_int_equal(udp_send(w.end[1].st, b, (struct udp_addr){HOST(0), RTE_BE16(5)}, NULL, &iov, sizeof data, w.now), 0);
    while (box.count == 1 && wire_step(&w, w.now + SEC))
        ;
    assert_int_equal(box.len, sizeof data);
    assert_memory_equal(box.data, data, sizeof data);
    wire_close(&w);
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
        T(test_errors_are_limited), T(test_errors_reach_sockets), T(test_udp), T(test_udp_is_fragmented), T(test_reassembly),
        T(test_bad_fragments), T(test_reassembly_is_bounded), T(test_udp_across_the_wire), T(test_syn_flood_is_bounded),
        T(test_damaged_frames),
    };
    bed_start(&bed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
