/* SPDX-License-Identifier: MIT */
/* Logits of every architecture's tiny checkpoint against independent implementations
 * (tests/golden/MANIFEST.md says how each was made), greedy continuations, the multi-token-prediction head,
 * and the real trained models. */
#include "test_util.h"

#include <math.h>
#include <sputnik/sputnik.h>

#define PROMPT 64
#define GREEDY 48
#define TOLERANCE 2e-4 /* of the largest |logit| */

static const char *const models[] = {"llama-plain", "llama-linear", "llama-llama3", "qwen2", "qwen3",
                                     "deepseek",    "v2-lite",      "v2",           "v3",    "v3-fp8"};

typedef struct golden {
    int32_t prompt[PROMPT + GREEDY];
    int32_t greedy[GREEDY];
    sp_buf logits; /* float (PROMPT, vocab) */
    int32_t vocab_size;
} golden;

static golden load_golden(const char *name)
{
    golden g = {0};
    char path[256];
    sp_error err = SP_ERROR_NONE;
    snprintf(path, sizeof path, "tests/golden/logits/%s.f32", name);
    g.logits = read_whole(test_path(path));
    snprintf(path, sizeof path, "tests/golden/logits/%s.json", name);
    sp_buf text = read_whole(test_path(path));
    sp_json *root;
    assert_ok(sp_json_parse(text.data, text.len, &root, &err), err);
    const sp_json *tokens = sp_json_get(root, "tokens"), *greedy = sp_json_get(root, "greedy");
    assert_int_equal(sp_json_size(tokens), PROMPT);
    assert_int_equal(sp_json_size(greedy), GREEDY);
    for (size_t i = 0; i < PROMPT; i++) g.prompt[i] = (int32_t)sp_json_int(sp_json_at(tokens, i), -1);
    for (size_t i = 0; i < GREEDY; i++) g.greedy[i] = (int32_t)sp_json_int(sp_json_at(greedy, i), -1);
    g.vocab_size = (int32_t)sp_json_int(sp_json_get(root, "vocab_size"), 0);
    assert_int_equal(g.logits.len, (size_t)PROMPT * (size_t)g.vocab_size * sizeof(float));
    sp_json_destroy(root);
    sp_buf_clear(&text);
    return g;
}

typedef struct comparison {
    const float *expected;
    int32_t vocab_size;
    double worst, largest;
} comparison;

static int compare_row(void *ctx, size_t position, const float *logits)
{
    comparison *c = ctx;
    const float *expected = c->expected + position * (size_t)c->vocab_size;
    for (int32_t i = 0; i < c->vocab_size; i++) {
        c->worst = fmax(c->worst, fabs((double)logits[i] - expected[i]));
        c->largest = fmax(c->largest, fabs((double)expected[i]));
    }
    return 0;
}

static int32_t largest_index(const float *x, int32_t n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

static sp_model *open_model(const char *name)
{
    char path[256];
    sp_error err = SP_ERROR_NONE;
    sp_model *model;
    snprintf(path, sizeof path, "tests/golden/models/%s", name);
    assert_ok(sp_model_open(&model, test_path(path), &err), err);
    return model;
}

static void check_model(const char *name)
{
    golden g = load_golden(name);
    sp_error err = SP_ERROR_NONE;
    sp_model *model = open_model(name);
    sp_session *session;
    sp_session_options options = SP_SESSION_OPTIONS_DEFAULTS;
    options.n_threads = 2;
    assert_ok(sp_session_create(&session, model, &options, &err), err);
    comparison c = {(const float *)(const void *)g.logits.data, g.vocab_size, 0.0, 0.0};
    assert_ok(sp_session_score(session, g.prompt, PROMPT, 0, compare_row, &c, &err), err);
    printf("%-14s max |delta| / max |logit| = %.2e (limit %.0e)\n", name, c.worst / c.largest, TOLERANCE);
    assert_true(c.worst <= TOLERANCE * c.largest);
    for (int i = 0; i < GREEDY; i++) {
        int32_t next = largest_index(sp_session_logits(session), g.vocab_size);
        assert_int_equal(next, g.greedy[i]);
        g.prompt[PROMPT + i] = next;
        if (i + 1 < GREEDY)
            assert_ok(sp_session_sync(session, g.prompt, (size_t)(PROMPT + i + 1), &err), err);
    }
    sp_session_destroy(session);
    sp_model_close(model);
    sp_buf_clear(&g.logits);
}

static void logits_agree_with_independent_implementations(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) check_model(models[i]);
}

