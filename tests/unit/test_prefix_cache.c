/* SPDX-License-Identifier: MIT */
/* The prefix cache: a session that got its prefix from memory or from disk goes on with the bits of one that evaluated it; what
 * goes first when memory or disk are short; and damaged files, a full disk and lack of memory cost nothing but the prefix. */
#include "test_util.h"

#include "base/dir.h"
#include "infer/prefix_cache_parts.h"
#include "model/synth.h"

#include <signal.h>
#include <sputnik/sputnik.h>
#include <sys/resource.h>

#define N 200 /* three units and a bit */

static const char *const wide[] = {
    "{\"model_type\":\"qwen2\",\"vocab_size\":256,\"hidden_size\":64,\"intermediate_size\":96,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":32,"
    "\"rms_norm_eps\":1e-6,\"rope_theta\":10000,\"max_position_embeddings\":1024}",
    "{\"model_type\":\"deepseek_v2\",\"vocab_size\":256,\"hidden_size\":64,\"intermediate_size\":96,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":4,\"kv_lora_rank\":64,"
    "\"qk_nope_head_dim\":32,\"qk_rope_head_dim\":32,\"v_head_dim\":32,\"n_routed_experts\":4,"
    "\"n_shared_experts\":1,\"num_experts_per_tok\":2,\"moe_intermediate_size\":32,\"first_k_dense_replace\":"
    "1,"
    "\"rms_norm_eps\":1e-6,\"rope_theta\":10000,\"max_position_embeddings\":1024}"};

static char folder[64]; /* of this test */

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/sputnik-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return sp_dir_remove(folder, NULL) == SP_OK ? 0 : -1;
}

static sp_model *open_synthetic(const char *config)
{
    sp_error err = SP_ERROR_NONE;
    char json[128], gguf[128];
    snprintf(json, sizeof json, "%s/config.json", folder);
    snprintf(gguf, sizeof gguf, "%s/model.gguf", folder);
    FILE *file = fopen(json, "w");
    fputs(config, file);
    fclose(file);
    sp_synth_options options = SP_SYNTH_DEFAULTS;
    options.type = "f16";
    assert_ok(sp_synth(json, gguf, &options, &err), err);
    sp_model *model;
    assert_ok(sp_model_open(&model, gguf, &err), err);
    return model;
}

static sp_model *open_golden(const char *name)
{
    sp_error err = SP_ERROR_NONE;
    sp_model *model;
    assert_ok(sp_model_open(&model, test_path(name), &err), err);
    return model;
}

static sp_session *new_session(const sp_model *model, sp_cache_type type)
{
    sp_error err = SP_ERROR_NONE;
    sp_session *session;
    sp_session_options options = SP_SESSION_OPTIONS_DEFAULTS;
    options.n_ctx = N + 56;
    options.n_threads = 2;
    options.cache_type = type;
    assert_ok(sp_session_create(&session, model, &options, &err), err);
    return session;
}

static sp_prefix_cache *new_cache(const sp_model *model, sp_cache_type type, uint64_t memory, uint64_t disk)
{
    sp_error err = SP_ERROR_NONE;
    sp_prefix_cache *cache;
    sp_prefix_cache_options options = {memory, disk ? folder : NULL, disk};
    assert_ok(sp_prefix_cache_create(&cache, model, type, &options, &err), err);
    return cache;
}

static sp_prefix_cache_stats stats_of(const sp_prefix_cache *cache)
{
    sp_prefix_cache_stats stats;
    sp_prefix_cache_get_stats(cache, &stats);
    return stats;
}

static void fill_tokens(int32_t tokens[N], int seed)
{
    for (int i = 0; i < N; i++) tokens[i] = (i * 37 + i * i % 11 + seed * 13) % 200;
}

static size_t load(sp_prefix_cache *cache, sp_session *session, const int32_t *tokens, size_t n)
{
    sp_error err = SP_ERROR_NONE;
    size_t n_loaded;
    assert_ok(sp_prefix_cache_load(cache, session, tokens, n, &n_loaded, &err), err);
    return n_loaded;
}

