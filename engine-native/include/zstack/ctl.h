/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The control protocol between an attached process and the engine: fixed-size messages over an abstract UNIX
 * SOCK_SEQPACKET socket. A request carries at most one descriptor (SCM_RIGHTS), and so does a reply but that to HELLO.
 * Every request but those marked (no reply) is answered by one zs_ctl_reply with the same `seq`.
 * The engine trusts nothing in a message: indices are checked against what the client owns, a socket is claimed by
 * sending its descriptor, never by naming its cookie.
 */
#ifndef ZSTACK_CTL_H
#define ZSTACK_CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <zstack/shm.h>
#include <zstack/tcpinfo.h>

#define ZS_CTL_VERSION 3u
#define ZS_CTL_NAME_PREFIX "zstack-" /* abstract: \0zstack-<uid>-<name> */
#define ZS_CTL_SHARE_MAX 128u
#define ZS_CTL_REPLY_FDS 2u

enum zs_ctl_op {
    ZS_CTL_HELLO = 1,  /* attach. Reply fds: the arena (read-write memfd) unless the caller has that one mapped, and the engine's
                          doorbell (eventfd); reply.a = client id */
    ZS_CTL_LISTEN,         /* fd: the listening kernel socket, from which address and options are read. a = backlog,
                          b = port of the engine that it is bound to, 0 none. reply.a = session, reply.b = generation. Again on the same socket: changes the backlog. */
    ZS_CTL_UDP_OPEN,   /* fd: a bound kernel UDP socket, a = port as above; b = 1: the kernel chose its port, nobody is told of it. reply.a = session, reply.b = generation */
    ZS_CTL_CLOSE,      /* a = session, b = generation: the caller held the only descriptor. Closes a listener or UDP
                          socket before the kernel socket is closed */
    ZS_CTL_STOP,       /* fd: a listener or UDP socket. Nobody comes to it but through the kernel from now on, whoever else holds it */
    ZS_CTL_WAITER_NEW, /* reply.a = waiter, reply.b = generation; reply fd: its doorbell (eventfd) */
    ZS_CTL_WAITER_FREE, /* (no reply) a = waiter, b = generation */
    ZS_CTL_DOORBELL,   /* a = waiter, b = generation. reply fd: that waiter's doorbell */
    ZS_CTL_SHARE,      /* entries: sessions whose descriptors may leave the process (fork, SCM_RIGHTS). a = 1: (no reply) */
    ZS_CTL_CLAIM,      /* fd: a socket. reply.a = its session, reply.b = generation, reply.error ENOENT: none */
    ZS_CTL_CONNECT,    /* a, b = client-end session with its server end prepared: enqueue it when the accept queue has
                          room (deferred connect). reply.error 0: will be done; ECONNREFUSED: listener gone */
    ZS_CTL_RETIRE,     /* (no reply) a, b = session closed by its last local descriptor while ZS_F_SHARED is clear but
                          cleanup could not be completed by the client */
    ZS_CTL_WIRE_CONNECT, /* a, b = an EMBRYO session with its endpoints set (local port 0: the engine chooses): opens a
                          connection over the engine's ports. reply.error 0: on its way; the session becomes OPEN, or
                          gets an error and an end. ENETUNREACH, EADDRINUSE, EADDRNOTAVAIL, ENOBUFS */
    ZS_CTL_WIRE_UDP,   /* a, b = a UDP session: reply.a, reply.b = the session whose ring takes what it sends over the
                          engine's ports, as records. ENETUNREACH: there is no port */
    ZS_CTL_UDP_ERRORS, /* a, b = a UDP session: reply.a, reply.b = the session in whose ring the errors about its datagrams over
                          the engine's ports are, as records (struct zs_udp_error) */
    ZS_CTL_GROUP,      /* u.group: joins or leaves a group on a port of the engine. ENODEV, EADDRINUSE, EADDRNOTAVAIL, ENOBUFS */
    ZS_CTL_SEGMENT,    /* reply fd: the memory of received packets, to be mapped for reading. ENOENT: there is none */
    ZS_CTL_TCP_INFO,   /* a, b = a session whose other end is the stack's: reply.info. ENOTCONN: it is over */
    ZS_CTL_BUFFERS_NEW, /* a = bytes, a power of two from ZS_BUFFERS_MIN to ZS_BUFFERS_MAX. reply.a = a segment for the caller's
                          buffers, ZS_SEGMENT_BUFFERS(), reply fd: it, to be mapped for writing. ENOBUFS: the memory limit, or
                          too many segments; ENOMEM */
    ZS_CTL_BUFFERS_READY, /* a = that segment: it is mapped. From here on the kernel lets nobody map it for writing, and others get it */
    ZS_CTL_BUFFERS_MAP, /* a, b = a loan that the caller, or a session of the caller's, holds, and its generation. fd: the socket
                          of that session, where it was another process that opened it. reply.a = the segment that is lent from,
                          reply.b = its bytes, reply fd: it, to be mapped for reading. EACCES: there is no such hold; ENOENT: no segment of buffers */
    ZS_CTL_BUFFERS_END, /* a = a segment of the caller's, given back. EBUSY: somebody reads there */
    ZS_CTL_BUFFERS_OVER, /* a = a segment: whether it is no more. EBUSY: it is there */
};

