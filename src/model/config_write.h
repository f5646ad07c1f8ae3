/* SPDX-License-Identifier: MIT */
/* Hyper-parameters as the published config.json, which transformers and model/hparams.c read back: the same values, the same
 * architecture. */
#ifndef SP_MODEL_CONFIG_WRITE_H
#define SP_MODEL_CONFIG_WRITE_H

#include <sputnik/tokenizer.h>

#include "model/hparams.h"
#include "tensor/dtype.h"

typedef struct sp_config_facts {
    const sp_tokenizer *tokenizer; /* bos, eos and padding; NULL: they are left out */
    sp_dtype dtype;                /* of the weights: F32, F16 or BF16 */
    double initializer_range;      /* 0: left out */
} sp_config_facts;

/* Texts appended. Errors: SP_E_NOMEM. */
sp_status sp_config_write(sp_buf *json, const sp_hparams *hp, const sp_config_facts *facts, sp_error *err);
sp_status sp_generation_config_write(sp_buf *json, const sp_tokenizer *tokenizer, sp_error *err);

/* Hash of every field on top of `seed`: equal for equal models. */
uint64_t sp_hparams_hash(const sp_hparams *hp, uint64_t seed);

#endif
