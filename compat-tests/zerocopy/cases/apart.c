/* SPDX-License-Identifier: BSD-3-Clause
 * Buffers are their owner's: others read them where they were lent something of them, and write them never. Who cannot read them where
 * they are gets an error by name or a copy, and the stream stays whole. */
#define _GNU_SOURCE
#include "case.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define SIZE 65536u

static void tell(int fd)
{
    CHECK(write(fd, "x", 1) == 1);
}

static void hear(int fd)
{
    char c;
    CHECK(read(fd, &c, 1) == 1);
}

static int signal_of(pid_t pid)
{
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status) != 0 ? -1 : 0;
}

static void no_core(void)
{
    const struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_CORE, &none) == 0);
}

/* A receiver that writes to what it was lent: SIGSEGV for itself, and nothing for the sender. What was copied is its own. */
static void write_to_lent(void)
{
    int fd[2];
    pair(fd);
    pid_t pid = fork();
    if (pid == 0) {
        struct zs_segment s;
        no_core();
        EQUAL(zs_recv(fd[1], &s, 1, 0, NULL), 1);
        check_bytes(s.data, 0, s.len);
        EQUAL(s.copied, accel ? ZS_COPY_NONE : ZS_COPY_KERNEL);
        memset((void *)(uintptr_t)s.data, 0xee, 1);
        _exit(0);
    }
    struct zs_buffer b = buffer(SIZE, 0);
    fill(b.data, 0, SIZE);
    send_buffer(fd[0], &b, SIZE, NULL, 0);
    EQUAL(signal_of(pid), accel ? SIGSEGV : 0);
    check_bytes(b.data, 0, SIZE);
    pair_close(fd);
    nobody_waits(&b);
}

/* A forked child reads what its parent had in buffers, as any memory, and cannot change them for it. */
static void write_to_parents(void)
{
    struct zs_buffer b = buffer(SIZE, 0);
    fill(b.data, 0, SIZE);
    pid_t pid = fork();
    if (pid == 0) {
        no_core();
        check_bytes(b.data, 0, SIZE);
        memset(b.data, 0xee, 1);
        _exit(0);
    }
    EQUAL(signal_of(pid), accel ? SIGSEGV : 0);
    check_bytes(b.data, 0, SIZE);
    EQUAL(zs_buffer_free(&b), 0);
}

/* A lends to B, which passes on to C without having written or copied it: C reads the memory of A, whom it has no connection to, also
 * when both others are dead. */
static void chain(void)
{
    int in[2], out[2];
    struct zs_segment s[16];
    pair(in);
    pair(out);
    pid_t a = fork();
    if (a == 0) {
        struct zs_buffer b = buffer(SIZE, 0);
        fill(b.data, 0, SIZE);
        send_buffer(in[0], &b, SIZE, NULL, 0);
        pause();
    }
    pid_t p = fork();
    if (p == 0) {
        for (size_t got = 0; got < SIZE;) {
            struct zs_report r;
            EQUAL(zs_recv(in[1], s, 1, 0, NULL), 1);
            struct zs_iov v = {s[0].data, s[0].len, s[0].id};
            EQUAL(zs_send(out[0], &v, 1, 0, NULL, 0, &r), v.len);
            EQUAL(r.lent, accel ? v.len : 0);
            got += v.len;
            EQUAL(zs_segment_release(&s[0]), 0);
        }
        pause();
    }
    int n = 0;
    for (size_t got = 0; got < SIZE; n++) {
        CHECK(n < 16);
        EQUAL(zs_recv(out[1], &s[n], 1, 0, NULL), 1);
        EQUAL(s[n].copied, accel ? ZS_COPY_NONE : ZS_COPY_KERNEL);
        got += s[n].len;
    }
    CHECK(kill(a, SIGKILL) == 0 && kill(p, SIGKILL) == 0);
    EQUAL(signal_of(a), SIGKILL);
    EQUAL(signal_of(p), SIGKILL);
    uint64_t pos = 0;
    for (int i = 0; i < n; i++) {
        check_bytes(s[i].data, pos, s[i].len);
        pos += s[i].len;
        EQUAL(zs_segment_release(&s[i]), 0);
    }
    pair_close(in);
    pair_close(out);
}

/* ---- Who cannot map ---- */

static void read_all(int fd, uint64_t pos, size_t n)
{
    static uint8_t got[SIZE];
    for (size_t at = 0; at < n;) {
        ssize_t r = read(fd, got, n - at < 5000 ? n - at : 5000);
        CHECK(r > 0);
        check_bytes(got, pos + at, (size_t)r);
        at += (size_t)r;
    }
}

/* A receiver without a free descriptor, which it needs for a moment: ENOBUFS, until there is one. Nothing is lost. */
static void reader_without_descriptor(int fd, int heard, int told)
{
    char byte[16];
    struct zs_segment s;
    const struct rlimit few = {200, 200};
    read_all(fd, 0, 512); /* copied; it is attached by now */
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    int last = -1;
    for (int next; (next = dup(0)) >= 0;)
        last = next;
    EQUAL(errno, EMFILE);
    tell(told);
    hear(heard);
    if (accel) {
        EQUAL(zs_recv(fd, &s, 1, 0, NULL), -ENOBUFS);
        CHECK(read(fd, byte, sizeof byte) == -1 && errno == ENOBUFS);
        CHECK(recv(fd, byte, sizeof byte, MSG_PEEK) == -1 && errno == ENOBUFS);
    }
    close(last);
    read_all(fd, 512, SIZE - 512);
    _exit(0);
}

