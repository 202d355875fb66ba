/* SPDX-License-Identifier: BSD-3-Clause
 * Ports that several threads serve: which queues are whose, that none is forgotten, who sends by which; receive side scaling as it is
 * asked for (net_null takes key and table and tells them); sleep and end of several queues of the kernel's. Run as root. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <net/if.h>
#include <poll.h>
#include <rte_eth_ring.h>
#include <rte_ip.h>
#include <rte_thash.h>
#include <rte_udp.h>
#include <string.h>

#include "port_bed.h"
#include "steer.h"

#define ADDRESS ",ip=10.9.0.1/24"
#define FLOWS 64u
#define RINGS 4u

static const uint8_t key[PORT_RSS_KEY] = {[0] = 0x6d, 0x5a, 0x56, 0xda, [39] = 0xfa};

static struct port *open_for(const char *text, uint32_t threads, struct rte_mempool *pool)
{
    const struct port_threads t = {.n = threads, .key = key, .table = 128};
    return bed_open_for(text, &t, pool);
}

/* ---- Rings: the test is the device's other end ---- */

static struct rte_ring *rx[RINGS], *tx[RINGS];

static void ring_device(uint32_t queues)
{
    char name[16];
    for (uint32_t i = 0; i < queues; i++) {
        snprintf(name, sizeof name, "rx%u", i);
        rx[i] = rte_ring_create(name, 256, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
        snprintf(name, sizeof name, "tx%u", i);
        tx[i] = rte_ring_create(name, 256, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
        CHECK(rx[i] != NULL && tx[i] != NULL);
    }
    CHECK(rte_eth_from_rings("q", rx, queues, tx, queues, SOCKET_ID_ANY) >= 0);
}

static void feed(struct rte_mempool *pool, uint32_t queue, unsigned n)
{
    uint8_t frame[60];
    bed_fill(frame, sizeof frame, (uint8_t)queue);
    for (unsigned i = 0; i < n; i++) {
        struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
        CHECK(m != NULL);
        memcpy(rte_pktmbuf_append(m, sizeof frame), frame, sizeof frame);
        CHECK(rte_ring_enqueue(rx[queue], m) == 0);
    }
}

/* One burst of a thread: how many frames of each queue. */
static unsigned take(struct port *p, uint32_t thread, unsigned most, unsigned of[RINGS])
{
    struct rte_mbuf *m[32];
    memset(of, 0, RINGS * sizeof *of);
    unsigned n = port_rx(p, thread, m, (uint16_t)most);
    for (unsigned i = 0; i < n; i++) {
        for (uint32_t q = 0; q < RINGS; q++)
            of[q] += bed_is(m[i], 60, (uint8_t)q);
        rte_pktmbuf_free(m[i]);
    }
    return n;
}

static uint32_t sends_by(struct port *p, uint32_t thread, struct rte_mempool *pool, uint32_t queues)
{
    struct net_port_conf conf;
    struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
    uint32_t by = UINT32_MAX;
    CHECK(m != NULL && rte_pktmbuf_append(m, 60) != NULL);
    port_conf(p, thread, &conf);
    CHECK(conf.ops->tx_burst(conf.dev, &m, 1) == 1);
    for (uint32_t q = 0; q < queues; q++) {
        void *got;
        if (rte_ring_dequeue(tx[q], &got) == 0) {
            CHECK(by == UINT32_MAX && got == m);
            by = q;
        }
    }
    rte_pktmbuf_free(m);
    return by;
}

static void check_stats(struct port *p, uint32_t queues, const char *spread)
{
    struct port_stats s;
    port_stats(p, &s);
    CHECK(s.queues == queues && strcmp(s.spread, spread) == 0);
}

/* A device takes as many as there are threads, and each thread its own. */
static void run_own(void *arg)
{
    struct port_thread_stats s;
    unsigned of[RINGS];
    (void)arg;
    bed_eal(NULL, 0);
    struct rte_mempool *pool = bed_pool();
    ring_device(RINGS);
    struct port *p = open_for("net_ring_q" ADDRESS, 3, pool);
    check_stats(p, 3, "device");
    for (uint32_t q = 0; q < 3; q++)
        feed(pool, q, q + 1);
    for (uint32_t t = 0; t < 3; t++) {
        CHECK(take(p, t, 32, of) == t + 1 && of[t] == t + 1);
        CHECK(take(p, t, 32, of) == 0);
        CHECK(sends_by(p, t, pool, RINGS) == t);
        CHECK(port_sleep_fd(p, t) >= 0);
        port_thread_stats(p, t, &s);
        CHECK(s.queues == 1 && s.rx_frames == t + 1);
    }
    port_close(p);
    CHECK(rte_mempool_in_use_count(pool) == 0);
}

/* Fewer than threads: the others receive nothing, have nothing to wait for, and share the queues to send. */
static void run_fewer(void *arg)
{
    unsigned of[RINGS];
    (void)arg;
    bed_eal(NULL, 0);
    struct rte_mempool *pool = bed_pool();
    ring_device(2);
    struct port *p = open_for("net_ring_q" ADDRESS, 3, pool);
    check_stats(p, 2, "device");
    feed(pool, 0, 5);
    feed(pool, 1, 6);
    CHECK(take(p, 2, 32, of) == 0);
    CHECK(port_sleep_fd(p, 2) < 0 && port_sleep_max_ns(p, 2) == UINT64_MAX && port_sleep(p, 2));
    port_wake(p, 2);
    CHECK(take(p, 0, 32, of) == 5 && of[0] == 5);
    CHECK(take(p, 1, 32, of) == 6 && of[1] == 6);
    for (uint32_t t = 0; t < 3; t++)
        CHECK(sends_by(p, t, pool, 2) == t % 2);
    port_close(p);
}

/* One thread asks for one queue. */
static void run_one(void *arg)
{
    unsigned of[RINGS];
    (void)arg;
    bed_eal(NULL, 0);
    struct rte_mempool *pool = bed_pool();
    ring_device(RINGS);
    struct port *p = bed_open("net_ring_q" ADDRESS, pool);
    check_stats(p, 1, "none");
    feed(pool, 0, 3);
    CHECK(take(p, 0, 32, of) == 3);
    CHECK(sends_by(p, 0, pool, RINGS) == 0);
    port_close(p);
}

/* A card is asked: nobody tells. */
static void run_link(void *arg)
{
    uint16_t id;
    (void)arg;
    bed_eal(NULL, 0);
    struct rte_mempool *pool = bed_pool();
    ring_device(1);
    struct port *p = bed_open("net_ring_q" ADDRESS, pool);
    CHECK(rte_eth_dev_get_port_by_name("net_ring_q", &id) == 0);
    bed_link(p, true, 0);
    CHECK(rte_eth_dev_set_link_down(id) == 0);
    bed_link(p, false, 0);
    usleep(1100000);
    bed_settle(p);
    CHECK(rte_eth_dev_set_link_up(id) == 0);
    bed_link(p, true, 1);
    port_close(p);
}

/* ---- Receive side scaling ---- */

static void check_rule(uint16_t id, uint32_t threads, uint32_t queues)
{
    uint8_t got[UINT8_MAX] = {0};
    struct rte_eth_rss_conf conf = {.rss_key = got, .rss_key_len = sizeof got};
    struct rte_eth_rss_reta_entry64 table[2] = {{.mask = UINT64_MAX}, {.mask = UINT64_MAX}};
    CHECK(rte_eth_dev_rss_hash_conf_get(id, &conf) == 0 && memcmp(got, key, sizeof key) == 0);
    CHECK(conf.rss_hf == (RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP));
    CHECK(rte_eth_dev_rss_reta_query(id, table, 128) == 0);
    for (uint32_t i = 0; i < 128; i++)
        CHECK(table[i / 64].reta[i % 64] == i % threads % queues);
    /* What a device does with those: the queue of a frame is that of the thread whose flow it is. */
    struct steer steer;
    steer_init(&steer, threads, key);
    for (uint32_t i = 0; i < 1000; i++) {
        struct tcp_flow flow = {ip_from_v4(rte_cpu_to_be_32(0x0a090001)), ip_from_v4(rte_cpu_to_be_32(0xc0000200 + i % 7)),
                                RTE_BE16(80), rte_cpu_to_be_16((uint16_t)(1024 + 31 * i))};
        uint32_t tuple[3] = {0xc0000200 + i % 7, 0x0a090001, (1024 + 31 * i) << 16 | 80}, hash = rte_softrss(tuple, 3, got) % 128;
        CHECK(table[hash / 64].reta[hash % 64] == steer_flow(&steer, &flow) % queues);
    }
}

static void run_rss(void *arg)
{
    static const char *const vdevs[] = {"--vdev=net_null0", "--vdev=net_null1"};
    uint16_t id;
    (void)arg;
    bed_eal(vdevs, RTE_DIM(vdevs));
    struct rte_mempool *pool = bed_pool();
    struct port *p = open_for("net_null0" ADDRESS, 3, pool);
    check_stats(p, 3, "rss");
    CHECK(rte_eth_dev_get_port_by_name("net_null0", &id) == 0);
    check_rule(id, 3, 3);
    port_close(p);
    const struct port_threads without = {.n = 2, .table = 128};
    p = bed_open_for("net_null1" ADDRESS, &without, pool);
    check_stats(p, 2, "device");
    port_close(p);
}

/* ---- The kernel's ---- */

/* FLOWS frames of UDP, `size` bytes each, each of a flow of its own. */
static void send_flows(int raw, uint16_t size)
{
    uint8_t frame[3000] = {0};
    struct rte_ether_hdr *eth = (void *)frame;
    struct rte_ipv4_hdr *ip = (void *)(eth + 1);
    struct rte_udp_hdr *udp = (void *)(ip + 1);
    uint16_t packet = (uint16_t)(size - sizeof *eth);
    *eth = (struct rte_ether_hdr){.dst_addr.addr_bytes = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, .src_addr.addr_bytes = {2, 0, 0, 0, 0, 1},
                                  .ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4)};
    *ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF, .total_length = rte_cpu_to_be_16(packet), .time_to_live = 64,
                                .next_proto_id = IPPROTO_UDP, .src_addr = RTE_BE32(0x0a090002), .dst_addr = RTE_BE32(0x0a090001)};
    ip->hdr_checksum = rte_ipv4_cksum(ip);
    for (uint16_t i = 0; i < FLOWS; i++) {
        *udp = (struct rte_udp_hdr){.src_port = rte_cpu_to_be_16((uint16_t)(1000 + i)), .dst_port = RTE_BE16(7),
                                    .dgram_len = rte_cpu_to_be_16((uint16_t)(packet - sizeof *ip))};
        bed_raw_send(raw, frame, size);
    }
}

