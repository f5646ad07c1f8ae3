/* SPDX-License-Identifier: MIT */
/* AVX-512 matmul of a single activation row (plain decoding) for IQ4_XS. A register holds the nibbles of four groups of 32
 * of one weight row, a group in each part; both halves of a block go through the table of values, which are made
 * unsigned, and meet the scales of their groups as int32. The sums of sixteen rows are then added up together. Layout:
 * blocks.h. Start at sp_matmul_one_iq4_xs_avx512(). */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include "tensor/decode.h"
#include "tensor/one_avx512.h"

/* Halves of a block of the activation row: the first and the last sixteen of every 32; and -128 times their sums. */
typedef struct one_block {
    __m512i low[2], high[2], start[2];
} one_block;

INLINE one_block load_block(const int8_t *q)
{
    const __m512i top = every_byte(0x80);
    one_block x;
    for (int i = 0; i < 2; i++) {
        __m512i a = _mm512_loadu_si512(q + 128 * i), b = _mm512_loadu_si512(q + 128 * i + 64);
        x.low[i] = _mm512_shuffle_i32x4(a, b, 0x88);
        x.high[i] = _mm512_shuffle_i32x4(a, b, 0xdd);
        __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), top, x.low[i]);
        x.start[i] = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_dpbusd_epi32(sum, top, x.high[i]));
    }
    return x;
}

/* Scales of four groups, of each in all lanes of a part, from the block's first eight bytes: d, two upper bits of each
 * scale, four lower ones. */
INLINE __m512i load_scales(const uint8_t *w, int half)
{
    const long long same = 0x100000001ll; /* the lowest byte of both lanes */
    const int low = 32 + 16 * half, high = 12 + 8 * half;
    const __m512i low_at =
        _mm512_setr_epi64(low * same, low * same, (low + 4) * same, (low + 4) * same, (low + 8) * same,
                          (low + 8) * same, (low + 12) * same, (low + 12) * same);
    const __m512i high_at =
        _mm512_setr_epi64(high * same, high * same, (high + 2) * same, (high + 2) * same, (high + 4) * same,
                          (high + 4) * same, (high + 6) * same, (high + 6) * same);
    uint64_t head;
    memcpy(&head, w, sizeof head);
    __m512i v = _mm512_set1_epi64((long long)head);
    __m512i s = _mm512_and_si512(_mm512_multishift_epi64_epi8(low_at, v), _mm512_set1_epi32(15));
    s = _mm512_ternarylogic_epi32(_mm512_multishift_epi64_epi8(high_at, v), _mm512_set1_epi32(48), s, 0xea);
    return _mm512_sub_epi32(s, _mm512_set1_epi32(32));
}

INLINE __m512i dot_row(const uint8_t *w, const one_block *x)
{
    const __m512i values = _mm512_xor_si512(_mm512_broadcast_i32x4(load_16(sp_iq4_values)), every_byte(0x80));
    const __m512i nibble = every_byte(15);
    __m512i sum[2];
    for (int i = 0; i < 2; i++) {
        __m512i v = _mm512_loadu_si512(w + offsetof(sp_block_iq4_xs, qs) + 64 * i);
        __m512i low = _mm512_shuffle_epi8(values, _mm512_and_si512(v, nibble));
        __m512i high = _mm512_shuffle_epi8(values, _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble));
        sum[i] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(x->start[i], low, x->low[i]), high, x->high[i]);
        sum[i] = _mm512_mullo_epi32(sum[i], load_scales(w, i));
    }
    return _mm512_add_epi32(sum[0], sum[1]);
}

INLINE __m512i dot_4_rows(const uint8_t *w, size_t stride, const one_block *x)
{
    return sum_parts(dot_row(w, x), dot_row(w + stride, x), dot_row(w + 2 * stride, x),
                     dot_row(w + 3 * stride, x));
}

/* y + one block of sixteen rows. */
INLINE __m512 add_one(const uint8_t *w, size_t stride, const sp_act_q8k *a, __m512 y)
{
    one_block x = load_block(a->q);
    uint16_t d[16];
    for (int r = 0; r < 16; r++) d[r] = sp_load_u16(w + (size_t)r * stride);
    __m512i low = add_neighbours(dot_4_rows(w, stride, &x), dot_4_rows(w + 4 * stride, stride, &x));
    __m512i high =
        add_neighbours(dot_4_rows(w + 8 * stride, stride, &x), dot_4_rows(w + 12 * stride, stride, &x));
    __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)d));
    return _mm512_fmadd_ps(_mm512_mul_ps(scale, _mm512_set1_ps(a->d)),
                           _mm512_cvtepi32_ps(add_neighbours(low, high)), y);
}

void sp_matmul_one_iq4_xs_avx512(const sp_matmul *m)
{
    const size_t bytes = sizeof(sp_block_iq4_xs);
    uint8_t copy[16][SP_MAX_SPAN];
    fetch_first(m);
    for (int64_t row = 0; row < m->n_rows; row += 16) {
        sixteen g = begin_sixteen(m, row, true);
        const sp_act_q8k *a = m->x;
        __m512 y = _mm512_setzero_ps();
        for (size_t i = 0; i < m->n / 256; i++, g.w += bytes) {
            size_t stride;
            const uint8_t *w = whole_rows(&g, bytes, copy, &stride);
            fetch_bytes(&g.ahead, 16 * bytes);
            y = add_one(w, stride, a + i, y);
        }
        store_sums(m, row, g.n_rows, 0, 1, &y);
    }
}

#endif
