/* SPDX-License-Identifier: MIT */
/* AVX-512 rows of what takes time in training beside products: bit for bit those of the scalar files. Sums keep their
 * eight lanes, the lower half of a register being added before the upper one. Start at sp_fill_train_avx512(). */
#include "tensor/kernel_rows.h"

#if defined(__AVX512F__)

#include <math.h>

#include "tensor/avx2.h"
#include "tensor/exp_avx512.h"

/* Lanes of sixteen that are among the next n. */
static inline __mmask16 lanes_left(size_t n)
{
    return n < 16 ? (__mmask16)((1u << n) - 1) : 0xffff;
}

static inline __m512 negate(__m512 x)
{
    return _mm512_xor_ps(x, _mm512_set1_ps(-0.0f));
}

static float exp_sum_avx512(size_t n, float shift, float *x)
{
    __m256 sum = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 lanes = lanes_left(n - i);
        __m512 e = exp_16(_mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, x + i), _mm512_set1_ps(shift)));
        _mm512_mask_storeu_ps(x + i, lanes, e);
        sum = _mm256_mask_add_ps(sum, (__mmask8)lanes, sum, _mm512_castps512_ps256(e));
        sum = _mm256_mask_add_ps(sum, (__mmask8)(lanes >> 8), sum, _mm512_extractf32x8_ps(e, 1));
    }
    return sum_lanes(sum);
}

static void swiglu_avx512(size_t n, const float *gate, const float *up, float *y)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 lanes = lanes_left(n - i);
        __m512 g = _mm512_maskz_loadu_ps(lanes, gate + i);
        __m512 silu = _mm512_div_ps(g, _mm512_add_ps(one, exp_16(negate(g))));
        _mm512_mask_storeu_ps(y + i, lanes, _mm512_mul_ps(silu, _mm512_maskz_loadu_ps(lanes, up + i)));
    }
}

static void swiglu_grad_avx512(size_t n, const float *gate, const float *up, const float *dy, float *dgate,
                               float *dup)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 lanes = lanes_left(n - i);
        __m512 g = _mm512_maskz_loadu_ps(lanes, gate + i), d = _mm512_maskz_loadu_ps(lanes, dy + i);
        __m512 s = _mm512_div_ps(one, _mm512_add_ps(one, exp_16(negate(g))));
        __m512 silu = _mm512_mul_ps(s, g);
        __m512 slope = _mm512_add_ps(s, _mm512_mul_ps(silu, _mm512_sub_ps(one, s)));
        __m512 ud = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, up + i), d);
        __m512 du = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, dup + i), _mm512_mul_ps(silu, d));
        __m512 dg = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, dgate + i), _mm512_mul_ps(ud, slope));
        _mm512_mask_storeu_ps(dup + i, lanes, du);
        _mm512_mask_storeu_ps(dgate + i, lanes, dg);
    }
}

void sp_fill_train_avx512(sp_kernels *k)
{
    k->exp_sum = exp_sum_avx512;
    k->swiglu = swiglu_avx512;
    k->swiglu_grad = swiglu_grad_avx512;
}

#endif
