/* SPDX-License-Identifier: BSD-3-Clause
 * See fuzz.h. */
#include "fuzz.h"

#include <netinet/in.h>
#include <rte_arp.h>
#include <rte_tcp.h>
#include <rte_udp.h>
#include <sys/mman.h>

#define TIMERS_MAX 300 /* in one step of time */

struct bed *fuzz_bed(void)
{
    static struct bed bed;
    if (bed.arena == NULL) {
        setenv("CMOCKA_TEST_ABORT", "1", 1); /* an assertion is a crash */
        bed_start(&bed);
        bed.engine.mem_limit = 8u << 20;
        bed.app.mem_limit = 8u << 20;
    }
    return &bed;
}

/* ---- What the stack sends ---- */

static void look_at_tcp(struct host *h, const struct rte_tcp_hdr *t, uint32_t len)
{
    uint32_t hlen = (uint32_t)(t->data_off >> 4) * 4;
    assert_true(hlen >= sizeof *t && hlen <= len);
    struct peer *p = &h->peer[rte_be_to_cpu_16(t->dst_port) % FUZZ_PEERS];
    p->next = rte_be_to_cpu_32(t->sent_seq) + len - hlen + !!(t->tcp_flags & RTE_TCP_SYN_FLAG) + !!(t->tcp_flags & RTE_TCP_FIN_FLAG);
    if (t->tcp_flags & RTE_TCP_ACK_FLAG)
        p->ack = rte_be_to_cpu_32(t->recv_ack);
    p->port = t->src_port;
    const uint8_t *o = (const uint8_t *)(t + 1);
    if (hlen >= 32 && o[0] == 1 && o[1] == 1 && o[2] == 8) /* as the stack lays them out when nothing else is there */
        p->ts = (uint32_t)o[4] << 24 | (uint32_t)o[5] << 16 | (uint32_t)o[6] << 8 | o[7];
}

/* Whatever came in, what goes out is a proper packet. */
static void look_at(struct host *h, const struct frame *f)
{
    const struct rte_ether_hdr *eth = (const void *)f->data;
    const struct rte_ipv4_hdr *ip = (const void *)(eth + 1);
    const struct rte_ipv6_hdr *ip6 = (const void *)(eth + 1);
    assert_true(f->len <= 14 + 1500);
    if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4)) {
        assert_true(f->len >= 34 && rte_be_to_cpu_16(ip->total_length) <= f->len - 14 && rte_raw_cksum(ip, 20) == 0xffff);
        if (ip->next_proto_id == IPPROTO_TCP) {
            assert_int_equal(rte_ipv4_udptcp_cksum(ip, ip + 1), 0);
            look_at_tcp(h, (const void *)(ip + 1), rte_be_to_cpu_16(ip->total_length) - 20u);
        }
    } else if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6)) {
        assert_true(f->len >= 54 && rte_be_to_cpu_16(ip6->payload_len) == f->len - 54);
        if (ip6->proto == IPPROTO_TCP) {
            assert_int_equal(rte_ipv6_udptcp_cksum(ip6, ip6 + 1), 0);
            look_at_tcp(h, (const void *)(ip6 + 1), rte_be_to_cpu_16(ip6->payload_len));
        }
    } else {
        assert_int_equal(eth->ether_type, RTE_BE16(RTE_ETHER_TYPE_ARP));
    }
}

static uint16_t tx(void *dev, struct rte_mbuf **frames, uint16_t n)
{
    struct host *h = dev;
    if (h->full)
        return 0;
    for (uint16_t i = 0; i < n; i++) {
        struct frame *f = frame_of(frames[i]);
        look_at(h, f);
        h->sent++;
        free(f);
    }
    return n;
}
static const struct net_port_ops tx_ops = {tx};

/* ---- Sockets ---- */

struct sock *host_free_sock(struct host *h)
{
    for (int i = 0; i < FUZZ_SOCKS; i++)
        if (h->sock[i].bed == NULL || (h->sock[i].closed_here && h->sock[i].conn == NULL))
            return &h->sock[i];
    return NULL;
}

static int on_accept(void *arg, struct tcp_conn *c, const struct tcp_flow *flow)
{
    struct host *h = arg;
    (void)flow;
    if (h->accept < 0)
        return h->accept;
    struct sock *s = host_free_sock(h);
    if (s == NULL)
        return -ENOBUFS;
    *s = (struct sock){0};
    sock_open(h->bed, s);
    s->conn = c;
    h->accepted++;
    tcp_attach(c, s->own, &sock_ops, s);
    return 0;
}
static const struct tcp_listener_ops listener_ops = {.accept = on_accept};

