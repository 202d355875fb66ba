/* SPDX-License-Identifier: BSD-3-Clause
 * The native stack in two shards over a device with two queues (net_ring, the test is its other end): a frame that came by the queue
 * of the shard that it is for stays there and is answered by that shard's own queue; all others go where they belong, whichever queue
 * they came by. One thread takes the shards' turns, so that what each does can be seen. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <rte_arp.h>
#include <rte_eal.h>
#include <rte_eth_ring.h>
#include <rte_icmp.h>
#include <rte_tcp.h>
#include <rte_udp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "eal_runtime.h"
#include "stack_native.h"

#define QUEUES 2u
#define US RTE_BE32(0x0a000001)
#define THEM RTE_BE32(0x0a000002)
#define START UINT64_C(1000000000)

static struct {
    struct zs_view view;
    struct rte_ring *rx[QUEUES], *tx[QUEUES];
    struct rte_mempool *pool;
    struct native *shard[QUEUES];
    unsigned woken[QUEUES];
} host;

static const struct rte_ether_addr their_mac = {{2, 0, 0, 0, 0, 2}};

/* ---- The engine's part ---- */

static void on_wake(void *engine, uint32_t shard)
{
    (void)engine;
    host.woken[shard]++;
}

static void on_log(void *engine, bool warning, const char *line)
{
    (void)engine;
    if (warning)
        fprintf(stderr, "%s\n", line);
}

static void on_addresses(void *engine)
{
    (void)engine;
}

static uint64_t on_clock(void)
{
    return START;
}

static const struct wire_events events = {.wake = on_wake, .log = on_log, .clock = on_clock, .addresses_changed = on_addresses};

static void turn(uint32_t shard)
{
    wire_stack_native.poll(host.shard[shard], 128, START);
    wire_stack_native.flush(host.shard[shard]);
}

/* ---- Frames ---- */

static struct rte_mbuf *frame(uint16_t type, const void *data, size_t n)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(host.pool);
    assert_non_null(m);
    struct rte_ether_hdr *eth = (void *)rte_pktmbuf_append(m, (uint16_t)(sizeof *eth + n));
    *eth = (struct rte_ether_hdr){.dst_addr = host.shard[0]->at[0].conf.mac, .src_addr = their_mac, .ether_type = rte_cpu_to_be_16(type)};
    memcpy(eth + 1, data, n);
    return m;
}

static struct rte_mbuf *packet(uint8_t proto, const void *data, size_t n)
{
    uint8_t whole[256];
    struct rte_ipv4_hdr ip = {.version_ihl = RTE_IPV4_VHL_DEF, .total_length = rte_cpu_to_be_16((uint16_t)(sizeof ip + n)),
                              .time_to_live = 64, .next_proto_id = proto, .src_addr = THEM, .dst_addr = US};
    ip.hdr_checksum = rte_ipv4_cksum(&ip);
    memcpy(whole, &ip, sizeof ip);
    memcpy(whole + sizeof ip, data, n);
    return frame(RTE_ETHER_TYPE_IPV4, whole, sizeof ip + n);
}

/* A SYN that is for that shard. Nobody listens: it is answered by a reset. */
static struct rte_mbuf *syn(uint32_t owner, bool good_sum)
{
    struct tcp_flow flow = {ip_from_v4(US), ip_from_v4(THEM), RTE_BE16(80), 0};
    uint16_t number = 40000;
    do
        flow.remote_port = rte_cpu_to_be_16(number++);
    while (steer_flow(&host.shard[0]->steer, &flow) != owner);
    struct rte_tcp_hdr h = {.src_port = flow.remote_port, .dst_port = flow.local_port, .sent_seq = RTE_BE32(7), .data_off = 5 << 4,
                            .tcp_flags = RTE_TCP_SYN_FLAG, .rx_win = RTE_BE16(65535)};
    struct rte_ipv4_hdr ip = {.version_ihl = RTE_IPV4_VHL_DEF, .total_length = RTE_BE16(40), .next_proto_id = IPPROTO_TCP,
                              .src_addr = THEM, .dst_addr = US};
    h.cksum = rte_ipv4_udptcp_cksum(&ip, &h);
    if (!good_sum)
        h.cksum ^= 1;
    return packet(IPPROTO_TCP, &h, sizeof h);
}

