/* SPDX-License-Identifier: BSD-3-Clause
 * A started port: frames, sleep, figures. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#define TAP_PIECES 32u /* of a frame that are told */

uint64_t port_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 * MS_NS + (uint64_t)t.tv_nsec;
}

bool port_watch(int set, int fd, bool add)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(set, add ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, &e) == 0;
}

/* ---- Frames ---- */

/* False while no burst may run. */
static bool is_ready(const struct port *p)
{
    return p->started && !p->queue_gone && (p->kind != PORT_MEMIF || memif_is_ready(&p->memif));
}

/* Drops what was cut off and marks what the kernel left unfinished. */
static uint16_t inspect(struct port *p, struct rte_mbuf **frames, uint16_t n)
{
    uint16_t kept = 0;
    for (uint16_t i = 0; i < n; i++) {
        if (p->frame_max != 0 && rte_pktmbuf_pkt_len(frames[i]) >= p->frame_max) {
            p->rx_long++;
            rte_pktmbuf_free(frames[i]);
            continue;
        }
        if (p->mark_sums)
            iface_mark_unfinished(frames[i]);
        frames[kept++] = frames[i];
    }
    return kept;
}

void port_tap(struct port *p, port_tap_fn *fn, void *arg, uint32_t number)
{
    p->tapped = fn;
    p->tapped_arg = arg;
    p->tapped_number = number;
}

static void tell(struct port *p, bool out, struct rte_mbuf **frames, uint16_t n)
{
    for (uint16_t i = 0; i < n; i++) {
        struct iovec iov[TAP_PIECES];
        uint32_t pieces = 0, present = 0;
        for (struct rte_mbuf *s = frames[i]; s != NULL && pieces < TAP_PIECES; s = s->next) {
            iov[pieces++] = (struct iovec){rte_pktmbuf_mtod(s, void *), rte_pktmbuf_data_len(s)};
            present += rte_pktmbuf_data_len(s);
        }
        p->tapped(p->tapped_arg, p->tapped_number, out, iov, rte_pktmbuf_pkt_len(frames[i]), present);
    }
}

void port_share(struct port *p)
{
    p->shared = true;
}

static void lock(struct port *p)
{
    if (p->shared)
        pthread_mutex_lock(&p->lock);
}

static void unlock(struct port *p)
{
    if (p->shared)
        pthread_mutex_unlock(&p->lock);
}

/* The connection of a memif changes in the thread that receives; nobody may be sending then. */
static void service(struct port *p)
{
    lock(p);
    memif_service(p);
    unlock(p);
}

uint16_t port_rx(struct port *p, struct rte_mbuf **frames, uint16_t n)
{
    if (p->stashed > 0) {
        n = RTE_MIN(n, p->stashed);
        memcpy(frames, p->stash, n * sizeof *frames);
        p->stashed = (uint16_t)(p->stashed - n);
        memmove(p->stash, p->stash + n, p->stashed * sizeof *frames);
        return n;
    }
    if (p->kind == PORT_MEMIF)
        service(p);
    if (!is_ready(p))
        return 0;
    if (p->tap.trigger != NULL)
        p->tap.trigger(0);
    n = rte_eth_rx_burst(p->id, 0, frames, n);
    if (n > 0)
        p->quiet = 0;
    if (n > 0 && (p->mark_sums || p->frame_max != 0))
        n = inspect(p, frames, n);
    if (p->tapped != NULL)
        tell(p, false, frames, n);
    return n;
}

/* Which frames went is known when the driver has them: they are kept until they were looked at. */
static uint16_t transmit_tapped(struct port *p, struct rte_mbuf **frames, uint16_t n)
{
    struct rte_mbuf *kept[NET_TX_BURST];
    n = RTE_MIN(n, (uint16_t)NET_TX_BURST);
    memcpy(kept, frames, n * sizeof *kept);
    for (uint16_t i = 0; i < n; i++)
        rte_pktmbuf_refcnt_update(kept[i], 1);
    uint16_t sent = rte_eth_tx_burst(p->id, 0, frames, n);
    tell(p, true, kept, sent);
    for (uint16_t i = 0; i < n; i++) {
        if (i < sent)
            rte_pktmbuf_free(kept[i]);
        else
            rte_pktmbuf_refcnt_update(kept[i], -1);
    }
    return sent;
}

static uint16_t burst(struct port *p, struct rte_mbuf **frames, uint16_t n)
{
    return p->tapped != NULL ? transmit_tapped(p, frames, n) : rte_eth_tx_burst(p->id, 0, frames, n);
}