/* tests/golden/logits/v3-mtp.f32 holds rows 0..62: after tokens 0..i and given token i + 1. */
static void prediction_layer_agrees_with_an_independent_implementation(void **state)
{
    (void)state;
    golden g = load_golden("v3");
    sp_buf expected = read_whole(test_path("tests/golden/logits/v3-mtp.f32"));
    sp_error err = SP_ERROR_NONE;
    sp_model *model = open_model("v3");
    sp_session *session;
    assert_ok(sp_session_create(&session, model, NULL, &err), err);
    comparison c = {(const float *)(const void *)expected.data, g.vocab_size, 0.0, 0.0};
    size_t rows = expected.len / sizeof(float) / (size_t)g.vocab_size;
    assert_int_equal(rows, PROMPT - 1);
    for (size_t i = 0; i < rows; i++) {
        const float *logits;
        assert_ok(sp_session_sync(session, g.prompt, i + 1, &err), err);
        if (i % 7 == 3)
            assert_ok(sp_session_predict_next2(session, 5, &logits, &err),
                      err);       /* a wrong guess leaves no trace */
        if (i % 3 == 1) continue; /* gaps are filled later */
        assert_ok(sp_session_predict_next2(session, g.prompt[i + 1], &logits, &err), err);
        compare_row(&c, i, logits);
    }
    printf("v3 prediction  max |delta| / max |logit| = %.2e\n", c.worst / c.largest);
    assert_true(c.worst <= TOLERANCE * c.largest);
    sp_session_destroy(session);
    sp_model_close(model);
    sp_buf_clear(&expected);
    sp_buf_clear(&g.logits);
}

/* --- quantised files against llama.cpp ------------------------------------------------------------------ */

/* KL(p || q) of two rows of logits, in double precision. */
static double divergence(const float *p, const float *q, int32_t n)
{
    double max_p = -INFINITY, max_q = -INFINITY, sum_p = 0.0, sum_q = 0.0, kl = 0.0;
    for (int32_t i = 0; i < n; i++) {
        max_p = fmax(max_p, p[i]);
        max_q = fmax(max_q, q[i]);
    }
    for (int32_t i = 0; i < n; i++) {
        sum_p += exp(p[i] - max_p);
        sum_q += exp(q[i] - max_q);
    }
    for (int32_t i = 0; i < n; i++) {
        double log_p = p[i] - max_p - log(sum_p), log_q = q[i] - max_q - log(sum_q);
        kl += exp(log_p) * (log_p - log_q);
    }
    return kl;
}

typedef struct divergences {
    const float *llama, *exact; /* (PROMPT, vocab) */
    int32_t vocab_size;
    double llama_sum, llama_max, exact_sum;
} divergences;

static int diverge_row(void *ctx, size_t position, const float *logits)
{
    divergences *d = ctx;
    size_t at = position * (size_t)d->vocab_size;
    double kl = divergence(d->llama + at, logits, d->vocab_size);
    d->llama_sum += kl;
    d->llama_max = fmax(d->llama_max, kl);
    d->exact_sum += divergence(d->exact + at, logits, d->vocab_size);
    return 0;
}

