/* SPDX-License-Identifier: BSD-3-Clause
 * Sockets of a script: descriptors, opening, accepting, closing, readiness. See pd.h. */
#include "pd.h"

#include <errno.h>
#include <netinet/in.h>

/* ---- Descriptors ---- */

struct pd_sock *pd_at(struct pd *p, int fd)
{
    return fd < PD_FIRST_FD || fd >= PD_FIRST_FD + PD_SOCKETS ? NULL : p->fd[fd - PD_FIRST_FD];
}

static int place(struct pd *p, struct pd_sock *s)
{
    for (int i = 0; i < PD_SOCKETS; i++)
        if (p->fd[i] == NULL) {
            p->fd[i] = s;
            return i + PD_FIRST_FD;
        }
    return -EMFILE;
}

static struct pd_sock *sock_new(struct pd *p, int domain)
{
    struct pd_sock *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->pd = p;
    s->domain = domain;
    s->local_ip = domain == AF_INET6 ? (struct ip_addr){0} : ANY4;
    TAILQ_INIT(&s->queue);
    atomic_store(&s->opts.linger, -1);
    atomic_store(&s->opts.rcvlowat, 1);
    return s;
}

int pd_socket(struct pd *p, int domain, int type)
{
    if (domain != AF_INET && domain != AF_INET6)
        return -EAFNOSUPPORT;
    if ((type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != SOCK_STREAM)
        return -EPROTONOSUPPORT;
    struct pd_sock *s = sock_new(p, domain);
    s->nonblock = type & SOCK_NONBLOCK;
    int fd = place(p, s);
    if (fd < 0)
        free(s);
    return fd;
}

/* ---- Addresses ---- */

static int address_in(const struct pd_sock *s, const struct sockaddr *addr, socklen_t len, struct ip_addr *ip, rte_be16_t *port)
{
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    if (len < (s->domain == AF_INET ? sizeof in : sizeof in6))
        return -EINVAL;
    if (addr->sa_family != s->domain)
        return -EAFNOSUPPORT;
    if (s->domain == AF_INET) {
        memcpy(&in, addr, sizeof in);
        *ip = ip_from_v4(in.sin_addr.s_addr);
        *port = in.sin_port;
        return 0;
    }
    memcpy(&in6, addr, sizeof in6);
    memcpy(ip->b, &in6.sin6_addr, sizeof ip->b);
    *port = in6.sin6_port;
    return 0;
}

static void address_out(const struct pd_sock *s, const struct ip_addr *ip, rte_be16_t port, struct sockaddr *addr, socklen_t *len)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = port};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = port};
    if (addr == NULL || len == NULL)
        return;
    memcpy(&in.sin_addr, ip->b + 12, 4);
    memcpy(&in6.sin6_addr, ip->b, 16);
    socklen_t whole = s->domain == AF_INET ? sizeof in : sizeof in6;
    memcpy(addr, s->domain == AF_INET ? (void *)&in : (void *)&in6, RTE_MIN(*len, whole));
    *len = whole;
}

int pd_bind(struct pd_sock *s, const struct sockaddr *addr, socklen_t len)
{
    return s->local_port != 0 || s->sock.bed != NULL ? -EINVAL : address_in(s, addr, len, &s->local_ip, &s->local_port);
}

/* ---- Opening ---- */

/* The two sessions of a connection, with the options told so far. */
static void open_sessions(struct pd_sock *s, const struct zs_opts *told)
{
    sock_open(&s->pd->bed, &s->sock);
    memcpy((void *)&zs_session_at(&s->pd->bed.app, s->sock.app)->opts, (const void *)told, sizeof *told);
}

static int on_accept(void *arg, struct tcp_conn *c, const struct tcp_flow *flow)
{
    struct pd_sock *l = arg;
    if (l->waiting > l->backlog)
        return -EAGAIN;
    struct pd_sock *s = sock_new(l->pd, l->domain);
    s->flow = *flow;
    open_sessions(s, &l->opts);
    s->sock.conn = c;
    s->sock.connected = true;
    tcp_attach(c, s->sock.own, &sock_ops, &s->sock);
    TAILQ_INSERT_TAIL(&l->queue, s, link);
    l->waiting++;
    return 0;
}

