/* SPDX-License-Identifier: BSD-3-Clause
 * Options of UDP sockets as datagrams over rings and wire need them, and interfaces that only the engine has: its ports go by
 * DPDK's name of the device (SO_BINDTODEVICE) and by ZS_WIRE_SCOPE and their number, and an interface of the kernel whose packets
 * a port takes means that port. */
#include "dgram.h"

#include <net/if.h>
#include <netinet/in.h>

static const struct {
    int level, name;
} option[DG_N] = {
#define X(id, level, name) [DG_##id] = {level, name},
    DG_OPTIONS(X)
#undef X
};

static void read_option(struct zsock *k, int fd, int i)
{
    int value = 0;
    socklen_t len = sizeof value;
    if (option[i].level == IPPROTO_IPV6 && k->family != AF_INET6)
        return;
    if (zs_sys(SYS_getsockopt, fd, option[i].level, option[i].name, &value, &len) == 0)
        k->dg.value[i] = value;
}

void dg_publish(struct zsock *k)
{
    const int *v = k->dg.value;
    const struct {
        bool on;
        uint32_t bit;
    } bits[] = {
        {v[DG_RECVERR], ZS_O_RECVERR}, {v[DG_RECVERR6], ZS_O_RECVERR6}, {v[DG_PMTU] == IP_PMTUDISC_DONT, ZS_O_PMTU_DONT},
        {k->family == AF_INET6 && v[DG_PMTU6] == IPV6_PMTUDISC_DONT, ZS_O_PMTU6_DONT}, {!v[DG_MCAST_ALL], ZS_O_JOINED_ONLY},
        {k->family == AF_INET6 && !v[DG_MCAST_ALL6], ZS_O_JOINED_ONLY6},
    };
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++)
        k->pre.bits = bits[i].on ? k->pre.bits | bits[i].bit : k->pre.bits & ~bits[i].bit;
    if (k->s != NULL)
        opt_apply(k);
    if (k->s != NULL && (k->pre.bits & (ZS_O_RECVERR | ZS_O_RECVERR6)))
        errq_open(k);
}

/* Fresh sockets have what the first one had: a call for each option takes longer than a datagram. */
void dg_load(struct zsock *k, int fd)
{
    if (atomic_load(&k->dg.loaded))
        return;
    struct zs_dgdefaults *fresh = &zs_proc.dgdefaults[k->family == AF_INET6];
    bool as_fresh = !k->dg.touched && atomic_load(&fresh->there);
    if (as_fresh)
        memcpy(k->dg.value, fresh->value, sizeof k->dg.value);
    for (int i = 0; i < DG_N && !as_fresh; i++)
        read_option(k, fd, i);
    atomic_store(&k->dg.loaded, true); /* two threads: the same twice */
    if (k->dg.touched || atomic_load(&fresh->there))
        return;
    memcpy(fresh->value, k->dg.value, sizeof k->dg.value);
    atomic_store(&fresh->there, true);
}

void dg_changed(struct zsock *k, int fd, int level, int name)
{
    k->dg.touched = true;
    if (!k->dg.loaded) /* all are read when the first is needed */
        return;
    for (int i = 0; i < DG_N; i++)
        if (option[i].level == level && option[i].name == name) {
            read_option(k, fd, i);
            dg_publish(k);
        }
}

/* ---- Ports ---- */

uint32_t dg_port_of_interface(const struct zs_view *v, uint32_t ifindex)
{
    struct zs_wire_port p;
    uint32_t port = ZS_WIRE_SCOPE_PORT(ifindex);
    if (port != 0)
        return zs_wire_port_copy(v, port, &p) ? port : 0;
    for (uint32_t i = 1; ifindex != 0 && zs_wire_port_copy(v, i, &p); i++)
        if (p.kernel_if == ifindex)
            return i;
    return 0;
}

static uint32_t port_by_name(const struct zs_view *v, const char *name)
{
    struct zs_wire_port p;
    for (uint32_t i = 1; zs_wire_port_copy(v, i, &p); i++)
        if (strcmp(p.name, name) == 0)
            return i;
    return 0;
}

