/* SPDX-License-Identifier: MIT */
/* Experts as they become ready. Each batch of them gathers its rows, multiplies, and puts the results where the experts
 * in memory would have put them: an output row depends on one expert and one input row, so neither the order nor the
 * size of the batches shows in the result. Start at sp_experts_run(). */
#include "model/experts.h"

#include <string.h>

/* Experts multiplied together at most: enough to fill the threads, few enough that reading goes on meanwhile. */
#define READY_CAP 16

sp_expert_visit *sp_experts_begin(sp_ops *ops, const sp_net *net, int32_t layer, const sp_routing *routing)
{
    size_t n_experts = (size_t)routing->n_experts;
    sp_expert_visit *visit = sp_arena_alloc(ops->arena, sizeof *visit);
    int32_t *wanted = sp_arena_alloc(ops->arena, n_experts * sizeof *wanted);
    uint8_t *state = sp_arena_alloc(ops->arena, n_experts);
    if (!visit || !wanted || !state) {
        if (ops->status == SP_OK) ops->status = SP_E_NOMEM;
        return NULL;
    }
    int64_t n = 0;
    for (int64_t e = 0; e < routing->n_experts; e++)
        if (routing->offset[e + 1] > routing->offset[e]) wanted[n++] = (int32_t)e;
    memset(state, 0, n_experts);
    *visit = (sp_expert_visit){layer, n, wanted, state, n};
    net->experts->begin(net->experts->ctx, visit);
    return visit;
}

/* The choice of some experts alone, numbered as in `ready`. */
typedef struct ready_part {
    sp_routing routing;
    int64_t offset[READY_CAP + 1];
    int32_t *tokens;
    sp_tensor gate[READY_CAP], up[READY_CAP], down[READY_CAP];
} ready_part;

static bool choose_part(sp_ops *ops, ready_part *part, const sp_routing *all, const sp_expert_visit *visit,
                        const sp_ready_expert *ready, int64_t n)
{
    int64_t rows = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t e = visit->experts[ready[i].index];
        part->offset[i] = rows;
        rows += all->offset[e + 1] - all->offset[e];
        part->gate[i] = ready[i].gate;
        part->up[i] = ready[i].up;
        part->down[i] = ready[i].down;
    }
    part->offset[n] = rows;
    part->tokens = sp_arena_alloc(ops->arena, (size_t)rows * sizeof *part->tokens);
    if (!part->tokens && ops->status == SP_OK) ops->status = SP_E_NOMEM;
    if (!part->tokens) return false;
    for (int64_t i = 0; i < n; i++) {
        int32_t e = visit->experts[ready[i].index];
        memcpy(part->tokens + part->offset[i], all->tokens + all->offset[e],
               (size_t)(part->offset[i + 1] - part->offset[i]) * sizeof *part->tokens);
    }
    part->routing = (sp_routing){
        .n_tokens = rows, .n_experts = n, .top_k = 1, .tokens = part->tokens, .offset = part->offset};
    return true;
}

/* The outputs of some experts, written to their rows of out (T K, h). */
static bool run_part(sp_ops *ops, ready_part *part, const sp_tensor *x, const sp_routing *all,
                     const sp_expert_visit *visit, const sp_ready_expert *ready, sp_tensor *out)
{
    int64_t n = part->routing.n_experts;
    sp_tensor *rows = sp_op_gather(ops, x, part->tokens, part->offset[n]);
    sp_tensor *gated = sp_op_gated_experts(ops, rows, part->gate, part->up, &part->routing);
    sp_tensor *down = sp_op_linear_experts(ops, gated, part->down, &part->routing);
    if (!down) return false;
    for (int64_t i = 0; i < n; i++) {
        int64_t to = all->offset[visit->experts[ready[i].index]];
        for (int64_t r = part->offset[i]; r < part->offset[i + 1]; r++)
            memcpy((char *)out->data + (size_t)(to + r - part->offset[i]) * out->row_bytes,
                   sp_tensor_row(down, r), out->row_bytes);
    }
    return true;
}

sp_tensor *sp_experts_run(sp_ops *ops, const sp_net *net, sp_expert_visit *visit, const sp_tensor *x,
                          const sp_routing *routing)
{
    const sp_expert_source *source = net->experts;
    sp_ready_expert ready[READY_CAP];
    if (!x) return NULL;
    sp_tensor *out = sp_ops_new(ops, routing->n_tokens * routing->top_k, sp_tensor_cols(x)); /* (T K, h) */
    while (out && visit->n_left > 0) {
        int64_t n = 0;
        sp_status status = source->next(source->ctx, visit, ready, READY_CAP, &n, &ops->error);
        if (status != SP_OK) {
            if (ops->status == SP_OK) ops->status = status;
            return NULL;
        }
        ready_part part;
        sp_arena_mark mark = sp_arena_save(ops->arena);
        bool good = choose_part(ops, &part, routing, visit, ready, n) &&
                    run_part(ops, &part, x, routing, visit, ready, out);
        sp_ops_restore(ops, mark);
        if (!good) return NULL;
    }
    return out;
}

void sp_experts_end(const sp_net *net, sp_expert_visit *visit)
{
    if (visit) net->experts->end(net->experts->ctx, visit);
}

void sp_experts_guess(sp_ops *ops, const sp_net *net, int32_t layer, const sp_routing *routing)
{
    size_t n_experts = (size_t)routing->n_experts;
    int32_t *guess = sp_arena_alloc(ops->arena, n_experts * sizeof *guess);
    bool *listed = sp_arena_alloc(ops->arena, n_experts * sizeof *listed);
    int64_t n = 0;
    if (!guess || !listed) return; /* only a guess */
    memset(listed, 0, n_experts * sizeof *listed);
    for (int64_t k = 0; k < routing->top_k; k++) {
        for (int64_t t = 0; t < routing->n_tokens; t++) {
            int32_t e = routing->experts[t * routing->top_k + k];
            if (!listed[e]) guess[n++] = e;
            listed[e] = true;
        }
    }
    net->experts->guess(net->experts->ctx, layer, guess, n);
}
