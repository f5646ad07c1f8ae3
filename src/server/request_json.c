/* SPDX-License-Identifier: MIT */
/* Reading members of JSON objects by tables of fields, with faults that name the place. Start at sp_read_members(). */
#include "server/request.h"

#include "base/text.h"
#include "text/chat_json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Longest value that a fault quotes. */
#define QUOTE_MAX 40

static const char *const type_names[] = {"null",     "a boolean", "an integer", "a number",
                                         "a string", "an array",  "an object"};

static bool set_fault(sp_fault *fault, int status, const char *param, const char *code, const char *fmt,
                      va_list args)
{
    if (fault->status) return false;
    fault->status = status;
    snprintf(fault->param, sizeof fault->param, "%s", param ? param : "");
    snprintf(fault->code, sizeof fault->code, "%s", code ? code : "");
    vsnprintf(fault->text, sizeof fault->text, fmt, args);
    return false;
}

bool sp_fault_set(sp_fault *fault, int status, const char *param, const char *code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    set_fault(fault, status, param, code, fmt, args);
    va_end(args);
    return false;
}

bool sp_fault_nomem(sp_fault *fault)
{
    return sp_fault_set(fault, 500, NULL, "out_of_memory", "the server is out of memory");
}

/* --- the place ------------------------------------------------------------------------------------------ */

size_t sp_intake_enter(sp_intake *reader, const char *name)
{
    size_t mark = strlen(reader->path), cap = sizeof reader->path - mark;
    /* names of unknown members may be any text: a fault shows their beginning */
    snprintf(reader->path + mark, cap, "%s%.*s", mark ? "." : "", QUOTE_MAX, name);
    return mark;
}

size_t sp_intake_enter_at(sp_intake *reader, size_t i)
{
    size_t mark = strlen(reader->path);
    snprintf(reader->path + mark, sizeof reader->path - mark, "[%zu]", i);
    return mark;
}

void sp_intake_leave(sp_intake *reader, size_t mark)
{
    reader->path[mark] = '\0';
}

bool sp_intake_fail(sp_intake *reader, int status, const char *code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    set_fault(reader->fault, status, reader->path, code, fmt, args);
    va_end(args);
    return false;
}

bool sp_intake_expect(sp_intake *reader, const sp_json *value, sp_json_type type)
{
    if (sp_json_is(value, type)) return true;
    return sp_intake_fail(reader, 400, "invalid_type", "'%s' must be %s, not %s", reader->path,
                          type_names[type], type_names[sp_json_typeof(value)]);
}

void *sp_intake_alloc(sp_intake *reader, size_t count, size_t size)
{
    size_t n_bytes;
    void *ptr =
        sp_mul_size(count, size, &n_bytes) ? sp_arena_alloc(reader->arena, n_bytes ? n_bytes : 1) : NULL;
    if (!ptr) {
        sp_fault_nomem(reader->fault);
        return NULL;
    }
    memset(ptr, 0, n_bytes);
    return ptr;
}

const char *sp_intake_text(sp_intake *reader, const sp_json *value)
{
    size_t len = 0;
    if (!sp_intake_expect(reader, value, SP_JSON_STRING)) return NULL;
    const char *text = sp_json_string(value, &len);
    if (strlen(text) == len) return text;
    sp_intake_fail(reader, 400, "invalid_value", "'%s' holds a NUL character", reader->path);
    return NULL;
}

/* --- members -------------------------------------------------------------------------------------------- */

static bool fail_unknown(sp_intake *reader, const char *key, const sp_field *fields)
{
    const char *near = NULL;
    size_t best = 3; /* two letters may differ */
    for (const sp_field *field = fields; field->name; field++) {
        size_t distance = sp_word_distance(key, field->name);
        if (distance < best) best = distance, near = field->name;
    }
    size_t mark = sp_intake_enter(reader, key);
    sp_intake_fail(reader, 400, "unknown_parameter", "the parameter '%s' is not supported%s%s%s",
                   reader->path, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    sp_intake_leave(reader, mark);
    return false;
}

bool sp_read_members(sp_intake *reader, const sp_json *object, const sp_field *fields, void *target)
{
    void *iter = NULL;
    const char *key;
    const sp_json *value;
    if (!sp_json_is(object, SP_JSON_OBJECT)) {
        if (reader->path[0]) return sp_intake_expect(reader, object, SP_JSON_OBJECT);
        return sp_intake_fail(reader, 400, "invalid_json", "the body must be a JSON object");
    }
    while (sp_json_next(object, &iter, &key, &value)) {
        const sp_field *field = fields;
        while (field->name && strcmp(field->name, key) != 0) field++;
        if (!field->name) return fail_unknown(reader, key, fields);
        if (sp_json_typeof(value) == SP_JSON_NULL) continue;
        size_t mark = sp_intake_enter(reader, key);
        if (!field->read(reader, field, value, target)) return false;
        sp_intake_leave(reader, mark);
    }
    return true;
}

static void *field_of(const sp_field *field, void *target)
{
    return (char *)target + field->offset;
}

static bool check_range(sp_intake *reader, const sp_field *field, double number)
{
    if (number >= field->min && number <= field->max) return true;
    return sp_intake_fail(reader, 422, "invalid_value", "'%s' is %g, but must be from %.10g to %.10g",
                          reader->path, number, field->min, field->max);
}

bool sp_read_number(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    double number = sp_json_real(value, NAN);
    if (isnan(number)) return sp_intake_expect(reader, value, SP_JSON_REAL);
    if (!check_range(reader, field, number)) return false;
    memcpy(field_of(field, target), &number, sizeof number);
    return true;
}

bool sp_read_integer(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    int64_t number = sp_json_int(value, INT64_MIN);
    if (number == INT64_MIN) return sp_intake_expect(reader, value, SP_JSON_INT);
    if (!check_range(reader, field, (double)number)) return false;
    memcpy(field_of(field, target), &number, sizeof number);
    return true;
}

bool sp_read_flag(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    if (!sp_intake_expect(reader, value, SP_JSON_BOOL)) return false;
    bool flag = sp_json_bool(value, false);
    memcpy(field_of(field, target), &flag, sizeof flag);
    return true;
}

bool sp_read_text(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    const char *text = sp_intake_text(reader, value);
    if (text) memcpy(field_of(field, target), &text, sizeof text);
    return text != NULL;
}

bool sp_read_ignored(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)reader, (void)field, (void)value, (void)target;
    return true;
}

