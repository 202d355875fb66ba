/* SPDX-License-Identifier: BSD-3-Clause
 * Options of the TCP, IP and IPv6 levels. */
#include "lib.h"

static void done(int p[2])
{
    OK(close(p[0]));
    OK(close(p[1]));
}

static void round_trip(const char *who, int fd, int level, int name, const char *text, int v)
{
    int got = -77;
    socklen_t len = sizeof got;
    errno = 0;
    int r = getsockopt(fd, level, name, &got, &len);
    trace("%s: %s is %d (%s), length %u", who, text, got, r < 0 ? err_name(errno) : "ok", len);
    r = setsockopt(fd, level, name, &v, sizeof v);
    trace("%s: set to %d: %s", who, v, r < 0 ? err_name(errno) : "ok");
    got = -77;
    len = sizeof got;
    r = getsockopt(fd, level, name, &got, &len);
    trace("%s: %s is %d (%s)", who, text, got, r < 0 ? err_name(errno) : "ok");
}
#define TRIP(who, fd, level, name, v) round_trip(who, fd, level, name, #name, v)

static void tcp_level(void)
{
    int p[2], s = OK(socket(AF_INET, SOCK_STREAM, 0));
    tcp_pair(p);
    for (int i = 0; i < 2; i++) {
        const char *who = i ? "connected" : "fresh";
        int fd = i ? p[0] : s;
        TRIP(who, fd, IPPROTO_TCP, TCP_NODELAY, 1);
        TRIP(who, fd, IPPROTO_TCP, TCP_NODELAY, 0);
        TRIP(who, fd, IPPROTO_TCP, TCP_CORK, 1);
        TRIP(who, fd, IPPROTO_TCP, TCP_CORK, 0);
        TRIP(who, fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
        TRIP(who, fd, IPPROTO_TCP, TCP_KEEPIDLE, 0);
        TRIP(who, fd, IPPROTO_TCP, TCP_KEEPIDLE, 32768);
        TRIP(who, fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
        TRIP(who, fd, IPPROTO_TCP, TCP_KEEPINTVL, 0);
        TRIP(who, fd, IPPROTO_TCP, TCP_KEEPCNT, 5);
        TRIP(who, fd, IPPROTO_TCP, TCP_KEEPCNT, 128);
        TRIP(who, fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 30000);
        TRIP(who, fd, IPPROTO_TCP, TCP_USER_TIMEOUT, -1);
        TRIP(who, fd, IPPROTO_TCP, TCP_SYNCNT, 3);
        TRIP(who, fd, IPPROTO_TCP, TCP_LINGER2, 10);
        TRIP(who, fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 0);
        TRIP(who, fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16384);
        TRIP(who, fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0);
    }
    OK(close(s));
    done(p);
}

/* Values that the kernel rounds, bounds or refuses. */
static void tcp_bounds(void)
{
    int p[2], s = OK(socket(AF_INET, SOCK_STREAM, 0));
    struct addr a;
    int l = tcp_listen(AF_INET, 4, &a);
    tcp_pair(p);
    for (int i = 0; i < 3; i++) {
        static const char *const whos[] = {"fresh", "connected", "listening"};
        int fd = i == 0 ? s : i == 1 ? p[0] : l;
        static const int seconds[] = {1, 3, 4, 7, 100, 100000, -1};
        for (size_t j = 0; j < COUNT(seconds); j++)
            TRIP(whos[i], fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, seconds[j]);
        TRIP(whos[i], fd, IPPROTO_TCP, TCP_LINGER2, 0);
        TRIP(whos[i], fd, IPPROTO_TCP, TCP_LINGER2, -5);
        TRIP(whos[i], fd, IPPROTO_TCP, TCP_LINGER2, 100000);
        TRIP(whos[i], fd, IPPROTO_TCP, TCP_SYNCNT, 0);
        TRIP(whos[i], fd, IPPROTO_TCP, TCP_SYNCNT, 128);
        TRIP(whos[i], fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0);
        int v = 40, big = 40000;
        R(setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &v, sizeof v));
        R(setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &big, sizeof big));
        TRIP(whos[i], fd, IPPROTO_TCP, TCP_QUICKACK, 1);
        TRIP(whos[i], fd, IPPROTO_TCP, TCP_QUICKACK, 0);
    }
    OK(close(s));
    OK(close(l));
    done(p);
}

