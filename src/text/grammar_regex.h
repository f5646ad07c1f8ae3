/* SPDX-License-Identifier: MIT */
/* Patterns of JSON Schema (ECMA-262 regular expressions with the u flag, searched anywhere in a string) as automata over
 * JSON strings in their canonical spelling, quotes included. */
#ifndef SP_TEXT_GRAMMAR_REGEX_H
#define SP_TEXT_GRAMMAR_REGEX_H

#include "text/grammar_dfa.h"

/* *budget: as sp_dfa_maker has it. SP_E_FORMAT: not a regular expression; SP_E_UNSUPPORTED: what no automaton has (back references, look-around, word
 * boundaries) or properties of characters; SP_E_LIMIT: too many states. */
sp_status sp_dfa_regex(sp_dfa *dfa, const char *pattern, size_t len, uint64_t *budget, sp_error *err);

/* The strings that all of the automata accept (`negated`: do not accept), of min to max characters. */
typedef struct sp_dfa_part {
    const sp_dfa *dfa;
    bool negated;
} sp_dfa_part;

#define SP_DFA_PARTS_MAX 12

typedef struct sp_dfa_meeting {
    const sp_dfa *canonical;
    const sp_dfa_part *parts; /* (n) */
    size_t n;
    uint32_t min, max;
} sp_dfa_meeting;

sp_status sp_dfa_meet(sp_dfa *dfa, const sp_dfa_meeting *meeting, uint64_t *budget, sp_error *err);

/* As sp_dfa_regex, with look-ahead at the pattern's beginning (grammar_lookahead.c). `canonical`: the automaton of all strings. */
sp_status sp_dfa_pattern(sp_dfa *dfa, const sp_dfa *canonical, const char *pattern, size_t len,
                         uint64_t *budget, sp_error *err);

/* The pattern of a string format that is supported, or NULL. *known: the standard defines it, so that it cannot be left aside. */
const char *sp_format_pattern(const char *name, bool *known);

#endif
