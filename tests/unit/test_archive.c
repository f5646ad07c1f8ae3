/* SPDX-License-Identifier: MIT */
/* Archives: GGUF, split GGUF and Hugging Face directories give the same view; broken ones are refused with
 * the names in the text; allocation failures are survived. */
#include "format_testing.h"

#include "format/archive.h"
#include "format/gguf_write.h"
#include "format/safetensors_write.h"

static void expect_open_error(const char *path, sp_status expected, const char *text)
{
    sp_archive *a = NULL;
    sp_error err = SP_ERROR_NONE;
    sp_status status = sp_archive_open(&a, path, &err);
    assert_error(status, expected, &err, text);
    assert_null(a);
}

/* --- split GGUF ----------------------------------------------------------------------------------------- */

typedef struct shard {
    uint16_t no, count;
    int32_t tensors;
    const char *name, *arch; /* one tensor of 8 floats */
} shard;

static void write_shard(const char *dir, const char *file, const shard *s)
{
    char path[256];
    sp_error err = SP_ERROR_NONE;
    sp_gguf_writer *w;
    float data[8];
    for (int i = 0; i < 8; i++) data[i] = (float)(s->no * 8 + i);
    snprintf(path, sizeof path, "%s/%s", dir, file);
    assert_ok(sp_gguf_writer_open(&w, path, &err), &err);
    if (s->arch)
        assert_ok(sp_gguf_put_string(w, "general.architecture", s->arch, strlen(s->arch), &err), &err);
    if (s->count) {
        assert_ok(sp_gguf_put_u16(w, "split.no", s->no, &err), &err);
        assert_ok(sp_gguf_put_u16(w, "split.count", s->count, &err), &err);
        assert_ok(sp_gguf_put_i32(w, "split.tensors.count", s->tensors, &err), &err);
    }
    assert_ok(sp_gguf_declare(w, s->name, SP_DTYPE_F32, 1, (const int64_t[]){8}, &err), &err);
    assert_ok(sp_gguf_write_header(w, &err), &err);
    assert_ok(sp_gguf_write_data(w, data, sizeof data, &err), &err);
    assert_ok(sp_gguf_writer_commit(w, &err), &err);
    sp_gguf_writer_close(w);
}

static void write_split(const char *dir)
{
    write_shard(dir, "m-00001-of-00003.gguf", &(shard){0, 3, 3, "a", "llama"});
    write_shard(dir, "m-00002-of-00003.gguf", &(shard){1, 3, 3, "b", NULL});
    write_shard(dir, "m-00003-of-00003.gguf", &(shard){2, 3, 3, "c", NULL});
}

static sp_status open_step(void *ctx, sp_error *err)
{
    sp_archive *a;
    SP_TRY(sp_archive_open(&a, ctx, err));
    sp_archive_close(a);
    return SP_OK;
}

static void split_gguf_is_one_archive(void **state)
{
    (void)state;
    char dir[64], path[256];
    make_dir(dir);
    write_split(dir);
    snprintf(path, sizeof path, "%s/m-00001-of-00003.gguf", dir);
    sp_error err = SP_ERROR_NONE;
    sp_archive *a;
    assert_ok(sp_archive_open(&a, path, &err), &err);
    assert_int_equal(sp_archive_container(a), SP_CONTAINER_GGUF);
    assert_int_equal(sp_archive_count(a), 3);
    assert_int_equal(sp_archive_file_count(a), 3);
    const sp_entry *e = sp_archive_find(a, "c");
    assert_non_null(e);
    assert_int_equal(e->file, 2);
    assert_true(((const float *)e->tensor.data)[7] == 23.0f);
    assert_null(e->unsupported);
    assert_null(sp_archive_find(a, "d"));
    assert_string_equal(sp_archive_at(a, 1)->name, "b");
    assert_non_null(sp_archive_gguf(a));
    assert_null(sp_archive_config(a));
    sp_archive_close(a);
    assert_true(sweep_allocations(open_step, path) > 10);
    remove_dir(dir);
}

