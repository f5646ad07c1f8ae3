/* SPDX-License-Identifier: MIT */
/* Hyper-parameters: parameter counts of every published shape to the last unit, refusals by name, and models
 * whose tensors are missing, misshapen or mistyped. */
#include "test_util.h"

#include "format/gguf_write.h"
#include "model/hparams.h"

#include <sputnik/sputnik.h>

static sp_status parse(const char *text, sp_hparams *hp, sp_error *err)
{
    sp_json *root;
    assert_ok(sp_json_parse(text, strlen(text), &root, err), *err);
    sp_status status = sp_hparams_from_config(hp, root, err);
    sp_json_destroy(root);
    return status;
}

#define LLAMA_KEYS(h, l, nh, nkv, f, v)                                                                      \
    "\"hidden_size\":" #h ",\"num_hidden_layers\":" #l ",\"num_attention_heads\":" #nh                       \
    ",\"num_key_value_heads\":" #nkv ",\"intermediate_size\":" #f ",\"vocab_size\":" #v

static void parameter_counts_equal_the_published_ones(void **state)
{
    (void)state;
    static const struct {
        const char *config;
        int64_t count;
    } cases[] = {
        {"{\"model_type\":\"llama\"," LLAMA_KEYS(4096, 30, 32, 32, 11008, 102400) "}", 6910365696},
        {"{\"model_type\":\"llama\"," LLAMA_KEYS(8192, 95, 64, 8, 22016, 102400) "}", 67425001472},
        {"{\"model_type\":\"llama\"," LLAMA_KEYS(4096, 32, 32, 32, 11008, 32256) "}", 6740512768},
        {"{\"model_type\":\"llama\"," LLAMA_KEYS(7168, 62, 56, 8, 19200, 32256) "}", 33342991360},
        {"{\"model_type\":\"llama\"," LLAMA_KEYS(4096, 32, 32, 8, 14336, 128256) "}", 8030261248},
        {"{\"model_type\":\"qwen2\"," LLAMA_KEYS(1536, 28, 12, 2, 8960, 151936) "}", 1777088000},
        {"{\"model_type\":\"deepseek\"," LLAMA_KEYS(
             2048, 28, 16, 16, 10944, 102400) ",\"n_routed_experts\":64,\"n_shared_experts\":2,\"num_experts_"
                                              "per_tok\":6,\"moe_intermediate_size\":1408,"
                                              "\"first_k_dense_replace\":1}",
         16375728128},
        {"{\"model_type\":\"deepseek_v2\"," LLAMA_KEYS(
             2048, 27, 16, 16, 10944, 102400) ",\"q_lora_rank\":null,\"kv_lora_rank\":512,\"qk_nope_head_"
                                              "dim\":128,\"qk_rope_head_dim\":64,\"v_head_dim\":128,"
                                              "\"n_routed_experts\":64,\"n_shared_experts\":2,\"num_experts_"
                                              "per_tok\":6,\"moe_intermediate_size\":1408,"
                                              "\"first_k_dense_replace\":1}",
         15706484224},
        {"{\"model_type\":\"deepseek_v2\"," LLAMA_KEYS(
             5120, 60, 128, 128, 12288, 102400) ",\"q_lora_rank\":1536,\"kv_lora_rank\":512,\"qk_nope_head_"
                                                "dim\":128,\"qk_rope_head_dim\":64,\"v_head_dim\":128,"
                                                "\"n_routed_experts\":160,\"n_shared_experts\":2,\"num_"
                                                "experts_per_tok\":6,\"moe_intermediate_size\":1536,"
                                                "\"first_k_dense_replace\":1,\"n_group\":8,\"topk_group\":3,"
                                                "\"topk_method\":\"group_limited_greedy\"}",
         235741434880},
        {"{\"model_type\":\"deepseek_v3\"," LLAMA_KEYS(
             7168, 61, 128, 128, 18432, 129280) ",\"q_lora_rank\":1536,\"kv_lora_rank\":512,\"qk_nope_head_"
                                                "dim\":128,\"qk_rope_head_dim\":64,\"v_head_dim\":128,"
                                                "\"n_routed_experts\":256,\"n_shared_experts\":1,\"num_"
                                                "experts_per_tok\":8,\"moe_intermediate_size\":2048,"
                                                "\"first_k_dense_replace\":3,\"n_group\":8,\"topk_group\":4,"
                                                "\"num_nextn_predict_layers\":1}",
         671026419200},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sp_hparams hp;
        sp_error err = SP_ERROR_NONE;
        assert_ok(parse(cases[i].config, &hp, &err), err);
        assert_true(sp_hparams_param_count(&hp) == cases[i].count);
    }
}

