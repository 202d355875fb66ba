/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a message costs when it goes to a connection chosen at random among many.
 *
 *   many server PORT WORKERS              echoes messages; worker number w (from 0) listens at 127.0.0.(w + 1)
 *   many client PORT SECONDS CONNECTIONS  as many processes as descriptors ask for, each with a worker of its own; they take
 *                                         turns, so that one process and one worker are busy at a time
 *
 * The client prints one JSON object: messages, and ns for one, there and back.
 */
#include "net.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <arpa/inet.h>
#include <signal.h>
#include <unistd.h>

enum { SIZE = 64, BATCH = 8, TURN = 4096, EACH = 15000, WORKERS_MAX = 64, EVENTS = 256 };

/* Of all client processes. */
struct shared {
    _Atomic uint64_t messages, ns, end; /* end: when it is over, 0 not yet known */
};

static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("RLIMIT_NOFILE");
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- Server ---- */

static int listen_for(int port, int worker)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)worker)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;

    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        die("bind");
    if (listen(fd, 1024) != 0)
        die("listen");
    return fd;
}

static void watch(int set, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl");
}

static void accept_all(int set, int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0 && errno == EAGAIN)
            return;
        int on = 1;

        if (fd < 0)
            die("accept");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        watch(set, fd);
    }
}

static _Noreturn void serve(int listener)
{
    struct epoll_event events[EVENTS];
    char message[SIZE * BATCH];
    int set = epoll_create1(EPOLL_CLOEXEC);

    if (set < 0)
        die("epoll_create1");
    watch(set, listener);
    for (;;) {
        int n = epoll_wait(set, events, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;

            if (fd == listener) {
                accept_all(set, listener);
                continue;
            }
            ssize_t got = read(fd, message, sizeof(message));
            if (got > 0)
                write_all(fd, message, (size_t)got);
            else if (got == 0 || errno != EAGAIN)
                close(fd);
        }
    }
}

static int server(int port, int workers)
{
    int listeners[WORKERS_MAX];

    raise_descriptors();
    exit_on_signals();
    for (int w = 0; w < workers; w++)
        listeners[w] = listen_for(port, w);
    for (int w = 1; w < workers; w++) {
        pid_t pid = fork();

        if (pid < 0)
            die("fork");
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            serve(listeners[w]);
        }
    }
    serve(listeners[0]);
}

/* ---- Client ---- */

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12; /* xorshift64* */
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

static void exchange(const int *fds, const uint32_t *chosen, uint32_t n)
{
    char message[SIZE] = {0};

    for (uint32_t i = 0; i < n; i++)
        write_all(fds[chosen[i]], message, SIZE);
    for (uint32_t i = 0; i < n; i++)
        if (!read_all(fds[chosen[i]], message, SIZE)) {
            fprintf(stderr, "many: the server closed\n");
            exit(1);
        }
}

/* Every connection has its memory and its place before the clock starts. */
static void warm_up(const int *fds, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        exchange(fds, &i, 1);
}

static bool is_among(const uint32_t *chosen, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (chosen[i] == chosen[n])
            return true;
    return false;
}

static void turn(const int *fds, uint32_t count, uint64_t *random, struct shared *shared)
{
    uint64_t before = now_ns();

    for (uint32_t done = 0; done < TURN; done += BATCH) {
        uint32_t chosen[BATCH];

        for (uint32_t i = 0; i < BATCH; i++)
            do
                chosen[i] = (uint32_t)(next_random(random) % count);
            while (count > BATCH && is_among(chosen, i)); /* each message is one for the server, too */
        exchange(fds, chosen, BATCH);
    }
    atomic_fetch_add(&shared->messages, TURN);
    atomic_fetch_add(&shared->ns, now_ns() - before);
}

/* The token comes from the process before, and goes to the next one, until the time is over: then to all in turn once more. */
static void take_turns(int from, int to, const int *fds, uint32_t count, struct shared *shared, uint64_t seed)
{
    uint64_t random = seed;
    char token;

    while (read(from, &token, 1) == 1) {
        if (now_ns() >= atomic_load(&shared->end))
            break;
        turn(fds, count, &random, shared);
        if (write(to, &token, 1) != 1)
            break;
    }
    if (write(to, "", 1) != 1) /* the next one ends, too */
        return;
}

static _Noreturn void converse(int port, int number, uint32_t count, int ready, int from, int to, struct shared *shared)
{
    int *fds = calloc(count, sizeof(*fds));
    char host[INET_ADDRSTRLEN];

    if (fds == NULL)
        die("calloc");
    snprintf(host, sizeof(host), "127.0.0.%d", number + 1);
    for (uint32_t i = 0; i < count; i++)
        fds[i] = connect_to(host, port);
    warm_up(fds, count);
    if (write(ready, "", 1) != 1)
        exit(1);
    take_turns(from, to, fds, count, shared, (uint64_t)number + 1);
    _exit(0); /* the kernel closes them faster than we would */
}

static int client(int port, double seconds, uint32_t connections)
{
    struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint32_t processes = (connections + EACH - 1) / EACH;
    int tokens[WORKERS_MAX][2], ready[2], failed = 0, status;
    char byte;

    if (shared == MAP_FAILED || processes > WORKERS_MAX || pipe(ready) != 0)
        die("many");
    raise_descriptors();
    for (uint32_t i = 0; i < processes; i++)
        if (pipe(tokens[i]) != 0)
            die("pipe");
    for (uint32_t i = 0; i < processes; i++) {
        uint32_t count = connections / processes + (i < connections % processes);
        pid_t pid = fork();

        if (pid < 0)
            die("fork");
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            converse(port, (int)i, count, ready[1], tokens[i][0], tokens[(i + 1) % processes][1], shared);
        }
    }
    close(ready[1]);
    for (uint32_t i = 0; i < processes; i++)
        if (read(ready[0], &byte, 1) != 1) {
            fprintf(stderr, "many: a client could not connect\n");
            return 1;
        }
    atomic_store(&shared->end, now_ns() + (uint64_t)(seconds * 1e9));
    if (write(tokens[0][1], "", 1) != 1)
        die("write");
    while (wait(&status) > 0)
        failed |= status != 0;
    if (failed)
        return 1;
    uint64_t messages = atomic_load(&shared->messages);
    printf("{\"connections\":%u,\"processes\":%u,\"messages\":%llu,\"ns\":%.1f}\n", connections, processes,
           (unsigned long long)messages, messages != 0 ? (double)atomic_load(&shared->ns) / (double)messages : 0.0);
    return 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";

    if (strcmp(mode, "server") == 0 && argc == 4)
        return server((int)number(argv[2], "PORT", 1, 65535), (int)number(argv[3], "WORKERS", 1, WORKERS_MAX));
    if (strcmp(mode, "client") == 0 && argc == 5)
        return client((int)number(argv[2], "PORT", 1, 65535), atof(argv[3]),
                      (uint32_t)number(argv[4], "CONNECTIONS", 1, EACH * WORKERS_MAX));
    fprintf(stderr, "usage: many server PORT WORKERS | client PORT SECONDS CONNECTIONS\n");
    return 2;
}
