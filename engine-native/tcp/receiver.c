/* SPDX-License-Identifier: BSD-3-Clause
 * Receiving data: in order into the application's ring, out of order kept as packets, the window (RFC 9293 3.8.6.2.2), when to
 * acknowledge (3.8.6.3, RFC 5681 4.2), the peer's FIN. */
#include <stdlib.h>

#include "tcp_conn.h"

/* Kept in the dead space before a queued segment's payload: its headers. */
struct ooo {
    struct rte_mbuf *next;
    tcp_seq seq;
    uint32_t skip, len; /* payload: len bytes after the first skip ones */
};
_Static_assert(sizeof(struct ooo) + _Alignof(struct ooo) <= sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_tcp_hdr),
               "fits into the headers");

static struct ooo *ooo_of(struct rte_mbuf *m)
{
    uintptr_t at = rte_pktmbuf_mtod(m, uintptr_t) - sizeof(struct ooo);
    return (struct ooo *)(at & ~(uintptr_t)(_Alignof(struct ooo) - 1));
}

/* ---- Window ---- */

static uint32_t space_now(const struct tcp_conn *c, uint32_t size)
{
    const struct zs_session *app = tcp_app(c);
    uint64_t unread = app == NULL ? 0 : zs_tx_unread(app);
    uint32_t most = (uint32_t)UINT16_MAX << c->rcv_scale; /* that the header can tell */
    return unread < size ? RTE_MIN(size - (uint32_t)unread, most) : 0;
}

/* Room for received data. When there is little, the application's next reads are to be told of. */
static uint32_t receive_space(struct tcp_conn *c)
{
    uint32_t size = tcp_receive_buffer(c), space = space_now(c, size);
    struct zs_session *app = tcp_app(c);
    if (space < size / 2 && app != NULL) {
        atomic_fetch_or(&app->rx_prod.want_space, ZS_WANT_EVENT);
        atomic_thread_fence(memory_order_seq_cst); /* with zs_rx_consume: one of us sees the other */
        space = space_now(c, size);
    }
    return space;
}

uint16_t tcp_window_field(struct tcp_conn *c, bool syn)
{
    uint32_t space = receive_space(c), promised = tcp_rcv_wnd(c), window = promised;
    uint32_t scale = syn ? 0 : c->rcv_scale, mask = (1u << scale) - 1;
    /* Silly-window avoidance: the right edge moves by a good piece or not at all, and never back. */
    if (syn || (space > promised && space - promised >= RTE_MIN(tcp_receive_buffer(c) / 2, (uint32_t)c->rcv_mss)))
        window = RTE_MAX(space, promised);
    /* The field counts in units. Rounded up, so that a little room is not told as none, but only as far as there is room: else
     * each ACK would move the edge, and a peer that sends byte by byte never met it. Rounded down, the edge that the peer
     * sees goes back by less than a unit (RFC 7323 2.4); what it had sent before is still taken. */
    uint32_t field = RTE_MIN(window + mask <= space ? (window + mask) >> scale : window >> scale, (uint32_t)UINT16_MAX);
    c->rcv_adv = seq_max(c->rcv_adv, seq_add(c->rcv_nxt, field << scale));
    return (uint16_t)field;
}

void tcp_window_update(struct tcp_conn *c)
{
    if (!tcp_may_receive(c))
        return;
    tcp_autotune(c);
    uint32_t space = receive_space(c), promised = tcp_rcv_wnd(c);
    if (space > promised && space - promised >= RTE_MIN(tcp_receive_buffer(c) / 2, 2u * c->rcv_mss))
        c->flags |= TCP_F_ACK_NOW;
}

/* ---- Delivery ---- */

