/* SPDX-License-Identifier: BSD-3-Clause
 * Losses found by time, tail loss probes (RFC 8985), timeouts and recoveries that were none (RFC 5682, 3522, 3708, 4015), segment
 * by segment. */
#include "tcp_cases.h"

#include "tcp_driver.h"

/* With SACK and timestamps, and a round trip of 20 ms. */
#define OPEN_RACK                                                                                                             \
    "listen", "< S 0:0(0) win 65535 <mss 1460,sackOK,ts 1 0>", "> S. 0:0(0) ack 1", "+20", "< . 1:1(0) ack 1 <ts 2 0>",       \
        "state ESTABLISHED"
#define FOUR "write 5792", "> . 1:1449(1448)", "> . 1449:2897(1448)", "> . 2897:4345(1448)", "> P. 4345:5793(1448)"
#define TEN                                                                                                                   \
    "> . 1:1449(1448)", "> . 1449:2897(1448)", "> . 2897:4345(1448)", "> . 4345:5793(1448)", "> . 5793:7241(1448)",           \
        "> . 7241:8689(1448)", "> . 8689:10137(1448)", "> . 10137:11585(1448)", "> . 11585:13033(1448)"

/* ---- RACK ---- */
CASE(rack_waits_a_quarter, OPEN_RACK, FOUR, "+20", "< . 1:1(0) ack 1 <ts 3 20,sack 1449-2897>", "+4", "+2", "> . 1:1449(1448)",
     "count tcp_fast_retransmit 1", "< . 1:1(0) ack 5793 <ts 4 46>", "+5000", "count tcp_rto 0")
CASE(rack_waits_not_for_three, OPEN_RACK, FOUR, "+20", "< . 1:1(0) ack 1 <ts 3 20,sack 1449-5793>", "> . 1:1449(1448)")
CASE(rack_takes_a_single_block, OPEN_RACK, "write 2896", "> . 1:1449(1448)", "> P. 1449:2897(1448)", "+20",
     "< . 1:1(0) ack 1 <ts 3 20,sack 1449-2897>", "+6", "> . 1:1449(1448)", "count tcp_rto 0")
CASE(reordering_is_no_loss, OPEN_RACK, FOUR, "+20", "< . 1:1(0) ack 1 <ts 3 20,sack 1449-2897>", "+3",
     "< . 1:1(0) ack 5793 <ts 4 20>", "+5000", "count tcp_fast_retransmit 0", "count tcp_retransmitted 0")
CASE(reordering_seen_makes_patient, OPEN_RACK, FOUR, "+20", "< . 1:1(0) ack 1 <ts 3 20,sack 1449-2897>", "+3",
     "< . 1:1(0) ack 5793 <ts 4 20>", "write 5792", "> . 5793:7241(1448)", "> . 7241:8689(1448)", "> . 8689:10137(1448)",
     "> P. 10137:11585(1448)", "+20", "< . 1:1(0) ack 5793 <ts 5 43,sack 7241-11585>", "+4", "+2", "> . 5793:7241(1448)")
CASE(duplicates_widen_the_window, OPEN_RACK, FOUR, "+20", "< . 1:1(0) ack 1 <ts 3 20,sack 1449-2897>", "+6", "> . 1:1449(1448)",
     "< . 1:1(0) ack 5793 <ts 4 20>", "< . 1:1(0) ack 5793 <ts 5 46,sack 1-1449>", "write 2896", "> . 5793:7241(1448)",
     "> P. 7241:8689(1448)", "+20",
     "< . 1:1(0) ack 5793 <ts 6 46,sack 7241-8689>", "+9", "+2", "> . 5793:7241(1448)")
CASE(lost_retransmission_is_found, OPEN_RACK, "option reno", "write 17376", TEN, "> . 13033:14481(1448)", "+20",
     "< . 1:1(0) ack 1 <ts 3 20,sack 1449-14481>", "> . 1:1449(1448)", "> . 14481:15929(1448)", "> P. 15929:17377(1448)", "+20",
     "< . 1:1(0) ack 1 <ts 4 40,sack 1449-15929>", "> . 1:1449(1448)", "count tcp_resent_lost 1", "count tcp_rto 0",
     "count tcp_fast_retransmit 1")
CASE(ack_of_the_original_is_not_of_the_copy, OPEN_RACK, FOUR, "+20", "< . 1:1(0) ack 1 <ts 3 20,sack 1449-2897>", "+6",
     "> . 1:1449(1448)", "+1", "< . 1:1(0) ack 1449 <ts 4 20,sack 1449-2897>", "+10", "count tcp_retransmitted 1")