static bool is_flow(const struct rte_mbuf *m)
{
    return rte_pktmbuf_data_len(m) >= 42 && rte_pktmbuf_mtod(m, const struct rte_ether_hdr *)->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4);
}

/* All that is there for a thread that sleeps until there is nothing for a moment. */
static unsigned drain(struct port *p, uint32_t thread)
{
    struct rte_mbuf *m;
    unsigned n = 0;
    for (;;) {
        struct pollfd fd = {.fd = port_sleep_fd(p, thread), .events = POLLIN};
        while (port_rx(p, thread, &m, 1) == 1) {
            n += is_flow(m);
            rte_pktmbuf_free(m);
        }
        if (!port_sleep(p, thread))
            continue;
        CHECK(port_sleep_max_ns(p, thread) == UINT64_MAX);
        int woken = poll(&fd, 1, 100);
        port_wake(p, thread);
        if (woken == 0)
            return n;
    }
}

/* Frames of all flows come, over both queues; each thread is woken by its own, and none of them waits unseen. */
static void spread(struct port *p, int raw, uint32_t threads)
{
    unsigned total = 0, got[PORT_THREADS_MAX];
    for (uint32_t t = 0; t < threads; t++)
        drain(p, t);
    send_flows(raw, 60);
    for (uint32_t t = 0; t < threads; t++)
        total += got[t] = drain(p, t);
    CHECK(total == FLOWS);
    for (uint32_t t = 0; t < threads; t++)
        CHECK((got[t] > 0) == (t < 2));
}

