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
    const sp_mixture *mixture; /* NULL: every tensor keeps its type */
    sp_mixture_facts facts;
    sp_gguf_writer *writer;
    sp_tensor_stream stream;
    uint8_t *expert_layers; /* (layers) of convert_experts.c: what is done */
} sp_conversion;

/* The type of one tensor: overrides first, then the mixture. */
sp_dtype sp_conversion_type(const sp_conversion *c, const char *name, int n_dims, const int64_t *shape);

/* general.file_type and general.quantization_version. */
sp_status sp_conversion_put_type(const sp_conversion *c, sp_error *err);

/* Metadata, table and data from a Hugging Face archive. */
sp_status sp_conversion_from_hf(sp_conversion *c, sp_error *err);

/* Experts of a GGUF file in another layout. True if the entry is (part of) such experts and has been dealt with: its
 * layer's tensors are declared or written with the first of the layer's entries. */
bool sp_conversion_moves_experts(const sp_conversion *c, const sp_entry *entry);
sp_status sp_conversion_declare_experts(sp_conversion *c, const sp_entry *entry, sp_error *err);
sp_status sp_conversion_write_experts(sp_conversion *c, const sp_entry *entry, sp_error *err);

/* The type in the file of what has type `dtype` in a GGUF source. */
sp_dtype sp_conversion_retype(const sp_conversion *c, const char *name, int n_dims, const int64_t *shape,
                              sp_dtype dtype);

/* SP_E_UNSUPPORTED if the entry's type cannot be read. */
sp_status sp_conversion_check_entry(const sp_entry *entry, sp_error *err);

#endif
