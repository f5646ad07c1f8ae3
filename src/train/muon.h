/* SPDX-License-Identifier: MIT */
/* The Muon half of the optimizer: hidden matrices, many at a time, so that small experts fill the threads.
 * Called by optimizer.c alone. */
#ifndef SP_TRAIN_MUON_H
#define SP_TRAIN_MUON_H

#include "model/parameters.h"
#include "ops/ops.h"

typedef struct sp_muon {
    float *momentum; /* (n_floats) */
    double beta, lr, weight_decay, grad_scale;
} sp_muon;

/* MATRIX and EXPERT: what Muon updates. */
bool sp_muon_takes(const sp_parameter *p);

/* Update the local matrices among items [first, end). SP_E_NOMEM: no value has changed. */
sp_status sp_muon_update(const sp_muon *muon, sp_parameters *parameters, const float *grads, size_t first,
                         size_t end, sp_ops *ops, sp_error *err);

#endif
