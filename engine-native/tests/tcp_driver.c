/* SPDX-License-Identifier: BSD-3-Clause
 * See tcp_driver.h. */
#include "tcp_driver.h"

#include <netinet/in.h>
#include <rte_arp.h>
#include <rte_icmp.h>
#include <stdio.h>

#define PEER_PORT 40000u

static rte_be16_t peer_port(const struct driver *s)
{
    return rte_cpu_to_be_16((uint16_t)(PEER_PORT + (s->p - s->peers)));
}

struct tcp_flow driver_flow(const struct driver *s)
{
    return (struct tcp_flow){bed_host(s->bed, 0), bed_host(s->bed, 1), DRIVER_PORT, peer_port(s)};
}

/* ---- Packets out, as text ---- */

static int describe_options(struct driver *s, const uint8_t *p, const uint8_t *end, bool ack, char *line, size_t size)
{
    size_t n = 0;
    const char *sep = " <";
    while (p < end && *p != 0) {
        uint32_t v = 0, e = 0;
        if (*p == 1) {
            p++;
            continue;
        }
        if (p[0] == 2)
            n += (size_t)snprintf(line + n, size - n, "%smss %u", sep, p[2] << 8 | p[3]);
        if (p[0] == 3)
            n += (size_t)snprintf(line + n, size - n, "%sws %u", sep, p[2]);
        if (p[0] == 4)
            n += (size_t)snprintf(line + n, size - n, "%ssackOK", sep);
        for (int i = 2; p[0] == 5 && i + 8 <= p[1]; i += 8) {
            memcpy(&v, p + i, 4);
            memcpy(&e, p + i + 4, 4);
            n += (size_t)snprintf(line + n, size - n, "%s%u-%u", i > 2 ? "," : sep[0] == ',' ? ",sack " : " <sack ",
                                  rte_be_to_cpu_32(v) - s->peer_iss, rte_be_to_cpu_32(e) - s->peer_iss);
        }
        if (p[0] == 34) {
            n += (size_t)snprintf(line + n, size - n, "%sfo%s", sep, p[1] > 2 ? " " : "");
            for (int i = 2; i < p[1]; i++)
                n += (size_t)snprintf(line + n, size - n, ack ? "%.0d" : "%02x", ack ? 0 : p[i]);
            if (ack) {
                n += (size_t)snprintf(line + n, size - n, "given");
                memcpy(s->cookie, p + 2, sizeof s->cookie);
            }
        }
        if (p[0] == 8) {
            memcpy(&v, p + 2, 4);
            memcpy(&e, p + 6, 4);
            if (!s->p->have_ts)
                s->p->ts_base = rte_be_to_cpu_32(v);
            s->p->have_ts = true;
            n += (size_t)snprintf(line + n, size - n, "%sts %u %u", sep, rte_be_to_cpu_32(v) - s->p->ts_base, rte_be_to_cpu_32(e));
        }
        sep = ",";
        p += p[1];
    }
    if (n > 0)
        snprintf(line + n, size - n, ">");
    return 0;
}

