/* SPDX-License-Identifier: MIT */
/* Every key of a training configuration with its type, range and default. docs/configuration.md explains them, and a test
 * compares the two lists. Sources of the defaults: DeepSeek-V3 report, section 4.2. Start at sp_config_key_at(). */
#include "train/config_parts.h"

#include <string.h>

#define INT32 2147483647.0
#define INT64 9.0e15 /* the integers that a double holds exactly */
#define TINY 1e-300  /* more than nothing */

static const char *const cuts[] = {[SP_CUT_STREAM] = "stream", [SP_CUT_WHOLE] = "whole", NULL};
static const char *const attentions[] = {"row", "document", NULL};
static const char *const optimizers[] = {[SP_OPTIMIZER_ADAMW] = "adamw", [SP_OPTIMIZER_MUON] = "muon", NULL};
static const char *const schedules[] = {
    [SP_LR_CONSTANT] = "constant",   [SP_LR_COSINE] = "cosine", [SP_LR_LINEAR] = "linear",
    [SP_LR_MULTISTEP] = "multistep", [SP_LR_V3] = "v3",         NULL};

#define AT(field) offsetof(sp_train_config, field)
#define COUNT32(s, k, field, low, high, value)                                                               \
    {                                                                                                        \
        s, k, SP_CONFIG_COUNT32, AT(field), low, high, #value, value, NULL                                   \
    }
#define COUNT(s, k, field, low, high, value)                                                                 \
    {                                                                                                        \
        s, k, SP_CONFIG_COUNT, AT(field), low, high, #value, value, NULL                                     \
    }
#define REAL(s, k, field, low, high, value)                                                                  \
    {                                                                                                        \
        s, k, SP_CONFIG_REAL, AT(field), low, high, #value, value, NULL                                      \
    }
#define FLAG(s, k, field)                                                                                    \
    {                                                                                                        \
        s, k, SP_CONFIG_FLAG, AT(field), 0, 1, "false", 0, NULL                                              \
    }
#define PATH(s, k, field, fallback)                                                                          \
    {                                                                                                        \
        s, k, SP_CONFIG_PATH, AT(field), 0, 0, fallback, 0, NULL                                             \
    }
#define SOURCES(s, k, field, fallback)                                                                       \
    {                                                                                                        \
        s, k, SP_CONFIG_SOURCES, AT(field), 0, 0, fallback, 0, NULL                                          \
    }
#define CHOICE(s, k, type, field, list, value)                                                               \
    {                                                                                                        \
        s, k, type, AT(field), 0, 0, NULL, value, list                                                       \
    }
#define MODEL(k)                                                                                             \
    {                                                                                                        \
        "model", k, SP_CONFIG_MODEL, 0, 0, 0, "", 0, NULL                                                    \
    }
#define ROPE(k)                                                                                              \
    {                                                                                                        \
        "model.rope_scaling", k, SP_CONFIG_MODEL, 0, 0, 0, "", 0, NULL                                       \
    }