static void expect_same(sp_session *expected, sp_session *session, const int32_t *tokens, size_t n)
{
    sp_error err = SP_ERROR_NONE;
    sp_model_info info;
    sp_model_get_info(sp_session_model(session), &info);
    size_t n_bytes = (size_t)info.vocab_size * sizeof(float);
    assert_ok(sp_session_sync(expected, tokens, n, &err), err);
    assert_ok(sp_session_sync(session, tokens, n, &err), err);
    assert_memory_equal(sp_session_logits(expected), sp_session_logits(session), n_bytes);
    const float *a, *b;
    if (info.n_mtp_layers == 0) return;
    assert_ok(sp_session_predict_next2(expected, 5, &a, &err), err);
    assert_ok(sp_session_predict_next2(session, 5, &b, &err), err);
    assert_memory_equal(a, b, n_bytes);
}

static void remember(sp_prefix_cache *cache, const sp_model *model, sp_cache_type type, const int32_t *tokens,
                     size_t n)
{
    sp_error err = SP_ERROR_NONE;
    sp_session *session = new_session(model, type);
    assert_ok(sp_session_sync(session, tokens, n, &err), err);
    sp_prefix_cache_store(cache, session);
    sp_session_destroy(session);
}

/* --- the same bits -------------------------------------------------------------------------------------- */

static void check_bits(const sp_model *model, sp_cache_type type)
{
    sp_error err = SP_ERROR_NONE;
    int32_t tokens[N], other[N];
    fill_tokens(tokens, 1);
    memcpy(other, tokens, sizeof other);
    for (int i = 100; i < N; i++) other[i] = (tokens[i] + 1) % 200;
    sp_prefix_cache *cache = new_cache(model, type, 1 << 26, 0);
    sp_session *a = new_session(model, type), *b = new_session(model, type);
    assert_int_equal(sp_prefix_cache_match(cache, tokens, N), 0);
    assert_ok(sp_session_sync(a, tokens, N, &err), err);
    sp_prefix_cache_store(cache, a);
    assert_int_equal(sp_prefix_cache_match(cache, tokens, N), 192);
    assert_int_equal(sp_prefix_cache_match(cache, tokens, 191), 128);
    assert_int_equal(sp_prefix_cache_match(cache, other, N), 64);

    assert_int_equal(load(cache, b, tokens, N), 192);
    assert_int_equal(sp_session_length(b), 192);
    expect_same(a, b, tokens, N);
    assert_int_equal(sp_session_reused(b), 192);

    assert_int_equal(load(cache, b, tokens, N), 0); /* it has all of it */
    assert_int_equal(sp_session_length(b), N);
    assert_ok(sp_session_sync(b, other, N, &err), err);
    assert_int_equal(load(cache, b, tokens, N), 92); /* 100 are shared */
    expect_same(a, b, tokens, N);
    assert_ok(sp_session_sync(b, other + 1, 3, &err), err);
    assert_int_equal(load(cache, b, tokens, 192), 128); /* the last token is left to evaluate */
    expect_same(a, b, tokens, 192);
    sp_session_destroy(a);
    sp_session_destroy(b);
    sp_prefix_cache_destroy(cache);
}

static void a_loaded_prefix_gives_the_bits_of_an_evaluated_one(void **state)
{
    (void)state;
    static const char *const golden[] = {"tests/golden/models/qwen2", "tests/golden/models/v2-lite",
                                         "tests/golden/models/v3"}; /* grouped, latent, and with prediction */
    static const sp_cache_type types[] = {SP_CACHE_F32, SP_CACHE_F16, SP_CACHE_BF16};
    for (size_t i = 0; i < 3; i++) {
        sp_model *model = open_golden(golden[i]);
        for (size_t t = 0; t < 3; t++) check_bits(model, types[t]);
        sp_model_close(model);
    }
    for (size_t i = 0; i < 2; i++) {
        sp_model *model = open_synthetic(wide[i]);
        check_bits(model, SP_CACHE_Q8_0);
        sp_model_close(model);
    }
}

/* --- what goes first ------------------------------------------------------------------------------------ */

