/* SPDX-License-Identifier: MIT */
/* A scanner over JSON text (RFC 8259) that checks, re-spaces and cuts values out. Start at scan_value(); one
 * scanner serves checking (no output) and writing. Recursion is bounded by SP_RAWJSON_MAX_DEPTH. */
#include "text/chat_json.h"

#include <string.h>

typedef struct scanner {
    const char *text;
    size_t len;
    size_t pos;
    int depth;
    sp_buf *out; /* NULL: check only */
    sp_error *err;
} scanner;

static sp_status scan_value(scanner *s);

static sp_status put_bytes(scanner *s, const char *bytes, size_t n)
{
    return s->out ? sp_buf_append(s->out, bytes, n, s->err) : SP_OK;
}

static sp_status fail_here(scanner *s, const char *expected)
{
    return sp_fail_at(s->err, SP_E_FORMAT, (int64_t)s->pos, "json: expected %s", expected);
}

static void skip_space(scanner *s)
{
    while (s->pos < s->len && strchr(" \t\r\n", s->text[s->pos]) && s->text[s->pos]) s->pos++;
}

static int peek(const scanner *s)
{
    return s->pos < s->len ? (unsigned char)s->text[s->pos] : -1;
}

/* --- strings -------------------------------------------------------------------------------------------- */

static int hex_value(int c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Four hexadecimal digits at pos; false if there are none. */
static bool read_hex4(scanner *s, uint32_t *code)
{
    if (s->len - s->pos < 4) return false;
    *code = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value((unsigned char)s->text[s->pos + (size_t)i]);
        if (digit < 0) return false;
        *code = *code << 4 | (uint32_t)digit;
    }
    s->pos += 4;
    return true;
}

/* UTF-8 of a code point; surrogates become U+FFFD. Returns the length. */
static size_t encode_utf8(uint32_t code, char out[4])
{
    if (code >= 0xD800 && code < 0xE000) code = 0xFFFD;
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

/* The character of the escape whose backslash has been read. */
static sp_status read_escape(scanner *s, char out[4], size_t *n)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    int c = peek(s);
    const char *simple = c > 0 ? strchr(from, c) : NULL;
    if (simple) {
        s->pos++;
        out[0] = to[simple - from];
        *n = 1;
        return SP_OK;
    }
    uint32_t code, low;
    if (c != 'u') return fail_here(s, "an escape character");
    s->pos++;
    if (!read_hex4(s, &code)) return fail_here(s, "four hexadecimal digits");
    size_t after = s->pos;
    if (code >= 0xD800 && code < 0xDC00 && s->len - s->pos >= 6 && s->text[s->pos] == '\\' &&
        s->text[s->pos + 1] == 'u') {
        s->pos += 2;
        if (read_hex4(s, &low) && low >= 0xDC00 && low < 0xE000)
            code = 0x10000 + ((code - 0xD800) << 10 | (low - 0xDC00));
        else
            s->pos = after;
    }
    *n = encode_utf8(code, out);
    return SP_OK;
}

