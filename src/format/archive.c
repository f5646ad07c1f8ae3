/* SPDX-License-Identifier: MIT */
/* Archives: opening, GGUF shards, look-up. Hugging Face directories are in archive_hf.c. Start at
 * sp_archive_open(). Split GGUF: the names and the keys split.no, split.count, split.tensors.count are those
 * of llama.cpp's gguf-split. */
#include "format/archive_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SPLIT_SUFFIX_BYTES 20 /* "-00001-of-00003.gguf" */
#define MAX_SPLITS 99999

sp_status sp_archive_enter(sp_archive *archive, sp_error *err)
{
    size_t value = archive->n_entries;
    const sp_entry *e = &archive->entries[value];
    if (!sp_names_add(&archive->names, e->name, strlen(e->name), &value)) {
        char quoted[SP_QUOTE_CAP];
        return sp_fail(err, SP_E_FORMAT, "tensor %s is in two files, %s and %s",
                       sp_name_quote(quoted, e->name, strlen(e->name)),
                       sp_path_base(archive->files[archive->entries[value].file].path),
                       sp_path_base(archive->files[e->file].path));
    }
    archive->n_entries++;
    return SP_OK;
}

/* Parse "<prefix>-00002-of-00003.gguf"; false if the name has another form. */
static bool parse_split_name(const char *path, size_t *prefix_len, int *no, int *count)
{
    size_t n = strlen(path);
    if (n <= SPLIT_SUFFIX_BYTES) return false;
    const char *s = path + n - SPLIT_SUFFIX_BYTES;
    int a = 0, b = 0;
    for (int i = 1; i <= 5; i++) {
        if (s[i] < '0' || s[i] > '9' || s[i + 9] < '0' || s[i + 9] > '9') return false;
        a = 10 * a + (s[i] - '0');
        b = 10 * b + (s[i + 9] - '0');
    }
    if (s[0] != '-' || strncmp(s + 6, "-of-", 4) != 0 || strcmp(s + 15, ".gguf") != 0) return false;
    *prefix_len = n - SPLIT_SUFFIX_BYTES;
    *no = a;
    *count = b;
    return true;
}

static char *format_split_name(const char *path, size_t prefix_len, int no, int count)
{
    char *name = sp_malloc(prefix_len + SPLIT_SUFFIX_BYTES + 16);
    if (!name) return NULL;
    snprintf(name, prefix_len + SPLIT_SUFFIX_BYTES + 16, "%.*s-%05d-of-%05d.gguf", (int)prefix_len, path, no,
             count);
    return name;
}

static sp_status open_gguf_file(sp_archive_part *file, sp_error *err)
{
    SP_TRY(sp_map_open(&file->map, file->path, err));
    sp_status status = sp_gguf_parse(&file->gguf, file->map.data, file->map.len, err);
    if (status != SP_OK) return sp_fail_prefix(err, status, "%s", sp_path_base(file->path));
    return SP_OK;
}

/* What the split keys and the file's name say about the file that the user named. */
static sp_status check_first(const sp_archive *archive, int64_t *n_splits, size_t *prefix_len, sp_error *err)
{
    const sp_gguf *gguf = archive->files[0].gguf;
    const char *base = sp_path_base(archive->path);
    int64_t no = 0;
    *n_splits = 1;
    sp_gguf_int(gguf, "split.count", n_splits);
    sp_gguf_int(gguf, "split.no", &no);
    if (*n_splits <= 1 && no == 0) return SP_OK;
    if (*n_splits < 1 || *n_splits > MAX_SPLITS || no < 0 || no >= *n_splits) {
        return sp_fail(err, SP_E_FORMAT,
                       "%s: split.no %" PRId64 " of split.count %" PRId64 " is out of range", base, no,
                       *n_splits);
    }
    int name_no, name_count;
    bool named = parse_split_name(archive->path, prefix_len, &name_no, &name_count);
    if (!named || name_count != *n_splits || name_no != no + 1) {
        return sp_fail(err, SP_E_FORMAT,
                       "%s: the file is shard %" PRId64 " of %" PRId64
                       ", so its name must end in \"-%05d-of-%05d.gguf\"",
                       base, no + 1, *n_splits, (int)no + 1, (int)*n_splits);
    }
    if (no == 0) return SP_OK;
    char *first = format_split_name(archive->path, *prefix_len, 1, (int)*n_splits);
    if (!first) return sp_fail_nomem(err, "file name", *prefix_len);
    sp_status status =
        sp_fail(err, SP_E_ARGUMENT, "%s is shard %" PRId64 " of %" PRId64 "; open the first, \"%s\"", base,
                no + 1, *n_splits, first);
    sp_free(first);
    return status;
}

