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

bool iface_exists(const struct iface *i)
{
    char name[IFNAMSIZ];
    return if_indextoname(i->index, name) != NULL;
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

struct link {
    unsigned peer; /* of a veth, when it is in this network namespace */
    uint32_t gso_max_segs;
};

/* One request to rtnetlink, with its answer. */
static ssize_t rtnetlink(void *ask, size_t size, void *answer, size_t answer_size)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return -1;
    ssize_t n = send(fd, ask, size, 0) == (ssize_t)size ? recv(fd, answer, answer_size, 0) : -1;
    close(fd);
    return n;
}

static bool read_link(unsigned index, struct link *link)
{
    struct {
        struct nlmsghdr h;
        struct ifinfomsg info;
    } ask = {{sizeof ask, RTM_GETLINK, NLM_F_REQUEST, 1, 0}, {.ifi_family = AF_UNSPEC, .ifi_index = (int)index}};
    union {
        char bytes[32768];
        struct nlmsghdr h;
    } answer;
    ssize_t n = rtnetlink(&ask, sizeof ask, &answer, sizeof answer);
    bool elsewhere = false;
    *link = (struct link){0, 0};
    if (n < 0 || !NLMSG_OK(&answer.h, (size_t)n) || answer.h.nlmsg_type != RTM_NEWLINK)
        return false;
    struct ifinfomsg *info = NLMSG_DATA(&answer.h);
    int len = (int)(answer.h.nlmsg_len - NLMSG_LENGTH(sizeof *info));
    for (struct rtattr *a = IFLA_RTA(info); RTA_OK(a, len); a = RTA_NEXT(a, len)) {
        elsewhere = elsewhere || a->rta_type == IFLA_LINK_NETNSID;
        if (a->rta_type == IFLA_LINK)
            memcpy(&link->peer, RTA_DATA(a), sizeof link->peer);
        else if (a->rta_type == IFLA_GSO_MAX_SEGS)
            memcpy(&link->gso_max_segs, RTA_DATA(a), sizeof link->gso_max_segs);
    }
    if (elsewhere)
        link->peer = 0;
    return true;
}

static bool set_gso_max_segs(unsigned index, uint32_t segs)
{
    struct {
        struct nlmsghdr h;
        struct ifinfomsg info;
        struct rtattr attr;
        uint32_t value;
    } ask = {{sizeof ask, RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0},
             {.ifi_family = AF_UNSPEC, .ifi_index = (int)index},
             {RTA_LENGTH(sizeof segs), IFLA_GSO_MAX_SEGS},
             segs};
    union {
        char bytes[4096];
        struct nlmsghdr h;
    } answer;
    ssize_t n = rtnetlink(&ask, sizeof ask, &answer, sizeof answer);
    return n >= 0 && NLMSG_OK(&answer.h, (size_t)n) && answer.h.nlmsg_type == NLMSG_ERROR &&
           ((struct nlmsgerr *)NLMSG_DATA(&answer.h))->error == 0;
}

/* The other end of a veth sends no more than one segment in a frame, of whatever protocol. */
static bool peer_cuts(struct iface *i)
{
    struct link own, peer;
    if (!read_link(i->index, &own) || own.peer == 0 || !read_link(own.peer, &peer))
        return false;
    if (peer.gso_max_segs == 1)
        return true;
    if (!set_gso_max_segs(own.peer, 1))
        return false;
    i->peer_index = own.peer;
    i->peer_gso_max_segs = peer.gso_max_segs;
    return true;
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
    if (i->peer_index != 0)
        set_gso_max_segs(i->peer_index, i->peer_gso_max_segs);
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
static uint32_t sum_offset(uint8_t proto)
{
    return proto == IPPROTO_TCP   ? offsetof(struct rte_tcp_hdr, cksum)
           : proto == IPPROTO_UDP ? offsetof(struct rte_udp_hdr, dgram_cksum)
                                  : 0;
}

/* Where the checksum is, and the sum of the pseudo header; 0: no such packet. */
static uint32_t find_sum(const struct rte_ether_hdr *eth, uint32_t have, uint16_t *pseudo)
{
    const struct rte_ipv4_hdr *ip = (const void *)(eth + 1);
    const struct rte_ipv6_hdr *ip6 = (const void *)(eth + 1);
    if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) && have >= sizeof *ip && ip->version == 4) {
        uint32_t hlen = rte_ipv4_hdr_len(ip), total = rte_be_to_cpu_16(ip->total_length), field = sum_offset(ip->next_proto_id);
        if (field == 0 || hlen < sizeof *ip || total < hlen + field + 2 || have < total ||
            (ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) != 0)
            return 0;
        *pseudo = rte_ipv4_phdr_cksum(ip, 0);
        return hlen + field;
    }
    if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6) && have >= sizeof *ip6) {
        uint32_t len = rte_be_to_cpu_16(ip6->payload_len), field = sum_offset(ip6->proto);
        if (field == 0 || len < field + 2 || have < sizeof *ip6 + len)
            return 0;
        *pseudo = rte_ipv6_phdr_cksum(ip6, 0);
        return (uint32_t)sizeof *ip6 + field;
    }
    return 0;
}

/* Where the transport checksum is, if its field holds the sum of the pseudo header; NULL. */
static uint8_t *unfinished(struct rte_mbuf *m)
{
    struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
    uint16_t sum, pseudo;
    uint32_t have = rte_pktmbuf_data_len(m), at = have < sizeof *eth ? 0 : find_sum(eth, have - (uint32_t)sizeof *eth, &pseudo);
    if (at == 0)
        return NULL;
    memcpy(&sum, (uint8_t *)(eth + 1) + at, sizeof sum);
    return sum == pseudo ? (uint8_t *)(eth + 1) + at : NULL;
}

void iface_mark_unfinished(struct rte_mbuf *m)
{
    if (unfinished(m) != NULL)
        m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
}

bool port_finish_sum(struct rte_mbuf *m)
{
    struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
    uint8_t *at = unfinished(m);
    uint16_t sum = 0;
    if (at == NULL)
        return false;
    memcpy(at, &sum, sizeof sum);
    if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4)) {
        const struct rte_ipv4_hdr *ip = (const void *)(eth + 1);
        sum = rte_ipv4_udptcp_cksum(ip, (const uint8_t *)ip + rte_ipv4_hdr_len(ip));
    } else {
        const struct rte_ipv6_hdr *ip6 = (const void *)(eth + 1);
        sum = rte_ipv6_udptcp_cksum(ip6, ip6 + 1);
    }
    memcpy(at, &sum, sizeof sum);
    return true;
}
