/* SPDX-License-Identifier: BSD-3-Clause
 * UDP: vectors of messages, ancillary data, readiness, IPv6, shared ports. */
#include "lib.h"

static void end(int p[2])
{
    OK(close(p[0]));
    OK(close(p[1]));
}

static void vectors(void)
{
    int p[2];
    char buf[4][16] = {"", "", "", ""};
    struct iovec out[3] = {{"one", 3}, {"two", 3}, {"three", 5}}, in[4];
    struct mmsghdr v[4] = {0};
    struct sockaddr_storage from[4];
    udp_pair(p);
    for (int i = 0; i < 3; i++)
        v[i].msg_hdr = (struct msghdr){.msg_iov = &out[i], .msg_iovlen = 1};
    R(sendmmsg(p[0], v, 3, 0));
    settle();
    for (int i = 0; i < 4; i++) {
        in[i] = (struct iovec){buf[i], 15};
        v[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1, .msg_name = &from[i], .msg_namelen = sizeof from[i]};
    }
    R(recvmmsg(p[1], v, 4, MSG_DONTWAIT, NULL));
    for (int i = 0; i < 3; i++)
        trace("%u %s from %s", v[i].msg_len, buf[i], addr_text(&from[i], v[i].msg_hdr.msg_namelen));
    R(recvmmsg(p[1], v, 4, MSG_DONTWAIT, NULL));
    send_text(p[0], "four");
    R(recvmmsg(p[1], v, 4, MSG_WAITFORONE, NULL));
    end(p);
}

static void packet_info(void)
{
    struct addr a, b, from;
    int on = 1, s = OK(socket(AF_INET, SOCK_DGRAM, 0)), c = udp_bound(AF_INET, &b);
    wildcard(&a, AF_INET, 0);
    OK(bind(s, SA(&a), a.len));
    R(setsockopt(s, IPPROTO_IP, IP_PKTINFO, &on, sizeof on));
    local_addr(s, &a);
    struct addr to;
    loopback(&to, AF_INET, addr_port(&a));
    R(sendto(c, "hello", 5, 0, SA(&to), to.len));
    settle();
    char buf[16], control[128] = "";
    struct iovec iov = {buf, 16};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_name = &from.ss, .msg_namelen = sizeof from.ss,
                       .msg_control = control, .msg_controllen = sizeof control};
    R(recvmsg(s, &m, MSG_DONTWAIT));
    trace("from %s", addr_text(&from.ss, m.msg_namelen));
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h != NULL; h = CMSG_NXTHDR(&m, h)) {
        struct in_pktinfo info;
        memcpy(&info, CMSG_DATA(h), sizeof info);
        trace("cmsg %d %d length %zu: to %08x, interface %d", h->cmsg_level, h->cmsg_type, h->cmsg_len,
              ntohl(info.ipi_addr.s_addr), info.ipi_ifindex);
    }
    trace("controllen %zu flags %x", m.msg_controllen, (unsigned)m.msg_flags);
    R(sendto(c, "hello", 5, 0, SA(&to), to.len));
    settle();
    m.msg_controllen = 8;
    R(recvmsg(s, &m, MSG_DONTWAIT));
    trace("controllen %zu CTRUNC %d", m.msg_controllen, (m.msg_flags & MSG_CTRUNC) != 0);
    OK(close(s));
    OK(close(c));
}

static void info6(void)
{
    struct addr a, b;
    int on = 1, s = udp_bound(AF_INET6, &a), c = udp_bound(AF_INET6, &b);
    R(setsockopt(s, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on));
    R(sendto(c, "hello", 5, 0, SA(&a), a.len));
    settle();
    char buf[16], control[128] = "";
    struct addr from;
    struct iovec iov = {buf, 16};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_name = &from.ss, .msg_namelen = sizeof from.ss,
                       .msg_control = control, .msg_controllen = sizeof control};
    R(recvmsg(s, &m, MSG_DONTWAIT));
    trace("from %s", addr_text(&from.ss, m.msg_namelen));
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h != NULL; h = CMSG_NXTHDR(&m, h)) {
        struct in6_pktinfo info;
        memcpy(&info, CMSG_DATA(h), sizeof info);
        trace("cmsg %d %d length %zu: to ::1 %d, interface %d", h->cmsg_level, h->cmsg_type, h->cmsg_len,
              IN6_IS_ADDR_LOOPBACK(&info.ipi6_addr), info.ipi6_ifindex);
    }
    R(connect(c, SA(&a), a.len));
    R(send(c, "connected", 9, 0));
    settle();
    show_recv("s", s);
    OK(close(s));
    OK(close(c));
}

