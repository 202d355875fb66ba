/* SPDX-License-Identifier: BSD-3-Clause
 * Sessions, accept queues, hints, waiters: their steps in every order, and with several threads. */
#define _GNU_SOURCE
#include "shm_fixture.h"

#include <arpa/inet.h>
#include <pthread.h>

/* ---- Close ---- */

static void write_bytes(struct fixture *f, uint32_t to, size_t n)
{
    struct zs_tx tx = {0};
    static uint8_t buf[1000];
    struct iovec iov = {buf, n};
    assert_int_equal(zs_tx_write(&f->a, zs_session_at(&f->a, to), &tx, &iov, 0, n, ZS_RING_MAX), n);
}

static void test_fin_then_both_closed(void **state)
{
    struct fixture *f = *state;
    uint32_t b, a = fixture_pair(f, &b);
    write_bytes(f, b, 100);
    zs_session_close(&f->a, a, false);
    struct zs_session *s = zs_session_at(&f->b, b);
    assert_int_equal(s->rx_prod.fin, ZS_FIN);
    assert_int_equal(zs_rx_avail(s), 100); /* what was sent before is still to be read */
    assert_true(s->flags & ZS_F_PEER_CLOSED);
    assert_int_equal(s->error, 0);
    zs_session_close(&f->b, b, false);
    assert_int_equal(sessions_in_use(f), 0);
    assert_int_equal(atomic_load(&f->arena->header.mem_used), 0);
}

static void test_unread_data_resets(void **state)
{
    struct fixture *f = *state;
    uint32_t b, a = fixture_pair(f, &b);
    write_bytes(f, a, 1); /* unread at a when a closes: RFC 9293 3.6.1, RFC 2525 2.17 */
    zs_session_close(&f->a, a, false);
    assert_int_equal(zs_session_at(&f->b, b)->rx_prod.fin, ZS_RST);
    assert_int_equal(zs_session_at(&f->b, b)->error, ECONNRESET);
    zs_session_close(&f->b, b, false);
    assert_int_equal(atomic_load(&f->arena->header.mem_used), 0);
}

static void test_rst_after_fin_is_epipe(void **state)
{
    struct fixture *f = *state;
    uint32_t b, a = fixture_pair(f, &b);
    zs_session_fin(&f->a, a);
    zs_session_close(&f->a, a, true);
    assert_int_equal(zs_session_at(&f->b, b)->error, EPIPE);
    zs_session_close(&f->b, b, false);
    assert_int_equal(sessions_in_use(f), 0);
}

static void test_close_is_idempotent(void **state)
{
    struct fixture *f = *state;
    uint32_t b, a = fixture_pair(f, &b);
    uint32_t gen = zs_session_at(&f->a, a)->gen;
    zs_session_close(&f->a, a, false);
    zs_session_close(&f->a, a, true); /* the engine completes what a dead process began */
    assert_int_equal(zs_session_at(&f->b, b)->error, 0);
    zs_session_close(&f->b, b, false);
    zs_session_close(&f->b, b, false);
    zs_session_close(&f->a, a, false);
    assert_int_equal(zs_session_at(&f->a, a)->gen, gen + 1);
    assert_int_equal(sessions_in_use(f), 0);
}

struct closer {
    struct zs_view *v;
    uint32_t index;
    pthread_barrier_t *start;
};

static void *close_thread(void *arg)
{
    struct closer *c = arg;
    pthread_barrier_wait(c->start);
    zs_session_close(c->v, c->index, false);
    return NULL;
}

