/* SPDX-License-Identifier: BSD-3-Clause
 * Explicit congestion notification (RFC 3168), segment by segment; and how the stack stands more of what attackers and
 * accidents bring. tcp_script.h has the notation; a segment that is expected without ect0 must not be ECN-capable. */
#include "tcp_cases.h"

#define OPEN_ECN "listen", "< SEW 0:0(0) win 65535 <mss 1460>", "> SE. 0:0(0) ack 1", "< . 1:1(0) ack 1", "state ESTABLISHED"
#define OPEN_ECN_SACK "listen", "< SEW 0:0(0) win 65535 <mss 1460,sackOK>", "> SE. 0:0(0) ack 1", "< . 1:1(0) ack 1"
#define TEN_ECT                                                                                                               \
    "> . 1:1461(1460) ect0", "> . 1461:2921(1460) ect0", "> . 2921:4381(1460) ect0", "> . 4381:5841(1460) ect0",              \
        "> . 5841:7301(1460) ect0", "> . 7301:8761(1460) ect0", "> . 8761:10221(1460) ect0", "> . 10221:11681(1460) ect0",    \
        "> . 11681:13141(1460) ect0"

/* ---- Agreement ---- */
CASE(ecn_is_agreed_on, OPEN_ECN, "write 10", "> P. 1:11(10) ack 1 ect0", "info options 8")
CASE(ecn_is_not_offered_unasked, OPEN, "write 10", "> P. 1:11(10) ack 1", "info options 0")
CASE(ecn_needs_both_flags, "listen", "< SE 0:0(0) win 65535 <mss 1460>", "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1", "write 10", "> P. 1:11(10)")
CASE(ecn_is_asked_for_when_told_to, "ecn", "connect", "> SEW 0:0(0)", "< SE. 0:0(0) ack 1 win 65535 <mss 1460>", "> . 1:1(0) ack 1", "write 10",
     "> P. 1:11(10) ack 1 ect0")
CASE(ecn_is_not_asked_for_otherwise, "connect", "> S 0:0(0)", "< SE. 0:0(0) ack 1 win 65535 <mss 1460>", "> . 1:1(0) ack 1", "write 10", "> P. 1:11(10)")
CASE(ecn_answer_that_mirrors_is_none, "ecn", "connect", "> SEW 0:0(0)", "< SEW. 0:0(0) ack 1 win 65535 <mss 1460>", "> . 1:1(0) ack 1", "write 10",
     "> P. 1:11(10)")
CASE(ecn_refused_goes_on_without, "ecn", "connect", "> SEW 0:0(0)", "< S. 0:0(0) ack 1 win 65535 <mss 1460>", "> . 1:1(0) ack 1", "write 10", "> P. 1:11(10)")
CASE(ecn_syn_without_answer_asks_no_more, "ecn", "connect", "> SEW 0:0(0)", "+1001", "> S 0:0(0)")

/* ---- Marks ---- */
CASE(ecn_mark_is_echoed_until_heard, OPEN_ECN, "< . 1:1461(1460) ack 1 ce", "< . 1461:2921(1460) ack 1 ect0", "> E. 1:1(0) ack 2921",
     "< . 2921:4381(1460) ack 1 ect0", "> E. 1:1(0) ack 4381", "< . 4381:5841(1460) ack 1 ect0", "> E. 1:1(0) ack 5841",
     "< W. 5841:7301(1460) ack 1 ect0", "> . 1:1(0) ack 7301", "< . 7301:8761(1460) ack 1 ect0", "> . 1:1(0) ack 8761", "read 8760", "count tcp_ce_rx 1", "info options 24")
