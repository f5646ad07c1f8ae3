/* SPDX-License-Identifier: MIT */
/* The steps that all loaders share: tokens in, tables built, end ids and added tokens collected. Start at
 * sp_tokenizer_begin(). */
#include "text/tokenizer_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Texts that end a reply wherever a vocabulary has them: DeepSeek's own and those of the models that its
 * distillates and the shared architectures come from. */
static const char *const end_texts[] = {
    "<｜end▁of▁sentence｜>", "<|EOT|>",         "<|eot_id|>", "<|eom_id|>", "<|im_end|>",
    "<|endoftext|>",         "<|end_of_text|>",
};

sp_status sp_tokenizer_begin(sp_tokenizer **out, int64_t n_tokens, sp_error *err)
{
    sp_tokenizer *t = sp_calloc(1, sizeof *t);
    *out = NULL;
    if (!t) return sp_fail_nomem(err, "tokenizer", sizeof *t);
    t->bos = t->eos = -1;
    sp_status status = sp_bpe_reserve(&t->bpe, n_tokens, err);
    if (status != SP_OK) {
        sp_tokenizer_close(t);
        return status;
    }
    *out = t;
    return SP_OK;
}

/* Converters fill up a vocabulary with "[PAD<id>]"; nobody ever meant such a text. */
static bool is_padding(const char *text, size_t len, int64_t id)
{
    char expected[32];
    int n = snprintf(expected, sizeof expected, "[PAD%lld]", (long long)id);
    return (size_t)n == len && memcmp(text, expected, len) == 0;
}

static bool is_end_text(const char *text, size_t len)
{
    for (size_t i = 0; i < sizeof end_texts / sizeof *end_texts; i++)
        if (strlen(end_texts[i]) == len && memcmp(end_texts[i], text, len) == 0) return true;
    return false;
}

static sp_status add_ordinary(sp_tokenizer *t, int32_t id, const char *text, size_t len, sp_error *err)
{
    char small[256];
    char *bytes = len <= sizeof small ? small : sp_malloc(len);
    if (!bytes) return sp_fail_nomem(err, "token", len);
    int64_t n = sp_byte_chars_decode(bytes, text, len);
    /* A text with characters outside the alphabet can only be meant literally (as ByteLevel decoders do). */
    sp_status status = n < 0 ? sp_bpe_set(&t->bpe, id, text, len, SP_TOKEN_NORMAL, err)
                             : sp_bpe_set(&t->bpe, id, bytes, (size_t)n, SP_TOKEN_NORMAL, err);
    if (bytes != small) sp_free(bytes);
    return status;
}

/* "<0x0A>" */
static sp_status add_byte(sp_tokenizer *t, int32_t id, const char *text, size_t len, sp_error *err)
{
    unsigned value;
    char copy[8];
    if (len == 6) {
        memcpy(copy, text, 6);
        copy[6] = '\0';
        if (sscanf(copy, "<0x%2X>", &value) == 1) {
            char byte = (char)value;
            return sp_bpe_set(&t->bpe, id, &byte, 1, SP_TOKEN_NORMAL, err);
        }
    }
    return sp_fail(err, SP_E_FORMAT, "tokenizer: token %d has type byte, but its text is not <0xHH>", id);
}

sp_status sp_tokenizer_add(sp_tokenizer *t, int64_t id, const char *text, size_t len, int type, sp_error *err)
{
    if (id < 0 || id >= t->bpe.n_tokens)
        return sp_fail(err, SP_E_FORMAT, "tokenizer: token id %lld lies outside the vocabulary of %d",
                       (long long)id, t->bpe.n_tokens);
    if (type == SP_TOKEN_UNUSED || is_padding(text, len, id)) return SP_OK;
    if (type == SP_TOKEN_BYTE) return add_byte(t, (int32_t)id, text, len, err);
    if (is_end_text(text, len)) type = SP_TOKEN_CONTROL;
    if (type == SP_TOKEN_CONTROL || type == SP_TOKEN_USER_DEFINED)
        return sp_bpe_set(&t->bpe, (int32_t)id, text, len, (sp_token_type)type, err);
    return add_ordinary(t, (int32_t)id, text, len, err);
}

