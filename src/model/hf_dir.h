/* SPDX-License-Identifier: MIT */
/* The small files of a Hugging Face folder that a checkpoint and an export write: configurations and the tokenizer's files. Each
 * appears whole or not at all. */
#ifndef SP_MODEL_HF_DIR_H
#define SP_MODEL_HF_DIR_H

#include "model/config_write.h"

sp_status sp_hf_put_text(const char *dir, const char *name, const sp_buf *text, sp_error *err);

/* Copy dir/name from another folder; a file that is not there is left out. */
sp_status sp_hf_copy_file(const char *dir, const char *from, const char *name, sp_error *err);

/* tokenizer.json and the files beside it, those that are there. */
sp_status sp_hf_copy_tokenizer(const char *dir, const char *from, sp_error *err);

/* config.json and, with a tokenizer, generation_config.json. */
sp_status sp_hf_put_configs(const char *dir, const sp_hparams *hp, const sp_config_facts *facts,
                            sp_error *err);

#endif