CASE(both_holes_are_found_by_time, OPEN_RACK, FOUR, "+20", "< . 1:1(0) ack 1 <ts 3 20,sack 4345-5793>", "+6", "> . 1:1449(1448)",
     "+20", "< . 1:1(0) ack 1449 <ts 4 46,sack 4345-5793>", "> . 1449:2897(1448)", "> . 2897:4345(1448)")

/* A retransmission, new data, a retransmission and new data, in one turn: what left last tells of what left before it, and of nothing
 * else. */
#define IN_ONE_TURN                                                                                                           \
    OPEN_RACK, "option reno", "write 18824", TEN, "> . 13033:14481(1448)", "+20", "< . 1:1(0) ack 1 <ts 3 20,sack 1449-10137>",  \
        "> . 1:1449(1448)", "> . 14481:15929(1448)", "< . 1:1(0) ack 1 <ts 3 20,sack 11585-14481,1449-10137>",                   \
        "> . 10137:11585(1448)", "> . 15929:17377(1448)", "> P. 17377:18825(1448)", "+20"
CASE(turn_has_an_order, IN_ONE_TURN, "< . 1:1(0) ack 10137 <ts 4 40,sack 11585-15929>", "< . 1:1(0) ack 18825 <ts 4 40>", "+5000",
     "count tcp_retransmitted 2", "count tcp_resent_lost 0")
CASE(range_does_not_go_on_behind_a_retransmission, IN_ONE_TURN, "< . 1:1(0) ack 14481 <ts 4 40>", "+4", "+2", "> . 14481:15929(1448)",
     "< . 1:1(0) ack 18825 <ts 5 46>", "+5000", "count tcp_retransmitted 3")
CASE(newest_block_first_is_no_reordering, OPEN_RACK, "write 14480", TEN, "> P. 13033:14481(1448)", "+20",
     "< . 1:1(0) ack 1 <ts 3 20,sack 5793-7241,1449-4345>", "> . 1:1449(1448)", "> . 4345:5793(1448)")

/* 6.3: what was sent 1 ms before the timeout is not taken for lost with what was sent long before. */
CASE(rack_timeout_spares_the_latest, OPEN_RACK, "write 2896", "> . 1:1449(1448)", "> P. 1449:2897(1448)", "+41", "> P. 1449:2897(1448)", "+198",
     "write 1448", "> P. 2897:4345(1448)", "+2", "> . 1:1449(1448)", "count tcp_rto 1", "info lost 1", "info unacked 3", "+20",
     "< . 1:1(0) ack 4345 <ts 3 260>", "+5000", "count tcp_retransmitted 2")

/* ---- Tail loss probe ---- */
CASE(tail_is_probed, OPEN_RACK, "write 2896", "> . 1:1449(1448)", "> P. 1449:2897(1448)", "+39", "+3", "> P. 1449:2897(1448)",
     "count tcp_tail_probe 1", "count tcp_rto 0")
CASE(lone_segment_waits_for_a_delayed_ack, OPEN_RACK, "write 100", "> P. 1:101(100)", "+199", "+2", "> P. 1:101(100)",
     "count tcp_tail_probe 1", "count tcp_rto 0", "+201", "> P. 1:101(100)", "count tcp_rto 1")
CASE(probe_is_new_data, OPEN_RACK, "write 15928", TEN, "> . 13033:14481(1448)", "+41", "> P. 14481:15929(1448)",
     "count tcp_tail_probe 1")
CASE(probe_respects_the_window, OPEN_RACK, "< . 1:1(0) ack 1 win 2896 <ts 3 0>", "write 5000", "> . 1:1449(1448)",
     "> . 1449:2897(1448)", "+41", "> . 1449:2897(1448)")
CASE(probe_brings_recovery, OPEN_RACK, "write 2896", "> . 1:1449(1448)", "> P. 1449:2897(1448)", "+41", "> P. 1449:2897(1448)",
     "+20", "< . 1:1(0) ack 1 <ts 3 61,sack 1449-2897>", "> . 1:1449(1448)", "count tcp_fast_retransmit 1", "count tcp_rto 0")
CASE(one_probe_then_the_timeout, OPEN_RACK, "write 2896", "> . 1:1449(1448)", "> P. 1449:2897(1448)", "+41",
     "> P. 1449:2897(1448)", "+202", "> . 1:1449(1448)", "count tcp_tail_probe 1", "count tcp_rto 1")
