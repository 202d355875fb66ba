/* SPDX-License-Identifier: BSD-3-Clause
 * Opening and its enemies, segment by segment: SYN cookies, the bound of half-open connections, TIME-WAIT and its reuse, the
 * options that tell in the handshake. tcp_script.h has the notation. And the numbers that nobody may guess. */
#include "tcp_cases.h"

#define SYN_SACK_WS "< S 0:0(0) win 65535 <mss 1460,sackOK,ws 7,ts 100 0>"
/* Peer 1 takes the one place that a listener has. */
#define FLOODED "listen 1", "as 1", SYN_IN, "> S. 0:0(0) ack 1", "as 0"

/* ---- SYN cookies ---- */
CASE(cookie_answers_when_the_queue_is_full, FLOODED, SYN_IN, "> S. 0:0(0) ack 1 win 65535 <mss 1460>", "count tcp_cookie_tx 1",
     "count tcp_syn_queue_full 1", "state CLOSED")
CASE(cookie_opens_the_connection, FLOODED, SYN_IN, "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1", "state ESTABLISHED", "count tcp_cookie_ok 1",
     "count tcp_opened_passive 1", "write 100", "> P. 1:101(100) ack 1")
CASE(cookie_takes_data_with_its_ack, FLOODED, SYN_IN, "> S. 0:0(0) ack 1", "< P. 1:101(100) ack 1", "state ESTABLISHED", "read 100",
     "+41", "> . 1:1(0) ack 101")
CASE(cookie_takes_data_whose_ack_was_lost, FLOODED, SYN_IN, "> S. 0:0(0) ack 1", "+5000", "> S. 0:0(0) ack 1 win 65535 <mss 1460> to 1",
     "> S. 0:0(0) ack 1 win 65535 <mss 1460> to 1", "< P. 1:101(100) ack 1", "state ESTABLISHED", "read 100", "+41",
     "> . 1:1(0) ack 101")
CASE(cookie_rounds_the_mss_down, FLOODED, "< S 0:0(0) win 65535 <mss 1399>", "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1", "write 1400",
     "> . 1:1301(1300)", "< . 1:1(0) ack 1301", "> P. 1301:1401(100)")
CASE(cookie_keeps_a_small_mss, FLOODED, "< S 0:0(0) win 65535 <mss 70>", "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1", "write 64",
     "> P. 1:65(64)")
CASE(cookie_without_timestamps_offers_no_more, FLOODED, "< S 0:0(0) win 65535 <mss 1460,sackOK,ws 7>",
     "> S. 0:0(0) ack 1 win 65535 <mss 1460>", "< . 1:1(0) ack 1 win 1000", "write 1460", "> . 1:1001(1000)")
CASE(cookie_with_timestamps_keeps_the_options, FLOODED, SYN_SACK_WS, "> S. 0:0(0) ack 1 win 65535", "< . 1:1(0) ack 1 win 512 <ts 101 0>",
     "state ESTABLISHED", "write 1448", "> P. 1:1449(1448)", "< . 101:201(100) ack 1449 win 512 <ts 102 0>", "> . 1449:1449(0) ack 1")
CASE(cookie_scale_comes_back_in_the_timestamp, FLOODED, "< S 0:0(0) win 65535 <mss 1460,sackOK,ws 2,ts 100 0>", "> S. 0:0(0) ack 1",
     "< . 1:1(0) ack 1 win 500 <ts 101 0>", "write 2100", "> . 1:1449(1448)", "< . 1:1(0) ack 1449 win 500 <ts 102 0>", "> P. 1449:2101(652)")
CASE(guessed_cookie_is_refused, FLOODED, SYN_IN, "> S. 0:0(0) ack 1", "< . 1:1(0) ack 2", "> R 2:2(0)", "< . 1:1(0) ack 65537", "> R 65537:65537(0)",
     "count tcp_cookie_bad 2", "state CLOSED")
