/* SPDX-License-Identifier: MIT */
/* The sampler's settings, the adjustments of logits and the log-probabilities. Start at sp_sampler_sample().
 * Draws use the counter-based generator at (seed, SAMPLER_STREAM, position), so they depend on nothing that
 * happened before. */
#include "infer/sampler_parts.h"

#include "base/rng.h"

#include <math.h>
#include <string.h>

#define SAMPLER_STREAM                                                                                       \
    0x73616D706C65ull /* "sample": keeps these draws apart from other uses of the same seed */
#define BAN_BIAS (-100.0f)

static sp_status check_options(const sp_sampler_options *o, int32_t vocab_size, sp_error *err)
{
    const char *bad = NULL;
    if (!(o->temperature >= 0) || !isfinite(o->temperature)) bad = "temperature must be at least 0";
    if (o->top_k < 0) bad = "top_k must be at least 0";
    if (!(o->top_p > 0 && o->top_p <= 1)) bad = "top_p must be above 0 and at most 1";
    if (!(o->min_p >= 0 && o->min_p < 1)) bad = "min_p must be at least 0 and below 1";
    if (!(o->repetition_penalty > 0) || !isfinite(o->repetition_penalty))
        bad = "repetition_penalty must be above 0";
    if (!isfinite(o->frequency_penalty)) bad = "frequency_penalty must be finite";
    if (!isfinite(o->presence_penalty)) bad = "presence_penalty must be finite";
    if (o->penalty_last_n < -1) bad = "penalty_last_n must be at least -1";
    if (o->n_logprobs < 0 || o->n_logprobs > SP_MAX_LOGPROBS) bad = "n_logprobs must be from 0 to 20";
    if (o->n_valid < 0) bad = "n_valid must be at least 0";
    if (vocab_size < 1) bad = "the vocabulary must not be empty";
    if (bad) return sp_fail(err, SP_E_ARGUMENT, "sampler: %s", bad);
    for (size_t i = 0; i < o->n_logit_bias; i++) {
        if (o->logit_bias[i].id < 0 || o->logit_bias[i].id >= vocab_size)
            return sp_fail(err, SP_E_ARGUMENT, "sampler: logit_bias for token %d, the vocabulary has %d",
                           o->logit_bias[i].id, vocab_size);
        if (isnan(o->logit_bias[i].bias))
            return sp_fail(err, SP_E_ARGUMENT, "sampler: a logit_bias is no number");
    }
    return SP_OK;
}

sp_status sp_sampler_create(sp_sampler **sampler, int32_t vocab_size, const sp_sampler_options *options,
                            sp_error *err)
{
    *sampler = NULL;
    SP_TRY(check_options(options, vocab_size, err));
    sp_sampler *s = sp_calloc(1, sizeof *s);
    if (!s) return sp_fail_nomem(err, "sampler", sizeof *s);
    size_t n = (size_t)vocab_size;
    s->options = *options;
    s->vocab_size = vocab_size;
    if (s->options.n_valid == 0 || s->options.n_valid > vocab_size) s->options.n_valid = vocab_size;
    sp_logit_bias *bias = sp_malloc_array(options->n_logit_bias, sizeof *bias);
    if (bias && options->n_logit_bias)
        memcpy(bias, options->logit_bias, options->n_logit_bias * sizeof *bias);
    s->options.logit_bias = bias;
    s->logits = sp_malloc_array(n, sizeof *s->logits);
    s->weights = sp_malloc_array(n, sizeof *s->weights);
    s->candidates = sp_malloc_array(n, sizeof *s->candidates);
    s->spare = sp_malloc_array(n, sizeof *s->spare);
    s->generated = sp_calloc(n, sizeof *s->generated);
    s->seen = sp_calloc(n, sizeof *s->seen);
    s->touched = sp_malloc_array(n, sizeof *s->touched);
    if (!bias || !s->logits || !s->weights || !s->candidates || !s->spare || !s->generated || !s->seen ||
        !s->touched) {
        sp_sampler_destroy(s);
        return sp_fail_nomem(err, "sampler", n * 40);
    }
    *sampler = s;
    return SP_OK;
}

void sp_sampler_destroy(sp_sampler *sampler)
{
    if (!sampler) return;
    sp_free((void *)(uintptr_t)sampler->options.logit_bias);
    sp_free(sampler->logits);
    sp_free(sampler->weights);
    sp_free(sampler->candidates);
    sp_free(sampler->spare);
    sp_free(sampler->generated);
    sp_free(sampler->seen);
    sp_free(sampler->touched);
    sp_free(sampler);
}

/* Copy the logits; what can never be chosen becomes -INFINITY. */
static void load_logits(sp_sampler *sampler, const float *logits)
{
    int32_t n_valid = sampler->options.n_valid;
    float *out = sampler->logits;
    for (int32_t i = 0; i < n_valid; i++) out[i] = isnan(logits[i]) ? -INFINITY : logits[i];
    for (int32_t i = n_valid; i < sampler->vocab_size; i++) out[i] = -INFINITY;
    for (size_t i = 0; i < sampler->options.n_logit_bias; i++) {
        sp_logit_bias bias = sampler->options.logit_bias[i];
        out[bias.id] = bias.bias <= BAN_BIAS ? -INFINITY : out[bias.id] + bias.bias;
    }
}

