/* SPDX-License-Identifier: MIT */
/* Converting models: a Hugging Face directory to a GGUF file, or a GGUF file (single or split) to one of
 * another type. The result loads in llama.cpp: q and k rows are permuted where its graphs expect it, experts
 * stacked, kv_b_proj split into attn_k_b and attn_v_b, F8 weights multiplied out, prediction layers kept as
 * "nextn" tensors. The vocabulary comes from tokenizer.json; without one the file says "none" and runs on ids
 * only. The file appears only when complete. Memory: a few megabytes beside the mapped source. */
#ifndef SP_MODEL_CONVERT_H
#define SP_MODEL_CONVERT_H

#include "model/mixture.h"
#include "model/tensor_stream.h"

/* Tensors whose GGUF name contains `part` get this type (the first that fits; shapes permitting). */
typedef struct sp_type_override {
    const char *part;
    sp_dtype dtype;
} sp_type_override;

/* How the routed experts of a GGUF file lie. */
typedef enum sp_convert_experts {
    SP_CONVERT_STACKED, /* one tensor of three dimensions per kind of matrix, as usual */
    SP_CONVERT_ADJACENT /* gate, up and down of one expert after the other (decision 13): Sputnik reads an expert at
                           once; llama.cpp does not load it. From a GGUF file only */
} sp_convert_experts;

typedef struct sp_convert_options {
    const char *
        type; /* a name of model/mixture.h, case-insensitive, or "keep": every tensor as it is (GGUF alone) */
    sp_convert_experts experts;
    sp_pool *pool; /* NULL: the calling thread alone */
    sp_progress_fn progress;
    void *progress_ctx;
    const sp_type_override *overrides;
    size_t n_overrides;
    const char *name; /* general.name; NULL: the source's, or its folder's name */
    const double
        *temperature; /* recommended to who samples from the model; NULL: as generation_config.json says */
} sp_convert_options;

#define SP_CONVERT_DEFAULTS                                                                                  \
    {                                                                                                        \
        .type = "bf16"                                                                                       \
    }

/* Errors: those of sp_archive_open and sp_hparams_from_archive; SP_E_ARGUMENT (unknown type), SP_E_FORMAT (a
 * tensor is missing or of another shape), SP_E_UNSUPPORTED (a tensor or setting that GGUF has no place for),
 * SP_E_CANCELLED, SP_E_IO. */
sp_status sp_convert(const char *src, const char *dst, const sp_convert_options *options, sp_error *err);

#endif
