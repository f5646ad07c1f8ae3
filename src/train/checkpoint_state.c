/* SPDX-License-Identifier: MIT */
/* training.json: the state of a run, and size and SHA-256 of every file of its checkpoint. Its own text ends with the SHA-256 of all
 * before it. Start at sp_checkpoint_seal() and sp_checkpoint_verify(). */
#include "train/checkpoint_parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "base/sha256.h"
#include "model/hf_dir.h"

#define VERSION 1
#define MAX_STATE_BYTES ((size_t)1 << 20)
#define PIECE_BYTES ((size_t)1 << 20)

static const char sum_key[] = ",\n  \"sum\": \"";

static void hash_bytes(const void *data, size_t n, char hex[65])
{
    sp_sha256 sha;
    uint8_t digest[32];
    sp_sha256_init(&sha);
    sp_sha256_add(&sha, data, n);
    sp_sha256_end(&sha, digest);
    sp_sha256_hex(digest, hex);
}

/* Read in pieces, not mapped: a mapping's pages would count as the run's memory. */
static sp_status hash_stream(FILE *file, const char *path, uint64_t *n_bytes, char hex[65], sp_error *err)
{
    sp_sha256 sha;
    uint8_t digest[32], *piece = sp_malloc(PIECE_BYTES);
    if (!piece) return sp_fail_nomem(err, "piece of a file", PIECE_BYTES);
    sp_sha256_init(&sha);
    *n_bytes = 0;
    for (size_t n; (n = fread(piece, 1, PIECE_BYTES, file)) > 0; *n_bytes += n) sp_sha256_add(&sha, piece, n);
    sp_sha256_end(&sha, digest);
    sp_sha256_hex(digest, hex);
    sp_free(piece);
    return ferror(file) ? sp_fail(err, SP_E_IO, "cannot read \"%s\"", path) : SP_OK;
}

static sp_status hash_file(const char *dir, const char *name, uint64_t *n_bytes, char hex[65], sp_error *err)
{
    char *path = sp_path_join(dir, name);
    if (!path) return sp_fail_nomem(err, "path", strlen(name));
    FILE *file = fopen(path, "rbe");
    sp_status status =
        file ? hash_stream(file, path, n_bytes, hex, err) : sp_fail_errno(err, "cannot open", path);
    if (file) fclose(file);
    sp_free(path);
    return status;
}

/* --- writing -------------------------------------------------------------------------------------------- */

static double or_zero(double x)
{
    return isfinite(x) ? x : 0.0;
}

static sp_status put_state(sp_buf *json, const sp_train_state *s, sp_error *err)
{
    return sp_buf_printf(json, err,
                         "{\n  \"version\": %d,\n  \"step\": %" PRId64 ",\n  \"tokens\": %" PRId64
                         ",\n  \"seed\": \"%" PRIu64 "\",\n  \"fingerprint\": \"%016" PRIx64
                         "\",\n  \"loss_mean\": %.17g,\n  \"loss_square\": %.17g,\n  \"seconds\": %.17g,"
                         "\n  \"n_ranks\": %d,\n  \"files\": {",
                         VERSION, s->step, s->tokens, s->seed, s->fingerprint, or_zero(s->loss_mean),
                         or_zero(s->loss_square), or_zero(s->seconds), (int)s->n_ranks);
}

static sp_status put_files(sp_buf *json, const char *dir, sp_error *err)
{
    sp_names_list list = {NULL, 0, 0};
    uint64_t n_bytes;
    char hex[65];
    sp_status status = sp_dir_list(&list, dir, err);
    for (size_t i = 0; status == SP_OK && i < list.n; i++) {
        const char *name = list.names[i];
        SP_GOTO(done, status, hash_file(dir, name, &n_bytes, hex, err));
        SP_GOTO(done, status, sp_buf_puts(json, i ? ",\n    " : "\n    ", err));
        SP_GOTO(done, status, sp_json_put_string(json, name, strlen(name), err));
        status = sp_buf_printf(json, err, ": {\"bytes\": %" PRIu64 ", \"sha256\": \"%s\"}", n_bytes, hex);
    }
    if (status == SP_OK) status = sp_buf_puts(json, "\n  }", err);
done:
    sp_names_list_clear(&list);
    return status;
}

sp_status sp_checkpoint_seal(const char *dir, const sp_train_state *state, sp_error *err)
{
    sp_buf json = {NULL, 0, 0};
    char hex[65];
    sp_status status;
    SP_GOTO(done, status, put_state(&json, state, err));
    SP_GOTO(done, status, put_files(&json, dir, err));
    hash_bytes(json.data, json.len, hex);
    SP_GOTO(done, status, sp_buf_printf(&json, err, "%s%s\"\n}\n", sum_key, hex));
    status = sp_hf_put_text(dir, SP_CHECKPOINT_STATE, &json, err);
done:
    sp_buf_clear(&json);
    return status;
}

/* --- reading -------------------------------------------------------------------------------------------- */

/* The text's last member is the sum of what stands before it. */
static sp_status check_own_sum(const sp_buf *text, sp_error *err)
{
    size_t n_key = sizeof sum_key - 1, n_tail = n_key + 64 + 4;
    char hex[65];
    bool good = text->len > n_tail;
    if (good) {
        const char *tail = text->data + text->len - n_tail;
        hash_bytes(text->data, text->len - n_tail, hex);
        good = memcmp(tail, sum_key, n_key) == 0 && memcmp(tail + n_key, hex, 64) == 0;
    }
    return good ? SP_OK : sp_fail(err, SP_E_FORMAT, "its own sum does not fit: cut short or damaged");
}

