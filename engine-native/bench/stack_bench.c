/* SPDX-License-Identifier: BSD-3-Clause
 * Cost of a received segment by the number of established connections:
 *
 *   stack_bench CONNECTIONS SEGMENTS
 *
 * One stack on a simulated wire. Connections are opened by their peers through the stack's own input; then bursts of 32
 * segments of 64 bytes arrive, each for a connection chosen at random, uniformly, while virtual time passes as at a million
 * segments per second. Measured is the stack's part: input, delivery to the application's ring, timers, ACKs handed to the
 * port; not the peer that makes the segments nor the application that takes the data. Once without and once with the look-up
 * of bursts (tcp/burst.c). Prints one JSON object. Memory, per connection, before any data came: what the process' private
 * resident memory grew by, the table and what the engine keeps of each connection included, and the engine's session of the pair
 * in the arena.
 *
 * Each connection has a pair of sessions up to PAIRS_MAX, half of what an arena has; beyond, connections share them. */
#include <netinet/in.h>
#include <rte_arp.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arp.h"
#include "eal_runtime.h"
#include "ops.h"
#include "ring.h"
#include "tcp_conn.h"
#include "wire_own.h"

#define BURST 32u
#define PAYLOAD 64u
#define PAIRS_MAX 130000u
#define IP(a, b, c, d) RTE_BE32(((uint32_t)(a) << 24) | ((b) << 16) | ((c) << 8) | (d))
#define LOCAL IP(10, 0, 0, 1)

struct pair {
    uint32_t own, app;
};

struct bench {
    uint32_t conns, opened;
    struct rte_mempool *pool;
    struct zs_view view, app;
    struct pair *pair;
    uint32_t pairs;
    struct wire_own **own; /* as the engine has it, by session */
    uint32_t *next; /* sequence number of each peer */
    uint32_t *ours; /* what each acknowledges */
    struct stack *st;
    struct net_port *port;
    uint64_t now, seed, sent;
    bool opening;
};

static struct bench bench;

static void fail(const char *what)
{
    fprintf(stderr, "stack_bench: %s\n", what);
    exit(1);
}

static void no_doorbell(struct zs_view *v, uint32_t waiter, uint32_t gen)
{
    (void)v;
    (void)waiter;
    (void)gen;
}

static uint64_t rnd(void)
{
    bench.seed ^= bench.seed >> 12;
    bench.seed ^= bench.seed << 25;
    bench.seed ^= bench.seed >> 27;
    return bench.seed * UINT64_C(2685821657736338717);
}

/* Peer i: one of 10.1.0.0/16 up, 50,000 ports each. */
static rte_be32_t peer_ip(uint32_t i)
{
    return rte_cpu_to_be_32((10u << 24) + (1u << 16) + i / 50000 + 1);
}
static rte_be16_t peer_port(uint32_t i)
{
    return rte_cpu_to_be_16((uint16_t)(10000 + i % 50000));
}
static uint32_t peer_of(rte_be32_t ip, rte_be16_t port)
{
    return (rte_be_to_cpu_32(ip) - (10u << 24) - (1u << 16) - 1) * 50000 + rte_be_to_cpu_16(port) - 10000u;
}

/* The wire takes everything; a SYN-ACK tells its peer the sequence number. */
static uint16_t tx(void *dev, struct rte_mbuf **frames, uint16_t n)
{
    (void)dev;
    for (uint16_t i = 0; i < n && bench.opening; i++) {
        const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(frames[i], const struct rte_ether_hdr *);
        const struct rte_ipv4_hdr *ip = (const void *)(eth + 1);
        const struct rte_tcp_hdr *h = (const void *)(ip + 1);
        if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) && ip->next_proto_id == IPPROTO_TCP && (h->tcp_flags & RTE_TCP_SYN_FLAG))
            bench.ours[peer_of(ip->dst_addr, h->dst_port)] = rte_be_to_cpu_32(h->sent_seq) + 1;
    }
    bench.sent += n;
    rte_pktmbuf_free_bulk(frames, n);
    return n;
}
static const struct net_port_ops port_ops = {tx};

static struct rte_mbuf *segment(uint32_t i, uint8_t flags, uint32_t len)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(bench.pool);
    if (m == NULL)
        fail("no buffer");
    struct rte_ether_hdr *eth = (void *)rte_pktmbuf_append(m, (uint16_t)(54 + len));
    struct rte_ipv4_hdr *ip = (void *)(eth + 1);
    struct rte_tcp_hdr *h = (void *)(ip + 1);
    *eth = (struct rte_ether_hdr){{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}, RTE_BE16(RTE_ETHER_TYPE_IPV4)};
    *ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF, .total_length = rte_cpu_to_be_16((uint16_t)(40 + len)), .time_to_live = 64,
                                .next_proto_id = IPPROTO_TCP, .src_addr = peer_ip(i), .dst_addr = LOCAL};
    *h = (struct rte_tcp_hdr){.src_port = peer_port(i), .dst_port = RTE_BE16(80), .sent_seq = rte_cpu_to_be_32(bench.next[i]),
                              .recv_ack = rte_cpu_to_be_32(bench.ours[i]), .data_off = 5 << 4, .tcp_flags = flags, .rx_win = RTE_BE16(65535)};
    memset(h + 1, 'x', len);
    bench.next[i] += len + !!(flags & RTE_TCP_SYN_FLAG);
    /* As a card that checks them. */
    m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD;
    return m;
}

