/* SPDX-License-Identifier: MIT */
/* AdamW and Muon over a set of parameters, each process updating the parameters that it owns.
 *   AdamW (Loshchilov and Hutter 2019): m, v moments with bias correction; w -= lr (m^ / (sqrt(v^) + eps) + decay w).
 *   Muon (Jordan 2024; scaled as in Liu et al. 2025, arXiv:2502.16982): for hidden matrices (MATRIX and EXPERT) Nesterov
 *     momentum, then five quintic Newton-Schulz steps; w -= lr (0.2 sqrt(max(rows, cols)) O + decay w), so that one learning
 *     rate serves both; everything else is AdamW's.
 * AdamW's moments may be kept in bfloat16, as DeepSeek-V3 keeps them (report, 3.3.3): read exactly, rounded to nearest even after
 * each update, so that a second moment still moves while 1 - beta2 is well above half a unit in the last place, 1/512.
 * Decay applies to matrices of every kind, not to norms and biases. BALANCE parameters are left alone.
 * One answer: every element's update runs in an order that depends on shapes alone. */
#ifndef SP_TRAIN_OPTIMIZER_H
#define SP_TRAIN_OPTIMIZER_H

#include "model/parameters.h"
#include "ops/ops.h"

typedef enum sp_optimizer_kind { SP_OPTIMIZER_ADAMW, SP_OPTIMIZER_MUON } sp_optimizer_kind;

typedef struct sp_optimizer_options {
    sp_optimizer_kind kind;
    double beta1, beta2, eps; /* 0.9, 0.95, 1e-8 */
    double momentum;          /* Muon: 0.95 */
    double weight_decay;      /* 0.1 */
    double embed_lr_factor;   /* on the learning rate of EMBED and HEAD; 1 */
    bool bf16_moments;        /* AdamW alone, beta2 at most SP_BF16_MOMENTS_BETA2 */
} sp_optimizer_options;

#define SP_BF16_MOMENTS_BETA2 0.98

typedef struct sp_optimizer {
    sp_optimizer_options options;
    uint16_t *m16, *v16; /* the same two in bfloat16; then m and v are NULL */
    float *m;            /* (n_floats) first moment or Muon's momentum, laid out as parameters->values */
    float *v;            /* (n_floats) second moment; unused (zero) for Muon's matrices */
} sp_optimizer;

sp_status sp_optimizer_create(sp_optimizer **optimizer, const sp_parameters *parameters,
                              const sp_optimizer_options *options, sp_error *err);
void sp_optimizer_destroy(sp_optimizer *optimizer); /* accepts NULL */

/* Some moments as floats, and back; `second`: v, else m. What has been read comes back unchanged. */
void sp_optimizer_get_moments(const sp_optimizer *optimizer, bool second, int64_t begin, int64_t n,
                              float *out);
void sp_optimizer_set_moments(sp_optimizer *optimizer, bool second, int64_t begin, int64_t n,
                              const float *values);

/* Sum of squares of the gradients of items [first, end), in double, parameter by parameter. */
double sp_gradient_square(const sp_parameters *parameters, const float *grads, size_t first, size_t end,
                          sp_pool *pool);

typedef struct sp_update {
    int64_t step; /* from 1: of the bias correction */
    double lr;
    double grad_scale; /* on gradients (clipping) */
    size_t first, end; /* items to update */
} sp_update;

/* values -= update(grads). The arena of `ops` gives scratch memory (Muon), given back. Errors: SP_E_NOMEM. */
sp_status sp_optimizer_update(sp_optimizer *optimizer, sp_parameters *parameters, const float *grads,
                              const sp_update *update, sp_ops *ops, sp_error *err);

#endif
