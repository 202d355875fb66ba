/* SPDX-License-Identifier: BSD-3-Clause
 * Descriptors: duplicates, flags, numbers, limits. */
#include "lib.h"

#include <sys/resource.h>
#include <sys/stat.h>

static void end(int p[2])
{
    OK(close(p[0]));
    OK(close(p[1]));
}

static void dups(void)
{
    int p[2];
    tcp_pair(p);
    int d = F(dup(p[0]));
    OK(close(p[0]));
    send_text(d, "through the duplicate");
    settle();
    show_recv("peer", p[1]);
    show_poll("still open", p[1], POLLIN | POLLRDHUP, 0);
    int e = F(fcntl(d, F_DUPFD, 100));
    trace("at least 100: %d, cloexec %d", e >= 100, fcntl(e, F_GETFD));
    int f = F(fcntl(d, F_DUPFD_CLOEXEC, 100));
    trace("next %d, cloexec %d", f - e, fcntl(f, F_GETFD));
    send_text(p[1], "abc");
    settle();
    char buf[2] = "";
    read_exact(e, buf, 1);
    trace("one socket: %s", buf);
    show_recv("the rest", f);
    OK(close(e));
    OK(close(f));
    show_poll("still open", p[1], POLLIN | POLLRDHUP, 0);
    OK(close(d));
    settle();
    show_poll("the last one closed", p[1], POLLIN | POLLRDHUP, 0);
    OK(close(p[1]));
    R(dup(p[1]));
    R(dup(-1));
}

static void dup_over(void)
{
    int p[2], q[2], file = OK(open("/dev/null", O_RDWR));
    tcp_pair(p);
    tcp_pair(q);
    trace("dup2 gives the number %d", dup2(p[0], q[0]) == q[0]); /* closes q[0] */
    settle();
    show_recv("its peer sees the end", q[1]);
    send_text(q[0], "now p");
    settle();
    show_recv("p's peer", p[1]);
    trace("onto itself %d", dup2(q[0], q[0]) == q[0]);
    OK(close(p[0]));
    show_poll("still open", p[1], POLLIN | POLLRDHUP, 0);
    trace("a file over it %d", dup2(file, q[0]) == q[0]);
    settle();
    show_recv("p's peer", p[1]);
    R(send(q[0], "x", 1, 0));
    R(write(q[0], "x", 1));
    int d = dup3(p[1], file, O_CLOEXEC);
    trace("dup3 %d, cloexec %d", d == file, fcntl(d, F_GETFD));
    R(dup3(d, d, 0));
    R(dup3(d, file, 5));
    R(dup2(d, -1));
    R(dup2(-1, d));
    int fds[] = {p[1], q[0], q[1], file};
    for (size_t i = 0; i < COUNT(fds); i++)
        OK(close(fds[i]));
}

static void nonblock_shared(void)
{
    int p[2], on = 1;
    char buf[4];
    tcp_pair(p);
    int d = OK(dup(p[0]));
    trace("flags %d %d", fcntl(p[0], F_GETFL) == O_RDWR, fcntl(d, F_GETFL) == O_RDWR);
    set_nonblock(p[0], true);
    trace("shared %d", (fcntl(d, F_GETFL) & O_NONBLOCK) != 0);
    R(read(d, buf, 4));
    set_nonblock(d, false);
    trace("shared %d", (fcntl(p[0], F_GETFL) & O_NONBLOCK) != 0);
    R(ioctl(p[1], FIONBIO, &on));
    trace("FIONBIO %d", (fcntl(p[1], F_GETFL) & O_NONBLOCK) != 0);
    R(read(p[1], buf, 4));
    on = 0;
    R(ioctl(p[1], FIONBIO, &on));
    trace("FIONBIO %d", (fcntl(p[1], F_GETFL) & O_NONBLOCK) != 0);
    R(fcntl(p[0], F_SETFL, O_NONBLOCK | O_APPEND));
    trace("append is kept %d", (fcntl(p[0], F_GETFL) & O_APPEND) != 0);
    R(ioctl(p[0], FIOCLEX));
    trace("cloexec %d", fcntl(p[0], F_GETFD));
    R(fcntl(p[0], F_SETFD, 0));
    trace("cloexec %d", fcntl(p[0], F_GETFD));
    R(fcntl(p[0], F_SETOWN, getpid()));
    R(fcntl(p[0], 9999));
    R(ioctl(p[0], 0x1234));
    struct addr a;
    int l = tcp_listen(AF_INET, 1, &a);
    trace("listener %d", fcntl(l, F_GETFL) == O_RDWR);
    set_nonblock(l, true);
    trace("listener %d", fcntl(l, F_GETFL) == (O_RDWR | O_NONBLOCK));
    OK(close(l));
    OK(close(d));
    end(p);
}

