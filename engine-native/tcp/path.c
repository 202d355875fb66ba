/* SPDX-License-Identifier: BSD-3-Clause
 * The path's MTU (RFC 1191, 8201): segments are no larger than what it is known to carry. */
#include "tcp_conn.h"

static uint16_t mss_of(const struct tcp_conn *c, uint32_t mtu)
{
    uint32_t head = ip_header_len(&c->flow.remote_ip) + (uint32_t)sizeof(struct rte_tcp_hdr);
    uint32_t mss = mtu > head + TCP_MSS_MIN ? mtu - head : TCP_MSS_MIN;
    return (uint16_t)RTE_MIN(mss, (uint32_t)c->rcv_mss);
}

uint16_t tcp_path_mss(const struct tcp_conn *c)
{
    return mss_of(c, pmtu_find(c->st, &c->flow.remote_ip));
}

void tcp_packet_too_big(struct tcp_conn *c, uint32_t mtu)
{
    uint32_t mss = mss_of(c, pmtu_learn(c->st, &c->flow.remote_ip, mtu)) - (c->flags & TCP_F_TS ? TCP_TS_LENGTH : 0u);
    if (mss >= c->mss || !tcp_may_retransmit(c))
        return;
    c->mss = (uint16_t)mss;
    /* What was too large is lost, and not by congestion (RFC 8201 5.4): again, from the first byte on, in smaller pieces. */
    c->flags &= ~TCP_F_RTT_TIMED;
    c->snd_nxt = c->snd_una;
    tcp_send_data(c);
}
