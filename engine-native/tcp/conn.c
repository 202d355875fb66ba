/* SPDX-License-Identifier: BSD-3-Clause
 * Connections and listeners: their tables, states, sessions, and end. */
#include "tcp_conn.h"

#include <stdlib.h>

const struct tcp_state_info tcp_state_info[TCP_STATE_N] = {
#define X(id, name, text) {name, text},
    TCP_STATES(X)
#undef X
};

struct tcp_table *tcp_create(struct stack *st)
{
    struct tcp_table *t = calloc(1, sizeof *t);
    uint32_t key;
    memcpy(&key, st->conf.key, sizeof key);
    if (t == NULL)
        return NULL;
    SLIST_INIT(&t->dead);
    TAILQ_INIT(&t->time_waits);
    st->tcp = t;
    tcp_loans_create(st);
    t->cc = tcp_cc_find(st->conf.congestion);
    if (t->cc == NULL || !tcp_flows_create(&t->flows, st->conf.max_conns, key)) {
        st->tcp = NULL;
        free(t);
        return NULL;
    }
    return t;
}

void tcp_destroy(struct stack *st)
{
    struct tcp_table *t = st->tcp;
    struct tcp_conn *c;
    uint32_t bucket = 0;
    if (t == NULL)
        return;
    while ((c = tcp_flows_any(&t->flows, &bucket)) != NULL)
        tcp_conn_end(c, ECONNABORTED);
    tcp_reap(st);
    for (uint32_t i = 0; i < TCP_LISTEN_BUCKETS; i++)
        while (!LIST_EMPTY(&t->listen[i]))
            tcp_unlisten(st, LIST_FIRST(&t->listen[i]));
    tcp_loans_destroy(st);
    tcp_tfo_destroy(st);
    tcp_send_destroy(st);
    tcp_flows_destroy(&t->flows);
    free(t);
}

/* ---- Connections ---- */

struct tcp_conn *tcp_conn_find(const struct stack *st, const struct tcp_flow *flow)
{
    return tcp_flows_find(&st->tcp->flows, flow);
}

bool tcp_conn_init(struct tcp_conn *c, struct stack *st, const struct tcp_flow *flow, enum net_counter *why)
{
    struct ip_route route;
    *why = NET_IP_NO_ROUTE;
    if (!ip_route(st, &flow->remote_ip, &route))
        return false;
    memset(c, 0, sizeof *c);
    c->st = st;
    c->flow = *flow;
    c->own = ZS_NO_SESSION;
    c->iss = c->snd_una = c->snd_nxt = c->snd_max = c->recover = seq(tcp_isn(st, flow, st->now));
    c->ts_offset = tcp_ts_offset(st, flow);
    c->rto_us = TCP_RTO_INITIAL_US;
    c->rcv_scale = tcp_window_scale(st);
    uint32_t room = rte_pktmbuf_data_room_size(st->conf.pool) - RTE_PKTMBUF_HEADROOM;
    uint32_t mtu = RTE_MIN((uint32_t)route.port->conf.mtu, room);
    c->rcv_mss = (uint16_t)(mtu - ip_header_len(&flow->remote_ip) - sizeof(struct rte_tcp_hdr));
    c->mss = RTE_MIN(c->rcv_mss, (uint16_t)TCP_MSS_DEFAULT);
    c->syn_retries = TCP_SYN_RETRIES;
    c->cc = st->tcp->cc;
    c->tx.promised = true; /* the window */
    c->last_rcv = c->last_send = st->now;
    tcp_timer_init(c);
    return true;
}

struct tcp_conn *tcp_conn_new(struct stack *st, const struct tcp_flow *flow, enum net_counter *why)
{
    if (st->tcp->count >= st->conf.max_conns && !TAILQ_EMPTY(&st->tcp->time_waits)) {
        /* As Linux beyond tcp_max_tw_buckets: who waited longest has waited enough. Freed with the next tcp_reap(). */
        NET_COUNT(st, TCP_TIME_WAIT_CUT);
        tcp_conn_end(TAILQ_FIRST(&st->tcp->time_waits), 0);
    }
    struct tcp_conn *c = st->tcp->count < st->conf.max_conns ? malloc(sizeof *c) : NULL;
    *why = NET_TCP_TABLE_FULL;
    if (c == NULL || !tcp_conn_init(c, st, flow, why)) {
        free(c);
        return NULL;
    }
    tcp_flows_add(&st->tcp->flows, c);
    st->tcp->count++;
    return c;
}

