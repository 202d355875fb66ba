/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Segments of buffers: a program's own, and others' that something was lent to it from. Negative errno returns. */
#ifndef ZSTACK_CLIENT_BUFFERS_H
#define ZSTACK_CLIENT_BUFFERS_H

#include "domain.h"

/* A segment of `size` bytes (a power of two, ZS_BUFFERS_MIN to ZS_BUFFERS_MAX) that this process alone writes to. -ENOBUFS: the
 * engine's memory limit, no descriptor is left; -ENOMEM; -EPIPE: the engine is gone; -EPERM: this process may ask no more. */
int zs_buffers_new(struct zs_domain *d, uint64_t size, struct zs_mapped **out);
/* Gives it back. -EBUSY: something of it is lent; -EPERM. Without an engine it is only unmapped. */
int zs_buffers_end(struct zs_domain *d, struct zs_mapped *m);
/* zs_view.map: the segment of a reference that this process has not met yet. */
int zs_buffers_map(struct zs_view *v, const struct zs_ref *ref, uint32_t session);
/* Lets go of mappings of what is no more; for a process at rest. */
void zs_buffers_rest(struct zs_domain *d);
/* In a forked child: it reads what was its parent's, and writes it no more. */
void zs_buffers_forked(struct zs_domain *d);

#endif
