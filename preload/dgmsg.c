/* SPDX-License-Identifier: BSD-3-Clause
 * Ancillary data of datagrams (ip(7), ipv6(7), socket(7)): what a sender gives and a receiver asks for. */
#include "dgram.h"

#include <netinet/in.h>

#ifndef IPV6_ORIGDSTADDR
#define IPV6_ORIGDSTADDR 74
#endif

/* ---- Out ---- */

static bool take_int(const struct cmsghdr *c, int *value)
{
    if (c->cmsg_len == CMSG_LEN(sizeof *value)) {
        memcpy(value, CMSG_DATA(c), sizeof *value);
        return true;
    }
    *value = *CMSG_DATA(c);
    return c->cmsg_len == CMSG_LEN(1);
}

static bool take_pktinfo4(const struct cmsghdr *c, struct dg_how *how)
{
    struct in_pktinfo pi;
    if (c->cmsg_len != CMSG_LEN(sizeof pi))
        return false;
    memcpy(&pi, CMSG_DATA(c), sizeof pi);
    how->ifindex = pi.ipi_ifindex > 0 ? (uint32_t)pi.ipi_ifindex : how->ifindex;
    if (pi.ipi_spec_dst.s_addr != 0) {
        memset(how->src, 0, 10);
        how->src[10] = how->src[11] = 0xff;
        memcpy(how->src + 12, &pi.ipi_spec_dst, 4);
    }
    return true;
}

static bool take_pktinfo6(const struct cmsghdr *c, const struct zs_addr *to, struct dg_how *how)
{
    struct in6_pktinfo pi;
    if (c->cmsg_len < CMSG_LEN(sizeof pi))
        return false;
    memcpy(&pi, CMSG_DATA(c), sizeof pi);
    how->ifindex = pi.ipi6_ifindex != 0 ? pi.ipi6_ifindex : how->ifindex;
    if (!zs_addr_is_any((const uint8_t *)&pi.ipi6_addr))
        memcpy(how->src, &pi.ipi6_addr, 16);
    return zs_addr_is_any(how->src) || zs_addr_is_v4(how->src) == zs_addr_is_v4(to->ip);
}

static bool take(const struct cmsghdr *c, const struct zs_addr *to, struct dg_how *how)
{
    bool v4 = zs_addr_is_v4(to->ip);
    int value;
    if (c->cmsg_level == IPPROTO_IP && v4) {
        switch (c->cmsg_type) {
        case IP_PKTINFO:
            return take_pktinfo4(c, how);
        case IP_TTL:
            how->ttl_set = true;
            if (!take_int(c, &value) || value < 1 || value > 255)
                return false;
            how->ttl = (uint8_t)value;
            return true;
        case IP_TOS:
            how->tos_set = true;
            if (!take_int(c, &value) || value < 0 || value > 255)
                return false;
            how->tos = (uint8_t)value;
            return true;
        default:
            return false;
        }
    }
    if (c->cmsg_level != IPPROTO_IPV6)
        return false;
    if (c->cmsg_type == IPV6_PKTINFO)
        return take_pktinfo6(c, to, how);
    if (v4 || (c->cmsg_type != IPV6_HOPLIMIT && c->cmsg_type != IPV6_TCLASS) || c->cmsg_len != CMSG_LEN(sizeof value) ||
        !take_int(c, &value) || value < -1 || value > 255)
        return false;
    if (c->cmsg_type == IPV6_HOPLIMIT) {
        how->ttl_set = value >= 0;
        how->ttl = (uint8_t)value;
    } else {
        how->tos_set = value >= 0;
        how->tos = (uint8_t)value;
    }
    return true;
}

bool dg_read_control(const struct msghdr *msg, const struct zs_addr *to, struct dg_how *how)
{
    *how = (struct dg_how){0};
    if (msg->msg_controllen == 0)
        return true;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)msg, c)) {
        size_t left = msg->msg_controllen - (size_t)((char *)c - (char *)msg->msg_control);
        if (c->cmsg_len < sizeof *c || c->cmsg_len > left || !take(c, to, how))
            return false;
    }
    return true;
}

void dg_fill(const struct zsock *k, struct zs_udp_record *rec, const struct dg_how *how)
{
    const int *v = k->dg.value;
    bool v4 = zs_addr_is_v4(rec->to.ip), group = zs_addr_is_group(rec->to.ip);
    int ttl = group ? v[v4 ? DG_MCAST_TTL : DG_MCAST_HOPS] : v[v4 ? DG_TTL : DG_HOPS];
    rec->ttl = how->ttl_set ? how->ttl : (uint8_t)ttl;
    rec->tos = how->tos_set ? how->tos : (uint8_t)v[v4 ? DG_TOS : DG_TCLASS];
    rec->pmtu = (uint8_t)(v4 ? v[DG_PMTU] : v[DG_PMTU6]);
    rec->flags = group && v[v4 ? DG_MCAST_LOOP : DG_MCAST_LOOP6] ? ZS_UDP_LOOP : 0;
}

/* ---- In ---- */

