/* SPDX-License-Identifier: BSD-3-Clause
 * Options of the socket level: values, lengths, errors, inheritance. */
#include "lib.h"

struct named {
    int level, name;
    const char *text;
};
#define O(level, name) {level, name, #name}

static void show(const char *who, int fd, const struct named *o)
{
    uint8_t val[64] = {0};
    socklen_t len = sizeof val;
    errno = 0;
    int r = getsockopt(fd, o->level, o->name, val, &len), v;
    memcpy(&v, val, sizeof v);
    if (r < 0)
        trace("%s: %s %s", who, o->text, err_name(errno));
    else
        trace("%s: %s %d, length %u", who, o->text, v, len);
}

static void kinds(void)
{
    static const struct named list[] = {O(SOL_SOCKET, SO_TYPE),      O(SOL_SOCKET, SO_DOMAIN),
                                        O(SOL_SOCKET, SO_PROTOCOL),  O(SOL_SOCKET, SO_ACCEPTCONN),
                                        O(SOL_SOCKET, SO_ERROR),     O(SOL_SOCKET, SO_KEEPALIVE),
                                        O(SOL_SOCKET, SO_REUSEADDR), O(SOL_SOCKET, SO_REUSEPORT),
                                        O(SOL_SOCKET, SO_BROADCAST), O(SOL_SOCKET, SO_OOBINLINE),
                                        O(SOL_SOCKET, SO_RCVLOWAT),  O(SOL_SOCKET, SO_SNDLOWAT),
                                        O(SOL_SOCKET, SO_PRIORITY),  O(SOL_SOCKET, SO_LINGER),
                                        O(SOL_SOCKET, SO_MARK),      O(SOL_SOCKET, SO_PEERCRED),
                                        O(SOL_SOCKET, SO_TIMESTAMP), O(SOL_SOCKET, SO_DONTROUTE)};
    int p[2], p6[2], s = OK(socket(AF_INET, SOCK_STREAM, 0));
    struct addr a;
    int l = tcp_listen(AF_INET, 4, &a);
    tcp_pair(p);
    tcp_pair_of(AF_INET6, p6);
    for (size_t i = 0; i < COUNT(list); i++) {
        if (list[i].name == SO_PEERCRED)
            continue;
        show("fresh", s, &list[i]);
        show("listener", l, &list[i]);
        show("client", p[0], &list[i]);
        show("server", p[1], &list[i]);
        show("v6", p6[1], &list[i]);
    }
    int fds[] = {p[0], p[1], p6[0], p6[1], s, l};
    for (size_t i = 0; i < COUNT(fds); i++)
        OK(close(fds[i]));
}

static void flip(const char *who, int fd, const struct named *o, int v)
{
    errno = 0;
    int r = setsockopt(fd, o->level, o->name, &v, sizeof v);
    trace("%s: set %s to %d = %d %s", who, o->text, v, r, r < 0 ? err_name(errno) : "");
    show(who, fd, o);
}

static void round_trips(void)
{
    static const struct named list[] = {O(SOL_SOCKET, SO_KEEPALIVE), O(SOL_SOCKET, SO_REUSEADDR),
                                        O(SOL_SOCKET, SO_BROADCAST), O(SOL_SOCKET, SO_OOBINLINE),
                                        O(SOL_SOCKET, SO_PRIORITY),  O(SOL_SOCKET, SO_RCVLOWAT),
                                        O(SOL_SOCKET, SO_TYPE),      O(SOL_SOCKET, SO_ERROR)};
    int p[2], s = OK(socket(AF_INET, SOCK_STREAM, 0));
    tcp_pair(p);
    for (size_t i = 0; i < COUNT(list); i++)
        for (int v = 5; v >= 0; v -= 5) {
            flip("fresh", s, &list[i], v);
            flip("connected", p[0], &list[i], v);
        }
    OK(close(s));
    OK(close(p[0]));
    OK(close(p[1]));
}

