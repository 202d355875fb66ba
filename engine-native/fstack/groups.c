/* SPDX-License-Identifier: BSD-3-Clause
 * Multicast groups. FreeBSD gives a datagram for a group only to the sockets that joined it, so every socket here joins what any
 * program has; who gets it, and from which sources, is the engine's to say. A socket of its own for each protocol keeps the
 * memberships of programs that are not bound yet. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "fstack.h"

/* FreeBSD's numbers (netinet/in.h, netinet6/in6.h there); those of both protocols are the same. */
#define BSD_JOIN 12
#define BSD_LEAVE 13

static bool is_v4(const struct fs_member *m)
{
    return zs_addr_is_v4(m->group);
}

static bool same_group(const struct fs_member *a, const struct fs_member *b)
{
    return a->port == b->port && memcmp(a->group, b->group, sizeof a->group) == 0;
}

static bool set(const struct fstack *fs, int fd, const struct fs_member *m, int what)
{
    const struct fs_device *d = &fs->device[m->port - 1];
    if (is_v4(m)) {
        struct ip_mreq r = {.imr_interface.s_addr = d->at.conf.addr};
        memcpy(&r.imr_multiaddr, m->group + 12, 4);
        return ff_setsockopt_freebsd(fd, IPPROTO_IP, what, &r, sizeof r) == 0;
    }
    struct ipv6_mreq r = {.ipv6mr_interface = (unsigned)d->ifindex};
    memcpy(&r.ipv6mr_multiaddr, m->group, 16);
    return ff_setsockopt_freebsd(fd, IPPROTO_IPV6, what, &r, sizeof r) == 0;
}

/* The sockets that are bound already. Theirs is of no consequence when it fails: the keeper has the membership. */
static void set_all(struct fstack *fs, const struct fs_member *m, int what)
{
    struct fs_udp *u;
    LIST_FOREACH(u, &fs->udps, link)
        if (zs_addr_is_v4(u->local.ip) == is_v4(m))
            set(fs, u->sock.fd, m, what);
}

void fs_groups_join(struct fstack *fs, const struct fs_udp *u)
{
    const struct fs_member *m;
    LIST_FOREACH(m, &fs->members, link)
        if (zs_addr_is_v4(u->local.ip) == is_v4(m))
            set(fs, u->sock.fd, m, BSD_JOIN); /* again for another member of the same group: refused, and joined */
}

static int keeper(struct fstack *fs, bool v4)
{
    if (fs->keeper[v4] == 0)
        fs->keeper[v4] = ff_socket(v4 ? AF_INET : AF_INET6_LINUX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    return fs->keeper[v4];
}

/* Whether anybody else is in it. */
static bool shared(const struct fstack *fs, const struct fs_member *m)
{
    const struct fs_member *other;
    LIST_FOREACH(other, &fs->members, link)
        if (other != m && same_group(other, m))
            return true;
    return false;
}

static int join(struct fstack *fs, const struct fs_member *wanted)
{
    struct fs_member *m = malloc(sizeof *m);
    if (m == NULL)
        return -ENOBUFS;
    *m = *wanted;
    if (!shared(fs, m)) {
        if (!set(fs, keeper(fs, is_v4(m)), m, BSD_JOIN)) {
            free(m);
            return -ENOBUFS;
        }
        set_all(fs, m, BSD_JOIN);
    }
    LIST_INSERT_HEAD(&fs->members, m, link);
    return 0;
}

static void leave(struct fstack *fs, struct fs_member *m)
{
    LIST_REMOVE(m, link);
    if (!shared(fs, m)) {
        set_all(fs, m, BSD_LEAVE);
        set(fs, keeper(fs, is_v4(m)), m, BSD_LEAVE);
    }
    free(m);
}

int fs_group(void *stack, const struct wire_filter *f, void *member, uint64_t now)
{
    struct fstack *fs = stack;
    struct fs_member wanted = {.port = f->port, .member = member}, *m;
    bool wants = f->exclude || f->nsources > 0;
    if (f->port == 0 || f->port > fs->nports)
        return -ENODEV;
    fs->now = now;
    fs_clock_run(fs);
    fs_clock_busy(fs); /* reports are repeated */
    memcpy(wanted.group, f->group, sizeof wanted.group);
    LIST_FOREACH(m, &fs->members, link)
        if (m->member == member && same_group(m, &wanted))
            break;
    if (m != NULL && !wants)
        leave(fs, m);
    return m != NULL || !wants ? 0 : join(fs, &wanted);
}

void fs_groups_close(struct fstack *fs)
{
    while (!LIST_EMPTY(&fs->members)) {
        struct fs_member *m = LIST_FIRST(&fs->members);
        LIST_REMOVE(m, link);
        free(m);
    }
}
