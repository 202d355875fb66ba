/* SPDX-License-Identifier: BSD-3-Clause
 * Round trip time and retransmission timeout, RFC 6298. */
#include "tcp_conn.h"

#define MIN_RTT_FOR_NS (300 * NET_NS_PER_S) /* as Linux */

/* RFC 8985's min_RTT: the least that was measured in the last minutes. */
void tcp_rtt_least(struct tcp_conn *c, uint64_t ns)
{
    uint32_t us = (uint32_t)RTE_MIN(RTE_MAX(ns / 1000, (uint64_t)1), (uint64_t)UINT32_MAX);
    uint32_t s = (uint32_t)(c->st->now / NET_NS_PER_S);
    if (c->min_rtt_us == 0 || us <= c->min_rtt_us || s - c->min_rtt_s > MIN_RTT_FOR_NS / NET_NS_PER_S) {
        c->min_rtt_us = us;
        c->min_rtt_s = s;
    }
}

void tcp_rtt_sample(struct tcp_conn *c, uint64_t ns)
{
    uint64_t us = ns / 1000;
    tcp_rtt_least(c, ns);
    uint32_t r = us == 0 ? 1 : us > TCP_RTO_MAX_US ? TCP_RTO_MAX_US : (uint32_t)us;
    if (c->srtt_us == 0) { /* 2.2 */
        c->srtt_us = r;
        c->rttvar_us = r / 2;
    } else { /* 2.3: alpha 1/8, beta 1/4 */
        uint32_t error = c->srtt_us > r ? c->srtt_us - r : r - c->srtt_us;
        c->rttvar_us = c->rttvar_us - c->rttvar_us / 4 + error / 4;
        c->srtt_us = c->srtt_us - c->srtt_us / 8 + r / 8;
        if (c->srtt_us == 0)
            c->srtt_us = 1;
    }
    uint32_t granularity = (uint32_t)(WHEEL_TICK_NS / 1000);
    uint32_t spread = RTE_MAX(4 * c->rttvar_us, granularity);
    c->rto_us = RTE_MIN(RTE_MAX(c->srtt_us + spread, TCP_RTO_MIN_US), TCP_RTO_MAX_US);
}

uint64_t tcp_rto_ns(const struct tcp_conn *c)
{
    uint64_t us = (uint64_t)c->rto_us << RTE_MIN(c->backoff, (uint8_t)16);
    return RTE_MIN(us, (uint64_t)TCP_RTO_MAX_US) * 1000;
}
