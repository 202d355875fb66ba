/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: an application that writes what it likes into the memory it shares with the engine, while a connection's
 * data goes both ways. The engine must neither crash nor hang nor touch memory outside of the arena and its own. */
#include "fuzz.h"

#include <netinet/in.h>
#include <rte_tcp.h>

#include "tcp_conn.h"

#define PEER_PORT 40001u
#define PEER_ISS 1000u

struct talk {
    struct host h;
    struct input in;
};

static void send_segment(struct talk *t, uint32_t seq, uint32_t ack, uint8_t flags, uint32_t len)
{
    uint8_t frame[1514] = {0};
    struct rte_ether_hdr *eth = (void *)frame;
    struct rte_ipv4_hdr *ip = (void *)(eth + 1);
    struct rte_tcp_hdr *h = (void *)(ip + 1);
    *eth = (struct rte_ether_hdr){host_mac(0), host_mac(1), RTE_BE16(RTE_ETHER_TYPE_IPV4)};
    *ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF, .time_to_live = 64, .next_proto_id = IPPROTO_TCP, .src_addr = HOST_IP(1),
                                .dst_addr = HOST_IP(0)};
    *h = (struct rte_tcp_hdr){.src_port = RTE_BE16(PEER_PORT), .dst_port = RTE_BE16(80), .sent_seq = rte_cpu_to_be_32(seq),
                              .recv_ack = rte_cpu_to_be_32(ack), .data_off = 5 << 4, .tcp_flags = flags, .rx_win = RTE_BE16(65535)};
    host_mend(&t->h, frame, (uint16_t)(54 + len), false);
    host_receive(&t->h, frame, (uint16_t)(54 + len));
}

/* A value that another party would choose to do harm: near a real one, near a limit, or anything. */
static uint64_t value(struct input *in, uint64_t was)
{
    uint8_t kind = take8(in);
    uint64_t small = take8(in);
    switch (kind & 7) {
    case 0:
        return small;
    case 1:
        return was + small;
    case 2:
        return was - small;
    case 3:
        return UINT64_MAX - small;
    case 4:
        return UINT64_C(1) << (small & 63);
    case 5:
        return was ^ UINT64_C(1) << (small & 63);
    case 6:
        return was + (UINT64_C(1) << (small & 63));
    default:
        return (uint64_t)take32(in) << 32 | take32(in);
    }
}

/* Writes one word of `size` bytes of shared memory at `at`. */
static void scribble(struct input *in, void *at, size_t size)
{
    uint16_t where = take16(in);
    if (where & 0x8000) {
        uint64_t *word = (uint64_t *)at + (where & 0x7fff) % (size / 8);
        *word = value(in, *word);
    } else {
        uint32_t *word = (uint32_t *)at + where % (size / 4);
        *word = (uint32_t)value(in, *word);
    }
}

/* The blocks that the direction names, wherever they are by now. */
static void scribble_block(struct talk *t, struct zs_session *rx)
{
    uint8_t which = take8(&t->in);
    zs_block_ref ref = which & 8 ? atomic_load(&rx->rx_prod.ref_ring) : atomic_load(&rx->rx_rings.ring[which % ZS_DIR_RINGS]);
    uint8_t *block = zs_block_ptr(t->h.bed->arena, ref);
    if (block != NULL)
        scribble(&t->in, block, 512);
}

static void scribble_somewhere(struct talk *t, uint8_t p)
{
    struct sock *s = &t->h.sock[0];
    struct zs_arena *a = t->h.bed->arena;
    struct zs_session *app = &a->session[s->app], *own = &a->session[s->own];
    switch (p & 7) {
    case 0:
    case 1:
        scribble(&t->in, app, sizeof *app);
        break;
    case 2:
    case 3:
        scribble(&t->in, own, sizeof *own);
        break;
    case 4:
        scribble_block(t, app);
        break;
    case 5:
        scribble_block(t, own);
        break;
    case 6:
        scribble(&t->in, (char *)&a->header + ZS_CACHE_LINE, sizeof a->header - ZS_CACHE_LINE);
        break;
    case 7:
        if (p & 8) { /* the first loans */
            scribble(&t->in, (void *)a->loan, 4 * sizeof a->loan[0]);
            break;
        } /* else owners of blocks, of the first of each class */
        /* fall through */
    default:
        scribble(&t->in, (void *)a->block[take8(&t->in) % ZS_NCLASS].owner, 256);
    }
}

