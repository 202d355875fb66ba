/* SPDX-License-Identifier: BSD-3-Clause
 * The end of a connection: close, reset, linger. */
#include "lib.h"

static void read_after_close(void)
{
    int p[2];
    tcp_pair(p);
    send_text(p[0], "last words");
    OK(close(p[0]));
    settle();
    show_poll("data and end", p[1], POLLIN | POLLRDHUP | POLLOUT, 0);
    show_recv("data", p[1]);
    show_poll("end", p[1], POLLIN | POLLRDHUP | POLLOUT, 0);
    show_recv("end", p[1]);
    show_recv("end again", p[1]);
    trace("SO_ERROR %s", err_name(get_int(p[1], SOL_SOCKET, SO_ERROR)));
    OK(close(p[1]));
}

static void write_after_close(void)
{
    int p[2];
    tcp_pair(p);
    OK(close(p[1]));
    settle();
    R(send(p[0], "a", 1, MSG_NOSIGNAL));
    settle();
    show_poll("after the reset", p[0], POLLIN | POLLOUT | POLLRDHUP, 0);
    trace("SO_ERROR %s", err_name(get_int(p[0], SOL_SOCKET, SO_ERROR)));
    show_recv("read", p[0]);
    R(send(p[0], "a", 1, MSG_NOSIGNAL));
    R(shutdown(p[0], SHUT_WR));
    struct addr a = {.len = sizeof a.ss};
    R(getpeername(p[0], SA(&a), &a.len));
    OK(close(p[0]));
}

/* Data was on its way to us when the peer closed, then we write: the data stays readable? */
static void write_with_data(void)
{
    int p[2];
    tcp_pair(p);
    send_text(p[1], "unread");
    OK(close(p[1]));
    settle();
    R(send(p[0], "a", 1, MSG_NOSIGNAL));
    settle();
    show_recv("read", p[0]);
    show_recv("read", p[0]);
    R(send(p[0], "a", 1, MSG_NOSIGNAL));
    OK(close(p[0]));
}

static void reset_unread(void)
{
    int p[2];
    tcp_pair(p);
    send_text(p[0], "nobody reads this");
    settle();
    OK(close(p[1]));
    settle();
    show_poll("reset", p[0], POLLIN | POLLOUT | POLLRDHUP, 0);
    show_recv("first", p[0]);
    show_recv("second", p[0]);
    show_poll("after it", p[0], POLLIN | POLLOUT | POLLRDHUP, 0);
    R(send(p[0], "a", 1, MSG_NOSIGNAL));
    OK(close(p[0]));
}

/* What the peer had sent before it reset is lost, as on Linux. */
static void reset_with_data(void)
{
    int p[2];
    tcp_pair(p);
    send_text(p[0], "nobody reads this");
    send_text(p[1], "answer");
    settle();
    OK(close(p[1]));
    settle();
    show_recv("first", p[0]);
    show_recv("second", p[0]);
    show_recv("third", p[0]);
    OK(close(p[0]));
}

static void reset_write_first(void)
{
    int p[2];
    tcp_pair(p);
    send_text(p[0], "nobody reads this");
    settle();
    OK(close(p[1]));
    settle();
    R(send(p[0], "a", 1, MSG_NOSIGNAL));
    R(send(p[0], "a", 1, MSG_NOSIGNAL));
    show_recv("read", p[0]);
    OK(close(p[0]));
}

static void reset_so_error(void)
{
    int p[2];
    tcp_pair(p);
    send_text(p[0], "nobody reads this");
    settle();
    OK(close(p[1]));
    settle();
    trace("SO_ERROR %s", err_name(get_int(p[0], SOL_SOCKET, SO_ERROR)));
    trace("SO_ERROR %s", err_name(get_int(p[0], SOL_SOCKET, SO_ERROR)));
    show_recv("read", p[0]);
    show_poll("state", p[0], POLLIN | POLLOUT | POLLRDHUP, 0);
    OK(close(p[0]));
}

