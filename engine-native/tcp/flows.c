/* SPDX-License-Identifier: BSD-3-Clause
 * Connections by flow: a hash table of chains that lead through the connections, with as many buckets as there may be connections.
 * So a chain has two of them on average when the table is full, and an idle connection costs two pointers here. Who chooses his
 * ports and addresses cannot choose the bucket: the hash begins with a secret. */
#include <rte_jhash.h>
#include <rte_prefetch.h>
#include <stdlib.h>

#include "tcp_conn.h"

/* Three words of IPv4 are what differs between its flows. */
static uint32_t place(const struct tcp_flows *t, const struct tcp_flow *f)
{
    uint32_t ports, hash;
    memcpy(&ports, &f->local_port, sizeof ports);
    hash = ip_is_v4(&f->remote_ip) ? rte_jhash_3words(ip_to_v4(&f->local_ip), ip_to_v4(&f->remote_ip), ports, t->key)
                                   : rte_jhash(f, sizeof *f, t->key);
    return hash & t->mask;
}

static bool same(const struct tcp_flow *a, const struct tcp_flow *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* `most` connections at most, though more only make chains longer; `key` is secret. */
bool tcp_flows_create(struct tcp_flows *t, uint32_t most, uint32_t key)
{
    uint32_t n = rte_align32pow2(RTE_MAX(most, 64u));
    *t = (struct tcp_flows){.bucket = calloc(n, sizeof *t->bucket), .mask = n - 1, .key = key};
    return t->bucket != NULL;
}

void tcp_flows_destroy(struct tcp_flows *t)
{
    free(t->bucket);
    *t = (struct tcp_flows){0};
}

void tcp_flows_add(struct tcp_flows *t, struct tcp_conn *c)
{
    struct tcp_conn **head = &t->bucket[place(t, &c->flow)];
    c->bucket_next = *head;
    *head = c;
}

void tcp_flows_remove(struct tcp_flows *t, struct tcp_conn *c)
{
    struct tcp_conn **at = &t->bucket[place(t, &c->flow)];
    while (*at != NULL && *at != c)
        at = &(*at)->bucket_next;
    if (*at != NULL)
        *at = c->bucket_next;
}

struct tcp_conn *tcp_flows_any(const struct tcp_flows *t, uint32_t *bucket)
{
    while (*bucket < t->mask && t->bucket[*bucket] == NULL)
        ++*bucket;
    return t->bucket[*bucket];
}

static struct tcp_conn *in_chain(struct tcp_conn *c, const struct tcp_flow *flow)
{
    while (c != NULL && !same(&c->flow, flow))
        c = c->bucket_next;
    return c;
}

struct tcp_conn *tcp_flows_find(const struct tcp_flows *t, const struct tcp_flow *flow)
{
    return in_chain(t->bucket[place(t, flow)], flow);
}

void tcp_flows_find_all(const struct tcp_flows *t, const struct tcp_flow *flow, uint32_t n, struct tcp_conn **out)
{
    uint32_t at[TCP_BURST];
    for (uint32_t i = 0; i < n; i++) {
        at[i] = place(t, &flow[i]);
        rte_prefetch0(&t->bucket[at[i]]);
    }
    for (uint32_t i = 0; i < n; i++)
        if ((out[i] = t->bucket[at[i]]) != NULL)
            rte_prefetch0(&out[i]->bucket_next);
    for (uint32_t i = 0; i < n; i++)
        out[i] = in_chain(out[i], &flow[i]);
}
