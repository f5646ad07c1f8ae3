/* SPDX-License-Identifier: MIT */
/* Scalar rows of the kernel table for quantised formats: the specification of the versions per instruction
 * set.
 *
 * Dot of a row of blocks of 32 with sp_act_q8: per block the integer sum of the products, made float, enters the
 * row's sum by one fma with (d_w * d_x); where the format has mins, s_x enters it then by one fma with m_w.
 *
 * Dot of a row of blocks of 256 with sp_act_q8k: per block the integer sum over groups of 16 of scale * (sum of
 * products), less offset * scale * (sum of the group's activations), made float, enters the row's sum by one
 * fma with (d_w * d_x); where the format has mins, the integer sum of min * (sum of the group's activations)
 * enters it then by one fma with -(dmin_w * d_x).
 *
 * All integers fit into 32 bits, so their order is free, and one accumulator per weight row and activation row
 * lets rows stand in vector lanes. Start at sp_fill_quant_scalar. */
#include "tensor/decode.h"
#include "tensor/kernel_rows.h"
#include "tensor/lanes.h"

#include <math.h>

static float add_dot32(const sp_dec32 *w, const sp_act_q8 *x, float y)
{
    int32_t sum = 0;
    for (int i = 0; i < 32; i++) sum += w->q[i] * x->q[i];
    return fmaf(w->d * x->d, (float)sum, y);
}

static float add_dot256(const sp_dec256 *w, const sp_act_q8k *x, float y)
{
    int32_t sum = 0;
    for (int g = 0; g < 16; g++) {
        int32_t part = -w->offset * x->sums[g];
        for (int i = 16 * g; i < 16 * g + 16; i++) part += w->q[i] * x->q[i];
        sum += part * w->scale[g];
    }
    return fmaf(w->d * x->d, (float)sum, y);
}

static float add_min256(const sp_dec256 *w, const sp_act_q8k *x, float y)
{
    int32_t sum = 0;
    for (int g = 0; g < 16; g++) sum += w->min[g] * x->sums[g];
    return fmaf(-(w->dmin * x->d), (float)sum, y);
}

static void write32(const sp_dec32 *w, float *dst)
{
    for (int i = 0; i < 32; i++) dst[i] = w->d * (float)w->q[i];
}

static void write32_min(const sp_dec32 *w, float *dst)
{
    for (int i = 0; i < 32; i++) dst[i] = w->d * (float)w->q[i] + w->m;
}

static void write256(const sp_dec256 *w, float *dst)
{
    for (int i = 0; i < 256; i++) dst[i] = (w->d * (float)w->scale[i / 16]) * (float)(w->q[i] - w->offset);
}

static void write256_min(const sp_dec256 *w, float *dst)
{
    for (int i = 0; i < 256; i++) {
        float d = w->d * (float)w->scale[i / 16], m = w->dmin * (float)w->min[i / 16];
        dst[i] = d * (float)w->q[i] - m;
    }
}

/* Rows of a format of 32: dot_<type>_scalar, unpack_<type>_scalar. */
#define ROWS_32(type)                                                                                        \
    static float dot_##type##_scalar(size_t n, const void *w, const void *x)                                 \
    {                                                                                                        \
        const sp_block_##type *b = w;                                                                        \
        const sp_act_q8 *a = x;                                                                              \
        float y = 0;                                                                                         \
        for (size_t i = 0; i < n / 32; i++) {                                                                \
            sp_dec32 dec;                                                                                    \
            sp_decode_##type(b + i, &dec);                                                                   \
            y = add_dot32(&dec, a + i, y);                                                                   \
        }                                                                                                    \
        return y;                                                                                            \
    }                                                                                                        \
    MATMUL_BY_DOTS(type)                                                                                     \
    static void unpack_##type##_scalar(size_t n, const void *src, float *dst)                                \
    {                                                                                                        \
        const sp_block_##type *b = src;                                                                      \
        for (size_t i = 0; i < n / 32; i++) {                                                                \
            sp_dec32 dec;                                                                                    \
            sp_decode_##type(b + i, &dec);                                                                   \
            write32(&dec, dst + 32 * i);                                                                     \
        }                                                                                                    \
    }

