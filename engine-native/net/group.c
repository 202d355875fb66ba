/* SPDX-License-Identifier: BSD-3-Clause
 * Multicast groups: see group.h. */
#include "group.h"

#include <errno.h>
#include <stdlib.h>

#include "ipv4.h"
#include "ipv6.h"

static struct group *find(const struct net_port *port, const struct ip_addr *addr)
{
    struct group *g;
    LIST_FOREACH(g, &port->groups, link)
        if (ip_eq(&g->addr, addr))
            return g;
    return NULL;
}

static bool contains(const struct ip_addr *list, uint32_t n, const struct ip_addr *a)
{
    for (uint32_t i = 0; i < n; i++)
        if (ip_eq(&list[i], a))
            return true;
    return false;
}

bool group_accepts(const struct net_port *port, const struct ip_addr *group, const struct ip_addr *source)
{
    const struct group *g = find(port, group);
    return g != NULL && !LIST_EMPTY(&g->members) && contains(g->source, g->nsources, source) != g->exclude;
}

bool group_eth_ours(const struct net_port *port, const struct rte_ether_addr *mac)
{
    const struct group *g;
    LIST_FOREACH(g, &port->groups, link) {
        struct rte_ether_addr m = ip_is_v4(&g->addr) ? ip4_multicast_mac(ip_to_v4(&g->addr)) : ip6_multicast_mac(&g->addr);
        if (rte_is_same_ether_addr(&m, mac))
            return true;
    }
    return false;
}

uint32_t group_count(const struct net_port *port)
{
    uint32_t n = 0;
    const struct group *g;
    LIST_FOREACH(g, &port->groups, link)
        n++;
    return n;
}

/* ---- Reports ---- */

/* All hosts, all nodes, and what does not leave the host are not told of (RFC 3376 5, 3810 6). */
static bool is_reported(const struct ip_addr *a)
{
    return ip_is_v4(a) ? ip_to_v4(a) != RTE_BE32(0xe0000001) : !ip_eq(a, &ip6_all_nodes) && (a->b[1] & 15) > 1;
}

static void report(const struct group *g, enum group_record_type type)
{
    if (!is_reported(&g->addr))
        return;
    if (ip_is_v4(&g->addr))
        igmp_report(g->port, g, type);
    else
        mld_report(g->port, g, type);
}

static void group_free(struct group *g)
{
    wheel_disarm(&g->port->stack->wheel, &g->timer);
    LIST_REMOVE(g, link);
    g->port->ngroups--;
    free(g);
}

static void arm(struct group *g)
{
    struct wheel *w = &g->port->stack->wheel;
    uint64_t when = RTE_MIN(g->answer_at, g->change_at);
    if (when == UINT64_MAX)
        wheel_disarm(w, &g->timer);
    else
        wheel_arm(w, &g->timer, when);
}

static void due(void *ctx, struct wheel_timer *t)
{
    struct group *g = (struct group *)t;
    struct stack *st = ctx;
    if (g->change_at <= st->now) {
        report(g, g->exclude ? GROUP_TO_EXCLUDE : GROUP_TO_INCLUDE);
        g->change_at = --g->changes_left == 0 ? UINT64_MAX : st->now + net_random(st) % GROUP_AGAIN_NS + 1;
        if (g->changes_left == 0 && LIST_EMPTY(&g->members)) {
            group_free(g);
            return;
        }
    }
    if (g->answer_at <= st->now) {
        g->answer_at = UINT64_MAX;
        g->quiet_until = st->now + GROUP_ANSWERS_APART_NS;
        if (!LIST_EMPTY(&g->members))
            report(g, g->exclude ? GROUP_IS_EXCLUDE : GROUP_IS_INCLUDE);
    }
    arm(g);
}

/* ---- The interface's state ---- */

/* RFC 3376 3.2: excluded is what all exclude and nobody includes; without a member that excludes, all that is included. What has
 * no room among the sources is received all the same: sockets filter for themselves. */
static void merge(const struct group *g, bool *exclude, struct ip_addr *source, uint32_t *n)
{
    const struct group_member *m, *first = NULL;
    *n = 0;
    LIST_FOREACH(m, &g->members, link)
        if (m->exclude && (first == NULL || m->nsources < first->nsources))
            first = m;
    *exclude = first != NULL;
    if (first == NULL) {
        LIST_FOREACH(m, &g->members, link)
            for (uint32_t i = 0; i < m->nsources; i++) {
                if (contains(source, *n, &m->source[i]))
                    continue;
                if (*n == NET_GROUP_SOURCES_MAX) {
                    *exclude = true;
                    *n = 0;
                    return;
                }
                source[(*n)++] = m->source[i];
            }
        return;
    }
    for (uint32_t i = 0; i < first->nsources; i++) {
        bool wanted = false;
        LIST_FOREACH(m, &g->members, link)
            wanted = wanted || contains(m->source, m->nsources, &first->source[i]) != m->exclude;
        if (!wanted)
            source[(*n)++] = first->source[i];
    }
}

