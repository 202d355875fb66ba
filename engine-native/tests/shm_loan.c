/* SPDX-License-Identifier: BSD-3-Clause
 * Loans: buffers of a program read in place, taken over, lent on, and back when nobody holds them any more, whatever the
 * order, also across the end of a connection and with many threads at once. */
#define _GNU_SOURCE
#include "shm_fixture.h"

#include <pthread.h>
#include <string.h>

#include "ref.h"

#define SIZE 16384u
#define AT 8192u /* of the buffer in its segment */
#define CAP (UINT64_C(1) << 20)

/* A buffer of a's and one direction to b. */
struct bed {
    struct fixture *f;
    struct zs_session *rx;
    uint32_t end_a, end_b;
    struct zs_tx tx;
    uint32_t segment;
    uint8_t *data;       /* as a has it */
    const uint8_t *seen; /* as b has it */
};

static void bed_open(struct bed *b, struct fixture *f)
{
    *b = (struct bed){.f = f};
    b->end_a = fixture_pair(f, &b->end_b);
    b->rx = zs_session_at(&f->b, b->end_b);
    b->segment = ZS_SEGMENT_BUFFERS(17, 3);
    close(fixture_segment(f, b->segment, ZS_BUFFERS_MIN, true));
    b->data = f->of_a[17].base + AT;
    b->seen = f->of_b[17].base + AT;
    for (uint32_t i = 0; i < SIZE; i++)
        b->data[i] = (uint8_t)(i * 7);
}

static struct zs_ref ref_to(const struct bed *b, uint32_t offset, uint32_t len, uint32_t loan)
{
    return (struct zs_ref){.segment = b->segment, .offset = AT + offset, .len = len, .loan = loan + 1,
                           .loan_gen = atomic_load(&b->f->arena->loan[loan].gen)};
}

static uint32_t lend(struct bed *b, uint32_t offset, uint32_t len, uint32_t *gen)
{
    int64_t loan = zs_loan_new(&b->f->a, b->segment);
    assert_true(loan >= 0);
    struct zs_ref ref = ref_to(b, offset, len, (uint32_t)loan);
    assert_int_equal(zs_tx_lend_hold(&b->f->a, b->rx, &b->tx, &ref, len, CAP), len);
    *gen = ref.loan_gen;
    return (uint32_t)loan;
}

static uint32_t loans_in_use(const struct fixture *f)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < ZS_MAX_LOANS; i++)
        n += atomic_load(&f->arena->loan[i].owner) != 0;
    return n;
}

static void test_read(void **state)
{
    struct bed b;
    uint32_t gen;
    static uint8_t buf[SIZE];
    struct iovec iov = {buf, sizeof buf};
    bed_open(&b, *state);
    uint32_t loan = lend(&b, 100, 5000, &gen);
    assert_false(zs_loan_over(&b.f->a, loan, gen));
    assert_int_equal(zs_rx_peek(&b.f->b, b.rx, 0, &iov, 0, 4999), 4999);
    assert_memory_equal(buf, b.data + 100, 4999);
    zs_rx_consume(&b.f->b, b.rx, 4999);
    assert_false(zs_loan_over(&b.f->a, loan, gen));
    zs_rx_consume(&b.f->b, b.rx, 1);
    assert_true(zs_loan_over(&b.f->a, loan, gen));
    zs_loan_free(&b.f->a, loan);
    assert_int_equal(loans_in_use(b.f), 0);
}

/* What the map callback is asked and answers. It finds it through this; one test runs at a time. */
static struct {
    int fd, asked, result;
    uint32_t session;
    struct zs_ref ref;
} mapping;

static int map_later(struct zs_view *v, const struct zs_ref *ref, uint32_t session)
{
    mapping.asked++;
    mapping.session = session;
    mapping.ref = *ref;
    if (mapping.result != 0)
        return mapping.result;
    return zs_mapped_put(&v->mapped[ZS_SEGMENT_INDEX(ref->segment)], ref->segment, mapping.fd, ZS_BUFFERS_MIN, false);
}

