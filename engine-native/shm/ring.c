/* SPDX-License-Identifier: BSD-3-Clause
 * Byte rings: see ring.h and the layout of directions in zstack/shm.h. Each acquire names the release it pairs with. */
#include "ring.h"
#include "capring.h"
#include "ref.h"

#include <limits.h>

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Copies between iov (from `skip` on) and a ring at `pos`; `to_ring` gives the direction. The ring has room/data for n. */
static void ring_copy(uint8_t *data, uint64_t size, uint64_t pos, const struct iovec *iov, size_t skip, uint64_t n,
                      bool to_ring)
{
    while (skip >= iov->iov_len) {
        skip -= iov->iov_len;
        iov++;
        if (n == 0)
            return;
    }
    while (n > 0) {
        uint64_t at = pos & (size - 1);
        uint64_t len = min_u64(min_u64(n, iov->iov_len - skip), size - at);
        uint8_t *user = (uint8_t *)iov->iov_base + skip;
        if (to_ring)
            memcpy(data + at, user, len);
        else
            memcpy(user, data + at, len);
        pos += len;
        n -= len;
        skip += len;
        while (n > 0 && skip >= iov->iov_len) {
            skip -= iov->iov_len;
            iov++;
        }
    }
}

/* The newest ring as its producer sees it: its own words, still validated since the arena is writable by others. */
struct newest {
    uint8_t *data; /* NULL: none attached */
    uint64_t size, base;
};

static int newest_ring(struct zs_view *v, struct zs_session *rx, struct newest *r)
{
    uint64_t newest = atomic_load_explicit(&rx->rx_prod.newest, memory_order_relaxed);
    uint32_t ref = ZS_NEWEST_REF(newest);
    r->data = NULL;
    r->size = 0;
    r->base = 0; /* of the first ring, whose line need not be looked at */
    if (ZS_NEWEST_COUNT(newest) != 1)
        r->base = atomic_load_explicit(&rx->rx_rings.base[(ZS_NEWEST_COUNT(newest) - 1) % ZS_DIR_RINGS], memory_order_relaxed);
    if (ref == 0)
        return 0;
    r->data = zs_ring_ptr(v->arena, ref);
    if (r->data == NULL)
        return -EPROTO;
    r->size = zs_ring_size(ref);
    return 0;
}

/* Attaches a ring of at least `size` bytes as the newest one, its data beginning at the current tail. */
static int attach_ring(struct zs_view *v, struct zs_session *rx, uint64_t size)
{
    struct zs_dir_prod *p = &rx->rx_prod;
    uint32_t rings = ZS_NEWEST_COUNT(atomic_load_explicit(&p->newest, memory_order_relaxed));
    uint32_t seq = atomic_load_explicit(&rx->rx_cons.ring_seq, memory_order_acquire); /* pairs with zs_rx_consume */
    uint64_t tail = atomic_load_explicit(&p->tail, memory_order_relaxed);
    uint32_t last = (rings - 1) % ZS_DIR_RINGS;
    bool reuse = rings != 0 && atomic_load_explicit(&rx->rx_rings.ring[last], memory_order_relaxed) == 0;
    if (!reuse && rings - seq >= ZS_DIR_RINGS)
        return -EAGAIN; /* the consumer has yet to leave the older rings */
    uint32_t index = zs_session_index(v, rx), ref = size <= ZS_RING_SMALL ? ZS_SMALL(index) : zs_block_alloc(v, size, index);
    if (ref == 0)
        return -ENOBUFS;
    uint32_t slot = reuse ? last : rings % ZS_DIR_RINGS;
    atomic_store_explicit(&rx->rx_rings.base[slot], tail, memory_order_relaxed);
    atomic_store_explicit(&rx->rx_rings.ring[slot], ref, memory_order_release);
    atomic_store_explicit(&p->newest, ZS_NEWEST(reuse ? rings : rings + 1, ref), memory_order_release); /* with the acquire in locate() */
    return 0;
}

/* The first ring: as large as memory allows, up to `size`. */
static int attach_first(struct zs_view *v, struct zs_session *rx, uint64_t size)
{
    int r = attach_ring(v, rx, size);
    while (r == -ENOBUFS && size > ZS_RING_FIRST) {
        size /= 4;
        r = attach_ring(v, rx, size);
    }
    return r;
}

