/* SPDX-License-Identifier: MIT */
/* NEON rows for unquantised formats and float vectors: bit for bit those of float_scalar.c. A tail of n mod 8
 * elements goes through the stored lanes. Start at multiply_float for the products of matrices. */
#include "tensor/kernel_rows.h"

#if defined(__aarch64__)

#include <math.h>

#include "tensor/lanes.h"
#include "tensor/neon.h"

/* Eight elements of a row from element i on, and one. */
static inline lanes_f32 load_f32(const void *row, size_t i)
{
    const float *p = (const float *)row + i;
    return (lanes_f32){vld1q_f32(p), vld1q_f32(p + 4)};
}

static inline float one_f32(const void *row, size_t i)
{
    return ((const float *)row)[i];
}

static inline lanes_f32 load_f16(const void *row, size_t i)
{
    float16x8_t h = vreinterpretq_f16_u16(vld1q_u16((const uint16_t *)row + i));
    return (lanes_f32){vcvt_f32_f16(vget_low_f16(h)), vcvt_high_f32_f16(h)};
}

static inline float one_f16(const void *row, size_t i)
{
    return sp_f16_to_f32(((const uint16_t *)row)[i]);
}

static inline lanes_f32 load_bf16(const void *row, size_t i)
{
    uint16x8_t h = vld1q_u16((const uint16_t *)row + i);
    return (lanes_f32){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(h), 16)),
                       vreinterpretq_f32_u32(vshll_high_n_u16(h, 16))};
}

static inline float one_bf16(const void *row, size_t i)
{
    return sp_bf16_to_f32(((const uint16_t *)row)[i]);
}

/* E4M3 moved into half format has an exponent 8 too small; codes 0x7f become NaN. */
static inline lanes_f32 load_f8_e4m3(const void *row, size_t i)
{
    uint16x8_t v = vmovl_u8(vld1_u8((const uint8_t *)row + i)), rest = vandq_u16(v, vdupq_n_u16(0x7f));
    uint16x8_t nan = vandq_u16(vceqq_u16(rest, vdupq_n_u16(0x7f)), vdupq_n_u16(0x7e00));
    uint16x8_t sign = vshlq_n_u16(vandq_u16(v, vdupq_n_u16(0x80)), 8);
    float16x8_t h = vreinterpretq_f16_u16(vorrq_u16(vorrq_u16(sign, nan), vshlq_n_u16(rest, 7)));
    return (lanes_f32){vmulq_n_f32(vcvt_f32_f16(vget_low_f16(h)), 256.0f),
                       vmulq_n_f32(vcvt_high_f32_f16(h), 256.0f)};
}

static inline float one_f8_e4m3(const void *row, size_t i)
{
    return sp_e4m3_to_f32(((const uint8_t *)row)[i]);
}

typedef struct float_format {
    lanes_f32 (*load)(const void *row, size_t i);
    float (*one)(const void *row, size_t i);
    bool may_scale; /* F8, in blocks of 128 columns */
} float_format;

/* Elements `i` (a multiple of 8) to `end` of some weight rows with some activation rows. */
ALWAYS_INLINE void dot_tile(float_format f, size_t i, size_t end, const void *const w[4],
                            const float *const x[4], int n_w, int n_x, float out[4][4])
{
    lanes_f32 acc[4][4];
    UNROLL for (int k = 0; k < n_w * n_x; k++) acc[k / n_x][k % n_x] = zero_lanes();
    for (; i + 8 <= end; i += 8) {
        lanes_f32 v[4];
        UNROLL for (int t = 0; t < n_x; t++) v[t] = load_f32(x[t], i);
        UNROLL for (int r = 0; r < n_w; r++)
        {
            lanes_f32 a = f.load(w[r], i);
            UNROLL for (int t = 0; t < n_x; t++)
            {
                acc[r][t].lo = vfmaq_f32(acc[r][t].lo, a.lo, v[t].lo);
                acc[r][t].hi = vfmaq_f32(acc[r][t].hi, a.hi, v[t].hi);
            }
        }
    }
    if (i == end) {
        UNROLL for (int k = 0; k < n_w * n_x; k++) out[k % n_x][k / n_x] = sum_lanes(acc[k / n_x][k % n_x]);
        return;
    }
    float lanes[16][8]; /* all stored before the first call, so that the loop above keeps its registers */
    UNROLL for (int k = 0; k < n_w * n_x; k++) store_lanes(acc[k / n_x][k % n_x], lanes[k]);
    for (int k = 0; k < n_w * n_x; k++) {
        const float *row = x[k % n_x];
        for (size_t e = i; e < end; e++)
            lanes[k][e % 8] = fmaf(f.one(w[k / n_x], e), row[e], lanes[k][e % 8]);
        out[k % n_x][k / n_x] = sp_lanes_sum(lanes[k]);
    }
}

