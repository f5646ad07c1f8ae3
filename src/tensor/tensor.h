/* SPDX-License-Identifier: MIT */
/* A tensor: a view of rows in some storage format. It owns nothing; memory belongs to a file map, an arena or
 * the model. Shapes are written outermost first, as in the published checkpoints: (out, in), (T,
 * hidden_size). */
#ifndef SP_TENSOR_TENSOR_H
#define SP_TENSOR_TENSOR_H

#include "tensor/dtype.h"

#define SP_MAX_DIMS 4

typedef struct sp_tensor {
    sp_dtype dtype;
    int n_dims;                 /* 1..4; unused trailing shape entries are 1 */
    int64_t shape[SP_MAX_DIMS]; /* outermost first; the last dimension is contiguous */
    size_t row_bytes;           /* bytes from one row (last dimension) to the next */
    void *data;                 /* weights are never written through this */
    const float *scale;         /* F8 block scales (ceil(rows/128), ceil(cols/128)), else NULL; per matrix */
    struct sp_node *node;       /* where a tape recorded it, NULL in inference */
} sp_tensor;

/* Number of elements of the last dimension, and of rows (product of the others; 1 for a vector). */
static inline int64_t sp_tensor_cols(const sp_tensor *t)
{
    return t->shape[t->n_dims - 1];
}

static inline int64_t sp_tensor_rows(const sp_tensor *t)
{
    int64_t rows = 1;
    for (int i = 0; i < t->n_dims - 1; i++) rows *= t->shape[i];
    return rows;
}

static inline const void *sp_tensor_row(const sp_tensor *t, int64_t row)
{
    return (const char *)t->data + (size_t)row * t->row_bytes;
}

#endif
