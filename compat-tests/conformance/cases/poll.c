/* SPDX-License-Identifier: BSD-3-Clause
 * poll, ppoll, select, pselect. */
#include "lib.h"

#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>

static void end(int p[2])
{
    OK(close(p[0]));
    OK(close(p[1]));
}

static void poll_states(void)
{
    int p[2], pipefd[2];
    tcp_pair(p);
    OK(pipe(pipefd));
    show_poll("idle", p[1], POLLIN, 0);
    show_poll("idle", p[1], POLLOUT | POLLPRI | POLLRDBAND, 0);
    send_text(p[0], "x");
    settle();
    show_poll("data", p[1], POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDHUP, 0);
    struct pollfd v[4] = {{.fd = p[1], .events = POLLIN}, {.fd = pipefd[0], .events = POLLIN},
                          {.fd = -1, .events = POLLIN, .revents = 99}, {.fd = p[0], .events = POLLIN}};
    R(poll(v, 4, 1000));
    trace("%s %s %s %s", revents_text(v[0].revents), revents_text(v[1].revents), revents_text(v[2].revents),
          revents_text(v[3].revents));
    write_all(pipefd[1], "x", 1);
    OK(close(p[0]));
    settle();
    R(poll(v, 4, 1000));
    trace("%s %s %s %s", revents_text(v[0].revents), revents_text(v[1].revents), revents_text(v[2].revents),
          revents_text(v[3].revents));
    OK(close(p[1]));
    R(poll(v, 1, 0));
    trace("%s", revents_text(v[0].revents));
    R(poll(NULL, 0, 10));
    OK(close(pipefd[0]));
    OK(close(pipefd[1]));
}

static void *write_late(void *arg)
{
    msleep(80);
    send_text(*(int *)arg, "late");
    return NULL;
}

static void *pipe_late(void *arg)
{
    msleep(80);
    write_all(*(int *)arg, "late", 4);
    return NULL;
}

static void poll_sleep(void)
{
    int p[2], q[2], pipefd[2];
    tcp_pair(p);
    tcp_pair(q);
    OK(pipe(pipefd));
    struct pollfd v[3] = {{.fd = p[1], .events = POLLIN}, {.fd = pipefd[0], .events = POLLIN},
                          {.fd = q[1], .events = POLLIN}};
    int64_t start = now_ms();
    R(poll(v, 3, 100));
    trace("in time %d", now_ms() - start >= 99 && now_ms() - start < 400);
    pthread_t t = thread(write_late, &q[0]);
    R(poll(v, 3, 2000));
    trace("%s %s %s", revents_text(v[0].revents), revents_text(v[1].revents), revents_text(v[2].revents));
    join(t);
    drain(q[1]);
    t = thread(pipe_late, &pipefd[1]);
    R(poll(v, 3, -1));
    trace("%s %s %s", revents_text(v[0].revents), revents_text(v[1].revents), revents_text(v[2].revents));
    join(t);
    char buf[8];
    R(read(pipefd[0], buf, 8));
    t = thread(write_late, &p[0]);
    struct timespec ts = {2, 0};
    R(ppoll(v, 3, &ts, NULL));
    trace("timespec kept %d", ts.tv_sec == 2 && ts.tv_nsec == 0);
    join(t);
    drain(p[1]);
    ts = (struct timespec){0, 20000000};
    R(ppoll(v, 3, &ts, NULL));
    ts.tv_nsec = -1;
    R(ppoll(v, 3, &ts, NULL));
    end(p);
    end(q);
    OK(close(pipefd[0]));
    OK(close(pipefd[1]));
}

static void show_select(const char *what, int fd, long ms)
{
    fd_set r, w, e;
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_ZERO(&e);
    FD_SET(fd, &r);
    FD_SET(fd, &w);
    FD_SET(fd, &e);
    int n = select(fd + 1, &r, &w, &e, &tv);
    trace("%s: select = %d:%s%s%s", what, n, FD_ISSET(fd, &r) ? " r" : "", FD_ISSET(fd, &w) ? " w" : "",
          FD_ISSET(fd, &e) ? " e" : "");
}

static void select_states(void)
{
    int p[2];
    tcp_pair(p);
    show_select("idle", p[1], 0);
    send_text(p[0], "x");
    settle();
    show_select("data", p[1], 0);
    fill(p[1]);
    settle();
    fill(p[1]);
    show_select("full", p[1], 0);
    OK(close(p[0]));
    settle();
    show_select("reset", p[1], 0);
    show_recv("read", p[1]);
    show_select("error taken", p[1], 0);
    OK(close(p[1]));
    fd_set r;
    FD_ZERO(&r);
    FD_SET(p[1], &r);
    struct timeval tv = {0, 0};
    R(select(p[1] + 1, &r, NULL, NULL, &tv));
    R(select(-1, NULL, NULL, NULL, &tv));
}

