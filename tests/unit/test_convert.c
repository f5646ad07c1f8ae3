/* SPDX-License-Identifier: MIT */
/* Conversion: a converted model gives the logits of its source; requantisation keeps metadata and changes types as
 * the mixture says; the bytes do not depend on threads; what cannot be converted is refused by name and leaves no
 * file; allocation failures are survived. */
#include "format_testing.h"

#include <sputnik/session.h>

#include "format/safetensors_write.h"
#include "model/convert.h"
#include "model/gguf_meta.h"

#include <math.h>

static const char *const goldens[] = {"llama-plain", "llama-linear", "llama-llama3", "qwen2", "qwen3",
                                      "deepseek",    "v2-lite",      "v2",           "v3",    "v3-fp8"};

static const char *golden(char path[4096], const char *name)
{
    char relative[128];
    snprintf(relative, sizeof relative, "tests/golden/models/%s", name);
    return source_file(path, relative);
}

static sp_status convert(const char *src, const char *dst, const char *type, sp_error *err)
{
    sp_convert_options o = SP_CONVERT_DEFAULTS;
    o.type = type;
    return sp_convert(src, dst, &o, err);
}

/* Logits after a fixed prompt of 12 tokens; the caller frees. */
static float *evaluate(const char *path, int32_t *vocab)
{
    sp_error err = SP_ERROR_NONE;
    sp_model *model;
    sp_session *session;
    sp_session_options o = SP_SESSION_OPTIONS_DEFAULTS;
    sp_model_info info;
    int32_t tokens[12];
    for (int i = 0; i < 12; i++) tokens[i] = (i * 37 + 5) % 200;
    o.n_threads = 1;
    o.n_ctx = 64;
    assert_ok(sp_model_open(&model, path, &err), &err);
    sp_model_get_info(model, &info);
    *vocab = info.vocab_size;
    assert_ok(sp_session_create(&session, model, &o, &err), &err);
    assert_ok(sp_session_sync(session, tokens, 12, &err), &err);
    float *logits = malloc((size_t)*vocab * sizeof *logits);
    assert_non_null(logits);
    memcpy(logits, sp_session_logits(session), (size_t)*vocab * sizeof *logits);
    sp_session_destroy(session);
    sp_model_close(model);
    return logits;
}

/* Largest difference relative to the largest logit. */
static double compare_logits(const char *a, const char *b)
{
    int32_t n, m;
    float *x = evaluate(a, &n), *y = evaluate(b, &m);
    assert_int_equal(n, m);
    double most = 0, diff = 0;
    for (int32_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)x[i]));
        diff = fmax(diff, fabs((double)x[i] - (double)y[i]));
    }
    free(x);
    free(y);
    return diff / most;
}

static void converted_models_give_the_same_logits(void **state)
{
    (void)state;
    char dir[64], out[128], again[128], src[4096];
    make_dir(dir);
    snprintf(out, sizeof out, "%s/a.gguf", dir);
    snprintf(again, sizeof again, "%s/b.gguf", dir);
    for (size_t i = 0; i < sizeof goldens / sizeof goldens[0]; i++) {
        sp_error err = SP_ERROR_NONE;
        assert_ok(convert(golden(src, goldens[i]), out, "f32", &err), &err);
        double diff = compare_logits(src, out);
        if (!(diff < 2e-5)) fail_msg("%s: logits differ by %g", goldens[i], diff);
        /* GGUF to GGUF of the same type is the identity on the data */
        assert_ok(convert(out, again, "f32", &err), &err);
        assert_true(compare_logits(out, again) == 0.0);
        assert_ok(convert(out, again, "q8_0", &err), &err);
        assert_true(compare_logits(out, again) < 0.2);
    }
    remove_dir(dir);
}

static void read_whole(const char *path, sp_buf *buf)
{
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_file_read(buf, path, (size_t)1 << 28, &err), &err);
}

