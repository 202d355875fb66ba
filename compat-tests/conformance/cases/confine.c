/* SPDX-License-Identifier: BSD-3-Clause
 * Processes that confine themselves, as sshd's child does before it listens to a stranger: a forked child with an inherited
 * connection and a seccomp(2) filter or no room for descriptors goes on talking. */
#include "lib.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define ALLOW(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* Everything else ends the process by SIGSYS. */
static struct sock_filter strict[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    ALLOW(SYS_read),
    ALLOW(SYS_write),
    ALLOW(SYS_poll),
    ALLOW(SYS_ppoll),
    ALLOW(SYS_futex),
    ALLOW(SYS_mmap),
    ALLOW(SYS_munmap),
    ALLOW(SYS_brk),
    ALLOW(SYS_close),
    ALLOW(SYS_exit_group),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
};
static const struct sock_fprog prog = {.len = COUNT(strict), .filter = strict};

enum how { BY_PRCTL = 1, BY_SYSCALL = 2, NO_FILES = 4, IN_POLL = 8 };
struct job {
    int p[2];
    unsigned how;
};

static void confine(unsigned how)
{
    if (how & NO_FILES)
        OK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){1, 1}));
    if (how & (BY_PRCTL | BY_SYSCALL))
        OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (how & BY_PRCTL)
        OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
    if (how & BY_SYSCALL)
        OK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog));
}

/* Echoes until the end. No exit handlers: those of a sanitizer or of the C library may do other calls. */
static void echo_confined(void *arg)
{
    struct job *j = arg;
    static char buf[65536];
    ssize_t n;
    OK(close(j->p[0]));
    confine(j->how);
    for (;;) {
        struct pollfd p = {.fd = j->p[1], .events = POLLIN};
        if (j->how & IN_POLL && poll(&p, 1, -1) != 1)
            _exit(3);
        n = read(j->p[1], buf, sizeof buf);
        if (n <= 0)
            _exit(n < 0 ? 4 : 0);
        for (ssize_t done = 0, r; done < n; done += r)
            if ((r = write(j->p[1], buf + done, (size_t)(n - done))) < 0)
                _exit(5);
    }
}

/* The other side sleeps in epoll_wait, in read and in write: the child has to wake it. */
static void talk(unsigned how)
{
    static uint8_t out[300000], in[300000];
    struct job j = {.how = how};
    char buf[6] = "";
    tcp_pair(j.p);
    pid_t pid = child(echo_confined, &j);
    OK(close(j.p[1]));
    int ep = (int)OK(epoll_create1(0));
    ep_add(ep, j.p[0], EPOLLIN, 1);
    for (int i = 0; i < 5; i++) {
        settle(); /* the child sleeps */
        send_text(j.p[0], "hello");
        show_epoll("echo", ep, 10000);
        read_exact(j.p[0], buf, 5);
        trace("%s", buf);
    }
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = pattern(i);
    for (size_t at = 0; at < sizeof out; at += 50000) {
        write_all(j.p[0], out + at, 50000);
        read_exact(j.p[0], in + at, 50000);
    }
    trace("the same: %d", memcmp(in, out, sizeof out) == 0);
    OK(shutdown(j.p[0], SHUT_WR));
    R(read(j.p[0], buf, 1));
    reap(pid);
    OK(close(ep));
    OK(close(j.p[0]));
}

static void by_prctl(void)
{
    talk(BY_PRCTL);
}

static void by_syscall(void)
{
    talk(BY_SYSCALL | IN_POLL);
}

static void no_files(void)
{
    talk(NO_FILES | IN_POLL);
}

static void as_sshd(void)
{
    talk(NO_FILES | BY_PRCTL | IN_POLL);
}

/* A filter that forbids what sockets do not need: later connections are accelerated as before. */
static void lenient(void)
{
    static struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog allow = {.len = COUNT(filter), .filter = filter};
    int p[2];
    OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    R(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL));
    OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &allow));
    R(syscall(SYS_ptrace, 0, 0, 0, 0));
    tcp_pair(p);
    send_text(p[0], "hello");
    show_poll("readable", p[1], POLLIN, 10000);
    show_recv("through", p[1]);
    OK(close(p[0]));
    OK(close(p[1]));
}

const struct conf_case confine_cases[] = {
    {"confine_seccomp_prctl", by_prctl, TCP, NULL},
    {"confine_seccomp_syscall", by_syscall, TCP, NULL},
    {"confine_no_files", no_files, TCP, NULL},
    {"confine_as_sshd", as_sshd, TCP, NULL},
    {"confine_lenient", lenient, TCP, NULL},
    {0},
};
