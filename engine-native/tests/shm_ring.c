/* SPDX-License-Identifier: BSD-3-Clause
 * Byte rings: every byte right under random sizes, growth, detachment, two threads, and values scribbled by another party. */
#define _GNU_SOURCE
#include "shm_fixture.h"

#include <pthread.h>
#include <sched.h>

static void test_random_sizes(void **state)
{
    struct fixture *f = *state;
    uint32_t other;
    fixture_pair(f, &other);
    struct zs_session *rx = zs_session_at(&f->b, other);
    struct zs_tx tx = {0};
    uint64_t seed = 7, in = 0, out = 0;
    uint8_t *buf = malloc(1 << 20);
    for (int round = 0; round < 20000; round++) {
        size_t n = rnd(&seed) % (round % 97 == 0 ? 300000 : 3000) + 1;
        if (rnd(&seed) % 2) {
            fill(buf, in, n);
            struct iovec iov[2] = {{buf, n / 3}, {buf + n / 3, n - n / 3}};
            int64_t put = zs_tx_write(&f->a, rx, &tx, iov, 0, n, ZS_RING_MAX);
            assert_true(put >= 0 && (size_t)put <= n);
            in += (uint64_t)put;
        } else {
            struct iovec iov = {buf, n};
            int64_t got = zs_rx_peek(&f->b, rx, 0, &iov, 0, n);
            assert_true(got >= 0);
            assert_int_equal(got, in - out < n ? in - out : n);
            check(buf, out, (size_t)got);
            if (rnd(&seed) % 4) {
                zs_rx_consume(&f->b, rx, (uint64_t)got);
                out += (uint64_t)got;
            }
        }
        assert_int_equal(zs_rx_avail(rx), in - out);
        if (in == out && rnd(&seed) % 3 == 0)
            zs_tx_detach_idle(&f->a, rx);
    }
    assert_true(in > 10000000);
    free(buf);
}

/* Writes until nothing more is taken. Returns the bytes. */
static uint64_t fill_up(struct fixture *f, struct zs_session *rx, struct zs_tx *tx)
{
    uint8_t buf[4096];
    uint64_t total = 0;
    for (int idle = 0; idle < 4;) {
        fill(buf, total, sizeof buf);
        struct iovec iov = {buf, sizeof buf};
        int64_t put = zs_tx_write(&f->a, rx, tx, &iov, 0, sizeof buf, ZS_RING_MAX);
        idle = put == 0 ? idle + 1 : 0;
        total += (uint64_t)put;
    }
    return total;
}

/* Room in the newest ring, the largest, when the waiting writer is told; what lies in those before it is read first. */
static uint64_t told_at(struct fixture *f, struct zs_session *rx, uint64_t unread)
{
    enum { STEP = 4096 };
    for (bool waits = false; !waits || atomic_load(&rx->rx_prod.want_space) != 0; unread -= STEP) {
        assert_true(unread >= STEP);
        if (unread == ZS_RING_MAX) {
            atomic_store(&rx->rx_prod.want_space, ZS_WANT_EVENT);
            waits = true;
        }
        zs_rx_consume(&f->b, rx, STEP);
    }
    return ZS_RING_MAX - unread;
}

static void test_room_is_told_in_thirds(void **state)
{
    struct fixture *f = *state;
    uint32_t other;
    fixture_pair(f, &other);
    struct zs_session *rx = zs_session_at(&f->b, other);
    struct zs_tx tx = {0};
    assert_in_range(told_at(f, rx, fill_up(f, rx, &tx)), ZS_RING_MAX / 3, ZS_RING_MAX / 3 + 4096);
    assert_true(zs_tx_room(&f->a, rx, &tx, ZS_RING_MAX) >= ZS_RING_MAX / 3);
}

/* What waits there is on its way to a peer: what it has acknowledged is to be followed soon. */
static void test_room_at_the_stack_is_told_early(void **state)
{
    struct fixture *f = *state;
    uint32_t other;
    fixture_pair(f, &other);
    struct zs_session *rx = zs_session_at(&f->b, other);
    struct zs_tx tx = {0};
    uint64_t unread = fill_up(f, rx, &tx);
    uint32_t owner = atomic_exchange(&rx->owner, ZS_CLIENT_ENGINE);
    assert_int_equal(told_at(f, rx, unread), ZS_RING_EAGER);
    assert_int_equal(zs_tx_room(&f->a, rx, &tx, ZS_RING_MAX), ZS_RING_EAGER);
    atomic_store(&rx->owner, owner);
}

