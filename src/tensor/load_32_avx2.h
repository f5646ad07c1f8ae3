/* SPDX-License-Identifier: MIT */
/* AVX2 loaders of the formats in blocks of 32: the integers of a block as signed bytes, as decode.c has them.
 * For files compiled for AVX2 + FMA + F16C. */
#ifndef SP_TENSOR_LOAD_32_AVX2_H
#define SP_TENSOR_LOAD_32_AVX2_H

#include "tensor/avx2.h"

#if defined(__AVX2__)

#include "tensor/decode.h"

static inline __m256i load_q8_0(const void *block)
{
    const sp_block_q8_0 *b = block;
    return load_32(b->qs);
}

static inline __m256i load_q4_0(const void *block)
{
    const sp_block_q4_0 *b = block;
    return _mm256_sub_epi8(load_nibbles(b->qs), _mm256_set1_epi8(8));
}

static inline __m256i load_q4_1(const void *block)
{
    const sp_block_q4_1 *b = block;
    return load_nibbles(b->qs);
}

/* A clear fifth bit means q - 16, which is the nibble with its high bits set. */
static inline __m256i load_q5_0(const void *block)
{
    const sp_block_q5_0 *b = block;
    __m256i high = _mm256_andnot_si256(spread_bits(sp_load_u32(b->qh)), _mm256_set1_epi8((char)0xf0));
    return _mm256_or_si256(load_nibbles(b->qs), high);
}

static inline __m256i load_q5_1(const void *block)
{
    const sp_block_q5_1 *b = block;
    __m256i high = _mm256_and_si256(spread_bits(sp_load_u32(b->qh)), _mm256_set1_epi8(16));
    return _mm256_or_si256(load_nibbles(b->qs), high);
}

static inline __m256i load_iq4_nl(const void *block)
{
    const sp_block_iq4_nl *b = block;
    __m256i values = _mm256_broadcastsi128_si256(load_16(sp_iq4_values));
    return _mm256_shuffle_epi8(values, load_nibbles(b->qs));
}

#endif
#endif
