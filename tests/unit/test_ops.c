/* SPDX-License-Identifier: MIT */
/* Ops: the expert choice against cases worked out by hand, rotation tables against published values,
 * attention against a plain softmax, and the recorded backward passes against finite differences. */
#include "test_util.h"

#include <math.h>

#include "base/rng.h"
#include "model/blocks.h"
#include "ops/ops.h"

typedef struct bench {
    sp_arena *arena;
    sp_pool *pool;
    sp_ops ops;
} bench;

static int setup(void **state)
{
    sp_error err = SP_ERROR_NONE;
    bench *b = calloc(1, sizeof *b);
    b->arena = sp_arena_create(1 << 16);
    assert_ok(sp_pool_create(&b->pool, 2, &err), err);
    sp_ops_init(&b->ops, b->pool, b->arena);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench *b = *state;
    sp_pool_destroy(b->pool);
    sp_arena_destroy(b->arena);
    free(b);
    return 0;
}

static sp_tensor *fill(sp_ops *ops, int64_t rows, int64_t cols, uint64_t stream)
{
    sp_tensor *t = sp_ops_new(ops, rows, cols);
    sp_rng_normal(7, stream, 0, t->data, (size_t)(rows * cols));
    return t;
}

/* --- the expert choice ---------------------------------------------------------------------------------- */

static float logit(float p)
{
    return logf(p / (1.0f - p));
}

/* Biased scores .9 .1 | .6 .5 | .2 .8 | .3 1.3: group sums 1.0, 1.1, 1.0, 1.6 keep groups 3 and 1; experts 7
 * and 2 by biased score; weights from the unbiased .3 and .6, normalised, times 2.5. Expert 0, the largest
 * score, is not chosen. */
static void v3_choice_uses_bias_for_the_choice_and_scores_for_the_weights(void **state)
{
    sp_ops *ops = &((bench *)*state)->ops;
    const float p[8] = {.9f, .1f, .6f, .5f, .2f, .8f, .3f, .3f};
    float bias_values[8] = {0, 0, 0, 0, 0, 0, 0, 1.0f};
    sp_tensor bias = {
        .dtype = SP_DTYPE_F32, .n_dims = 1, .shape = {8, 1, 1, 1}, .row_bytes = 32, .data = bias_values};
    sp_tensor *logits = sp_ops_new(ops, 1, 8);
    for (int i = 0; i < 8; i++) ((float *)logits->data)[i] = logit(p[i]);
    sp_route route = {SP_ROUTE_SIGMOID, SP_ROUTE_GROUPS_TOP2, 4, 2, 2, true, 2.5f, &bias};
    sp_routing *r = sp_op_route(ops, logits, &route);
    assert_int_equal(r->experts[0], 7);
    assert_int_equal(r->experts[1], 2);
    assert_float_equal(((float *)r->weights->data)[0], 0.8333333f, 1e-5f);
    assert_float_equal(((float *)r->weights->data)[1], 1.6666667f, 1e-5f);
    assert_int_equal(r->offset[2], 0);
    assert_int_equal(r->offset[3], 1);
    assert_int_equal(r->offset[8], 2);
    assert_int_equal(r->order[0], 1); /* slot 1 belongs to expert 2 */
}

/* Groups by their largest score (V2), no renormalisation: group maxima .30 .25 .05 keep the first two; the
 * .20 of group 1 is beaten by .25 but .10 of group 0 loses to .20. */
static void v2_choice_ranks_groups_by_their_largest_score(void **state)
{
    sp_ops *ops = &((bench *)*state)->ops;
    const float p[6] = {.30f, .10f, .20f, .25f, .10f, .05f};
    sp_tensor *logits = sp_ops_new(ops, 1, 6);
    for (int i = 0; i < 6; i++) ((float *)logits->data)[i] = logf(p[i]);
    sp_route route = {SP_ROUTE_SOFTMAX, SP_ROUTE_GROUPS_MAX, 3, 2, 3, false, 16.0f, NULL};
    sp_routing *r = sp_op_route(ops, logits, &route);
    assert_int_equal(r->experts[0], 0);
    assert_int_equal(r->experts[1], 3);
    assert_int_equal(r->experts[2], 2);
    assert_float_equal(((float *)r->weights->data)[0], 16.0f * .30f, 1e-4f);
}

static void ties_go_to_the_lowest_index_and_nan_stays_in_bounds(void **state)
{
    sp_ops *ops = &((bench *)*state)->ops;
    sp_tensor *logits = sp_ops_new(ops, 2, 8);
    for (int i = 0; i < 8; i++) ((float *)logits->data)[i] = 1.0f;
    for (int i = 8; i < 16; i++) ((float *)logits->data)[i] = NAN;
    sp_route route = {SP_ROUTE_SOFTMAX, SP_ROUTE_GROUPS_TOP2, 4, 2, 3, false, 1.0f, NULL};
    sp_routing *r = sp_op_route(ops, logits, &route);
    for (int k = 0; k < 3; k++) assert_int_equal(r->experts[k], k);
    for (int k = 3; k < 6; k++) assert_in_range(r->experts[k], 0, 7);
}