static sp_status check_shard(const sp_archive *archive, size_t i, sp_error *err)
{
    const sp_gguf *first = archive->files[0].gguf, *gguf = archive->files[i].gguf;
    const char *base = sp_path_base(archive->files[i].path);
    int64_t no = -1, count = -1;
    sp_gguf_int(gguf, "split.no", &no);
    sp_gguf_int(gguf, "split.count", &count);
    if (no != (int64_t)i || count != (int64_t)archive->n_files) {
        return sp_fail(err, SP_E_FORMAT,
                       "%s: split.no %" PRId64 " and split.count %" PRId64 ", expected %zu and %zu", base, no,
                       count, i, archive->n_files);
    }
    sp_gguf_string a, b;
    if (sp_gguf_str(gguf, "general.architecture", &b) &&
        (!sp_gguf_str(first, "general.architecture", &a) || a.len != b.len ||
         memcmp(a.data, b.data, (size_t)a.len))) {
        return sp_fail(err, SP_E_FORMAT,
                       "%s: belongs to another model than the first shard (architecture %.*s)", base,
                       (int)(b.len < 32 ? b.len : 32), b.data);
    }
    return SP_OK;
}

static sp_status open_shards(sp_archive *archive, int64_t n_splits, size_t prefix_len, sp_error *err)
{
    sp_archive_part *files = sp_realloc_array(archive->files, (size_t)n_splits, sizeof *files);
    if (!files) return sp_fail_nomem(err, "shard table", (uint64_t)n_splits * sizeof *files);
    memset(files + 1, 0, ((size_t)n_splits - 1) * sizeof *files);
    archive->files = files;
    archive->n_files = (size_t)n_splits;
    for (size_t i = 1; i < archive->n_files; i++) {
        files[i].path = format_split_name(archive->path, prefix_len, (int)i + 1, (int)n_splits);
        if (!files[i].path) return sp_fail_nomem(err, "file name", prefix_len);
        if (!sp_file_exists(files[i].path)) {
            return sp_fail(err, SP_E_FORMAT, "shard %zu of %" PRId64 " is missing: \"%s\"", i + 1, n_splits,
                           files[i].path);
        }
        SP_TRY(open_gguf_file(&files[i], err));
        SP_TRY(check_shard(archive, i, err));
    }
    return SP_OK;
}

static sp_status enter_tensor(sp_archive *archive, size_t file, const sp_gguf_tensor *t, sp_error *err)
{
    char *name = sp_arena_alloc(archive->arena, (size_t)t->name.len + 1);
    if (!name) return sp_fail_nomem(err, "tensor name", t->name.len);
    memcpy(name, t->name.data, (size_t)t->name.len);
    name[t->name.len] = 0;
    sp_entry *e = &archive->entries[archive->n_entries];
    e->name = name;
    e->n_bytes = t->n_bytes;
    e->file_offset = t->offset;
    e->file = (int)file;
    e->tensor.dtype = t->dtype;
    e->tensor.n_dims = t->n_dims;
    memcpy(e->tensor.shape, t->shape, sizeof e->tensor.shape);
    e->tensor.row_bytes = sp_dtype_row_bytes(t->dtype, (size_t)t->shape[t->n_dims - 1]);
    e->tensor.data = (void *)(uintptr_t)(archive->files[file].map.data + t->offset);
    return sp_archive_enter(archive, err);
}