/* A wildcard socket of IPv6 hears IPv4, and answers it. */
static void mapped(void)
{
    struct addr a, b, from = {.len = sizeof from.ss};
    int s = OK(socket(AF_INET6, SOCK_DGRAM, 0)), c = udp_bound(AF_INET, &b);
    char buf[16] = "";
    wildcard(&a, AF_INET6, 0);
    OK(bind(s, SA(&a), a.len));
    local_addr(s, &a);
    struct addr to;
    loopback(&to, AF_INET, addr_port(&a));
    R(sendto(c, "hello", 5, 0, SA(&to), to.len));
    R(recvfrom(s, buf, 16, 0, SA(&from), &from.len));
    trace("%s from %s", buf, addr_text(&from.ss, from.len));
    R(sendto(s, "answer", 6, 0, SA(&from), from.len));
    from.len = sizeof from.ss;
    R(recvfrom(c, buf, 16, 0, SA(&from), &from.len));
    trace("%s from %s", buf, addr_text(&from.ss, from.len));
    OK(close(s));
    OK(close(c));
}

/* An unbound socket gets a port with its first datagram. */
static void autobind(void)
{
    struct addr a, own, from = {.len = sizeof from.ss};
    int s = udp_bound(AF_INET, &a), c = OK(socket(AF_INET, SOCK_DGRAM, 0));
    char buf[16];
    local_addr(c, &own);
    trace("unbound: %s", addr_text(&own.ss, own.len));
    R(recv(c, buf, 4, MSG_DONTWAIT));
    R(sendto(c, "hello", 5, 0, SA(&a), a.len));
    R(recvfrom(s, buf, 16, 0, SA(&from), &from.len));
    trace("from 127.0.0.1 %d", ((struct sockaddr_in *)&from.ss)->sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    local_addr(c, &own);
    trace("the same port %d, bound to any %d", addr_port(&own) == addr_port(&from),
          ((struct sockaddr_in *)&own.ss)->sin_addr.s_addr == 0);
    R(sendto(s, "answer", 6, 0, SA(&from), from.len));
    show_poll("answer", c, POLLIN, 1000);
    show_recv("answer", c);
    OK(close(s));
    OK(close(c));
}

static void readiness(void)
{
    int p[2], ep = OK(epoll_create1(0));
    udp_pair(p);
    ep_add(ep, p[1], EPOLLIN | EPOLLOUT | EPOLLET, 1);
    ep_add(ep, p[0], EPOLLIN, 2);
    show_epoll("added", ep, 0);
    show_epoll("no news", ep, 0);
    send_text(p[0], "a");
    settle();
    show_epoll("a datagram", ep, 0);
    send_text(p[0], "b");
    settle();
    show_epoll("another", ep, 0);
    drain(p[1]);
    show_epoll("read", ep, 0);
    send_text(p[1], "back");
    settle();
    OK(epoll_ctl(ep, EPOLL_CTL_DEL, p[1], NULL)); /* on Linux its own datagram, taken, is an edge for writing */
    show_epoll("level", ep, 1000);
    show_epoll("level", ep, 0);
    show_poll("poll", p[0], POLLIN | POLLOUT | POLLRDHUP, 0);
    drain(p[0]);
    show_poll("poll", p[0], POLLIN, 0);
    end(p);
    show_epoll("closed", ep, 0);
    OK(close(ep));
}

static void *send_late(void *arg)
{
    msleep(80);
    send_text(*(int *)arg, "late");
    return NULL;
}

static void sleeping(void)
{
    int p[2], ep = OK(epoll_create1(0));
    char buf[8] = "";
    udp_pair(p);
    ep_add(ep, p[1], EPOLLIN, 1);
    for (int i = 0; i < 3; i++) {
        pthread_t t = thread(send_late, &p[0]);
        if (i == 1)
            show_poll("poll", p[1], POLLIN, 2000);
        if (i == 2)
            show_epoll("epoll", ep, -1);
        R(recv(p[1], buf, 8, 0));
        trace("%s", buf);
        join(t);
    }
    end(p);
    OK(close(ep));
}

static void dissolve(void)
{
    int p[2];
    struct addr a = {.len = sizeof a.ss}, none = {.ss.ss_family = AF_UNSPEC, .len = 16}, b, c;
    udp_pair(p);
    local_addr(p[1], &b);
    R(connect(p[1], SA(&none), none.len));
    R(getpeername(p[1], SA(&a), &a.len));
    R(send(p[1], "x", 1, 0));
    int s = udp_bound(AF_INET, &c);
    R(sendto(s, "anybody", 7, 0, SA(&b), b.len));
    settle();
    show_recv("hears all", p[1]);
    R(connect(p[1], SA(&c), c.len));
    R(send(p[1], "to s", 4, 0));
    settle();
    show_recv("s", s);
    OK(close(s));
    end(p);
}

static void reuse_port(void)
{
    struct addr a;
    int s[2], on = 1, got = 0;
    char buf[4];
    loopback(&a, AF_INET, 0);
    for (int i = 0; i < 2; i++) {
        s[i] = OK(socket(AF_INET, SOCK_DGRAM, 0));
        OK(setsockopt(s[i], SOL_SOCKET, SO_REUSEPORT, &on, sizeof on));
        R(bind(s[i], SA(&a), a.len));
        local_addr(s[i], &a);
    }
    for (int i = 0; i < 32; i++) {
        int c = OK(socket(AF_INET, SOCK_DGRAM, 0));
        OK(sendto(c, "x", 1, 0, SA(&a), a.len));
        settle();
        for (int j = 0; j < 2; j++)
            got += recv(s[j], buf, 4, MSG_DONTWAIT) == 1;
        OK(close(c));
    }
    trace("each arrived once %d", got == 32);
    end(s);
}

static void next_length(void)
{
    int p[2], n = -1;
    char buf[16];
    udp_pair(p);
    R(ioctl(p[1], FIONREAD, &n));
    trace("%d", n);
    send_text(p[0], "12345");
    send_text(p[0], "123");
    settle();
    R(ioctl(p[1], FIONREAD, &n));
    trace("%d", n);
    OK(recv(p[1], buf, 16, 0));
    R(ioctl(p[1], FIONREAD, &n));
    trace("%d", n);
    OK(recv(p[1], buf, 16, 0));
    R(ioctl(p[1], FIONREAD, &n));
    trace("%d", n);
    end(p);
}

static void echo_child(void *arg)
{
    char buf[64];
    struct addr from = {.len = sizeof from.ss};
    for (int i = 0; i < 3; i++) {
        long n = OK(recvfrom(*(int *)arg, buf, sizeof buf, 0, SA(&from), &from.len));
        OK(sendto(*(int *)arg, buf, (size_t)n, 0, SA(&from), from.len));
    }
}

static void processes(void)
{
    struct addr a;
    int s = udp_bound(AF_INET, &a), c = OK(socket(AF_INET, SOCK_DGRAM, 0));
    pid_t pid = child(echo_child, &s);
    OK(close(s));
    OK(connect(c, SA(&a), a.len));
    char buf[8] = "";
    for (int i = 0; i < 3; i++) {
        send_text(c, "hello");
        R(recv(c, buf, 8, 0));
        trace("%s", buf);
    }
    reap(pid);
    OK(close(c));
}

static void closing(void)
{
    int p[2];
    char buf[4];
    udp_pair(p);
    R(shutdown(p[0], SHUT_WR));
    R(send(p[0], "x", 1, MSG_NOSIGNAL));
    R(shutdown(p[1], SHUT_RD));
    R(recv(p[1], buf, 4, 0));
    R(shutdown(p[0], SHUT_RDWR));
    R(recv(p[0], buf, 4, MSG_DONTWAIT));
    show_poll("shut down", p[0], POLLIN | POLLOUT | POLLRDHUP, 0);
    struct addr a;
    int s = udp_bound(AF_INET, &a);
    R(shutdown(s, SHUT_RD));
    OK(close(s));
    end(p);
}

const struct conf_case udpmore_cases[] = {
    {"udp_sendmmsg_recvmmsg", vectors, UDP, NULL},
    {"udp_pktinfo", packet_info, UDP, NULL},
    {"udp_v6", info6, UDP, NULL},
    {"udp_v4_mapped", mapped, UDP, NULL},
    {"udp_autobind", autobind, UDP, NULL},
    {"udp_readiness", readiness, UDP, NULL},
    {"udp_sleep", sleeping, UDP, NULL},
    {"udp_connect_af_unspec", dissolve, UDP, NULL},
    {"udp_reuseport", reuse_port, UDP, NULL},
    {"udp_fionread", next_length, UDP, NULL},
    {"udp_processes", processes, UDP, NULL},
    {"udp_shutdown", closing, KERNEL, "the sockets are shut down before a datagram is sent"},
    {0},
};
