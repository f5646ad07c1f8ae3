/* SPDX-License-Identifier: MIT */
/* JSON Schema (draft 2020-12) to a grammar: the frame of the compiler. Start at sp_grammar_json_schema(). */
#include "text/grammar_schema_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA_BYTES_MAX ((size_t)4 << 20)

/* --- where a value stands ------------------------------------------------------------------------------- */

static bool put_step(sp_buf *out, const char *name)
{
    if (sp_buf_puts(out, "/", NULL) != SP_OK) return false;
    for (; *name; name++) {
        const char *escape = *name == '~' ? "~0" : *name == '/' ? "~1" : NULL;
        if (sp_buf_append(out, escape ? escape : name, escape ? 2 : 1, NULL) != SP_OK) return false;
    }
    return true;
}

/* Append the path to `target`, if it is in here. */
static bool find_path(const sp_json *here, const sp_json *target, sp_buf *out, int depth)
{
    size_t len = out->len;
    void *iter = NULL;
    const char *key;
    const sp_json *value;
    char index[24];
    if (here == target) return true;
    if (depth > 256) return false;
    while (sp_json_next(here, &iter, &key, &value)) {
        if (put_step(out, key) && find_path(value, target, out, depth + 1)) return true;
        out->len = len;
    }
    for (size_t i = 0; sp_json_is(here, SP_JSON_ARRAY) && i < sp_json_size(here); i++) {
        snprintf(index, sizeof index, "%zu", i);
        if (put_step(out, index) && find_path(sp_json_at(here, i), target, out, depth + 1)) return true;
        out->len = len;
    }
    return false;
}

sp_status sp_schema_fail(const sp_schema_compiler *c, sp_status code, const sp_json *at, const char *fmt, ...)
{
    char text[200];
    sp_buf path = {NULL, 0, 0};
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    bool found = find_path(c->root, at, &path, 0);
    if (path.data) path.data[found ? path.len : 0] = '\0';
    sp_fail(c->err, code, "json schema: %s (at \"#%.120s\")", text, path.data ? path.data : "");
    sp_buf_clear(&path);
    return code;
}

/* --- nodes ---------------------------------------------------------------------------------------------- */

static int compare_items(const void *a, const void *b)
{
    const sp_schema_item *x = a, *y = b;
    if (x->value != y->value) return (uintptr_t)x->value < (uintptr_t)y->value ? -1 : 1;
    return (int)x->is_const - (int)y->is_const;
}

/* Sort, and leave out what says nothing; false if an item is the schema `false`. */
static bool tidy_items(sp_schema_item *items, size_t *n)
{
    size_t kept = 0;
    qsort(items, *n, sizeof *items, compare_items);
    for (size_t i = 0; i < *n; i++) {
        if (kept && compare_items(&items[i], &items[kept - 1]) == 0) continue;
        if (!items[i].is_const && sp_json_is(items[i].value, SP_JSON_BOOL)) {
            if (!sp_json_bool(items[i].value, true)) return false;
            continue;
        }
        items[kept++] = items[i];
    }
    *n = kept;
    return true;
}

static sp_status add_node(sp_schema_compiler *c, const sp_schema_item *items, size_t n, uint32_t *node)
{
    if (c->grammar->n_nodes >= SP_SCHEMA_NODES_MAX)
        return sp_fail(c->err, SP_E_LIMIT, "json schema: more than %d places for values",
                       SP_SCHEMA_NODES_MAX);
    if (c->grammar->n_nodes == c->cap_nodes) {
        size_t cap = c->cap_nodes ? c->cap_nodes * 2 : 64;
        sp_schema_node *grown = sp_realloc_array(c->nodes, cap, sizeof *grown);
        if (!grown) return sp_fail_nomem(c->err, "json schema", cap * sizeof *grown);
        c->nodes = grown;
        c->cap_nodes = cap;
    }
    SP_TRY(sp_grammar_add_node(c->grammar, node, c->err));
    c->nodes[*node] = (sp_schema_node){items, n};
    return SP_OK;
}

