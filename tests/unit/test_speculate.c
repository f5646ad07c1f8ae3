/* SPDX-License-Identifier: MIT */
/* Speculation changes nothing but speed: the same tokens and log-probabilities with and without it, greedy and
 * sampled, over models with and without a prediction layer, whatever the drafts, the clock, the context's end, stop
 * strings and the thinking budget. And it pays or is left alone: what is drafted follows from costs. */
#include "test_util.h"

#include "infer/generate_core.h"
#include "infer/session_parts.h"
#include "infer/speculate.h"

#include <sputnik/sputnik.h>

#define MAX_STEPS 400

static sp_model *open_model(const char *name)
{
    sp_error err = SP_ERROR_NONE;
    sp_model *model;
    assert_ok(sp_model_open(&model, test_path(name), &err), err);
    return model;
}

static sp_session *create_session(const sp_model *model, int32_t n_ctx, int32_t n_batch)
{
    sp_error err = SP_ERROR_NONE;
    sp_session *session;
    sp_session_options options = SP_SESSION_OPTIONS_DEFAULTS;
    options.n_ctx = n_ctx;
    options.n_batch = n_batch;
    options.n_threads = 2;
    assert_ok(sp_session_create(&session, model, &options, &err), err);
    return session;
}

/* A reply as it can be compared. */
typedef struct result {
    int32_t ids[MAX_STEPS];
    float logprobs[MAX_STEPS];
    int forced[MAX_STEPS];
    size_t n;
    sp_finish finish;
    char text[4096];
    sp_draft_stats drafts;
} result;

static void finish(sp_generator *generator, result *r)
{
    sp_error err = SP_ERROR_NONE;
    sp_step step = {.finish = SP_FINISH_NONE};
    memset(r, 0, sizeof *r);
    while (step.finish == SP_FINISH_NONE) {
        assert_ok(sp_generator_next(generator, &step, NULL, NULL, &err), err);
        if (step.sample.id < 0) continue;
        assert_true(r->n < MAX_STEPS);
        r->ids[r->n] = step.sample.id;
        r->logprobs[r->n] = step.sample.logprob;
        r->forced[r->n++] = step.forced;
    }
    const sp_reply *reply = sp_generator_reply(generator);
    const char *content = sp_reply_content(reply), *reasoning = sp_reply_reasoning(reply);
    snprintf(r->text, sizeof r->text, "%s|%s", reasoning ? reasoning : "", content ? content : "");
    r->finish = step.finish;
    sp_generator_drafts(generator, &r->drafts);
    sp_generator_destroy(generator);
}

static void expect_same(const result *a, const result *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->ids, b->ids, a->n * sizeof *a->ids);
    assert_memory_equal(a->logprobs, b->logprobs, a->n * sizeof *a->logprobs);
    assert_memory_equal(a->forced, b->forced, a->n * sizeof *a->forced);
    assert_int_equal(a->finish, b->finish);
    assert_string_equal(a->text, b->text);
}

static size_t count_drafted(const result *r)
{
    return r->drafts.n_mtp_drafted + r->drafts.n_lookup_drafted;
}

static size_t count_accepted(const result *r)
{
    return r->drafts.n_mtp_accepted + r->drafts.n_lookup_accepted;
}

static void destroy_speculator(void *ctx)
{
    sp_speculator_destroy(ctx);
}

/* A reply by a source that drafts as it is told. */
static void reply_drafting(sp_session *session, const int32_t *prompt, size_t n, const sp_generate_options *o,
                           const sp_speculator_options *how, result *r)
{
    sp_error err = SP_ERROR_NONE;
    sp_generator *generator;
    sp_speculator *speculator;
    sp_model_info info;
    sp_model_get_info(sp_session_model(session), &info);
    assert_ok(sp_speculator_create(&speculator, session, how, &err), err);
    sp_generate_source source = {.ctx = speculator,
                                 .sync = sp_speculator_sync,
                                 .capacity = sp_session_capacity(session),
                                 .vocab_size = info.vocab_size,
                                 .tokenizer = sp_model_tokenizer(sp_session_model(session)),
                                 .drafts = sp_speculator_stats(speculator),
                                 .destroy = destroy_speculator};
    assert_ok(sp_generator_create_over(&generator, &source, prompt, n, o, &err), err);
    finish(generator, r);
}

