/* SPDX-License-Identifier: BSD-3-Clause
 * connect: blocking and not, refused, repeated. */
#include "lib.h"

#include <ifaddrs.h>

static void free_port(struct addr *a)
{
    int l = tcp_listen(AF_INET, 1, a);
    OK(close(l));
}

static void refused(void)
{
    struct addr a;
    char buf[4];
    free_port(&a);
    int s = OK(socket(AF_INET, SOCK_STREAM, 0));
    R(connect(s, SA(&a), a.len));
    trace("SO_ERROR %s", err_name(get_int(s, SOL_SOCKET, SO_ERROR)));
    show_poll("after it", s, POLLIN | POLLOUT, 0);
    R(recv(s, buf, 4, MSG_DONTWAIT));
    int l = OK(socket(AF_INET, SOCK_STREAM, 0)), on = 1;
    OK(setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    OK(bind(l, SA(&a), a.len));
    OK(listen(l, 1));
    R(connect(s, SA(&a), a.len)); /* the same socket may try again */
    OK(close(s));
    OK(close(l));
}

static void refused_nonblocking(void)
{
    struct addr a;
    free_port(&a);
    int s = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)), ep = OK(epoll_create1(0));
    int r = connect(s, SA(&a), a.len);
    trace("connect = %d %s", r, err_name(errno));
    show_poll("poll", s, POLLIN | POLLOUT | POLLRDHUP, 1000);
    ep_add(ep, s, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 1);
    show_epoll("epoll", ep, 1000);
    trace("SO_ERROR %s", err_name(get_int(s, SOL_SOCKET, SO_ERROR)));
    trace("SO_ERROR %s", err_name(get_int(s, SOL_SOCKET, SO_ERROR)));
    show_epoll("after it", ep, 0);
    OK(close(s));
    s = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    connect(s, SA(&a), a.len);
    settle();
    R(connect(s, SA(&a), a.len));
    OK(close(s));
    OK(close(ep));
}

static void in_progress(void)
{
    struct addr a;
    char buf[8];
    int l = tcp_listen(AF_INET, 4, &a), ep = OK(epoll_create1(0));
    int s = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    R(connect(s, SA(&a), a.len));
    count_connect();
    show_poll("writable", s, POLLIN | POLLOUT | POLLRDHUP, 1000);
    ep_add(ep, s, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 1);
    show_epoll("writable", ep, 1000);
    trace("SO_ERROR %s", err_name(get_int(s, SOL_SOCKET, SO_ERROR)));
    R(connect(s, SA(&a), a.len));
    R(connect(s, SA(&a), a.len));
    R(recv(s, buf, 8, 0));
    int c = tcp_accept(l);
    send_text(s, "hello");
    settle();
    show_recv("server", c);
    OK(close(c));
    OK(close(s));
    OK(close(l));
    OK(close(ep));
}

static void twice(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 4, &a), s = tcp_connect(&a);
    R(connect(s, SA(&a), a.len));
    int c = tcp_accept(l);
    R(connect(c, SA(&a), a.len));
    R(connect(l, SA(&a), a.len));
    R(listen(s, 1));
    R(bind(s, SA(&a), a.len));
    R(connect(s, SA(&a), 3));
    OK(close(s));
    OK(close(c));
    OK(close(l));
}

static void bad_arguments(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 4, &a), s = OK(socket(AF_INET, SOCK_STREAM, 0));
    R(connect(s, SA(&a), 4));
    R(connect(s, SA(&a), 1000));
    R(connect(-1, SA(&a), a.len));
    R(connect(STDOUT_FILENO, SA(&a), a.len));
    struct addr b = a;
    b.ss.ss_family = AF_UNIX;
    R(connect(s, SA(&b), b.len));
    b.ss.ss_family = 77;
    R(connect(s, SA(&b), b.len));
    loopback(&b, AF_INET6, addr_port(&a));
    R(connect(s, SA(&b), b.len));
    b = a;
    b.ss.ss_family = AF_UNSPEC;
    R(connect(s, SA(&b), b.len));
    R(connect(s, SA(&a), a.len));
    OK(close(s));
    OK(close(l));
}

/* AF_UNSPEC takes a connection apart. */
static void dissolve(void)
{
    struct addr a, none = {.ss.ss_family = AF_UNSPEC, .len = 16};
    char buf[4];
    int l = tcp_listen(AF_INET, 4, &a), s = tcp_connect(&a), c = tcp_accept(l);
    R(connect(s, SA(&none), none.len));
    settle();
    R(recv(c, buf, 4, MSG_DONTWAIT));
    R(recv(s, buf, 4, MSG_DONTWAIT));
    R(connect(s, SA(&a), a.len));
    OK(close(s));
    OK(close(c));
    OK(close(l));
}

/* AF_UNSPEC ends a listener's listening; it may listen again. */
static void unlisten(void)
{
    struct addr a, none = {.ss.ss_family = AF_UNSPEC, .len = 16}, now;
    int l = tcp_listen(AF_INET, 4, &a), waiting = tcp_connect(&a);
    R(connect(l, SA(&a), a.len)); /* to itself: it listens */
    R(connect(l, SA(&none), none.len));
    settle();
    show_recv("who waited", waiting);
    R(accept(l, NULL, NULL));
    int s = OK(socket(AF_INET, SOCK_STREAM, 0));
    R(connect(s, SA(&a), a.len));
    OK(close(s));
    R(listen(l, 4));
    local_addr(l, &now);
    s = OK(socket(AF_INET, SOCK_STREAM, 0));
    R(connect(s, SA(&now), now.len));
    int c = OK(accept(l, NULL, NULL));
    send_text(c, "again");
    settle();
    show_recv("again", s);
    OK(close(s));
    OK(close(c));
    OK(close(waiting));
    OK(close(l));
}

