/* SPDX-License-Identifier: MIT */
/* Vocabularies as GGUF keys: from a tokenizer, from another file, or made up for random models. Texts of
 * ordinary tokens are written in the printable stand-ins for bytes, added tokens as they are. Start at
 * sp_gguf_put_tokenizer(). */
#include "model/gguf_meta.h"

#include <stdio.h>
#include <string.h>

/* A list of strings in one growing buffer, turned into an array of views at the end. */
typedef struct string_list {
    sp_buf bytes;
    sp_buf ends; /* size_t offsets of the ends */
    size_t n;
} string_list;

static sp_status end_string(string_list *list, sp_error *err)
{
    list->n++;
    return sp_buf_append(&list->ends, &list->bytes.len, sizeof list->bytes.len, err);
}

static sp_status put_list(sp_gguf_writer *w, const char *key, const string_list *list, sp_error *err)
{
    sp_gguf_string *items = sp_malloc_array(list->n, sizeof *items);
    if (!items) return sp_fail_nomem(err, "vocabulary", (uint64_t)list->n * sizeof *items);
    size_t begin = 0;
    for (size_t i = 0; i < list->n; i++) {
        size_t end;
        memcpy(&end, list->ends.data + i * sizeof end, sizeof end);
        items[i] = (sp_gguf_string){list->bytes.data + begin, end - begin};
        begin = end;
    }
    sp_status status = sp_gguf_put_strings(w, key, items, list->n, err);
    sp_free(items);
    return status;
}

static void clear_list(string_list *list)
{
    sp_buf_clear(&list->bytes);
    sp_buf_clear(&list->ends);
}

/* Text and type number of one row. */
static sp_status append_token(string_list *list, const sp_tokenizer *t, int32_t id, int32_t *type,
                              sp_error *err)
{
    size_t len = 0;
    const char *bytes = id < sp_tokenizer_size(t) ? sp_tokenizer_piece(t, id, &len) : NULL;
    *type = len ? sp_tokenizer_type(t, id) : SP_TOKEN_UNUSED;
    if (*type == SP_TOKEN_UNUSED)
        SP_TRY(sp_buf_printf(&list->bytes, err, "[PAD%d]", id));
    else if (*type == SP_TOKEN_NORMAL)
        SP_TRY(sp_byte_chars_encode(&list->bytes, bytes, len, err));
    else
        SP_TRY(sp_buf_append(&list->bytes, bytes, len, err));
    return end_string(list, err);
}

static sp_status put_tokens(sp_gguf_writer *w, const sp_tokenizer *t, int32_t n_rows, sp_error *err)
{
    string_list list = {0};
    int32_t *types = sp_malloc_array((size_t)n_rows, sizeof *types);
    if (!types) return sp_fail_nomem(err, "token types", (uint64_t)n_rows * sizeof *types);
    sp_status status = SP_OK;
    for (int32_t id = 0; id < n_rows; id++)
        SP_GOTO(done, status, append_token(&list, t, id, &types[id], err));
    SP_GOTO(done, status, put_list(w, "tokenizer.ggml.tokens", &list, err));
    status = sp_gguf_put_i32s(w, "tokenizer.ggml.token_type", types, (size_t)n_rows, err);
done:
    clear_list(&list);
    sp_free(types);
    return status;
}

static sp_status put_merges(sp_gguf_writer *w, const sp_tokenizer *t, sp_error *err)
{
    string_list list = {0};
    sp_status status = SP_OK;
    for (size_t i = 0; i < sp_tokenizer_merge_count(t); i++) {
        const sp_bpe_merge *m = sp_tokenizer_merge_at(t, i);
        size_t n_left, n_right;
        const char *left = sp_tokenizer_piece(t, m->left, &n_left),
                   *right = sp_tokenizer_piece(t, m->right, &n_right);
        SP_GOTO(done, status, sp_byte_chars_encode(&list.bytes, left, n_left, err));
        SP_GOTO(done, status, sp_buf_puts(&list.bytes, " ", err));
        SP_GOTO(done, status, sp_byte_chars_encode(&list.bytes, right, n_right, err));
        SP_GOTO(done, status, end_string(&list, err));
    }
    status = put_list(w, "tokenizer.ggml.merges", &list, err);
done:
    clear_list(&list);
    return status;
}

