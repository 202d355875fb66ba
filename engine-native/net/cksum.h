/* SPDX-License-Identifier: BSD-3-Clause
 * The Internet checksum's sum (RFC 1071) over a packet of any number of segments. DPDK's rte_raw_cksum_mbuf() is wrong
 * when a segment begins at an odd offset: it swaps the bytes of a sum that it has not folded. */
#ifndef ZSTACK_NET_CKSUM_H
#define ZSTACK_NET_CKSUM_H

#include <rte_mbuf.h>
#include <stdint.h>

/* Of the first len bytes of m's data, folded to 16 bits, not complemented, in the byte order of the packet. m has them. */
uint16_t net_cksum(const struct rte_mbuf *m, uint32_t len);

#endif
