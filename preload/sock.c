/* SPDX-License-Identifier: BSD-3-Clause
 * The life of a socket: socket, bind, names, shutdown, close. TCP is decided at connect and listen, never at socket(). */
#include "dgram.h"

#include <fcntl.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

/* ---- Addresses ---- */

int addr_from_sockaddr(struct zs_addr *a, const struct sockaddr *sa, socklen_t len)
{
    memset(a, 0, sizeof *a);
    if (sa == NULL || len < (socklen_t)sizeof(sa_family_t))
        return -EINVAL;
    if (sa->sa_family == AF_INET && len >= (socklen_t)sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *in = (const void *)sa;
        a->ip[10] = a->ip[11] = 0xff;
        memcpy(a->ip + 12, &in->sin_addr, 4);
        a->port = in->sin_port;
    } else if (sa->sa_family == AF_INET6 && len >= 24 /* SIN6_LEN_RFC2133 */) {
        const struct sockaddr_in6 *in6 = (const void *)sa;
        memcpy(a->ip, &in6->sin6_addr, 16);
        a->port = in6->sin6_port;
        a->scope_id = len >= (socklen_t)sizeof *in6 ? in6->sin6_scope_id : 0;
    } else {
        return -EAFNOSUPPORT;
    }
    a->family = sa->sa_family;
    return 0;
}

socklen_t addr_to_sockaddr(const struct zs_addr *a, int family, struct sockaddr_storage *ss)
{
    memset(ss, 0, sizeof(struct sockaddr_in6));
    if (family == AF_INET) {
        struct sockaddr_in *in = (void *)ss;
        in->sin_family = AF_INET;
        in->sin_port = a->port;
        memcpy(&in->sin_addr, a->ip + 12, 4);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (void *)ss;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = a->port;
    in6->sin6_scope_id = a->scope_id;
    memcpy(&in6->sin6_addr, a->ip, 16);
    return sizeof *in6;
}

void addr_copy_out(const struct zs_addr *a, int family, struct sockaddr *sa, socklen_t *len)
{
    struct sockaddr_storage ss;
    socklen_t n = addr_to_sockaddr(a, family, &ss);
    if (*len > 0)
        memcpy(sa, &ss, *len < n ? *len : n);
    *len = n;
}

int addr_give(const struct zs_addr *a, int family, struct sockaddr *sa, socklen_t *len)
{
    if (!user_writable(len, sizeof *len))
        return -EFAULT;
    socklen_t n = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if ((int)*len < 0)
        return -EINVAL;
    if (!user_writable(sa, *len < n ? *len : n))
        return -EFAULT;
    addr_copy_out(a, family, sa, len);
    return 0;
}

void addr_any_to_loopback(struct zs_addr *to)
{
    if (!zs_addr_is_any(to->ip))
        return;
    if (zs_addr_is_v4(to->ip))
        to->ip[12] = 127;
    to->ip[15] = 1;
}

uint64_t sock_cookie(int fd)
{
    uint64_t cookie = 0;
    socklen_t len = sizeof cookie;
    return zs_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0 ? cookie : 0;
}

int sock_kernel_addr(int fd, struct zs_addr *a, bool peer)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    long r = zs_sys(peer ? SYS_getpeername : SYS_getsockname, fd, &ss, &len);
    return r < 0 ? (int)r : addr_from_sockaddr(a, (struct sockaddr *)&ss, len);
}

/* ---- socket ---- */

