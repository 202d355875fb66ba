/* SPDX-License-Identifier: BSD-3-Clause
 * Sockets that are handed to another process: SCM_RIGHTS. */
#include "lib.h"

static void echo_received(void *arg)
{
    int *u = arg, fd = recv_fd(u[1], 0);
    char buf[64];
    ssize_t n;
    OK(close(u[0]));
    while ((n = OK(read(fd, buf, sizeof buf))) > 0)
        write_all(fd, buf, (size_t)n);
}

static void connection(void)
{
    int u[2], p[2];
    char buf[6] = "";
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, u));
    pid_t pid = child(echo_received, u);
    tcp_pair(p); /* after the fork: the child has it only by the message */
    send_fd(u[0], p[1]);
    OK(close(p[1]));
    for (int i = 0; i < 3; i++) {
        send_text(p[0], "hello");
        read_exact(p[0], buf, 5);
        trace("%s", buf);
    }
    OK(shutdown(p[0], SHUT_WR));
    R(read(p[0], buf, 1));
    reap(pid);
    OK(close(p[0]));
    OK(close(u[0]));
    OK(close(u[1]));
}

static void accept_received(void *arg)
{
    int *u = arg, l = recv_fd(u[1], 0);
    for (int i = 0; i < 3; i++) {
        int c = tcp_accept(l);
        send_text(c, "served");
        OK(close(c));
    }
}

static void listener(void)
{
    int u[2];
    struct addr a;
    char buf[7] = "";
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, u));
    pid_t pid = child(accept_received, u);
    int l = tcp_listen(AF_INET, 4, &a);
    send_fd(u[0], l);
    OK(close(l));
    for (int i = 0; i < 3; i++) {
        int s = tcp_connect(&a);
        read_exact(s, buf, 6);
        trace("%s", buf);
        show_poll("end", s, POLLIN, 2000);
        OK(close(s));
    }
    reap(pid);
    int s = OK(socket(AF_INET, SOCK_STREAM, 0));
    settle();
    R(connect(s, SA(&a), a.len));
    OK(close(s));
    OK(close(u[0]));
    OK(close(u[1]));
}

/* To ourselves: the received one is another descriptor of the same socket. */
static void same_process(void)
{
    int u[2], p[2];
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, u));
    tcp_pair(p);
    send_fd(u[0], p[1]);
    int fd = recv_fd(u[1], MSG_CMSG_CLOEXEC);
    trace("cloexec %d", fcntl(fd, F_GETFD));
    send_text(p[0], "abcdef");
    settle();
    char buf[4] = "";
    read_exact(fd, buf, 3);
    trace("%s", buf);
    show_recv("the rest by the original", p[1]);
    set_nonblock(fd, true);
    trace("flags are shared %d", (fcntl(p[1], F_GETFL) & O_NONBLOCK) != 0);
    OK(close(p[1]));
    settle();
    show_recv("still open", p[0]);
    send_text(fd, "by the received one");
    settle();
    show_recv("peer", p[0]);
    OK(close(fd));
    settle();
    show_poll("end", p[0], POLLIN, 2000);
    show_recv("closed", p[0]);
    OK(close(p[0]));
    OK(close(u[0]));
    OK(close(u[1]));
}

/* Two at a time, by sendmmsg and recvmmsg. */
static void takes_several(void *arg)
{
    char control[2][CMSG_SPACE(sizeof(int))], byte[2], buf[64];
    struct iovec iov[2] = {{&byte[0], 1}, {&byte[1], 1}};
    struct mmsghdr m[2];
    int *u = arg;
    for (int i = 0; i < 2; i++)
        m[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1, .msg_control = control[i], .msg_controllen = sizeof control[i]};
    CHECK(recvmmsg(u[1], m, 2, 0, NULL) == 2);
    for (int i = 0; i < 2; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m[i].msg_hdr)), sizeof fd);
        long n = OK(read(fd, buf, sizeof buf));
        write_all(fd, buf, (size_t)n);
    }
}

static void several(void)
{
    char control[2][CMSG_SPACE(sizeof(int))] = {"", ""};
    struct iovec iov = {"f", 1};
    struct mmsghdr m[2];
    int u[2], p[2][2];
    OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, u));
    pid_t pid = child(takes_several, u);
    for (int i = 0; i < 2; i++) {
        tcp_pair(p[i]); /* after the fork: the child has it only by the message */
        m[i].msg_hdr = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control[i], .msg_controllen = sizeof control[i]};
        struct cmsghdr *c = CMSG_FIRSTHDR(&m[i].msg_hdr);
        *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(c), &p[i][1], sizeof(int));
        send_text(p[i][0], i == 0 ? "one" : "two");
    }
    R(sendmmsg(u[0], m, 2, 0));
    for (int i = 0; i < 2; i++) {
        OK(close(p[i][1]));
        show_poll("answer", p[i][0], POLLIN, 2000);
        show_recv("answer", p[i][0]);
        OK(close(p[i][0]));
        OK(close(u[i]));
    }
    reap(pid);
}