/* Copies payload into the application's ring. Returns the bytes it took; the connection may have ended. */
static uint32_t copy(struct tcp_conn *c, struct zs_session *app, const struct rte_mbuf *m, uint32_t skip, uint32_t len)
{
    struct zs_view *v = c->st->conf.view;
    struct iovec iov[64];
    uint32_t n = 0, done = 0;
    for (; m != NULL && n < RTE_DIM(iov); m = m->next)
        iov[n++] = (struct iovec){rte_pktmbuf_mtod(m, void *), rte_pktmbuf_data_len(m)};
    /* A ring that is full grows when its reader stands still, which the second attempt shows. */
    for (int attempt = 0; attempt < 2 && done < len; attempt++) {
        int64_t put = zs_tx_write(v, app, &c->tx, iov, skip + done, len - done, tcp_receive_buffer(c));
        if (put == -EPROTO) {
            tcp_conn_fault(c);
            return 0;
        }
        done += put > 0 ? (uint32_t)put : 0;
    }
    return done;
}

/* What one buffer has, or a chain that was not merged, which is copied. */
static uint32_t deliver_buffer(struct tcp_conn *c, struct zs_session *app, struct rte_mbuf **m, uint32_t skip, uint32_t len)
{
    enum net_counter how = tcp_lend(c, app, *m, skip, len, tcp_receive_buffer(c));
    if (c->state == TCP_CLOSED)
        return 0;
    uint32_t done = how == NET_TCP_RX_LENT ? len : copy(c, app, *m, skip, len);
    if (how == NET_TCP_RX_LENT)
        *m = NULL;
    if (done > 0) {
        c->st->counters[how] += done;
        c->rcv_nxt = seq_add(c->rcv_nxt, done);
        c->rcv_adv = seq_max(c->rcv_adv, c->rcv_nxt);
    }
    return done;
}

/* The first buffer of a chain that was merged, alone; *chain is the rest. */
static struct rte_mbuf *first_of(struct rte_mbuf **chain)
{
    struct rte_mbuf *m = *chain;
    *chain = m->next;
    m->next = NULL;
    m->nb_segs = 1;
    m->pkt_len = m->data_len;
    return m;
}

static bool is_merged(const struct rte_mbuf *m)
{
    return m->nb_segs > 1 && (m->ol_flags & RTE_MBUF_F_RX_LRO);
}

/* Payload to the application, of merged segments each buffer for itself. Returns the bytes it took, *m what is left of the
 * buffers; the connection may have ended. */
static uint32_t deliver(struct tcp_conn *c, struct rte_mbuf **m, uint32_t skip, uint32_t len)
{
    struct zs_session *app = tcp_app(c);
    uint32_t done = 0;
    if (app == NULL)
        return 0;
    tcp_urgent_came(c, app, *m, skip, len);
    if (!is_merged(*m))
        done = deliver_buffer(c, app, m, skip, len);
    else
        for (bool all = true; all && *m != NULL && done < len && c->state != TCP_CLOSED;) {
            struct rte_mbuf *one = first_of(m);
            uint32_t n = rte_pktmbuf_data_len(one), from = RTE_MIN(skip, n);
            skip -= from;
            n = RTE_MIN(n - from, len - done);
            uint32_t put = n > 0 ? deliver_buffer(c, app, &one, from, n) : 0;
            rte_pktmbuf_free(one);
            all = put == n;
            done += put;
        }
    if (done > 0 && c->state != TCP_CLOSED)
        zs_notify(c->st->conf.view, app);
    return done;
}

/* ---- Out of order ---- */

/* What is kept, by sequence number, disjoint. There while anything is. */
struct tcp_ooo {
    struct rte_mbuf *first, *last; /* last NULL: to be looked for */
    tcp_seq last_run;              /* where the run begins that `last` ends */
    uint32_t count;
};

static struct rte_mbuf *ooo_unlink(struct tcp_conn *c, struct rte_mbuf **link)
{
    struct rte_mbuf *m = *link;
    *link = ooo_of(m)->next;
    if (m == c->ooo->last)
        c->ooo->last = NULL; /* the list is empty now, or the caller looks for it */
    c->ooo->count--;
    c->st->tcp->ooo_segs--;
    return m;
}

static void ooo_tidy(struct tcp_conn *c)
{
    if (c->ooo != NULL && c->ooo->first == NULL) {
        free(c->ooo);
        c->ooo = NULL;
    }
}

