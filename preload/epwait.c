/* SPDX-License-Identifier: BSD-3-Clause
 * epoll_wait and kin: harvest the hints, check the sockets, look at the kernel now and then, spin a little, sleep. */
#include "epoll.h"

#define KERNEL_LOOK_NS 50000u /* how long ready sockets may keep us from looking at kernel descriptors */
#define SPIN_LOOK_NS 4000 /* in a spin, for a set with other descriptors */
#define KERNEL_BATCH 256
#define EP_MAX_EVENTS ((int)(INT32_MAX / sizeof(struct epoll_event))) /* as fs/eventpoll.c */

/* ---- Shared-memory side ---- */

/* An item's events, and what edges are made of: data that arrived, a completion, room after a short write. */
struct sight {
    uint64_t tail;
    uint32_t out, zc;
    uint32_t all, mask; /* events before and after the interest is applied */
};

static void see_edges(struct sight *s, const struct zsock *k)
{
    s->tail = atomic_load(&k->kind) == ZK_LISTEN
                 ? atomic_load(&k->d->view.arena->listener[k->s->listener % ZS_MAX_LISTENERS].tail)
                 : atomic_load(&k->s->rx_prod.tail);
    s->out = atomic_load(&k->out_seq);
    s->zc = atomic_load(&k->s->rx_cons.zc_sent);
}

/* What comes between the two looks is among the events, and is an edge once more; the other way round it would be an event that was not told and no
 * edge either. */
static struct sight look_at(const struct epitem *it)
{
    struct sight s = {0};
    if ((it->events & EPOLLET) && it->k->s != NULL)
        see_edges(&s, it->k);
    s.all = it->disarmed ? 0 : sock_events(it->k, it->events);
    s.mask = s.all & (it->events | EPOLLERR | EPOLLHUP);
    return s;
}

/* Has anything happened since the last edge was reported? An end is news to who asked for EPOLLIN only, too. */
static bool is_edge(struct epitem *it, const struct sight *s, bool reported)
{
    uint32_t state = s->all & (EPOLLERR | EPOLLHUP | EPOLLRDHUP);
    uint32_t zc = s->all & EPOLLERR ? s->zc : it->seen_zc; /* each completion is an edge */
    bool edge = zc != it->seen_zc || it->fresh || s->tail != it->seen_tail || state != it->seen_state ||
                ((s->mask & EPOLLOUT) && s->out != it->seen_out);
    if (edge && reported) {
        it->fresh = false;
        it->seen_tail = s->tail;
        it->seen_state = state;
        it->seen_zc = zc;
        if (s->mask & EPOLLOUT)
            it->seen_out = s->out;
    }
    return edge;
}

static void harvest(struct epset *e)
{
    uint32_t slots[256];
    for (int w = 0; w < EP_WAITS; w++) {
        if (e->w[w].d == NULL)
            continue;
        uint32_t n = zs_wait_harvest(&e->w[w], slots, 256);
        e->busy |= n > 0; /* also what is read without having been reported */
        for (uint32_t i = 0; i < n; i++) {
            struct epitem *it = slots[i] < e->nslots ? e->slots[slots[i]] : NULL;
            if (it == NULL)
                continue;
            if (atomic_load_explicit(&it->k->kind, memory_order_relaxed) == ZK_CONN)
                zs_rx_fetch(it->k->s, &it->k->rx);
            ep_ready_push(e, it);
        }
    }
}

/* Hints that a stray write led astray are given anew. Set locked. */
static void settle_hints(struct epset *e)
{
    for (int w = 0; w < EP_WAITS; w++)
        if (e->w[w].d != NULL)
            zs_waiter_settle(zs_wait_shm(&e->w[w]));
}

uint32_t ep_serial(struct epset *e)
{
    return e->serial = e->serial >= UINT32_MAX - 2 ? 1 : e->serial + 1;
}

