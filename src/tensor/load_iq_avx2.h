/* SPDX-License-Identifier: MIT */
/* AVX2 loaders of the codebook formats IQ1, IQ2 and IQ3, in the form of load_k_avx2.h. Grid entries are gathered
 * by plain loads. */
#ifndef SP_TENSOR_LOAD_IQ_AVX2_H
#define SP_TENSOR_LOAD_IQ_AVX2_H

#include "tensor/avx2.h"

#if defined(__AVX2__)

#include "tensor/decode.h"

/* Four groups of seven sign bits -> 32, each eighth bit making its byte's number of ones even. */
static inline uint32_t expand_signs(uint32_t v)
{
    uint32_t s = (v & 0x7fu) | (v & 0x3f80u) << 1 | (v & 0x1fc000u) << 2 | (v & 0xfe00000u) << 3;
    uint32_t p = s ^ (s >> 4);
    p ^= p >> 2;
    p ^= p >> 1;
    return s | (p & 0x01010101u) << 7;
}

/* Grid bytes, negated where a sign bit is set. */
static inline __m256i apply_sign_bits(__m256i grid, uint32_t signs)
{
    __m256i mask = spread_bits(signs);
    return _mm256_sub_epi8(_mm256_xor_si256(grid, mask), mask);
}

static inline __m256i join_4(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return _mm256_setr_epi64x((long long)a, (long long)b, (long long)c, (long long)d);
}

/* 2 s + 1. */
static inline __m256i double_plus_one(__m256i s)
{
    return _mm256_add_epi16(_mm256_add_epi16(s, s), _mm256_set1_epi16(1));
}

/* One per 16: the low nibbles of eight bytes are the even ones. */
static inline __m256i scales_of_nibbles(const uint8_t *p)
{
    __m128i v = load_8(p), mask = _mm_set1_epi8(15);
    __m128i low = _mm_and_si128(v, mask), high = _mm_and_si128(_mm_srli_epi16(v, 4), mask);
    return double_plus_one(_mm256_cvtepu8_epi16(_mm_unpacklo_epi64(low, high)));
}

/* --- IQ2 --- */

static inline void load_iq2_xxs(const void *block, __m256i q[8])
{
    const sp_block_iq2_xxs *b = block;
    const uint64_t *g = sp_iq2xxs_grid;
    for (int c = 0; c < 8; c++) {
        const uint8_t *s = b->qs + 8 * c;
        q[c] = apply_sign_bits(join_4(g[s[0]], g[s[1]], g[s[2]], g[s[3]]), expand_signs(sp_load_u32(s + 4)));
    }
}

/* One per 32: the top four bits of every second word. */
static inline __m256i scales_iq2_xxs(const void *block)
{
    const sp_block_iq2_xxs *b = block;
    const __m128i order = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    __m256i v0 = _mm256_srli_epi64(load_32(b->qs), 60), v1 = _mm256_srli_epi64(load_32(b->qs + 32), 60);
    __m256i v = _mm256_or_si256(v0, _mm256_slli_epi64(v1, 32)); /* 0 4 1 5 | 2 6 3 7 */
    __m128i s = _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    return double_plus_one(both_halves(_mm_shuffle_epi8(s, order)));
}

static inline void load_iq2_xs(const void *block, __m256i q[8])
{
    const sp_block_iq2_xs *b = block;
    const uint64_t *g = sp_iq2xs_grid;
    for (int c = 0; c < 8; c++) {
        uint32_t w[4], v = 0;
        for (int l = 0; l < 4; l++) {
            w[l] = sp_load_u16(b->qs + 8 * c + 2 * l);
            v |= (w[l] >> 9) << (7 * l);
        }
        q[c] = apply_sign_bits(join_4(g[w[0] & 511], g[w[1] & 511], g[w[2] & 511], g[w[3] & 511]),
                               expand_signs(v));
    }
}

static inline __m256i scales_iq2_xs(const void *block)
{
    const sp_block_iq2_xs *b = block;
    return scales_of_nibbles(b->scales);
}

static inline void load_iq2_s(const void *block, __m256i q[8])
{
    const sp_block_iq2_s *b = block;
    const uint64_t *g = sp_iq2s_grid;
    for (int c = 0; c < 8; c++) {
        const uint8_t *s = b->qs + 4 * c;
        unsigned h = b->qh[c];
        __m256i grid = join_4(g[s[0] | (h << 8 & 0x300)], g[s[1] | (h << 6 & 0x300)],
                              g[s[2] | (h << 4 & 0x300)], g[s[3] | (h << 2 & 0x300)]);
        q[c] = apply_sign_bits(grid, sp_load_u32(b->signs + 4 * c));
    }
}

static inline __m256i scales_iq2_s(const void *block)
{
    const sp_block_iq2_s *b = block;
    return scales_of_nibbles(b->scales);
}

/* --- IQ3 --- */

static inline void load_iq3_xxs(const void *block, __m256i q[8])
{
    const sp_block_iq3_xxs *b = block;
    const uint32_t *g = sp_iq3xxs_grid;
    for (int c = 0; c < 8; c++) {
        const uint8_t *s = b->qs + 8 * c;
        __m256i grid = _mm256_setr_epi32((int)g[s[0]], (int)g[s[1]], (int)g[s[2]], (int)g[s[3]], (int)g[s[4]],
                                         (int)g[s[5]], (int)g[s[6]], (int)g[s[7]]);
        q[c] = apply_sign_bits(grid, expand_signs(sp_load_u32(b->signs + 4 * c)));
    }
}