static void describe_tcp(struct driver *s, const struct frame *f, char *line, size_t size)
{
    const struct rte_ether_hdr *eth = (const void *)f->data;
    const struct rte_ipv4_hdr *ip = (const void *)(eth + 1);
    const struct rte_ipv6_hdr *ip6 = (const void *)(eth + 1);
    bool v6 = eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6);
    const struct rte_tcp_hdr *h = v6 ? (const void *)(ip6 + 1) : (const void *)(ip + 1);
    if (v6 ? ip6->proto != IPPROTO_TCP : eth->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4) || ip->next_proto_id != IPPROTO_TCP) {
        describe_frame(f, line, size);
        return;
    }
    assert_int_equal(v6 ? rte_ipv6_udptcp_cksum(ip6, h) : rte_ipv4_udptcp_cksum(ip, h), 0);
    if (!v6)
        assert_int_equal(ip->fragment_offset, RTE_BE16(RTE_IPV4_HDR_DF_FLAG)); /* RFC 1191 */
    uint32_t hlen = (h->data_off >> 4) * 4u;
    uint32_t len = (v6 ? rte_be_to_cpu_16(ip6->payload_len) : rte_be_to_cpu_16(ip->total_length) - 20u) - hlen;
    const uint8_t *payload = (const uint8_t *)h + hlen;
    if (!s->p->have_iss && (h->tcp_flags & RTE_TCP_SYN_FLAG)) {
        s->p->iss = rte_be_to_cpu_32(h->sent_seq);
        s->p->have_iss = true;
    }
    uint32_t at = rte_be_to_cpu_32(h->sent_seq) - s->p->iss, n = 0;
    for (uint32_t i = 0; i < len; i++)
        assert_int_equal(payload[i], byte_at(0, at - !(h->tcp_flags & RTE_TCP_SYN_FLAG) + i));
    static const struct {
        uint8_t flag;
        char letter;
    } letters[] = {{RTE_TCP_SYN_FLAG, 'S'}, {RTE_TCP_FIN_FLAG, 'F'}, {RTE_TCP_RST_FLAG, 'R'}, {RTE_TCP_PSH_FLAG, 'P'},
                   {RTE_TCP_URG_FLAG, 'U'}, {RTE_TCP_ECE_FLAG, 'E'}, {RTE_TCP_CWR_FLAG, 'W'}, {RTE_TCP_ACK_FLAG, '.'}};
    for (size_t i = 0; i < RTE_DIM(letters); i++)
        if (h->tcp_flags & letters[i].flag)
            line[n++] = letters[i].letter;
    n += (uint32_t)snprintf(line + n, size - n, " %u:%u(%u)", at, at + len, len);
    if (h->tcp_flags & RTE_TCP_ACK_FLAG)
        n += (uint32_t)snprintf(line + n, size - n, " ack %u", rte_be_to_cpu_32(h->recv_ack) - s->peer_iss);
    if (h->tcp_flags & RTE_TCP_URG_FLAG)
        n += (uint32_t)snprintf(line + n, size - n, " urg %u", rte_be_to_cpu_16(h->tcp_urp));
    n += (uint32_t)snprintf(line + n, size - n, " win %u", rte_be_to_cpu_16(h->rx_win));
    static const char *const ecn[] = {"", " ect1", " ect0", " ce"};
    n += (uint32_t)snprintf(line + n, size - n, "%s", ecn[(v6 ? rte_be_to_cpu_32(ip6->vtc_flow) >> 20 : ip->type_of_service) & 3]);
    describe_options(s, (const uint8_t *)(h + 1), payload, h->tcp_flags & RTE_TCP_ACK_FLAG, line + n, size - n);
}

static void describe(void *arg, const struct frame *f, char *line, size_t size)
{
    struct driver *s = arg;
    const struct rte_tcp_hdr *h = (const void *)(f->data + 14 + (s->bed->ip6 ? 40 : 20));
    uint16_t to = (uint16_t)(rte_be_to_cpu_16(h->dst_port) - PEER_PORT);
    struct peer *now = s->p;
    if (f->len >= 14 + 20 + sizeof *h && to < DRIVER_PEERS) /* else not for a peer */
        s->p = &s->peers[to];
    describe_tcp(s, f, line, size);
    if (s->p != now)
        snprintf(line + strlen(line), size - strlen(line), " to %u", to);
    s->p = now;
}

/* ---- Sockets ---- */

/* A socket with the options told so far. */
static void driver_socket(struct driver *s)
{
    s->sock = (struct sock){0};
    sock_open(s->bed, &s->sock);
    struct zs_opts *o = &zs_session_at(&s->bed->app, s->sock.app)->opts;
    int32_t linger = atomic_load(&o->linger);
    memcpy((void *)o, (const void *)&s->opts, sizeof *o);
    atomic_store(&o->linger, linger);
    atomic_store(&o->rcvlowat, 1);
}

static int driver_accept(void *arg, struct tcp_conn *c, const struct tcp_flow *flow)
{
    struct driver *s = arg;
    (void)flow;
    if (s->accept_result < 0)
        return s->accept_result;
    if (s->sock.bed == NULL || s->sock.conn == NULL) {
        if (s->sock.bed != NULL && !s->sock.closed_here)
            sock_close(&s->sock, false, s->now);
        s->sock = (struct sock){0};
        driver_socket(s);
    }
    s->sock.conn = c;
    tcp_attach(c, s->sock.own, &sock_ops, &s->sock);
    return 0;
}
static const struct zs_opts *listener_options(void *arg, const struct tcp_flow *flow)
{
    (void)flow;
    return &((struct driver *)arg)->opts;
}
static uint32_t listener_keys(void *arg, const struct tcp_flow *flow, uint8_t keys[TCP_TFO_KEYS][TCP_TFO_KEY_LEN])
{
    struct driver *s = arg;
    (void)flow;
    memcpy(keys, s->keys, sizeof s->keys);
    return s->nkeys;
}
static const struct tcp_listener_ops driver_listener = {
    .accept = driver_accept, .options = listener_options, .fastopen_keys = listener_keys};

void driver_listen(struct driver *s, uint32_t backlog)
{
    struct ip_addr any = bed_any(s->bed);
    assert_int_equal(tcp_listen(s->st, &any, DRIVER_PORT, backlog, &driver_listener, s, &s->listener), 0);
}

void driver_connect(struct driver *s)
{
    driver_socket(s);
    assert_int_equal(tcp_connect(s->st, driver_flow(s), s->sock.own, &sock_ops, &s->sock, s->now, &s->sock.conn), 0);
}

