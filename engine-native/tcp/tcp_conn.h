/* SPDX-License-Identifier: BSD-3-Clause
 *
 * TCP's private state. Names are those of RFC 9293 3.3.1. Functions are grouped by the file that holds them. A function that
 * may end the connection leaves it in state CLOSED, to be freed when the entry point returns: look before going on. */
#ifndef ZSTACK_TCP_CONN_H
#define ZSTACK_TCP_CONN_H

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
    uint8_t snd_scale, rcv_scale;
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

/* ---- table.c: what to do with a segment, by state and flags ---- */
enum tcp_action {
    TCP_DROP,            /* counted */
    TCP_ANSWER_RST,      /* no connection */
    TCP_PASSIVE_OPEN,
    TCP_COOKIE_ACK,      /* an ACK for a listener: a SYN cookie, or nothing */
    TCP_SYN_SENT_INPUT,
    TCP_SEGMENT,         /* RFC 9293 3.10.7.4 */
    TCP_TIME_WAIT_INPUT,
};
struct tcp_decision {
    uint8_t action;      /* enum tcp_action */
    uint16_t why;        /* enum net_counter, of a drop */
};
struct tcp_decision tcp_decide(enum tcp_state state, uint8_t flags);

/* ---- burst.c ---- */
struct tcp_conn *tcp_burst_find(const struct stack *st, const struct tcp_flow *flow); /* tcp_conn_find() for the segment in its turn */

/* ---- flows.c ---- */
bool tcp_flows_create(struct tcp_flows *t, uint32_t most, uint32_t key);
void tcp_flows_destroy(struct tcp_flows *t);
void tcp_flows_add(struct tcp_flows *t, struct tcp_conn *c);
void tcp_flows_remove(struct tcp_flows *t, struct tcp_conn *c);
/* Any one; NULL: there is none. From *bucket on, 0 to begin with, which is moved. */
struct tcp_conn *tcp_flows_any(const struct tcp_flows *t, uint32_t *bucket);
struct tcp_conn *tcp_flows_find(const struct tcp_flows *t, const struct tcp_flow *flow);
/* The same for many, brought into the cache on the way: n <= TCP_BURST; NULL where there is none. */
void tcp_flows_find_all(const struct tcp_flows *t, const struct tcp_flow *flow, uint32_t n, struct tcp_conn **out);

/* ---- conn.c: life ---- */
/* A connection's beginnings, not in the table. False: *why. */
bool tcp_conn_init(struct tcp_conn *c, struct stack *st, const struct tcp_flow *flow, enum net_counter *why);
struct tcp_conn *tcp_conn_new(struct stack *st, const struct tcp_flow *flow, enum net_counter *why);
struct tcp_conn *tcp_conn_find(const struct stack *st, const struct tcp_flow *flow);
struct tcp_listener *tcp_listener_find(const struct stack *st, const struct ip_addr *ip, rte_be16_t port);
void tcp_listener_join(struct tcp_conn *c, struct tcp_listener *l); /* half-open through it */
void tcp_listener_leave(struct tcp_conn *c);
void tcp_set_state(struct tcp_conn *c, enum tcp_state state);
struct zs_session *tcp_own(const struct tcp_conn *c);
struct zs_session *tcp_app(const struct tcp_conn *c);
uint32_t tcp_opt_bits(const struct tcp_conn *c); /* ZS_O_* of the application's session */
/* The end: sessions closed, with `err` for the application unless 0; freed by the next tcp_reap(). */
void tcp_conn_end(struct tcp_conn *c, int err);
/* As the end, and tells the peer by RST. */
void tcp_conn_abort(struct tcp_conn *c, int err);
/* Inconsistent shared state. */
void tcp_conn_fault(struct tcp_conn *c);
void tcp_release_sessions(struct tcp_conn *c, int err);
void tcp_enter_time_wait(struct tcp_conn *c);
void tcp_reap(struct stack *st);

/* ---- options.c ---- */
bool tcp_options_parse(const uint8_t *p, uint32_t len, struct tcp_options *o);
#define TCP_OPTIONS_MAX 40u
#define TCP_TS_LENGTH 12u /* of timestamps, padding included */
uint32_t tcp_options_build(struct tcp_conn *c, uint8_t flags, uint8_t *p); /* bytes, a multiple of 4 */
uint32_t tcp_ts_at(const struct tcp_conn *c, uint64_t when);
static inline uint32_t tcp_ts_now(const struct tcp_conn *c)
{
    return tcp_ts_at(c, c->st->now);
}

