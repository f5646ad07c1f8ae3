/* SPDX-License-Identifier: MIT */
/* The sampler: each setting against an independent, plain computation of the distribution it means; draws
 * against that distribution by chi-square; repeatability; refusals; failed allocations. */
#include "test_util.h"

#include "base/mem.h"

#include <math.h>
#include <sputnik/sampler.h>

#define VOCAB 64

static const sp_sampler_options defaults = SP_SAMPLER_OPTIONS_DEFAULTS;

static sp_sampler_options plain(float temperature)
{
    sp_sampler_options o = defaults;
    o.temperature = temperature;
    o.top_p = 1;
    return o;
}

static void fill_logits(float *logits, int n, unsigned seed)
{
    uint32_t x = seed * 2654435761u + 1;
    for (int i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        logits[i] = (float)(x >> 8) / (float)(1 << 24) * 8 - 4;
    }
}

static sp_sampler *create(const sp_sampler_options *o, int32_t vocab)
{
    sp_sampler *sampler;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_sampler_create(&sampler, vocab, o, &err), err);
    return sampler;
}

static sp_sample draw(sp_sampler *sampler, const float *logits, const int32_t *history, size_t n,
                      size_t n_prompt)
{
    sp_sample sample;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_sampler_sample(sampler, logits, history, n, n_prompt, &sample, &err), err);
    return sample;
}

/* --- the distribution, computed the plain way ----------------------------------------------------------- */

typedef struct ranked {
    double p;
    int id;
} ranked;

static int by_rank(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->p > y->p ? -1 : x->p < y->p ? 1 : x->id - y->id;
}

static void normalise(ranked *r, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += r[i].p;
    for (int i = 0; i < n; i++) r[i].p /= sum;
}

/* p[VOCAB] of temperature, top-k, min-p, top-p applied one after the other to adjusted logits. */
static void exact_distribution(double *p, const float *logits, const sp_sampler_options *o)
{
    ranked r[VOCAB];
    int n = VOCAB;
    for (int i = 0; i < VOCAB; i++) r[i] = (ranked){exp((double)logits[i] / (double)o->temperature), i};
    qsort(r, VOCAB, sizeof r[0], by_rank);
    if (o->top_k > 0 && o->top_k < n) n = o->top_k;
    while (n > 1 && r[n - 1].p < (double)o->min_p * r[0].p) n--;
    normalise(r, n);
    int kept = 0;
    for (double sum = 0; kept < n && sum < (double)o->top_p; kept++) sum += r[kept].p;
    normalise(r, kept);
    for (int i = 0; i < VOCAB; i++) p[i] = 0;
    for (int i = 0; i < kept; i++) p[r[i].id] = r[i].p;
}

/* Draws at many positions against the exact distribution: nothing outside its support, and chi-square within
 * dof + 4 sqrt(2 dof), which a correct sampler exceeds with p < 1e-4; the seeds are fixed. */
static void check_distribution(const sp_sampler_options *o, unsigned seed)
{
    enum { N = 20000 };
    float logits[VOCAB];
    double p[VOCAB], chi = 0, dof = -1, rest_want = 0, rest_got = 0;
    int counts[VOCAB] = {0};
    static int32_t history[N];
    fill_logits(logits, VOCAB, seed);
    exact_distribution(p, logits, o);
    sp_sampler *sampler = create(o, VOCAB);
    for (size_t i = 0; i < N; i++) counts[draw(sampler, logits, history, i, i).id]++;
    for (int i = 0; i < VOCAB; i++) {
        if (p[i] == 0) assert_int_equal(counts[i], 0);
        if (p[i] * N < 10) { /* rare ones together */
            rest_want += p[i] * N;
            rest_got += counts[i];
            continue;
        }
        chi += (counts[i] - p[i] * N) * (counts[i] - p[i] * N) / (p[i] * N);
        dof++;
    }
    if (rest_want >= 10) {
        chi += (rest_got - rest_want) * (rest_got - rest_want) / rest_want;
        dof++;
    }
    assert_true(chi <= dof + 4 * sqrt(2 * dof + 1));
    sp_sampler_destroy(sampler);
}

