/* SPDX-License-Identifier: MIT */
/* One pass of the network over some rows of the loader: made into a batch without padding, forward, losses, and backward into
 * gradients that several passes add up. What is minimised, summed over the passes of a step:
 *   loss_scale x sum of token losses + mtp_scale x sum of the prediction layer's token losses
 *   + balance_factor x sum over sequences and expert layers of the balance loss. */
#ifndef SP_TRAIN_PASS_H
#define SP_TRAIN_PASS_H

#include "train/loader.h"
#include "model/parameters.h"

/* Rows as the network reads them. Padding is left out; with document attention each document is a stretch of its own and
 * begins at position 0, else each row is one. */
typedef struct sp_passage {
    int64_t n_tokens;
    int32_t *tokens;  /* (n_tokens) t_i */
    int32_t *next;    /* t_(i+1), for the prediction layer's input; any token where there is none */
    int32_t *targets; /* t_(i+1) where it is learnt, else -1 */
    int32_t *seconds; /* t_(i+2) where it is learnt and belongs to the same stretch, else -1 */
    int32_t *positions;
    sp_stretch *stretches;
    int n_stretches;
    int64_t *begins; /* (n_rows + 1) tokens of each row of the loader that has any */
    int n_sequences;
    int64_t n_targets, n_seconds; /* how many are learnt */
    double n_pairs;               /* query-key pairs of one head: sum of n (n + 1) / 2 over stretches */
} sp_passage;

/* Fetch rows [first, first + n) of the run. SP_E_NOMEM. */
sp_status sp_passage_load(sp_passage *passage, const sp_loader *loader, const sp_loader_options *shape,
                          uint64_t first, uint32_t n, bool document_attention, sp_error *err);

/* One token that is not learnt. */
sp_status sp_passage_idle(sp_passage *passage, sp_error *err);
void sp_passage_clear(sp_passage *passage);

typedef struct sp_pass_options {
    double loss_scale, mtp_scale, balance_factor;
    bool recompute, bf16_activations, fp8;
} sp_pass_options;

/* Sums over a pass; add() of several passes is plain addition. */
typedef struct sp_pass_sums {
    double loss, mtp_loss; /* sums of token losses */
    double balance;        /* sum over sequences and expert layers of the balance loss, unscaled */
    double n_targets, n_seconds, n_sequences, n_tokens;
    double mtp_hits; /* seconds that the prediction layer's best guess meets; validation only */
} sp_pass_sums;

/* Forward and backward. grads (n_floats) is added to; counts ((layers + prediction layers), E) of expert choices is added to;
 * both may be NULL together: forward only, with mtp_hits. The arena of `ops` is reset. SP_E_NOMEM, SP_E_UNSUPPORTED. */
sp_status sp_pass_run(sp_ops *ops, sp_parameters *parameters, const sp_passage *passage,
                      const sp_pass_options *options, float *grads, int64_t *counts, sp_pass_sums *sums,
                      sp_error *err);

/* Floating-point operations of forward and backward for one token without attention's pairs, and for one pair. */
void sp_pass_flops(const sp_hparams *hp, double *per_token, double *per_pair);

/* The rate of this build's matrix product, n x n x n on the threads of `ops`, best of some runs, operations per second; space
 * holds 3 n n floats. */
double sp_pass_measure_peak(sp_ops *ops, int64_t n, float *space);

#endif
