/* SPDX-License-Identifier: BSD-3-Clause
 * The native stack (engine-native/net, tcp) on DPDK ports (engine-native/port), as the engine's TCP/IP stack: connections,
 * datagrams, polling. */
#define _GNU_SOURCE
#include "stack_native.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_ring.h>
#include <string.h>

/* Half-open connections of a listener that are remembered, beyond them SYN cookies: what waits for accept is bounded by the
 * backlog, in the queue. */
#define HALF_OPEN_MIN 4096u

/* ---- Addresses ---- */

void native_to_zs(const struct ip_addr *ip, rte_be16_t port, struct zs_addr *a)
{
    struct ip_addr wire = *ip;
    unsigned zone = ip6_unzone(&wire);
    *a = (struct zs_addr){.family = ip_is_v4(ip) ? AF_INET : AF_INET6, .port = port,
                          .scope_id = zone != 0 ? ZS_WIRE_SCOPE + zone : 0};
    memcpy(a->ip, wire.b, sizeof a->ip);
}

/* A link-local address whose scope is none of ours keeps no zone, and no route leads there. */
struct ip_addr native_from_zs(const struct zs_addr *a)
{
    struct ip_addr ip;
    memcpy(ip.b, a->ip, sizeof ip.b);
    if (ip6_is_link_local(&ip))
        ip.b[3] = (uint8_t)RTE_MIN(ZS_WIRE_SCOPE_PORT(a->scope_id), UINT32_C(255));
    return ip;
}

/* ---- Connections: the stack's are the handles, with what the engine knows them by as their argument ---- */

static struct native *native_of(const struct tcp_conn *tcp)
{
    return tcp_conn_stack(tcp)->conf.owner;
}

static void on_connected(void *conn, struct tcp_conn *tcp)
{
    struct native *n = native_of(tcp);
    n->events->connected(n->engine, conn);
}

static void on_closed(void *conn, struct tcp_conn *tcp)
{
    struct native *n = native_of(tcp);
    n->events->closed(n->engine, conn);
}

static const struct tcp_conn_ops conn_ops = {.connected = on_connected, .closed = on_closed};

static int on_accept(void *arg, struct tcp_conn *tcp, const struct tcp_flow *flow)
{
    struct native *n = arg;
    struct zs_addr local, remote;
    uint32_t own;
    void *conn;
    native_to_zs(&flow->local_ip, flow->local_port, &local);
    native_to_zs(&flow->remote_ip, flow->remote_port, &remote);
    n->accepting = tcp;
    int err = n->events->accept(n->engine, &local, &remote, &own, &conn);
    n->accepting = NULL;
    if (err == 0)
        tcp_attach(tcp, own, &conn_ops, conn);
    return err;
}

static void on_accepted(void *arg)
{
    struct native *n = arg;
    n->events->accepted(n->engine);
}

static bool on_full(void *arg, const struct tcp_flow *flow)
{
    struct native *n = arg;
    struct zs_addr local, remote;
    native_to_zs(&flow->local_ip, flow->local_port, &local);
    native_to_zs(&flow->remote_ip, flow->remote_port, &remote);
    return n->events->accept_full(n->engine, &local, &remote);
}

static const struct zs_opts *on_options(void *arg, const struct tcp_flow *flow)
{
    struct native *n = arg;
    struct zs_addr local, remote;
    native_to_zs(&flow->local_ip, flow->local_port, &local);
    native_to_zs(&flow->remote_ip, flow->remote_port, &remote);
    return n->events->listener_options(n->engine, &local, &remote);
}

_Static_assert(TCP_TFO_KEYS == ZS_FASTOPEN_KEYS && TCP_TFO_KEY_LEN == ZS_FASTOPEN_KEY_LEN, "the stack's keys are the contract's");
static uint32_t on_fastopen_keys(void *arg, const struct tcp_flow *flow, uint8_t keys[TCP_TFO_KEYS][TCP_TFO_KEY_LEN])
{
    struct native *n = arg;
    struct zs_addr local, remote;
    native_to_zs(&flow->local_ip, flow->local_port, &local);
    native_to_zs(&flow->remote_ip, flow->remote_port, &remote);
    return n->events->listener_keys(n->engine, &local, &remote, keys);
}

static const struct tcp_listener_ops listener_ops = {
    .accept = on_accept, .accepted = on_accepted, .full = on_full, .options = on_options, .fastopen_keys = on_fastopen_keys};

static int native_connect(void *stack, struct zs_addr *local, const struct zs_addr *remote, uint32_t port, uint32_t own,
                          void *conn, void **handle, uint64_t now)
{
    struct native *n = stack;
    struct tcp_flow flow = {native_from_zs(local), native_from_zs(remote), local->port, remote->port};
    struct ip_route route;
    struct tcp_conn *tcp;
    if (port != 0 && (!ip_route(n->st, &flow.remote_ip, &route) || route.port->number != port))
        return -ENETUNREACH;
    int err = tcp_connect(n->st, flow, own, &conn_ops, conn, now, &tcp);
    if (err != 0)
        return err;
    flow = *tcp_conn_flow(tcp);
    uint16_t family = local->family;
    native_to_zs(&flow.local_ip, flow.local_port, local);
    local->family = family;
    *handle = tcp;
    return 0;
}

static void *native_accepting(void *stack)
{
    return ((struct native *)stack)->accepting;
}

