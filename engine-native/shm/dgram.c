/* SPDX-License-Identifier: BSD-3-Clause
 * Datagrams: one record per datagram in the receiver's ring, published by one store; without room it is dropped and counted,
 * as UDP does. */
#include "ring.h"

#define RCVBUF_DEFAULT 212992u /* Linux' default net.core.rmem_default */
#define RCVBUF_MIN 4096u
#define RING_SIZE 262144u

/* The lock makes several senders one producer; a sender that was stopped inside it costs its receiver datagrams, never a
 * hang. */
bool zs_dgram_put(struct zs_view *v, struct zs_session *to, struct zs_udp_record *rec, const struct iovec *iov, size_t cnt)
{
    uint32_t gen = atomic_load(&to->gen);
    struct zs_tx tx = {0};
    uint8_t pad[8] = {0};
    uint64_t space = ZS_UDP_RECORD_SPACE(rec->len);
    bool ok = false;
    if (cnt > ZS_DGRAM_PIECES || !zs_lock(v, &to->rx_prod.lock, true))
        return false;
    uint32_t want = atomic_load(&to->opts.rcvbuf);
    uint64_t cap = want != 0 ? want : RCVBUF_DEFAULT;
    if (cap < RCVBUF_MIN)
        cap = RCVBUF_MIN;
    if (atomic_load(&to->state) == ZS_S_OPEN && atomic_load(&to->gen) == gen && zs_tx_unread(to) + space <= cap &&
        zs_tx_reserve(v, to, cap < RING_SIZE ? RING_SIZE : cap) >= space) {
        struct iovec all[2 + ZS_DGRAM_PIECES];
        size_t n = 0;
        all[n++] = (struct iovec){rec, sizeof *rec};
        for (size_t i = 0; i < cnt; i++)
            all[n++] = iov[i];
        all[n++] = (struct iovec){pad, space - sizeof *rec - rec->len};
        ok = zs_tx_write(v, to, &tx, all, 0, space, ZS_RING_MAX) == (int64_t)space;
    }
    if (!ok)
        atomic_fetch_add(&to->rx_dropped, 1);
    zs_unlock(v, &to->rx_prod.lock);
    return ok;
}