/* User-defined tokens that stand for a byte which no ordinary token has (see tokenizer.h). */
static sp_status settle_bytes(sp_tokenizer *t, sp_error *err)
{
    bool seen[256] = {false};
    for (int32_t id = 0; id < t->bpe.n_tokens; id++) {
        size_t len;
        const char *bytes = sp_bpe_bytes(&t->bpe, id, &len);
        if (len == 1 && !sp_bpe_is_added(&t->bpe, id)) seen[(unsigned char)*bytes] = true;
    }
    for (int32_t id = 0; id < t->bpe.n_tokens; id++) {
        size_t len;
        const char *text = sp_bpe_bytes(&t->bpe, id, &len);
        char byte[2];
        if (t->bpe.tokens[id].type != SP_TOKEN_USER_DEFINED || len > sizeof byte) continue;
        if (sp_byte_chars_decode(byte, text, len) != 1 || seen[(unsigned char)byte[0]]) continue;
        seen[(unsigned char)byte[0]] = true;
        SP_TRY(sp_bpe_set(&t->bpe, id, byte, 1, SP_TOKEN_NORMAL, err));
    }
    return SP_OK;
}

sp_status sp_tokenizer_index(sp_tokenizer *t, sp_error *err)
{
    SP_TRY(settle_bytes(t, err));
    return sp_bpe_index(&t->bpe, err);
}

sp_status sp_tokenizer_add_merge(sp_tokenizer *t, const char *left, size_t n_left, const char *right,
                                 size_t n_right, sp_error *err)
{
    char small[512];
    char *bytes = n_left + n_right <= sizeof small ? small : sp_malloc(n_left + n_right);
    if (!bytes) return sp_fail_nomem(err, "merge", n_left + n_right);
    sp_status status = SP_OK;
    int64_t a = sp_byte_chars_decode(bytes, left, n_left);
    int64_t b = a > 0 ? sp_byte_chars_decode(bytes + a, right, n_right) : -1;
    if (b > 0) status = sp_bpe_add_merge(&t->bpe, bytes, (size_t)a, (size_t)b, NULL, err);
    if (bytes != small) sp_free(bytes);
    return status;
}

void sp_tokenizer_add_end(sp_tokenizer *t, int64_t id)
{
    if (id < 0 || id >= t->bpe.n_tokens || sp_tokenizer_is_end(t, (int32_t)id)) return;
    if (t->n_ends < SP_TOKENIZER_ENDS_MAX) t->ends[t->n_ends++] = (int32_t)id;
}

sp_status sp_tokenizer_set_template(sp_tokenizer *t, const char *text, size_t len, sp_error *err)
{
    if (!text || t->chat_template) return SP_OK;
    t->chat_template = sp_strndup(text, len);
    return t->chat_template ? SP_OK : sp_fail_nomem(err, "chat template", len);
}

/* --- added tokens --- */

typedef struct text_ref {
    const char *bytes;
    uint32_t len;
    int32_t id;
} text_ref;

static int compare_refs(const void *a, const void *b)
{
    const text_ref *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int order = memcmp(x->bytes, y->bytes, n);
    if (order != 0) return order;
    if (x->len != y->len) return x->len < y->len ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static sp_status collect_added(sp_tokenizer *t, sp_error *err)
{
    size_t n = 0;
    for (int32_t id = 0; id < t->bpe.n_tokens; id++) n += sp_bpe_is_added(&t->bpe, id);
    sp_status status = SP_OK;
    text_ref *refs = sp_malloc_array(n, sizeof *refs);
    t->added = sp_malloc_array(n, sizeof *t->added);
    if (!refs || !t->added) {
        status = sp_fail_nomem(err, "added tokens", n * sizeof *refs);
        goto done;
    }
    n = 0;
    for (int32_t id = 0; id < t->bpe.n_tokens; id++) {
        size_t len;
        const char *bytes = sp_bpe_bytes(&t->bpe, id, &len);
        if (len > 0 && sp_bpe_is_added(&t->bpe, id)) refs[n++] = (text_ref){bytes, (uint32_t)len, id};
    }
    if (n > 0) qsort(refs, n, sizeof *refs, compare_refs);
    for (size_t i = 0; i < n; i++) {
        t->added[i] = refs[i].id;
        t->added_first[(unsigned char)refs[i].bytes[0]] = true;
    }
    t->n_added = n;
done:
    sp_free(refs);
    return status;
}

sp_status sp_tokenizer_finish(sp_tokenizer *t, sp_error *err)
{
    SP_TRY(sp_bpe_finish(&t->bpe, err));
    SP_TRY(collect_added(t, err));
    if (t->eos < 0) t->eos = sp_tokenizer_find(t, end_texts[0]);
    if (t->bos < 0) t->bos = sp_tokenizer_find(t, "<｜begin▁of▁sentence｜>");
    if (t->bos < 0) t->adds_bos = false;
    sp_tokenizer_add_end(t, t->eos);
    for (size_t i = 0; i < sizeof end_texts / sizeof *end_texts; i++)
        sp_tokenizer_add_end(t, sp_bpe_lookup_added(&t->bpe, end_texts[i], strlen(end_texts[i])));
    return SP_OK;
}
