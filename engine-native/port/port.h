/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Ports: DPDK devices as the stack's network interfaces. EAL made the device (`--vdev`, `-a`); a port configures it with
 * one queue each way, receives, sends and, above all, can be slept on: an idle engine wakes on a packet on every kind.
 *
 *     n = port_rx(p, frames, n);              until it returns 0
 *     if (port_sleep(p)) {                    false: frames may wait
 *         wait for port_sleep_fd(p), at most port_sleep_max_ns(p);
 *         port_wake(p);                       also when the wait ended for another reason
 *     }
 *
 * A port belongs to one thread, all memif ports of a process to the same one; others may send after port_share(). Addresses are in
 * network order. */
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
/* Buffers that a device may keep: net_af_xdp fills its ring with 2,048. */
#define PORT_RX_POOL_MIN 4096u

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
    enum port_switch tso; /* long TCP segments, cut by the device or by the port */
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
};

struct port;

/* 0, or -1 with what was expected and what came. */
int port_spec_parse(const char *text, struct port_spec *spec, char *why, size_t why_size);

/* Removes a socket file that was left by a program that is gone. For the `socket=` of a memif server, before EAL starts:
 * the driver does not get over one. */
bool port_remove_stale_socket(const char *path);

/* Configures and starts the device. Frames come in buffers of `rx_pool`, as rxpool_create() makes it, at least PORT_RX_POOL_MIN
 * buffers, each with room for a frame, which outlives the port. NULL: failed, see *f; the device is then closed unless
 * another port has it. */
struct port *port_open(const struct port_spec *spec, struct rte_mempool *rx_pool, struct port_failure *f);
/* Closes the device, too: EAL no longer has it. Puts back what was changed on the kernel's interface. */
void port_close(struct port *p);
/* From now on other threads than the port's may send by it, too. Before they begin. */
void port_share(struct port *p);
/* The kernel's interface whose packets come by the port instead; 0: there is none. */
unsigned port_kernel_if(const struct port *p);
/* For stack_add_port(). `conf` refers to the port. */
void port_conf(struct port *p, struct net_port_conf *conf);

/* The frames are the caller's: writable, no one else refers to them. */
uint16_t port_rx(struct port *p, struct rte_mbuf **frames, uint16_t n);
/* A virtual link leaves transport checksums unfinished; port_rx() marks such frames as good. For a stack that wants the sum
 * itself: computes it. False: it is no such frame. The frame is in one piece. */
bool port_finish_sum(struct rte_mbuf *m);

/* Whoever wants to see each frame that came or went: `len` bytes, the first `present` of them in iov. For a port that computes
 * checksums itself, what goes has none yet. */
typedef void port_tap_fn(void *arg, uint32_t number, bool out, const struct iovec *iov, uint32_t len, uint32_t present);
/* NULL: nobody. `arg` and `number` are what it is called with. */
void port_tap(struct port *p, port_tap_fn *fn, void *arg, uint32_t number);

/* Stays the same while the port is open. */
int port_sleep_fd(const struct port *p);
/* UINT64_MAX: the descriptor alone suffices. Ask again before each sleep. */
uint64_t port_sleep_max_ns(const struct port *p);
bool port_sleep(struct port *p);
void port_wake(struct port *p);

void port_stats(struct port *p, struct port_stats *stats);
/* A line that deserves to be logged and was not yet, or NULL: frames that were cut off, a device that went away. */
const char *port_warning(struct port *p);

#endif
