/* SPDX-License-Identifier: MIT */
/* Every block of the family's networks as formulas over ops. Sources: Llama 2 (grouped attention, SwiGLU,
 * RMSNorm), DeepSeek-V2 report section 2.1 (latent attention; here in the absorbed form over the compressed
 * cache, in training with heads written out), DeepSeekMoE, DeepSeek-V3 report section 2.2 (multi-token
 * prediction) and its inference code. Shapes use the letters of weights.h; T rows. Start at sp_net_forward(). */
#include "model/blocks.h"

#include "model/experts.h"

#include <string.h>

/* One layer's place in a pass. */
typedef struct layer_ctx {
    sp_ops *ops;
    const sp_net *net;
    const sp_batch *batch;
    const sp_layer *w;
    int32_t cache_index;
    int32_t watch_index;
} layer_ctx;

/* GGUF's rope_freqs.weight holds divisors g_i: omega_i' = omega_i / g_i. It stands in for llama3 scaling
 * there. */
sp_status sp_net_bind(sp_net *net, const sp_hparams *hp, const sp_weights *weights, double *omega,
                      sp_error *err)
{
    int32_t dim = sp_hparams_rope_dim(hp);
    sp_hparams_rope_frequencies(hp, omega);
    const sp_tensor *divisors = weights->rope_divisors;
    for (int32_t i = 0; divisors && i < dim / 2; i++) {
        float g = ((const float *)divisors->data)[i];
        if (!(g > 0.0f))
            return sp_fail(err, SP_E_FORMAT, "model: tensor \"rope_freqs.weight\": value %d is not positive",
                           i);
        omega[i] /= g;
    }
    sp_rope rope = {dim, omega, (float)sp_hparams_rope_attention_factor(hp), hp->rope_interleaved};
    *net = (sp_net){hp, weights, rope, (float)sp_hparams_softmax_scale(hp), NULL, NULL};
    return SP_OK;
}

/* Store the batch's new keys and values and describe the spans that attention reads; a stretch without a cache
 * reads the tensors themselves. v is NULL where values are the first columns of the keys. NULL when out of
 * memory. */
static sp_span *store_rows(const layer_ctx *c, const sp_tensor *k, const sp_tensor *v)
{
    int n = c->batch->n_stretches;
    sp_span *spans = sp_arena_alloc(c->ops->arena, (size_t)n * sizeof *spans);
    if (!spans && c->ops->status == SP_OK) c->ops->status = SP_E_NOMEM;
    if (!spans) return NULL;
    for (int i = 0; i < n; i++) {
        const sp_stretch *s = &c->batch->stretches[i];
        if (!s->cache) {
            const sp_tensor *keys = sp_op_rows(c->ops, k, s->row, s->n_rows);
            const sp_tensor *values = v ? sp_op_rows(c->ops, v, s->row, s->n_rows) : keys;
            spans[i] = (sp_span){s->row, s->n_rows, 0, keys, values};
            continue;
        }
        sp_cache_layer *rows = &s->cache->layers[c->cache_index];
        sp_op_store(c->ops, k, s->row, s->n_rows, &rows->k, s->position);
        if (v) sp_op_store(c->ops, v, s->row, s->n_rows, &rows->v, s->position);
        spans[i] = (sp_span){s->row, s->n_rows, s->position, &rows->k, &rows->v};
    }
    return spans;
}

/* Optional per-head norm, then rotation: x (T, n_heads hd) -> the same shape. */
static sp_tensor *turn_heads(const layer_ctx *c, const sp_tensor *x, const sp_tensor *norm, int64_t n_heads)
{
    const sp_hparams *hp = c->net->hp;
    int64_t n_tokens = c->batch->n_tokens, hd = hp->head_dim;
    const sp_tensor *heads = sp_op_reshape(c->ops, x, n_tokens * n_heads, hd);
    if (norm) heads = sp_op_rms_norm(c->ops, heads, norm, (float)hp->rms_norm_eps);
    heads = sp_op_rope(c->ops, heads, &c->net->rope, c->batch->positions, n_heads);
    return sp_op_reshape(c->ops, heads, n_tokens, n_heads * hd);
}

