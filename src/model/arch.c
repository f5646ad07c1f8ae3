/* SPDX-License-Identifier: MIT */
/* The table of architectures and the quantities that follow from hyper-parameters alone: rope frequencies,
 * softmax scale, parameter count. Start at sp_arch_get(). Mathematics: DeepSeek-V2 and V3 reports, YaRN (Peng
 * et al. 2023). */
#include "model/hparams.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const sp_arch_info arch_table[SP_ARCH_COUNT] = {
    [SP_ARCH_LLAMA] = {"llama", {"llama"}, SP_ATTENTION_GROUPED, .gguf_permuted = true},
    [SP_ARCH_QWEN2] = {"qwen2", {"qwen2"}, SP_ATTENTION_GROUPED, .qkv_bias = true},
    [SP_ARCH_QWEN3] = {"qwen3", {"qwen3"}, SP_ATTENTION_GROUPED, .qk_norm = true},
    [SP_ARCH_DEEPSEEK] =
        {"deepseek", {"deepseek"}, SP_ATTENTION_GROUPED, .experts = true, .gguf_permuted = true},
    [SP_ARCH_DEEPSEEK2] = {"deepseek2", {"deepseek_v2", "deepseek_v3"}, SP_ATTENTION_LATENT, .experts = true},
};

const sp_arch_info *sp_arch_get(sp_arch arch)
{
    return &arch_table[arch];
}

