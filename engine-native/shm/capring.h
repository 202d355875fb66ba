/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The capture ring (struct zs_capture): what programs of this host send each other, written down by who sends it before the other
 * can see it, so that a request stands before its answer. Costs one look at a word that hardly ever changes while nobody
 * captures. Writers never fail: what has no room is counted. */
#ifndef ZSTACK_SHM_CAPRING_H
#define ZSTACK_SHM_CAPRING_H

#include "ops.h"

static inline bool zs_capturing(const struct zs_view *v)
{
    return __builtin_expect(atomic_load_explicit(&v->arena->header.capture, memory_order_relaxed) != 0, 0);
}

/* n bytes of iov, from `skip` on, are about to be published at the tail of a direction. Nothing happens for other than TCP inside
 * the host: what goes over the wire is captured there. */
void zs_capture_data(struct zs_view *v, struct zs_session *rx, const struct iovec *iov, size_t skip, uint64_t n);
/* What the end `s` does to the connection: ZS_CAP_CONNECT (listener: session of the listening socket), ZS_CAP_FIN, ZS_CAP_RST. */
void zs_capture_event(struct zs_view *v, struct zs_session *s, enum zs_capture_kind kind, uint32_t listener);
/* A datagram of rec->len bytes for the socket `to`. */
void zs_capture_datagram(struct zs_view *v, const struct zs_session *to, const struct zs_udp_record *rec, const struct iovec *iov);

/* The engine's side. The next record, copied, and what it kept of the data, at most 65536 bytes, to `data`. 1; 0 there is none;
 * -EPROTO: the ring was inconsistent, and what was in it is gone. */
int zs_capture_take(struct zs_view *v, struct zs_capture_record *rec, uint8_t *data);

#endif
