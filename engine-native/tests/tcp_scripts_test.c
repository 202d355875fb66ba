/* SPDX-License-Identifier: BSD-3-Clause
 * TCP, segment by segment: see tcp_script.h for the notation. */
#include "tcp_cases.h"

/* ---- Handshake ---- */
CASE(passive_open_negotiates_options, "listen", "< S 0:0(0) win 65535 <mss 1460,ws 7,ts 5 0>",
     "> S. 0:0(0) ack 1 win 65535 <mss 1460,ws 7,ts 0 5>", "< . 1:1(0) ack 1 win 512 <ts 6 0>", "state ESTABLISHED",
     "count tcp_opened_passive 1")
CASE(passive_open_offers_nothing_unasked, "listen", "< S 0:0(0) win 65535", "> S. 0:0(0) ack 1 win 65535 <mss 1460>",
     "< . 1:1(0) ack 1", "state ESTABLISHED", "write 1000", "> . 1:537(536)", "< . 1:1(0) ack 537", "> P. 537:1001(464)")
CASE(tiny_mss_is_raised, "listen", "< S 0:0(0) win 65535 <mss 1>", "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1", "write 64",
     "> P. 1:65(64)")
CASE(active_open, "connect", "> S 0:0(0) win 65535 <mss 1460,ws 7,sackOK,ts 0 0>", "state SYN-SENT",
     "< S. 0:0(0) ack 1 win 65535 <mss 1000>", "> . 1:1(0) ack 1", "state ESTABLISHED", "write 1000", "> P. 1:1001(1000)")
CASE(simultaneous_open, "connect", "> S 0:0(0)", SYN_IN, "> S. 0:0(0) ack 1", "state SYN-RECEIVED",
     "< S. 0:0(0) ack 1 win 65535 <mss 1460>", "state ESTABLISHED")
CASE(connect_refused, "connect", "> S 0:0(0)", "< R. 0:0(0) ack 1", "error 111", "gone")
CASE(connect_ignores_blind_reset, "connect", "> S 0:0(0)", "< R 0:0(0)", "state SYN-SENT", "< R. 0:0(0) ack 7", "state SYN-SENT",
     "count tcp_rst_ignored 1", "count tcp_bad_ack 1")
CASE(connect_answers_old_ack_with_reset, "connect", "> S 0:0(0)", "< . 0:0(0) ack 77", "> R 77:77(0)", "state SYN-SENT")
CASE(syn_is_retransmitted, "connect", "> S 0:0(0)", "+999", "+2", "> S 0:0(0)", "+1997", "+4", "> S 0:0(0)",
     "< S. 0:0(0) ack 1 win 65535 <mss 1460>", "> . 1:1(0) ack 1", "count tcp_rto 2", "write 3000", "> . 1:1461(1460)",
     "+2998", "+5", "> . 1:1461(1460)")
CASE(connect_times_out, "connect", "> S 0:0(0)", "+126990", "> S 0:0(0)", "> S 0:0(0)", "> S 0:0(0)", "> S 0:0(0)",
     "> S 0:0(0)", "> S 0:0(0)", "+50", "error 110", "gone")
CASE(syn_ack_is_retransmitted, "listen", SYN_IN, "> S. 0:0(0) ack 1", "+1001", "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1",
     "state ESTABLISHED")
CASE(repeated_syn_is_answered_again, "listen", SYN_IN, "> S. 0:0(0) ack 1", SYN_IN, "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1",
     "state ESTABLISHED")
CASE(half_open_connection_is_reset, "listen", SYN_IN, "> S. 0:0(0) ack 1", "< R 1:1(0)", "gone")
CASE(half_open_connection_refuses_wrong_ack, "listen", SYN_IN, "> S. 0:0(0) ack 1", "< . 1:1(0) ack 99", "> R 99:99(0)",
     "< . 1:1(0) ack 1", "state ESTABLISHED")
CASE(listener_answers_ack_with_reset, "listen", "< . 1:1(0) ack 5", "> R 5:5(0)")
CASE(closed_port_answers, "< S 0:0(0)", "> R. 0:0(0) ack 1", "< R 0:0(0)", "< . 5:15(10) ack 9", "> R 9:9(0)", "< F 5:5(0)",
     "> R. 0:0(0) ack 6", "count tcp_no_connection 3", "count tcp_rst_ignored 1")
