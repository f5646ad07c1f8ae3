/* SPDX-License-Identifier: MIT */
/* What the files of the pre-tokenizer share: its rules before compilation, and the table of names. */
#ifndef SP_TEXT_PRETOKEN_PARTS_H
#define SP_TEXT_PRETOKEN_PARTS_H

#include "text/pretoken.h"

/* Patterns in the normal form that sp_pretok_rewrite produces. */
typedef struct sp_pretok_rules {
    sp_buf patterns[SP_PRETOK_RULES_MAX];
    int n;
} sp_pretok_rules;

/* Append a rule, given as published (`$`, `\s`, ... in Oniguruma's sense). */
sp_status sp_pretok_rules_add(sp_pretok_rules *rules, const char *pattern, size_t len, sp_error *err);
/* Append a rule that matches `text` literally. */
sp_status sp_pretok_rules_add_literal(sp_pretok_rules *rules, const char *text, size_t len, sp_error *err);
void sp_pretok_rules_clear(sp_pretok_rules *rules);

/* Append the rules published under a canonical name. */
sp_status sp_pretok_rules_named(sp_pretok_rules *rules, const char *name, sp_error *err);
/* The canonical name that has exactly these rules, or NULL in *name. */
sp_status sp_pretok_rules_identify(const sp_pretok_rules *rules, const char **name, sp_error *err);

/* GPT-2's own expression, which "ByteLevel" with use_regex means. */
extern const char sp_pretok_gpt2[];

/* Rewrite a published pattern for PCRE2, in a normal form (equal meaning in two spellings, equal text): `\s`
 * becomes Unicode's White_Space, characters outside ASCII and control characters become escapes. Constructs
 * that the two engines read differently are SP_E_UNSUPPORTED. */
sp_status sp_pretok_rewrite(sp_buf *out, const char *pattern, size_t len, sp_error *err);

/* Compile; takes nothing over. */
sp_status sp_pretok_compile(sp_pretok **pretok, const sp_pretok_rules *rules, const char *name,
                            sp_error *err);

#endif
