/* SPDX-License-Identifier: BSD-3-Clause
 * What the backend tells in the status. */
#define _GNU_SOURCE
#include <stdlib.h>

#include "fstack.h"
#include "ipv6.h"

static int longest_first(const void *a, const void *b)
{
    const struct zs_wire_addr *x = a, *y = b;
    return (int)y->prefix_len - (int)x->prefix_len;
}

static uint32_t put_routes(const struct net_port_conf *c, uint8_t number, struct zs_wire_addr *to, uint32_t at, uint32_t max)
{
    const struct ip_addr v4 = ip_from_v4(c->addr), any4 = ip_from_v4(0), any6 = {0};
    at = stack_put_addr(to, at, max, &v4, (uint8_t)(96 + c->prefix_len), ZS_WIRE_ROUTE, number);
    if (c->gateway != 0)
        at = stack_put_addr(to, at, max, &any4, 96, ZS_WIRE_ROUTE, number);
    for (uint32_t i = 0; i < c->nroutes; i++)
        at = stack_put_addr(to, at, max, &c->route[i].prefix, c->route[i].len, ZS_WIRE_ROUTE, number);
    if (!c->has6 || ip_is_any(&c->addr6) || ip6_is_link_local(&c->addr6))
        return at;
    at = stack_put_addr(to, at, max, &c->addr6, c->prefix6_len, ZS_WIRE_ROUTE, number);
    return ip_is_any(&c->gateway6) ? at : stack_put_addr(to, at, max, &any6, 0, ZS_WIRE_ROUTE, number);
}

/* What routers gave: addresses, or networks. */
static uint32_t put_learned(const struct fstack *fs, bool own, struct zs_wire_addr *to, uint32_t at, uint32_t max)
{
    for (uint32_t i = 0; i < fs->nlearned; i++) {
        const struct fs_learned *l = &fs->learned[i];
        if (l->own == own)
            at = stack_put_addr(to, at, max, &l->addr, own ? 128 : l->prefix_len, own ? ZS_WIRE_OWN : ZS_WIRE_ROUTE, l->port);
    }
    return at;
}

uint32_t fs_addresses(void *stack, struct zs_wire_addr *to, uint32_t max)
{
    const struct fstack *fs = stack;
    uint32_t count = 0;
    for (uint32_t i = 0; i < fs->nports; i++)
        count = stack_port_own(&fs->device[i].at, &fs->device[i].at.conf.addr6, (uint8_t)(i + 1), to, count, max);
    count = put_learned(fs, true, to, count, max);
    uint32_t own = count;
    for (uint32_t i = 0; i < fs->nports; i++)
        count = put_routes(&fs->device[i].at.conf, (uint8_t)(i + 1), to, count, max);
    count = put_learned(fs, false, to, count, max);
    qsort(to + own, count - own, sizeof *to, longest_first);
    return count;
}

uint32_t fs_ports(void *stack, struct zs_wire_port *to, uint32_t max)
{
    const struct fstack *fs = stack;
    uint32_t count = RTE_MIN(fs->nports, max);
    for (uint32_t i = 0; i < count; i++)
        stack_port_tell(&fs->device[i].at, &to[i]);
    return count;
}

json_t *fs_describe_ports(void *stack)
{
    const struct fstack *fs = stack;
    json_t *all = json_array();
    for (uint32_t i = 0; i < fs->nports; i++) {
        struct net_port_conf now = fs->device[i].at.conf;
        const struct fs_learned *l = fs_ra_address(fs, i + 1);
        if (l != NULL && ip_is_any(&now.addr6)) {
            now.addr6 = l->addr;
            now.prefix6_len = l->prefix_len;
        }
        json_array_append_new(all, stack_port_describe(&fs->device[i].at, &now, NULL));
    }
    return all;
}

/* A received byte is copied from the packet into the ring; a sent one from the ring into FreeBSD's buffers and from there
 * into the packet. */
void fs_describe_memory(void *stack, json_t *wire)
{
    json_object_set_new(wire, "loans", json_integer(0));
    json_object_set_new(wire, "rx_copies", json_real(1));
    json_object_set_new(wire, "tx_copies", json_real(2));
    fs_describe_sysctls(stack, wire);
    fs_describe_congestion(stack, wire);
}