/* Reports ready items, each once, the longest waiting first. Level-triggered ones stay on the list until found idle. */
static int collect(struct epset *e, struct epoll_event *ev, int max, uint32_t serial)
{
    int n = 0;
    harvest(e);
    struct epitem *last = e->ready_tail, *it = e->ready_head;
    while (it != NULL && n < max) {
        struct epitem *next = it == last ? NULL : it->next_ready;
        ep_ready_remove(e, it);
        if (it->resting) { /* a hint for nobody: from now on there will be none */
            ep_item_remove(e, it);
            it = next;
            continue;
        }
        const struct sight s = look_at(it);
        if (s.mask != 0 && n == 0 && !user_writable(ev, sizeof *ev)) {
            ep_ready_push(e, it);
            return -EFAULT;
        }
        if (s.mask != 0 && (!(it->events & EPOLLET) || is_edge(it, &s, true))) {
            ev[n].events = s.mask;
            ev[n].data = it->data;
            it->emitted = serial;
            it->emitted_at = n++;
            if (it->events & EPOLLONESHOT) {
                it->disarmed = true;
                if (it->in_kernel) {
                    struct epoll_event off = {.data.u64 = e->tag | it->slot};
                    zs_sys(SYS_epoll_ctl, e->fd, EPOLL_CTL_MOD, it->fd, &off);
                }
            } else if (!(it->events & EPOLLET)) {
                ep_ready_push(e, it);
            }
        }
        it = next;
    }
    return n;
}

/* The set is about to be polled: its doorbell must say what is so now, not what was when it rang. Set locked. */
void ep_settle(struct epset *e)
{
    bool ready = false;
    for (int w = 0; w < EP_WAITS; w++) {
        struct pollfd p = {.fd = e->w[w].d != NULL ? e->w[w].fd : -1, .events = POLLIN};
        uint64_t rung;
        if (p.fd >= 0 && zs_sys(SYS_poll, &p, 1, 0) == 1)
            zs_sys(SYS_read, p.fd, &rung, sizeof rung);
    }
    atomic_thread_fence(memory_order_seq_cst); /* what comes from here on rings anew */
    harvest(e);
    for (struct epitem *it = e->ready_head; it != NULL && !ready; it = it->next_ready) {
        const struct sight s = look_at(it);
        ready = s.mask != 0 && (!(it->events & EPOLLET) || is_edge(it, &s, false));
    }
    if (ready)
        ep_wake(e);
}

/* ---- Kernel side ---- */

/* Adds one event of the kernel to the output; what is ours is translated or swallowed. Returns the new count. */
int ep_take_kernel_event(struct epset *e, const struct epoll_event *kev, struct epoll_event *ev, int n, uint32_t serial)
{
    if (e->tag == 0 || (kev->data.u64 & EP_TAG_MASK) != e->tag) {
        ev[n] = *kev;
        return n + 1;
    }
    uint32_t low = (uint32_t)kev->data.u64;
    if (low >= EP_DOORBELL)
        return n;
    if (low >= EP_CONTROL) {
        struct zs_domain *d = low - EP_CONTROL < EP_WAITS ? e->w[low - EP_CONTROL].d : NULL;
        if (d != NULL && !zs_domain_check(d))
            zs_engine_lost(d);
        return n;
    }
    struct epitem *it = low < e->nslots ? e->slots[low] : NULL;
    if (it == NULL || it->disarmed)
        return n;
    if (it->events & EPOLLONESHOT)
        it->disarmed = true;
    if (it->emitted == serial && it->emitted_at < n) { /* one event for both worlds */
        ev[it->emitted_at].events |= kev->events;
        return n;
    }
    it->emitted = serial;
    it->emitted_at = n;
    ev[n].events = kev->events;
    ev[n].data = it->data;
    return n + 1;
}

