/* SPDX-License-Identifier: BSD-3-Clause
 * See tcp_script.h. */
#include "tcp_script.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_arp.h>
#include <rte_icmp.h>
#include <rte_tcp.h>
#include <rte_udp.h>
#include <stdio.h>

/* ---- Script state ---- */

#define PEERS 8

struct script {
    struct bed *bed;
    const char *name, *line;
    int number;
    struct stack *st;
    struct net_port *port;
    struct capture cap;
    struct tcp_listener *listener;
    struct sock sock;
    uint64_t now;
    uint32_t peer_iss;
    struct peer { /* one of those that talk to us, by port */
        uint32_t iss, ts_base;
        bool have_iss, have_ts;
    } peers[PEERS], *p;
    uint8_t fastopen[16]; /* cookie that was sent last, and its length */
    uint32_t fastopen_len;
    bool hold;
    int accept_result;
    struct zs_opts opts; /* of the listener, or the socket to come */
};
#define OUR_PORT RTE_BE16(80)
#define PEER_PORT 40000u
static rte_be16_t peer_port(const struct script *s)
{
    return rte_cpu_to_be_16((uint16_t)(PEER_PORT + (s->p - s->peers)));
}

static struct tcp_flow the_flow(const struct script *s)
{
    return (struct tcp_flow){bed_host(s->bed, 0), bed_host(s->bed, 1), OUR_PORT, peer_port(s)};
}

#define SCRIPT_FAIL(s, ...)                                                       \
    do {                                                                          \
        print_error("%s, line %d: %s\n  ", (s)->name, (s)->number, (s)->line);     \
        for (int left = (s)->cap.next; left < (s)->cap.count; left++)             \
            print_error("sent: %s\n  ", (s)->cap.line[left]);                     \
        print_error(__VA_ARGS__);                                                 \
        fail();                                                                   \
    } while (0)

static int describe_options(struct script *s, const uint8_t *p, const uint8_t *end, char *line, size_t size)
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
            n += (size_t)snprintf(line + n, size - n, "%sfo%s", sep, p[1] > 2 ? " cookie" : "");
            s->fastopen_len = p[1] - 2u;
            memcpy(s->fastopen, p + 2, s->fastopen_len);
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

static void describe_tcp(struct script *s, const struct frame *f, char *line, size_t size)
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
        assert_int_equal(payload[i], byte_at(0, at - 1 + i));
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
    describe_options(s, (const uint8_t *)(h + 1), payload, line + n, size - n);
}

static void describe(void *arg, const struct frame *f, char *line, size_t size)
{
    struct script *s = arg;
    const struct rte_tcp_hdr *h = (const void *)(f->data + 14 + (s->bed->ip6 ? 40 : 20));
    uint16_t to = (uint16_t)(rte_be_to_cpu_16(h->dst_port) - PEER_PORT);
    struct peer *now = s->p;
    if (f->len >= 14 + 20 + sizeof *h && to < PEERS) /* else not for a peer */
        s->p = &s->peers[to];
    describe_tcp(s, f, line, size);
    if (s->p != now)
        snprintf(line + strlen(line), size - strlen(line), " to %u", to);
    s->p = now;
}

/* A socket with the options told so far. */
static void script_open(struct script *s)
{
    s->sock = (struct sock){0};
    sock_open(s->bed, &s->sock);
    struct zs_opts *o = &zs_session_at(&s->bed->app, s->sock.app)->opts;
    int32_t linger = atomic_load(&o->linger);
    memcpy((void *)o, (const void *)&s->opts, sizeof *o);
    atomic_store(&o->linger, linger);
    atomic_store(&o->rcvlowat, 1);
}