CASE(ecn_mark_with_cwr_is_a_new_one, OPEN_ECN, "< . 1:1461(1460) ack 1 ce", "< W. 1461:2921(1460) ack 1 ce", "> E. 1:1(0) ack 2921", "read 2920")
CASE(ecn_echo_rides_on_data, OPEN_ECN, "< P. 1:11(10) ack 1 ce", "write 10", "> PE. 1:11(10) ack 11 ect0", "read 10")
CASE(ecn_mark_without_agreement_is_nothing, OPEN, "< P. 1:11(10) ack 1 ce", "+41", "> . 1:1(0) ack 11", "read 10", "count tcp_ce_rx 0")
CASE(ecn_echo_halves_once_a_round, OPEN_ECN, "option reno", "write 29200", TEN_ECT, "> . 13141:14601(1460) ect0", "< E. 1:1(0) ack 1461", "count tcp_ecn_reduced 1",
     "info snd_cwnd 5", "< E. 1:1(0) ack 2921", "< E. 1:1(0) ack 14601", "> W. 14601:16061(1460) ect0", "> . 16061:17521(1460) ect0",
     "> . 17521:18981(1460) ect0", "> . 18981:20441(1460) ect0", "> . 20441:21901(1460) ect0", "> . 21901:23361(1460) ect0", "count tcp_ecn_reduced 1", "< E. 1:1(0) ack 16061",
     "count tcp_ecn_reduced 2", "info delivered_ce 4", "count tcp_fast_retransmit 0")
CASE(ecn_cubic_goes_to_seven_tenths, OPEN_ECN, "write 14600", TEN_ECT, "> P. 13141:14601(1460) ect0", "< E. 1:1(0) ack 1461", "info snd_cwnd 7",
     "info ca_state 2", "info snd_ssthresh 7")
CASE(ecn_echo_without_agreement_is_nothing, OPEN, "write 14600", TEN_SEGMENTS, "> P. 13141:14601(1460)", "< E. 1:1(0) ack 1461", "count tcp_ecn_reduced 0")
CASE(ecn_echo_with_nothing_out_is_nothing, OPEN_ECN, "< E. 1:1(0) ack 1", "count tcp_ecn_reduced 0", "info snd_cwnd 10")
CASE(ecn_retransmission_is_not_capable, OPEN_ECN, "write 100", "> P. 1:101(100) ect0", "+201", "> P. 1:101(100)", "< . 1:1(0) ack 101", "write 10",
     "> P. 101:111(10) ect0")
CASE(ecn_fast_retransmission_tells_cwr_with_new_data, OPEN_ECN_SACK, "write 17520", TEN_ECT, "> . 13141:14601(1460) ect0",
     "< . 1:1(0) ack 1 <sack 1461-5841>", "> . 1:1461(1460)", "< . 1:1(0) ack 14601", "> W. 14601:16061(1460) ect0", "> P. 16061:17521(1460) ect0")
CASE(ecn_probe_is_not_capable, "listen", "< SEW 0:0(0) win 0 <mss 1460>", "> SE. 0:0(0) ack 1", "< . 1:1(0) ack 1 win 0", "write 10", "+201", "> . 1:2(1)",
     "< . 1:1(0) ack 1 win 100", "> P. 1:11(10)")
CASE(ecn_pure_ack_and_fin_are_not_capable, OPEN_ECN, "< P. 1:11(10) ack 1", "+41", "> . 1:1(0) ack 11", "read 10", "close", "> F. 1:1(0) ack 11")
CASE(ecn_comes_back_with_a_cookie, "listen 1", "as 1", SYN_IN, "> S. 0:0(0) ack 1", "as 0", "< SEW 0:0(0) win 65535 <mss 1460,ts 5 0>", "> SE. 0:0(0) ack 1",
     "< . 1:1(0) ack 1 <ts 6 0>", "write 10", "> P. 1:11(10) ack 1 ect0")

/* ---- Attacks and accidents ---- */
CASE(reset_beyond_the_window_is_nothing, OPEN, "< R 70000:70000(0)", "count tcp_challenge_ack 0", "state ESTABLISHED")
CASE(reset_before_the_window_is_nothing, OPEN, "< P. 1:11(10) ack 1", "+41", "> . 1:1(0) ack 11", "< R 1:1(0)", "state ESTABLISHED", "read 10")
CASE(reset_after_the_challenge_is_believed, OPEN, "< R 100:100(0)", "> . 1:1(0) ack 1", "< R 1:1(0)", "error 104", "gone")
CASE(reset_ends_while_data_waits, OPEN, "< P. 1:11(10) ack 1", "< R 11:11(0)", "read 10", "error 104", "gone")
CASE(syn_on_the_edge_is_challenged, OPEN, "< S 1:1(0)", "> . 1:1(0) ack 1", "state ESTABLISHED", "< S 0:0(0)", "> . 1:1(0) ack 1", "state ESTABLISHED")
CASE(syn_ack_again_is_acked, "connect", "> S 0:0(0)", "< S. 0:0(0) ack 1 win 65535 <mss 1460>", "> . 1:1(0) ack 1", "< S. 0:0(0) ack 1 win 65535 <mss 1460>",
     "> . 1:1(0) ack 1", "state ESTABLISHED")
