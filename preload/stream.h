/* SPDX-License-Identifier: BSD-3-Clause
 * What both directions of a connection's data have in common (stream.c, stream_recv.c). */
#ifndef ZSTACK_PRELOAD_STREAM_H
#define ZSTACK_PRELOAD_STREAM_H

#include "preload.h"

void stream_fault(struct zsock *k);      /* what stands in shared memory cannot be: the connection is reset */
void stream_check_peer(struct zsock *k); /* a dead engine cannot tell us of a dead peer */

/* From SO_RCVTIMEO or SO_SNDTIMEO, microseconds; 0: none. */
static inline uint64_t stream_deadline(uint64_t timeout_us)
{
    return timeout_us != 0 ? zs_now_ns() + timeout_us * 1000u : 0;
}

/* Counters of this process alone: its threads may lose a count, which a locked instruction for each message would not be worth. */
static inline void stream_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* The first n bytes of a vector to or from memory in one piece. */
static inline void stream_copy(uint8_t *ring, const struct iovec *iov, size_t n, bool to_ring)
{
    for (size_t done = 0; done < n; iov++) {
        size_t len = iov->iov_len < n - done ? iov->iov_len : n - done;
        memcpy(to_ring ? ring + done : iov->iov_base, to_ring ? iov->iov_base : ring + done, len);
        done += len;
    }
}

#endif
