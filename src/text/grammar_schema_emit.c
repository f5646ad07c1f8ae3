/* SPDX-License-Identifier: MIT */
/* A case's alternatives: constants, words, numbers, strings. Arrays: grammar_schema_array.c; objects: grammar_schema_object.c. */
#include "text/grammar_schema_parts.h"

#include <stdlib.h>
#include <string.h>

#define MULTIPLE_MAX 1000000000000000ull

/* --- automata ------------------------------------------------------------------------------------------- */

sp_status sp_schema_pattern(sp_schema_compiler *c, const char *pattern, const sp_json *at, uint32_t *dfa)
{
    sp_dfa made;
    for (size_t i = 0; i < c->n_patterns; i++) {
        *dfa = c->patterns[i].dfa;
        if (strcmp(c->patterns[i].pattern, pattern) == 0) return SP_OK;
    }
    if (c->n_patterns == c->cap_patterns) {
        size_t cap = c->cap_patterns ? c->cap_patterns * 2 : 16;
        void *grown = sp_realloc_array(c->patterns, cap, sizeof *c->patterns);
        if (!grown) return sp_fail_nomem(c->err, "json schema", cap * sizeof *c->patterns);
        c->patterns = grown;
        c->cap_patterns = cap;
    }
    sp_error err = SP_ERROR_NONE;
    sp_status status =
        sp_dfa_pattern(&made, &c->grammar->dfas[SP_DFA_ANY_KEY], pattern, strlen(pattern), &c->budget, &err);
    if (status == SP_E_NOMEM) return sp_fail(c->err, status, "%s", err.text);
    if (status != SP_OK) return sp_schema_fail(c, status, at, "%s", err.text);
    SP_TRY(sp_grammar_add_dfa(c->grammar, &made, dfa, c->err));
    c->patterns[c->n_patterns].pattern = pattern;
    c->patterns[c->n_patterns++].dfa = *dfa;
    return SP_OK;
}

sp_status sp_schema_strings(sp_schema_compiler *c, const sp_case *k, uint32_t *dfa, bool *any)
{
    sp_dfa_part parts[SP_DFA_PARTS_MAX];
    uint32_t indices[SP_DFA_PARTS_MAX];
    size_t n = 0;
    sp_dfa met;
    *any = k->patterns == NULL;
    if (*any) return SP_OK;
    for (const sp_schema_list *l = k->patterns; l; l = l->rest, n++) {
        if (n == SP_DFA_PARTS_MAX)
            return sp_schema_fail(c, SP_E_LIMIT, l->item.value, "too many patterns at one place");
        SP_TRY(sp_schema_pattern(c, l->text, l->item.value, &indices[n]));
    }
    for (size_t i = 0; i < n; i++) parts[i] = (sp_dfa_part){&c->grammar->dfas[indices[i]], false};
    sp_dfa_meeting meeting = {&c->grammar->dfas[SP_DFA_ANY_KEY], parts, n, k->min_length, k->max_length};
    sp_status status = sp_dfa_meet(&met, &meeting, &c->budget, c->err);
    if (status == SP_E_LIMIT)
        return sp_schema_fail(c, status, k->patterns->item.value,
                              "patterns and lengths take too many states");
    return status != SP_OK ? status : sp_grammar_add_dfa(c->grammar, &met, dfa, c->err);
}

static uint64_t power_of_ten(int n)
{
    uint64_t p = 1;
    for (int i = 0; i < n; i++) p *= 10;
    return p;
}