/* ---- cookie.c ---- */
void tcp_cookie_send(struct stack *st, const struct tcp_seg *s, struct tcp_listener *l); /* answers a SYN that is not remembered */
enum tcp_cookie_result { TCP_COOKIE_NONE, TCP_COOKIE_LATER, TCP_COOKIE_GOOD }; /* LATER: true, but there is no room now */
/* Is s the answer to a cookie? GOOD: *conn is in SYN-RECEIVED, and s may go on. */
enum tcp_cookie_result tcp_cookie_ack(struct stack *st, const struct tcp_seg *s, struct tcp_listener *l, struct tcp_conn **conn);

/* ---- handshake.c ---- */
void tcp_set_passive(struct tcp_conn *c, const struct tcp_listener *l); /* with the listener's options */
void tcp_learn_syn(struct tcp_conn *c, const struct tcp_seg *s); /* the peer's SYN: its sequence number and what it offers */
uint8_t tcp_syn_flags(const struct tcp_conn *c); /* of our SYN */
void tcp_send_syn(struct tcp_conn *c);
void tcp_passive_open(struct stack *st, struct tcp_seg *s, struct tcp_listener *l, const tcp_seq *iss_after);
void tcp_syn_sent_input(struct tcp_conn *c, struct tcp_seg *s);
/* Offers it to the listener; once for what was let in, after all that its segment brought, it is told that it may be had. */
int tcp_accept(struct tcp_conn *c, struct tcp_listener *l);
void tcp_tell_accepted(struct stack *st);
/* ACK in SYN-RECEIVED. True: the connection is established and the segment goes on. */
bool tcp_syn_received_ack(struct tcp_conn *c, const struct tcp_seg *s);

/* ---- fastopen.c ---- */
bool tcp_tfo_connect(struct tcp_conn *c, const struct zs_opts *o); /* true: the SYN waits for data */
uint32_t tcp_tfo_syn_data(const struct tcp_conn *c); /* bytes of own's ring that go with our SYN; 0 unless it waited for them */
uint32_t tcp_tfo_option(struct tcp_conn *c, bool ack, uint8_t out[TCP_TFO_COOKIE_MAX], bool *has);
void tcp_tfo_answered(struct tcp_conn *c, const struct tcp_seg *s);
void tcp_tfo_failed(struct tcp_conn *c);
/* A SYN for l; c has learned it. True: the connection is open and s done with. */
bool tcp_tfo_accept(struct tcp_conn *c, struct tcp_seg *s, struct tcp_listener *l);
void tcp_tfo_syn_again(struct tcp_conn *c);
void tcp_tfo_confirmed(struct tcp_conn *c);
void tcp_tfo_destroy(struct stack *st);

/* ---- output.c ---- */
/* Sends one segment; `off`: where its payload begins in own's ring. False: no buffer, or the connection ended. */
bool tcp_transmit(struct tcp_conn *c, tcp_seq at, uint8_t flags, uint64_t off, uint32_t len);
/* The same for a segment that the port cuts into several of mss bytes each, what tcp_large() allows. */
bool tcp_transmit_large(struct tcp_conn *c, tcp_seq at, uint8_t flags, uint64_t off, uint32_t len, uint32_t mss);
/* Before bytes of own's ring up to `ack` are freed: sends the packets that refer to them. */
void tcp_leave_ring(struct tcp_conn *c, tcp_seq ack);
void tcp_send_ack(struct tcp_conn *c);
void tcp_challenge(struct tcp_conn *c);
/* RST for a segment that belongs to no connection, or to none any more (RFC 9293 3.10.7.1). */
void tcp_answer_rst(struct stack *st, const struct tcp_seg *s);

/* ---- large.c ---- */
/* How many full segments of new data, up to `most`, may leave as one that the port cuts; 1: it is to be made as ever. */
uint32_t tcp_large(struct tcp_conn *c, uint32_t mss, uint32_t most);

/* ---- rest.c ---- */
bool tcp_send_begin(struct tcp_conn *c); /* c->send is there. False: no memory */
void tcp_rest(struct tcp_conn *c);       /* TCP_T_REST is due */
void tcp_send_end(struct tcp_conn *c);
void tcp_send_destroy(struct stack *st);

