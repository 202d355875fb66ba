/* SPDX-License-Identifier: BSD-3-Clause
 * Gives freed ring memory back to the kernel. The memfd itself tells which pages exist (SEEK_DATA), so nothing needs to
 * be recorded when blocks come and go. A block is claimed like any other before its pages are punched out: an
 * allocation cannot get it meanwhile. */
#define _GNU_SOURCE
#include "internal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIM_INTERVAL (2 * NS_PER_S)
#define TRIM_SLACK (UINT64_C(16) << 20) /* kept while programs are attached: it will be wanted again */
#define TRIM_WORD ((uint64_t)ZS_CLIENT_ENGINE << 32 | ZS_NO_SESSION)

static uint64_t resident(struct engine *e)
{
    struct stat st;
    return fstat(e->arena_fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static uint64_t used_in_arena(const struct engine *e)
{
    uint64_t used = atomic_load(&e->view.arena->header.mem_used);
    return used > e->segment_bytes ? used - e->segment_bytes : 0;
}

/* Called after events; only memory that is resident and unused starts the timer. */
void trim_consider(struct engine *e)
{
    if (e->due[TIMER_TRIM] != NEVER)
        return;
    uint64_t used = used_in_arena(e), have = resident(e);
    uint64_t slack = e->client_count > 0 ? TRIM_SLACK : 0;
    if (have > e->resident_base + used + slack)
        timer_at(e, TIMER_TRIM, e->trimmed_at + TRIM_INTERVAL > e->now ? e->trimmed_at + TRIM_INTERVAL : e->now);
}

static bool block_claim(struct zs_block_class *cls, uint32_t i)
{
    uint64_t bit = UINT64_C(1) << (i % 64), none = 0;
    if (atomic_load(&cls->owner[i]) != 0 || (atomic_fetch_or(&cls->hint.leaf[i / 64], bit) & bit) != 0)
        return false;
    if (atomic_compare_exchange_strong(&cls->owner[i], &none, TRIM_WORD))
        return true;
    return false; /* in use; its hint is right now */
}

static void block_release(struct zs_block_class *cls, uint32_t i)
{
    uint64_t word = TRIM_WORD;
    if (!atomic_compare_exchange_strong(&cls->owner[i], &word, 0))
        return;
    zs_hint_clear(cls->hint.summary, cls->hint.leaf, i);
    if (atomic_load(&cls->owner[i]) != 0)
        atomic_fetch_or(&cls->hint.leaf[i / 64], UINT64_C(1) << (i % 64));
}

/* Punches blocks first..end-1 of a class, as far as they are free, in runs. */
static void trim_range(struct engine *e, uint32_t c, uint32_t first, uint32_t end)
{
    struct zs_block_class *cls = &e->view.arena->block[c];
    for (uint32_t i = first; i < end;) {
        uint32_t start = i;
        while (i < end && i - start < 512 && block_claim(cls, i))
            i++;
        if (i == start) {
            i++;
            continue;
        }
        uint64_t bytes = (uint64_t)(i - start) << ZS_CLASS_SHIFT(c);
        if (fallocate(e->arena_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      (off_t)(offsetof(struct zs_arena, data) + c * ZS_CLASS_RANGE +
                              ((uint64_t)start << ZS_CLASS_SHIFT(c))), (off_t)bytes) == 0)
            e->counters[COUNT_TRIMMED_BYTES] += bytes;
        for (uint32_t k = start; k < i; k++)
            block_release(cls, k);
    }
}

void trim_due(struct engine *e)
{
    const off_t base = (off_t)offsetof(struct zs_arena, data);
    off_t at = base;
    COUNT(e, TRIMS);
    e->trimmed_at = e->now;
    for (;;) {
        off_t data = lseek(e->arena_fd, at, SEEK_DATA);
        off_t hole = data < 0 ? -1 : lseek(e->arena_fd, data, SEEK_HOLE);
        if (data < 0 || hole <= data)
            break;
        uint32_t c = (uint32_t)((uint64_t)(data - base) / ZS_CLASS_RANGE);
        off_t class_at = base + (off_t)(c * ZS_CLASS_RANGE), class_end = class_at + (off_t)ZS_CLASS_RANGE;
        if (c >= ZS_NCLASS)
            break;
        at = hole < class_end ? hole : class_end;
        trim_range(e, c, (uint32_t)((data - class_at) >> ZS_CLASS_SHIFT(c)),
                   (uint32_t)((at - 1 - class_at) >> ZS_CLASS_SHIFT(c)) + 1);
    }
    uint64_t used = used_in_arena(e), have = resident(e);
    e->resident_base = have > used ? have - used : 0;
}
