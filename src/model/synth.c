/* SPDX-License-Identifier: MIT */
/* Synthetic models: the layout of model/layout.h filled from pools of packed random blocks. Start at sp_synth(). */
#include "model/synth.h"

#include "base/file.h"
#include "base/rng.h"
#include "model/gguf_meta.h"
#include "model/layout.h"
#include "model/mixture.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_POOLS 64
#define MAX_CHUNK 256  /* the largest block */
#define SMALL_CHUNK 32 /* elements copied together where the format has no blocks */
#define MAX_CONFIG_BYTES ((size_t)16 << 20)

/* SP_SYNTH_POOL values of one deviation, packed in one format, cut into chunks of whole blocks. */
typedef struct pool {
    sp_dtype dtype;
    int64_t cols; /* deviation 1/sqrt(cols) */
    size_t chunk; /* elements */
    size_t chunk_bytes, n_chunks;
    uint8_t *data;
} pool;

typedef struct synthesis {
    const sp_synth_options *options;
    sp_hparams hp;
    const sp_mixture *mixture;
    sp_mixture_facts facts;
    sp_gguf_writer *writer;
    sp_tensor_stream stream;
    float *values; /* (SP_SYNTH_POOL) of deviation 1 */
    pool pools[MAX_POOLS];
    size_t n_pools;
} synthesis;

/* One tensor being written. */
typedef struct tensor_job {
    const synthesis *s;
    const sp_layout_item *item;
    const pool *pool;
    uint64_t key; /* of this tensor's choices */
    int64_t cols;
} tensor_job;

/* Finaliser of splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void copy_pooled_row(const void *ctx, int64_t unit, void *out)
{
    const tensor_job *job = ctx;
    const pool *p = job->pool;
    uint8_t *at = out;
    size_t whole = (size_t)job->cols / p->chunk, rest = (size_t)job->cols % p->chunk;
    uint64_t key = job->key + (uint64_t)unit * 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < whole; i++, at += p->chunk_bytes) {
        memcpy(at, p->data + (mix(key + i) & (p->n_chunks - 1)) * p->chunk_bytes, p->chunk_bytes);
    }
    size_t rest_bytes = rest / sp_dtype_get(p->dtype)->block * sp_dtype_get(p->dtype)->block_bytes;
    if (rest_bytes) memcpy(at, p->data + (mix(key + whole) & (p->n_chunks - 1)) * p->chunk_bytes, rest_bytes);
}

/* Vectors: norms are 1, biases small. */
static void fill_vector(const void *ctx, int64_t unit, float *rows, float *scratch)
{
    (void)unit, (void)scratch;
    const tensor_job *job = ctx;
    bool norm = strstr(job->item->name, "norm") != NULL;
    if (!norm) sp_rng_normal(job->s->options->seed, job->key, 0, rows, (size_t)job->cols);
    for (int64_t i = 0; i < job->cols; i++) rows[i] = norm ? 1.0f : 0.02f * rows[i];
}

static void fill_divisors(const void *ctx, int64_t unit, float *rows, float *scratch)
{
    (void)unit, (void)scratch;
    const tensor_job *job = ctx;
    sp_layout_divisors(&job->s->hp, rows);
}

typedef struct pool_job {
    pool *pool;
    const float *values; /* (SP_SYNTH_POOL) */
    float scale;
    sp_status status[SP_POOL_MAX_THREADS];
} pool_job;

static void pack_chunks(void *ctx, size_t begin, size_t end, int thread)
{
    pool_job *job = ctx;
    const pool *p = job->pool;
    float values[MAX_CHUNK];
    for (size_t i = begin; i < end; i++) {
        for (size_t k = 0; k < p->chunk; k++) values[k] = job->scale * job->values[i * p->chunk + k];
        sp_status status = sp_dtype_pack(p->dtype, values, p->data + i * p->chunk_bytes, p->chunk, NULL);
        if (status != SP_OK) job->status[thread] = status;
    }
}

static void draw_values(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const synthesis *s = ctx;
    sp_rng_normal(s->options->seed, 0, begin, s->values + begin, end - begin);
}

