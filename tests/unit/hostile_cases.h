/* SPDX-License-Identifier: MIT */
/* Reads tests/hostile/<name>.txt: named malformed files, written as text, with what the parser must answer.
 * The language is described at the head of those files. Start at hostile_load(). */
#ifndef SP_TESTS_HOSTILE_CASES_H
#define SP_TESTS_HOSTILE_CASES_H

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct hostile_case {
    char name[64];
    sp_buf bytes;
    char status[32]; /* enum name: "SP_E_FORMAT" */
    char text[200];  /* part of the message */
} hostile_case;

static inline void hostile_put(sp_buf *buf, uint64_t value, int n)
{
    for (int i = 0; i < n; i++) {
        uint8_t b = (uint8_t)(value >> (8 * i));
        if (sp_buf_append(buf, &b, 1, NULL) != SP_OK) abort();
    }
}

/* 'text' with \n, \0, \' and \\ as in C; returns what follows. */
static inline const char *hostile_quoted(sp_buf *buf, const char *p)
{
    while (*p && *p != '\'') p++;
    if (*p) p++;
    for (; *p && *p != '\''; p++) {
        char c = *p;
        if (c == '\\') {
            p++;
            c = *p == 'n' ? '\n' : *p == '0' ? 0 : *p;
        }
        hostile_put(buf, (uint8_t)c, 1);
    }
    return *p ? p + 1 : p;
}

static inline const char *hostile_item(sp_buf *buf, const char *word, const char *p)
{
    sp_buf text = {0};
    char *end = NULL;
    if (word[0] == 'u' && strchr("8136", word[1])) {
        uint64_t value = strtoull(p, &end, 0);
        hostile_put(buf, value, atoi(word + 1) / 8);
    } else if (strcmp(word, "f32") == 0) {
        float value = strtof(p, &end);
        uint32_t bits;
        memcpy(&bits, &value, 4);
        hostile_put(buf, bits, 4);
    } else if (strcmp(word, "str") == 0 || strcmp(word, "json") == 0 || strcmp(word, "raw") == 0) {
        p = hostile_quoted(&text, p);
        if (word[0] != 'r') hostile_put(buf, text.len, 8);
        if (text.len && sp_buf_append(buf, text.data, text.len, NULL) != SP_OK) abort();
        sp_buf_clear(&text);
        return p;
    } else if (strcmp(word, "zeros") == 0) {
        for (uint64_t n = strtoull(p, &end, 0); n; n--) hostile_put(buf, 0, 1);
    } else if (strcmp(word, "pad") == 0) {
        uint64_t n = strtoull(p, &end, 0);
        while (buf->len % n) hostile_put(buf, 0, 1);
    } else if (strcmp(word, "letters") == 0) {
        for (uint64_t n = strtoull(p, &end, 0); n; n--) hostile_put(buf, 'x', 1);
    } else {
        fprintf(stderr, "hostile case: unknown word \"%s\"\n", word);
        abort();
    }
    return end;
}

static inline void hostile_line(sp_buf *buf, const char *p)
{
    char word[16];
    int used = 0;
    while (sscanf(p, " %15[a-z0-9]%n", word, &used) == 1) p = hostile_item(buf, word, p + used);
    if (p[strspn(p, " \n")]) {
        fprintf(stderr, "hostile case: cannot read \"%s\"\n", p);
        abort();
    }
}

/* The next case of an open file; false at the end. The caller clears bytes. */
static inline bool hostile_next(FILE *file, hostile_case *c)
{
    static char line[8192];
    memset(c, 0, sizeof *c);
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '#' || line[0] == '\n') continue;
        if (sscanf(line, "== %63[^\n]", c->name) == 1) continue;
        if (sscanf(line, "expect %31s %199[^\n]", c->status, c->text) >= 1) return true;
        hostile_line(&c->bytes, line);
    }
    return false;
}

static inline FILE *hostile_open(const char *name)
{
    const char *dir = getenv("SP_SOURCE_DIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/hostile/%s", dir ? dir : ".", name);
    FILE *file = fopen(path, "r");
    if (!file) fprintf(stderr, "cannot open %s\n", path);
    return file;
}

#endif