static sp_status enter_tensors(sp_archive *archive, sp_error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < archive->n_files; i++) total += sp_gguf_tensor_count(archive->files[i].gguf);
    int64_t declared = 0;
    if (archive->n_files > 1 && sp_gguf_int(archive->files[0].gguf, "split.tensors.count", &declared) &&
        declared != (int64_t)total) {
        return sp_fail(err, SP_E_FORMAT,
                       "%s: split.tensors.count is %" PRId64 ", the shards hold %zu tensors",
                       sp_path_base(archive->path), declared, total);
    }
    archive->entries = sp_calloc(total, sizeof *archive->entries);
    if (!archive->entries)
        return sp_fail_nomem(err, "tensor table", (uint64_t)total * sizeof *archive->entries);
    SP_TRY(sp_names_init(&archive->names, total, err));
    for (size_t i = 0; i < archive->n_files; i++) {
        const sp_gguf *gguf = archive->files[i].gguf;
        for (size_t k = 0; k < sp_gguf_tensor_count(gguf); k++) {
            SP_TRY(enter_tensor(archive, i, sp_gguf_tensor_at(gguf, k), err));
        }
    }
    return SP_OK;
}

static sp_status open_gguf(sp_archive *archive, sp_error *err)
{
    archive->container = SP_CONTAINER_GGUF;
    archive->files = sp_calloc(1, sizeof *archive->files);
    if (!archive->files) return sp_fail_nomem(err, "shard table", sizeof *archive->files);
    archive->n_files = 1;
    archive->files[0].path = sp_strdup(archive->path);
    if (!archive->files[0].path) return sp_fail_nomem(err, "file name", strlen(archive->path));
    SP_TRY(open_gguf_file(&archive->files[0], err));
    int64_t n_splits = 1;
    size_t prefix_len = 0;
    SP_TRY(check_first(archive, &n_splits, &prefix_len, err));
    if (n_splits > 1) SP_TRY(open_shards(archive, n_splits, prefix_len, err));
    return enter_tensors(archive, err);
}

sp_status sp_archive_open(sp_archive **archive, const char *path, sp_error *err)
{
    *archive = NULL;
    if (!sp_file_exists(path)) return sp_fail(err, SP_E_NOT_FOUND, "\"%s\" does not exist", path);
    sp_archive *a = sp_calloc(1, sizeof *a);
    if (!a) return sp_fail_nomem(err, "archive", sizeof *a);
    sp_status status = SP_OK;
    a->path = sp_strdup(path);
    a->arena = sp_arena_create((size_t)1 << 16);
    if (!a->path || !a->arena) {
        status = sp_fail_nomem(err, "archive", (uint64_t)1 << 16);
        goto done;
    }
    SP_GOTO(done, status, sp_file_is_dir(path) ? sp_archive_open_hf(a, err) : open_gguf(a, err));
    *archive = a;
    a = NULL;
done:
    sp_archive_close(a);
    return status;
}

sp_status sp_archive_create(sp_archive **archive, size_t capacity, sp_error *err)
{
    *archive = NULL;
    sp_archive *a = sp_calloc(1, sizeof *a);
    if (!a) return sp_fail_nomem(err, "archive", sizeof *a);
    a->container = SP_CONTAINER_HF;
    a->capacity = capacity;
    a->path = sp_strdup("");
    a->arena = sp_arena_create((size_t)1 << 16);
    a->entries = sp_calloc(capacity, sizeof *a->entries);
    bool complete = a->path && a->arena && a->entries;
    sp_status status = complete ? sp_names_init(&a->names, capacity, err)
                                : sp_fail_nomem(err, "archive", capacity * sizeof *a->entries);
    if (status == SP_OK)
        *archive = a;
    else
        sp_archive_close(a);
    return status;
}

