/* SPDX-License-Identifier: MIT */
/* Backward passes of ops against central differences in float64 of references written here from the formulas.
 * Errors are relative, over all elements of a leaf's gradient (norm-wise); long shapes are checked along
 * directions. Gradients have the same bits for any number of threads. */
#include "test_util.h"

#include <math.h>

#include "base/rng.h"
#include "ops/ops.h"

#define MAX_LEAVES 12
#define LIMIT 1e-6      /* float32 rounds at 6e-8; sums here have some tens of terms */
#define LONG_LIMIT 1e-4 /* sums of 70,000 terms */

/* One op, or a chain: as recorded, and as a scalar-valued reference in double (the sum of outputs times
 * seeds). */
typedef struct op_case {
    const char *name;
    sp_tensor *(*record)(sp_ops *ops, sp_tensor **leaves);
    void (*reference)(double *const *leaves, double *out);
    int n_leaves;
    int64_t shapes[MAX_LEAVES][2];
} op_case;

static double seed_at(int64_t i)
{
    return sp_rng_uniform(5, 1, (uint64_t)i) - 0.4;
}

typedef struct run {
    sp_arena *arena;
    sp_pool *pool;
    sp_ops ops;
    sp_tape tape;
    sp_tensor *leaves[MAX_LEAVES];
    sp_tensor *y;
    float *values; /* of y, before the backward pass uses its memory again */
} run;

static void start_run(run *r, const op_case *c, int threads)
{
    sp_error err = SP_ERROR_NONE;
    *r = (run){.arena = sp_arena_create(1 << 20)};
    assert_ok(sp_pool_create(&r->pool, threads, &err), err);
    sp_ops_init(&r->ops, r->pool, r->arena);
    r->ops.tape = &r->tape;
    for (int i = 0; i < c->n_leaves; i++) {
        r->leaves[i] = sp_ops_new(&r->ops, c->shapes[i][0], c->shapes[i][1]);
        sp_rng_normal(11, (uint64_t)i, 0, r->leaves[i]->data, (size_t)(c->shapes[i][0] * c->shapes[i][1]));
        sp_tape_leaf(&r->ops, r->leaves[i]);
    }
    r->y = c->record(&r->ops, r->leaves);
    assert_int_equal(r->ops.status, SP_OK);
    int64_t n = sp_tensor_rows(r->y) * sp_tensor_cols(r->y);
    float *seed = sp_arena_alloc(r->arena, (size_t)n * sizeof *seed);
    r->values = sp_arena_alloc(r->arena, (size_t)n * sizeof *r->values);
    int64_t cols = sp_tensor_cols(r->y);
    for (int64_t i = 0; i < n; i++) r->values[i] = ((const float *)sp_tensor_row(r->y, i / cols))[i % cols];
    for (int64_t i = 0; i < n; i++) seed[i] = (float)seed_at(i);
    sp_tape_backward(&r->ops, r->y, seed);
    assert_int_equal(r->ops.status, SP_OK);
}

static void end_run(run *r)
{
    sp_pool_destroy(r->pool);
    sp_arena_destroy(r->arena);
}

static int64_t count_of(const op_case *c, int leaf)
{
    return c->shapes[leaf][0] * c->shapes[leaf][1];
}

static double weigh_reference(const op_case *c, double *const *leaves, double *out, int64_t n)
{
    double sum = 0.0;
    c->reference(leaves, out);
    for (int64_t i = 0; i < n; i++) sum += (float)seed_at(i) * out[i];
    return sum;
}

