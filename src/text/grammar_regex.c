/* SPDX-License-Identifier: MIT */
/* Regular expressions to automata: Thompson's construction over the bytes that JSON writes for each character, then sets
 * of its nodes as states. What is read before and after a match is part of the construction, since a pattern is
 * searched for. Start at sp_dfa_regex(). */
#include "text/grammar_regex.h"

#include "text/grammar_regex_parts.h"

#include <string.h>

#define NODES_MAX 8192
#define STATES_MAX 4000
#define MEET_STATES_MAX 40000

enum { RX_RANGE, RX_SPLIT, RX_BEGIN, RX_END, RX_MATCH };

typedef struct rx_node {
    uint8_t kind, first, last; /* RANGE: of a byte */
    uint32_t out, out2;
} rx_node;

typedef struct rx {
    rx_node *nodes; /* node 0 is none */
    uint32_t n;
    size_t words; /* of a set of nodes */
    uint32_t *stack;
    uint64_t *budget;
    sp_error *err;
} rx;

static sp_status add_node(rx *x, rx_node node, uint32_t *out)
{
    if (x->n == NODES_MAX) return sp_fail(x->err, SP_E_LIMIT, "the pattern is too large");
    *out = x->n;
    x->nodes[x->n++] = node;
    return SP_OK;
}

/* *start becomes: itself or `other`. */
static sp_status add_option(rx *x, uint32_t other, uint32_t *start)
{
    if (*start == 0) {
        *start = other;
        return SP_OK;
    }
    return add_node(x, (rx_node){.kind = RX_SPLIT, .out = other, .out2 = *start}, start);
}

/* --- characters as JSON writes them --------------------------------------------------------------------- */

static sp_status add_bytes(rx *x, const uint8_t (*ranges)[2], size_t n, uint32_t out, uint32_t *start)
{
    for (size_t i = n; i-- > 0;)
        SP_TRY(add_node(
            x, (rx_node){.kind = RX_RANGE, .first = ranges[i][0], .last = ranges[i][1], .out = out}, &out));
    return add_option(x, out, start);
}

static sp_status add_control(rx *x, uint32_t c, uint32_t out, uint32_t *start)
{
    static const char codes[] = "btn?fr"; /* from 8 on */
    uint8_t b[6][2];
    char text[8] = "\\u00";
    size_t n = 6;
    if (c == '"' || c == '\\') {
        text[1] = (char)c;
        n = 2;
    } else if (c >= 8 && c <= 13 && c != 11) {
        text[1] = codes[c - 8];
        n = 2;
    } else {
        text[4] = (char)('0' + (c >> 4));
        text[5] = "0123456789abcdef"[c & 15];
    }
    for (size_t i = 0; i < n; i++) b[i][0] = b[i][1] = (uint8_t)text[i];
    return add_bytes(x, (const uint8_t(*)[2])b, n, out, start);
}

static size_t put_utf8(uint32_t c, uint8_t *out)
{
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (uint8_t)(0x80 | (c & 0x3F));
    out[0] = (uint8_t)(n == 1 ? c : (0xF00u >> n & 0xFF) | c);
    return n;
}

/* A range of characters of one length in UTF-8, as sequences of ranges of bytes. */
static sp_status add_utf8(rx *x, uint32_t first, uint32_t last, uint32_t out, uint32_t *start)
{
    uint8_t a[4], b[4], ranges[4][2];
    size_t n = put_utf8(last, b);
    for (unsigned i = 1; i < n; i++) {
        uint32_t m = (1u << 6 * i) - 1;
        if ((first & ~m) == (last & ~m)) continue;
        if (first & m) {
            SP_TRY(add_utf8(x, first, first | m, out, start));
            return add_utf8(x, (first | m) + 1, last, out, start);
        }
        if ((last & m) != m) {
            SP_TRY(add_utf8(x, first, (last & ~m) - 1, out, start));
            return add_utf8(x, last & ~m, last, out, start);
        }
    }
    put_utf8(first, a);
    for (size_t i = 0; i < n; i++) ranges[i][0] = a[i], ranges[i][1] = b[i];
    return add_bytes(x, (const uint8_t(*)[2])ranges, n, out, start);
}

