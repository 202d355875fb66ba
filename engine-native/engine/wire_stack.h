/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the engine wants of a TCP/IP stack behind its ports, and what such a stack tells the engine. The native stack
 * (stack_native.c) is one; another implements the same table. A stack reads no clock: `now` is CLOCK_MONOTONIC in
 * nanoseconds. Errors are negative errno values.
 *
 * A stack may have several shards, each for a thread of its own ("worker"): open() makes number 0, shard() the others. A function
 * of this table gets the shard that it is about; about one shard there is one call at a time, about the whole (close, ports,
 * describe_*, capture) there is one while no shard has another. Shard 0 is the engine's thread's, and has what is not TCP.
 *
 * A connection's buffers are the rings of two paired sessions: the application's and `own`, which the engine owns. The
 * stack reads what the application wrote from own's ring and frees it when the remote host has acknowledged it; what the
 * remote host sent goes to the application's ring. It ends a connection by zs_session_close(own), after it has put an
 * error into the application's session if there is one. */
#ifndef ZSTACK_WIRE_STACK_H
#define ZSTACK_WIRE_STACK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <zstack/tcpinfo.h>

#include "engine.h"
#include "ops.h"

#define WIRE_PORTS_MAX 8u
#define WIRE_WORKERS_MAX 16u

/* A frame that came or went (out) by a port, from 1: `len` bytes, the first `present` of them in iov. */
typedef void wire_frame_fn(void *arg, uint32_t port, bool out, const struct iovec *iov, uint32_t len, uint32_t present);

/* A datagram that came. */
struct wire_datagram {
    struct zs_addr from, to;
    const struct zs_addr *bound; /* of the stack's socket that it is for, as given to udp_open() */
    uint32_t port;               /* it came by, from 1 */
    uint8_t ttl, tos;            /* or hop limit, traffic class */
    bool many;                   /* to a group or a broadcast */
};

/* An error about a datagram that did not get to `remote`. */
struct wire_error {
    struct zs_addr local, remote, offender; /* offender: who says so */
    int err;      /* errno value */
    bool fatal;   /* connected sockets are told without having asked (udp(7)) */
    uint8_t origin, type, code; /* SO_EE_ORIGIN_*, of the ICMP message */
    uint32_t info; /* EMSGSIZE: what the path carries */
    const void *data; /* quoted payload, at most ZS_UDP_QUOTE_MAX bytes */
    uint32_t len;
};

/* What one socket wants of a group on a port: from all sources but these (exclude), or from these. Include of none: nothing. */
#define WIRE_SOURCES_MAX 10u /* Linux' default igmp_max_msf */
struct wire_filter {
    uint32_t port; /* from 1 */
    uint8_t group[16];
    bool exclude;
    uint32_t nsources;
    uint8_t source[WIRE_SOURCES_MAX][16];
};

/* What the stack tells; `engine` is wire_stack_conf.engine or what shard() was given, `conn` what connect() or accept() gave. */
struct wire_events {
    /* A connection was opened by a remote host. The engine gives it sessions. 0; -EAGAIN: no room in the accept queue now;
     * other: refused. */
    int (*accept)(void *engine, const struct zs_addr *local, const struct zs_addr *remote, uint32_t *own, void **conn);
    /* What it has brought so far is in its ring, as on Linux when accept(2) returns: the program may have it. Once after each
     * accept() and before the next, also when it has ended meanwhile. */
    void (*accepted)(void *engine);
    /* Is there no room for it in the accept queue? */
    bool (*accept_full)(void *engine, const struct zs_addr *local, const struct zs_addr *remote);
    /* The options of the listening socket that would get it; NULL: there is none. In shared memory: copy, then judge. */
    const struct zs_opts *(*listener_options)(void *engine, const struct zs_addr *local, const struct zs_addr *remote);
    /* Its TCP_FASTOPEN_KEY: how many keys, 0 none. */
    uint32_t (*listener_keys)(void *engine, const struct zs_addr *local, const struct zs_addr *remote,
                              uint8_t keys[ZS_FASTOPEN_KEYS][ZS_FASTOPEN_KEY_LEN]);
    void (*connected)(void *engine, void *conn);
    /* The stack forgets the connection. */
    void (*closed)(void *engine, void *conn);
    void (*datagram)(void *engine, const struct wire_datagram *d, const struct iovec *iov, uint32_t segments, uint32_t len);
    void (*unreachable)(void *engine, const struct wire_error *err);
    /* The time, ns, as `now` of the functions below. */
    uint64_t (*clock)(void);
    /* Addresses or routes changed: ask for them again. */
    void (*addresses_changed)(void *engine);
    void (*log)(void *engine, bool warning, const char *line);
    /* Frames wait for another shard: ends its sleep. */
    void (*wake)(void *engine, uint32_t shard);
};

struct wire_stack_conf {
    const char *name; /* of the engine */
    struct zs_view *view;
    const struct wire_events *events;
    void *engine;
    const char *const *ports; /* as given to --port */
    uint32_t nports;
    uint32_t workers; /* shards that there will be, 1 at least */
    enum engine_ecn ecn;
    const char *const *sysctls; /* NAME=VALUE, checked for that form; of libfstack, none for other stacks */
    uint32_t nsysctls;
    bool trace; /* log what happens, a line per change of state */
};

