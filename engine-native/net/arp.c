/* SPDX-License-Identifier: BSD-3-Clause
 * ARP: see arp.h. */
#include "arp.h"

#include <rte_arp.h>
#include <stdlib.h>

#include "ipv4.h"

#define ARP_BUCKETS 1024u

struct arp_entry {
    struct wheel_timer timer; /* retry, or end of the state; first, see entry_due() */
    LIST_ENTRY(arp_entry) link;
    struct net_port *port;
    rte_be32_t addr;
    struct rte_ether_addr mac; /* valid but in INCOMPLETE */
    uint8_t state;             /* enum arp_state */
    uint8_t tries;
    uint8_t pending; /* packets in queue[], oldest first */
    struct rte_mbuf *queue[ARP_PENDING_MAX];
};

struct arp_table {
    uint32_t count, max;
    LIST_HEAD(, arp_entry) bucket[ARP_BUCKETS];
};

static const char *const state_names[] = {
#define X(id, name) name,
    ARP_STATES(X)
#undef X
};

struct arp_table *arp_create(uint32_t max)
{
    struct arp_table *t = calloc(1, sizeof *t);
    if (t != NULL)
        t->max = max;
    return t;
}

static uint32_t bucket_of(rte_be32_t addr)
{
    return (rte_be_to_cpu_32(addr) * 0x9e3779b1u) >> 22;
}

static struct arp_entry *find(struct stack *st, const struct net_port *port, rte_be32_t addr)
{
    struct arp_entry *e;
    LIST_FOREACH(e, &st->arp->bucket[bucket_of(addr)], link)
        if (e->addr == addr && e->port == port)
            return e;
    return NULL;
}

int arp_state(struct stack *st, const struct net_port *port, rte_be32_t addr)
{
    const struct arp_entry *e = find(st, port, addr);
    return e == NULL ? -1 : e->state;
}

static void entry_free(struct stack *st, struct arp_entry *e)
{
    wheel_disarm(&st->wheel, &e->timer);
    uint8_t n = e->pending;
    struct rte_mbuf *queue[ARP_PENDING_MAX];
    memcpy(queue, e->queue, n * sizeof queue[0]);
    LIST_REMOVE(e, link);
    st->arp->count--;
    free(e);
    for (uint8_t i = 0; i < n; i++) {
        if (st->arp->max > 0) /* 0: the end of the stack, nobody is to be told */
            icmp_no_neighbour(st, queue[i]);
        net_drop(st, queue[i], NET_ARP_UNRESOLVED);
    }
}

void arp_destroy(struct stack *st)
{
    if (st->arp != NULL)
        st->arp->max = 0;
    for (uint32_t i = 0; st->arp != NULL && i < ARP_BUCKETS; i++)
        while (!LIST_EMPTY(&st->arp->bucket[i]))
            entry_free(st, LIST_FIRST(&st->arp->bucket[i]));
    free(st->arp);
}

/* ---- Packets ---- */

static void send_arp_from(struct net_port *port, rte_be32_t sender, uint16_t op, const struct rte_ether_addr *eth_dst,
                          const struct rte_ether_addr *target_mac, rte_be32_t target)
{
    struct rte_mbuf *m = ip_alloc(port->stack);
    if (m == NULL)
        return;
    struct rte_ether_hdr *eth = (void *)rte_pktmbuf_append(m, sizeof *eth + sizeof(struct rte_arp_hdr));
    struct rte_arp_hdr *arp = (void *)(eth + 1);
    *eth = (struct rte_ether_hdr){*eth_dst, port->conf.mac, RTE_BE16(RTE_ETHER_TYPE_ARP)};
    arp->arp_hardware = RTE_BE16(RTE_ARP_HRD_ETHER);
    arp->arp_protocol = RTE_BE16(RTE_ETHER_TYPE_IPV4);
    arp->arp_hlen = RTE_ETHER_ADDR_LEN;
    arp->arp_plen = sizeof(rte_be32_t);
    arp->arp_opcode = rte_cpu_to_be_16(op);
    arp->arp_data = (struct rte_arp_ipv4){port->conf.mac, sender, *target_mac, target};
    port_send(port, m);
}

static void send_arp(struct net_port *port, uint16_t op, const struct rte_ether_addr *eth_dst,
                     const struct rte_ether_addr *target_mac, rte_be32_t target)
{
    send_arp_from(port, port->conf.addr, op, eth_dst, target_mac, target);
}

