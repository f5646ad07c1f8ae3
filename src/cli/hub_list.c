/* SPDX-License-Identifier: MIT */
/* The hub's list of a repository's files, and the choice of those that make up a model. Everything in the
 * list comes from outside and is checked here. */
#include "cli/hub.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/text.h"

#define MAX_FILES 100000

/* A path that tries to leave its folder, as opposed to one that is merely of no use (".gitattributes"). */
static bool is_hostile(const char *path)
{
    if (path[0] == '/' || path[0] == '\0') return true;
    for (const unsigned char *p = (const unsigned char *)path; *p; p++)
        if (*p < 0x20 || *p == '\\' || *p == 0x7f) return true;
    for (const char *p = path;; p++) {
        size_t n = strcspn(p, "/");
        if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.')) return true;
        p += n;
        if (*p == '\0') return false;
    }
}

static bool is_sha256(const char *text)
{
    size_t n = strspn(text, "0123456789abcdef");
    return n == 64 && text[64] == '\0';
}

static sp_status parse_entry(const sp_json *entry, size_t i, sp_hub_files *files, sp_error *err)
{
    size_t len = 0;
    const char *type = sp_json_string(sp_json_get(entry, "type"), NULL);
    const char *path = sp_json_string(sp_json_get(entry, "path"), &len);
    int64_t size = sp_json_int(sp_json_get(entry, "size"), -1);
    const sp_json *lfs = sp_json_get(entry, "lfs");
    const char *sha256 = sp_json_string(sp_json_get(lfs, "oid"), NULL);
    if (!type || !path || strlen(path) != len)
        return sp_fail(err, SP_E_FORMAT, "file list: entry %zu has no type or path", i);
    if (is_hostile(path)) return sp_fail(err, SP_E_FORMAT, "file list: unsafe file name \"%.100s\"", path);
    if (strcmp(type, "file") != 0 || !sp_hub_path_is_safe(path)) return SP_OK;
    if (lfs && sp_json_int(sp_json_get(lfs, "size"), -1) >= 0)
        size = sp_json_int(sp_json_get(lfs, "size"), -1);
    if (size < 0) return sp_fail(err, SP_E_FORMAT, "file list: \"%.100s\" has no size", path);
    if (sha256 && !is_sha256(sha256))
        return sp_fail(err, SP_E_FORMAT, "file list: \"%.100s\" has a malformed SHA-256", path);
    if (files->n >= MAX_FILES) return sp_fail(err, SP_E_LIMIT, "file list: more than %d files", MAX_FILES);
    return sp_hub_files_add(files, path, (uint64_t)size, sha256, err);
}

sp_status sp_hub_parse_tree(const char *text, size_t len, sp_hub_files *files, sp_error *err)
{
    sp_json *root = NULL;
    sp_status status = sp_json_parse(text, len, &root, err);
    if (status != SP_OK) return sp_fail_prefix(err, status, "file list");
    if (!sp_json_is(root, SP_JSON_ARRAY))
        status = sp_fail(err, SP_E_FORMAT, "file list: expected a JSON array");
    for (size_t i = 0; status == SP_OK && i < sp_json_size(root); i++)
        status = parse_entry(sp_json_at(root, i), i, files, err);
    sp_json_destroy(root);
    return status;
}

/* "-00001-of-00003.gguf" at the end: shard and count; the length of what stands before it. */
static bool parse_shard(const char *path, size_t *stem, int *shard, int *count)
{
    size_t n = strlen(path);
    int used = 0;
    if (n < 20 || !sp_ends_with_ignoring_case(path, ".gguf")) return false;
    *stem = n - 20;
    return sscanf(path + *stem, "-%5d-of-%5d%n", shard, count, &used) == 2 && used == 15 && *shard > 0 &&
           *count > 0;
}

/* First file of a GGUF model: a single file or shard 1. */
static bool is_head(const char *path, size_t *stem)
{
    int shard = 0, count = 0;
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    if (!sp_ends_with_ignoring_case(path, ".gguf") || strncasecmp(base, "mmproj", 6) == 0 ||
        strcasestr(base, "imatrix"))
        return false;
    if (parse_shard(path, stem, &shard, &count)) return shard == 1;
    *stem = strlen(path) - 5;
    return true;
}

/* The name before the shard number ends with the quantisation, after a separator. */
static bool has_quant(const char *path, size_t stem, const char *quant)
{
    size_t n = strlen(quant);
    if (stem < n || strncasecmp(path + stem - n, quant, n) != 0) return false;
    return stem == n || strchr("-._/", path[stem - n - 1]) != NULL;
}

/* The shortest matching name, so that "IQ1_S" prefers "X-IQ1_S" to "X-UD-IQ1_S"; then the first in the
 * alphabet. */
static const sp_hub_file *find_head(const sp_hub_files *files, const char *quant)
{
    const sp_hub_file *best = NULL;
    for (size_t i = 0; i < files->n; i++) {
        const char *path = files->items[i].path;
        size_t stem = 0;
        if (!is_head(path, &stem) || (quant && !has_quant(path, stem, quant))) continue;
        size_t n = strlen(path), m = best ? strlen(best->path) : 0;
        if (!best || n < m || (n == m && strcmp(path, best->path) < 0)) best = &files->items[i];
    }
    return best;
}

