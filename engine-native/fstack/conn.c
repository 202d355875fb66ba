/* SPDX-License-Identifier: BSD-3-Clause
 * TCP connections: what the application wrote goes from own's ring into libfstack's socket buffer, what the socket received
 * into the application's ring. Both directions go on until one side is full; then the other side's next event goes on. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "fstack.h"

#define PIECES 8                               /* of a ring, in one write */
#define WRITE_MAX (UINT64_C(256) << 10)        /* bytes of one write */
#define READ_MAX (UINT64_C(64) << 10)          /* of one read */
#define RING_CAP_DEFAULT (UINT64_C(128) << 10) /* what is received and not yet read, beside libfstack's own buffer */
#define RING_SANE (2u * ZS_DIR_RINGS * ZS_RING_MAX) /* more unread bytes than this no ring can hold */

static struct zs_session *own_of(const struct fs_conn *c)
{
    return c->own == ZS_NO_SESSION ? NULL : zs_session_at(c->sock.fs->view, c->own);
}

static struct zs_session *app_of(const struct fs_conn *c)
{
    struct zs_session *own = own_of(c);
    return own == NULL ? NULL : zs_session_peer(c->sock.fs->view, own);
}

static bool app_closed(const struct zs_session *own)
{
    return atomic_load(&own->flags) & ZS_F_PEER_CLOSED;
}

/* ---- Beginning and end ---- */

struct fs_conn *fs_conn_new(struct fstack *fs, int fd)
{
    struct fs_conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->sock = (struct fs_sock){.kind = FS_CONN, .fd = fd, .fs = fs};
    c->own = ZS_NO_SESSION;
    c->congestion = fs->congestion;
    return c;
}

/* From now on it is among the connections; false: its events cannot be watched, and it is not. */
bool fs_conn_start(struct fs_conn *c, uint32_t own, void *conn)
{
    struct fstack *fs = c->sock.fs;
    struct fs_sock s = c->sock;
    if (fs_sock_open(&c->sock, fs, FS_CONN, s.fd) != 0)
        return false;
    c->own = own;
    c->conn = conn;
    LIST_INSERT_HEAD(&fs->conns, c, link);
    fs->nconns++;
    return true;
}

/* Lets go of the sessions, with an error for the application or without, and closes the socket; what is in its send buffer
 * is still delivered, unless there was an error. */
void fs_conn_end(struct fs_conn *c, int err)
{
    struct fstack *fs = c->sock.fs;
    struct zs_session *app = app_of(c);
    if (c->sock.dead)
        return;
    if (app != NULL && err != 0) {
        uint32_t none = 0;
        atomic_compare_exchange_strong(&app->error, &none, (uint32_t)err);
    }
    if (app != NULL)
        zs_notify(fs->view, app);
    if (c->own != ZS_NO_SESSION)
        zs_session_close(fs->view, c->own, err != 0);
    c->own = ZS_NO_SESSION;
    fs->events->closed(fs->engine, c->conn);
    LIST_REMOVE(c, link);
    fs->nconns--;
    fs_sock_close(&c->sock);
}