sp_status sp_schema_intern(sp_schema_compiler *c, const sp_schema_item *items, size_t n, uint32_t *node)
{
    sp_schema_item *own = sp_arena_alloc(c->arena, (n + 1) * sizeof *own);
    uint64_t hash = 1469598103934665603ull;
    if (!own) return sp_fail_nomem(c->err, "json schema", n * sizeof *own);
    if (n) memcpy(own, items, n * sizeof *own);
    if (!tidy_items(own, &n)) {
        *node = c->never;
        return SP_OK;
    }
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ ((uintptr_t)own[i].value + own[i].is_const)) * 1099511628211ull, hash ^= hash >> 29;
    uint32_t at = (uint32_t)hash & (SP_SCHEMA_TABLE - 1);
    for (; c->table[at]; at = (at + 1) & (SP_SCHEMA_TABLE - 1)) {
        const sp_schema_node *other = &c->nodes[c->table[at] - 1];
        *node = c->table[at] - 1;
        bool same = other->n == n;
        for (size_t i = 0; same && i < n; i++) same = compare_items(&own[i], &other->items[i]) == 0;
        if (same) return SP_OK;
    }
    SP_TRY(add_node(c, own, n, node));
    c->table[at] = *node + 1;
    return SP_OK;
}

sp_status sp_schema_push(const sp_schema_compiler *c, const sp_schema_list **list, sp_schema_item item,
                         const char *text)
{
    sp_schema_list *cell = sp_arena_alloc(c->arena, sizeof *cell);
    if (!cell) return sp_fail_nomem(c->err, "json schema", sizeof *cell);
    *cell = (sp_schema_list){.rest = *list, .item = item, .text = text};
    *list = cell;
    return SP_OK;
}

/* --- values --------------------------------------------------------------------------------------------- */

sp_status sp_schema_quote(sp_buf *out, const char *text, size_t len, sp_error *err)
{
    static const char codes[] = "btn?fr";
    SP_TRY(sp_buf_puts(out, "\"", err));
    for (size_t i = 0; i < len; i++) {
        unsigned char b = (unsigned char)text[i];
        if (b == '"' || b == '\\')
            SP_TRY(sp_buf_printf(out, err, "\\%c", b));
        else if (b >= 8 && b <= 13 && b != 11)
            SP_TRY(sp_buf_printf(out, err, "\\%c", codes[b - 8]));
        else if (b < 0x20)
            SP_TRY(sp_buf_printf(out, err, "\\u%04x", b));
        else
            SP_TRY(sp_buf_append(out, &text[i], 1, err));
    }
    return sp_buf_puts(out, "\"", err);
}

void sp_schema_number_text(const sp_json *value, char text[40])
{
    if (sp_json_is(value, SP_JSON_INT)) {
        snprintf(text, 40, "%lld", (long long)sp_json_int(value, 0));
        return;
    }
    double real = sp_json_real(value, 0);
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, 40, "%.*g", digits, real);
        if (strtod(text, NULL) == real) return;
    }
}

static bool same_object(const sp_json *a, const sp_json *b)
{
    void *iter = NULL;
    const char *key;
    const sp_json *value;
    if (sp_json_size(a) != sp_json_size(b)) return false;
    while (sp_json_next(a, &iter, &key, &value)) {
        const sp_json *other = sp_json_get(b, key);
        if (!other || !sp_schema_same(value, other)) return false;
    }
    return true;
}

