/* SPDX-License-Identifier: BSD-3-Clause
 * Reassembly of both protocols' fragments (RFC 791 3.2, 1122 3.3.2, 8200 4.5). DPDK's rte_ip_frag takes at most RTE_LIBRTE_IP_FRAG_MAX_FRAG (8 in the usual
 * build) fragments, which is 12 KiB of a datagram that may have 64: so the stack has its own, bounded in bytes of buffers, in
 * time, and strict: a fragment that overlaps another ends the whole datagram (RFC 5722 for IPv6; IPv4 has no use for
 * overlaps but attacks, RFC 1858). */
#include <stdlib.h>

#include "ipv4.h"
#include "ipv6.h"

#define REASS_TIMEOUT4_NS (30 * NET_NS_PER_S)
#define REASS_TIMEOUT6_NS (60 * NET_NS_PER_S) /* RFC 8200 4.5 */
#define REASS_BUCKETS 256u
#define NO_TOTAL UINT32_MAX

/* Kept in the dead space before a queued fragment's payload: its Ethernet and IPv4 headers. */
struct frag {
    struct rte_mbuf *next;
    uint16_t offset, len;
};
_Static_assert(sizeof(struct frag) + _Alignof(struct frag) <= sizeof(struct rte_ether_hdr) + sizeof(struct rte_ipv4_hdr),
               "fits into the headers");

struct datagram {
    struct wheel_timer timer; /* first, see datagram_due() */
    LIST_ENTRY(datagram) link;
    TAILQ_ENTRY(datagram) age;
    struct reass_key key;
    struct rte_mbuf *first; /* by offset */
    uint32_t have, total;   /* payload bytes; total NO_TOTAL until the last fragment came */
    uint32_t charged;       /* bytes of buffers */
    struct reass_frag head; /* of the fragment at offset 0, with the header to quote; head_len 0 until it came */
};

struct reass_table {
    uint32_t bytes;
    TAILQ_HEAD(, datagram) by_age; /* oldest first */
    LIST_HEAD(, datagram) bucket[REASS_BUCKETS];
};

struct reass_table *reass_create(void)
{
    struct reass_table *t = calloc(1, sizeof *t);
    if (t != NULL)
        TAILQ_INIT(&t->by_age);
    return t;
}

static struct frag *frag_of(struct rte_mbuf *m)
{
    uintptr_t at = rte_pktmbuf_mtod(m, uintptr_t) - sizeof(struct frag);
    return (struct frag *)(at & ~(uintptr_t)(_Alignof(struct frag) - 1));
}

static bool same_datagram(const struct reass_key *a, const struct reass_key *b)
{
    return a->id == b->id && a->proto == b->proto && ip_eq(&a->src, &b->src) && ip_eq(&a->dst, &b->dst);
}

static uint32_t bucket_of(const struct reass_key *k)
{
    uint32_t h = k->src.w[0] ^ k->src.w[1] ^ k->src.w[3] ^ k->dst.w[3] ^ k->id << 8 ^ k->id >> 24 ^ k->proto;
    return (h * 0x9e3779b1u) >> 24;
}

/* Forgets a datagram; its fragments are dropped for `why`. */
static void forget(struct stack *st, struct datagram *d, enum net_counter why)
{
    struct rte_mbuf *m = d->first;
    while (m != NULL) {
        struct rte_mbuf *next = frag_of(m)->next;
        net_drop(st, m, why);
        m = next;
    }
    wheel_disarm(&st->wheel, &d->timer);
    st->reass->bytes -= d->charged;
    TAILQ_REMOVE(&st->reass->by_age, d, age);
    LIST_REMOVE(d, link);
    free(d);
}

void reass_destroy(struct stack *st)
{
    while (st->reass != NULL && !TAILQ_EMPTY(&st->reass->by_age))
        forget(st, TAILQ_FIRST(&st->reass->by_age), NET_FRAG_TIMEOUT);
    free(st->reass);
}

static void datagram_due(void *ctx, struct wheel_timer *t)
{
    struct datagram *d = (struct datagram *)t;
    struct stack *st = ctx;
    /* RFC 1122 3.3.2, 8200 4.5: tell the sender, if the first fragment is here to be quoted. */
    if (d->head.head_len != 0 && ip_is_v4(&d->key.dst))
        icmp_error(st, ICMP_TIME_EXCEEDED, ICMP_EXCEEDED_REASSEMBLY, (const void *)d->head.head,
                   rte_pktmbuf_mtod(d->first, const void *), rte_pktmbuf_data_len(d->first));
    else if (d->head.head_len != 0)
        icmp6_reassembly_timeout(st, d->first, &d->head);
    forget(st, d, NET_FRAG_TIMEOUT);
}

