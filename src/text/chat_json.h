/* SPDX-License-Identifier: MIT */
/* JSON as text: what templates and replies need of it. Values are checked, re-spaced and cut out of the text
 * without building a tree, so that numbers keep their spelling and members their order, and no library is
 * needed. "Python style" is what json.dumps(value, ensure_ascii=False) and the templates' tojson filter
 * write. */
#ifndef SP_TEXT_CHAT_JSON_H
#define SP_TEXT_CHAT_JSON_H

#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>

/* Deepest nesting of arrays and objects that is accepted. */
#define SP_RAWJSON_MAX_DEPTH 128

/* Check that text[0..len) is exactly one JSON value (white space around it is allowed) and, when buf is not
 * NULL, append it in Python style. SP_E_FORMAT with the offset of the first fault; buf may then hold a part.
 */
sp_status sp_rawjson_put(sp_buf *buf, const char *text, size_t len, sp_error *err);

/* A piece of JSON text, white space around it removed. */
typedef struct sp_rawjson {
    const char *text;
    size_t len;
} sp_rawjson;

/* The two below expect text that sp_rawjson_put has accepted. */

/* Next element of an array: start with *pos = 0; false at the end or if the text is no array. */
bool sp_rawjson_next(sp_rawjson array, size_t *pos, sp_rawjson *element);

/* The member called `key` (the last one of that name), false if there is none or the text is no object. */
bool sp_rawjson_member(sp_rawjson object, const char *key, sp_rawjson *value);

/* Append the characters that a JSON string stands for. False if `value` is no string; *status tells of
 * memory. */
bool sp_rawjson_string(sp_buf *buf, sp_rawjson value, sp_status *status, sp_error *err);

#endif
