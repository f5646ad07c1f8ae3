/* SPDX-License-Identifier: MIT */
/* References within a schema's document: JSON pointers (RFC 6901) in fragments, and anchors. Start at
 * sp_schema_resolve(). */
#include "text/grammar_schema_parts.h"

#include <stdlib.h>
#include <string.h>

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

sp_status sp_schema_resolve(const sp_schema_compiler *c, const sp_json *schema, const char *ref,
                            const sp_json **target)
{
    const sp_json *root = c->root, *at = root;
    const char *id = sp_json_string(sp_json_get(root, "$id"), NULL), *rest;
    size_t n_id = id ? strlen(id) : 0;
    char step[256];
    if (id && strncmp(ref, id, n_id) == 0 && (ref[n_id] == '#' || ref[n_id] == '\0')) ref += n_id;
    if (*ref && *ref != '#')
        return sp_schema_fail(c, SP_E_UNSUPPORTED, schema,
                              "\"$ref\" to another document (\"%.80s\") is not supported", ref);
    rest = *ref ? ref + 1 : ref;
    if (*rest && *rest != '/') {
        at = find_anchor(root, rest, true);
        rest = "";
    }
    while (at && next_step(&rest, step, sizeof step)) {
        at = follow_step(at, step);
        if (sp_json_string(sp_json_get(at, "$id"), NULL))
            return sp_schema_fail(c, SP_E_UNSUPPORTED, schema, "\"$id\" below the root is not supported");
    }
    if (!at || *rest) return sp_schema_fail(c, SP_E_FORMAT, schema, "\"$ref\": nothing at \"%.80s\"", ref);
    *target = at;
    return SP_OK;
}