static void broken_splits_are_refused(void **state)
{
    (void)state;
    char dir[64], first[256], path[256];
    make_dir(dir);
    write_split(dir);
    snprintf(first, sizeof first, "%s/m-00001-of-00003.gguf", dir);
    snprintf(path, sizeof path, "%s/m-00002-of-00003.gguf", dir);
    expect_open_error(path, SP_E_ARGUMENT, "is shard 2 of 3; open the first, \"");
    write_shard(dir, "m-00002-of-00003.gguf", &(shard){2, 3, 3, "b", NULL});
    expect_open_error(first, SP_E_FORMAT, "split.no 2 and split.count 3, expected 1 and 3");
    write_shard(dir, "m-00002-of-00003.gguf", &(shard){1, 4, 3, "b", NULL});
    expect_open_error(first, SP_E_FORMAT, "split.no 1 and split.count 4, expected 1 and 3");
    write_shard(dir, "m-00002-of-00003.gguf", &(shard){0, 0, 0, "b", NULL});
    expect_open_error(first, SP_E_FORMAT, "split.no -1");
    write_shard(dir, "m-00002-of-00003.gguf", &(shard){1, 3, 3, "b", "qwen2"});
    expect_open_error(first, SP_E_FORMAT, "belongs to another model than the first shard");
    write_shard(dir, "m-00002-of-00003.gguf", &(shard){1, 3, 3, "a", NULL});
    expect_open_error(first, SP_E_FORMAT, "tensor \"a\" is in two files, m-00001-of-00003.gguf and m-00002");
    put_text_file(dir, "m-00002-of-00003.gguf", "GGUX");
    expect_open_error(first, SP_E_FORMAT, "m-00002-of-00003.gguf: gguf: the file does not begin");
    unlink(path);
    expect_open_error(first, SP_E_FORMAT, "shard 2 of 3 is missing");
    write_shard(dir, "m-00002-of-00003.gguf", &(shard){1, 3, 3, "b", NULL});
    write_shard(dir, "m-00001-of-00003.gguf", &(shard){0, 3, 4, "a", "llama"});
    expect_open_error(first, SP_E_FORMAT, "split.tensors.count is 4, the shards hold 3");
    write_shard(dir, "m-00001-of-00003.gguf", &(shard){3, 3, 3, "a", "llama"});
    expect_open_error(first, SP_E_FORMAT, "split.no 3 of split.count 3 is out of range");
    write_shard(dir, "other.gguf", &(shard){0, 3, 3, "a", "llama"});
    snprintf(path, sizeof path, "%s/other.gguf", dir);
    expect_open_error(path, SP_E_FORMAT, "its name must end in \"-00001-of-00003.gguf\"");
    write_shard(dir, "one.gguf", &(shard){0, 1, 1, "a", "llama"});
    snprintf(path, sizeof path, "%s/one.gguf", dir);
    sp_error err = SP_ERROR_NONE;
    assert_ok(open_step(path, &err), &err);
    remove_dir(dir);
}

/* --- Hugging Face directories --------------------------------------------------------------------------- */

static const char *const names[3] = {"a.weight", "b.weight", "c.bias"};

static void write_hf(const char *dir, uint64_t max_shard_bytes)
{
    sp_error err = SP_ERROR_NONE;
    sp_safetensors_writer *w;
    float data[24];
    for (int i = 0; i < 24; i++) data[i] = (float)i;
    put_text_file(dir, "config.json", "{\"model_type\": \"llama\"}");
    assert_ok(sp_safetensors_writer_open(&w, dir, max_shard_bytes, &err), &err);
    for (int i = 0; i < 3; i++) {
        assert_ok(sp_safetensors_declare(w, names[i], SP_DTYPE_F32, 2, (const int64_t[]){2, 4}, &err), &err);
    }
    for (int i = 0; i < 3; i++) assert_ok(sp_safetensors_write_data(w, data + 8 * i, 32, &err), &err);
    assert_ok(sp_safetensors_writer_commit(w, &err), &err);
    sp_safetensors_writer_close(w);
}

