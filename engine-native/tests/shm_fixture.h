/* SPDX-License-Identifier: BSD-3-Clause
 * A private arena and two views on it, as two clients have them. */
#ifndef ZSTACK_TEST_SHM_FIXTURE_H
#define ZSTACK_TEST_SHM_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "ops.h"
#include "ring.h"

struct fixture {
    struct zs_arena *arena;
    void *map; /* the arena is at its alignment in it */
    struct zs_view a, b; /* clients 0x10001 and 0x10002 */
    unsigned rings;      /* doorbells rung through either */
    struct zs_mapped of_a[ZS_MAX_SEGMENTS], of_b[ZS_MAX_SEGMENTS]; /* their segments of buffers */
};

/* The view's callback finds the fixture through this; one test runs at a time. */
static struct fixture *current_fixture;

static inline void fixture_ring(struct zs_view *v, uint32_t waiter, uint32_t gen)
{
    (void)v;
    (void)waiter;
    (void)gen;
    current_fixture->rings++;
}

static inline int fixture_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const size_t align = _Alignof(struct zs_arena);
    f->map = mmap(NULL, sizeof *f->arena + align, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(f->map != MAP_FAILED);
    f->arena = (void *)(((uintptr_t)f->map + align - 1) & ~(uintptr_t)(align - 1));
    f->a = (struct zs_view){.arena = f->arena, .client = 0x10001, .mem_limit = 64u << 20, .ring = fixture_ring,
                            .stats = &f->arena->client[1]};
    f->b = f->a;
    f->b.client = 0x10002;
    f->b.stats = &f->arena->client[2];
    f->a.mapped = f->of_a;
    f->b.mapped = f->of_b;
    current_fixture = f;
    *state = f;
    return 0;
}

static inline int fixture_down(void **state)
{
    struct fixture *f = *state;
    munmap(f->map, sizeof *f->arena + _Alignof(struct zs_arena));
    for (uint32_t i = 0; i < ZS_MAX_SEGMENTS; i++)
        for (struct zs_mapped *m = &f->of_a[i];; m = &f->of_b[i]) {
            if (m->base != NULL)
                munmap(m->base, ZS_BUFFERS_MAX);
            if (m == &f->of_b[i])
                break;
        }
    free(f);
    return 0;
}

/* A segment of a's as the engine hands it out: a writes, b reads when it has it mapped, too. Its descriptor. */
static inline int fixture_segment(struct fixture *f, uint32_t segment, uint64_t size, bool b_too)
{
    int fd = (int)syscall(SYS_memfd_create, "buffers", 2u /* MFD_ALLOW_SEALING */);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    assert_int_equal(zs_mapped_put(&f->of_a[ZS_SEGMENT_INDEX(segment)], segment, fd, size, true), 0);
    assert_int_equal(fcntl(fd, 1033 /* F_ADD_SEALS */, 0x1 | 0x2 | 0x4 | 0x10), 0);
    if (b_too)
        assert_int_equal(zs_mapped_put(&f->of_b[ZS_SEGMENT_INDEX(segment)], segment, fd, size, false), 0);
    return fd;
}

/* xorshift64*: the same sequence everywhere. */
static inline uint64_t rnd(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * UINT64_C(2685821657736338717);
}

/* The bytes of a stream, by their position. */
static inline uint8_t byte_at(uint64_t pos)
{
    return (uint8_t)((pos * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

static inline void fill(uint8_t *p, uint64_t pos, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = byte_at(pos + i);
}

static inline void check(const uint8_t *p, uint64_t pos, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != byte_at(pos + i))
            fail_msg("byte %llu is wrong", (unsigned long long)(pos + i));
}

/* Two ends of an open connection: returns the index of a's end, *other is b's. */
static inline uint32_t fixture_pair(struct fixture *f, uint32_t *other)
{
    int64_t c = zs_session_alloc(&f->a, ZS_KIND_TCP), s = zs_session_alloc(&f->a, ZS_KIND_TCP);
    assert_true(c >= 0 && s >= 0);
    zs_session_pair(&f->a, (uint32_t)c, (uint32_t)s);
    zs_session_at(&f->a, (uint32_t)c)->state = ZS_S_OPEN;
    zs_session_at(&f->a, (uint32_t)s)->state = ZS_S_OPEN;
    atomic_store(&zs_session_at(&f->a, (uint32_t)s)->owner, f->b.client);
    *other = (uint32_t)s;
    return (uint32_t)c;
}

static inline uint32_t sessions_in_use(struct fixture *f)
{
    uint32_t n = 0;
    for (uint32_t i = 0; (i = zs_hint_next(f->arena->session_hint.leaf, ZS_MAX_SESSIONS, i)) < ZS_MAX_SESSIONS; i++)
        n++;
    return n;
}

#endif