#define TINY "\"model_type\":\"llama\"," LLAMA_KEYS(8, 1, 2, 1, 16, 32)

static void unusable_configs_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *config;
        sp_status status;
        const char *text;
    } cases[] = {
        {"[]", SP_E_FORMAT, "expected an object"},
        {"{}", SP_E_FORMAT, "model_type is missing"},
        {"{\"model_type\":\"mamba\"}", SP_E_UNSUPPORTED,
         "\"mamba\" is not known; known are: llama, qwen2, qwen3, deepseek, deepseek2"},
        {"{\"model_type\":\"llama\"}", SP_E_FORMAT, "hidden_size: expected 1 to"},
        {"{" TINY ",\"hidden_act\":\"gelu\"}", SP_E_UNSUPPORTED,
         "hidden_act: expected \"silu\", found \"gelu\""},
        {"{" TINY ",\"mlp_bias\":true}", SP_E_UNSUPPORTED, "mlp_bias"},
        {"{" TINY ",\"head_dim\":-4}", SP_E_FORMAT, "head_dim: expected a count"},
        {"{" TINY ",\"head_dim\":3}", SP_E_FORMAT, "rotated width 3 is odd"},
        {"{" TINY ",\"head_dim\":\"x\"}", SP_E_FORMAT, "head_dim: expected a count"},
        {"{" TINY ",\"head_dim\":1e30}", SP_E_FORMAT, "head_dim: expected a count"},
        {"{" TINY ",\"rms_norm_eps\":-1}", SP_E_FORMAT, "rms_norm_eps: expected 0 to 1"},
        {"{" TINY ",\"rms_norm_eps\":\"small\"}", SP_E_FORMAT, "rms_norm_eps: expected a number"},
        {"{" TINY ",\"rope_theta\":0}", SP_E_FORMAT, "rope_theta: expected more than 1"},
        {"{" TINY ",\"rope_scaling\":7}", SP_E_FORMAT, "rope_scaling: expected an object"},
        {"{" TINY ",\"rope_scaling\":{}}", SP_E_FORMAT, "rope_scaling: expected a type"},
        {"{" TINY ",\"rope_scaling\":{\"type\":\"dynamic\"}}", SP_E_UNSUPPORTED,
         "type \"dynamic\" is not known"},
        {"{" TINY ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}}", SP_E_FORMAT,
         "factor: expected more than 0"},
        {"{" TINY
         ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":0}}",
         SP_E_FORMAT, "original_max"},
        {"{" TINY ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"beta_fast\":0}}", SP_E_FORMAT,
         "beta_fast"},
        {"{" TINY ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_"
         "freq_factor\":1}}",
         SP_E_FORMAT, "low_freq_factor"},
        {"{" TINY ",\"tie_word_embeddings\":1}", SP_E_FORMAT, "tie_word_embeddings: expected true or false"},
        {"{\"model_type\":\"llama\"," LLAMA_KEYS(8, 1, 3, 2, 16, 32) ",\"head_dim\":4}", SP_E_FORMAT,
         "3 heads do not divide over 2"},
        {"{\"model_type\":\"llama\"," LLAMA_KEYS(8, 99999, 2, 1, 16, 32) "}", SP_E_FORMAT,
         "num_hidden_layers: expected 1 to 4096"},
        {"{\"model_type\":\"deepseek_v3\"," LLAMA_KEYS(8, 1, 2, 2, 16, 32) "}", SP_E_FORMAT, "kv_lora_rank"},
        {"{\"model_type\":\"deepseek\"," LLAMA_KEYS(
             8, 1, 2, 2, 16, 32) ",\"n_routed_experts\":4,\"moe_intermediate_size\":4}",
         SP_E_FORMAT, "num_experts_per_tok: expected 1 to 4, found 0"},
        {"{\"model_type\":\"deepseek\"," LLAMA_KEYS(
             8, 1, 2, 2, 16, 32) ",\"n_routed_experts\":4,\"moe_intermediate_size\":4,\"num_experts_per_"
                                 "tok\":2,\"topk_method\":\"random\"}",
         SP_E_UNSUPPORTED, "topk_method \"random\""},
        {"{\"model_type\":\"deepseek\"," LLAMA_KEYS(8, 1, 2, 2, 16,
                                                    32) ",\"n_routed_experts\":4,\"moe_intermediate_size\":4,"
                                                        "\"num_experts_per_tok\":2,\"n_group\":3}",
         SP_E_FORMAT, "4 experts do not divide into 3 groups"},
        {"{\"model_type\":\"deepseek\"," LLAMA_KEYS(
             8, 1, 2, 2, 16, 32) ",\"n_routed_experts\":4,\"moe_intermediate_size\":4,\"num_experts_per_"
                                 "tok\":2,\"n_group\":4,\"topk_group\":1,"
                                 "\"topk_method\":\"group_limited_greedy\"}",
         SP_E_FORMAT, "the chosen groups hold 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sp_hparams hp;
        sp_error err = SP_ERROR_NONE;
        sp_status status = parse(cases[i].config, &hp, &err);
        if (status != cases[i].status || !strstr(err.text, cases[i].text))
            fail_msg("%s\n  gives %s: %s", cases[i].config, sp_status_name(status), err.text);
    }
}

