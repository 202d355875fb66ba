/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A domain: this process' attachment to one engine. A process that outlives its engine keeps the old domain for its
 * connections and attaches to the next engine as a new one. Negative errno returns throughout. */
#ifndef ZSTACK_CLIENT_DOMAIN_H
#define ZSTACK_CLIENT_DOMAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <zstack/ctl.h>

#include "ops.h"
#include "ring.h"

struct zs_domain;

/* What the library needs of its host (the preload). */
struct zs_host {
    /* Moves a descriptor out of the application's sight (high number, close-on-exec) and returns its new number. */
    int (*keep_fd)(int fd);
    void (*drop_fd)(int fd);
    /* About to map (or, negative, has unmapped) that many bytes of addresses. NULL: nobody limits them. */
    void (*mapped)(int64_t bytes);
    /* A descriptor of the socket whose session that is, -1: none. NULL: there are no sockets. */
    int (*socket_of)(struct zs_domain *d, uint32_t session);
};

struct zs_doorbell {
    _Atomic int fd; /* kept descriptor + 1; 0 not known */
    _Atomic uint32_t gen;
};

struct zs_domain {
    struct zs_view view; /* first: the ring callback gets the view and finds the domain */
    const struct zs_host *host;
    int ctl_fd;
    int bell_fd;            /* the engine's doorbell, -1 unknown */
    _Atomic bool alive;     /* the engine answers */
    _Atomic uint32_t rpc_lock;
    uint32_t seq;
    uint8_t token[16];
    uint64_t epoch;
    uint64_t checked_ns; /* when the host last looked whether the engine lives; the host's to use */
    uint32_t ncpu;
    pid_t engine_pid; /* as this process sees it; 0: in a pid namespace that it does not see */
    struct zs_doorbell *doorbell; /* ZS_MAX_WAITERS entries, private memory */
    _Atomic uint32_t map_lock; /* guards view.mapped, ZS_MAX_SEGMENTS entries of private memory */
    uint32_t mapped_top;       /* of which those below this were used */
};

struct zs_attach_args {
    const char *engine;       /* "<uid>-<name>" */
    const char *run;          /* run token or "" */
    const uint8_t *token;     /* parent's token, or NULL */
    int home1;                /* an AF_UNIX socket of the engine's network namespace to attach by, + 1; 0: one of the current's */
    const struct zs_host *host;
};

/* Attaches; -ECONNREFUSED when no engine answers, -EPROTO version, -EPERM squatter or refused, -ENOMEM no room to map. */
int zs_domain_attach(struct zs_domain *d, const struct zs_attach_args *args);
/* In a forked child: becomes a client of its own on the inherited mapping. -ESTALE: another engine answers by now. The
 * descriptors of the parent's attachment must be gone already. */
int zs_domain_reattach(struct zs_domain *d, const struct zs_attach_args *args);
/* Lets go of descriptors; the mapping stays, since sockets may use it. */
void zs_domain_disconnect(struct zs_domain *d);

/* Tells the host that so many bytes of addresses are about to be mapped, or (negative) were unmapped. */
void zs_domain_mapped(const struct zs_domain *d, int64_t bytes);

/* One request and its reply. *fd: descriptor to send (or -1); on return the descriptor received (or -1).
 * -EPIPE: the engine is gone (the domain is then no longer alive). */
int zs_rpc(struct zs_domain *d, struct zs_ctl_request *req, struct zs_ctl_reply *reply, int *fd);
/* Shorthand for requests of two numbers. */
int zs_rpc2(struct zs_domain *d, uint32_t op, uint32_t a, uint32_t b, int send_fd, struct zs_ctl_reply *reply, int *got_fd);
/* Looks whether the control connection is still up; cheap enough for once per sleep. */
bool zs_domain_check(struct zs_domain *d);
/* True when the engine's process is known to be no more. One that only does not answer this process, or is being reaped, is not. */
bool zs_domain_engine_dead(const struct zs_domain *d);
/* Rings the engine (accept queue room, memory). */
void zs_domain_ring_engine(struct zs_domain *d);

#endif
