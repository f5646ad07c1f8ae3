/* SPDX-License-Identifier: MIT */
/* Muon (Jordan 2024): the momentum matrix of a gradient is replaced by a nearly orthogonal one. Five steps of
 *   X <- a X + (b A + c A^2) X,  A = X X^T,  from X = U / |U|
 * push every singular value towards 1 (into about 0.7 .. 1.2); tall matrices run on the other side, A = X^T X and
 * X <- a X + X (b A + c A^2), so that the smaller side is squared. A and A^2 are symmetric: products fill strips from the
 * diagonal to the right, and the rest is mirrored. Matrices are taken in batches: each stage of a step runs over the
 * whole batch. Start at sp_muon_update(). */
#include "train/muon.h"

#include <math.h>

#include "ops/ops_parts.h"

/* Jordan's coefficients: the steepest at 0 among quintics that keep singular values near 1. */
#define NS_A 3.4445f
#define NS_B (-4.7750f)
#define NS_C 2.0315f
#define NS_STEPS 5
/* A momentum below this norm (an expert that nobody chooses) fades instead of being blown up. */
#define MIN_NORM 1e-7
/* 0.2 is the root mean square of AdamW's updates in practice (Liu et al. 2025, 2.2). */
#define RMS_OF_UPDATE 0.2
#define STRIP 64  /* rows of a symmetric product that are computed together */
#define MIRROR 16 /* side of the blocks in which a matrix is mirrored: four cache lines wide */
#define MAX_BATCH 256
#define BATCH_FLOATS ((int64_t)1 << 22) /* scratch of a batch, unless one matrix needs more */

/* One matrix at work. Scratch: x, y (rows, cols); a, b (s, s), s the smaller side. */
typedef struct matrix {
    int64_t rows, cols, s;
    float *value, *momentum;
    const float *grad;
    float *x, *y, *a, *b;
} matrix;

typedef struct batch {
    const sp_muon *muon;
    matrix matrices[MAX_BATCH];
    int64_t n;
    sp_product *products; /* room for every strip */
} batch;

bool sp_muon_takes(const sp_parameter *p)
{
    return p->kind == SP_PARAMETER_MATRIX || p->kind == SP_PARAMETER_EXPERT;
}

static int64_t smaller_side(const sp_parameter *p)
{
    return p->rows < p->cols ? p->rows : p->cols;
}

static int64_t scratch_of(const sp_parameter *p)
{
    return 2 * (sp_parameter_count(p) + smaller_side(p) * smaller_side(p));
}

static int64_t strips_of(int64_t s)
{
    return (s + STRIP - 1) / STRIP;
}

/* --- stages, one matrix per item -------------------------------------------------------------------------- */

/* The fixed sixteen partial sums let the compiler use vectors and keep one order. */
static double square_of(const float *x, int64_t n)
{
    double lanes[16] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++) lanes[j] += (double)x[i + j] * (double)x[i + j];
    for (; i < n; i++) sum += (double)x[i] * (double)x[i];
    for (int j = 0; j < 16; j++) sum += lanes[j];
    return sum;
}

/* Momentum is the running mean m <- beta m + (1 - beta) g; Nesterov looks one step ahead, u = (1 - beta) g + beta m. */
static void begin_matrices(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const batch *job = ctx;
    float beta = (float)job->muon->beta, rest = (float)((1.0 - job->muon->beta) * job->muon->grad_scale);
    for (size_t i = begin; i < end; i++) {
        const matrix *t = &job->matrices[i];
        int64_t n = t->rows * t->cols;
        float *restrict m = t->momentum, *restrict x = t->x;
        const float *restrict g = t->grad;
        for (int64_t j = 0; j < n; j++) {
            m[j] = beta * m[j] + rest * g[j];
            x[j] = rest * g[j] + beta * m[j];
        }
        double norm = sqrt(square_of(x, n));
        float scale = (float)(1.0 / (norm > MIN_NORM ? norm : MIN_NORM));
        for (int64_t j = 0; j < n; j++) x[j] *= scale;
    }
}

