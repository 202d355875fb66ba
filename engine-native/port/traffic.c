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
static uint16_t inspect(struct lane *l, struct rte_mbuf **frames, uint16_t n)
{
    const struct port *p = l->port;
    uint16_t kept = 0;
    for (uint16_t i = 0; i < n; i++) {
        if (p->frame_max != 0 && rte_pktmbuf_pkt_len(frames[i]) >= p->frame_max) {
            lane_count(&l->rx_long, 1);
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

static __rte_noinline uint16_t from_stash(struct lane *l, struct rte_mbuf **frames, uint16_t n)
{
    n = RTE_MIN(n, l->stashed);
    memcpy(frames, l->stash, n * sizeof *frames);
    l->stashed = (uint16_t)(l->stashed - n);
    memmove(l->stash, l->stash + n, l->stashed * sizeof *frames);
    return n;
}

/* By several queues in turn, so that none waits for another to be empty. */
static __rte_noinline uint16_t receive_in_turn(struct lane *l, struct rte_mbuf **frames, uint16_t n)
{
    const struct port *p = l->port;
    uint16_t got = 0;
    for (uint16_t i = 0; i < l->nrx && got < n; i++) {
        got = (uint16_t)(got + rte_eth_rx_burst(p->id, l->at, frames + got, (uint16_t)(n - got)));
        l->at = (uint16_t)(l->at + p->threads.n);
        if (l->at >= p->queues)
            l->at = l->first;
    }
    return got;
}

static inline uint16_t receive(struct lane *l, struct rte_mbuf **frames, uint16_t n)
{
    return l->nrx == 1 ? rte_eth_rx_burst(l->port->id, l->first, frames, n) : receive_in_turn(l, frames, n);
}

uint16_t port_rx(struct port *p, uint32_t thread, struct rte_mbuf **frames, uint16_t n)
{
    struct lane *l = p->lane[thread];
    if (l->stashed > 0)
        return from_stash(l, frames, n);
    if (l->nrx == 0)
        return 0;
    if (p->kind == PORT_MEMIF && !is_ready(p))
        service(p);
    if (!is_ready(p))
        return 0;
    if (p->tap.trigger != NULL)
        p->tap.trigger(0);
    n = receive(l, frames, n);
    if (n > 0) {
        l->quiet = 0;
        lane_count(&l->rx_frames, n);
    }
    if (n > 0 && (p->mark_sums || p->frame_max != 0))
        n = inspect(l, frames, n);
    if (p->tapped != NULL)
        tell(p, false, frames, n);
    if (p->kind == PORT_MEMIF && memif_is_due(&p->memif, n))
        service(p);
    return n;
}

/* Which frames went is known when the driver has them: they are kept until they were looked at. */
static uint16_t transmit_tapped(struct lane *l, struct rte_mbuf **frames, uint16_t n)
{
    struct port *p = l->port;
    struct rte_mbuf *kept[NET_TX_BURST];
    n = RTE_MIN(n, (uint16_t)NET_TX_BURST);
    memcpy(kept, frames, n * sizeof *kept);
    for (uint16_t i = 0; i < n; i++)
        rte_pktmbuf_refcnt_update(kept[i], 1);
    uint16_t sent = rte_eth_tx_burst(p->id, l->tx, frames, n);
    tell(p, true, kept, sent);
    for (uint16_t i = 0; i < n; i++) {
        if (i < sent)
            rte_pktmbuf_free(kept[i]);
        else
            rte_pktmbuf_refcnt_update(kept[i], -1);
    }
    return sent;
}

static __rte_always_inline uint16_t burst(struct lane *l, struct rte_mbuf **frames, uint16_t n)
{
    return l->port->tapped != NULL ? transmit_tapped(l, frames, n) : rte_eth_tx_burst(l->port->id, l->tx, frames, n);
}

/* One that is to be cut; what the device takes of it is gone, the rest is lost. False: the device is full, or nothing was taken. */
static bool transmit_cut(struct lane *l, struct rte_mbuf *m, bool *taken)
{
    struct rte_mbuf *cut[NET_TSO_FRAMES];
    uint16_t n = gso_cut(&l->port->gso, m, cut);
    *taken = n > 0;
    if (n == 0)
        return false;
    rte_pktmbuf_free(m);
    uint16_t sent = burst(l, cut, n);
    rte_pktmbuf_free_bulk(cut + sent, n - sent);
    lane_count(&l->cut_lost, n - sent);
    return sent == n;
}

/* In their order. */
static uint16_t transmit_some_cut(struct lane *l, struct rte_mbuf **frames, uint16_t n)
{
    uint16_t done = 0;
    for (bool room = true; room && done < n;) {
        uint16_t run = done;
        while (run < n && !(frames[run]->ol_flags & RTE_MBUF_F_TX_TCP_SEG))
            run++;
        if (run > done) {
            done = (uint16_t)(done + burst(l, frames + done, (uint16_t)(run - done)));
            room = done == run;
        } else {
            bool taken;
            room = transmit_cut(l, frames[done], &taken);
            done = (uint16_t)(done + taken);
        }
    }
    return done;
}

static uint16_t transmit(void *dev, struct rte_mbuf **frames, uint16_t n)
{
    struct lane *l = dev;
    struct port *p = l->port;
    lock(p);
    if (!is_ready(p)) {
        unlock(p);
        return 0;
    }
    n = p->gso.heads != NULL ? transmit_some_cut(l, frames, n) : burst(l, frames, n);
    if (p->bell.up)
        bell_ring(&p->bell);
    unlock(p);
    return n;
}

void port_conf(struct port *p, uint32_t thread, struct net_port_conf *conf)
{
    static const struct net_port_ops ops = {.tx_burst = transmit};
    *conf = (struct net_port_conf){.ops = &ops, .dev = p->lane[thread], .name = p->spec.device, .mac = p->mac, .mtu = p->mtu,
                                   .caps = p->caps, .tso_max = p->tso_max, .addr = p->spec.addr, .prefix_len = p->spec.prefix_len,
                                   .gateway = p->spec.gateway, .has6 = p->spec.has_ip6, .prefix6_len = p->spec.prefix6};
    memcpy(conf->addr6.b, p->spec.ip6, sizeof p->spec.ip6);
    memcpy(conf->gateway6.b, p->spec.gateway6, sizeof p->spec.gateway6);
    conf->ra = p->spec.ra;
    conf->gro = p->spec.gro;
    conf->probe = p->spec.probe;
    conf->redirects = p->spec.redirects;
    conf->nroutes = p->spec.nroutes;
    memcpy(conf->route, p->spec.route, sizeof conf->route);
}

unsigned port_kernel_if(const struct port *p)
{
    return p->kind == PORT_AF_PACKET || p->kind == PORT_AF_XDP ? p->iface.index : 0;
}

/* ---- Sleep ---- */

int port_sleep_fd(const struct port *p, uint32_t thread)
{
    return p->lane[thread]->set;
}

/* A thousand wake-ups a second cost 1 % of a core: not for long. */
static uint64_t poll_ns(const struct lane *l)
{
    return l->quiet < POLL_QUIET ? SLEEP_POLL_NS : SLEEP_QUIET_NS;
}

uint64_t port_sleep_max_ns(const struct port *p, uint32_t thread)
{
    const struct lane *l = p->lane[thread];
    if (l->nrx == 0)
        return UINT64_MAX;
    if (p->kind == PORT_MEMIF)
        return !p->memif.held ? SLEEP_LINK_NS : p->bell.up ? SERVICE_NS : poll_ns(l);
    if (p->queue_gone || (p->kind == PORT_PCI ? l->rx_intr : l->fds))
        return UINT64_MAX;
    return poll_ns(l);
}

/* Interrupts of several queues may be bits of one word of the driver's. */
static void arm(struct lane *l)
{
    struct port *p = l->port;
    pthread_mutex_lock(&p->intr_lock);
    for (uint16_t q = l->first; q < p->queues; q = (uint16_t)(q + p->threads.n))
        if (rte_eth_dev_rx_intr_enable(p->id, q) != 0)
            l->rx_intr = false;
    pthread_mutex_unlock(&p->intr_lock);
}

static void disarm(const struct lane *l)
{
    struct port *p = l->port;
    pthread_mutex_lock(&p->intr_lock);
    for (uint16_t q = l->first; q < p->queues; q = (uint16_t)(q + p->threads.n))
        rte_eth_dev_rx_intr_disable(p->id, q);
    pthread_mutex_unlock(&p->intr_lock);
}

bool port_sleep(struct port *p, uint32_t thread)
{
    struct lane *l = p->lane[thread];
    if (l->nrx == 0)
        return true;
    if (thread == 0)
        link_ask(p);
    l->quiet++;
    if (p->bell.up)
        bell_asleep(&p->bell, true);
    if (l->rx_intr)
        arm(l);
    /* The other kinds' descriptors are readable for as long as a frame waits. */
    if ((p->bell.up || l->rx_intr) && l->stashed == 0)
        l->stashed = port_rx(p, thread, l->stash, PORT_STASH);
    if (l->stashed == 0)
        return true;
    port_wake(p, thread);
    return false;
}

/* Each thread takes its own descriptors out of its set, or each of its sleeps would end at once. */
static void gone(struct lane *l)
{
    struct port *p = l->port;
    for (uint16_t q = l->first; !l->gone && q < p->queues; q = (uint16_t)(q + p->threads.n))
        if (p->queue_fd[q] >= 0)
            port_watch(l->set, p->queue_fd[q], false);
    l->gone = true;
    p->queue_gone = true;
}

/* The socket says that it has an error until somebody asks which; a device that is gone says so for ever. */
static void queue_error(struct lane *l, int fd)
{
    const struct port *p = l->port;
    int error = 0;
    socklen_t len = sizeof error;
    bool socket = p->kind == PORT_AF_PACKET || p->kind == PORT_AF_XDP;
    if (!socket || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || !iface_exists(&p->iface))
        gone(l);
}

static void look_at(struct lane *l, const struct epoll_event *event)
{
    struct port *p = l->port;
    if (event->data.fd == p->link.fd)
        link_event(p);
    else if (p->kind == PORT_MEMIF)
        bell_event(&p->bell, l->set, event->data.fd);
    else if (event->events & (EPOLLERR | EPOLLHUP))
        queue_error(l, event->data.fd);
    else if (p->kind == PORT_PCI && read(event->data.fd, &(uint64_t){0}, sizeof(uint64_t)) < 0)
        l->rx_intr = false;
}

void port_wake(struct port *p, uint32_t thread)
{
    struct lane *l = p->lane[thread];
    struct epoll_event events[PORT_QUEUES_MAX];
    if (l->nrx == 0)
        return;
    int n = epoll_wait(l->set, events, RTE_DIM(events), 0);
    lock(p);
    lane_count(&l->wakes, 1);
    for (int i = 0; i < n; i++)
        look_at(l, &events[i]);
    if (l->rx_intr)
        disarm(l);
    if (p->bell.mine != NULL)
        bell_asleep(&p->bell, false);
    unlock(p);
}

/* ---- Figures ---- */

bool port_link_up(struct port *p)
{
    struct rte_eth_link link;
    if (!p->started || p->queue_gone)
        return false;
    /* The driver asks by a name that may be another interface's. */
    if (p->kind == PORT_TAP && p->queue_fd[0] >= 0)
        return tap_is_up(p->queue_fd[0]);
    if (p->iface.index != 0) {
        if (!iface_exists(&p->iface))
            gone(p->lane[0]);
        return iface_is_running(&p->iface);
    }
    return rte_eth_link_get_nowait(p->id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

/* The kernel's count starts anew with each question. */
static uint64_t missed_since(const struct port *p)
{
    uint64_t sum = 0;
    for (uint16_t q = 0; p->kind == PORT_AF_PACKET && !p->queue_gone && q < p->queues; q++) {
        struct tpacket_stats packet = {0};
        socklen_t len = sizeof packet;
        if (getsockopt(p->queue_fd[q], SOL_PACKET, PACKET_STATISTICS, &packet, &len) == 0)
            sum += packet.tp_drops;
    }
    return sum;
}

/* Of all threads. `figure`: offset of it in a lane. */
static uint64_t sum_of(const struct port *p, size_t figure)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < p->threads.n; i++)
        sum += atomic_load_explicit((const _Atomic uint64_t *)((const char *)p->lane[i] + figure), memory_order_relaxed);
    return sum;
}

void port_stats(struct port *p, struct port_stats *s)
{
    static const char *const spreads[] = {[PORT_SPREAD_NONE] = "none", [PORT_SPREAD_DEVICE] = "device", [PORT_SPREAD_OURS] = "rss"};
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
    if (p->started)
        rte_eth_stats_get(p->id, &eth);
    p->rx_missed += missed_since(p);
    *s = (struct port_stats){.driver = p->driver, .kind = kinds[p->kind].name, .copies = kinds[p->kind].copies,
                             .tso = !(p->caps & NET_CAP_TX_TSO4) ? "off" : p->gso.heads != NULL ? "port" : "device",
                             .link_up = port_link_up(p), .bell_up = p->bell.up, .queue_fd = p->queue_fd[0], .caps = p->caps,
                             .rx_packets = eth.ipackets, .rx_bytes = eth.ibytes, .rx_missed = eth.imissed + p->rx_missed,
                             .rx_errors = eth.ierrors, .rx_nombuf = eth.rx_nombuf, .tx_packets = eth.opackets,
                             .tx_bytes = eth.obytes, .tx_errors = eth.oerrors, .tx_cut_lost = sum_of(p, offsetof(struct lane, cut_lost)),
                             .rx_long = sum_of(p, offsetof(struct lane, rx_long)),
                             .wakes = sum_of(p, offsetof(struct lane, wakes)), .queues = p->queues, .spread = spreads[p->spread]};
}

void port_thread_stats(const struct port *p, uint32_t thread, struct port_thread_stats *s)
{
    const struct lane *l = p->lane[thread];
    *s = (struct port_thread_stats){.queues = l->nrx, .rx_frames = atomic_load_explicit(&l->rx_frames, memory_order_relaxed)};
}

static bool untold_long(const struct port *p)
{
    return !p->told_long && sum_of(p, offsetof(struct lane, rx_long)) > 0;
}

bool port_has_warning(const struct port *p)
{
    return (p->queue_gone && !p->told_gone) || untold_long(p);
}

const char *port_warning(struct port *p)
{
    if (p->queue_gone && !p->told_gone) {
        p->told_gone = true;
        snprintf(p->warning, sizeof p->warning, "%s: the interface was removed; restart the engine once it is back",
                 p->spec.device);
        return p->warning;
    }
    if (untold_long(p)) {
        p->told_long = true;
        snprintf(p->warning, sizeof p->warning,
                 "%s: frames longer than the mtu came and were dropped. At the other end: ip link set IFACE gso_max_segs 1. "
                 "Or net_af_xdp, which also takes IP fragments", p->spec.device);
        return p->warning;
    }
    return NULL;
}