/* Every element of every leaf. */
static void check_elements(const op_case *c)
{
    run r;
    double *leaves[MAX_LEAVES], worst = 0.0;
    start_run(&r, c, 2);
    int64_t n = sp_tensor_rows(r.y) * sp_tensor_cols(r.y);
    double *out = calloc((size_t)n, sizeof *out);
    for (int l = 0; l < c->n_leaves; l++) {
        leaves[l] = malloc((size_t)count_of(c, l) * sizeof(double));
        for (int64_t i = 0; i < count_of(c, l); i++) leaves[l][i] = ((float *)r.leaves[l]->data)[i];
    }
    c->reference(leaves, out);
    for (int64_t i = 0; i < n; i++) {
        assert_true(fabs(r.values[i] - out[i]) <= 1e-5 * (1.0 + fabs(out[i])));
    }
    for (int l = 0; l < c->n_leaves; l++) {
        const float *grad = sp_tape_grad(&r.ops, r.leaves[l]);
        double difference = 0.0, norm = 0.0;
        for (int64_t i = 0; i < count_of(c, l); i++) {
            double kept = leaves[l][i], step = 1e-5;
            leaves[l][i] = kept + step;
            double up = weigh_reference(c, leaves, out, n);
            leaves[l][i] = kept - step;
            double numeric = (up - weigh_reference(c, leaves, out, n)) / (2.0 * step);
            leaves[l][i] = kept;
            difference += (grad[i] - numeric) * (grad[i] - numeric);
            norm += numeric * numeric;
        }
        if (norm > 1e-12) worst = fmax(worst, sqrt(difference / norm)); /* an expert may have no token */
        if (sqrt(difference) > LIMIT * sqrt(norm) + 1e-8)
            fail_msg("%s: leaf %d: relative error %.2e", c->name, l, sqrt(difference / norm));
    }
    printf("%-28s largest relative error %.1e\n", c->name, worst);
    for (int l = 0; l < c->n_leaves; l++) free(leaves[l]);
    free(out);
    end_run(&r);
}

/* Three random directions in the space of each leaf. */
static void check_directions(const op_case *c)
{
    run r;
    double *leaves[MAX_LEAVES], worst = 0.0;
    start_run(&r, c, 2);
    int64_t n = sp_tensor_rows(r.y) * sp_tensor_cols(r.y);
    double *out = calloc((size_t)n, sizeof *out);
    for (int l = 0; l < c->n_leaves; l++) {
        leaves[l] = malloc((size_t)count_of(c, l) * sizeof(double));
        for (int64_t i = 0; i < count_of(c, l); i++) leaves[l][i] = ((float *)r.leaves[l]->data)[i];
    }
    for (int l = 0; l < c->n_leaves; l++) {
        const float *grad = sp_tape_grad(&r.ops, r.leaves[l]), *x = r.leaves[l]->data;
        float *direction = malloc((size_t)count_of(c, l) * sizeof *direction);
        for (uint64_t d = 0; d < 3; d++) {
            double sides[2], dot = 0.0, norm = 0.0, step = 1e-5;
            sp_rng_normal(13, d, 0, direction, (size_t)count_of(c, l));
            for (int side = 0; side < 2; side++) {
                for (int64_t i = 0; i < count_of(c, l); i++)
                    leaves[l][i] = x[i] + (side ? -step : step) * direction[i];
                sides[side] = weigh_reference(c, leaves, out, n);
            }
            for (int64_t i = 0; i < count_of(c, l); i++) {
                leaves[l][i] = x[i];
                dot += (double)grad[i] * direction[i];
                norm += (double)grad[i] * grad[i];
            }
            double error = fabs(dot - (sides[0] - sides[1]) / (2.0 * step)) / sqrt(norm);
            worst = fmax(worst, error);
            if (error > LONG_LIMIT) fail_msg("%s: leaf %d: relative error %.2e", c->name, l, error);
        }
        free(direction);
    }
    printf("%-28s largest relative error %.1e along 3 directions\n", c->name, worst);
    for (int l = 0; l < c->n_leaves; l++) free(leaves[l]);
    free(out);
    end_run(&r);
}

static void check_threads(const op_case *c)
{
    run one, many;
    start_run(&one, c, 1);
    for (int threads = 2; threads <= 4; threads++) {
        start_run(&many, c, threads);
        for (int l = 0; l < c->n_leaves; l++)
            assert_memory_equal(sp_tape_grad(&one.ops, one.leaves[l]),
                                sp_tape_grad(&many.ops, many.leaves[l]),
                                (size_t)count_of(c, l) * sizeof(float));
        end_run(&many);
    }
    end_run(&one);
}

