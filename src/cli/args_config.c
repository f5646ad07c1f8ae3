/* SPDX-License-Identifier: MIT */
/* Every value goes through the parser of options, so a file cannot say what a flag could not. */
#include "cli/args_config.h"

#include "base/file.h"

#include <string.h>

#define MAX_CONFIG_BYTES ((size_t)1 << 20)

static sp_status fail_kind(const char *key, const char *expected, sp_error *err)
{
    return sp_fail(err, SP_E_ARGUMENT, "key \"%.60s\": expected %s", key, expected);
}

static sp_status set_number(const sp_command *command, const char *key, const sp_json *value, void *options,
                            sp_error *err)
{
    sp_buf text = {NULL, 0, 0};
    sp_status status = sp_json_dump(&text, value, SP_JSON_COMPACT, err);
    if (status == SP_OK) status = sp_args_set(command, key, text.data, options, err);
    sp_buf_clear(&text);
    return status;
}

static sp_status set_text(const sp_command *command, const char *key, const sp_json *value, void *options,
                          sp_error *err)
{
    size_t len = 0;
    const char *text = sp_json_string(value, &len);
    if (!text || strlen(text) != len) return fail_kind(key, "a text", err);
    return sp_args_set(command, key, text, options, err);
}

static sp_status set_key(const sp_command *command, const char *key, const sp_json *value, void *options,
                         sp_error *err)
{
    const sp_arg *arg = sp_args_find(command, key);
    if (!arg || arg->type == SP_ARG_CONFIG)
        return sp_fail(err, SP_E_ARGUMENT, "key \"%.60s\": %s has no such option", key, command->name);
    switch (arg->type) {
    case SP_ARG_FLAG:
        if (!sp_json_is(value, SP_JSON_BOOL)) return fail_kind(key, "true or false", err);
        return sp_json_bool(value, false) ? sp_args_set(command, key, NULL, options, err) : SP_OK;
    case SP_ARG_INT:
    case SP_ARG_FLOAT:
        if (!sp_json_is(value, SP_JSON_INT) && !sp_json_is(value, SP_JSON_REAL))
            return fail_kind(key, "a number", err);
        return set_number(command, key, value, options, err);
    case SP_ARG_STRINGS:
        if (!sp_json_is(value, SP_JSON_ARRAY)) break;
        for (size_t i = 0; i < sp_json_size(value); i++)
            SP_TRY(set_text(command, key, sp_json_at(value, i), options, err));
        return SP_OK;
    default: break;
    }
    return set_text(command, key, value, options, err);
}

sp_status sp_args_config_load(sp_args_config *config, const sp_command *command, const char *path,
                              void *options, sp_error *err)
{
    sp_buf text = {NULL, 0, 0};
    void *iter = NULL;
    const char *key;
    const sp_json *value;
    sp_status status = sp_file_read(&text, path, MAX_CONFIG_BYTES, err);
    if (status == SP_OK) status = sp_json_parse(text.data ? text.data : "", text.len, &config->root, err);
    if (status == SP_OK && !sp_json_is(config->root, SP_JSON_OBJECT))
        status = sp_fail(err, SP_E_ARGUMENT, "expected an object, {\"option\": value, ...}");
    while (status == SP_OK && sp_json_next(config->root, &iter, &key, &value))
        status = set_key(command, key, value, options, err);
    sp_buf_clear(&text);
    return status == SP_OK ? SP_OK : sp_fail_prefix(err, status, "file \"%.200s\"", path);
}

void sp_args_config_clear(sp_args_config *config)
{
    sp_json_destroy(config->root);
    config->root = NULL;
}
