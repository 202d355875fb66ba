/* SPDX-License-Identifier: BSD-3-Clause
 * Data of a script's sockets. See pd.h. */
#include "pd.h"

#include <errno.h>
#include <netinet/in.h>

static struct zs_session *app_of(const struct pd_sock *s)
{
    return zs_session_at(&s->pd->bed.app, s->sock.app);
}

static size_t total(const struct iovec *iov, int niov)
{
    size_t n = 0;
    for (int i = 0; i < niov; i++)
        n += iov[i].iov_len;
    return n;
}

/* The error that waits, 0 for none. */
static int error_of(const struct pd_sock *s)
{
    return (int)atomic_exchange(&app_of(s)->error, 0);
}

static int may_send(const struct pd_sock *s)
{
    if (s->sock.bed == NULL)
        return s->listener != NULL ? -EPIPE : -ENOTCONN;
    int err = error_of(s);
    if (err != 0)
        return -err;
    if (s->shut_wr || (atomic_load(&app_of(s)->rx_prod.fin) & ZS_RST) || zs_session_peer(&s->pd->bed.app, app_of(s)) == NULL)
        return -EPIPE;
    return 0;
}

static ssize_t put(struct pd_sock *s, const struct iovec *iov, size_t n, int flags)
{
    struct zs_view *v = &s->pd->bed.app;
    struct zs_session *app = app_of(s);
    bool nonblock = s->nonblock || (flags & MSG_DONTWAIT);
    size_t done = 0;
    if (flags & MSG_MORE)
        atomic_fetch_or(&app->opts.bits, ZS_O_MORE);
    else
        atomic_fetch_and(&app->opts.bits, ~ZS_O_MORE);
    for (;;) {
        struct zs_session *peer = zs_session_peer(v, app);
        int64_t took = peer == NULL ? 0 : zs_tx_write(v, peer, &s->sock.tx, iov, done, n - done, s->pd->bed.sndbuf);
        if (took < 0)
            return took;
        done += (size_t)took;
        if (s->sock.conn != NULL)
            tcp_poke(s->sock.conn, s->pd->now);
        pd_turn(s->pd);
        if (done == n)
            return (ssize_t)n;
        int err = pd_await(s, POLLOUT | POLLERR | POLLHUP, nonblock);
        err = err != 0 ? err : may_send(s);
        if (err != 0)
            return done > 0 ? (ssize_t)done : err;
    }
}

/* RFC 7413: data with the SYN where the peer's cookie is known; else the SYN asks for one. */
static ssize_t open_with_data(struct pd_sock *s, const struct iovec *iov, size_t n, int flags, const struct sockaddr *addr, socklen_t len)
{
    bool nonblock = s->nonblock;
    if (s->sock.bed != NULL)
        return s->sock.connected ? -EISCONN : -EALREADY;
    atomic_fetch_or(&s->opts.bits, ZS_O_FASTOPEN);
    s->nonblock = true;
    int err = pd_connect(s, addr, len);
    s->nonblock = nonblock;
    if (err != -EINPROGRESS)
        return err;
    if (atomic_load(&app_of(s)->flags) & ZS_F_SYN_WAITS)
        return put(s, iov, n, flags);
    if (nonblock)
        return -EINPROGRESS;
    err = pd_await(s, POLLOUT | POLLERR | POLLHUP, false);
    err = err != 0 ? err : may_send(s);
    return err != 0 ? err : put(s, iov, n, flags);
}

ssize_t pd_send(struct pd_sock *s, const struct iovec *iov, int niov, int flags, const struct sockaddr *addr, socklen_t len)
{
    size_t n = total(iov, niov);
    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    if ((flags & MSG_FASTOPEN) && addr != NULL)
        return open_with_data(s, iov, n, flags, addr, len);
    int err = may_send(s);
    if (err == 0 && !s->sock.connected && !(atomic_load(&app_of(s)->flags) & ZS_F_SYN_WAITS)) {
        err = pd_await(s, POLLOUT | POLLERR | POLLHUP, s->nonblock || (flags & MSG_DONTWAIT));
        err = err != 0 ? err : may_send(s);
    }
    return err != 0 ? err : put(s, iov, n, flags);
}

ssize_t pd_recv(struct pd_sock *s, const struct iovec *iov, int niov, int flags)
{
    struct zs_view *v = &s->pd->bed.app;
    size_t n = total(iov, niov), done = 0;
    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (s->sock.bed == NULL || (!s->sock.connected && s->sock.conn != NULL && atomic_load(&app_of(s)->error) == 0))
        return s->sock.bed == NULL ? -ENOTCONN : -EAGAIN;
    while (n > 0) {
        struct zs_session *app = app_of(s);
        int64_t got = zs_rx_peek(v, app, 0, iov, done, n - done);
        if (got < 0)
            return got;
        if (!(flags & MSG_PEEK)) {
            zs_rx_consume(v, app, (uint64_t)got);
            if (s->sock.conn != NULL)
                tcp_poke(s->sock.conn, s->pd->now);
            pd_turn(s->pd);
        }
        done += (size_t)got;
        if (done == n || (done > 0 && !(flags & MSG_WAITALL)) || (flags & MSG_PEEK && done > 0))
            return (ssize_t)done;
        int err = error_of(s);
        if (err != 0)
            return done > 0 ? (ssize_t)done : -err;
        if (atomic_load(&app->rx_prod.fin) != 0 || s->shut_rd)
            return (ssize_t)done;
        err = pd_await(s, POLLIN | POLLERR | POLLHUP, s->nonblock || (flags & MSG_DONTWAIT));
        if (err != 0)
            return done > 0 ? (ssize_t)done : err;
    }
    return 0;
}
