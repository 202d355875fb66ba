/* SPDX-License-Identifier: BSD-3-Clause
 * See capring.h. */
#define _GNU_SOURCE
#include "capring.h"
#include "sys.h"

#include <time.h>

#define PATIENCE 500u /* naps: the engine looks at least every 20 ms */
#define NAP_NS 100000

static uint64_t align(uint64_t n)
{
    return (n + ZS_CAP_ALIGN - 1) & ~(uint64_t)(ZS_CAP_ALIGN - 1);
}

/* n bytes of iov from `skip` on, in one piece. */
static void gather(uint8_t *to, const struct iovec *iov, size_t skip, uint64_t n)
{
    for (; n > 0; iov++) {
        size_t have = iov->iov_len > skip ? iov->iov_len - skip : 0;
        size_t take = have < n ? have : n;
        if (take > 0)
            memcpy(to, (const uint8_t *)iov->iov_base + skip, take);
        skip -= skip < iov->iov_len ? skip : iov->iov_len;
        to += take;
        n -= take;
    }
}

/* ---- Writers ---- */

/* With the lock held. False: no room. */
static bool put(struct zs_capture *c, const struct zs_capture_record *rec, const struct iovec *iov, size_t skip)
{
    struct timespec t;
    uint64_t tail = atomic_load_explicit(&c->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&c->head, memory_order_acquire); /* with zs_capture_take */
    uint64_t at = tail % ZS_CAP_RING, left = ZS_CAP_RING - at, skipped = left < rec->size ? left : 0;
    if (tail - head > ZS_CAP_RING || ZS_CAP_RING - (tail - head) < skipped + rec->size || at % ZS_CAP_ALIGN != 0)
        return false;
    if (skipped != 0) {
        struct zs_capture_record *gap = (struct zs_capture_record *)(c->data + at);
        gap->size = (uint32_t)skipped;
        gap->kind = ZS_CAP_SKIP;
        at = 0;
    }
    struct zs_capture_record *to = (struct zs_capture_record *)(c->data + at);
    *to = *rec;
    clock_gettime(CLOCK_REALTIME, &t); /* here: records are in the order of their times */
    to->time_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    if (rec->kept > 0)
        gather((uint8_t *)(to + 1), iov, skip, rec->kept);
    atomic_store_explicit(&c->tail, tail + skipped + rec->size, memory_order_release); /* with zs_capture_take */
    return true;
}

/* A program that sends faster than the file is written waits, for a file without gaps is worth that; not for an engine that
 * does not read at all. Neither may the engine itself wait, nor a process whose filter may forbid it. */
static void write_down(struct zs_view *v, struct zs_capture_record *rec, const struct iovec *iov, size_t skip)
{
    struct zs_capture *c = &v->arena->capture;
    const struct timespec nap = {.tv_nsec = NAP_NS};
    rec->size = (uint32_t)align(sizeof *rec + rec->kept);
    for (uint32_t round = 0; round < PATIENCE && zs_capturing(v); round++) {
        if (zs_lock(v, &c->lock, true)) {
            bool done = put(c, rec, iov, skip);
            zs_unlock(v, &c->lock);
            if (done)
                return;
        }
        if (v->client == ZS_CLIENT_ENGINE || v->confined || atomic_load(&c->stalled))
            break;
        zs_sys(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &nap, NULL); /* no cancellation point: locks are held */
    }
    if (!zs_capturing(v))
        return;
    if (v->client != ZS_CLIENT_ENGINE)
        atomic_store(&c->stalled, 1);
    atomic_fetch_add(&c->dropped, 1);
}

static void sign(const struct zs_view *v, struct zs_capture_record *rec)
{
    if (v->stats == NULL)
        return;
    rec->pid = atomic_load_explicit(&v->stats->pid, memory_order_relaxed);
    memcpy(rec->name, v->stats->name, sizeof rec->name);
}

static bool inside_host(const struct zs_session *s, const struct zs_session *peer)
{
    uint32_t flags = atomic_load_explicit(&s->flags, memory_order_relaxed) |
                     atomic_load_explicit(&peer->flags, memory_order_relaxed);
    return s->kind == ZS_KIND_TCP && !(flags & ZS_F_WIRE);
}

