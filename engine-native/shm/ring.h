/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Byte rings of a direction. A direction belongs to the session that receives from it; `rx` below is that session.
 * The caller holds the direction's lock on its side when several threads or processes may use that side. */
#ifndef ZSTACK_SHM_RING_H
#define ZSTACK_SHM_RING_H

#include "ops.h"

/* Producer's private memory of a direction: hints only, so that several processes may have one each. */
struct zs_tx {
    uint64_t head_seen;  /* consumer's position when last looked: a lower bound */
    union {
        uint64_t stall_head; /* consumer's position when the ring was last full: no progress since -> grow */
        uint64_t sent_then;  /* while the ring is small: what the program had sent when it had been filled once more */
    };
    bool promised;       /* room for `cap` bytes was promised (a TCP window): grow to keep the promise, not by need */
};

/* What a producer knows by itself while nobody else writes into the direction: thus it need not look at the line that the consumer has just
 * read, whose way back would come before the message's. Whatever else writes, attaches or takes rings away makes size 0. */
struct zs_tx_own {
    uint64_t tail;
    uint8_t *data; /* of the newest ring */
    uint32_t size; /* its, bytes; 0: not known */
    _Atomic uint32_t lock; /* the caller's, among the threads of its process */
};

/* The consumer's, of no weight but for speed. */
struct zs_rx {
    const uint8_t *next; /* where in the ring the byte after those read last lies, if it is in the same ring; NULL: not known */
};

#define ZS_RING_FIRST 4096u           /* smallest first ring, bytes */
#define ZS_RING_EAGER (UINT64_C(256) << 10) /* grown to at once; beyond only for a consumer that does not read */
#define ZS_RING_MAX (UINT64_C(4) << 20)

/* Copies up to `n` bytes of iov, starting `skip` bytes into it, into the direction and publishes them. Returns the
 * bytes taken, possibly fewer than n; 0 when full; -ENOBUFS when ring memory is exhausted and nothing could be taken;
 * -EPROTO when the shared state is inconsistent. `cap` limits the ring's size, bytes. */
int64_t zs_tx_write(struct zs_view *v, struct zs_session *rx, struct zs_tx *tx, const struct iovec *iov, size_t skip,
                    size_t n, uint64_t cap);
/* Room for up to `want` bytes in one piece at the tail, for a caller that fills it itself: pointer in *span, its length returned
 * (0 full, negative as zs_tx_write). zs_tx_publish makes the first n bytes of it visible. */
int64_t zs_tx_span(struct zs_view *v, struct zs_session *rx, struct zs_tx *tx, uint64_t want, uint64_t cap, uint8_t **span);
void zs_tx_publish(struct zs_session *rx, uint64_t n);
/* Small messages (place.c): where n bytes go whole, to be published by zs_tx_placed; NULL: zs_tx_write has to see. Grows nothing and looks at
 * nothing that the consumer writes. zs_tx_place_own: as zs_tx_place, when *own is known, which zs_tx_place makes it. */
uint8_t *zs_tx_place(struct zs_view *v, struct zs_session *rx, const struct zs_tx *tx, struct zs_tx_own *own, uint64_t n);
uint8_t *zs_tx_place_own(const struct zs_view *v, const struct zs_tx *tx, const struct zs_tx_own *own, uint64_t n);
void zs_tx_placed(struct zs_session *rx, struct zs_tx_own *own, uint64_t n);
/* Bytes that can be written without waiting (0: full); counts memory that a growing ring would get. */
uint64_t zs_tx_room(struct zs_view *v, struct zs_session *rx, struct zs_tx *tx, uint64_t cap);
/* Whether n bytes fit into the ring that is there, without a look at what the consumer has read since the last look. */
bool zs_tx_fits(struct zs_view *v, struct zs_session *rx, const struct zs_tx *tx, uint64_t n);
/* Makes sure that a ring of at least `size` bytes is attached (records must fit whole) and returns the room in it, bytes. */
uint64_t zs_tx_reserve(struct zs_view *v, struct zs_session *rx, uint64_t size);
/* Bytes written and not yet read by the consumer (SIOCOUTQ). */
uint64_t zs_tx_unread(const struct zs_session *rx);
/* Lends `len` bytes at `offset` of a segment: the consumer reads them there. They take positions and room as if written.
 * 0; -EAGAIN no room for all of them; -ENOBUFS no room for a reference, or no memory for the reference ring; -EPROTO. */
int zs_tx_lend(struct zs_view *v, struct zs_session *rx, struct zs_tx *tx, uint32_t segment, uint32_t offset, uint32_t len,
               uint64_t cap);