static void congestion(void)
{
    int p[2];
    char name[32] = "";
    tcp_pair(p);
    for (int i = 0; i < 2; i++) {
        socklen_t len = sizeof name;
        R(getsockopt(p[i], IPPROTO_TCP, TCP_CONGESTION, name, &len));
        trace("%s, length %u", name, len);
        R(setsockopt(p[i], IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
        len = sizeof name;
        R(getsockopt(p[i], IPPROTO_TCP, TCP_CONGESTION, name, &len));
        trace("%s, length %u", name, len);
        R(setsockopt(p[i], IPPROTO_TCP, TCP_CONGESTION, "no-such", 7));
        R(setsockopt(p[i], IPPROTO_TCP, TCP_CONGESTION, "", 0));
        len = 2;
        R(getsockopt(p[i], IPPROTO_TCP, TCP_CONGESTION, name, &len));
        trace("length %u", len);
    }
    done(p);
}

static int tcp_state(int fd)
{
    struct tcp_info ti;
    socklen_t len = sizeof ti;
    memset(&ti, 0xff, sizeof ti);
    OK(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len));
    return ti.tcpi_state;
}

static void info(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 4, &a), s = OK(socket(AF_INET, SOCK_STREAM, 0));
    trace("fresh %d, listening %d", tcp_state(s), tcp_state(l));
    OK(connect(s, SA(&a), a.len));
    count_connect();
    int c = tcp_accept(l);
    trace("established %d %d", tcp_state(s), tcp_state(c));
    OK(shutdown(s, SHUT_WR));
    settle();
    trace("half closed %d %d", tcp_state(s), tcp_state(c));
    OK(shutdown(c, SHUT_WR));
    settle();
    trace("closed, first and second %d %d", tcp_state(s), tcp_state(c));
    OK(close(s));
    settle();
    trace("the first is gone %d", tcp_state(c));
    struct tcp_info ti;
    socklen_t len = 8;
    R(getsockopt(c, IPPROTO_TCP, TCP_INFO, &ti, &len));
    trace("length %u", len);
    OK(close(c));
    OK(close(l));
    int p[2];
    tcp_pair(p);
    send_text(p[0], "unread");
    settle();
    OK(close(p[1]));
    settle();
    trace("reset %d", tcp_state(p[0]));
    OK(close(p[0]));
}

static void ip_level(void)
{
    int p[2], s = OK(socket(AF_INET, SOCK_STREAM, 0));
    tcp_pair(p);
    for (int i = 0; i < 2; i++) {
        const char *who = i ? "connected" : "fresh";
        int fd = i ? p[1] : s;
        TRIP(who, fd, IPPROTO_IP, IP_TOS, 0x10);
        TRIP(who, fd, IPPROTO_IP, IP_TTL, 42);
        TRIP(who, fd, IPPROTO_IP, IP_TTL, 300);
        TRIP(who, fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
        TRIP(who, fd, IPPROTO_IP, IP_RECVERR, 1);
        TRIP(who, fd, IPPROTO_IP, IP_FREEBIND, 1);
        TRIP(who, fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    }
    OK(close(s));
    done(p);
}

static void ipv6_level(void)
{
    int p[2], s = OK(socket(AF_INET6, SOCK_STREAM, 0));
    tcp_pair_of(AF_INET6, p);
    for (int i = 0; i < 2; i++) {
        const char *who = i ? "connected" : "fresh";
        int fd = i ? p[0] : s;
        TRIP(who, fd, IPPROTO_IPV6, IPV6_TCLASS, 0x20);
        TRIP(who, fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33);
        TRIP(who, fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
        TRIP(who, fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
        TRIP(who, fd, IPPROTO_TCP, TCP_NODELAY, 1);
        TRIP(who, fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    }
    OK(close(s));
    done(p);
}

/* What is corked, or small behind unacknowledged data, still arrives. */
static void cork(void)
{
    int p[2], on = 1, off = 0;
    char buf[16] = "";
    tcp_pair(p);
    OK(setsockopt(p[0], IPPROTO_TCP, TCP_CORK, &on, sizeof on));
    send_text(p[0], "one ");
    send_text(p[0], "two");
    OK(setsockopt(p[0], IPPROTO_TCP, TCP_CORK, &off, sizeof off));
    read_exact(p[1], buf, 7);
    trace("%s", buf);
    OK(setsockopt(p[0], IPPROTO_TCP, TCP_CORK, &on, sizeof on));
    send_text(p[0], "three");
    OK(close(p[0]));
    memset(buf, 0, sizeof buf);
    read_exact(p[1], buf, 5);
    trace("%s", buf);
    show_recv("end", p[1]);
    OK(close(p[1]));
}

const struct conf_case tcpopts_cases[] = {
    {"opt_tcp_level", tcp_level, TCP, NULL},
    {"opt_tcp_bounds", tcp_bounds, TCP, NULL},
    {"opt_tcp_congestion", congestion, TCP, NULL},
    {"opt_tcp_info", info, TCP, NULL},
    {"opt_ip_level", ip_level, TCP, NULL},
    {"opt_ipv6_level", ipv6_level, TCP, NULL},
    {"opt_tcp_cork", cork, TCP, NULL},
    {0},
};
