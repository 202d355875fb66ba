/* SPDX-License-Identifier: BSD-3-Clause
 * Pacing: a window leaves spread over a round trip and not in one burst, which a short queue on the way would drop. As Linux paces with fq: in slow start at twice the
 * window for each round trip, in congestion avoidance at 1.2 times, so that acknowledgements and not the clock decide as soon as they come evenly.
 * The wheel's tick is the unit: what is due until the next one may leave at once. Not paced are round trips of two ticks or less, windows of twice what
 * RFC 6928 lets a connection begin with, and as much as that where nothing is on its way: an answer of a few segments has no reason to wait.
 *
 * SO_MAX_PACING_RATE (socket(7)) is a second bound, to which none of these exceptions applies: the slower of the two counts. */
#include "scoreboard.h"

#define SLOW_START_PERCENT 200u
#define AVOIDANCE_PERCENT 120u
#define CREDIT_NS WHEEL_TICK_NS /* of a turn that comes late */
#define RATE_MOST (UINT64_C(1) << 40) /* bytes per second: what is faster than any port is no bound, and would run over below */

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

/* By the window. */
static bool paced(const struct tcp_conn *c)
{
    return c->send != NULL && srtt_ns(c) > 2 * WHEEL_TICK_NS && c->cwnd > 2 * tcp_initial_window(c);
}

/* ---- SO_MAX_PACING_RATE ---- */

static uint64_t chosen_rate(const struct tcp_conn *c)
{
    const struct zs_session *app = tcp_app(c);
    return app == NULL ? UINT64_MAX : ZS_PACING(atomic_load_explicit(&app->pacing, memory_order_relaxed));
}

/* As Linux, 0 is told and bounds nothing. */
static bool limited(const struct tcp_conn *c)
{
    return c->send != NULL && c->send->rate > 0 && c->send->rate < RATE_MOST;
}

void tcp_pace_follow(struct tcp_conn *c)
{
    struct tcp_send *s = c->send;
    uint64_t rate = chosen_rate(c);
    if (s == NULL || tcp_app(c) == NULL || s->rate == rate)
        return;
    /* What was sent at the old rate is not waited for at the new one, which may be a thousand times it. */
    s->pace_at = RTE_MIN(s->pace_at, c->st->now);
    s->unpaced = 0;
    s->rate = rate;
    tcp_pace_end(c);
}

void tcp_pace_info(const struct tcp_conn *c, uint64_t *now, uint64_t *most)
{
    *most = chosen_rate(c);
    *now = c->srtt_us == 0 ? *most : RTE_MIN(*most, window(c) * 1000000 / c->srtt_us);
}

/* The rate that was asked for, and not the window, decides. */
bool tcp_pace_limits(const struct tcp_conn *c)
{
    return limited(c) && tcp_pace_waits(c) && (c->srtt_us == 0 || c->send->rate < window(c) * 1000000 / c->srtt_us);
}

/* ---- Both ---- */

uint32_t tcp_pace_room(const struct tcp_conn *c)
{
    bool by_window = paced(c), by_rate = limited(c);
    if (!by_window && !by_rate)
        return UINT32_MAX;
    uint32_t first = by_rate ? 0 : tcp_flight(c) > 0 ? c->send->unpaced : tcp_initial_window(c);
    uint64_t until = c->st->now + WHEEL_TICK_NS;
    if (c->send->pace_at >= until)
        return first;
    uint64_t ns = RTE_MIN(until - c->send->pace_at, WHEEL_TICK_NS + CREDIT_NS);
    uint64_t room = by_window ? ns * window(c) / srtt_ns(c) : UINT32_MAX;
    if (by_rate)
        room = RTE_MIN(room, ns * c->send->rate / NET_NS_PER_S);
    return (uint32_t)RTE_MIN(first + RTE_MAX(room, (uint64_t)c->mss), (uint64_t)UINT32_MAX);
}

void tcp_pace_sent(struct tcp_conn *c, uint32_t bytes)
{
    bool by_window = paced(c), by_rate = limited(c);
    struct tcp_send *s = c->send;
    if (!by_window && !by_rate)
        return;
    s->unpaced = by_rate ? 0 : tcp_flight(c) > 0 ? s->unpaced : tcp_initial_window(c);
    uint32_t first = RTE_MIN(s->unpaced, bytes);
    s->unpaced -= first;
    uint64_t ns = by_window ? (bytes - first) * srtt_ns(c) / window(c) : 0;
    if (by_rate)
        ns = RTE_MAX(ns, bytes * NET_NS_PER_S / s->rate);
    s->pace_at = RTE_MAX(s->pace_at, c->st->now - RTE_MIN(c->st->now, CREDIT_NS)) + ns;
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
    if (limited(c)) /* a segment may be due in a minute only */
        tick = RTE_MAX(tick, s->pace_at / WHEEL_TICK_NS);
    wheel_arm(&c->st->wheel, &s->pace, tick * WHEEL_TICK_NS);
}

void tcp_pace_end(struct tcp_conn *c)
{
    if (tcp_pace_waits(c))
        wheel_disarm(&c->st->wheel, &c->send->pace);
}

bool tcp_pace_owes(const struct tcp_conn *c)
{
    return limited(c) && (tcp_pace_waits(c) || c->send->pace_at > c->st->now);
}
