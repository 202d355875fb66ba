/* SPDX-License-Identifier: BSD-3-Clause
 * Socket options, segment by segment: time limits, corks, what TCP_INFO tells; and urgent data. tcp_script.h has the notation. */
#include "tcp_cases.h"

#define OPEN_TS "listen", "< S 0:0(0) win 65535 <mss 1460,sackOK,ws 2,ts 100 0>", "> S. 0:0(0) ack 1", "+10", "< . 1:1(0) ack 1 win 16000 <ts 101 0>"

/* ---- TCP_USER_TIMEOUT ---- */
CASE(user_timeout_ends_a_silent_connection, OPEN, "option user_timeout 1000", "write 10", "> P. 1:11(10)", "+999", "> P. 1:11(10)", "> P. 1:11(10)",
     "state ESTABLISHED", "+2", "> R. 11:11(0)", "error 110", "gone", "count tcp_timed_out 1")
CASE(user_timeout_may_be_longer_than_the_retries, OPEN, "option user_timeout 4000000", "write 10", "> P. 1:11(10)", "< . 1:1(0) ack 11", "+9000000",
     "state ESTABLISHED")
CASE(user_timeout_begins_anew_with_progress, OPEN, "option user_timeout 1000", "write 10", "> P. 1:11(10)", "+900", "> P. 1:11(10)", "> P. 1:11(10)",
     "< . 1:1(0) ack 11", "write 10", "> P. 11:21(10)", "+900", "> P. 11:21(10)", "> P. 11:21(10)", "state ESTABLISHED", "< . 1:1(0) ack 21")
CASE(user_timeout_counts_for_the_syn, "option user_timeout 2000", "connect", "> S 0:0(0)", "+1001", "> S 0:0(0)", "+1002", "error 110", "gone")
CASE(user_timeout_ends_a_shut_window, OPEN_WIN("0"), "option user_timeout 1000", "write 10", "+210", "> . 1:2(1)", "< . 1:1(0) ack 1 win 0", "+410",
     "> . 1:2(1)", "< . 1:1(0) ack 1 win 0", "+390", "> R. 2:2(0)", "error 110", "gone")
CASE(user_timeout_replaces_the_probes_count, OPEN, "option keepalive 10 2 3", "option user_timeout 15000", "+10001", "> . 0:0(0) ack 1", "+2001",
     "> . 0:0(0) ack 1", "+2001", "> . 0:0(0) ack 1", "+2001", "> R. 1:1(0)", "error 110", "gone")

/* ---- TCP_LINGER2 ---- */
CASE(linger2_shortens_the_wait, OPEN, "option linger2 5", "close", "> F. 1:1(0) ack 1", "< . 1:1(0) ack 2", "+4990", "state FIN-WAIT-2", "+20", "gone")
CASE(linger2_negative_does_not_wait, OPEN, "option linger2 -1", "close", "> F. 1:1(0) ack 1", "< . 1:1(0) ack 2", "> R. 2:2(0) ack 1", "gone")
CASE(linger2_counts_from_the_close, OPEN, "option linger2 5", "shutdown", "> F. 1:1(0) ack 1", "< . 1:1(0) ack 2", "+20000", "state FIN-WAIT-2", "close",
     "+4990", "state FIN-WAIT-2", "+20", "gone")

/* ---- TCP_CORK, MSG_MORE, TCP_QUICKACK, TCP_NOTSENT_LOWAT ---- */
CASE(cork_holds_for_200_ms, OPEN, "option cork", "write 10", "+199", "+2", "> P. 1:11(10)", "< . 1:1(0) ack 11", "write 10", "+150", "write 10", "+49",
     "+2", "> P. 11:31(20)")
