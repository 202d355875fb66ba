/* SPDX-License-Identifier: BSD-3-Clause
 * Many connections.
 *
 *   crowd serve            listens at a free port of 127.0.0.1, says `port N`, and answers what comes with the same bytes
 *   crowd hold PORT        does what lines of its standard input say, and answers each with a line:
 *     open N               opens N more connections and exchanges a message over each           `open TOTAL`
 *     talk N SEED          exchanges N messages, each over a connection chosen at random         `talk NANOSECONDS`, of one
 *     close                closes all                                                            `closed` */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "crowd: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* ---- Server ---- */

static void answer(int fd)
{
    char buf[256];
    ssize_t n = read(fd, buf, sizeof buf);
    if (n > 0 && write(fd, buf, (size_t)n) != n)
        die("write");
    if (n == 0 || (n < 0 && errno == ECONNRESET))
        close(fd);
    else if (n < 0)
        die("read");
}

static _Noreturn void serve(void)
{
    struct sockaddr_in a = loopback(0);
    socklen_t len = sizeof a;
    int l = socket(AF_INET, SOCK_STREAM, 0), ep = epoll_create1(EPOLL_CLOEXEC);
    if (l < 0 || ep < 0 || bind(l, (void *)&a, sizeof a) < 0 || listen(l, 1024) < 0 || getsockname(l, (void *)&a, &len) < 0)
        die("listen");
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = l};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, l, &ev) < 0)
        die("epoll_ctl");
    printf("port %d\n", ntohs(a.sin_port));
    fflush(stdout);
    for (;;) {
        struct epoll_event got[64];
        int n = epoll_wait(ep, got, 64, -1);
        for (int i = 0; i < n; i++) {
            if (got[i].data.fd != l) {
                answer(got[i].data.fd);
                continue;
            }
            int c = accept(l, NULL, NULL);
            if (c < 0)
                die("accept");
            ev.data.fd = c;
            if (epoll_ctl(ep, EPOLL_CTL_ADD, c, &ev) < 0)
                die("epoll_ctl");
        }
    }
}

/* ---- Client ---- */

static int *conns, ep; /* ep: all connections and standard input, as in a program with an event loop */
static uint32_t nconns;

static void watch(int fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0)
        die("epoll_ctl");
}

static void exchange(uint32_t i, uint64_t text)
{
    uint64_t back = ~text;
    if (write(conns[i], &text, sizeof text) != sizeof text)
        die("write");
    if (recv(conns[i], &back, sizeof back, MSG_WAITALL) != sizeof back)
        die("read");
    if (back != text) {
        fprintf(stderr, "crowd: connection %u gave what another was sent\n", i);
        exit(1);
    }
}

static void open_more(uint32_t n, int port)
{
    struct sockaddr_in a = loopback(port);
    conns = realloc(conns, (nconns + n) * sizeof *conns);
    if (conns == NULL)
        die("realloc");
    for (uint32_t i = 0; i < n; i++) {
        int s = socket(AF_INET, SOCK_STREAM, 0);
        if (s < 0 || connect(s, (void *)&a, sizeof a) < 0)
            die("connect");
        conns[nconns++] = s;
        watch(s);
        exchange(nconns - 1, (uint64_t)nconns << 32 | i);
    }
    printf("open %u\n", nconns);
}

static void talk(uint32_t n, uint64_t seed)
{
    int64_t begin = now_ns();
    for (uint32_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
        exchange((uint32_t)((seed >> 33) % nconns), seed);
    }
    printf("talk %lld\n", (long long)((now_ns() - begin) / (n > 0 ? n : 1)));
}

static void close_all(void)
{
    for (uint32_t i = 0; i < nconns; i++)
        close(conns[i]);
    nconns = 0;
    printf("closed\n");
}

static int hold(int port)
{
    char line[128];
    unsigned n;
    unsigned long long seed;
    struct epoll_event ev;
    ep = epoll_create1(EPOLL_CLOEXEC);
    watch(STDIN_FILENO);
    setvbuf(stdin, NULL, _IONBF, 0);
    while (epoll_wait(ep, &ev, 1, -1) >= 0 && fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "open %u", &n) == 1)
            open_more(n, port);
        else if (sscanf(line, "talk %u %llu", &n, &seed) == 2 && nconns > 0)
            talk(n, seed);
        else if (strcmp(line, "close\n") == 0)
            close_all();
        else
            return 2;
        fflush(stdout);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "serve") == 0)
        serve();
    if (argc == 3 && strcmp(argv[1], "hold") == 0)
        return hold(atoi(argv[2]));
    fprintf(stderr, "usage: crowd serve | crowd hold PORT\n");
    return 2;
}