/* So many connections that are used in turn are few. */
#define BUSY_CONNECTIONS 64u

/* Whether the first ring may be the session's own. What goes to the engine's stack lies in blocks, which its ports know; and room for
 * a window that was promised is not to be small. */
static bool small_will_do(const struct zs_session *rx, const struct zs_tx *tx, uint64_t want)
{
    bool stacks = atomic_load(&rx->owner) == ZS_CLIENT_ENGINE && atomic_load(&rx->state) != ZS_S_QUEUED;
    return want * 2 <= ZS_RING_SMALL && !tx->promised && !stacks && rx->kind == ZS_KIND_TCP &&
           !(atomic_load(&rx->flags) & ZS_F_WIRE);
}

/* A small ring was filled once more. A connection that does so before the program has sent much more in all is one of few, which pages of their
 * own do not cost; both ends look at the other's line less often then. */
static bool is_busy(const struct zs_view *v, const struct zs_session *rx, struct zs_tx *tx)
{
    if (v->stats == NULL || rx->kind != ZS_KIND_TCP)
        return false;
    uint64_t sent = atomic_load_explicit(&v->stats->bytes_out, memory_order_relaxed), since = sent - tx->sent_then;
    tx->sent_then = sent;
    return since <= BUSY_CONNECTIONS * ZS_RING_SMALL;
}

static uint64_t room_in(const struct newest *r, uint64_t tail, uint64_t head)
{
    uint64_t from = head > r->base ? head : r->base;
    return r->data == NULL || tail - from > r->size ? 0 : r->size - (tail - from);
}

/* A ring that holds what was promised, in one step: pages that no byte is copied to cost nothing, and four rings is all
 * that a direction may have. The largest that memory allows. */
static bool grow_to(struct zs_view *v, struct zs_session *rx, uint64_t have, uint64_t size)
{
    int r = -ENOBUFS;
    for (; r == -ENOBUFS && size > have; size /= 4)
        r = attach_ring(v, rx, size);
    return r == 0;
}

/* Larger ring, if policy and memory allow: eagerly up to ZS_RING_EAGER, further only for a consumer that stands still. */
static bool try_grow(struct zs_view *v, struct zs_session *rx, struct zs_tx *tx, const struct newest *r, uint64_t head,
                     uint64_t want, uint64_t cap)
{
    uint64_t limit = min_u64(cap < ZS_RING_FIRST ? ZS_RING_FIRST : cap, ZS_RING_MAX);
    if (r->data == NULL && small_will_do(rx, tx, want))
        return attach_ring(v, rx, ZS_RING_SMALL) == 0;
    if (r->data == NULL || r->size == ZS_RING_SMALL) {
        uint64_t first = min_u64(want * 2 < ZS_RING_FIRST ? ZS_RING_FIRST : want * 2, min_u64(limit, 65536));
        return attach_first(v, rx, first) == 0;
    }
    if (tx->promised)
        return grow_to(v, rx, r->size, r->size < 65536 ? min_u64(limit, 65536) : limit);
    bool stalled = tx->stall_head == head;
    tx->stall_head = head;
    if (r->size * 2 > limit || (r->size >= ZS_RING_EAGER && !stalled))
        return false;
    uint64_t size = r->size * (r->size >= ZS_RING_EAGER ? 4 : 16);
    if (size > ZS_RING_EAGER && r->size < ZS_RING_EAGER)
        size = ZS_RING_EAGER;
    return attach_ring(v, rx, min_u64(size, limit)) == 0;
}

