/* SPDX-License-Identifier: BSD-3-Clause
 * Segments of buffers: memory that one program writes, and others read once something of it was lent to them. The kernel keeps to
 * that: a segment is sealed (F_SEAL_FUTURE_WRITE) before anybody but its owner gets it, so that its owner's mapping is the only one
 * for writing that there will ever be. The engine has all of them mapped for reading, since it sends from there.
 *
 * Who holds what is in the loan table, which lies in the arena: a program that forges records there is granted what they say. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define EACH_MAX 1024u /* of one program: each takes a descriptor of the engine's */

static uint32_t name_of(const struct engine *e, uint32_t i)
{
    return ZS_SEGMENT_BUFFERS(i, e->segments[i].gen);
}

/* The segment of that name; NULL: there is none. */
static struct segment *segment_at(struct engine *e, uint32_t name)
{
    struct segment *s = &e->segments[ZS_SEGMENT_INDEX(name)];
    return ZS_SEGMENT_TYPE(name) == ZS_SEGMENT_BUF && s->owner != 0 && name_of(e, ZS_SEGMENT_INDEX(name)) == name ? s : NULL;
}

/* ---- Beginning and end ---- */

static int make_file(uint64_t size)
{
    int fd = memfd_create("zstack-buffers", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && (ftruncate(fd, (off_t)size) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* As zs_block_alloc: a quarter of the limit is for the smallest blocks of the rings. */
static bool charge(struct engine *e, uint64_t size)
{
    _Atomic uint64_t *sum = &e->view.arena->header.mem_used, *peak = &e->view.arena->header.mem_peak;
    int64_t now = (int64_t)(atomic_fetch_add(sum, size) + size), limit = (int64_t)e->view.mem_limit;
    if (now > limit - limit / 4) {
        atomic_fetch_sub(sum, size);
        return false;
    }
    if (now > (int64_t)atomic_load(peak))
        atomic_store(peak, (uint64_t)now);
    e->segment_bytes += size;
    return true;
}

int segment_new(struct engine *e, const struct client *c, uint32_t size, struct zs_ctl_reply *reply, int *fd)
{
    uint32_t i = e->segment_cursor, tries = 0;
    if (size < ZS_BUFFERS_MIN || size > ZS_BUFFERS_MAX || (size & (size - 1)) != 0)
        return -EINVAL;
    /* Round and round: a generation is the same again only after ZS_SEGMENT_GEN_MAX segments of one number. */
    while (e->segments[i].owner != 0 && tries++ < ZS_MAX_SEGMENTS)
        i = (i + 1) % ZS_MAX_SEGMENTS;
    struct segment *s = &e->segments[i];
    if (s->owner != 0 || segments_use(e, c->id).count >= EACH_MAX || !charge(e, size))
        return -ENOBUFS;
    int file = make_file(size);
    if (file < 0) {
        atomic_fetch_sub(&e->view.arena->header.mem_used, size);
        e->segment_bytes -= size;
        return -ENOMEM;
    }
    e->segment_cursor = (i + 1) % ZS_MAX_SEGMENTS;
    *s = (struct segment){.owner = c->id, .gen = s->gen % ZS_SEGMENT_GEN_MAX + 1, .size = size, .fd = file};
    reply->a = name_of(e, i);
    *fd = file;
    return 0;
}

int segment_ready(struct engine *e, const struct client *c, uint32_t name)
{
    struct segment *s = segment_at(e, name);
    uint32_t i = ZS_SEGMENT_INDEX(name);
    if (s == NULL || s->ready)
        return -ESTALE;
    if (s->owner != c->id)
        return -EPERM;
    if (fcntl(s->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0)
        return -errno;
    int err = zs_mapped_put(&e->mapped[i], name, s->fd, s->size, false);
    if (err < 0)
        return err;
    madvise(e->mapped[i].base, s->size, MADV_HUGEPAGE);
    madvise(e->mapped[i].base, s->size, MADV_DONTDUMP);
    s->ready = true;
    atomic_store(&e->view.arena->header.buffers[i], name);
    return 0;
}

/* Nobody holds anything of it, and packets that refer to it were sent. */
static void segment_free(struct engine *e, uint32_t i)
{
    struct segment *s = &e->segments[i];
    zs_mapped_drop(&e->mapped[i]);
    atomic_store(&e->view.arena->header.buffers[i], 0);
    close(s->fd);
    atomic_fetch_sub(&e->view.arena->header.mem_used, s->size);
    e->segment_bytes -= s->size;
    *s = (struct segment){.gen = s->gen, .fd = -1};
}

int segment_end(struct engine *e, const struct client *c, uint32_t name)
{
    struct segment *s = segment_at(e, name);
    if (s == NULL)
        return -ESTALE;
    if (s->owner != c->id)
        return -EPERM;
    if (reap_segment_lent(e, name))
        return -EBUSY;
    segment_free(e, ZS_SEGMENT_INDEX(name));
    return 0;
}

bool segment_over(struct engine *e, uint32_t name)
{
    return segment_at(e, name) == NULL;
}

void segments_reap(struct engine *e)
{
    for (uint32_t i = 0; i < ZS_MAX_SEGMENTS; i++) {
        if (!owner_dead(e, e->segments[i].owner) || reap_segment_lent(e, name_of(e, i)))
            continue;
        segment_free(e, i);
        COUNT(e, SEGMENTS_RECLAIMED);
    }
}

void segments_close(struct engine *e)
{
    for (uint32_t i = 0; i < ZS_MAX_SEGMENTS; i++) {
        if (e->segments[i].owner != 0)
            close(e->segments[i].fd);
        if (e->mapped[i].base != NULL)
            munmap(e->mapped[i].base, ZS_BUFFERS_MAX);
        e->segments[i].owner = 0;
        e->mapped[i] = (struct zs_mapped){0};
    }
    e->segment_bytes = 0;
}

/* ---- Who may read ---- */

/* Whether a hold is the client's: its own, or that of a session which it owns, or has the socket of. */
static bool entitled(struct engine *e, const struct client *c, uint64_t holder, int socket)
{
    if (ZS_HOLD_IS_CLIENT(holder))
        return (uint32_t)holder == c->id;
    if (!ZS_HOLD_IS_SESSION(holder))
        return false;
    uint32_t index = ZS_HOLD_INDEX(holder), gen = (uint32_t)holder;
    const struct zs_session *s = zs_session_at(&e->view, index);
    if (s == NULL || atomic_load(&s->gen) != gen)
        return false;
    const struct tracked *t = endpoint_of_socket(e, socket);
    return atomic_load(&s->owner) == c->id || (t != NULL && t->session == index && t->gen == gen);
}

int segment_grant(struct engine *e, const struct client *c, uint32_t loan, uint32_t gen, int socket, struct zs_ctl_reply *reply,
                  int *fd)
{
    const struct zs_loan *l = loan < ZS_MAX_LOANS ? &e->view.arena->loan[loan] : NULL;
    if (l == NULL || atomic_load(&l->gen) != gen || !entitled(e, c, atomic_load(&l->holder), socket))
        return -EACCES;
    /* Passed on by a proxy or not: the memory is that of who lent it first. */
    uint32_t name = l->segment, root = l->root;
    const struct zs_loan *r = root < ZS_MAX_LOANS ? &e->view.arena->loan[root] : NULL;
    const struct segment *s = segment_at(e, name);
    if (s == NULL || !s->ready)
        return -ENOENT;
    if (r == NULL || atomic_load(&r->gen) != l->root_gen || r->segment != name || atomic_load(&r->owner) != s->owner)
        return -EACCES;
    reply->a = name;
    reply->b = (uint32_t)s->size;
    *fd = s->fd;
    return 0;
}

/* ---- Figures ---- */

struct segment_use segments_use(const struct engine *e, uint32_t owner)
{
    struct segment_use use = {0};
    for (uint32_t i = 0; i < ZS_MAX_SEGMENTS; i++) {
        const struct segment *s = &e->segments[i];
        struct stat st;
        if (s->owner == 0 || (owner != 0 && s->owner != owner))
            continue;
        use.count++;
        use.bytes += s->size;
        use.resident += fstat(s->fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
    }
    return use;
}
