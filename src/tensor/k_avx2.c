/* SPDX-License-Identifier: MIT */
/* AVX2 rows for the K-quants and IQ4_XS: bit for bit those of quant_scalar.c. maddubs and madd sum products
 * of elements 4j..4j+3 of a chunk of 32 into int32 lane j; the scale is the factor of madd. */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include "tensor/avx2.h"
#include "tensor/decode.h"

/* sum + scale * (q . x) of chunk c; q unsigned bytes, scales as spread_word wants them. */
static inline __m256i add_chunk(__m256i sum, __m256i q, const sp_act_q8k *x, __m256i scales, int c)
{
    __m256i products = _mm256_maddubs_epi16(q, load_32(x->q + 32 * c));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(products, spread_word(scales, c)));
}

/* y + d * sum, then - dmin * (mins . sums); d2: d and dmin, already times the activation's d. */
static inline float add_scaled_min(float y, __m256i sum, __m256i mins, const sp_act_q8k *x, __m128 d2)
{
    __m256i min_sum = _mm256_madd_epi16(mins, load_32(x->sums));
    y = fmaf(_mm_cvtss_f32(d2), (float)sum_integers(sum), y);
    return fmaf(-_mm_cvtss_f32(_mm_movehdup_ps(d2)), (float)sum_integers(min_sum), y);
}

static float dot_q2_k_avx2(size_t n, const void *w, const void *x)
{
    const sp_block_q2_k *b = w;
    const sp_act_q8k *a = x;
    const __m256i three = _mm256_set1_epi8(3);
    const __m128i nibble = _mm_set1_epi8(15);
    float y = 0;
    for (size_t i = 0; i < n / 256; i++, a++) {
        __m128i packed = load_16(b[i].scales);
        __m256i scales = split_even_odd(_mm_and_si128(packed, nibble));
        __m256i mins = _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(packed, 4), nibble));
        __m256i sum = _mm256_setzero_si256();
        for (int h = 0; h < 2; h++) {
            __m256i q = load_32(b[i].qs + 32 * h);
            sum = add_chunk(sum, _mm256_and_si256(q, three), a, scales, 4 * h);
            sum = add_chunk(sum, _mm256_and_si256(_mm256_srli_epi16(q, 2), three), a, scales, 4 * h + 1);
            sum = add_chunk(sum, _mm256_and_si256(_mm256_srli_epi16(q, 4), three), a, scales, 4 * h + 2);
            sum = add_chunk(sum, _mm256_and_si256(_mm256_srli_epi16(q, 6), three), a, scales, 4 * h + 3);
        }
        y = add_scaled_min(y, sum, mins, a, load_f16_pair(b[i].d, a->d));
    }
    return y;
}

/* The two low bits of group g of a half, with the third bit from the mask, whose bit 4h+g stands at bit 2 of
 * `high`. */
static inline __m256i join_q3(__m256i q, __m256i high)
{
    q = _mm256_and_si256(q, _mm256_set1_epi8(3));
    return _mm256_or_si256(q, _mm256_and_si256(high, _mm256_set1_epi8(4)));
}

/* sp_unpack_scales_q3_k less 32, kept in registers. */
static inline __m128i load_scales_q3_k(const uint8_t packed[12])
{
    uint32_t a = sp_load_u32(packed), b = sp_load_u32(packed + 4), h = sp_load_u32(packed + 8);
    __m128i low = _mm_setr_epi32((int)a, (int)b, (int)(a >> 4), (int)(b >> 4));
    __m128i high = _mm_setr_epi32((int)(h << 4), (int)(h << 2), (int)h, (int)(h >> 2));
    low = _mm_and_si128(low, _mm_set1_epi8(15));
    return _mm_sub_epi8(_mm_or_si128(low, _mm_and_si128(high, _mm_set1_epi8(48))), _mm_set1_epi8(32));
}

