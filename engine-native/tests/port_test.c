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
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
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
    port_conf(p, 0, &conf);
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
        struct pollfd fd = {.fd = port_sleep_fd(p, 0), .events = POLLIN};
        struct rte_mbuf *m;
        /* Every other frame comes after the last look and before the sleep. */
        bool early = i % 2 != 0;
        bed_settle(p);
        CHECK(port_sleep_max_ns(p, 0) == UINT64_MAX);
        port_wake(p, 0);
        bed_fill(frame, sizeof frame, (uint8_t)i);
        if (early)
            bed_raw_send(raw, frame, sizeof frame);
        bool asleep = port_sleep(p, 0);
        if (!early)
            bed_raw_send(raw, frame, sizeof frame);
        CHECK(!asleep || poll(&fd, 1, 5000) == 1);
        port_wake(p, 0);
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
    CHECK(strcmp(s.tso, strcmp(kind, "af_xdp") == 0 ? "off" : "port") == 0 && s.tx_cut_lost == 0);
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
    port_conf(p, 0, &conf);
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
    struct rte_mempool *pool = bed_pool();
    bed_fds(&before);
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
    /* net_af_xdp keeps what it filled its ring with. */
    CHECK(rte_mempool_in_use_count(pool) == 0 || strcmp(kind, "af_xdp") == 0);
    bed_refused(spec, pool, "has no device");
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
    bed_veth_pair();
    bed_command("ethtool -K zsa gro on");
    everything("--vdev=net_af_packet0,iface=zsa", "net_af_packet0", "net_af_packet", "af_packet", "zsb");
    CHECK(offload("zsa", ETHTOOL_GGRO));
    bed_command("ip -d link show zsb | grep -q 'gso_max_segs 65535'");
}

static void run_af_xdp(void *arg)
{
    (void)arg;
    bed_own_network();
    bed_veth_pair();
    everything("--vdev=net_af_xdp0,iface=zsa", "net_af_xdp0", "net_af_xdp", "af_xdp", "zsb");
    bed_command("! ip -d link show zsa | grep -q xdp");
}

/* ---- What is particular to one kind ---- */

/* The launcher gives the kernel's end to another namespace; meanwhile the name is another interface's here. */
static void run_tap_moved(void *arg)
{
    const char *vdev = "--vdev=net_tap0,iface=zsa";
    struct port_stats s;
    (void)arg;
    bed_own_network();
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    pid_t holder = bed_other_network();
    bed_eal(&vdev, 1);
    struct rte_mempool *pool = bed_pool();
    struct port *p = bed_open("net_tap0" ADDRESS ",mtu=1400", pool);
    bed_command("ip link set zsa netns %d", holder);
    bed_command("ip link add zsa type veth peer name zsx");
    bed_command("ip link set zsa up");
    port_stats(p, &s);
    CHECK(!s.link_up);
    bed_enter(holder);
    bed_command("ip link set zsa up");
    bed_command("ip link show zsa | grep -q 'mtu 1400'");
    int raw = bed_raw("zsa");
    CHECK(setns(home, CLONE_NEWNET) == 0);
    bed_link(p, true, 1);
    wakes(p, raw);
    bed_command("ip link set zsa down");
    port_stats(p, &s);
    CHECK(s.link_up);
    bed_command("ip link set zsa up");
    bed_enter(holder);
    bed_command("ip link set zsa down");
    bed_link(p, false, 1);
    bed_command("ip link set zsa up");
    bed_link(p, true, 2);
    CHECK(setns(home, CLONE_NEWNET) == 0);
    port_close(p);
    bed_command("ip link show zsa | grep -q UP");
    bed_enter(holder);
    CHECK(if_nametoindex("zsa") == 0);
}

/* A port of that kind at zsa, one end of a pair; a TAP makes it. The address is ours. */
static struct port *open_kind(const char *kind, struct rte_mempool **pool)
{
    char vdev[64], spec[64];
    const char *args = vdev;
    bed_own_network();
    snprintf(vdev, sizeof vdev, "--vdev=net_%s0,iface=zsa", kind);
    snprintf(spec, sizeof spec, "net_%s0" ADDRESS, kind);
    if (strcmp(kind, "tap") != 0)
        bed_veth_pair();
    bed_eal(&args, 1);
    *pool = bed_pool();
    return bed_open(spec, *pool);
}

