/* SPDX-License-Identifier: BSD-3-Clause
 * SO_RCVTIMEO, SO_SNDTIMEO, SO_RCVLOWAT. */
#include "lib.h"

static void done(int p[2])
{
    OK(close(p[0]));
    OK(close(p[1]));
}

static void set_timeout(int fd, int name, int ms)
{
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    OK(setsockopt(fd, SOL_SOCKET, name, &tv, sizeof tv));
}

static void about(const char *what, int64_t start, int ms)
{
    int64_t took = now_ms() - start;
    trace("%s: not early %d, not late %d", what, took >= ms - 5, took < ms + 400);
}

static void receive(void)
{
    int p[2];
    char buf[16];
    tcp_pair(p);
    set_timeout(p[1], SO_RCVTIMEO, 100);
    int64_t start = now_ms();
    R(recv(p[1], buf, 8, 0));
    about("recv", start, 100);
    send_text(p[0], "abc");
    start = now_ms();
    R(recv(p[1], buf, 8, MSG_WAITALL));
    about("waitall", start, 100);
    set_timeout(p[1], SO_RCVTIMEO, 0);
    send_text(p[0], "abc");
    R(recv(p[1], buf, 8, 0));
    done(p);
}

static void send_side(void)
{
    int p[2];
    static uint8_t buf[1 << 20];
    tcp_pair(p);
    fill(p[0]);
    settle();
    fill(p[0]);
    set_timeout(p[0], SO_SNDTIMEO, 100);
    int64_t start = now_ms();
    ssize_t n;
    while ((n = send(p[0], buf, sizeof buf, 0)) > 0 && now_ms() - start < 3000)
        ;
    trace("send = %zd %s, in time %d", n, err_name(errno), now_ms() - start < 3000);
    done(p);
}

static void accept_side(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 1, &a);
    set_timeout(l, SO_RCVTIMEO, 100);
    int64_t start = now_ms();
    R(accept(l, NULL, NULL));
    about("accept", start, 100);
    int c = tcp_connect(&a), s = F(accept(l, NULL, NULL));
    struct timeval tv = {9, 9};
    socklen_t len = sizeof tv;
    R(getsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, &len));
    trace("inherited %ld.%06ld", (long)tv.tv_sec, (long)tv.tv_usec);
    OK(close(c));
    OK(close(s));
    OK(close(l));
}

static void *late(void *arg)
{
    int fd = *(int *)arg;
    msleep(80);
    send_text(fd, "defgh");
    return NULL;
}

static void lowat(void)
{
    int p[2], five = 5;
    char buf[16];
    tcp_pair(p);
    R(setsockopt(p[1], SOL_SOCKET, SO_RCVLOWAT, &five, sizeof five));
    trace("SO_RCVLOWAT %d", get_int(p[1], SOL_SOCKET, SO_RCVLOWAT));
    send_text(p[0], "abc");
    settle();
    show_poll("3 of 5", p[1], POLLIN, 0);
    R(recv(p[1], buf, 16, MSG_DONTWAIT));
    send_text(p[0], "abc");
    pthread_t t = thread(late, &p[0]);
    show_poll("5 of 5", p[1], POLLIN, 1000);
    join(t);
    R(recv(p[1], buf, 16, 0));
    send_text(p[0], "ab");
    t = thread(late, &p[0]);
    R(recv(p[1], buf, 7, 0)); /* waits for five */
    join(t);
    R(recv(p[1], buf, 2, MSG_DONTWAIT));
    send_text(p[0], "a");
    OK(shutdown(p[0], SHUT_WR));
    settle();
    show_poll("the end counts", p[1], POLLIN, 0);
    R(recv(p[1], buf, 16, 0));
    done(p);
}

const struct conf_case timeouts_cases[] = {
    {"tcp_so_rcvtimeo", receive, TCP, NULL},
    {"tcp_so_sndtimeo", send_side, TCP, NULL},
    {"tcp_so_rcvtimeo_accept", accept_side, TCP, NULL},
    {"tcp_so_rcvlowat", lowat, TCP, NULL},
    {0},
};
