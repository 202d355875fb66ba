/* SPDX-License-Identifier: BSD-3-Clause
 * Two engines that share a memif, each a process: in both roles, whichever starts first, with and without a bell, and when
 * the other is killed in mid traffic. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "../port/internal.h"
#include "port_bed.h"

#define FRAMES 300
#define LAST_WORDS 20u

struct pair {
    bool server; /* this side of the test is memif's server */
    bool bell;
    bool other_first;
    char dir[64];
};

static void make_dir(struct pair *pair)
{
    strcpy(pair->dir, "/tmp/zsportXXXXXX");
    CHECK(mkdtemp(pair->dir) != NULL);
}

static void remove_dir(const struct pair *pair)
{
    bed_command("rm -f %s/memif %s/bell; rmdir %s", pair->dir, pair->dir, pair->dir);
}

static struct port *start(const struct pair *pair, bool server, const char *ip, struct rte_mempool **pool, struct bed_fds *fds)
{
    char vdev[256], spec[256];
    const char *arg = vdev;
    snprintf(vdev, sizeof vdev, "--vdev=net_memif0,role=%s,id=0,socket=%s/memif,socket-abstract=no",
             server ? "server" : "client", pair->dir);
    if (server) {
        char path[96];
        snprintf(path, sizeof path, "%s/memif", pair->dir);
        port_remove_stale_socket(path);
    }
    bed_eal(&arg, 1);
    *pool = bed_pool();
    bed_fds(fds);
    int n = snprintf(spec, sizeof spec, "net_memif0,ip=%s/24", ip);
    if (pair->bell)
        snprintf(spec + n, sizeof spec - (size_t)n, ",bell=%s/bell", pair->dir);
    return bed_open(spec, *pool);
}

/* The other engine, a program of its own: returns every test frame, with its seed one higher, and sleeps between. */
static int echo_main(char **argv)
{
    struct pair pair = {.server = strcmp(argv[2], "server") == 0, .bell = strcmp(argv[3], "bell") == 0};
    struct rte_mempool *pool;
    struct bed_fds before;
    uint8_t frame[1600];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(pair.dir, sizeof pair.dir, "%s", argv[4]);
    struct port *p = start(&pair, pair.server, "10.9.0.2", &pool, &before);
    for (;;) {
        struct rte_mbuf *m = bed_next(p);
        if (m == NULL)
            continue;
        uint32_t len = rte_pktmbuf_pkt_len(m);
        uint8_t seed = (uint8_t)(*rte_pktmbuf_mtod_offset(m, uint8_t *, 14) - 14 * 7);
        CHECK(bed_is(m, len, seed));
        rte_pktmbuf_free(m);
        bed_fill(frame, len, (uint8_t)(seed + 1));
        bed_send(p, pool, frame, len, 1 + seed % 3, seed % 2);
    }
}

/* The other side, as a program of its own. */
static pid_t other_main(const struct pair *pair, const char *what)
{
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "port_memif_test", what, pair->server ? "client" : "server", pair->bell ? "bell" : "none",
              pair->dir, NULL);
        _exit(127);
    }
    return pid;
}

static pid_t echo(const struct pair *pair)
{
    return other_main(pair, "--echo");
}

static void until_linked(struct port *p, bool up, bool bell)
{
    struct port_stats s;
    struct rte_mbuf *m;
    time_t end = time(NULL) + 10;
    do {
        CHECK(time(NULL) < end);
        while (port_rx(p, 0, &m, 1) == 1)
            rte_pktmbuf_free(m);
        if (port_sleep(p, 0)) {
            struct pollfd fd = {.fd = port_sleep_fd(p, 0), .events = POLLIN};
            poll(&fd, 1, (int)(port_sleep_max_ns(p, 0) / 1000000));
            port_wake(p, 0);
        }
        port_stats(p, &s);
    } while (s.link_up != up || (up && s.bell_up != bell));
    /* The receiver's first look offers the buffers that the other fills. */
    while (port_rx(p, 0, &m, 1) == 1)
        rte_pktmbuf_free(m);
}

