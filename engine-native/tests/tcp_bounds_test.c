/* SPDX-License-Identifier: BSD-3-Clause
 * The bounds of TCP's memory: connections, segments out of order, ranges of the scoreboard. What peers do to reach them, what happens
 * there, and that connections go on. */
#include "tcp_cases.h"

#include "scoreboard.h"
#include "tcp_conn.h"
#include "tcp_driver.h"

/* ---- Connections ---- */

/* With room for two: one in TIME-WAIT gives way, one that is open or opening does not. */
CASE(time_wait_gives_way_to_the_new, OPEN, "close", "> F. 1:1(0) ack 1", "< F. 1:1(0) ack 2", "> . 2:2(0) ack 2", "state TIME-WAIT", "as 1",
     SYN_IN, "> S. 0:0(0) ack 1", "count tcp_time_wait_cut 0", "as 2", SYN_IN, "> S. 0:0(0) ack 1", "count tcp_time_wait_cut 1",
     "as 3", SYN_IN, "count tcp_table_full 1", "as 1", "< R 1:1(0)", "as 3", SYN_IN, "> S. 0:0(0) ack 1", "count tcp_table_full 1",
     "as 0", "< F. 1:1(0) ack 2", "> R 2:2(0)")

static void test_connections_are_bounded(void **state)
{
    bed.max_conns = 2;
    time_wait_gives_way_to_the_new(state);
    bed.max_conns = 0;
}

/* ---- Segments out of order ---- */

/* Of all connections together. */
CASE(gaps_of_two_peers, "listen", SYN_IN, "> S. 0:0(0) ack 1", DUPACK, "< . 11:21(10) ack 1", "> . 1:1(0) ack 1", "< . 31:41(10) ack 1",
     "> . 1:1(0) ack 1", "as 1", SYN_IN, "> S. 0:0(0) ack 1", DUPACK, "< . 11:21(10) ack 1", "> . 1:1(0) ack 1", "count tcp_ooo_full 0",
     "< . 31:41(10) ack 1", "> . 1:1(0) ack 1", "count tcp_ooo_full 1", "< . 1:11(10) ack 1", "> . 1:1(0) ack 21", "< . 31:41(10) ack 1",
     "> . 1:1(0) ack 21", "count tcp_ooo_full 1", "< . 21:31(10) ack 1", "> . 1:1(0) ack 41")

static void test_gaps_of_all_are_bounded(void **state)
{
    bed.ooo_max_segs = 3;
    gaps_of_two_peers(state);
    bed.ooo_max_segs = 0;
}

static uint32_t count_of(const struct driver *d, enum net_counter id)
{
    return (uint32_t)d->st->counters[id];
}

/* Everything that was sent, which is not looked at here; how far it reaches, or at least `upto`. */
static uint32_t drain(struct driver *d, uint32_t upto)
{
    driver_flush(d);
    for (const char *line; (line = driver_out(d)) != NULL;) {
        unsigned from, to;
        const char *at = strchr(line, ':');
        while (at != NULL && at > line && at[-1] >= '0' && at[-1] <= '9')
            at--;
        if (at != NULL && sscanf(at, "%u:%u", &from, &to) == 2)
            upto = RTE_MAX(upto, to);
    }
    capture_clear(&d->cap);
    return upto;
}

/* A connection with SACK, whose peer takes 150,000 bytes ahead. */
static void open_sack(struct driver *d)
{
    driver_start(d, &bed);
    driver_listen(d, 16);
    driver_in(d, &(struct driver_segment){.flags = RTE_TCP_SYN_FLAG, .window = 65535, .options_len = 12,
                                          .options = {2, 4, 1460 >> 8, 1460 & 255, 4, 2, 3, 3, 7, 1, 1, 1}});
    drain(d, 0);
    driver_in(d, &(struct driver_segment){.seq = 1, .ack = 1, .has_ack = true, .flags = RTE_TCP_ACK_FLAG, .window = 1172});
    drain(d, 0);
    assert_non_null(d->sock.conn);
    assert_true(d->sock.conn->flags & TCP_F_SACK_SEND);
}