/* One per 32: the top four bits of the words. */
static inline __m256i scales_iq3_xxs(const void *block)
{
    const sp_block_iq3_xxs *b = block;
    __m256i v = _mm256_srli_epi32(load_32(b->signs), 28);
    __m128i s = _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    return double_plus_one(both_halves(s));
}

/* Grid entries of chunk c: the ninth bits of the indices are bits of qh. */
static inline __m256i gather_iq3_s(const sp_block_iq3_s *b, int c)
{
    const __m256i place = _mm256_setr_epi32(8, 7, 6, 5, 4, 3, 2, 1);
    const uint32_t *g = sp_iq3s_grid;
    __m256i ninth = _mm256_sllv_epi32(_mm256_set1_epi32(b->qh[c]), place);
    __m256i index = _mm256_cvtepu8_epi32(load_8(b->qs + 8 * c));
    index = _mm256_or_si256(index, _mm256_and_si256(ninth, _mm256_set1_epi32(0x100)));
    uint32_t i[8];
    _mm256_storeu_si256((__m256i *)i, index);
    return _mm256_setr_epi32((int)g[i[0]], (int)g[i[1]], (int)g[i[2]], (int)g[i[3]], (int)g[i[4]],
                             (int)g[i[5]], (int)g[i[6]], (int)g[i[7]]);
}

static inline void load_iq3_s(const void *block, __m256i q[8])
{
    const sp_block_iq3_s *b = block;
    for (int c = 0; c < 8; c++) q[c] = apply_sign_bits(gather_iq3_s(b, c), sp_load_u32(b->signs + 4 * c));
}

static inline __m256i scales_iq3_s(const void *block)
{
    const sp_block_iq3_s *b = block;
    uint32_t l = sp_load_u32(b->scales);
    __m128i low = _mm_cvtsi32_si128((int)(l & 0x0f0f0f0fu));
    __m128i high = _mm_cvtsi32_si128((int)(l >> 4 & 0x0f0f0f0fu));
    return double_plus_one(both_halves(_mm_cvtepu8_epi16(_mm_unpacklo_epi8(low, high))));
}

/* --- IQ1 --- */

/* 8 grid + delta, as signed bytes. */
static inline __m256i add_iq1_delta(__m256i grid, __m256i delta)
{
    __m256i w = _mm256_and_si256(_mm256_slli_epi16(grid, 3), _mm256_set1_epi8((char)0xf8));
    return _mm256_add_epi8(w, delta);
}

static inline void load_iq1_s(const void *block, __m256i q[8])
{
    const sp_block_iq1_s *b = block;
    const uint64_t *g = sp_iq1_grid;
    for (int c = 0; c < 8; c++) {
        const uint8_t *s = b->qs + 4 * c;
        unsigned h = sp_load_u16(b->qh + 2 * c);
        __m256i grid = join_4(g[s[0] | (h << 8 & 0x700)], g[s[1] | (h << 5 & 0x700)],
                              g[s[2] | (h << 2 & 0x700)], g[s[3] | (h >> 1 & 0x700)]);
        q[c] = add_iq1_delta(grid, _mm256_set1_epi8(h & 0x8000u ? -1 : 1));
    }
}

static inline __m256i scales_iq1_s(const void *block)
{
    const sp_block_iq1_s *b = block;
    __m128i s = _mm_and_si128(_mm_srli_epi16(load_16(b->qh), 12), _mm_set1_epi16(7));
    return double_plus_one(both_halves(s));
}

static inline void load_iq1_m(const void *block, __m256i q[8])
{
    const sp_block_iq1_m *b = block;
    const uint64_t *g = sp_iq1_grid, plus = 0x0101010101010101ull;
    for (int c = 0; c < 8; c++) {
        const uint8_t *s = b->qs + 4 * c;
        unsigned h = sp_load_u16(b->qh + 2 * c); /* four nibbles */
        __m256i grid = join_4(g[s[0] | (h << 8 & 0x700)], g[s[1] | (h << 4 & 0x700)], g[s[2] | (h & 0x700)],
                              g[s[3] | (h >> 4 & 0x700)]);
        __m256i delta = join_4(plus | -(uint64_t)(h >> 3 & 1), plus | -(uint64_t)(h >> 7 & 1),
                               plus | -(uint64_t)(h >> 11 & 1), plus | -(uint64_t)(h >> 15 & 1));
        q[c] = add_iq1_delta(grid, delta);
    }
}

/* One per 16, four three-bit fields in each word; moved to the top of a word each, the even ones first. */
static inline __m256i scales_iq1_m(const void *block)
{
    const sp_block_iq1_m *b = block;
    const __m256i place =
        _mm256_set_m128i(_mm_set1_epi32(1 << 4 << 16 | 1 << 10), _mm_set1_epi32(1 << 7 << 16 | 1 << 13));
    __m128i words = load_8(b->scales), twice = _mm_unpacklo_epi16(words, words);
    __m256i s = _mm256_mullo_epi16(both_halves(twice), place);
    return double_plus_one(_mm256_srli_epi16(s, 13));
}

/* The factor whose nibbles are spread over the scales. */
static inline float d_iq1_m(const void *block)
{
    const sp_block_iq1_m *b = block;
    uint64_t v;
    memcpy(&v, b->scales, sizeof v);
    uint64_t d = (v >> 12 & 0x000f) | (v >> 24 & 0x00f0) | (v >> 36 & 0x0f00) | (v >> 48 & 0xf000);
    return _cvtsh_ss((uint16_t)d);
}

#endif
#endif
