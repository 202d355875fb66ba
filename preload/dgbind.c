/* SPDX-License-Identifier: BSD-3-Clause
 * When the engine learns of a UDP socket. A request to the engine costs more than the question and the answer of a socket that is
 * used for no more than these (DNS), so that it is told of a socket only when it has to know:
 *
 * - at once, where datagrams may come that nobody but the engine can bring: over the wire, for groups, to one of several sockets
 *   that share an address; while same-host traffic is captured; for an epoll set that tells edges; for
 *   completions of MSG_ZEROCOPY;
 * - when a socket waits that has not sent anything: a server;
 * - with the third datagram of a client (a name's two kinds of addresses are asked for by two), or its sixth look for one.
 *
 * Until then it is the kernel's for everybody else: its first datagram goes into the receiver's ring all the same, with the address
 * that the kernel gave it, and the answer comes from the kernel. A thread that waits there hears nothing from the ring: where there
 * are several threads, none does so before the engine was told, or, of a socket that is not bound yet, keeps the others from telling
 * it; and a signal handler, which may have interrupted such a wait, does not tell it. Where the engine has to know all the same (the wire),
 * such a thread looks now and then. Whoever else gets a bound socket (fork, exec, SCM_RIGHTS) gets one that the engine knows; one that was not
 * bound then, or is waited for in the kernel, stays as it is. */
#include "dgram.h"
#include "capring.h"

#include <fcntl.h>
#include <netinet/in.h>

/* ---- Told ---- */

static int tell(struct zsock *k, struct zs_domain *d, int fd)
{
    struct zs_ctl_reply reply;
    dg_load(k, fd); /* before others may receive by them */
    int r = zs_rpc2(d, ZS_CTL_UDP_OPEN, k->dg.port == DG_PORT_KERNEL ? 0 : k->dg.port, !k->bound || k->dg.any_port, fd, &reply, NULL);
    if (r < 0 || reply.a >= ZS_MAX_SESSIONS)
        return r < 0 ? r : -EPROTO;
    k->d = d;
    k->index = reply.a;
    k->gen = reply.b;
    k->dg.settling = true;
    k->s = zs_session_at(&d->view, reply.a);
    dg_publish(k);
    groups_bound(k);
    sock_registered(k, fd);
    atomic_fetch_add(&zs_proc.endpoints, 1);
    zs_why(d, fd, IPPROTO_UDP, ZS_VERDICT_BOTH, ZS_REASON_DATAGRAM, k);
    if (atomic_load(&k->left)) /* before anybody could say so */
        share_socks(&k, 1);
    ep_sock_decided(k);
    return 0;
}

enum how {
    WHEN_QUIET, /* nobody waits for it past the library, and no other process may */
    ALSO_LEFT,  /* another process may, which hears nothing of it */
    MUST,
};

static bool in_handler(void)
{
    struct zs_thread *t = &zs_thread;
    if (t->handler_frame != NULL && (char *)__builtin_frame_address(0) > t->handler_frame)
        t->handler_frame = NULL; /* it was left by a jump */
    return t->handler_frame != NULL;
}

static bool waited_for(const struct zsock *k)
{
    return atomic_load(&k->dg.waits) != 0 || atomic_load(&zs_proc.udp_polls) != 0 || (__libc_single_threaded && in_handler());
}

static int told(struct zsock *k, int fd, enum how how)
{
    struct zs_domain *d = zs_attached();
    int r = 0;
    if (k->s != NULL || d == NULL)
        return 0;
    zs_word_lock(&k->dg.opening);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in dgram_waits() */
    /* Without ports the kernel can bring, and take, everything; with them who waits looks. */
    bool may = !waited_for(k) || (how == MUST && d->view.arena->header.wire_ports != 0);
    if (k->s == NULL && may && (how != WHEN_QUIET || !atomic_load(&k->left)))
        r = tell(k, d, fd);
    zs_word_unlock(&k->dg.opening);
    return r;
}

int dgram_bound(struct zsock *k, int fd)
{
    return told(k, fd, MUST);
}

void dgram_bound_again(struct zsock *k, int fd)
{
    struct zs_session *old = k->s;
    ep_sock_forget(k);
    atomic_store(&old->state, ZS_S_CLOSED);
    k->s = NULL;
    atomic_fetch_sub(&zs_proc.endpoints, 1);
    if (dgram_bound(k, fd) < 0 || k->s == NULL || !(atomic_load(&old->flags) & ZS_F_CONNECTED))
        return;
    k->s->remote = old->remote;
    atomic_fetch_or(&k->s->flags, ZS_F_CONNECTED | (atomic_load(&old->flags) & ZS_F_WIRE));
}

