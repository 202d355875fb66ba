/* SPDX-License-Identifier: BSD-3-Clause
 * A relay: a process that has a connection in place of a program that the library cannot enter, and copies between it and a connection
 * over the kernel's loopback, which the program has. It ends when both directions have, or one end is reset. */
#include "foreign.h"

#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* ---- The kernel's connection ---- */

static bool same_end(int fd, int other)
{
    struct zs_addr own, peer;
    return sock_kernel_addr(fd, &own, false) == 0 && sock_kernel_addr(other, &peer, true) == 0 && own.port == peer.port;
}

/* end[0] is the program's, end[1] the relay's. -errno where this host has no such loopback. */
static int loopback_pair(int family, int end[2])
{
    struct sockaddr_storage at = {.ss_family = (sa_family_t)family};
    socklen_t len = family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (family == AF_INET6)
        ((struct sockaddr_in6 *)&at)->sin6_addr = in6addr_loopback;
    else
        ((struct sockaddr_in *)&at)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = (int)zs_sys(SYS_socket, family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    end[0] = (int)zs_sys(SYS_socket, family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    end[1] = -1;
    long r = listener < 0 ? listener : end[0] < 0 ? end[0] : zs_sys(SYS_bind, listener, &at, len);
    if (r >= 0)
        r = zs_sys(SYS_listen, listener, 1);
    if (r >= 0)
        r = zs_sys(SYS_getsockname, listener, &at, &len);
    if (r >= 0)
        r = zs_sys(SYS_connect, end[0], &at, len);
    while (r >= 0 && (end[1] = (int)zs_sys(SYS_accept4, listener, NULL, NULL, SOCK_CLOEXEC)) >= 0 && !same_end(end[0], end[1]))
        zs_sys(SYS_close, end[1]); /* somebody else was faster */
    if (listener >= 0)
        zs_sys(SYS_close, listener);
    if (r >= 0 && end[1] >= 0)
        return 0;
    if (end[0] >= 0)
        zs_sys(SYS_close, end[0]);
    return r < 0 ? (int)r : end[1];
}

/* Asks the kernel about the socket at the other end of a loopback connection: whether no process has it any more, so that an end of the
 * stream is not that of a half-close (sock_diag(7)). */
static bool end_is_closed(int fd)
{
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 q;
    } ask = {.head = {.nlmsg_len = sizeof ask, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST}};
    union {
        struct nlmsghdr head;
        char buf[1024];
    } answer;
    struct zs_addr own, peer;
    if (sock_kernel_addr(fd, &own, false) < 0 || sock_kernel_addr(fd, &peer, true) < 0)
        return false;
    ask.q = (struct inet_diag_req_v2){.sdiag_family = (uint8_t)own.family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u};
    ask.q.id = (struct inet_diag_sockid){.idiag_sport = peer.port, .idiag_dport = own.port, .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}};
    size_t at = own.family == AF_INET ? 12 : 0;
    memcpy(ask.q.id.idiag_src, peer.ip + at, 16 - at);
    memcpy(ask.q.id.idiag_dst, own.ip + at, 16 - at);
    int s = (int)zs_sys(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    long n = s < 0 ? s : zs_sys(SYS_sendto, s, &ask, sizeof ask, 0, NULL, 0);
    n = n < 0 ? n : zs_sys(SYS_recvfrom, s, &answer, sizeof answer, 0, NULL, NULL);
    if (s >= 0)
        zs_sys(SYS_close, s);
    if (n < (long)sizeof answer.head)
        return false;
    if (answer.head.nlmsg_type == NLMSG_ERROR)
        return ((const struct nlmsgerr *)NLMSG_DATA(&answer.head))->error == -ENOENT;
    return answer.head.nlmsg_type == SOCK_DIAG_BY_FAMILY && ((const struct inet_diag_msg *)NLMSG_DATA(&answer.head))->idiag_inode == 0;
}

/* ---- The relay's process ---- */

#define COPY_BYTES 65536u

struct direction {
    int from, to;
    char *buf;
    size_t at, n;  /* what is to be written yet */
    bool over;     /* `from` has ended, and `to` was told */
};

/* Reads and writes what goes without waiting. False: an end was reset. */
static bool copy(struct direction *d)
{
    if (d->n == 0 && !d->over) {
        ssize_t got = zsp_recv(d->from, d->buf, COPY_BYTES, MSG_DONTWAIT);
        if (got < 0)
            return errno == EAGAIN || errno == EINTR;
        d->over = got == 0;
        d->at = 0;
        d->n = (size_t)got;
    }
    ssize_t put = d->n > 0 ? zsp_send(d->to, d->buf + d->at, d->n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    if (put < 0)
        return errno == EAGAIN || errno == EINTR;
    d->at += (size_t)put;
    d->n -= (size_t)put;
    return true;
}

static short wanted(const struct direction *from, const struct direction *to)
{
    return (short)((from->n == 0 && !from->over ? POLLIN : 0) | (to->n > 0 ? POLLOUT : 0));
}

static void wait_both(const struct direction d[2])
{
    struct pollfd p[2] = {{.fd = d[0].from, .events = wanted(&d[0], &d[1])}, {.fd = d[1].from, .events = wanted(&d[1], &d[0])}};
    for (int i = 0; i < 2; i++)
        if (p[i].events == 0)
            p[i].fd = -1; /* that it has ended would be said again and again */
    zsp_poll(p, 2, -1);
}

/* d[0] is from the connection to the kernel's, d[1] the way back. */
static void copy_both(struct direction d[2])
{
    const struct linger reset = {.l_onoff = 1};
    bool told[2] = {false, false};
    while (!told[0] || !told[1]) {
        wait_both(d);
        if (!copy(&d[0]) || !copy(&d[1])) {
            zsp_setsockopt(d[0].from, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
            zsp_setsockopt(d[1].from, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
            break;
        }
        if (d[1].over && d[1].n == 0 && end_is_closed(d[1].from))
            break; /* others may have the connection: it ends when nobody has it */
        for (int i = 0; i < 2; i++)
            if (d[i].over && d[i].n == 0 && !told[i]) {
                zsp_shutdown(d[i].to, SHUT_WR);
                told[i] = true;
            }
    }
    zsp_close(d[0].from);
    zsp_close(d[1].from);
}

/* Nothing of what the program has: no other descriptor, no terminal, no folder. */
static void leave_program(int keep, int also)
{
    const struct sigaction usual = {.sa_handler = SIG_DFL};
    const uint64_t none = 0;
    unsigned low = (unsigned)(keep < also ? keep : also), high = (unsigned)(keep < also ? also : keep);
    for (int sig = 1; sig < 65; sig++)
        zs_sys(SYS_rt_sigaction, sig, &usual, NULL, sizeof none);
    zs_sys(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
    if (low > 0)
        zs_sys(SYS_close_range, 0, low - 1, 0);
    if (high > low + 1)
        zs_sys(SYS_close_range, low + 1, high - 1, 0);
    zs_sys(SYS_close_range, high + 1, ~0u, 0);
    zs_sys(SYS_setsid);
    zs_sys(SYS_chdir, "/");
    zs_sys(SYS_prctl, PR_SET_NAME, "zstack-relay");
}

void relay_child_begins(struct zsock *k, int fd)
{
    zs_vfork_flag = 0; /* of a vfork child this is a child with a memory of its own */
    zs_thread.depth = 0;
    zs_after_fork_child();
    signals_guard();
    if (k != NULL && fd_sock(fdtab_raw(fd)) != k) { /* a vfork child had moved it */
        fdtab_set(fd, FDT_SOCK, k);
        atomic_fetch_add(&k->fds, 1);
    }
}

static _Noreturn void relay(struct zsock *k, int conn, int kernel)
{
    relay_child_begins(k, conn);
    leave_program(conn, kernel);
    char *mem = zs_chunk_alloc(2 * COPY_BYTES);
    struct direction d[2] = {{.from = conn, .to = kernel, .buf = mem}, {.from = kernel, .to = conn, .buf = mem + COPY_BYTES}};
    if (mem != NULL)
        copy_both(d);
    zs_sys(SYS_exit_group, 0);
    __builtin_unreachable();
}

/* Starts the process; the caller keeps both descriptors. k: NULL: the connection is the kernel's, too. */
static int start(struct zsock *k, int conn, int kernel)
{
    int on = 1;
    zs_sys(SYS_setsockopt, kernel, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* the connection's own way to wait stays in force */
    if (k != NULL && !zs_passthrough() && sock_leaves(k, conn))
        share_socks(&k, 1);
    /* No signal at its end, and no wait for children finds it: the program does not know of it. */
    long pid = zs_sys(SYS_clone, 0, NULL, NULL, NULL, 0);
    if (pid == 0)
        relay(k, conn, kernel);
    return pid < 0 ? (int)pid : 0;
}

int relay_start(struct zsock *k, int fd)
{
    int end[2], on = 1;
    int r = loopback_pair(k->family, end);
    if (r < 0 && k->family == AF_INET6)
        r = loopback_pair(AF_INET, end);
    if (r < 0)
        r = (int)zs_sys(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, end);
    if (r < 0)
        return r;
    zs_sys(SYS_setsockopt, end[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (atomic_load(&k->nonblock))
        zs_sys(SYS_fcntl, end[0], F_SETFL, O_RDWR | O_NONBLOCK);
    r = start(k, fd, end[1]);
    zs_sys(SYS_close, end[1]);
    if (r < 0)
        zs_sys(SYS_close, end[0]);
    return r < 0 ? r : end[0];
}

/* A connection over the kernel to the listener fd. */
static int connect_to(int fd)
{
    struct zs_addr at;
    struct sockaddr_storage to;
    if (sock_kernel_addr(fd, &at, false) < 0)
        return -1;
    addr_any_to_loopback(&at);
    socklen_t len = addr_to_sockaddr(&at, at.family, &to);
    int c = (int)zs_sys(SYS_socket, to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c >= 0 && zs_sys(SYS_connect, c, &to, len) == 0)
        return c;
    if (c >= 0)
        zs_sys(SYS_close, c);
    return -1;
}

void relay_queued(struct zsock *k, int fd)
{
    while (zs_accept_ready(k->d, k->s)) {
        int conn = zsp_accept4(fd, NULL, NULL, SOCK_CLOEXEC); /* perhaps one of the kernel's, which is as well */
        if (conn < 0)
            return;
        int kernel = connect_to(fd);
        if (kernel >= 0) {
            start(fd_sock(fdtab_raw(conn)), conn, kernel);
            zs_sys(SYS_close, kernel);
        }
        zsp_close(conn);
    }
}
