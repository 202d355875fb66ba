/* SPDX-License-Identifier: BSD-3-Clause
 * The native backend's beginning and end: buffers, ports, addresses; and what it tells in the status. */
#define _GNU_SOURCE
#include "stack_native.h"

#include "group.h"
#include "route.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RX_BUFFERS 16383u
#define TX_BUFFERS 8191u
#define INDIRECT_BUFFERS 8191u
#define RX_BUFFERS_MORE 4096u /* for each worker beside the engine's thread: rings and caches; and by each port its queue */
#define TX_BUFFERS_MORE 2048u
#define BUFFER_CACHE 256u
#define MAX_CONNS 131072u
#define MAX_NEIGHBOURS 1024u
#define REASS_BYTES (4u << 20)
#define OOO_SEGMENTS (RX_BUFFERS / 2u)

static void trace(void *arg, const char *line)
{
    struct native *n = arg;
    n->events->log(n->engine, false, line);
}

static void conflict(void *arg, const struct net_port *port, const struct ip_addr *addr, const struct rte_ether_addr *mac)
{
    struct native *n = arg;
    char line[224], ip[IP_TEXT];
    snprintf(line, sizeof line, "port %s: %s is taken by another host, " RTE_ETHER_ADDR_PRT_FMT
             " - hint: give the port another address", port->conf.name, ip_text(addr, ip), RTE_ETHER_ADDR_BYTES(mac));
    n->events->log(n->engine, true, line);
}

_Static_assert(PORT_RSS_KEY == STEER_KEY && PORT_THREADS_MAX >= WIRE_WORKERS_MAX, "a port serves all workers, by their rule");

static bool open_pools(struct native *n, uint32_t ports, struct engine_failure *f)
{
    uint32_t more = n->workers - 1;
    uint32_t rx = RX_BUFFERS + more * (RX_BUFFERS_MORE + ports * PORT_QUEUE_BUFFERS);
    int err = rxpool_create(&n->rx, "zs_rx", rx, RTE_MBUF_DEFAULT_BUF_SIZE);
    n->tx = rte_pktmbuf_pool_create("zs_tx", TX_BUFFERS + more * TX_BUFFERS_MORE, BUFFER_CACHE, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
                                    SOCKET_ID_ANY);
    n->indirect = rte_pktmbuf_pool_create("zs_indirect", INDIRECT_BUFFERS + more * TX_BUFFERS_MORE, BUFFER_CACHE, 0, 0, SOCKET_ID_ANY);
    if (err == 0 && n->tx != NULL && n->indirect != NULL)
        return true;
    engine_fail(f, ENGINE_EXIT_DPDK, "ZS2120", "give DPDK more memory: -m 256 or more huge pages",
                "no memory for the packet buffers");
    return false;
}

static bool open_stack(struct native *n, const struct wire_stack_conf *conf, uint64_t now, struct engine_failure *f)
{
    uint8_t key[STEER_KEY];
    n->conf = (struct stack_conf){.pool = n->tx, .indirect_pool = n->indirect, .rx = &n->rx, .view = n->view, .name = "wire",
                                  .rx_hold_max = n->workers > 1 ? n->rx.count / 2 / n->workers : 0, .max_conns = MAX_CONNS,
                                  .max_neighbours = MAX_NEIGHBOURS, .reass_max_bytes = REASS_BYTES,
                                  .ooo_max_segs = OOO_SEGMENTS / n->workers, .ecn = conf->ecn == ENGINE_ECN_ON,
                                  .without = conf->ecn == ENGINE_ECN_OFF ? NET_WITHOUT_ECN : 0,
                                  .trace = conf->trace ? trace : NULL, .conflict = conflict, .owner = n};
    bool good = random_bytes(n->conf.key, sizeof n->conf.key);
    if (good && n->workers > 1) {
        good = random_bytes(key, sizeof key) && native_open_ring(n);
        steer_init(&n->steer, n->workers, key);
        n->conf.steer = &n->steer;
        n->conf.hand_over = native_hand_over;
    }
    n->st = good ? stack_create(&n->conf, now) : NULL;
    if (n->st == NULL)
        engine_fail(f, ENGINE_EXIT_DPDK, "ZS2120", "give DPDK more memory: -m 256 or more huge pages",
                    "no memory for the stack's tables");
    return n->st != NULL;
}

static bool open_port(struct native *n, const char *text, uint64_t now, struct engine_failure *f)
{
    struct stack_port *p = &n->at[n->nports];
    const struct port_threads threads = {.n = n->workers, .key = n->steer.key, .table = STEER_TABLE};
    if (!stack_port_open(p, text, &threads, n->rx.pool, f))
        return false;
    n->net[n->nports] = stack_add_port(n->st, &p->conf, now);
    n->nports++;
    if (n->net[n->nports - 1] == NULL)
        engine_fail(f, ENGINE_EXIT_DPDK, "ZS2120", "free some memory", "no memory for port %s", text);
    return n->net[n->nports - 1] != NULL;
}

