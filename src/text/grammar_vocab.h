/* SPDX-License-Identifier: MIT */
/* A vocabulary as a tree of bytes, over which a grammar finds the tokens that it allows: what an impossible byte
 * begins is skipped whole. One per tokenizer, made when it is first asked for, read by any number of threads. */
#ifndef SP_TEXT_GRAMMAR_VOCAB_H
#define SP_TEXT_GRAMMAR_VOCAB_H

#include "text/grammar_dfa.h"

#include <pthread.h>

#include <sputnik/tokenizer.h>

#define SP_VOCAB_DEPTH_MAX 512 /* longer tokens are never allowed by a grammar */

/* From one state of an automaton of strings: tokens that stay inside the string, and places in the tree where it ends.
 */
typedef struct sp_vocab_table {
    uint64_t *mask; /* (n_words) */
    uint32_t *ids;  /* (n_ids) of the mask, fewest characters begun first */
    size_t n_ids;
    uint32_t first[257]; /* ids[first[c]..first[c+1]) begin c characters; 255: that many or more */
    uint32_t *exits;     /* (n_exits) nodes whose byte ends the string */
    uint8_t *exit_chars; /* (n_exits) characters before */
    size_t n_exits;
} sp_vocab_table;

typedef struct sp_vocab {
    size_t n_words;   /* of a mask, 64 ids each */
    uint32_t n_nodes; /* in preorder; the root itself is none of them */
    uint8_t *bytes;   /* (n_nodes) */
    uint16_t *depths; /* (n_nodes) length of the path up to here, less one */
    uint32_t *ends;   /* (n_nodes) the node after the subtree */
    int32_t *ids;     /* (n_nodes) the token that is spelled so, -1: none */
    int32_t *twins;   /* (n_ids) another token spelled as this one, -1: none */
    int32_t *end_ids; /* (n_end_ids) tokens that end a reply */
    size_t n_end_ids;
    const sp_tokenizer *tokenizer;
    pthread_mutex_t mutex; /* of the tables */
    sp_vocab_table
        *tables[2][64]; /* of SP_DFA_ANY_STRING and SP_DFA_ANY_KEY by state; NULL: not asked for yet */
} sp_vocab;

/* The tokenizer's tree, which lives as long as the tokenizer. */
sp_status sp_tokenizer_vocab(const sp_tokenizer *tokenizer, sp_vocab **vocab, sp_error *err);
void sp_vocab_destroy(sp_vocab *vocab); /* accepts NULL */

static inline void sp_vocab_allow(const sp_vocab *vocab, uint64_t *mask, int32_t id)
{
    for (; id >= 0; id = vocab->twins[id]) mask[id >> 6] |= 1ull << (id & 63);
}

sp_status sp_vocab_table_create(sp_vocab_table **table, const sp_vocab *vocab, const sp_dfa *dfa,
                                uint32_t state, sp_error *err);
void sp_vocab_table_destroy(sp_vocab_table *table); /* accepts NULL */

#endif
