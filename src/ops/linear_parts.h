/* SPDX-License-Identifier: MIT */
/* What the matrix products share: activation rows prepared once, lists of products run as one job, and the products
 * of backward passes. Private to src/ops. */
#ifndef SP_OPS_LINEAR_PARTS_H
#define SP_OPS_LINEAR_PARTS_H

#include "ops/ops_parts.h"

/* Activation rows in the form that a weight format's kernel wants. */
typedef struct sp_act_rows {
    const char *data;
    size_t stride; /* bytes */
} sp_act_rows;

/* One matrix times some activation rows, or silu(w x) (up x). */
typedef struct sp_linear_product {
    const sp_kernels *kernels;
    const sp_tensor *w;
    int64_t w_row; /* first weight row */
    int64_t n_out; /* weight rows */
    int64_t n_x;   /* activation rows */
    sp_act_rows x;
    float *y; /* y[t * y_stride + r] */
    int64_t y_stride;
    const float *bias;   /* (n_out) or NULL */
    const sp_tensor *up; /* of w's shape and act form, with x_up; NULL: the product alone */
    sp_act_rows x_up;
    float *u; /* scratch like y, for up x */
} sp_linear_product;

/* x in the form `act`, made at most once per tensor and pass; false when out of memory. */
bool sp_linear_prepare(sp_ops *ops, const sp_tensor *x, sp_act act, sp_act_rows *out);

/* Run some products as one job. Those that go through a BLAS (training, float32) all have a bias, or none has, and
 * none has `up`. */
void sp_linear_run(sp_ops *ops, sp_linear_product *products, int64_t n_products);

/* Whether products are recorded, or summed in training's order: then each op stands by itself. */
bool sp_linear_is_trained(const sp_ops *ops);

static inline sp_act sp_linear_act(const sp_tensor *w)
{
    return sp_dtype_get(w->dtype)->act;
}

/* dx += dy W for the rows of one matrix: dy (m, n_out), w (n_out, n_in) -> dx (m, n_in). */
sp_product sp_linear_dx(const sp_tensor *w, int64_t n_out, int64_t m, const float *dy, float *dx);

/* dW += dy^T x: dy (m, n_out), x (m, n_in) -> dW (n_out, n_in). */
sp_product sp_linear_dw(int64_t n_out, int64_t n_in, int64_t m, const float *dy, const float *x,
                        int64_t x_row, float *dw);

/* Products of a backward pass in one go: n_dw that add to weights' gradients, then n_dx, which set where nobody
 * has added to the input's gradient yet. */
void sp_linear_backward(sp_ops *ops, const sp_node *node, const sp_product *products, int64_t n_dw,
                        int64_t n_dx, bool fresh);

/* Only float32 weights are differentiated. */
void sp_linear_refuse(sp_ops *ops, const sp_tensor *w);

#endif
