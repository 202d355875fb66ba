/* SPDX-License-Identifier: BSD-3-Clause
 * See net_one6.h. */
#include "net_one6.h"

#include <netinet/in.h>
#include <rte_udp.h>

struct bed bed;
struct capture cap;
struct stack *st;
struct net_port *port;
uint64_t now;
int conflicts;

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

static void on_conflict(void *arg, const struct net_port *p, const struct ip_addr *addr, const struct rte_ether_addr *mac)
{
    (void)arg;
    (void)p;
    (void)addr;
    (void)mac;
    conflicts++;
}

int begin(void **state)
{
    (void)state;
    now = SEC;
    conflicts = 0;
    cap.describe = describe;
    st = bed_stack(&bed, "packets", now);
    st->conf.conflict = on_conflict;
    port = bed_port(&bed, st, &capture_ops, &cap, 0, 0, 1500, now);
    return 0;
}

int up(void **state)
{
    begin(state);
    pass(3 * SEC);
    net_flush(st);
    capture_clear(&cap);
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

void meet_peer(void)
{
    input(solicitation(&bed));
    sent("nd advertisement 2001:db8::1 solicited override mac", NULL);
}

/* After a time in which nobody answered for it. */
void meet_peer_again(void)
{
    net_flush(st);
    capture_clear(&cap);
    meet_peer();
}

int state_of(int host)
{
    struct ip_addr a = host6(host);
    return neigh_state(st, port, &a);
}

/* ---- UDP sockets that remember ---- */

struct mailbox box;

static void on_datagram(void *arg, struct rte_mbuf *m, uint16_t len, const struct udp_meta *meta)
{
    struct mailbox *b = arg;
    (void)meta;
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
    assert_int_equal(udp_open(st, (struct udp_addr){ANY6, rte_cpu_to_be_16(number)}, &mail, &box, &s), 0);
    return s;
}

/* A datagram from the peer's port 9 as UDP header and payload. */
uint16_t datagram(uint8_t *buf, uint16_t dst, uint16_t len)
{
    struct rte_udp_hdr *h = (void *)buf;
    struct rte_ipv6_hdr ip = {.payload_len = rte_cpu_to_be_16((uint16_t)(8 + len)), .proto = IPPROTO_UDP};
    memcpy(ip.src_addr, host6(1).b, 16);
    memcpy(ip.dst_addr, host6(0).b, 16);
    *h = (struct rte_udp_hdr){RTE_BE16(9), rte_cpu_to_be_16(dst), rte_cpu_to_be_16((uint16_t)(8 + len)), 0};
    for (uint16_t i = 0; i < len; i++)
        buf[8 + i] = byte_at(0, i);
    h->dgram_cksum = rte_ipv6_udptcp_cksum(&ip, h);
    return (uint16_t)(8 + len);
}

int send_to_peer(struct udp_sock *s, size_t n)
{
    static uint8_t data[65536];
    struct iovec iov[2] = {{data, n / 2}, {data + n / 2, n - n / 2}};
    for (size_t i = 0; i < n; i++)
        data[i] = byte_at(0, i);
    return udp_send(st, s, (struct udp_addr){host6(1), RTE_BE16(9)}, NULL, iov, n, now);
}
