/* SPDX-License-Identifier: BSD-3-Clause
 * Accept queues: a lock-free bounded array queue. One compare-and-swap fills or empties a slot; whoever finds head or
 * tail lagging behind advances it, so that a process that dies between the two steps blocks nobody. */
#include "ops.h"

#define AQ_SIZE (ZS_BACKLOG_MAX * 2u)
#define AQ_LAP(pos) ((uint32_t)((pos) / AQ_SIZE) & 0xfffffu)

static struct zs_listener *listener_at(struct zs_view *v, uint32_t listener)
{
    return listener < ZS_MAX_LISTENERS ? &v->arena->listener[listener] : NULL;
}

int64_t zs_listener_alloc(struct zs_view *v, uint32_t session, uint32_t backlog)
{
    for (uint32_t i = 0; i < ZS_MAX_LISTENERS; i++) {
        struct zs_listener *l = &v->arena->listener[i];
        uint32_t none = 0;
        if (atomic_load_explicit(&l->owner, memory_order_relaxed) != 0 ||
            !atomic_compare_exchange_strong(&l->owner, &none, v->client))
            continue;
        l->session = session;
        atomic_store(&l->backlog, backlog < ZS_BACKLOG_MAX ? backlog : ZS_BACKLOG_MAX);
        atomic_store(&l->fastopen_keys, 0);
        atomic_fetch_add(&l->gen, 1);
        return i;
    }
    return -ENOBUFS;
}

void zs_listener_free(struct zs_view *v, uint32_t listener)
{
    struct zs_listener *l = listener_at(v, listener);
    if (l == NULL)
        return;
    atomic_fetch_add(&l->gen, 1);
    /* The queue starts its next life empty at position 0; laps restart, stale pushes are caught by the generation. */
    for (uint32_t i = 0; i < AQ_SIZE; i++)
        if (atomic_load_explicit(&l->slot[i], memory_order_relaxed) != 0)
            atomic_store(&l->slot[i], 0);
    for (uint32_t i = 0; i < 65536 / 64; i++)
        if (atomic_load_explicit(&l->eph[i], memory_order_relaxed) != 0)
            atomic_store(&l->eph[i], 0);
    atomic_store(&l->head, 0);
    atomic_store(&l->tail, 0);
    atomic_store(&l->owner, 0);
}

void zs_listener_set_keys(struct zs_view *v, uint32_t listener, uint32_t gen, const uint8_t *keys, uint32_t n)
{
    struct zs_listener *l = listener_at(v, listener);
    if (l == NULL || n > ZS_FASTOPEN_KEYS || atomic_load(&l->gen) != gen)
        return;
    for (uint32_t i = 0; i < n * (ZS_FASTOPEN_KEY_LEN / 8); i++) {
        uint64_t word;
        memcpy(&word, keys + i * sizeof word, sizeof word);
        atomic_store_explicit(&l->fastopen_key[i / 2][i % 2], word, memory_order_relaxed);
    }
    atomic_store_explicit(&l->fastopen_keys, n, memory_order_release);
}

uint32_t zs_listener_keys(struct zs_view *v, uint32_t listener, uint8_t keys[ZS_FASTOPEN_KEYS][ZS_FASTOPEN_KEY_LEN])
{
    struct zs_listener *l = listener_at(v, listener);
    uint32_t n = l == NULL ? 0 : atomic_load_explicit(&l->fastopen_keys, memory_order_acquire);
    n = n < ZS_FASTOPEN_KEYS ? n : ZS_FASTOPEN_KEYS;
    for (uint32_t i = 0; i < n * (ZS_FASTOPEN_KEY_LEN / 8); i++) {
        uint64_t word = atomic_load_explicit(&l->fastopen_key[i / 2][i % 2], memory_order_relaxed);
        memcpy(keys[i / 2] + i % 2 * sizeof word, &word, sizeof word);
    }
    return n;
}

uint32_t zs_accept_count(struct zs_view *v, uint32_t listener)
{
    struct zs_listener *l = listener_at(v, listener);
    if (l == NULL)
        return 0;
    uint64_t head = atomic_load(&l->head), tail = atomic_load(&l->tail);
    /* A filled slot that tail has not passed yet counts, too. */
    if (tail - head < AQ_SIZE && !ZS_AQ_IS_EMPTY(atomic_load(&l->slot[tail % AQ_SIZE])) &&
        ZS_AQ_LAP(atomic_load(&l->slot[tail % AQ_SIZE])) == AQ_LAP(tail))
        tail++;
    return tail - head <= AQ_SIZE ? (uint32_t)(tail - head) : 0;
}

