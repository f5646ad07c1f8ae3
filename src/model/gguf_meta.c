/* SPDX-License-Identifier: MIT */
/* Hyper-parameters as GGUF keys. Key names: the GGUF specification (ggml, docs/gguf.md) and llama.cpp's
 * conversion scripts. A failure is sticky, so that the lists read as tables. Start at sp_gguf_put_hparams().
 */
#include "model/gguf_meta.h"

#include <stdio.h>
#include <string.h>

typedef struct putter {
    sp_gguf_writer *writer;
    const char *prefix; /* architecture's name */
    sp_status status;
    sp_error *err;
} putter;

static const char *make_key(const putter *p, const char *key, char full[128])
{
    snprintf(full, 128, "%s.%s", p->prefix, key);
    return full;
}

static void put_count(putter *p, const char *key, int64_t value)
{
    char full[128];
    if (p->status != SP_OK) return;
    p->status = sp_gguf_put_u32(p->writer, make_key(p, key, full), (uint32_t)value, p->err);
}

static void put_real(putter *p, const char *key, double value)
{
    char full[128];
    if (p->status != SP_OK) return;
    p->status = sp_gguf_put_f32(p->writer, make_key(p, key, full), (float)value, p->err);
}

static void put_text(putter *p, const char *key, const char *value)
{
    char full[128];
    if (p->status != SP_OK) return;
    p->status = sp_gguf_put_string(p->writer, make_key(p, key, full), value, strlen(value), p->err);
}

static void put_rope(putter *p, const sp_hparams *hp)
{
    const sp_rope_scaling *rs = &hp->rope_scaling;
    put_count(p, "rope.dimension_count", sp_hparams_rope_dim(hp));
    put_real(p, "rope.freq_base", hp->rope_theta);
    if (rs->type == SP_ROPE_SCALING_LINEAR) {
        put_text(p, "rope.scaling.type", "linear");
        put_real(p, "rope.scaling.factor", rs->factor);
    }
    if (rs->type == SP_ROPE_SCALING_YARN) {
        put_text(p, "rope.scaling.type", "yarn");
        put_real(p, "rope.scaling.factor", rs->factor);
        put_count(p, "rope.scaling.original_context_length", (int64_t)rs->original_max_position_embeddings);
        put_real(p, "rope.scaling.yarn_beta_fast", rs->beta_fast);
        put_real(p, "rope.scaling.yarn_beta_slow", rs->beta_slow);
        put_real(p, "rope.scaling.yarn_log_multiplier", 0.1 * rs->mscale_all_dim);
    }
}

/* Latent attention is described as one key-value head of the compressed width, and the decompressed widths
 * under their own keys. */
static void put_latent(putter *p, const sp_hparams *hp)
{
    put_count(p, "attention.head_count_kv", 1);
    if (hp->q_lora_rank) put_count(p, "attention.q_lora_rank", hp->q_lora_rank);
    put_count(p, "attention.kv_lora_rank", hp->kv_lora_rank);
    put_count(p, "attention.key_length", hp->kv_lora_rank + hp->qk_rope_head_dim);
    put_count(p, "attention.value_length", hp->kv_lora_rank);
    put_count(p, "attention.key_length_mla", hp->qk_nope_head_dim + hp->qk_rope_head_dim);
    put_count(p, "attention.value_length_mla", hp->v_head_dim);
}

static void put_grouped(putter *p, const sp_hparams *hp)
{
    put_count(p, "attention.head_count_kv", hp->num_key_value_heads);
    put_count(p, "attention.key_length", hp->head_dim);
    put_count(p, "attention.value_length", hp->head_dim);
}

static void put_experts(putter *p, const sp_hparams *hp)
{
    char full[128];
    put_count(p, "leading_dense_block_count", hp->first_k_dense_replace);
    put_count(p, "expert_count", hp->n_routed_experts);
    put_count(p, "expert_used_count", hp->num_experts_per_tok);
    put_count(p, "expert_shared_count", hp->n_shared_experts);
    put_count(p, "expert_feed_forward_length", hp->moe_intermediate_size);
    put_real(p, "expert_weights_scale", hp->routed_scaling_factor);
    if (hp->norm_topk_prob && p->status == SP_OK) {
        p->status = sp_gguf_put_bool(p->writer, make_key(p, "expert_weights_norm", full), true, p->err);
    }
    if (sp_arch_get(hp->arch)->attention == SP_ATTENTION_LATENT) {
        put_count(p, "expert_gating_func", hp->scoring_func == SP_SCORING_SIGMOID ? 2 : 1);
    }
    if (hp->n_group > 1) {
        put_count(p, "expert_group_count", hp->n_group);
        put_count(p, "expert_group_used_count", hp->topk_group);
    }
}

sp_status sp_gguf_put_hparams(sp_gguf_writer *writer, const sp_hparams *hp, int32_t n_mtp, sp_error *err)
{
    const sp_arch_info *info = sp_arch_get(hp->arch);
    putter p = {writer, info->name, SP_OK, err};
    SP_TRY(sp_gguf_put_string(writer, "general.architecture", info->name, strlen(info->name), err));
    SP_TRY(sp_gguf_put_string(writer, "general.type", "model", 5, err));
    put_count(&p, "vocab_size", hp->vocab_size);
    put_count(&p, "context_length", hp->max_position_embeddings);
    put_count(&p, "embedding_length", hp->hidden_size);
    put_count(&p, "block_count", hp->num_hidden_layers + n_mtp);
    put_count(&p, "feed_forward_length", hp->intermediate_size);
    put_count(&p, "attention.head_count", hp->num_attention_heads);
    put_real(&p, "attention.layer_norm_rms_epsilon", hp->rms_norm_eps);
    if (info->attention == SP_ATTENTION_LATENT)
        put_latent(&p, hp);
    else
        put_grouped(&p, hp);
    put_rope(&p, hp);
    if (hp->n_routed_experts) put_experts(&p, hp);
    if (n_mtp) put_count(&p, "nextn_predict_layers", n_mtp);
    return p.status;
}