CASE(cookie_is_of_one_connection, FLOODED, SYN_IN, "> S. 0:0(0) ack 1", "< . 2:2(0) ack 1", "> R 1:1(0)", "count tcp_cookie_bad 1", "state CLOSED")
CASE(old_cookie_is_refused, FLOODED, SYN_IN, "> S. 0:0(0) ack 1", "as 1", "< R 1:1(0)", "as 0", "+127999", "< . 1:1(0) ack 1", "> R 1:1(0)",
     "count tcp_cookie_bad 1", "state CLOSED")
CASE(much_older_cookie_is_not_looked_at, FLOODED, SYN_IN, "> S. 0:0(0) ack 1", "as 1", "< R 1:1(0)", "as 0", "+128001",
     "< . 1:1(0) ack 1", "> R 1:1(0)", "count tcp_cookie_bad 0", "count tcp_no_connection 1")
CASE(no_cookie_is_believed_where_none_was_sent, "listen", "< . 1:1(0) ack 1", "> R 1:1(0)", "count tcp_cookie_bad 0")
CASE(cookie_waits_for_room_to_accept, FLOODED, SYN_IN, "> S. 0:0(0) ack 1", "accept later", "< . 1:1(0) ack 1", "count tcp_accept_full 1", "accept ok",
     "< P. 1:11(10) ack 1", "state ESTABLISHED", "read 10", "+41", "> . 1:1(0) ack 11")
CASE(place_in_the_queue_is_free_again, FLOODED, "as 1", "< R 1:1(0)", "as 0", SYN_IN, "> S. 0:0(0) ack 1", "count tcp_cookie_tx 0",
     "< . 1:1(0) ack 1", "state ESTABLISHED")
CASE(syn_queue_is_bounded, "listen 2", "as 1", SYN_IN, "> S. 0:0(0) ack 1", "as 2", SYN_IN, "> S. 0:0(0) ack 1", "as 3", SYN_IN, "> S. 0:0(0) ack 1",
     "as 4", SYN_IN, "> S. 0:0(0) ack 1", "count tcp_cookie_tx 2", "as 3", "< . 1:1(0) ack 1", "state ESTABLISHED")

/* ---- Half-open ---- */
CASE(syn_ack_is_given_up, "listen", SYN_IN, "> S. 0:0(0) ack 1", "+63000", "> S. 0:0(0)", "> S. 0:0(0)", "> S. 0:0(0)", "> S. 0:0(0)",
     "> S. 0:0(0)", "+100", "gone", "count tcp_timed_out 1")
CASE(syncnt_bounds_the_syn, "option syncnt 2", "connect", "> S 0:0(0)", "+7100", "> S 0:0(0)", "> S 0:0(0)", "error 110", "gone")
CASE(syncnt_bounds_the_syn_ack, "option syncnt 1", "listen", SYN_IN, "> S. 0:0(0)", "+3100", "> S. 0:0(0)", "gone")
CASE(maxseg_is_announced, "option maxseg 1000", "connect", "> S 0:0(0) win 65535 <mss 1000,ws 7,sackOK,ts 0 0>",
     "< S. 0:0(0) ack 1 win 65535 <mss 1460>", "> . 1:1(0) ack 1", "write 1500", "> . 1:1001(1000)", "< . 1:1(0) ack 1001", "> P. 1001:1501(500)")
CASE(maxseg_of_the_listener_is_announced, "option maxseg 700", "listen", SYN_IN, "> S. 0:0(0) ack 1 win 65535 <mss 700>", "< . 1:1(0) ack 1",
     "write 800", "> . 1:701(700)", "< . 1:1(0) ack 701", "> P. 701:801(100)")

/* ---- TCP_DEFER_ACCEPT ---- */
CASE(deferred_accept_waits_for_data, "option defer 2", "listen", SYN_IN, "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1", "state CLOSED",
     "count tcp_deferred 1", "< P. 1:11(10) ack 1", "state ESTABLISHED", "read 10", "+41", "> . 1:1(0) ack 11")
CASE(deferred_accept_ends_with_the_wait, "option defer 2", "listen", SYN_IN, "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1", "+2990", "+20", "> S. 0:0(0) ack 1",
     "< . 1:1(0) ack 1", "state ESTABLISHED", "count tcp_deferred 1")