/* A segment that the reader has not met: it asks once, and the stream is whole whatever the answer. */
static void test_not_mapped(void **state)
{
    struct bed b;
    uint32_t gen;
    uint8_t buf[6000], before[500];
    struct iovec iov = {buf, sizeof buf}, text = {before, sizeof before};
    struct zs_taken t;
    bed_open(&b, *state);
    b.segment = ZS_SEGMENT_BUFFERS(4095, ZS_SEGMENT_GEN_MAX);
    mapping.fd = fixture_segment(b.f, b.segment, ZS_BUFFERS_MIN, false);
    mapping.asked = 0;
    b.f->b.map = map_later;
    memset(before, 7, sizeof before);
    memset(b.f->of_a[4095].base + AT, 9, 5000);
    assert_int_equal(zs_tx_write(&b.f->a, b.rx, &b.tx, &text, 0, sizeof before, CAP), sizeof before);
    uint32_t loan = lend(&b, 0, 5000, &gen);
    mapping.result = -ENOBUFS;
    assert_int_equal(zs_rx_peek(&b.f->b, b.rx, 0, &iov, 0, sizeof buf), sizeof before); /* what can be read */
    zs_rx_consume(&b.f->b, b.rx, sizeof before);
    assert_int_equal(zs_rx_peek(&b.f->b, b.rx, 0, &iov, 0, sizeof buf), -ENOBUFS);
    assert_int_equal(zs_rx_take(&b.f->b, b.rx, &t), -ENOBUFS);
    mapping.result = -EPROTO;
    assert_int_equal(zs_rx_peek(&b.f->b, b.rx, 0, &iov, 0, sizeof buf), -EPROTO);
    assert_int_equal(mapping.asked, 5);
    assert_true(mapping.session == b.end_b && mapping.ref.loan == loan + 1 && mapping.ref.loan_gen == gen);
    mapping.result = 0;
    assert_int_equal(zs_rx_peek(&b.f->b, b.rx, 0, &iov, 0, sizeof buf), 5000);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(buf[i], 9);
    assert_int_equal(zs_rx_take(&b.f->b, b.rx, &t), 0);
    assert_true(t.len == 5000 && t.data == b.f->of_b[4095].base + AT);
    assert_int_equal(mapping.asked, 6);
    /* What ended is empty memory for who still looks, and no fault. */
    zs_mapped_drop(&b.f->of_b[4095]);
    assert_int_equal(t.data[0], 0);
    assert_true(zs_loan_end(&b.f->b, t.loan, t.gen, ZS_HOLD_CLIENT(b.f->b.client)));
    zs_loan_free(&b.f->a, loan);
    close(mapping.fd);
}

/* References that name what the hold is not on, what was before, or what is outside: inconsistent, and nobody is asked. */
static void test_lies(void **state)
{
    struct bed b;
    uint32_t gen;
    uint8_t buf[100];
    struct iovec iov = {buf, sizeof buf};
    bed_open(&b, *state);
    b.f->b.map = map_later;
    mapping.asked = 0;
    close(fixture_segment(b.f, ZS_SEGMENT_BUFFERS(18, 1), ZS_BUFFERS_MIN, true));
    uint32_t loan = lend(&b, 0, 100, &gen);
    struct zs_ref *e = (struct zs_ref *)zs_block_ptr(b.f->arena, atomic_load(&b.rx->rx_prod.ref_ring)), good = *e;
    const struct zs_ref lies[] = {
        {.segment = ZS_SEGMENT_BUFFERS(17, 4), .offset = AT, .len = 100, .loan = good.loan, .loan_gen = gen},
        {.segment = ZS_SEGMENT_BUFFERS(18, 1), .offset = AT, .len = 100, .loan = good.loan, .loan_gen = gen},
        {.segment = ZS_SEGMENT_RX, .offset = 0, .len = 100, .loan = good.loan, .loan_gen = gen},
        {.segment = good.segment, .offset = AT, .len = 100},
        {.segment = good.segment, .offset = AT, .len = 100, .loan = good.loan, .loan_gen = gen + 1},
        {.segment = good.segment, .offset = AT, .len = 100, .loan = good.loan + 1, .loan_gen = gen},
    };
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        *e = lies[i];
        assert_int_equal(zs_rx_peek(&b.f->b, b.rx, 0, &iov, 0, 100), -EPROTO);
    }
    assert_int_equal(mapping.asked, 0);
    const uint32_t outside[][2] = {{(uint32_t)ZS_BUFFERS_MIN - 99, 100}, {UINT32_MAX, 100}, {(uint32_t)ZS_BUFFERS_MIN, 1}, {0, UINT32_MAX}};
    b.f->b.map = NULL;
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        *e = good;
        e->offset = outside[i][0];
        e->len = outside[i][1];
        assert_int_equal(zs_rx_peek(&b.f->b, b.rx, 0, &iov, 0, 100), -EPROTO);
    }
    *e = good;
    assert_int_equal(zs_rx_peek(&b.f->b, b.rx, 0, &iov, 0, 100), 100);
    zs_rx_consume(&b.f->b, b.rx, 100);
    zs_loan_free(&b.f->a, loan);
}

