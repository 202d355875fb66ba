/* SPDX-License-Identifier: BSD-3-Clause
 * See capture_streams.h. */
#define _GNU_SOURCE
#include "capture_streams.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#define WINDOW_SHIFT 10u /* 64 MiB: more than four rings hold */
#define ACK_EVERY 65536u /* bytes read before an acknowledgement of its own */
#define TTL 64u
#define SYN_OPTIONS 8u

/* One end of a connection as the file has it. */
struct end {
    uint32_t gen, peer, peer_gen;
    uint32_t isn;
    uint32_t pid;   /* of whom was last said that it is theirs */
    bool begun, fin, over;
    uint64_t sent;  /* position after the last byte that is in the file */
    uint64_t acked; /* position up to which this end acknowledged the other's */
};

struct streams {
    struct end end[ZS_MAX_SESSIONS];
    uint8_t packet[STREAMS_ROOM + STREAMS_DATA_MAX];
};

/* What a packet is made of besides its data. */
struct segment {
    struct pcapng *w;
    const struct zs_capture_record *rec;
    uint32_t interface, snaplen;
    const struct zs_addr *from, *to;
    const char *comment; /* NULL none */
    uint32_t listener;   /* pid; 0 not known */
    uint32_t len, kept;  /* of the data */
};

struct streams *streams_new(void)
{
    return calloc(1, sizeof(struct streams));
}

void streams_free(struct streams *s)
{
    free(s);
}

uint8_t *streams_data(struct streams *s)
{
    return s->packet + STREAMS_ROOM;
}

/* `name[pid]`, fit for a comment; nothing for pid 0. */
static void program_text(const char name[16], uint32_t pid, char *to, size_t size)
{
    char clean[16];
    for (size_t i = 0; i < sizeof clean; i++)
        clean[i] = name[i] == 0 ? 0 : isprint((unsigned char)name[i]) ? name[i] : '?';
    clean[15] = 0;
    to[0] = 0;
    if (pid != 0)
        snprintf(to, size, "%s[%u]", clean, pid);
}

/* ---- Packets ---- */

/* The IP header before the `l4` bytes of transport header that stand before the data, the sum at `sum_at` of that, and the packet into the file. A packet
 * that is not kept whole has no sum: nobody can check it. */
static void emit(struct streams *s, const struct segment *g, uint8_t protocol, uint32_t l4, uint32_t sum_at)
{
    uint8_t *transport = s->packet + STREAMS_ROOM - l4;
    bool v4 = zs_addr_is_v4(g->from->ip) && zs_addr_is_v4(g->to->ip);
    uint32_t l3 = v4 ? sizeof(struct rte_ipv4_hdr) : sizeof(struct rte_ipv6_hdr);
    uint8_t *ip = transport - l3;
    uint16_t sum = 0;
    memset(transport + sum_at, 0, sizeof sum);
    if (v4) {
        struct rte_ipv4_hdr h = {.version_ihl = RTE_IPV4_VHL_DEF, .total_length = rte_cpu_to_be_16((uint16_t)(l3 + l4 + g->len)),
                                 .fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG), .time_to_live = TTL, .next_proto_id = protocol};
        memcpy(&h.src_addr, g->from->ip + 12, 4);
        memcpy(&h.dst_addr, g->to->ip + 12, 4);
        h.hdr_checksum = rte_ipv4_cksum(&h);
        memcpy(ip, &h, sizeof h);
        if (g->kept == g->len)
            sum = rte_ipv4_udptcp_cksum((struct rte_ipv4_hdr *)ip, transport);
    } else {
        struct rte_ipv6_hdr h = {.vtc_flow = RTE_BE32(0x60000000), .payload_len = rte_cpu_to_be_16((uint16_t)(l4 + g->len)),
                                 .proto = protocol, .hop_limits = TTL};
        memcpy(h.src_addr, g->from->ip, 16);
        memcpy(h.dst_addr, g->to->ip, 16);
        memcpy(ip, &h, sizeof h);
        if (g->kept == g->len)
            sum = rte_ipv6_udptcp_cksum((struct rte_ipv6_hdr *)ip, transport);
    }
    memcpy(transport + sum_at, &sum, sizeof sum);
    uint32_t kept = l3 + l4 + g->kept;
    const struct iovec iov = {ip, kept};
    pcapng_packet(g->w, &(struct pcapng_packet){.interface = g->interface, .time_ns = g->rec->time_ns, .len = l3 + l4 + g->len,
                                                .kept = kept < g->snaplen ? kept : g->snaplen, .iov = &iov, .comment = g->comment});
}