static void apply_penalties(sp_sampler *sampler, const int32_t *history, size_t n, size_t n_prompt)
{
    const sp_sampler_options *o = &sampler->options;
    float repetition = o->repetition_penalty;
    if (repetition == 1.0f && o->frequency_penalty == 0.0f && o->presence_penalty == 0.0f) return;
    size_t first =
        o->penalty_last_n >= 0 && (size_t)o->penalty_last_n < n ? n - (size_t)o->penalty_last_n : 0;
    size_t n_touched = 0;
    for (size_t i = first; i < n; i++) {
        int32_t id = history[i];
        if (id < 0 || id >= sampler->vocab_size) continue;
        if (!sampler->seen[id]) sampler->touched[n_touched++] = id;
        sampler->seen[id] = 1;
        sampler->generated[id] += i >= n_prompt;
    }
    for (size_t i = 0; i < n_touched; i++) {
        int32_t id = sampler->touched[i], count = sampler->generated[id];
        float logit = sampler->logits[id];
        logit = logit > 0 ? logit / repetition : logit * repetition;
        if (count) logit -= (float)count * o->frequency_penalty + o->presence_penalty;
        sampler->logits[id] = logit;
        sampler->seen[id] = 0;
        sampler->generated[id] = 0;
    }
}

/* Log of the softmax's denominator over all raw logits, relative to the largest, which goes to *largest. */
static double log_denominator(const float *logits, int32_t n, double *largest)
{
    double max = -INFINITY, sum = 0;
    for (int32_t i = 0; i < n; i++)
        if (logits[i] > max) max = logits[i];
    for (int32_t i = 0; i < n; i++) {
        if (isnan(logits[i])) continue;
        double x = logits[i] == max ? 0.0 : (double)logits[i] - max;
        if (x > SP_SMALLEST_EXPONENT) sum += exp(x);
    }
    *largest = max;
    return log(sum);
}

/* The token's log-probability and the most probable alternatives, from the raw logits. */
static void report_logprobs(const sp_sampler *sampler, const float *logits, sp_sample *sample)
{
    double max, denominator = log_denominator(logits, sampler->vocab_size, &max);
    int32_t n_top = 0, wanted = sampler->options.n_logprobs;
    float chosen = logits[sample->id];
    sample->logprob = (float)((chosen == max ? 0.0 : (double)chosen - max) - denominator);
    for (int32_t id = 0; wanted && id < sampler->options.n_valid; id++) {
        float logit = logits[id];
        if (isnan(logit) || (n_top == wanted && !(logit > sample->top_logprobs[n_top - 1]))) continue;
        int32_t at = n_top < wanted ? n_top++ : n_top - 1;
        for (; at > 0 && logit > sample->top_logprobs[at - 1]; at--) {
            sample->top_logprobs[at] = sample->top_logprobs[at - 1];
            sample->top_ids[at] = sample->top_ids[at - 1];
        }
        sample->top_logprobs[at] = logit; /* the logit, until the loop below */
        sample->top_ids[at] = id;
    }
    sample->n_top = n_top;
    for (int32_t i = 0; i < n_top; i++) {
        double logit = sample->top_logprobs[i];
        sample->top_logprobs[i] = (float)((logit == max ? 0.0 : logit - max) - denominator);
    }
}

static void apply_mask(sp_sampler *sampler, const uint64_t *mask, int32_t n_masked)
{
    for (int32_t i = 0; i < sampler->options.n_valid; i++)
        if (i >= n_masked || !(mask[i >> 6] >> (i & 63) & 1)) sampler->logits[i] = -INFINITY;
}

sp_status sp_sampler_sample_masked(sp_sampler *sampler, const float *logits, const uint64_t *mask,
                                   int32_t n_masked, const sp_history *history, sp_sample *sample,
                                   sp_error *err)
{
    memset(sample, 0, sizeof *sample);
    load_logits(sampler, logits);
    if (mask) apply_mask(sampler, mask, n_masked);
    apply_penalties(sampler, history->ids, history->n, history->n_prompt);
    sample->id = sp_sampler_argmax(sampler);
    if (sample->id < 0)
        return sp_fail(err, SP_E_RANGE,
                       "sampler: no token can be chosen (all logits are NaN, or every token is banned)");
    if (sampler->options.temperature > 0) {
        double u = sp_rng_uniform(sampler->options.seed, SAMPLER_STREAM, history->n);
        sample->id = sp_sampler_draw(sampler, sample->id, u);
    }
    report_logprobs(sampler, logits, sample);
    return SP_OK;
}

sp_status sp_sampler_sample(sp_sampler *sampler, const float *logits, const int32_t *history, size_t n,
                            size_t n_prompt, sp_sample *sample, sp_error *err)
{
    return sp_sampler_sample_masked(sampler, logits, NULL, 0, &(sp_history){history, n, n_prompt}, sample,
                                    err);
}
