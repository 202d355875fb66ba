/* SPDX-License-Identifier: BSD-3-Clause */
/* What is loaded: plain servers, one thread. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"
#include "net.h"

/* ---- Work ---- */

static uint64_t rounds; /* of compute() per request */

static void compute(uint64_t n)
{
    volatile uint64_t result;
    uint64_t x = n | 1;

    while (n-- > 0)
        x = x * 6364136223846793005u + 1442695040888963407u; /* each waits for the one before */
    result = x;
    (void)result;
}

/* In rounds and not by the clock: while somebody else has the CPU, no work is done. The fastest of many tries tells. */
static void calibrate(uint64_t work_ns)
{
    enum { ROUNDS = 100000, TRIES = 50 };
    uint64_t best = UINT64_MAX;

    for (int i = 0; i < TRIES && work_ns > 0; i++) {
        uint64_t before = now_ns();

        compute(ROUNDS);
        uint64_t took = now_ns() - before;

        best = took < best ? took : best;
    }
    rounds = work_ns * ROUNDS / best;
}

static void ready(void)
{
    printf("ready\n");
    fflush(stdout);
}

/* ---- UDP ---- */

static int bound_udp(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket");
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        die("bind");
    return fd;
}

_Noreturn void serve_udp(int port, uint64_t work_ns)
{
    int fd = bound_udp(port);

    exit_on_signals();
    calibrate(work_ns);
    ready();
    for (;;) {
        char data[2048];
        struct sockaddr_in from;
        socklen_t len = sizeof(from);
        ssize_t count = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &len);

        if (count < 0 && errno != EINTR)
            die("recvfrom");
        if (count < 0)
            continue;
        compute(rounds);
        /* An answer that finds no room is lost, as on the wire. */
        sendto(fd, data, (size_t)count, MSG_DONTWAIT, (struct sockaddr *)&from, len);
    }
}

static volatile sig_atomic_t over;

static void on_end(int signo)
{
    (void)signo;
    over = 1;
}

_Noreturn void serve_sink(int port)
{
    static char data[64][2048];
    struct sigaction end = {.sa_handler = on_end};
    struct timeval soon = {.tv_usec = 100000}; /* a signal just before recvmmsg() is seen then */
    struct mmsghdr heads[64];
    struct iovec parts[64];
    int fd = bound_udp(port);
    unsigned long long total = 0;

    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGINT, &end, NULL);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
    for (int i = 0; i < 64; i++) {
        parts[i] = (struct iovec){data[i], sizeof(data[i])};
        heads[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[i], .msg_iovlen = 1}};
    }
    ready();
    while (!over) {
        int count = recvmmsg(fd, heads, 64, MSG_WAITFORONE, NULL);

        if (count < 0 && errno != EINTR && errno != EAGAIN)
            die("recvmmsg");
        total += count > 0 ? (unsigned long long)count : 0;
    }
    printf("{\"datagrams\":%llu}\n", total);
    exit(0);
}

/* ---- TCP ---- */

/* One request. Returns 0 when the connection is over. */
static int answer(int fd)
{
    struct request request;
    ssize_t count = recv(fd, &request, sizeof(request), MSG_DONTWAIT);

    if (count != REQUEST)
        return count < 0 && (errno == EAGAIN || errno == EINTR);
    compute(rounds);
    return send(fd, &request, sizeof(request), MSG_NOSIGNAL) == REQUEST;
}

static void watch(int set, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (fd >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) != 0)
        close(fd);
}

_Noreturn void serve_tcp(int port, uint64_t work_ns)
{
    int listener = listen_at(port), set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[64];

    if (set < 0)
        die("epoll_create1");
    exit_on_signals();
    watch(set, listener);
    calibrate(work_ns);
    ready();
    for (;;) {
        int count = epoll_wait(set, events, 64, -1);

        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;

            if (fd == listener)
                watch(set, accept4(listener, NULL, NULL, SOCK_CLOEXEC));
            else if (!answer(fd))
                close(fd);
        }
    }
}