ALWAYS_INLINE void multiply_tile(const sp_matmul *m, float_format f, int64_t r, int64_t t, int n_w, int n_x)
{
    const void *w[4];
    const float *x[4];
    float sum[4][4] = {{0}}, part[4][4];
    UNROLL for (int k = 0; k < n_w; k++) w[k] = (const char *)m->w + (size_t)(r + k) * m->w_stride;
    UNROLL for (int k = 0; k < n_x; k++) x[k] =
        (const void *)((const char *)m->x + (size_t)(t + k) * m->x_stride);
    if (f.may_scale && m->scale) {
        size_t n_blocks = (m->n + 127) / 128;
        for (size_t b = 0; b < n_blocks; b++) {
            size_t end = 128 * b + 128 < m->n ? 128 * b + 128 : m->n;
            dot_tile(f, 128 * b, end, w, x, n_w, n_x, part);
            for (int k = 0; k < n_w * n_x; k++) {
                float scale = m->scale[(size_t)((m->first + r + k / n_x) / 128) * n_blocks + b];
                sum[k % n_x][k / n_x] += scale * part[k % n_x][k / n_x];
            }
        }
    } else {
        dot_tile(f, 0, m->n, w, x, n_w, n_x, sum);
    }
    for (int k = 0; k < n_w * n_x; k++)
        m->y[(t + k % n_x) * m->y_stride + r + k / n_x] = sum[k % n_x][k / n_x];
}

/* n_w weight rows with all activation rows, four, two or one at a time. */
ALWAYS_INLINE void multiply_rows(const sp_matmul *m, float_format f, int64_t r, int n_w)
{
    int64_t t = 0;
    for (; n_w <= 2 && t + 4 <= m->n_x; t += 4) multiply_tile(m, f, r, t, n_w, 4);
    for (; t + 2 <= m->n_x; t += 2) multiply_tile(m, f, r, t, n_w, 2);
    if (t < m->n_x) multiply_tile(m, f, r, t, n_w, 1);
}

/* Four weight rows together hide the latency of additions where there are few activation rows; two by four
 * convert each weight for more products where there are many. */
ALWAYS_INLINE void multiply_float(const sp_matmul *m, float_format f)
{
    int64_t r = 0;
    if (m->n_x < 4)
        for (; r + 4 <= m->n_rows; r += 4) multiply_rows(m, f, r, 4);
    for (; r + 2 <= m->n_rows; r += 2) multiply_rows(m, f, r, 2);
    if (r < m->n_rows) multiply_rows(m, f, r, 1);
}

