/* SPDX-License-Identifier: BSD-3-Clause
 * The timing wheel against a plain list, over distances from one tick to weeks. */
#include "net_wire.h"

struct probe {
    struct wheel_timer timer; /* first */
    uint64_t due, fired;
};
static uint64_t clock_now;

static void fire(void *ctx, struct wheel_timer *t)
{
    struct probe *p = (struct probe *)t;
    (*(unsigned *)ctx)++;
    assert_true(clock_now >= p->due);
    p->fired = clock_now;
}

/* Driven by wheel_next() alone, every timer fires within a tick of its time. */
static void test_on_time(void **state)
{
    static const uint64_t ranges[] = {5 * MS, 300 * MS, 70 * SEC, 20000 * SEC, 3000000 * SEC};
    static struct wheel w;
    static struct probe p[500];
    uint64_t seed = 5;
    (void)state;
    for (size_t r = 0; r < RTE_DIM(ranges); r++) {
        unsigned fired = 0, calls = 0;
        clock_now = rnd(&seed) % (1000 * SEC);
        wheel_init(&w, clock_now);
        for (size_t i = 0; i < RTE_DIM(p); i++) {
            p[i] = (struct probe){.timer.fire = fire, .due = clock_now + rnd(&seed) % ranges[r]};
            wheel_arm(&w, &p[i].timer, p[i].due);
        }
        for (size_t i = 0; i < RTE_DIM(p); i += 5)
            wheel_disarm(&w, &p[i].timer);
        for (uint64_t next; (next = wheel_next(&w)) != WHEEL_NEVER; calls++) {
            assert_true(next > clock_now - WHEEL_TICK_NS);
            clock_now = next;
            wheel_run(&w, clock_now, &fired);
        }
        assert_int_equal(fired, 400);
        assert_true(calls <= WHEEL_LEVELS * 400);
        for (size_t i = 0; i < RTE_DIM(p); i++)
            assert_true(i % 5 == 0 ? p[i].fired == 0 : p[i].fired < p[i].due + 2 * WHEEL_TICK_NS);
    }
}

static void test_rearm(void **state)
{
    static struct wheel w;
    unsigned fired = 0;
    struct probe p = {.timer.fire = fire, .due = 900 * MS};
    (void)state;
    clock_now = 0;
    wheel_init(&w, 0);
    assert_true(wheel_next(&w) == WHEEL_NEVER);
    wheel_arm(&w, &p.timer, 10 * MS);
    wheel_arm(&w, &p.timer, 900 * MS); /* moved */
    for (clock_now = 0; clock_now < 899 * MS; clock_now += 7 * MS)
        wheel_run(&w, clock_now, &fired);
    assert_int_equal(fired, 0);
    clock_now = 901 * MS;
    wheel_run(&w, clock_now, &fired);
    assert_int_equal(fired, 1);
    assert_int_equal(w.armed, 0);
    wheel_disarm(&w, &p.timer); /* harmless */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_on_time), cmocka_unit_test(test_rearm)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
