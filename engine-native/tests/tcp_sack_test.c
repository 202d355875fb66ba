/* SPDX-License-Identifier: BSD-3-Clause
 * Selective acknowledgements, segment by segment: what is told (RFC 2018, 2883), and what is made of it (RFC 6675). */
#include "tcp_cases.h"

/* The cumulative acknowledgement stands; blocks tell what came beyond. */
#define SACK(blocks) "< . 1:1(0) ack 1 <sack " blocks ">"

/* ---- Telling ---- */
CASE(sack_is_agreed_on, OPEN_SACK)
CASE(sack_is_not_told_unasked, OPEN, "< . 101:201(100) ack 1", "> . 1:1(0) ack 1 <>")
CASE(sack_of_a_connect_needs_consent, "connect", "> S 0:0(0) <mss 1460,ws 7,sackOK,ts 0 0>",
     "< S. 0:0(0) ack 1 win 65535 <mss 1460>", "> . 1:1(0) ack 1", "< . 101:201(100) ack 1", "> . 1:1(0) ack 1 <>")
CASE(sack_of_a_connect, "connect", "> S 0:0(0)", "< S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK>", "> . 1:1(0) ack 1",
     "< . 101:201(100) ack 1", "> . 1:1(0) ack 1 <sack 101-201>")
CASE(no_block_beyond_the_fin, OPEN_SACK, "< . 5:105(100) ack 1", "> . 1:1(0) ack 1 <sack 5-105>", "< F. 1:4(3) ack 1", "> . 1:1(0) ack 5",
     "read 3", "eof")
CASE(block_tells_a_gap, OPEN_SACK, "< . 101:201(100) ack 1", "> . 1:1(0) ack 1 <sack 101-201>", "< . 1:101(100) ack 1",
     "> . 1:1(0) ack 201 <>", "read 200")
CASE(newest_block_is_first, OPEN_SACK, "< . 101:201(100) ack 1", "> . 1:1(0) ack 1 <sack 101-201>", "< . 501:601(100) ack 1",
     "> . 1:1(0) ack 1 <sack 501-601,101-201>", "< . 301:401(100) ack 1", "> . 1:1(0) ack 1 <sack 301-401,501-601,101-201>")
CASE(four_blocks_at_most, OPEN_SACK, "< . 101:201(100) ack 1", "> . 1:1(0)", "< . 301:401(100) ack 1", "> . 1:1(0)",
     "< . 501:601(100) ack 1", "> . 1:1(0)", "< . 701:801(100) ack 1", "> . 1:1(0)", "< . 901:1001(100) ack 1",
     "> . 1:1(0) ack 1 <sack 901-1001,701-801,501-601,301-401>")
CASE(three_blocks_beside_timestamps, "listen", "< S 0:0(0) win 65535 <mss 1460,sackOK,ts 1 0>",
     "> S. 0:0(0) ack 1 <mss 1460,sackOK,ts 0 1>", "< . 1:1(0) ack 1 <ts 2 0>", "< . 101:201(100) ack 1 <ts 2 0>", "> . 1:1(0)",
     "< . 301:401(100) ack 1 <ts 2 0>", "> . 1:1(0)", "< . 501:601(100) ack 1 <ts 2 0>", "> . 1:1(0)",
     "< . 701:801(100) ack 1 <ts 2 0>", "> . 1:1(0) ack 1 <ts 0 2,sack 701-801,501-601,301-401>")
CASE(forgotten_block_is_told_whole, OPEN_SACK, "< . 101:201(100) ack 1", "> . 1:1(0)", "< . 301:401(100) ack 1", "> . 1:1(0)",
     "< . 501:601(100) ack 1", "> . 1:1(0)", "< . 701:801(100) ack 1", "> . 1:1(0)", "< . 901:1001(100) ack 1", "> . 1:1(0)",
     "< . 201:251(50) ack 1", "> . 1:1(0) ack 1 <sack 101-251,901-1001,701-801,501-601>")
CASE(block_grows, OPEN_SACK, "< . 301:401(100) ack 1", "> . 1:1(0)", "< . 101:201(100) ack 1", "> . 1:1(0)",
     "< . 401:501(100) ack 1", "> . 1:1(0) ack 1 <sack 301-501,101-201>", "< . 251:301(50) ack 1",
     "> . 1:1(0) ack 1 <sack 251-501,101-201>")
