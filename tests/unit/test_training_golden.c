/* SPDX-License-Identifier: MIT */
/* Ten optimizer steps of every trainable architecture against PyTorch (tests/golden/training, made by
 * tools/golden/make_training.py, which says what runs where): the same documents, packed into a shard, through the
 * trainer itself; losses within 1e-4 relative at every step, and the gradient's norm, the learning rate, the rows and the
 * experts' loads on the way. Then the same bits for one to four threads. */
#include "test_util.h"

#include <math.h>

#include <sputnik/sputnik.h>

#include "format/shard.h"
#include "train/trainer.h"

#define LIMIT 1e-4
#define NORM_LIMIT 1e-4 /* of the gradient's norm */

static const char *const runs[] = {"llama-plain", "qwen2", "qwen3",  "deepseek",         "v2-lite",
                                   "v2",          "v3",    "v3-mtp", "llama-plain-muon", "v3-mtp-muon"};

typedef struct golden {
    sp_json *root;
    sp_buf text;
    char dir[64];
    sp_train_config config;
    sp_trainer *trainer;
} golden;

static void write_text(const golden *g, const char *name, const sp_json *value)
{
    char path[128];
    sp_error err = SP_ERROR_NONE;
    sp_buf text = {0};
    snprintf(path, sizeof path, "%s/%s", g->dir, name);
    assert_ok(sp_json_dump(&text, value, SP_JSON_COMPACT, &err), err);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text.data, 1, text.len, f), text.len);
    assert_int_equal(fclose(f), 0);
    sp_buf_clear(&text);
}

static void write_shard(const golden *g)
{
    char path[128];
    sp_error err = SP_ERROR_NONE;
    const sp_json *documents = sp_json_get(g->root, "documents");
    sp_shard_builder builder = {.vocab_size = 256};
    for (size_t d = 0; d < sp_json_size(documents); d++) {
        const sp_json *ids = sp_json_get(sp_json_at(documents, d), "ids");
        const sp_json *learnt = sp_json_get(sp_json_at(documents, d), "learnt");
        int32_t tokens[64];
        uint8_t mask[64];
        size_t n = sp_json_size(ids);
        assert_true(n <= 64 && n == sp_json_size(learnt));
        for (size_t i = 0; i < n; i++) {
            tokens[i] = (int32_t)sp_json_int(sp_json_at(ids, i), -1);
            mask[i] = (uint8_t)sp_json_int(sp_json_at(learnt, i), 2);
        }
        assert_ok(sp_shard_add(&builder, tokens, mask, n, &err), err);
    }
    snprintf(path, sizeof path, "%s/train.shard", g->dir);
    assert_ok(sp_shard_save(&builder, path, &err), err);
    sp_shard_builder_clear(&builder);
}

/* The checkpoint's tensors, as float32, into the parameters; every parameter has one. */
static void copy_weights(const golden *g)
{
    char path[256];
    sp_error err = SP_ERROR_NONE;
    sp_archive *archive;
    sp_parameters *parameters = sp_trainer_parameters(g->trainer);
    snprintf(path, sizeof path, "tests/golden/models/%s",
             sp_json_string(sp_json_get(g->root, "model"), NULL));
    assert_ok(sp_archive_open(&archive, test_path(path), &err), err);
    for (size_t i = 0; i < parameters->n_items; i++) {
        const sp_parameter *p = &parameters->items[i];
        const sp_entry *entry = sp_archive_find(archive, p->name);
        if (!entry) fail_msg("%s is not in the checkpoint", p->name);
        const sp_tensor *t = &entry->tensor;
        assert_int_equal(sp_tensor_rows(t) * sp_tensor_cols(t), sp_parameter_count(p));
        for (int64_t r = 0; r < sp_tensor_rows(t); r++)
            sp_kernels_get()->unpack[t->dtype]((size_t)sp_tensor_cols(t), sp_tensor_row(t, r),
                                               parameters->values + p->begin + r * sp_tensor_cols(t));
    }
    sp_archive_close(archive);
}

static void open_golden(golden *g, const char *name, int threads)
{
    char path[256];
    sp_error err = SP_ERROR_NONE;
    sp_buf text = {0};
    memset(g, 0, sizeof *g);
    snprintf(path, sizeof path, "tests/golden/training/%s.json", name);
    g->text = read_whole(test_path(path));
    assert_ok(sp_json_parse(g->text.data, g->text.len, &g->root, &err), err);
    snprintf(g->dir, sizeof g->dir, "/tmp/sputnik-training.XXXXXX");
    assert_non_null(mkdtemp(g->dir));
    write_text(g, "model.json", sp_json_get(g->root, "model_config"));
    write_shard(g);
    assert_ok(sp_json_dump(&text, sp_json_get(g->root, "config"), SP_JSON_COMPACT, &err), err);
    assert_ok(sp_train_config_parse(&g->config, text.data, text.len, g->dir, &err), err);
    sp_buf_clear(&text);
    g->config.threads = threads;
    assert_ok(sp_trainer_create(&g->trainer, &g->config, NULL, SP_START_NEW, NULL, &err), err);
    copy_weights(g);
}

static void close_golden(golden *g)
{
    static const char *const files[] = {"train.shard", "model.json", "out/metrics.jsonl", "out"};
    sp_trainer_destroy(g->trainer);
    sp_train_config_clear(&g->config);
    sp_json_destroy(g->root);
    sp_buf_clear(&g->text);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", g->dir, files[i]);
        remove(path);
    }
    assert_int_equal(rmdir(g->dir), 0);
}