static bool on_full(void *arg, const struct tcp_flow *flow)
{
    const struct pd_sock *l = arg;
    (void)flow;
    return l->waiting > l->backlog;
}

static const struct zs_opts *on_options(void *arg, const struct tcp_flow *flow)
{
    (void)flow;
    return &((struct pd_sock *)arg)->opts;
}
static uint32_t on_fastopen_keys(void *arg, const struct tcp_flow *flow, uint8_t keys[TCP_TFO_KEYS][TCP_TFO_KEY_LEN])
{
    const struct pd_sock *s = arg;
    (void)flow;
    memcpy(keys, s->keys, sizeof s->keys);
    return s->nkeys;
}

static const struct tcp_listener_ops listener_ops = {
    .accept = on_accept, .full = on_full, .options = on_options, .fastopen_keys = on_fastopen_keys};

int pd_listen(struct pd_sock *s, int backlog)
{
    if (s->sock.bed != NULL)
        return -EINVAL;
    s->backlog = backlog < 0 ? 0 : (uint32_t)backlog;
    return s->listener != NULL ? 0
                               : tcp_listen(s->pd->st, &s->local_ip, s->local_port, RTE_MAX(s->backlog, 8u), &listener_ops, s, &s->listener);
}

int pd_accept(struct pd_sock *l, struct sockaddr *addr, socklen_t *len)
{
    if (l->listener == NULL)
        return -EINVAL;
    int err = pd_await(l, POLLIN, l->nonblock);
    if (err != 0)
        return err;
    struct pd_sock *s = TAILQ_FIRST(&l->queue);
    int fd = place(l->pd, s);
    if (fd < 0)
        return fd;
    TAILQ_REMOVE(&l->queue, s, link);
    l->waiting--;
    address_out(s, &s->flow.remote_ip, s->flow.remote_port, addr, len);
    return fd;
}

static int connected_already(struct pd_sock *s)
{
    int err = (int)atomic_exchange(&zs_session_at(&s->pd->bed.app, s->sock.app)->error, 0);
    return err != 0 ? -err : s->sock.connected ? -EISCONN : s->sock.conn != NULL ? -EALREADY : -ECONNABORTED;
}

int pd_connect(struct pd_sock *s, const struct sockaddr *addr, socklen_t len)
{
    struct ip_addr ip;
    rte_be16_t port;
    int err = address_in(s, addr, len, &ip, &port);
    if (err != 0)
        return err;
    if (s->listener != NULL)
        return -EISCONN;
    if (s->sock.bed != NULL)
        return connected_already(s);
    s->flow = (struct tcp_flow){s->local_ip, ip, s->local_port, port};
    open_sessions(s, &s->opts);
    err = tcp_connect(s->pd->st, s->flow, s->sock.own, &sock_ops, &s->sock, s->pd->now, &s->sock.conn);
    pd_turn(s->pd);
    if (err != 0) {
        sock_close(&s->sock, false, s->pd->now);
        s->sock = (struct sock){0};
        return err;
    }
    s->flow = *tcp_conn_flow(s->sock.conn);
    if (s->nonblock)
        return -EINPROGRESS;
    err = pd_await(s, POLLOUT | POLLERR | POLLHUP, false);
    err = err != 0 ? err : -(int)atomic_exchange(&zs_session_at(&s->pd->bed.app, s->sock.app)->error, 0);
    return err;
}

/* ---- Closing ---- */

static void sock_free(struct pd_sock *s)
{
    if (s->listener != NULL)
        tcp_unlisten(s->pd->st, s->listener);
    for (struct pd_sock *q; (q = TAILQ_FIRST(&s->queue)) != NULL;) {
        TAILQ_REMOVE(&s->queue, q, link);
        atomic_store(&pd_options(q)->linger, 0);
        sock_free(q);
    }
    if (s->sock.bed == NULL) {
        free(s);
        return;
    }
    sock_close(&s->sock, atomic_load(&pd_options(s)->linger) == 0, s->pd->now);
    TAILQ_INSERT_TAIL(&s->pd->closed, s, link); /* the stack may go on with it, and tells the socket of its end */
}