/* --- row-wise ops -----------------------------------------------------------------------------------------
 */

static sp_tensor *record_linear(sp_ops *ops, sp_tensor **l)
{
    return sp_op_linear(ops, l[0], l[1], l[2]);
}

static void reference_linear(double *const *l, double *y)
{
    for (int t = 0; t < 5; t++)
        for (int r = 0; r < 6; r++) {
            y[t * 6 + r] = l[2][r];
            for (int i = 0; i < 19; i++) y[t * 6 + r] += l[1][r * 19 + i] * l[0][t * 19 + i];
        }
}

static sp_tensor *record_norm(sp_ops *ops, sp_tensor **l)
{
    return sp_op_rms_norm(ops, l[0], l[1], 1e-3f);
}

static void reference_norm(double *const *l, double *y)
{
    for (int t = 0; t < 4; t++) {
        double sum = 0.0;
        for (int i = 0; i < 70; i++) sum += l[0][t * 70 + i] * l[0][t * 70 + i];
        for (int i = 0; i < 70; i++)
            y[t * 70 + i] = l[1][i] * l[0][t * 70 + i] / sqrt(sum / 70 + (double)1e-3f);
    }
}

/* 3 (silu(gate) up) + gate */
static sp_tensor *record_swiglu(sp_ops *ops, sp_tensor **l)
{
    return sp_op_add(ops, sp_op_scale(ops, sp_op_swiglu(ops, l[0], l[1]), 3.0f), l[0]);
}

static void reference_swiglu(double *const *l, double *y)
{
    for (int i = 0; i < 15; i++) y[i] = 3.0 * l[0][i] / (1.0 + exp(-l[0][i])) * l[1][i] + l[0][i];
}

/* Rows 2, 0, 2 of a table, rotated both ways, views of both joined. */
static const double omega[2] = {1.0, 0.1};
static const int32_t rope_positions[3] = {3, 0, 11}, picked[3] = {2, 0, 2};

static sp_tensor *record_rope(sp_ops *ops, sp_tensor **l)
{
    sp_rope pairs = {4, omega, 0.7f, true}, halves = {4, omega, 1.0f, false};
    sp_tensor *x = sp_op_embed(ops, l[0], picked, 3);
    sp_tensor *a = sp_op_rope(ops, x, &pairs, rope_positions, 1);
    sp_tensor *b = sp_op_rope(ops, sp_op_reshape(ops, x, 3, 5), &halves, rope_positions, 1);
    sp_tensor *joined = sp_op_concat(ops, sp_op_columns(ops, a, 1, 4), b); /* (3, 9) */
    return sp_op_rows(ops, joined, 1, 2);
}

static void reference_rope(double *const *l, double *y)
{
    for (int t = 1; t < 3; t++) {
        const double *x = l[0] + picked[t] * 5;
        double a[5], *b = y + (t - 1) * 9 + 4;
        a[4] = b[4] = x[4];
        for (int i = 0; i < 2; i++) {
            double c = cos(rope_positions[t] * omega[i]), s = sin(rope_positions[t] * omega[i]);
            a[2 * i] = (double)0.7f * (x[2 * i] * c - x[2 * i + 1] * s);
            a[2 * i + 1] = (double)0.7f * (x[2 * i] * s + x[2 * i + 1] * c);
            b[i] = x[i] * c - x[i + 2] * s;
            b[i + 2] = x[i] * s + x[i + 2] * c;
        }
        memcpy(y + (t - 1) * 9, a + 1, 4 * sizeof *a);
    }
}

/* --- products per head ------------------------------------------------------------------------------------
 */

enum { HT = 4, NH = 3, STRIDE = 5, FIRST = 1, HEAD_ROWS = 3, HEAD_COLS = 10 };

static sp_tensor *record_heads(sp_ops *ops, sp_tensor **l)
{
    return sp_op_linear_heads(ops, l[0], &(sp_head_rows){l[1], NH, STRIDE, FIRST, HEAD_ROWS});
}

