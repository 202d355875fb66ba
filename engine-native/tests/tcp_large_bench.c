/* SPDX-License-Identifier: BSD-3-Clause
 * What a sender costs the stack, per frame: made one by one, as long segments that the port cuts (gso.c), and as long segments for a
 * device that cuts and sums (TSO), beside single ones for a device that sums. The device takes everything and does nothing: what
 * a driver and a kernel do with frames is not in it. Prints, asserts no time. Under callgrind: tcp_large_bench NAME MIB. */
#include "net_wire.h"

#include <netinet/in.h>
#include <rte_arp.h>
#include <rte_tcp.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

#define SUMS (NET_CAP_TX_IPV4_CKSUM | NET_CAP_TX_L4_CKSUM)

static struct bed bed;
static struct sock client;

struct device {
    struct gso gso;
    uint64_t frames;
    uint32_t edge; /* sequence number after the last byte that left */
    uint16_t port;
};

static uint16_t take(void *dev, struct rte_mbuf **frames, uint16_t n)
{
    struct device *d = dev;
    for (uint16_t i = 0; i < n; i++) {
        struct rte_mbuf *m = frames[i], *cut[NET_TSO_FRAMES];
        const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
        const struct rte_ipv4_hdr *ip = (const void *)(eth + 1);
        const struct rte_tcp_hdr *h = (const void *)(ip + 1);
        if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4)) {
            bool syn = h->tcp_flags & RTE_TCP_SYN_FLAG;
            d->edge = rte_be_to_cpu_32(h->sent_seq) + rte_be_to_cpu_16(ip->total_length) - 20u - (h->data_off >> 4) * 4u + syn;
            d->port = rte_be_to_cpu_16(h->src_port);
        }
        d->frames += ip_frames(m);
        if ((m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) && d->gso.heads != NULL) {
            uint16_t pieces = gso_cut(&d->gso, m, cut);
            assert_true(pieces > 1);
            rte_pktmbuf_free_bulk(cut, pieces);
        }
        rte_pktmbuf_free(m);
    }
    return n;
}
static const struct net_port_ops ops = {take};

static void input(struct stack *st, struct net_port *port, uint16_t to, uint32_t seq, uint32_t ack, uint8_t flags, uint64_t now)
{
    struct {
        struct rte_ether_hdr eth;
        struct rte_ipv4_hdr ip;
        struct rte_tcp_hdr tcp;
        uint8_t options[8];
    } __attribute__((packed, aligned(2))) f = {
        {host_mac(0), host_mac(1), RTE_BE16(RTE_ETHER_TYPE_IPV4)},
        {.version_ihl = RTE_IPV4_VHL_DEF, .total_length = RTE_BE16(48), .time_to_live = 64, .next_proto_id = IPPROTO_TCP,
         .src_addr = HOST_IP(1), .dst_addr = HOST_IP(0)},
        {RTE_BE16(80), rte_cpu_to_be_16(to), rte_cpu_to_be_32(seq), rte_cpu_to_be_32(ack), 0x70, flags, RTE_BE16(65535), 0, 0},
        {2, 4, 1460 >> 8, 1460 & 255, 3, 3, 7, 0}};
    if (!(flags & RTE_TCP_SYN_FLAG))
        memset(f.options, 1, sizeof f.options);
    f.ip.hdr_checksum = rte_ipv4_cksum(&f.ip);
    f.tcp.cksum = rte_ipv4_udptcp_cksum(&f.ip, &f.tcp);
    struct rte_mbuf *m = frame_mbuf(&bed, &f, sizeof f);
    net_input(st, port, &m, 1, now);
}

