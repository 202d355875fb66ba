/* SPDX-License-Identifier: BSD-3-Clause
 * A bed for stacks: DPDK without devices, an arena, sockets as an application and its engine share them, and a simulated
 * wire with virtual time and seeded delay, loss, reordering, duplication and corruption. */
#ifndef ZSTACK_TEST_NET_WIRE_H
#define ZSTACK_TEST_NET_WIRE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "arp.h"
#include "ipv4.h"
#include "ipv6.h"
#include "ops.h"
#include "ring.h"
#include "rxpool.h"
#include "tcp.h"
#include "udp.h"

#define IP(a, b, c, d) RTE_BE32(((uint32_t)(a) << 24) | ((b) << 16) | ((c) << 8) | (d))
#define MS NET_NS_PER_MS
#define SEC NET_NS_PER_S

/* xorshift64*: the same sequence everywhere. */
static inline uint64_t rnd(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * UINT64_C(2685821657736338717);
}

/* The byte of a stream at a position. */
#define BYTE_FACTOR UINT64_C(0x9e3779b97f4a7c15)
static inline uint8_t byte_at(uint64_t stream, uint64_t pos)
{
    return (uint8_t)(((pos + stream * 77) * BYTE_FACTOR) >> 56);
}

/* ---- Bed ---- */
struct bed {
    struct zs_arena *arena;
    struct zs_view engine, app;
    struct rte_mempool *pool, *indirect;
    struct rxpool rx;  /* of received frames; app has it mapped */
    struct zs_mapped of_engine[ZS_MAX_SEGMENTS], of_app[ZS_MAX_SEGMENTS]; /* segments of buffers: BED_BUFFERS is app's */
    bool lend;         /* stacks and wires made from now on lend payload, and send it from rings */
    uint32_t hold_max, without; /* stack_conf.rx_hold_max, without */
    const char *congestion;     /* stack_conf.congestion */
    uint32_t sndbuf, rcvbuf, rcvbuf_max; /* of every socket; stack_conf.rcvbuf, rcvbuf_max */
    uint32_t max_conns, ooo_max_segs; /* stack_conf's, 0: 256, 2048 */
    bool tso;          /* ports made from now on cut long segments */
    bool gro;          /* ports made from now on merge what comes together, and wires hand that in together */
    bool probe;        /* ports made from now on probe their address; those with IPv6 do anyway */
    bool ip6;          /* ports made from now on have IPv6, and no IPv4 */
};
#define BED_BUFFERS ZS_SEGMENT_BUFFERS(1, 1) /* ZS_BUFFERS_MIN bytes; what is before and behind faults */
void bed_start(struct bed *b); /* EAL, pools, arena: once per program */
uint64_t bed_cpu_ns(void); /* CPU time of the thread: for measurements, never for a test */
void bed_check_empty(struct bed *b); /* no packet, session or block in use */

/* One application socket on a stack. */
struct sock {
    struct bed *bed;
    struct tcp_conn *conn; /* NULL once closed() was called, or before accept */
    uint32_t own, app;     /* sessions */
    uint32_t app_gen;
    struct zs_tx tx;
    uint64_t written, read, write_stream, read_stream;
    bool connected, closed_here;
};
void sock_open(struct bed *b, struct sock *s);
bool sock_alive(const struct sock *s); /* its application session is still there */
uint64_t sock_write(struct sock *s, uint64_t n, uint64_t now); /* bytes of write_stream that were taken */
uint64_t sock_read(struct sock *s, uint64_t n, uint64_t now);  /* checked against read_stream */
void sock_close(struct sock *s, bool abort, uint64_t now);
void sock_shutdown(struct sock *s, uint64_t now);
uint32_t sock_fin(const struct sock *s); /* ZS_FIN, ZS_RST or 0 */
extern const struct tcp_conn_ops sock_ops;

/* A listener's argument: each connection that it gets becomes this socket, whose bed is NULL before. */
struct acceptor {
    struct bed *bed;
    struct sock *sock;
};
extern const struct tcp_listener_ops acceptor_ops;

/* ---- Frames ---- */
struct frame {
    struct frame *next;
    uint64_t at, order;
    int to;
    uint16_t len;
    uint8_t data[];
};
struct frame *frame_of(struct rte_mbuf *m); /* flat copy; fills in checksums left to the port */
struct frame *frames_of(struct rte_mbuf *m); /* the same of what the port is to cut, chained by next (net_cut.c) */
struct rte_mbuf *frame_mbuf(struct bed *b, const void *data, uint16_t len);
struct stack *bed_stack(struct bed *b, const char *name, uint64_t now);
struct net_port *bed_port(const struct bed *b, struct stack *st, const struct net_port_ops *ops, void *dev, int host, uint32_t caps, uint16_t mtu,
                          uint64_t now);
#define HOST_IP(i) IP(10, 0, 0, 1 + (i))
#define HOST(i) ip_from_v4(HOST_IP(i))
#define ANY4 ip_from_v4(0)
struct ip_addr host6(int i);           /* 2001:db8::1 + i */
struct ip_addr host_link_local(int i); /* as on the wire; made from host_mac() */
struct ip_addr bed_host(const struct bed *b, int i); /* by the family that the bed has */
struct ip_addr bed_any(const struct bed *b);
struct rte_ether_addr host_mac(int i);

/* ---- Wire between two stacks ---- */
struct wire_end {
    struct wire *wire;
    int index;
    struct stack *st;
    struct net_port *port;
};
struct wire {
    struct bed *bed;
    uint64_t now, seed, order;
    uint64_t delay, jitter;           /* ns; jitter reorders */
    uint64_t rate, room;              /* of each direction: bytes per second, 0 no limit; bytes that wait for it */
    uint64_t busy[2];                 /* until when */
    uint32_t loss, duplicate, corrupt; /* per 10,000 frames */
    /* Loss in bursts (Gilbert): per 10,000 frames, that one begins, and that a frame in it is the last; all of it is lost. */
    uint32_t burst, burst_end;
    bool in_burst[2];
    /* Per 10,000 frames, that one is `late` ns later than the rest, so that others overtake it. */
    uint32_t reorder;
    uint64_t late;
    struct frame *queue[2], *last[2]; /* by the end they go to; in the order of their time */
    struct wire_end end[2];
    uint64_t frames, lost, dropped; /* dropped: for want of room */
};
void wire_open(struct wire *w, struct bed *b, uint64_t seed, uint16_t mtu, uint32_t caps);
/* Runs the next thing to happen at or before `limit`; false: there is none, time is `limit`. */
bool wire_step(struct wire *w, uint64_t limit);
void wire_flush(struct wire *w);
void wire_close(struct wire *w);

#endif
