/* SPDX-License-Identifier: BSD-3-Clause
 * UDP: see udp.h. */
#include "udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_udp.h>
#include <stdlib.h>

#include "ipv4.h"

#define UDP_BUCKETS 4096u

struct udp_sock {
    LIST_ENTRY(udp_sock) link;
    struct udp_addr local, remote; /* remote.port 0: not connected */
    const struct udp_sock_ops *ops;
    void *arg;
};

struct udp_table {
    LIST_HEAD(udp_list, udp_sock) bucket[UDP_BUCKETS]; /* by local port */
};

struct udp_table *udp_create(void)
{
    return calloc(1, sizeof(struct udp_table));
}

void udp_destroy(struct stack *st)
{
    for (uint32_t i = 0; st->udp != NULL && i < UDP_BUCKETS; i++)
        while (!LIST_EMPTY(&st->udp->bucket[i]))
            udp_close(st, LIST_FIRST(&st->udp->bucket[i]));
    free(st->udp);
}

static struct udp_list *bucket_of(struct stack *st, rte_be16_t port)
{
    return &st->udp->bucket[rte_be_to_cpu_16(port) % UDP_BUCKETS];
}

static bool is_broadcast(const struct stack *st, const struct ip_addr *a)
{
    for (uint32_t i = 0; i < st->ports && ip_is_v4(a); i++)
        if (ip4_is_broadcast(st->port[i], ip_to_v4(a)))
            return true;
    return false;
}

int udp_open(struct stack *st, struct udp_addr local, const struct udp_sock_ops *ops, void *arg, struct udp_sock **sock)
{
    struct udp_sock *s;
    if (local.port == 0 || (!ip_is_any(&local.ip) && !ip_is_group(&local.ip) && ip_our_port(st, &local.ip) == NULL &&
                            !is_broadcast(st, &local.ip)))
        return -EINVAL;
    LIST_FOREACH(s, bucket_of(st, local.port), link)
        if (s->local.port == local.port && ip_eq(&s->local.ip, &local.ip))
            return -EADDRINUSE;
    s = calloc(1, sizeof *s);
    if (s == NULL)
        return -ENOMEM;
    s->local = local;
    s->ops = ops;
    s->arg = arg;
    LIST_INSERT_HEAD(bucket_of(st, local.port), s, link);
    *sock = s;
    return 0;
}

void udp_connect(struct udp_sock *sock, struct udp_addr remote)
{
    sock->remote = remote;
}

void udp_close(struct stack *st, struct udp_sock *sock)
{
    (void)st;
    LIST_REMOVE(sock, link);
    free(sock);
}

/* How well a socket fits: 0 not at all; bound to the address goes before any, connected before not. */
static int score(const struct udp_sock *s, const struct udp_addr *local, const struct udp_addr *remote)
{
    bool exact = ip_eq(&s->local.ip, &local->ip);
    if (s->local.port != local->port || !(exact || ip_is_any_for(&s->local.ip, &local->ip)))
        return 0;
    if (s->remote.port == 0)
        return 1 + exact;
    return s->remote.port == remote->port && ip_eq(&s->remote.ip, &remote->ip) ? 3 + exact : 0;
}

static struct udp_sock *find(struct stack *st, const struct udp_addr *local, const struct udp_addr *remote)
{
    struct udp_sock *s, *best = NULL;
    int most = 0;
    LIST_FOREACH(s, bucket_of(st, local->port), link) {
        int fit = score(s, local, remote);
        if (fit > most) {
            most = fit;
            best = s;
        }
    }
    return best;
}

/* ---- In ---- */

static void read_header(const struct ip_pkt *p, struct udp_meta *meta)
{
    bool v4 = ip_is_v4(&p->dst);
    meta->ttl = v4 ? p->ip4.time_to_live : p->ip6.hop_limits;
    meta->tos = v4 ? p->ip4.type_of_service : (uint8_t)(rte_be_to_cpu_32(p->ip6.vtc_flow) >> RTE_IPV6_HDR_TC_SHIFT);
}