CASE(more_waits_for_the_rest, OPEN, "option more", "write 10", "+100", "option more 0", "> P. 1:11(10)")
CASE(more_and_a_full_segment, OPEN, "option more", "write 1000", "write 1000", "> . 1:1461(1460)", "option more 0", "< . 1:1(0) ack 1461", "> P. 1461:2001(540)")
CASE(more_holds_for_200_ms, OPEN, "option more", "write 10", "+199", "+2", "> P. 1:11(10)")
CASE(cork_does_not_hold_a_fin, OPEN, "option cork", "write 10", "close", "> FP. 1:11(10)")
CASE(cork_beats_nodelay, OPEN, "option nodelay", "option cork", "write 10", "+100", "option uncork", "> P. 1:11(10)")
CASE(quickack_pays_at_once, OPEN, "< P. 1:101(100) ack 1", "option quickack", "> . 1:1(0) ack 101", "< P. 101:201(100) ack 1", "> . 1:1(0) ack 201", "read 200")
CASE(quickack_may_end, OPEN, "option quickack", "< P. 1:101(100) ack 1", "> . 1:1(0) ack 101", "option quickack 0", "< P. 101:201(100) ack 1", "+39", "+2",
     "> . 1:1(0) ack 201", "read 200")
CASE(unsent_bytes_are_told, OPEN_WIN("3000"), "option notsent_lowat 1000", "write 5000", "> . 1:1461(1460)", "> . 1461:2921(1460)", "unsent 2080",
     "< . 1:1(0) ack 1461 win 3000", "> . 2921:4381(1460)", "unsent 620", "< . 1:1(0) ack 4381 win 3000", "> P. 4381:5001(620)", "unsent 0")

/* ---- Keep-alive ---- */
CASE(keepalive_defaults, OPEN, "option keepalive 0 0 0", "+7199990", "+20", "> . 0:0(0) ack 1", "+75000", "> . 0:0(0) ack 1", "< . 1:1(0) ack 1",
     "state ESTABLISHED", "count tcp_keepalive_tx 2")
CASE(keepalive_waits_while_data_is_out, OPEN, "option keepalive 1 1 1", "write 10", "> P. 1:11(10)", "+1100", "> P. 1:11(10)", "> P. 1:11(10)",
     "< . 1:1(0) ack 11", "count tcp_keepalive_tx 0", "+1001", "> . 10:10(0) ack 1", "< . 1:1(0) ack 11", "state ESTABLISHED")
CASE(keepalive_begins_anew_with_data, OPEN, "option keepalive 10 1 1", "+9000", "< P. 1:11(10) ack 1", "+41", "> . 1:1(0) ack 11", "+9900", "read 10", "+100",
     "> . 0:0(0) ack 11")
CASE(keepalive_hears_a_reset, OPEN, "option keepalive 10 1 3", "+10001", "> . 0:0(0) ack 1", "< R 1:1(0)", "error 104", "gone")

/* ---- TCP_INFO ---- */
CASE(info_of_a_new_connection, OPEN_TS, "info state 4", "info options 7", "info snd_wscale 2", "info snd_mss 1448", "info rcv_mss 1448", "info advmss 1460",
     "info snd_cwnd 10", "info snd_ssthresh 2147483647", "info rtt_us 10000", "info segs_in 1", "info bytes_acked 0")
CASE(info_of_a_sender, OPEN_TS, "write 14480", "> . 1:1449(1448)", "> . 1449:2897(1448)", "> . 2897:4345(1448)", "> . 4345:5793(1448)", "> . 5793:7241(1448)",
     "> . 7241:8689(1448)", "> . 8689:10137(1448)", "> . 10137:11585(1448)", "> . 11585:13033(1448)", "> P. 13033:14481(1448)", "info unacked 10",
     "info data_segs_out 10", "info bytes_sent 14480", "info notsent_bytes 0", "< . 1:1(0) ack 1449 win 16000 <ts 102 0>",
     "info bytes_acked 1448", "info ca_state 0", "info unacked 9", "+1", "+1", "info last_data_sent_ms 2", "info last_ack_recv_ms 2")
CASE(info_of_a_loss, OPEN, "write 1460", "> P. 1:1461(1460)", "+201", "> P. 1:1461(1460)", "info retransmits 1", "info backoff 1", "info total_retrans 1",
     "info bytes_retrans 1460", "info ca_state 4", "info snd_cwnd 1", "info lost 0", "info snd_ssthresh 2", "< . 1:1(0) ack 1461", "info retransmits 0")