/* Sent, and closed by all before anybody received it. */
static void in_flight(void)
{
    int u[2], p[2];
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, u));
    tcp_pair(p);
    send_fd(u[0], p[1]);
    OK(close(p[1]));
    settle();
    show_recv("lives in the message", p[0]);
    OK(close(u[0]));
    OK(close(u[1]));
    show_poll("gone with it", p[0], POLLIN, 2000);
    show_recv("gone with it", p[0]);
    OK(close(p[0]));
}

static void udp_received(void *arg)
{
    int *u = arg, fd = recv_fd(u[1], 0);
    char buf[64];
    struct addr from = {.len = sizeof from.ss};
    long n = OK(recvfrom(fd, buf, sizeof buf, 0, SA(&from), &from.len));
    OK(sendto(fd, buf, (size_t)n, 0, SA(&from), from.len));
}

static void datagram(void)
{
    int u[2];
    struct addr a, b;
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, u));
    pid_t pid = child(udp_received, u);
    int s = udp_bound(AF_INET, &a), c = udp_bound(AF_INET, &b);
    send_fd(u[0], s);
    OK(close(s));
    R(sendto(c, "hello", 5, 0, SA(&a), a.len));
    show_poll("answer", c, POLLIN, 2000);
    show_recv("answer", c);
    reap(pid);
    OK(close(c));
    OK(close(u[0]));
    OK(close(u[1]));
}

/* The other way: a child makes both kinds of socket, hands them over and ends. */
static void makes_sockets(void *arg)
{
    int *u = arg;
    struct addr a;
    int l = tcp_listen(AF_INET, 4, &a), s = tcp_connect(&a), c = tcp_accept(l);
    send_text(s, "made by the child");
    send_fd(u[1], l);
    send_fd(u[1], s);
    send_fd(u[1], c);
    OK(close(s));
    OK(close(c));
    OK(close(l));
}

static void from_child(void)
{
    int u[2];
    struct addr a;
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, u));
    OK(close(tcp_listen(AF_INET, 1, &a))); /* attached before the fork, as a server is */
    pid_t pid = child(makes_sockets, u);
    int l = recv_fd(u[0], 0), s = recv_fd(u[0], 0), c = recv_fd(u[0], 0);
    reap(pid);
    show_poll("accepted there", c, POLLIN, 2000);
    show_recv("accepted there", c);
    send_text(c, "answered here");
    show_poll("connected there", s, POLLIN, 2000);
    show_recv("connected there", s);
    local_addr(l, &a);
    int mine = tcp_connect(&a), got = tcp_accept(l);
    send_text(mine, "a new one");
    show_poll("accepted here", got, POLLIN, 2000);
    show_recv("accepted here", got);
    OK(close(s));
    show_poll("end", c, POLLIN | POLLRDHUP, 2000);
    int fds[] = {c, l, mine, got, u[0], u[1]};
    for (size_t i = 0; i < COUNT(fds); i++)
        OK(close(fds[i]));
}

/* Passed on twice, through a process that keeps nothing. */
static void passes_on(void *arg)
{
    int *u = arg, fd = recv_fd(u[1], 0);
    send_fd(u[1], fd);
    OK(close(fd));
}

static void there_and_back(void)
{
    int u[2], p[2];
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, u));
    tcp_pair(p);
    pid_t pid = child(passes_on, u);
    send_fd(u[0], p[1]);
    OK(close(p[1]));
    reap(pid);
    int fd = recv_fd(u[0], 0);
    send_text(p[0], "to the one that came back");
    show_poll("it", fd, POLLIN, 2000);
    show_recv("it", fd);
    send_text(fd, "from it");
    show_poll("peer", p[0], POLLIN, 2000);
    show_recv("peer", p[0]);
    int fds[] = {fd, p[0], u[0], u[1]};
    for (size_t i = 0; i < COUNT(fds); i++)
        OK(close(fds[i]));
}

const struct conf_case scm_cases[] = {
    {"scm_connection", connection, TCP, NULL},
    {"scm_listener", listener, TCP, NULL},
    {"scm_same_process", same_process, TCP, NULL},
    {"scm_from_child", from_child, TCP, NULL},
    {"scm_there_and_back", there_and_back, TCP, NULL},
    {"scm_several", several, TCP, NULL},
    {"scm_in_flight", in_flight, TCP, NULL},
    {"scm_udp", datagram, UDP, NULL},
    {0},
};
