/* SPDX-License-Identifier: BSD-3-Clause
 * A socket as this process has it, and the options that it remembers. */
#ifndef ZSTACK_PRELOAD_ZSOCK_H
#define ZSTACK_PRELOAD_ZSOCK_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "domain.h"

enum zk {
    ZK_FREE,
    ZK_TCP,    /* TCP, undecided: neither connected nor listening */
    ZK_CONN,   /* TCP connection in shared memory */
    ZK_LISTEN, /* listens in both worlds */
    ZK_UDP,    /* receives from both worlds; from this one once the engine was told of it (s != NULL, dgbind.c) */
};

/* Options set before the socket's fate is decided; given to the session then. */
struct zs_preopts {
    int32_t peek_off; /* SO_PEEK_OFF, -1 off */
    uint32_t rcvlowat; /* 0: 1 */
    uint32_t sndbuf, rcvbuf, bits;
    uint64_t sndtimeo_us, rcvtimeo_us;
    int32_t linger;
    uint32_t keepidle, keepintvl, keepcnt, user_timeout, congestion, maxseg, syncnt, defer_accept, notsent_lowat, fastopen;
    int32_t linger2;
    uint64_t pacing; /* ZS_PACING() */
};

/* F_SETOWN, F_SETSIG, O_ASYNC: fields of struct zs_session, for a socket that has none yet. */
struct zs_async {
    int32_t owner, tgid;
    uint32_t born, word;
    uint8_t sig;
};

/* Options of UDP sockets that datagrams over rings and wire need: X(identifier, level, name). */
#define DG_OPTIONS(X) \
    X(TTL, IPPROTO_IP, IP_TTL) X(TOS, IPPROTO_IP, IP_TOS) X(PMTU, IPPROTO_IP, IP_MTU_DISCOVER) \
    X(MCAST_TTL, IPPROTO_IP, IP_MULTICAST_TTL) X(MCAST_LOOP, IPPROTO_IP, IP_MULTICAST_LOOP) \
    X(MCAST_ALL, IPPROTO_IP, IP_MULTICAST_ALL) X(PKTINFO, IPPROTO_IP, IP_PKTINFO) X(RECVTTL, IPPROTO_IP, IP_RECVTTL) \
    X(RECVTOS, IPPROTO_IP, IP_RECVTOS) X(RECVERR, IPPROTO_IP, IP_RECVERR) X(RECVORIGDST, IPPROTO_IP, IP_RECVORIGDSTADDR) \
    X(HOPS, IPPROTO_IPV6, IPV6_UNICAST_HOPS) X(TCLASS, IPPROTO_IPV6, IPV6_TCLASS) X(PMTU6, IPPROTO_IPV6, IPV6_MTU_DISCOVER) \
    X(MCAST_HOPS, IPPROTO_IPV6, IPV6_MULTICAST_HOPS) X(MCAST_LOOP6, IPPROTO_IPV6, IPV6_MULTICAST_LOOP) \
    X(MCAST_ALL6, IPPROTO_IPV6, 29 /* IPV6_MULTICAST_ALL */) X(PKTINFO6, IPPROTO_IPV6, IPV6_RECVPKTINFO) \
    X(RECVHOPS, IPPROTO_IPV6, IPV6_RECVHOPLIMIT) X(RECVTCLASS, IPPROTO_IPV6, IPV6_RECVTCLASS) \
    X(RECVERR6, IPPROTO_IPV6, IPV6_RECVERR) X(RECVORIGDST6, IPPROTO_IPV6, 74 /* IPV6_RECVORIGDSTADDR */) \
    X(BROADCAST, SOL_SOCKET, SO_BROADCAST) X(TIMESTAMP, SOL_SOCKET, SO_TIMESTAMP) X(TIMESTAMPNS, SOL_SOCKET, SO_TIMESTAMPNS)
enum dg_option {
#define X(id, level, name) DG_##id,
    DG_OPTIONS(X)
#undef X
    DG_N
};

