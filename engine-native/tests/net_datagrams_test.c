/* SPDX-License-Identifier: BSD-3-Clause
 * UDP over IPv4, and fragments. */
#include "net_one4.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_udp.h>

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

/* A datagram that buffers end in the middle of: told, counted once, and none is lost. */
static void test_no_buffers(void **state)
{
    struct rte_mbuf *taken[8192];
    struct udp_sock *s;
    uint32_t n = 0;
    (void)state;
    s = open_socket(7);
    meet_peer();
    uint32_t used = rte_mempool_in_use_count(bed.pool);
    while (n < RTE_DIM(taken) && (taken[n] = rte_pktmbuf_alloc(bed.pool)) != NULL)
        n++;
    assert_true(n < RTE_DIM(taken));
    for (uint32_t have = 0; have < 3; have++) { /* none, the first, and two of the five that it takes */
        assert_int_equal(send_to_peer(s, 8000), -ENOBUFS);
        assert_int_equal(counter("pkt_no_memory"), have + 1);
        rte_pktmbuf_free(taken[--n]);
    }
    rte_pktmbuf_free_bulk(taken, n);
    assert_int_equal(rte_mempool_in_use_count(bed.pool), used);
    assert_int_equal(counter("udp_tx"), 0);
    sent(NULL, NULL);
    assert_int_equal(send_to_peer(s, 8), 0);
    assert_int_equal(counter("udp_tx"), 1);
    net_flush(st);
    capture_clear(&cap);
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

#define T(name) cmocka_unit_test_setup_teardown(name, up, down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_udp), T(test_udp_is_fragmented), T(test_reassembly), T(test_bad_fragments), T(test_reassembly_is_bounded), T(test_no_buffers),
        T(test_udp_across_the_wire),
    };
    bed_start(&bed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
