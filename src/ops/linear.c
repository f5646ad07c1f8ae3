/* SPDX-License-Identifier: MIT */
/* Matrix products: plain, per head, per head transposed, per expert. All go through multiply_rows(), whose kernel
 * makes each output from one weight row and one activation row, so neither threads nor batch size can change
 * its bits. Work is shared out by weight rows. Start at sp_op_linear(). */
#include "ops/ops_parts.h"

#include <assert.h>
#include <string.h>

/* Multiply-adds that make a chunk worth a trip to the shared counter, and weight rows that a chunk has at least:
 * the kernels treat so many together. */
#define CHUNK_WORK 262144
#define CHUNK_ROWS 64

/* Activation rows in the form that a weight format's kernel wants. */
typedef struct act_rows {
    const char *data;
    size_t stride; /* bytes */
} act_rows;

typedef struct quantize_job {
    sp_act_fn quantize;
    const sp_tensor *x;
    char *rows;
    size_t stride;
} quantize_job;

static void quantize_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const quantize_job *job = ctx;
    for (size_t i = begin; i < end; i++)
        job->quantize((size_t)sp_tensor_cols(job->x), sp_tensor_row(job->x, (int64_t)i),
                      job->rows + i * job->stride);
}

/* False when out of memory. */
static bool prepare_rows(sp_ops *ops, const sp_tensor *x, sp_act act, act_rows *out)
{
    if (act == SP_ACT_F32) {
        *out = (act_rows){x->data, x->row_bytes};
        return true;
    }
    size_t stride = sp_act_row_bytes(act, (size_t)sp_tensor_cols(x));
    if (ops->act_of[act] != x) {
        int64_t n = sp_tensor_rows(x);
        char *rows = sp_arena_alloc(ops->arena, (size_t)n * stride);
        if (!rows) {
            if (ops->status == SP_OK) ops->status = SP_E_NOMEM;
            return false;
        }
        quantize_job job = {ops->kernels->quantize[act], x, rows, stride};
        sp_pool_run(ops->pool, (size_t)n, 4, quantize_rows, &job);
        ops->act_of[act] = x;
        ops->act_rows[act] = rows;
    }
    *out = (act_rows){ops->act_rows[act], stride};
    return true;
}

/* One matrix times some activation rows. */
typedef struct product {
    const sp_kernels *kernels;
    const sp_tensor *w;
    int64_t w_row; /* first weight row */
    int64_t n_out; /* weight rows */
    int64_t n_x;   /* activation rows */
    act_rows x;
    float *y; /* y[t * y_stride + r] */
    int64_t y_stride;
    const float *bias; /* (n_out) or NULL */
} product;

static void add_bias(const product *p, int64_t begin, int64_t end)
{
    for (int64_t t = 0; t < p->n_x; t++)
        for (int64_t r = begin; r < end; r++) p->y[t * p->y_stride + r] += p->bias[r];
}

static void multiply_rows(const product *p, int64_t begin, int64_t end)
{
    const sp_tensor *w = p->w;
    sp_matmul m = {(size_t)sp_tensor_cols(w),
                   sp_tensor_row(w, p->w_row + begin),
                   w->row_bytes,
                   end - begin,
                   p->x.data,
                   p->x.stride,
                   p->n_x,
                   p->y + begin,
                   p->y_stride,
                   w->scale,
                   p->w_row + begin};
    p->kernels->matmul[w->dtype](&m);
    if (p->bias) add_bias(p, begin, end);
}

/* Several products of equal n_out; item i is row i % n_out of product i / n_out. */
typedef struct product_list {
    const product *products;
    int64_t n_out;
} product_list;

static void multiply_items(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const product_list *list = ctx;
    for (int64_t i = (int64_t)begin; i < (int64_t)end;) {
        int64_t row = i % list->n_out, left = (int64_t)end - i;
        int64_t stop = list->n_out - row < left ? list->n_out : row + left;
        multiply_rows(&list->products[i / list->n_out], row, stop);
        i += stop - row;
    }
}

/* Set rows of y to the bias, which a BLAS product then adds to. */
static void spread_bias(const product *p)
{
    for (int64_t t = 0; t < p->n_x; t++)
        memcpy(p->y + t * p->y_stride, p->bias, (size_t)p->n_out * sizeof *p->y);
}

