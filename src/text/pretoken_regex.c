/* SPDX-License-Identifier: MIT */
/* Rewriting published patterns (written for Oniguruma and Rust's regex) into PCRE2's dialect.
 * Differences that matter: PCRE2's \s has U+180E, so White_Space is spelled out; \w, \b, \h, \v and nested or
 * intersected classes mean different things and are refused, as are verbs, recursion and callouts, which no
 * published tokenizer has. `^` and `$` are line anchors in both (PCRE2_MULTILINE). Start at
 * sp_pretok_rewrite(). */
#include "text/pretoken_parts.h"

#include <string.h>

#include "text/utf8.h"

/* Unicode White_Space (PropList.txt), as the inside of a class. */
#define WHITE_SPACE                                                                                          \
    "\\x{9}-\\x{D}\\x{20}\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}"     \
    "\\x{3000}"

/* Characters that Unicode 15.0 to 16.0 added to the major categories. PCRE2 knows the Unicode of its release
 * (10.42: 14.0), the publishers' engines that of theirs; spelled out, the answer does not depend on either.
 * Source: DerivedGeneralCategory.txt 16.0 against 14.0; no character left a major category in between. */
static const struct {
    char property;
    const char *ranges;
} recent[] = {
    {'L', "\\x{1C89}-\\x{1C8A}\\x{A7CB}-\\x{A7CD}\\x{A7DA}-\\x{A7DC}\\x{105C0}-\\x{105F3}"
          "\\x{10D4A}-\\x{10D65}\\x{10D6F}-\\x{10D85}\\x{10EC2}-\\x{10EC4}\\x{1123F}-\\x{11240}"
          "\\x{11380}-\\x{11389}\\x{1138B}\\x{1138E}\\x{11390}-\\x{113B5}\\x{113B7}\\x{113D1}"
          "\\x{113D3}\\x{11BC0}-\\x{11BE0}\\x{11F02}\\x{11F04}-\\x{11F10}\\x{11F12}-\\x{11F33}"
          "\\x{1342F}\\x{13441}-\\x{13446}\\x{13460}-\\x{143FA}\\x{16100}-\\x{1611D}"
          "\\x{16D40}-\\x{16D6C}\\x{18CFF}\\x{1B132}\\x{1B155}\\x{1DF25}-\\x{1DF2A}"
          "\\x{1E030}-\\x{1E06D}\\x{1E4D0}-\\x{1E4EB}\\x{1E5D0}-\\x{1E5ED}\\x{1E5F0}\\x{2B739}"
          "\\x{2EBF0}-\\x{2EE5D}\\x{31350}-\\x{323AF}"},
    {'N', "\\x{10D40}-\\x{10D49}\\x{116D0}-\\x{116E3}\\x{11BF0}-\\x{11BF9}\\x{11F50}-\\x{11F59}"
          "\\x{16130}-\\x{16139}\\x{16D70}-\\x{16D79}\\x{1CCF0}-\\x{1CCF9}\\x{1D2C0}-\\x{1D2D3}"
          "\\x{1E4F0}-\\x{1E4F9}\\x{1E5F1}-\\x{1E5FA}"},
    {'P', "\\x{1B4E}-\\x{1B4F}\\x{1B7F}\\x{10D6E}\\x{113D4}-\\x{113D5}\\x{113D7}-\\x{113D8}"
          "\\x{11B00}-\\x{11B09}\\x{11BE1}\\x{11F43}-\\x{11F4F}\\x{16D6D}-\\x{16D6F}\\x{1E5FF}"},
    {'S', "\\x{2427}-\\x{2429}\\x{2FFC}-\\x{2FFF}\\x{31E4}-\\x{31E5}\\x{31EF}"
          "\\x{10D8E}-\\x{10D8F}\\x{1CC00}-\\x{1CCEF}\\x{1CD00}-\\x{1CEB3}\\x{1F6DC}"
          "\\x{1F774}-\\x{1F776}\\x{1F77B}-\\x{1F77F}\\x{1F7D9}\\x{1F8B2}-\\x{1F8BB}"
          "\\x{1F8C0}-\\x{1F8C1}\\x{1FA75}-\\x{1FA77}\\x{1FA87}-\\x{1FA89}\\x{1FA8F}"
          "\\x{1FAAD}-\\x{1FAAF}\\x{1FABB}-\\x{1FABF}\\x{1FAC6}\\x{1FACE}-\\x{1FACF}"
          "\\x{1FADA}-\\x{1FADC}\\x{1FADF}\\x{1FAE8}-\\x{1FAE9}\\x{1FAF7}-\\x{1FAF8}"
          "\\x{1FBCB}-\\x{1FBEF}"},
    {'M', "\\x{897}\\x{CF3}\\x{ECE}\\x{10D69}-\\x{10D6D}\\x{10EFC}-\\x{10EFF}\\x{11241}"
          "\\x{113B8}-\\x{113C0}\\x{113C2}\\x{113C5}\\x{113C7}-\\x{113CA}\\x{113CC}-\\x{113D0}"
          "\\x{113D2}\\x{113E1}-\\x{113E2}\\x{11F00}-\\x{11F01}\\x{11F03}\\x{11F34}-\\x{11F3A}"
          "\\x{11F3E}-\\x{11F42}\\x{11F5A}\\x{13440}\\x{13447}-\\x{13455}\\x{1611E}-\\x{1612F}"
          "\\x{1E08F}\\x{1E4EC}-\\x{1E4EF}\\x{1E5EE}-\\x{1E5EF}"},
};