static void threads_do_not_change_the_bytes(void **state)
{
    (void)state;
    static const char *const types[] = {"q4_k_m", "q2_k", "iq4_xs", "bf16"};
    char dir[64], one[128], three[128], src[4096];
    make_dir(dir);
    snprintf(one, sizeof one, "%s/1.gguf", dir);
    snprintf(three, sizeof three, "%s/3.gguf", dir);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        sp_error err = SP_ERROR_NONE;
        sp_convert_options o = SP_CONVERT_DEFAULTS;
        o.type = types[i];
        assert_ok(sp_convert(golden(src, "v3-fp8"), one, &o, &err), &err);
        assert_ok(sp_pool_create(&o.pool, 3, &err), &err);
        assert_ok(sp_convert(src, three, &o, &err), &err);
        sp_pool_destroy(o.pool);
        sp_buf a = {0}, b = {0};
        read_whole(one, &a);
        read_whole(three, &b);
        assert_int_equal(a.len, b.len);
        assert_memory_equal(a.data, b.data, a.len);
        sp_buf_clear(&a);
        sp_buf_clear(&b);
    }
    remove_dir(dir);
}

static void prediction_layers_are_kept(void **state)
{
    (void)state;
    char dir[64], out[128], src[4096];
    make_dir(dir);
    snprintf(out, sizeof out, "%s/a.gguf", dir);
    sp_error err = SP_ERROR_NONE;
    sp_archive *a;
    int64_t n = 0;
    assert_ok(convert(golden(src, "v3"), out, "q8_0", &err), &err);
    assert_ok(sp_archive_open(&a, out, &err), &err);
    assert_true(sp_gguf_int(sp_archive_gguf(a), "deepseek2.nextn_predict_layers", &n) && n == 1);
    assert_true(sp_gguf_int(sp_archive_gguf(a), "deepseek2.block_count", &n) && n == 3);
    assert_non_null(sp_archive_find(a, "blk.2.nextn.eh_proj.weight"));
    assert_null(sp_archive_find(a, "blk.2.nextn.shared_head_head.weight")); /* equal to the head */
    assert_int_equal(sp_archive_find(a, "blk.1.exp_probs_b.bias")->tensor.dtype, SP_DTYPE_F32);
    assert_int_equal(sp_archive_find(a, "blk.1.ffn_gate_inp.weight")->tensor.dtype, SP_DTYPE_F32);
    sp_archive_close(a);
    remove_dir(dir);
}

static void overrides_choose_types(void **state)
{
    (void)state;
    char dir[64], out[128], src[4096];
    make_dir(dir);
    snprintf(out, sizeof out, "%s/a.gguf", dir);
    sp_error err = SP_ERROR_NONE;
    const sp_type_override rows[] = {{"ffn_down", SP_DTYPE_F16}, {"attn_norm", SP_DTYPE_Q4_0}};
    sp_convert_options o = SP_CONVERT_DEFAULTS;
    o.type = "Q8_0";
    o.overrides = rows;
    o.n_overrides = 2;
    assert_ok(sp_convert(golden(src, "llama-plain"), out, &o, &err), &err);
    sp_archive *a;
    assert_ok(sp_archive_open(&a, out, &err), &err);
    assert_int_equal(sp_archive_find(a, "blk.0.ffn_down.weight")->tensor.dtype, SP_DTYPE_F16);
    assert_int_equal(sp_archive_find(a, "blk.0.attn_norm.weight")->tensor.dtype, SP_DTYPE_F32); /* a vector */
    assert_int_equal(sp_archive_find(a, "blk.0.ffn_up.weight")->tensor.dtype, SP_DTYPE_Q8_0);
    sp_archive_close(a);
    const sp_type_override bad = {"ffn_down", SP_DTYPE_IQ1_S};
    o.overrides = &bad;
    o.n_overrides = 1;
    assert_error(sp_convert(src, out, &o, &err), SP_E_ARGUMENT, &err, "type iq1_s cannot be written");
    remove_dir(dir);
}

/* --- refusals --------------------------------------------------------------------------------------------- */

typedef struct variant {
    const char *skip;    /* tensor left out */
    const char *extra;   /* tensor added */
    const char *squeeze; /* tensor with one row less */
} variant;

