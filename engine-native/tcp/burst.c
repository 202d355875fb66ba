/* SPDX-License-Identifier: BSD-3-Clause
 * Segments that arrive together: their connections are looked up together and brought into the cache while the first of them
 * are worked on, so that with very many connections a segment does not wait for memory once per line it needs. What is looked
 * up here is a hint: the segment is parsed and checked in its turn, and finds its connection by the table if the hint is not its
 * own or some connection ended meanwhile. */
#include <netinet/in.h>
#include <rte_prefetch.h>

#include "tcp_conn.h"

bool tcp_frame_flow(const struct rte_mbuf *m, struct tcp_flow *flow)
{
    const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
    const struct rte_ipv4_hdr *ip = (const void *)(eth + 1);
    const struct rte_ipv6_hdr *ip6 = (const void *)(eth + 1);
    const struct rte_tcp_hdr *h;
    if (rte_pktmbuf_data_len(m) < sizeof *eth + sizeof *ip + sizeof *h)
        return false;
    if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) && ip->version_ihl == RTE_IPV4_VHL_DEF && ip->next_proto_id == IPPROTO_TCP) {
        flow->local_ip = ip_from_v4(ip->dst_addr);
        flow->remote_ip = ip_from_v4(ip->src_addr);
        h = (const void *)(ip + 1);
    } else if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6) && ip6->proto == IPPROTO_TCP &&
               rte_pktmbuf_data_len(m) >= sizeof *eth + sizeof *ip6 + sizeof *h) {
        memcpy(flow->local_ip.b, ip6->dst_addr, sizeof flow->local_ip);
        memcpy(flow->remote_ip.b, ip6->src_addr, sizeof flow->remote_ip);
        h = (const void *)(ip6 + 1);
    } else {
        return false;
    }
    flow->local_port = h->dst_port;
    flow->remote_port = h->src_port;
    return true;
}

static void prefetch_lines(const void *at, size_t size)
{
    for (size_t i = 0; i < size; i += RTE_CACHE_LINE_SIZE)
        rte_prefetch0((const char *)at + i);
}

/* One after the other what leads to the next: connections, their sessions, the applications' sessions. */
static void prefetch_connections(struct stack *st, struct tcp_conn *const *conn, uint32_t n)
{
    struct zs_view *v = st->conf.view;
    for (uint32_t i = 0; i < n; i++)
        if (conn[i] != NULL)
            prefetch_lines(conn[i], sizeof *conn[i]);
    for (uint32_t i = 0; i < n; i++) {
        const struct zs_session *own = conn[i] == NULL ? NULL : zs_session_at(v, conn[i]->own);
        if (own != NULL)
            prefetch_lines(own, sizeof *own);
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct zs_session *own = conn[i] == NULL ? NULL : zs_session_at(v, conn[i]->own);
        const struct zs_session *app = own == NULL ? NULL : zs_session_at(v, own->peer);
        if (app != NULL)
            prefetch_lines(app, sizeof *app);
    }
}

void tcp_burst(struct stack *st, struct rte_mbuf *const *frames, uint16_t n)
{
    struct tcp_burst *b = &st->tcp->burst;
    struct tcp_flow flow[TCP_BURST];
    struct tcp_conn *conn[TCP_BURST];
    uint8_t frame[TCP_BURST];
    uint32_t keys = 0;
    b->ended = st->tcp->ended;
    memset(b->conn, 0, sizeof b->conn);
    for (uint16_t i = 0; i < n; i++)
        rte_prefetch0(rte_pktmbuf_mtod(frames[i], const void *));
    for (uint16_t i = 0; i < n; i++) {
        if (!tcp_frame_flow(frames[i], &flow[keys]))
            continue;
        frame[keys++] = (uint8_t)i;
    }
    tcp_flows_find_all(&st->tcp->flows, flow, keys, conn);
    for (uint32_t i = 0; i < keys; i++)
        b->conn[frame[i]] = conn[i];
    prefetch_connections(st, conn, keys);
}

struct tcp_conn *tcp_burst_find(const struct stack *st, const struct tcp_flow *flow)
{
    const struct tcp_burst *b = &st->tcp->burst;
    struct tcp_conn *c = b->ended == st->tcp->ended ? b->conn[b->at] : NULL;
    return c != NULL && memcmp(&c->flow, flow, sizeof *flow) == 0 ? c : tcp_conn_find(st, flow);
}

void tcp_burst_at(struct stack *st, uint16_t i)
{
    st->tcp->burst.at = i;
}

void tcp_burst_over(struct stack *st)
{
    memset(st->tcp->burst.conn, 0, sizeof st->tcp->burst.conn);
    st->tcp->burst.at = 0;
}