unsigned zsp_if_nametoindex(const char *name)
{
    unsigned index = REAL(if_nametoindex)(name);
    if (index != 0 || !zs_proc.conf.enabled || zs_passthrough())
        return index;
    int err = errno;
    frame_begin();
    struct zs_domain *d = zs_attached();
    uint32_t port = d == NULL ? 0 : port_by_name(&d->view, name);
    frame_end();
    errno = err;
    return port == 0 ? 0 : ZS_WIRE_SCOPE + port;
}

char *zsp_if_indextoname(unsigned index, char *name)
{
    struct zs_wire_port p;
    bool ours = ZS_WIRE_SCOPE_PORT(index) != 0 && zs_proc.conf.enabled && !zs_passthrough();
    if (!ours)
        return REAL(if_indextoname)(index, name);
    frame_begin();
    struct zs_domain *d = zs_attached();
    bool found = d != NULL && zs_wire_port_copy(&d->view, ZS_WIRE_SCOPE_PORT(index), &p);
    frame_end();
    if (!found)
        return REAL(if_indextoname)(index, name);
    snprintf(name, IF_NAMESIZE, "%s", p.name);
    return name;
}

static uint32_t first_port(const struct zs_view *v, bool v6)
{
    struct zs_wire_port p;
    for (uint32_t i = 1; zs_wire_port_copy(v, i, &p); i++)
        if (v6 ? p.has6 : p.prefix4 != 0)
            return i;
    return 0;
}

uint32_t dg_port_to(struct zsock *k, const struct zs_addr *to, uint32_t ifindex, uint32_t *fallback)
{
    struct zs_view *v = &k->d->view;
    bool v6 = !zs_addr_is_v4(to->ip), group = zs_addr_is_group(to->ip), limited = zs_wire_is_broadcast(v, 0, to->ip);
    uint32_t chosen = group ? k->dg.mcast_port[v6] : 0;
    *fallback = 0;
    if (k->dg.port != 0)
        return k->dg.port == DG_PORT_KERNEL ? 0 : k->dg.port;
    if (ifindex != 0)
        return dg_port_of_interface(v, ifindex);
    if (group && v6 && to->scope_id != 0)
        return dg_port_of_interface(v, to->scope_id);
    if (chosen != 0)
        return chosen == DG_PORT_KERNEL ? 0 : chosen;
    if (limited && k->s != NULL && !zs_addr_is_any(k->s->local.ip))
        return zs_wire_port_with(v, k->s->local.ip);
    uint32_t port = zs_wire_port_to(v, to);
    if (port == 0 && (group || limited))
        *fallback = first_port(v, v6);
    return port;
}

bool dg_is_broadcast(struct zsock *k, uint32_t port, const struct zs_addr *to)
{
    return zs_wire_is_broadcast(&k->d->view, port, to->ip);
}

/* ---- Options that name an interface ---- */

/* The kernel has no such device: the socket is bound to the engine's port, and its placeholder to where nothing of the wire comes
 * from. */
