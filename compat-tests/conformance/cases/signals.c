/* SPDX-License-Identifier: BSD-3-Clause
 * A signal during each blocking call: EINTR, or the call goes on where signal(7) says so. */
#include "lib.h"

#include <sys/select.h>

static _Atomic int caught;
static int tell_fd = -1; /* the handler writes here */

static void on_signal(int sig)
{
    int err = errno;
    (void)sig;
    caught++;
    if (tell_fd >= 0)
        write_all(tell_fd, "h", 1);
    errno = err;
}

struct poke {
    pthread_t victim;
    int times;
    int then_write; /* a descriptor, -1 none */
    int then_connect_port;
    int then_accept; /* a listener, -1 none */
};

/* Signals the thread while it blocks, then lets its call end. */
static void *poke(void *arg)
{
    struct poke *p = arg;
    for (int i = 0; i < p->times; i++) {
        msleep(80);
        pthread_kill(p->victim, SIGUSR1);
    }
    msleep(80);
    if (p->then_write >= 0)
        write_all(p->then_write, "data", 4);
    if (p->then_accept >= 0)
        OK(close(tcp_accept(p->then_accept)));
    if (p->then_connect_port != 0) {
        struct addr a;
        loopback(&a, AF_INET, p->then_connect_port);
        OK(close(tcp_connect(&a)));
    }
    return NULL;
}

/* Runs `call` while a signal comes, without and with SA_RESTART; `then` ends it if the signal did not. */
#define INTERRUPTED(flag, p_, call) \
    do { \
        struct poke pk_ = p_; \
        pk_.victim = pthread_self(); \
        handler(SIGUSR1, on_signal, flag); \
        caught = 0; \
        pthread_t t_ = thread(poke, &pk_); \
        R(call); \
        join(t_); \
        trace("signals %d", caught); \
    } while (0)
#define POKE(w) ((struct poke){.times = 1, .then_write = w, .then_accept = -1})

