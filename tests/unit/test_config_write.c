/* SPDX-License-Identifier: MIT */
/* Written configurations read back as the same model, and Hugging Face folders are exported whole or not at all. */
#include "test_util.h"

#include <sys/stat.h>

#include "base/dir.h"
#include "base/hash.h"
#include "model/config_write.h"
#include "format/archive.h"
#include "model/export_hf.h"
#include "model/shapes.h"

static sp_json *parse(const sp_buf *text)
{
    sp_json *root;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_json_parse(text->data, text->len, &root, &err), err);
    return root;
}

/* hparams -> config.json -> hparams, and the same text again. */
static void check_round_trip(const sp_hparams *hp, const char *name)
{
    sp_buf text = {NULL, 0, 0}, again = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    sp_hparams read;
    sp_config_facts facts = {.dtype = SP_DTYPE_F32};
    assert_ok(sp_config_write(&text, hp, &facts, &err), err);
    sp_json *root = parse(&text);
    assert_ok(sp_hparams_from_config(&read, root, &err), err);
    if (sp_hparams_hash(hp, SP_HASH_SEED) != sp_hparams_hash(&read, SP_HASH_SEED))
        fail_msg("%s: another model was read from\n%s", name, text.data);
    assert_ok(sp_config_write(&again, &read, &facts, &err), err);
    assert_string_equal(text.data, again.data);
    sp_json_destroy(root);
    sp_buf_clear(&text);
    sp_buf_clear(&again);
}

static void every_published_shape_reads_back(void **state)
{
    (void)state;
    for (size_t i = 0; sp_shape_name(i); i++) {
        sp_hparams hp;
        sp_error err = SP_ERROR_NONE;
        assert_ok(sp_shape_find(&hp, sp_shape_name(i), &err), err);
        check_round_trip(&hp, sp_shape_name(i));
    }
}

static void every_golden_model_reads_back(void **state)
{
    (void)state;
    static const char *const names[] = {"deepseek",    "llama-linear", "llama-llama3", "qwen2", "qwen3",
                                        "llama-plain", "v2",           "v2-lite",      "v3"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[96];
        sp_hparams hp;
        sp_error err = SP_ERROR_NONE;
        snprintf(path, sizeof path, "tests/golden/models/%s/config.json", names[i]);
        sp_buf text = read_whole(test_path(path));
        sp_json *root = parse(&text);
        assert_ok(sp_hparams_from_config(&hp, root, &err), err);
        check_round_trip(&hp, names[i]);
        sp_json_destroy(root);
        sp_buf_clear(&text);
    }
}

/* What the published shapes do not have: odd reals, half-split rotation, unusual routers. */
static void unusual_values_read_back(void **state)
{
    (void)state;
    sp_hparams hp;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_shape_find(&hp, "deepseek-v3", &err), err);
    hp.rms_norm_eps = 1.0 / 3.0 * 1e-5;
    hp.rope_theta = 12345.678901234567;
    hp.routed_scaling_factor = 0.1 + 0.2;
    hp.rope_interleaved = false;
    hp.tie_word_embeddings = true;
    hp.rope_scaling.mscale = 0.707;
    hp.rope_scaling.original_max_position_embeddings = 100.5;
    check_round_trip(&hp, "unusual");
    hp.topk_method = SP_TOPK_GREEDY;
    check_round_trip(&hp, "greedy sigmoid");
    hp.scoring_func = SP_SCORING_SOFTMAX;
    check_round_trip(&hp, "greedy softmax");
    hp.topk_method = SP_TOPK_NOAUX_TC;
    check_round_trip(&hp, "corrected softmax");
    hp.n_routed_experts = 0;
    check_round_trip(&hp, "dense");
}

static void the_hash_tells_models_apart(void **state)
{
    (void)state;
    sp_hparams hp;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_shape_find(&hp, "deepseek-v3", &err), err);
    uint64_t h = sp_hparams_hash(&hp, 1);
    sp_hparams other = hp;
    other.head_dim++; /* without a meaning in latent attention */
    assert_true(sp_hparams_hash(&other, 1) == h);
    other.routed_scaling_factor += 1e-9;
    assert_true(sp_hparams_hash(&other, 1) != h);
    other = hp;
    other.rope_scaling.beta_slow = 2;
    assert_true(sp_hparams_hash(&other, 1) != h);
    assert_true(sp_hparams_hash(&hp, 2) != h);
}