static int script_accept(void *arg, struct tcp_conn *c, const struct tcp_flow *flow)
{
    struct script *s = arg;
    (void)flow;
    if (s->accept_result < 0)
        return s->accept_result;
    if (s->sock.bed == NULL || s->sock.conn == NULL) {
        if (s->sock.bed != NULL && !s->sock.closed_here)
            sock_close(&s->sock, false, s->now);
        s->sock = (struct sock){0};
        script_open(s);
    }
    s->sock.conn = c;
    tcp_attach(c, s->sock.own, &sock_ops, &s->sock);
    return 0;
}
static const struct zs_opts *script_options(void *arg, const struct tcp_flow *flow)
{
    (void)flow;
    return &((struct script *)arg)->opts;
}
static const struct tcp_listener_ops script_listener = {.accept = script_accept, .options = script_options};

/* ---- Segments in ---- */

static uint32_t parse_options(struct script *s, const char *text, uint8_t *p)
{
    uint32_t n = 0, a, b;
    uint8_t *sack = NULL;
    for (const char *o = text; o != NULL && *o != 0 && *o != '>'; o = strpbrk(o, ",>") ? strpbrk(o, ",>") + (*strpbrk(o, ",>") == ',') : NULL) {
        if (sscanf(o, "mss %u", &a) == 1) {
            memcpy(p + n, (uint8_t[]){2, 4, (uint8_t)(a >> 8), (uint8_t)a}, 4);
            n += 4;
        } else if (sscanf(o, "ws %u", &a) == 1) {
            memcpy(p + n, (uint8_t[]){1, 3, 3, (uint8_t)a}, 4);
            n += 4;
        } else if (sscanf(o, "ts %u %u", &a, &b) == 2) {
            uint32_t v = rte_cpu_to_be_32(a), e = rte_cpu_to_be_32(b + s->p->ts_base);
            memcpy(p + n, (uint8_t[]){1, 1, 8, 10}, 4);
            memcpy(p + n + 4, &v, 4);
            memcpy(p + n + 8, &e, 4);
            n += 12;
        } else if (strncmp(o, "sackOK", 6) == 0) {
            memcpy(p + n, (uint8_t[]){1, 1, 4, 2}, 4);
            n += 4;
        } else if (sscanf(o, "sack %u-%u", &a, &b) == 2 || (sack != NULL && sscanf(o, "%u-%u", &a, &b) == 2)) {
            if (sack == NULL) { /* further blocks join the first */
                memcpy(p + n, (uint8_t[]){1, 1, 5, 2}, 4);
                sack = p + n + 3;
                n += 4;
            }
            uint32_t v = rte_cpu_to_be_32(a + s->p->iss), e = rte_cpu_to_be_32(b + s->p->iss);
            memcpy(p + n, &v, 4);
            memcpy(p + n + 4, &e, 4);
            *sack = (uint8_t)(*sack + 8);
            n += 8;
        } else if (strncmp(o, "fo", 2) == 0) { /* RFC 7413 2: asks, brings the cookie that was sent, or another one */
            uint32_t len = strncmp(o, "fo cookie", 9) == 0 ? s->fastopen_len : strncmp(o, "fo bad", 6) == 0 ? 8 : 0;
            memcpy(p + n, (uint8_t[]){1, 1, 34, (uint8_t)(2 + len)}, 4);
            memcpy(p + n + 4, strncmp(o, "fo bad", 6) == 0 ? (const uint8_t *)"forged!!" : s->fastopen, len);
            n += 4 + len;
        } else if (strncmp(o, "unknown", 7) == 0) {
            memcpy(p + n, (uint8_t[]){254, 4, 0xf9, 0x89}, 4);
            n += 4;
        } else if (strncmp(o, "broken", 6) == 0) {
            memcpy(p + n, (uint8_t[]){2, 40, 1, 1}, 4); /* longer than the header */
            n += 4;
        } else {
            SCRIPT_FAIL(s, "option?\n");
        }
    }
    return n;
}

