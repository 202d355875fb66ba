/* SPDX-License-Identifier: BSD-3-Clause */
#include "callouts.h"

static uint64_t *word(struct callouts *c, uint64_t tick)
{
    return &c->bits[tick % CALLOUT_TICKS / 64];
}

static uint64_t bit(uint64_t tick)
{
    return UINT64_C(1) << (tick % 64);
}

void callouts_mark(struct callouts *c, uint64_t now, uint64_t tick)
{
    if (tick > now && tick - now < CALLOUT_TICKS)
        *word(c, tick) |= bit(tick);
}

void callouts_come(struct callouts *c, uint64_t tick)
{
    *word(c, tick) &= ~bit(tick);
}

uint64_t callouts_next(const struct callouts *c, uint64_t now, uint64_t most)
{
    uint64_t tick = now + 1, last = now + most;
    while (tick < last) {
        uint64_t rest = c->bits[tick % CALLOUT_TICKS / 64] >> (tick % 64);
        if (rest != 0) {
            tick += (unsigned)__builtin_ctzll(rest);
            break;
        }
        tick += 64 - tick % 64;
    }
    return tick < last ? tick : last;
}