/* The newest ring and the room in it for `want` more bytes, grown if need be. -ENOBUFS: no ring and no memory for one. */
static int64_t find_room(struct zs_view *v, struct zs_session *rx, struct zs_tx *tx, uint64_t want, uint64_t cap,
                         struct newest *r)
{
    uint64_t tail = atomic_load_explicit(&rx->rx_prod.tail, memory_order_relaxed);
    for (;;) {
        if (newest_ring(v, rx, r) < 0)
            return -EPROTO;
        uint64_t room = room_in(r, tail, tx->head_seen);
        if (room >= want)
            return (int64_t)room;
        uint64_t head = atomic_load_explicit(&rx->rx_cons.head, memory_order_acquire); /* with zs_rx_consume */
        if (head > tail)
            return -EPROTO;
        tx->head_seen = head;
        room = room_in(r, tail, head);
        if (r->size == ZS_RING_SMALL && is_busy(v, rx, tx) && attach_ring(v, rx, ZS_RING_FIRST) == 0)
            continue;
        if (room >= want || (r->data != NULL && room == r->size && r->size != ZS_RING_SMALL && !tx->promised))
            return (int64_t)room;
        if (!try_grow(v, rx, tx, r, head, want, cap))
            return r->data == NULL ? -ENOBUFS : (int64_t)room;
    }
}

int64_t zs_tx_write(struct zs_view *v, struct zs_session *rx, struct zs_tx *tx, const struct iovec *iov, size_t skip,
                    size_t n, uint64_t cap)
{
    uint64_t done = 0;
    int64_t room = 1;
    while (done < n && room > 0) {
        struct newest r;
        room = find_room(v, rx, tx, n - done, cap, &r);
        if (room <= 0)
            break;
        uint64_t take = min_u64((uint64_t)room, n - done);
        ring_copy(r.data, r.size, atomic_load_explicit(&rx->rx_prod.tail, memory_order_relaxed), iov, skip + done, take, true);
        if (zs_capturing(v) && rx->kind == ZS_KIND_TCP)
            zs_capture_data(v, rx, iov, skip + done, take);
        zs_tx_publish(rx, take);
        if (take < n - done)
            room = 0; /* full as far as this round saw; the caller notifies and comes again */
        done += take;
    }
    return done == 0 && room < 0 ? room : (int64_t)done;
}

int64_t zs_tx_span(struct zs_view *v, struct zs_session *rx, struct zs_tx *tx, uint64_t want, uint64_t cap, uint8_t **span)
{
    struct newest r;
    int64_t room = find_room(v, rx, tx, want, cap, &r);
    if (room <= 0)
        return room;
    uint64_t at = atomic_load_explicit(&rx->rx_prod.tail, memory_order_relaxed) & (r.size - 1);
    *span = r.data + at;
    return (int64_t)min_u64(min_u64((uint64_t)room, want), r.size - at);
}

/* Lends ref->len bytes at most, `least` at least. */
static int64_t lend(struct zs_view *v, struct zs_session *rx, struct zs_tx *tx, struct zs_ref *ref, uint32_t least, uint64_t cap)
{
    struct newest r;
    int64_t room = find_room(v, rx, tx, ref->len, cap, &r);
    if (room < (int64_t)least)
        return room == -EPROTO ? -EPROTO : -EAGAIN;
    ref->pos = atomic_load_explicit(&rx->rx_prod.tail, memory_order_relaxed);
    ref->len = (uint32_t)min_u64((uint64_t)room, ref->len);
    int err = zs_refs_add(v, rx, ref, cap);
    if (err != 0)
        return err;
    if (zs_capturing(v)) {
        const struct iovec where = {(void *)(uintptr_t)zs_ref_memory(v, ref->segment, ref->offset, ref->len), ref->len};
        zs_capture_data(v, rx, &where, 0, where.iov_base == NULL ? 0 : ref->len);
    }
    zs_tx_publish(rx, ref->len);
    return ref->len;
}

int zs_tx_lend(struct zs_view *v, struct zs_session *rx, struct zs_tx *tx, uint32_t segment, uint32_t offset, uint32_t len,
               uint64_t cap)
{
    struct zs_ref ref = {.segment = segment, .offset = offset, .len = len};
    int64_t n = lend(v, rx, tx, &ref, len, cap);
    return n < 0 ? (int)n : 0;
}

