/* SPDX-License-Identifier: BSD-3-Clause
 * A port's life. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/if_packet.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"

#define RX_DESCRIPTORS 1024
#define TX_DESCRIPTORS 1024
#define GSO_FRAMES 127u /* at hand at a time: one segment's */
#define AF_PACKET_FRAME 2048u /* the driver's default framesz */
#define AF_PACKET_HEAD 66u    /* of each frame, before the Ethernet header */
#define ETHERNET_HEAD 18u     /* with a VLAN tag */
#define CKSUM_RX (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM)
#define CKSUM_TX_L4 (RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM)

void port_fail(struct port_failure *f, const char *hint, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
    snprintf(f->hint, sizeof f->hint, "%s", hint);
}

const char *port_devargs(const struct rte_eth_dev_info *info)
{
    const struct rte_devargs *args = info->device != NULL ? rte_dev_devargs(info->device) : NULL;
    return args != NULL && args->args != NULL ? args->args : "";
}

const char *port_devarg(const char *args, const char *key, char *value, size_t size)
{
    size_t len = strlen(key);
    for (const char *a = args; *a != 0; a += strcspn(a, ","), a += *a == ',') {
        if (strncmp(a, key, len) == 0 && a[len] == '=') {
            snprintf(value, size, "%.*s", (int)strcspn(a + len + 1, ","), a + len + 1);
            return value;
        }
    }
    return NULL;
}

/* ---- What the device is ---- */

static enum port_kind kind_of(const char *driver)
{
    static const struct {
        const char *driver;
        enum port_kind kind;
    } kinds[] = {{"net_tap", PORT_TAP}, {"net_af_packet", PORT_AF_PACKET}, {"net_af_xdp", PORT_AF_XDP},
                 {"net_memif", PORT_MEMIF}};
    for (size_t i = 0; i < RTE_DIM(kinds); i++)
        if (strcmp(driver, kinds[i].driver) == 0)
            return kinds[i].kind;
    return PORT_PCI;
}

static bool find(struct port *p, struct port_failure *f)
{
    struct rte_eth_dev_owner owner = {.name = "zstack"}, other = {.id = RTE_ETH_DEV_NO_OWNER};
    if (rte_eth_dev_get_port_by_name(p->spec.device, &p->id) != 0) {
        port_fail(f,
                  "name it among the EAL arguments (--vdev=net_tap0,iface=... or -a 0000:03:00.0), with the same name as "
                  "after --port", "DPDK has no device %s", p->spec.device);
        return false;
    }
    rte_eth_dev_owner_get(p->id, &other);
    if (other.id != RTE_ETH_DEV_NO_OWNER || rte_eth_dev_owner_new(&owner.id) != 0 ||
        rte_eth_dev_owner_set(p->id, &owner) != 0) {
        port_fail(f, "give each device one --port", "the device %s is in use by another port", p->spec.device);
        return false;
    }
    p->owned = true;
    return true;
}

static void past(struct rte_mempool *pool, void *end, void *object, unsigned index)
{
    (void)index;
    uintptr_t *most = end, at = (uintptr_t)object + pool->elt_size + pool->trailer_size;
    *most = RTE_MAX(*most, at);
}

/* Its objects lie side by side in one chunk. DPDK moves those that would lie across two pages, unless told otherwise. */
static bool is_packed(struct rte_mempool *pool)
{
    uintptr_t end = 0;
    if (pool->nb_mem_chunks != 1)
        return false;
    rte_mempool_obj_iter(pool, past, &end);
    return end <= (uintptr_t)STAILQ_FIRST(&pool->mem_list)->addr +
                      (uint64_t)pool->populated_size * rte_mempool_calc_obj_size(pool->elt_size, pool->flags, NULL);
}

