/* SPDX-License-Identifier: MIT */
/* Pre-tokenizers: cutting text into the pieces within which BPE merges. A pre-tokenizer is a list of regular
 * expressions applied in order. Each is "isolated": every match becomes a piece and so does the text between
 * matches; the next expression runs inside each piece as a text of its own, so that `$` and lookarounds see
 * the piece's ends. The expressions are the published ones (pretoken_names.c, or the tokenizer.json's own),
 * run by PCRE2; pretoken_regex.c rewrites what the publishers' engine (Oniguruma) reads differently.
 *
 * Without PCRE2 a pre-tokenizer can be created and named, but splitting is SP_E_UNSUPPORTED. */
#ifndef SP_TEXT_PRETOKEN_H
#define SP_TEXT_PRETOKEN_H

#include "base/json.h"

#define SP_PRETOK_RULES_MAX 16
#define SP_PRETOK_PATTERN_MAX 16384 /* bytes of one rewritten pattern; the longest published one has 1 KB */

typedef struct sp_pretok sp_pretok; /* immutable, shared by threads */

/* The name under which the pattern table lists `name` or its alias, NULL if it is unknown. */
const char *sp_pretok_canonical(const char *name);

/* Pattern i published under a name, in the publishers' notation (for writers of tokenizer.json); NULL past
 * the last. */
const char *sp_pretok_published(const char *name, size_t i);

/* The patterns published under a canonical name. SP_E_UNSUPPORTED for an unknown name. */
sp_status sp_pretok_create_named(sp_pretok **pretok, const char *name, sp_error *err);

/* The "pre_tokenizer" object of a tokenizer.json (may be NULL or null: no splitting at all). Constructs that
 * are not supported are refused by name. */
sp_status sp_pretok_create_json(sp_pretok **pretok, const sp_json *pre_tokenizer, sp_error *err);
void sp_pretok_destroy(sp_pretok *pretok); /* accepts NULL */

/* The canonical name whose patterns these are, NULL for a list that has no name. */
const char *sp_pretok_name(const sp_pretok *pretok);

/* Receives each piece in order; pieces are never empty. */
typedef sp_status (*sp_pretok_sink)(void *ctx, const char *piece, size_t len, sp_error *err);

/* One thread's scratch for splitting any number of texts. */
typedef struct sp_pretok_run {
    const sp_pretok *pretok;
    void *match_data;
    sp_pretok_sink sink;
    void *ctx;
} sp_pretok_run;

sp_status sp_pretok_begin(sp_pretok_run *run, const sp_pretok *pretok, sp_pretok_sink sink, void *ctx,
                          sp_error *err);
/* text: well-formed UTF-8 (the caller has checked). SP_E_LIMIT if a pattern from a file backtracks without
 * end. */
sp_status sp_pretok_split(sp_pretok_run *run, const char *text, size_t len, sp_error *err);
void sp_pretok_end(sp_pretok_run *run);

#endif
