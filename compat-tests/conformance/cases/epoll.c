/* SPDX-License-Identifier: BSD-3-Clause
 * epoll, level-triggered: events in every state, the set's operations, timeouts. */
#include "lib.h"

#include <semaphore.h>
#include <sys/eventfd.h>

static volatile int minus_one = -1; /* the compiler must not warn of what is tested */
#define ALL (EPOLLIN | EPOLLOUT | EPOLLRDHUP)

static void end(int p[2], int ep)
{
    OK(close(p[0]));
    OK(close(p[1]));
    OK(close(ep));
}

static void level(void)
{
    int p[2], ep = OK(epoll_create1(EPOLL_CLOEXEC));
    tcp_pair(p);
    ep_add(ep, p[1], EPOLLIN, 1);
    show_epoll("nothing", ep, 0);
    send_text(p[0], "abc");
    show_epoll("data", ep, 1000);
    show_epoll("again", ep, 0);
    show_recv("read", p[1]);
    show_epoll("empty", ep, 0);
    ep_mod(ep, p[1], EPOLLIN | EPOLLOUT, 2);
    show_epoll("with out", ep, 0);
    send_text(p[0], "def");
    settle();
    show_epoll("both", ep, 0);
    ep_mod(ep, p[1], 0, 3);
    show_epoll("no interest", ep, 0);
    OK(close(p[0]));
    settle();
    show_epoll("closed, no interest", ep, 0);
    ep_mod(ep, p[1], ALL, 4);
    show_epoll("closed", ep, 0);
    show_recv("read", p[1]);
    show_epoll("closed and read", ep, 0);
    OK(close(p[1]));
    show_epoll("removed by close", ep, 0);
    OK(close(ep));
}

static void states(void)
{
    int p[2], ep = OK(epoll_create1(0));
    tcp_pair(p);
    ep_add(ep, p[0], ALL, 1);
    ep_add(ep, p[1], ALL, 2);
    show_epoll("connected", ep, 0);
    OK(shutdown(p[0], SHUT_WR));
    settle();
    show_epoll("1 sent its end", ep, 0);
    OK(shutdown(p[0], SHUT_RD));
    settle();
    show_epoll("1 reads no more", ep, 0);
    OK(shutdown(p[1], SHUT_WR));
    settle();
    show_epoll("2 sent its end", ep, 0);
    end(p, ep);
    ep = OK(epoll_create1(0));
    tcp_pair(p);
    ep_add(ep, p[0], ALL, 1);
    ep_add(ep, p[1], ALL, 2);
    send_text(p[0], "x");
    settle();
    OK(close(p[1]));
    settle();
    show_epoll("reset", ep, 0);
    trace("SO_ERROR %s", err_name(get_int(p[0], SOL_SOCKET, SO_ERROR)));
    show_epoll("reset, error taken", ep, 0);
    ep_mod(ep, p[0], 0, 1);
    show_epoll("no interest", ep, 0);
    OK(close(p[0]));
    OK(close(ep));
}

static void normal_bits(void)
{
    int p[2], ep = OK(epoll_create1(0));
    tcp_pair(p);
    ep_add(ep, p[1], EPOLLRDNORM | EPOLLWRNORM | EPOLLRDBAND | EPOLLWRBAND | EPOLLPRI, 1);
    show_epoll("writable", ep, 0);
    send_text(p[0], "x");
    settle();
    show_epoll("readable", ep, 0);
    end(p, ep);
}

static void out_full(void)
{
    int p[2], ep = OK(epoll_create1(0));
    tcp_pair(p);
    ep_add(ep, p[0], EPOLLOUT, 1);
    show_epoll("empty", ep, 0);
    fill(p[0]);
    settle();
    fill(p[0]);
    show_epoll("full", ep, 0);
    ep_mod(ep, p[0], EPOLLIN, 1);
    ep_mod(ep, p[0], EPOLLIN | EPOLLOUT, 1);
    show_epoll("full, toggled", ep, 0);
    while (drain(p[1]) > 0)
        settle();
    show_epoll("drained", ep, 1000);
    ep_mod(ep, p[0], EPOLLIN, 1);
    show_epoll("no interest in out", ep, 0);
    ep_mod(ep, p[0], EPOLLIN | EPOLLOUT, 1);
    show_epoll("answers at once", ep, 0);
    end(p, ep);
}

