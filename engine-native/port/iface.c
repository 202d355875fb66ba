/* SPDX-License-Identifier: BSD-3-Clause
 * The kernel's interface under a net_af_packet or net_af_xdp device. Its frames come as the kernel has them, not as a wire
 * would: segments merged or not yet cut, checksums left to a hardware that a virtual link has not. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <rte_tcp.h>
#include <rte_udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"

static bool request(const char *name, unsigned long op, struct ifreq *r)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    snprintf(r->ifr_name, sizeof r->ifr_name, "%s", name);
    int result = ioctl(fd, op, r);
    int err = errno;
    close(fd);
    errno = err;
    return result == 0;
}

static bool ethtool(const char *name, void *command)
{
    struct ifreq r = {.ifr_data = command};
    return request(name, SIOCETHTOOL, &r);
}

static bool is_on(const char *name, uint32_t get)
{
    struct ethtool_value v = {.cmd = get};
    return ethtool(name, &v) && v.data != 0;
}

static bool turn(const char *name, uint32_t set, bool on)
{
    struct ethtool_value v = {.cmd = set, .data = on};
    return ethtool(name, &v);
}

static bool turn_lro(const char *name, bool on)
{
    struct ethtool_value v = {.cmd = ETHTOOL_GFLAGS};
    if (!ethtool(name, &v))
        return false;
    v.cmd = ETHTOOL_SFLAGS;
    v.data = on ? v.data | ETH_FLAG_LRO : v.data & ~(uint32_t)ETH_FLAG_LRO;
    return ethtool(name, &v);
}

bool iface_read(struct iface *i, unsigned index, struct port_failure *f)
{
    *i = (struct iface){.index = index, .promisc_fd = -1};
    struct ifreq r = {0};
    if (if_indextoname(index, i->name) == NULL || !request(i->name, SIOCGIFFLAGS, &r)) {
        port_fail(f, "make the interface again, or move it back to the engine's network namespace, then restart the engine",
                  "the interface with index %u is gone", index);
        return false;
    }
    i->flags = (unsigned short)r.ifr_flags;
    if (request(i->name, SIOCGIFMTU, &r))
        i->mtu = (uint32_t)r.ifr_mtu;
    struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
    if (ethtool(i->name, &info))
        snprintf(i->driver, sizeof i->driver, "%.31s", info.driver);
    return true;
}

/* By index: a name may be another interface's by now. */
bool iface_is_running(const struct iface *i)
{
    struct ifreq r = {0};
    char name[IFNAMSIZ];
    return if_indextoname(i->index, name) != NULL && request(name, SIOCGIFFLAGS, &r) &&
           (r.ifr_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
}

bool iface_set_mtu(struct iface *i, uint32_t mtu)
{
    struct ifreq r = {.ifr_mtu = (int)mtu};
    if (!request(i->name, SIOCSIFMTU, &r))
        return false;
    i->mtu_changed = true;
    return true;
}

/* By a socket that receives nothing: ends with the process, however that ends. */
bool iface_promisc(struct iface *i)
{
    struct packet_mreq m = {.mr_ifindex = (int)i->index, .mr_type = PACKET_MR_PROMISC};
    i->promisc_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    return i->promisc_fd >= 0 && setsockopt(i->promisc_fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &m, sizeof m) == 0;
}

/* ---- Long frames ---- */

/* The other end of a veth when it is in this network namespace, else 0. */
static unsigned veth_peer(const struct iface *i)
{
    struct {
        struct nlmsghdr h;
        struct ifinfomsg info;
    } ask = {{sizeof ask, RTM_GETLINK, NLM_F_REQUEST, 1, 0}, {.ifi_family = AF_UNSPEC, .ifi_index = (int)i->index}};
    char answer[32768];
    unsigned peer = 0;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    ssize_t n = fd >= 0 && send(fd, &ask, sizeof ask, 0) == sizeof ask ? recv(fd, answer, sizeof answer, 0) : -1;
    if (fd >= 0)
        close(fd);
    struct nlmsghdr *h = (void *)answer;
    if (n < (ssize_t)sizeof *h || !NLMSG_OK(h, (size_t)n) || h->nlmsg_type != RTM_NEWLINK)
        return 0;
    struct ifinfomsg *info = NLMSG_DATA(h);
    int len = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof *info));
    for (struct rtattr *a = IFLA_RTA(info); RTA_OK(a, len); a = RTA_NEXT(a, len)) {
        if (a->rta_type == IFLA_LINK)
            memcpy(&peer, RTA_DATA(a), sizeof peer);
        else if (a->rta_type == IFLA_LINK_NETNSID)
            return 0;
    }
    return peer;
}