static void leaves_that_were_not_used_for_longest_leave_memory(void **state)
{
    (void)state;
    sp_model *model = open_golden("tests/golden/models/qwen2");
    int32_t a[N], b[N];
    fill_tokens(a, 1);
    fill_tokens(b, 2);
    sp_prefix_cache *cache = new_cache(model, SP_CACHE_F32, 1 << 26, 0);
    size_t unit = cache->n_row_bytes;
    sp_prefix_cache_destroy(cache);
    cache = new_cache(model, SP_CACHE_F32, 4 * unit + unit / 2, 0);
    remember(cache, model, SP_CACHE_F32, a, N);
    remember(cache, model, SP_CACHE_F32, b, 70);
    assert_int_equal(sp_prefix_cache_match(cache, a, N), 192);
    assert_int_equal(stats_of(cache).n_bytes, 4 * unit);
    remember(cache, model, SP_CACHE_F32, a, 70); /* a's beginning is newer than b now, its end still older */
    remember(cache, model, SP_CACHE_F32, b, N);
    assert_int_equal(sp_prefix_cache_match(cache, b, N), 192);
    assert_int_equal(sp_prefix_cache_match(cache, a, N), 64);
    assert_int_equal(stats_of(cache).n_evicted, 2);
    assert_int_equal(stats_of(cache).n_units, 4);
    sp_prefix_cache_destroy(cache);
    /* a text longer than memory keeps its beginning */
    cache = new_cache(model, SP_CACHE_F32, 2 * unit, 0);
    remember(cache, model, SP_CACHE_F32, a, N);
    assert_int_equal(sp_prefix_cache_match(cache, a, N), 128);
    sp_prefix_cache_destroy(cache);
    cache = new_cache(model, SP_CACHE_F32, 0, 0);
    remember(cache, model, SP_CACHE_F32, a, N);
    assert_int_equal(sp_prefix_cache_match(cache, a, N), 0);
    sp_prefix_cache_destroy(cache);
    sp_model_close(model);
}

/* --- disk ----------------------------------------------------------------------------------------------- */

static void units_come_back_from_disk_with_the_same_bits(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_model *model = open_golden("tests/golden/models/v3");
    int32_t a[N], b[N];
    fill_tokens(a, 1);
    fill_tokens(b, 2);
    sp_session *expected = new_session(model, SP_CACHE_F16), *session = new_session(model, SP_CACHE_F16);
    sp_prefix_cache *cache = new_cache(model, SP_CACHE_F16, 1 << 26, 0);
    size_t unit = cache->n_row_bytes;
    sp_prefix_cache_destroy(cache);

    cache = new_cache(model, SP_CACHE_F16, 3 * unit, 1 << 26); /* out of memory, and back */
    remember(cache, model, SP_CACHE_F16, a, N);
    remember(cache, model, SP_CACHE_F16, b, N);
    assert_int_equal(sp_prefix_cache_match(cache, a, N), 192); /* also while it is being written */
    sp_prefix_cache_flush(cache);
    assert_int_equal(load(cache, session, a, N), 192);
    expect_same(expected, session, a, N);
    sp_prefix_cache_flush(cache);
    assert_int_equal(sp_prefix_cache_match(cache, a, N), 192);
    assert_int_equal(sp_prefix_cache_match(cache, b, N), 192);
    assert_ok(sp_session_sync(session, a + 1, 2, &err), err);
    assert_int_equal(load(cache, session, b, N), 192);
    expect_same(expected, session, b, N);
    sp_prefix_cache_stats stats = stats_of(cache);
    assert_true(stats.n_disk_hit_tokens >= 192 && stats.n_disk_units >= 3);
    assert_true(stats.n_bytes <= 3 * unit);
    sp_prefix_cache_destroy(cache);

    for (int i = 0; i < 2; i++) { /* after a restart, with memory or without */
        cache = new_cache(model, SP_CACHE_F16, i ? 0 : 1 << 26, 1 << 26);
        assert_int_equal(stats_of(cache).n_disk_units, 6);
        assert_ok(sp_session_sync(session, a + 1, 2, &err), err);
        assert_int_equal(load(cache, session, a, N), 192);
        expect_same(expected, session, a, N);
        assert_int_equal(stats_of(cache).n_disk_hit_tokens, 192);
        assert_int_equal(stats_of(cache).n_units, i ? 0 : 3);
        sp_prefix_cache_destroy(cache);
    }
    cache = new_cache(model, SP_CACHE_F32, 1 << 26, 1 << 26); /* rows of another kind are no hit */
    assert_int_equal(sp_prefix_cache_match(cache, a, N), 0);
    sp_prefix_cache_destroy(cache);
    sp_model *other = open_golden("tests/golden/models/qwen2");
    cache = new_cache(other, SP_CACHE_F16, 1 << 26, 1 << 26);
    assert_int_equal(stats_of(cache).n_disk_units, 0);
    sp_prefix_cache_destroy(cache);
    sp_model_close(other);
    sp_session_destroy(expected);
    sp_session_destroy(session);
    sp_model_close(model);
}

/* Paths of the files of units. */
static sp_names_list list_files(const sp_prefix_cache *cache)
{
    sp_error err = SP_ERROR_NONE;
    sp_names_list list = {NULL, 0, 0};
    assert_ok(sp_dir_list(&list, cache->dir, &err), err);
    return list;
}

