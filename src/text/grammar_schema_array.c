/* SPDX-License-Identifier: MIT */
/* Arrays of a case. Items that must differ are strings: their automaton becomes a class of names that none may come twice of, as an
 * object has it. Start at sp_schema_emit_array(). */
#include "text/grammar_schema_parts.h"

#include <string.h>

const sp_json *sp_schema_prefix(const sp_json *schema)
{
    const sp_json *items = sp_json_get(schema, "items");
    return sp_json_is(items, SP_JSON_ARRAY) ? items : sp_json_get(schema, "prefixItems");
}

static sp_status refuse_unique(const sp_schema_compiler *c, const sp_json *schema)
{
    return sp_schema_fail(c, SP_E_UNSUPPORTED, schema,
                          "\"uniqueItems\" is supported where all items are strings of one schema");
}

/* The schemas of item i, those of all further items for i = SIZE_MAX. */
static sp_status item_node(sp_schema_compiler *c, const sp_case *k, size_t i, uint32_t *node)
{
    sp_schema_item items[SP_SCHEMA_DEPTH_MAX];
    size_t n = 0;
    for (const sp_schema_list *l = k->sources; l; l = l->rest) {
        const sp_json *value = l->item.value, *prefix = sp_schema_prefix(value),
                      *rest = sp_json_get(value, "items");
        if (sp_json_is(rest, SP_JSON_ARRAY)) rest = sp_json_get(value, "additionalItems");
        if (!rest) rest = sp_json_get(value, "unevaluatedItems");
        if (n == SP_SCHEMA_DEPTH_MAX)
            return sp_schema_fail(c, SP_E_LIMIT, value, "too many schemas of an item");
        if (l->item.is_const)
            items[n++] = (sp_schema_item){sp_json_at(value, i), true};
        else if (i < sp_json_size(prefix))
            items[n++] = (sp_schema_item){sp_json_at(prefix, i), false};
        else if (rest)
            items[n++] = (sp_schema_item){rest, false};
    }
    return sp_schema_intern(c, items, n, node);
}

/* Items that are to differ, where some are given one by one: constants do or do not (*never), schemas are refused. */
static sp_status judge_first(sp_schema_compiler *c, const sp_case *k, size_t n, bool *never)
{
    bool fixed = false;
    for (const sp_schema_list *l = k->sources; l; l = l->rest) {
        const sp_json *value = l->item.value;
        fixed |= l->item.is_const;
        for (size_t i = 0; l->item.is_const && i < sp_json_size(value); i++)
            for (size_t j = 0; j < i; j++)
                *never |= sp_schema_same(sp_json_at(value, i), sp_json_at(value, j));
    }
    return n == 0 || fixed ? SP_OK : refuse_unique(c, k->unique);
}

sp_status sp_schema_emit_array(sp_schema_compiler *c, const sp_case *k, uint32_t node)
{
    size_t n = 0, min = k->min_items, max = k->max_items;
    uint32_t rest = c->never, items[SP_SCHEMA_ITEMS_MAX];
    bool never = false;
    sp_alt *alt;
    for (const sp_schema_list *l = k->sources; l; l = l->rest) {
        bool is_const = l->item.is_const;
        if (is_const && !sp_json_is(l->item.value, SP_JSON_ARRAY)) return SP_OK;
        size_t size = sp_json_size(is_const ? l->item.value : sp_schema_prefix(l->item.value));
        if (size > n) n = size;
        if (is_const && size > min) min = size;
        if (is_const && size < max) max = size;
    }
    if (n > max) n = max;
    if (min > max) return SP_OK;
    if (k->unique && max > 1) SP_TRY(judge_first(c, k, n, &never));
    if (never) return SP_OK;
    if (n > SP_SCHEMA_ITEMS_MAX)
        return sp_schema_fail(c, SP_E_LIMIT, k->sources->item.value, "more than %d first items",
                              SP_SCHEMA_ITEMS_MAX);
    for (size_t i = 0; i < n; i++) SP_TRY(item_node(c, k, i, &items[i]));
    if (n < max) SP_TRY(item_node(c, k, SIZE_MAX, &rest));
    SP_TRY(sp_grammar_add_alt(c->grammar, node, SP_ALT_ARRAY, &alt, c->err));
    alt->min = (uint32_t)min;
    alt->max = (uint32_t)max;
    alt->rest = rest;
    if (n == 0) return k->unique && max > 1 ? sp_schema_note_unique(c, node, k->unique) : SP_OK;
    alt->items = sp_malloc_array(n, sizeof *alt->items);
    if (!alt->items) return sp_fail_nomem(c->err, "json schema", n * sizeof *alt->items);
    memcpy(alt->items, items, n * sizeof *items);
    alt->n_items = n;
    return SP_OK;
}

/* --- items that differ ---------------------------------------------------------------------------------- */

sp_status sp_schema_note_unique(sp_schema_compiler *c, uint32_t node, const sp_json *schema)
{
    if (c->n_uniques == c->cap_uniques) {
        size_t cap = c->cap_uniques ? c->cap_uniques * 2 : 8;
        sp_schema_unique *grown = sp_realloc_array(c->uniques, cap, sizeof *grown);
        if (!grown) return sp_fail_nomem(c->err, "json schema", cap * sizeof *grown);
        c->uniques = grown;
        c->cap_uniques = cap;
    }
    c->uniques[c->n_uniques++] = (sp_schema_unique){node, c->grammar->nodes[node].n_alts - 1, schema};
    return SP_OK;
}

/* The only alternative of the items' node as a class of texts, of which strings have one spelling each. */
static bool make_class(const sp_grammar *g, uint32_t node, sp_alt_class *class)
{
    const sp_grammar_node *items = &g->nodes[node];
    const sp_alt *only = items->alts;
    *class = (sp_alt_class){.dfa = SP_DFA_ANY_KEY, .max = SP_GRAMMAR_NO_LIMIT, .node = node};
    if (items->n_alts != 1) return false;
    class->min = only->kind == SP_ALT_STRING ? only->min : 0;
    class->max = only->kind == SP_ALT_STRING ? only->max : SP_GRAMMAR_NO_LIMIT;
    if (only->kind == SP_ALT_DFA) class->dfa = only->dfa;
    return only->kind == SP_ALT_STRING || (only->kind == SP_ALT_DFA && g->dfas[only->dfa].is_string);
}

sp_status sp_schema_settle_unique(sp_schema_compiler *c)
{
    for (size_t i = 0; i < c->n_uniques; i++) {
        sp_grammar *g = c->grammar;
        sp_alt *alt = &g->nodes[c->uniques[i].node].alts[c->uniques[i].alt];
        sp_alt_class class;
        if (g->nodes[alt->rest].n_alts == 0) continue; /* no items at all */
        if (!make_class(g, alt->rest, &class)) return refuse_unique(c, c->uniques[i].schema);
        uint32_t n_texts = class.dfa == SP_DFA_ANY_KEY ? (class.max ? SP_DFA_MANY : 1)
                                                       : g->dfas[class.dfa].n_texts[SP_DFA_START];
        if (alt->min > n_texts) alt->min = 1, alt->max = 0; /* there are not so many */
        alt->classes = sp_malloc_array(1, sizeof *alt->classes);
        if (!alt->classes) return sp_fail_nomem(c->err, "json schema", sizeof *alt->classes);
        alt->classes[0] = class;
        alt->n_classes = 1;
    }
    return SP_OK;
}
