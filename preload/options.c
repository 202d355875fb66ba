/* SPDX-License-Identifier: BSD-3-Clause
 * Socket options. Before a TCP socket is decided each goes to its placeholder, whose kernel validates it, and those that
 * matter to us are remembered. On a connection in shared memory the common ones live in the session; every other is asked of
 * the placeholder, so that its answer, its format and its errors are the kernel's. */
#include "preload.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

int opt_put(void *val, socklen_t *len, const void *src, socklen_t n)
{
    if (!user_writable(len, sizeof *len))
        return -EFAULT;
    if ((int)*len < 0)
        return -EINVAL;
    n = *len < n ? *len : n;
    if (!user_writable(val, n))
        return -EFAULT;
    *len = n;
    memcpy(val, src, *len);
    return 0;
}

int opt_put_int(void *val, socklen_t *len, int v)
{
    return opt_put(val, len, &v, sizeof v);
}

#define TIMEO_NOW 1u /* a negative timeout: do not wait, shown as 0 */

static int put_timeval(void *val, socklen_t *len, uint64_t us)
{
    us = us == TIMEO_NOW ? 0 : us;
    struct timeval tv = {.tv_sec = (time_t)(us / 1000000u), .tv_usec = (suseconds_t)(us % 1000000u)};
    return opt_put(val, len, &tv, sizeof tv);
}

/* ---- What the socket remembers until it is decided, and gives its session ---- */

void opt_fill(struct zs_session *s, const struct zs_preopts *p)
{
    struct zs_opts *o = &s->opts;
    atomic_store_explicit(&o->sndbuf, p->sndbuf, memory_order_relaxed);
    atomic_store_explicit(&o->rcvbuf, p->rcvbuf, memory_order_relaxed);
    atomic_store_explicit(&o->sndtimeo_us, p->sndtimeo_us, memory_order_relaxed);
    atomic_store_explicit(&o->rcvtimeo_us, p->rcvtimeo_us, memory_order_relaxed);
    atomic_store_explicit(&o->linger, p->linger, memory_order_relaxed);
    atomic_store_explicit(&o->rcvlowat, p->rcvlowat ? p->rcvlowat : 1, memory_order_relaxed);
    atomic_store_explicit(&o->bits, p->bits, memory_order_relaxed);
    atomic_store_explicit(&o->keepidle, (uint16_t)p->keepidle, memory_order_relaxed);
    atomic_store_explicit(&o->keepintvl, (uint16_t)p->keepintvl, memory_order_relaxed);
    atomic_store_explicit(&o->keepcnt, (uint8_t)p->keepcnt, memory_order_relaxed);
    atomic_store_explicit(&o->user_timeout, p->user_timeout, memory_order_relaxed);
    atomic_store_explicit(&o->congestion, (uint16_t)p->congestion, memory_order_relaxed);
    atomic_store_explicit(&o->maxseg, (uint16_t)p->maxseg, memory_order_relaxed);
    atomic_store_explicit(&o->syncnt, (uint8_t)p->syncnt, memory_order_relaxed);
    atomic_store_explicit(&o->linger2, p->linger2, memory_order_relaxed);
    atomic_store_explicit(&o->defer_accept, (uint8_t)p->defer_accept, memory_order_relaxed);
    atomic_store_explicit(&o->notsent_lowat, p->notsent_lowat, memory_order_relaxed);
    atomic_store_explicit(&o->fastopen, (uint16_t)p->fastopen, memory_order_relaxed);
    if (s->kind != ZS_KIND_UDP)
        atomic_store_explicit(&s->pacing, p->pacing, memory_order_relaxed);
}

void opt_apply(struct zsock *k)
{
    opt_fill(k->s, &k->pre);
    if (atomic_load(&k->kind) == ZK_CONN && (atomic_load(&k->s->flags) & ZS_F_WIRE))
        zs_notify(&k->d->view, k->peer); /* what waits for a cork, or an acknowledgement, may go now */
}