static void select_sleep(void)
{
    int p[2], pipefd[2];
    tcp_pair(p);
    OK(pipe(pipefd));
    for (int i = 0; i < 2; i++) {
        fd_set r;
        FD_ZERO(&r);
        FD_SET(p[1], &r);
        FD_SET(pipefd[0], &r);
        int top = (p[1] > pipefd[0] ? p[1] : pipefd[0]) + 1;
        struct timeval tv = {1, 0};
        pthread_t t = thread(i ? pipe_late : write_late, i ? &pipefd[1] : &p[0]);
        R(select(top, &r, NULL, NULL, &tv));
        trace("socket %d pipe %d", FD_ISSET(p[1], &r) != 0, FD_ISSET(pipefd[0], &r) != 0);
        trace("remaining time is less %d", tv.tv_sec == 0 && tv.tv_usec > 300000 && tv.tv_usec < 960000);
        join(t);
        drain(p[1]);
    }
    fd_set r;
    FD_ZERO(&r);
    FD_SET(p[1], &r);
    struct timeval tv = {0, 50000};
    R(select(p[1] + 1, &r, NULL, NULL, &tv));
    trace("nothing %d, remaining %ld", !FD_ISSET(p[1], &r), (long)tv.tv_usec);
    struct timespec ts = {0, 30000000};
    FD_SET(p[1], &r);
    R(pselect(p[1] + 1, &r, NULL, NULL, &ts, NULL));
    trace("timespec kept %d", ts.tv_nsec == 30000000);
    end(p);
    OK(close(pipefd[0]));
    OK(close(pipefd[1]));
}

static void poll_listener(void)
{
    struct addr a;
    int l = tcp_listen(AF_INET, 4, &a), s[2];
    show_poll("nobody", l, POLLIN | POLLOUT, 0);
    show_select("nobody", l, 0);
    s[0] = tcp_connect(&a);
    show_poll("one", l, POLLIN | POLLOUT, 1000);
    show_select("one", l, 0);
    int c = tcp_accept(l);
    show_poll("accepted", l, POLLIN, 0);
    OK(close(s[0]));
    OK(close(c));
    OK(close(l));
}

static void same_twice(void)
{
    int p[2];
    tcp_pair(p);
    struct pollfd v[3] = {{.fd = p[1], .events = POLLIN}, {.fd = p[1], .events = POLLOUT}, {.fd = p[1], .events = 0}};
    R(poll(v, 3, 0));
    send_text(p[0], "x");
    settle();
    R(poll(v, 3, 0));
    trace("%s %s %s", revents_text(v[0].revents), revents_text(v[1].revents), revents_text(v[2].revents));
    pthread_t t = thread(write_late, &p[0]);
    drain(p[1]);
    v[1].events = POLLIN;
    R(poll(v, 3, 2000));
    trace("%s %s %s", revents_text(v[0].revents), revents_text(v[1].revents), revents_text(v[2].revents));
    join(t);
    end(p);
}

/* More than the stack has room for: 80 connections, of which one late, one at once, all at once. */
#define MANY 80

static void show_many(const char *what, int many[MANY][2], int ms)
{
    struct pollfd v[2 * MANY];
    unsigned long in[2 * FD_SETSIZE / 64] = {0}, out[2 * FD_SETSIZE / 64] = {0};
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    int top = 0, readable = 0, revents = 0, selected = 0;
    for (int i = 0; i < MANY; i++)
        for (int j = 0; j < 2; j++) {
            int fd = many[i][j];
            v[2 * i + j] = (struct pollfd){.fd = fd, .events = j ? POLLIN : POLLOUT};
            (j ? in : out)[fd / 64] |= 1ul << (fd % 64);
            top = fd > top ? fd : top;
        }
    for (int i = 0; i < MANY; i++)
        v[2 * i].fd = ms > 0 ? -1 : v[2 * i].fd; /* a wait that all but one of are of no use to */
    int n = poll(v, 2 * MANY, ms);
    for (int i = 0; i < 2 * MANY; i++) {
        readable += (v[i].revents & POLLIN) != 0;
        revents += v[i].revents != 0;
    }
    trace("%s: poll = %d, %d with revents, %d readable", what, n, revents, readable);
    n = select(top + 1, (fd_set *)in, ms > 0 ? NULL : (fd_set *)out, NULL, &tv);
    for (int i = 0; i < MANY; i++)
        selected += in[many[i][1] / 64] >> (many[i][1] % 64) & 1;
    trace("%s: select = %d, %d readable", what, n, selected);
}

