/* SPDX-License-Identifier: MIT */
/* GGUF: what is written is read back equal; real vocabulary files parse; malformed files get the promised
 * message; allocation failures are survived. */
#include "format_testing.h"
#include "hostile_cases.h"

#include "format/gguf.h"
#include "format/gguf_write.h"

#include <math.h>

static const float numbers[4] = {1.5f, -2.0f, 0.0f, 3e38f};
static const int32_t integers[3] = {1, -1, INT32_MIN};

static sp_status put_all(sp_gguf_writer *w, sp_error *err)
{
    const sp_gguf_string strings[3] = {{"", 0}, {"a\0b", 3}, {"\xc4\xa0x", 3}};
    SP_TRY(sp_gguf_put_string(w, "general.architecture", "llama", 5, err));
    SP_TRY(sp_gguf_put_u16(w, "t.u16", 65535, err));
    SP_TRY(sp_gguf_put_u32(w, "t.u32", 4000000000u, err));
    SP_TRY(sp_gguf_put_i32(w, "t.i32", -5, err));
    SP_TRY(sp_gguf_put_u64(w, "t.u64", (uint64_t)1 << 40, err));
    SP_TRY(sp_gguf_put_f32(w, "t.f32", 0.1f, err));
    SP_TRY(sp_gguf_put_bool(w, "t.bool", true, err));
    SP_TRY(sp_gguf_put_strings(w, "t.strings", strings, 3, err));
    SP_TRY(sp_gguf_put_i32s(w, "t.i32s", integers, 3, err));
    SP_TRY(sp_gguf_put_f32s(w, "t.f32s", numbers, 4, err));
    return sp_gguf_put_strings(w, "t.none", NULL, 0, err);
}

static sp_status declare_all(sp_gguf_writer *w, sp_error *err)
{
    SP_TRY(sp_gguf_declare(w, "a", SP_DTYPE_F32, 2, (const int64_t[]){3, 5}, err));
    SP_TRY(sp_gguf_declare(w, "b", SP_DTYPE_Q8_0, 3, (const int64_t[]){2, 3, 64}, err));
    return sp_gguf_declare(w, "c", SP_DTYPE_BF16, 1, (const int64_t[]){7}, err);
}

/* 60 bytes, 408 bytes, 14 bytes; every byte differs from its neighbours. */
#define N_BYTES (60 + 408 + 14)
static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 37 + 11);
}

static sp_status write_file(void *ctx, sp_error *err)
{
    sp_gguf_writer *w = NULL;
    sp_status status = sp_gguf_writer_open(&w, ctx, err);
    if (status == SP_OK) status = put_all(w, err);
    if (status == SP_OK) status = declare_all(w, err);
    if (status == SP_OK) status = sp_gguf_write_header(w, err);
    const size_t cut[] = {0, 60, 60 + 100, 60 + 408, N_BYTES}; /* tensor b in two pieces */
    uint8_t bytes[N_BYTES];
    for (size_t i = 0; i < N_BYTES; i++) bytes[i] = pattern(i);
    for (size_t i = 0; i < 4 && status == SP_OK; i++) {
        status = sp_gguf_write_data(w, bytes + cut[i], cut[i + 1] - cut[i], err);
    }
    if (status == SP_OK) status = sp_gguf_writer_commit(w, err);
    sp_gguf_writer_close(w);
    return status;
}

