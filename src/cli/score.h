/* SPDX-License-Identifier: MIT */
/* Scores of predicted tokens: negative log-likelihoods and, with a reference model, divergences between the
 * two models' distributions. All sums are in double precision, in the order of the text. */
#ifndef SP_CLI_SCORE_H
#define SP_CLI_SCORE_H

#include "base/mem.h"

#include <sputnik/session.h>

typedef struct sp_scores {
    int32_t vocab_size;
    size_t n;
    double nll_sum, nll_square_sum; /* natural logarithm */
    double reference_nll_sum;
    double kl_sum, kl_square_sum;
    size_t n_same_top;
    float *kl; /* (n), every scored position */
    size_t kl_cap;
    float *rows; /* reference logits of a group of positions, (SP_SCORE_GROUP, vocab_size); NULL without
                    reference */
} sp_scores;

#define SP_SCORE_GROUP 32

typedef struct sp_score_summary {
    size_t n;
    double nll, nll_error, perplexity, perplexity_error; /* errors: one standard error of the mean */
    double reference_perplexity;
    double kl_mean, kl_error, kl_max, kl_p50, kl_p90, kl_p95, kl_p99;
    double top1; /* share of positions whose likeliest token is the same */
} sp_score_summary;

sp_status sp_scores_init(sp_scores *scores, int32_t vocab_size, int with_reference, sp_error *err);
void sp_scores_clear(sp_scores *scores);

/* Evaluate tokens[0..n) and score the predictions made at positions first..n-2. `reference` may be NULL. */
sp_status sp_scores_add(sp_scores *scores, sp_session *session, sp_session *reference, const int32_t *tokens,
                        size_t n, size_t first, sp_error *err);

sp_status sp_scores_summarise(sp_scores *scores, sp_score_summary *summary, sp_error *err);

/* log sum exp of (n) logits. */
double sp_score_lse(const float *logits, size_t n);

#endif