static float dot_q3_k_avx2(size_t n, const void *w, const void *x)
{
    const sp_block_q3_k *b = w;
    const sp_act_q8k *a = x;
    float y = 0;
    for (size_t i = 0; i < n / 256; i++, a++) {
        __m128i bytes = load_scales_q3_k(b[i].scales);
        __m256i scales = split_even_odd(bytes), h = load_32(b[i].hmask);
        __m256i q0 = load_32(b[i].qs), q1 = load_32(b[i].qs + 32);
        __m256i offset = _mm256_madd_epi16(_mm256_cvtepi8_epi16(bytes), load_32(a->sums));
        __m256i sum = _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32(offset, 2));
        sum = add_chunk(sum, join_q3(q0, _mm256_slli_epi16(h, 2)), a, scales, 0);
        sum = add_chunk(sum, join_q3(_mm256_srli_epi16(q0, 2), _mm256_slli_epi16(h, 1)), a, scales, 1);
        sum = add_chunk(sum, join_q3(_mm256_srli_epi16(q0, 4), h), a, scales, 2);
        sum = add_chunk(sum, join_q3(_mm256_srli_epi16(q0, 6), _mm256_srli_epi16(h, 1)), a, scales, 3);
        sum = add_chunk(sum, join_q3(q1, _mm256_srli_epi16(h, 2)), a, scales, 4);
        sum = add_chunk(sum, join_q3(_mm256_srli_epi16(q1, 2), _mm256_srli_epi16(h, 3)), a, scales, 5);
        sum = add_chunk(sum, join_q3(_mm256_srli_epi16(q1, 4), _mm256_srli_epi16(h, 4)), a, scales, 6);
        sum = add_chunk(sum, join_q3(_mm256_srli_epi16(q1, 6), _mm256_srli_epi16(h, 5)), a, scales, 7);
        y = fmaf(_cvtsh_ss(sp_load_u16(b[i].d)) * a->d, (float)sum_integers(sum), y);
    }
    return y;
}

/* Scales and mins of Q4_K and Q5_K: scales for spread_word; each min twice, beside its two sums of 16. */
static inline void load_scales_k4(const uint8_t packed[12], __m256i *scales, __m256i *mins)
{
    uint64_t s, m;
    sp_unpack_scales_k4(packed, (uint8_t *)&s, (uint8_t *)&m);
    __m128i min_bytes = _mm_cvtsi64_si128((long long)m);
    *scales = both_halves(_mm_cvtepu8_epi16(_mm_cvtsi64_si128((long long)s)));
    *mins = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(min_bytes, min_bytes));
}

static float dot_q4_k_avx2(size_t n, const void *w, const void *x)
{
    const sp_block_q4_k *b = w;
    const sp_act_q8k *a = x;
    const __m256i nibble = _mm256_set1_epi8(15);
    float y = 0;
    for (size_t i = 0; i < n / 256; i++, a++) {
        __m256i scales, mins, sum = _mm256_setzero_si256();
        load_scales_k4(b[i].scales, &scales, &mins);
        for (int t = 0; t < 4; t++) {
            __m256i q = load_32(b[i].qs + 32 * t);
            sum = add_chunk(sum, _mm256_and_si256(q, nibble), a, scales, 2 * t);
            sum = add_chunk(sum, _mm256_and_si256(_mm256_srli_epi16(q, 4), nibble), a, scales, 2 * t + 1);
        }
        y = add_scaled_min(y, sum, mins, a, load_f16_pair(b[i].d, a->d));
    }
    return y;
}

static inline __m256i join_q5(__m256i q, __m256i high)
{
    q = _mm256_and_si256(q, _mm256_set1_epi8(15));
    return _mm256_or_si256(q, _mm256_and_si256(high, _mm256_set1_epi8(16)));
}

