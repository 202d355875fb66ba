/* SPDX-License-Identifier: BSD-3-Clause
 * Small messages where they lie (place.c): every byte right among reads and writes of other kinds, nothing where something is special, and
 * readers that sleep while others do not. */
#define _GNU_SOURCE
#include "shm_fixture.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>

/* Both ends, and how far each is. */
struct ends {
    struct fixture *f;
    struct zs_session *rx;
    struct zs_tx tx;
    struct zs_tx_own own;
    uint64_t in, out;
    unsigned placed, remembered, taken;
};

static void ends_up(struct ends *e, struct fixture *f)
{
    uint32_t other;
    fixture_pair(f, &other);
    *e = (struct ends){.f = f, .rx = zs_session_at(&f->b, other)};
}

static bool put_small(struct ends *e, size_t n)
{
    uint8_t *place = zs_tx_place_own(&e->f->a, &e->tx, &e->own, n);
    e->remembered += place != NULL;
    if (place == NULL)
        place = zs_tx_place(&e->f->a, e->rx, &e->tx, &e->own, n);
    if (place == NULL)
        return false;
    fill(place, e->in, n);
    zs_tx_placed(e->rx, &e->own, n);
    e->in += n;
    e->placed++;
    return true;
}

static void put(struct ends *e, size_t n)
{
    uint8_t buf[8192];
    struct iovec iov = {buf, n};
    fill(buf, e->in, n);
    e->own.size = 0;
    int64_t r = zs_tx_write(&e->f->a, e->rx, &e->tx, &iov, 0, n, ZS_RING_MAX);
    assert_true(r >= 0);
    e->in += (uint64_t)r;
}

static bool get_small(struct ends *e, uint64_t want)
{
    const uint8_t *next = NULL, *place = zs_rx_place(&e->f->b, e->rx, &want, &next);
    if (place == NULL)
        return false;
    assert_true(want >= 1 && want <= e->in - e->out);
    check(place, e->out, want);
    zs_rx_placed(&e->f->b, e->rx, want);
    assert_ptr_equal(next, zs_rx_next(&e->f->b, e->rx));
    e->out += want;
    e->taken++;
    return true;
}

static void get(struct ends *e, size_t want)
{
    uint8_t buf[8192];
    struct iovec iov = {buf, want};
    int64_t got = zs_rx_peek(&e->f->b, e->rx, 0, &iov, 0, want);
    assert_int_equal(got, e->in - e->out < want ? e->in - e->out : want);
    check(buf, e->out, (size_t)got);
    zs_rx_consume(&e->f->b, e->rx, (uint64_t)got);
    e->out += (uint64_t)got;
}

static void test_among_others(void **state)
{
    struct ends e;
    ends_up(&e, *state);
    uint64_t seed = 3;
    for (int round = 0; round < 200000; round++) {
        size_t n = rnd(&seed) % (round % 31 == 0 ? 8000 : 200) + 1;
        switch (rnd(&seed) % 8) {
        case 0:
            put(&e, n);
            break;
        case 1:
            get(&e, n);
            break;
        case 2: case 3: case 4:
            if (!put_small(&e, n))
                put(&e, n);
            break;
        default:
            if (!get_small(&e, n))
                get(&e, n);
            break;
        }
        assert_int_equal(zs_rx_avail(e.rx), e.in - e.out);
        if (e.in == e.out && rnd(&seed) % 16 == 0) {
            e.own.size = 0;
            zs_tx_detach_idle(&e.f->a, e.rx);
        }
    }
    assert_true(e.placed > 20000 && e.remembered > 10000 && e.taken > 20000);
}

/* A writer that is told of room through zs_rx_placed as through zs_rx_consume. */
static void test_room_is_told(void **state)
{
    struct ends e;
    ends_up(&e, *state);
    put(&e, 200); /* a page */
    while (put_small(&e, 100))
        ;
    atomic_store(&e.rx->rx_prod.want_space, ZS_WANT_EVENT);
    while (atomic_load(&e.rx->rx_prod.want_space) != 0)
        assert_true(get_small(&e, 100));
    assert_in_range(e.out, ZS_RING_FIRST / 3 - 300, ZS_RING_FIRST / 3 + 300);
}

