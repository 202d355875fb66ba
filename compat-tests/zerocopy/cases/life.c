/* SPDX-License-Identifier: BSD-3-Clause
 * Lives that differ: segments beyond their connection and their sender, a proxy, deaths at either end, threads, and a long
 * stream of everything at once. */
#define _GNU_SOURCE
#include "case.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#define SIZE 65536u
#define STEADY 10000

static int receive_all(int fd, struct zs_segment *s, int max, uint64_t pos, size_t want)
{
    size_t got = 0;
    int n = 0;
    while (got < want) {
        CHECK(n < max);
        int k = zs_recv(fd, s + n, (unsigned)(max - n), 0, NULL);
        CHECK(k > 0);
        for (; k > 0; k--, n++) {
            check_bytes(s[n].data, pos + got, s[n].len);
            got += s[n].len;
        }
    }
    EQUAL(got, want);
    return n;
}

static void *release_it(void *segment)
{
    EQUAL(zs_segment_release(segment), 0);
    return NULL;
}

/* Kept after both ends are closed; released backwards, each by another thread. */
static void after_close(void)
{
    int fd[2];
    struct zs_segment s[64];
    struct zs_buffer b[8];
    pthread_t t;
    pair(fd);
    for (int i = 0; i < 8; i++) {
        b[i] = buffer(8192, 0);
        fill(b[i].data, (uint64_t)i * 8192, 8192);
        send_buffer(fd[0], &b[i], 8192, NULL, 0);
    }
    int n = receive_all(fd[1], s, 64, 0, SIZE);
    pair_close(fd);
    uint64_t pos = SIZE;
    while (n-- > 0) {
        pos -= s[n].len;
        check_bytes(s[n].data, pos, s[n].len);
        CHECK(pthread_create(&t, NULL, release_it, &s[n]) == 0 && pthread_join(t, NULL) == 0);
    }
    for (int i = 0; i < 8; i++)
        EQUAL(zs_buffer_free(&b[i]), 0);
}

/* A to P to B: what B reads is A's buffer; P released its segments at once. */
static void proxy(void)
{
    int in[2], out[2];
    struct zs_segment s[64];
    struct zs_queue *q;
    struct zs_report r;
    pair(in);
    pair(out);
    EQUAL(zs_queue_open(&q), 0);
    struct zs_buffer b = buffer(SIZE, 0);
    fill(b.data, 0, SIZE);
    send_buffer(in[0], &b, SIZE, q, 5);
    int n = receive_all(in[1], s, 64, 0, SIZE);
    for (int i = 0; i < n; i++) {
        struct zs_iov v = {s[i].data, s[i].len, s[i].id};
        EQUAL(zs_send(out[0], &v, 1, 0, NULL, 0, &r), v.len);
        EQUAL(r.lent, accel ? v.len : 0);
        EQUAL(zs_segment_release(&s[i]), 0);
        EQUAL(zs_send(out[0], &v, 1, 0, NULL, 0, &r), -ESTALE);
    }
    pair_close(in);
    if (accel)
        EQUAL(zs_buffer_busy(&b), 1);
    n = receive_all(out[1], s, 64, 0, SIZE);
    CHECK(!accel || s[0].data == b.data);
    for (int i = 0; i < n; i++)
        EQUAL(zs_segment_release(&s[i]), 0);
    event(q, 5, SIZE);
    EQUAL(zs_buffer_free(&b), 0);
    zs_queue_close(q);
    pair_close(out);
}

/* A reader that is killed while it holds segments, and with others unread: the memory comes back. */
static void reader_killed(void)
{
    int fd[2], told[2], status;
    struct zs_queue *q;
    struct zs_buffer b[4];
    pair(fd);
    CHECK(pipe(told) == 0);
    EQUAL(zs_queue_open(&q), 0);
    pid_t pid = holder(fd, told[1]);
    for (int i = 0; i < 4; i++) {
        b[i] = buffer(SIZE, 0);
        send_buffer(fd[0], &b[i], SIZE, q, (uint64_t)i);
    }
    char c;
    CHECK(read(told[0], &c, 1) == 1);
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
    uint64_t seen = 0;
    for (int i = 0; i < 4; i++) {
        struct zs_event e;
        EQUAL(zs_queue_wait(q, &e, 1, 20000), 1);
        seen |= UINT64_C(1) << e.cookie;
    }
    EQUAL(seen, 15);
    for (int i = 0; i < 4; i++)
        EQUAL(zs_buffer_free(&b[i]), 0);
    close(told[0]);
    close(told[1]);
    close(fd[0]);
    zs_queue_close(q);
}