int zsp_socket(int domain, int type, int protocol)
{
    int base = type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK);
    bool tcp = base == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP) && zs_proc.conf.tcp;
    bool udp = base == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP) && zs_proc.conf.udp;
    if ((domain != AF_INET && domain != AF_INET6) || !(tcp || udp) || !zs_proc.conf.enabled || zs_proc.other_netns || zs_passthrough())
        return REAL(socket)(domain, type, protocol);
    frame_begin();
    struct zs_domain *d = zs_attached();
    bool ours = d != NULL && !zs_proc.own_waits;
    int entry = -1, fd;
    if (ours && tcp) {
        fd = pool_take(d, domain, type, &entry);
        if (fd < 0)
            errno = -fd, fd = -1;
    } else {
        fd = REAL(socket)(domain, type, protocol);
        if (fd < 0 && errno == EMFILE && pool_give_way())
            fd = REAL(socket)(domain, type, protocol);
    }
    if (fd >= 0)
        fdtab_take(fd);
    struct zsock *k = fd >= 0 && ours ? zsock_new(tcp ? ZK_TCP : ZK_UDP, domain) : NULL;
    if (k != NULL) {
        k->fd = fd;
        k->pool = entry;
        atomic_store(&k->nonblock, (type & SOCK_NONBLOCK) != 0);
        atomic_store(&k->fds, 1);
        k->d = d;
        if (!fdtab_set(fd, FDT_SOCK, k)) {
            pool_leave(k);
            zsock_drop(k);
        } else {
            zs_why(d, fd, tcp ? IPPROTO_TCP : IPPROTO_UDP, ZS_VERDICT_UNDECIDED, ZS_REASON_NONE, k);
        }
    } else if (entry >= 0) {
        pool_retire(entry);
    }
    if (zs_proc.own_waits)
        zs_why(d, fd, tcp ? IPPROTO_TCP : IPPROTO_UDP, ZS_VERDICT_KERNEL, ZS_REASON_OWN_WAITS, NULL);
    frame_end();
    return fd;
}

void sock_registered(struct zsock *k, int fd)
{
    if (atomic_load(&k->nonblock))
        atomic_fetch_or(&k->s->flags, ZS_F_NONBLOCK);
    else /* a placeholder that was registered before is non-blocking itself */
        atomic_fetch_and(&k->s->flags, ~ZS_F_NONBLOCK);
    zs_sys(SYS_fcntl, fd, F_SETFL, zs_sys(SYS_fcntl, fd, F_GETFL, 0) | O_NONBLOCK);
    async_apply(k);
}

/* The kernel serves this socket from now on: every later call goes straight there. */
static void forget_fd(struct zsock *k, int fd, void *arg)
{
    if (k != arg)
        return;
    fdtab_take(fd);
    atomic_fetch_sub(&k->fds, 1);
    zsock_drop(k);
}

void sock_to_kernel(struct zsock *k, int fd, enum zs_reason reason)
{
    zs_why(k->d, fd, IPPROTO_TCP, ZS_VERDICT_KERNEL, reason, NULL);
    ep_sock_forget(k);
    pool_leave(k); /* the application's descriptor is the only one left */
    if (atomic_load(&k->fds) == 1) {
        forget_fd(k, fd, k);
        return;
    }
    zsock_for_each(forget_fd, k);
}

/* An address of the engine's ports, which the kernel does not know: it keeps the port all the same (IP_FREEBIND, ip(7)), so
 * that there is one authority for ports. */
static long bind_engine_address(struct zsock *k, int fd, const struct sockaddr *addr, socklen_t len)
{
    struct zs_addr a;
    struct zs_domain *d = zs_attached();
    int on = 1, before = 0;
    socklen_t size = sizeof before;
    if (d == NULL || addr_from_sockaddr(&a, addr, len) < 0 || !zs_addr_is_engine(&d->view, a.ip))
        return -EADDRNOTAVAIL;
    k->d = d;
    zs_sys(SYS_getsockopt, fd, IPPROTO_IP, IP_FREEBIND, &before, &size);
    zs_sys(SYS_setsockopt, fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof on);
    long r = zs_sys(SYS_bind, fd, addr, len);
    zs_sys(SYS_setsockopt, fd, IPPROTO_IP, IP_FREEBIND, &before, sizeof before);
    return r;
}

