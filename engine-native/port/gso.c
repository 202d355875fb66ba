/* SPDX-License-Identifier: BSD-3-Clause
 * Long TCP segments cut into frames for a device that cannot: IPv4 by DPDK's rte_gso, IPv6, which that library does not know in
 * 22.11, by the same rules here. Payload is not copied: each frame is a header of its own and references to what it is cut from.
 * Checksums are computed for each frame; the library leaves them to the device. */
#include <rte_gso.h>
#include <rte_tcp.h>
#include <stdio.h>

#include "cksum.h"
#include "internal.h"

#define HEADS_MAX 160u /* bytes of headers: Ethernet with a VLAN tag, IPv6, TCP with options */
#define PIECES 3u      /* of a frame on average, at most: where rings wrap and end, lent memory begins */

bool gso_start(struct gso *g, uint16_t id, uint32_t in_flight, struct port_failure *f)
{
    char name[RTE_MEMPOOL_NAMESIZE];
    snprintf(name, sizeof name, "zs_gso_head%u", id);
    g->heads = rte_pktmbuf_pool_create(name, in_flight, 0, 0, RTE_PKTMBUF_HEADROOM + HEADS_MAX, SOCKET_ID_ANY);
    snprintf(name, sizeof name, "zs_gso_piece%u", id);
    g->pieces = rte_pktmbuf_pool_create(name, in_flight * PIECES, 0, 0, 0, SOCKET_ID_ANY);
    if (g->heads != NULL && g->pieces != NULL)
        return true;
    port_fail(f, "give DPDK more memory (-m MIB after --), or take tso=off", "no memory for the frames of long segments");
    return false;
}

void gso_stop(struct gso *g)
{
    rte_mempool_free(g->heads);
    rte_mempool_free(g->pieces);
    *g = (struct gso){0};
}

/* ---- IPv6 ---- */

/* n bytes from `at` of m on, referred to by a chain behind head. False: no buffer. */
static bool refer(struct gso *g, struct rte_mbuf *head, struct rte_mbuf *m, uint32_t at, uint32_t n)
{
    struct rte_mbuf *last = head;
    for (; at >= rte_pktmbuf_data_len(m); m = m->next)
        at -= rte_pktmbuf_data_len(m);
    for (; n > 0; m = m->next, at = 0) {
        uint32_t len = RTE_MIN(n, rte_pktmbuf_data_len(m) - at);
        struct rte_mbuf *piece = rte_pktmbuf_alloc(g->pieces);
        if (piece == NULL)
            return false;
        rte_pktmbuf_attach(piece, m);
        piece->data_off = (uint16_t)(m->data_off + at);
        piece->data_len = piece->pkt_len = (uint16_t)len;
        last->next = piece;
        last = piece;
        head->nb_segs++;
        head->pkt_len += len;
        n -= len;
    }
    return true;
}

static int cut6(struct gso *g, struct rte_mbuf *m, struct rte_mbuf **out)
{
    uint32_t l4_at = (uint32_t)m->l2_len + m->l3_len, heads = l4_at + m->l4_len, payload = rte_pktmbuf_pkt_len(m) - heads;
    int n = 0;
    for (uint32_t from = 0; from < payload; from += m->tso_segsz) {
        uint32_t len = RTE_MIN((uint32_t)m->tso_segsz, payload - from);
        struct rte_mbuf *head = n < (int)NET_TSO_FRAMES ? rte_pktmbuf_alloc(g->heads) : NULL;
        char *to = head == NULL ? NULL : rte_pktmbuf_append(head, (uint16_t)heads);
        if (head != NULL)
            out[n++] = head;
        if (to == NULL || !refer(g, head, m, heads + from, len)) {
            rte_pktmbuf_free_bulk(out, (unsigned)n);
            return 0;
        }
        rte_memcpy(to, rte_pktmbuf_mtod(m, const void *), heads);
        struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod_offset(head, struct rte_ipv6_hdr *, m->l2_len);
        struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod_offset(head, struct rte_tcp_hdr *, l4_at);
        ip->payload_len = rte_cpu_to_be_16((uint16_t)(m->l4_len + len));
        tcp->sent_seq = rte_cpu_to_be_32(rte_be_to_cpu_32(tcp->sent_seq) + from);
        if (from + len < payload)
            tcp->tcp_flags &= (uint8_t)~(RTE_TCP_PSH_FLAG | RTE_TCP_FIN_FLAG);
    }
    return n;
}

/* ---- Both ---- */

/* Moves m's data to its TCP header and back to sum what follows. */
static uint16_t sum_from(struct rte_mbuf *m, uint16_t at)
{
    rte_pktmbuf_adj(m, at);
    uint16_t sum = net_cksum(m, rte_pktmbuf_pkt_len(m));
    rte_pktmbuf_prepend(m, at);
    return sum;
}

static void checksum(struct rte_mbuf *m, bool v4, uint16_t l2, uint16_t l3)
{
    struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod_offset(m, struct rte_tcp_hdr *, l2 + l3);
    void *ip = rte_pktmbuf_mtod_offset(m, void *, l2);
    uint32_t sum = v4 ? rte_ipv4_phdr_cksum(ip, 0) : rte_ipv6_phdr_cksum(ip, 0);
    tcp->cksum = 0;
    sum += sum_from(m, (uint16_t)(l2 + l3));
    tcp->cksum = (uint16_t)~((sum & 0xffff) + (sum >> 16));
    if (v4) {
        struct rte_ipv4_hdr *ip4 = ip;
        ip4->hdr_checksum = 0;
        ip4->hdr_checksum = rte_ipv4_cksum(ip4);
    }
    m->ol_flags &= ~(RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6);
}

uint16_t gso_cut(struct gso *g, struct rte_mbuf *m, struct rte_mbuf **out)
{
    uint16_t l2 = m->l2_len, l3 = m->l3_len;
    bool v4 = m->ol_flags & RTE_MBUF_F_TX_IPV4;
    const struct rte_gso_ctx ctx = {.direct_pool = g->heads, .indirect_pool = g->pieces, .gso_types = RTE_ETH_TX_OFFLOAD_TCP_TSO,
                                    .gso_size = (uint16_t)(l2 + l3 + m->l4_len + m->tso_segsz)};
    int n = v4 ? rte_gso_segment(m, &ctx, out, NET_TSO_FRAMES) : cut6(g, m, out);
    for (int i = 0; i < n; i++)
        checksum(out[i], v4, l2, l3);
    return (uint16_t)RTE_MAX(n, 0);
}
