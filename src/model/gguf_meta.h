/* SPDX-License-Identifier: MIT */
/* Writing a model's metadata into a GGUF file: hyper-parameters and vocabulary, under the keys that llama.cpp
 * and this program read. The reading side is model/hparams.c and text/tokenizer_gguf.c. */
#ifndef SP_MODEL_GGUF_META_H
#define SP_MODEL_GGUF_META_H

#include "format/gguf_write.h"
#include "model/hparams.h"
#include "text/tokenizer.h"

/* general.* and {arch}.* keys. n_mtp: prediction layers in the file. */
sp_status sp_gguf_put_hparams(sp_gguf_writer *writer, const sp_hparams *hp, int32_t n_mtp, sp_error *err);

/* tokenizer.* keys from a tokenizer; n_rows ids (the rows of the embedding), those beyond the vocabulary as
 * unused
 * "[PAD<id>]". tokenizer_config (may be NULL) supplies the padding token. SP_E_UNSUPPORTED if its
 * pre-tokenizer has no name. */
sp_status sp_gguf_put_tokenizer(sp_gguf_writer *writer, const sp_tokenizer *tokenizer, int32_t n_rows,
                                const sp_json *tokenizer_config, sp_error *err);

/* tokenizer.ggml.model = "none": a file without vocabulary, which runs on ids only. */
sp_status sp_gguf_put_no_tokenizer(sp_gguf_writer *writer, sp_error *err);

/* A made-up byte-level vocabulary of n_rows ids by formula, for random models: 256 single bytes, then the
 * special tokens of the family (as many as fit), then fillers "[unused N]". Encodes any text one byte a
 * token. */
sp_status sp_gguf_put_synthetic_tokenizer(sp_gguf_writer *writer, sp_arch arch, int32_t n_rows,
                                          sp_error *err);

/* Copy the tokenizer.* keys of another file. */
sp_status sp_gguf_copy_tokenizer(sp_gguf_writer *writer, const sp_gguf *from, sp_error *err);

#endif