static sp_status fail_unknown(const char *what, const char *name, size_t len, sp_error *err)
{
    char known[128] = "";
    size_t used = 0;
    for (int i = 0; i < SP_ARCH_COUNT; i++)
        used +=
            (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", arch_table[i].name);
    int shown = len > 64 ? 64 : (int)len;
    return sp_fail(err, SP_E_UNSUPPORTED, "model: %s \"%.*s\" is not known; known are: %s", what, shown, name,
                   known);
}

sp_status sp_arch_by_model_type(const char *model_type, sp_arch *arch, sp_error *err)
{
    for (int i = 0; i < SP_ARCH_COUNT; i++) {
        for (const char *const *type = arch_table[i].model_types; *type; type++) {
            if (strcmp(*type, model_type) != 0) continue;
            *arch = (sp_arch)i;
            return SP_OK;
        }
    }
    return fail_unknown("model_type", model_type, strlen(model_type), err);
}

sp_status sp_arch_by_gguf_name(const char *name, size_t len, sp_arch *arch, sp_error *err)
{
    for (int i = 0; i < SP_ARCH_COUNT; i++) {
        if (strlen(arch_table[i].name) != len || memcmp(arch_table[i].name, name, len) != 0) continue;
        *arch = (sp_arch)i;
        return SP_OK;
    }
    return fail_unknown("architecture", name, len, err);
}

bool sp_hparams_is_expert_layer(const sp_hparams *hp, int32_t layer)
{
    return hp->n_routed_experts > 0 && layer >= hp->first_k_dense_replace && layer % hp->moe_layer_freq == 0;
}

int32_t sp_hparams_rope_dim(const sp_hparams *hp)
{
    return sp_arch_get(hp->arch)->attention == SP_ATTENTION_LATENT ? hp->qk_rope_head_dim : hp->head_dim;
}

int32_t sp_hparams_q_head_dim(const sp_hparams *hp)
{
    bool latent = sp_arch_get(hp->arch)->attention == SP_ATTENTION_LATENT;
    return latent ? hp->qk_nope_head_dim + hp->qk_rope_head_dim : hp->head_dim;
}

/* YaRN's m(s, k) = 0.1 k ln s + 1 for s > 1. */
static double yarn_m(double factor, double k)
{
    return factor <= 1.0 ? 1.0 : 0.1 * k * log(factor) + 1.0;
}

double sp_hparams_softmax_scale(const sp_hparams *hp)
{
    double scale = 1.0 / sqrt((double)sp_hparams_q_head_dim(hp));
    const sp_rope_scaling *rs = &hp->rope_scaling;
    bool latent = sp_arch_get(hp->arch)->attention == SP_ATTENTION_LATENT;
    if (latent && rs->type == SP_ROPE_SCALING_YARN && rs->mscale_all_dim != 0.0) {
        double m = yarn_m(rs->factor, rs->mscale_all_dim);
        scale *= m * m;
    }
    return scale;
}

double sp_hparams_rope_attention_factor(const sp_hparams *hp)
{
    const sp_rope_scaling *rs = &hp->rope_scaling;
    if (rs->type != SP_ROPE_SCALING_YARN) return 1.0;
    if (rs->mscale != 0.0 && rs->mscale_all_dim != 0.0)
        return yarn_m(rs->factor, rs->mscale) / yarn_m(rs->factor, rs->mscale_all_dim);
    return yarn_m(rs->factor, 1.0);
}

/* Dimension at which a rotation makes `turns` turns over the original context. */
static double yarn_dim(double turns, int32_t dim, double theta, double original)
{
    return dim * log(original / (turns * 2.0 * M_PI)) / (2.0 * log(theta));
}

static void scale_yarn(const sp_hparams *hp, int32_t dim, double *omega)
{
    const sp_rope_scaling *rs = &hp->rope_scaling;
    double original = rs->original_max_position_embeddings;
    double low = floor(yarn_dim(rs->beta_fast, dim, hp->rope_theta, original));
    double high = ceil(yarn_dim(rs->beta_slow, dim, hp->rope_theta, original));
    low = fmax(low, 0.0);
    high = fmin(high, dim - 1.0);
    if (low == high) high += 0.001;
    for (int32_t i = 0; i < dim / 2; i++) {
        double ramp = fmin(fmax((i - low) / (high - low), 0.0), 1.0);
        omega[i] = (1.0 - ramp) * omega[i] + ramp * omega[i] / rs->factor;
    }
}

static void scale_llama3(const sp_rope_scaling *rs, int32_t dim, double *omega)
{
    double original = rs->original_max_position_embeddings;
    for (int32_t i = 0; i < dim / 2; i++) {
        double wavelength = 2.0 * M_PI / omega[i];
        if (wavelength < original / rs->high_freq_factor) continue;
        if (wavelength > original / rs->low_freq_factor) {
            omega[i] /= rs->factor;
            continue;
        }
        double s =
            (original / wavelength - rs->low_freq_factor) / (rs->high_freq_factor - rs->low_freq_factor);
        omega[i] = (1.0 - s) * omega[i] / rs->factor + s * omega[i];
    }
}

void sp_hparams_rope_frequencies(const sp_hparams *hp, double *omega)
{
    int32_t dim = sp_hparams_rope_dim(hp);
    for (int32_t i = 0; i < dim / 2; i++) omega[i] = pow(hp->rope_theta, -2.0 * i / dim);
    switch (hp->rope_scaling.type) {
    case SP_ROPE_SCALING_NONE: break;
    case SP_ROPE_SCALING_LINEAR:
        for (int32_t i = 0; i < dim / 2; i++) omega[i] /= hp->rope_scaling.factor;
        break;
    case SP_ROPE_SCALING_LLAMA3: scale_llama3(&hp->rope_scaling, dim, omega); break;
    case SP_ROPE_SCALING_YARN: scale_yarn(hp, dim, omega); break;
    }
}

static int64_t count_attention(const sp_hparams *hp)
{
    int64_t h = hp->hidden_size, nh = hp->num_attention_heads;
    if (sp_arch_get(hp->arch)->attention == SP_ATTENTION_LATENT) {
        int64_t q_out = nh * sp_hparams_q_head_dim(hp), c = hp->kv_lora_rank;
        int64_t q = hp->q_lora_rank ? (int64_t)hp->q_lora_rank * (h + 1 + q_out) : h * q_out;
        int64_t kv = h * (c + hp->qk_rope_head_dim) + c + c * nh * (hp->qk_nope_head_dim + hp->v_head_dim);
        return q + kv + nh * hp->v_head_dim * h;
    }
    int64_t hd = hp->head_dim, nkv = hp->num_key_value_heads;
    int64_t n = 2 * h * nh * hd + 2 * h * nkv * hd;
    if (sp_arch_get(hp->arch)->qkv_bias || hp->attention_bias) n += (nh + 2 * nkv) * hd;
    if (sp_arch_get(hp->arch)->qk_norm) n += 2 * hd;
    return n;
}

int64_t sp_hparams_param_count(const sp_hparams *hp)
{
    int64_t h = hp->hidden_size, e = hp->n_routed_experts;
    int64_t n = h + (int64_t)hp->vocab_size * h * (hp->tie_word_embeddings ? 1 : 2);
    for (int32_t l = 0; l < hp->num_hidden_layers; l++) {
        n += 2 * h + count_attention(hp);
        if (sp_hparams_is_expert_layer(hp, l)) {
            n += 3 * h * hp->moe_intermediate_size * (e + hp->n_shared_experts) + e * h;
            if (hp->topk_method == SP_TOPK_NOAUX_TC) n += e;
        } else {
            n += 3 * h * hp->intermediate_size;
        }
    }
    return n;
}
