/* SPDX-License-Identifier: BSD-3-Clause
 * Large transfers: every byte is checked by its position in the stream. */
#include "lib.h"

#define MIB (UINT64_C(1) << 20)

struct stream {
    int fd;
    uint64_t total;
    unsigned seed;
    uint64_t sum; /* of what was read */
    bool ok;
};

static size_t size_of(unsigned *seed)
{
    unsigned r = (unsigned)rand_r(seed);
    return 1 + (r & 1 ? r % 100 : r & 2 ? r % 5000 : r % 200000);
}

static void *sender(void *arg)
{
    struct stream *s = arg;
    static __thread uint8_t buf[200001];
    for (uint64_t at = 0; at < s->total;) {
        size_t n = size_of(&s->seed);
        if (n > s->total - at)
            n = s->total - at;
        for (size_t i = 0; i < n; i++)
            buf[i] = pattern(at + i);
        write_all(s->fd, buf, n);
        at += n;
    }
    OK(shutdown(s->fd, SHUT_WR));
    return NULL;
}

static void *receiver(void *arg)
{
    struct stream *s = arg;
    static __thread uint8_t buf[200001];
    uint64_t at = 0;
    ssize_t n;
    s->ok = true;
    while ((n = OK(read(s->fd, buf, size_of(&s->seed)))) > 0)
        for (ssize_t i = 0; i < n; i++, at++)
            s->ok = s->ok && buf[i] == pattern(at);
    s->sum = at;
    return NULL;
}

static void both_ways(int fd, uint64_t total, unsigned seed, const char *who)
{
    struct stream out = {fd, total, seed, 0, false}, in = {fd, total, seed + 1, 0, false};
    pthread_t t = thread(sender, &out);
    receiver(&in);
    join(t);
    trace("%s: %llu bytes, intact %d", who, (unsigned long long)in.sum, in.ok);
}

static void *other_end(void *arg)
{
    struct stream out = {*(int *)arg, 64 * MIB, 7, 0, false};
    sender(&out);
    return NULL;
}

static void threads(void)
{
    int p[2];
    tcp_pair(p);
    struct stream back = {p[1], 64 * MIB, 3, 0, false};
    pthread_t a = thread(other_end, &p[1]), b = thread(receiver, &back);
    both_ways(p[0], 64 * MIB, 11, "client");
    join(a);
    join(b);
    trace("server: %llu bytes, intact %d", (unsigned long long)back.sum, back.ok);
    OK(close(p[0]));
    OK(close(p[1]));
}

static void echo_child(void *arg)
{
    int *p = arg;
    OK(close(p[0]));
    both_ways(p[1], 64 * MIB, 5, "child");
}

static void *nothing(void *arg)
{
    return arg;
}

static void processes(void)
{
    int p[2];
    tcp_pair(p);
    pid_t pid = child(echo_child, p);
    OK(close(p[1]));
    struct stream in = {p[0], 64 * MIB, 9, 0, false}, out = {p[0], 64 * MIB, 21, 0, false};
    pthread_t t = thread(sender, &out);
    receiver(&in);
    join(t);
    reap(pid); /* its line comes before ours */
    trace("parent: %llu bytes, intact %d", (unsigned long long)in.sum, in.ok);
    join(thread(nothing, NULL));
    OK(close(p[0]));
}

/* One thread, both ends non-blocking; wait says what is possible. */
static void one_thread(int a, int b, void (*wait)(void *ctx, int fd[2], bool want_out, bool *out, bool *in), void *ctx)
{
    static uint8_t obuf[200001], ibuf[200001];
    uint64_t sent = 0, got = 0;
    bool intact = true;
    unsigned seed = 4;
    int fd[2] = {a, b};
    while (got < 64 * MIB) {
        bool out, in;
        wait(ctx, fd, sent < 64 * MIB, &out, &in);
        size_t n = size_of(&seed);
        if (n > 64 * MIB - sent)
            n = 64 * MIB - sent;
        for (size_t i = 0; i < n && out; i++)
            obuf[i] = pattern(sent + i);
        ssize_t r = out ? send(a, obuf, n, 0) : 0;
        CHECK(r >= 0 || errno == EAGAIN);
        sent += r > 0 ? (uint64_t)r : 0;
        r = in ? recv(b, ibuf, size_of(&seed), 0) : 0;
        CHECK(r >= 0 || errno == EAGAIN);
        for (ssize_t i = 0; i < r; i++, got++)
            intact = intact && ibuf[i] == pattern(got);
    }
    trace("%llu bytes, intact %d", (unsigned long long)got, intact);
    show_recv("no more", b);
}

static void wait_poll(void *ctx, int fd[2], bool want_out, bool *out, bool *in)
{
    struct pollfd p[2] = {{.fd = fd[0], .events = want_out ? POLLOUT : 0}, {.fd = fd[1], .events = POLLIN}};
    (void)ctx;
    CHECK(poll(p, 2, 3000) > 0);
    *out = p[0].revents & POLLOUT;
    *in = p[1].revents & POLLIN;
}

