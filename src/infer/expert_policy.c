/* SPDX-License-Identifier: MIT */
/* Scores that fade, kept as ranks that do not. Start at sp_expert_policy_use(). */
#include "infer/expert_policy.h"

#include "base/mem.h"

#include <math.h>

/* Of an expert that was never used: below everything, and its score is 0. */
#define NEVER (-1e300)

sp_status sp_expert_policy_init(sp_expert_policy *policy, size_t n, double half_life, sp_error *err)
{
    *policy = (sp_expert_policy){.n = n, .half_life = half_life, .last_layer = INT32_MAX};
    policy->rank = sp_malloc_array(n, sizeof *policy->rank);
    if (!policy->rank) return sp_fail_nomem(err, "expert scores", (uint64_t)n * sizeof *policy->rank);
    for (size_t i = 0; i < n; i++) policy->rank[i] = NEVER;
    return SP_OK;
}

void sp_expert_policy_clear(sp_expert_policy *policy)
{
    sp_free(policy->rank);
    policy->rank = NULL;
}

void sp_expert_policy_tick(sp_expert_policy *policy, int32_t layer)
{
    if (layer <= policy->last_layer) policy->now += 1.0 / policy->half_life;
    policy->last_layer = layer;
}

double sp_expert_policy_score(const sp_expert_policy *policy, size_t expert)
{
    return exp2(policy->rank[expert] - policy->now);
}

void sp_expert_policy_set(sp_expert_policy *policy, size_t expert, double score)
{
    policy->rank[expert] = score > 0 ? log2(score) + policy->now : NEVER;
}

void sp_expert_policy_use(sp_expert_policy *policy, size_t expert)
{
    sp_expert_policy_set(policy, expert, sp_expert_policy_score(policy, expert) + 1.0);
}
