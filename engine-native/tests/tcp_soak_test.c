/* SPDX-License-Identifier: BSD-3-Clause
 * Two stacks on a bad wire: every byte right, both ends closed, nothing left over, whatever the seed. */
#include "net_wire.h"

#include <stdio.h>

#define CONNS 4

struct peer_ends {
    struct sock client[CONNS], server[CONNS];
    int accepted;
};

static struct bed bed;
static uint64_t rate; /* of the wire, bytes per second each way; 0: no limit */

static int on_accept(void *arg, struct tcp_conn *c, const struct tcp_flow *flow)
{
    struct peer_ends *p = arg;
    (void)flow;
    struct sock *s = &p->server[p->accepted++];
    sock_open(&bed, s);
    s->conn = c;
    tcp_attach(c, s->own, &sock_ops, s);
    return 0;
}

static const struct tcp_listener_ops listener_ops = {.accept = on_accept};

static void dump(const struct stack *st)
{
    for (int i = 0; i < NET_COUNTER_N; i++)
        if (st->counters[i] != 0)
            printf("    %-22s %8llu  %s\n", net_counter_info[i].name, (unsigned long long)st->counters[i],
                   net_counter_info[i].text);
}

static struct wire *the_wire; /* for what a failure prints */
static uint64_t probes;          /* window probes of all runs */
static uint64_t blocks;          /* duplicates told by SACK, of all runs */
static uint64_t merged;          /* segments that became part of others, of all runs */
static uint64_t large;           /* segments that the wire cut, of all runs */
static struct tcp_memory memory; /* bytes of all runs */

/* What the application does whenever something happens: pieces of random sizes, and close at the end. */
static void act(struct sock *s, uint64_t total, bool slow, uint64_t *seed, uint64_t now)
{
    if (s->bed == NULL || s->closed_here)
        return;
    if (s->written < total)
        sock_write(s, RTE_MIN(rnd(seed) % 20000 + 1, total - s->written), now);
    if (rnd(seed) % (slow ? 40 : 3) == 1)
        sock_read(s, rnd(seed) % (slow ? 150000 : 80000) + 1, now);
    if (s->written == total && rnd(seed) % 4 == 0)
        sock_shutdown(s, now);
    if (sock_fin(s) == ZS_FIN && s->read == total && s->written == total)
        sock_close(s, false, now);
    if (!s->closed_here && sock_fin(s) == ZS_RST) {
        dump(the_wire->end[0].st);
        dump(the_wire->end[1].st);
        fail_msg("reset: error %u, %llu written, %llu read", atomic_load(&zs_session_at(&bed.app, s->app)->error),
                 (unsigned long long)s->written, (unsigned long long)s->read);
    }
}

/* What the wire does. Units: net_wire.h. */
struct weather {
    uint32_t loss, duplicate, corrupt, burst, burst_end, reorder;
    uint64_t delay, jitter, late, rate, room; /* delay 0: the wire's own */
};

static void blow(struct wire *w, const struct weather *x)
{
    w->loss = x->loss;
    w->duplicate = x->duplicate;
    w->corrupt = x->corrupt;
    w->burst = x->burst;
    w->burst_end = x->burst_end;
    w->reorder = x->reorder;
    w->late = x->late;
    w->jitter = x->jitter;
    w->rate = x->rate;
    w->room = x->room;
    if (x->delay != 0)
        w->delay = x->delay;
}