static void test_distributions(void **state)
{
    static const struct {
        float temperature;
        int32_t top_k;
        float top_p, min_p;
    } cases[] = {
        {1, 0, 1, 0},           {0.6f, 0, 1, 0},         {2.5f, 0, 1, 0},
        {1, 5, 1, 0},           {0.6f, 0, 0.95f, 0},     {1.5f, 0, 0.5f, 0},
        {1, 0, 1, 0.2f},        {1, 10, 0.7f, 0},        {1, 20, 1, 0.1f},
        {1.2f, 0, 0.8f, 0.05f}, {0.8f, 30, 0.9f, 0.02f}, {1, 64, 0.99f, 0},
        {1, 0, 0.0001f, 0},     {1, 0, 1, 0.999f},       {1, 1, 1, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (unsigned seed = 1; seed <= 2; seed++) {
            sp_sampler_options o = defaults;
            o.temperature = cases[i].temperature;
            o.top_k = cases[i].top_k;
            o.top_p = cases[i].top_p;
            o.min_p = cases[i].min_p;
            o.seed = seed;
            check_distribution(&o, seed * 31 + (unsigned)i);
        }
    }
}

/* --- single settings ------------------------------------------------------------------------------------ */

static void test_greedy(void **state)
{
    float logits[8] = {1, 3, NAN, 3, -INFINITY, 2, 0, 99};
    sp_sampler_options o = plain(0);
    (void)state;
    o.n_valid = 7;
    sp_sampler *sampler = create(&o, 8);
    assert_int_equal(draw(sampler, logits, NULL, 0, 0).id, 1); /* the lowest of the ties; 7 is padding */
    sp_sampler_destroy(sampler);
    o.n_valid = 0;
    sampler = create(&o, 8);
    assert_int_equal(draw(sampler, logits, NULL, 0, 0).id, 7);
    sp_sampler_destroy(sampler);
}

static void test_ties_take_lowest_ids(void **state)
{
    float logits[VOCAB];
    bool seen[VOCAB] = {false};
    sp_sampler_options o = plain(1);
    (void)state;
    for (int i = 0; i < VOCAB; i++) logits[i] = i < 8 ? 0 : 1;
    o.top_k = 3;
    sp_sampler *sampler = create(&o, VOCAB);
    for (size_t i = 0; i < 200; i++) seen[draw(sampler, logits, (int32_t[200]){0}, i, i).id] = true;
    for (int i = 0; i < VOCAB; i++) assert_int_equal(seen[i], i >= 8 && i < 11);
    sp_sampler_destroy(sampler);
}

static void test_bias_and_bans(void **state)
{
    float logits[4] = {1, 2, 3, 4};
    sp_logit_bias bias[] = {{0, 10}, {3, -100}}, all[] = {{0, -INFINITY}, {1, -100}, {2, -1000}, {3, -100}};
    sp_sampler_options o = plain(0);
    sp_sample sample;
    sp_error err = SP_ERROR_NONE;
    (void)state;
    o.logit_bias = bias, o.n_logit_bias = 2;
    sp_sampler *sampler = create(&o, 4);
    bias[0].bias = 0; /* the sampler has its own copy */
    assert_int_equal(draw(sampler, logits, NULL, 0, 0).id, 0);
    sp_sampler_destroy(sampler);
    bias[0].bias = 0.5f;
    sampler = create(&o, 4);
    assert_int_equal(draw(sampler, logits, NULL, 0, 0).id, 2);
    sp_sampler_destroy(sampler);
    o.logit_bias = all, o.n_logit_bias = 4;
    sampler = create(&o, 4);
    assert_int_equal(sp_sampler_sample(sampler, logits, NULL, 0, 0, &sample, &err), SP_E_RANGE);
    sp_sampler_destroy(sampler);
    float nothing[4] = {NAN, NAN, NAN, NAN};
    o = plain(1);
    sampler = create(&o, 4);
    assert_int_equal(sp_sampler_sample(sampler, nothing, NULL, 0, 0, &sample, &err), SP_E_RANGE);
    nothing[2] = -3;
    assert_int_equal(draw(sampler, nothing, NULL, 0, 0).id, 2);
    float infinite[4] = {1, INFINITY, 2, INFINITY};
    int32_t id = draw(sampler, infinite, NULL, 0, 0).id;
    assert_true(id == 1 || id == 3);
    sp_sampler_destroy(sampler);
}

/* Greedy choice between two logits shows what a penalty did to the first: `edge` is where it falls below. */
static void expect_penalised(const sp_sampler_options *o, const int32_t *history, size_t n, size_t n_prompt,
                             float logit, float edge)
{
    sp_sampler *sampler = create(o, 8);
    for (int side = 0; side < 2; side++) {
        float logits[8] = {-50, -50, logit, edge + (side ? 0.01f : -0.01f), -50, -50, -50, -50};
        assert_int_equal(draw(sampler, logits, history, n, n_prompt).id, side ? 3 : 2);
    }
    sp_sampler_destroy(sampler);
}

static void test_penalties(void **state)
{
    static const int32_t history[] = {2, 5, 2, 7, 2, 99, -4}; /* the last two are no ids of ours */
    sp_sampler_options o = plain(0);
    (void)state;
    expect_penalised(&o, history, 7, 0, 4, 4);
    o.repetition_penalty = 2;
    expect_penalised(&o, history, 7, 0, 4, 2);
    expect_penalised(&o, history, 7, 7, 4, 2); /* the prompt counts for this one */
    expect_penalised(&o, history, 7, 0, -4, -8);
    o.penalty_last_n = 2;
    expect_penalised(&o, history, 7, 0, 4, 4);
    o.penalty_last_n = 3;
    expect_penalised(&o, history, 7, 0, 4, 2);
    o.penalty_last_n = 0;
    expect_penalised(&o, history, 7, 0, 4, 4);
    o = plain(0);
    o.frequency_penalty = 0.5f;
    expect_penalised(&o, history, 7, 0, 4, 2.5f);
    expect_penalised(&o, history, 7, 1, 4, 3); /* the prompt's one does not count */
    expect_penalised(&o, history, 7, 7, 4, 4);
    o.penalty_last_n = 5;
    expect_penalised(&o, history, 7, 0, 4, 3);
    o = plain(0);
    o.presence_penalty = 0.5f;
    expect_penalised(&o, history, 7, 0, 4, 3.5f);
    expect_penalised(&o, history, 7, 7, 4, 4);
    o.frequency_penalty = -1; /* negative ones encourage */
    o.repetition_penalty = 4;
    expect_penalised(&o, history, 7, 0, 4, 1 + 3 - 0.5f);
}

static void test_logprobs(void **state)
{
    float logits[5] = {1, 3, 2, 3, NAN};
    double sum = exp(-2) + 1 + exp(-1) + 1;
    sp_sampler_options o = plain(0.1f);
    (void)state;
    o.n_logprobs = 3;
    o.repetition_penalty = 3; /* logprobs are of the raw logits */
    sp_sampler *sampler = create(&o, 5);
    sp_sample s = draw(sampler, logits, (int32_t[]){1, 3}, 2, 0);
    assert_int_equal(s.id, 2);
    assert_float_equal(s.logprob, -1 - log(sum), 1e-6);
    assert_int_equal(s.n_top, 3);
    const int32_t ids[] = {1, 3, 2};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(s.top_ids[i], ids[i]);
        assert_float_equal(s.top_logprobs[i], (double)logits[ids[i]] - 3 - log(sum), 1e-6);
    }
    sp_sampler_destroy(sampler);
    o.n_logprobs = 20;
    sampler = create(&o, 5);
    assert_int_equal(draw(sampler, logits, NULL, 0, 0).n_top, 4);
    sp_sampler_destroy(sampler);
}

