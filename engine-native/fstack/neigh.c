/* SPDX-License-Identifier: BSD-3-Clause
 * Next hops that nobody answers for. Of IPv4 FreeBSD asks for a link address once for each packet that wants it, keeps the packets for
 * 20 s and drops them silently; of IPv6 it asks three times, and its error to our own address gets lost in libfstack. Here what it asks
 * for is seen as it leaves; of IPv4 it is asked for again; and after three questions in as many seconds (Linux's mcast_solicit and
 * retrans_time) those who sent are told. */
#define _GNU_SOURCE
#include <errno.h>
#include <time.h>
#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <rte_arp.h>
#include <stdlib.h>
#include <string.h>

#include "bsd_route.h"
#include "ip.h"
#include "route.h"

#define ASK_NS NS_PER_S
#define ASK_MAX 3u
#define QUOTES_MAX 16u /* of one next hop, as many packets as FreeBSD keeps (net.link.ether.inet.maxhold) */
#define QUOTE4_MAX (576u - 20u - 8u - 20u - 8u) /* payload in an ICMP error of RFC 1812 4.3.2.3 */
#define QUOTE6_MAX (1280u - 40u - 8u - 40u - 8u) /* RFC 4443 2.4 (c) */
#define KNOWN_NS NS_PER_S

struct arp_frame {
    struct rte_ether_hdr eth;
    struct rte_arp_hdr arp;
};
_Static_assert(sizeof(struct arp_frame) == 42, "no padding");

struct ns_frame {
    struct rte_ether_hdr eth;
    struct rte_ipv6_hdr ip;
    uint8_t type, code;
    rte_be16_t cksum, reserved[2];
    uint8_t target[16];
} __attribute__((packed, aligned(2)));

/* ---- Where a datagram goes ---- */

static bool is_group(const struct ip_addr *a)
{
    return ip_is_v4(a) ? (a->b[12] & 0xf0) == 0xe0 || a->w[3] == UINT32_MAX : a->b[0] == 0xff;
}

/* Goes by this route of a port if that is longer than what was found before. */
static void prefer(const struct ip_addr *dst, const struct net_route *r, uint32_t port, int *longest, struct fs_hop *hop)
{
    if (ip_is_v4(&r->prefix) != ip_is_v4(dst) || r->len <= *longest || !ip_prefix_matches(&r->prefix, r->len, dst))
        return;
    *longest = r->len;
    *hop = (struct fs_hop){.addr = ip_is_any(&r->hop) ? *dst : r->hop, .port = port};
}

static void prefer_own(const struct ip_addr *dst, const struct net_port_conf *c, uint32_t port, int *longest, struct fs_hop *hop)
{
    const struct net_route four = {.prefix = ip_from_v4(c->addr), .len = (uint8_t)(96 + c->prefix_len)};
    const struct net_route four_all = {.prefix = ip_from_v4(0), .hop = ip_from_v4(c->gateway), .len = 96};
    const struct net_route six = {.prefix = c->addr6, .len = c->prefix6_len}, six_all = {.hop = c->gateway6};
    prefer(dst, &four, port, longest, hop);
    if (c->gateway != 0)
        prefer(dst, &four_all, port, longest, hop);
    if (c->has6 && !ip_is_any(&c->addr6))
        prefer(dst, &six, port, longest, hop);
    if (c->has6 && !ip_is_any(&c->gateway6))
        prefer(dst, &six_all, port, longest, hop);
    for (uint32_t i = 0; i < c->nroutes; i++)
        prefer(dst, &c->route[i], port, longest, hop);
}

struct fs_hop fs_next_hop(const struct fstack *fs, const struct zs_addr *remote)
{
    struct fs_hop hop = {.port = 0};
    struct ip_addr dst;
    int longest = -1;
    uint32_t scope = ZS_WIRE_SCOPE_PORT(remote->scope_id);
    memcpy(dst.b, remote->ip, sizeof dst.b);
    if (is_group(&dst))
        return hop;
    if (ip6_is_link_local(&dst))
        return (struct fs_hop){.addr = dst, .port = scope <= fs->nports ? scope : 0};
    for (uint32_t i = 0; i < fs->nports; i++)
        prefer_own(&dst, &fs->device[i].at.conf, i + 1, &longest, &hop);
    for (uint32_t i = 0; i < fs->nlearned; i++) {
        const struct fs_learned *l = &fs->learned[i];
        const struct net_route r = {.prefix = l->addr, .hop = l->hop, .len = l->prefix_len};
        if (!l->own)
            prefer(&dst, &r, l->port, &longest, &hop);
    }
    return hop;
}

static bool same_hop(const struct fs_hop *a, const struct fs_hop *b)
{
    return a->port == b->port && ip_eq(&a->addr, &b->addr);
}