static void reads(void)
{
    int p[2];
    char buf[8];
    tcp_pair(p);
    struct iovec iov = {buf, 8};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    for (int flag = 0; flag <= SA_RESTART; flag += SA_RESTART) {
        trace(flag ? "SA_RESTART" : "no SA_RESTART");
        INTERRUPTED(flag, POKE(p[0]), read(p[1], buf, 8));
        drain(p[1]);
        INTERRUPTED(flag, POKE(p[0]), recv(p[1], buf, 8, 0));
        drain(p[1]);
        INTERRUPTED(flag, POKE(p[0]), readv(p[1], &iov, 1));
        drain(p[1]);
        INTERRUPTED(flag, POKE(p[0]), recvmsg(p[1], &m, 0));
        drain(p[1]);
        write_all(p[0], "ab", 2);
        INTERRUPTED(flag, POKE(p[0]), recv(p[1], buf, 6, MSG_WAITALL));
        settle();
        drain(p[1]);
    }
    struct timeval tv = {2, 0};
    OK(setsockopt(p[1], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    trace("SO_RCVTIMEO, SA_RESTART");
    INTERRUPTED(SA_RESTART, POKE(p[0]), recv(p[1], buf, 8, 0));
    OK(close(p[0]));
    OK(close(p[1]));
}

static void *drain_late(void *arg)
{
    msleep(300);
    while (drain(*(int *)arg) > 0)
        settle();
    return NULL;
}

static void writes(void)
{
    int p[2];
    static char buf[65536];
    tcp_pair(p);
    for (int flag = 0; flag <= SA_RESTART; flag += SA_RESTART) {
        do {
            fill(p[0]);
            settle();
        } while (send(p[0], buf, 1, MSG_DONTWAIT) > 0);
        pthread_t t = thread(drain_late, &p[1]);
        trace(flag ? "SA_RESTART" : "no SA_RESTART");
        INTERRUPTED(flag, POKE(-1), write(p[0], buf, 1000));
        join(t);
        settle();
        while (drain(p[1]) > 0)
            settle();
    }
    OK(close(p[0]));
    OK(close(p[1]));
}

static void accepts(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 4, &a);
    struct poke p = {.times = 1, .then_write = -1, .then_accept = -1, .then_connect_port = addr_port(&a)};
    handler(SIGUSR1, on_signal, 0);
    int c;
    INTERRUPTED(0, p, (c = accept(l, NULL, NULL)) >= 0 ? 0 : c);
    INTERRUPTED(0, p, (c = accept(l, NULL, NULL)) >= 0 ? 0 : c); /* the first one's connection */
    if (c >= 0)
        OK(close(c));
    c = accept(l, NULL, NULL);
    if (c >= 0)
        OK(close(c));
    INTERRUPTED(SA_RESTART, p, (c = accept(l, NULL, NULL)) >= 0 ? 0 : c);
    if (c >= 0)
        OK(close(c));
    OK(close(l));
}

/* A connect that waits for room in the backlog. */
static void connects(void)
{
    struct addr a;
    for (int flag = 0; flag <= SA_RESTART; flag += SA_RESTART) {
        int l = tcp_listen(AF_INET, 0, &a), first = tcp_connect(&a);
        int s = OK(socket(AF_INET, SOCK_STREAM, 0));
        struct poke p = {.times = 1, .then_write = -1, .then_accept = l};
        trace(flag ? "SA_RESTART" : "no SA_RESTART");
        INTERRUPTED(flag, p, connect(s, SA(&a), a.len));
        if (flag == 0) {
            show_poll("it goes on in the background", s, POLLOUT, 3000);
            R(connect(s, SA(&a), a.len));
            R(connect(s, SA(&a), a.len));
        }
        OK(close(tcp_accept(l)));
        OK(close(first));
        OK(close(s));
        OK(close(l));
    }
}

static void waits(void)
{
    int p[2], ep = OK(epoll_create1(0));
    struct epoll_event ev;
    struct timespec ts = {2, 0};
    tcp_pair(p);
    ep_add(ep, p[1], EPOLLIN, 1);
    struct pollfd v = {.fd = p[1], .events = POLLIN};
    for (int flag = 0; flag <= SA_RESTART; flag += SA_RESTART) {
        trace(flag ? "SA_RESTART changes nothing" : "no SA_RESTART");
        INTERRUPTED(flag, POKE(-1), epoll_wait(ep, &ev, 1, 2000));
        INTERRUPTED(flag, POKE(-1), epoll_wait(ep, &ev, 1, -1));
        INTERRUPTED(flag, POKE(-1), epoll_pwait2(ep, &ev, 1, &ts, NULL));
        INTERRUPTED(flag, POKE(-1), poll(&v, 1, 2000));
        INTERRUPTED(flag, POKE(-1), ppoll(&v, 1, &ts, NULL));
        fd_set r;
        FD_ZERO(&r);
        FD_SET(p[1], &r);
        struct timeval tv = {2, 0};
        INTERRUPTED(flag, POKE(-1), select(p[1] + 1, &r, NULL, NULL, &tv));
        FD_SET(p[1], &r);
        INTERRUPTED(flag, POKE(-1), pselect(p[1] + 1, &r, NULL, NULL, &ts, NULL));
    }
    OK(close(p[0]));
    OK(close(p[1]));
    OK(close(ep));
}

/* A blocked signal does not end a wait; one that the mask lets in does, and runs its handler before the return. */
static void masks(void)
{
    int p[2], ep = OK(epoll_create1(0));
    struct epoll_event ev;
    sigset_t block, none;
    tcp_pair(p);
    ep_add(ep, p[1], EPOLLIN, 1);
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    handler(SIGUSR1, on_signal, 0);
    OK(sigprocmask(SIG_BLOCK, &block, NULL));
    raise(SIGUSR1);
    R(epoll_wait(ep, &ev, 1, 50));
    trace("signals %d", caught);
    R(epoll_pwait(ep, &ev, 1, 2000, &none));
    trace("signals %d", caught);
    raise(SIGUSR1);
    struct pollfd v = {.fd = p[1], .events = POLLIN};
    struct timespec ts = {2, 0};
    R(ppoll(&v, 1, &ts, &none));
    trace("signals %d", caught);
    raise(SIGUSR1);
    fd_set r;
    FD_ZERO(&r);
    FD_SET(p[1], &r);
    R(pselect(p[1] + 1, &r, NULL, NULL, &ts, &none));
    trace("signals %d", caught);
    raise(SIGUSR1);
    R(epoll_pwait2(ep, &ev, 1, &ts, &none));
    trace("signals %d", caught);
    sigset_t now;
    OK(sigprocmask(SIG_SETMASK, NULL, &now));
    trace("mask is back %d", sigismember(&now, SIGUSR1));
    OK(sigprocmask(SIG_UNBLOCK, &block, NULL));
    struct poke pk = POKE(p[0]);
    pk.victim = pthread_self();
    pthread_t t = thread(poke, &pk);
    R(epoll_pwait(ep, &ev, 1, 2000, &block)); /* blocked in the wait only */
    join(t);
    trace("signals %d", caught);
    OK(close(p[0]));
    OK(close(p[1]));
    OK(close(ep));
}

static void datagrams(void)
{
    int p[2];
    char buf[8];
    udp_pair(p);
    INTERRUPTED(0, POKE(p[0]), recv(p[1], buf, 8, 0));
    R(recv(p[1], buf, 8, 0));
    INTERRUPTED(SA_RESTART, POKE(p[0]), recv(p[1], buf, 8, 0));
    struct timeval tv = {2, 0};
    OK(setsockopt(p[1], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    INTERRUPTED(SA_RESTART, POKE(p[0]), recv(p[1], buf, 8, 0));
    OK(close(p[0]));
    OK(close(p[1]));
}

/* The handler itself uses sockets. */
static void handler_writes(void)
{
    int p[2], q[2];
    char buf[8] = "";
    tcp_pair(p);
    tcp_pair(q);
    tell_fd = q[0];
    INTERRUPTED(SA_RESTART, POKE(p[0]), read(p[1], buf, 8));
    settle();
    show_recv("from the handler", q[1]);
    tell_fd = p[0]; /* the handler ends the very wait that it interrupted */
    INTERRUPTED(SA_RESTART, POKE(-1), read(p[1], buf, 8));
    tell_fd = -1;
    OK(close(p[0]));
    OK(close(p[1]));
    OK(close(q[0]));
    OK(close(q[1]));
}

const struct conf_case signals_cases[] = {
    {"signal_read", reads, TCP, NULL},
    {"signal_write", writes, TCP, NULL},
    {"signal_accept", accepts, TCP, NULL},
    {"signal_connect", connects, TCP, NULL},
    {"signal_waits", waits, TCP, NULL},
    {"signal_masks", masks, TCP, NULL},
    {"signal_udp_recv", datagrams, UDP, NULL},
    {"signal_handler_writes", handler_writes, TCP, NULL},
    {0},
};