/* --- whole vocabularies --------------------------------------------------------------------------------- */

/* With 129280 tokens the draws equal those of a sort of everything, whatever shape the distribution has. */
static void test_large_vocabulary(void **state)
{
    enum { N = 129280 };
    static float logits[N];
    static ranked r[N];
    static const float spreads[] = {0.01f, 1, 4, 12};
    (void)state;
    for (size_t k = 0; k < sizeof spreads / sizeof spreads[0]; k++) {
        sp_sampler_options o = defaults;
        double total = 0, sum = 0, max = -INFINITY;
        int kept = 0;
        fill_logits(logits, N, (unsigned)k + 9);
        for (int i = 0; i < N; i++) logits[i] = floorf(logits[i] * spreads[k] * 64) / 64; /* many ties */
        for (int i = 0; i < N; i++) max = fmax(max, logits[i]);
        for (int i = 0; i < N; i++) {
            r[i] = (ranked){exp(((double)logits[i] - max) / (double)o.temperature), i};
            total += r[i].p;
        }
        qsort(r, N, sizeof r[0], by_rank);
        while (sum < (double)o.top_p * total) sum += r[kept++].p;
        bool *allowed = calloc(N, sizeof *allowed);
        for (int i = 0; i < kept; i++) allowed[r[i].id] = true;
        sp_sampler *sampler = create(&o, N);
        static int32_t history[64];
        for (size_t i = 0; i < 64; i++) assert_true(allowed[draw(sampler, logits, history, i, i).id]);
        sp_sampler_destroy(sampler);
        free(allowed);
    }
}

