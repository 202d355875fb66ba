/* SPDX-License-Identifier: BSD-3-Clause
 * At which ticks of FreeBSD's clock one of its timers (callout(9)) may be due: a bit for each tick. A callout that was stopped
 * leaves its bit, which costs a needless tick. */
#ifndef ZSTACK_FSTACK_CALLOUTS_H
#define ZSTACK_FSTACK_CALLOUTS_H

#include <stdbool.h>
#include <stdint.h>

/* More than eleven hours at 100 Hz, so that TCP_KEEPIDLE (at most 32,767 s) is within. */
#define CALLOUT_TICKS (UINT32_C(1) << 22)

struct callouts {
    uint64_t bits[CALLOUT_TICKS / 64];
};

/* `now` is the last tick that there was. What is farther ahead than there are bits is not kept: it is met by the next tick after it. */
void callouts_mark(struct callouts *c, uint64_t now, uint64_t tick);
/* The tick comes: what is due at it is called. */
void callouts_come(struct callouts *c, uint64_t tick);
/* The first tick after `now` at which something may be due; the one `most` later if there is none before. */
uint64_t callouts_next(const struct callouts *c, uint64_t now, uint64_t most);

#endif
