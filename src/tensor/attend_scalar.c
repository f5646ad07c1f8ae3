/* SPDX-License-Identifier: MIT */
/* Attention over one segment of keys as its definition says (attend.h), out of the table's other rows, and the
 * packing of cache rows, which is that of tensors (pack.c) but for Q8_0, whose row takes any value. The versions per
 * instruction set give the same bits. */
#include "tensor/kernel_rows.h"

#include <math.h>
#include <string.h>

#include "tensor/pack_search.h"

void sp_attend_by_rows(const sp_kernels *k, const sp_attend_part *a)
{
    int64_t n_vectors = a->n_rows * a->n_heads, n_all = sp_attend_keys(a, a->n_rows - 1);
    float *scores = a->scratch, *row = scores + n_vectors * SP_ATTEND_SEGMENT;
    for (int64_t i = 0; i < n_all; i++) {
        k->unpack[a->k_dtype]((size_t)a->k_dim, (const char *)a->k + (size_t)i * a->k_stride, row);
        for (int64_t j = 0; j < n_vectors; j++) {
            const float *q = a->q + j / a->n_heads * a->q_stride + j % a->n_heads * a->k_dim;
            scores[j * SP_ATTEND_SEGMENT + i] = a->scale * k->dot((size_t)a->k_dim, row, q);
        }
    }
    for (int64_t j = 0; j < n_vectors; j++) {
        size_t n = (size_t)sp_attend_keys(a, j / a->n_heads);
        float *s = scores + j * SP_ATTEND_SEGMENT;
        a->max[j] = k->max(n, s) + 0.0f;
        a->sum[j] = k->exp_sum(n, a->max[j], s);
    }
    memset(a->y, 0, (size_t)(n_vectors * a->v_dim) * sizeof *a->y);
    for (int64_t i = 0; i < n_all; i++) {
        int64_t first = i < a->n_keys ? 0 : i - a->n_keys + 1; /* the first row that sees key i */
        k->unpack[a->v_dtype]((size_t)a->v_dim, (const char *)a->v + (size_t)i * a->v_stride, row);
        for (int64_t j = first * a->n_heads; j < n_vectors; j++)
            k->axpy((size_t)a->v_dim, scores[j * SP_ATTEND_SEGMENT + i], row, a->y + j * a->v_dim);
    }
}

static void attend_scalar(const sp_attend_part *a)
{
    sp_attend_by_rows(sp_kernels_for(SP_ISA_SCALAR), a);
}

/* --- cache rows ------------------------------------------------------------------------------------------- */

/* The factor is the largest magnitude / 127 as a half, the levels are chosen for the stored factor. */
static void store_q8_0_scalar(size_t n, const float *src, void *dst)
{
    sp_block_q8_0 *b = dst;
    for (; n >= 32; n -= 32, src += 32, b++) {
        float largest = 0.0f;
        bool finite = true;
        for (int i = 0; i < 32; i++) {
            largest = fabsf(src[i]) > largest ? fabsf(src[i]) : largest;
            finite = finite && isfinite(src[i]);
        }
        uint16_t d = finite ? sp_f32_to_f16(largest / 127.0f) : 0x7e00;
        float stored = sp_f16_to_f32(d), inverse = stored > 0.0f ? 1.0f / stored : 0.0f;
        memcpy(b->d, &d, sizeof d);
        for (int i = 0; i < 32; i++) {
            float level = finite ? src[i] * inverse : 0.0f;
            b->qs[i] = (int8_t)pack_level(level, -127, 127);
        }
    }
}

void sp_fill_attend_scalar(sp_kernels *k)
{
    k->attend = attend_scalar;
    k->store[SP_DTYPE_F32] = sp_pack_f32;
    k->store[SP_DTYPE_F16] = sp_pack_f16;
    k->store[SP_DTYPE_BF16] = sp_pack_bf16;
    k->store[SP_DTYPE_Q8_0] = store_q8_0_scalar;
}
