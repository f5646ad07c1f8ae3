/* SPDX-License-Identifier: MIT */
/* The alternative of a case's objects: which names are known, in which order, what may stand under each, and under names
 * that are not known. */
#include "text/grammar_schema_parts.h"

#include <stdlib.h>
#include <string.h>

#define SOURCES_MAX 256
#define PROPS_MAX 5000
#define LANGUAGES_MAX 16

/* Names that propertyNames allows: an automaton's, or all of min to max characters. */
typedef struct language {
    uint32_t dfa, min, max;
} language;

typedef struct object_maker {
    sp_schema_compiler *c;
    const sp_case *k;
    sp_schema_item sources[SOURCES_MAX]; /* oldest first */
    const sp_schema_list *ways[SOURCES_MAX];
    size_t n_sources;
    const char *patterns[SP_SCHEMA_PATTERNS_MAX];
    uint32_t dfas[SP_SCHEMA_PATTERNS_MAX];
    size_t n_patterns;
    language languages[LANGUAGES_MAX];
    size_t n_languages;
    bool limits_names; /* by propertyNames */
    bool closed;       /* a constant: no other names */
    sp_alt alt;        /* what is made */
    size_t cap_props;
} object_maker;

/* --- names ---------------------------------------------------------------------------------------------- */

static bool in_list(const sp_schema_list *list, const char *name)
{
    for (; list; list = list->rest)
        if (strcmp(list->text, name) == 0) return true;
    return false;
}

static sp_status collect_language(sp_schema_compiler *c, const sp_case *k, void *ctx)
{
    object_maker *m = ctx;
    language l = {SP_DFA_ANY_KEY, k->min_length, k->max_length};
    bool any = true, some = true;
    if (!(k->types & SP_TYPE_STRING)) return SP_OK;
    if (k->has_constants)
        SP_TRY(sp_schema_constants(c, k, SP_TYPE_STRING, &l.dfa, &some));
    else
        SP_TRY(sp_schema_strings(c, k, &l.dfa, &any));
    if (!any || k->has_constants) l.min = 0, l.max = SP_GRAMMAR_NO_LIMIT;
    if (!some) return SP_OK;
    if (m->n_languages == LANGUAGES_MAX)
        return sp_schema_fail(c, SP_E_LIMIT, m->sources[0].value,
                              "\"propertyNames\" has too many alternatives");
    m->languages[m->n_languages++] = l;
    return SP_OK;
}

static sp_status find_languages(object_maker *m)
{
    sp_schema_item items[SOURCES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < m->n_sources; i++) {
        const sp_json *names =
            m->sources[i].is_const ? NULL : sp_json_get(m->sources[i].value, "propertyNames");
        if (names) items[n++] = (sp_schema_item){names, false};
    }
    m->limits_names = n > 0;
    if (n) return sp_schema_expand(m->c, items, n, collect_language, m);
    m->languages[m->n_languages++] = (language){SP_DFA_ANY_KEY, 0, SP_GRAMMAR_NO_LIMIT};
    return SP_OK;
}

static sp_status find_patterns(object_maker *m)
{
    for (size_t i = 0; i < m->n_sources; i++) {
        const sp_json *map = m->sources[i].is_const ? NULL
                                                    : sp_json_get(m->sources[i].value, "patternProperties"),
                      *value;
        void *iter = NULL;
        const char *pattern;
        while (sp_json_next(map, &iter, &pattern, &value)) {
            size_t p = 0;
            while (p < m->n_patterns && strcmp(m->patterns[p], pattern) != 0) p++;
            if (p < m->n_patterns) continue;
            if (p == SP_SCHEMA_PATTERNS_MAX)
                return sp_schema_fail(m->c, SP_E_LIMIT, map,
                                      "more than %d \"patternProperties\" at one place",
                                      SP_SCHEMA_PATTERNS_MAX);
            SP_TRY(sp_schema_pattern(m->c, pattern, map, &m->dfas[p]));
            m->patterns[m->n_patterns++] = pattern;
        }
    }
    return SP_OK;
}

