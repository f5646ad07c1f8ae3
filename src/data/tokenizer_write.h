/* SPDX-License-Identifier: MIT */
/* A trained vocabulary as the files that the `tokenizers` package, transformers and sp_tokenizer_open read:
 * tokenizer.json and tokenizer_config.json. */
#ifndef SP_DATA_TOKENIZER_WRITE_H
#define SP_DATA_TOKENIZER_WRITE_H

#include "data/bpe_train.h"

/* DeepSeek-V3's special tokens in the order of their ids: begin and end of sentence, padding, thinking tags, fill in the
 * middle, roles, end of turn, tools. */
extern const char *const sp_v3_specials[];
extern const size_t sp_v3_specials_count;

typedef struct sp_tokenizer_style {
    const char *pre; /* pre-tokenizer, by name */
    const char *bos, *eos, *pad;
    const char *chat_template; /* Jinja source, or NULL */
} sp_tokenizer_style;

/* Texts of the two files, appended. Special tokens that the V3 files do not flag as special (role marks, thinking tags, ...)
 * are written likewise. SP_E_ARGUMENT if a special token spells an ordinary one, SP_E_UNSUPPORTED for an unknown pre. */
sp_status sp_tokenizer_write_json(sp_buf *json, const sp_bpe_vocab *vocab, const sp_tokenizer_style *style,
                                  sp_error *err);
sp_status sp_tokenizer_write_config(sp_buf *json, const sp_tokenizer_style *style, sp_error *err);

/* Both into the folder `dir`, which is created; each file appears whole or not at all. */
sp_status sp_tokenizer_save(const char *dir, const sp_bpe_vocab *vocab, const sp_tokenizer_style *style,
                            sp_error *err);

#endif