struct wire_stack_ops {
    const char *name;
    /* Opens the ports and the stack. NULL and *failure when that is not possible. */
    void *(*open)(const struct wire_stack_conf *conf, uint64_t now, struct engine_failure *failure);
    /* The next shard, with the view and the `engine` of its thread. NULL: no memory. The function is NULL where there is one only. */
    void *(*shard)(void *stack, struct zs_view *view, void *engine, uint64_t now);
    /* In the thread of a shard, first and last. False: it cannot work. NULL: nothing to do. */
    bool (*enter)(void *shard);
    void (*leave)(void *shard);
    /* The shard that has a connection between the two, or is to open it. `local` may be any or have no port yet. */
    uint32_t (*owner)(void *stack, const struct zs_addr *local, const struct zs_addr *remote);
    /* Connections are reset, ports closed, all shards with them. */
    void (*close)(void *stack, uint64_t now);
    /* Addresses and routes, at most ZS_MAX_WIRE_ADDRS, the longest prefix first. Returns how many. */
    uint32_t (*addresses)(void *stack, struct zs_wire_addr *to, uint32_t max);
    uint32_t (*ports)(void *stack, struct zs_wire_port *to, uint32_t max);
    /* The memory of received packets, for applications to map read-only: a descriptor and its size; -1: none. */
    int (*segment)(void *stack);
    uint64_t (*segment_size)(void *stack);
    const uint8_t *(*segment_at)(void *stack); /* where the stack has it mapped */
    /* Received packets, at most `budget` of each port, timers, sends. True when there was something to do. */
    bool (*poll)(void *stack, uint32_t budget, uint64_t now);
    /* Sends what other calls left in the transmit queues. */
    void (*flush)(void *stack);
    /* From now on `frame` is told of each frame that a port received or sent; NULL: no longer. */
    void (*capture)(void *stack, wire_frame_fn *frame, void *arg);
    /* When poll() must be called at the latest; UINT64_MAX: no need. */
    uint64_t (*next)(const void *stack);
    /* Descriptors that become readable with a packet. Returns how many. */
    uint32_t (*sleep_fds)(void *stack, int *fds, uint32_t max);
    /* Before a sleep: arms the ports. Longest sleep in nanoseconds, 0: do not sleep, there is work. */
    uint64_t (*sleep)(void *stack);
    void (*wake)(void *stack);

    /* Active open. port: of the stack, it must leave by that; 0: by route. local: port 0 and address any are chosen, and told. The outcome comes by connected(), or by the
     * application's error and closed(). */
    int (*connect)(void *stack, struct zs_addr *local, const struct zs_addr *remote, uint32_t port, uint32_t own, void *conn,
                   void **handle, uint64_t now);
    /* The handle of the connection that accept() is about; only from within it. */
    void *(*accepting)(void *stack);
    /* The application wrote, read, shut down or closed. */
    void (*poke)(void *stack, void *handle, uint64_t now);
    int (*listen)(void *stack, const struct zs_addr *local, uint32_t backlog, void **listener);
    void (*unlisten)(void *stack, void *listener);

    int (*udp_open)(void *stack, const struct zs_addr *local, void **socket);
    void (*udp_close)(void *stack, void *socket);
    /* As the record says. 0; -EMSGSIZE, -ENETUNREACH, -ENODEV, -EINVAL, -ENOBUFS. */
    int (*udp_send)(void *stack, void *socket, const struct zs_udp_record *rec, const struct iovec *iov, uint64_t now);
    /* What `member`, any pointer, wants of a group from now on. 0; -ENODEV, -ENOBUFS. */
    int (*group)(void *stack, const struct wire_filter *f, void *member, uint64_t now);

    /* What `status` says of a shard: adds to `worker`. NULL: nothing. */
    void (*describe_shard)(void *shard, json_t *worker);
    /* For `status`: an array of ports, an object of counters. New references. */
    json_t *(*describe_ports)(void *stack);
    json_t *(*describe_counters)(void *stack);
    /* Adds to `wire` of the status: loans (buffers that applications have), rx_copies, tx_copies (copies per byte of payload
     * between the port's buffers and the rings, made by the engine). */
    void (*describe_memory)(void *stack, json_t *wire);
    /* The state of a connection in the protocol's words, as "ESTABLISHED". */
    const char *(*conn_state)(void *stack, void *handle);
    void (*conn_info)(void *stack, void *handle, uint64_t now, struct zs_tcp_info *info); /* for TCP_INFO */
};

extern const struct wire_stack_ops wire_stack_native;
/* Those of this program, the default first, NULL at the end: zstackd has the native one (stacks.c), zstackd-fstack
 * (engine-native/fstack) that of libfstack as well. */
extern const struct wire_stack_ops *const wire_stacks[];
/* NULL: this program has none of that name. The name NULL is the default. */
const struct wire_stack_ops *wire_stack_named(const char *name);

#endif