static struct rte_mbuf *echo_request(void)
{
    struct rte_icmp_hdr h = {.icmp_type = RTE_IP_ICMP_ECHO_REQUEST, .icmp_ident = 1, .icmp_seq_nb = 1};
    h.icmp_cksum = (uint16_t)~rte_raw_cksum(&h, sizeof h);
    return packet(IPPROTO_ICMP, &h, sizeof h);
}

static struct rte_mbuf *datagram(void)
{
    const struct rte_udp_hdr h = {.src_port = RTE_BE16(5), .dst_port = RTE_BE16(6), .dgram_len = RTE_BE16(8)};
    return packet(IPPROTO_UDP, &h, sizeof h);
}

static struct rte_mbuf *arp_request(void)
{
    const struct rte_arp_hdr h = {.arp_hardware = RTE_BE16(RTE_ARP_HRD_ETHER), .arp_protocol = RTE_BE16(RTE_ETHER_TYPE_IPV4), .arp_hlen = 6,
                                  .arp_plen = 4, .arp_opcode = RTE_BE16(RTE_ARP_OP_REQUEST),
                                  .arp_data = {.arp_sha = their_mac, .arp_sip = THEM, .arp_tip = US}};
    return frame(RTE_ETHER_TYPE_ARP, &h, sizeof h);
}

static void arrives(uint32_t queue, struct rte_mbuf *m)
{
    assert_int_equal(rte_ring_enqueue(host.rx[queue], m), 0);
}

/* The one frame that left by a queue. */
enum kind { NOTHING, RESET, ARP_REPLY, ECHO_REPLY, UNREACHABLE };

static enum kind kind_of(const struct rte_mbuf *m)
{
    const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
    const struct rte_arp_hdr *arp = (const void *)(eth + 1);
    const struct rte_ipv4_hdr *ip = (const void *)(eth + 1);
    const uint8_t *rest = (const void *)(ip + 1);
    assert_memory_equal(&eth->dst_addr, &their_mac, sizeof their_mac);
    if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_ARP))
        return arp->arp_opcode == RTE_BE16(RTE_ARP_OP_REPLY) ? ARP_REPLY : NOTHING;
    if (ip->next_proto_id == IPPROTO_TCP)
        return ((const struct rte_tcp_hdr *)rest)->tcp_flags & RTE_TCP_RST_FLAG ? RESET : NOTHING;
    return ip->next_proto_id != IPPROTO_ICMP ? NOTHING : rest[0] == 0 ? ECHO_REPLY : rest[0] == 3 ? UNREACHABLE : NOTHING;
}

static void left(enum kind by0, enum kind by1)
{
    const enum kind want[QUEUES] = {by0, by1};
    for (uint32_t q = 0; q < QUEUES; q++) {
        void *m = NULL;
        assert_int_equal(rte_ring_count(host.tx[q]), want[q] != NOTHING);
        if (want[q] == NOTHING)
            continue;
        assert_int_equal(rte_ring_dequeue(host.tx[q], &m), 0);
        assert_int_equal(kind_of(m), want[q]);
        rte_pktmbuf_free(m);
    }
}

static uint64_t away(uint32_t shard)
{
    return host.shard[shard]->st->counters[NET_STEER_AWAY];
}

/* ---- Begin and end ---- */

static void no_doorbell(struct zs_view *view, uint32_t waiter, uint32_t gen)
{
    (void)view;
    (void)waiter;
    (void)gen;
}

