/* SPDX-License-Identifier: MIT */
/* Attention's kernel: some query vectors over one segment of keys. Segments are the unit of attention's order of
 * sums (decision 15): keys [0, 256), [256, 512), ... of a timeline, each with a softmax of its own; ops/attention.c
 * merges them in order. Kernels differ only in how they share loads and conversions among vectors.
 *
 * The specification (attend_scalar.c), for one vector that sees keys 0 .. n-1 of the segment:
 *   s_i = scale * (q . k_i), the dot in eight lanes (kernels.h); max = the largest s_i, +0 if that is a zero;
 *   p_i = exp(s_i - max); sum = the sum of p_i in eight lanes; y = fma(p_i, v_i, y) from 0, in order of i. */
#ifndef SP_TENSOR_ATTEND_H
#define SP_TENSOR_ATTEND_H

#include "tensor/dtype.h"

#define SP_ATTEND_SEGMENT 256
#define SP_ATTEND_BLOCK 64    /* keys that are converted at a time, at most */
#define SP_ATTEND_VECTORS 128 /* query vectors of a call, at most */

typedef struct sp_attend_part {
    sp_dtype k_dtype, v_dtype; /* F32, F16, BF16 or Q8_0 */
    const void *k, *v;         /* the segment's first key and value, at their first column; may be the same */
    size_t k_stride, v_stride; /* bytes from key to key */
    int64_t k_dim, v_dim;      /* multiples of the format's block */
    float scale;
    /* query vectors: row r, head h at q + r * q_stride + h * k_dim */
    const float *q;
    int64_t q_stride; /* floats */
    int64_t n_rows, n_heads;
    int64_t
        n_keys; /* row r sees the first min(n_keys + r, SP_ATTEND_SEGMENT) keys, n_keys >= 1; others are not read */
    float *y;       /* (n_rows * n_heads, v_dim) weighted sums, not divided by `sum` */
    float *max;     /* (n_rows * n_heads) */
    float *sum;     /* (n_rows * n_heads) */
    float *scratch; /* sp_attend_scratch() floats, aligned to 64 bytes */
} sp_attend_part;

typedef void (*sp_attend_fn)(const sp_attend_part *part);

/* Pack a row of floats for a cache. Unlike sp_dtype_pack it never fails: a block of Q8_0 that holds a NaN or an
 * infinity becomes NaN. */
typedef void (*sp_store_fn)(size_t n, const float *src, void *dst);

/* Floats of scratch memory for parts of up to n_vectors query vectors. */
static inline size_t sp_attend_scratch(int64_t n_vectors, int64_t k_dim, int64_t v_dim)
{
    return (size_t)(n_vectors * SP_ATTEND_SEGMENT + SP_ATTEND_BLOCK * (k_dim + v_dim) + 64);
}

/* Keys of the segment that row r sees. */
static inline int64_t sp_attend_keys(const sp_attend_part *a, int64_t row)
{
    int64_t n = a->n_keys + row;
    return n < SP_ATTEND_SEGMENT ? n : SP_ATTEND_SEGMENT;
}

/* Whether a cache may be kept in this format. */
static inline bool sp_attend_reads(sp_dtype dtype)
{
    return dtype == SP_DTYPE_F32 || dtype == SP_DTYPE_F16 || dtype == SP_DTYPE_BF16 || dtype == SP_DTYPE_Q8_0;
}

#endif