void host_connect(struct host *h, bool ip6, rte_be16_t peer_port)
{
    struct sock *s = host_free_sock(h);
    if (s == NULL)
        return;
    *s = (struct sock){0};
    sock_open(h->bed, s);
    struct tcp_flow flow = {.local_ip = ip6 ? (struct ip_addr){0} : ANY4, .remote_ip = ip6 ? host6(1) : HOST(1), .remote_port = peer_port};
    if (tcp_connect(h->st, flow, s->own, &sock_ops, s, h->now, &s->conn) != 0) {
        s->conn = NULL;
        zs_session_close(&h->bed->engine, s->own, true);
        sock_close(s, true, h->now);
    }
}

void host_drain(struct sock *s, uint64_t n, uint64_t now)
{
    uint8_t buf[4096];
    struct zs_session *app = zs_session_at(&s->bed->app, s->app);
    while (n > 0) {
        struct iovec iov = {buf, RTE_MIN(n, sizeof buf)};
        int64_t got = zs_rx_peek(&s->bed->app, app, 0, &iov, 0, iov.iov_len);
        if (got <= 0)
            break;
        zs_rx_consume(&s->bed->app, app, (uint64_t)got);
        n -= (uint64_t)got;
    }
    if (s->conn != NULL)
        tcp_poke(s->conn, now);
}

static void on_datagram(void *arg, struct rte_mbuf *m, uint16_t len, const struct udp_meta *meta)
{
    struct host *h = arg;
    uint8_t answer[20] = "answer";
    const struct iovec iov = {answer, sizeof answer};
    assert_int_equal(rte_pktmbuf_pkt_len(m), len);
    rte_pktmbuf_free(m);
    if (meta->from.port != 0)
        udp_send(h->st, h->udp[!ip_is_v4(&meta->from.ip)], meta->from, NULL, &iov, sizeof answer, h->now);
}

static void on_error(void *arg, const struct ip_error *e, struct udp_addr local, struct udp_addr remote)
{
    (void)arg;
    (void)remote;
    assert_true(e->err > 0);
    assert_int_equal(local.port, RTE_BE16(53));
}
static const struct udp_sock_ops udp_ops = {on_datagram, on_error};

/* ---- Life ---- */

void host_begin(struct host *h, uint8_t mode)
{
    struct bed *b = fuzz_bed();
    struct tcp_listener *l;
    b->lend = mode & 1;
    b->without = (mode & 2 ? NET_WITHOUT_SACK : 0) | (mode & 4 ? NET_WITHOUT_TIMESTAMPS : 0);
    b->hold_max = mode & 8 ? 8 : 0;
    *h = (struct host){.bed = b, .now = SEC, .hold = 1};
    h->st = bed_stack(b, "fuzz", h->now);
    struct net_port_conf conf = {.ops = &tx_ops, .dev = h, .name = "fuzz", .mac = host_mac(0), .mtu = 1500,
                                 .caps = (mode & 1 ? NET_CAP_TX_REFERS : 0) | (mode & 16 ? NET_CAP_TX_IPV4_CKSUM | NET_CAP_TX_L4_CKSUM : 0),
                                 .addr = HOST_IP(0), .prefix_len = 24, .gateway = IP(10, 0, 0, 254), .has6 = true, .probe = true, .redirects = true, .addr6 = host6(0),
                                 .prefix6_len = 64, .gateway6 = {.b = {0xfe, 0x80, [15] = 0xfe}}};
    h->port = stack_add_port(h->st, &conf, h->now);
    assert_non_null(h->port);
    for (int v6 = 0; v6 < 2; v6++) {
        struct ip_addr any = v6 ? (struct ip_addr){0} : ANY4;
        assert_int_equal(tcp_listen(h->st, &any, RTE_BE16(80), 4, &listener_ops, h, &l), 0);
        assert_int_equal(udp_open(h->st, (struct udp_addr){any, RTE_BE16(53)}, &udp_ops, h, &h->udp[v6]), 0);
    }
    /* The peer, as its own request and solicitation make it known. */
    struct {
        struct rte_ether_hdr eth;
        struct rte_arp_hdr arp;
    } f = {.eth = {host_mac(0), host_mac(1), RTE_BE16(RTE_ETHER_TYPE_ARP)},
           .arp = {RTE_BE16(RTE_ARP_HRD_ETHER), RTE_BE16(RTE_ETHER_TYPE_IPV4), 6, 4, RTE_BE16(RTE_ARP_OP_REQUEST),
                   {host_mac(1), HOST_IP(1), {{0}}, HOST_IP(0)}}};
    host_receive(h, &f, sizeof f);
    struct {
        struct rte_ether_hdr eth;
        struct rte_ipv6_hdr ip;
        uint8_t icmp[32];
    } s = {.eth = {host_mac(0), host_mac(1), RTE_BE16(RTE_ETHER_TYPE_IPV6)},
           .ip = {.vtc_flow = RTE_BE32(6u << 28), .proto = IPPROTO_ICMPV6, .hop_limits = 255},
           .icmp = {135, [24] = 1, 1}};
    memcpy(s.ip.src_addr, host6(1).b, 16);
    memcpy(s.ip.dst_addr, host6(0).b, 16);
    memcpy(s.icmp + 8, host6(0).b, 16);
    memcpy(s.icmp + 26, host_mac(1).addr_bytes, 6);
    host_mend(h, (uint8_t *)&s, sizeof s, false);
    host_receive(h, &s, sizeof s);
    host_pass(h, 2 * SEC); /* addresses are announced and found unique */
}

