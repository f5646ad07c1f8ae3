/* SPDX-License-Identifier: MIT */
/* The matcher's inside, shared by stepping (grammar_match.c), objects (grammar_match_object.c) and masks
 * (grammar_mask.c).
 *
 * A position is a set of stacks, each of which alone can be completed (invariant): so stacks may be dropped where there
 * are too many, and no allowed byte leads into a dead end. The top of a stack is held by value and changes in place;
 * what is below is immutable and shared. */
#ifndef SP_TEXT_GRAMMAR_MATCH_PARTS_H
#define SP_TEXT_GRAMMAR_MATCH_PARTS_H

#include "text/grammar_match.h"
#include "text/grammar_program.h"
#include "text/grammar_vocab.h"

#define SP_MATCH_STACKS_MAX 512
#define SP_MATCH_FIRST_BLANKS 4 /* white space before the value */
#define SP_MATCH_INDENT 8       /* blanks of indentation per array or object around */

typedef enum sp_frame_kind {
    SP_FRAME_DONE,   /* nothing can follow */
    SP_FRAME_VALUE,  /* a value is about to begin */
    SP_FRAME_DFA,    /* in a number, a constant or a string of a pattern */
    SP_FRAME_STRING, /* in any string */
    SP_FRAME_NAME,   /* in the name of a known property */
    SP_FRAME_KEY,    /* in another name, or in an item that must differ from others */
    SP_FRAME_ARRAY,
    SP_FRAME_OBJECT
} sp_frame_kind;

/* Where between its parts an array or object is. */
typedef enum sp_frame_place { SP_AT_FIRST, SP_AT_NEXT, SP_AT_MEMBER, SP_AT_COLON } sp_frame_place;

/* A name that stands in an object already. */
typedef struct sp_used_key {
    const struct sp_used_key *before;
    size_t start, len; /* in the text */
} sp_used_key;

/* n_blanks: characters before the whole value; elsewhere a space, or a line break and so many more. */
enum { SP_BLANK_SPACE = 1, SP_BLANK_LINE = 2 };

typedef struct sp_frame {
    const struct sp_frame *parent; /* NULL: the whole text's value */
    sp_frame_kind kind;
    uint8_t place;
    bool fresh;    /* KEY: no name of the object begins as this one */
    uint8_t depth; /* arrays and objects around */
    uint16_t n_blanks;
    uint32_t state; /* of the automaton; NAME: bytes so far */
    uint32_t count; /* characters, items or properties so far */
    uint32_t index; /* OBJECT: the first known property that may come next */
    uint32_t node;  /* VALUE: which; OBJECT at the colon: the coming value's */
    union {
        const sp_dfa *dfa;
        const sp_alt *alt;
        const sp_alt_prop *prop;
        const sp_alt_class *other;
    } of;
    const sp_used_key *used; /* OBJECT; ARRAY whose items differ: those that are there */
    size_t start;            /* KEY: where it begins in the text */
} sp_frame;

/* A set of stacks that grows. */
typedef struct sp_frames {
    sp_frame *items;
    size_t n, cap;
} sp_frames;

struct sp_matcher {
    const sp_grammar *grammar;
    sp_vocab *vocab; /* NULL: no tokenizer */
    sp_frames now;
    sp_frames levels; /* scratch: stacks by depth in the tree */
    sp_buf text;      /* all of it; beyond `len` scratch of a walk */
    sp_arena *arena, *spare;
    size_t keep; /* bytes of the arena at which what is not used any more is left behind */
    uint64_t *mask;
    bool failed; /* out of memory */
    struct {
        const sp_dfa *dfa;
        uint32_t state;
        sp_vocab_table *table;
    } tables[32]; /* of patterns' automata, in the order of use */
    size_t n_tables;
};

/* The bytes of the text up to and with the one under way. */
typedef struct sp_step_ctx {
    sp_matcher *m;
    sp_frames *out;
    size_t first; /* in out: where this step's results begin */
    const char *text;
    size_t len; /* the current byte included */
} sp_step_ctx;

/* Add to out what `top` becomes by the byte. */
void sp_match_step(sp_step_ctx *c, const sp_frame *top, uint8_t byte);

/* For objects and their names. */
void sp_match_object(sp_step_ctx *c, const sp_frame *top, uint8_t byte);
void sp_match_set(sp_step_ctx *c, const sp_frame *top, uint8_t byte); /* an array whose items differ */
void sp_match_name(sp_step_ctx *c, const sp_frame *top, uint8_t byte);
void sp_match_key(sp_step_ctx *c, const sp_frame *top, uint8_t byte);

/* The object's stack once a name that ended at text[..end) is complete. */
sp_frame sp_match_after_key(sp_matcher *m, const sp_frame *key, size_t end);

/* An array's items after one more. Counts beyond what bounds and first items tell apart are one. */
uint32_t sp_match_count_item(const sp_alt *alt, uint32_t count);

/* Steps' tools. */
void sp_match_emit(sp_step_ctx *c, const sp_frame *top);
const sp_frame *sp_match_save(sp_matcher *m, const sp_frame *frame);
bool sp_match_blank(sp_step_ctx *c, const sp_frame *top, uint8_t byte);
bool sp_match_fits(const sp_matcher *m, uint32_t node, unsigned depth);
void sp_match_value(sp_step_ctx *c, uint32_t node, const sp_frame *parent, unsigned depth);

#endif
