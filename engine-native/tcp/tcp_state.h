/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What TCP knows: of a connection, a listener, all of them, and of the segment at hand. Names are those of RFC 9293 3.3.1. */
#ifndef ZSTACK_TCP_STATE_H
#define ZSTACK_TCP_STATE_H

#include <rte_tcp.h>

#include "ops.h"
#include "ring.h"
#include "tcp.h"
#include "tcp_seq.h"

#define TCP_MSS_DEFAULT 536u          /* RFC 9293 3.7.1 */
#define TCP_MSS_DEFAULT6 1220u        /* the same, with IPv6 */
#define TCP_MSS_MIN 64u               /* a peer that announces less wants us to burn cycles */
#define TCP_WINDOW_SCALE_MAX 14u      /* RFC 7323 2.3 */
#define TCP_RTO_INITIAL_US 1000000u   /* RFC 6298 2.1 */
#define TCP_RTO_MIN_US 200000u        /* RFC 6298 2.4 has 1 s; as Linux */
#define TCP_RTO_MAX_US 120000000u     /* 2.5: at least 60 s */
#define TCP_RTO_SYN_LOST_US 3000000u  /* 5.7 */
#define TCP_RETRIES 15u               /* R2 of RFC 9293 3.8.3; as Linux */
#define TCP_SYN_RETRIES 6u
#define TCP_SYN_ACK_RETRIES 5u /* both as Linux */
#define TCP_DELACK_NS (40 * NET_NS_PER_MS) /* RFC 9293 3.8.6.3: under 0.5 s */
#define TCP_DELACK_STREAM_NS NET_NS_PER_MS  /* where no answer is to be expected that it could go with */
#define TCP_FLIGHT_GAP_NS NET_NS_PER_MS     /* without data for so long: what comes next begins a flight */
#define TCP_AT_ONCE_MAX 16u                 /* segments of a flight that are acknowledged each by itself; as Linux' TCP_MAX_QUICKACKS */
#define TCP_TIME_WAIT_NS (60 * NET_NS_PER_S) /* 2 MSL, with the MSL of most systems, 30 s */
#define TCP_FIN_WAIT_NS (60 * NET_NS_PER_S)  /* nobody is there to read what comes */
#define TCP_PAWS_IDLE_NS (UINT64_C(24) * 86400 * NET_NS_PER_S) /* RFC 7323 5.5 */
#define TCP_CHALLENGES_PER_S 10u      /* RFC 5961 7, per connection: a limit for all would tell one peer about another */
#define TCP_CWND_MAX (1u << 30)       /* RFC 7323 2.3: no window is larger */
#define TCP_OOO_CONN_MAX 2048u         /* segments kept out of order, per connection */

/* LOSS: RACK's reordering timer, or when nothing is out of order the tail loss probe. Before RETRANSMIT, which it puts off. REST:
 * what sending needs is given back, rest.c. */
enum tcp_timer { TCP_T_LOSS, TCP_T_RETRANSMIT, TCP_T_PERSIST, TCP_T_DELACK, TCP_T_KEEPALIVE, TCP_T_TIME_WAIT, TCP_T_CORK, TCP_T_REST,
                 TCP_TIMER_N };
_Static_assert(TCP_TIMER_N <= 8, "a bit each in timers_on");