CASE(repairing_probe_is_a_loss, OPEN_RACK, "write 2896", "> . 1:1449(1448)", "> P. 1449:2897(1448)", "+20",
     "< . 1:1(0) ack 1449 <ts 3 20>", "+202", "> P. 1449:2897(1448)", "+20", "< . 1:1(0) ack 2897 <ts 4 222>", "write 100",
     "> P. 2897:2997(100)", "< . 1:1(0) ack 2997 <ts 5 242>", "count tcp_probe_repaired 1")
CASE(needless_probe_is_no_loss, OPEN_RACK, "write 2896", "> . 1:1449(1448)", "> P. 1449:2897(1448)", "+41",
     "> P. 1449:2897(1448)", "< . 1:1(0) ack 2897 <ts 3 20>", "< . 1:1(0) ack 2897 <ts 4 61,sack 1449-2897>", "write 100",
     "> P. 2897:2997(100)", "< . 1:1(0) ack 2997 <ts 5 61>", "count tcp_probe_repaired 0")
CASE(acknowledged_tail_is_not_probed, OPEN_RACK, FOUR, "+20", "< . 1:1(0) ack 5793 <ts 3 20>", "+5000", "count tcp_tail_probe 0")
CASE(fin_is_probed, OPEN_RACK, "close", "> F. 1:1(0)", "+201", "> F. 1:1(0)", "count tcp_tail_probe 1", "< . 1:1(0) ack 2 <ts 3 20>",
     "state FIN-WAIT-2")
/* In recovery, too (RFC 9002 6.2): the acknowledgement of all that was on its way is lost. */
CASE(recovery_is_probed, OPEN_RACK, FOUR, "+20", "< . 1:1(0) ack 1 <ts 3 20,sack 1449-5793>", "> . 1:1449(1448)", "+39", "+3", "> . 1:1449(1448)",
     "count tcp_tail_probe 1", "< . 1:1(0) ack 5793 <ts 4 82,sack 1-1449>", "+5000", "count tcp_rto 0", "count tcp_spurious_recovery 0", "count tcp_retransmitted 2")
CASE(recovery_is_probed_with_new_data, OPEN_RACK, "option reno", "write 21720", TEN, "> . 13033:14481(1448)", "+20",
     "< . 1:1(0) ack 1 <ts 3 20,sack 1449-14481>", "> . 1:1449(1448)", "> . 14481:15929(1448)", "> . 15929:17377(1448)", "> . 17377:18825(1448)", "> . 18825:20273(1448)", "+41",
     "> P. 20273:21721(1448)", "count tcp_tail_probe 1", "+20", "< . 1:1(0) ack 1 <ts 4 81,sack 20273-21721,1449-14481>", "> . 1:1449(1448)",
     "> . 14481:15929(1448)", "+20", "< . 1:1(0) ack 21721 <ts 5 101>", "+5000", "count tcp_rto 0")
CASE(one_probe_in_recovery_then_the_timeout, OPEN_RACK, FOUR, "+20", "< . 1:1(0) ack 1 <ts 3 20,sack 1449-5793>", "> . 1:1449(1448)", "+41", "> . 1:1449(1448)",
     "+202", "> . 1:1449(1448)", "count tcp_tail_probe 1", "count tcp_rto 1")
CASE(no_probe_without_timestamps, OPEN_SACK, "write 2920", "> . 1:1461(1460)", "> P. 1461:2921(1460)", "+201", "> . 1:1461(1460)",
     "count tcp_tail_probe 0", "count tcp_rto 1")

/* ---- Timeouts that were none ---- */
#define TIMED_OUT "write 8760", "> . 1:1461(1460)", "> . 1461:2921(1460)", "> . 2921:4381(1460)", "> . 4381:5841(1460)",      \
                  "> . 5841:7301(1460)", "> P. 7301:8761(1460)", "+201", "> . 1:1461(1460)", "write 5840"
CASE(delayed_acks_show_a_false_timeout, OPEN_SACK, TIMED_OUT, "< . 1:1(0) ack 1461", "> . 8761:10221(1460)",
     "> . 10221:11681(1460)", "< . 1:1(0) ack 2921", "> . 11681:13141(1460)", "> P. 13141:14601(1460)",
     "count tcp_spurious_rto 1", "< . 1:1(0) ack 8761", "< . 1:1(0) ack 14601", "+5000", "count tcp_retransmitted 1",
     "count tcp_rto 1")
