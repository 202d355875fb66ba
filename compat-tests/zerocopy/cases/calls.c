/* SPDX-License-Identifier: BSD-3-Clause
 * Each call by itself: what is lent and what is copied, completions, errors by name, quotas. */
#define _GNU_SOURCE
#include "case.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/wait.h>

#define SIZE 65536u

static void lent_and_back(void)
{
    int fd[2];
    struct zs_queue *q;
    struct zs_segment s;
    struct zs_report r;
    struct zs_event e;
    pair(fd);
    EQUAL(zs_queue_open(&q), 0);
    struct zs_buffer b = buffer(SIZE, 0);
    fill(b.data, 0, SIZE);
    send_buffer(fd[0], &b, SIZE, q, 42);
    EQUAL(zs_buffer_busy(&b), accel);
    if (accel) {
        EQUAL(zs_queue_poll(q, &e, 1), 0);
        struct zs_iov v = {b.data, 5000, b.id};
        EQUAL(zs_send(fd[0], &v, 1, 0, NULL, 0, NULL), -EBUSY);
        EQUAL(zs_buffer_free(&b), -EBUSY);
    }
    size_t got = 0;
    while (got < SIZE) {
        EQUAL(zs_recv(fd[1], &s, 1, 0, &r), 1);
        if (accel)
            CHECK(s.data == (uint8_t *)b.data + got && s.copied == ZS_COPY_NONE);
        else
            EQUAL(s.copied, ZS_COPY_KERNEL);
        EQUAL(accel ? r.lent : r.copied, s.len);
        check_bytes(s.data, got, s.len);
        got += s.len;
        EQUAL(zs_segment_release(&s), 0);
        EQUAL(zs_segment_release(&s), -ESTALE);
    }
    event(q, 42, SIZE);
    EQUAL(zs_buffer_busy(&b), 0);
    EQUAL(zs_buffer_free(&b), 0);
    EQUAL(zs_buffer_free(&b), -ESTALE);
    close(fd[0]);
    EQUAL(zs_recv(fd[1], &s, 1, 0, NULL), 0);
    close(fd[1]);
    zs_queue_close(q);
}

/* The other end knows nothing of these calls. */
static void posix_reader(void)
{
    int fd[2];
    static uint8_t got[SIZE];
    pair(fd);
    struct zs_buffer b = buffer(SIZE, 0);
    fill(b.data, 0, SIZE);
    send_buffer(fd[0], &b, SIZE, NULL, 0);
    EQUAL(recv(fd[1], got, 1000, MSG_PEEK), 1000);
    EQUAL(recv(fd[1], got, SIZE - 1, MSG_WAITALL), SIZE - 1);
    EQUAL(zs_buffer_busy(&b), accel);
    EQUAL(read(fd[1], got + SIZE - 1, 1), 1);
    check_bytes(got, 0, SIZE);
    EQUAL(zs_buffer_busy(&b), 0);
    EQUAL(zs_buffer_free(&b), 0);
    pair_close(fd);
}

static void posix_writer(void)
{
    int fd[2];
    uint8_t put[3000];
    struct zs_segment s[4];
    struct zs_report r;
    pair(fd);
    EQUAL(zs_recv(fd[1], s, 1, MSG_DONTWAIT, NULL), -EAGAIN);
    fill(put, 0, sizeof put);
    EQUAL(write(fd[0], put, sizeof put), sizeof put);
    EQUAL(zs_recv(fd[1], s, 4, 0, &r), 1);
    EQUAL(s[0].len, sizeof put);
    EQUAL(s[0].copied, accel ? ZS_COPY_NOT_LENT : ZS_COPY_KERNEL);
    EQUAL(r.copied, sizeof put);
    check_bytes(s[0].data, 0, s[0].len);
    EQUAL(zs_segment_release(&s[0]), 0);
    pair_close(fd);
}