/* An accepted socket has its listener's options (tcp_create_openreq_child clones the socket). */
void opt_inherit(struct zsock *k, const struct zsock *listener)
{
    k->pre = listener->pre;
    for (uint32_t i = 0; i < listener->nplain; i++) {
        const struct zs_plainopt *o = &listener->plain[i];
        zs_sys(SYS_setsockopt, k->fd, o->level, o->name, &o->value, sizeof o->value);
    }
    if (listener->nplain > 0) {
        pool_leave(k); /* no longer like a fresh socket */
    }
}

static void keep_plain(struct zsock *k, int level, int name, int value)
{
    uint32_t i = 0;
    while (i < k->nplain && (k->plain[i].level != level || k->plain[i].name != name))
        i++;
    if (i == sizeof k->plain / sizeof k->plain[0])
        return;
    k->plain[i] = (struct zs_plainopt){level, name, value};
    k->nplain = i == k->nplain ? i + 1 : k->nplain;
}

static uint32_t bit_of(int level, int name)
{
    if (level == SOL_SOCKET)
        return name == SO_KEEPALIVE ? ZS_O_KEEPALIVE : name == SO_REUSEADDR ? ZS_O_REUSEADDR : name == SO_OOBINLINE ? ZS_O_OOBINLINE
               : name == SO_ZEROCOPY ? ZS_O_ZEROCOPY : 0;
    if (level == IPPROTO_TCP)
        return name == TCP_NODELAY ? ZS_O_NODELAY : name == TCP_CORK ? ZS_O_CORK
               : name == TCP_FASTOPEN_CONNECT ? ZS_O_FASTOPEN : name == TCP_FASTOPEN_NO_COOKIE ? ZS_O_FASTOPEN_NO_COOKIE : 0;
    return 0;
}

/* net.core.[rw]mem_max, as a socket of the kernel tells it. */
static uint32_t buf_max(bool rcv)
{
    static _Atomic uint32_t known[2];
    uint32_t max = atomic_load_explicit(&known[rcv], memory_order_relaxed);
    if (max != 0)
        return max;
    int name = rcv ? SO_RCVBUF : SO_SNDBUF, v = INT32_MAX / 2, got = 0;
    socklen_t len = sizeof got;
    int fd = (int)zs_sys(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        zs_sys(SYS_setsockopt, fd, SOL_SOCKET, name, &v, sizeof v);
        zs_sys(SYS_getsockopt, fd, SOL_SOCKET, name, &got, &len);
        zs_sys(SYS_close, fd);
    }
    max = got > 0 ? (uint32_t)got / 2 : 212992;
    atomic_store_explicit(&known[rcv], max, memory_order_relaxed);
    return max;
}

/* Half of net.ipv4.tcp_rmem's largest, as a socket of the kernel tells it. */
static uint32_t lowat_max(void)
{
    static _Atomic uint32_t known;
    uint32_t max = atomic_load_explicit(&known, memory_order_relaxed);
    int v = INT32_MAX, got = 0;
    socklen_t len = sizeof got;
    if (max != 0)
        return max;
    int fd = (int)zs_sys(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        zs_sys(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVLOWAT, &v, sizeof v);
        zs_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_RCVLOWAT, &got, &len);
        zs_sys(SYS_close, fd);
    }
    max = got > 1 ? (uint32_t)got : 3u << 20;
    atomic_store_explicit(&known, max, memory_order_relaxed);
    return max;
}

/* The number that SO_SNDBUF or SO_RCVBUF reports after asking for v: doubled, within the kernel's bounds (socket(7)). */
static uint32_t buf_size(int v, bool rcv)
{
    uint32_t max = buf_max(rcv);
    uint32_t n = v < 0 ? max : (uint32_t)v;
    n = (n > max ? max : n) * 2;
    uint32_t min = rcv ? 2304 : 4608;
    return n < min ? min : n;
}

static bool remembered(int level, int name)
{
    if (level == SOL_SOCKET)
        switch (name) {
        case SO_RCVTIMEO:
        case SO_SNDTIMEO:
        case SO_LINGER:
        case SO_SNDBUF:
        case SO_RCVBUF:
        case SO_RCVLOWAT:
        case SO_PEEK_OFF:
        case SO_MAX_PACING_RATE:
            return true;
        }
    return bit_of(level, name) != 0 || (level == IPPROTO_TCP && tcpopt_remembered(name));
}