/* Copy what lies right of the diagonal to its left, a block at a time. */
static void mirror(float *a, int64_t s)
{
    for (int64_t i0 = 0; i0 < s; i0 += MIRROR) {
        int64_t i1 = i0 + MIRROR < s ? i0 + MIRROR : s;
        for (int64_t j0 = i0; j0 < s; j0 += MIRROR) {
            int64_t j1 = j0 + MIRROR < s ? j0 + MIRROR : s;
            for (int64_t j = j0; j < j1; j++)
                for (int64_t i = i0; i < i1 && i < j; i++) a[j * s + i] = a[i * s + j];
        }
    }
}

static void mirror_matrices(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const batch *job = ctx;
    for (size_t i = begin; i < end; i++) mirror(job->matrices[i].a, job->matrices[i].s);
}

/* b holds A^2: b <- NS_B A + NS_C A^2, and y <- NS_A X awaits its product. */
static void mix_matrices(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const batch *job = ctx;
    for (size_t i = begin; i < end; i++) {
        const matrix *t = &job->matrices[i];
        float *restrict b = t->b, *restrict y = t->y;
        const float *restrict a = t->a, *restrict x = t->x;
        mirror(b, t->s);
        for (int64_t j = 0; j < t->s * t->s; j++) b[j] = NS_B * a[j] + NS_C * b[j];
        for (int64_t j = 0; j < t->rows * t->cols; j++) y[j] = NS_A * x[j];
    }
}

static void apply_matrices(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const batch *job = ctx;
    const sp_muon *muon = job->muon;
    for (size_t i = begin; i < end; i++) {
        const matrix *t = &job->matrices[i];
        int64_t longer = t->rows > t->cols ? t->rows : t->cols;
        float keep = (float)(1.0 - muon->lr * muon->weight_decay);
        float step = (float)(muon->lr * RMS_OF_UPDATE * sqrt((double)longer));
        float *restrict w = t->value;
        const float *restrict x = t->x;
        for (int64_t j = 0; j < t->rows * t->cols; j++) w[j] = keep * w[j] - step * x[j];
    }
}

/* --- products ---------------------------------------------------------------------------------------------- */

/* a = the smaller Gram matrix of x: rows from `i` on, columns from the diagonal on. */
static sp_product gram_strip(const matrix *t, int64_t i)
{
    int64_t m = t->s - i < STRIP ? t->s - i : STRIP, n = t->s - i, c = t->cols;
    float *to = t->a + i * t->s + i;
    if (t->rows <= t->cols) {
        const float *x = t->x + i * c;
        return (sp_product){m, n, c, x, c, 1, x, 1, c, to, t->s};
    }
    return (sp_product){m, n, t->rows, t->x + i, 1, c, t->x + i, c, 1, to, t->s};
}

/* b = a a, the same part. */
static sp_product square_strip(const matrix *t, int64_t i)
{
    int64_t m = t->s - i < STRIP ? t->s - i : STRIP, s = t->s;
    return (sp_product){m, s - i, s, t->a + i * s, s, 1, t->a + i, s, 1, t->b + i * s + i, s};
}

/* y += b x, or x b. */
static sp_product turned(const matrix *t)
{
    if (t->rows <= t->cols)
        return (sp_product){t->s, t->cols, t->s, t->b, t->s, 1, t->x, t->cols, 1, t->y, t->cols};
    return (sp_product){t->rows, t->s, t->s, t->x, t->s, 1, t->b, t->s, 1, t->y, t->s};
}

static void multiply_strips(batch *job, sp_ops *ops, sp_product (*strip)(const matrix *t, int64_t i))
{
    int64_t n = 0;
    for (int64_t j = 0; j < job->n; j++)
        for (int64_t i = 0; i < job->matrices[j].s; i += STRIP)
            job->products[n++] = strip(&job->matrices[j], i);
    sp_products_run(ops, job->products, n, SP_PRODUCTS_SET);
}

static void turn_matrices(batch *job, sp_ops *ops)
{
    for (int64_t i = 0; i < job->n; i++) job->products[i] = turned(&job->matrices[i]);
    sp_products_run(ops, job->products, job->n, SP_PRODUCTS_ADD);
    for (int64_t i = 0; i < job->n; i++) {
        matrix *t = &job->matrices[i];
        float *x = t->x;
        t->x = t->y;
        t->y = x;
    }
}

