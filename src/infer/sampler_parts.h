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

/* Terms below exp(-50) cannot move a sum that is at least 1: 2^20 of them add less than 2^-53. */
#define SP_SMALLEST_EXPONENT (-50.0)

/* Id of the largest adjusted logit, the lowest on ties; -1 if none can be chosen. */
int32_t sp_sampler_argmax(const sp_sampler *sampler);

/* Draw from the adjusted logits; u is uniform in [0, 1), `largest` the result of sp_sampler_argmax. */
int32_t sp_sampler_draw(sp_sampler *sampler, int32_t largest, double u);

#endif
