/* SPDX-License-Identifier: BSD-3-Clause
 * What a connection carries over a wire that loses packets, by congestion control and rate of loss. Time is virtual and every
 * seed given, so the numbers are the same everywhere, and goodput.txt holds them: a change shows as a difference.
 * ZSTACK_GOODPUT_WRITE=1 writes the file anew. */
#include "net_wire.h"

#include <stdio.h>

#define SEEDS 8u /* single losses decide what a run carries: with two, rows differed by a quarter for nothing */
#define DURATION (4 * SEC)

/* The wire after the handshake. Shares per 10,000. */
struct path {
    const char *name;
    uint64_t rate, delay, room; /* bytes per second; ns each way; bytes that wait at the bottleneck */
    uint32_t loss, burst, burst_end, reorder, duplicate, corrupt;
    uint64_t late;
};
#define MBIT (UINT64_C(1000000) / 8)
#define USUAL .rate = 100 * MBIT, .delay = 10 * MS, .room = 250000 /* what a round trip carries */

static struct bed bed;
static struct sock server;
static bool tell; /* the sender's counters */
static uint64_t counted[NET_COUNTER_N]; /* the sender's, of the last run */
static uint64_t large; /* segments that the port cut, of all runs */

static struct acceptor acceptor = {&bed, &server};

static uint64_t received(const char *congestion, const struct path *path, uint64_t seed)
{
    static struct wire w;
    struct tcp_listener *l;
    struct sock client = {0};
    bed.congestion = congestion;
    wire_open(&w, &bed, seed, 1500, 0);
    w.delay = path->delay;
    w.rate = path->rate;
    w.room = path->room;
    assert_int_equal(tcp_listen(w.end[1].st, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), 0}}, RTE_BE16(80), 16, &acceptor_ops, &acceptor, &l), 0);
    sock_open(&bed, &client);
    struct tcp_flow flow = {.remote_ip = HOST(1), .remote_port = RTE_BE16(80)};
    assert_int_equal(tcp_connect(w.end[0].st, flow, client.own, &sock_ops, &client, w.now, &client.conn), 0);
    uint64_t begin = 0;
    server.bed = NULL;
    while (begin == 0 || w.now < begin + DURATION) {
        wire_step(&w, w.now + MS);
        if (begin == 0 && server.bed != NULL) { /* the loss begins after the handshake */
            begin = w.now;
            w.loss = path->loss;
            w.burst = path->burst;
            w.burst_end = path->burst_end;
            w.reorder = path->reorder;
            w.late = path->late;
            w.duplicate = path->duplicate;
            w.corrupt = path->corrupt;
        }
        if (client.connected)
            sock_write(&client, UINT32_MAX, w.now);
        if (server.bed != NULL)
            sock_read(&server, UINT32_MAX, w.now);
    }
    uint64_t n = server.read;
    for (int i = 0; tell && i < NET_COUNTER_N; i++) {
        if (w.end[0].st->counters[i] != 0)
            printf("  %s %llu\n", net_counter_info[i].name, (unsigned long long)w.end[0].st->counters[i]);
        if (w.end[1].st->counters[i] != 0)
            printf("  receiver: %s %llu\n", net_counter_info[i].name, (unsigned long long)w.end[1].st->counters[i]);
    }
    memcpy(counted, w.end[0].st->counters, sizeof counted);
    large += w.end[0].st->counters[NET_TCP_TX_LARGE];
    sock_close(&client, true, w.now);
    sock_close(&server, true, w.now);
    wire_close(&w);
    bed_check_empty(&bed);
    return n;
}

/* Shares of 10,000, rising. Bursts take four frames on average. */
static const struct path paths[] = {
    {"loss 0", USUAL},
    {"loss 0.01", USUAL, .loss = 1},
    {"loss 0.05", USUAL, .loss = 5},
    {"loss 0.1", USUAL, .loss = 10},
    {"loss 0.5", USUAL, .loss = 50},
    {"loss 1", USUAL, .loss = 100},
    {"loss 2", USUAL, .loss = 200},
    {"loss 5", USUAL, .loss = 500},
    {"in bursts 0.1", USUAL, .burst = 3, .burst_end = 2500},
    {"in bursts 1", USUAL, .burst = 25, .burst_end = 2500},
    {"late 1", USUAL, .reorder = 100, .late = 3 * MS},
    {"late 25", USUAL, .reorder = 2500, .late = 3 * MS},
    {"late 1 by 30 ms", USUAL, .reorder = 100, .late = 30 * MS},
    {"twice 1", USUAL, .duplicate = 100},
    {"damaged 1", USUAL, .corrupt = 100},
    {"all of it 0.1", USUAL, .loss = 10, .reorder = 10, .late = 3 * MS, .duplicate = 10, .corrupt = 10},
    {"delay 1 ms", .rate = 100 * MBIT, .delay = MS, .room = 250000},
    {"delay 50 ms", .rate = 100 * MBIT, .delay = 50 * MS, .room = 1250000},
    {"queue 1/10", .rate = 100 * MBIT, .delay = 10 * MS, .room = 25000},
    {"10 Mbit/s", .rate = 10 * MBIT, .delay = 10 * MS, .room = 25000},
    {"1 Gbit/s", .rate = 1000 * MBIT, .delay = MS, .room = 250000},
    {"1 Gbit/s, 1 %", .rate = 1000 * MBIT, .delay = MS, .room = 250000, .loss = 100},
};

/* Every other seed over a port that cuts long segments: nothing is to change by that. */
static uint64_t kbits(const char *congestion, const struct path *path)
{
    uint64_t sum = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        bed.tso = seed % 2 == 0;
        sum += received(congestion, path, seed);
    }
    return sum * 8 / SEEDS / (DURATION / SEC) / 1000; /* in integers: the same everywhere */
}

