/* SPDX-License-Identifier: BSD-3-Clause
 * Ports against the kernel: net_tap, net_af_packet, net_af_xdp. Every byte both ways, in one segment and in several; asleep
 * and woken by a frame; nothing left behind. Run as root. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <rte_udp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "port_bed.h"

#define ADDRESS ",ip=10.9.0.1/24"
#define ROUNDS 200

/* ---- What holds on every kind ---- */

static void frames_in(struct port *p, int raw)
{
    static const size_t sizes[] = {60, 61, 64, 777, 1513, 1514};
    uint8_t frame[1600];
    for (size_t i = 0; i < RTE_DIM(sizes); i++) {
        bed_fill(frame, sizes[i], (uint8_t)i);
        bed_raw_send(raw, frame, sizes[i]);
    }
    for (size_t i = 0; i < RTE_DIM(sizes); i++) {
        struct rte_mbuf *m = bed_next(p);
        CHECK(bed_is(m, sizes[i], (uint8_t)i));
        rte_pktmbuf_free(m);
    }
}

static void frames_out(struct port *p, struct rte_mempool *pool, int raw)
{
    static const size_t sizes[] = {60, 61, 777, 1514};
    uint8_t frame[1600], got[1600];
    struct net_port_conf conf;
    port_conf(p, &conf);
    unsigned most = conf.caps & NET_CAP_MULTI_SEGS ? 4 : 1;
    for (size_t i = 0; i < RTE_DIM(sizes); i++) {
        for (unsigned segments = 1; segments <= most; segments++) {
            for (int external = 0; external <= (segments > 1); external++) {
                uint8_t seed = (uint8_t)(i * 16 + segments);
                bed_fill(frame, sizes[i], seed);
                bed_send(p, pool, frame, sizes[i], segments, external);
                CHECK(bed_raw_recv(raw, got, sizeof got) == sizes[i]);
                CHECK(memcmp(frame, got, sizes[i]) == 0);
            }
        }
    }
}

static void wakes(struct port *p, int raw)
{
    uint8_t frame[60];
    for (int i = 0; i < ROUNDS; i++) {
        struct pollfd fd = {.fd = port_sleep_fd(p), .events = POLLIN};
        struct rte_mbuf *m;
        /* Every other frame comes after the last look and before the sleep. */
        bool early = i % 2 != 0;
        bed_settle(p);
        CHECK(port_sleep_max_ns(p) == UINT64_MAX);
        port_wake(p);
        bed_fill(frame, sizeof frame, (uint8_t)i);
        if (early)
            bed_raw_send(raw, frame, sizeof frame);
        bool asleep = port_sleep(p);
        if (!early)
            bed_raw_send(raw, frame, sizeof frame);
        CHECK(!asleep || poll(&fd, 1, 5000) == 1);
        port_wake(p);
        m = bed_next(p);
        CHECK(bed_is(m, sizeof frame, (uint8_t)i));
        rte_pktmbuf_free(m);
    }
}

static void figures(struct port *p, const char *driver, const char *kind)
{
    struct port_stats s;
    port_stats(p, &s);
    CHECK(strcmp(s.driver, driver) == 0 && strcmp(s.kind, kind) == 0);
    CHECK(s.link_up && s.queue_fd >= 0 && s.copies[0] != 0);
    CHECK(s.rx_packets >= ROUNDS && s.rx_bytes >= ROUNDS * 60 && s.tx_packets > 3 && s.tx_bytes > 2000);
    CHECK(s.rx_errors == 0 && s.rx_nombuf == 0 && s.rx_missed == 0 && s.tx_errors == 0 && s.rx_long == 0);
    CHECK(s.wakes > 0 && port_warning(p) == NULL);
}

static void own_mac(struct port *p)
{
    struct net_port_conf conf;
    struct rte_ether_addr device;
    uint16_t id;
    port_conf(p, &conf);
    CHECK(rte_is_local_admin_ether_addr(&conf.mac) && rte_is_unicast_ether_addr(&conf.mac));
    CHECK(rte_eth_dev_get_port_by_name(conf.name, &id) == 0 && rte_eth_macaddr_get(id, &device) == 0);
    CHECK(!rte_is_same_ether_addr(&conf.mac, &device));
    CHECK(conf.mtu == 1500 && conf.addr == inet_addr("10.9.0.1") && conf.prefix_len == 24);
}

static void everything(const char *vdev, const char *device, const char *driver, const char *kind, const char *peer)
{
    struct bed_fds before;
    char spec[64];
    bed_eal(&vdev, 1);
    bed_fds(&before);
    struct rte_mempool *pool = bed_pool();
    snprintf(spec, sizeof spec, "%s" ADDRESS, device);
    struct port *p = bed_open(spec, pool);
    int raw = bed_raw(peer);
    own_mac(p);
    frames_in(p, raw);
    frames_out(p, pool, raw);
    wakes(p, raw);
    figures(p, driver, kind);
    bed_refused(spec, pool, "in use by another port");
    frames_in(p, raw);
    close(raw);
    port_close(p);
    CHECK(bed_no_new_fds(&before));
    CHECK(rte_mempool_in_use_count(pool) == 0);
    bed_refused(spec, pool, "has no device");
}

static void veth_pair(void)
{
    bed_command("ip link add zsa type veth peer name zsb");
    bed_command("ip link set zsa up");
    bed_command("ip link set zsb up");
}

static bool offload(const char *iface, uint32_t get)
{
    struct ethtool_value v = {.cmd = get};
    struct ifreq r = {.ifr_data = (void *)&v};
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", iface);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(ioctl(fd, SIOCETHTOOL, &r) == 0);
    close(fd);
    return v.data != 0;
}

/* ---- Kinds ---- */

static void run_tap(void *arg)
{
    (void)arg;
    bed_own_network();
    everything("--vdev=net_tap0,iface=zsa", "net_tap0", "net_tap", "tap", "zsa");
    CHECK(if_nametoindex("zsa") == 0);
}

static void run_af_packet(void *arg)
{
    (void)arg;
    bed_own_network();
    veth_pair();
    bed_command("ethtool -K zsa gro on");
    everything("--vdev=net_af_packet0,iface=zsa", "net_af_packet0", "net_af_packet", "af_packet", "zsb");
    CHECK(offload("zsa", ETHTOOL_GGRO) && offload("zsb", ETHTOOL_GTSO) && offload("zsb", ETHTOOL_GGSO));
}

static void run_af_xdp(void *arg)
{
    (void)arg;
    bed_own_network();
    veth_pair();
    everything("--vdev=net_af_xdp0,iface=zsa", "net_af_xdp0", "net_af_xdp", "af_xdp", "zsb");
    bed_command("! ip -d link show zsa | grep -q xdp");
}

static void test_tap(void **state) { (void)state; assert_true(bed_run(run_tap, NULL)); }
static void test_af_packet(void **state) { (void)state; assert_true(bed_run(run_af_packet, NULL)); }
static void test_af_xdp(void **state) { (void)state; assert_true(bed_run(run_af_xdp, NULL)); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tap),
        cmocka_unit_test(test_af_packet),
        cmocka_unit_test(test_af_xdp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