/* The cable of an interface is pulled and put in again, or another one's. */
static void run_carrier(void *arg)
{
    struct rte_mempool *pool;
    struct port *p = open_kind(arg, &pool);
    bed_command("ip link add zsx type veth peer name zsy");
    bed_link(p, true, 0);
    for (uint32_t i = 1; i <= 3; i++) {
        bed_command("ip link set zsx up");
        bed_command("ip link set zsb down");
        bed_link(p, false, i - 1);
        bed_command("ip link set zsb up");
        bed_command("ip link set zsx down");
        bed_link(p, true, i);
    }
    wakes(p, bed_raw("zsb"));
    CHECK(port_link_ups(p) == 3);
    port_close(p);
}

/* The interface goes: nothing spins, and it is said once. */
static void run_gone(void *arg)
{
    struct rte_mempool *pool;
    struct port *p = open_kind(arg, &pool);
    uint8_t frame[60];
    bed_fill(frame, sizeof frame, 1);
    bed_send(p, pool, frame, sizeof frame, 1, false);
    bed_settle(p);
    bed_command("ip link set zsa down");
    bed_settle(p);
    bed_command("ip link del zsa");
    bed_settle(p);
    struct port_stats s;
    port_stats(p, &s);
    CHECK(!s.link_up);
    const char *told = port_warning(p);
    CHECK(told != NULL && strstr(told, "removed") != NULL && port_warning(p) == NULL);
    port_close(p);
}

static int kernel_udp(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(7), .sin_addr.s_addr = inet_addr("10.9.0.1")};
    bed_command("ip addr add 10.9.0.2/24 dev zsb");
    bed_command("ip neigh replace 10.9.0.1 lladdr 02:00:00:00:00:99 dev zsb");
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

/* The next IPv4 frame, NULL when none comes. */
static struct rte_mbuf *next_ip(struct port *p)
{
    for (int i = 0; i < 200; i++) {
        struct rte_mbuf *m;
        while (port_rx(p, 0, &m, 1) == 1) {
            if (rte_pktmbuf_mtod(m, struct rte_ether_hdr *)->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4))
                return m;
            rte_pktmbuf_free(m);
        }
        usleep(1000);
    }
    return NULL;
}