static void wait_epoll(void *ctx, int fd[2], bool want_out, bool *out, bool *in)
{
    struct epoll_event ev[2];
    int *ep = ctx;
    if ((bool)ep[1] != want_out)
        ep_mod(ep[0], fd[0], want_out ? EPOLLOUT : 0, 0);
    ep[1] = want_out;
    int n = epoll_wait(ep[0], ev, 2, 3000);
    CHECK(n > 0);
    *out = *in = false;
    for (int i = 0; i < n; i++)
        *(ev[i].data.u32 ? in : out) = true;
}

static void nonblocking_poll(void)
{
    int p[2];
    tcp_pair(p);
    set_nonblock(p[0], true);
    set_nonblock(p[1], true);
    one_thread(p[0], p[1], wait_poll, NULL);
    OK(close(p[0]));
    OK(close(p[1]));
}

static void nonblocking_epoll(void)
{
    int p[2], ep[2] = {(int)OK(epoll_create1(0)), 1};
    tcp_pair(p);
    set_nonblock(p[0], true);
    set_nonblock(p[1], true);
    ep_add(ep[0], p[0], EPOLLOUT, 0);
    ep_add(ep[0], p[1], EPOLLIN, 1);
    one_thread(p[0], p[1], wait_epoll, ep);
    OK(close(p[0]));
    OK(close(p[1]));
    OK(close(ep[0]));
}

static void *write_bytes(void *arg)
{
    for (uint64_t i = 0; i < 100000; i++) {
        uint8_t byte = pattern(i);
        CHECK(write(*(int *)arg, &byte, 1) == 1);
    }
    OK(shutdown(*(int *)arg, SHUT_WR));
    return NULL;
}

static void one_byte_writes(void)
{
    int p[2];
    tcp_pair(p);
    pthread_t t = thread(write_bytes, &p[0]);
    struct stream in = {p[1], 0, 2, 0, false};
    receiver(&in);
    join(t);
    trace("%llu bytes, intact %d", (unsigned long long)in.sum, in.ok);
    OK(close(p[0]));
    OK(close(p[1]));
}

static _Atomic uint64_t written;

static void *write_much(void *arg)
{
    static uint8_t buf[65536];
    for (uint64_t at = 0; at < 32 * MIB; at += sizeof buf, written = at) {
        for (size_t i = 0; i < sizeof buf; i++)
            buf[i] = pattern(at + i);
        write_all(*(int *)arg, buf, sizeof buf);
    }
    OK(shutdown(*(int *)arg, SHUT_WR));
    return NULL;
}

static void back_pressure(void)
{
    int p[2];
    tcp_pair(p);
    pthread_t t = thread(write_much, &p[0]);
    uint64_t before;
    do {
        before = written;
        msleep(150);
    } while (written != before);
    trace("the writer blocks before 32 MiB: %d", before < 32 * MIB);
    show_poll("full", p[0], POLLOUT, 0);
    struct stream in = {p[1], 0, 2, 0, false};
    receiver(&in);
    join(t);
    trace("%llu bytes, intact %d", (unsigned long long)in.sum, in.ok);
    OK(close(p[0]));
    OK(close(p[1]));
}

static void write_mib(void)
{
    int p[2];
    uint8_t *buf = malloc(MIB);
    tcp_pair(p);
    for (uint64_t i = 0; i < MIB; i++)
        buf[i] = pattern(i);
    R(write(p[0], buf, MIB)); /* one thread, nobody reads yet */
    memset(buf, 0, MIB);
    read_exact(p[1], buf, MIB);
    for (uint64_t i = 0; i < MIB; i++)
        CHECK(buf[i] == pattern(i));
    free(buf);
    OK(close(p[0]));
    OK(close(p[1]));
}

static void close_in_flight(void)
{
    int p[2];
    static uint8_t buf[500000];
    tcp_pair(p);
    for (size_t i = 0; i < sizeof buf; i++)
        buf[i] = pattern(i);
    R(write(p[0], buf, sizeof buf));
    OK(close(p[0]));
    struct stream in = {p[1], 0, 2, 0, false};
    receiver(&in);
    trace("%llu bytes, intact %d", (unsigned long long)in.sum, in.ok);
    OK(close(p[1]));
}

static void pair_v6(void)
{
    int p[2];
    tcp_pair_of(AF_INET6, p);
    pthread_t t = thread(write_bytes, &p[1]);
    struct stream in = {p[0], 0, 2, 0, false};
    receiver(&in);
    join(t);
    trace("%llu bytes, intact %d", (unsigned long long)in.sum, in.ok);
    OK(close(p[0]));
    OK(close(p[1]));
}

const struct conf_case bulk_cases[] = {
    {"tcp_large_threads", threads, TCP, NULL},
    {"tcp_large_processes", processes, TCP, NULL},
    {"tcp_large_nonblock_poll", nonblocking_poll, TCP, NULL},
    {"tcp_large_nonblock_epoll", nonblocking_epoll, TCP, NULL},
    {"tcp_one_byte_writes", one_byte_writes, TCP, NULL},
    {"tcp_back_pressure", back_pressure, TCP, NULL},
    {"tcp_write_1mib_unread", write_mib, TCP, NULL},
    {"tcp_close_in_flight", close_in_flight, TCP, NULL},
    {"tcp_v6_bytes", pair_v6, TCP, NULL},
    {0},
};