/* `opening` lasts until all connections are open. */
static void run_in(const struct weather *opening, const struct weather *then, uint64_t seed, uint64_t total, uint16_t mtu, bool slow,
                   uint64_t *duration)
{
    static struct wire w;
    static struct peer_ends p;
    struct tcp_listener *l;
    bed.hold_max = seed % 3 ? 0 : 40; /* often too few buffers for all */
    bed.tso = seed % 7 > 3;
    bed.gro = seed % 11 > 5;
    bed.without = (seed % 5 == 0 ? NET_WITHOUT_SACK : 0) | (seed % 4 == 0 ? NET_WITHOUT_TIMESTAMPS : 0);
    p = (struct peer_ends){0};
    wire_open(&w, &bed, seed, mtu, seed % 2 ? NET_CAP_TX_IPV4_CKSUM | NET_CAP_TX_L4_CKSUM : 0);
    the_wire = &w;
    struct ip_addr any = bed_any(&bed);
    blow(&w, opening);
    assert_int_equal(tcp_listen(w.end[1].st, &any, RTE_BE16(80), 16, &listener_ops, &p, &l), 0);
    uint64_t app_seed = seed + 99, begin = w.now;
    for (int i = 0; i < CONNS; i++) {
        struct sock *s = &p.client[i];
        sock_open(&bed, s);
        struct tcp_flow flow = {.remote_ip = bed_host(&bed, 1), .remote_port = RTE_BE16(80)};
        assert_int_equal(tcp_connect(w.end[0].st, flow, s->own, &sock_ops, s, w.now, &s->conn), 0);
    }
    bool open = true;
    while (open && w.now < begin + 3600 * SEC) {
        wire_step(&w, w.now + 10 * MS);
        open = false;
        bool connected = p.accepted == CONNS;
        for (int i = 0; i < CONNS; i++) {
            connected &= p.client[i].connected;
            act(&p.client[i], total, slow, &app_seed, w.now);
            act(&p.server[i], total, slow, &app_seed, w.now);
            open |= !p.client[i].closed_here || !p.server[i].closed_here;
        }
        if (connected)
            blow(&w, then);
        wire_flush(&w);
    }
    if (open)
        fail_msg("seed %llu: not closed after an hour", (unsigned long long)seed);
    *duration += w.now - begin;
    for (int i = 0; i < CONNS; i++)
        assert_true(p.client[i].read == total && p.server[i].read == total);
    while (w.now < begin + 8000 * SEC && wire_step(&w, begin + 8000 * SEC))
        ;
    assert_int_equal(tcp_conn_count(w.end[0].st), 0);
    assert_int_equal(tcp_conn_count(w.end[1].st), 0);
    assert_int_equal(w.end[0].st->counters[NET_TCP_TIMED_OUT] + w.end[1].st->counters[NET_TCP_TIMED_OUT], 0);
    probes += w.end[0].st->counters[NET_TCP_PROBE] + w.end[1].st->counters[NET_TCP_PROBE];
    blocks += w.end[0].st->counters[NET_TCP_DSACK_RX] + w.end[1].st->counters[NET_TCP_DSACK_RX];
    for (int i = 0; i < 2; i++) {
        struct tcp_memory m;
        merged += w.end[i].st->counters[NET_GRO_MERGED];
        assert_true(bed.gro || w.end[i].st->counters[NET_GRO_MERGED] == 0);
        large += w.end[i].st->counters[NET_TCP_TX_LARGE];
        assert_true(bed.tso || w.end[i].st->counters[NET_TCP_TX_LARGE] == 0);
        tcp_memory(w.end[i].st, &m);
        assert_int_equal(m.lent, 0);
        assert_int_equal(m.kept, 0);
        assert_int_equal(m.rx_lent + m.rx_copied, CONNS * total);
        assert_true(m.tx_referred + m.tx_copied >= CONNS * total);
        memory.rx_lent += m.rx_lent;
        memory.rx_copied += m.rx_copied;
        memory.tx_referred += m.tx_referred;
        memory.tx_copied += m.tx_copied;
    }
    wire_close(&w);
    bed_check_empty(&bed);
}

static void run(uint64_t seed, uint64_t total, uint32_t loss, uint32_t other, uint16_t mtu, bool slow, uint64_t *duration)
{
    const struct weather then = {
        .loss = loss,
        .duplicate = other,
        .corrupt = other,
        .jitter = other ? 3 * MS : 0,
        .rate = rate,
        .room = rate, /* a second's worth */
    };
    struct weather opening = then;
    if (loss > 1000) /* a handshake gives up after six repetitions */
        opening.loss = 0;
    run_in(&opening, &then, seed, total, mtu, slow, duration);
}

static unsigned number(const char *variable, unsigned usual)
{
    const char *n = getenv(variable);
    return n != NULL ? (unsigned)atoi(n) : usual;
}

static unsigned seeds(unsigned usual)
{
    return number("ZSTACK_SOAK_SEEDS", usual);
}

static void test_clean(void **state)
{
    (void)state;
    uint64_t t = 0;
    for (unsigned seed = 1; seed <= 10; seed++)
        run(seed, 300000, 0, 0, 1500, false, &t);
}

static void test_bad_wire(void **state)
{
    (void)state;
    uint64_t t = 0;
    unsigned n = seeds(60);
    blocks = 0;
    for (unsigned seed = 1; seed <= n; seed++)
        run(seed, 100000, 500, 300, seed % 3 ? 1500 : 576, false, &t);
    printf("  %u seeds, 5 %% loss, reordering, 3 %% duplicates and damage: %.1f s of virtual time each\n", n,
           (double)t / (double)SEC / n);
    assert_true(blocks > 0);
}

static void test_terrible_wire(void **state)
{
    (void)state;
    uint64_t t = 0;
    for (unsigned seed = 1; seed <= seeds(60) / 6; seed++)
        run(seed, 20000, 2500, 500, 1500, false, &t);
}

/* Windows close and open again. */
static void test_slow_readers(void **state)
{
    (void)state;
    uint64_t t = 0;
    for (unsigned seed = 1; seed <= 12; seed++)
        run(seed, 600000, seed % 2 ? 200 : 0, seed % 2 ? 200 : 0, 1500, true, &t);
    assert_true(probes > 0);
}

/* Half an hour of echo over a narrow wire that loses, reorders, repeats and damages. */
static void test_half_an_hour(void **state)
{
    (void)state;
    uint64_t t = 0;
    rate = 30000;
    run(7, 13000000, 100, 100, 1500, false, &t);
    rate = 0;
    printf("  1 %% loss, reordering, 1 %% duplicates and damage: %.0f s of virtual time, every byte right\n",
           (double)t / (double)SEC);
    assert_true(t >= 1800 * SEC);
}

