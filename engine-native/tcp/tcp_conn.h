/* SPDX-License-Identifier: BSD-3-Clause
 *
 * TCP's private functions, grouped by the file that holds them. A function that may end the connection leaves it in state
 * CLOSED, to be freed when the entry point returns: look before going on. */
#ifndef ZSTACK_TCP_CONN_H
#define ZSTACK_TCP_CONN_H

#include "tcp_state.h"

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

/* ---- pace.c ---- */
uint32_t tcp_pace_room(const struct tcp_conn *c); /* bytes that may leave now as far as pacing goes; 0, or a segment at least */
void tcp_pace_sent(struct tcp_conn *c, uint32_t bytes);
void tcp_pace_wait(struct tcp_conn *c); /* more could be sent: it will be, when its time has come */
bool tcp_pace_waits(const struct tcp_conn *c);
void tcp_pace_end(struct tcp_conn *c); /* c->send is about to go */
void tcp_pace_follow(struct tcp_conn *c); /* the application may have chosen another rate */
bool tcp_pace_limits(const struct tcp_conn *c); /* it is that rate, and not the window, that the rest waits for */
bool tcp_pace_owes(const struct tcp_conn *c); /* nothing may leave yet at that rate: c->send is needed also when all is acknowledged */
void tcp_pace_info(const struct tcp_conn *c, uint64_t *now, uint64_t *most); /* bytes per second */

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
void tcp_rtt_least(struct tcp_conn *c, uint64_t ns); /* measured, for min_rtt_us alone */
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