/* A multiple as a whole number of 10^-scale; false if it is too fine or too large. */
static bool scale_multiple(const sp_json *value, uint64_t *whole, int *scale)
{
    sp_decimal d;
    char text[40];
    sp_schema_number_text(value, text);
    if (!sp_decimal_read(&d, text) || d.n_digits > 15 || d.point > 15 || d.point < -15) return false;
    *scale = d.n_digits > d.point ? d.n_digits - d.point : 0;
    *whole = 0;
    for (int i = 0; i < d.n_digits; i++) *whole = *whole * 10 + d.digits[i];
    int zeros = d.point - d.n_digits + *scale;
    if (zeros > 15 || *whole > MULTIPLE_MAX / power_of_ten(zeros)) return false;
    *whole *= power_of_ten(zeros);
    return true;
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The bounds with the least common multiple of the case's multiples. */
static sp_status add_multiples(const sp_schema_compiler *c, const sp_case *k, sp_number_bounds *b)
{
    for (const sp_schema_list *l = k->multiples; l; l = l->rest) {
        uint64_t whole = 1;
        int scale = 0;
        bool fits = scale_multiple(l->item.value, &whole, &scale);
        int most = scale > b->scale ? scale : b->scale;
        fits = fits && most <= 15 && whole <= MULTIPLE_MAX / power_of_ten(most - scale) &&
               b->multiple <= MULTIPLE_MAX / power_of_ten(most - b->scale);
        whole *= fits ? power_of_ten(most - scale) : 1;
        if (fits && b->multiple) {
            uint64_t other = b->multiple * power_of_ten(most - b->scale) /
                             common_divisor(whole, b->multiple * power_of_ten(most - b->scale));
            fits = other <= MULTIPLE_MAX / whole;
            whole *= fits ? other : 1;
        }
        if (!fits)
            return sp_schema_fail(c, SP_E_LIMIT, l->item.value, "\"multipleOf\" is too large or too fine");
        b->multiple = whole;
        b->scale = most;
    }
    return SP_OK;
}

static sp_status number_dfa(sp_schema_compiler *c, const sp_case *k, sp_dfa *dfa)
{
    sp_number_bounds bounds = k->bounds;
    bounds.integer = k->integer;
    SP_TRY(add_multiples(c, k, &bounds));
    sp_status status = sp_dfa_number(dfa, &bounds, &c->budget, c->err);
    if (status != SP_E_LIMIT) return status;
    return sp_schema_fail(c, status, k->multiples ? k->multiples->item.value : k->seen->item.value,
                          "bounds of a number take too many states");
}

/* --- constants ------------------------------------------------------------------------------------------ */

static size_t count_characters(const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) n += ((unsigned char)text[i] & 0xC0) != 0x80;
    return n;
}

/* Texts of constants, one after the other, each ended by a NUL. */
typedef struct text_list {
    sp_buf texts;
    size_t n;
} text_list;

static sp_status add_text(text_list *list, const char *text, size_t len, sp_error *err)
{
    list->n++;
    return sp_buf_append(&list->texts, text, len, err) == SP_OK ? sp_buf_append(&list->texts, "", 1, err)
                                                                : SP_E_NOMEM;
}

static sp_status add_number(sp_schema_compiler *c, const sp_case *k, const sp_json *value, text_list *list)
{
    const sp_number_bounds *b = &k->bounds;
    sp_decimal d;
    char text[48];
    sp_schema_number_text(value, text);
    if (!sp_decimal_read(&d, text)) return sp_schema_fail(c, SP_E_LIMIT, value, "a number is too large");
    bool whole = d.n_digits <= d.point || d.n_digits == 0;
    int low = b->has_min ? sp_decimal_compare(&d, &b->min) : 1,
        high = b->has_max ? sp_decimal_compare(&d, &b->max) : -1;
    if ((k->integer && !whole) || low < 0 || high > 0 || (low == 0 && b->min_excluded) ||
        (high == 0 && b->max_excluded))
        return SP_OK;
    if (k->multiples) {
        sp_case plain = *k;
        sp_dfa dfa;
        plain.bounds = (sp_number_bounds)SP_NUMBER_ANY;
        plain.integer = false;
        if (strpbrk(text, "eE")) return sp_schema_fail(c, SP_E_LIMIT, value, "a number is too large");
        SP_TRY(number_dfa(c, &plain, &dfa));
        bool accepted = sp_dfa_accepts(&dfa, text, strlen(text));
        sp_dfa_clear(&dfa);
        if (!accepted) return SP_OK;
    }
    SP_TRY(add_text(list, text, strlen(text), c->err));
    if (!whole || k->integer || strpbrk(text, ".eE")) return SP_OK;
    strcat(text, ".0");
    return add_text(list, text, strlen(text), c->err);
}

