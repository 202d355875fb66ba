/* SPDX-License-Identifier: BSD-3-Clause
 * UDP (RFC 768, 1122 4.1, 8200 8.1). Sockets are callbacks: what a datagram becomes is the owner's business. */
#ifndef ZSTACK_NET_UDP_H
#define ZSTACK_NET_UDP_H

#include <sys/uio.h>

#include "ip.h"

struct udp_addr {
    struct ip_addr ip; /* any: of IPv4 (::ffff:0.0.0.0) or IPv6 (::), each for itself */
    rte_be16_t port;
};

/* What is known of a received datagram beside its payload. */
struct udp_meta {
    struct udp_addr from, to;
    const struct net_port *port;
    uint8_t ttl, tos; /* or hop limit and traffic class */
    bool many;        /* to a group or a broadcast: every socket that is open there gets it */
};

struct udp_sock_ops {
    /* A datagram: payload in m, len bytes. The callee takes the buffer. */
    void (*receive)(void *arg, struct rte_mbuf *m, uint16_t len, const struct udp_meta *meta);
    /* An ICMP error about a datagram from `local` to `remote`; e->err is an errno value. */
    void (*error)(void *arg, const struct ip_error *e, struct udp_addr local, struct udp_addr remote);
};

/* How a datagram is to be sent. */
struct udp_how {
    struct ip_how ip; /* route.port not NULL and hop any: by that port */
    struct ip_addr src; /* any: the socket's, or the port's */
};

struct udp_sock;

struct udp_table *udp_create(void);
void udp_destroy(struct stack *st);
/* Bound to any address, to one of the stack's, a group or a broadcast address; one socket for each (address, port), of which an
 * address goes before any. 0; -EADDRINUSE, -ENOMEM, -EINVAL (port 0: the owner chooses ports, it knows the host's). */
int udp_open(struct stack *st, struct udp_addr local, const struct udp_sock_ops *ops, void *arg, struct udp_sock **sock);
/* Receives from `remote` only, and errors about datagrams to it; port 0 undoes that. */
void udp_connect(struct udp_sock *sock, struct udp_addr remote);
void udp_close(struct stack *st, struct udp_sock *sock);
/* Sends one datagram of n bytes; how NULL: as IP_PMTU_WANT. 0; -EMSGSIZE, -ENETUNREACH, -ENOBUFS, -EINVAL (a source that is
 * not ours). */
int udp_send(struct stack *st, struct udp_sock *sock, struct udp_addr to, const struct udp_how *how, const struct iovec *iov, size_t n,
             uint64_t now);

void udp_input(struct stack *st, struct ip_pkt *p);
void udp_error(struct stack *st, const struct ip_error *e);

#endif
