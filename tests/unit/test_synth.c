/* SPDX-License-Identifier: MIT */
/* Published shapes and synthetic models: parameter counts equal the published ones, hyper-parameters survive GGUF,
 * files open and run, and depend on the seed alone. */
#include "format_testing.h"

#include <sputnik/session.h>

#include "model/gguf_meta.h"
#include "model/synth.h"

static void parameter_counts_are_the_published_ones(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t n;
    } counts[] = {
        {"deepseek-llm-7b", 6910365696},     {"deepseek-llm-67b", 67425001472},
        {"deepseek-coder-6.7b", 6740512768}, {"deepseek-coder-33b", 33342991360},
        {"deepseek-moe-16b", 16375728128},   {"deepseek-v2-lite", 15706484224},
        {"deepseek-v2", 235741434880},       {"deepseek-v3", 671026419200},
        {"DeepSeek-R1", 671026419200},       {"deepseek-r1-distill-qwen-1.5b", 1777088000},
        {"deepseek-math-7b", 6910365696},    {"deepseek-r1-distill-llama-8b", 8030261248},
    };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        sp_error err = SP_ERROR_NONE;
        sp_hparams hp;
        assert_ok(sp_shape_find(&hp, counts[i].name, &err), &err);
        assert_true(sp_hparams_param_count(&hp) == counts[i].n);
    }
    sp_hparams hp;
    sp_error err = SP_ERROR_NONE;
    assert_error(sp_shape_find(&hp, "gpt-5", &err), SP_E_NOT_FOUND, &err, "\"gpt-5\"");
}

/* Write the keys, read them back. */
static void reread(const char *path, const sp_hparams *hp, int32_t n_mtp, sp_hparams *back)
{
    sp_error err = SP_ERROR_NONE;
    sp_gguf_writer *w;
    sp_archive *a;
    assert_ok(sp_gguf_writer_open(&w, path, &err), &err);
    assert_ok(sp_gguf_put_hparams(w, hp, n_mtp, &err), &err);
    assert_ok(sp_gguf_writer_commit(w, &err), &err);
    sp_gguf_writer_close(w);
    assert_ok(sp_archive_open(&a, path, &err), &err);
    assert_ok(sp_hparams_from_archive(back, a, &err), &err);
    sp_archive_close(a);
}

static void hyper_parameters_survive_gguf(void **state)
{
    (void)state;
    char dir[64], path[128];
    make_dir(dir);
    snprintf(path, sizeof path, "%s/a.gguf", dir);
    for (size_t i = 0; sp_shape_name(i); i++) {
        sp_error err = SP_ERROR_NONE;
        sp_hparams hp, back;
        assert_ok(sp_shape_find(&hp, sp_shape_name(i), &err), &err);
        reread(path, &hp, hp.num_nextn_predict_layers, &back);
        assert_int_equal(back.arch, hp.arch);
        assert_true(sp_hparams_param_count(&back) == sp_hparams_param_count(&hp));
        assert_int_equal(back.num_hidden_layers, hp.num_hidden_layers);
        assert_int_equal(back.num_nextn_predict_layers, hp.num_nextn_predict_layers);
        assert_int_equal(back.num_key_value_heads, hp.num_key_value_heads);
        assert_int_equal(back.max_position_embeddings, hp.max_position_embeddings);
        assert_int_equal(back.topk_method, hp.topk_method);
        assert_int_equal(back.scoring_func, hp.scoring_func);
        assert_int_equal(back.norm_topk_prob, hp.norm_topk_prob);
        assert_int_equal(back.n_group, hp.n_group);
        assert_int_equal(back.topk_group, hp.topk_group);
        assert_true(back.rms_norm_eps == (double)(float)hp.rms_norm_eps);
        assert_true(back.rope_theta == hp.rope_theta &&
                    back.routed_scaling_factor == hp.routed_scaling_factor);
        double scale = sp_hparams_softmax_scale(&hp) / sp_hparams_softmax_scale(&back);
        assert_true(scale > 0.999999 && scale < 1.000001);
        if (hp.rope_scaling.type == SP_ROPE_SCALING_LLAMA3) continue; /* a tensor in GGUF */
        double a[128], b[128];
        sp_hparams_rope_frequencies(&hp, a);
        sp_hparams_rope_frequencies(&back, b);
        assert_memory_equal(a, b, (size_t)(sp_hparams_rope_dim(&hp) / 2) * sizeof *a);
    }
    remove_dir(dir);
}

