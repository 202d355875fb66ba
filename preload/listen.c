/* SPDX-License-Identifier: BSD-3-Clause
 * listen and accept. A listener listens in both worlds: programs of this engine come through the accept queue in shared
 * memory, all others through the kernel's. Its placeholder is non-blocking always, so that no thread is caught in the
 * kernel's accept while a connection waits in shared memory; what the application set is kept in the session. */
#include "preload.h"

#include <fcntl.h>
#include <netinet/in.h>

/* How many connections in a row may come from shared memory while the kernel has some, too. */
#define LOCAL_RUN 16u
#define CONNECT_WAIT_NS 10000000u /* on loopback a connect that takes longer waits for another listener's queue, or is stopped */

static int register_listener(struct zsock *k, int fd, struct zs_domain *d, int backlog)
{
    struct zs_ctl_reply reply;
    uint32_t len = backlog < 0 || backlog > (int)ZS_BACKLOG_MAX ? ZS_BACKLOG_MAX : (uint32_t)backlog;
    int r = zs_rpc2(d, ZS_CTL_LISTEN, len, k->dg.port == DG_PORT_KERNEL ? 0 : k->dg.port, fd, &reply, NULL);
    if (r < 0)
        return r;
    if (reply.a >= ZS_MAX_SESSIONS)
        return -EPROTO;
    k->backlog = backlog;
    k->d = d;
    k->index = reply.a;
    k->gen = reply.b;
    k->s = zs_session_at(&d->view, reply.a);
    sock_registered(k, fd);
    opt_apply(k); /* what the wire's handshakes need to know */
    tcpopt_fastopen_key(k, fd);
    return 0;
}

/* Nobody will look at the queue in the dead engine's arena again: what is in it is reset, what comes is refused. */
static void abandon_queue(struct zsock *k)
{
    struct zs_view *v = &k->d->view;
    atomic_store(&k->s->state, ZS_S_CLOSED);
    if (k->s->listener < ZS_MAX_LISTENERS)
        atomic_fetch_add(&v->arena->listener[k->s->listener].gen, 1);
    for (int64_t si; (si = zs_accept_pop(v, k->s->listener)) >= 0;)
        zs_session_close(v, (uint32_t)si, true);
}

/* After a new engine came: the listener's queue moves there. */
int sock_listen_again(struct zsock *k, struct zs_domain *d)
{
    ep_sock_forget(k);
    abandon_queue(k);
    int r = register_listener(k, k->fd, d, k->backlog);
    if (r == 0)
        zs_why(d, k->fd, IPPROTO_TCP, ZS_VERDICT_BOTH, ZS_REASON_LISTENER, k);
    if (r == 0)
        ep_sock_decided(k);
    return r;
}

/* The kernel's half is reached as soon as it is open. Programs of this engine that come then wait for the other one (zs_connect);
 * those that missed it in the port table already get the kernel's refusal first. */
static int announce(struct zs_domain *d, int fd)
{
    struct zs_addr local;
    if (d == NULL || sock_kernel_addr(fd, &local, false) != 0 || local.port == 0)
        return -ENOENT; /* the kernel will choose the port, which nobody can know */
    uint16_t port = ntohs(local.port);
    int announced = zs_announce(&d->view, ZS_ABOUT_TO_LISTEN, port);
    uint64_t until = zs_now_ns() + CONNECT_WAIT_NS;
    while (announced >= 0 && zs_announced(&d->view, ZS_ABOUT_TO_CONNECT, port) && zs_now_ns() < until)
        sched_yield();
    return announced;
}

/* Opens both halves. The result is the kernel's, *reg the engine's. */
static long listen_both(struct zsock *k, int fd, struct zs_domain *d, int backlog, int *reg)
{
    int announced = atomic_load(&k->kind) == ZK_LISTEN ? -EALREADY : announce(d, fd);
    long r = zs_sys(SYS_listen, fd, backlog);
    if (r == 0)
        *reg = d != NULL ? register_listener(k, fd, d, backlog) : -EPIPE;
    if (d != NULL)
        zs_announce_end(&d->view, announced);
    return r;
}

