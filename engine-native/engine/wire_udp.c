/* SPDX-License-Identifier: BSD-3-Clause
 * UDP over the wire, the engine's thread's alone. What comes is put into the ring of the socket that the look-up in shared memory finds; what a socket
 * sends goes through the ring of an own session of the engine, as records. */
#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include "ring.h"

#define SENDS_PER_TURN 64u /* of one socket, before the others have theirs */

#define FINISH_MAX 8192u    /* when it closes: a full ring of the smallest ones; another holder may still add to it */

struct tracked *wire_udp_tracked(struct engine *e, const struct client *c, uint32_t session, uint32_t gen)
{
    struct tracked *t = tracked_by_session(e, session);
    if (t != NULL && t->creator != c->id && !t->shared) { /* a fork's child may be faster than what its parent said of it */
        tracked_take_told(e);
        t = tracked_by_session(e, session);
    }
    if (t == NULL || t->gen != gen || t->closing || t->kind != ZS_KIND_UDP || (t->creator != c->id && !t->shared))
        return NULL;
    return t;
}

int wire_udp_request(struct engine *e, struct client *c, uint32_t session, uint32_t gen, struct zs_ctl_reply *reply)
{
    struct tracked *t = wire_udp_tracked(e, c, session, gen);
    if (e->wire == NULL)
        return -ENETUNREACH;
    if (t == NULL)
        return -ESTALE;
    if (t->wire_port[0] == NULL && t->wire_port[1] == NULL)
        return -EADDRNOTAVAIL; /* bound to an address that is not the engine's */
    struct wire_own *o = t->wire_tx;
    if (o == NULL) {
        o = wire_own_new(&e->wire->worker[0], WIRE_UDP, ZS_KIND_UDP);
        if (o == NULL)
            return -ENOBUFS;
        memcpy(o->port, t->wire_port, sizeof t->wire_port);
        t->wire_tx = o;
    }
    reply->a = o->own;
    reply->b = o->gen;
    return 0;
}

int wire_udp_errors_request(struct engine *e, struct client *c, uint32_t session, uint32_t gen, struct zs_ctl_reply *reply)
{
    struct tracked *t = wire_udp_tracked(e, c, session, gen);
    if (e->wire == NULL)
        return -ENETUNREACH;
    if (t == NULL)
        return -ESTALE;
    if (t->wire_errors == NULL && (t->wire_errors = wire_own_new(&e->wire->worker[0], WIRE_UDP_ERRORS, ZS_KIND_UDP)) == NULL)
        return -ENOBUFS;
    reply->a = t->wire_errors->own;
    reply->b = t->wire_errors->gen;
    return 0;
}

static void forget(struct engine *e, struct wire_own **o)
{
    if (e->wire == NULL || *o == NULL)
        return;
    uint32_t own = (*o)->own;
    wire_own_free(&e->wire->worker[0], *o);
    *o = NULL;
    zs_session_free(&e->view, own);
}

void wire_udp_forget(struct engine *e, struct tracked *t)
{
    forget(e, &t->wire_tx);
    forget(e, &t->wire_errors);
}

static void loop_back(struct engine *e, const struct wire_own *o, const struct zs_udp_record *rec, const struct iovec *body);

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
    if (zs_addr_is_group(rec.to.ip) && (rec.flags & ZS_UDP_LOOP))
        loop_back(e, o, &rec, &body);
    int err = p == NULL ? -ENETUNREACH : e->wire->ops->udp_send(e->wire->stack, p->handle[0], &rec, &body, e->now);
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

/* ---- In ---- */

static struct zs_session *receiver(struct engine *e, const struct zs_addr *from, const struct zs_addr *to, uint32_t port)
{
    int64_t i = zs_lookup_udp(&e->view, to, from, port, zs_lookup_hash(to, from));
    return i < 0 ? NULL : zs_session_at(&e->view, (uint32_t)i);
}

/* A datagram on its way to the sockets that are open for it. */
struct delivery {
    struct engine *e;
    const struct wire_datagram *d;
    struct zs_udp_record rec;
    const struct iovec *iov;
    uint32_t segments;
};

static void put(struct delivery *v, struct zs_session *s)
{
    if (zs_dgram_put(&v->e->view, s, &v->rec, v->iov, v->segments))
        zs_notify(&v->e->view, s);
    else
        v->e->wire->worker[0].refused++;
}

/* One of several that get it. The stack hands it over once for each of its sockets: only what is bound as that one is. */
static void put_to_each(void *arg, uint32_t session)
{
    struct delivery *v = arg;
    const struct wire_datagram *d = v->d;
    struct tracked *t = tracked_by_session(v->e, session);
    struct zs_session *s = zs_session_at(&v->e->view, session);
    if (t == NULL || t->closing)
        return;
    bool any = zs_addr_is_any(d->bound->ip);
    if (any ? !zs_addr_is_any(t->local.ip) : memcmp(t->local.ip, d->bound->ip, 16) != 0)
        return;
    uint32_t only = zs_addr_is_v4(d->to.ip) ? ZS_O_JOINED_ONLY : ZS_O_JOINED_ONLY6;
    bool joined_only = atomic_load_explicit(&s->opts.bits, memory_order_relaxed) & only;
    if (zs_addr_is_group(d->to.ip) && !wire_group_accepts(t, d->port, d->to.ip, d->from.ip, joined_only))
        return;
    put(v, s);
}

