/* SPDX-License-Identifier: BSD-3-Clause
 * Large segments: several full ones of new data, built, noted and sent as one, which the device or the port cuts apart (TSO, GSO).
 * On the wire they are what they would have been one by one; so what only one of them may say keeps them apart, and what is sent
 * again, where each counts for itself, is never large. */
#include "tcp_conn.h"

/* CWR is for the first alone (RFC 3168 6.1.2), the urgent pointer counts from each one's sequence number, SACK blocks of
 * duplicates are told once (RFC 2883 4). A probe is one segment. */
static bool must_be_single(struct tcp_conn *c)
{
    return (c->flags & (TCP_F_CWR | TCP_F_URGENT | TCP_F_PROBING)) || seq_lt(c->snd_nxt, c->snd_max) || tcp_sack_length(c) > 0;
}

uint32_t tcp_large(struct tcp_conn *c, uint32_t mss, uint32_t most)
{
    bool v4 = ip_is_v4(&c->flow.remote_ip);
    struct ip_route route;
    if (most < 2 || must_be_single(c) || !ip_route(c->st, &c->flow.remote_ip, &route) ||
        !(route.port->conf.caps & (v4 ? NET_CAP_TX_TSO4 : NET_CAP_TX_TSO6)))
        return 1;
    uint32_t headers = ip_header_len(&c->flow.remote_ip) + (uint32_t)sizeof(struct rte_tcp_hdr) + TCP_OPTIONS_MAX;
    uint32_t exact = headers - TCP_OPTIONS_MAX + (c->flags & TCP_F_TS ? TCP_TS_LENGTH : 0);
    /* Another connection may have learned that the path carries less: IP fragments what no segment of ours knows yet. */
    if (exact + mss > ip_path_mtu(c->st, &route, &c->flow.remote_ip) || route.port->conf.tso_max < headers + 2 * mss)
        return 1;
    return RTE_MIN(RTE_MIN(most, NET_TSO_FRAMES), (route.port->conf.tso_max - headers) / mss);
}
