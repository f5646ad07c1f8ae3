/* SPDX-License-Identifier: MIT */
/* Packing pieces of a tensor over the pool. The bytes do not depend on the number of threads: every unit is
 * made and packed by itself. Start at sp_tensor_stream_put(). */
#include "model/tensor_stream.h"

#include "base/mem.h"
#include "tensor/kernels.h"

#include <string.h>

#define PIECE_BYTES ((size_t)8 << 20)
#define F8_BLOCK 128

void sp_tensor_read_row(const sp_tensor *t, int64_t row, float *dst)
{
    size_t cols = (size_t)sp_tensor_cols(t);
    sp_kernels_get()->unpack[t->dtype](cols, sp_tensor_row(t, row), dst);
    if (!t->scale) return;
    const float *scale = t->scale + (size_t)(row / F8_BLOCK) * ((cols + F8_BLOCK - 1) / F8_BLOCK);
    for (size_t i = 0; i < cols; i++) dst[i] *= scale[i / F8_BLOCK];
}

/* One piece: units [first, first + n) into out. */
typedef struct piece {
    const sp_tensor_source *source;
    int64_t first;
    size_t row_bytes, unit_bytes, unit_floats; /* floats of the rows; the scratch follows */
    size_t thread_floats;
    uint8_t *out;
    float *floats;
    int64_t failed_unit[SP_POOL_MAX_THREADS]; /* -1: none */
    sp_error errors[SP_POOL_MAX_THREADS];
} piece;

static void make_units(void *ctx, size_t begin, size_t end, int thread)
{
    piece *p = ctx;
    const sp_tensor_source *s = p->source;
    float *rows = p->floats ? p->floats + (size_t)thread * p->thread_floats : NULL; /* copies need none */
    for (size_t i = begin; i < end; i++) {
        int64_t unit = p->first + (int64_t)i;
        uint8_t *out = p->out + i * p->unit_bytes;
        if (s->copy) {
            s->copy(s->ctx, unit, out);
            continue;
        }
        s->fill(s->ctx, unit, rows, rows + p->unit_floats);
        for (int64_t r = 0; r < s->rows_per_unit; r++) {
            sp_error err = SP_ERROR_NONE;
            sp_status status = sp_dtype_pack(s->dtype, rows + r * s->cols, out + (size_t)r * p->row_bytes,
                                             (size_t)s->cols, &err);
            bool first = status != SP_OK && (p->failed_unit[thread] < 0 || unit < p->failed_unit[thread]);
            if (!first) continue;
            p->failed_unit[thread] = unit;
            p->errors[thread] = err;
        }
    }
}

/* The error of the lowest unit, so that the message does not depend on the threads. */
static sp_status report(const piece *p, int n_threads, const char *name, sp_error *err)
{
    int worst = -1;
    for (int i = 0; i < n_threads; i++) {
        if (p->failed_unit[i] < 0) continue;
        if (worst < 0 || p->failed_unit[i] < p->failed_unit[worst]) worst = i;
    }
    if (worst < 0) return SP_OK;
    if (err) *err = p->errors[worst];
    return sp_fail_prefix(err, p->errors[worst].code, "tensor \"%s\", row %lld", name,
                          (long long)(p->failed_unit[worst] * p->source->rows_per_unit));
}

static sp_status reserve(void **buffer, size_t *cap, size_t n_bytes, sp_error *err)
{
    if (*cap >= n_bytes) return SP_OK;
    void *fresh = sp_aligned_alloc(64, n_bytes);
    if (!fresh) return sp_fail_nomem(err, "tensor buffer", n_bytes);
    sp_free(*buffer);
    *buffer = fresh;
    *cap = n_bytes;
    return SP_OK;
}

static sp_status prepare(sp_tensor_stream *stream, piece *p, size_t *units, sp_error *err)
{
    const sp_tensor_source *s = p->source;
    size_t total = 0, n_threads = (size_t)sp_pool_threads(stream->pool);
    p->row_bytes = sp_dtype_row_bytes(s->dtype, (size_t)s->cols);
    p->unit_bytes =
        p->row_bytes * (size_t)s->rows_per_unit; /* bounded: the writer accepted the whole tensor */
    p->unit_floats = (size_t)(s->cols * s->rows_per_unit);
    p->thread_floats = (p->unit_floats + s->scratch_floats + 15) & ~(size_t)15;
    *units = p->unit_bytes < PIECE_BYTES ? PIECE_BYTES / p->unit_bytes : 1;
    if (*units > (size_t)s->n_units) *units = (size_t)s->n_units;
    void *floats = stream->floats;
    SP_TRY(reserve(&stream->out, &stream->out_cap, *units * p->unit_bytes, err));
    if (!sp_mul_size(p->thread_floats * sizeof(float), n_threads, &total))
        return sp_fail_nomem(err, "rows", 0);
    sp_status status = s->copy ? SP_OK : reserve(&floats, &stream->floats_cap, total, err);
    stream->floats = floats;
    p->out = stream->out;
    p->floats = stream->floats;
    return status;
}

sp_status sp_tensor_stream_put(sp_tensor_stream *stream, const sp_tensor_source *source, const char *name,
                               sp_error *err)
{
    piece *p = sp_calloc(1, sizeof *p);
    if (!p) return sp_fail_nomem(err, "tensor piece", sizeof *p);
    p->source = source;
    size_t units = 0;
    int n_threads = sp_pool_threads(stream->pool);
    sp_status status;
    SP_GOTO(done, status, prepare(stream, p, &units, err));
    for (int i = 0; i < n_threads; i++) p->failed_unit[i] = -1;
    for (p->first = 0; p->first < source->n_units; p->first += (int64_t)units) {
        size_t n =
            (size_t)(source->n_units - p->first) < units ? (size_t)(source->n_units - p->first) : units;
        size_t grain = p->unit_bytes < 16384 ? 16384 / p->unit_bytes : 1;
        sp_pool_run(stream->pool, n, grain, make_units, p);
        SP_GOTO(done, status, report(p, n_threads, name, err));
        SP_GOTO(done, status, sp_gguf_write_data(stream->writer, p->out, n * p->unit_bytes, err));
        if (!stream->progress) continue;
        uint64_t written = sp_gguf_writer_done(stream->writer), total = sp_gguf_writer_total(stream->writer);
        if (!stream->progress(stream->progress_ctx, written, total)) {
            status = sp_fail(err, SP_E_CANCELLED, "cancelled");
            goto done;
        }
    }
done:
    sp_free(p);
    return status;
}

void sp_tensor_stream_clear(sp_tensor_stream *stream)
{
    sp_free(stream->out);
    sp_free(stream->floats);
    memset(stream, 0, sizeof *stream);
}
