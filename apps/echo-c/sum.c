/* SPDX-License-Identifier: BSD-3-Clause */
#include "sum.h"

#include <string.h>

/*
 * Eight bytes at a time, in four lanes of 16 bits: byte by byte, this sum and not the transport would be measured. 128 words
 * fill a lane at most.
 */
uint64_t sum_bytes(const unsigned char *data, size_t size)
{
    const uint64_t even = UINT64_C(0x00ff00ff00ff00ff);
    uint64_t sum = 0;
    size_t i = 0;

    while (size - i >= 8) {
        uint64_t lanes = 0;

        for (int n = 0; n < 128 && size - i >= 8; n++, i += 8) {
            uint64_t word;

            memcpy(&word, data + i, sizeof(word));
            lanes += (word & even) + (word >> 8 & even);
        }
        sum += (lanes & 0xffff) + (lanes >> 16 & 0xffff) + (lanes >> 32 & 0xffff) + (lanes >> 48);
    }
    for (; i < size; i++)
        sum += data[i];
    return sum;
}
