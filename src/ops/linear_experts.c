/* SPDX-License-Identifier: MIT */
/* One matrix per expert, over rows sorted by expert. Start at sp_op_linear_experts(). */
#include "ops/linear_parts.h"

#include <assert.h>

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
        products[n_dw++] = sp_linear_dw(n_out, n_in, n, node->grad + begin * n_out, sp_ops_row(x, begin),
                                        sp_ops_stride(x), dw);
    }
    for (int64_t e = 0; dx && e < routing->n_experts; e++) {
        int64_t begin = routing->offset[e], n = routing->offset[e + 1] - begin;
        if (n == 0) continue;
        products[n_dw + n_dx++] =
            sp_linear_dx(&saved->w[e], n_out, n, node->grad + begin * n_out, dx + begin * n_in);
    }
    sp_linear_backward(ops, node, products, n_dw, n_dx, fresh);
}

/* One product per expert that has rows: y = w x or, where up is given, silu(w x) (up x). False when out of memory. */
static bool run_experts(sp_ops *ops, const sp_tensor *x, const sp_tensor *w, const sp_tensor *up,
                        const sp_routing *routing, sp_tensor *y, sp_tensor *u)
{
    int64_t n_out = sp_tensor_rows(&w[0]), n_active = 0;
    sp_linear_product *products = sp_ops_alloc(ops, (size_t)routing->n_experts, sizeof *products);
    if (!products) return false;
    for (int64_t e = 0; e < routing->n_experts; e++) {
        int64_t begin = routing->offset[e], n = routing->offset[e + 1] - begin;
        if (n == 0) continue;
        sp_linear_product p = {
            .kernels = ops->kernels, .w = &w[e], .n_out = n_out, .n_x = n, .y_stride = n_out};
        if (!sp_linear_prepare(ops, x, sp_linear_act(&w[e]), &p.x)) return false;
        p.x.data += (size_t)begin * p.x.stride;
        p.y = (float *)y->data + begin * n_out;
        if (up) {
            p.up = &up[e];
            if (!sp_linear_prepare(ops, x, sp_linear_act(&up[e]), &p.x_up)) return false;
            p.x_up.data += (size_t)begin * p.x_up.stride;
            p.u = (float *)u->data + begin * n_out;
        }
        products[n_active++] = p;
    }
    sp_linear_run(ops, products, n_active);
    return true;
}

sp_tensor *sp_op_linear_experts(sp_ops *ops, const sp_tensor *x, const sp_tensor *w,
                                const sp_routing *routing)
{
    if (!x || !routing) return NULL;
    assert(sp_tensor_rows(x) == routing->n_tokens * routing->top_k &&
           sp_tensor_cols(x) == sp_tensor_cols(&w[0]));
    sp_tensor *y = sp_ops_new(ops, sp_tensor_rows(x), sp_tensor_rows(&w[0]));
    if (!y || !run_experts(ops, x, w, NULL, routing, y, NULL)) return NULL;
    if (ops->tape) {
        for (int64_t e = 0; e < routing->n_experts; e++) sp_linear_refuse(ops, &w[e]);
        const experts_saved *saved = sp_ops_keep(ops, &(experts_saved){w, routing}, sizeof *saved);
        if (saved) sp_tape_record(ops, y, &x, 1, backward_experts, saved);
    }
    return y;
}

sp_tensor *sp_op_gated_experts(sp_ops *ops, const sp_tensor *x, const sp_tensor *gate, const sp_tensor *up,
                               const sp_routing *routing)
{
    if (!x || !routing) return NULL;
    if (sp_linear_is_trained(ops))
        return sp_op_swiglu(ops, sp_op_linear_experts(ops, x, gate, routing),
                            sp_op_linear_experts(ops, x, up, routing));
    sp_tensor *y = sp_ops_new(ops, sp_tensor_rows(x), sp_tensor_rows(&gate[0]));
    sp_tensor *u = sp_ops_new(ops, sp_tensor_rows(x), sp_tensor_rows(&gate[0]));
    return y && u && run_experts(ops, x, gate, up, routing, y, u) ? y : NULL;
}
