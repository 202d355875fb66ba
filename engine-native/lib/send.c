/* SPDX-License-Identifier: BSD-3-Clause
 * zs_send: each piece is lent where that is possible, and copied by sendmsg(2) where not. */
#define _GNU_SOURCE
#include "lib.h"

#include <stdlib.h>
#include <sys/socket.h>

#define COPIES_MAX ZS_IOV_MAX /* pieces that one sendmsg takes */

struct sending {
    int fd, flags;
    const struct zs_iov *iov;
    unsigned count;
    struct zs_report report;
    struct op *op;
    bool kernel; /* the socket turned out to be the kernel's */
};

/* ---- Before anything is sent ---- */

static int check_piece(const struct zs_iov *v)
{
    struct handle *h;
    if (v->len > 0 && v->base == NULL)
        return -EINVAL;
    if (v->id == 0)
        return 0;
    int r = handle_get(v->id, handle_kind_of(v->id) == H_SEGMENT ? H_SEGMENT : H_BUFFER, &h);
    if (r < 0)
        return r;
    const uint8_t *at = v->base;
    if (at < h->data || (size_t)(at - h->data) > h->size || v->len > h->size - (size_t)(at - h->data))
        return -EINVAL;
    if (h->kind == H_BUFFER && !h->shared) {
        pieces_look(h);
        if (h->pieces != NULL)
            return -EBUSY;
    }
    return 0;
}

static int check(const struct zs_iov *iov, unsigned count, const struct zs_queue *q)
{
    int r = q != NULL && q->process != lib.process ? -EPERM : 0;
    for (unsigned i = 0; r == 0 && i < count; i++)
        r = check_piece(&iov[i]);
    return r;
}

/* ---- Lending ---- */

static void copied_because(struct sending *s, int reason)
{
    if (s->report.reason == ZS_COPY_NONE)
        s->report.reason = reason;
}

/* Makes the hold for `len` bytes at `at`. 0, or why it cannot be. */
static int prepare(struct sending *s, uint64_t id, const uint8_t *at, size_t len, struct zs_ref *ref, struct piece **piece,
                   struct zs_domain **d)
{
    struct handle *h;
    *piece = NULL;
    if (s->kernel)
        return ZS_COPY_KERNEL;
    if (len < ZS_LEND_MIN)
        return ZS_COPY_SMALL;
    if (handle_get(id, handle_kind_of(id), &h) < 0)
        return ZS_COPY_MEMORY;
    if (h->domain == NULL || (s->op != NULL && s->op->queue->wait.d != h->domain))
        return ZS_COPY_ENGINE;
    if (lib.lent > lib.lent_quota || len > lib.lent_quota - lib.lent)
        pieces_look_at_all();
    if (lib.lent > lib.lent_quota || len > lib.lent_quota - lib.lent)
        return ZS_COPY_QUOTA;
    uint32_t offset = h->offset + (uint32_t)(at - h->data);
    struct zs_view *v = &h->domain->view;
    int64_t loan;
    if (h->kind == H_BUFFER) {
        *piece = piece_new(h, s->op);
        loan = *piece == NULL ? -ENOBUFS : (int64_t)(*piece)->loan;
    } else {
        loan = zs_loan_again(v, h->loan, h->loan_gen);
    }
    if (loan < 0)
        return ZS_COPY_NO_REFERENCE;
    *d = h->domain;
    *ref = (struct zs_ref){.segment = h->segment, .offset = offset, .len = (uint32_t)len,
                           .loan = (uint32_t)loan + 1, .loan_gen = atomic_load(&v->arena->loan[loan].gen)};
    return 0;
}

/* What came of it: bytes lent, or the hold is taken back. */
static void settle(struct zs_domain *d, const struct zs_ref *ref, struct piece *piece, int64_t n)
{
    bool given = n > 0 && !zs_loan_end(&d->view, ref->loan - 1, ref->loan_gen, 0);
    if (piece != NULL && given)
        piece_lent(piece, (size_t)n);
    else if (piece != NULL)
        piece_cancel(piece); /* the end of its hold is idempotent */
    else if (n <= 0)
        zs_loan_end(&d->view, ref->loan - 1, ref->loan_gen, 0);
    if (given)
        LIB_COUNT(d, zc_out_lent, (uint64_t)n);
}

