/* SPDX-License-Identifier: MIT */
/* From a set of schemas to cases: every keyword narrows the case at hand, those that say "or" split it. Start at
 * sp_schema_expand(). The list of keywords is docs/json-schema.md. */
#include "text/grammar_schema_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Schemas that are still to be applied, each with those that led to it. */
typedef struct todo {
    const struct todo *rest;
    sp_schema_item item;
    const sp_schema_list *way;
} todo;

typedef struct expansion {
    sp_schema_compiler *c;
    sp_schema_case_fn fn;
    void *ctx;
    int n_cases, depth;
} expansion;

/* What applying one schema to a case leads to. */
typedef struct stage {
    expansion *x;
    const sp_json *schema;
    sp_case k;
    const todo *rest;
    const sp_schema_list *way; /* to the schemas inside it */
    bool dead;                 /* no value is left */
} stage;

static sp_status run(expansion *x, const sp_case *k, const todo *rest);

static sp_status add_todo(stage *s, const sp_json *schema)
{
    todo *cell = sp_arena_alloc(s->x->c->arena, sizeof *cell);
    if (!cell) return sp_fail_nomem(s->x->c->err, "json schema", sizeof *cell);
    *cell = (todo){s->rest, {schema, false}, s->way};
    s->rest = cell;
    return SP_OK;
}

static sp_status refuse(const stage *s, const char *keyword)
{
    return sp_schema_fail(s->x->c, SP_E_UNSUPPORTED, s->schema, "\"%s\" is not supported", keyword);
}

static sp_status malformed(const stage *s, const char *keyword, const char *expected)
{
    return sp_schema_fail(s->x->c, SP_E_FORMAT, s->schema, "\"%s\": expected %s", keyword, expected);
}

/* --- types and constants -------------------------------------------------------------------------------- */

static unsigned type_by_name(const char *name, bool *integer)
{
    static const char *const names[] = {"null", "boolean", "number", "string", "array", "object"};
    *integer = name && strcmp(name, "integer") == 0;
    if (*integer) return SP_TYPE_NUMBER;
    for (unsigned i = 0; name && i < 6; i++)
        if (strcmp(name, names[i]) == 0) return 1u << i;
    return 0;
}

/* The types of a "type" keyword; *integer if numbers must be integers. */
static sp_status read_types(const stage *s, const sp_json *value, unsigned *types, bool *integer)
{
    bool one_is_integer, number = false;
    size_t n = sp_json_is(value, SP_JSON_ARRAY) ? sp_json_size(value) : 1;
    *types = 0;
    *integer = false;
    for (size_t i = 0; i < n; i++) {
        const sp_json *name = sp_json_is(value, SP_JSON_ARRAY) ? sp_json_at(value, i) : value;
        unsigned type = type_by_name(sp_json_string(name, NULL), &one_is_integer);
        if (!type) return malformed(s, "type", "the name of a type, or a list of them");
        *types |= type;
        *integer |= one_is_integer;
        number |= type == SP_TYPE_NUMBER && !one_is_integer;
    }
    if (number) *integer = false;
    return SP_OK;
}

static sp_status apply_type(stage *s, const sp_json *value)
{
    unsigned types;
    bool integer;
    SP_TRY(read_types(s, value, &types, &integer));
    s->k.types &= types;
    s->k.integer |= integer;
    return SP_OK;
}

/* The case's constants that are among `values`, or these if it has none yet. */
static sp_status apply_constants(stage *s, const sp_json *const *values, size_t n)
{
    const sp_schema_list *kept = NULL;
    for (size_t i = n; i-- > 0;) {
        bool in = !s->k.has_constants;
        for (const sp_schema_list *l = s->k.constants; l && !in; l = l->rest)
            in = sp_schema_same(l->item.value, values[i]);
        if (in) SP_TRY(sp_schema_push(s->x->c, &kept, (sp_schema_item){values[i], true}, NULL));
    }
    s->k.has_constants = true;
    s->k.constants = kept;
    s->dead |= kept == NULL;
    return SP_OK;
}

static sp_status apply_enum(stage *s, const sp_json *value)
{
    size_t n = sp_json_size(value);
    if (!sp_json_is(value, SP_JSON_ARRAY)) return malformed(s, "enum", "a list");
    const sp_json **values = sp_arena_alloc(s->x->c->arena, (n + 1) * sizeof *values);
    if (!values) return sp_fail_nomem(s->x->c->err, "json schema", n * sizeof *values);
    for (size_t i = 0; i < n; i++) values[i] = sp_json_at(value, i);
    return apply_constants(s, values, n);
}

