/* SPDX-License-Identifier: MIT */
/* The syntax tree of a regular expression, between its reader (grammar_regex_parse.c) and its compiler
 * (grammar_regex.c). */
#ifndef SP_TEXT_GRAMMAR_REGEX_PARTS_H
#define SP_TEXT_GRAMMAR_REGEX_PARTS_H

#include "base/mem.h"

#define SP_REGEX_NO_LIMIT UINT32_MAX
#define SP_REGEX_REPEAT_MAX 4096u

typedef enum sp_regex_kind {
    SP_REGEX_EMPTY,
    SP_REGEX_SET,  /* one character */
    SP_REGEX_THEN, /* left, then right */
    SP_REGEX_OR,
    SP_REGEX_REPEAT, /* left, min to max times */
    SP_REGEX_BEGIN,  /* ^ */
    SP_REGEX_END     /* $ */
} sp_regex_kind;

typedef struct sp_char_range {
    uint32_t first, last;
} sp_char_range;

typedef struct sp_regex {
    sp_regex_kind kind;
    const struct sp_regex *left, *right;
    uint32_t min, max;
    const sp_char_range *ranges; /* (n_ranges) sorted, disjoint */
    size_t n_ranges;
} sp_regex;

/* Everything is allocated from the arena. */
sp_status sp_regex_parse(const sp_regex **regex, sp_arena *arena, const char *pattern, size_t len,
                         sp_error *err);

#endif