void driver_write_urgent(struct driver *s, uint64_t n)
{
    /* The mark first, as the preload has it. */
    struct zs_session *out = zs_session_peer(&s->bed->app, zs_session_at(&s->bed->app, s->sock.app));
    uint64_t at = s->sock.written + n - 1;
    atomic_store(&out->rx_prod.urgent, ZS_URGENT(at, ZS_URGENT_KNOWN | byte_at(0, at)));
    assert_int_equal(sock_write(&s->sock, n, s->now), n);
}

struct zs_opts *driver_options(struct driver *s)
{
    return s->sock.bed == NULL ? &s->opts : &zs_session_at(&s->bed->app, s->sock.app)->opts;
}

/* ---- Packets in ---- */

static void mark_ecn(const struct driver *s, void *header, uint8_t ecn)
{
    struct rte_ipv4_hdr *ip = header;
    struct rte_ipv6_hdr *ip6 = header;
    if (s->bed->ip6) {
        ip6->vtc_flow |= rte_cpu_to_be_32((uint32_t)ecn << 20);
        return;
    }
    ip->type_of_service = ecn;
    ip->hdr_checksum = 0;
    ip->hdr_checksum = rte_ipv4_cksum(ip);
}

void driver_in(struct driver *s, const struct driver_segment *g)
{
    uint8_t buf[1600] = {0};
    struct rte_tcp_hdr *h = (void *)buf;
    *h = (struct rte_tcp_hdr){.src_port = peer_port(s), .dst_port = DRIVER_PORT, .sent_seq = rte_cpu_to_be_32(g->seq + s->peer_iss),
                              .recv_ack = g->has_ack ? rte_cpu_to_be_32(g->ack + s->p->iss) : 0, .tcp_flags = g->flags,
                              .data_off = (uint8_t)((20 + g->options_len) / 4 << 4), .rx_win = rte_cpu_to_be_16(g->window),
                              .tcp_urp = rte_cpu_to_be_16(g->urgent)};
    memcpy(h + 1, g->options, g->options_len);
    for (uint32_t i = 0; i < g->len; i++)
        buf[sizeof *h + g->options_len + i] = byte_at(0, g->seq - !(g->flags & RTE_TCP_SYN_FLAG) + i);
    uint16_t len = (uint16_t)(20 + g->options_len + g->len);
    struct rte_mbuf *m = s->bed->ip6 ? ip6_frame(s->bed, IPPROTO_TCP, buf, len) : ip_frame(s->bed, IPPROTO_TCP, 7, 0, buf, len);
    void *ip = rte_pktmbuf_mtod_offset(m, void *, 14);
    h = (void *)((uint8_t *)ip + (s->bed->ip6 ? 40 : 20));
    mark_ecn(s, ip, g->ecn);
    h->cksum = s->bed->ip6 ? rte_ipv6_udptcp_cksum(ip, h) : rte_ipv4_udptcp_cksum(ip, h);
    h->cksum ^= g->bad_checksum;
    net_input(s->st, s->port, &m, 1, s->now);
}

/* With IPv6 the message that means the same. `mtu`: of type 3, code 4. */
static void icmp6_in(struct driver *s, unsigned type, unsigned code, uint32_t at, uint32_t mtu)
{
    struct {
        struct icmp6_hdr h;
        struct rte_ipv6_hdr ip;
        uint16_t ports[2];
        uint32_t seq;
    } __attribute__((packed, aligned(2))) e = {.h = {type == 3 && code == 4 ? ICMP6_TOO_BIG : ICMP6_UNREACHABLE, 0, 0, rte_cpu_to_be_32(mtu)},
                                   .ip = {.vtc_flow = RTE_BE32(6u << 28), .proto = IPPROTO_TCP},
                                   .ports = {DRIVER_PORT, peer_port(s)}, .seq = rte_cpu_to_be_32(at + s->p->iss)};
    if (e.h.type == ICMP6_UNREACHABLE)
        e.h.code = code == 3 ? ICMP6_UNREACH_PORT : ICMP6_UNREACH_ADDRESS;
    memcpy(e.ip.src_addr, host6(0).b, 16);
    memcpy(e.ip.dst_addr, host6(1).b, 16);
    struct rte_mbuf *m = icmp6_frame(s->bed, &e, sizeof e, 64);
    net_input(s->st, s->port, &m, 1, s->now);
}

