/* SPDX-License-Identifier: MIT */
/* Table of published shapes. Sources: the config.json files of the named repositories and the DeepSeek reports;
 * the parameter counts that follow from the rows equal the published ones (tests/unit/test_synth.c). */
#include "model/shapes.h"

#include <ctype.h>
#include <string.h>

#define LLAMA(L, h, nh, nkv, f, V, theta, eps, ctx)                                                          \
    .arch = SP_ARCH_LLAMA, .num_hidden_layers = L, .hidden_size = h, .num_attention_heads = nh,              \
    .num_key_value_heads = nkv, .head_dim = 128, .intermediate_size = f, .vocab_size = V,                    \
    .rope_theta = theta, .rms_norm_eps = eps, .max_position_embeddings = ctx, .rope_interleaved = true

#define QWEN(L, h, nh, nkv, f, V, theta, eps)                                                                \
    .arch = SP_ARCH_QWEN2, .num_hidden_layers = L, .hidden_size = h, .num_attention_heads = nh,              \
    .num_key_value_heads = nkv, .head_dim = 128, .intermediate_size = f, .vocab_size = V,                    \
    .rope_theta = theta, .rms_norm_eps = eps, .max_position_embeddings = 131072

#define CODER_ROPE .rope_scaling = {.type = SP_ROPE_SCALING_LINEAR, .factor = 4.0}

#define LLAMA3_ROPE                                                                                          \
    .rope_scaling = {.type = SP_ROPE_SCALING_LLAMA3,                                                         \
                     .factor = 8.0,                                                                          \
                     .original_max_position_embeddings = 8192,                                               \
                     .low_freq_factor = 1.0,                                                                 \
                     .high_freq_factor = 4.0}

#define YARN(m)                                                                                              \
    .rope_scaling = {.type = SP_ROPE_SCALING_YARN,                                                           \
                     .factor = 40.0,                                                                         \
                     .original_max_position_embeddings = 4096,                                               \
                     .beta_fast = 32.0,                                                                      \
                     .beta_slow = 1.0,                                                                       \
                     .mscale = m,                                                                            \
                     .mscale_all_dim = m}

#define LATENT(L, h, nh, f, V, ql)                                                                           \
    .arch = SP_ARCH_DEEPSEEK2, .num_hidden_layers = L, .hidden_size = h, .num_attention_heads = nh,          \
    .num_key_value_heads = nh, .head_dim = 64, .intermediate_size = f, .vocab_size = V,                      \
    .rope_theta = 10000.0, .rms_norm_eps = 1e-6, .max_position_embeddings = 163840,                          \
    .rope_interleaved = true, .q_lora_rank = ql, .kv_lora_rank = 512, .qk_nope_head_dim = 128,               \
    .qk_rope_head_dim = 64, .v_head_dim = 128, .moe_layer_freq = 1

#define EXPERTS(E, ns, top, f, dense, groups, used, factor)                                                  \
    .n_routed_experts = E, .n_shared_experts = ns, .num_experts_per_tok = top, .moe_intermediate_size = f,   \
    .first_k_dense_replace = dense, .n_group = groups, .topk_group = used, .routed_scaling_factor = factor

typedef struct shape_row {
    const char *name;
    sp_hparams hp;
} shape_row;

