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

#endif