static void removed(struct port *p, uint32_t threads)
{
    struct port_stats s;
    bed_command("ip link del zsa");
    for (uint32_t t = 0; t < threads; t++)
        drain(p, t); /* none is woken for ever */
    port_stats(p, &s);
    CHECK(!s.link_up && port_has_warning(p));
    CHECK(strstr(port_warning(p), "removed") != NULL && !port_has_warning(p));
}

struct kernel_case {
    const char *vdev, *spec, *peer;
    uint32_t threads; /* of two queues */
    bool veth;
};

static void run_kernel(void *arg)
{
    const struct kernel_case *c = arg;
    struct bed_fds before;
    bed_own_network();
    if (c->veth)
        bed_veth_pair();
    bed_eal(&c->vdev, 1);
    struct rte_mempool *pool = bed_pool();
    bed_fds(&before);
    struct port *p = open_for(c->spec, c->threads, pool);
    check_stats(p, 2, "device");
    int raw = bed_raw(c->peer);
    spread(p, raw, c->threads);
    for (uint32_t t = 0; t < c->threads; t++) {
        struct net_port_conf conf;
        uint8_t frame[60], got[1600];
        struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
        bed_fill(frame, sizeof frame, (uint8_t)t);
        memcpy(rte_pktmbuf_append(m, sizeof frame), frame, sizeof frame);
        port_conf(p, t, &conf);
        CHECK(conf.ops->tx_burst(conf.dev, &m, 1) == 1);
        CHECK(bed_raw_recv(raw, got, sizeof got) == sizeof frame && memcmp(frame, got, sizeof frame) == 0);
    }
    removed(p, c->threads);
    close(raw);
    port_close(p);
    CHECK(bed_no_new_fds(&before));
}