CASE(info_of_a_receiver, OPEN, "< . 101:201(100) ack 1", "> . 1:1(0) ack 1", "info rcv_ooopack 1", "info bytes_received 0", "< . 1:101(100) ack 1", "> . 1:1(0) ack 201",
     "info bytes_received 200", "info data_segs_in 2", "read 200")
CASE(info_of_a_shut_window, OPEN_WIN("0"), "write 100", "+210", "> . 1:2(1)", "info probes 1", "info notsent_bytes 99", "info snd_wnd 0", "< . 1:1(0) ack 1 win 1000",
     "> P. 1:101(100)")
CASE(info_of_an_active_open, "connect", "> S 0:0(0)", "info state 2", "< S. 0:0(0) ack 1 win 65535 <mss 1000>", "> . 1:1(0) ack 1", "info state 4", "info snd_mss 1000",
     "info options 0")

/* ---- Urgent data, RFC 9293 3.8.5, 6093 ---- */
CASE(urgent_byte_is_pointed_to, OPEN, "oob 1", "> PU. 1:2(1) ack 1 urg 1", "< . 1:1(0) ack 2", "write 5", "> P. 2:7(5) ack 1")
CASE(urgent_byte_ends_a_write, OPEN, "oob 10", "> PU. 1:11(10) ack 1 urg 10")
CASE(urgent_byte_is_not_held_by_nagle, OPEN, "write 10", "> P. 1:11(10)", "oob 1", "> PU. 11:12(1) ack 1 urg 1", "write 5", "< . 1:1(0) ack 12", "> P. 12:17(5)")
CASE(urgent_byte_is_not_held_by_a_cork, OPEN, "option cork", "oob 5", "> PU. 1:6(5) ack 1 urg 5")
CASE(urgent_pointer_looks_ahead, OPEN_WIN("3000"), "oob 4000", "> U. 1:1461(1460) ack 1 urg 4000", "> U. 1461:2921(1460) ack 1 urg 2540",
     "< . 1:1(0) ack 2921 win 3000", "> PU. 2921:4001(1080) ack 1 urg 1080")
CASE(urgent_pointer_is_retransmitted, OPEN, "oob 3", "> PU. 1:4(3) ack 1 urg 3", "+201", "> PU. 1:4(3) ack 1 urg 3", "< . 1:1(0) ack 4", "+5000")
CASE(urgent_pointer_is_at_most_65535, "listen", "< S 0:0(0) win 65535 <mss 1460,ws 7>", "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1 win 10", "oob 70000",
     "> U. 1:1(0) ack 1 urg 65535", "+201", "> U. 1:1281(1280) ack 1 urg 65535")
CASE(urgent_pointer_rides_on_probes, OPEN_WIN("0"), "oob 3", "+201", "> U. 1:2(1) ack 1 urg 3", "< . 1:1(0) ack 1 win 100", "> PU. 1:4(3) ack 1 urg 3")
CASE(urgent_pointer_rides_on_acks, OPEN, "oob 3", "> PU. 1:4(3) ack 1 urg 3", "< P. 1:11(10) ack 1", "+41", "> . 4:4(0) ack 11", "read 10")
CASE(later_urgent_byte_takes_its_place, OPEN, "oob 3", "> PU. 1:4(3) ack 1 urg 3", "oob 3", "> PU. 4:7(3) ack 1 urg 3", "+201", "> PU. 1:7(6) ack 1 urg 6")
CASE(urgent_byte_is_known, OPEN, "< PU. 1:11(10) ack 1 urg 10", "mark 9", "read 10", "+41", "> . 1:1(0) ack 11", "count tcp_urgent_rx 1")
CASE(urgent_byte_in_the_middle, OPEN, "< PU. 1:11(10) ack 1 urg 5", "mark 4", "read 10", "+41", "> . 1:1(0) ack 11")
CASE(urgent_byte_is_waited_for, OPEN, "< U. 1:11(10) ack 1 urg 15", "mark 14 waited", "< P. 11:21(10) ack 1", "> . 1:1(0) ack 21", "mark 14", "read 20",
     "count tcp_urgent_rx 1")
