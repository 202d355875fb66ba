/* SPDX-License-Identifier: BSD-3-Clause
 * getsockname and getpeername in every state; IPv6 and addresses of IPv4 in it. */
#include "lib.h"

static void name(const char *what, int fd)
{
    struct addr a = {.len = sizeof a.ss};
    errno = 0;
    int r = getsockname(fd, SA(&a), &a.len);
    trace("%s: own %s", what, r < 0 ? err_name(errno) : addr_text(&a.ss, a.len));
    a.len = sizeof a.ss;
    r = getpeername(fd, SA(&a), &a.len);
    trace("%s: peer %s", what, r < 0 ? err_name(errno) : addr_text(&a.ss, a.len));
}

static void states(void)
{
    struct addr a;
    int s = OK(socket(AF_INET, SOCK_STREAM, 0)), l = tcp_listen(AF_INET, 4, &a);
    name("fresh", s);
    name("listening", l);
    OK(connect(s, SA(&a), a.len));
    count_connect();
    name("connected", s);
    int c = tcp_accept(l);
    name("accepted", c);
    struct addr b = {.len = 5};
    memset(&b.ss, 0xee, sizeof b.ss);
    R(getsockname(c, SA(&b), &b.len));
    trace("short: length %u, next byte %x", b.len, ((uint8_t *)&b.ss)[5]);
    b.len = (socklen_t)-1;
    R(getsockname(c, SA(&b), &b.len));
    OK(shutdown(s, SHUT_WR));
    settle();
    name("half closed", s);
    name("half closed by the peer", c);
    OK(close(s));
    settle();
    name("closed by the peer", c);
    OK(shutdown(c, SHUT_RDWR));
    settle();
    name("ended on both sides", c);
    OK(close(c));
    OK(close(l));
}

static void pair_v6(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET6, 4, &a), s = tcp_connect(&a), c = tcp_accept(l);
    name("listening", l);
    name("connected", s);
    name("accepted", c);
    OK(close(s));
    OK(close(c));
    OK(close(l));
}

/* A wildcard listener of IPv6 takes IPv4, too. */
static void mapped(void)
{
    struct addr a, b, from = {.len = sizeof from.ss};
    int l = OK(socket(AF_INET6, SOCK_STREAM, 0));
    wildcard(&a, AF_INET6, 0);
    OK(bind(l, SA(&a), a.len));
    OK(listen(l, 4));
    local_addr(l, &a);
    trace("V6ONLY %d", get_int(l, IPPROTO_IPV6, IPV6_V6ONLY));
    loopback(&b, AF_INET, addr_port(&a));
    int s = tcp_connect(&b);
    int c = OK(accept(l, SA(&from), &from.len));
    trace("from %s", addr_text(&from.ss, from.len));
    name("client", s);
    name("server", c);
    OK(close(s));
    OK(close(c));
    loopback(&b, AF_INET6, addr_port(&a));
    s = tcp_connect(&b);
    c = tcp_accept(l);
    name("client", s);
    name("server", c);
    OK(close(s));
    OK(close(c));
    OK(close(l));
}

/* An IPv6 socket connects to a mapped address of an IPv4 listener. */
static void mapped_connect(void)
{
    struct addr a, b;
    int l = tcp_listen(AF_INET, 4, &a), s = OK(socket(AF_INET6, SOCK_STREAM, 0));
    loopback(&b, AF_INET6, addr_port(&a));
    uint8_t *ip = ((struct sockaddr_in6 *)&b.ss)->sin6_addr.s6_addr;
    memset(ip, 0, 16);
    ip[10] = ip[11] = 0xff;
    ip[12] = 127;
    ip[15] = 1;
    R(connect(s, SA(&b), b.len));
    count_connect();
    int c = tcp_accept(l);
    name("client", s);
    name("server", c);
    send_text(s, "mapped");
    settle();
    show_recv("server", c);
    OK(close(s));
    OK(close(c));
    OK(close(l));
}

static void v6only(void)
{
    struct addr a, b;
    int l = OK(socket(AF_INET6, SOCK_STREAM, 0)), on = 1;
    R(setsockopt(l, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on));
    wildcard(&a, AF_INET6, 0);
    OK(bind(l, SA(&a), a.len));
    OK(listen(l, 4));
    local_addr(l, &a);
    int l4 = OK(socket(AF_INET, SOCK_STREAM, 0)), s = OK(socket(AF_INET, SOCK_STREAM, 0));
    loopback(&b, AF_INET, addr_port(&a));
    R(connect(s, SA(&b), b.len));
    OK(close(s));
    s = OK(socket(AF_INET, SOCK_STREAM, 0));
    wildcard(&b, AF_INET, addr_port(&a));
    R(bind(l4, SA(&b), b.len));
    R(listen(l4, 4));
    loopback(&b, AF_INET, addr_port(&a));
    R(connect(s, SA(&b), b.len));
    count_connect();
    loopback(&b, AF_INET6, addr_port(&a));
    int s6 = tcp_connect(&b);
    int c = tcp_accept(l4), c6 = tcp_accept(l);
    name("IPv4", c);
    name("IPv6", c6);
    int fds[] = {l, l4, s, s6, c, c6};
    for (size_t i = 0; i < COUNT(fds); i++)
        OK(close(fds[i]));
}

static void loopback_net(void)
{
    struct addr a, b;
    int l = tcp_listen(AF_INET, 4, &a), s = OK(socket(AF_INET, SOCK_STREAM, 0));
    loopback(&b, AF_INET, addr_port(&a));
    ((struct sockaddr_in *)&b.ss)->sin_addr.s_addr = htonl(0x7f010203);
    R(connect(s, SA(&b), b.len)); /* 127.1.2.3: nobody there */
    OK(close(l));
    OK(close(s));
    l = OK(socket(AF_INET, SOCK_STREAM, 0));
    ((struct sockaddr_in *)&b.ss)->sin_port = 0;
    R(bind(l, SA(&b), b.len));
    OK(listen(l, 4));
    local_addr(l, &b);
    s = tcp_connect(&b);
    int c = tcp_accept(l);
    name("client", s);
    name("server", c);
    OK(close(s));
    OK(close(c));
    OK(close(l));
}

const struct conf_case names_cases[] = {
    {"names_states", states, TCP, NULL},
    {"names_v6", pair_v6, TCP, NULL},
    {"names_v4_mapped", mapped, TCP, NULL},
    {"names_v4_mapped_connect", mapped_connect, TCP, NULL},
    {"names_v6only", v6only, TCP, NULL},
    {"names_loopback_net", loopback_net, TCP, NULL},
    {0},
};
