/* SPDX-License-Identifier: MIT */
/* The published shapes of the family by name, for synth and the planner. */
#ifndef SP_MODEL_SHAPES_H
#define SP_MODEL_SHAPES_H

#include "model/hparams.h"

/* Fill hp with the shape published under `name` ("deepseek-r1-distill-qwen-1.5b", ...; case-insensitive).
 * SP_E_NOT_FOUND if there is none. */
sp_status sp_shape_find(sp_hparams *hp, const char *name, sp_error *err);

/* Name i of the table, aliases included; NULL past the end. */
const char *sp_shape_name(size_t i);

/* A config.json: the published form (model_type, hidden_size, ...), or that of DeepSeek's own inference code
 * (dim, n_layers, ...). */
sp_status sp_shape_from_config(sp_hparams *hp, const sp_json *config, sp_error *err);

#endif
