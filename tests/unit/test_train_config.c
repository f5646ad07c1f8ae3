/* SPDX-License-Identifier: MIT */
/* Training configurations: defaults, every kind of mistake by name, vocabulary sizes, paths, fingerprints, and that the
 * documentation lists the keys of the code. */
#include "test_util.h"

#include <math.h>

#include "train/config_parts.h"

#define MODEL_KEYS                                                                                           \
    "\"model_type\":\"llama\",\"hidden_size\":16,\"intermediate_size\":32,\"num_hidden_layers\":2,"          \
    "\"num_attention_heads\":2"
#define MODEL "\"model\":{" MODEL_KEYS ",\"vocab_size\":64}"
#define DATA "\"data\":{\"train\":[\"a.shard\"]}"
#define SCHEDULE "\"schedule\":{\"steps\":100,\"rows\":8}"
#define RUN "\"run\":{\"out\":\"out\"}"
#define V3                                                                                                   \
    "\"model\":{\"model_type\":\"deepseek_v3\",\"hidden_size\":16,\"intermediate_size\":32,"                 \
    "\"num_hidden_layers\":2,\"num_attention_heads\":2,\"vocab_size\":64,\"q_lora_rank\":null,"              \
    "\"kv_lora_rank\":8,\"qk_nope_head_dim\":4,\"qk_rope_head_dim\":4,\"v_head_dim\":4,"                     \
    "\"n_routed_experts\":8,\"num_experts_per_tok\":2,\"moe_intermediate_size\":8,\"n_group\":4,"            \
    "\"topk_group\":2}"

static sp_status parse(sp_train_config *config, const char *text, const char *folder, sp_error *err)
{
    return sp_train_config_parse(config, text, strlen(text), folder, err);
}

static void the_least_configuration_has_v3s_defaults(void **state)
{
    (void)state;
    sp_train_config c;
    sp_error err = SP_ERROR_NONE;
    assert_ok(parse(&c, "{" MODEL "," DATA "," SCHEDULE "," RUN "}", "", &err), err);
    assert_int_equal(c.hp.vocab_size, 64);
    assert_int_equal(c.sequence, 512);
    assert_true(c.init_deviation == 0.006 && !c.scale_residual && !c.document_attention);
    assert_int_equal(c.optimizer.kind, SP_OPTIMIZER_ADAMW);
    assert_true(c.optimizer.beta1 == 0.9 && c.optimizer.beta2 == 0.95 && c.optimizer.eps == 1e-8);
    assert_true(c.optimizer.weight_decay == 0.1 && c.optimizer.embed_lr_factor == 1.0 && c.clip == 1.0);
    assert_int_equal(c.schedule.kind, SP_LR_V3);
    assert_int_equal(c.schedule.warmup_steps, 10);
    assert_int_equal(c.schedule.rows_first, 8);
    assert_int_equal(c.schedule.rows_multiple, 8);
    assert_int_equal(c.micro_rows, 8);
    assert_true(c.schedule.mtp_later_from == 10 / 14.8 && c.schedule.bias_rate_until == 14.3 / 14.8);
    assert_true(c.balance_factor == 1e-4 && c.spike_factor == 10.0);
    assert_int_equal(c.checkpoint_keep, 3);
    assert_string_equal(c.train[0].path, "a.shard");
    assert_true(c.train[0].weight == 0.0);
    assert_null(c.tokenizer);
    assert_null(c.path);
    sp_train_config_clear(&c);
    sp_train_config_clear(&c);
}

