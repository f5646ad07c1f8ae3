/* SPDX-License-Identifier: MIT */
/* One answer: the logits of every position have the same bits whatever the number of threads, the chunk size,
 * what was evaluated before, other sessions in the pass, or a session saved and loaded. On float models of
 * each architecture and on quantised ones, with every storage of the cache, and at a depth where threads share one
 * row's keys. */
#include "test_util.h"

#include "model/convert.h"
#include "model/synth.h"

#include <math.h>
#include <sputnik/sputnik.h>

#define N_TOKENS 150 /* more than two blocks of 64 keys */
#define N_DEEP 600   /* more than two segments of 256 keys */

static const char *const models[] = {
    "models/llama-plain",
    "models/llama-llama3",
    "models/qwen2",
    "models/qwen3",
    "models/deepseek",
    "models/v2-lite",
    "models/v2",
    "models/v3",
    "models/v3-fp8",
    "quantised/llama-q4_k_m.gguf",
    "quantised/deepseek-q4_k_m.gguf",
    "quantised/v3-q8_0.gguf",
    "quantised/k.gguf",
    "quantised/legacy.gguf",
    "quantised/iq.gguf",
};

typedef struct fixture {
    sp_model *model;
    int32_t tokens[N_TOKENS];
    float *expected; /* (N_TOKENS, V) from one thread, whole prompt at once */
    size_t row;      /* V */
} fixture;

static int copy_row(void *ctx, size_t position, const float *logits)
{
    fixture *f = ctx;
    memcpy(f->expected + position * f->row, logits, f->row * sizeof *logits);
    return 0;
}

static int compare_row(void *ctx, size_t position, const float *logits)
{
    const fixture *f = ctx;
    assert_memory_equal(f->expected + position * f->row, logits, f->row * sizeof *logits);
    return 0;
}

static sp_session *create_session_of(const fixture *f, int threads, int batch, sp_cache_type cache, int n_ctx)
{
    sp_error err = SP_ERROR_NONE;
    sp_session *session;
    sp_session_options options = SP_SESSION_OPTIONS_DEFAULTS;
    options.n_ctx = n_ctx;
    options.n_threads = threads;
    options.n_batch = batch;
    options.cache_type = cache;
    assert_ok(sp_session_create(&session, f->model, &options, &err), err);
    return session;
}

static sp_session *create_session(const fixture *f, int threads, int batch, sp_cache_type cache)
{
    return create_session_of(f, threads, batch, cache, N_TOKENS + 8);
}

static void expect_last(const fixture *f, const sp_session *session, size_t n)
{
    assert_memory_equal(f->expected + (n - 1) * f->row, sp_session_logits(session), f->row * sizeof(float));
}

static void check_threads_and_chunks(fixture *f, sp_cache_type cache)
{
    static const int shapes[][2] = {{1, 1}, {2, 7}, {3, 64}, {4, 150}, {2, 33}}; /* threads, chunk */
    sp_error err = SP_ERROR_NONE;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        sp_session *s = create_session(f, shapes[i][0], shapes[i][1], cache);
        assert_ok(sp_session_score(s, f->tokens, N_TOKENS, 0, compare_row, f, &err), err);
        sp_session_destroy(s);
    }
}

/* Another ending first, then back: rows of the shared prefix are used again. */
static void check_prefix(fixture *f, sp_cache_type cache)
{
    sp_error err = SP_ERROR_NONE;
    sp_session *s = create_session(f, 2, 16, cache);
    int32_t other[N_TOKENS];
    memcpy(other, f->tokens, sizeof other);
    for (int i = 90; i < N_TOKENS; i++) other[i] = (f->tokens[i] + 1) % 200;
    assert_ok(sp_session_sync(s, other, N_TOKENS, &err), err);
    assert_ok(sp_session_sync(s, f->tokens, N_TOKENS, &err), err);
    assert_int_equal(sp_session_reused(s), 90);
    expect_last(f, s, N_TOKENS);
    assert_ok(sp_session_sync(s, f->tokens, 70, &err), err);
    expect_last(f, s, 70);
    for (size_t n = 71; n <= 80; n++) {
        assert_ok(sp_session_sync(s, f->tokens, n, &err), err);
        expect_last(f, s, n);
    }
    sp_session_destroy(s);
}