static float dot_q5_k_avx2(size_t n, const void *w, const void *x)
{
    const sp_block_q5_k *b = w;
    const sp_act_q8k *a = x;
    float y = 0;
    for (size_t i = 0; i < n / 256; i++, a++) {
        __m256i scales, mins, sum = _mm256_setzero_si256(), h = load_32(b[i].qh);
        load_scales_k4(b[i].scales, &scales, &mins);
        __m256i q = load_32(b[i].qs);
        sum = add_chunk(sum, join_q5(q, _mm256_slli_epi16(h, 4)), a, scales, 0);
        sum = add_chunk(sum, join_q5(_mm256_srli_epi16(q, 4), _mm256_slli_epi16(h, 3)), a, scales, 1);
        q = load_32(b[i].qs + 32);
        sum = add_chunk(sum, join_q5(q, _mm256_slli_epi16(h, 2)), a, scales, 2);
        sum = add_chunk(sum, join_q5(_mm256_srli_epi16(q, 4), _mm256_slli_epi16(h, 1)), a, scales, 3);
        q = load_32(b[i].qs + 64);
        sum = add_chunk(sum, join_q5(q, h), a, scales, 4);
        sum = add_chunk(sum, join_q5(_mm256_srli_epi16(q, 4), _mm256_srli_epi16(h, 1)), a, scales, 5);
        q = load_32(b[i].qs + 96);
        sum = add_chunk(sum, join_q5(q, _mm256_srli_epi16(h, 2)), a, scales, 6);
        sum = add_chunk(sum, join_q5(_mm256_srli_epi16(q, 4), _mm256_srli_epi16(h, 3)), a, scales, 7);
        y = add_scaled_min(y, sum, mins, a, load_f16_pair(b[i].d, a->d));
    }
    return y;
}

static inline __m256i join_q6(__m256i low, __m256i high)
{
    low = _mm256_and_si256(low, _mm256_set1_epi8(15));
    return _mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi8(48)));
}

static float dot_q6_k_avx2(size_t n, const void *w, const void *x)
{
    const sp_block_q6_k *b = w;
    const sp_act_q8k *a = x;
    float y = 0;
    for (size_t i = 0; i < n / 256; i++, a++) {
        __m128i bytes = load_16(b[i].scales);
        __m256i scales = split_even_odd(bytes);
        __m256i offset = _mm256_madd_epi16(_mm256_cvtepi8_epi16(bytes), load_32(a->sums));
        __m256i sum = _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32(offset, 5));
        for (int t = 0; t < 2; t++) {
            __m256i l0 = load_32(b[i].ql + 64 * t), l1 = load_32(b[i].ql + 64 * t + 32);
            __m256i h = load_32(b[i].qh + 32 * t);
            sum = add_chunk(sum, join_q6(l0, _mm256_slli_epi16(h, 4)), a, scales, 4 * t);
            sum = add_chunk(sum, join_q6(l1, _mm256_slli_epi16(h, 2)), a, scales, 4 * t + 1);
            sum = add_chunk(sum, join_q6(_mm256_srli_epi16(l0, 4), h), a, scales, 4 * t + 2);
            sum = add_chunk(sum, join_q6(_mm256_srli_epi16(l1, 4), _mm256_srli_epi16(h, 2)), a, scales,
                            4 * t + 3);
        }
        y = fmaf(_cvtsh_ss(sp_load_u16(b[i].d)) * a->d, (float)sum_integers(sum), y);
    }
    return y;
}

/* The eight scales of IQ4_XS, less 32, as words. */
static inline __m128i load_scales_iq4_xs(const sp_block_iq4_xs *b)
{
    const __m128i place = _mm_setr_epi16(1 << 14, 1 << 12, 1 << 10, 1 << 8, 1 << 6, 1 << 4, 1 << 2, 1);
    uint32_t l = sp_load_u32(b->scales_l);
    uint64_t pairs = (l & 0x0f0f0f0fu) | (uint64_t)((l >> 4) & 0x0f0f0f0fu) << 32;
    __m128i bytes = _mm_cvtsi64_si128((long long)pairs);
    bytes = _mm_unpacklo_epi8(bytes, _mm_srli_si128(bytes, 4));
    /* bits 2k, 2k+1 of scales_h moved to bits 14, 15 of word k, then to 4, 5 */
    __m128i high = _mm_mullo_epi16(_mm_set1_epi16((short)sp_load_u16(b->scales_h)), place);
    high = _mm_slli_epi16(_mm_srli_epi16(high, 14), 4);
    return _mm_sub_epi16(_mm_or_si128(_mm_cvtepu8_epi16(bytes), high), _mm_set1_epi16(32));
}