struct zs_ctl_share_entry {
    uint32_t session, gen;
    uint64_t cookie; /* SO_COOKIE of its placeholder; checked by the engine only for uniqueness */
};

/* A change to what a UDP socket wants of a group (RFC 3376 2, ip(7)). */
struct zs_ctl_group {
    uint8_t group[16], source[16]; /* v4-mapped; source ::, any */
    uint32_t port; /* of the engine, from 1 */
    uint32_t how;  /* ZS_GROUP_* */
};
#define ZS_GROUP_JOIN 1u     /* from any source */
#define ZS_GROUP_LEAVE 2u    /* altogether */
#define ZS_GROUP_ALLOW 3u    /* from that source, too (IP_ADD_SOURCE_MEMBERSHIP) */
#define ZS_GROUP_DISALLOW 4u /* no longer (IP_DROP_SOURCE_MEMBERSHIP) */
#define ZS_GROUP_BLOCK 5u    /* from any but that (IP_BLOCK_SOURCE) */
#define ZS_GROUP_UNBLOCK 6u

struct zs_ctl_request {
    uint32_t op; /* enum zs_ctl_op */
    uint32_t seq;
    uint32_t a, b;
    uint32_t count; /* SHARE: entries used */
    uint32_t pad;
    union {
        struct {
            uint32_t version; /* ZS_CTL_VERSION */
            uint32_t layout;  /* ZS_LAYOUT_VERSION */
            uint64_t layout_size;
            uint8_t token[16]; /* of the parent, all zero: none. Lets a child that changed its uid attach */
            char name[16];     /* program, as /proc/self/comm */
            char run[32];      /* ZSTACK_RUN */
            uint64_t mapped;   /* epoch of the arena that a forked child has from its parent, 0 none */
        } hello;
        struct zs_ctl_share_entry share[ZS_CTL_SHARE_MAX];
        struct zs_ctl_group group; /* a, b = a UDP session */
    } u;
};
#define ZS_CTL_REQUEST_BASE offsetof(struct zs_ctl_request, u)

/* Marked (no reply) above. */
static inline bool zs_ctl_silent(const struct zs_ctl_request *r)
{
    return r->op == ZS_CTL_WAITER_FREE || r->op == ZS_CTL_RETIRE || (r->op == ZS_CTL_SHARE && r->a == 1);
}

struct zs_ctl_reply {
    uint32_t seq;
    uint32_t error; /* errno value, 0 success */
    uint32_t a, b;
    uint8_t token[16]; /* HELLO: hand to children */
    uint64_t layout_size;
    struct zs_tcp_info info; /* TCP_INFO */
};

#endif
