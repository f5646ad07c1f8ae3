/* SPDX-License-Identifier: MIT */
/* Grammars: their parts, the depths of their nodes, and the grammar of any JSON object. Schemas: grammar_schema.c. */
#include "text/grammar_program.h"

#include <string.h>

#include "text/grammar_build.h"

sp_status sp_grammar_begin(sp_grammar **grammar, sp_error *err)
{
    sp_grammar *g = sp_calloc(1, sizeof *g);
    *grammar = g;
    if (!g) return sp_fail_nomem(err, "grammar", sizeof *g);
    sp_status status = SP_OK;
    for (int canonical = 0; canonical < 2 && status == SP_OK; canonical++) {
        sp_dfa dfa;
        uint32_t index;
        status = sp_dfa_string(&dfa, canonical, err);
        if (status == SP_OK) status = sp_grammar_add_dfa(g, &dfa, &index, err);
    }
    if (status == SP_OK) return SP_OK;
    sp_grammar_destroy(g);
    *grammar = NULL;
    return status;
}

void sp_alt_clear(sp_alt *alt)
{
    for (size_t i = 0; i < alt->n_props; i++) sp_free(alt->props[i].key);
    sp_free(alt->props);
    sp_free(alt->items);
    sp_free(alt->classes);
}

void sp_grammar_destroy(sp_grammar *grammar)
{
    if (!grammar) return;
    for (size_t i = 0; i < grammar->n_nodes; i++) {
        for (size_t a = 0; a < grammar->nodes[i].n_alts; a++) sp_alt_clear(&grammar->nodes[i].alts[a]);
        sp_free(grammar->nodes[i].alts);
    }
    for (size_t i = 0; i < grammar->n_dfas; i++) sp_dfa_clear(&grammar->dfas[i]);
    sp_free(grammar->nodes);
    sp_free(grammar->dfas);
    sp_free(grammar);
}

sp_status sp_grammar_add_node(sp_grammar *g, uint32_t *node, sp_error *err)
{
    if (g->n_nodes == g->cap_nodes) {
        size_t cap = g->cap_nodes ? g->cap_nodes * 2 : 16;
        sp_grammar_node *grown = sp_realloc_array(g->nodes, cap, sizeof *grown);
        if (!grown) return sp_fail_nomem(err, "grammar", cap * sizeof *grown);
        g->nodes = grown;
        g->cap_nodes = cap;
    }
    *node = (uint32_t)g->n_nodes++;
    g->nodes[*node] = (sp_grammar_node){.depth = SP_GRAMMAR_NEVER};
    return SP_OK;
}

sp_status sp_grammar_add_dfa(sp_grammar *g, sp_dfa *dfa, uint32_t *index, sp_error *err)
{
    g->n_cells += (uint64_t)dfa->n_states * dfa->n_classes;
    if (g->n_cells > SP_GRAMMAR_CELLS_MAX) {
        sp_dfa_clear(dfa);
        return sp_fail(err, SP_E_LIMIT, "grammar: its automata are too large");
    }
    if (g->n_dfas == g->cap_dfas) {
        size_t cap = g->cap_dfas ? g->cap_dfas * 2 : 8;
        sp_dfa *grown = sp_realloc_array(g->dfas, cap, sizeof *grown);
        if (!grown) {
            sp_dfa_clear(dfa);
            return sp_fail_nomem(err, "grammar", cap * sizeof *grown);
        }
        g->dfas = grown;
        g->cap_dfas = cap;
    }
    *index = (uint32_t)g->n_dfas;
    g->dfas[g->n_dfas++] = *dfa;
    memset(dfa, 0, sizeof *dfa);
    return SP_OK;
}

sp_status sp_grammar_add_alt(sp_grammar *g, uint32_t node, sp_alt_kind kind, sp_alt **alt, sp_error *err)
{
    sp_grammar_node *n = &g->nodes[node];
    sp_alt *grown = sp_realloc_array(n->alts, n->n_alts + 1, sizeof *grown);
    if (!grown) return sp_fail_nomem(err, "grammar", (n->n_alts + 1) * sizeof *grown);
    n->alts = grown;
    *alt = &grown[n->n_alts++];
    memset(*alt, 0, sizeof **alt);
    (*alt)->kind = kind;
    (*alt)->depth = SP_GRAMMAR_NEVER;
    return SP_OK;
}

/* --- depths --------------------------------------------------------------------------------------------- */

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static uint32_t array_depth(const sp_grammar *g, const sp_alt *alt)
{
    uint32_t depth = 0;
    if (alt->min > alt->max) return SP_GRAMMAR_NEVER;
    for (uint32_t i = 0; i < alt->min && i <= alt->n_items; i++)
        depth = larger(depth, g->nodes[i < alt->n_items ? alt->items[i] : alt->rest].depth);
    return depth == SP_GRAMMAR_NEVER ? depth : depth + 1;
}

/* Names that a class has beside the known ones. */
static uint32_t class_size(const sp_grammar *g, const sp_alt *alt, const sp_alt_class *other)
{
    const sp_dfa *dfa = &g->dfas[other->dfa];
    if (dfa->n_states < 2 || other->min > other->max) return 0;
    if (other->dfa == SP_DFA_ANY_KEY && other->max > 0) return SP_DFA_MANY;
    uint32_t n = other->dfa == SP_DFA_ANY_KEY ? 1 : dfa->n_texts[SP_DFA_START];
    if (n == SP_DFA_MANY) return n;
    for (size_t i = 0; i < alt->n_props; i++) {
        bool same = other->dfa == SP_DFA_ANY_KEY
                        ? alt->props[i].key_len == 2
                        : sp_dfa_accepts(dfa, alt->props[i].key, alt->props[i].key_len);
        n -= same;
    }
    return n;
}