/* The application lends of its buffers, p KiB from anywhere there or beyond. */
static void lend(struct talk *t, uint8_t p)
{
    struct sock *s = &t->h.sock[0];
    struct zs_view *v = &t->h.bed->app;
    struct zs_session *app = zs_session_at(v, s->app), *peer = zs_session_peer(v, app);
    int64_t loan = peer == NULL ? -1 : zs_loan_new(v, BED_BUFFERS);
    if (loan < 0)
        return;
    struct zs_ref ref = {.segment = BED_BUFFERS, .offset = (uint32_t)take16(&t->in) * 2, .len = (uint32_t)(p + 1) << 10, .loan = (uint32_t)loan + 1,
                         .loan_gen = atomic_load(&v->arena->loan[loan].gen)};
    if (zs_tx_lend_hold(v, peer, &s->tx, &ref, 1, 262144) < 0)
        zs_loan_free(v, (uint32_t)loan);
    if (s->conn != NULL)
        tcp_poke(s->conn, t->h.now);
}

static void application(struct talk *t, uint8_t p)
{
    struct sock *s = &t->h.sock[0];
    struct zs_view *v = &t->h.bed->app;
    uint8_t buf[4096] = {1};
    struct iovec iov = {buf, sizeof buf};
    struct zs_session *app = zs_session_at(v, s->app), *peer = zs_session_peer(v, app);
    if (p & 1)
        for (int i = 0; i < (p >> 1) && peer != NULL; i++)
            if (zs_tx_write(v, peer, &s->tx, &iov, 0, sizeof buf, 262144) <= 0)
                break;
    if (!(p & 1))
        host_drain(s, (uint64_t)p << 10, t->h.now);
    if (s->conn != NULL)
        tcp_poke(s->conn, t->h.now);
}

static void step(struct talk *t)
{
    uint8_t op = take8(&t->in), p = op >> 4;
    struct host *h = &t->h;
    struct sock *s = &h->sock[0];
    const struct tcp_conn *c = s->conn;
    uint32_t seq = c != NULL ? c->rcv_nxt.v : 0, ack = c != NULL ? c->snd_nxt.v : 0, una = c != NULL ? c->snd_una.v : 0;
    switch (op & 7) {
    case 0:
    case 1:
    case 2:
        scribble_somewhere(t, p);
        break;
    case 3: /* data in order, out of order, or an acknowledgement of some of it */
        send_segment(t, seq + (p & 1 ? 1460 : 0), p & 2 ? ack : una + (uint32_t)p * 100, RTE_TCP_ACK_FLAG | (p & 8 ? RTE_TCP_PSH_FLAG : 0), p & 4 ? 1400 : 200);
        break;
    case 4:
        application(t, p);
        break;
    case 5:
        host_pass(h, (uint64_t)take8(&t->in) * MS << RTE_MIN(p, 11));
        break;
    case 6:
        if (p == 15 && !s->closed_here)
            sock_close(s, take8(&t->in) & 1, h->now);
        else if (p == 14)
            sock_shutdown(s, h->now);
        else
            lend(t, p);
        break;
    default:
        send_segment(t, seq, ack, p & 1 ? RTE_TCP_ACK_FLAG | RTE_TCP_FIN_FLAG : RTE_TCP_ACK_FLAG, 0);
    }
    net_flush(h->st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct talk t = {.in = {data, data + size}};
    host_begin(&t.h, take8(&t.in) & 9);
    send_segment(&t, PEER_ISS, 0, RTE_TCP_SYN_FLAG, 0);
    send_segment(&t, PEER_ISS + 1, t.h.peer[PEER_PORT % FUZZ_PEERS].next, RTE_TCP_ACK_FLAG, 0);
    assert_non_null(t.h.sock[0].bed);
    for (int i = 0; more(&t.in) && i < 300; i++)
        step(&t);
    host_end(&t.h, false);
    return 0;
}
