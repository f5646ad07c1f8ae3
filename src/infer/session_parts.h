/* SPDX-License-Identifier: MIT */
/* The inside of a session, shared by session.c and session_file.c. */
#ifndef SP_INFER_SESSION_PARTS_H
#define SP_INFER_SESSION_PARTS_H

#include "model/model_parts.h"

#include <sputnik/session.h>

#define SP_SESSION_BATCH_MAX 256

struct sp_session {
    const sp_model *model;
    const sp_net *net;
    sp_session_options options;
    int32_t n_ctx;
    int32_t n_batch;
    sp_pool *pool;
    sp_arena *arena;    /* activations of the pass under way */
    sp_cache cache;     /* all layers */
    int32_t *tokens;    /* (n_ctx) */
    int32_t *positions; /* (n_ctx) 0, 1, 2, ... */
    size_t n;           /* evaluated tokens */
    size_t reused;
    float *logits; /* (V) */
    bool has_logits;
    /* multi-token prediction, where the model has it */
    sp_cache mtp_cache; /* one layer */
    float *hidden;      /* (n_ctx, h) after the final norm */
    size_t mtp_n;       /* valid rows of mtp_cache */
};

/* Work of one pass: session i gets n[i] >= 1 tokens. */
typedef struct sp_part {
    sp_session *const *sessions;
    const int32_t *const *tokens;
    const int64_t *n;
    int n_sessions;
    bool want_logits;
} sp_part;

typedef struct sp_scorer {
    sp_logits_fn fn;
    void *ctx;
    size_t first; /* position from which logits are wanted */
} sp_scorer;

/* Forget everything after the first n tokens. */
void sp_session_truncate(sp_session *session, size_t n);

#endif
