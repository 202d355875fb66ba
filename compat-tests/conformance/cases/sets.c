/* SPDX-License-Identifier: BSD-3-Clause
 * epoll sets: several, nested, mixed with kernel descriptors, duplicated and inherited ones. */
#include "lib.h"

#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/timerfd.h>

static void end(int p[2])
{
    OK(close(p[0]));
    OK(close(p[1]));
}

static void two_sets(void)
{
    int p[2], a = OK(epoll_create1(0)), b = OK(epoll_create1(0));
    tcp_pair(p);
    ep_add(a, p[1], EPOLLIN, 1);
    ep_add(b, p[1], EPOLLIN | EPOLLET, 2);
    send_text(p[0], "x");
    show_epoll("a", a, 1000);
    show_epoll("b", b, 1000);
    show_epoll("a", a, 0);
    show_epoll("b", b, 0);
    send_text(p[0], "y");
    settle();
    show_epoll("b", b, 0);
    OK(epoll_ctl(a, EPOLL_CTL_DEL, p[1], NULL));
    show_epoll("a without it", a, 0);
    send_text(p[0], "z");
    settle();
    show_epoll("b", b, 0);
    end(p);
    OK(close(a));
    OK(close(b));
}

static void dup_in_set(void)
{
    int p[2], ep = OK(epoll_create1(0));
    tcp_pair(p);
    int d = OK(dup(p[1]));
    ep_add(ep, p[1], EPOLLIN, 1);
    ep_add(ep, d, EPOLLIN, 2);
    send_text(p[0], "x");
    settle();
    show_epoll("both", ep, 0);
    OK(close(d));
    show_epoll("a closed one stays while the other is open", ep, 0);
    d = OK(dup(p[1]));
    OK(close(p[1]));
    show_epoll("the original is closed, the socket lives", ep, 0);
    struct epoll_event ev = {.events = EPOLLIN};
    R(epoll_ctl(ep, EPOLL_CTL_DEL, p[1], &ev));
    show_recv("through the duplicate", d);
    show_epoll("read", ep, 0);
    OK(close(d));
    show_epoll("all closed", ep, 0);
    OK(close(p[0]));
    OK(close(ep));
}

static void reuse_number(void)
{
    int p[2], q[2], ep = OK(epoll_create1(0));
    tcp_pair(p);
    ep_add(ep, p[1], EPOLLIN, 1);
    send_text(p[0], "x");
    settle();
    OK(close(p[1]));
    show_epoll("closed", ep, 0);
    tcp_pair(q);
    send_text(q[0], "y");
    send_text(q[1], "y");
    settle();
    show_epoll("the number's next user is not in it", ep, 0);
    ep_add(ep, q[1], EPOLLIN, 2);
    show_epoll("added", ep, 0);
    end(q);
    OK(close(p[0]));
    OK(close(ep));
}

static void nested(void)
{
    int p[2], in = OK(epoll_create1(0)), out = OK(epoll_create1(0));
    tcp_pair(p);
    ep_add(in, p[1], EPOLLIN, 1);
    ep_add(out, in, EPOLLIN, 2);
    show_epoll("outer, nothing", out, 0);
    show_poll("inner in poll, nothing", in, POLLIN, 0);
    send_text(p[0], "x");
    show_epoll("outer", out, 1000);
    show_poll("inner in poll", in, POLLIN, 1000);
    show_poll("outer in poll", out, POLLIN, 1000);
    fd_set r;
    FD_ZERO(&r);
    FD_SET(in, &r);
    struct timeval tv = {1, 0};
    R(select(in + 1, &r, NULL, NULL, &tv));
    show_epoll("inner", in, 0);
    drain(p[1]);
    show_epoll("outer, read", out, 0);
    show_poll("inner in poll, read", in, POLLIN, 0);
    struct epoll_event ev = {.events = EPOLLIN};
    R(epoll_ctl(in, EPOLL_CTL_ADD, out, &ev)); /* a loop */
    end(p);
    OK(close(in));
    OK(close(out));
}

