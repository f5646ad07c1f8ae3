/* SPDX-License-Identifier: MIT */
/* Parts of `sputnik inspect` that its two outputs, text and JSON, share. */
#ifndef SP_CLI_INSPECT_H
#define SP_CLI_INSPECT_H

#include "cli/cli.h"
#include "format/archive.h"

typedef struct sp_type_total {
    uint64_t n_tensors, n_elements, n_bytes;
} sp_type_total;

/* Totals by storage type. */
void sp_inspect_count(const sp_archive *archive, sp_type_total totals[SP_DTYPE_COUNT]);

/* "151936 x 1536", outermost first. */
void sp_inspect_shape(const sp_tensor *tensor, const char *between, char *out, size_t cap);

void sp_inspect_architecture(const sp_archive *archive, char *out, size_t cap);

/* The bytes of a string value. */
sp_gguf_string sp_inspect_gguf_string(const sp_gguf_kv *kv);

/* One JSON object on standard output. `tokenizer` may be NULL. */
sp_status sp_inspect_print_json(const sp_archive *archive, const sp_tokenizer *tokenizer, bool no_tensors,
                                sp_error *err);

#endif
