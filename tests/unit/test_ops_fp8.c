/* SPDX-License-Identifier: MIT */
/* FP8 products simulated in training against a reference written here from the recipe: E4M3 by table, scales per 128
 * elements of activations and per 128 x 128 block of weights, sums in double. */
#include "test_util.h"

#include <math.h>

#include "base/rng.h"
#include "ops/ops.h"

enum { T = 150, IN = 200, OUT = 140, TILE = 128 };
#define LIMIT 3e-7 /* of the norm: float32 sums against double */

static double round_e4m3(double x)
{
    double best = 0.0;
    for (int code = 0; code < 256; code++) {
        double value = sp_e4m3_to_f32((uint8_t)code);
        if (isnan(value)) continue;
        double d = fabs(value - x), b = fabs(best - x);
        if (d < b || (d == b && code % 2 == 0)) best = value;
    }
    return best;
}

/* x (rows, cols) under scales of tile_rows x tile_cols. */
static void round_tiles(const float *x, int rows, int cols, int tile_rows, int tile_cols, double *out)
{
    for (int r = 0; r < rows; r += tile_rows)
        for (int c = 0; c < cols; c += tile_cols) {
            float most = 0.0f;
            for (int i = r; i < rows && i < r + tile_rows; i++)
                for (int j = c; j < cols && j < c + tile_cols; j++)
                    most = fmaxf(most, fabsf(x[i * cols + j]));
            for (int i = r; i < rows && i < r + tile_rows; i++)
                for (int j = c; j < cols && j < c + tile_cols; j++)
                    out[i * cols + j] = round_e4m3(x[i * cols + j] * (448.0f / most)) * (most / 448.0f);
        }
}

typedef struct matrices {
    float x[T * IN], w[OUT * IN], dy[T * OUT];
    float y[T * OUT], dx[T * IN], dw[OUT * IN];
} matrices;

static void draw(matrices *m)
{
    sp_rng_normal(1, 0, 0, m->x, T * IN);
    sp_rng_normal(1, 1, 0, m->w, OUT * IN);
    sp_rng_normal(1, 2, 0, m->dy, T * OUT);
    for (int i = 0; i < T * IN; i++)
        m->x[i] *= expf((float)(i % 37) - 18.0f); /* subnormal under some scales */
}

static sp_tensor tensor_of(float *data, int rows, int cols)
{
    return (sp_tensor){.dtype = SP_DTYPE_F32,
                       .n_dims = 2,
                       .shape = {rows, cols, 1, 1},
                       .row_bytes = (size_t)cols * sizeof(float),
                       .data = data};
}

typedef sp_tensor *(*linear_fn)(sp_ops *, const sp_tensor *, const sp_tensor *, const sp_tensor *);

static void run_linear(matrices *m, linear_fn linear, int threads, bool fp8)
{
    sp_error err = SP_ERROR_NONE;
    sp_pool *pool;
    sp_arena *arena = sp_arena_create(1 << 20);
    sp_tape tape = {0};
    sp_ops ops;
    assert_ok(sp_pool_create(&pool, threads, &err), err);
    sp_ops_init(&ops, pool, arena);
    ops.tape = &tape;
    ops.fp8 = fp8;
    sp_tensor x = tensor_of(m->x, T, IN), w = tensor_of(m->w, OUT, IN);
    memset(m->dx, 0, sizeof m->dx);
    memset(m->dw, 0, sizeof m->dw);
    sp_tape_parameter(&ops, &x, m->dx);
    sp_tape_parameter(&ops, &w, m->dw);
    sp_tensor *y = linear(&ops, &x, &w, NULL);
    assert_int_equal(ops.status, SP_OK);
    memcpy(m->y, y->data, sizeof m->y);
    sp_tape_backward(&ops, y, m->dy);
    assert_int_equal(ops.status, SP_OK);
    sp_pool_destroy(pool);
    sp_arena_destroy(arena);
}

/* C (m, n) = sum over k of a(i, k) b(k, j), by strides. */
static double *multiply(int m, int n, int k, const double *a, int a_row, int a_col, const double *b,
                        int b_row, int b_col)
{
    double *c = calloc((size_t)(m * n), sizeof *c);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++)
            for (int l = 0; l < k; l++) c[i * n + j] += a[i * a_row + l * a_col] * b[l * b_row + j * b_col];
    return c;
}

/* Distance over the reference's norm; frees the reference. */
static double compare(const float *found, double *expected, int n)
{
    double difference = 0.0, norm = 0.0;
    for (int i = 0; i < n; i++) {
        difference += (found[i] - expected[i]) * (found[i] - expected[i]);
        norm += expected[i] * expected[i];
    }
    free(expected);
    return sqrt(difference / norm);
}

static void linear_rounds_as_the_recipe_says(void **state)
{
    (void)state;
    matrices *m = calloc(1, sizeof *m);
    double *x = malloc(T * IN * sizeof *x), *w = malloc(OUT * IN * sizeof *w),
           *dy = malloc(T * OUT * sizeof *dy);
    draw(m);
    run_linear(m, sp_op_linear, 2, true);
    round_tiles(m->w, OUT, IN, TILE, TILE, w);
    round_tiles(m->x, T, IN, 1, TILE, x);
    double y_error = compare(m->y, multiply(T, OUT, IN, x, IN, 1, w, 1, IN), T * OUT);
    round_tiles(m->dy, T, OUT, 1, TILE, dy);
    double dx_error = compare(m->dx, multiply(T, IN, OUT, dy, OUT, 1, w, IN, 1), T * IN);
    round_tiles(m->dy, T, OUT, TILE, 1, dy);
    round_tiles(m->x, T, IN, TILE, 1, x);
    double dw_error = compare(m->dw, multiply(OUT, IN, T, dy, 1, OUT, x, IN, 1), OUT * IN);
    printf("relative errors: y %.1e, dx %.1e, dw %.1e\n", y_error, dx_error, dw_error);
    assert_true(y_error < LIMIT && dx_error < LIMIT && dw_error < LIMIT);
    free(x);
    free(w);
    free(dy);
    free(m);
}

static void exact_products_and_other_thread_counts_keep_their_bits(void **state)
{
    (void)state;
    matrices *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
    draw(a);
    draw(b);
    run_linear(a, sp_op_linear, 2, false);
    run_linear(b, sp_op_linear_exact, 2, true);
    assert_memory_equal(a, b, sizeof *a);
    run_linear(a, sp_op_linear, 1, true);
    assert_true(memcmp(a->y, b->y, sizeof a->y) != 0);
    for (int threads = 2; threads <= 4; threads++) {
        run_linear(b, sp_op_linear, threads, true);
        assert_memory_equal(a, b, sizeof *a);
    }
    free(a);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_rounds_as_the_recipe_says),
        cmocka_unit_test(exact_products_and_other_thread_counts_keep_their_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
