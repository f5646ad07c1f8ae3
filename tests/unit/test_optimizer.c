/* SPDX-License-Identifier: MIT */
/* Updates of AdamW and Muon: against PyTorch's AdamW and a float64 Muon (tests/golden/training/optimizer.json, made by
 * tools/golden/make_training.py), the same bits for any threads and any cut of the items, what is left alone, sums of
 * squares, and failed allocations. */
#include "test_util.h"

#include <math.h>

#include "base/rng.h"
#include "train/optimizer.h"

#define MAX_ITEMS 512
/* Each of three updates rounds a value three times (1 - lr decay, its product, the difference), and the expected value is
 * rounded once: ten halves of a last place, 2^-23 of the value. Values near zero have the update's own error, which SMALL covers. */
#define GOLDEN_LIMIT (5 * 0x1p-23)
#define SMALL 0.0625

/* Parameters without a model: items over one block of floats. */
typedef struct fixture {
    sp_parameters parameters;
    sp_parameter items[MAX_ITEMS];
    sp_tensor here; /* stands for "local" */
    float *grads;
    sp_optimizer *optimizer;
    sp_pool *pool;
    sp_arena *arena;
    sp_ops ops;
} fixture;

static const sp_optimizer_options muon_options = {SP_OPTIMIZER_MUON, 0.9, 0.95, 1e-8, 0.95, 0.1, 0.5, false};
static const sp_optimizer_options adamw_options = {SP_OPTIMIZER_ADAMW, 0.9, 0.95, 1e-8, 0, 0.1, 0.5, false};
static const sp_optimizer_options half_options = {SP_OPTIMIZER_ADAMW, 0.9, 0.95, 1e-8, 0, 0.1, 0.5, true};

static void add_item(fixture *f, sp_parameter_kind kind, int64_t rows, int64_t cols)
{
    sp_parameters *p = &f->parameters;
    assert_true(p->n_items < MAX_ITEMS);
    f->items[p->n_items++] =
        (sp_parameter){.kind = kind, .rows = rows, .cols = cols, .begin = p->n_floats, .tensor = &f->here};
    p->n_floats += rows * cols;
}

static fixture *new_fixture(void)
{
    fixture *f = calloc(1, sizeof *f);
    f->parameters.items = f->items;
    return f;
}

static float *drawn;
static size_t n_drawn;

/* Values and gradients are drawn. */
static void start(fixture *f, const sp_optimizer_options *options, int threads)
{
    sp_error err = SP_ERROR_NONE;
    sp_parameters *p = &f->parameters;
    size_t n = (size_t)p->n_floats;
    p->values = malloc(n * sizeof(float));
    f->grads = malloc(n * sizeof(float));
    if (n > n_drawn) { /* once for all fixtures */
        free(drawn);
        drawn = malloc(2 * n * sizeof(float));
        sp_rng_normal(64, 0, 0, drawn, 2 * n);
        n_drawn = n;
    }
    memcpy(p->values, drawn, n * sizeof(float));
    memcpy(f->grads, drawn + n_drawn, n * sizeof(float));
    assert_ok(sp_optimizer_create(&f->optimizer, p, options, &err), err);
    assert_ok(sp_pool_create(&f->pool, threads, &err), err);
    f->arena = sp_arena_create(1 << 16);
    sp_ops_init(&f->ops, f->pool, f->arena);
}

static void stop(fixture *f)
{
    sp_optimizer_destroy(f->optimizer);
    sp_pool_destroy(f->pool);
    sp_arena_destroy(f->arena);
    free(f->parameters.values);
    free(f->grads);
    free(f);
}

static void step(fixture *f, int64_t number, double lr, double scale, size_t first, size_t end)
{
    sp_error err = SP_ERROR_NONE;
    sp_update u = {number, lr, scale, first, end};
    assert_ok(sp_optimizer_update(f->optimizer, &f->parameters, f->grads, &u, &f->ops, &err), err);
    assert_int_equal(sp_arena_used(f->arena), 0);
}

