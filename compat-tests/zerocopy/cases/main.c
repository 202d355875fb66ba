/* SPDX-License-Identifier: BSD-3-Clause
 * Runs one case by its name: zerocopy CASE kernel|local. --list names them. Exit status 0, and "ok" on stdout. */
#define _GNU_SOURCE
#include "case.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>

bool accel;

uint8_t byte_at(uint64_t pos)
{
    return (uint8_t)((pos * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

void fill(void *p, uint64_t pos, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)p)[i] = byte_at(pos + i);
}

void check_bytes(const void *p, uint64_t pos, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (((const uint8_t *)p)[i] != byte_at(pos + i)) {
            fprintf(stderr, "byte %llu of the stream is wrong\n", (unsigned long long)(pos + i));
            exit(1);
        }
    }
}

uint64_t rnd(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * UINT64_C(2685821657736338717);
}

int listener(struct sockaddr_in *a)
{
    socklen_t len = sizeof *a;
    int l = socket(AF_INET, SOCK_STREAM, 0);
    *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(l >= 0 && bind(l, (struct sockaddr *)a, sizeof *a) == 0 && listen(l, 8) == 0);
    CHECK(getsockname(l, (struct sockaddr *)a, &len) == 0);
    return l;
}

int any_pair(int fd[2])
{
    struct zs_socket_info info;
    struct sockaddr_in a;
    int l = listener(&a);
    fd[0] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd[0], (struct sockaddr *)&a, sizeof a) == 0);
    fd[1] = accept(l, NULL, NULL);
    CHECK(fd[1] >= 0);
    close(l);
    EQUAL(zs_socket_info(fd[0], &info), 0);
    return info.path;
}

void pair(int fd[2])
{
    struct zs_socket_info info;
    EQUAL(any_pair(fd), accel ? ZS_PATH_LOCAL : ZS_PATH_KERNEL);
    EQUAL(zs_socket_info(fd[0], &info), 0);
    EQUAL(info.peer, accel ? getpid() : 0);
}

pid_t holder(int fd[2], int told)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct zs_segment s;
        close(fd[0]);
        EQUAL(zs_recv(fd[1], &s, 1, 0, NULL), 1);
        CHECK(write(told, "x", 1) == 1);
        pause();
    }
    close(fd[1]);
    return pid;
}

void pair_close(int fd[2])
{
    close(fd[0]);
    close(fd[1]);
}

struct zs_buffer buffer(size_t size, unsigned flags)
{
    struct zs_buffer b;
    EQUAL(zs_buffer_alloc(&b, size, flags), 0);
    CHECK(b.data != NULL && b.size == size && b.id != 0 && (uintptr_t)b.data % ZS_BUFFER_ALIGN == 0);
    return b;
}

void send_buffer(int fd, const struct zs_buffer *b, size_t n, struct zs_queue *q, uint64_t cookie)
{
    struct zs_iov v = {b->data, n, b->id};
    struct zs_report r;
    EQUAL(zs_send(fd, &v, 1, 0, q, cookie, &r), n);
    EQUAL(r.lent, accel ? n : 0);
    EQUAL(r.copied, accel ? 0 : n);
    EQUAL(r.reason, accel ? ZS_COPY_NONE : ZS_COPY_KERNEL);
}

void event(struct zs_queue *q, uint64_t cookie, size_t bytes)
{
    struct zs_event e;
    EQUAL(zs_queue_wait(q, &e, 1, 20000), 1);
    EQUAL(e.type, ZS_EVENT_SENT);
    EQUAL(e.cookie, cookie);
    EQUAL(e.lent + e.copied, bytes);
}

void nobody_waits(const struct zs_buffer *b)
{
    for (int i = 0; i < 20000 && zs_buffer_busy(b) == 1; i++)
        poll(NULL, 0, 1);
    EQUAL(zs_buffer_free(b), 0);
}

int main(int argc, char **argv)
{
    static const struct one_case *const lists[] = {calls_cases, life_cases, apart_cases, orphan_cases};
    for (size_t l = 0; l < 4; l++) {
        for (const struct one_case *c = lists[l]; c->name != NULL; c++) {
            if (l < 3 && argc == 2 && strcmp(argv[1], "--list") == 0)
                puts(c->name);
            if (argc != 3 || strcmp(argv[1], c->name) != 0)
                continue;
            accel = strcmp(argv[2], "local") == 0;
            c->run();
            struct zs_usage u;
            zs_usage(&u);
            EQUAL(u.segments, 0);
            EQUAL(u.held, 0);
            EQUAL(u.lent, 0);
            puts("ok");
            return 0;
        }
    }
    return argc == 2 ? 0 : 2;
}