static void run_once(const char *path, int32_t n_mtp)
{
    sp_error err = SP_ERROR_NONE;
    sp_model *model;
    sp_session *session;
    sp_session_options o = SP_SESSION_OPTIONS_DEFAULTS;
    sp_model_info info;
    const int32_t tokens[3] = {1, 300, 2};
    o.n_threads = 1;
    o.n_ctx = 16;
    assert_ok(sp_model_open(&model, path, &err), &err);
    sp_model_get_info(model, &info);
    assert_int_equal(info.n_mtp_layers, n_mtp);
    assert_non_null(sp_model_tokenizer(model));
    assert_ok(sp_session_create(&session, model, &o, &err), &err);
    assert_ok(sp_session_sync(session, tokens, 3, &err), &err);
    const float *logits = sp_session_logits(session);
    bool differ = false;
    for (int32_t i = 0; i < info.vocab_size; i++) {
        assert_true(logits[i] > -1000.0f && logits[i] < 1000.0f);
        differ = differ || logits[i] != logits[0];
    }
    assert_true(differ);
    sp_session_destroy(session);
    sp_model_close(model);
}

#define SMALL "\"hidden_size\":256,\"num_hidden_layers\":3,\"num_attention_heads\":4,\"vocab_size\":400,"

static const char *const configs[] = {
    "{\"model_type\":\"llama\"," SMALL
    "\"intermediate_size\":288,\"num_key_value_heads\":2,\"rope_theta\":500000.0,"
    "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":"
    "4.0,"
    "\"original_max_position_embeddings\":8192}}",
    "{\"model_type\":\"qwen2\"," SMALL
    "\"intermediate_size\":288,\"num_key_value_heads\":2,\"tie_word_embeddings\":true}",
    "{\"model_type\":\"qwen3\"," SMALL "\"intermediate_size\":288,\"num_key_value_heads\":2,\"head_dim\":32}",
    "{\"model_type\":\"deepseek\"," SMALL
    "\"intermediate_size\":288,\"num_key_value_heads\":4,\"n_routed_experts\":8,"
    "\"n_shared_experts\":2,\"num_experts_per_tok\":2,\"moe_intermediate_size\":96,\"first_k_dense_replace\":"
    "1}",
    "{\"vocab_size\":400,\"dim\":256,\"inter_dim\":288,\"moe_inter_dim\":96,\"n_layers\":3,\"n_dense_"
    "layers\":1,"
    "\"n_heads\":4,\"n_routed_experts\":8,\"n_shared_experts\":1,\"n_activated_experts\":2,\"n_expert_"
    "groups\":4,"
    "\"n_limited_groups\":2,\"route_scale\":2.5,\"score_func\":\"sigmoid\",\"q_lora_rank\":64,\"kv_lora_"
    "rank\":64,"
    "\"qk_nope_head_dim\":32,\"qk_rope_head_dim\":16,\"v_head_dim\":32}",
};

static void every_architecture_runs(void **state)
{
    (void)state;
    static const char *const types[] = {"q4_k_m", "q2_k", "f16", "q5_1", "iq4_xs"};
    char dir[64], config[128], path[128];
    make_dir(dir);
    snprintf(config, sizeof config, "%s/config.json", dir);
    snprintf(path, sizeof path, "%s/a.gguf", dir);
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        sp_error err = SP_ERROR_NONE;
        sp_synth_options o = SP_SYNTH_DEFAULTS;
        o.type = types[i];
        o.n_mtp = i == 4;
        put_text_file(dir, "config.json", configs[i]);
        assert_ok(sp_synth(i % 2 ? config : dir, path, &o, &err), &err);
        run_once(path, i == 4);
    }
    remove_dir(dir);
}