static void reference_heads(double *const *l, double *y)
{
    for (int r = 0; r < HT * NH; r++)
        for (int i = 0; i < HEAD_ROWS; i++) {
            const double *w = l[1] + (r % NH * STRIDE + FIRST + i) * HEAD_COLS;
            y[r * HEAD_ROWS + i] = 0.0;
            for (int j = 0; j < HEAD_COLS; j++) y[r * HEAD_ROWS + i] += w[j] * l[0][r * HEAD_COLS + j];
        }
}

static sp_tensor *record_heads_t(sp_ops *ops, sp_tensor **l)
{
    sp_tensor *x = sp_op_columns(ops, l[0], 2, HEAD_ROWS); /* rows with a stride of their own */
    return sp_op_linear_heads_t(ops, x, &(sp_head_rows){l[1], NH, STRIDE, FIRST, HEAD_ROWS});
}

static void reference_heads_t(double *const *l, double *y)
{
    for (int r = 0; r < HT * NH; r++)
        for (int j = 0; j < HEAD_COLS; j++) {
            y[r * HEAD_COLS + j] = 0.0;
            for (int i = 0; i < HEAD_ROWS; i++)
                y[r * HEAD_COLS + j] +=
                    l[1][(r % NH * STRIDE + FIRST + i) * HEAD_COLS + j] * l[0][r * (HEAD_ROWS + 2) + 2 + i];
        }
}

/* --- attention --------------------------------------------------------------------------------------------
 */

typedef struct attention_shape {
    int n_heads, n_kv, k_dim, v_dim, v_stride; /* v_stride: of a row of values */
    double scale;
    int n_spans, lengths[3];
} attention_shape;

static void attend_plainly(const attention_shape *a, const double *q, const double *k, const double *v,
                           double *y)
{
    int row = 0, group = a->n_heads / a->n_kv;
    double *p = malloc(4096 * sizeof *p);
    for (int s = 0; s < a->n_spans; s++) {
        for (int t = row; t < row + a->lengths[s]; t++) {
            for (int h = 0; h < a->n_heads; h++) {
                double sum = 0.0, *out = y + (t * a->n_heads + h) * a->v_dim;
                memset(out, 0, (size_t)a->v_dim * sizeof *out);
                for (int j = row; j <= t; j++) {
                    double dot = 0.0;
                    for (int i = 0; i < a->k_dim; i++)
                        dot += q[(t * a->n_heads + h) * a->k_dim + i] *
                               k[(j * a->n_kv + h / group) * a->k_dim + i];
                    p[j - row] = exp(a->scale * dot);
                    sum += p[j - row];
                }
                for (int j = row; j <= t; j++)
                    for (int i = 0; i < a->v_dim; i++)
                        out[i] += p[j - row] / sum * v[j * a->v_stride + h / group * a->v_dim + i];
            }
        }
        row += a->lengths[s];
    }
    free(p);
}

static sp_tensor *attend_spans(sp_ops *ops, const attention_shape *a, sp_tensor *q, sp_tensor *k,
                               sp_tensor *v)
{
    sp_attend attend = {a->n_heads, a->n_kv, a->k_dim, a->v_dim, (float)a->scale};
    sp_span spans[3];
    int64_t row = 0;
    for (int s = 0; s < a->n_spans; s++) {
        const sp_tensor *keys = sp_op_rows(ops, k, row, a->lengths[s]);
        const sp_tensor *values = v == k ? keys : sp_op_rows(ops, v, row, a->lengths[s]);
        spans[s] = (sp_span){row, a->lengths[s], 0, keys, values};
        row += a->lengths[s];
    }
    return sp_op_attention(ops, q, &attend, spans, a->n_spans);
}

static const attention_shape grouped = {4, 2, 5, 3, 6, 0.5, 2, {3, 67}};

static sp_tensor *record_grouped(sp_ops *ops, sp_tensor **l)
{
    return attend_spans(ops, &grouped, l[0], l[1], l[2]);
}

