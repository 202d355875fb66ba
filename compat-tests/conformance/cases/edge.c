/* SPDX-License-Identifier: BSD-3-Clause
 * epoll: edges, one shot, exclusive. */
#include "lib.h"

#include <sched.h>

#define ALL (EPOLLIN | EPOLLOUT | EPOLLRDHUP)

static void end(int p[2], int ep)
{
    OK(close(p[0]));
    OK(close(p[1]));
    OK(close(ep));
}

static void arrivals(void)
{
    int p[2], ep = OK(epoll_create1(0));
    char buf[2];
    tcp_pair(p);
    ep_add(ep, p[1], ALL | EPOLLET, 1);
    show_epoll("added", ep, 0);
    show_epoll("no news", ep, 0);
    send_text(p[0], "abc");
    settle();
    show_epoll("data", ep, 0);
    show_epoll("no news", ep, 0);
    send_text(p[0], "def");
    settle();
    show_epoll("more, the first unread", ep, 0);
    read_exact(p[1], buf, 2);
    show_epoll("a part was read", ep, 0);
    drain(p[1]);
    show_epoll("all was read", ep, 0);
    ep_mod(ep, p[1], ALL | EPOLLET, 1);
    show_epoll("modified", ep, 0);
    show_epoll("no news", ep, 0);
    OK(shutdown(p[0], SHUT_WR));
    settle();
    show_epoll("the end", ep, 0);
    show_epoll("no news", ep, 0);
    OK(close(p[0]));
    settle();
    OK(close(p[1]));
    OK(close(ep));
}

static void in_only(void)
{
    int p[2], ep = OK(epoll_create1(0));
    tcp_pair(p);
    send_text(p[0], "before");
    settle();
    ep_add(ep, p[1], EPOLLIN | EPOLLET, 1);
    show_epoll("added with data", ep, 0);
    show_epoll("no news", ep, 0);
    send_text(p[1], "own write");
    settle();
    show_epoll("no news", ep, 0);
    drain(p[0]);
    settle();
    show_epoll("the peer read", ep, 0);
    drain(p[1]);
    send_text(p[0], "a");
    settle();
    show_epoll("data", ep, 0);
    for (int i = 0; i < 3; i++)
        send_text(p[0], "b");
    settle();
    show_epoll("three writes, one event", ep, 0);
    show_epoll("no news", ep, 0);
    OK(close(p[0]));
    settle();
    show_epoll("closed", ep, 0);
    show_epoll("no news", ep, 0);
    OK(close(p[1]));
    OK(close(ep));
}

static void out_edge(void)
{
    int p[2], ep = OK(epoll_create1(0));
    tcp_pair(p);
    ep_add(ep, p[0], EPOLLOUT | EPOLLET, 1);
    show_epoll("added", ep, 0);
    show_epoll("no news", ep, 0);
    send_text(p[0], "small");
    settle();
    drain(p[1]);
    settle();
    show_epoll("read at once: never short", ep, 0);
    fill(p[0]);
    settle();
    fill(p[0]);
    show_epoll("full", ep, 0);
    while (drain(p[1]) > 0)
        settle();
    show_epoll("drained", ep, 1000);
    show_epoll("no news", ep, 0);
    end(p, ep);
}

static void one_shot(void)
{
    int p[2], ep = OK(epoll_create1(0));
    tcp_pair(p);
    ep_add(ep, p[1], EPOLLIN | EPOLLONESHOT, 1);
    send_text(p[0], "a");
    show_epoll("first", ep, 1000);
    send_text(p[0], "b");
    settle();
    show_epoll("disarmed", ep, 0);
    ep_mod(ep, p[1], EPOLLIN | EPOLLONESHOT, 1);
    show_epoll("armed, data waits", ep, 0);
    drain(p[1]);
    ep_mod(ep, p[1], EPOLLIN | EPOLLONESHOT, 1);
    show_epoll("armed, empty", ep, 0);
    send_text(p[0], "c");
    show_epoll("data", ep, 1000);
    OK(close(p[0]));
    settle();
    show_epoll("disarmed, closed", ep, 0);
    ep_mod(ep, p[1], ALL | EPOLLONESHOT | EPOLLET, 1);
    show_epoll("armed", ep, 0);
    show_epoll("disarmed", ep, 0);
    OK(close(p[1]));
    OK(close(ep));
}

