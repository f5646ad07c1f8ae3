/* SPDX-License-Identifier: MIT */
/* The token loop over scripted logits: every way a reply ends, the thinking budget, stop strings across
 * tokens, tokens that may not be sampled, cancelled and failed calls, and the same reply from a session of a
 * tiny model. */
#include "chat_testing.h"

#include "infer/generate_core.h"

#include <math.h>
#include <sputnik/grammar.h>
#include <sputnik/session.h>

#define N_VOCAB 280 /* 6 more than the tiny tokenizer has */

/* Gives the next id of a script the largest logit, by the number of tokens after the prompt. */
typedef struct script {
    const int32_t *ids;
    size_t n, n_prompt;
    size_t n_synced, n_syncs;
    sp_status fail; /* returned once */
    float logits[N_VOCAB];
} script;

static sp_status sync_script(void *ctx, const int32_t *tokens, size_t n, const float **logits, sp_error *err)
{
    script *s = ctx;
    (void)tokens;
    if (s->fail != SP_OK) {
        sp_status status = s->fail;
        s->fail = SP_OK;
        return sp_fail(err, status, "scripted");
    }
    size_t at = n - s->n_prompt;
    for (int i = 0; i < N_VOCAB; i++) s->logits[i] = (float)-i / 1000;
    s->logits['z'] = 1; /* after the script, and where its token may not be chosen */
    if (at < s->n) s->logits[s->ids[at]] = 2;
    s->n_synced = n;
    s->n_syncs++;
    *logits = s->logits;
    return SP_OK;
}

typedef struct run {
    script script;
    sp_tokens ids;
    sp_tokenizer *tokenizer;
    sp_generator *generator;
    sp_buf shown[3];
    sp_step last;
    size_t n_forced, n_steps;
    int cancel_after; /* calls of the text function */
} run;

static const int32_t prompt[] = {257, 'q', 260};

static sp_generate_options greedy(sp_chat_format format)
{
    sp_generate_options o = SP_GENERATE_OPTIONS_DEFAULTS;
    o.sampler.temperature = 0;
    o.format = format;
    return o;
}

static void start(run *r, const char *text, size_t capacity, const sp_generate_options *o)
{
    sp_error err = SP_ERROR_NONE;
    *r = (run){.tokenizer = open_tiny_deepseek()};
    assert_ok(sp_tokenizer_encode(r->tokenizer, &r->ids, text, strlen(text), SP_ENCODE_SPECIAL, &err), err);
    r->script.ids = r->ids.ids;
    r->script.n = r->ids.n;
    r->script.n_prompt = 3;
    sp_generate_source source = {.ctx = &r->script,
                                 .sync = sync_script,
                                 .capacity = capacity,
                                 .vocab_size = N_VOCAB,
                                 .tokenizer = r->tokenizer};
    assert_ok(sp_generator_create_over(&r->generator, &source, prompt, 3, o, &err), err);
}

static int show(void *ctx, sp_reply_part part, const char *text, size_t len)
{
    run *r = ctx;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_buf_append(&r->shown[part], text, len, &err), err);
    return r->cancel_after > 0 && --r->cancel_after == 0;
}

static void finish(run *r)
{
    sp_error err = SP_ERROR_NONE;
    do {
        assert_ok(sp_generator_next(r->generator, &r->last, show, r, &err), err);
        r->n_forced += r->last.forced != 0;
        r->n_steps++;
        assert_true(r->n_steps < 10000);
    } while (r->last.finish == SP_FINISH_NONE);
}

static void clear(run *r)
{
    sp_generator_destroy(r->generator);
    sp_tokenizer_close(r->tokenizer);
    sp_tokens_clear(&r->ids);
    for (int i = 0; i < 3; i++) sp_buf_clear(&r->shown[i]);
}

/* Run to the end and compare what was shown with what the reply keeps. */
static void expect(run *r, sp_finish how, const char *reasoning, const char *content)
{
    const sp_reply *reply = sp_generator_reply(r->generator);
    finish(r);
    assert_string_equal(sp_finish_name(r->last.finish), sp_finish_name(how));
    assert_string_equal(sp_reply_reasoning(reply), reasoning);
    assert_string_equal(sp_reply_content(reply), content);
    assert_string_equal(r->shown[SP_REPLY_REASONING].data ? r->shown[SP_REPLY_REASONING].data : "",
                        reasoning);
    assert_string_equal(r->shown[SP_REPLY_CONTENT].data ? r->shown[SP_REPLY_CONTENT].data : "", content);
    sp_step again;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_generator_next(r->generator, &again, show, r, &err), err);
    assert_int_equal(again.sample.id, -1);
    assert_int_equal(again.finish, how);
}

