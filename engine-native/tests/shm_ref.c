/* SPDX-License-Identifier: BSD-3-Clause
 * Reference rings: lent and copied bytes of one stream in order, whatever the pieces; buffers that come back when they were
 * read and not before; limits; two threads; references that another party scribbled over. */
#define _GNU_SOURCE
#include "shm_fixture.h"

#include <pthread.h>
#include <sched.h>

#define SLOT 2048u
#define SLOTS 512u
#define SEGMENT ((uint64_t)SLOT * SLOTS)
#define POISON 0xee

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The producer's end of a direction: a segment between two pages that nobody may touch, buffers in it used in turn. */
struct lender {
    struct zs_view *v;
    struct zs_session *rx;
    struct zs_tx tx;
    uint8_t *segment;
    uint32_t lent, back; /* slots given out, come back */
    uint64_t pos, cap;
};

static void lender_open(struct fixture *f, struct lender *l, struct zs_session *rx, uint64_t cap)
{
    uint8_t *p = mmap(NULL, SEGMENT + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED && mprotect(p + 4096, SEGMENT, PROT_READ | PROT_WRITE) == 0);
    *l = (struct lender){.v = &f->a, .rx = rx, .segment = p + 4096, .cap = cap};
    memset(l->segment, POISON, SEGMENT);
    f->b.rx_seg = l->segment;
    f->b.rx_size = SEGMENT;
}

static void lender_close(struct fixture *f, struct lender *l)
{
    munmap(l->segment - 4096, SEGMENT + 8192);
    f->b.rx_seg = NULL;
}

/* Takes back what was read; nobody may need it any more. */
static void take_back(struct lender *l)
{
    uint32_t n = zs_tx_returned(l->rx) - (zs_tx_lent(l->rx) - (l->lent - l->back));
    assert_true(n <= l->lent - l->back);
    for (; n > 0; n--, l->back++)
        memset(l->segment + l->back % SLOTS * SLOT, POISON, SLOT);
}

static int lend(struct lender *l, uint32_t n, uint32_t skip)
{
    if (l->lent - l->back == SLOTS)
        return -EAGAIN;
    uint32_t offset = l->lent % SLOTS * SLOT + skip;
    fill(l->segment + offset, l->pos, n);
    int r = zs_tx_lend(l->v, l->rx, &l->tx, ZS_SEGMENT_RX, offset, n, l->cap);
    if (r < 0)
        return r;
    l->lent++;
    l->pos += n;
    return 0;
}

static uint64_t write_copy(struct lender *l, uint8_t *buf, size_t n)
{
    struct iovec iov[2] = {{buf, n / 2}, {buf + n / 2, n - n / 2}};
    fill(buf, l->pos, n);
    int64_t put = zs_tx_write(l->v, l->rx, &l->tx, iov, 0, n, l->cap);
    assert_true(put >= 0);
    l->pos += (uint64_t)put;
    return (uint64_t)put;
}

