/* SPDX-License-Identifier: MIT */
/* What parallel.c (owners, sums) and parallel_state.c (checkpoints) share. */
#ifndef SP_TRAIN_PARALLEL_PARTS_H
#define SP_TRAIN_PARALLEL_PARTS_H

#include "train/parallel.h"

/* Floats whose gradients are added up over one communicator: one stretch of memory, a part of it each process's own. */
typedef struct sp_share {
    sp_comm *comm;
    int64_t *begins; /* (size + 1) of each process's part */
} sp_share;

typedef struct sp_item_range {
    size_t first, end;
} sp_item_range;

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
    int32_t *owners;    /* (n_items) */
    sp_share shares[2]; /* everything; or what is no expert, and the experts that are here */
    int n_shares;
    sp_item_range *ranges; /* (n_ranges) own items; what lies between them is others' or not here */
    size_t n_ranges;
};

#endif