/* Which pieces are copied, and why. */
static void reasons(void)
{
    int fd[2];
    struct zs_report r;
    static uint8_t own[4000], got[20000];
    pair(fd);
    struct zs_buffer b = buffer(20000, 0);
    fill(b.data, 4000, 20000);
    fill(own, 0, 4000);
    struct zs_iov v[] = {{own, 4000, 0}, {b.data, 10000, b.id}, {(uint8_t *)b.data + 10000, 1000, b.id}, {NULL, 0, 0}};
    EQUAL(zs_send(fd[0], v, 4, 0, NULL, 0, &r), 15000);
    EQUAL(r.lent, accel ? 10000 : 0);
    EQUAL(r.copied, accel ? 5000 : 15000);
    EQUAL(r.reason, accel ? ZS_COPY_MEMORY : ZS_COPY_KERNEL);
    EQUAL(recv(fd[1], got, 15000, MSG_WAITALL), 15000);
    check_bytes(got, 0, 15000);
    EQUAL(zs_send(fd[0], v + 2, 1, 0, NULL, 0, &r), 1000);
    EQUAL(r.reason, accel ? ZS_COPY_SMALL : ZS_COPY_KERNEL);
    EQUAL(zs_buffer_free(&b), 0);
    CHECK(strcmp(zs_copy_reason_name(ZS_COPY_SMALL), "small") == 0 && strcmp(zs_copy_reason_name(99), "?") == 0);
    pair_close(fd);
}

static void errors(void)
{
    int fd[2];
    struct zs_segment s, none = {0};
    struct zs_buffer b, other, nothing = {0};
    static uint8_t own[SIZE];
    pair(fd);
    EQUAL(zs_buffer_alloc(&b, 0, 0), -EINVAL);
    EQUAL(zs_buffer_alloc(&b, ZS_BUFFER_MAX + 1, 0), -EINVAL);
    EQUAL(zs_buffer_alloc(&b, 10, 77), -EINVAL);
    EQUAL(zs_buffer_free(&nothing), -EINVAL);
    EQUAL(zs_segment_release(&none), -EINVAL);
    b = buffer(SIZE, 0);
    other = buffer(SIZE, 0);
    const struct {
        struct zs_iov v;
        int want;
    } wrong[] = {
        {{own, SIZE, b.id}, -EINVAL}, /* memory that is not the buffer's */
        {{(uint8_t *)b.data + 1, SIZE, b.id}, -EINVAL},
        {{(uint8_t *)b.data - 1, 10, b.id}, -EINVAL},
        {{other.data, 10, b.id}, -EINVAL},
        {{b.data, SIZE_MAX, b.id}, -EINVAL},
        {{NULL, 1, 0}, -EINVAL},
        {{b.data, 10, 12345}, -EINVAL},
        {{b.data, 10, UINT64_MAX}, -EINVAL},
        {{b.data, 10, b.id + 1000000}, -EINVAL},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct zs_iov v[2] = {{other.data, SIZE, other.id}, wrong[i].v};
        EQUAL(zs_send(fd[0], v, 2, 0, NULL, 0, NULL), wrong[i].want);
    }
    struct zs_iov v = {b.data, SIZE, b.id};
    EQUAL(zs_send(fd[0], &v, 1, MSG_OOB, NULL, 0, NULL), -EINVAL);
    EQUAL(zs_send(fd[0], &v, ZS_IOV_MAX + 1, 0, NULL, 0, NULL), -EINVAL);
    EQUAL(zs_recv(fd[1], &s, 0, 0, NULL), -EINVAL);
    EQUAL(zs_recv(fd[1], &s, 1, MSG_PEEK, NULL), -EINVAL);
    EQUAL(zs_recv(fd[1], &s, 1, MSG_DONTWAIT, NULL), -EAGAIN); /* none of it was sent */
    EQUAL(zs_buffer_free(&b), 0);
    EQUAL(zs_send(fd[0], &v, 1, 0, NULL, 0, NULL), -ESTALE);
    EQUAL(zs_buffer_busy(&b), -ESTALE);
    EQUAL(zs_buffer_free(&other), 0);
    EQUAL(zs_send(-1, &(struct zs_iov){own, 10, 0}, 1, 0, NULL, 0, NULL), -EBADF);
    EQUAL(zs_recv(-1, &s, 1, 0, NULL), -EBADF);
    close(fd[1]);
    EQUAL(zs_send(fd[0], &(struct zs_iov){own, 10, 0}, 1, 0, NULL, 0, NULL), 10);
    ssize_t r = 0;
    for (int i = 0; i < 1000 && r >= 0; i++) {
        poll(NULL, 0, 1); /* the kernel's RST takes a moment */
        r = zs_send(fd[0], &(struct zs_iov){own, 10, 0}, 1, 0, NULL, 0, NULL);
    }
    CHECK(r == -EPIPE || r == -ECONNRESET); /* and no SIGPIPE */
    close(fd[0]);
}