/* Taken over in part, kept while later ones come back. */
static void test_take(void **state)
{
    struct bed b;
    uint32_t gen[3], loan[3];
    struct zs_taken t[3];
    bed_open(&b, *state);
    for (uint32_t i = 0; i < 3; i++)
        loan[i] = lend(&b, i * 4096, 3000, &gen[i]);
    zs_rx_consume(&b.f->b, b.rx, 1000);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(zs_rx_take(&b.f->b, b.rx, &t[i]), 0);
        assert_true(t[i].segment == b.segment && t[i].offset == AT + i * 4096 + (i == 0 ? 1000 : 0));
        assert_ptr_equal(t[i].data, b.seen + i * 4096 + (i == 0 ? 1000 : 0));
        assert_int_equal(t[i].len, i == 0 ? 2000 : 3000);
        assert_int_equal(t[i].loan, loan[i]);
    }
    assert_int_equal(zs_rx_avail(b.rx), 0);
    struct zs_taken none;
    assert_int_equal(zs_rx_take(&b.f->b, b.rx, &none), 0);
    assert_true(none.len == 0 && none.data == NULL);
    uint64_t me = ZS_HOLD_CLIENT(b.f->b.client);
    assert_true(zs_loan_end(&b.f->b, t[2].loan, t[2].gen, me));
    assert_false(zs_loan_end(&b.f->b, t[2].loan, t[2].gen, me)); /* once */
    assert_true(zs_loan_over(&b.f->a, loan[2], gen[2]));
    assert_false(zs_loan_over(&b.f->a, loan[0], gen[0]));
    /* The connection's end changes nothing for what was taken. */
    zs_session_close(&b.f->b, b.end_b, false);
    zs_session_close(&b.f->a, b.end_a, false);
    assert_int_equal(sessions_in_use(b.f), 0);
    assert_false(zs_loan_over(&b.f->a, loan[0], gen[0]));
    assert_true(zs_loan_end(&b.f->b, t[0].loan, t[0].gen, me));
    assert_true(zs_loan_end(&b.f->b, t[1].loan, t[1].gen, me));
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(zs_loan_over(&b.f->a, loan[i], gen[i]));
        zs_loan_free(&b.f->a, loan[i]);
    }
    assert_int_equal(loans_in_use(b.f), 0);
}

