/* SPDX-License-Identifier: BSD-3-Clause */
#include "sum.h"

#include <emmintrin.h>

/*
 * Sixteen bytes at a time by SSE2, which every x86-64 has: the instruction that adds up differences to 0. Byte by byte, or in the lanes
 * of a general register (a quarter of this speed), the sum and not the transport would be measured.
 */
uint64_t sum_bytes(const unsigned char *data, size_t size)
{
    const __m128i zero = _mm_setzero_si128();
    __m128i even = zero, odd = zero;
    uint64_t halves[2], sum;
    size_t i = 0;

    for (; size - i >= 32; i += 32) {
        even = _mm_add_epi64(even, _mm_sad_epu8(_mm_loadu_si128((const __m128i *)(data + i)), zero));
        odd = _mm_add_epi64(odd, _mm_sad_epu8(_mm_loadu_si128((const __m128i *)(data + i + 16)), zero));
    }
    _mm_storeu_si128((__m128i *)halves, _mm_add_epi64(even, odd));
    sum = halves[0] + halves[1];
    for (; i < size; i++)
        sum += data[i];
    return sum;
}