static void *write_late(void *arg)
{
    msleep(80);
    send_text(*(int *)arg, "late");
    return NULL;
}

static void nested_sleep(void)
{
    int p[2], in = OK(epoll_create1(0)), out = OK(epoll_create1(0));
    tcp_pair(p);
    ep_add(in, p[1], EPOLLIN | EPOLLET, 1);
    ep_add(out, in, EPOLLIN, 2);
    pthread_t t = thread(write_late, &p[0]);
    show_epoll("outer", out, 2000);
    show_epoll("inner", in, 0);
    join(t);
    t = thread(write_late, &p[0]);
    show_poll("inner in poll", in, POLLIN, 2000);
    show_epoll("inner", in, 0);
    join(t);
    t = thread(write_late, &p[0]);
    fd_set r;
    FD_ZERO(&r);
    FD_SET(in, &r);
    struct timeval tv = {2, 0};
    R(select(in + 1, &r, NULL, NULL, &tv));
    join(t);
    end(p);
    OK(close(in));
    OK(close(out));
}

/* What some waits together report: one wait need not look at both worlds. */
static void show_union(const char *what, int ep)
{
    uint32_t events[8] = {0};
    char text[256] = "";
    for (int64_t until = now_ms() + 50; now_ms() < until;) {
        struct epoll_event ev[8];
        int n = OK(epoll_wait(ep, ev, 8, 0));
        for (int i = 0; i < n; i++)
            events[ev[i].data.u32] |= ev[i].events;
    }
    for (int i = 0; i < 8; i++)
        if (events[i] != 0)
            snprintf(text + strlen(text), sizeof text - strlen(text), " %d:%s", i, events_text(events[i]));
    trace("%s:%s", what, text);
}

static void mixed(void)
{
    int p[2], pipefd[2], ep = OK(epoll_create1(0)), evfd = OK(eventfd(0, 0)), timer = OK(timerfd_create(CLOCK_MONOTONIC, 0));
    struct itimerspec soon = {.it_value = {0, 20000000}};
    tcp_pair(p);
    OK(pipe(pipefd));
    ep_add(ep, p[1], EPOLLIN, 1);
    ep_add(ep, pipefd[0], EPOLLIN, 2);
    ep_add(ep, evfd, EPOLLIN, 3);
    ep_add(ep, timer, EPOLLIN, 4);
    show_epoll("nothing", ep, 0);
    OK(timerfd_settime(timer, 0, &soon, NULL));
    show_epoll("timer", ep, 1000);
    send_text(p[0], "x");
    settle();
    show_union("and socket", ep);
    write_all(pipefd[1], "x", 1);
    uint64_t one = 1;
    write_all(evfd, &one, 8);
    show_union("all", ep);
    drain(p[1]);
    read_exact(timer, &one, 8);
    show_union("kernel ones", ep);
    OK(close(pipefd[1]));
    read_exact(evfd, &one, 8);
    read_exact(pipefd[0], &one, 1);
    show_union("pipe at its end", ep);
    end(p);
    OK(close(pipefd[0]));
    OK(close(evfd));
    OK(close(timer));
    OK(close(ep));
}

/* One side always ready must not hide the other, with room for one event. */
static void starvation(void)
{
    int p[2], ep = OK(epoll_create1(0)), evfd = OK(eventfd(1, 0));
    struct epoll_event ev;
    int seen[3] = {0};
    tcp_pair(p);
    ep_add(ep, p[1], EPOLLIN, 1);
    ep_add(ep, evfd, EPOLLIN, 2);
    send_text(p[0], "x");
    settle();
    for (int64_t until = now_ms() + 1000; now_ms() < until && !(seen[1] && seen[2]);) {
        CHECK(epoll_wait(ep, &ev, 1, 1000) == 1);
        seen[ev.data.u32]++;
    }
    trace("both were seen %d", seen[1] > 0 && seen[2] > 0);
    end(p);
    OK(close(evfd));
    OK(close(ep));
}