CASE(deferred_accept_takes_a_fin, "option defer 2", "listen", SYN_IN, "> S. 0:0(0) ack 1", "< F. 1:1(0) ack 1", "> . 1:1(0) ack 2", "state CLOSE-WAIT", "eof")
CASE(deferred_accept_outlives_the_retries, "option defer 8", "listen", SYN_IN, "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1", "+100000", "state CLOSED",
     "< P. 1:11(10) ack 1", "state ESTABLISHED", "read 10", "+41", "> . 1:1(0) ack 11")

/* ---- TIME-WAIT ---- */
#define OPEN_TS "listen", "< S 0:0(0) win 65535 <mss 1460,ts 100 0>", "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1 <ts 101 0>"
#define TIME_WAIT_TS OPEN_TS, "close", "> F. 1:1(0) ack 1", "< F. 1:1(0) ack 2 <ts 102 0>", "> . 2:2(0) ack 2", "state TIME-WAIT"
CASE(time_wait_gives_way_to_a_later_timestamp, TIME_WAIT_TS, "< S 0:0(0) win 65535 <mss 1460,ts 103 0>", "> S. 65539:65539(0) ack 1",
     "count tcp_time_wait_reused 1", "< . 1:1(0) ack 65540 <ts 104 0>", "state ESTABLISHED")
CASE(time_wait_stays_for_an_older_timestamp, TIME_WAIT_TS, "< S 5000:5000(0) win 65535 <mss 1460,ts 50 0>", "> . 2:2(0) ack 2",
     "state TIME-WAIT", "count tcp_time_wait_reused 0", "count tcp_paws 1")
CASE(time_wait_same_timestamp_goes_by_the_sequence, TIME_WAIT_TS, "< S 1:1(0) win 65535 <mss 1460,ts 102 0>", "> . 2:2(0) ack 2",
     "< S 5000:5000(0) win 65535 <mss 1460,ts 102 0>", "> S. 65539:65539(0) ack 5001", "count tcp_time_wait_reused 1")
CASE(time_wait_stays_for_an_old_syn, OPEN, "close", "> F. 1:1(0) ack 1", "< F. 1:1(0) ack 2", "> . 2:2(0) ack 2", "< S 0:0(0)", "> . 2:2(0) ack 2",
     "state TIME-WAIT", "count tcp_time_wait_reused 0")
CASE(time_wait_without_listener_answers_a_syn, "connect", "> S 0:0(0)", "< S. 0:0(0) ack 1 win 65535 <mss 1460>", "> . 1:1(0) ack 1", "close",
     "> F. 1:1(0) ack 1", "< F. 1:1(0) ack 2", "> . 2:2(0) ack 2", "< S 5000:5000(0)", "> . 2:2(0) ack 2", "state TIME-WAIT")
CASE(connect_replaces_time_wait_with_timestamps, TIME_WAIT_TS, "+1001", "connect", "> S 250250:250250(0)", "state SYN-SENT", "count tcp_time_wait_reused 1")
CASE(time_wait_ignores_data, OPEN, "close", "> F. 1:1(0) ack 1", "< F. 1:1(0) ack 2", "> . 2:2(0) ack 2", "< P. 2:12(10) ack 2", "> . 2:2(0) ack 2",
     "state TIME-WAIT")

/* ---- RFC 6528, 6056, 7323 5.4: what is hashed ---- */

static struct stack *hash_stack(const char *name, uint8_t key)
{
    struct stack *st = bed_stack(&bed, name, SEC);
    memset(st->conf.key, key, sizeof st->conf.key);
    return st;
}

static void test_isn_is_a_keyed_hash_and_a_clock(void **state)
{
    struct tcp_flow a = {HOST(0), HOST(1), RTE_BE16(80), RTE_BE16(4000)}, b = a;
    struct stack *one = hash_stack("one", 1), *two = hash_stack("two", 2);
    (void)state;
    b.remote_port = RTE_BE16(4001);
    assert_int_equal(tcp_isn(one, &a, SEC), tcp_isn(one, &a, SEC));
    assert_int_equal((uint32_t)(tcp_isn(one, &a, 2 * SEC) - tcp_isn(one, &a, SEC)), 250000); /* one in 4 microseconds */
    assert_int_not_equal(tcp_isn(one, &a, SEC), tcp_isn(one, &b, SEC));
    assert_int_not_equal(tcp_isn(one, &a, SEC), tcp_isn(two, &a, SEC));
    uint32_t low = 0; /* flows that differ little have numbers that differ in every bit */
    for (uint16_t port = 1; port <= 64; port++) {
        b.remote_port = rte_cpu_to_be_16(port);
        low |= tcp_isn(one, &a, SEC) ^ tcp_isn(one, &b, SEC);
    }
    assert_int_equal(low, UINT32_MAX);
    stack_destroy(one);
    stack_destroy(two);
}