/* --- rotation ------------------------------------------------------------------------------------------- */

static void rope_frequencies_match_published_values(void **state)
{
    (void)state;
    double w[64];
    sp_hparams hp = {
        .arch = SP_ARCH_DEEPSEEK2, .qk_rope_head_dim = 64, .qk_nope_head_dim = 128, .rope_theta = 10000};
    hp.rope_scaling = (sp_rope_scaling){SP_ROPE_SCALING_YARN, 40, 4096, 32, 1, 1, 1, 0, 0};
    sp_hparams_rope_frequencies(&hp, w);
    const struct {
        int i;
        double omega;
    } yarn[] = {
        {0, 1.0},     {1, 0.7498942093},    {10, 0.05623413252},  {11, 0.03900692657},  {12, 0.02687936011},
        {16, 0.0055}, {20, 7.905694150e-4}, {22, 1.778279410e-4}, {23, 3.333803580e-5}, {31, 3.333803580e-6}};
    for (size_t k = 0; k < sizeof yarn / sizeof yarn[0]; k++)
        assert_true(fabs(w[yarn[k].i] / yarn[k].omega - 1.0) < 1e-8);
    assert_true(fabs(sp_hparams_softmax_scale(&hp) - 0.13523378) < 1e-8);
    assert_true(sp_hparams_rope_attention_factor(&hp) == 1.0);
    hp.rope_scaling.mscale = hp.rope_scaling.mscale_all_dim = 0.707;
    assert_true(fabs(sp_hparams_softmax_scale(&hp) - 0.11472139) < 1e-8);

    sp_hparams llama = {.arch = SP_ARCH_LLAMA, .head_dim = 128, .rope_theta = 500000};
    llama.rope_scaling = (sp_rope_scaling){SP_ROPE_SCALING_LLAMA3, 8, 8192, 0, 0, 0, 0, 1, 4};
    sp_hparams_rope_frequencies(&llama, w);
    const double divisors[] = {1,        1.207484, 1.553415, 2.026313,
                               2.694530, 3.684253, 5.257327, 8}; /* i = 28 .. 35 */
    for (int k = 0; k < 8; k++)
        assert_true(fabs(pow(500000, -2.0 * (28 + k) / 128) / w[28 + k] - divisors[k]) < 2e-6);

    sp_hparams coder = {.arch = SP_ARCH_LLAMA, .head_dim = 128, .rope_theta = 100000};
    coder.rope_scaling = (sp_rope_scaling){.type = SP_ROPE_SCALING_LINEAR, .factor = 4};
    sp_hparams_rope_frequencies(&coder, w);
    assert_true(fabs(w[1] - 0.2088406) < 1e-7);
}

/* --- attention ------------------------------------------------------------------------------------------ */

static void attention_equals_a_plain_softmax(void **state)
{
    sp_ops *ops = &((bench *)*state)->ops;
    enum { T = 9, PAST = 130, NH = 6, NKV = 2, KD = 5, VD = 3 };
    sp_tensor *q = fill(ops, T, NH * KD, 1), *k = fill(ops, PAST + T, NKV * KD, 2),
              *v = fill(ops, PAST + T, NKV * VD, 3);
    sp_attend a = {NH, NKV, KD, VD, 0.7f};
    sp_span span = {0, T, PAST, k, v};
    sp_tensor *y = sp_op_attention(ops, q, &a, &span, 1);
    for (int t = 0; t < T; t++) {
        for (int h = 0; h < NH; h++) {
            double p[PAST + T], sum = 0.0, out[VD] = {0};
            int kv = h / (NH / NKV);
            for (int j = 0; j <= PAST + t; j++) {
                double dot = 0.0;
                for (int i = 0; i < KD; i++)
                    dot += (double)((float *)q->data)[t * NH * KD + h * KD + i] *
                           ((float *)k->data)[j * NKV * KD + kv * KD + i];
                p[j] = exp(0.7 * dot);
                sum += p[j];
            }
            for (int j = 0; j <= PAST + t; j++)
                for (int i = 0; i < VD; i++)
                    out[i] += p[j] / sum * ((float *)v->data)[j * NKV * VD + kv * VD + i];
            for (int i = 0; i < VD; i++)
                assert_float_equal(((float *)y->data)[t * NH * VD + h * VD + i], (float)out[i], 2e-6f);
        }
    }
}

/* --- backward passes ------------------------------------------------------------------------------------ */

/* A loss over a chain of recorded ops; x, w and the rest are its leaves. */
typedef sp_tensor *(*chain_fn)(sp_ops *ops, sp_tensor *const *leaves);

static sp_tensor *chain_linear_norm(sp_ops *ops, sp_tensor *const *l)
{
    sp_tensor *y = sp_op_linear(ops, l[0], l[1], l[2]);
    return sp_op_add(ops, sp_op_rms_norm(ops, y, l[3], 1e-5f), y);
}