void dg_put_cmsg(struct msghdr *msg, size_t *used, int level, int type, const void *data, size_t len)
{
    size_t room = msg->msg_controllen - *used, whole = CMSG_LEN(len);
    if (room < whole)
        msg->msg_flags |= MSG_CTRUNC;
    if (room < sizeof(struct cmsghdr))
        return;
    struct cmsghdr *c = (struct cmsghdr *)((char *)msg->msg_control + *used);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = room < whole ? room : whole; /* as much as there is room for (put_cmsg) */
    memcpy(CMSG_DATA(c), data, c->cmsg_len - sizeof *c);
    *used += room < CMSG_SPACE(len) ? room : CMSG_SPACE(len);
}

static void put_times(struct zsock *k, struct msghdr *msg, size_t *used, uint64_t ns)
{
    const struct timeval tv = {.tv_sec = (time_t)(ns / 1000000000u), .tv_usec = (suseconds_t)(ns % 1000000000u / 1000u)};
    const struct timespec ts = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    if (k->dg.value[DG_TIMESTAMPNS])
        dg_put_cmsg(msg, used, SOL_SOCKET, SCM_TIMESTAMPNS, &ts, sizeof ts);
    else if (k->dg.value[DG_TIMESTAMP])
        dg_put_cmsg(msg, used, SOL_SOCKET, SCM_TIMESTAMP, &tv, sizeof tv);
}

/* The address from which an answer goes (fib_compute_spec_dst): where it came to, or the port's own. */
static void spec_dst(struct zsock *k, const struct zs_udp_record *rec, struct in_addr *a)
{
    struct zs_wire_port p;
    uint32_t port = ZS_WIRE_SCOPE_PORT(rec->ifindex);
    memcpy(a, rec->to.ip + 12, sizeof *a);
    if ((zs_addr_is_group(rec->to.ip) || zs_wire_is_broadcast(&k->d->view, port, rec->to.ip)) &&
        zs_wire_port_copy(&k->d->view, port, &p))
        memcpy(a, p.addr4, sizeof *a);
}

/* As ip_cmsg_recv_offset. */
static void put_ip4(struct zsock *k, struct msghdr *msg, size_t *used, const struct zs_udp_record *rec)
{
    const int *v = k->dg.value;
    int ttl = rec->ttl;
    if (v[DG_PKTINFO]) {
        struct in_pktinfo pi = {.ipi_ifindex = (int)rec->ifindex};
        memcpy(&pi.ipi_addr, rec->to.ip + 12, 4);
        spec_dst(k, rec, &pi.ipi_spec_dst);
        dg_put_cmsg(msg, used, IPPROTO_IP, IP_PKTINFO, &pi, sizeof pi);
    }
    if (v[DG_RECVTTL])
        dg_put_cmsg(msg, used, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl);
    if (v[DG_RECVTOS])
        dg_put_cmsg(msg, used, IPPROTO_IP, IP_TOS, &rec->tos, sizeof rec->tos);
    if (v[DG_RECVORIGDST]) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = rec->to.port};
        memcpy(&to.sin_addr, rec->to.ip + 12, 4);
        dg_put_cmsg(msg, used, IPPROTO_IP, IP_ORIGDSTADDR, &to, sizeof to);
    }
}

/* As ip6_datagram_recv_specific_ctl. */
static void put_ip6(struct zsock *k, struct msghdr *msg, size_t *used, const struct zs_udp_record *rec)
{
    const int *v = k->dg.value;
    int hops = rec->ttl, class = rec->tos;
    if (v[DG_RECVHOPS])
        dg_put_cmsg(msg, used, IPPROTO_IPV6, IPV6_HOPLIMIT, &hops, sizeof hops);
    if (v[DG_RECVTCLASS])
        dg_put_cmsg(msg, used, IPPROTO_IPV6, IPV6_TCLASS, &class, sizeof class);
    if (v[DG_RECVORIGDST6]) {
        struct sockaddr_storage ss;
        socklen_t n = addr_to_sockaddr(&rec->to, AF_INET6, &ss);
        dg_put_cmsg(msg, used, IPPROTO_IPV6, IPV6_ORIGDSTADDR, &ss, n);
    }
}

void dg_write_control(struct zsock *k, struct msghdr *msg, const struct zs_udp_record *rec)
{
    size_t used = 0;
    bool v4 = zs_addr_is_v4(rec->to.ip);
    if (msg->msg_control == NULL)
        msg->msg_controllen = 0;
    put_times(k, msg, &used, rec->time_ns);
    if (k->family == AF_INET6 && k->dg.value[DG_PKTINFO6]) { /* of mapped addresses, too */
        struct in6_pktinfo pi = {.ipi6_ifindex = rec->ifindex};
        memcpy(&pi.ipi6_addr, rec->to.ip, 16);
        dg_put_cmsg(msg, &used, IPPROTO_IPV6, IPV6_PKTINFO, &pi, sizeof pi);
    }
    if (v4)
        put_ip4(k, msg, &used, rec);
    else
        put_ip6(k, msg, &used, rec);
    msg->msg_controllen = used;
}
