/* SPDX-License-Identifier: MIT */
/* AVX-512 rows for the legacy formats, the K-quants and IQ4: how their scales and runs are unpacked, sixteen weight
 * rows at a time. Layouts: blocks.h and decode.c; what becomes of the runs: few_avx512.h, panel_avx512.c. */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include "tensor/decode.h"
#include "tensor/few_avx512.h"

/* --- blocks of 256 ---------------------------------------------------------------------------------------- */

/* Header of Q4_K and Q5_K: d, dmin, eight scales and mins of six bits (sp_unpack_scales_k4). */
INLINE void scales_k4(const uint8_t *w, size_t stride, sp_scales256 *s)
{
    __m512i v[4];
    load_rows(w, stride, v);
    s->d = low_half(v[0]);
    s->dmin = high_half(v[0]);
    __m512i sc[2] = {field(v[1], 0, 63), _mm512_or_si512(field(v[3], 0, 15), field(v[1], 2, 48))};
    __m512i mn[2] = {field(v[2], 0, 63), _mm512_or_si512(field(v[3], 4, 15), field(v[2], 2, 48))};
    for (int g = 0; g < 8; g++) {
        __m512i min = lane_byte(mn[g / 4], g % 4);
        s->scale[g] = lane_byte(sc[g / 4], g % 4);
        s->pairs[g] = join_words(min, min);
    }
}

/* Thirty-two bytes: low nibbles, then high ones. */
INLINE void load_q4_k(const uint8_t *w, size_t stride, int step, __m512i raw[16])
{
    load_rows_32(w + offsetof(sp_block_q4_k, qs) + 32 * step, stride, raw);
}

INLINE void take_q4_k(const __m512i raw[16], int step, int half, __m512i q[8])
{
    (void)step;
    for (int k = 0; k < 8; k++) q[k] = field(raw[k], 4 * half, 15);
}

/* Bits 2 step and 2 step + 1 of qh are the fifth bits. */
INLINE void load_q5_k(const uint8_t *w, size_t stride, int step, __m512i raw[16])
{
    load_rows_32(w + offsetof(sp_block_q5_k, qs) + 32 * step, stride, raw);
    load_rows_32(w + offsetof(sp_block_q5_k, qh), stride, raw + 8);
}

INLINE void take_q5_k(const __m512i raw[16], int step, int half, __m512i q[8])
{
    const __m128i down = _mm_cvtsi32_si128(2 * step + half);
    for (int k = 0; k < 8; k++)
        q[k] = _mm512_or_si512(field(raw[k], 4 * half, 15),
                               field_left(_mm512_srl_epi32(raw[k + 8], down), 4, 16));
}

INLINE void scales_q6_k(const uint8_t *w, size_t stride, sp_scales256 *s)
{
    __m512i v[4];
    load_rows(w + sizeof(sp_block_q6_k) - 16, stride, v);
    s->d = high_half(v[3]);
    load_rows(w + offsetof(sp_block_q6_k, scales), stride, v);
    for (int g = 0; g < 16; g++) s->scale[g] = lane_byte_signed(v[g / 4], g % 4);
    set_offset_16(s, 32);
}

/* Half step / 2 of the block, half step % 2 of each of its groups of 32. */
INLINE void load_q6_k(const uint8_t *w, size_t stride, int step, __m512i raw[16])
{
    const uint8_t *ql = w + 64 * (step / 2) + 16 * (step % 2);
    load_rows(ql, stride, raw);
    load_rows(ql + 32, stride, raw + 4);
    load_rows(w + offsetof(sp_block_q6_k, qh) + 16 * step, stride, raw + 8);
}

INLINE void take_q6_k(const __m512i raw[16], int step, int half, __m512i q[8])
{
    (void)step;
    for (int k = 0; k < 4; k++) {
        __m512i h = raw[k + 8];
        q[k] = _mm512_or_si512(field(raw[k], 4 * half, 15), half ? field(h, 0, 48) : field_left(h, 4, 48));
        q[k + 4] =
            _mm512_or_si512(field(raw[k + 4], 4 * half, 15), half ? field(h, 2, 48) : field_left(h, 2, 48));
    }
}