/* ---- sender.c ---- */
void tcp_send_data(struct tcp_conn *c); /* what windows and timers allow; then an ACK if one is still owed */
void tcp_window_probe(struct tcp_conn *c);
bool tcp_retransmit_first(struct tcp_conn *c);
bool tcp_retransmit(struct tcp_conn *c, tcp_seq at, uint32_t space); /* with SACK. False: not sent, or the connection ended */
bool tcp_has_new(struct tcp_conn *c);       /* new data, and the peer has room for it */
bool tcp_send_one_more(struct tcp_conn *c); /* new data beyond cwnd */
uint32_t tcp_mss_now(struct tcp_conn *c); /* payload of a full segment, beside the blocks that it has to carry */
void tcp_acked(struct tcp_conn *c, tcp_seq ack); /* snd_una moves: frees ring memory, takes RTT samples, stops timers */

/* ---- receiver.c ---- */
void tcp_receive(struct tcp_conn *c, struct tcp_seg *s); /* payload and FIN of an acceptable segment */
void tcp_drain(struct tcp_conn *c);                      /* out-of-order segments whose turn has come */
void tcp_ooo_free(struct tcp_conn *c);
uint16_t tcp_window_field(struct tcp_conn *c, bool syn);
void tcp_window_update(struct tcp_conn *c); /* after the application read */
static inline uint32_t tcp_rcv_wnd(const struct tcp_conn *c)
{
    int32_t wnd = seq_diff(c->rcv_adv, c->rcv_nxt);
    return wnd > 0 ? (uint32_t)wnd : 0;
}

/* ---- autotune.c ---- */
uint8_t tcp_window_scale(const struct stack *st);
uint32_t tcp_receive_buffer(const struct tcp_conn *c);
void tcp_autotune_rtt(struct tcp_conn *c, const struct tcp_seg *s);
void tcp_autotune(struct tcp_conn *c); /* the application may have read */

/* ---- sack_out.c ---- */
void tcp_sack_kept(struct tcp_conn *c, struct tcp_block run); /* a segment was kept; what it is contiguous with */
void tcp_sack_twice(struct tcp_conn *c, tcp_seq start, tcp_seq end);
uint32_t tcp_sack_length(struct tcp_conn *c); /* of the option, padding included */
uint32_t tcp_sack_block(struct tcp_conn *c, struct tcp_block out[TCP_SACK_MAX]);
void tcp_sack_told(struct tcp_conn *c);
void tcp_sack_out_free(struct tcp_conn *c);

/* ---- scoreboard.c; more in scoreboard.h ---- */
void tcp_board_free(struct tcp_conn *c);

/* ---- sack_recovery.c ---- */
void tcp_sack_ack(struct tcp_conn *c, const struct tcp_seg *s, uint32_t acked); /* after tcp_acked(), if it moved */
void tcp_sack_resend(struct tcp_conn *c, bool last); /* last: there is no new data that could be sent */
void tcp_sack_timeout(struct tcp_conn *c);
void tcp_sack_consider(struct tcp_conn *c); /* what is lost by now; recovery begins if that is news */

/* ---- rack.c; more in scoreboard.h ---- */
static inline bool tcp_rack_on(const struct tcp_conn *c)
{
    return (c->flags & (TCP_F_SACK_SEND | TCP_F_TS)) == (TCP_F_SACK_SEND | TCP_F_TS);
}
void tcp_probe_plan(struct tcp_conn *c);
void tcp_loss_timeout(struct tcp_conn *c);

/* ---- loans.c ---- */
/* Lends payload to the application: NET_TCP_RX_LENT, and m is taken; another counter says why it is to be copied. The
 * connection may have ended (NET_TCP_FAULT). */
enum net_counter tcp_lend(struct tcp_conn *c, struct zs_session *app, struct rte_mbuf *m, uint32_t skip, uint32_t len,
                          uint64_t cap);
bool tcp_loans_look(struct tcp_conn *c);  /* takes back what was read. False: a fault */
void tcp_loans_leave(struct tcp_conn *c); /* the connection is over, reading may go on */
/* Frees the record of loans when there is none. Else in how many ns to ask again; UINT64_MAX: no more. */
uint64_t tcp_loans_rest(struct tcp_conn *c);
void tcp_loans_create(struct stack *st);
void tcp_loans_destroy(struct stack *st);

/* ---- cc.c ---- */
const struct tcp_cc_ops *tcp_cc_find(const char *name); /* NULL name: the default; unknown: NULL */
void tcp_cc_follow(struct tcp_conn *c);                 /* the application may have chosen another */
void tcp_cc_init(struct tcp_conn *c);
void tcp_cc_acked(struct tcp_conn *c, uint32_t bytes); /* not in recovery */
void tcp_cc_idle(struct tcp_conn *c);
uint32_t tcp_initial_window(const struct tcp_conn *c); /* RFC 6928, bytes */
void tcp_slow_start(struct tcp_conn *c, uint32_t bytes);
uint32_t tcp_hystart(struct tcp_conn *c, uint32_t bytes); /* hystart.c */

