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

/* Ones' complement sums do not depend on the width of the words (RFC 1071 2 (C)): 32 bits at a time, carries in the upper
 * half, two chains of additions. No segment is long enough to overflow it. */
static uint16_t sum_of(const uint8_t *p, uint32_t len)
{
    uint64_t even = 0, odd = 0;
    for (; len >= 16; len -= 16, p += 16) {
        uint64_t a, b;
        memcpy(&a, p, 8);
        memcpy(&b, p + 8, 8);
        even += (a >> 32) + (uint32_t)a;
        odd += (b >> 32) + (uint32_t)b;
    }
    for (; len >= 2; len -= 2, p += 2) {
        uint16_t v;
        memcpy(&v, p, 2);
        even += v;
    }
    if (len > 0) { /* as if a zero byte followed, in either byte order */
        uint16_t v = 0;
        memcpy(&v, p, 1);
        even += v;
    }
    return fold(even + odd);
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