/* Grouped-query attention: x (T, h) normalised -> (T, h). */
static sp_tensor *attend_grouped(const layer_ctx *c, const sp_tensor *x)
{
    const sp_hparams *hp = c->net->hp;
    const sp_layer *w = c->w;
    sp_ops *ops = c->ops;
    sp_tensor *qkv[3]; /* (T, nh hd), (T, nkv hd), (T, nkv hd) */
    sp_op_linears(ops, x, (const sp_linear[]){{w->q, w->q_bias}, {w->k, w->k_bias}, {w->v, w->v_bias}}, 3,
                  qkv);
    sp_tensor *q = turn_heads(c, qkv[0], w->q_norm, hp->num_attention_heads);
    sp_tensor *k = turn_heads(c, qkv[1], w->k_norm, hp->num_key_value_heads), *v = qkv[2];
    sp_span *spans = k && v ? store_rows(c, k, v) : NULL;
    if (!spans) return NULL;
    sp_attend attend = {hp->num_attention_heads, hp->num_key_value_heads, hp->head_dim, hp->head_dim,
                        c->net->softmax_scale};
    sp_tensor *y = sp_op_attention(ops, q, &attend, spans, c->batch->n_stretches); /* (T, nh hd) */
    return sp_op_linear(ops, y, w->o, w->o_bias);
}

/* Queries of latent attention by head: a part without position and a rotated one. */
typedef struct latent_queries {
    sp_tensor *nope;        /* (T nh, n) */
    sp_tensor *pe;          /* (T nh, r) */
    const sp_tensor *whole; /* what nope is a part of */
} latent_queries;

/* first: (T, ql) or, without a low rank, (T, nh (n + r)). */
static latent_queries project_queries(const layer_ctx *c, const sp_tensor *first)
{
    const sp_hparams *hp = c->net->hp;
    const sp_layer *w = c->w;
    sp_ops *ops = c->ops;
    int64_t nh = hp->num_attention_heads, n = hp->qk_nope_head_dim, r = hp->qk_rope_head_dim;
    const sp_tensor *q = first; /* (T, nh (n + r)) */
    if (w->q_a) {
        q = sp_op_rms_norm(ops, first, w->q_a_norm, (float)hp->rms_norm_eps);
        q = sp_op_linear(ops, q, w->q_b, NULL);
    }
    q = sp_op_reshape(ops, q, c->batch->n_tokens * nh, n + r);
    return (latent_queries){
        sp_op_columns(ops, q, 0, n),
        sp_op_rope(ops, sp_op_columns(ops, q, n, r), &c->net->rope, c->batch->positions, nh), q};
}

/* Latent attention, absorbed: queries in the latent space, per head [Wk^T q_nope ; rope(q_pe)], and one shared
 * key-value head of width c + r whose values are its first c columns. c_kv (T, c), k_pe (T, r) -> (T nh, vd). */
