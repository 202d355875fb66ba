/* SPDX-License-Identifier: BSD-3-Clause
 * The stack's life, its ports, and the way of frames in and out. */
#include "stack.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "acd.h"
#include "arp.h"
#include "gro.h"
#include "group.h"
#include "ipv4.h"
#include "ipv6.h"
#include "neigh.h"
#include "route.h"
#include "tcp.h"
#include "udp.h"

const struct net_counter_info net_counter_info[NET_COUNTER_N] = {
#define X(id, name, text) {name, text},
#include "counters.def"
#undef X
};

/* Memory of rings is freed by the bytes' acknowledgement, which waits for the packets: see tcp_acked(). */
static void nothing_to_free(void *addr, void *opaque)
{
    (void)addr;
    (void)opaque;
}

struct stack *stack_create(const struct stack_conf *conf, uint64_t now)
{
    struct stack *st = calloc(1, sizeof *st);
    if (st == NULL)
        return NULL;
    st->conf = *conf;
    if (st->conf.rcvbuf == 0)
        st->conf.rcvbuf = NET_RCVBUF;
    if (st->conf.rcvbuf_max == 0)
        st->conf.rcvbuf_max = NET_RCVBUF_MAX;
    st->conf.rcvbuf_max = RTE_MAX(st->conf.rcvbuf_max, st->conf.rcvbuf);
    st->ring_memory.free_cb = nothing_to_free;
    rte_mbuf_ext_refcnt_set(&st->ring_memory, 1);
    st->now = now;
    wheel_init(&st->wheel, now);
    memcpy(&st->random, conf->key, sizeof st->random);
    st->random = (st->random ^ conf->number * UINT64_C(0x9e3779b97f4a7c15)) | 1; /* the key is one for all stacks of a host */
    st->neigh = neigh_create(conf->max_neighbours);
    st->reass = reass_create();
    st->pmtu = pmtu_create();
    st->redirects = redirects_create();
    st->udp = udp_create();
    st->tcp = tcp_create(st);
    st->routes = calloc(NET_MAX_ROUTES, sizeof *st->routes);
    bool all = st->routes != NULL && st->neigh != NULL && st->reass != NULL && st->pmtu != NULL && st->redirects != NULL &&
               st->udp != NULL && st->tcp != NULL;
    if (!all) {
        stack_destroy(st);
        return NULL;
    }
    return st;
}

void stack_destroy(struct stack *st)
{
    for (uint32_t i = 0; i < st->ports; i++) { /* the devices may be gone: nothing is sent any more */
        rte_pktmbuf_free_bulk(st->port[i]->queue, st->port[i]->queued);
        st->port[i]->queued = 0;
    }
    tcp_destroy(st);
    udp_destroy(st);
    reass_destroy(st);
    pmtu_destroy(st);
    redirects_destroy(st);
    neigh_destroy(st);
    for (uint32_t i = 0; i < st->ports; i++) {
        rte_pktmbuf_free_bulk(st->port[i]->queue, st->port[i]->queued);
        groups_destroy(st->port[i]);
        free(st->port[i]);
    }
    free(st->routes);
    free(st);
}

/* What a host says first on a link. */
static void begin(struct net_port *port)
{
    if (port->conf.addr != 0 && net_speaks(port->stack))
        acd_start(port);
    if (!port->conf.has6)
        return;
    dad_prepare(port);
    mld_start(port); /* first, so that switches let the answers pass */
    dad_start(port);
    ra_start(port);
}

struct net_port *stack_add_port(struct stack *st, const struct net_port_conf *conf, uint64_t now)
{
    struct net_port *port = st->ports < NET_MAX_PORTS ? calloc(1, sizeof *port) : NULL;
    if (port == NULL)
        return NULL;
    net_at(st, now);
    port->conf = *conf;
    port->stack = st;
    port->mask = conf->prefix_len == 0 ? 0 : rte_cpu_to_be_32(UINT32_MAX << (32 - conf->prefix_len));
    st->port[st->ports++] = port;
    port->number = (uint8_t)st->ports;
    if (conf->has6)
        ip6_port_addresses(port);
    routes_of_port(port);
    routes_static(port);
    begin(port);
    return port;
}

void net_link_up(struct net_port *port, uint64_t now)
{
    net_at(port->stack, now);
    net_trace(port->stack, "port %s: link up", port->conf.name);
    neigh_link_up(port);
    begin(port);
    groups_link_up(port);
}

void net_trace(struct stack *st, const char *format, ...)
{
    char line[192];
    va_list args;
    if (st->conf.trace == NULL)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    st->conf.trace(st->conf.owner, line);
}

uint64_t net_random(struct stack *st)
{
    st->random ^= st->random >> 12; /* xorshift64* */
    st->random ^= st->random << 25;
    st->random ^= st->random >> 27;
    return st->random * UINT64_C(2685821657736338717);
}

void net_drop(struct stack *st, struct rte_mbuf *m, enum net_counter why)
{
    st->counters[why]++;
    rte_pktmbuf_free(m);
}

