/* SPDX-License-Identifier: MIT */
/* safetensors: what is written, in one file or in shards, is read back equal; real files parse; malformed
 * files get the promised message; allocation failures are survived. */
#include "format_testing.h"
#include "hostile_cases.h"

#include "format/safetensors.h"
#include "format/safetensors_write.h"

static sp_status parse_text(sp_safetensors **st, const char *text, sp_buf *buf, sp_error *err)
{
    hostile_line(buf, text);
    return sp_safetensors_parse(st, (const uint8_t *)buf->data, buf->len, err);
}

static void entries_are_listed(void **state)
{
    (void)state;
    sp_buf buf = {0};
    sp_error err = SP_ERROR_NONE;
    sp_safetensors *st;
    assert_ok(
        parse_text(
            &st,
            "json '{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"I64\",\"shape\":[],"
            "\"data_offsets\":[6,14]},\"a\":{\"dtype\":\"BF16\",\"shape\":[1,3],\"data_offsets\":[0,6]},"
            "\"z\":{\"dtype\":\"F32\",\"shape\":[4,0],\"data_offsets\":[14,14]},"
            "\"f\":{\"dtype\":\"F8_NEW\",\"shape\":[5],\"data_offsets\":[14,17]}}   ' zeros 17",
            &buf, &err),
        &err);
    assert_int_equal(sp_safetensors_count(st), 4);
    const sp_safetensors_entry *e = sp_safetensors_at(st, 0);
    assert_string_equal(e->name, "a");
    assert_true(e->supported && e->dtype == SP_DTYPE_BF16 && e->n_dims == 2 && e->shape[1] == 3);
    assert_true(e->begin == buf.len - 17 && e->end == e->begin + 6);
    e = sp_safetensors_find(st, "b");
    assert_true(!e->supported && e->n_dims == 0);
    assert_string_equal(e->dtype_name, "I64");
    assert_false(sp_safetensors_find(st, "f")->supported);
    assert_null(sp_safetensors_find(st, "q"));
    assert_string_equal(sp_safetensors_metadata(st, "format"), "pt");
    assert_null(sp_safetensors_metadata(st, "x"));
    sp_safetensors_destroy(st);
    sp_buf_clear(&buf);
}

static void no_tensors_is_a_file(void **state)
{
    (void)state;
    sp_buf buf = {0};
    sp_error err = SP_ERROR_NONE;
    sp_safetensors *st;
    assert_ok(parse_text(&st, "json '{}'", &buf, &err), &err);
    assert_int_equal(sp_safetensors_count(st), 0);
    sp_safetensors_destroy(st);
    sp_buf_clear(&buf);
}

static void malformed_files_are_named(void **state)
{
    (void)state;
    FILE *file = hostile_open("safetensors.txt");
    assert_non_null(file);
    hostile_case c;
    int n = 0, bad = 0;
    while (hostile_next(file, &c)) {
        sp_error err = SP_ERROR_NONE;
        sp_safetensors *st = NULL;
        uint8_t *copy = malloc(c.bytes.len ? c.bytes.len : 1);
        if (c.bytes.len) memcpy(copy, c.bytes.data, c.bytes.len);
        sp_status status = sp_safetensors_parse(&st, copy, c.bytes.len, &err);
        if (strcmp(sp_status_name(status), c.status) != 0 || !strstr(err.text, c.text)) {
            printf("%s: expected %s %s\n     got %s %s\n", c.name, c.status, c.text, sp_status_name(status),
                   err.text);
            bad++;
        }
        sp_safetensors_destroy(st);
        free(copy);
        sp_buf_clear(&c.bytes);
        n++;
    }
    fclose(file);
    assert_int_equal(bad, 0);
    assert_true(n >= 30);
}

typedef struct writing {
    const char *dir;
    uint64_t max_shard_bytes;
} writing;

static sp_status write_dir(void *ctx, sp_error *err)
{
    const writing *how = ctx;
    sp_safetensors_writer *w = NULL;
    sp_status status = sp_safetensors_writer_open(&w, how->dir, how->max_shard_bytes, err);
    uint8_t bytes[64];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i + 1);
    if (status == SP_OK)
        status = sp_safetensors_declare(w, "one", SP_DTYPE_F32, 2, (const int64_t[]){2, 3}, err);
    if (status == SP_OK)
        status = sp_safetensors_declare(w, "none", SP_DTYPE_F32, 1, (const int64_t[]){0}, err);
    if (status == SP_OK)
        status = sp_safetensors_declare(w, "t\"wo", SP_DTYPE_F8_E4M3, 1, (const int64_t[]){5}, err);
    if (status == SP_OK) status = sp_safetensors_declare(w, "three", SP_DTYPE_BF16, 0, NULL, err);
    if (status == SP_OK) status = sp_safetensors_write_data(w, bytes, 10, err);
    if (status == SP_OK) status = sp_safetensors_write_data(w, bytes + 10, 14, err);
    if (status == SP_OK) status = sp_safetensors_write_data(w, bytes + 24, 5, err);
    if (status == SP_OK) status = sp_safetensors_write_data(w, bytes + 29, 2, err);
    if (status == SP_OK) status = sp_safetensors_writer_commit(w, err);
    sp_safetensors_writer_close(w);
    return status;
}