static void many_at_once(void)
{
    static int many[MANY][2];
    for (int i = 0; i < MANY; i++)
        tcp_pair(many[i]);
    show_many("nobody wrote", many, 0);
    send_text(many[77][0], "x");
    settle();
    show_many("one wrote", many, 0);
    drain(many[77][1]);
    pthread_t t = thread(write_late, &many[3][0]);
    show_many("one writes late", many, 2000);
    join(t);
    for (int i = 0; i < MANY; i++)
        send_text(many[i][0], "y");
    settle();
    show_many("all wrote", many, 0);
    for (int i = 0; i < MANY; i++)
        end(many[i]);
}

static int during[MANY][2];

static void on_many(int sig)
{
    (void)sig;
    show_many("handler", during, 0);
}

static void *signal_late(void *arg)
{
    msleep(60);
    CHECK(pthread_kill(*(pthread_t *)arg, SIGUSR1) == 0);
    return NULL;
}

/* A handler that waits for as many within a wait for many. */
static void many_in_handler(void)
{
    struct pollfd v[MANY];
    pthread_t self = pthread_self();
    for (int i = 0; i < MANY; i++) {
        tcp_pair(during[i]);
        v[i] = (struct pollfd){.fd = during[i][1], .events = POLLIN};
    }
    handler(SIGUSR1, on_many, 0);
    for (int i = 0; i < 2; i++) {
        pthread_t t = thread(signal_late, &self);
        R(poll(v, MANY, 2000));
        join(t);
    }
    send_text(during[MANY - 1][0], "x");
    settle();
    R(poll(v, MANY, 2000));
    trace("the last: %s", revents_text(v[MANY - 1].revents));
    for (int i = 0; i < MANY; i++)
        end(during[i]);
}

/* Of a word that reaches above n, what lies there is not looked at, and is gone afterwards. */
static void above_n(void)
{
    int p[2];
    tcp_pair(p);
    unsigned long in[FD_SETSIZE / 64];
    struct timeval tv = {0, 0};
    send_text(p[0], "x");
    settle();
    memset(in, 0xff, sizeof in);
    for (int fd = 0; fd < p[1]; fd++)
        in[fd / 64] &= ~(1ul << (fd % 64));
    R(select(p[1] + 1, (fd_set *)in, NULL, NULL, &tv));
    trace("only the socket %d, next word as it was %d", in[p[1] / 64] == 1ul << (p[1] % 64), in[p[1] / 64 + 1] == ~0ul);
    drain(p[1]);
    memset(in, 0xff, sizeof in);
    for (int fd = 0; fd < p[1]; fd++)
        in[fd / 64] &= ~(1ul << (fd % 64));
    R(select(p[1] + 1, (fd_set *)in, NULL, NULL, &tv));
    trace("nothing %d", in[p[1] / 64] == 0);
    end(p);
}

/* Pointers to nothing, of a program that has no socket yet and of one that has. */
static void nowhere(void)
{
    void *no = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct msghdr control = {.msg_control = no, .msg_controllen = CMSG_SPACE(sizeof(int))};
    struct timeval now = {0};
    int u[2], s = -1;
    CHECK(no != MAP_FAILED);
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, u));
    for (int i = 0; i < 2; i++) {
        R(poll(no, 1, 0));
        R(select(1, no, NULL, NULL, &now));
        R(sendmsg(u[0], no, MSG_DONTWAIT));
        R(sendmsg(u[0], &control, MSG_DONTWAIT));
        R(sendmmsg(u[0], no, 2, MSG_DONTWAIT));
        R(recvmsg(u[0], no, MSG_DONTWAIT));
        R(syscall(SYS_clone3, no, 88));
        if (i == 0)
            s = OK(socket(AF_INET, SOCK_STREAM, 0));
    }
    OK(close(s));
    OK(close(u[0]));
    OK(close(u[1]));
    munmap(no, 4096);
}

const struct conf_case poll_cases[] = {
    {"poll_nowhere", nowhere, KERNEL, "nothing is connected"},
    {"poll_states", poll_states, TCP, NULL},
    {"poll_sleep", poll_sleep, TCP, NULL},
    {"select_states", select_states, TCP, NULL},
    {"select_sleep", select_sleep, TCP, NULL},
    {"poll_listener", poll_listener, TCP, NULL},
    {"poll_same_twice", same_twice, TCP, NULL},
    {"poll_many", many_at_once, TCP, NULL},
    {"poll_many_in_handler", many_in_handler, TCP, NULL},
    {"select_above_n", above_n, TCP, NULL},
    {0},
};
