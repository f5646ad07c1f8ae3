/* SPDX-License-Identifier: MIT */
/* Automata of numbers. A state is what is left to know of the digits so far: how they compare with the digits of each
 * bound, and their remainder. Start at sp_dfa_number(). */
#include "text/grammar_build.h"

#include <stdlib.h>
#include <string.h>

/* --- decimals ------------------------------------------------------------------------------------------- */

bool sp_decimal_read(sp_decimal *d, const char *text)
{
    long exponent = 0;
    bool fraction = false;
    memset(d, 0, sizeof *d);
    if (*text == '-') d->negative = true, text++;
    for (; (*text >= '0' && *text <= '9') || *text == '.'; text++) {
        if (*text == '.') {
            fraction = true;
            continue;
        }
        if (d->n_digits == 0 && *text == '0') {
            d->point -= fraction;
            continue;
        }
        if (d->n_digits == SP_DECIMAL_DIGITS_MAX) {
            if (*text != '0') return false;
            d->point += !fraction;
            continue;
        }
        d->digits[d->n_digits++] = (uint8_t)(*text - '0');
        d->point += !fraction;
    }
    if (*text == 'e' || *text == 'E') exponent = strtol(text + 1, NULL, 10);
    while (d->n_digits && d->digits[d->n_digits - 1] == 0) d->n_digits--;
    if (d->n_digits == 0) {
        d->point = 0;
        d->negative = false;
        return true;
    }
    if (exponent < -400 || exponent > 400) return false;
    d->point += (int)exponent;
    return true;
}

static int compare_magnitudes(const sp_decimal *a, const sp_decimal *b)
{
    if (a->n_digits == 0 || b->n_digits == 0) return (a->n_digits > 0) - (b->n_digits > 0);
    if (a->point != b->point) return a->point < b->point ? -1 : 1;
    for (int i = 0; i < a->n_digits || i < b->n_digits; i++) {
        int x = i < a->n_digits ? a->digits[i] : 0, y = i < b->n_digits ? b->digits[i] : 0;
        if (x != y) return x < y ? -1 : 1;
    }
    return 0;
}

int sp_decimal_compare(const sp_decimal *a, const sp_decimal *b)
{
    if (a->negative != b->negative) return a->negative ? -1 : 1;
    int order = compare_magnitudes(a, b);
    return a->negative ? -order : order;
}

/* --- the automaton -------------------------------------------------------------------------------------- */

enum { N_START, N_MINUS, N_ZERO, N_INT, N_POINT, N_FRACTION, N_E, N_E_SIGN, N_E_DIGIT, N_E_DIGITS };

/* Numbers within bounds that have a fraction keep to so many digits, which a double tells apart: readers compare doubles,
 * and 0.05000000000000000001 is not above 0.05 for them. */
#define PRECISE_DIGITS 15

/* How the digits so far compare with a bound's magnitude, place by place. */
typedef struct versus {
    int16_t n;    /* integer digits so far, up to one more than the bound has; then fraction digits */
    int8_t order; /* of the digits so far against as many of the bound's: -1, 0, 1 */
} versus;

typedef struct state {
    uint8_t phase;
    uint8_t negative;
    uint8_t n_digits;   /* so far, up to PRECISE_DIGITS, where there are bounds */
    int16_t n_fraction; /* digits after the point, as far as a multiple's scale counts them */
    versus min, max;
    uint64_t rest; /* of the digits so far by the multiple */
} state;

/* The bound's digit at place i of its integer part written without leading zeros, or of its fraction. */
static int digit_at(const sp_decimal *bound, int i)
{
    return i >= 0 && i < bound->n_digits ? bound->digits[i] : 0;
}

static int integer_digits(const sp_decimal *bound)
{
    return bound->n_digits && bound->point > 0 ? bound->point : 0;
}