#define ROWS_32_MIN(type)                                                                                    \
    static float dot_##type##_scalar(size_t n, const void *w, const void *x)                                 \
    {                                                                                                        \
        const sp_block_##type *b = w;                                                                        \
        const sp_act_q8 *a = x;                                                                              \
        float y = 0;                                                                                         \
        for (size_t i = 0; i < n / 32; i++) {                                                                \
            sp_dec32 dec;                                                                                    \
            sp_decode_##type(b + i, &dec);                                                                   \
            y = add_dot32(&dec, a + i, y);                                                                   \
            y = fmaf(dec.m, a[i].s, y);                                                                      \
        }                                                                                                    \
        return y;                                                                                            \
    }                                                                                                        \
    MATMUL_BY_DOTS(type)                                                                                     \
    static void unpack_##type##_scalar(size_t n, const void *src, float *dst)                                \
    {                                                                                                        \
        const sp_block_##type *b = src;                                                                      \
        for (size_t i = 0; i < n / 32; i++) {                                                                \
            sp_dec32 dec;                                                                                    \
            sp_decode_##type(b + i, &dec);                                                                   \
            write32_min(&dec, dst + 32 * i);                                                                 \
        }                                                                                                    \
    }

/* Rows of a format of 256; has_min is 0 or 1. */
#define ROWS_256(type, has_min, write)                                                                       \
    static float dot_##type##_scalar(size_t n, const void *w, const void *x)                                 \
    {                                                                                                        \
        const sp_block_##type *b = w;                                                                        \
        const sp_act_q8k *a = x;                                                                             \
        float y = 0;                                                                                         \
        for (size_t i = 0; i < n / 256; i++) {                                                               \
            sp_dec256 dec;                                                                                   \
            sp_decode_##type(b + i, &dec);                                                                   \
            y = add_dot256(&dec, a + i, y);                                                                  \
            if (has_min) y = add_min256(&dec, a + i, y);                                                     \
        }                                                                                                    \
        return y;                                                                                            \
    }                                                                                                        \
    MATMUL_BY_DOTS(type)                                                                                     \
    static void unpack_##type##_scalar(size_t n, const void *src, float *dst)                                \
    {                                                                                                        \
        const sp_block_##type *b = src;                                                                      \
        for (size_t i = 0; i < n / 256; i++) {                                                               \
            sp_dec256 dec;                                                                                   \
            sp_decode_##type(b + i, &dec);                                                                   \
            write(&dec, dst + 256 * i);                                                                      \
        }                                                                                                    \
    }

ROWS_32(q4_0)
ROWS_32_MIN(q4_1)
ROWS_32(q5_0)
ROWS_32_MIN(q5_1)
ROWS_32(q8_0)
ROWS_32(iq4_nl)
ROWS_256(q2_k, 1, write256_min)
ROWS_256(q3_k, 0, write256)
ROWS_256(q4_k, 1, write256_min)
ROWS_256(q5_k, 1, write256_min)
ROWS_256(q6_k, 0, write256)
ROWS_256(iq4_xs, 0, write256)
ROWS_256(iq1_s, 0, write256)
ROWS_256(iq1_m, 0, write256)
ROWS_256(iq2_xxs, 0, write256)
ROWS_256(iq2_xs, 0, write256)
ROWS_256(iq2_s, 0, write256)
ROWS_256(iq3_xxs, 0, write256)
ROWS_256(iq3_s, 0, write256)

