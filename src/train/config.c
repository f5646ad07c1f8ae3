/* SPDX-License-Identifier: MIT */
/* Reading a training configuration: unknown keys first, then every key of the tables, the model, and what the keys must agree
 * on. The tables are config_table.c. Start at sp_train_config_load(). */
#include "train/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "model/config_write.h"
#include "train/config_parts.h"

#define MAX_CONFIG_BYTES ((size_t)1 << 20)
#define MAX_NAME 64 /* bytes of a key that are compared and shown */

static const char *const sections[] = {"model", "data", "optimizer", "schedule", "mtp", "moe", "run"};
#define N_SECTIONS (sizeof sections / sizeof sections[0])

char *sp_config_resolve(const char *folder, const char *path)
{
    if (!folder || !*folder || strcmp(folder, ".") == 0 || path[0] == '/') return sp_strdup(path);
    return sp_path_join(folder, path);
}

const sp_json *sp_config_given(const sp_json *root, const char *section, const char *key)
{
    return sp_json_get(sp_json_get(root, section), key);
}

/* --- unknown keys --------------------------------------------------------------------------------------- */

/* The key that was likely meant: near in spelling in the same section, or the same word in another. */
static const sp_config_key *suggest(const char *section, const char *key)
{
    const sp_config_key *best = NULL, *k;
    size_t limit = strnlen(key, MAX_NAME) / 3 + 1;
    for (size_t i = 0; (k = sp_config_key_at(i)); i++) {
        if (strcmp(k->section, section) != 0) continue;
        size_t distance = sp_word_distance(key, k->key);
        if (distance > limit) continue;
        limit = distance - (distance > 0);
        best = k;
        if (distance == 0) break;
    }
    for (size_t i = 0; !best && (k = sp_config_key_at(i)); i++)
        if (strcmp(k->key, key) == 0) best = k;
    return best;
}

sp_status sp_config_check_keys(const sp_json *object, const char *section, sp_error *err)
{
    void *iter = NULL;
    const char *key;
    const sp_json *value;
    while (sp_json_next(object, &iter, &key, &value)) {
        if (sp_config_key_find(section, key)) continue;
        const sp_config_key *near = suggest(section, key);
        if (!near) return sp_fail(err, SP_E_FORMAT, "%s.%.*s: unknown key", section, MAX_NAME, key);
        return sp_fail(err, SP_E_FORMAT, "%s.%.*s: unknown key; did you mean %s.%s?", section, MAX_NAME, key,
                       near->section, near->key);
    }
    return SP_OK;
}

static sp_status check_sections(const sp_json *root, sp_error *err)
{
    void *iter = NULL;
    const char *key;
    const sp_json *value;
    while (sp_json_next(root, &iter, &key, &value)) {
        size_t best = N_SECTIONS, limit = 3;
        for (size_t i = 0; i < N_SECTIONS && limit; i++) {
            size_t distance = sp_word_distance(key, sections[i]);
            if (distance >= limit) continue;
            limit = distance;
            best = i;
        }
        if (best < N_SECTIONS && limit == 0) {
            if (!sp_json_is(value, SP_JSON_OBJECT))
                return sp_fail(err, SP_E_FORMAT, "%s: expected an object", key);
            SP_TRY(sp_config_check_keys(value, key, err));
            continue;
        }
        if (best < N_SECTIONS)
            return sp_fail(err, SP_E_FORMAT, "%.*s: unknown section; did you mean %s?", MAX_NAME, key,
                           sections[best]);
        return sp_fail(err, SP_E_FORMAT,
                       "%.*s: unknown section; there are model, data, optimizer, schedule, mtp, moe, run",
                       MAX_NAME, key);
    }
    return SP_OK;
}

/* --- values --------------------------------------------------------------------------------------------- */

static sp_status fail_key(const sp_config_key *k, const char *expected, sp_error *err)
{
    return sp_fail(err, SP_E_FORMAT, "%s.%s: expected %s", k->section, k->key, expected);
}

static sp_status read_number(const sp_config_key *k, const sp_json *value, double *out, sp_error *err)
{
    bool whole = k->type == SP_CONFIG_COUNT || k->type == SP_CONFIG_COUNT32;
    double x = sp_json_real(value, NAN);
    *out = x;
    if (isnan(x) || (whole && x != floor(x))) return fail_key(k, whole ? "a whole number" : "a number", err);
    if (x >= k->low && x <= k->high) return SP_OK;
    if (k->low > 0 && k->low < 1e-200)
        return sp_fail(err, SP_E_RANGE, "%s.%s: expected more than 0 and at most %.15g, found %.15g",
                       k->section, k->key, k->high, x);
    return sp_fail(err, SP_E_RANGE, "%s.%s: expected %.15g to %.15g, found %.15g", k->section, k->key, k->low,
                   k->high, x);
}