static sp_status put_id(sp_gguf_writer *w, const char *key, int32_t id, sp_error *err)
{
    return id >= 0 ? sp_gguf_put_u32(w, key, (uint32_t)id, err) : SP_OK;
}

static int32_t find_padding(const sp_tokenizer *t, const sp_json *tokenizer_config)
{
    const sp_json *pad = sp_json_get(tokenizer_config, "pad_token");
    const char *text =
        sp_json_string(sp_json_is(pad, SP_JSON_OBJECT) ? sp_json_get(pad, "content") : pad, NULL);
    return text ? sp_tokenizer_find(t, text) : -1;
}

static sp_status put_ids(sp_gguf_writer *w, const sp_tokenizer *t, const sp_json *tokenizer_config,
                         sp_error *err)
{
    int32_t eos = sp_tokenizer_eos(t);
    SP_TRY(put_id(w, "tokenizer.ggml.bos_token_id", sp_tokenizer_bos(t), err));
    SP_TRY(put_id(w, "tokenizer.ggml.eos_token_id", eos, err));
    SP_TRY(put_id(w, "tokenizer.ggml.padding_token_id", find_padding(t, tokenizer_config), err));
    for (int i = 0; i < t->n_ends; i++) { /* the first end of a reply that is not the end of a text */
        if (t->ends[i] == eos) continue;
        SP_TRY(put_id(w, "tokenizer.ggml.eot_token_id", t->ends[i], err));
        break;
    }
    return sp_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", sp_tokenizer_adds_bos(t), err);
}

sp_status sp_gguf_put_tokenizer(sp_gguf_writer *writer, const sp_tokenizer *tokenizer, int32_t n_rows,
                                const sp_json *tokenizer_config, sp_error *err)
{
    const char *pre = sp_tokenizer_pre(tokenizer), *chat = sp_tokenizer_chat_template(tokenizer);
    if (!pre) return sp_fail(err, SP_E_UNSUPPORTED, "the tokenizer's pre_tokenizer has no name in GGUF");
    if (sp_tokenizer_size(tokenizer) > n_rows) {
        return sp_fail(err, SP_E_FORMAT, "the tokenizer has %d ids, the embedding %d rows",
                       sp_tokenizer_size(tokenizer), n_rows);
    }
    SP_TRY(sp_gguf_put_string(writer, "tokenizer.ggml.model", "gpt2", 4, err));
    SP_TRY(sp_gguf_put_string(writer, "tokenizer.ggml.pre", pre, strlen(pre), err));
    SP_TRY(put_tokens(writer, tokenizer, n_rows, err));
    SP_TRY(put_merges(writer, tokenizer, err));
    SP_TRY(put_ids(writer, tokenizer, tokenizer_config, err));
    if (!chat) return SP_OK;
    return sp_gguf_put_string(writer, "tokenizer.chat_template", chat, strlen(chat), err);
}

sp_status sp_gguf_put_no_tokenizer(sp_gguf_writer *writer, sp_error *err)
{
    return sp_gguf_put_string(writer, "tokenizer.ggml.model", "none", 4, err);
}

sp_status sp_gguf_copy_tokenizer(sp_gguf_writer *writer, const sp_gguf *from, sp_error *err)
{
    static const char prefix[] = "tokenizer.";
    for (size_t i = 0; i < sp_gguf_kv_count(from); i++) {
        const sp_gguf_kv *kv = sp_gguf_kv_at(from, i);
        if (kv->key.len < sizeof prefix - 1 || memcmp(kv->key.data, prefix, sizeof prefix - 1) != 0) continue;
        SP_TRY(sp_gguf_put_kv(writer, kv, err));
    }
    return SP_OK;
}

