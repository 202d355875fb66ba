/* SPDX-License-Identifier: BSD-3-Clause
 * Building segments. Payload stays in the ring where the application put it, and packets refer to it there, if the port has
 * read a packet when it has taken it; else it is copied. */
#include <netinet/in.h>

#include "tcp_conn.h"

#define REFER_MIN 512u /* less is copied: another buffer costs more */
#define PIECES_MAX 48  /* of a segment's payload: where a ring wraps, where one ends, where lent memory begins */

/* ---- Payload in the ring ---- */

static bool port_reads(const struct tcp_conn *c)
{
    struct ip_route route;
    return c->st->conf.indirect_pool != NULL && ip_route(c->st, &c->flow.remote_ip, &route) &&
           (route.port->conf.caps & NET_CAP_TX_REFERS) == NET_CAP_TX_REFERS;
}

/* Chains buffers without data room behind the header; nothing is changed unless all are there. */
static bool refer(struct tcp_conn *c, struct rte_mbuf *m, const struct iovec *piece, int pieces, uint32_t len)
{
    struct stack *st = c->st;
    struct rte_mbuf *seg[PIECES_MAX];
    if (pieces <= 0 || rte_pktmbuf_alloc_bulk(st->conf.indirect_pool, seg, (unsigned)pieces) != 0)
        return false;
    struct rte_mbuf *last = m;
    for (int i = 0; i < pieces; i++) {
        uint16_t n = (uint16_t)piece[i].iov_len;
        rte_mbuf_ext_refcnt_update(&st->ring_memory, 1);
        rte_pktmbuf_attach_extbuf(seg[i], piece[i].iov_base, (rte_iova_t)(uintptr_t)piece[i].iov_base, n, &st->ring_memory);
        seg[i]->data_len = n;
        last->next = seg[i];
        last = seg[i];
    }
    m->nb_segs = (uint16_t)(1 + pieces);
    m->pkt_len += len;
    return true;
}

static void queued(struct tcp_conn *c, tcp_seq at)
{
    struct tcp_send *s = c->send;
    bool more = s->queued_flush == c->st->flushes;
    s->queued = more ? seq_min(s->queued, at) : at;
    s->queued_flush = c->st->flushes;
}

/* What is acknowledged may be overwritten by the application, and a ring that is left belongs to another connection next: then
 * no packet may refer to it any more. Only a retransmission whose acknowledgement came first, a few microseconds apart, makes
 * this send: what waits in the queues is normally new data. */
void tcp_leave_ring(struct tcp_conn *c, tcp_seq ack)
{
    if (c->send != NULL && c->send->queued_flush == c->st->flushes && seq_gt(ack, c->send->queued))
        net_flush(c->st);
}

enum payload { PAYLOAD_ADDED, PAYLOAD_NO_BUFFER, PAYLOAD_FAULT };

/* Copies behind the header, into as many buffers as it takes. */
static enum payload copy(struct tcp_conn *c, struct rte_mbuf *m, uint64_t off, uint32_t len)
{
    struct rte_mbuf *last = m;
    for (uint32_t done = 0, n; done < len; done += n) {
        if (done > 0) {
            struct rte_mbuf *next = ip_alloc(c->st);
            if (next == NULL)
                return PAYLOAD_NO_BUFFER;
            last->next = next;
            last = next;
            m->nb_segs++;
        }
        n = RTE_MIN(len - done, (uint32_t)rte_pktmbuf_tailroom(last));
        struct iovec iov = {rte_pktmbuf_mtod_offset(last, void *, rte_pktmbuf_data_len(last)), n};
        if (n == 0 || zs_rx_peek(c->st->conf.view, tcp_own(c), off + done, &iov, 0, n) != (int64_t)n)
            return PAYLOAD_FAULT;
        last->data_len = (uint16_t)(last->data_len + n);
        m->pkt_len += n;
    }
    return PAYLOAD_ADDED;
}

/* Payload of a segment, from own's ring. FAULT: the ring's state is impossible. */
static enum payload add_payload(struct tcp_conn *c, struct rte_mbuf *m, tcp_seq at, uint64_t off, uint32_t len)
{
    struct zs_view *v = c->st->conf.view;
    struct iovec piece[PIECES_MAX];
    if (len >= REFER_MIN && port_reads(c) &&
        refer(c, m, piece, zs_rx_spans(v, tcp_own(c), off, len, piece, PIECES_MAX), len)) {
        queued(c, at);
        NET_COUNT_BYTES(c->st, TCP_TX_REFERRED, len);
        return PAYLOAD_ADDED;
    }
    enum payload copied = copy(c, m, off, len);
    if (copied == PAYLOAD_ADDED)
        NET_COUNT_BYTES(c->st, TCP_TX_COPIED, len);
    return copied;
}

/* ---- Segments ---- */

