/* SPDX-License-Identifier: MIT */
/* AVX2 rows for float vectors and unpacking of unquantised formats: bit for bit those of float_scalar.c. One register is
 * the eight lanes; a tail of n mod 8 elements goes through the stored lanes. */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include <math.h>

#include "tensor/avx2.h"
#include "tensor/exp_avx2.h"
#include "tensor/lanes.h"
#include "tensor/load_float_avx2.h"

static float dot_avx2(size_t n, const float *a, const float *b)
{
    float lanes[8];
    __m256 acc = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 8 <= n; i += 8) acc = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), acc);
    if (i == n) return sum_lanes(acc);
    _mm256_storeu_ps(lanes, acc);
    for (; i < n; i++) lanes[i % 8] = fmaf(a[i], b[i], lanes[i % 8]);
    return sp_lanes_sum(lanes);
}

#define UNPACK_SHORT(type)                                                                                   \
    static void unpack_##type##_avx2(size_t n, const void *src, float *dst)                                  \
    {                                                                                                        \
        size_t i = 0;                                                                                        \
        for (; i + 16 <= n; i += 16) {                                                                       \
            __m256 v[2];                                                                                     \
            load_##type(src, i, v);                                                                          \
            _mm256_storeu_ps(dst + i, v[0]);                                                                 \
            _mm256_storeu_ps(dst + i + 8, v[1]);                                                             \
        }                                                                                                    \
        for (; i < n; i++) dst[i] = get_##type(src, i);                                                      \
    }

UNPACK_SHORT(f16)
UNPACK_SHORT(bf16)
UNPACK_SHORT(f8_e4m3)

static float sum_squares_avx2(size_t n, const float *x)
{
    return dot_avx2(n, x, x);
}

static void axpy_avx2(size_t n, float a, const float *x, float *y)
{
    __m256 va = _mm256_set1_ps(a);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(y + i, _mm256_fmadd_ps(va, _mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
    }
    for (; i < n; i++) y[i] = fmaf(a, x[i], y[i]);
}

static void scale_avx2(size_t n, float a, float *x)
{
    __m256 va = _mm256_set1_ps(a);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(x + i, _mm256_mul_ps(va, _mm256_loadu_ps(x + i)));
    for (; i < n; i++) x[i] = a * x[i];
}

static void add_avx2(size_t n, const float *x, float *y)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
    }
    for (; i < n; i++) y[i] = x[i] + y[i];
}

static void scale_mul_avx2(size_t n, float a, const float *x, const float *w, float *y)
{
    __m256 va = _mm256_set1_ps(a);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 ax = _mm256_mul_ps(va, _mm256_loadu_ps(x + i));
        _mm256_storeu_ps(y + i, _mm256_mul_ps(ax, _mm256_loadu_ps(w + i)));
    }
    for (; i < n; i++) y[i] = (a * x[i]) * w[i];
}

static void swiglu_avx2(size_t n, const float *gate, const float *up, float *y)
{
    const __m256 one = _mm256_set1_ps(1.0f), sign = _mm256_set1_ps(-0.0f);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 g = _mm256_loadu_ps(gate + i);
        __m256 silu = _mm256_div_ps(g, _mm256_add_ps(one, exp_lanes(_mm256_xor_ps(g, sign))));
        _mm256_storeu_ps(y + i, _mm256_mul_ps(silu, _mm256_loadu_ps(up + i)));
    }
    for (; i < n; i++) y[i] = (gate[i] / (1.0f + sp_expf(-gate[i]))) * up[i];
}

static float max_avx2(size_t n, const float *x)
{
    __m256 m = _mm256_set1_ps(-INFINITY);
    float lanes[8];
    size_t i = 0;
    for (; i + 8 <= n; i += 8) m = _mm256_max_ps(_mm256_loadu_ps(x + i), m); /* x > m ? x : m */
    _mm256_storeu_ps(lanes, m);
    for (; i < n; i++) lanes[i % 8] = x[i] > lanes[i % 8] ? x[i] : lanes[i % 8];
    for (int width = 4; width >= 1; width /= 2) {
        for (int j = 0; j < width; j++) lanes[j] = lanes[j + width] > lanes[j] ? lanes[j + width] : lanes[j];
    }
    return lanes[0];
}

static float exp_sum_avx2(size_t n, float shift, float *x)
{
    __m256 acc = _mm256_setzero_ps(), vs = _mm256_set1_ps(shift);
    float lanes[8];
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 e = exp_lanes(_mm256_sub_ps(_mm256_loadu_ps(x + i), vs));
        _mm256_storeu_ps(x + i, e);
        acc = _mm256_add_ps(acc, e);
    }
    _mm256_storeu_ps(lanes, acc);
    for (; i < n; i++) {
        x[i] = sp_expf(x[i] - shift);
        lanes[i % 8] += x[i];
    }
    return sp_lanes_sum(lanes);
}

static void adamw_avx2(size_t n, const sp_adamw *a, const float *g, float *w, float *m, float *v)
{
    const __m256 scale = _mm256_set1_ps(a->grad_scale), eps = _mm256_set1_ps(a->eps);
    const __m256 beta1 = _mm256_set1_ps(a->beta1), rest1 = _mm256_set1_ps(a->rest1);
    const __m256 beta2 = _mm256_set1_ps(a->beta2), rest2 = _mm256_set1_ps(a->rest2);
    const __m256 unbias = _mm256_set1_ps(a->unbias), step = _mm256_set1_ps(a->step);
    const __m256 keep = _mm256_set1_ps(a->keep);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 x = _mm256_mul_ps(_mm256_loadu_ps(g + i), scale);
        __m256 mean = _mm256_add_ps(_mm256_mul_ps(beta1, _mm256_loadu_ps(m + i)), _mm256_mul_ps(rest1, x));
        __m256 square = _mm256_add_ps(_mm256_mul_ps(beta2, _mm256_loadu_ps(v + i)),
                                      _mm256_mul_ps(rest2, _mm256_mul_ps(x, x)));
        __m256 below = _mm256_add_ps(_mm256_mul_ps(_mm256_sqrt_ps(square), unbias), eps);
        __m256 move = _mm256_div_ps(_mm256_mul_ps(step, mean), below);
        _mm256_storeu_ps(m + i, mean);
        _mm256_storeu_ps(v + i, square);
        _mm256_storeu_ps(w + i, _mm256_sub_ps(_mm256_mul_ps(keep, _mm256_loadu_ps(w + i)), move));
    }
    for (; i < n; i++) sp_adamw_one(a, g[i], w + i, m + i, v + i);
}

void sp_fill_float_avx2(sp_kernels *k)
{
    k->unpack[SP_DTYPE_F16] = unpack_f16_avx2;
    k->unpack[SP_DTYPE_BF16] = unpack_bf16_avx2;
    k->unpack[SP_DTYPE_F8_E4M3] = unpack_f8_e4m3_avx2;
    k->dot = dot_avx2;
    k->sum_squares = sum_squares_avx2;
    k->axpy = axpy_avx2;
    k->scale = scale_avx2;
    k->add = add_avx2;
    k->scale_mul = scale_mul_avx2;
    k->swiglu = swiglu_avx2;
    k->max = max_avx2;
    k->exp_sum = exp_sum_avx2;
    k->adamw = adamw_avx2;
}

#endif