static void buffers(void)
{
    static const struct named list[] = {O(SOL_SOCKET, SO_SNDBUF), O(SOL_SOCKET, SO_RCVBUF)};
    static const int values[] = {0, 1, 5000, 65536, 100000, 212992, 300000, 100000000, -1};
    int p[2], s = OK(socket(AF_INET, SOCK_STREAM, 0)), u = OK(socket(AF_INET, SOCK_DGRAM, 0));
    tcp_pair(p);
    for (size_t i = 0; i < COUNT(list); i++)
        for (size_t j = 0; j < COUNT(values); j++) {
            flip("fresh", s, &list[i], values[j]);
            flip("client", p[0], &list[i], values[j]);
            flip("server", p[1], &list[i], values[j]);
            flip("udp", u, &list[i], values[j]);
        }
    send_text(p[0], "still works");
    settle();
    show_recv("server", p[1]);
    OK(close(s));
    OK(close(u));
    OK(close(p[0]));
    OK(close(p[1]));
}

static void structs(void)
{
    int p[2];
    struct linger l = {1, 7};
    struct timeval tv = {3, 500000}; /* a multiple of any kernel's tick */
    socklen_t len;
    tcp_pair(p);
    for (int i = 0; i < 2; i++) {
        l = (struct linger){1, 7};
        tv = (struct timeval){3, 500000};
        R(setsockopt(p[i], SOL_SOCKET, SO_LINGER, &l, sizeof l));
        R(setsockopt(p[i], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
        memset(&l, 0, len = sizeof l);
        R(getsockopt(p[i], SOL_SOCKET, SO_LINGER, &l, &len));
        trace("linger %d %d, length %u", l.l_onoff, l.l_linger, len);
        memset(&tv, 0, len = sizeof tv);
        R(getsockopt(p[i], SOL_SOCKET, SO_RCVTIMEO, &tv, &len));
        trace("rcvtimeo %ld.%06ld, length %u", (long)tv.tv_sec, (long)tv.tv_usec, len);
        R(getsockopt(p[i], SOL_SOCKET, SO_SNDTIMEO, &tv, &len));
        trace("sndtimeo %ld.%06ld, length %u", (long)tv.tv_sec, (long)tv.tv_usec, len);
        tv = (struct timeval){0, 1000000};
        R(setsockopt(p[i], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv));
        tv = (struct timeval){-5, 0};
        R(setsockopt(p[i], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv));
        R(getsockopt(p[i], SOL_SOCKET, SO_SNDTIMEO, &tv, &len));
        trace("sndtimeo %ld.%06ld", (long)tv.tv_sec, (long)tv.tv_usec);
        l = (struct linger){0, 9};
        R(setsockopt(p[i], SOL_SOCKET, SO_LINGER, &l, sizeof l));
        len = sizeof l;
        R(getsockopt(p[i], SOL_SOCKET, SO_LINGER, &l, &len));
        trace("linger %d", l.l_onoff);
    }
    OK(close(p[0]));
    OK(close(p[1]));
}

static void lengths(void)
{
    int p[2], v = 1;
    uint8_t buf[16];
    socklen_t len;
    struct linger l = {1, 3};
    tcp_pair(p);
    R(setsockopt(p[0], SOL_SOCKET, SO_KEEPALIVE, &v, 3));
    R(setsockopt(p[0], SOL_SOCKET, SO_KEEPALIVE, &v, 0));
    R(setsockopt(p[0], SOL_SOCKET, SO_KEEPALIVE, &v, 16));
    R(setsockopt(p[0], SOL_SOCKET, SO_LINGER, &l, 4));
    R(setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &l, 8));
    R(setsockopt(p[0], SOL_SOCKET, SO_KEEPALIVE, NULL, 4));
    R(setsockopt(p[0], IPPROTO_TCP, TCP_NODELAY, &v, 1));
    R(setsockopt(p[0], IPPROTO_IP, IP_TTL, &v, 1));
    static const socklen_t sizes[] = {0, 1, 2, 4, 16, (socklen_t)-1};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        memset(buf, 0xee, sizeof buf);
        len = sizes[i];
        R(getsockopt(p[0], SOL_SOCKET, SO_KEEPALIVE, buf, &len));
        trace("length %d: %02x %02x %02x", (int)len, buf[0], buf[1], buf[4]);
        memset(buf, 0xee, sizeof buf);
        len = sizes[i];
        R(getsockopt(p[0], IPPROTO_TCP, TCP_NODELAY, buf, &len));
        trace("length %d: %02x %02x %02x", (int)len, buf[0], buf[1], buf[4]);
    }
    len = 4;
    R(getsockopt(p[0], SOL_SOCKET, SO_KEEPALIVE, NULL, &len));
    R(getsockopt(p[0], SOL_SOCKET, SO_KEEPALIVE, buf, NULL));
    OK(close(p[0]));
    OK(close(p[1]));
}

