/* SPDX-License-Identifier: MIT */
/* A Hugging Face tokenizer.json (model type BPE, byte level) with the files beside it. The pre_tokenizer is
 * read by pretoken_json.c. Whatever would change ids and is not implemented is refused by name. Start at
 * sp_tokenizer_from_json(). */
#include "text/tokenizer.h"

#include <string.h>

#include "text/tokenizer_build.h"

static sp_status refuse(const char *what, const char *name, sp_error *err)
{
    return sp_fail(err, SP_E_UNSUPPORTED, "tokenizer.json: %s \"%s\" is not supported", what, name);
}

static const char *type_of(const sp_json *object)
{
    const char *type = sp_json_string(sp_json_get(object, "type"), NULL);
    return type ? type : "(none)";
}

static sp_status check_model(const sp_json *model, sp_error *err)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    /* Files from before the field was introduced are BPE if they have merges. */
    const sp_json *type = sp_json_get(model, "type");
    if (type ? strcmp(type_of(model), "BPE") != 0 : !sp_json_get(model, "merges"))
        return refuse("model type", type_of(model), err);
    if (sp_json_bool(sp_json_get(model, "byte_fallback"), false))
        return refuse("model", "byte_fallback", err);
    for (int i = 0; i < 2; i++) {
        const char *affix = sp_json_string(sp_json_get(model, affixes[i]), NULL);
        if (affix && *affix) return refuse("model", affixes[i], err);
    }
    if (!sp_json_is(sp_json_get(model, "vocab"), SP_JSON_OBJECT))
        return sp_fail(err, SP_E_FORMAT, "tokenizer.json: model.vocab is no object");
    if (!sp_json_is(sp_json_get(model, "merges"), SP_JSON_ARRAY))
        return sp_fail(err, SP_E_FORMAT, "tokenizer.json: model.merges is no array");
    return SP_OK;
}

/* One more than the largest id; SP_E_FORMAT for ids that are negative or absurd. */
static sp_status count_tokens(const sp_tokenizer_files *files, const sp_json *root, int64_t *n, sp_error *err)
{
    void *iter = NULL;
    const char *text;
    const sp_json *value;
    int64_t last = sp_json_int(sp_json_get(files->config, "vocab_size"), 0) - 1;
    if (last >= SP_BPE_TOKENS_MAX) last = -1;
    while (sp_json_next(sp_json_get(sp_json_get(root, "model"), "vocab"), &iter, &text, &value)) {
        int64_t id = sp_json_int(value, -1);
        if (id < 0 || id >= SP_BPE_TOKENS_MAX)
            return sp_fail(err, SP_E_FORMAT, "tokenizer.json: token \"%.60s\" has no usable id", text);
        if (id > last) last = id;
    }
    const sp_json *added = sp_json_get(root, "added_tokens");
    for (size_t i = 0; i < sp_json_size(added); i++) {
        int64_t id = sp_json_int(sp_json_get(sp_json_at(added, i), "id"), -1);
        if (id < 0 || id >= SP_BPE_TOKENS_MAX)
            return sp_fail(err, SP_E_FORMAT, "tokenizer.json: added token %zu has no usable id", i);
        if (id > last) last = id;
    }
    *n = last + 1;
    return SP_OK;
}

static sp_status add_added_token(sp_tokenizer *t, const sp_json *token, sp_error *err)
{
    static const char *const options[] = {"single_word", "lstrip", "rstrip"};
    size_t len;
    const char *content = sp_json_string(sp_json_get(token, "content"), &len);
    if (!content) return sp_fail(err, SP_E_FORMAT, "tokenizer.json: an added token without content");
    for (int i = 0; i < 3; i++)
        if (sp_json_bool(sp_json_get(token, options[i]), false))
            return refuse("added token option", options[i], err);
    bool special = sp_json_bool(sp_json_get(token, "special"), false);
    return sp_tokenizer_add(t, sp_json_int(sp_json_get(token, "id"), -1), content, len,
                            special ? SP_TOKEN_CONTROL : SP_TOKEN_USER_DEFINED, err);
}

