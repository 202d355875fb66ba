/* SPDX-License-Identifier: BSD-3-Clause
 * Several stacks that are one host (tcp/steer.h): the hash that devices compute too, who has which connection, and that nothing
 * depends on where a frame is delivered. The stacks and a remote host are joined without delay; the clock stands but for timers. */
#include "steer.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_arp.h>
#include <rte_icmp.h>
#include <rte_tcp.h>

#include "neigh.h"
#include "tcp_conn.h"
#include "tcp_script.h"

#define STACKS 3u
#define REMOTE STACKS /* the last one: the other host */
#define PORT RTE_BE16(80)
#define MANY 48u

/* Microsoft, "Verifying the RSS hash calculation". */
static const uint8_t known_key[STEER_KEY] = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
    0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static struct bed bed;

static struct {
    struct steer steer;
    struct stack *st[STACKS + 1];
    struct net_port *port[STACKS + 1];
    uint64_t now;
    struct frame *first, **end;
    struct sock sock[2 * MANY];
    uint32_t socks;
    uint32_t arp_replies, handed;
} host;

/* ---- The hash ---- */

static struct tcp_flow flow_of(struct ip_addr remote, uint16_t remote_port, struct ip_addr local, uint16_t local_port)
{
    return (struct tcp_flow){local, remote, rte_cpu_to_be_16(local_port), rte_cpu_to_be_16(remote_port)};
}

static void test_hash_is_that_of_devices(void **state)
{
    static const struct ip_addr remote6 = {.b = {0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, [15] = 7}},
                                local6 = {.b = {0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x00, 0x03, [15] = 1}};
    struct steer s;
    (void)state;
    steer_init(&s, 4, known_key);
    struct tcp_flow a = flow_of(ip_from_v4(IP(66, 9, 149, 187)), 2794, ip_from_v4(IP(161, 142, 100, 80)), 1766),
                    b = flow_of(ip_from_v4(IP(199, 92, 111, 2)), 14230, ip_from_v4(IP(65, 69, 140, 83)), 4739),
                    c = flow_of(remote6, 2794, local6, 1766);
    assert_int_equal(steer_hash(&s, &a), 0x51ccc178);
    assert_int_equal(steer_hash(&s, &b), 0xc626b0ea);
    assert_int_equal(steer_hash(&s, &c), 0x40207d3d);
    assert_int_equal(steer_flow(&s, &a), 0x51ccc178 % STEER_TABLE % 4);
}

static void test_zone_of_a_link_local_address_is_not_hashed(void **state)
{
    struct steer s;
    struct ip_addr remote = host_link_local(1), local = host_link_local(0);
    (void)state;
    steer_init(&s, 4, known_key);
    struct tcp_flow wire = flow_of(remote, 5, local, 6);
    ip6_zone(&remote, 3);
    ip6_zone(&local, 3);
    struct tcp_flow zoned = flow_of(remote, 5, local, 6);
    assert_int_equal(steer_hash(&s, &wire), steer_hash(&s, &zoned));
}

/* ---- The host ---- */

static void keep(struct frame *f, int to)
{
    f->to = to;
    f->next = NULL;
    *host.end = f;
    host.end = &f->next;
}

static void look(const struct frame *f)
{
    const struct rte_ether_hdr *eth = (const void *)f->data;
    const struct rte_arp_hdr *arp = (const void *)(eth + 1);
    host.arp_replies += eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_ARP) && arp->arp_opcode == RTE_BE16(RTE_ARP_OP_REPLY);
}

static uint16_t tx(void *dev, struct rte_mbuf **frames, uint16_t n)
{
    bool remote = dev == &host.st[REMOTE];
    for (uint16_t i = 0; i < n; i++) {
        struct frame *f = frame_of(frames[i]);
        if (!remote)
            look(f);
        keep(f, remote ? -1 : (int)REMOTE);
    }
    return n;
}
static const struct net_port_ops ops = {tx};

static void hand_over(void *arg, const struct net_port *port, struct rte_mbuf *m, uint32_t to)
{
    (void)arg;
    assert_ptr_equal(port, host.port[0]);
    host.handed++;
    keep(frame_of(m), (int)to);
}

static void give(uint32_t to, const struct frame *f)
{
    struct rte_mbuf *m = frame_mbuf(&bed, f->data, f->len);
    net_input(host.st[to], host.port[to], &m, 1, host.now);
}

/* What the engine's threads do with a frame that the device delivered to one of them. */
static void distribute(const struct frame *f)
{
    struct rte_mbuf *m = frame_mbuf(&bed, f->data, f->len);
    uint32_t to = steer_frame(&host.steer, m);
    rte_pktmbuf_free(m);
    for (uint32_t i = 0; i < STACKS; i++)
        if (to == STEER_EVERY || to == i)
            give(i, f);
}

