/* SPDX-License-Identifier: BSD-3-Clause
 * Lent buffers and payload sent from rings: what is lent and what is copied, when buffers come back, ends of every kind with
 * buffers out, and applications that lie. */
#include <errno.h>

#include "tcp_script.h"

static struct bed bed;

/* ---- Segment by segment ---- */

#define CASE(name, ...)                                           \
    static void name(void **state)                                \
    {                                                             \
        static const char *const lines[] = {__VA_ARGS__, NULL};   \
        (void)state;                                              \
        script_run(&bed, #name, lines);                           \
    }
#define OPEN "listen", "< S 0:0(0) win 65535 <mss 1460>", "> S. 0:0(0) ack 1", "< . 1:1(0) ack 1 win 65535", "state ESTABLISHED"

CASE(large_payload_is_lent, OPEN, "< P. 1:1001(1000) ack 1", "lent 1", "count tcp_rx_lent 1000", "read 999", "lent 1", "read 1",
     "lent 0", "count tcp_loans_back 1", "+41", "> . 1:1(0) ack 1001")
CASE(small_payload_is_copied, OPEN, "< P. 1:512(511) ack 1", "lent 0", "count tcp_rx_copied_small 511", "read 511", "+41",
     "> . 1:1(0) ack 512")
CASE(both_in_order, OPEN, "< P. 1:101(100) ack 1", "< P. 101:1101(1000) ack 1", "> . 1:1(0) ack 1101", "< P. 1101:1201(100) ack 1",
     "> . 1:1(0) ack 1201", "read 50", "read 600", "lent 1", "read 550", "lent 0")
CASE(out_of_order_is_lent, OPEN, "< . 1001:2001(1000) ack 1", "> . 1:1(0) ack 1", "lent 0", "< . 1:1001(1000) ack 1",
     "> . 1:1(0) ack 2001", "lent 2", "read 2000", "lent 0")
CASE(part_of_a_segment_is_lent, OPEN, "< . 1001:2001(1000) ack 1", "> . 1:1(0) ack 1", "< . 1:1501(1500) ack 1",
     "> . 1:1(0) ack 2001", "lent 1", "count tcp_rx_lent 1500", "count tcp_rx_copied_small 500", "read 2000", "lent 0")
CASE(end_of_stream_behind_a_loan, OPEN, "< FP. 1:1001(1000) ack 1", "> . 1:1(0) ack 1002", "lent 1", "read 1000", "eof", "lent 0")
CASE(reset_with_a_loan_out, OPEN, "< P. 1:1001(1000) ack 1", "+41", "> . 1:1(0) ack 1001", "< R 1001:1001(0)", "error 104", "gone",
     "lent 1", "read 1000", "lent 1", "+101", "lent 0")
CASE(closed_with_a_loan_out, OPEN, "< P. 1:1001(1000) ack 1", "lent 1", "close", "> R. 1:1(0) ack 1001", "gone", "lent 0")
CASE(closed_after_reset_with_a_loan_out, OPEN, "< P. 1:1001(1000) ack 1", "+41", "> . 1:1(0) ack 1001", "< R 1001:1001(0)",
     "gone", "lent 1", "close", "lent 1", "+101", "lent 0")
CASE(time_wait_with_a_loan_out, OPEN, "shutdown", "> F. 1:1(0) ack 1", "< FP. 1:1001(1000) ack 2", "> . 2:2(0) ack 1002",
     "state TIME-WAIT", "lent 1", "+70000", "gone", "lent 1", "read 1000", "+3300", "lent 0")

CASE(sent_from_the_ring, OPEN, "hold", "write 2920", "referring 2", "count tcp_tx_referred 2920", "send", "> . 1:1461(1460) ack 1",
     "> P. 1461:2921(1460) ack 1", "referring 0")
CASE(little_is_copied, OPEN, "hold", "write 511", "referring 0", "count tcp_tx_copied 511", "send", "> P. 1:512(511) ack 1")
/* The acknowledgement of what waits in the queue once more: it leaves before its memory is somebody else's. */
CASE(leaves_before_its_ring_is_freed, OPEN, "write 1460", "> P. 1:1461(1460)", "write 1460", "> P. 1461:2921(1460)", "write 1460",
     "> P. 2921:4381(1460)", "< . 1:1(0) ack 1", "< . 1:1(0) ack 1", "hold", "< . 1:1(0) ack 1", "referring 1", "write 1460",
     "referring 2", "< . 1:1(0) ack 4381", "> . 1:1461(1460)", "> P. 4381:5841(1460)", "referring 0", "write 1460", "referring 1",
     "send", "> P. 5841:7301(1460)")
CASE(leaves_before_the_connection_ends, OPEN, "hold", "write 1460", "referring 1", "< R 1:1(0)", "> P. 1:1461(1460)", "referring 0",
     "gone", "send")
CASE(new_data_does_not_hurry, OPEN, "write 1460", "> P. 1:1461(1460)", "hold", "write 1460", "referring 1", "< . 1:1(0) ack 1461",
     "referring 1", "send", "> P. 1461:2921(1460)")

/* What is lent leaves less for segments out of order. */
static void buffers_are_bounded(void **state)
{
    static const char *const lines[] = {OPEN, "< . 1:1001(1000) ack 1", "lent 1", "< . 2001:3001(1000) ack 1",
                                        "> . 1:1(0) ack 1001", "< . 4001:5001(1000) ack 1", "> . 1:1(0) ack 1001",
                                        "count tcp_ooo_full 0", "< . 6001:7001(1000) ack 1", "> . 1:1(0) ack 1001",
                                        "< . 8001:9001(1000) ack 1", "> . 1:1(0) ack 1001", "count tcp_ooo_full 1", "read 1000",
                                        "< . 1001:2001(1000) ack 1", "> . 1:1(0) ack 3001", "lent 0",
                                        "count tcp_rx_copied_share 2000", "read 2000", NULL};
    (void)state;
    bed.hold_max = 4;
    script_run(&bed, "buffers_are_bounded", lines);
    bed.hold_max = 0;
}

/* ---- Two stacks ---- */

struct pair {
    struct wire w;
    struct sock a, b; /* a on the left opens */
};

static int on_accept(void *arg, struct tcp_conn *c, const struct tcp_flow *flow)
{
    struct sock *s = arg;
    (void)flow;
    sock_open(&bed, s);
    s->conn = c;
    tcp_attach(c, s->own, &sock_ops, s);
    return 0;
}
static const struct tcp_listener_ops listener_ops = {.accept = on_accept};

static void pass(struct pair *p, uint64_t ns)
{
    for (uint64_t end = p->w.now + ns; wire_step(&p->w, end);)
        ;
}

static struct pair *pair_open(uint32_t hold_max)
{
    static struct pair p;
    struct tcp_listener *l;
    bed.hold_max = hold_max;
    memset(&p.a, 0, sizeof p.a);
    memset(&p.b, 0, sizeof p.b);
    wire_open(&p.w, &bed, 1, 1500, NET_CAP_TX_IPV4_CKSUM | NET_CAP_TX_L4_CKSUM);
    assert_int_equal(tcp_listen(p.w.end[1].st, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), 0}}, RTE_BE16(80), 4, &listener_ops, &p.b, &l), 0);
    sock_open(&bed, &p.a);
    struct tcp_flow flow = {.remote_ip = HOST(1), .remote_port = RTE_BE16(80)};
    assert_int_equal(tcp_connect(p.w.end[0].st, flow, p.a.own, &sock_ops, &p.a, p.w.now, &p.a.conn), 0);
    pass(&p, 100 * MS);
    assert_non_null(p.b.conn);
    return &p;
}