static void every_key_reaches_its_field(void **state)
{
    (void)state;
    sp_train_config c;
    sp_error err = SP_ERROR_NONE;
    static const char text[] =
        "{" V3 ",\"data\":{\"train\":[{\"path\":\"a\",\"weight\":2},{\"path\":\"/b\",\"weight\":1.5}],"
        "\"validation\":[\"c\"],\"sequence\":128,\"cut\":\"whole\",\"attention\":\"document\"},"
        "\"optimizer\":{\"kind\":\"muon\",\"momentum\":0.9,\"clip\":0},"
        "\"schedule\":{\"kind\":\"multistep\",\"first_drop\":0.6,\"second_drop\":0.7,\"steps\":1e3,"
        "\"warmup\":7,\"rows\":48,\"rows_first\":24,\"rows_ramp\":0.25,\"lr\":0.01},"
        "\"mtp\":{\"weight\":0.5,\"later_weight\":0,\"later_from\":1},"
        "\"moe\":{\"bias_rate\":0,\"bias_rate_until\":0.5,\"balance_factor\":0},"
        "\"run\":{\"out\":\"o\",\"seed\":123456789012345,\"threads\":2,\"validate_every\":0,"
        "\"recompute\":true,\"bf16_activations\":true,\"fp8\":true,\"expert_ranks\":4,\"expert_nodes\":2}}";
    assert_ok(parse(&c, text, "dir", &err), err);
    assert_string_equal(c.train[0].path, "dir/a");
    assert_string_equal(c.train[1].path, "/b");
    assert_string_equal(c.validation[0].path, "dir/c");
    assert_string_equal(c.out, "dir/o");
    assert_true(c.train[0].weight == 2.0 && c.train[1].weight == 1.5 && c.n_train == 2);
    assert_true(c.cut == SP_CUT_WHOLE && c.document_attention && c.sequence == 128);
    assert_true(c.optimizer.kind == SP_OPTIMIZER_MUON && c.optimizer.momentum == 0.9 && c.clip == 0.0);
    assert_true(c.schedule.kind == SP_LR_MULTISTEP && c.schedule.first_drop == 0.6);
    assert_true(c.schedule.steps == 1000 && c.schedule.warmup_steps == 7 && c.schedule.lr == 0.01);
    assert_true(c.schedule.rows_first == 24 && c.schedule.rows_ramp == 0.25);
    assert_int_equal(c.micro_rows, 12);
    assert_true(c.schedule.mtp_weight == 0.5 && c.schedule.mtp_later_from == 1.0);
    assert_true(c.schedule.bias_rate == 0.0 && c.schedule.bias_rate_until == 0.5 && c.balance_factor == 0.0);
    assert_true(c.seed == 123456789012345u && c.threads == 2 && c.validate_every == 0);
    assert_true(c.recompute && c.bf16_activations && c.fp8);
    assert_true(c.expert_ranks == 4 && c.expert_nodes == 2);
    assert_int_equal(c.hp.topk_method, SP_TOPK_NOAUX_TC);
    sp_train_config_clear(&c);
}

typedef struct mistake {
    const char *text, *expected;
} mistake;

static void check_mistakes(const mistake *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sp_train_config c;
        sp_error err = SP_ERROR_NONE;
        sp_status status = parse(&c, cases[i].text, "", &err);
        if (status == SP_OK) fail_msg("accepted: %s", cases[i].text);
        assert_int_equal(status, err.code);
        if (!strstr(err.text, cases[i].expected))
            fail_msg("%s\n  expected: %s\n  found:    %s", cases[i].text, cases[i].expected, err.text);
        assert_null(c.text);
        assert_ptr_equal(c.train, NULL);
    }
}

static void unknown_keys_are_named_with_the_nearest(void **state)
{
    (void)state;
    static const mistake cases[] = {
        {"{\"optimiser\":{}}", "optimiser: unknown section; did you mean optimizer?"},
        {"{\"gpu\":{}}", "gpu: unknown section; there are model, data"},
        {"{\"optimizer\":{\"beta3\":1}}", "optimizer.beta3: unknown key; did you mean optimizer.beta1?"},
        {"{\"optimizer\":{\"weight_dekay\":1}}", "did you mean optimizer.weight_decay?"},
        {"{\"optimizer\":{\"lr\":1}}", "optimizer.lr: unknown key; did you mean schedule.lr?"},
        {"{\"run\":{\"xyzzyxyzzy\":1}}", "run.xyzzyxyzzy: unknown key"},
        {"{\"run\":{\"\":1}}", "run.: unknown key"},
        {"{\"model\":{\"hiden_size\":1}}", "model.hiden_size: unknown key; did you mean model.hidden_size?"},
        {"{\"model\":{" MODEL_KEYS ",\"rope_scaling\":{\"factr\":1}}," DATA "," SCHEDULE "," RUN "}",
         "model.rope_scaling.factr: unknown key; did you mean model.rope_scaling.factor?"},
        {"{\"data\":{\"train\":[{\"path\":\"a\",\"wait\":1}]}," SCHEDULE "," MODEL "}",
         "data.train: expected a list of paths or of {\"path\""},
    };
    check_mistakes(cases, sizeof cases / sizeof cases[0]);
}

