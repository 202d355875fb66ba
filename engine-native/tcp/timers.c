/* SPDX-License-Identifier: BSD-3-Clause
 * A connection's timers: one deadline each, and one entry in the wheel for the first of them. An ACK that pushes a deadline
 * back does not touch the wheel: the entry fires early, finds nothing due and goes where the deadline is now. */
#include "tcp_conn.h"

#define KEEPALIVE_IDLE_S 7200u /* RFC 9293 3.8.4: no less than two hours by default */
#define KEEPALIVE_INTERVAL_S 75u
#define KEEPALIVE_PROBES 9u

static void rearm(struct tcp_conn *c)
{
    uint64_t first = TCP_NEVER;
    for (int i = 0; i < TCP_TIMER_N; i++)
        first = RTE_MIN(first, c->deadline[i]);
    if (first == TCP_NEVER || (c->timer.armed && c->timer_at <= first))
        return;
    c->timer_at = first;
    wheel_arm(&c->st->wheel, &c->timer, first);
}

void tcp_timer_set(struct tcp_conn *c, enum tcp_timer which, uint64_t after)
{
    if (c->flags & TCP_F_DEAD)
        return;
    if (which == TCP_T_RETRANSMIT || which == TCP_T_PERSIST)
        after = tcp_before_user_timeout(c, after);
    c->deadline[which] = c->st->now + after;
    rearm(c);
}

void tcp_timer_clear(struct tcp_conn *c, enum tcp_timer which)
{
    c->deadline[which] = TCP_NEVER;
}

/* ---- Keep-alive, RFC 9293 3.8.4 ---- */

static uint64_t keepalive_idle(const struct tcp_conn *c)
{
    return TCP_OPTION(c, keepidle, KEEPALIVE_IDLE_S) * NET_NS_PER_S;
}

void tcp_keepalive_start(struct tcp_conn *c)
{
    if ((tcp_opt_bits(c) & ZS_O_KEEPALIVE) && !tcp_timer_on(c, TCP_T_KEEPALIVE) && tcp_synchronized(c))
        tcp_timer_set(c, TCP_T_KEEPALIVE, keepalive_idle(c));
}

static void keepalive_due(struct tcp_conn *c)
{
    uint64_t idle = keepalive_idle(c), silent = c->st->now - c->last_rcv;
    if (!(tcp_opt_bits(c) & ZS_O_KEEPALIVE))
        return;
    if (silent < idle || tcp_flight(c) > 0) { /* with data outstanding, retransmission finds out */
        c->keep_probes = 0;
        tcp_timer_set(c, TCP_T_KEEPALIVE, silent < idle ? idle - silent : idle);
        return;
    }
    /* TCP_USER_TIMEOUT takes the place of the count, tcp(7). */
    bool over = tcp_has_user_timeout(c) ? c->keep_probes > 0 && tcp_user_timeout_over(c, c->last_rcv)
                                        : c->keep_probes >= TCP_OPTION(c, keepcnt, KEEPALIVE_PROBES);
    if (over) {
        NET_COUNT(c->st, TCP_TIMED_OUT);
        tcp_conn_abort(c, c->soft_error != 0 ? c->soft_error : ETIMEDOUT);
        return;
    }
    c->keep_probes++;
    NET_COUNT(c->st, TCP_KEEPALIVE_TX);
    tcp_transmit(c, seq_sub(c->snd_nxt, 1), RTE_TCP_ACK_FLAG, 0, 0);
    tcp_timer_set(c, TCP_T_KEEPALIVE, TCP_OPTION(c, keepintvl, KEEPALIVE_INTERVAL_S) * NET_NS_PER_S);
}

/* ---- Expiry ---- */

static void persist_due(struct tcp_conn *c)
{
    /* A peer that keeps its window shut but answers is alive, for as long as it likes (3.8.6.1); tcp_input() resets retries. */
    if (c->retries++ >= TCP_RETRIES || tcp_user_timeout_over(c, c->stuck_since)) {
        NET_COUNT(c->st, TCP_TIMED_OUT);
        tcp_conn_abort(c, c->soft_error != 0 ? c->soft_error : ETIMEDOUT);
        return;
    }
    tcp_window_probe(c);
}

static void expired(struct tcp_conn *c, enum tcp_timer which)
{
    switch (which) {
    case TCP_T_RETRANSMIT:
        tcp_retransmit_timeout(c);
        break;
    case TCP_T_LOSS:
        tcp_loss_timeout(c);
        break;
    case TCP_T_PERSIST:
        persist_due(c);
        break;
    case TCP_T_CORK:
        tcp_cork_timeout(c);
        break;
    case TCP_T_DELACK:
        tcp_send_ack(c);
        break;
    case TCP_T_KEEPALIVE:
        keepalive_due(c);
        break;
    case TCP_T_TIME_WAIT:
        tcp_conn_end(c, 0);
        break;
    case TCP_TIMER_N:
        break;
    }
}

static void timer_due(void *ctx, struct wheel_timer *t)
{
    struct tcp_conn *c = (struct tcp_conn *)t;
    struct stack *st = ctx;
    for (int i = 0; i < TCP_TIMER_N && c->state != TCP_CLOSED; i++) {
        if (c->deadline[i] <= st->now) {
            c->deadline[i] = TCP_NEVER;
            expired(c, i);
        }
    }
    if (c->state != TCP_CLOSED)
        rearm(c);
    tcp_reap(st);
}

void tcp_timer_init(struct tcp_conn *c)
{
    c->timer.fire = timer_due;
    for (int i = 0; i < TCP_TIMER_N; i++)
        c->deadline[i] = TCP_NEVER;
}
