/* SPDX-License-Identifier: BSD-3-Clause
 * A connection's timers: one deadline each, in the wheel's ticks, and one entry in the wheel for the first of them. An ACK that
 * pushes a deadline back does not touch the wheel: the entry fires early, finds nothing due and goes where the deadline is now. */
#include "tcp_conn.h"

#define KEEPALIVE_IDLE_S 7200u /* RFC 9293 3.8.4: no less than two hours by default */
#define KEEPALIVE_INTERVAL_S 75u
#define KEEPALIVE_PROBES 9u

/* Ticks from now until a deadline; below 0: it is over. */
static int32_t ticks_left(const struct tcp_conn *c, uint32_t deadline)
{
    return wheel_tick_diff(deadline, (uint32_t)(c->st->now / WHEEL_TICK_NS));
}

static void arm(struct tcp_conn *c, uint32_t deadline)
{
    int32_t left = ticks_left(c, deadline);
    wheel_arm(&c->st->wheel, &c->timer, (c->st->now / WHEEL_TICK_NS + (uint64_t)RTE_MAX(left, 0)) * WHEEL_TICK_NS);
}

/* The entry has fired: to the first of the deadlines. */
static void rearm(struct tcp_conn *c)
{
    uint32_t first = 0;
    bool any = false;
    for (uint32_t i = 0; i < TCP_TIMER_N; i++) {
        if (!tcp_timer_on(c, i) || (any && wheel_tick_diff(c->deadline[i], first) >= 0))
            continue;
        first = c->deadline[i];
        any = true;
    }
    if (any && (!c->timer.armed || wheel_tick_diff(first, c->timer.due) < 0))
        arm(c, first);
}

void tcp_timer_set(struct tcp_conn *c, enum tcp_timer which, uint64_t after)
{
    if (c->flags & TCP_F_DEAD)
        return;
    if (which == TCP_T_RETRANSMIT || which == TCP_T_PERSIST)
        after = tcp_before_user_timeout(c, after);
    c->deadline[which] = (uint32_t)((c->st->now + after + WHEEL_TICK_NS - 1) / WHEEL_TICK_NS);
    c->timers_on |= (uint8_t)(1u << which);
    /* An entry is never later than any deadline, so this one alone can ask for an earlier one. */
    if (!c->timer.armed || wheel_tick_diff(c->deadline[which], c->timer.due) < 0)
        arm(c, c->deadline[which]);
}

void tcp_timer_clear(struct tcp_conn *c, enum tcp_timer which)
{
    c->timers_on &= (uint8_t)~(1u << which);
}

uint64_t tcp_timer_left(const struct tcp_conn *c, enum tcp_timer which)
{
    uint64_t due = c->st->now / WHEEL_TICK_NS * WHEEL_TICK_NS; /* the tick that goes on */
    int32_t ticks = ticks_left(c, c->deadline[which]);
    return !tcp_timer_on(c, which) || ticks <= 0 ? 0 : due + (uint64_t)ticks * WHEEL_TICK_NS - c->st->now;
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
        c->flags |= TCP_F_STREAM; /* there was nothing to send it with */
        tcp_send_ack(c);
        break;
    case TCP_T_KEEPALIVE:
        keepalive_due(c);
        break;
    case TCP_T_TIME_WAIT:
        tcp_conn_end(c, 0);
        break;
    case TCP_T_REST:
        tcp_rest(c);
        break;
    case TCP_TIMER_N:
        break;
    }
}

static void timer_due(void *ctx, struct wheel_timer *t)
{
    struct tcp_conn *c = (struct tcp_conn *)t;
    struct stack *st = ctx;
    for (uint32_t i = 0; i < TCP_TIMER_N && c->state != TCP_CLOSED; i++) {
        if (tcp_timer_on(c, i) && ticks_left(c, c->deadline[i]) <= 0) {
            tcp_timer_clear(c, i);
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
    c->timers_on = 0;
}