static void test_grows_for_a_reader_that_stands_still(void **state)
{
    struct fixture *f = *state;
    uint32_t other;
    fixture_pair(f, &other);
    struct zs_session *rx = zs_session_at(&f->b, other);
    struct zs_tx tx = {0};
    uint8_t buf[4096];
    uint64_t total = fill_up(f, rx, &tx);
    assert_true(total >= ZS_RING_MAX); /* Linux takes some MiB before a reader reads */
    for (uint64_t pos = 0; pos < total;) {
        struct iovec iov = {buf, 4096};
        int64_t got = zs_rx_peek(&f->b, rx, 0, &iov, 0, 4096);
        assert_true(got > 0);
        check(buf, pos, (size_t)got);
        zs_rx_consume(&f->b, rx, (uint64_t)got);
        pos += (uint64_t)got;
    }
}

static void test_capacity_is_a_limit(void **state)
{
    struct fixture *f = *state;
    uint32_t other;
    fixture_pair(f, &other);
    struct zs_session *rx = zs_session_at(&f->b, other);
    struct zs_tx tx = {0};
    static uint8_t buf[65536];
    uint64_t total = 0;
    for (int i = 0; i < 100; i++) {
        struct iovec iov = {buf, sizeof buf};
        total += (uint64_t)zs_tx_write(&f->a, rx, &tx, &iov, 0, sizeof buf, 16384);
    }
    assert_in_range(total, 4096, 16384 + 4096);
}

static void test_memory_exhausted(void **state)
{
    struct fixture *f = *state;
    uint32_t other;
    fixture_pair(f, &other);
    struct zs_session *rx = zs_session_at(&f->b, other);
    struct zs_tx tx = {0};
    uint8_t buf[200] = {0};
    struct iovec iov = {buf, sizeof buf};
    f->a.mem_limit = 2048;
    assert_int_equal(zs_tx_write(&f->a, rx, &tx, &iov, 0, sizeof buf, ZS_RING_MAX), -ENOBUFS);
    assert_int_equal(atomic_load(&f->arena->header.mem_used), 0);
    f->a.mem_limit = 4096;
    assert_int_equal(zs_tx_write(&f->a, rx, &tx, &iov, 0, sizeof buf, ZS_RING_MAX), sizeof buf);
    /* No room to grow: what fits is taken, nothing is lost. */
    static uint8_t big[8192];
    struct iovec more = {big, sizeof big};
    assert_int_equal(zs_tx_write(&f->a, rx, &tx, &more, 0, sizeof big, ZS_RING_MAX), 4096 - sizeof buf);
    assert_int_equal(zs_tx_write(&f->a, rx, &tx, &more, 0, sizeof big, ZS_RING_MAX), 0);
}

static int64_t put(struct fixture *f, struct zs_session *rx, struct zs_tx *tx, const void *bytes, size_t n)
{
    struct iovec iov = {(void *)(uintptr_t)bytes, n};
    return zs_tx_write(&f->a, rx, tx, &iov, 0, n, ZS_RING_MAX);
}

static void expect_bytes(struct fixture *f, struct zs_session *rx, const uint8_t *bytes, size_t n)
{
    static uint8_t got[8192];
    struct iovec iov = {got, n};
    assert_int_equal(zs_rx_avail(rx), n);
    assert_int_equal(zs_rx_peek(&f->b, rx, 0, &iov, 0, n), n);
    assert_memory_equal(got, bytes, n);
    zs_rx_consume(&f->b, rx, n);
}