static void reply_plain(const sp_model *model, int32_t n_ctx, const int32_t *prompt, size_t n,
                        const sp_generate_options *o, result *r)
{
    sp_error err = SP_ERROR_NONE;
    sp_generator *generator;
    sp_generate_options plain = *o;
    plain.speculate = SP_SPECULATE_OFF;
    sp_session *session = create_session(model, n_ctx, 64);
    assert_ok(sp_generator_create(&generator, session, prompt, n, &plain, &err), err);
    finish(generator, r);
    assert_int_equal(count_drafted(r), 0);
    sp_session_destroy(session);
}

/* Leaps and stands still, by a fixed rule: times that no machine gives. */
static double wild_clock(void)
{
    static uint32_t state = 1;
    static double now;
    state = state * 1664525u + 1013904223u;
    now += (double)(state >> 20) * (state >> 16 & 15 ? 1e-6 : 1e-1);
    return now;
}

/* ---- the same reply ------------------------------------------------------------------------------------ */

/* Every drafter, length and clock against plain decoding. */
static void compare_replies(const sp_model *model, const int32_t *prompt, size_t n, sp_generate_options o,
                            size_t *n_accepted)
{
    static const int lengths[] = {1, 2, 5, 16};
    static const sp_speculate who[] = {SP_SPECULATE_LOOKUP, SP_SPECULATE_MTP, SP_SPECULATE_AUTO};
    sp_model_info info;
    static result plain, drafted;
    int32_t n_ctx = (int32_t)n + 150;
    sp_model_get_info(model, &info);
    reply_plain(model, n_ctx, prompt, n, &o, &plain);
    sp_session *session = create_session(model, n_ctx, 64), *small = create_session(model, n_ctx, 3);
    for (size_t w = 0; w < 3; w++) {
        if (who[w] == SP_SPECULATE_MTP && info.n_mtp_layers == 0) continue;
        for (size_t i = 0; i < 4; i++) {
            sp_speculator_options how = {who[w], lengths[i], true, NULL};
            reply_drafting(session, prompt, n, &o, &how, &drafted);
            expect_same(&plain, &drafted);
            *n_accepted += count_accepted(&drafted);
            how.always = false;
            how.clock = wild_clock;
            reply_drafting(session, prompt, n, &o, &how, &drafted);
            expect_same(&plain, &drafted);
        }
        sp_speculator_options how = {who[w], 8, true, NULL};
        reply_drafting(small, prompt, n, &o, &how, &drafted);
        expect_same(&plain, &drafted);
    }
    sp_session_destroy(session);
    sp_session_destroy(small);
}

static sp_generate_options make_options(float temperature, uint64_t seed)
{
    sp_generate_options o = SP_GENERATE_OPTIONS_DEFAULTS;
    o.sampler.temperature = temperature;
    o.sampler.top_p = 0.9f;
    o.sampler.seed = seed;
    o.max_tokens = 100;
    o.loop_guard = 0;
    o.ignore_end = 1;
    return o;
}

static void same_tokens_on_every_architecture(void **state)
{
    static const char *const names[] = {
        "tests/golden/models/llama-plain",
        "tests/golden/models/qwen2",
        "tests/golden/models/qwen3",
        "tests/golden/models/deepseek",
        "tests/golden/models/v2-lite",
        "tests/golden/models/v3",
        "tests/golden/models/v3-fp8",
        "tests/golden/quantised/v3-q8_0.gguf",
        "tests/golden/quantised/llama-q4_k_m.gguf",
    };
    size_t n_accepted = 0;
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        sp_model *model = open_model(names[i]);
        int32_t prompt[40];
        for (int p = 0; p < 40; p++) prompt[p] = (p % 13 * 7 + 3) % 100; /* repeats itself: lookup has work */
        compare_replies(model, prompt, 40, make_options(0, 0), &n_accepted);
        sp_generate_options o = make_options(0.3f, 7);
        o.sampler.repetition_penalty = 1.2f;
        o.sampler.frequency_penalty = 0.1f;
        compare_replies(model, prompt, 40, o, &n_accepted);
        compare_replies(model, prompt, 1, make_options(1.0f, 11), &n_accepted);
        sp_model_close(model);
    }
    assert_true(n_accepted > 0);
}

