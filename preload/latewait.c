/* SPDX-License-Identifier: BSD-3-Clause
 * Threads that wait for UDP sockets that the engine has not been told of. They sleep on the kernel's queues; once another thread, or a
 * handler above the sleep, has told the engine, datagrams come through shared memory, too, so that whoever sleeps has to look again. */
#include "latewait.h"

#include <sys/eventfd.h>

#define LATE_THREADS 256u /* those beyond look often */

static struct {
    _Atomic uint32_t lock;
    _Atomic uint32_t armed; /* slots with a bell */
    int bell[LATE_THREADS]; /* + 1; 0: does not wait */
    bool taken[LATE_THREADS];
} late;

bool late_quiet(void)
{
    return zs_proc.restricted || (__libc_single_threaded && !atomic_load_explicit(&zs_proc.handlers, memory_order_relaxed));
}

static int own_bell(struct zs_thread *t)
{
    if (t->late_bell == 0) {
        int fd = (int)zs_sys(SYS_eventfd2, 0, EFD_NONBLOCK | EFD_CLOEXEC);
        fd = fd < 0 ? fd : fd_keep(fd);
        if (fd < 0)
            return -1;
        t->late_bell = fd + 1;
    }
    return t->late_bell - 1;
}

/* What the thread had before a fork is its parent's. */
static void own_generation(struct zs_thread *t)
{
    uint32_t generation = atomic_load(&zs_proc.generation);
    if (t->late_generation == generation)
        return;
    t->late_generation = generation;
    t->late_bell = 0;
    t->late_slot = 0;
}

static void ring_armed(uint32_t slot, int bell)
{
    int before = late.bell[slot];
    late.bell[slot] = bell + 1;
    if ((before == 0) != (bell < 0))
        atomic_fetch_add(&late.armed, bell < 0 ? UINT32_MAX : 1);
}

int late_arm(int bell)
{
    struct zs_thread *t = &zs_thread;
    own_generation(t);
    if (bell < 0)
        bell = own_bell(t);
    if (bell < 0)
        return -1;
    if (!t->registered)
        thread_register();
    zs_word_lock(&late.lock);
    for (uint32_t i = 0; i < LATE_THREADS && t->late_slot == 0; i++)
        if (!late.taken[i]) {
            late.taken[i] = true;
            t->late_slot = i + 1;
        }
    if (t->late_slot != 0)
        ring_armed(t->late_slot - 1, bell);
    zs_word_unlock(&late.lock);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in late_ring() */
    return t->late_slot != 0 ? bell : -1;
}

void late_disarm(void)
{
    struct zs_thread *t = &zs_thread;
    if (t->late_generation != atomic_load(&zs_proc.generation) || t->late_slot == 0)
        return;
    zs_word_lock(&late.lock);
    ring_armed(t->late_slot - 1, -1);
    zs_word_unlock(&late.lock);
}

void late_ring(void)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&late.armed) == 0)
        return;
    const uint64_t one = 1;
    zs_word_lock(&late.lock); /* no bell is closed meanwhile, nor its number another descriptor's */
    for (uint32_t i = 0; i < LATE_THREADS; i++)
        if (late.bell[i] != 0)
            zs_sys(SYS_write, late.bell[i] - 1, &one, sizeof one);
    zs_word_unlock(&late.lock);
}

void late_thread_ends(struct zs_thread *t)
{
    if (t->late_generation != atomic_load(&zs_proc.generation))
        return;
    if (t->late_slot != 0) {
        zs_word_lock(&late.lock);
        ring_armed(t->late_slot - 1, -1);
        late.taken[t->late_slot - 1] = false;
        zs_word_unlock(&late.lock);
    }
    if (t->late_bell != 0)
        fd_unkeep(t->late_bell - 1);
    t->late_slot = 0;
    t->late_bell = 0;
}

void late_child(void)
{
    memset(&late, 0, sizeof late);
}
