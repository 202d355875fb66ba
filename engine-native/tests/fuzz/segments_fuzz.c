/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: segments into an established connection. All are proper TCP segments of the right flow with a right checksum;
 * where they lie in the sequence space, what they acknowledge, their flags, window and options are the input's, and what
 * the application does between them. Payload belongs to its position in the stream, so that the application can check every
 * byte it reads: whatever the peer sends in whatever order, a byte is delivered in its place or not at all. */
#include "fuzz.h"

#include <netinet/in.h>
#include <rte_tcp.h>

#include "tcp_conn.h"

#define PEER_PORT 40001u
#define PEER_ISS 0xfffff000u /* sequence numbers wrap early */

struct talk {
    struct host h;
    struct input in;
    bool ip6, urgent, ts;
    uint32_t ts_value;
};

/* A segment of the flow, with len bytes of the peer's stream. */
static void send_segment(struct talk *t, uint32_t seq, uint32_t ack, uint8_t flags, uint16_t win, const uint8_t *options, uint32_t olen,
                         uint32_t len)
{
    uint8_t frame[1518] = {0};
    uint32_t head = 14 + (t->ip6 ? 40 : 20);
    struct rte_ether_hdr *eth = (void *)frame;
    *eth = (struct rte_ether_hdr){host_mac(0), host_mac(1), t->ip6 ? RTE_BE16(RTE_ETHER_TYPE_IPV6) : RTE_BE16(RTE_ETHER_TYPE_IPV4)};
    struct rte_tcp_hdr *h = (void *)(frame + head);
    len = RTE_MIN(len, (uint32_t)sizeof frame - head - 20 - olen);
    if (t->ip6) {
        struct rte_ipv6_hdr *ip = (void *)(eth + 1);
        *ip = (struct rte_ipv6_hdr){.vtc_flow = RTE_BE32(6u << 28), .proto = IPPROTO_TCP, .hop_limits = 64};
        memcpy(ip->src_addr, host6(1).b, 16);
        memcpy(ip->dst_addr, host6(0).b, 16);
    } else {
        struct rte_ipv4_hdr *ip = (void *)(eth + 1);
        *ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF, .time_to_live = 64, .next_proto_id = IPPROTO_TCP,
                                    .src_addr = HOST_IP(1), .dst_addr = HOST_IP(0)};
    }
    *h = (struct rte_tcp_hdr){.src_port = RTE_BE16(PEER_PORT), .dst_port = RTE_BE16(80), .sent_seq = rte_cpu_to_be_32(seq),
                              .recv_ack = rte_cpu_to_be_32(ack), .data_off = (uint8_t)((20 + olen) / 4 << 4), .tcp_flags = flags,
                              .rx_win = rte_cpu_to_be_16(win), .tcp_urp = t->urgent ? rte_cpu_to_be_16(take16(&t->in)) : 0};
    memcpy(h + 1, options, olen);
    uint32_t pos = seq - PEER_ISS - 1;
    for (uint32_t i = 0; i < len; i++)
        frame[head + 20 + olen + i] = byte_at(0, pos + i);
    host_mend(&t->h, frame, (uint16_t)(head + 20 + olen + len), false);
    host_receive(&t->h, frame, (uint16_t)(head + 20 + olen + len));
}

static uint32_t timestamp(const struct talk *t, uint8_t *o, uint32_t value)
{
    uint32_t v = rte_cpu_to_be_32(value), e = rte_cpu_to_be_32(t->h.peer[PEER_PORT % FUZZ_PEERS].ts);
    memcpy(o, (uint8_t[]){1, 1, 8, 10}, 4);
    memcpy(o + 4, &v, 4);
    memcpy(o + 8, &e, 4);
    return 12;
}

static bool establish(struct talk *t)
{
    static const uint8_t syn[] = {2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7, 1, 1};
    uint8_t o[40];
    struct peer *p = &t->h.peer[PEER_PORT % FUZZ_PEERS];
    memcpy(o, syn, sizeof syn);
    uint32_t n = sizeof syn;
    if (t->ts)
        n += timestamp(t, o + n, t->ts_value);
    send_segment(t, PEER_ISS, 0, RTE_TCP_SYN_FLAG, 65535, o, n, 0);
    n = t->ts ? timestamp(t, o, t->ts_value) : 0;
    send_segment(t, PEER_ISS + 1, p->next, RTE_TCP_ACK_FLAG, 512, o, n, 0);
    return t->h.sock[0].bed != NULL && t->h.sock[0].conn != NULL;
}

/* The connection's own view, or what the peer last saw when there is none. */
static uint32_t rcv_nxt(const struct talk *t)
{
    const struct tcp_conn *c = t->h.sock[0].conn;
    return c != NULL ? c->rcv_nxt.v : t->h.peer[PEER_PORT % FUZZ_PEERS].ack;
}
static uint32_t snd_una(const struct talk *t)
{
    const struct tcp_conn *c = t->h.sock[0].conn;
    return c != NULL ? c->snd_una.v : t->h.peer[PEER_PORT % FUZZ_PEERS].next;
}