static void mixed(struct fixture *f, uint64_t seed, uint64_t cap, bool promised)
{
    uint32_t other, mine = fixture_pair(f, &other);
    struct zs_session *rx = zs_session_at(&f->b, other);
    struct lender l;
    uint64_t out = 0, lends = 0;
    static uint8_t buf[300000];
    lender_open(f, &l, rx, cap);
    l.tx.promised = promised;
    for (int round = 0; round < 30000; round++) {
        uint64_t what = rnd(&seed) % 8;
        if (what < 3) {
            lends += lend(&l, (uint32_t)(rnd(&seed) % 1500 + 1), (uint32_t)(rnd(&seed) % 500)) == 0;
        } else if (what < 4) {
            write_copy(&l, buf, rnd(&seed) % 3000 + 1);
        } else {
            uint64_t offset = what < 6 ? 0 : rnd(&seed) % 4000, n = rnd(&seed) % (round % 50 == 0 ? sizeof buf : 4000) + 1;
            struct iovec iov[2] = {{buf, n / 3}, {buf + n / 3, n - n / 3}};
            int64_t got = zs_rx_peek(&f->b, rx, offset, iov, 0, n);
            uint64_t left = l.pos - out > offset ? l.pos - out - offset : 0;
            assert_int_equal(got, left < n ? left : n);
            check(buf, out + offset, (size_t)got);
            if (offset == 0 && what == 4) {
                zs_rx_consume(&f->b, rx, (uint64_t)got);
                out += (uint64_t)got;
            }
        }
        assert_int_equal(zs_rx_avail(rx), l.pos - out);
        if (rnd(&seed) % 4 == 0)
            take_back(&l);
        if (l.pos == out && rnd(&seed) % 3 == 0)
            zs_tx_detach_idle(&f->a, rx);
        if (round % 100 == 0)
            l.cap = cap >> rnd(&seed) % 6; /* a window that changes */
    }
    assert_true(lends > 3000);
    zs_rx_consume(&f->b, rx, l.pos - out);
    take_back(&l);
    assert_int_equal(l.lent, l.back);
    zs_session_close(&f->a, mine, true);
    zs_session_close(&f->b, other, true);
    assert_int_equal(atomic_load(&f->arena->header.mem_used), 0);
    lender_close(f, &l);
}

static void test_mixed(void **state)
{
    mixed(*state, 3, 131072, true);
    mixed(*state, 5, ZS_RING_MAX, true);
    mixed(*state, 7, 10000, false);
    mixed(*state, 9, 300000, false);
}

static void test_part_of_a_reference(void **state)
{
    struct fixture *f = *state;
    uint32_t other;
    struct lender l;
    uint8_t buf[2000];
    fixture_pair(f, &other);
    struct zs_session *rx = zs_session_at(&f->b, other);
    lender_open(f, &l, rx, 65536);
    assert_int_equal(lend(&l, 1000, 0), 0);
    assert_int_equal(lend(&l, 1000, 0), 0);
    struct iovec iov = {buf, sizeof buf};
    assert_int_equal(zs_rx_peek(&f->b, rx, 990, &iov, 0, 20), 20);
    check(buf, 990, 20);
    assert_int_equal(zs_rx_peek(&f->b, rx, 0, NULL, 0, 2000), 2000);
    zs_rx_consume(&f->b, rx, 999);
    take_back(&l);
    assert_int_equal(l.back, 0);
    zs_rx_consume(&f->b, rx, 1);
    take_back(&l);
    assert_int_equal(l.back, 1);
    zs_rx_consume(&f->b, rx, 1000);
    take_back(&l);
    assert_int_equal(l.back, 2);
    lender_close(f, &l);
}

static void test_limits(void **state)
{
    struct fixture *f = *state;
    uint32_t other, mine = fixture_pair(f, &other);
    struct zs_session *rx = zs_session_at(&f->b, other);
    struct lender l;
    struct zs_arena_header *h = &f->arena->header;
    lender_open(f, &l, rx, 65536);
    l.tx.promised = true;
    /* A ring for 64 KiB: 128 references. */
    for (int i = 0; i < 128; i++)
        assert_int_equal(lend(&l, 100, 0), 0);
    assert_int_equal(lend(&l, 100, 0), -ENOBUFS);
    static uint8_t buf[65536];
    write_copy(&l, buf, 65536 - 12800);
    assert_int_equal(zs_rx_avail(rx) >= 65536, true);
    zs_rx_consume(&f->b, rx, zs_rx_avail(rx));
    take_back(&l);
    /* Empty: one that fits a larger window comes in its place. */
    l.cap = 1 << 20;
    uint64_t before = atomic_load(&h->mem_used);
    assert_int_equal(lend(&l, 100, 0), 0);
    assert_int_equal(atomic_load(&h->mem_used), before - 4096 + 65536);
    zs_rx_consume(&f->b, rx, 100);
    take_back(&l);
    zs_tx_detach_idle(&f->a, rx);
    assert_int_equal(atomic_load(&h->mem_used), 0);
    /* Room for the bytes, but no memory for the references: the bytes can still be copied. */
    f->a.mem_limit = 4096;
    assert_int_equal(lend(&l, 100, 0), -ENOBUFS);
    assert_int_equal(write_copy(&l, buf, 100), 100);
    /* No room for the bytes. */
    assert_int_equal(write_copy(&l, buf, 5000), 4096 - 100);
    assert_int_equal(lend(&l, 100, 0), -EAGAIN);
    zs_session_close(&f->a, mine, true);
    zs_session_close(&f->b, other, true);
    assert_int_equal(atomic_load(&h->mem_used), 0);
    lender_close(f, &l);
}