/* --- tensors ---------------------------------------------------------------------------------------------- */

static void write_file(const char *dir, const char *name, const sp_buf *bytes)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fwrite(bytes->data, 1, bytes->len, file);
    fclose(file);
}

/* Replace the first `from` by `to`, of the same length. */
static void patch(sp_buf *bytes, const char *from, const char *to)
{
    char *at = memmem(bytes->data, bytes->len, from, strlen(from));
    assert_non_null(at);
    assert_int_equal(strlen(from), strlen(to));
    memcpy(at, to, strlen(to));
}

static void tensors_are_checked_when_a_model_is_opened(void **state)
{
    (void)state;
    static const struct {
        const char *config_from, *config_to, *weights_from, *weights_to;
        sp_status status;
        const char *text;
    } cases[] = {
        {NULL, NULL, "layers.1.self_attn.k_proj.bias", "layers.1.self_attn.x_proj.bias", SP_E_FORMAT,
         "tensor \"model.layers.1.self_attn.k_proj.bias\" is missing"},
        {NULL, NULL, "lm_head.weight", "lm_haed.weight", SP_E_FORMAT, "tensor \"lm_head.weight\" is missing"},
        {NULL, NULL, "\"dtype\":\"F32\"", "\"dtype\":\"I32\"", SP_E_UNSUPPORTED, "type I32 is not supported"},
        {"\"vocab_size\": 256", "\"vocab_size\": 255", NULL, NULL, SP_E_FORMAT,
         "expected shape (255, 64), found (256, 64)"},
        {"\"intermediate_size\": 96", "\"intermediate_size\": 97", NULL, NULL, SP_E_FORMAT,
         "expected shape (97, 64)"},
        {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", NULL, NULL, SP_E_FORMAT,
         "layers.2.input_layernorm.weight\" is missing"},
        {"qwen2", "mamba", NULL, NULL, SP_E_UNSUPPORTED, "\"mamba\" is not known"},
    };
    char dir[] = "/tmp/sputnik-test-XXXXXX", path[512];
    assert_non_null(mkdtemp(dir));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sp_buf config = read_whole(test_path("tests/golden/models/qwen2/config.json"));
        sp_buf weights = read_whole(test_path("tests/golden/models/qwen2/model.safetensors"));
        if (cases[i].config_from) patch(&config, cases[i].config_from, cases[i].config_to);
        if (cases[i].weights_from) patch(&weights, cases[i].weights_from, cases[i].weights_to);
        write_file(dir, "config.json", &config);
        write_file(dir, "model.safetensors", &weights);
        sp_error err = SP_ERROR_NONE;
        sp_model *model;
        sp_status status = sp_model_open(&model, dir, &err);
        if (status != cases[i].status || !strstr(err.text, cases[i].text))
            fail_msg("case %zu gives %s: %s", i, sp_status_name(status), err.text);
        sp_buf_clear(&config);
        sp_buf_clear(&weights);
    }
    snprintf(path, sizeof path, "%s/config.json", dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    unlink(path);
    rmdir(dir);
}

static void a_vocabulary_alone_is_no_model(void **state)
{
    (void)state;
    const char *path = shared_path("tokenizers/gguf-vocab/ggml-vocab-deepseek-llm.gguf");
    if (!path) skip();
    sp_error err = SP_ERROR_NONE;
    sp_model *model;
    assert_int_equal(sp_model_open(&model, path, &err), SP_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "holds no weights"));
}

