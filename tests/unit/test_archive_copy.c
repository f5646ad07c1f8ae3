/* SPDX-License-Identifier: MIT */
/* Tensors copied out of the map: the same bytes, scales and alignment from every container; what cannot be read changes
 * nothing; answers are those of the map. */
#include "format_testing.h"

#include "format/archive.h"
#include "infer/expert_stream.h"

#include <sputnik/sputnik.h>

static sp_archive *open_archive(const char *path)
{
    sp_archive *a;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_archive_open(&a, path, &err), &err);
    return a;
}

static void check_copy(const char *path, int n_threads, bool forget)
{
    sp_archive *map = open_archive(path), *copy = open_archive(path);
    sp_error err = SP_ERROR_NONE;
    sp_pool *pool;
    size_t n_scales = 0;
    assert_ok(sp_pool_create(&pool, n_threads, &err), &err);
    assert_false(sp_archive_is_copied(copy));
    assert_ok(sp_archive_copy(copy, pool, forget, &err), &err);
    assert_true(sp_archive_is_copied(copy));
    assert_ok(sp_archive_copy(copy, pool, forget, &err), &err); /* nothing is left to do */
    for (size_t i = 0; i < sp_archive_count(map); i++) {
        const sp_entry *m = sp_archive_at(map, i), *c = sp_archive_at(copy, i);
        assert_ptr_not_equal(m->tensor.data, c->tensor.data);
        assert_memory_equal(m->tensor.data, c->tensor.data, m->n_bytes);
        assert_int_equal((uintptr_t)m->tensor.data % 64, (uintptr_t)c->tensor.data % 64);
        if (!m->tensor.scale) continue;
        assert_non_null(c->tensor.scale);
        assert_true(m->tensor.scale[0] == c->tensor.scale[0]);
        char name[256];
        snprintf(name, sizeof name, "%s_scale_inv", c->name);
        assert_ptr_equal(c->tensor.scale, sp_archive_find(copy, name)->tensor.data);
        n_scales++;
    }
    if (strstr(path, "fp8")) assert_true(n_scales > 0);
    sp_pool_destroy(pool);
    sp_archive_close(map);
    sp_archive_close(copy);
}

static void copies_hold_the_same_bytes(void **state)
{
    static const char *const names[] = {"tests/golden/models/qwen2", "tests/golden/models/v3",
                                        "tests/golden/models/v3-fp8", "models/nano/nano.gguf"};
    (void)state;
    char path[4096];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (int n_threads = 1; n_threads <= 3; n_threads += 2)
            check_copy(source_file(path, names[i]), n_threads, n_threads == 3);
}

/* The file is cut after it was opened: the entries stay where they were. */
static void cut_files_are_errors(void **state)
{
    (void)state;
    char dir[64], path[4096], cut[256];
    make_dir(dir);
    sp_buf bytes = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_file_read(&bytes, source_file(path, "models/nano/nano.gguf"), (size_t)1 << 30, &err), &err);
    put_file(dir, "cut.gguf", bytes.data, bytes.len);
    snprintf(cut, sizeof cut, "%s/cut.gguf", dir);
    sp_archive *a = open_archive(cut);
    const void *data = sp_archive_at(a, 0)->tensor.data;
    assert_int_equal(truncate(cut, (off_t)bytes.len - 100), 0);
    assert_error(sp_archive_copy(a, NULL, false, &err), SP_E_IO, &err, "cut.gguf\" ends at byte");
    assert_false(sp_archive_is_copied(a));
    assert_ptr_equal(sp_archive_at(a, 0)->tensor.data, data);
    unlink(cut);
    assert_error(sp_archive_copy(a, NULL, false, &err), SP_E_NOT_FOUND, &err, "cannot open");
    sp_archive_close(a);
    sp_buf_clear(&bytes);
    remove_dir(dir);
}

static sp_status open_copied(void *ctx, sp_error *err)
{
    static const sp_model_options options = {SP_LOAD_COPY, 2};
    sp_model *model = NULL;
    sp_status status = sp_model_open_with(&model, ctx, &options, err);
    sp_model_close(model);
    return status;
}

static void failed_allocations_are_survived(void **state)
{
    (void)state;
    char path[4096];
    source_file(path, "tests/golden/models/v3-fp8");
    assert_true(sweep_allocations(open_copied, path) > 10);
}

static void get_logits(float *logits, const sp_model *model, int32_t n_vocab)
{
    static const int32_t tokens[] = {5, 77, 3, 200, 41};
    sp_session *session;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_session_create(&session, model, NULL, &err), &err);
    assert_ok(sp_session_sync(session, tokens, 5, &err), &err);
    memcpy(logits, sp_session_logits(session), (size_t)n_vocab * sizeof *logits);
    sp_session_destroy(session);
}

static void answers_are_the_same(void **state)
{
    static const char *const names[] = {"tests/golden/models/qwen2", "tests/golden/models/v3-fp8",
                                        "models/nano/nano.gguf"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[4096];
        sp_error err = SP_ERROR_NONE;
        sp_model_options options = SP_MODEL_OPTIONS_DEFAULTS;
        sp_model_info info;
        sp_model *map, *copy;
        assert_ok(sp_model_open(&map, source_file(path, names[i]), &err), &err);
        options.load = SP_LOAD_COPY;
        assert_ok(sp_model_open_with(&copy, path, &options, &err), &err);
        sp_model_get_info(map, &info);
        float *a = calloc((size_t)info.vocab_size, sizeof *a),
              *b = calloc((size_t)info.vocab_size, sizeof *b);
        get_logits(a, map, info.vocab_size);
        get_logits(b, copy, info.vocab_size);
        assert_memory_equal(a, b, (size_t)info.vocab_size * sizeof *a);
        free(a);
        free(b);
        sp_model_close(map);
        sp_model_close(copy);
    }
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    char path[4096];
    sp_error err = SP_ERROR_NONE;
    sp_model *model = NULL;
    sp_model_options options = {(sp_model_load)7, 0};
    source_file(path, "tests/golden/models/v3");
    assert_error(sp_model_open_with(&model, path, &options, &err), SP_E_ARGUMENT, &err, "load: 7");
    options = (sp_model_options){SP_LOAD_COPY, -1};
    assert_error(sp_model_open_with(&model, path, &options, &err), SP_E_ARGUMENT, &err, "threads");
    assert_null(model);
    options.n_threads = 1;
    assert_ok(sp_model_open_with(&model, path, &options, &err), &err);
    sp_expert_options experts = SP_EXPERT_OPTIONS_DEFAULTS;
    experts.ram_bytes = (uint64_t)1 << 40;
    assert_error(sp_model_stream_experts(model, &experts, &err), SP_E_ARGUMENT, &err, "were copied");
    sp_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_hold_the_same_bytes),      cmocka_unit_test(cut_files_are_errors),
        cmocka_unit_test(failed_allocations_are_survived), cmocka_unit_test(answers_are_the_same),
        cmocka_unit_test(wrong_options_are_refused),
    };
#if SP_HAVE_JANSSON
    return cmocka_run_group_tests(tests, NULL, NULL);
#else
    (void)tests;
    return 77;
#endif
}
