/* SPDX-License-Identifier: BSD-3-Clause
 * poll, ppoll, select, pselect over both worlds. A call with no socket of ours is the kernel's alone. A thread that must
 * sleep subscribes its waiter to the sockets, and sleeps in the kernel's ppoll with the waiter's doorbell beside the kernel
 * descriptors. */
#include "preload.h"

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
    struct zsock *k = fd >= 0 ? fd_sock(fdtab_raw(fd)) : NULL;
    return k != NULL && sock_accelerated(k) ? k : NULL;
}

/* Something of ours may be among what the program waits for. */
static bool possible(void)
{
    return signals_guarded() && !zs_passthrough();
}

/* Also what is not there is left to the kernel, which has the error for it. */
static bool any_shm(struct pollfd *p, nfds_t n)
{
    if (!user_writable(p, n < INT32_MAX ? n * sizeof *p : SIZE_MAX))
        return false;
    for (nfds_t i = 0; i < n; i++) {
        uintptr_t raw = p[i].fd >= 0 ? fdtab_raw(p[i].fd) : 0;
        if (fd_tag(raw) == FDT_EPOLL)
            ep_set_polled(p[i].fd);
        else if (raw != 0 && (fd_tag(raw) == FDT_KEPT || shm_sock(p[i].fd) != NULL))
            return true;
    }
    return false;
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

/* One sleep. 0: look again; -EINTR. */
static int sleep_once(struct pollset *s, uint64_t deadline, const sigset_t *mask)
{
    const uint64_t watch_ns = 250000000;
    if (!atomic_load(&s->d->alive) && zs_attached() != NULL)
        choose_domain(s); /* an engine is back: listeners and UDP sockets have moved to it */
    struct zs_wait *w = atomic_load(&s->d->alive) || zs_thread.wait.d == s->d ? thread_wait(s->d) : NULL;
    /* Without a waiter there is nobody to wake us: look often. Without an engine: look for a new one. */
    bool blind = w == NULL || w->lone || s->mixed;
    uint64_t limit = blind ? ZS_WAIT_LONE_NS : atomic_load(&s->d->alive) && !zs_proc.restricted ? 0 : watch_ns;
    uint64_t now = zs_now_ns();
    uint64_t left = deadline == 0 ? limit : deadline > now ? deadline - now : 0;
    if (limit != 0 && limit < left)
        left = limit;
    struct timespec t = {.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
    s->kp[s->n] = (struct pollfd){.fd = w != NULL ? w->fd : -1, .events = POLLIN};
    s->kp[s->n + 1] = (struct pollfd){.fd = s->d->ctl_fd, .events = POLLRDHUP};
    if (!atomic_load(&s->d->alive))
        s->kp[s->n + 1].fd = -1;
    if (w != NULL) {
        subscribe_all(s, w);
        atomic_store(&zs_wait_shm(w)->asleep, 1);
        atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in zs_notify */
    }
    int r = 0, intr = 0;
    if (scan(s) == 0) {
        sleep_begin(NULL, w != NULL ? w->fd : -1);
        r = sleep_in_kernel(s, deadline != 0 || limit != 0 ? &t : NULL, mask);
        intr = sleep_end(s->restartable);
        r = r == -EINTR && intr == 0 && s->restartable ? 0 : r;
        if (s->d->view.stats != NULL)
            atomic_fetch_add_explicit(&s->d->view.stats->sleeps, 1, memory_order_relaxed);
    }
    if (w != NULL) {
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

static int poll_core(struct pollfd *p, nfds_t n, int64_t timeout_ns, const sigset_t *mask, bool restartable)
{
    struct pollfd few[66];
    struct zs_session *few_sub[64];
    struct pollset s = {.p = p, .n = n, .kp = few, .sub = few_sub, .restartable = restartable};
    size_t bytes = (n + 2) * sizeof *s.kp + n * sizeof *s.sub;
    if (n > 64) {
        void *mem = zs_chunk_alloc(bytes);
        if (mem == NULL)
            return -ENOMEM;
        s.sub = mem;
        s.kp = (struct pollfd *)(s.sub + n);
    }
    classify(&s);
    int r;
    if (s.d == NULL)
        s.d = atomic_load(&zs_proc.domain);
    if (s.nshm == 0) { /* only descriptors that look closed */
        struct timespec t = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
        r = scan(&s) > 0 ? 0 : REAL(ppoll)(s.kp, n, timeout_ns < 0 ? NULL : &t, mask);
        r = r < 0 ? -errno : merge_kernel(&s);
    } else {
        r = poll_loop(&s, timeout_ns, mask);
    }
    if (n > 64)
        munmap(s.sub, bytes);
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

static long framed(const char *name, struct pollfd *p, nfds_t n, int64_t timeout_ns, const sigset_t *mask)
{
    frame_begin();
    int r = poll_core(p, n, timeout_ns, mask, false);
    if (ZS_UNLIKELY(zs_proc.conf.trace))
        zs_trace(name, n > 0 ? p[0].fd : -1, r);
    frame_end();
    if (r < 0) {
        errno = -r;
        return -1;
    }
    return r;
}

int zsp_poll(struct pollfd *p, nfds_t n, int timeout)
{
    if (!possible() || !any_shm(p, n))
        return REAL(poll)(p, n, timeout);
    return (int)framed("poll", p, n, timeout < 0 ? -1 : (int64_t)timeout * 1000000, NULL);
}

static int64_t ts_ns(const struct timespec *t)
{
    const int64_t most = INT64_MAX / 2;
    return t == NULL ? -1 : t->tv_sec >= most / 1000000000 ? most : t->tv_sec * 1000000000 + t->tv_nsec;
}

static bool bad_time(const struct timespec *t, const sigset_t *mask)
{
    bool bad = t != NULL && (!user_readable(t, sizeof *t) || t->tv_sec < 0 || t->tv_nsec < 0 || t->tv_nsec >= 1000000000);
    return bad || (mask != NULL && !user_readable(mask, 8));
}

int zsp_ppoll(struct pollfd *p, nfds_t n, const struct timespec *t, const sigset_t *mask)
{
    if (!possible() || bad_time(t, mask) || !any_shm(p, n))
        return REAL(ppoll)(p, n, t, mask);
    return (int)framed("ppoll", p, n, ts_ns(t), mask);
}

/* ---- select ---- */

#define SEL_IN (POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR)
#define SEL_OUT (POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR)

static bool in_set(const fd_set *s, int fd)
{
    /* Not FD_ISSET: fortified it ends programs that use larger sets. */
    return s != NULL && (((const unsigned long *)s)[fd / 64] >> (fd % 64) & 1);
}

static void put_set(fd_set *s, int fd, bool on)
{
    unsigned long bit = 1ul << (fd % 64), *w = s != NULL ? &((unsigned long *)s)[fd / 64] : NULL;
    if (w != NULL)
        *w = on ? *w | bit : *w & ~bit;
}

static bool set_there(fd_set *s, int n)
{
    return s == NULL || user_writable(s, ((size_t)n + 63) / 64 * 8);
}

static bool select_any(int n, fd_set *r, fd_set *w, fd_set *e)
{
    if (n <= 0 || !set_there(r, n) || !set_there(w, n) || !set_there(e, n))
        return false;
    for (int fd = 0; fd < n && fd < fdtab_top(); fd++) {
        uintptr_t raw = fdtab_raw(fd);
        if (raw == 0 || !(in_set(r, fd) || in_set(w, fd) || in_set(e, fd)))
            continue;
        if (fd_tag(raw) == FDT_EPOLL)
            ep_set_polled(fd);
        else if (shm_sock(fd) != NULL)
            return true;
    }
    return false;
}

/* Returns the count of bits set, or -errno. */
static int select_core(int n, fd_set *r, fd_set *w, fd_set *e, int64_t timeout_ns, const sigset_t *mask)
{
    size_t bytes = (size_t)n * sizeof(struct pollfd);
    struct pollfd *p = zs_chunk_alloc(bytes);
    nfds_t cnt = 0;
    int bits = 0;
    if (p == NULL)
        return -ENOMEM;
    for (int fd = 0; fd < n; fd++) {
        short ev = (short)((in_set(r, fd) ? SEL_IN : 0) | (in_set(w, fd) ? SEL_OUT : 0) | (in_set(e, fd) ? POLLPRI : 0));
        if (ev != 0)
            p[cnt++] = (struct pollfd){.fd = fd, .events = ev};
    }
    int res = poll_core(p, cnt, timeout_ns, mask, false);
    for (nfds_t i = 0; res >= 0 && i < cnt; i++)
        if (p[i].revents & POLLNVAL)
            res = -EBADF;
    for (nfds_t i = 0; res >= 0 && i < cnt; i++) {
        short ev = p[i].revents;
        bool in = in_set(r, p[i].fd) && (ev & SEL_IN), out = in_set(w, p[i].fd) && (ev & SEL_OUT);
        bool pri = in_set(e, p[i].fd) && (ev & POLLPRI);
        put_set(r, p[i].fd, in);
        put_set(w, p[i].fd, out);
        put_set(e, p[i].fd, pri);
        bits += in + out + pri;
    }
    munmap(p, bytes);
    return res < 0 ? res : bits;
}

static int select_framed(int n, fd_set *r, fd_set *w, fd_set *e, int64_t timeout_ns, const sigset_t *mask)
{
    frame_begin();
    int res = select_core(n, r, w, e, timeout_ns, mask);
    if (ZS_UNLIKELY(zs_proc.conf.trace))
        zs_trace("select", n, res);
    frame_end();
    if (res < 0) {
        errno = -res;
        return -1;
    }
    return res;
}

static bool bad_timeval(struct timeval *t)
{
    return t != NULL && (!user_writable(t, sizeof *t) || t->tv_sec < 0 || t->tv_usec < 0);
}

int zsp_select(int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *t)
{
    if (!possible() || bad_timeval(t) || !select_any(n, r, w, e))
        return REAL(select)(n, r, w, e, t);
    int64_t ns = t == NULL ? -1 : (int64_t)t->tv_sec * 1000000000 + (int64_t)t->tv_usec * 1000;
    uint64_t start = zs_now_ns();
    int res = select_framed(n, r, w, e, ns, NULL);
    if (t != NULL) { /* Linux reports the time left */
        int64_t left = ns - (int64_t)(zs_now_ns() - start);
        left = left < 0 ? 0 : left;
        t->tv_sec = left / 1000000000;
        t->tv_usec = left % 1000000000 / 1000;
    }
    return res;
}

int zsp_pselect(int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *t, const sigset_t *mask)
{
    if (!possible() || bad_time(t, mask) || !select_any(n, r, w, e))
        return REAL(pselect)(n, r, w, e, t, mask);
    return select_framed(n, r, w, e, ts_ns(t), mask);
}
