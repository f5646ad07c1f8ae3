/* SPDX-License-Identifier: MIT */
/* How the processes of a run share its work: rows of a step are divided (data parallel), each process keeps the moments of, and
 * updates, its own part of the parameters (ZeRO stage 1; Rajbhandari et al. 2020), and experts may live on several processes
 * (expert parallel). With one process everything here is the identity. */
#ifndef SP_TRAIN_PARALLEL_H
#define SP_TRAIN_PARALLEL_H

#include "base/comm.h"
#include "train/config.h"
#include "train/optimizer.h"

typedef struct sp_parallel sp_parallel;

/* The experts of this process. */
sp_expert_range sp_parallel_experts(const sp_comm *comm, const sp_train_config *config);

/* Everything handed in must outlive it. SP_E_ARGUMENT: numbers of processes, experts and rows that do not divide. */
sp_status sp_parallel_create(sp_parallel **parallel, sp_comm *comm, const sp_train_config *config,
                             sp_parameters *parameters, sp_optimizer *optimizer, sp_pool *pool,
                             sp_error *err);
void sp_parallel_destroy(sp_parallel *parallel); /* accepts NULL */

/* Sum the processes' gradients where their owner needs them; *square is the whole gradient's square. */
sp_status sp_parallel_reduce(sp_parallel *parallel, float *grads, double *square, sp_error *err);

/* Items [first, end) that this process updates. */
void sp_parallel_range(const sp_parallel *parallel, size_t *first, size_t *end);

/* Everybody gets the updated values. */
sp_status sp_parallel_gather(sp_parallel *parallel, sp_error *err);

/* Sums over processes. */
sp_status sp_parallel_sum_counts(sp_parallel *parallel, int64_t *counts, int64_t n, sp_error *err);

/* Rank 0 gets all parameters and moments for a checkpoint (others NULL); give back with release. */
sp_status sp_parallel_collect(sp_parallel *parallel, sp_parameters **whole, sp_optimizer **moments,
                              sp_error *err);
void sp_parallel_release(sp_parallel *parallel, sp_parameters *whole, sp_optimizer *moments);

/* The first rank's status for everybody, so that nobody waits for a rank that failed. */
sp_status sp_parallel_agree(sp_parallel *parallel, sp_status status, sp_error *err);

#endif