/* Each under a name of its own: EAL keeps a device that was closed. */
static void device(char *port, size_t size)
{
    static unsigned count;
    char name[16];
    for (uint32_t q = 0; q < QUEUES; q++) {
        snprintf(name, sizeof name, "rx%u", q);
        host.rx[q] = rte_ring_create(name, 256, SOCKET_ID_ANY, 0);
        snprintf(name, sizeof name, "tx%u", q);
        host.tx[q] = rte_ring_create(name, 256, SOCKET_ID_ANY, 0);
    }
    snprintf(name, sizeof name, "q%u", count++);
    assert_true(rte_eth_from_rings(name, host.rx, QUEUES, host.tx, QUEUES, SOCKET_ID_ANY) >= 0);
    snprintf(port, size, "net_ring_%s,ip=10.0.0.1/24", name);
}

static int up(void **state)
{
    char port[64];
    const char *const ports[] = {port};
    const struct wire_stack_conf conf = {.name = "test", .view = &host.view, .events = &events, .ports = ports, .nports = 1, .workers = QUEUES};
    struct engine_failure f;
    (void)state;
    device(port, sizeof port);
    host.shard[0] = wire_stack_native.open(&conf, START, &f);
    if (host.shard[0] == NULL)
        fail_msg("%s", f.text);
    host.shard[1] = wire_stack_native.shard(host.shard[0], &host.view, NULL, START);
    assert_non_null(host.shard[1]);
    for (uint32_t q = 0; q < QUEUES; q++) {
        void *m;
        while (rte_ring_dequeue(host.tx[q], &m) == 0) /* announcements of the address, by the first */
            rte_pktmbuf_free(m);
        host.woken[q] = 0;
    }
    /* All know the other host. */
    arrives(0, arp_request());
    turn(0);
    turn(1);
    left(ARP_REPLY, NOTHING);
    memset(host.woken, 0, sizeof host.woken);
    return 0;
}

static int down(void **state)
{
    (void)state;
    wire_stack_native.close(host.shard[0], START); /* and the device with the port */
    for (uint32_t q = 0; q < QUEUES; q++) {
        rte_ring_free(host.rx[q]);
        rte_ring_free(host.tx[q]);
    }
    assert_int_equal(rte_mempool_in_use_count(host.pool), 0);
    return 0;
}

/* ---- What goes where ---- */

static void test_own_frames_stay(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < QUEUES; k++) {
        uint64_t before = away(k);
        arrives(k, syn(k, true));
        turn(k);
        left(k == 0 ? RESET : NOTHING, k == 1 ? RESET : NOTHING);
        assert_int_equal(away(k), before);
        assert_int_equal(host.woken[0] + host.woken[1], 0);
    }
}

static void test_others_are_handed_over(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < QUEUES; k++) {
        uint32_t owner = 1 - k;
        uint64_t before = away(k);
        arrives(k, syn(owner, true));
        turn(k);
        left(NOTHING, NOTHING);
        assert_int_equal(away(k), before + 1);
        assert_int_equal(host.woken[owner], 1);
        assert_int_equal(wire_stack_native.sleep(host.shard[owner]), 0); /* no sleep while they wait */
        turn(owner);
        left(owner == 0 ? RESET : NOTHING, owner == 1 ? RESET : NOTHING);
    }
}

static void test_what_is_not_tcp_is_the_engines(void **state)
{
    (void)state;
    arrives(1, echo_request());
    turn(1);
    left(NOTHING, NOTHING);
    turn(0);
    left(ECHO_REPLY, NOTHING);
    arrives(1, datagram());
    turn(1);
    left(NOTHING, NOTHING);
    turn(0);
    left(UNREACHABLE, NOTHING);
}

/* By whichever queue it comes: one answers, all learn. */
static void test_neighbours_are_told_to_all(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < QUEUES; k++) {
        uint64_t before[QUEUES];
        for (uint32_t i = 0; i < QUEUES; i++)
            before[i] = host.shard[i]->st->counters[NET_ARP_RX];
        arrives(k, arp_request());
        turn(k);
        turn(1 - k);
        left(ARP_REPLY, NOTHING);
        for (uint32_t i = 0; i < QUEUES; i++)
            assert_int_equal(host.shard[i]->st->counters[NET_ARP_RX], before[i] + 1);
    }
}

