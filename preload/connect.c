/* SPDX-License-Identifier: BSD-3-Clause
 * connect: where a TCP connection goes is decided here, once. Inside the domain it becomes a pair of sessions; anything else
 * is the kernel's from then on. */
#include "dgram.h"

#include <fcntl.h>
#include <netinet/in.h>

void sock_become_conn(struct zsock *k, int fd, struct zs_domain *d, uint32_t session)
{
    k->d = d;
    k->index = session;
    k->s = zs_session_at(&d->view, session);
    k->gen = atomic_load(&k->s->gen);
    k->peer = zs_session_peer(&d->view, k->s);
    opt_apply(k);
    async_apply(k);
    if (d->view.confined)
        atomic_fetch_or(&k->s->flags, ZS_F_NO_LEND);
    else
        atomic_fetch_and(&k->s->flags, ~ZS_F_NO_LEND); /* a listener's, which another process that has it is not to map for */
    atomic_store(&k->kind, ZK_CONN);
    sock_why_conn(k, fd);
}

void sock_why_conn(const struct zsock *k, int fd)
{
    bool wire = atomic_load(&k->s->flags) & ZS_F_WIRE;
    zs_why(k->d, fd, IPPROTO_TCP, wire ? ZS_VERDICT_WIRE : ZS_VERDICT_LOCAL, wire ? ZS_REASON_WIRE_ROUTE : ZS_REASON_PEER_LOCAL, k);
}

static void prepare(const void *arg, struct zs_session *s)
{
    const struct zsock *k = arg;
    opt_fill(s, &k->pre);
}

/* An address that a port of the engine leads to. The source is the engine's own or left to it. */
static int connect_over_wire(struct zsock *k, int fd, struct zs_domain *d, struct zs_connect *c)
{
    struct zs_addr bound;
    c->from = (struct zs_addr){.family = (uint16_t)k->family, .ip = {[10] = 0xff, [11] = 0xff}};
    if (k->bound && sock_kernel_addr(fd, &bound, false) == 0) {
        c->from.port = bound.port;
        if (!zs_addr_is_any(bound.ip))
            memcpy(c->from.ip, bound.ip, 16);
    }
    c->to.family = (uint16_t)k->family;
    c->prepare = prepare;
    c->arg = k;
    return zs_connect_wire(d, c);
}

/* Bound to an address that only the kernel has: it must leave by the kernel. */
static bool bound_to_kernel(struct zsock *k, int fd, struct zs_domain *d)
{
    struct zs_addr bound;
    return k->bound && sock_kernel_addr(fd, &bound, false) == 0 && !zs_addr_is_any(bound.ip) &&
           !zs_addr_is_engine(&d->view, bound.ip);
}

/* An IPv6-only socket does not reach IPv4: the kernel says so (ENETUNREACH). */
static bool v6only_refuses(const struct zsock *k, int fd, const struct zs_addr *to)
{
    int only = 0;
    socklen_t size = sizeof only;
    return k->family == AF_INET6 && zs_addr_is_v4(to->ip) &&
           zs_sys(SYS_getsockopt, fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &size) == 0 && only != 0;
}

/* A connect that the kernel is to do. A handler that leaves it by longjmp leaves it announced: until this process ends, who listens on
 * that port waits a moment first. */
struct kernels {
    bool it_is;
    enum zs_reason reason;
    struct zs_domain *d; /* where it is announced, until that connect is done */
    int announced;
};

static void kernels_done(struct kernels *o)
{
    if (o->d != NULL)
        zs_announce_end(&o->d->view, o->announced);
    o->announced = -1;
}

/* Where the connection goes: 0 accelerated, 1 the kernel (*o filled but for it_is), negative errno. */
static int decide_connect(struct zsock *k, int fd, const struct zs_addr *to, struct kernels *o)
{
    struct zs_domain *d = zs_attached();
    struct zs_connect c = {.to = *to, .announced = -1};
    o->reason = ZS_REASON_ENGINE_GONE;
    /* The listeners in the arena of a dead engine may be dead, too: one look at the control connection. */
    if (d != NULL && !zs_domain_check(d))
        d = zs_attached();
    if (d == NULL)
        return 1;
    o->reason = ZS_REASON_NOT_HOST;
    bool own = zs_addr_is_own(&d->view, to->ip);
    if (!own && (!zs_addr_on_wire(&d->view, to) || bound_to_kernel(k, fd, d)))
        return 1;
    if (v6only_refuses(k, fd, to))
        return 1;
    if (k->dg.port == DG_PORT_KERNEL && !own)
        return 1;
    c.port = k->dg.port == DG_PORT_KERNEL ? 0 : k->dg.port;
    if (c.port != 0 && own) /* bound to a device: this host is not behind it */
        return -ENETUNREACH;
    if (k->bound && sock_kernel_addr(fd, &c.from, false) == 0 && !zs_addr_is_any(c.from.ip) &&
        zs_addr_is_v4(c.from.ip) != zs_addr_is_v4(to->ip))
        return 1;
    c.from.family = (uint16_t)k->family;
    c.to.family = (uint16_t)k->family;
    int r = own ? zs_connect(d, &c) : connect_over_wire(k, fd, d, &c);
    o->d = d;
    o->announced = c.announced;
    o->reason = r == -ENOBUFS ? ZS_REASON_NO_MEMORY : r == -EPIPE ? ZS_REASON_ENGINE_GONE : ZS_REASON_NO_LISTENER;
    if (own && zs_addr_is_engine(&d->view, to->ip) && r == -ECONNREFUSED)
        return r; /* the kernel knows nothing of that address */
    if (r == -ECONNREFUSED || r == -ENOBUFS || r == -EPIPE)
        return 1;
    if (r < 0)
        return r;
    sock_become_conn(k, fd, d, c.session);
    k->deferred = c.deferred;
    ep_sock_decided(k);
    if (atomic_load(&k->s->state) != ZS_S_EMBRYO)
        zs_async_raise(&d->view, k->s, ZS_ASYNC_OUT); /* as tcp_finish_connect */
    return 0;
}