static sp_status add_range(rx *x, uint32_t first, uint32_t last, uint32_t out, uint32_t *start)
{
    static const uint32_t parts[][2] = {{0x20, 0x21},    {0x23, 0x5B},     {0x5D, 0x7F},       {0x80, 0x7FF},
                                        {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, 0x10FFFF}};
    for (uint32_t c = first; c <= last && c < 0x20; c++) SP_TRY(add_control(x, c, out, start));
    if (first <= '"' && last >= '"') SP_TRY(add_control(x, '"', out, start));
    if (first <= '\\' && last >= '\\') SP_TRY(add_control(x, '\\', out, start));
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        uint32_t a = first > parts[i][0] ? first : parts[i][0], b = last < parts[i][1] ? last : parts[i][1];
        if (a <= b) SP_TRY(add_utf8(x, a, b, out, start));
    }
    return SP_OK;
}

/* --- construction --------------------------------------------------------------------------------------- */

static sp_status build(rx *x, const sp_regex *re, uint32_t out, uint32_t *start);

static sp_status build_set(rx *x, const sp_regex *re, uint32_t out, uint32_t *start)
{
    *start = 0;
    for (size_t i = 0; i < re->n_ranges; i++)
        SP_TRY(add_range(x, re->ranges[i].first, re->ranges[i].last, out, start));
    if (*start) return SP_OK;
    return add_node(x, (rx_node){.kind = RX_RANGE, .first = 1, .last = 0}, start); /* no character */
}

static sp_status build_repeat(rx *x, const sp_regex *re, uint32_t out, uint32_t *start)
{
    uint32_t loop = 0, body = 0;
    if (re->max == SP_REGEX_NO_LIMIT) {
        SP_TRY(add_node(x, (rx_node){.kind = RX_SPLIT, .out2 = out}, &loop));
        SP_TRY(build(x, re->left, loop, &body));
        x->nodes[loop].out = body;
        out = loop;
    } else {
        uint32_t end = out;
        for (uint32_t i = re->min; i < re->max; i++) {
            SP_TRY(build(x, re->left, out, &body));
            SP_TRY(add_node(x, (rx_node){.kind = RX_SPLIT, .out = body, .out2 = end}, &out));
        }
    }
    for (uint32_t i = 0; i < re->min; i++) SP_TRY(build(x, re->left, out, &out));
    *start = out;
    return SP_OK;
}

static sp_status build(rx *x, const sp_regex *re, uint32_t out, uint32_t *start)
{
    uint32_t a, b;
    switch (re->kind) {
    case SP_REGEX_EMPTY: *start = out; return SP_OK;
    case SP_REGEX_SET: return build_set(x, re, out, start);
    case SP_REGEX_THEN:
        /* sequences lean to the left, one level per term */
        for (; re->kind == SP_REGEX_THEN; re = re->left) SP_TRY(build(x, re->right, out, &out));
        return build(x, re, out, start);
    case SP_REGEX_OR:
        SP_TRY(build(x, re->right, out, &b));
        SP_TRY(build(x, re->left, out, &a));
        return add_node(x, (rx_node){.kind = RX_SPLIT, .out = a, .out2 = b}, start);
    case SP_REGEX_REPEAT: return build_repeat(x, re, out, start);
    case SP_REGEX_BEGIN: return add_node(x, (rx_node){.kind = RX_BEGIN, .out = out}, start);
    case SP_REGEX_END: return add_node(x, (rx_node){.kind = RX_END, .out = out}, start);
    }
    return SP_OK;
}