static void settle(void)
{
    struct frame *f;
    do {
        for (uint32_t i = 0; i <= STACKS; i++)
            net_flush(host.st[i]);
        while ((f = host.first) != NULL) {
            host.first = f->next;
            if (host.first == NULL)
                host.end = &host.first;
            if (f->to < 0)
                distribute(f);
            else
                give((uint32_t)f->to, f);
            free(f);
        }
        for (uint32_t i = 0; i <= STACKS; i++)
            net_flush(host.st[i]);
    } while (host.first != NULL);
}

static void pass(uint64_t ns)
{
    host.now += ns;
    for (uint32_t i = 0; i <= STACKS; i++)
        net_run(host.st[i], host.now);
    settle();
}

static int up(void **state)
{
    static const char *const names[STACKS + 1] = {"s0", "s1", "s2", "remote"};
    memset(&host, 0, sizeof host);
    host.end = &host.first;
    host.now = SEC;
    bed.ip6 = *state != NULL;
    steer_init(&host.steer, STACKS, known_key);
    for (uint32_t i = 0; i <= STACKS; i++) {
        host.st[i] = bed_stack(&bed, names[i], host.now);
        if (i < STACKS) {
            host.st[i]->conf.steer = &host.steer;
            host.st[i]->conf.number = i;
            host.st[i]->conf.hand_over = hand_over;
        }
        host.port[i] = bed_port(&bed, host.st[i], &ops, &host.st[i], i == REMOTE, 0, 1500, host.now);
    }
    settle();
    pass(2 * SEC); /* addresses are unique by then */
    return 0;
}

static int down(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < host.socks; i++)
        if (sock_alive(&host.sock[i]) && !host.sock[i].closed_here)
            sock_close(&host.sock[i], true, host.now);
    settle();
    for (uint32_t i = 0; i <= STACKS; i++)
        stack_destroy(host.st[i]);
    bed_check_empty(&bed);
    return 0;
}

static struct sock *new_sock(void)
{
    assert_true(host.socks < RTE_DIM(host.sock));
    struct sock *s = &host.sock[host.socks++];
    sock_open(&bed, s);
    return s;
}

static int on_accept(void *arg, struct tcp_conn *c, const struct tcp_flow *flow)
{
    struct sock *s = new_sock();
    (void)arg;
    (void)flow;
    s->conn = c;
    tcp_attach(c, s->own, &sock_ops, s);
    return 0;
}
static const struct tcp_listener_ops listener = {.accept = on_accept};

static void listen_at(uint32_t stack)
{
    struct tcp_listener *l;
    struct ip_addr any = bed_any(&bed);
    assert_int_equal(tcp_listen(host.st[stack], &any, PORT, 128, &listener, NULL, &l), 0);
}

static struct sock *open_from(uint32_t stack, uint32_t to)
{
    struct sock *s = new_sock();
    struct tcp_flow flow = {.local_ip = bed_any(&bed), .remote_ip = bed_host(&bed, to == REMOTE), .remote_port = PORT};
    assert_int_equal(tcp_connect(host.st[stack], flow, s->own, &sock_ops, s, host.now, &s->conn), 0);
    return s;
}

/* The flow of a connection of the remote host, as this host sees it. */
static struct tcp_flow mirrored(const struct tcp_conn *c)
{
    const struct tcp_flow *f = tcp_conn_flow(c);
    return (struct tcp_flow){f->remote_ip, f->local_ip, f->remote_port, f->local_port};
}

/* ---- Who has which connection ---- */

static void test_connections_are_spread(void **state)
{
    uint32_t sum = 0;
    (void)state;
    for (uint32_t i = 0; i < STACKS; i++)
        listen_at(i);
    for (uint32_t i = 0; i < MANY; i++) {
        open_from(REMOTE, 0);
        settle();
    }
    for (uint32_t i = 0; i < STACKS; i++) {
        assert_true(tcp_conn_count(host.st[i]) > 0);
        sum += tcp_conn_count(host.st[i]);
    }
    assert_int_equal(sum, MANY);
    assert_int_equal(host.socks, 2 * MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        struct sock *far = &host.sock[2 * i], *near; /* accepted one after the other */
        struct tcp_flow flow = mirrored(far->conn);
        struct tcp_conn *c = tcp_conn_find(host.st[steer_flow(&host.steer, &flow)], &flow);
        assert_true(far->connected);
        assert_non_null(c);
        near = c->arg;
        near->read_stream = far->write_stream = i;
        assert_int_equal(sock_write(far, 5000, host.now), 5000);
        settle();
        pass(50 * MS); /* an ACK that was delayed, and what it lets go */
        assert_int_equal(sock_read(near, 5000, host.now), 5000);
    }
}