static void written_is_read_back(void **state)
{
    (void)state;
    char dir[64], path[128];
    make_dir(dir);
    sp_error err = SP_ERROR_NONE;
    assert_ok(write_dir(&(writing){dir, 0}, &err), &err);
    assert_int_equal(count_files(dir), 1);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    sp_map map;
    sp_safetensors *st;
    assert_ok(sp_map_open(&map, path, &err), &err);
    assert_ok(sp_safetensors_parse(&st, map.data, map.len, &err), &err);
    assert_int_equal(sp_safetensors_count(st), 4);
    assert_int_equal(sp_safetensors_at(st, 0)->begin % 8, 0);
    const sp_safetensors_entry *e = sp_safetensors_find(st, "t\"wo");
    assert_int_equal(map.data[e->begin], 25);
    assert_int_equal(e->dtype, SP_DTYPE_F8_E4M3);
    assert_int_equal(map.data[sp_safetensors_find(st, "three")->begin], 30);
    assert_string_equal(sp_safetensors_metadata(st, "format"), "pt");
    sp_safetensors_destroy(st);
    sp_map_close(&map);
    remove_dir(dir);
}

static void shards_have_an_index(void **state)
{
    (void)state;
    char dir[64], path[128];
    make_dir(dir);
    sp_error err = SP_ERROR_NONE;
    assert_ok(write_dir(&(writing){dir, 24}, &err), &err);
    assert_int_equal(count_files(dir), 3);
    snprintf(path, sizeof path, "%s/model-00002-of-00002.safetensors", dir);
    assert_true(sp_file_exists(path));
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
    sp_buf buf = {0};
    assert_ok(sp_file_read(&buf, path, 100000, &err), &err);
    assert_non_null(strstr(buf.data, "\"total_size\": 31"));
    assert_non_null(strstr(buf.data, "\"three\": \"model-00002-of-00002.safetensors\""));
    sp_buf_clear(&buf);
    remove_dir(dir);
}

static void failed_allocations_are_survived(void **state)
{
    (void)state;
    char dir[64];
    make_dir(dir);
    assert_true(sweep_allocations(write_dir, &(writing){dir, 24}) > 5);
    remove_dir(dir);
}

static void writer_refuses_misuse(void **state)
{
    (void)state;
    char dir[64];
    make_dir(dir);
    sp_error err = SP_ERROR_NONE;
    sp_safetensors_writer *w;
    assert_ok(sp_safetensors_writer_open(&w, dir, 0, &err), &err);
    const int64_t shape[] = {4};
    assert_error(sp_safetensors_declare(w, "q", SP_DTYPE_Q4_K, 1, shape, &err), SP_E_ARGUMENT, &err,
                 "no such type");
    assert_error(sp_safetensors_declare(w, "__metadata__", SP_DTYPE_F32, 1, shape, &err), SP_E_ARGUMENT, &err,
                 "name");
    assert_ok(sp_safetensors_declare(w, "a", SP_DTYPE_F32, 1, shape, &err), &err);
    assert_error(sp_safetensors_write_data(w, dir, 17, &err), SP_E_ARGUMENT, &err, "more bytes");
    assert_error(sp_safetensors_declare(w, "b", SP_DTYPE_F32, 1, shape, &err), SP_E_ARGUMENT, &err,
                 "after the first");
    assert_ok(sp_safetensors_write_data(w, dir, 15, &err), &err);
    assert_error(sp_safetensors_writer_commit(w, &err), SP_E_ARGUMENT, &err, "only 15 of its 16 bytes");
    sp_safetensors_writer_close(w);
    assert_int_equal(count_files(dir), 0);
    remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_listed),        cmocka_unit_test(no_tensors_is_a_file),
        cmocka_unit_test(malformed_files_are_named), cmocka_unit_test(written_is_read_back),
        cmocka_unit_test(shards_have_an_index),      cmocka_unit_test(failed_allocations_are_survived),
        cmocka_unit_test(writer_refuses_misuse),
    };
#if !SP_HAVE_JANSSON
    printf("skipped: this build has no jansson\n");
    (void)tests;
    return 0;
#else
    return cmocka_run_group_tests(tests, NULL, NULL);
#endif
}