static void test_special(void **state)
{
    struct ends e;
    ends_up(&e, *state);
    struct zs_view *a = &e.f->a;
    assert_false(put_small(&e, 64) || get_small(&e, 64)); /* no ring yet */
    put(&e, 64);
    assert_true(put_small(&e, 64) && get_small(&e, 64) && get_small(&e, 64));
    assert_false(get_small(&e, 64)); /* nothing is there */
    /* Wanted for the capture file: what is written goes there, too. */
    a->arena->header.capture = 1;
    assert_null(zs_tx_place_own(a, &e.tx, &e.own, 64));
    assert_null(zs_tx_place(a, e.rx, &e.tx, &e.own, 64));
    a->arena->header.capture = 0;
    assert_true(put_small(&e, 64));
    /* An urgent byte and a lent range are for zs_rx_peek and its callers to see. */
    atomic_store(&e.rx->rx_prod.urgent, ZS_URGENT(e.out + 1, ZS_URGENT_KNOWN));
    assert_false(get_small(&e, 64));
    atomic_store(&e.rx->rx_prod.urgent, 0);
    atomic_fetch_add(&e.rx->rx_prod.ref_tail, 1);
    assert_false(get_small(&e, 64));
    atomic_fetch_sub(&e.rx->rx_prod.ref_tail, 1);
    assert_true(get_small(&e, 64));
    assert_false(put_small(&e, 100000)); /* more than a ring */
}

/* Whatever stands in shared memory: a place in the arena, or none; and the producer that knows its ring by itself does not look. */
static void test_scribbled(void **state)
{
    struct ends e;
    ends_up(&e, *state);
    uint64_t seed = 17;
    const uint8_t *first = (const uint8_t *)e.f->arena, *last = first + sizeof *e.f->arena;
    put(&e, 64);
    assert_true(put_small(&e, 64));
    uint8_t *known = zs_tx_place_own(&e.f->a, &e.tx, &e.own, 64);
    for (int round = 0; round < 100000; round++) {
        struct zs_session *rx = e.rx;
        struct zs_tx_own own;
        uint64_t n = rnd(&seed) % 8192 + 1, most = n;
        const uint8_t *next;
        for (int i = 0; i < 4; i++)
            ((uint8_t *)&rx->rx_prod)[rnd(&seed) % 24] = (uint8_t)rnd(&seed);
        ((uint8_t *)&rx->rx_cons)[rnd(&seed) % 12] = (uint8_t)rnd(&seed);
        const uint8_t *to = zs_tx_place(&e.f->a, rx, &e.tx, &own, n);
        assert_true(to == NULL || (to >= first && to + n <= last));
        const uint8_t *from = zs_rx_place(&e.f->b, rx, &n, &next);
        assert_true(from == NULL || (n <= most && from >= first && from + n <= last));
        assert_ptr_equal(zs_tx_place_own(&e.f->a, &e.tx, &e.own, 64), known);
    }
}

/* ---- Sleepers ---- */

enum { MESSAGES = 60000, SIZE = 64 };

struct readers {
    struct ends e;
    pthread_mutex_t lock;
    _Atomic unsigned got, late;
};

/* As wait_rx: the word, the bit, a look, sleep. A wake that never comes shows as a sleep to its end. */
static void sleep_for_data(struct readers *r)
{
    struct zs_session *rx = r->e.rx;
    const struct timespec limit = {.tv_sec = 10};
    atomic_store(&rx->rx_wait, 1);
    atomic_fetch_or(&rx->rx_prod.others, ZS_OTHERS_ASLEEP);
    atomic_thread_fence(memory_order_seq_cst);
    if (zs_rx_avail(rx) == 0 && atomic_load(&r->got) < MESSAGES &&
        syscall(SYS_futex, &rx->rx_wait, FUTEX_WAIT, 1, &limit, NULL, 0) < 0 && errno == ETIMEDOUT)
        atomic_fetch_add(&r->late, 1);
}

static void *reader(void *arg)
{
    struct readers *r = arg;
    while (atomic_load(&r->got) < MESSAGES) {
        pthread_mutex_lock(&r->lock);
        bool one = zs_rx_avail(r->e.rx) >= SIZE;
        if (one) {
            get(&r->e, SIZE);
            if (atomic_fetch_add(&r->got, 1) + 1 == MESSAGES)
                zs_notify(&r->e.f->b, r->e.rx); /* the others end, too */
        }
        pthread_mutex_unlock(&r->lock);
        if (!one)
            sleep_for_data(r);
    }
    zs_notify(&r->e.f->b, r->e.rx);
    return NULL;
}

static void test_readers_are_woken(void **state)
{
    static struct readers r;
    pthread_t thread[3];
    memset(&r, 0, sizeof r);
    ends_up(&r.e, *state);
    pthread_mutex_init(&r.lock, NULL);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, reader, &r), 0);
    for (unsigned sent = 0; sent < MESSAGES;) {
        pthread_mutex_lock(&r.lock); /* `in` is read by get() */
        bool fits = r.e.in - r.e.out < 64 * SIZE;
        if (fits && !put_small(&r.e, SIZE))
            put(&r.e, SIZE);
        pthread_mutex_unlock(&r.lock);
        if (fits) {
            zs_notify(&r.e.f->a, r.e.rx);
            sent++;
        } else {
            sched_yield();
        }
    }
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(r.e.in, r.e.out);
    assert_int_equal(atomic_load(&r.late), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)
    const struct CMUnitTest tests[] = {
        T(test_among_others), T(test_room_is_told), T(test_special), T(test_scribbled), T(test_readers_are_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
