/* SPDX-License-Identifier: BSD-3-Clause
 * TCP Fast Open (RFC 7413), segment by segment. tcp_script.h has the notation. */
#include "tcp_cases.h"
#include "tcp_conn.h"

/* ---- Server: cookies ---- */
#define LISTEN "option pending 2", "listen"
/* Peer 7 has asked for the cookie, and went. */
#define GIVEN LISTEN, "as 7", "< S 0:0(0) win 65535 <mss 1460,fo>", "> S. 0:0(0) ack 1 win 65535 <mss 1460,fo given>", "< R 1:1(0)", "as 0"
#define SYN_DATA "< S 0:100(100) win 65535 <mss 1460,fo given>"
#define TAKEN GIVEN, SYN_DATA, "> S. 0:0(0) ack 101 win 65535 <mss 1460>"

CASE(cookie_is_given, LISTEN, "< S 0:0(0) win 65535 <mss 1460,fo>", "> S. 0:0(0) ack 1 win 65535 <mss 1460,fo given>", "< . 1:1(0) ack 1",
     "state ESTABLISHED", "count tcp_tfo_cookie_tx 1", "count tcp_tfo_accepted 0", "info options 0")
CASE(cookie_is_given_beside_all_options, LISTEN, "< S 0:0(0) win 65535 <mss 1460,sackOK,ws 7,ts 100 0,fo>",
     "> S. 0:0(0) ack 1 win 65535 <mss 1460,ws 7,sackOK,ts 0 100,fo given>")
CASE(no_cookie_unless_the_listener_wants, "listen", "< S 0:0(0) win 65535 <mss 1460,fo>", "> S. 0:0(0) ack 1 win 65535 <mss 1460>")
CASE(no_cookie_unless_asked, LISTEN, SYN_IN, "> S. 0:0(0) ack 1 win 65535 <mss 1460>")
CASE(data_without_cookie_is_not_taken, LISTEN, "< S 0:100(100) win 65535 <mss 1460>", "> S. 0:0(0) ack 1 win 65535 <mss 1460>",
     "< P. 1:101(100) ack 1", "state ESTABLISHED", "read 100", "+41", "> . 1:1(0) ack 101", "count tcp_tfo_accepted 0")
CASE(wrong_cookie_brings_the_right_one, LISTEN, "< S 0:100(100) win 65535 <mss 1460,fo 0102030405060708>",
     "> S. 0:0(0) ack 1 win 65535 <mss 1460,fo given>", "count tcp_tfo_cookie_bad 1", "count tcp_tfo_accepted 0", "state CLOSED")
CASE(short_cookie_is_wrong, LISTEN, "< S 0:100(100) win 65535 <mss 1460,fo 01020304>", "> S. 0:0(0) ack 1 win 65535 <mss 1460,fo given>",
     "count tcp_tfo_cookie_bad 1")
CASE(malformed_cookie_is_no_option, LISTEN, "< S 0:100(100) win 65535 <mss 1460,fo 010203>", "> S. 0:0(0) ack 1 win 65535 <mss 1460>",
     "count tcp_tfo_cookie_bad 0")
CASE(data_without_cookie_where_none_is_needed, "option nocookie", LISTEN, "< S 0:100(100) win 65535 <mss 1460>", "> S. 0:0(0) ack 101",
     "read 100", "count tcp_tfo_accepted 1")

/* As Linux: accepted at once, so that the server may speak first. */
CASE(cookie_without_data_is_accepted, GIVEN, "< S 0:0(0) win 65535 <mss 1460,fo given>", "> S. 0:0(0) ack 1 win 65535 <mss 1460>", "state ESTABLISHED",
     "count tcp_tfo_accepted 1", "info options 0", "write 10", "> P. 1:11(10) ack 1", "< . 1:1(0) ack 11", "< P. 1:11(10) ack 11", "read 10", "+41",
     "> . 11:11(0) ack 11")