static void damage_file(const char *dir, const char *name, size_t at)
{
    sp_error err = SP_ERROR_NONE;
    char *path = sp_path_join(dir, name);
    sp_buf bytes = read_whole(path);
    if (at < bytes.len)
        bytes.data[at] ^= 0x10;
    else
        bytes.len = at == SIZE_MAX ? 0 : bytes.len / 2;
    assert_ok(sp_file_write(path, &bytes, &err), err);
    sp_buf_clear(&bytes);
    sp_free(path);
}

static void a_damaged_file_is_removed_and_counts_as_unknown(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    static const size_t places[] = {0, 9, 13, 30, 70, 120, 500, SIZE_MAX - 1, SIZE_MAX};
    sp_model *model = open_golden("tests/golden/models/qwen2");
    int32_t a[N];
    fill_tokens(a, 1);
    sp_session *expected = new_session(model, SP_CACHE_F32), *session = new_session(model, SP_CACHE_F32);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        sp_prefix_cache *cache = new_cache(model, SP_CACHE_F32, 1 << 26, 1 << 26);
        remember(cache, model, SP_CACHE_F32, a, N);
        sp_prefix_cache_destroy(cache);
        cache = new_cache(model, SP_CACHE_F32, 1 << 26, 1 << 26);
        assert_int_equal(sp_prefix_cache_match(cache, a, N), 192);
        sp_names_list files = list_files(cache);
        assert_int_equal(files.n, 3);
        damage_file(cache->dir, files.names[i % 3], places[i]);
        assert_ok(sp_session_sync(session, a + 1, 2, &err), err);
        size_t n_loaded = load(cache, session, a, N);
        assert_true(n_loaded < 192 && n_loaded % 64 == 0);
        assert_int_equal(stats_of(cache).n_damaged, 1);
        assert_int_equal(stats_of(cache).n_disk_units, 2);
        assert_int_equal(sp_prefix_cache_match(cache, a, N), n_loaded);
        expect_same(expected, session, a, N);
        sp_names_list_clear(&files);
        files = list_files(cache);
        assert_int_equal(files.n, 2);
        sp_names_list_clear(&files);
        sp_prefix_cache_destroy(cache);
    }
    sp_session_destroy(expected);
    sp_session_destroy(session);
    sp_model_close(model);
}

static void files_stay_within_their_budget_and_the_oldest_go_first(void **state)
{
    (void)state;
    sp_model *model = open_golden("tests/golden/models/qwen2");
    int32_t a[N], b[N];
    fill_tokens(a, 1);
    fill_tokens(b, 2);
    sp_prefix_cache *cache = new_cache(model, SP_CACHE_F32, 1 << 26, 1 << 26);
    remember(cache, model, SP_CACHE_F32, a, N);
    sp_prefix_cache_destroy(cache);
    cache = new_cache(model, SP_CACHE_F32, 1 << 26, 1 << 26);
    uint64_t file = stats_of(cache).n_disk_bytes / 3;
    sp_prefix_cache_destroy(cache);
    cache = new_cache(model, SP_CACHE_F32, 1 << 26, 4 * file);
    remember(cache, model, SP_CACHE_F32, b, N);
    sp_prefix_cache_destroy(cache);
    cache = new_cache(model, SP_CACHE_F32, 1 << 26, 4 * file);
    assert_int_equal(stats_of(cache).n_disk_bytes, 4 * file);
    assert_int_equal(sp_prefix_cache_match(cache, b, N), 192);
    assert_int_equal(sp_prefix_cache_match(cache, a, N), 64);
    sp_prefix_cache_destroy(cache);
    cache = new_cache(model, SP_CACHE_F32, 1 << 26, file); /* a smaller budget than last time */
    assert_int_equal(stats_of(cache).n_disk_units, 1);
    assert_int_equal(sp_prefix_cache_match(cache, b, N), 64);
    sp_names_list files = list_files(cache);
    assert_int_equal(files.n, 1);
    sp_names_list_clear(&files);
    sp_prefix_cache_destroy(cache);
    sp_model_close(model);
}