static void unknown(void)
{
    int p[2], v = 1;
    socklen_t len = sizeof v;
    tcp_pair(p);
    R(setsockopt(p[0], SOL_SOCKET, 9999, &v, sizeof v));
    R(setsockopt(p[0], IPPROTO_TCP, 9999, &v, sizeof v));
    R(setsockopt(p[0], IPPROTO_IP, 9999, &v, sizeof v));
    R(setsockopt(p[0], IPPROTO_IPV6, IPV6_V6ONLY, &v, sizeof v));
    R(setsockopt(p[0], 9999, 1, &v, sizeof v));
    R(setsockopt(p[0], IPPROTO_UDP, 1, &v, sizeof v));
    R(getsockopt(p[0], SOL_SOCKET, 9999, &v, &len));
    R(getsockopt(p[0], IPPROTO_TCP, 9999, &v, &len));
    R(getsockopt(p[0], IPPROTO_IP, 9999, &v, &len));
    R(getsockopt(p[0], 9999, 1, &v, &len));
    R(getsockopt(-1, SOL_SOCKET, SO_TYPE, &v, &len));
    R(setsockopt(STDOUT_FILENO, SOL_SOCKET, SO_KEEPALIVE, &v, sizeof v));
    OK(close(p[0]));
    R(getsockopt(p[0], SOL_SOCKET, SO_TYPE, &v, &len));
    OK(close(p[1]));
}

static void inheritance(void)
{
    static const struct named list[] = {O(SOL_SOCKET, SO_KEEPALIVE),   O(SOL_SOCKET, SO_REUSEADDR),
                                        O(SOL_SOCKET, SO_RCVBUF),      O(SOL_SOCKET, SO_SNDBUF),
                                        O(SOL_SOCKET, SO_OOBINLINE),   O(SOL_SOCKET, SO_LINGER),
                                        O(SOL_SOCKET, SO_RCVLOWAT),    O(IPPROTO_TCP, TCP_NODELAY),
                                        O(IPPROTO_TCP, TCP_KEEPIDLE),  O(IPPROTO_TCP, TCP_KEEPINTVL),
                                        O(IPPROTO_TCP, TCP_KEEPCNT),   O(IPPROTO_TCP, TCP_USER_TIMEOUT),
                                        O(IPPROTO_IP, IP_TOS),         O(IPPROTO_IP, IP_TTL)};
    struct addr a;
    int l = tcp_listen(AF_INET, 4, &a), s = OK(socket(AF_INET, SOCK_STREAM, 0));
    struct linger hard = {1, 3};
    for (size_t i = 0; i < COUNT(list); i++) {
        int v = list[i].level == SOL_SOCKET && list[i].name <= SO_RCVBUF && list[i].name >= SO_SNDBUF ? 50000 : 9;
        bool linger = list[i].name == SO_LINGER && list[i].level == SOL_SOCKET;
        v = linger || list[i].name != SO_OOBINLINE ? v : 1;
        if (list[i].level == SOL_SOCKET && list[i].name == SO_RCVLOWAT)
            v = 2;
        int fds[] = {l, s};
        for (int j = 0; j < 2; j++)
            OK(linger ? setsockopt(fds[j], SOL_SOCKET, SO_LINGER, &hard, sizeof hard)
                      : setsockopt(fds[j], list[i].level, list[i].name, &v, sizeof v));
    }
    OK(connect(s, SA(&a), a.len));
    count_connect();
    int c = tcp_accept(l);
    for (size_t i = 0; i < COUNT(list); i++) {
        show("listener", l, &list[i]);
        show("connected after they were set", s, &list[i]);
        show("accepted", c, &list[i]);
    }
    OK(close(s));
    OK(close(c));
    OK(close(l));
}