CASE(senseless_flags_are_dropped, "listen", "< SF 0:0(0)", "< SR 0:0(0)", "< FPU 0:0(0)", "< - 0:0(0)", "count tcp_bad_flags 2",
     "count tcp_no_ack 2", "gone")
CASE(wrong_checksum_is_dropped, "listen", "< S 0:0(0) badsum", "count tcp_bad_cksum 1", "gone")
CASE(broken_options_are_dropped, "listen", "< S 0:0(0) win 65535 <broken>", "count tcp_bad_header 1", "gone")
CASE(unknown_options_are_skipped, "listen", "< S 0:0(0) win 65535 <unknown,mss 700>", "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1",
     "write 700", "> P. 1:701(700)")
CASE(full_accept_queue_defers, "accept later", "listen", SYN_IN, "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1",
     "count tcp_accept_full 1", "accept ok", "+1001", "> S. 0:0(0) ack 1", "< P. 1:11(10) ack 1", "state ESTABLISHED", "read 10",
     "+41", "> . 1:1(0) ack 11")
CASE(failed_accept_resets, "accept no", "listen", SYN_IN, "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1", "> R. 1:1(0) ack 1", "gone")
CASE(closed_while_connecting, "connect", "> S 0:0(0)", "close", "gone")

/* ---- Receiving ---- */
CASE(ack_is_delayed, OPEN, "< P. 1:101(100) ack 1", "read 100", "+39", "+2", "> . 1:1(0) ack 101 win 65435")
CASE(every_second_segment_is_acked, OPEN, "< . 1:1461(1460) ack 1", "< . 1461:2921(1460) ack 1", "> . 1:1(0) ack 2921 win 65535",
     "read 2920", "+1000")
/* A stream: a sender whose window is an odd number of segments would wait for what is left over. */
#define STREAM OPEN, "< . 1:1461(1460) ack 1", "< . 1461:2921(1460) ack 1", "> . 1:1(0) ack 2921 win 65535", "read 2920"
CASE(end_of_a_burst_is_acked, STREAM, "< P. 2921:4381(1460) ack 1", "> . 1:1(0) ack 4381", "read 1460")
CASE(odd_segment_is_acked_at_once, STREAM, "< . 2921:4381(1460) ack 1", "> . 1:1(0) ack 4381", "read 1460")
#define SIXTEEN_AT_ONCE                                                                                                       \
    "< . 2921:2931(10) ack 1", "> . 1:1(0) ack 2931", "< . 2931:2941(10) ack 1", "> . 1:1(0) ack 2941", \
    "< . 2941:2951(10) ack 1", "> . 1:1(0) ack 2951", "< . 2951:2961(10) ack 1", "> . 1:1(0) ack 2961", \
    "< . 2961:2971(10) ack 1", "> . 1:1(0) ack 2971", "< . 2971:2981(10) ack 1", "> . 1:1(0) ack 2981", \
    "< . 2981:2991(10) ack 1", "> . 1:1(0) ack 2991", "< . 2991:3001(10) ack 1", "> . 1:1(0) ack 3001", \
    "< . 3001:3011(10) ack 1", "> . 1:1(0) ack 3011", "< . 3011:3021(10) ack 1", "> . 1:1(0) ack 3021", \
    "< . 3021:3031(10) ack 1", "> . 1:1(0) ack 3031", "< . 3031:3041(10) ack 1", "> . 1:1(0) ack 3041", \
    "< . 3041:3051(10) ack 1", "> . 1:1(0) ack 3051", "< . 3051:3061(10) ack 1", "> . 1:1(0) ack 3061", \
    "< . 3061:3071(10) ack 1", "> . 1:1(0) ack 3071", "< . 3071:3081(10) ack 1", "> . 1:1(0) ack 3081"
CASE(every_second_one_of_many, STREAM, SIXTEEN_AT_ONCE, "< . 3081:3091(10) ack 1", "< . 3091:3101(10) ack 1", "> . 1:1(0) ack 3101", "read 180")
CASE(left_over_segment_is_acked_soon, STREAM, SIXTEEN_AT_ONCE, "< . 3081:3091(10) ack 1", "+2", "> . 1:1(0) ack 3091", "read 170")
CASE(pause_begins_another_flight, STREAM, SIXTEEN_AT_ONCE, "+1", "< . 3081:3091(10) ack 1", "> . 1:1(0) ack 3091", "read 170")
CASE(silent_reader_makes_a_stream, OPEN, "< P. 1:101(100) ack 1", "read 100", "+39", "+2", "> . 1:1(0) ack 101 win 65435", "< P. 101:201(100) ack 1",
     "> . 1:1(0) ack 201 win 65335", "read 100")