/* Which patterns the quoted name matches, as bits. */
static unsigned match_patterns(const object_maker *m, const sp_buf *quoted)
{
    unsigned matched = 0;
    for (size_t p = 0; p < m->n_patterns; p++)
        if (sp_dfa_accepts(&m->c->grammar->dfas[m->dfas[p]], quoted->data, quoted->len)) matched |= 1u << p;
    return matched;
}

static bool allows_name(const object_maker *m, const char *name, const sp_buf *quoted)
{
    size_t n = 0;
    for (const char *p = name; *p; p++) n += ((unsigned char)*p & 0xC0) != 0x80;
    for (size_t i = 0; i < m->n_languages; i++) {
        const language *l = &m->languages[i];
        if (l->dfa == SP_DFA_ANY_KEY
                ? n >= l->min && n <= l->max
                : sp_dfa_accepts(&m->c->grammar->dfas[l->dfa], quoted->data, quoted->len))
            return true;
    }
    return false;
}

/* --- what stands under a name --------------------------------------------------------------------------- */

static bool leads_through(const sp_schema_list *way, const sp_json *schema)
{
    for (; way; way = way->rest)
        if (way->item.value == schema) return true;
    return false;
}

/* Whether a schema inside source `i` evaluates the name, so that "unevaluatedProperties" there does not. Branches that are not taken in
 * this case may do so as well; without them less is allowed, never more. */
static bool is_evaluated(const object_maker *m, size_t i, const char *name, unsigned matched)
{
    for (size_t j = 0; j < m->n_sources; j++) {
        const sp_json *source = m->sources[j].value;
        if (j == i || m->sources[j].is_const || !leads_through(m->ways[j], m->sources[i].value)) continue;
        if (sp_json_get(source, "additionalProperties") || sp_json_get(source, "unevaluatedProperties") ||
            (name && sp_json_get(sp_json_get(source, "properties"), name)))
            return true;
        for (size_t p = 0; p < m->n_patterns; p++)
            if ((matched >> p & 1) && sp_json_get(sp_json_get(source, "patternProperties"), m->patterns[p]))
                return true;
    }
    return false;
}

/* Schemas under a name that matches these patterns; `name` NULL: one that is not known. */
static sp_status value_node(object_maker *m, const char *name, unsigned matched, uint32_t *node)
{
    sp_schema_item items[SOURCES_MAX * 2];
    size_t n = 0;
    for (size_t i = 0; i < m->n_sources; i++) {
        const sp_json *source = m->sources[i].value,
                      *own = name ? sp_json_get(sp_json_get(source, "properties"), name) : NULL;
        const sp_json *map = sp_json_get(source, "patternProperties"),
                      *other = sp_json_get(source, "additionalProperties");
        bool found = own != NULL;
        *node = m->c->never;
        if (m->sources[i].is_const) {
            own = name ? sp_json_get(source, name) : NULL;
            if (!own) return SP_OK;
            items[n++] = (sp_schema_item){own, true};
            continue;
        }
        if (!other && !is_evaluated(m, i, name, matched))
            other = sp_json_get(source, "unevaluatedProperties");
        if (own) items[n++] = (sp_schema_item){own, false};
        for (size_t p = 0; p < m->n_patterns; p++) {
            const sp_json *schema = matched >> p & 1 ? sp_json_get(map, m->patterns[p]) : NULL;
            if (!schema) continue;
            found = true;
            if (n + 2 > SOURCES_MAX * 2)
                return sp_schema_fail(m->c, SP_E_LIMIT, source, "too many schemas of a property");
            items[n++] = (sp_schema_item){schema, false};
        }
        if (!found && other) items[n++] = (sp_schema_item){other, false};
        if (n + 2 > SOURCES_MAX * 2)
            return sp_schema_fail(m->c, SP_E_LIMIT, source, "too many schemas of a property");
    }
    return sp_schema_intern(m->c, items, n, node);
}

