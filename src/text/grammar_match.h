/* SPDX-License-Identifier: MIT */
/* A position in a grammar: the text so far, and which bytes and tokens may follow. One matcher belongs to one reply and
 * one thread; the grammar and the tokenizer outlive it. */
#ifndef SP_TEXT_GRAMMAR_MATCH_H
#define SP_TEXT_GRAMMAR_MATCH_H

#include "base/mem.h"

#include <sputnik/grammar.h>
#include <sputnik/tokenizer.h>

typedef struct sp_matcher sp_matcher;

/* tokenizer NULL: text alone, no masks. */
sp_status sp_matcher_create(sp_matcher **matcher, const sp_grammar *grammar, const sp_tokenizer *tokenizer,
                            sp_error *err);
void sp_matcher_destroy(sp_matcher *matcher); /* accepts NULL */

/* Go on by the text; *accepted is false, and the matcher is where it was, if the grammar does not allow it. */
sp_status sp_matcher_push(sp_matcher *matcher, const char *text, size_t len, bool *accepted, sp_error *err);

/* May the text end here? */
bool sp_matcher_is_complete(const sp_matcher *matcher);

/* The tokens that may come next, one bit per id ((sp_tokenizer_size + 63) / 64 words, owned by the matcher, free to be
 * changed, valid until the next call): those that keep the text completable; tokens that end a reply exactly where it is
 * complete. *n_allowed (may be NULL) counts them. */
sp_status sp_matcher_mask(sp_matcher *matcher, uint64_t **mask, size_t *n_allowed, sp_error *err);

#endif