static void pair_close(struct pair *p)
{
    if (!p->a.closed_here)
        sock_close(&p->a, false, p->w.now);
    if (!p->b.closed_here)
        sock_close(&p->b, false, p->w.now);
    pass(p, 200 * SEC);
    assert_int_equal(tcp_conn_count(p->w.end[1].st), 0);
    assert_int_equal(rte_mempool_in_use_count(bed.rx.pool), 0);
    wire_close(&p->w);
    bed_check_empty(&bed);
    bed.hold_max = 0;
}

static uint32_t lent(const struct pair *p)
{
    struct tcp_memory m;
    tcp_memory(p->w.end[1].st, &m);
    return m.lent;
}

/* Reads as an application that then does nothing: the engine hears of it by no poke. */
static void read_quietly(struct sock *s, uint64_t n)
{
    struct tcp_conn *c = s->conn;
    s->conn = NULL;
    assert_int_equal(sock_read(s, n, 0), n);
    s->conn = c;
}

static void test_quiet_reader(void **state)
{
    struct pair *p = pair_open(0);
    (void)state;
    assert_int_equal(sock_write(&p->a, 50000, p->w.now), 50000);
    pass(p, 50 * MS);
    assert_true(lent(p) > 30);
    read_quietly(&p->b, 50000);
    assert_true(lent(p) > 30);
    pass(p, 110 * MS);
    assert_int_equal(lent(p), 0);
    pair_close(p);
}

