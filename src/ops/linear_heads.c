/* SPDX-License-Identifier: MIT */
/* One matrix per head, and the same transposed: the two sides of absorbed latent attention. Start at
 * sp_op_linear_heads(). */
#include "ops/linear_parts.h"

#include <assert.h>
#include <string.h>

/* Rows t of head j are rows t nh + j of a tensor (T nh, cols): its first element and their distance. */
typedef struct head_view {
    float *data;       /* of head 0 */
    int64_t cols, row; /* distance of two rows of the tensor */
} head_view;

/* y_j = x_j W_j, x (T, n_rows) -> y (T, cols), or x_j W_j^T the other way round. */
static sp_product head_product(const sp_head_rows *heads, int64_t j, int64_t n_tokens, head_view x,
                               head_view y, bool transposed)
{
    int64_t nh = heads->n_heads, w_row = sp_ops_stride(heads->w);
    return (sp_product){n_tokens,
                        y.cols,
                        x.cols,
                        x.data + j * x.row,
                        nh * x.row,
                        1,
                        sp_ops_row(heads->w, j * heads->stride + heads->first),
                        transposed ? 1 : w_row,
                        transposed ? w_row : 1,
                        y.data + j * y.row,
                        nh * y.row};
}

/* dW_j += narrow_j^T wide_j: narrow (T, n_rows), wide (T, cols). */
static sp_product head_dw(const sp_head_rows *heads, int64_t j, int64_t n_tokens, head_view narrow,
                          head_view wide, float *dw)
{
    int64_t nh = heads->n_heads;
    return (sp_product){narrow.cols,
                        wide.cols,
                        n_tokens,
                        narrow.data + j * narrow.row,
                        1,
                        nh * narrow.row,
                        wide.data + j * wide.row,
                        nh * wide.row,
                        1,
                        dw + (j * heads->stride + heads->first) * wide.cols,
                        wide.cols};
}

static head_view view_heads(const sp_tensor *x)
{
    return (head_view){x->data, sp_tensor_cols(x), sp_ops_stride(x)};
}

static head_view view_gradient(float *grad, int64_t cols)
{
    return (head_view){grad, cols, cols};
}

/* Of y_j = x_j W_j^T (transposed) or x_j W_j: dx_j += dy_j W_j or dy_j W_j^T, and dW_j. */
static void backward_of_heads(sp_ops *ops, const sp_node *node, bool transposed)
{
    const sp_tensor *x = node->inputs[0];
    const sp_head_rows *heads = node->saved;
    int64_t nh = heads->n_heads, n_tokens = sp_tensor_rows(x) / nh, n = 0;
    bool fresh;
    float *dw = sp_tape_grad(ops, heads->w), *dx = sp_tape_grad_fresh(ops, x, &fresh);
    sp_product *products = sp_ops_alloc(ops, (size_t)nh * 2, sizeof *products);
    if (!products) return;
    head_view in = view_heads(x), dy = view_gradient(node->grad, sp_tensor_cols(node->output));
    head_view narrow = transposed ? dy : in, wide = transposed ? in : dy;
    for (int64_t j = 0; dw && j < nh; j++) products[n++] = head_dw(heads, j, n_tokens, narrow, wide, dw);
    for (int64_t j = 0; dx && j < nh; j++)
        products[n++] = head_product(heads, j, n_tokens, dy, view_gradient(dx, in.cols), !transposed);
    sp_linear_backward(ops, node, products, dw ? nh : 0, dx ? nh : 0, fresh);
}

static void backward_heads(sp_ops *ops, const sp_node *node)
{
    backward_of_heads(ops, node, true);
}

static void record_heads(sp_ops *ops, sp_tensor *y, const sp_tensor *x, const sp_head_rows *heads,
                         sp_backward_fn backward)
{
    if (!ops->tape) return;
    sp_linear_refuse(ops, heads->w);
    const sp_head_rows *saved = sp_ops_keep(ops, heads, sizeof *heads);
    if (saved) sp_tape_record(ops, y, (const sp_tensor *[]){x, heads->w}, 2, backward, saved);
}