CASE(blocks_join, OPEN_SACK, "< . 101:201(100) ack 1", "> . 1:1(0)", "< . 301:401(100) ack 1", "> . 1:1(0)",
     "< . 201:301(100) ack 1", "> . 1:1(0) ack 1 <sack 101-401>")
CASE(delivered_blocks_go, OPEN_SACK, "< . 101:201(100) ack 1", "> . 1:1(0)", "< . 301:401(100) ack 1", "> . 1:1(0)",
     "< . 1:101(100) ack 1", "> . 1:1(0) ack 201 <sack 301-401>", "< . 201:301(100) ack 1", "> . 1:1(0) ack 401 <>", "read 400")
CASE(duplicate_is_told, OPEN_SACK, "< P. 1:101(100) ack 1", "+41", "> . 1:1(0) ack 101 <>", "< P. 1:101(100) ack 1",
     "> . 1:1(0) ack 101 <sack 1-101>", "read 100")
CASE(duplicates_are_answered_without_limit, OPEN_SACK, "< P. 1:101(100) ack 1", "+41", "> . 1:1(0) ack 101",
     "< P. 1:101(100) ack 1", "> . 1:1(0)", "< P. 1:101(100) ack 1", "> . 1:1(0)", "< P. 1:101(100) ack 1", "> . 1:1(0)",
     "< P. 1:101(100) ack 1", "> . 1:1(0)", "< P. 1:101(100) ack 1", "> . 1:1(0)", "< P. 1:101(100) ack 1", "> . 1:1(0)",
     "< P. 1:101(100) ack 1", "> . 1:1(0)", "< P. 1:101(100) ack 1", "> . 1:1(0)", "< P. 1:101(100) ack 1", "> . 1:1(0)",
     "< P. 1:101(100) ack 1", "> . 1:1(0)", "< P. 1:101(100) ack 1", "> . 1:1(0)", "count tcp_challenge_ack 0")
CASE(duplicate_is_told_once, OPEN_SACK, "< P. 1:101(100) ack 1", "+41", "> . 1:1(0) ack 101", "< P. 1:101(100) ack 1",
     "> . 1:1(0) ack 101 <sack 1-101>", "< P. 201:301(100) ack 1", "> . 1:1(0) ack 101 <sack 201-301>")
CASE(partly_old_segment_is_told, OPEN_SACK, "< P. 1:101(100) ack 1", "+41", "> . 1:1(0) ack 101", "< P. 51:151(100) ack 1",
     "> . 1:1(0) ack 151 <sack 51-101>", "read 150")
CASE(kept_duplicate_is_told_with_its_block, OPEN_SACK, "< . 101:301(200) ack 1", "> . 1:1(0)", "< . 151:201(50) ack 1",
     "> . 1:1(0) ack 1 <sack 151-201,101-301>")
CASE(overlap_with_a_block_is_told, OPEN_SACK, "< . 101:201(100) ack 1", "> . 1:1(0)", "< . 151:251(100) ack 1",
     "> . 1:1(0) ack 1 <sack 151-201,101-251>")
CASE(duplicate_precedes_blocks, OPEN_SACK, "< . 1:101(100) ack 1", "< . 301:401(100) ack 1", "> . 1:1(0) ack 101 <sack 301-401>",
     "< . 1:101(100) ack 1", "> . 1:1(0) ack 101 <sack 1-101,301-401>")
CASE(data_leaves_room_for_blocks, OPEN_SACK, "< . 101:201(100) ack 1", "> . 1:1(0)", "write 2896",
     "> . 1:1449(1448) ack 1 <sack 101-201>", "> P. 1449:2897(1448) ack 1 <sack 101-201>")
CASE(blocks_of_bad_length_are_skipped, OPEN_SACK, "write 100", "> P. 1:101(100)", "< . 1:1(0) ack 1 <sackOK,unknown>", "+201",
     "> P. 1:101(100)")

/* ---- Listening ---- */
CASE(blocks_find_a_loss, OPEN_SACK, "write 14600", TEN_SEGMENTS, LAST_OF_TEN, SACK("1461-2921"), SACK("1461-4381"),
     SACK("1461-5841"), "> . 1:1461(1460)", SACK("1461-14601"), "< . 1:1(0) ack 14601", "+5000", "count tcp_fast_retransmit 1",
     "count tcp_retransmitted 1", "count tcp_rto 0")