static bool is_good(const struct rte_mbuf *m)
{
    return (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD;
}

/* What the kernel left unfinished is marked, and what is wrong is not; many segments come one by one. */
static void run_kernel_udp(void *arg)
{
    static const uint8_t data[8000];
    uint8_t frame[142];
    int segment = 1000;
    struct rte_mempool *pool;
    struct port *p = open_kind(arg, &pool);
    int udp = kernel_udp();
    CHECK(send(udp, data, 100, 0) == 100);
    struct rte_mbuf *m = next_ip(p);
    CHECK(m != NULL && rte_pktmbuf_pkt_len(m) == sizeof frame && is_good(m));
    memcpy(frame, rte_pktmbuf_mtod(m, void *), sizeof frame);
    rte_pktmbuf_free(m);
    frame[40] ^= 1;
    int raw = bed_raw("zsb");
    bed_raw_send(raw, frame, sizeof frame);
    m = next_ip(p);
    CHECK(m != NULL && !is_good(m));
    rte_pktmbuf_free(m);
    CHECK(setsockopt(udp, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment) == 0);
    CHECK(send(udp, data, sizeof data, 0) == sizeof data);
    for (int i = 0; i < 8; i++) {
        m = next_ip(p);
        CHECK(m != NULL && rte_pktmbuf_pkt_len(m) == 1042 && is_good(m));
        rte_pktmbuf_free(m);
    }
    struct port_stats s;
    port_stats(p, &s);
    CHECK(s.rx_long == 0);
    port_close(p);
}

/* The other end of the veth is out of reach: what was cut off is dropped, counted and told. */
static void run_long_frames(void *arg)
{
    const char *vdev = "--vdev=net_af_packet0,iface=zsa";
    uint8_t frame[3000];
    (void)arg;
    bed_own_network();
    bed_veth_pair();
    bed_command("ip link set zsa mtu 3500");
    bed_command("ip link set zsb mtu 3500");
    bed_eal(&vdev, 1);
    struct port *p = bed_open("net_af_packet0" ADDRESS ",mtu=1500", bed_pool());
    int raw = bed_raw("zsb");
    bed_fill(frame, sizeof frame, 1);
    bed_raw_send(raw, frame, sizeof frame);
    frames_in(p, raw);
    struct port_stats s;
    port_stats(p, &s);
    CHECK(s.rx_long == 1);
    const char *told = port_warning(p);
    CHECK(told != NULL && strstr(told, "gso_max_segs") != NULL && port_warning(p) == NULL);
    port_close(p);
}

static void run_refusals(void *arg)
{
    static const char *const vdevs[] = {"--vdev=net_af_packet0,iface=zsa", "--vdev=net_tap0,iface=zst",
                                        "--vdev=net_tap1,iface=zsu", "--vdev=net_af_packet1,iface=zsc",
                                        "--vdev=net_af_xdp0,iface=zsb"};
    (void)arg;
    bed_own_network();
    bed_veth_pair();
    bed_command("ip link add zsc type veth peer name zsd");
    bed_eal(vdevs, RTE_DIM(vdevs));
    struct rte_mempool *pool = bed_pool();
    struct rte_mempool *small = rte_pktmbuf_pool_create("small", 255, 0, 0, 1024, SOCKET_ID_ANY);
    bed_refused("net_none0" ADDRESS, pool, "has no device net_none0");
    bed_refused("net_af_packet0" ADDRESS ",mtu=9000", pool, "an mtu of 9000 is more than the device carries");
    bed_refused("net_tap0" ADDRESS ",mtu=1501", pool, "an mtu of 1501");
    bed_refused("net_tap1" ADDRESS ",mac=device", pool, "one MAC address");
    bed_refused("net_af_xdp0" ADDRESS ",tso=on", pool, "frame of several pieces");
    bed_refused("net_af_packet1" ADDRESS, small, "zsc is down");
}

/* Every buffer of the receive pool is one that the kernel receives into and sends from: taken until there are none left, and
 * given back. */
static void run_every_buffer(void *arg)
{
    static struct rte_mbuf *held[BED_BUFFERS];
    static const char *const vdevs[] = {"--vdev=net_af_xdp0,iface=zsa", "--vdev=net_af_xdp1,iface=zsb"};
    uint8_t frame[60], got[1600];
    (void)arg;
    bed_own_network();
    bed_veth_pair();
    bed_eal(vdevs, RTE_DIM(vdevs));
    struct rte_mempool *gaps = rte_pktmbuf_pool_create("gaps", BED_BUFFERS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    bed_refused("net_af_xdp1" ADDRESS, gaps, "needs a receive pool in one piece, without gaps");
    struct rte_mempool *pool = bed_pool();
    struct port_stats stats;
    struct port *p = bed_open("net_af_xdp0" ADDRESS, pool);
    port_stats(p, &stats);
    CHECK(strcmp(stats.tso, "off") == 0);
    struct net_port_conf conf;
    port_conf(p, 0, &conf);
    int raw = bed_raw("zsb");
    unsigned n = 0;
    for (; rte_mempool_avail_count(pool) > 0; n++) {
        bed_fill(frame, sizeof frame, (uint8_t)n);
        bed_raw_send(raw, frame, sizeof frame);
        held[n] = bed_next(p);
        CHECK(bed_is(held[n], sizeof frame, (uint8_t)n));
    }
    CHECK(n > BED_BUFFERS / 2);
    for (unsigned i = 0; i < n; i++) {
        CHECK(conf.ops->tx_burst(conf.dev, &held[i], 1) == 1); /* from where it lies */
        bed_fill(frame, sizeof frame, (uint8_t)i);
        CHECK(bed_raw_recv(raw, got, sizeof got) == sizeof frame && memcmp(got, frame, sizeof frame) == 0);
    }
    frames_out(p, pool, raw);
    frames_in(p, raw);
    close(raw);
    port_close(p);
}

/* ---- The text after --port ---- */

static void test_spec(void **state)
{
    static const struct {
        const char *text, *why; /* NULL: it is right */
    } table[] = {
        {"net_tap0,ip=10.0.0.1/24", NULL},
        {"0000:03:00.0,ip=10.0.0.1/24,gateway=10.0.0.254,mtu=9000,mac=device", NULL},
        {"net_memif0,ip=10.0.0.0/31,bell=/run/bell,mac=02:00:00:00:00:01", NULL},
        {"net_tap0,ip6=2001:db8::1/64,gateway6=fe80::1", NULL},
        {"net_tap0,ra=on", NULL},
        {"net_tap0,ip=10.0.0.1/24,ip6=2001:db8::1/64,route=10.1.0.0/16@10.0.0.2+2001:db8:9::/48@fe80::2+192.0.2.0/24", NULL},
        {"net_tap0,ip=10.0.0.1/24,ra=yes", "ra: expected on or off"},
        {"net_tap0,ip=10.0.0.1/24,route=10.1.0.0", "route: expected PREFIX/LEN"},
        {"net_tap0,ip=10.0.0.1/24,route=10.1.0.0/33@10.0.0.2", "route: expected PREFIX/LEN"},
        {"net_tap0,ip=10.0.0.1/24,route=10.1.0.0/16@fe80::2", "route: expected PREFIX/LEN"},
        {"net_tap0,ip=10.0.0.1/24,route=10.1.0.0/16@0.0.0.0", "route: expected PREFIX/LEN"},
        {"net_tap0,ip=10.0.0.1/24,route=", "route: expected PREFIX/LEN"},
        {"net_tap0,ip=10.0.0.1/24,route=1.0.0.0/8+2.0.0.0/8+3.0.0.0/8+4.0.0.0/8+5.0.0.0/8+6.0.0.0/8+7.0.0.0/8+8.0.0.0/8+9.0.0.0/8", "at most 8"},
        {"net_tap0,ip=10.0.0.1/24,route=2001:db8::/32@fe80::1", "of the same protocol"},
        {"net_tap0", "expected an address"},
        {"", "DEVICE"},
        {"ip=10.0.0.1/24", "DEVICE"},
        {"net_tap0,", "got \"\""},
        {"net_tap0,ip", "KEY=VALUE"},
        {"net_tap0,adress=10.0.0.1/24", "got \"adress\""},
        {"net_tap0,ip=10.0.0.1/24,ip=10.0.0.2/24", "twice"},
        {"net_tap0,ip=10.0.0.1", "A.B.C.D/LEN"},
        {"net_tap0,ip=10.0.0.1/33", "A.B.C.D/LEN"},
        {"net_tap0,ip=10.0.0.1/0", "A.B.C.D/LEN"},
        {"net_tap0,ip=10.0.0.1/24x", "A.B.C.D/LEN"},
        {"net_tap0,ip=10.0.0.256/24", "A.B.C.D/LEN"},
        {"net_tap0,ip=10.0.0.0/24", "address of a host"},
        {"net_tap0,ip=10.0.0.255/24", "address of a host"},
        {"net_tap0,ip=127.0.0.1/8", "address of a host"},
        {"net_tap0,ip=224.0.0.1/24", "address of a host"},
        {"net_tap0,ip=10.0.0.1/24,gateway=10.0.1.1", "another host of the network"},
        {"net_tap0,ip=10.0.0.1/24,gateway=10.0.0.1", "another host of the network"},
        {"net_tap0,ip=10.0.0.1/24,gateway=x", "gateway: expected"},
        {"net_tap0,ip=10.0.0.1/24,mtu=67", "68 to 9000"},
        {"net_tap0,ip=10.0.0.1/24,mtu=9001", "68 to 9000"},
        {"net_tap0,ip=10.0.0.1/24,mtu=-1", "68 to 9000"},
        {"net_tap0,ip=10.0.0.1/24,mtu=", "68 to 9000"},
        {"net_tap0,ip=10.0.0.1/24,ip6=2001:db8::1/64,mtu=1279", "at least 1280"},
        {"net_tap0,ip=10.0.0.1/24,ip6=ff02::1/64", "ip6: expected"},
        {"net_tap0,ip=10.0.0.1/24,gateway6=fe80::1", "gateway6: expected ip6"},
        {"net_tap0,ip=10.0.0.1/24,mac=01:00:00:00:00:01", "mac: expected"},
        {"net_tap0,ip=10.0.0.1/24,mac=00:00:00:00:00:00", "mac: expected"},
        {"net_tap0,ip=10.0.0.1/24,mac=2:0:0:0:0:1", "mac: expected"},
        {"net_tap0,ip=10.0.0.1/24,bell=relative", "absolute path"},
        {"net_tap0,ip=10.0.0.1/24,gro=auto", "gro: expected on or off"},
        {"net_tap0,ip=10.0.0.1/24,tso=yes", "tso: expected on, off or auto"},
    };
    (void)state;
    for (size_t i = 0; i < RTE_DIM(table); i++) {
        struct port_spec spec;
        char why[256] = "";
        int result = port_spec_parse(table[i].text, &spec, why, sizeof why);
        if ((table[i].why == NULL) != (result == 0) || (table[i].why != NULL && strstr(why, table[i].why) == NULL))
            fail_msg("\"%s\": %d \"%s\"", table[i].text, result, why);
    }
    struct port_spec spec;
    char why[256];
    assert_int_equal(port_spec_parse(table[1].text, &spec, why, sizeof why), 0);
    assert_string_equal(spec.device, "0000:03:00.0");
    assert_int_equal(spec.addr, inet_addr("10.0.0.1"));
    assert_int_equal(spec.gateway, inet_addr("10.0.0.254"));
    assert_int_equal(spec.prefix_len, 24);
    assert_int_equal(spec.mtu, 9000);
    assert_int_equal(spec.mac_from, PORT_MAC_DEVICE);
}

#define IN_CHILD(name, body, arg) \
    static void name(void **state) \
    { \
        (void)state; \
        assert_true(bed_run(body, arg)); \
    }

IN_CHILD(test_tap, run_tap, NULL)
IN_CHILD(test_tap_moved, run_tap_moved, NULL)
IN_CHILD(test_tap_gone, run_gone, "tap")
IN_CHILD(test_af_packet, run_af_packet, NULL)
IN_CHILD(test_af_packet_gone, run_gone, "af_packet")
IN_CHILD(test_af_packet_carrier, run_carrier, "af_packet")
IN_CHILD(test_af_xdp_carrier, run_carrier, "af_xdp")
IN_CHILD(test_af_packet_udp, run_kernel_udp, "af_packet")
IN_CHILD(test_af_packet_long, run_long_frames, NULL)
IN_CHILD(test_af_xdp, run_af_xdp, NULL)
IN_CHILD(test_af_xdp_gone, run_gone, "af_xdp")
IN_CHILD(test_af_xdp_udp, run_kernel_udp, "af_xdp")
IN_CHILD(test_af_xdp_every_buffer, run_every_buffer, NULL)
IN_CHILD(test_refusals, run_refusals, NULL)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spec),
        cmocka_unit_test(test_tap),
        cmocka_unit_test(test_tap_moved),
        cmocka_unit_test(test_tap_gone),
        cmocka_unit_test(test_af_packet),
        cmocka_unit_test(test_af_packet_gone),
        cmocka_unit_test(test_af_packet_carrier),
        cmocka_unit_test(test_af_xdp_carrier),
        cmocka_unit_test(test_af_packet_udp),
        cmocka_unit_test(test_af_packet_long),
        cmocka_unit_test(test_af_xdp),
        cmocka_unit_test(test_af_xdp_gone),
        cmocka_unit_test(test_af_xdp_udp),
        cmocka_unit_test(test_af_xdp_every_buffer),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
