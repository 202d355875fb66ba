/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The wire: sockets of this engine's programs that are served by a TCP/IP stack on the engine's ports. Its ends of the
 * connections are sessions that the engine owns ("own"); what they are for stands in a table by session index, which the
 * applications cannot reach. */
#ifndef ZSTACK_WIRE_H
#define ZSTACK_WIRE_H

#include <pthread.h>

#include "internal.h"
#include "wire_own.h"
#include "wire_stack.h"

/* One (protocol, address, port) that the stack listens on, for all the endpoints of programs that are bound to it. */
struct wire_port {
    uint32_t kind; /* enum zs_session_kind */
    struct zs_addr local;
    uint32_t refs;
    LIST_ENTRY(wire_port) link;
    void *handle[]; /* listener in each shard, or the UDP socket in shard 0 */
};

#define WIRE_PORT_BUCKETS 1024u
#define WIRE_BUDGET_FULL 128u /* packets taken from a port in one turn */

/* One thread that serves connections: a shard of the stack, the waiter that own sessions of that shard are subscribed to, and how
 * it polls and sleeps. Number 0 is the engine's thread. What is in here belongs to who has the worker's lock: its thread while it
 * works, the engine's thread by wire_enter() or while all are frozen. Number 0 has no lock, it is the engine's thread's. */
struct wire_worker {
    struct engine *e;
    uint32_t index;
    void *stack;           /* its shard */
    struct zs_view *view;  /* the engine's, or the thread's own: its cursors are nobody else's */
    uint64_t *counters;    /* COUNTER_N; the engine's, or the thread's own */
    struct zs_waiter *waiter; /* the bits of own sessions at which something happened */
    uint32_t waiter_index;
    int bell;              /* the waiter's */
    uint64_t now;
    uint32_t conns, own_count;
    struct {
        uint32_t listener, gen, session, app, app_gen;
    } admits; /* from wire_accept() to wire_accepted(): what is in shared memory others may change meanwhile */
    uint64_t busy_until;   /* polling without sleep until then */
    uint64_t no_spin_until;
    uint32_t budget;       /* packets taken from a port in one turn */
    uint32_t refused;      /* in this turn: what sockets and accept queues had no room for */
    uint32_t rounds;       /* since the last look at the descriptors */
    bool asleep;
    struct wire_thread *thread; /* NULL: number 0 */
};

struct wire {
    const struct wire_stack_ops *ops;
    void *stack; /* shard 0, which stands for the whole */
    struct wire_worker worker[WIRE_WORKERS_MAX];
    uint32_t nworkers;
    uint32_t frozen; /* how many times over */
    struct source bell, port_fd[WIRE_PORTS_MAX];
    uint32_t nfds;
    wire_own_word *own;           /* by session index, ZS_MAX_SESSIONS; wire_own.h */
    _Atomic uint64_t *listening;  /* the same: the accept queue of a listening session, WIRE_LISTENING; 0: none */
    LIST_HEAD(, wire_port) ports[WIRE_PORT_BUCKETS];
    struct zs_wire_addr addrs[ZS_MAX_WIRE_ADDRS];
    uint32_t naddrs, nports;
    const struct zs_view *view;
    char warning[256]; /* the last one, for programs that come later */
};

/* Of a listening session, for threads that may not look into the engine's tables. */
#define WIRE_LISTENING(listener, gen, v6) ((uint64_t)(gen) << 32 | (uint64_t)(v6) << 31 | ((listener) + 1u))
#define WIRE_LISTENER(word) (((uint32_t)(word) & INT32_MAX) - 1u)
#define WIRE_LISTENER_GEN(word) ((uint32_t)((word) >> 32))
#define WIRE_LISTENER_V6(word) ((uint32_t)(word) >> 31 != 0)

/* ---- wire.c ---- */
bool wire_open(struct engine *e, struct engine_failure *f);
void wire_close(struct engine *e);
void wire_publish(struct engine *e); /* ports, addresses and routes into the arena's header */
void wire_addresses_changed(void *worker);
void wire_log(void *worker, bool warning, const char *line);
void wire_repeat_warning(struct engine *e, const char *run);
/* The port that takes the packets of an interface of the kernel, from 1; 0: none. */
uint32_t wire_port_of_interface(const struct engine *e, unsigned index);
bool wire_has(const struct wire *w, const struct zs_addr *local); /* the wire serves an endpoint bound to that */
int wire_info(struct engine *e, uint32_t session, uint32_t gen, struct zs_tcp_info *info); /* of an application's session */
json_t *wire_addresses(struct engine *e, const struct tracked *t); /* of an endpoint, for the event; NULL: none */
json_t *wire_status(struct engine *e);

/* ---- wire_turns.c: the turns of one worker, by who has its lock ---- */
/* What comes after a turn: the next one at once, or first a look at the descriptors without sleep, before which others may have the
 * CPU, or are given a moment; or sleep until the descriptors tell, *timeout_ns at most. */