static int push(struct zs_listener *l, uint32_t gen, uint32_t session, uint32_t session_gen, bool admitted)
{
    for (uint32_t round = 0; round < 1u << 20; round++) {
        if (atomic_load(&l->gen) != gen)
            return -ECONNREFUSED;
        uint64_t tail = atomic_load(&l->tail), head = atomic_load(&l->head);
        if (tail - head > (admitted ? AQ_SIZE - 1 : atomic_load(&l->backlog))) /* Linux admits backlog + 1 */
            return -EAGAIN;
        uint64_t word = ZS_AQ_EMPTY(AQ_LAP(tail));
        bool pushed = atomic_compare_exchange_strong(&l->slot[tail % AQ_SIZE], &word,
                                                     ZS_AQ_WORD(AQ_LAP(tail), session, session_gen));
        /* Filled now, by us or by another: help tail past it. */
        if (pushed || ZS_AQ_LAP(word) == AQ_LAP(tail)) {
            uint64_t at = tail;
            atomic_compare_exchange_strong(&l->tail, &at, tail + 1);
        }
        if (pushed)
            return 0;
    }
    return -ECONNREFUSED; /* only a scribbled queue turns round for that long */
}

int zs_accept_push(struct zs_view *v, uint32_t listener, uint32_t gen, uint32_t session, uint32_t session_gen)
{
    struct zs_listener *l = listener_at(v, listener);
    return l == NULL ? -ECONNREFUSED : push(l, gen, session, session_gen, false);
}

int zs_accept_push_admitted(struct zs_view *v, uint32_t listener, uint32_t gen, uint32_t session, uint32_t session_gen)
{
    struct zs_listener *l = listener_at(v, listener);
    return l == NULL ? -ECONNREFUSED : push(l, gen, session, session_gen, true);
}

int64_t zs_accept_pop(struct zs_view *v, uint32_t listener)
{
    struct zs_listener *l = listener_at(v, listener);
    if (l == NULL)
        return -EAGAIN;
    for (uint32_t round = 0; round < 1u << 20; round++) {
        uint64_t head = atomic_load(&l->head);
        uint64_t word = atomic_load(&l->slot[head % AQ_SIZE]);
        if (ZS_AQ_LAP(word) != AQ_LAP(head)) {
            /* Taken already: lap of the next round. Help head, unless it moved meanwhile. */
            if (atomic_load(&l->head) == head && atomic_load(&l->tail) > head) {
                uint64_t at = head;
                atomic_compare_exchange_strong(&l->head, &at, head + 1);
                continue;
            }
            if (atomic_load(&l->head) == head)
                return -EAGAIN;
            continue;
        }
        if (ZS_AQ_IS_EMPTY(word))
            return -EAGAIN;
        uint64_t at = head; /* a filled slot whose tail lags: help, so that head never passes tail */
        atomic_compare_exchange_strong(&l->tail, &at, head + 1);
        if (!atomic_compare_exchange_strong(&l->slot[head % AQ_SIZE], &word, ZS_AQ_EMPTY(AQ_LAP(head + AQ_SIZE))))
            continue;
        at = head;
        atomic_compare_exchange_strong(&l->head, &at, head + 1);
        uint32_t session = ZS_AQ_SESSION(word);
        struct zs_session *s = zs_session_at(v, session);
        if (s != NULL && (atomic_load(&s->gen) & 0xffffffu) == ZS_AQ_GEN(word))
            return session;
    }
    return -EAGAIN;
}

bool zs_accept_contains(struct zs_view *v, uint32_t listener, uint32_t session)
{
    struct zs_listener *l = listener_at(v, listener);
    if (l == NULL)
        return false;
    uint64_t head = atomic_load(&l->head), tail = atomic_load(&l->tail) + 1;
    for (uint64_t p = head; p < tail && p - head <= AQ_SIZE; p++) {
        uint64_t word = atomic_load(&l->slot[p % AQ_SIZE]);
        if (!ZS_AQ_IS_EMPTY(word) && ZS_AQ_SESSION(word) == session)
            return true;
    }
    return false;
}

bool zs_eph_claim(struct zs_view *v, uint32_t listener, uint16_t port)
{
    struct zs_listener *l = listener_at(v, listener);
    uint64_t bit = UINT64_C(1) << (port & 63);
    return l != NULL && (atomic_load_explicit(&l->eph[port >> 6], memory_order_relaxed) & bit) == 0 &&
           (atomic_fetch_or(&l->eph[port >> 6], bit) & bit) == 0;
}

void zs_eph_release(struct zs_view *v, uint32_t listener, uint32_t gen, uint16_t port)
{
    struct zs_listener *l = listener_at(v, listener);
    if (l != NULL && atomic_load(&l->gen) == gen)
        atomic_fetch_and(&l->eph[port >> 6], ~(UINT64_C(1) << (port & 63)));
}