typedef struct rewriter {
    sp_buf *out;
    const unsigned char *s;
    size_t n, i;
    bool in_class;
    size_t class_start; /* index after the opening bracket (and its ^) */
    sp_error *err;
} rewriter;

static sp_status refuse(const rewriter *r, const char *what)
{
    return sp_fail_at(r->err, SP_E_UNSUPPORTED, (int64_t)r->i, "tokenizer: the pattern's %s is not supported",
                      what);
}

static sp_status put_code_point(rewriter *r, uint32_t cp)
{
    if (cp > 0x20 && cp < 0x7F) {
        char c = (char)cp;
        bool meta = strchr("\\^$.[|()?*+{}]-", c) != NULL;
        if (meta) SP_TRY(sp_buf_puts(r->out, "\\", r->err));
        return sp_buf_append(r->out, &c, 1, r->err);
    }
    return sp_buf_printf(r->out, r->err, "\\x{%X}", (unsigned)cp);
}

static int hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Read up to max_digits hex digits at r->i. */
static sp_status read_hex(rewriter *r, int max_digits, uint32_t *cp)
{
    int n = 0;
    *cp = 0;
    for (; n < max_digits && r->i < r->n && hex_digit(r->s[r->i]) >= 0; n++)
        *cp = *cp << 4 | (uint32_t)hex_digit(r->s[r->i++]);
    if (n == 0 || *cp > 0x10FFFF || (*cp >= 0xD800 && *cp < 0xE000)) return refuse(r, "hexadecimal escape");
    return SP_OK;
}

/* \xHH, \x{H...}, \uHHHH; r->i stands after the letter. */
static sp_status rewrite_hex(rewriter *r, unsigned char letter)
{
    uint32_t cp;
    bool braces = letter == 'x' && r->i < r->n && r->s[r->i] == '{';
    r->i += braces;
    SP_TRY(read_hex(r, braces ? 6 : letter == 'x' ? 2 : 4, &cp));
    if (braces && (r->i >= r->n || r->s[r->i++] != '}')) return refuse(r, "hexadecimal escape");
    return put_code_point(r, cp);
}

/* \p{L} and the like, made independent of PCRE2's Unicode version. */
static sp_status put_major(rewriter *r, unsigned char letter, char property)
{
    const char *ranges = NULL;
    for (size_t k = 0; k < sizeof recent / sizeof *recent; k++)
        if (recent[k].property == property) ranges = recent[k].ranges;
    if (!ranges || (letter == 'P' && r->in_class))
        return sp_buf_printf(r->out, r->err, "\\%c{%c}", letter, property);
    if (r->in_class) return sp_buf_printf(r->out, r->err, "\\p{%c}%s", property, ranges);
    return sp_buf_printf(r->out, r->err, "[%s\\p{%c}%s]", letter == 'P' ? "^" : "", property, ranges);
}

