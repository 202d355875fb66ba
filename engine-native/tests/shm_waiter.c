/* SPDX-License-Identifier: BSD-3-Clause
 * Hints of a waiter: none is lost, whatever the queue of recent ones holds. */
#include "shm_fixture.h"

#include <pthread.h>
#include <string.h>

enum { SLOTS = 3000, PRODUCERS = 3, HINTS_EACH = 60000 };

static struct zs_waiter *new_waiter(struct fixture *f)
{
    int64_t w = zs_waiter_alloc(&f->b, f->b.client);
    assert_in_range(w, 0, ZS_MAX_WAITERS - 1);
    return &f->arena->waiter[w];
}

static void test_taken_in_order(void **state)
{
    struct zs_waiter *w = new_waiter(*state);
    uint32_t slots[8];
    assert_false(zs_waiter_hinted(w));
    zs_waiter_hint(w, 70000);
    zs_waiter_hint(w, 3);
    zs_waiter_hint(w, 3); /* the same at once: one hint */
    zs_waiter_hint(w, 70000);
    assert_true(zs_waiter_hinted(w));
    assert_int_equal(zs_waiter_harvest(w, slots, 8), 3);
    assert_int_equal(slots[0], 70000);
    assert_int_equal(slots[1], 3);
    assert_int_equal(slots[2], 70000);
    assert_false(zs_waiter_hinted(w));
    assert_int_equal(zs_waiter_harvest(w, slots, 8), 0);
}

/* Harvests by `max` and notes what was hinted at. */
static void take(struct zs_waiter *w, bool *seen, uint32_t max)
{
    uint32_t slots[256], n;
    do {
        n = zs_waiter_harvest(w, slots, max);
        assert_in_range(n, 0, max);
        for (uint32_t i = 0; i < n; i++) {
            assert_in_range(slots[i], 0, ZS_WAITER_SLOTS - 1);
            seen[slots[i]] = true;
        }
    } while (n == max);
    assert_false(zs_waiter_hinted(w));
}

static void test_more_than_fit(void **state)
{
    struct zs_waiter *w = new_waiter(*state);
    bool *seen = calloc(ZS_WAITER_SLOTS, sizeof *seen);
    for (uint32_t i = 0; i < SLOTS; i++)
        zs_waiter_hint(w, i * 87);
    take(w, seen, 7);
    for (uint32_t i = 0; i < ZS_WAITER_SLOTS; i++)
        assert_int_equal(seen[i], i % 87 == 0 && i / 87 < SLOTS);
    free(seen);
}

/* The queue's counts go on over 32 bits, its laps over their bits. */
static void test_counts_wrap(void **state)
{
    struct zs_waiter *w = new_waiter(*state);
    const uint32_t from = UINT32_MAX - 10 * ZS_HINTS - 17;
    uint32_t slots[2];
    for (uint32_t i = from - ZS_HINTS; i != from; i++)
        w->recent[i % ZS_HINTS] = ZS_HINT_LAP(i);
    w->recent_tail = w->recent_head = w->recent_taken = from;
    assert_false(zs_waiter_hinted(w));
    for (uint32_t i = 0; i < 20 * ZS_HINTS; i++) {
        zs_waiter_hint(w, i % SLOTS);
        assert_int_equal(atomic_load(&w->top), 0); /* never by a bit */
        assert_int_equal(zs_waiter_harvest(w, slots, 2), 1);
        assert_int_equal(slots[0], i % SLOTS);
        assert_true(zs_waiter_settle(w));
    }
    assert_int_equal(w->recent_tail, from + 20 * ZS_HINTS);
}

/* A producer that died between its entry and the count. */
static void test_producer_dies(void **state)
{
    struct zs_waiter *w = new_waiter(*state);
    uint32_t slots[4];
    w->recent[0] = ZS_HINT_LAP(0) | 5;
    assert_true(zs_waiter_settle(w));
    assert_int_equal(zs_waiter_harvest(w, slots, 4), 1);
    assert_int_equal(slots[0], 5);
    assert_true(zs_waiter_settle(w)); /* the count lags by one */
    zs_waiter_hint(w, 6);
    assert_int_equal(zs_waiter_harvest(w, slots, 4), 1);
    assert_int_equal(slots[0], 6);
    assert_int_equal(w->recent_tail, 2);
}

/* Any value in the queue's words: what was hinted at is found before a sleep, and hints go on. */
static void test_stray_writes(void **state)
{
    struct fixture *f = *state;
    struct zs_waiter *w = new_waiter(f);
    bool *seen = calloc(ZS_WAITER_SLOTS, sizeof *seen);
    uint64_t random = 88172645463325252u;
    for (int round = 0; round < 40; round++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        _Atomic uint32_t *words[] = {&w->recent_tail, &w->recent_head, &w->recent_taken, &w->recent[random % ZS_HINTS]};
        *words[round % 4] = round % 8 < 4 ? (uint32_t)(random >> 32) : *words[round % 4] + (uint32_t)(random >> 60);
        zs_waiter_hint(w, 4242);
        zs_waiter_settle(w);
        memset(seen, 0, ZS_WAITER_SLOTS * sizeof *seen);
        take(w, seen, 256);
        assert_true(seen[4242]);
    }
    free(seen);
    uint32_t index = (uint32_t)(w - f->arena->waiter);
    zs_waiter_free(&f->b, index);
    assert_false(zs_waiter_hinted(w));
}

struct race {
    struct zs_waiter *w;
    _Atomic uint32_t published[SLOTS], running;
};

static void *produce(void *arg)
{
    struct race *r = arg;
    uint32_t random = (uint32_t)atomic_fetch_add(&r->running, 1) * 2654435761u + 1;
    for (int i = 0; i < HINTS_EACH; i++) {
        random = random * 1664525u + 1013904223u;
        uint32_t slot = (random >> 8) % SLOTS;
        atomic_fetch_add(&r->published[slot], 1);
        zs_waiter_hint(r->w, slot);
    }
    atomic_fetch_sub(&r->running, 1 << 16);
    return NULL;
}

/* What is read on a hint is at least what was published before it: at the end, everything. */
static void test_nothing_is_lost(void **state)
{
    struct race *r = calloc(1, sizeof *r);
    uint32_t *read = calloc(SLOTS, sizeof *read), slots[64];
    pthread_t threads[PRODUCERS];
    r->w = new_waiter(*state);
    atomic_store(&r->running, PRODUCERS << 16);
    for (int i = 0; i < PRODUCERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, produce, r), 0);
    for (bool last = false;; last = atomic_load(&r->running) >> 16 == 0) {
        uint32_t n;
        do {
            n = zs_waiter_harvest(r->w, slots, 64);
            for (uint32_t i = 0; i < n; i++)
                read[slots[i]] = atomic_load(&r->published[slots[i]]);
        } while (n == 64);
        assert_true(zs_waiter_settle(r->w));
        if (last && !zs_waiter_hinted(r->w))
            break;
    }
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(threads[i], NULL);
    for (uint32_t i = 0; i < SLOTS; i++)
        assert_int_equal(read[i], atomic_load(&r->published[i]));
    free(read);
    free(r);
}

#define T(f) cmocka_unit_test_setup_teardown(f, fixture_up, fixture_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_taken_in_order), T(test_more_than_fit), T(test_counts_wrap),
        T(test_producer_dies),  T(test_stray_writes),  T(test_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
