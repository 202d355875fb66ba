/* SPDX-License-Identifier: BSD-3-Clause
 * What the backends of the wire have in common: they serve the same ports (engine-native/port), tell the same of them and
 * have the same addresses and routes. */
#ifndef ZSTACK_STACK_PORTS_H
#define ZSTACK_STACK_PORTS_H

#include "port.h"
#undef NS_PER_S /* rte_cycles.h has one of floating point */
#include "internal.h"
#include "wire_stack.h"

struct stack_port {
    struct port_spec spec;
    struct port *port;
    struct net_port_conf conf;
};

/* Opens the port that the text after --port describes, for those threads (NULL: one), receiving into `rx`. False and *f: it was not
 * opened. */
bool stack_port_open(struct stack_port *p, const char *text, const struct port_threads *threads, struct rte_mempool *rx,
                     struct engine_failure *f);
/* Appends an address or a route at `at`, unless there are `max`. Returns the new count. `prefix` counts all 16 bytes. */
uint32_t stack_put_addr(struct zs_wire_addr *to, uint32_t at, uint32_t max, const struct ip_addr *ip, uint8_t prefix, uint8_t flags,
                        uint8_t port);
/* The same with the port's own addresses, `addr6` that of IPv6 now. Link-local ones are not among them: which one is meant says
 * the scope (ZS_WIRE_SCOPE). */
uint32_t stack_port_own(const struct stack_port *p, const struct ip_addr *addr6, uint8_t number, struct zs_wire_addr *to, uint32_t at,
                        uint32_t max);
void stack_port_tell(const struct stack_port *p, struct zs_wire_port *to);
/* For `status`, with the addresses that `conf` has. `link_local`: its address, NULL none. A new reference. */
json_t *stack_port_describe(const struct stack_port *p, const struct net_port_conf *conf, const struct ip_addr *link_local);
/* Tells `frame` of the port's frames, NULL: nobody. `number`: of the port, from 1. */
void stack_port_capture(struct stack_port *p, uint32_t number, wire_frame_fn *frame, void *arg);
/* Arms the port for a sleep of a thread. The longest sleep in nanoseconds, `longest` at most; 0: frames wait. */
uint64_t stack_port_sleep(struct stack_port *p, uint32_t thread, uint64_t longest);
/* Tells what deserves to be told. The engine's thread only. */
void stack_port_warn(struct stack_port *p, void (*log)(void *engine, bool warning, const char *line), void *engine);

#endif
