/* SPDX-License-Identifier: MIT */
/* AVX2 loaders of the K-quants and IQ4_XS. Of a block of 256: load_<type> gives the integers, 32 a register;
 * scales_<type> the scales as spread_word wants them; mins_<type> the mins of the 16 groups in order, as words.
 * All as decode.c has them. For files compiled for AVX2 + FMA + F16C. */
#ifndef SP_TENSOR_LOAD_K_AVX2_H
#define SP_TENSOR_LOAD_K_AVX2_H

#include "tensor/avx2.h"

#if defined(__AVX2__)

#include "tensor/decode.h"

/* --- Q2_K --- */

static inline void load_q2_k(const void *block, __m256i q[8])
{
    const sp_block_q2_k *b = block;
    const __m256i three = _mm256_set1_epi8(3);
    for (int h = 0; h < 2; h++) {
        __m256i v = load_32(b->qs + 32 * h);
        q[4 * h] = _mm256_and_si256(v, three);
        q[4 * h + 1] = _mm256_and_si256(_mm256_srli_epi16(v, 2), three);
        q[4 * h + 2] = _mm256_and_si256(_mm256_srli_epi16(v, 4), three);
        q[4 * h + 3] = _mm256_and_si256(_mm256_srli_epi16(v, 6), three);
    }
}

static inline __m256i scales_q2_k(const void *block)
{
    const sp_block_q2_k *b = block;
    return split_even_odd(_mm_and_si128(load_16(b->scales), _mm_set1_epi8(15)));
}

static inline __m256i mins_q2_k(const void *block)
{
    const sp_block_q2_k *b = block;
    __m128i high = _mm_srli_epi16(load_16(b->scales), 4);
    return _mm256_cvtepu8_epi16(_mm_and_si128(high, _mm_set1_epi8(15)));
}

/* --- Q3_K --- */

/* The two low bits of group g of a half, with the third bit from the mask, whose bit 4h+g stands at bit 2 of
 * `high`. */
static inline __m256i join_q3(__m256i q, __m256i high)
{
    q = _mm256_and_si256(q, _mm256_set1_epi8(3));
    return _mm256_or_si256(q, _mm256_and_si256(high, _mm256_set1_epi8(4)));
}

static inline void load_q3_k(const void *block, __m256i q[8])
{
    const sp_block_q3_k *b = block;
    __m256i h = load_32(b->hmask), v0 = load_32(b->qs), v1 = load_32(b->qs + 32);
    q[0] = join_q3(v0, _mm256_slli_epi16(h, 2));
    q[1] = join_q3(_mm256_srli_epi16(v0, 2), _mm256_slli_epi16(h, 1));
    q[2] = join_q3(_mm256_srli_epi16(v0, 4), h);
    q[3] = join_q3(_mm256_srli_epi16(v0, 6), _mm256_srli_epi16(h, 1));
    q[4] = join_q3(v1, _mm256_srli_epi16(h, 2));
    q[5] = join_q3(_mm256_srli_epi16(v1, 2), _mm256_srli_epi16(h, 3));
    q[6] = join_q3(_mm256_srli_epi16(v1, 4), _mm256_srli_epi16(h, 4));
    q[7] = join_q3(_mm256_srli_epi16(v1, 6), _mm256_srli_epi16(h, 5));
}

/* sp_unpack_scales_q3_k less 32, kept in registers. */
static inline __m256i scales_q3_k(const void *block)
{
    const sp_block_q3_k *p = block;
    uint32_t a = sp_load_u32(p->scales), b = sp_load_u32(p->scales + 4), h = sp_load_u32(p->scales + 8);
    __m128i low = _mm_setr_epi32((int)a, (int)b, (int)(a >> 4), (int)(b >> 4));
    __m128i high = _mm_setr_epi32((int)(h << 4), (int)(h << 2), (int)h, (int)(h >> 2));
    __m128i both =
        _mm_or_si128(_mm_and_si128(low, _mm_set1_epi8(15)), _mm_and_si128(high, _mm_set1_epi8(48)));
    return split_even_odd(_mm_sub_epi8(both, _mm_set1_epi8(32)));
}

/* --- Q4_K and Q5_K --- */

static inline void load_q4_k(const void *block, __m256i q[8])
{
    const sp_block_q4_k *b = block;
    const __m256i nibble = _mm256_set1_epi8(15);
    for (int t = 0; t < 4; t++) {
        __m256i v = load_32(b->qs + 32 * t);
        q[2 * t] = _mm256_and_si256(v, nibble);
        q[2 * t + 1] = _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble);
    }
}

static inline __m256i join_q5(__m256i q, __m256i high)
{
    q = _mm256_and_si256(q, _mm256_set1_epi8(15));
    return _mm256_or_si256(q, _mm256_and_si256(high, _mm256_set1_epi8(16)));
}