/* RFC 1122 4.1.3.3: a datagram for a group or for all is each socket's that is open there. Nobody is told when there is none. */
static void deliver_to_all(struct stack *st, struct rte_mbuf *m, uint16_t len, const struct udp_meta *meta)
{
    struct udp_sock *s, *last = NULL;
    LIST_FOREACH(s, bucket_of(st, meta->to.port), link) {
        if (score(s, &meta->to, &meta->from) == 0)
            continue;
        struct rte_mbuf *copy = last == NULL ? NULL : rte_pktmbuf_copy(m, st->conf.pool, 0, UINT32_MAX);
        if (copy != NULL) {
            NET_COUNT(st, UDP_RX);
            last->ops->receive(last->arg, copy, len, meta);
        } else if (last != NULL) {
            NET_COUNT(st, PKT_NO_MEMORY);
        }
        last = s;
    }
    if (last == NULL) {
        net_drop(st, m, NET_UDP_NO_PORT);
        return;
    }
    NET_COUNT(st, UDP_RX);
    last->ops->receive(last->arg, m, len, meta);
}

void udp_input(struct stack *st, struct ip_pkt *p)
{
    const struct rte_udp_hdr *h = rte_pktmbuf_mtod(p->m, const struct rte_udp_hdr *);
    uint16_t len = rte_pktmbuf_data_len(p->m) < sizeof *h ? 0 : rte_be_to_cpu_16(h->dgram_len);
    if (len < sizeof *h || len > p->len) {
        net_drop(st, p->m, NET_UDP_BAD);
        return;
    }
    bool checked = (p->m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD && p->m->nb_segs == 1;
    bool none = h->dgram_cksum == 0 && ip_is_v4(&p->dst); /* RFC 8200 8.1: not with IPv6 */
    if (!none && (h->dgram_cksum == 0 || (!checked && ip_l4_sum(p->m, &p->src, &p->dst, IPPROTO_UDP, len) != 0xffff))) {
        net_drop(st, p->m, NET_UDP_BAD_CKSUM);
        return;
    }
    struct udp_meta meta = {.from = {p->src, h->src_port}, .to = {p->dst, h->dst_port}, .port = p->port, .many = !p->to_us};
    read_header(p, &meta);
    struct udp_sock *s = meta.many ? NULL : find(st, &meta.to, &meta.from);
    if (s == NULL && !meta.many) {
        ip_unreachable_port(st, p);
        net_drop(st, p->m, NET_UDP_NO_PORT);
        return;
    }
    if (p->len > len)
        rte_pktmbuf_trim(p->m, (uint16_t)(p->len - len));
    rte_pktmbuf_adj(p->m, sizeof *h);
    if (meta.many) {
        deliver_to_all(st, p->m, (uint16_t)(len - sizeof *h), &meta);
        return;
    }
    NET_COUNT(st, UDP_RX);
    s->ops->receive(s->arg, p->m, (uint16_t)(len - sizeof *h), &meta);
}

/* RFC 1122 4.1.3.3. It answers a datagram of ours as far as can be seen: a socket is open there, and if connected, to that
 * destination. */
void udp_error(struct stack *st, const struct ip_error *e)
{
    const struct rte_udp_hdr *h = (const void *)e->l4;
    struct udp_addr local = {e->local, h->src_port}, remote = {e->remote, h->dst_port};
    struct udp_sock *s = find(st, &local, &remote);
    if (s == NULL || (e->err == 0 && e->redirect == NULL)) {
        NET_COUNT(st, ICMP_IGNORED);
        return;
    }
    if (e->redirect != NULL) {
        redirect_learn(st, &e->remote, e->redirect);
        return;
    }
    NET_COUNT(st, UDP_ERRORS_RX);
    if (e->err == EMSGSIZE)
        pmtu_learn(st, &e->remote, e->mtu); /* RFC 1191 4, 8201 4 */
    if (s->ops->error != NULL)
        s->ops->error(s->arg, e, local, remote);
}

/* ---- Out ---- */

/* Copies n bytes from iov to the end of m, in as many buffers as it takes. */
static bool append(struct stack *st, struct rte_mbuf *m, const struct iovec *iov, size_t n)
{
    struct rte_mbuf *last = m;
    size_t skip = 0;
    while (n > 0) {
        if (skip == iov->iov_len) {
            iov++;
            skip = 0;
            continue;
        }
        uint16_t room = rte_pktmbuf_tailroom(last);
        if (room == 0) {
            struct rte_mbuf *more = ip_alloc(st);
            if (more == NULL)
                return false;
            if (rte_pktmbuf_chain(m, more) != 0) { /* more pieces than an mbuf can count: cannot be with 64 KiB */
                net_drop(st, more, NET_PKT_NO_MEMORY);
                return false;
            }
            last = more;
            continue;
        }
        uint16_t take = (uint16_t)RTE_MIN(RTE_MIN((size_t)room, iov->iov_len - skip), n);
        memcpy(rte_pktmbuf_mtod_offset(last, uint8_t *, rte_pktmbuf_data_len(last)), (const uint8_t *)iov->iov_base + skip,
               take);
        last->data_len = (uint16_t)(last->data_len + take);
        m->pkt_len += take;
        skip += take;
        n -= take;
    }
    return true;
}

static bool choose_route(struct stack *st, const struct udp_addr *to, struct ip_how *how)
{
    struct net_port *port = how->route.port;
    return (port != NULL && !ip_is_any(&how->route.hop)) || ip_route_by(st, &to->ip, port, &how->route);
}

static struct ip_addr choose_source(const struct udp_sock *sock, const struct udp_addr *to, const struct udp_how *how)
{
    if (!ip_is_any(&how->src))
        return how->src;
    /* Bound to a group: that is no source (RFC 1122 3.2.1.3). */
    bool unicast = !ip_is_any(&sock->local.ip) && !ip_is_group(&sock->local.ip) && ip_our_port(how->ip.route.port->stack, &sock->local.ip) != NULL;
    return unicast ? sock->local.ip : ip_source(&how->ip.route, &to->ip);
}

int udp_send(struct stack *st, struct udp_sock *sock, struct udp_addr to, const struct udp_how *wanted, const struct iovec *iov, size_t n,
             uint64_t now)
{
    struct udp_how how = wanted != NULL ? *wanted : (struct udp_how){.ip.pmtu = IP_PMTU_WANT};
    net_at(st, now);
    if (ip_is_v4(&to.ip) != ip_is_v4(&sock->local.ip))
        return -ENETUNREACH;
    /* The length field of IPv6 does not count its header. */
    size_t head = (ip_is_v4(&to.ip) ? sizeof(struct rte_ipv4_hdr) : 0) + sizeof(struct rte_udp_hdr);
    if (n > UINT16_MAX - head)
        return -EMSGSIZE;
    if (!choose_route(st, &to, &how.ip))
        return -ENETUNREACH;
    struct ip_addr src = choose_source(sock, &to, &how);
    if (ip_our_port(st, &src) == NULL || ip_is_v4(&src) != ip_is_v4(&to.ip))
        return -EINVAL;
    bool whole = n + sizeof(struct rte_udp_hdr) + ip_header_len(&to.ip) <= ip_mtu_of(st, &how.ip, &to.ip);
    if (!whole && how.ip.pmtu >= IP_PMTU_DO)
        return -EMSGSIZE;
    struct rte_mbuf *m = ip_alloc(st);
    if (m == NULL)
        return -ENOBUFS;
    struct rte_udp_hdr *h = (void *)rte_pktmbuf_append(m, sizeof *h);
    if (!append(st, m, iov, n)) {
        rte_pktmbuf_free(m);
        return -ENOBUFS;
    }
    *h = (struct rte_udp_hdr){sock->local.port, to.port, rte_cpu_to_be_16((uint16_t)(n + sizeof *h)), 0};
    h->dgram_cksum = ip_l4_cksum_on(how.ip.route.port, m, &src, &to.ip, IPPROTO_UDP, whole);
    NET_COUNT(st, UDP_TX);
    ip_output_how(st, m, &src, &to.ip, IPPROTO_UDP, &how.ip);
    return 0;
}