static bool peer_cuts(struct iface *i)
{
    char name[IFNAMSIZ];
    unsigned peer = veth_peer(i);
    if (peer == 0 || if_indextoname(peer, name) == NULL)
        return false;
    i->peer_index = peer;
    i->peer_tso_was_on = is_on(name, ETHTOOL_GTSO) && turn(name, ETHTOOL_STSO, false);
    i->peer_gso_was_on = is_on(name, ETHTOOL_GGSO) && turn(name, ETHTOOL_SGSO, false);
    return !is_on(name, ETHTOOL_GTSO) && !is_on(name, ETHTOOL_GGSO);
}

bool iface_no_long_frames(struct iface *i)
{
    i->gro_was_on = is_on(i->name, ETHTOOL_GGRO) && turn(i->name, ETHTOOL_SGRO, false);
    struct ethtool_value v = {.cmd = ETHTOOL_GFLAGS};
    i->lro_was_on = ethtool(i->name, &v) && (v.data & ETH_FLAG_LRO) && turn_lro(i->name, false);
    return strcmp(i->driver, "veth") != 0 || peer_cuts(i);
}

void iface_restore(struct iface *i)
{
    char name[IFNAMSIZ];
    if (i->promisc_fd >= 0 && i->index != 0)
        close(i->promisc_fd);
    i->promisc_fd = -1;
    if (i->index != 0 && if_indextoname(i->index, name) != NULL) {
        struct ifreq r = {.ifr_mtu = (int)i->mtu};
        if (i->gro_was_on)
            turn(name, ETHTOOL_SGRO, true);
        if (i->lro_was_on)
            turn_lro(name, true);
        if (i->mtu_changed)
            request(name, SIOCSIFMTU, &r);
    }
    if (i->peer_index != 0 && if_indextoname(i->peer_index, name) != NULL) {
        if (i->peer_gso_was_on)
            turn(name, ETHTOOL_SGSO, true);
        if (i->peer_tso_was_on)
            turn(name, ETHTOOL_STSO, true);
    }
    *i = (struct iface){.promisc_fd = -1};
}

/* ---- Unfinished checksums ---- */

bool iface_sums_unfinished(const struct iface *i)
{
    static const char *const virtual[] = {"veth", "tun", "bridge", "virtio_net", "macvlan", "ipvlan", "dummy"};
    for (size_t n = 0; n < RTE_DIM(virtual); n++)
        if (strcmp(i->driver, virtual[n]) == 0)
            return true;
    return false;
}

/* An unfinished field holds the sum of the pseudo header. Only that is believed: what a virtual link carries may come from
 * a real one, and then a wrong checksum must be seen. */
void iface_mark_unfinished(struct rte_mbuf *m)
{
    const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
    const struct rte_ether_hdr *eth = (const void *)data;
    const struct rte_ipv4_hdr *ip = (const void *)(eth + 1);
    uint32_t have = rte_pktmbuf_data_len(m);
    if (have < sizeof *eth + sizeof *ip || eth->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4) || ip->version != 4)
        return;
    uint32_t hlen = rte_ipv4_hdr_len(ip), total = rte_be_to_cpu_16(ip->total_length);
    uint32_t field = ip->next_proto_id == IPPROTO_TCP   ? offsetof(struct rte_tcp_hdr, cksum)
                     : ip->next_proto_id == IPPROTO_UDP ? offsetof(struct rte_udp_hdr, dgram_cksum)
                                                        : 0;
    if (field == 0 || hlen < sizeof *ip || total < hlen + field + 2 || have < sizeof *eth + total ||
        (ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) != 0)
        return;
    uint16_t sum;
    memcpy(&sum, data + sizeof *eth + hlen + field, sizeof sum);
    if (sum == rte_ipv4_phdr_cksum(ip, 0))
        m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
}