static uint8_t parse_flags(const char *text)
{
    uint8_t flags = 0;
    for (; *text != 0 && *text != ' '; text++)
        flags |= *text == 'S' ? RTE_TCP_SYN_FLAG : *text == 'F' ? RTE_TCP_FIN_FLAG : *text == 'R' ? RTE_TCP_RST_FLAG
                 : *text == 'P' ? RTE_TCP_PSH_FLAG : *text == 'U' ? RTE_TCP_URG_FLAG
                 : *text == 'E' ? RTE_TCP_ECE_FLAG : *text == 'W' ? RTE_TCP_CWR_FLAG : *text == '.' ? RTE_TCP_ACK_FLAG : 0;
    return flags;
}

static void mark_ecn(const struct script *s, void *header, uint8_t ecn)
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

static void segment_in(struct script *s, const char *text)
{
    uint8_t buf[1600] = {0};
    struct rte_tcp_hdr *h = (void *)buf;
    uint32_t from, to, len, ack = 0, win = 65535;
    const char *rest = strchr(text, ' '), *opt = strchr(text, '<'), *a = strstr(text, " ack "), *w = strstr(text, " win ");
    if (rest == NULL || sscanf(rest, "%u:%u(%u)", &from, &to, &len) != 3)
        SCRIPT_FAIL(s, "segment?\n");
    if (a != NULL)
        ack = (uint32_t)strtoul(a + 5, NULL, 10);
    if (w != NULL)
        win = (uint32_t)strtoul(w + 5, NULL, 10);
    uint32_t olen = parse_options(s, opt == NULL ? NULL : opt + 1, buf + sizeof *h);
    *h = (struct rte_tcp_hdr){.src_port = peer_port(s), .dst_port = OUR_PORT, .sent_seq = rte_cpu_to_be_32(from + s->peer_iss),
                              .recv_ack = a == NULL ? 0 : rte_cpu_to_be_32(ack + s->p->iss), .tcp_flags = parse_flags(text),
                              .data_off = (uint8_t)((20 + olen) / 4 << 4), .rx_win = rte_cpu_to_be_16((uint16_t)win)};
    for (uint32_t i = 0; i < len; i++)
        buf[sizeof *h + olen + i] = byte_at(0, from - 1 + i);
    struct rte_mbuf *m = s->bed->ip6 ? ip6_frame(s->bed, IPPROTO_TCP, buf, (uint16_t)(20 + olen + len))
                                     : ip_frame(s->bed, IPPROTO_TCP, 7, 0, buf, (uint16_t)(20 + olen + len));
    void *ip = rte_pktmbuf_mtod_offset(m, void *, 14);
    h = (void *)((uint8_t *)ip + (s->bed->ip6 ? 40 : 20));
    if (strstr(text, " urg ") != NULL)
        h->tcp_urp = rte_cpu_to_be_16((uint16_t)atoi(strstr(text, " urg ") + 5));
    mark_ecn(s, ip, strstr(text, " ce") != NULL ? 3 : strstr(text, " ect0") != NULL ? 2 : 0);
    h->cksum = s->bed->ip6 ? rte_ipv6_udptcp_cksum(ip, h) : rte_ipv4_udptcp_cksum(ip, h);
    if (strstr(text, "badsum"))
        h->cksum ^= 1;
    net_input(s->st, s->port, &m, 1, s->now);
}

/* With IPv6 the message that means the same. `mtu`: of type 3, code 4. */
static void icmp6_in(struct script *s, unsigned type, unsigned code, uint32_t at, uint32_t mtu)
{
    struct {
        struct icmp6_hdr h;
        struct rte_ipv6_hdr ip;
        uint16_t ports[2];
        uint32_t seq;
    } __attribute__((packed, aligned(2))) e = {.h = {type == 3 && code == 4 ? ICMP6_TOO_BIG : ICMP6_UNREACHABLE, 0, 0, rte_cpu_to_be_32(mtu)},
                                   .ip = {.vtc_flow = RTE_BE32(6u << 28), .proto = IPPROTO_TCP},
                                   .ports = {OUR_PORT, peer_port(s)}, .seq = rte_cpu_to_be_32(at + s->p->iss)};
    if (e.h.type == ICMP6_UNREACHABLE)
        e.h.code = code == 3 ? ICMP6_UNREACH_PORT : ICMP6_UNREACH_ADDRESS;
    memcpy(e.ip.src_addr, host6(0).b, 16);
    memcpy(e.ip.dst_addr, host6(1).b, 16);
    struct rte_mbuf *m = icmp6_frame(s->bed, &e, sizeof e, 64);
    net_input(s->st, s->port, &m, 1, s->now);
}

