/* SPDX-License-Identifier: BSD-3-Clause
 *
 * UDP sockets, the parts that concern what goes with a datagram: options, ancillary data, groups, errors. The placeholder keeps
 * every option that the kernel knows; what datagrams over rings and wire need of them is mirrored here. */
#ifndef ZSTACK_PRELOAD_DGRAM_H
#define ZSTACK_PRELOAD_DGRAM_H

#include "preload.h"

/* How a datagram is to be sent: the socket's options, or what its ancillary data says. */
struct dg_how {
    uint8_t ttl, tos;  /* or hop limit, traffic class */
    bool ttl_set, tos_set;
    uint32_t ifindex;  /* IP_PKTINFO, IPV6_PKTINFO; 0: any */
    uint8_t src[16];   /* any: the socket's own */
};

/* ---- dgbind.c: sockets that the engine has not been told of (k->s == NULL) ---- */
bool dgram_connected(struct zsock *k, int fd); /* by the kernel. False: the engine has to know */
void dgram_disconnected(struct zsock *k);
bool dgram_peer(struct zsock *k, struct zs_addr *to);        /* told of or not: to what it is connected */
const struct zs_addr *dgram_local(const struct zsock *k);    /* told of or not: to what it is bound; NULL: not known */
void dgram_look(struct zsock *k, int fd); /* before it sends: finds out where it is bound */
int dgram_ready(struct zsock *k, int fd, const struct zs_addr *to); /* has an address to send from, the engine knows it if it has to; -errno */
void dgram_sent(struct zsock *k);

/* ---- dgopts.c ---- */
void dg_load(struct zsock *k, int fd); /* reads the options of the placeholder, once */
void dg_publish(struct zsock *k);      /* into the session, those that the engine asks for */
/* Which port of the engine an interface of the application's is, from 1; 0: none. */
uint32_t dg_port_of_interface(const struct zs_view *v, uint32_t ifindex);
/* The port by which a datagram for `to` leaves; 0: it is the kernel's. *fallback: a port for groups and broadcasts that the kernel
 * finds no way for, 0: none. */
uint32_t dg_port_to(struct zsock *k, const struct zs_addr *to, uint32_t ifindex, uint32_t *fallback);
bool dg_is_broadcast(struct zsock *k, uint32_t port, const struct zs_addr *to);

/* ---- dgmsg.c ---- */
/* Reads a message's ancillary data. False: something in it only the kernel knows, or can refuse. */
bool dg_read_control(const struct msghdr *msg, const struct zs_addr *to, struct dg_how *how);
/* What the record says beside the payload, from the socket's options and `how`. */
void dg_fill(const struct zsock *k, struct zs_udp_record *rec, const struct dg_how *how);
void dg_write_control(struct zsock *k, struct msghdr *msg, const struct zs_udp_record *rec);
void dg_put_cmsg(struct msghdr *msg, size_t *used, int level, int type, const void *data, size_t len);

/* ---- groups.c ---- */
/* A membership option. True: served or refused here, with its result; false: the kernel's. */
bool group_option(struct zsock *k, int fd, int level, int name, const void *val, socklen_t len, int *result);
void groups_bound(struct zsock *k); /* registered with an engine: joins what was asked for before */
void groups_forget(struct zsock *k);

/* ---- errqueue.c ---- */
void errq_open(struct zsock *k); /* IP_RECVERR is on: from now on errors are kept */
bool errq_pending(const struct zsock *k);
/* recvmsg(MSG_ERRQUEUE); -EAGAIN: none. */
ssize_t errq_recv(struct zsock *k, struct msghdr *msg);
/* An error of this host's about a datagram, for who asked for them (ip_local_error). */
void errq_local(struct zsock *k, const struct zs_addr *to, int err, uint32_t info);

#endif