#define ROWS_FLOAT(type, may_scale)                                                                          \
    static void matmul_##type##_neon(const sp_matmul *m)                                                     \
    {                                                                                                        \
        multiply_float(m, (float_format){load_##type, one_##type, may_scale});                               \
    }                                                                                                        \
    static void unpack_##type##_neon(size_t n, const void *src, float *dst)                                  \
    {                                                                                                        \
        size_t i = 0;                                                                                        \
        for (; i + 8 <= n; i += 8) store_lanes(load_##type(src, i), dst + i);                                \
        for (; i < n; i++) dst[i] = one_##type(src, i);                                                      \
    }

ROWS_FLOAT(f32, false)
ROWS_FLOAT(f16, false)
ROWS_FLOAT(bf16, false)
ROWS_FLOAT(f8_e4m3, true)

static float dot_neon(size_t n, const float *x, const float *y)
{
    const void *w[4] = {x};
    const float *rows[4] = {y};
    float out[4][4];
    dot_tile((float_format){load_f32, one_f32, false}, 0, n, w, rows, 1, 1, out);
    return out[0][0];
}

static float sum_squares_neon(size_t n, const float *x)
{
    return dot_neon(n, x, x);
}

static void axpy_neon(size_t n, float a, const float *x, float *y)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) vst1q_f32(y + i, vfmaq_n_f32(vld1q_f32(y + i), vld1q_f32(x + i), a));
    for (; i < n; i++) y[i] = fmaf(a, x[i], y[i]);
}

static void scale_neon(size_t n, float a, float *x)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) vst1q_f32(x + i, vmulq_n_f32(vld1q_f32(x + i), a));
    for (; i < n; i++) x[i] = a * x[i];
}

static void add_neon(size_t n, const float *x, float *y)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) vst1q_f32(y + i, vaddq_f32(vld1q_f32(x + i), vld1q_f32(y + i)));
    for (; i < n; i++) y[i] = x[i] + y[i];
}

static void scale_mul_neon(size_t n, float a, const float *x, const float *w, float *y)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        vst1q_f32(y + i, vmulq_f32(vmulq_n_f32(vld1q_f32(x + i), a), vld1q_f32(w + i)));
    }
    for (; i < n; i++) y[i] = (a * x[i]) * w[i];
}

/* sp_expf in four lanes, step by step. */
static inline float32x4_t exp_four(float32x4_t x)
{
    float32x4_t top = vdupq_n_f32(EXP_MAX), low = vdupq_n_f32(EXP_MIN), magic = vdupq_n_f32(EXP_MAGIC);
    x = vbslq_f32(vcgtq_f32(x, top), top, x);
    x = vbslq_f32(vcltq_f32(x, low), low, x);
    float32x4_t shifted = vfmaq_n_f32(magic, x, EXP_LOG2E);
    float32x4_t n = vsubq_f32(shifted, magic);
    float32x4_t r = vfmsq_n_f32(x, n, EXP_LN2_HI);
    r = vfmsq_n_f32(r, n, EXP_LN2_LO);
    float32x4_t p = vfmaq_n_f32(vdupq_n_f32(EXP_P3), r, EXP_P4);
    p = vfmaq_f32(vdupq_n_f32(EXP_P2), p, r);
    p = vfmaq_f32(vdupq_n_f32(EXP_P1), p, r);
    p = vfmaq_f32(vdupq_n_f32(EXP_P0), p, r);
    p = vaddq_f32(vfmaq_f32(r, p, vmulq_f32(r, r)), vdupq_n_f32(1.0f));

    int32x4_t k = vsubq_s32(vreinterpretq_s32_f32(shifted), vdupq_n_s32(EXP_MAGIC_BITS));
    int32x4_t half = vshrq_n_s32(k, 1), bias = vdupq_n_s32(127);
    int32x4_t bits1 = vshlq_n_s32(vaddq_s32(half, bias), 23);
    int32x4_t bits2 = vshlq_n_s32(vaddq_s32(vsubq_s32(k, half), bias), 23);
    return vmulq_f32(vmulq_f32(p, vreinterpretq_f32_s32(bits1)), vreinterpretq_f32_s32(bits2));
}

static void swiglu_neon(size_t n, const float *gate, const float *up, float *y)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t g = vld1q_f32(gate + i);
        float32x4_t silu = vdivq_f32(g, vaddq_f32(vdupq_n_f32(1.0f), exp_four(vnegq_f32(g))));
        vst1q_f32(y + i, vmulq_f32(silu, vld1q_f32(up + i)));
    }
    for (; i < n; i++) y[i] = (gate[i] / (1.0f + sp_expf(-gate[i]))) * up[i];
}

