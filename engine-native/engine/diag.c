/* SPDX-License-Identifier: BSD-3-Clause
 * The kernel's reports of closed sockets: NETLINK_SOCK_DIAG names the cookie exactly when the last descriptor anywhere
 * is gone, also to unprivileged listeners. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <unistd.h>

#define DESTROY_GROUPS                                                                                    \
    (1u << (SKNLGRP_INET_TCP_DESTROY - 1) | 1u << (SKNLGRP_INET_UDP_DESTROY - 1) |                        \
     1u << (SKNLGRP_INET6_TCP_DESTROY - 1) | 1u << (SKNLGRP_INET6_UDP_DESTROY - 1))
#define DRAIN_MAX 16384 /* messages at a time: other events must have their turn */

static void destroyed(struct engine *e, const struct nlmsghdr *h)
{
    const struct inet_diag_msg *m = NLMSG_DATA(h);
    if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || h->nlmsg_len < NLMSG_LENGTH(sizeof *m))
        return;
    COUNT(e, DESTROY_EVENTS);
    tracked_destroyed(e, (uint64_t)m->id.idiag_cookie[1] << 32 | m->id.idiag_cookie[0]);
}

void diag_drain(struct engine *e)
{
    union {
        char bytes[8192];
        struct nlmsghdr align;
    } buffer;
    for (int i = 0; e->diag.fd >= 0 && i < DRAIN_MAX; i++) {
        struct sockaddr_nl from;
        socklen_t len = sizeof from;
        ssize_t n = recvfrom(e->diag.fd, buffer.bytes, sizeof buffer, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
        if (n < 0 && errno == ENOBUFS) {
            COUNT(e, DESTROY_OVERFLOWS);
            e->reports_lost = true;
            continue;
        }
        if (n < 0) {
            /* Reports were lost: find out in another way what is gone. Only now, because the kernel drops them until
             * the queue is empty. */
            if (e->reports_lost)
                timer_at(e, TIMER_AUDIT, e->now);
            e->reports_lost = false;
            return;
        }
        if (from.nl_pid != 0)
            continue; /* not from the kernel */
        int left = (int)n;
        for (struct nlmsghdr *h = &buffer.align; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left))
            destroyed(e, h);
    }
}

static void diag_ready(struct engine *e, struct source *s, uint32_t events)
{
    (void)s;
    (void)events;
    diag_drain(e);
}

bool diag_open(struct engine *e)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return false;
    /* A report takes about 1.3 KiB of buffer; thousands of sockets may go at once when a program ends. */
    int size = 32 << 20;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    /* bind, not NETLINK_ADD_MEMBERSHIP alone: a socket without a port id gets no multicasts from the kernel. */
    struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = DESTROY_GROUPS};
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0 && source_add(e, &e->diag, fd, EPOLLIN, diag_ready) == 0)
        return true;
    close(fd);
    return false;
}
