/* SPDX-License-Identifier: BSD-3-Clause
 * Datagrams that did not arrive. FreeBSD tells only connected sockets, and those of libfstack are not: connected is the
 * application's half. So the ICMP errors are read from a raw socket and matched here. */
#define _GNU_SOURCE
#include <errno.h>
#include <time.h>

#include <linux/errqueue.h>
#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <string.h>

#include "fstack.h"

static void mapped(struct zs_addr *a, const void *v4, uint16_t port)
{
    *a = (struct zs_addr){.family = AF_INET, .port = port};
    a->ip[10] = a->ip[11] = 0xff;
    memcpy(a->ip + 12, v4, 4);
}

/* What an ICMP error means to a socket, and whether one that is connected is told unasked: as Linux's icmp_err_convert. */
static void judge4(struct wire_error *e)
{
    e->fatal = e->code == ICMP_PORT_UNREACH || e->code == ICMP_PROT_UNREACH;
    e->err = e->code == ICMP_PORT_UNREACH   ? ECONNREFUSED
             : e->code == ICMP_PROT_UNREACH ? ENOPROTOOPT
             : e->code == ICMP_FRAG_NEEDED  ? EMSGSIZE
             : e->code == ICMP_NET_UNREACH  ? ENETUNREACH : EHOSTUNREACH;
}

/* The quoted header's sender is the socket here, its destination the host that was not reached. */
static bool parse4(const uint8_t *p, size_t n, struct wire_error *e)
{
    struct ip outer, inner;
    struct icmphdr icmp;
    struct udphdr udp;
    if (n < sizeof outer)
        return false;
    memcpy(&outer, p, sizeof outer);
    size_t at = outer.ip_hl * 4u;
    if (outer.ip_p != IPPROTO_ICMP || n < at + sizeof icmp + sizeof inner)
        return false;
    memcpy(&icmp, p + at, sizeof icmp);
    at += sizeof icmp;
    memcpy(&inner, p + at, sizeof inner);
    at += inner.ip_hl * 4u;
    if (icmp.type != ICMP_DEST_UNREACH || inner.ip_p != IPPROTO_UDP || n < at + sizeof udp)
        return false;
    memcpy(&udp, p + at, sizeof udp);
    *e = (struct wire_error){.origin = SO_EE_ORIGIN_ICMP, .type = icmp.type, .code = icmp.code, .data = p + at + sizeof udp,
                             .len = (uint32_t)(n - at - sizeof udp)};
    mapped(&e->local, &inner.ip_src, udp.source);
    mapped(&e->remote, &inner.ip_dst, udp.dest);
    mapped(&e->offender, &outer.ip_src, 0);
    judge4(e);
    if (e->err == EMSGSIZE)
        e->info = ntohs(icmp.un.frag.mtu);
    return true;
}

static bool parse6(const uint8_t *p, size_t n, const struct zs_addr *from, struct wire_error *e)
{
    struct ip6_hdr inner;
    struct udphdr udp;
    if (n < 8 + sizeof inner + sizeof udp || p[0] != ICMP6_DST_UNREACH)
        return false;
    memcpy(&inner, p + 8, sizeof inner);
    memcpy(&udp, p + 8 + sizeof inner, sizeof udp);
    if (inner.ip6_nxt != IPPROTO_UDP)
        return false;
    *e = (struct wire_error){.local = {.family = AF_INET6, .port = udp.source}, .remote = {.family = AF_INET6, .port = udp.dest},
                             .offender = *from, .origin = SO_EE_ORIGIN_ICMP6, .type = p[0], .code = p[1],
                             .data = p + 8 + sizeof inner + sizeof udp, .len = (uint32_t)(n - 8 - sizeof inner - sizeof udp)};
    memcpy(e->local.ip, &inner.ip6_src, 16);
    memcpy(e->remote.ip, &inner.ip6_dst, 16);
    e->fatal = e->code == ICMP6_DST_UNREACH_NOPORT;
    e->err = e->code == ICMP6_DST_UNREACH_NOPORT ? ECONNREFUSED
             : e->code == ICMP6_DST_UNREACH_NOROUTE ? ENETUNREACH
             : e->code == ICMP6_DST_UNREACH_ADMIN ? EACCES : EHOSTUNREACH;
    return true;
}

void fs_icmp_event(struct fs_sock *s)
{
    struct fstack *fs = s->fs;
    uint8_t packet[2048];
    struct sockaddr_storage at;
    struct zs_addr from;
    struct wire_error e;
    for (;;) {
        socklen_t len = sizeof at;
        ssize_t n = ff_recvfrom(s->fd, packet, sizeof packet, 0, (struct linux_sockaddr *)&at, &len);
        if (n < 0)
            return;
        fs_to_zs(fs, &at, &from);
        bool about = s == &fs->icmp[0] ? parse4(packet, (size_t)n, &e) : parse6(packet, (size_t)n, &from, &e);
        if (about) {
            e.len = RTE_MIN(e.len, ZS_UDP_QUOTE_MAX);
            fs->events->unreachable(fs->engine, &e);
        }
    }
}

/* Without them datagrams go unanswered as before: nothing to fail for. */
void fs_icmp_open(struct fstack *fs)
{
    static const struct {
        int family, protocol;
    } kinds[] = {{AF_INET, IPPROTO_ICMP}, {AF_INET6_LINUX, IPPROTO_ICMPV6}};
    for (size_t i = 0; i < RTE_DIM(kinds); i++) {
        int fd = ff_socket(kinds[i].family, SOCK_RAW | SOCK_NONBLOCK, kinds[i].protocol);
        if (fd >= 0 && fs_sock_open(&fs->icmp[i], fs, FS_ICMP, fd) != 0)
            ff_close(fd);
    }
}