static void reference_grouped(double *const *l, double *y)
{
    attend_plainly(&grouped, l[0], l[1], l[2], y);
}

/* Rows that need several blocks of the backward pass. */
static const attention_shape longer = {4, 2, 3, 2, 4, 0.5, 2, {30, 570}};

static sp_tensor *record_longer(sp_ops *ops, sp_tensor **l)
{
    return attend_spans(ops, &longer, l[0], l[1], l[2]);
}

static void reference_longer(double *const *l, double *y)
{
    attend_plainly(&longer, l[0], l[1], l[2], y);
}

/* Values are the first columns of the keys: the same tensor, or a recorded view of it. */
static const attention_shape latent = {3, 1, 6, 4, 6, 0.5, 3, {2, 7, 4}};

static sp_tensor *record_latent(sp_ops *ops, sp_tensor **l)
{
    return attend_spans(ops, &latent, l[0], l[1], l[1]);
}

static sp_tensor *record_latent_view(sp_ops *ops, sp_tensor **l)
{
    return attend_spans(ops, &latent, l[0], l[1], sp_op_columns(ops, l[1], 0, 4));
}

static void reference_latent(double *const *l, double *y)
{
    attend_plainly(&latent, l[0], l[1], l[1], y);
}

/* --- rows that several others share ---------------------------------------------------------------------------
 */

enum { SHARE = 3, SROWS = 4, SA = 5, SB = 9 };

/* Columns of a dense copy, beside rows of the second leaf that three rows share. */
static sp_tensor *record_shared(sp_ops *ops, sp_tensor **l)
{
    sp_tensor *a = sp_op_dense(ops, sp_op_columns(ops, l[0], 2, SA));
    return sp_op_concat(ops, sp_op_reshape(ops, a, SROWS * SHARE, SA), l[1]);
}

static void reference_shared(double *const *l, double *y)
{
    for (int t = 0; t < SROWS * SHARE; t++) {
        for (int i = 0; i < SA; i++) y[t * (SA + SB) + i] = l[0][t * (SA + 4) + 2 + i];
        for (int i = 0; i < SB; i++) y[t * (SA + SB) + SA + i] = l[1][t / SHARE * SB + i];
    }
}

/* --- experts ----------------------------------------------------------------------------------------------
 */

enum { ET = 6, E = 8, K = 3, EX = 10, EF = 4 };

static float bias_values[E] = {0, 0.3f, -0.2f, 0, 0.1f, 0, 0.4f, 0};
static sp_tensor router_bias = {.dtype = SP_DTYPE_F32,
                                .n_dims = 1,
                                .shape = {E, 1, 1, 1},
                                .row_bytes = sizeof bias_values,
                                .data = bias_values};

static const sp_route routes[3] = {
    {SP_ROUTE_SIGMOID, SP_ROUTE_GROUPS_TOP2, 4, 2, K, true, 2.5f, &router_bias},
    {SP_ROUTE_SOFTMAX, SP_ROUTE_GROUPS_NONE, 1, 1, K, false, 16.0f, NULL},
    {SP_ROUTE_SOFTMAX, SP_ROUTE_GROUPS_MAX, 4, 2, K, true, 1.0f, NULL},
};
static int32_t chosen[ET * K]; /* the last recorded choice, a constant of the derivative */

/* Leaves: router logits (T, E), x (T, EX), then E matrices (EF, EX). */
static sp_tensor *record_experts(sp_ops *ops, sp_tensor **l, const sp_route *route)
{
    sp_routing *routing = sp_op_route(ops, l[0], route);
    sp_tensor *w = sp_arena_alloc(ops->arena, E * sizeof *w);
    if (!routing || !w) return NULL;
    memcpy(chosen, routing->experts, sizeof chosen);
    sp_tensor *rows = sp_op_gather(ops, l[1], routing->tokens, ET * K);
    for (int e = 0; e < E; e++) w[e] = *l[2 + e]; /* shares the leaf's gradient */
    return sp_op_combine(ops, sp_op_linear_experts(ops, rows, w, routing), routing);
}