static sp_tensor *attend_absorbed(const layer_ctx *c, latent_queries q, const sp_tensor *c_kv,
                                  const sp_tensor *k_pe)
{
    const sp_hparams *hp = c->net->hp;
    const sp_layer *w = c->w;
    sp_ops *ops = c->ops;
    int64_t nh = hp->num_attention_heads, lora = hp->kv_lora_rank, n = hp->qk_nope_head_dim,
            r = hp->qk_rope_head_dim, vd = hp->v_head_dim;
    sp_tensor *absorbed; /* (T nh, c) */
    if (w->k_b)
        absorbed = sp_op_linear_heads(ops, q.nope, &(sp_head_rows){w->k_b, nh, lora, 0, lora});
    else
        absorbed = sp_op_linear_heads_t(ops, q.nope, &(sp_head_rows){w->kv_b, nh, n + vd, 0, n});
    sp_tensor *queries = sp_op_concat(ops, absorbed, q.pe);
    queries = sp_op_reshape(ops, queries, c->batch->n_tokens, nh * (lora + r));
    sp_tensor *key = sp_op_concat(ops, c_kv, k_pe); /* (T, c + r) */
    sp_span *spans = key ? store_rows(c, key, NULL) : NULL;
    if (!spans) return NULL;
    sp_attend attend = {nh, 1, lora + r, lora, c->net->softmax_scale};
    sp_tensor *u = sp_op_attention(ops, queries, &attend, spans, c->batch->n_stretches); /* (T, nh c) */
    u = sp_op_reshape(ops, u, c->batch->n_tokens * nh, lora);
    sp_head_rows split = {w->v_b, nh, vd, 0, vd};
    sp_head_rows joined = {w->kv_b, nh, n + vd, n, vd};
    return sp_op_linear_heads(ops, u, w->v_b ? &split : &joined);
}

/* The same value with every head's keys and values written out: less work where nothing is cached. */
static sp_tensor *attend_expanded(const layer_ctx *c, latent_queries q, const sp_tensor *c_kv,
                                  const sp_tensor *k_pe)
{
    const sp_hparams *hp = c->net->hp;
    sp_ops *ops = c->ops;
    int64_t nh = hp->num_attention_heads, n = hp->qk_nope_head_dim, r = hp->qk_rope_head_dim,
            vd = hp->v_head_dim, n_tokens = c->batch->n_tokens;
    sp_tensor *kv = sp_op_linear(ops, c_kv, c->w->kv_b, NULL); /* (T, nh (n + vd)) */
    kv = sp_op_reshape(ops, kv, n_tokens * nh, n + vd);
    sp_tensor *queries = sp_op_concat(ops, q.nope, q.pe);                 /* (T nh, n + r) */
    sp_tensor *k = sp_op_concat(ops, sp_op_columns(ops, kv, 0, n), k_pe); /* (T nh, n + r) */
    sp_tensor *v = sp_op_dense(ops, sp_op_columns(ops, kv, n, vd));       /* (T nh, vd) */
    sp_tape_release(ops, q.whole);                                        /* copied */
    sp_tape_release(ops, q.pe);
    sp_tape_release(ops, kv);
    queries = sp_op_reshape(ops, queries, n_tokens, nh * (n + r));
    k = sp_op_reshape(ops, k, n_tokens, nh * (n + r));
    v = sp_op_reshape(ops, v, n_tokens, nh * vd);
    sp_span *spans = k && v ? store_rows(c, k, v) : NULL;
    if (!spans) return NULL;
    sp_attend attend = {nh, nh, n + r, vd, c->net->softmax_scale};
    sp_tensor *y = sp_op_attention(ops, queries, &attend, spans, c->batch->n_stretches); /* (T, nh vd) */
    return sp_op_reshape(ops, y, n_tokens * nh, vd);
}

static bool is_cached(const sp_batch *batch)
{
    for (int i = 0; i < batch->n_stretches; i++)
        if (batch->stretches[i].cache) return true;
    return false;
}

/* The compressed key and value kv (T, c + r): its latent, normed, and its rotated part. */
typedef struct latent_keys {
    sp_tensor *c_kv; /* (T, c) */
    sp_tensor *k_pe; /* (T, r) */
} latent_keys;

static latent_keys finish_keys(const layer_ctx *c, const sp_tensor *kv)
{
    const sp_hparams *hp = c->net->hp;
    sp_ops *ops = c->ops;
    int64_t lora = hp->kv_lora_rank, r = hp->qk_rope_head_dim;
    sp_tensor *latent = sp_op_columns(ops, kv, 0, lora), *pe = sp_op_columns(ops, kv, lora, r);
    return (latent_keys){sp_op_rms_norm(ops, latent, c->w->kv_a_norm, (float)hp->rms_norm_eps),
                         sp_op_rope(ops, pe, &c->net->rope, c->batch->positions, 1)};
}

