/* SPDX-License-Identifier: MIT */
/* Which expert to throw away: the one whose uses, each counting half as much every half-life later, sum to least.
 *
 * All scores fade at the same rate, so their order does not change while nothing is used. An expert's rank is therefore
 * the logarithm of its score plus the time in half-lives at which that score held: a constant until the next use.
 * Time is counted in passes over the model. */
#ifndef SP_INFER_EXPERT_POLICY_H
#define SP_INFER_EXPERT_POLICY_H

#include "base/error.h"

#include <stddef.h>

#define SP_EXPERT_HALF_LIFE 256.0 /* passes; docs/verification.md compares others */

typedef struct sp_expert_policy {
    double *rank; /* (n) */
    size_t n;
    double half_life;
    double now;         /* passes / half_life */
    int32_t last_layer; /* of the last use: a smaller or equal one begins a pass */
} sp_expert_policy;

sp_status sp_expert_policy_init(sp_expert_policy *policy, size_t n, double half_life, sp_error *err);
void sp_expert_policy_clear(sp_expert_policy *policy);

/* A visit of this layer begins. */
void sp_expert_policy_tick(sp_expert_policy *policy, int32_t layer);
void sp_expert_policy_use(sp_expert_policy *policy, size_t expert);

/* Uses as they count now; and the other way round. */
double sp_expert_policy_score(const sp_expert_policy *policy, size_t expert);
void sp_expert_policy_set(sp_expert_policy *policy, size_t expert, double score);

#endif