static void test_both_close_at_once(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 2000; round++) {
        uint32_t b, a = fixture_pair(f, &b);
        uint32_t gen_a = zs_session_at(&f->a, a)->gen, gen_b = zs_session_at(&f->a, b)->gen;
        write_bytes(f, b, 10);
        pthread_barrier_t start;
        pthread_t t;
        pthread_barrier_init(&start, NULL, 2);
        struct closer ca = {&f->a, a, &start}, cb = {&f->b, b, &start};
        pthread_create(&t, NULL, close_thread, &ca);
        close_thread(&cb);
        pthread_join(t, NULL);
        pthread_barrier_destroy(&start);
        assert_int_equal(sessions_in_use(f), 0);
        assert_int_equal(zs_session_at(&f->a, a)->gen, gen_a + 1); /* freed once */
        assert_int_equal(zs_session_at(&f->a, b)->gen, gen_b + 1);
        assert_int_equal(atomic_load(&f->arena->header.mem_used), 0);
    }
}

/* ---- Accept queue ---- */

static void test_backlog(void **state)
{
    struct fixture *f = *state;
    int64_t l = zs_listener_alloc(&f->a, 0, 2);
    uint32_t gen = f->arena->listener[l].gen;
    int64_t s[4];
    for (int i = 0; i < 4; i++)
        s[i] = zs_session_alloc(&f->a, ZS_KIND_TCP);
    for (int i = 0; i < 3; i++) /* backlog + 1, as Linux */
        assert_int_equal(zs_accept_push(&f->a, (uint32_t)l, gen, (uint32_t)s[i], 0), 0);
    assert_int_equal(zs_accept_push(&f->a, (uint32_t)l, gen, (uint32_t)s[3], 0), -EAGAIN);
    assert_int_equal(zs_accept_count(&f->b, (uint32_t)l), 3);
    assert_true(zs_accept_contains(&f->b, (uint32_t)l, (uint32_t)s[2]));
    assert_int_equal(zs_accept_pop(&f->b, (uint32_t)l), s[0]);
    assert_int_equal(zs_accept_push(&f->a, (uint32_t)l, gen, (uint32_t)s[3], 0), 0);
    assert_int_equal(zs_accept_pop(&f->b, (uint32_t)l), s[1]);
    assert_int_equal(zs_accept_pop(&f->b, (uint32_t)l), s[2]);
    assert_int_equal(zs_accept_pop(&f->b, (uint32_t)l), s[3]);
    assert_int_equal(zs_accept_pop(&f->b, (uint32_t)l), -EAGAIN);
    assert_int_equal(zs_accept_push(&f->a, (uint32_t)l, gen + 1, (uint32_t)s[3], 0), -ECONNREFUSED);
}

static void test_stale_entries_are_skipped(void **state)
{
    struct fixture *f = *state;
    int64_t l = zs_listener_alloc(&f->a, 0, 10);
    uint32_t gen = f->arena->listener[l].gen;
    int64_t s0 = zs_session_alloc(&f->a, ZS_KIND_TCP), s1 = zs_session_alloc(&f->a, ZS_KIND_TCP);
    zs_accept_push(&f->a, (uint32_t)l, gen, (uint32_t)s0, 0);
    zs_accept_push(&f->a, (uint32_t)l, gen, (uint32_t)s1, 0);
    zs_session_free(&f->a, (uint32_t)s0);
    assert_int_equal(zs_accept_pop(&f->b, (uint32_t)l), s1);
}

#define PUSHERS 3
#define POPPERS 2
#define PER_PUSHER 20000

struct queue_test {
    struct fixture *f;
    uint32_t listener, gen, id;
    _Atomic uint32_t *popped; /* times each session came out */
    _Atomic uint32_t *total;
};

static void *push_thread(void *arg)
{
    struct queue_test *q = arg;
    for (uint32_t i = 0; i < PER_PUSHER; i++) {
        uint32_t session = 1 + q->id * PER_PUSHER + i;
        while (zs_accept_push(&q->f->a, q->listener, q->gen, session, 0) != 0)
            sched_yield();
    }
    return NULL;
}