static int kernel_call(struct epset *e, struct epoll_event *buf, int want, int64_t timeout_ns, const sigset_t *mask)
{
    int got;
    if (timeout_ns > 0 && timeout_ns % 1000000 != 0) {
        struct timespec t = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
        got = REAL(epoll_pwait2)(e->fd, buf, want, &t, mask);
    } else {
        got = REAL(epoll_pwait)(e->fd, buf, want, timeout_ns < 0 ? -1 : (int)(timeout_ns / 1000000), mask);
    }
    return got < 0 ? -errno : got;
}

/* Asks the kernel, waiting up to timeout_ns (-1 for ever), and merges into ev[n..max). `sleep`: signal handlers run at once
 * and end the wait. Returns the new count or -errno. */
static int kernel_wait(struct epset *e, struct epoll_event *ev, int n, int max, int64_t timeout_ns, const sigset_t *mask,
                       bool sleep, uint32_t serial)
{
    struct epoll_event buf[KERNEL_BATCH];
    int want = max - n < KERNEL_BATCH ? max - n : KERNEL_BATCH;
    int intr = 0;
    if (sleep) {
        zs_thread.asleep_on = e;
        sleep_begin(NULL, e->w[0].d != NULL ? e->w[0].fd : -1);
    }
    int got = kernel_call(e, buf, want, timeout_ns, mask);
    if (sleep) {
        intr = sleep_end(false);
        zs_thread.asleep_on = NULL;
    }
    if (got < 0)
        return got;
    ep_lock(e);
    settle_hints(e);
    if (n == 0)
        serial = ep_serial(e);
    for (int i = 0; i < got && n < max; i++)
        n = ep_take_kernel_event(e, &buf[i], ev, n, serial);
    if (n == 0 && intr < 0 && got > 0)
        n = collect(e, ev, max, serial); /* a signal came with events: the kernel looks for events first */
    ep_unlock(e);
    if (got > 0 && ZS_UNLIKELY(atomic_load_explicit(&e->theirs, memory_order_relaxed) != 0))
        ep_wake_theirs(e);
    return n == 0 && intr < 0 ? intr : n;
}

/* ---- The wait ---- */

static bool hinted(const struct epset *e)
{
    for (int w = 0; w < EP_WAITS; w++)
        if (e->w[w].d != NULL && zs_waiter_hinted(zs_wait_shm(&e->w[w])))
            return true;
    return false;
}

/* Until there is a hint, or one of the program's other descriptors is ready: the number of its events, 0, or -errno. */
static int spin_for_hint(struct epset *e, struct epoll_event *ev, int max, uint64_t deadline, const sigset_t *mask)
{
    uint64_t looked = 0;
    int n = 0;
    struct zs_spin spin = {.limit_us = zs_proc.conf.spin_us};
    struct zs_domain *d = set_domain(e);
    if (e->nconn == 0 || spin.limit_us == 0 || !zs_spin_begin(d))
        return 0;
    uint64_t now = deadline != 0 ? zs_now_ns() : 0;
    if (deadline != 0 && deadline < now + (uint64_t)spin.limit_us * 1000u)
        spin.deadline_ns = deadline;
    while (n == 0 && !hinted(e) && zs_thread.npending == 0 && zs_spin_round(d, &spin)) {
        if (!spin.yielded || !e->mixed)
            continue;
        now = zs_now_ns();
        if (looked != 0 && now - looked < SPIN_LOOK_NS)
            continue;
        if (looked != 0) /* what answers at once has no use for it */
            n = kernel_wait(e, ev, 0, max, 0, mask, false, 0);
        looked = now;
    }
    zs_spin_end(d, &spin);
    return n;
}

/* A thread begins (1) or ends (-1) to sleep on all of the set's waiters. Those that another thread opens meanwhile count it as well. Set locked. */
static void count_sleeper(struct epset *e, uint32_t by)
{
    e->sleepers += by;
    for (int w = 0; w < EP_WAITS; w++)
        if (e->w[w].d != NULL)
            atomic_fetch_add(&zs_wait_shm(&e->w[w])->asleep, by);
}

