/* SPDX-License-Identifier: MIT */
/* Writing config.json: one table of hyper-parameters serves the file and the hash. Keys and their meaning: the published
 * configurations and transformers' configuration classes. Start at sp_config_write(). */
#include "model/config_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "text/tokenizer.h"

typedef enum field_type { FIELD_COUNT, FIELD_REAL, FIELD_FLAG } field_type;

/* Which models have a field. */
typedef enum field_scope { EVERY, GROUPED, LATENT, EXPERTS } field_scope;

typedef struct field {
    const char *key;
    field_type type;
    field_scope scope;
    size_t offset;
} field;

#define FIELD(name, type, scope)                                                                             \
    {                                                                                                        \
#name, type, scope, offsetof(sp_hparams, name)                                                       \
    }

static const field fields[] = {
    FIELD(vocab_size, FIELD_COUNT, EVERY),
    FIELD(hidden_size, FIELD_COUNT, EVERY),
    FIELD(intermediate_size, FIELD_COUNT, EVERY),
    FIELD(num_hidden_layers, FIELD_COUNT, EVERY),
    FIELD(num_attention_heads, FIELD_COUNT, EVERY),
    FIELD(num_key_value_heads, FIELD_COUNT, EVERY),
    FIELD(head_dim, FIELD_COUNT, GROUPED),
    FIELD(max_position_embeddings, FIELD_COUNT, EVERY),
    FIELD(rms_norm_eps, FIELD_REAL, EVERY),
    FIELD(rope_theta, FIELD_REAL, EVERY),
    FIELD(tie_word_embeddings, FIELD_FLAG, EVERY),
    FIELD(attention_bias, FIELD_FLAG, EVERY),
    FIELD(num_nextn_predict_layers, FIELD_COUNT, EVERY),
    FIELD(q_lora_rank, FIELD_COUNT, LATENT),
    FIELD(kv_lora_rank, FIELD_COUNT, LATENT),
    FIELD(qk_nope_head_dim, FIELD_COUNT, LATENT),
    FIELD(qk_rope_head_dim, FIELD_COUNT, LATENT),
    FIELD(v_head_dim, FIELD_COUNT, LATENT),
    FIELD(n_routed_experts, FIELD_COUNT, EXPERTS),
    FIELD(n_shared_experts, FIELD_COUNT, EXPERTS),
    FIELD(num_experts_per_tok, FIELD_COUNT, EXPERTS),
    FIELD(moe_intermediate_size, FIELD_COUNT, EXPERTS),
    FIELD(first_k_dense_replace, FIELD_COUNT, EXPERTS),
    FIELD(moe_layer_freq, FIELD_COUNT, EXPERTS),
    FIELD(n_group, FIELD_COUNT, EXPERTS),
    FIELD(topk_group, FIELD_COUNT, EXPERTS),
    FIELD(norm_topk_prob, FIELD_FLAG, EXPERTS),
    FIELD(routed_scaling_factor, FIELD_REAL, EXPERTS),
};
#define N_FIELDS (sizeof fields / sizeof fields[0])

static const char *const scaling_names[] = {[SP_ROPE_SCALING_NONE] = "default",
                                            [SP_ROPE_SCALING_LINEAR] = "linear",
                                            [SP_ROPE_SCALING_LLAMA3] = "llama3",
                                            [SP_ROPE_SCALING_YARN] = "yarn"};
static const char *const topk_names[] = {[SP_TOPK_GREEDY] = "greedy",
                                         [SP_TOPK_GROUP_LIMITED_GREEDY] = "group_limited_greedy",
                                         [SP_TOPK_NOAUX_TC] = "noaux_tc"};
static const char *const scoring_names[] = {
    [SP_SCORING_SOFTMAX] = "softmax", [SP_SCORING_SIGMOID] = "sigmoid"};

static bool is_latent(const sp_hparams *hp)
{
    return sp_arch_get(hp->arch)->attention == SP_ATTENTION_LATENT;
}

static bool has_field(const sp_hparams *hp, const field *f)
{
    switch (f->scope) {
    case EVERY: return true;
    case GROUPED: return !is_latent(hp);
    case LATENT: return is_latent(hp);
    case EXPERTS: return hp->n_routed_experts > 0;
    }
    return false;
}

static double field_value(const sp_hparams *hp, const field *f)
{
    const char *at = (const char *)hp + f->offset;
    switch (f->type) {
    case FIELD_COUNT: return *(const int32_t *)(const void *)at;
    case FIELD_REAL: return *(const double *)(const void *)at;
    case FIELD_FLAG: return *(const bool *)(const void *)at;
    }
    return 0.0;
}

/* --- hash ----------------------------------------------------------------------------------------------- */