/* SO_MAX_PACING_RATE in either of its sizes. */
static void show_rate(const char *who, int fd)
{
    uint64_t wide = 77;
    uint32_t narrow = 77;
    uint64_t info[32] = {0};
    socklen_t len = sizeof narrow;
    R(getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &narrow, &len));
    trace("%s: %u, length %u", who, narrow, len);
    len = sizeof wide;
    R(getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &wide, &len));
    trace("%s: %llu, length %u", who, (unsigned long long)wide, len);
    wide = 0;
    len = 7;
    R(getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &wide, &len));
    trace("%s: %llx, length %u", who, (unsigned long long)wide, len);
    len = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &len) == 0)
        trace("%s: TCP_INFO tells %llu", who, (unsigned long long)info[14]); /* tcpi_max_pacing_rate, which this C library's header has not */
}

static void pacing(void)
{
    static const uint64_t rates[] = {1000000, 0, UINT32_MAX, 1ull << 40, UINT64_MAX, 12345};
    static const char *const who[] = {"fresh", "listener", "client", "server", "udp"};
    struct addr a;
    int p[2], s = OK(socket(AF_INET, SOCK_STREAM, 0)), l = tcp_listen(AF_INET, 4, &a), u = OK(socket(AF_INET, SOCK_DGRAM, 0));
    tcp_pair(p);
    int fds[] = {s, l, p[0], p[1], u};
    for (size_t i = 0; i < COUNT(fds); i++) {
        show_rate(who[i], fds[i]);
        for (size_t j = 0; j < COUNT(rates); j++) {
            R(setsockopt(fds[i], SOL_SOCKET, SO_MAX_PACING_RATE, &rates[j], sizeof rates[j]));
            show_rate(who[i], fds[i]);
            R(setsockopt(fds[i], SOL_SOCKET, SO_MAX_PACING_RATE, &rates[j], sizeof(uint32_t)));
            show_rate(who[i], fds[i]);
        }
        R(setsockopt(fds[i], SOL_SOCKET, SO_MAX_PACING_RATE, &rates[0], 7));
        R(setsockopt(fds[i], SOL_SOCKET, SO_MAX_PACING_RATE, &rates[0], 3));
        R(setsockopt(fds[i], SOL_SOCKET, SO_MAX_PACING_RATE, (void *)8, 8));
        show_rate(who[i], fds[i]);
    }
    uint64_t wide = 1ull << 33;
    OK(setsockopt(l, SOL_SOCKET, SO_MAX_PACING_RATE, &wide, sizeof wide));
    OK(connect(s, SA(&a), a.len));
    count_connect();
    int c = tcp_accept(l);
    show_rate("connected after it was set", s);
    show_rate("accepted", c);
    close(c);
    for (size_t i = 0; i < COUNT(fds); i++)
        OK(close(fds[i]));
}

const struct conf_case options_cases[] = {
    {"opt_socket_level", kinds, TCP, NULL},
    {"opt_round_trips", round_trips, TCP, NULL},
    {"opt_buffers", buffers, TCP, NULL},
    {"opt_structs", structs, TCP, NULL},
    {"opt_lengths", lengths, TCP, NULL},
    {"opt_unknown", unknown, TCP, NULL},
    {"opt_inheritance", inheritance, TCP, NULL},
    {"opt_pacing", pacing, TCP, NULL},
    {0},
};