CASE(wrong_cookie_without_data_is_not, LISTEN, "< S 0:0(0) win 65535 <mss 1460,fo 0102030405060708>", "> S. 0:0(0) ack 1 win 65535 <mss 1460,fo given>",
     "state CLOSED", "count tcp_tfo_accepted 0", "count tcp_tfo_cookie_bad 1")
CASE(backup_cookie_without_data_brings_a_new_one, "option key first", GIVEN, "option key second first", "< S 0:0(0) win 65535 <mss 1460,fo given>",
     "> S. 0:0(0) ack 1 win 65535 <mss 1460,fo given>", "count tcp_tfo_accepted 1", "count tcp_tfo_cookie_backup 1")
CASE(option_is_enough_where_no_cookie_is_needed, "option nocookie", LISTEN, "< S 0:0(0) win 65535 <mss 1460,fo>",
     "> S. 0:0(0) ack 1 win 65535 <mss 1460>", "count tcp_tfo_accepted 1")
CASE(plain_syn_is_not_fast_where_no_cookie_is_needed, "option nocookie", LISTEN, SYN_IN, "> S. 0:0(0) ack 1 win 65535 <mss 1460>",
     "count tcp_tfo_accepted 0")

/* ---- Server: TCP_FASTOPEN_KEY ---- */
#define AGAIN "< . 101:101(0) ack 1", "read 100", "as 3", "< S 0:100(100) win 65535 <mss 1460,fo given>"
CASE(key_of_a_listener_makes_its_cookies, "option key first", TAKEN, "read 100", "count tcp_tfo_accepted 1", "count tcp_tfo_cookie_backup 0")
CASE(another_key_refuses_the_cookie, "option key first", GIVEN, "option key second", SYN_DATA, "> S. 0:0(0) ack 1 win 65535 <mss 1460,fo given>",
     "count tcp_tfo_cookie_bad 1", "count tcp_tfo_accepted 0")
CASE(the_stacks_cookie_is_none_of_the_keys, GIVEN, "option key first", SYN_DATA, "> S. 0:0(0) ack 1 win 65535 <mss 1460,fo given>",
     "count tcp_tfo_cookie_bad 1")
CASE(a_keys_cookie_is_none_of_the_stacks, "option key first", GIVEN, "option key", SYN_DATA, "> S. 0:0(0) ack 1 win 65535 <mss 1460,fo given>",
     "count tcp_tfo_cookie_bad 1")
CASE(backup_key_is_good_and_brings_a_new_cookie, "option key first", GIVEN, "option key second first", SYN_DATA,
     "> S. 0:0(0) ack 101 win 65535 <mss 1460,fo given>", "count tcp_tfo_accepted 1", "count tcp_tfo_cookie_backup 1", "count tcp_tfo_cookie_bad 0",
     "option key second", AGAIN, "> S. 0:0(0) ack 101 win 65535 <mss 1460>", "count tcp_tfo_accepted 2", "count tcp_tfo_cookie_backup 1")
CASE(backup_key_makes_no_cookies, "option key second first", GIVEN, "option key first", SYN_DATA,
     "> S. 0:0(0) ack 1 win 65535 <mss 1460,fo given>", "count tcp_tfo_cookie_bad 1")
CASE(backup_cookie_brings_a_new_one_where_it_is_too_many, "option key first", GIVEN, "option key second first", "option pending 1", "as 1", SYN_DATA,
     "> S. 0:0(0) ack 101 win 65535 <mss 1460,fo given>", "as 2", SYN_DATA, "> S. 0:0(0) ack 1 win 65535 <mss 1460>", "count tcp_tfo_full 1")
CASE(lost_new_cookie_is_given_again, "option key first", GIVEN, "option key second first", SYN_DATA,
     "> S. 0:0(0) ack 101 win 65535 <mss 1460,fo given>", "+1001", "> S. 0:0(0) ack 101 win 65535 <mss 1460,fo given>")

