/* SPDX-License-Identifier: BSD-3-Clause
 * Multicast groups (ip(7), ipv6(7), RFC 3678). A group is joined where the interface that is named belongs: at a port of the
 * engine or at the kernel. With none named, where the route to the group leads: to a port that is the way there (a gateway, a
 * static route), else by the kernel, and if that knows no way, at the engine's first port. */
#include "dgram.h"

#include <netinet/in.h>
#include <sys/mman.h>

#define PAGE 4096u

/* What the socket wants of groups at the engine; for a later bind, and another engine. */
struct zs_groups {
    uint32_t n;
    struct zs_ctl_group item[(PAGE - 8) / sizeof(struct zs_ctl_group)];
};

/* An option in one form. */
struct wish {
    struct zs_addr group;
    uint8_t source[16];
    uint32_t ifindex;
    uint8_t ifaddr[16]; /* any: not given */
    uint32_t how;       /* ZS_GROUP_* */
};

static void map4(uint8_t ip[16], const void *a)
{
    memset(ip, 0, 16);
    ip[10] = ip[11] = 0xff;
    memcpy(ip + 12, a, 4);
}

/* ip_mreq, ip_mreqn, ip_mreq_source */
static bool read_ip4(int name, const void *val, socklen_t len, struct wish *w)
{
    static const struct {
        int name;
        uint32_t how;
    } kinds[] = {{IP_ADD_MEMBERSHIP, ZS_GROUP_JOIN}, {IP_DROP_MEMBERSHIP, ZS_GROUP_LEAVE},
                 {IP_ADD_SOURCE_MEMBERSHIP, ZS_GROUP_ALLOW}, {IP_DROP_SOURCE_MEMBERSHIP, ZS_GROUP_DISALLOW},
                 {IP_BLOCK_SOURCE, ZS_GROUP_BLOCK}, {IP_UNBLOCK_SOURCE, ZS_GROUP_UNBLOCK}};
    struct ip_mreqn m = {.imr_ifindex = 0};
    struct ip_mreq_source s;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].name == name)
            w->how = kinds[i].how;
    bool with_source = w->how > ZS_GROUP_LEAVE;
    if (w->how == 0 || len < (with_source ? sizeof s : sizeof(struct ip_mreq)))
        return false;
    if (with_source) {
        memcpy(&s, val, sizeof s);
        m.imr_multiaddr = s.imr_multiaddr;
        m.imr_address = s.imr_interface;
        map4(w->source, &s.imr_sourceaddr);
    } else {
        memcpy(&m, val, len >= sizeof m ? sizeof m : sizeof(struct ip_mreq));
    }
    map4(w->group.ip, &m.imr_multiaddr);
    map4(w->ifaddr, &m.imr_address);
    w->ifindex = (uint32_t)m.imr_ifindex;
    return true;
}

/* group_req, group_source_req (RFC 3678 5.1.2) */
static bool read_protocol_independent(int name, const void *val, socklen_t len, struct wish *w)
{
    static const struct {
        int name;
        uint32_t how;
    } kinds[] = {{MCAST_JOIN_GROUP, ZS_GROUP_JOIN}, {MCAST_LEAVE_GROUP, ZS_GROUP_LEAVE},
                 {MCAST_JOIN_SOURCE_GROUP, ZS_GROUP_ALLOW}, {MCAST_LEAVE_SOURCE_GROUP, ZS_GROUP_DISALLOW},
                 {MCAST_BLOCK_SOURCE, ZS_GROUP_BLOCK}, {MCAST_UNBLOCK_SOURCE, ZS_GROUP_UNBLOCK}};
    struct group_source_req r;
    struct zs_addr source;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].name == name)
            w->how = kinds[i].how;
    bool with_source = w->how > ZS_GROUP_LEAVE;
    if (w->how == 0 || len < (with_source ? sizeof r : sizeof(struct group_req)))
        return false;
    memset(&r, 0, sizeof r);
    memcpy(&r, val, with_source ? sizeof r : sizeof(struct group_req)); /* their beginnings are the same */
    w->ifindex = r.gsr_interface;
    if (addr_from_sockaddr(&w->group, (const struct sockaddr *)&r.gsr_group, sizeof r.gsr_group) < 0)
        return false;
    if (with_source && addr_from_sockaddr(&source, (const struct sockaddr *)&r.gsr_source, sizeof r.gsr_source) < 0)
        return false;
    if (with_source)
        memcpy(w->source, source.ip, 16);
    return true;
}

static bool read_wish(int level, int name, const void *val, socklen_t len, struct wish *w)
{
    memset(w, 0, sizeof *w);
    if (val == NULL)
        return false;
    if (name >= MCAST_JOIN_GROUP && name <= MCAST_LEAVE_SOURCE_GROUP)
        return read_protocol_independent(name, val, len, w);
    if (level == IPPROTO_IP)
        return read_ip4(name, val, len, w);
    struct ipv6_mreq m;
    if ((name != IPV6_ADD_MEMBERSHIP && name != IPV6_DROP_MEMBERSHIP) || len < sizeof m)
        return false;
    memcpy(&m, val, sizeof m);
    w->how = name == IPV6_ADD_MEMBERSHIP ? ZS_GROUP_JOIN : ZS_GROUP_LEAVE;
    memcpy(w->group.ip, &m.ipv6mr_multiaddr, 16);
    w->ifindex = m.ipv6mr_interface;
    return true;
}

