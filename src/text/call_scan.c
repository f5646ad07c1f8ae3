/* SPDX-License-Identifier: MIT */
/* One byte after another, so that any cutting of the text reads the same. Start at sp_call_scan_read(). */
#include "text/call_scan.h"

#include <string.h>

static sp_call_key key_of(const char *text, size_t len)
{
    static const char name[] = "\"name\"", arguments[] = "\"arguments\"";
    if (len == sizeof name - 1 && memcmp(text, name, len) == 0) return SP_CALL_KEY_NAME;
    if (len == sizeof arguments - 1 && memcmp(text, arguments, len) == 0) return SP_CALL_KEY_ARGUMENTS;
    return SP_CALL_KEY_OTHER;
}

static void read_in_string(sp_call_scan *s, const char *text)
{
    char c = text[s->at];
    if (s->escaped || c != '"') {
        s->escaped = !s->escaped && c == '\\';
        return;
    }
    s->in_string = false;
    if (s->depth != 1 || s->is_bare) return;
    if (!s->in_value) {
        s->key = key_of(text + s->string, s->at + 1 - s->string);
    } else if (s->key == SP_CALL_KEY_NAME && s->name_end == 0) {
        s->name = s->string;
        s->name_end = s->at + 1;
    }
}

static void open_bracket(sp_call_scan *s, char c)
{
    bool begins = s->is_bare ? s->depth == 0
                             : s->depth == 1 && s->in_value && s->key == SP_CALL_KEY_ARGUMENTS && c == '{';
    if (begins && !s->has_args) {
        s->has_args = true;
        s->args = s->at;
    }
    s->depth++;
}

static void close_bracket(sp_call_scan *s)
{
    s->depth--;
    if (s->has_args && s->args_end == 0 && s->depth == (s->is_bare ? 0 : 1)) s->args_end = s->at + 1;
    s->is_over = s->depth == 0;
}

static void read_byte(sp_call_scan *s, const char *text)
{
    char c = text[s->at];
    if (s->in_string) {
        read_in_string(s, text);
    } else if (s->depth == 0 && c != '{') {
        s->is_over = !strchr(" \t\r\n", c) || c == '\0';
    } else if (c == '"') {
        s->in_string = true;
        s->string = s->at;
    } else if (c == '{' || c == '[') {
        open_bracket(s, c);
    } else if (c == '}' || c == ']') {
        close_bracket(s);
    } else if (s->depth == 1 && c == ':') {
        s->in_value = true;
    } else if (s->depth == 1 && c == ',') {
        s->in_value = false;
        s->key = SP_CALL_KEY_OTHER;
    }
}

void sp_call_scan_read(sp_call_scan *scan, const char *text, size_t len)
{
    while (scan->at < len && !scan->is_over) {
        read_byte(scan, text);
        scan->at++;
    }
}

bool sp_call_scan_name(const sp_call_scan *scan, const char *text, sp_buf *name, sp_status *status,
                       sp_error *err)
{
    sp_rawjson value = {text + scan->name, scan->name_end - scan->name};
    if (scan->name_end == 0 || sp_rawjson_put(NULL, value.text, value.len, NULL) != SP_OK) return false;
    return sp_rawjson_string(name, value, status, err) && *status == SP_OK;
}
