/* SPDX-License-Identifier: MIT */
/* A compiled grammar: nodes, each one place for a value, hold the alternatives that may stand there. Every alternative
 * is one kind of value; numbers, constants and strings of a pattern are automata. Written by grammar_schema.c (or
 * by hand for "any JSON object"), read by grammar_match.c.
 *
 * Invariants: 1. `depth` is the least number of arrays and objects inside one another that a value takes;
 * SP_GRAMMAR_NEVER where there is no value. 2. A required property can stand: its node's depth is finite in every
 * alternative whose own depth is. */
#ifndef SP_TEXT_GRAMMAR_PROGRAM_H
#define SP_TEXT_GRAMMAR_PROGRAM_H

#include "text/grammar_dfa.h"

#include <sputnik/grammar.h>

#define SP_GRAMMAR_NEVER UINT32_MAX
#define SP_GRAMMAR_NO_LIMIT UINT32_MAX
#define SP_GRAMMAR_DEPTH_MAX                                                                                 \
    128u /* arrays and objects inside one another; parsers of the field stop at 512 and more */

#define SP_GRAMMAR_CELLS_MAX ((uint64_t)1 << 24) /* of the automata's tables, 4 bytes each */

enum { SP_DFA_ANY_STRING, SP_DFA_ANY_KEY, SP_DFA_OWN }; /* the first automata of every grammar */

typedef enum sp_alt_kind { SP_ALT_DFA, SP_ALT_STRING, SP_ALT_ARRAY, SP_ALT_OBJECT } sp_alt_kind;

/* A property of a known name. */
typedef struct sp_alt_prop {
    char *key; /* as it is written, quotes included */
    uint32_t key_len;
    uint32_t node;
    bool required;
} sp_alt_prop;

/* Properties of other names: those that an automaton accepts, or all of min to max characters. */
typedef struct sp_alt_class {
    uint32_t dfa; /* SP_DFA_ANY_KEY: min and max count */
    uint32_t min, max;
    uint32_t node;
} sp_alt_class;

typedef struct sp_alt {
    sp_alt_kind kind;
    uint32_t depth;
    uint32_t dfa;
    uint32_t min, max; /* characters, items or properties */
    uint32_t *items;   /* (n_items) nodes of the first items */
    size_t n_items;
    uint32_t rest; /* node of every further item */
    sp_alt_prop *props;
    size_t n_props;
    sp_alt_class *classes; /* of an array: one, if its items are texts of that class that all differ */
    size_t n_classes;
} sp_alt;

typedef struct sp_grammar_node {
    sp_alt *alts;
    size_t n_alts;
    uint32_t depth;
} sp_grammar_node;

struct sp_grammar {
    sp_grammar_node *nodes;
    size_t n_nodes, cap_nodes;
    sp_dfa *dfas;
    size_t n_dfas, cap_dfas;
    uint64_t n_cells; /* of all automata's tables */
    uint32_t root;
};

/* A grammar with the two automata of strings alone. */
sp_status sp_grammar_begin(sp_grammar **grammar, sp_error *err);

/* Add an empty node, an automaton (taken over, also on failure), an alternative of a node (zeroed but for kind). */
sp_status sp_grammar_add_node(sp_grammar *grammar, uint32_t *node, sp_error *err);
sp_status sp_grammar_add_dfa(sp_grammar *grammar, sp_dfa *dfa, uint32_t *index, sp_error *err);
sp_status sp_grammar_add_alt(sp_grammar *grammar, uint32_t node, sp_alt_kind kind, sp_alt **alt,
                             sp_error *err);

void sp_alt_clear(sp_alt *alt);

/* Settle the depths of all nodes (invariant 1); alternatives and properties that cannot be are left where they are. */
sp_status sp_grammar_settle(sp_grammar *grammar, sp_error *err);

#endif
