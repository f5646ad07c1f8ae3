/* SPDX-License-Identifier: MIT */
/* AdamW, and the split between it and Muon (muon.c). Parameters are cut into pieces of fixed length, which the threads
 * share; an element's update needs its own moments alone, and a sum of squares adds pieces in order, so that the bits
 * depend on neither the threads nor the range that is updated. Start at sp_optimizer_update(). */
#include "train/optimizer.h"

#include <math.h>
#include <string.h>

#include "train/muon.h"

#define PIECE 16384    /* elements: 256 KiB of traffic, in the second cache */
#define MAX_PIECES 256 /* of one job, on the stack */

typedef struct piece {
    int64_t begin, n;
    float step, keep; /* of AdamW (kernels.h) */
    double sum;       /* of squares */
} piece;

typedef struct job {
    piece pieces[MAX_PIECES];
    size_t n;
    float *w, *m, *v;
    uint16_t *m16, *v16; /* instead of m and v where they are bfloat16 */
    const float *g;
    const sp_kernels *kernels;
    sp_adamw adamw; /* but for step and keep */
} job;

sp_status sp_optimizer_create(sp_optimizer **optimizer, const sp_parameters *parameters,
                              const sp_optimizer_options *options, sp_error *err)
{
    size_t n = (size_t)parameters->n_floats, width = options->bf16_moments ? sizeof(uint16_t) : sizeof(float);
    sp_optimizer *o = sp_calloc(1, sizeof *o);
    *optimizer = NULL;
    if (!o) return sp_fail_nomem(err, "optimizer", sizeof *o);
    o->options = *options;
    void *m = sp_calloc(n, width), *v = sp_calloc(n, width);
    if (options->bf16_moments) {
        o->m16 = m;
        o->v16 = v;
    } else {
        o->m = m;
        o->v = v;
    }
    if (!m || !v) {
        sp_optimizer_destroy(o);
        return sp_fail_nomem(err, "moments of the optimizer", 2 * n * width);
    }
    *optimizer = o;
    return SP_OK;
}

void sp_optimizer_destroy(sp_optimizer *optimizer)
{
    if (!optimizer) return;
    sp_free(optimizer->m);
    sp_free(optimizer->v);
    sp_free(optimizer->m16);
    sp_free(optimizer->v16);
    sp_free(optimizer);
}

/* --- moments in bfloat16 ----------------------------------------------------------------------------------- */

void sp_optimizer_get_moments(const sp_optimizer *o, bool second, int64_t begin, int64_t n, float *out)
{
    if (o->options.bf16_moments)
        sp_kernels_get()->unpack[SP_DTYPE_BF16]((size_t)n, (second ? o->v16 : o->m16) + begin, out);
    else
        memcpy(out, (second ? o->v : o->m) + begin, (size_t)n * sizeof *out);
}

void sp_optimizer_set_moments(sp_optimizer *o, bool second, int64_t begin, int64_t n, const float *values)
{
    if (o->options.bf16_moments)
        sp_kernels_get()->store[SP_DTYPE_BF16]((size_t)n, values, (second ? o->v16 : o->m16) + begin);
    else
        memcpy((second ? o->v : o->m) + begin, values, (size_t)n * sizeof *values);
}

/* --- sums of squares --------------------------------------------------------------------------------------- */

static void square_pieces(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    job *j = ctx;
    for (size_t p = begin; p < end; p++) {
        const float *x = j->g + j->pieces[p].begin;
        int64_t n = j->pieces[p].n, i = 0;
        double lanes[16] = {0}, sum = 0;
        for (; i + 16 <= n; i += 16)
            for (int l = 0; l < 16; l++) lanes[l] += (double)x[i + l] * (double)x[i + l];
        for (; i < n; i++) sum += (double)x[i] * (double)x[i];
        for (int l = 0; l < 16; l++) sum += lanes[l];
        j->pieces[p].sum = sum;
    }
}

/* Cut what is left of a parameter, *done elements in, into the free pieces of j. */
static void cut_pieces(job *j, const sp_parameter *p, int64_t *done)
{
    int64_t count = sp_parameter_count(p);
    for (; *done < count && j->n < MAX_PIECES; *done += PIECE) {
        int64_t n = count - *done < PIECE ? count - *done : PIECE;
        j->pieces[j->n++] = (piece){.begin = p->begin + *done, .n = n};
    }
}