int pd_close(struct pd *p, int fd)
{
    struct pd_sock *s = pd_at(p, fd);
    p->fd[fd - PD_FIRST_FD] = NULL;
    sock_free(s);
    pd_turn(p);
    return 0;
}

void pd_close_all(struct pd *p)
{
    for (int i = 0; i < PD_SOCKETS; i++)
        if (p->fd[i] != NULL)
            pd_close(p, i + PD_FIRST_FD);
}

void pd_forget_closed(struct pd *p)
{
    for (struct pd_sock *s; (s = TAILQ_FIRST(&p->closed)) != NULL; free(s))
        TAILQ_REMOVE(&p->closed, s, link);
}

int pd_shutdown(struct pd_sock *s, int how)
{
    if (s->sock.bed == NULL || !s->sock.connected)
        return -ENOTCONN;
    if (how < SHUT_RD || how > SHUT_RDWR)
        return -EINVAL;
    s->shut_rd |= how != SHUT_WR;
    if (how != SHUT_RD) {
        s->shut_wr = true;
        sock_shutdown(&s->sock, s->pd->now);
    }
    pd_turn(s->pd);
    return 0;
}

/* ---- Readiness ---- */

short pd_events(const struct pd_sock *s)
{
    if (s->listener != NULL)
        return s->waiting > 0 ? POLLIN | POLLRDNORM : 0;
    if (s->sock.bed == NULL)
        return POLLOUT | POLLHUP;
    struct zs_view *v = &s->pd->bed.app;
    struct zs_session *app = zs_session_at(v, s->sock.app), *peer = zs_session_peer(v, app);
    uint32_t fin = atomic_load(&app->rx_prod.fin);
    short events = 0;
    if (zs_rx_avail(app) >= RTE_MAX(atomic_load(&app->opts.rcvlowat), 1u) || fin != 0 || s->shut_rd)
        events |= POLLIN | POLLRDNORM;
    if (fin != 0)
        events |= POLLRDHUP;
    if (s->sock.connected && (s->shut_wr || peer == NULL || zs_tx_unread(peer) < s->pd->bed.sndbuf / 3 * 2))
        events |= POLLOUT | POLLWRNORM;
    if (atomic_load(&app->error) != 0)
        events |= POLLERR | POLLIN | POLLOUT;
    if ((fin != 0 && s->shut_wr) || (fin & ZS_RST) || s->sock.conn == NULL)
        events |= POLLHUP;
    return events;
}

int pd_await(struct pd_sock *s, short events, bool nonblock)
{
    struct pd *p = s->pd;
    while ((pd_events(s) & events) == 0) {
        if (nonblock)
            return -EAGAIN;
        if (pthread_equal(pthread_self(), p->script)) {
            if (!pd_next(p))
                return -EAGAIN; /* for ever */
            continue;
        }
        p->sleepers++;
        pthread_cond_wait(&p->moved, &p->lock);
        p->sleepers--;
    }
    return 0;
}

static int look(struct pd *p, struct pollfd *fds, nfds_t n)
{
    int ready = 0;
    for (nfds_t i = 0; i < n; i++) {
        struct pd_sock *s = pd_at(p, fds[i].fd);
        fds[i].revents = s == NULL ? POLLNVAL : (short)(pd_events(s) & (fds[i].events | POLLERR | POLLHUP));
        ready += fds[i].revents != 0;
    }
    return ready;
}

int pd_poll(struct pd *p, struct pollfd *fds, nfds_t n, int timeout_ms)
{
    uint64_t until = timeout_ms < 0 ? UINT64_MAX : p->now + (uint64_t)timeout_ms * MS;
    int ready;
    while ((ready = look(p, fds, n)) == 0 && p->now < until) {
        if (!pthread_equal(pthread_self(), p->script)) {
            p->sleepers++;
            pthread_cond_wait(&p->moved, &p->lock);
            p->sleepers--;
        } else if (net_next(p->st) > until) {
            pd_clock(p, until - p->now);
        } else if (!pd_next(p)) {
            break;
        }
    }
    return ready;
}
