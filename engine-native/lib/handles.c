/* SPDX-License-Identifier: BSD-3-Clause
 * libzstack's beginning, lock and handles. */
#define _GNU_SOURCE
#include "lib.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define CHUNKS_MAX 16384u
#define DEFAULT_QUOTA ((size_t)256 << 20)

/* The process' one library; what hangs from it is guarded by its lock. */
struct lib lib = {.lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT, .held_quota = DEFAULT_QUOTA,
                  .lent_quota = DEFAULT_QUOTA};

/* The child has the lock in whatever state it was, and nothing of what it guards is the child's. */
static void forked(void)
{
    pthread_mutex_init(&lib.lock, NULL);
    lib.process++;
    memory_forked();
    lib.held = lib.lent = 0;
    lib.segments = 0;
    lib.high = false;
    lib.watch = NULL;
}

static void before_fork(void)
{
    pthread_mutex_lock(&lib.lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&lib.lock);
}

static void begin(void)
{
    zs_interface_fn *fn = (zs_interface_fn *)dlsym(RTLD_DEFAULT, ZS_INTERFACE_SYMBOL);
    lib.preload = fn == NULL ? NULL : fn(ZS_INTERFACE_VERSION, ZS_LAYOUT_VERSION);
    pthread_atfork(before_fork, after_fork, forked);
    if (lib.preload != NULL)
        lib.preload->at_rest(memory_rest);
    struct zs_domain *d = lib.preload == NULL ? NULL : lib.preload->domain();
    if (d != NULL)
        lib.held_quota = lib.lent_quota = d->view.mem_limit / 4;
}

void lib_enter(void)
{
    pthread_once(&lib.once, begin);
    if (lib.preload != NULL)
        lib.preload->enter();
    pthread_mutex_lock(&lib.lock);
}

void lib_leave(void)
{
    pthread_mutex_unlock(&lib.lock);
    if (lib.preload != NULL)
        lib.preload->leave();
}

struct zs_domain *lib_domain(void)
{
    pthread_once(&lib.once, begin);
    return lib.preload == NULL ? NULL : lib.preload->domain();
}

void lib_count(struct zs_domain *d, size_t offset, uint64_t n)
{
    if (d != NULL && d->view.stats != NULL)
        atomic_fetch_add_explicit((_Atomic uint64_t *)((char *)d->view.stats + offset), n, memory_order_relaxed);
}

/* ---- Ids: kind << 62 | generation << 32 | index ---- */

#define GEN_MASK 0x3fffffffu

uint64_t handle_id(const struct handle *h)
{
    return (uint64_t)h->kind << 62 | (uint64_t)(h->gen & GEN_MASK) << 32 | h->index;
}

enum handle_kind handle_kind_of(uint64_t id)
{
    return id >> 62 == H_BUFFER || id >> 62 == H_SEGMENT ? (enum handle_kind)(id >> 62) : H_FREE;
}

static bool more(void)
{
    if (lib.chunk == NULL && (lib.chunk = calloc(CHUNKS_MAX, sizeof *lib.chunk)) == NULL)
        return false;
    struct handle *c = lib.chunks == CHUNKS_MAX ? NULL : calloc(HANDLE_CHUNK, sizeof *c);
    if (c == NULL)
        return false;
    for (uint32_t i = HANDLE_CHUNK; i-- > 0;) {
        c[i].index = lib.chunks * HANDLE_CHUNK + i;
        c[i].next_free = lib.free;
        lib.free = &c[i];
    }
    lib.chunk[lib.chunks++] = c;
    return true;
}

struct handle *handle_new(enum handle_kind kind)
{
    if (lib.free == NULL && !more())
        return NULL;
    struct handle *h = lib.free;
    uint32_t gen = h->gen, index = h->index;
    lib.free = h->next_free;
    *h = (struct handle){.gen = gen, .index = index, .kind = (uint8_t)kind, .process = lib.process};
    return h;
}

void handle_drop(struct handle *h)
{
    h->kind = H_FREE;
    h->gen++;
    h->next_free = lib.free;
    lib.free = h;
}

int handle_get(uint64_t id, enum handle_kind kind, struct handle **out)
{
    uint32_t index = (uint32_t)id;
    if (handle_kind_of(id) != kind || index / HANDLE_CHUNK >= lib.chunks)
        return -EINVAL;
    struct handle *h = &lib.chunk[index / HANDLE_CHUNK][index % HANDLE_CHUNK];
    if (h->kind != kind || (h->gen & GEN_MASK) != (uint32_t)(id >> 32 & GEN_MASK))
        return -ESTALE;
    if (h->process != lib.process)
        return -EPERM;
    *out = h;
    return 0;
}
