/* SPDX-License-Identifier: MIT */
/* Reading one tool call of a reply. Three forms exist:
 *   V2.5, V3, R1:  function<｜tool▁sep｜>NAME\n```json\nARGUMENTS\n```
 *   V3.1:          NAME<｜tool▁sep｜>ARGUMENTS
 *   Qwen:          {"name": NAME, "arguments": ARGUMENTS}
 * The first two are told apart by what follows the separator, since models mix them. Arguments must be a JSON
 * object; anything else is malformed, and the caller leaves it in the content. Start at sp_reply_read_call().
 */
#include "text/reply.h"

#include "text/chat_json.h"

#include <string.h>

#define MAX_NAME 256

typedef struct slice {
    const char *text;
    size_t len;
} slice;

static slice trim(const char *text, size_t len)
{
    slice s = {text, len};
    while (s.len && strchr(" \t\r\n", s.text[0]) && s.text[0]) s.text++, s.len--;
    while (s.len && strchr(" \t\r\n", s.text[s.len - 1]) && s.text[s.len - 1]) s.len--;
    return s;
}

/* The text inside a ``` fence whose opening line may name a language; unfenced text as it is. */
static slice strip_fence(slice s)
{
    if (s.len < 3 || memcmp(s.text, "```", 3) != 0) return s;
    const char *line_end = memchr(s.text, '\n', s.len);
    if (!line_end) return (slice){s.text, 0};
    slice inner = trim(line_end + 1, (size_t)(s.text + s.len - line_end - 1));
    if (inner.len >= 3 && memcmp(inner.text + inner.len - 3, "```", 3) == 0)
        inner = trim(inner.text, inner.len - 3);
    return inner;
}

/* Divide "before <sep> after" into name and arguments. */
static bool split_deepseek(slice before, slice after, slice *name, slice *arguments)
{
    if (after.len && after.text[0] == '{') {
        *name = before;
        *arguments = after;
        return !(before.len == 8 && memcmp(before.text, "function", 8) == 0);
    }
    const char *line_end = memchr(after.text, '\n', after.len);
    if (!line_end) return false;
    *name = trim(after.text, (size_t)(line_end - after.text));
    *arguments = strip_fence(trim(line_end, (size_t)(after.text + after.len - line_end)));
    return true;
}

static bool is_name(slice name)
{
    if (name.len == 0 || name.len > MAX_NAME) return false;
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.text[i] <= ' ') return false;
    return true;
}

static bool is_object(slice s)
{
    return s.len && s.text[0] == '{' && sp_rawjson_put(NULL, s.text, s.len, NULL) == SP_OK;
}

/* Append a call; the strings are copied. */
static sp_status add_call(sp_reply *reply, slice name, slice arguments, sp_error *err)
{
    if (reply->n_calls == reply->calls_cap) {
        size_t cap = reply->calls_cap ? reply->calls_cap * 2 : 4;
        sp_tool_call *calls = sp_realloc_array(reply->calls, cap, sizeof *calls);
        if (!calls) return sp_fail_nomem(err, "tool calls", cap * sizeof *calls);
        reply->calls = calls;
        reply->calls_cap = cap;
    }
    char *name_copy = sp_strndup(name.text, name.len);
    char *arguments_copy = sp_strndup(arguments.text, arguments.len);
    if (!name_copy || !arguments_copy) {
        sp_free(name_copy);
        sp_free(arguments_copy);
        return sp_fail_nomem(err, "tool call", name.len + arguments.len);
    }
    reply->calls[reply->n_calls++] = (sp_tool_call){NULL, name_copy, arguments_copy};
    return SP_OK;
}

/* {"name": ..., "arguments": {...}}; without arguments the call has none. */
static sp_status read_qwen(sp_reply *reply, slice body, bool *done, sp_error *err)
{
    sp_rawjson object = {body.text, body.len}, name_json, args_json = {"{}", 2};
    sp_buf name = {NULL, 0, 0};
    sp_status status = SP_OK;
    if (!is_object(body) || !sp_rawjson_member(object, "name", &name_json)) return SP_OK;
    sp_rawjson_member(object, "arguments", &args_json);
    slice arguments = {args_json.text, args_json.len};
    if (sp_rawjson_string(&name, name_json, &status, err) && status == SP_OK && is_object(arguments)) {
        slice text = {name.data, name.len};
        *done = is_name(text);
        if (*done) status = add_call(reply, text, arguments, err);
    }
    sp_buf_clear(&name);
    return status;
}

sp_status sp_reply_read_call(sp_reply *reply, bool *done, sp_error *err)
{
    const char *text = reply->raw.data;
    size_t len = reply->raw.len;
    slice name, arguments;
    *done = false;
    if (reply->spelling[SP_MARK_CALL_SEP] == NULL)
        return read_qwen(reply, trim(text + reply->body, len - reply->body), done, err);
    if (reply->args == 0) return SP_OK;
    slice before = trim(text + reply->body, reply->sep - reply->body),
          after = trim(text + reply->args, len - reply->args);
    if (!split_deepseek(before, after, &name, &arguments) || !is_name(name) || !is_object(arguments))
        return SP_OK;
    SP_TRY(add_call(reply, name, arguments, err));
    *done = true;
    return SP_OK;
}