enum wire_rest { WIRE_AGAIN, WIRE_YIELD, WIRE_PAUSE, WIRE_SLEEP };
enum wire_rest wire_rest(struct wire_worker *k, uint64_t now, uint64_t *timeout_ns);
void wire_give_way(struct wire_worker *k, enum wire_rest rest, uint64_t now); /* without the lock: it may take long */
void wire_after_wait(struct wire_worker *k);
void wire_poll(struct wire_worker *k, uint64_t now);
uint64_t wire_clock(void);

/* ---- wire_workers.c: threads beside the engine's ---- */
/* Shards, waiters and bells of workers 1 on; their threads begin with wire_workers_start(). */
bool wire_workers_open(struct engine *e, struct engine_failure *f);
bool wire_workers_start(struct engine *e, struct engine_failure *f);
void wire_workers_stop(struct engine *e);
void wire_workers_close(struct engine *e); /* when the stack is closed */
/* The engine's thread comes into a worker's shard and leaves it again; a busy worker lets it in after its turn. */
void wire_enter(struct wire_worker *k);
void wire_leave(struct wire_worker *k);
/* No worker but the engine's thread touches anything until the same number of wire_thaw(). For what looks at all of the arena, or
 * at all shards. Without a wire, or with one worker, nothing happens. */
void wire_freeze(struct engine *e);
void wire_thaw(struct engine *e);
void wire_wake(void *worker, uint32_t index); /* frames wait there */
bool wire_waiter_open(struct wire_worker *k);
json_t *wire_workers_status(struct engine *e);
uint64_t wire_worker_time(const struct wire_worker *k); /* of its shard, for calls into it */

/* ---- wire_own.c ---- */
struct wire_own *wire_own_new(struct wire_worker *k, enum wire_kind kind, uint32_t session_kind);
/* The slot's entry; the session is somebody else's matter. */
void wire_own_free(struct wire_worker *k, struct wire_own *o);
/* Of that worker; NULL. */
struct wire_own *wire_own_at(const struct wire_worker *k, uint32_t session);
/* Of any; while all are frozen. An own session of the wire: sweeps leave it alone. */
bool wire_owns(const struct engine *e, uint32_t session);
void wire_sessions_busy(struct engine *e, uint32_t *connections, uint32_t *own);
bool wire_has_own(const struct engine *e); /* while all are frozen */

/* ---- wire_tcp.c ---- */
int wire_connect(struct engine *e, struct client *c, uint32_t session, uint32_t gen);
int wire_accept(void *worker, const struct zs_addr *local, const struct zs_addr *remote, uint32_t *own, void **conn);
void wire_accepted(void *worker);
bool wire_accept_full(void *worker, const struct zs_addr *local, const struct zs_addr *remote);
const struct zs_opts *wire_listener_options(void *worker, const struct zs_addr *local, const struct zs_addr *remote);
uint32_t wire_listener_keys(void *worker, const struct zs_addr *local, const struct zs_addr *remote,
                            uint8_t keys[ZS_FASTOPEN_KEYS][ZS_FASTOPEN_KEY_LEN]);
void wire_connected(void *worker, void *conn);
void wire_closed(void *worker, void *conn);

/* ---- wire_ports.c: endpoints of programs on the wire ---- */
/* Before the look-up finds it: another worker may at once. */
void wire_endpoint_known(struct engine *e, const struct tracked *t);
void wire_endpoint_open(struct engine *e, struct tracked *t, uint32_t backlog);
void wire_endpoint_close(struct engine *e, struct tracked *t);

/* ---- wire_udp.c ---- */
int wire_udp_request(struct engine *e, struct client *c, uint32_t session, uint32_t gen, struct zs_ctl_reply *reply);
void wire_udp_finish(struct engine *e, struct tracked *t); /* the endpoint closes: what was sent goes out, then no more */
void wire_udp_forget(struct engine *e, struct tracked *t); /* the endpoint is being freed */
void wire_udp_send(struct engine *e, struct wire_own *o);
int wire_udp_errors_request(struct engine *e, struct client *c, uint32_t session, uint32_t gen, struct zs_ctl_reply *reply);
struct tracked *wire_udp_tracked(struct engine *e, const struct client *c, uint32_t session, uint32_t gen);
void wire_datagram(void *worker, const struct wire_datagram *d, const struct iovec *iov, uint32_t segments, uint32_t len);
void wire_unreachable(void *worker, const struct wire_error *err);

/* ---- wire_groups.c ---- */
struct wire_membership;
int wire_group_request(struct engine *e, struct client *c, uint32_t session, uint32_t gen, const struct zs_ctl_group *g);
void wire_groups_leave(struct engine *e, struct tracked *t);
/* Is a datagram that came by a port for the group also this socket's? */
bool wire_group_accepts(const struct tracked *t, uint32_t port, const uint8_t group[16], const uint8_t source[16], bool joined_only);

#endif