static void test_ports_are_chosen_so_that_answers_come_back(void **state)
{
    (void)state;
    listen_at(REMOTE);
    struct tcp_flow flow[MANY];
    for (uint32_t i = 0; i < MANY; i++) {
        const struct sock *s = open_from(i % STACKS, REMOTE);
        flow[i] = *tcp_conn_flow(s->conn);
        settle();
        assert_true(s->connected);
        assert_int_equal(steer_flow(&host.steer, &flow[i]), i % STACKS);
        for (uint32_t k = 0; k < i; k++)
            assert_memory_not_equal(&flow[i], &flow[k], sizeof flow[i]);
    }
}

/* ---- Neighbours ---- */

static void test_one_answers_and_all_learn(void **state)
{
    struct ip_addr remote = bed_host(&bed, 1);
    (void)state;
    listen_at(1);
    listen_at(0);
    listen_at(2);
    uint64_t before = 0, after = 0;
    for (uint32_t i = 0; i < STACKS; i++)
        before += host.st[i]->counters[NET_ND_ADVERTISEMENTS_TX];
    open_from(REMOTE, 0);
    settle();
    for (uint32_t i = 0; i < STACKS; i++) {
        assert_true(neigh_state(host.st[i], host.port[i], &remote) >= 0);
        after += host.st[i]->counters[NET_ND_ADVERTISEMENTS_TX];
    }
    if (bed.ip6)
        assert_int_equal(after - before, 1);
    else
        assert_int_equal(host.arp_replies, 1);
}

/* The others say nothing at the start: no announcement, no report, no solicitation of routers or for their own address. */
static void test_one_speaks_for_the_host(void **state)
{
    (void)state;
    pass(10 * SEC);
    assert_true(host.st[0]->counters[NET_PORT_TX] > 0);
    for (uint32_t i = 1; i < STACKS; i++)
        assert_int_equal(host.st[i]->counters[NET_PORT_TX], 0);
}

/* ---- What takes more than a look ---- */

/* A SYN of the remote host, with n bytes behind it, for a stack that is not 0. Returns the stack. */
static uint32_t syn(uint8_t *buf, uint16_t n)
{
    struct rte_tcp_hdr *h = (void *)buf;
    struct tcp_flow flow = {HOST(0), HOST(1), PORT, 0};
    uint16_t number = 40000;
    do
        flow.remote_port = rte_cpu_to_be_16(number++);
    while (steer_flow(&host.steer, &flow) == 0);
    memset(buf, 0, sizeof *h + n);
    *h = (struct rte_tcp_hdr){.src_port = flow.remote_port, .dst_port = PORT, .sent_seq = RTE_BE32(7), .data_off = 5 << 4,
                              .tcp_flags = RTE_TCP_SYN_FLAG, .rx_win = RTE_BE16(65535)};
    const struct rte_ipv4_hdr ip = {.version_ihl = RTE_IPV4_VHL_DEF, .total_length = rte_cpu_to_be_16((uint16_t)(40 + n)),
                                    .next_proto_id = IPPROTO_TCP, .src_addr = HOST_IP(1), .dst_addr = HOST_IP(0)};
    uint8_t whole[1500];
    memcpy(whole, &ip, sizeof ip);
    memcpy(whole + sizeof ip, buf, sizeof *h + n);
    h->cksum = rte_ipv4_udptcp_cksum((void *)whole, whole + sizeof ip);
    return steer_flow(&host.steer, &flow);
}

static void arrives(struct rte_mbuf *m)
{
    keep(frame_of(m), -1);
    settle();
}

static void test_fragments_are_put_together_and_handed_over(void **state)
{
    uint8_t segment[1000];
    (void)state;
    uint32_t owner = syn(segment, 200);
    listen_at(owner);
    arrives(ip_frame(&bed, IPPROTO_TCP, 9, RTE_IPV4_HDR_MF_FLAG, segment, 120));
    assert_int_equal(host.st[owner]->counters[NET_TCP_RX], 0);
    arrives(ip_frame(&bed, IPPROTO_TCP, 9, 120 / 8, segment + 120, 100));
    assert_int_equal(host.handed, 1);
    assert_int_equal(host.st[owner]->counters[NET_TCP_TX], 1); /* SYN,ACK, which the remote host refuses */
    assert_int_equal(host.st[owner]->counters[NET_TCP_RST_RX], 1);
    assert_int_equal(host.st[0]->counters[NET_TCP_RX], 0);
}