static bool check_pool(const struct port *p, struct port_failure *f)
{
    unsigned room = rte_pktmbuf_data_room_size(p->pool), least = 256;
    if (p->kind == PORT_AF_XDP)
        least = PORT_RX_POOL_MIN + (p->queues - 1u) * PORT_QUEUE_BUFFERS;
    if (p->pool->populated_size < least) {
        port_fail(f, "make the receive pool larger", "%s needs a receive pool of at least %u buffers, it has %u",
                  p->spec.device, least, p->pool->populated_size);
        return false;
    }
    /* The driver registers as many bytes as the buffers have together, from the first chunk's beginning. The kernel then
     * drops without a word what it is to send from a buffer behind those, and takes none there to receive into. */
    if (p->kind == PORT_AF_XDP && !is_packed(p->pool)) {
        port_fail(f, "make the receive pool with rxpool_create()", "%s needs a receive pool in one piece, without gaps",
                  p->spec.device);
        return false;
    }
    if (room < RTE_PKTMBUF_HEADROOM + p->mtu + ETHERNET_HEAD) {
        port_fail(f, "take a smaller mtu= or larger buffers", "%s: a buffer holds %u bytes, an mtu of %u needs %u",
                  p->spec.device, room - RTE_PKTMBUF_HEADROOM, p->mtu, p->mtu + ETHERNET_HEAD);
        return false;
    }
    return true;
}

static bool check_iface(struct port *p, unsigned index, struct port_failure *f)
{
    char hint[sizeof f->hint];
    if (!iface_read(&p->iface, index, f))
        return false;
    if (p->kind != PORT_TAP && !(p->iface.flags & IFF_UP)) {
        snprintf(hint, sizeof hint, "ip link set %s up", p->iface.name);
        port_fail(f, hint, "%s: the interface %s is down", p->spec.device, p->iface.name);
        return false;
    }
    return true;
}

/* ---- MTU ---- */

/* The largest that the device can carry, whatever ethdev believes: these drivers report an Ethernet of 1500. */
static uint32_t mtu_limit(const struct port *p, const struct rte_eth_dev_info *info)
{
    char value[32];
    const char *frame = port_devarg(port_devargs(info), "framesz", value, sizeof value);
    switch (p->kind) {
    case PORT_TAP:
        return RTE_ETHER_MTU;
    case PORT_AF_PACKET:
        return (frame != NULL ? (uint32_t)strtoul(frame, NULL, 10) : AF_PACKET_FRAME) - AF_PACKET_HEAD - ETHERNET_HEAD;
    case PORT_MEMIF:
        /* Longer frames take several slots; the driver's marks of those outlive them. */
        return p->memif.buffer_size - ETHERNET_HEAD;
    default:
        return info->max_mtu;
    }
}

static bool choose_mtu(struct port *p, const struct rte_eth_dev_info *info, struct port_failure *f)
{
    uint32_t limit = mtu_limit(p, info), device = p->iface.index != 0 ? p->iface.mtu : RTE_ETHER_MTU;
    uint32_t want = p->spec.mtu != 0 ? p->spec.mtu : device;
    char hint[sizeof f->hint];
    if (limit > PORT_MTU_MAX)
        limit = PORT_MTU_MAX;
    if (want > limit) {
        snprintf(hint, sizeof hint, "take mtu=%u or less%s", limit,
                 p->kind == PORT_AF_PACKET ? ", or framesz=4096 in the --vdev and larger buffers" : "");
        port_fail(f, hint, "%s: an mtu of %u is more than the device carries", p->spec.device, want);
        return false;
    }
    if (p->spec.has_ip6 && want < PORT_MTU_MIN6) {
        port_fail(f, "make the device's MTU larger, or leave ip6= out", "%s: IPv6 needs an mtu of %u (RFC 8200 5), it is %u",
                  p->spec.device, PORT_MTU_MIN6, want);
        return false;
    }
    p->mtu = (uint16_t)want;
    return true;
}

/* After the device was configured. A smaller one than the interface's is the stack's affair alone. */
static bool apply_mtu(struct port *p, struct port_failure *f)
{
    bool ok = true;
    if (p->kind == PORT_TAP || p->kind == PORT_PCI)
        ok = p->spec.mtu == 0 || rte_eth_dev_set_mtu(p->id, p->mtu) == 0;
    else if (p->iface.index != 0 && p->mtu > p->iface.mtu)
        ok = iface_set_mtu(&p->iface, p->mtu);
    if (!ok)
        port_fail(f, "leave mtu= out, or set it on the interface (ip link set ... mtu)", "%s: cannot set an mtu of %u: %s",
                  p->spec.device, p->mtu, strerror(errno));
    return ok;
}

