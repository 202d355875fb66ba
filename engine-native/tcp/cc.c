/* SPDX-License-Identifier: BSD-3-Clause
 * Congestion control: the list, and NewReno's part (RFC 5681 3.1, with appropriate byte counting, RFC 3465). What happens
 * during recovery is recovery.c's. */
#include "tcp_conn.h"

/* RFC 6928 2: ten segments, but not many bytes of large ones. */
static uint32_t initial_window(const struct tcp_conn *c)
{
    return RTE_MIN(10u * c->mss, RTE_MAX(2u * c->mss, 14600u));
}

static void newreno_init(struct tcp_conn *c)
{
    c->cwnd = initial_window(c);
    c->ssthresh = UINT32_MAX;
    c->cc_acked = 0;
}

static void newreno_acked(struct tcp_conn *c, uint32_t bytes)
{
    if (c->cwnd < c->ssthresh) { /* slow start */
        c->cwnd += RTE_MIN(bytes, 2u * c->mss);
        return;
    }
    c->cc_acked += bytes; /* congestion avoidance: one segment per window acknowledged */
    if (c->cc_acked >= c->cwnd) {
        c->cc_acked -= c->cwnd;
        c->cwnd += c->mss;
    }
}

static void newreno_reduce(struct tcp_conn *c, uint32_t flight)
{
    c->ssthresh = RTE_MAX(flight / 2, 2u * c->mss); /* RFC 5681 (4) */
    c->cc_acked = 0;
}

static void newreno_idle(struct tcp_conn *c)
{
    c->cwnd = RTE_MIN(c->cwnd, initial_window(c)); /* RFC 5681 4.1 */
}

static const struct tcp_cc_ops newreno = {
    .name = "newreno",
    .init = newreno_init,
    .acked = newreno_acked,
    .lost = newreno_reduce,
    .timeout = newreno_reduce,
    .idle = newreno_idle,
};

static const struct tcp_cc_ops *const list[] = {&newreno}; /* the first is the default */

const struct tcp_cc_ops *tcp_cc_find(const char *name)
{
    for (size_t i = 0; i < RTE_DIM(list); i++)
        if (name == NULL || strcmp(list[i]->name, name) == 0)
            return list[i];
    return NULL;
}