static void ids_come_from_the_tokenizer(void **state)
{
    (void)state;
    sp_hparams hp;
    sp_tokenizer *tokenizer;
    sp_error err = SP_ERROR_NONE;
    sp_buf text = {NULL, 0, 0};
    assert_ok(sp_shape_find(&hp, "deepseek-v3", &err), err);
    assert_ok(sp_tokenizer_open(&tokenizer, test_path("tests/golden/tokenizers/tiny"), &err), err);
    sp_config_facts facts = {.tokenizer = tokenizer, .dtype = SP_DTYPE_BF16, .initializer_range = 0.02};
    assert_ok(sp_config_write(&text, &hp, &facts, &err), err);
    sp_json *root = parse(&text);
    assert_int_equal(sp_json_int(sp_json_get(root, "bos_token_id"), -9), sp_tokenizer_bos(tokenizer));
    assert_int_equal(sp_json_int(sp_json_get(root, "eos_token_id"), -9), sp_tokenizer_eos(tokenizer));
    assert_string_equal(sp_json_string(sp_json_get(root, "torch_dtype"), NULL), "bfloat16");
    assert_true(sp_json_real(sp_json_get(root, "initializer_range"), 0) == 0.02);
    assert_string_equal(sp_json_string(sp_json_at(sp_json_get(root, "architectures"), 0), NULL),
                        "DeepseekV3ForCausalLM");
    sp_json_destroy(root);
    text.len = 0;
    assert_ok(sp_generation_config_write(&text, tokenizer, &err), err);
    root = parse(&text);
    assert_int_equal(sp_json_int(sp_json_get(root, "bos_token_id"), -9), sp_tokenizer_bos(tokenizer));
    assert_non_null(sp_json_get(root, "eos_token_id"));
    sp_json_destroy(root);
    sp_tokenizer_close(tokenizer);
    sp_buf_clear(&text);
}

/* --- export --------------------------------------------------------------------------------------------- */

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/sp-export-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return sp_dir_remove(folder, NULL) == SP_OK ? 0 : -1;
}

static size_t count_names(const char *path)
{
    sp_names_list list = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_dir_list(&list, path, &err), err);
    size_t n = list.n;
    sp_names_list_clear(&list);
    return n;
}

static void exported_tensors_are_the_rounded_ones(void **state)
{
    (void)state;
    static const sp_dtype types[] = {SP_DTYPE_F32, SP_DTYPE_BF16, SP_DTYPE_F16};
    const char *source = test_path("tests/golden/models/v3");
    sp_error err = SP_ERROR_NONE;
    sp_archive *a, *b;
    assert_ok(sp_archive_open(&a, source, &err), err);
    for (size_t i = 0; i < 3; i++) {
        char dst[128];
        snprintf(dst, sizeof dst, "%s/out%zu/", folder, i);
        /* several small shards, as a large model has */
        sp_export_options options = {.dtype = types[i], .max_shard_bytes = i == 1 ? 20000 : 0};
        assert_ok(sp_export_hf(source, dst, &options, &err), err);
        assert_ok(sp_archive_open(&b, dst, &err), err);
        assert_int_equal(sp_archive_count(a), sp_archive_count(b));
        for (size_t k = 0; k < sp_archive_count(b); k++) {
            const sp_entry *e = sp_archive_at(b, k), *o = sp_archive_find(a, e->name);
            float row[1024], original[1024];
            uint8_t packed[4096];
            bool bias = strstr(e->name, "e_score_correction_bias") != NULL;
            assert_int_equal(e->tensor.dtype, bias ? SP_DTYPE_F32 : types[i]);
            size_t n = (size_t)sp_tensor_cols(&e->tensor);
            assert_true(n <= 1024);
            sp_tensor_read_row(&o->tensor, 0, original);
            assert_ok(sp_dtype_pack(e->tensor.dtype, original, packed, n, &err), err);
            sp_tensor_read_row(&e->tensor, 0, row);
            assert_memory_equal(packed, sp_tensor_row(&e->tensor, 0), e->tensor.row_bytes);
        }
        sp_archive_close(b);
    }
    sp_archive_close(a);
    assert_int_equal(count_names(folder), 3);
}

