/* SPDX-License-Identifier: BSD-3-Clause
 * What the cases share. A case does calls and prints what they gave: results, errno names, events as sorted sets. Nothing
 * that differs between two runs on one kernel is printed: no times, no ports, no descriptor numbers. */
#ifndef CONFORMANCE_LIB_H
#define CONFORMANCE_LIB_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What must have been accelerated in the run under Z-stack. */
enum world {
    TCP,    /* at least one connection, and every one that tcp_pair and tcp_connect made */
    LISTEN, /* a listener */
    UDP,    /* a socket, and datagrams through shared memory */
    KERNEL, /* nothing: the case is about what stays with the kernel, `reason` says why */
};

struct conf_case {
    const char *name;
    void (*run)(void);
    enum world world;
    const char *reason;
};

/* ---- Trace ---- */

void trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
long trace_result(const char *call, long r, int err);
long trace_fd(const char *call, long r, int err);
const char *err_name(int err);
const char *events_text(uint32_t events);   /* EPOLL* */
const char *revents_text(short revents);    /* POLL* */
const char *addr_text(const struct sockaddr_storage *a, socklen_t len); /* ports by their order of appearance: p1, p2 */

/* Does the call and prints its text with the result; the result is the value. F: the result is a descriptor. */
#define R(call) ({ errno = 0; long r_ = (long)(call); trace_result(#call, r_, errno); })
#define F(call) ({ errno = 0; long r_ = (long)(call); (int)trace_fd(#call, r_, errno); })
/* A call that must succeed, quietly. */
#define OK(call) ({ errno = 0; long r_ = (long)(call); if (r_ < 0) fail("%s:%d: %s: %s", __FILE_NAME__, __LINE__, #call, err_name(errno)); r_; })
#define CHECK(cond) do { if (!(cond)) fail("%s:%d: %s", __FILE_NAME__, __LINE__, #cond); } while (0)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- Sockets ---- */

struct addr {
    struct sockaddr_storage ss;
    socklen_t len;
};
#define SA(a) ((struct sockaddr *)&(a)->ss)

void loopback(struct addr *a, int family, int port);
void wildcard(struct addr *a, int family, int port);
int addr_port(const struct addr *a);
void local_addr(int fd, struct addr *a);
int tcp_listen(int family, int backlog, struct addr *a); /* on loopback, a free port; its address */
int tcp_connect(const struct addr *a);                   /* blocking */
int tcp_accept(int listener);
void tcp_pair_of(int family, int p[2]); /* 0: connected, 1: accepted; no listener left */
void tcp_pair(int p[2]);
void count_connect(void); /* a case that calls connect() itself tells that the connection was made */
int udp_bound(int family, struct addr *a);
void udp_pair(int p[2]); /* connected to each other */
void set_nonblock(int fd, bool on);
int get_int(int fd, int level, int name);
void send_fd(int by, int fd); /* SCM_RIGHTS */
int recv_fd(int by, int flags);

/* ---- Data ---- */

void send_text(int fd, const char *text);
long recv_text(int fd, char *buf, size_t size, int flags); /* terminated; the result of recv */
void show_recv(const char *what, int fd);                  /* one recv with MSG_DONTWAIT, printed */
void fill(int fd);                                         /* writes until EAGAIN */
size_t drain(int fd);                                      /* reads until EAGAIN or the end */
uint8_t pattern(uint64_t position);
void read_exact(int fd, void *buf, size_t n);
void write_all(int fd, const void *buf, size_t n);

/* ---- Time, threads, processes ---- */

void settle(void); /* long enough for what was sent to have arrived */
void msleep(int ms);
int64_t now_ms(void);
pthread_t thread(void *(*fn)(void *), void *arg);
void *join(pthread_t t);
pid_t child(void (*fn)(void *), void *arg); /* fork; fn then exit 0 */
void reap(pid_t pid);                       /* waits and prints how it ended */
void handler(int sig, void (*fn)(int), int flags);

/* One epoll_wait, printed as the sorted set of "data:EVENTS". */
int show_epoll(const char *what, int ep, int timeout);
void show_poll(const char *what, int fd, short events, int timeout);
void ep_add(int ep, int fd, uint32_t events, uint32_t data);
void ep_mod(int ep, int fd, uint32_t events, uint32_t data);

extern const char *self_path;

#endif
