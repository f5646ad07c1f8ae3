/* SPDX-License-Identifier: MIT */
/* The tokenizer in GGUF metadata (tokenizer.ggml.*): tokens, their types, merges, special ids. Start at
 * sp_tokenizer_from_gguf(). Keys: the GGUF specification. */
#include "text/tokenizer.h"

#include <stdio.h>
#include <string.h>

#include "text/tokenizer_build.h"

/* A string array under `key`, NULL if there is none. */
static const sp_gguf_kv *find_array(const sp_gguf *gguf, const char *key, sp_gguf_type item_type)
{
    const sp_gguf_kv *kv = sp_gguf_find(gguf, key);
    return kv && kv->type == SP_GGUF_ARRAY && kv->item_type == item_type ? kv : NULL;
}

/* "<|...|>", "<｜...｜>" and the thinking tags: how control tokens look where a file gives no types. */
static bool looks_like_control(sp_gguf_string s)
{
    if (s.len < 5 || s.data[0] != '<' || s.data[s.len - 1] != '>') return false;
    if (s.data[1] == '|') return s.data[s.len - 2] == '|';
    if (s.len >= 9 && memcmp(s.data + 1, "\xEF\xBD\x9C", 3) == 0)
        return memcmp(s.data + s.len - 4, "\xEF\xBD\x9C", 3) == 0;
    return (s.len == 7 && memcmp(s.data, "<think>", 7) == 0) ||
           (s.len == 8 && memcmp(s.data, "</think>", 8) == 0);
}

static sp_status read_tokens(sp_tokenizer *t, const sp_gguf *gguf, const sp_gguf_kv *tokens, sp_error *err)
{
    const sp_gguf_kv *types = find_array(gguf, "tokenizer.ggml.token_type", SP_GGUF_I32);
    if (types && types->count != tokens->count)
        return sp_fail(err, SP_E_FORMAT, "gguf: %llu token types for %llu tokens",
                       (unsigned long long)types->count, (unsigned long long)tokens->count);
    uint64_t pos = 0;
    sp_gguf_string text;
    for (uint64_t id = 0; id < tokens->count && sp_gguf_next_string(tokens, &pos, &text); id++) {
        int64_t type = types                      ? sp_gguf_item_int(types, id)
                       : looks_like_control(text) ? SP_TOKEN_CONTROL
                                                  : SP_TOKEN_NORMAL;
        if (type < SP_TOKEN_NORMAL || type > SP_TOKEN_BYTE) type = SP_TOKEN_NORMAL;
        SP_TRY(sp_tokenizer_add(t, (int64_t)id, text.data, text.len, (int)type, err));
    }
    return sp_tokenizer_index(t, err);
}

static sp_status read_merges(sp_tokenizer *t, const sp_gguf *gguf, sp_error *err)
{
    const sp_gguf_kv *merges = find_array(gguf, "tokenizer.ggml.merges", SP_GGUF_STRING);
    if (!merges) return sp_fail(err, SP_E_FORMAT, "gguf: tokenizer.ggml.merges is missing");
    uint64_t pos = 0;
    sp_gguf_string text;
    while (sp_gguf_next_string(merges, &pos, &text)) {
        const char *gap = text.len > 1 ? memchr(text.data + 1, ' ', text.len - 1) : NULL;
        if (!gap)
            return sp_fail(err, SP_E_FORMAT, "gguf: a merge without two parts in tokenizer.ggml.merges");
        size_t n_left = (size_t)(gap - text.data);
        SP_TRY(sp_tokenizer_add_merge(t, text.data, n_left, gap + 1, text.len - n_left - 1, err));
    }
    return SP_OK;
}

/* Files from before tokenizer.ggml.pre: each vocabulary of the family is known by where its markers stand. */
static const char *recognize_vocabulary(const sp_tokenizer *t)
{
    static const struct {
        const char *text;
        int32_t id;
        const char *pre;
    } marks[] = {
        {"<｜begin▁of▁sentence｜>", 100000, "deepseek-llm"},
        {"<｜begin▁of▁sentence｜>", 32013, "deepseek-coder"},
        {"<｜begin▁of▁sentence｜>", 0, "deepseek-v3"},
        {"<｜begin▁of▁sentence｜>", 151646, "qwen2"},
        {"<｜begin▁of▁sentence｜>", 128000, "llama-bpe"},
        {"<|begin_of_text|>", 128000, "llama-bpe"},
        {"<|endoftext|>", 151643, "qwen2"},
    };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (sp_tokenizer_find(t, marks[i].text) == marks[i].id) return marks[i].pre;
    return "gpt-2";
}