static void reference_experts(double *const *l, double *y, const sp_route *route)
{
    for (int t = 0; t < ET; t++) {
        double p[E], all = 0.0, sum = 0.0;
        for (int e = 0; e < E; e++) all += exp(l[0][t * E + e]);
        for (int e = 0; e < E; e++)
            p[e] = route->score == SP_ROUTE_SIGMOID ? 1.0 / (1.0 + exp(-l[0][t * E + e]))
                                                    : exp(l[0][t * E + e]) / all;
        for (int k = 0; k < K; k++) sum += p[chosen[t * K + k]];
        memset(y + t * EF, 0, EF * sizeof *y);
        for (int k = 0; k < K; k++) {
            int e = chosen[t * K + k];
            double weight = route->scale * p[e] / (route->normalise ? sum : 1.0);
            for (int r = 0; r < EF; r++)
                for (int i = 0; i < EX; i++)
                    y[t * EF + r] += weight * l[2 + e][r * EX + i] * l[1][t * EX + i];
        }
    }
}

#define EXPERT_CASE(i)                                                                                       \
    static sp_tensor *record_experts_##i(sp_ops *ops, sp_tensor **l)                                         \
    {                                                                                                        \
        return record_experts(ops, l, &routes[i]);                                                           \
    }                                                                                                        \
    static void reference_experts_##i(double *const *l, double *y)                                           \
    {                                                                                                        \
        reference_experts(l, y, &routes[i]);                                                                 \
    }
EXPERT_CASE(0)
EXPERT_CASE(1)
EXPERT_CASE(2)

/* --- losses -----------------------------------------------------------------------------------------------
 */

static const int32_t targets[5] = {1, -1, 6, 0, 3};

static sp_tensor *record_loss(sp_ops *ops, sp_tensor **l)
{
    return sp_op_scale(ops, sp_op_cross_entropy(ops, l[0], l[1], targets), 0.3f);
}

static double token_loss(const double *hidden, const double *head, int n, int vocab, int target)
{
    double sum = 0.0, hit = 0.0;
    for (int v = 0; v < vocab; v++) {
        double dot = 0.0;
        for (int i = 0; i < n; i++) dot += head[v * n + i] * hidden[i];
        sum += exp(dot);
        if (v == target) hit = dot;
    }
    return log(sum) - hit;
}

static void reference_loss(double *const *l, double *y)
{
    y[0] = 0.0;
    for (int t = 0; t < 5; t++)
        if (targets[t] >= 0) y[0] += (double)0.3f / 4 * token_loss(l[0] + t * 9, l[1], 9, 7, targets[t]);
}

/* A vocabulary so large that rows run in chunks. */
enum { WIDE_T = 130, WIDE_V = 70000 };

static sp_tensor *record_wide(sp_ops *ops, sp_tensor **l)
{
    int32_t *all = sp_arena_alloc(ops->arena, WIDE_T * sizeof *all);
    for (int t = 0; t < WIDE_T; t++) all[t] = t % 5 == 2 ? -1 : t * 531 % WIDE_V;
    return sp_op_token_loss(ops, l[0], l[1], all);
}

static void reference_wide(double *const *l, double *y)
{
    for (int t = 0; t < WIDE_T; t++)
        y[t] = t % 5 == 2 ? 0.0 : token_loss(l[0] + t * 3, l[1], 3, WIDE_V, t * 531 % WIDE_V);
}

static const int64_t balance_begins[3] = {0, 4, 11};

static sp_tensor *record_balance(sp_ops *ops, sp_tensor **l)
{
    sp_balance sigmoid = {.score = SP_ROUTE_SIGMOID, .top_k = 2, .n_sequences = 2, .begins = balance_begins},
               softmax = {.score = SP_ROUTE_SOFTMAX, .top_k = 3, .n_sequences = 2, .begins = balance_begins};
    return sp_op_concat(ops, sp_op_balance_loss(ops, l[0], &sigmoid),
                        sp_op_balance_loss(ops, l[0], &softmax));
}