static void tell_all(struct group *g)
{
    struct stack *st = g->port->stack;
    g->changes_left = GROUP_ROBUSTNESS;
    g->change_at = st->now;
    due(st, &g->timer);
}

static void changed(struct group *g)
{
    struct ip_addr source[NET_GROUP_SOURCES_MAX];
    uint32_t n;
    bool exclude;
    merge(g, &exclude, source, &n);
    bool equal = exclude == g->exclude && n == g->nsources;
    for (uint32_t i = 0; equal && i < n; i++)
        equal = contains(g->source, n, &source[i]);
    g->exclude = exclude;
    g->nsources = n;
    memcpy(g->source, source, n * sizeof source[0]);
    if (!equal)
        tell_all(g);
}

static struct group *group_new(struct net_port *port, const struct ip_addr *addr)
{
    struct group *g = port->ngroups < NET_GROUPS_MAX ? calloc(1, sizeof *g) : NULL;
    if (g == NULL) {
        NET_COUNT(port->stack, GROUP_TABLE_FULL);
        return NULL;
    }
    g->port = port;
    g->addr = *addr;
    g->timer.fire = due;
    g->answer_at = g->change_at = UINT64_MAX;
    LIST_INSERT_HEAD(&port->groups, g, link);
    port->ngroups++;
    return g;
}

static struct group_member *member_of(struct group *g, const void *who, bool create)
{
    struct group_member *m;
    LIST_FOREACH(m, &g->members, link)
        if (m->who == who)
            return m;
    m = create ? calloc(1, sizeof *m) : NULL;
    if (m == NULL)
        return NULL;
    m->who = who;
    LIST_INSERT_HEAD(&g->members, m, link);
    return m;
}

int group_set(struct net_port *port, const struct ip_addr *addr, const void *who, bool exclude, const struct ip_addr *source, uint32_t n,
              uint64_t now)
{
    struct group *g = find(port, addr);
    bool leaves = !exclude && n == 0;
    net_at(port->stack, now);
    if (!ip_is_group(addr) || n > GROUP_MEMBER_SOURCES_MAX)
        return -EINVAL;
    if (g == NULL && leaves)
        return 0;
    if (g == NULL && (g = group_new(port, addr)) == NULL)
        return -ENOBUFS;
    struct group_member *m = member_of(g, who, !leaves);
    if (m == NULL) {
        if (LIST_EMPTY(&g->members) && g->changes_left == 0)
            group_free(g);
        return leaves ? 0 : -ENOBUFS;
    }
    m->exclude = exclude;
    m->nsources = n;
    if (n > 0)
        memcpy(m->source, source, n * sizeof *source);
    if (leaves) {
        LIST_REMOVE(m, link);
        free(m);
    }
    changed(g);
    return 0;
}

void groups_destroy(struct net_port *port)
{
    while (!LIST_EMPTY(&port->groups)) {
        struct group *g = LIST_FIRST(&port->groups);
        while (!LIST_EMPTY(&g->members)) {
            struct group_member *m = LIST_FIRST(&g->members);
            LIST_REMOVE(m, link);
            free(m);
        }
        group_free(g);
    }
}

void groups_link_up(struct net_port *port)
{
    struct group *g;
    LIST_FOREACH(g, &port->groups, link)
        tell_all(g);
}

/* ---- Queries ---- */

void group_query(struct net_port *port, bool v6, const struct ip_addr *group, uint64_t delay)
{
    struct stack *st = port->stack;
    struct group *g;
    LIST_FOREACH(g, &port->groups, link) {
        if (ip_is_v4(&g->addr) == v6 || (group != NULL && !ip_eq(&g->addr, group)) || LIST_EMPTY(&g->members))
            continue;
        uint64_t when = RTE_MAX(st->now + net_random(st) % (delay + 1), g->quiet_until);
        g->answer_at = RTE_MIN(g->answer_at, when);
        arm(g);
    }
}

void group_heard(struct net_port *port, const struct ip_addr *group)
{
    struct group *g = find(port, group);
    if (g == NULL)
        return;
    g->answer_at = UINT64_MAX;
    arm(g);
}
