/* SPDX-License-Identifier: BSD-3-Clause
 * Sequence numbers: a type of their own, since neither < nor - means on them what it means on integers (RFC 9293 3.4). */
#ifndef ZSTACK_TCP_SEQ_H
#define ZSTACK_TCP_SEQ_H

#include <stdbool.h>
#include <stdint.h>

typedef struct tcp_seq {
    uint32_t v;
} tcp_seq;

static inline tcp_seq seq(uint32_t v)
{
    return (tcp_seq){v};
}
static inline tcp_seq seq_add(tcp_seq a, uint32_t n)
{
    return (tcp_seq){a.v + n};
}
static inline tcp_seq seq_sub(tcp_seq a, uint32_t n)
{
    return (tcp_seq){a.v - n};
}
/* How far a is after b; negative when it is before. */
static inline int32_t seq_diff(tcp_seq a, tcp_seq b)
{
    return (int32_t)(a.v - b.v);
}
static inline bool seq_eq(tcp_seq a, tcp_seq b)
{
    return a.v == b.v;
}
static inline bool seq_lt(tcp_seq a, tcp_seq b)
{
    return seq_diff(a, b) < 0;
}
static inline bool seq_leq(tcp_seq a, tcp_seq b)
{
    return seq_diff(a, b) <= 0;
}
static inline bool seq_gt(tcp_seq a, tcp_seq b)
{
    return seq_diff(a, b) > 0;
}
static inline bool seq_geq(tcp_seq a, tcp_seq b)
{
    return seq_diff(a, b) >= 0;
}
static inline tcp_seq seq_max(tcp_seq a, tcp_seq b)
{
    return seq_lt(a, b) ? b : a;
}
static inline tcp_seq seq_min(tcp_seq a, tcp_seq b)
{
    return seq_lt(a, b) ? a : b;
}

#endif
