/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Several stacks serve one host, each in a thread of its own: which of them has a connection is decided by the Toeplitz hash of its
 * flow, as devices with receive side scaling compute it, and a table that leads from the hash to the stack (Microsoft, "RSS hashing
 * types"; rte_thash.h). A device that is given the same key and table delivers to the right one; what others deliver elsewhere is
 * handed over, so nothing depends on the device. What is not TCP belongs to stack 0. */
#ifndef ZSTACK_TCP_STEER_H
#define ZSTACK_TCP_STEER_H

#include "tcp.h"

#define STEER_KEY 40u    /* bytes: enough for IPv6 */
#define STEER_TABLE 128u /* entries, a power of two: entry i leads to stack i % stacks */
#define STEER_EVERY UINT32_MAX

struct steer {
    uint32_t stacks;
    uint8_t key[STEER_KEY]; /* as a device wants it */
    uint32_t words[STEER_KEY / 4]; /* as rte_softrss_be() wants it */
};

/* `key`: not to be guessed, or who chooses his ports chooses the stack. */
void steer_init(struct steer *s, uint32_t stacks, const uint8_t key[STEER_KEY]);
uint32_t steer_hash(const struct steer *s, const struct tcp_flow *flow);
/* The stack that has the flow. */
uint32_t steer_flow(const struct steer *s, const struct tcp_flow *flow);
/* The stack that a received frame is for; STEER_EVERY: what tells of neighbours and routers. What takes more than a look, as
 * fragments, is for stack 0. */
uint32_t steer_frame(const struct steer *s, const struct rte_mbuf *m);
/* False: the connection would be another stack's. */
bool steer_ours(const struct stack *st, const struct tcp_flow *flow);
/* A segment that took more than a look. True: it is another stack's, and p->m was handed over. */
bool steer_away(struct stack *st, const struct ip_pkt *p);

#endif
