/* SPDX-License-Identifier: MIT */
/* Reading one tool call of a reply while it is written. Three forms exist:
 *   V2.5, V3, R1:  function<｜tool▁sep｜>NAME\n```json\nARGUMENTS\n```
 *   V3.1:          NAME<｜tool▁sep｜>ARGUMENTS
 *   Qwen:          {"name": NAME, "arguments": ARGUMENTS}
 * The first two are told apart by what follows the separator, since models mix them. A call is one from the moment its name and the
 * opening brace of its arguments are there; what never gets so far is malformed, and the caller leaves it in the content. The
 * arguments end with the brace that matches the first. Where there is none, because the reply was cut or the JSON is wrong, they end
 * with the call, and are what the model wrote; white space and a fence's end, which may follow, are not theirs, so they are held
 * back until more comes. Start at sp_reply_advance_call(). */
#include "text/reply.h"

#include <string.h>

#define MAX_NAME 256

typedef struct slice {
    const char *text;
    size_t len;
} slice;

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static slice trim(slice s)
{
    while (s.len && is_space(s.text[0])) s.text++, s.len--;
    while (s.len && is_space(s.text[s.len - 1])) s.len--;
    return s;
}

static slice trim_start(slice s)
{
    while (s.len && is_space(s.text[0])) s.text++, s.len--;
    return s;
}

static bool is_name(slice name)
{
    if (name.len == 0 || name.len > MAX_NAME) return false;
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.text[i] <= ' ' || name.text[i] == '`') return false;
    return true;
}

/* --- where the JSON begins ------------------------------------------------------------------------------ */

/* Take the first line off, without its break. False if there is none yet; *stage tells when none can come. */
static bool take_line(slice *s, slice *line, sp_call_stage *stage)
{
    const char *end = memchr(s->text, '\n', s->len);
    *line = (slice){s->text, end ? (size_t)(end - s->text) : s->len};
    if (line->len > MAX_NAME) *stage = SP_CALL_NONE;
    if (!end || line->len > MAX_NAME) return false;
    s->len -= line->len + 1;
    s->text = end + 1;
    return true;
}

/* Skip the opening line of a ``` fence, which may name a language. False if it is not complete. */
static bool skip_fence(slice *s, sp_call_stage *stage)
{
    slice line;
    *s = trim_start(*s);
    if (s->len == 0 || s->text[0] != '`') return true;
    if (memcmp(s->text, "```", s->len < 3 ? s->len : 3) != 0) *stage = SP_CALL_NONE;
    if (*stage == SP_CALL_NONE || s->len < 3 || !take_line(s, &line, stage)) return false;
    *s = trim_start(*s);
    return true;
}

/* The name and the first character of the arguments in "before <sep> after". */
static sp_status find_deepseek(sp_reply *reply, sp_error *err)
{
    const char *text = reply->raw.data;
    slice after = trim_start((slice){text + reply->args, reply->raw.len - reply->args}), line;
    slice name = trim((slice){text + reply->body, reply->sep - reply->body});
    bool is_v31 = after.len && after.text[0] == '{';
    if (after.len == 0) return SP_OK;
    if (is_v31) {
        if (name.len == 8 && memcmp(name.text, "function", 8) == 0) reply->stage = SP_CALL_NONE;
    } else {
        if (!take_line(&after, &line, &reply->stage) || !skip_fence(&after, &reply->stage)) return SP_OK;
        name = trim(line);
    }
    if (after.len == 0 || reply->stage == SP_CALL_NONE) return SP_OK;
    reply->stage = after.text[0] == '{' && is_name(name) ? SP_CALL_FOUND : SP_CALL_NONE;
    reply->json = (size_t)(after.text - text);
    return sp_buf_append(&reply->name, name.text, name.len, err);
}

void sp_reply_begin_call(sp_reply *reply)
{
    bool has_sep = reply->spelling[SP_MARK_CALL_SEP] != NULL;
    reply->in_call = true;
    reply->body = reply->json = reply->raw.len;
    reply->sep = reply->args = reply->passed = 0;
    reply->stage = has_sep ? SP_CALL_SOUGHT : SP_CALL_FOUND;
    reply->scan = (sp_call_scan){.is_bare = has_sep};
    reply->name.len = 0;
}

/* --- the call ------------------------------------------------------------------------------------------- */

/* The call gets its place among the others, and its name is passed on. */
static sp_status open_call(sp_reply *reply, sp_error *err)
{
    if (reply->n_calls == reply->calls_cap) {
        size_t cap = reply->calls_cap ? reply->calls_cap * 2 : 4;
        sp_tool_call *calls = sp_realloc_array(reply->calls, cap, sizeof *calls);
        if (!calls) return sp_fail_nomem(err, "tool calls", cap * sizeof *calls);
        reply->calls = calls;
        reply->calls_cap = cap;
    }
    reply->arguments = (sp_buf){NULL, 0, 0};
    SP_TRY(sp_buf_append(&reply->arguments, "", 0, err));
    char *name = sp_strndup(reply->name.data, reply->name.len);
    if (!name) {
        sp_buf_clear(&reply->arguments);
        return sp_fail_nomem(err, "tool call", reply->name.len);
    }
    reply->calls[reply->n_calls++] = (sp_tool_call){NULL, name, reply->arguments.data};
    reply->stage = SP_CALL_OPEN;
    return sp_reply_emit(reply, SP_REPLY_TOOL_CALL, "", 0, err);
}