static size_t count_heads(const sp_hub_files *files)
{
    size_t n = 0, stem;
    for (size_t i = 0; i < files->n; i++) n += is_head(files->items[i].path, &stem);
    return n;
}

static const sp_hub_file *find_path(const sp_hub_files *files, const char *path)
{
    for (size_t i = 0; i < files->n; i++)
        if (strcmp(files->items[i].path, path) == 0) return &files->items[i];
    return NULL;
}

static sp_status add_gguf(const sp_hub_files *files, const sp_hub_file *head, sp_hub_files *chosen,
                          sp_error *err)
{
    size_t stem = 0;
    int shard = 0, count = 0;
    if (!parse_shard(head->path, &stem, &shard, &count))
        return sp_hub_files_add(chosen, head->path, head->size, head->sha256, err);
    for (shard = 1; shard <= count; shard++) {
        char path[1024];
        snprintf(path, sizeof path, "%.*s-%05d-of-%05d%s", (int)stem, head->path, shard, count,
                 head->path + strlen(head->path) - 5);
        const sp_hub_file *file = find_path(files, path);
        if (!file)
            return sp_fail(err, SP_E_FORMAT, "file list: shard %d of %d of \"%.200s\" is missing", shard,
                           count, head->path);
        SP_TRY(sp_hub_files_add(chosen, file->path, file->size, file->sha256, err));
    }
    return SP_OK;
}

/* Files of a Hugging Face directory that the engine reads, all in its first level. */
static sp_status add_directory(const sp_hub_files *files, sp_hub_files *chosen, sp_error *err)
{
    static const char *const names[] = {
        "config.json",     "generation_config.json", "tokenizer.json",          "tokenizer_config.json",
        "tokenizer.model", "chat_template.jinja",    "special_tokens_map.json", NULL};
    bool has_weights = false;
    if (!find_path(files, "config.json"))
        return sp_fail(err, SP_E_NOT_FOUND, "the repository holds neither GGUF files nor config.json");
    for (size_t i = 0; i < files->n; i++) {
        const sp_hub_file *file = &files->items[i];
        bool weights = sp_ends_with_ignoring_case(file->path, ".safetensors") &&
                       strncmp(file->path, "consolidated", 12) != 0;
        bool wanted = weights || sp_ends_with_ignoring_case(file->path, ".safetensors.index.json");
        for (size_t k = 0; names[k]; k++) wanted = wanted || strcmp(file->path, names[k]) == 0;
        if (!wanted || strchr(file->path, '/')) continue;
        has_weights = has_weights || weights;
        SP_TRY(sp_hub_files_add(chosen, file->path, file->size, file->sha256, err));
    }
    return has_weights
               ? SP_OK
               : sp_fail(err, SP_E_NOT_FOUND, "the repository holds no weights as GGUF or safetensors");
}

static sp_status fail_no_quant(const sp_hub_files *files, const char *quant, sp_error *err)
{
    char list[220] = "";
    size_t used = 0, stem = 0;
    for (size_t i = 0; i < files->n && used + 40 < sizeof list; i++) {
        const char *path = files->items[i].path;
        if (!is_head(path, &stem)) continue;
        const char *base = strrchr(path, '/');
        base = base ? base + 1 : path;
        int n = (int)(stem - (size_t)(base - path));
        int shown = n > 36 ? 36 : n; /* the end of a name holds the quantisation */
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s%.*s", used ? ", " : "",
                                 shown < n ? "..." : "", shown, base + n - shown);
    }
    return sp_fail(err, SP_E_NOT_FOUND, "%s%s: no such file; there are %s",
                   quant[0] ? "quantisation " : "default quantisation", quant, list);
}

sp_status sp_hub_choose(const sp_hub_files *files, const char *quant, sp_hub_files *chosen, char label[48],
                        const char **model, sp_error *err)
{
    const sp_hub_file *head = NULL;
    const char *found = quant;
    if (count_heads(files) == 0) {
        if (quant[0])
            return sp_fail(err, SP_E_NOT_FOUND, "quantisation %s: the repository holds no GGUF files", quant);
        snprintf(label, 48, "hf");
        *model = ".";
        return add_directory(files, chosen, err);
    }
    if (quant[0]) head = find_head(files, quant);
    for (size_t i = 0; !quant[0] && !head && sp_hub_default_quants[i]; i++) {
        found = sp_hub_default_quants[i];
        head = find_head(files, found);
    }
    if (!head && !quant[0] && count_heads(files) == 1) {
        found = "gguf";
        head = find_head(files, NULL);
    }
    if (!head) return fail_no_quant(files, quant, err);
    size_t i = 0;
    for (; found[i] && i < 47; i++) label[i] = (char)toupper((unsigned char)found[i]);
    label[i] = '\0';
    SP_TRY(add_gguf(files, head, chosen, err));
    *model = head->path;
    return SP_OK;
}
