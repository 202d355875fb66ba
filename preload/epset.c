/* SPDX-License-Identifier: BSD-3-Clause
 * Epoll sets as objects: their memory, ready list, waiters and items, and how a forked child rebuilds one. */
#include "epoll.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

static struct {
    _Atomic uint32_t lock;
    struct epitem *free_items;
    struct zs_fresh fresh;
    struct epset *free_sets;
} mem;

void ep_lock(struct epset *e)
{
    zs_word_lock(&e->lock);
}

void ep_unlock(struct epset *e)
{
    zs_word_unlock(&e->lock);
}

struct epset *ep_of(int fd)
{
    uintptr_t raw = fdtab_raw(fd);
    return fd_tag(raw) == FDT_EPOLL ? (struct epset *)(raw & ~(uintptr_t)3) : NULL;
}

/* ---- Memory ---- */

struct epitem *ep_item_new(void)
{
    zs_word_lock(&mem.lock);
    struct epitem *it = mem.free_items;
    if (it != NULL)
        mem.free_items = it->next_free;
    else
        it = zs_fresh_take(&mem.fresh, sizeof *it);
    zs_word_unlock(&mem.lock);
    if (it != NULL)
        memset(it, 0, sizeof *it);
    return it;
}

void ep_item_free(struct epitem *it)
{
    zs_word_lock(&mem.lock);
    it->set = NULL;
    it->k = NULL;
    it->next_free = mem.free_items;
    mem.free_items = it;
    zs_word_unlock(&mem.lock);
}

struct epset *ep_set_new(int fd)
{
    zs_word_lock(&mem.lock);
    struct epset *e = mem.free_sets;
    if (e != NULL)
        mem.free_sets = e->next_free;
    zs_word_unlock(&mem.lock);
    struct epitem **by_fd = e != NULL ? e->by_fd : NULL;
    if (e == NULL)
        e = zs_chunk_alloc(sizeof *e);
    if (e == NULL)
        return NULL;
    memset(e, 0, sizeof *e);
    e->by_fd = by_fd;
    e->fd = fd;
    e->generation = atomic_load(&zs_proc.generation);
    atomic_store(&e->fds, 1);
    return e;
}

void ep_set_free(struct epset *e)
{
    zs_word_lock(&mem.lock);
    e->next_free = mem.free_sets;
    mem.free_sets = e;
    zs_word_unlock(&mem.lock);
}