static void icmp_in(struct script *s, unsigned type, unsigned code, uint32_t at, uint32_t mtu)
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
                                   .ports = {OUR_PORT, peer_port(s)}, .seq = rte_cpu_to_be_32(at + s->p->iss)};
    if (s->bed->ip6) {
        icmp6_in(s, type, code, at, mtu + 20); /* for the larger header */
        return;
    }
    e.sum = (uint16_t)~rte_raw_cksum(&e, sizeof e);
    struct rte_mbuf *m = ip_frame(s->bed, IPPROTO_ICMP, 8, 0, &e, sizeof e);
    net_input(s->st, s->port, &m, 1, s->now);
}

/* ---- Lines ---- */

static void expect(struct script *s, const char *text)
{
    if (s->cap.next == s->cap.count)
        SCRIPT_FAIL(s, "nothing was sent\n");
    const char *got = s->cap.line[s->cap.next], *options = strchr(text, '<'), *had = strchr(got, '<');
    const char *ecn = strstr(text, " ect0");
    if ((ecn != NULL) != (strstr(got, " ect0") != NULL))
        SCRIPT_FAIL(s, ecn != NULL ? "it is not ECN-capable\n" : "it is ECN-capable\n");
    size_t n = ecn != NULL ? (size_t)(ecn - text) : options == NULL ? strlen(text) : (size_t)(options - text) - 1;
    if (strncmp(got, text, n) != 0 || (got[n] != 0 && got[n] != ' '))
        SCRIPT_FAIL(s, "something else was sent\n");
    if (options != NULL && strcmp(options, "<>") == 0 ? had != NULL : options != NULL && (had == NULL || strcmp(options, had) != 0))
        SCRIPT_FAIL(s, "other options were sent\n");
    s->cap.next++;
}

/* The peer's hardware address, learned as it would be: from its request for ours. */
static void meet_peer(struct script *s)
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
static void skip_arp(struct script *s)
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

static void pass_time(struct script *s, uint64_t ns)
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

static void check_info(struct script *s, const char *name, uint64_t n)
{
#define FIELD(f) {#f, offsetof(struct zs_tcp_info, f), sizeof(((struct zs_tcp_info *)0)->f)}
    static const struct {
        const char *name;
        size_t at, size;
    } fields[] = {FIELD(state), FIELD(ca_state), FIELD(retransmits), FIELD(probes), FIELD(backoff), FIELD(options), FIELD(snd_wscale),
                  FIELD(rto_us), FIELD(snd_mss), FIELD(rcv_mss), FIELD(advmss), FIELD(pmtu), FIELD(unacked), FIELD(sacked), FIELD(lost),
                  FIELD(last_data_sent_ms), FIELD(last_data_recv_ms), FIELD(last_ack_recv_ms), FIELD(rtt_us), FIELD(rttvar_us),
                  FIELD(snd_cwnd), FIELD(snd_ssthresh), FIELD(total_retrans), FIELD(segs_out), FIELD(segs_in), FIELD(data_segs_out),
                  FIELD(data_segs_in), FIELD(dsack_dups), FIELD(rcv_ooopack), FIELD(delivered), FIELD(delivered_ce), FIELD(notsent_bytes),
                  FIELD(bytes_acked), FIELD(bytes_received), FIELD(bytes_sent), FIELD(bytes_retrans), FIELD(snd_wnd)};
#undef FIELD
    struct zs_tcp_info info;
    tcp_info(s->sock.conn, s->now, &info);
    for (size_t i = 0; i < RTE_DIM(fields); i++) {
        uint64_t got = 0; /* little-endian */
        if (strcmp(fields[i].name, name) != 0)
            continue;
        memcpy(&got, (const uint8_t *)&info + fields[i].at, fields[i].size);
        if (got != n)
            SCRIPT_FAIL(s, "it is %llu\n", (unsigned long long)got);
        return;
    }
    SCRIPT_FAIL(s, "field?\n");
}

