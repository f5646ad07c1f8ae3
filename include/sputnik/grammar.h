/* SPDX-License-Identifier: MIT */
/* What a reply may be: any JSON object, or JSON of a given schema. A grammar is compiled once, immutable, and may be used from
 * any number of threads; each reply holds a position of its own in it (src/text/grammar_match.h). */
#ifndef SPUTNIK_GRAMMAR_H
#define SPUTNIK_GRAMMAR_H

#include <sputnik/status.h>

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sp_grammar sp_grammar;

/* Any JSON object. Errors: SP_E_NOMEM. */
SP_API sp_status sp_grammar_json_object(sp_grammar **grammar, sp_error *err);

/* JSON that is valid under a JSON Schema (draft 2020-12), given as text. Errors: SP_E_FORMAT (not JSON, no schema), SP_E_UNSUPPORTED
 * naming the keyword and where it stands, or that nothing can satisfy it, SP_E_LIMIT (too large), SP_E_NOMEM. */
SP_API sp_status sp_grammar_json_schema(sp_grammar **grammar, const char *schema, size_t len, sp_error *err);

SP_API void sp_grammar_destroy(sp_grammar *grammar); /* accepts NULL */

#ifdef __cplusplus
}
#endif

#endif
