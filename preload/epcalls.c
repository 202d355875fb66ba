/* SPDX-License-Identifier: BSD-3-Clause
 * epoll_wait and its kin: sets with sockets of ours wait in epwait.c, all others in the kernel alone, until they have one. */
#include "epoll.h"

/* ---- Sets without sockets ---- */

/* The kernel alone is about to be asked. False: another thread has added the set's first socket meanwhile. */
static bool theirs_begin(int ep)
{
    struct epset *e = zs_passthrough() ? NULL : ep_of(ep);
    if (e == NULL)
        return true;
    atomic_fetch_add(&e->theirs, 1);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in waiter_for() */
    if (set_domain(e) == NULL)
        return true;
    atomic_fetch_sub(&e->theirs, 1);
    return false;
}

/* What it was asked for may hold entries of ours all the same: another thread added the set's first socket meanwhile. Returns how many events are
 * left for the application, or -1; -EAGAIN when there were only ours. */
static int theirs_end(int ep, struct epoll_event *ev, int got)
{
    struct epset *e = zs_passthrough() ? NULL : ep_of(ep);
    if (e == NULL)
        return got;
    int error = errno, n = 0;
    atomic_fetch_sub(&e->theirs, 1);
    if (set_domain(e) != NULL)
        ep_wake_theirs(e);
    errno = error;
    if (got <= 0 || e->tag == 0)
        return got;
    frame_begin();
    ep_lock(e);
    const uint32_t serial = ep_serial(e);
    for (int i = 0; i < got; i++) {
        struct epoll_event kev = ev[i];
        n = ep_take_kernel_event(e, &kev, ev, n, serial);
    }
    ep_unlock(e);
    frame_end();
    return n > 0 ? n : -EAGAIN;
}

/* Of a wait that began at `began`, 0: not noted, and goes on. */
static int64_t left_ns(int64_t timeout_ns, uint64_t began)
{
    int64_t passed = timeout_ns > 0 && began != 0 ? (int64_t)(zs_now_ns() - began) : 0;
    return timeout_ns <= 0 ? timeout_ns : passed < timeout_ns ? timeout_ns - passed : 0;
}

static int left_ms(int timeout, uint64_t began)
{
    return timeout <= 0 ? timeout : (int)((left_ns((int64_t)timeout * 1000000, began) + 999999) / 1000000);
}

static uint64_t began_now(bool limited)
{
    return limited ? zs_now_ns() : 0;
}

/* plain: by epoll_wait, which is another system call: a filter may allow one of them alone. */
static int wait_ms(bool plain, int ep, struct epoll_event *ev, int max, int timeout, const sigset_t *mask)
{
    const char *name = plain ? "epoll_wait" : "epoll_pwait";
    bool kernel;
    uint64_t began = 0;
    int r = ep_wait_call(name, ep, ev, max, timeout < 0 ? -1 : (int64_t)timeout * 1000000, mask, &kernel);
    if (!kernel)
        return r;
    r = -EAGAIN;
    if (theirs_begin(ep)) {
        began = began_now(timeout > 0);
        r = theirs_end(ep, ev, plain ? REAL(epoll_wait)(ep, ev, max, timeout) : REAL(epoll_pwait)(ep, ev, max, timeout, mask));
    }
    return r == -EAGAIN ? wait_ms(plain, ep, ev, max, left_ms(timeout, began), mask) : r;
}

int zsp_epoll_wait(int ep, struct epoll_event *ev, int max, int timeout)
{
    return wait_ms(true, ep, ev, max, timeout, NULL);
}

int zsp_epoll_pwait(int ep, struct epoll_event *ev, int max, int timeout, const sigset_t *mask)
{
    return wait_ms(false, ep, ev, max, timeout, mask);
}

int zsp_epoll_pwait2(int ep, struct epoll_event *ev, int max, const struct timespec *t, const sigset_t *mask)
{
    bool kernel;
    uint64_t began = 0;
    if (!signals_guarded() || (t != NULL && (!user_readable(t, sizeof *t) || t->tv_sec < 0 || t->tv_nsec < 0 || t->tv_nsec >= 1000000000)))
        return REAL(epoll_pwait2)(ep, ev, max, t, mask);
    const int64_t most = INT64_MAX / 2;
    int64_t ns = t == NULL ? -1 : t->tv_sec > most / 1000000000 ? most : t->tv_sec * 1000000000 + t->tv_nsec;
    int r = ep_wait_call("epoll_pwait2", ep, ev, max, ns, mask, &kernel);
    if (!kernel)
        return r;
    r = -EAGAIN;
    if (theirs_begin(ep)) {
        began = began_now(ns > 0);
        r = theirs_end(ep, ev, REAL(epoll_pwait2)(ep, ev, max, t, mask));
    }
    if (r != -EAGAIN)
        return r;
    int64_t left = left_ns(ns, began);
    struct timespec rest = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
    return zsp_epoll_pwait2(ep, ev, max, t == NULL ? NULL : &rest, mask);
}
