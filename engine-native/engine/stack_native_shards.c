/* SPDX-License-Identifier: BSD-3-Clause
 * Shards of the native stack: each has connections of its own, which the hash of their flow gives to it (tcp/steer.h). Frames that
 * came by a port to another shard go there by a ring with one consumer. Shard 0 speaks for the host; what tells of neighbours and
 * routers it shares with the others, so that they know what it knows. */
#define _GNU_SOURCE
#include "stack_native.h"

#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_ring.h>
#include <stdio.h>
#include <stdlib.h>

#define RING_FRAMES 2048u /* what the others may be ahead by */

bool native_open_ring(struct native *n)
{
    char name[RTE_RING_NAMESIZE];
    snprintf(name, sizeof name, "zs_shard%u", n->number);
    /* A thread that loses its CPU while it puts frames in does not keep the others from putting theirs. */
    n->in = rte_ring_create(name, RING_FRAMES, SOCKET_ID_ANY, RING_F_MP_RTS_ENQ | RING_F_SC_DEQ);
    return n->in != NULL;
}

static void close_shard(struct native *n)
{
    struct rte_mbuf *frames[NATIVE_BURST];
    unsigned got;
    while (n->in != NULL && (got = rte_ring_sc_dequeue_burst(n->in, (void **)frames, NATIVE_BURST, NULL)) > 0)
        rte_pktmbuf_free_bulk(frames, got);
    rte_ring_free(n->in);
    n->in = NULL;
}

void native_close_shards(struct native *n, uint64_t now)
{
    for (uint32_t i = n->nshards; i-- > 0;) {
        struct native *s = n->shard[i];
        if (s->st != NULL) {
            tcp_abort_all(s->st, ECONNRESET, now);
            net_flush(s->st);
            stack_destroy(s->st);
            s->st = NULL;
        }
    }
    for (uint32_t i = n->nshards; i-- > 0;) {
        close_shard(n->shard[i]);
        if (i > 0)
            free(n->shard[i]);
    }
}

void *native_shard(void *stack, struct zs_view *view, void *engine, uint64_t now)
{
    struct native *n = stack, *s = calloc(1, sizeof *s);
    char name[16];
    if (s == NULL)
        return NULL;
    s->first = n;
    s->number = n->nshards;
    s->view = view;
    s->events = n->events;
    s->engine = engine;
    n->shard[n->nshards++] = s; /* from here on closed with the others */
    snprintf(name, sizeof name, "wire%u", s->number);
    struct stack_conf conf = n->conf;
    conf.view = view;
    conf.name = name;
    conf.number = s->number;
    conf.owner = s;
    s->st = native_open_ring(s) ? stack_create(&conf, now) : NULL;
    for (uint32_t i = 0; s->st != NULL && i < n->nports; i++) {
        struct net_port_conf port;
        port_conf(n->at[i].port, s->number, &port);
        s->net[i] = stack_add_port(s->st, &port, now);
        if (s->net[i] == NULL)
            return NULL;
    }
    return s->st != NULL ? s : NULL;
}

/* Packet buffers are cached by thread, which EAL has to know. */
bool native_enter(void *shard)
{
    (void)shard;
    return rte_thread_register() == 0;
}

void native_leave(void *shard)
{
    (void)shard;
    rte_thread_unregister();
}

uint32_t native_owner(void *stack, const struct zs_addr *local, const struct zs_addr *remote)
{
    struct native *n = stack;
    struct tcp_flow flow = {native_from_zs(local), native_from_zs(remote), local->port, remote->port};
    struct ip_route route;
    if (flow.local_port == 0)
        return n->next_connect++ % n->nshards;
    if (ip_is_any(&flow.local_ip) && ip_route(n->st, &flow.remote_ip, &route))
        flow.local_ip = ip_source(&route, &flow.remote_ip);
    return steer_flow(&n->steer, &flow);
}

/* ---- Frames from one to another ---- */