/* Header, options and payload; NULL: no buffer, or the connection ended. *codepoint: of the IP header. */
static struct rte_mbuf *build(struct tcp_conn *c, tcp_seq at, uint8_t flags, uint64_t off, uint32_t len, uint8_t *codepoint)
{
    uint8_t options[TCP_OPTIONS_MAX];
    uint32_t olen = flags & RTE_TCP_RST_FLAG ? 0 : tcp_options_build(c, flags, options);
    struct rte_mbuf *m = ip_alloc(c->st);
    if (m == NULL)
        return NULL;
    struct rte_tcp_hdr *h = (void *)rte_pktmbuf_append(m, (uint16_t)(sizeof *h + olen));
    bool ack = flags & RTE_TCP_ACK_FLAG;
    flags |= tcp_ecn_flags(c, flags, at, len, codepoint);
    *h = (struct rte_tcp_hdr){.src_port = c->flow.local_port, .dst_port = c->flow.remote_port,
                              .sent_seq = rte_cpu_to_be_32(at.v), .recv_ack = ack ? rte_cpu_to_be_32(c->rcv_nxt.v) : 0,
                              .data_off = (uint8_t)((sizeof *h + olen) / 4 << 4), .tcp_flags = flags};
    memcpy(h + 1, options, olen);
    tcp_urgent_point(c, at, h);
    if (!(flags & RTE_TCP_RST_FLAG))
        h->rx_win = rte_cpu_to_be_16(tcp_window_field(c, flags & RTE_TCP_SYN_FLAG));
    m->l4_len = sizeof *h + olen;
    enum payload payload = len > 0 ? add_payload(c, m, at, off, len) : PAYLOAD_ADDED;
    if (payload == PAYLOAD_ADDED)
        return m;
    rte_pktmbuf_free(m);
    if (payload == PAYLOAD_FAULT)
        tcp_conn_fault(c);
    return NULL;
}

bool tcp_transmit(struct tcp_conn *c, tcp_seq at, uint8_t flags, uint64_t off, uint32_t len)
{
    return tcp_transmit_large(c, at, flags, off, len, 0);
}

bool tcp_transmit_large(struct tcp_conn *c, tcp_seq at, uint8_t flags, uint64_t off, uint32_t len, uint32_t mss)
{
    struct stack *st = c->st;
    uint8_t codepoint;
    if ((len > 0 || (flags & RTE_TCP_FIN_FLAG)) && !tcp_send_begin(c))
        return false;
    struct rte_mbuf *m = build(c, at, flags, off, len, &codepoint);
    if (m == NULL)
        return false;
    struct rte_tcp_hdr *h = rte_pktmbuf_mtod(m, struct rte_tcp_hdr *);
    uint32_t frames = mss == 0 ? 1 : (len + mss - 1) / mss;
    h->cksum = frames > 1 ? ip_l4_large(m, &c->flow.local_ip, &c->flow.remote_ip, mss)
                          : ip_l4_cksum(st, m, &c->flow.local_ip, &c->flow.remote_ip, IPPROTO_TCP);
    if (flags & RTE_TCP_ACK_FLAG) { /* whatever was owed is paid */
        c->last_ack_sent = c->rcv_nxt;
        c->flags &= ~TCP_F_ACK_NOW;
        tcp_timer_clear(c, TCP_T_DELACK);
        tcp_sack_told(c);
    }
    if (len > 0)
        c->flags &= ~TCP_F_STREAM;
    NET_COUNT_BYTES(st, TCP_TX, frames);
    if (frames > 1)
        NET_COUNT(st, TCP_TX_LARGE);
    c->info.segs_out += frames;
    c->info.data_out += len > 0 ? frames : 0;
    const struct ip_how how = {.pmtu = IP_PMTU_WANT, .tos = codepoint};
    ip_output_how(st, m, &c->flow.local_ip, &c->flow.remote_ip, IPPROTO_TCP, &how);
    return true;
}

/* An ACK says the newest sequence number that the peer takes for acceptable. snd_nxt may have fallen back after a timeout, and
 * an ACK from there would be turned away unread by a peer that has received more. */
void tcp_send_ack(struct tcp_conn *c)
{
    tcp_seq edge = seq_add(c->snd_una, c->snd_wnd);
    tcp_transmit(c, seq_min(c->snd_max, edge), RTE_TCP_ACK_FLAG, 0, 0);
}

void tcp_challenge(struct tcp_conn *c)
{
    if (c->st->now - c->challenge_start >= NET_NS_PER_S) {
        c->challenge_start = c->st->now;
        c->challenges = 0;
    }
    if (c->challenges == TCP_CHALLENGES_PER_S) {
        NET_COUNT(c->st, TCP_CHALLENGE_LIMITED);
        return;
    }
    c->challenges++;
    NET_COUNT(c->st, TCP_CHALLENGE_ACK);
    tcp_send_ack(c);
}

void tcp_answer_rst(struct stack *st, const struct tcp_seg *s)
{
    bool ack = s->flags & RTE_TCP_ACK_FLAG;
    struct rte_mbuf *m = ip_alloc(st);
    if (m == NULL)
        return;
    struct rte_tcp_hdr *h = (void *)rte_pktmbuf_append(m, sizeof *h);
    *h = (struct rte_tcp_hdr){.src_port = s->flow.local_port, .dst_port = s->flow.remote_port,
                              .sent_seq = ack ? rte_cpu_to_be_32(s->ack.v) : 0,
                              .recv_ack = ack ? 0 : rte_cpu_to_be_32(seq_add(s->seq, seg_space(s)).v),
                              .data_off = sizeof *h / 4 << 4,
                              .tcp_flags = ack ? RTE_TCP_RST_FLAG : RTE_TCP_RST_FLAG | RTE_TCP_ACK_FLAG};
    m->l4_len = sizeof *h;
    h->cksum = ip_l4_cksum(st, m, &s->flow.local_ip, &s->flow.remote_ip, IPPROTO_TCP);
    NET_COUNT(st, TCP_RST_TX);
    NET_COUNT(st, TCP_TX);
    ip_output(st, m, &s->flow.local_ip, &s->flow.remote_ip, IPPROTO_TCP);
}