CASE(data_without_ack_flag_is_nothing, OPEN, "< P 1:11(10)", "count tcp_no_ack 1", "+1000")
CASE(optimistic_ack_is_challenged, OPEN, "write 100", "> P. 1:101(100)", "< . 1:1(0) ack 102", "> . 101:101(0) ack 1", "count tcp_bad_ack 1", "< . 1:1(0) ack 101")
CASE(overlap_with_other_bytes_changes_nothing, OPEN, "< P. 1:101(100) ack 1", "+41", "> . 1:1(0) ack 101", "< P. 1:201(200) ack 1", "> . 1:1(0) ack 201", "read 200")
CASE(window_may_not_be_pulled_back_by_an_old_segment, OPEN_WIN("5000"), "< P. 1:11(10) ack 1 win 4000", "+41", "> . 1:1(0) ack 11", "< . 1:1(0) ack 1 win 10",
     "> . 1:1(0) ack 11", "write 2000", "> . 1:1461(1460)", "read 10")
CASE(fin_beyond_the_window_is_cut, "rcvbuf 2000", "listen", SYN_IN, "> S. 0:0(0) ack 1 win 2000", "< . 1:1(0) ack 1", "< . 1:1461(1460) ack 1",
     "< F. 1461:2921(1460) ack 1", "> . 1:1(0) ack 2001 win 0", "state ESTABLISHED", "read 2000", "> . 1:1(0) ack 2001 win 2000")
CASE(two_fins_agree, OPEN, "< F. 1:1(0) ack 1", "> . 1:1(0) ack 2", "< F. 1:1(0) ack 1", "> . 1:1(0) ack 2", "state CLOSE-WAIT")
CASE(data_behind_a_fin_is_nothing, OPEN, "< F. 1:1(0) ack 1", "> . 1:1(0) ack 2", "< P. 2:12(10) ack 1", "count tcp_after_fin 1", "eof")
CASE(paws_lets_a_reset_pass, "listen", "< S 0:0(0) win 65535 <mss 1460,ts 100 0>", "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1 <ts 101 0>", "< R 1:1(0)", "error 104", "gone")
CASE(paws_same_timestamp_is_new_enough, "listen", "< S 0:0(0) win 65535 <mss 1460,ts 100 0>", "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1 <ts 100 0>",
     "< P. 1:11(10) ack 1 <ts 100 0>", "read 10", "+41", "> . 1:1(0) ack 11", "count tcp_paws 0")
CASE(paws_timestamps_wrap, "listen", "< S 0:0(0) win 65535 <mss 1460,ts 4294967290 0>", "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1 <ts 4294967291 0>",
     "< P. 1:11(10) ack 1 <ts 5 0>", "read 10", "+41", "> . 1:1(0) ack 11", "count tcp_paws 0", "< P. 11:21(10) ack 1 <ts 4294967292 0>", "> . 1:1(0) ack 11",
     "count tcp_paws 1")
/* RFC 7323 5.5: 24 days in which nothing came; then the timestamps that are there count again. */
#define IDLE(ms)                                                                                                                \
    "listen", "< S 0:0(0) win 65535 <mss 1460,ts 100 0>", "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1 <ts 101 0>", "+" ms
CASE(paws_remembers_for_24_days, IDLE("2073600000"), "< P. 1:11(10) ack 1 <ts 50 0>", "> . 1:1(0) ack 1 <ts 2073600000 101>", "count tcp_paws 1")
CASE(paws_forgets_after_24_days, IDLE("2073600001"), "< P. 1:11(10) ack 1 <ts 50 0>", "read 10", "+41", "> . 1:1(0) ack 11 <ts 2073600041 50>",
     "count tcp_paws 0", "< P. 11:21(10) ack 1 <ts 48 0>", "> . 1:1(0) ack 11", "count tcp_paws 1")