/* tcp_conn.flags */
#define TCP_F_TS (1u << 0)          /* timestamps on */
#define TCP_F_WS (1u << 1)          /* window scaling on */
#define TCP_F_ACK_NOW (1u << 2)     /* owe an ACK at once */
#define TCP_F_FIN_SENT (1u << 3)    /* fin_seq is valid */
#define TCP_F_FIN_SEEN (1u << 4)    /* rcv_fin is valid: the peer's FIN came, in order or not */
#define TCP_F_RECOVERY (1u << 5)    /* in fast recovery */
#define TCP_F_RTT_TIMED (1u << 6)   /* rtt_seq is being timed */
#define TCP_F_PASSIVE (1u << 7)     /* came through a listener */
#define TCP_F_DEAD (1u << 8)        /* on the list of those to free */
#define TCP_F_SACK (1u << 9)        /* SACK agreed on: we tell what came out of order */
#define TCP_F_SACK_SEND (1u << 10)  /* and listen: there is a scoreboard while data is outstanding. snd_nxt falls back no more */
#define TCP_F_LOSS (1u << 11)       /* with SACK: a timeout happened, recover is not reached */
#define TCP_F_RESEND (1u << 12)     /* the next hole is filled whatever cwnd says */
#define TCP_F_RESCUED (1u << 13)    /* RFC 6675's rescue retransmission of this recovery was made */
#define TCP_F_REORDERED (1u << 14)    /* RFC 8985's reordering_seen */
#define TCP_F_REO_ROUND (1u << 15)    /* reo_round is valid */
#define TCP_F_PLAN_PROBE (1u << 16)   /* a tail loss probe is to be planned */
#define TCP_F_PROBE_OUT (1u << 17)    /* one was sent, up to probe_end */
#define TCP_F_PROBE_RESENT (1u << 18) /* and it was not new data */
#define TCP_F_PROBING (1u << 19)      /* one segment more than cwnd allows */
#define TCP_F_FRTO (1u << 20)         /* RFC 5682: after a timeout, no acknowledgement yet */
#define TCP_F_FRTO_NEW (1u << 21)     /* RFC 5682: new data was sent instead of old */
#define TCP_F_ACKED (1u << 22)        /* SYN-RECEIVED: our SYN is acknowledged, the listener waits for data */
#define TCP_F_URGENT (1u << 23)       /* snd_up is valid and not acknowledged */
#define TCP_F_URGENT_RX (1u << 24)    /* rcv_up is valid: the urgent byte there has not come */
#define TCP_F_ECN (1u << 25)          /* RFC 3168: agreed on */
#define TCP_F_ECE (1u << 26)          /* congestion was experienced, the peer is told until it says CWR */
#define TCP_F_CWR (1u << 27)          /* the peer is to be told that the window was reduced */
#define TCP_F_ECN_TRY (1u << 28)      /* our SYN asks for ECN */
#define TCP_F_STREAM (1u << 29)      /* the peer sends more than one segment for each answer of ours, or gets none */
#define TCP_F_UNCORK (1u << 30)       /* what was held back goes out */
#define TCP_F_CWR_SEQ (1u << 31)      /* cwr_seq is valid */

/* tcp_conn.tfo, fastopen.c */
#define TCP_TFO_ASK (1u << 0)     /* our SYN carries the peer's cookie, or asks for one */
#define TCP_TFO_BARE (1u << 1)    /* TCP_FASTOPEN_NO_COOKIE: data without a cookie */
#define TCP_TFO_WAITS (1u << 2)   /* our SYN waits for the data that goes with it */
#define TCP_TFO_DATA (1u << 3)    /* our SYN carried data */
#define TCP_TFO_TAKEN (1u << 4)   /* data on a SYN was taken, there or here */
#define TCP_TFO_GIVE (1u << 5)    /* our SYN,ACK carries a cookie */
#define TCP_TFO_SYN_OUT (1u << 6) /* opened by a SYN with data: our SYN,ACK is not acknowledged. snd_una is beyond it */
#define TCP_TFO_COOKIE_LEN 8u     /* of ours */
#define TCP_TFO_COOKIE_MIN 4u     /* RFC 7413 4.1.1 */
#define TCP_TFO_COOKIE_MAX 16u

struct tcp_conn;
struct tcp_board;
struct tcp_tfo_peers;
struct tcp_sack_out;
struct tcp_ooo;

/* Sequence numbers from start to before end. */
struct tcp_block {
    tcp_seq start, end;
};
#define TCP_SACK_MAX 4u /* blocks that fit into a header */

/* Congestion control. Sizes in bytes; `flight` is what is outstanding. It owns c->ssthresh, and c->cwnd outside of
 * recovery. */
struct tcp_cc_ops {
    const char *name;
    void (*init)(struct tcp_conn *c);                     /* its own state; also when it takes over */
    void (*acked)(struct tcp_conn *c, uint32_t bytes);    /* an ACK of new data, not in recovery; `bytes` arrived */
    void (*lost)(struct tcp_conn *c, uint32_t flight);    /* fast retransmit begins: sets ssthresh */
    void (*timeout)(struct tcp_conn *c, uint32_t flight); /* first retransmission timeout of a segment: sets ssthresh */
    void (*idle)(struct tcp_conn *c);                     /* sending again after a pause of an RTO or more */
};

