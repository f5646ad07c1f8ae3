/* SPDX-License-Identifier: MIT */
/* Which storage format each tensor of a GGUF file gets when a model is converted to a named type.
 *
 * Two kinds of names. A plain name ("q4_k", "q8_0", "bf16", ...) means that type for every weight matrix. A
 * mixture
 * ("q4_k_m", "q2_k", ...) spends more bits on attn_v, attn_kv_b, ffn_down and attn_output by the rules that
 * llama-quantize made common. Under both, as the field does:
 *   - vectors, norms, biases, the router (ffn_gate_inp) and what is no ".weight" stay F32;
 *   - output.weight (token_embd.weight where tied) is Q6_K under any quantised type but Q8_0;
 *   - rows that the block of 256 does not divide fall back: Q2_K, Q3_K to Q4_0; Q4_K to Q5_0; Q5_K to Q5_1;
 * Q6_K to Q8_0; IQ4_XS to IQ4_NL; rows that 32 does not divide become F16. "q2_k" names the mixture; every
 * other plain name is what it says. Source: llama.cpp, src/llama-quant.cpp. */
#ifndef SP_MODEL_MIXTURE_H
#define SP_MODEL_MIXTURE_H

#include "model/hparams.h"
#include "tensor/dtype.h"

typedef struct sp_mixture sp_mixture;

/* Case-insensitive. SP_E_ARGUMENT lists the known names. */
sp_status sp_mixture_find(const sp_mixture **mixture, const char *name, sp_error *err);

/* Name of row i of the table, NULL past the end. */
const char *sp_mixture_name(size_t i);

/* general.file_type for the mixture. */
uint32_t sp_mixture_file_type(const sp_mixture *mixture);

/* What the rules look at besides the tensor itself. */
typedef struct sp_mixture_facts {
    int32_t n_blocks;     /* multi-token-prediction layers included */
    int32_t heads_per_kv; /* query heads that share a key-value head */
    bool tied;            /* the file has no output.weight */
} sp_mixture_facts;

/* The type for a tensor by its GGUF name and shape (outermost first). */
sp_dtype sp_mixture_choose(const sp_mixture *mixture, const sp_mixture_facts *facts, const char *name,
                           int n_dims, const int64_t *shape);

/* A type whose block divides rows of `cols` elements: `dtype` itself or the next one up as listed above. */
sp_dtype sp_mixture_fallback(sp_dtype dtype, int64_t cols);

#endif
