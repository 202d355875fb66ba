/* SPDX-License-Identifier: BSD-3-Clause
 *
 * TCP (RFC 9293) of the native stack. What it claims and which test shows it: COMPLIANCE.md at the top.
 *
 * A connection's buffers are the byte rings of two paired sessions: `own`, owned by the engine, and its peer, the
 * application's. What the application writes lies in own's ring until the remote host has acknowledged it, and is sent from
 * there; what the remote host sends is lent to the application, or copied into its ring. FIN and RST travel in the directions' `fin` words, errors in the
 * application's `error`. The owner of the stack calls tcp_poke() when the application's end did something: own's
 * subscribers are told of that, so the owner subscribes a waiter of its own. */
#ifndef ZSTACK_TCP_H
#define ZSTACK_TCP_H

#include <zstack/tcpinfo.h>

#include "ip.h"

#define TCP_STATES(X)                                                                       \
    X(CLOSED, "CLOSED", "no connection")                                                    \
    X(LISTEN, "LISTEN", "waits for connection requests")                                    \
    X(SYN_SENT, "SYN-SENT", "asked for a connection")                                       \
    X(SYN_RECEIVED, "SYN-RECEIVED", "asked and was asked, waits for the confirmation")      \
    X(ESTABLISHED, "ESTABLISHED", "data both ways")                                         \
    X(FIN_WAIT_1, "FIN-WAIT-1", "closed here, not acknowledged")                            \
    X(FIN_WAIT_2, "FIN-WAIT-2", "closed here, the remote host may go on")                   \
    X(CLOSE_WAIT, "CLOSE-WAIT", "closed by the remote host, this one may go on")            \
    X(CLOSING, "CLOSING", "closed by both at once, ours not acknowledged")                  \
    X(LAST_ACK, "LAST-ACK", "closed by both, ours last, not acknowledged")                  \
    X(TIME_WAIT, "TIME-WAIT", "closed by both; old segments may still be on their way")
enum tcp_state {
#define X(id, name, text) TCP_##id,
    TCP_STATES(X)
#undef X
    TCP_STATE_N
};

struct tcp_state_info {
    const char *name, *text;
};
extern const struct tcp_state_info tcp_state_info[TCP_STATE_N];

struct tcp_conn;
struct tcp_listener;
struct zs_opts;

/* Endpoints as this host sees them; the key of the connection table. */
struct tcp_flow {
    struct ip_addr local_ip, remote_ip;
    rte_be16_t local_port, remote_port;
};
_Static_assert(sizeof(struct tcp_flow) == 36, "no padding: it is hashed");

struct tcp_conn_ops {
    void (*connected)(void *arg, struct tcp_conn *c); /* active open succeeded */
    void (*closed)(void *arg, struct tcp_conn *c);    /* the connection is no more; c is freed after this */
};

#define TCP_TFO_KEYS 2u
#define TCP_TFO_KEY_LEN 16u

struct tcp_listener_ops {
    /* The handshake is complete. The callee gives the connection its sessions (tcp_attach) and returns 0, or -EAGAIN: later
     * (the final ACK is as good as lost, the peer's next segment asks again), or another error: reset. */
    int (*accept)(void *arg, struct tcp_conn *c, const struct tcp_flow *flow);
    /* What the segment brought by which a connection was accepted is in its ring; it may have ended by it. May be NULL. */
    void (*accepted)(void *arg);
    /* Would accept() say -EAGAIN now? Then a SYN is dropped at once, which costs little; the peer sends it again. May be NULL. */
    bool (*full)(void *arg, const struct tcp_flow *flow);
    /* The options of the socket that will get the connection: what is accepted has them from its SYN on. NULL: none. May be NULL. */
    const struct zs_opts *(*options)(void *arg, const struct tcp_flow *flow);
    /* The TCP_FASTOPEN_KEY of that socket: how many keys; the first makes cookies, all are good. 0: the stack's own. May be NULL. */
    uint32_t (*fastopen_keys)(void *arg, const struct tcp_flow *flow, uint8_t keys[TCP_TFO_KEYS][TCP_TFO_KEY_LEN]);
};

struct tcp_table *tcp_create(struct stack *st);
void tcp_destroy(struct stack *st);

/* Active open. flow.local_ip any: chosen for the destination; flow.local_port 0: chosen (RFC 6056). `own`: see above. 0 and the
 * connection; -ENETUNREACH, -EADDRNOTAVAIL, -EADDRINUSE, -ENOBUFS. The outcome arrives by ops, and as the application's error. */
int tcp_connect(struct stack *st, struct tcp_flow flow, uint32_t own, const struct tcp_conn_ops *ops, void *arg, uint64_t now,
                struct tcp_conn **conn);
/* ip any: every address of IPv4 (::ffff:0.0.0.0) or IPv6 (::), each for itself. `backlog` bounds the half-open connections that
 * are remembered; beyond it SYNs are answered by cookies. 0, -EADDRINUSE, -ENOMEM. */
int tcp_listen(struct stack *st, const struct ip_addr *ip, rte_be16_t port, uint32_t backlog, const struct tcp_listener_ops *ops, void *arg,
               struct tcp_listener **listener);
/* Half-open connections of the listener are dropped. */
void tcp_unlisten(struct stack *st, struct tcp_listener *l);
/* Only from within accept(). */
void tcp_attach(struct tcp_conn *c, uint32_t own, const struct tcp_conn_ops *ops, void *arg);
/* The application wrote, read, shut down or closed. */
void tcp_poke(struct tcp_conn *c, uint64_t now);

/* Ends the connection with a reset; the application gets `err`. */
void tcp_abort(struct tcp_conn *c, int err, uint64_t now);
void tcp_abort_all(struct stack *st, int err, uint64_t now);

const struct tcp_flow *tcp_conn_flow(const struct tcp_conn *c);
struct stack *tcp_conn_stack(const struct tcp_conn *c);
enum tcp_state tcp_conn_state(const struct tcp_conn *c);
void tcp_info(struct tcp_conn *c, uint64_t now, struct zs_tcp_info *out);
uint32_t tcp_conn_count(const struct stack *st);

/* Who moved the payload: bytes since the stack began (retransmitted ones again), and buffers now. */
struct tcp_memory {
    uint64_t rx_lent, rx_copied, tx_referred, tx_copied;
    uint32_t lent;     /* buffers that applications have */
    uint32_t kept;     /* out of order */
    uint32_t hold_max; /* limit of both together; 0: nothing is lent */
};
void tcp_memory(const struct stack *st, struct tcp_memory *out);

/* ---- from the layers below ---- */
/* Up to TCP_BURST frames are about to be handed in, each announced by its place; then it is over. Does nothing that shows, but
 * brings what they need into the cache. */
#define TCP_BURST 32u
void tcp_burst(struct stack *st, struct rte_mbuf *const *frames, uint16_t n);
void tcp_burst_at(struct stack *st, uint16_t i);
void tcp_burst_over(struct stack *st);
/* The flow of a frame that looks like a TCP segment, also like a part of one: no more than its lengths is checked. */
bool tcp_frame_flow(const struct rte_mbuf *m, struct tcp_flow *flow);
void tcp_input(struct stack *st, struct ip_pkt *p);
void tcp_icmp(struct stack *st, const struct ip_error *e);
/* Initial sequence number of a flow (RFC 6528). */
uint32_t tcp_isn(const struct stack *st, const struct tcp_flow *flow, uint64_t now);

#endif
