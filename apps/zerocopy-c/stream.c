/* SPDX-License-Identifier: BSD-3-Clause
 * Throughput of a byte stream with the zero-copy calls, as apps/echo-c/stream.c has it with read and write.
 *
 *   zc-stream server PORT [untouched]     receives segments, adds up every byte, or does not look at them
 *   zc-stream client [HOST:]PORT SECONDS [untouched]    sends buffers of 64 KiB again and again, then checks the sum
 *
 * The client prints one JSON object: bytes, of these lent, seconds and bytes per second, until the receiver's answer. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zstack/zstack.h>

#include "../echo-c/net.h"
#include "../echo-c/sum.h"

enum { CHUNK = 1 << 16, BUFFERS = 4, SEGMENTS = 16 };

static int receive(int port, bool untouched)
{
    int listener = listen_at(port);
    exit_on_signals();
    for (;;) {
        struct answer answer = {0, 0};
        struct zs_segment s[SEGMENTS];
        int fd = accept(listener, NULL, NULL), n;
        if (fd < 0)
            die("accept");
        while ((n = zs_recv(fd, s, SEGMENTS, 0, NULL)) > 0) {
            for (int i = 0; i < n; i++) {
                answer.bytes += s[i].len;
                answer.sum += untouched ? 0 : sum_bytes(s[i].data, s[i].len);
                zs_segment_release(&s[i]);
            }
        }
        if (n == 0)
            write_all(fd, &answer, sizeof answer);
        close(fd);
    }
}

static void fail(const char *what, long error)
{
    fprintf(stderr, "zc-stream: %s: %s\n", what, strerror((int)-error));
    exit(1);
}

/* A buffer that nobody reads any more. */
static uint64_t idle_buffer(struct zs_queue *q, uint64_t *idle, unsigned *n)
{
    struct zs_event e[BUFFERS];
    while (*n == 0) {
        int k = zs_queue_wait(q, e, BUFFERS, -1);
        if (k < 0)
            fail("zs_queue_wait", k);
        for (int i = 0; i < k; i++)
            idle[(*n)++] = e[i].cookie;
    }
    return idle[--*n];
}

static int send_all(const char *where, double seconds, bool untouched)
{
    struct zs_buffer b[BUFFERS];
    struct zs_queue *q;
    uint64_t idle[BUFFERS], bytes = 0, lent = 0;
    unsigned n = 0;
    struct answer answer;
    int fd = connect_at(where), r = zs_queue_open(&q);
    if (r < 0)
        fail("zs_queue_open", r);
    for (; n < BUFFERS; n++) {
        if ((r = zs_buffer_alloc(&b[n], CHUNK, 0)) < 0)
            fail("zs_buffer_alloc", r);
        for (size_t k = 0; k < CHUNK; k++)
            ((unsigned char *)b[n].data)[k] = (unsigned char)(k * 31 + 7);
        idle[n] = n;
    }
    uint64_t start = now_ns(), end = start + (uint64_t)(seconds * 1e9);
    do {
        uint64_t i = idle_buffer(q, idle, &n);
        struct zs_iov v = {b[i].data, CHUNK, b[i].id};
        struct zs_report report;
        ssize_t sent = zs_send(fd, &v, 1, 0, q, i, &report);
        if (sent != CHUNK)
            fail("zs_send", sent < 0 ? sent : -5);
        bytes += CHUNK;
        lent += report.lent;
    } while (now_ns() < end);
    if (shutdown(fd, SHUT_WR) != 0)
        die("shutdown");
    if (!read_all(fd, &answer, sizeof answer)) {
        fprintf(stderr, "zc-stream: the receiver closed without an answer\n");
        return 1;
    }
    double took = (double)(now_ns() - start) / 1e9;
    if (answer.bytes != bytes || (!untouched && answer.sum != sum_bytes(b[0].data, CHUNK) * (bytes / CHUNK))) {
        fprintf(stderr, "zc-stream: %llu bytes were sent, %llu arrived, or their sum differs\n", (unsigned long long)bytes,
                (unsigned long long)answer.bytes);
        return 1;
    }
    printf("{\"bytes\":%llu,\"lent\":%llu,\"seconds\":%.6f,\"bytes_per_s\":%.0f}\n", (unsigned long long)bytes,
           (unsigned long long)lent, took, (double)bytes / took);
    return 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    bool untouched = argc > 2 && strcmp(argv[argc - 1], "untouched") == 0;
    int given = argc - untouched;
    if (strcmp(mode, "server") == 0 && given == 3)
        return receive((int)number(argv[2], "PORT", 1, 65535), untouched);
    if (strcmp(mode, "client") == 0 && given == 4)
        return send_all(argv[2], atof(argv[3]), untouched);
    fprintf(stderr, "usage: zc-stream server PORT [untouched] | client [HOST:]PORT SECONDS [untouched]\n");
    return 2;
}