/* ---- MAC ---- */

static bool choose_mac(struct port *p, struct port_failure *f)
{
    struct rte_ether_addr device;
    if (rte_eth_macaddr_get(p->id, &device) != 0)
        memset(&device, 0, sizeof device);
    p->mac = p->spec.mac_from == PORT_MAC_GIVEN ? p->spec.mac : device;
    if (p->spec.mac_from == PORT_MAC_OWN) {
        if (getrandom(p->mac.addr_bytes, RTE_ETHER_ADDR_LEN, 0) != RTE_ETHER_ADDR_LEN)
            rte_eth_random_addr(p->mac.addr_bytes);
        p->mac.addr_bytes[0] = (uint8_t)((p->mac.addr_bytes[0] & ~RTE_ETHER_GROUP_ADDR) | RTE_ETHER_LOCAL_ADMIN_ADDR);
    }
    /* The device's address is that of the kernel's end. */
    if (p->kind != PORT_TAP || !rte_is_same_ether_addr(&p->mac, &device))
        return true;
    port_fail(f, "leave mac= out", "%s: both ends of the link would have one MAC address", p->spec.device);
    return false;
}

/* ---- Start ---- */

static void configure_failed(const struct port *p, int error, struct port_failure *f)
{
    const char *hint = "see the engine's log for what the driver says";
    if (error == -ENOMEM)
        hint = "give DPDK more memory (-m MIB after --) and the receive pool larger buffers than the driver's frames";
    else if (error == -EPERM || error == -EACCES || geteuid() != 0)
        hint = "start the engine as root or with CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF";
    else if (p->kind == PORT_AF_XDP)
        hint = "the interface may have another XDP program or AF_XDP socket: ip link show, bpftool net";
    else if (p->queues > 1)
        hint = "the device may have fewer queues than there are workers: --workers";
    port_fail(f, hint, "%s: DPDK cannot set up the device: %s", p->spec.device, rte_strerror(-error));
}

/* Whether long segments are made, and who cuts them. net_tap says that it can: by the library that gso.c uses, for IPv4 alone, so
 * that the port does it there, too. */
static bool choose_tso(struct port *p, const struct rte_eth_dev_info *info, struct port_failure *f)
{
    uint32_t sums = NET_CAP_MULTI_SEGS | NET_CAP_TX_IPV4_CKSUM | NET_CAP_TX_L4_CKSUM, longest = UINT16_MAX - ETHERNET_HEAD;
    bool device = p->kind == PORT_PCI && (info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_TCP_TSO) && (p->caps & sums) == sums;
    /* net_af_xdp is trusted with no frame of several pieces; a card without the offload was never measured: asked for only. */
    bool able = (p->caps & NET_CAP_TX_REFERS) == NET_CAP_TX_REFERS || (p->kind == PORT_PCI && (p->caps & NET_CAP_MULTI_SEGS));
    if (p->spec.tso == PORT_OFF || (p->spec.tso == PORT_AUTO && (!able || (p->kind == PORT_PCI && !device))))
        return true;
    if (!able) {
        port_fail(f, "leave tso= out", "%s: the device takes no frame of several pieces, which a long segment is cut into", p->spec.device);
        return false;
    }
    if (!device && !gso_start(&p->gso, p->id, p->queues * (GSO_FRAMES + (p->caps & NET_CAP_TX_READS ? 0 : TX_DESCRIPTORS)), f))
        return false;
    uint32_t pieces = info->tx_desc_lim.nb_seg_max, room = rte_pktmbuf_data_room_size(p->pool) - RTE_PKTMBUF_HEADROOM;
    if (device && pieces > 1 && (pieces - 1) * room < longest)
        longest = (pieces - 1) * room;
    p->tso_max = (uint16_t)longest;
    p->caps |= NET_CAP_TX_TSO4 | NET_CAP_TX_TSO6;
    return true;
}

