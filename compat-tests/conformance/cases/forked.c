/* SPDX-License-Identifier: BSD-3-Clause
 * The first call of a forked child on what it inherited: one that has to wait, or one that brings a socket. */
#include "lib.h"

#include <sys/select.h>
#include <sys/wait.h>

struct first {
    int p[2];
    struct addr peer;
    enum { FIRST_SELECT, FIRST_POLL_SET, FIRST_RIGHTS } call;
    int set, unix_end;
};

static int wait_readable(const struct first *f)
{
    fd_set set;
    FD_ZERO(&set);
    if (f->call == FIRST_SELECT) {
        FD_SET(f->p[1], &set);
        return (int)OK(select(f->p[1] + 1, &set, NULL, NULL, NULL));
    }
    struct pollfd p = {.fd = f->set, .events = POLLIN};
    return (int)OK(poll(&p, 1, -1));
}

/* After its first call it uses what it inherited, and a connection of its own. */
static void child_of_first(void *arg)
{
    struct first *f = arg;
    char buf[6] = "";
    int from = f->p[1];
    if (f->call == FIRST_RIGHTS)
        from = recv_fd(f->unix_end, 0);
    else
        CHECK(wait_readable(f) == 1);
    read_exact(from, buf, 5);
    write_all(f->p[1], buf, 5);
    int c = tcp_connect(&f->peer);
    write_all(c, buf, 5);
    OK(close(c));
}

static void first_call(int call)
{
    struct first f = {.call = call};
    int l = tcp_listen(AF_INET, 8, &f.peer), u[2];
    char buf[6] = "";
    tcp_pair(f.p);
    f.set = OK(epoll_create1(0));
    ep_add(f.set, f.p[1], EPOLLIN, 1);
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, u));
    f.unix_end = u[1];
    pid_t pid = child(child_of_first, &f);
    settle(); /* the child waits */
    if (call == FIRST_RIGHTS)
        send_fd(u[0], f.p[1]);
    send_text(f.p[0], "hello");
    read_exact(f.p[0], buf, 5);
    trace("%s", buf);
    int a = tcp_accept(l);
    read_exact(a, buf, 5);
    trace("%s", buf);
    reap(pid);
    show_recv("its connection", a);
    OK(close(a));
    OK(close(f.p[1]));
    settle();
    show_recv("end", f.p[0]);
    for (size_t i = 0; i < COUNT(u); i++)
        OK(close(u[i]));
    OK(close(f.set));
    OK(close(f.p[0]));
    OK(close(l));
}

static void first_select(void)
{
    first_call(FIRST_SELECT);
}

static void first_poll_set(void)
{
    first_call(FIRST_POLL_SET);
}

static void first_rights(void)
{
    first_call(FIRST_RIGHTS);
}

/* ---- Threads that fork for each connection, while others close theirs ---- */

enum { FORKING = 4, CLIENTS = 6, EACH = 40 };

static void answers(void *arg)
{
    write_all(*(const int *)arg, "0123456789", 10);
}

static void *serve_by_forks(void *arg)
{
    const int *listener = arg;
    for (int i = 0; i < CLIENTS * EACH / FORKING; i++) {
        int c = tcp_accept(*listener);
        pid_t pid = child(answers, &c);
        OK(close(c));
        while (waitpid(pid, NULL, 0) < 0)
            CHECK(errno == EINTR);
    }
    return NULL;
}

/* Each answer is followed by the end of the stream. */
static void reads_to_the_end(void *arg)
{
    for (int i = 0; i < EACH; i++) {
        char buf[16];
        ssize_t got = 0, n;
        int c = tcp_connect(arg);
        while ((n = OK(recv(c, buf, sizeof buf, 0))) > 0)
            got += n;
        CHECK(got == 10);
        OK(close(c));
    }
}

static void forking_threads(void)
{
    struct addr at;
    pthread_t server[FORKING];
    pid_t client[CLIENTS];
    int l = tcp_listen(AF_INET, 64, &at);
    for (int i = 0; i < CLIENTS; i++)
        client[i] = child(reads_to_the_end, &at);
    for (int i = 0; i < FORKING; i++)
        server[i] = thread(serve_by_forks, &l);
    for (int i = 0; i < FORKING; i++)
        join(server[i]);
    for (int i = 0; i < CLIENTS; i++)
        reap(client[i]);
    OK(close(l));
}

const struct conf_case forked_cases[] = {
    {"fork_by_threads", forking_threads, TCP, NULL},
    {"fork_first_select", first_select, TCP, NULL},
    {"fork_first_poll_set", first_poll_set, TCP, NULL},
    {"fork_first_rights", first_rights, TCP, NULL},
    {0},
};
