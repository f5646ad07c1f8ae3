/* SPDX-License-Identifier: MIT */
/* JSON over jansson (an sp_json is a json_t) and a small writer that needs no library. Start at
 * sp_json_parse(). */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#if SP_HAVE_JANSSON
#include <jansson.h>

static const json_t *node(const sp_json *value)
{
    return (const json_t *)(const void *)value;
}

sp_status sp_json_parse(const char *text, size_t len, sp_json **root, sp_error *err)
{
    json_error_t jerr;
    *root = NULL;
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &jerr);
    if (!value) {
        sp_status code = json_error_code(&jerr) == json_error_out_of_memory ? SP_E_NOMEM : SP_E_FORMAT;
        return sp_fail_at(err, code, jerr.position, "json: line %d, column %d: %s", jerr.line, jerr.column,
                          jerr.text);
    }
    *root = (sp_json *)(void *)value;
    return SP_OK;
}

void sp_json_destroy(sp_json *root)
{
    if (root) json_decref((json_t *)(void *)root);
}

sp_json_type sp_json_typeof(const sp_json *value)
{
    if (!value) return SP_JSON_NULL;
    switch (json_typeof(node(value))) {
    case JSON_OBJECT: return SP_JSON_OBJECT;
    case JSON_ARRAY: return SP_JSON_ARRAY;
    case JSON_STRING: return SP_JSON_STRING;
    case JSON_INTEGER: return SP_JSON_INT;
    case JSON_REAL: return SP_JSON_REAL;
    case JSON_TRUE:
    case JSON_FALSE: return SP_JSON_BOOL;
    case JSON_NULL: break;
    }
    return SP_JSON_NULL;
}

const sp_json *sp_json_get(const sp_json *object, const char *key)
{
    return object ? (const sp_json *)(const void *)json_object_get(node(object), key) : NULL;
}

size_t sp_json_size(const sp_json *value)
{
    if (sp_json_is(value, SP_JSON_ARRAY)) return json_array_size(node(value));
    return sp_json_is(value, SP_JSON_OBJECT) ? json_object_size(node(value)) : 0;
}

const sp_json *sp_json_at(const sp_json *array, size_t i)
{
    return array ? (const sp_json *)(const void *)json_array_get(node(array), i) : NULL;
}

int64_t sp_json_int(const sp_json *value, int64_t fallback)
{
    if (sp_json_is(value, SP_JSON_INT)) return json_integer_value(node(value));
    if (!sp_json_is(value, SP_JSON_REAL)) return fallback;
    double real = json_real_value(node(value));
    return real == floor(real) && fabs(real) < 9.0e15 ? (int64_t)real : fallback;
}

double sp_json_real(const sp_json *value, double fallback)
{
    if (sp_json_is(value, SP_JSON_REAL)) return json_real_value(node(value));
    return sp_json_is(value, SP_JSON_INT) ? (double)json_integer_value(node(value)) : fallback;
}

bool sp_json_bool(const sp_json *value, bool fallback)
{
    return sp_json_is(value, SP_JSON_BOOL) ? json_is_true(node(value)) : fallback;
}

const char *sp_json_string(const sp_json *value, size_t *len)
{
    if (!sp_json_is(value, SP_JSON_STRING)) return NULL;
    if (len) *len = json_string_length(node(value));
    return json_string_value(node(value));
}

bool sp_json_next(const sp_json *object, void **iter, const char **key, const sp_json **value)
{
    if (!sp_json_is(object, SP_JSON_OBJECT)) return false;
    json_t *obj = (json_t *)(uintptr_t)(const void *)object;
    *iter = *iter ? json_object_iter_next(obj, *iter) : json_object_iter(obj);
    if (!*iter) return false;
    *key = json_object_iter_key(*iter);
    *value = (const sp_json *)(void *)json_object_iter_value(*iter);
    return true;
}

static int append_dump(const char *data, size_t n, void *ctx)
{
    return sp_buf_append(ctx, data, n, NULL) == SP_OK ? 0 : -1;
}