static sp_tensor *attend_latent(const layer_ctx *c, const sp_tensor *x)
{
    const sp_hparams *hp = c->net->hp;
    const sp_layer *w = c->w;
    sp_ops *ops = c->ops;
    sp_tensor *first[2]; /* of the queries, and (T, c + r) */
    sp_op_linears(ops, x, (const sp_linear[]){{w->q_a ? w->q_a : w->q, NULL}, {w->kv_a, NULL}}, 2, first);
    latent_queries q = project_queries(c, first[0]);
    latent_keys k = finish_keys(c, first[1]);
    bool expand = sp_ops_use_gemm(ops) && w->kv_b && !is_cached(c->batch);
    sp_tensor *y = expand ? attend_expanded(c, q, k.c_kv, k.k_pe) : attend_absorbed(c, q, k.c_kv, k.k_pe);
    y = sp_op_reshape(ops, y, c->batch->n_tokens, hp->num_attention_heads * hp->v_head_dim);
    return sp_op_linear(ops, y, w->o, NULL);
}

/* Keys and values of rows x (T, h), normalised, for the cache alone. False on failure. */
static bool store_keys(const layer_ctx *c, const sp_tensor *x)
{
    const sp_hparams *hp = c->net->hp;
    const sp_layer *w = c->w;
    sp_ops *ops = c->ops;
    if (sp_arch_get(hp->arch)->attention == SP_ATTENTION_LATENT) {
        latent_keys latent = finish_keys(c, sp_op_linear(ops, x, w->kv_a, NULL));
        sp_tensor *key = sp_op_concat(ops, latent.c_kv, latent.k_pe);
        return key && store_rows(c, key, NULL);
    }
    sp_tensor *kv[2];
    sp_op_linears(ops, x, (const sp_linear[]){{w->k, w->k_bias}, {w->v, w->v_bias}}, 2, kv);
    sp_tensor *k = turn_heads(c, kv[0], w->k_norm, hp->num_key_value_heads);
    return k && kv[1] && store_rows(c, k, kv[1]);
}

/* down(silu(gate x) up x) */
static sp_tensor *feed_forward(sp_ops *ops, const sp_tensor *x, const sp_ffn *w)
{
    return sp_op_linear(ops, sp_op_gated(ops, x, w->gate, w->up), w->down, NULL);
}

static sp_route describe_route(const sp_hparams *hp, const sp_layer *w)
{
    static const sp_route_groups groups[] = {
        [SP_TOPK_GREEDY] = SP_ROUTE_GROUPS_NONE,
        [SP_TOPK_GROUP_LIMITED_GREEDY] = SP_ROUTE_GROUPS_MAX,
        [SP_TOPK_NOAUX_TC] = SP_ROUTE_GROUPS_TOP2,
    };
    return (sp_route){
        .score = hp->scoring_func == SP_SCORING_SIGMOID ? SP_ROUTE_SIGMOID : SP_ROUTE_SOFTMAX,
        .groups = groups[hp->topk_method],
        .n_group = hp->n_group,
        .topk_group = hp->topk_group,
        .top_k = hp->num_experts_per_tok,
        .normalise = hp->norm_topk_prob,
        .scale = (float)hp->routed_scaling_factor,
        .bias = w->router_bias,
    };
}

