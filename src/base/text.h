/* SPDX-License-Identifier: MIT */
/* Questions about NUL-terminated text that more than one part asks. */
#ifndef SP_BASE_TEXT_H
#define SP_BASE_TEXT_H

#include <stdbool.h>
#include <string.h>
#include <strings.h>

static inline bool sp_ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* The same for ASCII letters of either case. */
static inline bool sp_ends_with_ignoring_case(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcasecmp(text + n - m, end) == 0;
}

/* Edit distance (Levenshtein) for "did you mean"; 64, the largest, where either word has 64 bytes or more. */
size_t sp_word_distance(const char *a, const char *b);

#endif
