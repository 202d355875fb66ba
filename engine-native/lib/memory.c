/* SPDX-License-Identifier: BSD-3-Clause
 * Memory for buffers: pages of segments that this process alone writes to. What is free stands in memory of the process, so that
 * nothing which another one could change decides where a buffer is. The lowest place is taken first: what was freed last is used again
 * while caches still have it, and segments that were needed for a while become empty and go back. */
#define _GNU_SOURCE
#include "lib.h"

#include <stdlib.h>
#include <string.h>

#include "buffers.h"

#define PAGE 4096u
#define FIRST (UINT64_C(1) << 20) /* bytes of the first segment; each further one as much as there was before */
#define REST_NS 1000000000u       /* an empty segment goes back after this */

struct memory {
    struct memory *next;
    struct zs_domain *domain;
    struct zs_mapped *mapped;
    uint32_t pages, left;
    uint64_t empty_ns;                           /* since when, left == pages */
    uint64_t used[ZS_BUFFERS_MAX / PAGE / 64]; /* a bit for each page */
};

/* A power of two of pages. */
static uint32_t pages_of(size_t size)
{
    uint32_t n = 1;
    while ((size_t)n * PAGE < size)
        n *= 2;
    return n;
}

/* Where in a word n free bits begin, at a multiple of n below 64; -1: nowhere. */
static int run_in(uint64_t used, uint32_t n)
{
    uint64_t free_bits = ~used;
    for (uint32_t k = 1; k < n; k *= 2) {
        free_bits &= free_bits >> k;
        free_bits &= UINT64_MAX / ((UINT64_C(1) << k * 2) - 1); /* multiples of 2k */
    }
    return free_bits == 0 ? -1 : __builtin_ctzll(free_bits);
}

static void mark(struct memory *m, uint32_t at, uint32_t n, bool used)
{
    for (; n >= 64; at += 64, n -= 64)
        m->used[at / 64] = used ? UINT64_MAX : 0;
    uint64_t bits = n == 0 ? 0 : ((UINT64_C(1) << n) - 1) << at % 64;
    if (n > 0)
        m->used[at / 64] = used ? m->used[at / 64] | bits : m->used[at / 64] & ~bits;
}

/* First page of n free ones at a multiple of n; -1: there are none. */
static int64_t find(const struct memory *m, uint32_t n)
{
    uint32_t words = (m->pages + 63) / 64, step = n / 64;
    for (uint32_t w = 0; n < 64 && w < words; w++) {
        int bit = m->used[w] == UINT64_MAX ? -1 : run_in(m->used[w], n);
        if (bit >= 0)
            return (int64_t)w * 64 + bit;
    }
    for (uint32_t w = 0; n >= 64 && w < words; w += step) {
        uint32_t i = 0;
        while (i < step && m->used[w + i] == 0)
            i++;
        if (i == step)
            return (int64_t)w * 64;
    }
    return -1;
}

/* ---- Segments ---- */

static uint64_t total(const struct zs_domain *d)
{
    uint64_t sum = 0;
    for (const struct memory *m = lib.memory; m != NULL; m = m->next)
        sum += m->domain == d ? m->mapped->size : 0;
    return sum;
}

/* Another segment for n pages at least: as large as all there are, as far as the engine's memory goes. */
static int more(struct zs_domain *d, uint32_t n, struct memory **out)
{
    uint64_t least = (uint64_t)n * PAGE < ZS_BUFFERS_MIN ? ZS_BUFFERS_MIN : (uint64_t)n * PAGE, have = total(d), size = FIRST;
    struct memory *m = calloc(1, sizeof *m), **end = &lib.memory;
    int r = m == NULL ? -ENOMEM : -ENOBUFS;
    while (size < ZS_BUFFERS_MAX && (size < least || size < have))
        size *= 2;
    for (; r == -ENOBUFS && size >= least; size /= 2)
        r = zs_buffers_new(d, size, &m->mapped);
    if (r < 0) {
        free(m);
        return r;
    }
    m->domain = d;
    m->pages = m->left = (uint32_t)(m->mapped->size / PAGE);
    if (m->pages < 64)
        m->used[0] = UINT64_MAX << m->pages;
    while (*end != NULL)
        end = &(*end)->next;
    *end = *out = m;
    return 0;
}

/* Gives back what has been empty for a while. */
static void rest(uint64_t now)
{
    for (struct memory **at = &lib.memory, *m; (m = *at) != NULL;) {
        bool rested = m->left == m->pages && now - m->empty_ns >= REST_NS;
        if (rested && zs_buffers_end(m->domain, m->mapped) == 0) {
            *at = m->next;
            free(m);
            continue;
        }
        if (rested) /* the engine is not to be asked, or thinks that somebody reads there */
            m->empty_ns = now;
        at = &m->next;
    }
}

/* ---- Places ---- */

int memory_get(struct zs_domain *d, size_t size, struct place *p)
{
    uint32_t n = pages_of(size);
    struct memory *m = lib.memory;
    int64_t at = -1;
    for (; m != NULL; m = m->next)
        if (m->domain == d && m->left >= n && (at = find(m, n)) >= 0)
            break;
    if (m == NULL) {
        rest(zs_now_ns()); /* what is empty and too small makes room */
        int r = more(d, n, &m);
        if (r < 0)
            return r;
        at = 0;
    }
    mark(m, (uint32_t)at, n, true);
    m->left -= n;
    *p = (struct place){.memory = m, .segment = atomic_load(&m->mapped->segment), .offset = (uint32_t)at * PAGE,
                        .data = m->mapped->base + (uint64_t)at * PAGE};
    return 0;
}

void memory_put(struct memory *m, uint32_t offset, size_t size)
{
    uint32_t n = pages_of(size);
    mark(m, offset / PAGE, n, false);
    m->left += n;
    if (m->left < m->pages)
        return;
    m->empty_ns = zs_now_ns();
    rest(m->empty_ns);
}

void memory_rest(void)
{
    if (lib.memory == NULL || pthread_mutex_trylock(&lib.lock) != 0)
        return;
    rest(zs_now_ns());
    pthread_mutex_unlock(&lib.lock);
}

void memory_forked(void)
{
    while (lib.memory != NULL) {
        struct memory *m = lib.memory;
        lib.memory = m->next;
        free(m);
    }
}
