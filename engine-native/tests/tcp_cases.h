/* SPDX-License-Identifier: BSD-3-Clause
 * What the programs of packet scripts share. */
#ifndef ZSTACK_TEST_TCP_CASES_H
#define ZSTACK_TEST_TCP_CASES_H

#include "tcp_script.h"

static struct bed bed;

#define CASE(name, ...)                                           \
    static void name(void **state)                                \
    {                                                             \
        static const char *const lines[] = {__VA_ARGS__, NULL};   \
        (void)state;                                              \
        script_run(&bed, #name, lines);                           \
    }

/* The beginning of a program of scripts. Its argument: a pattern of names to run. */
static inline void cases_begin(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    bed_start(&bed);
}

/* Runs an array of scripts over both protocols, over IPv6 with payload lent; the number of failures. */
#define RUN_BOTH_PROTOCOLS(tests) run_both_protocols(tests, RTE_DIM(tests))
static inline int run_both_protocols(const struct CMUnitTest *tests, size_t n)
{
    int failed = _cmocka_run_group_tests("IPv4", tests, n, NULL, NULL);
    bed.lend = bed.ip6 = true;
    return failed + _cmocka_run_group_tests("IPv6, payload lent", tests, n, NULL, NULL);
}

#define SYN_IN "< S 0:0(0) win 65535 <mss 1460>"
#define OPEN_WIN(win) "listen", SYN_IN, "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1 win " win, "state ESTABLISHED"
#define OPEN OPEN_WIN("65535")
#define TEN_SEGMENTS                                                                                                          \
    "> . 1:1461(1460)", "> . 1461:2921(1460)", "> . 2921:4381(1460)", "> . 4381:5841(1460)", "> . 5841:7301(1460)",           \
        "> . 7301:8761(1460)", "> . 8761:10221(1460)", "> . 10221:11681(1460)", "> . 11681:13141(1460)"
#define DUPACK "< . 1:1(0) ack 1"
#define T(name) cmocka_unit_test(name)

/* With SACK, without timestamps: RFC 6675's ways. */
#define OPEN_SACK                                                                                                             \
    "listen", "< S 0:0(0) win 65535 <mss 1460,sackOK>", "> S. 0:0(0) ack 1 <mss 1460,sackOK>", "< . 1:1(0) ack 1",            \
        "state ESTABLISHED"
#define LAST_OF_TEN "> P. 13141:14601(1460)"
#define TENTH "> . 13141:14601(1460)"

#endif