CASE(answer_ends_a_stream, STREAM, "write 20", "> P. 1:21(20) ack 2921", "< P. 2921:3021(100) ack 21", "read 100", "+39", "+2", "> . 21:21(0) ack 3021")
CASE(ack_rides_on_data, OPEN, "< P. 1:11(10) ack 1", "read 10", "write 20", "> P. 1:21(20) ack 11", "+50",
     "< . 11:11(0) ack 21")
CASE(gap_is_filled, OPEN, "< . 101:201(100) ack 1", "> . 1:1(0) ack 1", "< . 1:101(100) ack 1", "> . 1:1(0) ack 201", "read 200")
CASE(overlaps_are_cut, OPEN, "< . 101:201(100) ack 1", "> . 1:1(0) ack 1", "< . 51:301(250) ack 1", "> . 1:1(0) ack 1",
     "< . 151:251(100) ack 1", "> . 1:1(0) ack 1", "< . 1:61(60) ack 1", "> . 1:1(0) ack 301", "read 300")
CASE(duplicate_is_acked_again, OPEN, "< P. 1:101(100) ack 1", "+41", "> . 1:1(0) ack 101", "< P. 1:101(100) ack 1",
     "> . 1:1(0) ack 101", "read 100", "count tcp_unacceptable 1")
CASE(partly_old_segment_is_used, OPEN, "< P. 1:101(100) ack 1", "+41", "> . 1:1(0) ack 101", "< P. 51:151(100) ack 1",
     "> . 1:1(0) ack 151", "read 150")
CASE(beyond_the_window_is_dropped, OPEN, "< . 70001:70101(100) ack 1", "> . 1:1(0) ack 1", "count tcp_unacceptable 1")
CASE(window_closes_and_opens, "rcvbuf 2000", "listen", SYN_IN, "> S. 0:0(0) ack 1 win 2000", "< . 1:1(0) ack 1",
     "< . 1:1461(1460) ack 1", "< . 1461:2921(1460) ack 1", "> . 1:1(0) ack 2001 win 0", "< . 2001:2002(1) ack 1",
     "> . 1:1(0) ack 2001 win 0", "read 2000", "> . 1:1(0) ack 2001 win 2000", "< . 2001:2101(100) ack 1", "> . 1:1(0) ack 2101 win 1900",
     "read 100")
CASE(window_does_not_open_by_crumbs, "rcvbuf 2000", "listen", SYN_IN, "> S. 0:0(0) ack 1 win 2000", "< . 1:1(0) ack 1",
     "< . 1:1001(1000) ack 1", "< . 1001:2001(1000) ack 1", "> . 1:1(0) ack 2001 win 0", "read 500", "read 400", "read 200",
     "> . 1:1(0) ack 2001 win 1100")
CASE(acks_count_in_a_closed_window, "rcvbuf 2000", "listen", SYN_IN, "> S. 0:0(0) ack 1 win 2000", "< . 1:1(0) ack 1",
     "write 100", "> P. 1:101(100)", "< . 1:1001(1000) ack 1", "< . 1001:2001(1000) ack 1", "> . 101:101(0) ack 2001 win 0",
     "< . 2001:2011(10) ack 101", "> . 101:101(0) ack 2001 win 0", "+1000", "count tcp_rto 0")
CASE(sequence_numbers_wrap, "peer 4294967000", "iss 4294967200", OPEN, "< . 1:1001(1000) ack 1", "< . 1001:2001(1000) ack 1",
     "> . 1:1(0) ack 2001", "read 2000", "write 2000", "> . 1:1461(1460) ack 2001", "< . 2001:2001(0) ack 1461",
     "> P. 1461:2001(540) ack 2001", "< F. 2001:2001(0) ack 2001", "> . 2001:2001(0) ack 2002", "close", "> F. 2001:2001(0) ack 2002",
     "< . 2002:2002(0) ack 2002", "gone")

/* ---- Sending ---- */
CASE(initial_window_is_ten_segments, OPEN, "write 20000", TEN_SEGMENTS, "> . 13141:14601(1460)", "< . 1:1(0) ack 14601",
     "> . 14601:16061(1460)", "> . 16061:17521(1460)", "> . 17521:18981(1460)", "< . 1:1(0) ack 18981", "> P. 18981:20001(1020)")