void tcp_set_state(struct tcp_conn *c, enum tcp_state state)
{
    if (c->st->conf.trace != NULL) {
        char local[IP_TEXT], remote[IP_TEXT];
        net_trace(c->st, "tcp %s:%u-%s:%u: %s => %s", ip_text(&c->flow.local_ip, local), rte_be_to_cpu_16(c->flow.local_port),
                  ip_text(&c->flow.remote_ip, remote), rte_be_to_cpu_16(c->flow.remote_port), tcp_state_info[c->state].name,
                  tcp_state_info[state].name);
    }
    if (c->state == TCP_TIME_WAIT)
        TAILQ_REMOVE(&c->st->tcp->time_waits, c, time_wait);
    if (state == TCP_TIME_WAIT)
        TAILQ_INSERT_TAIL(&c->st->tcp->time_waits, c, time_wait);
    c->state = (uint8_t)state;
    struct zs_session *app = tcp_app(c);
    if (app != NULL)
        zs_notify(c->st->conf.view, app);
}

void tcp_abort(struct tcp_conn *c, int err, uint64_t now)
{
    struct stack *st = c->st;
    net_at(st, now);
    tcp_conn_abort(c, err);
    tcp_reap(st);
}

void tcp_abort_all(struct stack *st, int err, uint64_t now)
{
    struct tcp_conn *c;
    uint32_t bucket = 0;
    net_at(st, now);
    while ((c = tcp_flows_any(&st->tcp->flows, &bucket)) != NULL)
        tcp_conn_abort(c, err);
    tcp_reap(st);
}

const struct tcp_flow *tcp_conn_flow(const struct tcp_conn *c)
{
    return &c->flow;
}

struct stack *tcp_conn_stack(const struct tcp_conn *c)
{
    return c->st;
}

enum tcp_state tcp_conn_state(const struct tcp_conn *c)
{
    return c->state;
}

uint32_t tcp_conn_count(const struct stack *st)
{
    return st->tcp->count;
}

struct zs_session *tcp_own(const struct tcp_conn *c)
{
    return c->own == ZS_NO_SESSION ? NULL : zs_session_at(c->st->conf.view, c->own);
}

struct zs_session *tcp_app(const struct tcp_conn *c)
{
    struct zs_session *own = tcp_own(c);
    return own == NULL ? NULL : zs_session_peer(c->st->conf.view, own);
}

uint32_t tcp_opt_bits(const struct tcp_conn *c)
{
    const struct zs_session *app = tcp_app(c);
    return app == NULL ? 0 : atomic_load_explicit(&app->opts.bits, memory_order_relaxed);
}

void tcp_release_sessions(struct tcp_conn *c, int err)
{
    struct zs_view *v = c->st->conf.view;
    struct zs_session *app = tcp_app(c);
    if (c->own == ZS_NO_SESSION)
        return;
    if (app != NULL && err != 0) {
        uint32_t none = 0;
        atomic_compare_exchange_strong(&app->error, &none, (uint32_t)err);
    }
    tcp_leave_ring(c, c->snd_max);
    zs_session_close(v, c->own, err != 0);
    c->own = ZS_NO_SESSION;
    tcp_loans_leave(c);
}

void tcp_listener_join(struct tcp_conn *c, struct tcp_listener *l)
{
    c->listener = l;
    l->half_open++;
    LIST_INSERT_HEAD(&l->half_open_list, c, half_open);
}

void tcp_listener_leave(struct tcp_conn *c)
{
    if (c->listener == NULL)
        return;
    LIST_REMOVE(c, half_open);
    if (c->tfo & TCP_TFO_SYN_OUT)
        c->listener->tfo_pending--;
    else
        c->listener->half_open--;
    c->listener = NULL;
}

