/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The native TCP/IP stack: Ethernet to TCP on DPDK's packet buffers. One struct stack per polling core; nothing is
 * shared between stacks and there is no state outside of them. The stack never reads a clock, blocks or starts a
 * thread: its owner hands in frames and the time, and asks when it wants to be called next.
 *
 *     net_input(st, port, frames, n, now);    each port's receive burst
 *     net_run(st, now);                       timers
 *     net_flush(st);                          transmit bursts
 *     net_next(st)                            when to call net_run() at the latest
 *
 * Addresses and ports are in network order in every interface, sizes in bytes, times in nanoseconds. */
#ifndef ZSTACK_NET_STACK_H
#define ZSTACK_NET_STACK_H

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include "wheel.h"

#define NET_NS_PER_MS UINT64_C(1000000)
#define NET_NS_PER_S UINT64_C(1000000000)
#define NET_MAX_PORTS 8u
#define NET_TX_BURST 64u
#define NET_IP_TTL 64u
#define NET_RCVBUF (128u << 10)   /* to begin with */
#define NET_RCVBUF_MAX (4u << 20) /* that autotuning may reach */

/* An IPv6 address, or a v4-mapped one (::ffff:a.b.c.d), in network order: ip.h. */
struct ip_addr {
    union {
        uint8_t b[16];
        uint32_t w[4];
    };
};

enum net_counter {
#define X(id, name, text) NET_##id,
#include "counters.def"
#undef X
    NET_COUNTER_N
};

struct net_counter_info {
    const char *name, *text;
};
extern const struct net_counter_info net_counter_info[NET_COUNTER_N];

struct stack;
struct net_port;
struct group;
struct route;
struct tcp_table;
struct udp_table;
struct neigh_table;
struct pmtu_table;
struct redirect_table;
struct reass_table;
struct zs_view;
struct rxpool;
struct steer;

/* What a device can do. */
#define NET_CAP_TX_IPV4_CKSUM (1u << 0)
#define NET_CAP_TX_L4_CKSUM (1u << 1)
#define NET_CAP_MULTI_SEGS (1u << 2) /* else frames are handed over in one segment */
/* tx_burst() has read the frames when it returns: their payload may be application memory that changes later. Not for devices
 * that fetch or pass on what they were given (DMA, net_af_xdp, net_ring), and only with MULTI_SEGS. */
#define NET_CAP_TX_READS (1u << 3)
#define NET_CAP_TX_REFERS (NET_CAP_MULTI_SEGS | NET_CAP_TX_READS)
/* Takes TCP segments longer than its MTU and cuts them (RTE_MBUF_F_TX_TCP_SEG), checksums included: over IPv4, over IPv6. Only
 * with MULTI_SEGS. */
#define NET_CAP_TX_TSO4 (1u << 4)
#define NET_CAP_TX_TSO6 (1u << 5)
#define NET_TSO_FRAMES 64u /* of one segment at most */

/* Parts of TCP to do without: for tests and comparisons. */
#define NET_WITHOUT_SACK (1u << 0)
#define NET_WITHOUT_TIMESTAMPS (1u << 1)
#define NET_WITHOUT_ECN (1u << 2)
#define NET_WITHOUT_PREFETCH (1u << 3) /* segments that arrive together are looked up one by one */

/* A device, or the simulated wire. */
struct net_port_ops {
    /* Takes up to n frames and owns those; returns how many. The rest is dropped by the caller. */
    uint16_t (*tx_burst)(void *dev, struct rte_mbuf **frames, uint16_t n);
};

#define NET_PORT_ROUTES 8u
struct net_route {
    struct ip_addr prefix, hop; /* hop any: on the link */
    uint8_t len; /* of 128 bits, IPv4 has 96 added */
};