static void talk(struct port *p, struct rte_mempool *pool, unsigned from)
{
    static const size_t sizes[] = {60, 61, 777, 1514};
    uint8_t frame[1600];
    for (unsigned i = from; i < from + FRAMES; i++) {
        size_t len = sizes[i % 4];
        bed_fill(frame, len, (uint8_t)i);
        bed_send(p, pool, frame, len, 1 + i % 4, i % 2);
        struct rte_mbuf *m = bed_next(p);
        CHECK(bed_is(m, len, (uint8_t)(i + 1)));
        rte_pktmbuf_free(m);
    }
}

/* Both asleep, and the other's answer wakes us by the descriptor alone. */
static void bell_wakes(struct port *p, struct rte_mempool *pool)
{
    uint8_t frame[60];
    for (unsigned i = 0; i < 20; i++) {
        struct pollfd fd = {.fd = port_sleep_fd(p, 0), .events = POLLIN};
        struct timespec pause = {.tv_nsec = 2000000};
        nanosleep(&pause, NULL);
        bed_fill(frame, sizeof frame, (uint8_t)i);
        bed_send(p, pool, frame, sizeof frame, 1, false);
        if (port_sleep(p, 0)) {
            CHECK(port_sleep_max_ns(p, 0) >= 100000000);
            CHECK(poll(&fd, 1, 5000) == 1);
            port_wake(p, 0);
        }
        struct rte_mbuf *m = bed_next(p);
        CHECK(bed_is(m, sizeof frame, (uint8_t)(i + 1)));
        rte_pktmbuf_free(m);
    }
}

/* Kills the other while frames fly: the driver must not take the rings from under a burst. */
static void kill_in_traffic(struct port *p, struct rte_mempool *pool, pid_t other)
{
    uint8_t frame[1514];
    struct rte_mbuf *m;
    struct timespec begin, now;
    bool killed = false;
    struct net_port_conf conf;
    port_conf(p, 0, &conf);
    bed_fill(frame, sizeof frame, 7);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        struct rte_mbuf *burst[32];
        for (unsigned i = 0; i < 32; i++) {
            burst[i] = rte_pktmbuf_alloc(pool);
            CHECK(burst[i] != NULL);
            memcpy(rte_pktmbuf_append(burst[i], sizeof frame), frame, sizeof frame);
        }
        uint16_t n = conf.ops->tx_burst(conf.dev, burst, 32);
        rte_pktmbuf_free_bulk(burst + n, 32u - n);
        while (port_rx(p, 0, &m, 1) == 1)
            rte_pktmbuf_free(m);
        clock_gettime(CLOCK_MONOTONIC, &now);
        int64_t ms = (now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000;
        if (ms > 20 && !killed) {
            kill(other, SIGKILL);
            killed = true;
        }
        if (ms > 300)
            break;
    } while (true);
    waitpid(other, NULL, 0);
}

static void run_pair(void *arg)
{
    struct pair *pair = arg;
    struct bed_fds before;
    struct rte_mempool *pool;
    make_dir(pair);
    pid_t other = pair->other_first ? echo(pair) : 0;
    if (other != 0)
        nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    struct port *p = start(pair, pair->server, "10.9.0.1", &pool, &before);
    if (other == 0)
        other = echo(pair);
    until_linked(p, true, pair->bell);
    CHECK(port_link_ups(p) == 1);
    talk(p, pool, 0);
    if (pair->bell)
        bell_wakes(p, pool);
    else
        CHECK(port_sleep_max_ns(p, 0) == 1000000);
    struct port_stats s;
    port_stats(p, &s);
    CHECK(s.rx_packets >= FRAMES && s.tx_packets >= FRAMES && strcmp(s.kind, "memif") == 0);
    for (int i = 0; i < 2; i++) {
        kill_in_traffic(p, pool, other);
        until_linked(p, false, false);
        CHECK(port_sleep_max_ns(p, 0) == 10000000);
        other = echo(pair);
        until_linked(p, true, pair->bell);
        CHECK(port_link_ups(p) == 2u + (uint32_t)i);
        talk(p, pool, 50);
    }
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    port_close(p);
    /* Of the server's listener a silent descriptor stays. */
    CHECK(pair->server || bed_no_new_fds(&before));
    remove_dir(pair);
}

