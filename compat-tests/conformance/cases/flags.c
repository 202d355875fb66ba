/* SPDX-License-Identifier: BSD-3-Clause
 * Flags of send and recv. */
#include "lib.h"

static void done(int p[2])
{
    OK(close(p[0]));
    OK(close(p[1]));
}

static void dontwait(void)
{
    int p[2];
    char buf[8];
    tcp_pair(p);
    R(recv(p[1], buf, 8, MSG_DONTWAIT));
    fill(p[0]);
    R(send(p[0], "x", 1, MSG_DONTWAIT));
    CHECK(drain(p[1]) > 65536);
    settle();
    while (drain(p[1]) > 0)
        settle();
    R(send(p[0], "x", 1, MSG_DONTWAIT));
    settle();
    R(recv(p[1], buf, 8, MSG_DONTWAIT));
    R(recv(p[1], buf, 8, MSG_DONTWAIT));
    done(p);
}

static void peek(void)
{
    int p[2];
    char buf[16] = "";
    tcp_pair(p);
    R(recv(p[1], buf, 8, MSG_PEEK | MSG_DONTWAIT));
    send_text(p[0], "peekaboo");
    settle();
    R(recv_text(p[1], buf, 5, MSG_PEEK));
    trace("%s", buf);
    R(recv_text(p[1], buf, 16, MSG_PEEK));
    trace("%s", buf);
    R(recv_text(p[1], buf, 5, 0));
    trace("%s", buf);
    R(recv_text(p[1], buf, 16, MSG_PEEK | MSG_DONTWAIT));
    trace("%s", buf);
    OK(close(p[0]));
    settle();
    R(recv_text(p[1], buf, 16, 0));
    R(recv_text(p[1], buf, 16, MSG_PEEK));
    R(recv_text(p[1], buf, 16, 0));
    OK(close(p[1]));
}

static void *late_send(void *arg)
{
    int fd = *(int *)arg;
    msleep(60);
    send_text(fd, "world");
    return NULL;
}

static void waitall(void)
{
    int p[2];
    char buf[16] = "";
    tcp_pair(p);
    send_text(p[0], "hello");
    pthread_t t = thread(late_send, &p[0]);
    R(recv(p[1], buf, 10, MSG_WAITALL));
    trace("%s", buf);
    join(t);
    send_text(p[0], "abc");
    settle();
    R(recv(p[1], buf, 10, MSG_WAITALL | MSG_DONTWAIT));
    send_text(p[0], "rest");
    OK(shutdown(p[0], SHUT_WR));
    R(recv(p[1], buf, 10, MSG_WAITALL));
    R(recv(p[1], buf, 10, MSG_WAITALL));
    done(p);
}

static void waitall_msg(void)
{
    int p[2];
    char a[6] = "", b[5] = "";
    struct iovec iov[] = {{a, 5}, {b, 4}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
    tcp_pair(p);
    send_text(p[0], "12345678");
    settle();
    R(recvmsg(p[1], &m, MSG_PEEK | MSG_DONTWAIT));
    send_text(p[0], "9");
    R(recvmsg(p[1], &m, MSG_WAITALL));
    trace("%s %.4s", a, b);
    done(p);
}

/* On TCP MSG_TRUNC throws the bytes away (tcp(7)). */
static void trunc_flag(void)
{
    int p[2];
    char buf[8] = "keep";
    tcp_pair(p);
    send_text(p[0], "0123456789");
    settle();
    R(recv(p[1], buf, 4, MSG_TRUNC));
    trace("%s", buf);
    R(recv(p[1], NULL, 3, MSG_TRUNC));
    R(recv_text(p[1], buf, 8, 0));
    trace("%s", buf);
    R(recv(p[1], buf, 4, MSG_TRUNC | MSG_DONTWAIT));
    done(p);
}

static void more(void)
{
    int p[2];
    char buf[32] = "";
    tcp_pair(p);
    R(send(p[0], "head ", 5, MSG_MORE));
    R(send(p[0], "body ", 5, MSG_MORE));
    R(send(p[0], "tail", 4, 0));
    read_exact(p[1], buf, 14);
    trace("%s", buf);
    R(send(p[0], "x", 1, MSG_MORE));
    OK(close(p[0]));
    R(read(p[1], buf, 8));
    R(read(p[1], buf, 8));
    OK(close(p[1]));
}

static void errqueue(void)
{
    int p[2];
    char buf[8];
    struct iovec iov = {buf, 8};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = (char[64]){0}, .msg_controllen = 64};
    tcp_pair(p);
    R(recvmsg(p[0], &m, MSG_ERRQUEUE));
    R(recv(p[0], buf, 8, MSG_OOB));
    R(send(p[0], "a", 1, MSG_EOR | MSG_NOSIGNAL | MSG_CONFIRM));
    settle();
    R(recv(p[1], buf, 8, MSG_CMSG_CLOEXEC | MSG_NOSIGNAL));
    done(p);
}

static _Atomic int pipes;

static void on_pipe(int sig)
{
    (void)sig;
    pipes++;
}

static void broken(int p[2])
{
    char buf[8];
    tcp_pair(p);
    OK(close(p[1]));
    settle();
    R(write(p[0], "first", 5));
    settle();
    (void)buf;
}

static void epipe_signal(void)
{
    int p[2];
    handler(SIGPIPE, on_pipe, 0);
    broken(p);
    trace("signals %d", pipes);
    R(write(p[0], "second", 6));
    trace("signals %d", pipes);
    R(send(p[0], "third", 5, MSG_NOSIGNAL));
    trace("signals %d", pipes);
    R(write(p[0], "", 0));
    trace("signals %d", pipes);
    R(writev(p[0], &(struct iovec){"x", 1}, 1));
    trace("signals %d", pipes);
    OK(close(p[0]));
}

static void epipe_blocked(void)
{
    int p[2];
    sigset_t set, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    broken(p);
    R(write(p[0], "second", 6));
    sigpending(&pending);
    trace("pending %d", sigismember(&pending, SIGPIPE));
    struct timespec none = {0};
    R(sigtimedwait(&set, NULL, &none) == SIGPIPE);
    R(send(p[0], "third", 5, MSG_NOSIGNAL));
    R(sigtimedwait(&set, NULL, &none));
    handler(SIGPIPE, SIG_IGN, 0);
    OK(sigprocmask(SIG_UNBLOCK, &set, NULL));
    R(write(p[0], "fourth", 6));
    OK(close(p[0]));
}

static void die(void *arg)
{
    int p[2];
    (void)arg;
    broken(p);
    R(write(p[0], "second", 6));
    trace("not reached");
}

/* By default the signal ends the program. */
static void epipe_kills(void)
{
    int p[2];
    reap(child(die, NULL));
    tcp_pair(p);
    send_text(p[0], "go on");
    settle();
    show_recv("after it", p[1]);
    done(p);
}

const struct conf_case flags_cases[] = {
    {"tcp_msg_dontwait", dontwait, TCP, NULL},
    {"tcp_msg_peek", peek, TCP, NULL},
    {"tcp_msg_waitall", waitall, TCP, NULL},
    {"tcp_msg_waitall_recvmsg", waitall_msg, TCP, NULL},
    {"tcp_msg_trunc", trunc_flag, TCP, NULL},
    {"tcp_msg_more", more, TCP, NULL},
    {"tcp_msg_errqueue_oob", errqueue, TCP, NULL},
    {"tcp_epipe_sigpipe", epipe_signal, TCP, NULL},
    {"tcp_epipe_blocked", epipe_blocked, TCP, NULL},
    {"tcp_epipe_kills", epipe_kills, TCP, NULL},
    {0},
};