/* \p{Name} and \pL; r->i stands after the letter. */
static sp_status rewrite_property(rewriter *r, unsigned char letter)
{
    size_t start = r->i;
    if (r->i < r->n && r->s[r->i] == '{')
        while (r->i < r->n && r->s[r->i] != '}') r->i++;
    if (r->i >= r->n) return refuse(r, "unfinished \\p");
    r->i++;
    for (size_t k = start; k < r->i; k++)
        if (r->s[k] >= 0x80) return refuse(r, "\\p name");
    if (r->s[start] != '{') return put_major(r, letter, (char)r->s[start]);
    if (r->i - start == 3) return put_major(r, letter, (char)r->s[start + 1]);
    SP_TRY(sp_buf_printf(r->out, r->err, "\\%c", letter));
    return sp_buf_append(r->out, r->s + start, r->i - start, r->err);
}

static sp_status rewrite_escape(rewriter *r)
{
    if (++r->i >= r->n) return refuse(r, "trailing backslash");
    uint32_t cp;
    size_t len = sp_utf8_read(r->s + r->i, r->n - r->i, &cp);
    if (len == 0) return refuse(r, "invalid UTF-8");
    r->i += len;
    switch (cp) {
    case 's': return sp_buf_puts(r->out, r->in_class ? WHITE_SPACE : "[" WHITE_SPACE "]", r->err);
    case 'S':
        if (r->in_class) return refuse(r, "\\S within a class");
        return sp_buf_puts(r->out, "[^" WHITE_SPACE "]", r->err);
    case 'd': return sp_buf_puts(r->out, "\\p{Nd}", r->err);
    case 'D': return sp_buf_puts(r->out, "\\P{Nd}", r->err);
    case 'p':
    case 'P': return rewrite_property(r, (unsigned char)cp);
    case 'x':
    case 'u': return rewrite_hex(r, (unsigned char)cp);
    case 't': return put_code_point(r, '\t');
    case 'n': return put_code_point(r, '\n');
    case 'r': return put_code_point(r, '\r');
    case 'f': return put_code_point(r, '\f');
    case 'A':
    case 'z':
        if (r->in_class) return refuse(r, "anchor within a class");
        return sp_buf_printf(r->out, r->err, "\\%c", (char)cp);
    default: break;
    }
    if ((cp >= '0' && cp <= '9') || ((cp | 0x20) >= 'a' && (cp | 0x20) <= 'z')) {
        char what[] = "escape \\?";
        what[8] = (char)cp;
        return refuse(r, what);
    }
    return put_code_point(r, cp);
}

/* "(?" groups whose meaning both engines share. */
static sp_status check_group(const rewriter *r)
{
    static const char *const allowed[] = {"?:", "?=", "?!", "?>", "?<=", "?<!", "?i:", "?i)", "?-i:"};
    const unsigned char *s = r->s + r->i + 1;
    size_t left = r->n - r->i - 1;
    if (left == 0 || (s[0] != '?' && s[0] != '*')) return SP_OK;
    for (size_t k = 0; k < sizeof allowed / sizeof *allowed; k++)
        if (strlen(allowed[k]) <= left && memcmp(s, allowed[k], strlen(allowed[k])) == 0) return SP_OK;
    return refuse(r, "group \"(?\" or \"(*\"");
}

/* "{m}", "{m,}", "{m,n}" mean the same; "{,n}" and a possessive "}+" do not. */
static sp_status check_braces(const rewriter *r)
{
    size_t k = r->i + 1;
    if (k >= r->n || r->s[k] < '0' || r->s[k] > '9') return refuse(r, "brace");
    while (k < r->n && ((r->s[k] >= '0' && r->s[k] <= '9') || r->s[k] == ',')) k++;
    if (k >= r->n || r->s[k] != '}') return refuse(r, "brace");
    if (k + 1 < r->n && r->s[k + 1] == '+') return refuse(r, "possessive brace");
    return SP_OK;
}

