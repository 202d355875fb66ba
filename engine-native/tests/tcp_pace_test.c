/* SPDX-License-Identifier: BSD-3-Clause
 * SO_MAX_PACING_RATE: how long bytes take at a rate that the application has chosen, on paths that would carry more at once. Virtual time. */
#include "net_wire.h"

#include <stdio.h>

#define KB UINT64_C(1000)
#define MB (1000 * KB)
#define SEGMENT 1448u
#define UNLIMITED UINT64_MAX

static struct bed bed;
static struct sock client, server;
static struct acceptor acceptor = {&bed, &server};
static struct wire w;

static void choose(uint64_t rate)
{
    atomic_store(&zs_session_at(&bed.app, client.app)->pacing, ZS_PACING(rate));
    if (client.conn != NULL)
        tcp_poke(client.conn, w.now);
}

static void step(uint64_t until)
{
    wire_step(&w, until);
    if (server.bed != NULL)
        sock_read(&server, UINT32_MAX, w.now);
}

static void pass(uint64_t ns)
{
    for (uint64_t until = w.now + ns; w.now < until;)
        step(until);
}

/* The client, which has chosen the rate before, is connected. */
static void open_at(uint64_t delay, uint64_t rate)
{
    struct tcp_listener *l;
    struct tcp_flow flow = {.remote_ip = HOST(1), .remote_port = RTE_BE16(80)};
    client = (struct sock){0};
    server.bed = NULL;
    wire_open(&w, &bed, 1, 1500, 0);
    w.delay = delay;
    assert_int_equal(tcp_listen(w.end[1].st, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), 0}}, RTE_BE16(80), 16, &acceptor_ops, &acceptor, &l), 0);
    sock_open(&bed, &client);
    atomic_fetch_or(&zs_session_at(&bed.app, client.app)->opts.bits, ZS_O_NODELAY); /* the last segment waits for no acknowledgement */
    choose(rate);
    assert_int_equal(tcp_connect(w.end[0].st, flow, client.own, &sock_ops, &client, w.now, &client.conn), 0);
    while (server.bed == NULL)
        step(w.now + MS);
}

static void close_all(void)
{
    sock_close(&client, true, w.now);
    sock_close(&server, true, w.now);
    wire_close(&w);
    bed_check_empty(&bed);
}

/* Writes them, and waits until they have been read: ns. */
static uint64_t time_of(uint64_t bytes)
{
    uint64_t begin = w.now, end = server.read + bytes;
    while (server.read < end) {
        assert_true(w.now < begin + 1000 * SEC);
        bytes -= sock_write(&client, bytes, w.now);
        step(w.now + MS);
    }
    return w.now - begin;
}

static void info(struct zs_tcp_info *i)
{
    tcp_info(client.conn, w.now, i);
}

/* N bytes take N / rate: round trips that the window's own pacing leaves alone and longer ones, rates of many segments in a tick and of one in
 * many, ports that cut and others. To a segment's time, the way and a tick or two. */
static void test_bytes_take_their_time(void **state)
{
    static const uint64_t rates[] = {20 * KB, 300 * KB, 5 * MB, 40 * MB}, delays[] = {MS / 10, 10 * MS};
    (void)state;
    for (size_t i = 0; i < 2 * RTE_DIM(rates) * RTE_DIM(delays); i++) {
        uint64_t rate = rates[i / 2 % RTE_DIM(rates)], delay = delays[i / 2 / RTE_DIM(rates)];
        bed.tso = i % 2 != 0;
        open_at(delay, rate);
        time_of(4 * rate / 10); /* until the window is large enough for it */
        uint64_t ns = time_of(rate * 2);
        uint64_t segment = SEGMENT * SEC / rate; /* the last one leaves at the beginning of its time */
        if (ns < 2 * SEC - segment - 2 * MS || ns > 2 * SEC + segment + delay + 2 * MS)
            fail_msg("%llu bytes/s, %llu us, %s: %llu us", (unsigned long long)rate, (unsigned long long)delay / 1000, bed.tso ? "cut" : "single",
                     (unsigned long long)ns / 1000);
        close_all();
    }
    bed.tso = false;
}

