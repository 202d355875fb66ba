/* SPDX-License-Identifier: BSD-3-Clause
 * What is told of a connection: FreeBSD's struct tcp_info (netinet/tcp.h there) as the engine has it. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "fstack.h"

/* Its beginning. The members whose names begin with x_ are zero there. */
struct bsd_tcp_info {
    uint8_t state, x_ca_state, x_retransmits, x_probes, x_backoff, options, wscale; /* low half: sending */
    uint32_t rto, x_ato, snd_mss, rcv_mss;
    uint32_t x_unacked, x_sacked, x_lost, x_retrans, x_fackets;
    uint32_t x_last_data_sent, x_last_ack_sent, last_data_recv, x_last_ack_recv;
    uint32_t x_pmtu, x_rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, x_advmss, x_reordering;
    uint32_t x_rcv_rtt, rcv_space, snd_wnd, snd_bwnd, snd_nxt, rcv_nxt, toe_tid, snd_rexmitpack, rcv_ooopack;
    uint8_t rest[256];
};

/* By FreeBSD's state (netinet/tcp_fsm.h): RFC 9293's order and word. */
static const struct {
    uint8_t state;
    const char *name;
} states[] = {{0, "CLOSED"}, {1, "LISTEN"}, {2, "SYN-SENT"}, {3, "SYN-RECEIVED"}, {4, "ESTABLISHED"}, {7, "CLOSE-WAIT"},
              {5, "FIN-WAIT-1"}, {8, "CLOSING"}, {9, "LAST-ACK"}, {6, "FIN-WAIT-2"}, {10, "TIME-WAIT"}};

static bool ask(const struct fs_conn *c, struct bsd_tcp_info *info)
{
    socklen_t len = sizeof *info;
    memset(info, 0, sizeof *info);
    return ff_getsockopt(c->sock.fd, IPPROTO_TCP, TCP_INFO, info, &len) == 0 && info->state < RTE_DIM(states);
}

uint32_t fs_conn_next(const struct fs_conn *c)
{
    struct bsd_tcp_info info;
    return ask(c, &info) ? info.snd_nxt : 0;
}

#define BSD_FIONWRITE 0x4004667fu /* sys/filio.h there: bytes in the send buffer */

/* Of what the socket took; what it has no more the peer has acknowledged. */
static uint64_t acknowledged(const struct fs_conn *c)
{
    int left = 0;
    if (ff_ioctl_freebsd(c->sock.fd, BSD_FIONWRITE, &left) != 0 || left < 0)
        return 0;
    return c->tx_bytes - RTE_MIN((uint64_t)left, c->tx_bytes);
}

const char *fs_conn_state(void *stack, void *handle)
{
    struct bsd_tcp_info info;
    (void)stack;
    return ask(handle, &info) ? states[info.state].name : "CLOSED";
}

void fs_conn_info(void *stack, void *handle, uint64_t now, struct zs_tcp_info *to)
{
    struct bsd_tcp_info i;
    const struct fs_conn *c = handle;
    (void)stack;
    (void)now;
    memset(to, 0, sizeof *to);
    if (!ask(handle, &i))
        return;
    *to = (struct zs_tcp_info){
        .state = states[i.state].state, .options = i.options & 0x0f, .snd_wscale = i.wscale & 0x0f, .rcv_wscale = i.wscale >> 4,
        .rto_us = i.rto, .snd_mss = i.snd_mss, .rcv_mss = i.rcv_mss, .advmss = i.rcv_mss,
        .last_data_recv_ms = i.last_data_recv / 1000, .rtt_us = i.rtt, .rttvar_us = i.rttvar,
        .snd_cwnd = i.snd_mss == 0 ? 0 : i.snd_cwnd / i.snd_mss, /* FreeBSD counts bytes */
        .snd_ssthresh = i.snd_mss == 0 ? 0 : i.snd_ssthresh / i.snd_mss,
        .rcv_space = i.rcv_space, .rcv_wnd = i.rcv_space, .snd_wnd = i.snd_wnd,
        .total_retrans = i.snd_rexmitpack, .rcv_ooopack = i.rcv_ooopack,
        .bytes_acked = acknowledged(c), .bytes_received = c->rx_bytes,
        .pacing_rate = UINT64_MAX, .max_pacing_rate = UINT64_MAX, /* FreeBSD has no such option */
    };
}