INLINE void scales_q2_k(const uint8_t *w, size_t stride, sp_scales256 *s)
{
    __m512i v[4];
    load_rows(w + sizeof(sp_block_q2_k) - 16, stride, v);
    s->d = low_half(v[3]);
    s->dmin = high_half(v[3]);
    load_rows(w, stride, v);
    for (int g = 0; g < 16; g++) s->scale[g] = lane_byte(field(v[g / 4], 0, 15), g % 4);
    for (int k = 0; k < 8; k++) {
        __m512i min = field(v[k / 2], 4, 15);
        s->pairs[k] = join_words(lane_byte(min, 2 * (k % 2)), lane_byte(min, 2 * (k % 2) + 1));
    }
}

INLINE void load_q2_k(const uint8_t *w, size_t stride, int step, __m512i raw[16])
{
    load_rows(w + offsetof(sp_block_q2_k, qs) + 16 * step, stride, raw);
}

INLINE void take_q2_k(const __m512i raw[16], int step, int half, __m512i q[8])
{
    (void)step;
    for (int k = 0; k < 4; k++) {
        q[k] = field(raw[k], 4 * half, 3);
        q[k + 4] = field(raw[k], 4 * half + 2, 3);
    }
}

INLINE void scales_q3_k(const uint8_t *w, size_t stride, sp_scales256 *s)
{
    __m512i v[4], sc[4];
    load_rows(w + sizeof(sp_block_q3_k) - 16, stride, v);
    s->d = high_half(v[3]);
    load_rows(w + offsetof(sp_block_q3_k, scales) - 4, stride, v); /* v[1..3] as sp_unpack_scales_q3_k */
    sc[0] = _mm512_or_si512(field(v[1], 0, 15), field_left(v[3], 4, 48));
    sc[1] = _mm512_or_si512(field(v[2], 0, 15), field_left(v[3], 2, 48));
    sc[2] = _mm512_or_si512(field(v[1], 4, 15), field(v[3], 0, 48));
    sc[3] = _mm512_or_si512(field(v[2], 4, 15), field(v[3], 2, 48));
    for (int g = 0; g < 16; g++)
        s->scale[g] = _mm512_sub_epi32(lane_byte(sc[g / 4], g % 4), _mm512_set1_epi32(32));
    set_offset_16(s, 4);
}

/* Bits 4 (step / 2) .. 4 (step / 2) + 3 of hmask are the third bits. */
INLINE void load_q3_k(const uint8_t *w, size_t stride, int step, __m512i raw[16])
{
    load_rows(w + offsetof(sp_block_q3_k, qs) + 16 * step, stride, raw);
    load_rows(w + 16 * (step % 2), stride, raw + 4);
}

INLINE void take_q3_k(const __m512i raw[16], int step, int half, __m512i q[8])
{
    const __m128i down = _mm_cvtsi32_si128(4 * (step / 2) + 2 * half);
    for (int k = 0; k < 4; k++) {
        __m512i high = _mm512_srl_epi32(raw[k + 4], down);
        q[k] = _mm512_or_si512(field(raw[k], 4 * half, 3), field_left(high, 2, 4));
        q[k + 4] = _mm512_or_si512(field(raw[k], 4 * half + 2, 3), field_left(high, 1, 4));
    }
}

/* The sixteen values of the IQ4 formats plus 128, in every 128-bit part. */
INLINE __m512i iq4_table(void)
{
    __m512i values = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)sp_iq4_values));
    return _mm512_xor_si512(values, _mm512_set1_epi8((char)0x80));
}

INLINE void scales_iq4_xs(const uint8_t *w, size_t stride, sp_scales256 *s)
{
    __m512i v[4];
    load_rows(w, stride, v);
    s->d = low_half(v[0]);
    for (int g = 0; g < 8; g++) {
        __m512i low = _mm512_and_si512(_mm512_srli_epi32(v[1], (unsigned)(4 * g)), _mm512_set1_epi32(15));
        __m512i high =
            _mm512_and_si512(_mm512_srli_epi32(v[0], (unsigned)(16 + 2 * g)), _mm512_set1_epi32(3));
        __m512i sc = _mm512_or_si512(low, _mm512_slli_epi32(high, 4));
        s->scale[g] = _mm512_sub_epi32(sc, _mm512_set1_epi32(32));
    }
    set_offset_32(s, 128);
}