static sp_status read_tokens(sp_tokenizer *t, const sp_json *root, sp_error *err)
{
    void *iter = NULL;
    const char *text;
    const sp_json *value;
    while (sp_json_next(sp_json_get(sp_json_get(root, "model"), "vocab"), &iter, &text, &value))
        SP_TRY(sp_tokenizer_add(t, sp_json_int(value, -1), text, strlen(text), SP_TOKEN_NORMAL, err));
    const sp_json *added = sp_json_get(root, "added_tokens");
    for (size_t i = 0; i < sp_json_size(added); i++) SP_TRY(add_added_token(t, sp_json_at(added, i), err));
    return sp_tokenizer_index(t, err);
}

/* Merges are "left right" strings or, in newer files, pairs of strings. */
static sp_status read_merge(sp_tokenizer *t, const sp_json *merge, size_t i, sp_error *err)
{
    size_t len, n_right;
    const char *left = sp_json_string(merge, &len);
    if (left) {
        const char *gap = len > 1 ? memchr(left + 1, ' ', len - 1) : NULL;
        if (gap) {
            size_t n_left = (size_t)(gap - left);
            return sp_tokenizer_add_merge(t, left, n_left, gap + 1, len - n_left - 1, err);
        }
    } else {
        left = sp_json_string(sp_json_at(merge, 0), &len);
        const char *right = sp_json_string(sp_json_at(merge, 1), &n_right);
        if (left && right) return sp_tokenizer_add_merge(t, left, len, right, n_right, err);
    }
    return sp_fail(err, SP_E_FORMAT, "tokenizer.json: merge %zu has no two parts", i);
}

static sp_status read_merges(sp_tokenizer *t, const sp_json *model, sp_error *err)
{
    const sp_json *merges = sp_json_get(model, "merges");
    size_t n = sp_json_size(merges);
    for (size_t i = 0; i < n; i++) SP_TRY(read_merge(t, sp_json_at(merges, i), i, err));
    t->bpe.ignore_merges = sp_json_bool(sp_json_get(model, "ignore_merges"), false);
    return SP_OK;
}

static sp_status read_normalizer(sp_tokenizer *t, const sp_json *normalizer, int depth, sp_error *err)
{
    if (!sp_json_is(normalizer, SP_JSON_OBJECT)) return SP_OK;
    const char *type = type_of(normalizer);
    if (strcmp(type, "NFC") == 0) {
        t->normalizes = true;
        return SP_OK;
    }
    if (strcmp(type, "Sequence") != 0 || depth > 0) return refuse("normalizer", type, err);
    const sp_json *list = sp_json_get(normalizer, "normalizers");
    for (size_t i = 0; i < sp_json_size(list); i++)
        SP_TRY(read_normalizer(t, sp_json_at(list, i), depth + 1, err));
    return SP_OK;
}

/* --- special ids --- */

/* A token given as text or as {"content": text}; -1 if the vocabulary has none. */
static int32_t find_named(const sp_tokenizer *t, const sp_json *config, const char *key)
{
    const sp_json *value = sp_json_get(config, key);
    const char *text =
        sp_json_string(sp_json_is(value, SP_JSON_OBJECT) ? sp_json_get(value, "content") : value, NULL);
    return text ? sp_tokenizer_find(t, text) : -1;
}

/* The first id under `key` (a number or a list); all of them are end ids if `ends`. */
static int32_t read_ids(sp_tokenizer *t, const sp_json *config, const char *key, bool ends)
{
    const sp_json *value = sp_json_get(config, key);
    size_t n = sp_json_is(value, SP_JSON_ARRAY) ? sp_json_size(value) : 1;
    int64_t first = -1;
    for (size_t i = n; i-- > 0;) {
        first = sp_json_int(sp_json_is(value, SP_JSON_ARRAY) ? sp_json_at(value, i) : value, -1);
        if (ends) sp_tokenizer_add_end(t, first);
    }
    return first >= 0 && first < t->bpe.n_tokens ? (int32_t)first : -1;
}