/* The whole of a promised window fits, though its reader never reads. */
static void test_promise(void **state)
{
    struct fixture *f = *state;
    uint32_t other;
    struct lender l;
    static uint8_t buf[100000];
    fixture_pair(f, &other);
    struct zs_session *rx = zs_session_at(&f->b, other);
    lender_open(f, &l, rx, 3u << 20); /* not the size of any ring */
    l.tx.promised = true;
    uint64_t promised = 3u << 20;
    while (l.pos < promised)
        assert_true(write_copy(&l, buf, min_u64(promised - l.pos, 1448)) > 0);
    lender_close(f, &l);
}

/* ---- Two threads ---- */

struct transfer {
    struct lender l;
    uint64_t total;
};

static void *writer(void *arg)
{
    struct transfer *t = arg;
    uint64_t seed = 3;
    static uint8_t buf[5000];
    while (t->l.pos < t->total) {
        uint64_t left = t->total - t->l.pos, n = rnd(&seed) % 1500 + 1, before = t->l.pos;
        n = n > left ? left : n;
        take_back(&t->l);
        if (rnd(&seed) % 4 == 0)
            write_copy(&t->l, buf, n);
        else if (lend(&t->l, (uint32_t)n, 0) == -ENOBUFS)
            write_copy(&t->l, buf, n);
        if (t->l.pos == before)
            sched_yield();
    }
    return NULL;
}

static void test_two_threads(void **state)
{
    struct fixture *f = *state;
    uint32_t other;
    struct transfer t = {.total = 24u << 20};
    pthread_t thread;
    static uint8_t buf[50000];
    uint64_t seed = 5;
    fixture_pair(f, &other);
    struct zs_session *rx = zs_session_at(&f->b, other);
    lender_open(f, &t.l, rx, 262144);
    assert_int_equal(pthread_create(&thread, NULL, writer, &t), 0);
    for (uint64_t pos = 0; pos < t.total;) {
        struct iovec iov = {buf, rnd(&seed) % sizeof buf + 1};
        int64_t got = zs_rx_peek(&f->b, rx, 0, &iov, 0, iov.iov_len);
        assert_true(got >= 0);
        check(buf, pos, (size_t)got);
        zs_rx_consume(&f->b, rx, (uint64_t)got);
        pos += (uint64_t)got;
        if (got == 0)
            sched_yield();
    }
    pthread_join(thread, NULL);
    take_back(&t.l);
    assert_int_equal(t.l.lent, t.l.back);
    lender_close(f, &t.l);
}

/* ---- Where it lies ---- */