/* Eight bytes or four, all ones of either for no limit (sk_setsockopt). */
static void remember_pacing(struct zs_preopts *p, const void *val, socklen_t len)
{
    uint32_t narrow;
    uint64_t rate;
    memcpy(&narrow, val, sizeof narrow);
    rate = narrow == UINT32_MAX ? UINT64_MAX : narrow;
    if (len >= (socklen_t)sizeof rate)
        memcpy(&rate, val, sizeof rate);
    p->pacing = ZS_PACING(rate);
}

static int put_pacing(const struct zs_preopts *p, void *val, socklen_t *len)
{
    uint64_t rate = ZS_PACING(p->pacing);
    if (user_writable(len, sizeof *len) && (int)*len >= (int)sizeof rate)
        return opt_put(val, len, &rate, sizeof rate);
    return opt_put_int(val, len, rate < UINT32_MAX ? (int)(uint32_t)rate : -1);
}

/* Options that we keep. Returns 1 when `name` is one of them, 0 not, negative errno for a bad value. */
static int remember(struct zs_preopts *p, int level, int name, const void *val, socklen_t len)
{
    int v = 0;
    bool timeo = level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO);
    bool linger = level == SOL_SOCKET && name == SO_LINGER;
    bool pacing = level == SOL_SOCKET && name == SO_MAX_PACING_RATE;
    socklen_t wide = len >= (socklen_t)sizeof p->pacing ? sizeof p->pacing : sizeof v;
    socklen_t need = timeo ? sizeof(struct timeval) : linger ? sizeof(struct linger) : pacing ? wide : sizeof v;
    if (!remembered(level, name))
        return 0;
    if (len < (socklen_t)sizeof v)
        return -EINVAL;
    if (!user_readable(val, sizeof v))
        return -EFAULT;
    if (len < need)
        return -EINVAL;
    if (!user_readable(val, need))
        return -EFAULT;
    memcpy(&v, val, sizeof v);
    uint32_t bit = bit_of(level, name);
    if (bit == ZS_O_ZEROCOPY && (v < 0 || v > 1))
        return -EINVAL; /* unlike its kin (sk_setsockopt) */
    if (bit != 0) {
        p->bits = v ? p->bits | bit : p->bits & ~bit;
        return 1;
    }
    if (timeo) {
        struct timeval tv;
        memcpy(&tv, val, sizeof tv);
        if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
            return -EDOM;
        const int64_t most = INT64_MAX / 1000000000 / 2; /* above it: for ever, as the kernel has a limit of its own (sock_set_timeout) */
        uint64_t us = tv.tv_sec < 0 ? TIMEO_NOW : tv.tv_sec > most ? 0 : (uint64_t)tv.tv_sec * 1000000u + (uint64_t)tv.tv_usec;
        us = us == TIMEO_NOW && tv.tv_sec >= 0 ? 2 : us;
        *(name == SO_RCVTIMEO ? &p->rcvtimeo_us : &p->sndtimeo_us) = us;
        return 1;
    }
    if (pacing) {
        remember_pacing(p, val, len);
        return 1;
    }
    if (linger) {
        struct linger l;
        memcpy(&l, val, sizeof l);
        p->linger = l.l_onoff ? l.l_linger : -1;
        return 1;
    }
    if (level == SOL_SOCKET && (name == SO_SNDBUF || name == SO_RCVBUF)) {
        *(name == SO_SNDBUF ? &p->sndbuf : &p->rcvbuf) = buf_size(v, name == SO_RCVBUF);
        return 1;
    }
    if (level == SOL_SOCKET && name == SO_RCVLOWAT) {
        uint32_t most = p->rcvbuf != 0 ? p->rcvbuf / 2 : lowat_max(); /* tcp_set_rcvlowat */
        p->rcvlowat = v > 0 ? (uint32_t)v : v == 0 ? 1 : INT32_MAX;
        p->rcvlowat = p->rcvlowat < most ? p->rcvlowat : most;
        return 1;
    }
    if (level == SOL_SOCKET && name == SO_PEEK_OFF) {
        p->peek_off = v;
        return 1;
    }
    return level == IPPROTO_TCP ? tcpopt_remember(p, name, v) : 0;
}