static struct datagram *find_or_new(struct stack *st, const struct reass_key *key)
{
    struct datagram *d;
    LIST_FOREACH(d, &st->reass->bucket[bucket_of(key)], link)
        if (same_datagram(&d->key, key))
            return d;
    d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    d->key = *key;
    d->total = NO_TOTAL;
    d->timer.fire = datagram_due;
    LIST_INSERT_HEAD(&st->reass->bucket[bucket_of(key)], d, link);
    TAILQ_INSERT_TAIL(&st->reass->by_age, d, age);
    wheel_arm(&st->wheel, &d->timer, st->now + (ip_is_v4(&key->dst) ? REASS_TIMEOUT4_NS : REASS_TIMEOUT6_NS));
    return d;
}

enum placed { PLACED, DUPLICATE, OVERLAP };

static enum placed place(struct datagram *d, struct rte_mbuf *m, uint16_t offset, uint16_t len)
{
    struct rte_mbuf **at = &d->first;
    uint32_t end = 0; /* of the fragment before */
    while (*at != NULL && frag_of(*at)->offset < offset) {
        end = (uint32_t)frag_of(*at)->offset + frag_of(*at)->len;
        at = &frag_of(*at)->next;
    }
    if (*at != NULL && frag_of(*at)->offset == offset && frag_of(*at)->len == len)
        return DUPLICATE; /* the network's doing; no reason to suspect anybody */
    if (end > offset || (*at != NULL && (uint32_t)offset + len > frag_of(*at)->offset))
        return OVERLAP;
    *frag_of(m) = (struct frag){*at, offset, len};
    *at = m;
    return PLACED;
}

/* Joins the fragments into one packet. */
static struct rte_mbuf *join(struct datagram *d)
{
    struct rte_mbuf *head = d->first, *m = frag_of(head)->next;
    while (m != NULL) {
        struct rte_mbuf *next = frag_of(m)->next;
        if (rte_pktmbuf_chain(head, m) != 0) { /* more segments than an mbuf can count: cannot be with 64 KiB / 8 */
            d->first = m;
            rte_pktmbuf_free(head);
            return NULL;
        }
        m = next;
    }
    d->first = NULL;
    return head;
}

static bool add(struct stack *st, struct datagram *d, struct ip_pkt *p, uint16_t offset, bool more)
{
    uint32_t end = (uint32_t)offset + p->len;
    bool inconsistent = d->total != NO_TOTAL && (more ? end > d->total : end != d->total);
    switch (inconsistent ? OVERLAP : place(d, p->m, offset, p->len)) {
    case DUPLICATE:
        net_drop(st, p->m, NET_FRAG_BAD);
        return false;
    case OVERLAP:
        net_drop(st, p->m, NET_FRAG_OVERLAP);
        forget(st, d, NET_FRAG_OVERLAP);
        return false;
    case PLACED:
        break;
    }
    if (!more)
        d->total = end;
    d->have += p->len;
    d->charged += p->m->buf_len;
    st->reass->bytes += p->m->buf_len;
    return true;
}

bool reass_input(struct stack *st, struct ip_pkt *p, const struct reass_frag *f, struct reass_frag *first)
{
    if (p->len == 0 || (f->more && p->len % 8 != 0) || f->offset + p->len + f->before > UINT16_MAX) {
        net_drop(st, p->m, NET_FRAG_BAD);
        return false;
    }
    struct datagram *d = find_or_new(st, &f->key);
    if (d == NULL) {
        net_drop(st, p->m, NET_FRAG_LIMIT);
        return false;
    }
    if (!add(st, d, p, (uint16_t)f->offset, f->more))
        return false;
    if (f->offset == 0)
        d->head = *f;
    if (d->have == d->total) {
        p->m = join(d);
        p->len = (uint16_t)d->total;
        if (first != NULL)
            *first = d->head;
        forget(st, d, NET_FRAG_BAD);
        if (p->m != NULL)
            NET_COUNT(st, IP_REASSEMBLED);
        return p->m != NULL;
    }
    while (st->reass->bytes > st->conf.reass_max_bytes)
        forget(st, TAILQ_FIRST(&st->reass->by_age), NET_FRAG_LIMIT);
    return false;
}
