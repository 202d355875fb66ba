/* SPDX-License-Identifier: BSD-3-Clause
 * Listeners and UDP sockets: sessions that the engine owns on behalf of a kernel socket. The kernel is the authority
 * for ports and for lifetime; a process proves what it has by sending the descriptor. */
#define _GNU_SOURCE
#include "wire.h"

#include "ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <net/if.h>
#include <string.h>

/* A client may stand between looking a listener up and pushing to it; after this long it no longer does. */
#define GRACE (100 * NS_PER_MS)

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

/* What the kernel says about a socket. */
struct kernel_socket {
    uint64_t cookie;
    struct zs_addr local, remote; /* remote: with ZS_F_CONNECTED */
    uint16_t flags; /* ZS_F_V6ONLY, ZS_F_REUSEPORT, ZS_F_NONBLOCK, ZS_F_CONNECTED */
    bool reuseaddr, on_device;
    uint32_t port; /* of the engine, whose packets the device's are */
    int sndbuf, rcvbuf;
};

static int option(int fd, int level, int name)
{
    int value = 0;
    socklen_t len = sizeof value;
    return getsockopt(fd, level, name, &value, &len) == 0 ? value : 0;
}

/* Its own address, or with `peer` the other end's: 0, -ENOTCONN, -EAFNOSUPPORT. */
static int socket_addr(int fd, bool peer, struct zs_addr *to)
{
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } addr;
    socklen_t len = sizeof addr;
    memset(to, 0, sizeof *to);
    if ((peer ? getpeername : getsockname)(fd, &addr.sa, &len) != 0)
        return -errno;
    to->family = addr.sa.sa_family;
    if (addr.sa.sa_family == AF_INET) {
        to->ip[10] = to->ip[11] = 0xff;
        memcpy(to->ip + 12, &addr.in.sin_addr, 4);
        to->port = addr.in.sin_port;
    } else if (addr.sa.sa_family == AF_INET6) {
        memcpy(to->ip, &addr.in6.sin6_addr, 16);
        to->port = addr.in6.sin6_port;
        to->scope_id = addr.in6.sin6_scope_id;
    } else {
        return -EAFNOSUPPORT;
    }
    return 0;
}

static int socket_cookie(struct engine *e, int fd, uint64_t *cookie)
{
    uint64_t netns;
    socklen_t len = sizeof *cookie;
    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &len) != 0)
        return errno == ENOTSOCK ? -ENOTSOCK : -EINVAL;
    len = sizeof netns;
    /* 127.0.0.1 of another network namespace is another host. */
    if (e->has_netns_cookie && getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &netns, &len) == 0 &&
        netns != e->netns_cookie)
        return -EXDEV;
    return 0;
}

static int inspect(struct engine *e, int fd, uint32_t kind, struct kernel_socket *k)
{
    char device[IFNAMSIZ];
    socklen_t len = sizeof device;
    int err = socket_cookie(e, fd, &k->cookie);
    if (err == 0)
        err = socket_addr(fd, false, &k->local);
    if (err != 0)
        return err;
    bool tcp = kind == ZS_KIND_TCP_LISTEN;
    if (option(fd, SOL_SOCKET, SO_PROTOCOL) != (tcp ? IPPROTO_TCP : IPPROTO_UDP))
        return -EPROTONOSUPPORT;
    if (k->local.port == 0 || (tcp && !option(fd, SOL_SOCKET, SO_ACCEPTCONN)))
        return -EINVAL;
    k->flags = option(fd, SOL_SOCKET, SO_REUSEPORT) ? ZS_F_REUSEPORT : 0;
    /* From its first datagram on it is to hear its peer only. */
    if (!tcp && socket_addr(fd, true, &k->remote) == 0)
        k->flags |= ZS_F_CONNECTED;
    if (k->local.family == AF_INET6 && option(fd, IPPROTO_IPV6, IPV6_V6ONLY))
        k->flags |= ZS_F_V6ONLY;
    /* Before another holder can claim it: the placeholder itself is made non-blocking after this. */
    if (fcntl(fd, F_GETFL) & O_NONBLOCK)
        k->flags |= ZS_F_NONBLOCK;
    k->reuseaddr = option(fd, SOL_SOCKET, SO_REUSEADDR) != 0;
    k->on_device = getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &len) == 0 && len > 1;
    if (k->on_device)
        k->port = wire_port_of_interface(e, if_nametoindex(device));
    k->sndbuf = option(fd, SOL_SOCKET, SO_SNDBUF);
    k->rcvbuf = option(fd, SOL_SOCKET, SO_RCVBUF);
    return 0;
}

