/* SPDX-License-Identifier: BSD-3-Clause
 * The stack's port, whose other end is the script, and the clock. See pd.h. */
#include "pd.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <rte_arp.h>
#include <stdio.h>
#include <time.h>

#define ETH sizeof(struct rte_ether_hdr)
#define PATIENCE (600 * SEC) /* of who waits for a packet: no timer of TCP's that a script waits for takes longer */

/* ---- Neighbours: every address that is asked for is the gateway's ---- */

static void push(struct pd_frames *q, struct frame *f, uint64_t at)
{
    struct pd_frame *e = calloc(1, sizeof *e);
    assert_non_null(e);
    *e = (struct pd_frame){.at = at, .frame = f};
    STAILQ_INSERT_TAIL(q, e, link);
}

static struct frame *pop(struct pd_frames *q, uint64_t *at)
{
    struct pd_frame *e = STAILQ_FIRST(q);
    struct frame *f = e->frame;
    *at = e->at;
    STAILQ_REMOVE_HEAD(q, link);
    free(e);
    return f;
}

static struct frame *frame_new(uint16_t len, uint16_t type)
{
    struct frame *f = calloc(1, sizeof *f + len);
    assert_non_null(f);
    f->len = len;
    *(struct rte_ether_hdr *)f->data = (struct rte_ether_hdr){host_mac(0), host_mac(1), rte_cpu_to_be_16(type)};
    return f;
}

static struct frame *arp_answer(const struct frame *asked)
{
    const struct rte_arp_hdr *q = (const void *)(asked->data + ETH);
    if (q->arp_opcode != RTE_BE16(RTE_ARP_OP_REQUEST) || q->arp_data.arp_sip == 0 ||
        q->arp_data.arp_sip == q->arp_data.arp_tip)
        return NULL; /* a probe or an announcement */
    struct frame *f = frame_new(ETH + sizeof *q, RTE_ETHER_TYPE_ARP);
    struct rte_arp_hdr *a = (void *)(f->data + ETH);
    *a = *q;
    a->arp_opcode = RTE_BE16(RTE_ARP_OP_REPLY);
    a->arp_data = (struct rte_arp_ipv4){host_mac(1), q->arp_data.arp_tip, q->arp_data.arp_sha, q->arp_data.arp_sip};
    return f;
}

/* RFC 4861 4.3, 4.4 */
struct nd_message {
    struct icmp6_hdr h;
    uint8_t target[16];
    uint8_t option, units;
    struct rte_ether_addr mac;
};
#define ND_SOLICITED_OVERRIDE RTE_BE32(3u << 29)
#define ND_OPTION_TARGET_MAC 2u

static struct frame *nd_answer(const struct rte_ipv6_hdr *ip, const struct nd_message *q)
{
    struct ip_addr from;
    memcpy(from.b, ip->src_addr, 16);
    if (ip_is_any(&from))
        return NULL; /* duplicate address detection */
    struct frame *f = frame_new((uint16_t)(ETH + sizeof *ip + sizeof *q), RTE_ETHER_TYPE_IPV6);
    struct rte_ipv6_hdr *to = (void *)(f->data + ETH);
    *to = (struct rte_ipv6_hdr){.vtc_flow = RTE_BE32(6u << 28), .payload_len = rte_cpu_to_be_16(sizeof *q),
                                .proto = IPPROTO_ICMPV6, .hop_limits = 255};
    memcpy(to->src_addr, q->target, 16);
    memcpy(to->dst_addr, ip->src_addr, 16);
    struct nd_message *answer = (void *)(to + 1);
    *answer = (struct nd_message){.h = {ICMP6_ADVERTISEMENT, 0, 0, ND_SOLICITED_OVERRIDE}, .option = ND_OPTION_TARGET_MAC, .units = 1,
                                  .mac = host_mac(1)};
    memcpy(answer->target, q->target, 16);
    answer->h.cksum = rte_ipv6_udptcp_cksum(to, answer);
    return f;
}

/* Is it between the stack and its link alone? Then it is dealt with here. */
static bool of_the_link(struct pd *p, const struct frame *f)
{
    const struct rte_ether_hdr *eth = (const void *)f->data;
    const struct rte_ipv4_hdr *ip = (const void *)(eth + 1);
    const struct rte_ipv6_hdr *ip6 = (const void *)(eth + 1);
    struct frame *answer = NULL;
    if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_ARP)) {
        answer = arp_answer(f);
    } else if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4)) {
        return ip->next_proto_id == IPPROTO_IGMP;
    } else {
        const struct nd_message *q = (const void *)(ip6 + 1);
        if (ip6->proto == IPPROTO_HOPOPTS) /* listener reports */
            return true;
        if (ip6->proto != IPPROTO_ICMPV6 || q->h.type < ICMP6_ROUTER_SOLICITATION)
            return false;
        if (q->h.type == ICMP6_SOLICITATION)
            answer = nd_answer(ip6, q);
    }
    if (answer != NULL)
        push(&p->answers, answer, p->now);
    return true;
}

static uint16_t tx(void *dev, struct rte_mbuf **frames, uint16_t n)
{
    struct pd *p = dev;
    for (uint16_t i = 0; i < n; i++) {
        struct frame *f = frame_of(frames[i]);
        if (of_the_link(p, f))
            free(f);
        else
            push(&p->sent, f, p->now);
    }
    return n;
}
static const struct net_port_ops ops = {tx};