static size_t table(char *out, size_t size)
{
    static const char *const names[] = {"cubic", "reno"};
    size_t n = (size_t)snprintf(out, size, "Mbit/s of payload in 4 s; 100 Mbit/s, 10 ms each way; average of %u seeds. Shares in percent, both ways\n%-16s",
                                SEEDS, "");
    for (size_t i = 0; i < RTE_DIM(names); i++)
        n += (size_t)snprintf(out + n, size - n, "%8s", names[i]);
    n += (size_t)snprintf(out + n, size - n, "\n");
    for (size_t j = 0; j < RTE_DIM(paths); j++) {
        n += (size_t)snprintf(out + n, size - n, "%-16s", paths[j].name);
        for (size_t i = 0; i < RTE_DIM(names); i++) {
            uint64_t kbit = kbits(names[i], &paths[j]);
            n += (size_t)snprintf(out + n, size - n, "%5u.%02u", (unsigned)(kbit / 1000), (unsigned)(kbit % 1000 / 10));
        }
        n += (size_t)snprintf(out + n, size - n, "\n");
    }
    return n;
}

static void diff(char *was, char *is)
{
    char *save1, *save2, *a = strtok_r(was, "\n", &save1), *b = strtok_r(is, "\n", &save2);
    while (a != NULL || b != NULL) {
        if (a == NULL || b == NULL || strcmp(a, b) != 0)
            print_error("- %s\n+ %s\n", a == NULL ? "" : a, b == NULL ? "" : b);
        a = a == NULL ? NULL : strtok_r(NULL, "\n", &save1);
        b = b == NULL ? NULL : strtok_r(NULL, "\n", &save2);
    }
}

static void test_goodput(void **state)
{
    static char is[4096], was[4096];
    (void)state;
    size_t n = table(is, sizeof is);
    printf("%s", is);
    if (getenv("ZSTACK_GOODPUT_WRITE") != NULL) {
        FILE *f = fopen(GOODPUT_TABLE, "w");
        assert_non_null(f);
        fwrite(is, 1, n, f);
        assert_int_equal(fclose(f), 0);
        return;
    }
    FILE *f = fopen(GOODPUT_TABLE, "r");
    assert_non_null(f);
    size_t got = fread(was, 1, sizeof was - 1, f);
    fclose(f);
    if (got == n && memcmp(was, is, n) == 0)
        return;
    diff(was, is);
    fail_msg("not what %s says", GOODPUT_TABLE);
}

/* A port that cuts changes nothing on the wire: to the byte the same arrives, whatever is lost or overtaken. */
static void test_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < RTE_DIM(paths); i += 5) {
        bed.tso = false;
        uint64_t single = received("cubic", &paths[i], 1);
        bed.tso = true;
        large = 0;
        assert_int_equal(received("cubic", &paths[i], 1), single);
        assert_true(large > 0);
    }
}

static const struct path *path_of(const char *name)
{
    const struct path *path = paths;
    while (strcmp(path->name, name) != 0)
        path++;
    return path;
}

/* Slow start that goes on until the queue overflows loses what the path carries in a round trip, or twice that; less, where it sees the queue grow or
 * is paced. */
static void test_slow_start_sees_the_queue(void **state)
{
    static const struct {
        const char *name;
        uint64_t most; /* percent of what the path carries */
    } of[] = {{"loss 0", 83}, {"delay 50 ms", 75}};
    (void)state;
    bed.tso = false;
    for (size_t i = 0; i < RTE_DIM(of); i++) {
        const struct path *path = path_of(of[i].name);
        received("cubic", path, 1);
        uint64_t carries = path->rate * 2 * path->delay / SEC / 1448;
        assert_in_range(counted[NET_TCP_RETRANSMITTED], 1, carries * of[i].most / 100);
        assert_true(counted[NET_TCP_PACED] > 0);
    }
}

/* Where packets are lost in the queue only and none overtakes another, all that is sent again was lost, and so was what each
 * recovery began for. */
static void test_nothing_in_vain(void **state)
{
    static const char *const names[] = {"loss 0", "delay 1 ms", "queue 1/10", "10 Mbit/s", "1 Gbit/s"};
    (void)state;
    bed.tso = false;
    for (size_t i = 0; i < RTE_DIM(names); i++) {
        received("cubic", path_of(names[i]), 1);
        assert_true(counted[NET_TCP_FAST_RETRANSMIT] > 0);
        assert_int_equal(counted[NET_TCP_SPURIOUS_RECOVERY], 0);
        assert_int_equal(counted[NET_TCP_DSACK_RX], 0);
    }
}

/* One path, to look at: tcp_goodput_test CONGESTION MBIT DELAY_US ROOM LOSS REORDER LATE_US, shares per 10,000. */
static int one(char **argv)
{
    struct path p = {.rate = strtoull(argv[2], NULL, 10) * MBIT, .delay = strtoull(argv[3], NULL, 10) * 1000, .room = strtoull(argv[4], NULL, 10),
                     .loss = (uint32_t)atoi(argv[5]), .reorder = (uint32_t)atoi(argv[6]), .late = strtoull(argv[7], NULL, 10) * 1000};
    bed.sndbuf = 4u << 20;
    tell = true;
    printf("%.2f Mbit/s\n", (double)kbits(argv[1], &p) / 1000);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_goodput), cmocka_unit_test(test_cut),
                                       cmocka_unit_test(test_slow_start_sees_the_queue), cmocka_unit_test(test_nothing_in_vain)};
    bed_start(&bed);
    bed.sndbuf = 2u << 20;
    if (argc == 8)
        return one(argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
