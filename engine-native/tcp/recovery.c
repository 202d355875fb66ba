/* SPDX-License-Identifier: BSD-3-Clause
 * Loss recovery: fast retransmit and fast recovery (RFC 5681 3.2) with NewReno's partial acknowledgements (RFC 6582), and the
 * retransmission timeout (RFC 6298 5). With SACK the former is sack_recovery.c's. */
#include "tcp_conn.h"

#define DUPACK_THRESHOLD 3u

static void enter(struct tcp_conn *c)
{
    NET_COUNT(c->st, TCP_FAST_RETRANSMIT);
    c->cc->lost(c, tcp_flight(c));
    c->recover = c->snd_max;
    c->flags |= c->flags & TCP_F_ECN ? TCP_F_CWR : 0;
    c->flags |= TCP_F_RECOVERY;
    c->cwnd = c->ssthresh + DUPACK_THRESHOLD * c->mss;
    tcp_retransmit_first(c);
    if (c->state != TCP_CLOSED)
        tcp_timer_set(c, TCP_T_RETRANSMIT, tcp_rto_ns(c));
}

void tcp_dupack(struct tcp_conn *c)
{
    if (c->dupacks < UINT8_MAX)
        c->dupacks++;
    if (c->flags & TCP_F_RECOVERY) {
        c->cwnd += c->mss; /* RFC 5681 3.2 (4): a segment has left the network */
        return;
    }
    /* RFC 6582 3.2 (2): duplicates of what was sent before the last recovery or timeout prove no new loss. */
    if (c->dupacks == DUPACK_THRESHOLD && seq_gt(c->snd_una, c->recover))
        enter(c);
}

void tcp_recovery_ack(struct tcp_conn *c, tcp_seq ack, uint32_t acked)
{
    c->dupacks = 0;
    if (!(c->flags & TCP_F_RECOVERY)) {
        if (seq_gt(ack, c->recover)) /* passed: kept near, lest in 2 GiB it seem to lie ahead */
            c->recover = seq_sub(ack, 1);
        tcp_cc_acked(c, acked);
        return;
    }
    if (seq_geq(ack, c->recover)) { /* RFC 6582 3.2 (3), full: option 1, which avoids a burst */
        c->cwnd = RTE_MIN(c->ssthresh, RTE_MAX(tcp_flight(c), (uint32_t)c->mss) + c->mss);
        c->flags &= ~TCP_F_RECOVERY;
        return;
    }
    /* Partial: the next hole. Deflate by what left the network. */
    NET_COUNT(c->st, TCP_PARTIAL_ACK);
    c->cwnd = c->cwnd > acked ? c->cwnd - acked : 0;
    if (acked >= c->mss)
        c->cwnd += c->mss;
    c->cwnd = RTE_MAX(c->cwnd, (uint32_t)c->mss);
    tcp_retransmit_first(c); /* tcp_acked() has restarted the timer: RFC 6582's slow-but-steady variant */
}

static void give_up(struct tcp_conn *c)
{
    NET_COUNT(c->st, TCP_TIMED_OUT);
    tcp_tfo_failed(c);
    if (c->listener != NULL) { /* a stranger that may not even exist: no more packets for it */
        tcp_conn_end(c, ETIMEDOUT);
        return;
    }
    tcp_conn_abort(c, c->soft_error != 0 ? c->soft_error : ETIMEDOUT);
}

void tcp_retransmit_timeout(struct tcp_conn *c)
{
    bool handshake = c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED, unanswered = c->tfo & TCP_TFO_SYN_OUT;
    NET_COUNT(c->st, TCP_RTO);
    /* An answered SYN,ACK may wait for data for longer than an unanswered one for its answer. */
    uint32_t most = !handshake && !unanswered ? TCP_RETRIES : c->flags & TCP_F_ACKED ? RTE_MAX(c->syn_retries, c->defer) : c->syn_retries;
    if (c->retries >= most || tcp_user_timeout_over(c, c->stuck_since)) {
        give_up(c);
        return;
    }
    if (c->backoff < 16)
        c->backoff++; /* 5.5 */
    if (handshake) {
        c->retries++;
        if ((c->flags & TCP_F_ACKED) && c->retries < c->defer)
            tcp_timer_set(c, TCP_T_RETRANSMIT, tcp_rto_ns(c)); /* it knows; asked once more when the wait is over */
        else
            tcp_send_syn(c);
        return;
    }
    if (unanswered) { /* data that followed the SYN,ACK goes after it again */
        tcp_tfo_syn_again(c);
        if (tcp_flight(c) == 0) {
            c->retries++;
            tcp_timer_set(c, TCP_T_RETRANSMIT, tcp_rto_ns(c));
            return;
        }
    }
    if (!tcp_send_begin(c)) { /* and so nothing is outstanding: there was no memory for it */
        tcp_timer_set(c, TCP_T_RETRANSMIT, tcp_rto_ns(c));
        return;
    }
    /* RFC 5681 3.1: once per loss, not per retransmission; fast recovery that failed has reduced already. */
    bool new_loss = c->retries++ == 0 && !(c->flags & (TCP_F_RECOVERY | TCP_F_LOSS));
    c->flags = new_loss && (c->flags & TCP_F_SACK_SEND) ? c->flags | TCP_F_FRTO : c->flags & ~TCP_F_FRTO;
    if (new_loss) {
        c->send->prior_cwnd = c->cwnd;
        c->send->prior_ssthresh = c->ssthresh;
        c->send->timed_out = c->st->now;
    }
    if (new_loss)
        c->cc->timeout(c, c->flags & TCP_F_SACK_SEND ? RTE_MIN(tcp_flight(c), c->cwnd) : tcp_flight(c));
    c->cwnd = c->mss;
    c->send->cc_acked = 0;
    c->dupacks = 0;
    c->recover = c->snd_max; /* RFC 6582 3.2 (4) */
    c->flags &= ~(TCP_F_RECOVERY | TCP_F_RTT_TIMED);
    if (c->flags & TCP_F_SACK_SEND)
        tcp_sack_timeout(c);
    else
        c->snd_nxt = c->snd_una;
    tcp_send_data(c);
}