bool sp_read_ids(sp_intake *reader, const sp_json *value, int32_t **ids, size_t *n)
{
    if (!sp_intake_expect(reader, value, SP_JSON_ARRAY)) return false;
    *n = sp_json_size(value);
    *ids = sp_intake_alloc(reader, *n, sizeof **ids);
    if (!*ids) return false;
    for (size_t i = 0; i < *n; i++) {
        size_t mark = sp_intake_enter_at(reader, i);
        int64_t id = sp_json_int(sp_json_at(value, i), -1);
        if (id < 0 || id > INT32_MAX)
            return sp_intake_fail(reader, 400, "invalid_value", "'%s' is no token id", reader->path);
        (*ids)[i] = (int32_t)id;
        sp_intake_leave(reader, mark);
    }
    return true;
}

/* --- text of a value ------------------------------------------------------------------------------------ */

/* The shortest of 15 to 17 digits that reads back the same, with a mark that it is no integer. */
static sp_status put_real(sp_buf *buf, double number)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number) break;
    }
    SP_TRY(sp_buf_puts(buf, text, NULL));
    return strpbrk(text, ".e") ? SP_OK : sp_buf_puts(buf, ".0", NULL);
}

static sp_status put_value(sp_buf *buf, const sp_json *value)
{
    size_t len = 0;
    const char *text, *key;
    const sp_json *member;
    void *iter = NULL;
    switch (sp_json_typeof(value)) {
    case SP_JSON_NULL: return sp_buf_puts(buf, "null", NULL);
    case SP_JSON_BOOL: return sp_buf_puts(buf, sp_json_bool(value, false) ? "true" : "false", NULL);
    case SP_JSON_INT: return sp_buf_printf(buf, NULL, "%lld", (long long)sp_json_int(value, 0));
    case SP_JSON_REAL: return put_real(buf, sp_json_real(value, 0));
    case SP_JSON_STRING: text = sp_json_string(value, &len); return sp_json_put_string(buf, text, len, NULL);
    case SP_JSON_ARRAY:
        SP_TRY(sp_buf_puts(buf, "[", NULL));
        for (size_t i = 0; i < sp_json_size(value); i++) {
            if (i) SP_TRY(sp_buf_puts(buf, ",", NULL));
            SP_TRY(put_value(buf, sp_json_at(value, i)));
        }
        return sp_buf_puts(buf, "]", NULL);
    case SP_JSON_OBJECT: break;
    }
    SP_TRY(sp_buf_puts(buf, "{", NULL));
    for (bool first = true; sp_json_next(value, &iter, &key, &member); first = false) {
        if (!first) SP_TRY(sp_buf_puts(buf, ",", NULL));
        SP_TRY(sp_json_put_string(buf, key, strlen(key), NULL));
        SP_TRY(sp_buf_puts(buf, ":", NULL));
        SP_TRY(put_value(buf, member));
    }
    return sp_buf_puts(buf, "}", NULL);
}

const char *sp_intake_dump(sp_intake *reader, const sp_json *value)
{
    sp_buf buf = {NULL, 0, 0};
    char *copy = NULL;
    if (put_value(&buf, value) != SP_OK)
        sp_fault_nomem(reader->fault);
    else if ((copy = sp_intake_alloc(reader, buf.len + 1, 1)))
        memcpy(copy, buf.data, buf.len);
    sp_buf_clear(&buf);
    return copy;
}

/* --- a body --------------------------------------------------------------------------------------------- */

bool sp_request_open(sp_json **root, const char *body, size_t len, sp_fault *fault)
{
    sp_error err = SP_ERROR_NONE;
    *root = NULL;
    if (len == 0)
        return sp_fault_set(fault, 400, NULL, "invalid_json",
                            "the request has no body; a JSON object is expected");
    /* bounds the nesting before anything recurses */
    sp_status status = sp_rawjson_put(NULL, body, len, &err);
    if (status == SP_OK) status = sp_json_parse(body, len, root, &err);
    if (status == SP_OK) return true;
    if (status == SP_E_NOMEM) return sp_fault_nomem(fault);
    if (status == SP_E_UNSUPPORTED) return sp_fault_set(fault, 500, NULL, "unsupported", "%s", err.text);
    return sp_fault_set(fault, 400, NULL, "invalid_json", "the body is not valid JSON: %s", err.text);
}
