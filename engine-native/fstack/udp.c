/* SPDX-License-Identifier: BSD-3-Clause
 * Datagrams. A socket that is bound to any address learns from a control message which one a datagram was sent to. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "fstack.h"

/* FreeBSD's numbers (netinet/in.h, netinet6/in6.h there). */
#define BSD_IP_TOS 3
#define BSD_IP_TTL 4
#define BSD_IP_RECVDSTADDR 7
#define BSD_IP_RECVIF 20
#define BSD_IP_ONESBCAST 23
#define BSD_MULTICAST_IF 9 /* of both protocols, as the next two */
#define BSD_MULTICAST_TTL 10
#define BSD_MULTICAST_LOOP 11
#define BSD_IPV6_UNICAST_HOPS 4
#define BSD_IPV6_RECVPKTINFO 36
#define BSD_IPV6_RECVHOPLIMIT 37
#define BSD_IPV6_PKTINFO 46
#define BSD_IPV6_HOPLIMIT 47
#define BSD_IPV6_RECVTCLASS 57
#define BSD_IPV6_TCLASS 61

#define DATAGRAMS_PER_TURN 64u /* of one socket, before the others have theirs */

/* The engine's port with that number of libfstack's; 0: none. */
static uint32_t port_of(const struct fstack *fs, uint32_t ifindex)
{
    for (uint32_t i = 0; i < fs->nports; i++)
        if (ifindex != 0 && (uint32_t)fs->device[i].ifindex == ifindex)
            return i + 1;
    return 0;
}

/* libfstack leaves the payload of control messages at Linux's place, and translates the types of TTL and TOS. */
static void control_message(const struct fs_udp *u, const struct cmsghdr *m, struct wire_datagram *d)
{
    if (m->cmsg_level == IPPROTO_IP && m->cmsg_type == BSD_IP_RECVDSTADDR) {
        memset(d->to.ip, 0, 10);
        d->to.ip[10] = d->to.ip[11] = 0xff;
        memcpy(d->to.ip + 12, CMSG_DATA(m), 4);
    } else if (m->cmsg_level == IPPROTO_IP && m->cmsg_type == IP_TTL) {
        d->ttl = *CMSG_DATA(m);
    } else if (m->cmsg_level == IPPROTO_IP && m->cmsg_type == IP_TOS) {
        d->tos = *CMSG_DATA(m);
    } else if (m->cmsg_level == IPPROTO_IP && m->cmsg_type == BSD_IP_RECVIF) {
        uint16_t index; /* behind length and family (struct sockaddr_dl there) */
        memcpy(&index, CMSG_DATA(m) + 2, sizeof index);
        d->port = port_of(u->sock.fs, index);
    } else if (m->cmsg_level == IPPROTO_IPV6 && m->cmsg_type == BSD_IPV6_HOPLIMIT) {
        d->ttl = *CMSG_DATA(m); /* an int of which one byte counts */
    } else if (m->cmsg_level == IPPROTO_IPV6 && m->cmsg_type == BSD_IPV6_TCLASS) {
        d->tos = *CMSG_DATA(m);
    } else if (m->cmsg_level == IPPROTO_IPV6 && m->cmsg_type == BSD_IPV6_PKTINFO) {
        struct sockaddr_storage at = {.ss_family = AF_INET6};
        struct in6_pktinfo info;
        memcpy(&info, CMSG_DATA(m), sizeof info);
        ((struct sockaddr_in6 *)&at)->sin6_addr = info.ipi6_addr;
        ((struct sockaddr_in6 *)&at)->sin6_scope_id = info.ipi6_ifindex;
        fs_to_zs(u->sock.fs, &at, &d->to);
        d->to.port = u->local.port;
        d->port = port_of(u->sock.fs, info.ipi6_ifindex);
    }
}