/* Largest magnitude of n floats as bits: NaN above infinity above every finite value. */
static uint32_t find_amax_bits(int n, const float *x)
{
    uint32_t amax = 0;
    for (int i = 0; i < n; i++) {
        uint32_t u = sp_load_u32(x + i) & 0x7fffffffu;
        if (u > amax) amax = u;
    }
    return amax;
}

/* q = round half to even of x * (127 / amax), d = amax / 127. Returns d. */
static float quantize_block(int n, const float *x, int8_t *q)
{
    uint32_t bits = find_amax_bits(n, x);
    if (bits < ACT_MIN_BITS || bits >= ACT_INF_BITS) {
        memset(q, 0, (size_t)n);
        return bits < ACT_MIN_BITS ? 0.0f : NAN;
    }
    float amax;
    memcpy(&amax, &bits, sizeof amax);
    float inverse = 127.0f / amax;
    for (int i = 0; i < n; i++) q[i] = (int8_t)rintf(x[i] * inverse);
    return amax / 127.0f;
}

static void quantize_q8_scalar(size_t n, const float *src, void *dst)
{
    sp_act_q8 *a = dst;
    for (size_t b = 0; b < n / 32; b++) {
        int32_t sum = 0;
        float d = quantize_block(32, src + 32 * b, a[b].q);
        for (int i = 0; i < 32; i++) sum += a[b].q[i];
        a[b].d = sp_round_scale(d);
        a[b].s = sp_round_scale(d * (float)sum);
    }
}

static void quantize_q8k_scalar(size_t n, const float *src, void *dst)
{
    sp_act_q8k *a = dst;
    for (size_t b = 0; b < n / 256; b++) {
        a[b].d = quantize_block(256, src + 256 * b, a[b].q);
        for (int k = 0; k < 16; k++) {
            int32_t sum = 0;
            for (int i = 0; i < 16; i++) sum += a[b].q[16 * k + i];
            a[b].sums[k] = (int16_t)sum;
        }
    }
}

#define SET_ROWS(k, dtype, type)                                                                             \
    (k)->matmul[dtype] = matmul_##type##_scalar;                                                             \
    (k)->unpack[dtype] = unpack_##type##_scalar

void sp_fill_quant_scalar(sp_kernels *k)
{
    SET_ROWS(k, SP_DTYPE_Q4_0, q4_0);
    SET_ROWS(k, SP_DTYPE_Q4_1, q4_1);
    SET_ROWS(k, SP_DTYPE_Q5_0, q5_0);
    SET_ROWS(k, SP_DTYPE_Q5_1, q5_1);
    SET_ROWS(k, SP_DTYPE_Q8_0, q8_0);
    SET_ROWS(k, SP_DTYPE_IQ4_NL, iq4_nl);
    SET_ROWS(k, SP_DTYPE_Q2_K, q2_k);
    SET_ROWS(k, SP_DTYPE_Q3_K, q3_k);
    SET_ROWS(k, SP_DTYPE_Q4_K, q4_k);
    SET_ROWS(k, SP_DTYPE_Q5_K, q5_k);
    SET_ROWS(k, SP_DTYPE_Q6_K, q6_k);
    SET_ROWS(k, SP_DTYPE_IQ4_XS, iq4_xs);
    SET_ROWS(k, SP_DTYPE_IQ1_S, iq1_s);
    SET_ROWS(k, SP_DTYPE_IQ1_M, iq1_m);
    SET_ROWS(k, SP_DTYPE_IQ2_XXS, iq2_xxs);
    SET_ROWS(k, SP_DTYPE_IQ2_XS, iq2_xs);
    SET_ROWS(k, SP_DTYPE_IQ2_S, iq2_s);
    SET_ROWS(k, SP_DTYPE_IQ3_XXS, iq3_xxs);
    SET_ROWS(k, SP_DTYPE_IQ3_S, iq3_s);
    k->quantize[SP_ACT_Q8] = quantize_q8_scalar;
    k->quantize[SP_ACT_Q8K] = quantize_q8k_scalar;
}