static void ack(struct driver *d, uint32_t n, uint32_t sack_from, uint32_t blocks)
{
    struct driver_segment g = {.seq = 1, .ack = n, .has_ack = true, .flags = RTE_TCP_ACK_FLAG, .window = 1172};
    if (blocks > 0) {
        uint32_t iss = d->p->iss; /* options are as on the wire */
        g.options_len = 4 + 8 * blocks;
        memcpy(g.options, (uint8_t[]){1, 1, 5, (uint8_t)(2 + 8 * blocks)}, 4);
        for (uint32_t i = 0; i < blocks; i++) {
            uint32_t from = rte_cpu_to_be_32(iss + sack_from + 2 * i), to = rte_cpu_to_be_32(iss + sack_from + 2 * i + 1);
            memcpy(g.options + 4 + 8 * i, &from, 4);
            memcpy(g.options + 8 + 8 * i, &to, 4);
        }
    }
    driver_in(d, &g);
}

/* Every second byte is there: each is a piece of its own. Beyond so many a connection keeps no more, and loses none of those. */
static void test_gaps_of_one_are_bounded(void **state)
{
    struct driver d;
    (void)state;
    bed.ooo_max_segs = 2 * TCP_OOO_CONN_MAX;
    open_sack(&d);
    for (uint32_t i = 0; i < TCP_OOO_CONN_MAX + 10; i++) {
        driver_in(&d, &(struct driver_segment){.seq = 2 + 2 * i, .len = 1, .ack = 1, .has_ack = true, .flags = RTE_TCP_ACK_FLAG, .window = 1172});
        drain(&d, 0);
    }
    assert_int_equal(count_of(&d, NET_TCP_OOO_QUEUED), TCP_OOO_CONN_MAX);
    assert_int_equal(count_of(&d, NET_TCP_OOO_FULL), 10);
    for (uint32_t i = 0; i < TCP_OOO_CONN_MAX + 10; i++) { /* the gaps are filled, and what was not kept comes again */
        uint32_t len = i < TCP_OOO_CONN_MAX ? 1 : 2;
        driver_in(&d, &(struct driver_segment){.seq = 1 + 2 * i, .len = len, .ack = 1, .has_ack = true, .flags = RTE_TCP_ACK_FLAG, .window = 1172});
        drain(&d, 0);
    }
    assert_int_equal(sock_read(&d.sock, 100000, d.now), 2 * (TCP_OOO_CONN_MAX + 10));
    drain(&d, 0);
    bed.ooo_max_segs = 0;
    driver_stop(&d);
}

/* ---- Ranges of the scoreboard ---- */

/* A peer that acknowledges every second byte: each block makes two ranges. They are counted off, SACK goes on, and all arrives. */
static void test_ranges_are_bounded(void **state)
{
    struct driver d;
    uint32_t sent, una = 1;
    (void)state;
    open_sack(&d);
    sock_write(&d.sock, 250000, d.now);
    for (sent = drain(&d, 1); sent - una < 100000;) { /* the window opens */
        una = RTE_MIN(una + 2 * 1460, sent);
        ack(&d, una, 0, 0);
        sent = drain(&d, sent);
        sock_write(&d.sock, 20000, d.now);
        sent = drain(&d, sent);
    }
    const struct tcp_conn *c = d.sock.conn;
    uint32_t most = 0;
    for (uint32_t at = una + 1; at + 8 < una + 10000; at += 8) {
        ack(&d, una, at, 4);
        sent = drain(&d, sent);
        most = RTE_MAX(most, c->board->n);
    }
    assert_in_range(most, TCP_RANGES_MAX * 3 / 4, TCP_RANGES_MAX);
    assert_true(count_of(&d, NET_TCP_SACK_IGNORED) > 0);
    for (int i = 0; i < 4; i++) { /* timeouts, which send some of them again */
        driver_clock(&d, SEC);
        sent = drain(&d, sent);
        assert_true(c->board->n <= TCP_RANGES_MAX);
    }
    while (una < d.sock.written + 1) {
        una = RTE_MIN(una + 2 * 1460, sent);
        ack(&d, una, 0, 0);
        sent = drain(&d, sent);
        driver_clock(&d, 10 * MS);
        sent = drain(&d, sent);
    }
    assert_true(c->flags & TCP_F_SACK_SEND);
    assert_int_equal(count_of(&d, NET_TCP_SACK_LOST), 0);
    assert_int_equal(tcp_conn_state(c), TCP_ESTABLISHED);
    driver_stop(&d);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(test_connections_are_bounded), T(test_gaps_of_all_are_bounded), T(test_gaps_of_one_are_bounded), T(test_ranges_are_bounded),
    };
    cases_begin(argc, argv);
    return RUN_BOTH_PROTOCOLS(tests);
}
