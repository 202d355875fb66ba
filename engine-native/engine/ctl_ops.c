/* SPDX-License-Identifier: BSD-3-Clause
 * Requests of attached processes: one function per operation of zstack/ctl.h. Each checks its arguments against what
 * the engine itself knows, and fills the reply; its result is a negative errno value or 0. */
#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <unistd.h>

struct call {
    struct engine *e;
    struct client *client;
    const struct zs_ctl_request *r;
    size_t len;
    int fd;                    /* came with the request, -1 none; closed by the caller */
    struct zs_ctl_reply reply;
    int reply_fd;              /* goes with the reply; stays open here */
};

static int op_listen(struct call *c)
{
    const struct open_request q = {.fd = c->fd, .kind = ZS_KIND_TCP_LISTEN, .backlog = c->r->a, .port = c->r->b, .told = true};
    return endpoint_open(c->e, c->client, &q, &c->reply);
}

static int op_udp_open(struct call *c)
{
    const struct open_request q = {.fd = c->fd, .kind = ZS_KIND_UDP, .port = c->r->a, .told = c->r->b == 0};
    return endpoint_open(c->e, c->client, &q, &c->reply);
}

static int op_close(struct call *c)
{
    return endpoint_close_request(c->e, c->client, c->r->a, c->r->b);
}

static int op_stop(struct call *c)
{
    return endpoint_stop(c->e, c->fd);
}

static int op_waiter_new(struct call *c)
{
    return waiter_new(c->e, c->client, &c->reply, &c->reply_fd);
}

static int op_waiter_free(struct call *c)
{
    return waiter_free(c->e, c->client, c->r->a, c->r->b);
}

static int op_doorbell(struct call *c)
{
    c->reply_fd = waiter_bell(c->e, c->r->a, c->r->b);
    return c->reply_fd < 0 ? -ESTALE : 0;
}

/* reply.a tells how many entries were taken before the first refused one. */
static int op_share(struct call *c)
{
    uint32_t n = c->r->count;
    if (n > ZS_CTL_SHARE_MAX || c->len < ZS_CTL_REQUEST_BASE + n * sizeof c->r->u.share[0])
        return -EPROTO;
    for (uint32_t i = 0; i < n; i++) {
        int err = share_one(c->e, c->client, &c->r->u.share[i]);
        c->reply.a = i;
        if (err != 0)
            return err;
    }
    c->reply.a = n;
    return 0;
}

static int op_claim(struct call *c)
{
    return endpoint_claim(c->e, c->client, c->fd, &c->reply);
}

static int op_connect(struct call *c)
{
    return deferred_connect(c->e, c->client, c->r->a, c->r->b);
}

static int op_retire(struct call *c)
{
    struct zs_session *s = zs_session_at(&c->e->view, c->r->a);
    if (s == NULL || atomic_load(&s->gen) != c->r->b || atomic_load(&s->owner) != c->client->id ||
        tracked_by_session(c->e, c->r->a) != NULL)
        return -ESTALE;
    session_close_safely(c->e, c->r->a, false);
    COUNT(c->e, CLOSED_BY_REQUEST);
    return 0;
}

static int op_wire_connect(struct call *c)
{
    return wire_connect(c->e, c->client, c->r->a, c->r->b);
}

static int op_wire_udp(struct call *c)
{
    return wire_udp_request(c->e, c->client, c->r->a, c->r->b, &c->reply);
}

static int op_udp_errors(struct call *c)
{
    return wire_udp_errors_request(c->e, c->client, c->r->a, c->r->b, &c->reply);
}

static int op_group(struct call *c)
{
    if (c->len < ZS_CTL_REQUEST_BASE + sizeof c->r->u.group)
        return -EPROTO;
    return wire_group_request(c->e, c->client, c->r->a, c->r->b, &c->r->u.group);
}

static int op_segment(struct call *c)
{
    c->reply_fd = c->e->wire == NULL ? -1 : c->e->wire->ops->segment(c->e->wire->stack);
    return c->reply_fd < 0 ? -ENOENT : 0;
}

static int op_tcp_info(struct call *c)
{
    return wire_info(c->e, c->r->a, c->r->b, &c->reply.info);
}

static int op_buffers_new(struct call *c)
{
    return segment_new(c->e, c->client, c->r->a, &c->reply, &c->reply_fd);
}

static int op_buffers_ready(struct call *c)
{
    return segment_ready(c->e, c->client, c->r->a);
}

static int op_buffers_map(struct call *c)
{
    return segment_grant(c->e, c->client, c->r->a, c->r->b, c->fd, &c->reply, &c->reply_fd);
}

static int op_buffers_end(struct call *c)
{
    return segment_end(c->e, c->client, c->r->a);
}

