/* SPDX-License-Identifier: MIT */
/* Is standard input one JSON text (RFC 8259)? Exit status 0 or 1. A second reader, so that what the program writes is not
 * only checked by itself. Start at read_value(). */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static char text[1 << 22];
static const char *p = text;

static int read_value(int depth);

static void skip_space(void)
{
    while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r') p++;
}

static int read_string(void)
{
    if (*p++ != '"') return 0;
    for (; *p != '"'; p++) {
        if ((unsigned char)*p < 0x20) return 0;
        if (*p != '\\') continue;
        p++;
        if (*p == 'u') {
            for (int i = 0; i < 4; i++)
                if (!isxdigit((unsigned char)*++p)) return 0;
        } else if (*p == '\0' || !strchr("\"\\/bfnrt", *p)) {
            return 0;
        }
    }
    p++;
    return 1;
}

static int read_digits(void)
{
    if (!isdigit((unsigned char)*p)) return 0;
    while (isdigit((unsigned char)*p)) p++;
    return 1;
}

static int read_number(void)
{
    if (*p == '-') p++;
    if (*p == '0')
        p++;
    else if (!read_digits())
        return 0;
    if (*p == '.' && (p++, !read_digits())) return 0;
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '+' || *p == '-') p++;
        return read_digits();
    }
    return 1;
}

/* Members or items up to the closing bracket. */
static int read_items(char close, int is_object, int depth)
{
    p++;
    skip_space();
    if (*p == close) return p++, 1;
    for (;;) {
        skip_space();
        if (is_object) {
            if (!read_string()) return 0;
            skip_space();
            if (*p++ != ':') return 0;
        }
        if (!read_value(depth + 1)) return 0;
        skip_space();
        if (*p == close) return p++, 1;
        if (*p++ != ',') return 0;
    }
}

static int read_value(int depth)
{
    skip_space();
    if (depth > 100) return 0;
    if (*p == '{') return read_items('}', 1, depth);
    if (*p == '[') return read_items(']', 0, depth);
    if (*p == '"') return read_string();
    if (strncmp(p, "true", 4) == 0 || strncmp(p, "null", 4) == 0) return p += 4, 1;
    if (strncmp(p, "false", 5) == 0) return p += 5, 1;
    return read_number();
}

int main(void)
{
    size_t n = fread(text, 1, sizeof text - 1, stdin);
    text[n] = '\0';
    int good = read_value(0);
    skip_space();
    if (good && *p == '\0' && strlen(text) == n) return 0;
    fprintf(stderr, "not JSON from byte %ld: %.60s\n", (long)(p - text), p);
    return 1;
}
