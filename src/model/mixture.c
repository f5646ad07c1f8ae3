/* SPDX-License-Identifier: MIT */
/* The table of mixtures and its evaluation. A row says for three groups of tensors under which condition they
 * get another type than the base. Start at sp_mixture_choose(). */
#include "model/mixture.h"

#include "base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

typedef enum condition {
    SAME,     /* the base type */
    ALWAYS,   /* `then` */
    FIRST,    /* `then` in the first `arg` layers, else `otherwise` */
    FRACTION, /* `then` in the first n / arg layers, else `otherwise` */
    MORE,     /* `then` in the first and last eighth and every third layer between, else `otherwise` */
    GROUPED   /* `then` if at least `arg` heads share a key-value head, else `otherwise` */
} condition;

typedef struct place {
    condition when;
    int arg;
    sp_dtype then, otherwise;
} place;

struct sp_mixture {
    const char *name;
    uint32_t file_type; /* llama.cpp's enum llama_ftype */
    sp_dtype base;
    place attn_v; /* attn_v.weight, attn_kv_b.weight */
    place ffn_down;
    place attn_output;
};

#define T(x) SP_DTYPE_##x

static const sp_mixture mixtures[] = {
    {.name = "f32", .file_type = 0, .base = T(F32)},
    {.name = "f16", .file_type = 1, .base = T(F16)},
    {.name = "bf16", .file_type = 32, .base = T(BF16)},
    {.name = "q8_0", .file_type = 7, .base = T(Q8_0)},
    {.name = "q4_0", .file_type = 2, .base = T(Q4_0)},
    {.name = "q4_1", .file_type = 3, .base = T(Q4_1)},
    {.name = "q5_0", .file_type = 8, .base = T(Q5_0)},
    {.name = "q5_1", .file_type = 9, .base = T(Q5_1)},
    {.name = "iq4_nl", .file_type = 25, .base = T(IQ4_NL)},
    {.name = "iq4_xs", .file_type = 30, .base = T(IQ4_XS)},
    {.name = "q3_k", .file_type = 11, .base = T(Q3_K)},
    {.name = "q4_k", .file_type = 14, .base = T(Q4_K)},
    {.name = "q5_k", .file_type = 16, .base = T(Q5_K)},
    {.name = "q6_k", .file_type = 18, .base = T(Q6_K)},
    {"q2_k",
     10,
     T(Q2_K),
     {GROUPED, 4, T(Q4_K), T(Q3_K)},
     {ALWAYS, 0, T(Q3_K), T(Q3_K)},
     {ALWAYS, 0, T(Q3_K), T(Q3_K)}},
    {"q2_k_m",
     10,
     T(Q2_K),
     {GROUPED, 4, T(Q4_K), T(Q3_K)},
     {ALWAYS, 0, T(Q3_K), T(Q3_K)},
     {ALWAYS, 0, T(Q3_K), T(Q3_K)}},
    {"q3_k_m",
     12,
     T(Q3_K),
     {FIRST, 2, T(Q5_K), T(Q4_K)},
     {FRACTION, 16, T(Q5_K), T(Q4_K)},
     {ALWAYS, 0, T(Q4_K), T(Q4_K)}},
    {"q4_k_s", 14, T(Q4_K), {FIRST, 4, T(Q5_K), T(Q4_K)}, {FRACTION, 8, T(Q5_K), T(Q4_K)}, {0}},
    {"q4_k_m", 15, T(Q4_K), {MORE, 0, T(Q6_K), T(Q4_K)}, {MORE, 0, T(Q6_K), T(Q4_K)}, {0}},
    {.name = "q5_k_s", .file_type = 16, .base = T(Q5_K)},
    {"q5_k_m", 17, T(Q5_K), {MORE, 0, T(Q6_K), T(Q5_K)}, {MORE, 0, T(Q6_K), T(Q5_K)}, {0}},
};

#undef T

#define N_MIXTURES (sizeof mixtures / sizeof mixtures[0])

const char *sp_mixture_name(size_t i)
{
    return i < N_MIXTURES ? mixtures[i].name : NULL;
}

uint32_t sp_mixture_file_type(const sp_mixture *mixture)
{
    return mixture->file_type;
}

