/* SPDX-License-Identifier: BSD-3-Clause
 * What options of the application's socket ask of a connection: how long it may wait for an acknowledgement, for the peer's
 * FIN, for the rest of a segment; what the sender is told of its progress. And TCP_INFO. */
#include "scoreboard.h"

#define CORK_NS (200 * NET_NS_PER_MS) /* tcp(7) */

uint32_t tcp_option(const struct tcp_conn *c, uint32_t value, uint32_t otherwise)
{
    return tcp_app(c) == NULL || value == 0 ? otherwise : value;
}

/* ---- TCP_USER_TIMEOUT, RFC 9293 3.8.3, RFC 5482 ---- */

static uint64_t user_timeout(const struct tcp_conn *c)
{
    const struct zs_session *app = tcp_app(c);
    return app == NULL ? 0 : atomic_load_explicit(&app->opts.user_timeout, memory_order_relaxed) * NET_NS_PER_MS;
}

bool tcp_user_timeout_over(const struct tcp_conn *c, uint64_t since)
{
    uint64_t limit = user_timeout(c);
    return limit != 0 && c->st->now - since >= limit;
}

bool tcp_has_user_timeout(const struct tcp_conn *c)
{
    return user_timeout(c) != 0;
}

/* A timer that was doubled does not run beyond the end. */
uint64_t tcp_before_user_timeout(const struct tcp_conn *c, uint64_t after)
{
    uint64_t limit = user_timeout(c), gone = c->st->now - c->stuck_since;
    if (limit == 0 || c->retries == 0)
        return after;
    return gone >= limit ? 1 : RTE_MIN(after, limit - gone);
}

/* ---- TCP_LINGER2: FIN-WAIT-2 without a socket ---- */

void tcp_orphan(struct tcp_conn *c)
{
    const struct zs_session *app = tcp_app(c);
    int32_t s = app == NULL ? 0 : atomic_load_explicit(&app->opts.linger2, memory_order_relaxed);
    if (s < 0)
        tcp_conn_abort(c, ECONNRESET);
    else
        tcp_timer_set(c, TCP_T_TIME_WAIT, s == 0 ? TCP_FIN_WAIT_NS : (uint64_t)s * NET_NS_PER_S);
}

/* ---- TCP_CORK, MSG_MORE: a segment is waited for no longer than this ---- */

void tcp_corked(struct tcp_conn *c, bool held)
{
    if (!held)
        tcp_timer_clear(c, TCP_T_CORK);
    else if (!tcp_timer_on(c, TCP_T_CORK))
        tcp_timer_set(c, TCP_T_CORK, CORK_NS);
}

void tcp_cork_timeout(struct tcp_conn *c)
{
    c->flags |= TCP_F_UNCORK;
    tcp_send_data(c);
    c->flags &= ~TCP_F_UNCORK;
}

/* ---- TCP_NOTSENT_LOWAT ---- */

void tcp_tell_sent(struct tcp_conn *c)
{
    struct zs_session *own = tcp_own(c), *app = tcp_app(c);
    uint32_t low = app == NULL ? 0 : atomic_load_explicit(&app->opts.notsent_lowat, memory_order_relaxed);
    if (low == 0)
        return;
    uint64_t sent = atomic_load_explicit(&own->rx_cons.head, memory_order_relaxed) + tcp_flight(c);
    uint64_t tail = atomic_load_explicit(&own->rx_prod.tail, memory_order_relaxed);
    atomic_store(&own->rx_cons.sent, sent);
    atomic_thread_fence(memory_order_seq_cst); /* with the writer, who asks for room and then looks again */
    if (sent >= tail || tail - sent < low)
        zs_rx_room_told(c->st->conf.view, own);
}

/* ---- TCP_INFO ---- */

static uint8_t info_options(const struct tcp_conn *c)
{
    return (uint8_t)((c->flags & TCP_F_TS ? ZS_TCPI_TIMESTAMPS : 0) | (c->flags & TCP_F_SACK ? ZS_TCPI_SACK : 0) |
                     (c->flags & TCP_F_WS ? ZS_TCPI_WSCALE : 0) | (c->flags & TCP_F_ECN ? ZS_TCPI_ECN : 0) |
                     (c->ce_seen > 0 ? ZS_TCPI_ECN_SEEN : 0) | (c->tfo & TCP_TFO_TAKEN ? ZS_TCPI_SYN_DATA : 0));
}

