/* SPDX-License-Identifier: BSD-3-Clause
 * What poll (poll.c) and select (select.c), which becomes a poll, have in common. */
#ifndef ZS_PRELOAD_POLL_H
#define ZS_PRELOAD_POLL_H

#include "preload.h"

#define ZS_POLL_FEW 64u /* descriptors for which the stack has room, as in the kernel's own poll and select */

/* Something of ours may be among what the program waits for. */
static inline bool poll_possible(void)
{
    return signals_guarded() && !zs_passthrough();
}

/* The socket behind an entry of the descriptor table whose readiness is in shared memory, NULL. */
static inline struct zsock *poll_sock(uintptr_t raw)
{
    struct zsock *k = fd_sock(raw);
    return k != NULL && sock_accelerated(k) ? k : NULL;
}

/* Whether a descriptor that is about to be waited for needs more than the real call. */
static inline bool poll_ours(int fd, uintptr_t raw, uint32_t *waits)
{
    struct zsock *k = fd_sock(raw);
    if (ZS_UNLIKELY(k != NULL && atomic_load(&k->kind) == ZK_UDP && k->s == NULL) && dgram_polled(fd, waits))
        return true;
    return poll_sock(raw) != NULL;
}

/* generation: before they were counted; a child that a handler began has no part in it. */
static inline void poll_waited(uint32_t waits, uint32_t generation)
{
    if (ZS_UNLIKELY(waits > 0) && generation == atomic_load(&zs_proc.generation))
        atomic_fetch_sub(&zs_proc.udp_polls, waits);
}

int64_t poll_ns(const struct timespec *t); /* NULL: -1, for ever */
bool poll_bad_time(const struct timespec *t, const sigset_t *mask); /* the kernel has the error for it */

/* Waits, within a frame, at most timeout_ns (-1: for ever). Returns how many have revents, 0 at the timeout, -errno (-EINTR, -ENOMEM). */
int poll_core(struct pollfd *p, nfds_t n, int64_t timeout_ns, const sigset_t *mask, bool restartable);

/* The end of the frame and of the call: traced with `what`, errno from -errno. */
int poll_end(const char *name, int what, int r);

/* ---- Memory for calls with more descriptors than the stack has room for ---- */

/* A thread keeps what its last such call had, lest each one maps pages, faults them in and unmaps them. */
struct zs_spare spare_take(enum zs_spare_use use, size_t bytes); /* .at NULL: none to have; else at least `bytes`, of any content */
void spare_give(enum zs_spare_use use, struct zs_spare mem);     /* .at NULL: nothing was taken */

#endif
