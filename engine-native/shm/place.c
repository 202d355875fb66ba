/* SPDX-License-Identifier: BSD-3-Clause
 * Where a small message lies. What reading and writing come to nearly always takes a few loads: one ring, with room as far as is known, nothing
 * lent, nothing urgent, and no wrap within the message. All else is ring.c's. */
#include "ring.h"
#include "capring.h"
#include "ref.h"

uint8_t *zs_tx_place_own(const struct zs_view *v, const struct zs_tx *tx, const struct zs_tx_own *own, uint64_t n)
{
    /* Counted from the consumer's position, not from where this ring begins: too much at most, while older rings are read. */
    uint64_t size = own->size, used = own->tail - tx->head_seen, at = own->tail & (size - 1);
    bool whole = used <= size && n <= size - used && n <= size - at;
    return whole && !zs_capturing(v) ? own->data + at : NULL;
}

uint8_t *zs_tx_place(struct zs_view *v, struct zs_session *rx, const struct zs_tx *tx, struct zs_tx_own *own, uint64_t n)
{
    zs_block_ref ref = ZS_NEWEST_REF(atomic_load_explicit(&rx->rx_prod.newest, memory_order_relaxed));
    own->size = 0;
    own->data = zs_ring_ptr(v->arena, ref);
    if (ref == 0 || own->data == NULL)
        return NULL;
    own->size = (uint32_t)zs_ring_size(ref);
    own->tail = atomic_load_explicit(&rx->rx_prod.tail, memory_order_relaxed);
    return zs_tx_place_own(v, tx, own, n);
}

void zs_tx_placed(struct zs_session *rx, struct zs_tx_own *own, uint64_t n)
{
    own->tail += n;
    atomic_store_explicit(&rx->rx_prod.tail, own->tail, memory_order_release); /* with the acquires of zs_rx_avail and zs_rx_place */
}

const uint8_t *zs_rx_place(struct zs_view *v, const struct zs_session *rx, uint64_t *n, const uint8_t **next)
{
    const struct zs_dir_prod *p = &rx->rx_prod;
    uint64_t tail = atomic_load_explicit(&p->tail, memory_order_acquire); /* with zs_tx_placed, zs_tx_publish */
    uint64_t head = atomic_load_explicit(&rx->rx_cons.head, memory_order_relaxed), avail = tail - head;
    uint64_t newest = atomic_load_explicit(&p->newest, memory_order_acquire); /* with attach_ring */
    zs_block_ref ref = ZS_NEWEST_REF(newest);
    const uint8_t *data = zs_ring_ptr(v->arena, ref);
    if (avail == 0 || ref == 0 || data == NULL || zs_refs_any(rx) || atomic_load_explicit(&p->urgent, memory_order_relaxed) != 0 ||
        ZS_NEWEST_COUNT(newest) - atomic_load_explicit(&rx->rx_cons.ring_seq, memory_order_relaxed) != 1)
        return NULL;
    uint64_t size = zs_ring_size(ref), at = head & (size - 1);
    *n = avail < *n ? avail : *n;
    *next = data + ((head + *n) & (size - 1));
    return avail <= size && *n <= size - at ? data + at : NULL;
}

void zs_rx_placed(struct zs_view *v, struct zs_session *rx, uint64_t n)
{
    uint64_t head = atomic_load_explicit(&rx->rx_cons.head, memory_order_relaxed) + n;
    /* Full barrier between returning the room and looking whether somebody waits for it; the producer does the reverse. */
    atomic_store_explicit(&rx->rx_cons.head, head, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    zs_rx_room_told(v, rx);
}