static uint32_t known_key(void *arg, const struct tcp_flow *flow, uint8_t keys[TCP_TFO_KEYS][TCP_TFO_KEY_LEN])
{
    (void)flow;
    memcpy(keys[0], arg, TCP_TFO_KEY_LEN);
    return 1;
}

/* Those of Linux' own tests, tools/testing/selftests/net/packetdrill/ksft_runner.sh. */
static void cookies_are_those_of_linux(void **state)
{
    static const struct tcp_listener_ops ops = {.fastopen_keys = known_key};
    static uint8_t key[] = {0xa1, 0xa1, 0xa1, 0xa1, 0xb2, 0xb2, 0xb2, 0xb2, 0xc3, 0xc3, 0xc3, 0xc3, 0xd4, 0xd4, 0xd4, 0xd4};
    static const struct {
        struct tcp_flow flow;
        uint8_t cookie[TCP_TFO_COOKIE_LEN];
    } known[] = {
        {{.remote_ip = {.b = {[10] = 0xff, 0xff, 192, 0, 2, 1}}, .local_ip = {.b = {[10] = 0xff, 0xff, 192, 168, 0, 1}}},
         {0x30, 0x21, 0xb9, 0xd8, 0x89, 0x01, 0x7e, 0xeb}},
        {{.remote_ip = {.b = {0xfd, 0x3d, 0xfa, 0x7b, 0xd1, 0x7d, [15] = 1}}, .local_ip = {.b = {0xfd, 0x3d, 0x0a, 0x0b, 0x17, 0xd6, [15] = 1}}},
         {0xc1, 0xd1, 0xe9, 0x74, 0x2a, 0x47, 0xa9, 0xbc}},
    };
    (void)state;
    for (size_t i = 0; i < RTE_DIM(known); i++) {
        struct stack stack = {.now = 0};
        struct tcp_listener l = {.ops = &ops, .arg = key};
        struct tcp_conn c = {.st = &stack, .flow = known[i].flow, .tfo = TCP_TFO_GIVE, .listener = &l};
        uint8_t cookie[TCP_TFO_COOKIE_MAX];
        bool has;
        assert_int_equal(tcp_tfo_option(&c, true, cookie, &has), TCP_TFO_COOKIE_LEN);
        assert_true(has);
        assert_memory_equal(cookie, known[i].cookie, TCP_TFO_COOKIE_LEN);
    }
}

/* ---- Server: data ---- */
CASE(data_is_taken, TAKEN, "read 100", "info state 3", "info options 32", "count tcp_tfo_accepted 1", "< . 101:101(0) ack 1", "info state 4",
     "state ESTABLISHED", "write 10", "> P. 1:11(10) ack 101")
CASE(answer_precedes_the_handshakes_end, TAKEN, "read 100", "write 10", "> P. 1:11(10) ack 101", "< . 101:101(0) ack 11", "+5000",
     "count tcp_retransmitted 0", "info state 4")
CASE(answer_and_end, TAKEN, "read 100", "write 10", "> P. 1:11(10) ack 101", "close", "> F. 11:11(0) ack 101", "< F. 101:101(0) ack 12",
     "> . 12:12(0) ack 102", "state TIME-WAIT")
CASE(answers_keep_to_the_initial_window, TAKEN, "read 100", "write 20000", "> . 1:1461(1460)", "> . 1461:2921(1460)", "> . 2921:4381(1460)",
     "> . 4381:5841(1460)", "> . 5841:7301(1460)", "> . 7301:8761(1460)", "> . 8761:10221(1460)", "> . 10221:11681(1460)",
     "> . 11681:13141(1460)", "> . 13141:14601(1460)")
CASE(lost_syn_ack_is_sent_again, TAKEN, "read 100", "+1001", "> S. 0:0(0) ack 101", "< . 101:101(0) ack 1", "state ESTABLISHED", "+9000",
     "count tcp_retransmitted 1")
CASE(lost_syn_ack_and_answer, TAKEN, "read 100", "write 10", "> P. 1:11(10)", "+1001", "> S. 0:0(0) ack 101", "> P. 1:11(10) ack 101",
     "< . 101:101(0) ack 11", "+9000")
