/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bulk transfer in either direction, every byte checked.
 *
 *   bulk server PORT [CONGESTION]                            says `ready`, serves one connection after the other
 *   bulk client HOST:PORT send|receive SECONDS [CONGESTION]  the client sends to the server, or receives from it
 *
 * CONGESTION: by name, for TCP_CONGESTION. A kernel gives those that it does not allow to everybody to CAP_NET_ADMIN only.
 * Whoever receives compares each byte with what belongs at its place in the stream, and counts those that came within SECONDS
 * of the first. The client prints one JSON object: bytes and seconds as the receiver saw them, all bytes of the stream, and
 * the sender's TCP_INFO retransmissions where the system tells them. Status 1 when a byte was wrong or missing.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

enum { PERIOD = 1048573, CHUNK = 1 << 17 }; /* a prime: shifted data never looks right */

static uint8_t pattern[PERIOD + CHUNK];

struct request {
    uint64_t window_ns;
    uint32_t send; /* the server sends */
    uint32_t pad;
};

/* What the receiver saw. */
struct result {
    uint64_t in_window, took_ns, total, wrong;
};

static void make_pattern(void)
{
    uint64_t x = 88172645463325252u;

    for (size_t i = 0; i < sizeof(pattern); i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        pattern[i] = i < PERIOD ? (uint8_t)(x >> 32) : pattern[i - PERIOD];
    }
}

/* Sends for the time of the window, then ends the direction. Returns what was sent. */
static uint64_t send_for(int fd, uint64_t window_ns)
{
    uint64_t end = now_ns() + window_ns, sent = 0;

    while (now_ns() < end) {
        ssize_t n = write(fd, pattern + sent % PERIOD, CHUNK);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            die("write");
        sent += (uint64_t)n;
    }
    if (shutdown(fd, SHUT_WR) != 0)
        die("shutdown");
    return sent;
}

static struct result receive_for(int fd, uint64_t window_ns)
{
    static uint8_t data[CHUNK];
    struct result r = {0};
    uint64_t first = 0;
    ssize_t n;

    while ((n = read(fd, data, sizeof(data))) > 0) {
        uint64_t now = now_ns();

        first = first == 0 ? now : first;
        if (memcmp(data, pattern + r.total % PERIOD, (size_t)n) != 0)
            r.wrong++;
        r.total += (uint64_t)n;
        if (now - first <= window_ns) {
            r.in_window = r.total;
            r.took_ns = now - first;
        }
    }
    if (n < 0)
        die("read");
    return r;
}

static void serve(int fd)
{
    struct request request;
    struct result r = {0};

    if (!read_all(fd, &request, sizeof(request)))
        return;
    if (request.send) {
        r.total = send_for(fd, request.window_ns);
        /* The receiver closes when it has all. */
        char none;

        if (read(fd, &none, 1) != 0)
            die("the receiver");
    } else {
        r = receive_for(fd, request.window_ns);
        write_all(fd, &r, sizeof(r));
    }
}

static void choose(int fd, const char *congestion)
{
    if (congestion != NULL && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, (socklen_t)strlen(congestion)) != 0)
        die(congestion);
}

static int server(int port, const char *congestion)
{
    int listener = listen_at(port);

    choose(listener, congestion);
    exit_on_signals();
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);

        if (fd < 0)
            die("accept");
        serve(fd);
        close(fd);
    }
}

static int client(const char *where, int receive, double seconds, const char *congestion)
{
    struct request request = {(uint64_t)(seconds * 1e9), (uint32_t)receive, 0};
    /* Before it connects: a kernel whose default is BBR would go on pacing. */
    int fd = connect_prepared_at(where, choose, congestion);
    struct result r = {0};
    uint64_t sent = 0;

    write_all(fd, &request, sizeof(request));
    if (receive) {
        r = receive_for(fd, request.window_ns);
        sent = r.total;
    } else {
        sent = send_for(fd, request.window_ns);
        if (!read_all(fd, &r, sizeof(r))) {
            fprintf(stderr, "bulk: the server closed without an answer\n");
            return 1;
        }
    }
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
        info.tcpi_total_retrans = 0;
    close(fd);
    if (r.wrong != 0 || r.total != sent) {
        fprintf(stderr, "bulk: of %llu bytes %llu arrived, %llu pieces differed\n", (unsigned long long)sent, (unsigned long long)r.total,
                (unsigned long long)r.wrong);
        return 1;
    }
    printf("{\"bytes\":%llu,\"seconds\":%.6f,\"total\":%llu,\"retransmitted\":%u}\n", (unsigned long long)r.in_window, (double)r.took_ns / 1e9,
           (unsigned long long)r.total, info.tcpi_total_retrans);
    return 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";

    make_pattern();
    if (strcmp(mode, "server") == 0 && (argc == 3 || argc == 4))
        return server((int)number(argv[2], "PORT", 1, 65535), argv[3]);
    if (strcmp(mode, "client") == 0 && (argc == 5 || argc == 6) && (strcmp(argv[3], "send") == 0 || strcmp(argv[3], "receive") == 0) &&
        atof(argv[4]) > 0)
        return client(argv[2], argv[3][0] == 'r', atof(argv[4]), argv[5]);
    fprintf(stderr, "usage: bulk server PORT [CONGESTION] | client HOST:PORT send|receive SECONDS [CONGESTION]\n");
    return 2;
}