static void test_frames_are_checked_wherever_they_come(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < QUEUES; k++) {
        struct stack *st = host.shard[k]->st;
        uint64_t before = st->counters[NET_TCP_BAD_CKSUM];
        arrives(k, syn(k, false));
        turn(k);
        left(NOTHING, NOTHING);
        assert_int_equal(st->counters[NET_TCP_BAD_CKSUM], before + 1);
        /* For another station: nothing, and no longer than it is. */
        struct rte_mbuf *m = syn(k, true);
        rte_pktmbuf_mtod(m, struct rte_ether_hdr *)->dst_addr.addr_bytes[5] ^= 1;
        arrives(k, m);
        m = syn(k, true);
        rte_pktmbuf_trim(m, 10);
        arrives(k, m);
        turn(k);
        left(NOTHING, NOTHING);
    }
}

/* ---- What is told ---- */

static json_int_t figure(uint32_t shard, const char *name)
{
    json_t *o = json_object();
    wire_stack_native.describe_shard(host.shard[shard], o);
    json_t *value = json_object_get(o, name);
    assert_true(json_is_integer(value));
    json_int_t n = json_integer_value(value);
    json_decref(o);
    return n;
}

static void test_figures(void **state)
{
    (void)state;
    json_t *ports = wire_stack_native.describe_ports(host.shard[0]), *port = json_array_get(ports, 0);
    assert_int_equal(json_integer_value(json_object_get(port, "queues")), QUEUES);
    assert_string_equal(json_string_value(json_object_get(port, "spread")), "device");
    json_decref(ports);
    json_int_t polled = figure(1, "frames_polled"), received = figure(1, "frames_received"), handed = figure(1, "frames_handed_over");
    arrives(1, syn(1, true));
    arrives(1, syn(0, true));
    turn(1);
    turn(0);
    left(RESET, RESET);
    assert_int_equal(figure(1, "queues"), 1);
    assert_int_equal(figure(1, "frames_polled"), polled + 2);
    assert_int_equal(figure(1, "frames_received"), received + 1);
    assert_int_equal(figure(1, "frames_handed_over"), handed + 1);
}

static int start(void **state)
{
    char prefix[64];
    (void)state;
    snprintf(prefix, sizeof prefix, "--file-prefix=zsqueues%d", (int)getpid());
    char *argv[] = {"test", "--no-huge", "-m", "192", "--no-shconf", "--no-pci", "--no-telemetry", prefix, "-l", "0",
                    "--log-level=error", NULL};
    if (rte_eal_init((int)RTE_DIM(argv) - 1, argv) < 0)
        return -1;
    eal_runtime_remove();
    size_t align = _Alignof(struct zs_arena);
    void *map = mmap(NULL, sizeof(struct zs_arena) + align, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return -1;
    host.view = (struct zs_view){.arena = (void *)(((uintptr_t)map + align - 1) & ~(uintptr_t)(align - 1)), .client = ZS_CLIENT_ENGINE,
                                 .mem_limit = 64u << 20, .ring = no_doorbell};
    host.pool = rte_pktmbuf_pool_create("frames", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    return host.pool != NULL ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_own_frames_stay, up, down),
        cmocka_unit_test_setup_teardown(test_others_are_handed_over, up, down),
        cmocka_unit_test_setup_teardown(test_what_is_not_tcp_is_the_engines, up, down),
        cmocka_unit_test_setup_teardown(test_neighbours_are_told_to_all, up, down),
        cmocka_unit_test_setup_teardown(test_frames_are_checked_wherever_they_come, up, down),
        cmocka_unit_test_setup_teardown(test_figures, up, down),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