static void see_integer_digit(versus *v, const sp_decimal *bound, int digit)
{
    int n = integer_digits(bound);
    if (v->n > n) return; /* larger already */
    if (v->n < n && v->order == 0) {
        int other = digit_at(bound, v->n);
        v->order = (int8_t)((digit > other) - (digit < other));
    }
    v->n++;
    if (v->n > n) v->order = 1;
}

/* At the end of the integer part: fewer digits are less. `n` then counts the fraction. */
static void end_integer(versus *v, const sp_decimal *bound)
{
    if (v->n < integer_digits(bound)) v->order = -1;
    v->n = 0;
}

static void see_fraction_digit(versus *v, const sp_decimal *bound, int digit)
{
    int length = bound->n_digits - bound->point; /* the bound's fraction digits */
    if (v->order == 0) {
        int other = digit_at(bound, bound->point + v->n);
        v->order = (int8_t)((digit > other) - (digit < other));
    }
    if (v->order)
        v->n = 0;
    else if (v->n <= length)
        v->n++;
}

/* The order of the whole number's magnitude against the bound's, were it to end here. */
static int final_order(versus v, const sp_decimal *bound, bool in_fraction)
{
    if (!in_fraction) end_integer(&v, bound);
    if (v.order) return v.order;
    for (int i = bound->point + v.n; i < bound->n_digits; i++)
        if (digit_at(bound, i)) return -1;
    return 0;
}

static bool is_bounded(const sp_number_bounds *b)
{
    return b->has_min || b->has_max || b->multiple;
}

static bool take_digit(const sp_number_bounds *b, state *s, int digit, bool fraction)
{
    if (is_bounded(b) && !b->integer) {
        if (fraction && s->n_digits == PRECISE_DIGITS) return false;
        if (s->n_digits < PRECISE_DIGITS) s->n_digits++;
    }
    void (*see)(versus *, const sp_decimal *, int) = fraction ? see_fraction_digit : see_integer_digit;
    if (b->has_min) see(&s->min, &b->min, digit);
    if (b->has_max) see(&s->max, &b->max, digit);
    if (b->multiple) {
        if (fraction && ++s->n_fraction > b->scale) return false;
        s->rest = (uint64_t)(((unsigned __int128)s->rest * 10 + (unsigned)digit) % b->multiple);
    }
    return true;
}

static bool step_exponent(state *s, uint8_t byte)
{
    bool digit = byte >= '0' && byte <= '9';
    if (s->phase == N_E && (byte == '+' || byte == '-')) {
        s->phase = N_E_SIGN;
        return true;
    }
    if (!digit || s->phase == N_E_DIGITS) return false;
    s->phase = s->phase == N_E_DIGIT ? N_E_DIGITS : N_E_DIGIT;
    return true;
}

static bool step_number(const void *ctx, void *at, uint8_t byte)
{
    const sp_number_bounds *b = ctx;
    state *s = at;
    bool digit = byte >= '0' && byte <= '9';
    if (s->phase >= N_E) return step_exponent(s, byte);
    if (s->phase == N_START && byte == '-') {
        s->phase = N_MINUS;
        s->negative = 1;
        return true;
    }
    if (s->phase <= N_MINUS) {
        if (!digit || (byte == '0' && s->negative && b->integer)) return false;
        s->phase = byte == '0' ? N_ZERO : N_INT;
        return byte == '0' || take_digit(b, s, byte - '0', false);
    }
    if (digit) {
        if (s->phase == N_ZERO) return false;
        if (s->phase == N_POINT) s->phase = N_FRACTION;
        return take_digit(b, s, byte - '0', s->phase == N_FRACTION);
    }
    if (byte == '.' && s->phase <= N_INT && !b->integer) {
        s->phase = N_POINT;
        if (b->has_min) end_integer(&s->min, &b->min);
        if (b->has_max) end_integer(&s->max, &b->max);
        return true;
    }
    if ((byte == 'e' || byte == 'E') && s->phase != N_POINT && !b->integer && !is_bounded(b)) {
        memset(s, 0, sizeof *s);
        s->phase = N_E;
        return true;
    }
    return false;
}

