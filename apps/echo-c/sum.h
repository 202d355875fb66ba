/* SPDX-License-Identifier: BSD-3-Clause */
/* What the receiver of a stream makes of it, and tells the sender at its end of file. */
#ifndef ZSTACK_APPS_SUM_H
#define ZSTACK_APPS_SUM_H

#include <stddef.h>
#include <stdint.h>

struct answer {
    uint64_t bytes, sum;
};

/* The sum of all bytes. */
uint64_t sum_bytes(const unsigned char *data, size_t size);

#endif