static void forget_session(struct zsock *k, int fd)
{
    struct zs_session *old = k->s;
    ep_sock_forget(k);
    k->s = NULL;
    zs_notify(&k->d->view, old); /* who waited for it looks again */
    atomic_fetch_sub(&zs_proc.endpoints, 1);
    if (!atomic_load(&k->nonblock))
        zs_sys(SYS_fcntl, fd, F_SETFL, O_RDWR);
}

/* The port is gone: nobody can reach the socket until it is bound again. */
void dgram_unbound(struct zsock *k, int fd)
{
    zs_rpc2(k->d, ZS_CTL_CLOSE, k->index, k->gen, -1, NULL, NULL);
    forget_session(k, fd);
}

void dgram_stop(struct zsock *k, int fd, enum zs_reason reason)
{
    zs_rpc2(k->d, ZS_CTL_STOP, 0, 0, fd, NULL, NULL);
    zs_why(k->d, fd, IPPROTO_UDP, ZS_VERDICT_KERNEL, reason, NULL);
    forget_session(k, fd);
}

static void kernel_bind(struct zsock *k, int fd)
{
    struct sockaddr_storage any = {.ss_family = k->family};
    zs_sys(SYS_bind, fd, &any, k->family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
}

int dgram_autobind(struct zsock *k, int fd)
{
    if (k->s != NULL)
        return 0;
    kernel_bind(k, fd);
    int r = dgram_bound(k, fd);
    return r < 0 ? r : k->s == NULL ? -EPIPE : 0;
}

/* ---- Not told yet ---- */

/* It is bound, so that others may have its address. */
static bool reachable(const struct zsock *k)
{
    return k->bound || k->dg.known || k->dg.connected;
}

static bool shares_address(const struct zsock *k, int fd)
{
    int addr = 0, port = 0;
    socklen_t len = sizeof addr;
    if (!k->dg.touched)
        return false;
    zs_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_REUSEADDR, &addr, &len);
    zs_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_REUSEPORT, &port, &len);
    return addr || port;
}

static bool has_to_know(const struct zsock *k, int fd)
{
    return k->dg.at_once || zs_capturing(&k->d->view) || k->groups != NULL || k->dg.port != 0 || shares_address(k, fd);
}

void dgram_bind(struct zsock *k, int fd, const struct sockaddr *addr, socklen_t len)
{
    struct zs_addr a;
    struct zs_domain *d = zs_attached();
    atomic_store(&k->dg.known, false);
    if (d == NULL)
        return;
    k->d = d;
    bool wire = d->view.arena->header.wire_ports != 0;
    bool parsed = addr_from_sockaddr(&a, addr, len) == 0;
    k->dg.any_port = parsed && a.port == 0;
    /* The wire's peers know a port that the program chose; one that the kernel chose only once the program has asked for it. */
    bool late = parsed && (!wire || zs_addr_is_loopback(a.ip) || (a.port == 0 && !zs_addr_is_engine(&d->view, a.ip)));
    bool must = !late || has_to_know(k, fd);
    if (must || zs_proc.conf.udp_early)
        told(k, fd, must ? MUST : WHEN_QUIET);
}

void dgram_asked_name(struct zsock *k, int fd)
{
    if (k->s == NULL && reachable(k) && k->d->view.arena->header.wire_ports != 0)
        dgram_bound(k, fd);
}

bool dgram_connected(struct zsock *k, int fd)
{
    struct zs_addr peer;
    dgram_disconnected(k);
    if (sock_kernel_addr(fd, &peer, true) < 0 || has_to_know(k, fd) || zs_addr_is_engine(&k->d->view, peer.ip))
        return false;
    k->dg.peer = peer;
    k->dg.connected = true;
    k->kernel_peer = !zs_addr_is_own(&k->d->view, peer.ip);
    if (zs_proc.conf.udp_early)
        told(k, fd, WHEN_QUIET);
    return true;
}

void dgram_disconnected(struct zsock *k)
{
    k->dg.connected = k->kernel_peer = false;
    atomic_store(&k->dg.known, false);
}

bool dgram_peer(struct zsock *k, struct zs_addr *to)
{
    if (k->s != NULL ? !(atomic_load(&k->s->flags) & ZS_F_CONNECTED) : !k->dg.connected)
        return false;
    *to = k->s != NULL ? k->s->remote : k->dg.peer;
    to->family = k->family;
    return true;
}