static void listener_edge(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 8, &a), ep = OK(epoll_create1(0)), s[3], c[3];
    set_nonblock(l, true);
    ep_add(ep, l, EPOLLIN | EPOLLET, 1);
    show_epoll("added", ep, 0);
    s[0] = tcp_connect(&a);
    settle();
    show_epoll("one", ep, 0);
    show_epoll("no news", ep, 0);
    s[1] = tcp_connect(&a);
    s[2] = tcp_connect(&a);
    settle();
    show_epoll("two more", ep, 0);
    for (int i = 0; i < 3; i++)
        c[i] = tcp_accept(l);
    R(accept(l, NULL, NULL));
    show_epoll("no news", ep, 0);
    for (int i = 0; i < 3; i++) {
        OK(close(s[i]));
        OK(close(c[i]));
    }
    OK(close(l));
    OK(close(ep));
}

static void connect_edge(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 8, &a), ep = OK(epoll_create1(0));
    int s = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    ep_add(ep, s, ALL | EPOLLET, 1);
    show_epoll("fresh", ep, 0);
    show_epoll("no news", ep, 0);
    R(connect(s, SA(&a), a.len));
    count_connect();
    show_epoll("connected", ep, 1000);
    show_epoll("no news", ep, 0);
    int c = tcp_accept(l);
    send_text(c, "x");
    settle();
    show_epoll("data", ep, 0);
    OK(close(s));
    OK(close(c));
    OK(close(l));
    OK(close(ep));
}

struct worker {
    int ep, listener;
    _Atomic int *taken;
    _Atomic bool *stop;
};

static void take(const struct worker *w)
{
    struct epoll_event ev;
    while (!*w->stop) {
        int n = epoll_wait(w->ep, &ev, 1, 50);
        if (n <= 0)
            continue;
        int c = accept4(w->listener, NULL, NULL, SOCK_NONBLOCK);
        if (c >= 0) {
            ++*w->taken;
            OK(close(c));
        }
    }
}

static void *take_thread(void *arg)
{
    take(arg);
    return NULL;
}

/* Several threads wait on one set; no connection may be lost, whoever is woken. */
static void threads_one_set(void)
{
    struct addr a;
    _Atomic int taken = 0;
    _Atomic bool stop = false;
    int l = tcp_listen(AF_INET, 64, &a), ep = OK(epoll_create1(0));
    struct worker w = {ep, l, &taken, &stop};
    pthread_t t[4];
    set_nonblock(l, true);
    ep_add(ep, l, EPOLLIN, 1);
    for (int i = 0; i < 4; i++)
        t[i] = thread(take_thread, &w);
    int s[100];
    for (int i = 0; i < 100; i++)
        s[i] = tcp_connect(&a);
    for (int i = 0; i < 200 && taken < 100; i++)
        msleep(10);
    stop = true;
    for (int i = 0; i < 4; i++)
        join(t[i]);
    trace("taken %d", taken);
    for (int i = 0; i < 100; i++)
        OK(close(s[i]));
    OK(close(l));
    OK(close(ep));
}

struct shared {
    int listener;
    int report;
};

static void exclusive_child(void *arg)
{
    struct shared *sh = arg;
    struct epoll_event ev;
    int ep = OK(epoll_create1(0));
    ep_add(ep, sh->listener, EPOLLIN | EPOLLEXCLUSIVE, 1);
    write_all(sh->report, "r", 1);
    for (;;) {
        CHECK(epoll_wait(ep, &ev, 1, 5000) >= 0);
        int c = accept4(sh->listener, NULL, NULL, SOCK_NONBLOCK);
        char what = 0;
        if (c < 0)
            continue;
        set_nonblock(c, false);
        if (read(c, &what, 1) == 1 && what == 'q')
            break;
        OK(close(c));
        write_all(sh->report, "c", 1);
    }
}

static void exclusive(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 64, &a), pipefd[2], count = 0;
    char byte;
    set_nonblock(l, true);
    OK(pipe(pipefd));
    struct shared sh = {l, pipefd[1]};
    pid_t pid[2] = {child(exclusive_child, &sh), child(exclusive_child, &sh)};
    read_exact(pipefd[0], &byte, 1);
    read_exact(pipefd[0], &byte, 1);
    for (int i = 0; i < 20; i++) {
        int s = tcp_connect(&a);
        send_text(s, "x");
        struct pollfd p = {.fd = pipefd[0], .events = POLLIN};
        if (poll(&p, 1, 3000) == 1) {
            read_exact(pipefd[0], &byte, 1);
            count++;
        }
        OK(close(s));
    }
    trace("served %d", count);
    for (int i = 0; i < 2; i++) {
        int s = tcp_connect(&a);
        send_text(s, "q");
        show_poll("quit", s, POLLIN, 3000);
        OK(close(s));
    }
    reap(pid[0]);
    reap(pid[1]);
    OK(close(l));
    OK(close(pipefd[0]));
    OK(close(pipefd[1]));
}