/* The kernel let this socket have the address, so whoever had it before is gone, even if the report is still on its
 * way. Several UDP sockets may share an address by SO_REUSEADDR. */
static void close_stale(struct engine *e, uint32_t kind, const struct kernel_socket *k)
{
    diag_drain(e);
    if (k->on_device || (kind == ZS_KIND_UDP && k->reuseaddr))
        return;
    struct tracked *t;
    while ((t = ports_conflict(e, kind, &k->local, k->flags)) != NULL) {
        COUNT(e, LISTENERS_STALE);
        endpoint_close(e, t);
    }
}

static void event_listen(struct engine *e, const struct client *c, const struct tracked *t)
{
    char ip[64];
    addr_text(&t->local, false, ip, sizeof ip);
    admin_event(e, c->run,
                json_pack("{s:s, s:i, s:s, s:s, s:s, s:i, s:s, s:o*}", "event", "listen", "pid", (int)c->pid, "name",
                          c->name, "proto", t->kind == ZS_KIND_UDP ? "udp" : "tcp", "address", ip, "port",
                          (int)ntohs(t->local.port), "verdict", "both", "wire", wire_addresses(e, t)));
}

/* Opens the session's other half, the accept queue. */
static int open_queue(struct engine *e, struct tracked *t, struct zs_session *s, uint32_t backlog)
{
    int64_t l = zs_listener_alloc(&e->view, t->session, backlog);
    if (l < 0)
        return (int)l;
    t->listener = (uint32_t)l;
    t->listener_gen = atomic_load(&e->view.arena->listener[l].gen);
    s->listener = t->listener;
    s->listener_gen = t->listener_gen;
    return 0;
}

/* A free session that is not one of ours whose owner word was scribbled to 0. */
int64_t session_alloc(struct engine *e, struct zs_view *v, uint32_t kind)
{
    int64_t i;
    do
        i = zs_session_alloc(v, kind);
    while (i >= 0 && (atomic_load(&e->tracked_bits[i / 64]) >> (i % 64) & 1) != 0);
    return i;
}

static int endpoint_create(struct engine *e, struct client *c, uint32_t kind, const struct kernel_socket *k,
                           uint32_t backlog, struct tracked **result)
{
    int64_t i = session_alloc(e, &e->view, kind);
    if (i < 0)
        return (int)i;
    struct zs_session *s = zs_session_at(&e->view, (uint32_t)i);
    struct tracked *t = tracked_add(e, k->cookie, (uint32_t)i, kind, c->id);
    if (t == NULL) {
        zs_session_free(&e->view, (uint32_t)i);
        return -ENOMEM;
    }
    t->local = k->local;
    t->flags = k->flags;
    t->on_device = k->on_device;
    t->port = s->port = k->port;
    s->local = k->local;
    s->remote = k->remote;
    atomic_store(&s->pmtu, 0);
    atomic_store(&s->creator, c->id);
    atomic_store(&s->cookie, k->cookie);
    atomic_store(&s->flags, k->flags);
    atomic_store(&s->opts.sndbuf, (uint32_t)k->sndbuf);
    atomic_store(&s->opts.rcvbuf, (uint32_t)k->rcvbuf);
    int err = kind == ZS_KIND_TCP_LISTEN ? open_queue(e, t, s, backlog) : 0;
    if (err != 0) {
        tracked_drop(e, t);
        zs_session_free(&e->view, (uint32_t)i);
        return err;
    }
    atomic_store(&s->state, ZS_S_OPEN);
    wire_endpoint_known(e, t);
    ports_insert(e, t);
    wire_endpoint_open(e, t, backlog);
    *result = t;
    return 0;
}

