/* SPDX-License-Identifier: BSD-3-Clause
 * Placeholders for accepted and connecting sockets: kernel sockets kept at high numbers, of which the application gets a
 * dup. Each is distinct, so that O_NONBLOCK and SO_COOKIE are a connection's own; dup and close cost a tenth of
 * socket and close. One that may have left the process is retired: its kept descriptor is closed, so that the kernel
 * destroys the socket, and tells the engine, when the last holder closes. */
#include "preload.h"

#include <fcntl.h>
#include <sys/resource.h>

#define POOL_MAX 8192
#define POOL_NONE (-1)
/* Kept descriptors below the application's own limit, where there is no room above it, take numbers that it could have: so many, and
 * no more than this part of the limit. */
#define POOL_WITHIN 256
#define POOL_WITHIN_PART 16

struct entry {
    int fd;
    int next;
    uint8_t family6;
    bool nonblock;
    bool within; /* below the application's limit */
};

static struct {
    _Atomic uint32_t lock;
    int free[2]; /* by family: head of the list of free entries */
    int unused;  /* head of the list of entries without a socket */
    uint32_t used, within;
    _Atomic uint32_t held; /* entries with a socket */
    uint64_t none_until_ns; /* the application needed the numbers: no entries before that time */
    bool ready;
    struct entry e[POOL_MAX];
} pool;

static void lock(void)
{
    zs_word_lock(&pool.lock);
    if (!pool.ready) {
        pool.free[0] = pool.free[1] = pool.unused = POOL_NONE;
        pool.ready = true;
    }
}

static void unlock(void)
{
    zs_word_unlock(&pool.lock);
}

static int new_entry(int family6)
{
    int i = pool.unused;
    struct rlimit64 lim = {0};
    if (pool.none_until_ns != 0 && zs_now_ns() < pool.none_until_ns)
        return -EMFILE;
    zs_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &lim);
    if (pool.within >= POOL_WITHIN || (pool.within > 0 && pool.within >= lim.rlim_cur / POOL_WITHIN_PART))
        return -EMFILE;
    if (i != POOL_NONE)
        pool.unused = pool.e[i].next;
    else if (pool.used < POOL_MAX)
        i = (int)pool.used++;
    else
        return -EMFILE;
    int fd = (int)zs_sys(SYS_socket, family6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        fd = fd_keep(fd);
    if (fd < 0) {
        pool.e[i].next = pool.unused;
        pool.unused = i;
        return fd;
    }
    pool.e[i] = (struct entry){.fd = fd, .next = POOL_NONE, .family6 = (uint8_t)family6, .within = (uint64_t)fd < lim.rlim_cur};
    pool.within += pool.e[i].within;
    atomic_fetch_add_explicit(&pool.held, 1, memory_order_relaxed);
    return i;
}

/* A socket of its own, when the pool cannot serve. */
static int plain_socket(int family, int flags)
{
    return (int)zs_sys(SYS_socket, family, SOCK_STREAM | (flags & (SOCK_CLOEXEC | SOCK_NONBLOCK)), 0);
}

static void retire(int i)
{
    if (pool.e[i].fd >= 0) {
        fd_unkeep(pool.e[i].fd);
        atomic_fetch_sub_explicit(&pool.held, 1, memory_order_relaxed);
    }
    pool.e[i].fd = -1;
    pool.within -= pool.e[i].within;
    pool.e[i].within = false;
    pool.e[i].next = pool.unused;
    pool.unused = i;
}

static void shed_one(struct zsock *k, int fd, void *arg)
{
    (void)fd;
    (void)arg;
    pool_leave(k);
}

/* No number is left: gives back those that we hold. The sockets live on by the application's descriptors. */
static void shed(void)
{
    const uint64_t pause_ns = 1000000000;
    zsock_for_each(shed_one, NULL);
    lock();
    for (int f = 0; f < 2; f++) {
        for (int i; (i = pool.free[f]) != POOL_NONE;) {
            pool.free[f] = pool.e[i].next;
            retire(i);
        }
    }
    pool.none_until_ns = zs_now_ns() + pause_ns;
    unlock();
}

/* -EMFILE when the pool has none and a socket of its own is to be tried. */
static int take(int family, int flags, int *entry)
{
    int family6 = family == AF_INET6;
    bool nonblock = flags & SOCK_NONBLOCK;
    lock();
    int i = pool.free[family6];
    if (i != POOL_NONE)
        pool.free[family6] = pool.e[i].next;
    else
        i = new_entry(family6);
    unlock();
    *entry = i < 0 ? POOL_NONE : i;
    if (i < 0)
        return i;
    struct entry *e = &pool.e[i];
    if (e->nonblock != nonblock) {
        zs_sys(SYS_fcntl, e->fd, F_SETFL, nonblock ? O_RDWR | O_NONBLOCK : O_RDWR);
        e->nonblock = nonblock;
    }
    int fd = flags & SOCK_CLOEXEC ? (int)zs_sys(SYS_fcntl, e->fd, F_DUPFD_CLOEXEC, 0) : (int)zs_sys(SYS_dup, e->fd);
    if (fd < 0) {
        pool_release(i, nonblock);
        *entry = POOL_NONE;
    }
    return fd;
}

int pool_take(struct zs_domain *d, int family, int flags, int *entry)
{
    (void)d;
    int fd = take(family, flags, entry);
    if (fd != -EMFILE || (fd = plain_socket(family, flags)) != -EMFILE)
        return fd;
    if (atomic_load_explicit(&pool.held, memory_order_relaxed) == 0)
        return fd; /* a program at its limit may ask again and again */
    shed();
    return plain_socket(family, flags);
}

bool pool_give_way(void)
{
    lock();
    bool some = pool.within > 0;
    unlock();
    if (some)
        shed();
    return some;
}

/* The last descriptor that the application had of it is closed. */
void pool_release(int i, bool nonblock)
{
    if (i == POOL_NONE)
        return;
    lock();
    struct entry *e = &pool.e[i];
    if (e->fd >= 0) {
        e->nonblock = nonblock;
        e->next = pool.free[e->family6];
        pool.free[e->family6] = i;
    }
    unlock();
}

void pool_retire(int i)
{
    if (i == POOL_NONE)
        return;
    lock();
    retire(i);
    unlock();
}

/* In a forked child the kept descriptors are closed already: start empty. */
void pool_child(void)
{
    atomic_store(&pool.lock, 0);
    pool.ready = false;
    pool.used = pool.within = 0;
    atomic_store(&pool.held, 0);
}
