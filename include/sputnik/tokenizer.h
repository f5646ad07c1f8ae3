/* SPDX-License-Identifier: MIT */
/* Text to token ids and back: the family's byte-level BPE tokenizers, read from GGUF metadata or from a
 * Hugging Face tokenizer.json. A tokenizer is immutable and may be used from any number of threads.
 *
 * Special tokens are never parsed out of ordinary text (text from users is never control): only calls that
 * pass SP_ENCODE_SPECIAL, meant for text that the caller wrote itself, turn "<|EOT|>" and the like into ids.
 */
#ifndef SPUTNIK_TOKENIZER_H
#define SPUTNIK_TOKENIZER_H

#include <sputnik/status.h>

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A growing list of token ids. Zero-initialise; free with sp_tokens_clear. */
typedef struct sp_tokens {
    int32_t *ids;
    size_t n;
    size_t cap;
} sp_tokens;

SP_API sp_status sp_tokens_push(sp_tokens *tokens, int32_t id, sp_error *err);
SP_API sp_status sp_tokens_append(sp_tokens *tokens, const int32_t *ids, size_t n, sp_error *err);
SP_API void sp_tokens_clear(sp_tokens *tokens);

/* A growing byte string, NUL-terminated beyond len once data is not NULL. Zero-initialise; free with
 * sp_text_clear. */
typedef struct sp_text {
    char *data;
    size_t len;
    size_t cap;
} sp_text;

SP_API sp_status sp_text_append(sp_text *text, const char *data, size_t len, sp_error *err);
SP_API void sp_text_clear(sp_text *text);

typedef struct sp_tokenizer sp_tokenizer;

/* Open from a GGUF file (vocabulary-only files serve), a tokenizer.json, or a directory that holds one (with
 * tokenizer_config.json and generation_config.json where present). SP_E_UNSUPPORTED names a tokenizer model
 * or pre-tokenizer that is unknown. */
SP_API sp_status sp_tokenizer_open(sp_tokenizer **tokenizer, const char *path, sp_error *err);
SP_API void sp_tokenizer_close(sp_tokenizer *tokenizer); /* accepts NULL */

enum {
    SP_ENCODE_BOS = 1,    /* begin-of-sentence first, unless the text already starts with it (SPECIAL) */
    SP_ENCODE_SPECIAL = 2 /* special tokens in the text become their ids */
};

/* Append the ids of text (any bytes; invalid UTF-8 is kept byte for byte) to *tokens. flags: SP_ENCODE_*.
 * Cost: linear; at least 10 MB/s. Errors: SP_E_NOMEM, SP_E_ARGUMENT (unknown flag). */
SP_API sp_status sp_tokenizer_encode(const sp_tokenizer *tokenizer, sp_tokens *tokens, const char *text,
                                     size_t len, unsigned flags, sp_error *err);

enum {
    SP_DECODE_SKIP_SPECIAL = 1 /* control tokens yield no text */
};

/* Append the bytes of the ids to *text. Ids outside the vocabulary are SP_E_RANGE; unused ids yield nothing.
 */
SP_API sp_status sp_tokenizer_decode(const sp_tokenizer *tokenizer, sp_text *text, const int32_t *ids,
                                     size_t n, unsigned flags, sp_error *err);

/* Bytes of one token, owned by the tokenizer; *len = 0 for unused ids and ids outside the vocabulary. */
SP_API const char *sp_tokenizer_piece(const sp_tokenizer *tokenizer, int32_t id, size_t *len);

SP_API int32_t sp_tokenizer_size(const sp_tokenizer *tokenizer);
SP_API int32_t sp_tokenizer_bos(const sp_tokenizer *tokenizer); /* -1 if there is none */
SP_API int32_t sp_tokenizer_eos(const sp_tokenizer *tokenizer); /* -1 if there is none */
SP_API bool sp_tokenizer_adds_bos(const sp_tokenizer *tokenizer);

/* True for each id that ends a reply: the end-of-sentence ids and end-of-turn tokens of this model. */
SP_API bool sp_tokenizer_is_end(const sp_tokenizer *tokenizer, int32_t id);

/* True for control tokens (begin-of-sentence, role markers, tool markers, thinking tags, ...). */
SP_API bool sp_tokenizer_is_special(const sp_tokenizer *tokenizer, int32_t id);

/* The id of exactly this token text ("<think>", "<|EOT|>"), -1 if the vocabulary has none. O(1). */
SP_API int32_t sp_tokenizer_find(const sp_tokenizer *tokenizer, const char *text);

/* The published chat template (Jinja source) found beside the vocabulary, or NULL. */
SP_API const char *sp_tokenizer_chat_template(const sp_tokenizer *tokenizer);

/* The pre-tokenizer's name as GGUF files write it: "deepseek-llm", "deepseek-v3", ...; NULL for the
 * patterns of a tokenizer.json that have no such name. */
SP_API const char *sp_tokenizer_pre(const sp_tokenizer *tokenizer);

/* Streaming detokeniser: text comes out in whole UTF-8 characters only; an incomplete tail (at most 3 bytes)
 * is held back until the next token or the flush, bytes that can never become a character are passed as
 * U+FFFD. */
typedef struct sp_detokenizer {
    const sp_tokenizer *tokenizer;
    unsigned char tail[4];
    int n_tail;
} sp_detokenizer;

SP_API void sp_detokenizer_init(sp_detokenizer *detokenizer, const sp_tokenizer *tokenizer);
SP_API sp_status sp_detokenizer_push(sp_detokenizer *detokenizer, sp_text *text, int32_t id, unsigned flags,
                                     sp_error *err);
SP_API sp_status sp_detokenizer_flush(sp_detokenizer *detokenizer, sp_text *text, sp_error *err);

#ifdef __cplusplus
}
#endif

#endif
