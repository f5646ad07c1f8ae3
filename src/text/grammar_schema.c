/* SPDX-License-Identifier: MIT */
/* JSON Schema to a grammar. */
#include "text/grammar_program.h"

sp_status sp_grammar_json_schema(sp_grammar **grammar, const char *schema, size_t len, sp_error *err)
{
    (void)schema, (void)len;
    *grammar = NULL;
    return sp_fail(err, SP_E_UNSUPPORTED, "json schema: not yet supported");
}