/* --- made-up vocabularies --- */

/* Special tokens after the 256 bytes; bars are U+FF5C, blanks U+2581 as in the published vocabularies. */
static const char *const specials[] = {
    "<\xef\xbd\x9c"
    "begin\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
    "<\xef\xbd\x9c"
    "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
    "<\xef\xbd\x9cUser\xef\xbd\x9c>",
    "<\xef\xbd\x9c"
    "Assistant\xef\xbd\x9c>",
    "<think>",
    "</think>",
    "<|EOT|>",
    "<\xef\xbd\x9c"
    "fim\xe2\x96\x81hole\xef\xbd\x9c>",
    "<\xef\xbd\x9c"
    "fim\xe2\x96\x81"
    "begin\xef\xbd\x9c>",
    "<\xef\xbd\x9c"
    "fim\xe2\x96\x81"
    "end\xef\xbd\x9c>",
};
#define N_SPECIALS ((int32_t)(sizeof specials / sizeof specials[0]))

static const char *choose_pre(sp_arch arch)
{
    switch (arch) {
    case SP_ARCH_LLAMA:
    case SP_ARCH_DEEPSEEK: return "deepseek-llm";
    case SP_ARCH_DEEPSEEK2: return "deepseek-v3";
    default: return "deepseek-r1-qwen";
    }
}

static sp_status append_synthetic(string_list *list, int32_t id, int32_t *type, sp_error *err)
{
    char byte = (char)id;
    *type = SP_TOKEN_NORMAL;
    if (id < 256) {
        SP_TRY(sp_byte_chars_encode(&list->bytes, &byte, 1, err));
    } else if (id - 256 < N_SPECIALS) {
        *type = id - 256 < 2 ? SP_TOKEN_CONTROL : SP_TOKEN_USER_DEFINED;
        SP_TRY(sp_buf_puts(&list->bytes, specials[id - 256], err));
    } else {
        *type = SP_TOKEN_UNUSED;
        SP_TRY(sp_buf_printf(&list->bytes, err, "[unused %d]", id));
    }
    return end_string(list, err);
}

static sp_status put_synthetic_tokens(sp_gguf_writer *w, int32_t n_rows, sp_error *err)
{
    string_list list = {0};
    int32_t *types = sp_malloc_array((size_t)n_rows, sizeof *types);
    if (!types) return sp_fail_nomem(err, "token types", (uint64_t)n_rows * sizeof *types);
    sp_status status = SP_OK;
    for (int32_t id = 0; id < n_rows; id++)
        SP_GOTO(done, status, append_synthetic(&list, id, &types[id], err));
    SP_GOTO(done, status, put_list(w, "tokenizer.ggml.tokens", &list, err));
    status = sp_gguf_put_i32s(w, "tokenizer.ggml.token_type", types, (size_t)n_rows, err);
done:
    clear_list(&list);
    sp_free(types);
    return status;
}

sp_status sp_gguf_put_synthetic_tokenizer(sp_gguf_writer *writer, sp_arch arch, int32_t n_rows, sp_error *err)
{
    if (n_rows < 256 + 2) return sp_gguf_put_no_tokenizer(writer, err); /* no room for bytes and end token */
    const char *pre = choose_pre(arch);
    SP_TRY(sp_gguf_put_string(writer, "tokenizer.ggml.model", "gpt2", 4, err));
    SP_TRY(sp_gguf_put_string(writer, "tokenizer.ggml.pre", pre, strlen(pre), err));
    SP_TRY(put_synthetic_tokens(writer, n_rows, err));
    SP_TRY(sp_gguf_put_strings(writer, "tokenizer.ggml.merges", NULL, 0, err));
    SP_TRY(sp_gguf_put_u32(writer, "tokenizer.ggml.bos_token_id", 256, err));
    SP_TRY(sp_gguf_put_u32(writer, "tokenizer.ggml.eos_token_id", 257, err));
    return sp_gguf_put_bool(writer, "tokenizer.ggml.add_bos_token", true, err);
}
