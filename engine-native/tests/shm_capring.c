/* SPDX-License-Identifier: BSD-3-Clause
 * The capture ring: what connections write into it, its end, its being full, and nonsense in it. */
#define _GNU_SOURCE
#include "capring.h"
#include "shm_fixture.h"

#include <pthread.h>

#define ENGINE(f) ((struct zs_view){.arena = (f)->arena, .client = ZS_CLIENT_ENGINE})

static uint8_t data[65536];

static void send(struct fixture *f, uint32_t to, const void *bytes, size_t n)
{
    struct zs_tx tx = {0};
    struct iovec iov = {(void *)(uintptr_t)bytes, n};
    assert_int_equal(zs_tx_write(&f->a, zs_session_at(&f->a, to), &tx, &iov, 0, n, ZS_RING_MAX), n);
}

static struct zs_capture_record take(struct fixture *f, enum zs_capture_kind kind)
{
    struct zs_view engine = ENGINE(f);
    struct zs_capture_record rec;
    assert_int_equal(zs_capture_take(&engine, &rec, data), 1);
    assert_int_equal(rec.kind, kind);
    return rec;
}

static void none_left(struct fixture *f)
{
    struct zs_view engine = ENGINE(f);
    struct zs_capture_record rec;
    assert_int_equal(zs_capture_take(&engine, &rec, data), 0);
}

static void test_nothing_unless_asked(void **state)
{
    struct fixture *f = *state;
    uint32_t b, a = fixture_pair(f, &b);
    send(f, b, "unseen", 6);
    zs_session_close(&f->a, a, false);
    assert_int_equal(f->arena->capture.tail, 0);
}

static void test_a_connection(void **state)
{
    struct fixture *f = *state;
    uint32_t b, a = fixture_pair(f, &b);
    f->arena->header.capture = 4;
    f->arena->client[1].pid = 77;
    strcpy(f->arena->client[1].name, "teller");
    send(f, b, "hello", 5);
    send(f, b, "again", 5);
    zs_rx_consume(&f->b, zs_session_at(&f->b, b), 10);
    zs_session_close(&f->a, a, false);
    zs_session_close(&f->b, b, false);

    struct zs_capture_record r = take(f, ZS_CAP_DATA);
    assert_int_equal(r.session, a);
    assert_int_equal(r.peer, b);
    assert_int_equal(r.pos, 0);
    assert_int_equal(r.len, 5);
    assert_int_equal(r.kept, 4);
    assert_memory_equal(data, "hell", 4);
    assert_int_equal(r.pid, 77);
    assert_string_equal(r.name, "teller");
    r = take(f, ZS_CAP_DATA);
    assert_int_equal(r.pos, 5);
    r = take(f, ZS_CAP_FIN);
    assert_int_equal(r.pos, 10);
    assert_int_equal(r.taken, 10);
    r = take(f, ZS_CAP_FIN); /* of an end whose peer is closed already */
    assert_int_equal(r.session, b);
    none_left(f);
}

static void test_unread_is_a_reset_and_the_wire_is_left_out(void **state)
{
    struct fixture *f = *state;
    uint32_t b, a = fixture_pair(f, &b), d, c = fixture_pair(f, &d);
    f->arena->header.capture = 100;
    zs_session_at(&f->a, c)->flags |= ZS_F_WIRE;
    send(f, d, "to the wire", 11);
    zs_session_close(&f->a, c, false);
    none_left(f);
    send(f, b, "x", 1);
    take(f, ZS_CAP_DATA);
    zs_session_close(&f->b, b, false);
    assert_int_equal(take(f, ZS_CAP_RST).session, b);
    zs_session_close(&f->a, a, false);
}

/* Pieces of every size, many times round the ring. */
static void test_round_and_round(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = 1, pos = 0;
    static uint8_t bytes[60000];
    uint32_t b;
    fixture_pair(f, &b);
    f->arena->header.capture = 65536;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)rnd(&seed);
    for (uint32_t round = 0; round < 6000; round++) {
        size_t n = 1 + rnd(&seed) % (round % 2 ? 100 : sizeof bytes);
        send(f, b, bytes, n);
        for (size_t done = 0; done < n;) {
            struct zs_capture_record r = take(f, ZS_CAP_DATA);
            assert_int_equal(r.pos, pos + done);
            assert_true(r.kept == r.len && r.len <= n - done && r.len <= ZS_CAP_PIECE);
            assert_memory_equal(data, bytes + done, r.len);
            done += r.len;
        }
        pos += n;
        zs_rx_consume(&f->b, zs_session_at(&f->b, b), n);
    }
    none_left(f);
    assert_int_equal(f->arena->capture.dropped, 0);
    assert_true(f->arena->capture.tail > 4 * ZS_CAP_RING);
}

