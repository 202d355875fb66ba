/* SPDX-License-Identifier: BSD-3-Clause
 * Routes, neighbours and addresses in FreeBSD's routing messages (net/route.h, net/if.h there): a header, then socket addresses in
 * the order of their bits, each rounded up to eight bytes. */
#define _GNU_SOURCE
#include "bsd_route.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ip.h"

#define BSD_AF_INET 2
#define BSD_AF_LINK 18
#define BSD_AF_INET6 28
#define BSD_CTL_NET 4
#define BSD_PF_ROUTE 17

#define RTM_VERSION 5
#define RTM_ADD 1
#define RTM_DELETE 2
#define RTM_NEWADDR 0xc

#define RTF_UP 0x1
#define RTF_GATEWAY 0x2
#define RTF_HOST 0x4
#define RTF_LLDATA 0x400
#define RTF_STATIC 0x800

enum { RTAX_DST, RTAX_GATEWAY, RTAX_NETMASK, RTAX_GENMASK, RTAX_IFP, RTAX_IFA, RTAX_MAX = 8 };

struct message {
    uint16_t len;
    uint8_t version, type;
    uint16_t index, spare;
    int32_t flags, addrs, pid, seq, err, mask;
    uint64_t inits, metrics[14];
};
_Static_assert(sizeof(struct message) == 152, "struct rt_msghdr");

/* struct ifa_msghdr */
struct address_message {
    uint16_t len;
    uint8_t version, type;
    int32_t addrs, flags;
    uint16_t index, spare;
    int32_t metric;
};
_Static_assert(sizeof(struct address_message) == 20, "struct ifa_msghdr");

struct bsd_in {
    uint8_t len, family;
    uint16_t port;
    uint8_t addr[4], zero[8];
};

struct bsd_in6 {
    uint8_t len, family;
    uint16_t port;
    uint32_t flow;
    uint8_t addr[16];
    uint32_t scope;
};

struct bsd_dl {
    uint8_t len, family;
    uint16_t index;
    uint8_t type, nlen, alen, slen, data[46];
};

/* ---- Messages to FreeBSD ---- */

#define BODY_MAX 256u

struct builder {
    struct message head;
    uint8_t body[BODY_MAX];
};

static size_t rounded(size_t len)
{
    return len == 0 ? sizeof(uint64_t) : RTE_ALIGN_CEIL(len, sizeof(uint64_t));
}

/* In the order of RTAX_*. */
static void put(struct builder *b, int which, const void *sockaddr, size_t len)
{
    memcpy(b->body + b->head.len - sizeof b->head, sockaddr, len);
    b->head.len = (uint16_t)(b->head.len + rounded(len));
    b->head.addrs |= 1 << which;
}

static void put_ip(struct builder *b, int which, const struct ip_addr *a)
{
    if (ip_is_v4(a)) {
        struct bsd_in in = {.len = sizeof in, .family = BSD_AF_INET};
        memcpy(in.addr, a->b + 12, sizeof in.addr);
        put(b, which, &in, sizeof in);
    } else {
        struct bsd_in6 in6 = {.len = sizeof in6, .family = BSD_AF_INET6};
        memcpy(in6.addr, a->b, sizeof in6.addr);
        put(b, which, &in6, sizeof in6);
    }
}

static void put_mask(struct builder *b, bool v4, unsigned len)
{
    struct ip_addr mask = {0};
    for (unsigned i = v4 ? 96 : 0; i < len; i++)
        mask.b[i / 8] |= (uint8_t)(0x80u >> i % 8);
    if (v4)
        mask.b[10] = mask.b[11] = 0xff; /* the form of an address of IPv4 */
    put_ip(b, RTAX_NETMASK, &mask);
}

static void put_link(struct builder *b, int which, const struct fs_device *d)
{
    struct bsd_dl dl = {.len = sizeof dl, .family = BSD_AF_LINK, .index = (uint16_t)d->ifindex};
    put(b, which, &dl, sizeof dl);
}

static struct builder begin(uint8_t type, int32_t flags)
{
    return (struct builder){.head = {.len = sizeof(struct message), .version = RTM_VERSION, .type = type, .flags = flags}};
}

static bool submit(struct builder *b)
{
    unsigned len = b->head.len;
    return ff_rtioctl(0, b, &len, sizeof *b) == 0;
}

bool fs_route_add(const struct fs_device *d, const struct net_route *r)
{
    bool v4 = ip_is_v4(&r->prefix), on_link = ip_is_any(&r->hop);
    struct builder b = begin(RTM_ADD, RTF_UP | RTF_STATIC | (on_link ? 0 : RTF_GATEWAY));
    put_ip(&b, RTAX_DST, &r->prefix);
    if (on_link)
        put_link(&b, RTAX_GATEWAY, d);
    else
        put_ip(&b, RTAX_GATEWAY, &r->hop);
    put_mask(&b, v4, r->len);
    if (on_link)
        put_link(&b, RTAX_IFP, d);
    return submit(&b);
}

