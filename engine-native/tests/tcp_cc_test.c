/* SPDX-License-Identifier: BSD-3-Clause
 * Congestion control: what it makes of losses, segment by segment, and CUBIC's window over time beside the formulas of RFC
 * 9438. */
#include "tcp_cases.h"
#include "tcp_conn.h"

#define FOUR_AND_A_LOSS                                                                                                       \
    "write 14600", TEN_SEGMENTS, LAST_OF_TEN, "< . 1:1(0) ack 1 <sack 1461-14601>", "> . 1:1461(1460)",                       \
        "< . 1:1(0) ack 14601", "write 29200"

CASE(reno_halves, OPEN_SACK, "option reno", FOUR_AND_A_LOSS, "> . 14601:16061(1460)", "> . 16061:17521(1460)",
     "> . 17521:18981(1460)", "> . 18981:20441(1460)", "> . 20441:21901(1460)")
CASE(cubic_goes_to_seven_tenths, OPEN_SACK, FOUR_AND_A_LOSS, "> . 14601:16061(1460)", "> . 16061:17521(1460)",
     "> . 17521:18981(1460)", "> . 18981:20441(1460)", "> . 20441:21901(1460)", "> . 21901:23361(1460)", "> . 23361:24821(1460)")
CASE(congestion_control_may_change, OPEN_SACK, "option reno", "option cubic", FOUR_AND_A_LOSS, "> . 14601:16061(1460)",
     "> . 16061:17521(1460)", "> . 17521:18981(1460)", "> . 18981:20441(1460)", "> . 20441:21901(1460)", "> . 21901:23361(1460)",
     "> . 23361:24821(1460)", "option reno", "< . 1:1(0) ack 14601 <sack 16061-24821>", "> . 14601:16061(1460)",
     "> . 24821:26281(1460)", "> . 26281:27741(1460)", "< . 1:1(0) ack 24821", "> . 27741:29201(1460)")
CASE(reno_grows_by_a_segment, OPEN_SACK, "option reno", FOUR_AND_A_LOSS, "> . 14601:16061(1460)", "> . 16061:17521(1460)",
     "> . 17521:18981(1460)", "> . 18981:20441(1460)", "> . 20441:21901(1460)", "< . 1:1(0) ack 17521", "> . 21901:23361(1460)",
     "> . 23361:24821(1460)", "< . 1:1(0) ack 21901", "> . 24821:26281(1460)", "> . 26281:27741(1460)", "> . 27741:29201(1460)",
     "> . 29201:30661(1460)")
CASE(unused_window_does_not_grow, OPEN, "write 1460", "> P. 1:1461(1460)", "< . 1:1(0) ack 1461", "write 1460",
     "> P. 1461:2921(1460)", "< . 1:1(0) ack 2921", "write 1460", "> P. 2921:4381(1460)", "< . 1:1(0) ack 4381", "write 29200",
     "> . 4381:5841(1460)", "> . 5841:7301(1460)", "> . 7301:8761(1460)", "> . 8761:10221(1460)", "> . 10221:11681(1460)",
     "> . 11681:13141(1460)", "> . 13141:14601(1460)", "> . 14601:16061(1460)", "> . 16061:17521(1460)", "> . 17521:18981(1460)")
CASE(window_starts_again_after_rest, OPEN, "write 14600", TEN_SEGMENTS, LAST_OF_TEN, "< . 1:1(0) ack 5841",
     "< . 1:1(0) ack 14601", "+1000", "write 29200", "> . 14601:16061(1460)", "> . 16061:17521(1460)", "> . 17521:18981(1460)",
     "> . 18981:20441(1460)", "> . 20441:21901(1460)", "> . 21901:23361(1460)", "> . 23361:24821(1460)", "> . 24821:26281(1460)",
     "> . 26281:27741(1460)", "> . 27741:29201(1460)")
CASE(slow_start_doubles, OPEN, "write 43800", TEN_SEGMENTS, TENTH, "< . 1:1(0) ack 2921", "> . 14601:16061(1460)",
     "> . 16061:17521(1460)", "> . 17521:18981(1460)", "> . 18981:20441(1460)")

/* ---- CUBIC beside the formulas ---- */

/* Segments after `s` seconds of an epoch that began at cwnd, in congestion avoidance, round trip `rtt`. */
static double cubed(double x)
{
    return x * x * x;
}

static double root3(double x)
{
    double r = x > 1 ? x : 1;
    for (int i = 0; i < 200; i++)
        r = (2 * r + x / (r * r)) / 3;
    return x <= 0 ? 0 : r;
}

static struct stack fake;

static void grow(struct tcp_conn *c, double seconds, uint64_t rtt)
{
    uint64_t end = fake.now + (uint64_t)(seconds * 1e9);
    while (fake.now < end) { /* every second segment is acknowledged, evenly over the round trip */
        uint32_t acks = RTE_MAX(c->cwnd / (2u * c->mss), 1u);
        for (uint32_t i = 0; i < acks; i++) {
            fake.now += rtt / acks;
            c->cc->acked(c, 2u * c->mss);
        }
    }
}

