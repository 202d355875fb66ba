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

struct udp_sock_ops {
    /* A datagram: payload in m, len bytes. The callee takes the buffer. */
    void (*receive)(void *arg, struct rte_mbuf *m, uint16_t len, struct udp_addr from, struct udp_addr to);
    /* An ICMP error about a datagram to `to`: an errno value. */
    void (*error)(void *arg, int err, struct udp_addr to);
};

struct udp_sock;

struct udp_table *udp_create(void);
void udp_destroy(struct stack *st);
/* 0; -EADDRINUSE, -ENOMEM, -EINVAL (port 0: the owner chooses ports, it knows the host's). */
int udp_open(struct stack *st, struct udp_addr local, const struct udp_sock_ops *ops, void *arg, struct udp_sock **sock);
/* Receives from `remote` only, and errors about datagrams to it; port 0 undoes that. */
void udp_connect(struct udp_sock *sock, struct udp_addr remote);
void udp_close(struct stack *st, struct udp_sock *sock);
/* Sends one datagram of n bytes. 0; -EMSGSIZE, -ENETUNREACH, -ENOBUFS. */
int udp_send(struct stack *st, struct udp_sock *sock, struct udp_addr to, const struct iovec *iov, size_t n, uint64_t now);

void udp_input(struct stack *st, struct ip_pkt *p);
void udp_error(struct stack *st, const struct ip_error *e);

#endif