sp_status sp_json_dump(sp_buf *buf, const sp_json *value, sp_json_style style, sp_error *err)
{
    size_t flags = JSON_ENCODE_ANY | (style == SP_JSON_COMPACT ? JSON_COMPACT : 0);
    if (json_dump_callback(node(value), append_dump, buf, flags) != 0)
        return sp_fail(err, SP_E_NOMEM, "json: out of memory while writing");
    return SP_OK;
}

#else /* without jansson nothing can be parsed, so no value ever exists */

sp_status sp_json_parse(const char *text, size_t len, sp_json **root, sp_error *err)
{
    (void)text, (void)len;
    *root = NULL;
    return sp_fail(err, SP_E_UNSUPPORTED, "json: this build has no jansson, so JSON files cannot be read");
}

void sp_json_destroy(sp_json *root)
{
    (void)root;
}

sp_json_type sp_json_typeof(const sp_json *value)
{
    (void)value;
    return SP_JSON_NULL;
}

const sp_json *sp_json_get(const sp_json *object, const char *key)
{
    (void)object, (void)key;
    return NULL;
}

size_t sp_json_size(const sp_json *value)
{
    (void)value;
    return 0;
}

const sp_json *sp_json_at(const sp_json *array, size_t i)
{
    (void)array, (void)i;
    return NULL;
}

int64_t sp_json_int(const sp_json *value, int64_t fallback)
{
    (void)value;
    return fallback;
}

double sp_json_real(const sp_json *value, double fallback)
{
    (void)value;
    return fallback;
}

bool sp_json_bool(const sp_json *value, bool fallback)
{
    (void)value;
    return fallback;
}

const char *sp_json_string(const sp_json *value, size_t *len)
{
    (void)value, (void)len;
    return NULL;
}

bool sp_json_next(const sp_json *object, void **iter, const char **key, const sp_json **value)
{
    (void)object, (void)iter, (void)key, (void)value;
    return false;
}

sp_status sp_json_dump(sp_buf *buf, const sp_json *value, sp_json_style style, sp_error *err)
{
    (void)value, (void)style;
    return sp_buf_puts(buf, "null", err);
}

#endif

bool sp_json_is(const sp_json *value, sp_json_type type)
{
    return value && sp_json_typeof(value) == type;
}

/* Length of the well-formed UTF-8 character at s (n bytes left), 0 if there is none. */
static size_t utf8_char(const unsigned char *s, size_t n)
{

    size_t len = s[0] < 0x80                   ? 1
                 : s[0] >= 0xC2 && s[0] < 0xE0 ? 2
                 : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
                 : s[0] >= 0xF0 && s[0] < 0xF5 ? 4
                                               : 0;
    if (len == 0 || len > n) return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    if (s[0] == 0xE0 && s[1] < 0xA0) return 0;
    if (s[0] == 0xED && s[1] > 0x9F) return 0;
    if (s[0] == 0xF0 && s[1] < 0x90) return 0;
    if (s[0] == 0xF4 && s[1] > 0x8F) return 0;
    return len;
}

static sp_status put_escaped(sp_buf *buf, unsigned char c, sp_error *err)
{
    switch (c) {
    case '"': return sp_buf_puts(buf, "\\\"", err);
    case '\\': return sp_buf_puts(buf, "\\\\", err);
    case '\n': return sp_buf_puts(buf, "\\n", err);
    case '\r': return sp_buf_puts(buf, "\\r", err);
    case '\t': return sp_buf_puts(buf, "\\t", err);
    default: return sp_buf_printf(buf, err, "\\u%04x", c);
    }
}

sp_status sp_json_put_string(sp_buf *buf, const char *text, size_t len, sp_error *err)
{
    const unsigned char *s = (const unsigned char *)text;
    SP_TRY(sp_buf_puts(buf, "\"", err));
    for (size_t i = 0; i < len;) {
        size_t n = utf8_char(s + i, len - i);
        if (n == 0) {
            SP_TRY(sp_buf_puts(buf, "\xEF\xBF\xBD", err));
            n = 1;
        } else if (n == 1 && (s[i] < 0x20 || s[i] == '"' || s[i] == '\\' || s[i] == 0x7F)) {
            SP_TRY(put_escaped(buf, s[i], err));
        } else {
            SP_TRY(sp_buf_append(buf, s + i, n, err));
        }
        i += n;
    }
    return sp_buf_puts(buf, "\"", err);
}
