/* SPDX-License-Identifier: BSD-3-Clause
 * Buffers, and the pieces of them that are lent out. */
#define _GNU_SOURCE
#include "lib.h"

#include <stdlib.h>
#include <string.h>

/* ---- Pieces ---- */

struct piece *piece_new(struct handle *b, struct op *op)
{
    struct zs_view *v = &b->domain->view;
    struct piece *p = calloc(1, sizeof *p);
    int64_t loan = p == NULL ? -1 : zs_loan_new(v, b->segment);
    if (loan < 0) {
        free(p);
        return NULL;
    }
    struct zs_loan *l = &v->arena->loan[loan];
    p->domain = b->domain;
    p->loan = (uint32_t)loan;
    p->gen = atomic_load(&l->gen);
    p->op = op;
    p->prev = &b->pieces;
    p->next = b->pieces;
    if (p->next != NULL)
        p->next->prev = &p->next;
    b->pieces = p;
    if (op != NULL) {
        int slot = queue_slot(op->queue, p);
        if (slot < 0) {
            p->op = NULL;
            piece_cancel(p);
            return NULL;
        }
        p->slot = (uint32_t)slot;
        op->left++;
        l->waiter = op->queue->wait.index;
        l->waiter_gen = op->queue->wait.gen;
        l->slot = p->slot;
    }
    return p;
}

void piece_lent(struct piece *p, size_t n)
{
    p->len = n;
    lib.lent += n;
}

static void piece_forget(struct piece *p)
{
    *p->prev = p->next;
    if (p->next != NULL)
        p->next->prev = p->prev;
    zs_loan_free(&p->domain->view, p->loan);
    lib.lent -= p->len;
    if (p->op != NULL) {
        struct zs_queue *q = p->op->queue;
        q->slots[p->slot] = NULL;
        q->free_slots[q->nfree++] = p->slot;
        p->op->left--;
    }
}

void piece_cancel(struct piece *p)
{
    zs_loan_end(&p->domain->view, p->loan, p->gen, 0);
    piece_forget(p);
    free(p);
}

void piece_done(struct piece *p)
{
    struct op *op = p->op;
    piece_forget(p);
    free(p);
    if (op != NULL)
        op_settle(op);
}

void pieces_look(struct handle *b)
{
    struct piece *p, *next;
    for (p = b->pieces; p != NULL; p = next) {
        next = p->next;
        if (zs_loan_over(&p->domain->view, p->loan, p->gen))
            piece_done(p);
    }
}

void pieces_look_at_all(void)
{
    for (uint32_t c = 0; c < lib.chunks; c++) {
        for (uint32_t i = 0; i < HANDLE_CHUNK; i++) {
            struct handle *h = &lib.chunk[c][i];
            if (h->kind == H_BUFFER && h->process == lib.process)
                pieces_look(h);
        }
    }
}

/* ---- Quota of what was received ---- */

static void watermark(int type)
{
    const struct zs_event e = {.type = type, .lent = lib.held, .copied = lib.held_quota};
    if (lib.watch != NULL)
        queue_event(lib.watch, &e);
}

void held_add(size_t n)
{
    lib.held += n;
    if (!lib.high && lib.held >= lib.held_quota - lib.held_quota / 4) {
        lib.high = true;
        watermark(ZS_EVENT_HIGH);
    }
}

void held_sub(size_t n)
{
    lib.held -= n;
    if (lib.high && lib.held <= lib.held_quota / 2) {
        lib.high = false;
        watermark(ZS_EVENT_LOW);
    }
}

/* ---- Buffers ---- */

int zs_buffer_alloc(struct zs_buffer *out, size_t size, unsigned flags)
{
    if (out == NULL || size == 0 || size > ZS_BUFFER_MAX || (flags & ~ZS_SHARED) != 0)
        return -EINVAL;
    struct zs_domain *d = lib_domain();
    struct place p = {0};
    lib_enter();
    struct handle *h = handle_new(H_BUFFER);
    int r = h == NULL ? -ENOMEM : d == NULL ? -EPIPE : memory_get(d, size, &p);
    if (h != NULL && r < 0 && r != -ENOBUFS && r != -ENOMEM) { /* no engine, or it is not to be asked */
        d = NULL;
        void *heap = NULL;
        r = posix_memalign(&heap, ZS_BUFFER_ALIGN, size) != 0 ? -ENOMEM : 0;
        p.data = h->heap = heap;
    }
    if (r == 0) {
        h->shared = (flags & ZS_SHARED) != 0;
        h->size = size;
        h->domain = d;
        h->memory = p.memory;
        h->segment = p.segment;
        h->offset = p.offset;
        h->data = p.data;
        *out = (struct zs_buffer){h->data, size, handle_id(h)};
    } else if (h != NULL) {
        handle_drop(h);
    }
    lib_leave();
    return r;
}

static int buffer_get(const struct zs_buffer *b, struct handle **h)
{
    int r = b == NULL ? -EINVAL : handle_get(b->id, H_BUFFER, h);
    if (r == 0)
        pieces_look(*h);
    return r;
}

int zs_buffer_free(const struct zs_buffer *b)
{
    struct handle *h;
    void *heap = NULL;
    lib_enter();
    int r = buffer_get(b, &h);
    if (r == 0 && h->pieces != NULL)
        r = -EBUSY;
    if (r == 0) {
        heap = h->heap;
        if (h->memory != NULL)
            memory_put(h->memory, h->offset, h->size);
        handle_drop(h);
    }
    lib_leave();
    free(heap);
    return r;
}

int zs_buffer_busy(const struct zs_buffer *b)
{
    struct handle *h;
    lib_enter();
    int r = buffer_get(b, &h);
    if (r == 0)
        r = h->pieces != NULL;
    lib_leave();
    return r;
}