static void reset(struct fs_conn *c, int err)
{
    static const struct linger at_once = {1, 0};
    ff_setsockopt(c->sock.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    fs_conn_end(c, err);
}

static void fault(struct fs_conn *c)
{
    if (c->own != ZS_NO_SESSION)
        zs_session_fault(c->sock.fs->view, c->own);
    reset(c, ECONNRESET);
}

/* ---- To the application ---- */

static uint64_t ring_cap(const struct zs_session *app)
{
    uint32_t n = atomic_load_explicit(&app->opts.rcvbuf, memory_order_relaxed) / 2; /* doubled for overhead, socket(7) */
    return n == 0 ? RING_CAP_DEFAULT : RTE_MAX(n, ZS_RING_FIRST);
}

/* Room for received bytes. None: the application's reads are to be told of. */
static int64_t room(struct fs_conn *c, struct zs_session *app, uint8_t **at)
{
    struct zs_view *v = c->sock.fs->view;
    uint64_t cap = ring_cap(app);
    int64_t n = zs_tx_span(v, app, &c->tx, READ_MAX, cap, at);
    if (n != 0 && n != -ENOBUFS)
        return n;
    atomic_fetch_or(&app->rx_prod.want_space, ZS_WANT_EVENT);
    atomic_thread_fence(memory_order_seq_cst); /* with zs_rx_consume: one of us sees the other */
    return zs_tx_span(v, app, &c->tx, READ_MAX, cap, at);
}

static void heard_all(struct fs_conn *c)
{
    c->rx_ended = true;
    if (c->own != ZS_NO_SESSION)
        zs_session_fin(c->sock.fs->view, c->own);
    if (c->tx_ended)
        fs_conn_end(c, 0); /* and said all: FreeBSD does the rest */
}

static void receive(struct fs_conn *c)
{
    struct fstack *fs = c->sock.fs;
    while (!c->rx_ended && !c->sock.dead) {
        struct zs_session *own = own_of(c), *app = app_of(c);
        uint8_t *at = NULL;
        if (own == NULL || app == NULL)
            return;
        if (fs->urgent)
            fs_urgent_look(c, app);
        int64_t space = room(c, app, &at);
        if (space == -EPROTO) {
            fault(c);
            return;
        }
        c->rx_waits = space <= 0;
        if (c->rx_waits)
            return;
        ssize_t n = ff_read(c->sock.fd, at, (size_t)space);
        if (n > 0 && app_closed(own)) {
            reset(c, ECONNRESET); /* RFC 9293 3.6.1: the sender must learn that nobody reads this */
        } else if (n > 0) {
            c->rx_bytes += (uint64_t)n;
            zs_tx_publish(app, (uint64_t)n);
            zs_notify(fs->view, app);
            if (n < space && !c->rx_eof && !fs->urgent)
                return; /* the next bytes are an event; a read ends at an urgent mark, too */
        } else if (n == 0) {
            heard_all(c);
        } else if (errno != EAGAIN) {
            fs_conn_end(c, errno);
        } else {
            return;
        }
    }
}

/* ---- From the application ---- */

static int64_t written(struct fs_conn *c, ssize_t n)
{
    c->tx_bytes += (uint64_t)RTE_MAX(n, 0);
    return n >= 0 ? n : errno == EAGAIN ? 0 : -errno;
}

/* The urgent byte, which is the next one. */
static int64_t write_urgent(struct fs_conn *c, struct zs_session *own)
{
    uint8_t byte;
    struct iovec iov = {&byte, 1};
    int64_t got = zs_rx_peek(c->sock.fs->view, own, 0, &iov, 0, 1);
    return got != 1 ? RTE_MIN(got, INT64_C(0)) : written(c, ff_send(c->sock.fd, &byte, 1, MSG_OOB));
}

/* One write; the bytes that went, 0 when the socket is full, negative errno. */
static int64_t write_some(struct fs_conn *c, struct zs_session *own, uint64_t n)
{
    struct zs_view *v = c->sock.fs->view;
    struct iovec iov[PIECES]; /* libfstack changes it */
    int pieces = zs_rx_spans(v, own, 0, n, iov, PIECES);
    if (pieces == 0) {
        iov[0] = (struct iovec){c->sock.fs->datagram, RTE_MIN(n, sizeof c->sock.fs->datagram)};
        int64_t got = zs_rx_peek(v, own, 0, iov, 0, iov[0].iov_len);
        if (got < 0)
            return got;
        iov[0].iov_len = (size_t)got;
        pieces = 1;
    }
    if (pieces < 0)
        return pieces;
    return written(c, ff_writev(c->sock.fd, iov, pieces));
}

static void said_all(struct fs_conn *c)
{
    struct zs_session *own = own_of(c);
    c->tx_ended = true;
    if (app_closed(own) || c->rx_ended)
        fs_conn_end(c, 0); /* nobody reads any more: FreeBSD refuses what comes now */
    else
        ff_shutdown(c->sock.fd, SHUT_WR);
}

static void send_all(struct fs_conn *c)
{
    struct zs_session *own = own_of(c);
    while (own != NULL && !c->tx_ended) {
        /* fin before tail: every byte before the FIN is visible then. */
        uint32_t fin = atomic_load_explicit(&own->rx_prod.fin, memory_order_acquire);
        uint64_t n = zs_rx_avail(own);
        if (n == 0) {
            if (fin == ZS_FIN)
                said_all(c);
            return;
        }
        uint64_t plain = fs_urgent_before(own, n);
        int64_t done = n > RING_SANE ? -EPROTO : plain == 0 ? write_urgent(c, own) : write_some(c, own, RTE_MIN(plain, WRITE_MAX));
        if (done == -EPROTO) {
            fault(c);
            return;
        }
        if (done < 0) {
            /* The socket knows why: what it received before is still there to be read. */
            receive(c);
            if (!c->sock.dead)
                fs_conn_end(c, done == -EPIPE ? ECONNRESET : (int)-done);
            return;
        }
        zs_rx_consume(c->sock.fs->view, own, (uint64_t)done);
        if (done == 0) {
            c->tx_waits = fs_watch(&c->sock, EVFILT_WRITE, EV_ADD | EV_ONESHOT);
            return;
        }
    }
}

void fs_poke(void *stack, void *handle, uint64_t now)
{
    struct fs_conn *c = handle;
    struct fstack *fs = stack;
    struct zs_session *own = own_of(c);
    fs->now = now;
    if (own == NULL || c->sock.dead)
        return;
    fs_clock_run(fs); /* before anything sets a timer */
    bool closed = app_closed(own);
    if (atomic_load_explicit(&own->rx_prod.fin, memory_order_acquire) == ZS_RST || (closed && c->connecting)) {
        reset(c, ECONNRESET); /* closed with unread data, with linger 0, or before it was open */
        return;
    }
    struct zs_session *app = app_of(c);
    if (app != NULL)
        fs_conn_options(c, app);
    if (c->connecting)
        return;
    if (c->rx_waits)
        receive(c);
    if (!c->sock.dead && c->tx_ended && closed)
        fs_conn_end(c, 0); /* it had shut down before */
    else if (!c->sock.dead && !c->tx_waits)
        send_all(c);
}

/* ---- Events ---- */

static int socket_error(const struct fs_conn *c)
{
    int err = 0;
    socklen_t len = sizeof err;
    return ff_getsockopt(c->sock.fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 ? errno : fs_errno(err);
}

static void connect_done(struct fs_conn *c)
{
    struct fstack *fs = c->sock.fs;
    int err = socket_error(c);
    if (err != 0) {
        fs_conn_end(c, err);
        return;
    }
    c->connecting = false;
    fs_conn_options(c, app_of(c));
    fs->events->connected(fs->engine, c->conn);
    receive(c);
    if (!c->sock.dead)
        send_all(c);
}

void fs_conn_event(struct fs_conn *c, const struct kevent *e)
{
    if (c->connecting) {
        if (e->filter == EVFILT_WRITE || (e->flags & EV_EOF))
            connect_done(c);
        return;
    }
    c->rx_eof = c->rx_eof || (e->filter == EVFILT_READ && (e->flags & EV_EOF));
    if (e->filter == EVFILT_WRITE) {
        c->tx_waits = false;
        send_all(c);
        return;
    }
    receive(c);
    /* Reset, and no read tells of it: its bytes wait for room in the ring, and nobody will read more than those; or the peer
     * had closed, and as on Linux the writer hears that its pipe is broken. */
    if (!c->sock.dead && (c->rx_waits || c->rx_ended) && (e->flags & EV_EOF) && e->fflags != 0)
        fs_conn_end(c, c->rx_ended ? EPIPE : fs_errno((int)e->fflags));
}

/* ---- Active open ---- */

static bool same_end(const struct zs_addr *a, const struct zs_addr *b)
{
    return a->port == b->port && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

void fs_conn_refused(struct fstack *fs, const struct zs_addr *local, const struct zs_addr *remote, uint32_t seq, int err)
{
    struct fs_conn *c;
    LIST_FOREACH(c, &fs->conns, link) {
        const struct zs_session *app = c->connecting ? app_of(c) : NULL;
        if (app == NULL || !same_end(&app->local, local) || !same_end(&app->remote, remote))
            continue;
        if (fs_conn_next(c) == seq + 1)
            fs_conn_end(c, err); /* as tcp_v4_err() of Linux: a SYN that does not arrive is no soft error */
        return;
    }
}

int fs_connect(void *stack, struct zs_addr *local, const struct zs_addr *remote, uint32_t port, uint32_t own, void *conn,
               void **handle, uint64_t now)
{
    struct fstack *fs = stack;
    struct sockaddr_storage to;
    socklen_t len = fs_from_zs(fs, remote, &to), at_len = sizeof to;
    struct zs_addr from = *local;
    uint16_t family = local->family;
    fs->now = now;
    fs_clock_run(fs);
    fs_clock_busy(fs);
    if (port > fs->nports)
        return -ENODEV; /* one of ours: the route to `remote` leads there, or FreeBSD takes its own */
    if (zs_addr_is_any(from.ip)) { /* of the destination's protocol */
        memset(from.ip, 0, sizeof from.ip);
        if (zs_addr_is_v4(remote->ip))
            from.ip[10] = from.ip[11] = 0xff;
    }
    int fd = fs_socket(fs, &from, SOCK_STREAM);
    if (fd < 0)
        return fd;
    struct fs_conn *c = fs_conn_new(fs, fd);
    if (c == NULL) {
        ff_close(fd);
        return -ENOBUFS;
    }
    c->connecting = true;
    c->hop = fs_next_hop(fs, remote);
    c->own = own;
    fs_conn_options(c, app_of(c));
    int err = ff_connect(fd, (struct linux_sockaddr *)&to, len) == 0 || errno == EINPROGRESS ? 0 : -errno;
    if (err == 0 && (!fs_conn_start(c, own, conn) || !fs_watch(&c->sock, EVFILT_WRITE, EV_ADD | EV_ONESHOT)))
        err = -ENOBUFS;
    if (err != 0) {
        if (c->conn != NULL) {
            LIST_REMOVE(c, link);
            fs->nconns--;
        }
        ff_close(fd);
        free(c);
        return err;
    }
    if (ff_getsockname(fd, (struct linux_sockaddr *)&to, &at_len) == 0)
        fs_to_zs(fs, &to, local);
    local->family = family;
    *handle = c;
    return 0;
}

void *fs_accepting(void *stack)
{
    return ((struct fstack *)stack)->accepting;
}