CASE(nagle, OPEN, "write 10", "> P. 1:11(10)", "write 10", "write 10", "< . 1:1(0) ack 11", "> P. 11:31(20)")
CASE(nodelay, OPEN, "option nodelay", "write 10", "> P. 1:11(10)", "write 10", "> P. 11:21(10)")
CASE(cork, OPEN, "option cork", "write 10", "+150", "write 2000", "> . 1:1461(1460)", "< . 1:1(0) ack 1461", "option uncork",
     "> P. 1461:2011(550)")
CASE(peer_window_is_respected, OPEN_WIN("3000"), "write 5000", "> . 1:1461(1460)", "> . 1461:2921(1460)",
     "< . 1:1(0) ack 2921 win 3000", "> . 2921:4381(1460)", "< . 1:1(0) ack 4381 win 3000", "> P. 4381:5001(620)")
CASE(window_scale_applies, "listen", "< S 0:0(0) win 65535 <mss 1460,ws 2>", "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1 win 365",
     "write 3000", "> . 1:1461(1460)", "< . 1:1(0) ack 1461 win 365", "> . 1461:2921(1460)", "< . 1:1(0) ack 2921 win 365",
     "> P. 2921:3001(80)")
CASE(closed_window_is_probed, OPEN_WIN("0"), "write 100", "+199", "+2", "> . 1:2(1) ack 1", "< . 1:1(0) ack 1 win 0", "+395", "+10",
     "> . 1:2(1) ack 1", "< . 1:1(0) ack 1 win 1000", "> P. 1:101(100) ack 1", "count tcp_probe 2")
CASE(probe_may_be_accepted, OPEN_WIN("0"), "write 100", "+201", "> . 1:2(1) ack 1", "< . 1:1(0) ack 2 win 1000",
     "> P. 2:101(99) ack 1", "< . 1:1(0) ack 101 win 1000", "+5000")
CASE(closed_window_may_last, OPEN_WIN("0"), "write 100", "+201", "> . 1:2(1)", DUPACK " win 0", "+405", "> . 1:2(1)",
     DUPACK " win 0", "+805", "> . 1:2(1)", DUPACK " win 0", "+1605", "> . 1:2(1)", DUPACK " win 0", "state ESTABLISHED",
     DUPACK " win 100", "> P. 1:101(100)")

/* ---- Retransmission ---- */
CASE(timeout_backs_off, OPEN, "write 100", "> P. 1:101(100)", "+199", "+2", "> P. 1:101(100)", "+395", "+10", "> P. 1:101(100)",
     "+790", "+20", "> P. 1:101(100)", "< . 1:1(0) ack 101", "+10000", "count tcp_rto 3")
CASE(timeout_goes_back, OPEN, "write 4380", "> . 1:1461(1460)", "> . 1461:2921(1460)", "> P. 2921:4381(1460)", "+201",
     "> . 1:1461(1460)", "< . 1:1(0) ack 1461", "> . 1461:2921(1460)", "> P. 2921:4381(1460)", "< . 1:1(0) ack 4381", "+5000")
CASE(timeout_gives_up, OPEN, "write 10", "> P. 1:11(10)", "+2000000", "> P. 1:11(10)", "> P. 1:11(10)", "> P. 1:11(10)",
     "> P. 1:11(10)", "> P. 1:11(10)", "> P. 1:11(10)", "> P. 1:11(10)", "> P. 1:11(10)", "> P. 1:11(10)", "> P. 1:11(10)",
     "> P. 1:11(10)", "> P. 1:11(10)", "> P. 1:11(10)", "> P. 1:11(10)", "> P. 1:11(10)", "> R. 11:11(0) ack 1", "error 110",
     "gone")
CASE(fast_retransmit, OPEN, "write 14600", TEN_SEGMENTS, "> P. 13141:14601(1460)", DUPACK, DUPACK, DUPACK, "> . 1:1461(1460)",
     DUPACK, "< . 1:1(0) ack 14601", "+5000", "count tcp_fast_retransmit 1", "count tcp_rto 0")
