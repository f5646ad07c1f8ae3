/* SPDX-License-Identifier: MIT */
/* A model whose experts come from disk: shared by expert_stream.c (loading), expert_plan.c (what fits) and expert_hot.c
 * (what was learned). */
#ifndef SP_INFER_EXPERT_STREAM_H
#define SP_INFER_EXPERT_STREAM_H

#include "infer/expert_store.h"
#include "model/model_parts.h"

#include <sputnik/experts.h>

/* Where everything lies in the files. */
typedef struct sp_expert_layout {
    const char **files;
    int n_files;
    int32_t n_layers, n_experts;              /* prediction layers too */
    sp_expert_part (*parts)[SP_EXPERT_PARTS]; /* (n_layers * n_experts) */
    uint8_t *kind;                            /* (entries of the archive), values below */
    uint64_t shared_bytes, expert_bytes;
    int64_t n_present;             /* experts that exist */
    sp_expert_store_options store; /* points into the fields above; n_slots is open */
} sp_expert_layout;

/* Left where it is: vectors (copied already), the table of embeddings (a row per token), block scales. */
enum { SP_ENTRY_LEFT, SP_ENTRY_EXPERT, SP_ENTRY_SHARED };

sp_status sp_expert_layout_init(sp_expert_layout *layout, const sp_model *model, sp_error *err);
void sp_expert_layout_clear(sp_expert_layout *layout);

/* What a model owns that streams. */
typedef struct sp_expert_stream {
    sp_expert_store *store;
    char *shared; /* memory of the shared weights */
    size_t shared_bytes;
    bool locked;
    int64_t n_slots;
    int32_t n_layers, n_experts;
    uint64_t fingerprint; /* of shapes: a hot set belongs to it */
} sp_expert_stream;

/* Which models a hot set fits. */
uint64_t sp_expert_fingerprint(const sp_model *model);

/* Scores from a file's bytes, (n_layers * n_experts): SP_E_FORMAT with the line; SP_E_UNSUPPORTED for another model's. */
sp_status sp_hot_parse(double *scores, int32_t n_layers, int32_t n_experts, uint64_t fingerprint,
                       const char *text, size_t len, sp_error *err);

/* The same from a file; SP_E_NOT_FOUND if there is none. */
sp_status sp_hot_read(double *scores, int32_t n_layers, int32_t n_experts, uint64_t fingerprint,
                      const char *path, sp_error *err);

#endif
