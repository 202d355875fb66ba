/* SPDX-License-Identifier: BSD-3-Clause
 * epoll_create, epoll_ctl, and how a socket's fate moves its items between the kernel and shared memory. */
#include "epoll.h"

#include <sys/mman.h>

/* ---- epoll_ctl ---- */

static void decided(struct epset *e, struct epitem *it)
{
    if (it->resting) {
        ep_item_remove(e, it);
        return;
    }
    /* The kernel's entry goes, or returns with our data; exclusive ones cannot be modified. */
    if (it->in_kernel)
        zs_sys(SYS_epoll_ctl, e->fd, EPOLL_CTL_DEL, it->fd, NULL);
    it->in_kernel = sock_has_kernel_side(it->k);
    if (!it->subscribed && ep_set_prepare(e) == 0)
        ep_item_subscribe(e, it);
    it->tagged = it->in_kernel && it->subscribed;
    if (it->in_kernel)
        ep_kernel_part(e, it, EPOLL_CTL_ADD);
    ep_wake(e);
}

static int ctl_add(struct epset *e, struct zsock *k, int fd, const struct epoll_event *ev)
{
    const uint32_t exclusive_ok = EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;
    if ((ev->events & EPOLLEXCLUSIVE) && (ev->events & ~exclusive_ok))
        return -EINVAL;
    struct epitem *it = ep_item_new();
    if (it == NULL)
        return -ENOMEM;
    it->fd = fd;
    it->k = k;
    it->set = e;
    it->events = ev->events;
    it->data = ev->data;
    it->in_kernel = sock_has_kernel_side(k);
    int r = sock_accelerated(k) ? ep_item_subscribe(e, it) : 0;
    it->tagged = it->in_kernel && it->subscribed;
    if (r == 0 && it->in_kernel)
        r = ep_kernel_part(e, it, EPOLL_CTL_ADD);
    if (r < 0) {
        ep_item_unsubscribe(e, it);
        ep_item_free(it);
        return r;
    }
    e->by_fd[fd] = it;
    zs_word_lock(&k->lock);
    it->next_of_sock = k->items;
    k->items = it;
    zs_word_unlock(&k->lock);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in ep_sock_decided() */
    if (it->subscribed)
        ep_wake(e);
    else if (sock_accelerated(k)) /* another thread told the engine meanwhile, and may not have found the item */
        decided(e, it);
    return 0;
}

/* Also of an item that rests: it is back. */
static int ctl_mod(struct epset *e, struct epitem *it, const struct epoll_event *ev)
{
    if ((ev->events | it->events) & EPOLLEXCLUSIVE)
        return -EINVAL; /* epoll_ctl(2) */
    it->events = ev->events;
    it->data = ev->data;
    it->disarmed = it->resting = false;
    it->fresh = true;
    if (it->in_kernel) {
        int r = ep_kernel_part(e, it, EPOLL_CTL_MOD);
        if (r < 0)
            return r;
    }
    if (it->subscribed) {
        ep_ready_push(e, it);
        ep_wake(e);
    }
    return 0;
}

/* Calls f for each membership of k, the set locked and the item still there. f may free the item. */
static void each_item(struct zsock *k, void (*f)(struct epset *, struct epitem *))
{
    for (;;) {
        zs_word_lock(&k->lock);
        struct epitem *it = k->items;
        while (it != NULL && it->emitted == UINT32_MAX)
            it = it->next_of_sock;
        struct epset *e = it != NULL ? it->set : NULL;
        if (it != NULL)
            it->emitted = UINT32_MAX; /* visited */
        zs_word_unlock(&k->lock);
        if (it == NULL)
            break;
        ep_lock(e);
        if (it->set == e && it->k == k)
            f(e, it);
        ep_unlock(e);
    }
    zs_word_lock(&k->lock);
    for (struct epitem *it = k->items; it != NULL; it = it->next_of_sock)
        it->emitted = 0;
    zs_word_unlock(&k->lock);
}

/* The socket goes to another set: here it is not expected any more. */
static void leaves(struct epset *e, struct epitem *it)
{
    if (it->resting)
        ep_item_remove(e, it);
}

static int ctl(struct epset *e, struct zsock *k, int op, int fd, const struct epoll_event *ev)
{
    if (op != EPOLL_CTL_DEL && !user_readable(ev, sizeof *ev))
        return -EFAULT;
    int r = ep_set_prepare(e);
    if (r < 0)
        return r;
    bool late = op != EPOLL_CTL_DEL && atomic_load(&k->kind) == ZK_UDP && k->s == NULL;
    if (late && ((ev->events & (EPOLLET | EPOLLONESHOT)) || e->nlate == EP_LATE))
        dgram_at_once(k, fd); /* being told of later makes its entry in the kernel anew, which is an edge */
    struct epset *rests = op == EPOLL_CTL_ADD ? atomic_load_explicit(&k->rests, memory_order_relaxed) : NULL;
    if (rests != NULL && rests != e) {
        each_item(k, leaves);
        atomic_store_explicit(&k->rests, NULL, memory_order_relaxed);
    }
    ep_lock(e);
    struct epitem *it = e->by_fd[fd];
    /* The number was reused behind our back, or it is to be exclusive, which the subscription has to say. */
    bool exclusive = op == EPOLL_CTL_ADD && (ev->events & EPOLLEXCLUSIVE);
    if (it != NULL && (it->k != k || (it->resting && exclusive))) {
        ep_item_remove(e, it);
        it = NULL;
    }
    bool there = it != NULL && !it->resting;
    if (op == EPOLL_CTL_ADD) {
        r = there ? -EEXIST : it != NULL ? ctl_mod(e, it, ev) : ctl_add(e, k, fd, ev);
    } else if (op != EPOLL_CTL_MOD && op != EPOLL_CTL_DEL) {
        r = -EINVAL;
    } else if (!there) {
        r = -ENOENT;
    } else if (op == EPOLL_CTL_MOD) {
        r = ctl_mod(e, it, ev);
    } else if (!ep_item_rest(e, it)) {
        if (it->in_kernel)
            zs_sys(SYS_epoll_ctl, e->fd, EPOLL_CTL_DEL, fd, NULL);
        ep_item_remove(e, it);
    }
    if (late && k->s == NULL && e->nlate < EP_LATE)
        e->late[e->nlate++] = fd;
    ep_unlock(e);
    return r;
}