/* A segment of the end `a`, beginning at position `pos`. */
static void emit_tcp(struct streams *s, const struct segment *g, const struct end *a, const struct end *b, uint8_t flags, uint64_t pos)
{
    bool syn = flags & RTE_TCP_SYN_FLAG;
    uint32_t l4 = sizeof(struct rte_tcp_hdr) + (syn ? SYN_OPTIONS : 0);
    uint16_t mss = zs_addr_is_v4(g->from->ip) ? 65495 : 65475;
    struct rte_tcp_hdr *h = (struct rte_tcp_hdr *)(s->packet + STREAMS_ROOM - l4);
    *h = (struct rte_tcp_hdr){
        .src_port = g->from->port, .dst_port = g->to->port, .sent_seq = rte_cpu_to_be_32(a->isn + (syn ? 0 : 1) + (uint32_t)pos),
        .data_off = (uint8_t)(l4 / 4 << 4), .tcp_flags = flags, .rx_win = RTE_BE16(UINT16_MAX)};
    if (flags & RTE_TCP_ACK_FLAG)
        h->recv_ack = rte_cpu_to_be_32(b->isn + 1 + (uint32_t)a->acked + (b->fin && a->acked == b->sent));
    if (flags & RTE_TCP_URG_FLAG)
        h->tcp_urp = rte_cpu_to_be_16((uint16_t)g->rec->urgent);
    if (syn) /* maximum segment size, window scale */
        memcpy(h + 1, (uint8_t[]){2, 4, (uint8_t)(mss >> 8), (uint8_t)mss, 1, 3, 3, WINDOW_SHIFT}, SYN_OPTIONS);
    emit(s, g, IPPROTO_TCP, l4, offsetof(struct rte_tcp_hdr, cksum));
}

/* Without data. */
static void emit_bare(struct streams *s, const struct segment *like, bool other_way, const struct end *a, const struct end *b,
                      uint8_t flags, uint64_t pos)
{
    struct segment g = *like;
    g.len = g.kept = 0;
    if (other_way) {
        g.from = like->to;
        g.to = like->from;
        g.comment = NULL;
    }
    emit_tcp(s, &g, a, b, flags, pos);
}

/* ---- Connections ---- */

/* The low bits as good as any: finalizer of MurmurHash3. */
static uint32_t isn_of(uint32_t session, uint32_t gen)
{
    uint32_t h = session * 2654435761u ^ gen;
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    return h ^ h >> 16;
}

static bool is_of(const struct end *e, uint32_t gen, uint32_t peer, uint32_t peer_gen)
{
    return e->begun && e->gen == gen && e->peer == peer && e->peer_gen == peer_gen;
}

static void begin_end(struct end *e, uint32_t session, uint32_t gen, uint32_t peer, uint32_t peer_gen)
{
    *e = (struct end){.begun = true, .gen = gen, .peer = peer, .peer_gen = peer_gen, .isn = isn_of(session, gen)};
}

static uint64_t within(uint64_t v, uint64_t low, uint64_t high)
{
    return v < low ? low : v > high ? high : v;
}

static void handshake(struct streams *s, const struct segment *g, struct end *a, struct end *b)
{
    b->pid = g->listener;
    emit_bare(s, g, false, a, b, RTE_TCP_SYN_FLAG, 0);
    emit_bare(s, g, true, b, a, RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG, 0);
    struct segment last = *g;
    last.comment = NULL;
    emit_bare(s, &last, false, a, b, RTE_TCP_ACK_FLAG, 0);
}

static void data(struct streams *s, const struct segment *g, struct end *a, struct end *b)
{
    const struct zs_capture_record *rec = g->rec;
    uint64_t taken = within(rec->taken, b->acked, a->sent);
    if (taken - b->acked >= ACK_EVERY) {
        b->acked = taken;
        emit_bare(s, g, true, b, a, RTE_TCP_ACK_FLAG, b->sent + b->fin);
    }
    bool urgent = rec->urgent != 0 && rec->urgent <= UINT16_MAX;
    emit_tcp(s, g, a, b, RTE_TCP_PSH_FLAG | RTE_TCP_ACK_FLAG | (urgent ? RTE_TCP_URG_FLAG : 0), rec->pos);
    a->sent = within(a->sent, rec->pos + rec->len, UINT64_MAX);
}