static void complete(const struct fs_udp *u, struct msghdr *msg, struct wire_datagram *d)
{
    struct zs_view *v = u->sock.fs->view;
    d->to = u->local;
    d->bound = &u->local;
    d->ttl = 64;
    for (struct cmsghdr *m = CMSG_FIRSTHDR(msg); m != NULL; m = CMSG_NXTHDR(msg, m))
        control_message(u, m, d);
    d->many = !zs_addr_is_engine(v, d->to.ip);
    if (d->port == 0)
        d->port = RTE_MAX(zs_wire_port_with(v, d->to.ip), 1u);
}

static bool receive_one(struct fs_udp *u)
{
    struct fstack *fs = u->sock.fs;
    struct sockaddr_storage from = {0};
    union {
        char bytes[256];
        struct cmsghdr align;
    } control;
    struct iovec iov = {fs->datagram, sizeof fs->datagram};
    struct msghdr msg = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &iov, .msg_iovlen = 1,
                         .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct wire_datagram d = {0};
    memset(&control, 0, sizeof control);
    ssize_t n = ff_recvmsg(u->sock.fd, &msg, 0);
    if (n < 0)
        return errno != EAGAIN && errno != EBADF; /* an error that was waiting: the datagrams are behind it */
    if (from.ss_family != AF_INET && from.ss_family != AF_INET6)
        return true;
    fs_to_zs(fs, &from, &d.from);
    complete(u, &msg, &d);
    iov = (struct iovec){fs->datagram, (size_t)n};
    fs->events->datagram(fs->engine, &d, &iov, 1, (uint32_t)n);
    return true;
}

void fs_udp_event(struct fs_udp *u)
{
    uint32_t n = 0;
    while (n < DATAGRAMS_PER_TURN && !u->sock.dead && receive_one(u))
        n++;
    if (n == DATAGRAMS_PER_TURN)
        fs_watch(&u->sock, EVFILT_READ, EV_ADD | EV_CLEAR); /* asked for anew, it reports what is left */
}

int fs_udp_open(void *stack, const struct zs_addr *local, void **socket)
{
    struct fstack *fs = stack;
    const int sndbuf = 65535, rcvbuf = 1 << 20;
    struct fs_udp *u = calloc(1, sizeof *u);
    if (u == NULL)
        return -ENOMEM;
    u->local = *local;
    bool v4 = zs_addr_is_v4(local->ip);
    int fd = fs_socket(fs, local, SOCK_DGRAM), one = 1, err = fd < 0 ? fd : 0;
    if (err == 0 && !fs_set_int(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? BSD_IP_RECVDSTADDR : BSD_IPV6_RECVPKTINFO, 1))
        err = -errno;
    if (err == 0)
        err = fs_sock_open(&u->sock, fs, FS_UDP, fd);
    if (err != 0) {
        if (fd >= 0)
            ff_close(fd);
        free(u);
        return err;
    }
    if (v4) {
        ff_setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &one, sizeof one);
        ff_setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &one, sizeof one);
        fs_set_int(fd, IPPROTO_IP, BSD_IP_RECVIF, 1);
    } else {
        fs_set_int(fd, IPPROTO_IPV6, BSD_IPV6_RECVHOPLIMIT, 1);
        fs_set_int(fd, IPPROTO_IPV6, BSD_IPV6_RECVTCLASS, 1);
    }
    fs_set_int(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, BSD_MULTICAST_LOOP, 0); /* members at this host have it from the engine */
    /* The largest datagram must fit, and one in 45 fragments counts 45 packet buffers. Who may broadcast is the application's
     * half to know. */
    ff_setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof sndbuf);
    ff_setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
    ff_setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof one);
    LIST_INSERT_HEAD(&fs->udps, u, link);
    fs_groups_join(fs, u);
    *socket = u;
    return 0;
}

void fs_udp_close(void *stack, void *socket)
{
    struct fs_udp *u = socket;
    (void)stack;
    LIST_REMOVE(u, link);
    fs_sock_close(&u->sock);
}