int zsp_epoll_ctl(int ep, int op, int fd, struct epoll_event *ev)
{
    struct epset *e = ep_of(ep);
    struct call c;
    if (e == NULL || zs_passthrough() || ep == fd)
        return REAL(epoll_ctl)(ep, op, fd, ev);
    struct zsock *k = call_begin(&c, "epoll_ctl", fd);
    if (k == NULL) {
        int r = REAL(epoll_ctl)(ep, op, fd, ev);
        if (r == 0 && op == EPOLL_CTL_ADD) {
            e->mixed = true;
            if (ep_of(fd) != NULL) {
                e->nests = true;
                ep_set_polled(fd);
            }
        }
        return r;
    }
    int r = e->generation != atomic_load(&zs_proc.generation) ? ep_rebuild(e) : 0;
    if (r == 0)
        r = ctl(e, k, op, fd, ev);
    if (r == -ENOBUFS || r == -EPIPE) /* the engine has no waiter for us: as the kernel without memory */
        r = -ENOSPC;
    return (int)call_end(&c, fd, r);
}

static int created(int fd)
{
    if (fd < 0 || !zs_proc.conf.enabled || zs_fdtab == NULL || zs_passthrough())
        return fd;
    frame_enter();
    fdtab_take(fd);
    struct epset *e = ep_set_new(fd);
    if (e != NULL)
        fdtab_set(fd, FDT_EPOLL, e);
    signals_guard();
    frame_end();
    return fd;
}

int zsp_epoll_create(int size)
{
    return created(REAL(epoll_create)(size));
}

int zsp_epoll_create1(int flags)
{
    return created(REAL(epoll_create1)(flags));
}

/* ---- What happens to sockets and descriptors ---- */

void ep_sock_decided(struct zsock *k)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (k->items != NULL)
        each_item(k, decided);
}

static void undecided(struct epset *e, struct epitem *it)
{
    if (it->resting) {
        ep_item_remove(e, it);
        return;
    }
    ep_item_unsubscribe(e, it);
    it->in_kernel = true;
    it->tagged = false;
    ep_kernel_part(e, it, EPOLL_CTL_ADD);
}

void ep_sock_undecided(struct zsock *k)
{
    if (k->items != NULL)
        each_item(k, undecided);
}

static void forgotten(struct epset *e, struct epitem *it)
{
    bool tagged = it->tagged, resting = it->resting;
    ep_item_unsubscribe(e, it);
    it->tagged = false;
    if (tagged) /* back to the application's own data */
        ep_kernel_part(e, it, EPOLL_CTL_MOD);
    if (resting || atomic_load(&it->k->kind) == ZK_TCP)
        ep_item_remove(e, it);
}

void ep_sock_forget(struct zsock *k)
{
    if (k->items != NULL)
        each_item(k, forgotten);
}

void ep_sock_closed(struct zsock *k)
{
    if (k->items != NULL)
        each_item(k, ep_item_remove);
}

void ep_dup(int fd, int to)
{
    struct epset *e = ep_of(fd);
    atomic_fetch_add(&e->fds, 1);
    fdtab_set(to, FDT_EPOLL, e);
}

/* The last descriptor of a set goes. raw: its table entry, already taken. */
void ep_set_closed(int fd, uintptr_t raw)
{
    if (fd_tag(raw) != FDT_EPOLL)
        return;
    struct epset *e = (struct epset *)(raw & ~(uintptr_t)3);
    if (atomic_fetch_sub(&e->fds, 1) != 1) {
        for (int i = 0; e->fd == fd && i < fdtab_top(); i++)
            if (ep_of(i) == e)
                e->fd = i;
        return;
    }
    ep_lock(e);
    for (uint32_t i = 0; i < e->nslots; i++)
        if (e->slots[i] != NULL)
            ep_item_remove(e, e->slots[i]);
    for (int i = 0; e->by_fd != NULL && i < fdtab_top(); i++)
        if (e->by_fd[i] != NULL)
            ep_item_remove(e, e->by_fd[i]);
    for (int i = 0; i < EP_WAITS; i++)
        if (e->w[i].d != NULL && e->generation == atomic_load(&zs_proc.generation))
            zs_wait_close(&e->w[i]);
    if (e->slots != NULL)
        munmap(e->slots, e->slots_cap * sizeof *e->slots);
    e->slots = NULL;
    ep_unlock(e);
    ep_set_free(e);
}

void ep_set_polled(int fd)
{
    struct epset *e = ep_of(fd);
    if (e == NULL)
        return;
    if (e->generation != atomic_load(&zs_proc.generation) && e->nshm > 0) { /* its waiters are the parent's */
        client_self();
        ep_rebuild(e);
    }
    ep_lock(e);
    if (!e->polled) {
        e->polled = true;
        ep_items_leave(e);
        for (int i = 0; i < EP_WAITS; i++)
            if (e->w[i].d != NULL)
                atomic_fetch_add(&zs_wait_shm(&e->w[i])->asleep, 1);
    }
    ep_settle(e);
    ep_unlock(e);
}