/* Who does not read is looked at ever less often. */
static void test_absent_reader(void **state)
{
    struct pair *p = pair_open(0);
    (void)state;
    assert_int_equal(sock_write(&p->a, 50000, p->w.now), 50000);
    pass(p, 60 * SEC);
    uint32_t turns = 0;
    for (uint64_t end = p->w.now + 3600 * SEC; wire_step(&p->w, end);)
        turns++;
    assert_in_range(turns, 1000, 4000); /* a second at least from one to the next: the wheel cascades */
    read_quietly(&p->b, 40000);
    pass(p, 3300 * MS);
    assert_in_range(lent(p), 1, 8);
    /* A new loan: it may be the application is back. */
    assert_int_equal(sock_write(&p->a, 1000, p->w.now), 1000);
    pass(p, 20 * MS);
    read_quietly(&p->b, 11000);
    pass(p, 110 * MS);
    assert_int_equal(lent(p), 0);
    pair_close(p);
}

/* The window is kept though nobody reads: room was found for all of it, whatever the ring's size. */
static void test_window_is_kept(void **state)
{
    struct pair *p = pair_open(0);
    (void)state;
    p->w.end[1].st->conf.rcvbuf = p->w.end[1].st->conf.rcvbuf_max = 300000;
    for (int round = 0; round < 2; round++) { /* the second without the smaller rings of the beginning */
        for (int i = 0; i < 10; i++) {
            sock_write(&p->a, 100000, p->w.now);
            pass(p, 100 * MS);
        }
        assert_in_range(zs_rx_avail(zs_session_at(&bed.app, p->b.app)), 299000, 300000);
        assert_int_equal(p->w.end[1].st->counters[NET_TCP_NO_RING_ROOM], 0);
        while (p->b.read < p->a.written) {
            assert_true(sock_read(&p->b, p->a.written, p->w.now) > 0);
            pass(p, 1 * SEC);
        }
    }
    pair_close(p);
}

/* Both ends closed the connection, and it is gone: the rest is still there to be read. */
static void test_read_after_the_end(void **state)
{
    struct pair *p = pair_open(0);
    (void)state;
    assert_int_equal(sock_write(&p->a, 100000, p->w.now), 100000);
    sock_shutdown(&p->a, p->w.now);
    sock_shutdown(&p->b, p->w.now);
    pass(p, 100 * SEC);
    assert_int_equal(tcp_conn_count(p->w.end[1].st), 0);
    assert_true(lent(p) > 50);
    assert_int_equal(sock_read(&p->b, 60000, p->w.now), 60000);
    pass(p, 3300 * MS);
    assert_in_range(lent(p), 20, 40);
    assert_int_equal(sock_read(&p->b, 60000, p->w.now), 40000);
    pass(p, 3300 * MS);
    assert_int_equal(lent(p), 0);
    pair_close(p);
}