CASE(partial_ack_retransmits_next_hole, OPEN, "write 14600", TEN_SEGMENTS, "> P. 13141:14601(1460)", DUPACK, DUPACK, DUPACK,
     "> . 1:1461(1460)", "< . 1:1(0) ack 2921", "> . 2921:4381(1460)", "< . 1:1(0) ack 14601", "+5000",
     "count tcp_partial_ack 1", "count tcp_rto 0")
CASE(limited_transmit, OPEN, "write 20000", TEN_SEGMENTS, "> . 13141:14601(1460)", DUPACK, "> . 14601:16061(1460)", DUPACK,
     "> . 16061:17521(1460)", DUPACK, "> . 1:1461(1460)")
CASE(window_updates_are_no_duplicates, OPEN, "write 14600", TEN_SEGMENTS, "> P. 13141:14601(1460)", DUPACK " win 60000",
     DUPACK " win 61000", DUPACK " win 62000", DUPACK " win 63000", "count tcp_fast_retransmit 0")
CASE(no_fast_retransmit_twice_for_one_window, OPEN, "write 14600", TEN_SEGMENTS, "> P. 13141:14601(1460)", "+201",
     "> . 1:1461(1460)", DUPACK, "> . 1461:2921(1460)", DUPACK, "> . 2921:4381(1460)", DUPACK, DUPACK, "count tcp_fast_retransmit 0")
CASE(ack_after_going_back_is_acceptable, OPEN, "write 4380", "> . 1:1461(1460)", "> . 1461:2921(1460)", "> P. 2921:4381(1460)",
     "+201", "> . 1:1461(1460)", "< P. 1:11(10) ack 1", "read 10", "+41", "> . 4381:4381(0) ack 11")

/* ---- Closing ---- */
CASE(active_close, OPEN, "close", "> F. 1:1(0) ack 1", "state FIN-WAIT-1", "< . 1:1(0) ack 2", "state FIN-WAIT-2",
     "< F. 1:1(0) ack 2", "> . 2:2(0) ack 2", "state TIME-WAIT", "+59990", "state TIME-WAIT", "+20", "gone")
CASE(passive_close, OPEN, "< F. 1:1(0) ack 1", "> . 1:1(0) ack 2", "eof", "state CLOSE-WAIT", "write 5", "> P. 1:6(5) ack 2",
     "close", "> F. 6:6(0) ack 2", "state LAST-ACK", "< . 2:2(0) ack 7", "gone")
CASE(simultaneous_close, OPEN, "close", "> F. 1:1(0) ack 1", "< F. 1:1(0) ack 1", "> . 2:2(0) ack 2", "state CLOSING",
     "< . 2:2(0) ack 2", "state TIME-WAIT")
CASE(three_way_close, OPEN, "close", "> F. 1:1(0) ack 1", "< F. 1:1(0) ack 2", "> . 2:2(0) ack 2", "state TIME-WAIT")
CASE(half_close, OPEN, "shutdown", "> F. 1:1(0) ack 1", "< . 1:1(0) ack 2", "< P. 1:101(100) ack 2", "read 100", "+41",
     "> . 2:2(0) ack 101", "+100000", "state FIN-WAIT-2", "< F. 101:101(0) ack 2", "> . 2:2(0) ack 102", "eof", "state TIME-WAIT")
CASE(fin_waits_for_the_gap, OPEN, "< F. 101:201(100) ack 1", "> . 1:1(0) ack 1", "< . 1:101(100) ack 1", "> . 1:1(0) ack 202",
     "read 200", "eof", "state CLOSE-WAIT")
CASE(nothing_follows_the_fin, OPEN, "< . 5:105(100) ack 1", "> . 1:1(0) ack 1", "< F. 1:4(3) ack 1", "> . 1:1(0) ack 5", "read 3", "eof",
     "state CLOSE-WAIT", "count tcp_after_fin 1")
CASE(nothing_is_taken_for_the_fin, OPEN, "< . 4:104(100) ack 1", "> . 1:1(0) ack 1", "< F. 1:4(3) ack 1", "> . 1:1(0) ack 5", "read 3",
     "eof", "state CLOSE-WAIT", "count tcp_after_fin 1")
CASE(kept_data_ends_at_the_fin, OPEN, "< . 101:301(200) ack 1", "> . 1:1(0) ack 1", "< F. 151:201(50) ack 1", "> . 1:1(0) ack 1",
     "< . 301:401(100) ack 1", "count tcp_after_fin 1", "< . 1:101(100) ack 1", "> . 1:1(0) ack 202", "read 200", "eof", "state CLOSE-WAIT")
