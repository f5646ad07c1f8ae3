/* SPDX-License-Identifier: MIT */
/* Studying the cache without a model: which experts were used, as recorded or drawn, through the store's eviction and, to
 * compare, through LRU and the offline optimum (Belady 1966: throw away what is used again last). */
#ifndef SP_INFER_EXPERT_REPLAY_H
#define SP_INFER_EXPERT_REPLAY_H

#include "infer/expert_policy.h"

/* Visits one after the other: layer, n, n experts. */
typedef struct sp_expert_trace {
    int32_t *items; /* (n) */
    size_t n;
    int32_t n_layers, n_experts;
} sp_expert_trace;

/* The text that sp_model_save_expert_trace writes. SP_E_FORMAT names the line. */
sp_status sp_expert_trace_parse(sp_expert_trace *trace, const char *text, size_t len, sp_error *err);

/* n_passes over n_layers with top_k different experts each, drawn without replacement with probabilities proportional to
 * 1 / rank^exponent, ranks being a permutation of each layer's own. The same for the same seed. */
sp_status sp_expert_trace_zipf(sp_expert_trace *trace, int32_t n_layers, int32_t n_experts, int32_t top_k,
                               int64_t n_passes, double exponent, uint64_t seed, sp_error *err);
void sp_expert_trace_clear(sp_expert_trace *trace);

typedef struct sp_expert_replay {
    const int32_t *items;
    size_t n;
    int32_t n_layers, n_experts;
    int64_t n_slots;
} sp_expert_replay;

/* Hits of each. */
typedef struct sp_expert_replay_result {
    uint64_t n_uses, policy, lru, optimum;
} sp_expert_replay_result;

sp_status sp_expert_replay_run(sp_expert_replay_result *result, const sp_expert_replay *replay,
                               sp_error *err);

#endif
