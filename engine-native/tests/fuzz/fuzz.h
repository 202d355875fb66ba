/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the fuzz targets share: a stack with a peer that the input plays, sockets with applications that the input drives, and
 * virtual time. An input is a list of steps; each target says which. Everything is torn down after each input and must
 * leave nothing behind. */
#ifndef ZSTACK_FUZZ_H
#define ZSTACK_FUZZ_H

#include "net_wire.h"

/* The input, read from its front; zeros after its end. */
struct input {
    const uint8_t *at, *end;
};
static inline bool more(const struct input *in)
{
    return in->at < in->end;
}
static inline uint8_t take8(struct input *in)
{
    return more(in) ? *in->at++ : 0;
}
static inline uint16_t take16(struct input *in)
{
    uint16_t low = take8(in);
    return (uint16_t)(low | take8(in) << 8);
}
static inline uint32_t take32(struct input *in)
{
    uint32_t low = take16(in);
    return low | (uint32_t)take16(in) << 16;
}

#define FUZZ_SOCKS 8
#define FUZZ_PEERS 8 /* remembered by the peer's port modulo this */

/* Where the peer stands in a conversation: what the stack sent last. */
struct peer {
    uint32_t next; /* of our sequence space: the end of what was sent */
    uint32_t ack, ts;
    rte_be16_t port; /* the stack's */
};

struct host {
    struct bed *bed;
    struct stack *st;
    struct net_port *port;
    uint64_t now;
    struct sock sock[FUZZ_SOCKS];
    struct udp_sock *udp[2]; /* of IPv4, IPv6: they answer */
    struct peer peer[FUZZ_PEERS];
    struct rte_mbuf *burst[NET_TX_BURST]; /* arrived, not handed over yet */
    uint16_t pending, hold;               /* how many are to arrive together */
    bool full;                            /* the port takes nothing */
    int accept;                           /* what the listener says */
    uint64_t sent;                        /* frames */
    uint32_t accepted;                    /* connections */
};

/* The bed, once per process. */
struct bed *fuzz_bed(void);
/* `mode`: bits 0 lend, 1 without SACK, 2 without timestamps, 3 few buffers to hold, 4 checksums by the port. */
void host_begin(struct host *h, uint8_t mode);
/* Everything closed, all memory back; with `clean` also by way of the sessions, else the arena is wiped. */
void host_end(struct host *h, bool clean);
void host_receive(struct host *h, const void *frame, uint16_t len); /* in a burst with others when h->hold > 1 */
void host_pass(struct host *h, uint64_t ns);                        /* at most a few hundred timers of it */
void host_flush(struct host *h);
struct sock *host_free_sock(struct host *h);
void host_connect(struct host *h, bool ip6, rte_be16_t peer_port);
/* Reads whatever is there, unchecked. */
void host_drain(struct sock *s, uint64_t n, uint64_t now);
/* Makes a frame that was changed at random one that a stack looks at: addresses, lengths, checksums. With `relative` its TCP
 * sequence and acknowledgement numbers count from where the conversation is, those that an ICMP error quotes, too. */
void host_mend(struct host *h, uint8_t *frame, uint16_t len, bool relative);

#endif
