/* SPDX-License-Identifier: BSD-3-Clause
 * The engine's ports as libfstack's devices. Its loop calls DPDK's inlined burst functions, which go through a table of
 * function pointers per port (struct rte_eth_fp_ops): the table that it gets is the one below. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "fstack.h"
#include "seam.h"

#define DEVICE_DESCRIPTORS 1024u
#define BSD_M_NOWAIT 1

/* libfstack's: a copy of a packet in memory of FreeBSD's own, and the way of a frame from a device to FreeBSD. */
void *m_dup(const void *packet, int how);
void ff_mbuf_free(void *packet);
void ff_veth_process_packet(void *ifp, void *packet);
void __wrap_ff_veth_process_packet(void *ifp, void *packet);

/* Filled by fs_devices_start(): libfstack finds it by name. */
struct rte_eth_fp_ops zs_fstack_fp_ops[RTE_MAX_ETHPORTS];

static struct fs_device *device(uint16_t port)
{
    struct fstack *fs = fs_seam_stack();
    return fs != NULL && port < fs->nports ? &fs->device[port] : NULL;
}

/* ---- Frames ---- */

static uint16_t receive(void *queue, struct rte_mbuf **frames, uint16_t n)
{
    struct fs_device *d = queue;
    struct fstack *fs = d->fs;
    n = (uint16_t)RTE_MIN((uint32_t)n, fs->rx_budget);
    if (n == 0)
        return 0;
    n = port_rx(d->at.port, 0, frames, n);
    /* A virtual link leaves checksums unfinished, and the port marked those as good; FreeBSD computes them all. */
    for (uint16_t i = 0; i < n; i++)
        if ((frames[i]->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
            d->finished_sums += port_finish_sum(frames[i]);
    if (!fs->urgent)
        fs_urgent_sniff(fs, frames, n);
    fs->rx_budget -= n;
    fs->rx_taken += n;
    return n;
}

/* FreeBSD keeps a frame in its port's buffer for as long as a program does not read it, however few bytes it has. Programs that
 * stand still must not take the buffers that everybody receives into (and af_xdp sends from): when those are scarce it gets
 * a copy, and its own limits (kern.ipc.nmbclusters) hold for that. */
void __wrap_ff_veth_process_packet(void *ifp, void *packet)
{
    struct fstack *fs = fs_seam_stack();
    if (fs->rx_scarce) {
        void *copy = m_dup(packet, BSD_M_NOWAIT);
        ff_mbuf_free(packet);
        packet = copy;
        fs->rx_copied += copy != NULL;
        fs->rx_dropped += copy == NULL;
    }
    if (packet != NULL)
        ff_veth_process_packet(ifp, packet);
}

void fs_device_flush(struct fs_device *d)
{
    uint16_t sent = 0;
    while (sent < d->nwaiting) {
        uint16_t n = d->at.conf.ops->tx_burst(d->at.conf.dev, d->waiting + sent, (uint16_t)(d->nwaiting - sent));
        if (n == 0)
            break;
        sent = (uint16_t)(sent + n);
    }
    d->nwaiting = (uint16_t)(d->nwaiting - sent);
    memmove(d->waiting, d->waiting + sent, d->nwaiting * sizeof *d->waiting);
}

/* Takes all of them: libfstack drops what is left over, and a full ring is no reason to lose what TCP then sends again. */
static uint16_t transmit(void *queue, struct rte_mbuf **frames, uint16_t n)
{
    struct fs_device *d = queue;
    uint16_t sent = 0;
    fs_neigh_sniff(d, frames, n);
    if (d->nwaiting == 0)
        while (sent < n) {
            uint16_t took = d->at.conf.ops->tx_burst(d->at.conf.dev, frames + sent, (uint16_t)(n - sent));
            if (took == 0)
                break;
            sent = (uint16_t)(sent + took);
        }
    for (; sent < n; sent++) {
        if (d->nwaiting < DEVICE_BACKLOG) {
            d->waiting[d->nwaiting++] = frames[sent];
        } else {
            rte_pktmbuf_free(frames[sent]);
            d->tx_dropped++;
        }
    }
    return n;
}

void fs_devices_start(struct fstack *fs)
{
    for (uint32_t i = 0; i < fs->nports; i++) {
        struct fs_device *d = &fs->device[i];
        struct rte_eth_fp_ops *ops = &zs_fstack_fp_ops[i];
        d->queue = d;
        ops->rx_pkt_burst = receive;
        ops->tx_pkt_burst = transmit;
        ops->rxq.data = ops->txq.data = &d->queue; /* one queue each way: arrays of one */
        ops->rxq.clbk = ops->txq.clbk = &d->no_callback;
    }
}

/* ---- Control ---- */

int zs_fstack_macaddr_get(uint16_t port, struct rte_ether_addr *mac)
{
    const struct fs_device *d = device(port);
    if (d == NULL)
        return -ENODEV;
    *mac = d->at.conf.mac;
    return 0;
}

/* No offloads: FreeBSD computes what it sends and checks what it receives, fragments included. */
int zs_fstack_dev_info_get(uint16_t port, struct rte_eth_dev_info *info)
{
    if (device(port) == NULL)
        return -ENODEV;
    *info = (struct rte_eth_dev_info){.driver_name = "zstack", .max_rx_queues = 1, .max_tx_queues = 1,
                                      .min_mtu = RTE_ETHER_MIN_MTU, .max_mtu = PORT_MTU_MAX,
                                      .max_rx_pktlen = PORT_MTU_MAX + RTE_ETHER_HDR_LEN};
    return 0;
}

int zs_fstack_link_get_nowait(uint16_t port, struct rte_eth_link *link)
{
    *link = (struct rte_eth_link){.link_speed = RTE_ETH_SPEED_NUM_UNKNOWN, .link_duplex = RTE_ETH_LINK_FULL_DUPLEX,
                                  .link_status = RTE_ETH_LINK_UP};
    return device(port) == NULL ? -ENODEV : 0; /* down or not, TCP waits for it */
}

uint16_t zs_fstack_dev_count_avail(void)
{
    return (uint16_t)fs_seam_stack()->nports;
}

/* The port is configured and started, in one buffer pool and with one queue each way. */
static int ready(uint16_t port)
{
    return device(port) == NULL ? -ENODEV : 0;
}

int zs_fstack_dev_configure(uint16_t port, uint16_t rxq, uint16_t txq, const struct rte_eth_conf *conf)
{
    (void)conf;
    return rxq == 1 && txq == 1 ? ready(port) : -EINVAL;
}

int zs_fstack_tx_queue_setup(uint16_t port, uint16_t queue, uint16_t n, unsigned socket, const struct rte_eth_txconf *conf)
{
    (void)queue;
    (void)n;
    (void)socket;
    (void)conf;
    return ready(port);
}

int zs_fstack_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t n, unsigned socket, const struct rte_eth_rxconf *conf,
                             struct rte_mempool *pool)
{
    (void)queue;
    (void)n;
    (void)socket;
    (void)conf;
    (void)pool;
    return ready(port);
}

int zs_fstack_promiscuous_enable(uint16_t port)
{
    return ready(port);
}

int zs_fstack_dev_start(uint16_t port)
{
    return ready(port);
}

int zs_fstack_adjust_desc(uint16_t port, uint16_t *rx, uint16_t *tx)
{
    *rx = *tx = DEVICE_DESCRIPTORS;
    return ready(port);
}
