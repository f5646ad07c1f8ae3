/* SPDX-License-Identifier: MIT */
/* The training loop from inside: a step's bits for any number of threads, passes that add up to the whole step, a loss that is no
 * number, the balance rule. Runs from the command line are in tests/cases/test_train.sh. */
#include "test_util.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "train/trainer.h"

#define N_DOCUMENTS 60

typedef struct bench {
    char dir[64], shard[96], text[2048];
    sp_train_config config;
    sp_trainer *trainer;
} bench;

/* Documents that count up, so that there is something to learn. */
static void write_shard(const char *path)
{
    sp_error err = SP_ERROR_NONE;
    sp_shard_builder builder = {.vocab_size = 64};
    for (int d = 0; d < N_DOCUMENTS; d++) {
        int32_t ids[40];
        int n = 12 + d % 29;
        for (int i = 0; i < n; i++) ids[i] = (d + i) % 64;
        assert_ok(sp_shard_add(&builder, ids, NULL, (size_t)n, &err), err);
    }
    assert_ok(sp_shard_save(&builder, path, &err), err);
    sp_shard_builder_clear(&builder);
}

static void open_bench(bench *b, int threads, int micro_rows)
{
    sp_error err = SP_ERROR_NONE;
    memset(b, 0, sizeof *b);
    snprintf(b->dir, sizeof b->dir, "%s/sputnik-trainer.XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(b->dir));
    snprintf(b->shard, sizeof b->shard, "%s/a.shard", b->dir);
    write_shard(b->shard);
    snprintf(
        b->text, sizeof b->text,
        "{\"model\": {\"model_type\": \"deepseek_v3\", \"vocab_size\": 64, \"hidden_size\": 32, "
        "\"intermediate_size\": 48, "
        "\"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"q_lora_rank\": 16, \"kv_lora_rank\": 16, "
        "\"qk_nope_head_dim\": 8, \"qk_rope_head_dim\": 8, \"v_head_dim\": 8, \"n_routed_experts\": 4, "
        "\"n_shared_experts\": 1, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 16, "
        "\"first_k_dense_replace\": 1, "
        "\"num_nextn_predict_layers\": 1, \"initializer_range\": 0.05},"
        "\"data\": {\"train\": [\"a.shard\"], \"sequence\": 64, \"cut\": \"whole\", \"attention\": "
        "\"document\"},"
        "\"schedule\": {\"kind\": \"constant\", \"steps\": 50, \"warmup\": 0, \"lr\": 0.003, \"rows\": 8},"
        "\"moe\": {\"bias_rate\": 0.01},"
        "\"run\": {\"out\": \"run\", \"seed\": 4, \"threads\": %d, \"micro_rows\": %d}}",
        threads, micro_rows);
    assert_ok(sp_train_config_parse(&b->config, b->text, strlen(b->text), b->dir, &err), err);
    assert_ok(sp_trainer_create(&b->trainer, &b->config, NULL, SP_START_NEW, NULL, &err), err);
}

static void close_bench(bench *b)
{
    char command[160];
    sp_trainer_destroy(b->trainer);
    sp_train_config_clear(&b->config);
    snprintf(command, sizeof command, "rm -rf '%s'", b->dir);
    assert_int_equal(system(command), 0);
}

static double take_steps(bench *b, int n)
{
    sp_error err = SP_ERROR_NONE;
    sp_step_metrics m = {0};
    for (int i = 0; i < n; i++) assert_ok(sp_trainer_step(b->trainer, &m, &err), err);
    return m.loss;
}

static void steps_have_the_same_bits_for_any_number_of_threads(void **state)
{
    (void)state;
    bench one, other;
    open_bench(&one, 1, 4);
    double loss = take_steps(&one, 5);
    for (int threads = 2; threads <= 3; threads++) {
        open_bench(&other, threads, 4);
        assert_true(take_steps(&other, 5) == loss);
        const sp_parameters *a = sp_trainer_parameters(one.trainer),
                            *b = sp_trainer_parameters(other.trainer);
        assert_memory_equal(a->values, b->values, (size_t)a->n_floats * sizeof *a->values);
        close_bench(&other);
    }
    close_bench(&one);
}

static void passes_add_up_to_the_step(void **state)
{
    (void)state;
    bench whole, parts;
    open_bench(&whole, 2, 8);
    open_bench(&parts, 2, 2);
    for (int i = 0; i < 5; i++) {
        double a = take_steps(&whole, 1), b = take_steps(&parts, 1);
        assert_true(fabs(a / b - 1.0) < 1e-5);
    }
    assert_int_equal(sp_trainer_state(whole.trainer)->tokens, sp_trainer_state(parts.trainer)->tokens);
    close_bench(&whole);
    close_bench(&parts);
}

static void the_loss_falls_and_biases_move_by_the_rate(void **state)
{
    (void)state;
    bench b;
    open_bench(&b, 2, 8);
    double first = take_steps(&b, 1);
    const sp_parameters *p = sp_trainer_parameters(b.trainer);
    int moved = 0;
    for (size_t i = 0; i < p->n_items; i++) {
        const sp_parameter *q = &p->items[i];
        for (int64_t e = 0; q->kind == SP_PARAMETER_BALANCE && e < q->cols; e++) {
            float bias = p->values[q->begin + e];
            assert_true(bias == 0.0f || fabsf(fabsf(bias) - 0.01f) < 1e-9f);
            moved += bias != 0.0f;
        }
    }
    assert_true(moved >= 4);
    assert_true(take_steps(&b, 40) < 0.7 * first);
    close_bench(&b);
}

static void a_loss_that_is_no_number_changes_nothing(void **state)
{
    (void)state;
    bench b;
    open_bench(&b, 2, 8);
    take_steps(&b, 2);
    sp_parameters *p = sp_trainer_parameters(b.trainer);
    const sp_parameter *norm = sp_parameters_find(p, "model.norm.weight");
    assert_non_null(norm);
    p->values[norm->begin] = NAN;
    size_t n_bytes = (size_t)p->n_floats * sizeof *p->values;
    float *before = malloc(n_bytes);
    memcpy(before, p->values, n_bytes);
    sp_error err = SP_ERROR_NONE;
    sp_step_metrics m;
    assert_int_equal(sp_trainer_step(b.trainer, &m, &err), SP_E_RANGE);
    assert_non_null(strstr(err.text, "step 2"));
    assert_memory_equal(before, p->values, n_bytes);
    assert_int_equal(sp_trainer_state(b.trainer)->step, 2);
    free(before);
    close_bench(&b);
}

/* Nobody else trains into a run's folder; looking is allowed and changes nothing. */
static void a_folder_has_one_run_and_lookers(void **state)
{
    (void)state;
    bench b;
    char metrics[128], half[128];
    sp_error err = SP_ERROR_NONE;
    sp_trainer *other;
    open_bench(&b, 1, 8);
    b.config.stop_at = 1;
    assert_ok(sp_trainer_run(b.trainer, &err), err);
    snprintf(metrics, sizeof metrics, "%s/metrics.jsonl", b.config.out);
    snprintf(half, sizeof half, "%s/.step-00000009.tmp", b.config.out);
    assert_ok(sp_dir_create(half, &err), err);
    assert_int_equal(sp_trainer_create(&other, &b.config, NULL, SP_START_RESUME, NULL, &err), SP_E_ARGUMENT);
    assert_non_null(strstr(err.text, "another process"));
    assert_int_equal(sp_trainer_create(&other, &b.config, NULL, SP_START_LOOK | SP_START_NEW, NULL, &err),
                     SP_E_ARGUMENT);
    assert_non_null(strstr(err.text, "holds checkpoints"));
    const sp_start starts[] = {SP_START_RESTART, SP_START_RESUME};
    for (int i = 0; i < 2; i++) {
        assert_ok(sp_trainer_create(&other, &b.config, NULL, SP_START_LOOK | starts[i], NULL, &err), err);
        assert_int_equal(sp_trainer_state(other)->step, i);
        sp_trainer_destroy(other);
    }
    sp_buf text = {NULL, 0, 0};
    assert_ok(sp_file_read(&text, metrics, 1 << 20, &err), err);
    assert_true(text.len > 0);
    sp_buf_clear(&text);
    assert_true(sp_file_exists(half));
    sp_trainer_destroy(b.trainer);
    assert_ok(sp_trainer_create(&b.trainer, &b.config, NULL, SP_START_RESUME, NULL, &err), err);
    assert_false(sp_file_exists(half));
    sp_trainer_destroy(b.trainer);
    snprintf(half, sizeof half, "%s/step-00000001/training.json", b.config.out);
    assert_int_equal(truncate(half, 40), 0);
    assert_int_equal(sp_trainer_create(&b.trainer, &b.config, NULL, SP_START_RESUME, NULL, &err),
                     SP_E_FORMAT);
    assert_non_null(strstr(err.text, "no checkpoint is whole"));
    assert_true(sp_file_exists(half));
    assert_int_equal(sp_trainer_create(&b.trainer, &b.config, NULL, SP_START_NEW, NULL, &err), SP_E_ARGUMENT);
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_have_the_same_bits_for_any_number_of_threads),
        cmocka_unit_test(passes_add_up_to_the_step),
        cmocka_unit_test(the_loss_falls_and_biases_move_by_the_rate),
        cmocka_unit_test(a_loss_that_is_no_number_changes_nothing),
        cmocka_unit_test(a_folder_has_one_run_and_lookers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