static void check_metadata(const sp_gguf *g)
{
    int64_t i = 0;
    double r = 0;
    bool b = false;
    sp_gguf_string s;
    assert_int_equal(sp_gguf_version(g), 3);
    assert_int_equal(sp_gguf_kv_count(g), 11);
    assert_true(sp_gguf_str(g, "general.architecture", &s) && s.len == 5 && memcmp(s.data, "llama", 5) == 0);
    assert_true(sp_gguf_int(g, "t.u16", &i) && i == 65535);
    assert_true(sp_gguf_int(g, "t.u32", &i) && i == 4000000000);
    assert_true(sp_gguf_int(g, "t.i32", &i) && i == -5);
    assert_true(sp_gguf_int(g, "t.u64", &i) && i == (int64_t)1 << 40);
    assert_true(sp_gguf_real(g, "t.f32", &r) && r == (double)0.1f);
    assert_true(sp_gguf_bool(g, "t.bool", &b) && b);
    assert_false(sp_gguf_int(g, "t.f32", &i));
    assert_false(sp_gguf_int(g, "absent", &i));
    const sp_gguf_kv *kv = sp_gguf_find(g, "t.strings");
    uint64_t pos = 0;
    assert_true(sp_gguf_next_string(kv, &pos, &s) && s.len == 0);
    assert_true(sp_gguf_next_string(kv, &pos, &s) && s.len == 3 && memcmp(s.data, "a\0b", 3) == 0);
    assert_true(sp_gguf_next_string(kv, &pos, &s) && s.len == 3);
    assert_false(sp_gguf_next_string(kv, &pos, &s));
    kv = sp_gguf_find(g, "t.i32s");
    for (uint64_t k = 0; k < 3; k++) assert_int_equal(sp_gguf_item_int(kv, k), integers[k]);
    kv = sp_gguf_find(g, "t.f32s");
    for (uint64_t k = 0; k < 4; k++) assert_true(sp_gguf_item_real(kv, k) == (double)numbers[k]);
    assert_int_equal(sp_gguf_find(g, "t.none")->count, 0);
}

static void written_is_read_back(void **state)
{
    (void)state;
    char dir[64], path[128];
    make_dir(dir);
    snprintf(path, sizeof path, "%s/a.gguf", dir);
    sp_error err = SP_ERROR_NONE;
    assert_ok(write_file(path, &err), &err);
    sp_map map;
    sp_gguf *g;
    assert_ok(sp_map_open(&map, path, &err), &err);
    assert_ok(sp_gguf_parse(&g, map.data, map.len, &err), &err);
    check_metadata(g);
    assert_int_equal(sp_gguf_tensor_count(g), 3);
    size_t at = 0;
    for (size_t k = 0; k < 3; k++) {
        const sp_gguf_tensor *t = sp_gguf_tensor_at(g, k);
        assert_int_equal(t->offset % sp_gguf_alignment(g), 0);
        for (uint64_t i = 0; i < t->n_bytes; i++) assert_int_equal(map.data[t->offset + i], pattern(at++));
    }
    assert_int_equal(at, N_BYTES);
    const sp_gguf_tensor *b = sp_gguf_tensor_at(g, 1);
    assert_int_equal(b->n_dims, 3);
    assert_true(b->shape[0] == 2 && b->shape[1] == 3 && b->shape[2] == 64 && b->dtype == SP_DTYPE_Q8_0);
    sp_gguf_destroy(g);
    sp_map_close(&map);
    remove_dir(dir);
}

static sp_status parse_step(void *ctx, sp_error *err)
{
    const sp_map *map = ctx;
    sp_gguf *g;
    SP_TRY(sp_gguf_parse(&g, map->data, map->len, err));
    sp_gguf_destroy(g);
    return SP_OK;
}

static void failed_allocations_are_survived(void **state)
{
    (void)state;
    char dir[64], path[128];
    make_dir(dir);
    snprintf(path, sizeof path, "%s/a.gguf", dir);
    assert_true(sweep_allocations(write_file, path) > 10);
    assert_int_equal(count_files(dir), 1);
    sp_error err = SP_ERROR_NONE;
    sp_map map;
    assert_ok(sp_map_open(&map, path, &err), &err);
    assert_true(sweep_allocations(parse_step, &map) > 3);
    sp_map_close(&map);
    remove_dir(dir);
}

/* Whatever the length at which the file is cut, it is refused; and so is every single flipped byte or it
 * parses. */
