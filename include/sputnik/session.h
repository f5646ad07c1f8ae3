/* SPDX-License-Identifier: MIT */
/* A session: one timeline of a model. The tokens so far, their key-value cache, and the logits of the last
 * one. The caller hands over the whole token list each time; the session keeps the longest prefix that it has
 * already evaluated.
 *
 * One answer: the same model and tokens give the same logits, bit for bit, whatever the number of threads,
 * the chunk size, what was evaluated before, or whether the session was saved and loaded in between. */
#ifndef SPUTNIK_SESSION_H
#define SPUTNIK_SESSION_H

#include <sputnik/model.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sp_session sp_session;

/* Storage of the key-value cache. Q8_0 (blocks of 32 bytes with a common factor) wants heads of a multiple of 32. */
typedef enum sp_cache_type { SP_CACHE_F32, SP_CACHE_F16, SP_CACHE_BF16, SP_CACHE_Q8_0 } sp_cache_type;

/* What 0 stands for in the options. */
#define SP_SESSION_BATCH_DEFAULT 512
#define SP_SESSION_CONTEXT_DEFAULT 32768

typedef struct sp_session_options {
    int32_t n_ctx;     /* most tokens that the session can hold; 0: the model's training context, at most
                          SP_SESSION_CONTEXT_DEFAULT */
    int32_t n_threads; /* 0: number of processors */
    int32_t n_batch;   /* tokens evaluated at once; 0: SP_SESSION_BATCH_DEFAULT */
    sp_cache_type cache_type;
    /* Asked between chunks of work; non-zero stops evaluation with SP_E_CANCELLED, the session stays usable.
     * NULL: never. */
    int (*cancel)(void *ctx, size_t n_done, size_t n_total);
    void *cancel_ctx;
} sp_session_options;

#define SP_SESSION_OPTIONS_DEFAULTS                                                                          \
    {                                                                                                        \
        0, 0, 0, SP_CACHE_F32, NULL, NULL                                                                    \
    }

SP_API sp_status sp_session_create(sp_session **session, const sp_model *model,
                                   const sp_session_options *options, sp_error *err);
SP_API void sp_session_destroy(sp_session *session); /* accepts NULL */

/* Make the session's timeline equal to tokens[0..n), n >= 1. Evaluates only what is new after the longest
 * common prefix; afterwards sp_session_logits are those of the last token. Errors: SP_E_LIMIT (n > n_ctx),
 * SP_E_RANGE (an id outside the vocabulary), SP_E_CANCELLED, SP_E_NOMEM; after an error the session holds the
 * prefix that was evaluated. */
SP_API sp_status sp_session_sync(sp_session *session, const int32_t *tokens, size_t n, sp_error *err);

/* As sync, and drafts[0..n_drafts), a guess of the tokens that follow, are evaluated in the same pass as the last of
 * the new tokens. They are no part of the timeline: every other function answers as after sync. A later sync
 * takes from them, without a pass, as many of its next tokens as agree; the first that differs drops the rest.
 * Of more than SP_SESSION_DRAFTS_MAX, or than the context has room for, the first are taken; where nothing
 * is new, none is evaluated. Errors: those of sync. */
#define SP_SESSION_DRAFTS_MAX 16
SP_API sp_status sp_session_sync_ahead(sp_session *session, const int32_t *tokens, size_t n,
                                       const int32_t *drafts, size_t n_drafts, sp_error *err);

/* As sync, and `fn` gets the logits (vocab_size floats, valid during the call) after every position >= first,
 * in order. A non-zero return stops with SP_E_CANCELLED. Positions before `first` may come from the cache. */
typedef int (*sp_logits_fn)(void *ctx, size_t position, const float *logits);
SP_API sp_status sp_session_score(sp_session *session, const int32_t *tokens, size_t n, size_t first,
                                  sp_logits_fn fn, void *ctx, sp_error *err);

/* Logits after the last token, (vocab_size); NULL before the first sync. Valid until the next call that
 * evaluates. */
SP_API const float *sp_session_logits(const sp_session *session);

SP_API size_t sp_session_length(const sp_session *session);
SP_API const int32_t *sp_session_tokens(const sp_session *session);
SP_API size_t sp_session_capacity(const sp_session *session);
SP_API const sp_model *sp_session_model(const sp_session *session);

/* Tokens of the last sync that came from the cache. */
SP_API size_t sp_session_reused(const sp_session *session);

/* Save the timeline with its cache, atomically; load refuses files of another model, cache type or version by
 * name and checks a checksum of the content. */
SP_API sp_status sp_session_save(const sp_session *session, const char *path, sp_error *err);
SP_API sp_status sp_session_load(sp_session *session, const char *path, sp_error *err);

/* Evaluate several sessions of one model in one pass: session i is advanced by the ids tokens[i][0..n[i]).
 * Same bits as advancing each alone. The first session's threads are used. */
SP_API sp_status sp_session_advance(sp_session *const *sessions, const int32_t *const *tokens,
                                    const size_t *n, size_t n_sessions, sp_error *err);

/* Logits of the multi-token-prediction head for token n + 1 given the timeline and the next token (which need
 * not be part of it): (vocab_size), valid until the next call. SP_E_UNSUPPORTED if the model has no such
 * layer. */
SP_API sp_status sp_session_predict_next2(sp_session *session, int32_t next_token, const float **logits,
                                          sp_error *err);

#ifdef __cplusplus
}
#endif

#endif