int zsp_listen(int fd, int backlog)
{
    struct call c;
    struct zsock *k = call_begin(&c, "listen", fd);
    if (k == NULL)
        return REAL(listen)(fd, backlog);
    uint8_t kind = atomic_load(&k->kind);
    if (kind == ZK_CONN)
        return (int)call_end(&c, fd, -EINVAL);
    if (kind == ZK_UDP)
        return (int)call_end(&c, fd, zs_sys(SYS_listen, fd, backlog));
    struct zs_domain *d = kind == ZK_LISTEN ? k->d : zs_attached();
    int reg = 0;
    long r = listen_both(k, fd, d, backlog, &reg);
    if (r < 0)
        return (int)call_end(&c, fd, r);
    if (kind == ZK_LISTEN)
        return (int)call_end(&c, fd, 0);
    if (reg < 0) {
        zs_log(ZS_LOG_WARN, "listener on descriptor %d is left to the kernel: %s", fd, strerror(-reg));
        sock_to_kernel(k, fd, d == NULL ? ZS_REASON_ENGINE_GONE : ZS_REASON_NO_MEMORY);
        return (int)call_end(&c, fd, 0);
    }
    pool_leave(k); /* it has an address in the kernel now: never reused */
    atomic_fetch_add(&zs_proc.endpoints, 1);
    atomic_store(&k->kind, ZK_LISTEN);
    if (atomic_load(&k->left))
        share_socks(&k, 1); /* others may hold it since it was bound */
    zs_why(d, fd, IPPROTO_TCP, ZS_VERDICT_BOTH, ZS_REASON_LISTENER, k);
    ep_sock_decided(k);
    return (int)call_end(&c, fd, 0);
}

/* ---- accept ---- */

/* One connection from shared memory: its new descriptor; -EAGAIN none, -EMFILE and the like before one was taken. */
static int accept_local(struct zsock *l, struct sockaddr *addr, socklen_t *len, int flags)
{
    int entry;
    int fd = pool_take(l->d, l->family, flags, &entry);
    if (fd < 0)
        return fd;
    int64_t si = zs_accept(l->d, l->s);
    struct zsock *k = si >= 0 ? zsock_new(ZK_CONN, l->family) : NULL;
    if (k == NULL) {
        zs_sys(SYS_close, fd);
        pool_release(entry, flags & SOCK_NONBLOCK);
        if (si >= 0)
            zs_session_close(&l->d->view, (uint32_t)si, true);
        return si < 0 ? -EAGAIN : -ENOMEM;
    }
    fdtab_take(fd);
    k->fd = fd;
    k->pool = entry;
    k->accepted = true;
    atomic_store(&k->nonblock, (flags & SOCK_NONBLOCK) != 0);
    atomic_store(&k->fds, 1);
    opt_inherit(k, l);
    sock_become_conn(k, fd, l->d, (uint32_t)si);
    int r = addr != NULL ? addr_give(&k->s->remote, k->family, addr, len) : 0;
    if (r < 0 || !fdtab_set(fd, FDT_SOCK, k)) { /* as the kernel: the connection is closed */
        zs_sys(SYS_close, fd);
        zsock_drop(k);
        return r < 0 ? r : -EMFILE;
    }
    return fd;
}

static long accept_kernel(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    long r = zs_sys(SYS_accept4, fd, addr, len, flags);
    if (r >= 0)
        fdtab_take((int)r); /* whatever a closed descriptor left there */
    return r;
}

static long accept_any(struct zsock *k, int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    k->served = true;
    uint64_t deadline = k->pre.rcvtimeo_us ? zs_now_ns() + k->pre.rcvtimeo_us * 1000 : 0;
    for (;;) {
        bool kernel_first = atomic_fetch_add_explicit(&k->turn, 1, memory_order_relaxed) % LOCAL_RUN == LOCAL_RUN - 1;
        long r = kernel_first ? accept_kernel(fd, addr, len, flags) : -EAGAIN;
        if (r == -EAGAIN && zs_accept_ready(k->d, k->s))
            r = accept_local(k, addr, len, flags);
        if (r == -EAGAIN && !kernel_first)
            r = accept_kernel(fd, addr, len, flags);
        if (r != -EAGAIN || atomic_load(&k->nonblock))
            return r;
        int w = wait_fd(fd, POLLIN, deadline, deadline == 0);
        if (w < 0)
            return w;
    }
}

static int do_accept(const char *name, int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    struct call c;
    struct zsock *k = call_begin(&c, name, fd);
    if (k == NULL) {
        int r = REAL(accept4)(fd, addr, len, flags);
        if (r >= 0 && zs_fdtab != NULL && !zs_passthrough())
            fdtab_take(r);
        return r;
    }
    long r;
    if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))
        r = -EINVAL;
    else if (atomic_load(&k->kind) == ZK_LISTEN)
        r = accept_any(k, fd, addr, len, flags);
    else
        r = atomic_load(&k->kind) == ZK_CONN ? -EINVAL : zs_sys(SYS_accept4, fd, addr, len, flags);
    return (int)call_end(&c, fd, r);
}

int zsp_accept(int fd, struct sockaddr *addr, socklen_t *len)
{
    return do_accept("accept", fd, addr, len, 0);
}

int zsp_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    return do_accept("accept4", fd, addr, len, flags);
}
