/* SPDX-License-Identifier: BSD-3-Clause
 * Descriptors: close, dup and kin. Our own descriptors look closed to the application and survive what it closes. */
#include "preload.h"

#include <fcntl.h>

/* Drops whatever the table has for fd, without closing it: the kernel already reused or will reuse the number. */
static void forget(int fd)
{
    uintptr_t raw = fdtab_take(fd);
    struct zsock *k = fd_sock(raw);
    if (k != NULL) {
        if (atomic_fetch_sub(&k->fds, 1) == 1)
            ep_sock_closed(k);
        zsock_drop(k);
    } else if (fd_tag(raw) == FDT_EPOLL) {
        ep_set_closed(fd, raw);
    }
}

static int close_entry(int fd, uintptr_t raw)
{
    frame_enter();
    int r;
    if (fd_sock(raw) != NULL) {
        r = sock_close_fd(fd, raw);
    } else {
        ep_set_closed(fd, raw);
        r = (int)zs_sys(SYS_close, fd);
    }
    if (zs_proc.conf.trace)
        zs_trace("close", fd, r);
    frame_end();
    if (r < 0) {
        errno = -r;
        return -1;
    }
    return r;
}

int zsp_close(int fd)
{
    uintptr_t raw = fdtab_raw(fd);
    if (ZS_LIKELY(raw == 0) || zs_passthrough())
        return REAL(close)(fd);
    if (fd_tag(raw) == FDT_KEPT) {
        errno = EBADF;
        return -1;
    }
    raw = fdtab_take(fd);
    return raw != 0 ? close_entry(fd, raw) : REAL(close)(fd);
}

/* ---- dup ---- */

/* Enters `to` as another descriptor of what fd names; `to` was just made by the kernel. */
static void duplicated(int fd, int to)
{
    forget(to);
    uintptr_t raw = fdtab_raw(fd);
    struct zsock *k = fd_sock(raw);
    if (k != NULL) {
        atomic_fetch_add(&k->refs, 1);
        atomic_fetch_add(&k->fds, 1);
        fdtab_set(to, FDT_SOCK, k);
        stdio_standard(to);
    } else if (fd_tag(raw) == FDT_EPOLL) {
        ep_dup(fd, to);
    }
}

/* The kernel has no number for a duplicate: what the pool has below the limit gives way, lest the program finds itself at its limit
 * and then gets one more. */
static bool gives_way(int got)
{
    if (ZS_LIKELY(got >= 0) || errno != EMFILE || zs_passthrough())
        return false;
    frame_enter();
    bool gave = pool_give_way();
    frame_end();
    if (!gave)
        errno = EMFILE;
    return gave;
}

static int dup_foreign(int fd)
{
    int to = REAL(dup)(fd);
    return gives_way(to) ? REAL(dup)(fd) : to;
}

int zsp_dup(int fd)
{
    uintptr_t raw = fdtab_raw(fd);
    if (raw == 0 || zs_passthrough())
        return dup_foreign(fd);
    if (fd_tag(raw) == FDT_KEPT) {
        errno = EBADF;
        return -1;
    }
    frame_enter();
    int to = dup_foreign(fd);
    if (to >= 0)
        duplicated(fd, to);
    frame_end();
    return to;
}

