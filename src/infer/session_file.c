/* SPDX-License-Identifier: MIT */
/* Saved sessions. Layout, little-endian: a header of fixed size, the token ids, per layer and key-value head the
 * key rows, then (unless shared) the value rows, the hidden states where the model predicts several tokens, the last logits
 * if there are any; the header holds a checksum of all that follows it. The file is tied to one model by its
 * fingerprint. Start at sp_session_save(). */
#include "infer/session_parts.h"

#include "base/file.h"
#include "base/hash.h"

#include <string.h>

#define SESSION_MAGIC "SPUTNIKS"
#define SESSION_VERSION 2

typedef struct session_header {
    char magic[8];
    uint32_t version;
    uint32_t cache_type;
    uint64_t fingerprint;
    uint64_t n_tokens;
    uint64_t has_logits;
    uint64_t n_bytes;  /* after the header */
    uint64_t checksum; /* sp_hash over the pieces in order */
} session_header;

/* Rows [first, first + n) of each key-value head. */
static int visit_heads(const sp_tensor *rows, size_t first, size_t n, sp_piece_fn fn, void *ctx)
{
    int stop = 0;
    for (size_t h = 0; !stop && h < (size_t)rows->shape[0]; h++)
        stop = fn(ctx, (char *)rows->data + (h * (size_t)rows->shape[1] + first) * rows->row_bytes,
                  n * rows->row_bytes);
    return stop;
}

int sp_session_visit_rows(const sp_session *s, size_t first, size_t n, sp_piece_fn fn, void *ctx)
{
    size_t width = (size_t)s->net->hp->hidden_size;
    int stop = 0;
    for (int32_t i = 0; !stop && i < s->cache.n_layers; i++) {
        const sp_cache_layer *layer = &s->cache.layers[i];
        stop = visit_heads(&layer->k, first, n, fn, ctx);
        if (!stop && layer->v.data != layer->k.data) stop = visit_heads(&layer->v, first, n, fn, ctx);
    }
    if (!stop && s->hidden) stop = fn(ctx, s->hidden + first * width, n * width * sizeof *s->hidden);
    return stop;
}

/* Visit all pieces of the first n tokens in file order; stops at the first non-zero return. */
static int visit_pieces(sp_session *s, size_t n, bool has_logits, sp_piece_fn fn, void *ctx)
{
    size_t n_vocab = (size_t)s->net->hp->vocab_size;
    int stop = fn(ctx, s->tokens, n * sizeof *s->tokens);
    if (!stop) stop = sp_session_visit_rows(s, 0, n, fn, ctx);
    if (!stop && has_logits) stop = fn(ctx, s->logits + s->logits_row * n_vocab, n_vocab * sizeof *s->logits);
    return stop;
}

typedef struct piece_sum {
    uint64_t n_bytes;
    uint64_t checksum;
} piece_sum;

static int sum_piece(void *ctx, void *data, size_t n_bytes)
{
    piece_sum *sum = ctx;
    sum->n_bytes += n_bytes;
    sum->checksum = sp_hash(sum->checksum, data, n_bytes);
    return 0;
}

static int count_piece(void *ctx, void *data, size_t n_bytes)
{
    (void)data;
    *(uint64_t *)ctx += n_bytes;
    return 0;
}

typedef struct piece_write {
    sp_writer *writer;
    sp_status status;
    sp_error *err;
} piece_write;

static int write_piece(void *ctx, void *data, size_t n_bytes)
{
    piece_write *w = ctx;
    w->status = sp_writer_write(w->writer, data, n_bytes, w->err);
    return w->status != SP_OK;
}

sp_status sp_session_save(const sp_session *session, const char *path, sp_error *err)
{
    sp_session *s = (sp_session *)(uintptr_t)session; /* visitors of a save only read */
    piece_sum sum = {0, SP_HASH_SEED};
    visit_pieces(s, s->n, s->has_logits, sum_piece, &sum);
    session_header header = {.version = SESSION_VERSION,
                             .cache_type = (uint32_t)s->options.cache_type,
                             .fingerprint = sp_model_fingerprint(s->model),
                             .n_tokens = s->n,
                             .has_logits = s->has_logits,
                             .n_bytes = sum.n_bytes,
                             .checksum = sum.checksum};
    memcpy(header.magic, SESSION_MAGIC, sizeof header.magic);
    sp_writer *writer;
    SP_TRY(sp_writer_open(&writer, path, err));
    piece_write w = {writer, SP_OK, err};
    w.status = sp_writer_write(writer, &header, sizeof header, err);
    if (w.status == SP_OK) visit_pieces(s, s->n, s->has_logits, write_piece, &w);
    if (w.status == SP_OK) w.status = sp_writer_commit(writer, err);
    sp_writer_close(writer);
    return w.status;
}

