/* SPDX-License-Identifier: BSD-3-Clause
 * The arena: one sparse memfd, sealed against resizing, so that no client can make another one's access fault. */
#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Maps the arena at a multiple of its alignment: mmap alone promises pages only, and blocks in huge pages need more. */
static void *map_aligned(int fd)
{
    const size_t align = _Alignof(struct zs_arena), size = sizeof(struct zs_arena);
    char *space = mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED)
        return MAP_FAILED;
    size_t skip = (align - (uintptr_t)space % align) % align;
    void *at = mmap(space + skip, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    if (skip > 0)
        munmap(space, skip);
    munmap(space + skip + size, align - skip);
    if (at == MAP_FAILED)
        munmap(space + skip, size);
    return at;
}

static int arena_map(struct engine *e)
{
    int fd = memfd_create("zstack-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    e->arena_fd = fd;
    if (ftruncate(fd, sizeof(struct zs_arena)) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return -errno;
    void *at = map_aligned(fd);
    if (at == MAP_FAILED)
        return -errno;
    e->view.arena = at;
    /* Advice only: ring memory in huge pages where the system allows them for shared memory, and no 13 GiB core. */
    madvise(e->view.arena->data, sizeof e->view.arena->data, MADV_HUGEPAGE);
    madvise(at, sizeof(struct zs_arena), MADV_DONTDUMP);
    return 0;
}

bool arena_create(struct engine *e, struct engine_failure *f)
{
    int err = arena_map(e);
    if (err != 0) {
        engine_fail(f, ENGINE_EXIT_OTHER, "ZS2104", "is the address space limited (ulimit -v)?",
                    "cannot create the shared memory: %s", strerror(-err));
        return false;
    }
    struct zs_arena_header *h = &e->view.arena->header;
    cpu_set_t cpus;
    h->layout_version = ZS_LAYOUT_VERSION;
    h->layout_size = sizeof(struct zs_arena);
    if (!random_bytes(&h->epoch, sizeof h->epoch))
        h->epoch = e->now ^ (uint64_t)getpid() << 40;
    h->engine_pid = (uint32_t)getpid();
    h->ncpu = e->ncpu = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (uint32_t)CPU_COUNT(&cpus) : 1;
    h->mem_limit = (uint64_t)e->opt.memory_mib << 20;
    h->magic = ZS_SHM_MAGIC;
    memcpy(e->header_line, h, sizeof e->header_line);
    e->view.client = ZS_CLIENT_ENGINE;
    e->view.mem_limit = h->mem_limit;
    e->view.ring = view_ring;
    e->view.mapped = e->mapped;
    return true;
}

void arena_mend(struct engine *e)
{
    struct zs_arena_header *h = &e->view.arena->header;
    if (memcmp(h, e->header_line, sizeof e->header_line) == 0)
        return;
    COUNT(e, FAULTS_FOUND);
    LOG_WARN(e, "the header of the shared memory was overwritten by a program: mended");
    memcpy(h, e->header_line, sizeof e->header_line);
    addrs_due(e);
    addrs_port_range(e);
    if (e->wire != NULL)
        wire_publish(e);
}

void arena_destroy(struct engine *e)
{
    segments_close(e);
    if (e->view.arena != NULL)
        munmap(e->view.arena, sizeof(struct zs_arena));
    e->view.arena = NULL;
    if (e->arena_fd >= 0)
        close(e->arena_fd);
    e->arena_fd = -1;
}
