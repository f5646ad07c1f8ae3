/* SPDX-License-Identifier: MIT */
/* What the kernel files share: the functions by which each instruction set fills its rows of the table, and
 * the constants of the exponential. Private to src/tensor. */
#ifndef SP_TENSOR_KERNEL_ROWS_H
#define SP_TENSOR_KERNEL_ROWS_H

#include "tensor/kernels.h"

#include <math.h>

/* Each fills only rows it has; the scalar ones fill all. */
void sp_fill_float_scalar(sp_kernels *k);
void sp_fill_quant_scalar(sp_kernels *k);
void sp_fill_train_scalar(sp_kernels *k);
void sp_fill_attend_scalar(sp_kernels *k);
void sp_fill_float_avx2(sp_kernels *k);
void sp_fill_float_matmul_avx2(sp_kernels *k);
void sp_fill_train_avx2(sp_kernels *k);
void sp_fill_quant_avx2(sp_kernels *k);
void sp_fill_k_avx2(sp_kernels *k);
void sp_fill_matmul_avx2(sp_kernels *k);
void sp_fill_matmul_avxvnni(sp_kernels *k);
void sp_fill_quant_avx512(sp_kernels *k);
bool sp_fill_matmul_amx(sp_kernels *k); /* on AVX-512's; false: the compiler of this build has no AMX */
void sp_fill_float_matmul_avx512(sp_kernels *k);
void sp_fill_iq_avx512(sp_kernels *k);
void sp_fill_attend_avx2(sp_kernels *k);
void sp_fill_attend_avx512(sp_kernels *k);
void sp_fill_gemm_avx512(sp_kernels *k);
void sp_fill_train_avx512(sp_kernels *k);
void sp_fill_attend_neon(sp_kernels *k);
void sp_fill_float_neon(sp_kernels *k);
void sp_fill_quant_neon(sp_kernels *k);
void sp_fill_matmul_neon(sp_kernels *k);
void sp_fill_matmul_dotprod(sp_kernels *k);
void sp_fill_matmul_i8mm(sp_kernels *k);

static inline void sp_adamw_one(const sp_adamw *a, float g, float *w, float *m, float *v)
{
    g = g * a->grad_scale;
    *m = a->beta1 * *m + a->rest1 * g;
    *v = a->beta2 * *v + a->rest2 * (g * g);
    *w = a->keep * *w - a->step * *m / (sqrtf(*v) * a->unbias + a->eps);
}

/* y = s(g) g u with s the logistic function: du = s g dy, dg = u dy (s + s g (1 - s)). */
static inline void sp_swiglu_grad_one(float gate, float up, float dy, float *dgate, float *dup)
{
    float s = 1.0f / (1.0f + sp_expf(-gate)), silu = s * gate;
    *dup = *dup + silu * dy;
    *dgate = *dgate + (up * dy) * (s + silu * (1.0f - s));
}

/* Attention out of the rows of a table: for shapes and instruction sets without a version of their own. */
void sp_attend_by_rows(const sp_kernels *k, const sp_attend_part *part);

/* A matmul as one dot after the other. */
static inline void sp_matmul_by(const sp_matmul *m, float (*dot)(size_t n, const void *w, const void *x))
{
    for (int64_t r = 0; r < m->n_rows; r++)
        for (int64_t t = 0; t < m->n_x; t++)
            m->y[t * m->y_stride + r] = dot(m->n, (const char *)m->w + (size_t)r * m->w_stride,
                                            (const char *)m->x + (size_t)t * m->x_stride);
}

/* matmul_<type>_scalar from dot_<type>_scalar. */
#define MATMUL_BY_DOTS(type)                                                                                 \
    static void matmul_##type##_scalar(const sp_matmul *m)                                                   \
    {                                                                                                        \
        sp_matmul_by(m, dot_##type##_scalar);                                                                \
    }

/* exp(x) = 2^n e^r, n = round(x / ln 2), r = x - n ln 2 in two parts, e^r = 1 + r + r^2 P(r). P: a degree-4
 * minimax fit of the relative error on |r| <= ln(2)/2 (largest 4e-9). Adding EXP_MAGIC rounds to an integer
 * that stands in the low mantissa bits. 2^n is applied in two factors, so that subnormal results round once.
 */
#define EXP_MIN -104.0f
#define EXP_MAX 89.0f
#define EXP_LOG2E 0x1.715476p+0f
#define EXP_MAGIC 0x1.8p23f
#define EXP_MAGIC_BITS 0x4b400000
#define EXP_LN2_HI 0x1.62e4p-1f
#define EXP_LN2_LO 0x1.7f7d1cp-20f
#define EXP_P0 0x1.fffffcp-2f
#define EXP_P1 0x1.555492p-3f
#define EXP_P2 0x1.5558f2p-5f
#define EXP_P3 0x1.123a2p-7f
#define EXP_P4 0x1.6a23cep-10f

/* Activation rows: a block whose largest magnitude is below this (2^-100) becomes zeros, so that 127 / amax
 * stays finite; one with a NaN or an infinity becomes d = NaN, q = 0. */
#define ACT_MIN_BITS 0x0d800000u
#define ACT_INF_BITS 0x7f800000u

#endif