static void what_was_never_finished_is_cleared_away(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_model *model = open_golden("tests/golden/models/qwen2");
    sp_prefix_cache *cache = new_cache(model, SP_CACHE_F32, 1 << 26, 1 << 26);
    char *hidden = sp_path_join(cache->dir, ".0123.99"), *foreign = sp_path_join(cache->dir, "notes");
    sp_buf bytes = {NULL, 0, 0};
    assert_ok(sp_buf_puts(&bytes, "half a unit", &err), err);
    assert_ok(sp_file_write(hidden, &bytes, &err), err);
    assert_ok(sp_file_write(foreign, &bytes, &err), err);
    sp_prefix_cache_destroy(cache);
    cache = new_cache(model, SP_CACHE_F32, 1 << 26, 1 << 26);
    assert_false(sp_file_exists(hidden));
    assert_true(sp_file_exists(foreign));
    assert_int_equal(stats_of(cache).n_disk_units, 0);
    sp_prefix_cache_destroy(cache);
    sp_buf_clear(&bytes);
    sp_free(hidden);
    sp_free(foreign);
    sp_model_close(model);
}

static void a_full_disk_costs_the_prefix_and_leaves_nothing_broken(void **state)
{
    (void)state;
    sp_model *model = open_golden("tests/golden/models/qwen2");
    int32_t a[N];
    fill_tokens(a, 1);
    sp_prefix_cache *cache = new_cache(model, SP_CACHE_F32, 1 << 26, 1 << 26);
    remember(cache, model, SP_CACHE_F32, a, N);
    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){cache->n_row_bytes / 2, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    sp_prefix_cache_destroy(cache);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    cache = new_cache(model, SP_CACHE_F32, 1 << 26, 1 << 26);
    sp_names_list files = list_files(cache);
    assert_int_equal(files.n, 0);
    assert_int_equal(sp_prefix_cache_match(cache, a, N), 0);
    sp_names_list_clear(&files);
    sp_prefix_cache_destroy(cache);
    sp_model_close(model);
}

static void a_folder_that_cannot_be_used_is_named(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_model *model = open_golden("tests/golden/models/qwen2");
    sp_prefix_cache_options options = {1 << 20, "/dev/null/cache", 1 << 20};
    sp_prefix_cache *cache;
    assert_int_equal(sp_prefix_cache_create(&cache, model, SP_CACHE_F32, &options, &err), SP_E_IO);
    assert_null(cache);
    assert_non_null(strstr(err.text, "/dev/null"));
    sp_model_close(model);
}

static void lack_of_memory_means_that_less_is_remembered(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_model *model = open_golden("tests/golden/models/qwen2");
    int32_t a[N];
    fill_tokens(a, 1);
    sp_session *expected = new_session(model, SP_CACHE_F32), *session = new_session(model, SP_CACHE_F32);
    for (int64_t n = 0; n < 12; n++) {
        sp_prefix_cache *cache = new_cache(model, SP_CACHE_F32, 1 << 26, 1 << 26);
        assert_ok(sp_session_sync(expected, a, N, &err), err);
        sp_mem_fail_after(n);
        sp_prefix_cache_store(cache, expected);
        sp_mem_fail_after(-1);
        size_t known = sp_prefix_cache_match(cache, a, N);
        assert_true(known == 192 || n < 6);
        assert_ok(sp_session_sync(session, a + 1, 2, &err), err);
        assert_int_equal(load(cache, session, a, N), known);
        expect_same(expected, session, a, N);
        sp_prefix_cache_destroy(cache);
        cache = new_cache(model, SP_CACHE_F32, 1 << 26, 1 << 26);
        assert_ok(sp_session_sync(session, a + 1, 2, &err), err);
        sp_mem_fail_after(n);
        size_t n_loaded = load(cache, session, a, N);
        sp_mem_fail_after(-1);
        assert_true(n_loaded == known || n < 6);
        expect_same(expected, session, a, N);
        sp_prefix_cache_destroy(cache);
        assert_int_equal(remove_folder(NULL), 0);
        assert_int_equal(make_folder(NULL), 0);
    }
    sp_session_destroy(expected);
    sp_session_destroy(session);
    sp_model_close(model);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_loaded_prefix_gives_the_bits_of_an_evaluated_one),
        TEST(leaves_that_were_not_used_for_longest_leave_memory),
        TEST(units_come_back_from_disk_with_the_same_bits),
        TEST(a_damaged_file_is_removed_and_counts_as_unknown),
        TEST(files_stay_within_their_budget_and_the_oldest_go_first),
        TEST(what_was_never_finished_is_cleared_away),
        TEST(a_full_disk_costs_the_prefix_and_leaves_nothing_broken),
        TEST(a_folder_that_cannot_be_used_is_named),
        TEST(lack_of_memory_means_that_less_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