static int on_accept(void *arg, struct tcp_conn *c, const struct tcp_flow *flow)
{
    static const struct tcp_conn_ops ops = {0};
    uint32_t i = bench.opened++;
    (void)arg;
    (void)flow;
    if ((bench.own[i] = calloc(1, sizeof *bench.own[i])) == NULL)
        return -EAGAIN;
    tcp_attach(c, bench.pair[i % bench.pairs].own, &ops, bench.own[i]);
    return 0;
}
static const struct tcp_listener_ops listener_ops = {.accept = on_accept};

static void arena_open(void)
{
    size_t align = _Alignof(struct zs_arena);
    char *map = mmap(NULL, sizeof(struct zs_arena) + align, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        fail("no arena");
    bench.view = (struct zs_view){.arena = (void *)(((uintptr_t)map + align - 1) & ~(uintptr_t)(align - 1)), .client = ZS_CLIENT_ENGINE,
                                  .mem_limit = UINT64_C(2) << 30, .ring = no_doorbell};
    bench.app = bench.view;
    bench.app.client = 0x10001;
    bench.pairs = RTE_MIN(bench.conns, PAIRS_MAX);
    for (uint32_t i = 0; i < bench.pairs; i++) {
        int64_t app = zs_session_alloc(&bench.app, ZS_KIND_TCP), own = zs_session_alloc(&bench.view, ZS_KIND_TCP);
        if (app < 0 || own < 0)
            fail("no sessions");
        zs_session_pair(&bench.app, (uint32_t)app, (uint32_t)own);
        atomic_store(&zs_session_at(&bench.app, (uint32_t)app)->state, ZS_S_OPEN);
        atomic_store(&zs_session_at(&bench.app, (uint32_t)own)->state, ZS_S_OPEN);
        bench.pair[i] = (struct pair){(uint32_t)own, (uint32_t)app};
    }
}

/* Private resident memory: without shared mappings, which are the arena. */
static uint64_t resident(void)
{
    unsigned long size, all, shared;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%lu %lu %lu", &size, &all, &shared) != 3)
        fail("/proc/self/statm");
    fclose(f);
    return (uint64_t)(all - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void stack_open(void)
{
    struct stack_conf conf = {.pool = bench.pool, .view = &bench.view, .name = "bench", .key = "0123456789abcde", .max_conns = bench.conns + 16,
                              .max_neighbours = 64, .reass_max_bytes = 1 << 20, .ooo_max_segs = 1024};
    struct net_port_conf port = {.ops = &port_ops, .name = "bench", .mac = {{2, 0, 0, 0, 0, 1}}, .mtu = 1500,
                                 .caps = NET_CAP_TX_IPV4_CKSUM | NET_CAP_TX_L4_CKSUM, .addr = LOCAL, .prefix_len = 8};
    struct tcp_listener *l;
    struct ip_addr any = ip_from_v4(0);
    bench.st = stack_create(&conf, bench.now);
    if (bench.st == NULL || (bench.port = stack_add_port(bench.st, &port, bench.now)) == NULL ||
        tcp_listen(bench.st, &any, RTE_BE16(80), 4096, &listener_ops, NULL, &l) != 0)
        fail("no stack");
    /* The peers' hosts, as their requests make them known. */
    for (uint32_t i = 0; i < bench.conns; i += 50000) {
        struct {
            struct rte_ether_hdr eth;
            struct rte_arp_hdr arp;
        } f = {.eth = {{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}, RTE_BE16(RTE_ETHER_TYPE_ARP)},
               .arp = {RTE_BE16(RTE_ARP_HRD_ETHER), RTE_BE16(RTE_ETHER_TYPE_IPV4), 6, 4, RTE_BE16(RTE_ARP_OP_REQUEST), {{{2, 0, 0, 0, 0, 2}}, peer_ip(i), {{0}}, LOCAL}}};
        struct rte_mbuf *m = rte_pktmbuf_alloc(bench.pool);
        if (m == NULL)
            fail("no buffer");
        memcpy(rte_pktmbuf_append(m, sizeof f), &f, sizeof f);
        net_input(bench.st, bench.port, &m, 1, bench.now);
    }
    net_flush(bench.st);
}

static void connections_open(void)
{
    bench.opening = true;
    for (uint32_t i = 0; i < bench.conns; i++) {
        struct rte_mbuf *m = segment(i, RTE_TCP_SYN_FLAG, 0);
        net_input(bench.st, bench.port, &m, 1, bench.now);
        net_flush(bench.st);
        m = segment(i, RTE_TCP_ACK_FLAG, 0);
        net_input(bench.st, bench.port, &m, 1, bench.now);
        net_flush(bench.st);
        bench.now += 1000;
    }
    bench.opening = false;
    if (bench.opened != bench.conns || tcp_conn_count(bench.st) != bench.conns)
        fail("not every connection was opened");
    net_run(bench.st, bench.now += NET_NS_PER_S); /* what the handshakes left in the wheel */
    net_flush(bench.st);
}

/* The application: takes what came. */
static void drain(uint32_t conn)
{
    const struct pair *p = &bench.pair[conn % bench.pairs];
    struct zs_session *app = zs_session_at(&bench.app, p->app);
    zs_rx_consume(&bench.app, app, zs_rx_avail(app));
}

/* Every connection once: its ring is there then, and its pages. */
static void warm_up(void)
{
    for (uint32_t i = 0; i < bench.conns; i++) {
        struct rte_mbuf *m = segment(i, RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG, PAYLOAD);
        bench.now += 1000;
        net_input(bench.st, bench.port, &m, 1, bench.now);
        net_run(bench.st, bench.now);
        net_flush(bench.st);
        drain(i);
    }
}

/* Nanoseconds per segment. */
static double run(uint64_t segments, uint32_t without)
{
    uint64_t cycles = 0, done = 0;
    uint64_t before = bench.st->counters[NET_TCP_RX_COPIED_SMALL];
    bench.st->conf.without = without;
    while (done < segments) {
        struct rte_mbuf *m[BURST];
        uint32_t conn[BURST];
        for (uint32_t i = 0; i < BURST; i++)
            m[i] = segment(conn[i] = (uint32_t)(rnd() % bench.conns), RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG, PAYLOAD);
        bench.now += BURST * 1000;
        uint64_t start = rte_rdtsc_precise();
        net_input(bench.st, bench.port, m, BURST, bench.now);
        net_run(bench.st, bench.now);
        net_flush(bench.st);
        cycles += rte_rdtsc_precise() - start;
        done += BURST;
        for (uint32_t i = 0; i < BURST; i++)
            drain(conn[i]);
    }
    if (bench.st->counters[NET_TCP_RX_COPIED_SMALL] - before != done * PAYLOAD)
        fail("not every byte was delivered");
    return (double)cycles / (double)done * 1e9 / (double)rte_get_tsc_hz();
}

/* An idle second with nothing due must cost the same whatever the number of connections: nanoseconds. */
static double idle(void)
{
    net_run(bench.st, bench.now += NET_NS_PER_S);
    uint64_t start = rte_rdtsc_precise();
    for (int i = 0; i < 1000; i++)
        net_run(bench.st, bench.now += NET_NS_PER_MS);
    return (double)(rte_rdtsc_precise() - start) * 1e9 / (double)rte_get_tsc_hz();
}

int main(int argc, char **argv)
{
    uint64_t segments = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    char prefix[64], memory[16];
    bench = (struct bench){.conns = argc == 3 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0, .now = NET_NS_PER_S, .seed = 42};
    if (bench.conns == 0 || bench.conns > 2000000 || segments == 0) {
        fprintf(stderr, "usage: stack_bench CONNECTIONS SEGMENTS (up to 2000000 connections)\n");
        return 2;
    }
    snprintf(prefix, sizeof prefix, "--file-prefix=zsbench%d", (int)getpid());
    snprintf(memory, sizeof memory, "%u", 64 + bench.conns / 4096);
    char *eal[] = {"stack_bench", "--no-huge", "-m", memory, "--no-shconf", "--no-pci", "--no-telemetry", prefix, "--log-level=error", NULL};
    if (rte_eal_init((int)RTE_DIM(eal) - 1, eal) < 0)
        fail("EAL");
    atexit(eal_runtime_end);
    bench.pool = rte_pktmbuf_pool_create("bench", 4095, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    bench.pair = calloc(bench.conns, sizeof *bench.pair);
    bench.next = calloc(bench.conns, sizeof *bench.next);
    bench.ours = calloc(bench.conns, sizeof *bench.ours);
    bench.own = calloc(bench.conns, sizeof *bench.own);
    if (bench.own == NULL || bench.pool == NULL || bench.pair == NULL || bench.next == NULL || bench.ours == NULL)
        fail("no memory");
    memset(bench.next, 1, bench.conns * sizeof *bench.next); /* resident before it is measured */
    memset(bench.ours, 1, bench.conns * sizeof *bench.ours);
    arena_open();
    uint64_t before = resident();
    stack_open();
    connections_open();
    double connection = (double)(resident() - before) / bench.conns;
    warm_up();
    run(segments / 4 + BURST, 0);
    double one = run(segments, NET_WITHOUT_PREFETCH), together = run(segments, 0), rest = idle();
    printf("{\"connections\":%u,\"segments\":%llu,\"one_by_one_ns\":%.1f,\"together_ns\":%.1f,\"idle_second_ns\":%.0f,\"pairs\":%u,"
           "\"connection_bytes\":%.0f,\"session_bytes\":%zu,\"idle_bytes\":%.0f,\"acks\":%llu}\n",
           bench.conns, (unsigned long long)segments, one, together, rest, bench.pairs, connection, sizeof(struct zs_session),
           connection + sizeof(struct zs_session), (unsigned long long)bench.sent);
    return 0;
}