static void test_spans(void **state)
{
    struct fixture *f = *state;
    uint32_t other;
    struct lender l;
    struct iovec piece[4];
    uint64_t seed = 13, out = 0;
    static uint8_t buf[5000];
    int pieces[5] = {0};
    fixture_pair(f, &other);
    struct zs_session *rx = zs_session_at(&f->b, other);
    lender_open(f, &l, rx, 65536);
    for (int round = 0; round < 5000; round++) {
        write_copy(&l, buf, rnd(&seed) % 3000 + 1);
        uint64_t have = l.pos - out, offset = rnd(&seed) % have, n = min_u64(have - offset, rnd(&seed) % 1460 + 1);
        int k = zs_rx_spans(&f->b, rx, offset, n, piece, 4);
        assert_in_range(k, 1, 4);
        pieces[k]++;
        uint64_t at = out + offset;
        for (int i = 0; i < k; i++) {
            check(piece[i].iov_base, at, piece[i].iov_len);
            at += piece[i].iov_len;
        }
        assert_int_equal(at, out + offset + n);
        assert_int_equal(zs_rx_spans(&f->b, rx, offset, have - offset + 1, piece, 4), -EPROTO);
        if (k > 1)
            assert_int_equal(zs_rx_spans(&f->b, rx, offset, n, piece, k - 1), 0);
        n = rnd(&seed) % 3000;
        n = n > have ? have : n;
        zs_rx_consume(&f->b, rx, n);
        out += n;
        if (l.pos - out > 50000) {
            zs_rx_consume(&f->b, rx, l.pos - out);
            out = l.pos;
        }
    }
    assert_true(pieces[2] > 10);
    /* Lent ranges are pieces like others. */
    zs_rx_consume(&f->b, rx, l.pos - out);
    out = l.pos;
    assert_int_equal(lend(&l, 1000, 5), 0);
    write_copy(&l, buf, 100);
    assert_int_equal(lend(&l, 700, 0), 0);
    int k = zs_rx_spans(&f->b, rx, 300, 1200, piece, 4);
    assert_in_range(k, 3, 4); /* a ring may wrap */
    assert_ptr_equal(piece[0].iov_base, l.segment + 5 + 300 + ((l.lent - 2) % SLOTS) * SLOT);
    for (int i = 0; i < k; out += piece[i++].iov_len)
        check(piece[i].iov_base, out + 300, piece[i].iov_len);
    lender_close(f, &l);
}

/* ---- Scribbles ---- */

static void test_without_a_segment(void **state)
{
    struct fixture *f = *state;
    uint32_t other;
    struct lender l;
    uint8_t buf[100];
    struct iovec iov = {buf, sizeof buf};
    fixture_pair(f, &other);
    struct zs_session *rx = zs_session_at(&f->b, other);
    lender_open(f, &l, rx, 65536);
    assert_int_equal(lend(&l, 100, 0), 0);
    assert_int_equal(zs_rx_peek(&f->a, rx, 0, &iov, 0, 100), -EPROTO);
    f->b.rx_size = 99;
    assert_int_equal(zs_rx_peek(&f->b, rx, 0, &iov, 0, 100), -EPROTO);
    lender_close(f, &l);
}

static void test_each_lie(void **state)
{
    struct fixture *f = *state;
    const struct zs_ref lies[] = {
        {.segment = 0, .offset = 0, .len = 100},
        {.segment = 3, .offset = 0, .len = 100},
        {.segment = ZS_SEGMENT_BUFFERS(0, 1), .offset = 0, .len = 100},
        {.segment = ZS_SEGMENT_BUFFERS(ZS_MAX_SEGMENTS - 1, ZS_SEGMENT_GEN_MAX), .offset = 0, .len = 100, .loan = 1},
        {.segment = ZS_SEGMENT(ZS_SEGMENT_RX, UINT64_C(1) << 32), .offset = 0, .len = 100},
        {.segment = ZS_SEGMENT_RX, .offset = 0, .len = 100, .loan = 1}, /* nobody's */
        {.segment = ZS_SEGMENT_RX, .offset = 0, .len = 100, .loan = ZS_MAX_LOANS + 1},
        {.segment = ZS_SEGMENT_RX, .offset = 0, .len = 100, .loan = UINT32_MAX},
        {.segment = ZS_SEGMENT_RX, .offset = (uint32_t)SEGMENT + 1, .len = 100},
        {.segment = ZS_SEGMENT_RX, .offset = UINT32_MAX, .len = 1},
        {.segment = ZS_SEGMENT_RX, .offset = (uint32_t)SEGMENT - 99, .len = 100},
        {.segment = ZS_SEGMENT_RX, .offset = 1, .len = UINT32_MAX},
        {.segment = ZS_SEGMENT_RX, .offset = 0, .len = 0},
        {.segment = ZS_SEGMENT_RX, .offset = 0, .len = 100, .gen = 1},
    };
    uint32_t other;
    struct lender l;
    uint8_t buf[100];
    struct iovec iov = {buf, sizeof buf};
    fixture_pair(f, &other);
    struct zs_session *rx = zs_session_at(&f->b, other);
    lender_open(f, &l, rx, 65536);
    assert_int_equal(lend(&l, 100, 0), 0);
    struct zs_ref *e = (struct zs_ref *)zs_block_ptr(f->arena, atomic_load(&rx->rx_prod.ref_ring)), good = *e;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        *e = lies[i];
        assert_int_equal(zs_rx_peek(&f->b, rx, 0, &iov, 0, 100), -EPROTO);
    }
    *e = good;
    assert_int_equal(zs_rx_peek(&f->b, rx, 0, &iov, 0, 100), 100);
    atomic_fetch_add(&rx->rx_cons.ref_head, 2);
    assert_int_equal(lend(&l, 100, 0), -EPROTO);
    assert_int_equal(zs_rx_peek(&f->b, rx, 0, &iov, 0, 100), -EPROTO);
    lender_close(f, &l);
}