double sp_gradient_square(const sp_parameters *parameters, const float *grads, size_t first, size_t end,
                          sp_pool *pool)
{
    job j = {.g = grads};
    double total = 0;
    for (size_t i = first; i < end; i++) {
        const sp_parameter *p = &parameters->items[i];
        if (!sp_parameter_is_local(p) || p->kind == SP_PARAMETER_BALANCE) continue;
        double sum = 0;
        for (int64_t done = 0; done < sp_parameter_count(p); j.n = 0) {
            cut_pieces(&j, p, &done);
            sp_pool_run(pool, j.n, 1, square_pieces, &j);
            for (size_t k = 0; k < j.n; k++) sum += j.pieces[k].sum;
        }
        total += sum;
    }
    return total;
}

/* --- AdamW ------------------------------------------------------------------------------------------------- */

/* Elements that are float32 at a time, in the first cache. */
#define WIDE 512

static void adamw_bf16(const job *j, const sp_adamw *adamw, int64_t begin, int64_t n)
{
    const sp_kernels *k = j->kernels;
    float m[WIDE], v[WIDE];
    for (int64_t at = begin; at < begin + n; at += WIDE) {
        size_t here = (size_t)(begin + n - at < WIDE ? begin + n - at : WIDE);
        k->unpack[SP_DTYPE_BF16](here, j->m16 + at, m);
        k->unpack[SP_DTYPE_BF16](here, j->v16 + at, v);
        k->adamw(here, adamw, j->g + at, j->w + at, m, v);
        k->store[SP_DTYPE_BF16](here, m, j->m16 + at);
        k->store[SP_DTYPE_BF16](here, v, j->v16 + at);
    }
}

static void adamw_pieces(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = ctx;
    sp_adamw adamw = j->adamw;
    for (size_t i = begin; i < end; i++) {
        const piece *p = &j->pieces[i];
        adamw.step = p->step;
        adamw.keep = p->keep;
        if (j->m16)
            adamw_bf16(j, &adamw, p->begin, p->n);
        else
            j->kernels->adamw((size_t)p->n, &adamw, j->g + p->begin, j->w + p->begin, j->m + p->begin,
                              j->v + p->begin);
    }
}

static void run_pieces(job *j, sp_pool *pool)
{
    sp_pool_run(pool, j->n, 1, adamw_pieces, j);
    j->n = 0;
}

static void update_adamw(const sp_optimizer *o, sp_parameters *parameters, const float *grads,
                         const sp_update *update, sp_ops *ops)
{
    const sp_optimizer_options *options = &o->options;
    double t = (double)update->step;
    double unbias1 = 1.0 / (1.0 - pow(options->beta1, t));
    job j = {.w = parameters->values,
             .m = o->m,
             .v = o->v,
             .m16 = o->m16,
             .v16 = o->v16,
             .g = grads,
             .kernels = ops->kernels,
             .adamw = {.grad_scale = (float)update->grad_scale,
                       .beta1 = (float)options->beta1,
                       .rest1 = (float)(1.0 - options->beta1),
                       .beta2 = (float)options->beta2,
                       .rest2 = (float)(1.0 - options->beta2),
                       .unbias = (float)(1.0 / sqrt(1.0 - pow(options->beta2, t))),
                       .eps = (float)options->eps}};
    for (size_t i = update->first; i < update->end; i++) {
        const sp_parameter *p = &parameters->items[i];
        if (!sp_parameter_is_local(p) || p->kind == SP_PARAMETER_BALANCE) continue;
        if (options->kind == SP_OPTIMIZER_MUON && sp_muon_takes(p)) continue;
        bool outer = p->kind == SP_PARAMETER_EMBED || p->kind == SP_PARAMETER_HEAD;
        double lr = outer ? update->lr * options->embed_lr_factor : update->lr;
        double decay = sp_parameter_is_vector(p) ? 0.0 : options->weight_decay;
        for (int64_t done = 0; done < sp_parameter_count(p);) {
            size_t from = j.n;
            cut_pieces(&j, p, &done);
            for (size_t k = from; k < j.n; k++) {
                j.pieces[k].step = (float)(lr * unbias1);
                j.pieces[k].keep = (float)(1.0 - lr * decay);
            }
            if (j.n == MAX_PIECES) run_pieces(&j, ops->pool);
        }
    }
    run_pieces(&j, ops->pool);
}

sp_status sp_optimizer_update(sp_optimizer *optimizer, sp_parameters *parameters, const float *grads,
                              const sp_update *update, sp_ops *ops, sp_error *err)
{
    const sp_optimizer_options *options = &optimizer->options;
    if (options->kind == SP_OPTIMIZER_MUON) {
        sp_muon muon = {optimizer->m, options->momentum, update->lr, options->weight_decay,
                        update->grad_scale};
        SP_TRY(sp_muon_update(&muon, parameters, grads, update->first, update->end, ops, err));
    }
    update_adamw(optimizer, parameters, grads, update, ops);
    return SP_OK;
}
