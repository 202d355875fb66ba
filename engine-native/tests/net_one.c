/* SPDX-License-Identifier: BSD-3-Clause
 * See net_one.h. */
#include "net_one.h"

struct bed bed;
struct capture cap;
struct stack *st;
struct net_port *port;
uint64_t now;
struct mailbox box;

static void describe(void *arg, const struct frame *f, char *line, size_t size)
{
    (void)arg;
    describe_frame(f, line, size);
}

void one_stack(void)
{
    now = SEC;
    cap.describe = describe;
    st = bed_stack(&bed, "packets", now);
}

void one_port(void)
{
    port = bed_port(&bed, st, &capture_ops, &cap, 0, 0, 1500, now);
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

/* ---- UDP sockets that remember ---- */

void mail_datagram(struct mailbox *b, struct rte_mbuf *m, uint16_t len)
{
    assert_int_equal(rte_pktmbuf_pkt_len(m), len);
    b->count++;
    b->len = len;
    const void *p = rte_pktmbuf_read(m, 0, len, b->data);
    if (len > 0 && p != b->data)
        memmove(b->data, p, len);
    rte_pktmbuf_free(m);
}

void mail_error(void *arg, const struct ip_error *e, struct udp_addr local, struct udp_addr remote)
{
    (void)local;
    (void)remote;
    ((struct mailbox *)arg)->error = e->err;
    ((struct mailbox *)arg)->fatal = e->fatal;
}

struct udp_sock *open_at(struct ip_addr any, uint16_t number)
{
    struct udp_sock *s;
    memset(&box, 0, sizeof box);
    assert_int_equal(udp_open(st, (struct udp_addr){any, rte_cpu_to_be_16(number)}, &mail, &box, &s), 0);
    return s;
}

int send_to(struct udp_sock *s, struct ip_addr peer, size_t n)
{
    static uint8_t data[65536];
    struct iovec iov[2] = {{data, n / 2}, {data + n / 2, n - n / 2}};
    for (size_t i = 0; i < n; i++)
        data[i] = byte_at(0, i);
    return udp_send(st, s, (struct udp_addr){peer, RTE_BE16(9)}, NULL, iov, n, now);
}
