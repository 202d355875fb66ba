/* SPDX-License-Identifier: BSD-3-Clause
 * The native backend's state, for its two files. */
#ifndef ZSTACK_STACK_NATIVE_H
#define ZSTACK_STACK_NATIVE_H

#include "ipv6.h"
#include "rxpool.h"
#include "stack_ports.h"
#include "tcp.h"
#include "udp.h"
#include "wire_stack.h"

struct native {
    struct zs_view *view;
    const struct wire_events *events;
    void *engine;
    struct stack *st;
    struct rxpool rx; /* what ports receive into; applications map it for reading */
    struct rte_mempool *tx, *indirect;
    struct stack_port at[WIRE_PORTS_MAX];
    struct net_port *net[WIRE_PORTS_MAX];
    uint32_t nports;
    struct tcp_conn *accepting;
    uint32_t routes_told; /* as st->routes_changed was when the engine was told */
};

/* ---- stack_native.c ---- */
void native_to_zs(const struct ip_addr *ip, rte_be16_t port, struct zs_addr *a);
struct ip_addr native_from_zs(const struct zs_addr *a);

/* ---- stack_native_udp.c ---- */
int native_udp_open(void *stack, const struct zs_addr *local, void **socket);
void native_udp_close(void *stack, void *socket);
int native_udp_send(void *stack, void *socket, const struct zs_udp_record *rec, const struct iovec *iov, uint64_t now);
int native_group(void *stack, const struct wire_filter *f, void *member, uint64_t now);

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