static float max_neon(size_t n, const float *x)
{
    lanes_f32 m = {vdupq_n_f32(-INFINITY), vdupq_n_f32(-INFINITY)};
    float lanes[8];
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        lanes_f32 v = load_f32(x, i);
        m.lo = vbslq_f32(vcgtq_f32(v.lo, m.lo), v.lo, m.lo);
        m.hi = vbslq_f32(vcgtq_f32(v.hi, m.hi), v.hi, m.hi);
    }
    store_lanes(m, lanes);
    for (; i < n; i++) lanes[i % 8] = x[i] > lanes[i % 8] ? x[i] : lanes[i % 8];
    for (int width = 4; width >= 1; width /= 2) {
        for (int j = 0; j < width; j++) lanes[j] = lanes[j + width] > lanes[j] ? lanes[j + width] : lanes[j];
    }
    return lanes[0];
}

static float exp_sum_neon(size_t n, float shift, float *x)
{
    lanes_f32 acc = zero_lanes();
    float32x4_t s = vdupq_n_f32(shift);
    float lanes[8];
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        lanes_f32 v = load_f32(x, i);
        lanes_f32 e = {exp_four(vsubq_f32(v.lo, s)), exp_four(vsubq_f32(v.hi, s))};
        store_lanes(e, x + i);
        acc.lo = vaddq_f32(acc.lo, e.lo);
        acc.hi = vaddq_f32(acc.hi, e.hi);
    }
    store_lanes(acc, lanes);
    for (; i < n; i++) {
        x[i] = sp_expf(x[i] - shift);
        lanes[i % 8] += x[i];
    }
    return sp_lanes_sum(lanes);
}

#define SET_ROWS(k, dtype, type)                                                                             \
    (k)->matmul[dtype] = matmul_##type##_neon;                                                               \
    (k)->unpack[dtype] = unpack_##type##_neon

static void adamw_neon(size_t n, const sp_adamw *a, const float *g, float *w, float *m, float *v)
{
    const float32x4_t eps = vdupq_n_f32(a->eps);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t x = vmulq_n_f32(vld1q_f32(g + i), a->grad_scale);
        float32x4_t mean = vaddq_f32(vmulq_n_f32(vld1q_f32(m + i), a->beta1), vmulq_n_f32(x, a->rest1));
        float32x4_t square =
            vaddq_f32(vmulq_n_f32(vld1q_f32(v + i), a->beta2), vmulq_n_f32(vmulq_f32(x, x), a->rest2));
        float32x4_t below = vaddq_f32(vmulq_n_f32(vsqrtq_f32(square), a->unbias), eps);
        float32x4_t move = vdivq_f32(vmulq_n_f32(mean, a->step), below);
        vst1q_f32(m + i, mean);
        vst1q_f32(v + i, square);
        vst1q_f32(w + i, vsubq_f32(vmulq_n_f32(vld1q_f32(w + i), a->keep), move));
    }
    for (; i < n; i++) sp_adamw_one(a, g[i], w + i, m + i, v + i);
}

void sp_fill_float_neon(sp_kernels *k)
{
    SET_ROWS(k, SP_DTYPE_F32, f32);
    SET_ROWS(k, SP_DTYPE_F16, f16);
    SET_ROWS(k, SP_DTYPE_BF16, bf16);
    SET_ROWS(k, SP_DTYPE_F8_E4M3, f8_e4m3);
    k->dot = dot_neon;
    k->sum_squares = sum_squares_neon;
    k->axpy = axpy_neon;
    k->scale = scale_neon;
    k->add = add_neon;
    k->scale_mul = scale_mul_neon;
    k->swiglu = swiglu_neon;
    k->max = max_neon;
    k->exp_sum = exp_sum_neon;
    k->adamw = adamw_neon;
}

#endif