/* The address that a datagram has as its source when its socket is bound to none. */
static struct ip_addr source(const struct fstack *fs, const struct fs_hop *hop)
{
    const struct net_port_conf *c = &fs->device[hop->port - 1].at.conf;
    const struct fs_learned *l = fs_ra_address(fs, hop->port);
    return ip_is_v4(&hop->addr) ? ip_from_v4(c->addr) : l != NULL && ip_is_any(&c->addr6) ? l->addr : c->addr6;
}

/* ---- What is looked for ---- */

static struct fs_sought *sought_at(struct fstack *fs, const struct fs_hop *hop)
{
    for (uint32_t i = 0; i < fs->nsought; i++)
        if (same_hop(&fs->sought[i].hop, hop))
            return &fs->sought[i];
    return NULL;
}

static void forget(struct fstack *fs, struct fs_sought *s)
{
    while (!STAILQ_EMPTY(&s->quotes)) {
        struct fs_quote *q = STAILQ_FIRST(&s->quotes);
        STAILQ_REMOVE_HEAD(&s->quotes, link);
        free(q);
    }
    struct fs_sought *last = &fs->sought[--fs->nsought];
    if (s == last)
        return;
    *s = *last;
    STAILQ_INIT(&s->quotes);
    STAILQ_CONCAT(&s->quotes, &last->quotes);
}

/* What a frame asks for: the link address of somebody else. */
static bool question(const struct fs_device *d, const struct rte_mbuf *m, struct fs_hop *hop)
{
    const struct ns_frame *n = rte_pktmbuf_mtod(m, const struct ns_frame *);
    const struct arp_frame *f = rte_pktmbuf_mtod(m, const struct arp_frame *);
    const struct rte_arp_ipv4 *a = &f->arp.arp_data;
    static const uint8_t nobody[16];
    hop->port = (uint32_t)(d - d->fs->device) + 1;
    if (m->data_len >= sizeof *f && f->eth.ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP)) {
        hop->addr = ip_from_v4(a->arp_tip);
        return f->arp.arp_opcode == rte_cpu_to_be_16(RTE_ARP_OP_REQUEST) && a->arp_sip == d->at.conf.addr && a->arp_tip != a->arp_sip;
    }
    if (m->data_len < sizeof *n || n->eth.ether_type != rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6) || n->ip.proto != IPPROTO_ICMPV6)
        return false;
    memcpy(hop->addr.b, n->target, sizeof hop->addr.b);
    return n->type == ND_NEIGHBOR_SOLICIT && memcmp(n->ip.src_addr, nobody, sizeof nobody) != 0;
}

void fs_neigh_sniff(struct fs_device *d, struct rte_mbuf *const *frames, uint16_t n)
{
    struct fstack *fs = d->fs;
    for (uint16_t i = 0; i < n && fs->nsought < FS_SOUGHT_MAX; i++) {
        struct fs_hop hop;
        if (!question(d, frames[i], &hop) || sought_at(fs, &hop) != NULL)
            continue;
        struct fs_sought *s = &fs->sought[fs->nsought++];
        *s = (struct fs_sought){.hop = hop, .asked = 1, .next = fs->now + ASK_NS};
        STAILQ_INIT(&s->quotes);
        fs->neigh_look = fs->nsought == 1 ? s->next : RTE_MIN(fs->neigh_look, s->next);
    }
}

static void ask(struct fs_device *d, rte_be32_t addr)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(d->fs->rx.pool);
    struct arp_frame *f = m == NULL ? NULL : (struct arp_frame *)rte_pktmbuf_append(m, sizeof *f);
    if (f == NULL) {
        rte_pktmbuf_free(m);
        return;
    }
    *f = (struct arp_frame){
        .eth = {.src_addr = d->at.conf.mac, .ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP)},
        .arp = {.arp_hardware = rte_cpu_to_be_16(RTE_ARP_HRD_ETHER), .arp_protocol = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4),
                .arp_hlen = RTE_ETHER_ADDR_LEN, .arp_plen = 4, .arp_opcode = rte_cpu_to_be_16(RTE_ARP_OP_REQUEST),
                .arp_data = {.arp_sha = d->at.conf.mac, .arp_sip = d->at.conf.addr, .arp_tip = addr}}};
    memset(&f->eth.dst_addr, 0xff, sizeof f->eth.dst_addr);
    if (d->at.conf.ops->tx_burst(d->at.conf.dev, &m, 1) == 0)
        rte_pktmbuf_free(m); /* a full ring: the next question may have room */
}

/* ---- Who is told ---- */

static void tell(struct fstack *fs, const struct fs_sought *s, const struct fs_quote *q)
{
    bool v4 = ip_is_v4(&s->hop.addr);
    struct ip_addr self = source(fs, &s->hop);
    struct wire_error e = {.local = q->local, .remote = q->remote, .offender = {.family = v4 ? AF_INET : AF_INET6}, .err = EHOSTUNREACH,
                           .origin = v4 ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6, .type = v4 ? ICMP_DEST_UNREACH : ICMP6_DST_UNREACH,
                           .code = v4 ? ICMP_HOST_UNREACH : ICMP6_DST_UNREACH_ADDR, .data = q->data, .len = q->len};
    memcpy(e.offender.ip, self.b, sizeof e.offender.ip);
    fs->events->unreachable(fs->engine, &e);
}