static void every_cut_is_refused(void **state)
{
    (void)state;
    char dir[64], path[128];
    make_dir(dir);
    snprintf(path, sizeof path, "%s/a.gguf", dir);
    sp_error err = SP_ERROR_NONE;
    assert_ok(write_file(path, &err), &err);
    sp_map map;
    assert_ok(sp_map_open(&map, path, &err), &err);
    size_t padding = 32 - 14; /* after the last tensor */
    for (size_t n = 0; n < map.len - padding; n++) {
        uint8_t *copy = malloc(n ? n : 1); /* exact size: the sanitizer sees any byte read past the end */
        sp_gguf *g;
        memcpy(copy, map.data, n);
        assert_int_not_equal(sp_gguf_parse(&g, copy, n, &err), SP_OK);
        assert_null(g);
        free(copy);
    }
    uint8_t *copy = malloc(map.len);
    for (size_t i = 0; i < map.len; i++) {
        for (int flip = 1; flip < 256; flip *= 2) {
            sp_gguf *g;
            memcpy(copy, map.data, map.len);
            copy[i] ^= (uint8_t)flip;
            if (sp_gguf_parse(&g, copy, map.len, &err) == SP_OK) sp_gguf_destroy(g);
        }
    }
    free(copy);
    sp_map_close(&map);
    remove_dir(dir);
}

static void malformed_files_are_named(void **state)
{
    (void)state;
    FILE *file = hostile_open("gguf.txt");
    assert_non_null(file);
    hostile_case c;
    int n = 0, bad = 0;
    while (hostile_next(file, &c)) {
        sp_error err = SP_ERROR_NONE;
        sp_gguf *g = NULL;
        uint8_t *copy = malloc(c.bytes.len ? c.bytes.len : 1);
        if (c.bytes.len) memcpy(copy, c.bytes.data, c.bytes.len);
        sp_status status = sp_gguf_parse(&g, copy, c.bytes.len, &err);
        if (strcmp(sp_status_name(status), c.status) != 0 || !strstr(err.text, c.text)) {
            printf("%s: expected %s %s\n     got %s %s\n", c.name, c.status, c.text, sp_status_name(status),
                   err.text);
            bad++;
        }
        sp_gguf_destroy(g);
        free(copy);
        sp_buf_clear(&c.bytes);
        n++;
    }
    fclose(file);
    assert_int_equal(bad, 0);
    assert_true(n >= 50);
}

/* Things that are unusual but right. */
static void unusual_files_are_read(void **state)
{
    (void)state;
    sp_buf buf = {0};
    sp_error err = SP_ERROR_NONE;
    sp_gguf *g;
    hostile_line(
        &buf, "raw 'GGUF' u32 2 u64 1 u64 4 str 'general.alignment' u32 10 u64 64 str 'n' u32 9 u32 9 u64 2 "
              "u32 0 u64 1 "
              "u8 7 u32 8 u64 1 str 'x' str 'z' u32 9 u32 4 u64 0 str 'big' u32 10 u64 0xffffffffffffffff");
    hostile_line(&buf, "str 'w' u32 1 u64 8 u32 0 u64 64 pad 64 zeros 96");
    assert_ok(sp_gguf_parse(&g, (const uint8_t *)buf.data, buf.len, &err), &err);
    assert_int_equal(sp_gguf_version(g), 2);
    assert_int_equal(sp_gguf_alignment(g), 64);
    assert_int_equal(sp_gguf_find(g, "n")->item_type, SP_GGUF_ARRAY);
    assert_int_equal(sp_gguf_tensor_at(g, 0)->offset, buf.len - 32);
    int64_t i;
    assert_false(sp_gguf_int(g, "big", &i)); /* above INT64_MAX */
    sp_gguf_destroy(g);
    sp_buf_clear(&buf);
}

