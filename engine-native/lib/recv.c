/* SPDX-License-Identifier: BSD-3-Clause
 * zs_recv: takes over what is lent, copies what is not; and what was received goes back. */
#define _GNU_SOURCE
#include "lib.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define COPY_MIN 4096u
#define COPY_MAX ((size_t)256 << 10)
#define COPY_UNKNOWN ((size_t)64 << 10) /* nothing has come yet */

static void fill(struct handle *h, struct zs_segment *out, int reason)
{
    lib.segments++;
    *out = (struct zs_segment){.data = h->data, .len = h->size, .id = handle_id(h), .copied = reason};
}

/* ---- Copies ---- */

static size_t space_for(int fd)
{
    int n = 0;
    if (ioctl(fd, FIONREAD, &n) != 0 || n <= 0)
        return COPY_UNKNOWN;
    return (size_t)n < COPY_MIN ? COPY_MIN : (size_t)n > COPY_MAX ? COPY_MAX : (size_t)n;
}

/* 1, 0 end of the stream, negative errno. */
static int copy(int fd, struct handle *h, int flags, int reason, struct zs_segment *out)
{
    size_t space = space_for(fd);
    uint8_t *p = malloc(space);
    if (p == NULL)
        return -ENOMEM;
    ssize_t n = recv(fd, p, space, flags);
    int type = SOCK_STREAM;
    socklen_t len = sizeof type;
    int err = errno;
    bool empty = n == 0 && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type != SOCK_STREAM;
    if (n < 0 || (n == 0 && !empty)) {
        free(p);
        return n < 0 ? -err : 0;
    }
    if ((size_t)n < space / 2) {
        uint8_t *less = realloc(p, n > 0 ? (size_t)n : 1);
        p = less != NULL ? less : p;
    }
    lib_enter();
    h->data = h->heap = p;
    h->size = (size_t)n;
    fill(h, out, reason);
    lib_leave();
    return 1;
}

/* ---- Lent ---- */

static void place(struct handle *h, struct zs_domain *d, const struct zs_taken *t)
{
    h->segment = t->segment;
    h->offset = t->offset;
    h->data = (uint8_t *)(uintptr_t)t->data;
    h->size = t->len;
    h->domain = d;
    h->loan = t->loan;
    h->loan_gen = t->gen;
}

static int keep(struct handle *h, struct zs_domain *d, const struct zs_taken *t, struct zs_segment *out)
{
    uint8_t *heap = NULL;
    lib_enter();
    bool over = lib.held > lib.held_quota || t->len > lib.held_quota - lib.held;
    if (!over) {
        place(h, d, t);
        fill(h, out, ZS_COPY_NONE);
        held_add(t->len);
    }
    lib_leave();
    if (over && (heap = malloc(t->len)) != NULL)
        memcpy(heap, t->data, t->len);
    if (!over)
        return 1;
    /* Without memory the bytes would be lost: then the quota gives way. */
    lib_enter();
    if (heap == NULL) {
        place(h, d, t);
        held_add(t->len);
    } else {
        h->data = h->heap = heap;
        h->size = t->len;
        zs_loan_end(&d->view, t->loan, t->gen, ZS_HOLD_CLIENT(d->view.client));
    }
    fill(h, out, heap == NULL ? ZS_COPY_NONE : ZS_COPY_QUOTA);
    lib_leave();
    return 1;
}

/* One segment: 1, 0 end of the stream, negative errno. */
static int one(int fd, struct handle *h, int flags, struct zs_segment *out)
{
    struct zs_domain *d = NULL;
    for (;;) {
        struct zs_taken t;
        int r = lib.preload == NULL ? -ENOTSOCK : lib.preload->take(fd, &d, &t, flags);
        if (r == -ENOTSOCK)
            return copy(fd, h, flags, ZS_COPY_KERNEL, out);
        if (r > 0 && t.data != NULL) {
            r = keep(h, d, &t, out);
            if (out->copied == 0)
                LIB_COUNT(d, zc_in_lent, t.len);
            else
                LIB_COUNT(d, zc_in_copied, t.len);
            return r;
        }
        if (r <= 0)
            return r;
        r = copy(fd, h, flags | MSG_DONTWAIT, ZS_COPY_NOT_LENT, out);
        if (r > 0)
            LIB_COUNT(d, zc_in_copied, out->len);
        if (r != -EAGAIN) /* another thread was faster: wait again */
            return r;
    }
}

int zs_recv(int fd, struct zs_segment *segments, unsigned max, int flags, struct zs_report *report)
{
    struct zs_report sum = {0};
    int r = 1;
    unsigned n = 0;
    if (segments == NULL || max == 0 || (flags & ~MSG_DONTWAIT) != 0)
        return -EINVAL;
    while (n < max && r > 0) {
        lib_enter();
        struct handle *h = handle_new(H_SEGMENT);
        lib_leave();
        r = h == NULL ? -ENOMEM : one(fd, h, n == 0 ? flags : flags | MSG_DONTWAIT, &segments[n]);
        if (r > 0) {
            const struct zs_segment *s = &segments[n++];
            *(s->copied ? &sum.copied : &sum.lent) += s->len;
            if (sum.reason == ZS_COPY_NONE)
                sum.reason = s->copied;
        } else if (h != NULL) {
            lib_enter();
            handle_drop(h);
            lib_leave();
        }
    }
    if (report != NULL)
        *report = sum;
    return n > 0 ? (int)n : r;
}

/* ---- Back ---- */

static int release(const struct zs_segment *s, bool forgotten)
{
    struct handle *h;
    void *heap = NULL;
    struct zs_domain *d = NULL;
    lib_enter();
    int r = s == NULL ? -EINVAL : handle_get(s->id, H_SEGMENT, &h);
    if (r == 0) {
        heap = h->heap;
        d = h->domain;
        lib.segments--;
        lib.forgotten += forgotten;
        if (d != NULL) {
            zs_loan_end(&d->view, h->loan, h->loan_gen, ZS_HOLD_CLIENT(d->view.client));
            held_sub(h->size);
        }
        handle_drop(h);
    }
    lib_leave();
    free(heap);
    if (r == 0 && forgotten)
        LIB_COUNT(d, zc_forgotten, 1);
    return r;
}

int zs_segment_release(const struct zs_segment *s)
{
    return release(s, false);
}

int zs_segment_forgotten(const struct zs_segment *s)
{
    return release(s, true);
}