static struct zs_ctl_group *held(struct zsock *k, const uint8_t group[16], uint32_t port)
{
    for (uint32_t i = 0; k->groups != NULL && i < k->groups->n; i++)
        if (memcmp(k->groups->item[i].group, group, 16) == 0 && (port == 0 || k->groups->item[i].port == port))
            return &k->groups->item[i];
    return NULL;
}

/* Keeps the list of what makes up the present state: joins and the sources behind them. */
static int note(struct zsock *k, const struct zs_ctl_group *g)
{
    bool undoes = g->how == ZS_GROUP_LEAVE || g->how == ZS_GROUP_DISALLOW || g->how == ZS_GROUP_UNBLOCK;
    if (k->groups == NULL) {
        void *page = (void *)zs_sys(SYS_mmap, NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if ((long)page < 0)
            return -ENOBUFS;
        k->groups = page;
    }
    struct zs_groups *all = k->groups;
    if (!undoes) {
        if (all->n == sizeof all->item / sizeof all->item[0])
            return -ENOBUFS;
        all->item[all->n++] = *g;
        return 0;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < all->n; i++) {
        const struct zs_ctl_group *o = &all->item[i];
        bool same = o->port == g->port && memcmp(o->group, g->group, 16) == 0;
        bool drop = same && (g->how == ZS_GROUP_LEAVE || (o->how == g->how - 1 && memcmp(o->source, g->source, 16) == 0));
        if (!drop)
            all->item[kept++] = *o;
    }
    all->n = kept;
    return 0;
}

static int tell(struct zsock *k, const struct zs_ctl_group *g)
{
    struct zs_ctl_request r = {.op = ZS_CTL_GROUP, .a = k->index, .b = k->gen, .u.group = *g};
    struct zs_ctl_reply reply;
    int none = -1;
    return zs_rpc(k->d, &r, &reply, &none);
}

/* Before a bind the engine knows nothing of the socket: as far as can be told here. */
static int check_unbound(struct zsock *k, const struct zs_ctl_group *g)
{
    bool there = held(k, g->group, g->port) != NULL;
    if (g->how == ZS_GROUP_JOIN)
        return there ? -EADDRINUSE : 0;
    return g->how == ZS_GROUP_ALLOW || there ? 0 : -EADDRNOTAVAIL;
}

static int at_engine(struct zsock *k, struct zs_domain *d, const struct wish *w, uint32_t port)
{
    struct zs_ctl_group g = {.port = port, .how = w->how};
    memcpy(g.group, w->group.ip, 16);
    memcpy(g.source, w->source, 16);
    if (k->s == NULL)
        k->d = d;
    int r = k->s != NULL ? tell(k, &g) : check_unbound(k, &g);
    return r < 0 ? r : note(k, &g);
}

bool group_option(struct zsock *k, int fd, int level, int name, const void *val, socklen_t len, int *result)
{
    struct wish w;
    struct zs_domain *d;
    if ((level != IPPROTO_IP && level != IPPROTO_IPV6) || !read_wish(level, name, val, len, &w) || !zs_addr_is_group(w.group.ip) ||
        (d = k->s != NULL ? k->d : zs_attached()) == NULL || d->view.arena->header.wire_ports == 0)
        return false;
    bool named = w.ifindex != 0 || !zs_addr_is_any(w.ifaddr);
    uint32_t port, fallback = 0;
    struct zs_domain *before = k->d;
    k->d = d;
    if (!named && w.how != ZS_GROUP_JOIN && w.how != ZS_GROUP_ALLOW) { /* where it was joined */
        const struct zs_ctl_group *g = held(k, w.group.ip, 0);
        port = g != NULL ? g->port : 0;
    } else if (!named) {
        port = dg_port_to(k, &w.group, 0, &fallback);
    } else {
        port = w.ifindex != 0 ? dg_port_of_interface(&d->view, w.ifindex) : zs_wire_port_with(&d->view, w.ifaddr);
    }
    k->d = before;
    if (port == 0) {
        long r = zs_sys(SYS_setsockopt, fd, level, name, val, len);
        *result = (int)r;
        if (r != -ENODEV || fallback == 0)
            return true;
        port = fallback;
    }
    *result = at_engine(k, d, &w, port);
    return true;
}

void groups_bound(struct zsock *k)
{
    for (uint32_t i = 0; k->groups != NULL && i < k->groups->n; i++)
        if (tell(k, &k->groups->item[i]) < 0)
            zs_log(ZS_LOG_WARN, "a multicast group is not joined on the engine's port %u", k->groups->item[i].port);
}

void groups_forget(struct zsock *k)
{
    if (k->groups != NULL)
        zs_sys(SYS_munmap, k->groups, PAGE);
    k->groups = NULL;
}