static void make_file(const char *spec, const char *path, uint64_t seed, int n_threads, sp_buf *bytes)
{
    sp_error err = SP_ERROR_NONE;
    sp_synth_options o = SP_SYNTH_DEFAULTS;
    o.seed = seed;
    if (n_threads > 1) assert_ok(sp_pool_create(&o.pool, n_threads, &err), &err);
    assert_ok(sp_synth(spec, path, &o, &err), &err);
    sp_pool_destroy(o.pool);
    assert_ok(sp_file_read(bytes, path, (size_t)1 << 28, &err), &err);
}

static void the_seed_alone_decides(void **state)
{
    (void)state;
    char dir[64], path[128];
    sp_buf a = {0}, b = {0}, c = {0};
    make_dir(dir);
    snprintf(path, sizeof path, "%s/a.gguf", dir);
    put_text_file(dir, "config.json", configs[4]);
    make_file(dir, path, 7, 1, &a);
    make_file(dir, path, 7, 3, &b);
    make_file(dir, path, 8, 1, &c);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    assert_int_equal(a.len, c.len);
    assert_memory_not_equal(a.data, c.data, a.len);
    sp_buf_clear(&a);
    sp_buf_clear(&b);
    sp_buf_clear(&c);
    remove_dir(dir);
}

static void options_are_checked(void **state)
{
    (void)state;
    char dir[64], path[128], vocab[4096];
    make_dir(dir);
    snprintf(path, sizeof path, "%s/a.gguf", dir);
    put_text_file(dir, "config.json", configs[0]);
    sp_error err = SP_ERROR_NONE;
    sp_synth_options o = SP_SYNTH_DEFAULTS;
    assert_error(sp_synth("deepseek-9", path, &o, &err), SP_E_NOT_FOUND, &err, "\"deepseek-9\"");
    o.n_mtp = 1;
    assert_error(sp_synth(dir, path, &o, &err), SP_E_ARGUMENT, &err, "1 prediction layers, the shape has 0");
    o.n_mtp = 0;
    o.vocabulary = source_file(vocab, "tests/golden/tokenizers/tiny");
    assert_error(sp_synth(dir, path, &o, &err), SP_E_ARGUMENT, &err, "the embedding 400 rows");
    assert_int_equal(count_files(dir), 1);
    o.vocab_size = 1000;
    o.n_layers = 1;
    assert_ok(sp_synth(dir, path, &o, &err), &err);
    run_once(path, 0);
    remove_dir(dir);
}

static sp_status synth_step(void *ctx, sp_error *err)
{
    char path[128];
    sp_synth_options o = SP_SYNTH_DEFAULTS;
    o.n_layers = 1;
    o.type = "q8_0";
    snprintf(path, sizeof path, "%s/a.gguf", (const char *)ctx);
    return sp_synth(ctx, path, &o, err);
}

static void failed_allocations_are_survived(void **state)
{
    (void)state;
    char dir[64];
    make_dir(dir);
    put_text_file(dir, "config.json", configs[1]);
    assert_true(sweep_allocations(synth_step, dir) > 20);
    assert_int_equal(count_files(dir), 2);
    remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameter_counts_are_the_published_ones),
        cmocka_unit_test(hyper_parameters_survive_gguf),
        cmocka_unit_test(every_architecture_runs),
        cmocka_unit_test(the_seed_alone_decides),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(failed_allocations_are_survived),
    };
#if SP_HAVE_JANSSON && SP_HAVE_PCRE2
    return cmocka_run_group_tests(tests, NULL, NULL);
#else
    printf("skipped: this build lacks jansson or PCRE2\n");
    (void)tests;
    return 0;
#endif
}