static void neighbour(struct stack *st, struct net_port *port, uint64_t now)
{
    struct {
        struct rte_ether_hdr eth;
        struct rte_arp_hdr arp;
    } __attribute__((packed, aligned(2))) f = {{host_mac(0), host_mac(1), RTE_BE16(RTE_ETHER_TYPE_ARP)},
                                   {.arp_hardware = RTE_BE16(1), .arp_protocol = RTE_BE16(0x0800), .arp_hlen = 6, .arp_plen = 4,
                                    .arp_opcode = RTE_BE16(1), .arp_data = {host_mac(1), HOST_IP(1), {{0}}, HOST_IP(0)}}};
    struct rte_mbuf *m = frame_mbuf(&bed, &f, sizeof f);
    net_input(st, port, &m, 1, now);
}

static const struct way {
    const char *name, *text;
    uint32_t caps;
    bool gso;
} ways[] = {
    {"single", "one by one, checksums by the stack", NET_CAP_TX_REFERS, false},
    {"gso", "long, cut by the port", NET_CAP_TX_REFERS | NET_CAP_TX_TSO4, true},
    {"sums", "one by one, checksums by the device", NET_CAP_TX_REFERS | SUMS, false},
    {"tso", "long, cut by the device", NET_CAP_TX_REFERS | SUMS | NET_CAP_TX_TSO4, false},
};

/* Nanoseconds of the stack and of the cutting per frame, with `write` bytes waiting in the ring at a time. */
static double frame_ns(const struct way *way, uint64_t total, uint64_t write)
{
    struct device d = {0};
    struct port_failure f;
    uint64_t now = SEC, spent = 0;
    if (way->gso)
        assert_true(gso_start(&d.gso, 0, 127, &f));
    struct stack *st = bed_stack(&bed, "large", now);
    bed.lend = true;
    struct net_port *port = bed_port(&bed, st, &ops, &d, 0, way->caps, 1500, now);
    port->conf.tso_max = 65517;
    neighbour(st, port, now);
    client = (struct sock){0};
    sock_open(&bed, &client);
    struct tcp_flow flow = {.remote_ip = HOST(1), .remote_port = RTE_BE16(80)};
    assert_int_equal(tcp_connect(st, flow, client.own, &sock_ops, &client, now, &client.conn), 0);
    net_flush(st);
    input(st, port, d.port, 0, d.edge, RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG, now);
    net_flush(st);
    assert_true(client.connected);
    uint64_t before = d.frames, begin = 0;
    while (client.written < total) {
        struct tcp_conn *c = client.conn;
        client.conn = NULL; /* written without the stack */
        sock_write(&client, write, now);
        client.conn = c;
        if (begin == 0 && client.written > total / 8) {
            begin = d.frames;
            spent = 0;
        }
        uint64_t start = bed_cpu_ns();
        tcp_poke(c, now);
        net_flush(st);
        spent += bed_cpu_ns() - start;
        now += MS;
        input(st, port, d.port, 1, d.edge, RTE_TCP_ACK_FLAG, now);
        net_flush(st);
        net_run(st, now);
    }
    before = d.frames - begin;
    sock_close(&client, true, now);
    stack_destroy(st);
    gso_stop(&d.gso);
    return (double)spent / (double)before;
}

int main(int argc, char **argv)
{
    static const uint64_t writes[] = {2920, 8192, 65536, 262144};
    bed_start(&bed);
    bed.sndbuf = 1u << 20;
    for (size_t i = 0; i < RTE_DIM(ways); i++) {
        if (argc == 3 && strcmp(argv[1], ways[i].name) == 0)
            return frame_ns(&ways[i], strtoull(argv[2], NULL, 10) << 20, 65536) < 0;
        if (argc == 3)
            continue;
        printf("%-40s", ways[i].text);
        for (size_t k = 0; k < RTE_DIM(writes); k++) {
            double best = 1e9;
            for (int r = 0; r < 5; r++)
                best = RTE_MIN(best, frame_ns(&ways[i], 64u << 20, writes[k]));
            printf("%8.0f", best);
        }
        printf("   ns per frame, of 2,920, 8,192, 65,536 and 262,144 bytes at a time\n");
    }
    return 0;
}
