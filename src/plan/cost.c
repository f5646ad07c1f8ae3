/* SPDX-License-Identifier: MIT */
/* Counting a token's bytes and multiplications. Start at sp_cost_of_model(). */
#include "plan/cost.h"

#include <math.h>
#include <string.h>

#include "model/model_parts.h"

static void add_tensor(sp_cost *cost, const sp_tensor *w)
{
    if (!w) return;
    cost->fixed_bytes += (double)sp_tensor_rows(w) * (double)w->row_bytes;
    if (sp_tensor_rows(w) > 1) cost->products += (double)sp_tensor_rows(w) * (double)sp_tensor_cols(w);
}

static void add_ffn(sp_cost *cost, const sp_ffn *ffn)
{
    add_tensor(cost, ffn->gate);
    add_tensor(cost, ffn->up);
    add_tensor(cost, ffn->down);
}

/* All experts' matrices of one kind, of which w is the first; a token uses its part of them. */
static void add_experts(sp_cost *cost, const sp_tensor *w)
{
    if (!w) return;
    cost->expert_bytes += cost->n_experts * (double)sp_tensor_rows(w) * (double)w->row_bytes;
    cost->products += cost->n_used * (double)sp_tensor_rows(w) * (double)sp_tensor_cols(w);
}

static void add_layer(sp_cost *cost, const sp_layer *layer)
{
    const sp_tensor *const own[] = {layer->q,   layer->k,    layer->v,    layer->o,   layer->q_a,
                                    layer->q_b, layer->kv_a, layer->kv_b, layer->k_b, layer->v_b};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) add_tensor(cost, own[i]);
    add_tensor(cost, layer->router);
    add_ffn(cost, &layer->ffn);
    add_ffn(cost, &layer->shared);
    add_experts(cost, layer->experts.gate);
    add_experts(cost, layer->experts.up);
    add_experts(cost, layer->experts.down);
}

void sp_cost_of_model(sp_cost *cost, const sp_model *model)
{
    const sp_net *net = sp_model_net(model);
    sp_model_info info;
    memset(cost, 0, sizeof *cost);
    cost->n_experts = net->hp->n_routed_experts;
    cost->n_used = net->hp->num_experts_per_tok;
    for (int32_t i = 0; i < net->hp->num_hidden_layers; i++) add_layer(cost, &net->weights->layers[i]);
    double before = cost->products;
    add_tensor(cost, net->weights->head);
    cost->head_products = cost->products - before;
    cost->products = before;
    sp_model_get_info(model, &info);
    cost->cache_elements = (double)info.cache_elements;
}

double sp_cost_step_bytes(const sp_cost *cost, double n_rows)
{
    double chosen = 0;
    if (cost->n_experts > 0) chosen = 1 - pow(1 - cost->n_used / cost->n_experts, n_rows);
    return cost->fixed_bytes + chosen * cost->expert_bytes;
}

double sp_cost_cache_width(const char *type)
{
    if (strcmp(type, "f32") == 0) return 4;
    return strcmp(type, "q8_0") == 0 ? 34.0 / 32 : 2;
}
