/* SPDX-License-Identifier: MIT */
/* The tensors of a GGUF file of each architecture, in file order, and which Hugging Face tensor each is made
 * of: the table that convert and synth walk. The other direction, from names to a running model, is
 * model/weights.c. Letters as there: h hidden_size, nh heads, hd head_dim, n qk_nope_head_dim, vd v_head_dim,
 * c kv_lora_rank. */
#ifndef SP_MODEL_LAYOUT_H
#define SP_MODEL_LAYOUT_H

#include "model/hparams.h"

#define SP_LAYOUT_MAX_DIVISORS 1024 /* published: 64 */

typedef enum sp_layout_kind {
    SP_LAYOUT_COPY,    /* as it is */
    SP_LAYOUT_PERMUTE, /* rows of q or k, per head: new row 2i + j is old row j hd/2 + i */
    SP_LAYOUT_EXPERTS, /* E matrices stacked; source holds "%" where the expert's number stands */
    SP_LAYOUT_K_B,     /* (nh, c, n): first n rows of each head of kv_b_proj, transposed */
    SP_LAYOUT_V_B,     /* (nh, vd, c): last vd rows of each head of kv_b_proj */
    SP_LAYOUT_DIVISORS /* (hd / 2): frequency divisors of llama3 scaling, computed */
} sp_layout_kind;

typedef struct sp_layout_item {
    char name[64];   /* in GGUF */
    char source[96]; /* in Hugging Face files */
    sp_layout_kind kind;
    int n_dims;
    int64_t shape[3];    /* outermost first */
    int32_t heads;       /* of a PERMUTE */
    bool optional;       /* left out where the source is absent */
    bool copy_of_global; /* left out where equal to the embedding or the head */
} sp_layout_item;

typedef struct sp_layout {
    sp_layout_item *items;
    size_t n, cap;
} sp_layout;

/* Build for a model with n_mtp prediction layers (0: leave them out). SP_E_UNSUPPORTED for what GGUF cannot
 * express. */
sp_status sp_layout_build(sp_layout *layout, const sp_hparams *hp, int32_t n_mtp, sp_error *err);
void sp_layout_clear(sp_layout *layout);

/* The values of a DIVISORS item: what llama3 scaling divides each frequency by. */
void sp_layout_divisors(const sp_hparams *hp, float *divisors);

#endif
