/* SPDX-License-Identifier: MIT */
/* Hyper-parameters of every architecture of the family, named as in the published config.json, read from
 * there or from GGUF metadata, and checked: after a successful load every count is in the range that the rest
 * of the engine relies on (see check_hparams). */
#ifndef SP_MODEL_HPARAMS_H
#define SP_MODEL_HPARAMS_H

#include "base/json.h"
#include "format/archive.h"
#include "format/gguf.h"

typedef enum sp_arch {
    SP_ARCH_LLAMA,     /* DeepSeek LLM, Coder 1.x, Math, R1-Distill-Llama */
    SP_ARCH_QWEN2,     /* R1-Distill-Qwen */
    SP_ARCH_QWEN3,     /* R1-0528-Qwen3-8B */
    SP_ARCH_DEEPSEEK,  /* MoE-16B */
    SP_ARCH_DEEPSEEK2, /* V2, V2-Lite, V2.5, Coder-V2, V3, R1, R1-Zero, V3.1 */
    SP_ARCH_COUNT
} sp_arch;

typedef enum sp_attention { SP_ATTENTION_GROUPED, SP_ATTENTION_LATENT } sp_attention;

/* One row per architecture: its names and what its blocks are made of. */
typedef struct sp_arch_info {
    const char *name;           /* general.architecture in GGUF */
    const char *model_types[3]; /* model_type in config.json, NULL-terminated */
    sp_attention attention;
    bool qkv_bias;      /* q, k, v have biases */
    bool qk_norm;       /* per-head RMSNorm of q and k */
    bool experts;       /* may have expert layers */
    bool gguf_permuted; /* GGUF stores q and k rows permuted for interleaved rotation */
} sp_arch_info;

typedef enum sp_rope_scaling_type {
    SP_ROPE_SCALING_NONE,
    SP_ROPE_SCALING_LINEAR,
    SP_ROPE_SCALING_LLAMA3,
    SP_ROPE_SCALING_YARN
} sp_rope_scaling_type;

typedef struct sp_rope_scaling {
    sp_rope_scaling_type type;
    double factor;
    double original_max_position_embeddings;
    double beta_fast, beta_slow;              /* yarn */
    double mscale, mscale_all_dim;            /* yarn */
    double low_freq_factor, high_freq_factor; /* llama3 */
} sp_rope_scaling;

typedef enum sp_scoring { SP_SCORING_SOFTMAX, SP_SCORING_SIGMOID } sp_scoring;

/* How routed experts are chosen. */
typedef enum sp_topk_method {
    SP_TOPK_GREEDY,               /* largest scores */
    SP_TOPK_GROUP_LIMITED_GREEDY, /* V2: groups by their largest score */
    SP_TOPK_NOAUX_TC              /* V3: bias-corrected scores, groups by the sum of their two largest */
} sp_topk_method;

typedef struct sp_hparams {
    sp_arch arch;
    int32_t hidden_size;
    int32_t intermediate_size;
    int32_t num_hidden_layers; /* without multi-token-prediction layers */
    int32_t num_attention_heads;
    int32_t num_key_value_heads;
    int32_t head_dim;
    int32_t vocab_size;
    int32_t max_position_embeddings;
    double rms_norm_eps;
    double rope_theta;
    sp_rope_scaling rope_scaling;
    bool rope_interleaved; /* pairs (2i, 2i + 1); else (i, i + d/2) */
    bool tie_word_embeddings;
    bool attention_bias;
    /* latent attention */
    int32_t q_lora_rank; /* 0: direct q_proj */
    int32_t kv_lora_rank;
    int32_t qk_nope_head_dim;
    int32_t qk_rope_head_dim;
    int32_t v_head_dim;
    /* experts; n_routed_experts 0: all layers dense */
    int32_t n_routed_experts;
    int32_t n_shared_experts;
    int32_t num_experts_per_tok;
    int32_t moe_intermediate_size;
    int32_t first_k_dense_replace;
    int32_t moe_layer_freq;
    int32_t n_group;
    int32_t topk_group;
    sp_topk_method topk_method;
    sp_scoring scoring_func;
    bool norm_topk_prob;
    double routed_scaling_factor;
    /* multi-token prediction */
    int32_t num_nextn_predict_layers; /* as declared; the layers may be absent from the file */
} sp_hparams;

const sp_arch_info *sp_arch_get(sp_arch arch);

/* Architecture by config.json's model_type or by GGUF's name; SP_E_UNSUPPORTED names it and lists the known
 * ones. */
sp_status sp_arch_by_model_type(const char *model_type, sp_arch *arch, sp_error *err);
sp_status sp_arch_by_gguf_name(const char *name, size_t len, sp_arch *arch, sp_error *err);

/* Read and check. The text of an error names the key. */
sp_status sp_hparams_from_config(sp_hparams *hp, const sp_json *config, sp_error *err);
sp_status sp_hparams_from_gguf(sp_hparams *hp, const sp_gguf *gguf, sp_error *err);
sp_status sp_hparams_from_archive(sp_hparams *hp, const sp_archive *archive, sp_error *err);

bool sp_hparams_is_expert_layer(const sp_hparams *hp, int32_t layer);

/* Layers with the prediction layers that hp declares, which are numbered behind the others. */
static inline int32_t sp_hparams_all_layers(const sp_hparams *hp)
{
    return hp->num_hidden_layers + hp->num_nextn_predict_layers;
}

/* Width of the rotated part, and of one head's query. */
int32_t sp_hparams_rope_dim(const sp_hparams *hp);
int32_t sp_hparams_q_head_dim(const sp_hparams *hp);

/* Factor on q k before the softmax: 1/sqrt(d), for latent attention with YaRN's square of m (reference:
 * DeepSeek-V3's inference code). */
double sp_hparams_softmax_scale(const sp_hparams *hp);

/* Angular frequencies after scaling: n = rope_dim / 2 values. Sources: YaRN (Peng et al. 2023), llama3
 * scaling (Llama 3.1). */
void sp_hparams_rope_frequencies(const sp_hparams *hp, double *omega);

/* Factor on cos and sin (YaRN: m(mscale) / m(mscale_all_dim), 1 in every published config). */
double sp_hparams_rope_attention_factor(const sp_hparams *hp);

/* Number of parameters by shapes alone, without multi-token-prediction layers (router biases included). */
int64_t sp_hparams_param_count(const sp_hparams *hp);

#endif
