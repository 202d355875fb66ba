/* SPDX-License-Identifier: BSD-3-Clause
 * shutdown in all its variants. */
#include "lib.h"

#define ALL (POLLIN | POLLOUT | POLLRDHUP)

static void done(int p[2])
{
    OK(close(p[0]));
    OK(close(p[1]));
}

static void half_close(void)
{
    int p[2];
    tcp_pair(p);
    send_text(p[0], "question");
    R(shutdown(p[0], SHUT_WR));
    R(send(p[0], "x", 1, MSG_NOSIGNAL));
    settle();
    show_poll("own side", p[0], ALL, 0);
    show_poll("peer", p[1], ALL, 0);
    show_recv("peer", p[1]);
    show_recv("peer", p[1]);
    send_text(p[1], "answer");
    settle();
    show_poll("own side", p[0], ALL, 0);
    show_recv("own side", p[0]);
    R(shutdown(p[1], SHUT_WR));
    settle();
    show_poll("own side", p[0], ALL, 0);
    show_poll("peer", p[1], ALL, 0);
    show_recv("own side", p[0]);
    R(shutdown(p[1], SHUT_WR));
    R(shutdown(p[0], SHUT_RDWR));
    done(p);
}

static void half_close_server(void)
{
    int p[2];
    tcp_pair(p);
    R(shutdown(p[1], SHUT_WR));
    settle();
    show_recv("client", p[0]);
    send_text(p[0], "still sending");
    settle();
    show_recv("server", p[1]);
    OK(close(p[0]));
    settle();
    show_recv("server", p[1]);
    show_poll("server", p[1], ALL, 0);
    OK(close(p[1]));
}

static void read_side(void)
{
    int p[2];
    char buf[8];
    tcp_pair(p);
    send_text(p[0], "before");
    settle();
    R(shutdown(p[1], SHUT_RD));
    show_poll("after it", p[1], ALL, 0);
    show_recv("what came before", p[1]);
    show_recv("then", p[1]);
    R(send(p[0], "later", 5, MSG_NOSIGNAL));
    settle();
    show_recv("what came later", p[1]);
    R(recv(p[1], buf, 8, 0)); /* does not block */
    show_poll("the peer sees nothing", p[0], ALL, 0);
    send_text(p[1], "writing works");
    settle();
    show_recv("peer", p[0]);
    R(shutdown(p[1], SHUT_RD));
    done(p);
}

static void both_sides(void)
{
    int p[2];
    tcp_pair(p);
    R(shutdown(p[0], SHUT_RDWR));
    settle();
    show_poll("own side", p[0], ALL, 0);
    show_poll("peer", p[1], ALL, 0);
    show_recv("own side", p[0]);
    R(send(p[0], "x", 1, MSG_NOSIGNAL));
    R(shutdown(p[0], SHUT_RDWR));
    show_recv("peer", p[1]);
    done(p);
}

static void both_ends(void)
{
    int p[2];
    tcp_pair(p);
    R(shutdown(p[0], SHUT_WR));
    settle();
    R(shutdown(p[1], SHUT_WR));
    settle();
    for (int i = 0; i < 2; i++) {
        show_poll(i ? "server" : "client", p[i], ALL, 0);
        show_recv(i ? "server" : "client", p[i]);
        R(send(p[i], "x", 1, MSG_NOSIGNAL));
        R(shutdown(p[i], SHUT_RD));
    }
    done(p);
}

static void invalid(void)
{
    int p[2], s = OK(socket(AF_INET, SOCK_STREAM, 0));
    struct addr a;
    R(shutdown(s, SHUT_RD));
    R(shutdown(s, SHUT_WR));
    R(shutdown(s, SHUT_RDWR));
    R(shutdown(s, 3));
    R(shutdown(s, -1));
    tcp_pair(p);
    R(shutdown(p[0], 3));
    R(shutdown(p[0], -1));
    send_text(p[0], "alive");
    settle();
    show_recv("alive", p[1]);
    int l = tcp_listen(AF_INET, 1, &a);
    R(shutdown(l, SHUT_WR));
    R(shutdown(l, SHUT_RD));
    R(connect(s, SA(&a), a.len));
    show_poll("listener", l, POLLIN, 0);
    R(accept(l, NULL, NULL));
    done(p);
    OK(close(s));
    OK(close(l));
}

/* A listener that was shut down may listen again. */
static void listener_again(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 4, &a);
    int c = tcp_connect(&a), s = tcp_accept(l);
    R(shutdown(l, SHUT_RD));
    send_text(c, "untouched");
    settle();
    show_recv("accepted before", s);
    R(listen(l, 4));
    OK(close(c));
    OK(close(s));
    OK(close(l));
}

/* A socket that was shut down before it was connected remembers it, and no later socket does. */
static void unconnected(void)
{
    char byte;
    for (int i = 0; i < 3; i++) {
        int fd = OK(socket(AF_INET, SOCK_STREAM, 0));
        R(recv(fd, &byte, 1, MSG_DONTWAIT));
        show_poll("fresh", fd, ALL, 0);
        R(shutdown(fd, SHUT_RDWR));
        R(recv(fd, &byte, 1, MSG_DONTWAIT));
        show_poll("shut down", fd, ALL, 0);
        OK(close(fd));
    }
}

/* ---- A listener that others hold, too ---- */

static void accept_in_vain(void *arg)
{
    CHECK(accept(*(int *)arg, NULL, NULL) < 0);
    _exit(errno);
}

static void epoll_in_vain(void *arg)
{
    struct epoll_event e = {0};
    int ep = OK(epoll_create1(0));
    ep_add(ep, *(int *)arg, EPOLLIN, 7);
    CHECK(epoll_wait(ep, &e, 1, 5000) == 1);
    _exit((int)(e.events & 0xff));
}

/* shutdown(2) by one holder is the end for all of them. */
static void shared_listener(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 8, &a);
    int c = tcp_connect(&a), s = tcp_accept(l);
    pid_t accepts = child(accept_in_vain, &l), polls = child(epoll_in_vain, &l);
    settle(); /* they wait */
    R(shutdown(l, SHUT_RDWR));
    reap(accepts);
    reap(polls);
    int late = OK(socket(AF_INET, SOCK_STREAM, 0));
    R(connect(late, SA(&a), a.len));
    R(accept(l, NULL, NULL));
    send_text(c, "untouched");
    settle();
    show_recv("accepted before", s);
    OK(close(late));
    OK(close(c));
    OK(close(s));
    OK(close(l));
}

const struct conf_case shutdown_cases[] = {
    {"tcp_half_close", half_close, TCP, NULL},
    {"tcp_half_close_server", half_close_server, TCP, NULL},
    {"tcp_shutdown_rd", read_side, TCP, NULL},
    {"tcp_shutdown_rdwr", both_sides, TCP, NULL},
    {"tcp_shutdown_both_ends", both_ends, TCP, NULL},
    {"tcp_shutdown_invalid", invalid, TCP, NULL},
    {"tcp_shutdown_listener", listener_again, TCP, NULL},
    {"tcp_shutdown_shared_listener", shared_listener, TCP, NULL},
    {"tcp_shutdown_unconnected", unconnected, KERNEL, "nothing is connected"},
    {0},
};
