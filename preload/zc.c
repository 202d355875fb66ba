/* SPDX-License-Identifier: BSD-3-Clause
 * The preload's half of the zero-copy sockets: finds the socket behind a descriptor for libzstack.so (interface.h). */
#include "preload.h"

#include "buffers.h"
#include "interface.h"

/* A receiver maps a program's segment when it first meets it, for which it needs the engine. 0, or why nothing is lent to it. */
static int may_lend(const struct zsock *k, const struct zs_ref *ref)
{
    if (ZS_SEGMENT_TYPE(ref->segment) != ZS_SEGMENT_BUF)
        return 0;
    if (atomic_load_explicit(&k->peer->flags, memory_order_relaxed) & ZS_F_NO_LEND)
        return -ENOBUFS;
    if (atomic_load_explicit(&k->d->alive, memory_order_relaxed))
        return 0;
    /* No engine; who has read of that segment before has it mapped. */
    return k->lent_segment == ref->segment && (int32_t)(zs_tx_returned(k->peer) - k->lent_at) >= 0 ? 0 : -EXDEV;
}

static void note_lent(struct zsock *k, uint32_t segment)
{
    if (k->lent_segment == segment)
        return;
    k->lent_at = zs_tx_lent(k->peer);
    k->lent_segment = segment;
}

static int64_t zc_lend(int fd, struct zs_domain *d, struct zs_ref *ref, uint32_t least, int flags)
{
    struct call c;
    struct zsock *k = call_begin(&c, "zs_send", fd);
    if (k == NULL)
        return -ENOTSOCK;
    int64_t r = atomic_load(&k->kind) != ZK_CONN ? -ENOTSOCK : k->d != d ? -EXDEV : may_lend(k, ref);
    if (r == 0)
        r = stream_lend(k, ref, least, flags);
    if (r > 0)
        note_lent(k, ref->segment);
    call_end(&c, fd, r);
    return r;
}

static int zc_take(int fd, struct zs_domain **d, struct zs_taken *t, int flags)
{
    struct call c;
    struct zsock *k = call_begin(&c, "zs_recv", fd);
    if (k == NULL)
        return -ENOTSOCK;
    *d = k->d;
    int64_t r = atomic_load(&k->kind) != ZK_CONN ? -ENOTSOCK : stream_take(k, t, flags);
    call_end(&c, fd, r);
    return r > 0 ? 1 : (int)r;
}

static int zc_info(int fd, struct zs_if_info *info)
{
    struct call c;
    struct zsock *k = call_begin(&c, "zs_info", fd);
    *info = (struct zs_if_info){.reason = ""};
    if (k == NULL)
        return 0;
    if (atomic_load(&k->kind) == ZK_CONN) {
        info->domain = k->d;
        info->wire = (atomic_load(&k->s->flags) & ZS_F_WIRE) != 0;
        info->reason = info->wire ? "WIRE_ROUTE" : "PEER_LOCAL";
        uint32_t owner = info->wire || k->peer == NULL ? 0 : atomic_load(&k->peer->owner);
        if (owner != 0 && owner != ZS_CLIENT_ENGINE)
            info->peer_pid = atomic_load(&k->d->view.arena->client[ZS_CLIENT_SLOT(owner) % ZS_MAX_CLIENTS].pid);
    }
    call_end(&c, fd, 0);
    return 0;
}

/* ---- What is lent to this process ---- */

/* A connection, or a listener, whose connections begin as it is marked: their peers send before they are accepted. */
static bool lends_to(const struct zsock *k, const struct zs_domain *d)
{
    uint8_t kind = atomic_load(&k->kind);
    return k->d == d && (kind == ZK_CONN || kind == ZK_LISTEN);
}

static void connection_confined(struct zsock *k, int fd, void *domain)
{
    (void)fd;
    if (!lends_to(k, domain))
        return;
    atomic_fetch_or(&k->s->flags, ZS_F_NO_LEND);
    if (atomic_load(&k->kind) == ZK_LISTEN)
        return;
    _Atomic uint32_t *held = sock_lock_rx(k);
    uint64_t avail = zs_rx_avail(k->s);
    if (avail != 0)
        zs_rx_peek(&k->d->view, k->s, 0, NULL, 0, avail); /* a look at all of it maps what it refers to */
    sock_unlock(k, held);
}

static void connection_free(struct zsock *k, int fd, void *domain)
{
    (void)fd;
    if (lends_to(k, domain))
        atomic_fetch_and(&k->s->flags, ~ZS_F_NO_LEND);
}

void lent_before_confinement(struct zs_domain *d)
{
    zsock_for_each(connection_confined, d);
}

void lent_after_confinement(struct zs_domain *d)
{
    frame_enter();
    zsock_for_each(connection_free, d);
    frame_end();
}

struct wanted {
    const struct zs_domain *d;
    uint32_t session;
    int fd;
};

static void wanted_is(struct zsock *k, int fd, void *arg)
{
    struct wanted *w = arg;
    if (w->fd < 0 && k->d == w->d && k->index == w->session && atomic_load(&k->kind) == ZK_CONN)
        w->fd = fd;
}

int lent_socket_of(struct zs_domain *d, uint32_t session)
{
    struct wanted w = {d, session, -1};
    zsock_for_each(wanted_is, &w);
    return w.fd;
}

static void zc_at_rest(void (*fn)(void))
{
    atomic_store(&zs_proc.at_rest, fn);
}

void lent_rest(void)
{
    void (*fn)(void) = atomic_load(&zs_proc.at_rest);
    struct zs_domain *d = atomic_load(&zs_proc.domain);
    if (d == NULL || d->view.confined)
        return;
    if (fn != NULL)
        fn();
    zs_buffers_rest(d);
}

/* ---- The interface ---- */

static struct zs_domain *zc_domain(void)
{
    if (zs_passthrough() || !zs_proc.conf.enabled)
        return NULL;
    frame_begin();
    struct zs_domain *d = zs_attached();
    frame_end();
    return d;
}

static void zc_enter(void)
{
    frame_enter();
}

static void zc_leave(void)
{
    frame_end();
}

__attribute__((visibility("default"))) zs_interface_fn zstack_interface;

const struct zs_interface *zstack_interface(uint32_t version, uint32_t layout)
{
    static struct zs_interface table = {
        .version = ZS_INTERFACE_VERSION,
        .layout = ZS_LAYOUT_VERSION,
        .domain = zc_domain,
        .enter = zc_enter,
        .leave = zc_leave,
        .lend = zc_lend,
        .take = zc_take,
        .info = zc_info,
        .at_rest = zc_at_rest,
    };
    table.spin_us = zs_proc.conf.spin_us; /* as the environment says, once */
    return version == ZS_INTERFACE_VERSION && layout == ZS_LAYOUT_VERSION ? &table : NULL;
}
