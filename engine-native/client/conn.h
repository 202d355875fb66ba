/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Connections inside the domain: connect and accept without the engine; listeners and UDP sockets with it. */
#ifndef ZSTACK_CLIENT_CONN_H
#define ZSTACK_CLIENT_CONN_H

#include "domain.h"

struct zs_connect {
    struct zs_addr to;
    struct zs_addr from; /* port 0: an ephemeral one is chosen; ip all zero: the destination's own address */
    uint32_t port; /* by that port of the engine, from 1; 0: any */
    void (*prepare)(const void *arg, struct zs_session *s); /* wire: before the SYN leaves, which tells some options; NULL: nothing */
    const void *arg;
    uint32_t session, gen; /* result */
    bool deferred;         /* result: the accept queue is full, the engine completes the connection */
    int announced;         /* result of zs_connect: zs_announce_end() after the kernel's connect, which takes its place; or negative */
};

/* Connects to a listener of the domain. 0; -ECONNREFUSED: nobody of this domain listens there (try the kernel);
 * -EADDRNOTAVAIL no free source port; -ENOBUFS tables or memory exhausted. */
int zs_connect(struct zs_domain *d, struct zs_connect *c);

/* Connects over the engine's ports; the connection is then on its way (c->deferred). 0; -ENETUNREACH, -EADDRINUSE,
 * -EADDRNOTAVAIL; -ENOBUFS; -EPIPE: the engine is gone. */
int zs_connect_wire(struct zs_domain *d, struct zs_connect *c);

/* Takes one connection from the accept queue of `listener` (a session): its session index, or -EAGAIN. */
int64_t zs_accept(struct zs_domain *d, struct zs_session *listener);

/* True when a connection waits. Memory reads only. */
bool zs_accept_ready(struct zs_domain *d, const struct zs_session *listener);

#endif