/* One thread and a device that was made with two queues: it looks at both. */
static void run_both(void *arg)
{
    const char *vdev = "--vdev=net_af_packet0,iface=zsa,qpairs=2";
    (void)arg;
    bed_own_network();
    bed_veth_pair();
    bed_eal(&vdev, 1);
    struct port *p = bed_open("net_af_packet0" ADDRESS, bed_pool());
    check_stats(p, 2, "device");
    int raw = bed_raw("zsb");
    drain(p, 0);
    send_flows(raw, 60);
    CHECK(drain(p, 0) == FLOWS);
    port_close(p);
}

/* What is longer than the MTU is dropped and counted by whichever queue it comes, and told once. */
static void run_long(void *arg)
{
    const char *vdev = "--vdev=net_af_packet0,iface=zsa,qpairs=2";
    struct port_stats s;
    (void)arg;
    bed_own_network();
    bed_veth_pair();
    bed_command("ip link set zsa mtu 3500");
    bed_command("ip link set zsb mtu 3500");
    bed_eal(&vdev, 1);
    struct port *p = open_for("net_af_packet0" ADDRESS ",mtu=1500", 2, bed_pool());
    int raw = bed_raw("zsb");
    send_flows(raw, 3000);
    for (uint32_t t = 0; t < 2; t++) {
        struct port_thread_stats own;
        CHECK(drain(p, t) == 0);
        port_thread_stats(p, t, &own);
        CHECK(own.rx_frames > 0);
    }
    port_stats(p, &s);
    CHECK(s.rx_long == FLOWS && port_has_warning(p));
    CHECK(strstr(port_warning(p), "longer") != NULL && !port_has_warning(p));
    port_close(p);
}

#define IN_CHILD(name, body, arg) \
    static void name(void **state) \
    { \
        (void)state; \
        assert_true(bed_run(body, (void *)(uintptr_t)(arg))); \
    }
#define KERNEL(name, vdev, spec, peer, threads, veth) \
    static const struct kernel_case case_##name = {"--vdev=" vdev, spec ADDRESS, peer, threads, veth}; \
    IN_CHILD(name, run_kernel, &case_##name)

IN_CHILD(test_each_thread_has_its_own, run_own, NULL)
IN_CHILD(test_fewer_than_threads, run_fewer, NULL)
IN_CHILD(test_one_thread, run_one, NULL)
IN_CHILD(test_link, run_link, NULL)
IN_CHILD(test_rss, run_rss, NULL)
IN_CHILD(test_af_packet_one_thread, run_both, NULL)
IN_CHILD(test_af_packet_long, run_long, NULL)
KERNEL(test_tap, "net_tap0,iface=zsa", "net_tap0", "zsa", 2, false)
KERNEL(test_af_packet, "net_af_packet0,iface=zsa,qpairs=2", "net_af_packet0", "zsb", 2, true)
KERNEL(test_af_packet_three_threads, "net_af_packet0,iface=zsa,qpairs=2", "net_af_packet0", "zsb", 3, true)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_thread_has_its_own),
        cmocka_unit_test(test_fewer_than_threads),
        cmocka_unit_test(test_one_thread),
        cmocka_unit_test(test_link),
        cmocka_unit_test(test_rss),
        cmocka_unit_test(test_af_packet_one_thread),
        cmocka_unit_test(test_af_packet_long),
        cmocka_unit_test(test_tap),
        cmocka_unit_test(test_af_packet),
        cmocka_unit_test(test_af_packet_three_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