CASE(blocks_of_small_segments_count_each, OPEN_SACK, "option nodelay", "write 10", "> P. 1:11(10)", "write 10", "> P. 11:21(10)",
     "write 10", "> P. 21:31(10)", "write 10", "> P. 31:41(10)", SACK("11-21"), SACK("11-31"), SACK("11-41"), "> . 1:11(10)",
     "< . 1:1(0) ack 41", "+5000")
CASE(three_runs_beyond_are_a_loss, OPEN_SACK, "write 14600", TEN_SEGMENTS, LAST_OF_TEN,
     SACK("1461-1561,2921-3021,4381-4481"), "> . 1:1461(1460)", "count tcp_fast_retransmit 1")
CASE(both_holes_are_filled, OPEN_SACK, "option reno", "write 14600", TEN_SEGMENTS, LAST_OF_TEN, SACK("1461-2921"), SACK("4381-5841,1461-2921"),
     SACK("4381-7301,1461-2921"), "> . 1:1461(1460)", SACK("4381-8761,1461-2921"), SACK("4381-10221,1461-2921"),
     "> . 2921:4381(1460)", SACK("4381-14601,1461-2921"), "< . 1:1(0) ack 2921 <sack 4381-14601>", "< . 1:1(0) ack 14601", "+5000",
     "count tcp_retransmitted 2", "count tcp_fast_retransmit 1", "count tcp_partial_ack 1")
CASE(limited_transmit_with_blocks, OPEN_SACK, "write 20000", TEN_SEGMENTS, TENTH, SACK("1461-2921"), "> . 14601:16061(1460)",
     SACK("1461-4381"), "> . 16061:17521(1460)", SACK("1461-5841"), "> . 1:1461(1460)")
CASE(new_data_follows_the_pipe, OPEN_SACK, "option reno", "write 20000", TEN_SEGMENTS, TENTH, SACK("1461-7301"), "> . 1:1461(1460)",
     SACK("1461-10221"), "> . 14601:16061(1460)", SACK("1461-11681"), "> . 16061:17521(1460)")
CASE(same_blocks_again_prove_nothing, OPEN_SACK, "write 14600", TEN_SEGMENTS, LAST_OF_TEN, SACK("1461-2921"), SACK("1461-2921"),
     SACK("1461-2921"), SACK("1461-2921"), "count tcp_fast_retransmit 0")
CASE(timeout_keeps_what_arrived, OPEN_SACK, "write 7300", "> . 1:1461(1460)", "> . 1461:2921(1460)", "> . 2921:4381(1460)",
     "> . 4381:5841(1460)", "> P. 5841:7301(1460)", SACK("2921-4381"), "+201", "> . 1:1461(1460)",
     "< . 1:1(0) ack 1461 <sack 2921-4381>", "> . 1461:2921(1460)", "> . 4381:5841(1460)", "< . 1:1(0) ack 4381",
     "> P. 5841:7301(1460)", "< . 1:1(0) ack 7301", "+5000", "count tcp_rto 1", "count tcp_fast_retransmit 0")
CASE(timeout_of_all_starts_slowly, OPEN_SACK, "write 5840", "> . 1:1461(1460)", "> . 1461:2921(1460)", "> . 2921:4381(1460)",
     "> P. 4381:5841(1460)", "+201", "> . 1:1461(1460)", "< . 1:1(0) ack 1461", "> . 1461:2921(1460)", "> . 2921:4381(1460)",
     "< . 1:1(0) ack 4381", "> P. 4381:5841(1460)", "< . 1:1(0) ack 5841", "+5000")
CASE(timeout_backs_off_with_sack, OPEN_SACK, "write 100", "> P. 1:101(100)", "+201", "> P. 1:101(100)", "+400", "> P. 1:101(100)",
     "+805", "> P. 1:101(100)", "< . 1:1(0) ack 101", "+10000", "count tcp_rto 3")
