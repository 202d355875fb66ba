/* SPDX-License-Identifier: BSD-3-Clause
 * Memory of packets: the receive segment and its seals, checksums over chains, packets that must not refer to others' memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cksum.h"
#include "net_wire.h"

static struct bed bed;

static void test_segment_is_one_chunk(void **state)
{
    struct rxpool p;
    struct rte_mbuf *m[300];
    uint32_t last = 0, offset;
    (void)state;
    assert_int_equal(rxpool_create(&p, "chunk", 300, RTE_MBUF_DEFAULT_BUF_SIZE), 0);
    assert_int_equal(p.pool->nb_mem_chunks, 1);
    assert_int_equal(rte_mempool_avail_count(p.pool), 300);
    /* Side by side, as net_af_xdp computes it. */
    uint32_t step = rte_mempool_calc_obj_size(p.pool->elt_size, p.pool->flags, NULL);
    assert_true(p.size >= 300u * (uint64_t)step && p.size < 300u * (uint64_t)step + 4096);
    const uint8_t *seen = mmap(NULL, p.size, PROT_READ, MAP_SHARED, p.fd, 0);
    assert_true(seen != MAP_FAILED);
    assert_int_equal(rte_pktmbuf_alloc_bulk(p.pool, m, 300), 0);
    for (uint32_t i = 0; i < 300; i++) {
        memset(rte_pktmbuf_append(m[i], 1500), (int)i, 1500);
        assert_true(rxpool_offset(&p, rte_pktmbuf_mtod(m[i], void *), 1500, &offset));
        assert_true(i == 0 || (offset - last) % step == 0);
        assert_int_equal(seen[offset + 1499], (uint8_t)i);
        last = offset;
    }
    assert_false(rxpool_offset(&p, p.base - 1, 1, &offset));
    assert_false(rxpool_offset(&p, p.base + p.size, 1, &offset));
    assert_false(rxpool_offset(&p, p.base + p.size - 1, 2, &offset));
    assert_true(rxpool_offset(&p, p.base + p.size - 1, 1, &offset));
    rte_pktmbuf_free_bulk(m, 300);
    munmap((void *)(uintptr_t)seen, p.size);
    rxpool_destroy(&p);
    rxpool_destroy(&p);
}

/* What a program that got the descriptor may not do with it. */
static void test_segment_is_sealed(void **state)
{
    struct rxpool p;
    (void)state;
    assert_int_equal(rxpool_create(&p, "sealed", 100, RTE_MBUF_DEFAULT_BUF_SIZE), 0);
    assert_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, p.fd, 0) == MAP_FAILED);
    void *at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, p.fd, 0);
    assert_true(at != MAP_FAILED);
    assert_int_equal(mprotect(at, 4096, PROT_READ | PROT_WRITE), -1);
    assert_int_equal(pwrite(p.fd, "x", 1, 0), -1);
    assert_int_equal(ftruncate(p.fd, 4096), -1);
    assert_int_equal(ftruncate(p.fd, (off_t)p.size * 2), -1);
    assert_int_equal(fallocate(p.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
    munmap(at, 4096);
    rxpool_destroy(&p);
}

static void test_segment_too_large(void **state)
{
    struct rxpool p;
    (void)state;
    assert_int_equal(rxpool_create(&p, "large", 2000000, RTE_MBUF_DEFAULT_BUF_SIZE), -EFBIG);
    assert_null(p.pool);
    rxpool_destroy(&p);
}

/* ---- Checksums ---- */

static struct rte_mbuf *chain_of(uint64_t *seed, uint8_t *flat, uint32_t len)
{
    struct rte_mbuf *head = NULL;
    for (uint32_t at = 0; at < len || head == NULL;) {
        uint32_t n = (uint32_t)(rnd(seed) % 700 + 1);
        n = RTE_MIN(n, len - at);
        struct rte_mbuf *m = rte_pktmbuf_alloc(bed.pool);
        rte_pktmbuf_adj(m, 0);
        m->data_off = (uint16_t)(m->data_off + rnd(seed) % 8);
        uint8_t *to = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)n);
        for (uint32_t i = 0; i < n; i++)
            flat[at + i] = to[i] = rnd(seed) % 4 ? (uint8_t)rnd(seed) : 0xff;
        at += n;
        if (head == NULL)
            head = m;
        else
            assert_int_equal(rte_pktmbuf_chain(head, m), 0);
    }
    return head;
}

static void test_checksum_of_chains(void **state)
{
    static uint8_t flat[9000];
    uint64_t seed = 17;
    (void)state;
    for (int round = 0; round < 3000; round++) {
        uint32_t len = (uint32_t)(rnd(&seed) % (round % 10 ? 2000 : sizeof flat)), part = len;
        struct rte_mbuf *m = chain_of(&seed, flat, len);
        if (round % 3 == 0 && len > 0)
            part = (uint32_t)(rnd(&seed) % len);
        assert_int_equal(net_cksum(m, part), rte_raw_cksum(flat, part));
        rte_pktmbuf_free(m);
    }
    bed_check_empty(&bed);
}

/* ---- Waiting packets ---- */

static int on_accept(void *arg, struct tcp_conn *c, const struct tcp_flow *flow)
{
    struct sock *s = arg;
    (void)flow;
    sock_open(&bed, s);
    s->conn = c;
    tcp_attach(c, s->own, &sock_ops, s);
    return 0;
}

/* What waits for a neighbour's address may wait for seconds: by then the application has overwritten the ring. */
static void test_waiting_for_arp_is_a_copy(void **state)
{
    static const struct tcp_listener_ops ops = {.accept = on_accept};
    static struct wire w;
    struct sock a = {0}, b = {0};
    struct tcp_listener *l;
    (void)state;
    bed.lend = true;
    wire_open(&w, &bed, 1, 1500, 0);
    assert_int_equal(tcp_listen(w.end[1].st, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), 0}}, RTE_BE16(80), 4, &ops, &b, &l), 0);
    sock_open(&bed, &a);
    struct tcp_flow flow = {.remote_ip = HOST(1), .remote_port = RTE_BE16(80)};
    assert_int_equal(tcp_connect(w.end[0].st, flow, a.own, &sock_ops, &a, w.now, &a.conn), 0);
    uint64_t end = w.now + 1000 * SEC;
    while (wire_step(&w, end)) /* by then both have forgotten each other */
        ;
    assert_int_equal(neigh_state(w.end[0].st, w.end[0].port, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), HOST_IP(1)}}), -1);
    assert_int_equal(sock_write(&a, 5000, w.now), 5000);
    assert_int_equal(neigh_state(w.end[0].st, w.end[0].port, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), HOST_IP(1)}}), NEIGH_INCOMPLETE);
    assert_int_equal(rte_mempool_in_use_count(bed.indirect), 0);
    assert_int_equal(sock_write(&a, 5000, w.now), 5000);
    end = w.now + 20 * SEC;
    while (wire_step(&w, end))
        ;
    assert_int_equal(sock_read(&b, 20000, w.now), 10000);
    assert_int_equal(w.end[0].st->counters[NET_TCP_TX_REFERRED] >= 9000, 1);
    sock_close(&a, false, w.now);
    sock_close(&b, false, w.now);
    end = w.now + 200 * SEC;
    while (wire_step(&w, end))
        ;
    wire_close(&w);
    bed_check_empty(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segment_is_one_chunk),   cmocka_unit_test(test_segment_is_sealed),
        cmocka_unit_test(test_segment_too_large),      cmocka_unit_test(test_checksum_of_chains),
        cmocka_unit_test(test_waiting_for_arp_is_a_copy),
    };
    bed_start(&bed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