static double balance_of(const double *z, bool sigmoid, int top_k)
{
    double loss = 0.0;
    for (int s = 0; s < 2; s++) {
        double f[6] = {0}, share[6] = {0}, n = (double)(balance_begins[s + 1] - balance_begins[s]);
        for (int64_t t = balance_begins[s]; t < balance_begins[s + 1]; t++) {
            double p[6], sum = 0.0;
            for (int e = 0; e < 6; e++)
                sum += p[e] = sigmoid ? 1 / (1 + exp(-z[t * 6 + e])) : exp(z[t * 6 + e]);
            for (int e = 0; e < 6; e++) {
                int better = 0;
                for (int o = 0; o < 6; o++) better += p[o] > p[e];
                f[e] += better < top_k ? 6.0 / (top_k * n) : 0.0;
                share[e] += p[e] / sum / n;
            }
        }
        for (int e = 0; e < 6; e++) loss += f[e] * share[e] / 2.0;
    }
    return loss;
}

static void reference_balance(double *const *l, double *y)
{
    y[0] = balance_of(l[0], true, 2);
    y[1] = balance_of(l[0], false, 3);
}

/* --- the cases --------------------------------------------------------------------------------------------
 */

#define EXPERT_SHAPES                                                                                        \
    {                                                                                                        \
        {ET, E}, {ET, EX}, {EF, EX}, {EF, EX}, {EF, EX}, {EF, EX}, {EF, EX}, {EF, EX}, {EF, EX},             \
        {                                                                                                    \
            EF, EX                                                                                           \
        }                                                                                                    \
    }

static const op_case cases[] = {
    {"linear", record_linear, reference_linear, 3, {{5, 19}, {6, 19}, {1, 6}}},
    {"rms norm", record_norm, reference_norm, 2, {{4, 70}, {1, 70}}},
    {"swiglu, scale, add", record_swiglu, reference_swiglu, 2, {{3, 5}, {3, 5}}},
    {"embed, rope, views, concat", record_rope, reference_rope, 1, {{4, 5}}},
    {"dense, shared rows", record_shared, reference_shared, 2, {{SROWS * SHARE, SA + 4}, {SROWS, SB}}},
    {"linear heads", record_heads, reference_heads, 2, {{HT * NH, HEAD_COLS}, {NH * STRIDE, HEAD_COLS}}},
    {"linear heads transposed",
     record_heads_t,
     reference_heads_t,
     2,
     {{HT * NH, HEAD_ROWS + 2}, {NH * STRIDE, HEAD_COLS}}},
    {"grouped attention", record_grouped, reference_grouped, 3, {{70, 20}, {70, 10}, {70, 6}}},
    {"latent attention", record_latent, reference_latent, 2, {{13, 18}, {13, 6}}},
    {"latent attention, view", record_latent_view, reference_latent, 2, {{13, 18}, {13, 6}}},
    {"experts, sigmoid, normalised", record_experts_0, reference_experts_0, 2 + E, EXPERT_SHAPES},
    {"experts, softmax", record_experts_1, reference_experts_1, 2 + E, EXPERT_SHAPES},
    {"experts, softmax, normalised", record_experts_2, reference_experts_2, 2 + E, EXPERT_SHAPES},
    {"cross entropy", record_loss, reference_loss, 2, {{5, 9}, {7, 9}}},
    {"balance loss", record_balance, reference_balance, 1, {{11, 6}}},
};

static const op_case long_cases[] = {
    {"long attention", record_longer, reference_longer, 3, {{600, 12}, {600, 6}, {600, 4}}},
    {"wide token loss", record_wide, reference_wide, 2, {{WIDE_T, 3}, {WIDE_V, 3}}},
};

static void ops_have_the_gradients_of_differences_in_float64(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check_elements(&cases[i]);
}

static void long_shapes_have_the_gradients_of_differences_along_directions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof long_cases / sizeof long_cases[0]; i++) check_directions(&long_cases[i]);
}