/* A sender that is killed: what it lent stays as it was until it is released, whoever allocates meanwhile. */
static void sender_killed(void)
{
    int fd[2], status;
    struct zs_segment s[64];
    pair(fd);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 4; i++) {
            struct zs_buffer b = buffer(SIZE, 0);
            fill(b.data, (uint64_t)i * SIZE, SIZE);
            send_buffer(fd[0], &b, SIZE, NULL, 0);
        }
        kill(getpid(), SIGKILL);
    }
    close(fd[0]);
    int n = 1;
    EQUAL(zs_recv(fd[1], s, 1, 0, NULL), 1);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
    check_bytes(s[0].data, 0, s[0].len);
    n += receive_all(fd[1], s + n, 63, s[0].len, 4 * SIZE - s[0].len);
    EQUAL(zs_recv(fd[1], s + n, 1, 0, NULL), 0);
    close(fd[1]);
    for (int i = 0; i < 200; i++) {
        struct zs_buffer b = buffer(SIZE, 0);
        memset(b.data, 0xee, SIZE);
        EQUAL(zs_buffer_free(&b), 0);
        usleep(5000);
    }
    uint64_t pos = 0;
    for (int i = 0; i < n; i++) {
        check_bytes(s[i].data, pos, s[i].len);
        pos += s[i].len;
        EQUAL(zs_segment_release(&s[i]), 0);
    }
}

/* ---- A long stream of everything ---- */

#define STREAM (UINT64_C(24) << 20)
#define BUFFERS 16

struct stream {
    int fd;
    uint64_t seed;
};

static void *produce(void *arg)
{
    struct stream *p = arg;
    struct zs_buffer b[BUFFERS];
    static uint8_t own[20000];
    struct zs_queue *q;
    struct zs_event e;
    uint64_t pos = 0, idle = (1u << BUFFERS) - 1;
    EQUAL(zs_queue_open(&q), 0);
    for (int i = 0; i < BUFFERS; i++)
        b[i] = buffer(100000, 0);
    while (pos < STREAM) {
        while (zs_queue_poll(q, &e, 1) == 1)
            idle |= UINT64_C(1) << e.cookie;
        if (idle == 0) {
            EQUAL(zs_queue_wait(q, &e, 1, 20000), 1);
            idle |= UINT64_C(1) << e.cookie;
        }
        int i = __builtin_ctzll(idle);
        size_t head = rnd(&p->seed) % 3 == 0 ? rnd(&p->seed) % sizeof own : 0, n = rnd(&p->seed) % 100000 + 1;
        fill(own, pos, head);
        fill(b[i].data, pos + head, n);
        struct zs_iov v[] = {{own, head, 0}, {b[i].data, n / 2, b[i].id}, {(uint8_t *)b[i].data + n / 2, n - n / 2, b[i].id}};
        idle &= ~(UINT64_C(1) << i);
        if (rnd(&p->seed) % 4 == 0) {
            EQUAL(write(p->fd, own, head), head);
            EQUAL(zs_send(p->fd, v + 1, 2, 0, q, (uint64_t)i, NULL), n);
        } else {
            EQUAL(zs_send(p->fd, v, 3, 0, q, (uint64_t)i, NULL), head + n);
        }
        pos += head + n;
    }
    close(p->fd);
    while (idle != (1u << BUFFERS) - 1) {
        EQUAL(zs_queue_wait(q, &e, 1, 20000), 1);
        idle |= UINT64_C(1) << e.cookie;
    }
    for (int i = 0; i < BUFFERS; i++)
        EQUAL(zs_buffer_free(&b[i]), 0);
    zs_queue_close(q);
    return NULL;
}