static void check_line(struct script *s, const char *what, const char *arg, uint64_t n)
{
    struct sock *k = &s->sock;
    struct zs_session *app = k->bed == NULL ? NULL : zs_session_at(&s->bed->app, k->app);
    if (strcmp(what, "state") == 0) {
        struct tcp_conn *c = k->conn;
        const char *name = c == NULL ? "CLOSED" : tcp_state_info[tcp_conn_state(c)].name;
        if (strcmp(name, arg) != 0)
            SCRIPT_FAIL(s, "state is %s\n", name);
    } else if (strcmp(what, "gone") == 0) {
        if (tcp_conn_count(s->st) != 0)
            SCRIPT_FAIL(s, "%u connections\n", tcp_conn_count(s->st));
    } else if (strcmp(what, "lent") == 0) {
        struct tcp_memory memory;
        tcp_memory(s->st, &memory);
        if (memory.lent != n)
            SCRIPT_FAIL(s, "%u are lent\n", memory.lent);
    } else if (strcmp(what, "referring") == 0) {
        if (rte_mempool_in_use_count(s->bed->indirect) != n)
            SCRIPT_FAIL(s, "%u pieces\n", rte_mempool_in_use_count(s->bed->indirect));
    } else if (strcmp(what, "eof") == 0) {
        if (zs_rx_avail(app) != 0 || sock_fin(k) != ZS_FIN)
            SCRIPT_FAIL(s, "no EOF: %llu unread, fin %u\n", (unsigned long long)zs_rx_avail(app), sock_fin(k));
    } else if (strcmp(what, "mark") == 0 || strcmp(what, "nothing-urgent") == 0) {
        uint64_t word = atomic_load(&app->rx_prod.urgent);
        uint32_t byte = ZS_URGENT_KNOWN | byte_at(0, ZS_URGENT_POS(word));
        if (what[0] == 'n' ? word != 0 : word != ZS_URGENT(n, strstr(s->line, "waited") != NULL ? 0 : byte))
            SCRIPT_FAIL(s, "the word is %llx: byte %lld\n", (unsigned long long)word, (long long)ZS_URGENT_POS(word));
    } else if (strcmp(what, "unsent") == 0) {
        const struct zs_session *own = zs_session_peer(&s->bed->app, app);
        uint64_t left = atomic_load(&own->rx_prod.tail) - atomic_load(&own->rx_cons.sent);
        if (left != n)
            SCRIPT_FAIL(s, "it is %llu\n", (unsigned long long)left);
    } else if (strcmp(what, "info") == 0) {
        check_info(s, arg, n);
    } else if (strcmp(what, "error") == 0) {
        if (atomic_load(&app->error) != n)
            SCRIPT_FAIL(s, "error is %u\n", atomic_load(&app->error));
    } else if (strcmp(what, "count") == 0) {
        for (int i = 0; i < NET_COUNTER_N; i++) {
            if (strcmp(net_counter_info[i].name, arg) != 0)
                continue;
            if (s->st->counters[i] != n)
                SCRIPT_FAIL(s, "it is %llu\n", (unsigned long long)s->st->counters[i]);
            return;
        }
        SCRIPT_FAIL(s, "counter?\n");
    } else {
        SCRIPT_FAIL(s, "line?\n");
    }
}