static void fork_child(void *arg)
{
    int *v = arg;
    show_epoll("child, inherited set", v[0], 1000);
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = 7};
    OK(epoll_ctl(v[0], EPOLL_CTL_MOD, v[1], &ev));
}

static void inherited(void)
{
    int p[2], ep = OK(epoll_create1(0));
    tcp_pair(p);
    ep_add(ep, p[1], EPOLLIN, 1);
    send_text(p[0], "x");
    settle();
    show_epoll("parent", ep, 0);
    int v[2] = {ep, p[1]};
    reap(child(fork_child, v));
    end(p);
    OK(close(ep));
}

static void closed_set(void)
{
    int p[2], ep = OK(epoll_create1(0));
    tcp_pair(p);
    int d = OK(dup(ep));
    ep_add(ep, p[1], EPOLLIN, 1);
    send_text(p[0], "x");
    settle();
    OK(close(ep));
    show_epoll("the duplicate lives", d, 0);
    R(fcntl(d, F_GETFD));
    OK(close(d));
    R(epoll_wait(d, &(struct epoll_event){0}, 1, 0));
    show_recv("the socket lives", p[1]);
    end(p);
}

static void many(void)
{
    enum { N = 300 };
    static int p[N][2];
    static struct epoll_event ev[N];
    int ep = OK(epoll_create1(0)), good = 0;
    for (uint32_t i = 0; i < N; i++) {
        tcp_pair(p[i]);
        ep_add(ep, p[i][1], EPOLLIN | EPOLLET, i);
    }
    for (int round = 0; round < 20; round++) {
        for (int i = round % 3; i < N; i += 3)
            send_text(p[i][0], "x");
        int want = (N - round % 3 + 2) / 3, got = 0, n;
        while (got < want && (n = epoll_wait(ep, ev, N, 1000)) > 0)
            for (int i = 0; i < n; i++, got++)
                good += drain(p[ev[i].data.u32][1]) == 1;
    }
    trace("good %d of 2000", good);
    for (int i = 0; i < N; i++)
        end(p[i]);
    OK(close(ep));
}

/* In and out of the set, as loops do that wait for room, then for the answer. */
static void come_and_go(int ep, int fd, int times)
{
    for (int i = 0; i < times; i++) {
        ep_add(ep, fd, EPOLLOUT, 1);
        OK(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL));
    }
}

static void added_again(void)
{
    int p[2], ep = OK(epoll_create1(0)), other = OK(epoll_create1(0));
    struct epoll_event ev = {.events = EPOLLIN};
    tcp_pair(p);
    come_and_go(ep, p[1], 3);
    R(epoll_ctl(ep, EPOLL_CTL_DEL, p[1], NULL));
    R(epoll_ctl(ep, EPOLL_CTL_MOD, p[1], &ev));
    send_text(p[0], "x");
    settle();
    show_epoll("removed", ep, 0);
    ep_add(ep, p[1], EPOLLIN | EPOLLET, 2);
    R(epoll_ctl(ep, EPOLL_CTL_ADD, p[1], &ev));
    show_epoll("an edge", ep, 0);
    show_epoll("once", ep, 0);
    come_and_go(other, p[1], 2);
    OK(epoll_ctl(ep, EPOLL_CTL_DEL, p[1], NULL));
    come_and_go(ep, p[1], 2);
    ep_add(ep, p[1], EPOLLIN | EPOLLET, 3);
    show_epoll("an edge anew", ep, 0);
    OK(epoll_ctl(ep, EPOLL_CTL_DEL, p[1], NULL));
    ep_add(other, p[1], EPOLLIN, 4);
    send_text(p[0], "y");
    settle();
    show_epoll("left", ep, 0);
    show_epoll("the other set", other, 0);
    come_and_go(ep, p[1], 3);
    ep_add(ep, p[1], EPOLLIN | EPOLLEXCLUSIVE, 5);
    show_epoll("exclusive", ep, 0);
    R(epoll_ctl(ep, EPOLL_CTL_MOD, p[1], &ev));
    OK(epoll_ctl(ep, EPOLL_CTL_DEL, p[1], NULL));
    come_and_go(ep, p[1], 3);
    ep_add(ep, p[1], EPOLLIN | EPOLLONESHOT, 6);
    show_epoll("oneshot", ep, 0);
    show_epoll("disarmed", ep, 0);
    OK(epoll_ctl(ep, EPOLL_CTL_DEL, p[1], NULL));
    ep_add(ep, p[1], EPOLLIN, 7);
    show_epoll("armed by being added", ep, 0);
    end(p);
    OK(close(ep));
    OK(close(other));
}