static void check_saved(fixture *f, sp_cache_type cache)
{
    sp_error err = SP_ERROR_NONE;
    char path[] = "/tmp/sputnik-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    sp_session *a = create_session(f, 2, 32, cache), *b = create_session(f, 1, 5, cache);
    assert_ok(sp_session_sync(a, f->tokens, 100, &err), err);
    assert_ok(sp_session_save(a, path, &err), err);
    assert_ok(sp_session_load(b, path, &err), err);
    assert_int_equal(sp_session_length(b), 100);
    expect_last(f, b, 100);
    assert_ok(sp_session_sync(b, f->tokens, N_TOKENS, &err), err);
    assert_int_equal(sp_session_reused(b), 100);
    expect_last(f, b, N_TOKENS);
    sp_session_destroy(a);
    sp_session_destroy(b);
    unlink(path);
}

/* Three timelines at different places in one pass. */
static void check_company(fixture *f, sp_cache_type cache)
{
    sp_error err = SP_ERROR_NONE;
    sp_session *s[3];
    const size_t start[3] = {100, 40, 3};
    for (int i = 0; i < 3; i++) {
        s[i] = create_session(f, i + 1, 20, cache);
        assert_ok(sp_session_sync(s[i], f->tokens, start[i], &err), err);
    }
    const int32_t *next[3] = {f->tokens + 100, f->tokens + 40, f->tokens + 3};
    const size_t n[3] = {1, 30, 9};
    assert_ok(sp_session_advance(s, next, n, 3, &err), err);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sp_session_length(s[i]), start[i] + n[i]);
        expect_last(f, s[i], start[i] + n[i]);
        sp_session_destroy(s[i]);
    }
}

static void check_file(const char *path, sp_cache_type cache)
{
    sp_error err = SP_ERROR_NONE;
    fixture f = {0};
    assert_ok(sp_model_open(&f.model, path, &err), err);
    sp_model_info info;
    sp_model_get_info(f.model, &info);
    f.row = (size_t)info.vocab_size;
    f.expected = calloc(N_TOKENS * f.row, sizeof *f.expected);
    for (int i = 0; i < N_TOKENS; i++)
        f.tokens[i] = (i * 37 + i * i % 11 + 5) % (info.vocab_size < 250 ? info.vocab_size : 250);
    sp_session *s = create_session(&f, 1, 256, cache);
    assert_ok(sp_session_score(s, f.tokens, N_TOKENS, 0, copy_row, &f, &err), err);
    sp_session_destroy(s);
    check_threads_and_chunks(&f, cache);
    check_prefix(&f, cache);
    check_saved(&f, cache);
    check_company(&f, cache);
    free(f.expected);
    sp_model_close(f.model);
}

static void check_model(const char *name, sp_cache_type cache)
{
    char path[256];
    snprintf(path, sizeof path, "tests/golden/%s", name);
    check_file(test_path(path), cache);
}

/* Every architecture's float checkpoint, quantised here. */
static void same_bits_on_every_path_when_quantised(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    char gguf[] = "/tmp/sputnik-test-XXXXXX", source[256];
    close(mkstemp(gguf));
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        if (strncmp(models[i], "models/", 7) != 0) continue;
        snprintf(source, sizeof source, "tests/golden/%s", models[i]);
        sp_convert_options options = SP_CONVERT_DEFAULTS;
        options.type = i % 2 ? "q4_0" : "q8_0";
        assert_ok(sp_convert(test_path(source), gguf, &options, &err), err);
        printf("%s as %s\n", models[i], options.type);
        check_file(gguf, SP_CACHE_F32);
    }
    unlink(gguf);
}

static void same_bits_on_every_path(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        printf("%s\n", models[i]);
        check_model(models[i], SP_CACHE_F32);
    }
}

static void same_bits_with_a_16_bit_cache(void **state)
{
    (void)state;
    check_model("models/qwen2", SP_CACHE_F16);
    check_model("models/v3", SP_CACHE_F16);
    check_model("quantised/llama-q4_k_m.gguf", SP_CACHE_BF16);
}

