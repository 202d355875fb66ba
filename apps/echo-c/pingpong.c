/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Round trips.
 *
 *   pingpong server PORT [SIZE]            sends back every message, one connection after the other
 *   pingpong client [HOST:]PORT SECONDS [SIZE]    blocking write and read of SIZE bytes (default 64) in turn
 *   pingpong paced [HOST:]PORT SECONDS [US]    the same with a pause before each (default 500 us), in which both ends fall asleep
 *   pingpong connections [HOST:]PORT SECONDS    a new connection for each round trip, ended by a reset (no TIME_WAIT is left)
 *   pingpong raw CPU CPU SECONDS           two threads pass a cache line to and fro: the machine's own limit
 *
 * Client and raw print one JSON object: round trips, median, 99th percentile, minimum and mean in ns. A sample is the mean of `batch` round trips: of
 * 1, or of as many as take SAMPLE_NS, since reading the clock takes a tenth of a round trip through shared memory.
 */
#include "net.h"

#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_SIZE = 1 << 16, BUCKETS = 1 << 20, WARM_UP = 1000, SAMPLE_NS = 5000, MAX_BATCH = 100 };

/* One bucket per ns; the last one takes everything above a millisecond. */
struct histogram {
    uint64_t count, sum, min;
    uint64_t buckets[BUCKETS];
};

static void record(struct histogram *h, uint64_t ns)
{
    h->count++;
    h->sum += ns;
    if (h->min == 0 || ns < h->min)
        h->min = ns;
    h->buckets[ns < BUCKETS ? ns : BUCKETS - 1]++;
}

static uint64_t quantile(const struct histogram *h, double q)
{
    uint64_t wanted = (uint64_t)((double)h->count * q), seen = 0;

    for (uint64_t ns = 0; ns < BUCKETS; ns++) {
        seen += h->buckets[ns];
        if (seen > wanted)
            return ns;
    }
    return BUCKETS - 1;
}

/* Each sample stands for `batch` round trips. */
static void print_json(const struct histogram *h, unsigned batch)
{
    printf("{\"round_trips\":%llu,\"batch\":%u,\"median_ns\":%llu,\"p99_ns\":%llu,\"min_ns\":%llu,\"mean_ns\":%.1f}\n",
           (unsigned long long)(h->count * batch), batch, (unsigned long long)quantile(h, 0.5), (unsigned long long)quantile(h, 0.99),
           (unsigned long long)h->min, h->count ? (double)h->sum / (double)h->count : 0.0);
}

static struct histogram *new_histogram(void)
{
    struct histogram *h = calloc(1, sizeof(*h));

    if (h == NULL)
        die("calloc");
    return h;
}

static int server(int port, size_t size)
{
    static char message[MAX_SIZE];
    int listener = listen_at(port);

    exit_on_signals();
    for (;;) {
        int fd = accept(listener, NULL, NULL);

        if (fd < 0)
            die("accept");
        while (read_all(fd, message, size))
            write_all(fd, message, size);
        close(fd);
    }
}

static void round_trips(int fd, char *message, size_t size, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        write_all(fd, message, size);
        if (!read_all(fd, message, size)) {
            fprintf(stderr, "pingpong: the server closed\n");
            exit(1);
        }
    }
}

/* Round trips in a sample, from the time that `count` of them took. */
static unsigned batch_for(uint64_t ns, unsigned count)
{
    uint64_t batch = SAMPLE_NS * (uint64_t)count / (ns + 1);

    return batch < 1 ? 1 : batch > MAX_BATCH ? MAX_BATCH : (unsigned)batch;
}

static int client(const char *where, double seconds, size_t size, useconds_t pause)
{
    static char message[MAX_SIZE];
    struct histogram *h = new_histogram();
    int fd = connect_at(where);
    unsigned batch = 1;

    memset(message, 'z', size);
    round_trips(fd, message, size, pause == 0 ? WARM_UP / 2 : 1);
    uint64_t before = now_ns();

    if (pause == 0) {
        round_trips(fd, message, size, WARM_UP / 2);
        batch = batch_for(now_ns() - before, WARM_UP / 2);
    }
    before = now_ns();
    uint64_t end = before + (uint64_t)(seconds * 1e9);

    while (before < end) {
        if (pause != 0) {
            usleep(pause);
            before = now_ns();
        }
        round_trips(fd, message, size, batch);
        uint64_t after = now_ns();

        record(h, (after - before) / batch);
        before = after;
    }
    close(fd);
    print_json(h, batch);
    free(h);
    return 0;
}