/* One character as json.dumps(ensure_ascii=False) writes it. */
static sp_status put_character(scanner *s, const char *bytes, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    static const char from[] = "\"\\\b\f\n\r\t";
    static const char to[] = "\"\\bfnrt";
    unsigned char c = (unsigned char)bytes[0];
    const char *special = n == 1 && c ? strchr(from, c) : NULL;
    if (special) return put_bytes(s, (char[]){'\\', to[special - from]}, 2);
    if (n == 1 && c < 0x20) return put_bytes(s, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
    return put_bytes(s, bytes, n);
}

/* The string at pos. `plain`: write the characters that it stands for, not JSON. */
static sp_status scan_string_as(scanner *s, bool plain)
{
    if (peek(s) != '"') return fail_here(s, "'\"'");
    s->pos++;
    if (!plain) SP_TRY(put_bytes(s, "\"", 1));
    for (;;) {
        int c = peek(s);
        char bytes[4];
        size_t n = 1;
        if (c < 0x20)
            return fail_here(s, c < 0 ? "the end of the string" : "no control character in a string");
        s->pos++;
        if (c == '"') break;
        bytes[0] = (char)c;
        if (c == '\\') SP_TRY(read_escape(s, bytes, &n));
        SP_TRY(plain ? put_bytes(s, bytes, n) : put_character(s, bytes, n));
    }
    return plain ? SP_OK : put_bytes(s, "\"", 1);
}

static sp_status scan_string(scanner *s)
{
    return scan_string_as(s, false);
}

/* --- other values --------------------------------------------------------------------------------------- */

static bool skip_digits(scanner *s)
{
    size_t start = s->pos;
    while (peek(s) >= '0' && peek(s) <= '9') s->pos++;
    return s->pos > start;
}

static sp_status scan_number(scanner *s)
{
    size_t start = s->pos;
    if (peek(s) == '-') s->pos++;
    if (peek(s) == '0')
        s->pos++;
    else if (!skip_digits(s))
        return fail_here(s, "a value");
    if (peek(s) == '.') {
        s->pos++;
        if (!skip_digits(s)) return fail_here(s, "a digit");
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        s->pos++;
        if (peek(s) == '+' || peek(s) == '-') s->pos++;
        if (!skip_digits(s)) return fail_here(s, "a digit");
    }
    return put_bytes(s, s->text + start, s->pos - start);
}

static sp_status scan_word(scanner *s, const char *word)
{
    size_t n = strlen(word);
    if (s->len - s->pos < n || memcmp(s->text + s->pos, word, n) != 0) return fail_here(s, "a value");
    s->pos += n;
    return put_bytes(s, word, n);
}

/* An array or object: elements, or members with their keys, between brackets. */
static sp_status scan_list(scanner *s, char close, bool keyed)
{
    if (++s->depth > SP_RAWJSON_MAX_DEPTH) return fail_here(s, "less nesting");
    SP_TRY(put_bytes(s, s->text + s->pos++, 1));
    skip_space(s);
    if (peek(s) != close) {
        for (;;) {
            skip_space(s);
            if (keyed) {
                SP_TRY(scan_string(s));
                skip_space(s);
                if (peek(s) != ':') return fail_here(s, "':'");
                s->pos++;
                SP_TRY(put_bytes(s, ": ", 2));
            }
            SP_TRY(scan_value(s));
            skip_space(s);
            if (peek(s) != ',') break;
            s->pos++;
            SP_TRY(put_bytes(s, ", ", 2));
        }
    }
    if (peek(s) != close) return fail_here(s, keyed ? "',' or '}'" : "',' or ']'");
    s->pos++;
    s->depth--;
    return put_bytes(s, &close, 1);
}

static sp_status scan_value(scanner *s)
{
    skip_space(s);
    switch (peek(s)) {
    case '{': return scan_list(s, '}', true);
    case '[': return scan_list(s, ']', false);
    case '"': return scan_string(s);
    case 't': return scan_word(s, "true");
    case 'f': return scan_word(s, "false");
    case 'n': return scan_word(s, "null");
    default: return scan_number(s);
    }
}

sp_status sp_rawjson_put(sp_buf *buf, const char *text, size_t len, sp_error *err)
{
    scanner s = {text, len, 0, 0, buf, err};
    SP_TRY(scan_value(&s));
    skip_space(&s);
    return s.pos == len ? SP_OK : fail_here(&s, "the end of the text");
}

bool sp_rawjson_next(sp_rawjson array, size_t *pos, sp_rawjson *element)
{
    scanner s = {array.text, array.len, *pos, 0, NULL, NULL};
    skip_space(&s);
    int c = peek(&s);
    if (c != (*pos == 0 ? '[' : ',')) return false;
    s.pos++;
    skip_space(&s);
    if (peek(&s) == ']') return false;
    size_t start = s.pos;
    if (scan_value(&s) != SP_OK) return false;
    *element = (sp_rawjson){array.text + start, s.pos - start};
    *pos = s.pos;
    return true;
}

/* Does the JSON string text[0..len) stand for exactly `key`? */
static bool equals_key(const char *text, size_t len, const char *key)
{
    scanner s = {text, len, 1, 0, NULL, NULL};
    size_t n = strlen(key), done = 0;
    while (s.pos < len && peek(&s) != '"') {
        char bytes[4] = {s.text[s.pos++], 0, 0, 0};
        size_t used = 1;
        if (bytes[0] == '\\' && read_escape(&s, bytes, &used) != SP_OK) return false;
        if (used > n - done || memcmp(key + done, bytes, used) != 0) return false;
        done += used;
    }
    return done == n;
}

bool sp_rawjson_member(sp_rawjson object, const char *key, sp_rawjson *value)
{
    scanner s = {object.text, object.len, 0, 0, NULL, NULL};
    bool found = false;
    skip_space(&s);
    if (peek(&s) != '{') return false;
    do {
        s.pos++;
        skip_space(&s);
        size_t name = s.pos;
        if (scan_string(&s) != SP_OK) break;
        size_t name_len = s.pos - name;
        skip_space(&s);
        s.pos++; /* ':' */
        skip_space(&s);
        size_t start = s.pos;
        if (scan_value(&s) != SP_OK) break;
        if (equals_key(s.text + name, name_len, key)) {
            *value = (sp_rawjson){s.text + start, s.pos - start};
            found = true;
        }
        skip_space(&s);
    } while (peek(&s) == ',');
    return found;
}

bool sp_rawjson_string(sp_buf *buf, sp_rawjson value, sp_status *status, sp_error *err)
{
    scanner s = {value.text, value.len, 0, 0, buf, err};
    *status = SP_OK;
    if (peek(&s) != '"') return false;
    *status = scan_string_as(&s, true);
    return true;
}
