/* SPDX-License-Identifier: BSD-3-Clause
 * FreeBSD's clock ticks. They run while something is open or routers give addresses that expire, and for a while after the last thing that happened, so that no
 * timer is cut short: a connection that was closed, a half-open one, an address being looked for. Then nothing ticks and the
 * engine sleeps; what was missed is made up for when it wakes. Meanwhile, too, it sleeps until the next tick at which one of FreeBSD's
 * callouts may be due, and makes up for those between, at which nothing happens. */
#define _GNU_SOURCE

#include "fstack.h"
#include "seam.h"

/* Longer than FreeBSD keeps anything without a socket: keepinit and twice the MSL, in netinet/tcp_timer.h. */
#define QUIET_NS (80 * NS_PER_S)
/* So many ticks are made up for; of what is older no timer is left but those of caches. */
#define CATCH_UP_MAX (QUIET_NS / TICK_NS)

/* libfstack's, of which it calls the one here instead (CMakeLists.txt): each callout is set by it. */
int callout_reset_tick_on(void *callout, int to_ticks, void (*f)(void *), void *arg, int cpu, int flags);
int zs_fstack_callout_reset(void *callout, int to_ticks, void (*f)(void *), void *arg, int cpu, int flags);

int callout_reset_tick_on(void *callout, int to_ticks, void (*f)(void *), void *arg, int cpu, int flags)
{
    struct fstack *fs = fs_seam_stack();
    /* It is called when its tick, from the next on, is over. */
    if (fs != NULL)
        callouts_mark(&fs->callouts, fs->ticks, fs->ticks + (uint64_t)RTE_MAX(to_ticks, 1) + 1);
    return zs_fstack_callout_reset(callout, to_ticks, f, arg, cpu, flags);
}

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
    uint64_t most = fs->nconns > 0 || fs->ndeferred > 0 || fs->ra ? UINT64_MAX : fs->tick_until;
    if (fs->next_tick > most)
        return UINT64_MAX;
    uint64_t next = fs->next_tick + (callouts_next(&fs->callouts, fs->ticks, CATCH_UP_MAX) - fs->ticks - 1) * TICK_NS;
    return next <= most ? next : UINT64_MAX;
}

void fs_clock_run(struct fstack *fs)
{
    if (fs->now < fs->next_tick)
        return;
    uint64_t due = (fs->now - fs->next_tick) / TICK_NS + 1;
    fs->next_tick += due * TICK_NS;
    for (due = RTE_MIN(due, (uint64_t)CATCH_UP_MAX); due > 0; due--) {
        callouts_come(&fs->callouts, ++fs->ticks);
        fs_seam_hold();
        fs->tick(NULL, fs->tick_arg);
        fs_seam_release();
    }
}
