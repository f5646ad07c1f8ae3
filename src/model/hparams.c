/* SPDX-License-Identifier: MIT */
/* Reading hyper-parameters from config.json and from GGUF metadata, and the checks that both pass through.
 * Missing keys take the published defaults; a key with an unusable value is refused by name. Start at
 * sp_hparams_from_archive(). */
#include "model/hparams.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Upper bounds, far above every published model, that keep all later products inside 64 bits. */
#define MAX_WIDTH (1 << 20)
#define MAX_LAYERS 4096
#define MAX_HEADS 4096
#define MAX_EXPERTS 4096
#define MAX_VOCAB (1 << 24)
#define MAX_CONTEXT (1 << 28)

/* --- config.json ---------------------------------------------------------------------------------------- */

/* A count from config.json: absent or null gives the fallback, anything but an integer of int32 range is
 * refused. */
static sp_status read_count(const sp_json *config, const char *key, int32_t fallback, int32_t *out,
                            sp_error *err)
{
    const sp_json *value = sp_json_get(config, key);
    *out = fallback;
    if (sp_json_typeof(value) == SP_JSON_NULL) return SP_OK;
    int64_t n = sp_json_int(value, INT64_MIN);
    if (n < 0 || n > INT32_MAX)
        return sp_fail(err, SP_E_FORMAT, "config.json: %s: expected a count from 0 to %d", key, INT32_MAX);
    *out = (int32_t)n;
    return SP_OK;
}

static sp_status read_real(const sp_json *config, const char *key, double fallback, double *out,
                           sp_error *err)
{
    const sp_json *value = sp_json_get(config, key);
    *out = fallback;
    if (sp_json_typeof(value) == SP_JSON_NULL) return SP_OK;
    double x = sp_json_real(value, NAN);
    if (!isfinite(x)) return sp_fail(err, SP_E_FORMAT, "config.json: %s: expected a number", key);
    *out = x;
    return SP_OK;
}

static sp_status read_flag(const sp_json *config, const char *key, bool *out, sp_error *err)
{
    const sp_json *value = sp_json_get(config, key);
    *out = false;
    if (sp_json_typeof(value) == SP_JSON_NULL) return SP_OK;
    if (!sp_json_is(value, SP_JSON_BOOL))
        return sp_fail(err, SP_E_FORMAT, "config.json: %s: expected true or false", key);
    *out = sp_json_bool(value, false);
    return SP_OK;
}

static sp_status parse_scaling_type(const char *type, sp_rope_scaling_type *out, sp_error *err)
{
    if (strcmp(type, "default") == 0)
        *out = SP_ROPE_SCALING_NONE;
    else if (strcmp(type, "linear") == 0)
        *out = SP_ROPE_SCALING_LINEAR;
    else if (strcmp(type, "llama3") == 0)
        *out = SP_ROPE_SCALING_LLAMA3;
    else if (strcmp(type, "yarn") == 0)
        *out = SP_ROPE_SCALING_YARN;
    else
        return sp_fail(err, SP_E_UNSUPPORTED, "config.json: rope_scaling: type \"%.64s\" is not known", type);
    return SP_OK;
}

/* `rope_scaling`, or `rope_parameters` in newer files, which also holds rope_theta. */
static sp_status read_rope(sp_hparams *hp, const sp_json *config, sp_error *err)
{
    sp_rope_scaling *rs = &hp->rope_scaling;
    SP_TRY(read_real(config, "rope_theta", 10000.0, &hp->rope_theta, err));
    const sp_json *rope = sp_json_get(config, "rope_scaling");
    if (sp_json_typeof(rope) == SP_JSON_NULL) rope = sp_json_get(config, "rope_parameters");
    if (sp_json_typeof(rope) == SP_JSON_NULL) return SP_OK;
    if (!sp_json_is(rope, SP_JSON_OBJECT))
        return sp_fail(err, SP_E_FORMAT, "config.json: rope_scaling: expected an object");
    SP_TRY(read_real(rope, "rope_theta", hp->rope_theta, &hp->rope_theta, err));
    const char *type = sp_json_string(sp_json_get(rope, "rope_type"), NULL);
    if (!type) type = sp_json_string(sp_json_get(rope, "type"), NULL);
    if (!type) return sp_fail(err, SP_E_FORMAT, "config.json: rope_scaling: expected a type");
    SP_TRY(parse_scaling_type(type, &rs->type, err));
    SP_TRY(read_real(rope, "factor", 1.0, &rs->factor, err));
    SP_TRY(read_real(rope, "original_max_position_embeddings", hp->max_position_embeddings,
                     &rs->original_max_position_embeddings, err));
    SP_TRY(read_real(rope, "beta_fast", 32.0, &rs->beta_fast, err));
    SP_TRY(read_real(rope, "beta_slow", 1.0, &rs->beta_slow, err));
    SP_TRY(read_real(rope, "mscale", 0.0, &rs->mscale, err));
    SP_TRY(read_real(rope, "mscale_all_dim", 0.0, &rs->mscale_all_dim, err));
    SP_TRY(read_real(rope, "low_freq_factor", 1.0, &rs->low_freq_factor, err));
    return read_real(rope, "high_freq_factor", 4.0, &rs->high_freq_factor, err);
}

