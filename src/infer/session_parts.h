/* SPDX-License-Identifier: MIT */
/* The inside of a session, shared by session.c, session_predict.c, session_file.c, speculate.c, prefix_cache.c and the server. */
#ifndef SP_INFER_SESSION_PARTS_H
#define SP_INFER_SESSION_PARTS_H

#include "infer/speculate_control.h"
#include "model/model_parts.h"

#include <sputnik/session.h>

#define SP_SESSION_BATCH_MAX 256

struct sp_session {
    const sp_model *model;
    const sp_net *net;
    sp_session_options options;
    int32_t n_ctx;
    int32_t n_batch;
    bool is_guest; /* pool and arena are another session's */
    sp_pool *pool;
    sp_arena *arena;    /* activations of the pass under way */
    sp_cache cache;     /* all layers */
    int32_t *tokens;    /* (n_ctx) */
    int32_t *positions; /* (n_ctx) 0, 1, 2, ... */
    size_t n;           /* evaluated tokens */
    size_t reused;
    size_t n_ahead; /* drafts that were evaluated too: tokens[n, n + n_ahead), no part of the timeline */
    /* (logits_cap, V); from row logits_row on those after tokens n - 1, n, ..., n - 1 + n_ahead */
    float *logits;
    size_t logits_cap; /* rows */
    size_t logits_row;
    bool has_logits;
    /* multi-token prediction, where the model has it */
    sp_cache mtp_cache; /* one layer */
    float *hidden;      /* (n_ctx, h) after the final norm */
    size_t mtp_n;       /* valid rows of mtp_cache */
    int32_t mtp_next;   /* >= 0: row n - 1 is filled too (mtp_n = n - 1), for this token at n */
    float *guess;       /* (h) the layer's own hidden state behind its last guess */
    int32_t last_guess;
    size_t n_guesses;         /* of the chain under way, 0: none */
    sp_draft_control control; /* what drafting has cost and brought */
};

/* Tokens that a session with these options holds, and how it stores its cache. */
int32_t sp_session_context(const sp_model *model, const sp_session_options *options);
sp_dtype sp_session_cache_dtype(const sp_session_options *options);

/* A session like `host`, with the host's threads and working memory: only one of the two evaluates at a time, and the
 * host is destroyed last. */
sp_status sp_session_create_guest(sp_session **session, const sp_session *host, sp_error *err);

/* Work of one pass: session i gets n[i] >= 1 tokens. */
typedef struct sp_part {
    sp_session *const *sessions;
    const int32_t *const *tokens;
    const int64_t *n;
    int n_sessions;
    bool want_logits;
    const bool *wants; /* (n_sessions) of which sessions; NULL: of all */
    size_t n_ahead; /* the last of the tokens, if there is one session: drafts, whose logits are wanted too */
} sp_part;

/* One pass, whatever its size. The caller has checked tokens and room; the first session's threads are used. After an
 * error the sessions hold what they held. */
sp_status sp_session_pass(const sp_part *part, sp_error *err);

typedef struct sp_scorer {
    sp_logits_fn fn;
    void *ctx;
    size_t first; /* position from which logits are wanted */
} sp_scorer;

/* Forget everything after the first n tokens. */
void sp_session_truncate(sp_session *session, size_t n);

/* A piece of a session's rows: where it lives and how long it is. Non-zero stops the visit. */
typedef int (*sp_piece_fn)(void *ctx, void *data, size_t n_bytes);

/* Visit what the session stores of the tokens [first, first + n): per layer and key-value head the key rows, then (unless
 * shared) the value rows, then hidden states where the model predicts several tokens. */
int sp_session_visit_rows(const sp_session *session, size_t first, size_t n, sp_piece_fn fn, void *ctx);

/* The rows of the n tokens that follow the timeline have been filled through such a visit: they belong to it now. */
void sp_session_adopt(sp_session *session, const int32_t *tokens, size_t n);

/* How many tokens of the timeline tokens[0..n) begins with. */
size_t sp_session_shares(const sp_session *session, const int32_t *tokens, size_t n);

/* Whether the first draft is the next of tokens[0..n), whose tokens before it the session holds. */
static inline bool sp_session_foresaw(const sp_session *s, const int32_t *tokens, size_t n)
{
    return s->n_ahead > 0 && s->n < n && tokens[s->n] == s->tokens[s->n];
}

/* What made a pass fail, as a session says it: an op that left its own text, or SP_E_NOMEM. */
sp_status sp_session_fail_pass(const sp_ops *ops, sp_error *err);

/* What the prediction layer thinks likeliest, and its share of the softmax. */
typedef struct sp_guess {
    int32_t id;
    float share;
} sp_guess;

/* Guess the token after next_token, which follows the timeline; the layer first reads what it has not yet
 * read (*n_rows of the timeline, of which one is unavoidable). Errors as sp_session_predict_next2. */
sp_status sp_session_guess(sp_session *session, int32_t next_token, sp_guess *guess, size_t *n_rows,
                           sp_error *err);

/* Guess the token after the last guess, by feeding the layer its own hidden state. Directly after
 * sp_session_guess or itself. SP_E_LIMIT beyond the context. */
sp_status sp_session_guess_more(sp_session *session, sp_guess *guess, sp_error *err);

#endif
