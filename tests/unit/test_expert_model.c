/* SPDX-License-Identifier: MIT */
/* One answer with experts on disk: logits of prompts in several chunks, of decoding, and of two sessions in one pass have
 * the bits of the model in memory, with the fewest experts in memory and with more, with both readers. And a file that
 * is cut is an error with its name, after which the session goes on. */
#include "test_util.h"

#include "infer/expert_stream.h"

#include <fcntl.h>
#include <sputnik/sputnik.h>
#include <sys/stat.h>

#define N_TOKENS 90

static const char *const models[] = {"models/deepseek",
                                     "models/v2-lite",
                                     "models/v2",
                                     "models/v3",
                                     "models/v3-fp8",
                                     "quantised/deepseek-q4_k_m.gguf",
                                     "quantised/v3-q8_0.gguf"};

typedef struct fixture {
    int32_t tokens[N_TOKENS];
    float *expected; /* (N_TOKENS, V) */
    size_t row;
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

static sp_session *create_session(const sp_model *model, int threads, int batch)
{
    sp_error err = SP_ERROR_NONE;
    sp_session *session;
    sp_session_options options = SP_SESSION_OPTIONS_DEFAULTS;
    options.n_ctx = N_TOKENS + 8;
    options.n_threads = threads;
    options.n_batch = batch;
    assert_ok(sp_session_create(&session, model, &options, &err), err);
    return session;
}

static void prepare(fixture *f, const char *path)
{
    sp_error err = SP_ERROR_NONE;
    sp_model *model;
    sp_model_info info;
    assert_ok(sp_model_open(&model, path, &err), err);
    sp_model_get_info(model, &info);
    f->row = (size_t)info.vocab_size;
    for (int i = 0; i < N_TOKENS; i++)
        f->tokens[i] = (i * 37 + 11) % (info.vocab_size < 200 ? info.vocab_size : 200);
    f->expected = calloc(N_TOKENS * f->row, sizeof *f->expected);
    assert_non_null(f->expected);
    sp_session *s = create_session(model, 1, N_TOKENS);
    assert_ok(sp_session_score(s, f->tokens, N_TOKENS, 0, copy_row, f, &err), err);
    sp_session_destroy(s);
    sp_model_close(model);
}

/* With room for one layer's choice and `more` experts. NULL if this machine has no such reader. */
static sp_model *open_streamed(const char *path, sp_expert_reader reader, int64_t more)
{
    sp_error err = SP_ERROR_NONE;
    sp_model *model;
    sp_expert_plan plan;
    sp_session_options session = SP_SESSION_OPTIONS_DEFAULTS;
    sp_expert_options options = SP_EXPERT_OPTIONS_DEFAULTS;
    session.n_ctx = N_TOKENS + 8;
    options.session = &session;
    options.n_sessions = 2;
    options.reader = reader;
    assert_ok(sp_model_open(&model, path, &err), err);
    options.ram_bytes = 1;
    assert_int_equal(sp_model_plan_experts(model, &options, &plan, &err), SP_E_LIMIT);
    options.ram_bytes = plan.least_ram + (uint64_t)more * plan.slot_bytes;
    sp_status status = sp_model_stream_experts(model, &options, &err);
    if (status == SP_E_UNSUPPORTED && reader == SP_EXPERT_READER_URING) {
        sp_model_close(model);
        return NULL;
    }
    assert_ok(status, err);
    assert_int_equal(sp_model_stream_experts(model, &options, NULL), SP_E_ARGUMENT);
    return model;
}

static void expect_last(const fixture *f, const sp_session *s, size_t n)
{
    assert_memory_equal(f->expected + (n - 1) * f->row, sp_session_logits(s), f->row * sizeof(float));
}

static void check(fixture *f, const sp_model *model)
{
    static const int shapes[][2] = {{2, N_TOKENS}, {3, 17}, {1, 1}}; /* threads, chunk */
    sp_error err = SP_ERROR_NONE;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        sp_session *s = create_session(model, shapes[i][0], shapes[i][1]);
        assert_ok(sp_session_score(s, f->tokens, N_TOKENS, 0, compare_row, f, &err), err);
        sp_session_destroy(s);
    }
    sp_session *pair[2] = {create_session(model, 2, 20), create_session(model, 1, 64)};
    assert_ok(sp_session_sync(pair[0], f->tokens, 50, &err), err);
    assert_ok(sp_session_sync(pair[1], f->tokens, 7, &err), err);
    for (size_t i = 0; i < 20; i++) {
        const int32_t *next[2] = {f->tokens + 50 + i, f->tokens + 7 + i};
        const size_t n[2] = {1, 1};
        assert_ok(sp_session_advance(pair, next, n, 2, &err), err);
        expect_last(f, pair[0], 51 + i);
        expect_last(f, pair[1], 8 + i);
    }
    sp_session_destroy(pair[0]);
    sp_session_destroy(pair[1]);
}

