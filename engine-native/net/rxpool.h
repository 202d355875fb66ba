/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The receive segment: a pool of packet buffers that lies wholly in one memfd, so that applications of the domain can map
 * what ports receive and read payload where it was put. The engine maps it for writing first; after that the memfd is
 * sealed, and whoever gets its descriptor can map it for reading only, can neither resize it nor punch holes into it.
 *
 * It is one chunk with its objects side by side, whatever the page size: net_af_xdp makes a pool its UMEM on that
 * condition. With IOVA as virtual addresses (the only mode of an EAL without huge pages) its buffers have IOVAs; a device
 * that masters the bus by physical addresses cannot use it. */
#ifndef ZSTACK_NET_RXPOOL_H
#define ZSTACK_NET_RXPOOL_H

#include <rte_mbuf.h>
#include <stdbool.h>
#include <stdint.h>

#define RXPOOL_SEGMENT 1u /* its number in references (struct zs_ref) */

struct rxpool {
    struct rte_mempool *pool;
    uint8_t *base;
    uint64_t size; /* bytes, of whole pages */
    uint32_t count; /* buffers */
    int fd;
};

/* `name`: as for a mempool, unique in the process. `data_room`: bytes of a buffer, RTE_PKTMBUF_HEADROOM included. 0, or a
 * negative errno value; then *p is empty. All memory is reserved at once: none of it can turn out missing later. */
int rxpool_create(struct rxpool *p, const char *name, uint32_t count, uint16_t data_room);
/* After ports and stacks that use it are gone. Applications keep their mappings. An empty or zeroed one is fine. */
void rxpool_destroy(struct rxpool *p);

/* Where n bytes at `at` are in the segment; false: not (wholly) in it. */
static inline bool rxpool_offset(const struct rxpool *p, const void *at, uint64_t n, uint32_t *offset)
{
    uint64_t off = (uint64_t)((uintptr_t)at - (uintptr_t)p->base);
    *offset = (uint32_t)off;
    return off < p->size && n <= p->size - off;
}

#endif
