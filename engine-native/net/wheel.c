/* SPDX-License-Identifier: BSD-3-Clause
 * Timing wheel: see wheel.h. Level l holds the timers that are 256^l to 256^(l+1) ticks away; when time reaches a slot
 * of a higher level, its timers move down. */
#include "wheel.h"

#include <string.h>

#define LEVEL_SHIFT(l) (8u * (l))

void wheel_init(struct wheel *w, uint64_t now)
{
    memset(w, 0, sizeof *w);
    w->tick = now / WHEEL_TICK_NS;
}

static void insert(struct wheel *w, struct wheel_timer *t)
{
    uint32_t delta = t->due - (uint32_t)w->tick; /* less than the horizon, which is 2^32 */
    uint32_t level = 0;
    while (level + 1 < WHEEL_LEVELS && delta >> LEVEL_SHIFT(level + 1) != 0)
        level++;
    uint32_t i = (t->due >> LEVEL_SHIFT(level)) % WHEEL_SLOTS;
    t->slot = (uint16_t)(level * WHEEL_SLOTS + i);
    LIST_INSERT_HEAD(&w->slot[level][i], t, link);
    w->map[level][i / 64] |= UINT64_C(1) << (i % 64);
}

static void take_out(struct wheel *w, struct wheel_timer *t)
{
    uint32_t level = t->slot / WHEEL_SLOTS, i = t->slot % WHEEL_SLOTS;
    LIST_REMOVE(t, link);
    if (LIST_EMPTY(&w->slot[level][i]))
        w->map[level][i / 64] &= ~(UINT64_C(1) << (i % 64));
}

void wheel_arm(struct wheel *w, struct wheel_timer *t, uint64_t due)
{
    uint64_t tick = due / WHEEL_TICK_NS + (due % WHEEL_TICK_NS != 0);
    uint64_t last = w->tick + (UINT64_C(1) << LEVEL_SHIFT(WHEEL_LEVELS)) - 1; /* 49 days: the wheel's horizon */
    wheel_disarm(w, t);
    t->due = (uint32_t)(tick <= w->tick ? w->tick + 1 : tick > last ? last : tick);
    t->armed = true;
    w->armed++;
    insert(w, t);
}

void wheel_disarm(struct wheel *w, struct wheel_timer *t)
{
    if (!t->armed)
        return;
    take_out(w, t);
    t->armed = false;
    w->armed--;
}

/* Distance, 1 to 256, from slot `from` to the next one of the level that is not empty; 0 when all are. */
static uint32_t next_slot(const uint64_t map[WHEEL_SLOTS / 64], uint32_t from)
{
    uint32_t i = (from + 1) % WHEEL_SLOTS;
    for (uint32_t words = 0; words <= WHEEL_SLOTS / 64; words++) {
        uint64_t rest = map[i / 64] >> (i % 64);
        if (rest != 0) {
            i += (uint32_t)__builtin_ctzll(rest);
            return (i - from - 1) % WHEEL_SLOTS + 1;
        }
        i = (i / 64 + 1) * 64 % WHEEL_SLOTS;
    }
    return 0;
}

/* The next tick at which a slot must be looked at. */
static uint64_t next_tick(const struct wheel *w)
{
    uint64_t first = WHEEL_NEVER;
    for (uint32_t level = 0; w->armed != 0 && level < WHEEL_LEVELS; level++) {
        uint64_t at = w->tick >> LEVEL_SHIFT(level);
        uint32_t distance = next_slot(w->map[level], (uint32_t)at % WHEEL_SLOTS);
        uint64_t tick = (at + distance) << LEVEL_SHIFT(level);
        if (distance != 0 && tick < first)
            first = tick;
    }
    return first;
}

uint64_t wheel_next(const struct wheel *w)
{
    uint64_t tick = next_tick(w);
    return tick == WHEEL_NEVER ? tick : tick * WHEEL_TICK_NS;
}

/* Moves the timers of the higher levels' slots that begin at this tick down, highest level first. */
static void cascade(struct wheel *w)
{
    for (uint32_t level = WHEEL_LEVELS - 1; level > 0; level--) {
        if (w->tick & ((UINT64_C(1) << LEVEL_SHIFT(level)) - 1))
            continue;
        uint32_t i = (uint32_t)(w->tick >> LEVEL_SHIFT(level)) % WHEEL_SLOTS;
        struct wheel_timer *t;
        while ((t = LIST_FIRST(&w->slot[level][i])) != NULL) {
            take_out(w, t);
            insert(w, t);
        }
    }
}

void wheel_run(struct wheel *w, uint64_t now, void *ctx)
{
    uint64_t target = now / WHEEL_TICK_NS;
    while (w->tick < target) {
        uint64_t tick = next_tick(w);
        if (tick > target) {
            w->tick = target;
            return;
        }
        w->tick = tick;
        cascade(w);
        struct wheel_timer *t;
        while ((t = LIST_FIRST(&w->slot[0][tick % WHEEL_SLOTS])) != NULL) {
            wheel_disarm(w, t);
            t->fire(ctx, t);
        }
    }
}