CASE(blocks_show_a_false_timeout, OPEN_SACK, TIMED_OUT, "< . 1:1(0) ack 1461", "> . 8761:10221(1460)", "> . 10221:11681(1460)",
     "< . 1:1(0) ack 1461 <sack 2921-4381>", "> . 11681:13141(1460)", "> P. 13141:14601(1460)", "count tcp_spurious_rto 1")
CASE(true_timeout_goes_on, OPEN_SACK, TIMED_OUT, "< . 1:1(0) ack 1461", "> . 8761:10221(1460)", "> . 10221:11681(1460)",
     "< . 1:1(0) ack 1461 <sack 8761-10221>", "> . 1461:2921(1460)", "count tcp_spurious_rto 0")
CASE(all_acknowledged_tells_nothing, OPEN_SACK, TIMED_OUT, "< . 1:1(0) ack 8761", "> . 8761:10221(1460)",
     "> . 10221:11681(1460)", "> . 11681:13141(1460)", "> P. 13141:14601(1460)", "count tcp_spurious_rto 0")
CASE(second_timeout_is_not_looked_at, OPEN_SACK, TIMED_OUT, "+401", "> . 1:1461(1460)", "< . 1:1(0) ack 1461",
     "> . 1461:2921(1460)", "> . 2921:4381(1460)", "count tcp_spurious_rto 0")
CASE(nothing_new_to_send_resends, OPEN_SACK, "write 4380", "> . 1:1461(1460)", "> . 1461:2921(1460)", "> P. 2921:4381(1460)",
     "+201", "> . 1:1461(1460)", "< . 1:1(0) ack 1461", "> . 1461:2921(1460)", "> P. 2921:4381(1460)")
CASE(timestamp_shows_a_false_timeout, OPEN_RACK, "write 100", "> P. 1:101(100)", "+201", "> P. 1:101(100)", "+201",
     "> P. 1:101(100)", "< . 1:1(0) ack 101 <ts 3 20>", "count tcp_spurious_rto 1", "count tcp_rto 1")

/* ---- Recoveries that were none ---- */
#define RECOVERING                                                                                                            \
    OPEN_RACK, "option reno", "write 14480", TEN, "> P. 13033:14481(1448)", "+20", "< . 1:1(0) ack 1 <ts 3 20,sack 1449-5793>",  \
        "> . 1:1449(1448)", "info snd_cwnd 7", "info snd_ssthresh 5"
CASE(timestamp_shows_a_false_recovery, RECOVERING, "+5", "< . 1:1(0) ack 5793 <ts 4 20>", "count tcp_spurious_recovery 1",
     "info snd_cwnd 10", "info snd_ssthresh 2147483647", "< . 1:1(0) ack 14481 <ts 5 20>", "+5000", "count tcp_retransmitted 1",
     "count tcp_rto 0")
CASE(true_recovery_is_kept, RECOVERING, "+20", "< . 1:1(0) ack 14481 <ts 4 40>",
     "count tcp_spurious_recovery 0", "info snd_cwnd 5", "info snd_ssthresh 5")
CASE(undone_recovery_makes_patient, RECOVERING, "+5", "< . 1:1(0) ack 14481 <ts 4 20>", "count tcp_spurious_recovery 1",
     "write 5792", "> . 14481:15929(1448)", "> . 15929:17377(1448)", "> . 17377:18825(1448)", "> P. 18825:20273(1448)", "+20",
     "< . 1:1(0) ack 14481 <ts 5 45,sack 15929-20273>", "+3", "< . 1:1(0) ack 20273 <ts 6 45>", "+5000",
     "count tcp_fast_retransmit 1", "count tcp_retransmitted 1")
#define RECOVERING_TWO                                                                                                        \
    OPEN_SACK, "option reno", "write 17520", TEN_SEGMENTS, TENTH, "< . 1:1(0) ack 1 <sack 2921-7301>", "> . 1:1461(1460)",      \
        "< . 1:1(0) ack 1 <sack 2921-10221>", "> . 1461:2921(1460)", "info snd_cwnd 5", "< . 1:1(0) ack 10221",                 \
        "> . 14601:16061(1460)", "> P. 16061:17521(1460)"
CASE(duplicates_show_a_false_recovery, RECOVERING_TWO, "< . 1:1(0) ack 10221 <sack 1-1461>", "count tcp_spurious_recovery 0",
     "info snd_cwnd 5", "< . 1:1(0) ack 10221 <sack 1461-2921>", "count tcp_spurious_recovery 1", "info snd_cwnd 10",
     "info snd_ssthresh 2147483647", "< . 1:1(0) ack 17521", "+5000", "count tcp_retransmitted 2", "count tcp_rto 0")
