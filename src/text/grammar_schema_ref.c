/* SPDX-License-Identifier: MIT */
/* References within a schema's document: JSON pointers (RFC 6901) in fragments, and anchors. Start at
 * sp_schema_resolve(). */
#include "text/grammar_schema_parts.h"

#include <stdlib.h>
#include <string.h>

#define PATH_MAX_STEPS 512

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* The next step of a JSON pointer in a URI fragment, undone; false at the end. */
static bool next_step(const char **at, char *step, size_t cap)
{
    size_t n = 0;
    const char *p = *at;
    if (*p != '/') return false;
    for (p++; *p && *p != '/' && n + 1 < cap; p++) {
        char c = *p;
        if (c == '%' && hex_digit(p[1]) >= 0 && hex_digit(p[2]) >= 0) {
            c = (char)(hex_digit(p[1]) * 16 + hex_digit(p[2]));
            p += 2;
        }
        if (c == '~' && (p[1] == '0' || p[1] == '1')) c = *++p == '0' ? '~' : '/';
        step[n++] = c;
    }
    step[n] = '\0';
    *at = p;
    return true;
}

static const sp_json *follow_step(const sp_json *at, const char *step)
{
    if (!sp_json_is(at, SP_JSON_ARRAY)) return sp_json_get(at, step);
    char *end;
    unsigned long i = strtoul(step, &end, 10);
    return *step >= '0' && *step <= '9' && *end == '\0' && i < sp_json_size(at) ? sp_json_at(at, i) : NULL;
}

/* The schema of the name, outside of constants and of schemas that have an identity of their own. */
static const sp_json *find_anchor(const sp_json *here, const char *name, bool is_root)
{
    static const char *const values[] = {"const", "enum", "default", "examples"};
    const char *key, *own = sp_json_string(sp_json_get(here, "$anchor"), NULL);
    const sp_json *value, *found = NULL;
    void *iter = NULL;
    if (!own) own = sp_json_string(sp_json_get(here, "$dynamicAnchor"), NULL);
    if (!is_root && sp_json_string(sp_json_get(here, "$id"), NULL)) return NULL;
    if (own && strcmp(own, name) == 0) return here;
    for (size_t i = 0; sp_json_is(here, SP_JSON_ARRAY) && !found && i < sp_json_size(here); i++)
        found = find_anchor(sp_json_at(here, i), name, false);
    while (!found && sp_json_next(here, &iter, &key, &value)) {
        bool skip = false;
        for (size_t i = 0; i < 4; i++) skip = skip || strcmp(key, values[i]) == 0;
        if (!skip) found = find_anchor(value, name, false);
    }
    return found;
}

/* The innermost schema with an identity ("$id") around the target, which references without a document start from. */
static const sp_json *find_base(const sp_json *here, const sp_json *target, const sp_json *base, int depth)
{
    const char *key;
    const sp_json *value, *found = NULL;
    void *iter = NULL;
    if (depth > PATH_MAX_STEPS) return NULL;
    if (sp_json_string(sp_json_get(here, "$id"), NULL)) base = here;
    if (here == target) return base;
    for (size_t i = 0; sp_json_is(here, SP_JSON_ARRAY) && !found && i < sp_json_size(here); i++)
        found = find_base(sp_json_at(here, i), target, base, depth + 1);
    while (!found && sp_json_next(here, &iter, &key, &value))
        found = find_base(value, target, base, depth + 1);
    return found;
}

/* The schema that is identified by the n bytes of uri, which has a scheme: others would have to be resolved first. */
static const sp_json *find_identity(const sp_json *here, const char *uri, size_t n, int depth)
{
    const char *key, *id = sp_json_string(sp_json_get(here, "$id"), NULL);
    const sp_json *value, *found = NULL;
    void *iter = NULL;
    if (depth > PATH_MAX_STEPS) return NULL;
    if (id && strlen(id) == n && memcmp(id, uri, n) == 0) return here;
    for (size_t i = 0; sp_json_is(here, SP_JSON_ARRAY) && !found && i < sp_json_size(here); i++)
        found = find_identity(sp_json_at(here, i), uri, n, depth + 1);
    while (!found && sp_json_next(here, &iter, &key, &value))
        if (strcmp(key, "const") != 0 && strcmp(key, "enum") != 0)
            found = find_identity(value, uri, n, depth + 1);
    return found;
}

static bool has_scheme(const char *uri, size_t n)
{
    size_t i = 0;
    while (i < n && ((uri[i] >= 'a' && uri[i] <= 'z') || (uri[i] >= '0' && uri[i] <= '9') || uri[i] == '+' ||
                     uri[i] == '-'))
        i++;
    return i > 0 && i < n && uri[i] == ':';
}

sp_status sp_schema_resolve(const sp_schema_compiler *c, const sp_json *schema, const char *ref,
                            const sp_json **target)
{
    size_t n = strcspn(ref, "#");
    const char *rest = ref[n] ? ref + n + 1 : "";
    const sp_json *at = c->root;
    char step[256];
    if (n == 0 && c->has_ids) at = find_base(c->root, schema, c->root, 0);
    if (n > 0) at = has_scheme(ref, n) ? find_identity(c->root, ref, n, 0) : NULL;
    if (!at)
        return sp_schema_fail(c, SP_E_UNSUPPORTED, schema,
                              "\"$ref\" to another document (\"%.80s\") is not supported", ref);
    if (*rest && *rest != '/') {
        at = find_anchor(at, rest, true);
        rest = "";
    }
    while (at && next_step(&rest, step, sizeof step)) at = follow_step(at, step);
    if (!at || *rest) return sp_schema_fail(c, SP_E_FORMAT, schema, "\"$ref\": nothing at \"%.80s\"", ref);
    *target = at;
    return SP_OK;
}
