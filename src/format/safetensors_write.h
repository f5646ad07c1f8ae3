/* SPDX-License-Identifier: MIT */
/* Writing safetensors into a directory as a stream: declare every tensor, then write their bytes in the
 * declared order. If all fit in one file it is model.safetensors; otherwise model-00001-of-0000N.safetensors
 * and so on with model.safetensors.index.json. All files appear together, on commit. One thread at a time. */
#ifndef SP_FORMAT_SAFETENSORS_WRITE_H
#define SP_FORMAT_SAFETENSORS_WRITE_H

#include "base/mem.h"
#include "tensor/dtype.h"

typedef struct sp_safetensors_writer sp_safetensors_writer;

/* The directory is created. A shard holds at most max_shard_bytes of data, but at least one tensor; 0 means
 * one file whatever its size. */
sp_status sp_safetensors_writer_open(sp_safetensors_writer **writer, const char *dir,
                                     uint64_t max_shard_bytes, sp_error *err);
void sp_safetensors_writer_close(
    sp_safetensors_writer *writer); /* accepts NULL; without a commit nothing is left */

/* Files are called <stem>.safetensors instead of model.safetensors; before the first data. The stem must outlive the writer. */
void sp_safetensors_writer_rename(sp_safetensors_writer *writer, const char *stem);

/* Declare the next tensor; n_dims 0..4. Types: those with a name in safetensors, else SP_E_ARGUMENT. */
sp_status sp_safetensors_declare(sp_safetensors_writer *writer, const char *name, sp_dtype dtype, int n_dims,
                                 const int64_t *shape, sp_error *err);

/* The next n bytes of the current tensor; a piece must not cross the end of its tensor. The first call closes
 * the declarations. */
sp_status sp_safetensors_write_data(sp_safetensors_writer *writer, const void *data, size_t n, sp_error *err);

/* SP_E_ARGUMENT while a declared tensor lacks bytes. */
sp_status sp_safetensors_writer_commit(sp_safetensors_writer *writer, sp_error *err);

#endif