/* What a record asks for, on the socket that all of them share. */
static void set_header(struct fs_udp *u, const struct zs_udp_record *rec, bool v4)
{
    int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
    if (rec->ttl != u->ttl)
        fs_set_int(u->sock.fd, level, v4 ? BSD_IP_TTL : BSD_IPV6_UNICAST_HOPS, rec->ttl == 0 ? 64 : rec->ttl);
    if (rec->tos != u->tos)
        fs_set_int(u->sock.fd, level, v4 ? BSD_IP_TOS : BSD_IPV6_TCLASS, rec->tos);
    u->ttl = rec->ttl;
    u->tos = rec->tos;
}

/* The port that a datagram to many leaves by: FreeBSD has no route to groups. */
static uint32_t leaves_by(const struct fstack *fs, const struct zs_udp_record *rec)
{
    uint32_t port = ZS_WIRE_SCOPE_PORT(rec->ifindex);
    return port != 0 ? port : RTE_MAX(zs_wire_port_with(fs->view, rec->from.ip), 1u);
}

static void set_many(struct fs_udp *u, const struct zs_udp_record *rec, bool v4)
{
    const struct fstack *fs = u->sock.fs;
    int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
    uint32_t port = leaves_by(fs, rec);
    const struct fs_device *d = &fs->device[port - 1];
    if (rec->ttl != u->many_ttl)
        fs_set_int(u->sock.fd, level, BSD_MULTICAST_TTL, rec->ttl == 0 ? 1 : rec->ttl);
    if (port != u->many_port) /* an address names it for IPv4, a number for IPv6 */
        fs_set_int(u->sock.fd, level, BSD_MULTICAST_IF, v4 ? (int)d->at.conf.addr : d->ifindex);
    u->many_ttl = rec->ttl;
    u->many_port = port;
}

/* 255.255.255.255: FreeBSD wants the port's own broadcast address, and an option that says what is meant. */
static ssize_t send_to_all(struct fs_udp *u, const struct zs_udp_record *rec, const struct iovec *iov, struct sockaddr_in *at)
{
    const struct fs_device *d = &u->sock.fs->device[leaves_by(u->sock.fs, rec) - 1];
    uint32_t host = d->at.conf.prefix_len == 0 ? UINT32_MAX : (uint32_t)(UINT64_C(0xffffffff) >> d->at.conf.prefix_len);
    at->sin_addr.s_addr = d->at.conf.addr | htonl(host);
    fs_set_int(u->sock.fd, IPPROTO_IP, BSD_IP_ONESBCAST, 1);
    ssize_t n = ff_sendto(u->sock.fd, iov->iov_base, rec->len, 0, (struct linux_sockaddr *)at, sizeof *at);
    int err = errno;
    fs_set_int(u->sock.fd, IPPROTO_IP, BSD_IP_ONESBCAST, 0);
    errno = err;
    return n;
}

int fs_udp_send(void *stack, void *socket, const struct zs_udp_record *rec, const struct iovec *iov, uint64_t now)
{
    struct fstack *fs = stack;
    struct fs_udp *u = socket;
    struct sockaddr_storage at;
    struct sockaddr_in *in = (void *)&at;
    if (ZS_WIRE_SCOPE_PORT(rec->ifindex) > fs->nports)
        return -ENODEV;
    socklen_t at_len = fs_from_zs(fs, &rec->to, &at);
    bool v4 = at.ss_family == AF_INET;
    fs->now = now;
    fs_clock_run(fs);
    fs_clock_busy(fs);
    set_header(u, rec, v4);
    if (zs_addr_is_group(rec->to.ip))
        set_many(u, rec, v4);
    ssize_t n = v4 && in->sin_addr.s_addr == INADDR_BROADCAST
                    ? send_to_all(u, rec, iov, in)
                    : ff_sendto(u->sock.fd, iov->iov_base, rec->len, 0, (struct linux_sockaddr *)&at, at_len);
    if (n < 0)
        return -errno;
    if (!zs_addr_is_group(rec->to.ip))
        fs_neigh_sent(u, &rec->to, iov->iov_base, rec->len);
    return 0;
}
