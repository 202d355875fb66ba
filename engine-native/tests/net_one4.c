/* SPDX-License-Identifier: BSD-3-Clause
 * See net_one4.h. */
#include "net_one4.h"

#include <netinet/in.h>
#include <rte_arp.h>
#include <rte_udp.h>

struct bed bed;
struct capture cap;
struct stack *st;
struct net_port *port;
uint64_t now;

static void describe(void *arg, const struct frame *f, char *line, size_t size)
{
    (void)arg;
    describe_frame(f, line, size);
}

/* The list of what was sent since the last time, NULL at its end. */
void sent(const char *first, ...)
{
    va_list args;
    va_start(args, first);
    net_flush(st);
    for (const char *want = first; want != NULL; want = va_arg(args, const char *)) {
        if (cap.next == cap.count)
            fail_msg("not sent: %s", want);
        if (strcmp(cap.line[cap.next], want) != 0)
            fail_msg("sent '%s', expected '%s'", cap.line[cap.next], want);
        cap.next++;
    }
    if (cap.next != cap.count)
        fail_msg("not expected: %s", cap.line[cap.next]);
    va_end(args);
    capture_clear(&cap);
}

void pass(uint64_t ns)
{
    uint64_t until = now + ns;
    for (uint64_t next; (next = net_next(st)) <= until;) {
        now = RTE_MAX(next, now);
        net_run(st, now);
    }
    now = until;
    net_run(st, now);
}

int up(void **state)
{
    (void)state;
    now = SEC;
    cap.describe = describe;
    st = bed_stack(&bed, "packets", now);
    port = bed_port(&bed, st, &capture_ops, &cap, 0, 0, 1500, now);
    sent("arp request 0a000001 for 0a000001 broadcast", NULL);
    pass(3 * SEC);
    sent("arp request 0a000001 for 0a000001 broadcast", NULL); /* RFC 5227 2.3: twice */
    return 0;
}

int down(void **state)
{
    (void)state;
    stack_destroy(st);
    capture_clear(&cap);
    bed_check_empty(&bed);
    return 0;
}

uint64_t counter(const char *name)
{
    for (int i = 0; i < NET_COUNTER_N; i++)
        if (strcmp(net_counter_info[i].name, name) == 0)
            return st->counters[i];
    fail_msg("no counter %s", name);
    return 0;
}

void input(struct rte_mbuf *m)
{
    net_input(st, port, &m, 1, now);
}

void arp(uint16_t op, struct rte_ether_addr sha, rte_be32_t sip, rte_be32_t tip)
{
    struct {
        struct rte_ether_hdr eth;
        struct rte_arp_hdr arp;
    } f = {.eth = {host_mac(0), sha, RTE_BE16(RTE_ETHER_TYPE_ARP)},
           .arp = {RTE_BE16(RTE_ARP_HRD_ETHER), RTE_BE16(RTE_ETHER_TYPE_IPV4), 6, 4, rte_cpu_to_be_16(op), {sha, sip, {{0}}, tip}}};
    input(frame_mbuf(&bed, &f, sizeof f));
}

void meet_peer(void)
{
    arp(RTE_ARP_OP_REQUEST, host_mac(1), HOST_IP(1), HOST_IP(0));
    sent("arp reply 0a000001 for 0a000002", NULL);
}

/* ---- UDP sockets that remember ---- */
struct mailbox box;

static void on_datagram(void *arg, struct rte_mbuf *m, uint16_t len, const struct udp_meta *meta)
{
    struct mailbox *b = arg;
    assert_int_equal(ip_to_v4(&meta->from.ip), HOST_IP(1));
    assert_int_equal(rte_pktmbuf_pkt_len(m), len);
    b->count++;
    b->len = len;
    const void *p = rte_pktmbuf_read(m, 0, len, b->data);
    if (len > 0 && p != b->data)
        memmove(b->data, p, len);
    rte_pktmbuf_free(m);
}

static void on_error(void *arg, const struct ip_error *e, struct udp_addr local, struct udp_addr remote)
{
    (void)local;
    (void)remote;
    ((struct mailbox *)arg)->error = e->err;
    ((struct mailbox *)arg)->fatal = e->fatal;
}
const struct udp_sock_ops mail = {on_datagram, on_error};

struct udp_sock *open_socket(uint16_t number)
{
    struct udp_sock *s;
    memset(&box, 0, sizeof box);
    assert_int_equal(udp_open(st, (struct udp_addr){ANY4, rte_cpu_to_be_16(number)}, &mail, &box, &s), 0);
    return s;
}

/* A datagram from the peer's port 9 as UDP header and payload. */
uint16_t datagram(uint8_t *buf, uint16_t dst, uint16_t len)
{
    struct rte_udp_hdr *h = (void *)buf;
    struct rte_ipv4_hdr ip = {.version_ihl = RTE_IPV4_VHL_DEF, .total_length = rte_cpu_to_be_16((uint16_t)(28 + len)),
                              .next_proto_id = IPPROTO_UDP, .src_addr = HOST_IP(1), .dst_addr = HOST_IP(0)};
    *h = (struct rte_udp_hdr){RTE_BE16(9), rte_cpu_to_be_16(dst), rte_cpu_to_be_16((uint16_t)(8 + len)), 0};
    for (uint16_t i = 0; i < len; i++)
        buf[8 + i] = byte_at(0, i);
    h->dgram_cksum = rte_ipv4_udptcp_cksum(&ip, h);
    return (uint16_t)(8 + len);
}

int send_to_peer(struct udp_sock *s, size_t n)
{
    static uint8_t data[65536];
    struct iovec iov[2] = {{data, n / 2}, {data + n / 2, n - n / 2}};
    for (size_t i = 0; i < n; i++)
        data[i] = byte_at(0, i);
    return udp_send(st, s, (struct udp_addr){HOST(1), RTE_BE16(9)}, NULL, iov, n, now);
}