static int connections(const char *where, double seconds)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    char message[64] = {0};
    uint64_t begin = now_ns(), end = begin + (uint64_t)(seconds * 1e9), now = begin, count = 0;

    for (; now < end; now = now_ns(), count++) {
        int fd = connect_at(where);

        write_all(fd, message, sizeof(message));
        if (!read_all(fd, message, sizeof(message))) {
            fprintf(stderr, "pingpong: the server closed\n");
            return 1;
        }
        if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) != 0)
            die("SO_LINGER");
        close(fd);
    }
    printf("{\"connections\":%llu,\"per_s\":%.1f}\n", (unsigned long long)count, (double)count * 1e9 / (double)(now - begin));
    return 0;
}

/* The line that travels: odd values are the first thread's, even ones the second's, UINT64_MAX ends. */
static alignas(128) _Atomic uint64_t line;

static void pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0)
        die("sched_setaffinity");
}

static void *answer(void *argument)
{
    pin(*(int *)argument);
    for (uint64_t expected = 1;; expected += 2) {
        uint64_t value;

        while ((value = atomic_load_explicit(&line, memory_order_acquire)) != expected)
            if (value == UINT64_MAX)
                return NULL;
        atomic_store_explicit(&line, expected + 1, memory_order_release);
    }
}

static int raw(int first, int second, double seconds)
{
    /* Reading the clock costs as much as a round trip: one sample is the mean of a batch. */
    enum { BATCH = 100 };
    struct histogram *h = new_histogram();
    pthread_t thread;

    pin(first);
    if (pthread_create(&thread, NULL, answer, &second) != 0)
        die("pthread_create");
    uint64_t before = now_ns(), end = before + (uint64_t)(seconds * 1e9), value = 1;

    while (before < end) {
        for (int i = 0; i < BATCH; i++, value += 2) {
            atomic_store_explicit(&line, value, memory_order_release);
            while (atomic_load_explicit(&line, memory_order_acquire) != value + 1)
                ;
        }
        uint64_t after = now_ns();

        record(h, (after - before) / BATCH);
        before = after;
    }
    atomic_store_explicit(&line, UINT64_MAX, memory_order_release);
    pthread_join(thread, NULL);
    print_json(h, BATCH);
    free(h);
    return 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";

    if (strcmp(mode, "server") == 0 && (argc == 3 || argc == 4))
        return server((int)number(argv[2], "PORT", 1, 65535), argc == 4 ? (size_t)number(argv[3], "SIZE", 1, MAX_SIZE) : 64);
    if (strcmp(mode, "client") == 0 && (argc == 4 || argc == 5))
        return client(argv[2], atof(argv[3]), argc == 5 ? (size_t)number(argv[4], "SIZE", 1, MAX_SIZE) : 64, 0);
    if (strcmp(mode, "paced") == 0 && (argc == 4 || argc == 5))
        return client(argv[2], atof(argv[3]), 64, argc == 5 ? (useconds_t)number(argv[4], "US", 1, 1000000) : 500);
    if (strcmp(mode, "connections") == 0 && argc == 4)
        return connections(argv[2], atof(argv[3]));
    if (strcmp(mode, "raw") == 0 && argc == 5)
        return raw((int)number(argv[2], "CPU", 0, 1023), (int)number(argv[3], "CPU", 0, 1023), atof(argv[4]));
    fprintf(stderr, "usage: pingpong server PORT [SIZE] | client [HOST:]PORT SECONDS [SIZE] | paced [HOST:]PORT SECONDS [US] | connections [HOST:]PORT SECONDS | raw CPU CPU SECONDS\n");
    return 2;
}
