/* SPDX-License-Identifier: MIT */
/* What the upper floors of the library may see of a model beyond the public header. */
#ifndef SP_MODEL_MODEL_PARTS_H
#define SP_MODEL_MODEL_PARTS_H

#include "model/blocks.h"

#include <sputnik/model.h>

const sp_net *sp_model_net(const sp_model *model);
const sp_archive *sp_model_archive(const sp_model *model);

/* A hash over hyper-parameters, tensor names, types, sizes and a sample of each tensor's bytes: two files
 * with equal fingerprints hold the same model. */
uint64_t sp_model_fingerprint(const sp_model *model);

#endif
