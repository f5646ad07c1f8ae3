/* SPDX-License-Identifier: MIT */
/* Raw text on its way to training: files of plain text or JSONL, mapped, as a numbered list of documents.
 * A text file is one document, or several where a separator is given. A JSONL file (named *.jsonl or *.ndjson) has one
 * document per line: {"text": "..."} or a conversation {"messages": [{"role", "content", ...}]}; other members are
 * left alone. A corpus is immutable; documents may be read by several threads. */
#ifndef SP_DATA_CORPUS_H
#define SP_DATA_CORPUS_H

#include "base/file.h"
#include "base/json.h"

typedef struct sp_corpus sp_corpus;

/* separator: cuts text files into documents and is itself left out; NULL or "" for none. Empty documents are
 * not counted. Errors: SP_E_IO, SP_E_NOMEM. */
sp_status sp_corpus_open(sp_corpus **corpus, const char *const *paths, size_t n_paths, const char *separator,
                         sp_error *err);
void sp_corpus_close(sp_corpus *corpus); /* accepts NULL */

size_t sp_corpus_count(const sp_corpus *corpus);
uint64_t sp_corpus_bytes(const sp_corpus *corpus); /* of all files */

/* The bytes of document i as they stand in the file. */
const char *sp_corpus_raw(const sp_corpus *corpus, size_t i, size_t *len);
bool sp_corpus_is_json(const sp_corpus *corpus, size_t i);

/* One document: plain text, or a conversation. */
typedef struct sp_document {
    const char *text; /* NULL for a conversation */
    size_t len;
    const sp_json *messages; /* an array, or NULL */
    sp_json *root;           /* owner of both for JSONL */
} sp_document;

/* Errors name file and line: SP_E_FORMAT (no JSON, neither "text" nor "messages"), SP_E_NOMEM. Clear after use. */
sp_status sp_corpus_read(const sp_corpus *corpus, size_t i, sp_document *document, sp_error *err);
void sp_document_clear(sp_document *document);

/* "file.jsonl:17" of document i, for messages; cut to fit. */
void sp_corpus_where(const sp_corpus *corpus, size_t i, char *buf, size_t cap);

#endif