const struct zs_addr *dgram_local(const struct zsock *k)
{
    return k->s != NULL ? &k->s->local : atomic_load(&k->dg.known) ? &k->dg.local : NULL;
}

static void find_local(struct zsock *k, int fd)
{
    struct zs_addr local;
    bool known = sock_kernel_addr(fd, &local, false) == 0 && local.port != 0;
    zs_word_lock(&k->dg.opening);
    if (known && !atomic_load(&k->dg.known)) { /* else another thread reads it */
        k->dg.local = local;
        atomic_store(&k->dg.known, true);
    }
    zs_word_unlock(&k->dg.opening);
}

void dgram_look(struct zsock *k, int fd)
{
    struct zs_domain *d = zs_attached();
    k->d = d != NULL ? d : k->d; /* an engine that came back */
    if (!k->dg.known && reachable(k))
        find_local(k, fd);
}

int dgram_ready(struct zsock *k, int fd, const struct zs_addr *to)
{
    if (k->s != NULL)
        return 0;
    if (has_to_know(k, fd) || zs_addr_is_engine(&k->d->view, to->ip))
        return dgram_autobind(k, fd);
    if (!k->dg.known) {
        kernel_bind(k, fd);
        find_local(k, fd);
    }
    bool now = k->dg.sent >= 2 || zs_proc.conf.udp_early;
    if (now && k->dg.known && told(k, fd, WHEN_QUIET) == 0 && k->s != NULL)
        return 0;
    if (!k->dg.loaded) {
        dg_load(k, fd);
        zs_why(k->d, fd, IPPROTO_UDP, ZS_VERDICT_BOTH, ZS_REASON_DATAGRAM, k);
    }
    return k->dg.known ? 0 : -EAGAIN;
}

void dgram_sent(struct zsock *k)
{
    k->dg.sent += k->dg.sent < UINT8_MAX;
}

bool dgram_receives(struct zsock *k, int fd, bool waits)
{
    const uint8_t looks = 6;
    if (k->s != NULL || !reachable(k) || k->kernel_peer || (k->dg.refused != NULL && k->dg.refused == zs_attached()))
        return k->s != NULL;
    bool server = k->dg.sent == 0;
    if (k->dg.reads < looks)
        k->dg.reads++;
    if (server || k->dg.reads == looks || (waits && !__libc_single_threaded))
        k->dg.refused = told(k, fd, WHEN_QUIET) < 0 ? k->d : NULL;
    return k->s != NULL;
}

bool dgram_waits(struct zsock *k, _Atomic uint32_t *count)
{
    for (;;) {
        atomic_fetch_add(count, 1);
        atomic_thread_fence(memory_order_seq_cst);
        if (atomic_load(&k->dg.opening) == 0 && k->s == NULL)
            return true;
        atomic_fetch_sub(count, 1);
        if (k->s != NULL)
            return false;
        sched_yield();
    }
}

bool dgram_looks(struct zsock *k, int fd)
{
    const struct zs_domain *d = atomic_load(&zs_proc.domain);
    return d != NULL && !zs_proc.restricted && (d->view.arena->header.wire_ports != 0 || has_to_know(k, fd));
}

static void known_before(struct zsock *k, int fd, enum how how)
{
    if (atomic_load(&k->kind) == ZK_UDP && k->s == NULL && reachable(k))
        told(k, fd, how);
}

void dgram_leaves(struct zsock *k, int fd)
{
    known_before(k, fd, WHEN_QUIET);
}

void dgram_passed(struct zsock *k, int fd)
{
    known_before(k, fd, ALSO_LEFT);
}

void dgram_at_once(struct zsock *k, int fd)
{
    k->dg.at_once = true;
    known_before(k, fd, WHEN_QUIET);
}

bool dgram_polled(int fd, uint32_t *waits)
{
    struct call c;
    struct zsock *k = call_begin(&c, "wait", fd);
    if (k == NULL)
        return false;
    bool ours = atomic_load(&k->kind) == ZK_UDP && dgram_receives(k, fd, waits != NULL);
    if (!ours && waits != NULL && c.held && atomic_load(&k->kind) == ZK_UDP) {
        ours = dgram_looks(k, fd);
        if (!ours)
            *waits += dgram_waits(k, &zs_proc.udp_polls);
    }
    call_pass(&c);
    return ours;
}