/* --- against PyTorch --------------------------------------------------------------------------------------- */

static sp_parameter_kind kind_of(const char *name)
{
    if (strstr(name, "embed_tokens")) return SP_PARAMETER_EMBED;
    if (strstr(name, "lm_head")) return SP_PARAMETER_HEAD;
    if (strstr(name, "norm")) return SP_PARAMETER_NORM;
    if (strstr(name, "bias")) return SP_PARAMETER_BIAS;
    return strstr(name, "mlp.gate.") ? SP_PARAMETER_ROUTER : SP_PARAMETER_MATRIX;
}

static double real(const sp_json *root, const char *key)
{
    return sp_json_real(sp_json_get(root, key), NAN);
}

/* One list of numbers per item, one after the other. */
static void read_floats(const fixture *f, const sp_json *lists, float *out)
{
    for (size_t i = 0; i < f->parameters.n_items; i++) {
        const sp_json *list = sp_json_at(lists, i);
        assert_int_equal(sp_json_size(list), sp_parameter_count(&f->items[i]));
        for (size_t j = 0; j < sp_json_size(list); j++)
            *out++ = (float)sp_json_real(sp_json_at(list, j), NAN);
    }
}

static void check_golden(sp_optimizer_kind kind, const char *key, double limit)
{
    sp_error err = SP_ERROR_NONE;
    sp_json *root;
    sp_buf text = read_whole(test_path("tests/golden/training/optimizer.json"));
    assert_ok(sp_json_parse(text.data, text.len, &root, &err), err);
    fixture *f = new_fixture();
    const sp_json *shapes = sp_json_get(root, "shapes"), *steps = sp_json_get(root, key);
    for (size_t i = 0; i < sp_json_size(shapes); i++) {
        const char *name = sp_json_string(sp_json_at(sp_json_get(root, "names"), i), NULL);
        const sp_json *shape = sp_json_at(shapes, i);
        add_item(f, kind_of(name), sp_json_int(sp_json_at(shape, 0), 0),
                 sp_json_int(sp_json_at(shape, 1), 0));
    }
    sp_optimizer_options options = {kind,
                                    real(root, "beta1"),
                                    real(root, "beta2"),
                                    real(root, "eps"),
                                    real(root, "momentum"),
                                    real(root, "weight_decay"),
                                    real(root, "embed_lr_factor"),
                                    false};
    start(f, &options, 2);
    read_floats(f, sp_json_get(root, "start"), f->parameters.values);
    float *expected = malloc((size_t)f->parameters.n_floats * sizeof *expected);
    double worst = 0;
    for (size_t s = 0; s < sp_json_size(steps); s++) {
        read_floats(f, sp_json_at(sp_json_get(root, "grads"), s), f->grads);
        read_floats(f, sp_json_at(steps, s), expected);
        step(f, (int64_t)s + 1, sp_json_real(sp_json_at(sp_json_get(root, "lr"), s), NAN),
             sp_json_real(sp_json_at(sp_json_get(root, "grad_scale"), s), NAN), 0, f->parameters.n_items);
        for (int64_t i = 0; i < f->parameters.n_floats; i++)
            worst = fmax(worst, fabs((double)f->parameters.values[i] - expected[i]) /
                                    fmax(fabs((double)expected[i]), SMALL));
    }
    print_message("%s: three updates within %.1e\n", key, worst);
    assert_true(worst <= limit);
    free(expected);
    stop(f);
    sp_json_destroy(root);
    sp_buf_clear(&text);
}

static void test_adamw_matches_pytorch(void **state)
{
    (void)state;
    check_golden(SP_OPTIMIZER_ADAMW, "adamw", GOLDEN_LIMIT);
}

static void test_muon_matches_reference(void **state)
{
    (void)state;
    check_golden(SP_OPTIMIZER_MUON, "muon", GOLDEN_LIMIT);
}