/* Not even the first window is a burst: in no millisecond more than two are worth, or a segment. */
static void test_no_burst(void **state)
{
    const uint64_t rate = 3 * MB;
    (void)state;
    open_at(5 * MS, rate);
    sock_write(&client, 1 * MB, w.now);
    for (int i = 0; i < 300; i++) {
        uint64_t before = server.read;
        pass(MS);
        assert_in_range(server.read - before, 0, 2 * rate / 1000 + SEGMENT);
    }
    close_all();
}

static uint64_t read_in(uint64_t ns)
{
    uint64_t before = server.read;
    for (uint64_t until = w.now + ns; w.now < until;) {
        sock_write(&client, UINT32_MAX, w.now);
        step(RTE_MIN(until, w.now + MS));
    }
    return server.read - before;
}

static void test_changes_count_at_once(void **state)
{
    (void)state;
    open_at(5 * MS, 100 * KB);
    assert_in_range(read_in(SEC), 95 * KB, 101 * KB);
    choose(2 * MB);
    assert_in_range(read_in(SEC), 1900 * KB, 2010 * KB);
    choose(100 * KB);
    pass(20 * MS); /* what is on its way */
    assert_in_range(read_in(SEC), 95 * KB, 105 * KB);
    choose(1); /* the next segment is due in 24 minutes */
    pass(20 * MS);
    assert_in_range(read_in(10 * SEC), 0, SEGMENT);
    choose(2 * MB);
    assert_in_range(read_in(SEC), 1900 * KB, 2010 * KB);
    choose(UNLIMITED);
    assert_true(read_in(SEC) > 20 * MB);
    choose(0); /* as Linux: told, and no limit */
    assert_true(read_in(SEC) > 20 * MB);
    close_all();
}

/* Between segments that leave so rarely everything is acknowledged and the connection rests: what the last one owes is not forgotten. */
static void test_rest_forgets_nothing(void **state)
{
    (void)state;
    open_at(5 * MS, 2 * KB);
    for (int i = 0; i < 100; i++) {
        sock_write(&client, 1000, w.now);
        pass(400 * MS); /* longer than a retransmission timeout: 2.5 KB/s are written */
    }
    assert_in_range(server.read, 40 * 2 * KB - 2 * SEGMENT, 40 * 2 * KB + SEGMENT);
    pass(20 * SEC);
    assert_int_equal(server.read, client.written);
    close_all();
}

/* What is sent again counts, and waits, too. */
static void test_losses(void **state)
{
    const uint64_t rate = 500 * KB;
    (void)state;
    open_at(5 * MS, rate);
    w.loss = 100;
    assert_in_range(read_in(20 * SEC), 20 * rate * 95 / 100, 20 * rate);
    struct zs_tcp_info i;
    info(&i);
    assert_true(i.bytes_retrans > 0);
    assert_in_range(i.bytes_sent, 0, 20 * rate + 20 * SEGMENT);
    close_all();
}

/* The window does not grow beyond what is used of it, and TCP_INFO tells both rates. */
static void test_info(void **state)
{
    struct zs_tcp_info i;
    (void)state;
    open_at(10 * MS, UNLIMITED);
    info(&i);
    assert_int_equal(i.max_pacing_rate, UNLIMITED);
    choose(MB);
    read_in(2 * SEC);
    info(&i);
    assert_int_equal(i.max_pacing_rate, MB);
    assert_int_equal(i.pacing_rate, MB);
    assert_in_range(i.snd_cwnd, 10, 3 * MB / 50 / SEGMENT); /* 14 segments are a round trip's; slow start may double them, and the tick */
    choose(400 * MB);
    info(&i);
    assert_int_equal(i.max_pacing_rate, 400 * MB);
    assert_in_range(i.pacing_rate, 500 * KB, 20 * MB); /* by the window */
    close_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bytes_take_their_time), cmocka_unit_test(test_no_burst), cmocka_unit_test(test_changes_count_at_once),
                                       cmocka_unit_test(test_rest_forgets_nothing), cmocka_unit_test(test_losses), cmocka_unit_test(test_info)};
    bed_start(&bed);
    bed.sndbuf = 4u << 20;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