/* A prompt of the model that comes with the program. */
static void ask_nano(const sp_model *model, const char *text, sp_generate_options *o, sp_tokens *prompt)
{
    sp_error err = SP_ERROR_NONE;
    sp_message message = {.role = SP_ROLE_USER, .content = text};
    o->format = sp_model_chat_format(model);
    assert_ok(sp_chat_render(o->format, sp_model_tokenizer(model), prompt, &message, 1, &o->chat, &err), err);
}

static void same_tokens_from_a_trained_model(void **state)
{
    sp_model *model = open_model("models/nano/nano.gguf");
    (void)state;
    for (int i = 0; i < 4; i++) {
        sp_tokens prompt = {NULL, 0, 0};
        size_t n_accepted = 0;
        sp_generate_options o = make_options(i % 2 ? 1.5f : 0, (uint64_t)i);
        o.ignore_end = i > 1;
        ask_nano(model, i == 0 ? "What is 347 + 586?" : "How many r are in strawberry?", &o, &prompt);
        compare_replies(model, prompt.ids, prompt.n, o, &n_accepted);
        assert_true(n_accepted > 50);
        sp_tokens_clear(&prompt);
    }
    sp_model_close(model);
}

/* One reply of nano with a rule that ends or bends it, all drafting on. */
static void compare_rule(const sp_model *model, const char *question, sp_generate_options o, sp_finish how)
{
    sp_tokens prompt = {NULL, 0, 0};
    static result plain, drafted;
    ask_nano(model, question, &o, &prompt);
    int32_t n_ctx = how == SP_FINISH_CONTEXT ? (int32_t)prompt.n + 21 : 512;
    reply_plain(model, n_ctx, prompt.ids, prompt.n, &o, &plain);
    assert_string_equal(sp_finish_name(plain.finish), sp_finish_name(how));
    for (int length = 1; length <= 16; length += 5) {
        sp_session *session = create_session(model, n_ctx, 0);
        sp_speculator_options always = {SP_SPECULATE_MTP, length, true, NULL};
        reply_drafting(session, prompt.ids, prompt.n, &o, &always, &drafted);
        expect_same(&plain, &drafted);
        assert_true(count_accepted(&drafted) > 3);
        reply_drafting(session, prompt.ids, prompt.n, &o, &always, &drafted); /* all of it is cached */
        expect_same(&plain, &drafted);
        sp_session_destroy(session);
    }
    sp_tokens_clear(&prompt);
}

static void same_ends(void **state)
{
    static const char *const stops[] = {"= 9"};
    sp_model *model = open_model("models/nano/nano.gguf");
    sp_generate_options o = SP_GENERATE_OPTIONS_DEFAULTS;
    (void)state;
    o.sampler.temperature = 0;
    o.max_tokens = 300;
    compare_rule(model, "What is 347 + 586?", o, SP_FINISH_END);
    compare_rule(model, "What is 347 + 586?", o, SP_FINISH_CONTEXT);
    o.stop = stops;
    o.n_stop = 1;
    compare_rule(model, "What is 347 + 586?", o, SP_FINISH_STOP);
    o.n_stop = 0;
    o.think_budget = 9;
    compare_rule(model, "What is 347 + 586?", o, SP_FINISH_END);
    o.max_tokens = 20;
    compare_rule(model, "What is 347 + 586?", o, SP_FINISH_LENGTH);
    sp_model_close(model);
}

/* Two generators take turns on one session: whatever one has drafted is no harm to the other. */
static void generators_share_a_session(void **state)
{
    sp_error err = SP_ERROR_NONE;
    sp_model *model = open_model("models/nano/nano.gguf");
    static result plain[2], got[2];
    sp_generator *generators[2];
    sp_tokens prompts[2] = {{NULL, 0, 0}, {NULL, 0, 0}};
    sp_session *session = create_session(model, 512, 0);
    (void)state;
    for (int i = 0; i < 2; i++) {
        sp_generate_options o = make_options(0, 0);
        ask_nano(model, i ? "What is 347 + 586?" : "What is 347 - 86?", &o, &prompts[i]);
        o.max_tokens = 30;
        reply_plain(model, 512, prompts[i].ids, prompts[i].n, &o, &plain[i]);
        o.speculate = SP_SPECULATE_AUTO;
        assert_ok(sp_generator_create(&generators[i], session, prompts[i].ids, prompts[i].n, &o, &err), err);
        memset(&got[i], 0, sizeof got[i]);
    }
    for (int turn = 0; turn < 60; turn++) {
        int i = turn / 3 % 2; /* three tokens each */
        sp_step step;
        assert_ok(sp_generator_next(generators[i], &step, NULL, NULL, &err), err);
        got[i].ids[got[i].n++] = step.sample.id;
    }
    for (int i = 0; i < 2; i++) {
        assert_memory_equal(got[i].ids, plain[i].ids, 30 * sizeof *got[i].ids);
        sp_generator_destroy(generators[i]);
        sp_tokens_clear(&prompts[i]);
    }
    sp_session_destroy(session);
    sp_model_close(model);
}

