/* SPDX-License-Identifier: BSD-3-Clause
 * Urgent data: MSG_OOB, SO_OOBINLINE, SIOCATMARK, EPOLLPRI, SIGURG (tcp(7), socket(7)). */
#include "lib.h"

#include <linux/sockios.h>
#include <sys/select.h>

static void done(int p[2])
{
    OK(close(p[0]));
    OK(close(p[1]));
}

static void oob(int fd, const char *text)
{
    R(send(fd, text, strlen(text), MSG_OOB));
    settle();
}

static void marks(int fd)
{
    int at = -1, left = -1;
    OK(ioctl(fd, SIOCATMARK, &at));
    OK(ioctl(fd, FIONREAD, &left));
    trace("at the mark %d, sockatmark %d, readable %d", at, sockatmark(fd), left);
}

static void get(int fd, int flags)
{
    char buf[32] = "";
    if (R(recv_text(fd, buf, sizeof buf, flags | MSG_DONTWAIT)) > 0)
        trace("%s", buf);
}

static void out_of_line(void)
{
    int p[2];
    tcp_pair(p);
    get(p[1], MSG_OOB);
    marks(p[1]);
    send_text(p[0], "before");
    oob(p[0], "U");
    send_text(p[0], "after");
    settle();
    marks(p[1]);
    get(p[1], 0); /* stops at the mark */
    marks(p[1]);
    get(p[1], MSG_OOB | MSG_PEEK);
    get(p[1], MSG_OOB);
    get(p[1], MSG_OOB);
    marks(p[1]);
    get(p[1], 0);
    marks(p[1]);
    get(p[1], MSG_OOB);
    get(p[1], 0);
    done(p);
}

static void read_past(void)
{
    int p[2];
    tcp_pair(p);
    oob(p[0], "abcU");
    send_text(p[0], "more");
    settle();
    get(p[1], 0);
    get(p[1], MSG_PEEK);
    get(p[1], 0); /* leaves the byte out, and it is lost */
    get(p[1], MSG_OOB);
    done(p);
}

static void only_byte(void)
{
    int p[2];
    tcp_pair(p);
    oob(p[0], "U");
    marks(p[1]);
    show_poll("urgent", p[1], POLLIN | POLLPRI | POLLRDBAND, 0);
    get(p[1], MSG_OOB);
    show_poll("taken", p[1], POLLIN | POLLPRI | POLLRDBAND, 0);
    get(p[1], 0);
    marks(p[1]);
    send_text(p[0], "x");
    settle();
    get(p[1], 0);
    done(p);
}

static void in_line(void)
{
    int p[2], on = 1;
    tcp_pair(p);
    OK(setsockopt(p[1], SOL_SOCKET, SO_OOBINLINE, &on, sizeof on));
    send_text(p[0], "ab");
    oob(p[0], "cU");
    send_text(p[0], "de");
    settle();
    marks(p[1]);
    show_poll("in line", p[1], POLLIN | POLLPRI, 0);
    get(p[1], MSG_OOB);
    get(p[1], 0);
    marks(p[1]);
    show_poll("at the mark", p[1], POLLIN | POLLPRI, 0);
    get(p[1], 0);
    marks(p[1]);
    show_poll("behind it", p[1], POLLIN | POLLPRI, 0);
    done(p);
}

static void twice(void)
{
    int p[2];
    tcp_pair(p);
    oob(p[0], "1");
    oob(p[0], "2");
    get(p[1], MSG_OOB); /* the later one; the earlier is data now */
    get(p[1], 0);
    marks(p[1]);
    oob(p[0], "3");
    get(p[1], MSG_OOB);
    get(p[1], 0);
    done(p);
}

static void waitall_stops(void)
{
    int p[2];
    char buf[16] = "";
    tcp_pair(p);
    oob(p[0], "abU");
    send_text(p[0], "cd");
    settle();
    R(recv_text(p[1], buf, 4, MSG_WAITALL));
    trace("%s", buf);
    get(p[1], 0);
    done(p);
}

static void msg_flags(void)
{
    int p[2];
    char byte[4] = "";
    struct iovec iov[2] = {{NULL, 0}, {byte, 1}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
    tcp_pair(p);
    oob(p[0], "U");
    R(recvmsg(p[1], &m, MSG_OOB));
    trace("%s, MSG_OOB %d", byte, (m.msg_flags & MSG_OOB) != 0);
    R(send(p[0], "", 0, MSG_OOB));
    settle();
    get(p[1], MSG_OOB);
    done(p);
}

static void events(void)
{
    int p[2], ep = OK(epoll_create1(0));
    struct epoll_event ev = {.events = EPOLLIN | EPOLLPRI}, got;
    tcp_pair(p);
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, p[1], &ev));
    R(epoll_wait(ep, &got, 1, 0));
    oob(p[0], "U");
    if (R(epoll_wait(ep, &got, 1, 1000)) == 1)
        trace("%s", events_text(got.events));
    get(p[1], MSG_OOB);
    R(epoll_wait(ep, &got, 1, 0));
    fd_set except;
    struct timeval none = {0};
    FD_ZERO(&except);
    FD_SET(p[1], &except);
    R(select(p[1] + 1, NULL, NULL, &except, &none));
    oob(p[0], "V");
    FD_SET(p[1], &except);
    R(select(p[1] + 1, NULL, NULL, &except, &none));
    OK(close(ep));
    done(p);
}

static _Atomic int urgent;

static void on_urgent(int sig)
{
    (void)sig;
    urgent++;
}

static void signals(void)
{
    int p[2];
    tcp_pair(p);
    handler(SIGURG, on_urgent, 0);
    oob(p[0], "1");
    trace("nobody asked: %d", urgent);
    R(fcntl(p[1], F_SETOWN, getpid()));
    CHECK(fcntl(p[1], F_GETOWN) == getpid());
    oob(p[0], "2");
    trace("the owner is told: %d", urgent);
    R(fcntl(p[1], F_SETOWN, 0));
    oob(p[0], "3");
    trace("it no longer is: %d", urgent);
    int pid = getpid();
    OK(ioctl(p[1], SIOCSPGRP, &pid));
    oob(p[0], "4");
    trace("by ioctl: %d", urgent);
    done(p);
}

static void after_the_end(void)
{
    int p[2];
    tcp_pair(p);
    oob(p[0], "abU");
    OK(close(p[0]));
    settle();
    get(p[1], 0);
    get(p[1], MSG_OOB);
    get(p[1], 0);
    OK(close(p[1]));
}

const struct conf_case urgent_cases[] = {
    {"urgent_out_of_line", out_of_line, TCP, NULL},
    {"urgent_read_past", read_past, TCP, NULL},
    {"urgent_only_byte", only_byte, TCP, NULL},
    {"urgent_in_line", in_line, TCP, NULL},
    {"urgent_twice", twice, TCP, NULL},
    {"urgent_waitall", waitall_stops, TCP, NULL},
    {"urgent_msg_flags", msg_flags, TCP, NULL},
    {"urgent_events", events, TCP, NULL},
    {"urgent_signal", signals, TCP, NULL},
    {"urgent_after_the_end", after_the_end, TCP, NULL},
    {0},
};
