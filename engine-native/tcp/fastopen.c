/* SPDX-License-Identifier: BSD-3-Clause
 * TCP Fast Open, RFC 7413: data on a SYN. The client keeps its peers' cookies, and waits with the SYN for the data that goes with
 * it. The server gives cookies, a keyed hash of both addresses; a SYN that brings one back opens the connection at once: it is
 * ESTABLISHED here while our SYN,ACK is still to be acknowledged (TCP_TFO_SYN_OUT). That counts one less than the listener's
 * TCP_FASTOPEN, so a stolen cookie opens no more than that. */
#include <sodium/crypto_shorthash.h>
#include <stdlib.h>

#include "tcp_conn.h"

#define WAYS 4u
#define SETS 256u /* at most 1024 peers are remembered */
#define LOSSES_MAX 6u
#define PAUSE_NS (60 * NET_NS_PER_S) /* of the first loss; doubled with each further one */

/* A peer that gave a cookie, or that data on a SYN did not get to. */
struct peer {
    struct ip_addr ip;
    uint64_t used;   /* for the choice of who gives way; 0: free */
    uint64_t paused; /* no data on a SYN before that */
    uint16_t mss;    /* as the peer announced it */
    uint8_t len, losses; /* of the cookie; in a row */
    uint8_t cookie[TCP_TFO_COOKIE_MAX];
};
struct tcp_tfo_peers {
    struct peer at[SETS][WAYS];
};

/* ---- Cookies that we give ---- */

/* Of a key that a listener was given: as Linux makes it (tcp_fastopen.c), so that servers which share a key and an address know each
 * other's. SipHash-2-4 of the client's address and then this one, 4 or 16 bytes each; its 8 bytes are least significant first. */
static void cookie_of_key(const struct tcp_flow *f, const uint8_t key[TCP_TFO_KEY_LEN], uint8_t out[TCP_TFO_COOKIE_LEN])
{
    _Static_assert(crypto_shorthash_BYTES == TCP_TFO_COOKIE_LEN && crypto_shorthash_KEYBYTES == TCP_TFO_KEY_LEN, "a cookie is a whole hash");
    uint8_t in[2 * sizeof(struct ip_addr)];
    size_t len = ip_is_v4(&f->remote_ip) ? sizeof(rte_be32_t) : sizeof f->remote_ip.b, skip = sizeof f->remote_ip.b - len;
    memcpy(in, f->remote_ip.b + skip, len);
    memcpy(in + len, f->local_ip.b + skip, len);
    crypto_shorthash(out, in, 2 * len, key);
}

/* RFC 7413 4.1.2: from the client's address to this one. Another length than what else is hashed with the stack's key. */
static void cookie_of_stack(const struct tcp_conn *c, uint8_t out[TCP_TFO_COOKIE_LEN])
{
    struct ip_addr in[2] = {c->flow.remote_ip, c->flow.local_ip};
    crypto_shorthash(out, (const uint8_t *)in, sizeof in, c->st->conf.key);
}

/* All that are good for l now, the one to give first. How many. */
static uint32_t own_cookies(const struct tcp_conn *c, const struct tcp_listener *l, uint8_t out[TCP_TFO_KEYS][TCP_TFO_COOKIE_LEN])
{
    uint8_t keys[TCP_TFO_KEYS][TCP_TFO_KEY_LEN];
    uint32_t n = l->ops->fastopen_keys == NULL ? 0 : l->ops->fastopen_keys(l->arg, &c->flow, keys);
    for (uint32_t i = 0; i < n; i++)
        cookie_of_key(&c->flow, keys[i], out[i]);
    if (n > 0)
        return n;
    cookie_of_stack(c, out[0]);
    return 1;
}

static bool same_cookie(const uint8_t own[TCP_TFO_COOKIE_LEN], const struct tcp_options *o)
{
    uint8_t differs = 0;
    for (uint32_t i = 0; i < TCP_TFO_COOKIE_LEN && o->tfo_len == TCP_TFO_COOKIE_LEN; i++)
        differs |= (uint8_t)(own[i] ^ o->tfo[i]);
    return o->tfo_len == TCP_TFO_COOKIE_LEN && differs == 0;
}

enum verdict { BAD, GOOD, BACKUP }; /* BACKUP: good, and a new one is due */

static enum verdict judge_cookie(const struct tcp_conn *c, const struct tcp_listener *l, const struct tcp_options *o)
{
    uint8_t own[TCP_TFO_KEYS][TCP_TFO_COOKIE_LEN];
    uint32_t n = own_cookies(c, l, own);
    if (same_cookie(own[0], o))
        return GOOD;
    return n > 1 && same_cookie(own[1], o) ? BACKUP : BAD;
}

/* ---- Cookies that peers gave ---- */

static struct peer *set_of(const struct stack *st, const struct ip_addr *ip)
{
    uint8_t hash[crypto_shorthash_BYTES];
    if (st->tcp->tfo == NULL)
        return NULL;
    crypto_shorthash(hash, ip->b, sizeof ip->b, st->conf.key);
    return st->tcp->tfo->at[hash[0] % SETS];
}