/* The session's current values in the form of remembered ones. */
struct zs_preopts opt_current(const struct zsock *k)
{
    const struct zs_opts *o = &k->s->opts;
    return (struct zs_preopts){
        .sndbuf = atomic_load(&o->sndbuf), .rcvbuf = atomic_load(&o->rcvbuf), .bits = atomic_load(&o->bits),
        .rcvlowat = atomic_load(&o->rcvlowat), .sndtimeo_us = atomic_load(&o->sndtimeo_us),
        .rcvtimeo_us = atomic_load(&o->rcvtimeo_us), .linger = atomic_load(&o->linger),
        .keepidle = atomic_load(&o->keepidle), .keepintvl = atomic_load(&o->keepintvl),
        .keepcnt = atomic_load(&o->keepcnt), .user_timeout = atomic_load(&o->user_timeout),
        .congestion = atomic_load(&o->congestion), .maxseg = atomic_load(&o->maxseg), .syncnt = atomic_load(&o->syncnt),
        .linger2 = atomic_load(&o->linger2), .defer_accept = atomic_load(&o->defer_accept),
        .notsent_lowat = atomic_load(&o->notsent_lowat), .fastopen = atomic_load(&o->fastopen),
        .peek_off = k->pre.peek_off, .pacing = k->s->kind == ZS_KIND_UDP ? 0 : atomic_load(&k->s->pacing),
    };
}

/* ---- Getters of a connection ---- */

static int get_socket_level(struct zsock *k, const struct zs_preopts *p, int name, void *val, socklen_t *len)
{
    struct linger l = {p->linger >= 0, p->linger >= 0 ? p->linger : 0};
    switch (name) {
    case SO_ERROR:
        return opt_put_int(val, len, (int)atomic_exchange(&k->s->error, 0));
    case SO_TYPE:
        return opt_put_int(val, len, SOCK_STREAM);
    case SO_DOMAIN:
        return opt_put_int(val, len, k->family);
    case SO_PROTOCOL:
        return opt_put_int(val, len, IPPROTO_TCP);
    case SO_ACCEPTCONN:
        return opt_put_int(val, len, 0);
    case SO_SNDBUF:
        return opt_put_int(val, len, p->sndbuf ? (int)p->sndbuf : 2626560); /* what autotuning reaches on loopback */
    case SO_RCVBUF:
        return opt_put_int(val, len, p->rcvbuf ? (int)p->rcvbuf : 131072);
    case SO_SNDTIMEO:
        return put_timeval(val, len, p->sndtimeo_us);
    case SO_RCVTIMEO:
        return put_timeval(val, len, p->rcvtimeo_us);
    case SO_LINGER:
        return opt_put(val, len, &l, sizeof l);
    case SO_PEEK_OFF:
        return opt_put_int(val, len, p->peek_off);
    case SO_PEERNAME:
        return conn_opt_peername(k, val, len);
    case SO_RCVLOWAT:
        return opt_put_int(val, len, (int)p->rcvlowat);
    case SO_MAX_PACING_RATE:
        return put_pacing(p, val, len);
    default:
        return bit_of(SOL_SOCKET, name) ? opt_put_int(val, len, (p->bits & bit_of(SOL_SOCKET, name)) != 0) : 1;
    }
}

static int get_tcp_level(struct zsock *k, const struct zs_preopts *p, int name, void *val, socklen_t *len)
{
    uint32_t bit = bit_of(IPPROTO_TCP, name);
    return bit != 0 ? opt_put_int(val, len, (p->bits & bit) != 0) : tcpopt_get(k, p, name, val, len);
}

