/* SPDX-License-Identifier: MIT */
/* The model section: the published config.json's keys, here or in a file of their own, read and checked by model/hparams.c. A
 * vocabulary size that is left out is the tokenizer's. Start at sp_config_read_model(). */
#include "train/config_parts.h"

#include <sputnik/tokenizer.h>

#include <string.h>

#include "base/file.h"

#define MAX_MODEL_BYTES ((size_t)16 << 20)

/* "config.json: hidden_size: ..." and "model: hidden_size: ..." say "model.hidden_size: ..." here. */
static sp_status rename_key(sp_status status, sp_error *err)
{
    if (!err) return status;
    const char *text = err->text;
    if (strncmp(text, "config.json: ", 13) == 0)
        text += 13;
    else if (strncmp(text, "model: ", 7) == 0)
        text += 7;
    else
        return status;
    char key[64], copy[SP_ERROR_TEXT_CAP];
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz_0123456789");
    bool known = false;
    if (n > 0 && n < sizeof key) {
        memcpy(key, text, n);
        key[n] = '\0';
        known = sp_config_key_find("model", key) != NULL;
    }
    memcpy(copy, text, strlen(text) + 1);
    return sp_fail(err, status, known ? "model.%s" : "model: %s", copy);
}

/* The section's text with the vocabulary size added, parsed anew: a document is read-only. */
static sp_status add_vocab_size(sp_json **out, const sp_json *model, int32_t vocab_size, sp_error *err)
{
    sp_buf text = {0};
    sp_status status;
    *out = NULL;
    SP_GOTO(done, status, sp_json_dump(&text, model, SP_JSON_COMPACT, err));
    text.len--; /* the closing brace */
    SP_GOTO(done, status,
            sp_buf_printf(&text, err, "%s\"vocab_size\":%d}", sp_json_size(model) ? "," : "", vocab_size));
    status = sp_json_parse(text.data, text.len, out, err);
done:
    sp_buf_clear(&text);
    return status;
}

static sp_status read_file(sp_json **out, const sp_json *value, const char *folder, sp_error *err)
{
    sp_buf text = {0};
    const char *name = sp_json_string(value, NULL);
    *out = NULL;
    if (!name || !*name) return sp_fail(err, SP_E_FORMAT, "model.config: expected the path of a config.json");
    char *path = sp_config_resolve(folder, name);
    if (!path) return sp_fail_nomem(err, "path", strlen(name));
    sp_status status = sp_file_read(&text, path, MAX_MODEL_BYTES, err);
    if (status == SP_OK) status = sp_json_parse(text.data, text.len, out, err);
    if (status == SP_OK && !sp_json_is(*out, SP_JSON_OBJECT))
        status = sp_fail(err, SP_E_FORMAT, "%s: expected an object", path);
    if (status != SP_OK) sp_fail_prefix(err, status, "model.config");
    sp_free(path);
    sp_buf_clear(&text);
    return status;
}

/* Beside "config" only the keys that say how to draw the weights may stand. */
static sp_status check_alone(const sp_json *model, sp_error *err)
{
    void *iter = NULL;
    const char *key;
    const sp_json *value;
    while (sp_json_next(model, &iter, &key, &value)) {
        const sp_config_key *k = sp_config_key_find("model", key);
        if (k && k->type == SP_CONFIG_MODEL && strcmp(key, "config") != 0)
            return sp_fail(err, SP_E_FORMAT, "model.%s: stands beside model.config, which holds it", key);
    }
    return SP_OK;
}

static sp_status tokenizer_size(int32_t *size, const char *path, sp_error *err)
{
    sp_tokenizer *tokenizer;
    sp_status status = sp_tokenizer_open(&tokenizer, path, err);
    if (status != SP_OK) return sp_fail_prefix(err, status, "data.tokenizer");
    *size = sp_tokenizer_size(tokenizer);
    sp_tokenizer_close(tokenizer);
    return SP_OK;
}

sp_status sp_config_read_model(sp_train_config *config, const sp_json *root, const char *folder,
                               sp_error *err)
{
    const sp_json *model = sp_json_get(root, "model"), *inner = model;
    const sp_json *file = sp_json_get(model, "config"), *range = sp_json_get(model, "initializer_range");
    sp_json *from_file = NULL, *with_size = NULL;
    int32_t size = 0;
    sp_status status;
    if (!model) return sp_fail(err, SP_E_FORMAT, "model: the section is missing");
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "rope_parameters" : "rope_scaling";
        SP_TRY(sp_config_check_keys(sp_json_get(model, name), "model.rope_scaling", err));
    }
    if (file) {
        SP_TRY(check_alone(model, err));
        SP_GOTO(done, status, read_file(&from_file, file, folder, err));
        inner = from_file;
        if (!range)
            config->init_deviation =
                sp_json_real(sp_json_get(inner, "initializer_range"), config->init_deviation);
    }
    if (config->tokenizer) SP_GOTO(done, status, tokenizer_size(&size, config->tokenizer, err));
    if (!sp_json_get(inner, "vocab_size")) {
        if (!config->tokenizer) {
            status = sp_fail(err, SP_E_FORMAT,
                             "model.vocab_size: is missing, and there is no data.tokenizer to take it from");
            goto done;
        }
        SP_GOTO(done, status, add_vocab_size(&with_size, inner, size, err));
        inner = with_size;
    }
    status = sp_hparams_from_config(&config->hp, inner, err);
    if (status != SP_OK)
        rename_key(status, err);
    else if (config->hp.vocab_size < size)
        status = sp_fail(err, SP_E_FORMAT, "model.vocab_size: %d is less than the tokenizer's %d",
                         config->hp.vocab_size, size);
done:
    sp_json_destroy(with_size);
    sp_json_destroy(from_file);
    return status;
}
