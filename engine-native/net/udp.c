/* SPDX-License-Identifier: BSD-3-Clause
 * UDP: see udp.h. */
#include "udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_udp.h>
#include <stdlib.h>

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

int udp_open(struct stack *st, struct udp_addr local, const struct udp_sock_ops *ops, void *arg, struct udp_sock **sock)
{
    struct udp_sock *s;
    if (local.port == 0 || (!ip_is_any(&local.ip) && ip_our_port(st, &local.ip) == NULL))
        return -EINVAL;
    LIST_FOREACH(s, bucket_of(st, local.port), link)
        if (s->local.port == local.port && (ip_eq(&s->local.ip, &local.ip) || ip_is_any_for(&s->local.ip, &local.ip) ||
                                            ip_is_any_for(&local.ip, &s->local.ip)))
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

static struct udp_sock *find(struct stack *st, const struct udp_addr *local, const struct udp_addr *remote)
{
    struct udp_sock *s;
    LIST_FOREACH(s, bucket_of(st, local->port), link) {
        if (s->local.port != local->port || !(ip_eq(&s->local.ip, &local->ip) || ip_is_any_for(&s->local.ip, &local->ip)))
            continue;
        if (s->remote.port == 0 || (s->remote.port == remote->port && ip_eq(&s->remote.ip, &remote->ip)))
            return s;
    }
    return NULL;
}

/* ---- In ---- */

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
    struct udp_addr from = {p->src, h->src_port}, to = {p->dst, h->dst_port};
    struct udp_sock *s = find(st, &to, &from);
    if (s == NULL) {
        ip_unreachable_port(st, p);
        net_drop(st, p->m, NET_UDP_NO_PORT);
        return;
    }
    if (p->len > len)
        rte_pktmbuf_trim(p->m, (uint16_t)(p->len - len));
    rte_pktmbuf_adj(p->m, sizeof *h);
    NET_COUNT(st, UDP_RX);
    s->ops->receive(s->arg, p->m, (uint16_t)(len - sizeof *h), from, to);
}

void udp_error(struct stack *st, const struct ip_error *e)
{
    const struct rte_udp_hdr *h = (const void *)e->l4;
    struct udp_addr local = {e->local, h->src_port}, remote = {e->remote, h->dst_port};
    struct udp_sock *s = find(st, &local, &remote);
    if (s == NULL || e->err == 0)
        return;
    if (e->err == EMSGSIZE && !ip_is_v4(&e->remote))
        pmtu_learn(st, &e->remote, e->mtu); /* RFC 8201 4; with IPv4 routers fragment what has no DF */
    if (s->ops->error != NULL)
        s->ops->error(s->arg, e->err, remote);
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
            if (more == NULL || rte_pktmbuf_chain(m, more) != 0) {
                rte_pktmbuf_free(more);
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

int udp_send(struct stack *st, struct udp_sock *sock, struct udp_addr to, const struct iovec *iov, size_t n, uint64_t now)
{
    struct ip_route route;
    st->now = now;
    if (ip_is_v4(&to.ip) != ip_is_v4(&sock->local.ip))
        return -ENETUNREACH;
    /* The length field of IPv6 does not count its header. */
    size_t head = (ip_is_v4(&to.ip) ? sizeof(struct rte_ipv4_hdr) : 0) + sizeof(struct rte_udp_hdr);
    if (n > UINT16_MAX - head)
        return -EMSGSIZE;
    if (!ip_route(st, &to.ip, &route))
        return -ENETUNREACH;
    struct rte_mbuf *m = ip_alloc(st);
    if (m == NULL)
        return -ENOBUFS;
    struct rte_udp_hdr *h = (void *)rte_pktmbuf_append(m, sizeof *h);
    if (!append(st, m, iov, n)) {
        rte_pktmbuf_free(m);
        return -ENOBUFS;
    }
    struct ip_addr src = ip_is_any(&sock->local.ip) ? ip_source(&route, &to.ip) : sock->local.ip;
    *h = (struct rte_udp_hdr){sock->local.port, to.port, rte_cpu_to_be_16((uint16_t)(n + sizeof *h)), 0};
    h->dgram_cksum = ip_l4_cksum(st, m, &src, &to.ip, IPPROTO_UDP);
    NET_COUNT(st, UDP_TX);
    ip_output(st, m, &src, &to.ip, IPPROTO_UDP);
    return 0;
}
