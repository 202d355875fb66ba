/* SPDX-License-Identifier: BSD-3-Clause
 * Router advertisements, on ports that are to believe them (ra=): FreeBSD reads them (RFC 4861 6.3, 4862 5.5). Here is what it leaves to
 * programs: solicitations at the beginning; and its addresses and routes are read, so that the engine knows them, after each
 * advertisement and once a second, since they expire. */
#define _GNU_SOURCE
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bsd_route.h"
#include "ip.h"
#include "route.h"

#define SOLICITATIONS 3u /* RFC 4861 10 MAX_RTR_SOLICITATIONS */
#define SOLICIT_NS (4 * NS_PER_S)
#define LOOK_NS NS_PER_S

/* netinet6/in6_var.h, nd6.h, in6.h there. */
#define BSD_SIOCGIFINFO_IN6 0xc048696cu
#define BSD_SIOCSIFINFO_FLAGS 0xc0486957u
#define BSD_ND6_ACCEPT_RTADV 0x2u
#define BSD_ND6_IFDISABLED 0x8u
#define BSD_ND6_AUTO_LINKLOCAL 0x20u
#define BSD_IPV6_MULTICAST_IF 9
#define BSD_IPV6_MULTICAST_HOPS 10

/* struct in6_ndireq */
struct nd_request {
    char name[16];
    uint32_t link_mtu, max_mtu, base_reachable, reachable, retransmit, flags;
    int32_t recalculate;
    uint8_t hops, initialized, rest[26];
};
_Static_assert(sizeof(struct nd_request) == 72, "struct in6_ndireq");

/* ---- Start ---- */

bool fs_ra_start(struct fs_device *d, uint32_t index)
{
    int fd = ff_socket(AF_INET6_LINUX, SOCK_DGRAM, 0);
    struct nd_request r = {0};
    snprintf(r.name, sizeof r.name, "f-stack-%u", index);
    bool good = fd >= 0 && ff_ioctl_freebsd(fd, BSD_SIOCGIFINFO_IN6, &r) == 0;
    /* A link-local address is made when the flag that asks for it comes. */
    r.flags &= ~(BSD_ND6_IFDISABLED | BSD_ND6_AUTO_LINKLOCAL);
    good = good && ff_ioctl_freebsd(fd, BSD_SIOCSIFINFO_FLAGS, &r) == 0;
    r.flags |= BSD_ND6_ACCEPT_RTADV | BSD_ND6_AUTO_LINKLOCAL;
    good = good && ff_ioctl_freebsd(fd, BSD_SIOCSIFINFO_FLAGS, &r) == 0;
    if (fd >= 0)
        ff_close(fd);
    d->solicitations = SOLICITATIONS;
    d->fs->ra = d->fs->ra || good;
    return good;
}

static void solicit(struct fs_device *d)
{
    const struct fs_sock *s = &d->fs->icmp[1];
    struct nd_router_solicit rs = {.nd_rs_type = ND_ROUTER_SOLICIT};
    struct sockaddr_in6 all = {.sin6_family = AF_INET6_LINUX, .sin6_scope_id = (uint32_t)d->ifindex};
    all.sin6_addr.s6_addr[0] = 0xff;
    all.sin6_addr.s6_addr[1] = all.sin6_addr.s6_addr[15] = 2;
    fs_set_int(s->fd, IPPROTO_IPV6, BSD_IPV6_MULTICAST_IF, d->ifindex);
    fs_set_int(s->fd, IPPROTO_IPV6, BSD_IPV6_MULTICAST_HOPS, 255);
    ff_sendto(s->fd, &rs, sizeof rs, 0, (struct linux_sockaddr *)&all, sizeof all);
}

/* ---- What FreeBSD has ---- */

struct found {
    struct fstack *fs;
    struct fs_learned now[FS_LEARNED_MAX];
    uint32_t n;
};

static uint32_t port_with(const struct fstack *fs, int ifindex)
{
    for (uint32_t i = 0; i < fs->nports; i++)
        if (fs->device[i].ifindex == ifindex)
            return i + 1;
    return 0;
}

static bool configured(const struct net_port_conf *c, const struct fs_route_entry *e)
{
    if (e->own)
        return ip_eq(&e->addr, &c->addr6);
    for (uint32_t i = 0; i < c->nroutes; i++)
        if (c->route[i].len == e->prefix_len && ip_eq(&c->route[i].prefix, &e->addr))
            return true;
    if (e->prefix_len == 0)
        return !ip_is_any(&c->gateway6);
    return !ip_is_any(&c->addr6) && c->prefix6_len == e->prefix_len && ip_prefix_matches(&c->addr6, e->prefix_len, &e->addr);
}

/* Networks and addresses of IPv6 on ports with ra=, but for what was configured. */
static void collect(void *arg, const struct fs_route_entry *e)
{
    struct found *f = arg;
    uint32_t port = port_with(f->fs, e->ifindex);
    const struct net_port_conf *c = port == 0 ? NULL : &f->fs->device[port - 1].at.conf;
    bool special = ip6_is_multicast(&e->addr) || ip6_is_link_local(&e->addr);
    if (c == NULL || !c->ra || special || e->host || f->n == FS_LEARNED_MAX || configured(c, e))
        return;
    f->now[f->n++] = (struct fs_learned){.addr = e->addr, .hop = e->hop, .prefix_len = e->prefix_len, .port = (uint8_t)port, .own = e->own};
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct fs_learned));
}

static void look(struct fstack *fs)
{
    struct found f = {.fs = fs};
    if (!fs_route_walk(FS_ADDRESSES6, collect, &f) || !fs_route_walk(FS_ROUTES6, collect, &f))
        return;
    qsort(f.now, f.n, sizeof *f.now, by_bytes);
    if (f.n == fs->nlearned && memcmp(f.now, fs->learned, f.n * sizeof *f.now) == 0)
        return;
    memcpy(fs->learned, f.now, f.n * sizeof *f.now);
    fs->nlearned = f.n;
    fs->events->addresses_changed(fs->engine);
}

const struct fs_learned *fs_ra_address(const struct fstack *fs, uint32_t port)
{
    for (uint32_t i = 0; i < fs->nlearned; i++)
        if (fs->learned[i].port == port && fs->learned[i].own)
            return &fs->learned[i];
    return NULL;
}

void fs_ra_heard(struct fstack *fs, uint32_t port)
{
    if (port == 0 || port > fs->nports || !fs->device[port - 1].at.conf.ra)
        return;
    fs->ra_rx++;
    fs->device[port - 1].solicitations = 0;
    fs->ra_look = 0;
}

void fs_ra_run(struct fstack *fs)
{
    if (!fs->ra || fs->now < fs->ra_look)
        return;
    fs->ra_look = fs->now + LOOK_NS;
    look(fs);
    if (fs->now < fs->ra_solicit)
        return;
    fs->ra_solicit = fs->now + SOLICIT_NS;
    for (uint32_t i = 0; i < fs->nports; i++)
        if (fs->device[i].solicitations > 0) {
            fs->device[i].solicitations--;
            solicit(&fs->device[i]);
        }
}

uint64_t fs_ra_next(const struct fstack *fs)
{
    return fs->ra ? fs->ra_look : UINT64_MAX;
}