/* What is lent to a peer that has gone is not lent. */
static void closed_peer(void)
{
    int fd[2];
    pair(fd);
    struct zs_buffer b = buffer(SIZE, 0);
    close(fd[1]);
    struct zs_iov v = {b.data, SIZE, b.id};
    CHECK(zs_send(fd[0], &v, 1, 0, NULL, 0, NULL) > 0);
    nobody_waits(&b);
    close(fd[0]);
}

/* Released in another order, from another process' point of view never; the child has none of it. */
static void forked(void)
{
    int fd[2], status;
    struct zs_queue *q;
    struct zs_segment s[2];
    struct zs_event e;
    pair(fd);
    EQUAL(zs_queue_open(&q), 0);
    struct zs_buffer b = buffer(SIZE, 0);
    fill(b.data, 0, SIZE);
    send_buffer(fd[0], &b, 5000, NULL, 0);
    EQUAL(zs_recv(fd[1], s, 1, 0, NULL), 1);
    pid_t pid = fork();
    if (pid == 0) {
        struct zs_iov v = {b.data, SIZE, b.id};
        EQUAL(zs_buffer_free(&b), -EPERM);
        EQUAL(zs_buffer_busy(&b), -EPERM);
        EQUAL(zs_segment_release(&s[0]), -EPERM);
        EQUAL(zs_send(fd[0], &v, 1, 0, NULL, 0, NULL), -EPERM);
        EQUAL(zs_queue_poll(q, &e, 1), -EPERM);
        EQUAL(zs_queue_arm(q), -EPERM);
        /* Its own are as good as its parent's. */
        struct zs_buffer mine = buffer(SIZE, 0);
        fill(mine.data, 5000, SIZE);
        send_buffer(fd[0], &mine, SIZE, NULL, 0);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    for (size_t got = 0; got < SIZE;) { /* what the child lent outlives it */
        EQUAL(zs_recv(fd[1], &s[1], 1, 0, NULL), 1);
        check_bytes(s[1].data, 5000 + got, s[1].len);
        CHECK(!accel || s[1].copied == ZS_COPY_NONE);
        got += s[1].len;
        EQUAL(zs_segment_release(&s[1]), 0);
    }
    check_bytes(s[0].data, 0, s[0].len);
    EQUAL(zs_segment_release(&s[0]), 0);
    nobody_waits(&b);
    zs_queue_close(q);
    pair_close(fd);
}

static void shared_buffer(void)
{
    int fd[3][2];
    static uint8_t got[SIZE];
    struct zs_queue *q;
    struct zs_event e[8];
    EQUAL(zs_queue_open(&q), 0);
    struct zs_buffer b = buffer(SIZE, ZS_SHARED);
    fill(b.data, 0, SIZE);
    for (int i = 0; i < 3; i++) {
        pair(fd[i]);
        send_buffer(fd[i][0], &b, SIZE, q, (uint64_t)i);
    }
    for (int i = 2; i >= 0; i--) {
        EQUAL(recv(fd[i][1], got, SIZE, MSG_WAITALL), SIZE);
        check_bytes(got, 0, SIZE);
        if (accel)
            event(q, (uint64_t)i, SIZE);
        pair_close(fd[i]);
    }
    EQUAL(zs_queue_poll(q, e, 8), accel ? 0 : 3);
    EQUAL(zs_buffer_free(&b), 0);
    zs_queue_close(q);
}

static void quota(void)
{
    int fd[2];
    struct zs_queue *q;
    struct zs_event e;
    struct zs_segment s[8];
    struct zs_report r;
    struct zs_buffer b[8];
    pair(fd);
    EQUAL(zs_queue_open(&q), 0);
    EQUAL(zs_quota_set(40000, 0, q), 0);
    for (int i = 0; i < 8; i++) {
        b[i] = buffer(10000, 0);
        fill(b[i].data, (uint64_t)i * 10000, 10000);
        send_buffer(fd[0], &b[i], 10000, NULL, 0);
    }
    uint64_t at = 0;
    int n = 0;
    for (; at < 80000; n++) { /* the kernel's are as many as it likes */
        EQUAL(zs_recv(fd[1], &s[n % 8], 1, 0, NULL), 1);
        check_bytes(s[n % 8].data, at, s[n % 8].len);
        at += s[n % 8].len;
        if (accel)
            EQUAL(s[n].copied, n < 4 ? ZS_COPY_NONE : ZS_COPY_QUOTA);
        else
            EQUAL(zs_segment_release(&s[n % 8]), 0);
    }
    CHECK(!accel || n == 8);
    EQUAL(zs_queue_poll(q, &e, 1), accel);
    CHECK(!accel || (e.type == ZS_EVENT_HIGH && e.lent == 30000 && e.copied == 40000));
    for (int i = accel ? 7 : -1; i >= 0; i--)
        EQUAL(zs_segment_release(&s[i]), 0);
    EQUAL(zs_queue_poll(q, &e, 1), accel);
    CHECK(!accel || (e.type == ZS_EVENT_LOW && e.lent == 20000));
    /* The other one: what is lent out. */
    EQUAL(zs_quota_set(0, 25000, NULL), 0);
    for (int i = 0; i < 8; i++) {
        struct zs_iov v = {b[i].data, 10000, b[i].id};
        EQUAL(zs_send(fd[0], &v, 1, 0, NULL, 0, &r), 10000);
        EQUAL(r.reason, !accel ? ZS_COPY_KERNEL : i < 2 ? ZS_COPY_NONE : ZS_COPY_QUOTA);
    }
    static uint8_t got[80000];
    while (at < 160000) {
        ssize_t k = read(fd[1], got, sizeof got);
        CHECK(k > 0);
        at += (uint64_t)k;
    }
    for (int i = 0; i < 8; i++)
        nobody_waits(&b[i]);
    zs_queue_close(q);
    pair_close(fd);
}

/* The eventfd: silent unless armed, readable at the next event. */
static void eventfd(void)
{
    int fd[2];
    struct zs_queue *q;
    struct zs_event e;
    static uint8_t got[SIZE];
    pair(fd);
    EQUAL(zs_queue_open(&q), 0);
    struct zs_buffer b = buffer(SIZE, 0);
    struct pollfd p = {.fd = zs_queue_fd(q), .events = POLLIN};
    for (int round = 0; round < 3; round++) {
        EQUAL(zs_queue_arm(q), 0);
        EQUAL(poll(&p, 1, 0), 0);
        send_buffer(fd[0], &b, 20000, q, 7);
        EQUAL(poll(&p, 1, 0), !accel);
        EQUAL(recv(fd[1], got, 20000, MSG_WAITALL), 20000);
        EQUAL(poll(&p, 1, 10000), 1);
        EQUAL(zs_queue_poll(q, &e, 1), 1);
        EQUAL(poll(&p, 1, 0), 0);
        EQUAL(e.cookie, 7);
        /* Not armed: the event is there, the descriptor silent. */
        send_buffer(fd[0], &b, 20000, q, 8);
        EQUAL(recv(fd[1], got, 20000, MSG_WAITALL), 20000);
        EQUAL(poll(&p, 1, 0), 0);
        EQUAL(zs_queue_arm(q), 1);
        EQUAL(zs_queue_poll(q, &e, 1), 1);
        EQUAL(zs_queue_wait(q, &e, 1, 5), 0);
    }
    EQUAL(zs_buffer_free(&b), 0);
    zs_queue_close(q);
    pair_close(fd);
}

static void nonblocking(void)
{
    int fd[2];
    struct zs_buffer b = buffer(ZS_BUFFER_MAX, ZS_SHARED);
    struct zs_iov v = {b.data, ZS_BUFFER_MAX, b.id};
    uint64_t sent = 0, got = 0;
    ssize_t n;
    pair(fd);
    fill(b.data, 0, ZS_BUFFER_MAX);
    CHECK(fcntl(fd[0], F_SETFL, O_NONBLOCK) == 0);
    while ((n = zs_send(fd[0], &v, 1, 0, NULL, 0, NULL)) > 0 && sent < 64u << 20)
        sent += (uint64_t)n;
    EQUAL(n, -EAGAIN);
    struct pollfd p = {.fd = fd[0], .events = POLLOUT};
    EQUAL(poll(&p, 1, 0), 0);
    while (got < sent) {
        struct zs_segment s[8];
        int k = zs_recv(fd[1], s, 8, 0, NULL);
        CHECK(k > 0);
        for (int i = 0; i < k; i++) {
            got += s[i].len;
            EQUAL(zs_segment_release(&s[i]), 0);
        }
    }
    EQUAL(got, sent);
    EQUAL(poll(&p, 1, 10000), 1);
    EQUAL(zs_buffer_free(&b), 0);
    pair_close(fd);
}

/* An urgent byte between two buffers: it is left out of the stream, and nothing else is. */
static void urgent(void)
{
    int fd[2];
    char c = 0;
    pair(fd);
    struct zs_buffer b[2] = {buffer(SIZE, 0), buffer(SIZE, 0)};
    struct zs_segment s;
    uint64_t got = 0;
    for (int i = 0; i < 2; i++)
        fill(b[i].data, (uint64_t)i * 5000, 5000);
    send_buffer(fd[0], &b[0], 5000, NULL, 0);
    EQUAL(send(fd[0], "!", 1, MSG_OOB), 1);
    send_buffer(fd[0], &b[1], 5000, NULL, 0);
    struct pollfd p = {.fd = fd[1], .events = POLLPRI};
    EQUAL(poll(&p, 1, 10000), 1);
    EQUAL(recv(fd[1], &c, 1, MSG_OOB), 1);
    EQUAL(c, '!');
    while (got < 10000) {
        EQUAL(zs_recv(fd[1], &s, 1, 0, NULL), 1);
        check_bytes(s.data, got, s.len);
        got += s.len;
        EQUAL(zs_segment_release(&s), 0);
    }
    EQUAL(got, 10000);
    nobody_waits(&b[0]);
    nobody_waits(&b[1]);
    pair_close(fd);
}

static void datagrams(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int to = socket(AF_INET, SOCK_DGRAM, 0), from = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(bind(to, (struct sockaddr *)&a, sizeof a) == 0 && getsockname(to, (struct sockaddr *)&a, &len) == 0);
    CHECK(connect(from, (struct sockaddr *)&a, sizeof a) == 0);
    struct zs_buffer b = buffer(8000, 0);
    struct zs_segment s[2];
    struct zs_report r;
    char word[] = "head";
    fill(b.data, 0, 8000);
    struct zs_iov v[] = {{word, 4, 0}, {b.data, 8000, b.id}};
    EQUAL(zs_send(from, v, 2, 0, NULL, 0, &r), 8004);
    EQUAL(r.reason, ZS_COPY_KERNEL);
    EQUAL(zs_send(from, NULL, 0, 0, NULL, 0, &r), 0);
    EQUAL(zs_recv(to, &s[0], 1, 0, NULL), 1);
    EQUAL(s[0].len, 8004);
    check_bytes((const uint8_t *)s[0].data + 4, 0, 8000);
    EQUAL(zs_recv(to, &s[1], 1, 0, NULL), 1); /* an empty one is one */
    EQUAL(s[1].len, 0);
    EQUAL(zs_segment_release(&s[0]), 0);
    EQUAL(zs_segment_release(&s[1]), 0);
    EQUAL(zs_buffer_free(&b), 0);
    close(to);
    close(from);
}

const struct one_case calls_cases[] = {
    {"lent-and-back", lent_and_back}, {"posix-reader", posix_reader},   {"posix-writer", posix_writer}, {"reasons", reasons},
    {"errors", errors},               {"closed-peer", closed_peer},     {"forked", forked},             {"shared-buffer", shared_buffer},
    {"quota", quota},                 {"eventfd", eventfd},             {"nonblocking", nonblocking},   {"datagrams", datagrams},
    {"urgent", urgent},
    {NULL, NULL},
};