/* ---- The network model: a wire of its own for each seed ---- */

static unsigned model_seed; /* that is being tried; 0: none */

static uint64_t one_of(uint64_t *s, const uint64_t *from, size_t n)
{
    return from[rnd(s) % n];
}
#define ONE_OF(s, ...) one_of(s, (const uint64_t[]){__VA_ARGS__}, RTE_DIM(((const uint64_t[]){__VA_ARGS__})))

static void model(unsigned seed, uint64_t *duration)
{
    uint64_t s = seed * UINT64_C(0x9e3779b97f4a7c15);
    struct weather x = {
        .delay = ONE_OF(&s, 10000, MS / 10, MS, 10 * MS, 100 * MS),
        .rate = ONE_OF(&s, 0, 125000, 1250000, 12500000), /* no limit, 1, 10, 100 Mbit/s */
        .loss = (uint32_t)ONE_OF(&s, 0, 0, 10, 100, 500),
        .burst = (uint32_t)ONE_OF(&s, 0, 0, 0, 10, 50),
        .burst_end = 2500,
        .reorder = (uint32_t)ONE_OF(&s, 0, 0, 100, 2500),
        .duplicate = (uint32_t)ONE_OF(&s, 0, 0, 100, 500),
        .corrupt = (uint32_t)ONE_OF(&s, 0, 0, 50, 300),
        .jitter = ONE_OF(&s, 0, 0, MS / 10, 3 * MS),
    };
    x.late = x.delay / 2 + MS;
    x.room = ONE_OF(&s, 15000, 60000, 250000);
    /* Three lost solicitations in a row are an unreachable neighbour, as with Linux: not before connections are open. */
    const struct weather opening = {.delay = x.delay, .jitter = x.jitter, .rate = x.rate, .room = x.room};
    bed.lend = rnd(&s) & 1;
    bed.ip6 = rnd(&s) & 1;
    bed.congestion = rnd(&s) & 1 ? "reno" : "cubic";
    uint16_t mtu = (uint16_t)ONE_OF(&s, 1500, 1500, 1280);
    run_in(&opening, &x, seed, 1000 + rnd(&s) % 60000, mtu, rnd(&s) % 4 == 0, duration);
}

/* ZSTACK_MODEL_SEEDS of them, from ZSTACK_MODEL_FIRST on; the nightly form has 10,000. */
static void test_model(void **state)
{
    (void)state;
    unsigned first = number("ZSTACK_MODEL_FIRST", 1), n = number("ZSTACK_MODEL_SEEDS", getenv("ZSTACK_TEST_ALL") != NULL ? 10000 : 2000);
    uint64_t t = 0;
    assert_true(first > 0 && n > 0);
    for (model_seed = first; model_seed < first + n; model_seed++) {
        model(model_seed, &t);
        if ((model_seed - first + 1) % 1000 == 0)
            printf("  %u of %u\n", model_seed - first + 1, n);
    }
    model_seed = 0;
    assert_true(large > 0);
    assert_true(merged > 0);
    printf("  %u wires, %.1f s of virtual time each, every byte right\n", n, (double)t / (double)SEC / n);
}

static int tell_seed(void **state)
{
    (void)state;
    if (model_seed != 0)
        printf("  ZSTACK_MODEL_FIRST=%u ZSTACK_MODEL_SEEDS=1 repeats it\n", model_seed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest models[] = {cmocka_unit_test_teardown(test_model, tell_seed)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_bad_wire),
        cmocka_unit_test(test_terrible_wire),
        cmocka_unit_test(test_slow_readers),
    };
    bed_start(&bed);
    int failed = cmocka_run_group_tests_name("network model", models, NULL, NULL);
    if (getenv("ZSTACK_MODEL_FIRST") != NULL)
        return failed; /* one of its seeds is to be repeated */
    bed.lend = bed.ip6 = false;
    bed.congestion = NULL;
    memory = (struct tcp_memory){0};
    failed += cmocka_run_group_tests_name("payload copied", tests, NULL, NULL);
    bed.lend = true;
    memory = (struct tcp_memory){0};
    failed += cmocka_run_group_tests_name("payload lent", tests, NULL, NULL);
    const struct CMUnitTest longest[] = {cmocka_unit_test(test_half_an_hour)};
    if (seeds(60) >= 60) /* a shorter run was not asked for */
        failed += cmocka_run_group_tests_name("half an hour", longest, NULL, NULL);
    printf("  received: %.0f %% lent; sent: %.0f %% from the ring\n",
           100.0 * (double)memory.rx_lent / (double)(memory.rx_lent + memory.rx_copied),
           100.0 * (double)memory.tx_referred / (double)(memory.tx_referred + memory.tx_copied));
    printf("  %llu segments cut by the wire, %llu merged\n", (unsigned long long)large, (unsigned long long)merged);
    bed.ip6 = true;
    return failed + cmocka_run_group_tests_name("IPv6", tests, NULL, NULL);
}