/* A proxy: b lends on to a, twice, and releases its own before the others. The owner is told at the last. */
static void test_lend_on(void **state)
{
    struct bed b;
    uint32_t gen;
    struct zs_taken t;
    bed_open(&b, *state);
    int64_t waiter = zs_waiter_alloc(&b.f->a, b.f->a.client);
    struct zs_waiter *w = &b.f->arena->waiter[waiter];
    atomic_store(&w->asleep, 1);
    int64_t root = zs_loan_new(&b.f->a, b.segment);
    struct zs_loan *l = &b.f->arena->loan[root];
    l->waiter = (uint32_t)waiter;
    l->waiter_gen = atomic_load(&w->gen);
    l->slot = 77;
    struct zs_ref ref = ref_to(&b, 0, 9000, (uint32_t)root);
    gen = ref.loan_gen;
    assert_int_equal(zs_tx_lend_hold(&b.f->a, b.rx, &b.tx, &ref, 1, CAP), 9000);
    assert_int_equal(zs_loan_again(&b.f->b, (uint32_t)root, gen), -ESTALE); /* not b's yet */
    assert_int_equal(zs_rx_take(&b.f->b, b.rx, &t), 0);
    uint32_t back = 0;
    struct zs_tx tx = {0};
    struct zs_session *rx = zs_session_at(&b.f->a, b.end_a);
    uint32_t hold[2], hold_gen[2];
    for (int i = 0; i < 2; i++) {
        int64_t again = zs_loan_again(&b.f->b, t.loan, t.gen);
        assert_true(again >= 0);
        struct zs_ref on = ref_to(&b, 0, 9000, (uint32_t)again);
        hold[i] = (uint32_t)again;
        hold_gen[i] = on.loan_gen;
        assert_int_equal(zs_tx_lend_hold(&b.f->b, rx, &tx, &on, 1, CAP), 9000);
    }
    assert_true(zs_loan_end(&b.f->b, t.loan, t.gen, ZS_HOLD_CLIENT(b.f->b.client)));
    zs_rx_consume(&b.f->a, rx, 9000);
    assert_false(zs_loan_over(&b.f->a, (uint32_t)root, gen));
    assert_int_equal(b.f->rings, 0);
    assert_int_equal(zs_rx_take(&b.f->a, rx, &t), 0);
    assert_true(t.loan == hold[1] && t.gen == hold_gen[1] && t.data == b.data);
    assert_true(zs_loan_end(&b.f->a, t.loan, t.gen, ZS_HOLD_CLIENT(b.f->a.client)));
    assert_true(zs_loan_over(&b.f->a, (uint32_t)root, gen));
    assert_int_equal(b.f->rings, 1);
    assert_int_equal(zs_waiter_harvest(w, &back, 1), 1);
    assert_int_equal(back, 77);
    zs_loan_free(&b.f->a, (uint32_t)root);
    assert_int_equal(loans_in_use(b.f), 0);
}

/* What a closed end will not read any more is back at once, also what is lent after that. */
static void test_unread(void **state)
{
    struct bed b;
    uint32_t gen[2], loan[2];
    bed_open(&b, *state);
    loan[0] = lend(&b, 0, 4000, &gen[0]);
    zs_session_close(&b.f->b, b.end_b, false);
    assert_true(zs_loan_over(&b.f->a, loan[0], gen[0]));
    loan[1] = lend(&b, 0, 4000, &gen[1]);
    assert_true(zs_loan_over(&b.f->a, loan[1], gen[1]));
    zs_session_close(&b.f->a, b.end_a, false);
    assert_int_equal(sessions_in_use(b.f), 0);
}

/* A reader died after it took a range and before it consumed it: the next reader must not read there. */
static void test_hold_gone(void **state)
{
    struct bed b;
    uint32_t gen;
    uint8_t buf[10];
    struct iovec iov = {buf, sizeof buf};
    bed_open(&b, *state);
    uint32_t loan = lend(&b, 0, 4000, &gen);
    assert_true(zs_loan_take(&b.f->b, loan, gen, ZS_HOLD_SESSION(b.end_b, atomic_load(&b.rx->gen))));
    assert_int_equal(zs_rx_peek(&b.f->b, b.rx, 0, &iov, 0, 10), -EPROTO);
    assert_true(zs_loan_end(&b.f->b, loan, gen, ZS_HOLD_CLIENT(b.f->b.client)));
    zs_loan_free(&b.f->a, loan);
    int64_t next = zs_loan_new(&b.f->a, b.segment);
    assert_int_equal(next, loan); /* the slot is another's now */
    assert_int_equal(zs_rx_peek(&b.f->b, b.rx, 0, &iov, 0, 10), -EPROTO);
}

/* No room for all: a part; none: the hold stays the caller's. */
static void test_room(void **state)
{
    struct bed b;
    bed_open(&b, *state);
    int64_t loan = zs_loan_new(&b.f->a, b.segment);
    struct zs_ref ref = ref_to(&b, 0, SIZE, (uint32_t)loan);
    assert_int_equal(zs_tx_lend_hold(&b.f->a, b.rx, &b.tx, &ref, 1000, 4096), 4096);
    assert_int_equal(ref.len, SIZE);
    int64_t second = zs_loan_new(&b.f->a, b.segment);
    ref = ref_to(&b, 0, SIZE, (uint32_t)second);
    assert_int_equal(zs_tx_lend_hold(&b.f->a, b.rx, &b.tx, &ref, 1000, 4096), -EAGAIN);
    assert_true(zs_loan_end(&b.f->a, (uint32_t)second, ref.loan_gen, 0));
    assert_true(zs_loan_over(&b.f->a, (uint32_t)second, ref.loan_gen));
}

