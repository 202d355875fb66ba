/* SPDX-License-Identifier: BSD-3-Clause
 * The table of neighbours: see neigh.h. */
#include "neigh.h"

#include <stdlib.h>

#include "arp.h"
#include "ipv6.h"

#define NEIGH_BUCKETS 1024u

struct neigh_table {
    uint32_t count[2], max; /* IPv4, IPv6 */
    LIST_HEAD(, neigh) bucket[NEIGH_BUCKETS];
};

static const char *const state_names[] = {
#define X(id, name) name,
    NEIGH_STATES(X)
#undef X
};

/* What the protocols count. */
static const struct {
    enum net_counter pending_full, unresolved, table_full, evicted, not_learned;
} family[2] = {
    {NET_ARP_PENDING_FULL, NET_ARP_UNRESOLVED, NET_ARP_TABLE_FULL, NET_ARP_EVICTED, NET_ARP_NOT_LEARNED},
    {NET_ND_PENDING_FULL, NET_ND_UNRESOLVED, NET_ND_TABLE_FULL, NET_ND_EVICTED, NET_ND_NOT_LEARNED},
};

static unsigned family_of(const struct ip_addr *a)
{
    return !ip_is_v4(a);
}

struct neigh_table *neigh_create(uint32_t max)
{
    struct neigh_table *t = calloc(1, sizeof *t);
    if (t != NULL)
        t->max = max;
    return t;
}

static uint32_t bucket_of(const struct ip_addr *a)
{
    return ip_hash(a) >> 22;
}

struct neigh *neigh_find(struct stack *st, const struct net_port *port, const struct ip_addr *addr)
{
    struct neigh *e;
    LIST_FOREACH(e, &st->neigh->bucket[bucket_of(addr)], link)
        if (ip_eq(&e->addr, addr) && e->port == port)
            return e;
    return NULL;
}

int neigh_state(struct stack *st, const struct net_port *port, const struct ip_addr *addr)
{
    const struct neigh *e = neigh_find(st, port, addr);
    return e == NULL ? -1 : e->state;
}

static void entry_free(struct stack *st, struct neigh *e)
{
    wheel_disarm(&st->wheel, &e->timer);
    struct net_port *port = e->port;
    unsigned f = family_of(&e->addr);
    uint8_t n = e->pending;
    struct rte_mbuf *queue[NEIGH_PENDING_MAX];
    memcpy(queue, e->queue, n * sizeof queue[0]);
    LIST_REMOVE(e, link);
    st->neigh->count[f]--;
    free(e);
    for (uint8_t i = 0; i < n; i++) {
        if (st->neigh->max > 0) /* 0: the end of the stack, nobody is to be told */
            ip_no_neighbour(port, queue[i]);
        net_drop(st, queue[i], family[f].unresolved);
    }
}

void neigh_destroy(struct stack *st)
{
    if (st->neigh != NULL)
        st->neigh->max = 0;
    for (uint32_t i = 0; st->neigh != NULL && i < NEIGH_BUCKETS; i++)
        while (!LIST_EMPTY(&st->neigh->bucket[i]))
            entry_free(st, LIST_FIRST(&st->neigh->bucket[i]));
    free(st->neigh);
}

static void set_state(struct stack *st, struct neigh *e, enum neigh_state state, uint64_t timeout)
{
    char text[IP_TEXT];
    if (e->state != state && st->conf.trace != NULL)
        net_trace(st, "neighbour %s: %s => %s", ip_text(&e->addr, text), state_names[e->state], state_names[state]);
    e->state = (uint8_t)state;
    e->tries = 0;
    wheel_arm(&st->wheel, &e->timer, st->now + timeout);
}

static void ask(struct stack *st, struct neigh *e)
{
    const struct rte_ether_addr *to = e->state == NEIGH_PROBE ? &e->mac : NULL;
    e->tries++;
    if (ip_is_v4(&e->addr))
        arp_ask(e->port, ip_to_v4(&e->addr), to);
    else
        nd_ask(e->port, &e->addr, to);
    wheel_arm(&st->wheel, &e->timer, st->now + NEIGH_RETRY_NS);
}

static void entry_due(void *ctx, struct wheel_timer *t)
{
    struct neigh *e = (struct neigh *)t;
    struct stack *st = ctx;
    switch ((enum neigh_state)e->state) {
    case NEIGH_REACHABLE:
        set_state(st, e, NEIGH_STALE, NEIGH_STALE_NS);
        break;
    case NEIGH_STALE:
        entry_free(st, e);
        break;
    case NEIGH_DELAY:
        set_state(st, e, NEIGH_PROBE, NEIGH_RETRY_NS);
        ask(st, e);
        break;
    case NEIGH_INCOMPLETE:
    case NEIGH_PROBE:
        if (e->tries < NEIGH_RETRIES)
            ask(st, e);
        else
            entry_free(st, e);
        break;
    }
}

/* The table is full: the neighbour that has been STALE for longest gives way, so that what a network once had does not keep
 * out what it has. Those in use stay, and those heard of lately: a flood of strangers does not turn the table over. */
