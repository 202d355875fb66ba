/* SPDX-License-Identifier: BSD-3-Clause
 * Sockets, data, threads and processes for the cases. */
#include "lib.h"

#include <arpa/inet.h>

const char *self_path;

/* ---- Addresses ---- */

static void address(struct addr *a, int family, int port, bool any)
{
    memset(a, 0, sizeof *a);
    if (family == AF_INET) {
        struct sockaddr_in *in = (void *)&a->ss;
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        in->sin_addr.s_addr = htonl(any ? INADDR_ANY : INADDR_LOOPBACK);
        a->len = sizeof *in;
    } else {
        struct sockaddr_in6 *in6 = (void *)&a->ss;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        in6->sin6_addr = any ? in6addr_any : in6addr_loopback;
        a->len = sizeof *in6;
    }
}

void loopback(struct addr *a, int family, int port)
{
    address(a, family, port, false);
}

void wildcard(struct addr *a, int family, int port)
{
    address(a, family, port, true);
}

int addr_port(const struct addr *a)
{
    return ntohs(a->ss.ss_family == AF_INET ? ((const struct sockaddr_in *)&a->ss)->sin_port
                                            : ((const struct sockaddr_in6 *)&a->ss)->sin6_port);
}

void local_addr(int fd, struct addr *a)
{
    a->len = sizeof a->ss;
    OK(getsockname(fd, SA(a), &a->len));
}

/* ---- Sockets ---- */

int tcp_listen(int family, int backlog, struct addr *a)
{
    int fd = OK(socket(family, SOCK_STREAM, 0));
    loopback(a, family, 0);
    OK(bind(fd, SA(a), a->len));
    OK(listen(fd, backlog));
    local_addr(fd, a);
    return fd;
}

int tcp_connect(const struct addr *a)
{
    int fd = OK(socket(a->ss.ss_family, SOCK_STREAM, 0));
    OK(connect(fd, SA(a), a->len));
    count_connect();
    return fd;
}

int tcp_accept(int listener)
{
    return OK(accept(listener, NULL, NULL));
}

void tcp_pair_of(int family, int p[2])
{
    struct addr a;
    int l = tcp_listen(family, 8, &a);
    p[0] = tcp_connect(&a);
    p[1] = tcp_accept(l);
    OK(close(l));
}

void tcp_pair(int p[2])
{
    tcp_pair_of(AF_INET, p);
}

int udp_bound(int family, struct addr *a)
{
    int fd = OK(socket(family, SOCK_DGRAM, 0));
    loopback(a, family, 0);
    OK(bind(fd, SA(a), a->len));
    local_addr(fd, a);
    return fd;
}

void udp_pair(int p[2])
{
    struct addr a[2];
    for (int i = 0; i < 2; i++)
        p[i] = udp_bound(AF_INET, &a[i]);
    for (int i = 0; i < 2; i++)
        OK(connect(p[i], SA(&a[1 - i]), a[1 - i].len));
}