/* One that is to be cut; what the device takes of it is gone, the rest is lost. False: the device is full, or nothing was taken. */
static bool transmit_cut(struct port *p, struct rte_mbuf *m, bool *taken)
{
    struct rte_mbuf *cut[NET_TSO_FRAMES];
    uint16_t n = gso_cut(&p->gso, m, cut);
    *taken = n > 0;
    if (n == 0)
        return false;
    rte_pktmbuf_free(m);
    uint16_t sent = burst(p, cut, n);
    rte_pktmbuf_free_bulk(cut + sent, n - sent);
    p->gso.lost += n - sent;
    return sent == n;
}

/* In their order. */
static uint16_t transmit_some_cut(struct port *p, struct rte_mbuf **frames, uint16_t n)
{
    uint16_t done = 0;
    for (bool room = true; room && done < n;) {
        uint16_t run = done;
        while (run < n && !(frames[run]->ol_flags & RTE_MBUF_F_TX_TCP_SEG))
            run++;
        if (run > done) {
            done = (uint16_t)(done + burst(p, frames + done, (uint16_t)(run - done)));
            room = done == run;
        } else {
            bool taken;
            room = transmit_cut(p, frames[done], &taken);
            done = (uint16_t)(done + taken);
        }
    }
    return done;
}

static uint16_t transmit(void *dev, struct rte_mbuf **frames, uint16_t n)
{
    struct port *p = dev;
    lock(p);
    if (!is_ready(p)) {
        unlock(p);
        return 0;
    }
    n = p->gso.heads != NULL ? transmit_some_cut(p, frames, n) : burst(p, frames, n);
    if (p->bell.up)
        bell_ring(&p->bell);
    unlock(p);
    return n;
}

void port_conf(struct port *p, struct net_port_conf *conf)
{
    static const struct net_port_ops ops = {.tx_burst = transmit};
    *conf = (struct net_port_conf){.ops = &ops, .dev = p, .name = p->spec.device, .mac = p->mac, .mtu = p->mtu,
                                   .caps = p->caps, .tso_max = p->tso_max, .addr = p->spec.addr, .prefix_len = p->spec.prefix_len,
                                   .gateway = p->spec.gateway, .has6 = p->spec.has_ip6, .prefix6_len = p->spec.prefix6};
    memcpy(conf->addr6.b, p->spec.ip6, sizeof p->spec.ip6);
    memcpy(conf->gateway6.b, p->spec.gateway6, sizeof p->spec.gateway6);
    conf->ra = p->spec.ra;
    conf->gro = p->spec.gro;
    conf->nroutes = p->spec.nroutes;
    memcpy(conf->route, p->spec.route, sizeof conf->route);
}

unsigned port_kernel_if(const struct port *p)
{
    return p->kind == PORT_AF_PACKET || p->kind == PORT_AF_XDP ? p->iface.index : 0;
}

/* ---- Sleep ---- */

int port_sleep_fd(const struct port *p)
{
    return p->set;
}

/* A thousand wake-ups a second cost 1 % of a core: not for long. */
static uint64_t poll_ns(const struct port *p)
{
    return p->quiet < POLL_QUIET ? SLEEP_POLL_NS : SLEEP_QUIET_NS;
}

uint64_t port_sleep_max_ns(const struct port *p)
{
    if (p->kind == PORT_MEMIF)
        return !p->memif.held ? SLEEP_LINK_NS : p->bell.up ? SERVICE_NS : poll_ns(p);
    if (p->queue_gone || (p->kind == PORT_PCI ? p->rx_intr : p->queue_fd >= 0))
        return UINT64_MAX;
    return poll_ns(p);
}

bool port_sleep(struct port *p)
{
    if (p->kind == PORT_MEMIF)
        service(p);
    p->quiet++;
    if (p->bell.up)
        bell_asleep(&p->bell, true);
    if (p->rx_intr && p->kind == PORT_PCI && rte_eth_dev_rx_intr_enable(p->id, 0) != 0)
        p->rx_intr = false;
    /* The other kinds' descriptors are readable for as long as a frame waits. */
    if ((p->bell.up || (p->rx_intr && p->kind == PORT_PCI)) && p->stashed == 0)
        p->stashed = port_rx(p, p->stash, PORT_STASH);
    if (p->stashed == 0)
        return true;
    port_wake(p);
    return false;
}

static void gone(struct port *p)
{
    if (!p->queue_gone)
        port_watch(p->set, p->queue_fd, false);
    p->queue_gone = true;
}