static void check_quantised(const char *name)
{
    char path[256];
    sp_error err = SP_ERROR_NONE;
    int32_t prompt[PROMPT];
    snprintf(path, sizeof path, "tests/golden/quantised/%s.f32", name);
    sp_buf llama = read_whole(test_path(path));
    snprintf(path, sizeof path, "tests/golden/quantised/%s-exact.f32", name);
    sp_buf exact = read_whole(test_path(path));
    snprintf(path, sizeof path, "tests/golden/quantised/%s.json", name);
    sp_buf text = read_whole(test_path(path));
    sp_json *root;
    assert_ok(sp_json_parse(text.data, text.len, &root, &err), err);
    for (size_t i = 0; i < PROMPT; i++)
        prompt[i] = (int32_t)sp_json_int(sp_json_at(sp_json_get(root, "tokens"), i), -1);
    divergences d = {
        (const float *)(const void *)llama.data, (const float *)(const void *)exact.data, 0, 0, 0, 0};
    d.vocab_size = (int32_t)sp_json_int(sp_json_get(root, "vocab_size"), 0);
    assert_int_equal(llama.len, (size_t)PROMPT * (size_t)d.vocab_size * sizeof(float));
    assert_int_equal(exact.len, llama.len);
    sp_model *model;
    sp_session *session;
    snprintf(path, sizeof path, "tests/golden/quantised/%s.gguf", name);
    assert_ok(sp_model_open(&model, test_path(path), &err), err);
    assert_ok(sp_session_create(&session, model, NULL, &err), err);
    assert_ok(sp_session_score(session, prompt, PROMPT, 0, diverge_row, &d, &err), err);
    printf("%-16s KL from llama.cpp: mean %.1e, largest %.1e; from exact arithmetic: mean %.1e\n", name,
           d.llama_sum / PROMPT, d.llama_max, d.exact_sum / PROMPT);
    assert_true(d.llama_sum / PROMPT <= 1e-3);
    assert_true(d.exact_sum / PROMPT <= 1e-3);
    sp_session_destroy(session);
    sp_model_close(model);
    sp_json_destroy(root);
    sp_buf_clear(&llama);
    sp_buf_clear(&exact);
    sp_buf_clear(&text);
}

static void quantised_runs_agree_with_llama_cpp(void **state)
{
    (void)state;
    static const char *const names[] = {"k", "iq", "legacy", "llama-q4_k_m", "deepseek-q4_k_m", "v3-q8_0"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) check_quantised(names[i]);
}

/* 256 greedy ids of a real trained model (260 K parameters), made with llama2.c. */
static void trained_model_repeats_the_published_greedy_text(void **state)
{
    (void)state;
    const char *dir = shared_path("models/stories260K-hf"),
               *list = shared_path("golden/stories260K/greedy_tokens.txt");
    if (!dir || !list) skip();
    sp_buf text = read_whole(list);
    sp_error err = SP_ERROR_NONE;
    sp_model *model;
    sp_session *session;
    assert_ok(sp_model_open(&model, dir, &err), err);
    assert_ok(sp_session_create(&session, model, NULL, &err), err);
    sp_model_info info;
    sp_model_get_info(model, &info);
    int32_t tokens[512] = {1};
    size_t n = 1, checked = 0;
    char *cursor = text.data, *end;
    long first = strtol(cursor, &end, 10);
    if (first == 1) cursor = end; /* the list may repeat the begin-of-sentence token */
    for (long id; n < 512 && (id = strtol(cursor, &end, 10), end != cursor); cursor = end) {
        assert_ok(sp_session_sync(session, tokens, n, &err), err);
        tokens[n] = largest_index(sp_session_logits(session), info.vocab_size);
        assert_int_equal(tokens[n], id);
        n++;
        checked++;
    }
    printf("stories260K: %zu greedy ids equal\n", checked);
    assert_true(checked >= 255);
    sp_session_destroy(session);
    sp_model_close(model);
    sp_buf_clear(&text);
}

static void bfloat16_checkpoint_loads_and_runs(void **state)
{
    (void)state;
    const char *dir = shared_path("models/verl-arith-llama");
    if (!dir) skip();
    sp_error err = SP_ERROR_NONE;
    sp_model *model;
    sp_session *session;
    assert_ok(sp_model_open(&model, dir, &err), err);
    assert_ok(sp_session_create(&session, model, NULL, &err), err);
    int32_t tokens[4] = {1, 2, 3, 4};
    assert_ok(sp_session_sync(session, tokens, 4, &err), err);
    for (int i = 0; i < 16; i++) assert_true(isfinite(sp_session_logits(session)[i]));
    sp_session_destroy(session);
    sp_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_agree_with_independent_implementations),
        cmocka_unit_test(prediction_layer_agrees_with_an_independent_implementation),
        cmocka_unit_test(quantised_runs_agree_with_llama_cpp),
        cmocka_unit_test(trained_model_repeats_the_published_greedy_text),
        cmocka_unit_test(bfloat16_checkpoint_loads_and_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