/* TemplateProcessing that puts a special token before the text: its id, else -1. */
static int32_t template_bos(const sp_tokenizer *t, const sp_json *processor, int depth)
{
    if (strcmp(type_of(processor), "Sequence") == 0 && depth == 0) {
        const sp_json *list = sp_json_get(processor, "processors");
        for (size_t i = 0; i < sp_json_size(list); i++) {
            int32_t id = template_bos(t, sp_json_at(list, i), depth + 1);
            if (id >= 0) return id;
        }
    }
    if (strcmp(type_of(processor), "TemplateProcessing") != 0) return -1;
    const sp_json *first = sp_json_get(sp_json_at(sp_json_get(processor, "single"), 0), "SpecialToken");
    const char *text = sp_json_string(sp_json_get(first, "id"), NULL);
    return text ? sp_tokenizer_find(t, text) : -1;
}

static int32_t first_valid(const int32_t *ids, int n)
{
    for (int i = 0; i < n; i++)
        if (ids[i] >= 0) return ids[i];
    return -1;
}

static void read_special_ids(sp_tokenizer *t, const sp_json *root, const sp_tokenizer_files *files)
{
    int32_t prefix = template_bos(t, sp_json_get(root, "post_processor"), 0);
    int32_t bos[] = {find_named(t, files->tokenizer_config, "bos_token"), prefix,
                     read_ids(t, files->generation_config, "bos_token_id", false),
                     read_ids(t, files->config, "bos_token_id", false)};
    int32_t eos[] = {find_named(t, files->tokenizer_config, "eos_token"),
                     read_ids(t, files->generation_config, "eos_token_id", true),
                     read_ids(t, files->config, "eos_token_id", true)};
    t->bos = first_valid(bos, 4);
    t->eos = first_valid(eos, 3);
    t->adds_bos = sp_json_bool(sp_json_get(files->tokenizer_config, "add_bos_token"), prefix >= 0);
}

/* chat_template is a text or a list of {"name", "template"}, of which "default" is meant. */
static sp_status read_template(sp_tokenizer *t, const sp_tokenizer_files *files, sp_error *err)
{
    if (files->chat_template)
        return sp_tokenizer_set_template(t, files->chat_template, strlen(files->chat_template), err);
    const sp_json *value = sp_json_get(files->tokenizer_config, "chat_template");
    if (sp_json_is(value, SP_JSON_ARRAY)) {
        const sp_json *list = value;
        value = sp_json_get(sp_json_at(list, 0), "template");
        for (size_t i = 0; i < sp_json_size(list); i++) {
            const char *name = sp_json_string(sp_json_get(sp_json_at(list, i), "name"), NULL);
            if (name && strcmp(name, "default") == 0) value = sp_json_get(sp_json_at(list, i), "template");
        }
    }
    size_t len = 0;
    const char *text = sp_json_string(value, &len);
    return sp_tokenizer_set_template(t, text, len, err);
}

static sp_status read_all(sp_tokenizer *t, const sp_json *root, const sp_tokenizer_files *files,
                          sp_error *err)
{
    const sp_json *model = sp_json_get(root, "model");
    SP_TRY(read_tokens(t, root, err));
    SP_TRY(read_merges(t, model, err));
    SP_TRY(read_normalizer(t, sp_json_get(root, "normalizer"), 0, err));
    SP_TRY(sp_pretok_create_json(&t->pretok, sp_json_get(root, "pre_tokenizer"), err));
    SP_TRY(read_template(t, files, err));
    read_special_ids(t, root, files);
    return sp_tokenizer_finish(t, err);
}

sp_status sp_tokenizer_from_json(sp_tokenizer **out, const sp_tokenizer_files *files, sp_error *err)
{
    sp_tokenizer *t = NULL;
    sp_json *root = NULL;
    int64_t n = 0;
    *out = NULL;
    sp_status status = sp_json_parse(files->tokenizer_json, files->tokenizer_json_len, &root, err);
    if (status != SP_OK) return sp_fail_prefix(err, status, "tokenizer.json");
    SP_GOTO(done, status, check_model(sp_json_get(root, "model"), err));
    SP_GOTO(done, status, count_tokens(files, root, &n, err));
    SP_GOTO(done, status, sp_tokenizer_begin(&t, n, err));
    SP_GOTO(done, status, read_all(t, root, files, err));
    *out = t;
    t = NULL;
done:
    sp_tokenizer_close(t);
    sp_json_destroy(root);
    return status;
}