void tcp_ooo_free(struct tcp_conn *c)
{
    while (c->ooo != NULL && c->ooo->first != NULL)
        rte_pktmbuf_free(ooo_unlink(c, &c->ooo->first));
    ooo_tidy(c);
}

/* The run of kept segments that holds `at`. */
static struct tcp_block ooo_run(const struct tcp_conn *c, tcp_seq at)
{
    struct tcp_block run = {at, at};
    for (struct rte_mbuf *m = c->ooo->first; m != NULL && seq_leq(ooo_of(m)->seq, seq_max(at, run.end)); m = ooo_of(m)->next) {
        if (m == c->ooo->first || !seq_eq(ooo_of(m)->seq, run.end))
            run.start = ooo_of(m)->seq;
        run.end = seq_add(ooo_of(m)->seq, ooo_of(m)->len);
    }
    return run;
}

/* The list's end, after something changed elsewhere than there. */
static void find_last(struct tcp_conn *c)
{
    tcp_seq end = c->ooo->last_run;
    for (struct rte_mbuf *m = c->ooo->first; m != NULL; m = ooo_of(m)->next) {
        if (m == c->ooo->first || !seq_eq(ooo_of(m)->seq, end))
            c->ooo->last_run = ooo_of(m)->seq;
        end = seq_add(ooo_of(m)->seq, ooo_of(m)->len);
        c->ooo->last = m;
    }
}

/* Behind all that is kept, where nearly every segment goes after a loss: no way through the list. */
static bool append(struct tcp_conn *c, struct rte_mbuf *m, tcp_seq at, uint32_t skip, uint32_t len)
{
    struct rte_mbuf *last = c->ooo->last;
    tcp_seq end = last != NULL ? seq_add(ooo_of(last)->seq, ooo_of(last)->len) : at;
    if ((last == NULL && c->ooo->first != NULL) || seq_lt(at, end))
        return false;
    *ooo_of(m) = (struct ooo){NULL, at, skip, len};
    if (last == NULL || !seq_eq(at, end))
        c->ooo->last_run = at;
    if (last == NULL)
        c->ooo->first = m;
    else
        ooo_of(last)->next = m;
    c->ooo->last = m;
    return true;
}

static void kept(struct tcp_conn *c, struct tcp_block run)
{
    c->ooo->count++;
    c->st->tcp->ooo_segs++;
    tcp_sack_kept(c, run);
    NET_COUNT(c->st, TCP_OOO_QUEUED);
    c->info.out_of_order++;
}

/* Keeps a segment, less what is there already. Takes the buffer. */
static void ooo_insert(struct tcp_conn *c, struct rte_mbuf *m, tcp_seq at, uint32_t skip, uint32_t len)
{
    struct stack *st = c->st;
    struct rte_mbuf **link;
    if (c->ooo == NULL)
        c->ooo = calloc(1, sizeof *c->ooo);
    if (c->ooo == NULL || c->ooo->count >= TCP_OOO_CONN_MAX || st->tcp->ooo_segs >= st->conf.ooo_max_segs ||
        st->tcp->ooo_segs + st->tcp->lent >= st->tcp->hold_max) {
        net_drop(st, m, NET_TCP_OOO_FULL);
        ooo_tidy(c);
        return;
    }
    if (append(c, m, at, skip, len)) {
        kept(c, (struct tcp_block){c->ooo->last_run, seq_add(at, len)});
        return;
    }
    link = &c->ooo->first;
    while (*link != NULL && seq_leq(ooo_of(*link)->seq, at)) {
        const struct ooo *o = ooo_of(*link);
        int32_t cut = seq_diff(seq_add(o->seq, o->len), at);
        if (cut > 0)
            tcp_sack_twice(c, at, seq_add(at, RTE_MIN((uint32_t)cut, len)));
        if (cut >= (int32_t)len) {
            net_drop(st, m, NET_TCP_DUPLICATE);
            tcp_sack_kept(c, ooo_run(c, at)); /* RFC 2883 4: what holds it follows */
            return;
        }
        if (cut > 0) {
            at = seq_add(at, (uint32_t)cut);
            skip += (uint32_t)cut;
            len -= (uint32_t)cut;
        }
        link = &ooo_of(*link)->next;
    }
    while (*link != NULL && seq_lt(ooo_of(*link)->seq, seq_add(at, len))) {
        const struct ooo *o = ooo_of(*link);
        if (seq_gt(seq_add(o->seq, o->len), seq_add(at, len))) {
            tcp_sack_twice(c, o->seq, seq_add(at, len));
            len = (uint32_t)seq_diff(o->seq, at);
            break;
        }
        tcp_sack_twice(c, o->seq, seq_add(o->seq, o->len));
        net_drop(st, ooo_unlink(c, link), NET_TCP_DUPLICATE);
    }
    *ooo_of(m) = (struct ooo){*link, at, skip, len};
    *link = m;
    find_last(c);
    kept(c, ooo_run(c, at));
}