INLINE void load_iq4_xs(const uint8_t *w, size_t stride, int step, __m512i raw[16])
{
    load_rows_32(w + offsetof(sp_block_iq4_xs, qs) + 32 * step, stride, raw);
}

/* Sixteen bytes make 32 elements, low nibbles first. */
INLINE void take_iq4_xs(const __m512i raw[16], int step, int half, __m512i q[8])
{
    (void)step;
    const __m512i table = iq4_table();
    for (int k = 0; k < 4; k++) {
        q[k] = _mm512_shuffle_epi8(table, field(raw[4 * half + k], 0, 15));
        q[k + 4] = _mm512_shuffle_epi8(table, field(raw[4 * half + k], 4, 15));
    }
}

static const format256 fields_q2_k = {true, 16, true, scales_q2_k, load_q2_k, take_q2_k};
static const format256 fields_q3_k = {true, 16, false, scales_q3_k, load_q3_k, take_q3_k};
static const format256 fields_q4_k = {false, 32, true, scales_k4, load_q4_k, take_q4_k};
static const format256 fields_q5_k = {false, 32, true, scales_k4, load_q5_k, take_q5_k};
static const format256 fields_q6_k = {true, 16, false, scales_q6_k, load_q6_k, take_q6_k};
static const format256 fields_iq4_xs = {false, 32, false, scales_iq4_xs, load_iq4_xs, take_iq4_xs};

ROWS_256(q2_k, sp_tiles_16_min_avx512, 1)
ROWS_256(q3_k, sp_tiles_16_offset_avx512, 1)
ROWS_256(q4_k, sp_tiles_32_min_avx512, 1)
ROWS_256(q5_k, sp_tiles_32_min_avx512, 1)
ROWS_256(q6_k, sp_tiles_16_offset_avx512, 1)
ROWS_256(iq4_xs, sp_tiles_32_offset_avx512, 1)

/* --- blocks of 32 ----------------------------------------------------------------------------------------- */

/* Sixteen bytes of nibbles: elements 0-15 are the low ones, 16-31 the high ones. */
INLINE void split_nibbles(const uint8_t *w, size_t stride, __m512i q[8])
{
    __m512i v[4];
    load_rows(w, stride, v);
    for (int k = 0; k < 4; k++) {
        q[k] = field(v[k], 0, 15);
        q[k + 4] = field(v[k], 4, 15);
    }
}

/* Bit i of every lane to bit 4 of element i. Four bits to four bytes: n (1 + 2^7 + 2^14 + 2^21) has bit j of n at
 * bit 8 j, and nothing else there. */
INLINE void add_fifth_bits(__m512i bits, __m512i q[8])
{
    for (int k = 0; k < 8; k++) {
        __m512i four = _mm512_and_si512(_mm512_srli_epi32(bits, (unsigned)(4 * k)), _mm512_set1_epi32(15));
        __m512i spread = _mm512_mullo_epi32(four, _mm512_set1_epi32(0x00204081));
        q[k] = _mm512_or_si512(q[k], field_left(spread, 4, 16));
    }
}

INLINE void block_q8_0(const uint8_t *w, size_t stride, __m512i q[8], __m512 *d, __m512 *m)
{
    __m512i v[4];
    load_rows(w, stride, v);
    *d = *m = low_half(v[0]);
    load_rows_32(w + 2, stride, q);
    for (int k = 0; k < 8; k++) q[k] = _mm512_xor_si512(q[k], _mm512_set1_epi8((char)0x80));
}

INLINE void block_q4_0(const uint8_t *w, size_t stride, __m512i q[8], __m512 *d, __m512 *m)
{
    __m512i v[4];
    load_rows(w, stride, v);
    *d = *m = low_half(v[0]);
    split_nibbles(w + 2, stride, q);
}

INLINE void block_q4_1(const uint8_t *w, size_t stride, __m512i q[8], __m512 *d, __m512 *m)
{
    __m512i v[4];
    load_rows(w, stride, v);
    *d = low_half(v[0]);
    *m = high_half(v[0]);
    split_nibbles(w + 4, stride, q);
}