void tcp_conn_end(struct tcp_conn *c, int err)
{
    struct stack *st = c->st;
    if (c->flags & TCP_F_DEAD)
        return;
    c->flags |= TCP_F_DEAD;
    tcp_set_state(c, TCP_CLOSED);
    tcp_release_sessions(c, err);
    tcp_listener_leave(c);
    tcp_ooo_free(c);
    tcp_board_free(c);
    tcp_sack_out_free(c);
    tcp_send_end(c);
    wheel_disarm(&st->wheel, &c->timer);
    tcp_flows_remove(&st->tcp->flows, c);
    st->tcp->count--;
    st->tcp->ended++;
    SLIST_INSERT_HEAD(&st->tcp->dead, c, dead);
}

void tcp_conn_abort(struct tcp_conn *c, int err)
{
    if (c->state != TCP_SYN_SENT && c->state != TCP_CLOSED && c->state != TCP_TIME_WAIT) {
        NET_COUNT(c->st, TCP_RST_TX);
        tcp_transmit(c, c->snd_max, RTE_TCP_RST_FLAG | RTE_TCP_ACK_FLAG, 0, 0);
    }
    tcp_conn_end(c, err);
}

void tcp_conn_fault(struct tcp_conn *c)
{
    NET_COUNT(c->st, TCP_FAULT);
    if (c->own != ZS_NO_SESSION)
        zs_session_fault(c->st->conf.view, c->own);
    tcp_conn_abort(c, ECONNRESET);
}

/* Everything was said and heard: the application's side needs the connection no more. */
void tcp_enter_time_wait(struct tcp_conn *c)
{
    for (int i = 0; i < TCP_TIMER_N; i++)
        tcp_timer_clear(c, i);
    tcp_set_state(c, TCP_TIME_WAIT);
    tcp_release_sessions(c, 0);
    tcp_ooo_free(c);
    tcp_board_free(c);
    tcp_send_end(c);
    tcp_timer_set(c, TCP_T_TIME_WAIT, TCP_TIME_WAIT_NS);
}

void tcp_reap(struct stack *st)
{
    struct tcp_conn *c;
    while ((c = SLIST_FIRST(&st->tcp->dead)) != NULL) {
        SLIST_REMOVE_HEAD(&st->tcp->dead, dead);
        if (c->ops != NULL && c->ops->closed != NULL)
            c->ops->closed(c->arg, c);
        free(c);
    }
}

/* ---- Listeners ---- */

static uint32_t listen_bucket(rte_be16_t port)
{
    return rte_be_to_cpu_16(port) % TCP_LISTEN_BUCKETS;
}

struct tcp_listener *tcp_listener_find(const struct stack *st, const struct ip_addr *ip, rte_be16_t port)
{
    struct tcp_listener *l, *any = NULL;
    LIST_FOREACH(l, &st->tcp->listen[listen_bucket(port)], link) {
        if (l->port == port && ip_eq(&l->ip, ip))
            return l;
        if (l->port == port && ip_is_any_for(&l->ip, ip))
            any = l;
    }
    return any;
}

int tcp_listen(struct stack *st, const struct ip_addr *ip, rte_be16_t port, uint32_t backlog, const struct tcp_listener_ops *ops, void *arg,
               struct tcp_listener **listener)
{
    struct tcp_listener *l = tcp_listener_find(st, ip, port);
    if (l != NULL && ip_eq(&l->ip, ip))
        return -EADDRINUSE;
    l = calloc(1, sizeof *l);
    if (l == NULL)
        return -ENOMEM;
    l->ip = *ip;
    l->port = port;
    l->backlog = backlog == 0 ? 1 : backlog;
    l->ops = ops;
    l->arg = arg;
    LIST_INIT(&l->half_open_list);
    LIST_INIT(&l->tfo_list);
    LIST_INSERT_HEAD(&st->tcp->listen[listen_bucket(port)], l, link);
    *listener = l;
    return 0;
}

void tcp_unlisten(struct stack *st, struct tcp_listener *l)
{
    while (!LIST_EMPTY(&l->half_open_list))
        tcp_conn_abort(LIST_FIRST(&l->half_open_list), ECONNABORTED);
    while (!LIST_EMPTY(&l->tfo_list)) /* their sockets have them already */
        tcp_listener_leave(LIST_FIRST(&l->tfo_list));
    tcp_reap(st);
    LIST_REMOVE(l, link);
    free(l);
}