/* The engine closes the sessions of a program that died. */
static void test_application_dies(void **state)
{
    struct pair *p = pair_open(0);
    (void)state;
    assert_int_equal(sock_write(&p->a, 100000, p->w.now), 100000);
    pass(p, 100 * MS);
    assert_true(lent(p) > 50);
    zs_session_close(&bed.engine, p->b.app, false);
    p->b.closed_here = true;
    tcp_poke(p->b.conn, p->w.now);
    assert_int_equal(lent(p), 0);
    pair_close(p);
}

/* The session's slot is another's by the time the timer looks. */
static void test_slot_is_used_again(void **state)
{
    struct pair *p = pair_open(0);
    struct sock other = {0};
    (void)state;
    assert_int_equal(sock_write(&p->a, 10000, p->w.now), 10000);
    pass(p, 20 * MS);
    tcp_abort(p->b.conn, ECONNABORTED, p->w.now);
    assert_true(lent(p) > 0);
    sock_close(&p->b, false, p->w.now);
    sock_open(&bed, &other);
    assert_true(other.app == p->b.app || other.own == p->b.app);
    pass(p, 110 * MS);
    assert_int_equal(lent(p), 0);
    zs_session_close(&bed.app, other.app, false);
    zs_session_close(&bed.engine, other.own, false);
    pair_close(p);
}

/* A connection that is alone gets half of what may be lent, and copies go on beyond; nothing is lost. */
static void test_share(void **state)
{
    struct pair *p = pair_open(80);
    const uint64_t *n = p->w.end[1].st->counters;
    (void)state;
    assert_int_equal(sock_write(&p->a, 110000, p->w.now), 110000);
    pass(p, 1 * SEC);
    assert_int_equal(lent(p), 30);
    assert_true(n[NET_TCP_RX_COPIED_SHARE] > 50000);
    assert_int_equal(sock_read(&p->b, 110000, p->w.now), 110000);
    assert_int_equal(lent(p), 0);
    pair_close(p);
}

/* Bytes of the stream are lent many times the pool's size, in rings that grow: nothing is left over. */
static void test_long_transfer(void **state)
{
    struct pair *p = pair_open(0);
    uint64_t seed = 5;
    (void)state;
    p->w.end[1].st->conf.rcvbuf_max = bed.rcvbuf; /* for all that is unread there are references */
    while (p->b.read < 20000000) {
        sock_write(&p->a, RTE_MIN(20000000 - p->a.written, UINT64_C(200000)), p->w.now);
        pass(p, 3 * MS);
        sock_read(&p->b, rnd(&seed) % 100000 + 1, p->w.now);
    }
    struct tcp_memory m;
    tcp_memory(p->w.end[1].st, &m);
    assert_true(m.rx_lent > 19000000);
    tcp_memory(p->w.end[0].st, &m);
    assert_true(m.tx_referred > 19000000);
    pair_close(p);
}

/* ---- Taken over (zs_recv) ---- */

/* Takes all that is there; checks it; how many. */
static uint32_t take_all(struct pair *p, struct zs_taken *t, uint32_t max)
{
    struct zs_session *app = zs_session_at(&bed.app, p->b.app);
    uint32_t n = 0;
    for (; n < max; n++) {
        assert_int_equal(zs_rx_take(&bed.app, app, &t[n]), 0);
        if (t[n].len == 0)
            break;
        assert_non_null(t[n].data);
        p->b.read += t[n].len;
    }
    tcp_poke(p->b.conn, p->w.now);
    return n;
}

static struct pair *pair_taking(void)
{
    struct pair *p = pair_open(0);
    atomic_fetch_or(&zs_session_at(&bed.app, p->b.app)->flags, ZS_F_HOLDS);
    return p;
}

static void release(const struct zs_taken *t)
{
    assert_true(zs_loan_end(&bed.app, t->loan, t->gen, ZS_HOLD_CLIENT(bed.app.client)));
}

static uint32_t records(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < ZS_MAX_LOANS; i++)
        n += atomic_load(&bed.arena->loan[i].owner) != 0;
    return n;
}

