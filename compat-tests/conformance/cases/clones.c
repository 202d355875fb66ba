/* SPDX-License-Identifier: BSD-3-Clause
 * Processes that are made by clone(2) itself, as a function of the C library and as a system call. */
#include "lib.h"

#include <sched.h>
#include <sys/syscall.h>

#define STACK (256 * 1024)

static pid_t clone_of(int (*fn)(void *), int flags, void *arg)
{
    static char *stack;
    if (stack == NULL)
        CHECK((stack = malloc(STACK)) != NULL);
    return OK(clone(fn, stack + STACK, flags | SIGCHLD, arg));
}

static int echo(void *arg)
{
    int *p = arg;
    char buf[64];
    ssize_t n;
    OK(close(p[0]));
    while ((n = OK(read(p[1], buf, sizeof buf))) > 0)
        write_all(p[1], buf, (size_t)n);
    return 0;
}

static void talk(int fd)
{
    char buf[6] = "";
    for (int i = 0; i < 2; i++) {
        send_text(fd, "hello");
        read_exact(fd, buf, 5);
        trace("%s", buf);
    }
}

/* As fork, by another name: the connection lives until its last holder closes. */
static void as_fork(void)
{
    int p[2];
    char byte;
    tcp_pair(p);
    pid_t pid = clone_of(echo, 0, p);
    OK(close(p[1]));
    talk(p[0]);
    OK(shutdown(p[0], SHUT_WR));
    reap(pid);
    R(read(p[0], &byte, 1));
    OK(close(p[0]));
}

static int hold(void *arg)
{
    int *fds = arg;
    char byte;
    OK(close(fds[0]));
    read_exact(fds[2], &byte, 1);
    return 0;
}

static void last_holder(void)
{
    int fds[4]; /* the connection, a pipe */
    tcp_pair(fds);
    OK(pipe(fds + 2));
    pid_t pid = clone_of(hold, 0, fds);
    OK(close(fds[1]));
    settle();
    show_recv("the child holds it", fds[0]);
    write_all(fds[3], "x", 1);
    reap(pid);
    show_poll("ended", fds[0], POLLIN | POLLRDHUP, 2000);
    show_recv("ended", fds[0]);
    for (int i = 0; i < 4; i++)
        if (i != 1)
            OK(close(fds[i]));
}

static int use_shared(void *arg)
{
    int *p = arg;
    char buf[6] = "";
    read_exact(p[1], buf, 5);
    write_all(p[1], buf, 5);
    return 0;
}

/* One table of descriptors, two memories: what the child uses is the parent's, and stays open when it ends. */
static void files_shared(void)
{
    int p[2];
    char buf[6] = "";
    tcp_pair(p);
    for (int i = 0; i < 2; i++) {
        pid_t pid = clone_of(use_shared, CLONE_FILES, p);
        send_text(p[0], "hello");
        read_exact(p[0], buf, 5);
        trace("%s", buf);
        reap(pid);
    }
    send_text(p[1], "the parent");
    show_poll("peer", p[0], POLLIN, 2000);
    show_recv("peer", p[0]);
    OK(close(p[1]));
    show_poll("end", p[0], POLLIN | POLLRDHUP, 2000);
    show_recv("end", p[0]);
    OK(close(p[0]));
}

static int exec_echo(void *arg)
{
    int *p = arg;
    char number[16];
    char *args[] = {"conformance", "--inherited", "echo", number, NULL};
    snprintf(number, sizeof number, "%d", p[1]);
    execv(self_path, args);
    _exit(99);
}

/* The child runs on our memory until it execs, as with vfork. */
static void as_vfork(void)
{
    int p[2];
    char byte;
    tcp_pair(p);
    OK(fcntl(p[0], F_SETFD, FD_CLOEXEC));
    pid_t pid = clone_of(exec_echo, CLONE_VM | CLONE_VFORK, p);
    OK(close(p[1]));
    talk(p[0]);
    OK(shutdown(p[0], SHUT_WR));
    R(read(p[0], &byte, 1));
    reap(pid);
    OK(close(p[0]));
}

static void by_number(long number, long flags)
{
    int p[2];
    char byte;
    tcp_pair(p);
    pid_t pid = (pid_t)syscall(number, flags, 0, 0, 0, 0);
    if (pid == 0)
        _exit(echo(p));
    OK(pid);
    OK(close(p[1]));
    talk(p[0]);
    OK(shutdown(p[0], SHUT_WR));
    reap(pid);
    R(read(p[0], &byte, 1));
    OK(close(p[0]));
}