/* ---- the session's side -------------------------------------------------------------------------------- */

typedef struct rows {
    float *expected; /* (n, V) */
    size_t width;
} rows;

static int copy_row(void *ctx, size_t position, const float *logits)
{
    rows *r = ctx;
    memcpy(r->expected + position * r->width, logits, r->width * sizeof *logits);
    return 0;
}

static int compare_row(void *ctx, size_t position, const float *logits)
{
    const rows *r = ctx;
    assert_memory_equal(r->expected + position * r->width, logits, r->width * sizeof *logits);
    return 0;
}

static void expect_at(const rows *r, const sp_session *session, size_t n)
{
    assert_int_equal(sp_session_length(session), n);
    assert_memory_equal(r->expected + (n - 1) * r->width, sp_session_logits(session),
                        r->width * sizeof(float));
}

/* A session with `n` tokens and three true drafts behind them. */
static sp_session *draft_three(const sp_model *model, const rows *r, const int32_t *tokens, size_t n)
{
    sp_error err = SP_ERROR_NONE;
    sp_session *s = create_session(model, 64, 7);
    assert_ok(sp_session_sync_ahead(s, tokens, n, tokens + n, 3, &err), err);
    expect_at(r, s, n);
    return s;
}

static void taking_and_dropping_drafts(const sp_model *model, const rows *r, const int32_t *tokens)
{
    sp_error err = SP_ERROR_NONE;
    sp_session *s = draft_three(model, r, tokens, 20);
    for (size_t n = 21; n <= 23; n++) { /* taken one by one, no pass */
        assert_ok(sp_session_sync(s, tokens, n, &err), err);
        assert_int_equal(sp_session_reused(s), n);
        expect_at(r, s, n);
    }
    assert_ok(sp_session_sync(s, tokens, 24, &err), err);
    expect_at(r, s, 24);
    const int32_t wrong[] = {tokens[24], tokens[25] == 5 ? 6 : 5, tokens[26]};
    assert_ok(sp_session_sync_ahead(s, tokens, 24, wrong, 3, &err), err); /* nothing new: no drafts */
    assert_ok(sp_session_sync_ahead(s, tokens, 25, wrong + 1, 2, &err), err);
    assert_ok(sp_session_sync_ahead(s, tokens, 27, tokens + 27, 4, &err), err); /* the first one differs */
    assert_int_equal(sp_session_reused(s), 25);
    expect_at(r, s, 27);
    assert_ok(sp_session_sync(s, tokens, 35, &err), err); /* four taken, four evaluated */
    assert_int_equal(sp_session_reused(s), 31);
    expect_at(r, s, 35);
    assert_ok(sp_session_sync(s, tokens, 10, &err), err); /* back */
    expect_at(r, s, 10);
    assert_ok(sp_session_score(s, tokens, 40, 0, compare_row, (void *)(uintptr_t)r, &err), err);
    sp_session_destroy(s);
}

static void other_calls_between(const sp_model *model, const rows *r, const int32_t *tokens)
{
    sp_error err = SP_ERROR_NONE;
    char path[] = "/tmp/sputnik-test-XXXXXX";
    sp_session *s = draft_three(model, r, tokens, 20), *other = create_session(model, 64, 0);
    close(mkstemp(path));
    assert_ok(sp_session_sync(s, tokens, 21, &err), err);
    assert_ok(sp_session_save(s, path, &err), err); /* without the drafts */
    assert_ok(sp_session_sync_ahead(other, tokens, 8, tokens + 9, 3, &err), err);
    assert_ok(sp_session_load(other, path, &err), err);
    expect_at(r, other, 21);
    assert_ok(sp_session_sync(other, tokens, 30, &err), err);
    assert_int_equal(sp_session_reused(other), 21);
    expect_at(r, other, 30);
    const int32_t *next = tokens + 21;
    const size_t two = 2;
    assert_ok(sp_session_advance(&s, &next, &two, 1, &err), err);
    expect_at(r, s, 23);
    assert_ok(sp_session_sync(s, tokens, 40, &err), err);
    expect_at(r, s, 40);
    unlink(path);
    sp_session_destroy(s);
    sp_session_destroy(other);
}