static sp_status add_string(sp_schema_compiler *c, const sp_case *k, const sp_json *value, text_list *list)
{
    size_t len;
    const char *text = sp_json_string(value, &len);
    size_t n = count_characters(text, len);
    sp_buf quoted = {NULL, 0, 0};
    if (n < k->min_length || n > k->max_length) return SP_OK;
    sp_status status = sp_schema_quote(&quoted, text, len, c->err);
    bool accepted = true;
    for (const sp_schema_list *l = k->patterns; l && status == SP_OK; l = l->rest) {
        uint32_t dfa;
        status = sp_schema_pattern(c, l->text, l->item.value, &dfa);
        if (status == SP_OK)
            accepted = accepted && sp_dfa_accepts(&c->grammar->dfas[dfa], quoted.data, quoted.len);
    }
    if (status == SP_OK && accepted) status = add_text(list, quoted.data, quoted.len, c->err);
    sp_buf_clear(&quoted);
    return status;
}

static unsigned type_of(const sp_json *value)
{
    switch (sp_json_typeof(value)) {
    case SP_JSON_NULL: return SP_TYPE_NULL;
    case SP_JSON_BOOL: return SP_TYPE_BOOLEAN;
    case SP_JSON_INT:
    case SP_JSON_REAL: return SP_TYPE_NUMBER;
    case SP_JSON_STRING: return SP_TYPE_STRING;
    case SP_JSON_ARRAY: return SP_TYPE_ARRAY;
    case SP_JSON_OBJECT: return SP_TYPE_OBJECT;
    }
    return 0;
}

/* Scalars among the constants; only strings if `strings`. */
static sp_status list_constants(sp_schema_compiler *c, const sp_case *k, unsigned types, text_list *list)
{
    for (const sp_schema_list *l = k->constants; l; l = l->rest) {
        const sp_json *value = l->item.value;
        unsigned type = type_of(value) & types & k->types;
        if (type == SP_TYPE_NULL) SP_TRY(add_text(list, "null", 4, c->err));
        if (type == SP_TYPE_BOOLEAN) {
            bool is_true = sp_json_bool(value, false);
            SP_TRY(add_text(list, is_true ? "true" : "false", is_true ? 4 : 5, c->err));
        }
        if (type == SP_TYPE_NUMBER) SP_TRY(add_number(c, k, value, list));
        if (type == SP_TYPE_STRING) SP_TRY(add_string(c, k, value, list));
    }
    return SP_OK;
}

static sp_status texts_dfa(sp_schema_compiler *c, const text_list *list, uint32_t *index)
{
    const char **texts = sp_malloc_array(list->n, sizeof *texts), *at = list->texts.data;
    sp_dfa dfa;
    if (!texts) return sp_fail_nomem(c->err, "json schema", list->n * sizeof *texts);
    for (size_t i = 0; i < list->n; i++, at += strlen(at) + 1) texts[i] = at;
    sp_status status = sp_dfa_texts(&dfa, texts, list->n, &c->budget, c->err);
    sp_free(texts);
    if (status == SP_E_LIMIT)
        return sp_fail(c->err, status, "json schema: constants are too long at one place");
    return status != SP_OK ? status : sp_grammar_add_dfa(c->grammar, &dfa, index, c->err);
}