static bool equal_ignoring_case(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b)) return false;
    }
    return *a == *b;
}

sp_status sp_mixture_find(const sp_mixture **mixture, const char *name, sp_error *err)
{
    for (size_t i = 0; i < N_MIXTURES; i++) {
        if (!equal_ignoring_case(name, mixtures[i].name)) continue;
        *mixture = &mixtures[i];
        return SP_OK;
    }
    char known[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < N_MIXTURES; i++) {
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", mixtures[i].name);
    }
    return sp_fail(err, SP_E_ARGUMENT, "type \"%.32s\" is unknown; known are: %s", name, known);
}

sp_dtype sp_mixture_fallback(sp_dtype dtype, int64_t cols)
{
    static const struct {
        sp_dtype from, to;
    } steps[] = {
        {SP_DTYPE_Q2_K, SP_DTYPE_Q4_0}, {SP_DTYPE_Q3_K, SP_DTYPE_Q4_0}, {SP_DTYPE_Q4_K, SP_DTYPE_Q5_0},
        {SP_DTYPE_Q5_K, SP_DTYPE_Q5_1}, {SP_DTYPE_Q6_K, SP_DTYPE_Q8_0}, {SP_DTYPE_IQ4_XS, SP_DTYPE_IQ4_NL},
    };
    if (cols % sp_dtype_get(dtype)->block == 0) return dtype;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (steps[i].from == dtype) dtype = steps[i].to;
    }
    return cols % sp_dtype_get(dtype)->block == 0 ? dtype : SP_DTYPE_F16;
}

static bool stays_f32(const char *name, int n_dims)
{
    return n_dims < 2 || !sp_ends_with(name, "weight") || sp_ends_with(name, "_norm.weight") ||
           strstr(name, "ffn_gate_inp.weight") != NULL;
}

static bool holds(const place *p, const sp_mixture_facts *facts, int32_t layer)
{
    int32_t n = facts->n_blocks;
    switch (p->when) {
    case SAME:
    case ALWAYS: return true;
    case FIRST: return layer < p->arg;
    case FRACTION: return layer < n / p->arg;
    case MORE: return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
    case GROUPED: return facts->heads_per_kv >= p->arg;
    }
    return true;
}

static sp_dtype choose_at(const sp_mixture *m, const place *p, const sp_mixture_facts *facts, int32_t layer)
{
    if (p->when == SAME) return m->base;
    return holds(p, facts, layer) ? p->then : p->otherwise;
}

static sp_dtype choose_matrix(const sp_mixture *m, const sp_mixture_facts *facts, const char *name)
{
    if (strcmp(name, "output.weight") == 0 || (facts->tied && strcmp(name, "token_embd.weight") == 0)) {
        return m->base == SP_DTYPE_Q8_0 ? m->base : SP_DTYPE_Q6_K;
    }
    int layer = 0;
    if (sscanf(name, "blk.%d.", &layer) != 1) return m->base;
    if (strstr(name, "attn_v.weight") || strstr(name, "attn_kv_b.weight")) {
        sp_dtype dtype = choose_at(m, &m->attn_v, facts, layer);
        /* 70B shapes: attn_v is an eighth of attn_q, so more bits cost little */
        bool large = facts->n_blocks == 80 && facts->heads_per_kv > 1 && m->attn_v.when != SAME;
        return large && (dtype == SP_DTYPE_Q3_K || dtype == SP_DTYPE_Q4_K) ? SP_DTYPE_Q5_K : dtype;
    }
    if (strstr(name, "ffn_down")) return choose_at(m, &m->ffn_down, facts, layer);
    if (strstr(name, "attn_output.weight")) return choose_at(m, &m->attn_output, facts, layer);
    return m->base;
}

sp_dtype sp_mixture_choose(const sp_mixture *mixture, const sp_mixture_facts *facts, const char *name,
                           int n_dims, const int64_t *shape)
{
    if (stays_f32(name, n_dims)) return SP_DTYPE_F32;
    if (sp_dtype_get(mixture->base)->block == 1) return mixture->base;
    return sp_mixture_fallback(choose_matrix(mixture, facts, name), shape[n_dims - 1]);
}
