/* SPDX-License-Identifier: BSD-3-Clause
 * What needs the test's help: the engine dies while memory is lent, and another one comes; memory that goes back at rest. The test is
 * asked, and answers, on stdout and stdin. */
#define _GNU_SOURCE
#include "case.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#define SIZE 65536u
#define SENT 4
#define MANY 9

static void ask(const char *what)
{
    char line[16];
    CHECK(write(1, what, strlen(what)) == (ssize_t)strlen(what));
    CHECK(read(0, line, sizeof line) > 0);
}

static void take_all(int fd, struct zs_segment *s, int *n, int max, uint64_t pos, size_t want)
{
    for (size_t got = 0; got < want; (*n)++) {
        CHECK(*n < max);
        EQUAL(zs_recv(fd, &s[*n], 1, 0, NULL), 1);
        check_bytes(s[*n].data, pos + got, s[*n].len);
        got += s[*n].len;
    }
}

/* Sent from `b` and received: right, whether lent or copied; then the memory is free. */
static void passes(int fd[2], const struct zs_buffer *b, int reason)
{
    struct zs_segment s[8];
    struct zs_report r;
    int n = 0;
    fill(b->data, 7, SIZE);
    struct zs_iov v = {b->data, SIZE, b->id};
    EQUAL(zs_send(fd[0], &v, 1, 0, NULL, 0, &r), SIZE);
    EQUAL(r.lent + r.copied, SIZE);
    EQUAL(r.reason, reason);
    take_all(fd[1], s, &n, 8, 7, SIZE);
    while (n > 0)
        EQUAL(zs_segment_release(&s[--n]), 0);
    nobody_waits(b);
}

/* What was lent before stays as it was, unread or held; it is read, released and told as ever, by either end alone. */
static void lent_before(void)
{
    int fd[2], n = 0;
    struct zs_queue *q;
    struct zs_buffer b[SENT];
    struct zs_segment s[64];
    pair(fd);
    EQUAL(zs_queue_open(&q), 0);
    for (int i = 0; i < SENT; i++) {
        b[i] = buffer(SIZE, 0);
        fill(b[i].data, (uint64_t)i * SIZE, SIZE);
        send_buffer(fd[0], &b[i], SIZE, q, (uint64_t)i);
    }
    take_all(fd[1], s, &n, 64, 0, 2 * SIZE);
    int held = n;
    ask("kill\n");

    uint64_t pos = 0;
    for (int i = 0; i < held; i++) {
        check_bytes(s[i].data, pos, s[i].len);
        pos += s[i].len;
    }
    take_all(fd[1], s, &n, 64, pos, SENT * SIZE - pos);
    EQUAL(zs_buffer_busy(&b[0]), 1);
    EQUAL(zs_buffer_free(&b[0]), -EBUSY);
    struct zs_iov again = {b[0].data, SIZE, b[0].id};
    EQUAL(zs_send(fd[0], &again, 1, 0, q, 9, NULL), -EBUSY);
    for (int i = 0; i < n; i++)
        EQUAL(zs_segment_release(&s[i]), 0);
    EQUAL(zs_segment_release(&s[0]), -ESTALE);
    uint32_t told = 0;
    for (int i = 0; i < SENT; i++) { /* in any order */
        struct zs_event e;
        EQUAL(zs_queue_wait(q, &e, 1, 20000), 1);
        EQUAL(e.type, ZS_EVENT_SENT);
        EQUAL(e.lent, SIZE);
        told |= 1u << e.cookie;
    }
    EQUAL(told, (1u << SENT) - 1);
    struct zs_report r; /* the reader has the memory mapped: it goes on being lent to it */
    again.id = b[1].id, again.base = b[1].data;
    EQUAL(zs_send(fd[0], &again, 1, 0, NULL, 0, &r), SIZE);
    EQUAL(r.lent, SIZE);
    n = 0;
    take_all(fd[1], s, &n, 64, SIZE, SIZE);
    while (n > 0)
        EQUAL(zs_segment_release(&s[--n]), 0);
    for (int i = 0; i < SENT; i++) {
        EQUAL(zs_buffer_free(&b[i]), 0);
        EQUAL(zs_buffer_free(&b[i]), -ESTALE);
        EQUAL(zs_buffer_busy(&b[i]), -ESTALE);
    }
    again.id = b[1].id;
    EQUAL(zs_send(fd[0], &again, 1, 0, q, 9, NULL), -ESTALE);
    pair_close(fd);
    zs_queue_close(q);
}

/* No engine, then another one: old memory is copied to new connections, new memory is lent. */
static void engine_dies(void)
{
    int old[2], fd[2], path;
    pair(old);
    struct zs_buffer kept = buffer(SIZE, 0);
    lent_before();

    EQUAL(any_pair(fd), ZS_PATH_KERNEL);
    struct zs_buffer b = buffer(SIZE, 0);
    passes(fd, &b, ZS_COPY_KERNEL);
    pair_close(fd);

    ask("start\n");
    for (int i = 0; (path = any_pair(fd)) != ZS_PATH_LOCAL && i < 1000; i++) {
        pair_close(fd);
        usleep(10000);
    }
    EQUAL(path, ZS_PATH_LOCAL);
    passes(fd, &kept, ZS_COPY_ENGINE);
    b = buffer(SIZE, 0);
    passes(fd, &b, ZS_COPY_NONE);
    b = buffer(SIZE, 0);
    passes(old, &b, ZS_COPY_ENGINE); /* a connection of the engine before */
    pair_close(fd);
    pair_close(old);
}

