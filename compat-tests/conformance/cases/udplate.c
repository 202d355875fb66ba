/* SPDX-License-Identifier: BSD-3-Clause
 * UDP sockets that the engine is told of late: who waits, or holds the socket, or counts on an order, while that happens. */
#include "lib.h"

#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/time.h>

/* A server in a process of its own that answers `n` datagrams with themselves; the first `silent` ones it only takes. */
struct server {
    struct addr at;
    int fd, n, silent;
    pid_t pid;
};

static void serve(void *arg)
{
    struct server *s = arg;
    for (int i = 0; i < s->n; i++) {
        char buf[64];
        struct addr from = {.len = sizeof from.ss};
        long got = OK(recvfrom(s->fd, buf, sizeof buf, 0, SA(&from), &from.len));
        if (i >= s->silent)
            OK(sendto(s->fd, buf, (size_t)got, 0, SA(&from), from.len));
    }
}

static void server_start(struct server *s, int n, int silent)
{
    s->fd = udp_bound(AF_INET, &s->at);
    s->n = n;
    s->silent = silent;
    s->pid = child(serve, s);
    OK(close(s->fd));
}

static void ask(int fd, const struct server *s, int i)
{
    char text[16];
    int n = snprintf(text, sizeof text, "%d", i);
    CHECK(sendto(fd, text, (size_t)n, 0, SA(&s->at), s->at.len) == n);
}

/* ---- Another thread waits while the second question goes ---- */

static void wait_recv(int fd)
{
    (void)fd;
}

static void wait_poll(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK(poll(&p, 1, 3000) == 1);
}

static void wait_select(int fd)
{
    fd_set set;
    struct timeval t = {.tv_sec = 3};
    FD_ZERO(&set);
    FD_SET(fd, &set);
    CHECK(select(fd + 1, &set, NULL, NULL, &t) == 1);
}

static void wait_epoll(int fd)
{
    int ep = (int)OK(epoll_create1(0));
    struct epoll_event ev;
    ep_add(ep, fd, EPOLLIN, 1);
    CHECK(epoll_wait(ep, &ev, 1, 3000) == 1);
    OK(close(ep));
}

struct reader {
    void (*wait)(int fd);
    int fd;
};

static void *read_three(void *arg)
{
    struct reader *r = arg;
    char buf[64];
    for (int i = 0; i < 3; i++) {
        r->wait(r->fd);
        recv_text(r->fd, buf, sizeof buf, 0);
        trace("answer %s", buf);
    }
    return NULL;
}

static void other_thread(void (*wait)(int fd))
{
    struct server s;
    server_start(&s, 3, 0);
    struct reader r = {wait, (int)OK(socket(AF_INET, SOCK_DGRAM, 0))};
    ask(r.fd, &s, 1);
    pthread_t t = thread(read_three, &r);
    for (int i = 2; i <= 3; i++) {
        settle();
        ask(r.fd, &s, i);
    }
    join(t);
    OK(close(r.fd));
    reap(s.pid);
}

static void threads(void)
{
    other_thread(wait_recv);
    other_thread(wait_poll);
    other_thread(wait_select);
    other_thread(wait_epoll);
}

/* ---- It waits before the socket is bound ---- */

static void *read_one(void *arg)
{
    struct reader *r = arg;
    char buf[64];
    r->wait(r->fd);
    recv_text(r->fd, buf, sizeof buf, 0);
    trace("answer %s", buf);
    return NULL;
}

static void not_bound(void (*wait)(int fd), int how)
{
    struct server s;
    server_start(&s, 2, 0);
    struct reader r = {wait, (int)OK(socket(AF_INET, SOCK_DGRAM, 0))};
    pthread_t t = thread(read_one, &r);
    settle();
    struct addr any;
    loopback(&any, AF_INET, 0);
    if (how == 1)
        OK(bind(r.fd, SA(&any), any.len));
    if (how == 2)
        OK(connect(r.fd, SA(&s.at), s.at.len));
    ask(r.fd, &s, 1);
    join(t);
    ask(r.fd, &s, 2);
    read_one(&r);
    OK(close(r.fd));
    reap(s.pid);
}

static void threads_unbound(void)
{
    for (int how = 0; how < 3; how++) {
        not_bound(wait_recv, how);
        not_bound(wait_poll, how);
        not_bound(wait_select, how);
        not_bound(wait_epoll, how);
    }
}

/* ---- A handler asks again, and the call that it interrupted goes on ---- */

static struct {
    const struct server *server;
    int fd;
    volatile sig_atomic_t asked;
} again;

static void ask_again(int sig)
{
    (void)sig;
    if (again.asked < 3)
        ask(again.fd, again.server, ++again.asked);
}