/* The stream ends here: what the peer sent beyond its own FIN is nothing, and must not follow what was before it (as tcp_fin in Linux). */
static void ooo_cut(struct tcp_conn *c, tcp_seq end)
{
    if (c->ooo == NULL)
        return;
    struct rte_mbuf **link = &c->ooo->first;
    for (struct ooo *o; *link != NULL && seq_lt((o = ooo_of(*link))->seq, end); link = &o->next)
        if (seq_gt(seq_add(o->seq, o->len), end))
            o->len = (uint32_t)seq_diff(end, o->seq);
    if (*link == NULL)
        return;
    while (*link != NULL)
        net_drop(c->st, ooo_unlink(c, link), NET_TCP_AFTER_FIN);
    find_last(c);
    ooo_tidy(c);
}

void tcp_drain(struct tcp_conn *c)
{
    while (c->ooo != NULL && seq_leq(ooo_of(c->ooo->first)->seq, c->rcv_nxt)) {
        struct rte_mbuf *m = c->ooo->first;
        const struct ooo *o = ooo_of(m);
        uint32_t old = (uint32_t)seq_diff(c->rcv_nxt, o->seq);
        if (old < o->len) {
            uint32_t put = deliver(c, &m, o->skip + old, o->len - old);
            if (c->state == TCP_CLOSED)
                return;
            c->flags |= TCP_F_ACK_NOW; /* RFC 5681 4.2: a gap was filled */
            if (put < o->len - old)
                return;
        }
        ooo_unlink(c, &c->ooo->first); /* lent or not, the dead space before the payload is ours */
        rte_pktmbuf_free(m);
        ooo_tidy(c);
    }
}

/* ---- Segments ---- */

/* Out of order: merged ones each for itself, as the list has them. Takes what it keeps. */
static void keep(struct tcp_conn *c, struct tcp_seg *s)
{
    tcp_seq at = s->seq;
    uint32_t skip = s->skip, left = s->len;
    if (!is_merged(s->m)) {
        ooo_insert(c, s->m, at, skip, left);
        s->m = NULL;
        return;
    }
    while (left > 0 && s->m != NULL) {
        struct rte_mbuf *one = first_of(&s->m);
        uint32_t len = rte_pktmbuf_data_len(one), from = RTE_MIN(skip, len), n = RTE_MIN(len - from, left);
        skip -= from;
        if (n > 0)
            ooo_insert(c, one, at, from, n);
        else
            rte_pktmbuf_free(one);
        at = seq_add(at, n);
        left -= n;
    }
}

/* A peer with a small window sends it in one go: the last of an odd number of segments would wait for those of the next round trip. Which one is
 * the last cannot be known; PSH may tell, and of few each is acknowledged. */
static bool may_end_a_flight(struct tcp_conn *c, const struct tcp_seg *s)
{
    if (s->flags & RTE_TCP_PSH_FLAG)
        return true;
    if (c->at_once == TCP_AT_ONCE_MAX)
        return false;
    c->at_once++;
    return true;
}

