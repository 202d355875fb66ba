/* SPDX-License-Identifier: BSD-3-Clause
 * The receive segment: see rxpool.h. */
#define _GNU_SOURCE
#include "rxpool.h"

#include <errno.h>
#include <fcntl.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf_pool_ops.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* Linux 5.1 */
#endif

#define CACHE 256u /* buffers kept per lcore */

/* An empty pool, its objects packed: with this flag none is moved to keep it within a page. */
static struct rte_mempool *pool_new(const char *name, uint32_t count, uint16_t data_room)
{
    struct rte_pktmbuf_pool_private priv = {.mbuf_data_room_size = data_room};
    uint32_t cache = count >= CACHE * 2 ? CACHE : 0;
    struct rte_mempool *mp = rte_mempool_create_empty(name, count, (uint32_t)sizeof(struct rte_mbuf) + data_room, cache,
                                                      sizeof priv, SOCKET_ID_ANY, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
    if (mp != NULL && rte_mempool_set_ops_byname(mp, rte_mbuf_best_mempool_ops(), NULL) == 0) {
        rte_pktmbuf_pool_init(mp, &priv);
        return mp;
    }
    rte_mempool_free(mp);
    return NULL;
}

/* The memfd, its pages there, mapped and sealed. */
static int segment_new(struct rxpool *p)
{
    p->fd = memfd_create("zstack-rx", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (p->fd < 0 || ftruncate(p->fd, (off_t)p->size) != 0 || fallocate(p->fd, 0, 0, (off_t)p->size) != 0)
        return -errno;
    void *at = mmap(NULL, p->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, p->fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    p->base = at;
    madvise(at, p->size, MADV_DONTDUMP);
    /* Only now: the seal spares the mapping that is there. */
    if (fcntl(p->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0)
        return -errno;
    return 0;
}

static int fill(struct rxpool *p)
{
    rte_iova_t iova = rte_eal_iova_mode() == RTE_IOVA_VA ? (rte_iova_t)(uintptr_t)p->base : RTE_BAD_IOVA;
    int n = rte_mempool_populate_iova(p->pool, (char *)p->base, iova, p->size, NULL, NULL);
    if (n < 0)
        return n;
    if ((uint32_t)n != p->count || p->pool->nb_mem_chunks != 1)
        return -ENOMEM;
    rte_mempool_obj_iter(p->pool, rte_pktmbuf_init, NULL);
    return 0;
}

int rxpool_create(struct rxpool *p, const char *name, uint32_t count, uint16_t data_room)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    size_t min_chunk, align;
    *p = (struct rxpool){.fd = -1, .count = count};
    p->pool = pool_new(name, count, data_room);
    if (p->pool == NULL)
        return -(rte_errno != 0 ? rte_errno : ENOMEM);
    ssize_t bytes = rte_mempool_op_calc_mem_size_default(p->pool, count, 0, &min_chunk, &align);
    p->size = ((uint64_t)RTE_MAX(bytes, 0) + page - 1) & ~(page - 1);
    int err = bytes < 0 ? (int)bytes : p->size > UINT32_MAX ? -EFBIG : segment_new(p); /* references have 32-bit offsets */
    if (err == 0)
        err = fill(p);
    if (err != 0)
        rxpool_destroy(p);
    return err;
}

void rxpool_destroy(struct rxpool *p)
{
    if (p->pool == NULL)
        return;
    rte_mempool_free(p->pool);
    if (p->base != NULL)
        munmap(p->base, p->size);
    if (p->fd >= 0)
        close(p->fd);
    *p = (struct rxpool){.fd = -1};
}
