/* SPDX-License-Identifier: BSD-3-Clause
 * An epoll set: the kernel's, which holds kernel descriptors and our doorbell, and beside it the items whose readiness is in
 * shared memory. */
#ifndef ZSTACK_PRELOAD_EPOLL_H
#define ZSTACK_PRELOAD_EPOLL_H

#include "preload.h"

struct epitem {
    _Alignas(ZS_CACHE_LINE) struct zsock *k;
    struct epset *set;
    uint32_t events; /* interest with EPOLLET, EPOLLONESHOT, EPOLLEXCLUSIVE */
    uint32_t slot;   /* in the set's waiter */
    epoll_data_t data;
    struct epitem *next_ready, *prev_ready;
    uint8_t wait;     /* which of the set's waiters */
    bool in_kernel;   /* the kernel's set has it, too (undecided, listener, UDP) */
    bool tagged;      /* there with our data */
    bool subscribed;  /* shared memory hints at it */
    bool queued;      /* on the ready list */
    bool disarmed;    /* EPOLLONESHOT fired */
    bool fresh;       /* added or modified: an edge by itself */
    bool resting;     /* removed by the application: see ep_item_rest() */
    uint32_t emitted; /* serial of the wait that last reported it */
    int emitted_at;   /* where in its output */
    uint64_t seen_tail;             /* what the last edge had seen */
    uint32_t seen_state, seen_out, seen_zc;
    int fd; /* the number it was added by: (set, fd) is its key */
    struct epitem *next_of_sock;
    struct epitem *next_free;
};
_Static_assert(offsetof(struct epitem, seen_tail) == ZS_CACHE_LINE, "a level-triggered event needs one line");

#define EP_LATE 16u
#define EP_WAITS 2 /* engines a set can have sockets of at a time: the old and the new one */

struct epset {
    _Atomic uint32_t lock;
    _Atomic uint32_t fds; /* descriptors that name it */
    int fd;
    uint32_t generation;  /* of the process that built it */
    bool polled;
    bool busy;            /* something happened on sockets since idle ones last gave their rings back */
    bool full;            /* they left no room for kernel descriptors */
    bool nests;           /* other sets are in it */
    bool mixed;           /* descriptors that are none of our sockets were added */
    _Atomic uint32_t theirs; /* threads that wait in the kernel alone: the set had no socket of ours when they began */
    uint32_t sleepers;    /* threads that sleep on the set's waiters, each counted in `asleep` of all of them. Set locked */
    _Atomic int32_t calls;   /* how often these may still be rung for: some may be gone, by a jump or cancelled */
    uint32_t nlate;       /* UDP sockets that were added and that the engine has not been told of (dgbind.c), */
    int late[EP_LATE];    /* their descriptors; to be looked at when the set is waited for */
    uint32_t nshm;        /* items with readiness in shared memory */
    uint32_t nconn;       /* of those, connections: worth spinning for */
    uint64_t tag;         /* upper half of the data of our own kernel items */
    struct zs_wait w[EP_WAITS];
    uint32_t wait_items[EP_WAITS];
    struct epitem **by_fd; /* reserved, touched where used */
    struct epitem **slots;
    uint32_t nslots, slots_cap;
    uint32_t free_slot_hint;
    struct epitem *ready_head, *ready_tail;
    uint32_t serial;
    uint64_t kernel_look_ns;
    struct epset *next_free;
};

#define EP_TAG_MASK UINT64_C(0xffffffff00000000)
#define EP_DOORBELL 0xffffff00u /* low half: doorbell of waiter i is EP_DOORBELL + i */
#define EP_CONTROL 0xfffffe00u  /* control connection of waiter i's engine */

struct epset *ep_of(int fd); /* the set behind a descriptor or NULL */
void ep_lock(struct epset *e);
void ep_unlock(struct epset *e);
void ep_ready_push(struct epset *e, struct epitem *it);
void ep_ready_remove(struct epset *e, struct epitem *it);
static inline struct zs_domain *set_domain(const struct epset *e)
{
    return e->w[0].d != NULL ? e->w[0].d : e->w[1].d;
}
/* The wait of a set with sockets of ours; *kernel: it has none, ask the kernel. */
int ep_wait_call(const char *name, int ep, struct epoll_event *ev, int max, int64_t timeout_ns, const sigset_t *mask, bool *kernel);
/* Adds one event of the kernel to the output; what is ours is translated or swallowed. Returns the new count. Set locked. */
int ep_take_kernel_event(struct epset *e, const struct epoll_event *kev, struct epoll_event *ev, int n, uint32_t serial);
uint32_t ep_serial(struct epset *e); /* of a wait's output. Set locked */
void ep_wake(struct epset *e); /* lets a sleeping waiter look again */
void ep_wake_theirs(struct epset *e);
int ep_rebuild(struct epset *e);
void ep_settle(struct epset *e);

/* Between epset.c and epoll.c. Items are touched with their set locked; a set's lock comes before a socket's. */
struct epset *ep_set_new(int fd);
void ep_set_free(struct epset *e);
int ep_set_prepare(struct epset *e); /* what a set needs only once it has a socket of ours */
struct epitem *ep_item_new(void);
void ep_item_free(struct epitem *it);
int ep_item_subscribe(struct epset *e, struct epitem *it); /* lets shared memory hint at it */
void ep_item_unsubscribe(struct epset *e, struct epitem *it);
void ep_item_remove(struct epset *e, struct epitem *it); /* the kernel's part is the caller's */
bool ep_item_rest(struct epset *e, struct epitem *it);   /* instead of it, where the socket will be back */
void ep_items_leave(struct epset *e);                    /* resting ones go */
int ep_kernel_part(struct epset *e, struct epitem *it, int op);

#endif