void driver_icmp(struct driver *s, unsigned type, unsigned code, uint32_t at, uint32_t mtu)
{
    struct {
        uint8_t type, code;
        uint16_t sum;
        uint32_t rest;
        struct rte_ipv4_hdr ip;
        uint16_t ports[2];
        uint32_t seq;
    } __attribute__((packed)) e = {.type = (uint8_t)type, .code = (uint8_t)code, .rest = rte_cpu_to_be_32(mtu),
                                   .ip = {.version_ihl = RTE_IPV4_VHL_DEF, .next_proto_id = IPPROTO_TCP,
                                          .src_addr = HOST_IP(0), .dst_addr = HOST_IP(1)},
                                   .ports = {DRIVER_PORT, peer_port(s)}, .seq = rte_cpu_to_be_32(at + s->p->iss)};
    if (s->bed->ip6) {
        icmp6_in(s, type, code, at, mtu + 20); /* for the larger header */
        return;
    }
    e.sum = (uint16_t)~rte_raw_cksum(&e, sizeof e);
    struct rte_mbuf *m = ip_frame(s->bed, IPPROTO_ICMP, 8, 0, &e, sizeof e);
    net_input(s->st, s->port, &m, 1, s->now);
}

/* ---- Neighbours and the clock ---- */

/* The peer's hardware address, learned as it would be: from its request for ours. */
static void meet_peer(struct driver *s)
{
    if (s->bed->ip6) {
        struct rte_mbuf *nd = solicitation(s->bed);
        net_input(s->st, s->port, &nd, 1, s->now);
        net_flush(s->st);
        return;
    }
    struct {
        struct rte_ether_hdr eth;
        struct rte_arp_hdr arp;
    } f = {.eth = {host_mac(0), host_mac(1), RTE_BE16(RTE_ETHER_TYPE_ARP)},
           .arp = {RTE_BE16(RTE_ARP_HRD_ETHER), RTE_BE16(RTE_ETHER_TYPE_IPV4), 6, 4, RTE_BE16(RTE_ARP_OP_REQUEST),
                   {host_mac(1), HOST_IP(1), {{0}}, HOST_IP(0)}}};
    struct rte_mbuf *m = frame_mbuf(s->bed, &f, sizeof f);
    net_input(s->st, s->port, &m, 1, s->now);
    net_flush(s->st);
}

/* ARP, neighbour discovery and listener reports belong to other tests; here it only keeps the peer known. */
static void skip_arp(struct driver *s)
{
    bool asked = false;
    for (int i = s->cap.next; i < s->cap.count; i++) {
        if (strncmp(s->cap.line[i], "arp ", 4) != 0 && strncmp(s->cap.line[i], "nd ", 3) != 0 &&
            strncmp(s->cap.line[i], "mld ", 4) != 0)
            continue;
        asked |= strncmp(s->cap.line[i], "arp request 0a000001 for 0a000002", 33) == 0 ||
                 strncmp(s->cap.line[i], "nd solicitation 2001:db8::2", 27) == 0;
        free(s->cap.frame[i]);
        for (int j = i + 1; j < s->cap.count; j++) {
            s->cap.frame[j - 1] = s->cap.frame[j];
            memcpy(s->cap.line[j - 1], s->cap.line[j], sizeof s->cap.line[0]);
        }
        s->cap.count--;
        i--;
    }
    if (asked) {
        meet_peer(s);
        if (s->bed->ip6) { /* a question to us is no answer */
            struct rte_mbuf *nd = advertisement(s->bed);
            net_input(s->st, s->port, &nd, 1, s->now);
            net_flush(s->st);
        }
        skip_arp(s);
    }
}

void driver_clock(struct driver *s, uint64_t ns)
{
    uint64_t until = s->now + ns;
    for (uint64_t next; (next = net_next(s->st)) <= until;) {
        s->now = RTE_MAX(next, s->now);
        net_run(s->st, s->now);
        net_flush(s->st);
        skip_arp(s);
    }
    s->now = until;
    net_run(s->st, s->now);
}

/* ---- Life ---- */

void driver_start(struct driver *s, struct bed *b)
{
    *s = (struct driver){.bed = b, .now = SEC, .peer_iss = 1000000, .p = s->peers};
    s->cap.describe = describe;
    s->cap.arg = s;
    s->st = bed_stack(b, "script", s->now);
    /* The scripts speak of an MSS of 1460. */
    s->port = bed_port(b, s->st, &capture_ops, &s->cap, 0, b->lend ? NET_CAP_TX_REFERS : 0, b->ip6 ? 1520 : 1500, s->now);
    if (b->ip6)
        driver_clock(s, 3 * SEC); /* duplicate address detection */
    meet_peer(s);
    capture_clear(&s->cap);
}

const char *driver_out(struct driver *s)
{
    return s->cap.next < s->cap.count ? s->cap.line[s->cap.next++] : NULL;
}

void driver_flush(struct driver *s)
{
    if (!s->hold)
        net_flush(s->st);
    skip_arp(s);
}

void driver_stop(struct driver *s)
{
    if (s->sock.bed != NULL && !s->sock.closed_here)
        sock_close(&s->sock, false, s->now);
    stack_destroy(s->st);
    capture_clear(&s->cap);
    bed_check_empty(s->bed);
}