/* ---- recovery.c ---- */
void tcp_dupack(struct tcp_conn *c);
void tcp_recovery_ack(struct tcp_conn *c, tcp_seq ack, uint32_t acked); /* after tcp_acked() */
void tcp_retransmit_timeout(struct tcp_conn *c);

/* ---- ecn.c ---- */
#define ECN_ECT0 2u /* of the IP header, RFC 3168 5 */
#define ECN_CE 3u
void tcp_ecn_learn(struct tcp_conn *c, const struct tcp_seg *s); /* a SYN, or SYN,ACK */
uint8_t tcp_ecn_syn_flags(const struct tcp_conn *c, bool passive);
/* What a segment that is about to be sent says, and its IP header's field. */
uint8_t tcp_ecn_flags(struct tcp_conn *c, uint8_t flags, tcp_seq at, uint32_t len, uint8_t *codepoint);
void tcp_ecn_in(struct tcp_conn *c, const struct tcp_seg *s);
void tcp_ecn_ack(struct tcp_conn *c, const struct tcp_seg *s);

/* ---- urgent.c ---- */
void tcp_urgent_look(struct tcp_conn *c, const struct zs_session *own, uint64_t unread); /* what the application made urgent */
void tcp_urgent_point(const struct tcp_conn *c, tcp_seq at, struct rte_tcp_hdr *h);
void tcp_urgent_in(struct tcp_conn *c, const struct tcp_seg *s); /* before its payload is delivered */
/* Payload is about to be delivered, len bytes from rcv_nxt on: the urgent byte may be among them. */
void tcp_urgent_came(struct tcp_conn *c, struct zs_session *app, const struct rte_mbuf *m, uint32_t skip, uint32_t len);

/* ---- sockopt.c ---- */
uint32_t tcp_option(const struct tcp_conn *c, uint32_t value, uint32_t otherwise); /* value, unless it is 0 or there is no socket */
#define TCP_OPTION(c, name, otherwise) \
    tcp_option(c, tcp_app(c) == NULL ? 0 : atomic_load_explicit(&tcp_app(c)->opts.name, memory_order_relaxed), otherwise)
bool tcp_has_user_timeout(const struct tcp_conn *c);
bool tcp_user_timeout_over(const struct tcp_conn *c, uint64_t since);
uint64_t tcp_before_user_timeout(const struct tcp_conn *c, uint64_t after);
void tcp_orphan(struct tcp_conn *c); /* in FIN-WAIT-2, the application has closed: for how long. May end the connection */
void tcp_corked(struct tcp_conn *c, bool held); /* is something held back that could be sent? */
void tcp_cork_timeout(struct tcp_conn *c);
void tcp_tell_sent(struct tcp_conn *c);

/* ---- rtt.c ---- */
void tcp_rtt_sample(struct tcp_conn *c, uint64_t ns);
uint64_t tcp_rto_ns(const struct tcp_conn *c); /* with backoff */

/* ---- timers.c ---- */
void tcp_timer_init(struct tcp_conn *c);
void tcp_timer_set(struct tcp_conn *c, enum tcp_timer which, uint64_t after);
void tcp_timer_clear(struct tcp_conn *c, enum tcp_timer which);
static inline bool tcp_timer_on(const struct tcp_conn *c, enum tcp_timer which)
{
    return c->timers_on & (1u << which);
}
uint64_t tcp_timer_left(const struct tcp_conn *c, enum tcp_timer which); /* ns; 0: off, or due */
void tcp_keepalive_start(struct tcp_conn *c); /* when the option is on and the timer is not */

/* ---- path.c ---- */
/* Payload bytes of a segment without options that the path carries in one packet. */
uint16_t tcp_path_mss(const struct tcp_conn *c);
/* The path carries less than was thought, as a message about the segment at `at` says. */
void tcp_packet_too_big(struct tcp_conn *c, uint32_t mtu);

/* ---- isn.c ---- */
uint32_t tcp_keyed_hash(const struct stack *st, const struct tcp_flow *flow, uint8_t purpose, uint32_t more);
uint32_t tcp_ts_offset(const struct stack *st, const struct tcp_flow *flow);
uint32_t tcp_port_hash(const struct stack *st, const struct tcp_flow *flow);

#endif