CASE(syn_again_is_answered_again, TAKEN, "read 100", "< S 0:0(0) win 65535 <mss 1460>", "> S. 0:0(0) ack 101", "< . 101:101(0) ack 1", "state ESTABLISHED")
CASE(syn_ack_is_given_up, TAKEN, "read 100", "+63000", "> S. 0:0(0)", "> S. 0:0(0)", "> S. 0:0(0)", "> S. 0:0(0)", "> S. 0:0(0)", "error 110", "gone")
CASE(reset_ends_it, TAKEN, "< R 101:101(0)", "gone")
CASE(more_data_confirms, TAKEN, "< P. 101:201(100) ack 1", "+41", "> . 1:1(0) ack 201", "read 200", "info state 4")
CASE(guessed_acknowledgement_does_not_confirm, TAKEN, "< . 101:101(0) ack 2", "> . 1:1(0) ack 101", "info state 3")
CASE(unconfirmed_are_bounded, "option pending 1", "listen", "as 7", "< S 0:0(0) win 65535 <mss 1460,fo>", "> S. 0:0(0) ack 1 win 65535 <mss 1460,fo given>",
     "< R 1:1(0)", "as 1", SYN_DATA, "> S. 0:0(0) ack 101", "as 2", SYN_DATA, "> S. 0:0(0) ack 1", "count tcp_tfo_full 1", "as 1", "< . 101:101(0) ack 1",
     "as 3", SYN_DATA, "> S. 0:0(0) ack 101", "count tcp_tfo_accepted 2")
CASE(full_accept_queue_falls_back, GIVEN, "accept later", SYN_DATA, "> S. 0:0(0) ack 1", "accept ok", "< P. 1:101(100) ack 1", "state ESTABLISHED", "read 100", "+41",
     "> . 1:1(0) ack 101")
CASE(flood_goes_before_fast_open, "option pending 2", "listen 1", "as 7", "< S 0:0(0) win 65535 <mss 1460,fo>", "> S. 0:0(0) ack 1 win 65535 <mss 1460,fo given>",
     "as 0", SYN_DATA, "> S. 0:0(0) ack 1 win 65535 <mss 1460>", "count tcp_cookie_tx 1", "count tcp_tfo_accepted 0")

/* ---- Client ---- */
#define ASK "option fastopen", "connect", "> S 0:0(0) win 65535 <mss 1460,ws 7,sackOK,ts 0 0,fo>"
/* The cookie is there, the connection that brought it is gone; peer 1 is next. */
#define CACHED ASK, "< S. 0:0(0) ack 1 win 65535 <mss 1460,fo 0102030405060708>", "> . 1:1(0) ack 1", "abort", "> R. 1:1(0) ack 1", "as 1"
#define SENT CACHED, "connect", "write 100", "> S 0:100(100) win 65535 <mss 1460,ws 7,sackOK,ts 0 0,fo 0102030405060708>"

CASE(cookie_is_asked_for, ASK, "< S. 0:0(0) ack 1 win 65535 <mss 1460>", "> . 1:1(0) ack 1", "state ESTABLISHED", "info options 0", "count tcp_tfo_sent 0")
CASE(nobody_asks_unasked, "connect", "> S 0:0(0) win 65535 <mss 1460,ws 7,sackOK,ts 0 0>")
CASE(syn_waits_for_data, CACHED, "connect", "+5000", "state SYN-SENT", "write 100",
     "> S 0:100(100) win 65535 <mss 1460,ws 7,sackOK,ts 0 0,fo 0102030405060708>")
CASE(syn_does_not_wait_for_a_shutdown, CACHED, "connect", "shutdown", "> S 0:0(0)")
CASE(waiting_syn_may_be_given_up, CACHED, "connect", "close", "gone")
CASE(syn_data_is_acknowledged, SENT, "< S. 0:0(0) ack 101 win 65535 <mss 1460>", "> . 101:101(0) ack 1", "state ESTABLISHED", "info options 32",
     "count tcp_tfo_taken 1", "count tcp_tfo_fallback 0", "write 10", "> P. 101:111(10) ack 1", "< . 1:1(0) ack 111")