INLINE void block_q5_0(const uint8_t *w, size_t stride, __m512i q[8], __m512 *d, __m512 *m)
{
    __m512i v[4];
    load_rows(w, stride, v);
    *d = *m = low_half(v[0]);
    split_nibbles(w + 6, stride, q);
    add_fifth_bits(_mm512_or_si512(_mm512_srli_epi32(v[0], 16), _mm512_slli_epi32(v[1], 16)), q);
}

INLINE void block_q5_1(const uint8_t *w, size_t stride, __m512i q[8], __m512 *d, __m512 *m)
{
    __m512i v[4];
    load_rows(w, stride, v);
    *d = low_half(v[0]);
    *m = high_half(v[0]);
    split_nibbles(w + 8, stride, q);
    add_fifth_bits(v[1], q);
}

INLINE void block_iq4_nl(const uint8_t *w, size_t stride, __m512i q[8], __m512 *d, __m512 *m)
{
    const __m512i table = iq4_table();
    block_q4_0(w, stride, q, d, m);
    for (int k = 0; k < 8; k++) q[k] = _mm512_shuffle_epi8(table, q[k]);
}

static const format32 fields_q8_0 = {128, false, block_q8_0};
static const format32 fields_q4_0 = {8, false, block_q4_0};
static const format32 fields_q4_1 = {0, true, block_q4_1};
static const format32 fields_q5_0 = {16, false, block_q5_0};
static const format32 fields_q5_1 = {0, true, block_q5_1};
static const format32 fields_iq4_nl = {128, false, block_iq4_nl};

ROWS_32(q8_0, sp_tiles_b32_avx512, 3)
ROWS_32(q4_0, sp_tiles_b32_avx512, 1)
ROWS_32(q4_1, sp_tiles_b32_min_avx512, 3)
ROWS_32(q5_0, sp_tiles_b32_avx512, 1)
ROWS_32(q5_1, sp_tiles_b32_min_avx512, 2)
ROWS_32(iq4_nl, sp_tiles_b32_avx512, 1)

#define SET_ROW(k, dtype, type)                                                                              \
    one_##type = narrow_##type = (k)->matmul[dtype];                                                         \
    (k)->panels[dtype] = &panels_##type;                                                                     \
    (k)->matmul[dtype] = matmul_##type##_avx512

#define SET_ROW_ONE(k, dtype, type)                                                                          \
    SET_ROW(k, dtype, type);                                                                                 \
    one_##type = sp_matmul_one_##type##_avx512

#define SET_ROW_FEW(k, dtype, type)                                                                          \
    SET_ROW(k, dtype, type);                                                                                 \
    one_##type = few_##type

static void rows_q8_0(const sp_matmul *m)
{
    if (m->n < SP_SHORT_Q8_0 && m->n_x <= SP_FEW)
        sp_matmul_short_q8_0_avx512(m);
    else
        matmul_q8_0_avx512(m);
}

void sp_fill_quant_avx512(sp_kernels *k)
{
    SET_ROW_FEW(k, SP_DTYPE_Q4_0, q4_0);
    SET_ROW_ONE(k, SP_DTYPE_Q4_1, q4_1);
    SET_ROW_ONE(k, SP_DTYPE_Q5_0, q5_0);
    SET_ROW_ONE(k, SP_DTYPE_Q5_1, q5_1);
    SET_ROW_ONE(k, SP_DTYPE_Q8_0, q8_0);
    k->matmul[SP_DTYPE_Q8_0] = rows_q8_0;
    SET_ROW_ONE(k, SP_DTYPE_IQ4_NL, iq4_nl);
    SET_ROW_ONE(k, SP_DTYPE_Q2_K, q2_k);
    SET_ROW_ONE(k, SP_DTYPE_Q3_K, q3_k);
    SET_ROW_FEW(k, SP_DTYPE_Q4_K, q4_k);
    SET_ROW_FEW(k, SP_DTYPE_Q5_K, q5_k);
    SET_ROW_ONE(k, SP_DTYPE_Q6_K, q6_k);
    SET_ROW_ONE(k, SP_DTYPE_IQ4_XS, iq4_xs);
}

#endif