bool sp_schema_same(const sp_json *a, const sp_json *b)
{
    sp_json_type t = sp_json_typeof(a), u = sp_json_typeof(b);
    bool numbers = (t == SP_JSON_INT || t == SP_JSON_REAL) && (u == SP_JSON_INT || u == SP_JSON_REAL);
    size_t n, m;
    if (numbers && t == SP_JSON_INT && u == SP_JSON_INT) return sp_json_int(a, 0) == sp_json_int(b, 0);
    if (numbers) return sp_json_real(a, 0) == sp_json_real(b, 0);
    if (t != u) return false;
    switch (t) {
    case SP_JSON_BOOL: return sp_json_bool(a, false) == sp_json_bool(b, false);
    case SP_JSON_STRING: {
        const char *x = sp_json_string(a, &n), *y = sp_json_string(b, &m);
        return n == m && memcmp(x, y, n) == 0;
    }
    case SP_JSON_ARRAY:
        if (sp_json_size(a) != sp_json_size(b)) return false;
        for (size_t i = 0; i < sp_json_size(a); i++)
            if (!sp_schema_same(sp_json_at(a, i), sp_json_at(b, i))) return false;
        return true;
    case SP_JSON_OBJECT: return same_object(a, b);
    default: return true;
    }
}

/* --- the whole ------------------------------------------------------------------------------------------ */

/* A branch of a oneOf that meets another would be chosen by both. */
static sp_status check_aparts(const sp_schema_compiler *c)
{
    for (size_t i = 0; i < c->n_aparts; i++) {
        if (c->grammar->nodes[c->aparts[i].node].depth == SP_GRAMMAR_NEVER) continue;
        return sp_schema_fail(c, SP_E_UNSUPPORTED, c->aparts[i].schema,
                              "\"oneOf\" is supported where no value fits two of its schemas; here one may");
    }
    return SP_OK;
}

static sp_status compile_nodes(sp_schema_compiler *c)
{
    const sp_schema_item root = {c->root, false};
    SP_TRY(sp_grammar_begin(&c->grammar, c->err));
    c->arena = sp_arena_create(1 << 16);
    c->table = sp_calloc(SP_SCHEMA_TABLE, sizeof *c->table);
    if (!c->arena || !c->table)
        return sp_fail_nomem(c->err, "json schema", SP_SCHEMA_TABLE * sizeof *c->table);
    SP_TRY(add_node(c, NULL, 0, &c->never));
    SP_TRY(sp_schema_intern(c, &root, 1, &c->grammar->root));
    for (uint32_t node = c->never + 1; node < c->grammar->n_nodes; node++)
        SP_TRY(sp_schema_expand(c, c->nodes[node].items, c->nodes[node].n, sp_schema_emit, &node));
    SP_TRY(sp_schema_settle_unique(c));
    SP_TRY(sp_grammar_settle(c->grammar, c->err));
    return check_aparts(c);
}

sp_status sp_grammar_json_schema(sp_grammar **grammar, const char *schema, size_t len, sp_error *err)
{
    sp_json *root;
    *grammar = NULL;
    if (len > SCHEMA_BYTES_MAX)
        return sp_fail(err, SP_E_LIMIT, "json schema: %zu bytes, at most %zu", len, SCHEMA_BYTES_MAX);
    if (memmem(schema, len, "\\u0000", 6))
        return sp_fail(err, SP_E_UNSUPPORTED, "json schema: a NUL character in a string is not supported");
    sp_status status = sp_json_parse(schema, len, &root, err);
    if (status != SP_OK) return sp_fail_prefix(err, status, "json schema");
    sp_schema_compiler c = {.root = root, .err = err, .budget = SP_SCHEMA_BUDGET};
    c.len = len;
    c.has_ids = memmem(schema, len, "$id", 3) != NULL;
    status = compile_nodes(&c);
    if (status == SP_OK)
        *grammar = c.grammar;
    else
        sp_grammar_destroy(c.grammar);
    sp_arena_destroy(c.arena);
    sp_free(c.nodes), sp_free(c.table), sp_free(c.aparts), sp_free(c.uniques), sp_free(c.patterns);
    sp_json_destroy(root);
    return status;
}