/* The tiny models' heads are narrower than a block of Q8_0, so these are others. */
static const char *const wide[] = {
    "{\"model_type\":\"qwen2\",\"vocab_size\":256,\"hidden_size\":64,\"intermediate_size\":96,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":12,\"num_key_value_heads\":2,\"head_dim\":32,"
    "\"rms_norm_eps\":1e-6,\"rope_theta\":10000,\"max_position_embeddings\":1024}",
    "{\"model_type\":\"deepseek_v2\",\"vocab_size\":256,\"hidden_size\":64,\"intermediate_size\":96,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":16,\"num_key_value_heads\":16,\"kv_lora_rank\":64,"
    "\"qk_nope_head_dim\":32,\"qk_rope_head_dim\":32,\"v_head_dim\":32,\"n_routed_experts\":4,"
    "\"n_shared_experts\":1,\"num_experts_per_tok\":2,\"moe_intermediate_size\":32,\"first_k_dense_replace\":"
    "1,"
    "\"rms_norm_eps\":1e-6,\"rope_theta\":10000,\"max_position_embeddings\":1024}"};

static void synth_model(const char *config, const char *gguf)
{
    sp_error err = SP_ERROR_NONE;
    char json[] = "/tmp/sputnik-test-XXXXXX.json";
    FILE *file = fdopen(mkstemps(json, 5), "w");
    fputs(config, file);
    fclose(file);
    sp_synth_options options = SP_SYNTH_DEFAULTS;
    options.type = "f16";
    assert_ok(sp_synth(json, gguf, &options, &err), err);
    unlink(json);
}

/* Prompts in chunks of several sizes, then tokens one by one, alone and beside another timeline. */
static void check_depth(fixture *f, const int32_t *tokens, sp_cache_type cache)
{
    static const int shapes[][2] = {{2, 100}, {3, 600}, {5, 7}}; /* threads, chunk */
    sp_error err = SP_ERROR_NONE;
    sp_session *s = create_session_of(f, 1, 256, cache, N_DEEP + 8);
    assert_ok(sp_session_score(s, tokens, N_DEEP, 0, copy_row, f, &err), err);
    sp_session_destroy(s);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        s = create_session_of(f, shapes[i][0], shapes[i][1], cache, N_DEEP + 8);
        assert_ok(sp_session_score(s, tokens, N_DEEP, 0, compare_row, f, &err), err);
        for (size_t n = 505; n <= 520; n++) {
            assert_ok(sp_session_sync(s, tokens, n, &err), err);
            expect_last(f, s, n);
        }
        sp_session *other = create_session_of(f, 1, 64, cache, N_DEEP + 8);
        assert_ok(sp_session_sync(other, tokens, 250, &err), err);
        sp_session *both[2] = {s, other};
        const int32_t *next[2] = {tokens + 520, tokens + 250};
        const size_t n[2] = {1, 20};
        assert_ok(sp_session_advance(both, next, n, 2, &err), err);
        expect_last(f, s, 521);
        expect_last(f, other, 270);
        sp_session_destroy(other);
        sp_session_destroy(s);
    }
}

static void same_bits_at_depth_with_every_cache(void **state)
{
    (void)state;
    static const sp_cache_type caches[] = {SP_CACHE_F32, SP_CACHE_F16, SP_CACHE_BF16, SP_CACHE_Q8_0};
    char gguf[] = "/tmp/sputnik-test-XXXXXX";
    close(mkstemp(gguf));
    int32_t tokens[N_DEEP];
    for (int i = 0; i < N_DEEP; i++) tokens[i] = (i * 37 + i * i % 11 + 5) % 250;
    for (size_t m = 0; m < sizeof wide / sizeof wide[0]; m++) {
        sp_error err = SP_ERROR_NONE;
        fixture f = {.row = 256};
        synth_model(wide[m], gguf);
        assert_ok(sp_model_open(&f.model, gguf, &err), err);
        f.expected = calloc(N_DEEP * f.row, sizeof *f.expected);
        float *exact = calloc(f.row, sizeof *exact), difference = 0.0f;
        for (size_t c = 0; c < sizeof caches / sizeof caches[0]; c++) {
            check_depth(&f, tokens, caches[c]);
            const float *last = f.expected + (N_DEEP - 1) * f.row;
            for (size_t i = 0; i < f.row; i++)
                difference = fmaxf(difference, c ? fabsf(last[i] - exact[i]) : 0.0f);
            if (c == 0) memcpy(exact, last, f.row * sizeof *exact);
        }
        assert_true(difference > 0.0f && difference < 0.1f); /* rounded caches are near, and not the same */
        free(exact);
        free(f.expected);
        sp_model_close(f.model);
        check_file(gguf, SP_CACHE_Q8_0);
    }
    unlink(gguf);
}