/* The first bytes of an IPv4 packet of ours, as an error quotes them. */
static struct rte_mbuf *unreachable(const struct tcp_flow *f)
{
    struct {
        struct rte_icmp_hdr icmp;
        struct rte_ipv4_hdr ip;
        struct rte_tcp_hdr tcp;
    } __attribute__((packed)) m = {
        .icmp = {.icmp_type = 3, .icmp_code = 3},
        .ip = {.version_ihl = RTE_IPV4_VHL_DEF, .next_proto_id = IPPROTO_TCP, .src_addr = HOST_IP(0), .dst_addr = HOST_IP(1),
               .total_length = RTE_BE16(40)},
        .tcp = {.src_port = f->local_port, .dst_port = f->remote_port},
    };
    struct tcp_conn *c = tcp_conn_find(host.st[steer_flow(&host.steer, f)], f);
    m.tcp.sent_seq = rte_cpu_to_be_32(c->iss.v);
    m.icmp.icmp_cksum = (uint16_t)~rte_raw_cksum(&m, sizeof m);
    return ip_frame(&bed, IPPROTO_ICMP, 3, 0, &m, sizeof m);
}

static void test_error_reaches_who_sent(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < STACKS; i++) {
        struct sock *s = open_from(i, REMOTE);
        struct tcp_flow flow = *tcp_conn_flow(s->conn);
        arrives(unreachable(&flow));
        assert_null(s->conn);
        assert_int_equal(atomic_load(&zs_session_at(&bed.app, s->app)->error), ECONNREFUSED);
    }
}

static void test_the_rest_is_for_stack_0(void **state)
{
    uint8_t udp[100] = {0}, echo[64] = {8};
    (void)state;
    struct rte_mbuf *frames[] = {
        ip_frame(&bed, IPPROTO_UDP, 1, 0, udp, sizeof udp),
        ip_frame(&bed, IPPROTO_ICMP, 1, 0, echo, sizeof echo),
        ip_frame(&bed, IPPROTO_TCP, 1, RTE_IPV4_HDR_MF_FLAG, udp, sizeof udp),
        ip_frame(&bed, IPPROTO_TCP, 1, 100, udp, sizeof udp),
        ip6_frame(&bed, IPPROTO_UDP, udp, sizeof udp),
        frame_mbuf(&bed, udp, 14),
    };
    for (size_t i = 0; i < RTE_DIM(frames); i++) {
        assert_int_equal(steer_frame(&host.steer, frames[i]), 0);
        rte_pktmbuf_free(frames[i]);
    }
    struct rte_mbuf *told[] = {solicitation(&bed), advertisement(&bed)};
    for (size_t i = 0; i < RTE_DIM(told); i++) {
        assert_int_equal(steer_frame(&host.steer, told[i]), STEER_EVERY);
        rte_pktmbuf_free(told[i]);
    }
}

/* Whatever the device delivers, to its end: nothing is read beyond it (the address sanitizer sees that). */
static void test_short_frames(void **state)
{
    uint8_t segment[100];
    (void)state;
    syn(segment, 40);
    for (uint16_t len = 0; len <= 60; len++) {
        struct rte_mbuf *tcp = ip_frame(&bed, IPPROTO_TCP, 1, 0, segment, len), *icmp = ip_frame(&bed, IPPROTO_ICMP, 1, 0, segment, len);
        struct rte_mbuf *error = icmp6_frame(&bed, (const uint8_t[60]){1}, RTE_MAX(len, (uint16_t)4), 64);
        assert_true(steer_frame(&host.steer, tcp) < STACKS);
        assert_true(steer_frame(&host.steer, icmp) < STACKS);
        assert_true(steer_frame(&host.steer, error) < STACKS);
        rte_pktmbuf_free(tcp);
        rte_pktmbuf_free(icmp);
        rte_pktmbuf_free(error);
    }
}

#define BOTH(test)                                                      \
    cmocka_unit_test_prestate_setup_teardown(test, up, down, NULL),     \
    {#test " over IPv6", test, up, down, (void *)&bed}
#define V4(test) cmocka_unit_test_prestate_setup_teardown(test, up, down, NULL)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_is_that_of_devices),
        cmocka_unit_test(test_zone_of_a_link_local_address_is_not_hashed),
        BOTH(test_connections_are_spread),
        BOTH(test_ports_are_chosen_so_that_answers_come_back),
        BOTH(test_one_answers_and_all_learn),
        BOTH(test_one_speaks_for_the_host),
        V4(test_fragments_are_put_together_and_handed_over),
        V4(test_error_reaches_who_sent),
        V4(test_the_rest_is_for_stack_0),
        V4(test_short_frames),
    };
    bed_start(&bed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
