/* SPDX-License-Identifier: BSD-3-Clause
 * Urgent data (RFC 9293 3.8.5, RFC 6093): the pointer names the byte after the urgent one, and one byte is urgent, as every
 * stack and socket interface has it. Where the byte lies is told to the application's reader by its direction's `urgent`. */
#include "tcp_conn.h"

/* ---- Out ---- */

void tcp_urgent_look(struct tcp_conn *c, const struct zs_session *own, uint64_t unread)
{
    uint64_t word = atomic_load_explicit(&own->rx_prod.urgent, memory_order_relaxed);
    uint64_t after = ZS_URGENT_POS(word) + 1, head = atomic_load_explicit(&own->rx_cons.head, memory_order_relaxed);
    c->flags &= ~TCP_F_URGENT;
    if (word == 0 || after <= head || after - head > unread)
        return;
    c->snd_up = seq_add(c->snd_una, (uint32_t)(after - head));
    c->flags |= TCP_F_URGENT;
}

void tcp_urgent_point(const struct tcp_conn *c, tcp_seq at, struct rte_tcp_hdr *h)
{
    int32_t ahead = seq_diff(c->snd_up, at);
    if (!(c->flags & TCP_F_URGENT) || ahead <= 0 || (h->tcp_flags & (RTE_TCP_RST_FLAG | RTE_TCP_SYN_FLAG)))
        return;
    h->tcp_flags |= RTE_TCP_URG_FLAG;
    h->tcp_urp = rte_cpu_to_be_16((uint16_t)RTE_MIN(ahead, UINT16_MAX));
}

/* ---- In ---- */

static void tell(struct tcp_conn *c, struct zs_session *app, tcp_seq at, uint32_t byte)
{
    uint64_t pos = atomic_load_explicit(&app->rx_prod.tail, memory_order_relaxed) + (uint64_t)seq_diff(at, c->rcv_nxt);
    zs_urgent_put(app, ZS_URGENT(pos, byte));
    zs_notify(c->st->conf.view, app);
}

/* The byte of a segment's payload, which begins at `from`, after skip bytes of m. */
static uint32_t byte_of(const struct rte_mbuf *m, uint32_t skip, tcp_seq from, tcp_seq at)
{
    uint8_t copy;
    const uint8_t *p = rte_pktmbuf_read(m, skip + (uint32_t)seq_diff(at, from), 1, &copy);
    return p == NULL ? 0 : ZS_URGENT_KNOWN | *p;
}

void tcp_urgent_in(struct tcp_conn *c, const struct tcp_seg *s)
{
    struct zs_session *app = tcp_app(c);
    if (!s->urgent || app == NULL || !tcp_may_receive(c))
        return;
    /* What was received already, or was told of, is not news. */
    uint64_t word = atomic_load_explicit(&app->rx_prod.urgent, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&app->rx_prod.tail, memory_order_relaxed);
    bool known = seq_lt(s->up, c->rcv_nxt) ||
                 (word != 0 && tail + (uint64_t)seq_diff(s->up, c->rcv_nxt) <= ZS_URGENT_POS(word) &&
                  !((c->flags & TCP_F_URGENT_RX) && seq_gt(s->up, c->rcv_up)));
    bool here = s->len > 0 && seq_geq(s->up, s->seq) && seq_lt(s->up, seq_add(s->seq, s->len));
    if (known && !(here && (c->flags & TCP_F_URGENT_RX) && seq_eq(s->up, c->rcv_up))) {
        NET_COUNT(c->st, TCP_URGENT_OLD);
        return;
    }
    if (!known)
        NET_COUNT(c->st, TCP_URGENT_RX);
    c->flags = here ? c->flags & ~TCP_F_URGENT_RX : c->flags | TCP_F_URGENT_RX;
    c->rcv_up = s->up;
    tell(c, app, s->up, here ? byte_of(s->m, s->skip, s->seq, s->up) : 0);
    if (!known)
        zs_urgent_signal(c->st->conf.view, app);
}

void tcp_urgent_came(struct tcp_conn *c, struct zs_session *app, const struct rte_mbuf *m, uint32_t skip, uint32_t len)
{
    if (!(c->flags & TCP_F_URGENT_RX) || seq_lt(c->rcv_up, c->rcv_nxt) || seq_geq(c->rcv_up, seq_add(c->rcv_nxt, len)))
        return;
    c->flags &= ~TCP_F_URGENT_RX;
    tell(c, app, c->rcv_up, byte_of(m, skip, c->rcv_nxt, c->rcv_up));
}
