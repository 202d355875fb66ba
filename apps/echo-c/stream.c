/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Throughput of a byte stream.
 *
 *   stream server PORT                    receives, adds up every byte, and tells the sender the sum at its end of file
 *   stream client [HOST:]PORT SECONDS [CHUNK]    writes CHUNK bytes (default 65536) again and again, then checks the sum
 *
 * The client prints one JSON object: bytes, seconds and bytes per second, measured until the receiver's answer.
 */
#include "net.h"
#include "sum.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 1 << 16, MAX_CHUNK = 1 << 24 };

static int server(int port)
{
    static unsigned char data[BUFFER];
    int listener = listen_at(port);

    exit_on_signals();
    for (;;) {
        struct answer answer = {0, 0};
        int fd = accept(listener, NULL, NULL);
        ssize_t count;

        if (fd < 0)
            die("accept");
        while ((count = read(fd, data, sizeof(data))) > 0) {
            answer.bytes += (uint64_t)count;
            answer.sum += sum_bytes(data, (size_t)count);
        }
        if (count == 0)
            write_all(fd, &answer, sizeof(answer));
        close(fd);
    }
}

static int client(const char *where, double seconds, size_t chunk)
{
    unsigned char *data = malloc(chunk);
    int fd = connect_at(where);
    uint64_t bytes = 0, chunks = 0;
    struct answer answer;

    if (data == NULL)
        die("malloc");
    for (size_t i = 0; i < chunk; i++)
        data[i] = (unsigned char)(i * 31 + 7);

    uint64_t start = now_ns(), end = start + (uint64_t)(seconds * 1e9);

    do {
        write_all(fd, data, chunk);
        bytes += chunk;
        chunks++;
    } while (now_ns() < end);
    if (shutdown(fd, SHUT_WR) != 0)
        die("shutdown");
    if (!read_all(fd, &answer, sizeof(answer))) {
        fprintf(stderr, "stream: the receiver closed without an answer\n");
        return 1;
    }
    double took = (double)(now_ns() - start) / 1e9;

    if (answer.bytes != bytes || answer.sum != sum_bytes(data, chunk) * chunks) {
        fprintf(stderr, "stream: %llu bytes were sent, %llu arrived, or their sum differs\n", (unsigned long long)bytes,
                (unsigned long long)answer.bytes);
        return 1;
    }
    printf("{\"bytes\":%llu,\"seconds\":%.6f,\"bytes_per_s\":%.0f}\n", (unsigned long long)bytes, took, (double)bytes / took);
    free(data);
    close(fd);
    return 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";

    if (strcmp(mode, "server") == 0 && argc == 3)
        return server((int)number(argv[2], "PORT", 1, 65535));
    if (strcmp(mode, "client") == 0 && (argc == 4 || argc == 5))
        return client(argv[2], atof(argv[3]), argc == 5 ? (size_t)number(argv[4], "CHUNK", 1, MAX_CHUNK) : BUFFER);
    fprintf(stderr, "usage: stream server PORT | client [HOST:]PORT SECONDS [CHUNK]\n");
    return 2;
}
