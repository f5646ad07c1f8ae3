/* SPDX-License-Identifier: MIT */
/* Deterministic automata over bytes, the leaves of a grammar: strings, numbers and constants as JSON writes them,
 * quotes included. State 0 is dead, state 1 the start. Every other state can still reach an accepted text: nothing
 * that has begun need fail. */
#ifndef SP_TEXT_GRAMMAR_DFA_H
#define SP_TEXT_GRAMMAR_DFA_H

#include "base/mem.h"

enum {
    SP_DFA_ACCEPTS = 1,
    SP_DFA_ENDS = 2, /* accepts, and nothing can follow */
    SP_DFA_CHAR = 4  /* inside a string, between two characters */
};

#define SP_DFA_DEAD 0u
#define SP_DFA_START 1u
#define SP_DFA_MANY UINT32_MAX

typedef struct sp_dfa {
    uint32_t n_states;
    uint32_t n_classes;
    bool is_string;       /* all texts are strings */
    uint8_t classes[256]; /* bytes that no state tells apart are one class */
    uint32_t *next;       /* (n_states, n_classes) */
    uint8_t *flags;       /* (n_states) */
    uint32_t *n_texts;    /* (n_states) accepted continuations, SP_DFA_MANY: at least that many */
} sp_dfa;

static inline uint32_t sp_dfa_next(const sp_dfa *dfa, uint32_t state, uint8_t byte)
{
    return dfa->next[(size_t)state * dfa->n_classes + dfa->classes[byte]];
}

void sp_dfa_clear(sp_dfa *dfa);

/* Build from a full table `next` (n_states, 256) and `flags` (SP_DFA_ACCEPTS, SP_DFA_CHAR), which stay the caller's:
 * what cannot be reached or cannot end is left out. dfa->n_states is 1 if no text is accepted. */
sp_status sp_dfa_build(sp_dfa *dfa, const uint32_t *next, const uint8_t *flags, uint32_t n_states,
                       sp_error *err);

/* Any JSON string; with `canonical` each string in one spelling alone, the one that compact writers use. */
sp_status sp_dfa_string(sp_dfa *dfa, bool canonical, sp_error *err);

/* Does it accept the whole text? */
bool sp_dfa_accepts(const sp_dfa *dfa, const char *text, size_t len);

/* An automaton described by a step function over opaque states of `size` bytes, explored from `start`. */
typedef struct sp_dfa_maker {
    size_t size;
    const void *start;
    const void *ctx;
    bool (*step)(const void *ctx, void *state, uint8_t byte); /* in place; false: dead */
    bool (*accepts)(const void *ctx, const void *state);
    uint32_t max_states; /* SP_E_LIMIT beyond */
    uint64_t
        *budget; /* steps that may still be taken, less those taken here; SP_E_LIMIT at 0; NULL: any number */
} sp_dfa_maker;

sp_status sp_dfa_make(sp_dfa *dfa, const sp_dfa_maker *maker, sp_error *err);

#endif