static const shape_row shapes[] = {
    {"deepseek-llm-7b", {LLAMA(30, 4096, 32, 32, 11008, 102400, 10000.0, 1e-6, 4096)}},
    {"deepseek-llm-67b", {LLAMA(95, 8192, 64, 8, 22016, 102400, 10000.0, 1e-6, 4096)}},
    {"deepseek-coder-1.3b", {LLAMA(24, 2048, 16, 16, 5504, 32256, 100000.0, 1e-6, 16384), CODER_ROPE}},
    {"deepseek-coder-5.7bmqa", {LLAMA(32, 4096, 32, 1, 11008, 32256, 100000.0, 1e-6, 16384), CODER_ROPE}},
    {"deepseek-coder-6.7b", {LLAMA(32, 4096, 32, 32, 11008, 32256, 100000.0, 1e-6, 16384), CODER_ROPE}},
    {"deepseek-coder-33b", {LLAMA(62, 7168, 56, 8, 19200, 32256, 100000.0, 1e-6, 16384), CODER_ROPE}},
    {"deepseek-r1-distill-llama-8b",
     {LLAMA(32, 4096, 32, 8, 14336, 128256, 500000.0, 1e-5, 131072), LLAMA3_ROPE}},
    {"deepseek-r1-distill-llama-70b",
     {LLAMA(80, 8192, 64, 8, 28672, 128256, 500000.0, 1e-5, 131072), LLAMA3_ROPE}},
    {"deepseek-r1-distill-qwen-1.5b", {QWEN(28, 1536, 12, 2, 8960, 151936, 10000.0, 1e-6)}},
    {"deepseek-r1-distill-qwen-7b", {QWEN(28, 3584, 28, 4, 18944, 152064, 10000.0, 1e-6)}},
    {"deepseek-r1-distill-qwen-14b", {QWEN(48, 5120, 40, 8, 13824, 152064, 1000000.0, 1e-5)}},
    {"deepseek-r1-distill-qwen-32b", {QWEN(64, 5120, 40, 8, 27648, 152064, 1000000.0, 1e-5)}},
    {"deepseek-r1-0528-qwen3-8b",
     {.arch = SP_ARCH_QWEN3,
      .num_hidden_layers = 36,
      .hidden_size = 4096,
      .num_attention_heads = 32,
      .num_key_value_heads = 8,
      .head_dim = 128,
      .intermediate_size = 12288,
      .vocab_size = 151936,
      .rope_theta = 1000000.0,
      .rms_norm_eps = 1e-6,
      .max_position_embeddings = 131072}},
    {"deepseek-moe-16b",
     {.arch = SP_ARCH_DEEPSEEK,
      .num_hidden_layers = 28,
      .hidden_size = 2048,
      .num_attention_heads = 16,
      .num_key_value_heads = 16,
      .head_dim = 128,
      .intermediate_size = 10944,
      .vocab_size = 102400,
      .rope_theta = 10000.0,
      .rms_norm_eps = 1e-6,
      .max_position_embeddings = 4096,
      .rope_interleaved = true,
      .moe_layer_freq = 1,
      EXPERTS(64, 2, 6, 1408, 1, 1, 1, 1.0)}},
    {"deepseek-v2-lite",
     {LATENT(27, 2048, 16, 10944, 102400, 0), YARN(0.707), EXPERTS(64, 2, 6, 1408, 1, 1, 1, 1.0)}},
    {"deepseek-v2",
     {LATENT(60, 5120, 128, 12288, 102400, 1536), YARN(1.0), EXPERTS(160, 2, 6, 1536, 1, 8, 3, 16.0),
      .topk_method = SP_TOPK_GROUP_LIMITED_GREEDY}},
    {"deepseek-v3",
     {LATENT(61, 7168, 128, 18432, 129280, 1536), YARN(1.0), EXPERTS(256, 1, 8, 2048, 3, 8, 4, 2.5),
      .topk_method = SP_TOPK_NOAUX_TC, .scoring_func = SP_SCORING_SIGMOID, .norm_topk_prob = true,
      .num_nextn_predict_layers = 1}},
};

static const struct {
    const char *alias, *name;
} aliases[] = {
    {"deepseek-coder-7b-v1.5", "deepseek-llm-7b"},
    {"deepseek-math-7b", "deepseek-llm-7b"},
    {"deepseek-coder-v2-lite", "deepseek-v2-lite"},
    {"deepseek-v2.5", "deepseek-v2"},
    {"deepseek-coder-v2", "deepseek-v2"},
    {"deepseek-v3-0324", "deepseek-v3"},
    {"deepseek-v3.1", "deepseek-v3"},
    {"deepseek-r1", "deepseek-v3"},
    {"deepseek-r1-zero", "deepseek-v3"},
    {"deepseek-r1-0528", "deepseek-v3"},
};

#define N_SHAPES (sizeof shapes / sizeof shapes[0])
#define N_ALIASES (sizeof aliases / sizeof aliases[0])

const char *sp_shape_name(size_t i)
{
    if (i < N_SHAPES) return shapes[i].name;
    return i - N_SHAPES < N_ALIASES ? aliases[i - N_SHAPES].alias : NULL;
}

static bool equal_ignoring_case(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b)) return false;
    }
    return *a == *b;
}