/* --- bounds --------------------------------------------------------------------------------------------- */

static sp_status apply_bound(stage *s, const char *keyword, const sp_json *value)
{
    sp_number_bounds *b = &s->k.bounds;
    bool excluded = strncmp(keyword, "exclusive", 9) == 0, is_min = strstr(keyword, "inimum") != NULL;
    sp_decimal bound;
    char text[40];
    if (excluded && sp_json_is(value, SP_JSON_BOOL)) { /* draft 4 has it beside the bound */
        bool is_true = sp_json_bool(value, false);
        value = sp_json_get(s->schema, is_min ? "minimum" : "maximum");
        if (!value || !is_true) return SP_OK;
    }
    if (!sp_json_is(value, SP_JSON_INT) && !sp_json_is(value, SP_JSON_REAL))
        return malformed(s, keyword, "a number");
    sp_schema_number_text(value, text);
    if (!sp_decimal_read(&bound, text))
        return sp_schema_fail(s->x->c, SP_E_LIMIT, s->schema, "\"%s\" is too large", keyword);
    bool has = is_min ? b->has_min : b->has_max;
    int order = has ? sp_decimal_compare(&bound, is_min ? &b->min : &b->max) : 0;
    if (has && (is_min ? order < 0 : order > 0)) return SP_OK;
    bool both = has && order == 0 && (is_min ? b->min_excluded : b->max_excluded);
    if (is_min)
        b->has_min = true, b->min = bound, b->min_excluded = excluded || both;
    else
        b->has_max = true, b->max = bound, b->max_excluded = excluded || both;
    return SP_OK;
}

static sp_status apply_multiple(stage *s, const sp_json *value)
{
    if (!(sp_json_real(value, 0) > 0)) return malformed(s, "multipleOf", "a number above 0");
    return sp_schema_push(s->x->c, &s->k.multiples, (sp_schema_item){value, false}, NULL);
}

static sp_status read_count(const stage *s, const char *keyword, const sp_json *value, uint32_t *count)
{
    double real = sp_json_real(value, -1);
    if (!(real >= 0) || real != floor(real)) return malformed(s, keyword, "a whole number");
    *count = real < (double)UINT32_MAX - 1 ? (uint32_t)real : UINT32_MAX - 1;
    return SP_OK;
}

static sp_status apply_count(stage *s, const char *keyword, const sp_json *value)
{
    uint32_t count = 0, *min = &s->k.min_props, *max = &s->k.max_props;
    SP_TRY(read_count(s, keyword, value, &count));
    if (strcmp(keyword + 3, "Length") == 0) min = &s->k.min_length, max = &s->k.max_length;
    if (strcmp(keyword + 3, "Items") == 0) min = &s->k.min_items, max = &s->k.max_items;
    if (keyword[1] == 'i' && count > *min) *min = count;
    if (keyword[1] == 'a' && count < *max) *max = count;
    return SP_OK;
}

static sp_status apply_pattern(stage *s, const sp_json *value)
{
    size_t len;
    const char *pattern = sp_json_string(value, &len);
    if (!pattern) return malformed(s, "pattern", "a string");
    if (strlen(pattern) != len) return refuse(s, "pattern");
    return sp_schema_push(s->x->c, &s->k.patterns, (sp_schema_item){s->schema, false}, pattern);
}

/* Formats that the standard does not define are notes, as it says; "int32" and "password" are common. */
static sp_status apply_format(stage *s, const sp_json *value)
{
    bool known;
    const char *name = sp_json_string(value, NULL);
    if (!name) return malformed(s, "format", "a string");
    const char *pattern = sp_format_pattern(name, &known);
    if (!pattern && !known) return SP_OK;
    if (!pattern)
        return sp_schema_fail(s->x->c, SP_E_UNSUPPORTED, s->schema, "\"format\": \"%.60s\" is not supported",
                              name);
    return sp_schema_push(s->x->c, &s->k.patterns, (sp_schema_item){s->schema, false}, pattern);
}

/* --- names ---------------------------------------------------------------------------------------------- */

