/* SPDX-License-Identifier: MIT */
/* Scalar rows of the kernel table for unquantised formats and float vectors: the specification of the
 * versions per instruction set. Sums run in eight lanes by fused multiply-add (kernels.h); start at
 * sp_fill_float_scalar. */
#include "tensor/kernel_rows.h"
#include "tensor/lanes.h"

#include <math.h>
#include <string.h>

#define LANES_INIT                                                                                           \
    {                                                                                                        \
        0, 0, 0, 0, 0, 0, 0, 0                                                                               \
    }

static float dot_f32_scalar(size_t n, const void *w, const void *x)
{
    const float *a = w, *b = x;
    float lanes[8] = LANES_INIT;
    for (size_t i = 0; i < n; i++) lanes[i % 8] = fmaf(a[i], b[i], lanes[i % 8]);
    return sp_lanes_sum(lanes);
}

static float dot_f16_scalar(size_t n, const void *w, const void *x)
{
    const uint16_t *a = w;
    const float *b = x;
    float lanes[8] = LANES_INIT;
    for (size_t i = 0; i < n; i++) lanes[i % 8] = fmaf(sp_f16_to_f32(a[i]), b[i], lanes[i % 8]);
    return sp_lanes_sum(lanes);
}

static float dot_bf16_scalar(size_t n, const void *w, const void *x)
{
    const uint16_t *a = w;
    const float *b = x;
    float lanes[8] = LANES_INIT;
    for (size_t i = 0; i < n; i++) lanes[i % 8] = fmaf(sp_bf16_to_f32(a[i]), b[i], lanes[i % 8]);
    return sp_lanes_sum(lanes);
}

static float dot_f8_e4m3_scalar(size_t n, const void *w, const void *x)
{
    const uint8_t *a = w;
    const float *b = x;
    float lanes[8] = LANES_INIT;
    for (size_t i = 0; i < n; i++) lanes[i % 8] = fmaf(sp_e4m3_to_f32(a[i]), b[i], lanes[i % 8]);
    return sp_lanes_sum(lanes);
}

MATMUL_BY_DOTS(f32)
MATMUL_BY_DOTS(f16)
MATMUL_BY_DOTS(bf16)

static float dot_blocks(size_t n, const uint8_t *w, const float *x, const float *scale)
{
    float sum = 0.0f;
    for (size_t i = 0; i < n; i += 128)
        sum += scale[i / 128] * dot_f8_e4m3_scalar(n - i < 128 ? n - i : 128, w + i, x + i);
    return sum;
}

static void matmul_f8_e4m3_scalar(const sp_matmul *m)
{
    if (!m->scale) {
        sp_matmul_by(m, dot_f8_e4m3_scalar);
        return;
    }
    size_t n_blocks = (m->n + 127) / 128;
    for (int64_t r = 0; r < m->n_rows; r++) {
        const uint8_t *w = (const uint8_t *)m->w + (size_t)r * m->w_stride;
        const float *scale = m->scale + (size_t)((m->first + r) / 128) * n_blocks;
        for (int64_t t = 0; t < m->n_x; t++) {
            const void *x = (const char *)m->x + (size_t)t * m->x_stride;
            m->y[t * m->y_stride + r] = dot_blocks(m->n, w, x, scale);
        }
    }
}

static float dot_scalar(size_t n, const float *x, const float *y)
{
    return dot_f32_scalar(n, x, y);
}

static void unpack_f32_scalar(size_t n, const void *src, float *dst)
{
    memcpy(dst, src, n * sizeof(float));
}

static void unpack_f16_scalar(size_t n, const void *src, float *dst)
{
    const uint16_t *s = src;
    for (size_t i = 0; i < n; i++) dst[i] = sp_f16_to_f32(s[i]);
}

static void unpack_bf16_scalar(size_t n, const void *src, float *dst)
{
    const uint16_t *s = src;
    for (size_t i = 0; i < n; i++) dst[i] = sp_bf16_to_f32(s[i]);
}

static void unpack_f8_e4m3_scalar(size_t n, const void *src, float *dst)
{
    const uint8_t *s = src;
    for (size_t i = 0; i < n; i++) dst[i] = sp_e4m3_to_f32(s[i]);
}

static void quantize_f32_scalar(size_t n, const float *src, void *dst)
{
    memcpy(dst, src, n * sizeof(float));
}

static float sum_squares_scalar(size_t n, const float *x)
{
    float lanes[8] = LANES_INIT;
    for (size_t i = 0; i < n; i++) lanes[i % 8] = fmaf(x[i], x[i], lanes[i % 8]);
    return sp_lanes_sum(lanes);
}

