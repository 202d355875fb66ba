/* SPDX-License-Identifier: BSD-3-Clause
 * poll and ppoll over both worlds; select comes through here, too. A call with no socket of ours is the kernel's alone. A thread
 * that must sleep subscribes its waiter to the sockets, and sleeps in the kernel's ppoll with the waiter's doorbell beside the
 * kernel descriptors. */
#include "poll.h"

#include <sys/mman.h>

#define SPIN_SOCKS 16u /* more sockets than this are not worth spinning over */

struct pollset {
    struct pollfd *p;
    nfds_t n;
    struct pollfd *kp; /* n + 2: kernel descriptors, -1 where shared memory alone decides; doorbell; control */
    struct zs_session **sub; /* what the waiter is subscribed to, by index */
    uint32_t nshm, nkernel;
    bool restartable; /* for a call that SA_RESTART goes on with, unlike poll itself */
    bool mixed;       /* sockets of a dead engine's domain beside those of a living one: the waiter has only the latter */
    struct zs_domain *d;
};

/* EPOLL* and POLL* have the same values on Linux. */
_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLHUP == POLLHUP && EPOLLERR == POLLERR, "poll bits");
_Static_assert(EPOLLRDHUP == POLLRDHUP, "poll bits");

static struct zsock *shm_sock(int fd)
{
    return fd >= 0 ? poll_sock(fdtab_raw(fd)) : NULL;
}

/* A UDP socket that the engine has not been told of. */
static bool is_late(int fd)
{
    struct zsock *k = fd >= 0 ? fd_sock(fdtab_raw(fd)) : NULL;
    return k != NULL && atomic_load(&k->kind) == ZK_UDP && k->s == NULL;
}

/* Such a one is among them, and may be told of meanwhile. */
static bool any_late(const struct pollset *s)
{
    for (nfds_t i = 0; i < s->n && s->nkernel > 0 && !__libc_single_threaded; i++)
        if (is_late(s->p[i].fd))
            return true;
    return false;
}

/* Also what is not there is left to the kernel, which has the error for it. */
static bool any_shm(struct pollfd *p, nfds_t n, uint32_t *waits)
{
    if (!user_writable(p, n < INT32_MAX ? n * sizeof *p : SIZE_MAX))
        return false;
    bool ours = false;
    for (nfds_t i = 0; i < n; i++) {
        uintptr_t raw = p[i].fd >= 0 ? fdtab_raw(p[i].fd) : 0;
        if (fd_tag(raw) == FDT_EPOLL)
            ep_set_polled(p[i].fd);
        else if (raw != 0 && (fd_tag(raw) == FDT_KEPT || poll_ours(p[i].fd, raw, waits)))
            ours = true;
    }
    return ours;
}

/* The domain to wait in: that of a living engine, if any of the sockets is in one. */
static void choose_domain(struct pollset *s)
{
    struct zs_domain *d = NULL;
    s->mixed = false;
    for (nfds_t i = 0; i < s->n; i++) {
        struct zsock *k = shm_sock(s->p[i].fd);
        if (k == NULL)
            continue;
        s->mixed |= d != NULL && d != k->d;
        if (d == NULL || (!atomic_load(&d->alive) && atomic_load(&k->d->alive)))
            d = k->d;
    }
    if (d != NULL)
        s->d = d;
}

static void classify(struct pollset *s)
{
    for (nfds_t i = 0; i < s->n; i++) {
        struct zsock *k = shm_sock(s->p[i].fd);
        bool kept = s->p[i].fd >= 0 && fd_tag(fdtab_raw(s->p[i].fd)) == FDT_KEPT;
        bool kernel = s->p[i].fd >= 0 && !kept && (k == NULL || sock_has_kernel_side(k));
        s->kp[i] = (struct pollfd){.fd = kernel ? s->p[i].fd : -1, .events = s->p[i].events};
        s->nkernel += kernel;
        s->nshm += k != NULL;
    }
    choose_domain(s);
}

static int scan(struct pollset *s)
{
    int ready = 0;
    for (nfds_t i = 0; i < s->n; i++) {
        struct pollfd *p = &s->p[i];
        struct zsock *k = shm_sock(p->fd);
        p->revents = 0;
        if (k != NULL)
            p->revents = (short)(sock_events(k, (uint32_t)(uint16_t)p->events) & ((uint16_t)p->events | POLLERR | POLLHUP));
        else if (p->fd >= 0 && fd_tag(fdtab_raw(p->fd)) == FDT_KEPT)
            p->revents = POLLNVAL;
        ready += p->revents != 0;
    }
    return ready;
}

