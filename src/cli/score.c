/* SPDX-License-Identifier: MIT */
/* Negative log-likelihood and Kullback-Leibler divergence per position. Start at sp_scores_add(). */
#include "cli/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/kernels.h"

sp_status sp_scores_init(sp_scores *scores, int32_t vocab_size, int with_reference, sp_error *err)
{
    memset(scores, 0, sizeof *scores);
    scores->vocab_size = vocab_size;
    if (!with_reference) return SP_OK;
    scores->rows = sp_malloc_array((size_t)vocab_size * SP_SCORE_GROUP, sizeof *scores->rows);
    return scores->rows ? SP_OK
                        : sp_fail_nomem(err, "reference logits", (uint64_t)vocab_size * SP_SCORE_GROUP * 4);
}

void sp_scores_clear(sp_scores *scores)
{
    sp_free(scores->kl);
    sp_free(scores->rows);
    scores->kl = NULL;
    scores->rows = NULL;
}

double sp_score_lse(const float *logits, size_t n)
{
    float max = logits[0];
    double sum = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > max) max = logits[i];
    for (size_t i = 0; i < n; i++) sum += exp((double)logits[i] - (double)max);
    return (double)max + log(sum);
}

/* KL(reference || model) of two rows of logits (n). */
static double divergence(const float *reference, double reference_lse, const float *model, double model_lse,
                         size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double log_p = (double)reference[i] - reference_lse;
        double log_q = (double)model[i] - model_lse;
        double p = exp(log_p);
        if (p > 0) sum += p * (log_p - log_q);
    }
    return sum > 0 ? sum : 0; /* rounding may leave a tiny negative number */
}

/* One pass over a group of positions. */
typedef struct group {
    sp_scores *scores;
    const int32_t *tokens;
    size_t first, end; /* positions [first, end) */
} group;

static int keep_reference(void *ctx, size_t position, const float *logits)
{
    const group *g = ctx;
    size_t n = (size_t)g->scores->vocab_size;
    if (position < g->end) memcpy(g->scores->rows + (position - g->first) * n, logits, n * sizeof *logits);
    return 0;
}

static int score_position(void *ctx, size_t position, const float *logits)
{
    const group *g = ctx;
    sp_scores *s = g->scores;
    size_t n = (size_t)s->vocab_size;
    if (position >= g->end) return 0;
    int32_t next = g->tokens[position + 1];
    double lse = sp_score_lse(logits, n);
    double nll = lse - (double)logits[next];
    s->nll_sum += nll;
    s->nll_square_sum += nll * nll;
    if (s->rows) {
        const float *reference = s->rows + (position - g->first) * n;
        double reference_lse = sp_score_lse(reference, n);
        double kl = divergence(reference, reference_lse, logits, lse, n);
        s->reference_nll_sum += reference_lse - (double)reference[next];
        s->kl_sum += kl;
        s->kl_square_sum += kl * kl;
        s->n_same_top += sp_find_largest(reference, (int64_t)n) == sp_find_largest(logits, (int64_t)n);
        s->kl[s->n] = (float)kl;
    }
    s->n++;
    return 0;
}

sp_status sp_scores_add(sp_scores *scores, sp_session *session, sp_session *reference, const int32_t *tokens,
                        size_t n, size_t first, sp_error *err)
{
    group g = {scores, tokens, first, n - 1};
    if (n < 2 || first >= n - 1)
        return sp_fail(err, SP_E_ARGUMENT, "score: a window of %zu tokens has none to predict", n);
    for (size_t i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= scores->vocab_size)
            return sp_fail(err, SP_E_RANGE, "token %d is outside the vocabulary of %d", (int)tokens[i],
                           (int)scores->vocab_size);
    if (!reference) return sp_session_score(session, tokens, n - 1, first, score_position, &g, err);
    if (scores->n + n > scores->kl_cap) {
        size_t cap = 2 * scores->kl_cap + n;
        float *kl = sp_realloc_array(scores->kl, cap, sizeof *kl);
        if (!kl) return sp_fail_nomem(err, "divergences", cap * sizeof *kl);
        scores->kl = kl;
        scores->kl_cap = cap;
    }
    for (g.first = first; g.first < n - 1; g.first = g.end) {
        g.end = g.first + SP_SCORE_GROUP < n - 1 ? g.first + SP_SCORE_GROUP : n - 1;
        SP_TRY(sp_session_score(reference, tokens, g.end, g.first, keep_reference, &g, err));
        SP_TRY(sp_session_score(session, tokens, g.end, g.first, score_position, &g, err));
    }
    return SP_OK;
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double mean_error(double sum, double square_sum, size_t n)
{
    double mean = sum / (double)n;
    double variance = square_sum / (double)n - mean * mean;
    return n > 1 && variance > 0 ? sqrt(variance / (double)(n - 1)) : 0;
}

static double percentile(const float *sorted, size_t n, double share)
{
    size_t i = (size_t)(share * (double)(n - 1) + 0.5);
    return (double)sorted[i];
}

sp_status sp_scores_summarise(sp_scores *scores, sp_score_summary *summary, sp_error *err)
{
    size_t n = scores->n;
    memset(summary, 0, sizeof *summary);
    if (n == 0) return sp_fail(err, SP_E_ARGUMENT, "no token was scored");
    summary->n = n;
    summary->nll = scores->nll_sum / (double)n;
    summary->nll_error = mean_error(scores->nll_sum, scores->nll_square_sum, n);
    summary->perplexity = exp(summary->nll);
    summary->perplexity_error = summary->perplexity * summary->nll_error;
    if (!scores->rows) return SP_OK;
    qsort(scores->kl, n, sizeof *scores->kl, compare_floats);
    summary->reference_perplexity = exp(scores->reference_nll_sum / (double)n);
    summary->kl_mean = scores->kl_sum / (double)n;
    summary->kl_error = mean_error(scores->kl_sum, scores->kl_square_sum, n);
    summary->kl_max = (double)scores->kl[n - 1];
    summary->kl_p50 = percentile(scores->kl, n, 0.50);
    summary->kl_p90 = percentile(scores->kl, n, 0.90);
    summary->kl_p95 = percentile(scores->kl, n, 0.95);
    summary->kl_p99 = percentile(scores->kl, n, 0.99);
    summary->top1 = (double)scores->n_same_top / (double)n;
    return SP_OK;
}