static void test_server(void **state)
{
    (void)state;
    assert_true(bed_run(run_pair, &(struct pair){.server = true, .bell = true}));
}

static void test_client(void **state)
{
    (void)state;
    assert_true(bed_run(run_pair, &(struct pair){.server = false, .bell = true}));
}

static void test_client_second(void **state)
{
    (void)state;
    assert_true(bed_run(run_pair, &(struct pair){.server = false, .bell = true, .other_first = true}));
}

static void test_without_bell(void **state)
{
    (void)state;
    assert_true(bed_run(run_pair, &(struct pair){.server = true, .bell = false}));
}

/* The other engine ends in good order: what it says last, and then closes the port, is received, however late this side looks. */
static int last_words_main(char **argv)
{
    struct pair pair = {.server = strcmp(argv[2], "server") == 0, .bell = strcmp(argv[3], "bell") == 0};
    struct rte_mempool *pool;
    struct bed_fds before;
    uint8_t frame[60];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(pair.dir, sizeof pair.dir, "%s", argv[4]);
    struct port *p = start(&pair, pair.server, "10.9.0.2", &pool, &before);
    until_linked(p, true, pair.bell);
    usleep(SERVICE_NS * 3 / 1000);
    for (unsigned i = 0; i < LAST_WORDS; i++) {
        bed_fill(frame, sizeof frame, (uint8_t)i);
        bed_send(p, pool, frame, sizeof frame, 1, false);
    }
    port_close(p);
    return 0;
}

static void run_last_words(void *arg)
{
    struct pair *pair = arg;
    struct bed_fds before;
    struct rte_mempool *pool;
    make_dir(pair);
    struct port *p = start(pair, pair->server, "10.9.0.1", &pool, &before);
    for (int round = 0; round < 5; round++) {
        pid_t other = other_main(pair, "--last-words");
        until_linked(p, true, pair->bell);
        waitpid(other, NULL, 0); /* a machine with much to do: all is over before this side looks again */
        for (unsigned i = 0; i < LAST_WORDS; i++) {
            struct rte_mbuf *m = bed_next(p);
            CHECK(m != NULL && bed_is(m, 60, (uint8_t)i));
            rte_pktmbuf_free(m);
        }
        until_linked(p, false, false);
    }
    port_close(p);
    remove_dir(pair);
}

static void test_last_words_to_a_server(void **state)
{
    (void)state;
    assert_true(bed_run(run_last_words, &(struct pair){.server = true, .bell = true}));
}

static void test_last_words_to_a_client(void **state)
{
    (void)state;
    assert_true(bed_run(run_last_words, &(struct pair){.server = false, .bell = true}));
}

static void test_last_words_without_bell(void **state)
{
    (void)state;
    assert_true(bed_run(run_last_words, &(struct pair){.server = true, .bell = false}));
}

