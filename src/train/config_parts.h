/* SPDX-License-Identifier: MIT */
/* Between the parts of the configuration: config_table.c lists every key, config.c reads a document by that list,
 * config_model.c reads the model section, config_check.c fills what depends on other keys and finds contradictions. */
#ifndef SP_TRAIN_CONFIG_PARTS_H
#define SP_TRAIN_CONFIG_PARTS_H

#include "train/config.h"

typedef enum sp_config_type {
    SP_CONFIG_COUNT32, /* int32_t */
    SP_CONFIG_COUNT,   /* int64_t */
    SP_CONFIG_REAL,
    SP_CONFIG_FLAG,
    SP_CONFIG_CHOICE, /* an enum, by the position in `choices` */
    SP_CONFIG_ATTENTION,
    SP_CONFIG_PATH,    /* char *, made relative to the working folder */
    SP_CONFIG_SOURCES, /* sp_source *, with the count behind it */
    SP_CONFIG_MODEL    /* of the published config.json: model/hparams.c reads and checks it */
} sp_config_type;

typedef struct sp_config_key {
    const char *section, *key;
    sp_config_type type;
    size_t offset; /* in sp_train_config */
    double low, high;
    const char *fallback; /* as the documentation writes it; "required" */
    double value;         /* of numbers, flags and choices that are left out */
    const char *const *choices;
} sp_config_key;

/* Every key in the order of the documentation; NULL past the end. */
const sp_config_key *sp_config_key_at(size_t i);
const sp_config_key *sp_config_key_find(const char *section, const char *key);

/* The member of a section, NULL where it is left out. */
const sp_json *sp_config_given(const sp_json *root, const char *section, const char *key);

/* SP_E_FORMAT unless every key of `object` is known as section.key; suggests the nearest. */
sp_status sp_config_check_keys(const sp_json *object, const char *section, sp_error *err);

/* `path` as seen from the working folder; NULL when out of memory. */
char *sp_config_resolve(const char *folder, const char *path);

/* Read "model" into config->hp; the tokenizer of config->tokenizer gives a missing vocabulary size. */
sp_status sp_config_read_model(sp_train_config *config, const sp_json *root, const char *folder,
                               sp_error *err);

/* Defaults that depend on other keys, then everything that two keys must agree on. */
sp_status sp_config_complete(sp_train_config *config, const sp_json *root, sp_error *err);

#endif
