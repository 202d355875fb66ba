/* SPDX-License-Identifier: BSD-3-Clause
 * Lending received buffers: the application reads payload where the port put it. A loan is an entry of the direction's
 * reference ring and a packet buffer that waits here, in the same order, until the application is past it. The list
 * outlives its connection: an application reads what had come before the end after the end.
 *
 * Buffers come back when something else happens on the connection, and at the latest by a timer of the stack, so that an
 * application that reads and then does nothing holds none for long. */
#include <stdlib.h>

#include "rxpool.h"
#include "tcp_conn.h"

#define LEND_MIN 512u /* less is copied: a buffer of 2 KiB is too much to be held for it */
#define LOOK_FIRST_NS (100 * NET_NS_PER_MS)
#define LOOK_LAST_NS (3200 * NET_NS_PER_MS) /* for who does not read */

/* ---- Coming back ---- */

static struct zs_session *reader_of(const struct stack *st, const struct tcp_loans *l)
{
    struct zs_session *app = zs_session_at(st->conf.view, l->app);
    uint32_t state = app == NULL ? ZS_S_FREE : atomic_load(&app->state);
    bool there = state != ZS_S_FREE && atomic_load(&app->gen) == l->gen && state != ZS_S_CLOSED && state != ZS_S_FREEING;
    return there ? app : NULL;
}

/* The hold on a lent buffer, in fields that nobody else uses while it is lent. 0: none. */
#define HOLD(m) ((m)->hash.fdir.lo)
#define HOLD_GEN(m) ((m)->hash.fdir.hi)
#define KEPT_LOOK 32u /* kept buffers that one look looks at */

static void give_back(struct stack *st, struct rte_mbuf *m)
{
    struct zs_view *v = st->conf.view;
    if (HOLD(m) != 0 && atomic_load(&v->arena->loan[HOLD(m) - 1].gen) == HOLD_GEN(m))
        zs_loan_free(v, HOLD(m) - 1);
    rte_pktmbuf_free_seg(m);
    st->tcp->lent--;
    NET_COUNT(st, TCP_LOANS_BACK);
}

static bool held(const struct stack *st, const struct rte_mbuf *m)
{
    return HOLD(m) != 0 && !zs_loan_over(st->conf.view, HOLD(m) - 1, HOLD_GEN(m));
}

static void keep(struct tcp_loans *l, struct rte_mbuf *m)
{
    m->next = NULL;
    if (l->kept_count++ == 0)
        l->kept_end = &l->kept;
    *l->kept_end = m;
    l->kept_end = &m->next;
}

/* Looks at up to `most` of the kept ones, in turn. */
static void look_at_kept(struct stack *st, struct tcp_loans *l, uint32_t most)
{
    for (uint32_t n = RTE_MIN(l->kept_count, most); n > 0; n--) {
        struct rte_mbuf *m = l->kept;
        l->kept = m->next;
        l->kept_count--;
        m->next = NULL;
        if (held(st, m))
            keep(l, m);
        else
            give_back(st, m);
    }
}

static void unlist(struct tcp_loans *l)
{
    if (l->count + l->kept_count == 0 && l->listed) {
        LIST_REMOVE(l, link);
        l->listed = false;
    }
}

/* The reader is past n more; what it took over waits on until it is released. */
static void take_back(struct stack *st, struct tcp_loans *l, uint32_t n)
{
    l->count -= n;
    l->seen += n;
    for (; n > 0; n--) {
        struct rte_mbuf *m = l->first;
        l->first = m->next;
        m->next = NULL;
        if (held(st, m))
            keep(l, m);
        else
            give_back(st, m);
    }
    unlist(l);
}

/* False: the application says that it read what it was never lent. */
static bool look(struct stack *st, struct tcp_loans *l, uint32_t most)
{
    const struct zs_session *app = reader_of(st, l);
    uint32_t n = app == NULL ? l->count : zs_tx_returned(app) - l->seen;
    if (n > l->count)
        return false;
    look_at_kept(st, l, most);
    take_back(st, l, n);
    return true;
}

bool tcp_loans_look(struct tcp_conn *c)
{
    return c->loans == NULL || c->loans->count + c->loans->kept_count == 0 || look(c->st, c->loans, KEPT_LOOK);
}

uint64_t tcp_loans_rest(struct tcp_conn *c)
{
    struct tcp_loans *l = c->loans;
    if (l == NULL || !look(c->st, l, UINT32_MAX)) /* nonsense is found when something comes */
        return UINT64_MAX;
    if (l->count + l->kept_count > 0)
        return LOOK_LAST_NS;
    free(l);
    c->loans = NULL;
    return UINT64_MAX;
}