static void *consume(void *arg)
{
    struct stream *c = arg;
    static uint8_t buf[50000];
    struct zs_segment kept[64];
    int nkept = 0, n = 1;
    uint64_t pos = 0;
    while (n > 0) {
        if (rnd(&c->seed) % 3 == 0) {
            n = (int)read(c->fd, buf, rnd(&c->seed) % sizeof buf + 1);
            CHECK(n >= 0);
            check_bytes(buf, pos, (size_t)n);
            pos += (uint64_t)n;
            continue;
        }
        struct zs_segment s[4];
        n = zs_recv(c->fd, s, 4, 0, NULL);
        CHECK(n >= 0);
        for (int i = 0; i < n; i++) {
            check_bytes(s[i].data, pos, s[i].len);
            pos += s[i].len;
            if (nkept == 64)
                EQUAL(zs_segment_release(&kept[--nkept]), 0);
            if (rnd(&c->seed) % 2 == 0 && nkept < 4)
                kept[nkept++] = s[i];
            else
                EQUAL(zs_segment_release(&s[i]), 0);
        }
        if (nkept == 4 || rnd(&c->seed) % 8 == 0)
            for (int i = 0; i < nkept || (nkept = 0) != 0; i++)
                EQUAL(zs_segment_release(&kept[i]), 0);
    }
    CHECK(pos >= STREAM);
    while (nkept > 0)
        EQUAL(zs_segment_release(&kept[--nkept]), 0);
    close(c->fd);
    return NULL;
}

/* Both ends in threads of their own, pieces of every kind, reads of every kind. */
static void long_stream(void)
{
    int fd[2];
    pthread_t p, c;
    pair(fd);
    struct stream from = {fd[0], 11}, to = {fd[1], 12};
    CHECK(pthread_create(&p, NULL, produce, &from) == 0 && pthread_create(&c, NULL, consume, &to) == 0);
    CHECK(pthread_join(p, NULL) == 0 && pthread_join(c, NULL) == 0);
}

/* A proxy in between, in a thread of its own. */
static void *pass_on(void *arg)
{
    int *fd = arg, n;
    struct zs_segment s[16];
    while ((n = zs_recv(fd[0], s, 16, 0, NULL)) > 0) {
        for (int i = 0; i < n; i++) {
            struct zs_iov v = {s[i].data, s[i].len, s[i].id};
            EQUAL(zs_send(fd[1], &v, 1, 0, NULL, 0, NULL), v.len);
            EQUAL(zs_segment_release(&s[i]), 0);
        }
    }
    EQUAL(n, 0);
    close(fd[0]);
    close(fd[1]);
    return NULL;
}

static void long_proxy(void)
{
    int in[2], out[2];
    pthread_t p, x, c;
    pair(in);
    pair(out);
    struct stream from = {in[0], 21}, to = {out[1], 22};
    int through[2] = {in[1], out[0]};
    CHECK(pthread_create(&p, NULL, produce, &from) == 0 && pthread_create(&x, NULL, pass_on, through) == 0 &&
          pthread_create(&c, NULL, consume, &to) == 0);
    CHECK(pthread_join(p, NULL) == 0 && pthread_join(x, NULL) == 0 && pthread_join(c, NULL) == 0);
}

/* Neither end ever has to wait: the test counts the system calls of this. */
static void steady(void)
{
    int fd[2];
    struct zs_queue *q;
    struct zs_event e;
    pair(fd);
    EQUAL(zs_queue_open(&q), 0);
    struct zs_buffer b = buffer(8192, 0);
    for (int i = 0; i < STEADY; i++) {
        char message[64] = {0};
        EQUAL(write(fd[0], message, sizeof message), sizeof message);
        EQUAL(read(fd[1], message, sizeof message), sizeof message);
        send_buffer(fd[1], &b, 8192, q, (uint64_t)i);
        for (size_t got = 0; got < 8192;) {
            struct zs_segment s;
            EQUAL(zs_recv(fd[0], &s, 1, 0, NULL), 1);
            got += s.len;
            EQUAL(zs_segment_release(&s), 0);
        }
        EQUAL(zs_queue_poll(q, &e, 1), 1);
        EQUAL(e.cookie, i);
    }
    EQUAL(zs_buffer_free(&b), 0);
    zs_queue_close(q);
    pair_close(fd);
}

const struct one_case life_cases[] = {
    {"after-close", after_close},     {"proxy", proxy},             {"reader-killed", reader_killed},
    {"sender-killed", sender_killed}, {"long-stream", long_stream}, {"long-proxy", long_proxy},
    {"steady", steady},
    {NULL, NULL},
};
