/* SPDX-License-Identifier: MIT */
/* Which expert to throw away: the one whose uses, each counting half as much every half-life later, sum to least. Two
 * half-lives compete: a short one follows the text at hand, a long one knows what is used in general. Each fills a cache
 * of names alone; the one whose names were asked for more often of late decides.
 *
 * All scores of a half-life fade at the same rate, so their order does not change while nothing is used. An expert's rank
 * is therefore the logarithm of its score plus the time in half-lives at which that score held: a constant until the next
 * use. Time is counted in passes over the model. */
#ifndef SP_INFER_EXPERT_POLICY_H
#define SP_INFER_EXPERT_POLICY_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Passes; docs/verification.md compares others. */
#define SP_EXPERT_LONG_LIFE 256.0
#define SP_EXPERT_SHORT_LIFE 3.0

enum { SP_EXPERT_LONG, SP_EXPERT_SHORT, SP_EXPERT_LIVES };

/* What one half-life knows, and what it would hold. */
typedef struct sp_expert_life {
    double half_life;
    double now;   /* passes / half_life */
    double *rank; /* (n) */
    bool *held;   /* (n) */
    int32_t *slots;
    size_t n_held;
    double hits; /* fading */
} sp_expert_life;

typedef struct sp_expert_policy {
    sp_expert_life life[SP_EXPERT_LIVES];
    size_t n, n_slots;
    int decides;        /* the life that does */
    int32_t last_layer; /* of the last visit: a smaller or equal one begins a pass */
} sp_expert_policy;

sp_status sp_expert_policy_init(sp_expert_policy *policy, size_t n, size_t n_slots, sp_error *err);
void sp_expert_policy_clear(sp_expert_policy *policy);

/* A visit of this layer begins. */
void sp_expert_policy_tick(sp_expert_policy *policy, int32_t layer);
void sp_expert_policy_use(sp_expert_policy *policy, size_t expert);

/* (n): the smallest goes. Valid until the next tick. */
static inline const double *sp_expert_policy_ranks(const sp_expert_policy *policy)
{
    return policy->life[policy->decides].rank;
}

/* Uses as the long life counts them now; and the other way round. */
double sp_expert_policy_score(const sp_expert_policy *policy, size_t expert);
void sp_expert_policy_set(sp_expert_policy *policy, size_t expert, double score);

#endif
