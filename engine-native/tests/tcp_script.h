/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Packet scripts: one stack, whose peer is the script. Lines:
 *
 *     < S 0:0(0) win 65535 <mss 1460,ws 7,ts 5 0>   a segment arrives. Flags: S F R P U E(CE) (C)W(R) and . for ACK,
 *                                                   or - for none; with urg N, the urgent pointer, ect0 and ce, the IP header's
 *                                                   ECN field (RFC 3168), badsum
 *     > S. 0:0(0) ack 1                             this segment, next, was sent; the rest of it (win, options) may be told, too;
 *                                                   options wholly or not at all, <>: none
 *     < . 1:1(0) ack 1 <sack 1461-2921,4381-5841>
 *     +40                                           milliseconds pass
 *     connect | listen [BACKLOG] | write N | read N | shutdown | close | abort
 *     state NAME | gone | eof | error ERRNO | lent BUFFERS | count COUNTER N
 *     < S 0:100(100) <mss 1460,fo given>            Fast Open (RFC 7413): fo alone asks for a cookie, fo given is the one that the stack
 *                                                   gave last, else hexadecimal digits
 *     option key [K [K]]    TCP_FASTOPEN_KEY of the listener, each of up to 16 characters; none: the stack's own
 *     option NAME [N]       fastopen nocookie pending (TCP_FASTOPEN of a listener) nodelay cork more quickack (1 or 0), maxseg, syncnt, defer, linger2, user_timeout,
 *                           notsent_lowat, reno, cubic, uncork, keepalive IDLE INTERVAL COUNT. Of the
 *                           socket, or while there is none of the listener or the socket to come
 *     rcvbuf N | accept ok|later|no | ecn (connections opened from here ask for it)
 *     oob N                 write N bytes, the last of them urgent
 *     mark N [waited] | nothing-urgent   the urgent byte the reader knows of: its place in the stream from 0, not yet there
 *     info FIELD N          of struct zs_tcp_info
 *     unsent N              what TCP_NOTSENT_LOWAT compares
 *     iss N | peer N        (before the handshake) initial sequence numbers: the stack's, the peer's
 *     icmp TYPE CODE SEQ [mtu N]   an ICMP error about our segment that began there; over IPv6 the ICMPv6 error that means the same
 *
 *     as N                  from here on peer number N speaks and is listened to, from port 40000 + N; 0 to begin with
 *
 *     hold | send           packets wait in the port's queue from here on; no longer
 *     referring N           pieces of the application's memory that packets refer to
 *
 * Sequence numbers count from the SYN, timestamps from our first. Payload is checked, both ways. Whatever is sent and not
 * expected by the next line fails the script. */
#ifndef ZSTACK_TEST_TCP_SCRIPT_H
#define ZSTACK_TEST_TCP_SCRIPT_H

#include "net_wire.h"

void script_run(struct bed *b, const char *name, const char *const *lines);

/* A port that keeps what is sent, told as text; for the scripts and for tests of single packets. */
#define CAPTURE_MAX 128
struct capture {
    char line[CAPTURE_MAX][160];
    struct frame *frame[CAPTURE_MAX];
    int count, next;
    void (*describe)(void *arg, const struct frame *f, char *line, size_t size);
    void *arg;
};
extern const struct net_port_ops capture_ops; /* dev: struct capture */
void capture_clear(struct capture *c);
void describe_frame(const struct frame *f, char *line, size_t size); /* all but TCP */
struct rte_mbuf *arp_frame(struct bed *b, uint16_t op, struct rte_ether_addr sha, rte_be32_t sip, rte_be32_t tip);
/* A whole IPv4 frame from host 1 to host 0. */
struct rte_mbuf *ip_frame(struct bed *b, uint8_t proto, uint16_t id, uint16_t fragment, const void *payload, uint16_t len);

/* The same for IPv6; extension headers are part of the payload. */
struct rte_mbuf *ip6_frame(struct bed *b, uint8_t proto, const void *payload, uint16_t len);
struct rte_mbuf *ip6_frame_from(struct bed *b, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto, uint8_t hops,
                                const void *payload, uint16_t len);
struct rte_mbuf *icmp6_frame(struct bed *b, const void *message, uint16_t len, uint8_t hops);
struct rte_mbuf *icmp6_frame_from(struct bed *b, const struct ip_addr *src, const struct ip_addr *dst, const void *message,
                                  uint16_t len, uint8_t hops);
struct rte_mbuf *solicitation(struct bed *b);  /* host 1 asks for host 0 */
struct rte_mbuf *advertisement(struct bed *b); /* host 1 answers for itself */

#endif
