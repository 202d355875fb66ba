/* SPDX-License-Identifier: BSD-3-Clause
 * Processes: fork with connections and listeners, ends of all kinds. */
#include "lib.h"

struct tell {
    int p[2];
    int in, out; /* pipes between parent and child */
};

static void pipes(int to_child[2], int to_parent[2])
{
    OK(pipe(to_child));
    OK(pipe(to_parent));
}

static void close_all(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        OK(close(fds[i]));
}

static void echo_until_end(void *arg)
{
    int *p = arg;
    char buf[256];
    ssize_t n;
    OK(close(p[0]));
    while ((n = OK(read(p[1], buf, sizeof buf))) > 0)
        write_all(p[1], buf, (size_t)n);
}

static void child_echoes(void)
{
    int p[2];
    char buf[6] = "";
    tcp_pair(p);
    pid_t pid = child(echo_until_end, p);
    OK(close(p[1]));
    for (int i = 0; i < 3; i++) {
        send_text(p[0], "hello");
        read_exact(p[0], buf, 5);
        trace("%s", buf);
    }
    OK(shutdown(p[0], SHUT_WR));
    R(read(p[0], buf, 1));
    reap(pid);
    OK(close(p[0]));
}

static void hold(void *arg)
{
    struct tell *t = arg;
    char byte;
    OK(close(t->p[0]));
    write_all(t->out, "r", 1);
    read_exact(t->in, &byte, 1);
}

/* The end arrives only when the last holder closes. */
static void last_holder(void)
{
    int to_child[2], to_parent[2];
    char byte;
    struct tell t;
    tcp_pair(t.p);
    pipes(to_child, to_parent);
    t.in = to_child[0];
    t.out = to_parent[1];
    pid_t pid = child(hold, &t);
    read_exact(to_parent[0], &byte, 1);
    OK(close(t.p[1]));
    settle();
    show_recv("the child holds it", t.p[0]);
    write_all(to_child[1], "x", 1);
    reap(pid);
    show_poll("ended", t.p[0], POLLIN | POLLRDHUP, 2000);
    show_recv("the child ended", t.p[0]);
    OK(close(t.p[0]));
    close_all((int[]){to_child[0], to_child[1], to_parent[0], to_parent[1]}, 4);
}

static void write_many(void *arg)
{
    char block[100];
    memset(block, 'c', sizeof block);
    for (int i = 0; i < 2000; i++)
        write_all(*(int *)arg, block, sizeof block);
}

static void both_write(void)
{
    int p[2], count[2] = {0, 0}, broken = 0;
    char block[100];
    ssize_t n;
    tcp_pair(p);
    pid_t pid = child(write_many, &p[0]);
    if (fork() == 0) {
        memset(block, 'p', sizeof block);
        for (int i = 0; i < 2000; i++)
            write_all(p[0], block, sizeof block);
        _exit(0);
    }
    OK(close(p[0]));
    while ((n = recv(p[1], block, sizeof block, MSG_WAITALL)) == sizeof block) {
        for (size_t i = 1; i < sizeof block; i++)
            broken += block[i] != block[0];
        count[block[0] == 'p']++;
    }
    trace("blocks %d %d, mixed up %d, then %zd", count[0], count[1], broken, n);
    reap(pid);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    OK(close(p[1]));
}

static void read_some(void *arg)
{
    struct tell *t = arg;
    char buf[10];
    long sum = 0;
    OK(close(t->p[0]));
    while (recv(t->p[1], buf, sizeof buf, MSG_WAITALL) == sizeof buf)
        sum++;
    write_all(t->out, &sum, sizeof sum);
}

/* Several processes read one connection: each record goes to one of them. */
static void both_read(void)
{
    int to_child[2], to_parent[2];
    struct tell t;
    long sum = 0, part;
    tcp_pair(t.p);
    pipes(to_child, to_parent);
    t.out = to_parent[1];
    pid_t pid[2] = {child(read_some, &t), child(read_some, &t)};
    OK(close(t.p[1]));
    for (int i = 0; i < 1000; i++)
        send_text(t.p[0], "0123456789");
    OK(shutdown(t.p[0], SHUT_WR));
    for (int i = 0; i < 2; i++) {
        reap(pid[i]);
        read_exact(to_parent[0], &part, sizeof part);
        sum += part;
    }
    trace("records %ld", sum);
    OK(close(t.p[0]));
    close_all((int[]){to_child[0], to_child[1], to_parent[0], to_parent[1]}, 4);
}

