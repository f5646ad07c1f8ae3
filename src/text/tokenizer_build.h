/* SPDX-License-Identifier: MIT */
/* Filling a tokenizer, the steps common to all loaders: begin, add tokens, then merges, then finish. */
#ifndef SP_TEXT_TOKENIZER_BUILD_H
#define SP_TEXT_TOKENIZER_BUILD_H

#include "text/tokenizer.h"

/* An empty tokenizer with room for n_tokens ids. */
sp_status sp_tokenizer_begin(sp_tokenizer **tokenizer, int64_t n_tokens, sp_error *err);

/* One token as files write it: ordinary tokens in byte stand-ins, added ones literally. */
sp_status sp_tokenizer_add(sp_tokenizer *tokenizer, int64_t id, const char *text, size_t len, int type,
                           sp_error *err);

/* After the last token. Settles the tokens of bytes and builds the index that merges need. */
sp_status sp_tokenizer_index(sp_tokenizer *tokenizer, sp_error *err);

/* "left right" in byte stand-ins (right at text + n_left + gap). */
sp_status sp_tokenizer_add_merge(sp_tokenizer *tokenizer, const char *left, size_t n_left, const char *right,
                                 size_t n_right, sp_error *err);

/* After the last merge, with bos, eos and pretok set. */
sp_status sp_tokenizer_finish(sp_tokenizer *tokenizer, sp_error *err);

/* Add an end-of-reply id; ids outside the vocabulary and repeated ones are ignored. */
void sp_tokenizer_add_end(sp_tokenizer *tokenizer, int64_t id);

/* Take over a copy of a chat template; NULL is ignored. */
sp_status sp_tokenizer_set_template(sp_tokenizer *tokenizer, const char *text, size_t len, sp_error *err);

#endif