/* As zs_tx_lend, of a hold that was made for it (ref: segment, offset, len, loan, loan_gen), which is given to the ring. Lends as
 * much of the range as there is room for, and no less than `least` bytes: bytes lent, or as above, and then the hold is still the caller's. */
int64_t zs_tx_lend_hold(struct zs_view *v, struct zs_session *rx, struct zs_tx *tx, struct zs_ref *ref, uint32_t least, uint64_t cap);
/* References made and given back, counted from the same arbitrary number; the difference is what is lent. Of the second
 * nothing is certain: another party writes it. */
static inline uint32_t zs_tx_lent(const struct zs_session *rx)
{
    return atomic_load_explicit(&rx->rx_prod.ref_tail, memory_order_relaxed);
}
static inline uint32_t zs_tx_returned(const struct zs_session *rx)
{
    return atomic_load_explicit(&rx->rx_cons.ref_head, memory_order_acquire); /* with zs_refs_drop */
}
/* Rings are about to be taken away: there is no newest one. Lock held, or nobody else is there. */
static inline void zs_newest_gone(struct zs_session *rx)
{
    uint64_t newest = atomic_load_explicit(&rx->rx_prod.newest, memory_order_relaxed);
    atomic_store_explicit(&rx->rx_prod.newest, ZS_NEWEST(ZS_NEWEST_COUNT(newest), 0), memory_order_relaxed);
}
/* Gives the rings of an empty direction back to the arena. Only by the producer's side, lock held. */
void zs_tx_detach_idle(struct zs_view *v, struct zs_session *rx);

/* Unread bytes. */
static inline uint64_t zs_rx_avail(const struct zs_session *rx)
{
    return atomic_load_explicit(&rx->rx_prod.tail, memory_order_acquire) -
           atomic_load_explicit(&rx->rx_cons.head, memory_order_relaxed);
}
/* Copies up to `n` unread bytes, starting `offset` bytes after the first unread one, into iov from `skip` on, without
 * consuming them. Returns bytes or -EPROTO; -ENOBUFS: what is lent there cannot be mapped now. iov NULL: counts only (MSG_TRUNC). */
int64_t zs_rx_peek(struct zs_view *v, struct zs_session *rx, uint64_t offset, const struct iovec *iov, size_t skip, size_t n);
/* It was hinted that something came: asks for the lines that tell, and for the first that it may lie in, at once. */
void zs_rx_fetch(const struct zs_session *rx, const struct zs_rx *last);
/* For zs_rx_fetch, after a read. */
static inline const uint8_t *zs_rx_next(const struct zs_view *v, const struct zs_session *rx)
{
    zs_block_ref ref = ZS_NEWEST_REF(atomic_load_explicit(&rx->rx_prod.newest, memory_order_relaxed));
    const uint8_t *data = zs_ring_ptr(v->arena, ref);
    uint64_t head = atomic_load_explicit(&rx->rx_cons.head, memory_order_relaxed);
    return data == NULL ? NULL : data + (head & (zs_ring_size(ref) - 1));
}
/* Where n unread bytes from `offset` on lie, in the rings or lent: at most `max` pieces. Returns how many; 0: more pieces; -EPROTO.
 * The pieces stay until they are consumed. */
int zs_rx_spans(struct zs_view *v, struct zs_session *rx, uint64_t offset, uint64_t n, struct iovec *iov, int max);
/* What lies at the head: a lent range with a hold, or bytes without. */
struct zs_taken {
    const uint8_t *data; /* NULL: not lent, `len` bytes to be read as always */
    uint64_t len;        /* 0: nothing is there */
    uint32_t loan, gen;  /* the hold, now this client's */
    uint32_t segment, offset; /* where it is, as in struct zs_ref */
};
/* Takes a lent range at the head over and consumes it. 0, or -EPROTO; -ENOBUFS: what is lent cannot be mapped now. */
int zs_rx_take(struct zs_view *v, struct zs_session *rx, struct zs_taken *t);
/* Where the next bytes lie whole: *n, how many are wanted, becomes how many of them there are, and *next what zs_rx_next() is once they are
 * consumed (zs_rx_placed). NULL: there are none, or zs_rx_peek has to see (place.c). */
const uint8_t *zs_rx_place(struct zs_view *v, const struct zs_session *rx, uint64_t *n, const uint8_t **next);
void zs_rx_placed(struct zs_view *v, struct zs_session *rx, uint64_t n);
/* Tells a writer that waits for room to look again, nothing having been read. */
void zs_rx_room_told(struct zs_view *v, struct zs_session *rx);
/* Consumes n bytes that zs_rx_peek returned: returns room to the producer and wakes it when it waits. */
void zs_rx_consume(struct zs_view *v, struct zs_session *rx, uint64_t n);

/* UDP records use the same calls: see udp.h in the client. */
#endif