/* cubic.c. Windows in bytes. */
struct tcp_cubic {
    uint64_t epoch;    /* when the current growth began; 0: with the next ACK */
    uint64_t friendly; /* RFC 9438's W_est, in 1/256 bytes */
    uint32_t k_ms;
};
extern const struct tcp_cc_ops tcp_cubic;

/* hystart.c */
struct tcp_hystart {
    uint32_t least_us; /* of the samples that are being counted */
    uint32_t base_us;  /* RFC 9406's cssBaselineMinRtt; 0: not in conservative slow start */
    tcp_seq end;       /* windowEnd: the round trip ends when this is acknowledged */
    uint8_t samples, rounds; /* of conservative slow start */
    bool began;
};

/* Buffers that an application reads from, oldest first, chained by next. Of a connection, or of one that is no more. */
struct tcp_loans {
    LIST_ENTRY(tcp_loans) link; /* in tcp_table.loans while there are any */
    struct rte_mbuf *first, *last;
    uint32_t count;
    struct rte_mbuf *kept, **kept_end; /* read over, but taken by zs_recv and not released yet */
    uint32_t kept_count;
    uint32_t seen;     /* references given back when last looked */
    uint32_t app, gen; /* the application's session */
    bool listed, orphan;
};

/* What a connection needs while it sends: there from before its first byte leaves until it has rested for a while, so that one
 * that does nothing costs none of it (rest.c). Whenever data or a FIN is outstanding it is there. */
struct tcp_send {
    union {
        struct {
            struct wheel_timer pace;  /* pace.c; first */
            struct tcp_conn *paced;   /* whose it is, while armed */
            uint64_t pace_at;         /* when what is to be sent next is due */
            uint32_t unpaced;         /* bytes that need not wait for that */
            uint64_t rate;            /* SO_MAX_PACING_RATE, bytes per second */
            uint64_t timed_out;
            struct tcp_cubic cubic;
            struct tcp_hystart hystart;
            uint32_t cc_acked;
            uint32_t prior_cwnd, prior_ssthresh; /* before the timeout that F-RTO looks at, or the recovery that undo.c does */
            uint32_t undo_left; /* bytes that recovery sent again and the peer has not told to have twice */
            uint32_t prr_flight, prr_delivered, prr_out; /* RFC 9937's RecoverFS; since recovery began */
            tcp_seq undo_from, undo_to; /* where those are */
            bool may_undo; /* undo.c: the five above, and timed_out, are of the last recovery */
            /* RFC 8985 */
            uint8_t reo_more, reo_persist; /* quarters of min_RTT beyond the first; recoveries left until that is forgotten */
            tcp_seq reo_round, probe_end;
            tcp_seq cwr_seq; /* reduced for ECN, or otherwise: not again before this is acknowledged */
            /* The first byte of own's ring that a packet refers to which may wait in a transmit queue: while queued_flush is
             * stack.flushes. */
            tcp_seq queued;
            uint32_t queued_flush;
        };
        SLIST_ENTRY(tcp_send) spare; /* nobody's */
    };
};

struct tcp_conn {
    struct wheel_timer timer; /* fires at the first of the deadlines or before; first, see timer_due() */
    struct tcp_conn *bucket_next; /* flows.c */
    struct tcp_flow flow;
    uint32_t flags;
    uint32_t deadline[TCP_TIMER_N]; /* ticks of the wheel; of those in timers_on */
    struct stack *st;
    uint8_t state;    /* enum tcp_state; written by tcp_set_state() only */
    uint8_t retries;  /* retransmissions or probes since the peer was last heard */
    uint8_t backoff;  /* doublings of the RTO, or of the probes' interval */
    uint8_t dupacks;
    uint8_t snd_scale : 4, rcv_scale : 4;
    uint8_t at_once; /* segments of this flight that were acknowledged each by itself */
    uint8_t keep_probes;
    uint8_t challenges; /* challenge ACKs in the second that began at challenge_start */
    uint16_t mss;       /* payload bytes in a full segment we send, options taken off */
    uint16_t rcv_mss;   /* what we announced */
    uint16_t max_seg;   /* TCP_MAXSEG when it was opened; 0: none */
    uint8_t syn_retries, defer; /* of our SYN at most; of the SYN,ACK while data is waited for, TCP_DEFER_ACCEPT */
    int16_t soft_error; /* errno by ICMP: the reason told if the connection times out */
    uint8_t timers_on;  /* 1 << enum tcp_timer */
    uint8_t tfo;        /* TCP_TFO_* */
    uint32_t own;       /* session that the engine owns; ZS_NO_SESSION: none (yet, or any more) */