int zsp_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    struct call c;
    struct zsock *k = call_begin(&c, "bind", fd);
    if (k == NULL)
        return REAL(bind)(fd, addr, len);
    if (atomic_load(&k->kind) == ZK_CONN)
        return (int)call_end(&c, fd, -EINVAL);
    long r = zs_sys(SYS_bind, fd, addr, len);
    if (r == -EADDRNOTAVAIL)
        r = bind_engine_address(k, fd, addr, len);
    if (r == 0) {
        k->bound = true;
        pool_leave(k); /* it has an address now and must not serve another connection */
        if (atomic_load(&k->kind) == ZK_UDP)
            dgram_bind(k, fd, addr, len);
    }
    return (int)call_end(&c, fd, r);
}

/* TCP_CLOSE: reset, or ended on both sides (with the peer at hand nothing is left to be acknowledged). */
bool conn_over(const struct zsock *k)
{
    uint32_t in = atomic_load(&k->s->rx_prod.fin);
    return in == ZS_RST || (in != 0 && atomic_load(&k->peer->rx_prod.fin) != 0);
}

/* ---- names ---- */

static int name_call(const char *name, int fd, struct sockaddr *addr, socklen_t *len, bool peer)
{
    struct call c;
    struct zsock *k = call_begin(&c, name, fd);
    if (k == NULL)
        return peer ? REAL(getpeername)(fd, addr, len) : REAL(getsockname)(fd, addr, len);
    bool udp_wire = atomic_load(&k->kind) == ZK_UDP && dgram_wire_peer(k);
    if (!peer && atomic_load(&k->kind) == ZK_UDP)
        dgram_asked_name(k, fd);
    if (atomic_load(&k->kind) != ZK_CONN && !udp_wire)
        return (int)call_end(&c, fd, zs_sys(peer ? SYS_getpeername : SYS_getsockname, fd, addr, len));
    if (peer && !udp_wire && (atomic_load(&k->s->state) == ZS_S_EMBRYO || conn_over(k)))
        return (int)call_end(&c, fd, -ENOTCONN);
    return (int)call_end(&c, fd, addr_give(peer ? &k->s->remote : &k->s->local, k->family, addr, len));
}

int zsp_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
    return name_call("getsockname", fd, addr, len, false);
}

int zsp_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
    return name_call("getpeername", fd, addr, len, true);
}

/* ---- shutdown, close ---- */

_Atomic uint32_t *sock_lock(struct zsock *k, _Atomic uint32_t *own, _Atomic uint32_t *shared)
{
    struct zs_view *v = &k->d->view;
    if (!atomic_load_explicit(&k->left, memory_order_relaxed)) {
        zs_lock(v, own, false);
        if (ZS_LIKELY(!atomic_load(&k->left)))
            return own;
        zs_unlock(v, own); /* it left meanwhile */
    }
    zs_lock(v, shared, false);
    return shared;
}

bool sock_set_left(struct zsock *k)
{
    if (atomic_load(&k->left) || k->d == NULL)
        return !atomic_exchange(&k->left, true);
    struct zs_view *v = &k->d->view;
    zs_lock(v, &k->tx_own.lock, false);
    zs_lock(v, &k->rx_lock, false);
    bool was = atomic_exchange(&k->left, true);
    k->tx_own.size = 0;
    zs_unlock(v, &k->rx_lock);
    zs_unlock(v, &k->tx_own.lock);
    return !was;
}

static int shutdown_conn(struct zsock *k, int how)
{
    struct zs_view *v = &k->d->view;
    if (conn_over(k) || atomic_load(&k->s->state) == ZS_S_EMBRYO)
        return -ENOTCONN;
    if (how == SHUT_WR || how == SHUT_RDWR) {
        _Atomic uint32_t *held = sock_lock_tx(k);
        k->tx_own.size = 0; /* writes have to see it */
        zs_session_fin(v, k->index);
        sock_unlock(k, held);
    }
    if (how == SHUT_RD || how == SHUT_RDWR)
        atomic_fetch_or(&k->s->flags, ZS_F_SHUT_RD);
    zs_notify_own(v, k->s); /* own waiters: the state they see changed */
    return 0;
}