static void gradients_have_the_same_bits_for_any_number_of_threads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check_threads(&cases[i]);
    for (size_t i = 0; i < sizeof long_cases / sizeof long_cases[0]; i++) check_threads(&long_cases[i]);
}

/* --- the tape ---------------------------------------------------------------------------------------------
 */

/* Two passes, the gradient in the caller's memory: twice that of one. */
static void gradients_of_parameters_accumulate_over_passes(void **state)
{
    (void)state;
    float grad[6 * 19] = {0};
    run once;
    start_run(&once, &cases[0], 1);
    sp_arena *arena = sp_arena_create(1 << 16);
    sp_tensor w = *once.leaves[1], x = *once.leaves[0], b = *once.leaves[2];
    x.node = b.node = NULL; /* constants */
    float seed[30];
    for (int i = 0; i < 30; i++) seed[i] = (float)seed_at(i);
    for (int pass = 0; pass < 2; pass++) {
        sp_ops ops;
        sp_tape tape = {0};
        sp_ops_init(&ops, NULL, arena);
        ops.tape = &tape;
        sp_tape_parameter(&ops, &w, grad);
        sp_tensor *y = sp_op_linear(&ops, &x, &w, &b);
        sp_tape_backward(&ops, y, seed);
        assert_int_equal(ops.status, SP_OK);
        sp_arena_reset(arena);
    }
    const float *expected = sp_tape_grad(&once.ops, once.leaves[1]);
    for (int i = 0; i < 6 * 19; i++) assert_float_equal(grad[i], 2.0f * expected[i], 1e-5f);
    sp_arena_destroy(arena);
    end_run(&once);
}

/* The n-th allocation fails, for every n: a status, no crash. */
static void failed_allocations_leave_a_status(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const op_case *c = &cases[i];
        bool failed = true;
        for (int n = 0; failed && n < 64; n++) {
            sp_arena *arena = sp_arena_create(64); /* nearly every piece is an allocation of its own */
            sp_ops ops;
            sp_tape tape = {0};
            sp_tensor *leaves[MAX_LEAVES];
            float seed[1400] = {1.0f};
            sp_ops_init(&ops, NULL, arena);
            for (int l = 0; l < c->n_leaves; l++) {
                leaves[l] = sp_ops_new(&ops, c->shapes[l][0], c->shapes[l][1]);
                sp_rng_normal(11, (uint64_t)l, 0, leaves[l]->data, (size_t)count_of(c, l));
            }
            ops.tape = &tape;
            for (int l = 0; l < c->n_leaves; l++) sp_tape_leaf(&ops, leaves[l]);
            sp_mem_fail_after(n);
            sp_tensor *y = c->record(&ops, leaves);
            if (y) sp_tape_backward(&ops, y, seed);
            sp_mem_fail_after(-1);
            failed = !y || ops.status != SP_OK;
            assert_true(n > 0 || failed);
            if (failed && ops.status != SP_OK) assert_int_equal(ops.status, SP_E_NOMEM);
            sp_arena_destroy(arena);
        }
    }
}

static void quantised_weights_refuse_to_be_recorded(void **state)
{
    (void)state;
    run r;
    start_run(&r, &cases[0], 1);
    uint16_t half[6 * 19] = {0};
    sp_tensor w = {.dtype = SP_DTYPE_F16, .n_dims = 2, .shape = {6, 19, 1, 1}, .row_bytes = 38, .data = half};
    sp_op_linear(&r.ops, r.leaves[0], &w, NULL);
    assert_int_equal(r.ops.status, SP_E_UNSUPPORTED);
    end_run(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ops_have_the_gradients_of_differences_in_float64),
        cmocka_unit_test(long_shapes_have_the_gradients_of_differences_along_directions),
        cmocka_unit_test(gradients_have_the_same_bits_for_any_number_of_threads),
        cmocka_unit_test(gradients_of_parameters_accumulate_over_passes),
        cmocka_unit_test(failed_allocations_leave_a_status),
        cmocka_unit_test(quantised_weights_refuse_to_be_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
