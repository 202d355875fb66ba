/* SPDX-License-Identifier: BSD-3-Clause
 * UDP: addresses, connected sockets, sizes, drops. */
#include "lib.h"

static void end(int p[2])
{
    OK(close(p[0]));
    OK(close(p[1]));
}

static void show_from(const char *what, int fd)
{
    char buf[64] = "";
    struct addr from = {.len = sizeof from.ss};
    errno = 0;
    ssize_t n = recvfrom(fd, buf, sizeof buf - 1, MSG_DONTWAIT, SA(&from), &from.len);
    if (n < 0)
        trace("%s: -1 %s", what, err_name(errno));
    else
        trace("%s: %zd \"%s\" from %s", what, n, buf, addr_text(&from.ss, from.len));
}

static void addresses(void)
{
    struct addr a, b, own = {.len = sizeof own.ss};
    int s = udp_bound(AF_INET, &a), c = udp_bound(AF_INET, &b);
    trace("s is %s, c is %s", addr_text(&a.ss, a.len), addr_text(&b.ss, b.len));
    R(sendto(c, "one", 3, 0, SA(&a), a.len));
    R(sendto(c, "two", 3, 0, SA(&a), a.len));
    settle();
    show_from("s", s);
    show_from("s", s);
    show_from("s", s);
    R(sendto(s, "three", 5, 0, SA(&b), b.len));
    settle();
    show_from("c", c);
    R(send(c, "no address", 10, 0));
    R(sendto(c, "x", 1, 0, SA(&a), 4));
    struct addr port0;
    loopback(&port0, AF_INET, 0);
    R(sendto(c, "x", 1, 0, SA(&port0), port0.len));
    R(getpeername(c, SA(&own), &own.len));
    R(sendto(c, "self", 4, 0, SA(&b), b.len));
    settle();
    show_from("c", c);
    OK(close(s));
    OK(close(c));
}

static void connected(void)
{
    int p[2];
    struct addr a = {.len = sizeof a.ss}, b;
    char buf[16] = "";
    udp_pair(p);
    R(send(p[0], "hello", 5, 0));
    R(write(p[0], "again", 5));
    settle();
    R(read(p[1], buf, 16));
    trace("%s", buf);
    show_from("named", p[1]);
    OK(getpeername(p[0], SA(&a), &a.len));
    trace("peer %s", addr_text(&a.ss, a.len));
    local_addr(p[1], &b);
    R(sendto(p[0], "same", 4, 0, SA(&b), b.len));
    R(writev(p[0], (struct iovec[]){{"a", 1}, {"b", 1}}, 2));
    settle();
    show_from("named", p[1]);
    show_from("one datagram", p[1]);
    end(p);
}

/* A connected socket hears its peer only. */
static void filter(void)
{
    int p[2];
    struct addr a, b;
    udp_pair(p);
    local_addr(p[1], &a);
    int stranger = udp_bound(AF_INET, &b);
    R(sendto(stranger, "stranger", 8, 0, SA(&a), a.len));
    send_text(p[0], "peer");
    settle();
    show_from("hears", p[1]);
    show_from("hears", p[1]);
    R(sendto(p[1], "to the stranger", 15, 0, SA(&b), b.len));
    settle();
    show_from("stranger", stranger);
    OK(close(stranger));
    end(p);
}

/* What waited before connect stays. */
static void queued_before_connect(void)
{
    struct addr a, b, c;
    int s = udp_bound(AF_INET, &a), x = udp_bound(AF_INET, &b), y = udp_bound(AF_INET, &c);
    R(sendto(x, "x", 1, 0, SA(&a), a.len));
    settle();
    OK(connect(s, SA(&c), c.len));
    R(sendto(y, "y", 1, 0, SA(&a), a.len));
    R(sendto(x, "x", 1, 0, SA(&a), a.len));
    settle();
    show_from("s", s);
    show_from("s", s);
    show_from("s", s);
    OK(close(s));
    OK(close(x));
    OK(close(y));
}

static void short_buffer(void)
{
    int p[2];
    char buf[4] = "";
    struct iovec iov = {buf, 3};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    udp_pair(p);
    for (int i = 0; i < 5; i++)
        send_text(p[0], "0123456789");
    settle();
    R(recv(p[1], buf, 3, 0));
    trace("%s", buf);
    R(recv(p[1], buf, 3, MSG_TRUNC));
    R(recv(p[1], buf, 3, MSG_PEEK | MSG_TRUNC));
    R(recvmsg(p[1], &m, 0));
    trace("flags TRUNC %d", (m.msg_flags & MSG_TRUNC) != 0);
    R(recvmsg(p[1], &m, MSG_TRUNC));
    R(recv(p[1], NULL, 0, 0));
    show_from("all gone", p[1]);
    end(p);
}

