/* SPDX-License-Identifier: MIT */
/* Routed experts that come from a source (expert_source.h) instead of memory. For inference alone. */
#ifndef SP_MODEL_EXPERTS_H
#define SP_MODEL_EXPERTS_H

#include "model/blocks.h"

/* A use of one layer's experts, from the choice on: the reads are under way when this returns. NULL when out of memory
 * (ops->status). To be ended by sp_experts_end, whatever happens between. */
sp_expert_visit *sp_experts_begin(sp_ops *ops, const sp_net *net, int32_t layer, const sp_routing *routing);

/* Every chosen expert's output for x (T, h): (T K, h) sorted by expert, with the bits that the experts in memory give.
 * NULL on failure (ops->status, ops->error). */
sp_tensor *sp_experts_run(sp_ops *ops, const sp_net *net, sp_expert_visit *visit, const sp_tensor *x,
                          const sp_routing *routing);

void sp_experts_end(const sp_net *net, sp_expert_visit *visit);

/* Tell the source what `layer` will probably choose: what a guessed routing chooses, every row's best first. */
void sp_experts_guess(sp_ops *ops, const sp_net *net, int32_t layer, const sp_routing *routing);

#endif