static bool is_v3(const sp_json *config)
{
    const char *type = sp_json_string(sp_json_get(config, "model_type"), NULL);
    return type && strcmp(type, "deepseek_v3") == 0;
}

static sp_status read_router(sp_hparams *hp, const sp_json *config, sp_error *err)
{
    const char *method = sp_json_string(sp_json_get(config, "topk_method"), NULL);
    const char *scoring = sp_json_string(sp_json_get(config, "scoring_func"), NULL);
    /* Configs written by newer tools leave both out for V3; its gate is always bias-corrected sigmoid. */
    bool v3 = is_v3(config);
    if (!method) method = v3 ? "noaux_tc" : "greedy";
    if (!scoring) scoring = v3 ? "sigmoid" : "softmax";
    if (strcmp(method, "greedy") == 0)
        hp->topk_method = SP_TOPK_GREEDY;
    else if (strcmp(method, "group_limited_greedy") == 0)
        hp->topk_method = SP_TOPK_GROUP_LIMITED_GREEDY;
    else if (strcmp(method, "noaux_tc") == 0)
        hp->topk_method = SP_TOPK_NOAUX_TC;
    else
        return sp_fail(err, SP_E_UNSUPPORTED, "config.json: topk_method \"%.64s\" is not known", method);
    if (strcmp(scoring, "softmax") == 0)
        hp->scoring_func = SP_SCORING_SOFTMAX;
    else if (strcmp(scoring, "sigmoid") == 0)
        hp->scoring_func = SP_SCORING_SIGMOID;
    else
        return sp_fail(err, SP_E_UNSUPPORTED, "config.json: scoring_func \"%.64s\" is not known", scoring);
    return SP_OK;
}

static sp_status read_experts(sp_hparams *hp, const sp_json *config, sp_error *err)
{
    SP_TRY(read_count(config, "n_routed_experts", 0, &hp->n_routed_experts, err));
    if (hp->n_routed_experts == 0) return SP_OK;
    SP_TRY(read_count(config, "n_shared_experts", 0, &hp->n_shared_experts, err));
    SP_TRY(read_count(config, "num_experts_per_tok", 0, &hp->num_experts_per_tok, err));
    SP_TRY(read_count(config, "moe_intermediate_size", 0, &hp->moe_intermediate_size, err));
    SP_TRY(read_count(config, "first_k_dense_replace", 0, &hp->first_k_dense_replace, err));
    SP_TRY(read_count(config, "moe_layer_freq", 1, &hp->moe_layer_freq, err));
    SP_TRY(read_count(config, "n_group", 1, &hp->n_group, err));
    SP_TRY(read_count(config, "topk_group", 1, &hp->topk_group, err));
    SP_TRY(read_flag(config, "norm_topk_prob", &hp->norm_topk_prob, err));
    if (!sp_json_get(config, "norm_topk_prob"))
        hp->norm_topk_prob = is_v3(config); /* the vendor's defaults */
    SP_TRY(read_real(config, "routed_scaling_factor", 1.0, &hp->routed_scaling_factor, err));
    return read_router(hp, config, err);
}