static void test_end_of_reply(void **state)
{
    sp_generate_options o = greedy(SP_CHAT_R1);
    size_t n;
    run r;
    (void)state;
    SKIP_WITHOUT_JSON();
    start(&r, "hm</think>\n\nHello<｜end▁of▁sentence｜>", 100, &o);
    expect(&r, SP_FINISH_END, "hm", "Hello");
    assert_int_equal(r.last.sample.id, 258);
    const int32_t *tokens = sp_generator_tokens(r.generator, &n);
    assert_int_equal(n, r.ids.n); /* the ending id included */
    assert_memory_equal(tokens, r.ids.ids, n * sizeof *tokens);
    assert_int_equal(r.script.n_syncs, n);
    clear(&r);
    o.ignore_end = 1;
    o.max_tokens = 3;
    start(&r, "a<｜end▁of▁sentence｜>b", 100, &o);
    expect(&r, SP_FINISH_LENGTH, "ab", "");
    clear(&r);
}

static void test_lengths(void **state)
{
    sp_generate_options o = greedy(SP_CHAT_NONE);
    run r;
    (void)state;
    SKIP_WITHOUT_JSON();
    o.max_tokens = 2;
    start(&r, "abcd", 100, &o);
    expect(&r, SP_FINISH_LENGTH, "", "ab");
    assert_int_equal(r.n_steps, 2);
    clear(&r);
    o.max_tokens = 0;
    start(&r, "abcd", 100, &o);
    expect(&r, SP_FINISH_LENGTH, "", "");
    assert_int_equal(r.script.n_syncs, 0);
    assert_int_equal(r.last.sample.id, -1);
    clear(&r);
    o.max_tokens = -1;
    start(&r, "abcdefgh", 5, &o); /* 3 + 2 evaluated, and the one that follows them */
    expect(&r, SP_FINISH_CONTEXT, "", "abc");
    assert_int_equal(r.script.n_synced, 5);
    clear(&r);
    sp_generator *generator;
    sp_error err = SP_ERROR_NONE;
    sp_generate_source source = {.sync = sync_script, .capacity = 2, .vocab_size = N_VOCAB};
    assert_int_equal(sp_generator_create_over(&generator, &source, prompt, 3, &o, &err), SP_E_LIMIT);
    assert_int_equal(sp_generator_create_over(&generator, &source, prompt, 0, &o, &err), SP_E_ARGUMENT);
}

static void test_stop_strings(void **state)
{
    static const char *const stops[] = {"\nUser:", "。"};
    sp_generate_options o = greedy(SP_CHAT_NONE);
    run r;
    (void)state;
    SKIP_WITHOUT_JSON();
    o.stop = stops, o.n_stop = 2;
    start(&r, "ab\nUse\nUser: x", 100, &o);
    expect(&r, SP_FINISH_STOP, "", "ab\nUse");
    assert_int_equal(r.n_steps, strlen("ab\nUse\nUser:"));
    clear(&r);
    start(&r, "好。好", 100, &o);
    expect(&r, SP_FINISH_STOP, "", "好");
    clear(&r);
    start(&r, "ab\nUs<｜end▁of▁sentence｜>", 100, &o); /* a beginning alone is shown in the end */
    expect(&r, SP_FINISH_END, "", "ab\nUs");
    clear(&r);
    o.format = SP_CHAT_R1; /* stop strings are about the answer */
    start(&r, "x\nUser: y</think>a。b", 100, &o);
    expect(&r, SP_FINISH_STOP, "x\nUser: y", "a");
    clear(&r);
}

