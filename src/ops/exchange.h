/* SPDX-License-Identifier: MIT */
/* Experts that live in other processes. Each process of a group holds an equal, consecutive range of every layer's experts, in
 * order of rank. Rows travel to their experts' owners by one all-to-all and the results come back by another; backward passes
 * are the opposite exchanges. All processes of the group record the same ops in the same order (also when a layer is computed
 * again), with any number of rows, none included. */
#ifndef SP_OPS_EXCHANGE_H
#define SP_OPS_EXCHANGE_H

#include "base/comm.h"
#include "ops/ops.h"

/* How far rows went, since the counts were last cleared. One row is one (token, slot) pair of this process. */
typedef struct sp_exchange_counts {
    int64_t tokens, rows;
    int64_t rows_away;     /* to another process */
    int64_t rows_far;      /* of those, to another node */
    int64_t nodes;         /* sum over tokens of the nodes that hold their experts */
    int32_t nodes_largest; /* most nodes of one token */
} sp_exchange_counts;

typedef struct sp_expert_group {
    sp_comm *comm;
    int32_t n_nodes;            /* divides the number of processes; consecutive ranks share a node */
    sp_exchange_counts *counts; /* NULL: not counted */
} sp_expert_group;

/* One layer's exchange in one pass. */
typedef struct sp_exchange sp_exchange;

/* x (T, cols) -> (N, cols), a row for each (token, slot) of the group's tokens whose expert is here: sorted by expert, then by
 * rank, then as in routing->order. The number of experts must be a multiple of the group's size. */
sp_tensor *sp_op_dispatch(sp_ops *ops, const sp_tensor *x, const sp_routing *routing,
                          const sp_expert_group *group, const sp_exchange **exchange);

/* Of the experts that are here, for sp_op_linear_experts: only counts and offsets. */
const sp_routing *sp_exchange_routing(const sp_exchange *exchange);

/* Back: y (N, cols) -> (T * K, cols), sorted as routing->order, for sp_op_combine. */
sp_tensor *sp_op_return(sp_ops *ops, const sp_tensor *y, const sp_exchange *exchange);

#endif
