/* SPDX-License-Identifier: MIT */
/* What the arm64 matmuls share: pointers to rows, and the list of formats by which each instruction set's file makes
 * and sets its rows of the table. */
#ifndef SP_TENSOR_MATMUL_NEON_H
#define SP_TENSOR_MATMUL_NEON_H

#if defined(__aarch64__)

#include "tensor/kernel_rows.h"
#include "tensor/neon.h"

/* Up to this many activation rows, weights are used straight from their registers; from there on unpacking them
 * into panels costs fewer instructions (matmul_panel_neon.h). */
#define FEW_MAX 3

/* Four weight rows from row r on, at byte `at`; rows past the last stand for it. */
static inline void point_at_rows(const sp_matmul *m, int64_t r, size_t at, const uint8_t *w[4])
{
    for (int j = 0; j < 4; j++) {
        int64_t row = r + j < m->n_rows ? r + j : m->n_rows - 1;
        w[j] = (const uint8_t *)m->w + (size_t)row * m->w_stride + at;
    }
}

static inline const sp_act_q8 *act_q8(const sp_matmul *m, int64_t t)
{
    return (const void *)((const char *)m->x + (size_t)t * m->x_stride);
}

static inline const sp_act_q8k *act_q8k(const sp_matmul *m, int64_t t)
{
    return (const void *)((const char *)m->x + (size_t)t * m->x_stride);
}

/* All quantised formats: X(type, DTYPE). */
#define QUANT_FORMATS(X)                                                                                     \
    X(q4_0, SP_DTYPE_Q4_0)                                                                                   \
    X(q4_1, SP_DTYPE_Q4_1)                                                                                   \
    X(q5_0, SP_DTYPE_Q5_0)                                                                                   \
    X(q5_1, SP_DTYPE_Q5_1)                                                                                   \
    X(q8_0, SP_DTYPE_Q8_0)                                                                                   \
    X(iq4_nl, SP_DTYPE_IQ4_NL)                                                                               \
    X(q2_k, SP_DTYPE_Q2_K)                                                                                   \
    X(q3_k, SP_DTYPE_Q3_K)                                                                                   \
    X(q4_k, SP_DTYPE_Q4_K)                                                                                   \
    X(q5_k, SP_DTYPE_Q5_K)                                                                                   \
    X(q6_k, SP_DTYPE_Q6_K)                                                                                   \
    X(iq4_xs, SP_DTYPE_IQ4_XS)                                                                               \
    X(iq1_s, SP_DTYPE_IQ1_S)                                                                                 \
    X(iq1_m, SP_DTYPE_IQ1_M)                                                                                 \
    X(iq2_xxs, SP_DTYPE_IQ2_XXS)                                                                             \
    X(iq2_xs, SP_DTYPE_IQ2_XS)                                                                               \
    X(iq2_s, SP_DTYPE_IQ2_S)                                                                                 \
    X(iq3_xxs, SP_DTYPE_IQ3_XXS)                                                                             \
    X(iq3_s, SP_DTYPE_IQ3_S)

#define MATMUL(type, dtype)                                                                                  \
    static void matmul_##type(const sp_matmul *m)                                                            \
    {                                                                                                        \
        if (m->n_x <= FEW_MAX)                                                                               \
            few_##type(m);                                                                                   \
        else                                                                                                 \
            panels_##type(m);                                                                                \
    }

#define SET_MATMUL(type, dtype) k->matmul[dtype] = matmul_##type;

#endif
#endif