/* With interrupts, if there are, for as many queues as possible. */
static int configure_queues(struct port *p, struct rte_eth_conf *conf)
{
    int error = rte_eth_dev_configure(p->id, p->queues, p->queues, conf);
    if (error == 0 || !conf->intr_conf.rxq)
        return error;
    conf->intr_conf.rxq = 0;
    return rte_eth_dev_configure(p->id, p->queues, p->queues, conf);
}

static bool configure(struct port *p, const struct rte_eth_dev_info *info, struct port_failure *f)
{
    struct rte_eth_conf conf = {.intr_conf.rxq = p->kind == PORT_TAP || p->kind == PORT_PCI};
    uint16_t rx = p->kind == PORT_TAP ? 1 : RX_DESCRIPTORS, tx = TX_DESCRIPTORS;
    struct queue_fds sockets, programs;
    if (p->kind == PORT_PCI) {
        conf.rxmode.mtu = p->mtu;
        conf.rxmode.offloads = info->rx_offload_capa & CKSUM_RX;
        conf.txmode.offloads = info->tx_offload_capa & (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | CKSUM_TX_L4);
    }
    conf.txmode.offloads |= info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    p->caps = (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS ? NET_CAP_MULTI_SEGS : 0) |
              /* These copy a frame before tx_burst returns; a DMA device reads it later, af_xdp is never trusted with
               * external buffers. */
              (p->kind == PORT_TAP || p->kind == PORT_AF_PACKET || p->kind == PORT_MEMIF ? NET_CAP_TX_READS : 0) |
              (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM ? NET_CAP_TX_IPV4_CKSUM : 0) |
              ((conf.txmode.offloads & CKSUM_TX_L4) == CKSUM_TX_L4 ? NET_CAP_TX_L4_CKSUM : 0);
    if (!choose_tso(p, info, f))
        return false;
    if ((p->caps & NET_CAP_TX_TSO4) && p->gso.heads == NULL)
        conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_TCP_TSO;
    queues_scale(p, info, &conf);
    queue_fds_list(&sockets, QUEUE_FD_XDP, 0);
    queue_fds_list(&programs, QUEUE_FD_BPF, 0);
    int error = configure_queues(p, &conf);
    if (error == 0)
        error = queues_set_up(p, rx, tx);
    p->rx_intr = conf.intr_conf.rxq;
    if (p->kind == PORT_AF_XDP) {
        queue_fds_list(&p->xdp, QUEUE_FD_XDP, 0);
        queue_fds_subtract(&p->xdp, &sockets);
        queue_fds_list(&p->bpf, QUEUE_FD_BPF, 0);
        queue_fds_subtract(&p->bpf, &programs);
    }
    if (error != 0)
        configure_failed(p, error, f);
    return error == 0 && queues_lanes(p, f);
}

/* What comes from the kernel as it is there: see iface.c. */
static bool adapt_to_kernel(struct port *p, struct port_failure *f)
{
    if (p->kind == PORT_AF_PACKET) {
        int one = 1;
        /* What the kernel itself sends by this interface is not for us. */
        for (uint16_t q = 0; q < p->queues; q++)
            setsockopt(p->queue_fd[q], SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one);
        p->peer_unreachable = !iface_no_long_frames(&p->iface);
        p->frame_max = p->mtu + ETHERNET_HEAD + 1;
    }
    p->mark_sums = iface_sums_unfinished(&p->iface);
    /* IPv6 also receives what is sent to its groups. */
    if ((p->spec.mac_from != PORT_MAC_DEVICE || p->spec.has_ip6) && !iface_promisc(&p->iface)) {
        port_fail(f, "start the engine as root or with CAP_NET_RAW, or take mac=device",
                  "%s: the interface %s does not go into promiscuous mode: %s", p->spec.device, p->iface.name, strerror(errno));
        return false;
    }
    return true;
}