static void an_export_is_whole_or_absent(void **state)
{
    (void)state;
    char dst[128];
    const char *source = test_path("tests/golden/models/v3");
    sp_error err = SP_ERROR_NONE;
    sp_export_options options = {.dtype = SP_DTYPE_BF16};
    snprintf(dst, sizeof dst, "%s/out", folder);
    options.dtype = SP_DTYPE_Q8_0;
    assert_int_equal(sp_export_hf(source, dst, &options, &err), SP_E_ARGUMENT);
    options.dtype = SP_DTYPE_BF16;
    assert_int_not_equal(sp_export_hf(test_path("tests/golden/models"), dst, &options, &err), SP_OK);
    assert_int_equal(count_names(folder), 0);
    assert_ok(sp_dir_create(dst, &err), err); /* an empty folder is filled */
    assert_ok(sp_export_hf(source, dst, &options, &err), err);
    assert_int_equal(count_names(folder), 1);
    assert_int_equal(sp_export_hf(source, dst, &options, &err), SP_E_IO);
    assert_non_null(strstr(err.text, "is not empty"));
    sp_status status = SP_E_NOMEM;
    strcat(dst, "2");
    for (int n = 0; status != SP_OK; n += n < 40 ? 1 : 41) {
        sp_mem_fail_after(n);
        status = sp_export_hf(source, dst, &options, &err);
        sp_mem_fail_after(-1);
        if (status == SP_OK) break;
        assert_int_equal(status, SP_E_NOMEM);
        assert_int_equal(count_names(folder), 1);
    }
}

/* --- folders -------------------------------------------------------------------------------------------- */

static void a_folder_takes_the_place_of_another(void **state)
{
    (void)state;
    char a[128], b[128], inner[160];
    sp_error err = SP_ERROR_NONE;
    snprintf(a, sizeof a, "%s/a", folder);
    snprintf(b, sizeof b, "%s/b", folder);
    snprintf(inner, sizeof inner, "%s/x/y", a);
    assert_ok(sp_dir_create(inner, &err), err);
    assert_ok(sp_dir_place(a, b, &err), err);
    assert_false(sp_file_exists(a));
    assert_ok(sp_dir_create(a, &err), err);
    assert_ok(sp_dir_place(a, b, &err), err);
    assert_int_equal(count_names(b), 0);
    assert_int_equal(count_names(a), 1);
    /* links are removed, not followed */
    snprintf(inner, sizeof inner, "%s/link", b);
    assert_int_equal(symlink(a, inner), 0);
    assert_ok(sp_dir_remove(b, &err), err);
    assert_int_equal(count_names(a), 1);
    int hold, other;
    assert_ok(sp_dir_hold(&hold, a, &err), err);
    assert_int_equal(sp_dir_hold(&other, a, &err), hold < 0 ? SP_OK : SP_E_ARGUMENT);
    sp_dir_release(hold);
    assert_ok(sp_dir_hold(&hold, a, &err), err);
    sp_dir_release(hold);
    sp_dir_release(-1);
    assert_ok(sp_dir_remove(a, &err), err);
    assert_ok(sp_dir_remove(a, &err), err);
    assert_int_equal(sp_dir_place(a, b, &err), SP_E_NOT_FOUND);
    assert_int_equal(sp_dir_sync(a, &err), SP_E_NOT_FOUND);
    assert_int_equal(sp_dir_hold(&hold, a, &err), SP_E_NOT_FOUND);
}

#define FOLDER_TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_published_shape_reads_back),
        cmocka_unit_test(every_golden_model_reads_back),
        cmocka_unit_test(unusual_values_read_back),
        cmocka_unit_test(the_hash_tells_models_apart),
        cmocka_unit_test(ids_come_from_the_tokenizer),
        FOLDER_TEST(exported_tensors_are_the_rounded_ones),
        FOLDER_TEST(an_export_is_whole_or_absent),
        FOLDER_TEST(a_folder_takes_the_place_of_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
