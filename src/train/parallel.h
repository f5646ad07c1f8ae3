/* SPDX-License-Identifier: MIT */
/* How the processes of a run share its work.
 *   Rows of a step are divided (data parallel).
 *   Each process keeps the moments of, and updates, its own part of the parameters (ZeRO stage 1; Rajbhandari et al. 2020).
 *     Everybody's moments are laid out for all parameters, but memory that nobody writes is never made real.
 *   Experts may live apart (expert parallel): `expert_ranks` consecutive processes form a group that holds every expert once;
 *     the other groups are its replicas. Gradients of an expert are added up over the replicas of its owner, all others over
 *     all processes.
 * With one process everything here is the identity. Every function but the first two and the last is collective. */
#ifndef SP_TRAIN_PARALLEL_H
#define SP_TRAIN_PARALLEL_H

#include "base/comm.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/optimizer.h"

typedef struct sp_parallel sp_parallel;

/* The experts of this process. */
sp_expert_range sp_parallel_experts(const sp_comm *comm, const sp_train_config *config);

/* run.threads, or for 0 the processors of this machine shared out among its processes. */
int sp_parallel_threads(const sp_comm *comm, const sp_train_config *config);

/* Everything handed in must outlive it; parameters->net then sends rows to experts elsewhere. SP_E_ARGUMENT: processes that
 * run.expert_ranks does not divide. */
sp_status sp_parallel_create(sp_parallel **parallel, sp_comm *comm, const sp_train_config *config,
                             sp_parameters *parameters, sp_optimizer *optimizer, sp_pool *pool,
                             sp_error *err);
void sp_parallel_destroy(sp_parallel *parallel); /* accepts NULL */

/* How many passes of `micro_rows` rows each process must run, with or without rows of its own, when n_rows are divided among
 * all: where experts live apart, processes meet within passes. 0 where they do not. */
int64_t sp_parallel_passes(const sp_parallel *parallel, int64_t n_rows, int64_t micro_rows);

/* Sum the processes' gradients where their owner needs them; *square is the whole gradient's square. */
sp_status sp_parallel_reduce(sp_parallel *parallel, float *grads, double *square, sp_error *err);

/* Every process updates the items that it owns (first and end are set here), then everybody gets the new values. SP_E_RANGE: a
 * token's experts were on more nodes than the model's groups allow. */
sp_status sp_parallel_update(sp_parallel *parallel, const float *grads, sp_update update, sp_ops *ops,
                             sp_error *err);

/* Sums over processes. */
sp_status sp_parallel_sum_counts(sp_parallel *parallel, int64_t *counts, int64_t n, sp_error *err);

/* The first rank's status and error for everybody, so that nobody waits for a rank that failed. */
sp_status sp_parallel_agree(sp_parallel *parallel, sp_status status, sp_error *err);

/* The first rank gathers everything and writes sp_checkpoint_save's folder; everybody gets its status. */
sp_status sp_parallel_save(sp_parallel *parallel, const sp_train_state *state, sp_error *err);

/* The first rank reads the checkpoint `path` (NULL in others), which sp_checkpoint_newest() has just found whole and any number
 * of processes may have written, and gives everybody the state and the values, owners their moments. */
sp_status sp_parallel_load(sp_parallel *parallel, const char *path, sp_train_state *state, sp_error *err);

/* Where this process's expert rows have gone so far, as a sentence; empty where experts do not live apart. */
void sp_parallel_describe(const sp_parallel *parallel, char *text, size_t cap);

/* For tests: the rank that owns item i. */
int sp_parallel_owner(const sp_parallel *parallel, size_t i);

#endif