static void handlers(void)
{
    struct server s;
    server_start(&s, 3, 2);
    char buf[64];
    struct itimerval every = {{0, 30000}, {0, 30000}}, off = {0};
    again.server = &s;
    again.fd = (int)OK(socket(AF_INET, SOCK_DGRAM, 0));
    again.asked = 1;
    handler(SIGALRM, ask_again, SA_RESTART);
    ask(again.fd, &s, 1);
    OK(setitimer(ITIMER_REAL, &every, NULL));
    recv_text(again.fd, buf, sizeof buf, 0);
    OK(setitimer(ITIMER_REAL, &off, NULL));
    trace("after %d questions: %s", (int)again.asked, buf);
    OK(close(again.fd));
    reap(s.pid);
}

/* ---- A fork tells the engine while somebody waits ---- */

static void nothing(void *arg)
{
    (void)arg;
}

static void fork_elsewhere(void (*wait)(int fd))
{
    struct server s;
    server_start(&s, 2, 1);
    struct reader r = {wait, (int)OK(socket(AF_INET, SOCK_DGRAM, 0))};
    ask(r.fd, &s, 1);
    pthread_t t = thread(read_one, &r);
    settle();
    reap(child(nothing, NULL));
    ask(r.fd, &s, 2);
    join(t);
    OK(close(r.fd));
    reap(s.pid);
}

static void fork_while_waiting(void)
{
    fork_elsewhere(wait_recv);
    fork_elsewhere(wait_poll);
    fork_elsewhere(wait_select);
    fork_elsewhere(wait_epoll);
}

static void fork_and_ask(int sig)
{
    ask_again(sig);
    reap(child(nothing, NULL));
}

static void handler_forks(void)
{
    struct server s;
    server_start(&s, 2, 1);
    char buf[64];
    struct itimerval once = {{0, 0}, {0, 30000}};
    again.server = &s;
    again.fd = (int)OK(socket(AF_INET, SOCK_DGRAM, 0));
    again.asked = 1;
    handler(SIGALRM, fork_and_ask, SA_RESTART);
    ask(again.fd, &s, 1);
    OK(setitimer(ITIMER_REAL, &once, NULL));
    recv_text(again.fd, buf, sizeof buf, 0);
    trace("answer %s", buf);
    OK(close(again.fd));
    reap(s.pid);
}

static void reads_one(void *arg)
{
    read_one(arg);
}

/* A child waits for a socket that its parent binds, which then forks again. */
static void bound_after_fork(void)
{
    struct addr any, at;
    int c = (int)OK(socket(AF_INET, SOCK_DGRAM, 0));
    struct reader r = {wait_recv, (int)OK(socket(AF_INET, SOCK_DGRAM, 0))};
    pid_t pid = child(reads_one, &r);
    settle();
    loopback(&any, AF_INET, 0);
    OK(bind(r.fd, SA(&any), any.len));
    reap(child(nothing, NULL));
    local_addr(r.fd, &at);
    OK(sendto(c, "for the child", 13, 0, SA(&at), at.len));
    reap(pid);
    OK(close(r.fd));
    OK(close(c));
}

/* ---- Order ---- */

static void show_all(const char *what, int fd, int n)
{
    char buf[64];
    int next;
    for (int i = 0; i < n; i++) {
        show_poll(what, fd, POLLIN, 3000);
        OK(ioctl(fd, FIONREAD, &next));
        trace("%d bytes", next);
        recv_text(fd, buf, sizeof buf, MSG_DONTWAIT);
        trace("%s %s", what, buf);
    }
    show_recv("no more", fd);
}

/* Many questions before the first is read, many answers before the first is looked at. */
static void order(void)
{
    struct server s = {.fd = -1};
    int c = (int)OK(socket(AF_INET, SOCK_DGRAM, 0));
    s.fd = udp_bound(AF_INET, &s.at);
    for (int i = 0; i < 6; i++)
        ask(c, &s, i * i * i);
    settle();
    char buf[64];
    for (int i = 0; i < 9; i++) {
        struct addr from = {.len = sizeof from.ss};
        if (i < 3)
            ask(c, &s, i);
        long n = OK(recvfrom(s.fd, buf, sizeof buf, 0, SA(&from), &from.len));
        trace("question %.*s", (int)n, buf);
        OK(sendto(s.fd, buf, (size_t)n, 0, SA(&from), from.len));
    }
    settle();
    show_all("answer", c, 9);
    OK(close(c));
    OK(close(s.fd));
}

/* ---- Other holders ---- */

static void asks_too(void *arg)
{
    struct reader *r = arg;
    char buf[64];
    recv_text(r->fd, buf, sizeof buf, 0);
    trace("child: %s", buf);
}