static float dot_iq4_xs_avx2(size_t n, const void *w, const void *x)
{
    const sp_block_iq4_xs *b = w;
    const sp_act_q8k *a = x;
    const __m256i values = _mm256_broadcastsi128_si256(load_16(sp_iq4_values));
    float y = 0;
    for (size_t i = 0; i < n / 256; i++, a++) {
        __m256i sum = _mm256_setzero_si256(), scales = both_halves(load_scales_iq4_xs(b + i));
        for (int c = 0; c < 8; c++) {
            __m256i q = _mm256_shuffle_epi8(values, load_nibbles(b[i].qs + 16 * c));
            __m256i products = mul_signed(q, load_32(a->q + 32 * c));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(products, spread_word(scales, c)));
        }
        y = fmaf(_cvtsh_ss(sp_load_u16(b[i].d)) * a->d, (float)sum_integers(sum), y);
    }
    return y;
}

/* dst[256] from a decoded block; has_min is 0 or 1. */
static inline void write_256(const sp_dec256 *w, int has_min, float *dst)
{
    for (int k = 0; k < 16; k++) {
        __m256 d = _mm256_set1_ps(w->d * (float)w->scale[k]), m = _mm256_set1_ps(w->dmin * (float)w->min[k]);
        __m128i q = _mm_sub_epi8(load_16(w->q + 16 * k), _mm_set1_epi8((char)w->offset));
        for (int i = 0; i < 2; i++) {
            __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(i ? _mm_srli_si128(q, 8) : q));
            v = _mm256_mul_ps(d, v);
            _mm256_storeu_ps(dst + 16 * k + 8 * i, has_min ? _mm256_sub_ps(v, m) : v);
        }
    }
}

/* Unpacking: the common decoder, then wide arithmetic. */
#define UNPACK_256(type, has_min)                                                                            \
    static void unpack_##type##_avx2(size_t n, const void *src, float *dst)                                  \
    {                                                                                                        \
        const sp_block_##type *b = src;                                                                      \
        for (size_t i = 0; i < n / 256; i++) {                                                               \
            sp_dec256 dec;                                                                                   \
            sp_decode_##type(b + i, &dec);                                                                   \
            write_256(&dec, has_min, dst + 256 * i);                                                         \
        }                                                                                                    \
    }

UNPACK_256(q2_k, 1)
UNPACK_256(q3_k, 0)
UNPACK_256(q4_k, 1)
UNPACK_256(q5_k, 1)
UNPACK_256(q6_k, 0)
UNPACK_256(iq4_xs, 0)

MATMUL_BY_DOTS(q2_k, avx2)
MATMUL_BY_DOTS(q3_k, avx2)
MATMUL_BY_DOTS(q4_k, avx2)
MATMUL_BY_DOTS(q5_k, avx2)
MATMUL_BY_DOTS(q6_k, avx2)
MATMUL_BY_DOTS(iq4_xs, avx2)

#define SET_ROWS(k, dtype, type)                                                                             \
    (k)->matmul[dtype] = matmul_##type##_avx2;                                                                     \
    (k)->unpack[dtype] = unpack_##type##_avx2

void sp_fill_k_avx2(sp_kernels *k)
{
    SET_ROWS(k, SP_DTYPE_Q2_K, q2_k);
    SET_ROWS(k, SP_DTYPE_Q3_K, q3_k);
    SET_ROWS(k, SP_DTYPE_Q4_K, q4_k);
    SET_ROWS(k, SP_DTYPE_Q5_K, q5_k);
    SET_ROWS(k, SP_DTYPE_Q6_K, q6_k);
    SET_ROWS(k, SP_DTYPE_IQ4_XS, iq4_xs);
}

#endif
