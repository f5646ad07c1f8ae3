/* SPDX-License-Identifier: MIT */
/* The "pre_tokenizer" object of a tokenizer.json turned into rules. Supported: Sequence, Split (Regex or
 * String, Isolated), Digits, ByteLevel without prefix space. Whatever else would change or drop text is
 * refused by name. Start at sp_pretok_create_json(). */
#include "text/pretoken.h"

#include <string.h>

#include "text/pretoken_parts.h"

enum { DEPTH_MAX = 4 };

static sp_status refuse(const char *what, const char *name, sp_error *err)
{
    return sp_fail(err, SP_E_UNSUPPORTED, "tokenizer.json: %s \"%s\" is not supported", what, name);
}

static sp_status add_split(sp_pretok_rules *rules, const sp_json *step, sp_error *err)
{
    /* "invert" only swaps the roles of matches and gaps, which are both pieces when isolated. */
    const char *behavior = sp_json_string(sp_json_get(step, "behavior"), NULL);
    if (!behavior || strcmp(behavior, "Isolated") != 0)
        return refuse("split behavior", behavior ? behavior : "(none)", err);
    const sp_json *pattern = sp_json_get(step, "pattern");
    size_t len;
    const char *regex = sp_json_string(sp_json_get(pattern, "Regex"), &len);
    if (regex) return sp_pretok_rules_add(rules, regex, len, err);
    const char *literal = sp_json_string(sp_json_get(pattern, "String"), &len);
    if (literal) return sp_pretok_rules_add_literal(rules, literal, len, err);
    return sp_fail(err, SP_E_FORMAT, "tokenizer.json: a Split without pattern (Regex or String expected)");
}

static sp_status add_step(sp_pretok_rules *rules, const sp_json *step, int depth, sp_error *err)
{
    const char *type = sp_json_string(sp_json_get(step, "type"), NULL);
    if (!type) return sp_fail(err, SP_E_FORMAT, "tokenizer.json: a pre-tokenizer without type");
    if (strcmp(type, "Sequence") == 0) {
        const sp_json *list = sp_json_get(step, "pretokenizers");
        if (depth == DEPTH_MAX) return refuse("pre-tokenizer", "Sequence (nested)", err);
        for (size_t i = 0; i < sp_json_size(list); i++)
            SP_TRY(add_step(rules, sp_json_at(list, i), depth + 1, err));
        return SP_OK;
    }
    if (strcmp(type, "Split") == 0) return add_split(rules, step, err);
    if (strcmp(type, "Digits") == 0) {
        bool single = sp_json_bool(sp_json_get(step, "individual_digits"), false);
        return sp_pretok_rules_add(rules, single ? "\\p{N}" : "\\p{N}+", single ? 5 : 6, err);
    }
    if (strcmp(type, "ByteLevel") == 0) {
        if (sp_json_bool(sp_json_get(step, "add_prefix_space"), true))
            return refuse("ByteLevel", "add_prefix_space", err);
        if (!sp_json_bool(sp_json_get(step, "use_regex"), true)) return SP_OK;
        return sp_pretok_rules_add(rules, sp_pretok_gpt2, strlen(sp_pretok_gpt2), err);
    }
    return refuse("pre-tokenizer", type, err);
}

sp_status sp_pretok_create_json(sp_pretok **pretok, const sp_json *pre_tokenizer, sp_error *err)
{
    *pretok = NULL;
    sp_pretok_rules rules = {.n = 0};
    const char *name = NULL;
    sp_status status = SP_OK;
    if (sp_json_is(pre_tokenizer, SP_JSON_OBJECT)) status = add_step(&rules, pre_tokenizer, 0, err);
    if (status == SP_OK) status = sp_pretok_rules_identify(&rules, &name, err);
    if (status == SP_OK) status = sp_pretok_compile(pretok, &rules, name, err);
    sp_pretok_rules_clear(&rules);
    return status;
}
