/* SPDX-License-Identifier: BSD-3-Clause
 * HyStart++, RFC 9406: slow start ends when round trips grow longer, before the queue at the bottleneck overflows, which would lose
 * as much as the path carries in a round trip. By RACK's times, so with SACK and timestamps only. The least of each eight samples
 * in a row is compared with the least of the connection, and not that of a round trip with the one before: what fills the queue is
 * the end of a round trip, and its first packets still find the queue empty. */
#include "scoreboard.h"

/* 4.3 */
#define MIN_RTT_THRESH_US 4000u
#define MAX_RTT_THRESH_US 16000u
#define RTT_DIVISOR 8u
#define N_RTT_SAMPLE 8u
#define CSS_DIVISOR 4u
#define CSS_ROUNDS 5u

static void begin_round(struct tcp_conn *c)
{
    struct tcp_hystart *h = &c->send->hystart;
    h->end = c->snd_nxt;
    h->began = true;
    if (h->base_us != 0 && ++h->rounds >= CSS_ROUNDS) {
        NET_COUNT(c->st, TCP_SLOW_START_ENDED);
        c->ssthresh = c->cwnd;
    }
}

/* What of `bytes` that arrived the window may grow by. Called for each acknowledgement in slow start. */
uint32_t tcp_hystart(struct tcp_conn *c, uint32_t bytes)
{
    struct tcp_hystart *h = &c->send->hystart;
    if (c->ssthresh != UINT32_MAX || !tcp_rack_on(c) || c->board == NULL)
        return bytes;
    if (!h->began || seq_geq(c->snd_una, h->end))
        begin_round(c);
    uint32_t us = (uint32_t)RTE_MIN(RTE_MAX(c->board->rack_rtt / 1000, (uint64_t)1), (uint64_t)UINT32_MAX);
    h->least_us = h->samples == 0 ? us : RTE_MIN(h->least_us, us);
    if (++h->samples == N_RTT_SAMPLE) {
        h->samples = 0;
        uint32_t thresh = RTE_MIN(RTE_MAX(MIN_RTT_THRESH_US, c->min_rtt_us / RTT_DIVISOR), MAX_RTT_THRESH_US);
        if (h->base_us != 0 && h->least_us < h->base_us) {
            h->base_us = 0; /* it has drained: slow start goes on */
        } else if (h->base_us == 0 && h->least_us >= c->min_rtt_us + thresh) {
            h->base_us = h->least_us;
            h->rounds = 0;
        }
    }
    return h->base_us != 0 ? bytes / CSS_DIVISOR : bytes;
}
