/* SPDX-License-Identifier: BSD-3-Clause
 * Building segments. Payload is copied from the ring when it is sent, and again when it is retransmitted. */
#include <netinet/in.h>

#include "tcp_conn.h"

/* Payload of a segment from own's ring; false when the ring's state is impossible. */
static bool copy_payload(struct tcp_conn *c, struct rte_mbuf *m, uint64_t off, uint32_t len)
{
    struct iovec iov = {rte_pktmbuf_append(m, (uint16_t)len), len};
    return iov.iov_base != NULL && zs_rx_peek(c->st->conf.view, tcp_own(c), off, &iov, 0, len) == (int64_t)len;
}

bool tcp_transmit(struct tcp_conn *c, tcp_seq at, uint8_t flags, uint64_t off, uint32_t len)
{
    struct stack *st = c->st;
    uint8_t options[TCP_OPTIONS_MAX];
    uint32_t olen = flags & RTE_TCP_RST_FLAG ? 0 : tcp_options_build(c, flags, options);
    struct rte_mbuf *m = ip_alloc(st);
    if (m == NULL)
        return false;
    struct rte_tcp_hdr *h = (void *)rte_pktmbuf_append(m, (uint16_t)(sizeof *h + olen));
    bool ack = flags & RTE_TCP_ACK_FLAG;
    *h = (struct rte_tcp_hdr){.src_port = c->flow.local_port, .dst_port = c->flow.remote_port,
                              .sent_seq = rte_cpu_to_be_32(at.v), .recv_ack = ack ? rte_cpu_to_be_32(c->rcv_nxt.v) : 0,
                              .data_off = (uint8_t)((sizeof *h + olen) / 4 << 4), .tcp_flags = flags};
    memcpy(h + 1, options, olen);
    if (!(flags & RTE_TCP_RST_FLAG))
        h->rx_win = rte_cpu_to_be_16(tcp_window_field(c, flags & RTE_TCP_SYN_FLAG));
    if (len > 0 && !copy_payload(c, m, off, len)) {
        rte_pktmbuf_free(m);
        tcp_conn_fault(c);
        return false;
    }
    m->l4_len = sizeof *h + olen;
    h->cksum = ip_l4_cksum(st, m, c->flow.local_ip, c->flow.remote_ip, IPPROTO_TCP);
    if (ack) { /* whatever was owed is paid */
        c->last_ack_sent = c->rcv_nxt;
        c->flags &= ~TCP_F_ACK_NOW;
        tcp_timer_clear(c, TCP_T_DELACK);
    }
    NET_COUNT(st, TCP_TX);
    ip_output(st, m, c->flow.local_ip, c->flow.remote_ip, IPPROTO_TCP);
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
    h->cksum = ip_l4_cksum(st, m, s->flow.local_ip, s->flow.remote_ip, IPPROTO_TCP);
    NET_COUNT(st, TCP_RST_TX);
    NET_COUNT(st, TCP_TX);
    ip_output(st, m, s->flow.local_ip, s->flow.remote_ip, IPPROTO_TCP);
}