static const struct rte_ether_addr broadcast = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
static const struct rte_ether_addr unknown = {{0}};

static void announce_due(void *ctx, struct wheel_timer *t)
{
    struct net_port *port = (void *)((char *)t - offsetof(struct net_port, announce));
    struct stack *st = ctx;
    NET_COUNT(st, ARP_ANNOUNCED);
    send_arp(port, RTE_ARP_OP_REQUEST, &broadcast, &unknown, port->conf.addr);
    if (--port->announcements_left > 0)
        wheel_arm(&st->wheel, t, st->now + ARP_ANNOUNCE_INTERVAL_NS);
}

void arp_announce(struct net_port *port)
{
    wheel_disarm(&port->stack->wheel, &port->announce);
    port->announce.fire = announce_due;
    port->announcements_left = ARP_ANNOUNCE_NUM;
    announce_due(port->stack, &port->announce);
}

void arp_probe(struct net_port *port)
{
    NET_COUNT(port->stack, ARP_REQUESTS_TX);
    send_arp_from(port, 0, RTE_ARP_OP_REQUEST, &broadcast, &unknown, port->conf.addr);
}

/* ---- Cache ---- */

static void set_state(struct stack *st, struct arp_entry *e, enum arp_state state, uint64_t timeout)
{
    if (e->state != state)
        net_trace(st, "arp %08x: %s => %s", rte_be_to_cpu_32(e->addr), state_names[e->state], state_names[state]);
    e->state = (uint8_t)state;
    e->tries = 0;
    wheel_arm(&st->wheel, &e->timer, st->now + timeout);
}

static void ask(struct stack *st, struct arp_entry *e)
{
    e->tries++;
    NET_COUNT(st, ARP_REQUESTS_TX);
    send_arp(e->port, RTE_ARP_OP_REQUEST, e->state == ARP_PROBE ? &e->mac : &broadcast, &unknown, e->addr);
    wheel_arm(&st->wheel, &e->timer, st->now + ARP_RETRY_NS);
}

static void entry_due(void *ctx, struct wheel_timer *t)
{
    struct arp_entry *e = (struct arp_entry *)t;
    struct stack *st = ctx;
    switch ((enum arp_state)e->state) {
    case ARP_REACHABLE:
        set_state(st, e, ARP_STALE, ARP_STALE_NS);
        break;
    case ARP_STALE:
        entry_free(st, e);
        break;
    case ARP_INCOMPLETE:
    case ARP_PROBE:
        if (e->tries < ARP_RETRIES)
            ask(st, e);
        else
            entry_free(st, e);
        break;
    }
}

static struct arp_entry *entry_new(struct net_port *port, rte_be32_t addr)
{
    struct stack *st = port->stack;
    struct arp_entry *e = st->arp->count < st->arp->max ? calloc(1, sizeof *e) : NULL;
    if (e == NULL)
        return NULL;
    e->port = port;
    e->addr = addr;
    e->timer.fire = entry_due;
    LIST_INSERT_HEAD(&st->arp->bucket[bucket_of(addr)], e, link);
    st->arp->count++;
    return e;
}

static void send_to(struct net_port *port, struct rte_mbuf *m, const struct rte_ether_addr *mac)
{
    struct rte_ether_hdr *eth = (void *)rte_pktmbuf_prepend(m, sizeof *eth);
    if (eth == NULL) {
        net_drop(port->stack, m, NET_PKT_NO_MEMORY);
        return;
    }
    *eth = (struct rte_ether_hdr){*mac, port->conf.mac, RTE_BE16(RTE_ETHER_TYPE_IPV4)};
    m->l2_len = sizeof *eth;
    port_send(port, m);
}

static void enqueue(struct stack *st, struct arp_entry *e, struct rte_mbuf *m)
{
    m = net_own(st, m);
    if (m == NULL)
        return;
    if (e->pending == ARP_PENDING_MAX) {
        /* The newest packets are the ones worth keeping (RFC 1122 2.3.2.2). */
        net_drop(st, e->queue[0], NET_ARP_PENDING_FULL);
        memmove(e->queue, e->queue + 1, (ARP_PENDING_MAX - 1) * sizeof e->queue[0]);
        e->pending--;
    }
    e->queue[e->pending++] = m;
}

