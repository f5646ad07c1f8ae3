/* SPDX-License-Identifier: MIT */
/* Names of models, the cache folder, and the lists of what has been pulled. No network here: see download.c.
 */
#include "cli/hub.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/args.h"

const sp_hub_name sp_hub_names[] = {
    {"deepseek-r1-distill-qwen-1.5b", "unsloth/DeepSeek-R1-Distill-Qwen-1.5B-GGUF"},
    {"deepseek-r1-distill-qwen-7b", "unsloth/DeepSeek-R1-Distill-Qwen-7B-GGUF"},
    {"deepseek-r1-distill-qwen-14b", "unsloth/DeepSeek-R1-Distill-Qwen-14B-GGUF"},
    {"deepseek-r1-distill-qwen-32b", "unsloth/DeepSeek-R1-Distill-Qwen-32B-GGUF"},
    {"deepseek-r1-distill-llama-8b", "unsloth/DeepSeek-R1-Distill-Llama-8B-GGUF"},
    {"deepseek-r1-distill-llama-70b", "unsloth/DeepSeek-R1-Distill-Llama-70B-GGUF"},
    {"deepseek-r1-0528-qwen3-8b", "unsloth/DeepSeek-R1-0528-Qwen3-8B-GGUF"},
    {"deepseek-r1", "unsloth/DeepSeek-R1-GGUF"},
    {"deepseek-r1-0528", "unsloth/DeepSeek-R1-0528-GGUF"},
    {"deepseek-r1-zero", "unsloth/DeepSeek-R1-Zero-GGUF"},
    {"deepseek-v3", "unsloth/DeepSeek-V3-GGUF"},
    {"deepseek-v3-0324", "unsloth/DeepSeek-V3-0324-GGUF"},
    {"deepseek-v3.1", "unsloth/DeepSeek-V3.1-GGUF"},
    {"deepseek-v2.5", "bartowski/DeepSeek-V2.5-GGUF"},
    {"deepseek-v2-lite", "deepseek-ai/DeepSeek-V2-Lite"},
    {"deepseek-v2-lite-chat", "deepseek-ai/DeepSeek-V2-Lite-Chat"},
    {"deepseek-coder-v2-lite-instruct", "bartowski/DeepSeek-Coder-V2-Lite-Instruct-GGUF"},
    {"deepseek-moe-16b-chat", "deepseek-ai/deepseek-moe-16b-chat"},
    {"deepseek-llm-7b-chat", "TheBloke/deepseek-llm-7B-chat-GGUF"},
    {"deepseek-llm-67b-chat", "TheBloke/deepseek-llm-67b-chat-GGUF"},
    {"deepseek-coder-1.3b-instruct", "TheBloke/deepseek-coder-1.3b-instruct-GGUF"},
    {"deepseek-coder-6.7b-instruct", "TheBloke/deepseek-coder-6.7B-instruct-GGUF"},
    {"deepseek-coder-33b-instruct", "TheBloke/deepseek-coder-33B-instruct-GGUF"},
    {NULL, NULL},
};

const char *const sp_hub_default_quants[] = {"Q4_K_M", "UD-Q4_K_XL", "Q4_K_S", "Q4_0",   "Q5_K_M",
                                             "Q6_K",   "Q8_0",       "IQ4_XS", "Q3_K_M", "Q2_K",
                                             "BF16",   "F16",        "F32",    NULL};

/* Letters, digits and "._-", not starting with a dot. */
static bool is_word(const char *text, size_t len)
{
    if (len == 0 || text[0] == '.' || text[0] == '-') return false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '.' &&
            c != '_' && c != '-')
            return false;
    }
    return true;
}

static bool copy_word(char *out, size_t cap, const char *text, size_t len)
{
    if (len >= cap || !is_word(text, len)) return false;
    memcpy(out, text, len);
    out[len] = '\0';
    return true;
}

bool sp_hub_parse(const char *name, sp_hub_ref *ref)
{
    memset(ref, 0, sizeof *ref);
    size_t n = strcspn(name, "@:");
    const char *rest = name + n;
    snprintf(ref->revision, sizeof ref->revision, "main");
    if (*rest == '@') {
        size_t len = strcspn(rest + 1, ":");
        if (!copy_word(ref->revision, sizeof ref->revision, rest + 1, len)) return false;
        rest += 1 + len;
    }
    if (*rest == ':' && !copy_word(ref->quant, sizeof ref->quant, rest + 1, strlen(rest + 1))) return false;
    for (size_t i = 0; sp_hub_names[i].name; i++) {
        if (strlen(sp_hub_names[i].name) != n || strncasecmp(sp_hub_names[i].name, name, n) != 0) continue;
        snprintf(ref->repo, sizeof ref->repo, "%s", sp_hub_names[i].repo);
        return true;
    }
    const char *slash = memchr(name, '/', n);
    if (!slash || n >= sizeof ref->repo) return false;
    if (!is_word(name, (size_t)(slash - name)) || !is_word(slash + 1, n - (size_t)(slash + 1 - name)))
        return false;
    memcpy(ref->repo, name, n);
    return true;
}