static void test_thinking_budget(void **state)
{
    sp_generate_options o = greedy(SP_CHAT_R1);
    run r;
    (void)state;
    SKIP_WITHOUT_JSON();
    o.think_budget = 4;
    o.max_tokens = 12;
    start(&r, "long thoughts that never end", 100, &o);
    expect(&r, SP_FINISH_LENGTH, "long", "ought"); /* the script goes on behind the forced ones */
    assert_int_equal(r.n_forced, 3);               /* "\n" "</think>" "\n\n" */
    size_t n;
    const int32_t *tokens = sp_generator_tokens(r.generator, &n);
    const int32_t closing[] = {'\n', 262, TINY_BREAKS};
    assert_memory_equal(tokens + 4, closing, sizeof closing);
    clear(&r);
    o.think_budget = 0; /* none at all; and thinking may not begin again */
    start(&r, "....<think>x<｜end▁of▁sentence｜>", 100, &o);
    expect(&r, SP_FINISH_END, "", ".x"); /* a stray tag is dropped */
    clear(&r);
    start(&r, "...<think>x<｜end▁of▁sentence｜>", 100, &o);
    expect(&r, SP_FINISH_END, "", "zx");
    clear(&r);
    o.think_budget = 10; /* not reached */
    start(&r, "hm</think>ok<｜end▁of▁sentence｜>", 100, &o);
    expect(&r, SP_FINISH_END, "hm", "ok");
    assert_int_equal(r.n_forced, 0);
    clear(&r);
    o.think_budget = 1; /* in the middle of a character: the character is finished first */
    start(&r, "好</th", 100, &o);
    finish(&r);
    assert_string_equal(sp_reply_reasoning(sp_generator_reply(r.generator)), "好");
    clear(&r);
    o.format = SP_CHAT_V31;
    o.chat.think = SP_THINK_ON;
    o.think_budget = 2;
    start(&r, "abcde<｜end▁of▁sentence｜>", 100, &o);
    expect(&r, SP_FINISH_END, "ab", "de");
    assert_int_equal(r.n_forced, 1);
    clear(&r);
}

/* A reply with a grammar cannot end before its content: an end amid the reasoning ends the reasoning. */
static void test_early_end(void **state)
{
    sp_generate_options o = greedy(SP_CHAT_R1);
    sp_grammar *grammar = NULL;
    sp_error err = SP_ERROR_NONE;
    run r;
    (void)state;
    SKIP_WITHOUT_JSON();
    assert_ok(sp_grammar_json_object(&grammar, &err), err);
    start(&r, "hm<｜end▁of▁sentence｜>..{}<｜end▁of▁sentence｜>", 100, &o);
    expect(&r, SP_FINISH_END, "hm", "");
    clear(&r);
    o.grammar = grammar;
    start(&r, "hm<｜end▁of▁sentence｜>..{}<｜end▁of▁sentence｜>", 100, &o);
    expect(&r, SP_FINISH_END, "hm", "{}");
    assert_int_equal(r.n_forced, 3);
    clear(&r);
    sp_grammar_destroy(grammar);
}

static void test_loop(void **state)
{
    sp_generate_options o = greedy(SP_CHAT_NONE);
    size_t repeats = 0;
    run r;
    (void)state;
    SKIP_WITHOUT_JSON();
    start(&r, "x", 4000, &o); /* "zzz..." afterwards */
    finish(&r);
    assert_int_equal(r.last.finish, SP_FINISH_LOOP);
    assert_int_equal(sp_generator_loop(r.generator, &repeats), 1);
    assert_int_equal(repeats, 1024);
    clear(&r);
    o.loop_guard = 0;
    start(&r, "x", 4000, &o);
    finish(&r);
    assert_int_equal(r.last.finish, SP_FINISH_CONTEXT);
    assert_int_equal(sp_generator_loop(r.generator, &repeats), 0);
    clear(&r);
}

static void test_tokens_without_text(void **state)
{
    sp_generate_options o = greedy(SP_CHAT_NONE);
    sp_logit_bias ban = {'b', -100};
    run r;
    (void)state;
    SKIP_WITHOUT_JSON();
    o.max_tokens = 3;
    o.sampler.logit_bias = &ban, o.sampler.n_logit_bias = 1;
    start(&r, "abc", 100, &o);
    int32_t ids[3] = {'a', 'b', N_VOCAB - 1}; /* the last is a padding row */
    r.script.ids = ids;
    expect(&r, SP_FINISH_LENGTH, "", "azz");
    clear(&r);
}

