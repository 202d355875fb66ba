/* SPDX-License-Identifier: BSD-3-Clause
 * FreeBSD's clock ticks. They run while something is open or routers give addresses that expire, and for a while after the last thing that happened, so that no
 * timer is cut short: a connection that was closed, a half-open one, an address being looked for. Then nothing ticks and the
 * engine sleeps; what was missed is made up for when it wakes. */
#define _GNU_SOURCE

#include "fstack.h"

/* Longer than FreeBSD keeps anything without a socket: keepinit and twice the MSL, in netinet/tcp_timer.h. */
#define QUIET_NS (80 * NS_PER_S)
/* So many ticks are made up for; of what is older no timer is left but those of caches. */
#define CATCH_UP_MAX (QUIET_NS / TICK_NS)

void fs_clock_start(struct fstack *fs)
{
    fs->next_tick = fs->now + TICK_NS;
    fs_clock_busy(fs);
}

void fs_clock_busy(struct fstack *fs)
{
    fs->tick_until = fs->now + QUIET_NS;
}

uint64_t fs_clock_next(const struct fstack *fs)
{
    return fs->nconns > 0 || fs->ndeferred > 0 || fs->ra || fs->next_tick <= fs->tick_until ? fs->next_tick : UINT64_MAX;
}

void fs_clock_run(struct fstack *fs)
{
    if (fs->now < fs->next_tick)
        return;
    uint64_t due = (fs->now - fs->next_tick) / TICK_NS + 1;
    fs->next_tick += due * TICK_NS;
    for (due = RTE_MIN(due, (uint64_t)CATCH_UP_MAX); due > 0; due--, fs->ticks++) {
        fs_seam_hold();
        fs->tick(NULL, fs->tick_arg);
        fs_seam_release();
    }
}