/* Small messages need no block; the first that does not fit brings one, and none of it is lost or cut. */
static void test_small(void **state)
{
    struct fixture *f = *state;
    uint32_t other;
    fixture_pair(f, &other);
    struct zs_session *rx = zs_session_at(&f->b, other);
    struct zs_tx tx = {0};
    static uint8_t bytes[8192];
    uint64_t seed = 1;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)rnd(&seed);
    for (int i = 0; i < 1000; i++) { /* around the end of it, at every offset */
        size_t n = 1 + rnd(&seed) % (ZS_RING_SMALL / 2);
        atomic_fetch_add(&f->a.stats->bytes_out, 1 << 20); /* on other connections */
        assert_int_equal(put(f, rx, &tx, bytes + i, n), n);
        expect_bytes(f, rx, bytes + i, n);
        assert_int_equal(zs_tx_room(&f->a, rx, &tx, ZS_RING_MAX) != 0, true);
    }
    assert_int_equal(atomic_load(&f->arena->header.mem_used), 0);
    assert_int_equal(ZS_NEWEST_REF(atomic_load(&rx->rx_prod.newest)), ZS_SMALL(other));
    assert_int_equal(put(f, rx, &tx, bytes, 5000), 5000); /* it is empty, and too small all the same */
    expect_bytes(f, rx, bytes, 5000);
    assert_int_equal(atomic_load(&f->arena->header.mem_used), 16384);
    zs_tx_detach_idle(&f->a, rx);
    assert_int_equal(atomic_load(&f->arena->header.mem_used), 0);
    assert_int_equal(put(f, rx, &tx, bytes, 100), 100);
    assert_int_equal(put(f, rx, &tx, bytes + 100, 100), 100);
    assert_int_equal(atomic_load(&f->arena->header.mem_used), 0);
    assert_int_equal(put(f, rx, &tx, bytes + 200, 100), 100); /* the first two are unread */
    assert_int_equal(atomic_load(&f->arena->header.mem_used), 4096);
    expect_bytes(f, rx, bytes, 300);
    zs_tx_detach_idle(&f->a, rx);
    f->a.mem_limit = 0; /* without memory what is there goes on */
    assert_int_equal(put(f, rx, &tx, bytes, 128), 128);
    assert_int_equal(put(f, rx, &tx, bytes + 128, 200), ZS_RING_SMALL - 128);
    assert_int_equal(put(f, rx, &tx, bytes, 1), 0);
    expect_bytes(f, rx, bytes, ZS_RING_SMALL);
}

/* The program sends 64 bytes on this connection and `more` on others, `count` times. */
static void send_small(struct fixture *f, struct zs_session *rx, struct zs_tx *tx, uint64_t more, int count)
{
    static uint64_t at;
    uint8_t bytes[64];
    for (int i = 0; i < count; i++, at += sizeof bytes) {
        fill(bytes, at, sizeof bytes);
        assert_int_equal(put(f, rx, tx, bytes, sizeof bytes), sizeof bytes);
        atomic_fetch_add(&f->a.stats->bytes_out, sizeof bytes + more);
        expect_bytes(f, rx, bytes, sizeof bytes);
    }
}

/* A connection in turn with thousands stays small, one of few gets a page, if there is memory. */
static void test_busy(void **state)
{
    struct fixture *f = *state;
    uint32_t other;
    fixture_pair(f, &other);
    struct zs_session *rx = zs_session_at(&f->b, other);
    struct zs_tx tx = {0};
    send_small(f, rx, &tx, 64 * 1000, 1000);
    assert_int_equal(ZS_NEWEST_REF(atomic_load(&rx->rx_prod.newest)), ZS_SMALL(other));
    uint64_t limit = f->a.mem_limit;
    f->a.mem_limit = 0;
    send_small(f, rx, &tx, 64 * 10, 20);
    assert_int_equal(ZS_NEWEST_REF(atomic_load(&rx->rx_prod.newest)), ZS_SMALL(other));
    f->a.mem_limit = limit;
    send_small(f, rx, &tx, 64 * 10, 20);
    assert_int_equal(zs_ring_size(ZS_NEWEST_REF(atomic_load(&rx->rx_prod.newest))), ZS_RING_FIRST);
    send_small(f, rx, &tx, 0, 1000);
    assert_int_equal(atomic_load(&f->arena->header.mem_used), ZS_RING_FIRST);
    zs_tx_detach_idle(&f->a, rx);
    assert_int_equal(atomic_load(&f->arena->header.mem_used), 0);
    send_small(f, rx, &tx, 64 * 1000, 1000);
    assert_int_equal(atomic_load(&f->arena->header.mem_used), 0);
}

/* What the engine's stack sends from, and room that was promised, are blocks. */
static void test_not_small(void **state)
{
    struct fixture *f = *state;
    uint32_t other;
    fixture_pair(f, &other);
    struct zs_session *rx = zs_session_at(&f->b, other);
    struct zs_tx tx = {.promised = true};
    assert_int_equal(put(f, rx, &tx, "a", 1), 1);
    assert_in_range(atomic_load(&f->arena->header.mem_used), 4096, 65536);
    expect_bytes(f, rx, (const uint8_t *)"a", 1);
    zs_tx_detach_idle(&f->a, rx);
    tx.promised = false;
    uint32_t owner = atomic_exchange(&rx->owner, ZS_CLIENT_ENGINE);
    atomic_store(&rx->state, ZS_S_OPEN);
    assert_int_equal(put(f, rx, &tx, "a", 1), 1);
    assert_int_equal(atomic_load(&f->arena->header.mem_used), 4096);
    expect_bytes(f, rx, (const uint8_t *)"a", 1);
    zs_tx_detach_idle(&f->a, rx);
    atomic_store(&rx->state, ZS_S_QUEUED); /* a connection that waits to be accepted */
    assert_int_equal(put(f, rx, &tx, "a", 1), 1);
    assert_int_equal(atomic_load(&f->arena->header.mem_used), 0);
    atomic_store(&rx->owner, owner);
}

