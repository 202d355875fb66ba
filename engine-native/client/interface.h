/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What libzstack_preload.so offers to libzstack.so in the same process: the sockets are the preload's, buffers and segments
 * are libzstack's. The two are of one build; the versions tell when they are not. Negative errno returns. */
#ifndef ZSTACK_CLIENT_INTERFACE_H
#define ZSTACK_CLIENT_INTERFACE_H

#include "domain.h"

#define ZS_INTERFACE_VERSION 2u
#define ZS_INTERFACE_SYMBOL "zstack_interface"

struct zs_if_info {
    struct zs_domain *domain; /* NULL: left to the kernel, or not a socket */
    bool wire;                /* the other end is on another host */
    uint32_t peer_pid;        /* 0: not known */
    const char *reason;       /* a ZS_REASONS name, "" when there is none */
};

struct zs_interface {
    uint32_t version, layout;
    /* The engine of this process, attached to when need be; NULL: none. It stays mapped as long as the process lives. */
    struct zs_domain *(*domain)(void);
    /* Signal handlers wait between these two. */
    void (*enter)(void);
    void (*leave)(void);
    /* Gives a hold (ref: segment, offset, len, loan, loan_gen, made in domain d) to the stream behind fd; waits for room as
     * send(2), MSG_DONTWAIT and O_NONBLOCK considered. Bytes lent, at least `least`; when the hold's holder is still 0 after
     * that, they vanished as a write to a closed peer does. -ENOTSOCK: not accelerated, use send(2); -EXDEV: of another engine;
     * -ENOBUFS: cannot be lent now; others as send(2). No SIGPIPE. */
    int64_t (*lend)(int fd, struct zs_domain *d, struct zs_ref *ref, uint32_t least, int flags);
    /* The next bytes of the stream: waits as recv(2). 1: *t, taken over (data) or to be read by recv(2) (data NULL);
     * 0: end of stream; -ENOTSOCK: not accelerated, use recv(2); -ENOBUFS: what is lent cannot be mapped now. *d: whose. */
    int (*take)(int fd, struct zs_domain **d, struct zs_taken *t, int flags);
    int (*info)(int fd, struct zs_if_info *info);
    /* Names a function that is called when the program has slept for a second: from within a call, signal handlers waiting. */
    void (*at_rest)(void (*fn)(void));
    uint32_t spin_us; /* how long a wait polls before it sleeps */
};

/* NULL when the versions are not what the caller was built with. */
typedef const struct zs_interface *zs_interface_fn(uint32_t version, uint32_t layout);

#endif