struct net_port_conf {
    const struct net_port_ops *ops;
    void *dev;
    const char *name;
    struct rte_ether_addr mac;
    uint16_t mtu;
    uint32_t caps; /* NET_CAP_* */
    uint16_t tso_max; /* bytes of the longest packet that is cut, its headers included; with NET_CAP_TX_TSO* */
    rte_be32_t addr; /* 0: no IPv4 here */
    uint8_t prefix_len;
    rte_be32_t gateway; /* 0 none */
    bool has6;          /* IPv6 here: addr6 and a link-local address made from the MAC */
    struct ip_addr addr6;
    uint8_t prefix6_len;
    struct ip_addr gateway6; /* :: none */
    bool gro;                /* segments that arrive together are merged */
    bool redirects;          /* better first hops are believed (redirect.c) */
    bool probe;              /* addresses are probed before others are told of them; else they are taken over at once */
    bool ra;                 /* routers' advertisements are believed; addr6 :: then is theirs to give */
    uint32_t nroutes;
    struct net_route route[NET_PORT_ROUTES];
};

struct net_port {
    struct net_port_conf conf;
    struct stack *stack;
    rte_be32_t mask;
    uint8_t number; /* from 1; the zone of its link-local addresses */
    uint16_t queued;
    struct rte_mbuf *queue[NET_TX_BURST];
    uint8_t queued_more[NET_TX_BURST]; /* frames that will be cut off each, beyond the first */
    /* Conflicts of the IPv4 address (acd.h) */
    struct wheel_timer acd;
    uint8_t acd_state; /* enum acd_state */
    uint8_t acd_left;  /* probes or announcements still to send */
    uint64_t defended, conflict_told; /* when last; 0: never */
    /* IPv6, when conf.has6 */
    struct ip_addr link_local, group[2]; /* and the solicited-node groups of both addresses */
    struct wheel_timer dad, mld;
    /* Conflicts of both addresses (dad.c): bits DAD_* */
    uint8_t dad_unsure;    /* in use, not yet known to be unique (RFC 4429) */
    uint8_t dad_contested; /* of those: another host had it before us */
    bool dad_waiting;      /* for objections to what was asked last */
    uint64_t dad_nonce;    /* of our own questions (RFC 7527), 48 bits */
    uint64_t defended6, conflict6_told;
    uint32_t mld_left; /* unsolicited reports still to send */
    /* Router advertisements, when conf.ra */
    struct wheel_timer ra;
    uint32_t rs_left;    /* solicitations still to send */
    uint64_t rs_at;
    uint64_t addr_until; /* conf.addr6 is a router's, until then; 0: it is not */
    uint16_t mtu6;       /* as routers say; 0: not */
    /* Multicast (group.h) */
    LIST_HEAD(, group) groups;
    uint32_t ngroups;
    uint64_t igmp1_until, igmp2_until, mld1_until; /* a router of an old version was heard */
    uint64_t mld_quiet_until; /* no answer about our own groups before */
};

struct stack_conf {
    struct rte_mempool *pool;          /* of frames to send; data room for an MTU and headers */
    struct rte_mempool *indirect_pool; /* without data room, for fragments and payload sent from rings; NULL: neither */
    const struct rxpool *rx;           /* where received payload can be lent from; NULL: all of it is copied */
    uint32_t rx_hold_max;              /* received buffers lent or kept out of order, at most; 0: half of rx. The rest is for
                                          the ports' queues and reassembly */
    struct zs_view *view;              /* of the arena that holds the sessions */
    const char *name;                  /* unique among the stacks of a process, up to 15 characters */
    uint8_t key[16];                   /* secret of this stack: ISNs, ports */
    uint32_t max_conns;
    uint32_t max_neighbours;
    uint32_t reass_max_bytes;          /* of buffers held by incomplete datagrams */
    uint32_t ooo_max_segs;             /* out-of-order segments kept, all connections together */
    uint32_t rcvbuf;                   /* receive buffer of a connection to begin with, 0: NET_RCVBUF */
    uint32_t rcvbuf_max;               /* what it may grow to, 0: NET_RCVBUF_MAX. No less than rcvbuf */
    uint32_t without;                  /* NET_WITHOUT_*: not offered, not accepted */
    bool ecn;                          /* connections opened from here ask for ECN; who asks us gets it either way, as Linux */
    const char *congestion;            /* name of the congestion control, NULL default */
    /* One line per event worth telling: state changes, address conflicts. NULL: nobody listens. */
    void (*trace)(void *arg, const char *line);
    /* Another host says that the port's address is his. NULL: nobody listens. */
    void (*conflict)(void *arg, const struct net_port *port, const struct ip_addr *addr, const struct rte_ether_addr *mac);
    /* Several stacks of one host share its ports and addresses, each in a thread of its own (tcp/steer.h). NULL: this is the only one.
     * Number 0 speaks for the host: it answers ARP, neighbour discovery and echo, announces, has UDP and groups, and
     * reassembles; the others have connections and listen. */
    const struct steer *steer;
    uint32_t number;
    /* A frame that came by `port` is for the stack `to`. Takes the buffer. */
    void (*hand_over)(void *arg, const struct net_port *port, struct rte_mbuf *m, uint32_t to);
    void *owner; /* who made the stack: the functions' arg */
};