CASE(no_reduction_twice_after_timeout, OPEN_SACK, "write 14600", TEN_SEGMENTS, LAST_OF_TEN, "+201", "> . 1:1461(1460)",
     SACK("1461-2921"), SACK("1461-4381"), SACK("1461-5841"), "count tcp_fast_retransmit 0")
CASE(peer_takes_blocks_back, OPEN_SACK, "write 4380", "> . 1:1461(1460)", "> . 1461:2921(1460)", "> P. 2921:4381(1460)",
     SACK("1461-2921"), "< . 1:1(0) ack 1461", "+201", "> . 1461:2921(1460)", "count tcp_reneged 1", "< . 1:1(0) ack 2921",
     "> P. 2921:4381(1460)", "< . 1:1(0) ack 4381", "+5000")
CASE(blocks_of_the_future_are_ignored, OPEN_SACK, "write 4380", "> . 1:1461(1460)", "> . 1461:2921(1460)",
     "> P. 2921:4381(1460)", SACK("1461-9000"), SACK("2000-1461"), SACK("4381-4382"), "count tcp_sack_ignored 3", "count tcp_fast_retransmit 0")
CASE(duplicate_told_is_no_loss, OPEN_SACK, "write 4380", "> . 1:1461(1460)", "> . 1461:2921(1460)", "> P. 2921:4381(1460)",
     "< . 1:1(0) ack 1461 <sack 1-1461>", "< . 1:1(0) ack 1461 <sack 1-1461>", "< . 1:1(0) ack 1461 <sack 1-1461>",
     "count tcp_dsack_rx 3", "count tcp_fast_retransmit 0")
CASE(last_segment_is_rescued, OPEN_SACK, "write 14600", TEN_SEGMENTS, LAST_OF_TEN, SACK("1461-5841"), "> . 1:1461(1460)",
     SACK("1461-10221"), "> P. 13141:14601(1460)", SACK("1461-11681"), "+150", "count tcp_retransmitted 2")
CASE(holes_are_tried_when_nothing_is_new, OPEN_SACK, "option reno", "write 14600", TEN_SEGMENTS, LAST_OF_TEN, SACK("1461-5841"),
     "> . 1:1461(1460)", SACK("11681-13141,7301-10221,1461-5841"), "> . 5841:7301(1460)",
     "> . 10221:11681(1460)", "count tcp_retransmitted 3")
CASE(fin_is_resent, OPEN_SACK, "option nodelay", "write 10", "> P. 1:11(10)", "close", "> F. 11:11(0)", "+201", "> FP. 1:11(10)",
     "< . 1:1(0) ack 12", "state FIN-WAIT-2")
CASE(fin_alone_is_resent, OPEN_SACK, "write 10", "> P. 1:11(10)", "close", "> F. 11:11(0)", "< . 1:1(0) ack 11", "+201",
     "> F. 11:11(0)", "< . 1:1(0) ack 12", "state FIN-WAIT-2")
CASE(closed_window_is_probed_with_sack, OPEN_SACK, "write 4380", "> . 1:1461(1460)", "> . 1461:2921(1460)",
     "> P. 2921:4381(1460)", "< . 1:1(0) ack 1461 win 0", "+201", "+401", "> . 1461:1462(1)", "< . 1:1(0) ack 1461 win 0", "+805",
     "> . 1461:1462(1)", "< . 1:1(0) ack 1461 win 65535", "> . 1461:2921(1460)", "< . 1:1(0) ack 2921", "> P. 2921:4381(1460)")
CASE(new_probe_may_be_accepted, "listen", "< S 0:0(0) win 0 <mss 1460,sackOK>", "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1 win 0",
     "write 100", "+201", "> . 1:2(1) ack 1", "< . 1:1(0) ack 2 win 1000", "> P. 2:101(99) ack 1", "< . 1:1(0) ack 101 win 1000",
     "+5000")
CASE(shrunk_window_holds_resending, OPEN_SACK, "write 7300", "> . 1:1461(1460)", "> . 1461:2921(1460)", "> . 2921:4381(1460)",
     "> . 4381:5841(1460)", "> P. 5841:7301(1460)", "< . 1:1(0) ack 1 win 1000 <sack 1461-7301>", "> . 1:1001(1000)")