void fs_neighbour_forget(const struct fs_device *d, rte_be32_t addr)
{
    struct ip_addr ip = ip_from_v4(addr);
    struct builder b = begin(RTM_DELETE, RTF_LLDATA);
    put_ip(&b, RTAX_DST, &ip);
    put_link(&b, RTAX_GATEWAY, d);
    submit(&b);
}

/* ---- Tables of FreeBSD ---- */

/* The socket addresses of a message, from `at` on; NULL where there is none. */
static void split(const uint8_t *at, const uint8_t *end, int32_t addrs, const uint8_t *found[RTAX_MAX])
{
    for (int i = 0; i < RTAX_MAX; i++) {
        found[i] = NULL;
        if (!(addrs & 1 << i) || at >= end)
            continue;
        found[i] = at;
        at += rounded(at[0]);
    }
}

static bool read_ip(const uint8_t *sockaddr, struct ip_addr *a)
{
    *a = (struct ip_addr){0};
    if (sockaddr == NULL)
        return false;
    if (sockaddr[1] == BSD_AF_INET && sockaddr[0] >= sizeof(struct bsd_in) - 8) {
        a->b[10] = a->b[11] = 0xff;
        memcpy(a->b + 12, sockaddr + offsetof(struct bsd_in, addr), 4);
        return true;
    }
    if (sockaddr[1] != BSD_AF_INET6 || sockaddr[0] < offsetof(struct bsd_in6, scope))
        return false;
    memcpy(a->b, sockaddr + offsetof(struct bsd_in6, addr), 16);
    if (ip6_is_link_local(a))
        a->b[2] = a->b[3] = 0; /* FreeBSD's zone */
    return true;
}

/* A mask of IPv6, which may be cut behind its last byte that is not 0. */
static uint8_t mask_len(const uint8_t *sockaddr)
{
    unsigned len = 0, n = sockaddr == NULL ? 0 : sockaddr[0];
    for (unsigned i = offsetof(struct bsd_in6, addr); i < RTE_MIN(n, (unsigned)offsetof(struct bsd_in6, scope)); i++)
        len += (unsigned)__builtin_popcount(sockaddr[i]);
    return (uint8_t)len;
}

static void tell(const uint8_t *m, size_t len, fs_route_fn *each, void *arg)
{
    const uint8_t *found[RTAX_MAX];
    struct fs_route_entry e = {0};
    if (m[3] == RTM_NEWADDR) {
        struct address_message head;
        memcpy(&head, m, sizeof head);
        split(m + sizeof head, m + len, head.addrs, found);
        e = (struct fs_route_entry){.ifindex = head.index, .own = true, .prefix_len = mask_len(found[RTAX_NETMASK])};
        if (read_ip(found[RTAX_IFA], &e.addr))
            each(arg, &e);
        return;
    }
    struct message head;
    if (len < sizeof head)
        return;
    memcpy(&head, m, sizeof head);
    split(m + sizeof head, m + len, head.addrs, found);
    const uint8_t *link = found[RTAX_GATEWAY];
    e = (struct fs_route_entry){.ifindex = head.index, .host = head.flags & RTF_HOST};
    e.resolved = link != NULL && link[1] == BSD_AF_LINK && link[offsetof(struct bsd_dl, alen)] > 0;
    e.prefix_len = e.host ? 128 : mask_len(found[RTAX_NETMASK]);
    read_ip(link, &e.hop);
    if (read_ip(found[RTAX_DST], &e.addr))
        each(arg, &e);
}

bool fs_route_walk(enum fs_table which, fs_route_fn *each, void *arg)
{
    static const int what[] = {[FS_NEIGHBOURS4] = 2, [FS_NEIGHBOURS6] = 2, [FS_ROUTES6] = 1, [FS_ADDRESSES6] = 3}; /* NET_RT_FLAGS, DUMP, IFLIST */
    const int family = which == FS_NEIGHBOURS4 ? BSD_AF_INET : BSD_AF_INET6;
    const int name[] = {BSD_CTL_NET, BSD_PF_ROUTE, 0, family, what[which], what[which] == 2 ? RTF_LLDATA : 0};
    size_t size = 0;
    if (ff_sysctl(name, RTE_DIM(name), NULL, &size, NULL, 0) != 0)
        return false;
    if (size == 0)
        return true;
    uint8_t *all = malloc(size);
    bool read = all != NULL && ff_sysctl(name, RTE_DIM(name), all, &size, NULL, 0) == 0;
    for (size_t at = 0; read && at + sizeof(struct address_message) <= size;) {
        uint16_t len;
        memcpy(&len, all + at, sizeof len);
        if (len < sizeof(struct address_message) || len > size - at)
            break;
        tell(all + at, len, each, arg);
        at += len;
    }
    free(all);
    return read;
}