/* Is the name known already? Then it is also required if it is here. */
static bool is_known(object_maker *m, const sp_buf *quoted, bool required)
{
    for (size_t i = 0; i < m->alt.n_props; i++) {
        sp_alt_prop *prop = &m->alt.props[i];
        if (prop->key_len != quoted->len || memcmp(prop->key, quoted->data, quoted->len) != 0) continue;
        prop->required |= required;
        return true;
    }
    return false;
}

static sp_status append_prop(object_maker *m, sp_alt_prop prop)
{
    if (m->alt.n_props == m->cap_props) {
        size_t cap = m->cap_props ? m->cap_props * 2 : 16;
        sp_alt_prop *grown = cap <= PROPS_MAX * 2 ? sp_realloc_array(m->alt.props, cap, sizeof *grown) : NULL;
        if (!grown) {
            sp_free(prop.key);
            return cap > PROPS_MAX * 2 ? sp_schema_fail(m->c, SP_E_LIMIT, m->sources[0].value,
                                                        "more than %d properties", PROPS_MAX)
                                       : sp_fail_nomem(m->c->err, "json schema", cap * sizeof *grown);
        }
        m->alt.props = grown;
        m->cap_props = cap;
    }
    m->alt.props[m->alt.n_props++] = prop;
    return SP_OK;
}

static sp_status add_name(object_maker *m, const char *name, bool required)
{
    sp_buf quoted = {NULL, 0, 0};
    sp_alt_prop prop = {.required = required || in_list(m->k->required, name)};
    sp_status status = sp_schema_quote(&quoted, name, strlen(name), m->c->err);
    if (status == SP_OK && !is_known(m, &quoted, prop.required)) {
        if (in_list(m->k->forbidden, name) || !allows_name(m, name, &quoted))
            prop.node = m->c->never;
        else
            status = value_node(m, name, match_patterns(m, &quoted), &prop.node);
        prop.key = status == SP_OK ? sp_strndup(quoted.data, quoted.len) : NULL;
        prop.key_len = (uint32_t)quoted.len;
        if (status == SP_OK && !prop.key) status = sp_fail_nomem(m->c->err, "json schema", quoted.len);
        if (status == SP_OK) status = append_prop(m, prop);
    }
    sp_buf_clear(&quoted);
    return status;
}

/* Names of a list, oldest first. */
static sp_status add_list(object_maker *m, const sp_schema_list *list)
{
    size_t n = 0;
    for (const sp_schema_list *l = list; l; l = l->rest) n++;
    const char **names = sp_malloc_array(n, sizeof *names);
    if (!names) return sp_fail_nomem(m->c->err, "json schema", n * sizeof *names);
    for (size_t i = n; i-- > 0; list = list->rest) names[i] = list->text;
    sp_status status = SP_OK;
    for (size_t i = 0; status == SP_OK && i < n; i++) status = add_name(m, names[i], false);
    sp_free((void *)names);
    return status;
}

/* Known names in the order in which schemas list them, then those that are only required or forbidden. */
static sp_status add_names(object_maker *m)
{
    for (size_t i = 0; i < m->n_sources; i++) {
        const sp_json *value;
        void *iter = NULL;
        const char *name;
        const sp_json *map =
            m->sources[i].is_const ? m->sources[i].value : sp_json_get(m->sources[i].value, "properties");
        while (sp_json_next(map, &iter, &name, &value)) SP_TRY(add_name(m, name, m->sources[i].is_const));
    }
    SP_TRY(add_list(m, m->k->required));
    return add_list(m, m->k->forbidden);
}

/* --- other names ---------------------------------------------------------------------------------------- */

