/* SPDX-License-Identifier: BSD-3-Clause
 * FreeBSD's statistics under the names that the native stack's counters have, where they mean the same. They are read by
 * sysctl as arrays of 64-bit counters: struct tcpstat, udpstat, ipstat and icmpstat (netinet/tcp_var.h, udp_var.h, ip_var.h, icmp_var.h), whose
 * members below have kept their places since FreeBSD 10. */
#define _GNU_SOURCE
#include "fstack.h"

#define STATS_MAX 256

struct stat {
    const char *name;
    unsigned at;
};

static const struct stat tcp[] = {
    {"tcp_opened_active", 0},   /* tcps_connattempt */
    {"tcp_opened_passive", 1},  /* tcps_accepts */
    {"tcp_timed_out", 10},      /* tcps_timeoutdrop */
    {"tcp_keepalive_tx", 14},   /* tcps_keepprobe */
    {"tcp_tx", 16},             /* tcps_sndtotal */
    {"tcp_retransmitted", 19},  /* tcps_sndrexmitpack */
    {"tcp_rx", 27},             /* tcps_rcvtotal */
    {"tcp_bad_cksum", 30},      /* tcps_rcvbadsum */
    {"tcp_bad_header", 31},     /* tcps_rcvbadoff */
    {"tcp_duplicate", 34},      /* tcps_rcvduppack */
    {"tcp_ooo_queued", 38},     /* tcps_rcvoopack */
};
static const struct stat udp[] = {
    {"udp_rx", 0},           /* udps_ipackets */
    {"udp_bad_cksum", 2},    /* udps_badsum */
    {"udp_bad", 4},          /* udps_badlen */
    {"udp_no_port", 5},      /* udps_noport */
    {"udp_no_ring_room", 7}, /* udps_fullsock */
    {"udp_tx", 10},          /* udps_opackets */
};
static const struct stat ip[] = {
    {"ip_rx", 0},       /* ips_total */
    {"ip_bad_cksum", 1}, /* ips_badsum */
    {"ip_proto", 13},   /* ips_noproto */
    {"ip_tx", 15},          /* ips_localout */
    {"ip_reassembled", 17}, /* ips_reassembled */
    {"ip_fragmented", 18},  /* ips_fragmented */
};
/* Behind a version and a length of 32 bits each (struct igmpstat). */
static const struct stat igmp[] = {
    {"igmp_reports_tx", 16}, /* igps_snd_reports */
};
static const struct stat icmp[] = {
    {"icmp_echo_replies", 3},  /* icps_outhist[ICMP_ECHOREPLY] */
    {"icmp_bad", 46},          /* icps_checksum */
    {"icmp_rx", 49 + 3},       /* icps_inhist[ICMP_UNREACH]: the kind that programs are told of */
};

static void add(json_t *all, const char *name, const struct stat *stats, size_t n)
{
    int oid[FS_OID_MAX];
    uint64_t values[STATS_MAX];
    size_t size = sizeof values;
    unsigned len = fs_sysctl_find(name, oid);
    if (len == 0 || ff_sysctl(oid, len, values, &size, NULL, 0) != 0)
        return;
    for (size_t i = 0; i < n; i++)
        if ((stats[i].at + 1) * sizeof *values <= size)
            json_object_set_new(all, stats[i].name, json_integer((json_int_t)values[stats[i].at]));
}

json_t *fs_describe_counters(void *stack)
{
    const struct fstack *fs = stack;
    struct port_stats s;
    uint64_t rx = 0, tx = 0, finished = 0, dropped = 0;
    for (uint32_t i = 0; i < fs->nports; i++) {
        port_stats(fs->device[i].at.port, &s);
        rx += s.rx_packets;
        tx += s.tx_packets;
        finished += fs->device[i].finished_sums;
        dropped += fs->device[i].tx_dropped;
    }
    json_t *all = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "port_rx", (json_int_t)rx, "port_tx", (json_int_t)tx,
                            "port_tx_dropped", (json_int_t)dropped, "tcp_accept_full", (json_int_t)fs->accepts_held, "fstack_ticks", (json_int_t)fs->ticks, "fstack_turns",
                            (json_int_t)fs->turns, "fstack_events", (json_int_t)fs->events_seen, "fstack_finished_sums",
                            (json_int_t)finished, "fstack_rx_copied", (json_int_t)fs->rx_copied, "fstack_rx_dropped",
                            (json_int_t)fs->rx_dropped, "tcp_urgent_rx", (json_int_t)fs->urgent_rx, "tcp_deferred", (json_int_t)fs->deferred,
                            "arp_unresolved", (json_int_t)fs->unresolved, "ra_rx", (json_int_t)fs->ra_rx);
    add(all, "net.inet.tcp.stats", tcp, RTE_DIM(tcp));
    add(all, "net.inet.udp.stats", udp, RTE_DIM(udp));
    add(all, "net.inet.ip.stats", ip, RTE_DIM(ip));
    add(all, "net.inet.icmp.stats", icmp, RTE_DIM(icmp));
    add(all, "net.inet.igmp.stats", igmp, RTE_DIM(igmp));
    return all;
}