/* The sign of number - bound. */
static int order_against(const state *s, const versus *v, const sp_decimal *bound)
{
    int order = final_order(*v, bound, s->phase >= N_POINT);
    if (s->negative == bound->negative) return s->negative ? -order : order;
    if (bound->n_digits == 0 && order == 0) return 0; /* -0 against 0 */
    return s->negative ? -1 : 1;
}

static bool is_multiple(const sp_number_bounds *b, const state *s)
{
    uint64_t rest = s->rest;
    if (!b->multiple) return true;
    for (int i = s->n_fraction; i < b->scale; i++)
        rest = (uint64_t)((unsigned __int128)rest * 10 % b->multiple);
    return rest == 0;
}

static bool number_may_end(const void *ctx, const void *at)
{
    const sp_number_bounds *b = ctx;
    const state *s = at;
    if (s->phase == N_START || s->phase == N_MINUS || s->phase == N_POINT || s->phase == N_E ||
        s->phase == N_E_SIGN)
        return false;
    if (b->has_min) {
        int order = order_against(s, &s->min, &b->min);
        if (order < 0 || (order == 0 && b->min_excluded)) return false;
    }
    if (b->has_max) {
        int order = order_against(s, &s->max, &b->max);
        if (order > 0 || (order == 0 && b->max_excluded)) return false;
    }
    return is_multiple(b, s);
}

sp_status sp_dfa_number(sp_dfa *dfa, const sp_number_bounds *bounds, uint64_t *budget, sp_error *err)
{
    state start;
    memset(&start, 0, sizeof start); /* padding too: states are compared byte by byte */
    sp_dfa_maker maker = {.size = sizeof start,
                          .start = &start,
                          .ctx = bounds,
                          .step = step_number,
                          .accepts = number_may_end,
                          .max_states = 20000,
                          .budget = budget};
    return sp_dfa_make(dfa, &maker, err);
}

/* --- constants ------------------------------------------------------------------------------------------ */

typedef struct text_list {
    const char *const *texts;
    size_t n;
} text_list;

typedef struct text_state {
    uint32_t first, last; /* texts that begin so, which are sorted */
    uint32_t at;
} text_state;

static bool step_texts(const void *ctx, void *at, uint8_t byte)
{
    const text_list *list = ctx;
    text_state *s = at;
    uint32_t first = s->first, last;
    while (first < s->last && (uint8_t)list->texts[first][s->at] < byte) first++;
    for (last = first; last < s->last && (uint8_t)list->texts[last][s->at] == byte;) last++;
    s->first = first;
    s->last = last;
    s->at++;
    return byte && first < last;
}

static bool text_may_end(const void *ctx, const void *at)
{
    const text_list *list = ctx;
    const text_state *s = at;
    return s->first < s->last && list->texts[s->first][s->at] == '\0';
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

sp_status sp_dfa_texts(sp_dfa *dfa, const char *const *texts, size_t n, uint64_t *budget, sp_error *err)
{
    const char **sorted = sp_malloc_array(n, sizeof *sorted);
    memset(dfa, 0, sizeof *dfa);
    if (!sorted) return sp_fail_nomem(err, "constants", n * sizeof *sorted);
    for (size_t i = 0; i < n; i++) sorted[i] = texts[i];
    qsort(sorted, n, sizeof *sorted, compare_texts);
    text_list list = {sorted, n};
    text_state start = {0, (uint32_t)n, 0};
    sp_dfa_maker maker = {.size = sizeof start,
                          .start = &start,
                          .ctx = &list,
                          .step = step_texts,
                          .accepts = text_may_end,
                          .max_states = 200000,
                          .budget = budget};
    sp_status status = sp_dfa_make(dfa, &maker, err);
    sp_free(sorted);
    return status;
}