static sp_status pass_arguments(sp_reply *reply, const char *text, size_t len, sp_error *err)
{
    if (len == 0) return SP_OK;
    sp_status status = sp_buf_append(&reply->arguments, text, len, err);
    reply->calls[reply->n_calls - 1].arguments = reply->arguments.data;
    return status == SP_OK ? sp_reply_emit(reply, SP_REPLY_TOOL_CALL, text, len, err) : status;
}

/* Of JSON that holds name and arguments: both must have begun. */
static sp_status open_if_named(sp_reply *reply, const char *text, sp_error *err)
{
    const sp_call_scan *scan = &reply->scan;
    sp_status status = SP_OK;
    if (!scan->has_args || (!scan->is_bare && scan->name_end == 0)) return SP_OK;
    bool has_name = scan->is_bare || sp_call_scan_name(scan, text, &reply->name, &status, err);
    if (status != SP_OK) return status;
    if (!has_name || !is_name((slice){reply->name.data, reply->name.len})) {
        reply->stage = SP_CALL_NONE;
        return SP_OK;
    }
    reply->passed = scan->args;
    return open_call(reply, err);
}

sp_status sp_reply_advance_call(sp_reply *reply, sp_error *err)
{
    if (reply->stage == SP_CALL_SOUGHT && reply->args) SP_TRY(find_deepseek(reply, err));
    if (reply->stage != SP_CALL_FOUND && reply->stage != SP_CALL_OPEN) return SP_OK;
    const char *text = reply->raw.data + reply->json;
    sp_call_scan_read(&reply->scan, text, reply->raw.len - reply->json);
    if (reply->stage == SP_CALL_FOUND) SP_TRY(open_if_named(reply, text, err));
    if (reply->stage != SP_CALL_OPEN) return SP_OK;
    size_t end = reply->scan.args_end ? reply->scan.args_end : reply->scan.at, from = reply->passed;
    while (!reply->scan.args_end && end > from && (is_space(text[end - 1]) || text[end - 1] == '`')) end--;
    reply->passed = end;
    return pass_arguments(reply, text + from, end - from, err);
}

/* --- its end -------------------------------------------------------------------------------------------- */

/* Qwen's form without arguments is a call that has none. */
static sp_status end_without_arguments(sp_reply *reply, bool *done, sp_error *err)
{
    slice body = trim((slice){reply->raw.data + reply->json, reply->raw.len - reply->json});
    sp_rawjson object = {body.text, body.len}, value;
    sp_status status = SP_OK;
    *done = false;
    if (reply->scan.is_bare || reply->scan.has_args || !reply->scan.is_over || body.len == 0) return SP_OK;
    if (sp_rawjson_put(NULL, body.text, body.len, NULL) != SP_OK) return SP_OK;
    if (sp_rawjson_member(object, "arguments", &value)) return SP_OK;
    reply->name.len = 0;
    if (!sp_call_scan_name(&reply->scan, reply->raw.data + reply->json, &reply->name, &status, err))
        return status;
    if (!is_name((slice){reply->name.data, reply->name.len})) return SP_OK;
    *done = true;
    SP_TRY(open_call(reply, err));
    return pass_arguments(reply, "{}", 2, err);
}

/* Whether what follows the arguments is what the form has there: a fence's end, or the outer braces (of which models write one too
 * many). */
static bool is_closing(const sp_reply *reply, slice s)
{
    s = trim(s);
    if (reply->scan.is_bare && s.len >= 3 && memcmp(s.text, "```", 3) == 0)
        s = trim((slice){s.text + 3, s.len - 3});
    while (!reply->scan.is_bare && s.len && (s.text[0] == '}' || is_space(s.text[0]))) s.text++, s.len--;
    return s.len == 0;
}

sp_status sp_reply_end_call(sp_reply *reply, size_t *rest, sp_error *err)
{
    bool done = true;
    SP_TRY(sp_reply_advance_call(reply, err));
    if (reply->stage != SP_CALL_OPEN) SP_TRY(end_without_arguments(reply, &done, err));
    *rest = 0;
    if (!done) return SP_OK;
    size_t end = reply->raw.len, from = reply->json + reply->scan.args_end;
    if (!reply->scan.is_bare && reply->scan.is_over) from = reply->json + reply->scan.at;
    bool is_cut = reply->scan.has_args && reply->scan.args_end == 0;
    *rest = is_cut || is_closing(reply, (slice){reply->raw.data + from, end - from}) ? end : from;
    reply->arguments = (sp_buf){NULL, 0, 0}; /* it is the call's now */
    return SP_OK;
}