static uint32_t slot(const struct fs_hop *hop)
{
    return (hop->addr.w[2] ^ rte_be_to_cpu_32(hop->addr.w[3]) ^ hop->port) % FS_KNOWN;
}

static void give_up(struct fstack *fs, struct fs_sought *s)
{
    const struct fs_quote *q;
    struct fs_hop hop = s->hop;
    if (ip_is_v4(&hop.addr))
        fs_neighbour_forget(&fs->device[hop.port - 1], ip_to_v4(&hop.addr));
    fs->known[slot(&hop)].until = 0;
    fs->unresolved++;
    STAILQ_FOREACH(q, &s->quotes, link)
        tell(fs, s, q);
    forget(fs, s);
    for (struct fs_conn *c = LIST_FIRST(&fs->conns), *next; c != NULL; c = next) {
        next = LIST_NEXT(c, link);
        if (c->connecting && same_hop(&c->hop, &hop))
            fs_conn_end(c, EHOSTUNREACH);
    }
}

static void mark_resolved(void *arg, const struct fs_route_entry *e)
{
    struct fstack *fs = arg;
    for (uint32_t i = 0; e->resolved && i < fs->nsought; i++) {
        struct fs_sought *s = &fs->sought[i];
        s->resolved = s->resolved || (ip_eq(&s->hop.addr, &e->addr) && fs->device[s->hop.port - 1].ifindex == e->ifindex);
    }
}

void fs_neigh_run(struct fstack *fs)
{
    if (fs->nsought == 0 || fs->now < fs->neigh_look)
        return;
    /* A question is due: is there an answer? */
    fs->neigh_look = fs->now + TICK_NS;
    if (!fs_route_walk(FS_NEIGHBOURS4, mark_resolved, fs) || !fs_route_walk(FS_NEIGHBOURS6, mark_resolved, fs))
        return;
    fs->neigh_look = UINT64_MAX;
    for (uint32_t i = 0; i < fs->nsought;) {
        struct fs_sought *s = &fs->sought[i];
        bool due = fs->now >= s->next;
        if (s->resolved) {
            forget(fs, s); /* the last one is here now */
        } else if (due && s->asked >= ASK_MAX) {
            give_up(fs, s);
        } else {
            if (due && ip_is_v4(&s->hop.addr))
                ask(&fs->device[s->hop.port - 1], ip_to_v4(&s->hop.addr));
            s->asked += due;
            s->next += due ? ASK_NS : 0;
            fs->neigh_look = RTE_MIN(fs->neigh_look, s->next);
            i++;
        }
    }
}

uint64_t fs_neigh_next(const struct fstack *fs)
{
    return fs->nsought > 0 ? fs->neigh_look : UINT64_MAX;
}

/* Keeps the beginning of a datagram; of too many the oldest goes, as FreeBSD has it. */
static void keep(struct fs_sought *s, struct fs_quote *q)
{
    if (s->nquotes == QUOTES_MAX) {
        struct fs_quote *oldest = STAILQ_FIRST(&s->quotes);
        STAILQ_REMOVE_HEAD(&s->quotes, link);
        free(oldest);
        s->nquotes--;
    }
    STAILQ_INSERT_TAIL(&s->quotes, q, link);
    s->nquotes++;
}

void fs_neigh_sent(struct fs_udp *u, const struct zs_addr *remote, const void *data, uint32_t len)
{
    struct fstack *fs = u->sock.fs;
    struct fs_hop hop = fs_next_hop(fs, remote);
    if (hop.port == 0)
        return;
    struct fs_known *k = &fs->known[slot(&hop)];
    if (!same_hop(&k->hop, &hop) || fs->now >= k->until) {
        fs_flush(fs); /* a question leaves, if there is one */
        *k = (struct fs_known){.hop = hop, .until = fs->now + KNOWN_NS};
    }
    struct fs_sought *s = fs->nsought == 0 ? NULL : sought_at(fs, &hop);
    uint32_t room = RTE_MIN(len, ip_is_v4(&hop.addr) ? QUOTE4_MAX : QUOTE6_MAX);
    struct fs_quote *q = s == NULL ? NULL : malloc(sizeof *q + room);
    if (q == NULL)
        return;
    *q = (struct fs_quote){.local = u->local, .remote = *remote, .len = room};
    memcpy(q->data, data, room);
    if (zs_addr_is_any(u->local.ip)) {
        struct ip_addr self = source(fs, &hop);
        memcpy(q->local.ip, self.b, sizeof q->local.ip);
    }
    keep(s, q);
}

void fs_neigh_close(struct fstack *fs)
{
    while (fs->nsought > 0)
        forget(fs, &fs->sought[0]);
}