static sp_status add_names(const stage *s, const char *keyword, const sp_json *names,
                           const sp_schema_list **list)
{
    if (!sp_json_is(names, SP_JSON_ARRAY)) return malformed(s, keyword, "a list of names");
    for (size_t i = 0; i < sp_json_size(names); i++) {
        const char *name = sp_json_string(sp_json_at(names, i), NULL);
        if (!name) return malformed(s, keyword, "a list of names");
        SP_TRY(sp_schema_push(s->x->c, list, (sp_schema_item){NULL, false}, name));
    }
    return SP_OK;
}

static sp_status apply_ref(stage *s, const sp_json *value)
{
    const sp_json *target;
    const char *ref = sp_json_string(value, NULL);
    if (!ref) return malformed(s, "$ref", "a string");
    /* but for plain pointers the document is searched */
    size_t work = s->x->c->has_ids || strncmp(ref, "#/", 2) != 0 ? s->x->c->len : 0;
    s->x->c->budget -= work < s->x->c->budget ? work : s->x->c->budget;
    SP_TRY(sp_schema_resolve(s->x->c, s->schema, ref, &target));
    return add_todo(s, target);
}

/* --- or ------------------------------------------------------------------------------------------------- */

/* The keywords that split a case: `at` counts them, so that each is met once. */
typedef sp_status (*branch_fn)(stage *s, int at);

static sp_status finish_stage(stage *s, int at);

static sp_status branch_to(const stage *s, const sp_json *schema, int at)
{
    stage copy = *s;
    SP_TRY(add_todo(&copy, schema));
    return finish_stage(&copy, at);
}

static sp_status note_apart(const stage *s, const sp_json *a, const sp_json *b)
{
    sp_schema_compiler *c = s->x->c;
    const sp_schema_item both[] = {{a, false}, {b, false}};
    uint32_t node;
    SP_TRY(sp_schema_intern(c, both, a == b ? 1 : 2, &node));
    if (c->n_aparts == c->cap_aparts) {
        size_t cap = c->cap_aparts ? c->cap_aparts * 2 : 16;
        sp_schema_apart *grown = sp_realloc_array(c->aparts, cap, sizeof *grown);
        if (!grown) return sp_fail_nomem(c->err, "json schema", cap * sizeof *grown);
        c->aparts = grown;
        c->cap_aparts = cap;
    }
    c->aparts[c->n_aparts++] = (sp_schema_apart){node, s->schema};
    return SP_OK;
}

/* The name if all that the schema says is that one is required. */
static const sp_json *only_requires(const sp_json *schema)
{
    const sp_json *required = sp_json_get(schema, "required");
    return sp_json_size(schema) == 1 && sp_json_size(required) == 1 ? required : NULL;
}

/* A branch of a oneOf: what the others say does not hold. Of two that ask for a name each that is said here, of other pairs it must be
 * so by itself. */
static sp_status branch_to_one(const stage *s, const sp_json *list, size_t i, int at)
{
    const sp_json *schema = sp_json_at(list, i), *name;
    stage copy = *s;
    for (size_t j = 0; j < sp_json_size(list); j++) {
        name = only_requires(schema) && j != i ? only_requires(sp_json_at(list, j)) : NULL;
        if (name) copy.k.types &= SP_TYPE_OBJECT;
        if (name) SP_TRY(add_names(&copy, "required", name, &copy.k.forbidden));
        if (!name && j < i) SP_TRY(note_apart(s, sp_json_at(list, j), schema));
    }
    return branch_to(&copy, schema, at);
}

static sp_status branch_choice(stage *s, const char *keyword, int at)
{
    const sp_json *list = sp_json_get(s->schema, keyword);
    size_t n = sp_json_size(list);
    if (!list) return finish_stage(s, at);
    if (!sp_json_is(list, SP_JSON_ARRAY) || n == 0) return malformed(s, keyword, "a list of schemas");
    if (n > SP_SCHEMA_CASES_MAX)
        return sp_schema_fail(s->x->c, SP_E_LIMIT, s->schema, "\"%s\" has %zu schemas", keyword, n);
    for (size_t i = 0; i < n; i++)
        SP_TRY(keyword[0] == 'o' ? branch_to_one(s, list, i, at) : branch_to(s, sp_json_at(list, i), at));
    return SP_OK;
}

static sp_status branch_any(stage *s, int at)
{
    return branch_choice(s, "anyOf", at);
}

static sp_status branch_one(stage *s, int at)
{
    return branch_choice(s, "oneOf", at);
}