int64_t zs_tx_lend_hold(struct zs_view *v, struct zs_session *rx, struct zs_tx *tx, struct zs_ref *ref, uint32_t least, uint64_t cap)
{
    struct zs_loan *l = &v->arena->loan[ref->loan - 1];
    uint64_t session = ZS_HOLD_SESSION(zs_session_index(v, rx), atomic_load(&rx->gen));
    uint32_t len = ref->len;
    atomic_store(&l->holder, session);
    int64_t n = lend(v, rx, tx, ref, least, cap);
    ref->len = len;
    if (n < 0) {
        atomic_store(&l->holder, 0);
        return n;
    }
    /* An end that closed meanwhile may have looked before the entry was there. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&rx->state) == ZS_S_CLOSED)
        zs_refs_discard(v, rx);
    return n;
}

void zs_tx_publish(struct zs_session *rx, uint64_t n)
{
    uint64_t tail = atomic_load_explicit(&rx->rx_prod.tail, memory_order_relaxed);
    atomic_store_explicit(&rx->rx_prod.tail, tail + n, memory_order_release); /* pairs with the acquire in zs_rx_avail */
}

bool zs_tx_fits(struct zs_view *v, struct zs_session *rx, const struct zs_tx *tx, uint64_t n)
{
    struct newest r;
    return newest_ring(v, rx, &r) == 0 &&
           room_in(&r, atomic_load_explicit(&rx->rx_prod.tail, memory_order_relaxed), tx->head_seen) >= n;
}

/* Room that is worth waking for: as Linux, a third. Of a large ring to the engine's stack less: a third of the window would not be on
 * its way while what was there before is acknowledged. */
static bool is_roomy(const struct zs_session *rx, uint64_t room, uint64_t size)
{
    return room * 3 >= size || (room >= ZS_RING_EAGER && atomic_load_explicit(&rx->owner, memory_order_relaxed) == ZS_CLIENT_ENGINE);
}

uint64_t zs_tx_room(struct zs_view *v, struct zs_session *rx, struct zs_tx *tx, uint64_t cap)
{
    struct newest r;
    uint64_t tail = atomic_load_explicit(&rx->rx_prod.tail, memory_order_relaxed);
    if (newest_ring(v, rx, &r) < 0)
        return 1; /* let the write find the inconsistency */
    if (r.data == NULL)
        return ZS_RING_FIRST;
    uint64_t room = room_in(&r, tail, tx->head_seen);
    if (is_roomy(rx, room, r.size))
        return room;
    tx->head_seen = atomic_load_explicit(&rx->rx_cons.head, memory_order_acquire);
    room = room_in(&r, tail, tx->head_seen);
    if (is_roomy(rx, room, r.size))
        return room; /* a ring that will grow at once counts as free, too */
    uint32_t pending = ZS_NEWEST_COUNT(atomic_load_explicit(&rx->rx_prod.newest, memory_order_relaxed)) -
                       atomic_load_explicit(&rx->rx_cons.ring_seq, memory_order_relaxed);
    return r.size < ZS_RING_EAGER && r.size * 2 <= cap && pending < ZS_DIR_RINGS ? r.size : 0;
}

uint64_t zs_tx_reserve(struct zs_view *v, struct zs_session *rx, uint64_t size)
{
    struct newest r;
    int err = newest_ring(v, rx, &r);
    if (err == 0 && r.size < size)
        err = r.data == NULL ? attach_first(v, rx, min_u64(size, ZS_RING_MAX))
                             : attach_ring(v, rx, min_u64(size, ZS_RING_MAX));
    if ((err < 0 && r.data == NULL) || newest_ring(v, rx, &r) < 0)
        return 0;
    return room_in(&r, atomic_load_explicit(&rx->rx_prod.tail, memory_order_relaxed),
                   atomic_load_explicit(&rx->rx_cons.head, memory_order_acquire));
}

uint64_t zs_tx_unread(const struct zs_session *rx)
{
    return atomic_load(&rx->rx_prod.tail) - atomic_load(&rx->rx_cons.head);
}

void zs_tx_detach_idle(struct zs_view *v, struct zs_session *rx)
{
    uint64_t tail = atomic_load_explicit(&rx->rx_prod.tail, memory_order_relaxed);
    if (atomic_load_explicit(&rx->rx_cons.head, memory_order_acquire) != tail)
        return;
    /* Empty: the consumer touches no ring before the next tail is published. */
    zs_newest_gone(rx);
    for (uint32_t i = 0; i < ZS_DIR_RINGS; i++) {
        uint32_t ref = atomic_exchange(&rx->rx_rings.ring[i], 0);
        if (ref != 0)
            zs_block_free(v, ref, zs_session_index(v, rx));
    }
    zs_refs_detach(v, rx);
}