static void limits_of_drafts(const sp_model *model, const rows *r, const int32_t *tokens)
{
    sp_error err = SP_ERROR_NONE;
    const int32_t bad = 1 << 30;
    sp_session *s = create_session(model, 24, 0);
    assert_ok(sp_session_sync_ahead(s, tokens, 22, tokens + 22, 16, &err), err); /* room for two */
    expect_at(r, s, 22);
    assert_ok(sp_session_sync_ahead(s, tokens, 24, tokens + 24, 5, &err), err);
    assert_int_equal(sp_session_reused(s), 24);
    expect_at(r, s, 24);
    assert_int_equal(sp_session_sync_ahead(s, tokens, 25, NULL, 0, &err), SP_E_LIMIT);
    assert_int_equal(sp_session_sync_ahead(s, tokens, 20, &bad, 1, &err), SP_E_RANGE);
    expect_at(r, s, 24); /* as before */
    sp_session_destroy(s);
}

static void drafts_are_no_part_of_the_timeline(void **state)
{
    static const char *const names[] = {"tests/golden/models/llama-plain", "tests/golden/models/v3"};
    sp_error err = SP_ERROR_NONE;
    int32_t tokens[64];
    (void)state;
    for (int i = 0; i < 64; i++) tokens[i] = (i * 37 + 5) % 200;
    for (size_t i = 0; i < 2; i++) {
        sp_model *model = open_model(names[i]);
        sp_model_info info;
        sp_model_get_info(model, &info);
        rows r = {calloc(64 * (size_t)info.vocab_size, sizeof(float)), (size_t)info.vocab_size};
        sp_session *s = create_session(model, 64, 0);
        assert_ok(sp_session_score(s, tokens, 64, 0, copy_row, &r, &err), err);
        sp_session_destroy(s);
        taking_and_dropping_drafts(model, &r, tokens);
        other_calls_between(model, &r, tokens);
        limits_of_drafts(model, &r, tokens);
        free(r.expected);
        sp_model_close(model);
    }
}

/* The prediction layer's logits do not depend on what it was asked before. */
static void guesses_leave_no_trace(void **state)
{
    sp_error err = SP_ERROR_NONE;
    sp_model *model = open_model("tests/golden/models/v3");
    int32_t tokens[40];
    sp_model_info info;
    const float *logits;
    sp_guess guess;
    size_t n_rows;
    (void)state;
    sp_model_get_info(model, &info);
    size_t n_bytes = (size_t)info.vocab_size * sizeof(float);
    float *expected = malloc(n_bytes);
    for (int i = 0; i < 40; i++) tokens[i] = (i * 37 + 5) % 200;
    sp_session *s = create_session(model, 64, 0), *fresh = create_session(model, 64, 0);
    assert_int_equal(sp_session_guess_more(s, &guess, &err), SP_E_ARGUMENT);
    for (size_t n = 1; n < 36; n += 1 + n % 3) {
        assert_ok(sp_session_sync_ahead(s, tokens, n, tokens + n, n % 4, &err), err);
        assert_ok(sp_session_guess(s, (int32_t)n % 9 ? tokens[n] : 3, &guess, &n_rows, &err), err);
        for (size_t i = 0; i < n % 3; i++) assert_ok(sp_session_guess_more(s, &guess, &err), err);
        assert_true(guess.share > 0 && guess.share <= 1);
        assert_ok(sp_session_sync(fresh, tokens, 1, &err), err); /* forgets what the layer has read */
        assert_ok(sp_session_sync(fresh, tokens, n, &err), err);
        assert_ok(sp_session_predict_next2(fresh, tokens[n], &logits, &err), err);
        memcpy(expected, logits, n_bytes);
        assert_ok(sp_session_predict_next2(s, tokens[n], &logits, &err), err);
        assert_memory_equal(expected, logits, n_bytes);
    }
    sp_session_destroy(s);
    sp_session_destroy(fresh);
    free(expected);
    sp_model_close(model);
}

