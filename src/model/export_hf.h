/* SPDX-License-Identifier: MIT */
/* Exporting a Hugging Face folder (a checkpoint of a run, or a published model) as another one of a plain storage type: weights,
 * configuration, tokenizer and generation settings, nothing of a run's state. F8 weights are multiplied out. */
#ifndef SP_MODEL_EXPORT_HF_H
#define SP_MODEL_EXPORT_HF_H

#include "model/tensor_stream.h"

#define SP_EXPORT_SHARD_BYTES ((uint64_t)5 << 30) /* as published models are cut */

typedef struct sp_export_options {
    sp_dtype dtype; /* BF16, F16 or F32; the bias of a router stays F32, as published */
    uint64_t max_shard_bytes;
    sp_progress_fn progress; /* may be NULL */
    void *progress_ctx;
} sp_export_options;

/* The folder dst appears when it is complete; it must be absent or empty. Errors: those of sp_archive_open and
 * sp_hparams_from_archive; SP_E_UNSUPPORTED (src is a GGUF file, a tensor of an unknown type), SP_E_ARGUMENT (dtype), SP_E_RANGE (a value
 * that the type cannot hold), SP_E_CANCELLED, SP_E_IO. */
sp_status sp_export_hf(const char *src, const char *dst, const sp_export_options *options, sp_error *err);

#endif