/* Tell the trainer which experts were chosen; y with the layer's balance loss. */
static sp_tensor *watch_experts(const layer_ctx *c, sp_tensor *y, const sp_tensor *logits,
                                const sp_routing *routing)
{
    const sp_expert_watch *watch = c->batch->watch;
    int64_t n = routing->n_experts;
    for (int64_t e = 0; e < n; e++)
        watch->counts[c->watch_index * n + e] = routing->offset[e + 1] - routing->offset[e];
    sp_route_score score =
        c->net->hp->scoring_func == SP_SCORING_SIGMOID ? SP_ROUTE_SIGMOID : SP_ROUTE_SOFTMAX;
    bool by_score = c->net->hp->topk_method == SP_TOPK_NOAUX_TC;
    sp_balance balance = {score, routing->top_k, watch->n_sequences, watch->begins,
                          by_score ? NULL : routing->experts};
    sp_tensor *loss = sp_op_balance_loss(c->ops, logits, &balance);
    if (!loss) return NULL;
    watch->balance[c->watch_index] = *(const float *)loss->data;
    return watch->balance_factor != 0.0f ? sp_op_attach(c->ops, y, loss, watch->balance_factor) : y;
}

/* Every chosen expert's output, (T K, h) sorted by expert. Rows of experts that live elsewhere travel there and back. */
static sp_tensor *run_experts(const layer_ctx *c, const sp_tensor *x, const sp_routing *routing)
{
    const sp_expert_group *group = c->net->expert_group;
    const sp_exchange *exchange = NULL;
    const sp_routing *here = routing;
    sp_expert_weights w = c->w->experts;
    sp_ops *ops = c->ops;
    sp_tensor *rows; /* (N, h): of all tokens' choices, those whose expert is here */
    if (group) {
        rows = sp_op_dispatch(ops, x, routing, group, &exchange);
        here = sp_exchange_routing(exchange);
        int64_t first = here ? here->n_experts * sp_comm_rank(group->comm) : 0;
        w = (sp_expert_weights){w.gate + first, w.up + first, w.down + first};
    } else {
        rows = sp_op_gather(ops, x, routing->tokens, routing->n_tokens * routing->top_k);
    }
    sp_tensor *gated = sp_op_gated_experts(ops, rows, w.gate, w.up, here); /* (N, f) */
    sp_tensor *down = sp_op_linear_experts(ops, gated, w.down, here);
    return group ? sp_op_return(ops, down, exchange) : down;
}

/* What the next layer will probably choose: its norm and router applied to y (T, h), as much of this layer's output as is
 * known. */
static void guess_experts(const layer_ctx *c, const sp_tensor *y)
{
    const sp_net *net = c->net;
    const sp_expert_source *source = net->experts;
    int32_t next = c->watch_index + 1;
    if (!y || next >= net->hp->num_hidden_layers) return;
    const sp_layer *w = &net->weights->layers[next];
    if (!w->router || !source->wants_guess(source->ctx, next)) return;
    sp_arena_mark mark = sp_arena_save(c->ops->arena);
    sp_tensor *normed = sp_op_rms_norm(c->ops, y, w->ffn_norm, (float)net->hp->rms_norm_eps);
    sp_route route = describe_route(net->hp, w);
    sp_routing *routing = sp_op_route(c->ops, sp_op_linear_exact(c->ops, normed, w->router, NULL), &route);
    if (routing) sp_experts_guess(c->ops, net, next, routing);
    sp_ops_restore(c->ops, mark);
}

/* Ask for the experts, compute what is at hand while they come. before: (T, h) what the result is to be added to. */
static sp_tensor *mix_streamed(const layer_ctx *c, const sp_tensor *x, const sp_tensor *before,
                               const sp_routing *routing)
{
    const sp_layer *w = c->w;
    sp_ops *ops = c->ops;
    sp_expert_visit *visit = sp_experts_begin(ops, c->net, c->watch_index, routing);
    if (!visit) return NULL;
    sp_tensor *shared = w->shared.gate ? feed_forward(ops, x, &w->shared) : NULL;
    guess_experts(c, shared ? sp_op_add(ops, before, shared) : before);
    sp_tensor *down = sp_experts_run(ops, c->net, visit, x, routing); /* (T K, h) */
    sp_experts_end(c->net, visit);
    sp_tensor *y = sp_op_combine(ops, down, routing); /* (T, h) */
    return w->shared.gate ? sp_op_add(ops, y, shared) : y;
}