/* Waits until the engine has placed a deferred connection, or gave up. */
static int wait_connected(struct zsock *k, int fd)
{
    uint64_t deadline = k->pre.sndtimeo_us ? zs_now_ns() + k->pre.sndtimeo_us * 1000 : 0;
    while (atomic_load(&k->s->state) == ZS_S_EMBRYO && atomic_load(&k->s->error) == 0) {
        int r = wait_fd(fd, POLLOUT, deadline, deadline == 0);
        if (r == -EAGAIN || r == -EINTR) {
            k->connecting = true; /* it goes on; a later connect() tells how it ended */
            return r == -EAGAIN ? -EINPROGRESS : r;
        }
    }
    k->deferred = false;
    return -(int)atomic_exchange(&k->s->error, 0);
}

static int connect_tcp(struct zsock *k, int fd, const struct sockaddr *addr, socklen_t len, bool block, struct kernels *o)
{
    struct zs_addr to;
    if (addr_from_sockaddr(&to, addr, len) < 0 || (k->family == AF_INET && to.family != AF_INET) ||
        (k->family == AF_INET6 && to.family != AF_INET6)) {
        /* The kernel's error, or AF_UNSPEC on a socket without a connection: it stays undecided. */
        return (int)zs_sys(SYS_connect, fd, addr, len);
    }
    addr_any_to_loopback(&to);
    k->soft_error = 0;
    int r = decide_connect(k, fd, &to, o);
    if (r == 1) {
        sock_to_kernel(k, fd, o->reason);
        o->it_is = true;
        return 0;
    }
    kernels_done(o);
    if (r < 0)
        return r;
    if (stream_syn_waits(k))
        return 0;
    if (!block) {
        k->connecting = true;
        return -EINPROGRESS; /* as Linux, on loopback too */
    }
    return k->deferred ? wait_connected(k, fd) : 0;
}

/* connect(AF_UNSPEC): the peer is reset, the socket is as before its first connect (tcp_disconnect). */
static int disconnect(struct zsock *k)
{
    ep_sock_undecided(k);
    atomic_store(&k->kind, ZK_TCP);
    zs_session_close(&k->d->view, k->index, true);
    k->s = k->peer = NULL;
    k->index = ZS_NO_SESSION;
    k->connecting = k->deferred = false;
    k->soft_error = ECONNRESET;
    memset(&k->tx, 0, sizeof k->tx);
    k->tx_own.size = 0;
    return 0;
}

static int connect_again(struct zsock *k, int fd, const struct sockaddr *addr, socklen_t len)
{
    if (len >= sizeof(sa_family_t) && addr != NULL && addr->sa_family == AF_UNSPEC)
        return disconnect(k);
    if (!k->connecting)
        return -EISCONN;
    if (atomic_load(&k->s->state) == ZS_S_EMBRYO && atomic_load(&k->s->error) == 0) {
        if (atomic_load(&k->nonblock))
            return -EALREADY;
        int r = wait_connected(k, fd);
        if (r < 0)
            return r;
    }
    k->connecting = k->deferred = false;
    return -(int)atomic_exchange(&k->s->error, 0);
}

int conn_fastopen(struct zsock *k, int fd, const struct sockaddr *to, socklen_t len, int flags)
{
    uint32_t before = k->pre.bits & ZS_O_FASTOPEN;
    struct kernels o = {.announced = -1};
    bool block = !(flags & MSG_DONTWAIT) && !atomic_load(&k->nonblock);
    if (to != NULL && len >= sizeof(sa_family_t) && to->sa_family == AF_UNSPEC)
        return -EOPNOTSUPP;
    if (atomic_load(&k->kind) == ZK_CONN)
        return stream_syn_waits(k) ? 0 : connect_again(k, fd, to, len);
    if (atomic_load(&k->kind) != ZK_TCP)
        return -EISCONN;
    if (to == NULL)
        return -EINVAL;
    k->pre.bits |= ZS_O_FASTOPEN;
    int r = connect_tcp(k, fd, to, len, block, &o);
    kernels_done(&o); /* a send follows, which does not come back here */
    k->pre.bits = (k->pre.bits & ~ZS_O_FASTOPEN) | before;
    if (k->s != NULL && before == 0)
        atomic_fetch_and(&k->s->opts.bits, ~ZS_O_FASTOPEN);
    return o.it_is ? 1 : r;
}

