/* SPDX-License-Identifier: MIT */
/* What the files of ops/ share: memory that fails into ops->status, rows of float tensors, and the one
 * product that all backward passes are made of. */
#ifndef SP_OPS_OPS_PARTS_H
#define SP_OPS_OPS_PARTS_H

#include "ops/ops.h"

/* `count` elements in the arena, not zeroed; NULL leaves SP_E_NOMEM in ops->status. */
void *sp_ops_alloc(sp_ops *ops, size_t count, size_t size);

/* A copy in the arena of what a backward pass needs again. */
void *sp_ops_keep(sp_ops *ops, const void *value, size_t n_bytes);

/* Forget what ops share within a pass: the arena's addresses are used again. */
void sp_ops_forget(sp_ops *ops);

static inline float *sp_ops_row(const sp_tensor *t, int64_t row)
{
    return (float *)((char *)t->data + (size_t)row * t->row_bytes);
}

/* Row stride of a float tensor in elements. */
static inline int64_t sp_ops_stride(const sp_tensor *t)
{
    return (int64_t)(t->row_bytes / sizeof(float));
}

/* Rows of a cheap op that are worth a trip to another thread: at least so many, and so many elements. */
#define SP_OPS_ROW_GRAIN 8
#define SP_OPS_WORTH 16384
static inline size_t sp_ops_grain(int64_t cols)
{
    return (size_t)(SP_OPS_WORTH / (cols + 1) > SP_OPS_ROW_GRAIN ? SP_OPS_WORTH / (cols + 1)
                                                                 : SP_OPS_ROW_GRAIN);
}

/* Router scores of one row of n logits. */
void sp_route_scores(const sp_kernels *kernels, sp_route_score score, int64_t n, const float *logits,
                     float *scores);

/* Add to C, or set it. */
typedef enum sp_products_mode { SP_PRODUCTS_ADD, SP_PRODUCTS_SET } sp_products_mode;

/* C = alpha A B, or C += alpha A B, on the calling thread. Operands: tensor/gemm.h. Here either b_col is 1, or b_row and a_col
 * are (B is a transposed matrix): the two forms that are needed and that cblas_sgemm knows too. */
void sp_product_compute(const sp_kernels *kernels, const sp_product *product, float alpha,
                        sp_products_mode mode);

/* Compute some products whose C do not overlap. Every element of C is summed by one thread in an order that
 * the shapes of the list fix, so its bits do not depend on the threads. A failed allocation is left in
 * ops->status. */
void sp_products_run(sp_ops *ops, const sp_product *products, int64_t n_products, sp_products_mode mode);
void sp_products_add(sp_ops *ops, const sp_product *products, int64_t n_products);

/* Two lists at once: some C are added to, some are set. List long products first. */
void sp_products_both(sp_ops *ops, const sp_product *add, int64_t n_add, const sp_product *set,
                      int64_t n_set);

/* Where the gradient of `tensor` goes; NULL if no tape knows it. If *fresh comes back true, nobody has added to
 * it and it is not zeroed: every element must be set. */
float *sp_tape_grad_fresh(sp_ops *ops, const sp_tensor *tensor, bool *fresh);

/* Give every leaf its gradient's memory now. */
void sp_tape_settle(sp_ops *ops);

/* Memory of some bytes from earlier of the same size or from the arena, and back; for the tape's spares. */
void *sp_tape_take(sp_ops *ops, size_t n_bytes);
void sp_tape_give(sp_ops *ops, void *data, size_t n_bytes);

/* Record `view`, whose elements are those of `x` from element `first` on in a row: its gradient is that part of
 * x's. */
void sp_tape_alias(sp_ops *ops, sp_tensor *view, const sp_tensor *x, int64_t first);

/* The first n_add of n products are added to, the others set; sums over k are made of pieces of k_step, each added
 * to C when it is whole. */
void sp_products_stepped(sp_ops *ops, const sp_product *products, int64_t n, int64_t n_add, int64_t k_step);

/* The same with operands rounded to FP8 (fp8.c). The first n_plain products have two activations, the others a
 * weight as their B. */
void sp_products_fp8(sp_ops *ops, const sp_product *products, int64_t n, int64_t n_add, int64_t n_plain);

static inline bool sp_ops_use_fp8(const sp_ops *ops)
{
    return ops->fp8 && (ops->tape || ops->training);
}

/* A weight row as floats, F8 with its block scales applied; dst holds the row's elements. */
void sp_ops_unpack_row(const sp_kernels *kernels, const sp_tensor *w, int64_t row, float *dst);

#endif