static void test_draws_are_repeatable(void **state)
{
    float logits[VOCAB];
    int32_t history[40] = {0}, first[40];
    sp_sampler_options o = defaults;
    int n_different = 0;
    (void)state;
    fill_logits(logits, VOCAB, 3);
    o.temperature = 2, o.seed = 42;
    sp_sampler *a = create(&o, VOCAB), *b = create(&o, VOCAB);
    o.seed = 43;
    sp_sampler *c = create(&o, VOCAB);
    for (size_t i = 0; i < 40; i++) first[i] = draw(a, logits, history, i, 0).id;
    for (size_t i = 40; i-- > 0;) { /* any order, another sampler */
        assert_int_equal(draw(b, logits, history, i, 0).id, first[i]);
        n_different += draw(c, logits, history, i, 0).id != first[i];
    }
    assert_true(n_different > 20);
    sp_sampler_destroy(a);
    sp_sampler_destroy(b);
    sp_sampler_destroy(c);
}

static void expect_refused(sp_sampler_options o, const char *setting)
{
    sp_sampler *sampler;
    sp_error err = SP_ERROR_NONE;
    assert_int_equal(sp_sampler_create(&sampler, VOCAB, &o, &err), SP_E_ARGUMENT);
    assert_null(sampler);
    assert_non_null(strstr(err.text, setting));
}

static void test_refused_settings(void **state)
{
    static const sp_logit_bias bad_id = {VOCAB, 0}, bad_bias = {0, NAN};
    (void)state;
#define REFUSED(field, value)                                                                                \
    do {                                                                                                     \
        sp_sampler_options o = defaults;                                                                     \
        o.field = value;                                                                                     \
        expect_refused(o, #field);                                                                           \
    } while (0)
    REFUSED(temperature, -0.1f);
    REFUSED(temperature, NAN);
    REFUSED(temperature, INFINITY);
    REFUSED(top_k, -1);
    REFUSED(top_p, 0);
    REFUSED(top_p, 1.1f);
    REFUSED(top_p, NAN);
    REFUSED(min_p, 1);
    REFUSED(min_p, -0.1f);
    REFUSED(repetition_penalty, 0);
    REFUSED(frequency_penalty, NAN);
    REFUSED(presence_penalty, INFINITY);
    REFUSED(penalty_last_n, -2);
    REFUSED(n_logprobs, 21);
    REFUSED(n_valid, -1);
#undef REFUSED
    sp_sampler_options o = defaults;
    o.logit_bias = &bad_id, o.n_logit_bias = 1;
    expect_refused(o, "logit_bias");
    o.logit_bias = &bad_bias;
    expect_refused(o, "logit_bias");
}

static void test_failed_allocations(void **state)
{
    sp_status status = SP_E_NOMEM;
    (void)state;
    for (int64_t n = 0; status != SP_OK; n++) {
        sp_sampler *sampler;
        sp_error err = SP_ERROR_NONE;
        sp_mem_fail_after(n);
        status = sp_sampler_create(&sampler, VOCAB, &defaults, &err);
        sp_mem_fail_after(-1);
        assert_true(status == SP_OK || status == SP_E_NOMEM);
        assert_true(n < 20);
        sp_sampler_destroy(sampler);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distributions),
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_ties_take_lowest_ids),
        cmocka_unit_test(test_bias_and_bans),
        cmocka_unit_test(test_penalties),
        cmocka_unit_test(test_logprobs),
        cmocka_unit_test(test_large_vocabulary),
        cmocka_unit_test(test_draws_are_repeatable),
        cmocka_unit_test(test_refused_settings),
        cmocka_unit_test(test_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