/* Writes by splice until it does not fit; 0 left in the pipe. */
static int splice_until_full(int pipefd[2], int fd)
{
    static const char chunk[16384];
    int left = 0;
    for (;;) {
        if (left == 0)
            left = (int)OK(write(pipefd[1], chunk, sizeof chunk));
        ssize_t n = splice(pipefd[0], NULL, fd, NULL, (size_t)left, SPLICE_F_NONBLOCK);
        if (n < 0) {
            CHECK(errno == EAGAIN);
            return left;
        }
        left -= (int)n;
    }
}

/* A splice that did not fit is followed by an edge, as any write. */
static void room_for_splice(void)
{
    int p[2], pipefd[2], ep = OK(epoll_create1(0));
    char buf[65536];
    tcp_pair(p);
    set_nonblock(p[0], true);
    OK(pipe2(pipefd, O_NONBLOCK));
    ep_add(ep, p[0], ALL | EPOLLET, 1);
    show_epoll("added", ep, 0);
    for (int i = 0; i < 3; i++) {
        int left = splice_until_full(pipefd, p[0]);
        show_epoll("full", ep, 0);
        drain(p[1]);
        show_epoll("all was read", ep, 2000);
        while (left > 0)
            left -= (int)OK(splice(pipefd[0], NULL, p[0], NULL, (size_t)left, SPLICE_F_NONBLOCK));
        CHECK(read(pipefd[0], buf, sizeof buf) < 0);
        drain(p[1]);
    }
    OK(close(pipefd[0]));
    OK(close(pipefd[1]));
    end(p, ep);
}

static struct {
    int p[2], ep;
    _Atomic int edges; /* that there is room */
    _Atomic bool over;
} both;

static void *reads_all(void *arg)
{
    char buf[65536];
    while (read(both.p[1], buf, sizeof buf) > 0)
        ;
    return arg;
}

static void *waits_for_room(void *arg)
{
    struct epoll_event ev;
    while (!both.over)
        if (epoll_wait(both.ep, &ev, 1, 100) == 1 && (ev.events & EPOLLOUT))
            atomic_fetch_add(&both.edges, 1);
    return arg;
}

/* One thread writes, another waits in epoll_wait: the edge comes whichever is first. */
static void room_for_another(void)
{
    static const char chunk[65536];
    int stuck = 0;
    tcp_pair(both.p);
    both.ep = OK(epoll_create1(0));
    set_nonblock(both.p[0], true);
    ep_add(both.ep, both.p[0], ALL | EPOLLET, 1);
    pthread_t reader = thread(reads_all, NULL), waiter = thread(waits_for_room, NULL);
    for (int64_t until = now_ms() + 1000; now_ms() < until && stuck == 0;) {
        int before = both.edges;
        while (write(both.p[0], chunk, sizeof chunk) > 0)
            before = both.edges;
        CHECK(errno == EAGAIN);
        int64_t end = now_ms() + 3000;
        while (both.edges == before && now_ms() < end)
            sched_yield();
        stuck += both.edges == before;
    }
    trace("edges that did not come: %d", stuck);
    both.over = true;
    join(waiter);
    OK(shutdown(both.p[0], SHUT_WR));
    join(reader);
    end(both.p, both.ep);
}

const struct conf_case edge_cases[] = {
    {"epoll_et_arrivals", arrivals, TCP, NULL},
    {"epoll_et_in_only", in_only, TCP, NULL},
    {"epoll_et_out", out_edge, TCP, NULL},
    {"epoll_oneshot", one_shot, TCP, NULL},
    {"epoll_et_listener", listener_edge, TCP, NULL},
    {"epoll_et_connect", connect_edge, TCP, NULL},
    {"epoll_threads_one_set", threads_one_set, TCP, NULL},
    {"epoll_exclusive_processes", exclusive, TCP, NULL},
    {"epoll_et_splice", room_for_splice, TCP, NULL},
    {"epoll_et_room_threads", room_for_another, TCP, NULL},
    {0},
};
