/* SPDX-License-Identifier: MIT */
/* Scalar rows of the kernel table for training, mostly backward passes: the specification of the versions per instruction set.
 * Elements are independent, sums run in eight lanes. Start at sp_fill_train_scalar(). */
#include "tensor/kernel_rows.h"
#include "tensor/lanes.h"

#include <math.h>

static void sum_scalar(size_t n, const float *a, const float *b, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

static void sigmoid_scalar(size_t n, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = 1.0f / (1.0f + sp_expf(-x[i]));
}

static float dot_product_scalar(size_t n, const float *x, const float *y, const float *z)
{
    float lanes[8] = {0};
    for (size_t i = 0; i < n; i++) lanes[i % 8] = fmaf(x[i] * y[i], z[i], lanes[i % 8]);
    return sp_lanes_sum(lanes);
}

static void axpy_product_scalar(size_t n, float a, const float *x, const float *y, float *z)
{
    for (size_t i = 0; i < n; i++) z[i] = fmaf(a * x[i], y[i], z[i]);
}

static void softmax_grad_scalar(size_t n, float mean, float scale, const float *p, float *d)
{
    for (size_t i = 0; i < n; i++) d[i] = scale * (p[i] * (d[i] - mean));
}

static void norm_grad_scalar(size_t n, const float *rc, const float *x, const float *w, const float *dy,
                             float *dx)
{
    for (size_t i = 0; i < n; i++) dx[i] = dx[i] + rc[0] * (w[i] * dy[i] - rc[1] * x[i]);
}

static void swiglu_grad_scalar(size_t n, const float *gate, const float *up, const float *dy, float *dgate,
                               float *dup)
{
    for (size_t i = 0; i < n; i++) sp_swiglu_grad_one(gate[i], up[i], dy[i], dgate + i, dup + i);
}

void sp_fill_train_scalar(sp_kernels *k)
{
    k->sum = sum_scalar;
    k->sigmoid = sigmoid_scalar;
    k->dot_product = dot_product_scalar;
    k->axpy_product = axpy_product_scalar;
    k->softmax_grad = softmax_grad_scalar;
    k->norm_grad = norm_grad_scalar;
    k->swiglu_grad = swiglu_grad_scalar;
}
