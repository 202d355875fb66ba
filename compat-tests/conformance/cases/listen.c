/* SPDX-License-Identifier: BSD-3-Clause
 * listen and accept. */
#include "lib.h"

static void accept_invalid(void)
{
    struct addr a;
    int p[2], s = OK(socket(AF_INET, SOCK_STREAM, 0));
    R(accept(s, NULL, NULL));
    loopback(&a, AF_INET, 0);
    OK(bind(s, SA(&a), a.len));
    R(accept(s, NULL, NULL));
    tcp_pair(p);
    R(accept(p[0], NULL, NULL));
    R(accept(p[1], NULL, NULL));
    R(accept(-1, NULL, NULL));
    R(accept(STDOUT_FILENO, NULL, NULL));
    OK(listen(s, 1));
    R(accept4(s, NULL, NULL, 1));
    R(accept4(s, NULL, NULL, SOCK_NONBLOCK | 0x40000000));
    set_nonblock(s, true);
    R(accept(s, NULL, NULL));
    R(accept4(s, NULL, NULL, SOCK_NONBLOCK));
    int u = OK(socket(AF_INET, SOCK_DGRAM, 0));
    R(accept(u, NULL, NULL));
    R(listen(u, 1));
    OK(close(u));
    OK(close(s));
    OK(close(p[0]));
    OK(close(p[1]));
}

static void accept_flags(void)
{
    static const int flags[] = {0, SOCK_NONBLOCK, SOCK_CLOEXEC, SOCK_NONBLOCK | SOCK_CLOEXEC};
    struct addr a;
    int l = tcp_listen(AF_INET, 8, &a);
    for (int on = 0; on < 2; on++) {
        set_nonblock(l, on); /* is not inherited on Linux */
        for (size_t i = 0; i < COUNT(flags); i++) {
            int s = tcp_connect(&a), c = OK(accept4(l, NULL, NULL, flags[i]));
            trace("flags %zu: nonblock %d cloexec %d", i, (fcntl(c, F_GETFL) & O_NONBLOCK) != 0, fcntl(c, F_GETFD));
            char buf[4];
            if (flags[i] & SOCK_NONBLOCK)
                R(read(c, buf, 4));
            OK(close(s));
            OK(close(c));
        }
    }
    int n = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    trace("socket: nonblock %d cloexec %d", (fcntl(n, F_GETFL) & O_NONBLOCK) != 0, fcntl(n, F_GETFD));
    OK(close(n));
    OK(close(l));
}

static void accept_address(void)
{
    struct addr a, from;
    int l = tcp_listen(AF_INET, 8, &a), s[4], c[4];
    for (int i = 0; i < 4; i++)
        s[i] = tcp_connect(&a);
    memset(&from, 0xee, sizeof from);
    from.len = 4;
    c[0] = OK(accept(l, SA(&from), &from.len));
    trace("4 bytes of room: length %u, family %d, next byte %x", from.len, from.ss.ss_family,
          ((uint8_t *)&from.ss)[4]);
    from.len = 0;
    c[1] = OK(accept(l, SA(&from), &from.len));
    trace("no room: length %u", from.len);
    from.len = sizeof from.ss;
    c[2] = OK(accept(l, SA(&from), &from.len));
    trace("room: %s", addr_text(&from.ss, from.len));
    c[3] = OK(accept(l, NULL, &from.len));
    for (int i = 0; i < 4; i++) {
        OK(close(s[i]));
        OK(close(c[i]));
    }
    OK(close(l));
}