/* Routed experts plus the shared expert, which has no gate and no scale. */
static sp_tensor *mix_experts(const layer_ctx *c, const sp_tensor *x, const sp_tensor *before)
{
    const sp_layer *w = c->w;
    sp_ops *ops = c->ops;
    sp_tensor *logits = sp_op_linear_exact(ops, x, w->router, NULL); /* (T, E) */
    sp_route route = describe_route(c->net->hp, w);
    sp_routing *routing = sp_op_route(ops, logits, &route);
    if (!routing) return NULL;
    if (c->net->experts) return mix_streamed(c, x, before, routing);
    sp_tensor *down = run_experts(c, x, routing);                           /* (T K, h) */
    sp_tensor *combined = sp_op_combine(ops, down, routing), *y = combined; /* (T, h) */
    if (c->batch->watch && y) y = watch_experts(c, y, logits, routing);
    if (!w->shared.gate) return y;
    sp_tensor *shared = feed_forward(ops, x, &w->shared), *sum = sp_op_add(ops, y, shared);
    sp_tape_release(ops, shared);
    sp_tape_release(ops, combined);
    return sum;
}

/* x (T, h) -> (T, h): attention and feed-forward, each on the normalised input and added to it. */
static sp_tensor *run_layer(const layer_ctx *c, const sp_tensor *x)
{
    const sp_hparams *hp = c->net->hp;
    float eps = (float)hp->rms_norm_eps;
    bool latent = sp_arch_get(hp->arch)->attention == SP_ATTENTION_LATENT;
    sp_tensor *normed = sp_op_rms_norm(c->ops, x, c->w->attn_norm, eps);
    sp_tensor *part = latent ? attend_latent(c, normed) : attend_grouped(c, normed);
    sp_tensor *y = sp_op_add(c->ops, x, part);
    sp_tape_release(c->ops, part);
    if (c->net->experts && !c->w->router) guess_experts(c, y);
    normed = sp_op_rms_norm(c->ops, y, c->w->ffn_norm, eps);
    part = c->w->router ? mix_experts(c, normed, y) : feed_forward(c->ops, normed, &c->w->ffn);
    sp_tensor *out = sp_op_add(c->ops, y, part);
    sp_tape_release(c->ops, part);
    return out;
}

static sp_tensor *run_layer_again(sp_ops *ops, const sp_tensor *x, const void *ctx)
{
    layer_ctx c = *(const layer_ctx *)ctx;
    c.ops = ops;
    return run_layer(&c, x);
}

/* A layer as the batch wants its activations: all kept, or its input alone. */
static sp_tensor *pass_layer(const layer_ctx *c, const sp_tensor *x)
{
    sp_keep keep = c->batch->keep;
    sp_recompute recompute = {run_layer_again, c, sizeof *c,
                              keep == SP_KEEP_INPUTS_BF16 ? SP_RECOMPUTE_BF16 : SP_RECOMPUTE_F32};
    return keep == SP_KEEP_ALL ? run_layer(c, x) : sp_op_recompute(c->ops, x, &recompute);
}

/* A layer of which nothing but the output is kept: it goes into x, whose bytes nobody needs again. False on failure. */
static bool pass_layer_over(const layer_ctx *c, sp_tensor *x)
{
    sp_arena_mark mark = sp_arena_save(c->ops->arena);
    const sp_tensor *y = run_layer(c, x);
    if (y) memcpy(x->data, y->data, (size_t)sp_tensor_rows(x) * x->row_bytes);
    sp_ops_restore(c->ops, mark);
    return y != NULL;
}