CASE(fin_follows_the_data, OPEN_WIN("2000"), "write 3000", "> . 1:1461(1460)", "close", "< . 1:1(0) ack 1461 win 2000",
     "> . 1461:2921(1460)",
     "> FP. 2921:3001(80)", "state FIN-WAIT-1")
CASE(fin_is_retransmitted, OPEN, "close", "> F. 1:1(0) ack 1", "+201", "> F. 1:1(0) ack 1", "< . 1:1(0) ack 2",
     "state FIN-WAIT-2")
CASE(orphan_in_fin_wait_2_times_out, OPEN, "close", "> F. 1:1(0) ack 1", "< . 1:1(0) ack 2", "+60010", "gone")
CASE(data_after_close_is_reset, OPEN, "close", "> F. 1:1(0) ack 1", "< P. 1:101(100) ack 2", "> R. 2:2(0) ack 1", "gone",
     "count tcp_after_close 1")
CASE(close_with_unread_data_resets, OPEN, "< P. 1:101(100) ack 1", "close", "> R. 1:1(0) ack 101", "gone")
CASE(abort_resets, OPEN, "write 10", "> P. 1:11(10)", "abort", "> R. 11:11(0) ack 1", "gone")
CASE(time_wait_acks_fin_again, OPEN, "close", "> F. 1:1(0) ack 1", "< F. 1:1(0) ack 2", "> . 2:2(0) ack 2", "+50000",
     "< F. 1:1(0) ack 2", "> . 2:2(0) ack 2", "+50000", "state TIME-WAIT", "< R 2:2(0)", "state TIME-WAIT", "+10010", "gone")
CASE(time_wait_gives_way_to_new_syn, OPEN, "close", "> F. 1:1(0) ack 1", "< F. 1:1(0) ack 2", "> . 2:2(0) ack 2",
     "< S 5000:5000(0) win 65535 <mss 1460>", "> S. 65539:65539(0) ack 5001", "< . 5001:5001(0) ack 65540", "state ESTABLISHED")

/* ---- Attacks and accidents ---- */
CASE(exact_reset_ends, OPEN, "< R 1:1(0)", "error 104", "gone")
CASE(reset_after_fin_is_a_broken_pipe, OPEN, "< F. 1:1(0) ack 1", "> . 1:1(0) ack 2", "< R 2:2(0)", "error 32", "gone")
CASE(reset_in_window_is_challenged, OPEN, "< R 100:100(0)", "> . 1:1(0) ack 1", "state ESTABLISHED", "< R 70000:70000(0)",
     "state ESTABLISHED", "count tcp_challenge_ack 1")
CASE(syn_in_window_is_challenged, OPEN, "< S 100:100(0)", "> . 1:1(0) ack 1", "state ESTABLISHED", "count tcp_syn_in_window 1")
CASE(ack_of_the_future_is_challenged, OPEN, "< P. 1:11(10) ack 500", "> . 1:1(0) ack 1", "count tcp_bad_ack 1")
CASE(ack_of_the_past_is_challenged, OPEN, "< P. 1:11(10) ack 4294900000", "> . 1:1(0) ack 1", "count tcp_bad_ack 1")
CASE(challenges_are_limited, OPEN, "< S 9:9(0)", "> . 1:1(0)", "< S 9:9(0)", "> . 1:1(0)", "< S 9:9(0)", "> . 1:1(0)",
     "< S 9:9(0)", "> . 1:1(0)", "< S 9:9(0)", "> . 1:1(0)", "< S 9:9(0)", "> . 1:1(0)", "< S 9:9(0)", "> . 1:1(0)", "< S 9:9(0)",
     "> . 1:1(0)", "< S 9:9(0)", "> . 1:1(0)", "< S 9:9(0)", "> . 1:1(0)", "< S 9:9(0)", "count tcp_challenge_limited 1", "+1001",
     "< S 9:9(0)", "> . 1:1(0)")
CASE(segments_without_ack_are_dropped, OPEN, "< P 1:11(10)", "< F 1:1(0)", "count tcp_no_ack 2", "state ESTABLISHED")
CASE(old_timestamps_are_turned_away, "listen", "< S 0:0(0) win 65535 <mss 1460,ws 7,ts 100 0>", "> S. 0:0(0) ack 1",
     "< . 1:1(0) ack 1 win 512 <ts 101 0>", "< P. 1:101(100) ack 1 win 512 <ts 102 0>", "+41",
     "> . 1:1(0) ack 101 win 1023 <ts 40 102>", "< P. 101:201(100) ack 1 win 512 <ts 50 0>", "> . 1:1(0) ack 101", "count tcp_paws 1",
     "< P. 101:201(100) ack 1 win 512", "count tcp_no_timestamp 1", "read 100")