/* --- against PyTorch --------------------------------------------------------------------------------------- */

/* The loader deals the rows that the other side took. */
static void check_rows(const golden *g, int64_t step, const sp_json *expected)
{
    sp_error err = SP_ERROR_NONE;
    sp_loader *loader;
    sp_loader_options options = {(uint32_t)g->config.sequence, 1, g->config.seed, g->config.cut, 0};
    assert_ok(sp_loader_open(&loader, g->config.train, 1, &options, &err), err);
    for (size_t i = 0; i < sp_json_size(expected); i++) {
        sp_row_place place;
        sp_loader_locate(loader, (uint64_t)step * sp_json_size(expected) + i, &place);
        assert_int_equal(place.sequence, sp_json_int(sp_json_at(expected, i), -1));
    }
    sp_loader_close(loader);
}

/* Returns |found / expected - 1|; expected 0 wants 0. */
static double deviation(double found, const sp_json *step, const char *key)
{
    double expected = sp_json_real(sp_json_get(step, key), NAN);
    return expected == 0.0 ? fabs(found) : fabs(found - expected) / fabs(expected);
}

/* How often each expert was chosen, layer by layer; dense layers have no row in the golden. */
static void check_counts(const golden *g, const sp_step_metrics *m, const sp_json *counts)
{
    const sp_hparams *hp = &g->config.hp;
    int64_t first = hp->first_k_dense_replace;
    for (size_t layer = 0; layer < sp_json_size(counts); layer++) {
        const sp_json *row = sp_json_at(counts, layer);
        double total = 0;
        for (size_t e = 0; e < sp_json_size(row); e++) total += sp_json_real(sp_json_at(row, e), NAN);
        for (size_t e = 0; e < sp_json_size(row); e++) {
            double load = sp_json_real(sp_json_at(row, e), NAN) * hp->n_routed_experts / total;
            float found = m->loads[((size_t)first + layer) * (size_t)hp->n_routed_experts + e];
            assert_true(fabs(found - load) < 1e-5);
        }
    }
}

static void check_run(const char *name)
{
    golden g;
    open_golden(&g, name, 2);
    const sp_json *steps = sp_json_get(g.root, "steps");
    double worst = 0, worst_norm = 0, first = 0, last = 0;
    assert_int_equal(sp_json_size(steps), 10);
    for (size_t s = 0; s < 10; s++) {
        sp_error err = SP_ERROR_NONE;
        sp_step_metrics m;
        const sp_json *step = sp_json_at(steps, s);
        check_rows(&g, (int64_t)s, sp_json_get(step, "rows"));
        assert_ok(sp_trainer_step(g.trainer, &m, &err), err);
        if (!(deviation(m.loss, step, "loss") <= LIMIT))
            fail_msg("%s, step %zu: loss %.9g, expected %.9g", name, s, m.loss,
                     sp_json_real(sp_json_get(step, "loss"), NAN));
        if (!(deviation(m.mtp_loss, step, "mtp_loss") <= LIMIT))
            fail_msg("%s, step %zu: loss of the prediction layer %.9g", name, s, m.mtp_loss);
        if (!(deviation(m.balance_loss, step, "balance_loss") <= LIMIT))
            fail_msg("%s, step %zu: balance loss %.9g", name, s, m.balance_loss);
        if (!(deviation(m.grad_norm, step, "grad_norm") <= NORM_LIMIT))
            fail_msg("%s, step %zu: gradient norm %.9g", name, s, m.grad_norm);
        assert_true(deviation(m.lr, step, "lr") < 1e-12);
        check_counts(&g, &m, sp_json_get(step, "counts"));
        worst = fmax(worst, deviation(m.loss, step, "loss"));
        worst_norm = fmax(worst_norm, deviation(m.grad_norm, step, "grad_norm"));
        if (s == 0) first = m.loss;
        last = m.loss;
    }
    assert_true(last < first);
    print_message("%s: ten losses within %.1e, norms within %.1e\n", name, worst, worst_norm);
    close_golden(&g);
}

static void test_ten_steps_match_pytorch(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) check_run(runs[i]);
}

/* --- threads ----------------------------------------------------------------------------------------------- */

/* All parameters after three steps. */
static sp_buf train_some(const char *name, int threads)
{
    golden g;
    sp_error err = SP_ERROR_NONE;
    sp_buf values = {0};
    open_golden(&g, name, threads);
    for (int s = 0; s < 3; s++) {
        sp_step_metrics m;
        assert_ok(sp_trainer_step(g.trainer, &m, &err), err);
    }
    const sp_parameters *parameters = sp_trainer_parameters(g.trainer);
    assert_ok(sp_buf_append(&values, parameters->values, (size_t)parameters->n_floats * sizeof(float), &err),
              err);
    close_golden(&g);
    return values;
}

static void test_threads_give_same_bits(void **state)
{
    static const char *const names[] = {"v3-mtp", "v3-mtp-muon", "llama-plain"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        sp_buf one = train_some(names[i], 1);
        for (int threads = 2; threads <= 4; threads++) {
            sp_buf some = train_some(names[i], threads);
            assert_int_equal(some.len, one.len);
            if (memcmp(some.data, one.data, one.len) != 0)
                fail_msg("%s: %d threads give other bits", names[i], threads);
            sp_buf_clear(&some);
        }
        sp_buf_clear(&one);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ten_steps_match_pytorch),
        cmocka_unit_test(test_threads_give_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