/* --- one answer -------------------------------------------------------------------------------------------- */

/* Shapes that meet every border: pieces, jobs of pieces, batches by count and by size, one matrix above a batch. */
static fixture *mixed_fixture(const sp_optimizer_options *options, int threads)
{
    fixture *f = new_fixture();
    add_item(f, SP_PARAMETER_EMBED, 4200, 1000); /* more than 256 pieces */
    add_item(f, SP_PARAMETER_NORM, 1, 1000);
    for (int i = 0; i < 300; i++) add_item(f, SP_PARAMETER_EXPERT, 24 + i % 3 * 8, 32);
    add_item(f, SP_PARAMETER_MATRIX, 8, 270000); /* 4.3 million floats of scratch */
    add_item(f, SP_PARAMETER_ROUTER, 8, 17);
    add_item(f, SP_PARAMETER_BALANCE, 1, 8);
    add_item(f, SP_PARAMETER_MATRIX, 300, 200);
    add_item(f, SP_PARAMETER_MATRIX, 1, 50);
    add_item(f, SP_PARAMETER_MATRIX, 50, 1);
    add_item(f, SP_PARAMETER_BIAS, 1, 3);
    f->items[150].tensor = NULL; /* another process owns it */
    start(f, options, threads);
    return f;
}

/* Two updates, the items cut at `cut`. */
static fixture *updated_fixture(const sp_optimizer_options *options, int threads, size_t cut)
{
    fixture *f = mixed_fixture(options, threads);
    size_t n = f->parameters.n_items;
    for (int64_t i = 1; i <= 2; i++) {
        step(f, i, 0.01, 0.5, 0, cut);
        if (cut < n) step(f, i, 0.01, 0.5, cut, n);
    }
    return f;
}

static void assert_same_state(const fixture *a, const fixture *b)
{
    size_t n = (size_t)a->parameters.n_floats * sizeof(float);
    assert_memory_equal(a->parameters.values, b->parameters.values, n);
    if (a->optimizer->m16) {
        assert_memory_equal(a->optimizer->m16, b->optimizer->m16, n / 2);
        assert_memory_equal(a->optimizer->v16, b->optimizer->v16, n / 2);
        return;
    }
    assert_memory_equal(a->optimizer->m, b->optimizer->m, n);
    assert_memory_equal(a->optimizer->v, b->optimizer->v, n);
}

static void check_one_answer(const sp_optimizer_options *options)
{
    static const size_t cuts[] = {0, 1, 2, 77, 302, 303};
    fixture *whole = mixed_fixture(options, 1);
    size_t n = whole->parameters.n_items;
    stop(whole);
    whole = updated_fixture(options, 1, n);
    for (int threads = 2; threads <= 4; threads++) {
        fixture *other = updated_fixture(options, threads, n);
        assert_same_state(other, whole);
        stop(other);
    }
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        fixture *other = updated_fixture(options, 2, cuts[i]);
        assert_same_state(other, whole);
        stop(other);
    }
    stop(whole);
}

static void test_threads_and_cuts_leave_adamw_bits(void **state)
{
    (void)state;
    check_one_answer(&adamw_options);
}

static void test_threads_and_cuts_leave_bits_of_half_moments(void **state)
{
    (void)state;
    check_one_answer(&half_options);
}