/* Two processes hold it, whatever was announced before. */
static void share_with(struct engine *e, struct tracked *t, const struct client *c)
{
    if (t->shared || t->creator == c->id)
        return;
    t->shared = true;
    atomic_fetch_or(&zs_session_at(&e->view, t->session)->flags, ZS_F_SHARED);
}

int endpoint_open(struct engine *e, struct client *c, const struct open_request *q, struct zs_ctl_reply *reply)
{
    const uint32_t kind = q->kind, backlog = q->backlog < ZS_BACKLOG_MAX ? q->backlog : ZS_BACKLOG_MAX;
    struct kernel_socket k = {.port = 0};
    int err = inspect(e, q->fd, kind, &k);
    if (err != 0)
        return err;
    if (q->port != 0) {
        k.port = q->port;
        k.on_device = true;
    }
    struct tracked *t = tracked_by_cookie(e, k.cookie);
    if (t != NULL && (t->kind != kind || t->stopped))
        return -EINVAL;
    if (t == NULL) {
        close_stale(e, kind, &k);
        err = endpoint_create(e, c, kind, &k, backlog, &t);
        if (err != 0)
            return err;
        if (kind == ZS_KIND_UDP)
            COUNT(e, UDP_OPENED);
        else
            COUNT(e, LISTENERS_OPENED);
        if (q->told)
            event_listen(e, c, t);
    } else if (kind == ZS_KIND_TCP_LISTEN) {
        atomic_store(&e->view.arena->listener[t->listener].backlog, backlog);
    }
    share_with(e, t, c);
    reply->a = t->session;
    reply->b = t->gen;
    return 0;
}

int endpoint_claim(struct engine *e, struct client *c, int fd, struct zs_ctl_reply *reply)
{
    uint64_t cookie;
    int err = socket_cookie(e, fd, &cookie);
    if (err != 0)
        return err;
    struct tracked *t = tracked_by_told_cookie(e, cookie);
    if (t == NULL || t->stopped)
        return -ENOENT;
    share_with(e, t, c);
    reply->a = t->session;
    reply->b = t->gen;
    return 0;
}

struct tracked *endpoint_of_socket(struct engine *e, int fd)
{
    uint64_t cookie;
    return fd >= 0 && socket_cookie(e, fd, &cookie) == 0 ? tracked_by_told_cookie(e, cookie) : NULL;
}

int endpoint_close_request(struct engine *e, struct client *c, uint32_t session, uint32_t gen)
{
    struct tracked *t = tracked_by_session(e, session);
    if (t == NULL || t->gen != gen || t->closing || t->kind == ZS_KIND_TCP)
        return -ESTALE;
    if (t->creator != c->id || t->shared)
        return -EPERM;
    COUNT(e, CLOSED_BY_REQUEST);
    endpoint_close(e, t);
    return 0;
}

/* ---- Close ---- */

/* Connections that nobody accepted are reset, as Linux resets them. */
static void reset_queued(struct engine *e, const struct tracked *t)
{
    for (uint32_t wrong = 0; wrong < 64;) { /* a queue with that many wrong entries is scribbled over */
        int64_t s = zs_accept_pop(&e->view, t->listener);
        if (s < 0)
            return;
        struct zs_session *q = zs_session_at(&e->view, (uint32_t)s);
        uint32_t engine = ZS_CLIENT_ENGINE;
        /* Only what a queue may hold: a scribbled slot must not reset somebody's connection. */
        if (q == NULL || q->kind != ZS_KIND_TCP || atomic_load(&q->state) != ZS_S_QUEUED ||
            !atomic_compare_exchange_strong(&q->owner, &engine, ZS_CLIENT_ENGINE) ||
            tracked_by_session(e, (uint32_t)s) != NULL) {
            wrong++;
            continue;
        }
        COUNT(e, QUEUED_RESET);
        session_close_safely(e, (uint32_t)s, true);
    }
}