static struct tcp_conn after_loss(uint32_t segments, uint64_t rtt)
{
    static struct tcp_send sending;
    struct tcp_conn c = {.st = &fake, .mss = 1448, .cc = &tcp_cubic, .srtt_us = (uint32_t)(rtt / 1000), .send = &sending};
    fake.now = SEC;
    c.cc->init(&c);
    c.cwnd = segments * 1448;
    c.cc->lost(&c, c.cwnd);
    c.cwnd = c.ssthresh;
    return c;
}

static void test_cubic_region(void **state)
{
    (void)state;
    /* Large windows over long ways, where Reno would be slower. */
    for (uint32_t w = 500; w <= 8000; w *= 2) {
        struct tcp_conn c = after_loss(w, 100 * MS);
        double k = root3(w * 0.3 / 0.4), t = 0;
        assert_true(c.cubic_max == w * 1448 && c.ssthresh / 1448 == w * 7 / 10);
        for (int i = 0; i < 60; i++) {
            grow(&c, 0.5, 100 * MS);
            t = (double)(fake.now - SEC) / 1e9;
            double want = 0.4 * cubed(t - k) + w, is = c.cwnd / 1448.0;
            /* A window aims at a round trip later, and grows by half of itself at most. */
            if (t < k + 8 && (is < want * 0.97 - 2 || is > want * 1.05 + 2))
                fail_msg("after a loss at %u, %.1f s: %.1f segments, not %.1f", w, t, is, want);
        }
        assert_true(c.send->cubic.k_ms + 2 > (uint32_t)(k * 1000) && c.send->cubic.k_ms < (uint32_t)(k * 1000) + 2);
    }
}

static void test_friendly_region(void **state)
{
    (void)state;
    /* Small windows over short ways: 3 (1 - 0.7) / (1 + 0.7) of a segment per round trip until the window before the loss is
     * reached (RFC 9438 4.3), then a whole one. */
    struct tcp_conn c = after_loss(40, 10 * MS);
    grow(&c, 0.2, 10 * MS); /* 20 round trips: 28 + 10.6 */
    assert_in_range(c.cwnd / 1448, 37, 40);
    grow(&c, 0.3, 10 * MS);
    assert_in_range(c.cwnd / 1448, 62, 70);
}

static void test_fast_convergence(void **state)
{
    (void)state;
    struct tcp_conn c = after_loss(1000, 100 * MS);
    c.cc->lost(&c, c.cwnd); /* again, at 700: below where it was */
    assert_in_range(c.cubic_max / 1448, 594, 595);
    assert_in_range(c.ssthresh / 1448, 489, 490);
}

static void test_idle_is_no_growth(void **state)
{
    (void)state;
    struct tcp_conn c = after_loss(1000, 100 * MS);
    grow(&c, 0.2, 100 * MS);
    uint32_t before = c.cwnd;
    fake.now += 60 * SEC;
    c.cc->idle(&c);
    c.cc->acked(&c, 2 * 1448);
    assert_true(c.cwnd - before < 2 * 1448);
}

static void test_floor(void **state)
{
    (void)state;
    struct tcp_conn c = after_loss(2, 10 * MS);
    assert_int_equal(c.ssthresh, 2 * 1448);
    grow(&c, 30, 1000 * MS);
    assert_true(c.cwnd > 1000u * 1448);
    uint32_t before = c.cwnd;
    fake.now += 36000 * SEC; /* hours without a loss: no arithmetic runs over */
    c.cc->acked(&c, 2 * 1448);
    assert_in_range(c.cwnd, before, before * 3u / 2);
}

static void test_long_without_loss(void **state)
{
    (void)state;
    /* Without SACK duplicates count as a new loss beyond `recover` only (RFC 6582 3.2 (2)), also when that lies 2 GiB back. */
    struct tcp_conn c = after_loss(100, 10 * MS);
    c.recover = c.snd_una = c.snd_max = seq(0xfffff000u);
    for (int i = 0; i < 5000; i++) { /* near 5 GiB */
        c.snd_una = c.snd_max = seq_add(c.snd_una, 1u << 20);
        tcp_recovery_ack(&c, c.snd_una, 1u << 20);
        assert_true(seq_gt(c.snd_una, c.recover));
    }
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(tcp_cc_find(NULL)->name, "cubic");
    assert_string_equal(tcp_cc_find("reno")->name, "reno");
    assert_null(tcp_cc_find("bbr"));
    assert_null(tcp_cc_find(""));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(reno_halves), T(cubic_goes_to_seven_tenths), T(congestion_control_may_change), T(reno_grows_by_a_segment),
        T(unused_window_does_not_grow), T(window_starts_again_after_rest), T(slow_start_doubles), T(test_cubic_region),
        T(test_friendly_region), T(test_fast_convergence), T(test_idle_is_no_growth), T(test_floor), T(test_long_without_loss), T(test_names),
    };
    cases_begin(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
