/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the engine's stack tells of a connection (TCP_INFO, tcp(7)), without the C library's or the kernel's headers, which
 * exclude each other and the stack's. The preload makes a struct tcp_info of it. Sizes in bytes, counts of segments where
 * struct tcp_info has them, times in the unit of the name. */
#ifndef ZSTACK_TCPINFO_H
#define ZSTACK_TCPINFO_H

#include <stdint.h>

/* As TCPI_OPT_* */
#define ZS_TCPI_TIMESTAMPS 1u
#define ZS_TCPI_SACK 2u
#define ZS_TCPI_WSCALE 4u
#define ZS_TCPI_ECN 8u
#define ZS_TCPI_ECN_SEEN 16u
#define ZS_TCPI_SYN_DATA 32u
/* As enum tcp_ca_state */
enum zs_tcp_ca_state { ZS_CA_OPEN, ZS_CA_DISORDER, ZS_CA_CWR, ZS_CA_RECOVERY, ZS_CA_LOSS };

struct zs_tcp_info {
    uint8_t state; /* enum tcp_state of the stack: RFC 9293's order */
    uint8_t ca_state, retransmits, probes, backoff, options, snd_wscale, rcv_wscale;
    uint32_t rto_us, ato_us, snd_mss, rcv_mss, advmss, pmtu;
    uint32_t unacked, sacked, lost;
    uint32_t last_data_sent_ms, last_data_recv_ms, last_ack_recv_ms;
    uint32_t rtt_us, rttvar_us, min_rtt_us, rcv_rtt_us;
    uint32_t snd_cwnd, snd_ssthresh, reordering;
    uint32_t rcv_space, rcv_ssthresh, rcv_wnd, snd_wnd;
    uint32_t total_retrans, segs_out, segs_in, data_segs_out, data_segs_in, dsack_dups, rcv_ooopack, delivered, delivered_ce;
    uint32_t notsent_bytes;
    uint64_t pacing_rate, max_pacing_rate; /* bytes per second, all ones for no limit */
    uint64_t bytes_acked, bytes_received, bytes_sent, bytes_retrans;
};

#endif