/* Anything, the pattern, anything. */
static sp_status build_search(rx *x, const sp_regex *re, uint32_t *start)
{
    static const sp_char_range any = {0, 0x10FFFF};
    const sp_regex every = {.kind = SP_REGEX_SET, .ranges = &any, .n_ranges = 1};
    const sp_regex all = {.kind = SP_REGEX_REPEAT, .left = &every, .max = SP_REGEX_NO_LIMIT};
    uint32_t match = 0, after = 0;
    SP_TRY(add_node(x, (rx_node){.kind = RX_MATCH}, &match));
    SP_TRY(build(x, &all, match, &after));
    SP_TRY(build(x, re, after, &after));
    return build(x, &all, after, start);
}

/* --- sets of nodes -------------------------------------------------------------------------------------- */

/* A state: the set, then one word that says where in the string it is. */
enum { IN_FRONT, AT_BEGIN, INSIDE, BEHIND };

static bool has(const uint64_t *set, uint32_t node)
{
    return set[node >> 6] >> (node & 63) & 1;
}

/* Add what is reached from the node without a character. */
static void add_closure(const rx *x, uint64_t *set, uint32_t node, bool at_begin, bool at_end)
{
    uint32_t n = 0;
    if (!node || has(set, node)) return;
    set[node >> 6] |= 1ull << (node & 63);
    x->stack[n++] = node;
    while (n) {
        const rx_node *at = &x->nodes[x->stack[--n]];
        uint32_t out[2] = {0, 0};
        if (at->kind == RX_SPLIT) out[0] = at->out, out[1] = at->out2;
        if ((at->kind == RX_BEGIN && at_begin) || (at->kind == RX_END && at_end)) out[0] = at->out;
        for (int i = 0; i < 2; i++) {
            if (!out[i] || has(set, out[i])) continue;
            set[out[i] >> 6] |= 1ull << (out[i] & 63);
            x->stack[n++] = out[i];
        }
    }
}

static bool matches_at_end(const rx *x, const uint64_t *set, bool at_begin)
{
    uint64_t all[NODES_MAX / 64];
    memcpy(all, set, x->words * 8);
    for (uint32_t i = 1; i < x->n; i++) {
        if (!has(set, i) || x->nodes[i].kind != RX_END) continue;
        add_closure(x, all, x->nodes[i].out, at_begin, true);
    }
    return has(all, 1); /* the match is the first node */
}

static bool step_set(const void *ctx, void *state, uint8_t byte)
{
    const rx *x = ctx;
    uint64_t *set = state, next[NODES_MAX / 64] = {0}, where = set[x->words], any = 0;
    if (where == IN_FRONT) {
        set[x->words] = AT_BEGIN;
        return byte == '"';
    }
    if (where == BEHIND) return false;
    for (size_t w = 0; w < x->words; w++) {
        uint64_t n = (uint64_t)__builtin_popcountll(set[w]);
        if (x->budget) *x->budget -= n < *x->budget ? n : *x->budget;
        for (uint64_t bits = set[w]; bits; bits &= bits - 1) {
            const rx_node *node = &x->nodes[w * 64 + (size_t)__builtin_ctzll(bits)];
            if (node->kind != RX_RANGE || byte < node->first || byte > node->last) continue;
            add_closure(x, next, node->out, false, false);
        }
    }
    for (size_t w = 0; w < x->words; w++) any |= next[w];
    if (!any) { /* between two characters only, a quote ends the string */
        if (byte != '"' || !matches_at_end(x, set, where == AT_BEGIN)) return false;
        memset(set, 0, x->words * 8);
        set[x->words] = BEHIND;
        return true;
    }
    memcpy(set, next, x->words * 8);
    set[x->words] = INSIDE;
    return true;
}

static bool set_may_end(const void *ctx, const void *state)
{
    const rx *x = ctx;
    return ((const uint64_t *)state)[x->words] == BEHIND;
}