static void no_descriptor(void)
{
    int fd[2], there[2], back[2];
    pair(fd);
    CHECK(pipe(there) == 0 && pipe(back) == 0);
    pid_t pid = fork();
    if (pid == 0)
        reader_without_descriptor(fd[1], there[0], back[1]);
    struct zs_buffer b = buffer(SIZE, 0);
    fill(b.data, 0, SIZE);
    EQUAL(send(fd[0], b.data, 512, 0), 512);
    hear(back[0]);
    struct zs_iov v = {(char *)b.data + 512, SIZE - 512, b.id};
    struct zs_report r;
    EQUAL(zs_send(fd[0], &v, 1, 0, NULL, 0, &r), SIZE - 512);
    EQUAL(r.lent, accel ? SIZE - 512 : 0);
    tell(there[1]);
    EQUAL(signal_of(pid), 0);
    pair_close(fd);
    nobody_waits(&b);
}

/* A call less, which asking the engine, or mapping what it answers, needs. */
static void forbid(unsigned call)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog prog = {sizeof filter / sizeof filter[0], filter};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) == 0);
}

/* A receiver that confines itself reads what was lent to it before, and gets copies from then on. */
static void confined_from(unsigned call)
{
    int fd[2], there[2], back[2];
    struct zs_report r;
    pair(fd);
    CHECK(pipe(there) == 0 && pipe(back) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        hear(there[0]);
        forbid(call);
        tell(back[1]);
        read_all(fd[1], 0, SIZE);
        hear(there[0]);
        read_all(fd[1], 0, SIZE);
        _exit(0);
    }
    struct zs_buffer b = buffer(SIZE, ZS_SHARED);
    fill(b.data, 0, SIZE);
    send_buffer(fd[0], &b, SIZE, NULL, 0);
    tell(there[1]);
    hear(back[0]);
    struct zs_iov v = {b.data, SIZE, b.id};
    EQUAL(zs_send(fd[0], &v, 1, 0, NULL, 0, &r), SIZE);
    EQUAL(r.reason, accel ? ZS_COPY_NO_REFERENCE : ZS_COPY_KERNEL);
    EQUAL(r.lent, 0);
    tell(there[1]);
    EQUAL(signal_of(pid), 0);
    pair_close(fd);
    nobody_waits(&b);
}

static void confined(void)
{
    confined_from(SYS_connect);
}

static void confined_from_mapping(void)
{
    confined_from(SYS_mmap);
}

/* A server that confines itself and accepts from then on: who sends before it accepts copies, too. */
static void confined_server(void)
{
    int there[2], back[2], fd, l;
    struct sockaddr_in a;
    struct zs_report r;
    l = listener(&a);
    CHECK(pipe(there) == 0 && pipe(back) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        forbid(SYS_connect);
        tell(back[1]);
        hear(there[0]);
        CHECK((fd = accept(l, NULL, NULL)) >= 0);
        read_all(fd, 0, SIZE);
        _exit(0);
    }
    hear(back[0]);
    struct zs_buffer b = buffer(SIZE, ZS_SHARED);
    fill(b.data, 0, SIZE);
    CHECK((fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    struct zs_iov v = {b.data, SIZE, b.id};
    EQUAL(zs_send(fd, &v, 1, 0, NULL, 0, &r), SIZE);
    tell(there[1]);
    EQUAL(signal_of(pid), 0);
    EQUAL(r.lent, 0);
    EQUAL(r.reason, accel ? ZS_COPY_NO_REFERENCE : ZS_COPY_KERNEL);
    CHECK(close(fd) == 0 && close(l) == 0);
    nobody_waits(&b);
}

/* ---- The allocator ---- */

#define MANY 400

/* Buffers of all sizes come and go: each is its own, aligned, and holds what was put there. */
static void many_sizes(void)
{
    static struct zs_buffer b[MANY];
    uint64_t seed = 7, room = 0;
    for (int round = 0; round < 3000; round++) {
        int i = (int)(rnd(&seed) % MANY);
        if (b[i].id != 0) {
            check_bytes(b[i].data, (uint64_t)i, b[i].size);
            room -= b[i].size;
            EQUAL(zs_buffer_free(&b[i]), 0);
            b[i].id = 0;
        } else if (room < 100u << 20) {
            size_t size = (size_t)1 + rnd(&seed) % (rnd(&seed) % 8 == 0 ? ZS_BUFFER_MAX : 100000);
            b[i] = buffer(size, 0);
            fill(b[i].data, (uint64_t)i, size);
            room += size;
        }
    }
    for (int i = 0; i < MANY; i++)
        if (b[i].id != 0)
            EQUAL(zs_buffer_free(&b[i]), 0);
}

const struct one_case apart_cases[] = {
    {"write-to-lent", write_to_lent}, {"write-to-parents", write_to_parents}, {"chain", chain}, {"no-descriptor", no_descriptor},
    {"confined", confined},           {"confined-from-mapping", confined_from_mapping}, {"confined-server", confined_server}, {"many-sizes", many_sizes},
    {NULL, NULL},
};