static void source_port(void)
{
    struct addr a, from, seen = {.len = sizeof seen.ss};
    int l = tcp_listen(AF_INET, 4, &a), on = 1;
    free_port(&from);
    int s = OK(socket(AF_INET, SOCK_STREAM, 0));
    OK(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    R(bind(s, SA(&from), from.len));
    R(connect(s, SA(&a), a.len));
    count_connect();
    int c = OK(accept(l, SA(&seen), &seen.len));
    trace("the chosen port is seen %d", addr_port(&seen) == addr_port(&from));
    local_addr(s, &seen);
    trace("and shown %d", addr_port(&seen) == addr_port(&from));
    OK(close(s));
    OK(close(c));
    s = OK(socket(AF_INET, SOCK_STREAM, 0)); /* bound to a free port of the kernel's choice */
    loopback(&from, AF_INET, 0);
    OK(bind(s, SA(&from), from.len));
    local_addr(s, &from);
    OK(connect(s, SA(&a), a.len));
    count_connect();
    seen.len = sizeof seen.ss;
    c = OK(accept(l, SA(&seen), &seen.len));
    trace("the bound port is seen %d", addr_port(&seen) == addr_port(&from));
    OK(close(s));
    OK(close(c));
    OK(close(l));
}

static void show_names(int s, int c)
{
    struct addr a = {.len = sizeof a.ss};
    OK(getsockname(s, SA(&a), &a.len));
    trace("client: own %s", addr_text(&a.ss, a.len));
    a.len = sizeof a.ss;
    OK(getpeername(s, SA(&a), &a.len));
    trace("client: peer %s", addr_text(&a.ss, a.len));
    a.len = sizeof a.ss;
    OK(getsockname(c, SA(&a), &a.len));
    trace("server: own %s", addr_text(&a.ss, a.len));
    a.len = sizeof a.ss;
    OK(getpeername(c, SA(&a), &a.len));
    trace("server: peer %s", addr_text(&a.ss, a.len));
}

static void to_any(void)
{
    for (int i = 0; i < 2; i++) {
        int family = i ? AF_INET6 : AF_INET, l = OK(socket(family, SOCK_STREAM, 0));
        struct addr a;
        wildcard(&a, family, 0);
        OK(bind(l, SA(&a), a.len));
        OK(listen(l, 4));
        local_addr(l, &a);
        int s = tcp_connect(&a), c = tcp_accept(l);
        show_names(s, c);
        OK(close(s));
        OK(close(c));
        OK(close(l));
    }
}

/* An address of this host that is not loopback, when there is one. */
static void own_address(void)
{
    struct ifaddrs *list, *i;
    struct addr a;
    OK(getifaddrs(&list));
    for (i = list; i != NULL; i = i->ifa_next)
        if (i->ifa_addr != NULL && i->ifa_addr->sa_family == AF_INET &&
            ((struct sockaddr_in *)i->ifa_addr)->sin_addr.s_addr != htonl(INADDR_LOOPBACK))
            break;
    if (i == NULL)
        loopback(&a, AF_INET, 0);
    else
        memcpy(&a.ss, i->ifa_addr, a.len = sizeof(struct sockaddr_in));
    ((struct sockaddr_in *)&a.ss)->sin_port = 0;
    freeifaddrs(list);
    int l = OK(socket(AF_INET, SOCK_STREAM, 0));
    R(bind(l, SA(&a), a.len));
    OK(listen(l, 4));
    local_addr(l, &a);
    int s = tcp_connect(&a);
    int c = tcp_accept(l);
    show_names(s, c);
    OK(close(s));
    OK(close(c));
    OK(close(l));
}

static void sequential(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 16, &a), good = 0;
    char byte;
    for (int i = 0; i < 2000; i++) {
        int s = tcp_connect(&a), c = tcp_accept(l);
        good += write(s, "x", 1) == 1 && read(c, &byte, 1) == 1;
        OK(close(i & 1 ? s : c));
        good += read(i & 1 ? c : s, &byte, 1) == 0;
        OK(close(i & 1 ? c : s));
    }
    trace("good %d", good);
    OK(close(l));
}

const struct conf_case connect_cases[] = {
    {"connect_refused", refused, LISTEN, NULL},
    {"connect_refused_nonblock", refused_nonblocking, KERNEL, "nobody listens: the kernel refuses"},
    {"connect_in_progress", in_progress, TCP, NULL},
    {"connect_twice", twice, TCP, NULL},
    {"connect_bad_arguments", bad_arguments, LISTEN, NULL},
    {"connect_af_unspec", dissolve, TCP, NULL},
    {"connect_af_unspec_listener", unlisten, TCP, NULL},
    {"connect_source_port", source_port, TCP, NULL},
    {"connect_to_any", to_any, TCP, NULL},
    {"connect_own_address", own_address, TCP, NULL},
    {"connect_2000_times", sequential, TCP, NULL},
    {0},
};