/* A socket that has asked once is shared by fork; each process gets an answer, in turn. */
static void forked(void)
{
    struct server s;
    struct reader r = {NULL, (int)OK(socket(AF_INET, SOCK_DGRAM, 0))};
    char buf[64];
    server_start(&s, 4, 0);
    ask(r.fd, &s, 1);
    recv_text(r.fd, buf, sizeof buf, 0);
    trace("parent: %s", buf);
    for (int i = 2; i < 4; i++) {
        pid_t pid = child(asks_too, &r);
        ask(r.fd, &s, i);
        reap(pid);
    }
    ask(r.fd, &s, 4);
    recv_text(r.fd, buf, sizeof buf, 0);
    trace("parent: %s", buf);
    OK(close(r.fd));
    reap(s.pid);
}

struct asker {
    const struct server *server;
    int fd;
    bool connects;
};

static void asks_twice(void *arg)
{
    struct asker *a = arg;
    if (a->connects)
        OK(connect(a->fd, SA(&a->server->at), a->server->at.len));
    ask(a->fd, a->server, 1);
    ask(a->fd, a->server, 2);
}

/* A socket that nobody has used before the fork: the child asks, the parent gets the answers. */
static void forked_unused(void)
{
    for (int i = 0; i < 2; i++) {
        struct server s;
        char buf[64];
        server_start(&s, 2, 0);
        struct asker a = {&s, (int)OK(socket(AF_INET, SOCK_DGRAM, 0)), i == 1};
        reap(child(asks_twice, &a));
        for (int n = 0; n < 2; n++) {
            show_poll("parent", a.fd, POLLIN, 3000);
            recv_text(a.fd, buf, sizeof buf, MSG_DONTWAIT);
            trace("parent: %s", buf);
        }
        OK(close(a.fd));
        reap(s.pid);
    }
}

/* Received by SCM_RIGHTS after one question; the sender's own descriptor is closed. */
static void passed(void)
{
    struct server s;
    int way[2], c = (int)OK(socket(AF_INET, SOCK_DGRAM, 0));
    char buf[64];
    server_start(&s, 3, 0);
    ask(c, &s, 1);
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, way));
    send_fd(way[0], c);
    OK(close(c));
    c = recv_fd(way[1], 0);
    ask(c, &s, 2);
    ask(c, &s, 3);
    for (int i = 0; i < 3; i++) {
        recv_text(c, buf, sizeof buf, 0);
        trace("answer %s", buf);
    }
    OK(close(c));
    OK(close(way[0]));
    OK(close(way[1]));
    reap(s.pid);
}

/* A client that asks one server after the other with one connected socket, and none. */
static void reconnected(void)
{
    struct server s[2];
    char buf[64];
    int c = (int)OK(socket(AF_INET, SOCK_DGRAM, 0));
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    for (int i = 0; i < 2; i++)
        server_start(&s[i], 3, 0);
    for (int i = 0; i < 4; i++) {
        OK(connect(c, SA(&s[i % 2].at), s[i % 2].at.len));
        send_text(c, "connected");
        recv_text(c, buf, sizeof buf, 0);
        trace("%d: %s", i, buf);
    }
    OK(connect(c, &none, sizeof none));
    R(send(c, "x", 1, 0));
    for (int i = 0; i < 2; i++) {
        ask(c, &s[i], i);
        recv_text(c, buf, sizeof buf, 0);
        trace("unconnected: %s", buf);
    }
    OK(close(c));
    for (int i = 0; i < 2; i++)
        reap(s[i].pid);
}

/* A socket for each question, of every kind. */
static void fresh(void)
{
    struct server s;
    char buf[64];
    server_start(&s, 40, 0);
    for (int i = 0; i < 40; i++) {
        int c = (int)OK(socket(AF_INET, SOCK_DGRAM, 0));
        struct addr any;
        wildcard(&any, AF_INET, 0);
        if (i & 1)
            OK(bind(c, SA(&any), any.len));
        if (i & 2)
            OK(connect(c, SA(&s.at), s.at.len));
        ask(c, &s, i);
        if (i & 4)
            wait_poll(c);
        recv_text(c, buf, sizeof buf, 0);
        CHECK(atoi(buf) == i);
        show_recv("no more", c);
        OK(close(c));
    }
    reap(s.pid);
}

const struct conf_case udplate_cases[] = {
    {"udp_late_threads", threads, UDP, NULL},
    {"udp_late_threads_unbound", threads_unbound, UDP, NULL},
    {"udp_late_fork_unused", forked_unused, KERNEL, "a socket that several processes got before it was bound receives by the kernel"},
    {"udp_late_handler", handlers, UDP, NULL},
    {"udp_late_fork_waiting", fork_while_waiting, UDP, NULL},
    {"udp_late_handler_forks", handler_forks, UDP, NULL},
    {"udp_late_bound_after_fork", bound_after_fork, KERNEL, "a socket that several processes got before it was bound receives by the kernel"},
    {"udp_late_order", order, UDP, NULL},
    {"udp_late_fork", forked, UDP, NULL},
    {"udp_late_passed", passed, UDP, NULL},
    {"udp_late_reconnected", reconnected, UDP, NULL},
    {"udp_late_fresh", fresh, UDP, NULL},
    {0},
};