void ep_cancelled(struct epset *e)
{
    ep_lock(e);
    if (e->generation == atomic_load(&zs_proc.generation) && e->sleepers > 0) /* not a child's: that is counted for its parent */
        count_sleeper(e, UINT32_MAX);
    ep_unlock(e);
}

/* A second passed without events: connections give their rings back to the arena. */
static void release_idle(struct epset *e)
{
    ep_lock(e);
    for (uint32_t i = 0; i < e->nslots; i++)
        if (e->slots[i] != NULL)
            stream_idle(e->slots[i]->k);
    ep_unlock(e);
    lent_rest();
    e->busy = false;
}

/* Sleep with all doorbells armed. Returns what kernel_wait returns. */
static int sleep_in_kernel(struct epset *e, struct epoll_event *ev, int max, int64_t timeout_ns, const sigset_t *mask)
{
    const int64_t watch_ns = 250000000; /* without an engine: how often to look for a new one */
    const int64_t idle_ns = 1000000000;
    bool orphaned = false, lone = false, idle_check = e->busy && (timeout_ns < 0 || timeout_ns > idle_ns);
    timeout_ns = idle_check ? idle_ns : timeout_ns;
    const uint32_t generation = atomic_load(&zs_proc.generation);
    ep_lock(e);
    count_sleeper(e, 1);
    for (int w = 0; w < EP_WAITS; w++) {
        if (e->w[w].d != NULL) {
            orphaned |= !atomic_load_explicit(&e->w[w].d->alive, memory_order_relaxed);
            lone |= e->w[w].lone;
        }
    }
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in zs_notify */
    settle_hints(e);
    ep_unlock(e);
    int r = 0;
    if (!hinted(e) && e->ready_head == NULL) {
        uint64_t before = zs_now_ns();
        const int64_t most_ns = lone ? ZS_WAIT_LONE_NS : watch_ns;
        if (orphaned && (timeout_ns < 0 || timeout_ns > most_ns))
            timeout_ns = most_ns;
        struct zs_domain *d = set_domain(e);
        r = kernel_wait(e, ev, 0, max, timeout_ns, mask, true, 0);
        if (d != NULL && d->view.stats != NULL)
            atomic_fetch_add_explicit(&d->view.stats->sleeps, 1, memory_order_relaxed);
        e->kernel_look_ns = zs_now_ns();
        /* A doorbell that was rung for what was found before it sounds later, and is no second without events. */
        idle_check = idle_check && r == 0 && e->kernel_look_ns - before >= (uint64_t)idle_ns && !hinted(e);
    } else {
        idle_check = false;
    }
    if (atomic_load(&zs_proc.generation) == generation) { /* else a handler forked, and this is the child: its parent is counted */
        ep_lock(e);
        count_sleeper(e, UINT32_MAX);
        ep_unlock(e);
    }
    if (idle_check)
        release_idle(e);
    if (orphaned && zs_attached() != NULL && atomic_load(&zs_proc.endpoints) > 0)
        zs_endpoints_return();
    return r;
}

/* The set is itself watched: after a wait its doorbell tells whether more is there. */
static void rearm_polled(struct epset *e)
{
    if (e->polled && e->ready_head != NULL)
        ep_wake(e);
}