CASE(urgent_byte_out_of_order, OPEN, "< U. 101:201(100) ack 1 urg 1", "> . 1:1(0) ack 1", "mark 100", "< . 1:101(100) ack 1", "> . 1:1(0) ack 201", "read 200")
CASE(urgent_pointer_alone, OPEN, "< U. 1:1(0) ack 1 urg 5", "mark 4 waited", "< P. 1:11(10) ack 1", "mark 4", "read 10", "+41", "> . 1:1(0) ack 11")
CASE(old_urgent_pointer_is_no_news, OPEN, "< PU. 1:11(10) ack 1 urg 10", "mark 9", "read 10", "+41", "> . 1:1(0) ack 11", "< U. 11:11(0) ack 1 urg 0", "mark 10 waited",
     "< U. 11:16(5) ack 1 urg 1", "> . 1:1(0) ack 16", "mark 10", "< U. 16:21(5) ack 1 urg 0", "> . 1:1(0) ack 21", "read 10", "count tcp_urgent_rx 3")
CASE(urgent_pointer_of_a_repetition, OPEN, "< PU. 1:11(10) ack 1 urg 10", "+41", "> . 1:1(0) ack 11", "< PU. 1:11(10) ack 1 urg 10", "> . 1:1(0) ack 11", "mark 9",
     "count tcp_urgent_rx 1", "read 10")
CASE(urgent_pointer_without_flag_is_nothing, OPEN, "< P. 1:11(10) ack 1 urg 5", "nothing-urgent", "read 10", "+41", "> . 1:1(0) ack 11")
CASE(urgent_pointer_after_the_end_is_nothing, OPEN, "< F. 1:1(0) ack 1", "> . 1:1(0) ack 2", "< U. 2:2(0) ack 1 urg 5", "nothing-urgent")

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(user_timeout_ends_a_silent_connection), T(user_timeout_may_be_longer_than_the_retries),
        T(user_timeout_begins_anew_with_progress), T(user_timeout_counts_for_the_syn), T(user_timeout_ends_a_shut_window),
        T(user_timeout_replaces_the_probes_count), T(linger2_shortens_the_wait), T(linger2_negative_does_not_wait),
        T(linger2_counts_from_the_close), T(cork_holds_for_200_ms), T(more_waits_for_the_rest), T(more_and_a_full_segment),
        T(more_holds_for_200_ms), T(cork_does_not_hold_a_fin), T(cork_beats_nodelay), T(quickack_pays_at_once),
        T(quickack_may_end), T(unsent_bytes_are_told), T(keepalive_defaults), T(keepalive_waits_while_data_is_out),
        T(keepalive_begins_anew_with_data), T(keepalive_hears_a_reset), T(info_of_a_new_connection), T(info_of_a_sender),
        T(info_of_a_loss), T(info_of_a_receiver), T(info_of_a_shut_window), T(info_of_an_active_open),
        T(urgent_byte_is_pointed_to), T(urgent_byte_ends_a_write), T(urgent_byte_is_not_held_by_nagle),
        T(urgent_byte_is_not_held_by_a_cork), T(urgent_pointer_looks_ahead), T(urgent_pointer_is_retransmitted),
        T(urgent_pointer_is_at_most_65535), T(urgent_pointer_rides_on_probes), T(urgent_pointer_rides_on_acks),
        T(later_urgent_byte_takes_its_place), T(urgent_byte_is_known), T(urgent_byte_in_the_middle),
        T(urgent_byte_is_waited_for), T(urgent_byte_out_of_order), T(urgent_pointer_alone), T(old_urgent_pointer_is_no_news),
        T(urgent_pointer_of_a_repetition), T(urgent_pointer_without_flag_is_nothing),
        T(urgent_pointer_after_the_end_is_nothing),
    };
    cases_begin(argc, argv);
    return RUN_BOTH_PROTOCOLS(tests);
}
