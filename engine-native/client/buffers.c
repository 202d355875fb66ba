/* SPDX-License-Identifier: BSD-3-Clause
 * Segments of buffers as a program has them: its own, for writing, and those that something was lent to it from, for reading. */
#define _GNU_SOURCE
#include "buffers.h"

#include <sys/mman.h>

#include "sys.h"

static void close_fd(int fd)
{
    if (fd >= 0)
        zs_sys(SYS_close, fd);
}

/* Lets go of what is no more; nothing of that is held by anybody. The arena tells where to look, the engine decides: what others
 * scribble there takes nothing away that is held here. */
static void sweep(struct zs_domain *d)
{
    for (uint32_t i = 0; i < d->mapped_top; i++) {
        struct zs_mapped *m = &d->view.mapped[i];
        uint32_t have = atomic_load_explicit(&m->segment, memory_order_relaxed);
        if (have != 0 && !m->own && atomic_load(&d->view.arena->header.buffers[i]) != have &&
            zs_rpc2(d, ZS_CTL_BUFFERS_OVER, have, 0, -1, NULL, NULL) == 0)
            zs_mapped_drop(m);
    }
}

static int put(struct zs_domain *d, uint32_t segment, int fd, uint64_t size, bool own)
{
    uint32_t i = ZS_SEGMENT_INDEX(segment);
    struct zs_mapped *m = &d->view.mapped[i];
    int64_t room = m->base == NULL ? ZS_MAPPED_SPACE : 0;
    m->sparse = d->view.locked;
    zs_domain_mapped(d, room);
    int r = zs_mapped_put(m, segment, fd, size, own);
    if (r < 0)
        zs_domain_mapped(d, -room);
    if (r == 0 && i >= d->mapped_top)
        d->mapped_top = i + 1;
    return r;
}

int zs_buffers_new(struct zs_domain *d, uint64_t size, struct zs_mapped **out)
{
    struct zs_ctl_reply reply = {0};
    int fd = -1;
    zs_lock(&d->view, &d->map_lock, false);
    int r = zs_rpc2(d, ZS_CTL_BUFFERS_NEW, (uint32_t)size, 0, -1, &reply, &fd);
    struct zs_mapped *m = &d->view.mapped[ZS_SEGMENT_INDEX(reply.a)];
    bool given = r == 0;
    if (given)
        r = fd < 0 ? -ENOBUFS : put(d, reply.a, fd, size, true); /* no descriptor is left to receive it */
    close_fd(fd);
    if (r == 0 && (r = zs_rpc2(d, ZS_CTL_BUFFERS_READY, reply.a, 0, -1, NULL, NULL)) < 0) {
        m->own = false;
        zs_mapped_drop(m);
    }
    if (given && r < 0)
        zs_rpc2(d, ZS_CTL_BUFFERS_END, reply.a, 0, -1, NULL, NULL);
    zs_unlock(&d->view, &d->map_lock);
    *out = m;
    return r;
}

int zs_buffers_end(struct zs_domain *d, struct zs_mapped *m)
{
    zs_lock(&d->view, &d->map_lock, false);
    int r = zs_rpc2(d, ZS_CTL_BUFFERS_END, atomic_load(&m->segment), 0, -1, NULL, NULL);
    if (r == -EPIPE) /* nobody else is there to say when it ends */
        r = 0;
    if (r == 0) {
        m->own = false;
        zs_mapped_drop(m);
    }
    zs_unlock(&d->view, &d->map_lock);
    return r;
}

/* Asks for the segment of a hold; the socket proves what the arena does not tell: that a session which another process opened
 * is this one's, too. */
static int fetch(struct zs_domain *d, const struct zs_ref *ref, uint32_t session, struct zs_ctl_reply *reply, int *fd)
{
    int r = zs_rpc2(d, ZS_CTL_BUFFERS_MAP, ref->loan - 1, ref->loan_gen, -1, reply, fd);
    if (r != -EACCES || d->host->socket_of == NULL)
        return r;
    int socket = d->host->socket_of(d, session);
    return socket < 0 ? r : zs_rpc2(d, ZS_CTL_BUFFERS_MAP, ref->loan - 1, ref->loan_gen, socket, reply, fd);
}

static int map(struct zs_domain *d, const struct zs_ref *ref, uint32_t session)
{
    struct zs_ctl_reply reply;
    int fd = -1;
    sweep(d);
    int r = fetch(d, ref, session, &reply, &fd);
    if (r == 0 && reply.a != ref->segment)
        r = -EPROTO;
    else if (r == 0 && fd < 0)
        r = -ENOBUFS; /* no descriptor is left to receive it */
    else if (r == 0)
        r = reply.b <= ZS_BUFFERS_MAX ? put(d, ref->segment, fd, reply.b, false) : -EPROTO;
    close_fd(fd);
    if (r == -EMFILE)
        r = -ENOBUFS;
    return r == 0 ? 0 : r == -ENOBUFS || r == -ENOMEM ? -ENOBUFS : -EPROTO;
}

int zs_buffers_map(struct zs_view *v, const struct zs_ref *ref, uint32_t session)
{
    struct zs_domain *d = (struct zs_domain *)v;
    struct zs_mapped *m = &v->mapped[ZS_SEGMENT_INDEX(ref->segment)];
    zs_lock(v, &d->map_lock, false);
    /* Another thread was faster; or somebody names a generation of this process' own segment that is none. */
    int r = atomic_load(&m->segment) == ref->segment ? 0 : m->own ? -EPROTO : map(d, ref, session);
    zs_unlock(v, &d->map_lock);
    return r;
}

void zs_buffers_rest(struct zs_domain *d)
{
    if (d->mapped_top == 0 || !zs_lock(&d->view, &d->map_lock, true))
        return;
    sweep(d);
    zs_unlock(&d->view, &d->map_lock);
}

void zs_buffers_forked(struct zs_domain *d)
{
    atomic_store(&d->map_lock, 0);
    for (uint32_t i = 0; i < d->mapped_top; i++)
        if (d->view.mapped[i].own) {
            d->view.mapped[i].own = false;
            if (!d->view.confined) /* a filter may forbid it */
                zs_sys(SYS_mprotect, d->view.mapped[i].base, d->view.mapped[i].size, PROT_READ);
        }
}