/* What a set needs only once it has a socket of ours. */
int ep_set_prepare(struct epset *e)
{
    if (e->by_fd == NULL) {
        void *p = mmap(NULL, zs_fdtab_size * sizeof *e->by_fd, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            return -ENOMEM;
        e->by_fd = p;
    }
    if (e->tag == 0) {
        uint32_t r = 0;
        getrandom(&r, sizeof r, GRND_NONBLOCK);
        e->tag = (uint64_t)(r | 0x80010000u) << 32; /* no user pointer, no small number */
    }
    return 0;
}

/* ---- Ready list ---- */

void ep_ready_push(struct epset *e, struct epitem *it)
{
    if (it->queued)
        return;
    it->queued = true;
    it->next_ready = NULL;
    it->prev_ready = e->ready_tail;
    if (e->ready_tail != NULL)
        e->ready_tail->next_ready = it;
    else
        e->ready_head = it;
    e->ready_tail = it;
}

void ep_ready_remove(struct epset *e, struct epitem *it)
{
    if (!it->queued)
        return;
    it->queued = false;
    *(it->prev_ready ? &it->prev_ready->next_ready : &e->ready_head) = it->next_ready;
    *(it->next_ready ? &it->next_ready->prev_ready : &e->ready_tail) = it->prev_ready;
}

/* One doorbell is enough to end a sleep. NULL: the set has none yet. */
static struct zs_wait *first_wait(struct epset *e)
{
    return e->w[0].d != NULL ? &e->w[0] : e->w[1].d != NULL ? &e->w[1] : NULL;
}

/* No barrier: who goes to sleep says so, locks the set and only then looks at the ready list, which is changed with the set locked. */
void ep_wake(struct epset *e)
{
    struct zs_wait *w = first_wait(e);
    if (w != NULL && (e->polled || atomic_load(&zs_wait_shm(w)->asleep) != 0))
        zs_wait_ring(w);
}

/* Those who wait in the kernel alone are nobody whom a hint wakes. A doorbell wakes one of them, or one who is not among them; whoever it wakes rings
 * for the next. */
void ep_wake_theirs(struct epset *e)
{
    struct zs_wait *w = first_wait(e);
    if (w == NULL || atomic_load(&e->theirs) == 0 || atomic_load(&e->calls) <= 0 || atomic_fetch_sub(&e->calls, 1) <= 0)
        return;
    zs_wait_ring(w);
}

/* ---- Waiters and slots ---- */

static int kernel_add(struct epset *e, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event ev = {.events = events, .data.u64 = data};
    int r = (int)zs_sys(SYS_epoll_ctl, e->fd, EPOLL_CTL_ADD, fd, &ev);
    return r == -EEXIST ? (int)zs_sys(SYS_epoll_ctl, e->fd, EPOLL_CTL_MOD, fd, &ev) : r;
}

/* The set's waiter for engine d; opened with its doorbell and the control connection in the kernel's set. */
static int waiter_for(struct epset *e, struct zs_domain *d)
{
    int free_one = -1;
    for (int i = 0; i < EP_WAITS; i++) {
        if (e->w[i].d == d)
            return i;
        if (e->w[i].d == NULL && free_one < 0)
            free_one = i;
    }
    if (free_one < 0)
        return -ENOBUFS;
    int r = zs_wait_open(d, &e->w[free_one]);
    if (r < 0)
        return r;
    /* Edge-triggered: each ring is an edge, nobody needs to read the counter. */
    r = kernel_add(e, e->w[free_one].fd, EPOLLIN | EPOLLET, e->tag | (EP_DOORBELL + (uint32_t)free_one));
    if (r == 0)
        r = kernel_add(e, d->ctl_fd, EPOLLRDHUP | EPOLLET, e->tag | (EP_CONTROL + (uint32_t)free_one));
    if (r < 0) {
        zs_wait_close(&e->w[free_one]);
        return r;
    }
    atomic_fetch_add(&zs_wait_shm(&e->w[free_one])->asleep, e->sleepers + e->polled); /* those who sleep now wait for these sockets, too */
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in theirs_begin() */
    atomic_store(&e->calls, 8 * (int32_t)atomic_load(&e->theirs) + 8);
    ep_wake_theirs(e);
    return free_one;
}

static int slot_new(struct epset *e, struct epitem *it)
{
    for (uint32_t n = 0; n < e->nslots; n++) {
        uint32_t i = (e->free_slot_hint + n) % e->nslots;
        if (e->slots[i] == NULL) {
            e->slots[i] = it;
            e->free_slot_hint = i + 1;
            it->slot = i;
            return 0;
        }
        if (n == 64 && e->nslots < ZS_WAITER_SLOTS / 2)
            break; /* rather a larger table than a long search */
    }
    if (e->nslots == e->slots_cap) {
        uint32_t cap = e->slots_cap ? e->slots_cap * 2 : 512;
        struct epitem **bigger = cap <= ZS_WAITER_SLOTS ? zs_chunk_alloc(cap * sizeof *bigger) : NULL;
        if (bigger == NULL)
            return -ENOMEM;
        if (e->slots != NULL) {
            memcpy(bigger, e->slots, e->nslots * sizeof *bigger);
            munmap(e->slots, e->slots_cap * sizeof *bigger);
        }
        e->slots = bigger;
        e->slots_cap = cap;
    }
    it->slot = e->nslots;
    e->slots[e->nslots++] = it;
    return 0;
}

/* Lets shared memory hint at the item from now on. Set locked. */
int ep_item_subscribe(struct epset *e, struct epitem *it)
{
    struct zsock *k = it->k;
    int w = waiter_for(e, k->d);
    if (w < 0)
        return w;
    it->wait = (uint8_t)w;
    int r = slot_new(e, it);
    if (r < 0)
        return r;
    r = zs_subscribe(&k->d->view, k->s, e->w[w].index, it->slot, it->events & EPOLLEXCLUSIVE ? ZS_SUB_EXCLUSIVE : 0);
    if (r < 0) {
        e->slots[it->slot] = NULL;
        return r;
    }
    it->subscribed = true;
    it->fresh = true;
    e->wait_items[w]++;
    e->nshm++;
    e->nconn += atomic_load(&k->kind) == ZK_CONN;
    ep_ready_push(e, it); /* its present state is the first hint */
    return 0;
}

void ep_item_unsubscribe(struct epset *e, struct epitem *it)
{
    if (!it->subscribed)
        return;
    /* A forked child that has not rebuilt the set: the subscription is its parent's. */
    bool own = e->generation == atomic_load(&zs_proc.generation);
    if (own)
        zs_unsubscribe(&it->k->d->view, it->k->s, e->w[it->wait].index, it->slot);
    e->slots[it->slot] = NULL;
    e->free_slot_hint = it->slot;
    it->subscribed = false;
    /* The last socket of a dead engine: nothing comes from there any more. */
    struct zs_wait *w = &e->w[it->wait];
    if (--e->wait_items[it->wait] == 0 && own && w->d != NULL && !atomic_load(&w->d->alive))
        zs_wait_close(w);
    e->nshm--;
    e->nconn -= !it->in_kernel;
    ep_ready_remove(e, it);
}

static void sock_list_remove(struct zsock *k, struct epitem *it)
{
    zs_word_lock(&k->lock);
    for (struct epitem **p = &k->items; *p != NULL; p = &(*p)->next_of_sock) {
        if (*p == it) {
            *p = it->next_of_sock;
            break;
        }
    }
    zs_word_unlock(&k->lock);
}

/* Set locked. The kernel's part is the caller's. */
void ep_item_remove(struct epset *e, struct epitem *it)
{
    ep_item_unsubscribe(e, it);
    sock_list_remove(it->k, it);
    e->by_fd[it->fd] = NULL;
    ep_item_free(it);
}

/* Loops that remove a socket when they have written and add it again to read do so for every message. The second time it is
 * removed from the same set its hints stay subscribed until one comes: to unsubscribe writes to a line that its peer writes, too.
 * Not where somebody sleeps on the set as a whole: a hint for nobody would be an event to him. */
bool ep_item_rest(struct epset *e, struct epitem *it)
{
    bool again = atomic_exchange_explicit(&it->k->rests, e, memory_order_relaxed) == e;
    if (!again || !it->subscribed || it->in_kernel || e->polled || (it->events & EPOLLEXCLUSIVE))
        return false;
    it->resting = it->disarmed = true; /* no events meanwhile */
    ep_ready_remove(e, it);
    return true;
}

void ep_items_leave(struct epset *e)
{
    for (uint32_t i = 0; i < e->nslots; i++)
        if (e->slots[i] != NULL && e->slots[i]->resting)
            ep_item_remove(e, e->slots[i]);
}

/* In the kernel's set with the application's own data (undecided TCP, unbound UDP) or with ours (both worlds). */
int ep_kernel_part(struct epset *e, struct epitem *it, int op)
{
    struct epoll_event ev = {.events = it->events, .data = it->data};
    if (it->tagged)
        ev.data.u64 = e->tag | it->slot;
    return (int)zs_sys(SYS_epoll_ctl, e->fd, op, it->fd, &ev);
}

/* ---- Inherited sets ---- */

void ep_child(void)
{
    /* Locks may have been held by threads that the child does not have. */
    atomic_store(&mem.lock, 0);
    for (int fd = 0; fd < fdtab_top(); fd++) {
        struct zsock *k = fd_sock(fdtab_raw(fd));
        struct epset *e = ep_of(fd);
        if (k != NULL) {
            atomic_store(&k->lock, 0);
            atomic_store(&k->dg.opening, 0);
            atomic_store(&k->dg.waits, 0);
        }
        if (e != NULL)
            atomic_store(&e->lock, 0);
    }
}

/* Copies the kernel's entries of the set from what /proc says of it, except our own. */
static int copy_kernel_items(const struct epset *e, int to)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", e->fd);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return -errno;
    while (fgets(line, sizeof line, f) != NULL) {
        int fd;
        unsigned events;
        unsigned long long data;
        if (sscanf(line, "tfd: %d events: %x data: %llx", &fd, &events, &data) != 3)
            continue;
        struct epoll_event ev = {.events = events, .data.u64 = data};
        if ((data & EP_TAG_MASK) != e->tag || (uint32_t)data < EP_CONTROL)
            zs_sys(SYS_epoll_ctl, to, EPOLL_CTL_ADD, fd, &ev);
    }
    fclose(f);
    return 0;
}