/* Whichever allocation fails, the call can be repeated. */
static void survives_failed_allocations(void **state)
{
    sp_error err = SP_ERROR_NONE;
    sp_model *model = open_model("tests/golden/models/v3");
    int32_t tokens[64];
    sp_model_info info;
    sp_status status = SP_E_NOMEM;
    const float *logits;
    (void)state;
    for (int i = 0; i < 64; i++) tokens[i] = (i * 37 + 5) % 200;
    sp_model_get_info(model, &info);
    rows r = {calloc(64 * (size_t)info.vocab_size, sizeof(float)), (size_t)info.vocab_size};
    sp_session *s = create_session(model, 64, 0);
    assert_ok(sp_session_score(s, tokens, 64, 0, copy_row, &r, &err), err);
    sp_session_destroy(s);
    for (int n = 0; status != SP_OK; n++) {
        sp_speculator *speculator;
        sp_speculator_options how = {SP_SPECULATE_MTP, 5, true, NULL};
        s = create_session(model, 64, 0);
        assert_true(n < 1000);
        assert_ok(sp_session_sync(s, tokens, 10, &err), err);
        assert_ok(sp_speculator_create(&speculator, s, &how, &err), err);
        sp_mem_fail_after(n);
        status = sp_speculator_sync(speculator, tokens, 11, &logits, &err);
        sp_mem_fail_after(-1);
        assert_true(status == SP_OK || status == SP_E_NOMEM);
        for (size_t k = 11; k < 20; k++) {
            assert_ok(sp_speculator_sync(speculator, tokens, k, &logits, &err), err);
            assert_ptr_equal(logits, sp_session_logits(s));
            expect_at(&r, s, k);
        }
        sp_speculator_destroy(speculator);
        sp_session_destroy(s);
    }
    free(r.expected);
    sp_model_close(model);
}

static void refuses_a_layer_that_is_not_there(void **state)
{
    sp_error err = SP_ERROR_NONE;
    sp_model *model = open_model("tests/golden/models/qwen2");
    sp_session *session = create_session(model, 64, 0);
    sp_generate_options o = SP_GENERATE_OPTIONS_DEFAULTS;
    const int32_t prompt = 1;
    sp_generator *generator;
    (void)state;
    o.speculate = SP_SPECULATE_MTP;
    assert_int_equal(sp_generator_create(&generator, session, &prompt, 1, &o, &err), SP_E_UNSUPPORTED);
    assert_null(generator);
    sp_session_destroy(session);
    sp_model_close(model);
}

/* ---- drafters and their control ------------------------------------------------------------------------ */

static void lookup_finds_the_longest_latest_passage(void **state)
{
    const int32_t text[] = {1, 2, 3, 4, 9, 2, 3, 4, 8, 1, 2, 3, 4};
    const int32_t twice[] = {7, 7, 7, 7, 7};
    size_t length;
    (void)state;
    assert_int_equal(sp_lookup_find(text, 13, &length), 4);
    assert_int_equal(length, 4); /* 1 2 3 4, though 2 3 4 came later */
    assert_int_equal(sp_lookup_find(text, 12, &length), 3);
    assert_int_equal(length, 3);
    assert_int_equal(sp_lookup_find(text, 8, &length), 4);
    assert_int_equal(sp_lookup_find(text, 9, &length), 0);
    assert_int_equal(sp_lookup_find(twice, 5, &length), 4);
    assert_int_equal(length, 4);
    for (size_t n = 0; n < 4; n++) assert_int_equal(sp_lookup_find(twice, n, &length), 0);
}

