/* SPDX-License-Identifier: BSD-3-Clause
 * See cksum.h. */
#include "cksum.h"

#include <string.h>

static uint16_t fold(uint64_t sum)
{
    sum = (sum >> 32) + (uint32_t)sum;
    sum = (sum >> 32) + (uint32_t)sum;
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    return (uint16_t)((sum >> 16) + (sum & 0xffff));
}

/* Addition with end-around carry. */
static inline uint64_t add(uint64_t sum, uint64_t v)
{
    sum += v;
    return sum + (sum < v);
}

/* Ones' complement sums do not depend on the width of the words (RFC 1071 2 (C)): 64 bits at a time, in two chains. */
static uint16_t sum_of(const uint8_t *p, uint32_t len)
{
    uint64_t sum = 0, other = 0;
    for (; len >= 32; len -= 32, p += 32) {
        uint64_t v[4];
        memcpy(v, p, sizeof v);
        sum = add(add(sum, v[0]), v[1]);
        other = add(add(other, v[2]), v[3]);
    }
    for (; len >= 2; len -= 2, p += 2) {
        uint16_t v;
        memcpy(&v, p, 2);
        sum = add(sum, v);
    }
    if (len > 0) { /* as if a zero byte followed, in either byte order */
        uint16_t v = 0;
        memcpy(&v, p, 1);
        sum = add(sum, v);
    }
    return fold(add(sum, other));
}

uint16_t net_cksum(const struct rte_mbuf *m, uint32_t len)
{
    uint64_t sum = 0;
    uint32_t done = 0;
    for (; done < len; m = m->next) {
        uint32_t n = RTE_MIN((uint32_t)rte_pktmbuf_data_len(m), len - done);
        uint16_t part = sum_of(rte_pktmbuf_mtod(m, const uint8_t *), n);
        sum += done & 1 ? rte_bswap16(part) : part; /* RFC 1071 2 (B) */
        done += n;
    }
    return fold(sum);
}