/* A name's presence asks for more: it is absent, or all of that holds. "dependencies" is what older drafts have for both kinds. */
static sp_status branch_dependent(stage *s, const char *keyword, int at)
{
    const sp_json *map = sp_json_get(s->schema, keyword), *value;
    const char *name;
    void *iter = NULL;
    bool old = strcmp(keyword, "dependencies") == 0, schemas = strcmp(keyword, "dependentSchemas") == 0;
    /* each name splits: walk the combinations as the bits of a number */
    size_t n = sp_json_size(map);
    if (map && !sp_json_is(map, SP_JSON_OBJECT)) return malformed(s, keyword, "an object");
    if (n > 8) return sp_schema_fail(s->x->c, SP_E_LIMIT, s->schema, "\"%s\" of more than 8 names", keyword);
    for (unsigned present = 0; present < 1u << n; present++, iter = NULL) {
        stage copy = *s;
        for (unsigned i = 0; sp_json_next(map, &iter, &name, &value); i++) {
            sp_schema_item none = {NULL, false};
            bool is_present = present >> i & 1;
            SP_TRY(sp_schema_push(s->x->c, is_present ? &copy.k.required : &copy.k.forbidden, none, name));
            if (!is_present) continue;
            copy.k.types &= SP_TYPE_OBJECT;
            if (schemas || (old && !sp_json_is(value, SP_JSON_ARRAY)))
                SP_TRY(add_todo(&copy, value));
            else
                SP_TRY(add_names(&copy, keyword, value, &copy.k.required));
        }
        SP_TRY(finish_stage(&copy, at));
    }
    return SP_OK;
}

static sp_status branch_required(stage *s, int at)
{
    return branch_dependent(s, "dependentRequired", at);
}

static sp_status branch_schemas(stage *s, int at)
{
    return branch_dependent(s, "dependentSchemas", at);
}

static sp_status branch_dependencies(stage *s, int at)
{
    return branch_dependent(s, "dependencies", at);
}

static sp_status finish_stage(stage *s, int at)
{
    static const branch_fn branches[] = {branch_any, branch_one, branch_required, branch_schemas,
                                         branch_dependencies};
    if (s->dead || s->k.types == 0) return SP_OK;
    if (at < (int)(sizeof branches / sizeof branches[0])) return branches[at](s, at + 1);
    return run(s->x, &s->k, s->rest);
}

/* --- keywords ------------------------------------------------------------------------------------------- */

/* "not" of a type, of required names, of everything or nothing. */
static sp_status apply_not(stage *s, const sp_json *value)
{
    unsigned types;
    bool integer;
    const sp_json *type = sp_json_get(value, "type"), *required = sp_json_get(value, "required");
    if (sp_json_is(value, SP_JSON_BOOL) || sp_json_size(value) == 0) {
        s->dead |= sp_json_bool(value, true);
        return sp_json_is(value, SP_JSON_BOOL) || sp_json_is(value, SP_JSON_OBJECT)
                   ? SP_OK
                   : malformed(s, "not", "a schema");
    }
    if (sp_json_size(value) == 1 && type) {
        SP_TRY(read_types(s, type, &types, &integer));
        if (integer) return refuse(s, "not");
        s->k.types &= ~types;
        return SP_OK;
    }
    if (sp_json_size(value) != 1 || sp_json_size(required) != 1) return refuse(s, "not");
    s->k.types &= SP_TYPE_OBJECT;
    return add_names(s, "required", required, &s->k.forbidden);
}

static sp_status apply_all(stage *s, const sp_json *value)
{
    if (!sp_json_is(value, SP_JSON_ARRAY)) return malformed(s, "allOf", "a list of schemas");
    for (size_t i = sp_json_size(value); i-- > 0;) SP_TRY(add_todo(s, sp_json_at(value, i)));
    return SP_OK;
}

/* Properties that no schema beside or inside it evaluates: seen to where objects are made. Items: without schemas that say more of them
 * this is "items". */
static sp_status apply_unevaluated(stage *s, const char *keyword, const sp_json *value)
{
    static const char *const others[] = {"$ref", "$dynamicRef",      "allOf",   "anyOf", "oneOf", "not",
                                         "if",   "dependentSchemas", "contains"};
    bool plain = strcmp(keyword, "unevaluatedItems") != 0 || sp_json_bool(value, false) ||
                 sp_json_get(s->schema, "items");
    if (plain) return SP_OK;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (sp_json_get(s->schema, others[i])) return refuse(s, keyword);
    return SP_OK;
}