/* Queued connections are reset; where the kernel stopped listening, accept fails as it says. */
void sock_stop_listening(struct zsock *k, int fd, enum zs_reason reason)
{
    zs_rpc2(k->d, ZS_CTL_STOP, 0, 0, fd, NULL, NULL);
    atomic_fetch_sub(&zs_proc.endpoints, 1);
    atomic_store(&k->kind, ZK_TCP);
    if (!atomic_load(&k->nonblock))
        zs_sys(SYS_fcntl, fd, F_SETFL, O_RDWR);
    sock_to_kernel(k, fd, reason);
}

int zsp_shutdown(int fd, int how)
{
    struct call c;
    struct zsock *k = call_begin(&c, "shutdown", fd);
    if (k == NULL)
        return REAL(shutdown)(fd, how);
    if (how < SHUT_RD || how > SHUT_RDWR)
        return (int)call_end(&c, fd, -EINVAL);
    if (atomic_load(&k->kind) == ZK_CONN)
        return (int)call_end(&c, fd, shutdown_conn(k, how));
    pool_leave(k); /* the kernel keeps what was shut down, also where it says ENOTCONN */
    long r = zs_sys(SYS_shutdown, fd, how);
    if ((r == 0 || r == -ENOTCONN) && atomic_load(&k->kind) == ZK_UDP) { /* the kernel shuts an unconnected one, too (inet_shutdown) */
        k->shut_wr |= how != SHUT_RD;
        k->shut_rd |= how != SHUT_WR;
    }
    if (r == 0 && atomic_load(&k->kind) == ZK_LISTEN && how != SHUT_WR)
        sock_stop_listening(k, fd, ZS_REASON_OPTION);
    return (int)call_end(&c, fd, r);
}

/* The last reference is gone. Descriptors that other processes may hold keep the session: the engine closes it when the kernel
 * reports the placeholder's end. */
void sock_final(struct zsock *k, int fd)
{
    (void)fd;
    bool left = atomic_load(&k->left);
    if (atomic_load(&k->kind) == ZK_CONN && !left) {
        bool abort = atomic_load(&k->s->opts.linger) == 0;
        if (ZS_UNLIKELY(!atomic_load(&k->d->alive)) && k->peer != NULL && (atomic_load(&k->s->flags) & ZS_F_WIRE))
            stream_abandon(k);
        zs_session_close(&k->d->view, k->index, abort);
        atomic_fetch_add_explicit(&k->d->view.stats->closes, 1, memory_order_relaxed);
    }
    groups_forget(k);
    int entry = pool_forget(k);
    if (left)
        pool_retire(entry);
    else
        pool_release(entry, atomic_load(&k->nonblock));
}

/* Before the last descriptor of a listener or UDP socket goes: it must be unreachable when close returns. */
static void unregister(struct zsock *k)
{
    uint8_t kind = atomic_load(&k->kind);
    if (kind == ZK_LISTEN || (kind == ZK_UDP && k->s != NULL))
        atomic_fetch_sub(&zs_proc.endpoints, 1);
    if (atomic_load(&k->left) || k->s == NULL || (kind != ZK_LISTEN && kind != ZK_UDP))
        return;
    zs_rpc2(k->d, ZS_CTL_CLOSE, k->index, k->gen, -1, NULL, NULL);
}

/* A descriptor of the socket, already out of the table, is about to be closed or replaced. */
void sock_detach_fd(struct zsock *k, int fd)
{
    if (ZS_UNLIKELY(zs_thread.nunder > 0))
        zs_jumped();
    zs_why(k->d, fd, 0, ZS_VERDICT_UNDECIDED, ZS_REASON_NONE, NULL);
    if (atomic_fetch_sub(&k->fds, 1) == 1) {
        ep_sock_closed(k);
        unregister(k);
    }
    if (k->fd == fd)
        k->fd = -1;
}

int sock_close_fd(int fd, uintptr_t raw)
{
    struct zsock *k = fd_sock(raw);
    sock_detach_fd(k, fd);
    int r = (int)zs_sys(SYS_close, fd);
    zsock_drop(k);
    return r;
}

/* ---- descriptors that come from elsewhere ---- */

