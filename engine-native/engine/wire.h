/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The wire: sockets of this engine's programs that are served by a TCP/IP stack on the engine's ports. Its ends of the
 * connections are sessions that the engine owns ("own"); what they are for stands in a table by session index, which the
 * applications cannot reach. */
#ifndef ZSTACK_WIRE_H
#define ZSTACK_WIRE_H

#include "internal.h"
#include "wire_own.h"
#include "wire_stack.h"

/* One (protocol, address, port) that the stack listens on, for all the endpoints of programs that are bound to it. */
struct wire_port {
    uint32_t kind; /* enum zs_session_kind */
    struct zs_addr local;
    uint32_t refs;
    void *handle; /* listener or UDP socket of the stack */
    LIST_ENTRY(wire_port) link;
};

#define WIRE_PORT_BUCKETS 1024u
#define WIRE_SPIN_NS UINT64_C(50000) /* polling goes on for so long after the last work */

struct wire {
    const struct wire_stack_ops *ops;
    void *stack;
    struct zs_waiter *waiter; /* the engine's own: the bits of own sessions at which something happened */
    uint32_t waiter_index;
    struct source bell, port_fd[WIRE_PORTS_MAX];
    uint32_t nfds;
    struct wire_own **own; /* by session index, ZS_MAX_SESSIONS */
    uint32_t conns, own_count;
    LIST_HEAD(, wire_port) ports[WIRE_PORT_BUCKETS];
    struct zs_wire_addr addrs[ZS_MAX_WIRE_ADDRS];
    uint32_t naddrs, nports;
    const struct zs_view *view;
    uint64_t busy_until; /* polling without sleep until then */
    uint64_t no_spin_until;
    uint32_t budget;     /* packets taken from a port in one turn */
    uint32_t refused;    /* in this turn: what sockets and accept queues had no room for */
    uint32_t rounds;     /* since the last look at the descriptors */
    bool asleep;
    char warning[256]; /* the last one, for programs that come later */
};

/* ---- wire.c ---- */
bool wire_open(struct engine *e, struct engine_failure *f);
void wire_close(struct engine *e);
void wire_publish(struct engine *e); /* ports, addresses and routes into the arena's header */
void wire_addresses_changed(void *engine);
/* True: do not sleep now. Else *timeout_ns is the longest sleep. */
bool wire_before_wait(struct engine *e, uint64_t now, uint64_t *timeout_ns);
void wire_after_wait(struct engine *e);
void wire_poll(struct engine *e);
void wire_repeat_warning(struct engine *e, const char *run);
/* The port that takes the packets of an interface of the kernel, from 1; 0: none. */
uint32_t wire_port_of_interface(const struct engine *e, unsigned index);
bool wire_has(const struct wire *w, const struct zs_addr *local); /* the wire serves an endpoint bound to that */
/* An own session of the wire: sweeps leave it alone. */
bool wire_owns(const struct engine *e, uint32_t session);
struct wire_own *wire_own_new(struct engine *e, enum wire_kind kind, uint32_t session_kind);
void wire_own_free(struct engine *e, struct wire_own *o); /* the slot's entry; the session is somebody else's matter */
void wire_sessions_busy(const struct engine *e, uint32_t *connections, uint32_t *own);
int wire_info(struct engine *e, uint32_t session, uint32_t gen, struct zs_tcp_info *info); /* of an application's session */
json_t *wire_addresses(struct engine *e, const struct tracked *t); /* of an endpoint, for the event; NULL: none */
json_t *wire_status(struct engine *e);

/* ---- wire_tcp.c ---- */
int wire_connect(struct engine *e, struct client *c, uint32_t session, uint32_t gen);
int wire_accept(void *engine, const struct zs_addr *local, const struct zs_addr *remote, uint32_t *own, void **conn);
bool wire_accept_full(void *engine, const struct zs_addr *local, const struct zs_addr *remote);
const struct zs_opts *wire_listener_options(void *engine, const struct zs_addr *local, const struct zs_addr *remote);
void wire_connected(void *engine, void *conn);
void wire_closed(void *engine, void *conn);

/* ---- wire_ports.c: endpoints of programs on the wire ---- */
void wire_endpoint_open(struct engine *e, struct tracked *t, uint32_t backlog);
void wire_endpoint_close(struct engine *e, struct tracked *t);

/* ---- wire_udp.c ---- */
int wire_udp_request(struct engine *e, struct client *c, uint32_t session, uint32_t gen, struct zs_ctl_reply *reply);
void wire_udp_finish(struct engine *e, struct tracked *t); /* the endpoint closes: what was sent goes out, then no more */
void wire_udp_forget(struct engine *e, struct tracked *t); /* the endpoint is being freed */
void wire_udp_send(struct engine *e, struct wire_own *o);
int wire_udp_errors_request(struct engine *e, struct client *c, uint32_t session, uint32_t gen, struct zs_ctl_reply *reply);
struct tracked *wire_udp_tracked(struct engine *e, const struct client *c, uint32_t session, uint32_t gen);
void wire_datagram(void *engine, const struct wire_datagram *d, const struct iovec *iov, uint32_t segments, uint32_t len);
void wire_unreachable(void *engine, const struct wire_error *err);

/* ---- wire_groups.c ---- */
struct wire_membership;
int wire_group_request(struct engine *e, struct client *c, uint32_t session, uint32_t gen, const struct zs_ctl_group *g);
void wire_groups_leave(struct engine *e, struct tracked *t);
/* Is a datagram that came by a port for the group also this socket's? */
bool wire_group_accepts(const struct tracked *t, uint32_t port, const uint8_t group[16], const uint8_t source[16], bool joined_only);

#endif
