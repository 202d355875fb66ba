/* SPDX-License-Identifier: BSD-3-Clause
 * Explicit congestion notification, RFC 3168: agreed on in the handshake when the peer asks, or when the stack is told to ask. A
 * mark on the way here is echoed until the peer says that it has slowed down; an echo slows us down once in a round trip. */
#include "tcp_conn.h"

#define ASKS (RTE_TCP_ECE_FLAG | RTE_TCP_CWR_FLAG)

/* 6.1.1: a SYN asks with both flags, a SYN,ACK confirms with ECE alone. */
void tcp_ecn_learn(struct tcp_conn *c, const struct tcp_seg *s)
{
    uint8_t flags = s->flags & ASKS;
    bool agreed = s->flags & RTE_TCP_ACK_FLAG ? (c->flags & TCP_F_ECN_TRY) && flags == RTE_TCP_ECE_FLAG : flags == ASKS;
    if (agreed && !(c->st->conf.without & NET_WITHOUT_ECN))
        c->flags |= TCP_F_ECN;
}

uint8_t tcp_ecn_syn_flags(const struct tcp_conn *c, bool passive)
{
    if (passive)
        return c->flags & TCP_F_ECN ? RTE_TCP_ECE_FLAG : 0;
    /* 6.1.1.1: a SYN that was not answered is repeated without, in case somebody drops those who ask. */
    return (c->flags & TCP_F_ECN_TRY) && c->retries == 0 ? ASKS : 0;
}

uint8_t tcp_ecn_flags(struct tcp_conn *c, uint8_t flags, tcp_seq at, uint32_t len, uint8_t *codepoint)
{
    uint8_t add = 0;
    *codepoint = 0;
    if (!(c->flags & TCP_F_ECN) || (flags & (RTE_TCP_SYN_FLAG | RTE_TCP_RST_FLAG)))
        return 0;
    if ((flags & RTE_TCP_ACK_FLAG) && (c->flags & TCP_F_ECE))
        add |= RTE_TCP_ECE_FLAG;
    bool fresh = len > 0 && seq_geq(at, c->snd_max) && c->snd_wnd > 0; /* 6.1.5, 6.1.6: neither retransmissions nor probes */
    if (fresh && (c->flags & TCP_F_CWR)) { /* 6.1.2: on the first new data after the reduction */
        add |= RTE_TCP_CWR_FLAG;
        c->flags &= ~TCP_F_CWR;
    }
    *codepoint = fresh ? ECN_ECT0 : 0;
    return add;
}

void tcp_ecn_in(struct tcp_conn *c, const struct tcp_seg *s)
{
    if (!(c->flags & TCP_F_ECN))
        return;
    if (s->flags & RTE_TCP_CWR_FLAG) /* 6.1.3: it has heard */
        c->flags &= ~TCP_F_ECE;
    if (s->ce) {
        NET_COUNT_BYTES(c->st, TCP_CE_RX, s->segments);
        c->ce_seen += s->segments;
        c->flags |= TCP_F_ECE;
    }
}

/* 6.1.2. Before the acknowledgement moves snd_una. */
void tcp_ecn_ack(struct tcp_conn *c, const struct tcp_seg *s)
{
    if (!(c->flags & TCP_F_ECN) || !(s->flags & RTE_TCP_ECE_FLAG))
        return;
    c->ce_told++;
    bool reduced = (c->flags & TCP_F_CWR_SEQ) && seq_leq(s->ack, c->send->cwr_seq);
    if (reduced || (c->flags & (TCP_F_RECOVERY | TCP_F_LOSS)) || tcp_flight(c) == 0)
        return;
    NET_COUNT(c->st, TCP_ECN_REDUCED);
    c->cc->lost(c, RTE_MIN(tcp_flight(c), c->cwnd));
    c->cwnd = RTE_MIN(c->cwnd, c->ssthresh);
    c->send->may_undo = false; /* this reduction is none of a loss */
    c->send->cwr_seq = c->snd_max;
    c->flags |= TCP_F_CWR | TCP_F_CWR_SEQ;
}