#define WITH(section) "{" MODEL "," DATA "," SCHEDULE "," RUN "," section "}"
#define DATA_WITH(keys) "{" MODEL "," SCHEDULE "," RUN ",\"data\":{\"train\":[\"a\"]," keys "}}"
#define SCHEDULE_WITH(keys) "{" MODEL "," DATA "," RUN ",\"schedule\":{\"steps\":100,\"rows\":8," keys "}}"
#define RUN_WITH(keys) "{" MODEL "," DATA "," SCHEDULE ",\"run\":{\"out\":\"o\"," keys "}}"
#define V3_RUN_WITH(keys) "{" V3 "," DATA "," SCHEDULE ",\"run\":{\"out\":\"o\"," keys "}}"

static void wrong_values_are_named(void **state)
{
    (void)state;
    static const mistake cases[] = {
        {"", "json: line"},
        {"{\"run\":{},\"run\":{}}", "json: line"},
        {"[]", "expected a JSON object"},
        {"{\"run\":7}", "run: expected an object"},
        {"{" MODEL "," SCHEDULE "," RUN "}", "data.train: is missing"},
        {"{" MODEL "," DATA "," SCHEDULE "}", "run.out: is missing"},
        {"{" MODEL "," DATA "," RUN ",\"schedule\":{\"rows\":1}}", "schedule.steps: is missing"},
        {"{" MODEL "," DATA "," RUN ",\"schedule\":{\"steps\":1}}", "schedule.rows: is missing"},
        {"{" DATA "," SCHEDULE "," RUN "}", "model: the section is missing"},
        {WITH("\"optimizer\":{\"beta1\":\"x\"}"), "optimizer.beta1: expected a number"},
        {WITH("\"optimizer\":{\"beta1\":1}"), "optimizer.beta1: expected 0 to 0.999999, found 1"},
        {WITH("\"optimizer\":{\"beta1\":null}"), "optimizer.beta1: found null"},
        {WITH("\"optimizer\":{\"eps\":0}"), "optimizer.eps: expected more than 0"},
        {WITH("\"optimizer\":{\"kind\":\"sgd\"}"), "optimizer.kind: expected \"adamw\" or \"muon\""},
        {WITH("\"optimizer\":{\"kind\":1}"), "optimizer.kind: expected \"adamw\" or \"muon\""},
        {SCHEDULE_WITH("\"lr\":-1"), "schedule.lr: expected more than 0"},
        {SCHEDULE_WITH("\"warmup\":1.5"), "schedule.warmup: expected a whole number"},
        {SCHEDULE_WITH("\"warmup\":true"), "schedule.warmup: expected a whole number"},
        {SCHEDULE_WITH("\"warmup\":-1"), "schedule.warmup: expected 0 to"},
        {RUN_WITH("\"fp8\":1"), "run.fp8: expected true or false"},
        {RUN_WITH("\"seed\":1e300"), "run.seed: expected 0 to"},
        {RUN_WITH("\"threads\":99999999999"), "run.threads: expected 0 to 1024"},
        {"{" MODEL "," DATA "," SCHEDULE ",\"run\":{\"out\":\"\"}}", "run.out: expected a path"},
        {"{" MODEL "," DATA "," SCHEDULE ",\"run\":{\"out\":\"a\\u0000b\"}}", "run.out: expected a path"},
        {"{" MODEL "," SCHEDULE "," RUN ",\"data\":{\"train\":[]}}", "data.train: expected a list"},
        {"{" MODEL "," SCHEDULE "," RUN ",\"data\":{\"train\":\"a\"}}", "data.train: expected a list"},
        {"{" MODEL "," SCHEDULE "," RUN ",\"data\":{\"train\":[\"b\",7]}}", "data.train: expected a list"},
        {"{" MODEL "," SCHEDULE "," RUN ",\"data\":{\"train\":[{\"path\":\"a\",\"weight\":0}]}}",
         "data.train: weight: expected a number above 0"},
        {"{\"model\":{" MODEL_KEYS "}," DATA "," SCHEDULE "," RUN "}", "model.vocab_size: is missing"},
        {"{\"model\":{" MODEL_KEYS ",\"vocab_size\":64,\"head_dim\":-1}," DATA "," SCHEDULE "," RUN "}",
         "model.head_dim: expected a count"},
        {"{\"model\":{" MODEL_KEYS ",\"vocab_size\":64,\"head_dim\":3}," DATA "," SCHEDULE "," RUN "}",
         "model: the rotated width 3 is odd"},
        {"{\"model\":{\"model_type\":\"gpt2\",\"vocab_size\":1}," DATA "," SCHEDULE "," RUN "}",
         "model.model_type \"gpt2\" is not known"},
        {"{\"model\":{\"config\":7}," DATA "," SCHEDULE "," RUN "}", "model.config: expected the path"},
        {"{\"model\":{\"config\":\"/nowhere/c.json\"}," DATA "," SCHEDULE "," RUN "}",
         "model.config: cannot open \"/nowhere/c.json\""},
        {DATA_WITH("\"tokenizer\":\"/nowhere\""), "data.tokenizer: "},
    };
    check_mistakes(cases, sizeof cases / sizeof cases[0]);
}