/* y = x W^T for float32 weights in training; all products have a bias, or none has. */
static void run_float(sp_ops *ops, const product *products, int64_t n_products)
{
    sp_arena_mark mark = sp_arena_save(ops->arena);
    sp_product *list = sp_ops_alloc(ops, (size_t)n_products, sizeof *list);
    if (!list) return;
    for (int64_t i = 0; i < n_products; i++) {
        const product *p = &products[i];
        if (p->bias) spread_bias(p);
        list[i] = (sp_product){p->n_x,
                               p->n_out,
                               sp_tensor_cols(p->w),
                               (const float *)(const void *)p->x.data,
                               (int64_t)(p->x.stride / sizeof(float)),
                               1,
                               sp_ops_row(p->w, p->w_row),
                               1,
                               sp_ops_stride(p->w),
                               p->y,
                               p->y_stride};
    }
    int64_t n_add = products[0].bias ? n_products : 0;
    if (sp_ops_use_fp8(ops))
        sp_products_fp8(ops, list, n_products, n_add, 0);
    else
        sp_products_both(ops, list, n_add, list + n_add, n_products - n_add);
    sp_arena_restore(ops->arena, mark);
}

static bool all_float(const product *products, int64_t n_products)
{
    for (int64_t i = 0; i < n_products; i++)
        if (products[i].w->dtype != SP_DTYPE_F32) return false;
    return true;
}

static void run_products(sp_ops *ops, const product *products, int64_t n_products, int64_t n_out)
{
    if (n_products == 0 || n_out == 0) return;
    if ((sp_ops_use_blas(ops) || sp_ops_use_fp8(ops)) && all_float(products, n_products)) {
        run_float(ops, products, n_products);
        return;
    }
    int64_t work = 0;
    for (int64_t i = 0; i < n_products; i++) work += products[i].n_x;
    work = work * sp_tensor_cols(products[0].w) / n_products + 1; /* per weight row */
    int64_t grain = (CHUNK_WORK / work / CHUNK_ROWS + 1) * CHUNK_ROWS;
    product_list list = {products, n_out};
    sp_pool_run(ops->pool, (size_t)(n_products * n_out), (size_t)grain, multiply_items, &list);
}

static sp_act act_of(const sp_tensor *w)
{
    return sp_dtype_get(w->dtype)->act;
}

/* --- y = W x + b ------------------------------------------------------------------------------------------
 */

/* dx += dy W for the rows of one matrix: dy (m, n_out), w (n_out, n_in) -> dx (m, n_in). */
static sp_product product_dx(const sp_tensor *w, int64_t n_out, int64_t m, const float *dy, float *dx)
{
    int64_t n_in = sp_tensor_cols(w);
    return (sp_product){m, n_in, n_out, dy, n_out, 1, w->data, sp_ops_stride(w), 1, dx, n_in};
}

/* dW += dy^T x: dy (m, n_out), x (m, n_in) -> dW (n_out, n_in). */
static sp_product product_dw(int64_t n_out, int64_t n_in, int64_t m, const float *dy, const float *x,
                             int64_t x_row, float *dw)
{
    return (sp_product){n_out, n_in, m, dy, 1, n_out, x, x_row, 1, dw, n_in};
}

/* Products of a backward pass in one go: n_dw that add to weights' gradients, then n_dx, which set where nobody
 * has added to the input's gradient yet. */
static void run_backward(sp_ops *ops, const sp_node *node, const sp_product *products, int64_t n_dw,
                         int64_t n_dx, bool fresh)
{
    int64_t n_add = fresh ? n_dw : n_dw + n_dx;
    if (node->fp8)
        sp_products_fp8(ops, products, n_dw + n_dx, n_add, n_dw);
    else
        sp_products_both(ops, products, n_add, products + n_add, n_dw + n_dx - n_add);
}

typedef struct bias_job {
    const sp_ops *ops;
    const float *dy; /* (T, n) */
    int64_t n_rows, n;
    float *db;
} bias_job;

