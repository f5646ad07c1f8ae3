/* SPDX-License-Identifier: MIT */
/* The sampler's state, shared by its two files: sampler.c adjusts logits, sampler_select.c chooses among
 * them. */
#ifndef SP_INFER_SAMPLER_PARTS_H
#define SP_INFER_SAMPLER_PARTS_H

#include "base/mem.h"

#include <sputnik/sampler.h>

typedef struct sp_candidate {
    float logit;
    int32_t id;
} sp_candidate;

struct sp_sampler {
    sp_sampler_options options; /* logit_bias points to our copy */
    int32_t vocab_size;
    float *logits;            /* (vocab_size) adjusted; -INFINITY: never chosen */
    double *weights;          /* (vocab_size) exp((logit - largest) / temperature) */
    sp_candidate *candidates; /* (vocab_size) */
    sp_candidate *spare;      /* (vocab_size) scratch of the sort */
    int32_t *generated; /* (vocab_size) occurrences in the window's generated part; zero between calls */
    uint8_t *seen;      /* (vocab_size) occurs in the window; zero between calls */
    int32_t *touched;   /* (vocab_size) ids with seen set */
};

/* The ids so far; the first n_prompt of them are the prompt's. */
typedef struct sp_history {
    const int32_t *ids;
    size_t n, n_prompt;
} sp_history;

/* Terms below exp(-50) cannot move a sum that is at least 1: 2^20 of them add less than 2^-53. */
#define SP_SMALLEST_EXPONENT (-50.0)

/* As sp_sampler_sample, among the ids alone whose bit is set in the mask (n_masked bits; ids beyond are out); NULL: all.
 * What is reported of probabilities stays that of all tokens. */
sp_status sp_sampler_sample_masked(sp_sampler *sampler, const float *logits, const uint64_t *mask,
                                   int32_t n_masked, const sp_history *history, sp_sample *sample,
                                   sp_error *err);

/* Id of the largest adjusted logit, the lowest on ties; -1 if none can be chosen. */
int32_t sp_sampler_argmax(const sp_sampler *sampler);

/* Draw from the adjusted logits; u is uniform in [0, 1), `largest` the result of sp_sampler_argmax. */
int32_t sp_sampler_draw(sp_sampler *sampler, int32_t largest, double u);

#endif