static void address_in_use(void)
{
    struct addr a, any;
    int l = tcp_listen(AF_INET, 8, &a), on = 1;
    int s = OK(socket(AF_INET, SOCK_STREAM, 0)), t = OK(socket(AF_INET, SOCK_STREAM, 0));
    R(bind(s, SA(&a), a.len));
    wildcard(&any, AF_INET, addr_port(&a));
    R(bind(s, SA(&any), any.len));
    OK(setsockopt(t, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    R(bind(t, SA(&a), a.len));
    OK(close(l));
    R(bind(s, SA(&a), a.len));
    R(bind(s, SA(&a), a.len));
    R(listen(s, 1));
    R(listen(s, 5));
    R(bind(s, SA(&a), a.len));
    OK(close(s));
    OK(close(t));
}

/* After a listener with a connection is gone its port may be taken at once with SO_REUSEADDR only. */
static void reuse_address(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 8, &a), on = 1;
    int s = tcp_connect(&a), c = tcp_accept(l);
    OK(close(l));
    l = OK(socket(AF_INET, SOCK_STREAM, 0));
    OK(setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    int s2 = -1, c2 = -1;
    OK(setsockopt(c, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    int r = bind(l, SA(&a), a.len);
    if (r == 0) {
        OK(listen(l, 1));
        s2 = tcp_connect(&a);
        c2 = tcp_accept(l);
        send_text(s2, "new");
        send_text(s, "old");
        settle();
        show_recv("new", c2);
        show_recv("old", c);
        OK(close(s2));
        OK(close(c2));
    } else {
        trace("bind = -1 %s", err_name(errno));
    }
    OK(close(s));
    OK(close(c));
    OK(close(l));
}

static void reuse_port(void)
{
    struct addr a;
    int l[2], on = 1, count[2] = {0, 0}, s[64];
    loopback(&a, AF_INET, 0);
    for (int i = 0; i < 2; i++) {
        l[i] = OK(socket(AF_INET, SOCK_STREAM, 0));
        OK(setsockopt(l[i], SOL_SOCKET, SO_REUSEPORT, &on, sizeof on));
        R(bind(l[i], SA(&a), a.len));
        R(listen(l[i], 64));
        local_addr(l[i], &a);
        set_nonblock(l[i], true);
    }
    for (size_t i = 0; i < COUNT(s); i++)
        s[i] = tcp_connect(&a);
    settle();
    for (int i = 0; i < 2; i++) {
        int c;
        while ((c = accept(l[i], NULL, NULL)) >= 0) {
            count[i]++;
            OK(close(c));
        }
    }
    trace("all %d, each got some %d", count[0] + count[1], count[0] > 0 && count[1] > 0);
    for (size_t i = 0; i < COUNT(s); i++)
        OK(close(s[i]));
    OK(close(l[0]));
    int t = tcp_connect(&a); /* the other one takes all from now on */
    set_nonblock(l[1], false);
    int c = tcp_accept(l[1]);
    OK(close(t));
    OK(close(c));
    OK(close(l[1]));
}

static void without_bind(void)
{
    struct addr a;
    int l = OK(socket(AF_INET, SOCK_STREAM, 0));
    R(listen(l, 1));
    local_addr(l, &a);
    trace("a port was chosen %d", addr_port(&a) != 0);
    int port = addr_port(&a);
    loopback(&a, AF_INET, port);
    int s = tcp_connect(&a), c = tcp_accept(l);
    send_text(s, "found");
    settle();
    show_recv("server", c);
    trace("SO_ACCEPTCONN %d %d %d", get_int(l, SOL_SOCKET, SO_ACCEPTCONN), get_int(s, SOL_SOCKET, SO_ACCEPTCONN),
          get_int(c, SOL_SOCKET, SO_ACCEPTCONN));
    OK(close(s));
    OK(close(c));
    OK(close(l));
}

static void listener_io(void)
{
    struct addr a = {.len = sizeof a.ss};
    char buf[4];
    int l = tcp_listen(AF_INET, 4, &a);
    handler(SIGPIPE, SIG_IGN, 0);
    R(read(l, buf, 4));
    R(recv(l, buf, 4, MSG_DONTWAIT));
    R(write(l, buf, 4));
    R(send(l, buf, 4, MSG_NOSIGNAL));
    R(getpeername(l, SA(&a), &a.len));
    int s = OK(socket(AF_INET, SOCK_STREAM, 0));
    R(read(s, buf, 4));
    R(write(s, buf, 4));
    R(getpeername(s, SA(&a), &a.len));
    show_poll("fresh", s, POLLIN | POLLOUT | POLLRDHUP, 0);
    show_poll("listener", l, POLLIN | POLLOUT | POLLRDHUP, 0);
    OK(close(s));
    OK(close(l));
}

#define EARLY_ROUNDS 100

/* Listens as soon as somebody tries to connect. */
static void listen_when_asked(void *arg)
{
    int by = *(int *)arg;
    for (int i = 0; i < EARLY_ROUNDS; i++) {
        struct addr a;
        char c;
        int l = OK(socket(AF_INET, SOCK_STREAM, 0));
        loopback(&a, AF_INET, 0);
        OK(bind(l, SA(&a), a.len));
        local_addr(l, &a);
        write_all(by, &a, sizeof a);
        read_exact(by, &c, 1);
        OK(listen(l, 1));
        int s = tcp_accept(l);
        read_exact(s, &c, 1);
        CHECK(c == 'x');
        OK(close(s));
        OK(close(l));
    }
}

/* Connects again and again until the listener is there: no such connection may be the kernel's alone (count_connect). */
static void early(void)
{
    int by[2], refused = 0;
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, by));
    pid_t pid = child(listen_when_asked, &by[1]);
    for (int i = 0; i < EARLY_ROUNDS; i++) {
        struct addr a;
        read_exact(by[0], &a, sizeof a);
        for (bool asked = false;; asked = true) {
            int s = OK(socket(AF_INET, SOCK_STREAM, 0)), r = connect(s, SA(&a), a.len);
            if (r == 0) {
                count_connect();
                write_all(s, "x", 1);
                OK(close(s));
                break;
            }
            CHECK(errno == ECONNREFUSED);
            OK(close(s));
            refused++;
            if (!asked)
                write_all(by[0], "g", 1);
        }
    }
    trace("refused before: %d", refused >= EARLY_ROUNDS);
    reap(pid);
    OK(close(by[0]));
    OK(close(by[1]));
}

const struct conf_case listen_cases[] = {
    {"accept_invalid", accept_invalid, TCP, NULL},
    {"accept_flags", accept_flags, TCP, NULL},
    {"accept_address", accept_address, TCP, NULL},
    {"listen_address_in_use", address_in_use, LISTEN, NULL},
    {"listen_reuseaddr", reuse_address, TCP, NULL},
    {"listen_reuseport", reuse_port, TCP, NULL},
    {"listen_without_bind", without_bind, TCP, NULL},
    {"listen_io_errors", listener_io, LISTEN, NULL},
    {"listen_early", early, TCP, NULL},
    {0},
};