static void run_batch(batch *job, sp_ops *ops)
{
    size_t n = (size_t)job->n;
    sp_pool_run(ops->pool, n, 1, begin_matrices, job);
    for (int i = 0; i < NS_STEPS; i++) {
        multiply_strips(job, ops, gram_strip);
        sp_pool_run(ops->pool, n, 1, mirror_matrices, job);
        multiply_strips(job, ops, square_strip);
        sp_pool_run(ops->pool, n, 1, mix_matrices, job);
        turn_matrices(job, ops);
    }
    sp_pool_run(ops->pool, n, 1, apply_matrices, job);
}

/* --- batches ----------------------------------------------------------------------------------------------- */

static bool is_due(const sp_parameter *p)
{
    return sp_muon_takes(p) && sp_parameter_is_local(p);
}

/* The next batch of matrices from item `at` on ends before the returned item; what scratch it needs. */
static size_t next_batch(const sp_parameters *parameters, size_t at, size_t end, int64_t *n_floats,
                         int64_t *n_strips)
{
    int64_t n = 0;
    *n_floats = *n_strips = 0;
    for (; at < end; at++) {
        const sp_parameter *p = &parameters->items[at];
        if (!is_due(p)) continue;
        if (n == MAX_BATCH || (n > 0 && *n_floats + scratch_of(p) > BATCH_FLOATS)) break;
        *n_floats += scratch_of(p);
        *n_strips += strips_of(smaller_side(p));
        n++;
    }
    return at;
}

static void fill_batch(batch *job, const sp_parameters *parameters, const float *grads, size_t first,
                       size_t end, float *scratch)
{
    job->n = 0;
    for (size_t i = first; i < end; i++) {
        const sp_parameter *p = &parameters->items[i];
        if (!is_due(p)) continue;
        int64_t n = sp_parameter_count(p), s = smaller_side(p);
        job->matrices[job->n++] = (matrix){.rows = p->rows,
                                           .cols = p->cols,
                                           .s = s,
                                           .value = parameters->values + p->begin,
                                           .momentum = job->muon->momentum + p->begin,
                                           .grad = grads + p->begin,
                                           .x = scratch,
                                           .y = scratch + n,
                                           .a = scratch + 2 * n,
                                           .b = scratch + 2 * n + s * s};
        scratch += scratch_of(p);
    }
}

sp_status sp_muon_update(const sp_muon *muon, sp_parameters *parameters, const float *grads, size_t first,
                         size_t end, sp_ops *ops, sp_error *err)
{
    int64_t most_floats = 0, most_strips = 0, n_floats, n_strips;
    for (size_t at = first; at < end;) {
        at = next_batch(parameters, at, end, &n_floats, &n_strips);
        if (n_floats > most_floats) most_floats = n_floats;
        if (n_strips > most_strips) most_strips = n_strips;
    }
    if (most_floats == 0) return SP_OK;
    sp_arena_mark mark = sp_arena_save(ops->arena);
    size_t n_bytes = (size_t)most_floats * sizeof(float);
    batch *job = sp_arena_alloc(ops->arena, sizeof *job);
    sp_product *products = sp_arena_alloc(ops->arena, (size_t)most_strips * sizeof *products);
    float *scratch = sp_arena_alloc(ops->arena, n_bytes);
    sp_status status = SP_OK;
    if (!job || !products || !scratch) {
        status = sp_fail_nomem(err, "scratch of the optimizer", n_bytes);
        goto done;
    }
    job->products = products;
    job->muon = muon;
    for (size_t at = first, stop; at < end; at = stop) {
        stop = next_batch(parameters, at, end, &n_floats, &n_strips);
        fill_batch(job, parameters, grads, at, stop, scratch);
        if (job->n > 0) run_batch(job, ops);
    }
    if (ops->status != SP_OK) status = sp_fail(err, ops->status, "optimizer: a matrix product failed");
done:
    sp_arena_restore(ops->arena, mark);
    return status;
}
