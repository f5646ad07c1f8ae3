/* SPDX-License-Identifier: MIT */
/* A loss that a block contributes beside its output, without a second output to pass on. */
#include "ops/ops_parts.h"

#include <assert.h>

static void backward_attach(sp_ops *ops, const sp_node *node)
{
    const sp_tensor *x = node->inputs[0];
    float *dx = sp_tape_grad(ops, x), *dloss = sp_tape_grad(ops, node->inputs[1]);
    const float *factor = node->saved;
    if (dx) ops->kernels->add((size_t)(sp_tensor_rows(x) * sp_tensor_cols(x)), node->grad, dx);
    if (dloss) *dloss += *factor;
}

sp_tensor *sp_op_attach(sp_ops *ops, const sp_tensor *x, const sp_tensor *loss, float factor)
{
    if (!x || !loss) return NULL;
    assert(sp_tensor_rows(loss) == 1 && sp_tensor_cols(loss) == 1);
    sp_tensor *y = sp_ops_alloc(ops, 1, sizeof *y);
    if (!y) return NULL;
    *y = *x;
    y->node = NULL;
    if (ops->tape) {
        const float *saved = sp_ops_keep(ops, &factor, sizeof factor);
        if (saved) sp_tape_record(ops, y, (const sp_tensor *[]){x, loss}, 2, backward_attach, saved);
    }
    return y;
}