static sp_status make_pool(synthesis *s, sp_dtype dtype, int64_t cols, sp_error *err)
{
    pool *p = &s->pools[s->n_pools];
    const sp_dtype_info *info = sp_dtype_get(dtype);
    *p = (pool){.dtype = dtype, .cols = cols, .chunk = info->block == 1 ? SMALL_CHUNK : info->block};
    p->n_chunks = SP_SYNTH_POOL / p->chunk; /* blocks are powers of two, and so is this */
    p->chunk_bytes = p->chunk / info->block * info->block_bytes;
    p->data = sp_malloc_array(p->n_chunks, p->chunk_bytes);
    pool_job *job = sp_calloc(1, sizeof *job);
    sp_status status = SP_OK;
    if (!p->data || !job) {
        status = sp_fail_nomem(err, "random values", p->n_chunks * p->chunk_bytes);
        goto done;
    }
    *job = (pool_job){.pool = p, .values = s->values, .scale = 1.0f / sqrtf((float)cols)};
    sp_pool_run(s->options->pool, p->n_chunks, 16, pack_chunks, job);
    for (int i = 0; i < SP_POOL_MAX_THREADS && status == SP_OK; i++) status = job->status[i];
    if (status != SP_OK) sp_fail(err, status, "type %s cannot be packed", info->name);
done:
    sp_free(job);
    if (status != SP_OK)
        sp_free(p->data);
    else
        s->n_pools++;
    return status;
}

static sp_status find_pool(synthesis *s, sp_dtype dtype, int64_t cols, const pool **out, sp_error *err)
{
    for (size_t i = 0; i < s->n_pools; i++) {
        *out = &s->pools[i];
        if (s->pools[i].dtype == dtype && s->pools[i].cols == cols) return SP_OK;
    }
    if (s->n_pools == MAX_POOLS) return sp_fail(err, SP_E_LIMIT, "more than %d kinds of rows", MAX_POOLS);
    *out = &s->pools[s->n_pools];
    return make_pool(s, dtype, cols, err);
}

static sp_dtype choose_type(const synthesis *s, const sp_layout_item *item)
{
    return sp_mixture_choose(s->mixture, &s->facts, item->name, item->n_dims, item->shape);
}

static sp_status write_item(synthesis *s, const sp_layout_item *item, size_t index, sp_error *err)
{
    int64_t cols = item->shape[item->n_dims - 1], rows = 1;
    for (int i = 0; i < item->n_dims - 1; i++) rows *= item->shape[i];
    tensor_job job = {.s = s, .item = item, .key = mix(s->options->seed ^ mix(index + 1)), .cols = cols};
    sp_tensor_source source = {
        .dtype = choose_type(s, item), .cols = cols, .rows_per_unit = 1, .n_units = rows, .ctx = &job};
    if (item->kind == SP_LAYOUT_DIVISORS) {
        source.fill = fill_divisors;
    } else if (item->n_dims == 1) {
        source.fill = fill_vector;
    } else {
        SP_TRY(find_pool(s, source.dtype, cols, &job.pool, err));
        source.copy = copy_pooled_row;
    }
    return sp_tensor_stream_put(&s->stream, &source, item->name, err);
}

/* --- metadata --------------------------------------------------------------------------------------------- */

static sp_status read_config_file(sp_hparams *hp, const char *path, sp_error *err)
{
    sp_buf text = {0};
    sp_json *config = NULL;
    sp_status status;
    char *joined = sp_file_is_dir(path) ? sp_path_join(path, "config.json") : sp_strdup(path);
    if (!joined) return sp_fail_nomem(err, "file name", strlen(path));
    SP_GOTO(done, status, sp_file_read(&text, joined, MAX_CONFIG_BYTES, err));
    SP_GOTO(done, status, sp_json_parse(text.data, text.len, &config, err));
    status = sp_shape_from_config(hp, config, err);
done:
    sp_json_destroy(config);
    sp_buf_clear(&text);
    sp_free(joined);
    return status;
}

static sp_status choose_shape(synthesis *s, const char *spec, sp_error *err)
{
    const sp_synth_options *o = s->options;
    sp_hparams *hp = &s->hp;
    SP_TRY(sp_file_exists(spec) ? read_config_file(hp, spec, err) : sp_shape_find(hp, spec, err));
    if (o->n_mtp < 0 || o->n_mtp > hp->num_nextn_predict_layers) {
        return sp_fail(err, SP_E_ARGUMENT, "%d prediction layers, the shape has %d", o->n_mtp,
                       hp->num_nextn_predict_layers);
    }
    if (o->n_layers > 4096 || o->vocab_size > 1 << 24) {
        return sp_fail(err, SP_E_ARGUMENT, "at most 4096 layers and %d vocabulary rows", 1 << 24);
    }
    if (o->n_layers > 0) hp->num_hidden_layers = o->n_layers;
    if (o->vocab_size > 0) hp->vocab_size = o->vocab_size;
    s->facts.n_blocks = hp->num_hidden_layers + o->n_mtp;
    s->facts.heads_per_kv = hp->num_attention_heads / hp->num_key_value_heads;
    s->facts.tied = hp->tie_word_embeddings;
    return SP_OK;
}

