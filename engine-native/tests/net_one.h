/* SPDX-License-Identifier: BSD-3-Clause
 * One stack whose peer is the test. What it sends is compared as a list: anything more or less fails. What IPv4 and IPv6 have in
 * common; net_one4.h and net_one6.h have the rest, and a program has one of these two. */
#ifndef ZSTACK_TEST_NET_ONE_H
#define ZSTACK_TEST_NET_ONE_H

#include "tcp_script.h"

extern struct bed bed;
extern struct capture cap;
extern struct stack *st;
extern struct net_port *port;
extern uint64_t now;

/* A new stack, and its port. */
void one_stack(void);
void one_port(void);
/* For cmocka: one that has made sure of its addresses, its end. */
int up(void **state);
int down(void **state);

void sent(const char *first, ...); /* all that was sent since the last time, NULL at the end */
void pass(uint64_t ns);
uint64_t counter(const char *name);
void input(struct rte_mbuf *m);
void meet_peer(void);

/* UDP sockets that remember. */
struct mailbox {
    int count, error;
    bool fatal;
    uint16_t len;
    uint8_t data[65536];
};
extern struct mailbox box;
extern const struct udp_sock_ops mail;
void mail_datagram(struct mailbox *b, struct rte_mbuf *m, uint16_t len);
void mail_error(void *arg, const struct ip_error *e, struct udp_addr local, struct udp_addr remote);
struct udp_sock *open_at(struct ip_addr any, uint16_t number);
struct udp_sock *open_socket(uint16_t number);
/* A datagram from the peer's port 9 as UDP header and payload. */
uint16_t datagram(uint8_t *buf, uint16_t dst, uint16_t len);
int send_to(struct udp_sock *s, struct ip_addr peer, size_t n);
int send_to_peer(struct udp_sock *s, size_t n);

#endif