/* Options that are one number. */
static bool number_option(struct zs_opts *o, const char *name, uint32_t v)
{
    static const struct {
        const char *name;
        uint32_t bit;
    } bits[] = {{"nodelay", ZS_O_NODELAY}, {"cork", ZS_O_CORK}, {"more", ZS_O_MORE}, {"quickack", ZS_O_QUICKACK},
                {"fastopen", ZS_O_FASTOPEN}};
    for (size_t i = 0; i < RTE_DIM(bits); i++)
        if (strcmp(name, bits[i].name) == 0) {
            if (v != 0)
                atomic_fetch_or(&o->bits, bits[i].bit);
            else
                atomic_fetch_and(&o->bits, ~bits[i].bit);
            return true;
        }
    if (strcmp(name, "maxseg") == 0)
        atomic_store(&o->maxseg, (uint16_t)v);
    else if (strcmp(name, "syncnt") == 0)
        atomic_store(&o->syncnt, (uint8_t)v);
    else if (strcmp(name, "defer") == 0)
        atomic_store(&o->defer_accept, (uint8_t)v);
    else if (strcmp(name, "linger2") == 0)
        atomic_store(&o->linger2, (int32_t)v);
    else if (strcmp(name, "user_timeout") == 0)
        atomic_store(&o->user_timeout, v);
    else if (strcmp(name, "notsent_lowat") == 0)
        atomic_store(&o->notsent_lowat, v);
    else if (strcmp(name, "queue") == 0)
        atomic_store(&o->fastopen, v);
    else
        return false;
    return true;
}

static void option(struct script *s, const char *text)
{
    struct zs_opts *o = s->sock.bed == NULL ? &s->opts : &zs_session_at(&s->bed->app, s->sock.app)->opts;
    unsigned idle, interval, count;
    char name[32] = "";
    int v = 1;
    sscanf(text, "%31s %d", name, &v);
    if (strcmp(text, "reno") == 0 || strcmp(text, "cubic") == 0)
        atomic_store(&o->congestion, text[0] == 'r' ? ZS_CC_RENO : ZS_CC_CUBIC);
    else if (sscanf(text, "keepalive %u %u %u", &idle, &interval, &count) == 3) {
        atomic_fetch_or(&o->bits, ZS_O_KEEPALIVE);
        atomic_store(&o->keepidle, (uint16_t)idle);
        atomic_store(&o->keepintvl, (uint16_t)interval);
        atomic_store(&o->keepcnt, (uint8_t)count);
    } else if (strcmp(text, "uncork") == 0)
        atomic_fetch_and(&o->bits, ~ZS_O_CORK);
    else if (!number_option(o, name, (uint32_t)v))
        SCRIPT_FAIL(s, "option?\n");
    if (s->sock.conn != NULL)
        tcp_poke(s->sock.conn, s->now);
}