/* Opening and running survives the failure of any single allocation, and of all after it. */
static void a_failed_allocation_is_survived(void **state)
{
    (void)state;
    static const char *const paths[] = {"tests/golden/models/v3", "tests/golden/models/qwen2"};
    for (size_t p = 0; p < 2; p++) {
        int64_t n = 0;
        for (;; n++) {
            sp_error err = SP_ERROR_NONE;
            sp_model *model = NULL;
            sp_session *session = NULL;
            sp_session_options options = SP_SESSION_OPTIONS_DEFAULTS;
            options.n_threads = 2;
            options.n_ctx = 64;
            const int32_t tokens[] = {1, 2, 3, 4, 5};
            sp_mem_fail_after(n);
            sp_status status = sp_model_open(&model, test_path(paths[p]), &err);
            if (status == SP_OK) status = sp_session_create(&session, model, &options, &err);
            if (status == SP_OK) status = sp_session_sync(session, tokens, 5, &err);
            sp_mem_fail_after(-1);
            if (status != SP_OK && status != SP_E_NOMEM)
                fail_msg("allocation %lld: %s", (long long)n, err.text);
            if (session && status == SP_E_NOMEM) { /* still usable */
                assert_ok(sp_session_sync(session, tokens, 5, &err), err);
                assert_non_null(sp_session_logits(session));
            }
            sp_session_destroy(session);
            sp_model_close(model);
            if (status == SP_OK) break;
        }
        printf("%s: %lld allocations failed in turn\n", paths[p], (long long)n);
        assert_true(n > 20);
    }
}

/* The keys of a deepseek2 file from before split kv_b, group keys and gating keys. */
static sp_hparams read_old_gguf(uint32_t n_experts, uint32_t gating)
{
    static const struct {
        const char *key;
        uint32_t value;
    } counts[] = {
        {"vocab_size", 64},
        {"context_length", 163840},
        {"embedding_length", 64},
        {"block_count", 3},
        {"feed_forward_length", 96},
        {"attention.head_count", 128},
        {"attention.q_lora_rank", 8},
        {"attention.kv_lora_rank", 512},
        {"attention.head_count_kv", 128},
        {"attention.key_length", 192},
        {"attention.value_length", 128},
        {"rope.dimension_count", 64},
        {"expert_used_count", 8},
        {"expert_shared_count", 1},
        {"expert_feed_forward_length", 16},
        {"leading_dense_block_count", 1},
    };
    char path[] = "/tmp/sputnik-hparams.XXXXXX", key[96];
    int fd = mkstemp(path);
    sp_error err = SP_ERROR_NONE;
    sp_gguf_writer *w = NULL;
    sp_archive *archive = NULL;
    sp_hparams hp;
    assert_true(fd >= 0);
    close(fd);
    assert_ok(sp_gguf_writer_open(&w, path, &err), err);
    assert_ok(sp_gguf_put_string(w, "general.architecture", "deepseek2", 9, &err), err);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        snprintf(key, sizeof key, "deepseek2.%s", counts[i].key);
        assert_ok(sp_gguf_put_u32(w, key, counts[i].value, &err), err);
    }
    assert_ok(sp_gguf_put_u32(w, "deepseek2.expert_count", n_experts, &err), err);
    if (gating) assert_ok(sp_gguf_put_u32(w, "deepseek2.expert_gating_func", gating, &err), err);
    assert_ok(sp_gguf_write_header(w, &err), err);
    assert_ok(sp_gguf_writer_commit(w, &err), err);
    sp_gguf_writer_close(w);
    assert_ok(sp_archive_open(&archive, path, &err), err);
    assert_ok(sp_hparams_from_archive(&hp, archive, &err), err);
    sp_archive_close(archive);
    unlink(path);
    return hp;
}

static void old_gguf_files_mean_the_published_rules(void **state)
{
    (void)state;
    sp_hparams v3 = read_old_gguf(256, 2), v2 = read_old_gguf(160, 0), lite = read_old_gguf(64, 0);
    assert_int_equal(v3.scoring_func, SP_SCORING_SIGMOID);
    assert_int_equal(v3.topk_method, SP_TOPK_NOAUX_TC);
    assert_int_equal(v3.n_group, 8);
    assert_int_equal(v3.topk_group, 4);
    assert_int_equal(v2.scoring_func, SP_SCORING_SOFTMAX);
    assert_int_equal(v2.topk_method, SP_TOPK_GROUP_LIMITED_GREEDY);
    assert_int_equal(v2.n_group, 8);
    assert_int_equal(v2.topk_group, 3);
    assert_int_equal(lite.topk_method, SP_TOPK_GREEDY);
    assert_int_equal(lite.n_group, 1);
    assert_false(lite.norm_topk_prob); /* an absent key means false */
    assert_int_equal(lite.qk_nope_head_dim, 128);
    assert_int_equal(lite.v_head_dim, 128);
    assert_true(lite.rope_interleaved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameter_counts_equal_the_published_ones),
        cmocka_unit_test(unusable_configs_are_refused_by_name),
        cmocka_unit_test(tensors_are_checked_when_a_model_is_opened),
        cmocka_unit_test(a_vocabulary_alone_is_no_model),
        cmocka_unit_test(a_failed_allocation_is_survived),
        cmocka_unit_test(old_gguf_files_mean_the_published_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