/* Whatever the references say, the calls return and touch nothing outside of arena and segment. */
static void test_scribbled(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = 11;
    static uint8_t buf[9000];
    int faults = 0;
    for (int round = 0; round < 20000; round++) {
        uint32_t other, mine = fixture_pair(f, &other);
        struct zs_session *rx = zs_session_at(&f->b, other);
        struct lender l;
        static struct lender kept;
        if (round == 0)
            lender_open(f, &kept, rx, 65536);
        l = kept;
        l.rx = rx;
        for (int i = 0; i < 5; i++)
            if (rnd(&seed) % 3)
                lend(&l, (uint32_t)(rnd(&seed) % 1500 + 1), 0);
            else
                write_copy(&l, buf, rnd(&seed) % 1500 + 1);
        uint8_t *block = zs_block_ptr(f->arena, atomic_load(&rx->rx_prod.ref_ring));
        for (int i = 0; i < 3; i++) {
            uint8_t wrong = rnd(&seed) % 2 ? (uint8_t)rnd(&seed) : 0xff;
            if (block != NULL && rnd(&seed) % 4)
                block[rnd(&seed) % (5 * sizeof(struct zs_ref))] = wrong;
            else if (rnd(&seed) % 2)
                ((uint8_t *)&rx->rx_prod.ref_ring)[rnd(&seed) % 8] = wrong;
            else
                ((uint8_t *)&rx->rx_cons.ref_head)[rnd(&seed) % 4] = wrong;
        }
        struct iovec iov = {buf, sizeof buf};
        int64_t got = zs_rx_peek(&f->b, rx, rnd(&seed) % 3 ? 0 : rnd(&seed) % 3000, &iov, 0, sizeof buf);
        assert_true(got == -EPROTO || (got >= 0 && got <= (int64_t)zs_rx_avail(rx)));
        faults += got < 0;
        if (got > 0)
            zs_rx_consume(&f->b, rx, (uint64_t)got);
        int again = lend(&l, 100, 0);
        assert_true(again == 0 || again == -EPROTO || again == -ENOBUFS || again == -EAGAIN);
        zs_session_fault(&f->b, other);
        zs_session_close(&f->a, mine, true);
        zs_session_close(&f->b, other, true);
        assert_int_equal(sessions_in_use(f), 0);
        assert_int_equal(atomic_load(&f->arena->header.mem_used), 0);
    }
    assert_true(faults > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_mixed, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_part_of_a_reference, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_limits, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_promise, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_two_threads, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_spans, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_without_a_segment, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_each_lie, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_scribbled, fixture_up, fixture_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