static void serve(void *arg)
{
    int l = *(int *)arg;
    for (;;) {
        char byte;
        int c = tcp_accept(l);
        read_exact(c, &byte, 1);
        write_all(c, &byte, 1);
        OK(close(c));
        if (byte == 'q')
            return;
    }
}

static void prefork(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 32, &a), good = 0;
    pid_t pid[3];
    char byte;
    for (int i = 0; i < 3; i++)
        pid[i] = child(serve, &l);
    OK(close(l));
    for (int i = 0; i < 63; i++) {
        int s = tcp_connect(&a);
        write_all(s, i < 60 ? "x" : "q", 1);
        read_exact(s, &byte, 1);
        good += byte == (i < 60 ? 'x' : 'q') && read(s, &byte, 1) == 0;
        OK(close(s));
    }
    trace("served %d", good);
    for (int i = 0; i < 3; i++)
        reap(pid[i]);
    settle();
    int s = OK(socket(AF_INET, SOCK_STREAM, 0));
    R(connect(s, SA(&a), a.len));
    OK(close(s));
}

struct end {
    int *p;
    int sig;
    bool unread;
};

static void just_end(void *arg)
{
    struct end *e = arg;
    OK(close(e->p[0]));
    write_all(e->p[1], "ready", 5);
    if (e->sig == 0)
        _exit(7);
    for (;;)
        pause();
}

static void end_of_child(int sig, bool unread)
{
    int p[2];
    char buf[8] = "";
    tcp_pair(p);
    struct end e = {p, sig, unread};
    pid_t pid = child(just_end, &e);
    OK(close(p[1]));
    read_exact(p[0], buf, 5);
    if (unread)
        send(p[0], "unread", 6, MSG_NOSIGNAL);
    settle();
    if (sig != 0)
        OK(kill(pid, sig));
    reap(pid);
    show_poll("ended", p[0], POLLIN | POLLRDHUP, 2000);
    show_recv("read", p[0]);
    show_recv("read again", p[0]);
    OK(close(p[0]));
}

static void exits(void)
{
    end_of_child(0, false);
}

static void killed(void)
{
    end_of_child(SIGKILL, false);
}

static void killed_unread(void)
{
    end_of_child(SIGKILL, true);
}

static void kept_by_parent(void)
{
    int p[2];
    char buf[8] = "";
    tcp_pair(p);
    struct end e = {p, SIGKILL, false};
    pid_t pid = child(just_end, &e);
    read_exact(p[0], buf, 5);
    OK(kill(pid, SIGKILL));
    reap(pid);
    settle();
    show_recv("the parent still holds it", p[0]);
    send_text(p[1], "from the parent");
    settle();
    show_recv("read", p[0]);
    close_all(p, 2);
}

static void connect_and_die(void *arg)
{
    struct addr *a = arg;
    int s = tcp_connect(a);
    send_text(s, "from the child");
    raise(SIGKILL);
}

static void listener_sees_death(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 4, &a);
    pid_t pid = child(connect_and_die, &a);
    int c = tcp_accept(l);
    reap(pid);
    msleep(100);
    show_recv("read", c);
    show_recv("read", c);
    OK(close(c));
    OK(close(l));
}

static void deeper(void *arg)
{
    struct tell *t = arg;
    reap(child(echo_until_end, t->p));
}

/* A grandchild serves; the child between only waits. */
static void grandchild(void)
{
    struct tell t;
    char buf[6] = "";
    tcp_pair(t.p);
    pid_t pid = child(deeper, &t);
    OK(close(t.p[1]));
    send_text(t.p[0], "hello");
    read_exact(t.p[0], buf, 5);
    trace("%s", buf);
    OK(shutdown(t.p[0], SHUT_WR));
    reap(pid);
    settle();
    show_recv("end", t.p[0]);
    OK(close(t.p[0]));
}

const struct conf_case procs_cases[] = {
    {"fork_child_echoes", child_echoes, TCP, NULL},
    {"fork_last_holder", last_holder, TCP, NULL},
    {"fork_both_write", both_write, TCP, NULL},
    {"fork_both_read", both_read, TCP, NULL},
    {"fork_prefork_accept", prefork, TCP, NULL},
    {"fork_child_exits", exits, TCP, NULL},
    {"fork_child_killed", killed, TCP, NULL},
    {"fork_child_killed_unread", killed_unread, TCP, NULL},
    {"fork_killed_parent_holds", kept_by_parent, TCP, NULL},
    {"fork_client_killed", listener_sees_death, TCP, NULL},
    {"fork_grandchild", grandchild, TCP, NULL},
    {0},
};