static sp_status read_choice(const sp_config_key *k, const sp_json *value, int *out, sp_error *err)
{
    const char *text = sp_json_string(value, NULL);
    char known[128] = "";
    size_t used = 0;
    for (int i = 0; k->choices[i]; i++) {
        if (text && strcmp(text, k->choices[i]) == 0) {
            *out = i;
            return SP_OK;
        }
        int n = snprintf(known + used, sizeof known - used, "%s\"%s\"", i ? " or " : "", k->choices[i]);
        used += (size_t)n;
    }
    return fail_key(k, known, err);
}

static sp_status read_path(const sp_config_key *k, const sp_json *value, const char *folder, char **out,
                           sp_error *err)
{
    size_t len = 0;
    const char *text = sp_json_string(value, &len);
    if (!text || len == 0 || strlen(text) != len) return fail_key(k, "a path", err);
    *out = sp_config_resolve(folder, text);
    return *out ? SP_OK : sp_fail_nomem(err, "path", len);
}

static sp_status read_source(const sp_config_key *k, const sp_json *value, const char *folder,
                             sp_source *source, sp_error *err)
{
    static const char expected[] = "a list of paths or of {\"path\": ..., \"weight\": ...}";
    const sp_json *path = value, *weight = NULL;
    if (sp_json_is(value, SP_JSON_OBJECT)) {
        path = sp_json_get(value, "path");
        weight = sp_json_get(value, "weight");
        if (sp_json_size(value) != (size_t)(path != NULL) + (size_t)(weight != NULL))
            return fail_key(k, expected, err);
    }
    if (!sp_json_is(path, SP_JSON_STRING)) return fail_key(k, expected, err);
    if (weight) {
        source->weight = sp_json_real(weight, NAN);
        if (!(source->weight > 0.0 && source->weight <= 1e9))
            return sp_fail(err, SP_E_RANGE, "%s.%s: weight: expected a number above 0 and at most 1e9",
                           k->section, k->key);
    }
    char *resolved = NULL;
    SP_TRY(read_path(k, path, folder, &resolved, err));
    source->path = resolved;
    return SP_OK;
}

static sp_status read_sources(const sp_config_key *k, const sp_json *value, const char *folder,
                              sp_train_config *config, sp_error *err)
{
    size_t n = sp_json_size(value);
    if (!sp_json_is(value, SP_JSON_ARRAY) || n == 0)
        return fail_key(k, "a list of paths or of {\"path\": ..., \"weight\": ...}", err);
    if (n > SP_LOADER_SOURCES_MAX)
        return sp_fail(err, SP_E_RANGE, "%s.%s: expected at most %d sources, found %zu", k->section, k->key,
                       SP_LOADER_SOURCES_MAX, n);
    bool train = k->offset == offsetof(sp_train_config, train);
    sp_source *list = sp_calloc(n, sizeof *list);
    if (!list) return sp_fail_nomem(err, "sources", n * sizeof *list);
    *(train ? &config->train : &config->validation) = list;
    *(train ? &config->n_train : &config->n_validation) = n;
    size_t weighted = 0;
    for (size_t i = 0; i < n; i++) {
        SP_TRY(read_source(k, sp_json_at(value, i), folder, &list[i], err));
        weighted += list[i].weight > 0.0;
    }
    if (weighted && weighted < n)
        return sp_fail(err, SP_E_FORMAT, "%s.%s: either all sources have a weight or none", k->section,
                       k->key);
    return SP_OK;
}

static sp_status read_key(const sp_config_key *k, const sp_json *value, const char *folder,
                          sp_train_config *config, sp_error *err)
{
    char *at = (char *)config + k->offset;
    double x = k->value;
    int choice = (int)k->value;
    if (k->type == SP_CONFIG_MODEL) return SP_OK;
    if (value && sp_json_typeof(value) == SP_JSON_NULL)
        return sp_fail(err, SP_E_FORMAT, "%s.%s: found null; leave the key out for its default", k->section,
                       k->key);
    if (!value && k->fallback && strcmp(k->fallback, "required") == 0)
        return sp_fail(err, SP_E_FORMAT, "%s.%s: is missing", k->section, k->key);
    switch (k->type) {
    case SP_CONFIG_COUNT32:
    case SP_CONFIG_COUNT:
    case SP_CONFIG_REAL:
        if (value) SP_TRY(read_number(k, value, &x, err));
        if (k->type == SP_CONFIG_COUNT32)
            *(int32_t *)(void *)at = (int32_t)x;
        else if (k->type == SP_CONFIG_COUNT)
            *(int64_t *)(void *)at = (int64_t)x;
        else
            *(double *)(void *)at = x;
        return SP_OK;
    case SP_CONFIG_FLAG:
        if (value && !sp_json_is(value, SP_JSON_BOOL)) return fail_key(k, "true or false", err);
        *(bool *)(void *)at = sp_json_bool(value, x != 0.0);
        return SP_OK;
    case SP_CONFIG_CHOICE:
    case SP_CONFIG_ATTENTION:
        if (value) SP_TRY(read_choice(k, value, &choice, err));
        if (k->type == SP_CONFIG_ATTENTION)
            *(bool *)(void *)at = choice != 0;
        else
            *(int *)(void *)at = choice;
        return SP_OK;
    case SP_CONFIG_PATH: return value ? read_path(k, value, folder, (char **)(void *)at, err) : SP_OK;
    case SP_CONFIG_SOURCES: return value ? read_sources(k, value, folder, config, err) : SP_OK;
    case SP_CONFIG_MODEL: break;
    }
    return SP_OK;
}

