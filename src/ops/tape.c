/* SPDX-License-Identifier: MIT */
/* Recording ops and running them backwards. All memory comes from the ops' arena. Start at
 * sp_tape_backward(). */
#include "ops/tape.h"

#include "ops/ops_parts.h"

#include <assert.h>
#include <string.h>

/* A gradient's memory between two uses; the gradient itself holds this header. */
struct sp_spare {
    sp_spare *next;
    size_t n_bytes;
};

static size_t grad_bytes(const sp_tensor *tensor)
{
    size_t n_bytes = (size_t)(sp_tensor_rows(tensor) * sp_tensor_cols(tensor)) * sizeof(float);
    return n_bytes < sizeof(sp_spare) ? sizeof(sp_spare) : n_bytes;
}

void *sp_tape_take(sp_ops *ops, size_t n_bytes)
{
    if (n_bytes < sizeof(sp_spare)) n_bytes = sizeof(sp_spare);
    for (sp_spare **at = &ops->tape->spares; *at; at = &(*at)->next) {
        if ((*at)->n_bytes != n_bytes) continue;
        sp_spare *found = *at;
        *at = found->next;
        return found;
    }
    return sp_ops_alloc(ops, 1, n_bytes);
}

void sp_tape_give(sp_ops *ops, void *data, size_t n_bytes)
{
    sp_spare *spare = data;
    if (n_bytes < sizeof(sp_spare)) return;
    *spare = (sp_spare){ops->tape->spares, n_bytes};
    ops->tape->spares = spare;
}

static void give_spare(sp_ops *ops, sp_node *node)
{
    sp_tape_give(ops, node->grad, grad_bytes(node->output));
    node->grad = NULL;
}

static void give_value(sp_ops *ops, sp_node *node)
{
    if (node->owned) sp_tape_give(ops, node->output->data, grad_bytes(node->output));
    node->owned = false;
}

void sp_tape_release(sp_ops *ops, const sp_tensor *tensor)
{
    while (tensor && tensor->node && tensor->node->whole) tensor = tensor->node->whole;
    if (ops->tape && tensor && tensor->node) give_value(ops, tensor->node);
}

/* Whether the elements of `view` lie within those of x. */
static bool lies_within(const sp_tensor *view, const sp_tensor *x)
{
    const char *at = view->data, *begin = x->data;
    return begin && at >= begin && at < begin + (size_t)sp_tensor_rows(x) * x->row_bytes;
}

static sp_node *new_node(sp_ops *ops, const sp_tensor *output)
{
    sp_node *node = sp_arena_alloc(ops->arena, sizeof *node);
    if (!node) {
        if (ops->status == SP_OK) ops->status = SP_E_NOMEM;
        return NULL;
    }
    *node = (sp_node){.previous = ops->tape->last, .output = output};
    ops->tape->last = node;
    ops->tape->n_nodes++;
    return node;
}

void sp_tape_record(sp_ops *ops, sp_tensor *output, const sp_tensor *const *inputs, int n_inputs,
                    sp_backward_fn backward, const void *saved)
{
    if (!ops->tape) return;
    assert(n_inputs <= SP_NODE_MAX_INPUTS);
    sp_node *node = new_node(ops, output);
    if (!node) return;
    node->backward = backward;
    node->saved = saved;
    node->fp8 = ops->fp8;
    node->owned = !(n_inputs > 0 && inputs[0] && lies_within(output, inputs[0]));
    for (int i = 0; i < n_inputs; i++) node->inputs[i] = inputs[i];
    output->node = node;
}

void sp_tape_refuse(sp_ops *ops)
{
    if (ops->tape && ops->status == SP_OK) ops->status = SP_E_UNSUPPORTED;
}

void sp_tape_leaf(sp_ops *ops, sp_tensor *tensor)
{
    if (ops->tape) tensor->node = new_node(ops, tensor);
}

void sp_tape_parameter(sp_ops *ops, sp_tensor *tensor, float *grad)
{
    sp_tape_leaf(ops, tensor);
    if (ops->tape && tensor->node) tensor->node->grad = grad;
}

void sp_tape_alias(sp_ops *ops, sp_tensor *view, const sp_tensor *x, int64_t first)
{
    if (!ops->tape) return;
    sp_node *node = new_node(ops, view);
    if (!node) return;
    node->whole = x;
    node->first = first;
    view->node = node;
}

static int64_t count_of(const sp_tensor *tensor)
{
    return sp_tensor_rows(tensor) * sp_tensor_cols(tensor);
}

/* A view of the whole may stay fresh; one of a part makes all of it 0. */
static float *grad_of_view(sp_ops *ops, const sp_tensor *view, bool *fresh)
{
    const sp_node *node = view->node;
    const sp_tensor *x = node->whole;
    float *grad = sp_tape_grad_fresh(ops, x, fresh);
    if (grad && *fresh && count_of(view) < count_of(x)) {
        memset(grad, 0, (size_t)count_of(x) * sizeof *grad);
        *fresh = false;
    }
    return grad ? grad + node->first : NULL;
}

float *sp_tape_grad_fresh(sp_ops *ops, const sp_tensor *tensor, bool *fresh)
{
    *fresh = false;
    if (!tensor || !tensor->node) return NULL;
    sp_node *node = tensor->node;
    if (node->whole) return grad_of_view(ops, tensor, fresh);
    if (node->grad) return node->grad;
    node->grad = sp_tape_take(ops, grad_bytes(tensor));
    *fresh = node->grad != NULL;
    return node->grad;
}

float *sp_tape_grad(sp_ops *ops, const sp_tensor *tensor)
{
    bool fresh;
    float *grad = sp_tape_grad_fresh(ops, tensor, &fresh);
    if (fresh) memset(grad, 0, (size_t)count_of(tensor) * sizeof *grad);
    return grad;
}

void sp_tape_settle(sp_ops *ops)
{
    for (const sp_node *node = ops->tape->last; node; node = node->previous)
        if (!node->backward && !node->whole && !node->grad) sp_tape_grad(ops, node->output);
}

void sp_tape_backward(sp_ops *ops, const sp_tensor *output, const float *seed)
{
    float *grad = sp_tape_grad(ops, output);
    if (!grad) return;
    memcpy(grad, seed, (size_t)(sp_tensor_rows(output) * sp_tensor_cols(output)) * sizeof *grad);
    for (sp_node *node = ops->tape->last; node; node = node->previous) {
        if (!node->backward || !node->grad) continue;
        node->backward(ops, node);
        give_spare(ops, node); /* every user of the output stands later on the tape and has run */
        give_value(ops, node);
    }
}
