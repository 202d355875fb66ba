/* SPDX-License-Identifier: BSD-3-Clause
 * select and pselect over both worlds: made a poll of the descriptors in the sets. The sets are read a word at a time, since a
 * program often says FD_SETSIZE and means three. */
#include "poll.h"

#define SEL_IN (POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR)
#define SEL_OUT (POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR)
#define WORD_BITS 64

/* The three sets of a call, any of them NULL; each of `words` words (fd_set's own type is for FD_SETSIZE descriptors only). */
struct selsets {
    int n; /* descriptors from 0 on */
    unsigned long *in, *out, *except;
};

static int words_of(const struct selsets *s)
{
    return (s->n + WORD_BITS - 1) / WORD_BITS;
}

static unsigned long word(const unsigned long *set, int i)
{
    return set != NULL ? set[i] : 0;
}

/* What is asked about in the i-th words, without what lies above n. */
static unsigned long asked(const struct selsets *s, int i)
{
    unsigned long w = word(s->in, i) | word(s->out, i) | word(s->except, i);
    int left = s->n - i * WORD_BITS;
    return left >= WORD_BITS ? w : w & ((1ul << left) - 1);
}

static bool has(const unsigned long *set, int fd)
{
    return set != NULL && (set[fd / WORD_BITS] >> (fd % WORD_BITS) & 1);
}

static bool sets_there(const struct selsets *s)
{
    size_t bytes = (size_t)words_of(s) * sizeof *s->in;
    return (s->in == NULL || user_writable(s->in, bytes)) && (s->out == NULL || user_writable(s->out, bytes)) &&
           (s->except == NULL || user_writable(s->except, bytes));
}

/* Also what is not there is left to the kernel, which has the error for it. */
static bool any_ours(const struct selsets *s, uint32_t *waits)
{
    bool ours = false;
    int top = fdtab_top();
    if (s->n <= 0 || !sets_there(s))
        return false;
    for (int i = 0; i < words_of(s) && i * WORD_BITS < top; i++)
        for (unsigned long w = asked(s, i); w != 0; w &= w - 1) {
            int fd = i * WORD_BITS + __builtin_ctzl(w);
            uintptr_t raw = fdtab_raw(fd);
            if (fd_tag(raw) == FDT_EPOLL)
                ep_set_polled(fd);
            else if (poll_ours(fd, raw, waits))
                ours = true;
        }
    return ours;
}

static nfds_t count(const struct selsets *s)
{
    nfds_t n = 0;
    for (int i = 0; i < words_of(s); i++)
        n += (nfds_t)__builtin_popcountl(asked(s, i));
    return n;
}

static void fill(const struct selsets *s, struct pollfd *p)
{
    for (int i = 0; i < words_of(s); i++)
        for (unsigned long w = asked(s, i); w != 0; w &= w - 1) {
            int fd = i * WORD_BITS + __builtin_ctzl(w);
            short events = (short)((has(s->in, fd) ? SEL_IN : 0) | (has(s->out, fd) ? SEL_OUT : 0) |
                                   (has(s->except, fd) ? POLLPRI : 0));
            *p++ = (struct pollfd){.fd = fd, .events = events};
        }
}

/* Leaves the bit of `fd` if `on`. Returns 1 if it is set then. */
static int keep(unsigned long *set, int fd, bool on)
{
    if (!has(set, fd))
        return 0;
    if (!on)
        set[fd / WORD_BITS] &= ~(1ul << (fd % WORD_BITS));
    return on;
}

/* The kernel writes whole words, with nothing above n in them. */
static void cut(const struct selsets *s)
{
    unsigned long *const sets[] = {s->in, s->out, s->except};
    for (int i = 0; i < 3 && s->n % WORD_BITS != 0; i++)
        if (sets[i] != NULL)
            sets[i][s->n / WORD_BITS] &= (1ul << (s->n % WORD_BITS)) - 1;
}

/* Returns how many bits are set, or -EBADF with the sets as they were, as select(2) says. */
static int answer(const struct selsets *s, const struct pollfd *p, nfds_t n)
{
    int bits = 0;
    for (nfds_t i = 0; i < n; i++)
        if (p[i].revents & POLLNVAL)
            return -EBADF;
    for (nfds_t i = 0; i < n; i++)
        bits += keep(s->in, p[i].fd, p[i].revents & SEL_IN) + keep(s->out, p[i].fd, p[i].revents & SEL_OUT) +
                keep(s->except, p[i].fd, p[i].revents & POLLPRI);
    cut(s);
    return bits;
}

/* Returns the count of bits set, or -errno. */
static int select_core(const struct selsets *s, int64_t timeout_ns, const sigset_t *mask)
{
    struct pollfd few[ZS_POLL_FEW], *p = few;
    struct zs_spare mem = {0};
    nfds_t n = count(s);
    if (n > ZS_POLL_FEW) {
        mem = spare_take(ZS_SPARE_SELECT, n * sizeof *p);
        p = mem.at;
        if (p == NULL)
            return -ENOMEM;
    }
    fill(s, p);
    int r = poll_core(p, n, timeout_ns, mask, false);
    if (r >= 0)
        r = answer(s, p, n);
    spare_give(ZS_SPARE_SELECT, mem);
    return r;
}

static int select_framed(const struct selsets *s, int64_t timeout_ns, const sigset_t *mask)
{
    frame_begin();
    return poll_end("select", s->n, select_core(s, timeout_ns, mask));
}

static bool bad_timeval(struct timeval *t)
{
    return t != NULL && (!user_writable(t, sizeof *t) || t->tv_sec < 0 || t->tv_usec < 0);
}

int zsp_select(int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *t)
{
    const struct selsets s = {n, (unsigned long *)r, (unsigned long *)w, (unsigned long *)e};
    uint32_t waits = 0, generation = atomic_load(&zs_proc.generation);
    if (!poll_possible() || bad_timeval(t) || !any_ours(&s, &waits)) {
        int got = REAL(select)(n, r, w, e, t);
        poll_waited(waits, generation);
        return got;
    }
    int64_t ns = t == NULL ? -1 : (int64_t)t->tv_sec * 1000000000 + (int64_t)t->tv_usec * 1000;
    uint64_t start = zs_now_ns();
    int res = select_framed(&s, ns, NULL);
    poll_waited(waits, generation);
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
    const struct selsets s = {n, (unsigned long *)r, (unsigned long *)w, (unsigned long *)e};
    uint32_t waits = 0, generation = atomic_load(&zs_proc.generation);
    bool ours = poll_possible() && !poll_bad_time(t, mask) && any_ours(&s, &waits);
    int got = ours ? select_framed(&s, poll_ns(t), mask) : REAL(pselect)(n, r, w, e, t, mask);
    poll_waited(waits, generation);
    return got;
}
