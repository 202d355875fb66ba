/* SPDX-License-Identifier: BSD-3-Clause
 * UDP sockets that the engine is told of late: who holds the socket, or counts on an order, while that happens. */
#include "udpserver.h"

#include <sys/ioctl.h>

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
    {"udp_late_fork_unused", forked_unused, KERNEL, "a socket that several processes got before it was bound receives by the kernel"},
    {"udp_late_order", order, UDP, NULL},
    {"udp_late_fork", forked, UDP, NULL},
    {"udp_late_passed", passed, UDP, NULL},
    {"udp_late_reconnected", reconnected, UDP, NULL},
    {"udp_late_fresh", fresh, UDP, NULL},
    {0},
};