static sp_status read_latent(sp_hparams *hp, const sp_json *config, sp_error *err)
{
    SP_TRY(read_count(config, "q_lora_rank", 0, &hp->q_lora_rank, err));
    SP_TRY(read_count(config, "kv_lora_rank", 0, &hp->kv_lora_rank, err));
    SP_TRY(read_count(config, "qk_nope_head_dim", 0, &hp->qk_nope_head_dim, err));
    SP_TRY(read_count(config, "qk_rope_head_dim", 0, &hp->qk_rope_head_dim, err));
    SP_TRY(read_count(config, "v_head_dim", 0, &hp->v_head_dim, err));
    const sp_json *interleave = sp_json_get(config, "rope_interleave");
    hp->rope_interleaved = sp_json_bool(interleave, true);
    return SP_OK;
}

static void set_defaults(sp_hparams *hp)
{
    memset(hp, 0, sizeof *hp);
    hp->moe_layer_freq = 1;
    hp->n_group = 1;
    hp->topk_group = 1;
    hp->routed_scaling_factor = 1.0;
    hp->rope_scaling.factor = 1.0;
}

static sp_status check_hparams(const sp_hparams *hp, sp_error *err);

sp_status sp_hparams_from_config(sp_hparams *hp, const sp_json *config, sp_error *err)
{
    set_defaults(hp);
    if (!sp_json_is(config, SP_JSON_OBJECT))
        return sp_fail(err, SP_E_FORMAT, "config.json: expected an object");
    const char *model_type = sp_json_string(sp_json_get(config, "model_type"), NULL);
    if (!model_type) return sp_fail(err, SP_E_FORMAT, "config.json: model_type is missing");
    SP_TRY(sp_arch_by_model_type(model_type, &hp->arch, err));
    const char *act = sp_json_string(sp_json_get(config, "hidden_act"), NULL);
    if (act && strcmp(act, "silu") != 0)
        return sp_fail(err, SP_E_UNSUPPORTED, "config.json: hidden_act: expected \"silu\", found \"%.64s\"",
                       act);
    bool mlp_bias;
    SP_TRY(read_flag(config, "mlp_bias", &mlp_bias, err));
    if (mlp_bias) return sp_fail(err, SP_E_UNSUPPORTED, "config.json: mlp_bias is not supported");
    SP_TRY(read_count(config, "hidden_size", 0, &hp->hidden_size, err));
    SP_TRY(read_count(config, "intermediate_size", 0, &hp->intermediate_size, err));
    SP_TRY(read_count(config, "num_hidden_layers", 0, &hp->num_hidden_layers, err));
    SP_TRY(read_count(config, "num_attention_heads", 0, &hp->num_attention_heads, err));
    SP_TRY(read_count(config, "num_key_value_heads", hp->num_attention_heads, &hp->num_key_value_heads, err));
    SP_TRY(read_count(config, "vocab_size", 0, &hp->vocab_size, err));
    SP_TRY(read_count(config, "max_position_embeddings", 4096, &hp->max_position_embeddings, err));
    SP_TRY(read_count(config, "num_nextn_predict_layers", 0, &hp->num_nextn_predict_layers, err));
    int32_t head_dim = hp->num_attention_heads ? hp->hidden_size / hp->num_attention_heads : 0;
    SP_TRY(read_count(config, "head_dim", head_dim, &hp->head_dim, err));
    SP_TRY(read_real(config, "rms_norm_eps", 1e-6, &hp->rms_norm_eps, err));
    SP_TRY(read_flag(config, "tie_word_embeddings", &hp->tie_word_embeddings, err));
    SP_TRY(read_flag(config, "attention_bias", &hp->attention_bias, err));
    SP_TRY(read_rope(hp, config, err));
    const sp_arch_info *info = sp_arch_get(hp->arch);
    if (info->attention == SP_ATTENTION_LATENT) SP_TRY(read_latent(hp, config, err));
    if (info->experts) SP_TRY(read_experts(hp, config, err));
    return check_hparams(hp, err);
}

/* --- GGUF metadata -------------------------------------------------------------------------------------- */

typedef struct gguf_reader {
    const sp_gguf *gguf;
    const char *prefix; /* the architecture's name */
    sp_error *err;
} gguf_reader;

static void make_key(const gguf_reader *r, const char *key, char out[128])
{
    snprintf(out, 128, "%s.%s", r->prefix, key);
}