int conn_fastopen_sent(struct zsock *k, bool block)
{
    atomic_fetch_and(&k->s->flags, ~ZS_F_SYN_WAITS);
    k->connecting = k->deferred = true;
    return block ? wait_connected(k, k->fd) : 0;
}

/* A connect over the wire failed and its error was told: the socket may be used for another (tcp_v4_connect). */
static bool failed_before(const struct zsock *k)
{
    return atomic_load(&k->s->state) == ZS_S_EMBRYO && atomic_load(&k->s->rx_prod.fin) == ZS_RST &&
           atomic_load(&k->s->error) == 0;
}

/* The kernel has no route to such a peer, or a wrong one: it only keeps the port. */
static bool connect_udp_wire(struct zsock *k, int fd, const struct sockaddr *addr, socklen_t len, int *result)
{
    struct zs_domain *d = k->s != NULL ? k->d : zs_attached();
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    struct zs_addr to;
    uint32_t fallback;
    if (d == NULL || addr_from_sockaddr(&to, addr, len) < 0 || zs_addr_is_any(to.ip) || zs_addr_is_own(&d->view, to.ip) ||
        (k->family == AF_INET6) != (to.family == AF_INET6) || v6only_refuses(k, fd, &to))
        return false;
    k->d = d;
    uint32_t port = dg_port_to(k, &to, 0, &fallback);
    if (port == 0)
        return false;
    zs_sys(SYS_connect, fd, &none, sizeof none);
    *result = dgram_autobind(k, fd);
    if (*result < 0)
        return true;
    *result = dg_is_broadcast(k, port, &to) && !k->dg.value[DG_BROADCAST] ? -EACCES : 0;
    if (*result < 0 || (zs_addr_is_any(k->s->local.ip) && !zs_wire_source(&d->view, port, !zs_addr_is_v4(to.ip), k->s->local.ip)))
        return true;
    k->s->remote = to;
    atomic_store(&k->s->pmtu, 0);
    atomic_fetch_or(&k->s->flags, ZS_F_CONNECTED | ZS_F_WIRE);
    return true;
}

static int connect_udp(struct zsock *k, int fd, const struct sockaddr *addr, socklen_t len)
{
    int result;
    if (connect_udp_wire(k, fd, addr, len, &result))
        return result;
    long r = zs_sys(SYS_connect, fd, addr, len);
    if (r < 0)
        return (int)r;
    bool dissolve = addr->sa_family == AF_UNSPEC;
    if (dissolve)
        dgram_disconnected(k);
    if (k->s == NULL && !dissolve && !dgram_connected(k, fd))
        dgram_bound(k, fd);
    if (k->s == NULL)
        return 0;
    struct zs_addr local, remote;
    if (dissolve || sock_kernel_addr(fd, &remote, true) < 0) {
        atomic_fetch_and(&k->s->flags, ~(ZS_F_CONNECTED | ZS_F_WIRE));
        if (sock_kernel_addr(fd, &local, false) == 0 && local.port == 0)
            dgram_unbound(k, fd); /* a port that the kernel had chosen goes with the connection */
        return 0;
    }
    if (sock_kernel_addr(fd, &local, false) == 0)
        memcpy(k->s->local.ip, local.ip, 16);
    k->s->remote = remote;
    atomic_fetch_and(&k->s->flags, ~ZS_F_WIRE);
    atomic_fetch_or(&k->s->flags, ZS_F_CONNECTED);
    return 0;
}

int zsp_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    struct call c;
    struct zsock *k = call_begin(&c, "connect", fd);
    if (k == NULL)
        return REAL(connect)(fd, addr, len);
    if (len > sizeof(struct sockaddr_storage) || !user_readable(addr, len))
        return (int)call_end(&c, fd, len > sizeof(struct sockaddr_storage) ? -EINVAL : -EFAULT);
    struct kernels o = {.announced = -1};
    int r;
    switch (atomic_load(&k->kind)) {
    case ZK_TCP:
        r = connect_tcp(k, fd, addr, len, !atomic_load(&k->nonblock), &o);
        break;
    case ZK_CONN:
        if (failed_before(k)) {
            disconnect(k);
            k->soft_error = 0;
            r = connect_tcp(k, fd, addr, len, !atomic_load(&k->nonblock), &o);
        } else {
            r = connect_again(k, fd, addr, len);
        }
        break;
    case ZK_LISTEN:
        r = (int)zs_sys(SYS_connect, fd, addr, len); /* EISCONN, or AF_UNSPEC: it stops listening (tcp_disconnect) */
        if (r == 0)
            sock_stop_listening(k, fd, ZS_REASON_OPTION);
        break;
    default:
        r = connect_udp(k, fd, addr, len);
    }
    if (o.it_is) {
        call_pass(&c);
        r = REAL(connect)(fd, addr, len);
        kernels_done(&o);
        return r;
    }
    return (int)call_end(&c, fd, r);
}