static void check_hf(const char *dir, size_t n_files)
{
    sp_error err = SP_ERROR_NONE;
    sp_archive *a;
    assert_ok(sp_archive_open(&a, dir, &err), &err);
    assert_int_equal(sp_archive_container(a), SP_CONTAINER_HF);
    assert_int_equal(sp_archive_file_count(a), n_files);
    assert_int_equal(sp_archive_count(a), 3);
    for (int i = 0; i < 3; i++) {
        const sp_entry *e = sp_archive_find(a, names[i]);
        assert_non_null(e);
        assert_true(e->tensor.shape[0] == 2 && e->tensor.shape[1] == 4 && e->tensor.row_bytes == 16);
        for (int k = 0; k < 8; k++) assert_true(((const float *)e->tensor.data)[k] == (float)(8 * i + k));
    }
    assert_string_equal(sp_json_string(sp_json_get(sp_archive_config(a), "model_type"), NULL), "llama");
    assert_null(sp_archive_gguf(a));
    assert_null(sp_archive_generation_config(a));
    sp_archive_close(a);
}

static void directories_are_one_archive(void **state)
{
    (void)state;
    char dir[64];
    make_dir(dir);
    write_hf(dir, 0);
    check_hf(dir, 1);
    assert_true(sweep_allocations(open_step, dir) > 10);
    remove_dir(dir);
    make_dir(dir);
    write_hf(dir, 32);
    check_hf(dir, 3);
    assert_true(sweep_allocations(open_step, dir) > 10);
    remove_dir(dir);
}

static void replace_index(const char *dir, const char *map)
{
    char text[512];
    snprintf(text, sizeof text, "{\"weight_map\": %s}", map);
    put_text_file(dir, "model.safetensors.index.json", text);
}

static void broken_directories_are_refused(void **state)
{
    (void)state;
    char dir[64], path[256];
    make_dir(dir);
    snprintf(path, sizeof path, "%s/absent", dir);
    expect_open_error(path, SP_E_NOT_FOUND, "absent\" does not exist");
    expect_open_error(dir, SP_E_NOT_FOUND, "holds no config.json");
    put_text_file(dir, "config.json", "");
    expect_open_error(dir, SP_E_FORMAT, "config.json: json: line 1");
    put_text_file(dir, "config.json", "[]");
    expect_open_error(dir, SP_E_FORMAT, "config.json: a JSON object was expected");
    put_text_file(dir, "config.json", "{\"a\": 1, \"a\": 2}");
    expect_open_error(dir, SP_E_FORMAT, "config.json: json: line 1");
    put_text_file(dir, "config.json", "{}");
    expect_open_error(dir, SP_E_NOT_FOUND, "holds neither model.safetensors nor");
    put_text_file(dir, "pytorch_model.bin", "");
    expect_open_error(dir, SP_E_UNSUPPORTED, "pytorch_model.bin");
    put_text_file(dir, "tokenizer_config.json", "{");
    expect_open_error(dir, SP_E_FORMAT, "tokenizer_config.json: json");
    put_text_file(dir, "tokenizer_config.json", "{}");
    put_text_file(dir, "model.safetensors", "xx");
    expect_open_error(dir, SP_E_FORMAT, "model.safetensors: safetensors: the file has 2 bytes");
    remove_dir(dir);
}

