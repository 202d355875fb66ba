/* SPDX-License-Identifier: BSD-3-Clause
 * Small messages of several threads and processes on one connection: each is whole, those of one writer come in their order, and what
 * ends the connection ends it for all of them. */
#include "lib.h"

enum { WRITERS = 3, FORKS = 6, MESSAGES = 4000, CHILD_MESSAGES = 300, MOST = 16 };

struct message {
    uint32_t writer, number;
    uint8_t fill[56]; /* of both */
};

static uint8_t fill_of(const struct message *m, size_t i)
{
    return pattern(m->writer * UINT64_C(1000003) + m->number * UINT64_C(64) + i);
}

static void write_messages(int fd, uint32_t writer, uint32_t count)
{
    struct message m = {.writer = writer};
    for (m.number = 0; m.number < count; m.number++) {
        for (size_t i = 0; i < sizeof m.fill; i++)
            m.fill[i] = fill_of(&m, i);
        write_all(fd, &m, sizeof m);
    }
}

struct writer {
    int fd;
    uint32_t id, count;
};

static void *writer_thread(void *arg)
{
    const struct writer *w = arg;
    write_messages(w->fd, w->id, w->count);
    return NULL;
}

static void writer_child(void *arg)
{
    writer_thread(arg);
}

/* Reads to the end: how many came, 0 when one was torn or out of order. */
static void *check_all(void *arg)
{
    uint32_t next[MOST] = {0};
    struct message m;
    uintptr_t got = 0;
    for (ssize_t n; (n = OK(recv(*(int *)arg, &m, sizeof m, MSG_WAITALL))) > 0; got++) {
        bool right = n == sizeof m && m.writer < MOST && m.number == next[m.writer]++;
        for (size_t i = 0; right && i < sizeof m.fill; i++)
            right = m.fill[i] == fill_of(&m, i);
        if (!right)
            fail("message %lu is torn or out of order", (unsigned long)got);
    }
    return (void *)got;
}

static void write_together(unsigned forks)
{
    struct writer w[WRITERS + FORKS];
    pthread_t t[WRITERS];
    pid_t pid[FORKS];
    int p[2];
    tcp_pair(p);
    pthread_t reader = thread(check_all, &p[1]);
    for (uint32_t i = 0; i < WRITERS + forks; i++)
        w[i] = (struct writer){p[0], i, i < WRITERS ? MESSAGES : CHILD_MESSAGES};
    for (unsigned i = 0; i < WRITERS; i++)
        t[i] = thread(writer_thread, &w[i]);
    for (unsigned i = 0; i < forks; i++) {
        msleep(1);
        pid[i] = child(writer_child, &w[WRITERS + i]);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        join(t[i]);
    for (unsigned i = 0; i < forks; i++)
        reap(pid[i]);
    OK(shutdown(p[0], SHUT_WR));
    trace("%lu messages, whole and in order", (unsigned long)(uintptr_t)join(reader));
    OK(close(p[0]));
    OK(close(p[1]));
}

static void write_threads(void)
{
    write_together(0);
}

/* The children come while the threads write: what was the process' own is several processes' from one message to the next. */
static void write_forks(void)
{
    write_together(FORKS);
}

/* Reads until the connection ends, message by message, beside others. */
static void *read_some(void *arg)
{
    struct message m;
    uintptr_t got = 0;
    for (ssize_t n; (n = OK(read(*(int *)arg, &m, sizeof m))) > 0; got++) {
        if (n != sizeof m)
            fail("%ld bytes of a message", (long)n);
        for (size_t i = 0; i < sizeof m.fill; i++)
            CHECK(m.fill[i] == fill_of(&m, i));
    }
    return (void *)got;
}

static void read_threads(void)
{
    pthread_t t[WRITERS];
    unsigned long got = 0;
    int p[2];
    tcp_pair(p);
    for (unsigned i = 0; i < WRITERS; i++)
        t[i] = thread(read_some, &p[1]);
    write_messages(p[0], 1, MESSAGES);
    OK(shutdown(p[0], SHUT_WR));
    for (unsigned i = 0; i < WRITERS; i++)
        got += (unsigned long)(uintptr_t)join(t[i]);
    trace("%lu messages", got);
    OK(close(p[0]));
    OK(close(p[1]));
}

/* ---- What ends it, ends it for a thread that writes ---- */

static void *write_until_error(void *arg)
{
    struct message m = {0};
    uintptr_t sent = 0;
    ssize_t r;
    while ((r = send(*(int *)arg, &m, sizeof m, MSG_NOSIGNAL)) == sizeof m)
        sent++;
    CHECK(r < 0 && errno == EPIPE);
    return (void *)sent;
}

static void *count_bytes(void *arg)
{
    uint8_t buf[65536];
    uintptr_t got = 0;
    for (ssize_t n; (n = OK(read(*(int *)arg, buf, sizeof buf))) > 0;)
        got += (uintptr_t)n;
    return (void *)got;
}

static void shutdown_beside(void)
{
    enum { ROUNDS = 100 };
    unsigned equal = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        int p[2];
        tcp_pair(p);
        pthread_t reader = thread(count_bytes, &p[1]), writer = thread(write_until_error, &p[0]);
        for (volatile unsigned i = 0; i < round * 1000; i++)
            ;
        OK(shutdown(p[0], SHUT_WR));
        uintptr_t sent = (uintptr_t)join(writer), got = (uintptr_t)join(reader);
        equal += got == sent * sizeof(struct message);
        OK(close(p[0]));
        OK(close(p[1]));
    }
    trace("what was sent before the end came: %u of %u", equal, (unsigned)ROUNDS);
}

/* From one thread: what it remembers of the connection ends with it, too. */
static void shutdown_after(void)
{
    int p[2];
    struct message m = {0};
    tcp_pair(p);
    for (int i = 0; i < 300; i++) {
        write_all(p[0], &m, sizeof m);
        read_exact(p[1], &m, sizeof m);
    }
    R(shutdown(p[0], SHUT_WR));
    R(send(p[0], &m, sizeof m, MSG_NOSIGNAL));
    show_recv("end", p[1]);
    for (int i = 0; i < 300; i++) {
        write_all(p[1], &m, sizeof m);
        read_exact(p[0], &m, sizeof m);
    }
    OK(close(p[0]));
    R(send(p[1], &m, sizeof m, MSG_NOSIGNAL)); /* taken: nobody said yet that the other end is gone */
    settle();
    R(send(p[1], &m, sizeof m, MSG_NOSIGNAL));
    OK(close(p[1]));
}

const struct conf_case together_cases[] = {
    {"together_write_threads", write_threads, TCP, NULL},
    {"together_write_forks", write_forks, TCP, NULL},
    {"together_read_threads", read_threads, TCP, NULL},
    {"together_shutdown_beside", shutdown_beside, TCP, NULL},
    {"together_shutdown_after", shutdown_after, TCP, NULL},
    {0},
};