static sp_status put_vocabulary(const synthesis *s, sp_error *err)
{
    const char *path = s->options->vocabulary;
    if (!path) return sp_gguf_put_synthetic_tokenizer(s->writer, s->hp.arch, s->hp.vocab_size, err);
    sp_tokenizer *tokenizer;
    SP_TRY(sp_tokenizer_open(&tokenizer, path, err));
    sp_status status = SP_OK;
    if (sp_tokenizer_size(tokenizer) > s->hp.vocab_size) {
        status = sp_fail(err, SP_E_ARGUMENT, "the vocabulary of \"%s\" has %d ids, the embedding %d rows",
                         path, sp_tokenizer_size(tokenizer), s->hp.vocab_size);
    } else {
        status = sp_gguf_put_tokenizer(s->writer, tokenizer, s->hp.vocab_size, NULL, err);
    }
    sp_tokenizer_close(tokenizer);
    return status;
}

static sp_status put_metadata(const synthesis *s, const char *spec, sp_error *err)
{
    char name[96];
    snprintf(name, sizeof name, "%.64s (random weights)", sp_path_base(spec));
    SP_TRY(sp_gguf_put_hparams(s->writer, &s->hp, s->options->n_mtp, err));
    SP_TRY(sp_gguf_put_string(s->writer, "general.name", name, strlen(name), err));
    SP_TRY(sp_gguf_put_u32(s->writer, "general.file_type", sp_mixture_file_type(s->mixture), err));
    SP_TRY(sp_gguf_put_u32(s->writer, "general.quantization_version", 2, err));
    return put_vocabulary(s, err);
}

/* Optional items have no source here, so they are left out. */
static sp_status write_file(synthesis *s, const char *spec, const sp_layout *layout, sp_error *err)
{
    SP_TRY(put_metadata(s, spec, err));
    for (size_t i = 0; i < layout->n; i++) {
        const sp_layout_item *item = &layout->items[i];
        if (item->optional) continue;
        SP_TRY(sp_gguf_declare(s->writer, item->name, choose_type(s, item), item->n_dims, item->shape, err));
    }
    SP_TRY(sp_gguf_write_header(s->writer, err));
    for (size_t i = 0; i < layout->n; i++) {
        if (!layout->items[i].optional) SP_TRY(write_item(s, &layout->items[i], i, err));
    }
    return sp_gguf_writer_commit(s->writer, err);
}

sp_status sp_synth(const char *spec, const char *dst, const sp_synth_options *options, sp_error *err)
{
    sp_layout layout = {0};
    sp_status status;
    synthesis *s = sp_calloc(1, sizeof *s);
    if (!s) return sp_fail_nomem(err, "synthesis", sizeof *s);
    s->options = options;
    s->values = sp_malloc_array(SP_SYNTH_POOL, sizeof *s->values);
    if (!s->values) {
        status = sp_fail_nomem(err, "random values", SP_SYNTH_POOL * sizeof *s->values);
        goto done;
    }
    SP_GOTO(done, status, sp_mixture_find(&s->mixture, options->type, err));
    SP_GOTO(done, status, choose_shape(s, spec, err));
    SP_GOTO(done, status, sp_layout_build(&layout, &s->hp, options->n_mtp, err));
    SP_GOTO(done, status, sp_gguf_writer_open(&s->writer, dst, err));
    s->stream = (sp_tensor_stream){.writer = s->writer,
                                   .pool = options->pool,
                                   .progress = options->progress,
                                   .progress_ctx = options->progress_ctx};
    sp_pool_run(options->pool, SP_SYNTH_POOL, 4096, draw_values, s);
    status = write_file(s, spec, &layout, err);
done:
    sp_layout_clear(&layout);
    sp_tensor_stream_clear(&s->stream);
    sp_gguf_writer_close(s->writer);
    for (size_t i = 0; i < s->n_pools; i++) sp_free(s->pools[i].data);
    sp_free(s->values);
    sp_free(s);
    return status;
}