static void test_cancelled(void **state)
{
    sp_generate_options o = greedy(SP_CHAT_NONE);
    sp_error err = SP_ERROR_NONE;
    run r;
    (void)state;
    SKIP_WITHOUT_JSON();
    start(&r, "abc", 100, &o);
    r.cancel_after = 2;
    expect(&r, SP_FINISH_CANCELLED, "", "ab");
    clear(&r);
    start(&r, "abc", 100, &o);
    assert_ok(sp_generator_next(r.generator, &r.last, show, &r, &err), err);
    r.script.fail = SP_E_CANCELLED; /* the session's own cancel function */
    expect(&r, SP_FINISH_CANCELLED, "", "a");
    clear(&r);
    start(&r, "abc<｜end▁of▁sentence｜>", 100, &o);
    assert_ok(sp_generator_next(r.generator, &r.last, show, &r, &err), err);
    r.script.fail = SP_E_NOMEM; /* a failed call can be repeated */
    assert_int_equal(sp_generator_next(r.generator, &r.last, show, &r, &err), SP_E_NOMEM);
    expect(&r, SP_FINISH_END, "", "abc");
    clear(&r);
}

static void test_failed_allocations(void **state)
{
    static const char *const stops[] = {"zzzz"};
    sp_generate_options o = greedy(SP_CHAT_R1);
    (void)state;
    SKIP_WITHOUT_JSON();
    o.stop = stops, o.n_stop = 1;
    o.think_budget = 3;
    sp_tokenizer *tokenizer = open_tiny_deepseek();
    sp_status status = SP_E_NOMEM;
    for (int64_t n = 0; status != SP_OK; n++) {
        script s = {.ids = prompt, .n = 3, .n_prompt = 3};
        sp_generate_source source = {
            .ctx = &s, .sync = sync_script, .capacity = 1000, .vocab_size = N_VOCAB, .tokenizer = tokenizer};
        sp_generator *generator = NULL;
        sp_error err = SP_ERROR_NONE;
        sp_step step = {.finish = SP_FINISH_NONE};
        sp_mem_fail_after(n);
        status = sp_generator_create_over(&generator, &source, prompt, 3, &o, &err);
        while (status == SP_OK && step.finish == SP_FINISH_NONE)
            status = sp_generator_next(generator, &step, NULL, NULL, &err);
        sp_mem_fail_after(-1);
        assert_true(status == SP_OK || status == SP_E_NOMEM);
        if (status == SP_OK) assert_int_equal(step.finish, SP_FINISH_STOP);
        sp_generator_destroy(generator);
        assert_true(n < 1000);
    }
    sp_tokenizer_close(tokenizer);
}

/* Over a real session: the reply depends on the seed alone, not on what the session held before. */
static void test_session(void **state)
{
    static const int32_t ids[] = {1, 5, 9, 14};
    sp_generate_options o = SP_GENERATE_OPTIONS_DEFAULTS;
    sp_session_options session_options = SP_SESSION_OPTIONS_DEFAULTS;
    sp_error err = SP_ERROR_NONE;
    sp_model *model;
    sp_session *session;
    int32_t first[24];
    (void)state;
    o.max_tokens = 24;
    o.sampler.temperature = 1;
    o.sampler.seed = 7;
    session_options.n_threads = 1;
    assert_ok(sp_model_open(&model, test_path("tests/golden/models/v3"), &err), err);
    assert_ok(sp_session_create(&session, model, &session_options, &err), err);
    for (int round = 0; round < 2; round++) {
        sp_generator *generator;
        sp_step step = {.finish = SP_FINISH_NONE};
        size_t n;
        assert_ok(sp_generator_create(&generator, session, ids, 4, &o, &err), err);
        while (step.finish == SP_FINISH_NONE)
            assert_ok(sp_generator_next(generator, &step, NULL, NULL, &err), err);
        const int32_t *tokens = sp_generator_tokens(generator, &n);
        assert_int_equal(step.finish, SP_FINISH_LENGTH);
        assert_int_equal(n, 24);
        if (round == 0) memcpy(first, tokens, sizeof first);
        assert_memory_equal(tokens, first, sizeof first);
        sp_generator_destroy(generator);
    }
    sp_session_destroy(session);
    sp_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_end_of_reply),        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_stop_strings),        cmocka_unit_test(test_thinking_budget),
        cmocka_unit_test(test_early_end),           cmocka_unit_test(test_loop),
        cmocka_unit_test(test_tokens_without_text), cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_failed_allocations),  cmocka_unit_test(test_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
