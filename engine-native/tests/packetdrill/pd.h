/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The native stack behind packetdrill's interface: one stack on one port, whose other end is the script, with virtual time. The
 * clock moves when the script waits, when a packet is waited for, and by a microsecond each time it is asked for, because
 * packetdrill spins for the last of them. Sockets are pairs of sessions, as an application and its engine share them.
 *
 * The stack is 192.168.0.2 and fd3d:fa7b:d17d::2 (--local_ip; without it packetdrill chooses an address of the same networks at
 * random), everything else is on the link or behind a gateway, and whoever is asked for answers. */
#ifndef ZSTACK_PACKETDRILL_PD_H
#define ZSTACK_PACKETDRILL_PD_H

#include <pthread.h>
#include <sys/queue.h>

#include "interface.h"
#include "net_wire.h"

#define PD_SOCKETS 64
#define PD_FIRST_FD 3

/* One packet or frame that waits. */
struct pd_frame {
    STAILQ_ENTRY(pd_frame) link;
    uint64_t at; /* when it was sent, ns */
    struct frame *frame;
};
STAILQ_HEAD(pd_frames, pd_frame);

struct pd;
struct pd_sock {
    struct pd *pd;
    int domain;
    bool nonblock, shut_rd, shut_wr;
    struct ip_addr local_ip;
    rte_be16_t local_port;
    struct tcp_listener *listener;
    struct sock sock;    /* of a connection; .bed NULL: there is none */
    struct tcp_flow flow;
    uint8_t keys[TCP_TFO_KEYS][TCP_TFO_KEY_LEN]; /* TCP_FASTOPEN_KEY of a listener */
    uint32_t nkeys;
    struct zs_opts opts; /* while there is no connection */
    uint32_t backlog, waiting; /* listener: connections that wait for accept */
    TAILQ_HEAD(, pd_sock) queue;
    TAILQ_ENTRY(pd_sock) link;
};

struct pd {
    struct bed bed;
    struct stack *st;
    struct net_port *port;
    uint64_t now; /* ns */
    pthread_mutex_t lock;
    pthread_cond_t moved;
    pthread_t script; /* who moves the clock; calls of other threads may wait */
    uint32_t sleepers;
    bool counters; /* --so_flags=counters: the stack's are printed at the end */
    struct pd_frames sent, answers; /* for the script; to questions about neighbours, for the stack */
    struct pd_sock *fd[PD_SOCKETS];
    TAILQ_HEAD(, pd_sock) closed; /* by the script; the stack may still tell them of their end */
};

/* ---- wire.c ---- */
void pd_wire_open(struct pd *p);
void pd_wire_close(struct pd *p);
void pd_tell(const struct pd *p);                /* --so_flags=counters: those of the stack */
void pd_turn(struct pd *p);                      /* what is queued leaves; sleeping calls look again */
void pd_clock(struct pd *p, uint64_t ns);        /* so much time passes; timers fire when they are due */
bool pd_next(struct pd *p);                      /* time passes until the next timer; false: there is none */
int pd_netdev_send(void *u, const void *packet, size_t len);
int pd_netdev_receive(void *u, void *packet, size_t *len, long long *us);
int pd_usleep(void *u, useconds_t us);
int pd_gettimeofday(void *u, struct timeval *tv, struct timezone *tz);

/* ---- sockets.c: 0 or more, or a negative errno value; the lock is held ---- */
struct pd_sock *pd_at(struct pd *p, int fd);     /* NULL: EBADF */
int pd_socket(struct pd *p, int domain, int type);
int pd_bind(struct pd_sock *s, const struct sockaddr *addr, socklen_t len);
int pd_listen(struct pd_sock *s, int backlog);
int pd_accept(struct pd_sock *s, struct sockaddr *addr, socklen_t *len);
int pd_connect(struct pd_sock *s, const struct sockaddr *addr, socklen_t len);
int pd_close(struct pd *p, int fd);
void pd_close_all(struct pd *p);
void pd_forget_closed(struct pd *p);             /* once the stack is gone */
int pd_shutdown(struct pd_sock *s, int how);
short pd_events(const struct pd_sock *s);        /* POLL* */
int pd_poll(struct pd *p, struct pollfd *fds, nfds_t n, int timeout_ms);
/* Waits until one of `events` is there: 0, or -EAGAIN when the socket does not block or nothing more will happen. */
int pd_await(struct pd_sock *s, short events, bool nonblock);

/* ---- transfer.c ---- */
ssize_t pd_send(struct pd_sock *s, const struct iovec *iov, int niov, int flags, const struct sockaddr *addr, socklen_t len);
ssize_t pd_recv(struct pd_sock *s, const struct iovec *iov, int niov, int flags);

/* ---- options.c ---- */
struct zs_opts *pd_options(struct pd_sock *s);
int pd_setsockopt(struct pd_sock *s, int level, int name, const void *val, socklen_t len);
int pd_getsockopt(struct pd_sock *s, int level, int name, void *val, socklen_t *len);
int pd_ioctl(struct pd_sock *s, unsigned long request, int *val);
int pd_fcntl(struct pd_sock *s, int cmd, long arg);

/* ---- info.c ---- */
struct zs_tcp_info;
void pd_kernel_info(const struct zs_tcp_info *info, void *to, socklen_t *len);

#endif