/* In a forked child: a kernel set and waiters of its own, since a doorbell must wake its own sleeper. */
int ep_rebuild(struct epset *e)
{
    ep_lock(e);
    e->generation = atomic_load(&zs_proc.generation);
    if (e->nshm == 0 && e->w[0].d == NULL) {
        ep_unlock(e);
        return 0;
    }
    long fl = zs_sys(SYS_fcntl, e->fd, 1 /* F_GETFD */);
    int fresh = (int)zs_sys(SYS_epoll_create1, EPOLL_CLOEXEC);
    int r = fresh < 0 ? fresh : copy_kernel_items(e, fresh);
    if (r == 0)
        r = (int)zs_sys(SYS_dup3, fresh, e->fd, fl > 0 ? 02000000 /* O_CLOEXEC */ : 0);
    if (fresh >= 0)
        zs_sys(SYS_close, fresh);
    memset(e->w, 0, sizeof e->w);
    e->sleepers = 0;
    memset(e->wait_items, 0, sizeof e->wait_items);
    uint32_t n = e->nslots;
    struct epitem **old = e->slots;
    uint32_t cap = e->slots_cap;
    e->slots = NULL;
    e->nslots = e->slots_cap = e->nshm = e->nconn = 0;
    e->ready_head = e->ready_tail = NULL;
    for (uint32_t i = 0; i < n; i++) {
        struct epitem *it = old[i];
        if (it == NULL)
            continue;
        it->subscribed = it->queued = false;
        if (it->resting)
            ep_item_remove(e, it);
        else if (ep_item_subscribe(e, it) == 0 && it->in_kernel)
            ep_kernel_part(e, it, EPOLL_CTL_MOD);
    }
    if (old != NULL)
        munmap(old, cap * sizeof *old);
    ep_unlock(e);
    return r < 0 ? r : 0;
}