CASE(timestamps_take_room, "listen", "< S 0:0(0) win 65535 <mss 1460,ts 1 0>", "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1 <ts 2 0>",
     "write 1500", "> . 1:1449(1448) ack 1 win 65535 <ts 0 2>", "< . 1:1(0) ack 1449 <ts 3 0>", "> P. 1449:1501(52)")
CASE(icmp_refuses_a_connect, "connect", "> S 0:0(0)", "icmp 3 3 0", "error 111", "gone")
CASE(icmp_ends_a_connect, "connect", "> S 0:0(0)", "icmp 3 1 0", "error 113", "gone")
CASE(icmp_is_remembered, OPEN, "write 10", "> P. 1:11(10)", "icmp 3 1 1", "state ESTABLISHED", "+2000000", "> P. 1:11(10)", "> P. 1:11(10)", "> P. 1:11(10)",
     "> P. 1:11(10)", "> P. 1:11(10)", "> P. 1:11(10)", "> P. 1:11(10)", "> P. 1:11(10)", "> P. 1:11(10)", "> P. 1:11(10)",
     "> P. 1:11(10)", "> P. 1:11(10)", "> P. 1:11(10)", "> P. 1:11(10)", "> P. 1:11(10)", "> R. 11:11(0) ack 1", "error 113",
     "gone")
CASE(icmp_for_other_sequence_numbers_is_ignored, "connect", "> S 0:0(0)", "icmp 3 3 5", "state SYN-SENT", "count icmp_ignored 1")

/* ---- Keep-alive ---- */
CASE(keepalive_probes_and_gives_up, OPEN, "option keepalive 10 2 3", "+9999", "+2", "> . 0:0(0) ack 1", "< . 1:1(0) ack 1",
     "+9980", "+30", "> . 0:0(0) ack 1", "+2000", "> . 0:0(0) ack 1", "+2000", "> . 0:0(0) ack 1", "+2010", "> R. 1:1(0) ack 1",
     "error 110", "gone")
CASE(keepalive_of_the_peer_is_answered, OPEN, "< . 0:0(0) ack 1", "> . 1:1(0) ack 1")
CASE(idle_connection_costs_no_timer, OPEN, "< P. 1:101(100) ack 1", "read 100", "+41", "> . 1:1(0) ack 101", "write 1",
     "> P. 1:2(1) ack 101", "< . 101:101(0) ack 2", "+3600000", "state ESTABLISHED")

/* ---- Path MTU: with IPv6 the port carries 20 bytes more, its header takes 20 more ---- */
CASE(path_mtu_makes_segments_smaller, OPEN, "write 2920", "> . 1:1461(1460)", "> P. 1461:2921(1460)", "icmp 3 4 1 mtu 1300",
     "> . 1:1261(1260)", "> . 1261:2521(1260)", "> P. 2521:2921(400)", "count pmtu_learned 1", "state ESTABLISHED", "icmp 3 4 1261 mtu 1300", "< . 1:1(0) ack 2921", "+5000", "count tcp_rto 0")
CASE(path_mtu_is_believed_only_about_what_is_outstanding, OPEN, "write 1460", "> P. 1:1461(1460)", "icmp 3 4 99999 mtu 1300",
     "count pmtu_learned 0", "count icmp_ignored 1", "< . 1:1(0) ack 1461")
CASE(path_mtu_never_grows, OPEN, "write 1460", "> P. 1:1461(1460)", "icmp 3 4 1 mtu 9000", "< . 1:1(0) ack 1461", "write 1460",
     "> P. 1461:2921(1460)")
CASE(mss_without_option_is_1220, "listen", "< S 0:0(0) win 65535", "> S. 0:0(0) ack 1 win 65535 <mss 1460>",
     "< . 1:1(0) ack 1", "write 2000", "> . 1:1221(1220)", "< . 1:1(0) ack 1221", "> P. 1221:2001(780)")