sp_tensor *sp_op_linear_heads(sp_ops *ops, const sp_tensor *x, const sp_head_rows *heads)
{
    if (!x) return NULL;
    int64_t nh = heads->n_heads, n_tokens = sp_tensor_rows(x) / nh, n_out = heads->n_rows;
    assert(sp_tensor_rows(x) % nh == 0 && sp_tensor_cols(x) == sp_tensor_cols(heads->w));
    assert(sp_tensor_rows(heads->w) == nh * heads->stride && heads->first + n_out <= heads->stride);
    sp_tensor *y = sp_ops_new(ops, n_tokens * nh, n_out);
    sp_linear_product *products = sp_arena_alloc(ops->arena, (size_t)nh * sizeof *products);
    sp_act_rows rows;
    if (!products && ops->status == SP_OK) ops->status = SP_E_NOMEM;
    if (!y || !products || !sp_linear_prepare(ops, x, sp_linear_act(heads->w), &rows)) return NULL;
    for (int64_t j = 0; j < nh; j++) {
        sp_act_rows head_x = {rows.data + (size_t)j * rows.stride, rows.stride * (size_t)nh};
        products[j] = (sp_linear_product){.kernels = ops->kernels,
                                          .w = heads->w,
                                          .w_row = j * heads->stride + heads->first,
                                          .n_out = n_out,
                                          .n_x = n_tokens,
                                          .x = head_x,
                                          .y = (float *)y->data + j * n_out,
                                          .y_stride = nh * n_out};
    }
    sp_linear_run(ops, products, nh);
    record_heads(ops, y, x, heads, backward_heads);
    return y;
}

typedef struct transposed_job {
    const sp_ops *ops;
    const sp_tensor *x;
    const sp_head_rows *heads;
    sp_tensor *y;
    float *scratch; /* (threads, cols) */
} transposed_job;

/* Row of w as floats: in place for float32, else unpacked into `scratch`. */
static const float *float_row(const sp_kernels *k, const sp_tensor *w, int64_t row, float *scratch)
{
    if (w->dtype == SP_DTYPE_F32) return sp_tensor_row(w, row);
    sp_ops_unpack_row(k, w, row, scratch);
    return scratch;
}

/* y_j = sum over i of x_ji w_ji, in order of i. */
static void multiply_transposed(void *ctx, size_t begin, size_t end, int thread)
{
    const transposed_job *job = ctx;
    const sp_head_rows *heads = job->heads;
    const sp_kernels *k = job->ops->kernels;
    int64_t nh = heads->n_heads, n = sp_tensor_cols(heads->w), n_tokens = sp_tensor_rows(job->x) / nh;
    for (int64_t j = (int64_t)begin; j < (int64_t)end; j++) {
        for (int64_t t = 0; t < n_tokens; t++)
            memset((float *)job->y->data + (t * nh + j) * n, 0, (size_t)n * sizeof(float));
        for (int64_t i = 0; i < heads->n_rows; i++) {
            const float *w =
                float_row(k, heads->w, j * heads->stride + heads->first + i, job->scratch + thread * n);
            for (int64_t t = 0; t < n_tokens; t++) {
                const float *x = sp_tensor_row(job->x, t * nh + j);
                k->axpy((size_t)n, x[i], w, (float *)job->y->data + (t * nh + j) * n);
            }
        }
    }
}

/* y_j = x_j W_j for float32 weights in training. */
static void run_float_transposed(sp_ops *ops, const sp_tensor *x, const sp_head_rows *heads, sp_tensor *y)
{
    int64_t nh = heads->n_heads, n_tokens = sp_tensor_rows(x) / nh;
    sp_arena_mark mark = sp_arena_save(ops->arena);
    sp_product *products = sp_ops_alloc(ops, (size_t)nh, sizeof *products);
    if (!products) return;
    for (int64_t j = 0; j < nh; j++)
        products[j] = head_product(heads, j, n_tokens, view_heads(x), view_heads(y), false);
    if (sp_ops_use_fp8(ops))
        sp_products_fp8(ops, products, nh, 0, 0);
    else
        sp_products_run(ops, products, nh, SP_PRODUCTS_SET);
    sp_arena_restore(ops->arena, mark);
}

static void backward_heads_t(sp_ops *ops, const sp_node *node)
{
    backward_of_heads(ops, node, false);
}

sp_tensor *sp_op_linear_heads_t(sp_ops *ops, const sp_tensor *x, const sp_head_rows *heads)
{
    if (!x) return NULL;
    int64_t n = sp_tensor_cols(heads->w);
    assert(sp_tensor_cols(x) == heads->n_rows && sp_tensor_rows(x) % heads->n_heads == 0);
    sp_tensor *y = sp_ops_new(ops, sp_tensor_rows(x), n);
    float *scratch = sp_arena_alloc(ops->arena, (size_t)(sp_pool_threads(ops->pool) * n) * sizeof *scratch);
    if (!scratch && ops->status == SP_OK) ops->status = SP_E_NOMEM;
    if (!y || !scratch) return NULL;
    if ((sp_ops_use_gemm(ops) || sp_ops_use_fp8(ops)) && heads->w->dtype == SP_DTYPE_F32) {
        run_float_transposed(ops, x, heads, y);
    } else {
        transposed_job job = {ops, x, heads, y, scratch};
        sp_pool_run(ops->pool, (size_t)heads->n_heads, 1, multiply_transposed, &job);
    }
    record_heads(ops, y, x, heads, backward_heads_t);
    return y;
}
