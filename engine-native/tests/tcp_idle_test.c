/* SPDX-License-Identifier: BSD-3-Clause
 * What an idle established connection costs: memory that the C library gave out for many of them, once they have carried data both
 * ways and rested, and what else of the engine's is theirs. At most 1 KiB, whatever they did before. */
#include <errno.h>
#include <malloc.h>

#include "tcp_conn.h"
#include "net_wire.h"
#include "wire_own.h"

#define CONNS 100u
#define LIMIT 1024u
#define BUCKETS (2 * sizeof(struct tcp_conn *)) /* flows.c: at most, when the table is full */
/* As malloc() has it, and its place in the engine's list. */
#define ENGINE_RECORD ((sizeof(struct wire_own) + 8 + 15) / 16 * 16 + sizeof(struct wire_own *))

static struct bed bed;
static struct pair {
    struct sock a, b; /* a on the left opens */
} pairs[CONNS];
static uint32_t accepted;

static int on_accept(void *arg, struct tcp_conn *c, const struct tcp_flow *flow)
{
    struct sock *s = &pairs[accepted++].b;
    (void)arg;
    (void)flow;
    sock_open(&bed, s);
    s->conn = c;
    tcp_attach(c, s->own, &sock_ops, s);
    return 0;
}
static const struct tcp_listener_ops listener_ops = {.accept = on_accept};

static void pass(struct wire *w, uint64_t ns)
{
    for (uint64_t end = w->now + ns; wire_step(w, end);)
        ;
}

static void transfer(struct wire *w, struct sock *from, struct sock *to, uint64_t n)
{
    for (uint64_t end = from->written + n; to->read < end;) {
        assert_true(w->now < 1000 * SEC);
        sock_write(from, end - from->written, w->now);
        pass(w, 10 * MS);
        sock_read(to, UINT64_MAX, w->now);
    }
}

static size_t heap(void)
{
    return mallinfo2().uordblks;
}

static void open_all(struct wire *w)
{
    struct tcp_listener *l;
    struct ip_addr any = ANY4;
    assert_int_equal(tcp_listen(w->end[1].st, &any, RTE_BE16(80), CONNS, &listener_ops, NULL, &l), 0);
    accepted = 0;
    memset(pairs, 0, sizeof pairs);
    for (uint32_t i = 0; i < CONNS; i++) {
        struct tcp_flow flow = {.remote_ip = HOST(1), .remote_port = RTE_BE16(80)};
        sock_open(&bed, &pairs[i].a);
        assert_int_equal(tcp_connect(w->end[0].st, flow, pairs[i].a.own, &sock_ops, &pairs[i].a, w->now, &pairs[i].a.conn), 0);
        pass(w, 10 * MS); /* accepted in this order */
    }
    assert_int_equal(accepted, CONNS);
}

/* Bytes of an end, on both sides of the wire. */
static uint32_t each(size_t before)
{
    return (uint32_t)((heap() - before) / (2 * CONNS) + BUCKETS + ENGINE_RECORD + sizeof(struct zs_session));
}

static void run(uint32_t loss, bool lend)
{
    static struct wire w;
    if (heap() == 0)
        skip(); /* a sanitizer's allocator does not count */
    bed.lend = lend;
    wire_open(&w, &bed, 3, 1500, NET_CAP_TX_IPV4_CKSUM | NET_CAP_TX_L4_CKSUM);
    pass(&w, SEC);
    struct sock warm = {0}; /* what is there once, for all: the neighbours */
    struct tcp_flow flow = {.remote_ip = HOST(1), .remote_port = RTE_BE16(81)};
    sock_open(&bed, &warm);
    assert_int_equal(tcp_connect(w.end[0].st, flow, warm.own, &sock_ops, &warm, w.now, &warm.conn), 0);
    pass(&w, SEC);
    assert_null(warm.conn); /* refused */
    sock_close(&warm, false, w.now);
    size_t before = heap();
    open_all(&w);
    uint32_t opened = each(before);
    w.loss = loss;
    for (uint32_t i = 0; i < CONNS; i++) {
        transfer(&w, &pairs[i].a, &pairs[i].b, 100000);
        transfer(&w, &pairs[i].b, &pairs[i].a, 100000);
        pass(&w, SEC); /* at rest before the next one: what senders need meanwhile is kept for the next, not per connection */
    }
    w.loss = 0;
    pass(&w, 20 * SEC);
    uint32_t rested = each(before);
    const uint64_t *n = w.end[0].st->counters;
    assert_true(loss == 0 || n[NET_TCP_FAST_RETRANSMIT] > 0);
    assert_true(!lend || n[NET_TCP_LOANS] > 0);
    printf("an idle connection: %u bytes once opened, %u after data\n", opened, rested);
    assert_in_range(opened, sizeof(struct tcp_conn), LIMIT);
    assert_in_range(rested, sizeof(struct tcp_conn), LIMIT);
    for (uint32_t i = 0; i < CONNS; i++) {
        sock_close(&pairs[i].a, true, w.now);
        pass(&w, 10 * MS);
        sock_close(&pairs[i].b, false, w.now);
    }
    pass(&w, 100 * SEC);
    wire_close(&w);
    bed_check_empty(&bed);
}

static void test_copied(void **state)
{
    (void)state;
    run(0, false);
}

static void test_lent(void **state)
{
    (void)state;
    run(0, true);
}

static void test_after_losses(void **state)
{
    (void)state;
    run(200, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copied),
        cmocka_unit_test(test_lent),
        cmocka_unit_test(test_after_losses),
    };
    bed_start(&bed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
