/* SPDX-License-Identifier: MIT */
/* A model in memory whose weights may change: what training works on. All weights are float32 in one block,
 * under their Hugging Face names; sp_weights is bound over them, so that the blocks of model/ run on it as they
 * run on a file. Items are in the order of model/layout.h; in memory all experts stand behind the rest. Written by
 * one thread at a time. */
#ifndef SP_MODEL_PARAMETERS_H
#define SP_MODEL_PARAMETERS_H

#include "model/blocks.h"

typedef enum sp_parameter_kind {
    SP_PARAMETER_MATRIX, /* hidden matrices: Muon's, and decayed */
    SP_PARAMETER_EXPERT, /* the same, of a routed expert */
    SP_PARAMETER_ROUTER, /* (E, h) */
    SP_PARAMETER_EMBED,
    SP_PARAMETER_HEAD,
    SP_PARAMETER_NORM,
    SP_PARAMETER_BIAS,
    SP_PARAMETER_BALANCE, /* e_score_correction_bias: no gradient, moved by the balance rule */
} sp_parameter_kind;

typedef struct sp_parameter {
    char name[96];
    sp_parameter_kind kind;
    int32_t layer;      /* -1 for global ones */
    int32_t expert;     /* -1 unless EXPERT */
    int64_t rows, cols; /* rows 1 for vectors */
    int64_t begin;      /* first float in values (and in gradients, moments) */
    sp_tensor *tensor;  /* over values + begin; NULL if another process owns the expert */
} sp_parameter;

/* Experts [first, end) of every layer live in this process; {0, E} for all of them. */
typedef struct sp_expert_range {
    int32_t first, end;
} sp_expert_range;

typedef struct sp_parameters {
    sp_hparams hp;
    sp_expert_range experts;
    sp_parameter *items;
    size_t n_items;
    int64_t n_floats; /* in this process */
    float *values;
    sp_archive *archive;
    sp_weights weights;
    sp_net net;
    double *omega;
} sp_parameters;

/* Values are zero; hp.num_nextn_predict_layers prediction layers share embedding and head with the model.
 * Errors: SP_E_UNSUPPORTED (a shape that the layout cannot express), SP_E_NOMEM. */
sp_status sp_parameters_create(sp_parameters **parameters, const sp_hparams *hp, sp_expert_range experts,
                               sp_error *err);
void sp_parameters_destroy(sp_parameters *parameters); /* accepts NULL */

/* N(0, deviation^2) for everything but norms (1), biases and balances (0); parameter i draws from stream
 * (seed, hash of its name), so an expert's values do not depend on who owns it. Projections back into the
 * residual stream (o_proj, down_proj) are divided by sqrt(2 layers) if `scale_residual`. */
void sp_parameters_draw(sp_parameters *parameters, uint64_t seed, double deviation, bool scale_residual);

/* Take the values that a Hugging Face folder (a checkpoint, too) holds, in any format that can be read. Prediction layers may be
 * missing and keep theirs. SP_E_FORMAT: a tensor is missing, or of another shape; SP_E_UNSUPPORTED: a GGUF file, a type. */
sp_status sp_parameters_read(sp_parameters *parameters, const char *path, sp_error *err);

const sp_parameter *sp_parameters_find(const sp_parameters *parameters,
                                       const char *name); /* NULL if absent */

static inline int64_t sp_parameter_count(const sp_parameter *p)
{
    return p->rows * p->cols;
}

/* Norms, biases and balances: one dimension, and no random first values. */
static inline bool sp_parameter_is_vector(const sp_parameter *p)
{
    return p->kind == SP_PARAMETER_NORM || p->kind == SP_PARAMETER_BIAS || p->kind == SP_PARAMETER_BALANCE;
}

static inline bool sp_parameter_is_local(const sp_parameter *p)
{
    return p->tensor != NULL;
}

#endif