static sp_status get_u64(const sp_json *root, const char *key, int base, uint64_t *out, sp_error *err)
{
    char *end = NULL;
    const char *text = sp_json_string(sp_json_get(root, key), NULL);
    if (text) *out = strtoull(text, &end, base);
    return text && *text && !*end ? SP_OK : sp_fail(err, SP_E_FORMAT, "%s: expected a number as text", key);
}

static sp_status get_state(const sp_json *root, sp_train_state *s, sp_error *err)
{
    int64_t version = sp_json_int(sp_json_get(root, "version"), -1);
    if (version != VERSION)
        return sp_fail(err, SP_E_UNSUPPORTED, "version %lld is unknown, this program reads %d",
                       (long long)version, VERSION);
    s->step = sp_json_int(sp_json_get(root, "step"), -1);
    s->tokens = sp_json_int(sp_json_get(root, "tokens"), -1);
    s->n_ranks = (int32_t)sp_json_int(sp_json_get(root, "n_ranks"), 0);
    s->loss_mean = sp_json_real(sp_json_get(root, "loss_mean"), 0.0);
    s->loss_square = sp_json_real(sp_json_get(root, "loss_square"), 0.0);
    s->seconds = sp_json_real(sp_json_get(root, "seconds"), 0.0);
    if (s->step < 0 || s->tokens < 0) return sp_fail(err, SP_E_FORMAT, "step and tokens: expected counts");
    SP_TRY(get_u64(root, "seed", 10, &s->seed, err));
    return get_u64(root, "fingerprint", 16, &s->fingerprint, err);
}

static sp_status check_file(const char *dir, const char *name, const sp_json *facts, sp_error *err)
{
    uint64_t n_bytes;
    char hex[65];
    const char *sum = sp_json_string(sp_json_get(facts, "sha256"), NULL);
    int64_t expected = sp_json_int(sp_json_get(facts, "bytes"), -1);
    if (!*name || strchr(name, '/') || name[0] == '.' || !sum || expected < 0)
        return sp_fail(err, SP_E_FORMAT, "%s: files: malformed entry", SP_CHECKPOINT_STATE);
    sp_status status = hash_file(dir, name, &n_bytes, hex, err);
    if (status == SP_E_NOT_FOUND) return sp_fail(err, SP_E_FORMAT, "%s: is missing", name);
    if (status != SP_OK) return status;
    if (n_bytes != (uint64_t)expected)
        return sp_fail(err, SP_E_FORMAT, "%s: expected %lld bytes, found %llu", name, (long long)expected,
                       (unsigned long long)n_bytes);
    if (strcmp(sum, hex) != 0)
        return sp_fail(err, SP_E_FORMAT, "%s: is damaged: SHA-256 %.16s... expected, found %.16s...", name,
                       sum, hex);
    return SP_OK;
}

static sp_status check_files(const char *dir, const sp_json *files, sp_error *err)
{
    void *iter = NULL;
    const char *name;
    const sp_json *facts;
    if (!sp_json_get(files, SP_CHECKPOINT_MODEL))
        return sp_fail(err, SP_E_FORMAT, "%s names no %s", SP_CHECKPOINT_STATE, SP_CHECKPOINT_MODEL);
    while (sp_json_next(files, &iter, &name, &facts)) SP_TRY(check_file(dir, name, facts, err));
    return SP_OK;
}

static sp_status read_state(const char *dir, sp_json **root, sp_error *err)
{
    sp_buf text = {NULL, 0, 0};
    char *path = sp_path_join(dir, SP_CHECKPOINT_STATE);
    if (!path) return sp_fail_nomem(err, "path", strlen(dir));
    sp_status status = sp_file_read(&text, path, MAX_STATE_BYTES, err);
    sp_free(path);
    if (status == SP_E_NOT_FOUND)
        status = sp_fail(err, SP_E_FORMAT, "%s: is missing", SP_CHECKPOINT_STATE);
    else if (status == SP_OK && (status = check_own_sum(&text, err)) == SP_OK)
        status = sp_json_parse(text.data, text.len, root, err);
    sp_buf_clear(&text);
    return status;
}

/* *root is the caller's, also after a failure. */
static sp_status load_state(const char *dir, sp_json **root, sp_train_state *state, sp_error *err)
{
    memset(state, 0, sizeof *state);
    sp_status status = read_state(dir, root, err);
    if (status == SP_OK) status = get_state(*root, state, err);
    if (status != SP_OK && status != SP_E_NOMEM && err && !strstr(err->text, SP_CHECKPOINT_STATE))
        sp_fail_prefix(err, status, "%s", SP_CHECKPOINT_STATE);
    return status;
}

sp_status sp_checkpoint_read_state(const char *dir, sp_train_state *state, sp_error *err)
{
    sp_json *root = NULL;
    sp_status status = load_state(dir, &root, state, err);
    sp_json_destroy(root);
    return status;
}

sp_status sp_checkpoint_verify(const char *dir, sp_train_state *state, sp_error *err)
{
    sp_json *root = NULL;
    sp_status status = load_state(dir, &root, state, err);
    if (status == SP_OK) status = check_files(dir, sp_json_get(root, "files"), err);
    sp_json_destroy(root);
    return status;
}
