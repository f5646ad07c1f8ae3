/* SPDX-License-Identifier: MIT */
/* Opening a tokenizer by path: a GGUF file, a tokenizer.json, or a directory with one. Parsing is the
 * loaders' work; here files are only found and read. Start at sp_tokenizer_open(). */
#include "text/tokenizer.h"

#include <string.h>

#include "base/file.h"

#define SMALL_MAX ((size_t)16 << 20) /* bytes of the files beside tokenizer.json */

static sp_status open_gguf(sp_tokenizer **t, const sp_map *map, sp_error *err)
{
    sp_gguf *gguf;
    SP_TRY(sp_gguf_parse(&gguf, map->data, map->len, err));
    sp_status status = sp_tokenizer_from_gguf(t, gguf, err);
    sp_gguf_destroy(gguf);
    return status;
}

/* Read dir/name into buf; a missing file leaves it empty. */
static sp_status read_beside(sp_buf *buf, const char *dir, const char *name, sp_error *err)
{
    char *path = sp_path_join(dir, name);
    if (!path) return sp_fail_nomem(err, "path", strlen(dir) + strlen(name));
    sp_status status = sp_file_exists(path) ? sp_file_read(buf, path, SMALL_MAX, err) : SP_OK;
    sp_free(path);
    return status;
}

static sp_status parse_beside(sp_json **json, const char *dir, const char *name, sp_error *err)
{
    sp_buf text = {0};
    sp_status status = read_beside(&text, dir, name, err);
    if (status == SP_OK && text.len > 0) {
        status = sp_json_parse(text.data, text.len, json, err);
        if (status != SP_OK) sp_fail_prefix(err, status, "%s", name);
    }
    sp_buf_clear(&text);
    return status;
}

static sp_status open_json(sp_tokenizer **t, const sp_map *map, const char *dir, sp_error *err)
{
    sp_json *tokenizer_config = NULL, *generation_config = NULL, *config = NULL;
    sp_buf template = {0};
    sp_status status;
    SP_GOTO(done, status, parse_beside(&tokenizer_config, dir, "tokenizer_config.json", err));
    SP_GOTO(done, status, parse_beside(&generation_config, dir, "generation_config.json", err));
    SP_GOTO(done, status, parse_beside(&config, dir, "config.json", err));
    SP_GOTO(done, status, read_beside(&template, dir, "chat_template.jinja", err));
    sp_tokenizer_files files = {(const char *)map->data, map->len, tokenizer_config,
                                generation_config,       config,   template.len > 0 ? template.data : NULL};
    status = sp_tokenizer_from_json(t, &files, err);
done:
    sp_json_destroy(tokenizer_config);
    sp_json_destroy(generation_config);
    sp_json_destroy(config);
    sp_buf_clear(&template);
    return status;
}

static sp_status open_file(sp_tokenizer **t, const char *path, const char *dir, sp_error *err)
{
    sp_map map;
    SP_TRY(sp_map_open(&map, path, err));
    sp_status status;
    if (map.len >= 4 && memcmp(map.data, "GGUF", 4) == 0)
        status = open_gguf(t, &map, err);
    else if (map.len > SP_TOKENIZER_JSON_MAX)
        status = sp_fail(err, SP_E_LIMIT, "%s: neither GGUF nor a tokenizer.json of at most %zu bytes", path,
                         SP_TOKENIZER_JSON_MAX);
    else
        status = open_json(t, &map, dir, err);
    sp_map_close(&map);
    return status;
}

sp_status sp_tokenizer_open(sp_tokenizer **t, const char *path, sp_error *err)
{
    *t = NULL;
    bool is_dir = sp_file_is_dir(path);
    size_t n_dir = (size_t)(sp_path_base(path) - path);
    char *dir = is_dir ? sp_strdup(path) : n_dir > 0 ? sp_strndup(path, n_dir) : sp_strdup(".");
    char *file = is_dir ? sp_path_join(path, "tokenizer.json") : sp_strdup(path);
    sp_status status = dir && file ? open_file(t, file, dir, err) : sp_fail_nomem(err, "path", strlen(path));
    sp_free(dir);
    sp_free(file);
    return status;
}