static struct peer *find(const struct stack *st, const struct ip_addr *ip)
{
    struct peer *set = set_of(st, ip);
    for (uint32_t i = 0; set != NULL && i < WAYS; i++)
        if (set[i].used != 0 && ip_eq(&set[i].ip, ip))
            return &set[i];
    return NULL;
}

/* The peer's entry, new in the place of the one that was not used for longest. NULL: no memory. */
static struct peer *make(struct stack *st, const struct ip_addr *ip)
{
    struct peer *p = find(st, ip);
    if (st->tcp->tfo == NULL)
        st->tcp->tfo = calloc(1, sizeof *st->tcp->tfo);
    struct peer *set = set_of(st, ip);
    if (p != NULL || set == NULL)
        return p;
    p = set;
    for (uint32_t i = 1; i < WAYS; i++)
        p = set[i].used < p->used ? &set[i] : p;
    *p = (struct peer){.ip = *ip, .used = st->now + 1};
    return p;
}

static bool has_cookie(const struct peer *p)
{
    return p != NULL && p->len != 0;
}

/* ---- Client ---- */

/* RFC 7413 4.2.1. True: the SYN waits for data. */
bool tcp_tfo_connect(struct tcp_conn *c, const struct zs_opts *o)
{
    uint32_t bits = atomic_load_explicit(&o->bits, memory_order_relaxed);
    if (!(bits & ZS_O_FASTOPEN))
        return false;
    const struct peer *p = find(c->st, &c->flow.remote_ip);
    if (p != NULL && c->st->now < p->paused) {
        NET_COUNT(c->st, TCP_TFO_PAUSED);
        return false;
    }
    c->tfo = bits & ZS_O_FASTOPEN_NO_COOKIE ? TCP_TFO_BARE : TCP_TFO_ASK;
    if (!(c->tfo & TCP_TFO_BARE) && !has_cookie(p))
        return false;
    c->tfo |= TCP_TFO_WAITS;
    atomic_fetch_or(&tcp_app(c)->flags, ZS_F_SYN_WAITS);
    return true;
}

/* What the SYN carries: the cookie (none: it is asked for), and how much data. */
uint32_t tcp_tfo_syn_data(const struct tcp_conn *c)
{
    const struct zs_session *own = tcp_own(c);
    if (!(c->tfo & TCP_TFO_WAITS) || own == NULL)
        return 0;
    const struct peer *p = find(c->st, &c->flow.remote_ip);
    if (!(c->tfo & TCP_TFO_BARE) && !has_cookie(p))
        return 0; /* it gave way to another peer's meanwhile */
    uint32_t mss = p != NULL && p->mss != 0 ? p->mss : ip_is_v4(&c->flow.remote_ip) ? TCP_MSS_DEFAULT : TCP_MSS_DEFAULT6;
    mss = RTE_MIN(mss, (uint32_t)RTE_MIN(tcp_path_mss(c), c->rcv_mss));
    return (uint32_t)RTE_MIN(zs_rx_avail(own), (uint64_t)(mss > TCP_OPTIONS_MAX ? mss - TCP_OPTIONS_MAX : 0));
}

/* The option of a SYN, or SYN,ACK, without padding; 0: none. */
uint32_t tcp_tfo_option(struct tcp_conn *c, bool ack, uint8_t out[TCP_TFO_COOKIE_MAX], bool *has)
{
    *has = ack ? (c->tfo & TCP_TFO_GIVE) && c->listener != NULL : (c->tfo & TCP_TFO_ASK) && c->retries == 0;
    if (!*has)
        return 0;
    if (ack) {
        uint8_t own[TCP_TFO_KEYS][TCP_TFO_COOKIE_LEN];
        own_cookies(c, c->listener, own);
        memcpy(out, own[0], TCP_TFO_COOKIE_LEN);
        NET_COUNT(c->st, TCP_TFO_COOKIE_TX);
        return TCP_TFO_COOKIE_LEN;
    }
    struct peer *p = find(c->st, &c->flow.remote_ip);
    if (!has_cookie(p))
        return 0;
    p->used = c->st->now + 1;
    memcpy(out, p->cookie, p->len);
    return p->len;
}

/* Broken boxes on the way drop such a SYN, or what is on it: for a while this peer gets none. */
static void lost(struct tcp_conn *c)
{
    struct peer *p = make(c->st, &c->flow.remote_ip);
    if (p == NULL)
        return;
    p->losses = (uint8_t)RTE_MIN(p->losses + 1u, LOSSES_MAX);
    p->paused = c->st->now + (PAUSE_NS << (p->losses - 1));
}