static sp_status read_pre(sp_tokenizer *t, const sp_gguf *gguf, sp_error *err)
{
    char name[64];
    sp_gguf_string pre;
    const char *canonical = NULL;
    if (sp_gguf_str(gguf, "tokenizer.ggml.pre", &pre)) {
        snprintf(name, sizeof name, "%.*s", (int)(pre.len < 63 ? pre.len : 63), pre.data);
        canonical = sp_pretok_canonical(name);
        if (!canonical)
            return sp_fail(err, SP_E_UNSUPPORTED,
                           "gguf: pre-tokenizer \"%s\" (tokenizer.ggml.pre) is unknown", name);
    }
    if (!canonical || strcmp(name, "default") == 0) {
        canonical = recognize_vocabulary(t);
        t->pre_is_assumed = true;
    }
    t->bpe.ignore_merges = strcmp(canonical, "llama-bpe") == 0;
    t->adds_bos = strncmp(canonical, "deepseek", 8) == 0 || t->bpe.ignore_merges;
    sp_gguf_bool(gguf, "tokenizer.ggml.add_bos_token", &t->adds_bos);
    return sp_pretok_create_named(&t->pretok, canonical, err);
}

static int32_t read_id(const sp_tokenizer *t, const sp_gguf *gguf, const char *key)
{
    int64_t id = -1;
    sp_gguf_int(gguf, key, &id);
    return id >= 0 && id < t->bpe.n_tokens ? (int32_t)id : -1;
}

static sp_status read_template(sp_tokenizer *t, const sp_gguf *gguf, sp_error *err)
{
    sp_gguf_string text;
    if (!sp_gguf_str(gguf, "tokenizer.chat_template", &text)) return SP_OK;
    return sp_tokenizer_set_template(t, text.data, text.len, err);
}

sp_status sp_tokenizer_from_gguf(sp_tokenizer **out, const sp_gguf *gguf, sp_error *err)
{
    sp_gguf_string model;
    *out = NULL;
    if (!sp_gguf_str(gguf, "tokenizer.ggml.model", &model))
        return sp_fail(err, SP_E_FORMAT, "gguf: tokenizer.ggml.model is missing");
    if (model.len != 4 || memcmp(model.data, "gpt2", 4) != 0)
        return sp_fail(err, SP_E_UNSUPPORTED, "gguf: tokenizer model \"%.*s\" is unknown (gpt2 expected)",
                       (int)(model.len < 64 ? model.len : 64), model.data);
    const sp_gguf_kv *tokens = find_array(gguf, "tokenizer.ggml.tokens", SP_GGUF_STRING);
    if (!tokens) return sp_fail(err, SP_E_FORMAT, "gguf: tokenizer.ggml.tokens is missing");
    if (tokens->count > SP_BPE_TOKENS_MAX)
        return sp_fail(err, SP_E_FORMAT, "gguf: a vocabulary of %llu tokens, at most %d are supported",
                       (unsigned long long)tokens->count, SP_BPE_TOKENS_MAX);
    sp_tokenizer *t = NULL;
    sp_status status = sp_tokenizer_begin(&t, (int64_t)tokens->count, err);
    if (status != SP_OK) return status;
    SP_GOTO(done, status, read_tokens(t, gguf, tokens, err));
    SP_GOTO(done, status, read_merges(t, gguf, err));
    SP_GOTO(done, status, read_pre(t, gguf, err));
    SP_GOTO(done, status, read_template(t, gguf, err));
    t->bos = read_id(t, gguf, "tokenizer.ggml.bos_token_id");
    t->eos = read_id(t, gguf, "tokenizer.ggml.eos_token_id");
    sp_tokenizer_add_end(t, read_id(t, gguf, "tokenizer.ggml.eot_token_id"));
    sp_tokenizer_add_end(t, read_id(t, gguf, "tokenizer.ggml.eom_token_id"));
    SP_GOTO(done, status, sp_tokenizer_finish(t, err));
    *out = t;
    t = NULL;
done:
    sp_tokenizer_close(t);
    return status;
}