/* A tiny llama of one layer with one thing wrong. */
static void write_variant(const char *dir, const variant *v)
{
    static const struct {
        const char *name;
        int64_t rows, cols;
    } tensors[] = {
        {"model.embed_tokens.weight", 40, 32},
        {"model.norm.weight", 0, 32},
        {"lm_head.weight", 40, 32},
        {"model.layers.0.input_layernorm.weight", 0, 32},
        {"model.layers.0.post_attention_layernorm.weight", 0, 32},
        {"model.layers.0.self_attn.q_proj.weight", 32, 32},
        {"model.layers.0.self_attn.k_proj.weight", 16, 32},
        {"model.layers.0.self_attn.v_proj.weight", 16, 32},
        {"model.layers.0.self_attn.o_proj.weight", 32, 32},
        {"model.layers.0.mlp.gate_proj.weight", 64, 32},
        {"model.layers.0.mlp.up_proj.weight", 64, 32},
        {"model.layers.0.mlp.down_proj.weight", 32, 64},
        {"model.layers.0.self_attn.rotary_emb.inv_freq", 0, 8},
    };
    static const float data[64 * 64];
    sp_error err = SP_ERROR_NONE;
    sp_safetensors_writer *w;
    put_text_file(
        dir, "config.json",
        "{\"model_type\":\"llama\",\"hidden_size\":32,\"intermediate_size\":64,\"num_hidden_layers\":1,"
        "\"num_attention_heads\":2,\"num_key_value_heads\":1,\"vocab_size\":40}");
    assert_ok(sp_safetensors_writer_open(&w, dir, 0, &err), &err);
    size_t n = sizeof tensors / sizeof tensors[0], total = 0;
    for (size_t i = 0; i < n; i++) {
        bool less = v->squeeze && strcmp(v->squeeze, tensors[i].name) == 0;
        int64_t shape[] = {tensors[i].rows - less, tensors[i].cols};
        if (v->skip && strcmp(v->skip, tensors[i].name) == 0) continue;
        bool vector = tensors[i].rows == 0;
        assert_ok(
            sp_safetensors_declare(w, tensors[i].name, SP_DTYPE_F32, vector ? 1 : 2, shape + vector, &err),
            &err);
        total += (size_t)((vector ? 1 : shape[0]) * shape[1]);
    }
    if (v->extra)
        assert_ok(sp_safetensors_declare(w, v->extra, SP_DTYPE_F32, 1, (const int64_t[]){1}, &err), &err);
    total += v->extra != NULL;
    for (size_t i = 0; i < total; i++) assert_ok(sp_safetensors_write_data(w, data, 4, &err), &err);
    assert_ok(sp_safetensors_writer_commit(w, &err), &err);
    sp_safetensors_writer_close(w);
}

static void refusals_name_the_tensor(void **state)
{
    (void)state;
    char dir[64], to[64], out[128];
    make_dir(dir);
    make_dir(to);
    snprintf(out, sizeof out, "%s/out.gguf", to);
    sp_error err = SP_ERROR_NONE;
    write_variant(dir, &(variant){.skip = "model.layers.0.mlp.up_proj.weight"});
    assert_error(convert(dir, out, "q8_0", &err), SP_E_FORMAT, &err,
                 "\"model.layers.0.mlp.up_proj.weight\" is missing");
    write_variant(dir, &(variant){.extra = "model.layers.0.self_attn.sinks"});
    assert_error(convert(dir, out, "q8_0", &err), SP_E_UNSUPPORTED, &err,
                 "\"model.layers.0.self_attn.sinks\" has no place in a GGUF file of architecture llama");
    write_variant(dir, &(variant){.squeeze = "model.layers.0.self_attn.o_proj.weight"});
    assert_error(convert(dir, out, "q8_0", &err), SP_E_FORMAT, &err,
                 "expected shape (32, 32), found (31, 32)");
    write_variant(dir, &(variant){0});
    assert_error(convert(dir, out, "q9_9", &err), SP_E_ARGUMENT, &err,
                 "type \"q9_9\" is unknown; known are: f32, f16");
    assert_error(convert("/nowhere", out, "q8_0", &err), SP_E_NOT_FOUND, &err, "does not exist");
    assert_int_equal(count_files(to), 0);
    assert_ok(convert(dir, out, "q8_0", &err), &err);
    assert_error(convert(out, out, "q4_0", &err), SP_E_IO, &err, "cannot be written at the same time");
    remove_dir(dir);
    remove_dir(to);
}

static bool stop_half_way(void *ctx, uint64_t done, uint64_t total)
{
    int *calls = ctx;
    assert_true(done <= total);
    return ++*calls < 5;
}

static void cancelling_leaves_no_file(void **state)
{
    (void)state;
    char dir[64], out[128], src[4096];
    make_dir(dir);
    snprintf(out, sizeof out, "%s/a.gguf", dir);
    int calls = 0;
    sp_error err = SP_ERROR_NONE;
    sp_convert_options o = SP_CONVERT_DEFAULTS;
    o.progress = stop_half_way;
    o.progress_ctx = &calls;
    assert_error(sp_convert(golden(src, "qwen2"), out, &o, &err), SP_E_CANCELLED, &err, "cancelled");
    assert_int_equal(calls, 5);
    assert_int_equal(count_files(dir), 0);
    remove_dir(dir);
}