static void *pop_thread(void *arg)
{
    struct queue_test *q = arg;
    while (atomic_load(q->total) < PUSHERS * PER_PUSHER) {
        int64_t s = zs_accept_pop(&q->f->b, q->listener);
        if (s < 0) {
            sched_yield();
            continue;
        }
        atomic_fetch_add(&q->popped[s], 1);
        atomic_fetch_add(q->total, 1);
    }
    return NULL;
}

static void test_queue_many_threads(void **state)
{
    struct fixture *f = *state;
    int64_t l = zs_listener_alloc(&f->a, 0, 64);
    _Atomic uint32_t *popped = calloc(1 + PUSHERS * PER_PUSHER, sizeof *popped), total = 0;
    struct queue_test q[PUSHERS + POPPERS];
    pthread_t t[PUSHERS + POPPERS];
    for (uint32_t i = 0; i < PUSHERS + POPPERS; i++) {
        q[i] = (struct queue_test){f, (uint32_t)l, f->arena->listener[l].gen, i, popped, &total};
        pthread_create(&t[i], NULL, i < PUSHERS ? push_thread : pop_thread, &q[i]);
    }
    for (uint32_t i = 0; i < PUSHERS + POPPERS; i++)
        pthread_join(t[i], NULL);
    for (uint32_t i = 1; i <= PUSHERS * PER_PUSHER; i++)
        assert_int_equal(popped[i], 1);
    assert_int_equal(zs_accept_count(&f->a, (uint32_t)l), 0);
    free((void *)popped);
}

/* ---- Hints and waiters ---- */

static void test_hint_full_and_heals(void **state)
{
    struct fixture *f = *state;
    struct zs_arena *a = f->arena;
    bool seen[300] = {false};
    for (int i = 0; i < 300; i++) {
        int64_t got = zs_hint_claim(a->waiter_hint.summary, a->waiter_hint.leaf, 300, 0);
        assert_in_range(got, 0, 299);
        assert_false(seen[got]);
        seen[got] = true;
    }
    assert_int_equal(zs_hint_claim(a->waiter_hint.summary, a->waiter_hint.leaf, 300, 0), -ENOSPC);
    zs_hint_clear(a->waiter_hint.summary, a->waiter_hint.leaf, 123);
    assert_int_equal(zs_hint_claim(a->waiter_hint.summary, a->waiter_hint.leaf, 300, 250), 123);
}

static void test_notify_wakes_only_sleepers(void **state)
{
    struct fixture *f = *state;
    uint32_t b;
    fixture_pair(f, &b);
    struct zs_session *s = zs_session_at(&f->b, b);
    int64_t w = zs_waiter_alloc(&f->b, f->b.client);
    assert_int_equal(zs_subscribe(&f->b, s, (uint32_t)w, 70000, 0), 0);
    zs_notify(&f->a, s);
    assert_int_equal(f->rings, 0);
    uint32_t slot;
    assert_int_equal(zs_waiter_harvest(&f->arena->waiter[w], &slot, 1), 1);
    assert_int_equal(slot, 70000);
    atomic_store(&f->arena->waiter[w].asleep, 1);
    zs_notify(&f->a, s);
    assert_int_equal(f->rings, 1);
    zs_unsubscribe(&f->b, s, (uint32_t)w, 70000);
    zs_notify(&f->a, s);
    assert_int_equal(f->rings, 1);
}

static void test_exclusive_wakes_one(void **state)
{
    struct fixture *f = *state;
    uint32_t b;
    fixture_pair(f, &b);
    struct zs_session *s = zs_session_at(&f->b, b);
    for (int i = 0; i < 10; i++) { /* more than fit inline */
        int64_t w = zs_waiter_alloc(&f->b, f->b.client);
        atomic_store(&f->arena->waiter[w].asleep, 1);
        assert_int_equal(zs_subscribe(&f->b, s, (uint32_t)w, 0, ZS_SUB_EXCLUSIVE), 0);
    }
    zs_notify(&f->a, s);
    assert_int_equal(f->rings, 1);
    zs_unsubscribe_all(&f->b, s, 0);
    zs_session_free(&f->b, b);
    assert_int_equal(atomic_load(&f->arena->header.mem_used), 0); /* the overflow block, too */
}

