/* SPDX-License-Identifier: MIT */
/* Writing GGUF version 3 as a stream: put the metadata, declare the tensors, write the header, then the
 * tensors' bytes in the declared order. Nothing but the metadata and the table is held in memory. The file
 * appears at its path only on commit (base/file.h: sp_writer). A writer belongs to one thread at a time.
 *
 *     sp_gguf_writer_open → sp_gguf_put_* → sp_gguf_declare* → sp_gguf_write_header
 *                         → sp_gguf_write_data* → sp_gguf_writer_commit → sp_gguf_writer_close */
#ifndef SP_FORMAT_GGUF_WRITE_H
#define SP_FORMAT_GGUF_WRITE_H

#include "format/gguf.h"

#define SP_GGUF_WRITE_ALIGNMENT 32

typedef struct sp_gguf_writer sp_gguf_writer;

sp_status sp_gguf_writer_open(sp_gguf_writer **writer, const char *path, sp_error *err);
void sp_gguf_writer_close(sp_gguf_writer *writer); /* accepts NULL; without a commit nothing is left */

/* Metadata. A key that was put before is SP_E_ARGUMENT; so is any put after the header was written. */
sp_status sp_gguf_put_u32(sp_gguf_writer *writer, const char *key, uint32_t value, sp_error *err);
sp_status sp_gguf_put_u16(sp_gguf_writer *writer, const char *key, uint16_t value, sp_error *err);
sp_status sp_gguf_put_i32(sp_gguf_writer *writer, const char *key, int32_t value, sp_error *err);
sp_status sp_gguf_put_u64(sp_gguf_writer *writer, const char *key, uint64_t value, sp_error *err);
sp_status sp_gguf_put_f32(sp_gguf_writer *writer, const char *key, float value, sp_error *err);
sp_status sp_gguf_put_bool(sp_gguf_writer *writer, const char *key, bool value, sp_error *err);
sp_status sp_gguf_put_string(sp_gguf_writer *writer, const char *key, const char *text, size_t len,
                             sp_error *err);
sp_status sp_gguf_put_strings(sp_gguf_writer *writer, const char *key, const sp_gguf_string *items, size_t n,
                              sp_error *err);
sp_status sp_gguf_put_i32s(sp_gguf_writer *writer, const char *key, const int32_t *items, size_t n,
                           sp_error *err);
sp_status sp_gguf_put_f32s(sp_gguf_writer *writer, const char *key, const float *items, size_t n,
                           sp_error *err);

/* Tensors begin at multiples of `alignment`, a power of two from 32 on, instead of 32; puts general.alignment. Before the
 * first tensor is declared. */
sp_status sp_gguf_set_alignment(sp_gguf_writer *writer, uint32_t alignment, sp_error *err);

/* Copy an entry of a parsed file as it is, under its own key. */
sp_status sp_gguf_put_kv(sp_gguf_writer *writer, const sp_gguf_kv *kv, sp_error *err);

/* Whether a key was put. */
bool sp_gguf_writer_has(const sp_gguf_writer *writer, const char *key);

/* Declare the next tensor, shape outermost first as everywhere here (reversed in the file). Refused as
 * SP_E_ARGUMENT: a repeated or too long name, an empty shape, rows that the type's block does not divide, a
 * type that GGUF has not. */
sp_status sp_gguf_declare(sp_gguf_writer *writer, const char *name, sp_dtype dtype, int n_dims,
                          const int64_t *shape, sp_error *err);

sp_status sp_gguf_write_header(sp_gguf_writer *writer, sp_error *err);

/* The next n bytes of the current tensor. Tensors follow each other by themselves; a piece must not cross the
 * end of its tensor. */
sp_status sp_gguf_write_data(sp_gguf_writer *writer, const void *data, size_t n, sp_error *err);

/* Bytes of tensor data declared, and written so far. */
uint64_t sp_gguf_writer_total(const sp_gguf_writer *writer);
uint64_t sp_gguf_writer_done(const sp_gguf_writer *writer);

/* SP_E_ARGUMENT while a declared tensor lacks bytes. */
sp_status sp_gguf_writer_commit(sp_gguf_writer *writer, sp_error *err);

#endif