static sp_status read_root(sp_train_config *config, const sp_json *root, const char *folder, sp_error *err)
{
    if (!sp_json_is(root, SP_JSON_OBJECT)) return sp_fail(err, SP_E_FORMAT, "expected a JSON object");
    SP_TRY(check_sections(root, err));
    const sp_config_key *k;
    for (size_t i = 0; (k = sp_config_key_at(i)); i++)
        SP_TRY(read_key(k, sp_config_given(root, k->section, k->key), folder, config, err));
    SP_TRY(sp_config_read_model(config, root, folder, err));
    return sp_config_complete(config, root, err);
}

sp_status sp_train_config_parse(sp_train_config *config, const char *text, size_t len, const char *folder,
                                sp_error *err)
{
    memset(config, 0, sizeof *config);
    if (len > MAX_CONFIG_BYTES)
        return sp_fail(err, SP_E_LIMIT, "a configuration has at most %zu bytes", MAX_CONFIG_BYTES);
    sp_json *root;
    SP_TRY(sp_json_parse(text, len, &root, err));
    sp_status status = SP_OK;
    config->text = sp_strndup(text, len);
    if (!config->text)
        status = sp_fail_nomem(err, "configuration", len);
    else
        status = read_root(config, root, folder, err);
    sp_json_destroy(root);
    if (status != SP_OK) sp_train_config_clear(config);
    return status;
}

sp_status sp_train_config_load(sp_train_config *config, const char *path, sp_error *err)
{
    memset(config, 0, sizeof *config);
    sp_buf text = {0};
    char *folder = NULL, *copy = NULL;
    sp_status status;
    SP_GOTO(done, status, sp_file_read(&text, path, MAX_CONFIG_BYTES, err));
    const char *base = sp_path_base(path);
    folder = sp_strndup(path, (size_t)(base - path));
    copy = sp_strdup(path);
    if (!folder || !copy) {
        status = sp_fail_nomem(err, "path", strlen(path));
        goto done;
    }
    status = sp_train_config_parse(config, text.data, text.len, folder, err);
    if (status != SP_OK) {
        sp_fail_prefix(err, status, "%s", path);
        goto done;
    }
    config->path = copy;
    copy = NULL;
done:
    sp_free(copy);
    sp_free(folder);
    sp_buf_clear(&text);
    return status;
}

static void clear_sources(sp_source *sources, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        union {
            const char *in;
            void *out; /* allocated by read_source */
        } path = {.in = sources[i].path};
        sp_free(path.out);
    }
    sp_free(sources);
}

void sp_train_config_clear(sp_train_config *config)
{
    if (!config) return;
    sp_free(config->path);
    sp_free(config->text);
    sp_free(config->tokenizer);
    sp_free(config->init);
    sp_free(config->out);
    clear_sources(config->train, config->n_train);
    clear_sources(config->validation, config->n_validation);
    memset(config, 0, sizeof *config);
}

/* --- fingerprint ---------------------------------------------------------------------------------------- */

/* A shard counts by its header, which holds the sums of its contents, so that data may move; a file that cannot be read counts
 * by its name. */
static uint64_t hash_source(uint64_t h, const sp_source *source)
{
    uint8_t header[SP_SHARD_HEADER_BYTES];
    size_t n = 0;
    FILE *file = fopen(source->path, "rbe");
    if (file) {
        n = fread(header, 1, sizeof header, file);
        fclose(file);
    }
    if (n == sizeof header)
        h = sp_hash(h, header, n);
    else
        h = sp_hash(h, sp_path_base(source->path), strlen(sp_path_base(source->path)));
    return sp_hash(h, &source->weight, sizeof source->weight);
}

uint64_t sp_train_config_fingerprint(const sp_train_config *config)
{
    uint64_t h = sp_hparams_hash(&config->hp, SP_HASH_SEED);
    for (size_t i = 0; i < config->n_train; i++) h = hash_source(h, &config->train[i]);
    uint64_t facts[] = {(uint64_t)config->sequence, (uint64_t)config->cut, config->document_attention,
                        (uint64_t)config->optimizer.kind, config->seed};
    return sp_hash(h, facts, sizeof facts);
}