uint64_t sp_hparams_hash(const sp_hparams *hp, uint64_t seed)
{
    const sp_rope_scaling *rs = &hp->rope_scaling;
    uint64_t h = seed;
    double values[N_FIELDS + 12] = {0};
    size_t n = 0;
    for (size_t i = 0; i < N_FIELDS; i++)
        values[n++] = has_field(hp, &fields[i]) ? field_value(hp, &fields[i]) : 0.0;
    values[n++] = (double)hp->arch;
    values[n++] = is_latent(hp) && hp->rope_interleaved;
    values[n++] = hp->n_routed_experts ? (double)hp->topk_method : 0.0;
    values[n++] = hp->n_routed_experts ? (double)hp->scoring_func : 0.0;
    values[n++] = (double)rs->type;
    if (rs->type != SP_ROPE_SCALING_NONE) values[n++] = rs->factor;
    if (rs->type == SP_ROPE_SCALING_YARN || rs->type == SP_ROPE_SCALING_LLAMA3)
        values[n++] = rs->original_max_position_embeddings;
    if (rs->type == SP_ROPE_SCALING_YARN) {
        values[n++] = rs->beta_fast;
        values[n++] = rs->beta_slow;
        values[n++] = rs->mscale;
        values[n++] = rs->mscale_all_dim;
    } else if (rs->type == SP_ROPE_SCALING_LLAMA3) {
        values[n++] = rs->low_freq_factor;
        values[n++] = rs->high_freq_factor;
    }
    for (size_t i = 0; i < n; i++) {
        double x = values[i] + 0.0; /* no negative zero */
        h = sp_hash(h, &x, sizeof x);
    }
    return h;
}

/* --- config.json ---------------------------------------------------------------------------------------- */

/* Object members one after the other; a failure is sticky, so that the lists below read as tables. */
typedef struct object {
    sp_buf *json;
    const char *indent;
    bool started;
    sp_status status;
    sp_error *err;
} object;

static void put_key(object *o, const char *key)
{
    if (o->status != SP_OK) return;
    o->status = sp_buf_printf(o->json, o->err, "%s\n%s\"%s\": ", o->started ? "," : "", o->indent, key);
    o->started = true;
}

static void put_raw(object *o, const char *text)
{
    if (o->status == SP_OK) o->status = sp_buf_puts(o->json, text, o->err);
}

static void put_text(object *o, const char *key, const char *text)
{
    put_key(o, key);
    if (o->status == SP_OK) o->status = sp_json_put_string(o->json, text, strlen(text), o->err);
}

static void put_count(object *o, const char *key, int64_t value)
{
    put_key(o, key);
    if (o->status == SP_OK) o->status = sp_buf_printf(o->json, o->err, "%lld", (long long)value);
}

static void put_flag(object *o, const char *key, bool value)
{
    put_key(o, key);
    put_raw(o, value ? "true" : "false");
}

/* The shortest text that reads back as the same value; always with a point or an exponent, as readers tell integers from reals. */
static void put_real(object *o, const char *key, double value)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    put_key(o, key);
    put_raw(o, text);
    if (!strpbrk(text, ".e")) put_raw(o, ".0");
}

static void put_rope_scaling(object *o, const sp_hparams *hp)
{
    const sp_rope_scaling *rs = &hp->rope_scaling;
    put_key(o, "rope_scaling");
    if (rs->type == SP_ROPE_SCALING_NONE) {
        put_raw(o, "null");
        return;
    }
    put_raw(o, "{");
    object in = {.json = o->json, .indent = "    ", .status = o->status, .err = o->err};
    put_text(&in, "type", scaling_names[rs->type]);
    put_text(&in, "rope_type", scaling_names[rs->type]);
    put_real(&in, "factor", rs->factor);
    if (rs->type != SP_ROPE_SCALING_LINEAR) {
        double original = rs->original_max_position_embeddings;
        if (original == floor(original) && original < 1e15)
            put_count(&in, "original_max_position_embeddings", (int64_t)original);
        else
            put_real(&in, "original_max_position_embeddings", original);
    }
    if (rs->type == SP_ROPE_SCALING_LLAMA3) {
        put_real(&in, "low_freq_factor", rs->low_freq_factor);
        put_real(&in, "high_freq_factor", rs->high_freq_factor);
    } else if (rs->type == SP_ROPE_SCALING_YARN) {
        put_real(&in, "beta_fast", rs->beta_fast);
        put_real(&in, "beta_slow", rs->beta_slow);
        if (rs->mscale != 0.0) put_real(&in, "mscale", rs->mscale);
        if (rs->mscale_all_dim != 0.0) put_real(&in, "mscale_all_dim", rs->mscale_all_dim);
    }
    o->status = in.status;
    put_raw(o, "\n  }");
}

/* V3's gate is a bias-corrected sigmoid, V2's a softmax; a latent model without experts is a V3 of dense layers. Any other pair of
 * the two is written under the name of the nearer one: this engine reads the pair itself, transformers the name. */