static void *write_late(void *arg)
{
    int fd = *(int *)arg;
    msleep(80);
    send_text(fd, "late");
    return NULL;
}

static void timeouts(void)
{
    int p[2], ep = OK(epoll_create1(0));
    tcp_pair(p);
    ep_add(ep, p[1], EPOLLIN, 1);
    int64_t start = now_ms();
    show_epoll("0", ep, 0);
    trace("at once %d", now_ms() - start < 50);
    start = now_ms();
    show_epoll("100", ep, 100);
    trace("in time %d", now_ms() - start >= 99 && now_ms() - start < 400);
    for (int timeout = -1; timeout < 2000; timeout += 1500) {
        pthread_t t = thread(write_late, &p[0]);
        start = now_ms();
        show_epoll("late", ep, timeout);
        trace("when it came %d", now_ms() - start >= 60 && now_ms() - start < 600);
        join(t);
        show_recv("read", p[1]);
    }
    struct epoll_event ev;
    struct timespec ts = {0, 50000000};
    start = now_ms();
    R(epoll_pwait2(ep, &ev, 1, &ts, NULL));
    trace("in time %d", now_ms() - start >= 49 && now_ms() - start < 400);
    ts.tv_nsec = 0;
    R(epoll_pwait2(ep, &ev, 1, &ts, NULL));
    send_text(p[0], "x");
    R(epoll_pwait2(ep, &ev, 1, NULL, NULL));
    ts.tv_nsec = 1000000000;
    R(epoll_pwait2(ep, &ev, 1, &ts, NULL));
    end(p, ep);
}

static void max_one(void)
{
    int p[5][2], ep = OK(epoll_create1(0));
    uint32_t seen = 0;
    struct epoll_event ev;
    for (uint32_t i = 0; i < 5; i++) {
        tcp_pair(p[i]);
        ep_add(ep, p[i][1], EPOLLIN, i);
        send_text(p[i][0], "x");
    }
    settle();
    for (int i = 0; i < 5; i++) {
        CHECK(epoll_wait(ep, &ev, 1, 1000) == 1);
        seen |= 1u << ev.data.u32;
    }
    trace("five waits saw %x", seen);
    R(epoll_wait(ep, &ev, 0, 0));
    R(epoll_wait(ep, &ev, minus_one, 0));
    struct epoll_event some[3];
    R(epoll_wait(ep, some, 3, 0));
    show_epoll("all", ep, 0);
    for (int i = 0; i < 5; i++) {
        OK(close(p[i][0]));
        OK(close(p[i][1]));
    }
    OK(close(ep));
}

static void operations(void)
{
    int p[2], ep = OK(epoll_create1(0)), plain = OK(open("/dev/null", O_RDWR));
    struct epoll_event ev = {.events = EPOLLIN};
    tcp_pair(p);
    R(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev));
    R(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL));
    R(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev));
    R(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev));
    R(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev));
    R(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL));
    R(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL));
    R(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], NULL));
    R(epoll_ctl(ep, 77, p[0], &ev));
    R(epoll_ctl(ep, EPOLL_CTL_ADD, -1, &ev));
    R(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &ev));
    R(epoll_ctl(ep, EPOLL_CTL_ADD, plain, &ev));
    R(epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &ev));
    R(epoll_ctl(-1, EPOLL_CTL_ADD, p[1], &ev));
    R(epoll_wait(p[0], &ev, 1, 0));
    R(epoll_wait(-1, &ev, 1, 0));
    R(epoll_create(0));
    R(epoll_create1(7));
    ev.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT;
    R(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev));
    ev.events = EPOLLIN | EPOLLEXCLUSIVE;
    R(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev));
    R(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev));
    ev.events = EPOLLIN;
    R(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev));
    R(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL));
    R(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL));
    OK(close(plain));
    end(p, ep);
}