static void ranges(void)
{
    int p[2], q[2];
    tcp_pair(p);
    tcp_pair(q);
    int a = OK(fcntl(p[0], F_DUPFD, 200)), b = OK(fcntl(q[0], F_DUPFD, 201));
    OK(close(p[0]));
    OK(close(q[0]));
    R(close_range((unsigned)a, (unsigned)b, 0));
    settle();
    show_recv("p ended", p[1]);
    show_recv("q ended", q[1]);
    R(close(a));
    end((int[]){p[1], q[1]});
    tcp_pair(p);
    a = OK(fcntl(p[0], F_DUPFD, 200));
    R(close_range((unsigned)a, (unsigned)a, CLOSE_RANGE_CLOEXEC));
    trace("cloexec %d", fcntl(a, F_GETFD));
    b = OK(fcntl(p[1], F_DUPFD, 300));
    end(p);
    closefrom(250);
    settle();
    show_recv("closefrom", a);
    R(close_range(300, 200, 0));
    OK(close(a));
    tcp_pair(p); /* what the library keeps for itself is still there */
    send_text(p[0], "works");
    settle();
    show_recv("after all", p[1]);
    end(p);
}

static void numbers(void)
{
    struct addr a;
    int first = OK(dup(0));
    OK(close(first));
    int l = tcp_listen(AF_INET, 4, &a), s = tcp_connect(&a), c = tcp_accept(l), e = OK(epoll_create1(0)), d = OK(dup(s));
    trace("listen +%d connect +%d accept +%d epoll +%d dup +%d", l - first, s - first, c - first, e - first, d - first);
    OK(close(s));
    int u = OK(socket(AF_INET, SOCK_DGRAM, 0));
    trace("the lowest free one +%d", u - first);
    OK(close(l));
    int s2 = OK(socket(AF_INET, SOCK_STREAM, 0));
    trace("the lowest free one +%d", s2 - first);
    int fds[] = {c, e, d, u, s2};
    for (size_t i = 0; i < COUNT(fds); i++)
        OK(close(fds[i]));
}

static void emfile(void)
{
    struct addr a;
    struct rlimit was, low;
    int l = tcp_listen(AF_INET, 4, &a), s = tcp_connect(&a), spare = OK(dup(0));
    OK(getrlimit(RLIMIT_NOFILE, &was));
    int free_fd = OK(dup(0));
    OK(close(free_fd));
    low = was;
    low.rlim_cur = (rlim_t)free_fd;
    OK(setrlimit(RLIMIT_NOFILE, &low));
    R(accept(l, NULL, NULL));
    show_poll("it stays in the queue", l, POLLIN, 0);
    R(socket(AF_INET, SOCK_STREAM, 0));
    R(dup(s));
    R(epoll_create1(0));
    OK(close(spare));
    int c = F(accept(l, NULL, NULL));
    send_text(s, "at last");
    settle();
    show_recv("accepted", c);
    OK(setrlimit(RLIMIT_NOFILE, &was));
    OK(close(s));
    OK(close(c));
    OK(close(l));
}

static void errors(void)
{
    int p[2], file = OK(open("/dev/null", O_RDWR));
    struct addr a = {.len = sizeof a.ss};
    char buf[4];
    tcp_pair(p);
    end(p);
    R(read(p[0], buf, 1));
    R(write(p[0], buf, 1));
    R(send(p[0], buf, 1, 0));
    R(recv(p[0], buf, 1, 0));
    R(shutdown(p[0], SHUT_WR));
    R(getpeername(p[0], SA(&a), &a.len));
    R(fcntl(p[0], F_GETFL));
    R(close(p[0]));
    R(listen(p[0], 1));
    R(send(file, buf, 1, 0));
    R(recv(file, buf, 1, 0));
    R(accept(file, NULL, NULL));
    R(shutdown(file, SHUT_WR));
    R(getsockname(file, SA(&a), &a.len));
    R(listen(file, 1));
    R(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    R(socket(AF_INET, 99, 0));
    R(socket(999, SOCK_STREAM, 0));
    OK(close(file));
}

static void status(void)
{
    int p[2];
    struct stat st;
    tcp_pair(p);
    for (int i = 0; i < 2; i++) {
        OK(fstat(p[i], &st));
        trace("a socket %d", S_ISSOCK(st.st_mode));
    }
    char path[64], to[64] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", p[0]);
    OK(readlink(path, to, sizeof to - 1));
    trace("%.8s", to);
    R(isatty(p[0]));
    end(p);
}

const struct conf_case fds_cases[] = {
    {"fd_dup", dups, TCP, NULL},
    {"fd_dup_over", dup_over, TCP, NULL},
    {"fd_nonblock", nonblock_shared, TCP, NULL},
    {"fd_close_range", ranges, TCP, NULL},
    {"fd_numbers", numbers, TCP, NULL},
    {"fd_emfile", emfile, TCP, NULL},
    {"fd_errors", errors, TCP, NULL},
    {"fd_status", status, TCP, NULL},
    {0},
};
