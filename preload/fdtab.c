/* SPDX-License-Identifier: BSD-3-Clause
 * The descriptor table, the sockets behind it, and our own descriptors, which live high and out of sight. */
#include "preload.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

_Atomic uintptr_t *zs_fdtab;
unsigned zs_fdtab_size;

static struct {
    _Atomic uint32_t lock;
    struct zsock *free;
    struct zs_fresh fresh;
    _Atomic int top;      /* highest descriptor entered + 1 */
    int kept[16384];      /* our descriptors; order does not matter */
    uint32_t nkept;
    _Atomic uint32_t kept_lock;
} tab;

int fdtab_init(void)
{
    struct rlimit64 lim = {0};
    zs_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &lim);
    unsigned n = 1u << 20; /* Linux' default fs.nr_open */
    if (lim.rlim_max != RLIM64_INFINITY && lim.rlim_max > n)
        n = lim.rlim_max < (1u << 24) ? (unsigned)lim.rlim_max : 1u << 24;
    void *p = mmap(NULL, (size_t)n * sizeof(uintptr_t), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return -ENOMEM;
    zs_fdtab = p;
    zs_fdtab_size = n;
    return 0;
}

bool fdtab_set(int fd, enum fd_tag tag, void *p)
{
    if ((unsigned)fd >= zs_fdtab_size)
        return false;
    atomic_store_explicit(&zs_fdtab[fd], (uintptr_t)p | (uintptr_t)tag, memory_order_release);
    int top = atomic_load(&tab.top);
    while (tag != FDT_KEPT && fd >= top && !atomic_compare_exchange_weak(&tab.top, &top, fd + 1))
        ;
    return true;
}

uintptr_t fdtab_take(int fd)
{
    return (unsigned)fd < zs_fdtab_size ? atomic_exchange(&zs_fdtab[fd], 0) : 0;
}

int fdtab_top(void)
{
    return atomic_load(&tab.top);
}

/* ---- Sockets ---- */

static struct zsock *zsock_memory(void)
{
    struct zsock *k = tab.free;
    if (k != NULL) {
        tab.free = k->next_free;
        return k;
    }
    k = zs_fresh_take(&tab.fresh, sizeof *k);
    if (k != NULL)
        signals_guard();
    return k;
}

struct zsock *zsock_new(enum zk kind, int family)
{
    zs_word_lock(&tab.lock);
    struct zsock *k = zsock_memory();
    zs_word_unlock(&tab.lock);
    if (k == NULL)
        return NULL;
    memset((char *)k + offsetof(struct zsock, kind), 0, offsetof(struct zsock, next_free) - offsetof(struct zsock, kind));
    k->family = (uint16_t)family;
    k->pool = -1;
    k->index = ZS_NO_SESSION;
    k->pre.linger = k->pre.peek_off = -1;
    k->fd = -1;
    atomic_store(&k->kind, kind);
    atomic_store(&k->fds, 0);
    atomic_store(&k->refs, 1);
    return k;
}

struct zsock *zsock_hold(int fd)
{
    uintptr_t raw = fdtab_raw(fd);
    struct zsock *k = fd_sock(raw);
    return k != NULL && zsock_hold_as(k, fd, raw) ? k : NULL;
}

void zsock_drop(struct zsock *k)
{
    if (atomic_fetch_sub(&k->refs, 1) != 1)
        return;
    sock_final(k, -1);
    atomic_store(&k->kind, ZK_FREE);
    zs_word_lock(&tab.lock);
    k->next_free = tab.free;
    tab.free = k;
    zs_word_unlock(&tab.lock);
}

void zsock_for_each(void (*f)(struct zsock *, int, void *), void *arg)
{
    int top = fdtab_top();
    for (int fd = 0; fd < top; fd++) {
        struct zsock *k = fd_sock(fdtab_raw(fd));
        if (k != NULL)
            f(k, fd, arg);
    }
}

/* ---- Our own descriptors ---- */

/* Where they go: above the application's soft limit where the hard limit leaves room, so that they take none of the numbers it may use; else
 * at the top of what there is. But not higher than necessary: the kernel's table is as large as the highest number asks for, and each fork
 * copies it. */
int fd_keep(int fd)
{
    struct rlimit64 lim, raised;
    int to = -EMFILE;
    zs_word_lock(&tab.kept_lock);
    if (zs_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &lim) == 0 && tab.nkept < sizeof tab.kept / sizeof tab.kept[0]) {
        const uint64_t high = 4096, within_table = 1984; /* the end of one for 2048 descriptors, and no number that a program asks for */
        uint64_t soft = lim.rlim_cur;
        raised = lim;
        raised.rlim_cur = lim.rlim_max;
        bool above = soft <= high && lim.rlim_max > soft + 64 &&
                     zs_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, &raised, NULL) == 0;
        uint64_t low = above ? soft : soft > high ? within_table : soft > 512 ? soft - 256 : soft / 2;
        to = (int)zs_sys(SYS_fcntl, fd, F_DUPFD_CLOEXEC, (long)low);
        if (above)
            zs_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, &lim, NULL);
        if (to < 0) /* the top is taken: anywhere */
            to = (int)zs_sys(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3);
        if (to >= 0 && !fdtab_set(to, FDT_KEPT, NULL)) {
            zs_sys(SYS_close, to);
            to = -EMFILE;
        }
        if (to >= 0)
            tab.kept[tab.nkept++] = to;
    }
    zs_sys(SYS_close, fd);
    zs_word_unlock(&tab.kept_lock);
    return to;
}

void fd_unkeep(int fd)
{
    zs_word_lock(&tab.kept_lock);
    for (uint32_t i = 0; i < tab.nkept; i++) {
        if (tab.kept[i] == fd) {
            tab.kept[i] = tab.kept[--tab.nkept];
            fdtab_take(fd);
            zs_sys(SYS_close, fd);
            break;
        }
    }
    zs_word_unlock(&tab.kept_lock);
}

bool fd_any_kept(void)
{
    return tab.nkept != 0;
}

void fd_forget_kept(void)
{
    /* Only the forked child's only thread is here; the lock may have been another thread's. */
    atomic_store(&tab.kept_lock, 0);
    for (uint32_t i = 0; i < tab.nkept; i++) {
        fdtab_take(tab.kept[i]);
        zs_sys(SYS_close, tab.kept[i]);
    }
    tab.nkept = 0;
    atomic_store(&tab.lock, 0);
}

void *zs_chunk_alloc(size_t n)
{
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void *zs_fresh_take(struct zs_fresh *f, size_t size)
{
    const size_t n = 256;
    if (f->at == f->end) {
        f->at = zs_chunk_alloc(n * size);
        f->end = f->at != NULL ? f->at + n * size : NULL;
    }
    void *p = f->at;
    if (p != NULL)
        f->at += size;
    return p;
}