/* The SYN,ACK is there (c->snd_una: our SYN). What it does not acknowledge is sent again as if it were new. */
void tcp_tfo_answered(struct tcp_conn *c, const struct tcp_seg *s)
{
    if ((c->tfo & TCP_TFO_ASK) && s->opt.tfo != NULL && s->opt.tfo_len != 0) {
        struct peer *p = make(c->st, &c->flow.remote_ip);
        if (p != NULL) {
            p->len = s->opt.tfo_len;
            p->mss = s->opt.mss;
            memcpy(p->cookie, s->opt.tfo, p->len);
        }
    }
    if (!(c->tfo & TCP_TFO_DATA))
        return;
    if (seq_gt(s->ack, seq_add(c->iss, 1))) {
        struct peer *p = find(c->st, &c->flow.remote_ip);
        c->tfo |= TCP_TFO_TAKEN;
        NET_COUNT(c->st, TCP_TFO_TAKEN);
        if (p != NULL)
            p->losses = 0;
    } else {
        NET_COUNT(c->st, TCP_TFO_FALLBACK);
        c->info.retrans++;
        if (c->retries > 0)
            lost(c);
    }
}

/* Given up without any answer. */
void tcp_tfo_failed(struct tcp_conn *c)
{
    if (c->tfo & TCP_TFO_DATA)
        lost(c);
}

/* ---- Server ---- */

/* RFC 7413 4.2.2: may this SYN be accepted at once, with its data? As Linux also one with a good cookie and no data; where no cookie
 * is needed, one with data or with the option. What is agreed on with the peer is known. */
static bool may_take(struct tcp_conn *c, const struct tcp_seg *s, struct tcp_listener *l, const struct zs_opts *o, uint32_t limit)
{
    bool bare = atomic_load_explicit(&o->bits, memory_order_relaxed) & ZS_O_FASTOPEN_NO_COOKIE;
    bool asks = s->opt.tfo != NULL;
    enum verdict cookie = bare ? GOOD : asks ? judge_cookie(c, l, &s->opt) : BAD;
    if (!asks && s->len == 0)
        return false;
    if (asks && cookie != GOOD)
        c->tfo |= TCP_TFO_GIVE;
    if (asks && cookie == BAD && s->opt.tfo_len != 0)
        NET_COUNT(c->st, TCP_TFO_COOKIE_BAD);
    if (cookie == BACKUP)
        NET_COUNT(c->st, TCP_TFO_COOKIE_BACKUP);
    if (cookie == BAD)
        return false;
    if (l->tfo_pending < limit)
        return true;
    NET_COUNT(c->st, TCP_TFO_FULL);
    return false;
}

bool tcp_tfo_accept(struct tcp_conn *c, struct tcp_seg *s, struct tcp_listener *l)
{
    const struct zs_opts *o = l->ops->options == NULL ? NULL : l->ops->options(l->arg, &c->flow);
    uint32_t limit = o == NULL ? 0 : atomic_load_explicit(&o->fastopen, memory_order_relaxed);
    if (limit == 0 || !may_take(c, s, l, o, limit) || tcp_accept(c, l) != 0)
        return false;
    NET_COUNT(c->st, TCP_TFO_ACCEPTED);
    NET_COUNT(c->st, TCP_OPENED_PASSIVE);
    c->tfo |= TCP_TFO_SYN_OUT | (s->len > 0 ? TCP_TFO_TAKEN : 0);
    c->listener = l;
    l->tfo_pending++;
    LIST_INSERT_HEAD(&l->tfo_list, c, half_open);
    c->snd_una = c->snd_nxt = c->snd_max = seq_add(c->iss, 1);
    tcp_cc_follow(c);
    tcp_set_state(c, TCP_ESTABLISHED);
    tcp_keepalive_start(c);
    tcp_window_field(c, true);
    s->seq = seq_add(s->seq, 1);
    s->flags &= (uint8_t)~RTE_TCP_SYN_FLAG;
    c->info.segs_in++;
    if (s->len > 0) {
        c->info.data_in++;
        tcp_receive(c, s);
    }
    if (c->state == TCP_CLOSED)
        return true;
    c->flags |= TCP_F_RTT_TIMED;
    c->rtt_seq = c->iss;
    c->stuck_since = c->rtt_start = c->st->now;
    tcp_transmit(c, c->iss, tcp_syn_flags(c), 0, 0);
    tcp_timer_set(c, TCP_T_RETRANSMIT, tcp_rto_ns(c));
    tcp_send_data(c);
    return true;
}

/* The SYN,ACK once more: the timer, or the peer's SYN again. */
void tcp_tfo_syn_again(struct tcp_conn *c)
{
    NET_COUNT(c->st, TCP_RETRANSMITTED);
    c->info.retrans++;
    c->flags &= ~TCP_F_RTT_TIMED;
    tcp_transmit(c, c->iss, tcp_syn_flags(c), 0, 0);
}

/* The first acknowledgement: the address was not forged. */
void tcp_tfo_confirmed(struct tcp_conn *c)
{
    tcp_listener_leave(c);
    c->tfo &= (uint8_t)~TCP_TFO_SYN_OUT;
    if ((c->flags & TCP_F_RTT_TIMED) && seq_eq(c->rtt_seq, c->iss)) {
        tcp_rtt_sample(c, c->st->now - c->rtt_start);
        c->flags &= ~TCP_F_RTT_TIMED;
    }
    c->retries = c->backoff = 0;
    if (tcp_flight(c) == 0)
        tcp_timer_clear(c, TCP_T_RETRANSMIT);
}

void tcp_tfo_destroy(struct stack *st)
{
    free(st->tcp->tfo);
}