static void empty_datagrams(void)
{
    int p[2];
    char buf[4];
    udp_pair(p);
    R(send(p[0], "", 0, 0));
    R(write(p[0], "", 0));
    send_text(p[0], "x");
    settle();
    show_poll("three wait", p[1], POLLIN | POLLOUT, 0);
    R(recv(p[1], buf, 4, MSG_DONTWAIT));
    R(read(p[1], buf, 4));
    R(recv(p[1], buf, 4, MSG_DONTWAIT));
    R(recv(p[1], buf, 4, MSG_DONTWAIT));
    end(p);
}

static void empty_queue(void)
{
    struct addr a;
    char buf[4];
    int s = udp_bound(AF_INET, &a);
    R(recv(s, buf, 4, MSG_DONTWAIT));
    set_nonblock(s, true);
    R(recv(s, buf, 4, 0));
    R(read(s, buf, 4));
    set_nonblock(s, false);
    struct timeval tv = {0, 80000};
    OK(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    int64_t start = now_ms();
    R(recv(s, buf, 4, 0));
    trace("in time %d", now_ms() - start >= 75 && now_ms() - start < 500);
    R(sendto(s, "x", 1, 0, SA(&a), a.len));
    R(recv(s, buf, 4, 0));
    OK(close(s));
}

/* Without a reader datagrams are dropped, never refused. */
static void drops(void)
{
    int p[2], small = 20000, sent = 0, got = 0;
    char block[1000] = "", buf[1000];
    udp_pair(p);
    OK(setsockopt(p[1], SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
    for (int i = 0; i < 5000; i++)
        sent += send(p[0], block, sizeof block, MSG_DONTWAIT) == sizeof block;
    settle();
    while (recv(p[1], buf, sizeof buf, MSG_DONTWAIT) == sizeof buf)
        got++;
    trace("all were sent %d, some arrived %d, some were dropped %d", sent == 5000, got > 5, got < 5000);
    send_text(p[0], "room again");
    settle();
    show_from("after it", p[1]);
    end(p);
}

static void sizes(void)
{
    int p[2];
    static uint8_t big[70000], in[70000];
    static const size_t list[] = {1, 1472, 1473, 8192, 65507};
    udp_pair(p);
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = pattern(i);
    for (size_t i = 0; i < COUNT(list); i++) {
        trace("send %zd", send(p[0], big, list[i], 0));
        ssize_t n = recv(p[1], in, sizeof in, 0);
        trace("recv %zd, intact %d", n, n > 0 && memcmp(in, big, (size_t)n) == 0);
    }
    R(send(p[0], big, 65508, 0));
    R(send(p[0], big, 70000, 0));
    show_from("nothing", p[1]);
    end(p);
}

static void refused(void)
{
    struct addr a;
    char buf[4];
    int s = udp_bound(AF_INET, &a);
    OK(close(s));
    s = OK(socket(AF_INET, SOCK_DGRAM, 0));
    OK(connect(s, SA(&a), a.len));
    R(send(s, "x", 1, 0));
    settle();
    show_poll("port unreachable", s, POLLIN | POLLOUT, 1000);
    R(send(s, "x", 1, 0));
    settle();
    R(recv(s, buf, 4, MSG_DONTWAIT));
    R(recv(s, buf, 4, MSG_DONTWAIT));
    R(sendto(s, "x", 1, 0, SA(&a), a.len));
    settle();
    trace("SO_ERROR %s", err_name(get_int(s, SOL_SOCKET, SO_ERROR)));
    OK(close(s));
}

const struct conf_case udp_cases[] = {
    {"udp_addresses", addresses, UDP, NULL},
    {"udp_connected", connected, UDP, NULL},
    {"udp_filter", filter, UDP, NULL},
    {"udp_queued_before_connect", queued_before_connect, UDP, NULL},
    {"udp_short_buffer", short_buffer, UDP, NULL},
    {"udp_empty_datagrams", empty_datagrams, UDP, NULL},
    {"udp_empty_queue", empty_queue, UDP, NULL},
    {"udp_drops", drops, UDP, NULL},
    {"udp_sizes", sizes, UDP, NULL},
    {"udp_refused", refused, KERNEL, "nobody has the port: the kernel answers"},
    {0},
};
