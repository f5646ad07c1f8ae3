/* SPDX-License-Identifier: MIT */
/* Look-ahead where patterns of the field have it, at their beginning: ^(?!A)(?=B)C says that C begins the string, B does and A does not,
 * which is a meeting of automata. Elsewhere it is refused as the reader of expressions has it. Start at sp_dfa_pattern(). */
#include "text/grammar_regex.h"

#include <string.h>

typedef struct piece {
    const char *text;
    size_t len;
    bool negated;
} piece;

/* One character of an expression, an escape or a set as a whole. */
static size_t skip_one(const char *text, size_t len)
{
    if (text[0] == '\\' && len > 1) return 2;
    if (text[0] != '[') return 1;
    size_t i = 1;
    while (i < len && text[i] != ']') i += text[i] == '\\' ? 2 : 1;
    return i < len ? i + 1 : len;
}

/* Length of the text before the bracket that closes the group; len if there is none. */
static size_t group_length(const char *text, size_t len)
{
    size_t i = 0;
    for (int depth = 0; i < len; i += skip_one(text + i, len - i)) {
        if (text[i] == ')' && depth-- == 0) return i;
        depth += text[i] == '(';
    }
    return len;
}

static bool has_choice(const char *text, size_t len)
{
    int depth = 0;
    for (size_t i = 0; i < len; i += skip_one(text + i, len - i)) {
        if (text[i] == '|' && depth == 0) return true;
        depth += (text[i] == '(') - (text[i] == ')');
    }
    return false;
}

/* Take the pattern apart: what is looked for first, then the look-aheads before it. 1: there are none. */
static size_t split(const char *pattern, size_t len, piece pieces[SP_DFA_PARTS_MAX])
{
    size_t n = 1, at = 1;
    pieces[0] = (piece){pattern, len, false};
    if (len == 0 || pattern[0] != '^') return 1;
    while (n < SP_DFA_PARTS_MAX && len - at > 3 && memcmp(pattern + at, "(?", 2) == 0 &&
           (pattern[at + 2] == '!' || pattern[at + 2] == '=')) {
        size_t size = group_length(pattern + at + 3, len - at - 3);
        if (at + 3 + size >= len) return 1;
        pieces[n++] = (piece){pattern + at + 3, size, pattern[at + 2] == '!'};
        at += size + 4;
    }
    pieces[0] = (piece){pattern + at, len - at, false};
    return has_choice(pattern + at, len - at) ? 1 : n;
}

static sp_status read_piece(sp_dfa *dfa, const piece *p, uint64_t *budget, sp_error *err)
{
    sp_buf text = {NULL, 0, 0};
    sp_status status = sp_buf_printf(&text, err, "^(?:%.*s)", (int)p->len, p->text);
    if (status == SP_OK) status = sp_dfa_regex(dfa, text.data, text.len, budget, err);
    sp_buf_clear(&text);
    return status;
}

sp_status sp_dfa_pattern(sp_dfa *dfa, const sp_dfa *canonical, const char *pattern, size_t len,
                         uint64_t *budget, sp_error *err)
{
    piece pieces[SP_DFA_PARTS_MAX];
    sp_dfa made[SP_DFA_PARTS_MAX];
    sp_dfa_part parts[SP_DFA_PARTS_MAX];
    size_t n = split(pattern, len, pieces), n_made = 0;
    sp_status status = SP_OK;
    if (n == 1) return sp_dfa_regex(dfa, pattern, len, budget, err);
    memset(dfa, 0, sizeof *dfa);
    for (; n_made < n && status == SP_OK; n_made++) {
        status = read_piece(&made[n_made], &pieces[n_made], budget, err);
        parts[n_made] = (sp_dfa_part){&made[n_made], pieces[n_made].negated};
    }
    sp_dfa_meeting meeting = {canonical, parts, n, 0, UINT32_MAX};
    if (status == SP_OK) status = sp_dfa_meet(dfa, &meeting, budget, err);
    for (size_t i = 0; i < n_made; i++) sp_dfa_clear(&made[i]);
    return status;
}
