/* SPDX-License-Identifier: BSD-3-Clause
 * Datagrams that did not arrive. FreeBSD tells only connected sockets, and those of libfstack are not: connected is the
 * application's half. So the ICMP errors are read from a raw socket and matched here. A connection that is being opened is told
 * here, too: FreeBSD goes on asking where Linux gives up. */
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

/* An error, and what it is about. */
struct report {
    struct wire_error e;
    uint8_t protocol; /* IPPROTO_UDP, IPPROTO_TCP */
    uint32_t seq;     /* TCP */
};

/* The quoted header of TCP or UDP: of both the first eight bytes are here. */
static bool parse_quoted(struct report *r, uint8_t protocol, const uint8_t *p, size_t n)
{
    rte_be32_t seq;
    if ((protocol != IPPROTO_UDP && protocol != IPPROTO_TCP) || n < sizeof(struct udphdr))
        return false;
    memcpy(&r->e.local.port, p, 2);
    memcpy(&r->e.remote.port, p + 2, 2);
    memcpy(&seq, p + 4, sizeof seq);
    r->protocol = protocol;
    r->seq = ntohl(seq);
    r->e.data = p + sizeof(struct udphdr);
    r->e.len = (uint32_t)(n - sizeof(struct udphdr));
    return true;
}

/* The quoted header's sender is the socket here, its destination the host that was not reached. */
static bool parse4(const uint8_t *p, size_t n, struct report *r)
{
    struct ip outer, inner;
    struct icmphdr icmp;
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
    if (icmp.type != ICMP_DEST_UNREACH || n < at)
        return false;
    r->e = (struct wire_error){.origin = SO_EE_ORIGIN_ICMP, .type = icmp.type, .code = icmp.code};
    mapped(&r->e.local, &inner.ip_src, 0);
    mapped(&r->e.remote, &inner.ip_dst, 0);
    mapped(&r->e.offender, &outer.ip_src, 0);
    judge4(&r->e);
    if (r->e.err == EMSGSIZE)
        r->e.info = ntohs(icmp.un.frag.mtu);
    return parse_quoted(r, inner.ip_p, p + at, n - at);
}

static bool parse6(const uint8_t *p, size_t n, const struct zs_addr *from, struct report *r)
{
    struct ip6_hdr inner;
    struct wire_error *e = &r->e;
    if (n < 8 + sizeof inner || p[0] != ICMP6_DST_UNREACH)
        return false;
    memcpy(&inner, p + 8, sizeof inner);
    *e = (struct wire_error){.local = {.family = AF_INET6}, .remote = {.family = AF_INET6}, .offender = *from,
                             .origin = SO_EE_ORIGIN_ICMP6, .type = p[0], .code = p[1]};
    memcpy(e->local.ip, &inner.ip6_src, 16);
    memcpy(e->remote.ip, &inner.ip6_dst, 16);
    e->fatal = e->code == ICMP6_DST_UNREACH_NOPORT;
    e->err = e->code == ICMP6_DST_UNREACH_NOPORT ? ECONNREFUSED
             : e->code == ICMP6_DST_UNREACH_NOROUTE ? ENETUNREACH
             : e->code == ICMP6_DST_UNREACH_ADMIN ? EACCES : EHOSTUNREACH;
    return parse_quoted(r, inner.ip6_nxt, p + 8 + sizeof inner, n - 8 - sizeof inner);
}

void fs_icmp_event(struct fs_sock *s)
{
    struct fstack *fs = s->fs;
    uint8_t packet[2048];
    struct sockaddr_storage at;
    struct zs_addr from;
    struct report r;
    for (;;) {
        socklen_t len = sizeof at;
        ssize_t n = ff_recvfrom(s->fd, packet, sizeof packet, 0, (struct linux_sockaddr *)&at, &len);
        if (n < 0)
            return;
        fs_to_zs(fs, &at, &from);
        if (s == &fs->icmp[1] && n > 0 && packet[0] == ND_ROUTER_ADVERT)
            fs_ra_heard(fs, ZS_WIRE_SCOPE_PORT(from.scope_id));
        bool about = s == &fs->icmp[0] ? parse4(packet, (size_t)n, &r) : parse6(packet, (size_t)n, &from, &r);
        if (about && r.protocol == IPPROTO_TCP && r.e.err != EMSGSIZE) {
            fs_conn_refused(fs, &r.e.local, &r.e.remote, r.seq, r.e.err);
        } else if (about && r.protocol == IPPROTO_UDP) {
            r.e.len = RTE_MIN(r.e.len, ZS_UDP_QUOTE_MAX);
            fs->events->unreachable(fs->engine, &r.e);
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
