/* SPDX-License-Identifier: MIT */
/* Files into documents. Opening only finds where documents begin and end; JSON is parsed when one is read.
 * Start at sp_corpus_open(). */
#include "data/corpus.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

typedef struct item {
    uint64_t offset, len;
    uint32_t file;
    uint32_t line; /* from 1; of the document's start */
} item;

struct sp_corpus {
    sp_map *maps;  /* (n_files) */
    char **paths;  /* (n_files) */
    bool *is_json; /* (n_files) */
    size_t n_files;
    item *items; /* (n_items) */
    size_t n_items, items_cap;
    uint64_t n_bytes;
};

static sp_status add_item(sp_corpus *c, item value, sp_error *err)
{
    if (c->n_items == c->items_cap) {
        size_t cap = c->items_cap ? c->items_cap * 2 : 64;
        item *items = sp_realloc_array(c->items, cap, sizeof *items);
        if (!items) return sp_fail_nomem(err, "list of documents", cap * sizeof *items);
        c->items = items;
        c->items_cap = cap;
    }
    c->items[c->n_items++] = value;
    return SP_OK;
}

static bool is_blank(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!strchr(" \t\r", text[i]) || !text[i]) return false;
    return true;
}

static uint32_t count_lines(const char *text, size_t len)
{
    uint32_t n = 0;
    const char *end = text + len;
    while (text < end && (text = memchr(text, '\n', (size_t)(end - text)))) {
        n++;
        text++;
    }
    return n;
}

static sp_status add_documents(sp_corpus *c, uint32_t file, const char *separator, sp_error *err)
{
    const char *data = (const char *)c->maps[file].data;
    size_t len = c->maps[file].len, n_sep = separator ? strlen(separator) : 0, at = 0;
    uint32_t line = 1;
    if (c->is_json[file]) {
        separator = "\n";
        n_sep = 1;
    }
    while (at < len) {
        const char *end = n_sep ? memmem(data + at, len - at, separator, n_sep) : NULL;
        size_t stop = end ? (size_t)(end - data) : len;
        bool keep = c->is_json[file] ? !is_blank(data + at, stop - at) : stop > at;
        if (keep) SP_TRY(add_item(c, (item){at, stop - at, file, line}, err));
        if (!end) break;
        line += count_lines(data + at, stop + n_sep - at);
        at = stop + n_sep;
    }
    return SP_OK;
}

static sp_status open_files(sp_corpus *c, const char *const *paths, const char *separator, sp_error *err)
{
    for (size_t i = 0; i < c->n_files; i++) {
        c->paths[i] = sp_strdup(paths[i]);
        if (!c->paths[i]) return sp_fail_nomem(err, "path", strlen(paths[i]) + 1);
        c->is_json[i] = sp_ends_with(paths[i], ".jsonl") || sp_ends_with(paths[i], ".ndjson");
        SP_TRY(sp_map_open(&c->maps[i], paths[i], err));
        c->n_bytes += c->maps[i].len;
        SP_TRY(add_documents(c, (uint32_t)i, separator, err));
    }
    return SP_OK;
}

sp_status sp_corpus_open(sp_corpus **out, const char *const *paths, size_t n_paths, const char *separator,
                         sp_error *err)
{
    *out = NULL;
    sp_corpus *c = sp_calloc(1, sizeof *c);
    if (!c) return sp_fail_nomem(err, "corpus", sizeof *c);
    c->n_files = n_paths;
    c->maps = sp_calloc(n_paths, sizeof *c->maps);
    c->paths = sp_calloc(n_paths, sizeof *c->paths);
    c->is_json = sp_calloc(n_paths, sizeof *c->is_json);
    sp_status status =
        c->maps && c->paths && c->is_json ? SP_OK : sp_fail_nomem(err, "list of files", n_paths);
    if (status == SP_OK) status = open_files(c, paths, separator, err);
    if (status == SP_OK)
        *out = c;
    else
        sp_corpus_close(c);
    return status;
}

void sp_corpus_close(sp_corpus *c)
{
    if (!c) return;
    for (size_t i = 0; i < c->n_files; i++) {
        if (c->maps) sp_map_close(&c->maps[i]);
        if (c->paths) sp_free(c->paths[i]);
    }
    sp_free(c->maps);
    sp_free(c->paths);
    sp_free(c->is_json);
    sp_free(c->items);
    sp_free(c);
}

size_t sp_corpus_count(const sp_corpus *corpus)
{
    return corpus->n_items;
}

uint64_t sp_corpus_bytes(const sp_corpus *corpus)
{
    return corpus->n_bytes;
}

const char *sp_corpus_raw(const sp_corpus *c, size_t i, size_t *len)
{
    *len = c->items[i].len;
    return (const char *)c->maps[c->items[i].file].data + c->items[i].offset;
}

bool sp_corpus_is_json(const sp_corpus *c, size_t i)
{
    return c->is_json[c->items[i].file];
}

void sp_corpus_where(const sp_corpus *c, size_t i, char *buf, size_t cap)
{
    snprintf(buf, cap, "%s:%u", sp_path_base(c->paths[c->items[i].file]), (unsigned)c->items[i].line);
}

void sp_document_clear(sp_document *document)
{
    sp_json_destroy(document->root);
    *document = (sp_document){NULL, 0, NULL, NULL};
}

sp_status sp_corpus_read(const sp_corpus *c, size_t i, sp_document *document, sp_error *err)
{
    char where[128];
    size_t len;
    const char *raw = sp_corpus_raw(c, i, &len);
    *document = (sp_document){raw, len, NULL, NULL};
    if (!sp_corpus_is_json(c, i)) return SP_OK;
    document->text = NULL;
    sp_corpus_where(c, i, where, sizeof where);
    sp_status status = sp_json_parse(raw, len, &document->root, err);
    if (status != SP_OK) return sp_fail_prefix(err, status, "%s", where);
    document->text = sp_json_string(sp_json_get(document->root, "text"), &document->len);
    const sp_json *messages = sp_json_get(document->root, "messages");
    if (!document->text && sp_json_is(messages, SP_JSON_ARRAY)) document->messages = messages;
    if (document->text || document->messages) return SP_OK;
    sp_document_clear(document);
    return sp_fail(err, SP_E_FORMAT, "%s: neither a text under \"text\" nor a list under \"messages\"",
                   where);
}