static void axpy_scalar(size_t n, float a, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = fmaf(a, x[i], y[i]);
}

static void scale_scalar(size_t n, float a, float *x)
{
    for (size_t i = 0; i < n; i++) x[i] = a * x[i];
}

static void add_scalar(size_t n, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = x[i] + y[i];
}

static void scale_mul_scalar(size_t n, float a, const float *x, const float *w, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = (a * x[i]) * w[i];
}

/* NaN passes through: both clamps keep it, and every later step yields NaN. */
float sp_expf(float x)
{
    x = x > EXP_MAX ? EXP_MAX : x;
    x = x < EXP_MIN ? EXP_MIN : x;
    float shifted = fmaf(x, EXP_LOG2E, EXP_MAGIC);
    float n = shifted - EXP_MAGIC;
    float r = fmaf(-n, EXP_LN2_HI, x);
    r = fmaf(-n, EXP_LN2_LO, r);
    float p = fmaf(EXP_P4, r, EXP_P3);
    p = fmaf(p, r, EXP_P2);
    p = fmaf(p, r, EXP_P1);
    p = fmaf(p, r, EXP_P0);
    p = fmaf(p, r * r, r) + 1.0f;

    int32_t k;
    memcpy(&k, &shifted, sizeof k);
    k = (int32_t)((uint32_t)k - EXP_MAGIC_BITS);
    int32_t half = k >> 1; /* arithmetic shift */
    uint32_t bits1 = ((uint32_t)half + 127u) << 23, bits2 = ((uint32_t)k - (uint32_t)half + 127u) << 23;
    float s1, s2;
    memcpy(&s1, &bits1, sizeof s1);
    memcpy(&s2, &bits2, sizeof s2);
    return (p * s1) * s2;
}

static void swiglu_scalar(size_t n, const float *gate, const float *up, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = (gate[i] / (1.0f + sp_expf(-gate[i]))) * up[i];
}

/* Lanes too, so that the sign of a zero maximum is the same everywhere. A NaN is passed over. */
static float max_scalar(size_t n, const float *x)
{
    float lanes[8];
    for (int j = 0; j < 8; j++) lanes[j] = -INFINITY;
    for (size_t i = 0; i < n; i++) lanes[i % 8] = x[i] > lanes[i % 8] ? x[i] : lanes[i % 8];
    for (int width = 4; width >= 1; width /= 2) {
        for (int j = 0; j < width; j++) lanes[j] = lanes[j + width] > lanes[j] ? lanes[j + width] : lanes[j];
    }
    return lanes[0];
}

static float exp_sum_scalar(size_t n, float shift, float *x)
{
    float lanes[8] = LANES_INIT;
    for (size_t i = 0; i < n; i++) {
        x[i] = sp_expf(x[i] - shift);
        lanes[i % 8] += x[i];
    }
    return sp_lanes_sum(lanes);
}

static void adamw_scalar(size_t n, const sp_adamw *a, const float *g, float *w, float *m, float *v)
{
    for (size_t i = 0; i < n; i++) sp_adamw_one(a, g[i], w + i, m + i, v + i);
}

void sp_fill_float_scalar(sp_kernels *k)
{
    k->matmul[SP_DTYPE_F32] = matmul_f32_scalar;
    k->matmul[SP_DTYPE_F16] = matmul_f16_scalar;
    k->matmul[SP_DTYPE_BF16] = matmul_bf16_scalar;
    k->matmul[SP_DTYPE_F8_E4M3] = matmul_f8_e4m3_scalar;
    k->unpack[SP_DTYPE_F32] = unpack_f32_scalar;
    k->unpack[SP_DTYPE_F16] = unpack_f16_scalar;
    k->unpack[SP_DTYPE_BF16] = unpack_bf16_scalar;
    k->unpack[SP_DTYPE_F8_E4M3] = unpack_f8_e4m3_scalar;
    k->quantize[SP_ACT_F32] = quantize_f32_scalar;
    k->dot = dot_scalar;
    k->sum_squares = sum_squares_scalar;
    k->axpy = axpy_scalar;
    k->scale = scale_scalar;
    k->add = add_scalar;
    k->scale_mul = scale_mul_scalar;
    k->swiglu = swiglu_scalar;
    k->max = max_scalar;
    k->exp_sum = exp_sum_scalar;
    k->adamw = adamw_scalar;
}
