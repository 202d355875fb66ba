/* SPDX-License-Identifier: BSD-3-Clause
 * The host's own addresses, published to clients under a sequence lock, and its ephemeral port range. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

struct own {
    uint32_t n;
    bool overflow;
    uint8_t ip[ZS_MAX_OWN_ADDRS][16];
};

static void own_add(struct own *own, const struct nlmsghdr *h)
{
    const struct ifaddrmsg *m = NLMSG_DATA(h);
    if (h->nlmsg_type != RTM_NEWADDR || h->nlmsg_len < NLMSG_LENGTH(sizeof *m))
        return;
    size_t size = m->ifa_family == AF_INET ? 4 : m->ifa_family == AF_INET6 ? 16 : 0;
    const void *local = NULL, *address = NULL;
    int left = (int)IFA_PAYLOAD(h);
    for (const struct rtattr *a = IFA_RTA(m); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        if (RTA_PAYLOAD(a) < size)
            continue;
        if (a->rta_type == IFA_LOCAL)
            local = RTA_DATA(a);
        else if (a->rta_type == IFA_ADDRESS)
            address = RTA_DATA(a);
    }
    /* On a point-to-point link IFA_ADDRESS is the other side's. */
    const void *ip = local != NULL ? local : address;
    if (ip == NULL || size == 0)
        return;
    if (own->n == ZS_MAX_OWN_ADDRS) {
        own->overflow = true;
        return;
    }
    uint8_t *to = own->ip[own->n++];
    memset(to, 0, 16);
    to[10] = to[11] = size == 4 ? 0xff : 0;
    memcpy(to + 16 - size, ip, size);
}

static bool own_dump(struct own *own)
{
    struct {
        struct nlmsghdr h;
        struct ifaddrmsg m;
    } ask = {.h = {.nlmsg_len = sizeof ask, .nlmsg_type = RTM_GETADDR, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
    union {
        char bytes[32768];
        struct nlmsghdr align;
    } buffer;
    struct timeval limit = {.tv_sec = 1};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    bool done = false, failed = fd < 0;
    own->n = 0;
    own->overflow = false;
    if (!failed) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        failed = send(fd, &ask, sizeof ask, 0) != (ssize_t)sizeof ask;
    }
    while (!failed && !done) {
        ssize_t n = recv(fd, buffer.bytes, sizeof buffer, 0);
        int left = (int)n;
        failed = n <= 0;
        for (struct nlmsghdr *h = &buffer.align; !failed && NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
            done = done || h->nlmsg_type == NLMSG_DONE;
            failed = failed || h->nlmsg_type == NLMSG_ERROR;
            own_add(own, h);
        }
    }
    if (fd >= 0)
        close(fd);
    return done;
}

void addrs_due(struct engine *e)
{
    struct own own;
    struct zs_arena_header *h = &e->view.arena->header;
    if (!own_dump(&own)) {
        LOG_WARN(e, "cannot read the host's addresses");
        return;
    }
    if (own.overflow)
        admin_warn(e, "this host has more addresses than Z-stack keeps: connections to the rest use the kernel");
    /* The sequence is counted here: a scribbled one must not stay odd. */
    atomic_store_explicit(&h->own_seq, e->own_seq | 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&h->own_count, own.n, memory_order_relaxed);
    memcpy(h->own, own.ip, own.n * sizeof own.ip[0]);
    e->own_seq += 2;
    atomic_store_explicit(&h->own_seq, e->own_seq, memory_order_release);
    LOG_DEBUG(e, "%u own addresses", own.n);
}

/* What changed does not matter, the table is read anew; changes come in bursts, so a little later. */
static void route_ready(struct engine *e, struct source *s, uint32_t events)
{
    char buffer[8192];
    (void)events;
    for (int i = 0; i < 1024 && (recv(s->fd, buffer, sizeof buffer, MSG_DONTWAIT) >= 0 || errno == ENOBUFS); i++)
        ;
    timer_at(e, TIMER_ADDRS, e->now + 10 * NS_PER_MS);
}

bool addrs_open(struct engine *e)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
    if (fd < 0)
        return false;
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0 ||
        source_add(e, &e->route, fd, EPOLLIN, route_ready) != 0) {
        close(fd);
        return false;
    }
    addrs_due(e);
    return true;
}

void addrs_port_range(struct engine *e)
{
    struct zs_arena_header *h = &e->view.arena->header;
    unsigned low = 0, high = 0;
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    if (f == NULL || fscanf(f, "%u %u", &low, &high) != 2 || low == 0 || low > high || high > 65535) {
        low = 32768;
        high = 60999;
    }
    if (f != NULL)
        fclose(f);
    h->eph_low = (uint16_t)low;
    h->eph_high = (uint16_t)high;
}