static void free_rx_rings(struct engine *e, struct tracked *t)
{
    struct zs_session *s = zs_session_at(&e->view, t->session);
    /* The lock keeps a sender from writing into a ring that just became another socket's. A sender that stopped while
     * it holds the lock keeps the rings until the slot is freed. */
    if (!zs_lock(&e->view, &s->rx_prod.lock, true))
        return;
    zs_newest_gone(s);
    for (uint32_t i = 0; i < ZS_DIR_RINGS; i++) {
        uint32_t ref = atomic_exchange(&s->rx_rings.ring[i], 0);
        if (ref != 0)
            zs_block_free(&e->view, ref, t->session);
    }
    zs_unlock(&e->view, &s->rx_prod.lock);
}

/* Nobody comes to it any more but through the kernel. */
static void withdraw(struct engine *e, struct tracked *t)
{
    struct zs_session *s = zs_session_at(&e->view, t->session);
    t->stopped = true;
    ports_remove(e, t);
    wire_endpoint_close(e, t);
    atomic_store(&s->state, ZS_S_CLOSED);
    if (t->kind == ZS_KIND_TCP_LISTEN) {
        /* From here on a push is refused; one that was under way is found when the grace time is over. */
        atomic_fetch_add(&e->view.arena->listener[t->listener].gen, 1);
        wire_freeze(e);
        reset_queued(e, t);
        wire_thaw(e);
        pending_due(e);
    } else {
        free_rx_rings(e, t);
    }
    zs_notify(&e->view, s);
}

/* Others may hold it, too (shutdown(2) after a fork): it stays theirs, as a socket that nobody reaches, until the kernel reports its end. */
int endpoint_stop(struct engine *e, int fd)
{
    struct tracked *t = endpoint_of_socket(e, fd);
    if (t == NULL)
        return -ENOENT;
    if (t->kind == ZS_KIND_TCP)
        return -EINVAL;
    COUNT(e, STOPPED_BY_REQUEST);
    if (!t->stopped)
        withdraw(e, t);
    return 0;
}

void endpoint_close(struct engine *e, struct tracked *t)
{
    t->closing = true;
    t->grave_due = e->now + GRACE;
    tracked_forget_cookie(e, t);
    if (!t->stopped)
        withdraw(e, t);
    TAILQ_INSERT_TAIL(&e->graves, t, grave_link);
    timer_at(e, TIMER_GRACE, t->grave_due);
}

static void bury(struct engine *e, struct tracked *t)
{
    struct zs_session *s = zs_session_at(&e->view, t->session);
    TAILQ_REMOVE(&e->graves, t, grave_link);
    if (t->kind == ZS_KIND_TCP_LISTEN) {
        reset_queued(e, t);
        zs_listener_free(&e->view, t->listener);
    }
    /* zs_session_free() skips a slot without owner, which only a scribble can have made of it. */
    atomic_store(&s->owner, ZS_CLIENT_ENGINE);
    s->eph_slot = 0;
    uint32_t session = t->session;
    wire_udp_forget(e, t);
    tracked_drop(e, t);
    zs_session_free(&e->view, session);
}

static void bury_due(struct engine *e)
{
    while (!TAILQ_EMPTY(&e->graves) && TAILQ_FIRST(&e->graves)->grave_due <= e->now)
        bury(e, TAILQ_FIRST(&e->graves));
    if (!TAILQ_EMPTY(&e->graves))
        timer_at(e, TIMER_GRACE, TAILQ_FIRST(&e->graves)->grave_due);
    else if (e->client_count == 0 && e->by_session == NULL)
        reap_scrub(e);
}

void graves_due(struct engine *e)
{
    wire_freeze(e);
    bury_due(e);
    wire_thaw(e);
}

void graves_empty(struct engine *e)
{
    while (!TAILQ_EMPTY(&e->graves))
        bury(e, TAILQ_FIRST(&e->graves));
}