/* 1: not ours, ask the placeholder. */
static int get_conn(struct zsock *k, int fd, int level, int name, void *val, socklen_t *len)
{
    struct zs_preopts p = opt_current(k);
    if (level == SOL_SOCKET)
        return get_socket_level(k, &p, name, val, len);
    return level == IPPROTO_TCP ? get_tcp_level(k, &p, name, val, len) : conn_opt_ip(k, fd, level, name, val, len);
}

int opt_get(struct zsock *k, int fd, int level, int name, void *val, socklen_t *len)
{
    if (atomic_load(&k->kind) == ZK_CONN) {
        int r = get_conn(k, fd, level, name, val, len);
        if (r <= 0)
            return r;
    }
    /* An error that came over the wire; without one the kernel may have one of its own. */
    if (level == SOL_SOCKET && name == SO_ERROR && atomic_load(&k->kind) == ZK_UDP && k->s != NULL && atomic_load(&k->s->error) != 0)
        return opt_put_int(val, len, (int)atomic_exchange(&k->s->error, 0));
    int here;
    if (user_writable(len, sizeof *len) && ((int)*len < 0 || user_writable(val, *len)) && dg_get(k, level, name, val, len, &here))
        return here;
    return (int)zs_sys(SYS_getsockopt, fd, level, name, val, len);
}

int opt_set(struct zsock *k, int fd, int level, int name, const void *val, socklen_t len)
{
    uint8_t kind = atomic_load(&k->kind);
    bool congestion = level == IPPROTO_TCP && name == TCP_CONGESTION && kind != ZK_UDP; /* the kernel knows the names */
    if (kind == ZK_CONN) {
        struct zs_preopts p = opt_current(k);
        int r = conn_opt_refused(k, level, name, val, len);
        if (r < 0)
            return r;
        r = remember(&p, level, name, val, len);
        if (r != 0) {
            k->pre = p;
            if (r > 0)
                opt_apply(k);
            return r > 0 ? 0 : r;
        }
    }
    int here;
    if (kind != ZK_CONN && user_readable(val, len) && dg_set(k, fd, level, name, val, len, &here)) {
        pool_leave(k);
        return here;
    }
    long r = zs_sys(SYS_setsockopt, fd, level, name, val, len);
    if (r == 0 && k->pool >= 0) {
        pool_leave(k); /* it is no longer like a fresh socket */
    }
    if (r == 0 && congestion) {
        if (kind == ZK_CONN || kind == ZK_LISTEN)
            k->pre = opt_current(k);
        k->pre.congestion = tcpopt_congestion(val, len);
        if (k->s != NULL)
            opt_apply(k);
        return 0;
    }
    if (r < 0 || kind == ZK_CONN)
        return (int)r;
    int on = 0;
    if (len >= (socklen_t)sizeof on && user_readable(val, sizeof on))
        memcpy(&on, val, sizeof on);
    if (kind == ZK_UDP)
        dg_changed(k, fd, level, name);
    if (kind == ZK_LISTEN) /* another process may have set some */
        k->pre = opt_current(k);
    if (remember(&k->pre, level, name, val, len) == 0 && kind != ZK_UDP && len == (socklen_t)sizeof on &&
        (level == IPPROTO_IP || level == IPPROTO_IPV6) && name != IPV6_V6ONLY)
        keep_plain(k, level, name, on);
    if (k->s != NULL)
        opt_apply(k);
    if (kind == ZK_LISTEN && level == IPPROTO_TCP && name == TCP_FASTOPEN_KEY)
        tcpopt_fastopen_key(k, fd);
    return 0;
}

int zsp_getsockopt(int fd, int level, int name, void *val, socklen_t *len)
{
    struct call c;
    struct zsock *k = call_begin(&c, "getsockopt", fd);
    if (k == NULL)
        return REAL(getsockopt)(fd, level, name, val, len);
    return (int)call_end(&c, fd, opt_get(k, fd, level, name, val, len));
}

int zsp_setsockopt(int fd, int level, int name, const void *val, socklen_t len)
{
    struct call c;
    struct zsock *k = call_begin(&c, "setsockopt", fd);
    if (k == NULL)
        return REAL(setsockopt)(fd, level, name, val, len);
    return (int)call_end(&c, fd, opt_set(k, fd, level, name, val, len));
}