void tcp_loans_leave(struct tcp_conn *c)
{
    struct tcp_loans *l = c->loans;
    if (l == NULL)
        return;
    c->loans = NULL;
    look(c->st, l, UINT32_MAX);
    l->orphan = true;
    if (l->count + l->kept_count == 0)
        free(l);
}

static void look_at_all(struct stack *st)
{
    struct tcp_loans *l, *next;
    for (l = LIST_FIRST(&st->tcp->loans); l != NULL; l = next) {
        next = LIST_NEXT(l, link);
        look(st, l, UINT32_MAX); /* nonsense is for the connection to find, or for the end of the session */
        if (l->count + l->kept_count == 0 && l->orphan)
            free(l);
    }
}

static void look_due(void *ctx, struct wheel_timer *t)
{
    struct stack *st = ctx;
    struct tcp_table *table = st->tcp;
    uint32_t before = table->lent;
    look_at_all(st);
    table->look_after = table->lent < before ? LOOK_FIRST_NS : RTE_MIN(table->look_after * 2, LOOK_LAST_NS);
    if (table->lent > 0)
        wheel_arm(&st->wheel, t, st->now + table->look_after);
}

/* ---- Going out ---- */

static bool too_many(const struct tcp_table *t, uint32_t loans)
{
    /* A quarter of what may be held is for segments out of order. Of the rest, a connection may have as much as is left:
     * one alone half of it, and however many there are, something always remains (Choudhury and Hahne's dynamic
     * thresholds). */
    uint32_t most = t->hold_max - t->hold_max / 4, held = t->lent + t->ooo_segs;
    return held >= most || loans >= most - held;
}

static struct tcp_loans *loans_of(struct tcp_conn *c, const struct zs_session *app)
{
    struct tcp_loans *l = c->loans;
    if (l == NULL) {
        l = c->loans = calloc(1, sizeof *l);
        if (l == NULL)
            return NULL;
        l->app = zs_session_index(c->st->conf.view, app);
        l->gen = atomic_load(&app->gen);
        l->seen = zs_tx_lent(app);
    }
    return l;
}

static void append(struct stack *st, struct tcp_loans *l, struct rte_mbuf *m)
{
    struct tcp_table *t = st->tcp;
    m->next = NULL;
    if (l->count++ == 0)
        l->first = m;
    else
        l->last->next = m;
    l->last = m;
    t->lent++;
    NET_COUNT(st, TCP_LOANS);
    if (!l->listed) {
        LIST_INSERT_HEAD(&t->loans, l, link);
        l->listed = true;
    }
    if (!t->look.armed || t->look_after > LOOK_FIRST_NS) {
        t->look_after = LOOK_FIRST_NS;
        wheel_arm(&st->wheel, &t->look, st->now + LOOK_FIRST_NS);
    }
}

/* Lends with a hold where the reader takes over what it is lent. It is told to the engine when the hold ends: by the bit of
 * own's session, as when something else happens there. */
static int lend(struct tcp_conn *c, struct zs_session *app, struct rte_mbuf *m, uint32_t offset, uint32_t len, uint64_t cap)
{
    struct zs_view *v = c->st->conf.view;
    HOLD(m) = 0;
    if (!(atomic_load_explicit(&app->flags, memory_order_relaxed) & ZS_F_HOLDS))
        return zs_tx_lend(v, app, &c->tx, RXPOOL_SEGMENT, offset, len, cap);
    int64_t loan = zs_loan_new(v, 0);
    if (loan < 0)
        return (int)loan;
    struct zs_loan *l = &v->arena->loan[loan];
    uint64_t sub = tcp_own(c) == NULL ? 0 : atomic_load_explicit(&tcp_own(c)->rx_prod.sub, memory_order_relaxed);
    if (sub != 0 && ZS_SUB_WAITER(sub) < ZS_MAX_WAITERS) {
        l->waiter = ZS_SUB_WAITER(sub);
        l->waiter_gen = atomic_load(&v->arena->waiter[l->waiter].gen);
        l->slot = ZS_SUB_SLOT(sub);
    }
    struct zs_ref ref = {.segment = RXPOOL_SEGMENT, .offset = offset, .len = len, .loan = (uint32_t)loan + 1,
                         .loan_gen = atomic_load(&l->gen)};
    int64_t n = zs_tx_lend_hold(v, app, &c->tx, &ref, len, cap);
    if (n < 0) {
        zs_loan_end(v, (uint32_t)loan, ref.loan_gen, 0);
        zs_loan_free(v, (uint32_t)loan);
        return (int)n;
    }
    HOLD(m) = ref.loan;
    HOLD_GEN(m) = ref.loan_gen;
    return 0;
}