static sp_tensor *chain_swiglu_views(sp_ops *ops, sp_tensor *const *l)
{
    sp_tensor *y = sp_op_linear(ops, l[0], l[1], NULL); /* (4, 6) */
    sp_tensor *gate = sp_op_columns(ops, y, 0, 3), *up = sp_op_columns(ops, y, 3, 3);
    sp_tensor *joined = sp_op_concat(ops, sp_op_swiglu(ops, gate, up), gate);
    return sp_op_reshape(ops, joined, 8, 3);
}

static sp_tensor *chain_rope_gather(sp_ops *ops, sp_tensor *const *l)
{
    static const double omega[2] = {1.0, 0.1};
    static const int32_t positions[3] = {3, 0, 11}, index[3] = {2, 0, 2};
    sp_rope rope = {4, omega, 1.0f, true};
    sp_tensor *y = sp_op_embed(ops, l[0], index, 3);
    return sp_op_rows(ops, sp_op_rope(ops, y, &rope, positions, 1), 1, 2);
}

/* sum of output * (1, 2, 3, ...) / 10 */
static double weigh(const sp_tensor *y)
{
    double sum = 0.0;
    for (int64_t r = 0, k = 1; r < sp_tensor_rows(y); r++)
        for (int64_t c = 0; c < sp_tensor_cols(y); c++, k++)
            sum += 0.1 * (double)k * ((const float *)sp_tensor_row(y, r))[c];
    return sum;
}

static void check_gradients(bench *b, chain_fn chain, sp_tensor **leaves, int n_leaves)
{
    sp_tape tape = {0};
    b->ops.tape = &tape;
    for (int i = 0; i < n_leaves; i++) sp_tape_leaf(&b->ops, leaves[i]);
    sp_tensor *y = chain(&b->ops, leaves);
    int64_t n = sp_tensor_rows(y) * sp_tensor_cols(y);
    float *seed = calloc((size_t)n, sizeof *seed);
    for (int64_t k = 0; k < n; k++) seed[k] = 0.1f * (float)(k + 1);
    sp_tape_backward(&b->ops, y, seed);
    assert_int_equal(b->ops.status, SP_OK);
    b->ops.tape = NULL;
    for (int i = 0; i < n_leaves; i++) {
        float *x = leaves[i]->data, *dx = leaves[i]->node->grad;
        assert_non_null(dx);
        for (int64_t j = 0; j < sp_tensor_rows(leaves[i]) * sp_tensor_cols(leaves[i]); j++) {
            float kept = x[j], step = 1e-2f;
            x[j] = kept + step;
            double up = weigh(chain(&b->ops, leaves));
            x[j] = kept - step;
            double down = weigh(chain(&b->ops, leaves));
            x[j] = kept;
            double numeric = (up - down) / (2.0 * step);
            assert_true(fabs(numeric - dx[j]) <= 1e-2 * (fabs(numeric) + 1.0));
        }
    }
    free(seed);
}

static void recorded_ops_have_the_gradients_of_finite_differences(void **state)
{
    bench *b = *state;
    sp_ops *ops = &b->ops;
    sp_tensor *bias = fill(ops, 1, 6, 13), *norm = fill(ops, 1, 6, 14);
    check_gradients(b, chain_linear_norm,
                    (sp_tensor *[]){fill(ops, 4, 5, 11), fill(ops, 6, 5, 12), bias, norm}, 4);
    check_gradients(b, chain_swiglu_views, (sp_tensor *[]){fill(ops, 4, 5, 15), fill(ops, 6, 5, 16)}, 2);
    check_gradients(b, chain_rope_gather, (sp_tensor *[]){fill(ops, 3, 4, 17)}, 1);
}

static void failure_is_sticky_and_nothing_crashes(void **state)
{
    bench *b = *state;
    sp_tensor *x = fill(&b->ops, 2, 8, 31), *w = fill(&b->ops, 4, 8, 32);
    sp_mem_fail_after(0);
    sp_tensor *big = sp_ops_new(&b->ops, 4096, 4096);
    sp_mem_fail_after(-1);
    assert_null(big);
    assert_int_equal(b->ops.status, SP_E_NOMEM);
    assert_null(sp_op_add(&b->ops, sp_op_linear(&b->ops, big, w, NULL), x));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(v3_choice_uses_bias_for_the_choice_and_scores_for_the_weights, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(v2_choice_ranks_groups_by_their_largest_score, setup, teardown),
        cmocka_unit_test_setup_teardown(ties_go_to_the_lowest_index_and_nan_stays_in_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(rope_frequencies_match_published_values, setup, teardown),
        cmocka_unit_test_setup_teardown(attention_equals_a_plain_softmax, setup, teardown),
        cmocka_unit_test_setup_teardown(recorded_ops_have_the_gradients_of_finite_differences, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(failure_is_sticky_and_nothing_crashes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
