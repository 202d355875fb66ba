/* SPDX-License-Identifier: BSD-3-Clause
 * One stack with IPv4, whose peer is the test. What it sends is compared as a list: anything more or less fails. net_one6.h is the
 * same with IPv6; a program has one of them. */
#ifndef ZSTACK_TEST_NET_ONE4_H
#define ZSTACK_TEST_NET_ONE4_H

#include "tcp_script.h"

extern struct bed bed;
extern struct capture cap;
extern struct stack *st;
extern struct net_port *port;
extern uint64_t now;

/* For cmocka: a new stack that has probed its address, its end. */
int up(void **state);
int down(void **state);

void sent(const char *first, ...); /* all that was sent since the last time, NULL at the end */
void pass(uint64_t ns);
uint64_t counter(const char *name);
void input(struct rte_mbuf *m);
void arp(uint16_t op, struct rte_ether_addr sha, rte_be32_t sip, rte_be32_t tip);
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
struct udp_sock *open_socket(uint16_t number);
/* A datagram from the peer's port 9 as UDP header and payload. */
uint16_t datagram(uint8_t *buf, uint16_t dst, uint16_t len);
int send_to_peer(struct udp_sock *s, size_t n);

#endif
