/* SPDX-License-Identifier: MIT */
/* Automata of JSON's scalars: numbers within bounds, constants. Budgets are as in sp_dfa_maker. */
#ifndef SP_TEXT_GRAMMAR_BUILD_H
#define SP_TEXT_GRAMMAR_BUILD_H

#include "text/grammar_dfa.h"

#define SP_DECIMAL_DIGITS_MAX 40

/* A number as its digits: (-1)^negative * 0.digits * 10^point, without leading and trailing zeros. */
typedef struct sp_decimal {
    bool negative;
    int n_digits; /* 0: zero */
    int point;
    uint8_t digits[SP_DECIMAL_DIGITS_MAX];
} sp_decimal;

/* Read JSON's number syntax; false if it has too many digits or too large an exponent. */
bool sp_decimal_read(sp_decimal *decimal, const char *text);
int sp_decimal_compare(const sp_decimal *a, const sp_decimal *b);

typedef struct sp_number_bounds {
    bool integer; /* written without a fraction */
    bool has_min, has_max, min_excluded, max_excluded;
    sp_decimal min, max;
    uint64_t multiple; /* 0: none; of 10^-scale */
    int scale;         /* most digits after the point of a multiple */
} sp_number_bounds;

#define SP_NUMBER_ANY                                                                                        \
    {                                                                                                        \
        .integer = false                                                                                     \
    }

/* Numbers within the bounds, in JSON's syntax. Exponents (of at most two digits) only where there are no bounds. */
sp_status sp_dfa_number(sp_dfa *dfa, const sp_number_bounds *bounds, uint64_t *budget, sp_error *err);

/* Exactly these texts. */
sp_status sp_dfa_texts(sp_dfa *dfa, const char *const *texts, size_t n, uint64_t *budget, sp_error *err);

#endif