/* Each moment is the float32 one of its former self, rounded to nearest even; what is read comes back unchanged. */
static void test_half_moments_are_rounded_once_a_step(void **state)
{
    (void)state;
    fixture *half = mixed_fixture(&half_options, 2), *full = mixed_fixture(&adamw_options, 2);
    int64_t n = half->parameters.n_floats;
    float *m = malloc((size_t)n * sizeof *m), *again = malloc((size_t)n * sizeof *again);
    for (int64_t number = 1; number <= 3; number++) {
        for (int second = 0; second < 2; second++) {
            sp_optimizer_get_moments(half->optimizer, second, 0, n, m);
            sp_optimizer_set_moments(full->optimizer, second, 0, n, m);
        }
        step(half, number, 0.01, 0.5, 0, half->parameters.n_items);
        step(full, number, 0.01, 0.5, 0, full->parameters.n_items);
        assert_memory_equal(half->parameters.values, full->parameters.values, (size_t)n * sizeof *m);
        for (int second = 0; second < 2; second++) {
            sp_optimizer_get_moments(half->optimizer, second, 0, n, m);
            const float *exact = second ? full->optimizer->v : full->optimizer->m;
            for (int64_t i = 0; i < n; i++) assert_true(m[i] == sp_bf16_to_f32(sp_f32_to_bf16(exact[i])));
            sp_optimizer_set_moments(half->optimizer, second, 0, n, m);
            sp_optimizer_get_moments(half->optimizer, second, 0, n, again);
            assert_memory_equal(m, again, (size_t)n * sizeof *m);
        }
    }
    free(m);
    free(again);
    stop(half);
    stop(full);
}

static void test_threads_and_cuts_leave_muon_bits(void **state)
{
    (void)state;
    check_one_answer(&muon_options);
}

/* --- what is moved, and how far ---------------------------------------------------------------------------- */

static void check_left_alone(const sp_optimizer_options *options)
{
    fixture *before = mixed_fixture(options, 1), *after = updated_fixture(options, 2, 0);
    for (size_t i = 0; i < before->parameters.n_items; i++) {
        const sp_parameter *p = &before->items[i];
        bool same = memcmp(before->parameters.values + p->begin, after->parameters.values + p->begin,
                           (size_t)sp_parameter_count(p) * sizeof(float)) == 0;
        assert_int_equal(same, p->kind == SP_PARAMETER_BALANCE || !p->tensor);
    }
    stop(before);
    stop(after);
}

static void test_balance_and_foreign_experts_are_left_alone(void **state)
{
    (void)state;
    check_left_alone(&adamw_options);
    check_left_alone(&muon_options);
}

/* Without gradients there is decay alone: on matrices of every kind, not on norms and biases. */
static void test_zero_gradient_only_decays(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        fixture *f = mixed_fixture(kind ? &muon_options : &adamw_options, 2);
        sp_parameters *p = &f->parameters;
        float *before = malloc((size_t)p->n_floats * sizeof *before);
        memcpy(before, p->values, (size_t)p->n_floats * sizeof *before);
        step(f, 1, 0.01, 0.0, 0, p->n_items);
        for (size_t i = 0; i < p->n_items; i++) {
            const sp_parameter *q = &f->items[i];
            bool outer = q->kind == SP_PARAMETER_EMBED || q->kind == SP_PARAMETER_HEAD;
            bool decays = q->kind != SP_PARAMETER_NORM && q->kind != SP_PARAMETER_BIAS &&
                          q->kind != SP_PARAMETER_BALANCE && q->tensor;
            float keep = decays ? (float)(1.0 - 0.01 * (outer ? 0.5 : 1.0) * 0.1) : 1.0f;
            for (int64_t j = q->begin; j < q->begin + sp_parameter_count(q); j++)
                assert_true(p->values[j] == keep * before[j]);
        }
        free(before);
        stop(f);
    }
}

