/* SPDX-License-Identifier: MIT */
/* What the AVX2 matrix products share: how a format is described, and integer steps, which AVX-VNNI shortens.
 * These headers are compiled twice, by matmul_avx2.c and by matmul_avxvnni.c; a format's description is a
 * constant, so that its loaders are inlined. */
#ifndef SP_TENSOR_MATMUL_PARTS_AVX2_H
#define SP_TENSOR_MATMUL_PARTS_AVX2_H

#include "tensor/avx2.h"

#if defined(__AVX2__)

#include "tensor/kernel_rows.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* How bytes of weights meet bytes of activations, where maddubs and dpbusd want one side unsigned. */
typedef enum pairing {
    PAIR_UNSIGNED, /* weights are unsigned */
    PAIR_BIASED,   /* weights are signed, |w| <= 64: panels add 128 to the activations */
    PAIR_SIGNED    /* weights are signed bytes of any size: signs are moved to the other side */
} pairing;

struct panel32;
struct panel256;

typedef struct format32 {
    __m256i (*load)(const void *block); /* 32 integers */
    int bytes, d_at, m_at;              /* m_at 0: no mins */
    int nibbles_at, bias;               /* where integers are nibbles less the bias; 0: they are not */
    pairing pair;
    void (*start)(struct panel32 *p, int n_blocks);
    void (*add)(const struct panel32 *p, int n_blocks, const sp_act_q8 *const x[4], float *y);
} format32;

typedef struct format256 {
    void (*load)(const void *block, __m256i q[8]); /* 256 integers */
    __m256i (*scales)(const void *block);          /* for spread_word */
    __m256i (*mins)(const void *block);            /* NULL: none */
    int bytes, d_at, dmin_at;
    float factor;                       /* taken into d */
    float (*load_d)(const void *block); /* NULL: the half at d_at */
    int offset;                         /* integers are larger than values by this */
    pairing pair;
    void (*start)(struct panel256 *p);
    void (*add)(const struct panel256 *p, const sp_act_q8k *const x[4], float *y);
} format256;

ALWAYS_INLINE const uint8_t *weight_row(const sp_matmul *m, int64_t r)
{
    return (const uint8_t *)m->w + (size_t)(r < m->n_rows ? r : m->n_rows - 1) * m->w_stride;
}

ALWAYS_INLINE const void *activation_row(const sp_matmul *m, int64_t t)
{
    return (const char *)m->x + (size_t)(t < m->n_x ? t : m->n_x - 1) * m->x_stride;
}

/* Asks for bytes that the next rows have where these are: rows side by side are too many streams for what a
 * processor fetches by itself. A prefetch never faults, so the end of a matrix needs no care. */
ALWAYS_INLINE void fetch_ahead(const uint8_t *w, size_t ahead, int bytes)
{
    for (int i = 0; i < bytes; i += 64)
        _mm_prefetch((const char *)((uintptr_t)w + ahead + (size_t)i), _MM_HINT_T0);
}

/* Keeps a compiler from adding up in a tree: the parts of that need more registers than there are. */
ALWAYS_INLINE __m256i in_order(__m256i v)
{
    __asm__("" : "+x"(v));
    return v;
}

/* sum + pairs of words a times b. */
ALWAYS_INLINE __m256i add_madd(__m256i sum, __m256i a, __m256i b)
{
#if defined(__AVXVNNI__)
    return _mm256_dpwssd_avx_epi32(sum, a, b);
#else
    return in_order(_mm256_add_epi32(sum, _mm256_madd_epi16(a, b)));
#endif
}

/* Products of 32 weights and activations summed in pairs to words; exact for the formats' integers. */
ALWAYS_INLINE __m256i multiply_pairs(__m256i w, const int8_t *x, pairing pair)
{
    return pair == PAIR_UNSIGNED ? _mm256_maddubs_epi16(w, load_32(x)) : mul_signed(w, load_32(x));
}

/* The same summed in fours to integers. */
ALWAYS_INLINE __m256i multiply_fours(__m256i w, const int8_t *x, pairing pair)
{
#if defined(__AVXVNNI__)
    const __m256i zero = _mm256_setzero_si256();
    if (pair == PAIR_UNSIGNED) return _mm256_dpbusd_avx_epi32(zero, w, load_32(x));
    return _mm256_dpbusd_avx_epi32(zero, _mm256_sign_epi8(w, w), _mm256_sign_epi8(load_32(x), w));
#else
    return widen_pairs(multiply_pairs(w, x, pair));
#endif
}

/* Elements of two registers added up crosswise: in each half a0 + a2, b0 + b2, a1 + a3, b1 + b3. */
ALWAYS_INLINE __m256i add_crosswise(__m256i a, __m256i b)
{
    return _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
}

/* Lane r of the result: the sum of s[r]. */
ALWAYS_INLINE __m256i sum_each_of_8(const __m256i s[8])
{
    __m256i four[2];
    for (int i = 0; i < 2; i++) {
        __m256i a = add_crosswise(s[4 * i], s[4 * i + 1]), b = add_crosswise(s[4 * i + 2], s[4 * i + 3]);
        four[i] = _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    }
    return _mm256_add_epi32(_mm256_permute2x128_si256(four[0], four[1], 0x20),
                            _mm256_permute2x128_si256(four[0], four[1], 0x31));
}

/* Halves at byte `at` of eight rows, as floats. */
ALWAYS_INLINE __m256 gather_halves(const uint8_t *const w[8], size_t at)
{
    __m128i v = _mm_cvtsi32_si128(sp_load_u16(w[0] + at));
    v = _mm_insert_epi16(v, sp_load_u16(w[1] + at), 1);
    v = _mm_insert_epi16(v, sp_load_u16(w[2] + at), 2);
    v = _mm_insert_epi16(v, sp_load_u16(w[3] + at), 3);
    v = _mm_insert_epi16(v, sp_load_u16(w[4] + at), 4);
    v = _mm_insert_epi16(v, sp_load_u16(w[5] + at), 5);
    v = _mm_insert_epi16(v, sp_load_u16(w[6] + at), 6);
    v = _mm_insert_epi16(v, sp_load_u16(w[7] + at), 7);
    return _mm256_cvtph_ps(v);
}

/* Scales d of eight blocks of a format of 256. */
ALWAYS_INLINE __m256 gather_d256(const uint8_t *const w[8], size_t at, const format256 *f)
{
    __m256 d;
    if (f->load_d)
        d = _mm256_setr_ps(f->load_d(w[0] + at), f->load_d(w[1] + at), f->load_d(w[2] + at),
                           f->load_d(w[3] + at), f->load_d(w[4] + at), f->load_d(w[5] + at),
                           f->load_d(w[6] + at), f->load_d(w[7] + at));
    else
        d = gather_halves(w, at + (size_t)f->d_at);
    return f->factor == 1.0f ? d : _mm256_mul_ps(d, _mm256_set1_ps(f->factor));
}

/* Scales of the 16 groups in order, as words, from the form for spread_word. */
ALWAYS_INLINE __m256i order_scales(__m256i scales)
{
    __m128i even = _mm256_castsi256_si128(scales), odd = _mm256_extracti128_si256(scales, 1);
    return _mm256_set_m128i(_mm_unpackhi_epi16(even, odd), _mm_unpacklo_epi16(even, odd));
}

#endif
#endif