static void native_poke(void *stack, void *handle, uint64_t now)
{
    (void)stack;
    tcp_poke(handle, now);
}

static const char *native_conn_state(void *stack, void *handle)
{
    (void)stack;
    return tcp_state_info[tcp_conn_state(handle)].name;
}

static void native_conn_info(void *stack, void *handle, uint64_t now, struct zs_tcp_info *info)
{
    (void)stack;
    tcp_info(handle, now, info);
}

static int native_listen(void *stack, const struct zs_addr *local, uint32_t backlog, void **listener)
{
    struct native *n = stack;
    struct tcp_listener *l = NULL;
    struct ip_addr ip = native_from_zs(local);
    int err = tcp_listen(n->st, &ip, local->port, RTE_MAX(backlog, HALF_OPEN_MIN), &listener_ops, n, &l);
    *listener = l;
    return err;
}

static void native_unlisten(void *stack, void *listener)
{
    tcp_unlisten(((struct native *)stack)->st, listener);
}

/* ---- Polling ---- */

static void tell_link(struct native *n, uint32_t i, uint64_t now)
{
    uint32_t ups = port_link_ups(n->first->at[i].port);
    if (ups == n->link_ups[i])
        return;
    n->link_ups[i] = ups;
    net_link_up(n->net[i], now);
}

static bool native_poll(void *stack, uint32_t budget, uint64_t now)
{
    struct native *n = stack;
    struct rte_mbuf *frames[NATIVE_BURST];
    bool several = n->in != NULL, work = several && native_take(n, budget, now);
    for (uint32_t i = 0; i < n->first->nports; i++) {
        for (uint32_t left = budget; left > 0;) {
            uint16_t want = (uint16_t)RTE_MIN(left, NATIVE_BURST), got = port_rx(n->first->at[i].port, n->number, frames, want);
            tell_link(n, i, now);
            uint16_t ours = several ? native_distribute(n, i, frames, got) : got;
            /* The time when they were taken, at the earliest: were it that of the turn's begin, and the engine had lost its CPU since,
             * round trips would seem shorter than any is, and what is only late, lost. */
            if (got > 0)
                now = n->events->clock();
            if (ours > 0)
                net_input(n->st, n->net[i], frames, ours, now);
            work = work || got > 0;
            if (got < want)
                break;
            left -= got;
        }
    }
    if (several)
        native_push(n);
    net_run(n->st, now);
    if (n->number == 0 && n->st->routes_changed != n->routes_told) {
        n->routes_told = n->st->routes_changed;
        n->events->addresses_changed(n->engine);
    }
    return work;
}

static void native_flush(void *stack)
{
    net_flush(((struct native *)stack)->st);
}

static void native_capture(void *stack, wire_frame_fn *frame, void *arg)
{
    struct native *n = stack;
    for (uint32_t i = 0; i < n->nports; i++)
        stack_port_capture(&n->at[i], i + 1, frame, arg);
}

static uint64_t native_next(const void *stack)
{
    return net_next(((const struct native *)stack)->st);
}

static uint32_t native_sleep_fds(void *stack, int *fds, uint32_t max)
{
    struct native *n = stack;
    uint32_t count = 0;
    for (uint32_t i = 0; i < n->first->nports && count < max; i++)
        if (port_sleep_fd(n->first->at[i].port, n->number) >= 0)
            fds[count++] = port_sleep_fd(n->first->at[i].port, n->number);
    return count;
}

static uint64_t native_sleep(void *stack)
{
    struct native *n = stack;
    uint64_t longest = UINT64_MAX;
    if (n->in != NULL && !rte_ring_empty(n->in))
        return 0;
    for (uint32_t i = 0; i < n->first->nports; i++) {
        struct stack_port *p = &n->first->at[i];
        if (n->number == 0)
            stack_port_warn(p, n->events->log, n->engine);
        else if (port_has_warning(p->port))
            n->events->wake(n->engine, 0);
        longest = stack_port_sleep(p, n->number, longest);
    }
    return longest;
}

static void native_wake(void *stack)
{
    struct native *n = stack;
    for (uint32_t i = 0; i < n->first->nports; i++)
        port_wake(n->first->at[i].port, n->number);
}

const struct wire_stack_ops wire_stack_native = {
    .name = "native",
    .open = native_open,
    .shard = native_shard,
    .enter = native_enter,
    .leave = native_leave,
    .owner = native_owner,
    .close = native_close,
    .addresses = native_addresses,
    .ports = native_ports,
    .segment = native_segment,
    .segment_size = native_segment_size,
    .segment_at = native_segment_at,
    .poll = native_poll,
    .flush = native_flush,
    .capture = native_capture,
    .next = native_next,
    .sleep_fds = native_sleep_fds,
    .sleep = native_sleep,
    .wake = native_wake,
    .connect = native_connect,
    .accepting = native_accepting,
    .poke = native_poke,
    .listen = native_listen,
    .unlisten = native_unlisten,
    .udp_open = native_udp_open,
    .udp_close = native_udp_close,
    .udp_send = native_udp_send,
    .group = native_group,
    .describe_shard = native_describe_shard,
    .describe_ports = native_describe_ports,
    .describe_counters = native_describe_counters,
    .describe_memory = native_describe_memory,
    .conn_state = native_conn_state,
    .conn_info = native_conn_info,
};
