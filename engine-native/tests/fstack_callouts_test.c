/* SPDX-License-Identifier: BSD-3-Clause
 * The ticks at which FreeBSD's timers may be due, against a plain list of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "callouts.h"

#define MOST 8000u

static struct callouts c;

static uint64_t rnd(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    return *seed ^= *seed << 17;
}

/* Every marked tick is told, none that is not, whatever the word boundaries; beyond `most` that one is. */
static void test_each_is_told(void **state)
{
    static const uint64_t starts[] = {0, 62, 63, 64, CALLOUT_TICKS - 1, CALLOUT_TICKS, 5 * (uint64_t)CALLOUT_TICKS - 3};
    static const uint64_t ahead[] = {1, 2, 63, 64, 65, 128, 4000, MOST - 1, MOST};
    (void)state;
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        uint64_t now = starts[i];
        memset(&c, 0, sizeof c);
        assert_int_equal(callouts_next(&c, now, MOST), now + MOST);
        for (size_t k = 0; k < sizeof ahead / sizeof ahead[0]; k++)
            callouts_mark(&c, now, now + ahead[k]);
        for (size_t k = 0; k < sizeof ahead / sizeof ahead[0]; k++) {
            uint64_t next = callouts_next(&c, now, MOST);
            assert_int_equal(next, starts[i] + ahead[k]);
            while (now < next)
                callouts_come(&c, ++now);
        }
        assert_int_equal(callouts_next(&c, now, MOST), now + MOST);
    }
}

/* Driven by callouts_next() alone, callouts that are set anew when they come are met at their ticks. */
static void test_periodic(void **state)
{
    uint64_t seed = 7, now = CALLOUT_TICKS - 1000, due[20], period[20], met = 0;
    (void)state;
    memset(&c, 0, sizeof c);
    for (size_t i = 0; i < 20; i++) {
        period[i] = 1 + rnd(&seed) % 20000;
        callouts_mark(&c, now, due[i] = now + period[i]);
    }
    for (unsigned round = 0; round < 20000; round++) {
        uint64_t next = callouts_next(&c, now, MOST);
        assert_true(next > now && next <= now + MOST);
        while (now < next)
            callouts_come(&c, ++now);
        for (size_t i = 0; i < 20; i++) {
            assert_true(due[i] >= now);
            if (due[i] != now)
                continue;
            met++;
            callouts_mark(&c, now, due[i] = now + period[i]);
        }
    }
    assert_true(met > 1000);
}

/* What is past, or farther than there are bits, is no other tick's. */
static void test_bounds(void **state)
{
    uint64_t now = 1000;
    (void)state;
    memset(&c, 0, sizeof c);
    callouts_mark(&c, now, now);
    callouts_mark(&c, now, now - 1);
    callouts_mark(&c, now, now + CALLOUT_TICKS);
    callouts_mark(&c, now, now + CALLOUT_TICKS + 5);
    assert_int_equal(callouts_next(&c, now, MOST), now + MOST);
    callouts_mark(&c, now, now + CALLOUT_TICKS - 1);
    assert_int_equal(callouts_next(&c, now, CALLOUT_TICKS), now + CALLOUT_TICKS - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_is_told),
        cmocka_unit_test(test_periodic),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