sp_status sp_shape_find(sp_hparams *hp, const char *name, sp_error *err)
{
    for (size_t i = 0; i < N_ALIASES; i++) {
        if (equal_ignoring_case(name, aliases[i].alias)) name = aliases[i].name;
    }
    for (size_t i = 0; i < N_SHAPES; i++) {
        if (!equal_ignoring_case(name, shapes[i].name)) continue;
        *hp = shapes[i].hp;
        if (hp->n_group == 0) { /* dense rows leave what concerns experts at the defaults */
            hp->n_group = hp->topk_group = hp->moe_layer_freq = 1;
            hp->routed_scaling_factor = 1.0;
        }
        if (hp->rope_scaling.type == SP_ROPE_SCALING_NONE) hp->rope_scaling.factor = 1.0;
        return SP_OK;
    }
    return sp_fail(err, SP_E_NOT_FOUND, "no published shape is called \"%.80s\"", name);
}

/* --- DeepSeek's inference configs ------------------------------------------------------------------------- */

typedef struct inference_key {
    const char *key;
    size_t offset;
} inference_key;

#define KEY(text, field)                                                                                     \
    {                                                                                                        \
        text, offsetof(sp_hparams, field)                                                                    \
    }

static const inference_key inference_keys[] = {
    KEY("vocab_size", vocab_size),
    KEY("dim", hidden_size),
    KEY("inter_dim", intermediate_size),
    KEY("moe_inter_dim", moe_intermediate_size),
    KEY("n_layers", num_hidden_layers),
    KEY("n_dense_layers", first_k_dense_replace),
    KEY("n_heads", num_attention_heads),
    KEY("n_routed_experts", n_routed_experts),
    KEY("n_shared_experts", n_shared_experts),
    KEY("n_activated_experts", num_experts_per_tok),
    KEY("n_expert_groups", n_group),
    KEY("n_limited_groups", topk_group),
    KEY("q_lora_rank", q_lora_rank),
    KEY("kv_lora_rank", kv_lora_rank),
    KEY("qk_nope_head_dim", qk_nope_head_dim),
    KEY("qk_rope_head_dim", qk_rope_head_dim),
    KEY("v_head_dim", v_head_dim),
};

/* Keys that are absent keep the values of the family: V2's for softmax, V3's for sigmoid scores. */
static sp_status read_inference_config(sp_hparams *hp, const sp_json *config, sp_error *err)
{
    const char *score = sp_json_string(sp_json_get(config, "score_func"), NULL);
    bool sigmoid = score && strcmp(score, "sigmoid") == 0;
    SP_TRY(sp_shape_find(hp, sigmoid ? "deepseek-v3" : "deepseek-v2", err));
    hp->n_group = hp->topk_group = 1;
    for (size_t i = 0; i < sizeof inference_keys / sizeof inference_keys[0]; i++) {
        const sp_json *value = sp_json_get(config, inference_keys[i].key);
        if (!value) continue;
        int64_t n = sp_json_int(value, -1);
        if (n < 0 || n > 1 << 20) {
            return sp_fail(err, SP_E_FORMAT, "config.json: %s: expected a count", inference_keys[i].key);
        }
        int32_t count = (int32_t)n;
        memcpy((char *)hp + inference_keys[i].offset, &count, sizeof count);
    }
    hp->num_key_value_heads = hp->num_attention_heads;
    hp->head_dim = hp->qk_rope_head_dim;
    hp->routed_scaling_factor = sp_json_real(sp_json_get(config, "route_scale"), 1.0);
    double mscale = sp_json_real(sp_json_get(config, "mscale"), 1.0);
    hp->rope_scaling.mscale = hp->rope_scaling.mscale_all_dim = mscale;
    if (!sigmoid) hp->topk_method = hp->n_group > 1 ? SP_TOPK_GROUP_LIMITED_GREEDY : SP_TOPK_GREEDY;
    return SP_OK;
}

sp_status sp_shape_from_config(sp_hparams *hp, const sp_json *config, sp_error *err)
{
    if (!sp_json_get(config, "model_type") && sp_json_get(config, "dim")) {
        return read_inference_config(hp, config, err);
    }
    return sp_hparams_from_config(hp, config, err);
}
