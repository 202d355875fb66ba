/* SPDX-License-Identifier: BSD-3-Clause
 * Pacing: a window leaves spread over a round trip and not in one burst, which a short queue on the way would drop. As Linux paces with fq: in slow start at twice the
 * window for each round trip, in congestion avoidance at 1.2 times, so that acknowledgements and not the clock decide as soon as they come evenly.
 * The wheel's tick is the unit: what is due until the next one may leave at once. Not paced are round trips of two ticks or less, windows of twice what
 * RFC 6928 lets a connection begin with, and as much as that where nothing is on its way: an answer of a few segments has no reason to wait. */
#include "scoreboard.h"

#define SLOW_START_PERCENT 200u
#define AVOIDANCE_PERCENT 120u
#define CREDIT_NS WHEEL_TICK_NS /* of a turn that comes late */

static uint64_t srtt_ns(const struct tcp_conn *c)
{
    return (uint64_t)c->srtt_us * 1000;
}

/* What may leave in a round trip, bytes. */
static uint64_t window(const struct tcp_conn *c)
{
    uint32_t percent = c->cwnd < c->ssthresh / 2 ? SLOW_START_PERCENT : AVOIDANCE_PERCENT;
    return (uint64_t)RTE_MAX(c->cwnd, (uint32_t)c->mss) * percent / 100;
}

static bool paced(const struct tcp_conn *c)
{
    return c->send != NULL && srtt_ns(c) > 2 * WHEEL_TICK_NS && c->cwnd > 2 * tcp_initial_window(c);
}

uint32_t tcp_pace_room(const struct tcp_conn *c)
{
    if (!paced(c))
        return UINT32_MAX;
    uint32_t first = tcp_flight(c) > 0 ? c->send->unpaced : tcp_initial_window(c);
    uint64_t until = c->st->now + WHEEL_TICK_NS;
    if (c->send->pace_at >= until)
        return first;
    uint64_t ns = RTE_MIN(until - c->send->pace_at, WHEEL_TICK_NS + CREDIT_NS), room = ns * window(c) / srtt_ns(c);
    return (uint32_t)RTE_MIN(first + RTE_MAX(room, (uint64_t)c->mss), (uint64_t)UINT32_MAX);
}

void tcp_pace_sent(struct tcp_conn *c, uint32_t bytes)
{
    if (!paced(c))
        return;
    struct tcp_send *s = c->send;
    s->unpaced = tcp_flight(c) > 0 ? s->unpaced : tcp_initial_window(c);
    uint32_t first = RTE_MIN(s->unpaced, bytes);
    s->unpaced -= first;
    s->pace_at = RTE_MAX(s->pace_at, c->st->now - RTE_MIN(c->st->now, CREDIT_NS)) + (bytes - first) * srtt_ns(c) / window(c);
}

static void pace_due(void *ctx, struct wheel_timer *t)
{
    struct tcp_send *s = (struct tcp_send *)t;
    struct stack *st = ctx;
    tcp_send_data(s->paced);
    tcp_reap(st);
}

bool tcp_pace_waits(const struct tcp_conn *c)
{
    return c->send != NULL && c->send->pace.armed;
}

void tcp_pace_wait(struct tcp_conn *c)
{
    struct tcp_send *s = c->send;
    if (tcp_pace_waits(c))
        return;
    NET_COUNT(c->st, TCP_PACED);
    s->pace.fire = pace_due;
    s->paced = c;
    uint64_t tick = c->st->now / WHEEL_TICK_NS + 1;
    wheel_arm(&c->st->wheel, &s->pace, tick * WHEEL_TICK_NS);
}

void tcp_pace_end(struct tcp_conn *c)
{
    if (tcp_pace_waits(c))
        wheel_disarm(&c->st->wheel, &c->send->pace);
}