const char *sp_hub_nearest(const char *name)
{
    const char *nearest = NULL;
    size_t best = 5;
    for (size_t i = 0; sp_hub_names[i].name; i++) {
        size_t d = sp_word_distance(name, sp_hub_names[i].name);
        if (d < best) {
            best = d;
            nearest = sp_hub_names[i].name;
        }
    }
    return nearest;
}

sp_status sp_hub_dir(const sp_hub_ref *ref, char **dir, sp_error *err)
{
    sp_buf buf = {NULL, 0, 0};
    const char *own = getenv("SPUTNIK_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    sp_status status;
    *dir = NULL;
    if (own && own[0])
        status = sp_buf_puts(&buf, own, err);
    else if (xdg && xdg[0] == '/')
        status = sp_buf_printf(&buf, err, "%s/sputnik", xdg);
    else if (home && home[0] == '/')
        status = sp_buf_printf(&buf, err, "%s/.cache/sputnik", home);
    else
        return sp_fail(err, SP_E_NOT_FOUND,
                       "no cache directory: SPUTNIK_CACHE, XDG_CACHE_HOME and HOME are unset");
    const char *slash = strchr(ref->repo, '/');
    if (status == SP_OK)
        status = sp_buf_printf(&buf, err, "/models/%.*s--%s", (int)(slash - ref->repo), ref->repo, slash + 1);
    if (status == SP_OK && strcmp(ref->revision, "main") != 0)
        status = sp_buf_printf(&buf, err, "@%s", ref->revision);
    if (status == SP_OK)
        *dir = buf.data;
    else
        sp_buf_clear(&buf);
    return status;
}

void sp_hub_files_clear(sp_hub_files *files)
{
    for (size_t i = 0; i < files->n; i++) sp_free(files->items[i].path);
    sp_free(files->items);
    files->items = NULL;
    files->n = 0;
}

sp_status sp_hub_files_add(sp_hub_files *files, const char *path, uint64_t size, const char *sha256,
                           sp_error *err)
{
    sp_hub_file *items = sp_realloc_array(files->items, files->n + 1, sizeof *items);
    if (!items) return sp_fail_nomem(err, "list of files", (files->n + 1) * sizeof *items);
    files->items = items;
    sp_hub_file *file = &items[files->n];
    memset(file, 0, sizeof *file);
    file->path = sp_strdup(path);
    if (!file->path) return sp_fail_nomem(err, "file name", strlen(path) + 1);
    file->size = size;
    if (sha256 && strlen(sha256) == 64) memcpy(file->sha256, sha256, 65);
    files->n++;
    return SP_OK;
}

bool sp_hub_path_is_safe(const char *path)
{
    if (sp_ends_with_ignoring_case(path, ".part") || sp_ends_with_ignoring_case(path, ".part.etag") ||
        sp_ends_with_ignoring_case(path, ".pulled") || sp_ends_with_ignoring_case(path, ".lock"))
        return false;
    for (const unsigned char *p = (const unsigned char *)path; *p; p++)
        if (*p < 0x20 || *p == '\\' || *p == 0x7f) return false;
    for (const char *p = path;; p++) {
        size_t n = strcspn(p, "/");
        if (n == 0 || n > 200 || p[0] == '.') return false;
        p += n;
        if (*p == '\0') return true;
    }
}

static sp_status parse_list_line(char *line, sp_hub_files *files, char **model, sp_error *err)
{
    char sha256[65], path[1024];
    unsigned long long size = 0;
    if (strncmp(line, "model ", 6) == 0) {
        if (strcmp(line + 6, ".") != 0 && !sp_hub_path_is_safe(line + 6)) return SP_E_FORMAT;
        sp_free(*model);
        *model = sp_strdup(line + 6);
        return *model ? SP_OK : sp_fail_nomem(err, "file name", strlen(line));
    }
    if (sscanf(line, "%64s %llu %1023[^\n]", sha256, &size, path) != 3 || !sp_hub_path_is_safe(path))
        return SP_E_FORMAT;
    return sp_hub_files_add(files, path, size, sha256, err);
}

sp_status sp_hub_read_list(const char *dir, const char *label, sp_hub_files *files, char **model,
                           sp_error *err)
{
    sp_buf name = {NULL, 0, 0}, text = {NULL, 0, 0};
    sp_status status;
    *model = NULL;
    SP_GOTO(done, status, sp_buf_printf(&name, err, "%s/%s.pulled", dir, label));
    if (!sp_file_exists(name.data)) {
        status = sp_fail(err, SP_E_NOT_FOUND, "%s: not there", name.data);
        goto done;
    }
    SP_GOTO(done, status, sp_file_read(&text, name.data, 1 << 20, err));
    char *save = NULL;
    char *line = text.data ? strtok_r(text.data, "\n", &save) : NULL;
    if (!line || strcmp(line, "sputnik-pull 1") != 0) status = SP_E_FORMAT;
    while (status == SP_OK && (line = strtok_r(NULL, "\n", &save)) != NULL)
        status = parse_list_line(line, files, model, err);
    if (status == SP_OK && !*model) status = SP_E_FORMAT;
    if (status == SP_E_FORMAT) sp_fail(err, status, "%s: not a list of pulled files", name.data);
done:
    sp_buf_clear(&name);
    sp_buf_clear(&text);
    if (status != SP_OK) {
        sp_free(*model);
        *model = NULL;
    }
    return status;
}

sp_status sp_hub_write_list(const char *dir, const char *label, const sp_hub_files *files, const char *model,
                            sp_error *err)
{
    sp_buf name = {NULL, 0, 0}, text = {NULL, 0, 0};
    sp_status status;
    SP_GOTO(done, status, sp_buf_printf(&name, err, "%s/%s.pulled", dir, label));
    SP_GOTO(done, status, sp_buf_printf(&text, err, "sputnik-pull 1\nmodel %s\n", model));
    for (size_t i = 0; i < files->n; i++) {
        const sp_hub_file *file = &files->items[i];
        SP_GOTO(done, status,
                sp_buf_printf(&text, err, "%s %llu %s\n", file->sha256[0] ? file->sha256 : "-",
                              (unsigned long long)file->size, file->path));
    }
    status = sp_file_write(name.data, &text, err);
done:
    sp_buf_clear(&name);
    sp_buf_clear(&text);
    return status;
}

/* The list of this label if it is complete: every file is there with its size. */
static sp_status find_label(const char *dir, const char *label, char **path)
{
    sp_hub_files files = {NULL, 0};
    char *model = NULL;
    sp_status status = sp_hub_read_list(dir, label, &files, &model, NULL);
    for (size_t i = 0; status == SP_OK && i < files.n; i++) {
        char *file = sp_path_join(dir, files.items[i].path);
        uint64_t size = 0;
        if (!file)
            status = SP_E_NOMEM;
        else if (sp_file_size(file, &size, NULL) != SP_OK || size != files.items[i].size)
            status = SP_E_NOT_FOUND;
        sp_free(file);
    }
    if (status == SP_OK) {
        *path = strcmp(model, ".") == 0 ? sp_strdup(dir) : sp_path_join(dir, model);
        if (!*path) status = SP_E_NOMEM;
    }
    sp_free(model);
    sp_hub_files_clear(&files);
    return status;
}

/* Label of a file "LABEL.pulled" in the folder that matches `quant` (any if empty) and comes first in the
 * alphabet. */
static bool find_first_label(const char *dir, const char *quant, char label[48])
{
    DIR *folder = opendir(dir);
    if (!folder) return false;
    label[0] = '\0';
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        size_t n = strlen(entry->d_name);
        if (n <= 7 || n >= 48 || strcmp(entry->d_name + n - 7, ".pulled") != 0) continue;
        if (quant[0] && (strlen(quant) != n - 7 || strncasecmp(quant, entry->d_name, n - 7) != 0)) continue;
        if (label[0] && strncmp(entry->d_name, label, n - 7) > 0) continue;
        memcpy(label, entry->d_name, n - 7);
        label[n - 7] = '\0';
    }
    closedir(folder);
    return label[0] != '\0';
}

sp_status sp_hub_find(const sp_hub_ref *ref, char **path, sp_error *err)
{
    char *dir = NULL;
    char label[48];
    sp_status status = SP_E_NOT_FOUND;
    *path = NULL;
    SP_TRY(sp_hub_dir(ref, &dir, err));
    for (size_t i = 0; !ref->quant[0] && status == SP_E_NOT_FOUND && sp_hub_default_quants[i]; i++)
        status = find_label(dir, sp_hub_default_quants[i], path);
    if (status == SP_E_NOT_FOUND && find_first_label(dir, ref->quant, label))
        status = find_label(dir, label, path);
    sp_free(dir);
    if (status != SP_OK)
        return sp_fail(err, status, "%s%s%s is not in the cache", ref->repo, ref->quant[0] ? ":" : "",
                       ref->quant);
    return SP_OK;
}