static sp_status open_class(rewriter *r)
{
    r->in_class = true;
    r->i++;
    bool negated = r->i < r->n && r->s[r->i] == '^';
    r->i += negated;
    r->class_start = r->i;
    if (r->i < r->n && r->s[r->i] == ']') return refuse(r, "class that starts with ]");
    return sp_buf_puts(r->out, negated ? "[^" : "[", r->err);
}

static sp_status rewrite_in_class(rewriter *r, uint32_t cp, size_t len)
{
    if (cp == '[') return refuse(r, "nested class");
    if (cp == '&' && r->i + 1 < r->n && r->s[r->i + 1] == '&') return refuse(r, "intersection of classes");
    r->i += len;
    if (cp == ']') {
        r->in_class = false;
        return sp_buf_puts(r->out, "]", r->err);
    }
    /* A minus is a range unless it stands first or last; PCRE2 reads it alike. */
    bool edge = r->i - len == r->class_start || (r->i < r->n && r->s[r->i] == ']');
    if (cp == '-' && !edge) return sp_buf_puts(r->out, "-", r->err);
    return put_code_point(r, cp);
}

static sp_status rewrite_outside(rewriter *r, uint32_t cp, size_t len)
{
    if (cp == '[') return open_class(r);
    if (cp == '(') SP_TRY(check_group(r));
    if (cp == '{') SP_TRY(check_braces(r));
    const unsigned char *at = r->s + r->i;
    r->i += len;
    if (cp != ' ' && cp != '-' && cp != ']' && cp > 0x20 && cp < 0x7F)
        return sp_buf_append(r->out, at, len, r->err);
    return put_code_point(r, cp);
}

sp_status sp_pretok_rewrite(sp_buf *out, const char *pattern, size_t len, sp_error *err)
{
    rewriter r = {.out = out, .s = (const unsigned char *)pattern, .n = len, .err = err};
    while (r.i < r.n) {
        uint32_t cp;
        size_t step = sp_utf8_read(r.s + r.i, r.n - r.i, &cp);
        if (step == 0) return refuse(&r, "invalid UTF-8");
        if (cp == '\\')
            SP_TRY(rewrite_escape(&r));
        else if (r.in_class)
            SP_TRY(rewrite_in_class(&r, cp, step));
        else
            SP_TRY(rewrite_outside(&r, cp, step));
        if (out->len > SP_PRETOK_PATTERN_MAX)
            return sp_fail(err, SP_E_LIMIT, "tokenizer: a pattern exceeds %d bytes", SP_PRETOK_PATTERN_MAX);
    }
    if (r.in_class) return refuse(&r, "unfinished class");
    return SP_OK;
}

sp_status sp_pretok_rules_add(sp_pretok_rules *rules, const char *pattern, size_t len, sp_error *err)
{
    if (rules->n == SP_PRETOK_RULES_MAX)
        return sp_fail(err, SP_E_LIMIT, "tokenizer: more than %d pre-tokenizer steps", SP_PRETOK_RULES_MAX);
    sp_buf *out = &rules->patterns[rules->n++];
    SP_TRY(sp_pretok_rewrite(out, pattern, len, err));
    if (out->len == 0) return sp_fail(err, SP_E_FORMAT, "tokenizer: an empty split pattern");
    return SP_OK;
}

sp_status sp_pretok_rules_add_literal(sp_pretok_rules *rules, const char *text, size_t len, sp_error *err)
{
    sp_buf escaped = {0};
    sp_status status = SP_OK;
    for (size_t i = 0; i < len && status == SP_OK; i++) {
        bool meta = text[i] != '\0' && strchr("\\^$.[|()?*+{}]-", text[i]) != NULL;
        if (meta) status = sp_buf_puts(&escaped, "\\", err);
        if (status == SP_OK) status = sp_buf_append(&escaped, text + i, 1, err);
    }
    if (status == SP_OK)
        status = sp_pretok_rules_add(rules, escaped.data ? escaped.data : "", escaped.len, err);
    sp_buf_clear(&escaped);
    return status;
}

void sp_pretok_rules_clear(sp_pretok_rules *rules)
{
    for (int i = 0; i < SP_PRETOK_RULES_MAX; i++) sp_buf_clear(&rules->patterns[i]);
    rules->n = 0;
}
