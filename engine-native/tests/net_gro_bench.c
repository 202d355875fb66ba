/* SPDX-License-Identifier: BSD-3-Clause
 * What receive coalescing gives: CPU time per segment of the stack's whole input path, without and with net/gro.c, and of rte_gro
 * alone over the same frames in bursts of 32; and what rte_gro does with PSH and with marks of congestion. Prints, asserts no
 * time. */
#include "net_wire.h"

#include "gro.h"

#include <netinet/in.h>
#include <rte_arp.h>
#include <rte_gro.h>
#include <rte_net.h>
#include <rte_tcp.h>
#include <stdio.h>

#define BURST 32u
#define ROUNDS 4000u
#define PAYLOAD 1448u

static struct bed bed;

static uint32_t isn; /* of the stack's side, from its SYN */

static uint16_t drop_tx(void *dev, struct rte_mbuf **frames, uint16_t n)
{
    (void)dev;
    for (uint16_t i = 0; i < n; i++) {
        const struct rte_tcp_hdr *h = rte_pktmbuf_mtod_offset(frames[i], const struct rte_tcp_hdr *, 34);
        if (rte_pktmbuf_data_len(frames[i]) >= 54 && (h->tcp_flags & RTE_TCP_SYN_FLAG))
            isn = rte_be_to_cpu_32(h->sent_seq);
    }
    rte_pktmbuf_free_bulk(frames, n);
    return n;
}
static const struct net_port_ops drop_ops = {drop_tx};

static struct rte_mbuf *segment(uint32_t seq, uint32_t ack, uint8_t flags, uint16_t payload, uint16_t id)
{
    uint8_t buf[1600];
    struct rte_ether_hdr *eth = (void *)buf;
    struct rte_ipv4_hdr *ip = (void *)(eth + 1);
    struct rte_tcp_hdr *h = (void *)(ip + 1);
    *eth = (struct rte_ether_hdr){host_mac(0), host_mac(1), RTE_BE16(RTE_ETHER_TYPE_IPV4)};
    *ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF, .total_length = rte_cpu_to_be_16((uint16_t)(40 + payload)),
                                .packet_id = rte_cpu_to_be_16(id), .time_to_live = 64, .next_proto_id = IPPROTO_TCP,
                                .src_addr = HOST_IP(1), .dst_addr = HOST_IP(0)};
    ip->hdr_checksum = rte_ipv4_cksum(ip);
    *h = (struct rte_tcp_hdr){RTE_BE16(1000), RTE_BE16(80), rte_cpu_to_be_32(seq), rte_cpu_to_be_32(ack), 0x50, flags, RTE_BE16(65000), 0, 0};
    memset(h + 1, 'x', payload);
    h->cksum = rte_ipv4_udptcp_cksum(ip, h);
    return frame_mbuf(&bed, buf, (uint16_t)(54 + payload));
}

/* rte_gro alone. Headers are read as the ports leave them: the lengths have to be found first. */
static double gro_ns(uint32_t *left)
{
    const struct rte_gro_param param = {.gro_types = RTE_GRO_TCP_IPV4, .max_flow_num = 64, .max_item_per_flow = 32, .socket_id = 0};
    uint64_t spent = 0;
    uint32_t seq = 1;
    *left = 0;
    for (uint32_t r = 0; r < ROUNDS; r++) {
        struct rte_mbuf *m[BURST];
        for (uint32_t i = 0; i < BURST; i++, seq += PAYLOAD)
            m[i] = segment(seq, 1, RTE_TCP_ACK_FLAG, PAYLOAD, (uint16_t)(r * BURST + i));
        uint64_t start = bed_cpu_ns();
        for (uint32_t i = 0; i < BURST; i++) {
            struct rte_net_hdr_lens lens;
            m[i]->packet_type = rte_net_get_ptype(m[i], &lens, RTE_PTYPE_ALL_MASK);
            m[i]->l2_len = lens.l2_len;
            m[i]->l3_len = lens.l3_len;
            m[i]->l4_len = lens.l4_len;
        }
        uint16_t n = rte_gro_reassemble_burst(m, BURST, &param);
        spent += bed_cpu_ns() - start;
        *left += n;
        rte_pktmbuf_free_bulk(m, n);
    }
    return (double)spent / (ROUNDS * BURST);
}

static int on_accept(void *arg, struct tcp_conn *c, const struct tcp_flow *flow)
{
    struct sock *s = arg;
    (void)flow;
    sock_open(&bed, s);
    s->conn = c;
    tcp_attach(c, s->own, &sock_ops, s);
    return 0;
}