typedef struct paths {
    const char *src, *dst;
} paths;

static sp_status convert_step(void *ctx, sp_error *err)
{
    const paths *p = ctx;
    return convert(p->src, p->dst, "q4_k_m", err);
}

static void failed_allocations_are_survived(void **state)
{
    (void)state;
    char dir[64], to[64], out[128], again[128];
    make_dir(dir);
    make_dir(to);
    write_variant(dir, &(variant){0});
    snprintf(out, sizeof out, "%s/a.gguf", to);
    snprintf(again, sizeof again, "%s/b.gguf", to);
    assert_true(sweep_allocations(convert_step, &(paths){dir, out}) > 20);
    assert_true(sweep_allocations(convert_step, &(paths){out, again}) > 20);
    assert_int_equal(count_files(to), 2);
    remove_dir(dir);
    remove_dir(to);
}

/* --- vocabulary ------------------------------------------------------------------------------------------- */

static void vocabularies_survive(void **state)
{
    (void)state;
    static const char text[] = "Hello, w\xc3\xb6rld! \xe4\xbd\xa0\xe5\xa5\xbd 12345 <think>\n\n\t x \xff\xfe";
    char dir[64], path[128], source[4096];
    make_dir(dir);
    snprintf(path, sizeof path, "%s/v.gguf", dir);
    sp_error err = SP_ERROR_NONE;
    sp_tokenizer *a, *b;
    sp_gguf_writer *w;
    assert_ok(sp_tokenizer_open(&a, source_file(source, "tests/golden/tokenizers/tiny"), &err), &err);
    assert_ok(sp_gguf_writer_open(&w, path, &err), &err);
    int32_t n_rows = sp_tokenizer_size(a) + 9;
    assert_error(sp_gguf_put_tokenizer(w, a, n_rows - 10, NULL, &err), SP_E_FORMAT, &err, "the embedding");
    sp_gguf_writer_close(w);
    assert_ok(sp_gguf_writer_open(&w, path, &err), &err);
    assert_ok(sp_gguf_put_string(w, "general.architecture", "deepseek2", 9, &err), &err);
    assert_ok(sp_gguf_put_tokenizer(w, a, n_rows, NULL, &err), &err);
    assert_ok(sp_gguf_writer_commit(w, &err), &err);
    sp_gguf_writer_close(w);
    assert_ok(sp_tokenizer_open(&b, path, &err), &err);
    assert_int_equal(sp_tokenizer_size(b), n_rows);
    assert_int_equal(sp_tokenizer_bos(a), sp_tokenizer_bos(b));
    assert_int_equal(sp_tokenizer_eos(a), sp_tokenizer_eos(b));
    assert_string_equal(sp_tokenizer_pre(a), sp_tokenizer_pre(b));
    for (unsigned flags = 0; flags < 4; flags++) {
        sp_tokens x = {0}, y = {0};
        assert_ok(sp_tokenizer_encode(a, &x, text, sizeof text - 1, flags, &err), &err);
        assert_ok(sp_tokenizer_encode(b, &y, text, sizeof text - 1, flags, &err), &err);
        assert_int_equal(x.n, y.n);
        assert_memory_equal(x.ids, y.ids, x.n * sizeof *x.ids);
        sp_tokens_clear(&x);
        sp_tokens_clear(&y);
    }
    sp_tokenizer_close(a);
    sp_tokenizer_close(b);
    remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(converted_models_give_the_same_logits),
        cmocka_unit_test(threads_do_not_change_the_bytes),
        cmocka_unit_test(prediction_layers_are_kept),
        cmocka_unit_test(overrides_choose_types),
        cmocka_unit_test(refusals_name_the_tensor),
        cmocka_unit_test(cancelling_leaves_no_file),
        cmocka_unit_test(failed_allocations_are_survived),
        cmocka_unit_test(vocabularies_survive),
    };
#if SP_HAVE_JANSSON && SP_HAVE_PCRE2
    return cmocka_run_group_tests(tests, NULL, NULL);
#else
    printf("skipped: this build lacks jansson or PCRE2\n");
    (void)tests;
    return 0;
#endif
}