static int dup_to(int fd, int to, int flags, bool three)
{
    uintptr_t from_raw = fdtab_raw(fd), to_raw = fdtab_raw(to);
    if ((from_raw == 0 && to_raw == 0) || zs_passthrough())
        return three ? REAL(dup3)(fd, to, flags) : REAL(dup2)(fd, to);
    if (fd_tag(from_raw) == FDT_KEPT || fd_tag(to_raw) == FDT_KEPT) {
        /* Numbers of ours: as good as beyond the limit for the application. */
        errno = EBADF;
        return -1;
    }
    if (fd == to)
        return three ? (errno = EINVAL, -1) : fd;
    if (three && (flags & ~O_CLOEXEC)) {
        errno = EINVAL;
        return -1;
    }
    frame_enter();
    /* The socket that is replaced ends as by close(2); the kernel swaps the descriptor itself in one step. */
    struct zsock *old = fd_sock(to_raw);
    if (old != NULL && zs_sys(SYS_fcntl, fd, F_GETFD) >= 0 && fdtab_take(to) == to_raw)
        sock_detach_fd(old, to);
    else
        old = NULL;
    int got = three ? REAL(dup3)(fd, to, flags) : REAL(dup2)(fd, to);
    if (old != NULL)
        zsock_drop(old);
    if (got >= 0)
        duplicated(fd, got);
    frame_end();
    return got;
}

int zsp_dup2(int fd, int to)
{
    return dup_to(fd, to, 0, false);
}

int zsp_dup3(int fd, int to, int flags)
{
    return dup_to(fd, to, flags, true);
}

static int fcntl_foreign(int fd, int cmd, long arg)
{
    int r = REAL(fcntl)(fd, cmd, arg);
    bool dups = cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC;
    return dups && gives_way(r) ? REAL(fcntl)(fd, cmd, arg) : r;
}

int zsp_fcntl_arg(int fd, int cmd, long arg)
{
    uintptr_t raw = fdtab_raw(fd);
    if (ZS_LIKELY(raw == 0) || zs_passthrough())
        return fcntl_foreign(fd, cmd, arg);
    if (fd_tag(raw) == FDT_KEPT) {
        errno = EBADF;
        return -1;
    }
    if (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC) {
        frame_enter();
        int to = fcntl_foreign(fd, cmd, arg);
        if (to >= 0)
            duplicated(fd, to);
        frame_end();
        return to;
    }
    struct call c;
    struct zsock *k = call_begin(&c, "fcntl", fd);
    if (k == NULL)
        return REAL(fcntl)(fd, cmd, arg);
    return (int)call_end(&c, fd, zsp_fcntl_sock(k, fd, cmd, arg));
}

/* ---- ranges ---- */

#define RANGE_CLOEXEC 4u /* CLOSE_RANGE_CLOEXEC */
#define RANGE_UNSHARE 2u /* CLOSE_RANGE_UNSHARE */

/* Closes [first, last] around our own descriptors, which lie scattered in the table's upper part. */
static int range_real(unsigned first, unsigned last, int flags)
{
    unsigned from = first;
    for (unsigned fd = first; fd <= last && fd < zs_fdtab_size; fd++) {
        if (fd_tag(fdtab_raw((int)fd)) != FDT_KEPT)
            continue;
        if (fd > from) {
            long r = zs_sys(SYS_close_range, from, fd - 1, flags);
            if (r < 0)
                return (int)r;
        }
        from = fd + 1;
    }
    return from <= last ? (int)zs_sys(SYS_close_range, from, last, flags) : 0;
}

int zsp_close_range(unsigned first, unsigned last, int flags)
{
    if (zs_fdtab == NULL || !zs_proc.conf.enabled || zs_passthrough() || first > last)
        return REAL(close_range)(first, last, flags);
    int r = 0;
    frame_enter();
    if (!((unsigned)flags & RANGE_CLOEXEC)) {
        int top = fdtab_top();
        for (unsigned fd = first; fd <= last && (int)fd < top; fd++) {
            uintptr_t raw = fdtab_raw((int)fd);
            if (raw != 0 && fd_tag(raw) != FDT_KEPT && (raw = fdtab_take((int)fd)) != 0)
                close_entry((int)fd, raw);
        }
    }
    r = fd_any_kept() ? range_real(first, last, flags) : (int)zs_sys(SYS_close_range, first, last, flags);
    frame_end();
    if (r < 0) {
        errno = -r;
        return -1;
    }
    return 0;
}

void zsp_closefrom(int first)
{
    zsp_close_range(first < 0 ? 0 : (unsigned)first, ~0u, 0);
}