/* A removed one neither ends a sleep nor makes the set itself readable, and its number is free. */
static void away_while_waited_for(void)
{
    int p[2], q[2], ep = OK(epoll_create1(0)), out = OK(epoll_create1(0));
    tcp_pair(p);
    tcp_pair(q);
    come_and_go(ep, p[1], 3);
    ep_add(ep, q[1], EPOLLIN, 2);
    pthread_t t = thread(write_late, &p[0]);
    int64_t begin = now_ms();
    show_epoll("asleep", ep, 250);
    trace("to the end %d", now_ms() - begin >= 245);
    join(t);
    come_and_go(ep, p[1], 3);
    ep_add(out, ep, EPOLLIN, 3);
    send_text(p[0], "x");
    settle();
    show_epoll("outer", out, 0);
    come_and_go(ep, p[1], 3);
    send_text(p[0], "x");
    settle();
    show_epoll("outer again", out, 0);
    send_text(q[0], "x");
    show_epoll("for the other", out, 1000);
    show_epoll("inner", ep, 0);
    end(p);
    tcp_pair(p);
    come_and_go(ep, p[1], 2);
    ep_add(ep, p[1], EPOLLIN, 4);
    drain(q[1]);
    send_text(p[0], "z");
    show_epoll("the number's next user", ep, 1000);
    end(p);
    end(q);
    OK(close(ep));
    OK(close(out));
}

static void child_adds_again(void *arg)
{
    int *v = arg;
    ep_add(v[0], v[1], EPOLLIN, 8);
    show_epoll("child", v[0], 1000);
    OK(epoll_ctl(v[0], EPOLL_CTL_DEL, v[1], NULL));
    show_epoll("child, removed", v[0], 0);
}

static void inherited_while_away(void)
{
    int p[2], ep = OK(epoll_create1(0));
    tcp_pair(p);
    come_and_go(ep, p[1], 3);
    send_text(p[0], "x");
    settle();
    int v[2] = {ep, p[1]};
    reap(child(child_adds_again, v));
    show_epoll("parent", ep, 0);
    ep_add(ep, p[1], EPOLLIN, 9);
    show_epoll("parent, added", ep, 0);
    end(p);
    OK(close(ep));
}

const struct conf_case sets_cases[] = {
    {"epoll_added_again", added_again, TCP, NULL},
    {"epoll_away_while_waited_for", away_while_waited_for, TCP, NULL},
    {"epoll_inherited_while_away", inherited_while_away, TCP, NULL},
    {"epoll_two_sets", two_sets, TCP, NULL},
    {"epoll_dup_in_set", dup_in_set, TCP, NULL},
    {"epoll_number_reused", reuse_number, TCP, NULL},
    {"epoll_nested", nested, TCP, NULL},
    {"epoll_nested_sleep", nested_sleep, TCP, NULL},
    {"epoll_mixed", mixed, TCP, NULL},
    {"epoll_starvation", starvation, TCP, NULL},
    {"epoll_inherited", inherited, TCP, NULL},
    {"epoll_set_dup_close", closed_set, TCP, NULL},
    {"epoll_300_sockets", many, TCP, NULL},
    {0},
};