/* A distance in sequence space: mostly small, sometimes anything. */
static int32_t distance(struct input *in)
{
    uint8_t kind = take8(in);
    if (kind < 128)
        return (int32_t)(kind % 16) * (kind & 64 ? -1 : 1) * (kind & 16 ? 1448 : 1) + (kind & 32 ? 1 : 0);
    return kind < 250 ? (int16_t)take16(in) * (kind & 1 ? 1 : 16) : (int32_t)take32(in);
}

static uint32_t options(struct talk *t, uint8_t *o)
{
    uint8_t kind = take8(&t->in);
    uint32_t n = 0;
    if (t->ts && (kind & 3) != 3) {
        if (kind & 4)
            t->ts_value += take8(&t->in);
        n = timestamp(t, o, t->ts_value - (kind & 8 ? take16(&t->in) : 0));
    }
    uint32_t blocks = kind >> 4 & 3;
    if (blocks > 0) {
        memcpy(o + n, (uint8_t[]){1, 1, 5, (uint8_t)(2 + 8 * blocks)}, 4);
        n += 4;
    }
    for (uint32_t i = 0; i < blocks * 2 && n + 4 <= 40; i++, n += 4) {
        uint32_t v = rte_cpu_to_be_32(snd_una(t) + (uint32_t)distance(&t->in));
        memcpy(o + n, &v, 4);
    }
    if ((kind & 0xc0) == 0xc0) /* noise */
        for (uint32_t left = take8(&t->in) % 10 * 4; left >= 4 && n + 4 <= 40; left -= 4, n += 4)
            for (int i = 0; i < 4; i++)
                o[n + (uint32_t)i] = take8(&t->in);
    return n;
}

static void segment(struct talk *t, uint8_t p)
{
    static const uint8_t usual[] = {RTE_TCP_ACK_FLAG, RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG, RTE_TCP_ACK_FLAG | RTE_TCP_FIN_FLAG};
    uint8_t o[40] = {0};
    uint8_t flags = p < 12 ? usual[p % 3] : take8(&t->in);
    if (!t->urgent)
        flags &= (uint8_t)~RTE_TCP_URG_FLAG;
    uint32_t seq = rcv_nxt(t) + (uint32_t)distance(&t->in), ack = snd_una(t) + (uint32_t)distance(&t->in);
    uint16_t win = p & 1 ? 512 : take16(&t->in);
    uint32_t len = p & 2 ? 1448 : p & 4 ? take16(&t->in) % 1460 : 0, n = options(t, o);
    send_segment(t, seq, ack, flags, win, o, n, len);
}

static void check(const struct talk *t)
{
    const struct tcp_conn *c = t->h.sock[0].conn;
    if (c == NULL)
        return;
    assert_true(seq_leq(c->snd_una, c->snd_nxt) && seq_leq(c->snd_nxt, c->snd_max));
    assert_true(seq_leq(c->rcv_nxt, c->rcv_adv) || c->state >= TCP_CLOSE_WAIT);
    assert_true(c->cwnd > 0 && c->mss > 0);
}

static void step(struct talk *t)
{
    uint8_t op = take8(&t->in), p = op >> 4;
    struct host *h = &t->h;
    struct sock *s = &h->sock[0];
    bool open = s->bed != NULL && !s->closed_here;
    switch (op & 7) {
    case 0:
    case 1:
    case 2:
        segment(t, p);
        break;
    case 3:
        host_pass(h, (uint64_t)take8(&t->in) * MS << RTE_MIN(p, 11));
        break;
    case 4:
        if (open)
            sock_write(s, (uint64_t)take8(&t->in) << p, h->now);
        break;
    case 5:
        if (open && !t->urgent && h->accepted == 1) /* a later connection's stream begins at another sequence number */
            sock_read(s, (uint64_t)take8(&t->in) << p, h->now);
        else if (open)
            host_drain(s, (uint64_t)take8(&t->in) << p, h->now);
        break;
    case 6:
        if (open && p == 15)
            sock_close(s, take8(&t->in) & 1, h->now);
        else if (open && p == 14)
            sock_shutdown(s, h->now);
        else if (open)
            atomic_store(&zs_session_at(&h->bed->app, s->app)->opts.bits, take8(&t->in));
        break;
    default:
        if (p & 8)
            h->full = p & 1;
        else
            h->hold = (uint16_t)(1 + p * 4);
    }
    net_flush(h->st);
    check(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct talk t = {.in = {data, data + size}, .ts_value = 100};
    uint8_t mode = take8(&t.in);
    t.ip6 = mode & 32;
    t.urgent = mode & 64;
    t.ts = !(mode & 4);
    host_begin(&t.h, mode);
    assert_true(establish(&t));
    for (int i = 0; more(&t.in) && i < 400; i++)
        step(&t);
    host_end(&t.h, true);
    return 0;
}
