/* SPDX-License-Identifier: MIT */
/* Random-weight models at any published shape, to measure speed and memory without a download, and to test.
 *
 * Weights are independent normal values of deviation 1/sqrt(row length), drawn with replacement from a pool of
 * 131,072 values (SP_SYNTH_POOL) that is packed once per storage format: every row is a fresh sequence of
 * the pool's packed blocks, chosen by the seed, the tensor and the row. So packing costs nothing however expensive the
 * format is, rows of a few blocks are never alike, and writing runs at the disk's speed. Norms are 1. The output depends on
 * the options alone, not on the number of threads. Memory: some megabytes, whatever the model's size. */
#ifndef SP_MODEL_SYNTH_H
#define SP_MODEL_SYNTH_H

#include "model/shapes.h"
#include "model/tensor_stream.h"

#define SP_SYNTH_POOL ((size_t)1 << 17)

typedef struct sp_synth_options {
    const char *type;   /* a name of model/mixture.h */
    int32_t n_layers;   /* layers, if positive, instead of the published number */
    int32_t vocab_size; /* rows of embedding and head, if positive, instead of the published number */
    int32_t n_mtp;      /* multi-token-prediction layers, at most as many as published */
    uint64_t seed;
    const char
        *vocabulary; /* GGUF file, tokenizer.json or directory whose vocabulary is taken; NULL: made up */
    sp_pool *pool;   /* NULL: the calling thread alone */
    sp_progress_fn progress;
    void *progress_ctx;
} sp_synth_options;

#define SP_SYNTH_DEFAULTS                                                                                    \
    {                                                                                                        \
        .type = "q4_k_m", .seed = 1                                                                          \
    }

/* spec: a name of model/shapes.h, a config.json, or a directory that holds one. A vocabulary larger than the
 * embedding is SP_E_ARGUMENT; otherwise errors as for sp_convert. */
sp_status sp_synth(const char *spec, const char *dst, const sp_synth_options *options, sp_error *err);

#endif