/* A fallback written in words is set by config_check.c. */
static const sp_config_key keys[] = {
    /* what the published config.json holds and model/hparams.c reads */
    MODEL("config"),
    MODEL("model_type"),
    MODEL("hidden_size"),
    MODEL("intermediate_size"),
    MODEL("num_hidden_layers"),
    MODEL("num_attention_heads"),
    MODEL("num_key_value_heads"),
    MODEL("head_dim"),
    MODEL("vocab_size"),
    MODEL("max_position_embeddings"),
    MODEL("rms_norm_eps"),
    MODEL("rope_theta"),
    MODEL("rope_scaling"),
    MODEL("rope_parameters"),
    MODEL("rope_interleave"),
    MODEL("tie_word_embeddings"),
    MODEL("attention_bias"),
    MODEL("hidden_act"),
    MODEL("mlp_bias"),
    MODEL("q_lora_rank"),
    MODEL("kv_lora_rank"),
    MODEL("qk_nope_head_dim"),
    MODEL("qk_rope_head_dim"),
    MODEL("v_head_dim"),
    MODEL("n_routed_experts"),
    MODEL("n_shared_experts"),
    MODEL("num_experts_per_tok"),
    MODEL("moe_intermediate_size"),
    MODEL("first_k_dense_replace"),
    MODEL("moe_layer_freq"),
    MODEL("n_group"),
    MODEL("topk_group"),
    MODEL("topk_method"),
    MODEL("scoring_func"),
    MODEL("norm_topk_prob"),
    MODEL("routed_scaling_factor"),
    MODEL("num_nextn_predict_layers"),
    REAL("model", "initializer_range", init_deviation, TINY, 10, 0.006),
    FLAG("model", "scale_residual", scale_residual),
    ROPE("type"),
    ROPE("rope_type"),
    ROPE("rope_theta"),
    ROPE("factor"),
    ROPE("original_max_position_embeddings"),
    ROPE("beta_fast"),
    ROPE("beta_slow"),
    ROPE("mscale"),
    ROPE("mscale_all_dim"),
    ROPE("low_freq_factor"),
    ROPE("high_freq_factor"),
    /* published, without a meaning here */
    MODEL("architectures"),
    MODEL("torch_dtype"),
    MODEL("transformers_version"),
    MODEL("bos_token_id"),
    MODEL("eos_token_id"),
    MODEL("pad_token_id"),
    MODEL("attention_dropout"),
    MODEL("auto_map"),
    MODEL("aux_loss_alpha"),
    MODEL("ep_size"),
    MODEL("pretraining_tp"),
    MODEL("seq_aux"),
    MODEL("use_cache"),

    PATH("data", "tokenizer", tokenizer, "none"),
    SOURCES("data", "train", train, "required"),
    SOURCES("data", "validation", validation, "none"),
    COUNT32("data", "sequence", sequence, 1, 1 << 24, 512),
    CHOICE("data", "cut", SP_CONFIG_CHOICE, cut, cuts, SP_CUT_STREAM),
    CHOICE("data", "attention", SP_CONFIG_ATTENTION, document_attention, attentions, 0),

    CHOICE("optimizer", "kind", SP_CONFIG_CHOICE, optimizer.kind, optimizers, SP_OPTIMIZER_ADAMW),
    REAL("optimizer", "beta1", optimizer.beta1, 0, 0.999999, 0.9),
    REAL("optimizer", "beta2", optimizer.beta2, 0, 0.999999, 0.95),
    REAL("optimizer", "eps", optimizer.eps, TINY, 1, 1e-8),
    REAL("optimizer", "momentum", optimizer.momentum, 0, 0.999999, 0.95),
    REAL("optimizer", "weight_decay", optimizer.weight_decay, 0, 10, 0.1),
    REAL("optimizer", "embed_lr_factor", optimizer.embed_lr_factor, 0, 1000, 1),
    FLAG("optimizer", "bf16_moments", optimizer.bf16_moments),
    REAL("optimizer", "clip", clip, 0, 1e9, 1),

    CHOICE("schedule", "kind", SP_CONFIG_CHOICE, schedule.kind, schedules, SP_LR_V3),
    {"schedule", "steps", SP_CONFIG_COUNT, AT(schedule.steps), 1, INT64, "required", 0, NULL},
    {"schedule", "warmup", SP_CONFIG_COUNT, AT(schedule.warmup_steps), 0, INT64,
     "2000, at most a tenth of `steps`", 0, NULL},
    REAL("schedule", "lr", schedule.lr, TINY, 10, 2.2e-4),
    REAL("schedule", "end_factor", schedule.lr_end_factor, 0, 1, 0.1),
    REAL("schedule", "first_drop", schedule.first_drop, 0, 1, 0.8),
    REAL("schedule", "second_drop", schedule.second_drop, 0, 1, 0.9),
    {"schedule", "rows", SP_CONFIG_COUNT, AT(schedule.rows), 1, INT32, "required", 0, NULL},
    {"schedule", "rows_first", SP_CONFIG_COUNT, AT(schedule.rows_first), 1, INT32, "`rows`", 0, NULL},
    REAL("schedule", "rows_ramp", schedule.rows_ramp, 0, 1, 0.469 / 14.8),

    REAL("mtp", "weight", schedule.mtp_weight, 0, 100, 0.3),
    REAL("mtp", "later_weight", schedule.mtp_later_weight, 0, 100, 0.1),
    REAL("mtp", "later_from", schedule.mtp_later_from, 0, 1, 10 / 14.8),

    REAL("moe", "bias_rate", schedule.bias_rate, 0, 1, 0.001),
    REAL("moe", "bias_rate_until", schedule.bias_rate_until, 0, 1, 14.3 / 14.8),
    REAL("moe", "balance_factor", balance_factor, 0, 10, 1e-4),

    PATH("run", "out", out, "required"),
    PATH("run", "init", init, "none"),
    {"run", "stop_at", SP_CONFIG_COUNT, AT(stop_at), 1, INT64, "`schedule.steps`", 0, NULL},
    {"run", "seed", SP_CONFIG_COUNT, AT(seed), 0, INT64, "0", 0, NULL},
    {"run", "micro_rows", SP_CONFIG_COUNT32, AT(micro_rows), 1, 1 << 20,
     "the largest up to 16 that divides `rows` and `rows_first`", 0, NULL},
    COUNT32("run", "threads", threads, 0, 1024, 0),
    COUNT("run", "validate_every", validate_every, 0, INT64, 500),
    COUNT("run", "validate_rows", validate_rows, 1, INT32, 64),
    COUNT("run", "checkpoint_every", checkpoint_every, 0, INT64, 500),
    COUNT32("run", "checkpoint_keep", checkpoint_keep, 0, 1000000, 3),
    COUNT("run", "log_every", log_every, 1, INT64, 10),
    FLAG("run", "recompute", recompute),
    FLAG("run", "bf16_activations", bf16_activations),
    FLAG("run", "fp8", fp8),
    REAL("run", "spike_factor", spike_factor, 0, 1e9, 10),
    COUNT32("run", "expert_ranks", expert_ranks, 1, 4096, 1),
    COUNT32("run", "expert_nodes", expert_nodes, 1, 4096, 1),
};

const sp_config_key *sp_config_key_at(size_t i)
{
    return i < sizeof keys / sizeof keys[0] ? &keys[i] : NULL;
}

const sp_config_key *sp_config_key_find(const char *section, const char *key)
{
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(keys[i].section, section) == 0 && strcmp(keys[i].key, key) == 0) return &keys[i];
    return NULL;
}
