/* SPDX-License-Identifier: MIT */
/* The layout table, block by block, in the order in which files are written. A failure is sticky, so that the
 * lists read as tables. Names and shapes: llama.cpp's gguf-py constants and conversion scripts. Start at
 * sp_layout_build(). */
#include "model/layout.h"

#include <stdio.h>
#include <string.h>

#define MAX_ITEMS ((size_t)1 << 18)

typedef struct builder {
    sp_layout *layout;
    const sp_hparams *hp;
    int32_t layer; /* -1 for global tensors */
    sp_status status;
    sp_error *err;
    sp_layout_item ignored; /* written to after a failure, never read */
} builder;

static sp_layout_item *add(builder *b, const char *gguf, const char *hf, sp_layout_kind kind,
                           const int64_t shape[3])
{
    sp_layout *l = b->layout;
    if (b->status != SP_OK) return &b->ignored;
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 256;
        sp_layout_item *more = cap <= MAX_ITEMS ? sp_realloc_array(l->items, cap, sizeof *more) : NULL;
        if (!more) {
            b->status = sp_fail_nomem(b->err, "tensor layout", cap * sizeof *more);
            return &b->ignored;
        }
        l->items = more;
        l->cap = cap;
    }
    sp_layout_item *item = &l->items[l->n++];
    memset(item, 0, sizeof *item);
    item->kind = kind;
    for (int i = 0; i < 3 && shape[i]; i++) item->shape[item->n_dims++] = shape[i];
    if (b->layer < 0) {
        snprintf(item->name, sizeof item->name, "%s", gguf);
        snprintf(item->source, sizeof item->source, "%s", hf);
    } else {
        snprintf(item->name, sizeof item->name, "blk.%d.%s", b->layer, gguf);
        snprintf(item->source, sizeof item->source, "model.layers.%d.%s", b->layer, hf);
    }
    return item;
}

#define SHAPE(...) ((const int64_t[3]){__VA_ARGS__})
#define COPY SP_LAYOUT_COPY

static void add_grouped(builder *b)
{
    const sp_hparams *hp = b->hp;
    const sp_arch_info *info = sp_arch_get(hp->arch);
    int64_t h = hp->hidden_size, q = (int64_t)hp->num_attention_heads * hp->head_dim,
            kv = (int64_t)hp->num_key_value_heads * hp->head_dim;
    sp_layout_kind kind = info->gguf_permuted ? SP_LAYOUT_PERMUTE : COPY;
    bool biased = info->qkv_bias || hp->attention_bias;
    add(b, "attn_q.weight", "self_attn.q_proj.weight", kind, SHAPE(q, h))->heads = hp->num_attention_heads;
    add(b, "attn_k.weight", "self_attn.k_proj.weight", kind, SHAPE(kv, h))->heads = hp->num_key_value_heads;
    add(b, "attn_v.weight", "self_attn.v_proj.weight", COPY, SHAPE(kv, h));
    sp_layout_item *bias = add(b, "attn_q.bias", "self_attn.q_proj.bias", kind, SHAPE(q));
    bias->heads = hp->num_attention_heads;
    bias->optional = !biased;
    bias = add(b, "attn_k.bias", "self_attn.k_proj.bias", kind, SHAPE(kv));
    bias->heads = hp->num_key_value_heads;
    bias->optional = !biased;
    add(b, "attn_v.bias", "self_attn.v_proj.bias", COPY, SHAPE(kv))->optional = !biased;
    add(b, "attn_output.bias", "self_attn.o_proj.bias", COPY, SHAPE(h))->optional = true;
    add(b, "attn_output.weight", "self_attn.o_proj.weight", COPY, SHAPE(h, q));
    if (!info->qk_norm) return;
    add(b, "attn_q_norm.weight", "self_attn.q_norm.weight", COPY, SHAPE(hp->head_dim));
    add(b, "attn_k_norm.weight", "self_attn.k_norm.weight", COPY, SHAPE(hp->head_dim));
}