static void by_syscall(void)
{
    by_number(SYS_clone, SIGCHLD);
    by_number(SYS_fork, 0);
}

static void new_connection(void)
{
    int p[2];
    char byte;
    struct addr a;
    tcp_pair(p);
    int l = tcp_listen(AF_INET, 4, &a);
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        int s = tcp_connect(&a);
        send_text(s, "from the child");
        _exit(0);
    }
    int c = tcp_accept(l);
    char buf[32] = "";
    read_exact(c, buf, 14);
    trace("%s", buf);
    R(read(c, &byte, 1));
    reap(pid);
    int fds[] = {c, l, p[0], p[1]};
    for (size_t i = 0; i < COUNT(fds); i++)
        OK(close(fds[i]));
}

static void show_text(const char *what, int fd, size_t n)
{
    char buf[32] = "";
    CHECK(n < sizeof buf);
    read_exact(fd, buf, n);
    trace("%s: %s", what, buf);
}

struct away {
    int p[2], u[2]; /* inherited; by which another is sent */
    const struct addr *listener;
    bool by_unshare;
};

/* In a network namespace of its own: what it has and is sent goes on, nobody listens there. */
static int away(void *arg)
{
    struct away *w = arg;
    int got, s;
    char byte;
    if (w->by_unshare)
        OK(unshare(CLONE_NEWNET));
    OK(close(w->p[0]));
    send_text(w->p[1], "from far");
    got = recv_fd(w->u[1], 0);
    send_text(got, "with this");
    show_text("sent to it", got, 4);
    s = OK(socket(AF_INET, SOCK_STREAM, 0));
    trace("loopback is down there: %d", connect(s, SA(w->listener), w->listener->len) < 0);
    OK(close(s));
    R(read(w->p[1], &byte, 1));
    return 0;
}

static void other_namespace(bool by_unshare, bool by_syscall)
{
    struct away w = {.by_unshare = by_unshare};
    struct addr a;
    int q[2];
    tcp_pair(w.p);
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, w.u));
    int l = tcp_listen(AF_INET, 4, &a);
    w.listener = &a;
    int flags = by_unshare ? 0 : CLONE_NEWNET;
    pid_t pid = by_syscall ? (pid_t)OK(syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0)) : clone_of(away, flags, &w);
    if (pid == 0)
        _exit(away(&w));
    OK(close(w.p[1]));
    show_text("inherited", w.p[0], 8);
    tcp_pair(q);
    send_fd(w.u[0], q[1]);
    OK(close(q[1]));
    show_text("sent", q[0], 9);
    send_text(q[0], "back");
    OK(close(w.p[0]));
    reap(pid);
    show_poll("its end", q[0], POLLIN | POLLRDHUP, 2000);
    show_recv("its end", q[0]);
    int fds[] = {q[0], w.u[0], w.u[1], l};
    for (size_t i = 0; i < COUNT(fds); i++)
        OK(close(fds[i]));
}

static void namespace_of_clone(void)
{
    other_namespace(false, false);
}

static void namespace_of_syscall(void)
{
    other_namespace(false, true);
}

static void namespace_of_unshare(void)
{
    other_namespace(true, false);
}

/* A vfork child has its parent's memory, not its namespace. */
static void namespace_of_vfork(void)
{
    int p[2];
    tcp_pair(p);
    OK(close(p[0]));
    OK(close(p[1]));
    pid_t pid = vfork();
    if (pid == 0)
        _exit(unshare(CLONE_NEWNET) == 0 ? 0 : 1);
    reap(pid);
    tcp_pair(p);
    send_text(p[0], "still here");
    show_text("received", p[1], 10);
    OK(close(p[0]));
    OK(close(p[1]));
}

const struct conf_case clones_cases[] = {
    {"clone_as_fork", as_fork, TCP, NULL},
    {"clone_last_holder", last_holder, TCP, NULL},
    {"clone_files", files_shared, TCP, NULL},
    {"clone_as_vfork", as_vfork, TCP, NULL},
    {"clone_by_syscall", by_syscall, TCP, NULL},
    {"clone_new_connection", new_connection, TCP, NULL},
    {"clone_namespace", namespace_of_clone, TCP, NULL},
    {"clone_namespace_syscall", namespace_of_syscall, TCP, NULL},
    {"clone_namespace_unshare", namespace_of_unshare, TCP, NULL},
    {"clone_namespace_vfork", namespace_of_vfork, TCP, NULL},
    {0},
};