static void contradictions_are_named(void **state)
{
    (void)state;
    static const mistake cases[] = {
        {SCHEDULE_WITH("\"warmup\":101"), "schedule.warmup: 101 is more than schedule.steps 100"},
        {SCHEDULE_WITH("\"rows_first\":9"), "schedule.rows_first: 9 is more than schedule.rows 8"},
        {SCHEDULE_WITH("\"rows_ramp\":0.5"), "schedule.rows_ramp: has no effect without schedule.rows_first"},
        {SCHEDULE_WITH("\"first_drop\":0.5"),
         "schedule.first_drop: has no effect, it belongs to schedule.kind \"multistep\""},
        {SCHEDULE_WITH("\"end_factor\":0.5"), "schedule.end_factor: has no effect"},
        {SCHEDULE_WITH("\"kind\":\"multistep\",\"first_drop\":0.95"),
         "schedule.first_drop: 0.95 lies behind schedule.second_drop 0.9"},
        {WITH("\"optimizer\":{\"momentum\":0.5}"),
         "optimizer.momentum: has no effect, it belongs to optimizer.kind \"muon\""},
        {RUN_WITH("\"micro_rows\":3"), "run.micro_rows: 3 does not divide schedule.rows 8"},
        {WITH("\"optimizer\":{\"kind\":\"muon\",\"bf16_moments\":true}"),
         "optimizer.bf16_moments: needs the optimizer.kind \"adamw\""},
        {WITH("\"optimizer\":{\"beta2\":0.999,\"bf16_moments\":true}"),
         "optimizer.bf16_moments: needs an optimizer.beta2 of at most 0.98, found 0.999"},
        {RUN_WITH("\"bf16_activations\":true"), "run.bf16_activations: needs run.recompute"},
        {RUN_WITH("\"validate_rows\":3"), "run.validate_rows: has no effect without data.validation"},
        {RUN_WITH("\"expert_ranks\":2"), "run.expert_ranks: the model has no routed experts"},
        {V3_RUN_WITH("\"expert_ranks\":3"), "run.expert_ranks: 3 does not divide model.n_routed_experts 8"},
        {V3_RUN_WITH("\"expert_ranks\":4,\"expert_nodes\":3"), "run.expert_nodes: 3 does not divide"},
        {DATA_WITH("\"sequence\":5000"),
         "data.sequence: 5000 is more than model.max_position_embeddings 4096"},
        {"{" MODEL "," SCHEDULE "," RUN ",\"data\":{\"train\":[\"a\",{\"path\":\"b\",\"weight\":1}]}}",
         "data.train: either all sources have a weight or none"},
        {"{\"model\":{\"config\":\"c.json\",\"hidden_size\":1}," DATA "," SCHEDULE "," RUN "}",
         "model.hidden_size: stands beside model.config"},
    };
    check_mistakes(cases, sizeof cases / sizeof cases[0]);
}