sp_status sp_archive_add(sp_archive *archive, const char *name, const sp_tensor *tensor, sp_error *err)
{
    size_t n = strlen(name) + 1, value = archive->n_entries;
    char *copy = sp_arena_alloc(archive->arena, n);
    if (!copy) return sp_fail_nomem(err, "tensor name", n);
    memcpy(copy, name, n);
    if (value == archive->capacity)
        return sp_fail(err, SP_E_LIMIT, "archive: more than %zu tensors", archive->capacity);
    if (!sp_names_add(&archive->names, copy, n - 1, &value))
        return sp_fail(err, SP_E_FORMAT, "archive: tensor \"%s\" is there already", name);
    archive->entries[archive->n_entries++] = (sp_entry){
        .name = copy, .tensor = *tensor, .n_bytes = (uint64_t)sp_tensor_rows(tensor) * tensor->row_bytes};
    return SP_OK;
}

void sp_archive_close(sp_archive *archive)
{
    if (!archive) return;
    for (size_t i = 0; i < archive->n_files; i++) {
        sp_gguf_destroy(archive->files[i].gguf);
        sp_safetensors_destroy(archive->files[i].st);
        sp_map_close(&archive->files[i].map);
        sp_pages_unmap(archive->files[i].copy, archive->files[i].copy_bytes);
        sp_free(archive->files[i].path);
    }
    sp_free(archive->files);
    sp_free(archive->entries);
    sp_names_clear(&archive->names);
    sp_arena_destroy(archive->arena);
    sp_json_destroy(archive->config);
    sp_json_destroy(archive->generation_config);
    sp_json_destroy(archive->tokenizer_config);
    sp_json_destroy(archive->index);
    sp_free(archive->path);
    sp_free(archive);
}

sp_container sp_archive_container(const sp_archive *archive)
{
    return archive->container;
}

size_t sp_archive_count(const sp_archive *archive)
{
    return archive->n_entries;
}

const sp_entry *sp_archive_at(const sp_archive *archive, size_t i)
{
    return i < archive->n_entries ? &archive->entries[i] : NULL;
}

void sp_archive_move(sp_archive *archive, size_t i, void *data)
{
    if (i < archive->n_entries) archive->entries[i].tensor.data = data;
}

const sp_entry *sp_archive_find(const sp_archive *archive, const char *name)
{
    size_t i;
    return sp_names_find(&archive->names, name, strlen(name), &i) ? &archive->entries[i] : NULL;
}

size_t sp_archive_file_count(const sp_archive *archive)
{
    return archive->n_files;
}

const char *sp_archive_file(const sp_archive *archive, size_t i)
{
    return i < archive->n_files ? archive->files[i].path : NULL;
}

const sp_gguf *sp_archive_gguf(const sp_archive *archive)
{
    return archive->container == SP_CONTAINER_GGUF ? archive->files[0].gguf : NULL;
}

const sp_json *sp_archive_config(const sp_archive *archive)
{
    return archive->config;
}

const sp_json *sp_archive_generation_config(const sp_archive *archive)
{
    return archive->generation_config;
}

const sp_json *sp_archive_tokenizer_config(const sp_archive *archive)
{
    return archive->tokenizer_config;
}

const char *sp_archive_path(const sp_archive *archive)
{
    return archive->path;
}

sp_sampling_hint sp_archive_sampling(const sp_archive *archive)
{
    sp_sampling_hint hint = {-1.0, -1.0};
    const sp_gguf *gguf = sp_archive_gguf(archive);
    if (gguf) {
        sp_gguf_real(gguf, "general.sampling.temp", &hint.temperature);
        sp_gguf_real(gguf, "general.sampling.top_p", &hint.top_p);
        return hint;
    }
    const sp_json *config = archive->generation_config;
    hint.temperature = sp_json_real(sp_json_get(config, "temperature"), -1.0);
    hint.top_p = sp_json_real(sp_json_get(config, "top_p"), -1.0);
    if (!sp_json_bool(sp_json_get(config, "do_sample"), true)) hint.temperature = 0.0;
    return hint;
}
