/* SPDX-License-Identifier: BSD-3-Clause
 * See tcpinfo_kernel.h. */
#include "tcpinfo_kernel.h"

void zs_tcp_info_kernel(const struct zs_tcp_info *i, struct tcp_info *ti)
{
    static const uint8_t state[] = {ZS_K_CLOSE, ZS_K_LISTEN, ZS_K_SYN_SENT, ZS_K_SYN_RECV, ZS_K_ESTABLISHED, ZS_K_FIN_WAIT1,
                                    ZS_K_FIN_WAIT2, ZS_K_CLOSE_WAIT, ZS_K_CLOSING, ZS_K_LAST_ACK, ZS_K_TIME_WAIT}; /* by the stack's */
    *ti = (struct tcp_info){
        .tcpi_state = i->state < sizeof state ? state[i->state] : ZS_K_CLOSE, .tcpi_ca_state = i->ca_state,
        .tcpi_retransmits = i->retransmits, .tcpi_probes = i->probes, .tcpi_backoff = i->backoff, .tcpi_options = i->options,
        .tcpi_snd_wscale = i->snd_wscale & 15u, .tcpi_rcv_wscale = i->rcv_wscale & 15u, .tcpi_rto = i->rto_us,
        .tcpi_ato = i->ato_us, .tcpi_snd_mss = i->snd_mss, .tcpi_rcv_mss = i->rcv_mss, .tcpi_unacked = i->unacked,
        .tcpi_sacked = i->sacked, .tcpi_lost = i->lost, .tcpi_last_data_sent = i->last_data_sent_ms,
        .tcpi_last_data_recv = i->last_data_recv_ms, .tcpi_last_ack_recv = i->last_ack_recv_ms, .tcpi_pmtu = i->pmtu,
        .tcpi_rcv_ssthresh = i->rcv_ssthresh, .tcpi_rtt = i->rtt_us, .tcpi_rttvar = i->rttvar_us,
        .tcpi_snd_ssthresh = i->snd_ssthresh, .tcpi_snd_cwnd = i->snd_cwnd, .tcpi_advmss = i->advmss,
        .tcpi_reordering = i->reordering, .tcpi_rcv_rtt = i->rcv_rtt_us, .tcpi_rcv_space = i->rcv_space,
        .tcpi_total_retrans = i->total_retrans, .tcpi_bytes_acked = i->bytes_acked, .tcpi_bytes_received = i->bytes_received,
        .tcpi_segs_out = i->segs_out, .tcpi_segs_in = i->segs_in, .tcpi_notsent_bytes = i->notsent_bytes,
        .tcpi_min_rtt = i->min_rtt_us, .tcpi_data_segs_in = i->data_segs_in, .tcpi_data_segs_out = i->data_segs_out,
        .tcpi_delivered = i->delivered, .tcpi_delivered_ce = i->delivered_ce, .tcpi_bytes_sent = i->bytes_sent,
        .tcpi_bytes_retrans = i->bytes_retrans, .tcpi_dsack_dups = i->dsack_dups, .tcpi_rcv_ooopack = i->rcv_ooopack,
        .tcpi_snd_wnd = i->snd_wnd, .tcpi_pacing_rate = i->pacing_rate, .tcpi_max_pacing_rate = i->max_pacing_rate,
    };
}