struct stack {
    struct stack_conf conf;
    uint64_t now; /* the latest that was handed in */
    struct wheel wheel;
    struct net_port *port[NET_MAX_PORTS];
    uint32_t ports;
    uint16_t ip_id;
    uint32_t flushes; /* what was sent before this changed has left */
    struct rte_mbuf_ext_shared_info ring_memory; /* of payload sent from rings: nothing is freed with it */
    uint32_t icmp_tokens;
    uint64_t icmp_refilled;
    uint64_t random; /* see net_random() */
    struct neigh_table *neigh;
    struct pmtu_table *pmtu;
    struct redirect_table *redirects;
    struct reass_table *reass;
    struct udp_table *udp;
    struct tcp_table *tcp;
    uint32_t nroutes, routes_changed; /* times the table changed */
    struct route *routes; /* NET_MAX_ROUTES: route.h */
    uint64_t counters[NET_COUNTER_N];
};

#define NET_COUNT(st, id) ((void)((st)->counters[NET_##id]++))
#define NET_COUNT_BYTES(st, id, n) ((void)((st)->counters[NET_##id] += (n)))

/* NULL when memory is exhausted or the name is taken. */
struct stack *stack_create(const struct stack_conf *conf, uint64_t now);
/* Frees everything, packets included. Connections end silently, as by a crash. */
void stack_destroy(struct stack *st);
/* NULL when there are NET_MAX_PORTS or memory is exhausted. Probes and announces the port's addresses, as if its link came up now. */
struct net_port *stack_add_port(struct stack *st, const struct net_port_conf *conf, uint64_t now);

/* The port's link came up, again or for the first time: nothing that was sent before need have reached anybody, and other hosts may be
 * there. Addresses are probed and announced anew (RFC 5227 2.1, 4862 5.4), groups reported, routers asked for, neighbours too. */
void net_link_up(struct net_port *port, uint64_t now);

void net_input(struct stack *st, struct net_port *port, struct rte_mbuf **frames, uint16_t n, uint64_t now);
void net_run(struct stack *st, uint64_t now);
/* Time does not go back: a caller may know that of its turn's begin only, after frames were taken later. */
static inline void net_at(struct stack *st, uint64_t now)
{
    if (now > st->now)
        st->now = now;
}
void net_flush(struct stack *st);
uint64_t net_next(const struct stack *st);
void net_trace(struct stack *st, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Speaks for the host: see stack_conf.steer. */
static inline bool net_speaks(const struct stack *st)
{
    return st->conf.number == 0;
}

/* Not for secrets: delays and identifications. */
uint64_t net_random(struct stack *st);

/* Frees a packet and counts why. */
void net_drop(struct stack *st, struct rte_mbuf *m, enum net_counter why);
/* A packet that refers to no memory but its own buffers: m, or a copy in place of it; NULL, counted, when there is no buffer.
 * For packets that have to wait. */
struct rte_mbuf *net_own(struct stack *st, struct rte_mbuf *m);
/* Sends a frame whose Ethernet header is complete. Takes the buffer. */
void port_send(struct net_port *port, struct rte_mbuf *m);

#endif
