/* SPDX-License-Identifier: MIT */
/* Running a pre-tokenizer: PCRE2 with its just-in-time compiler over each rule, depth first, so that no list
 * of pieces is ever built. Compiled patterns are shared by threads; match data belong to one run.
 * Start at sp_pretok_split(). */
#include "text/pretoken.h"

#include <string.h>

#include "text/pretoken_parts.h"

#if SP_HAVE_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* Steps that one match may take (PCRE2's default); patterns from files can ask for exponentially many. */
#define MATCH_LIMIT 10000000u

typedef struct rule {
    pcre2_code *code;
    bool jit;
} rule;
#endif

struct sp_pretok {
    const char *name;
    int n_rules;
#if SP_HAVE_PCRE2
    rule rules[SP_PRETOK_RULES_MAX];
    pcre2_general_context *memory;
    pcre2_match_context *limits;
#endif
};

const char *sp_pretok_name(const sp_pretok *pretok)
{
    return pretok->name;
}

sp_status sp_pretok_create_named(sp_pretok **pretok, const char *name, sp_error *err)
{
    *pretok = NULL;
    sp_pretok_rules rules = {.n = 0};
    sp_status status = sp_pretok_rules_named(&rules, name, err);
    if (status == SP_OK) status = sp_pretok_compile(pretok, &rules, sp_pretok_canonical(name), err);
    sp_pretok_rules_clear(&rules);
    return status;
}

#if SP_HAVE_PCRE2

static void *allocate(PCRE2_SIZE n_bytes, void *ctx)
{
    (void)ctx;
    return sp_malloc(n_bytes);
}

static void release(void *ptr, void *ctx)
{
    (void)ctx;
    sp_free(ptr);
}

/* `\s+$` costs quadratic time on a long run of blanks, from whose every position it would run to the end.
 * Where an earlier rule has cut out every line break, `$` can only be the end of the piece, the leftmost
 * match starts at the first blank of the last run, and the pattern can say so: linear, and the same matches.
 */
static sp_status speed_up(sp_buf *pattern, const sp_pretok_rules *rules, int i, sp_error *err)
{
    static const char line_break[] = "[\\x{D}\\x{A}]";
    const sp_buf *source = &rules->patterns[i];
    const char *text = source->data;
    bool is_blank_tail = source->len > 4 && strcmp(text + source->len - 3, "]+$") == 0 &&
                         strncmp(text, "[\\x{9}-\\x{D}", 11) == 0 &&
                         strchr(text, ']') == text + source->len - 3;
    if (i == 0 || !is_blank_tail || strcmp(rules->patterns[0].data, line_break) != 0)
        return sp_buf_append(pattern, text, source->len, err);
    int n_class = (int)source->len - 2;
    return sp_buf_printf(pattern, err, "(?<!%.*s)%.*s++\\z", n_class, text, n_class, text);
}

static sp_status compile_rule(sp_pretok *pretok, const sp_pretok_rules *rules, int i,
                              pcre2_compile_context *context, sp_error *err)
{
    sp_buf pattern = {0};
    sp_status status = speed_up(&pattern, rules, i, err);
    if (status == SP_OK) {
        int code;
        PCRE2_SIZE offset;
        uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
        rule *r = &pretok->rules[i];
        r->code = pcre2_compile((PCRE2_SPTR)pattern.data, pattern.len, options, &code, &offset, context);
        if (!r->code && code == PCRE2_ERROR_HEAP_FAILED) {
            status = sp_fail_nomem(err, "regular expression", pattern.len);
        } else if (!r->code) {
            PCRE2_UCHAR message[128] = "";
            pcre2_get_error_message(code, message, sizeof message);
            status = sp_fail_at(err, SP_E_UNSUPPORTED, (int64_t)offset,
                                "tokenizer: pre-tokenizer step %d: %s", i + 1, (const char *)message);
        } else {
            r->jit = pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE) == 0;
        }
    }
    sp_buf_clear(&pattern);
    return status;
}

sp_status sp_pretok_compile(sp_pretok **out, const sp_pretok_rules *rules, const char *name, sp_error *err)
{
    sp_status status = SP_OK;
    pcre2_compile_context *context = NULL;
    sp_pretok *pretok = sp_calloc(1, sizeof *pretok);
    if (!pretok) return sp_fail_nomem(err, "pre-tokenizer", sizeof *pretok);
    pretok->name = name;
    pretok->n_rules = rules->n;
    pretok->memory = pcre2_general_context_create(allocate, release, NULL);
    if (pretok->memory) pretok->limits = pcre2_match_context_create(pretok->memory);
    if (pretok->limits) context = pcre2_compile_context_create(pretok->memory);
    if (!context) {
        status = sp_fail_nomem(err, "pre-tokenizer", 0);
        goto done;
    }
    pcre2_set_match_limit(pretok->limits, name ? UINT32_MAX : MATCH_LIMIT);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    for (int i = 0; i < rules->n; i++) SP_GOTO(done, status, compile_rule(pretok, rules, i, context, err));
done:
    pcre2_compile_context_free(context);
    if (status != SP_OK) {
        sp_pretok_destroy(pretok);
        pretok = NULL;
    }
    *out = pretok;
    return status;
}