/* Decode n tokens of which drafts come true with this chance, at row_cost per further row: seconds taken. */
static double simulate(sp_draft_control *control, int n, double chance, double row_cost, double guess_cost,
                       int *n_drafted)
{
    uint32_t state = 5;
    double total = 0;
    *n_drafted = 0;
    for (int done = 0; done < n;) {
        sp_draft_offer layer;
        sp_draft_offer_layer(control, 8, &layer);
        sp_draft_choice choice = sp_draft_choose(control, NULL, &layer);
        double seconds = 1e-3 * (1 + row_cost * choice.n);
        sp_draft_learn_pass(control, choice.n + 1, seconds);
        bool going = true;
        for (int i = 0; i < choice.n && going; i++) {
            state = state * 1664525u + 1013904223u;
            going = (double)(state >> 8) / (1 << 24) < chance;
            sp_draft_learn(control, sp_draft_kind_depth((size_t)i), going);
            done += going;
        }
        if (choice.n > 0) sp_draft_learn_s(&control->first_s, 1e-3 * guess_cost);
        if (choice.n > 1) sp_draft_learn_s(&control->more_s, 1e-3 * guess_cost);
        done++;
        *n_drafted += choice.n;
        total += seconds + 1e-3 * guess_cost * choice.n;
    }
    return total;
}

static void drafting_pays_or_stops(void **state)
{
    sp_draft_control control;
    int n_drafted;
    (void)state;
    sp_draft_control_init(&control); /* reading the weights is all: rows are almost free */
    assert_true(simulate(&control, 2000, 0.9, 0.02, 0.02, &n_drafted) < 2.0 * 0.35);
    sp_draft_control_init(&control); /* a row costs what a pass costs: nothing to be had */
    assert_true(simulate(&control, 2000, 0.95, 1.0, 0.05, &n_drafted) < 2.0 * 1.02);
    assert_true(n_drafted < 60);
    sp_draft_control_init(&control); /* cheap, but never right */
    assert_true(simulate(&control, 2000, 0.0, 0.1, 0.1, &n_drafted) < 2.0 * 1.02);
    assert_true(n_drafted < 60);
    /* the same text goes on more predictably: drafting comes back by itself */
    assert_true(simulate(&control, 4000, 0.95, 0.1, 0.02, &n_drafted) < 4.0 * 0.7);
    sp_draft_control_init(&control); /* a little gain is found and kept */
    assert_true(simulate(&control, 4000, 0.98, 0.5, 0.1, &n_drafted) < 4.0 * 0.87);
}

static void one_slow_pass_changes_little(void **state)
{
    double mean = 0;
    (void)state;
    for (int i = 0; i < 10; i++) sp_draft_learn_s(&mean, 1e-3);
    sp_draft_learn_s(&mean, 1.0);
    assert_true(mean < 1.2e-3);
    for (int i = 0; i < 30; i++) sp_draft_learn_s(&mean, 4e-3); /* but a lasting change does */
    assert_true(mean > 3e-3);
}

/* A pass after plain ones finds the layer's weights cold and takes three times as long: the next ones tell what it costs. */
static void a_cold_start_does_not_end_a_trial(void **state)
{
    (void)state;
    sp_draft_control control;
    int n_drafted = 0, n_since = 0;
    sp_draft_control_init(&control);
    for (int i = 0; i < 800; i++) {
        sp_draft_offer layer;
        sp_draft_offer_layer(&control, 1, &layer);
        sp_draft_choice choice = sp_draft_choose(&control, NULL, &layer);
        bool drafts = choice.drafter == SP_DRAFTER_LAYER;
        n_since = drafts ? n_since + 1 : 0;
        n_drafted += drafts;
        double cold = n_since == 1 ? 3 : 1;
        if (drafts) {
            sp_draft_learn_s(&control.first_s, cold * 0.2e-3);
            sp_draft_learn(&control, sp_draft_kind_depth(0), true);
        }
        sp_draft_learn_pass(&control, drafts ? 2 : 1, drafts ? cold * 1.4e-3 : 1e-3);
    }
    assert_true(n_drafted > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_tokens_on_every_architecture),
        cmocka_unit_test(same_tokens_from_a_trained_model),
        cmocka_unit_test(same_ends),
        cmocka_unit_test(generators_share_a_session),
        cmocka_unit_test(drafts_are_no_part_of_the_timeline),
        cmocka_unit_test(guesses_leave_no_trace),
        cmocka_unit_test(survives_failed_allocations),
        cmocka_unit_test(refuses_a_layer_that_is_not_there),
        cmocka_unit_test(lookup_finds_the_longest_latest_passage),
        cmocka_unit_test(drafting_pays_or_stops),
        cmocka_unit_test(one_slow_pass_changes_little),
        cmocka_unit_test(a_cold_start_does_not_end_a_trial),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
