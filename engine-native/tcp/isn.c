/* SPDX-License-Identifier: BSD-3-Clause
 * Numbers that an attacker off the path must not guess: initial sequence numbers (RFC 6528), timestamp offsets (RFC 7323
 * 5.4), source ports (RFC 6056 3.3.3), SYN cookies (RFC 4987 3.6). All are a keyed hash, SipHash-2-4, of the flow. */
#include <sodium/crypto_shorthash.h>

#include "tcp_conn.h"

_Static_assert(crypto_shorthash_KEYBYTES == sizeof(((struct stack_conf *)0)->key), "the stack's key is the hash's");

uint32_t tcp_keyed_hash(const struct stack *st, const struct tcp_flow *flow, uint8_t purpose, uint32_t more)
{
    uint8_t in[sizeof *flow + sizeof more + 1];
    union {
        unsigned char bytes[crypto_shorthash_BYTES];
        uint32_t word;
    } out;
    memcpy(in, flow, sizeof *flow);
    memcpy(in + sizeof *flow, &more, sizeof more);
    in[sizeof *flow + sizeof more] = purpose;
    crypto_shorthash(out.bytes, in, sizeof in, st->conf.key);
    return out.word;
}

uint32_t tcp_isn(const struct stack *st, const struct tcp_flow *flow, uint64_t now)
{
    return tcp_keyed_hash(st, flow, 'i', 0) + (uint32_t)(now / 4000); /* M ticks every 4 microseconds */
}

uint32_t tcp_ts_offset(const struct stack *st, const struct tcp_flow *flow)
{
    return tcp_keyed_hash(st, flow, 't', 0);
}

uint32_t tcp_port_hash(const struct stack *st, const struct tcp_flow *flow)
{
    return tcp_keyed_hash(st, flow, 'p', 0);
}