/* The stack's input of the same segments into a connection whose application reads each burst away. */
static double input_ns(bool gro)
{
    static const struct tcp_listener_ops ops = {.accept = on_accept};
    static struct sock s;
    struct tcp_listener *l;
    uint64_t now = SEC, spent = 0;
    bed.lend = true;
    bed.rcvbuf = bed.rcvbuf_max = 1u << 20;
    bed.gro = gro;
    s = (struct sock){0};
    struct stack *st = bed_stack(&bed, "gro", now);
    struct net_port *port = bed_port(&bed, st, &drop_ops, NULL, 0, 0, 1500, now);
    struct ip_addr any = ANY4;
    assert_int_equal(tcp_listen(st, &any, RTE_BE16(80), 4, &ops, &s, &l), 0);
    struct rte_mbuf *m = segment(0, 0, RTE_TCP_SYN_FLAG, 0, 0);
    struct rte_arp_hdr who = {.arp_hardware = RTE_BE16(1), .arp_protocol = RTE_BE16(0x0800), .arp_hlen = 6, .arp_plen = 4,
                              .arp_opcode = RTE_BE16(1), .arp_data = {host_mac(1), HOST_IP(1), {{0}}, HOST_IP(0)}};
    uint8_t arp[42];
    memcpy(arp, &(struct rte_ether_hdr){host_mac(0), host_mac(1), RTE_BE16(0x0806)}, 14);
    memcpy(arp + 14, &who, sizeof who);
    struct rte_mbuf *known = frame_mbuf(&bed, arp, sizeof arp);
    net_input(st, port, &known, 1, now);
    net_input(st, port, &m, 1, now);
    net_flush(st);
    m = segment(1, isn + 1, RTE_TCP_ACK_FLAG, 0, 0);
    net_input(st, port, &m, 1, now);
    assert_non_null(s.conn);
    uint32_t seq = 1;
    struct zs_session *app = zs_session_at(&bed.app, s.app);
    for (uint32_t r = 0; r < ROUNDS; r++) {
        struct rte_mbuf *burst[BURST];
        for (uint32_t i = 0; i < BURST; i++, seq += PAYLOAD)
            burst[i] = segment(seq, isn + 1, RTE_TCP_ACK_FLAG, PAYLOAD, (uint16_t)(r * BURST + i));
        now += MS;
        uint64_t start = bed_cpu_ns();
        net_input(st, port, burst, BURST, now);
        net_flush(st);
        spent += bed_cpu_ns() - start;
        assert_int_equal(zs_rx_avail(app), BURST * PAYLOAD);
        zs_rx_consume(&bed.app, app, zs_rx_avail(app));
        tcp_poke(s.conn, now);
        net_run(st, now);
    }
    printf("  %llu of %u merged, %llu ACKs\n", (unsigned long long)st->counters[NET_GRO_MERGED], ROUNDS * BURST,
           (unsigned long long)st->counters[NET_TCP_TX]);
    sock_close(&s, true, now);
    tcp_unlisten(st, l);
    stack_destroy(st);
    return (double)spent / (ROUNDS * BURST);
}

/* Four segments in order through rte_gro: sequence numbers and lengths that come out. `marked`: the third met congestion. */
static void order(const char *what, bool push, bool marked)
{
    const struct rte_gro_param param = {.gro_types = RTE_GRO_TCP_IPV4, .max_flow_num = 4, .max_item_per_flow = 32, .socket_id = 0};
    struct rte_mbuf *m[4];
    for (uint16_t i = 0; i < RTE_DIM(m); i++) {
        m[i] = segment(i * PAYLOAD, 1, RTE_TCP_ACK_FLAG | (push && i == 1 ? RTE_TCP_PSH_FLAG : 0), PAYLOAD, i);
        m[i]->l2_len = 14;
        m[i]->l3_len = m[i]->l4_len = 20;
        m[i]->packet_type = RTE_PTYPE_L2_ETHER | RTE_PTYPE_L3_IPV4 | RTE_PTYPE_L4_TCP;
        if (marked && i == 2)
            rte_pktmbuf_mtod_offset(m[i], struct rte_ipv4_hdr *, 14)->type_of_service = 3;
    }
    uint16_t n = rte_gro_reassemble_burst(m, RTE_DIM(m), &param);
    printf("rte_gro, %s:", what);
    for (uint16_t i = 0; i < n; i++)
        printf(" %u(%u)%s", rte_be_to_cpu_32(rte_pktmbuf_mtod_offset(m[i], const struct rte_tcp_hdr *, 34)->sent_seq),
               rte_pktmbuf_pkt_len(m[i]) - 54, rte_pktmbuf_mtod_offset(m[i], const struct rte_ipv4_hdr *, 14)->type_of_service == 3 ? " CE" : "");
    printf("\n");
    rte_pktmbuf_free_bulk(m, n);
}

int main(void)
{
    uint32_t left;
    bed_start(&bed);
    double input = input_ns(false), merged = input_ns(true), gro = gro_ns(&left);
    printf("input path, checksum included: %.0f ns per segment; with net/gro.c: %.0f\n", input, merged);
    order("PSH on the second", true, false);
    order("the third met congestion", false, true);
    printf("rte_gro: %.0f ns per segment, %.1f segments into one\n", gro, (double)ROUNDS * BURST / left);
    return 0;
}