/* A reader that dies after the engine: nobody gives back for it. The sender is told of its death, and waits for nothing else. */
static void reader_dies_after_engine(void)
{
    int fd[2], told[2], status;
    struct zs_queue *q;
    struct zs_event e;
    char c;
    pair(fd);
    CHECK(pipe(told) == 0);
    EQUAL(zs_queue_open(&q), 0);
    pid_t pid = holder(fd, told[1]);
    struct zs_buffer b = buffer(SIZE, 0);
    send_buffer(fd[0], &b, SIZE, q, 1);
    CHECK(read(told[0], &c, 1) == 1);
    ask("kill\n");
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
    EQUAL(zs_queue_wait(q, &e, 1, 300), 0);
    EQUAL(zs_buffer_busy(&b), 1);
    EQUAL(zs_buffer_free(&b), -EBUSY);
    zs_queue_close(q);
    close(fd[0]);
    puts("ok");
    exit(0); /* with the buffer still lent, which is the point */
}

/* Lent to a reader that had not looked when the engine died: it cannot get at that any more. Its connection is reset, at both ends. */
static void unread_when_engine_dies(void)
{
    int fd[2], told[2], status;
    char c;
    pair(fd);
    CHECK(pipe(told) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        CHECK(read(told[0], &c, 1) == 1);
        CHECK(read(fd[1], &c, 1) == -1 && errno == ECONNRESET);
        _exit(0);
    }
    struct zs_buffer b = buffer(SIZE, 0);
    send_buffer(fd[0], &b, SIZE, NULL, 0);
    ask("kill\n");
    CHECK(write(told[1], "x", 1) == 1);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(read(fd[0], &c, 1) == -1 && errno == ECONNRESET);
    pair_close(fd);
    puts("ok");
    exit(0); /* nobody is there to give the buffer back */
}

/* Sends what comes on stdin to ZC_HOST, ZC_PORT from a few buffers that are used again and again, over whatever leads there; says
 * what was lent and what copied. */
static void send_over(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(getenv("ZC_PORT")))};
    struct zs_buffer b[SENT];
    struct zs_report r;
    struct zs_queue *q;
    size_t lent = 0, copied = 0, n;
    int under_way = 0, fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(inet_pton(AF_INET, getenv("ZC_HOST"), &to.sin_addr) == 1 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    EQUAL(zs_queue_open(&q), 0);
    for (int i = 0; i < SENT; i++)
        b[i] = buffer(SIZE, 0);
    for (int i = 0; (n = fread(b[i].data, 1, SIZE, stdin)) > 0;) {
        struct zs_iov v = {b[i].data, n, b[i].id};
        for (ssize_t sent = 0; v.len > 0; v.base = (const char *)v.base + sent, v.len -= (size_t)sent) {
            sent = zs_send(fd, &v, 1, 0, q, (uint64_t)i, &r);
            CHECK(sent > 0);
            lent += r.lent;
            copied += r.copied;
            under_way++;
            CHECK((size_t)sent == v.len || r.lent == 0); /* a part that is lent keeps the buffer from being sent again */
        }
        i = (i + 1) % SENT;
        for (struct zs_event e; under_way > 0 && (under_way >= SENT || zs_buffer_busy(&b[i]) == 1); under_way--)
            EQUAL(zs_queue_wait(q, &e, 1, 20000), 1);
    }
    close(fd);
    for (int i = 0; i < SENT; i++)
        nobody_waits(&b[i]);
    zs_queue_close(q);
    printf("%zu lent, %zu copied\n", lent, copied);
}

/* A program that sleeps in epoll_wait gives back what it needs no more for buffers, and lets go of what it read in. The test looks. */
static void rests(void)
{
    int fd[2], ep = epoll_create1(0);
    struct zs_buffer b[MANY];
    struct zs_segment s[8];
    struct epoll_event ev = {.events = EPOLLIN};
    pair(fd);
    ev.data.fd = fd[1];
    CHECK(ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, fd[1], &ev) == 0);
    ev.data.fd = 0;
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, 0, &ev) == 0);
    for (int i = 0; i < MANY; i++)
        b[i] = buffer(1 << 20, 0);
    fill(b[0].data, 0, SIZE);
    send_buffer(fd[0], &b[0], SIZE, NULL, 0);
    EQUAL(epoll_wait(ep, &ev, 1, 20000), 1);
    int n = 0;
    take_all(fd[1], s, &n, 8, 0, SIZE);
    while (n > 0)
        EQUAL(zs_segment_release(&s[--n]), 0);
    ask("has\n");
    for (int i = 0; i < MANY; i++)
        nobody_waits(&b[i]);
    CHECK(write(1, "rests\n", 6) == 6);
    while (epoll_wait(ep, &ev, 1, -1) != 1 || ev.data.fd != 0)
        ;
    b[0] = buffer(SIZE, 0);
    passes(fd, &b[0], ZS_COPY_NONE);
    pair_close(fd);
    close(ep);
}

const struct one_case orphan_cases[] = {
    {"rests", rests},
    {"send-over", send_over},
    {"unread-when-engine-dies", unread_when_engine_dies},
    {"engine-dies", engine_dies},
    {"reader-dies-after-engine", reader_dies_after_engine},
    {NULL, NULL},
};