static void the_tokenizer_gives_the_vocabulary_size(void **state)
{
    (void)state;
    sp_train_config c;
    sp_error err = SP_ERROR_NONE;
    char text[1024];
    const char *folder = test_path("tests/golden");
    static const char shape[] = "{\"model\":{" MODEL_KEYS "%s},\"data\":{\"train\":[\"a\"],"
                                "\"tokenizer\":\"tokenizers/tiny\"}," SCHEDULE "," RUN "}";
    snprintf(text, sizeof text, shape, "");
    assert_ok(parse(&c, text, folder, &err), err);
    int32_t size = c.hp.vocab_size;
    assert_true(size > 256);
    sp_train_config_clear(&c);
    char more[32];
    snprintf(more, sizeof more, ",\"vocab_size\":%d", size + 7);
    snprintf(text, sizeof text, shape, more);
    assert_ok(parse(&c, text, folder, &err), err);
    assert_int_equal(c.hp.vocab_size, size + 7);
    sp_train_config_clear(&c);
    snprintf(more, sizeof more, ",\"vocab_size\":%d", size - 1);
    snprintf(text, sizeof text, shape, more);
    assert_int_equal(parse(&c, text, folder, &err), SP_E_FORMAT);
    assert_non_null(strstr(err.text, "is less than the tokenizer's"));
}

static void a_published_config_serves_as_the_model(void **state)
{
    (void)state;
    sp_train_config c;
    sp_error err = SP_ERROR_NONE;
    static const char text[] = "{\"model\":{\"config\":\"models/v3/config.json\",\"scale_residual\":true},"
                               "\"data\":{\"train\":[\"a\"],\"sequence\":16}," SCHEDULE "," RUN "}";
    assert_ok(parse(&c, text, test_path("tests/golden"), &err), err);
    assert_int_equal(c.hp.arch, SP_ARCH_DEEPSEEK2);
    assert_true(c.scale_residual);
    sp_train_config_clear(&c);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void a_file_names_itself_and_its_folder(void **state)
{
    (void)state;
    char dir[] = "/tmp/sp-config-XXXXXX", path[64], expected[128];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/run.json", dir);
    snprintf(expected, sizeof expected, "%s/a.shard", dir);
    write_text(path, "{" MODEL "," DATA "," SCHEDULE "," RUN "}");
    sp_train_config c;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_train_config_load(&c, path, &err), err);
    assert_string_equal(c.path, path);
    assert_string_equal(c.train[0].path, expected);
    sp_train_config_clear(&c);
    write_text(path, "{\"run\":{\"outt\":1}}");
    assert_int_equal(sp_train_config_load(&c, path, &err), SP_E_FORMAT);
    snprintf(expected, sizeof expected, "%s: run.outt: unknown key", path);
    assert_non_null(strstr(err.text, expected));
    unlink(path);
    assert_int_equal(sp_train_config_load(&c, path, &err), SP_E_NOT_FOUND);
    rmdir(dir);
}

static uint64_t fingerprint(const char *text)
{
    sp_train_config c;
    sp_error err = SP_ERROR_NONE;
    assert_ok(parse(&c, text, "", &err), err);
    uint64_t h = sp_train_config_fingerprint(&c);
    sp_train_config_clear(&c);
    return h;
}