static void writer_refuses_misuse(void **state)
{
    (void)state;
    char dir[64], path[128];
    make_dir(dir);
    snprintf(path, sizeof path, "%s/a.gguf", dir);
    sp_error err = SP_ERROR_NONE;
    sp_gguf_writer *w;
    const int64_t shape[] = {2, 32};
    assert_ok(sp_gguf_writer_open(&w, path, &err), &err);
    assert_ok(sp_gguf_put_u32(w, "k", 1, &err), &err);
    assert_error(sp_gguf_put_u32(w, "k", 2, &err), SP_E_ARGUMENT, &err, "\"k\" was put before");
    assert_error(sp_gguf_declare(w, "", SP_DTYPE_F32, 2, shape, &err), SP_E_ARGUMENT, &err, "1 to 63 bytes");
    assert_error(sp_gguf_declare(w, "t", SP_DTYPE_Q4_K, 2, shape, &err), SP_E_ARGUMENT, &err, "block");
    assert_error(sp_gguf_declare(w, "t", SP_DTYPE_F8_E4M3, 2, shape, &err), SP_E_ARGUMENT, &err,
                 "no such type");
    assert_error(sp_gguf_declare(w, "t", SP_DTYPE_F32, 0, shape, &err), SP_E_ARGUMENT, &err, "dimensions");
    assert_ok(sp_gguf_declare(w, "t", SP_DTYPE_Q8_0, 2, shape, &err), &err);
    assert_error(sp_gguf_write_data(w, path, 1, &err), SP_E_ARGUMENT, &err, "before the header");
    assert_ok(sp_gguf_write_header(w, &err), &err);
    assert_error(sp_gguf_put_u32(w, "z", 2, &err), SP_E_ARGUMENT, &err, "after the header");
    assert_error(sp_gguf_write_data(w, path, 69, &err), SP_E_ARGUMENT, &err, "more bytes than its 68");
    assert_ok(sp_gguf_write_data(w, path, 67, &err), &err);
    assert_error(sp_gguf_writer_commit(w, &err), SP_E_ARGUMENT, &err, "only 67 of its 68 bytes");
    sp_gguf_writer_close(w);
    assert_int_equal(count_files(dir), 0);
    assert_ok(sp_gguf_writer_open(&w, path, &err), &err);
    assert_ok(sp_gguf_declare(w, "t", SP_DTYPE_Q8_0, 2, shape, &err), &err);
    assert_ok(sp_gguf_declare(w, "t", SP_DTYPE_Q8_0, 2, shape, &err), &err);
    assert_error(sp_gguf_write_header(w, &err), SP_E_ARGUMENT, &err, "declared twice");
    sp_gguf_writer_close(w);
    remove_dir(dir);
}

static void check_vocab(const char *name, uint64_t n_tokens, const char *pre)
{
    char path[4096];
    if (!shared_data(path, name)) return;
    sp_error err = SP_ERROR_NONE;
    sp_map map;
    sp_gguf *g;
    assert_ok(sp_map_open(&map, path, &err), &err);
    assert_ok(sp_gguf_parse(&g, map.data, map.len, &err), &err);
    assert_int_equal(sp_gguf_tensor_count(g), 0);
    const sp_gguf_kv *tokens = sp_gguf_find(g, "tokenizer.ggml.tokens");
    assert_non_null(tokens);
    assert_int_equal(tokens->count, n_tokens);
    uint64_t pos = 0, n = 0;
    sp_gguf_string s;
    while (sp_gguf_next_string(tokens, &pos, &s)) n++;
    assert_int_equal(n, n_tokens);
    assert_true(sp_gguf_str(g, "tokenizer.ggml.pre", &s) && s.len == strlen(pre) &&
                !memcmp(s.data, pre, s.len));
    sp_gguf_destroy(g);
    sp_map_close(&map);
}

static void real_vocabularies_parse(void **state)
{
    (void)state;
    check_vocab("tokenizers/gguf-vocab/ggml-vocab-deepseek-llm.gguf", 102400, "deepseek-llm");
    check_vocab("tokenizers/gguf-vocab/ggml-vocab-deepseek-coder.gguf", 32256, "deepseek-coder");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_is_read_back),    cmocka_unit_test(failed_allocations_are_survived),
        cmocka_unit_test(every_cut_is_refused),    cmocka_unit_test(malformed_files_are_named),
        cmocka_unit_test(unusual_files_are_read),  cmocka_unit_test(writer_refuses_misuse),
        cmocka_unit_test(real_vocabularies_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