static void broken_indexes_are_refused(void **state)
{
    (void)state;
    char dir[64];
    make_dir(dir);
    write_hf(dir, 64); /* a, b in the first file, c in the second */
    static const struct {
        const char *map, *text;
    } cases[] = {
        {"3", "\"weight_map\" must be an object"},
        {"{}", "\"weight_map\" must be an object with entries"},
        {"{\"a.weight\": 1}", "weight_map[\"a.weight\"] must be a string"},
        {"{\"a.weight\": \"\"}", "is no plain file name"},
        {"{\"a.weight\": \"../x\"}", "\"../x\" is no plain file name"},
        {"{\"a.weight\": \"/etc/passwd\"}", "is no plain file name"},
        {"{\"a.weight\": \"..\"}", "\"..\" is no plain file name"},
        {"{\"a.weight\": \"x\\u0000y\"}", "is no plain file name"},
        {"{\"a.weight\": \"x.safetensors\"}", "names \"x.safetensors\", which is missing"},
        {"{\"q\": \"model-00001-of-00002.safetensors\"}", "tensor \"q\" is not in \"model-00001-of-00002"},
        {"{\"c.bias\": \"model-00001-of-00002.safetensors\"}", "tensor \"c.bias\" is not in"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        replace_index(dir, cases[i].map);
        expect_open_error(dir, SP_E_FORMAT, cases[i].text);
    }
    put_text_file(dir, "model.safetensors.index.json", "{");
    expect_open_error(dir, SP_E_FORMAT, "model.safetensors.index.json: json");
    remove_dir(dir);
}

static void write_f8(const char *dir, int64_t scale_rows, const char *scale_name, sp_dtype scale_type)
{
    static float scales[16];
    static uint8_t weights[130 * 200];
    sp_error err = SP_ERROR_NONE;
    sp_safetensors_writer *w;
    for (int i = 0; i < 16; i++) scales[i] = (float)i;
    assert_ok(sp_safetensors_writer_open(&w, dir, 0, &err), &err);
    assert_ok(sp_safetensors_declare(w, "odd", SP_DTYPE_F8_E4M3, 2, (const int64_t[]){1, 1}, &err), &err);
    assert_ok(sp_safetensors_declare(w, "odd_scale_inv", SP_DTYPE_F32, 2, (const int64_t[]){1, 1}, &err),
              &err);
    assert_ok(sp_safetensors_declare(w, "x.weight", SP_DTYPE_F8_E4M3, 2, (const int64_t[]){130, 200}, &err),
              &err);
    assert_ok(sp_safetensors_declare(w, scale_name, scale_type, 2, (const int64_t[]){scale_rows, 2}, &err),
              &err);
    assert_ok(sp_safetensors_write_data(w, weights, 1, &err), &err);
    assert_ok(sp_safetensors_write_data(w, &scales[9], 4, &err), &err);
    assert_ok(sp_safetensors_write_data(w, weights, sizeof weights, &err), &err);
    size_t n = (size_t)scale_rows * 2 * (scale_type == SP_DTYPE_F32 ? 4 : 2);
    assert_ok(sp_safetensors_write_data(w, scales, n, &err), &err);
    assert_ok(sp_safetensors_writer_commit(w, &err), &err);
    sp_safetensors_writer_close(w);
}

static void f8_scales_are_bound(void **state)
{
    (void)state;
    char dir[64];
    make_dir(dir);
    sp_error err = SP_ERROR_NONE;
    sp_archive *a;
    put_text_file(
        dir, "config.json",
        "{\"quantization_config\": {\"quant_method\": \"fp8\", \"weight_block_size\": [128, 128]}}");
    write_f8(dir, 2, "x.weight_scale_inv", SP_DTYPE_F32);
    assert_ok(sp_archive_open(&a, dir, &err), &err);
    const sp_entry *e = sp_archive_find(a, "x.weight");
    assert_true(e->tensor.scale && e->tensor.scale[3] == 3.0f);
    e = sp_archive_find(a, "odd"); /* its scale lies at an odd offset and is read through an aligned copy */
    assert_true(e->tensor.scale && (uintptr_t)e->tensor.scale % 4 == 0 && e->tensor.scale[0] == 9.0f);
    assert_non_null(sp_archive_find(a, "x.weight_scale_inv"));
    sp_archive_close(a);
    write_f8(dir, 1, "x.weight_scale_inv", SP_DTYPE_F32);
    expect_open_error(dir, SP_E_FORMAT, "\"x.weight\" (130, 200) have shape (1, 2), expected (2, 2)");
    write_f8(dir, 2, "y.weight_scale_inv", SP_DTYPE_F32);
    expect_open_error(dir, SP_E_FORMAT, "\"x.weight\" is F8_E4M3, but its \"_scale_inv\" is missing");
    write_f8(dir, 2, "x.weight_scale_inv", SP_DTYPE_BF16);
    expect_open_error(dir, SP_E_UNSUPPORTED, "scales of tensor \"x.weight\" must be F32");
    put_text_file(dir, "config.json",
                  "{\"quantization_config\": {\"quant_method\": \"fp8\", \"weight_block_size\": [64, 128]}}");
    expect_open_error(dir, SP_E_UNSUPPORTED, "weight_block_size must be [128, 128], found [64, 128]");
    put_text_file(dir, "config.json", "{\"quantization_config\": {\"quant_method\": \"gptq\"}}");
    expect_open_error(dir, SP_E_UNSUPPORTED, "quant_method is \"gptq\"");
    remove_dir(dir);
}

static void unread_types_are_marked(void **state)
{
    (void)state;
    static const char header[] = "{\"ids\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]},"
                                 "\"w\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[16,20]}}";
    char dir[64], file[256] = {0};
    make_dir(dir);
    file[0] = (char)(sizeof header - 1);
    memcpy(file + 8, header, sizeof header - 1);
    put_text_file(dir, "config.json", "{}");
    put_file(dir, "model.safetensors", file, 8 + sizeof header - 1 + 20);
    sp_error err = SP_ERROR_NONE;
    sp_archive *a;
    assert_ok(sp_archive_open(&a, dir, &err), &err);
    const sp_entry *e = sp_archive_find(a, "ids");
    assert_non_null(e);
    assert_string_equal(e->unsupported, "I64");
    assert_null(e->tensor.data);
    e = sp_archive_find(a, "w");
    assert_null(e->unsupported);
    assert_true(e->tensor.n_dims == 1 && e->tensor.shape[0] == 1 && (uintptr_t)e->tensor.data % 4 == 0);
    sp_archive_close(a);
    remove_dir(dir);
}

/* --- real files ----------------------------------------------------------------------------------------- */

static void check_real(const char *name, size_t n_tensors, sp_dtype dtype)
{
    char path[4096];
    if (!shared_data(path, name)) return;
    sp_error err = SP_ERROR_NONE;
    sp_archive *a;
    assert_ok(sp_archive_open(&a, path, &err), &err);
    assert_int_equal(sp_archive_count(a), n_tensors);
    const sp_entry *e = sp_archive_find(a, "model.embed_tokens.weight");
    assert_non_null(e);
    assert_int_equal(e->tensor.dtype, dtype);
    sp_archive_close(a);
}

static void real_models_open(void **state)
{
    (void)state;
    check_real("models/stories260K-hf", 47, SP_DTYPE_F32);
    check_real("models/verl-arith-llama", 39, SP_DTYPE_BF16);
    char path[4096];
    if (!shared_data(path, "tokenizers/gguf-vocab/ggml-vocab-deepseek-llm.gguf")) return;
    sp_error err = SP_ERROR_NONE;
    sp_archive *a;
    assert_ok(sp_archive_open(&a, path, &err), &err);
    assert_int_equal(sp_archive_count(a), 0);
    sp_archive_close(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_gguf_is_one_archive),   cmocka_unit_test(broken_splits_are_refused),
        cmocka_unit_test(directories_are_one_archive), cmocka_unit_test(broken_directories_are_refused),
        cmocka_unit_test(broken_indexes_are_refused),  cmocka_unit_test(f8_scales_are_bound),
        cmocka_unit_test(unread_types_are_marked),     cmocka_unit_test(real_models_open),
    };
#if SP_HAVE_JANSSON
    return cmocka_run_group_tests(tests, NULL, NULL);
#else
    const struct CMUnitTest gguf_tests[] = {tests[0], tests[1]};
    printf("skipped: this build has no jansson, so directories are not read\n");
    return cmocka_run_group_tests(gguf_tests, NULL, NULL);
#endif
}
