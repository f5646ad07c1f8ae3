/* SPDX-License-Identifier: MIT */
/* JSON. Reading is a thin view over jansson (strict, UTF-8 checked, duplicate keys rejected); without jansson
 * sp_json_parse returns SP_E_UNSUPPORTED. Writing needs no library: append to an sp_buf. */
#ifndef SP_BASE_JSON_H
#define SP_BASE_JSON_H

#include "base/mem.h"

typedef struct sp_json sp_json; /* a value inside a parsed document; borrowed from the root */

typedef enum sp_json_type {
    SP_JSON_NULL,
    SP_JSON_BOOL,
    SP_JSON_INT,
    SP_JSON_REAL,
    SP_JSON_STRING,
    SP_JSON_ARRAY,
    SP_JSON_OBJECT
} sp_json_type;

/* Parse one document; *root is owned by the caller (sp_json_destroy). Errors carry line, column and offset.
 */
sp_status sp_json_parse(const char *text, size_t len, sp_json **root, sp_error *err);
void sp_json_destroy(sp_json *root);

sp_json_type sp_json_typeof(const sp_json *value); /* SP_JSON_NULL for NULL */
bool sp_json_is(const sp_json *value, sp_json_type type);

/* Object member or NULL (also when `object` is NULL or no object). */
const sp_json *sp_json_get(const sp_json *object, const char *key);

size_t sp_json_size(const sp_json *array_or_object); /* 0 for other types */
const sp_json *sp_json_at(const sp_json *array, size_t i);

/* Values with a fallback where the type differs. Strings may hold NUL bytes only if `len` is asked for. */
int64_t sp_json_int(const sp_json *value, int64_t fallback); /* integral reals count as integers */
double sp_json_real(const sp_json *value, double fallback);  /* integers count as reals */
bool sp_json_bool(const sp_json *value, bool fallback);
const char *sp_json_string(const sp_json *value, size_t *len); /* NULL if no string; len may be NULL */

/* Iterate over an object in document order: start with *iter = NULL; false at the end. */
bool sp_json_next(const sp_json *object, void **iter, const char **key, const sp_json **value);

/* Compact text of a value appended to buf (non-ASCII kept as is). With `python_style` separators are ", "
 * and ": " as Python's json.dumps and Jinja's tojson write them. */
typedef enum sp_json_style { SP_JSON_COMPACT, SP_JSON_PYTHON } sp_json_style;
sp_status sp_json_dump(sp_buf *buf, const sp_json *value, sp_json_style style, sp_error *err);

/* Append `"text"` with JSON escapes; invalid UTF-8 becomes U+FFFD. */
sp_status sp_json_put_string(sp_buf *buf, const char *text, size_t len, sp_error *err);

#endif