#define DG_PORT_KERNEL UINT32_MAX /* an interface that is the kernel's alone */
struct zs_dgopts {
    bool touched;  /* an option was set: they are not those of a fresh socket */
    /* Of a socket that the engine has not been told of (dgbind.c): */
    _Atomic bool known;  /* `local` says to where it is bound */
    _Atomic bool loaded; /* `value` has the options */
    bool connected; /* to `peer` */
    bool any_port;  /* it was bound to a port of the kernel's choice: a client (dig), or a server that says itself where it is */
    const struct zs_domain *refused; /* whose engine did not take it */
    bool at_once;  /* the engine has to know: an epoll set tells its edges */
    bool settling; /* it was told of late: the kernel may have older datagrams than the ring */
    uint8_t sent, reads; /* calls, up to 255 */
    _Atomic uint32_t opening; /* held by who tells the engine, or finds `local` out */
    _Atomic uint32_t waits;   /* threads that wait in the kernel for a datagram, and must not miss it */
    struct zs_addr local, peer;
    int value[DG_N];
    uint32_t port;          /* of the engine, bound to (SO_BINDTODEVICE), from 1; 0: to none */
    uint32_t mcast_port[2]; /* IP_MULTICAST_IF, IPV6_MULTICAST_IF: likewise */
};

/* What these options are for sockets on which none was set. */
struct zs_dgdefaults {
    _Atomic bool there;
    int value[DG_N];
};

/* An option that only placeholders know. */
struct zs_plainopt {
    int level, name, value;
};

struct epitem;

/* One open file description. Memory of this type is never unmapped, so that a racing look-up reads sane values. */
struct zsock {
    /* The first two lines are all that a message through shared memory needs. */
    _Alignas(ZS_CACHE_LINE) _Atomic uint32_t refs; /* descriptors and calls under way */
    _Atomic uint32_t rx_lock; /* sock_lock_rx(); tx_own has the other one */
    _Atomic uint8_t kind;  /* enum zk */
    _Atomic bool nonblock; /* mirror of O_NONBLOCK; the kernel keeps the truth on the placeholder */
    _Atomic bool left;     /* its placeholder may be held by another process, too */
    uint8_t soft_error;    /* undecided TCP: error that the next call reports, after connect(AF_UNSPEC) */
    bool connecting;       /* EINPROGRESS was reported; the next connect() reports success once */
    bool deferred;         /* the engine completes the connection */
    bool v6only, bound, reuseport;
    bool accepted;         /* by accept, not connect */
    bool served;           /* this process has waited for something here */
    bool kernel_peer;      /* UDP that the engine was not told of: connected to another host by the kernel */
    bool shut_wr, shut_rd;      /* UDP: shut down; the kernel has the errors */
    uint16_t family;       /* AF_INET, AF_INET6 */
    int fd;                /* a descriptor of the placeholder (the first one) */
    int pool;              /* its entry of the placeholder pool, -1 none */
    uint32_t index;        /* of s */
    _Atomic uint32_t out_seq; /* counts writes that did not fit: an edge for EPOLLOUT follows */
    struct zs_domain *d;
    struct zs_session *s;    /* own session */
    struct zs_session *peer; /* ZK_CONN: the other end, which stays until both are closed */
    struct zs_tx tx;
    struct zs_rx rx;
    struct zs_tx_own tx_own;
    struct zs_preopts pre;   /* its first two: of each read */
    struct epitem *items;    /* memberships in epoll sets */
    _Atomic uint32_t lock;   /* guards items */
    _Atomic uint32_t fds;    /* descriptors that name it in this process */
    struct epset *_Atomic rests; /* the set that it was last removed from; an item of it may rest there */
    uint32_t gen;          /* of s */
    uint32_t came;         /* from another process: zs_proc.generation + 1 then; 0: it was made here */
    uint64_t cookie;       /* SO_COOKIE, from when another process might have it on; 0: not looked at */
    _Atomic uint32_t turn; /* alternates between the worlds where both have something */
    int backlog;           /* listener: as listen() was given it */
    struct zs_session *wire_tx; /* UDP: the ring from which the engine sends over its ports, once asked for */
    uint32_t wire_gen;
    struct zs_session *errq; /* UDP: in whose ring errors about datagrams over the wire are, once asked for */
    uint32_t errq_gen;
    struct zs_dgopts dg;
    struct zs_groups *groups; /* UDP: joined at the engine */
    uint32_t lent_segment; /* the segment of buffers that was lent from last, */
    uint32_t lent_at;      /* and zs_tx_lent() after the first range of it in a row */
    struct zs_async async; /* of the description: not inherited by accept */
    struct zs_plainopt plain[6]; /* a listener's other options, for what it accepts */
    uint32_t nplain;
    struct zsock *next_free;
};


#endif