CASE(one_duplicate_of_two_proves_nothing, RECOVERING_TWO, "< . 1:1(0) ack 10221 <sack 1-1461>", "< . 1:1(0) ack 17521",
     "count tcp_spurious_recovery 0", "info snd_cwnd 5", "info snd_ssthresh 5")
CASE(timeout_in_recovery_is_not_undone, RECOVERING_TWO, "+401", "> . 10221:11681(1460)", "< . 1:1(0) ack 10221 <sack 1-1461>",
     "< . 1:1(0) ack 10221 <sack 1461-2921>", "< . 1:1(0) ack 17521", "< . 1:1(0) ack 17521 <sack 10221-11681>",
     "count tcp_spurious_recovery 0", "info snd_ssthresh 5")
CASE(duplicate_of_the_network_proves_nothing, RECOVERING, "+20", "< . 1:1(0) ack 14481 <ts 4 40>", "< . 1:1(0) ack 14481 <ts 5 40,sack 5793-7241>",
     "count tcp_dsack_rx 1", "count tcp_spurious_recovery 0", "info snd_cwnd 5", "info snd_ssthresh 5")
CASE(duplicate_of_an_earlier_recovery_proves_nothing, RECOVERING, "+20", "< . 1:1(0) ack 14481 <ts 4 40>", "write 5792",
     "> . 14481:15929(1448)", "> . 15929:17377(1448)", "> . 17377:18825(1448)", "> P. 18825:20273(1448)", "+20",
     "< . 1:1(0) ack 14481 <ts 5 60,sack 15929-20273>", "> . 14481:15929(1448)",
     "< . 1:1(0) ack 14481 <ts 5 60,sack 1-1449,15929-20273>", "count tcp_dsack_rx 1", "count tcp_fast_retransmit 2",
     "count tcp_spurious_recovery 0", "info snd_ssthresh 2")

/* Frames are given the time when they were taken, and whoever calls afterwards may know that of the turn's begin only. A timer armed by
 * that would be in the wheel's past. */
static void test_time_does_not_go_back(void **state)
{
    struct driver d;
    (void)state;
    driver_start(&d, &bed);
    driver_clock(&d, 50 * MS);
    net_run(d.st, d.now - 10 * MS);
    assert_int_equal(d.st->now, d.now);
    driver_stop(&d);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(rack_waits_a_quarter), T(rack_waits_not_for_three), T(rack_takes_a_single_block), T(reordering_is_no_loss),
        T(reordering_seen_makes_patient), T(duplicates_widen_the_window), T(lost_retransmission_is_found),
        T(ack_of_the_original_is_not_of_the_copy), T(both_holes_are_found_by_time), T(rack_timeout_spares_the_latest), T(tail_is_probed),
        T(lone_segment_waits_for_a_delayed_ack), T(probe_is_new_data), T(probe_respects_the_window),
        T(probe_brings_recovery), T(one_probe_then_the_timeout), T(repairing_probe_is_a_loss), T(needless_probe_is_no_loss),
        T(acknowledged_tail_is_not_probed), T(fin_is_probed), T(recovery_is_probed), T(recovery_is_probed_with_new_data),
        T(one_probe_in_recovery_then_the_timeout), T(no_probe_without_timestamps), T(test_time_does_not_go_back),
        T(delayed_acks_show_a_false_timeout), T(blocks_show_a_false_timeout), T(true_timeout_goes_on),
        T(all_acknowledged_tells_nothing), T(second_timeout_is_not_looked_at), T(nothing_new_to_send_resends),
        T(timestamp_shows_a_false_timeout), T(timestamp_shows_a_false_recovery), T(true_recovery_is_kept),
        T(undone_recovery_makes_patient), T(duplicates_show_a_false_recovery), T(one_duplicate_of_two_proves_nothing),
        T(timeout_in_recovery_is_not_undone), T(turn_has_an_order), T(range_does_not_go_on_behind_a_retransmission),
        T(newest_block_first_is_no_reordering), T(duplicate_of_the_network_proves_nothing),
        T(duplicate_of_an_earlier_recovery_proves_nothing),
    };
    cases_begin(argc, argv);
    int failed = cmocka_run_group_tests_name("payload copied", tests, NULL, NULL);
    bed.lend = true;
    return failed + cmocka_run_group_tests_name("payload lent", tests, NULL, NULL);
}