static bool bind_to_port(struct zsock *k, int fd, const char *name, int *result)
{
    struct zs_domain *d = zs_attached();
    uint32_t port = d == NULL || REAL(if_nametoindex)(name) != 0 ? 0 : port_by_name(&d->view, name);
    if (port == 0)
        return false;
    *result = (int)zs_sys(SYS_setsockopt, fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
    if (*result == 0) {
        k->d = d;
        k->dg.port = port;
    }
    return true;
}

static void rebind(struct zsock *k, int fd)
{
    if (atomic_load(&k->kind) != ZK_UDP || k->s == NULL)
        return;
    dgram_unbound(k, fd); /* the engine looks at a socket once: what waits in its ring is lost, as a datagram may be */
    dgram_bound(k, fd);
}

static bool bind_to_device(struct zsock *k, int fd, const void *val, socklen_t len, int *result)
{
    char name[32] = {0};
    if (val == NULL || (int)len < 0)
        return false;
    memcpy(name, val, len < sizeof name - 1 ? len : sizeof name - 1);
    if (name[0] == 0 || !bind_to_port(k, fd, name, result)) {
        *result = (int)zs_sys(SYS_setsockopt, fd, SOL_SOCKET, SO_BINDTODEVICE, val, len);
        struct zs_domain *d = *result == 0 && name[0] != 0 ? zs_attached() : NULL;
        uint32_t port = d == NULL ? 0 : dg_port_of_interface(&d->view, REAL(if_nametoindex)(name));
        if (*result == 0)
            k->dg.port = name[0] == 0 ? 0 : port != 0 ? port : DG_PORT_KERNEL;
    }
    if (*result == 0)
        rebind(k, fd);
    return true;
}

/* IP_MULTICAST_IF: in_addr, ip_mreq or ip_mreqn; IPV6_MULTICAST_IF: an index. */
static bool multicast_interface(struct zsock *k, int fd, int level, const void *val, socklen_t len, int *result)
{
    struct zs_domain *d = zs_attached();
    struct ip_mreqn m = {.imr_ifindex = 0};
    uint8_t ip[16] = {[10] = 0xff, [11] = 0xff};
    bool v6 = level == IPPROTO_IPV6;
    if (d == NULL || val == NULL || len < sizeof(struct in_addr))
        return false;
    if (v6)
        memcpy(&m.imr_ifindex, val, sizeof m.imr_ifindex);
    else if (len >= sizeof(struct ip_mreq))
        memcpy(&m, val, len < sizeof m ? sizeof(struct ip_mreq) : sizeof m);
    else
        memcpy(&m.imr_address, val, sizeof m.imr_address);
    memcpy(ip + 12, &m.imr_address, 4);
    bool none = m.imr_ifindex == 0 && m.imr_address.s_addr == 0;
    uint32_t port = m.imr_ifindex != 0 ? dg_port_of_interface(&d->view, (uint32_t)m.imr_ifindex) : none ? 0 : zs_wire_port_with(&d->view, ip);
    if (port == 0)
        *result = (int)zs_sys(SYS_setsockopt, fd, level, v6 ? IPV6_MULTICAST_IF : IP_MULTICAST_IF, val, len);
    else
        *result = 0;
    if (*result == 0)
        k->dg.mcast_port[v6] = port != 0 ? port : none ? 0 : DG_PORT_KERNEL;
    return true;
}

bool dg_set(struct zsock *k, int fd, int level, int name, const void *val, socklen_t len, int *result)
{
    bool udp = atomic_load(&k->kind) == ZK_UDP;
    if (level == SOL_SOCKET && name == SO_BINDTODEVICE)
        return bind_to_device(k, fd, val, len, result);
    if (udp && ((level == IPPROTO_IP && name == IP_MULTICAST_IF) || (level == IPPROTO_IPV6 && name == IPV6_MULTICAST_IF)))
        return multicast_interface(k, fd, level, val, len, result);
    return udp && group_option(k, fd, level, name, val, len, result);
}

static int put_back(void *val, socklen_t *len, const void *src, socklen_t n)
{
    *len = *len < n ? *len : n;
    memcpy(val, src, *len);
    return 0;
}

bool dg_get(struct zsock *k, int level, int name, void *val, socklen_t *len, int *result)
{
    struct zs_wire_port p;
    struct zs_view *v = k->d != NULL ? &k->d->view : NULL;
    if (v == NULL || val == NULL || len == NULL || (int)*len < 0)
        return false;
    if (level == SOL_SOCKET && name == SO_BINDTODEVICE && k->dg.port != 0 && zs_wire_port_copy(v, k->dg.port, &p) && p.kernel_if == 0) {
        *result = put_back(val, len, p.name, (socklen_t)strlen(p.name) + 1);
        return true;
    }
    if (level == IPPROTO_IPV6 && name == IPV6_MULTICAST_IF && zs_wire_port_copy(v, k->dg.mcast_port[1], &p)) {
        int index = (int)(ZS_WIRE_SCOPE + k->dg.mcast_port[1]);
        *result = put_back(val, len, &index, sizeof index);
        return true;
    }
    if (level == IPPROTO_IP && name == IP_MULTICAST_IF && zs_wire_port_copy(v, k->dg.mcast_port[0], &p)) {
        *result = put_back(val, len, p.addr4, sizeof p.addr4);
        return true;
    }
    bool mtu = (level == IPPROTO_IP && name == IP_MTU) || (level == IPPROTO_IPV6 && name == IPV6_MTU);
    if (mtu && atomic_load(&k->kind) == ZK_UDP && dgram_wire_peer(k) && zs_wire_port_copy(v, zs_wire_port_to(v, &k->s->remote), &p)) {
        int value = atomic_load(&k->s->pmtu) != 0 ? (int)atomic_load(&k->s->pmtu) : (int)p.mtu;
        *result = put_back(val, len, &value, sizeof value);
        return true;
    }
    return false;
}