static inline void load_q5_k(const void *block, __m256i q[8])
{
    const sp_block_q5_k *b = block;
    __m256i h = load_32(b->qh), v = load_32(b->qs);
    q[0] = join_q5(v, _mm256_slli_epi16(h, 4));
    q[1] = join_q5(_mm256_srli_epi16(v, 4), _mm256_slli_epi16(h, 3));
    v = load_32(b->qs + 32);
    q[2] = join_q5(v, _mm256_slli_epi16(h, 2));
    q[3] = join_q5(_mm256_srli_epi16(v, 4), _mm256_slli_epi16(h, 1));
    v = load_32(b->qs + 64);
    q[4] = join_q5(v, h);
    q[5] = join_q5(_mm256_srli_epi16(v, 4), _mm256_srli_epi16(h, 1));
    v = load_32(b->qs + 96);
    q[6] = join_q5(v, _mm256_srli_epi16(h, 2));
    q[7] = join_q5(_mm256_srli_epi16(v, 4), _mm256_srli_epi16(h, 3));
}

/* Both formats: d, dmin, then the packed scales and mins (sp_unpack_scales_k4, in halves of a word). */
static inline __m256i scales_k4(const void *block)
{
    const uint8_t *p = (const uint8_t *)block + 4;
    uint32_t a = sp_load_u32(p), c = sp_load_u32(p + 8);
    uint64_t low = a & 0x3f3f3f3fu, high = (c & 0x0f0f0f0fu) | ((a >> 2) & 0x30303030u);
    return both_halves(_mm_cvtepu8_epi16(_mm_cvtsi64_si128((long long)(low | high << 32))));
}

/* Each min twice: it belongs to two groups of 16. */
static inline __m256i mins_k4(const void *block)
{
    const uint8_t *p = (const uint8_t *)block + 4;
    uint32_t b = sp_load_u32(p + 4), c = sp_load_u32(p + 8);
    uint64_t low = b & 0x3f3f3f3fu, high = ((c >> 4) & 0x0f0f0f0fu) | ((b >> 2) & 0x30303030u);
    __m128i bytes = _mm_cvtsi64_si128((long long)(low | high << 32));
    return _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(bytes, bytes));
}

/* --- Q6_K --- */

static inline __m256i join_q6(__m256i low, __m256i high)
{
    low = _mm256_and_si256(low, _mm256_set1_epi8(15));
    return _mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi8(48)));
}

static inline void load_q6_k(const void *block, __m256i q[8])
{
    const sp_block_q6_k *b = block;
    for (int t = 0; t < 2; t++) {
        __m256i l0 = load_32(b->ql + 64 * t), l1 = load_32(b->ql + 64 * t + 32), h = load_32(b->qh + 32 * t);
        q[4 * t] = join_q6(l0, _mm256_slli_epi16(h, 4));
        q[4 * t + 1] = join_q6(l1, _mm256_slli_epi16(h, 2));
        q[4 * t + 2] = join_q6(_mm256_srli_epi16(l0, 4), h);
        q[4 * t + 3] = join_q6(_mm256_srli_epi16(l1, 4), _mm256_srli_epi16(h, 2));
    }
}

static inline __m256i scales_q6_k(const void *block)
{
    const sp_block_q6_k *b = block;
    return split_even_odd(load_16(b->scales));
}

/* --- IQ4_XS --- */

static inline void load_iq4_xs(const void *block, __m256i q[8])
{
    const sp_block_iq4_xs *b = block;
    const __m256i values = _mm256_broadcastsi128_si256(load_16(sp_iq4_values));
    for (int c = 0; c < 8; c++) q[c] = _mm256_shuffle_epi8(values, load_nibbles(b->qs + 16 * c));
}

/* The eight scales less 32. */
static inline __m256i scales_iq4_xs(const void *block)
{
    const sp_block_iq4_xs *b = block;
    const __m128i place = _mm_setr_epi16(1 << 14, 1 << 12, 1 << 10, 1 << 8, 1 << 6, 1 << 4, 1 << 2, 1);
    uint32_t l = sp_load_u32(b->scales_l);
    uint64_t pairs = (l & 0x0f0f0f0fu) | (uint64_t)((l >> 4) & 0x0f0f0f0fu) << 32;
    __m128i bytes = _mm_cvtsi64_si128((long long)pairs);
    bytes = _mm_unpacklo_epi8(bytes, _mm_srli_si128(bytes, 4));
    /* bits 2k, 2k+1 of scales_h moved to bits 14, 15 of word k, then to 4, 5 */
    __m128i high = _mm_mullo_epi16(_mm_set1_epi16((short)sp_load_u16(b->scales_h)), place);
    high = _mm_slli_epi16(_mm_srli_epi16(high, 14), 4);
    __m128i six = _mm_or_si128(_mm_cvtepu8_epi16(bytes), high);
    return both_halves(_mm_sub_epi16(six, _mm_set1_epi16(32)));
}

#endif
#endif