/* A server that is late, on a machine with much to do, finds its client still there. */
static void run_late(void *arg)
{
    struct pair pair = {.server = false};
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct rte_mempool *pool;
    struct bed_fds before;
    struct rte_mbuf *m;
    (void)arg;
    make_dir(&pair);
    snprintf(at.sun_path, sizeof at.sun_path, "%s/memif", pair.dir);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 8) == 0);
    struct port *p = start(&pair, false, "10.9.0.1", &pool, &before);
    for (uint64_t end = port_now() + 1000 * MS_NS; port_now() < end; usleep(10000))
        CHECK(port_rx(p, 0, &m, 1) == 0);
    int conn = accept(fd, NULL, NULL);
    CHECK(conn >= 0 && accept(fd, NULL, NULL) < 0 && errno == EAGAIN);
    CHECK(recv(conn, &at, sizeof at, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    close(conn);
    close(fd);
    port_close(p);
    remove_dir(&pair);
}

static void test_late_server(void **state)
{
    (void)state;
    assert_true(bed_run(run_late, NULL));
}

/* ---- Strangers at the server's socket ---- */

#define STRANGERS 2000u
#define MESSAGE 128u /* of memif, all of them */

static void serve(struct port *p, uint64_t ns)
{
    struct rte_mbuf *m;
    for (uint64_t end = port_now() + ns; port_now() < end;) {
        while (port_rx(p, 0, &m, 1) == 1)
            rte_pktmbuf_free(m);
        if (port_sleep(p, 0))
            usleep(500);
        port_wake(p, 0);
    }
}

/* Connects, says `len` bytes and is gone; false: too many wait there already. */
static bool visit(const char *dir, const void *data, size_t len)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s/memif", dir);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool in = fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0;
    CHECK(in || errno == EAGAIN);
    if (in && len > 0)
        send(fd, data, len, MSG_NOSIGNAL);
    close(fd);
    return in;
}

/* The same, but comes again until there is room: the thread that makes it may be late, the one here serves its port meanwhile. */
static void insist(struct port *p, const char *dir, const void *data, size_t len)
{
    for (uint64_t end = port_now() + 10000 * MS_NS; !visit(dir, data, len); serve(p, MS_NS))
        CHECK(port_now() < end);
}

/* They go before they are greeted, while the interrupt thread is free to greet them and while it is held; with nonsense, with the
 * first message of the protocol and no second. The right one is served before, meanwhile and after. */
static void run_strangers(void *arg)
{
    struct pair pair = {.server = true, .bell = true};
    struct bed_fds before, after;
    struct rte_mempool *pool;
    uint8_t nonsense[MESSAGE] = {2, 0, 0xff}, init[MESSAGE] = {3, 0, 0, 2}; /* HELLO, INIT: version 2.0, id 0 */
    unsigned gone = 0;
    (void)arg;
    make_dir(&pair);
    struct port *p = start(&pair, true, "10.9.0.1", &pool, &before);
    serve(p, 50 * MS_NS);
    bed_fds(&before);
    for (unsigned i = 0; gone < STRANGERS; i++) {
        gone += visit(pair.dir, i % 8 == 1 ? nonsense : init, i % 8 == 1 ? MESSAGE : i % 8 == 2 ? 5 : i % 8 == 3 ? MESSAGE : 0);
        if (i % 64 == 0)
            serve(p, MS_NS);
    }
    serve(p, 200 * MS_NS);
    bed_fds(&after);
    CHECK(memcmp(&before, &after, sizeof before) == 0);
    pid_t other = echo(&pair);
    until_linked(p, true, true);
    talk(p, pool, 0);
    for (int round = 0; round < 10; round++) { /* between two of its moments the thread is held */
        insist(p, pair.dir, nonsense, 0);
        visit(pair.dir, init, round % 2 ? MESSAGE : 0);
        serve(p, 2 * SERVICE_NS);
    }
    talk(p, pool, 7);
    CHECK(port_link_ups(p) >= 1);
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    port_close(p);
    remove_dir(&pair);
}

static void test_strangers(void **state)
{
    (void)state;
    assert_true(bed_run(run_strangers, NULL));
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "--echo") == 0)
        return echo_main(argv);
    if (argc == 5 && strcmp(argv[1], "--last-words") == 0)
        return last_words_main(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server),
        cmocka_unit_test(test_client),
        cmocka_unit_test(test_client_second),
        cmocka_unit_test(test_without_bell),
        cmocka_unit_test(test_last_words_to_a_server),
        cmocka_unit_test(test_last_words_to_a_client),
        cmocka_unit_test(test_last_words_without_bell),
        cmocka_unit_test(test_late_server),
        cmocka_unit_test(test_strangers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