/* What `s` does in the direction that ends in `peer`. */
static struct zs_capture_record record(struct zs_view *v, const struct zs_session *s, const struct zs_session *peer, uint32_t kind)
{
    struct zs_capture_record rec = {
        .kind = kind, .session = zs_session_index(v, s), .gen = atomic_load(&s->gen), .peer = zs_session_index(v, peer),
        .peer_gen = atomic_load(&peer->gen), .listener = ZS_NO_SESSION, .pos = atomic_load(&peer->rx_prod.tail),
        .taken = atomic_load(&peer->rx_cons.head), .got = atomic_load(&s->rx_cons.head), .from = s->local, .to = s->remote};
    sign(v, &rec);
    return rec;
}

void zs_capture_data(struct zs_view *v, struct zs_session *rx, const struct iovec *iov, size_t skip, uint64_t n)
{
    const struct zs_session *s = zs_session_peer(v, rx);
    uint32_t most = atomic_load_explicit(&v->arena->header.capture, memory_order_relaxed);
    if (s == NULL || !inside_host(s, rx))
        return;
    struct zs_capture_record rec = record(v, s, rx, ZS_CAP_DATA);
    uint64_t urgent = atomic_load(&rx->rx_prod.urgent);
    for (uint64_t done = 0; done < n; done += rec.len) {
        rec.len = (uint32_t)(n - done < ZS_CAP_PIECE ? n - done : ZS_CAP_PIECE);
        rec.kept = rec.len < most ? rec.len : most;
        rec.urgent = urgent != 0 && ZS_URGENT_POS(urgent) - rec.pos < rec.len ? (uint32_t)(ZS_URGENT_POS(urgent) - rec.pos) + 1 : 0;
        write_down(v, &rec, iov, skip + done);
        rec.pos += rec.len;
    }
}

void zs_capture_event(struct zs_view *v, struct zs_session *s, enum zs_capture_kind kind, uint32_t listener)
{
    const struct zs_session *peer = zs_session_peer(v, s);
    if (peer == NULL || !inside_host(s, peer))
        return;
    struct zs_capture_record rec = record(v, s, peer, kind);
    rec.listener = listener;
    write_down(v, &rec, NULL, 0);
}

void zs_capture_datagram(struct zs_view *v, const struct zs_session *to, const struct zs_udp_record *udp, const struct iovec *iov)
{
    uint32_t most = atomic_load_explicit(&v->arena->header.capture, memory_order_relaxed);
    struct zs_capture_record rec = {.kind = ZS_CAP_DATAGRAM, .session = ZS_NO_SESSION, .peer = ZS_NO_SESSION,
                                    .listener = zs_session_index(v, to), .len = udp->len, .from = udp->from, .to = udp->to};
    rec.kept = rec.len < most ? rec.len : most;
    sign(v, &rec);
    write_down(v, &rec, iov, 0);
}

/* ---- The engine ---- */

int zs_capture_take(struct zs_view *v, struct zs_capture_record *rec, uint8_t *data)
{
    struct zs_capture *c = &v->arena->capture;
    uint64_t head = atomic_load_explicit(&c->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&c->tail, memory_order_acquire); /* with put() */
    while (head != tail) {
        uint64_t at = head % ZS_CAP_RING, whole = tail - head;
        if (whole > ZS_CAP_RING || at % ZS_CAP_ALIGN != 0)
            break;
        const struct zs_capture_record *from = (const struct zs_capture_record *)(c->data + at);
        const volatile uint32_t *head_words = (const volatile uint32_t *)from; /* the first two are all that a skip has */
        uint32_t size = head_words[0], kind = head_words[1];
        if (size < ZS_CAP_ALIGN || size % ZS_CAP_ALIGN != 0 || size > whole || size > ZS_CAP_RING - at)
            break;
        head += size;
        if (kind != ZS_CAP_SKIP) {
            if (size < sizeof *rec || size > ZS_CAP_RECORD_MAX)
                break;
            memcpy(rec, from, sizeof *rec);
            if (rec->kept > size - sizeof *rec || rec->kept > 65536 || rec->kept > rec->len)
                break;
            memcpy(data, from + 1, rec->kept);
        }
        atomic_store_explicit(&c->head, head, memory_order_release); /* with put() */
        atomic_store_explicit(&c->stalled, 0, memory_order_relaxed);
        if (kind != ZS_CAP_SKIP)
            return 1;
    }
    if (head == tail)
        return 0;
    atomic_store(&c->head, tail & ~(uint64_t)(ZS_CAP_ALIGN - 1)); /* at a record's beginning again with the next one */
    atomic_store(&c->tail, tail & ~(uint64_t)(ZS_CAP_ALIGN - 1));
    return -EPROTO;
}
