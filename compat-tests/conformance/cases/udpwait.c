/* SPDX-License-Identifier: BSD-3-Clause
 * UDP sockets that the engine is told of late, or not: threads and calls below a handler that wait meanwhile. */
#include "udpserver.h"

#include <limits.h>
#include <sys/select.h>
#include <sys/time.h>

/* ---- Another thread waits while the second question goes ---- */

static void wait_recv(int fd)
{
    (void)fd;
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

static void (*const waits[])(int fd) = {wait_recv, wait_poll, wait_select, wait_epoll};

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
    for (size_t i = 0; i < COUNT(waits); i++)
        other_thread(waits[i]);
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
    for (int how = 0; how < 3; how++)
        for (size_t i = 0; i < COUNT(waits); i++)
            not_bound(waits[i], how);
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
    for (size_t i = 0; i < COUNT(waits); i++)
        fork_elsewhere(waits[i]);
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

/* ---- What ends, or changes, a wait ---- */

static void *recv_once(void *arg)
{
    char buf[64];
    R(recv(*(int *)arg, buf, sizeof buf, 0));
    return NULL;
}

/* An unconnected socket is shut down all the same, and who waits for it hears of it. */
static void shut_while_waiting(void)
{
    for (int bound = 0; bound < 2; bound++) {
        struct addr at;
        int fd = bound ? udp_bound(AF_INET, &at) : (int)OK(socket(AF_INET, SOCK_DGRAM, 0));
        for (int i = 0; i < 3 && bound; i++) {
            R(sendto(fd, "x", 1, 0, SA(&at), at.len));
            recv_once(&fd);
        }
        pthread_t t = thread(recv_once, &fd);
        settle();
        int r = shutdown(fd, SHUT_RDWR), err = errno;
        join(t); /* before anything is said: either may be first */
        trace("shutdown = %d %s", r, err_name(err));
        OK(close(fd));
    }
}

/* A thread waits while the socket loses its port with its connection, and gets another. */
static void port_lost_while_waiting(void)
{
    struct server s;
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    server_start(&s, 6, 0);
    struct reader r = {wait_recv, (int)OK(socket(AF_INET, SOCK_DGRAM, 0))};
    pthread_t t = thread(read_three, &r);
    for (int i = 1; i <= 3; i++)
        ask(r.fd, &s, i);
    join(t);
    t = thread(read_three, &r);
    settle();
    OK(connect(r.fd, SA(&s.at), s.at.len));
    OK(connect(r.fd, &none, sizeof none));
    for (int i = 4; i <= 6; i++)
        ask(r.fd, &s, i);
    join(t);
    OK(close(r.fd));
    reap(s.pid);
}

static void long_timeouts(void)
{
    const time_t secs[] = {LONG_MAX, 20000000000, 0};
    for (int i = 0; i < 3; i++) {
        struct addr at;
        struct timeval t = {.tv_sec = secs[i], .tv_usec = i == 2 ? 20000 : 0};
        int fd = udp_bound(AF_INET, &at);
        R(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
        struct mmsghdr m = {.msg_hdr = {.msg_iovlen = 0}};
        struct timespec left = {.tv_sec = 5};
        R(sendto(fd, "x", 1, 0, SA(&at), at.len));
        R(recvmmsg(fd, &m, 1, 0, &left));
        trace("time is left: %d", left.tv_sec == 4 && left.tv_nsec > 0);
        pthread_t waits = thread(recv_once, &fd);
        settle();
        if (i < 2)
            CHECK(sendto(fd, "y", 1, 0, SA(&at), at.len) == 1);
        join(waits);
        OK(close(fd));
    }
}

const struct conf_case udpwait_cases[] = {
    {"udp_late_threads", threads, UDP, NULL},
    {"udp_late_threads_unbound", threads_unbound, UDP, NULL},
    {"udp_late_handler", handlers, UDP, NULL},
    {"udp_late_fork_waiting", fork_while_waiting, UDP, NULL},
    {"udp_late_handler_forks", handler_forks, UDP, NULL},
    {"udp_late_bound_after_fork", bound_after_fork, KERNEL, "a socket that several processes got before it was bound receives by the kernel"},
    {"udp_late_shut_waiting", shut_while_waiting, UDP, NULL},
    {"udp_late_port_lost", port_lost_while_waiting, UDP, NULL},
    {"udp_late_timeouts", long_timeouts, UDP, NULL},
    {0},
};