static void command(struct script *s, const char *text)
{
    char what[32] = "", arg[64] = "";
    unsigned long long n = 0;
    struct ip_addr any = bed_any(s->bed);
    struct tcp_flow flow = the_flow(s);
    int words = sscanf(text, "%31s %63s %llu", what, arg, &n);
    if (words == 2)
        n = strtoull(arg, NULL, 10);
    if (strcmp(what, "listen") == 0) {
        assert_int_equal(tcp_listen(s->st, &any, OUR_PORT, words == 2 ? (uint32_t)n : 8, &script_listener, s, &s->listener), 0);
    } else if (strcmp(what, "connect") == 0) {
        script_open(s);
        assert_int_equal(tcp_connect(s->st, flow, s->sock.own, &sock_ops, &s->sock, s->now, &s->sock.conn), 0);
    } else if (strcmp(what, "oob") == 0) { /* the mark first, as the preload has it */
        struct zs_session *out = zs_session_peer(&s->bed->app, zs_session_at(&s->bed->app, s->sock.app));
        uint64_t at = s->sock.written + n - 1;
        atomic_store(&out->rx_prod.urgent, ZS_URGENT(at, ZS_URGENT_KNOWN | byte_at(0, at)));
        assert_int_equal(sock_write(&s->sock, n, s->now), n);
    } else if (strcmp(what, "write") == 0) {
        assert_int_equal(sock_write(&s->sock, n, s->now), n);
    } else if (strcmp(what, "read") == 0) {
        uint64_t got = sock_read(&s->sock, n, s->now);
        if (got != n)
            SCRIPT_FAIL(s, "read %llu\n", (unsigned long long)got);
    } else if (strcmp(what, "close") == 0 || strcmp(what, "abort") == 0) {
        sock_close(&s->sock, what[0] == 'a', s->now);
    } else if (strcmp(what, "shutdown") == 0) {
        sock_shutdown(&s->sock, s->now);
    } else if (strcmp(what, "option") == 0) {
        option(s, text + 7);
    } else if (strcmp(what, "hold") == 0 || strcmp(what, "send") == 0) {
        s->hold = what[0] == 'h';
    } else if (strcmp(what, "rcvbuf") == 0) {
        s->st->conf.rcvbuf = (uint32_t)n;
    } else if (strcmp(what, "accept") == 0) {
        s->accept_result = strcmp(arg, "ok") == 0 ? 0 : strcmp(arg, "later") == 0 ? -EAGAIN : -ENOBUFS;
    } else if (strcmp(what, "ecn") == 0) {
        s->st->conf.ecn = true;
    } else if (strcmp(what, "peer") == 0) {
        s->peer_iss = (uint32_t)n;
    } else if (strcmp(what, "as") == 0) {
        assert_true(n < PEERS);
        s->p = &s->peers[n];
    } else if (strcmp(what, "iss") == 0) {
        /* Wait until the clock makes it so. */
        pass_time(s, (uint64_t)(uint32_t)((uint32_t)n - tcp_isn(s->st, &flow, s->now)) * 4000);
        capture_clear(&s->cap);
    } else if (strcmp(what, "icmp") == 0) {
        unsigned type, code, at, mtu = 0;
        assert_true(sscanf(text, "icmp %u %u %u mtu %u", &type, &code, &at, &mtu) >= 3);
        icmp_in(s, type, code, at, mtu);
    } else {
        check_line(s, what, arg, n);
    }
}

void script_run(struct bed *b, const char *name, const char *const *lines)
{
    struct script s = {.bed = b, .name = name, .now = SEC, .peer_iss = 1000000, .p = s.peers};
    s.cap.describe = describe;
    s.cap.arg = &s;
    s.st = bed_stack(b, "script", s.now);
    /* The scripts speak of an MSS of 1460. */
    s.port = bed_port(b, s.st, &capture_ops, &s.cap, 0, b->lend ? NET_CAP_TX_REFERS : 0, b->ip6 ? 1520 : 1500, s.now);
    if (b->ip6)
        pass_time(&s, 3 * SEC); /* duplicate address detection */
    meet_peer(&s);
    capture_clear(&s.cap);
    for (s.number = 1; *lines != NULL; lines++, s.number++) {
        s.line = *lines;
        if (s.line[0] == '>') {
            expect(&s, s.line + 2);
            continue;
        }
        if (s.cap.next != s.cap.count)
            SCRIPT_FAIL(&s, "not expected\n");
        capture_clear(&s.cap);
        if (s.line[0] == '<')
            segment_in(&s, s.line + 2);
        else if (s.line[0] == '+')
            pass_time(&s, (uint64_t)(strtod(s.line + 1, NULL) * (double)MS));
        else
            command(&s, s.line);
        if (!s.hold)
            net_flush(s.st);
        skip_arp(&s);
    }
    s.line = "end";
    if (s.cap.next != s.cap.count)
        SCRIPT_FAIL(&s, "not expected\n");
    if (s.sock.bed != NULL && !s.sock.closed_here)
        sock_close(&s.sock, false, s.now);
    stack_destroy(s.st);
    capture_clear(&s.cap);
    bed_check_empty(b);
}
