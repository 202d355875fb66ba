/* SPDX-License-Identifier: BSD-3-Clause
 * TCP options in and out: MSS, window scale, timestamps, SACK (RFC 9293 3.2, 7323, 2018). Unknown ones are skipped by their length. */
#include "tcp_conn.h"

enum { OPT_END = 0, OPT_NOP = 1, OPT_MSS = 2, OPT_WSCALE = 3, OPT_SACK_OK = 4, OPT_SACK = 5, OPT_TS = 8, OPT_TFO = 34 };

static uint32_t be32_at(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static void parse_sack(const uint8_t *p, uint8_t n, struct tcp_options *o)
{
    if (n < 10 || (n - 2) % 8 != 0) /* RFC 2018 3 */
        return;
    for (o->sacks = 0; o->sacks < TCP_SACK_MAX && 2 + 8u * o->sacks < n; o->sacks++)
        o->sack[o->sacks] = (struct tcp_block){seq(be32_at(p + 2 + 8 * o->sacks)), seq(be32_at(p + 6 + 8 * o->sacks))};
}

bool tcp_options_parse(const uint8_t *p, uint32_t len, struct tcp_options *o)
{
    *o = (struct tcp_options){0};
    for (uint32_t i = 0; i < len && p[i] != OPT_END;) {
        if (p[i] == OPT_NOP) {
            i++;
            continue;
        }
        /* RFC 9293 3.1: an illegal option length must not lead us outside of the header. */
        if (i + 1 >= len || p[i + 1] < 2 || i + p[i + 1] > len)
            return false;
        uint8_t n = p[i + 1];
        if (p[i] == OPT_MSS && n == 4)
            o->mss = (uint16_t)(p[i + 2] << 8 | p[i + 3]);
        if (p[i] == OPT_WSCALE && n == 3) {
            o->has_wscale = true;
            o->wscale = p[i + 2] > TCP_WINDOW_SCALE_MAX ? TCP_WINDOW_SCALE_MAX : p[i + 2]; /* RFC 7323 2.3 */
        }
        if (p[i] == OPT_SACK_OK && n == 2)
            o->sack_ok = true;
        if (p[i] == OPT_TFO && (n == 2 || (n >= 2 + TCP_TFO_COOKIE_MIN && n <= 2 + TCP_TFO_COOKIE_MAX && n % 2 == 0))) {
            o->tfo = p + i + 2;
            o->tfo_len = (uint8_t)(n - 2);
        }
        if (p[i] == OPT_SACK)
            parse_sack(p + i, n, o);
        if (p[i] == OPT_TS && n == 10) {
            o->has_ts = true;
            o->tsval = be32_at(p + i + 2);
            o->tsecr = be32_at(p + i + 6);
        }
        i += n;
    }
    return true;
}

uint32_t tcp_ts_at(const struct tcp_conn *c, uint64_t when)
{
    return (uint32_t)(when / NET_NS_PER_MS) + c->ts_offset;
}

static uint32_t build_sack(struct tcp_conn *c, uint8_t *p)
{
    struct tcp_block b[TCP_SACK_MAX];
    uint32_t blocks = tcp_sack_block(c, b);
    if (blocks == 0)
        return 0;
    put_be32(p, (uint32_t)OPT_NOP << 24 | (uint32_t)OPT_NOP << 16 | (uint32_t)OPT_SACK << 8 | (2 + 8 * blocks));
    for (uint32_t i = 0; i < blocks; i++) {
        put_be32(p + 4 + 8 * i, b[i].start.v);
        put_be32(p + 8 + 8 * i, b[i].end.v);
    }
    return 4 + 8 * blocks;
}

/* RFC 7413 4.1.1. A long cookie beside all other options has no room: it is left out, and the peer takes no data. */
static uint32_t build_tfo(struct tcp_conn *c, bool ack, uint8_t *p, uint32_t room)
{
    uint8_t cookie[TCP_TFO_COOKIE_MAX];
    bool has;
    uint32_t len = tcp_tfo_option(c, ack, cookie, &has), all = (2 + len + 3) & ~3u;
    if (!has || all > room)
        return 0;
    memset(p, OPT_NOP, all);
    p[all - len - 2] = OPT_TFO;
    p[all - len - 1] = (uint8_t)(2 + len);
    memcpy(p + all - len, cookie, len);
    return all;
}

uint32_t tcp_options_build(struct tcp_conn *c, uint8_t flags, uint8_t *p)
{
    uint32_t n = 0;
    bool syn = flags & RTE_TCP_SYN_FLAG, first = syn && !(flags & RTE_TCP_ACK_FLAG);
    if (syn) {
        put_be32(p, (uint32_t)OPT_MSS << 24 | 4u << 16 | c->rcv_mss);
        n += 4;
    }
    /* A SYN offers; a SYN,ACK confirms only what was offered (RFC 7323 1.3, 2.2, 3.2). */
    if (syn && (first || (c->flags & TCP_F_WS))) {
        put_be32(p + n, (uint32_t)OPT_NOP << 24 | (uint32_t)OPT_WSCALE << 16 | 3u << 8 | c->rcv_scale);
        n += 4;
    }
    if (syn && ((first && !(c->st->conf.without & NET_WITHOUT_SACK)) || (c->flags & TCP_F_SACK))) {
        put_be32(p + n, (uint32_t)OPT_NOP << 24 | (uint32_t)OPT_NOP << 16 | (uint32_t)OPT_SACK_OK << 8 | 2u);
        n += 4;
    }
    if ((c->flags & TCP_F_TS) || (first && !(c->st->conf.without & NET_WITHOUT_TIMESTAMPS))) {
        put_be32(p + n, (uint32_t)OPT_NOP << 24 | (uint32_t)OPT_NOP << 16 | (uint32_t)OPT_TS << 8 | 10u);
        put_be32(p + n + 4, tcp_ts_now(c));
        put_be32(p + n + 8, flags & RTE_TCP_ACK_FLAG ? c->ts_recent : 0); /* RFC 7323 3.2: 0 without ACK */
        n += 12;
    }
    if (syn && c->tfo != 0)
        n += build_tfo(c, flags & RTE_TCP_ACK_FLAG, p + n, TCP_OPTIONS_MAX - n);
    if (!syn && (flags & RTE_TCP_ACK_FLAG))
        n += build_sack(c, p + n);
    return n;
}
