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
    if (local.port == 0 || (local.ip != 0 && ip_our_port(st, local.ip) == NULL))
        return -EINVAL;
    LIST_FOREACH(s, bucket_of(st, local.port), link)
        if (s->local.port == local.port && (s->local.ip == local.ip || s->local.ip == 0 || local.ip == 0))
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

static struct udp_sock *find(struct stack *st, struct udp_addr local, struct udp_addr remote)
{
    struct udp_sock *s;
    LIST_FOREACH(s, bucket_of(st, local.port), link) {
        if (s->local.port != local.port || (s->local.ip != 0 && s->local.ip != local.ip))
            continue;
        if (s->remote.port == 0 || (s->remote.port == remote.port && s->remote.ip == remote.ip))
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
    if (h->dgram_cksum != 0 && !checked &&
        ip_l4_sum(p->m, p->ip.src_addr, p->ip.dst_addr, IPPROTO_UDP, len) != 0xffff) {
        net_drop(st, p->m, NET_UDP_BAD_CKSUM);
        return;
    }
    struct udp_addr from = {p->ip.src_addr, h->src_port}, to = {p->ip.dst_addr, h->dst_port};
    struct udp_sock *s = find(st, to, from);
    if (s == NULL) {
        if (p->to_us)
            icmp_error(st, ICMP_DEST_UNREACHABLE, ICMP_UNREACH_PORT, &p->ip, h, rte_pktmbuf_data_len(p->m));
        net_drop(st, p->m, NET_UDP_NO_PORT);
        return;
    }
    if (p->len > len)
        rte_pktmbuf_trim(p->m, (uint16_t)(p->len - len));
    rte_pktmbuf_adj(p->m, sizeof *h);
    NET_COUNT(st, UDP_RX);
    s->ops->receive(s->arg, p->m, (uint16_t)(len - sizeof *h), from, to);
}

int icmp_errno(uint8_t type, uint8_t code)
{
    static const int unreachable[] = {ENETUNREACH, EHOSTUNREACH, ENOPROTOOPT, ECONNREFUSED, EMSGSIZE, EOPNOTSUPP,
                                      ENETUNREACH, EHOSTDOWN, ENONET, ENETUNREACH, EHOSTUNREACH, ENETUNREACH,
                                      EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH};
    if (type == ICMP_TIME_EXCEEDED)
        return EHOSTUNREACH;
    return type == ICMP_DEST_UNREACHABLE && code < RTE_DIM(unreachable) ? unreachable[code] : 0;
}

void udp_error(struct stack *st, const struct rte_ipv4_hdr *ip, const uint8_t *l4, uint8_t type, uint8_t code)
{
    const struct rte_udp_hdr *h = (const void *)l4;
    struct udp_addr local = {ip->src_addr, h->src_port}, remote = {ip->dst_addr, h->dst_port};
    struct udp_sock *s = find(st, local, remote);
    int err = icmp_errno(type, code);
    if (s != NULL && err != 0 && s->ops->error != NULL)
        s->ops->error(s->arg, err, remote);
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
    if (n > UINT16_MAX - sizeof(struct rte_ipv4_hdr) - sizeof(struct rte_udp_hdr))
        return -EMSGSIZE;
    if (!ip_route(st, to.ip, &route))
        return -ENETUNREACH;
    struct rte_mbuf *m = ip_alloc(st);
    if (m == NULL)
        return -ENOBUFS;
    struct rte_udp_hdr *h = (void *)rte_pktmbuf_append(m, sizeof *h);
    if (!append(st, m, iov, n)) {
        rte_pktmbuf_free(m);
        return -ENOBUFS;
    }
    rte_be32_t src = sock->local.ip != 0 ? sock->local.ip : route.port->conf.addr;
    *h = (struct rte_udp_hdr){sock->local.port, to.port, rte_cpu_to_be_16((uint16_t)(n + sizeof *h)), 0};
    h->dgram_cksum = ip_l4_cksum(st, m, src, to.ip, IPPROTO_UDP);
    NET_COUNT(st, UDP_TX);
    ip_output(st, m, src, to.ip, IPPROTO_UDP);
    return 0;
}