static void linger_zero(void)
{
    int p[2];
    struct linger l = {1, 0};
    tcp_pair(p);
    R(setsockopt(p[1], SOL_SOCKET, SO_LINGER, &l, sizeof l));
    OK(close(p[1]));
    settle();
    show_recv("first", p[0]);
    show_recv("second", p[0]);
    OK(close(p[0]));
}

static void linger_zero_data(void)
{
    int p[2];
    struct linger l = {1, 0};
    tcp_pair(p);
    send_text(p[1], "sent before");
    OK(setsockopt(p[1], SOL_SOCKET, SO_LINGER, &l, sizeof l));
    settle();
    OK(close(p[1]));
    settle();
    show_recv("first", p[0]);
    show_recv("second", p[0]);
    OK(close(p[0]));
}

/* A linger time of a second: close waits for the peer, not for ever. */
static void linger_time(void)
{
    int p[2];
    struct linger l = {1, 1};
    tcp_pair(p);
    OK(setsockopt(p[0], SOL_SOCKET, SO_LINGER, &l, sizeof l));
    send_text(p[0], "data");
    R(close(p[0]));
    show_recv("read", p[1]);
    show_recv("end", p[1]);
    OK(close(p[1]));
}

static void *blocked_read(void *arg)
{
    char buf[8];
    R(recv(*(int *)arg, buf, 8, 0));
    return NULL;
}

static void wake(void (*act)(int p[2]))
{
    int p[2];
    tcp_pair(p);
    send_text(p[0], "x");
    settle();
    pthread_t t = thread(blocked_read, &p[0]);
    settle();
    act(p);
    join(t);
    OK(close(p[0]));
}

static void act_close(int p[2])
{
    OK(close(p[1]));
}

static void act_read_close(int p[2])
{
    drain(p[1]);
    OK(close(p[1]));
}

static void act_shutdown_own(int p[2])
{
    OK(shutdown(p[0], SHUT_RDWR));
    settle();
    OK(close(p[1]));
}

static void act_shutdown_rd(int p[2])
{
    OK(shutdown(p[0], SHUT_RD));
    settle();
    OK(close(p[1]));
}

/* What ends a read that waits. */
static void wakes_reader(void)
{
    trace("reset");
    wake(act_close);
    trace("end");
    wake(act_read_close);
    trace("own shutdown");
    wake(act_shutdown_own);
    trace("own shutdown of reading");
    wake(act_shutdown_rd);
}

static void *blocked_write(void *arg)
{
    static uint8_t buf[65536];
    ssize_t n;
    while ((n = send(*(int *)arg, buf, sizeof buf, MSG_NOSIGNAL)) == sizeof buf)
        ;
    if (n >= 0)
        n = send(*(int *)arg, buf, sizeof buf, MSG_NOSIGNAL);
    trace("write = %zd %s", n, err_name(errno));
    return NULL;
}

/* A writer that waits for room learns of the peer's end. */
static void wakes_writer(void)
{
    int p[2];
    tcp_pair(p);
    pthread_t t = thread(blocked_write, &p[0]);
    msleep(300);
    OK(close(p[1])); /* with unread data: a reset */
    join(t);
    OK(close(p[0]));
}

const struct conf_case closing_cases[] = {
    {"tcp_read_after_close", read_after_close, TCP, NULL},
    {"tcp_write_after_close", write_after_close, TCP, NULL},
    {"tcp_write_after_close_unread", write_with_data, TCP, NULL},
    {"tcp_rst_unread", reset_unread, TCP, NULL},
    {"tcp_rst_loses_data", reset_with_data, TCP, NULL},
    {"tcp_rst_write_first", reset_write_first, TCP, NULL},
    {"tcp_rst_so_error", reset_so_error, TCP, NULL},
    {"tcp_linger_zero", linger_zero, TCP, NULL},
    {"tcp_linger_zero_data", linger_zero_data, TCP, NULL},
    {"tcp_linger_time", linger_time, TCP, NULL},
    {"tcp_end_wakes_reader", wakes_reader, TCP, NULL},
    {"tcp_end_wakes_writer", wakes_writer, TCP, NULL},
    {0},
};