sp_status sp_schema_constants(sp_schema_compiler *c, const sp_case *k, unsigned types, uint32_t *dfa,
                              bool *some)
{
    text_list list = {{NULL, 0, 0}, 0};
    sp_status status = list_constants(c, k, types, &list);
    *some = list.n > 0;
    if (status == SP_OK && *some) status = texts_dfa(c, &list, dfa);
    sp_buf_clear(&list.texts);
    return status;
}

/* --- alternatives --------------------------------------------------------------------------------------- */

static sp_status emit_dfa(sp_schema_compiler *c, uint32_t node, uint32_t dfa)
{
    sp_alt *alt;
    SP_TRY(sp_grammar_add_alt(c->grammar, node, SP_ALT_DFA, &alt, c->err));
    alt->dfa = dfa;
    return SP_OK;
}

static sp_status emit_words(sp_schema_compiler *c, const sp_case *k, uint32_t node)
{
    text_list list = {{NULL, 0, 0}, 0};
    uint32_t dfa = 0;
    sp_status status = SP_OK;
    if (k->types & SP_TYPE_NULL) status = add_text(&list, "null", 4, c->err);
    if (status == SP_OK && (k->types & SP_TYPE_BOOLEAN)) status = add_text(&list, "true", 4, c->err);
    if (status == SP_OK && (k->types & SP_TYPE_BOOLEAN)) status = add_text(&list, "false", 5, c->err);
    if (status == SP_OK && list.n) status = texts_dfa(c, &list, &dfa);
    if (status == SP_OK && list.n) status = emit_dfa(c, node, dfa);
    sp_buf_clear(&list.texts);
    return status;
}

static sp_status emit_string(sp_schema_compiler *c, const sp_case *k, uint32_t node)
{
    uint32_t dfa;
    bool any;
    sp_alt *alt;
    SP_TRY(sp_schema_strings(c, k, &dfa, &any));
    if (!any) return emit_dfa(c, node, dfa);
    SP_TRY(sp_grammar_add_alt(c->grammar, node, SP_ALT_STRING, &alt, c->err));
    alt->min = k->min_length;
    alt->max = k->max_length;
    return SP_OK;
}

static sp_status emit_container(sp_schema_compiler *c, const sp_case *k, uint32_t node)
{
    if (k->types & SP_TYPE_ARRAY) SP_TRY(sp_schema_emit_array(c, k, node));
    return k->types & SP_TYPE_OBJECT ? sp_schema_emit_object(c, k, node) : SP_OK;
}

/* Constants: scalars as texts; arrays and objects as if schemas said what is in them. */
static sp_status emit_constants(sp_schema_compiler *c, const sp_case *k, uint32_t node)
{
    uint32_t dfa;
    bool some;
    SP_TRY(sp_schema_constants(c, k, SP_TYPE_ALL, &dfa, &some));
    if (some) SP_TRY(emit_dfa(c, node, dfa));
    for (const sp_schema_list *l = k->constants; l; l = l->rest) {
        sp_case one = *k;
        one.types &= type_of(l->item.value) & (SP_TYPE_ARRAY | SP_TYPE_OBJECT);
        if (!one.types) continue;
        SP_TRY(sp_schema_push(c, &one.sources, l->item, NULL));
        SP_TRY(emit_container(c, &one, node));
    }
    return SP_OK;
}

sp_status sp_schema_emit(sp_schema_compiler *c, const sp_case *k, void *ctx)
{
    uint32_t node = *(const uint32_t *)ctx, index;
    sp_dfa dfa;
    if (k->has_constants) return emit_constants(c, k, node);
    SP_TRY(emit_words(c, k, node));
    if (k->types & SP_TYPE_NUMBER) {
        SP_TRY(number_dfa(c, k, &dfa));
        SP_TRY(sp_grammar_add_dfa(c->grammar, &dfa, &index, c->err));
        SP_TRY(emit_dfa(c, node, index));
    }
    if (k->types & SP_TYPE_STRING) SP_TRY(emit_string(c, k, node));
    return emit_container(c, k, node);
}