#define THREADS 4
#define ROUNDS 20000

struct racer {
    struct zs_view v;
    uint32_t loan, gen;
    _Atomic uint32_t *wins;
    pthread_barrier_t *start;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(r->start);
        if (zs_loan_end(&r->v, r->loan, r->gen, ZS_HOLD_CLIENT(r->v.client)))
            atomic_fetch_add(r->wins, 1);
        pthread_barrier_wait(r->start);
    }
    return NULL;
}

/* Several threads release the same at once: one does. */
static void test_race(void **state)
{
    struct bed b;
    struct racer r[THREADS];
    pthread_t t[THREADS];
    pthread_barrier_t start;
    _Atomic uint32_t wins = 0;
    bed_open(&b, *state);
    pthread_barrier_init(&start, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++) {
        r[i] = (struct racer){.v = b.f->a, .wins = &wins, .start = &start};
        assert_int_equal(pthread_create(&t[i], NULL, race, &r[i]), 0);
    }
    for (uint32_t n = 0; n < ROUNDS; n++) {
        int64_t loan = zs_loan_new(&b.f->a, b.segment);
        struct zs_loan *l = &b.f->arena->loan[loan];
        atomic_store(&l->holder, ZS_HOLD_CLIENT(b.f->a.client));
        for (int i = 0; i < THREADS; i++) {
            r[i].loan = (uint32_t)loan;
            r[i].gen = atomic_load(&l->gen);
        }
        pthread_barrier_wait(&start);
        pthread_barrier_wait(&start);
        assert_int_equal(atomic_load(&wins), n + 1);
        assert_true(zs_loan_over(&b.f->a, (uint32_t)loan, r[0].gen));
        zs_loan_free(&b.f->a, (uint32_t)loan);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    pthread_barrier_destroy(&start);
}

/* A table without a free record says so. */
static void test_exhausted(void **state)
{
    struct bed b;
    bed_open(&b, *state);
    for (uint32_t i = 0; i < ZS_MAX_LOANS; i++)
        assert_true(zs_loan_new(&b.f->a, 0) >= 0);
    assert_int_equal(zs_loan_new(&b.f->a, 0), -ENOBUFS);
    zs_loan_free(&b.f->a, 12345);
    assert_int_equal(zs_loan_new(&b.f->a, 0), 12345);
}

/* Whatever stands in the records, the calls return and touch nothing outside of the table. */
static void test_scribbles(void **state)
{
    struct bed b;
    uint64_t seed = 99;
    bed_open(&b, *state);
    for (int round = 0; round < 20000; round++) {
        uint32_t i = (uint32_t)(rnd(&seed) % 8);
        struct zs_loan *l = &b.f->arena->loan[i];
        uint64_t *words = (uint64_t *)l;
        words[rnd(&seed) % 8] = rnd(&seed) % 4 == 0 ? rnd(&seed) : rnd(&seed) % 8;
        uint32_t gen = atomic_load(&l->gen);
        zs_loan_over(&b.f->a, i, gen);
        zs_loan_take(&b.f->a, i, gen, atomic_load(&l->holder));
        int64_t again = zs_loan_again(&b.f->a, i, gen);
        if (again >= 0)
            zs_loan_end(&b.f->a, (uint32_t)again, atomic_load(&b.f->arena->loan[again].gen), 0);
        zs_loan_end(&b.f->a, i, gen, atomic_load(&l->holder));
        zs_loan_end(&b.f->a, (uint32_t)rnd(&seed), gen, 0);
        zs_loan_free(&b.f->a, i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)
        T(test_read), T(test_not_mapped), T(test_lies), T(test_take), T(test_lend_on), T(test_unread), T(test_hold_gone),
        T(test_room), T(test_race), T(test_exhausted), T(test_scribbles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
