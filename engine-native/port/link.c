/* SPDX-License-Identifier: BSD-3-Clause
 * How often a port's link came up. Of an interface the kernel tells (rtnetlink); a TAP's may be in another network namespace by
 * then, whose messages are heard, too, if the engine may (CAP_NET_BROADCAST) and that namespace has a number in ours, which the move
 * gave it. A memif's link is its connection (memif.c). Where nobody tells, of a card, the port asks once a second while its thread
 * works. */
#define _GNU_SOURCE
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"

#define ASK_NS (1000 * MS_NS)

void link_set(struct port *p, bool up)
{
    struct link_watch *l = &p->link;
    if (up && !l->up)
        atomic_fetch_add_explicit(&l->ups, 1, memory_order_relaxed);
    l->up = up;
}

static int open_socket(bool all)
{
    struct sockaddr_nl at = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    int one = 1, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return -1;
    if (all)
        setsockopt(fd, SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    close(fd);
    return -1;
}

void link_start(struct port *p)
{
    struct link_watch *l = &p->link;
    if (p->kind == PORT_MEMIF)
        return;
    if (p->iface.index != 0 && p->kind != PORT_PCI)
        l->fd = open_socket(p->kind == PORT_TAP);
    if (l->fd >= 0 && !port_watch(p->lane[0]->set, l->fd, true))
        link_stop(l);
    l->up = port_link_up(p);
}

void link_stop(struct link_watch *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

/* It may be up again by the time the message is read. The same number in another namespace is another interface: at worst a TAP
 * announces itself once too often. */
static bool says_down(const struct nlmsghdr *h, unsigned index)
{
    const struct ifinfomsg *info = NLMSG_DATA(h);
    return h->nlmsg_len >= NLMSG_LENGTH(sizeof *info) && info->ifi_index == (int)index &&
           (h->nlmsg_type == RTM_DELLINK || (h->nlmsg_type == RTM_NEWLINK && !(info->ifi_flags & IFF_RUNNING)));
}

void link_event(struct port *p)
{
    union {
        char bytes[16384];
        struct nlmsghdr h;
    } got;
    ssize_t n;
    while ((n = recv(p->link.fd, &got, sizeof got, 0)) > 0) {
        size_t left = (size_t)n;
        for (struct nlmsghdr *h = &got.h; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left))
            if (says_down(h, p->iface.index))
                link_set(p, false);
    }
    link_set(p, port_link_up(p));
}

void link_ask(struct port *p)
{
    if (p->kind == PORT_MEMIF || p->link.fd >= 0)
        return;
    uint64_t now = port_now();
    if (now < p->link.ask_at)
        return;
    p->link.ask_at = now + ASK_NS;
    link_set(p, port_link_up(p));
}

uint32_t port_link_ups(const struct port *p)
{
    return atomic_load_explicit(&p->link.ups, memory_order_relaxed);
}
