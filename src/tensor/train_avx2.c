/* SPDX-License-Identifier: MIT */
/* AVX2 rows for training: bit for bit those of train_scalar.c. Start at sp_fill_train_avx2(). */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include <math.h>

#include "tensor/avx2.h"
#include "tensor/exp_avx2.h"
#include "tensor/lanes.h"

static void sum_avx2(size_t n, const float *a, const float *b, float *y)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
    for (; i < n; i++) y[i] = a[i] + b[i];
}

static void sigmoid_avx2(size_t n, const float *x, float *y)
{
    const __m256 one = _mm256_set1_ps(1.0f), sign = _mm256_set1_ps(-0.0f);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 e = exp_lanes(_mm256_xor_ps(_mm256_loadu_ps(x + i), sign));
        _mm256_storeu_ps(y + i, _mm256_div_ps(one, _mm256_add_ps(one, e)));
    }
    for (; i < n; i++) y[i] = 1.0f / (1.0f + sp_expf(-x[i]));
}

static float dot_product_avx2(size_t n, const float *x, const float *y, const float *z)
{
    float lanes[8];
    __m256 acc = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 xy = _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i));
        acc = _mm256_fmadd_ps(xy, _mm256_loadu_ps(z + i), acc);
    }
    _mm256_storeu_ps(lanes, acc);
    for (; i < n; i++) lanes[i % 8] = fmaf(x[i] * y[i], z[i], lanes[i % 8]);
    return sp_lanes_sum(lanes);
}

static void axpy_product_avx2(size_t n, float a, const float *x, const float *y, float *z)
{
    __m256 va = _mm256_set1_ps(a);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 ax = _mm256_mul_ps(va, _mm256_loadu_ps(x + i));
        _mm256_storeu_ps(z + i, _mm256_fmadd_ps(ax, _mm256_loadu_ps(y + i), _mm256_loadu_ps(z + i)));
    }
    for (; i < n; i++) z[i] = fmaf(a * x[i], y[i], z[i]);
}

static void softmax_grad_avx2(size_t n, float mean, float scale, const float *p, float *d)
{
    __m256 vm = _mm256_set1_ps(mean), vs = _mm256_set1_ps(scale);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 rest = _mm256_sub_ps(_mm256_loadu_ps(d + i), vm);
        _mm256_storeu_ps(d + i, _mm256_mul_ps(vs, _mm256_mul_ps(_mm256_loadu_ps(p + i), rest)));
    }
    for (; i < n; i++) d[i] = scale * (p[i] * (d[i] - mean));
}

static void norm_grad_avx2(size_t n, const float *rc, const float *x, const float *w, const float *dy,
                           float *dx)
{
    __m256 r = _mm256_set1_ps(rc[0]), c = _mm256_set1_ps(rc[1]);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 wdy = _mm256_mul_ps(_mm256_loadu_ps(w + i), _mm256_loadu_ps(dy + i));
        __m256 rest = _mm256_sub_ps(wdy, _mm256_mul_ps(c, _mm256_loadu_ps(x + i)));
        _mm256_storeu_ps(dx + i, _mm256_add_ps(_mm256_loadu_ps(dx + i), _mm256_mul_ps(r, rest)));
    }
    for (; i < n; i++) dx[i] = dx[i] + rc[0] * (w[i] * dy[i] - rc[1] * x[i]);
}

static void swiglu_grad_avx2(size_t n, const float *gate, const float *up, const float *dy, float *dgate,
                             float *dup)
{
    const __m256 one = _mm256_set1_ps(1.0f), sign = _mm256_set1_ps(-0.0f);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 g = _mm256_loadu_ps(gate + i), d = _mm256_loadu_ps(dy + i);
        __m256 s = _mm256_div_ps(one, _mm256_add_ps(one, exp_lanes(_mm256_xor_ps(g, sign))));
        __m256 silu = _mm256_mul_ps(s, g);
        __m256 slope = _mm256_add_ps(s, _mm256_mul_ps(silu, _mm256_sub_ps(one, s)));
        __m256 ud = _mm256_mul_ps(_mm256_loadu_ps(up + i), d);
        _mm256_storeu_ps(dup + i, _mm256_add_ps(_mm256_loadu_ps(dup + i), _mm256_mul_ps(silu, d)));
        _mm256_storeu_ps(dgate + i, _mm256_add_ps(_mm256_loadu_ps(dgate + i), _mm256_mul_ps(ud, slope)));
    }
    for (; i < n; i++) sp_swiglu_grad_one(gate[i], up[i], dy[i], dgate + i, dup + i);
}

void sp_fill_train_avx2(sp_kernels *k)
{
    k->sum = sum_avx2;
    k->sigmoid = sigmoid_avx2;
    k->dot_product = dot_product_avx2;
    k->axpy_product = axpy_product_avx2;
    k->softmax_grad = softmax_grad_avx2;
    k->norm_grad = norm_grad_avx2;
    k->swiglu_grad = swiglu_grad_avx2;
}

#endif
