/* SPDX-License-Identifier: BSD-3-Clause
 * How the receive window follows what the application reads, over a simulated wire. */
#include "net_wire.h"
#include "tcp_conn.h"

static struct bed bed;
static struct sock client, server;

static struct acceptor acceptor = {&bed, &server};

struct outcome {
    uint32_t buffer, promised; /* at the end */
    uint64_t grew, read;
    uint8_t scale;
};

/* One connection for `time`; the reader takes `portion` bytes every `every`. */
static struct outcome run(uint64_t delay, uint64_t time, uint64_t portion, uint64_t every, uint32_t rcvbuf)
{
    static struct wire w;
    struct tcp_listener *l;
    wire_open(&w, &bed, 7, 1500, 0);
    w.delay = delay;
    assert_int_equal(tcp_listen(w.end[1].st, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), 0}}, RTE_BE16(80), 16, &acceptor_ops, &acceptor, &l), 0);
    client = server = (struct sock){0};
    sock_open(&bed, &client);
    struct tcp_flow flow = {.remote_ip = HOST(1), .remote_port = RTE_BE16(80)};
    assert_int_equal(tcp_connect(w.end[0].st, flow, client.own, &sock_ops, &client, w.now, &client.conn), 0);
    uint64_t end = w.now + time, next = 0;
    bool set = false;
    while (w.now < end) {
        wire_step(&w, w.now + MS);
        if (client.connected)
            sock_write(&client, UINT32_MAX, w.now);
        if (server.bed == NULL)
            continue;
        if (!set && rcvbuf != 0)
            atomic_store(&zs_session_at(&bed.app, server.app)->opts.rcvbuf, rcvbuf);
        set = true;
        if (w.now >= next) {
            sock_read(&server, portion, w.now);
            next = w.now + every;
        }
    }
    const struct tcp_conn *c = server.conn;
    struct outcome o = {.buffer = tcp_receive_buffer(c), .promised = tcp_rcv_wnd(c), .read = server.read, .scale = c->rcv_scale,
                        .grew = w.end[1].st->counters[NET_TCP_WINDOW_GREW]};
    sock_close(&client, true, w.now);
    sock_close(&server, true, w.now);
    wire_close(&w);
    bed_check_empty(&bed);
    return o;
}

static void test_window_grows_to_the_path(void **state)
{
    (void)state;
    struct outcome o = run(50 * MS, 4 * SEC, UINT32_MAX, 0, 0);
    assert_true(o.buffer > 2u << 20 && o.buffer <= NET_RCVBUF_MAX);
    assert_true(o.read > (uint64_t)10 << 20); /* 128 KiB per round trip would be 5 MiB */
    assert_int_equal(o.scale, 7);
}

static void test_bound_is_kept(void **state)
{
    (void)state;
    bed.rcvbuf_max = 500000;
    struct outcome o = run(50 * MS, 4 * SEC, UINT32_MAX, 0, 0);
    bed.rcvbuf_max = 0;
    assert_int_equal(o.buffer, 500000);
    assert_true(o.promised <= 500000 && o.promised > 250000);
    assert_int_equal(o.scale, 3); /* the least that can tell it */
}

static void test_slow_reader_gets_no_more(void **state)
{
    (void)state;
    struct outcome o = run(10 * MS, 4 * SEC, 5000, 20 * MS, 0);
    assert_int_equal(o.buffer, bed.rcvbuf);
    assert_int_equal(o.grew, 0);
}

static void test_rare_reader_gets_more(void **state)
{
    (void)state;
    struct outcome o = run(10 * MS, 4 * SEC, UINT32_MAX, 500 * MS, 0); /* all there is, which is the window */
    assert_true(o.buffer > 1u << 20 && o.read > (uint64_t)2 << 20); /* eight times 128 KiB would be 1 MiB */
}

static void test_so_rcvbuf_ends_it(void **state)
{
    (void)state;
    struct outcome o = run(50 * MS, 4 * SEC, UINT32_MAX, 0, 400000);
    assert_int_equal(o.buffer, 200000);
    assert_int_equal(o.grew, 0);
}

static void test_short_path_needs_little(void **state)
{
    (void)state;
    /* 128 KiB every 2 ms: the wire has no rate, so the reader takes all there is and the window follows. */
    struct outcome o = run(MS, SEC, 20000, 2 * MS, 0);
    assert_true(o.buffer < 400000);
}

static void test_scale_by_bound(void **state)
{
    (void)state;
    static const struct {
        uint32_t max;
        uint8_t scale;
    } cases[] = {{65535, 0}, {65536, 1}, {131070, 1}, {1u << 20, 5}, {4u << 20, 7}};
    for (size_t i = 0; i < RTE_DIM(cases); i++) {
        struct stack st = {.conf = {.rcvbuf_max = cases[i].max}};
        assert_int_equal(tcp_window_scale(&st), cases[i].scale);
    }
}

#define T(name) cmocka_unit_test(name)
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(test_window_grows_to_the_path), T(test_bound_is_kept), T(test_slow_reader_gets_no_more), T(test_so_rcvbuf_ends_it),
        T(test_rare_reader_gets_more), T(test_short_path_needs_little), T(test_scale_by_bound),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    bed_start(&bed);
    bed.sndbuf = 4u << 20;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
