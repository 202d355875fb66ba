/* SPDX-License-Identifier: BSD-3-Clause
 * The native stack as the engine's: datagrams, errors about them, groups. */
#define _GNU_SOURCE
#include "stack_native.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "group.h"

struct native_udp {
    struct native *n;
    struct udp_sock *sock;
    struct zs_addr bound;
};

static void on_datagram(void *arg, struct rte_mbuf *m, uint16_t len, const struct udp_meta *meta)
{
    struct native_udp *u = arg;
    struct iovec iov[60]; /* what zs_dgram_put() takes beside its header */
    uint32_t segs = 0, total = 0;
    for (const struct rte_mbuf *s = m; s != NULL && segs < RTE_DIM(iov) && total < len; s = s->next) {
        uint32_t take = RTE_MIN((uint32_t)rte_pktmbuf_data_len(s), len - total);
        iov[segs++] = (struct iovec){rte_pktmbuf_mtod(s, void *), take};
        total += take;
    }
    struct wire_datagram d = {.bound = &u->bound, .port = meta->port->number, .ttl = meta->ttl, .tos = meta->tos, .many = meta->many};
    native_to_zs(&meta->from.ip, meta->from.port, &d.from);
    native_to_zs(&meta->to.ip, meta->to.port, &d.to);
    if (total == len)
        u->n->events->datagram(u->n->engine, &d, iov, segs, len);
    rte_pktmbuf_free(m);
}

static void on_error(void *arg, const struct ip_error *e, struct udp_addr local, struct udp_addr remote)
{
    struct native_udp *u = arg;
    bool v4 = ip_is_v4(&e->remote);
    struct wire_error w = {.err = e->err, .fatal = e->fatal, .origin = v4 ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6, .type = e->type,
                           .code = e->code, .info = e->info, .data = e->data, .len = RTE_MIN(e->data_len, ZS_UDP_QUOTE_MAX)};
    if (e->err == EMSGSIZE)
        w.info = pmtu_find(u->n->st, &e->remote);
    native_to_zs(&local.ip, local.port, &w.local);
    native_to_zs(&remote.ip, remote.port, &w.remote);
    native_to_zs(&e->offender, 0, &w.offender);
    u->n->events->unreachable(u->n->engine, &w);
}

static const struct udp_sock_ops udp_ops = {.receive = on_datagram, .error = on_error};

int native_udp_open(void *stack, const struct zs_addr *local, void **socket)
{
    struct native *n = stack;
    struct native_udp *u = calloc(1, sizeof *u);
    if (u == NULL)
        return -ENOMEM;
    *u = (struct native_udp){.n = n, .bound = *local};
    int err = udp_open(n->st, (struct udp_addr){native_from_zs(local), local->port}, &udp_ops, u, &u->sock);
    if (err != 0) {
        free(u);
        return err;
    }
    *socket = u;
    return 0;
}

void native_udp_close(void *stack, void *socket)
{
    struct native_udp *u = socket;
    udp_close(((struct native *)stack)->st, u->sock);
    free(u);
}

int native_udp_send(void *stack, void *socket, const struct zs_udp_record *rec, const struct iovec *iov, uint64_t now)
{
    struct native *n = stack;
    uint32_t port = ZS_WIRE_SCOPE_PORT(rec->ifindex);
    struct udp_how how = {.ip = {.ttl = rec->ttl, .tos = rec->tos, .pmtu = (uint8_t)RTE_MIN(rec->pmtu, IP_PMTU_PROBE)}};
    if (port > n->nports)
        return -ENODEV;
    if (port > 0)
        how.ip.route.port = n->net[port - 1];
    struct zs_addr from = rec->from;
    from.scope_id = rec->ifindex; /* a link-local source is one of that port */
    if (!zs_addr_is_any(from.ip))
        how.src = native_from_zs(&from);
    const struct udp_addr to = {native_from_zs(&rec->to), rec->to.port};
    return udp_send(n->st, ((struct native_udp *)socket)->sock, to, &how, iov, rec->len, now);
}

int native_group(void *stack, const struct wire_filter *f, void *member, uint64_t now)
{
    struct native *n = stack;
    struct zs_addr scoped = {.scope_id = ZS_WIRE_SCOPE + f->port};
    struct ip_addr source[WIRE_SOURCES_MAX];
    if (f->port == 0 || f->port > n->nports)
        return -ENODEV;
    memcpy(scoped.ip, f->group, 16);
    struct ip_addr group = native_from_zs(&scoped);
    for (uint32_t i = 0; i < f->nsources; i++) {
        memcpy(scoped.ip, f->source[i], 16);
        source[i] = native_from_zs(&scoped);
    }
    return group_set(n->net[f->port - 1], &group, member, f->exclude, source, f->nsources, now);
}