static void add_latent(builder *b)
{
    const sp_hparams *hp = b->hp;
    int64_t h = hp->hidden_size, nh = hp->num_attention_heads, c = hp->kv_lora_rank, ql = hp->q_lora_rank;
    int64_t n = hp->qk_nope_head_dim, r = hp->qk_rope_head_dim, vd = hp->v_head_dim;
    if (ql) {
        add(b, "attn_q_a.weight", "self_attn.q_a_proj.weight", COPY, SHAPE(ql, h));
        add(b, "attn_q_a_norm.weight", "self_attn.q_a_layernorm.weight", COPY, SHAPE(ql));
        add(b, "attn_q_b.weight", "self_attn.q_b_proj.weight", COPY, SHAPE(nh * (n + r), ql));
    } else {
        add(b, "attn_q.weight", "self_attn.q_proj.weight", COPY, SHAPE(nh * (n + r), h));
    }
    add(b, "attn_kv_a_mqa.weight", "self_attn.kv_a_proj_with_mqa.weight", COPY, SHAPE(c + r, h));
    add(b, "attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight", COPY, SHAPE(c));
    add(b, "attn_k_b.weight", "self_attn.kv_b_proj.weight", SP_LAYOUT_K_B, SHAPE(nh, c, n));
    add(b, "attn_v_b.weight", "self_attn.kv_b_proj.weight", SP_LAYOUT_V_B, SHAPE(nh, vd, c));
    add(b, "attn_output.weight", "self_attn.o_proj.weight", COPY, SHAPE(h, nh * vd));
}

static void add_dense(builder *b)
{
    int64_t h = b->hp->hidden_size, f = b->hp->intermediate_size;
    add(b, "ffn_gate.weight", "mlp.gate_proj.weight", COPY, SHAPE(f, h));
    add(b, "ffn_up.weight", "mlp.up_proj.weight", COPY, SHAPE(f, h));
    add(b, "ffn_down.weight", "mlp.down_proj.weight", COPY, SHAPE(h, f));
}

static void add_experts(builder *b)
{
    const sp_hparams *hp = b->hp;
    int64_t h = hp->hidden_size, e = hp->n_routed_experts, f = hp->moe_intermediate_size,
            fs = f * hp->n_shared_experts;
    add(b, "ffn_gate_inp.weight", "mlp.gate.weight", COPY, SHAPE(e, h));
    if (hp->topk_method == SP_TOPK_NOAUX_TC) {
        add(b, "exp_probs_b.bias", "mlp.gate.e_score_correction_bias", COPY, SHAPE(e));
    }
    add(b, "ffn_gate_exps.weight", "mlp.experts.%.gate_proj.weight", SP_LAYOUT_EXPERTS, SHAPE(e, f, h));
    add(b, "ffn_up_exps.weight", "mlp.experts.%.up_proj.weight", SP_LAYOUT_EXPERTS, SHAPE(e, f, h));
    add(b, "ffn_down_exps.weight", "mlp.experts.%.down_proj.weight", SP_LAYOUT_EXPERTS, SHAPE(e, h, f));
    if (hp->n_shared_experts == 0) return;
    add(b, "ffn_gate_shexp.weight", "mlp.shared_experts.gate_proj.weight", COPY, SHAPE(fs, h));
    add(b, "ffn_up_shexp.weight", "mlp.shared_experts.up_proj.weight", COPY, SHAPE(fs, h));
    add(b, "ffn_down_shexp.weight", "mlp.shared_experts.down_proj.weight", COPY, SHAPE(h, fs));
}

static void add_layer(builder *b, int32_t layer)
{
    int64_t h = b->hp->hidden_size;
    b->layer = layer;
    add(b, "attn_norm.weight", "input_layernorm.weight", COPY, SHAPE(h));
    if (sp_arch_get(b->hp->arch)->attention == SP_ATTENTION_LATENT)
        add_latent(b);
    else
        add_grouped(b);
    add(b, "ffn_norm.weight", "post_attention_layernorm.weight", COPY, SHAPE(h));
    if (sp_hparams_is_expert_layer(b->hp, layer))
        add_experts(b);
    else
        add_dense(b);
}