    /* Send sequence space. own's ring begins at snd_una (but for a FIN). snd_una <= snd_nxt <= snd_max; snd_nxt falls
     * back to snd_una on a timeout. */
    tcp_seq iss, snd_una, snd_nxt, snd_max, snd_wl1, snd_wl2;
    tcp_seq fin_seq;
    uint32_t snd_wnd, max_wnd; /* as the peer announced; the largest ever */
    uint32_t cwnd, ssthresh;
    uint32_t cubic_max, cubic_prior; /* RFC 9438's W_max and cwnd_prior: what outlasts a rest */
    tcp_seq recover; /* RFC 6582, 6675's RecoveryPoint */
    uint32_t min_rtt_us, min_rtt_s; /* RFC 8985; and the second of the stack's clock in which it was measured */
    const struct tcp_cc_ops *cc;
    struct tcp_send *send;   /* NULL: nothing was sent for a while */
    struct tcp_board *board; /* scoreboard.h; NULL: nothing is outstanding, or no SACK */

    /* Round trip time, RFC 6298. srtt 0: no sample yet. */
    tcp_seq rtt_seq;
    uint32_t srtt_us, rttvar_us, rto_us;
    uint64_t rtt_start, last_send, last_rcv, last_data, challenge_start;
    uint64_t stuck_since; /* what is outstanding, or the window that is shut, has been so without progress; TCP_USER_TIMEOUT */
    uint32_t ce_seen, ce_told; /* RFC 3168: packets that met congestion, here and as the peer says */
    tcp_seq snd_up, rcv_up;    /* urgent bytes; see TCP_F_URGENT*. snd_up is the one after it (RFC 6093 3.1) */
    uint64_t bytes_retrans;
    struct { /* for TCP_INFO alone, as is bytes_retrans */
        uint32_t retrans, segs_out, segs_in, data_out, data_in, dsacks, out_of_order;
    } info;

    /* Receive sequence space. rcv_nxt <= rcv_adv, the right edge ever promised. */
    tcp_seq irs, rcv_nxt, rcv_adv, rcv_fin, last_ack_sent;
    uint32_t ts_offset, ts_recent;
    uint64_t ts_recent_at;
    uint32_t rcvbuf;     /* autotune.c: what the buffer has grown to; 0: not yet */
    uint32_t rcv_rtt_us; /* as the receiver sees it */
    uint32_t round_read, round_tsecr; /* most that was read in a round trip */
    tcp_seq round_seq;
    uint64_t round_start;
    struct tcp_ooo *ooo;     /* receiver.c; NULL: nothing is out of order */
    struct tcp_sack_out *sack_out;
    struct tcp_loans *loans; /* NULL until the first */
    struct zs_tx tx;

    struct tcp_listener *listener; /* half-open through it, or TCP_TFO_SYN_OUT, else NULL */
    union { /* a connection is on one list at a time */
        LIST_ENTRY(tcp_conn) half_open;
        SLIST_ENTRY(tcp_conn) dead;
        TAILQ_ENTRY(tcp_conn) time_wait; /* in state TIME-WAIT, in the order of entry */
    };
    const struct tcp_conn_ops *ops;
    void *arg;
};
_Static_assert(sizeof(struct tcp_conn) <= 504, "an idle connection costs less than 1 KiB, see tcp_idle_test.c");