static sp_status check_header(sp_session *s, const session_header *h, const sp_map *map, const char *path,
                              sp_error *err)
{
    if (memcmp(h->magic, SESSION_MAGIC, sizeof h->magic) != 0)
        return sp_fail(err, SP_E_FORMAT, "\"%s\" is not a saved session", path);
    if (h->version != SESSION_VERSION)
        return sp_fail(err, SP_E_UNSUPPORTED, "\"%s\": version %u, expected %d", path, h->version,
                       SESSION_VERSION);
    if (h->fingerprint != sp_model_fingerprint(s->model))
        return sp_fail(err, SP_E_ARGUMENT, "\"%s\" was saved with another model", path);
    if (h->cache_type != (uint32_t)s->options.cache_type)
        return sp_fail(err, SP_E_ARGUMENT, "\"%s\" was saved with another cache type", path);
    if (h->n_tokens > (uint64_t)s->n_ctx)
        return sp_fail(err, SP_E_LIMIT, "\"%s\": %llu tokens do not fit into a context of %d", path,
                       (unsigned long long)h->n_tokens, s->n_ctx);
    uint64_t expected = 0;
    visit_pieces(s, (size_t)h->n_tokens, h->has_logits != 0, count_piece, &expected);
    if (h->n_bytes != expected || map->len - sizeof *h != expected)
        return sp_fail(err, SP_E_FORMAT, "\"%s\": expected %llu bytes of state, found %zu", path,
                       (unsigned long long)expected, map->len - sizeof *h);
    return SP_OK;
}

typedef struct piece_read {
    const uint8_t *data;
    uint64_t checksum;
    bool copy;
} piece_read;

static int read_piece(void *ctx, void *data, size_t n_bytes)
{
    piece_read *r = ctx;
    if (r->copy)
        memcpy(data, r->data, n_bytes);
    else
        r->checksum = sp_hash(r->checksum, r->data, n_bytes);
    r->data += n_bytes;
    return 0;
}

static sp_status load_mapped(sp_session *s, const sp_map *map, const char *path, sp_error *err)
{
    session_header h;
    if (map->len < sizeof h) return sp_fail(err, SP_E_FORMAT, "\"%s\" is not a saved session", path);
    memcpy(&h, map->data, sizeof h);
    SP_TRY(check_header(s, &h, map, path, err));
    size_t n = (size_t)h.n_tokens;
    piece_read check = {map->data + sizeof h, SP_HASH_SEED, false};
    visit_pieces(s, n, h.has_logits != 0, read_piece, &check);
    if (check.checksum != h.checksum)
        return sp_fail(err, SP_E_FORMAT, "\"%s\": checksum mismatch, the file is damaged", path);
    for (size_t i = 0; i < n; i++) {
        int32_t id;
        memcpy(&id, map->data + sizeof h + i * sizeof id, sizeof id);
        if (id < 0 || id >= s->net->hp->vocab_size)
            return sp_fail(err, SP_E_FORMAT, "\"%s\": token %zu: id %d is outside the vocabulary", path, i,
                           id);
    }
    sp_session_truncate(s, 0);
    s->n_ahead = s->logits_row = 0;
    piece_read load = {map->data + sizeof h, 0, true};
    visit_pieces(s, n, h.has_logits != 0, read_piece, &load);
    s->n = n;
    s->has_logits = h.has_logits != 0;
    s->mtp_n = 0;
    return SP_OK;
}

sp_status sp_session_load(sp_session *session, const char *path, sp_error *err)
{
    sp_map map;
    SP_TRY(sp_map_open(&map, path, err));
    sp_status status = load_mapped(session, &map, path, err);
    sp_map_close(&map);
    return status;
}