static sp_status get_count(const gguf_reader *r, const char *key, int32_t fallback, int32_t *out)
{
    char full[128];
    make_key(r, key, full);
    *out = fallback;
    const sp_gguf_kv *kv = sp_gguf_find(r->gguf, full);
    if (!kv) return SP_OK;
    int64_t n = -1;
    /* some writers store one value per layer; equal values mean the same as one */
    if (kv->type == SP_GGUF_ARRAY && kv->item_type != SP_GGUF_STRING && kv->item_type != SP_GGUF_ARRAY &&
        kv->count > 0) {
        n = sp_gguf_item_int(kv, 0);
        for (uint64_t i = 1; i < kv->count; i++)
            if (sp_gguf_item_int(kv, i) != n)
                return sp_fail(r->err, SP_E_UNSUPPORTED, "gguf: %s differs between layers", full);
    } else if (!sp_gguf_int(r->gguf, full, &n)) {
        return sp_fail(r->err, SP_E_FORMAT, "gguf: %s: expected an integer", full);
    }
    if (n < 0 || n > INT32_MAX)
        return sp_fail(r->err, SP_E_FORMAT, "gguf: %s: %lld is out of range", full, (long long)n);
    *out = (int32_t)n;
    return SP_OK;
}

static sp_status get_real(const gguf_reader *r, const char *key, double fallback, double *out)
{
    char full[128];
    make_key(r, key, full);
    *out = fallback;
    if (!sp_gguf_find(r->gguf, full)) return SP_OK;
    int64_t n;
    if (sp_gguf_int(r->gguf, full, &n))
        *out = (double)n;
    else if (!sp_gguf_real(r->gguf, full, out))
        return sp_fail(r->err, SP_E_FORMAT, "gguf: %s: expected a number", full);
    return isfinite(*out) ? SP_OK : sp_fail(r->err, SP_E_FORMAT, "gguf: %s is not finite", full);
}

