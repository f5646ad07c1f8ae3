/* SPDX-License-Identifier: MIT */
/* AVX-512 matmuls of a single activation row (plain decoding) for formats in blocks of 32. A register holds sixteen
 * bytes of four weight rows; their products are added up within 128-bit parts, so that four such registers become the
 * sums of sixteen rows. Q4_0, Q4_K and Q5_K go through few_avx512.h. Layouts: blocks.h. Start at multiply_one(). */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include "tensor/decode.h"
#include "tensor/one_avx512.h"

/* A block of the activation row: its halves in every part, and the integer that a row's products begin with. */
typedef struct one_block {
    __m512i low, high, start;
    float d, s;
} one_block;

typedef struct format_one {
    int bytes;
    int offset; /* integers are larger than values by this */
    bool has_min;
    /* 32 integers of rows 0, 4, 8, 12: the first sixteen, the last sixteen; `head` holds their blocks' first bytes. */
    void (*load)(const uint8_t *w, size_t stride, __m512i head, __m512i q[2]);
} format_one;

INLINE void split_nibbles(__m512i v, __m512i q[2])
{
    q[0] = _mm512_and_si512(v, every_byte(15));
    q[1] = _mm512_and_si512(_mm512_srli_epi16(v, 4), every_byte(15));
}

INLINE void load_q4_1(const uint8_t *w, size_t stride, __m512i head, __m512i q[2])
{
    (void)head;
    split_nibbles(load_4_rows(w + offsetof(sp_block_q4_1, qs), stride), q);
}

/* Bit 4 is set where a bit of the four bytes at `at` of every part is. */
INLINE void add_fifth_bits(__m512i head, int at, __m512i q[2])
{
    const __m512i bits = _mm512_set1_epi64((long long)0x8040201008040201ull);
    for (int i = 0; i < 2; i++) {
        int byte = at + 2 * i;
        __m512i order = _mm512_set_epi64(0x0101010101010101ll * (byte + 1), 0x0101010101010101ll * byte,
                                         0x0101010101010101ll * (byte + 1), 0x0101010101010101ll * byte,
                                         0x0101010101010101ll * (byte + 1), 0x0101010101010101ll * byte,
                                         0x0101010101010101ll * (byte + 1), 0x0101010101010101ll * byte);
        __mmask64 set = _mm512_test_epi8_mask(_mm512_shuffle_epi8(head, order), bits);
        q[i] = _mm512_mask_add_epi8(q[i], set, q[i], every_byte(16));
    }
}

INLINE void load_q5_0(const uint8_t *w, size_t stride, __m512i head, __m512i q[2])
{
    split_nibbles(load_4_rows(w + offsetof(sp_block_q5_0, qs), stride), q);
    add_fifth_bits(head, offsetof(sp_block_q5_0, qh), q);
}

INLINE void load_q5_1(const uint8_t *w, size_t stride, __m512i head, __m512i q[2])
{
    split_nibbles(load_4_rows(w + offsetof(sp_block_q5_1, qs), stride), q);
    add_fifth_bits(head, offsetof(sp_block_q5_1, qh), q);
}

INLINE void load_iq4_nl(const uint8_t *w, size_t stride, __m512i head, __m512i q[2])
{
    const __m512i table = _mm512_xor_si512(_mm512_broadcast_i32x4(load_16(sp_iq4_values)), every_byte(0x80));
    (void)head;
    split_nibbles(load_4_rows(w + offsetof(sp_block_iq4_nl, qs), stride), q);
    q[0] = _mm512_shuffle_epi8(table, q[0]);
    q[1] = _mm512_shuffle_epi8(table, q[1]);
}

INLINE one_block load_block(const format_one *f, const sp_act_q8 *a)
{
    one_block x = {_mm512_broadcast_i32x4(load_16(a->q)), _mm512_broadcast_i32x4(load_16(a->q + 16)),
                   _mm512_setzero_si512(), a->d, a->s};
    if (!f->offset) return x;
    __m512i off = _mm512_dpbusd_epi32(x.start, every_byte(f->offset), x.low);
    x.start = _mm512_sub_epi32(x.start, _mm512_dpbusd_epi32(off, every_byte(f->offset), x.high));
    return x;
}

/* y + one block of sixteen rows. */
INLINE __m512 add_one(const format_one *f, const uint8_t *w, size_t stride, const one_block *x,
                      ahead *rows_ahead, __m512 y)
{
    __m512i head[4], sum[4];
    for (int i = 0; i < 4; i++) {
        const uint8_t *row = w + (size_t)i * stride;
        __m512i q[2];
        fetch_bytes(rows_ahead, 4 * (size_t)f->bytes);
        head[i] = load_4_rows(row, stride);
        f->load(row, stride, head[i], q);
        sum[i] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(x->start, q[0], x->low), q[1], x->high);
    }
    __m512i ds = _mm512_unpacklo_epi64(_mm512_unpacklo_epi32(head[0], head[1]),
                                       _mm512_unpacklo_epi32(head[2], head[3]));
    __m512 total = _mm512_cvtepi32_ps(sum_parts(sum[0], sum[1], sum[2], sum[3]));
    y = _mm512_fmadd_ps(_mm512_mul_ps(low_half(ds), _mm512_set1_ps(x->d)), total, y);
    return f->has_min ? _mm512_fmadd_ps(high_half(ds), _mm512_set1_ps(x->s), y) : y;
}

INLINE void multiply_one(const format_one *f, const sp_matmul *m)
{
    const size_t n_blocks = m->n / 32;
    uint8_t copy[16][SP_MAX_SPAN];
    fetch_first(m);
    for (int64_t row = 0; row < m->n_rows; row += 16) {
        sixteen g = begin_sixteen(m, row, true);
        const sp_act_q8 *a = m->x;
        __m512 y = _mm512_setzero_ps();
        for (size_t i = 0; i < n_blocks; i++, g.w += f->bytes) {
            size_t stride;
            const uint8_t *w = whole_rows(&g, (size_t)f->bytes, copy, &stride);
            one_block x = load_block(f, a + i);
            y = add_one(f, w, stride, &x, &g.ahead, y);
        }
        store_sums(m, row, g.n_rows, 0, 1, &y);
    }
}

#define ONE(type, ...)                                                                                       \
    void sp_matmul_one_##type##_avx512(const sp_matmul *m)                                                   \
    {                                                                                                        \
        static const format_one f = {                                                                        \
            .bytes = (int)sizeof(sp_block_##type), .load = load_##type, __VA_ARGS__};                        \
        multiply_one(&f, m);                                                                                 \
    }

ONE(q4_1, .has_min = true)
ONE(q5_0, .offset = 16)
ONE(q5_1, .has_min = true)
ONE(iq4_nl, .offset = 128)

#endif