void arp_send(struct net_port *port, struct rte_mbuf *m, rte_be32_t hop)
{
    struct stack *st = port->stack;
    if (ip_is_broadcast(port, hop)) {
        send_to(port, m, &broadcast);
        return;
    }
    struct arp_entry *e = find(st, port, hop);
    if (e == NULL) {
        e = entry_new(port, hop);
        if (e == NULL) {
            net_drop(st, m, NET_ARP_TABLE_FULL);
            return;
        }
        enqueue(st, e, m);
        ask(st, e);
        return;
    }
    if (e->state == ARP_INCOMPLETE) {
        enqueue(st, e, m);
        return;
    }
    send_to(port, m, &e->mac);
    if (e->state == ARP_STALE) {
        set_state(st, e, ARP_PROBE, ARP_RETRY_NS);
        ask(st, e);
    }
}

static void confirmed(struct stack *st, struct arp_entry *e, const struct rte_ether_addr *mac)
{
    e->mac = *mac;
    set_state(st, e, ARP_REACHABLE, ARP_REACHABLE_NS);
    uint8_t n = e->pending;
    e->pending = 0;
    for (uint8_t i = 0; i < n; i++)
        send_to(e->port, e->queue[i], &e->mac);
}

/* Somebody else says that our address is his. Defend it, but not in a shouting match (RFC 5227 2.4 (b)). */
static void conflict(struct net_port *port, const struct rte_ether_addr *mac)
{
    struct stack *st = port->stack;
    NET_COUNT(st, ARP_CONFLICT);
    if (st->conf.conflict != NULL)
        st->conf.conflict(st->conf.trace_arg, port, mac);
    if (port->defended != 0 && st->now - port->defended < ARP_DEFEND_INTERVAL_NS)
        return;
    port->defended = st->now;
    NET_COUNT(st, ARP_ANNOUNCED);
    send_arp(port, RTE_ARP_OP_REQUEST, &broadcast, &unknown, port->conf.addr);
}

void arp_input(struct net_port *port, struct rte_mbuf *m)
{
    struct stack *st = port->stack;
    NET_COUNT(st, ARP_RX);
    const struct rte_arp_hdr *arp = rte_pktmbuf_mtod(m, const struct rte_arp_hdr *);
    bool bad = rte_pktmbuf_data_len(m) < sizeof *arp || arp->arp_hardware != RTE_BE16(RTE_ARP_HRD_ETHER) ||
               arp->arp_protocol != RTE_BE16(RTE_ETHER_TYPE_IPV4) || arp->arp_hlen != RTE_ETHER_ADDR_LEN ||
               arp->arp_plen != sizeof(rte_be32_t) || !rte_is_unicast_ether_addr(&arp->arp_data.arp_sha) ||
               rte_is_zero_ether_addr(&arp->arp_data.arp_sha);
    if (bad) {
        net_drop(st, m, NET_ARP_BAD);
        return;
    }
    struct rte_arp_ipv4 data = arp->arp_data;
    uint16_t op = rte_be_to_cpu_16(arp->arp_opcode);
    rte_pktmbuf_free(m);
    if (data.arp_sip == port->conf.addr) {
        if (!rte_is_same_ether_addr(&data.arp_sha, &port->conf.mac))
            conflict(port, &data.arp_sha);
        return;
    }
    /* An answer to a probe for our address (RFC 5227 2.1.1, sender address 0) is all that a sender outside of the
     * prefix gets; nothing is learned from it. */
    bool neighbour = ((data.arp_sip ^ port->conf.addr) & port->mask) == 0 && !ip_is_broadcast(port, data.arp_sip);
    struct arp_entry *e = neighbour ? find(st, port, data.arp_sip) : NULL;
    bool for_us = data.arp_tip == port->conf.addr;
    /* RFC 826's merge flag: refresh what we know; learn from what is for us. A reply nobody asked for creates nothing. */
    if (e == NULL && neighbour && for_us && op == RTE_ARP_OP_REQUEST)
        e = entry_new(port, data.arp_sip);
    if (e != NULL)
        confirmed(st, e, &data.arp_sha);
    if (for_us && op == RTE_ARP_OP_REQUEST && (neighbour || data.arp_sip == 0)) {
        NET_COUNT(st, ARP_REPLIES_TX);
        send_arp(port, RTE_ARP_OP_REPLY, &data.arp_sha, &data.arp_sha, data.arp_sip);
    }
}