static sp_status push_source(stage *s, sp_schema_item item)
{
    sp_schema_list *cell = sp_arena_alloc(s->x->c->arena, sizeof *cell);
    if (!cell) return sp_fail_nomem(s->x->c->err, "json schema", sizeof *cell);
    *cell = (sp_schema_list){.rest = s->k.sources, .item = item, .way = s->way};
    s->k.sources = cell;
    return SP_OK;
}

typedef enum keyword_kind { K_NOTE, K_REFUSED, K_SOURCE, K_BRANCH, K_OTHER, K_COUNT, K_BOUND } keyword_kind;

static const struct {
    const char *name;
    keyword_kind kind;
} keywords[] = {
    {"$schema", K_NOTE},
    {"$comment", K_NOTE},
    {"$defs", K_NOTE},
    {"definitions", K_NOTE},
    {"title", K_NOTE},
    {"description", K_NOTE},
    {"default", K_NOTE},
    {"examples", K_NOTE},
    {"deprecated", K_NOTE},
    {"readOnly", K_NOTE},
    {"writeOnly", K_NOTE},
    {"contentMediaType", K_NOTE},
    {"contentEncoding", K_NOTE},
    {"contentSchema", K_NOTE},
    {"$anchor", K_NOTE},
    {"$dynamicAnchor", K_NOTE},
    {"then", K_NOTE},
    {"else", K_NOTE},
    {"minContains", K_NOTE},
    {"maxContains", K_NOTE},
    {"$dynamicRef", K_REFUSED},
    {"$recursiveRef", K_REFUSED},
    {"contains", K_REFUSED},
    {"$vocabulary", K_REFUSED},
    {"properties", K_SOURCE},
    {"patternProperties", K_SOURCE},
    {"additionalProperties", K_SOURCE},
    {"propertyNames", K_SOURCE},
    {"items", K_SOURCE},
    {"prefixItems", K_SOURCE},
    {"additionalItems", K_SOURCE},
    {"unevaluatedItems", K_SOURCE},
    {"unevaluatedProperties", K_SOURCE},
    {"anyOf", K_BRANCH},
    {"oneOf", K_BRANCH},
    {"dependentRequired", K_BRANCH},
    {"dependentSchemas", K_BRANCH},
    {"dependencies", K_BRANCH},
    {"minLength", K_COUNT},
    {"maxLength", K_COUNT},
    {"minItems", K_COUNT},
    {"maxItems", K_COUNT},
    {"minProperties", K_COUNT},
    {"maxProperties", K_COUNT},
    {"minimum", K_BOUND},
    {"maximum", K_BOUND},
    {"exclusiveMinimum", K_BOUND},
    {"exclusiveMaximum", K_BOUND},
    {"type", K_OTHER},
    {"enum", K_OTHER},
    {"const", K_OTHER},
    {"multipleOf", K_OTHER},
    {"pattern", K_OTHER},
    {"format", K_OTHER},
    {"required", K_OTHER},
    {"$ref", K_OTHER},
    {"allOf", K_OTHER},
    {"not", K_OTHER},
    {"if", K_OTHER},
    {"uniqueItems", K_OTHER},
    {"$id", K_NOTE},
};

static sp_status apply_other(stage *s, const char *name, const sp_json *value)
{
    if (strcmp(name, "type") == 0) return apply_type(s, value);
    if (strcmp(name, "enum") == 0) return apply_enum(s, value);
    if (strcmp(name, "const") == 0) return apply_constants(s, &value, 1);
    if (strcmp(name, "multipleOf") == 0) return apply_multiple(s, value);
    if (strcmp(name, "pattern") == 0) return apply_pattern(s, value);
    if (strcmp(name, "format") == 0) return apply_format(s, value);
    if (strcmp(name, "required") == 0) return add_names(s, name, value, &s->k.required);
    if (strcmp(name, "$ref") == 0) return apply_ref(s, value);
    if (strcmp(name, "allOf") == 0) return apply_all(s, value);
    if (strcmp(name, "not") == 0) return apply_not(s, value);
    if (strcmp(name, "uniqueItems") == 0) {
        if (sp_json_bool(value, false)) s->k.unique = s->schema;
        return SP_OK;
    }
    bool matters = sp_json_get(s->schema, "then") || sp_json_get(s->schema, "else"); /* "if" */
    return matters ? refuse(s, name) : SP_OK;
}