sp_tensor *sp_net_forward(sp_ops *ops, const sp_net *net, const sp_batch *batch)
{
    sp_tensor *x = sp_op_embed(ops, net->weights->embed, batch->tokens, batch->n_tokens);
    bool over = !ops->tape && !ops->training;
    for (int32_t i = 0; i < net->hp->num_hidden_layers && x; i++) {
        layer_ctx c = {ops, net, batch, &net->weights->layers[i], i, i};
        if (!over)
            x = pass_layer(&c, x);
        else if (!pass_layer_over(&c, x))
            x = NULL;
    }
    return sp_op_rms_norm(ops, x, net->weights->norm, (float)net->hp->rms_norm_eps);
}

sp_tensor *sp_net_logits(sp_ops *ops, const sp_net *net, const sp_tensor *hidden)
{
    return sp_op_linear_exact(ops, hidden, net->weights->head, NULL);
}

/* The prediction layer's input: norms of the next token's embedding and of H, side by side, projected, (T, h). */
static sp_tensor *join_inputs(const layer_ctx *c, const sp_mtp_layer *mtp, const sp_tensor *hidden)
{
    float eps = (float)c->net->hp->rms_norm_eps;
    sp_ops *ops = c->ops;
    sp_tensor *e = sp_op_rms_norm(ops, sp_op_embed(ops, mtp->embed, c->batch->tokens, c->batch->n_tokens),
                                  mtp->enorm, eps);
    sp_tensor *h = sp_op_rms_norm(ops, hidden, mtp->hnorm, eps);
    return sp_op_linear_exact(ops, sp_op_concat(ops, e, h), mtp->eh_proj, NULL);
}

sp_tensor *sp_net_predict_hidden(sp_ops *ops, const sp_net *net, const sp_mtp_layer *mtp,
                                 const sp_tensor *hidden, const sp_batch *batch)
{
    int32_t index = net->hp->num_hidden_layers + (int32_t)(mtp - net->weights->mtp);
    layer_ctx c = {ops, net, batch, &mtp->layer, 0, index};
    sp_tensor *u = join_inputs(&c, mtp, hidden);
    sp_tensor *s = u ? pass_layer(&c, u) : NULL;
    return sp_op_rms_norm(ops, s, mtp->norm, (float)net->hp->rms_norm_eps);
}

sp_tensor *sp_net_predict_last(sp_ops *ops, const sp_net *net, const sp_mtp_layer *mtp,
                               const sp_tensor *hidden, const sp_batch *batch)
{
    float eps = (float)net->hp->rms_norm_eps;
    int32_t index = net->hp->num_hidden_layers + (int32_t)(mtp - net->weights->mtp);
    int64_t n = batch->n_tokens - 1;
    sp_stretch before = batch->stretches[0], last = {before.cache, 0, 1, before.position + n};
    sp_batch read = {batch->tokens, batch->positions, n, &before, 1, NULL, SP_KEEP_ALL};
    sp_batch one = {batch->tokens + n, batch->positions + n, 1, &last, 1, NULL, SP_KEEP_ALL};
    layer_ctx all = {ops, net, batch, &mtp->layer, 0, index}, reading = all, c = all;
    reading.batch = &read;
    c.batch = &one;
    before.n_rows = n;
    sp_tensor *u = join_inputs(&all, mtp, hidden);
    if (!u) return NULL;
    if (n > 0) {
        sp_tensor *normed = sp_op_rms_norm(ops, sp_op_rows(ops, u, 0, n), mtp->layer.attn_norm, eps);
        if (!normed || !store_keys(&reading, normed)) return NULL;
    }
    sp_tensor *s = run_layer(&c, sp_op_rows(ops, u, n, 1));
    return sp_op_rms_norm(ops, s, mtp->norm, eps);
}

sp_tensor *sp_net_predict(sp_ops *ops, const sp_net *net, const sp_mtp_layer *mtp, const sp_tensor *hidden,
                          const sp_batch *batch)
{
    return sp_op_linear_exact(ops, sp_net_predict_hidden(ops, net, mtp, hidden, batch), mtp->head, NULL);
}