void host_end(struct host *h, bool clean)
{
    struct bed *b = h->bed;
    h->hold = 1;
    host_flush(h);
    for (int i = 0; clean && i < FUZZ_SOCKS; i++)
        if (h->sock[i].bed != NULL && !h->sock[i].closed_here)
            sock_close(&h->sock[i], true, h->now);
    stack_destroy(h->st);
    if (clean) {
        bed_check_empty(b);
        return;
    }
    assert_int_equal(rte_mempool_in_use_count(b->pool), 0);
    assert_int_equal(rte_mempool_in_use_count(b->indirect), 0);
    assert_int_equal(rte_mempool_in_use_count(b->rx.pool), 0);
    assert_int_equal(madvise(b->arena, sizeof *b->arena, MADV_REMOVE), 0);
    b->engine.cursor = b->app.cursor = 0;
}

/* ---- In, and time ---- */

void host_flush(struct host *h)
{
    uint16_t n = h->pending;
    h->pending = 0;
    if (n > 0)
        net_input(h->st, h->port, h->burst, n, h->now);
    net_flush(h->st);
}

void host_receive(struct host *h, const void *frame, uint16_t len)
{
    if (len == 0 || rte_mempool_avail_count(h->bed->rx.pool) == 0)
        return;
    h->burst[h->pending++] = frame_mbuf(h->bed, frame, len);
    if (h->pending >= h->hold || h->pending == RTE_DIM(h->burst))
        host_flush(h);
}

void host_pass(struct host *h, uint64_t ns)
{
    uint64_t until = h->now + ns, next;
    host_flush(h);
    for (int i = 0; i < TIMERS_MAX && (next = net_next(h->st)) <= until; i++) {
        h->now = RTE_MAX(next, h->now);
        net_run(h->st, h->now);
        net_flush(h->st);
    }
    h->now = until;
    net_run(h->st, h->now);
    net_flush(h->st);
}

/* Where the packet begins that an ICMP error or a redirect quotes. */
static uint32_t quoted_at(const uint8_t *icmp, uint32_t len, bool v6)
{
    if (!v6 || icmp[0] != ICMP6_REDIRECT || len <= 40)
        return 8;
    return icmp[40] == ND_OPT_TARGET ? 40 + 8 + 8 : 40 + 8; /* options: the hop's hardware address, the packet */
}

/* The segment of ours that is quoted. */
static void mend_quoted(const struct host *h, uint8_t *icmp, uint32_t len, bool v6)
{
    uint32_t head = quoted_at(icmp, len, v6);
    const uint8_t *ip = icmp + head;
    uint32_t hlen = v6 ? sizeof(struct rte_ipv6_hdr) : sizeof(struct rte_ipv4_hdr);
    if (len < head + hlen + 8 || ip[v6 ? 6 : 9] != IPPROTO_TCP)
        return;
    struct rte_tcp_hdr *t = (void *)(icmp + head + hlen);
    const struct peer *p = &h->peer[rte_be_to_cpu_16(t->dst_port) % FUZZ_PEERS];
    t->sent_seq = rte_cpu_to_be_32(rte_be_to_cpu_32(t->sent_seq) + p->next);
    if (t->src_port == 0)
        t->src_port = p->port;
}