void *native_open(const struct wire_stack_conf *conf, uint64_t now, struct engine_failure *f)
{
    struct native *n = calloc(1, sizeof *n);
    if (n == NULL) {
        engine_fail(f, ENGINE_EXIT_OTHER, "ZS2102", "free some memory", "out of memory");
        return NULL;
    }
    n->view = conf->view;
    n->events = conf->events;
    n->engine = conf->engine;
    n->first = n->shard[0] = n;
    n->nshards = 1;
    n->workers = conf->workers;
    bool good = open_pools(n, conf->nports, f) && open_stack(n, conf, now, f);
    for (uint32_t i = 0; good && i < conf->nports; i++)
        good = open_port(n, conf->ports[i], now, f);
    if (!good) {
        native_close(n, now);
        return NULL;
    }
    n->routes_told = n->st->routes_changed;
    net_flush(n->st); /* the first probes of the addresses */
    return n;
}

void native_close(void *stack, uint64_t now)
{
    struct native *n = stack;
    native_close_shards(n, now);
    for (uint32_t i = 0; i < n->nports; i++)
        port_close(n->at[i].port);
    rxpool_destroy(&n->rx);
    rte_mempool_free(n->tx);
    rte_mempool_free(n->indirect);
    free(n);
}

/* Link-local addresses are not among them: which one is meant says the scope (ZS_WIRE_SCOPE). */
uint32_t native_addresses(void *stack, struct zs_wire_addr *to, uint32_t max)
{
    struct native *n = stack;
    uint32_t count = 0;
    for (uint32_t i = 0; i < n->nports; i++)
        count = stack_port_own(&n->at[i], &n->net[i]->conf.addr6, n->net[i]->number, to, count, max);
    for (uint32_t i = 0; i < n->st->nroutes; i++) { /* the longest first */
        const struct route *r = &n->st->routes[i];
        if (!ip6_is_link_local(&r->prefix) && r->until > n->st->now)
            count = stack_put_addr(to, count, max, &r->prefix, r->len, ZS_WIRE_ROUTE, r->port->number);
    }
    return count;
}

uint32_t native_ports(void *stack, struct zs_wire_port *to, uint32_t max)
{
    struct native *n = stack;
    uint32_t count = RTE_MIN(n->nports, max);
    for (uint32_t i = 0; i < count; i++)
        stack_port_tell(&n->at[i], &to[i]);
    return count;
}

int native_segment(void *stack)
{
    return ((struct native *)stack)->rx.fd;
}

uint64_t native_segment_size(void *stack)
{
    return ((struct native *)stack)->rx.size;
}

json_t *native_describe_ports(void *stack)
{
    struct native *n = stack;
    json_t *all = json_array();
    for (uint32_t i = 0; i < n->nports; i++) {
        json_t *port = stack_port_describe(&n->at[i], &n->net[i]->conf, &n->net[i]->link_local);
        json_object_set_new(port, "groups", json_integer((json_int_t)group_count(n->net[i])));
        json_array_append_new(all, port);
    }
    return all;
}

json_t *native_describe_counters(void *stack)
{
    struct native *n = stack;
    json_t *all = json_object();
    for (uint32_t i = 0; i < NET_COUNTER_N; i++) {
        uint64_t sum = 0;
        for (uint32_t k = 0; k < n->nshards; k++)
            sum += n->shard[k]->st->counters[i];
        json_object_set_new(all, net_counter_info[i].name, json_integer((json_int_t)sum));
    }
    return all;
}

static double share(uint64_t copied, uint64_t rest)
{
    return copied + rest == 0 ? 0 : (double)copied / (double)(copied + rest);
}

void native_describe_memory(void *stack, json_t *wire)
{
    struct native *n = stack;
    struct tcp_memory m = {0}, one;
    for (uint32_t i = 0; i < n->nshards; i++) {
        tcp_memory(n->shard[i]->st, &one);
        m.lent += one.lent;
        m.rx_copied += one.rx_copied;
        m.rx_lent += one.rx_lent;
        m.tx_copied += one.tx_copied;
        m.tx_referred += one.tx_referred;
    }
    json_object_set_new(wire, "loans", json_integer((json_int_t)m.lent));
    json_object_set_new(wire, "rx_copies", json_real(share(m.rx_copied, m.rx_lent)));
    json_object_set_new(wire, "tx_copies", json_real(share(m.tx_copied, m.tx_referred)));
}

const uint8_t *native_segment_at(void *stack)
{
    return ((struct native *)stack)->rx.base;
}