static bool start(struct port *p, struct port_failure *f)
{
    if (p->kind == PORT_MEMIF)
        return memif_start(p, f) &&
               (p->spec.bell[0] == 0 || bell_start(&p->bell, p->spec.bell, !p->memif.client, p->lane[0]->set, f));
    int error = rte_eth_dev_start(p->id);
    if (error != 0) {
        configure_failed(p, error, f);
        return false;
    }
    p->started = true;
    queues_steer(p);
    if (!queues_watch(p, f))
        return false;
    for (uint16_t q = 0; p->kind == PORT_TAP && q < p->queues; q++)
        if (p->queue_fd[q] >= 0)
            tap_start(&p->tap, p->queue_fd[q]);
    if (p->kind == PORT_PCI && p->spec.mac_from != PORT_MAC_DEVICE && rte_eth_dev_default_mac_addr_set(p->id, &p->mac) != 0)
        rte_eth_promiscuous_enable(p->id);
    /* IPv6 and groups are received by multicast addresses that come and go; the stack looks for itself. */
    if (p->kind == PORT_PCI && rte_eth_allmulticast_enable(p->id) != 0)
        rte_eth_promiscuous_enable(p->id);
    return p->kind == PORT_TAP || p->kind == PORT_PCI || adapt_to_kernel(p, f);
}

static bool open_device(struct port *p, struct port_failure *f)
{
    struct rte_eth_dev_info info;
    if (!find(p, f))
        return false;
    if (rte_eth_dev_info_get(p->id, &info) != 0) {
        port_fail(f, "see the engine's log", "%s: the device does not describe itself", p->spec.device);
        return false;
    }
    snprintf(p->driver, sizeof p->driver, "%s", info.driver_name);
    p->kind = kind_of(info.driver_name);
    if (p->spec.bell[0] != 0 && p->kind != PORT_MEMIF) {
        port_fail(f, "leave bell= out: this kind wakes by itself", "%s: only net_memif has a bell", p->spec.device);
        return false;
    }
    return (p->kind != PORT_MEMIF || memif_devargs(&p->memif, port_devargs(&info), f)) &&
           (info.if_index == 0 || p->kind == PORT_PCI || check_iface(p, info.if_index, f)) && choose_mtu(p, &info, f) &&
           queues_choose(p, &info, f) && check_pool(p, f) && choose_mac(p, f) && configure(p, &info, f) && apply_mtu(p, f) && start(p, f);
}

struct port *port_open(const struct port_spec *spec, const struct port_threads *threads, struct rte_mempool *rx_pool,
                       struct port_failure *f)
{
    struct port *p = calloc(1, sizeof *p);
    *f = (struct port_failure){0};
    if (p == NULL) {
        port_fail(f, "free memory", "no memory for the port %s", spec->device);
        return NULL;
    }
    p->spec = *spec;
    p->pool = rx_pool;
    p->threads = threads != NULL ? *threads : (struct port_threads){.n = 1};
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->intr_lock, NULL);
    for (uint32_t q = 0; q < PORT_QUEUES_MAX; q++)
        p->queue_fd[q] = -1;
    p->iface.promisc_fd = -1;
    p->bell.listen_fd = p->bell.conn = p->bell.page_fd = -1;
    p->link.fd = -1;
    if (open_device(p, f)) {
        link_start(p);
        return p;
    }
    port_close(p);
    return NULL;
}

void port_close(struct port *p)
{
    bell_stop(&p->bell);
    link_stop(&p->link);
    if (p->owned) {
        if (p->kind == PORT_TAP) {
            tap_close_device(p->id, p->queue_fd[0], p->started);
        } else if (p->kind == PORT_MEMIF) {
            memif_close_device(p);
        } else {
            if (p->started)
                rte_eth_dev_stop(p->id);
            rte_eth_dev_close(p->id);
        }
        /* net_af_xdp of DPDK 22.11 leaves its socket open, and the kernel's queue taken with it. */
        queue_fds_close(&p->xdp, QUEUE_FD_XDP);
        queue_fds_close(&p->bpf, QUEUE_FD_BPF);
    }
    gso_stop(&p->gso);
    iface_restore(&p->iface);
    queues_free(p);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->intr_lock);
    free(p);
}
