/* SPDX-License-Identifier: BSD-3-Clause
 * What a program says about all of its memory: RLIMIT_AS and mlockall, before and after it has sockets. */
#include "lib.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define MIB (1ul << 20)

static void show_limit(const char *what)
{
    struct rlimit a, b, c;
    OK(getrlimit(RLIMIT_AS, &a));
    OK(prlimit(0, RLIMIT_AS, NULL, &b));
    OK(syscall(SYS_prlimit64, getpid(), RLIMIT_AS, NULL, &c));
    trace("%s: %lu and %lu MiB, by prlimit %d, by syscall %d", what, (unsigned long)a.rlim_cur / MIB, (unsigned long)a.rlim_max / MIB,
          a.rlim_cur == b.rlim_cur && a.rlim_max == b.rlim_max, a.rlim_cur == c.rlim_cur && a.rlim_max == c.rlim_max);
}

static void show_room(const char *what, size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    trace("%s: %zu MiB %s", what, bytes / MIB, p != MAP_FAILED ? "there" : errno == ENOMEM ? "ENOMEM" : "?");
    if (p != MAP_FAILED)
        OK(munmap(p, bytes));
}

static void talk(int p[2])
{
    send_text(p[0], "x");
    settle();
    show_recv("there", p[1]);
}

static void end(int p[2])
{
    OK(close(p[0]));
    OK(close(p[1]));
}

static void pair_and_end(void)
{
    int p[2];
    tcp_pair(p);
    talk(p);
    end(p);
}

static void limit_addresses(size_t soft, size_t hard)
{
    struct rlimit lim = {soft, hard}, old;
    OK(prlimit(0, RLIMIT_AS, &lim, &old));
    trace("none before %d", old.rlim_cur == RLIM_INFINITY && old.rlim_max == RLIM_INFINITY);
}

/* The child that is limited: a program cannot take a hard limit back. */
static void limited(bool before)
{
    int p[2];
    if (!before)
        tcp_pair(p);
    limit_addresses(300 * MIB, 400 * MIB);
    if (before)
        tcp_pair(p);
    show_limit("set");
    show_room("less", 100 * MIB);
    show_room("more", 350 * MIB);
    struct rlimit up = {400 * MIB, 400 * MIB}, wrong = {400 * MIB, 399 * MIB};
    OK(setrlimit(RLIMIT_AS, &up));
    R(setrlimit(RLIMIT_AS, &wrong));
    R(setrlimit(RLIMIT_AS, (void *)1));
    R(getrlimit(RLIMIT_AS, (void *)1));
    show_limit("up to the hard one");
    show_room("more", 350 * MIB);
    talk(p);
    pair_and_end();
    R(execl("/nonexistent", "nonexistent", NULL));
    show_limit("after an exec that failed");
}

static void in_child(void (*what)(bool), bool how)
{
    pid_t pid = OK(fork());
    if (pid == 0) {
        what(how);
        fflush(NULL);
        _exit(0);
    }
    int status = -1;
    OK(waitpid(pid, &status, 0));
    trace("status %d", status);
}

static void limit_before(void)
{
    in_child(limited, true);
    pair_and_end();
}

static void limit_after(void)
{
    in_child(limited, false);
    pair_and_end();
}

/* What the next program is told: by exec, by a shell that libc starts, by one that the limited shell starts. */
static void then_exec(bool with_socket)
{
    static const char tell[] = "ulimit -v; sh -c 'ulimit -v; ulimit -H -v'; (ulimit -v 250000; ulimit -v; sh -c 'ulimit -v')";
    int p[2];
    if (with_socket)
        tcp_pair(p);
    limit_addresses(300 * MIB, 400 * MIB);
    fflush(NULL);
    trace("system %d", system(tell));
    fflush(NULL);
    execl("/bin/sh", "sh", "-c", tell, NULL);
}

static void limit_exec(void)
{
    int p[2];
    tcp_pair(p);
    in_child(then_exec, true);
    in_child(then_exec, false);
    talk(p);
    end(p);
}

/* Locked memory, by /proc/self/status: all of the program's, and none of the many GiB that others may use. */
static void show_locked(const char *what)
{
    char line[256];
    unsigned long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "VmLck: %lu", &kib) == 1)
            break;
    fclose(f);
    trace("%s: locked %s", what, kib == 0 ? "nothing" : kib < 512 * 1024 ? "some" : "too much");
}

static void locked_with(int flags)
{
    int p[2], q[2];
    tcp_pair(p);
    R(mlockall(flags));
    show_locked("all");
    talk(p);
    tcp_pair(q);
    talk(q);
    show_locked("and new ones");
    pid_t pid = OK(fork());
    if (pid == 0) {
        show_locked("child");
        talk(q);
        fflush(NULL);
        _exit(0);
    }
    OK(waitpid(pid, NULL, 0));
    OK(munlockall());
    show_locked("none");
    talk(p);
    R(mlockall(0));
    R(mlockall(64));
    end(p);
    end(q);
}

static void lock_current(void)
{
    locked_with(MCL_CURRENT);
}

static void lock_future(void)
{
    locked_with(MCL_CURRENT | MCL_FUTURE);
}

static void lock_on_fault(void)
{
    locked_with(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
}

/* What is mapped later, the arena among it, is not filled either. */
static void lock_first(void)
{
    int p[2];
    R(mlockall(MCL_FUTURE));
    tcp_pair(p);
    talk(p);
    show_locked("with a connection");
    OK(munlockall());
    end(p);
}

const struct conf_case memory_cases[] = {
    {"memory_limit_before", limit_before, TCP, NULL},
    {"memory_limit_after", limit_after, TCP, NULL},
    {"memory_limit_exec", limit_exec, TCP, NULL},
    {"memory_lock_current", lock_current, TCP, NULL},
    {"memory_lock_future", lock_future, TCP, NULL},
    {"memory_lock_on_fault", lock_on_fault, TCP, NULL},
    {"memory_lock_first", lock_first, TCP, NULL},
    {0},
};