#define FLAT (UINT64_C(1) << 63)

/* The ring that holds position pos, and up to where. */
struct located {
    uint8_t *data;
    uint64_t size, end;
};

static int locate(struct zs_view *v, struct zs_session *rx, uint64_t pos, uint64_t tail, struct located *l)
{
    uint32_t seq = atomic_load_explicit(&rx->rx_cons.ring_seq, memory_order_relaxed);
    uint64_t newest = atomic_load_explicit(&rx->rx_prod.newest, memory_order_acquire); /* with attach_ring */
    uint32_t rings = ZS_NEWEST_COUNT(newest), ref = ZS_NEWEST_REF(newest);
    if (rings - seq > ZS_DIR_RINGS || rings == seq)
        return -EPROTO;
    while (seq + 1 != rings && atomic_load(&rx->rx_rings.base[(seq + 1) % ZS_DIR_RINGS]) <= pos)
        seq++;
    if (seq + 1 != rings)
        ref = atomic_load(&rx->rx_rings.ring[seq % ZS_DIR_RINGS]);
    l->data = zs_ring_ptr(v->arena, ref);
    l->end = seq + 1 == rings ? tail : min_u64(tail, atomic_load(&rx->rx_rings.base[(seq + 1) % ZS_DIR_RINGS]));
    if (l->data == NULL)
        return -EPROTO;
    l->size = zs_ring_size(ref);
    return l->end - pos > l->size ? -EPROTO : 0;
}

int64_t zs_rx_peek(struct zs_view *v, struct zs_session *rx, uint64_t offset, const struct iovec *iov, size_t skip, size_t n)
{
    uint64_t tail = atomic_load_explicit(&rx->rx_prod.tail, memory_order_acquire); /* with zs_tx_write */
    uint64_t pos = atomic_load_explicit(&rx->rx_cons.head, memory_order_relaxed) + offset;
    uint64_t done = 0;
    struct zs_refs refs;
    if (tail - pos > 2 * ZS_DIR_RINGS * ZS_RING_MAX)
        return offset > 0 && tail < pos ? 0 : -EPROTO;
    if (zs_refs_open(v, rx, &refs) < 0)
        return -EPROTO;
    while (done < n && pos != tail) {
        struct located l;
        uint64_t take = min_u64(tail - pos, n - done), at = pos;
        int r = zs_refs_seek(v, &refs, pos, &take);
        if (r < 0)
            return r == -ENOBUFS && done > 0 ? (int64_t)done : r;
        if (refs.lent != NULL) { /* flat memory is a ring that never wraps */
            l = (struct located){(uint8_t *)(uintptr_t)refs.lent, FLAT, 0};
            at = 0;
        } else {
            if (locate(v, rx, pos, tail, &l) < 0)
                return -EPROTO;
            take = min_u64(l.end - pos, take);
        }
        if (take == 0)
            return -EPROTO;
        if (iov != NULL)
            ring_copy(l.data, l.size, at, iov, skip + done, take, false);
        pos += take;
        done += take;
    }
    return (int64_t)done;
}

void zs_rx_fetch(const struct zs_session *rx, const struct zs_rx *last)
{
    __builtin_prefetch(&rx->rx_prod);
    __builtin_prefetch(&rx->rx_cons);
    __builtin_prefetch(&rx->owner);
    if (last->next != NULL)
        __builtin_prefetch(last->next);
}

int zs_rx_spans(struct zs_view *v, struct zs_session *rx, uint64_t offset, uint64_t n, struct iovec *iov, int max)
{
    uint64_t tail = atomic_load_explicit(&rx->rx_prod.tail, memory_order_acquire); /* with zs_tx_write */
    uint64_t pos = atomic_load_explicit(&rx->rx_cons.head, memory_order_relaxed) + offset;
    int pieces = 0;
    struct zs_refs refs;
    if (tail - pos > 2 * ZS_DIR_RINGS * ZS_RING_MAX || tail - pos < n || zs_refs_open(v, rx, &refs) < 0)
        return -EPROTO;
    while (n > 0) {
        struct located l;
        uint64_t take = n;
        if (pieces == max)
            return 0;
        int r = zs_refs_seek(v, &refs, pos, &take);
        if (r < 0)
            return r;
        if (refs.lent != NULL) {
            iov[pieces++] = (struct iovec){(void *)(uintptr_t)refs.lent, take};
        } else {
            if (locate(v, rx, pos, tail, &l) < 0)
                return -EPROTO;
            uint64_t at = pos & (l.size - 1);
            take = min_u64(min_u64(l.end - pos, take), l.size - at);
            iov[pieces++] = (struct iovec){l.data + at, take};
        }
        if (take == 0)
            return -EPROTO;
        pos += take;
        n -= take;
    }
    return pieces;
}