/* A TCP socket that is neither connected nor listening yet is undecided here as it was where it came from. */
static int claim_undecided(int fd, int family, struct zs_domain *d)
{
    struct tcp_info info;
    struct zs_addr local;
    int proto;
    socklen_t len = sizeof proto;
    if (!zs_proc.conf.tcp || zs_proc.own_waits || zs_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_PROTOCOL, &proto, &len) < 0 || proto != IPPROTO_TCP)
        return 0;
    len = sizeof info;
    if (zs_sys(SYS_getsockopt, fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 || info.tcpi_state != TCP_CLOSE)
        return 0;
    struct zsock *k = zsock_new(ZK_TCP, family);
    if (k == NULL)
        return 0;
    k->d = d;
    k->fd = fd;
    k->bound = sock_kernel_addr(fd, &local, false) == 0 && local.port != 0;
    atomic_store(&k->left, true);
    atomic_store(&k->nonblock, (zs_sys(SYS_fcntl, fd, F_GETFL) & O_NONBLOCK) != 0);
    atomic_store(&k->fds, 1);
    if (!fdtab_set(fd, FDT_SOCK, k)) {
        zsock_drop(k);
        return 0;
    }
    zs_why(d, fd, IPPROTO_TCP, ZS_VERDICT_UNDECIDED, ZS_REASON_NONE, k);
    return 1;
}

int sock_claim(int fd)
{
    int family, type;
    socklen_t len = sizeof(int);
    if (zs_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &family, &len) < 0 || (family != AF_INET && family != AF_INET6))
        return 0;
    len = sizeof(int);
    if (zs_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
        return 0;
    struct zs_domain *d = zs_attached();
    struct zs_ctl_reply reply;
    int r = d != NULL ? zs_rpc2(d, ZS_CTL_CLAIM, 0, 0, fd, &reply, NULL) : -EPIPE;
    if (r == -ENOENT && type == SOCK_STREAM)
        return claim_undecided(fd, family, d);
    if (r < 0)
        return 0;
    struct zs_session *s = zs_session_at(&d->view, reply.a);
    if (s == NULL || atomic_load(&s->gen) != reply.b)
        return 0;
    struct zsock *k = zsock_new(s->kind == ZS_KIND_TCP ? ZK_CONN : s->kind == ZS_KIND_UDP ? ZK_UDP : ZK_LISTEN, family);
    if (k == NULL)
        return 0;
    k->d = d;
    k->s = s;
    k->index = reply.a;
    k->gen = reply.b;
    k->fd = fd;
    k->came = atomic_load(&zs_proc.generation) + 1;
    k->peer = s->kind == ZS_KIND_TCP ? zs_session_peer(&d->view, s) : NULL;
    atomic_store(&k->left, true);
    long fl = zs_sys(SYS_fcntl, fd, F_GETFL);
    bool conn = s->kind == ZS_KIND_TCP;
    atomic_store(&k->nonblock, conn ? (fl & O_NONBLOCK) != 0 : (atomic_load(&s->flags) & ZS_F_NONBLOCK) != 0);
    atomic_store(&k->fds, 1);
    k->backlog = (int)ZS_BACKLOG_MAX;
    if (!conn)
        atomic_fetch_add(&zs_proc.endpoints, 1);
    fdtab_set(fd, FDT_SOCK, k);
    if (!conn)
        k->pre = opt_current(k); /* what is set from now on is beside them; accepted sockets have a listener's */
    k->dg.touched = true;
    if (s->kind == ZS_KIND_UDP) {
        k->dg.port = s->port;
        k->dg.settling = true; /* who had it may have been told of late */
        dg_load(k, fd);
        dg_publish(k);
    }
    if (s->kind == ZS_KIND_TCP_LISTEN && zs_proc.own_waits) { /* it would never hear of who comes through shared memory */
        sock_stop_listening(k, fd, ZS_REASON_OWN_WAITS);
        return 0;
    }
    if (conn)
        sock_why_conn(k, fd);
    else
        zs_why(d, fd, type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP, ZS_VERDICT_BOTH, ZS_REASON_LISTENER, k);
    return 1;
}