struct tcp_listener {
    LIST_ENTRY(tcp_listener) link;
    struct ip_addr ip;
    rte_be16_t port;
    uint32_t half_open, backlog, tfo_pending; /* connections in the lists below */
    uint64_t cookies_until; /* SYN cookies that were sent can come back until then */
    LIST_HEAD(, tcp_conn) half_open_list;
    LIST_HEAD(, tcp_conn) tfo_list; /* accepted, TCP_TFO_SYN_OUT */
    const struct tcp_listener_ops *ops;
    void *arg;
};

#define TCP_LISTEN_BUCKETS 1024u
/* burst.c: connections of the segments at hand, by their place in the burst; NULL: not known. */
struct tcp_burst {
    struct tcp_conn *conn[TCP_BURST];
    uint16_t at;    /* the one in its turn */
    uint32_t ended; /* the table's count when they were looked up */
};
/* flows.c: connections by flow. Chains of few, from buckets that are as many as there may be connections. */
struct tcp_flows {
    struct tcp_conn **bucket;
    uint32_t mask, key;
};
struct tcp_table {
    struct tcp_flows flows;
    struct tcp_burst burst;
    uint32_t ended; /* connections, counted */
    struct tcp_listener *accepted_by; /* the segment at hand opened a connection of it, of which it is still to be told */
    uint32_t count, ooo_segs;
    uint16_t port_next;
    uint32_t lent, hold_max; /* buffers; see loans.c */
    struct wheel_timer look;
    uint64_t look_after;
    LIST_HEAD(, tcp_loans) loans;
    const struct tcp_cc_ops *cc;
    struct tcp_tfo_peers *tfo; /* fastopen.c; NULL: none yet */
    SLIST_HEAD(, tcp_send) spare;
    uint32_t spares;
    SLIST_HEAD(, tcp_conn) dead;
    TAILQ_HEAD(tcp_time_waits, tcp_conn) time_waits;
    LIST_HEAD(, tcp_listener) listen[TCP_LISTEN_BUCKETS];
};

/* Options of a segment, RFC 9293 3.2, 7323, 2018. */
struct tcp_options {
    uint16_t mss; /* 0: none */
    uint8_t wscale;
    bool has_wscale, has_ts, sack_ok;
    uint8_t sacks;
    struct tcp_block sack[TCP_SACK_MAX];
    uint32_t tsval, tsecr;
    const uint8_t *tfo; /* Fast Open's cookie, in the packet; NULL: no such option */
    uint8_t tfo_len;    /* 0: the option asks for one */
};

/* A received segment, header parsed; m's data begins with the payload. */
struct tcp_seg {
    struct rte_mbuf *m; /* NULL once somebody took it */
    struct tcp_flow flow;
    tcp_seq seq, ack;
    uint32_t skip; /* leading payload bytes cut off: received before */
    uint32_t len;  /* payload bytes after those */
    uint32_t segments; /* that it was on the wire: several where they were merged (net/gro.c), m is a chain then */
    uint16_t wnd;
    uint8_t flags;
    bool urgent; /* up is the urgent byte's sequence number */
    bool ce;     /* the packet met congestion, RFC 3168 */
    tcp_seq up;
    struct tcp_options opt;
};
/* Length in sequence space. */
static inline uint32_t seg_space(const struct tcp_seg *s)
{
    return s->len + !!(s->flags & RTE_TCP_SYN_FLAG) + !!(s->flags & RTE_TCP_FIN_FLAG);
}

/* Predicates on states */
static inline bool tcp_synchronized(const struct tcp_conn *c)
{
    return c->state >= TCP_ESTABLISHED;
}
static inline bool tcp_may_send(const struct tcp_conn *c) /* new data or a FIN */
{
    return c->state == TCP_ESTABLISHED || c->state == TCP_CLOSE_WAIT;
}
static inline bool tcp_may_retransmit(const struct tcp_conn *c)
{
    return tcp_synchronized(c) && c->state != TCP_FIN_WAIT_2 && c->state != TCP_TIME_WAIT;
}
static inline bool tcp_may_receive(const struct tcp_conn *c)
{
    return c->state == TCP_ESTABLISHED || c->state == TCP_FIN_WAIT_1 || c->state == TCP_FIN_WAIT_2;
}
static inline uint32_t tcp_flight(const struct tcp_conn *c)
{
    return (uint32_t)seq_diff(c->snd_max, c->snd_una);
}

#endif
