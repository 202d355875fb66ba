/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Hashed hierarchical timing wheel (Varghese and Lauck): arming, disarming and firing cost O(1) whatever the number of
 * timers, and an idle wheel costs nothing: empty stretches of time are skipped by bitmap. Ticks of one millisecond. */
#ifndef ZSTACK_NET_WHEEL_H
#define ZSTACK_NET_WHEEL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define WHEEL_TICK_NS UINT64_C(1000000)
#define WHEEL_LEVELS 4u
#define WHEEL_SLOTS 256u
#define WHEEL_NEVER UINT64_MAX

struct wheel_timer {
    LIST_ENTRY(wheel_timer) link;
    void (*fire)(void *ctx, struct wheel_timer *t); /* disarmed when called; may free its timer */
    uint32_t due;  /* tick, as far as it fits: compare with wheel_tick_diff() */
    uint16_t slot; /* level * WHEEL_SLOTS + index, while armed */
    bool armed;
};

struct wheel {
    uint64_t tick; /* everything due up to here has fired */
    uint32_t armed;
    uint64_t map[WHEEL_LEVELS][WHEEL_SLOTS / 64]; /* bit: slot not empty */
    LIST_HEAD(, wheel_timer) slot[WHEEL_LEVELS][WHEEL_SLOTS];
};

/* How many ticks a is after b; both within 24 days of each other. */
static inline int32_t wheel_tick_diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

void wheel_init(struct wheel *w, uint64_t now);
/* Fires at the first wheel_run() with now >= due (nanoseconds), and not before. Moves a timer that is armed. */
void wheel_arm(struct wheel *w, struct wheel_timer *t, uint64_t due);
void wheel_disarm(struct wheel *w, struct wheel_timer *t);
void wheel_run(struct wheel *w, uint64_t now, void *ctx);
/* A time at or before the next timer's, nanoseconds; WHEEL_NEVER when nothing is armed. At most WHEEL_LEVELS calls of
 * wheel_run() at the times told lead to one timer. */
uint64_t wheel_next(const struct wheel *w);

#endif