void set_nonblock(int fd, bool on)
{
    int flags = OK(fcntl(fd, F_GETFL));
    OK(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

int get_int(int fd, int level, int name)
{
    int v = -1;
    socklen_t len = sizeof v;
    OK(getsockopt(fd, level, name, &v, &len));
    return v;
}

void send_fd(int by, int fd)
{
    char control[CMSG_SPACE(sizeof fd)] = "";
    struct iovec iov = {"f", 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    CHECK(sendmsg(by, &m, 0) == 1);
}

int recv_fd(int by, int flags)
{
    char control[CMSG_SPACE(sizeof(int))], byte;
    struct iovec iov = {&byte, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    int fd;
    CHECK(recvmsg(by, &m, flags) == 1);
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
    return fd;
}

/* ---- Data ---- */

void send_text(int fd, const char *text)
{
    CHECK(send(fd, text, strlen(text), 0) == (ssize_t)strlen(text));
}

long recv_text(int fd, char *buf, size_t size, int flags)
{
    long n = recv(fd, buf, size - 1, flags);
    buf[n > 0 ? n : 0] = 0;
    return n;
}

void show_recv(const char *what, int fd)
{
    char buf[256];
    errno = 0;
    long n = recv_text(fd, buf, sizeof buf, MSG_DONTWAIT);
    if (n < 0)
        trace("%s: recv = -1 %s", what, err_name(errno));
    else
        trace("%s: recv = %ld \"%s\"", what, n, buf);
}

void fill(int fd)
{
    static char block[65536];
    while (send(fd, block, sizeof block, MSG_DONTWAIT) > 0)
        ;
    CHECK(errno == EAGAIN);
}

size_t drain(int fd)
{
    char block[65536];
    size_t sum = 0;
    ssize_t n;
    while ((n = recv(fd, block, sizeof block, MSG_DONTWAIT)) > 0)
        sum += (size_t)n;
    return sum;
}

uint8_t pattern(uint64_t position)
{
    return (uint8_t)(position ^ position >> 8 ^ position >> 16 ^ position * 37);
}

void read_exact(int fd, void *buf, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = OK(read(fd, (char *)buf + done, n - done));
        if (r == 0)
            fail("end of stream after %zu of %zu bytes", done, n);
        done += (size_t)r;
    }
}

void write_all(int fd, const void *buf, size_t n)
{
    for (size_t done = 0; done < n;)
        done += (size_t)OK(write(fd, (const char *)buf + done, n - done));
}

/* ---- Time, threads, processes ---- */

void msleep(int ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &t) == EINTR)
        ;
}

void settle(void)
{
    msleep(30);
}

int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

pthread_t thread(void *(*fn)(void *), void *arg)
{
    pthread_t t;
    CHECK(pthread_create(&t, NULL, fn, arg) == 0);
    return t;
}

void *join(pthread_t t)
{
    void *r = NULL;
    CHECK(pthread_join(t, &r) == 0);
    return r;
}

pid_t child(void (*fn)(void *), void *arg)
{
    pid_t pid = (pid_t)OK(fork());
    if (pid == 0) {
        fn(arg);
        _exit(0);
    }
    return pid;
}

void reap(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR);
    if (WIFSIGNALED(status))
        trace("child ended by signal %d", WTERMSIG(status));
    else
        trace("child ended with %d", WEXITSTATUS(status));
}

void handler(int sig, void (*fn)(int), int flags)
{
    struct sigaction sa = {.sa_handler = fn, .sa_flags = flags};
    OK(sigaction(sig, &sa, NULL));
}

/* ---- Readiness ---- */

void ep_add(int ep, int fd, uint32_t events, uint32_t data)
{
    struct epoll_event ev = {.events = events, .data.u32 = data};
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
}

void ep_mod(int ep, int fd, uint32_t events, uint32_t data)
{
    struct epoll_event ev = {.events = events, .data.u32 = data};
    OK(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev));
}

static int by_data(const void *a, const void *b)
{
    uint32_t x = ((const struct epoll_event *)a)->data.u32, y = ((const struct epoll_event *)b)->data.u32;
    return x < y ? -1 : x > y;
}

int show_epoll(const char *what, int ep, int timeout)
{
    struct epoll_event ev[32];
    char text[1024] = "";
    errno = 0;
    int n = epoll_wait(ep, ev, COUNT(ev), timeout);
    if (n < 0) {
        trace("%s: epoll_wait = -1 %s", what, err_name(errno));
        return n;
    }
    qsort(ev, (size_t)n, sizeof ev[0], by_data);
    for (int i = 0; i < n; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), " %u:%s", ev[i].data.u32, events_text(ev[i].events));
    trace("%s: epoll_wait = %d%s", what, n, text);
    return n;
}

void show_poll(const char *what, int fd, short events, int timeout)
{
    struct pollfd p = {.fd = fd, .events = events};
    errno = 0;
    int n = poll(&p, 1, timeout);
    if (n < 0)
        trace("%s: poll = -1 %s", what, err_name(errno));
    else
        trace("%s: poll = %d %s", what, n, revents_text(p.revents));
}