/* A writer waits once for an engine that does not read, then no more; when it reads again, all is well. */
static void test_full(void **state)
{
    struct fixture *f = *state;
    static const uint8_t piece[ZS_CAP_PIECE];
    uint32_t b, kept = 0;
    fixture_pair(f, &b);
    f->arena->header.capture = 65536;
    while (f->arena->capture.dropped == 0) {
        send(f, b, piece, sizeof piece);
        zs_rx_consume(&f->b, zs_session_at(&f->b, b), sizeof piece);
        kept++;
    }
    kept--;
    assert_int_equal(f->arena->capture.stalled, 1);
    assert_true(kept >= ZS_CAP_RING / (sizeof piece + 256) - 1);
    for (uint32_t i = 0; i < 100; i++) { /* 100 waits were 5 s */
        send(f, b, piece, sizeof piece);
        zs_rx_consume(&f->b, zs_session_at(&f->b, b), sizeof piece);
    }
    assert_int_equal(f->arena->capture.dropped, 101);
    for (uint32_t i = 0; i < kept; i++)
        assert_int_equal(take(f, ZS_CAP_DATA).pos, (uint64_t)i * sizeof piece);
    none_left(f);
    assert_int_equal(f->arena->capture.stalled, 0);
    send(f, b, piece, 1);
    assert_int_equal(take(f, ZS_CAP_DATA).pos, (uint64_t)(kept + 101) * sizeof piece); /* the gap shows */
}

struct sender {
    struct fixture *f;
    uint32_t to;
    bool came_back;
};

static void *sends_cancelled(void *arg)
{
    struct sender *s = arg;
    int state;
    pthread_cancel(pthread_self()); /* from now on a cancellation point is the end */
    send(s->f, s->to, "x", 1);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    s->came_back = true;
    return NULL;
}

/* A thread that waits for the engine to read, or for a lock, holds the connection's: it must give that back. */
static void test_no_cancellation_point(void **state)
{
    struct fixture *f = *state;
    struct zs_capture *c = &f->arena->capture;
    struct sender s = {.f = f};
    fixture_pair(f, &s.to);
    f->arena->header.capture = 65536;
    for (int locked = 0; locked < 2; locked++) {
        pthread_t t;
        s.came_back = false;
        atomic_store(&c->tail, c->head + (locked ? 0 : ZS_CAP_RING)); /* no room */
        atomic_store(&c->lock, locked ? f->b.client : 0);
        assert_int_equal(pthread_create(&t, NULL, sends_cancelled, &s), 0);
        pthread_join(t, NULL);
        assert_true(s.came_back);
        atomic_store(&c->lock, 0);
    }
}

/* Whatever stands in the ring, the engine reads records within their bounds, and comes to an end. */
static void test_nonsense(void **state)
{
    struct fixture *f = *state;
    struct zs_view engine = ENGINE(f);
    struct zs_capture *c = &f->arena->capture;
    struct zs_capture_record rec;
    uint64_t seed = 7, bad = 0;
    uint32_t b;
    fixture_pair(f, &b);
    f->arena->header.capture = 65536;
    for (uint32_t round = 0; round < 60000; round++) {
        uint8_t bytes[300];
        send(f, b, bytes, 1 + rnd(&seed) % sizeof bytes);
        zs_rx_consume(&f->b, zs_session_at(&f->b, b), zs_rx_avail(zs_session_at(&f->b, b)));
        struct zs_capture_record *at = (void *)(c->data + c->head % ZS_CAP_RING);
        switch (rnd(&seed) % 6) {
        case 0:
            at->size = (uint32_t)rnd(&seed);
            break;
        case 1:
            at->size = (uint32_t)rnd(&seed) % 1024;
            break;
        case 2:
            at->kind = (uint32_t)rnd(&seed) % 8;
            break;
        case 3:
            at->kept = (uint32_t)rnd(&seed) % 512;
            break;
        case 4:
            c->tail = c->tail + rnd(&seed) % 4096;
            break;
        default:
            c->tail = rnd(&seed);
        }
        int r, times = 0;
        while ((r = zs_capture_take(&engine, &rec, data)) != 0) {
            bad += r < 0;
            assert_true(r < 0 || rec.kept <= sizeof data);
            assert_true(++times < 1000000);
        }
    }
    assert_true(bad > 1000);
    send(f, b, "well", 4);
    assert_int_equal(take(f, ZS_CAP_DATA).len, 4);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)
    const struct CMUnitTest tests[] = {
        T(test_nothing_unless_asked), T(test_a_connection), T(test_unread_is_a_reset_and_the_wire_is_left_out),
        T(test_round_and_round), T(test_full), T(test_no_cancellation_point), T(test_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