/* Muon's update has a root mean square of 0.2 whatever the shape and the gradient's size, as AdamW's has in practice. */
static void test_muon_moves_every_shape_alike(void **state)
{
    static const struct {
        int64_t rows, cols;
    } shapes[] = {{8, 8}, {64, 64}, {16, 200}, {200, 16}, {96, 128}, {1, 64}};
    sp_optimizer_options options = muon_options;
    (void)state;
    options.weight_decay = 0;
    fixture *f = new_fixture();
    for (size_t i = 0; i < 6; i++) add_item(f, SP_PARAMETER_MATRIX, shapes[i].rows, shapes[i].cols);
    start(f, &options, 2);
    for (int64_t i = 0; i < f->parameters.n_floats; i++) {
        f->parameters.values[i] = 0.0f;
        f->grads[i] *= 1e-3f;
    }
    step(f, 1, 1.0, 1.0, 0, 6);
    for (size_t i = 0; i < 6; i++) {
        const sp_parameter *p = &f->items[i];
        double square = 0;
        for (int64_t j = 0; j < sp_parameter_count(p); j++)
            square += pow((double)f->parameters.values[p->begin + j], 2);
        double rms = sqrt(square / (double)sp_parameter_count(p));
        assert_true(rms > 0.13 && rms < 0.24);
    }
    stop(f);
}

/* c (m, n) = a (m, k) b^T, b (n, k). */
static void multiply(double *c, const double *a, const double *b, int64_t m, int64_t n, int64_t k)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            c[i * n + j] = 0;
            for (int64_t l = 0; l < k; l++) c[i * n + j] += a[i * k + l] * b[j * k + l];
        }
}

/* Five steps of x <- 3.4445 x + (-4.7750 a + 2.0315 a a) x with a = x x^T, from a gradient x (r, c), r <= c. */
static void orthogonalise(double *x, int64_t r, int64_t c)
{
    double *a = malloc((size_t)(r * r) * sizeof *a), *b = malloc((size_t)(r * r) * sizeof *b);
    double *turned = malloc((size_t)(r * c) * sizeof *turned), *y = malloc((size_t)(r * c) * sizeof *y);
    double square = 0;
    for (int64_t i = 0; i < r * c; i++) square += x[i] * x[i];
    for (int64_t i = 0; i < r * c; i++) x[i] /= sqrt(square);
    for (int step_number = 0; step_number < 5; step_number++) {
        multiply(a, x, x, r, r, c);
        multiply(b, a, a, r, r, r); /* a is its own transpose */
        for (int64_t i = 0; i < r * r; i++) b[i] = -4.7750 * a[i] + 2.0315 * b[i];
        for (int64_t i = 0; i < r; i++)
            for (int64_t j = 0; j < c; j++) turned[j * r + i] = x[i * c + j];
        multiply(y, b, turned, r, c, r);
        for (int64_t i = 0; i < r * c; i++) x[i] = 3.4445 * x[i] + y[i];
    }
    free(a);
    free(b);
    free(turned);
    free(y);
}

/* Matrices wider than the strips in which symmetric products are computed, on either side. */
static void test_muon_of_large_matrices(void **state)
{
    enum { SHORT = 150, LONG = 190 };
    sp_optimizer_options options = muon_options;
    (void)state;
    options.weight_decay = 0;
    fixture *f = new_fixture();
    add_item(f, SP_PARAMETER_MATRIX, SHORT, LONG);
    add_item(f, SP_PARAMETER_MATRIX, LONG, SHORT);
    start(f, &options, 2);
    float *wide = f->grads, *tall = f->grads + SHORT * LONG;
    double *expected = malloc(SHORT * LONG * sizeof *expected);
    for (int64_t i = 0; i < SHORT; i++)
        for (int64_t j = 0; j < LONG; j++) {
            tall[j * SHORT + i] = wide[i * LONG + j];
            expected[i * LONG + j] = wide[i * LONG + j];
        }
    memset(f->parameters.values, 0, (size_t)f->parameters.n_floats * sizeof(float));
    step(f, 1, 1.0, 1.0, 0, 2);
    orthogonalise(expected, SHORT, LONG);
    double error = 0, square = 0;
    for (int64_t i = 0; i < SHORT; i++)
        for (int64_t j = 0; j < LONG; j++) {
            double e = -0.2 * sqrt(LONG) * expected[i * LONG + j];
            error += pow(f->parameters.values[i * LONG + j] - e, 2);
            error += pow(f->parameters.values[SHORT * LONG + j * SHORT + i] - e, 2);
            square += 2 * e * e;
        }
    print_message("muon of 150 x 190 and its transpose: within %.1e, norm-wise\n", sqrt(error / square));
    /* directions that the gradient hardly has grow 3.44^5 = 484-fold, and with them float's 2^-24 */
    assert_true(sqrt(error / square) < 1e-5);
    free(expected);
    stop(f);
}

