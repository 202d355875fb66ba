/* SPDX-License-Identifier: BSD-3-Clause
 * Receive coalescing: see gro.c. */
#ifndef ZSTACK_NET_GRO_H
#define ZSTACK_NET_GRO_H

#include "stack.h"

/* Merges among n Ethernet frames of a burst, in place; returns how many are left. What was merged is a chain marked by
 * RTE_MBUF_F_RX_LRO, as a card's is, its checksums good and tso_segsz the payload of each segment but the last. */
uint16_t gro_merge(struct stack *st, struct rte_mbuf **frames, uint16_t n);

#endif