/* ---- The clock ---- */

void pd_turn(struct pd *p)
{
    uint64_t at;
    net_flush(p->st);
    while (!STAILQ_EMPTY(&p->answers)) {
        struct frame *f = pop(&p->answers, &at);
        struct rte_mbuf *m = frame_mbuf(&p->bed, f->data, f->len);
        free(f);
        net_input(p->st, p->port, &m, 1, p->now);
        net_flush(p->st);
    }
    if (p->sleepers == 0)
        return;
    /* Whoever can go on does, in this moment of the script's time. */
    pthread_cond_broadcast(&p->moved);
    pthread_mutex_unlock(&p->lock);
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    pthread_mutex_lock(&p->lock);
}

static void run_at(struct pd *p, uint64_t when)
{
    p->now = RTE_MAX(when, p->now);
    net_run(p->st, p->now);
    pd_turn(p);
}

void pd_clock(struct pd *p, uint64_t ns)
{
    uint64_t until = p->now + ns;
    for (uint64_t next; (next = net_next(p->st)) <= until;)
        run_at(p, next);
    run_at(p, until);
}

bool pd_next(struct pd *p)
{
    uint64_t next = net_next(p->st);
    if (next == UINT64_MAX)
        return false;
    run_at(p, next);
    return true;
}

int pd_usleep(void *u, useconds_t us)
{
    struct pd *p = u;
    pthread_mutex_lock(&p->lock);
    pd_clock(p, us * UINT64_C(1000));
    pthread_mutex_unlock(&p->lock);
    return 0;
}

int pd_gettimeofday(void *u, struct timeval *tv, struct timezone *tz)
{
    struct pd *p = u;
    (void)tz;
    pthread_mutex_lock(&p->lock);
    *tv = (struct timeval){(time_t)(p->now / SEC), (suseconds_t)(p->now % SEC / 1000)};
    if (pthread_equal(pthread_self(), p->script))
        pd_clock(p, 1000);
    pthread_mutex_unlock(&p->lock);
    return 0;
}

/* ---- Packets ---- */

void pd_tell(const struct pd *p)
{
    for (int i = 0; p->counters && i < NET_COUNTER_N; i++)
        if (p->st->counters[i] != 0)
            fprintf(stderr, "%s %llu\n", net_counter_info[i].name, (unsigned long long)p->st->counters[i]);
}

int pd_netdev_send(void *u, const void *packet, size_t len)
{
    struct pd *p = u;
    if (len == 0 || len > 65535 - ETH || ETH + len > RTE_MBUF_DEFAULT_DATAROOM)
        return -1;
    pthread_mutex_lock(&p->lock);
    bool v6 = *(const uint8_t *)packet >> 4 == 6;
    struct frame *f = frame_new((uint16_t)(ETH + len), v6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4);
    memcpy(f->data + ETH, packet, len);
    struct rte_mbuf *m = frame_mbuf(&p->bed, f->data, f->len);
    free(f);
    net_input(p->st, p->port, &m, 1, p->now);
    pd_turn(p);
    pthread_mutex_unlock(&p->lock);
    return 0;
}

int pd_netdev_receive(void *u, void *packet, size_t *len, long long *us)
{
    struct pd *p = u;
    pthread_mutex_lock(&p->lock);
    uint64_t until = p->now + PATIENCE, at;
    while (STAILQ_EMPTY(&p->sent) && p->now < until && pd_next(p))
        ;
    size_t room = *len;
    *len = 0;
    if (!STAILQ_EMPTY(&p->sent)) {
        struct frame *f = pop(&p->sent, &at);
        *len = RTE_MIN(room, f->len - ETH);
        memcpy(packet, f->data + ETH, *len);
        *us = (long long)(at / 1000);
        free(f);
    } else {
        pd_tell(p);
    }
    pthread_mutex_unlock(&p->lock);
    return 0;
}

/* ---- Begin and end ---- */

void pd_wire_open(struct pd *p)
{
    struct net_port_conf conf = {.ops = &ops, .dev = p, .name = "script", .mac = host_mac(0), .mtu = 1500, .has6 = true,
                                 .addr = IP(192, 168, 0, 2), .prefix_len = 16, .gateway = IP(192, 168, 0, 1), .prefix6_len = 48};
    assert_int_equal(inet_pton(AF_INET6, "fd3d:fa7b:d17d::2", conf.addr6.b), 1);
    assert_int_equal(inet_pton(AF_INET6, "fd3d:fa7b:d17d:8888::1", conf.gateway6.b), 1);
    p->now = 1000 * SEC;
    p->st = bed_stack(&p->bed, "packetdrill", p->now);
    p->port = stack_add_port(p->st, &conf, p->now);
    assert_non_null(p->port);
    pd_clock(p, 10 * SEC); /* announcements and duplicate address detection */
}

void pd_wire_close(struct pd *p)
{
    uint64_t at;
    stack_destroy(p->st);
    while (!STAILQ_EMPTY(&p->sent))
        free(pop(&p->sent, &at));
    while (!STAILQ_EMPTY(&p->answers))
        free(pop(&p->answers, &at));
}