/* Embedding and head of a prediction layer are mostly copies of the model's own; then they are left out. */
static void add_mtp(builder *b, int32_t layer)
{
    int64_t h = b->hp->hidden_size, v = b->hp->vocab_size;
    add_layer(b, layer);
    add(b, "nextn.eh_proj.weight", "eh_proj.weight", COPY, SHAPE(h, 2 * h));
    add(b, "nextn.enorm.weight", "enorm.weight", COPY, SHAPE(h));
    add(b, "nextn.hnorm.weight", "hnorm.weight", COPY, SHAPE(h));
    add(b, "nextn.shared_head_norm.weight", "shared_head.norm.weight", COPY, SHAPE(h))->optional = true;
    sp_layout_item *embed = add(b, "nextn.embed_tokens.weight", "embed_tokens.weight", COPY, SHAPE(v, h));
    embed->optional = embed->copy_of_global = true;
    sp_layout_item *head =
        add(b, "nextn.shared_head_head.weight", "shared_head.head.weight", COPY, SHAPE(v, h));
    head->optional = head->copy_of_global = true;
}

static sp_status check_expressible(const sp_hparams *hp, sp_error *err)
{
    const sp_rope_scaling *rs = &hp->rope_scaling;
    if (hp->n_routed_experts && hp->moe_layer_freq != 1) {
        return sp_fail(err, SP_E_UNSUPPORTED, "GGUF has no key for moe_layer_freq %d", hp->moe_layer_freq);
    }
    if (sp_arch_get(hp->arch)->attention == SP_ATTENTION_LATENT && !hp->rope_interleaved) {
        return sp_fail(err, SP_E_UNSUPPORTED,
                       "GGUF has no key for latent attention with half-split rotation");
    }
    if (rs->type == SP_ROPE_SCALING_YARN && rs->mscale != rs->mscale_all_dim) {
        return sp_fail(err, SP_E_UNSUPPORTED,
                       "GGUF has no key for a rope_scaling with mscale %g and mscale_all_dim %g", rs->mscale,
                       rs->mscale_all_dim);
    }
    if (rs->type == SP_ROPE_SCALING_LLAMA3 && sp_hparams_rope_dim(hp) / 2 > SP_LAYOUT_MAX_DIVISORS) {
        return sp_fail(err, SP_E_LIMIT, "head_dim %d is too large for llama3 scaling",
                       sp_hparams_rope_dim(hp));
    }
    return SP_OK;
}

sp_status sp_layout_build(sp_layout *layout, const sp_hparams *hp, int32_t n_mtp, sp_error *err)
{
    memset(layout, 0, sizeof *layout);
    SP_TRY(check_expressible(hp, err));
    builder b = {.layout = layout, .hp = hp, .layer = -1, .status = SP_OK, .err = err};
    int64_t h = hp->hidden_size, v = hp->vocab_size;
    if (hp->rope_scaling.type == SP_ROPE_SCALING_LLAMA3) {
        add(&b, "rope_freqs.weight", "", SP_LAYOUT_DIVISORS, SHAPE(sp_hparams_rope_dim(hp) / 2));
    }
    add(&b, "token_embd.weight", "model.embed_tokens.weight", COPY, SHAPE(v, h));
    for (int32_t i = 0; i < hp->num_hidden_layers; i++) add_layer(&b, i);
    for (int32_t i = 0; i < n_mtp; i++) add_mtp(&b, hp->num_hidden_layers + i);
    b.layer = -1;
    add(&b, "output_norm.weight", "model.norm.weight", COPY, SHAPE(h));
    if (!hp->tie_word_embeddings) add(&b, "output.weight", "lm_head.weight", COPY, SHAPE(v, h));
    if (b.status != SP_OK) sp_layout_clear(layout);
    return b.status;
}

void sp_layout_clear(sp_layout *layout)
{
    sp_free(layout->items);
    memset(layout, 0, sizeof *layout);
}

void sp_layout_divisors(const sp_hparams *hp, float *divisors)
{
    sp_hparams plain = *hp;
    plain.rope_scaling.type = SP_ROPE_SCALING_NONE;
    double one[SP_LAYOUT_MAX_DIVISORS], scaled[SP_LAYOUT_MAX_DIVISORS];
    sp_hparams_rope_frequencies(&plain, one);
    sp_hparams_rope_frequencies(hp, scaled);
    for (int32_t i = 0; i < sp_hparams_rope_dim(hp) / 2; i++) divisors[i] = (float)(one[i] / scaled[i]);
}