static void evict(struct stack *st, unsigned f)
{
    struct neigh *e, *oldest = NULL;
    uint32_t latest = (uint32_t)((st->now + NEIGH_STALE_NS - NEIGH_EVICT_NS) / WHEEL_TICK_NS);
    for (uint32_t i = 0; i < NEIGH_BUCKETS; i++)
        LIST_FOREACH(e, &st->neigh->bucket[i], link)
            if (family_of(&e->addr) == f && e->state == NEIGH_STALE && wheel_tick_diff(e->timer.due, latest) <= 0 &&
                (oldest == NULL || wheel_tick_diff(e->timer.due, oldest->timer.due) < 0))
                oldest = e;
    if (oldest == NULL)
        return;
    st->counters[family[f].evicted]++;
    entry_free(st, oldest);
}

static struct neigh *neigh_new(struct net_port *port, const struct ip_addr *addr)
{
    struct stack *st = port->stack;
    unsigned f = family_of(addr);
    if (st->neigh->count[f] >= st->neigh->max)
        evict(st, f);
    struct neigh *e = st->neigh->count[f] < st->neigh->max ? calloc(1, sizeof *e) : NULL;
    if (e == NULL)
        return NULL;
    e->port = port;
    e->addr = *addr;
    e->timer.fire = entry_due;
    LIST_INSERT_HEAD(&st->neigh->bucket[bucket_of(addr)], e, link);
    st->neigh->count[f]++;
    return e;
}

struct neigh *neigh_met(struct net_port *port, const struct ip_addr *addr)
{
    struct neigh *e = neigh_find(port->stack, port, addr);
    if (e == NULL && (e = neigh_new(port, addr)) == NULL)
        port->stack->counters[family[family_of(addr)].not_learned]++;
    return e;
}

void neigh_link_up(const struct net_port *port)
{
    struct stack *st = port->stack;
    for (uint32_t i = 0; i < NEIGH_BUCKETS; i++) {
        struct neigh *e = LIST_FIRST(&st->neigh->bucket[i]);
        for (struct neigh *next; e != NULL; e = next) {
            next = LIST_NEXT(e, link);
            if (e->port != port)
                continue;
            if (e->state != NEIGH_INCOMPLETE) {
                entry_free(st, e);
                continue;
            }
            e->tries = 0;
            ask(st, e);
        }
    }
}

static void send_to(struct neigh *e, struct rte_mbuf *m)
{
    eth_send(e->port, m, &e->mac, ip_is_v4(&e->addr) ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
}

static void enqueue(struct stack *st, struct neigh *e, struct rte_mbuf *m)
{
    m = net_own(st, m);
    if (m == NULL)
        return;
    if (e->pending == NEIGH_PENDING_MAX) {
        /* The newest packets are the ones worth keeping (RFC 1122 2.3.2.2, 4861 7.2.2). */
        net_drop(st, e->queue[0], family[family_of(&e->addr)].pending_full);
        memmove(e->queue, e->queue + 1, (NEIGH_PENDING_MAX - 1) * sizeof e->queue[0]);
        e->pending--;
    }
    e->queue[e->pending++] = m;
}

void neigh_send(struct net_port *port, struct rte_mbuf *m, const struct ip_addr *hop)
{
    struct stack *st = port->stack;
    struct neigh *e = neigh_find(st, port, hop);
    if (e == NULL) {
        e = neigh_new(port, hop);
        if (e == NULL) {
            net_drop(st, m, family[family_of(hop)].table_full);
            return;
        }
        enqueue(st, e, m);
        ask(st, e);
        return;
    }
    if (e->state == NEIGH_INCOMPLETE) {
        enqueue(st, e, m);
        return;
    }
    send_to(e, m);
    if (e->state != NEIGH_STALE)
        return;
    if (ip_is_v4(&e->addr)) {
        set_state(st, e, NEIGH_PROBE, NEIGH_RETRY_NS);
        ask(st, e);
    } else {
        set_state(st, e, NEIGH_DELAY, NEIGH_ND_DELAY_NS); /* RFC 4861 7.3.3 */
    }
}

static void send_pending(struct neigh *e)
{
    uint8_t n = e->pending;
    e->pending = 0;
    for (uint8_t i = 0; i < n; i++)
        send_to(e, e->queue[i]);
}

void neigh_confirmed(struct stack *st, struct neigh *e, const struct rte_ether_addr *mac)
{
    /* RFC 4861 6.3.2: times 0.5 to 1.5, so that neighbours do not ask in step. */
    uint64_t nd = NEIGH_ND_REACHABLE_NS / 2 + net_random(st) % NEIGH_ND_REACHABLE_NS;
    e->mac = *mac;
    set_state(st, e, NEIGH_REACHABLE, ip_is_v4(&e->addr) ? NEIGH_ARP_REACHABLE_NS : nd);
    send_pending(e);
}

void neigh_heard(struct stack *st, struct neigh *e, const struct rte_ether_addr *mac)
{
    e->mac = *mac;
    set_state(st, e, NEIGH_STALE, NEIGH_STALE_NS);
    send_pending(e);
}

bool neigh_known(struct net_port *port, const struct ip_addr *addr, const struct rte_ether_addr *mac)
{
    struct stack *st = port->stack;
    struct neigh *e = neigh_met(port, addr);
    if (e == NULL)
        return false;
    if (mac != NULL && (e->state == NEIGH_INCOMPLETE || !rte_is_same_ether_addr(&e->mac, mac)))
        neigh_heard(st, e, mac);
    else if (e->state == NEIGH_INCOMPLETE && !e->timer.armed)
        ask(st, e); /* new */
    return e->state != NEIGH_INCOMPLETE;
}
