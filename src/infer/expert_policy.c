/* SPDX-License-Identifier: MIT */
/* Scores that fade, kept as ranks that do not, and the competition of two half-lives. Start at sp_expert_policy_use(). */
#include "infer/expert_policy.h"

#include "base/mem.h"

#include <math.h>

/* Of an expert that was never used: below everything, and its score is 0. */
#define NEVER (-1e300)

/* What is left of a hit in the competition after a pass. */
#define HIT_FADE 0.99

static sp_status init_life(sp_expert_life *life, size_t n, size_t n_slots, double half_life, sp_error *err)
{
    life->half_life = half_life;
    life->rank = sp_malloc_array(n, sizeof *life->rank);
    life->held = sp_calloc(n, sizeof *life->held);
    life->slots = sp_calloc(n_slots, sizeof *life->slots);
    if (!life->rank || !life->held || !life->slots)
        return sp_fail_nomem(err, "expert scores", (uint64_t)n * sizeof *life->rank);
    for (size_t i = 0; i < n; i++) life->rank[i] = NEVER;
    return SP_OK;
}

sp_status sp_expert_policy_init(sp_expert_policy *policy, size_t n, size_t n_slots, sp_error *err)
{
    static const double lives[SP_EXPERT_LIVES] = {
        [SP_EXPERT_LONG] = SP_EXPERT_LONG_LIFE, [SP_EXPERT_SHORT] = SP_EXPERT_SHORT_LIFE};
    *policy = (sp_expert_policy){.n = n, .n_slots = n_slots, .last_layer = INT32_MAX};
    sp_status status = SP_OK;
    for (int i = 0; i < SP_EXPERT_LIVES && status == SP_OK; i++)
        status = init_life(&policy->life[i], n, n_slots, lives[i], err);
    if (status != SP_OK) sp_expert_policy_clear(policy);
    return status;
}

void sp_expert_policy_clear(sp_expert_policy *policy)
{
    for (int i = 0; i < SP_EXPERT_LIVES; i++) {
        sp_free(policy->life[i].rank);
        sp_free(policy->life[i].held);
        sp_free(policy->life[i].slots);
        policy->life[i] = (sp_expert_life){.n_held = 0};
    }
}

void sp_expert_policy_tick(sp_expert_policy *policy, int32_t layer)
{
    bool begins = layer <= policy->last_layer;
    policy->last_layer = layer;
    if (!begins) return;
    for (int i = 0; i < SP_EXPERT_LIVES; i++) {
        policy->life[i].now += 1.0 / policy->life[i].half_life;
        policy->life[i].hits *= HIT_FADE;
    }
    bool shorter = policy->life[SP_EXPERT_SHORT].hits > policy->life[SP_EXPERT_LONG].hits;
    policy->decides = shorter ? SP_EXPERT_SHORT : SP_EXPERT_LONG;
}

static double score_of(const sp_expert_life *life, size_t expert)
{
    return exp2(life->rank[expert] - life->now);
}

static void set_score(sp_expert_life *life, size_t expert, double score)
{
    life->rank[expert] = score > 0 ? log2(score) + life->now : NEVER;
}

/* The life's own cache of names. */
static void hold(sp_expert_life *life, size_t expert, size_t n_slots)
{
    if (life->held[expert]) {
        life->hits++;
        return;
    }
    life->held[expert] = true;
    if (life->n_held < n_slots) {
        life->slots[life->n_held++] = (int32_t)expert;
        return;
    }
    size_t worst = 0;
    for (size_t i = 1; i < n_slots; i++)
        if (life->rank[life->slots[i]] < life->rank[life->slots[worst]]) worst = i;
    life->held[life->slots[worst]] = false;
    life->slots[worst] = (int32_t)expert;
}

void sp_expert_policy_use(sp_expert_policy *policy, size_t expert)
{
    for (int i = 0; i < SP_EXPERT_LIVES; i++) {
        sp_expert_life *life = &policy->life[i];
        set_score(life, expert, score_of(life, expert) + 1.0);
        if (policy->n_slots > 0) hold(life, expert, policy->n_slots);
    }
}

double sp_expert_policy_score(const sp_expert_policy *policy, size_t expert)
{
    return score_of(&policy->life[SP_EXPERT_LONG], expert);
}

void sp_expert_policy_set(sp_expert_policy *policy, size_t expert, double score)
{
    set_score(&policy->life[SP_EXPERT_LONG], expert, score);
}