static void receive_payload(struct tcp_conn *c, struct tcp_seg *s)
{
    struct stack *st = c->st;
    const struct zs_session *own = tcp_own(c);
    if (!tcp_may_receive(c)) {
        NET_COUNT(st, TCP_AFTER_FIN); /* RFC 9293 3.10.7.4, seventh: ignore */
        return;
    }
    if (own == NULL || (atomic_load(&own->flags) & ZS_F_PEER_CLOSED)) {
        NET_COUNT(st, TCP_AFTER_CLOSE);
        tcp_conn_abort(c, ECONNRESET); /* RFC 9293 3.6.1: the sender must learn that nobody reads this */
        return;
    }
    if (!seq_eq(s->seq, c->rcv_nxt)) {
        keep(c, s);
        c->flags |= TCP_F_ACK_NOW; /* RFC 5681 4.2: at once, a duplicate ACK */
        return;
    }
    if (st->now - c->last_data >= TCP_FLIGHT_GAP_NS)
        c->at_once = 0;
    c->last_data = st->now;
    uint32_t put = deliver(c, &s->m, s->skip, s->len);
    if (c->state == TCP_CLOSED)
        return;
    if (put < s->len) {
        NET_COUNT(st, TCP_NO_RING_ROOM);
        c->flags |= TCP_F_ACK_NOW;
        return;
    }
    bool gap = c->ooo != NULL;
    tcp_drain(c);
    if (c->state == TCP_CLOSED)
        return;
    tcp_autotune_rtt(c, s);
    tcp_autotune(c);
    if (gap || s->segments > 1 || tcp_timer_on(c, TCP_T_DELACK))
        c->flags |= TCP_F_ACK_NOW | TCP_F_STREAM;
    else if ((tcp_opt_bits(c) & ZS_O_QUICKACK) || ((c->flags & TCP_F_STREAM) && may_end_a_flight(c, s)))
        c->flags |= TCP_F_ACK_NOW;
    else if (!(c->flags & TCP_F_ACK_NOW))
        tcp_timer_set(c, TCP_T_DELACK, c->flags & TCP_F_STREAM ? TCP_DELACK_STREAM_NS : TCP_DELACK_NS);
}

/* RFC 9293 3.10.7.4, eighth: the peer's FIN, everything before it received. */
static void receive_fin(struct tcp_conn *c)
{
    c->rcv_nxt = seq_add(c->rcv_nxt, 1);
    c->rcv_adv = seq_max(c->rcv_adv, c->rcv_nxt);
    c->flags |= TCP_F_ACK_NOW;
    if (c->own != ZS_NO_SESSION)
        zs_session_fin(c->st->conf.view, c->own);
    switch ((enum tcp_state)c->state) {
    case TCP_ESTABLISHED:
        tcp_set_state(c, TCP_CLOSE_WAIT);
        break;
    case TCP_FIN_WAIT_1: /* ours is not acknowledged, or it would be FIN-WAIT-2 */
        tcp_set_state(c, TCP_CLOSING);
        break;
    case TCP_FIN_WAIT_2:
        tcp_enter_time_wait(c);
        break;
    default:
        break;
    }
}

void tcp_receive(struct tcp_conn *c, struct tcp_seg *s)
{
    tcp_seq end = seq_add(s->seq, s->len);
    if (s->len > 0 && (c->flags & TCP_F_FIN_SEEN) && seq_gt(end, c->rcv_fin)) {
        NET_COUNT(c->st, TCP_AFTER_FIN);
        return;
    }
    tcp_urgent_in(c, s);
    if ((s->flags & RTE_TCP_FIN_FLAG) && tcp_may_receive(c)) {
        c->flags |= TCP_F_FIN_SEEN;
        c->rcv_fin = end;
        ooo_cut(c, end);
    }
    if (s->len > 0)
        receive_payload(c, s);
    if (c->state == TCP_CLOSED)
        return;
    if ((c->flags & TCP_F_FIN_SEEN) && seq_eq(c->rcv_nxt, c->rcv_fin) && tcp_may_receive(c))
        receive_fin(c);
    else if (s->flags & RTE_TCP_FIN_FLAG)
        c->flags |= TCP_F_ACK_NOW; /* a FIN out of order, or again */
}