static int op_buffers_over(struct call *c)
{
    return segment_over(c->e, c->r->a) ? 0 : -EBUSY;
}

static const struct {
    int (*fn)(struct call *c);
    enum counter counter;
    bool wants_fd;
} ops[] = {
    [ZS_CTL_LISTEN] = {op_listen, COUNT_RPC_LISTEN, true},
    [ZS_CTL_UDP_OPEN] = {op_udp_open, COUNT_RPC_UDP_OPEN, true},
    [ZS_CTL_CLOSE] = {op_close, COUNT_RPC_CLOSE, false},
    [ZS_CTL_STOP] = {op_stop, COUNT_RPC_STOP, true},
    [ZS_CTL_WAITER_NEW] = {op_waiter_new, COUNT_RPC_WAITER_NEW, false},
    [ZS_CTL_WAITER_FREE] = {op_waiter_free, COUNT_RPC_WAITER_FREE, false},
    [ZS_CTL_DOORBELL] = {op_doorbell, COUNT_RPC_DOORBELL, false},
    [ZS_CTL_SHARE] = {op_share, COUNT_RPC_SHARE, false},
    [ZS_CTL_CLAIM] = {op_claim, COUNT_RPC_CLAIM, true},
    [ZS_CTL_CONNECT] = {op_connect, COUNT_RPC_CONNECT, false},
    [ZS_CTL_RETIRE] = {op_retire, COUNT_RPC_RETIRE, false},
    [ZS_CTL_WIRE_CONNECT] = {op_wire_connect, COUNT_RPC_WIRE_CONNECT, false},
    [ZS_CTL_WIRE_UDP] = {op_wire_udp, COUNT_RPC_WIRE_UDP, false},
    [ZS_CTL_UDP_ERRORS] = {op_udp_errors, COUNT_RPC_UDP_ERRORS, false},
    [ZS_CTL_GROUP] = {op_group, COUNT_RPC_GROUP, false},
    [ZS_CTL_SEGMENT] = {op_segment, COUNT_RPC_SEGMENT, false},
    [ZS_CTL_TCP_INFO] = {op_tcp_info, COUNT_RPC_TCP_INFO, false},
    [ZS_CTL_BUFFERS_NEW] = {op_buffers_new, COUNT_RPC_BUFFERS_NEW, false},
    [ZS_CTL_BUFFERS_READY] = {op_buffers_ready, COUNT_RPC_BUFFERS_READY, false},
    [ZS_CTL_BUFFERS_MAP] = {op_buffers_map, COUNT_RPC_BUFFERS_MAP, false},
    [ZS_CTL_BUFFERS_END] = {op_buffers_end, COUNT_RPC_BUFFERS_END, false},
    [ZS_CTL_BUFFERS_OVER] = {op_buffers_over, COUNT_RPC_BUFFERS_OVER, false},
};

static void hello(struct engine *e, struct conn *c, const struct zs_ctl_request *r, size_t len)
{
    struct zs_ctl_reply reply = {.seq = r->seq};
    int err = len < ZS_CTL_REQUEST_BASE + sizeof r->u.hello ? -EPROTO : client_attach(e, c, r, &reply);
    COUNT(e, RPC_HELLO);
    if (err == 0) {
        const int fds[] = {e->arena_fd, e->bell.fd};
        bool has_it = r->u.hello.mapped == e->view.arena->header.epoch;
        conn_reply_fds(e, c, &reply, fds + has_it, ZS_CTL_REPLY_FDS - has_it);
        return;
    }
    reply.error = (uint32_t)-err;
    COUNT(e, RPC_REFUSED);
    if (conn_reply(e, c, &reply, -1) && c->client == NULL)
        conn_close(e, c); /* nothing it can do without HELLO */
}

void ctl_request(struct engine *e, struct conn *c, const struct zs_ctl_request *r, size_t len, int fd)
{
    if (r->op == ZS_CTL_HELLO) {
        hello(e, c, r, len);
        return;
    }
    struct call call = {.e = e, .client = c->client, .r = r, .len = len, .fd = fd, .reply_fd = -1};
    bool known = r->op < sizeof ops / sizeof ops[0] && ops[r->op].fn != NULL;
    int err;
    if (!known)
        err = -EPROTO;
    else if (c->client == NULL)
        err = -ENOTCONN;
    else if (ops[r->op].wants_fd && fd < 0)
        err = -EBADF;
    else
        err = ops[r->op].fn(&call);
    if (known)
        e->counters[ops[r->op].counter]++;
    else
        COUNT(e, RPC_BAD);
    if (err != 0)
        COUNT(e, RPC_REFUSED);
    if (zs_ctl_silent(r))
        return;
    call.reply.seq = r->seq;
    call.reply.error = (uint32_t)-err;
    conn_reply(e, c, &call.reply, call.reply_fd);
}