static void test_one_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        char path[256];
        fixture f;
        snprintf(path, sizeof path, "tests/golden/%s", models[i]);
        prepare(&f, test_path(path));
        for (int reader = SP_EXPERT_READER_URING; reader <= SP_EXPERT_READER_THREADS; reader++) {
            for (int64_t more = 0; more < 7; more += 3) {
                sp_model *model = open_streamed(test_path(path), (sp_expert_reader)reader, more);
                if (!model) continue;
                sp_expert_stats stats;
                check(&f, model);
                assert_true(sp_model_expert_stats(model, &stats));
                assert_true(stats.n_reads > 0);
                sp_model_close(model);
            }
        }
        free(f.expected);
    }
}

static void copy_file(const char *from, const char *to)
{
    sp_buf bytes = read_whole(from);
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_file_write(to, &bytes, &err), err);
    sp_buf_clear(&bytes);
}

/* The last expert of the file is cut off while the model is open. */
static void test_cut_file(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    char path[64];
    fixture f;
    const char *whole = test_path("tests/golden/quantised/v3-q8_0.gguf");
    snprintf(path, sizeof path, "./expert-model-%d.tmp.gguf", (int)getpid());
    copy_file(whole, path);
    prepare(&f, path);
    sp_model *model = open_streamed(path, SP_EXPERT_READER_AUTO, 0);
    sp_expert_layout layout;
    uint64_t last = 0;
    sp_model *again;
    assert_ok(sp_model_open(&again, path, &err), err);
    assert_ok(sp_expert_layout_init(&layout, again, &err), err);
    for (int32_t i = 0; i < layout.n_layers * layout.n_experts; i++)
        if (layout.parts[i][0].tensor && layout.parts[i][2].offset > last) last = layout.parts[i][2].offset;
    sp_expert_layout_clear(&layout);
    sp_model_close(again);

    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    sp_session *s = create_session(model, 2, 16);
    sp_buf bytes = read_whole(path);
    assert_int_equal(truncate(path, (off_t)last), 0);
    assert_int_equal(sp_session_sync(s, f.tokens, N_TOKENS, &err), SP_E_IO);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "offset"));
    size_t n = sp_session_length(s);
    assert_true(n < N_TOKENS);
    int fd = open(path, O_WRONLY); /* the same file, whole again */
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes.data, bytes.len, 0), (ssize_t)bytes.len);
    close(fd);
    assert_ok(sp_session_sync(s, f.tokens, N_TOKENS, &err), err);
    expect_last(&f, s, N_TOKENS);
    sp_buf_clear(&bytes);
    sp_session_destroy(s);
    sp_model_close(model);
    unlink(path);
    free(f.expected);
}

/* What was learned is kept, and used the next time. */
static void test_hot_set(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    char hot[64];
    const char *path = test_path("tests/golden/models/v2-lite");
    fixture f;
    sp_expert_plan plan;
    prepare(&f, path);
    snprintf(hot, sizeof hot, "./expert-model-%d.tmp.hot", (int)getpid());
    sp_model *model = open_streamed(path, SP_EXPERT_READER_AUTO, 2);
    check(&f, model);
    assert_ok(sp_model_save_hot(model, hot, &err), err);
    assert_int_equal(sp_model_save_hot(model, "./no/such/folder/hot", &err), SP_E_NOT_FOUND);
    sp_model_close(model);
    sp_expert_options options = SP_EXPERT_OPTIONS_DEFAULTS;
    options.hot_path = hot;
    options.ram_bytes = (uint64_t)1 << 40;
    assert_ok(sp_model_open(&model, path, &err), err);
    assert_ok(sp_model_plan_experts(model, &options, &plan, &err), err);
    assert_true(plan.learned);
    assert_ok(sp_model_stream_experts(model, &options, &err), err);
    check(&f, model);
    sp_model_close(model);
    unlink(hot);
    free(f.expected);
}

static void test_dense(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_model *model;
    sp_expert_plan plan;
    sp_expert_options options = SP_EXPERT_OPTIONS_DEFAULTS;
    assert_ok(sp_model_open(&model, test_path("tests/golden/models/qwen2"), &err), err);
    assert_int_equal(sp_model_plan_experts(model, &options, &plan, &err), SP_E_UNSUPPORTED);
    assert_int_equal(sp_model_stream_experts(model, &options, &err), SP_E_UNSUPPORTED);
    sp_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_answer), cmocka_unit_test(test_cut_file),
                                       cmocka_unit_test(test_hot_set), cmocka_unit_test(test_dense)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