CASE(syn_ack_brings_data, SENT, "< S. 0:0(0) ack 101 win 65535 <mss 1460>", "> . 101:101(0) ack 1", "< P. 1:11(10) ack 101", "read 10", "+41", "> . 101:101(0) ack 11")
CASE(syn_data_is_not_acknowledged, SENT, "< S. 0:0(0) ack 1 win 65535 <mss 1460>", "> P. 1:101(100) ack 1", "state ESTABLISHED", "info options 0",
     "count tcp_tfo_fallback 1", "count tcp_tfo_taken 0", "< . 1:1(0) ack 101")
CASE(syn_data_is_acknowledged_in_part, SENT, "< S. 0:0(0) ack 51 win 65535 <mss 1460>", "> P. 51:101(50) ack 1", "< . 1:1(0) ack 101", "count tcp_tfo_taken 1")
CASE(bad_acknowledgement_is_refused, SENT, "< S. 0:0(0) ack 102 win 65535 <mss 1460>", "> R 102:102(0)", "state SYN-SENT")
CASE(syn_data_is_at_most_the_peers_mss, ASK, "< S. 0:0(0) ack 1 win 65535 <mss 1000,fo 0102030405060708>", "> . 1:1(0) ack 1", "abort", "> R. 1:1(0) ack 1", "as 1",
     "connect", "write 2000", "> S 0:960(960)", "< S. 0:0(0) ack 961 win 65535 <mss 1000>", "> . 961:1961(1000) ack 1", "< . 1:1(0) ack 1961",
     "> P. 1961:2001(40)")
CASE(syn_is_repeated_without_data, SENT, "+1001", "> S 0:0(0) win 65535 <mss 1460,ws 7,sackOK,ts 1000 0>", "< S. 0:0(0) ack 1 win 65535 <mss 1460>",
     "> P. 1:101(100) ack 1", "< . 1:1(0) ack 101")
CASE(repeated_syn_finds_its_data_taken, SENT, "+1001", "> S 0:0(0)", "< S. 0:0(0) ack 101 win 65535 <mss 1460>", "> . 101:101(0) ack 1", "count tcp_tfo_taken 1")
CASE(loss_pauses_it, SENT, "+1001", "> S 0:0(0)", "< S. 0:0(0) ack 1 win 65535 <mss 1460>", "> P. 1:101(100)", "< . 1:1(0) ack 101", "abort", "> R. 101:101(0)", "as 2",
     "connect", "> S 0:0(0) win 65535 <mss 1460,ws 7,sackOK,ts 0 0>", "count tcp_tfo_paused 1", "close", "+60000", "as 3", "connect", "write 10", "> S 0:10(10)")
CASE(refusal_is_one, SENT, "< R. 0:0(0) ack 101", "error 111", "gone")
CASE(long_cookie, ASK, "< S. 0:0(0) ack 1 win 65535 <mss 1460,fo 000102030405060708090a0b>", "> . 1:1(0) ack 1", "abort", "> R. 1:1(0) ack 1", "as 1", "connect", "write 10",
     "> S 0:10(10) win 65535 <mss 1460,ws 7,sackOK,ts 0 0,fo 000102030405060708090a0b>")
CASE(data_without_a_cookie, "option fastopen", "option nocookie", "connect", "write 10", "> S 0:10(10) win 65535 <mss 1460,ws 7,sackOK,ts 0 0>",
     "< S. 0:0(0) ack 11 win 65535 <mss 1460>", "> . 11:11(0) ack 1")

/* ---- Client: the cookies of peers ---- */
#define PEERS 5000u
#define REMEMBERED 1024u /* fastopen.c */