/* The port of a connection to host, its SYN unanswered; closed again. */
static uint16_t port_to(struct stack *st, int host)
{
    struct sock s = {0};
    struct tcp_flow flow = {.local_ip = ANY4, .remote_ip = HOST(host), .remote_port = RTE_BE16(80)};
    sock_open(&bed, &s);
    assert_int_equal(tcp_connect(st, flow, s.own, &sock_ops, &s, SEC, &s.conn), 0);
    uint16_t port = rte_be_to_cpu_16(tcp_conn_flow(s.conn)->local_port);
    sock_close(&s, false, SEC);
    return port;
}

static void test_ports_differ_by_destination_and_key(void **state)
{
    static struct capture cap[2];
    uint32_t same = 0, keys = 0;
    (void)state;
    struct stack *st[2] = {hash_stack("one", 1), hash_stack("two", 2)};
    for (int i = 0; i < 2; i++) {
        cap[i].describe = NULL;
        bed_port(&bed, st[i], &capture_ops, &cap[i], 0, 0, 1500, SEC);
    }
    for (int host = 1; host < 21; host++) {
        uint16_t first = port_to(st[0], host), other = port_to(st[1], host);
        assert_in_range(first, 32768, 60999);
        assert_int_not_equal(first, port_to(st[0], host)); /* the next one is another */
        same += first == port_to(st[0], host + 20);
        keys += first == other;
    }
    assert_in_range(same, 0, 2);
    assert_in_range(keys, 0, 2);
    for (int i = 0; i < 2; i++) {
        stack_destroy(st[i]);
        capture_clear(&cap[i]);
    }
    bed_check_empty(&bed);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(cookie_answers_when_the_queue_is_full), T(cookie_opens_the_connection), T(cookie_takes_data_with_its_ack),
        T(cookie_takes_data_whose_ack_was_lost), T(cookie_rounds_the_mss_down), T(cookie_keeps_a_small_mss),
        T(cookie_without_timestamps_offers_no_more), T(cookie_with_timestamps_keeps_the_options),
        T(cookie_scale_comes_back_in_the_timestamp), T(guessed_cookie_is_refused), T(cookie_is_of_one_connection),
        T(old_cookie_is_refused), T(much_older_cookie_is_not_looked_at), T(no_cookie_is_believed_where_none_was_sent),
        T(cookie_waits_for_room_to_accept), T(place_in_the_queue_is_free_again), T(syn_queue_is_bounded), T(syn_ack_is_given_up),
        T(syncnt_bounds_the_syn), T(syncnt_bounds_the_syn_ack), T(maxseg_is_announced), T(maxseg_of_the_listener_is_announced),
        T(deferred_accept_waits_for_data), T(deferred_accept_ends_with_the_wait), T(deferred_accept_takes_a_fin),
        T(deferred_accept_outlives_the_retries), T(time_wait_gives_way_to_a_later_timestamp),
        T(time_wait_stays_for_an_older_timestamp), T(time_wait_same_timestamp_goes_by_the_sequence),
        T(time_wait_stays_for_an_old_syn), T(time_wait_without_listener_answers_a_syn),
        T(connect_replaces_time_wait_with_timestamps), T(time_wait_ignores_data),
    };
    const struct CMUnitTest numbers[] = {T(test_isn_is_a_keyed_hash_and_a_clock), T(test_ports_differ_by_destination_and_key)};
    cases_begin(argc, argv);
    int failed = cmocka_run_group_tests_name("numbers", numbers, NULL, NULL);
    return failed + RUN_BOTH_PROTOCOLS(tests);
}