static void push_to(struct native *n, uint32_t to)
{
    struct native *s = n->first->shard[to];
    uint32_t count = n->out[to].count;
    uint32_t taken = rte_ring_enqueue_burst(s->in, (void **)n->out[to].frame, count, NULL);
    for (uint32_t i = taken; i < count; i++)
        net_drop(n->st, n->out[to].frame[i], NET_STEER_FULL);
    n->st->counters[NET_STEER_AWAY] += taken;
    n->out[to].count = 0;
    n->events->wake(n->engine, to);
}

void native_push(struct native *n)
{
    for (uint32_t to = 0; to < n->first->nshards; to++)
        if (n->out[to].count > 0)
            push_to(n, to);
}

static void give(struct native *n, uint32_t port, struct rte_mbuf *m, uint32_t to)
{
    m->port = (uint16_t)port; /* the stack's number, from here on */
    n->out[to].frame[n->out[to].count++] = m;
    if (n->out[to].count == NATIVE_BURST)
        push_to(n, to);
}

void native_hand_over(void *shard, const struct net_port *port, struct rte_mbuf *m, uint32_t to)
{
    give(shard, port->number - 1u, m, to);
}

static void give_copies(struct native *n, uint32_t port, const struct rte_mbuf *m)
{
    for (uint32_t to = 0; to < n->first->nshards; to++) {
        if (to == n->number)
            continue;
        struct rte_mbuf *copy = rte_pktmbuf_copy(m, n->first->tx, 0, UINT32_MAX);
        if (copy != NULL)
            give(n, port, copy, to);
        else
            NET_COUNT(n->st, PKT_NO_MEMORY);
    }
}

uint16_t native_distribute(struct native *n, uint32_t port, struct rte_mbuf **frames, uint16_t count)
{
    uint16_t kept = 0;
    for (uint16_t i = 0; i < count; i++) {
        uint32_t to = steer_frame(&n->first->steer, frames[i]);
        if (to == STEER_EVERY) {
            give_copies(n, port, frames[i]);
            to = n->number;
        }
        if (to == n->number)
            frames[kept++] = frames[i];
        else
            give(n, port, frames[i], to);
    }
    return kept;
}

bool native_take(struct native *n, uint32_t budget, uint64_t now)
{
    struct rte_mbuf *frames[NATIVE_BURST];
    bool work = false;
    for (uint32_t left = budget; left > 0;) {
        uint32_t got = rte_ring_sc_dequeue_burst(n->in, (void **)frames, RTE_MIN(left, NATIVE_BURST), NULL);
        for (uint32_t from = 0, to; from < got; from = to) {
            uint16_t port = frames[from]->port;
            for (to = from + 1; to < got && frames[to]->port == port; to++)
                ;
            net_input(n->st, n->net[port], frames + from, (uint16_t)(to - from), now);
        }
        work = work || got > 0;
        if (got < NATIVE_BURST)
            break;
        left -= RTE_MIN(left, got);
    }
    return work;
}

void native_describe_shard(void *shard, json_t *worker)
{
    const struct native *n = shard;
    const struct stack *st = n->st;
    struct port_thread_stats sum = {0}, one;
    for (uint32_t i = 0; i < n->first->nports; i++) {
        port_thread_stats(n->first->at[i].port, n->number, &one);
        sum.queues += one.queues;
        sum.rx_frames += one.rx_frames;
    }
    json_object_set_new(worker, "queues", json_integer((json_int_t)sum.queues));
    json_object_set_new(worker, "frames_polled", json_integer((json_int_t)sum.rx_frames));
    json_object_set_new(worker, "frames_received", json_integer((json_int_t)st->counters[NET_PORT_RX]));
    json_object_set_new(worker, "frames_sent", json_integer((json_int_t)st->counters[NET_PORT_TX]));
    json_object_set_new(worker, "frames_handed_over", json_integer((json_int_t)st->counters[NET_STEER_AWAY]));
}
