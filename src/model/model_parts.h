/* SPDX-License-Identifier: MIT */
/* What the upper floors of the library may see of a model beyond the public header. */
#ifndef SP_MODEL_MODEL_PARTS_H
#define SP_MODEL_MODEL_PARTS_H

#include "model/blocks.h"

#include <sputnik/model.h>

const sp_net *sp_model_net(const sp_model *model);
const sp_archive *sp_model_archive(const sp_model *model);

/* Routed experts come from the source from now on; `owner` is destroyed with the model. Before the first session. */
void sp_model_attach_experts(sp_model *model, const sp_expert_source *source, void *owner,
                             void (*destroy)(void *owner));
void *sp_model_experts_owner(const sp_model *model); /* NULL: none attached */

/* The bytes of an entry of the archive that is a matrix and no expert are at `data` now. Before the first session. */
void sp_model_move_tensor(sp_model *model, size_t entry, void *data);

/* A hash over hyper-parameters, tensor names, types, sizes and a sample of each tensor's bytes: two files
 * with equal fingerprints hold the same model. */
uint64_t sp_model_fingerprint(const sp_model *model);

#endif