static int merge_kernel(struct pollset *s)
{
    int ready = 0;
    for (nfds_t i = 0; i < s->n; i++) {
        if (s->kp[i].fd >= 0)
            s->p[i].revents |= s->kp[i].revents;
        ready += s->p[i].revents != 0;
    }
    return ready;
}

static int kernel_look(struct pollset *s, const sigset_t *mask)
{
    struct timespec zero = {0};
    if (s->nkernel == 0 && mask == NULL)
        return 0;
    return REAL(ppoll)(s->kp, s->n, &zero, mask) < 0 ? -errno : 0;
}

/* ---- The thread's waiter ---- */

struct zs_wait *thread_wait(struct zs_domain *d)
{
    struct zs_thread *t = &zs_thread;
    uint32_t generation = atomic_load(&zs_proc.generation);
    if (t->wait_generation != generation)
        t->wait.d = NULL; /* the parent's */
    if (t->wait.d == d)
        return &t->wait;
    if (t->wait.d != NULL)
        zs_wait_close(&t->wait);
    t->wait_generation = generation;
    if (zs_wait_open(d, &t->wait) < 0)
        return NULL;
    thread_register();
    return &t->wait;
}

static void subscribe_all(struct pollset *s, const struct zs_wait *w)
{
    for (nfds_t i = 0; i < s->n; i++) {
        struct zsock *k = shm_sock(s->p[i].fd);
        s->sub[i] = NULL;
        if (k != NULL && k->d == s->d && zs_subscribe(&k->d->view, k->s, w->index, (uint32_t)(i % 4096), 0) == 0)
            s->sub[i] = k->s;
    }
}

static void unsubscribe_all(struct pollset *s, const struct zs_wait *w)
{
    for (nfds_t i = 0; i < s->n; i++)
        if (s->sub[i] != NULL)
            zs_unsubscribe(&s->d->view, s->sub[i], w->index, (uint32_t)(i % 4096));
    uint32_t slots[64]; /* hints are of no use to a poll: it scans all */
    while (zs_wait_harvest(w, slots, 64) > 0)
        ;
}

/* ---- Memory for many descriptors ---- */

struct zs_spare spare_take(enum zs_spare_use use, size_t bytes)
{
    const size_t page = 4096;
    struct zs_spare mem = zs_thread.spare[use];
    zs_thread.spare[use] = (struct zs_spare){0}; /* a handler that waits, too, takes its own */
    if (mem.bytes >= bytes)
        return mem;
    if (mem.at != NULL)
        munmap(mem.at, mem.bytes);
    if (!zs_thread.registered)
        thread_register();
    mem.bytes = (bytes + page - 1) / page * page;
    mem.at = zs_chunk_alloc(mem.bytes);
    return mem.at != NULL ? mem : (struct zs_spare){0};
}

void spare_give(enum zs_spare_use use, struct zs_spare mem)
{
    struct zs_spare *kept = &zs_thread.spare[use];
    if (mem.at == NULL)
        return;
    if (kept->at != NULL)
        munmap(kept->at, kept->bytes);
    *kept = mem;
}

/* ---- The wait ---- */

static int spin(struct pollset *s, uint64_t deadline)
{
    struct zs_spin sp = {.limit_us = zs_proc.conf.spin_us};
    int ready = 0;
    if (s->nshm == 0 || s->nshm > SPIN_SOCKS || sp.limit_us == 0 || !zs_spin_begin(s->d))
        return 0;
    if (deadline != 0 && deadline < zs_now_ns() + (uint64_t)sp.limit_us * 1000u)
        sp.deadline_ns = deadline;
    while ((ready = scan(s)) == 0 && zs_thread.npending == 0 && zs_spin_round(s->d, &sp))
        ;
    zs_spin_end(s->d, &sp);
    return ready;
}

/* The sleep itself. A process that gave up RLIMIT_NOFILE may be left with room for no more descriptors than its own call has:
 * the doorbell alone, with no descriptor of the kernel's in the call; else a look at those at short intervals. */