int zs_rx_take(struct zs_view *v, struct zs_session *rx, struct zs_taken *t)
{
    uint64_t tail = atomic_load_explicit(&rx->rx_prod.tail, memory_order_acquire); /* with zs_tx_write */
    uint64_t head = atomic_load_explicit(&rx->rx_cons.head, memory_order_relaxed);
    struct zs_refs refs;
    *t = (struct zs_taken){.len = tail - head};
    if (tail - head > 2 * ZS_DIR_RINGS * ZS_RING_MAX || zs_refs_open(v, rx, &refs) < 0)
        return -EPROTO;
    if (t->len == 0)
        return 0;
    int r = zs_refs_seek(v, &refs, head, &t->len);
    if (r < 0)
        return r;
    if (refs.lent == NULL || refs.loan == 0)
        return 0;
    if (!zs_loan_take(v, refs.loan - 1, refs.loan_gen, refs.session))
        return -EPROTO;
    t->data = refs.lent;
    t->segment = refs.segment;
    t->offset = refs.offset + (uint32_t)(refs.lent - refs.data);
    t->loan = refs.loan - 1;
    t->gen = refs.loan_gen;
    zs_rx_consume(v, rx, t->len);
    return 0;
}

/* Wakes the producer when it waits for room and enough of it is there. */
static void return_room(struct zs_view *v, struct zs_session *rx, uint64_t head)
{
    zs_block_ref ref = ZS_NEWEST_REF(atomic_load_explicit(&rx->rx_prod.newest, memory_order_relaxed));
    uint64_t unread = atomic_load_explicit(&rx->rx_prod.tail, memory_order_relaxed) - head;
    uint64_t size = zs_ring_ptr(v->arena, ref) ? zs_ring_size(ref) : 0;
    if (size != 0 && unread < size && !is_roomy(rx, size - unread, size))
        return;
    uint32_t want = atomic_exchange(&rx->rx_prod.want_space, 0);
    struct zs_session *sender = zs_session_peer(v, rx);
    if ((want & ZS_WANT_EVENT) && sender != NULL)
        zs_notify_room(v, sender);
    if (want & ZS_WANT_FUTEX)
        zs_futex_wake(&rx->rx_prod.want_space, INT_MAX);
}

void zs_rx_room_told(struct zs_view *v, struct zs_session *rx)
{
    if (atomic_load(&rx->rx_prod.want_space) != 0)
        return_room(v, rx, atomic_load_explicit(&rx->rx_cons.head, memory_order_relaxed));
}

void zs_rx_consume(struct zs_view *v, struct zs_session *rx, uint64_t n)
{
    struct zs_dir_cons *c = &rx->rx_cons;
    uint64_t head = atomic_load_explicit(&c->head, memory_order_relaxed) + n;
    uint32_t seq = atomic_load_explicit(&c->ring_seq, memory_order_relaxed);
    uint32_t rings = ZS_NEWEST_COUNT(atomic_load_explicit(&rx->rx_prod.newest, memory_order_acquire));
    while (rings - seq > 1 && rings - seq <= ZS_DIR_RINGS &&
           atomic_load(&rx->rx_rings.base[(seq + 1) % ZS_DIR_RINGS]) <= head) {
        uint32_t ref = atomic_exchange(&rx->rx_rings.ring[seq % ZS_DIR_RINGS], 0);
        if (ref != 0)
            zs_block_free(v, ref, zs_session_index(v, rx));
        atomic_store_explicit(&c->ring_seq, ++seq, memory_order_release); /* with attach_ring */
    }
    zs_refs_drop(v, rx, head);
    zs_rx_placed(v, rx, n);
}