static void mend_l4(struct host *h, uint8_t proto, uint8_t *l4, uint32_t len, bool relative, void *ip, bool v6)
{
    struct rte_tcp_hdr *t = (void *)l4;
    uint8_t *sum = NULL;
    if (proto == IPPROTO_TCP && len >= sizeof *t) {
        struct peer *p = &h->peer[rte_be_to_cpu_16(t->src_port) % FUZZ_PEERS];
        if (relative) {
            t->sent_seq = rte_cpu_to_be_32(rte_be_to_cpu_32(t->sent_seq) + p->ack);
            t->recv_ack = rte_cpu_to_be_32(rte_be_to_cpu_32(t->recv_ack) + p->next);
            if (t->dst_port == 0)
                t->dst_port = p->port;
        }
        sum = l4 + offsetof(struct rte_tcp_hdr, cksum);
    } else if (proto == IPPROTO_UDP && len >= sizeof(struct rte_udp_hdr)) {
        struct rte_udp_hdr *u = (void *)l4;
        u->dgram_len = rte_cpu_to_be_16((uint16_t)len);
        sum = l4 + offsetof(struct rte_udp_hdr, dgram_cksum);
    } else if (proto == IPPROTO_ICMPV6 && v6 && len >= 4) {
        if (relative && (l4[0] < ICMP6_ECHO_REQUEST || l4[0] == ICMP6_REDIRECT))
            mend_quoted(h, l4, len, true);
        sum = l4 + 2;
    } else if (!v6 && (proto == IPPROTO_ICMP || proto == IPPROTO_IGMP) && len >= 4) {
        if (relative && proto == IPPROTO_ICMP)
            mend_quoted(h, l4, len, false);
        memset(l4 + 2, 0, 2);
        uint16_t s = (uint16_t)~rte_raw_cksum(l4, len);
        memcpy(l4 + 2, &s, 2);
    }
    if (sum != NULL) {
        memset(sum, 0, 2);
        uint16_t s = v6 ? rte_ipv6_udptcp_cksum(ip, l4) : rte_ipv4_udptcp_cksum(ip, l4);
        memcpy(sum, &s, 2);
    }
}

void host_mend(struct host *h, uint8_t *frame, uint16_t len, bool relative)
{
    struct rte_ether_hdr *eth = (void *)frame;
    struct rte_ipv4_hdr *ip = (void *)(eth + 1);
    struct rte_ipv6_hdr *ip6 = (void *)(eth + 1);
    if (len < sizeof *eth)
        return;
    if (!(eth->dst_addr.addr_bytes[0] & 1))
        eth->dst_addr = host_mac(0);
    if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) && len >= 34) {
        uint32_t hlen = ip->ihl * 4u, left = len - 14u;
        ip->total_length = rte_cpu_to_be_16((uint16_t)left);
        if (hlen < 20 || hlen > left)
            return;
        if (!(ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)))
            mend_l4(h, ip->next_proto_id, (uint8_t *)ip + hlen, left - hlen, relative, ip, false);
        ip->hdr_checksum = 0;
        ip->hdr_checksum = (uint16_t)~rte_raw_cksum(ip, hlen);
    } else if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6) && len >= 54) {
        ip6->payload_len = rte_cpu_to_be_16((uint16_t)(len - 54));
        uint32_t at = 0;
        uint8_t proto = ip6->proto;
        /* Extension headers that are skipped by their length. */
        while ((proto == IPPROTO_HOPOPTS || proto == IPPROTO_DSTOPTS || proto == IPPROTO_ROUTING) && 54u + at + 8 <= len) {
            const uint8_t *x = frame + 54 + at;
            proto = x[0];
            at += 8u + x[1] * 8u;
        }
        if (54u + at >= len)
            return;
        struct rte_ipv6_hdr pseudo = *ip6;
        pseudo.proto = proto;
        pseudo.payload_len = rte_cpu_to_be_16((uint16_t)(len - 54 - at));
        mend_l4(h, proto, frame + 54 + at, len - 54 - at, relative, &pseudo, true);
    }
}