static struct tcp_conn to_peer(struct stack *stack, uint32_t peer)
{
    return (struct tcp_conn){.st = stack, .flow.remote_ip = ip_from_v4(peer), .tfo = TCP_TFO_ASK};
}

/* Many peers give cookies: as many are remembered as there is room for, and those of the last. */
static void cookies_of_peers_are_bounded(void **state)
{
    static struct tcp_table table;
    static struct stack stack = {.tcp = &table, .conf.key = "0123456789abcde"};
    uint32_t known = 0;
    (void)state;
    for (uint32_t i = 0; i < PEERS; i++) {
        struct tcp_conn c = to_peer(&stack, i);
        struct tcp_seg s = {.opt = {.mss = 1460, .tfo = (const uint8_t *)&i, .tfo_len = sizeof i}};
        stack.now++;
        tcp_tfo_answered(&c, &s);
    }
    for (uint32_t i = 0; i < PEERS; i++) {
        struct tcp_conn c = to_peer(&stack, i);
        uint8_t cookie[TCP_TFO_COOKIE_MAX];
        bool has;
        uint32_t len = tcp_tfo_option(&c, false, cookie, &has);
        assert_true(has && (len == 0 || len == sizeof i)); /* 0: one is asked for */
        assert_true(len == 0 || memcmp(cookie, &i, sizeof i) == 0);
        assert_true(len != 0 || i + 1 < PEERS);
        known += len != 0;
    }
    assert_int_equal(known, REMEMBERED);
    tcp_tfo_destroy(&stack);
    table.tfo = NULL;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(cookie_is_given), T(cookie_is_given_beside_all_options), T(no_cookie_unless_the_listener_wants), T(no_cookie_unless_asked),
        T(data_without_cookie_is_not_taken), T(wrong_cookie_brings_the_right_one), T(short_cookie_is_wrong),
        T(malformed_cookie_is_no_option), T(data_without_cookie_where_none_is_needed), T(cookie_without_data_is_accepted), T(wrong_cookie_without_data_is_not),
        T(backup_cookie_without_data_brings_a_new_one), T(option_is_enough_where_no_cookie_is_needed),
        T(plain_syn_is_not_fast_where_no_cookie_is_needed), T(data_is_taken),
        T(answer_precedes_the_handshakes_end), T(answer_and_end), T(answers_keep_to_the_initial_window), T(lost_syn_ack_is_sent_again),
        T(lost_syn_ack_and_answer), T(syn_again_is_answered_again), T(syn_ack_is_given_up), T(reset_ends_it), T(more_data_confirms),
        T(guessed_acknowledgement_does_not_confirm), T(unconfirmed_are_bounded), T(full_accept_queue_falls_back),
        T(flood_goes_before_fast_open), T(cookie_is_asked_for), T(nobody_asks_unasked), T(syn_waits_for_data),
        T(syn_does_not_wait_for_a_shutdown), T(waiting_syn_may_be_given_up), T(syn_data_is_acknowledged), T(syn_ack_brings_data),
        T(syn_data_is_not_acknowledged), T(syn_data_is_acknowledged_in_part), T(bad_acknowledgement_is_refused),
        T(syn_data_is_at_most_the_peers_mss), T(syn_is_repeated_without_data), T(repeated_syn_finds_its_data_taken), T(loss_pauses_it),
        T(refusal_is_one), T(long_cookie), T(data_without_a_cookie),
        T(key_of_a_listener_makes_its_cookies), T(another_key_refuses_the_cookie), T(the_stacks_cookie_is_none_of_the_keys),
        T(a_keys_cookie_is_none_of_the_stacks), T(backup_key_is_good_and_brings_a_new_cookie), T(backup_key_makes_no_cookies),
        T(backup_cookie_brings_a_new_one_where_it_is_too_many), T(lost_new_cookie_is_given_again), T(cookies_are_those_of_linux),
        T(cookies_of_peers_are_bounded),
    };
    cases_begin(argc, argv);
    return RUN_BOTH_PROTOCOLS(tests);
}