/* In any order, also after the connection: the buffer is the port's again when its segment was released. */
static void test_taken_and_released(void **state)
{
    struct pair *p = pair_taking();
    struct zs_taken t[32];
    (void)state;
    assert_int_equal(sock_write(&p->a, 14480, p->w.now), 14480);
    pass(p, 50 * MS);
    uint32_t n = take_all(p, t, 32);
    assert_int_equal(p->b.read, 14480);
    assert_true(n >= 10);
    pass(p, 5 * SEC);
    assert_int_equal(lent(p), n);
    release(&t[n - 1]);
    release(&t[3]);
    pass(p, 5 * SEC);
    assert_int_equal(lent(p), n - 2);
    sock_close(&p->b, false, p->w.now);
    sock_close(&p->a, false, p->w.now);
    pass(p, 100 * SEC);
    assert_int_equal(lent(p), n - 2);
    for (uint32_t i = 0; i + 1 < n; i++)
        if (i != 3)
            release(&t[i]);
    pass(p, 4 * SEC);
    assert_int_equal(lent(p), 0);
    assert_int_equal(records(), 0);
    pair_close(p);
}

/* A proxy: segments go out again from where the port wrote them, and stay until they are acknowledged. */
static void test_lent_on(void **state)
{
    struct pair *p = pair_taking();
    struct zs_session *own = zs_session_at(&bed.app, p->b.own);
    struct zs_tx tx = {0};
    (void)state;
    bed.engine.rx_seg = bed.rx.base;
    bed.engine.rx_size = bed.rx.size;
    p->a.read_stream = p->a.write_stream; /* it gets back what it sent */
    for (uint32_t round = 0; round < 50; round++) {
        struct zs_taken t[64];
        assert_int_equal(sock_write(&p->a, 28960, p->w.now), 28960);
        pass(p, 50 * MS);
        uint32_t n = take_all(p, t, 64);
        for (uint32_t i = 0; i < n; i++) {
            int64_t on = zs_loan_again(&bed.app, t[i].loan, t[i].gen);
            assert_true(on >= 0);
            struct zs_ref ref = {.segment = ZS_SEGMENT_RX, .offset = (uint32_t)(t[i].data - bed.app.rx_seg), .len = (uint32_t)t[i].len,
                                 .loan = (uint32_t)on + 1, .loan_gen = atomic_load(&bed.arena->loan[on].gen)};
            assert_int_equal(zs_tx_lend_hold(&bed.app, own, &tx, &ref, ref.len, 1 << 20), t[i].len);
            p->b.written += t[i].len;
            release(&t[i]);
        }
        tcp_poke(p->b.conn, p->w.now);
        assert_true(lent(p) > 0);
        pass(p, 50 * MS);
        sock_read(&p->a, 1000000, p->w.now);
    }
    assert_int_equal(p->a.read, 50 * 28960);
    struct tcp_memory m;
    tcp_memory(p->w.end[1].st, &m);
    assert_true(m.tx_referred > 49 * 28960 && m.tx_copied < 28960);
    pass(p, 5 * SEC);
    assert_int_equal(lent(p), 0);
    assert_int_equal(records(), 0);
    bed.engine.rx_seg = NULL;
    pair_close(p);
}