/* ---- Two threads ---- */

struct transfer {
    struct fixture *f;
    struct zs_session *rx;
    uint64_t total;
};

static void *writer(void *arg)
{
    struct transfer *t = arg;
    struct zs_tx tx = {0};
    uint64_t seed = 3, pos = 0;
    static uint8_t buf[100000];
    while (pos < t->total) {
        size_t n = rnd(&seed) % sizeof buf + 1;
        n = n > t->total - pos ? t->total - pos : n;
        fill(buf, pos, n);
        for (size_t done = 0; done < n;) {
            struct iovec iov = {buf, n};
            int64_t put = zs_tx_write(&t->f->a, t->rx, &tx, &iov, done, n - done, ZS_RING_MAX);
            assert_true(put >= 0);
            done += (size_t)put;
            if (put == 0)
                sched_yield();
        }
        pos += n;
    }
    return NULL;
}

static void test_two_threads(void **state)
{
    struct fixture *f = *state;
    uint32_t other;
    fixture_pair(f, &other);
    struct transfer t = {f, zs_session_at(&f->b, other), 48u << 20};
    pthread_t thread;
    static uint8_t buf[50000];
    uint64_t seed = 5;
    assert_int_equal(pthread_create(&thread, NULL, writer, &t), 0);
    for (uint64_t pos = 0; pos < t.total;) {
        struct iovec iov = {buf, rnd(&seed) % sizeof buf + 1};
        int64_t got = zs_rx_peek(&f->b, t.rx, 0, &iov, 0, iov.iov_len);
        assert_true(got >= 0);
        check(buf, pos, (size_t)got);
        zs_rx_consume(&f->b, t.rx, (uint64_t)got);
        pos += (uint64_t)got;
        if (got == 0)
            sched_yield();
    }
    pthread_join(thread, NULL);
}

/* ---- Scribbles ---- */

/* Whatever the shared words hold, the calls return and touch nothing outside of the arena. */
static void test_scribbled(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = 11;
    static uint8_t buf[5000];
    for (int round = 0; round < 20000; round++) {
        uint32_t other, mine = fixture_pair(f, &other);
        struct zs_session *rx = zs_session_at(&f->b, other);
        struct zs_tx tx = {0};
        struct iovec iov = {buf, rnd(&seed) % sizeof buf + 1};
        zs_tx_write(&f->a, rx, &tx, &iov, 0, iov.iov_len, ZS_RING_MAX);
        uint8_t *victim = rnd(&seed) % 2 ? (uint8_t *)&rx->rx_prod : (uint8_t *)&rx->rx_rings;
        for (int i = 0; i < 4; i++)
            victim[rnd(&seed) % 64] = (uint8_t)rnd(&seed);
        if (rnd(&seed) % 4 == 0)
            ((uint8_t *)&rx->rx_cons)[rnd(&seed) % 24] = (uint8_t)rnd(&seed);
        int64_t put = zs_tx_write(&f->a, rx, &tx, &iov, 0, iov.iov_len, ZS_RING_MAX);
        assert_true(put >= -4096 && put <= (int64_t)iov.iov_len);
        int64_t got = zs_rx_peek(&f->b, rx, 0, &iov, 0, iov.iov_len);
        assert_true(got >= -4096 && got <= (int64_t)iov.iov_len);
        if (got > 0)
            zs_rx_consume(&f->b, rx, (uint64_t)got);
        zs_session_fault(&f->b, other);
        zs_session_close(&f->a, mine, true);
        zs_session_close(&f->b, other, true);
        assert_int_equal(sessions_in_use(f), 0);
        assert_int_equal(atomic_load(&f->arena->header.mem_used), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_random_sizes, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_grows_for_a_reader_that_stands_still, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_room_is_told_in_thirds, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_room_at_the_stack_is_told_early, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_capacity_is_a_limit, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_memory_exhausted, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_small, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_busy, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_not_small, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_two_threads, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_scribbled, fixture_up, fixture_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