/* ---- In ---- */

/* Group addresses that a port listens to: those of sockets, 224.0.0.1, and IPv6's. */
static bool multicast_ours(const struct net_port *port, const struct rte_ether_addr *mac)
{
    static const struct rte_ether_addr all_hosts = {{0x01, 0x00, 0x5e, 0, 0, 1}};
    if (port->conf.has6 && ip6_eth_multicast_ours(port, mac))
        return true;
    return port->conf.addr != 0 && (rte_is_same_ether_addr(mac, &all_hosts) || group_eth_ours(port, mac));
}

static void eth_input(struct net_port *port, struct rte_mbuf *m)
{
    struct stack *st = port->stack;
    if (rte_pktmbuf_data_len(m) < sizeof(struct rte_ether_hdr)) {
        net_drop(st, m, NET_ETH_SHORT);
        return;
    }
    const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
    bool ours = rte_is_same_ether_addr(&eth->dst_addr, &port->conf.mac) || rte_is_broadcast_ether_addr(&eth->dst_addr) ||
                (rte_is_multicast_ether_addr(&eth->dst_addr) && multicast_ours(port, &eth->dst_addr));
    if (!ours) {
        net_drop(st, m, NET_ETH_NOT_OURS);
        return;
    }
    rte_be16_t type = eth->ether_type;
    rte_pktmbuf_adj(m, sizeof *eth);
    if (type == RTE_BE16(RTE_ETHER_TYPE_IPV4))
        ip4_input(port, m);
    else if (type == RTE_BE16(RTE_ETHER_TYPE_IPV6) && port->conf.has6)
        ip6_input(port, m);
    else if (type == RTE_BE16(RTE_ETHER_TYPE_ARP))
        arp_input(port, m);
    else
        net_drop(st, m, NET_ETH_TYPE);
}

void net_input(struct stack *st, struct net_port *port, struct rte_mbuf **frames, uint16_t n, uint64_t now)
{
    net_at(st, now);
    st->counters[NET_PORT_RX] += n;
    if (n > 1 && port->conf.gro)
        n = gro_merge(st, frames, n);
    for (uint16_t from = 0; from < n; from = (uint16_t)(from + TCP_BURST)) {
        uint16_t some = RTE_MIN((uint16_t)(n - from), (uint16_t)TCP_BURST);
        bool together = some > 1 && !(st->conf.without & NET_WITHOUT_PREFETCH);
        if (together)
            tcp_burst(st, frames + from, some);
        for (uint16_t i = 0; i < some; i++) {
            tcp_burst_at(st, i);
            eth_input(port, frames[from + i]);
        }
        if (together)
            tcp_burst_over(st);
    }
}

void net_run(struct stack *st, uint64_t now)
{
    net_at(st, now);
    wheel_run(&st->wheel, st->now, st);
}

uint64_t net_next(const struct stack *st)
{
    return wheel_next(&st->wheel);
}

/* ---- Out ---- */

static void port_flush(struct net_port *port)
{
    struct stack *st = port->stack;
    uint16_t sent = 0;
    if (port->queued == 0)
        return;
    sent = port->conf.ops->tx_burst(port->conf.dev, port->queue, port->queued);
    for (uint16_t i = 0; i < port->queued; i++)
        st->counters[i < sent ? NET_PORT_TX : NET_PORT_TX_FULL] += 1u + port->queued_more[i];
    rte_pktmbuf_free_bulk(port->queue + sent, port->queued - sent);
    port->queued = 0;
}

void net_flush(struct stack *st)
{
    st->flushes++;
    for (uint32_t i = 0; i < st->ports; i++)
        port_flush(st->port[i]);
}

static struct rte_mbuf *flatten(struct stack *st, struct rte_mbuf *m)
{
    struct rte_mbuf *flat = rte_pktmbuf_copy(m, st->conf.pool, 0, UINT32_MAX);
    rte_pktmbuf_free(m);
    if (flat == NULL)
        NET_COUNT(st, PKT_NO_MEMORY);
    return flat;
}

struct rte_mbuf *net_own(struct stack *st, struct rte_mbuf *m)
{
    for (const struct rte_mbuf *s = m; s != NULL; s = s->next)
        if (RTE_MBUF_HAS_EXTBUF(s))
            return flatten(st, m);
    return m;
}

void port_send(struct net_port *port, struct rte_mbuf *m)
{
    struct stack *st = port->stack;
    if (m->nb_segs > 1 && !(port->conf.caps & NET_CAP_MULTI_SEGS)) {
        m = flatten(st, m);
        if (m == NULL)
            return;
        if (m->nb_segs > 1) {
            net_drop(st, m, NET_PKT_NO_MEMORY);
            return;
        }
    }
    if (port->queued == NET_TX_BURST)
        port_flush(port);
    port->queued_more[port->queued] = (uint8_t)(ip_frames(m) - 1);
    port->queue[port->queued++] = m;
}
