/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Ports: DPDK devices as the stack's network interfaces. EAL made the device (`--vdev`, `-a`); a port configures it, receives,
 * sends and, above all, can be slept on: an idle engine wakes on a packet on every kind.
 *
 *     n = port_rx(p, thread, frames, n);      until it returns 0
 *     if (port_sleep(p, thread)) {            false: frames may wait
 *         wait for port_sleep_fd(p, thread), at most port_sleep_max_ns(p, thread);
 *         port_wake(p, thread);               also when the wait ended for another reason
 *     }
 *
 * A port belongs to one thread, number 0, or to several: each receives by queues of its own, where the device has several, and sends
 * by one of its own, or shares one. The functions above are for the thread that they name; those without one are for number 0, and
 * all memif ports of a process are for the same number 0. Addresses are in network order. */
#ifndef ZSTACK_PORT_H
#define ZSTACK_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "stack.h"

#define PORT_MTU_MIN 68u
#define PORT_MTU_MIN6 1280u
#define PORT_MTU_MAX 9000u
/* Buffers that a device may keep: net_af_xdp fills its ring with 2,048, for each queue. */
#define PORT_RX_POOL_MIN 4096u
#define PORT_QUEUE_BUFFERS 2048u /* more for each queue beside the first */
#define PORT_THREADS_MAX 16u
#define PORT_RSS_KEY 40u /* bytes of a Toeplitz key that is enough for IPv6 */

enum port_mac {
    PORT_MAC_OWN,    /* a random, locally administered one: the kernel's end of the device keeps its own */
    PORT_MAC_DEVICE,
    PORT_MAC_GIVEN,
};

enum port_kind { PORT_TAP, PORT_AF_PACKET, PORT_AF_XDP, PORT_MEMIF, PORT_PCI };

enum port_switch { PORT_AUTO, PORT_ON, PORT_OFF };

/* What the text after --port says. */
struct port_spec {
    char device[64]; /* DPDK's name */
    rte_be32_t addr;
    uint8_t prefix_len;
    rte_be32_t gateway; /* 0 none */
    bool has_ip6, has_gateway6; /* has_ip6: IPv6 at all; ip6 :: with ra: routers give an address */
    uint8_t ip6[16], prefix6, gateway6[16];
    bool ra; /* router advertisements are believed */
    uint32_t nroutes;
    struct net_route route[NET_PORT_ROUTES];
    uint16_t mtu; /* 0: the device's */
    enum port_mac mac_from;
    struct rte_ether_addr mac;
    char bell[108]; /* path; empty: none */
    bool gro;             /* segments that arrive together are merged: by the stack, net/gro.h */
    bool probe;           /* addresses are probed before they are announced: net/acd.h, net/dad.c */
    bool redirects;       /* better first hops are believed: net/redirect.c */
    enum port_switch tso; /* long TCP segments, cut by the device or by the port */
};

/* The threads that serve a host by the port. */
struct port_threads {
    uint32_t n;         /* 1 to PORT_THREADS_MAX */
    const uint8_t *key; /* PORT_RSS_KEY bytes: the Toeplitz hash by it, modulo `table`, is i: the frame is for thread i % n. NULL: no
                         * such rule */
    uint32_t table;     /* a power of two */
};

/* One line each. */
struct port_failure {
    char text[256], hint[256];
};

struct port_stats {
    const char *driver, *kind;
    const char *copies; /* what the driver and the kernel copy */
    const char *tso;    /* who cuts long segments: device, port, off */
    bool link_up, bell_up;
    int queue_fd; /* of the device itself, -1 none */
    uint32_t caps;
    uint64_t rx_packets, rx_bytes, rx_missed, rx_errors, rx_nombuf;
    uint64_t tx_packets, tx_bytes, tx_errors;
    uint64_t tx_cut_lost; /* frames of long segments that the device did not take after it took some */
    uint64_t rx_long; /* longer than the MTU: offloads are on at the other end. They were cut off and dropped. */
    uint64_t wakes;
    uint32_t queues;    /* each way */
    const char *spread; /* what decides by which of them a frame comes: none (there is one), device, rss (as port_threads says) */
};

/* What one thread does. */
struct port_thread_stats {
    uint32_t queues; /* that it receives by */
    uint64_t rx_frames;
};

struct port;

/* 0, or -1 with what was expected and what came. */
int port_spec_parse(const char *text, struct port_spec *spec, char *why, size_t why_size);

/* Removes a socket file that was left by a program that is gone. For the `socket=` of a memif server, before EAL starts:
 * the driver does not get over one. */
bool port_remove_stale_socket(const char *path);

/* Configures and starts the device, with a queue each way for each of the threads where it has so many; NULL: there is one thread.
 * Where the device was made with several queues (qpairs=, queue_count=) all are used: thread t receives by queues t, t + n and so
 * on. Frames come in buffers of `rx_pool`, as rxpool_create() makes it, at least PORT_RX_POOL_MIN buffers, each with room for a
 * frame, which outlives the port. NULL: failed, see *f; the device is then closed unless another port has it. */
struct port *port_open(const struct port_spec *spec, const struct port_threads *threads, struct rte_mempool *rx_pool,
                       struct port_failure *f);
/* Closes the device, too: EAL no longer has it. Puts back what was changed on the kernel's interface. */
void port_close(struct port *p);
/* The kernel's interface whose packets come by the port instead; 0: there is none. */
unsigned port_kernel_if(const struct port *p);
/* For stack_add_port(), of the stack of that thread. `conf` refers to the port. */
void port_conf(struct port *p, uint32_t thread, struct net_port_conf *conf);

/* The frames are the caller's: writable, no one else refers to them. */
uint16_t port_rx(struct port *p, uint32_t thread, struct rte_mbuf **frames, uint16_t n);
/* A virtual link leaves transport checksums unfinished; port_rx() marks such frames as good. For a stack that wants the sum
 * itself: computes it. False: it is no such frame. The frame is in one piece. */
bool port_finish_sum(struct rte_mbuf *m);

/* Whoever wants to see each frame that came or went: `len` bytes, the first `present` of them in iov. For a port that computes
 * checksums itself, what goes has none yet. */
typedef void port_tap_fn(void *arg, uint32_t number, bool out, const struct iovec *iov, uint32_t len, uint32_t present);
/* NULL: nobody. `arg` and `number` are what it is called with, by several threads at a time. While none of them uses the port. */
void port_tap(struct port *p, port_tap_fn *fn, void *arg, uint32_t number);

/* Stays the same while the port is open; -1: the thread receives nothing by it. */
int port_sleep_fd(const struct port *p, uint32_t thread);
/* UINT64_MAX: the descriptor alone suffices. Ask again before each sleep. */
uint64_t port_sleep_max_ns(const struct port *p, uint32_t thread);
bool port_sleep(struct port *p, uint32_t thread);
void port_wake(struct port *p, uint32_t thread);

void port_stats(struct port *p, struct port_stats *stats);
/* How often the link came up since the port was opened; the first connection of a memif counts. For any thread. */
uint32_t port_link_ups(const struct port *p);
void port_thread_stats(const struct port *p, uint32_t thread, struct port_thread_stats *stats);
/* A line that deserves to be logged and was not yet, or NULL: frames that were cut off, a device that went away. */
const char *port_warning(struct port *p);
/* Will port_warning() have one? For any thread. */
bool port_has_warning(const struct port *p);

#endif