void wire_datagram(void *worker, const struct wire_datagram *d, const struct iovec *iov, uint32_t segments, uint32_t len)
{
    struct engine *e = ((struct wire_worker *)worker)->e;
    struct timespec t;
    if (len > ZS_UDP_MAX_PAYLOAD) /* IPv6 has 20 bytes more, the rings have not */
        return;
    clock_gettime(CLOCK_REALTIME, &t);
    struct delivery v = {.e = e, .d = d, .iov = iov, .segments = segments,
                         .rec = {.len = len, .ifindex = ZS_WIRE_SCOPE + d->port, .from = d->from, .to = d->to, .ttl = d->ttl,
                                 .tos = d->tos, .time_ns = (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec}};
    if (d->many) {
        zs_lookup_udp_each(&e->view, &d->to, &d->from, d->port, put_to_each, &v);
        return;
    }
    struct zs_session *s = receiver(e, &d->from, &d->to, d->port);
    if (s != NULL)
        put(&v, s);
    else
        COUNT(e, WIRE_DATAGRAMS_UNWANTED); /* its socket is bound to another port */
}

/* IP_MULTICAST_LOOP: to the members at this host, as if it had come by the port that it leaves by. */
static void loop_back(struct engine *e, const struct wire_own *o, const struct zs_udp_record *rec, const struct iovec *body)
{
    struct wire_datagram d = {.from = rec->from, .to = rec->to, .port = ZS_WIRE_SCOPE_PORT(rec->ifindex), .ttl = rec->ttl,
                              .tos = rec->tos, .many = true};
    const struct wire_port *p = o->port[!zs_addr_is_v4(rec->to.ip)];
    struct zs_addr any = {.family = zs_addr_is_v4(rec->to.ip) ? AF_INET : AF_INET6};
    if (d.port == 0 || p == NULL)
        return;
    if (zs_addr_is_any(d.from.ip) && !zs_wire_source(&e->view, d.port, any.family == AF_INET6, d.from.ip))
        return;
    d.from.port = p->local.port;
    d.from.family = any.family;
    if (any.family == AF_INET)
        any.ip[10] = any.ip[11] = 0xff;
    const struct zs_addr *bound[] = {&any, &rec->to}; /* as the stack has them: sockets of any address, and of the group's */
    for (size_t i = 0; i < sizeof bound / sizeof bound[0]; i++) {
        d.bound = bound[i];
        wire_datagram(&e->wire->worker[0], &d, body, 1, rec->len);
    }
}

/* ---- Errors ---- */

/* For who asked for them (IP_RECVERR). */
static bool queue_error(struct engine *e, const struct tracked *t, const struct wire_error *err)
{
    struct zs_udp_error body = {.err = (uint32_t)err->err, .origin = err->origin, .type = err->type, .code = err->code, .info = err->info};
    struct zs_udp_record rec = {.len = (uint32_t)sizeof body + err->len, .from = err->offender, .to = err->remote};
    const struct iovec iov[2] = {{&body, sizeof body}, {(void *)(uintptr_t)err->data, err->len}};
    return t->wire_errors != NULL && zs_dgram_put(&e->view, zs_session_at(&e->view, t->wire_errors->own), &rec, iov, 2);
}

/* As __udp4_lib_err and __udp6_lib_err: connected sockets are told what is not transient; who asked for errors gets all, and the
 * queue. */
void wire_unreachable(void *worker, const struct wire_error *err)
{
    struct engine *e = ((struct wire_worker *)worker)->e;
    uint32_t scope = ZS_WIRE_SCOPE_PORT(err->local.scope_id);
    struct zs_session *s = receiver(e, &err->remote, &err->local, scope != 0 ? scope : zs_wire_port_with(&e->view, err->local.ip));
    const struct tracked *t = s == NULL ? NULL : tracked_by_session(e, zs_session_index(&e->view, s));
    if (t == NULL || t->closing)
        return;
    bool v4 = zs_addr_is_v4(err->remote.ip), connected = atomic_load(&s->flags) & ZS_F_CONNECTED;
    uint32_t bits = atomic_load(&s->opts.bits);
    bool fatal = err->fatal;
    if (err->err == EMSGSIZE) {
        if (connected)
            atomic_store(&s->pmtu, err->info);
        if (bits & (v4 ? ZS_O_PMTU_DONT : ZS_O_PMTU6_DONT)) {
            if (v4)
                return;
            fatal = false;
        }
    }
    if (bits & (v4 ? ZS_O_RECVERR : ZS_O_RECVERR6))
        queue_error(e, t, err);
    else if (!fatal || !connected)
        return;
    atomic_store(&s->error, (uint32_t)err->err);
    zs_notify(&e->view, s);
}