/* The socket says that it has an error until somebody asks which; a device that is gone says so for ever. */
static void queue_error(struct port *p)
{
    int error = 0;
    socklen_t len = sizeof error;
    bool socket = p->kind == PORT_AF_PACKET || p->kind == PORT_AF_XDP;
    if (!socket || getsockopt(p->queue_fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || !iface_exists(&p->iface))
        gone(p);
}

void port_wake(struct port *p)
{
    struct epoll_event events[8];
    int n = epoll_wait(p->set, events, RTE_DIM(events), 0);
    lock(p);
    p->wakes++;
    for (int i = 0; i < n; i++) {
        if (events[i].data.fd != p->queue_fd)
            bell_event(&p->bell, p->set, events[i].data.fd);
        else if (events[i].events & (EPOLLERR | EPOLLHUP))
            queue_error(p);
        else if (p->kind == PORT_PCI && read(p->queue_fd, &(uint64_t){0}, sizeof(uint64_t)) < 0)
            p->rx_intr = false;
    }
    if (p->rx_intr && p->kind == PORT_PCI)
        rte_eth_dev_rx_intr_disable(p->id, 0);
    if (p->bell.mine != NULL)
        bell_asleep(&p->bell, false);
    unlock(p);
}

/* ---- Figures ---- */

static bool link_up(struct port *p)
{
    struct rte_eth_link link;
    if (!p->started || p->queue_gone)
        return false;
    /* The driver asks by a name that may be another interface's. */
    if (p->kind == PORT_TAP && p->queue_fd >= 0)
        return tap_is_up(p->queue_fd);
    if (p->iface.index != 0) {
        if (!iface_exists(&p->iface))
            gone(p);
        return iface_is_running(&p->iface);
    }
    return rte_eth_link_get_nowait(p->id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

void port_stats(struct port *p, struct port_stats *s)
{
    static const struct {
        const char *name, *copies;
    } kinds[] = {
        [PORT_TAP] = {"tap", "received: kernel's packet to buffer, 1 copy per byte; sent: buffer to kernel's packet, 1"},
        [PORT_AF_PACKET] = {"af_packet", "received: kernel's packet to ring, ring to buffer, 2 copies per byte; sent: "
                                         "buffer to ring, 1"},
        [PORT_AF_XDP] = {"af_xdp", "received: 0 copies per byte by the driver, 1 by a kernel in copy mode; sent: buffer to "
                                   "umem, 1, and 1 by a kernel in copy mode"},
        [PORT_MEMIF] = {"memif", "received: ring to buffer, 1 copy per byte; sent: buffer to ring, 1"},
        [PORT_PCI] = {"pci", "none"},
    };
    struct rte_eth_stats eth = {0};
    struct tpacket_stats packet = {0};
    socklen_t len = sizeof packet;
    if (p->started)
        rte_eth_stats_get(p->id, &eth);
    /* The kernel's count starts anew with each question. */
    if (p->kind == PORT_AF_PACKET && !p->queue_gone &&
        getsockopt(p->queue_fd, SOL_PACKET, PACKET_STATISTICS, &packet, &len) == 0)
        p->rx_missed += packet.tp_drops;
    *s = (struct port_stats){.driver = p->driver, .kind = kinds[p->kind].name, .copies = kinds[p->kind].copies,
                             .tso = !(p->caps & NET_CAP_TX_TSO4) ? "off" : p->gso.heads != NULL ? "port" : "device",
                             .link_up = link_up(p), .bell_up = p->bell.up, .queue_fd = p->queue_fd, .caps = p->caps,
                             .rx_packets = eth.ipackets, .rx_bytes = eth.ibytes, .rx_missed = eth.imissed + p->rx_missed,
                             .rx_errors = eth.ierrors, .rx_nombuf = eth.rx_nombuf, .tx_packets = eth.opackets,
                             .tx_bytes = eth.obytes, .tx_errors = eth.oerrors, .tx_cut_lost = p->gso.lost, .rx_long = p->rx_long, .wakes = p->wakes};
}

const char *port_warning(struct port *p)
{
    if (p->queue_gone && !p->told_gone) {
        p->told_gone = true;
        snprintf(p->warning, sizeof p->warning, "%s: the interface was removed; restart the engine once it is back",
                 p->spec.device);
        return p->warning;
    }
    if (p->rx_long > 0 && !p->told_long) {
        p->told_long = true;
        snprintf(p->warning, sizeof p->warning,
                 "%s: frames longer than the mtu came and were dropped. At the other end: ip link set IFACE gso_max_segs 1. "
                 "Or net_af_xdp, which also takes IP fragments", p->spec.device);
        return p->warning;
    }
    return NULL;
}
