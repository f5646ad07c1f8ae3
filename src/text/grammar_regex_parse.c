/* SPDX-License-Identifier: MIT */
/* Reading regular expressions by recursive descent (ECMA-262, 22.2.1, with the u flag). */
#include "text/grammar_regex_parts.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64
#define RANGES_MAX 512

typedef struct reader {
    const char *text;
    size_t len, at;
    sp_arena *arena;
    sp_error *err;
    int depth;
} reader;

/* A set of characters under construction. */
typedef struct set {
    sp_char_range ranges[RANGES_MAX];
    size_t n;
} set;

static sp_status fail_at(reader *r, sp_status code, const char *what)
{
    return sp_fail(r->err, code, "pattern \"%.80s\": %s at character %zu", r->text, what, r->at + 1);
}

static bool at_char(const reader *r, char c)
{
    return r->at < r->len && r->text[r->at] == c;
}

static bool take(reader *r, char c)
{
    if (!at_char(r, c)) return false;
    r->at++;
    return true;
}

static sp_status make(reader *r, sp_regex_kind kind, const sp_regex *left, const sp_regex *right,
                      sp_regex **out)
{
    *out = sp_arena_alloc(r->arena, sizeof **out);
    if (!*out) return sp_fail_nomem(r->err, "pattern", sizeof **out);
    **out = (sp_regex){.kind = kind, .left = left, .right = right};
    return SP_OK;
}

/* --- sets ----------------------------------------------------------------------------------------------- */

static bool add_range(set *s, uint32_t first, uint32_t last)
{
    if (s->n == RANGES_MAX) return false;
    s->ranges[s->n++] = (sp_char_range){first, last};
    return true;
}

static int compare_ranges(const void *a, const void *b)
{
    uint32_t x = ((const sp_char_range *)a)->first, y = ((const sp_char_range *)b)->first;
    return x < y ? -1 : x > y;
}

static void merge_ranges(set *s)
{
    size_t n = 0;
    qsort(s->ranges, s->n, sizeof s->ranges[0], compare_ranges);
    for (size_t i = 0; i < s->n; i++) {
        if (n && s->ranges[i].first <= s->ranges[n - 1].last + 1) {
            if (s->ranges[i].last > s->ranges[n - 1].last) s->ranges[n - 1].last = s->ranges[i].last;
        } else {
            s->ranges[n++] = s->ranges[i];
        }
    }
    s->n = n;
}

static void negate(set *s)
{
    set out = {.n = 0};
    uint32_t next = 0;
    merge_ranges(s);
    for (size_t i = 0; i < s->n; i++) {
        if (s->ranges[i].first > next) add_range(&out, next, s->ranges[i].first - 1);
        next = s->ranges[i].last + 1;
    }
    if (next <= 0x10FFFF) add_range(&out, next, 0x10FFFF);
    *s = out;
}

static sp_status make_set(reader *r, set *s, const sp_regex **out)
{
    sp_regex *node;
    merge_ranges(s);
    SP_TRY(make(r, SP_REGEX_SET, NULL, NULL, &node));
    sp_char_range *ranges = sp_arena_alloc(r->arena, (s->n + 1) * sizeof *ranges);
    if (!ranges) return sp_fail_nomem(r->err, "pattern", s->n * sizeof *ranges);
    memcpy(ranges, s->ranges, s->n * sizeof *ranges);
    node->ranges = ranges;
    node->n_ranges = s->n;
    *out = node;
    return SP_OK;
}