static sp_status compile(rx *x, sp_dfa *dfa, const sp_regex *re)
{
    uint64_t start[NODES_MAX / 64 + 1] = {0};
    uint32_t first;
    SP_TRY(build_search(x, re, &first));
    x->words = (x->n + 63) / 64;
    x->stack = sp_malloc_array(x->n, sizeof *x->stack);
    if (!x->stack) return sp_fail_nomem(x->err, "pattern", x->n * sizeof *x->stack);
    add_closure(x, start, first, true, false);
    start[x->words] = IN_FRONT;
    sp_dfa_maker maker = {.size = (x->words + 1) * 8,
                          .start = start,
                          .ctx = x,
                          .step = step_set,
                          .accepts = set_may_end,
                          .max_states = STATES_MAX,
                          .budget = x->budget};
    return sp_dfa_make(dfa, &maker, x->err);
}

sp_status sp_dfa_regex(sp_dfa *dfa, const char *pattern, size_t len, uint64_t *budget, sp_error *err)
{
    rx x = {.err = err, .n = 1, .budget = budget};
    const sp_regex *re;
    sp_arena *arena = sp_arena_create(1 << 14);
    memset(dfa, 0, sizeof *dfa);
    x.nodes = sp_calloc(NODES_MAX, sizeof *x.nodes);
    sp_status status = SP_OK;
    if (!arena || !x.nodes) status = sp_fail_nomem(err, "pattern", NODES_MAX * sizeof *x.nodes);
    if (status == SP_OK) status = sp_regex_parse(&re, arena, pattern, len, err);
    if (status == SP_OK) status = compile(&x, dfa, re);
    sp_arena_destroy(arena);
    sp_free(x.nodes);
    sp_free(x.stack);
    return status;
}

/* --- meeting -------------------------------------------------------------------------------------------- */

typedef struct meet_state {
    uint32_t canonical, count;
    uint32_t at[SP_DFA_PARTS_MAX];
} meet_state;

static bool step_meeting(const void *ctx, void *state, uint8_t byte)
{
    const sp_dfa_meeting *m = ctx;
    meet_state *s = state;
    uint32_t to = sp_dfa_next(m->canonical, s->canonical, byte);
    if (to == SP_DFA_DEAD) return false;
    if ((m->canonical->flags[s->canonical] & SP_DFA_CHAR) && byte != '"') {
        if (s->count >= m->max) return false;
        if (m->max != UINT32_MAX || s->count < m->min) s->count++;
    }
    s->canonical = to;
    for (size_t i = 0; i < m->n; i++) {
        const sp_dfa *dfa = m->parts[i].dfa;
        s->at[i] = s->at[i] && dfa->n_states > 1 ? sp_dfa_next(dfa, s->at[i], byte) : SP_DFA_DEAD;
        if (s->at[i] == SP_DFA_DEAD && !m->parts[i].negated) return false;
    }
    return true;
}

static bool meeting_may_end(const void *ctx, const void *state)
{
    const sp_dfa_meeting *m = ctx;
    const meet_state *s = state;
    if (!(m->canonical->flags[s->canonical] & SP_DFA_ACCEPTS) || s->count < m->min) return false;
    for (size_t i = 0; i < m->n; i++) {
        bool accepts = s->at[i] && (m->parts[i].dfa->flags[s->at[i]] & SP_DFA_ACCEPTS);
        if (accepts == m->parts[i].negated) return false;
    }
    return true;
}

sp_status sp_dfa_meet(sp_dfa *dfa, const sp_dfa_meeting *meeting, uint64_t *budget, sp_error *err)
{
    meet_state start;
    memset(dfa, 0, sizeof *dfa);
    if (meeting->n > SP_DFA_PARTS_MAX)
        return sp_fail(err, SP_E_LIMIT, "more than %d patterns meet", SP_DFA_PARTS_MAX);
    memset(&start, 0, sizeof start);
    start.canonical = SP_DFA_START;
    for (size_t i = 0; i < meeting->n; i++) start.at[i] = SP_DFA_START;
    sp_dfa_maker maker = {.size = sizeof start,
                          .start = &start,
                          .ctx = meeting,
                          .step = step_meeting,
                          .accepts = meeting_may_end,
                          .max_states = MEET_STATES_MAX,
                          .budget = budget};
    return sp_dfa_make(dfa, &maker, err);
}
