/* SPDX-License-Identifier: BSD-3-Clause */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

_Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

long number(const char *text, const char *what, long min, long max)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (end == text || *end != '\0' || value < min || value > max) {
        fprintf(stderr, "%s: expected a number from %ld to %ld, not '%s'\n", what, min, max, text);
        exit(2);
    }
    return value;
}

int listen_at(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;

    if (fd < 0)
        die("socket");
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
        die("SO_REUSEADDR");
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        die("bind");
    if (listen(fd, 1024) != 0)
        die("listen");
    return fd;
}

static int connect_prepared(const char *host, int port, void (*prepare)(int fd, const char *arg), const char *arg)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fprintf(stderr, "%s: expected an IPv4 address\n", host);
        exit(2);
    }
    for (int attempt = 0; attempt < 500; attempt++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int on = 1;

        if (fd < 0)
            die("socket");
        if (prepare != NULL)
            prepare(fd, arg);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            return fd;
        }
        if (errno != ECONNREFUSED)
            die("connect");
        close(fd);
        usleep(10000);
    }
    die("connect");
}

int connect_to(const char *host, int port)
{
    return connect_prepared(host, port, NULL, NULL);
}

int connect_at(const char *where)
{
    return connect_prepared_at(where, NULL, NULL);
}

int connect_prepared_at(const char *where, void (*prepare)(int fd, const char *arg), const char *arg)
{
    const char *colon = strrchr(where, ':');
    char host[INET_ADDRSTRLEN] = "127.0.0.1";

    if (colon != NULL)
        snprintf(host, sizeof(host), "%.*s", (int)(colon - where), where);
    return connect_prepared(host, (int)number(colon != NULL ? colon + 1 : where, "PORT", 1, 65535), prepare, arg);
}

int read_all(int fd, void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t count = read(fd, (char *)data + done, size - done);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == ECONNRESET && done == 0)
            return 0;
        if (count < 0)
            die("read");
        if (count == 0) {
            if (done == 0)
                return 0;
            fprintf(stderr, "read: the peer closed after %zu of %zu bytes\n", done, size);
            exit(1);
        }
        done += (size_t)count;
    }
    return 1;
}

void write_all(int fd, const void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t count = write(fd, (const char *)data + done, size - done);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            die("write");
        done += (size_t)count;
    }
}

uint64_t now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

static void leave(int signo)
{
    (void)signo;
    _exit(0);
}

void exit_on_signals(void)
{
    signal(SIGTERM, leave);
    signal(SIGINT, leave);
    signal(SIGPIPE, SIG_IGN);
}