static sp_status apply_keyword(stage *s, const char *name, const sp_json *value, bool *is_source)
{
    size_t i = 0, n = sizeof keywords / sizeof keywords[0];
    while (i < n && strcmp(keywords[i].name, name) != 0) i++;
    if (i == n) return SP_OK; /* the standard has unknown keywords ignored */
    switch (keywords[i].kind) {
    case K_REFUSED: return refuse(s, name);
    case K_COUNT: return apply_count(s, name, value);
    case K_BOUND: return apply_bound(s, name, value);
    case K_OTHER: return apply_other(s, name, value);
    case K_SOURCE:
        *is_source = true;
        if (strncmp(name, "unevaluated", 11) == 0) return apply_unevaluated(s, name, value);
        if (strcmp(name, "items") == 0 && sp_json_is(value, SP_JSON_ARRAY) &&
            sp_json_get(s->schema, "prefixItems"))
            return malformed(s, name, "a schema beside \"prefixItems\"");
        return SP_OK;
    case K_NOTE:
    case K_BRANCH: break;
    }
    return SP_OK;
}

static sp_status apply_schema(expansion *x, const sp_case *k, const todo *at)
{
    stage s = {.x = x, .schema = at->item.value, .k = *k, .rest = at->rest, .way = at->way};
    bool is_source = false;
    void *iter = NULL;
    const char *name;
    const sp_json *value;
    SP_TRY(sp_schema_push(x->c, &s.way, at->item, NULL));
    SP_TRY(sp_schema_push(x->c, &s.k.seen, at->item, NULL));
    while (sp_json_next(s.schema, &iter, &name, &value)) SP_TRY(apply_keyword(&s, name, value, &is_source));
    if (is_source) SP_TRY(push_source(&s, at->item));
    return finish_stage(&s, 0);
}

static bool is_listed(const sp_schema_list *list, const sp_json *value)
{
    for (; list; list = list->rest)
        if (list->item.value == value) return true;
    return false;
}

/* Apply what is left to do, then hand the case over. */
static sp_status run(expansion *x, const sp_case *k, const todo *rest)
{
    sp_status status = SP_OK;
    if (!rest) {
        if (++x->n_cases > SP_SCHEMA_CASES_MAX)
            return sp_fail(x->c->err, SP_E_LIMIT, "json schema: more than %d alternatives at one place",
                           SP_SCHEMA_CASES_MAX);
        return x->fn(x->c, k, x->ctx);
    }
    const sp_json *schema = rest->item.value;
    if (is_listed(rest->way, schema))
        return SP_OK; /* a schema that is defined by itself allows nothing by that */
    if (sp_json_is(schema, SP_JSON_BOOL)) return sp_json_bool(schema, true) ? run(x, k, rest->rest) : SP_OK;
    if (!sp_json_is(schema, SP_JSON_OBJECT))
        return sp_schema_fail(x->c, SP_E_FORMAT, schema, "expected a schema: an object, true or false");
    if (is_listed(k->seen, schema)) return run(x, k, rest->rest);
    if (x->c->budget < SP_SCHEMA_STEP)
        return sp_fail(x->c->err, SP_E_LIMIT, "json schema: it takes too much work");
    x->c->budget -= SP_SCHEMA_STEP;
    if (++x->depth > SP_SCHEMA_DEPTH_MAX)
        return sp_schema_fail(x->c, SP_E_LIMIT, schema, "more than %d schemas at one place",
                              SP_SCHEMA_DEPTH_MAX);
    status = apply_schema(x, k, rest);
    x->depth--;
    return status;
}

sp_status sp_schema_expand(sp_schema_compiler *c, const sp_schema_item *items, size_t n, sp_schema_case_fn fn,
                           void *ctx)
{
    expansion x = {.c = c, .fn = fn, .ctx = ctx};
    const sp_case all = {.types = SP_TYPE_ALL,
                         .max_length = SP_GRAMMAR_NO_LIMIT,
                         .max_items = SP_GRAMMAR_NO_LIMIT,
                         .max_props = SP_GRAMMAR_NO_LIMIT};
    stage s = {.x = &x, .k = all};
    for (size_t i = n; i-- > 0;) {
        if (items[i].is_const)
            SP_TRY(apply_constants(&s, &items[i].value, 1));
        else
            SP_TRY(add_todo(&s, items[i].value));
    }
    return s.dead ? SP_OK : run(&x, &s.k, s.rest);
}