/* Bytes lent; 0: copy, *why; negative: what send(2) would say. */
static int64_t lend(struct sending *s, uint64_t id, const uint8_t *at, size_t len, int *why)
{
    struct zs_ref ref;
    struct piece *piece;
    struct zs_domain *d = NULL;
    lib_enter();
    *why = prepare(s, id, at, len, &ref, &piece, &d);
    lib_leave();
    if (*why != 0)
        return 0;
    int64_t n = lib.preload->lend(s->fd, d, &ref, ZS_LEND_MIN, s->flags);
    lib_enter();
    settle(d, &ref, piece, n);
    lib_leave();
    if (n != -ENOTSOCK && n != -EXDEV && n != -ENOBUFS)
        return n;
    *why = n == -ENOTSOCK ? ZS_COPY_KERNEL : n == -EXDEV ? ZS_COPY_ENGINE : ZS_COPY_NO_REFERENCE;
    s->kernel = s->kernel || n == -ENOTSOCK;
    return 0;
}

/* ---- Copying ---- */

static int64_t copy(struct sending *s, struct iovec *iov, size_t n, bool more)
{
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n};
    ssize_t r = sendmsg(s->fd, &msg, s->flags | MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    return r < 0 ? -errno : r;
}

/* Pieces from *i on, `skip` bytes into the first, as far as they are not to be lent. */
static size_t gather(struct sending *s, unsigned i, size_t skip, struct iovec *iov)
{
    size_t n = 0;
    for (; i < s->count && n < COPIES_MAX; i++, skip = 0) {
        const struct zs_iov *v = &s->iov[i];
        if (n > 0 && v->id != 0 && v->len >= ZS_LEND_MIN && !s->kernel)
            break;
        iov[n++] = (struct iovec){(char *)(uintptr_t)v->base + skip, v->len - skip};
    }
    return n;
}

static void finish(struct sending *s, size_t done)
{
    if (s->op == NULL)
        return;
    lib_enter();
    s->op->going = false;
    s->op->event.lent = s->report.lent;
    s->op->event.copied = s->report.copied;
    s->op->event.reason = s->report.reason;
    if (done > 0 || s->op->left > 0)
        op_settle(s->op);
    else
        free(s->op); /* nothing was sent: the caller knows from the result */
    lib_leave();
}

/* n bytes on from *skip bytes into piece *i; empty pieces are passed over. */
static void advance(const struct sending *s, unsigned *i, size_t *skip, size_t n)
{
    *skip += n;
    while (*i < s->count && *skip >= s->iov[*i].len)
        *skip -= s->iov[(*i)++].len;
}

static ssize_t send_pieces(struct sending *s)
{
    size_t done = 0, skip = 0;
    int64_t r = 0;
    unsigned i = 0;
    advance(s, &i, &skip, 0);
    if (i == s->count) {
        struct iovec none = {0};
        return copy(s, &none, 1, false);
    }
    while (i < s->count) {
        const struct zs_iov *v = &s->iov[i];
        int why = ZS_COPY_MEMORY;
        r = v->id == 0 ? 0 : lend(s, v->id, (const uint8_t *)v->base + skip, v->len - skip, &why);
        if (r > 0) {
            s->report.lent += (size_t)r;
        } else if (r == 0) {
            struct iovec iov[COPIES_MAX];
            size_t n = gather(s, i, skip, iov);
            r = copy(s, iov, n, i + n < s->count);
            if (r > 0) {
                s->report.copied += (size_t)r;
                copied_because(s, s->kernel ? ZS_COPY_KERNEL : why);
            }
        }
        if (r <= 0)
            break;
        done += (size_t)r;
        advance(s, &i, &skip, (size_t)r);
    }
    return done == 0 && r < 0 ? (ssize_t)r : (ssize_t)done;
}

ssize_t zs_send(int fd, const struct zs_iov *iov, unsigned count, int flags, struct zs_queue *q, uint64_t cookie,
                struct zs_report *report)
{
    struct sending s = {.fd = fd, .flags = flags, .iov = iov, .count = count};
    if (count > ZS_IOV_MAX || (count > 0 && iov == NULL) || (flags & ~(MSG_DONTWAIT | MSG_MORE | MSG_NOSIGNAL)) != 0)
        return -EINVAL;
    struct zs_if_info info = {0};
    lib_enter();
    if (lib.preload != NULL)
        lib.preload->info(fd, &info);
    s.kernel = info.domain == NULL;
    int r = check(iov, count, q);
    if (r == 0 && q != NULL && (s.op = op_new(q, cookie)) == NULL)
        r = -ENOMEM;
    lib_leave();
    if (r < 0)
        return r;
    ssize_t n = send_pieces(&s);
    finish(&s, n > 0 ? (size_t)n : 0);
    LIB_COUNT(info.domain, zc_out_copied, s.report.copied);
    if (report != NULL)
        *report = s.report;
    return n;
}