void sp_pretok_destroy(sp_pretok *pretok)
{
    if (!pretok) return;
    for (int i = 0; i < pretok->n_rules; i++) pcre2_code_free(pretok->rules[i].code);
    pcre2_match_context_free(pretok->limits);
    pcre2_general_context_free(pretok->memory);
    sp_free(pretok);
}

sp_status sp_pretok_begin(sp_pretok_run *run, const sp_pretok *pretok, sp_pretok_sink sink, void *ctx,
                          sp_error *err)
{
    *run = (sp_pretok_run){pretok, NULL, sink, ctx};
    run->match_data = pcre2_match_data_create(1, pretok->memory);
    return run->match_data ? SP_OK : sp_fail_nomem(err, "pre-tokenizer match", 0);
}

void sp_pretok_end(sp_pretok_run *run)
{
    pcre2_match_data_free(run->match_data);
    run->match_data = NULL;
}

/* Find the next match of rule i at or after `from`: 1 found, 0 none, negative: PCRE2's error. */
static int find_match(const sp_pretok_run *run, int i, const char *text, size_t len, size_t from)
{
    const rule *r = &run->pretok->rules[i];
    PCRE2_SPTR subject = (PCRE2_SPTR)text;
    int rc = PCRE2_ERROR_JIT_STACKLIMIT;
    if (r->jit)
        rc = pcre2_jit_match(r->code, subject, len, from, PCRE2_NOTEMPTY, run->match_data,
                             run->pretok->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(r->code, subject, len, from, PCRE2_NOTEMPTY | PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                         run->match_data, run->pretok->limits);
    return rc >= 0 ? 1 : rc == PCRE2_ERROR_NOMATCH ? 0 : rc;
}

static sp_status fail_match(int rc, int i, sp_error *err)
{
    if (rc == PCRE2_ERROR_NOMEMORY) return sp_fail_nomem(err, "pre-tokenizer match", 0);
    PCRE2_UCHAR message[128] = "";
    pcre2_get_error_message(rc, message, sizeof message);
    return sp_fail(err, SP_E_LIMIT, "tokenizer: pre-tokenizer step %d: %s", i + 1, (const char *)message);
}

static sp_status split_from(sp_pretok_run *run, int i, const char *text, size_t len, sp_error *err)
{
    if (i == run->pretok->n_rules) return run->sink(run->ctx, text, len, err);
    for (size_t pos = 0; pos < len;) {
        int rc = find_match(run, i, text, len, pos);
        if (rc < 0) return fail_match(rc, i, err);
        size_t start = len, end = len;
        if (rc > 0) {
            const PCRE2_SIZE *span = pcre2_get_ovector_pointer(run->match_data);
            start = span[0], end = span[1];
        }
        /* Lookbehind within lookahead could report an end before its start: refuse rather than loop. */
        if (start < pos || end < start || (rc > 0 && end == pos))
            return sp_fail(err, SP_E_UNSUPPORTED, "tokenizer: pre-tokenizer step %d matches backwards",
                           i + 1);
        if (start > pos) SP_TRY(split_from(run, i + 1, text + pos, start - pos, err));
        if (end > start) SP_TRY(split_from(run, i + 1, text + start, end - start, err));
        pos = end;
    }
    return SP_OK;
}

sp_status sp_pretok_split(sp_pretok_run *run, const char *text, size_t len, sp_error *err)
{
    return len == 0 ? SP_OK : split_from(run, 0, text, len, err);
}

#else /* without PCRE2: names and rules are known, text cannot be split */

sp_status sp_pretok_compile(sp_pretok **out, const sp_pretok_rules *rules, const char *name, sp_error *err)
{
    sp_pretok *pretok = sp_calloc(1, sizeof *pretok);
    *out = pretok;
    if (!pretok) return sp_fail_nomem(err, "pre-tokenizer", sizeof *pretok);
    pretok->name = name;
    pretok->n_rules = rules->n;
    return SP_OK;
}

void sp_pretok_destroy(sp_pretok *pretok)
{
    sp_free(pretok);
}

sp_status sp_pretok_begin(sp_pretok_run *run, const sp_pretok *pretok, sp_pretok_sink sink, void *ctx,
                          sp_error *err)
{
    *run = (sp_pretok_run){pretok, NULL, sink, ctx};
    return sp_fail(err, SP_E_UNSUPPORTED,
                   "tokenizer: this build has no PCRE2, so text cannot be encoded (decoding works)");
}

void sp_pretok_end(sp_pretok_run *run)
{
    (void)run;
}

sp_status sp_pretok_split(sp_pretok_run *run, const char *text, size_t len, sp_error *err)
{
    (void)run, (void)text, (void)len;
    return sp_fail(err, SP_E_UNSUPPORTED, "tokenizer: this build has no PCRE2");
}

#endif
