/* SPDX-License-Identifier: BSD-3-Clause
 * Mappings of segments of buffers. A number's range of addresses is made once and stays: what ends there is replaced by empty
 * memory in one step, so that whoever still reads, because somebody scribbled over the table of segments or the sender died
 * meanwhile, reads zeros and does not fault. */
#define _GNU_SOURCE
#include "ops.h"

#include <sys/mman.h>

#define HUGE_PAGE (UINT64_C(2) << 20) /* aligned for them */

static uint8_t *reserve(void)
{
    const uint64_t size = ZS_BUFFERS_MAX;
    uint8_t *space = mmap(NULL, size + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED)
        return NULL;
    uint64_t skip = (HUGE_PAGE - (uintptr_t)space % HUGE_PAGE) % HUGE_PAGE;
    if (skip > 0)
        munmap(space, skip);
    munmap(space + skip + size, HUGE_PAGE - skip);
    return space + skip;
}

void *zs_map_sparse(void *at, uint64_t size, int prot, int fd)
{
    void *p = mmap(at, size, PROT_NONE, MAP_SHARED | MAP_NORESERVE | (at != NULL ? MAP_FIXED : 0), fd, 0);
    if (p == MAP_FAILED)
        return NULL;
    munlock(p, size);
    if (mprotect(p, size, prot) < 0) {
        munmap(p, size);
        return NULL;
    }
    return p;
}

static bool map_segment(struct zs_mapped *m, int prot, int fd, uint64_t size)
{
    if (m->sparse)
        return zs_map_sparse(m->base, size, prot, fd) != NULL;
    return mmap(m->base, size, prot, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0) != MAP_FAILED;
}

int zs_mapped_put(struct zs_mapped *m, uint32_t segment, int fd, uint64_t size, bool own)
{
    if (m->base == NULL && (m->base = reserve()) == NULL)
        return -ENOMEM;
    zs_mapped_drop(m);
    if (!map_segment(m, own ? PROT_READ | PROT_WRITE : PROT_READ, fd, size)) {
        m->base = NULL; /* it may have become somebody else's: mmap(2) does not say */
        return -ENOMEM;
    }
    m->size = size;
    m->own = own;
    atomic_store_explicit(&m->segment, segment, memory_order_release); /* with zs_ref_memory */
    return 0;
}

void zs_mapped_drop(struct zs_mapped *m)
{
    if (atomic_exchange(&m->segment, 0) != 0)
        mmap(m->base, m->size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}
