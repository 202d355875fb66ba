/* SPDX-License-Identifier: BSD-3-Clause
 * The kernel's reports of closed sockets: NETLINK_SOCK_DIAG names the cookie exactly when the last descriptor anywhere
 * is gone, also to unprivileged listeners. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>
#include <unistd.h>

#define DESTROY_GROUPS                                                                                    \
    (1u << (SKNLGRP_INET_TCP_DESTROY - 1) | 1u << (SKNLGRP_INET_UDP_DESTROY - 1) |                        \
     1u << (SKNLGRP_INET6_TCP_DESTROY - 1) | 1u << (SKNLGRP_INET6_UDP_DESTROY - 1))
#define DRAIN_MAX 16384 /* messages at a time: other events must have their turn */
#define DRAIN_BATCH 32
#define REPORT_MAX 1024u /* bytes; a report has about 200 */
#define STORM_GAP (NS_PER_MS / 2) /* reports in two looks this close together: a storm */
#define STORM_PAUSE (2 * NS_PER_MS)

static void destroyed(struct engine *e, const struct nlmsghdr *h)
{
    const struct inet_diag_msg *m = NLMSG_DATA(h);
    if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || h->nlmsg_len < NLMSG_LENGTH(sizeof *m))
        return;
    COUNT(e, DESTROY_EVENTS);
    tracked_destroyed(e, (uint64_t)m->id.idiag_cookie[1] << 32 | m->id.idiag_cookie[0]);
}

static void parse(struct engine *e, char *bytes, unsigned len)
{
    int left = (int)len;
    for (struct nlmsghdr *h = (struct nlmsghdr *)bytes; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left))
        destroyed(e, h);
}

/* One batch. Returns how many came, 0 when there are none. */
static int receive_batch(struct engine *e)
{
    _Alignas(struct nlmsghdr) char bytes[DRAIN_BATCH][REPORT_MAX];
    struct sockaddr_nl from[DRAIN_BATCH];
    struct iovec iov[DRAIN_BATCH];
    struct mmsghdr msg[DRAIN_BATCH];
    for (int i = 0; i < DRAIN_BATCH; i++) {
        iov[i] = (struct iovec){bytes[i], REPORT_MAX};
        msg[i].msg_hdr = (struct msghdr){
            .msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &iov[i], .msg_iovlen = 1};
    }
    int n = recvmmsg(e->diag.fd, msg, DRAIN_BATCH, MSG_DONTWAIT, NULL);
    if (n < 0 && errno == ENOBUFS) {
        COUNT(e, DESTROY_OVERFLOWS);
        e->reports_lost = true;
        return 1;
    }
    for (int i = 0; i < n; i++)
        if (from[i].nl_pid == 0) /* from the kernel */
            parse(e, bytes[i], msg[i].msg_len);
    return n > 0 ? n : 0;
}

unsigned diag_drain(struct engine *e)
{
    unsigned total = 0;
    while (e->diag.fd >= 0 && total < DRAIN_MAX) {
        int n = receive_batch(e);
        if (n == 0) {
            /* Reports were lost: find out in another way what is gone. Only now, because the kernel drops them until
             * the queue is empty. */
            if (e->reports_lost) {
                e->audit_all = true;
                timer_at(e, TIMER_AUDIT, e->now);
            }
            e->reports_lost = false;
            break;
        }
        total += (unsigned)n;
    }
    return total;
}

/* Every socket that anybody closes in the namespace is reported. When many are, look only so often: nobody pays for the
 * engine's waking once per connection of some other program, and the reports that are ours wait a moment. */
static void diag_ready(struct engine *e, struct source *s, uint32_t events)
{
    (void)events;
    diag_drain(e);
    if (e->now - e->diag_looked < STORM_GAP) {
        source_events(e, s, 0);
        timer_at(e, TIMER_DIAG, e->now + STORM_PAUSE);
    }
    e->diag_looked = e->now;
}

void diag_due(struct engine *e)
{
    e->diag_looked = e->now;
    if (diag_drain(e) > 0) /* the storm goes on */
        timer_at(e, TIMER_DIAG, e->now + STORM_PAUSE);
    else
        source_events(e, &e->diag, EPOLLIN);
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