static const char *model_type(const sp_hparams *hp, const char **class_name)
{
    static const char *const classes[] = {[SP_ARCH_LLAMA] = "LlamaForCausalLM",
                                          [SP_ARCH_QWEN2] = "Qwen2ForCausalLM",
                                          [SP_ARCH_QWEN3] = "Qwen3ForCausalLM",
                                          [SP_ARCH_DEEPSEEK] = "DeepseekForCausalLM",
                                          [SP_ARCH_DEEPSEEK2] = "DeepseekV3ForCausalLM"};
    *class_name = classes[hp->arch];
    if (hp->arch != SP_ARCH_DEEPSEEK2) return sp_arch_get(hp->arch)->model_types[0];
    bool v2 = hp->n_routed_experts > 0 && hp->topk_method != SP_TOPK_NOAUX_TC &&
              hp->scoring_func == SP_SCORING_SOFTMAX;
    if (v2) *class_name = "DeepseekV2ForCausalLM";
    return v2 ? "deepseek_v2" : "deepseek_v3";
}

static void put_fields(object *o, const sp_hparams *hp)
{
    for (size_t i = 0; i < N_FIELDS; i++) {
        const field *f = &fields[i];
        if (!has_field(hp, f)) continue;
        double value = field_value(hp, f);
        if (f->offset == offsetof(sp_hparams, q_lora_rank) && value == 0.0) {
            put_key(o, f->key);
            put_raw(o, "null"); /* no low-rank query */
        } else if (f->type == FIELD_COUNT) {
            put_count(o, f->key, (int64_t)value);
        } else if (f->type == FIELD_REAL) {
            put_real(o, f->key, value);
        } else {
            put_flag(o, f->key, value != 0.0);
        }
    }
}

static void put_router(object *o, const sp_hparams *hp)
{
    if (hp->n_routed_experts) {
        put_text(o, "topk_method", topk_names[hp->topk_method]);
        put_text(o, "scoring_func", scoring_names[hp->scoring_func]);
    } else if (sp_arch_get(hp->arch)->experts) {
        /* transformers would fill absent keys with the published model's experts */
        put_count(o, "n_routed_experts", 0);
        put_count(o, "first_k_dense_replace", hp->num_hidden_layers + hp->num_nextn_predict_layers);
    }
}

static int32_t find_pad(const sp_tokenizer *tokenizer)
{
    static const char *const names[] = {"<｜▁pad▁｜>", "<|endoftext|>", "<|finetune_right_pad_id|>"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int32_t id = sp_tokenizer_find(tokenizer, names[i]);
        if (id >= 0) return id;
    }
    return sp_tokenizer_eos(tokenizer);
}

/* bos, eos (all ends of a reply where `ends`) and padding. */
static void put_ids(object *o, const sp_tokenizer *tokenizer, bool ends)
{
    if (!tokenizer) return;
    int32_t bos = sp_tokenizer_bos(tokenizer), eos = sp_tokenizer_eos(tokenizer), pad = find_pad(tokenizer);
    if (bos >= 0) put_count(o, "bos_token_id", bos);
    if (eos >= 0 && (!ends || tokenizer->n_ends <= 1)) {
        put_count(o, "eos_token_id", eos);
    } else if (eos >= 0) {
        put_key(o, "eos_token_id");
        put_raw(o, "[");
        char text[16];
        for (int i = -1; i < tokenizer->n_ends; i++) {
            int32_t id = i < 0 ? eos : tokenizer->ends[i];
            if (i >= 0 && id == eos) continue;
            snprintf(text, sizeof text, "%s%d", i < 0 ? "" : ", ", (int)id);
            put_raw(o, text);
        }
        put_raw(o, "]");
    }
    if (pad >= 0) put_count(o, "pad_token_id", pad);
}

static const char *torch_name(sp_dtype dtype)
{
    return dtype == SP_DTYPE_F16 ? "float16" : dtype == SP_DTYPE_BF16 ? "bfloat16" : "float32";
}

sp_status sp_config_write(sp_buf *json, const sp_hparams *hp, const sp_config_facts *facts, sp_error *err)
{
    object o = {.json = json, .indent = "  ", .status = SP_OK, .err = err};
    const char *class_name, *type = model_type(hp, &class_name);
    put_raw(&o, "{");
    put_key(&o, "architectures");
    put_raw(&o, "[\"");
    put_raw(&o, class_name);
    put_raw(&o, "\"]");
    put_text(&o, "model_type", type);
    put_fields(&o, hp);
    put_router(&o, hp);
    put_rope_scaling(&o, hp);
    if (is_latent(hp) && !hp->rope_interleaved) put_flag(&o, "rope_interleave", false);
    put_text(&o, "hidden_act", "silu");
    if (facts->initializer_range > 0.0) put_real(&o, "initializer_range", facts->initializer_range);
    put_text(&o, "torch_dtype", torch_name(facts->dtype));
    put_flag(&o, "use_cache", true);
    put_ids(&o, facts->tokenizer, false);
    put_raw(&o, "\n}\n");
    return o.status;
}

sp_status sp_generation_config_write(sp_buf *json, const sp_tokenizer *tokenizer, sp_error *err)
{
    object o = {.json = json, .indent = "  ", .status = SP_OK, .err = err};
    put_raw(&o, "{");
    put_key(&o, "_from_model_config");
    put_raw(&o, "true");
    put_ids(&o, tokenizer, true);
    put_raw(&o, "\n}\n");
    return o.status;
}