static int ep_wait(struct epset *e, struct epoll_event *ev, int max, int64_t timeout_ns, const sigset_t *mask)
{
    uint64_t deadline = timeout_ns > 0 ? zs_now_ns() + (uint64_t)timeout_ns : 0;
    for (;;) {
        int n = 0;
        if (e->full && zs_now_ns() - e->kernel_look_ns > KERNEL_LOOK_NS) { /* ours filled the last waits: the kernel's turn */
            e->full = false;
            e->kernel_look_ns = zs_now_ns();
            n = kernel_wait(e, ev, 0, max, 0, mask, false, 0);
            if (n != 0)
                return n;
        }
        ep_lock(e);
        const uint32_t serial = ep_serial(e);
        n = collect(e, ev, max, serial);
        bool more = e->ready_head != NULL && n == max;
        ep_unlock(e);
        if (more)
            ep_wake(e); /* another thread may take the rest */
        e->full = n == max;
        if (n < 0)
            return n;
        if (n > 0) {
            e->busy = true;
            uint64_t now = zs_now_ns();
            if (e->polled || (n < max && now - e->kernel_look_ns > KERNEL_LOOK_NS)) {
                int r = kernel_wait(e, ev, n, max, 0, mask, false, serial);
                n = r > n ? r : n;
                e->kernel_look_ns = now;
            }
            rearm_polled(e);
            return n;
        }
        if (timeout_ns == 0)
            return kernel_wait(e, ev, 0, max, 0, mask, false, 0);
        int r = spin_for_hint(e, ev, max, deadline, mask);
        if (r != 0)
            return r;
        r = mask == NULL ? spin_signals(false) : 0;
        if (r < 0)
            return r;
        if (hinted(e))
            continue;
        int64_t left = -1;
        if (deadline != 0) {
            uint64_t now = zs_now_ns();
            if (now >= deadline)
                return kernel_wait(e, ev, 0, max, 0, mask, false, 0);
            left = (int64_t)(deadline - now);
            if (timeout_ns % 1000000 == 0) /* whole milliseconds, rounded up as the kernel does */
                left = (left + 999999) / 1000000 * 1000000;
        }
        r = sleep_in_kernel(e, ev, max, left, mask);
        if (r != 0)
            return r;
    }
}

static void ep_settle_nested(void)
{
    frame_begin();
    for (int fd = 0; fd < fdtab_top(); fd++)
        if (ep_of(fd) != NULL && ep_of(fd)->polled)
            ep_set_polled(fd);
    frame_end();
}

/* Of the UDP sockets that the engine has not been told of, those that wait before they have sent anything are servers. */
static void look_at_late(struct epset *e)
{
    int fds[EP_LATE];
    frame_begin();
    ep_lock(e);
    uint32_t n = e->nlate;
    memcpy(fds, e->late, n * sizeof *fds);
    e->nlate = 0;
    ep_unlock(e);
    for (uint32_t i = 0; i < n; i++)
        dgram_polled(fds[i], NULL);
    frame_end();
}

/* Sets that never had a socket of ours are the kernel's alone. */
int ep_wait_call(const char *name, int ep, struct epoll_event *ev, int max, int64_t timeout_ns, const sigset_t *mask, bool *kernel)
{
    struct epset *e = ep_of(ep);
    if (e != NULL && e->nests && !zs_passthrough())
        ep_settle_nested();
    if (ZS_UNLIKELY(e != NULL && e->nlate != 0) && !zs_passthrough())
        look_at_late(e);
    /* A set keeps its waiters once it has them: a late ring of their doorbells must not reach the application. */
    *kernel = e == NULL || (e->nshm == 0 && set_domain(e) == NULL) || zs_passthrough();
    if (*kernel)
        return 0;
    if (max <= 0 || max > EP_MAX_EVENTS || (uintptr_t)ev > USER_END - (uintptr_t)max * sizeof *ev) {
        errno = max <= 0 || max > EP_MAX_EVENTS ? EINVAL : EFAULT;
        return -1;
    }
    frame_begin();
    int r = e->generation != atomic_load(&zs_proc.generation) ? ep_rebuild(e) : 0;
    if (r == 0)
        r = ep_wait(e, ev, max, timeout_ns, mask);
    if (ZS_UNLIKELY(zs_proc.conf.trace))
        zs_trace(name, ep, r);
    frame_end();
    if (r < 0) {
        errno = -r;
        return -1;
    }
    return r;
}