static void a_cache_of_blocks_wants_heads_of_whole_blocks(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    fixture f = {0};
    assert_ok(sp_model_open(&f.model, test_path("tests/golden/models/qwen2"), &err), err);
    sp_session_options options = SP_SESSION_OPTIONS_DEFAULTS;
    options.cache_type = SP_CACHE_Q8_0;
    sp_session *s;
    assert_int_equal(sp_session_create(&s, f.model, &options, &err), SP_E_UNSUPPORTED);
    assert_null(s);
    assert_non_null(strstr(err.text, "multiples of 32 values, this model has 8"));
    sp_model_close(f.model);
}

static void damaged_and_foreign_session_files_are_refused(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    fixture f = {0}, g = {0};
    assert_ok(sp_model_open(&f.model, test_path("tests/golden/models/qwen2"), &err), err);
    assert_ok(sp_model_open(&g.model, test_path("tests/golden/models/llama-plain"), &err), err);
    char path[] = "/tmp/sputnik-test-XXXXXX";
    close(mkstemp(path));
    sp_session *s = create_session(&f, 1, 64, SP_CACHE_F32),
               *foreign = create_session(&g, 1, 64, SP_CACHE_F32);
    sp_session *other_cache = create_session(&f, 1, 64, SP_CACHE_F16);
    for (int i = 0; i < 20; i++) f.tokens[i] = i;
    assert_ok(sp_session_sync(s, f.tokens, 20, &err), err);
    assert_ok(sp_session_save(s, path, &err), err);
    assert_int_equal(sp_session_load(foreign, path, &err), SP_E_ARGUMENT);
    assert_non_null(strstr(err.text, "another model"));
    assert_int_equal(sp_session_load(other_cache, path, &err), SP_E_ARGUMENT);
    assert_non_null(strstr(err.text, "cache type"));
    sp_buf bytes = read_whole(path);
    for (size_t at = 0; at < bytes.len; at += bytes.len / 97 + 1) { /* one damaged byte anywhere */
        FILE *file = fopen(path, "wb");
        bytes.data[at] ^= 0x20;
        fwrite(bytes.data, 1, bytes.len, file);
        fclose(file);
        bytes.data[at] ^= 0x20;
        assert_int_not_equal(sp_session_load(s, path, &err), SP_OK);
        assert_int_equal(sp_session_length(s), 20);
    }
    FILE *file = fopen(path, "wb");
    fwrite(bytes.data, 1, bytes.len / 2, file);
    fclose(file);
    assert_int_equal(sp_session_load(s, path, &err), SP_E_FORMAT);
    unlink(path);
    sp_buf_clear(&bytes);
    sp_session_destroy(s);
    sp_session_destroy(foreign);
    sp_session_destroy(other_cache);
    sp_model_close(f.model);
    sp_model_close(g.model);
}

static void errors_name_what_is_wrong_and_leave_the_session_usable(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    fixture f = {0};
    assert_ok(sp_model_open(&f.model, test_path("tests/golden/models/qwen2"), &err), err);
    sp_session *s = create_session(&f, 1, 64, SP_CACHE_F32);
    int32_t bad[3] = {1, 2, 100000};
    assert_int_equal(sp_session_sync(s, bad, 3, &err), SP_E_RANGE);
    assert_non_null(strstr(err.text, "100000"));
    assert_int_equal(sp_session_sync(s, bad, 0, &err), SP_E_ARGUMENT);
    int32_t *many = calloc(N_TOKENS + 9, sizeof *many);
    assert_int_equal(sp_session_sync(s, many, N_TOKENS + 9, &err), SP_E_LIMIT);
    assert_ok(sp_session_sync(s, many, N_TOKENS + 8, &err), err);
    const float *logits;
    assert_int_equal(sp_session_predict_next2(s, 0, &logits, &err), SP_E_UNSUPPORTED);
    free(many);
    sp_session_destroy(s);
    sp_model_close(f.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_on_every_path),
        cmocka_unit_test(same_bits_on_every_path_when_quantised),
        cmocka_unit_test(same_bits_with_a_16_bit_cache),
        cmocka_unit_test(same_bits_at_depth_with_every_cache),
        cmocka_unit_test(a_cache_of_blocks_wants_heads_of_whole_blocks),
        cmocka_unit_test(damaged_and_foreign_session_files_are_refused),
        cmocka_unit_test(errors_name_what_is_wrong_and_leave_the_session_usable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
