/* SPDX-License-Identifier: MIT */
/* The tokenizer's public face but for encoding (tokenizer_encode.c): opening a path, decoding, and what is
 * known about single ids. Loaders: tokenizer_gguf.c, tokenizer_json.c, tokenizer_tiktoken.c. */
#include "text/tokenizer.h"

#include <string.h>

#include "base/sha256.h"
#include "text/grammar_vocab.h"

sp_status sp_tokens_append(sp_tokens *tokens, const int32_t *ids, size_t n, sp_error *err)
{
    if (n > tokens->cap - tokens->n) {
        size_t cap = tokens->cap ? tokens->cap : 64;
        while (cap - tokens->n < n) {
            if (cap > SIZE_MAX / 2 / sizeof *ids) return sp_fail_nomem(err, "token list", n * sizeof *ids);
            cap *= 2;
        }
        int32_t *grown = sp_realloc_array(tokens->ids, cap, sizeof *grown);
        if (!grown) return sp_fail_nomem(err, "token list", cap * sizeof *grown);
        tokens->ids = grown;
        tokens->cap = cap;
    }
    if (n > 0) memcpy(tokens->ids + tokens->n, ids, n * sizeof *ids);
    tokens->n += n;
    return SP_OK;
}

sp_status sp_tokens_push(sp_tokens *tokens, int32_t id, sp_error *err)
{
    if (tokens->n == tokens->cap) return sp_tokens_append(tokens, &id, 1, err);
    tokens->ids[tokens->n++] = id;
    return SP_OK;
}

void sp_tokens_clear(sp_tokens *tokens)
{
    sp_free(tokens->ids);
    *tokens = (sp_tokens){0};
}

sp_status sp_text_append(sp_text *text, const char *data, size_t len, sp_error *err)
{
    sp_buf buf = {text->data, text->len, text->cap};
    sp_status status = sp_buf_append(&buf, data, len, err);
    *text = (sp_text){buf.data, buf.len, buf.cap};
    return status;
}

void sp_text_clear(sp_text *text)
{
    sp_free(text->data);
    *text = (sp_text){0};
}

void sp_tokenizer_close(sp_tokenizer *t)
{
    if (!t) return;
    sp_bpe_clear(&t->bpe);
    sp_pretok_destroy(t->pretok);
    sp_free(t->chat_template);
    sp_free(t->added);
    sp_vocab_destroy(atomic_load(&t->vocab));
    sp_free(t);
}

sp_status sp_tokenizer_decode(const sp_tokenizer *t, sp_text *text, const int32_t *ids, size_t n,
                              unsigned flags, sp_error *err)
{
    if (flags & ~(unsigned)SP_DECODE_SKIP_SPECIAL)
        return sp_fail(err, SP_E_ARGUMENT, "tokenizer: unknown decode flags 0x%X", flags);
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= t->bpe.n_tokens)
            return sp_fail(err, SP_E_RANGE, "tokenizer: id %d lies outside the vocabulary of %d", ids[i],
                           t->bpe.n_tokens);
        if ((flags & SP_DECODE_SKIP_SPECIAL) && sp_bpe_is_added(&t->bpe, ids[i])) continue;
        size_t len;
        const char *bytes = sp_bpe_bytes(&t->bpe, ids[i], &len);
        SP_TRY(sp_text_append(text, bytes, len, err));
    }
    return SP_OK;
}

const char *sp_tokenizer_piece(const sp_tokenizer *t, int32_t id, size_t *len)
{
    *len = 0;
    if (id < 0 || id >= t->bpe.n_tokens) return "";
    return sp_bpe_bytes(&t->bpe, id, len);
}

int32_t sp_tokenizer_size(const sp_tokenizer *t)
{
    return t->bpe.n_tokens;
}

int32_t sp_tokenizer_bos(const sp_tokenizer *t)
{
    return t->bos;
}

int32_t sp_tokenizer_eos(const sp_tokenizer *t)
{
    return t->eos;
}

bool sp_tokenizer_adds_bos(const sp_tokenizer *t)
{
    return t->adds_bos;
}

bool sp_tokenizer_is_end(const sp_tokenizer *t, int32_t id)
{
    for (int i = 0; i < t->n_ends; i++)
        if (t->ends[i] == id) return true;
    return false;
}

bool sp_tokenizer_is_special(const sp_tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->bpe.n_tokens && sp_bpe_is_added(&t->bpe, id);
}

int32_t sp_tokenizer_find(const sp_tokenizer *t, const char *text)
{
    int32_t id = sp_bpe_lookup_added(&t->bpe, text, strlen(text));
    return id >= 0 ? id : sp_bpe_lookup(&t->bpe, text, strlen(text));
}

const char *sp_tokenizer_chat_template(const sp_tokenizer *t)
{
    return t->chat_template;
}

const char *sp_tokenizer_pre(const sp_tokenizer *t)
{
    return sp_pretok_name(t->pretok);
}

bool sp_tokenizer_pre_is_assumed(const sp_tokenizer *t)
{
    return t->pre_is_assumed;
}

int sp_tokenizer_type(const sp_tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->bpe.n_tokens ? t->bpe.tokens[id].type : SP_TOKEN_UNUSED;
}

size_t sp_tokenizer_merge_count(const sp_tokenizer *t)
{
    return t->bpe.n_merges;
}

const sp_bpe_merge *sp_tokenizer_merge_at(const sp_tokenizer *t, size_t rank)
{
    return &t->bpe.merges[rank];
}

static void add_u32(sp_sha256 *sha, uint32_t value)
{
    uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                        (uint8_t)(value >> 24)};
    sp_sha256_add(sha, bytes, sizeof bytes);
}

void sp_vocab_hash(uint8_t hash[32], const sp_tokenizer *tokenizer)
{
    sp_sha256 sha;
    sp_sha256_init(&sha);
    add_u32(&sha, (uint32_t)sp_tokenizer_size(tokenizer));
    for (int32_t id = 0; id < sp_tokenizer_size(tokenizer); id++) {
        size_t len = 0;
        const char *piece = sp_tokenizer_piece(tokenizer, id, &len);
        add_u32(&sha, (uint32_t)len);
        if (len) sp_sha256_add(&sha, piece, len);
    }
    sp_sha256_end(&sha, hash);
}
