/* SPDX-License-Identifier: MIT */
/* Where routed experts come from when they are not in memory with the other weights (decision 13). The blocks say
 * which experts of a layer they want, take them in the order in which they become ready, and give them back.
 * Implemented by infer/expert_store.h. All functions may be called from several threads, each with visits of its
 * own. */
#ifndef SP_MODEL_EXPERT_SOURCE_H
#define SP_MODEL_EXPERT_SOURCE_H

#include "tensor/tensor.h"

/* One pass's use of one layer. The caller fills the first four fields. */
typedef struct sp_expert_visit {
    int32_t layer; /* prediction layers last */
    int64_t n;
    const int32_t *experts; /* (n) wanted, each once */
    uint8_t *state;         /* (n) the source's own, zeroed by the caller */
    int64_t n_left;         /* experts that next() has not handed out; set by begin() */
} sp_expert_visit;

/* An expert that can be read until the visit's next call. */
typedef struct sp_ready_expert {
    int64_t index; /* into the visit's experts */
    sp_tensor gate, up, down;
} sp_ready_expert;

typedef struct sp_expert_source {
    void *ctx;

    /* Ask for the experts. Must be followed by end(). */
    void (*begin)(void *ctx, sp_expert_visit *visit);

    /* Give back what the last call handed out, then wait until some of the visit's experts are ready: 1 <= *n <= cap
     * of them. Called while n_left > 0. Errors: SP_E_IO with file and offset. */
    sp_status (*next)(void *ctx, sp_expert_visit *visit, sp_ready_expert *ready, int64_t cap, int64_t *n,
                      sp_error *err);

    /* Give everything back, also after an error. */
    void (*end)(void *ctx, sp_expert_visit *visit);

    /* Experts that the layer will probably want soon, likeliest first; replaces earlier guesses. */
    void (*guess)(void *ctx, int32_t layer, const int32_t *experts, int64_t n);

    /* Whether guess() is worth its work now. */
    bool (*wants_guess)(void *ctx, int32_t layer);
} sp_expert_source;

#endif