enum net_counter tcp_lend(struct tcp_conn *c, struct zs_session *app, struct rte_mbuf *m, uint32_t skip, uint32_t len,
                          uint64_t cap)
{
    struct stack *st = c->st;
    struct tcp_table *t = st->tcp;
    uint32_t offset;
    if (len < LEND_MIN)
        return NET_TCP_RX_COPIED_SMALL;
    if (st->conf.rx == NULL || m->nb_segs != 1 || !RTE_MBUF_DIRECT(m) || rte_mbuf_refcnt_read(m) != 1 ||
        !rxpool_offset(st->conf.rx, rte_pktmbuf_mtod_offset(m, void *, skip), len, &offset))
        return NET_TCP_RX_COPIED_PLACE;
    if (!tcp_loans_look(c)) {
        tcp_conn_fault(c);
        return NET_TCP_FAULT;
    }
    struct tcp_loans *l = loans_of(c, app);
    if (l != NULL && l->app != zs_session_index(st->conf.view, app)) { /* somebody changed who our peer is */
        tcp_conn_fault(c);
        return NET_TCP_FAULT;
    }
    if (l == NULL || too_many(t, l->count + l->kept_count))
        return NET_TCP_RX_COPIED_SHARE;
    int err = lend(c, app, m, offset, len, cap);
    if (err == -EPROTO) {
        tcp_conn_fault(c);
        return NET_TCP_FAULT;
    }
    if (err != 0)
        return NET_TCP_RX_COPIED_NO_REF;
    append(st, l, m);
    if (!tcp_timer_on(c, TCP_T_REST))
        tcp_timer_set(c, TCP_T_REST, LOOK_LAST_NS);
    /* Much is lent: do not wait for the timer to learn that it was read. */
    if (t->lent > t->hold_max / 2 && !(atomic_load_explicit(&app->rx_prod.want_space, memory_order_relaxed) & ZS_WANT_EVENT))
        atomic_fetch_or(&app->rx_prod.want_space, ZS_WANT_EVENT);
    return NET_TCP_RX_LENT;
}

/* ---- The stack's ---- */

void tcp_loans_create(struct stack *st)
{
    struct tcp_table *t = st->tcp;
    LIST_INIT(&t->loans);
    t->look.fire = look_due;
    t->hold_max = st->conf.rx == NULL ? UINT32_MAX : st->conf.rx_hold_max != 0 ? st->conf.rx_hold_max : st->conf.rx->count / 2;
}

void tcp_loans_destroy(struct stack *st)
{
    struct tcp_loans *l;
    /* Nobody writes into the buffers any more: who still reads them reads what was there. */
    while ((l = LIST_FIRST(&st->tcp->loans)) != NULL) {
        if (l->count == 0)
            l->first = NULL;
        if (l->kept_count == 0)
            l->kept = NULL;
        for (struct rte_mbuf *m; (m = l->first) != NULL; give_back(st, m))
            l->first = m->next, m->next = NULL;
        for (struct rte_mbuf *m; (m = l->kept) != NULL; give_back(st, m))
            l->kept = m->next, m->next = NULL;
        LIST_REMOVE(l, link);
        free(l);
    }
    wheel_disarm(&st->wheel, &st->tcp->look);
}

void tcp_memory(const struct stack *st, struct tcp_memory *out)
{
    const uint64_t *n = st->counters;
    *out = (struct tcp_memory){
        .rx_lent = n[NET_TCP_RX_LENT],
        .rx_copied = n[NET_TCP_RX_COPIED_SMALL] + n[NET_TCP_RX_COPIED_PLACE] + n[NET_TCP_RX_COPIED_SHARE] +
                     n[NET_TCP_RX_COPIED_NO_REF],
        .tx_referred = n[NET_TCP_TX_REFERRED],
        .tx_copied = n[NET_TCP_TX_COPIED],
        .lent = st->tcp->lent,
        .kept = st->tcp->ooo_segs,
        .hold_max = st->conf.rx == NULL ? 0 : st->tcp->hold_max,
    };
}
