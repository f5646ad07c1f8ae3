/* SPDX-License-Identifier: MIT */
/* Choosing the next token from logits. A sampler holds settings and scratch memory, no random state: the draw
 * for position p is a pure function of (seed, p, logits, history), so a reply can be repeated from any point.
 */
#ifndef SPUTNIK_SAMPLER_H
#define SPUTNIK_SAMPLER_H

#include <sputnik/status.h>

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sp_logit_bias {
    int32_t id;
    float bias; /* added to the logit; -100 or less bans the token */
} sp_logit_bias;

typedef struct sp_sampler_options {
    float temperature; /* >= 0; 0 means the largest logit, lowest id on ties */
    int32_t top_k;     /* keep the k most probable; 0: all */
    float top_p;       /* (0, 1]: smallest set with at least this mass */
    float min_p;       /* [0, 1): at least this share of the largest probability */
    float
        repetition_penalty;  /* > 0, 1: off; divides positive and multiplies negative logits of seen tokens */
    float frequency_penalty; /* subtracted once per occurrence */
    float presence_penalty;  /* subtracted once if present */
    int32_t penalty_last_n;  /* tokens of history that penalties look at; -1: all */
    uint64_t seed;
    const sp_logit_bias *logit_bias; /* copied by sp_sampler_create */
    size_t n_logit_bias;
    int32_t n_logprobs; /* alternatives reported with each token, 0..20 */
    int32_t n_valid;    /* ids >= n_valid are never chosen (padding rows of the head); 0: all valid */
} sp_sampler_options;

#define SP_SAMPLER_OPTIONS_DEFAULTS                                                                          \
    {                                                                                                        \
        0.6f, 0, 0.95f, 0.0f, 1.0f, 0.0f, 0.0f, -1, 0, NULL, 0, 0, 0                                         \
    }

typedef struct sp_sampler sp_sampler;

/* Order of operations: logit bias, penalties, (greedy if temperature is 0), temperature, top-k, min-p, top-p,
 * draw. Errors: SP_E_ARGUMENT naming the setting that is out of range, SP_E_NOMEM. */
SP_API sp_status sp_sampler_create(sp_sampler **sampler, int32_t vocab_size,
                                   const sp_sampler_options *options, sp_error *err);
SP_API void sp_sampler_destroy(sp_sampler *sampler);

#define SP_MAX_LOGPROBS 20

typedef struct sp_sample {
    int32_t id;
    float logprob; /* of the token under the softmax of the raw logits (temperature 1, no penalties) */
    int32_t n_top;
    int32_t top_ids[SP_MAX_LOGPROBS]; /* most probable first, same distribution */
    float top_logprobs[SP_MAX_LOGPROBS];
} sp_sample;

/* Choose the token that follows history[0..n). `logits` is (vocab_size) and is not changed. n_prompt of the
 * history's tokens are prompt: penalties count generated tokens and, as the field does, the prompt for the
 * repetition penalty only. SP_E_RANGE if all logits are NaN or every token is banned. */
SP_API sp_status sp_sampler_sample(sp_sampler *sampler, const float *logits, const int32_t *history, size_t n,
                                   size_t n_prompt, sp_sample *sample, sp_error *err);

#ifdef __cplusplus
}
#endif

#endif