static int sleep_in_kernel(struct pollset *s, const struct timespec *t, const sigset_t *mask)
{
    const struct timespec brief = {.tv_nsec = ZS_WAIT_LONE_NS};
    bool alone = zs_proc.restricted && s->nkernel == 0;
    struct pollfd *from = alone ? &s->kp[s->n] : s->kp;
    nfds_t n = alone ? 1 : s->n + 2;
    s->kp[s->n + 1].revents = 0;
    int r = REAL(ppoll)(from, n, t, mask);
    if (r < 0 && errno == EINVAL && zs_proc.restricted) {
        s->kp[s->n].revents = 0;
        r = REAL(ppoll)(s->kp, s->n, &brief, mask);
    }
    return r < 0 ? -errno : r;
}

/* How long a sleep may last; NULL: for ever. Without a waiter there is nobody to wake us: look often. Without an engine: look for a new one. */
static const struct timespec *sleep_time(const struct pollset *s, const struct zs_wait *w, uint64_t deadline, struct timespec *t)
{
    const uint64_t watch_ns = 250000000, late_ns = 20000000;
    bool blind = w == NULL || w->lone || s->mixed;
    uint64_t limit = blind ? ZS_WAIT_LONE_NS : atomic_load(&s->d->alive) && !zs_proc.restricted ? 0 : watch_ns;
    if ((limit == 0 || limit > late_ns) && any_late(s))
        limit = late_ns;
    uint64_t now = zs_now_ns();
    uint64_t left = deadline == 0 ? limit : deadline > now ? deadline - now : 0;
    if (limit != 0 && limit < left)
        left = limit;
    *t = (struct timespec){.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
    return deadline != 0 || limit != 0 ? t : NULL;
}

/* One sleep. 0: look again; -EINTR. */
static int sleep_once(struct pollset *s, uint64_t deadline, const sigset_t *mask)
{
    if (!atomic_load(&s->d->alive) && zs_attached() != NULL)
        choose_domain(s); /* an engine is back: listeners and UDP sockets have moved to it */
    struct zs_wait *w = atomic_load(&s->d->alive) || zs_thread.wait.d == s->d ? thread_wait(s->d) : NULL;
    s->kp[s->n] = (struct pollfd){.fd = w != NULL ? w->fd : -1, .events = POLLIN};
    s->kp[s->n + 1] = (struct pollfd){.fd = s->d->ctl_fd, .events = POLLRDHUP};
    if (!atomic_load(&s->d->alive))
        s->kp[s->n + 1].fd = -1;
    const uint32_t generation = atomic_load(&zs_proc.generation);
    if (w != NULL) {
        subscribe_all(s, w);
        atomic_store(&zs_wait_shm(w)->asleep, 1);
        atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in zs_notify */
    }
    int r = 0, intr = 0;
    struct timespec t;
    const struct timespec *limit = sleep_time(s, w, deadline, &t); /* after it has subscribed: what is late from now on wakes it */
    if (scan(s) == 0) {
        sleep_begin(NULL, w != NULL ? w->fd : -1);
        r = sleep_in_kernel(s, limit, mask);
        intr = sleep_end(s->restartable);
        r = r == -EINTR && intr == 0 && s->restartable ? 0 : r;
        if (s->d->view.stats != NULL)
            atomic_fetch_add_explicit(&s->d->view.stats->sleeps, 1, memory_order_relaxed);
    }
    if (w != NULL && atomic_load(&zs_proc.generation) == generation) { /* else a handler forked, and this is the child: they are its parent's */
        atomic_store(&zs_wait_shm(w)->asleep, 0);
        unsubscribe_all(s, w);
        uint64_t rung;
        if (r > 0 && s->kp[s->n].revents)
            zs_sys(SYS_read, w->fd, &rung, sizeof rung);
    }
    bool looked = (r > 0 && s->kp[s->n + 1].revents) || (r == 0 && zs_proc.restricted && atomic_load(&s->d->alive));
    if (looked && !zs_domain_check(s->d))
        zs_engine_lost(s->d);
    return r < 0 ? r : intr;
}

static int poll_loop(struct pollset *s, int64_t timeout_ns, const sigset_t *mask)
{
    uint64_t deadline = timeout_ns > 0 ? zs_now_ns() + (uint64_t)timeout_ns : 0;
    for (bool first = true;; first = false) {
        int ready = scan(s);
        bool over = timeout_ns == 0 || (deadline != 0 && zs_now_ns() >= deadline);
        if (ready == 0 && !over && first)
            ready = spin(s, deadline);
        if (mask == NULL) {
            int r = spin_signals(s->restartable);
            if (r < 0 && ready == 0)
                return r;
        }
        int r = first || ready > 0 || over ? kernel_look(s, ready > 0 || over ? mask : NULL) : 0;
        if (r < 0 && ready == 0)
            return r;
        ready = merge_kernel(s);
        if (ready > 0 || over)
            return ready;
        r = sleep_once(s, deadline, mask);
        ready = scan(s);
        ready = merge_kernel(s);
        if (ready > 0) /* also when a signal came with it: the kernel looks for events first */
            return ready;
        if (r < 0)
            return r;
    }
}

int poll_core(struct pollfd *p, nfds_t n, int64_t timeout_ns, const sigset_t *mask, bool restartable)
{
    struct pollfd few[ZS_POLL_FEW + 2];
    struct zs_session *few_sub[ZS_POLL_FEW];
    struct pollset s = {.p = p, .n = n, .kp = few, .sub = few_sub, .restartable = restartable};
    struct zs_spare mem = {0};
    if (n > ZS_POLL_FEW) {
        mem = spare_take(ZS_SPARE_POLL, (n + 2) * sizeof *s.kp + n * sizeof *s.sub);
        if (mem.at == NULL)
            return -ENOMEM;
        s.sub = mem.at;
        s.kp = (struct pollfd *)(s.sub + n);
    }
    classify(&s);
    int r;
    if (s.d == NULL)
        s.d = atomic_load(&zs_proc.domain);
    if (s.nshm == 0 && (s.d == NULL || !any_late(&s))) { /* only descriptors that look closed */
        struct timespec t = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
        r = scan(&s) > 0 ? 0 : REAL(ppoll)(s.kp, n, timeout_ns < 0 ? NULL : &t, mask);
        r = r < 0 ? -errno : merge_kernel(&s);
    } else {
        r = poll_loop(&s, timeout_ns, mask);
    }
    spare_give(ZS_SPARE_POLL, mem);
    return r;
}

int wait_fd(int fd, short events, uint64_t deadline_ns, bool restartable)
{
    struct pollfd p = {.fd = fd, .events = events};
    int64_t left = -1;
    if (deadline_ns != 0) {
        uint64_t now = zs_now_ns();
        if (now >= deadline_ns)
            return -EAGAIN;
        left = (int64_t)(deadline_ns - now);
    }
    int r = poll_core(&p, 1, left, NULL, restartable);
    return r < 0 ? r : r == 0 ? -EAGAIN : 0;
}

/* ---- The calls ---- */

int poll_end(const char *name, int what, int r)
{
    if (ZS_UNLIKELY(zs_proc.conf.trace))
        zs_trace(name, what, r);
    frame_end();
    if (r < 0) {
        errno = -r;
        return -1;
    }
    return r;
}

static int framed(const char *name, struct pollfd *p, nfds_t n, int64_t timeout_ns, const sigset_t *mask)
{
    frame_begin();
    return poll_end(name, n > 0 ? p[0].fd : -1, poll_core(p, n, timeout_ns, mask, false));
}

int zsp_poll(struct pollfd *p, nfds_t n, int timeout)
{
    uint32_t waits = 0, generation = atomic_load(&zs_proc.generation);
    bool ours = poll_possible() && any_shm(p, n, &waits);
    int r = ours ? framed("poll", p, n, timeout < 0 ? -1 : (int64_t)timeout * 1000000, NULL) : REAL(poll)(p, n, timeout);
    poll_waited(waits, generation);
    return r;
}

int64_t poll_ns(const struct timespec *t)
{
    const int64_t most = INT64_MAX / 2;
    return t == NULL ? -1 : t->tv_sec >= most / 1000000000 ? most : t->tv_sec * 1000000000 + t->tv_nsec;
}

bool poll_bad_time(const struct timespec *t, const sigset_t *mask)
{
    bool bad = t != NULL && (!user_readable(t, sizeof *t) || t->tv_sec < 0 || t->tv_nsec < 0 || t->tv_nsec >= 1000000000);
    return bad || (mask != NULL && !user_readable(mask, 8));
}

int zsp_ppoll(struct pollfd *p, nfds_t n, const struct timespec *t, const sigset_t *mask)
{
    uint32_t waits = 0, generation = atomic_load(&zs_proc.generation);
    bool ours = poll_possible() && !poll_bad_time(t, mask) && any_shm(p, n, &waits);
    int r = ours ? framed("ppoll", p, n, poll_ns(t), mask) : REAL(ppoll)(p, n, t, mask);
    poll_waited(waits, generation);
    return r;
}