static void finish(struct streams *s, const struct segment *g, struct end *a, struct end *b)
{
    if (a->fin)
        return;
    a->sent = within(a->sent, g->rec->pos, UINT64_MAX);
    emit_bare(s, g, false, a, b, RTE_TCP_FIN_FLAG | RTE_TCP_ACK_FLAG, a->sent);
    a->fin = true;
    if (!b->fin)
        return;
    b->acked = a->sent;
    emit_bare(s, g, true, b, a, RTE_TCP_ACK_FLAG, b->sent + 1);
}

static void reset(struct streams *s, const struct segment *g, struct end *a, struct end *b)
{
    a->sent = within(a->sent, g->rec->pos, UINT64_MAX);
    emit_bare(s, g, false, a, b, RTE_TCP_RST_FLAG | RTE_TCP_ACK_FLAG, a->sent + a->fin);
    a->over = b->over = true;
}

static void tcp(struct streams *s, struct segment *g)
{
    const struct zs_capture_record *rec = g->rec;
    if (rec->session >= ZS_MAX_SESSIONS || rec->peer >= ZS_MAX_SESSIONS || rec->session == rec->peer)
        return;
    struct end *a = &s->end[rec->session], *b = &s->end[rec->peer];
    if (!is_of(a, rec->gen, rec->peer, rec->peer_gen) || !is_of(b, rec->peer_gen, rec->session, rec->gen) ||
        rec->kind == ZS_CAP_CONNECT) {
        begin_end(a, rec->session, rec->gen, rec->peer, rec->peer_gen);
        begin_end(b, rec->peer, rec->peer_gen, rec->session, rec->gen);
        a->sent = rec->pos; /* 0, but of a connection that was there before the capture */
        b->sent = rec->got;
        b->acked = within(rec->taken, 0, a->sent);
    }
    if (a->over)
        return;
    a->acked = within(rec->got, a->acked, b->sent);
    if (rec->pid != 0 && a->pid == rec->pid)
        g->comment = NULL;
    a->pid = rec->pid != 0 ? rec->pid : a->pid;
    switch (rec->kind) {
    case ZS_CAP_CONNECT:
        handshake(s, g, a, b);
        break;
    case ZS_CAP_DATA:
        data(s, g, a, b);
        break;
    case ZS_CAP_FIN:
        finish(s, g, a, b);
        break;
    case ZS_CAP_RST:
        reset(s, g, a, b);
        break;
    default:
        break;
    }
}

/* ---- Datagrams ---- */

static void udp(struct streams *s, struct segment *g)
{
    struct rte_udp_hdr *h = (struct rte_udp_hdr *)(s->packet + STREAMS_ROOM - sizeof *h);
    *h = (struct rte_udp_hdr){.src_port = g->from->port, .dst_port = g->to->port,
                              .dgram_len = rte_cpu_to_be_16((uint16_t)(sizeof *h + g->len))};
    emit(s, g, IPPROTO_UDP, sizeof *h, offsetof(struct rte_udp_hdr, dgram_cksum));
}

void streams_record(struct streams *s, struct pcapng *w, const struct zs_capture_record *rec, uint32_t interface, uint32_t snaplen,
                    const struct streams_program *listener)
{
    char who[64], whom[64], comment[192];
    struct segment g = {.w = w, .rec = rec, .interface = interface, .snaplen = snaplen, .from = &rec->from, .to = &rec->to,
                        .listener = listener->pid, .len = rec->len, .kept = rec->kept};
    uint32_t most = rec->kind == ZS_CAP_DATAGRAM ? ZS_UDP_MAX_PAYLOAD : ZS_CAP_PIECE;
    if (rec->len > most || rec->kept > rec->len)
        return;
    program_text(rec->name, rec->pid, who, sizeof who);
    program_text(listener->name, listener->pid, whom, sizeof whom);
    bool both = whom[0] != 0 && who[0] != 0;
    snprintf(comment, sizeof comment, "%s%s%s", who, both ? " -> " : "", both ? whom : "");
    g.comment = comment[0] != 0 ? comment : NULL;
    if (rec->kind == ZS_CAP_DATAGRAM)
        udp(s, &g);
    else
        tcp(s, &g);
}
