/* SPDX-License-Identifier: BSD-3-Clause
 * UDP over the wire. What comes is put into the ring of the socket that the look-up in shared memory finds; what a socket
 * sends goes through the ring of an own session of the engine, as records. */
#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "ring.h"

#define SENDS_PER_TURN 64u /* of one socket, before the others have theirs */

#define FINISH_MAX 8192u    /* when it closes: a full ring of the smallest ones; another holder may still add to it */

static struct tracked *udp_tracked(struct engine *e, const struct client *c, uint32_t session, uint32_t gen)
{
    struct tracked *t = tracked_by_session(e, session);
    if (t == NULL || t->gen != gen || t->closing || t->kind != ZS_KIND_UDP || (t->creator != c->id && !t->shared))
        return NULL;
    return t;
}

int wire_udp_request(struct engine *e, struct client *c, uint32_t session, uint32_t gen, struct zs_ctl_reply *reply)
{
    struct tracked *t = udp_tracked(e, c, session, gen);
    if (e->wire == NULL)
        return -ENETUNREACH;
    if (t == NULL)
        return -ESTALE;
    if (t->wire_port[0] == NULL && t->wire_port[1] == NULL)
        return -EADDRNOTAVAIL; /* bound to an address that is not the engine's */
    struct wire_own *o = t->wire_tx;
    if (o == NULL) {
        o = wire_own_new(e, WIRE_UDP, ZS_KIND_UDP);
        if (o == NULL)
            return -ENOBUFS;
        memcpy(o->port, t->wire_port, sizeof o->port);
        t->wire_tx = o;
    }
    reply->a = o->own;
    reply->b = o->gen;
    return 0;
}

void wire_udp_forget(struct engine *e, struct tracked *t)
{
    if (e->wire == NULL || t->wire_tx == NULL)
        return;
    uint32_t own = t->wire_tx->own;
    wire_own_free(e, t->wire_tx);
    t->wire_tx = NULL;
    zs_session_free(&e->view, own);
}

/* One datagram from the ring; false when there is none. What was scribbled is thrown away. */
static bool send_one(struct engine *e, struct wire_own *o, struct zs_session *s)
{
    struct zs_udp_record rec;
    struct iovec head = {&rec, sizeof rec}, body = {e->datagram, sizeof e->datagram};
    uint64_t avail = zs_rx_avail(s);
    if (avail == 0)
        return false;
    bool sane = zs_rx_peek(&e->view, s, 0, &head, 0, sizeof rec) == sizeof rec && rec.len <= ZS_UDP_MAX_PAYLOAD &&
                ZS_UDP_RECORD_SPACE(rec.len) <= avail &&
                (rec.len == 0 || zs_rx_peek(&e->view, s, sizeof rec, &body, 0, rec.len) == (int64_t)rec.len);
    if (!sane) {
        COUNT(e, FAULTS_FOUND);
        zs_rx_consume(&e->view, s, avail);
        return false;
    }
    zs_rx_consume(&e->view, s, ZS_UDP_RECORD_SPACE(rec.len));
    body.iov_len = rec.len;
    const struct wire_port *p = o->port[!zs_addr_is_v4(rec.to.ip)];
    int err = p == NULL ? -ENETUNREACH : e->wire->ops->udp_send(e->wire->stack, p->handle, &rec.to, &body, rec.len, e->now);
    if (err != 0)
        COUNT(e, WIRE_DATAGRAMS_UNSENT);
    return true;
}

void wire_udp_send(struct engine *e, struct wire_own *o)
{
    struct zs_session *s = zs_session_at(&e->view, o->own);
    uint32_t n = 0;
    while (n < SENDS_PER_TURN && send_one(e, o, s))
        n++;
    if (n == SENDS_PER_TURN)
        zs_notify(&e->view, s); /* our own bit: the rest next time */
}

void wire_udp_finish(struct engine *e, struct tracked *t)
{
    struct wire_own *o = t->wire_tx;
    if (o == NULL)
        return;
    struct zs_session *s = zs_session_at(&e->view, o->own);
    for (uint32_t n = 0; n < FINISH_MAX && send_one(e, o, s); n++)
        ;
    o->port[0] = o->port[1] = NULL;
    atomic_store(&s->state, ZS_S_CLOSED); /* refuses what another holder may still put there */
}

static struct zs_session *receiver(struct engine *e, const struct zs_addr *from, const struct zs_addr *to)
{
    int64_t i = zs_lookup_udp(&e->view, to, from, (uint32_t)from->port * 2654435761u);
    return i < 0 ? NULL : zs_session_at(&e->view, (uint32_t)i);
}

void wire_datagram(void *engine, const struct zs_addr *from, const struct zs_addr *to, const struct iovec *iov,
                   uint32_t segments, uint32_t len)
{
    struct engine *e = engine;
    struct zs_session *s = receiver(e, from, to);
    struct timespec t;
    if (s == NULL || len > ZS_UDP_MAX_PAYLOAD) /* IPv6 has 20 bytes more, the rings have not */
        return;
    clock_gettime(CLOCK_REALTIME, &t);
    struct zs_udp_record rec = {.len = len, .ifindex = 1, .from = *from, .to = *to,
                                .time_ns = (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec};
    if (zs_dgram_put(&e->view, s, &rec, iov, segments))
        zs_notify(&e->view, s);
    else
        e->wire->refused++;
}

/* Connected sockets are told (udp(7)); others would have to ask for it by IP_RECVERR. */
void wire_unreachable(void *engine, const struct zs_addr *local, const struct zs_addr *remote, int err)
{
    struct engine *e = engine;
    struct zs_session *s = receiver(e, remote, local);
    if (s == NULL || !(atomic_load(&s->flags) & ZS_F_CONNECTED))
        return;
    atomic_store(&s->error, (uint32_t)err);
    zs_notify(&e->view, s);
}