static uint8_t info_ca_state(const struct tcp_conn *c)
{
    return c->flags & TCP_F_LOSS || (c->retries > 0 && tcp_synchronized(c)) ? ZS_CA_LOSS
           : c->flags & TCP_F_RECOVERY ? ZS_CA_RECOVERY
           : c->flags & TCP_F_CWR ? ZS_CA_CWR
           : tcp_sacked(c) > 0 || c->dupacks > 0 ? ZS_CA_DISORDER : ZS_CA_OPEN;
}

static uint32_t ms_since(const struct tcp_conn *c, uint64_t when)
{
    return when == 0 || when > c->st->now ? 0 : (uint32_t)((c->st->now - when) / NET_NS_PER_MS);
}

/* Bytes that the application wrote and that were not sent yet. */
static uint32_t not_sent(struct tcp_conn *c)
{
    const struct zs_session *own = tcp_own(c);
    uint64_t unread = own == NULL ? 0 : zs_rx_avail(own), flight = tcp_flight(c);
    return unread > flight ? (uint32_t)RTE_MIN(unread - flight, (uint64_t)UINT32_MAX) : 0;
}

void tcp_info(struct tcp_conn *c, uint64_t now, struct zs_tcp_info *o)
{
    const struct zs_session *own = tcp_own(c), *app = tcp_app(c);
    uint32_t mss = RTE_MAX(c->mss, (uint16_t)1), head = ip_header_len(&c->flow.remote_ip) + 20u;
    uint32_t ts = c->flags & TCP_F_TS ? 12 : 0;
    net_at(c->st, now);
    *o = (struct zs_tcp_info){
        .state = c->tfo & TCP_TFO_SYN_OUT && c->state == TCP_ESTABLISHED ? TCP_SYN_RECEIVED : c->state, .ca_state = info_ca_state(c), .retransmits = c->retries,
        .probes = tcp_timer_on(c, TCP_T_PERSIST) ? c->backoff : c->keep_probes, .backoff = c->backoff,
        .options = info_options(c), .snd_wscale = c->flags & TCP_F_WS ? c->snd_scale : 0,
        .rcv_wscale = c->flags & TCP_F_WS ? c->rcv_scale : 0,
        .rto_us = (uint32_t)(tcp_rto_ns(c) / 1000), .ato_us = (uint32_t)(TCP_DELACK_NS / 1000),
        .snd_mss = c->mss, .rcv_mss = c->rcv_mss - ts, .advmss = c->rcv_mss, .pmtu = tcp_path_mss(c) + head,
        .unacked = (tcp_flight(c) + mss - 1) / mss, .sacked = (tcp_sacked(c) + mss - 1) / mss,
        .lost = (tcp_lost(c) + mss - 1) / mss,
        .last_data_sent_ms = ms_since(c, c->last_send), .last_data_recv_ms = ms_since(c, c->last_data),
        .last_ack_recv_ms = ms_since(c, c->last_rcv),
        .rtt_us = c->srtt_us, .rttvar_us = c->rttvar_us, .min_rtt_us = c->min_rtt_us, .rcv_rtt_us = c->rcv_rtt_us,
        .snd_cwnd = RTE_MAX(c->cwnd / mss, 1u),
        .snd_ssthresh = c->ssthresh == UINT32_MAX ? INT32_MAX : c->ssthresh / mss,
        .reordering = c->flags & TCP_F_REORDERED ? 3u + (c->send == NULL ? 0 : c->send->reo_more) : 3u,
        .rcv_space = tcp_receive_buffer(c), .rcv_ssthresh = tcp_receive_buffer(c), .rcv_wnd = tcp_rcv_wnd(c), .snd_wnd = c->snd_wnd,
        .total_retrans = c->info.retrans, .segs_out = c->info.segs_out, .segs_in = c->info.segs_in,
        .data_segs_out = c->info.data_out, .data_segs_in = c->info.data_in, .dsack_dups = c->info.dsacks,
        .rcv_ooopack = c->info.out_of_order, .delivered_ce = c->ce_told,
        .bytes_acked = own == NULL ? 0 : atomic_load(&own->rx_cons.head),
        .bytes_received = app == NULL ? 0 : atomic_load(&app->rx_prod.tail),
        .bytes_retrans = c->bytes_retrans, .notsent_bytes = not_sent(c),
    };
    tcp_pace_info(c, &o->pacing_rate, &o->max_pacing_rate);
    o->bytes_sent = o->bytes_acked + tcp_flight(c) + o->bytes_retrans;
    o->delivered = (uint32_t)(o->bytes_acked / mss) + o->sacked;
}