/* Least depth up to which `missing` properties that are not required can be found: depths are tried in order. */
static uint32_t optional_depth(const sp_grammar *g, const sp_alt *alt, uint64_t missing)
{
    for (uint32_t depth = 0; depth <= SP_GRAMMAR_DEPTH_MAX; depth++) {
        uint64_t n = 0;
        for (size_t i = 0; i < alt->n_props; i++)
            n += !alt->props[i].required && g->nodes[alt->props[i].node].depth <= depth;
        for (size_t i = 0; i < alt->n_classes; i++)
            if (g->nodes[alt->classes[i].node].depth <= depth) n += class_size(g, alt, &alt->classes[i]);
        if (n >= missing) return depth;
    }
    return SP_GRAMMAR_NEVER;
}

static uint32_t object_depth(const sp_grammar *g, const sp_alt *alt)
{
    uint32_t depth = 0;
    uint64_t n_required = 0;
    for (size_t i = 0; i < alt->n_props; i++) {
        if (!alt->props[i].required) continue;
        n_required++;
        depth = larger(depth, g->nodes[alt->props[i].node].depth);
    }
    if (alt->min > alt->max || n_required > alt->max) return SP_GRAMMAR_NEVER;
    if (alt->min > n_required && depth != SP_GRAMMAR_NEVER)
        depth = larger(depth, optional_depth(g, alt, alt->min - n_required));
    return depth == SP_GRAMMAR_NEVER ? depth : depth + 1;
}

static uint32_t alt_depth(const sp_grammar *g, const sp_alt *alt)
{
    switch (alt->kind) {
    case SP_ALT_DFA: return g->dfas[alt->dfa].n_states > 1 ? 0 : SP_GRAMMAR_NEVER;
    case SP_ALT_STRING: return alt->min <= alt->max ? 0 : SP_GRAMMAR_NEVER;
    case SP_ALT_ARRAY: return array_depth(g, alt);
    case SP_ALT_OBJECT: return object_depth(g, alt);
    }
    return SP_GRAMMAR_NEVER;
}

/* Depths only fall, each round settles those of one more depth at least. */
sp_status sp_grammar_settle(sp_grammar *g, sp_error *err)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t n = 0; n < g->n_nodes; n++) {
            for (size_t a = 0; a < g->nodes[n].n_alts; a++) {
                sp_alt *alt = &g->nodes[n].alts[a];
                uint32_t depth = alt_depth(g, alt);
                if (depth > SP_GRAMMAR_DEPTH_MAX) depth = SP_GRAMMAR_NEVER;
                if (depth >= alt->depth) continue;
                alt->depth = depth;
                if (depth < g->nodes[n].depth) g->nodes[n].depth = depth;
                changed = true;
            }
        }
    }
    if (g->nodes[g->root].depth == SP_GRAMMAR_NEVER)
        return sp_fail(err, SP_E_UNSUPPORTED, "json schema: nothing can satisfy it (within %u levels)",
                       SP_GRAMMAR_DEPTH_MAX);
    return SP_OK;
}

/* --- any JSON ------------------------------------------------------------------------------------------- */

static sp_status add_object_of_any(sp_grammar *g, uint32_t node, uint32_t any, sp_error *err)
{
    sp_alt *alt;
    SP_TRY(sp_grammar_add_alt(g, node, SP_ALT_OBJECT, &alt, err));
    alt->max = SP_GRAMMAR_NO_LIMIT;
    alt->classes = sp_calloc(1, sizeof *alt->classes);
    if (!alt->classes) return sp_fail_nomem(err, "grammar", sizeof *alt->classes);
    alt->n_classes = 1;
    alt->classes[0] = (sp_alt_class){.dfa = SP_DFA_ANY_KEY, .max = SP_GRAMMAR_NO_LIMIT, .node = any};
    return SP_OK;
}

static sp_status fill_any(sp_grammar *g, sp_error *err)
{
    uint32_t any = 0, index = 0;
    sp_alt *alt;
    sp_dfa dfa;
    SP_TRY(sp_grammar_add_node(g, &any, err));
    SP_TRY(sp_grammar_add_node(g, &g->root, err));
    SP_TRY(add_object_of_any(g, g->root, any, err));
    SP_TRY(add_object_of_any(g, any, any, err));
    SP_TRY(sp_grammar_add_alt(g, any, SP_ALT_ARRAY, &alt, err));
    alt->max = SP_GRAMMAR_NO_LIMIT;
    alt->rest = any;
    SP_TRY(sp_grammar_add_alt(g, any, SP_ALT_STRING, &alt, err));
    alt->max = SP_GRAMMAR_NO_LIMIT;
    sp_number_bounds bounds = SP_NUMBER_ANY;
    SP_TRY(sp_dfa_number(&dfa, &bounds, NULL, err));
    SP_TRY(sp_grammar_add_dfa(g, &dfa, &index, err));
    SP_TRY(sp_grammar_add_alt(g, any, SP_ALT_DFA, &alt, err));
    alt->dfa = index;
    static const char *const words[] = {"null", "false", "true"};
    SP_TRY(sp_dfa_texts(&dfa, words, 3, NULL, err));
    SP_TRY(sp_grammar_add_dfa(g, &dfa, &index, err));
    SP_TRY(sp_grammar_add_alt(g, any, SP_ALT_DFA, &alt, err));
    alt->dfa = index;
    return sp_grammar_settle(g, err);
}

sp_status sp_grammar_json_object(sp_grammar **grammar, sp_error *err)
{
    SP_TRY(sp_grammar_begin(grammar, err));
    sp_status status = fill_any(*grammar, err);
    if (status == SP_OK) return SP_OK;
    sp_grammar_destroy(*grammar);
    *grammar = NULL;
    return status;
}