static sp_status class_dfa(object_maker *m, const language *l, unsigned matched, sp_alt_class *other)
{
    sp_dfa_part parts[SP_SCHEMA_PATTERNS_MAX + 1];
    size_t n = 0;
    sp_dfa dfa;
    *other = (sp_alt_class){l->dfa, l->min, l->max, 0};
    if (m->n_patterns == 0) return SP_OK;
    for (; n < m->n_patterns; n++)
        parts[n] = (sp_dfa_part){&m->c->grammar->dfas[m->dfas[n]], !(matched >> n & 1)};
    if (l->dfa != SP_DFA_ANY_KEY) parts[n++] = (sp_dfa_part){&m->c->grammar->dfas[l->dfa], false};
    sp_dfa_meeting meeting = {&m->c->grammar->dfas[SP_DFA_ANY_KEY], parts, n, l->min, l->max};
    sp_status status = sp_dfa_meet(&dfa, &meeting, &m->c->budget, m->c->err);
    if (status == SP_E_LIMIT)
        return sp_schema_fail(m->c, status, m->sources[0].value,
                              "\"patternProperties\" take too many states");
    if (status != SP_OK) return status;
    *other = (sp_alt_class){.min = 0, .max = SP_GRAMMAR_NO_LIMIT};
    return sp_grammar_add_dfa(m->c->grammar, &dfa, &other->dfa, m->c->err);
}

static sp_status add_classes(object_maker *m)
{
    size_t n_subsets = (size_t)1 << m->n_patterns;
    if (m->closed) return SP_OK;
    m->alt.classes = sp_malloc_array(n_subsets * (m->n_languages + 1), sizeof *m->alt.classes);
    if (!m->alt.classes) return sp_fail_nomem(m->c->err, "json schema", n_subsets * sizeof *m->alt.classes);
    for (unsigned matched = 0; matched < n_subsets; matched++) {
        uint32_t node;
        SP_TRY(value_node(m, NULL, matched, &node));
        for (size_t l = 0; node != m->c->never && l < m->n_languages; l++) {
            sp_alt_class other;
            SP_TRY(class_dfa(m, &m->languages[l], matched, &other));
            other.node = node;
            if (m->c->grammar->dfas[other.dfa].n_states > 1 && other.min <= other.max)
                m->alt.classes[m->alt.n_classes++] = other;
        }
    }
    return SP_OK;
}

/* --- the alternative ------------------------------------------------------------------------------------ */

static sp_status make_object(object_maker *m)
{
    SP_TRY(find_languages(m));
    SP_TRY(find_patterns(m));
    SP_TRY(add_names(m));
    return add_classes(m);
}

static sp_status take_sources(object_maker *m, bool *possible)
{
    *possible = true;
    for (const sp_schema_list *l = m->k->sources; l; l = l->rest) m->n_sources++;
    if (m->n_sources > SOURCES_MAX)
        return sp_schema_fail(m->c, SP_E_LIMIT, m->k->sources->item.value,
                              "more than %d schemas of one object", SOURCES_MAX);
    size_t i = m->n_sources;
    for (const sp_schema_list *l = m->k->sources; l; l = l->rest) {
        m->sources[--i] = l->item;
        m->ways[i] = l->way;
        m->closed |= l->item.is_const;
        *possible = *possible && (!l->item.is_const || sp_json_is(l->item.value, SP_JSON_OBJECT));
    }
    return SP_OK;
}

sp_status sp_schema_emit_object(sp_schema_compiler *c, const sp_case *k, uint32_t node)
{
    object_maker *m = sp_calloc(1, sizeof *m);
    bool possible;
    sp_alt *alt = NULL;
    if (!m) return sp_fail_nomem(c->err, "json schema", sizeof *m);
    m->c = c;
    m->k = k;
    sp_status status = take_sources(m, &possible);
    if (status == SP_OK && possible) status = make_object(m);
    if (status == SP_OK && possible)
        status = sp_grammar_add_alt(c->grammar, node, SP_ALT_OBJECT, &alt, c->err);
    if (alt) {
        m->alt.kind = SP_ALT_OBJECT;
        m->alt.depth = SP_GRAMMAR_NEVER;
        m->alt.min = k->min_props;
        m->alt.max = k->max_props;
        *alt = m->alt;
    } else {
        sp_alt_clear(&m->alt);
    }
    sp_free(m);
    return status;
}