static void the_fingerprint_holds_what_a_resumed_run_must_share(void **state)
{
    (void)state;
    uint64_t h = fingerprint("{" MODEL "," DATA "," SCHEDULE "," RUN "}");
    static const char *const same[] = {
        SCHEDULE_WITH("\"lr\":1,\"warmup\":3"),
        RUN_WITH("\"threads\":2,\"micro_rows\":4"),
        "{" MODEL "," SCHEDULE "," RUN ",\"data\":{\"train\":[\"elsewhere/a.shard\"]}}",
    };
    static const char *const other[] = {
        RUN_WITH("\"seed\":1"),
        WITH("\"optimizer\":{\"kind\":\"muon\"}"),
        DATA_WITH("\"sequence\":511"),
        "{" MODEL "," SCHEDULE "," RUN ",\"data\":{\"train\":[\"a.shard\"],\"cut\":\"whole\"}}",
        "{" MODEL "," SCHEDULE "," RUN ",\"data\":{\"train\":[\"b.shard\"]}}",
        "{" V3 "," DATA "," SCHEDULE "," RUN "}",
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) assert_true(fingerprint(same[i]) == h);
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) assert_true(fingerprint(other[i]) != h);
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    static const char text[] = "{\"model\":{" MODEL_KEYS "},\"data\":{\"train\":[\"a\",\"b\"],"
                               "\"tokenizer\":\"tokenizers/tiny\"}," SCHEDULE "," RUN "}";
    sp_train_config c;
    sp_error err;
    sp_status status = SP_E_NOMEM;
    int n = 0;
    for (; status != SP_OK && n < 100000; n += n < 40 ? 1 : 97) {
        sp_mem_fail_after(n);
        status = parse(&c, text, test_path("tests/golden"), &err);
        sp_mem_fail_after(-1);
        if (status != SP_OK) assert_int_equal(status, SP_E_NOMEM);
    }
    assert_int_equal(status, SP_OK);
    sp_train_config_clear(&c);
}

/* Rows "| `section.key` | value | default | meaning |" in the order of the table in the code. */
static void the_documentation_lists_the_keys_of_the_code(void **state)
{
    (void)state;
    sp_buf page = read_whole(test_path("docs/configuration.md"));
    const sp_config_key *k;
    const char *at = page.data;
    for (size_t i = 0; (k = sp_config_key_at(i)); i++) {
        char row[128];
        at = strstr(at, "\n| `");
        if (!at) fail_msg("%s.%s is not documented", k->section, k->key);
        snprintf(row, sizeof row, "\n| `%s.%s` |", k->section, k->key);
        if (strncmp(at, row, strlen(row)) != 0)
            fail_msg("expected %s.%s, found %.60s", k->section, k->key, at);
        at += strlen(row);
        if (k->type == SP_CONFIG_MODEL) continue;
        char fallback[128];
        if (k->choices)
            snprintf(fallback, sizeof fallback, " `%s` |", k->choices[(int)k->value]);
        else
            snprintf(fallback, sizeof fallback, " %s |", k->fallback);
        const char *second = strchr(at, '|');
        if (!second || strncmp(second + 1, fallback, strlen(fallback)) != 0)
            fail_msg("%s.%s: expected the default%s found%.40s", k->section, k->key, fallback,
                     second ? second + 1 : "");
    }
    if (strstr(at, "\n| `")) fail_msg("documented, but unknown: %.60s", strstr(at, "\n| `"));
    sp_buf_clear(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_configuration_has_v3s_defaults),
        cmocka_unit_test(every_key_reaches_its_field),
        cmocka_unit_test(unknown_keys_are_named_with_the_nearest),
        cmocka_unit_test(wrong_values_are_named),
        cmocka_unit_test(contradictions_are_named),
        cmocka_unit_test(the_tokenizer_gives_the_vocabulary_size),
        cmocka_unit_test(a_published_config_serves_as_the_model),
        cmocka_unit_test(a_file_names_itself_and_its_folder),
        cmocka_unit_test(the_fingerprint_holds_what_a_resumed_run_must_share),
        cmocka_unit_test(every_failed_allocation_is_reported),
        cmocka_unit_test(the_documentation_lists_the_keys_of_the_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