/* Buffers of the application: they leave from where they are, and are its own again when they are acknowledged. */
static void test_own_buffers(void **state)
{
    struct pair *p = pair_taking();
    struct zs_session *own = zs_session_at(&bed.app, p->b.own);
    struct zs_tx tx = {0};
    uint8_t *buffers = bed.of_app[ZS_SEGMENT_INDEX(BED_BUFFERS)].base;
    uint32_t sent = 0, waits = 0;
    (void)state;
    p->a.read_stream = p->a.write_stream; /* it gets back what it sent */
    for (uint32_t round = 0; round < 50; round++) {
        struct zs_taken t[64];
        uint32_t at = round % 2 * 32768, n = 0;
        assert_int_equal(sock_write(&p->a, 28960, p->w.now), 28960);
        pass(p, 50 * MS);
        for (uint32_t i = 0, all = take_all(p, t, 64); i < all; i++) {
            memcpy(buffers + at + n, t[i].data, t[i].len);
            n += (uint32_t)t[i].len;
            release(&t[i]);
        }
        int64_t loan = zs_loan_new(&bed.app, BED_BUFFERS);
        struct zs_ref ref = {.segment = BED_BUFFERS, .offset = at, .len = n, .loan = (uint32_t)loan + 1,
                             .loan_gen = atomic_load(&bed.arena->loan[loan].gen)};
        assert_int_equal(zs_tx_lend_hold(&bed.app, own, &tx, &ref, n, 1 << 20), n);
        p->b.written += n;
        sent += n;
        tcp_poke(p->b.conn, p->w.now);
        waits += !zs_loan_over(&bed.app, (uint32_t)loan, ref.loan_gen);
        pass(p, 50 * MS);
        sock_read(&p->a, 1000000, p->w.now);
        assert_true(zs_loan_over(&bed.app, (uint32_t)loan, ref.loan_gen));
        zs_loan_free(&bed.app, (uint32_t)loan);
    }
    assert_int_equal(p->a.read, sent);
    assert_int_equal(waits, 50);
    struct tcp_memory m;
    tcp_memory(p->w.end[1].st, &m);
    assert_true(m.tx_referred > sent - sent / 50 && sent > 49 * 28960);
    pass(p, 5 * SEC);
    assert_int_equal(records(), 0);
    pair_close(p);
}

/* ---- Lies ---- */

static void test_claims_to_have_read(void **state)
{
    struct pair *p = pair_open(0);
    (void)state;
    assert_int_equal(sock_write(&p->a, 10000, p->w.now), 10000);
    pass(p, 50 * MS);
    atomic_fetch_add(&zs_session_at(&bed.app, p->b.app)->rx_cons.ref_head, 1000);
    tcp_poke(p->b.conn, p->w.now);
    assert_null(p->b.conn);
    assert_int_equal(p->w.end[1].st->counters[NET_TCP_FAULT], 1);
    assert_int_equal(sock_fin(&p->b), ZS_RST);
    pass(p, 10 * SEC);
    assert_int_equal(sock_fin(&p->a), ZS_RST); /* the remote host hears of it */
    assert_true(lent(p) > 0);
    sock_close(&p->b, false, p->w.now);
    pass(p, 3300 * MS);
    assert_int_equal(lent(p), 0);
    pair_close(p);
}

/* References in the direction that the engine reads lead nowhere. */
static void test_lends_to_the_engine(void **state)
{
    struct pair *p = pair_open(0);
    struct zs_session *own = zs_session_at(&bed.app, p->b.own);
    struct zs_tx tx = {0};
    (void)state;
    assert_int_equal(zs_tx_lend(&bed.app, own, &tx, ZS_SEGMENT_RX, 0, 2000, 65536), 0);
    tcp_poke(p->b.conn, p->w.now);
    assert_null(p->b.conn);
    assert_int_equal(p->w.end[1].st->counters[NET_TCP_FAULT], 1);
    pair_close(p);
}

#define T(name) cmocka_unit_test(name)
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(large_payload_is_lent), T(small_payload_is_copied), T(both_in_order), T(out_of_order_is_lent),
        T(part_of_a_segment_is_lent), T(end_of_stream_behind_a_loan), T(reset_with_a_loan_out), T(closed_with_a_loan_out),
        T(closed_after_reset_with_a_loan_out), T(time_wait_with_a_loan_out), T(sent_from_the_ring), T(little_is_copied),
        T(buffers_are_bounded), T(test_window_is_kept), T(test_slot_is_used_again),
        T(leaves_before_its_ring_is_freed), T(leaves_before_the_connection_ends), T(new_data_does_not_hurry),
        T(test_quiet_reader), T(test_absent_reader), T(test_read_after_the_end), T(test_application_dies), T(test_share),
        T(test_long_transfer), T(test_taken_and_released), T(test_lent_on), T(test_own_buffers), T(test_claims_to_have_read), T(test_lends_to_the_engine),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    bed_start(&bed);
    bed.lend = true;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
