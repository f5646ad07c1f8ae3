/* SPDX-License-Identifier: MIT */
/* Speculation: guesses of the tokens to come, evaluated in one pass with the token that is known, so that a
 * pass may yield several tokens. A source of logits for a generator (generate_core.h) that gives the bits which
 * sp_session_sync gives; the caller chooses each token as ever, and a draft counts only where it is that token.
 * So greedy and sampled replies are those without speculation, whatever is drafted and however fast. */
#ifndef SP_INFER_SPECULATE_H
#define SP_INFER_SPECULATE_H

#include <sputnik/generate.h>

#include <stdbool.h>

typedef struct sp_speculator sp_speculator;

typedef struct sp_speculator_options {
    sp_speculate speculate; /* not OFF */
    int32_t n_draft;        /* most drafts of a pass; 0: SP_DRAFTS_DEFAULT */
    bool always;            /* tests: draft as many as can be, whatever it brings */
    double (*clock)(void);  /* tests; NULL: the steady clock */
} sp_speculator_options;

/* Over a session, which must outlive it and keeps what is learned. SP_E_UNSUPPORTED: MTP is asked of a model
 * that has no such layer. */
sp_status sp_speculator_create(sp_speculator **speculator, sp_session *session,
                               const sp_speculator_options *options, sp_error *err);
void sp_speculator_destroy(sp_speculator *speculator); /* accepts NULL */

/* Guesses of what follows tokens[0..n), all but the last of which the session holds: ids (SP_SESSION_DRAFTS_MAX)
 * and their number. A caller with a pass of its own evaluates them with sp_session_sync_ahead and tells its
 * duration to sp_speculator_note_pass; which drafts came true is seen at the next call. */
sp_status sp_speculator_propose(sp_speculator *speculator, const int32_t *tokens, size_t n, int32_t *ids,
                                size_t *n_ids, sp_error *err);
void sp_speculator_note_pass(sp_speculator *speculator, size_t n_rows, double seconds);

/* Logits after tokens[0..n): of a generator's source, with the speculator as its ctx. */
sp_status sp_speculator_sync(void *speculator, const int32_t *tokens, size_t n, const float **logits,
                             sp_error *err);

/* What this speculator has drafted so far. */
const sp_draft_stats *sp_speculator_stats(const sp_speculator *speculator);

/* The end e < n of the longest earlier passage, of at least SP_LOOKUP_MIN tokens, that tokens[0..n) end with; of several
 * the latest. 0: none. Lengths are capped. */
#define SP_LOOKUP_MIN 3
size_t sp_lookup_find(const int32_t *tokens, size_t n, size_t *length);

#endif