/* --- sums of squares --------------------------------------------------------------------------------------- */

static void test_gradient_square(void **state)
{
    (void)state;
    fixture *f = mixed_fixture(&adamw_options, 3);
    const sp_parameters *p = &f->parameters;
    double expected = 0;
    for (size_t i = 0; i < p->n_items; i++) {
        const sp_parameter *q = &f->items[i];
        for (int64_t j = 0; q->tensor && q->kind != SP_PARAMETER_BALANCE && j < sp_parameter_count(q); j++)
            expected += (double)f->grads[q->begin + j] * (double)f->grads[q->begin + j];
    }
    double found = sp_gradient_square(p, f->grads, 0, p->n_items, NULL);
    assert_true(fabs(found / expected - 1) < 1e-12);
    assert_true(sp_gradient_square(p, f->grads, 0, p->n_items, f->pool) == found);
    double parts = 0;
    for (size_t i = 0; i < p->n_items; i++) parts += sp_gradient_square(p, f->grads, i, i + 1, f->pool);
    assert_true(parts == found);
    assert_true(sp_gradient_square(p, f->grads, 3, 3, f->pool) == 0);
    f->grads[f->items[302].begin] = NAN;
    assert_true(isnan(sp_gradient_square(p, f->grads, 0, p->n_items, f->pool)));
    stop(f);
}

/* --- failed allocations ------------------------------------------------------------------------------------ */

static void test_failed_allocations(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    fixture *f = mixed_fixture(&muon_options, 2), *whole = updated_fixture(&muon_options, 2, 0);
    size_t n_bytes = (size_t)f->parameters.n_floats * sizeof(float);
    for (int64_t n = 0; n < 3; n++) {
        sp_optimizer *optimizer = f->optimizer;
        sp_mem_fail_after(n);
        sp_status status = sp_optimizer_create(&optimizer, &f->parameters, &muon_options, &err);
        sp_mem_fail_after(-1);
        assert_int_equal(status, SP_E_NOMEM);
        assert_null(optimizer);
    }
    sp_update u = {1, 0.01, 0.5, 0, f->parameters.n_items};
    float *before = malloc(n_bytes);
    memcpy(before, f->parameters.values, n_bytes);
    sp_mem_fail_after(0);
    assert_int_equal(sp_optimizer_update(f->optimizer, &f->parameters, f->grads, &u, &f->ops, &err),
                     SP_E_NOMEM);
    sp_mem_fail_after(-1);
    assert_memory_equal(before, f->parameters.values, n_bytes);
    for (int64_t i = 1; i <= 2; i++) step(f, i, 0.01, 0.5, 0, f->parameters.n_items);
    assert_same_state(f, whole);
    free(before);
    stop(f);
    stop(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw_matches_pytorch),
        cmocka_unit_test(test_muon_matches_reference),
        cmocka_unit_test(test_threads_and_cuts_leave_adamw_bits),
        cmocka_unit_test(test_threads_and_cuts_leave_bits_of_half_moments),
        cmocka_unit_test(test_half_moments_are_rounded_once_a_step),
        cmocka_unit_test(test_threads_and_cuts_leave_muon_bits),
        cmocka_unit_test(test_balance_and_foreign_experts_are_left_alone),
        cmocka_unit_test(test_zero_gradient_only_decays),
        cmocka_unit_test(test_muon_moves_every_shape_alike),
        cmocka_unit_test(test_muon_of_large_matrices),
        cmocka_unit_test(test_gradient_square),
        cmocka_unit_test(test_failed_allocations),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(drawn);
    return failed;
}