static void test_lookup_prefers_the_exact(void **state)
{
    struct fixture *f = *state;
    const uint16_t port = htons(4711);
    const uint8_t any[4] = {0}, lo[4] = {127, 0, 0, 1};
    uint32_t chain = 0;
    for (int i = 0; i < 2; i++) {
        int64_t n = zs_session_alloc(&f->a, ZS_KIND_TCP_LISTEN);
        struct zs_session *s = zs_session_at(&f->a, (uint32_t)n);
        s->local = (struct zs_addr){.ip = {[10] = 0xff, [11] = 0xff}, .port = port, .family = 2};
        memcpy(s->local.ip + 12, i == 0 ? lo : any, 4);
        s->state = ZS_S_OPEN;
        s->port_next = chain;
        chain = (uint32_t)n + 1;
    }
    f->arena->tcp_ports.head[4711] = chain;
    struct zs_addr to = {.ip = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}, .port = port, .family = 2};
    assert_int_equal(zs_lookup_listener(&f->a, &to, 0, 1), chain - 2);
    to.ip[15] = 2;
    assert_int_equal(zs_lookup_listener(&f->a, &to, 0, 1), chain - 1);
    to.port = htons(4712);
    assert_int_equal(zs_lookup_listener(&f->a, &to, 0, 1), -ECONNREFUSED);
}

/* ::/0 has IPv4's mapped addresses in it, but is not their route; link-local addresses go by their scope. */
static void test_wire_routes_keep_to_their_protocol(void **state)
{
    struct fixture *f = *state;
    struct zs_arena_header *h = &f->arena->header;
    struct zs_addr four = {.ip = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 9}}, six = {.ip = {0x20, 1, 0x0d, 0xb8, [15] = 9}};
    struct zs_addr group = {.ip = {0xff, 2, [15] = 1}}, link = {.ip = {0xfe, 0x80, [15] = 9}, .scope_id = 2};
    h->wire[0] = (struct zs_wire_addr){.prefix_len = 0, .flags = ZS_WIRE_ROUTE, .port = 1};
    h->wire_count = 1;
    assert_true(zs_addr_on_wire(&f->a, &six));
    assert_false(zs_addr_on_wire(&f->a, &four));
    assert_false(zs_addr_on_wire(&f->a, &group));
    assert_false(zs_addr_on_wire(&f->a, &link)); /* an interface of the kernel */
    link.scope_id = ZS_WIRE_SCOPE + 1;
    assert_true(zs_addr_on_wire(&f->a, &link));
    h->wire[0] = (struct zs_wire_addr){.ip = {[10] = 0xff, [11] = 0xff}, .prefix_len = 96, .flags = ZS_WIRE_ROUTE, .port = 1};
    assert_true(zs_addr_on_wire(&f->a, &four));
    assert_false(zs_addr_on_wire(&f->a, &six));
    h->wire[0] = (struct zs_wire_addr){.ip = {0x20, 1, 0x0d, 0xb8}, .prefix_len = 64, .flags = ZS_WIRE_ROUTE | ZS_WIRE_OWN, .port = 1};
    assert_true(zs_addr_on_wire(&f->a, &six));
    six.ip[7] = 1;
    assert_false(zs_addr_on_wire(&f->a, &six));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)
    const struct CMUnitTest tests[] = {
        T(test_fin_then_both_closed), T(test_unread_data_resets), T(test_rst_after_fin_is_epipe),
        T(test_close_is_idempotent), T(test_both_close_at_once), T(test_backlog), T(test_stale_entries_are_skipped),
        T(test_queue_many_threads), T(test_hint_full_and_heals), T(test_notify_wakes_only_sleepers),
        T(test_exclusive_wakes_one), T(test_lookup_prefers_the_exact),
        T(test_wire_routes_keep_to_their_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