/* \d \w \s and their opposites. */
static bool add_named(set *s, char c)
{
    static const sp_char_range digits[] = {{'0', '9'}};
    static const sp_char_range words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    static const sp_char_range spaces[] = {
        {9, 13},          {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
        {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
    const sp_char_range *ranges = NULL;
    size_t n = 0;
    set all = {.n = 0};
    if (c == 'd' || c == 'D') ranges = digits, n = 1;
    if (c == 'w' || c == 'W') ranges = words, n = 4;
    if (c == 's' || c == 'S') ranges = spaces, n = 10;
    if (!ranges) return false;
    for (size_t i = 0; i < n; i++) add_range(&all, ranges[i].first, ranges[i].last);
    if (c == 'D' || c == 'W' || c == 'S') negate(&all);
    for (size_t i = 0; i < all.n; i++) add_range(s, all.ranges[i].first, all.ranges[i].last);
    return true;
}

/* --- characters ----------------------------------------------------------------------------------------- */

static sp_status take_character(reader *r, uint32_t *out)
{
    const unsigned char *s = (const unsigned char *)r->text + r->at;
    size_t left = r->len - r->at, n = s[0] < 0x80 ? 1 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    if (n > left) return fail_at(r, SP_E_FORMAT, "a character is cut");
    *out = n == 1 ? s[0] : s[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) *out = *out << 6 | (s[i] & 0x3F);
    r->at += n;
    return SP_OK;
}

static sp_status take_hex(reader *r, int n, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < n; i++) {
        char c = r->at < r->len ? r->text[r->at] : 0;
        int digit = c >= '0' && c <= '9'                 ? c - '0'
                    : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                         : -1;
        if (digit < 0) return fail_at(r, SP_E_FORMAT, "expected a hexadecimal digit");
        *out = *out * 16 + (uint32_t)digit;
        r->at++;
    }
    return SP_OK;
}

/* After "\u": four digits, a pair of surrogates, or {...}. */
static sp_status take_unicode(reader *r, uint32_t *out)
{
    uint32_t low;
    if (take(r, '{')) {
        *out = 0;
        while (r->at < r->len && !at_char(r, '}')) {
            SP_TRY(take_hex(r, 1, &low));
            *out = *out * 16 + low;
            if (*out > 0x10FFFF) return fail_at(r, SP_E_FORMAT, "no such character");
        }
        return take(r, '}') ? SP_OK : fail_at(r, SP_E_FORMAT, "expected \"}\"");
    }
    SP_TRY(take_hex(r, 4, out));
    bool pair = *out >= 0xD800 && *out < 0xDC00 && r->len - r->at >= 6 && r->text[r->at] == '\\' &&
                r->text[r->at + 1] == 'u';
    if (!pair) return SP_OK;
    r->at += 2;
    SP_TRY(take_hex(r, 4, &low));
    *out = 0x10000 + ((*out - 0xD800) << 10) + ((low - 0xDC00) & 0x3FF);
    return SP_OK;
}

/* After a backslash: one character. */
static sp_status take_escape(reader *r, uint32_t *out, bool in_set)
{
    static const char from[] = "tnvfr", to[] = "\t\n\v\f\r";
    char c = r->at < r->len ? r->text[r->at] : 0;
    const char *simple = c ? strchr(from, c) : NULL;
    if (simple) {
        r->at++;
        *out = (uint32_t)to[simple - from];
        return SP_OK;
    }
    if (c == 'b' && in_set) {
        r->at++;
        *out = 8;
        return SP_OK;
    }
    if (c == 'x' || c == 'u') {
        r->at++;
        return c == 'x' ? take_hex(r, 2, out) : take_unicode(r, out);
    }
    if (c == 'c' && r->at + 1 < r->len &&
        ((r->text[r->at + 1] | 32) >= 'a' && (r->text[r->at + 1] | 32) <= 'z')) {
        *out = (uint32_t)r->text[r->at + 1] & 31;
        r->at += 2;
        return SP_OK;
    }
    if (c == '0') {
        r->at++;
        *out = 0;
        return SP_OK;
    }
    if (c == 'b' || c == 'B') return fail_at(r, SP_E_UNSUPPORTED, "a word boundary is not supported");
    if (c == 'p' || c == 'P') return fail_at(r, SP_E_UNSUPPORTED, "a Unicode property is not supported");
    if ((c >= '1' && c <= '9') || c == 'k')
        return fail_at(r, SP_E_UNSUPPORTED, "a back reference is not supported");
    if (c == 0 || (c | 32) >= 'a') {
        if (c == 0 || (c | 32) <= 'z') return fail_at(r, SP_E_FORMAT, "an unknown escape");
    }
    return take_character(r, out);
}

/* One end of a range in [...]: *named if it was a class such as \d, which is added at once. */
static sp_status take_set_end(reader *r, set *s, uint32_t *c, bool *named)
{
    *named = false;
    if (!take(r, '\\')) return take_character(r, c);
    if (r->at < r->len && add_named(s, r->text[r->at])) {
        r->at++;
        *named = true;
        return SP_OK;
    }
    return take_escape(r, c, true);
}

static sp_status read_set(reader *r, const sp_regex **out)
{
    set s = {.n = 0};
    bool inverted = take(r, '^'), named;
    while (!at_char(r, ']')) {
        uint32_t first, last;
        if (r->at >= r->len) return fail_at(r, SP_E_FORMAT, "expected \"]\"");
        if (s.n + 16 > RANGES_MAX) return fail_at(r, SP_E_LIMIT, "too long a set");
        SP_TRY(take_set_end(r, &s, &first, &named));
        if (named) continue;
        last = first;
        if (at_char(r, '-') && r->at + 1 < r->len && r->text[r->at + 1] != ']') {
            r->at++;
            SP_TRY(take_set_end(r, &s, &last, &named));
            if (named || last < first) return fail_at(r, SP_E_FORMAT, "a malformed range");
        }
        add_range(&s, first, last);
    }
    r->at++;
    if (inverted) negate(&s);
    return make_set(r, &s, out);
}

/* --- terms ---------------------------------------------------------------------------------------------- */

static sp_status read_choice(reader *r, const sp_regex **out);

static sp_status read_group(reader *r, const sp_regex **out)
{
    if (take(r, '?')) {
        if (take(r, '<')) {
            if (at_char(r, '=') || at_char(r, '!'))
                return fail_at(r, SP_E_UNSUPPORTED, "look-behind is not supported");
            while (r->at < r->len && !at_char(r, '>')) r->at++;
            if (!take(r, '>')) return fail_at(r, SP_E_FORMAT, "expected \">\"");
        } else if (at_char(r, '=') || at_char(r, '!')) {
            return fail_at(r, SP_E_UNSUPPORTED, "look-ahead is not supported");
        } else if (!take(r, ':')) {
            return fail_at(r, SP_E_UNSUPPORTED, "such a group is not supported");
        }
    }
    if (++r->depth > DEPTH_MAX) return fail_at(r, SP_E_LIMIT, "too many groups inside one another");
    SP_TRY(read_choice(r, out));
    r->depth--;
    return take(r, ')') ? SP_OK : fail_at(r, SP_E_FORMAT, "expected \")\"");
}

static sp_status read_atom(reader *r, const sp_regex **out)
{
    set s = {.n = 0};
    sp_regex *node;
    uint32_t c;
    if (take(r, '(')) return read_group(r, out);
    if (take(r, '[')) return read_set(r, out);
    if (at_char(r, '^') || at_char(r, '$')) {
        SP_TRY(make(r, r->text[r->at++] == '^' ? SP_REGEX_BEGIN : SP_REGEX_END, NULL, NULL, &node));
        *out = node;
        return SP_OK;
    }
    if (take(r, '.')) {
        add_range(&s, '\n', '\n'), add_range(&s, '\r', '\r'), add_range(&s, 0x2028, 0x2029);
        negate(&s);
        return make_set(r, &s, out);
    }
    if (take(r, '\\')) {
        if (r->at < r->len && add_named(&s, r->text[r->at])) {
            r->at++;
            return make_set(r, &s, out);
        }
        SP_TRY(take_escape(r, &c, false));
    } else if (strchr("*+?{}])", r->text[r->at]) && r->text[r->at]) {
        return fail_at(r, SP_E_FORMAT, "an unexpected character");
    } else {
        SP_TRY(take_character(r, &c));
    }
    add_range(&s, c, c);
    return make_set(r, &s, out);
}

static sp_status take_count(reader *r, uint32_t *out)
{
    uint64_t n = 0;
    if (r->at >= r->len || r->text[r->at] < '0' || r->text[r->at] > '9')
        return fail_at(r, SP_E_FORMAT, "expected a number");
    for (; r->at < r->len && r->text[r->at] >= '0' && r->text[r->at] <= '9'; r->at++) {
        n = n * 10 + (uint64_t)(r->text[r->at] - '0');
        if (n > SP_REGEX_REPEAT_MAX) return fail_at(r, SP_E_LIMIT, "too many repetitions");
    }
    *out = (uint32_t)n;
    return SP_OK;
}

static sp_status read_repeat(reader *r, const sp_regex **out)
{
    uint32_t min, max;
    sp_regex *node;
    SP_TRY(read_atom(r, out));
    if (take(r, '*')) {
        min = 0, max = SP_REGEX_NO_LIMIT;
    } else if (take(r, '+')) {
        min = 1, max = SP_REGEX_NO_LIMIT;
    } else if (take(r, '?')) {
        min = 0, max = 1;
    } else if (take(r, '{')) {
        SP_TRY(take_count(r, &min));
        max = min;
        if (take(r, ',')) {
            max = SP_REGEX_NO_LIMIT;
            if (!at_char(r, '}')) SP_TRY(take_count(r, &max));
        }
        if (!take(r, '}') || max < min) return fail_at(r, SP_E_FORMAT, "malformed repetitions");
    } else {
        return SP_OK;
    }
    take(r, '?'); /* which of several matches is found does not matter */
    if ((*out)->kind == SP_REGEX_BEGIN || (*out)->kind == SP_REGEX_END)
        return fail_at(r, SP_E_FORMAT, "nothing to repeat");
    SP_TRY(make(r, SP_REGEX_REPEAT, *out, NULL, &node));
    node->min = min;
    node->max = max;
    *out = node;
    return SP_OK;
}

static sp_status read_sequence(reader *r, const sp_regex **out)
{
    const sp_regex *next;
    sp_regex *node;
    SP_TRY(make(r, SP_REGEX_EMPTY, NULL, NULL, &node));
    *out = node;
    while (r->at < r->len && !at_char(r, '|') && !at_char(r, ')')) {
        SP_TRY(read_repeat(r, &next));
        SP_TRY(make(r, SP_REGEX_THEN, *out, next, &node));
        *out = node;
    }
    return SP_OK;
}

static sp_status read_choice(reader *r, const sp_regex **out)
{
    const sp_regex *next;
    sp_regex *node;
    SP_TRY(read_sequence(r, out));
    while (take(r, '|')) {
        SP_TRY(read_sequence(r, &next));
        SP_TRY(make(r, SP_REGEX_OR, *out, next, &node));
        *out = node;
    }
    return SP_OK;
}

sp_status sp_regex_parse(const sp_regex **regex, sp_arena *arena, const char *pattern, size_t len,
                         sp_error *err)
{
    reader r = {.text = pattern, .len = len, .arena = arena, .err = err};
    SP_TRY(read_choice(&r, regex));
    return r.at == r.len ? SP_OK : fail_at(&r, SP_E_FORMAT, "an unexpected character");
}