static void add_bias_columns(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const bias_job *job = ctx;
    for (int64_t t = 0; t < job->n_rows; t++)
        job->ops->kernels->add(end - begin, job->dy + t * job->n + begin, job->db + begin);
}

/* dx = dy W, dW += dy^T x, db += sum dy in order of rows; for float32 weights. */
static void backward_linear(sp_ops *ops, const sp_node *node)
{
    const sp_tensor *x = node->inputs[0], *w = node->inputs[1], *b = node->inputs[2];
    bool fresh;
    float *dw = sp_tape_grad(ops, w), *db = sp_tape_grad(ops, b), *dx = sp_tape_grad_fresh(ops, x, &fresh);
    int64_t n_in = sp_tensor_cols(w), n_out = sp_tensor_rows(w), n_x = sp_tensor_rows(x);
    sp_product products[2];
    int n = 0;
    if (dw) products[n++] = product_dw(n_out, n_in, n_x, node->grad, x->data, sp_ops_stride(x), dw);
    if (dx) products[n++] = product_dx(w, n_out, n_x, node->grad, dx);
    run_backward(ops, node, products, dw != NULL, dx != NULL, fresh);
    bias_job job = {ops, node->grad, n_x, n_out, db};
    if (db) sp_pool_run(ops->pool, (size_t)n_out, 64, add_bias_columns, &job);
}

/* Only float32 weights are differentiated. */
static void refuse_packed(sp_ops *ops, const sp_tensor *w)
{
    if (w->dtype != SP_DTYPE_F32) sp_tape_refuse(ops);
}

sp_tensor *sp_op_linear(sp_ops *ops, const sp_tensor *x, const sp_tensor *w, const sp_tensor *b)
{
    if (!x || !w) return NULL;
    int64_t n_out = sp_tensor_rows(w), n_x = sp_tensor_rows(x);
    assert(sp_tensor_cols(x) == sp_tensor_cols(w));
    assert(!b || b->dtype == SP_DTYPE_F32);
    sp_tensor *y = sp_ops_new(ops, n_x, n_out);
    product p = {ops->kernels, w, 0, n_out, n_x, {NULL, 0}, NULL, n_out, b ? b->data : NULL};
    if (!y || !prepare_rows(ops, x, act_of(w), &p.x)) return NULL;
    p.y = y->data;
    run_products(ops, &p, 1, n_out);
    if (ops->tape) {
        refuse_packed(ops, w);
        sp_tape_record(ops, y, (const sp_tensor *[]){x, w, b}, 3, backward_linear, NULL);
    }
    return y;
}

sp_tensor *sp_op_linear_exact(sp_ops *ops, const sp_tensor *x, const sp_tensor *w, const sp_tensor *b)
{
    bool fp8 = ops->fp8;
    ops->fp8 = false;
    sp_tensor *y = sp_op_linear(ops, x, w, b);
    ops->fp8 = fp8;
    return y;
}

/* --- one matrix per head ----------------------------------------------------------------------------------
 */

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
    run_backward(ops, node, products, dw ? nh : 0, dx ? nh : 0, fresh);
}

static void backward_heads(sp_ops *ops, const sp_node *node)
{
    backward_of_heads(ops, node, true);
}

static void record_heads(sp_ops *ops, sp_tensor *y, const sp_tensor *x, const sp_head_rows *heads,
                         sp_backward_fn backward)
{
    if (!ops->tape) return;
    refuse_packed(ops, heads->w);
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
    product *products = sp_arena_alloc(ops->arena, (size_t)nh * sizeof *products);
    act_rows rows;
    if (!products && ops->status == SP_OK) ops->status = SP_E_NOMEM;
    if (!y || !products || !prepare_rows(ops, x, act_of(heads->w), &rows)) return NULL;
    for (int64_t j = 0; j < nh; j++) {
        act_rows head_x = {rows.data + (size_t)j * rows.stride, rows.stride * (size_t)nh};
        products[j] = (product){ops->kernels, heads->w, j * heads->stride + heads->first, n_out,
                                n_tokens,     head_x,   (float *)y->data + j * n_out,     nh * n_out,
                                NULL};
    }
    run_products(ops, products, nh, n_out);
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
    if ((sp_ops_use_blas(ops) || sp_ops_use_fp8(ops)) && heads->w->dtype == SP_DTYPE_F32) {
        run_float_transposed(ops, x, heads, y);
    } else {
        transposed_job job = {ops, x, heads, y, scratch};
        sp_pool_run(ops->pool, (size_t)heads->n_heads, 1, multiply_transposed, &job);
    }
    record_heads(ops, y, x, heads, backward_heads_t);
    return y;
}

