/* SPDX-License-Identifier: BSD-3-Clause
 *
 * libzstack's state: handles of buffers and segments, pieces that are lent out, and the process' quotas. One lock guards all of
 * it; it is held for a few instructions, with signal handlers deferred where the preload is there. */
#ifndef ZSTACK_LIB_H
#define ZSTACK_LIB_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <zstack/zstack.h>

#include "interface.h"
#include "wait.h"

enum handle_kind { H_FREE, H_BUFFER, H_SEGMENT };

struct piece;

/* A buffer or a segment. An id is kind, generation and index, so that an old one is known as such. */
struct handle {
    uint32_t gen;
    uint8_t kind; /* enum handle_kind */
    bool shared;
    uint32_t index;
    uint32_t process; /* lib.process at its making: not after a fork */
    uint8_t *data;
    size_t size;
    void *heap;               /* memory of the process, to be freed; NULL: shared memory */
    struct zs_domain *domain; /* of the shared memory; NULL: none */
    uint32_t segment, offset; /* where data is, as in struct zs_ref */
    struct memory *memory;    /* buffer: whose pages it has */
    uint32_t loan, loan_gen;  /* segment: this process' hold */
    struct piece *pieces;     /* buffer: lent out */
    struct handle *next_free;
};

/* A send and its event. */
struct op {
    struct zs_queue *queue;
    uint32_t left;  /* pieces that are lent out */
    bool going;     /* zs_send is still at it */
    struct zs_event event;
    struct op *next;
};

/* One root: a range of a buffer in one stream. */
struct piece {
    struct piece *next, **prev; /* of its buffer */
    struct zs_domain *domain;
    uint32_t loan, gen;
    uint32_t slot; /* in its queue */
    size_t len;
    struct op *op; /* NULL: nobody wants to know */
};

struct zs_queue {
    struct zs_wait wait; /* wait.d NULL: without an engine */
    int fd;              /* the program's descriptor of the eventfd */
    bool armed;
    uint32_t process;
    struct op *ready, **ready_end;
    struct piece **slots;
    uint32_t *free_slots, nslots, nfree;
    struct zs_queue *next;
};

#define HANDLE_CHUNK 256u /* handles are made by so many */

struct lib {
    pthread_mutex_t lock;
    pthread_once_t once;
    const struct zs_interface *preload; /* NULL: every socket is the kernel's */
    uint32_t process;                   /* counts forks */
    struct handle **chunk;
    uint32_t chunks;
    struct handle *free;
    struct memory *memory; /* segments for buffers */
    size_t held, lent, held_quota, lent_quota;
    uint64_t segments, forgotten;
    bool high;
    struct zs_queue *watch; /* gets HIGH and LOW */
};
extern struct lib lib;

void lib_enter(void); /* takes the lock */
void lib_leave(void);
struct zs_domain *lib_domain(void); /* the engine, NULL none; not under the lock */
void lib_count(struct zs_domain *d, size_t offset, uint64_t n); /* adds to a counter of this client: offsetof(struct zs_client, ...) */
#define LIB_COUNT(d, field, n) lib_count(d, offsetof(struct zs_client, field), n)

/* ---- handles.c, under the lock ---- */
struct handle *handle_new(enum handle_kind kind);
void handle_drop(struct handle *h);
/* 0, or -EINVAL, -ESTALE, -EPERM. */
int handle_get(uint64_t id, enum handle_kind kind, struct handle **h);
enum handle_kind handle_kind_of(uint64_t id);
uint64_t handle_id(const struct handle *h);

/* ---- memory.c, under the lock ---- */
struct place {
    struct memory *memory;
    uint32_t segment, offset; /* as in struct zs_ref */
    uint8_t *data;
};
/* `size` bytes, page-aligned. -ENOBUFS, -ENOMEM; -EPIPE, -EPERM...: the engine cannot be asked for more. */
int memory_get(struct zs_domain *d, size_t size, struct place *place);
void memory_put(struct memory *m, uint32_t offset, size_t size);
void memory_forked(void); /* the child has none */
void memory_rest(void);   /* not under the lock: gives back what is empty */

/* ---- pieces.c, under the lock ---- */
/* A root on `len` bytes of a buffer at `offset`, and its piece; NULL: none is free. */
struct piece *piece_new(struct handle *buffer, struct op *op);
/* The hold was given to a stream for n bytes. */
void piece_lent(struct piece *p, size_t n);
void piece_cancel(struct piece *p);
void piece_done(struct piece *p);
void pieces_look(struct handle *buffer); /* those that are over are done with */
void pieces_look_at_all(void);
void held_add(size_t n);
void held_sub(size_t n);

/* ---- queue.c, under the lock ---- */
struct op *op_new(struct zs_queue *q, uint64_t cookie);
void op_settle(struct op *op); /* to its queue when it is complete */
int queue_slot(struct zs_queue *q, struct piece *p); /* -ENOBUFS */
void queue_event(struct zs_queue *q, const struct zs_event *event);

#endif
