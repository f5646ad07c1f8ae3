/* SPDX-License-Identifier: MIT */
/* What parallel.c (owners, sums) and parallel_state.c (checkpoints) share. */
#ifndef SP_TRAIN_PARALLEL_PARTS_H
#define SP_TRAIN_PARALLEL_PARTS_H

#include "train/parallel.h"

/* Consecutive items whose gradients are added up over one communicator. */
typedef struct sp_run {
    sp_comm *comm;
    int64_t *begins;   /* (size + 1) floats of each process's part */
    size_t first, end; /* items of this process's part */
} sp_run;

struct sp_parallel {
    sp_comm *world;    /* NULL: one process */
    sp_comm *experts;  /* processes that share the experts; NULL where they do not live apart */
    sp_comm *replicas; /* processes with the same experts */
    int32_t group_size;
    const sp_train_config *config;
    sp_parameters *parameters;
    sp_optimizer *optimizer;
    sp_pool *pool;
    sp_expert_group group;
    sp_exchange_counts traffic;
    int32_t *owners; /* (n_items) */
    sp_run *runs;
    size_t n_runs;
};

#endif
