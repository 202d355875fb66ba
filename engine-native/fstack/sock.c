/* SPDX-License-Identifier: BSD-3-Clause
 * libfstack's sockets: addresses, errors, options and events in FreeBSD's terms. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "fstack.h"

/* FreeBSD's names that its headers keep from Linux programs (sys/socket.h, netinet/in.h there). */
#define BSD_SOL_SOCKET 0xffff
#define BSD_SO_LINGER 0x0080

/* What a socket reports as a value (SO_ERROR, fflags) is not translated; errno is, by libfstack. */
int fs_errno(int bsd)
{
    static const struct {
        uint8_t bsd, linux_;
    } map[] = {
        {ff_EAGAIN, EAGAIN}, {ff_EINPROGRESS, EINPROGRESS}, {ff_EALREADY, EALREADY}, {ff_EMSGSIZE, EMSGSIZE},
        {ff_ENOPROTOOPT, ENOPROTOOPT}, {ff_EPROTONOSUPPORT, EPROTONOSUPPORT}, {ff_EOPNOTSUPP, EOPNOTSUPP},
        {ff_EAFNOSUPPORT, EAFNOSUPPORT}, {ff_EADDRINUSE, EADDRINUSE}, {ff_EADDRNOTAVAIL, EADDRNOTAVAIL},
        {ff_ENETDOWN, ENETDOWN}, {ff_ENETUNREACH, ENETUNREACH}, {ff_ENETRESET, ENETRESET},
        {ff_ECONNABORTED, ECONNABORTED}, {ff_ECONNRESET, ECONNRESET}, {ff_ENOBUFS, ENOBUFS}, {ff_EISCONN, EISCONN},
        {ff_ENOTCONN, ENOTCONN}, {ff_ESHUTDOWN, ESHUTDOWN}, {ff_ETIMEDOUT, ETIMEDOUT},
        {ff_ECONNREFUSED, ECONNREFUSED}, {ff_EHOSTDOWN, EHOSTUNREACH}, {ff_EHOSTUNREACH, EHOSTUNREACH},
        {ff_EPROTO, EPROTO},
    };
    for (size_t i = 0; i < RTE_DIM(map); i++)
        if (map[i].bsd == bsd)
            return map[i].linux_;
    return bsd < ff_EAGAIN ? bsd : EIO; /* the first 34 are the same everywhere */
}

/* ---- Addresses: v4-mapped in the engine, Linux's structures for ff_api.h, interfaces by libfstack's number ---- */

socklen_t fs_from_zs(const struct fstack *fs, const struct zs_addr *a, struct sockaddr_storage *to)
{
    memset(to, 0, sizeof *to);
    if (zs_addr_is_v4(a->ip)) {
        struct sockaddr_in *in = (void *)to;
        in->sin_family = AF_INET;
        in->sin_port = a->port;
        memcpy(&in->sin_addr, a->ip + 12, 4);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (void *)to;
    in6->sin6_family = AF_INET6_LINUX;
    in6->sin6_port = a->port;
    memcpy(&in6->sin6_addr, a->ip, 16);
    uint32_t zone = ZS_WIRE_SCOPE_PORT(a->scope_id);
    if (zone >= 1 && zone <= fs->nports)
        in6->sin6_scope_id = (uint32_t)fs->device[zone - 1].ifindex;
    return sizeof *in6;
}

static uint32_t zone_of(const struct fstack *fs, uint32_t ifindex)
{
    for (uint32_t i = 0; i < fs->nports; i++)
        if (ifindex != 0 && fs->device[i].ifindex == (int)ifindex)
            return ZS_WIRE_SCOPE + i + 1;
    return 0;
}

void fs_to_zs(const struct fstack *fs, const struct sockaddr_storage *from, struct zs_addr *a)
{
    *a = (struct zs_addr){.family = from->ss_family == AF_INET ? AF_INET : AF_INET6};
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)from;
        a->port = in->sin_port;
        a->ip[10] = a->ip[11] = 0xff;
        memcpy(a->ip + 12, &in->sin_addr, 4);
        return;
    }
    const struct sockaddr_in6 *in6 = (const void *)from;
    a->port = in6->sin6_port;
    memcpy(a->ip, &in6->sin6_addr, 16);
    if (IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
        a->scope_id = zone_of(fs, in6->sin6_scope_id);
}

/* ---- Sockets ---- */

bool fs_set_int(int fd, int level, int bsd_name, int value)
{
    return ff_setsockopt_freebsd(fd, level, bsd_name, &value, sizeof value) == 0;
}

/* Bound to `local` if that is more than the wildcard with port 0. A V6 socket is for IPv6 alone: the engine opens one of each. */
int fs_socket(struct fstack *fs, const struct zs_addr *local, int type)
{
    struct sockaddr_storage at;
    socklen_t len = fs_from_zs(fs, local, &at);
    bool v4 = at.ss_family == AF_INET;
    int one = 1, fd = ff_socket(v4 ? AF_INET : AF_INET6_LINUX, type | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (!v4)
        ff_setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    ff_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    /* Urgent bytes stay in the stream: taken out of it, they would be lost. What a listener accepts has this from the first segment on. */
    if (type == SOCK_STREAM)
        ff_setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one);
    if ((local->port != 0 || !zs_addr_is_any(local->ip)) && ff_bind(fd, (struct linux_sockaddr *)&at, len) != 0) {
        int err = -errno;
        ff_close(fd);
        return err;
    }
    return fd;
}

bool fs_watch(struct fs_sock *s, int filter, int flags)
{
    struct kevent e;
    EV_SET(&e, (uintptr_t)s->fd, (short)filter, (unsigned short)flags, 0, 0, s);
    return ff_kevent(s->fs->kq, &e, 1, NULL, 0, NULL) >= 0;
}

int fs_sock_open(struct fs_sock *s, struct fstack *fs, enum fs_kind kind, int fd)
{
    *s = (struct fs_sock){.kind = kind, .fd = fd, .fs = fs};
    return fs_watch(s, EVFILT_READ, EV_ADD | EV_CLEAR) ? 0 : -errno;
}

void fs_sock_close(struct fs_sock *s)
{
    if (s->dead)
        return;
    s->dead = true;
    ff_close(s->fd);
    fs_clock_busy(s->fs);
    SLIST_INSERT_HEAD(&s->fs->graves, s, grave);
}

void fs_abort_fd(int fd)
{
    static const struct {
        int on, seconds;
    } at_once = {1, 0};
    ff_setsockopt_freebsd(fd, BSD_SOL_SOCKET, BSD_SO_LINGER, &at_once, sizeof at_once);
    ff_close(fd);
}
