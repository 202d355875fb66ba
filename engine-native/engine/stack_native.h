/* SPDX-License-Identifier: BSD-3-Clause
 * The native backend's state, for its files. */
#ifndef ZSTACK_STACK_NATIVE_H
#define ZSTACK_STACK_NATIVE_H

#include "ipv6.h"
#include "rxpool.h"
#include "stack_ports.h"
#include "steer.h"
#include "tcp.h"
#include "udp.h"
#include "wire_stack.h"

#define NATIVE_BURST 32u

/* A shard; number 0 has what all have in common. */
struct native {
    struct native *first;
    uint32_t number;
    struct zs_view *view;
    const struct wire_events *events;
    void *engine;
    struct stack *st;
    struct net_port *net[WIRE_PORTS_MAX];
    uint32_t link_ups[WIRE_PORTS_MAX]; /* as port_link_ups() was when the stack was told */
    struct tcp_conn *accepting;
    uint32_t routes_told; /* as st->routes_changed was when the engine was told */
    struct rte_ring *in;  /* frames that other shards received; NULL: there are none */
    struct {              /* on their way there */
        struct rte_mbuf *frame[NATIVE_BURST];
        uint32_t count;
    } out[WIRE_WORKERS_MAX];

    /* Number 0 only */
    struct rxpool rx; /* what ports receive into; applications map it for reading */
    struct rte_mempool *tx, *indirect;
    struct stack_port at[WIRE_PORTS_MAX];
    uint32_t nports;
    struct stack_conf conf; /* of its stack, and but for number, view and owner of the others */
    struct steer steer;
    struct native *shard[WIRE_WORKERS_MAX];
    uint32_t nshards, workers; /* there now; that there will be */
    uint32_t next_connect; /* the shard that opens the next connection without a port */
};

/* ---- stack_native.c ---- */
void native_to_zs(const struct ip_addr *ip, rte_be16_t port, struct zs_addr *a);
struct ip_addr native_from_zs(const struct zs_addr *a);

/* ---- stack_native_udp.c ---- */
int native_udp_open(void *stack, const struct zs_addr *local, void **socket);
void native_udp_close(void *stack, void *socket);
int native_udp_send(void *stack, void *socket, const struct zs_udp_record *rec, const struct iovec *iov, uint64_t now);
int native_group(void *stack, const struct wire_filter *f, void *member, uint64_t now);

/* ---- stack_native_shards.c ---- */
void *native_shard(void *stack, struct zs_view *view, void *engine, uint64_t now);
bool native_enter(void *shard);
void native_leave(void *shard);
uint32_t native_owner(void *stack, const struct zs_addr *local, const struct zs_addr *remote);
void native_describe_shard(void *shard, json_t *worker);
bool native_open_ring(struct native *n); /* for frames from others */
void native_hand_over(void *shard, const struct net_port *port, struct rte_mbuf *m, uint32_t to);
/* Of frames received by a port: those of this shard remain, in their order; how many. */
uint16_t native_distribute(struct native *n, uint32_t port, struct rte_mbuf **frames, uint16_t count);
/* Frames that others received; true: there were some. */
bool native_take(struct native *n, uint32_t budget, uint64_t now);
void native_push(struct native *n); /* what is on its way to others, and wakes them */
void native_close_shards(struct native *n, uint64_t now);

/* ---- stack_native_open.c ---- */
uint32_t native_ports(void *stack, struct zs_wire_port *to, uint32_t max);
void *native_open(const struct wire_stack_conf *conf, uint64_t now, struct engine_failure *f);
void native_close(void *stack, uint64_t now);
uint32_t native_addresses(void *stack, struct zs_wire_addr *to, uint32_t max);
int native_segment(void *stack);
uint64_t native_segment_size(void *stack);
const uint8_t *native_segment_at(void *stack);
json_t *native_describe_ports(void *stack);
json_t *native_describe_counters(void *stack);
void native_describe_memory(void *stack, json_t *wire);

#endif
