/* SPDX-License-Identifier: MIT */
/* Producing the tensors of a GGUF file piece by piece: rows are made as floats (or taken as they are), packed
 * into the tensor's format by all threads, and written in order. Memory: one piece and one unit of floats per
 * thread, whatever the tensor's size. Used by convert and synth. */
#ifndef SP_MODEL_TENSOR_STREAM_H
#define SP_MODEL_TENSOR_STREAM_H

#include "base/pool.h"
#include "format/gguf_write.h"
#include "tensor/tensor.h"

/* Called after each piece with the bytes of tensor data so far and in all; false cancels (SP_E_CANCELLED). */
typedef bool (*sp_progress_fn)(void *ctx, uint64_t done, uint64_t total);

/* How one tensor is made, in units of rows that are made together. Functions are called from several threads
 * and must depend on the unit alone. */
typedef struct sp_tensor_source {
    sp_dtype dtype; /* as declared to the writer */
    int64_t cols, rows_per_unit, n_units;
    size_t scratch_floats; /* for fill, per thread */
    /* Make a unit: rows (rows_per_unit, cols). */
    void (*fill)(const void *ctx, int64_t unit, float *rows, float *scratch);
    /* If not NULL, used instead: write a unit's bytes, already in the target format. */
    void (*copy)(const void *ctx, int64_t unit, void *out);
    const void *ctx;
} sp_tensor_source;

typedef struct sp_tensor_stream {
    sp_gguf_writer *writer;
    sp_pool *pool;
    sp_progress_fn progress;
    void *progress_ctx;
    void *out; /* the piece being packed */
    size_t out_cap;
    float *floats; /* per thread: unit and scratch */
    size_t floats_cap;
} sp_tensor_stream;

/* Write the next declared tensor. `name` is for messages. */
sp_status sp_tensor_stream_put(sp_tensor_stream *stream, const sp_tensor_source *source, const char *name,
                               sp_error *err);
void sp_tensor_stream_clear(sp_tensor_stream *stream);

/* Row `row` (over all outer dimensions) of a stored tensor as floats; block scales of F8 applied. */
void sp_tensor_read_row(const sp_tensor *t, int64_t row, float *dst);

#endif