/* --- one matrix per expert --------------------------------------------------------------------------------
 */

typedef struct experts_saved {
    const sp_tensor *w; /* (E) matrices, each with its own gradient */
    const sp_routing *routing;
} experts_saved;

/* Per expert: its rows' dx += dy W, dW += dy^T x. An expert without rows is left alone. */
static void backward_experts(sp_ops *ops, const sp_node *node)
{
    const sp_tensor *x = node->inputs[0];
    const experts_saved *saved = node->saved;
    const sp_routing *routing = saved->routing;
    int64_t n_in = sp_tensor_cols(x), n_out = sp_tensor_cols(node->output), n_dx = 0, n_dw = 0;
    bool fresh;
    float *dx = sp_tape_grad_fresh(ops, x, &fresh);
    sp_product *products = sp_ops_alloc(ops, (size_t)routing->n_experts * 2, sizeof *products);
    if (!products) return;
    assert(routing->offset[routing->n_experts] == sp_tensor_rows(x)); /* every row has an expert */
    for (int64_t e = 0; e < routing->n_experts; e++) {
        int64_t begin = routing->offset[e], n = routing->offset[e + 1] - begin;
        float *dw = n ? sp_tape_grad(ops, &saved->w[e]) : NULL;
        if (!dw) continue;
        products[n_dw++] = product_dw(n_out, n_in, n, node->grad + begin * n_out, sp_ops_row(x, begin),
                                      sp_ops_stride(x), dw);
    }
    for (int64_t e = 0; dx && e < routing->n_experts; e++) {
        int64_t begin = routing->offset[e], n = routing->offset[e + 1] - begin;
        if (n == 0) continue;
        products[n_dw + n_dx++] =
            product_dx(&saved->w[e], n_out, n, node->grad + begin * n_out, dx + begin * n_in);
    }
    run_backward(ops, node, products, n_dw, n_dx, fresh);
}

sp_tensor *sp_op_linear_experts(sp_ops *ops, const sp_tensor *x, const sp_tensor *w,
                                const sp_routing *routing)
{
    if (!x || !routing) return NULL;
    int64_t n_out = sp_tensor_rows(&w[0]), n_active = 0;
    assert(sp_tensor_rows(x) == routing->n_tokens * routing->top_k &&
           sp_tensor_cols(x) == sp_tensor_cols(&w[0]));
    sp_tensor *y = sp_ops_new(ops, sp_tensor_rows(x), n_out);
    product *products = sp_arena_alloc(ops->arena, (size_t)routing->n_experts * sizeof *products);
    if (!products && ops->status == SP_OK) ops->status = SP_E_NOMEM;
    act_rows rows = {NULL, 0};
    sp_act prepared = SP_ACT_COUNT;
    if (!y || !products) return NULL;
    for (int64_t e = 0; e < routing->n_experts; e++) {
        int64_t begin = routing->offset[e], n = routing->offset[e + 1] - begin;
        if (n == 0) continue;
        if (act_of(&w[e]) != prepared) { /* experts of one layer nearly always share a format */
            prepared = act_of(&w[e]);
            if (!prepare_rows(ops, x, prepared, &rows)) return NULL;
        }
        act_rows expert_x = {rows.data + (size_t)begin * rows.stride, rows.stride};
        products[n_active++] = (product){
            ops->kernels, &w[e], 0, n_out, n, expert_x, (float *)y->data + begin * n_out, n_out, NULL};
    }
    run_products(ops, products, n_active, n_out);
    if (ops->tape) {
        for (int64_t e = 0; e < routing->n_experts; e++) refuse_packed(ops, &w[e]);
        const experts_saved *saved = sp_ops_keep(ops, &(experts_saved){w, routing}, sizeof *saved);
        if (saved) sp_tape_record(ops, y, &x, 1, backward_experts, saved);
    }
    return y;
}