CASE(paws_takes_what_was_overtaken, "listen", "< S 0:0(0) win 65535 <mss 1460,ts 100 0>", "> S. 0:0(0) ack 1", "+20", "< . 1:1(0) ack 1 <ts 120 0>",
     "< . 1:1449(1448) ack 1 <ts 140 0>", "< . 2897:4345(1448) ack 1 <ts 121 0>", "> . 1:1(0) ack 1449", "< . 1449:2897(1448) ack 1 <ts 120 0>", "> . 1:1(0) ack 4345",
     "read 4344", "count tcp_paws 0", "< . 4345:5793(1448) ack 1 <ts 119 0>", "> . 1:1(0) ack 4345", "count tcp_paws 1")
/* The late original of what was sent again for nothing: by the answer its sender takes back what it did to its window. */
CASE(paws_tells_what_came_twice, "listen", "< S 0:0(0) win 65535 <mss 1460,sackOK,ts 100 0>", "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1 <ts 120 0>",
     "< P. 1:1001(1000) ack 1 <ts 500 0>", "read 1000", "+41", "> . 1:1(0) ack 1001", "< P. 1:1001(1000) ack 1 <ts 130 0>", "> . 1:1(0) ack 1001 <ts 41 500,sack 1-1001>",
     "count tcp_paws 1", "< P. 1001:2001(1000) ack 1 <ts 130 0>", "> . 1:1(0) ack 1001 <ts 41 500>", "count tcp_paws 2")
CASE(icmp_port_unreachable_is_soft_once_open, OPEN, "write 10", "> P. 1:11(10)", "icmp 3 3 1", "state ESTABLISHED", "< . 1:1(0) ack 11", "+5000")
CASE(icmp_about_acknowledged_data_is_nothing, OPEN, "write 10", "> P. 1:11(10)", "< . 1:1(0) ack 11", "icmp 3 4 1 mtu 600", "count pmtu_learned 0", "count icmp_ignored 1")

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(ecn_is_agreed_on), T(ecn_is_not_offered_unasked), T(ecn_needs_both_flags), T(ecn_is_asked_for_when_told_to),
        T(ecn_is_not_asked_for_otherwise), T(ecn_answer_that_mirrors_is_none), T(ecn_refused_goes_on_without),
        T(ecn_syn_without_answer_asks_no_more), T(ecn_mark_is_echoed_until_heard), T(ecn_mark_with_cwr_is_a_new_one),
        T(ecn_echo_rides_on_data), T(ecn_mark_without_agreement_is_nothing), T(ecn_echo_halves_once_a_round),
        T(ecn_cubic_goes_to_seven_tenths), T(ecn_echo_without_agreement_is_nothing), T(ecn_echo_with_nothing_out_is_nothing),
        T(ecn_retransmission_is_not_capable), T(ecn_fast_retransmission_tells_cwr_with_new_data), T(ecn_probe_is_not_capable),
        T(ecn_pure_ack_and_fin_are_not_capable), T(ecn_comes_back_with_a_cookie), T(reset_beyond_the_window_is_nothing),
        T(reset_before_the_window_is_nothing), T(reset_after_the_challenge_is_believed), T(reset_ends_while_data_waits),
        T(syn_on_the_edge_is_challenged), T(syn_ack_again_is_acked), T(data_without_ack_flag_is_nothing),
        T(optimistic_ack_is_challenged), T(overlap_with_other_bytes_changes_nothing),
        T(window_may_not_be_pulled_back_by_an_old_segment), T(fin_beyond_the_window_is_cut), T(two_fins_agree),
        T(data_behind_a_fin_is_nothing), T(paws_lets_a_reset_pass), T(paws_same_timestamp_is_new_enough),
        T(paws_timestamps_wrap), T(paws_remembers_for_24_days), T(paws_forgets_after_24_days), T(paws_takes_what_was_overtaken), T(paws_tells_what_came_twice), T(icmp_port_unreachable_is_soft_once_open), T(icmp_about_acknowledged_data_is_nothing),
    };
    cases_begin(argc, argv);
    return RUN_BOTH_PROTOCOLS(tests);
}
