/* SPDX-License-Identifier: MIT */
/* Between convert.c (driver, GGUF to GGUF) and convert_hf.c (Hugging Face to GGUF). */
#ifndef SP_MODEL_CONVERT_PARTS_H
#define SP_MODEL_CONVERT_PARTS_H

#include "format/archive.h"
#include "model/convert.h"

typedef struct sp_conversion {
    const sp_convert_options *options;
    const sp_archive *archive;
    sp_hparams hp;
    const sp_mixture *mixture;
    sp_mixture_facts facts;
    sp_gguf_writer *writer;
    sp_tensor_stream stream;
} sp_conversion;

/* The type of one tensor: overrides first, then the mixture. */
sp_dtype sp_conversion_type(const sp_conversion *c, const char *name, int n_dims, const int64_t *shape);

/* general.file_type and general.quantization_version. */
sp_status sp_conversion_put_type(const sp_conversion *c, sp_error *err);

/* Metadata, table and data from a Hugging Face archive. */
sp_status sp_conversion_from_hf(sp_conversion *c, sp_error *err);

/* SP_E_UNSUPPORTED if the entry's type cannot be read. */
sp_status sp_conversion_check_entry(const sp_entry *entry, sp_error *err);

#endif
