/* SPDX-License-Identifier: BSD-3-Clause
 * What a connection carries over a wire that loses packets, by congestion control and rate of loss. Time is virtual and every
 * seed given, so the numbers are the same everywhere, and goodput.txt holds them: a change shows as a difference.
 * ZSTACK_GOODPUT_WRITE=1 writes the file anew. */
#include "net_wire.h"

#include <stdio.h>

#define RATE (100u * 1000 * 1000 / 8) /* bytes per second */
#define DELAY (10 * MS)               /* each way */
#define ROOM 250000u                  /* of the bottleneck: what a round trip carries */
#define SEEDS 2u
#define DURATION (4 * SEC)

static struct bed bed;
static struct sock server;

static int on_accept(void *arg, struct tcp_conn *c, const struct tcp_flow *flow)
{
    (void)arg;
    (void)flow;
    server = (struct sock){0};
    sock_open(&bed, &server);
    server.conn = c;
    tcp_attach(c, server.own, &sock_ops, &server);
    return 0;
}
static const struct tcp_listener_ops listener_ops = {.accept = on_accept};

static uint64_t received(const char *congestion, uint32_t loss, uint64_t seed)
{
    static struct wire w;
    struct tcp_listener *l;
    struct sock client = {0};
    bed.congestion = congestion;
    wire_open(&w, &bed, seed, 1500, 0);
    w.delay = DELAY;
    w.rate = RATE;
    w.room = ROOM;
    assert_int_equal(tcp_listen(w.end[1].st, &(struct ip_addr){.w = {0, 0, RTE_BE32(0xffff), 0}}, RTE_BE16(80), 16, &listener_ops, NULL, &l), 0);
    sock_open(&bed, &client);
    struct tcp_flow flow = {.remote_ip = HOST(1), .remote_port = RTE_BE16(80)};
    assert_int_equal(tcp_connect(w.end[0].st, flow, client.own, &sock_ops, &client, w.now, &client.conn), 0);
    uint64_t begin = 0;
    server.bed = NULL;
    while (begin == 0 || w.now < begin + DURATION) {
        wire_step(&w, w.now + MS);
        if (begin == 0 && server.bed != NULL) { /* the loss begins after the handshake */
            begin = w.now;
            w.loss = loss;
        }
        if (client.connected)
            sock_write(&client, UINT32_MAX, w.now);
        if (server.bed != NULL)
            sock_read(&server, UINT32_MAX, w.now);
    }
    uint64_t n = server.read;
    sock_close(&client, true, w.now);
    sock_close(&server, true, w.now);
    wire_close(&w);
    bed_check_empty(&bed);
    return n;
}

static size_t table(char *out, size_t size)
{
    static const uint32_t loss[] = {0, 1, 5, 10, 50, 100, 200, 500}; /* per 10,000 */
    static const char *const names[] = {"cubic", "reno"};
    size_t n = (size_t)snprintf(out, size, "Mbit/s of payload in 4 s; 100 Mbit/s, 10 ms each way; average of %u seeds\n%-7s",
                                SEEDS, "loss %");
    for (size_t i = 0; i < RTE_DIM(names); i++)
        n += (size_t)snprintf(out + n, size - n, "%8s", names[i]);
    n += (size_t)snprintf(out + n, size - n, "\n");
    for (size_t j = 0; j < RTE_DIM(loss); j++) {
        n += (size_t)snprintf(out + n, size - n, "%-7.2f", loss[j] / 100.0);
        for (size_t i = 0; i < RTE_DIM(names); i++) {
            uint64_t sum = 0;
            for (uint64_t seed = 1; seed <= SEEDS; seed++)
                sum += received(names[i], loss[j], seed);
            /* In integers: kbit/s, rounded down. */
            uint64_t kbit = sum * 8 / SEEDS / (DURATION / SEC) / 1000;
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_goodput)};
    bed_start(&bed);
    bed.sndbuf = 2u << 20;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
