/* SPDX-License-Identifier: BSD-3-Clause
 * The queue of a listener: full, left early, closed. */
#include "lib.h"

static int start_connect(const struct addr *a)
{
    int s = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    CHECK(connect(s, SA(a), a->len) < 0 && errno == EINPROGRESS);
    return s;
}

static int writable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, 0) == 1 && p.revents == POLLOUT;
}

/* listen(fd, 1) takes two connections on Linux; the third waits until accept makes room. */
static void full(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 1, &a), s[4], c[4];
    for (int i = 0; i < 4; i++)
        s[i] = start_connect(&a);
    settle();
    for (int i = 0; i < 4; i++)
        trace("connection %d: connected %d", i, writable(s[i]));
    R(connect(s[3], SA(&a), a.len));
    for (int i = 0; i < 4; i++) {
        show_poll("listener", l, POLLIN, 5000);
        c[i] = tcp_accept(l);
    }
    int64_t until = now_ms() + 3000;
    while (now_ms() < until && !(writable(s[2]) && writable(s[3])))
        settle();
    for (int i = 0; i < 4; i++) {
        count_connect();
        trace("connection %d: connected %d, error %s", i, writable(s[i]),
              err_name(get_int(s[i], SOL_SOCKET, SO_ERROR)));
    }
    show_poll("listener", l, POLLIN, 0);
    for (int i = 0; i < 4; i++) {
        OK(close(s[i]));
        OK(close(c[i]));
    }
    OK(close(l));
}

struct late {
    int listener, delay;
    int got;
};

static void *accept_late(void *arg)
{
    struct late *w = arg;
    msleep(w->delay);
    w->got = tcp_accept(w->listener);
    return NULL;
}

static void blocking_full(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 0, &a);
    int first = tcp_connect(&a); /* a backlog of 0 takes one */
    struct late w = {l, 200, -1};
    pthread_t t = thread(accept_late, &w);
    int64_t start = now_ms();
    int second = tcp_connect(&a); /* waits for the accept */
    trace("waited %d", now_ms() - start >= 150);
    join(t);
    int c = tcp_accept(l);
    send_text(second, "second");
    settle();
    show_recv("second", c);
    OK(close(first));
    OK(close(second));
    OK(close(c));
    OK(close(w.got));
    OK(close(l));
}

static void left_early(void)
{
    struct addr a;
    char buf[8];
    int l = tcp_listen(AF_INET, 4, &a);
    int s = tcp_connect(&a);
    send_text(s, "gone");
    OK(close(s));
    settle();
    int c = F(accept(l, NULL, NULL));
    show_recv("accepted", c);
    show_recv("accepted", c);
    OK(close(c));
    s = tcp_connect(&a); /* reset before the accept */
    struct linger hard = {1, 0};
    OK(setsockopt(s, SOL_SOCKET, SO_LINGER, &hard, sizeof hard));
    OK(close(s));
    settle();
    show_poll("listener", l, POLLIN, 0);
    set_nonblock(l, true);
    c = F(accept(l, NULL, NULL));
    if (c >= 0) {
        R(recv(c, buf, 8, MSG_DONTWAIT));
        OK(close(c));
    }
    OK(close(l));
}

static void data_before_accept(void)
{
    struct addr a;
    static uint8_t out[100000], in[100000];
    int l = tcp_listen(AF_INET, 4, &a), s = tcp_connect(&a);
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = pattern(i);
    R(write(s, out, sizeof out));
    OK(shutdown(s, SHUT_WR));
    settle();
    int c = tcp_accept(l);
    read_exact(c, in, sizeof in);
    trace("intact %d", memcmp(in, out, sizeof in) == 0);
    show_recv("end", c);
    OK(close(s));
    OK(close(c));
    OK(close(l));
}

static void listener_closed(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 4, &a), idle = tcp_connect(&a), busy = tcp_connect(&a);
    send_text(busy, "data");
    settle();
    OK(close(l));
    settle();
    show_poll("idle", idle, POLLIN | POLLOUT | POLLRDHUP, 0);
    show_recv("idle", idle);
    show_recv("idle", idle);
    show_recv("busy", busy);
    R(send(busy, "x", 1, MSG_NOSIGNAL));
    int s = OK(socket(AF_INET, SOCK_STREAM, 0));
    R(connect(s, SA(&a), a.len));
    OK(close(idle));
    OK(close(busy));
    OK(close(s));
}

struct waiting {
    struct addr a;
    int r, err, fd;
};

static void *connect_waiting(void *arg)
{
    struct waiting *w = arg;
    w->fd = OK(socket(AF_INET, SOCK_STREAM, 0));
    w->r = connect(w->fd, SA(&w->a), w->a.len);
    w->err = errno;
    return NULL;
}

/* A connect that waits for room, and the listener goes: the kernel's SYN is refused when it is sent again. */
static void closed_while_waiting(void)
{
    struct waiting w;
    int l = tcp_listen(AF_INET, 0, &w.a), first = tcp_connect(&w.a);
    pthread_t t = thread(connect_waiting, &w);
    msleep(100);
    OK(close(l));
    join(t);
    trace("connect = %d %s", w.r, w.r < 0 ? err_name(w.err) : "");
    show_recv("first", first);
    OK(close(first));
    OK(close(w.fd));
}

static void accept_order(void)
{
    struct addr a, from, own[3];
    int l = tcp_listen(AF_INET, 8, &a), s[3];
    for (int i = 0; i < 3; i++) {
        s[i] = tcp_connect(&a);
        local_addr(s[i], &own[i]);
    }
    for (int i = 0; i < 3; i++) {
        from.len = sizeof from.ss;
        int c = OK(accept(l, SA(&from), &from.len));
        trace("accepted in order %d", addr_port(&from) == addr_port(&own[i]));
        OK(close(c));
        OK(close(s[i]));
    }
    OK(close(l));
}

const struct conf_case backlog_cases[] = {
    {"backlog_full", full, TCP, NULL},
    {"backlog_full_blocking", blocking_full, TCP, NULL},
    {"backlog_left_early", left_early, TCP, NULL},
    {"backlog_data_before_accept", data_before_accept, TCP, NULL},
    {"backlog_listener_closed", listener_closed, TCP, NULL},
    {"backlog_closed_while_waiting", closed_while_waiting, TCP, NULL},
    {"backlog_order", accept_order, TCP, NULL},
    {0},
};