#define T(name) cmocka_unit_test(name)
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(passive_open_negotiates_options), T(tiny_mss_is_raised),
        T(active_open), T(simultaneous_open), T(connect_refused), T(connect_ignores_blind_reset),
        T(connect_answers_old_ack_with_reset), T(syn_is_retransmitted), T(connect_times_out),
        T(syn_ack_is_retransmitted), T(repeated_syn_is_answered_again), T(half_open_connection_is_reset),
        T(half_open_connection_refuses_wrong_ack), T(listener_answers_ack_with_reset), T(closed_port_answers),
        T(senseless_flags_are_dropped), T(wrong_checksum_is_dropped), T(broken_options_are_dropped),
        T(unknown_options_are_skipped), T(full_accept_queue_defers), T(failed_accept_resets),
        T(closed_while_connecting), T(ack_is_delayed), T(every_second_segment_is_acked), T(end_of_a_burst_is_acked),
        T(odd_segment_is_acked_at_once), T(every_second_one_of_many),
        T(left_over_segment_is_acked_soon), T(pause_begins_another_flight), T(silent_reader_makes_a_stream), T(answer_ends_a_stream), T(ack_rides_on_data),
        T(gap_is_filled), T(overlaps_are_cut), T(duplicate_is_acked_again), T(partly_old_segment_is_used),
        T(beyond_the_window_is_dropped), T(window_closes_and_opens), T(window_does_not_open_by_crumbs),
        T(acks_count_in_a_closed_window), T(sequence_numbers_wrap), T(initial_window_is_ten_segments), T(nagle),
        T(nodelay), T(cork), T(peer_window_is_respected), T(window_scale_applies), T(closed_window_is_probed),
        T(probe_may_be_accepted), T(closed_window_may_last), T(timeout_backs_off), T(timeout_goes_back),
        T(timeout_gives_up), T(fast_retransmit), T(partial_ack_retransmits_next_hole), T(limited_transmit),
        T(window_updates_are_no_duplicates), T(no_fast_retransmit_twice_for_one_window),
        T(ack_after_going_back_is_acceptable), T(active_close), T(passive_close), T(simultaneous_close),
        T(three_way_close), T(half_close), T(fin_waits_for_the_gap), T(nothing_follows_the_fin),
        T(nothing_is_taken_for_the_fin), T(kept_data_ends_at_the_fin), T(fin_follows_the_data), T(fin_is_retransmitted),
        T(orphan_in_fin_wait_2_times_out), T(data_after_close_is_reset), T(close_with_unread_data_resets),
        T(abort_resets), T(time_wait_acks_fin_again), T(time_wait_gives_way_to_new_syn), T(exact_reset_ends),
        T(reset_after_fin_is_a_broken_pipe), T(reset_in_window_is_challenged), T(syn_in_window_is_challenged),
        T(ack_of_the_future_is_challenged), T(ack_of_the_past_is_challenged), T(challenges_are_limited),
        T(segments_without_ack_are_dropped), T(old_timestamps_are_turned_away), T(timestamps_take_room),
        T(icmp_refuses_a_connect), T(icmp_ends_a_connect), T(icmp_is_remembered), T(icmp_for_other_sequence_numbers_is_ignored),
        T(keepalive_probes_and_gives_up), T(keepalive_of_the_peer_is_answered), T(idle_connection_costs_no_timer),
        T(path_mtu_makes_segments_smaller), T(path_mtu_is_believed_only_about_what_is_outstanding), T(path_mtu_never_grows),
    };
    const struct CMUnitTest tests4[] = {T(passive_open_offers_nothing_unasked)};
    const struct CMUnitTest tests6[] = {T(mss_without_option_is_1220)};
    cases_begin(argc, argv);
    int failed = cmocka_run_group_tests_name("IPv4 alone", tests4, NULL, NULL);
    failed += cmocka_run_group_tests_name("payload copied", tests, NULL, NULL);
    bed.lend = true;
    failed += cmocka_run_group_tests_name("payload lent", tests, NULL, NULL);
    bed.tso = true; /* on the wire nothing is to change */
    failed += cmocka_run_group_tests_name("the port cuts", tests, NULL, NULL);
    bed.ip6 = true;
    failed += cmocka_run_group_tests_name("the port cuts, IPv6", tests, NULL, NULL);
    bed.tso = false;
    failed += cmocka_run_group_tests_name("IPv6", tests, NULL, NULL);
    return failed + cmocka_run_group_tests_name("IPv6 alone", tests6, NULL, NULL);
}