static bool string_is(sp_gguf_string s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

static sp_status get_rope(sp_hparams *hp, const gguf_reader *r)
{
    sp_rope_scaling *rs = &hp->rope_scaling;
    char key[128];
    sp_gguf_string type;
    SP_TRY(get_real(r, "rope.freq_base", 10000.0, &hp->rope_theta));
    double old_linear, log_multiplier;
    SP_TRY(get_real(r, "rope.scale_linear", 1.0, &old_linear));
    SP_TRY(get_real(r, "rope.scaling.factor", old_linear, &rs->factor));
    make_key(r, "rope.scaling.type", key);
    if (sp_gguf_str(r->gguf, key, &type)) {
        if (string_is(type, "none"))
            rs->type = SP_ROPE_SCALING_NONE;
        else if (string_is(type, "linear"))
            rs->type = SP_ROPE_SCALING_LINEAR;
        else if (string_is(type, "yarn"))
            rs->type = SP_ROPE_SCALING_YARN;
        else
            return sp_fail(r->err, SP_E_UNSUPPORTED, "gguf: %s \"%.*s\" is not known", key,
                           (int)(type.len > 64 ? 64 : type.len), type.data);
    } else if (rs->factor != 1.0) {
        rs->type = SP_ROPE_SCALING_LINEAR; /* the field's default when only a factor is given */
    }
    SP_TRY(get_real(r, "rope.scaling.original_context_length", hp->max_position_embeddings,
                    &rs->original_max_position_embeddings));
    SP_TRY(get_real(r, "rope.scaling.yarn_beta_fast", 32.0, &rs->beta_fast));
    SP_TRY(get_real(r, "rope.scaling.yarn_beta_slow", 1.0, &rs->beta_slow));
    SP_TRY(get_real(r, "rope.scaling.yarn_log_multiplier", 0.0, &log_multiplier));
    /* GGUF keeps 0.1 mscale_all_dim; mscale is equal to it in every published config */
    rs->mscale_all_dim = log_multiplier * 10.0;
    rs->mscale = rs->mscale_all_dim;
    return SP_OK;
}

static sp_status get_latent(sp_hparams *hp, const gguf_reader *r)
{
    int32_t key_mla, value_mla;
    SP_TRY(get_count(r, "attention.q_lora_rank", 0, &hp->q_lora_rank));
    SP_TRY(get_count(r, "attention.kv_lora_rank", 0, &hp->kv_lora_rank));
    SP_TRY(get_count(r, "rope.dimension_count", 64, &hp->qk_rope_head_dim));
    SP_TRY(get_count(r, "attention.key_length", 0, &key_mla));
    SP_TRY(get_count(r, "attention.value_length", 0, &value_mla));
    SP_TRY(get_count(r, "attention.key_length_mla", key_mla, &key_mla)); /* files with split k_b and v_b */
    SP_TRY(get_count(r, "attention.value_length_mla", value_mla, &value_mla));
    hp->qk_nope_head_dim = key_mla - hp->qk_rope_head_dim;
    hp->v_head_dim = value_mla;
    hp->rope_interleaved = true;
    hp->num_key_value_heads = hp->num_attention_heads;
    return SP_OK;
}

/* Files older than the group keys hold V3's shape without them: 256 sigmoid experts always mean 8 groups, 4
 * used. */
static void restore_v3_groups(sp_hparams *hp, int32_t groups_in_file)
{
    if (groups_in_file == 0 && hp->scoring_func == SP_SCORING_SIGMOID && hp->n_routed_experts == 256) {
        hp->n_group = 8;
        hp->topk_group = 4;
    }
    /* likewise V2: 160 softmax experts, 8 groups, 3 used */
    if (groups_in_file == 0 && hp->scoring_func == SP_SCORING_SOFTMAX && hp->n_routed_experts == 160) {
        hp->n_group = 8;
        hp->topk_group = 3;
    }
}

static sp_status get_experts(sp_hparams *hp, const gguf_reader *r)
{
    int32_t gating, groups;
    char key[128];
    SP_TRY(get_count(r, "expert_count", 0, &hp->n_routed_experts));
    if (hp->n_routed_experts == 0) return SP_OK;
    SP_TRY(get_count(r, "expert_shared_count", 0, &hp->n_shared_experts));
    SP_TRY(get_count(r, "expert_used_count", 0, &hp->num_experts_per_tok));
    SP_TRY(get_count(r, "expert_feed_forward_length", 0, &hp->moe_intermediate_size));
    SP_TRY(get_count(r, "leading_dense_block_count", 0, &hp->first_k_dense_replace));
    SP_TRY(get_real(r, "expert_weights_scale", 1.0, &hp->routed_scaling_factor));
    if (hp->routed_scaling_factor == 0.0) hp->routed_scaling_factor = 1.0; /* old files wrote 0 for "none" */
    make_key(r, "expert_weights_norm", key);
    sp_gguf_bool(r->gguf, key, &hp->norm_topk_prob);
    SP_TRY(get_count(r, "expert_gating_func", 1, &gating));
    if (gating > 2)
        return sp_fail(r->err, SP_E_UNSUPPORTED, "gguf: expert_gating_func %d is not supported", gating);
    hp->scoring_func = gating == 2 ? SP_SCORING_SIGMOID : SP_SCORING_SOFTMAX;
    SP_TRY(get_count(r, "expert_group_count", 0, &groups));
    hp->n_group = groups ? groups : 1;
    SP_TRY(get_count(r, "expert_group_used_count", 1, &hp->topk_group));
    if (hp->topk_group == 0) hp->topk_group = 1;
    restore_v3_groups(hp, groups);
    if (hp->scoring_func == SP_SCORING_SIGMOID)
        hp->topk_method = SP_TOPK_NOAUX_TC;
    else
        hp->topk_method = hp->n_group > 1 ? SP_TOPK_GROUP_LIMITED_GREEDY : SP_TOPK_GREEDY;
    return SP_OK;
}

static sp_status get_vocab_size(sp_hparams *hp, const gguf_reader *r)
{
    int32_t n_tokens = 0;
    const sp_gguf_kv *tokens = sp_gguf_find(r->gguf, "tokenizer.ggml.tokens");
    if (tokens && tokens->type == SP_GGUF_ARRAY && tokens->count <= MAX_VOCAB)
        n_tokens = (int32_t)tokens->count;
    return get_count(r, "vocab_size", n_tokens, &hp->vocab_size);
}

sp_status sp_hparams_from_gguf(sp_hparams *hp, const sp_gguf *gguf, sp_error *err)
{
    set_defaults(hp);
    sp_gguf_string name;
    if (!sp_gguf_str(gguf, "general.architecture", &name))
        return sp_fail(err, SP_E_FORMAT, "gguf: general.architecture is missing");
    SP_TRY(sp_arch_by_gguf_name(name.data, (size_t)name.len, &hp->arch, err));
    const sp_arch_info *info = sp_arch_get(hp->arch);
    const gguf_reader r = {gguf, info->name, err};
    int32_t n_blocks;
    SP_TRY(get_count(&r, "embedding_length", 0, &hp->hidden_size));
    SP_TRY(get_count(&r, "feed_forward_length", 0, &hp->intermediate_size));
    SP_TRY(get_count(&r, "block_count", 0, &n_blocks));
    SP_TRY(get_count(&r, "nextn_predict_layers", 0, &hp->num_nextn_predict_layers));
    if (hp->num_nextn_predict_layers > n_blocks)
        return sp_fail(err, SP_E_FORMAT, "gguf: nextn_predict_layers %d exceeds block_count %d",
                       hp->num_nextn_predict_layers, n_blocks);
    hp->num_hidden_layers = n_blocks - hp->num_nextn_predict_layers;
    SP_TRY(get_count(&r, "attention.head_count", 0, &hp->num_attention_heads));
    SP_TRY(get_count(&r, "attention.head_count_kv", hp->num_attention_heads, &hp->num_key_value_heads));
    SP_TRY(get_count(&r, "context_length", 4096, &hp->max_position_embeddings));
    int32_t head_dim = hp->num_attention_heads ? hp->hidden_size / hp->num_attention_heads : 0;
    SP_TRY(get_count(&r, "attention.key_length", head_dim, &hp->head_dim));
    SP_TRY(get_real(&r, "attention.layer_norm_rms_epsilon", 1e-6, &hp->rms_norm_eps));
    SP_TRY(get_vocab_size(hp, &r));
    SP_TRY(get_rope(hp, &r));
    hp->rope_interleaved = info->gguf_permuted;
    if (info->attention == SP_ATTENTION_LATENT) SP_TRY(get_latent(hp, &r));
    if (info->experts) SP_TRY(get_experts(hp, &r));
    return check_hparams(hp, err);
}

sp_status sp_hparams_from_archive(sp_hparams *hp, const sp_archive *archive, sp_error *err)
{
    if (sp_archive_container(archive) == SP_CONTAINER_HF)
        return sp_hparams_from_config(hp, sp_archive_config(archive), err);
    return sp_hparams_from_gguf(hp, sp_archive_gguf(archive), err);
}

/* --- checks --------------------------------------------------------------------------------------------- */

static sp_status check_range(const char *key, int32_t value, int32_t low, int32_t high, sp_error *err)
{
    if (value >= low && value <= high) return SP_OK;
    return sp_fail(err, SP_E_FORMAT, "model: %s: expected %d to %d, found %d", key, low, high, value);
}

static sp_status check_rope(const sp_hparams *hp, sp_error *err)
{
    const sp_rope_scaling *rs = &hp->rope_scaling;
    if (!(hp->rope_theta > 1.0))
        return sp_fail(err, SP_E_FORMAT, "model: rope_theta: expected more than 1, found %g", hp->rope_theta);
    if (sp_hparams_rope_dim(hp) % 2 != 0)
        return sp_fail(err, SP_E_FORMAT, "model: the rotated width %d is odd", sp_hparams_rope_dim(hp));
    if (rs->type == SP_ROPE_SCALING_NONE) return SP_OK;
    if (!(rs->factor > 0.0))
        return sp_fail(err, SP_E_FORMAT, "model: rope_scaling factor: expected more than 0, found %g",
                       rs->factor);
    if (rs->type == SP_ROPE_SCALING_LINEAR) return SP_OK;
    if (!(rs->original_max_position_embeddings >= 1.0))
        return sp_fail(err, SP_E_FORMAT,
                       "model: rope_scaling original_max_position_embeddings: expected 1 or more");
    if (rs->type == SP_ROPE_SCALING_YARN && !(rs->beta_fast > 0.0 && rs->beta_slow > 0.0))
        return sp_fail(err, SP_E_FORMAT, "model: rope_scaling beta_fast and beta_slow: expected more than 0");
    if (rs->type == SP_ROPE_SCALING_LLAMA3 &&
        !(rs->low_freq_factor > 0.0 && rs->high_freq_factor > rs->low_freq_factor))
        return sp_fail(err, SP_E_FORMAT,
                       "model: rope_scaling: expected 0 < low_freq_factor < high_freq_factor");
    return SP_OK;
}

static sp_status check_experts(const sp_hparams *hp, sp_error *err)
{
    if (hp->n_routed_experts == 0) return SP_OK;
    SP_TRY(check_range("n_routed_experts", hp->n_routed_experts, 1, MAX_EXPERTS, err));
    SP_TRY(check_range("num_experts_per_tok", hp->num_experts_per_tok, 1, hp->n_routed_experts, err));
    SP_TRY(check_range("n_shared_experts", hp->n_shared_experts, 0, MAX_EXPERTS, err));
    SP_TRY(check_range("moe_intermediate_size", hp->moe_intermediate_size, 1, MAX_WIDTH, err));
    SP_TRY(check_range("moe_layer_freq", hp->moe_layer_freq, 1, MAX_LAYERS, err));
    SP_TRY(check_range("n_group", hp->n_group, 1, hp->n_routed_experts, err));
    SP_TRY(check_range("topk_group", hp->topk_group, 1, hp->n_group, err));
    if (hp->n_routed_experts % hp->n_group != 0)
        return sp_fail(err, SP_E_FORMAT, "model: %d experts do not divide into %d groups",
                       hp->n_routed_experts, hp->n_group);
    int32_t reachable = hp->n_routed_experts / hp->n_group * hp->topk_group;
    if (hp->topk_method != SP_TOPK_GREEDY && reachable < hp->num_experts_per_tok)
        return sp_fail(err, SP_E_FORMAT, "model: %d experts per token, but the chosen groups hold %d",
                       hp->num_experts_per_tok, reachable);
    return SP_OK;
}

static sp_status check_latent(const sp_hparams *hp, sp_error *err)
{
    SP_TRY(check_range("kv_lora_rank", hp->kv_lora_rank, 1, MAX_WIDTH, err));
    SP_TRY(check_range("q_lora_rank", hp->q_lora_rank, 0, MAX_WIDTH, err));
    SP_TRY(check_range("qk_nope_head_dim", hp->qk_nope_head_dim, 1, MAX_WIDTH, err));
    SP_TRY(check_range("qk_rope_head_dim", hp->qk_rope_head_dim, 2, MAX_WIDTH, err));
    SP_TRY(check_range("v_head_dim", hp->v_head_dim, 1, MAX_WIDTH, err));
    if (hp->attention_bias)
        return sp_fail(err, SP_E_UNSUPPORTED, "model: attention_bias is not supported with latent attention");
    return SP_OK;
}

static sp_status check_hparams(const sp_hparams *hp, sp_error *err)
{
    SP_TRY(check_range("hidden_size", hp->hidden_size, 1, MAX_WIDTH, err));
    SP_TRY(check_range("intermediate_size", hp->intermediate_size, 1, MAX_WIDTH, err));
    SP_TRY(check_range("num_hidden_layers", hp->num_hidden_layers, 1, MAX_LAYERS, err));
    SP_TRY(check_range("num_attention_heads", hp->num_attention_heads, 1, MAX_HEADS, err));
    SP_TRY(check_range("num_key_value_heads", hp->num_key_value_heads, 1, hp->num_attention_heads, err));
    SP_TRY(check_range("vocab_size", hp->vocab_size, 1, MAX_VOCAB, err));
    SP_TRY(check_range("max_position_embeddings", hp->max_position_embeddings, 1, MAX_CONTEXT, err));
    SP_TRY(check_range("num_nextn_predict_layers", hp->num_nextn_predict_layers, 0, 16, err));
    if (hp->num_attention_heads % hp->num_key_value_heads != 0)
        return sp_fail(err, SP_E_FORMAT, "model: %d heads do not divide over %d key-value heads",
                       hp->num_attention_heads, hp->num_key_value_heads);
    if (!(hp->rms_norm_eps >= 0.0 && hp->rms_norm_eps < 1.0))
        return sp_fail(err, SP_E_FORMAT, "model: rms_norm_eps: expected 0 to 1, found %g", hp->rms_norm_eps);
    if (sp_arch_get(hp->arch)->attention == SP_ATTENTION_LATENT)
        SP_TRY(check_latent(hp, err));
    else
        SP_TRY(check_range("head_dim", hp->head_dim, 1, MAX_WIDTH, err));
    SP_TRY(check_rope(hp, err));
    return check_experts(hp, err);
}