static void undecided(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 4, &a), ep = OK(epoll_create1(0));
    int s = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    ep_add(ep, s, ALL, 1);
    ep_add(ep, l, EPOLLIN, 2);
    show_epoll("fresh", ep, 0);
    R(connect(s, SA(&a), a.len));
    count_connect();
    settle();
    show_epoll("connected", ep, 1000);
    int c = tcp_accept(l);
    ep_add(ep, c, EPOLLIN | EPOLLRDHUP, 3);
    show_epoll("accepted", ep, 0);
    send_text(c, "x");
    send_text(s, "y");
    settle();
    show_epoll("data", ep, 0);
    OK(close(l));
    OK(close(s));
    settle();
    show_epoll("the client closed", ep, 0);
    OK(close(c));
    OK(close(ep));
}

static void before_listen(void)
{
    struct addr a;
    int l = OK(socket(AF_INET, SOCK_STREAM, 0)), ep = OK(epoll_create1(0));
    ep_add(ep, l, EPOLLIN, 1);
    show_epoll("fresh", ep, 0);
    loopback(&a, AF_INET, 0);
    OK(bind(l, SA(&a), a.len));
    OK(listen(l, 8));
    local_addr(l, &a);
    ep_mod(ep, l, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 1);
    show_epoll("listening", ep, 0);
    int s[2] = {tcp_connect(&a), tcp_connect(&a)};
    show_epoll("two wait", ep, 1000);
    int c[2] = {tcp_accept(l), -1};
    show_epoll("one waits", ep, 0);
    c[1] = tcp_accept(l);
    show_epoll("none waits", ep, 0);
    for (int i = 0; i < 2; i++) {
        OK(close(s[i]));
        OK(close(c[i]));
    }
    OK(close(l));
    show_epoll("closed", ep, 0);
    OK(close(ep));
}

/* ---- Threads that wait before the set has a socket ---- */

struct early {
    int ep;
    sem_t woken, go_on;
};

static void *wait_early(void *arg)
{
    struct early *w = arg;
    struct epoll_event ev;
    int n = OK(epoll_wait(w->ep, &ev, 1, -1));
    OK(sem_post(&w->woken));
    OK(sem_wait(&w->go_on)); /* busy with what it was woken for */
    return (void *)(uintptr_t)n;
}

static bool woken(struct early *w)
{
    struct timespec until;
    OK(clock_gettime(CLOCK_REALTIME, &until));
    until.tv_sec += 5;
    return sem_timedwait(&w->woken, &until) == 0;
}

static void first_socket(void)
{
    enum { THREADS = 3 };
    struct early w = {.ep = OK(epoll_create1(0))};
    pthread_t t[THREADS];
    int p[2], none = OK(eventfd(0, 0));
    OK(sem_init(&w.woken, 0, 0));
    OK(sem_init(&w.go_on, 0, 0));
    ep_add(w.ep, none, EPOLLIN, 0);
    for (int i = 0; i < THREADS; i++)
        t[i] = thread(wait_early, &w);
    settle();
    tcp_pair(p);
    ep_add(w.ep, p[1], EPOLLIN | EPOLLET, 1);
    settle();
    for (int i = 0; i < THREADS; i++) {
        send_text(p[0], "x");
        trace("thread %d woken: %d", i, woken(&w));
    }
    for (int i = 0; i < THREADS; i++)
        OK(sem_post(&w.go_on));
    for (int i = 0; i < THREADS; i++)
        CHECK(join(t[i]) == (void *)1);
    OK(close(none));
    OK(close(w.ep));
    OK(close(p[0]));
    OK(close(p[1]));
}

const struct conf_case epoll_cases[] = {
    {"epoll_level", level, TCP, NULL},
    {"epoll_states", states, TCP, NULL},
    {"epoll_normal_bits", normal_bits, TCP, NULL},
    {"epoll_out_full", out_full, TCP, NULL},
    {"epoll_timeouts", timeouts, TCP, NULL},
    {"epoll_maxevents_one", max_one, TCP, NULL},
    {"epoll_operations", operations, TCP, NULL},
    {"epoll_undecided", undecided, TCP, NULL},
    {"epoll_listener", before_listen, TCP, NULL},
    {"epoll_first_socket", first_socket, TCP, NULL},
    {0},
};