CASE(sack_across_the_wrap, "iss 4294965000", "peer 4294967200", OPEN_SACK, "write 14600", TEN_SEGMENTS, LAST_OF_TEN,
     SACK("1461-2921"), SACK("1461-4381"), SACK("1461-5841"), "> . 1:1461(1460)", "< . 101:201(100) ack 14601",
     "> . 14601:14601(0) ack 1 <sack 101-201>", "< . 1:101(100) ack 14601", "> . 14601:14601(0) ack 201", "read 200")

/* The peer's window keeps new data back in recovery, so that nothing is on its way at its end. A round trip took 1 ms, then 150 with the queue full:
 * what fills it leaves in one turn, up to ssthresh; where no queue was seen, the initial window. */
#define EIGHTEEN_MORE \
    "> . 14601:16061(1460)", "> . 16061:17521(1460)", "> . 17521:18981(1460)", "> . 18981:20441(1460)", \
    "> . 20441:21901(1460)", "> . 21901:23361(1460)", "> . 23361:24821(1460)", "> . 24821:26281(1460)", \
    "> . 26281:27741(1460)", "> . 27741:29201(1460)", "> . 29201:30661(1460)", "> . 30661:32121(1460)", \
    "> . 32121:33581(1460)", "> . 33581:35041(1460)", "> . 35041:36501(1460)", "> . 36501:37961(1460)", \
    "> . 37961:39421(1460)", "> P. 39421:40881(1460)"
#define BEHIND_A_HOLE(rtt, after)                                                                                             \
    "listen", "< S 0:0(0) win 65535 <mss 1460,sackOK>", "> S. 0:0(0) ack 1", rtt, "< . 1:1(0) ack 1", "write 40880", TEN_SEGMENTS,  \
        TENTH, after, "< . 1:1(0) ack 14601", EIGHTEEN_MORE, after, "< . 1:1(0) ack 14601 <sack 16061-40881>",                   \
        "> . 14601:16061(1460)", after, "< . 1:1(0) ack 40881"
CASE(end_of_recovery_fills_the_queue, BEHIND_A_HOLE("+1", "+150"), "info snd_ssthresh 12", "info snd_cwnd 12", "count tcp_paced 0")
CASE(end_of_recovery_is_no_burst, BEHIND_A_HOLE("+150", "+150"), "info snd_ssthresh 12", "info snd_cwnd 10")

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(sack_is_agreed_on), T(sack_is_not_told_unasked), T(sack_of_a_connect_needs_consent), T(sack_of_a_connect),
        T(no_block_beyond_the_fin), T(block_tells_a_gap), T(newest_block_is_first), T(four_blocks_at_most), T(three_blocks_beside_timestamps),
        T(forgotten_block_is_told_whole), T(block_grows), T(blocks_join), T(delivered_blocks_go), T(duplicate_is_told),
        T(duplicates_are_answered_without_limit), T(duplicate_is_told_once), T(partly_old_segment_is_told),
        T(kept_duplicate_is_told_with_its_block), T(overlap_with_a_block_is_told), T(duplicate_precedes_blocks),
        T(data_leaves_room_for_blocks), T(blocks_of_bad_length_are_skipped), T(blocks_find_a_loss),
        T(blocks_of_small_segments_count_each), T(three_runs_beyond_are_a_loss), T(both_holes_are_filled),
        T(limited_transmit_with_blocks), T(new_data_follows_the_pipe), T(same_blocks_again_prove_nothing),
        T(timeout_keeps_what_arrived), T(timeout_of_all_starts_slowly), T(timeout_backs_off_with_sack),
        T(no_reduction_twice_after_timeout), T(peer_takes_blocks_back), T(blocks_of_the_future_are_ignored),
        T(duplicate_told_is_no_loss), T(last_segment_is_rescued), T(holes_are_tried_when_nothing_is_new), T(fin_is_resent),
        T(fin_alone_is_resent), T(closed_window_is_probed_with_sack), T(new_probe_may_be_accepted),
        T(shrunk_window_holds_resending), T(sack_across_the_wrap),
        T(end_of_recovery_fills_the_queue), T(end_of_recovery_is_no_burst),
    };
    cases_begin(argc, argv);
    int failed = cmocka_run_group_tests_name("payload copied", tests, NULL, NULL);
    bed.lend = true;
    return failed + cmocka_run_group_tests_name("payload lent", tests, NULL, NULL);
}
